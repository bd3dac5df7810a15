"""Pretrained encoders, small ones to train from scratch, and your own `nn.Module`. The one for text is in `text`."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ArgumentError, DataError
from .folding import foldable

if TYPE_CHECKING:
    from .reading import Depth
    from .text import TextEncoder

LISTS = (nn.Sequential, nn.ModuleList)
NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


@dataclass(frozen=True)
class Block:
    """A run of layers that strategies freeze or rate as one: a name, its modules, and parameters outside any module."""

    name: str
    modules: tuple[nn.Module, ...]
    loose: tuple[nn.Parameter, ...] = ()

    def parameters(self) -> list[nn.Parameter]:
        return [p for module in self.modules for p in module.parameters()] + list(self.loose)


class Encoder(nn.Module):
    """Maps images, uint8 or float in 0..255, `(B, 1 or 3, H, W)` to features `(B, D)`.

    Parameters
    ----------
    body
        The network: normalized float images in, features out.
    name
        What reports call it.
    channels, size, mean, std
        What the body wants: inputs are turned to gray or RGB, resized to `size`, a number or (H, W) (None keeps
        theirs), and normalized as `(x - mean) / std` on the 0..255 scale.
    source_head
        The head it was pretrained with, features to source-class logits, or None.

    Attributes
    ----------
    dim
        D.
    blocks
        The body's layers in the order they run, input side first.

    Raises
    ------
    ArgumentError
        For a body that fails on its inputs, or does not give `(B, D)`.

    Examples
    --------
    >>> body = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    >>> xl.Encoder(body, name="mine", channels=1, size=28)(source.test.inputs[:2]).shape
    torch.Size([2, 4])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        body: nn.Module,
        *,
        name: str,
        channels: int = 3,
        size: int | tuple[int, int] | None = None,
        mean: Sequence[float] = (127.5,),
        std: Sequence[float] = (127.5,),
        source_head: nn.Linear | None = None,
    ):
        super().__init__()
        self.body, self.name, self.channels = body, name, channels
        self.size = (size, size) if isinstance(size, int) else size
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1), persistent=False)
        example = torch.zeros(2, channels, *(self.size or (64, 64)))
        self.blocks, self.dim, folds = _dry_run(body, example, name)
        # what is recorded at the end of a block may not change: such a convolution keeps its norm apart
        ends = {block.modules[-1] for block in self.blocks}
        self.folds = tuple(pair for pair in folds if pair[0] not in ends)
        # the old head is a reference, not a part that trains, moves into optimizers or is saved with the model
        self._source_head = (source_head,)

    @property
    def source_head(self) -> nn.Linear | None:
        head = self._source_head[0]
        return head if head is None else head.to(self.mean.device)

    def drop_source_head(self) -> None:
        """After a change of the features, to which the old head no longer belongs."""
        self._source_head = (None,)

    def prepare(self, inputs: Tensor) -> Tensor:
        """Channels, size and normalization: `(B, 1 or 3, H, W)` in 0..255 to what the body wants."""
        if inputs.ndim != 4:
            raise DataError(f"{self.name!r} takes images (B, C, H, W), got {inputs.dtype} {tuple(inputs.shape)}")
        x = inputs.to(self.mean.dtype)
        if x.shape[1] == 1 and self.channels == 3:
            x = x.expand(-1, 3, -1, -1)
        elif x.shape[1] == 3 and self.channels == 1:
            x = 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]
        if self.size and x.shape[-2:] != self.size:
            shrinks = x.shape[-2] > self.size[0] or x.shape[-1] > self.size[1]
            x = F.interpolate(x, self.size, mode="bilinear", antialias=shrinks, align_corners=False)
        return ((x - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.body(self.prepare(inputs))

    def extra_repr(self) -> str:
        return f"{self.name!r}, dim={self.dim}, blocks={[block.name for block in self.blocks]}"


@contextlib.contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; every submodule gets its own mode back afterwards."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextlib.contextmanager
def recording(
    encoder: Encoder | TextEncoder | Depth, names: Collection[str] | None = None
) -> Iterator[dict[str, list[Tensor]]]:
    """Inside it, each forward pass of `encoder` appends what the named blocks (None: all) put out to their lists, in the order they run.

    Raises
    ------
    ArgumentError
        For a block the encoder lacks.
    """
    known = [block.name for block in encoder.blocks]
    if unknown := set(names or ()) - set(known):
        raise ArgumentError(f"encoder {encoder.name!r} has no blocks {sorted(unknown)}; it has {', '.join(known)}")
    seen: dict[str, list[Tensor]] = {name: [] for name in known if names is None or name in names}
    with contextlib.ExitStack() as hooks:
        for block in encoder.blocks:
            if (kept := seen.get(block.name)) is not None:

                def keep(_module, _inputs, output, kept=kept):
                    kept.append(output)

                hooks.enter_context(block.modules[-1].register_forward_hook(keep))
        yield seen


def _dry_run(body: nn.Module, example: Tensor, name: str) -> tuple[list[Block], int, tuple]:
    """Blocks in the order they run, the feature dimension, and norms to fold, from a forward pass each in eval mode."""
    candidates = _expand(body)
    order: dict[str, None] = {}
    example = example.to(next(body.parameters(), example).device)
    try:
        with contextlib.ExitStack() as hooks, evaluation_mode(body):
            for key, module in candidates.items():
                hooks.enter_context(module.register_forward_pre_hook(lambda *_, key=key: order.setdefault(key)))
            with torch.no_grad():
                features = body(example)
            folds = foldable(body, example)
    except Exception as error:
        raise ArgumentError(
            f"encoder {name!r} failed on a dry run with inputs {tuple(example.shape)}: {error}; give channels= and size= that fit "
            "it, or where it reads tokens a text.TextEncoder"
        ) from error
    if not isinstance(features, Tensor) or features.ndim != 2:
        seen = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ArgumentError(
            f"encoder {name!r} returns {seen}, expected features (B, D); pool or flatten in its forward, or say which part of "
            "its output they are, with output="
        )
    blocks: list[tuple[str, list[nn.Module]]] = []
    for key in order:
        if blocks and isinstance(candidates[key], NORMS):
            blocks[-1][1].append(candidates[key])  # a norm belongs to the layer before it
        else:
            blocks.append((key, [candidates[key]]))
    if not blocks:
        raise ArgumentError(f"encoder {name!r} has no layer with parameters; nothing in it can be trained")
    held = {id(p) for _, modules in blocks for module in modules for p in module.parameters()}
    loose = tuple(p for p in body.parameters() if id(p) not in held)
    found = [Block(key, tuple(modules), loose if i == 0 else ()) for i, (key, modules) in enumerate(blocks)]
    return found, features.shape[1], folds


def _expand(module: nn.Module, prefix: str = "") -> dict[str, nn.Module]:
    """Children that hold parameters; lists of layers, what holds a list of like layers, and a lone wrapper are opened."""
    children = {prefix + key: child for key, child in module.named_children() if any(True for _ in child.parameters())}
    if not children:
        return {prefix.rstrip(".") or "body": module} if any(True for _ in module.parameters()) else {}
    if len(children) == 1 and any(True for _ in next(iter(children.values())).children()):
        key, child = next(iter(children.items()))
        return _expand(child, key + ".")
    found: dict[str, nn.Module] = {}
    for key, child in children.items():
        grandchildren = {f"{key}.{k}": g for k, g in child.named_children() if any(True for _ in g.parameters())}
        if isinstance(child, LISTS) and len(grandchildren) > 1:
            found |= grandchildren
        elif any(isinstance(g, LISTS) and len(g) > 3 and len(set(map(type, g))) == 1 for g in child.children()):
            found |= _expand(child, key + ".")
        else:
            found[key] = child
    return found


class Classifier(nn.Module):
    """An encoder and a linear head over `classes`. `forward` gives logits `(B, K)`, in training and evaluation alike.

    Parameters
    ----------
    encoder
        From `xl.encoder`.
    classes
        Two names or more, in the order of the logits.
    seed
        Draws the head's first weights, and nothing else does.

    Raises
    ------
    ArgumentError
        For a module that is no Encoder, or fewer than two classes.

    Examples
    --------
    >>> model = xl.Classifier(xl.encoder("small_cnn"), classes=("well", "ill"))
    >>> model(torch.zeros(2, 3, 64, 64, dtype=torch.uint8)).shape
    torch.Size([2, 2])
    """

    def __init__(self, encoder: Encoder | TextEncoder, classes: Sequence[str], *, seed: int = 0):
        super().__init__()
        if not hasattr(encoder, "blocks") or not hasattr(encoder, "prepare"):
            raise ArgumentError(
                f"Classifier got a bare {type(encoder).__name__}; wrap it first: xl.encoder(module, channels=..., size=...)"
            )
        if len(classes) < 2:
            raise ArgumentError(f"Classifier got {len(classes)} class(es) {tuple(classes)}, expected at least 2")
        self.encoder, self.classes = encoder, tuple(map(str, classes))
        with seeded(seed):
            self.head = nn.Linear(encoder.dim, len(self.classes))

    def features(self, inputs: Tensor) -> Tensor:
        return self.encoder(inputs)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.features(inputs))


@contextlib.contextmanager
def seeded(seed: int):
    """Weights drawn inside depend on `seed`, and the caller's random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
