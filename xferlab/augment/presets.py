"""What to use when: what a domain allows, weak and strong views, presets by kind of picture."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from ..domains import Domain
from ..errors import ArgumentError
from .batch import Operation, beside
from .color import ColorJitter, Erase, RandAugment, Stain
from .geometry import Crop, Flip, RandomResizedCrop, Rotate, Rotate90


def weak(size: int, augmentation: str = "upright") -> list[Callable]:
    """Small shifts, and the flips and turns that keep the class.

    Parameters
    ----------
    size
        Of the image's side, in pixels, 8 or more: shifts go up to an eighth of it (a fourteenth for digits).
    augmentation
        What the domain allows, see `Domain`.

    Returns
    -------
    list
        A pipeline.

    Raises
    ------
    ArgumentError
        For a smaller size.

    Examples
    --------
    >>> xl.augment.weak(64, "mirror")
    [Crop(padding=8), Flip(horizontal=True, vertical=False)]
    """
    if not isinstance(size, int) or size < 8:
        raise ArgumentError(f"size is {size!r}, expected the image side in pixels, 8 or more")
    turns: dict[str, list[Callable]] = {"mirror": [Flip()], "any_way_up": [Flip(True, True), Rotate90()]}
    return [Crop(size // (14 if augmentation == "digits" else 8)), *turns.get(augmentation, [])]


def strong(size: int, augmentation: str = "upright") -> list[Callable]:
    """`weak`, two drawn operations and an erased box: FixMatch's strong view (Sohn et al. 2020, arXiv:2001.07685).

    Parameters
    ----------
    size, augmentation
        As in `weak`.

    Returns
    -------
    list
        A pipeline.

    Examples
    --------
    >>> xl.augment.strong(28, "digits")[-1]
    Erase(share=(0.05, 0.25))
    """
    return [*weak(size, augmentation), RandAugment(2, 10), Erase((0.05, 0.25))]


def default(*domains: Domain | None) -> list[Callable] | None:
    """What may be done to pictures or texts of these domains without changing their class, by their `augmentation`.

    "any_way_up": flips, quarter turns, small shifts. "mirror" and "upright": small shifts, zoom and brightness, the first with
    left-right flips. "digits": see `digits`. "text": a tenth of the words left out. Of domains that differ, what all allow;
    "none" gives None.

    Parameters
    ----------
    domains
        Or None; of domains that differ, what all allow.

    Returns
    -------
    list or None
        A pipeline, None where nothing may be done.

    Examples
    --------
    >>> xl.augment.default(source.train, target.train)[0]
    Crop(padding=2)
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
    """For blood smears, which have no up or down: flips, quarter turns, Giemsa staining, lamp and camera.

    Returns
    -------
    list
        A pipeline.

    Examples
    --------
    >>> [type(op).__name__ for op in xl.augment.smear()]
    ['Flip', 'Rotate90', 'Stain', 'ColorJitter']
    """
    return [Flip(True, True), Rotate90(), Stain(0.25, "giemsa"), ColorJitter(0.1, 0.1, 0.1, 0.05)]


def digits() -> list[Callable]:
    """For written digits, which a flip or a half turn destroys: shifts, slight turns, slight zoom.

    Returns
    -------
    list
        A pipeline.

    Examples
    --------
    >>> [type(op).__name__ for op in xl.augment.digits()]
    ['Crop', 'Rotate', 'RandomResizedCrop']
    """
    return [Crop(2), Rotate(12), RandomResizedCrop((0.8, 1.0), (0.9, 1.1))]


@dataclass(frozen=True)
class DropTokens(Operation):
    """Leaves out some tokens and closes the gap; a text's first and last tokens stay.

    Random deletion of Wei & Zou, 2019, arXiv:1901.11196: an augmentation `(B, L), generator -> (B, L)`, and what
    `step.view("strong")` does to text. The weak view is the text itself, under the encoder's own dropout.

    Parameters
    ----------
    p
        The chance of each token, 0 to 0.99.

    Examples
    --------
    >>> xl.augment.DropTokens(0.5)(torch.tensor([[5, 6, 7, 8, 0]]), torch.Generator().manual_seed(0))
    tensor([[5, 6, 8, 0, 0]])
    """

    p: float = 0.2
    _limits: ClassVar = {"p": (0, 0.99)}

    def __call__(self, tokens: Tensor, generator: Generator) -> Tensor:
        dropped = beside(torch.rand(tokens.shape, generator=generator), tokens) < self.p
        real = tokens != 0
        ends = torch.arange(tokens.shape[1], device=tokens.device)
        last = (real * ends).amax(1, keepdim=True)
        keep = real & (~dropped | (ends == 0) | (ends == last))
        order = (~keep).to(torch.uint8).argsort(dim=1, stable=True)  # what is kept first, in its order
        return (tokens * keep).gather(1, order)
