"""Joint operations: they see both sides and the labels."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Generator, Tensor

from ..errors import DataError
from .batch import Operation, Sides, beside, beta, check, like, uniform
from .color import boxes


class Joint(Operation):
    joint = True

    def __call__(self, sides: Sides, generator: Generator) -> Sides:
        if not isinstance(sides, Sides):
            raise DataError(f"{type(self).__name__} got a {type(sides).__name__}, expected Sides; use augment.apply")
        check(sides.source_inputs, generator)
        return self._change(sides, sides.source_inputs, generator)

    def _soft_labels(self, sides: Sides, count: int) -> Tensor:
        labels, k = sides.source_labels, sides.classes
        if labels is None or len(labels) != count or (labels.ndim == 1 and k < 1):
            seen = "missing" if labels is None else f"{tuple(labels.shape)}"
            raise DataError(
                f"{type(self).__name__}: source labels are {seen} for {count} images and {k} classes, expected int64 "
                "(B,) with classes given, or float (B, K)"
            )
        return labels.float() if labels.is_floating_point() else torch.eye(k, device=labels.device)[labels]

    def _partners(self, images: Tensor, target: Tensor | None, generator: Generator) -> Tensor:
        """A target image for each source image, drawn with replacement, as float."""
        name, shape = type(self).__name__, tuple(images.shape[1:])
        if target is None or len(target) == 0 or target.shape[1:] != shape:
            seen = "missing" if target is None else tuple(target.shape)
            raise DataError(f"{name}: target images are {seen}, expected at least one of the source's shape {shape}")
        which = torch.randint(len(target), (len(images),), generator=generator)
        return target[beside(which, target)].to(images.device).float()


@dataclass(frozen=True)
class MixUp(Joint):
    """Mixes source images and their labels, `w x_i + (1 - w) x_j`, j a permutation of the batch (Zhang et al. 2017, arXiv:1710.09412).

    Images become float, labels float `(B, K)`; the target stays.

    Parameters
    ----------
    alpha
        w is drawn from Beta(alpha, alpha).

    Examples
    --------
    >>> sides = xl.augment.Sides(source.train.inputs[:4], source.train.labels[:4], classes=10)
    >>> xl.augment.MixUp()(sides, torch.Generator().manual_seed(0)).source_labels.sum(1)
    tensor([1., 1., 1., 1.])
    """

    alpha: float = 0.2
    _limits: ClassVar = {"alpha": (0.001, 1000)}

    def _change(self, sides, images, generator):
        labels, images = self._soft_labels(sides, len(images)), images.float()
        weight = beta(self.alpha, images, generator)
        partner = beside(torch.randperm(len(images), generator=generator), images)
        images = torch.lerp(images[partner], images, weight)
        labels = torch.lerp(labels[partner], labels, weight[:, :, 0, 0])
        return replace(sides, source_inputs=images, source_labels=labels)


@dataclass(frozen=True)
class CutMix(Joint):
    """Pastes a box of sample j (a permutation of the source batch) over sample i (Yun et al. 2019, arXiv:1905.04899).

    The label of j weighs exactly the share of pixels it gave. The box has a share 1 - w of the area before the edge clips it, w from
    Beta(alpha, alpha). Images keep their dtype, labels become float `(B, K)`; the target stays.

    Parameters
    ----------
    alpha
        Of that Beta distribution.

    Examples
    --------
    >>> sides = xl.augment.Sides(source.train.inputs[:4], source.train.labels[:4], classes=10)
    >>> xl.augment.CutMix()(sides, torch.Generator().manual_seed(0)).source_inputs.dtype
    torch.uint8
    """

    alpha: float = 1.0
    _limits: ClassVar = {"alpha": (0.001, 1000)}

    def _change(self, sides, images, generator):
        labels = self._soft_labels(sides, len(images))
        box = boxes(1 - beta(self.alpha, images, generator), images, generator)
        partner = beside(torch.randperm(len(images), generator=generator), images)
        given = box.sum((2, 3)) / (images.shape[2] * images.shape[3])
        mixed = (1 - given) * labels + given * labels[partner]
        return replace(sides, source_inputs=torch.where(box, images[partner], images), source_labels=mixed)


def fda(source: Tensor, target: Tensor, beta: float) -> Tensor:
    """Fourier domain adaptation: the source's phase, with the target's amplitude at low frequencies (Yang & Soatto 2020, arXiv:2004.05498,
    eq. 5). May leave 0..255.

    Parameters
    ----------
    source, target
        Float images `(..., H, W)`.
    beta
        Both frequencies are at most `floor(beta * min(H, W))` cycles an image where the target's amplitude is taken;
        at 0 that is only each channel's mean.

    Returns
    -------
    Tensor
        `(..., H, W)`.

    Examples
    --------
    >>> xl.augment.fda(torch.full((4, 4), 10.0), torch.full((4, 4), 30.0), beta=0.0)[0, 0]
    tensor(30.)
    """
    height, width = source.shape[-2:]
    a, b = torch.fft.rfft2(source), torch.fft.rfft2(target)
    rows, columns = torch.arange(height, device=source.device), torch.arange(width // 2 + 1, device=source.device)
    reach = math.floor(beta * min(height, width))
    low = (torch.minimum(rows, height - rows) <= reach)[:, None] & (columns <= reach)
    return torch.fft.irfft2(torch.polar(torch.where(low, b.abs(), a.abs()), a.angle()), s=(height, width))


@dataclass(frozen=True)
class FDA(Joint):
    """`fda` of source images towards a random target image each. Labels and target stay.

    Parameters
    ----------
    beta
        As in `fda`.
    p
        Share of the images that are changed.

    Examples
    --------
    >>> sides = xl.augment.Sides(source.train.inputs[:4], target_inputs=target.train.inputs[:4])
    >>> xl.augment.FDA(0.1)(sides, torch.Generator().manual_seed(0)).source_inputs.shape
    torch.Size([4, 1, 28, 28])
    """

    beta: float = 0.05
    p: float = 1.0
    _limits: ClassVar = {"beta": (0.001, 0.5), "p": (0, 1)}

    def _change(self, sides, images, generator):
        target = self._partners(images, sides.target_inputs, generator)
        chosen = uniform(0, 1, images, generator) < self.p
        styled = like(fda(images.float(), target, self.beta), images)
        return replace(sides, source_inputs=torch.where(chosen, styled, images))


@dataclass(frozen=True)
class MixStyle(Joint):
    """Gives an image's channels another mean and deviation: `sigma' (x - mu) / sigma + mu'`.

    mu' and sigma' lie between the image's own and another image's, by a weight from Beta(alpha, alpha). The other is from the target, or
    from the source where there is no target. Zhou et al. 2021 (arXiv:2104.02008) do this to early feature maps: this is their equation
    on pixels. Labels and target stay.

    Parameters
    ----------
    alpha
        Of that Beta distribution.
    p
        Share of the source images that are changed.

    Examples
    --------
    >>> xl.augment.apply([xl.augment.MixStyle(p=1.0)], source.train.inputs[:4], torch.Generator().manual_seed(0)).shape
    torch.Size([4, 1, 28, 28])
    """

    alpha: float = 0.3
    p: float = 0.5
    _limits: ClassVar = {"alpha": (0.001, 1000), "p": (0, 1)}

    def _change(self, sides, images, generator):
        if len(images) == 0:
            return sides
        target = self._partners(images, images if sides.target_inputs is None else sides.target_inputs, generator)
        weight, chosen = beta(self.alpha, images, generator), uniform(0, 1, images, generator) < self.p
        std, mean = torch.std_mean(images.float(), (2, 3), correction=0, keepdim=True)
        new_std, new_mean = torch.std_mean(target, (2, 3), correction=0, keepdim=True)
        scale = torch.lerp(new_std, std, weight) / std.clamp(min=1e-3)
        styled = like((images - mean) * scale + torch.lerp(new_mean, mean, weight), images)
        return replace(sides, source_inputs=torch.where(chosen, styled, images))
