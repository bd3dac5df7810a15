"""Pretrained encoders, small ones to train from scratch, and your own `nn.Module`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from ..errors import ArgumentError
from .base import NORMS, Block, Classifier, Encoder, recording, seeded
from .images import lenet, lite0, small_cnn, timm_net

__all__ = ["NORMS", "Block", "Classifier", "Encoder", "encoder", "recording"]


def encoder(
    source: str | nn.Module,
    *,
    pretrained: bool = True,
    channels: int | None = None,
    size: int | tuple[int, int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    weights: str | Path | None = None,
    seed: int = 0,
) -> Encoder:
    """An Encoder by name, or around your own module.

    "efficientnet_lite0"  ImageNet weights from the installed package (Tan & Le, 2019, arXiv:1905.11946), D 1280, RGB,
                          64 px unless `size` says otherwise; `pretrained=False` for the same net untrained
    "lenet"               for 28 px digits, gray, D 128 (LeCun et al., 1998)
    "small_cnn"           four convolution blocks to train from scratch, RGB, 64 px, D 256
    a timm name           from `weights=` (a local .safetensors or .pth), else timm's own download
    "minilm"              for text: six BERT layers from the installed package (extra `nlp`), D 384, see `text.load_encoder`
    a Hugging Face name   for text ("bert-base-uncased", "emilyalsentzer/Bio_ClinicalBERT"), or a local folder of such a model
    an nn.Module          anything that maps float images to `(B, D)`; give the `channels` and `size` it wants

    `mean` and `std` are on the 0..255 scale. What is not pretrained starts from `seed`. Raises `ArgumentError` for an unknown name or a module that does not give
    `(B, D)`, `ChecksumError` for damaged packaged weights, `DownloadError` when weights are neither here nor reachable.
    """
    settings = {
        key: value for key, value in dict(channels=channels, size=size, mean=mean, std=std).items() if value is not None
    }
    if isinstance(source, nn.Module):
        return Encoder(source, name=type(source).__name__, **settings)
    with seeded(seed):
        # Hugging Face's names without an owner are those of the BERT family; no timm name has "bert" in it
        if source == "minilm" or "/" in source or "bert" in source or (Path(source) / "config.json").is_file():
            from .text import load_encoder

            if settings or weights is not None:
                raise ArgumentError(
                    f"{source!r} reads text: it takes pretrained and seed, no {', '.join(settings) or 'weights'}"
                )
            return load_encoder(source, pretrained)
        if source == "lenet":
            return Encoder(lenet(settings.get("channels", 1)), name="lenet", **({"channels": 1, "size": 28} | settings))
        if source == "small_cnn":
            return Encoder(small_cnn(settings.get("channels", 3)), name="small_cnn", **({"size": 64} | settings))
        if source == "efficientnet_lite0":
            net, settings = lite0(pretrained), dict(size=64, mean=(127.0,), std=(128.0,)) | settings
        else:
            net, settings = timm_net(source, pretrained, weights, settings)
    head = net.get_classifier() if pretrained else None
    net.reset_classifier(0)
    return Encoder(net, name=source, source_head=head if isinstance(head, nn.Linear) else None, **settings)
