"""Corruptions: for testing robustness, not for training."""

import functools
import io
import math

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Generator, Tensor

from ..errors import ArgumentError
from .batch import LUMA, beside, check, like, uniform
from .color import convolve


def _defocus(images, radius, generator):
    radius *= min(images.shape[-2:])

    def disc(fy, fx):
        z = (2 * math.pi * radius * torch.hypot(fy, fx)).clamp(min=1e-4)
        return 2 * torch.special.bessel_j1(z) / z

    return convolve(images, disc, math.ceil(2 * radius))


def _motion(images, length, generator):
    length *= min(images.shape[-2:])
    angle = uniform(0, math.pi, images, generator)
    x, y = angle.cos(), angle.sin()
    return convolve(images, lambda fy, fx: torch.sinc(length * (fx * x + fy * y)), math.ceil(length))


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
    return torch.lerp((images * beside(torch.tensor(LUMA), images)[:, None, None]).sum(1, keepdim=True), images, factor)


def _distances(images: Tensor, points: int, generator: Generator) -> Tensor:
    """Distance of each pixel to `points` random points, `(B, points, H, W)`, in units of the shorter side."""
    at = beside(torch.rand(2, len(images), points, 1, 1, generator=generator), images)
    height, width = images.shape[-2:]
    y = torch.arange(height, device=images.device)[:, None] + 0.5 - at[0] * height
    x = torch.arange(width, device=images.device) + 0.5 - at[1] * width
    return torch.hypot(y, x) / min(height, width)


def _stain_deposit(images, specks, generator):
    # Twenty are drawn whatever the severity, so that a severer image keeps the specks of a milder one.
    distance = _distances(images, 20, generator)
    radius = 0.015 + 0.04 * beside(torch.rand(len(images), 20, 1, 1, generator=generator), images)
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
    return images + std * beside(torch.randn(images.shape, generator=generator), images)


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
    "gaussian_noise": (_gaussian_noise, (8, 16, 26, 38, 52)),  # standard deviation, gray levels
    "shot_noise": (_shot_noise, (250, 100, 50, 25, 12)),  # mean photons at white
    "stain_deposit": (_stain_deposit, (2, 5, 9, 14, 20)),  # specks of precipitated dye
    "bubble": (_bubble, (0.1, 0.15, 0.2, 0.26, 0.33)),  # radius / shorter side: paler inside, a dark rim
}


def _corrupt(name: str, images: Tensor, severity: int, generator: Generator) -> Tensor:
    check(images, generator)
    if severity not in (1, 2, 3, 4, 5):
        raise ArgumentError(f"{name}: severity is {severity!r}, expected 1, 2, 3, 4 or 5")
    change, amounts = _CORRUPTIONS[name]
    return like(change(images.float(), amounts[int(severity) - 1], generator), images) if len(images) else images


corruptions = {name: functools.partial(_corrupt, name) for name in _CORRUPTIONS}
"""Name to `corrupt(images, severity, generator) -> images`, severity 1 to 5: what goes wrong in medical imaging, in the
spirit of MedMNIST-C (Di Salvo et al. 2024, arXiv:2406.17536) but with amounts of our own: not that benchmark."""
