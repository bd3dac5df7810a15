"""Augmentation: batched, a draw for every sample, seeded, on the device the batch is on.

A pipeline is a list of operations, run by `apply(pipeline, batch, generator)`. There are two kinds:

- one-sided, `op(images, generator) -> images`: uint8 or float `(B, C, H, W)` in 0..255 with C 1 or 3; the dtype that
  went in comes out. Labels are never touched. Any such callable may stand in a pipeline.
- joint (`op.joint` is True), `op(sides, generator) -> sides`: sees both sides and the labels. MixUp and CutMix return
  soft labels, MixUp float images.

All draws come from one CPU `torch.Generator`, so the same seed draws the same on every device. Unusable images or
labels raise `DataError`, arguments out of range `ArgumentError`.
"""

from .batch import Operation, Sides, apply
from .color import STAINS, Blur, ColorJitter, Erase, Noise, RandAugment, Stain, concentrations, optical_density
from .damage import corruptions
from .geometry import Crop, Flip, RandomResizedCrop, Rotate, Rotate90
from .joint import FDA, CutMix, MixStyle, MixUp, fda
from .presets import DropTokens, default, digits, smear, strong, weak

__all__ = [
    "FDA",
    "STAINS",
    "Blur",
    "ColorJitter",
    "Crop",
    "CutMix",
    "DropTokens",
    "Erase",
    "Flip",
    "MixStyle",
    "MixUp",
    "Noise",
    "Operation",
    "RandAugment",
    "RandomResizedCrop",
    "Rotate",
    "Rotate90",
    "Sides",
    "Stain",
    "apply",
    "concentrations",
    "corruptions",
    "default",
    "digits",
    "fda",
    "optical_density",
    "smear",
    "strong",
    "weak",
]
