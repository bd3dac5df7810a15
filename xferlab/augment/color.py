"""Color and texture: values change."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ..errors import ArgumentError
from .batch import LUMA, OneSided, beside, like, uniform
from .geometry import RandomResizedCrop, Rotate

# Rows are stains, columns the optical density each leaves in R, G, B. Hematoxylin, eosin, DAB: Ruifrok & Johnston
# 2001. Giemsa: methylene blue and eosin as measured by G. Landini; the third is orthogonal to both.
STAINS = {
    "hed": ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78)),
    "giemsa": ((0.8348, 0.5136, 0.1963), (0.0928, 0.9541, 0.2831), (-0.0537, -0.2793, 0.9587)),
}


@dataclass(frozen=True)
class ColorJitter(OneSided):
    """Brightness, contrast, saturation and white balance, composed into one affine map of a sample's colors.

    A factor each from U(1 - a, 1 + a). On gray images saturation and gains do nothing.

    Parameters
    ----------
    brightness, contrast, saturation
        a of each: contrast is about the image's mean luma, saturation about each pixel's.
    gains
        a of white balance, a factor a channel.

    Examples
    --------
    >>> jitter = xl.augment.ColorJitter(brightness=0.1, contrast=0.1)
    >>> jitter(source.train.inputs[:4], torch.Generator().manual_seed(0)).shape
    torch.Size([4, 1, 28, 28])
    """

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    gains: float = 0.05
    _limits: ClassVar = dict.fromkeys(("brightness", "contrast", "saturation", "gains"), (0, 1))

    def _change(self, images, generator):
        flat = images.float().flatten(2)
        spread = (self.brightness, self.contrast, self.saturation, self.gains, self.gains, self.gains)
        draws = 2 * torch.rand(len(images), 6, generator=generator) - 1
        factors = beside(1 + draws * torch.tensor(spread), images)
        brightness, contrast, saturation, *gains = factors[:, :, None, None].unbind(1)
        if images.shape[1] == 1:
            luma, colors = flat.new_ones(1, 1), brightness.new_ones(1)
        else:
            luma, eye = beside(torch.tensor([LUMA]), images), torch.eye(3, device=images.device)
            colors = torch.cat(gains, 1) * (saturation * eye + (1 - saturation) * luma.expand(3, 3))
        gray = (luma @ flat).mean(2, keepdim=True)
        pivot = (1 - contrast) * gray * brightness
        return like((contrast * brightness * colors) @ flat + pivot, images.flatten(2)).view(images.shape)


def optical_density(images: Tensor) -> Tensor:
    """Beer-Lambert absorbance, `-log10((x + 1) / 256)`: 0 where white.

    Parameters
    ----------
    images
        `(B, C, H, W)` in 0..255.

    Returns
    -------
    Tensor
        `(B, C, H, W)`, float.

    Examples
    --------
    >>> xl.augment.optical_density(torch.tensor([255.0, 24.6]))
    tensor([-0., 1.])
    """
    return -((images.float().clamp(min=0) + 1) / 256).log10()


def concentrations(images: Tensor, stains: str = "hed") -> Tensor:
    """Color deconvolution: how much of each of three stains a picture holds (Ruifrok & Johnston 2001).

        OD = amounts @ STAINS[stains]

    Parameters
    ----------
    images
        RGB `(B, 3, H, W)` in 0..255.
    stains
        A key of `STAINS`.

    Returns
    -------
    Tensor
        Amounts `(B, 3, H, W)`, negative where the stains cannot make a color.

    Raises
    ------
    ArgumentError
        For unknown stains, or gray images.

    Examples
    --------
    >>> xl.augment.concentrations(torch.full((1, 3, 8, 8), 200.0), "giemsa").shape
    torch.Size([1, 3, 8, 8])
    """
    if stains not in STAINS or images.shape[1] != 3:
        seen = f"stains are {stains!r}, images {tuple(images.shape)}"
        raise ArgumentError(f"{seen}; expected RGB and one of {list(STAINS)}")
    unmix = beside(torch.linalg.inv(torch.tensor(STAINS[stains])), images)
    return torch.einsum("bohw,os->bshw", optical_density(images), unmix)


@dataclass(frozen=True)
class Stain(OneSided):
    """Another laboratory's staining: in optical density, the amount c of each stain becomes `a c + b`.

    For every sample and stain a is drawn from U(1 - strength, 1 + strength) and b from U(-strength, strength) / 5 (Tellez et al. 2018,
    arXiv:1808.05896). A gray image is one stain.

    Parameters
    ----------
    strength
        0 to 1; 0 is exactly the identity.
    stains
        A key of `STAINS`.

    Raises
    ------
    ArgumentError
        For unknown stains.

    Examples
    --------
    >>> pictures = torch.full((2, 3, 8, 8), 200, dtype=torch.uint8)
    >>> bool((xl.augment.Stain(0.0)(pictures, torch.Generator()) == pictures).all())
    True
    """

    strength: float = 0.2
    stains: str = "hed"
    _limits: ClassVar = {"strength": (0, 1)}

    def __post_init__(self):
        super().__post_init__()
        if self.stains not in STAINS:
            raise ArgumentError(f"Stain: stains is {self.stains!r}, expected one of {list(STAINS)}")

    def _change(self, images, generator):
        basis = torch.tensor(STAINS[self.stains]) if images.shape[1] == 3 else torch.ones(1, 1)
        factor, shift = (2 * torch.rand(2, len(images), len(basis), generator=generator) - 1) * self.strength
        # Only the change of density is computed, so that a draw of zero cannot alter a value by rounding.
        slope = beside((torch.linalg.inv(basis) @ (factor[:, :, None] * basis)).transpose(1, 2), images)
        offset = beside((shift / 5 @ basis)[:, :, None], images)
        density = (slope @ optical_density(images).flatten(2) + offset).view(images.shape)
        # Several times faster than expm1, and as exactly zero at zero.
        growth = (density * -math.log(10)).exp_().sub_(1)
        return like(images + (images.float() + 1) * growth, images)


def convolve(images: Tensor, transfer: Callable[[Tensor, Tensor], Tensor], reach: int) -> Tensor:
    """Convolution with the kernel of Fourier transform `transfer(fy, fx)`, in cycles a pixel; edges are reflected."""
    height, width = images.shape[-2:]
    pad = min(reach, height - 1, width - 1)
    images = F.pad(images, (pad,) * 4, mode="reflect")
    size = images.shape[-2:]
    fy = torch.fft.fftfreq(size[0], device=images.device)[:, None]
    fx = torch.fft.rfftfreq(size[1], device=images.device)
    blurred = torch.fft.irfft2(torch.fft.rfft2(images) * transfer(fy, fx), s=size)
    return blurred[..., pad : pad + height, pad : pad + width]


@dataclass(frozen=True)
class Blur(OneSided):
    """Gaussian blur.

    Parameters
    ----------
    sigma
        Range of the standard deviation, in pixels.

    Examples
    --------
    >>> xl.augment.Blur((0.5, 1.0))(source.train.inputs[:4], torch.Generator().manual_seed(0)).shape
    torch.Size([4, 1, 28, 28])
    """

    sigma: tuple[float, float] = (0.0, 1.0)
    _limits: ClassVar = {"sigma": (0, 100)}

    def _change(self, images, generator):
        sigma = uniform(*self.sigma, images, generator)
        reach = math.ceil(3 * self.sigma[1])
        blurred = convolve(images.float(), lambda y, x: (-2 * (math.pi * sigma) ** 2 * (y**2 + x**2)).exp(), reach)
        return like(blurred, images)


@dataclass(frozen=True)
class Noise(OneSided):
    """Gaussian noise in each pixel and channel.

    Parameters
    ----------
    std
        Largest standard deviation of a sample, in gray levels (0..255); each draws from U(0, std).

    Examples
    --------
    >>> xl.augment.Noise(5.0)(source.train.inputs[:4], torch.Generator().manual_seed(0)).dtype
    torch.uint8
    """

    std: float = 10.0
    _limits: ClassVar = {"std": (0, 255)}

    def _change(self, images, generator):
        std = uniform(0, self.std, images, generator)
        return like(images + std * beside(torch.randn(images.shape, generator=generator), images), images)


def boxes(share: Tensor, images: Tensor, generator: Generator) -> Tensor:
    """Boolean `(B, 1, H, W)`: a box over `share` `(B, 1, 1, 1)` of the area, less where the edge clips it."""

    def inside(size):
        length = (size * share.sqrt()).long()
        start = uniform(0, size, images, generator).long() - length // 2
        at = torch.arange(size, device=images.device)
        return (at >= start) & (at < start + length)

    rows, columns = map(inside, images.shape[2:])
    return rows.mT & columns


@dataclass(frozen=True)
class Erase(OneSided):
    """Paints a box in the image's mean color (Zhong et al. 2017, arXiv:1708.04896).

    Parameters
    ----------
    share
        Range of the box's share of the area.

    Examples
    --------
    >>> xl.augment.Erase((0.1, 0.2))(source.train.inputs[:4], torch.Generator().manual_seed(0)).shape
    torch.Size([4, 1, 28, 28])
    """

    share: tuple[float, float] = (0.02, 0.2)
    _limits: ClassVar = {"share": (0, 1)}

    def _change(self, images, generator):
        box = boxes(uniform(*self.share, images, generator), images, generator)
        mean = images.float().mean((2, 3), keepdim=True)
        return torch.where(box, like(mean, images), images)


@dataclass(frozen=True)
class RandAugment(OneSided):
    """Some operations for each sample, drawn with replacement (Cubuk et al. 2019, arXiv:1909.13719).

    The magnitude bounds their draws; in the paper it fixes them.

    Parameters
    ----------
    n
        Operations a sample.
    magnitude
        0 to 10.
    ops
        One-sided operations to draw from; nothing, and ten of the above, if empty.

    Examples
    --------
    >>> xl.augment.RandAugment(n=1)(source.train.inputs[:4], torch.Generator().manual_seed(0)).shape
    torch.Size([4, 1, 28, 28])
    """

    n: int = 2
    magnitude: float = 9.0
    ops: tuple[Callable, ...] = ()
    _limits: ClassVar = {"n": (1, 100), "magnitude": (0, 10)}

    def _change(self, images, generator):
        m = self.magnitude / 10
        ops = self.ops or (
            lambda unchanged, _: unchanged,
            *(Rotate(30 * m), RandomResizedCrop((1 - 0.6 * m, 1), (0.75**m, 0.75**-m)), Erase((0, 0.2 * m))),
            *(Blur((0, 2 * m)), Noise(25 * m), Stain(0.5 * m), ColorJitter(0.6 * m, 0, 0, 0)),
            *(ColorJitter(0, 0.6 * m, 0, 0), ColorJitter(0, 0, 0.6 * m, 0), ColorJitter(0, 0, 0, 0.3 * m)),
        )
        for _ in range(self.n):
            which = torch.randint(len(ops), (len(images),), generator=generator)
            changed = images.clone()
            for number, op in enumerate(ops):
                chosen = beside((which == number).nonzero()[:, 0], images)
                changed[chosen] = op(images[chosen], generator)
            images = changed
        return images
