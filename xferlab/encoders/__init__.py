"""Pretrained encoders, small ones to train from scratch, and your own `nn.Module`."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from ..errors import ArgumentError
from ..storage import described
from .base import NORMS, Block, Classifier, Encoder, recording, seeded
from .images import PACKAGED, lenet, packaged, small_cnn, timm_net
from .reading import read_in_depth
from .wrapping import Output, without_head

if TYPE_CHECKING:
    from .text import TextEncoder

__all__ = ["NORMS", "Block", "Classifier", "Encoder", "encoder", "read_in_depth", "recording", "register"]


_registered: dict[str, Callable] = {}


def register(name: str, make: Callable) -> None:
    """Lets `xl.encoder(name)` give what `make(pretrained=..., **settings)` makes: an Encoder, or a module to be wrapped.

    Another package registers its own by an entry point of the group `xferlab.encoders`: a name and a `make`.

    Parameters
    ----------
    name
        What to call it; an earlier one of that name is replaced.
    make
        Takes `pretrained` and the settings of `xl.encoder` that were given.

    Raises
    ------
    ArgumentError
        For a name that means timm's or Hugging Face's.
    """
    if not name or name.startswith(("timm/", "hf/")):
        raise ArgumentError(f"an encoder cannot be called {name!r}: timm/ and hf/ are taken")
    _registered[name] = make


def encoder(
    source: str | nn.Module,
    *,
    pretrained: bool = True,
    channels: int | None = None,
    size: int | tuple[int, int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    weights: str | Path | None = None,
    output: str | int | Callable | None = None,
    read: str | Sequence[str] | None = None,
    seed: int = 0,
) -> Encoder | TextEncoder:
    """An Encoder by name, or around your own module.

    - "efficientnet_lite0": ImageNet weights from the installed package (Tan & Le, 2019, arXiv:1905.11946), D 1280, RGB,
      64 px unless `size` says otherwise. "efficientnet_lite1" and "_lite2" come from their packages (extra `encoders`).
    - "lenet": for 28 px digits, gray, D 128 (LeCun et al., 1998).
    - "small_cnn": four convolution blocks to train from scratch, RGB, 64 px, D 256.
    - "timm/NAME", or a timm name alone: from `weights=` (a local .safetensors or .pth), else timm's own download.
    - "minilm": for text, six BERT layers from the installed package (extra `nlp`), D 384, see `text.load_encoder`.
    - "hf/NAME": for text, a Hugging Face model ("hf/bert-base-uncased"); also OWNER/NAME, or a local folder of such a model.
    - a name that was registered, see `register`.
    - an nn.Module: anything that maps float images to `(B, D)`; give the `channels` and `size` it wants. Of a classifier of
      torchvision or timm, the features before its last linear layer, which becomes the `source_head`.

    Parameters
    ----------
    source
        A name, or a module.
    pretrained
        False starts from `seed`.
    channels
        1 or 3.
    size
        Pixels a side, or (height, width); inputs are resized to it.
    mean
        On the 0..255 scale, as is `std`.
    std
        Inputs become `(x - mean) / std`.
    weights
        A local file of tensors for a timm name.
    output
        Which part of a module's output is the features, where it gives a dict, a tuple or a Hugging Face
        ModelOutput: a key, an index, or a function of the output.
    read
        "depth" or names of blocks: features are their pooled means and standard deviations, see `reading`.
    seed
        Draws what is not pretrained.

    Returns
    -------
    Encoder or TextEncoder
        Features `(B, D)`, with its layers listed as `blocks`.

    Raises
    ------
    ArgumentError
        For an unknown name, a module that does not give `(B, D)`, or `weights` of what is no network of timm.
    ChecksumError
        For damaged packaged weights.
    DownloadError
        When weights are neither here nor reachable.

    Examples
    --------
    >>> encoder = xl.encoder("small_cnn", channels=1, size=28)
    >>> encoder(source.test.inputs[:2]).shape
    torch.Size([2, 256])
    """
    wanted = dict(channels=channels, size=size, mean=mean, std=std)
    settings = {key: value for key, value in wanted.items() if value is not None}
    own = isinstance(source, nn.Module) or source in ("lenet", "small_cnn", *PACKAGED)
    if weights is not None and own:
        raise ArgumentError(f"weights are {str(weights)!r}, but only a network of timm takes any; use load_state_dict")
    if isinstance(source, nn.Module):
        body, head, inputs = without_head(source)
        name = type(source).__name__
        if output is not None:  # part of the name, by which features that were kept are told apart
            body, name = Output(body, output), f"{name}, output {described(output)}"
        made: Encoder | TextEncoder = Encoder(body, name=name, source_head=head, **(inputs | settings))
    else:
        made = _named(source, pretrained, weights, settings, seed)
    return made if read is None else read_in_depth(made, read)


def _named(name: str, pretrained: bool, weights: str | Path | None, settings: dict, seed: int) -> Encoder | TextEncoder:
    with seeded(seed):
        entries = importlib.metadata.entry_points(group="xferlab.encoders", name=name)
        if make := _registered.get(name) or next((entry.load() for entry in entries), None):
            made = make(pretrained=pretrained, **settings, **({} if weights is None else {"weights": weights}))
            return made if hasattr(made, "blocks") else Encoder(made, name=name, **settings)
        # Hugging Face's names without an owner are those of the BERT family; no timm name has "bert" in it
        text = name == "minilm" or "/" in name or "bert" in name or (Path(name) / "config.json").is_file()
        if text and not name.startswith("timm/"):
            from .text import load_encoder

            if settings or weights is not None:
                raise ArgumentError(
                    f"{name!r} reads text: it takes pretrained and seed, no {', '.join(settings) or 'weights'}; "
                    "a network of timm for images is called 'timm/NAME'"
                )
            return load_encoder(name.removeprefix("hf/"), pretrained)
        if name == "lenet":
            return Encoder(lenet(settings.get("channels", 1)), name=name, **({"channels": 1, "size": 28} | settings))
        if name == "small_cnn":
            return Encoder(small_cnn(settings.get("channels", 3)), name=name, **({"size": 64} | settings))
        if name in PACKAGED:
            net = packaged(name, pretrained)
            settings = dict(size=PACKAGED[name][1], mean=(127.0,), std=(128.0,)) | settings
        else:
            net, settings = timm_net(name.removeprefix("timm/"), pretrained, weights, settings)
    head = net.get_classifier() if pretrained else None
    net.reset_classifier(0)
    return Encoder(net, name=name, source_head=head if isinstance(head, nn.Linear) else None, **settings)


encoder.register = register  # type: ignore[attr-defined]
