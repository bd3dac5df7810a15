"""Augmentation: batched, a draw for every sample, seeded, on the device the batch is on.

A pipeline is a list of operations, run by `apply(pipeline, batch, generator)`. There are two kinds:

- one-sided, `op(images, generator) -> images`: uint8 or float `(B, C, H, W)` in 0..255 with C 1 or 3; the dtype that
  went in comes out. Labels are never touched. Any such callable may stand in a pipeline.
- joint (`op.joint` is True), `op(sides, generator) -> sides`: sees both sides and the labels. MixUp and CutMix return
  soft labels, MixUp float images.

All draws come from one CPU `torch.Generator`, so the same seed draws the same on every device. Unusable images or
labels raise `DataError`, arguments out of range `ArgumentError`.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Generator, Tensor

from .domains import Domain
from .errors import ArgumentError, DataError

LUMA = (0.299, 0.587, 0.114)

# Rows are stains, columns the optical density each leaves in R, G, B. Haematoxylin, eosin, DAB: Ruifrok & Johnston
# 2001. Giemsa: methylene blue and eosin as measured by G. Landini; the third is orthogonal to both.
STAINS = {
    "hed": ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78)),
    "giemsa": ((0.8348, 0.5136, 0.1963), (0.0928, 0.9541, 0.2831), (-0.0537, -0.2793, 0.9587)),
}


@dataclass(frozen=True, eq=False)
class Sides:
    """What a joint augmentation sees.

    source_inputs  images `(B, C, H, W)` or None
    source_labels  int64 `(B,)`, float `(B, K)` (multi-label or already soft), or None
    target_inputs  images of their own batch size, or None; target labels are never here
    classes        K, the width of soft labels
    """

    source_inputs: Tensor | None
    source_labels: Tensor | None = None
    target_inputs: Tensor | None = None
    classes: int = 0


def apply(pipeline: Sequence[Callable], batch: Tensor | Sides, generator: Generator) -> Tensor | Sides:
    """Runs the operations in order; images give images, `Sides` give `Sides`.

    One-sided operations change source and target, each with its own draws. Images alone are, to a joint operation, a
    source without labels or target: MixStyle mixes within the batch, the others raise `DataError`.
    """
    if not isinstance(batch, (Tensor, Sides)):
        raise DataError(f"the batch is a {type(batch).__name__}, expected an image tensor or augment.Sides")
    if not isinstance(pipeline, Sequence) or not all(map(callable, pipeline)):
        raise ArgumentError(f"the pipeline is {pipeline!r}, expected a list of operations such as [Crop(4), Flip()]")
    sides = Sides(batch) if isinstance(batch, Tensor) else batch
    for op in pipeline:
        if getattr(op, "joint", False):
            sides = op(sides, generator)
        else:
            source, target = (x if x is None else op(x, generator) for x in (sides.source_inputs, sides.target_inputs))
            sides = replace(sides, source_inputs=source, target_inputs=target)
    return sides.source_inputs if isinstance(batch, Tensor) else sides


def _check(images: Tensor, generator: Generator):
    kind = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
    known = isinstance(images, Tensor) and (images.dtype == torch.uint8 or images.is_floating_point())
    if not known or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise DataError(
            f"images are {kind}, expected uint8 or float (B, C, H, W) in 0..255 with C 1 or 3; permute if channels "
            "come last, add [None] to a single image, leave token ids unaugmented"
        )
    if not isinstance(generator, Generator) or generator.device.type != "cpu":
        raise ArgumentError(f"the generator is {generator!r}, expected torch.Generator() on the CPU; draws are moved")


def _beside(draws: Tensor, images: Tensor) -> Tensor:
    """What was drawn on the CPU, on the images' device. The GPU is not waited for: memory like this is copied out before the call returns."""
    return draws.to(images.device, non_blocking=True)


def _uniform(low: float, high: float, images: Tensor, generator: Generator) -> Tensor:
    """One draw a sample, shaped `(B, 1, 1, 1)`, on the images' device."""
    return _beside(torch.rand(len(images), 1, 1, 1, generator=generator) * (high - low) + low, images)


def _beta(alpha: float, images: Tensor, generator: Generator) -> Tensor:
    """A Beta(alpha, alpha) draw a sample, `(B, 1, 1, 1)`. NumPy draws it: torch's Beta takes no generator."""
    seed = int(torch.randint(2**62, (), generator=generator))
    draws = np.random.default_rng(seed).beta(alpha, alpha, size=(len(images), 1, 1, 1))
    return _beside(torch.from_numpy(draws).float(), images)


def _like(result: Tensor, images: Tensor) -> Tensor:
    """`result` clamped to 0..255, in the dtype of `images`, rounded where that is uint8."""
    if images.dtype == torch.uint8:
        return (result + 0.5).clamp_(0, 255).to(torch.uint8)
    return result.clamp(0, 255).to(images.dtype)


class _Operation:
    joint = False
    _limits: ClassVar = {}  # argument: (lowest, highest); a range must lie within, in order

    def __post_init__(self):
        for argument, (low, high) in self._limits.items():
            value, default = getattr(self, argument), getattr(type(self), argument)
            kind = (int, float) if isinstance(default, float) else type(default)
            pair = value if kind is tuple else (value, value)
            if not isinstance(value, kind) or len(pair) != 2 or not low <= pair[0] <= pair[1] <= high:
                seen = f"{type(self).__name__}: {argument} is {value!r}"
                raise ArgumentError(f"{seen}, expected something like {default}, from {low} to {high}")


class _OneSided(_Operation):
    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        _check(images, generator)
        return self._change(images, generator) if len(images) else images


# ---- Geometry: pixels move ----


def _pick(images: Tensor, index: Tensor) -> Tensor:
    """Pixel `index[b, i]` (flat, `(B, H * W)`) of sample b becomes its pixel i: a gather, so no pixel value is new."""
    flat = images.reshape(*images.shape[:2], -1)
    return flat.gather(2, index[:, None].expand_as(flat)).view(images.shape)


def _warp(images: Tensor, theta: Tensor) -> Tensor:
    """Bilinear resampling by affine maps `(B, 2, 3)` from output to input coordinates in -1..1; edges are reflected."""
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    moved = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    return _like(moved, images)


@dataclass(frozen=True)
class Crop(_OneSided):
    """Shifts by up to `padding` pixels each way: a crop, at the image's own size, of the image padded by reflection."""

    padding: int = 4
    _limits: ClassVar = {"padding": (0, math.inf)}

    def _change(self, images, generator):
        reach, (height, width) = self.padding, images.shape[-2:]
        if reach >= min(height, width):
            raise DataError(f"images are {height}x{width}, too small to reflect {reach} pixels; lower Crop's padding")
        shifts = _beside(torch.randint(-reach, reach + 1, (2, len(images), 1), generator=generator), images)
        rows, columns = (
            (n - 1) - ((n - 1) - (torch.arange(n, device=images.device) + shift).abs()).abs()
            for n, shift in zip((height, width), shifts, strict=True)
        )
        return _pick(images, (rows[:, :, None] * width + columns[:, None]).flatten(1))


@dataclass(frozen=True)
class Flip(_OneSided):
    """Mirrors half of the samples left-right (`horizontal`) and, drawn separately, half upside down (`vertical`)."""

    horizontal: bool = True
    vertical: bool = False

    def _change(self, images, generator):
        pixels = torch.arange(images.shape[-2] * images.shape[-1], device=images.device).view(images.shape[-2:])
        views = torch.stack([pixels, pixels.flip(1), pixels.flip(0), pixels.flip(0, 1)]).flatten(1)
        horizontal, vertical = torch.randint(2, (2, len(images)), generator=generator)
        which = horizontal * bool(self.horizontal) + 2 * vertical * bool(self.vertical)
        return _pick(images, views[_beside(which, images)])


@dataclass(frozen=True)
class Rotate90(_OneSided):
    """Turns by a random multiple of 90 degrees (of 180 where the image is not square); pixels are kept exactly."""

    def _change(self, images, generator):
        height, width = images.shape[-2:]
        pixels = torch.arange(height * width, device=images.device).view(height, width)
        views = torch.stack([pixels.rot90(turns).flatten() for turns in range(4)])
        turns = torch.randint(4, (len(images),), generator=generator)
        return _pick(images, views[_beside(turns if height == width else turns // 2 * 2, images)])


@dataclass(frozen=True)
class Rotate(_OneSided):
    """Rotates about the centre by an angle from U(-degrees, degrees): bilinear, edges reflected."""

    degrees: float = 15.0
    _limits: ClassVar = {"degrees": (0, 180)}

    def _change(self, images, generator):
        angle = torch.deg2rad(_uniform(-self.degrees, self.degrees, images, generator)).view(-1)
        aspect = images.shape[-2] / images.shape[-1]
        zero, cos, sin = torch.zeros_like(angle), angle.cos(), angle.sin()
        return _warp(images, torch.stack([cos, -sin * aspect, zero, sin / aspect, cos, zero], 1).view(-1, 2, 3))


@dataclass(frozen=True)
class RandomResizedCrop(_OneSided):
    """Cuts a window and resizes it to the image's own size (bilinear): its share of the area from U(*scale), its width
    over height log-uniform in `ratio` (Szegedy et al. 2014, arXiv:1409.4842)."""

    scale: tuple[float, float] = (0.5, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    _limits: ClassVar = {"scale": (0.01, 1), "ratio": (0.01, 100)}

    def _change(self, images, generator):
        area = _uniform(*self.scale, images, generator)
        ratio = _uniform(math.log(self.ratio[0]), math.log(self.ratio[1]), images, generator).exp()
        width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
        left, top = (_uniform(-1, 1, images, generator) * (1 - side) for side in (width, height))
        zero = torch.zeros_like(area)
        return _warp(images, torch.cat([width, zero, left, zero, height, top], 1).view(-1, 2, 3))


# ---- Colour and texture: values change ----


@dataclass(frozen=True)
class ColorJitter(_OneSided):
    """Brightness, contrast (about the image's mean luma), saturation (about each pixel's luma) and white balance
    (`gains`, a factor a channel): factors from U(1 - a, 1 + a), composed into one affine map of a sample's colours.
    On gray images saturation and gains do nothing."""

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    gains: float = 0.05
    _limits: ClassVar = dict.fromkeys(("brightness", "contrast", "saturation", "gains"), (0, 1))

    def _change(self, images, generator):
        flat = images.float().flatten(2)
        spread = (self.brightness, self.contrast, self.saturation, self.gains, self.gains, self.gains)
        draws = 2 * torch.rand(len(images), 6, generator=generator) - 1
        factors = _beside(1 + draws * torch.tensor(spread), images)
        brightness, contrast, saturation, *gains = factors[:, :, None, None].unbind(1)
        if images.shape[1] == 1:
            luma, colours = flat.new_ones(1, 1), brightness.new_ones(1)
        else:
            luma, eye = _beside(torch.tensor([LUMA]), images), torch.eye(3, device=images.device)
            colours = torch.cat(gains, 1) * (saturation * eye + (1 - saturation) * luma.expand(3, 3))
        grey = (luma @ flat).mean(2, keepdim=True)
        pivot = (1 - contrast) * grey * brightness
        return _like((contrast * brightness * colours) @ flat + pivot, images.flatten(2)).view(images.shape)


def optical_density(images: Tensor) -> Tensor:
    """Beer-Lambert absorbance of images in 0..255: `-log10((x + 1) / 256)`, float, 0 where white."""
    return -((images.float().clamp(min=0) + 1) / 256).log10()


def concentrations(images: Tensor, stains: str = "hed") -> Tensor:
    """Colour deconvolution: RGB images `(B, 3, H, W)` to the amounts `(B, 3, H, W)` of three stains,
    `OD = amounts @ STAINS[stains]` (Ruifrok & Johnston 2001). Negative where the stains cannot make a colour."""
    if stains not in STAINS or images.shape[1] != 3:
        seen = f"stains are {stains!r}, images {tuple(images.shape)}"
        raise ArgumentError(f"{seen}; expected RGB and one of {list(STAINS)}")
    unmix = _beside(torch.linalg.inv(torch.tensor(STAINS[stains])), images)
    return torch.einsum("bohw,os->bshw", optical_density(images), unmix)


@dataclass(frozen=True)
class Stain(_OneSided):
    """Another laboratory's staining: in optical density, the amount c of each stain becomes `a c + b`, for every sample
    and stain a from U(1 - strength, 1 + strength) and b from U(-strength, strength) / 5 (Tellez et al. 2018,
    arXiv:1808.05896). `stains` is a key of STAINS; a gray image is one stain. Strength 0 is exactly the identity."""

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
        slope = _beside((torch.linalg.inv(basis) @ (factor[:, :, None] * basis)).transpose(1, 2), images)
        offset = _beside((shift / 5 @ basis)[:, :, None], images)
        density = (slope @ optical_density(images).flatten(2) + offset).view(images.shape)
        # Several times faster than expm1, and as exactly zero at zero.
        growth = (density * -math.log(10)).exp_().sub_(1)
        return _like(images + (images.float() + 1) * growth, images)


def _filter(images: Tensor, transfer: Callable[[Tensor, Tensor], Tensor], reach: int) -> Tensor:
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
class Blur(_OneSided):
    """Gaussian blur with a standard deviation from U(*sigma) pixels."""

    sigma: tuple[float, float] = (0.0, 1.0)
    _limits: ClassVar = {"sigma": (0, 100)}

    def _change(self, images, generator):
        sigma = _uniform(*self.sigma, images, generator)
        reach = math.ceil(3 * self.sigma[1])
        blurred = _filter(images.float(), lambda y, x: (-2 * (math.pi * sigma) ** 2 * (y**2 + x**2)).exp(), reach)
        return _like(blurred, images)


@dataclass(frozen=True)
class Noise(_OneSided):
    """Gaussian noise a pixel and channel, its standard deviation from U(0, std) grey levels (0..255)."""

    std: float = 10.0
    _limits: ClassVar = {"std": (0, 255)}

    def _change(self, images, generator):
        std = _uniform(0, self.std, images, generator)
        return _like(images + std * _beside(torch.randn(images.shape, generator=generator), images), images)


def _boxes(share: Tensor, images: Tensor, generator: Generator) -> Tensor:
    """Boolean `(B, 1, H, W)`: a box over `share` `(B, 1, 1, 1)` of the area, less where the edge clips it."""
    inside = []
    for axis in (2, 3):
        size = images.shape[axis]
        length = (size * share.sqrt()).long()
        start = _uniform(0, size, images, generator).long() - length // 2
        at = torch.arange(size, device=images.device).view([-1 if a == axis else 1 for a in range(4)])
        inside.append((at >= start) & (at < start + length))
    return inside[0] & inside[1]


@dataclass(frozen=True)
class Erase(_OneSided):
    """Paints a share U(*share) of the area, a box, in the image's mean colour (Zhong et al. 2017, arXiv:1708.04896)."""

    share: tuple[float, float] = (0.02, 0.2)
    _limits: ClassVar = {"share": (0, 1)}

    def _change(self, images, generator):
        box = _boxes(_uniform(*self.share, images, generator), images, generator)
        mean = images.float().mean((2, 3), keepdim=True)
        return torch.where(box, _like(mean, images), images)


@dataclass(frozen=True)
class RandAugment(_OneSided):
    """`n` operations a sample, drawn with replacement from one-sided `ops` (default: nothing, and ten of the above) at
    a magnitude of 0 to 10, which bounds their draws; it fixes them in Cubuk et al. 2019 (arXiv:1909.13719)."""

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
                chosen = _beside((which == number).nonzero()[:, 0], images)
                changed[chosen] = op(images[chosen], generator)
            images = changed
        return images


# ---- Joint: both sides, labels ----


class _Joint(_Operation):
    joint = True

    def __call__(self, sides: Sides, generator: Generator) -> Sides:
        if not isinstance(sides, Sides):
            raise DataError(f"{type(self).__name__} got a {type(sides).__name__}, expected Sides; use augment.apply")
        _check(sides.source_inputs, generator)
        return self._change(sides, generator)

    def _soft_labels(self, sides: Sides) -> Tensor:
        labels, count, k = sides.source_labels, len(sides.source_inputs), sides.classes
        if labels is None or len(labels) != count or (labels.ndim == 1 and k < 1):
            seen = "missing" if labels is None else f"{tuple(labels.shape)}"
            raise DataError(
                f"{type(self).__name__}: source labels are {seen} for {count} images and {k} classes, expected int64 "
                "(B,) with classes given, or float (B, K)"
            )
        return labels.float() if labels.is_floating_point() else torch.eye(k, device=labels.device)[labels]

    def _partners(self, sides: Sides, generator: Generator) -> Tensor:
        """A target image for each source image, drawn with replacement, as float."""
        name, shape, target = type(self).__name__, tuple(sides.source_inputs.shape[1:]), sides.target_inputs
        if target is None or len(target) == 0 or target.shape[1:] != shape:
            seen = "missing" if target is None else tuple(target.shape)
            raise DataError(f"{name}: target images are {seen}, expected at least one of the source's shape {shape}")
        which = torch.randint(len(target), (len(sides.source_inputs),), generator=generator)
        return target[_beside(which, target)].to(sides.source_inputs.device).float()


@dataclass(frozen=True)
class MixUp(_Joint):
    """`x = w x_i + (1 - w) x_j` and the same for labels, w from Beta(alpha, alpha), j a permutation of the source batch
    (Zhang et al. 2017, arXiv:1710.09412). Images become float, labels float `(B, K)`; the target stays."""

    alpha: float = 0.2
    _limits: ClassVar = {"alpha": (0.001, 1000)}

    def _change(self, sides, generator):
        labels, images = self._soft_labels(sides), sides.source_inputs.float()
        weight = _beta(self.alpha, images, generator)
        partner = _beside(torch.randperm(len(images), generator=generator), images)
        images = torch.lerp(images[partner], images, weight)
        return replace(
            sides, source_inputs=images, source_labels=torch.lerp(labels[partner], labels, weight[:, :, 0, 0])
        )


@dataclass(frozen=True)
class CutMix(_Joint):
    """Pastes a box of sample j (a permutation of the source batch) over sample i; the label of j weighs exactly the
    share of pixels it gave (Yun et al. 2019, arXiv:1905.04899). The box has a share 1 - w of the area before the edge
    clips it, w from Beta(alpha, alpha). Images keep their dtype, labels become float `(B, K)`; the target stays."""

    alpha: float = 1.0
    _limits: ClassVar = {"alpha": (0.001, 1000)}

    def _change(self, sides, generator):
        labels, images = self._soft_labels(sides), sides.source_inputs
        box = _boxes(1 - _beta(self.alpha, images, generator), images, generator)
        partner = _beside(torch.randperm(len(images), generator=generator), images)
        given = box.sum((2, 3)) / (images.shape[2] * images.shape[3])
        mixed = (1 - given) * labels + given * labels[partner]
        return replace(sides, source_inputs=torch.where(box, images[partner], images), source_labels=mixed)


def fda(source: Tensor, target: Tensor, beta: float) -> Tensor:
    """Fourier domain adaptation of float images `(..., H, W)`: the source's phase, with the target's amplitude where
    both frequencies are at most `floor(beta * min(H, W))` cycles an image (0: only each channel's mean) and the
    source's elsewhere (Yang & Soatto 2020, arXiv:2004.05498, eq. 5). May leave 0..255."""
    height, width = source.shape[-2:]
    a, b = torch.fft.rfft2(source), torch.fft.rfft2(target)
    rows, columns = torch.arange(height, device=source.device), torch.arange(width // 2 + 1, device=source.device)
    reach = math.floor(beta * min(height, width))
    low = (torch.minimum(rows, height - rows) <= reach)[:, None] & (columns <= reach)
    return torch.fft.irfft2(torch.polar(torch.where(low, b.abs(), a.abs()), a.angle()), s=(height, width))


@dataclass(frozen=True)
class FDA(_Joint):
    """`fda` of source images, each with probability `p`, towards a random target image each. Labels and target stay."""

    beta: float = 0.05
    p: float = 1.0
    _limits: ClassVar = {"beta": (0.001, 0.5), "p": (0, 1)}

    def _change(self, sides, generator):
        images, target = sides.source_inputs, self._partners(sides, generator)
        chosen = _uniform(0, 1, images, generator) < self.p
        styled = _like(fda(images.float(), target, self.beta), images)
        return replace(sides, source_inputs=torch.where(chosen, styled, images))


@dataclass(frozen=True)
class MixStyle(_Joint):
    """`sigma' (x - mu) / sigma + mu'`, channel by channel, where mu' and sigma' lie between the image's own mean and
    deviation and another image's, by a weight from Beta(alpha, alpha); each source image with probability `p`. The
    other is from the target, or from the source where there is no target. Zhou et al. 2021 (arXiv:2104.02008) do this
    to early feature maps: this is their equation on pixels. Labels and target stay."""

    alpha: float = 0.3
    p: float = 0.5
    _limits: ClassVar = {"alpha": (0.001, 1000), "p": (0, 1)}

    def _change(self, sides, generator):
        images = sides.source_inputs
        if len(images) == 0:
            return sides
        other = sides.target_inputs if sides.target_inputs is not None else images
        target = self._partners(replace(sides, target_inputs=other), generator)
        weight, chosen = _beta(self.alpha, images, generator), _uniform(0, 1, images, generator) < self.p
        std, mean = torch.std_mean(images.float(), (2, 3), correction=0, keepdim=True)
        new_std, new_mean = torch.std_mean(target, (2, 3), correction=0, keepdim=True)
        scale = torch.lerp(new_std, std, weight) / std.clamp(min=1e-3)
        styled = _like((images - mean) * scale + torch.lerp(new_mean, mean, weight), images)
        return replace(sides, source_inputs=torch.where(chosen, styled, images))


# ---- Corruptions: for testing robustness, not for training ----


def _defocus(images, radius, generator):
    radius *= min(images.shape[-2:])

    def disc(fy, fx):
        z = (2 * math.pi * radius * torch.hypot(fy, fx)).clamp(min=1e-4)
        return 2 * torch.special.bessel_j1(z) / z

    return _filter(images, disc, math.ceil(2 * radius))


def _motion(images, length, generator):
    length *= min(images.shape[-2:])
    angle = _uniform(0, math.pi, images, generator)
    return _filter(images, lambda fy, fx: torch.sinc(length * (fx * angle.cos() + fy * angle.sin())), math.ceil(length))


def _jpeg(images, quality, generator):
    decoded = []
    for image in (images + 0.5).clamp(0, 255).byte().cpu():
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).squeeze(2).numpy()).save(file, "JPEG", quality=quality)
        decoded.append(torch.from_numpy(np.array(Image.open(file))).view(*image.shape[1:], -1).permute(2, 0, 1))
    return torch.stack(decoded).to(images)


def _pixelate(images, share, generator):
    size = [max(1, round(n * share)) for n in images.shape[-2:]]
    return F.interpolate(F.interpolate(images, size, mode="area"), images.shape[-2:], mode="nearest-exact")


def _contrast(images, factor, generator):
    return torch.lerp(images.mean((1, 2, 3), keepdim=True), images, factor)


def _saturation(images, factor, generator):
    if images.shape[1] == 1:
        return images
    return torch.lerp(
        (images * _beside(torch.tensor(LUMA), images)[:, None, None]).sum(1, keepdim=True), images, factor
    )


def _distances(images: Tensor, points: int, generator: Generator) -> Tensor:
    """Distance of each pixel to `points` random points, `(B, points, H, W)`, in units of the shorter side."""
    at = _beside(torch.rand(2, len(images), points, 1, 1, generator=generator), images)
    height, width = images.shape[-2:]
    y = torch.arange(height, device=images.device)[:, None] + 0.5 - at[0] * height
    x = torch.arange(width, device=images.device) + 0.5 - at[1] * width
    return torch.hypot(y, x) / min(height, width)


def _stain_deposit(images, specks, generator):
    # Twenty are drawn whatever the severity, so that a severer image keeps the specks of a milder one.
    distance = _distances(images, 20, generator)
    radius = 0.015 + 0.04 * _beside(torch.rand(len(images), 20, 1, 1, generator=generator), images)
    speck = ((radius - distance) / 0.02 + 0.5).clamp(0, 1)[:, :specks].amax(1, keepdim=True)
    dye = images.new_tensor([80.0, 40.0, 120.0] if images.shape[1] == 3 else [60.0])
    return torch.lerp(images, dye[:, None, None].expand_as(images), 0.9 * speck)


def _bubble(images, radius, generator):
    distance = _distances(images, 1, generator)
    inside = ((radius - distance) / 0.02 + 0.5).clamp(0, 1)
    rim = (1 - (distance - radius).abs() / 0.035).clamp(0, 1)
    return (images + 0.45 * inside * (255 - images)) * (1 - 0.7 * rim)


def _gain(images, factor, generator):
    return images * factor


def _gaussian_noise(images, std, generator):
    return images + std * _beside(torch.randn(images.shape, generator=generator), images)


def _shot_noise(images, photons, generator):
    return torch.poisson(images.clamp(min=0).cpu() * (photons / 255), generator).to(images.device) * (255 / photons)


_CORRUPTIONS = {  # name: the change, and how much of it at severities 1 to 5
    "defocus": (_defocus, (0.015, 0.025, 0.04, 0.06, 0.085)),  # radius of the disc of confusion / shorter side
    "motion_blur": (_motion, (0.05, 0.08, 0.12, 0.17, 0.23)),  # path of the stage / shorter side
    "jpeg": (_jpeg, (50, 30, 18, 10, 5)),  # quality
    "pixelate": (_pixelate, (0.75, 0.55, 0.4, 0.28, 0.2)),  # share of the resolution that is left
    "brighter": (_gain, (1.1, 1.2, 1.35, 1.55, 1.8)),
    "darker": (_gain, (0.9, 0.78, 0.65, 0.5, 0.35)),
    "more_contrast": (_contrast, (1.2, 1.5, 1.9, 2.4, 3.0)),  # factor about the image's mean
    "less_contrast": (_contrast, (0.8, 0.65, 0.5, 0.35, 0.2)),
    "saturated": (_saturation, (1.25, 1.6, 2.0, 2.5, 3.2)),  # factor about luma; gray images stay as they are
    "faded": (_saturation, (0.75, 0.55, 0.35, 0.18, 0.0)),
    "gaussian_noise": (_gaussian_noise, (8, 16, 26, 38, 52)),  # standard deviation, grey levels
    "shot_noise": (_shot_noise, (250, 100, 50, 25, 12)),  # mean photons at white
    "stain_deposit": (_stain_deposit, (2, 5, 9, 14, 20)),  # specks of precipitated dye
    "bubble": (_bubble, (0.1, 0.15, 0.2, 0.26, 0.33)),  # radius / shorter side: paler inside, a dark rim
}


def _corrupt(name: str, images: Tensor, severity: int, generator: Generator) -> Tensor:
    _check(images, generator)
    if severity not in (1, 2, 3, 4, 5):
        raise ArgumentError(f"{name}: severity is {severity!r}, expected 1, 2, 3, 4 or 5")
    change, amounts = _CORRUPTIONS[name]
    return _like(change(images.float(), amounts[int(severity) - 1], generator), images) if len(images) else images


corruptions = {name: functools.partial(_corrupt, name) for name in _CORRUPTIONS}
"""Name to `corrupt(images, severity, generator) -> images`, severity 1 to 5: what goes wrong in medical imaging, in the
spirit of MedMNIST-C (Di Salvo et al. 2024, arXiv:2406.17536) but with amounts of our own: not that benchmark."""


# ---- Presets ----


def weak(size: int, augmentation: str = "upright") -> list[Callable]:
    """Shifts of an eighth of `size` (pixels; of a fourteenth for digits), and the flips and turns that `augmentation` allows."""
    if not isinstance(size, int) or size < 8:
        raise ArgumentError(f"size is {size!r}, expected the image side in pixels, 8 or more")
    turns = {"mirror": [Flip()], "any_way_up": [Flip(True, True), Rotate90()]}.get(augmentation, [])
    return [Crop(size // (14 if augmentation == "digits" else 8)), *turns]


def strong(size: int, augmentation: str = "upright") -> list[Callable]:
    """`weak`, two drawn operations and an erased box: FixMatch's strong view (Sohn et al. 2020, arXiv:2001.07685)."""
    return [*weak(size, augmentation), RandAugment(2, 10), Erase((0.05, 0.25))]


def default(*domains: Domain | None) -> list[Callable] | None:
    """What may be done to pictures or texts of these domains without changing their class, by their `augmentation`.

    "any_way_up": flips, quarter turns, small shifts. "mirror" and "upright": small shifts, zoom and brightness, the first with
    left-right flips. "digits": see `digits`. "text": a tenth of the words left out. Of domains that differ, what all allow;
    "none" gives None.
    """
    found = [domain for domain in domains if domain is not None]
    kinds = {domain.augmentation for domain in found}
    if not kinds or "none" in kinds:
        return None
    if "text" in kinds:
        return [DropTokens(0.1)]
    side = min(min(domain.inputs.shape[-2:]) for domain in found)
    if side < 8:  # a shift of one pixel is no small one
        return None
    least = next(kind for kind in ("digits", "upright", "mirror", "any_way_up") if kind in kinds)
    if least == "digits":
        return digits()
    shift = Crop(max(1, side // 16))
    if least == "any_way_up":
        return [Flip(True, True), Rotate90(), shift]
    flips: list[Callable] = [Flip()] if least == "mirror" else []
    return [*flips, shift, RandomResizedCrop((0.8, 1.0), (0.95, 1.05)), ColorJitter(0.15, 0.15, 0.0, 0.0)]


def smear() -> list[Callable]:
    """For blood smears, which have no up or down: flips, quarter turns, Giemsa staining, lamp and camera."""
    return [Flip(True, True), Rotate90(), Stain(0.25, "giemsa"), ColorJitter(0.1, 0.1, 0.1, 0.05)]


def digits() -> list[Callable]:
    """For written digits, which a flip or a half turn destroys: shifts, slight turns, slight zoom."""
    return [Crop(2), Rotate(12), RandomResizedCrop((0.8, 1.0), (0.9, 1.1))]


@dataclass(frozen=True)
class DropTokens:
    """Leaves out each token with probability p and closes the gap; a text's first and last tokens stay.

    Random deletion of Wei & Zou, 2019, arXiv:1901.11196: an augmentation `(B, L), generator -> (B, L)`, and what
    `step.view("strong")` does to text. The weak view is the text itself, under the encoder's own dropout.
    """

    p: float = 0.2

    def __post_init__(self):
        if not 0 <= self.p < 1:
            raise ArgumentError(f"DropTokens got p {self.p}, expected a probability, 0 up to but not including 1")

    def __call__(self, tokens: Tensor, generator: Generator) -> Tensor:
        draws = torch.rand(tokens.shape, generator=generator)
        dropped = draws.to(tokens.device, non_blocking=True) < self.p
        real = tokens != 0
        ends = torch.arange(tokens.shape[1], device=tokens.device)
        last = (real * ends).amax(1, keepdim=True)
        keep = real & (~dropped | (ends == 0) | (ends == last))
        order = (~keep).to(torch.uint8).argsort(dim=1, stable=True)  # what is kept first, in its order
        return (tokens * keep).gather(1, order)
