"""Geometry: pixels move."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import DataError
from .batch import OneSided, beside, like, uniform


def pick(images: Tensor, index: Tensor) -> Tensor:
    """Pixel `index[b, i]` (flat, `(B, H * W)`) of sample b becomes its pixel i: a gather, so no pixel value is new."""
    flat = images.reshape(*images.shape[:2], -1)
    return flat.gather(2, index[:, None].expand_as(flat)).view(images.shape)


def warp(images: Tensor, theta: Tensor) -> Tensor:
    """Bilinear resampling by affine maps `(B, 2, 3)` from output to input coordinates in -1..1; edges are reflected."""
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    moved = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return like(moved, images)


@dataclass(frozen=True)
class Crop(OneSided):
    """Small shifts: a crop, at the image's own size, of the image padded by reflection.

    Parameters
    ----------
    padding
        Largest shift each way, in pixels.

    Examples
    --------
    >>> xl.augment.Crop(2)(source.train.inputs[:4], torch.Generator().manual_seed(0)).shape
    torch.Size([4, 1, 28, 28])
    """

    padding: int = 4
    _limits: ClassVar = {"padding": (0, math.inf)}

    def _change(self, images, generator):
        reach, (height, width) = self.padding, images.shape[-2:]
        if reach >= min(height, width):
            raise DataError(f"images are {height}x{width}, too small to reflect {reach} pixels; lower Crop's padding")
        shifts = beside(torch.randint(-reach, reach + 1, (2, len(images), 1), generator=generator), images)
        rows, columns = (
            (n - 1) - ((n - 1) - (torch.arange(n, device=images.device) + shift).abs()).abs()
            for n, shift in zip((height, width), shifts, strict=True)
        )
        return pick(images, (rows[:, :, None] * width + columns[:, None]).flatten(1))


@dataclass(frozen=True)
class Flip(OneSided):
    """Mirrors half of the samples.

    Parameters
    ----------
    horizontal, vertical
        Left-right, and, drawn separately, upside down.

    Examples
    --------
    >>> xl.augment.Flip(horizontal=True)(source.train.inputs[:4], torch.Generator().manual_seed(0)).shape
    torch.Size([4, 1, 28, 28])
    """

    horizontal: bool = True
    vertical: bool = False

    def _change(self, images, generator):
        pixels = torch.arange(images.shape[-2] * images.shape[-1], device=images.device).view(images.shape[-2:])
        views = torch.stack([pixels, pixels.flip(1), pixels.flip(0), pixels.flip(0, 1)]).flatten(1)
        horizontal, vertical = torch.randint(2, (2, len(images)), generator=generator)
        which = horizontal * bool(self.horizontal) + 2 * vertical * bool(self.vertical)
        return pick(images, views[beside(which, images)])


@dataclass(frozen=True)
class Rotate90(OneSided):
    """Turns by a random multiple of 90 degrees (of 180 where the image is not square); pixels are kept exactly.

    Examples
    --------
    >>> turned = xl.augment.Rotate90()(source.train.inputs[:4], torch.Generator().manual_seed(0))
    >>> int(turned.sum()) == int(source.train.inputs[:4].sum())
    True
    """

    def _change(self, images, generator):
        height, width = images.shape[-2:]
        pixels = torch.arange(height * width, device=images.device).view(height, width)
        views = torch.stack([pixels.rot90(turns).flatten() for turns in range(4)])
        turns = torch.randint(4, (len(images),), generator=generator)
        return pick(images, views[beside(turns if height == width else turns // 2 * 2, images)])


@dataclass(frozen=True)
class Rotate(OneSided):
    """Rotates about the center: bilinear, edges reflected.

    Parameters
    ----------
    degrees
        Largest angle either way.

    Examples
    --------
    >>> xl.augment.Rotate(10.0)(source.train.inputs[:4], torch.Generator().manual_seed(0)).shape
    torch.Size([4, 1, 28, 28])
    """

    degrees: float = 15.0
    _limits: ClassVar = {"degrees": (0, 180)}

    def _change(self, images, generator):
        angle = torch.deg2rad(uniform(-self.degrees, self.degrees, images, generator)).view(-1)
        aspect = images.shape[-2] / images.shape[-1]
        zero, cos, sin = torch.zeros_like(angle), angle.cos(), angle.sin()
        return warp(images, torch.stack([cos, -sin * aspect, zero, sin / aspect, cos, zero], 1).view(-1, 2, 3))


@dataclass(frozen=True)
class RandomResizedCrop(OneSided):
    """Cuts a window and resizes it, bilinear, to the image's own size (Szegedy et al. 2014, arXiv:1409.4842).

    Parameters
    ----------
    scale
        Range of its share of the area.
    ratio
        Range of its width over its height, drawn log-uniformly.

    Examples
    --------
    >>> crop = xl.augment.RandomResizedCrop(scale=(0.8, 1.0))
    >>> crop(source.train.inputs[:4], torch.Generator().manual_seed(0)).shape
    torch.Size([4, 1, 28, 28])
    """

    scale: tuple[float, float] = (0.5, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    _limits: ClassVar = {"scale": (0.01, 1), "ratio": (0.01, 100)}

    def _change(self, images, generator):
        area = uniform(*self.scale, images, generator)
        ratio = uniform(math.log(self.ratio[0]), math.log(self.ratio[1]), images, generator).exp()
        width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
        left, top = (uniform(-1, 1, images, generator) * (1 - side) for side in (width, height))
        zero = torch.zeros_like(area)
        return warp(images, torch.cat([width, zero, left, zero, height, top], 1).view(-1, 2, 3))
