"""A network of yours as an encoder: torchvision's and timm's classifiers without their heads, outputs that are not one tensor."""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import Tensor, nn

from ..errors import ArgumentError
from .images import wanted

IMAGENET = {"mean": [255 * m for m in (0.485, 0.456, 0.406)], "std": [255 * s for s in (0.229, 0.224, 0.225)]}
AUXILIARY = ("aux1", "aux2", "AuxLogits")  # GoogLeNet's and Inception's further outputs in training


class Output(nn.Module):
    """`body`, of whose output one part is taken: a key, an index, an attribute, or what a function makes of it."""

    def __init__(self, body: nn.Module, part: str | int | Callable):
        super().__init__()
        self.body, self.part = body, part

    def forward(self, x: Tensor) -> Tensor:
        found = self.body(x)
        if callable(self.part):
            return self.part(found)
        try:
            return found[self.part]
        except (KeyError, IndexError, TypeError) as error:
            keys = f"; it has {', '.join(map(str, found))}" if hasattr(found, "keys") else ""
            raise ArgumentError(f"output is {self.part!r}, which {type(found).__name__} lacks{keys}") from error


def without_head(network: nn.Module) -> tuple[nn.Module, nn.Linear | None, dict]:
    """A classifier of torchvision or timm as features, its head and how it wants its inputs; another network as it is.

    The network given keeps its head: what is returned shares its parameters, not its structure.
    """
    origin = type(network).__module__
    if not origin.startswith(("torchvision.models", "timm.models")):
        return network, None, {}
    settings: dict = {"channels": 3} | IMAGENET
    if config := getattr(network, "pretrained_cfg", None):
        settings |= wanted(config)
    elif size := getattr(network, "image_size", None):
        settings["size"] = size
    linear = {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear)}
    last = next((name for name in reversed(linear) if name.split(".")[0] not in AUXILIARY), "")
    if not last or last.split(".")[0] not in {"fc", "classifier", "head", "heads"}:
        return network, None, settings
    shared: dict = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    body = copy.deepcopy(network, shared | {id(linear[last]): nn.Identity()})
    for auxiliary in AUXILIARY:
        if getattr(body, auxiliary, None) is not None:
            setattr(body, auxiliary, None)
    if hasattr(body, "aux_logits"):
        vars(body)["aux_logits"] = False
    return body, linear[last], settings
