"""What every operation shares: batches and sides, draws on the CPU, checks of images and arguments."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, overload

import numpy as np
import torch
from torch import Generator, Tensor

from ..errors import ArgumentError, DataError

LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, eq=False)
class Sides:
    """What a joint augmentation sees.

    Parameters
    ----------
    source_inputs
        Images `(B, C, H, W)` or None.
    source_labels
        Int64 `(B,)`, float `(B, K)` (multi-label or already soft), or None.
    target_inputs
        Images `(M, C, H, W)`, or None; target labels are never here.
    classes
        K, the width of soft labels.

    Examples
    --------
    >>> sides = xl.augment.Sides(source.train.inputs[:4], source.train.labels[:4], classes=10)
    >>> mixed = xl.augment.apply([xl.augment.MixUp()], sides, torch.Generator().manual_seed(0))
    >>> mixed.source_labels.shape
    torch.Size([4, 10])
    """

    source_inputs: Tensor | None
    source_labels: Tensor | None = None
    target_inputs: Tensor | None = None
    classes: int = 0


@overload
def apply(pipeline: Sequence[Callable], batch: Tensor, generator: Generator) -> Tensor: ...
@overload
def apply(pipeline: Sequence[Callable], batch: Sides, generator: Generator) -> Sides: ...
def apply(pipeline: Sequence[Callable], batch: Tensor | Sides, generator: Generator) -> Tensor | Sides:
    """Runs the operations in order; images give images, `Sides` give `Sides`.

    One-sided operations change source and target, each with its own draws. Images alone are, to a joint operation, a
    source without labels or target: MixStyle mixes within the batch, the others raise `DataError`.

    Parameters
    ----------
    pipeline
        Operations, or callables `op(images, generator) -> images`.
    batch
        Images `(B, C, H, W)` in 0..255, or Sides.
    generator
        On the CPU; all draws come from it.

    Returns
    -------
    Tensor or Sides
        What went in, changed.

    Raises
    ------
    DataError
        For what is no batch of images, or lacks what a joint operation needs.
    ArgumentError
        For what is no list of operations.

    Examples
    --------
    >>> pipeline = [xl.augment.Crop(2), xl.augment.Noise(10.0)]
    >>> xl.augment.apply(pipeline, source.train.inputs[:4], torch.Generator().manual_seed(0)).dtype
    torch.uint8
    """
    if not isinstance(batch, (Tensor, Sides)):
        raise DataError(f"the batch is a {type(batch).__name__}, expected an image tensor or augment.Sides")
    if not isinstance(pipeline, Sequence) or not all(map(callable, pipeline)):
        raise ArgumentError(f"the pipeline is {pipeline!r}, expected a list of operations such as [Crop(4), Flip()]")
    sides: Any = Sides(batch) if isinstance(batch, Tensor) else batch
    for op in pipeline:
        if getattr(op, "joint", False):
            sides = op(sides, generator)
        else:
            source, target = (x if x is None else op(x, generator) for x in (sides.source_inputs, sides.target_inputs))
            sides = replace(sides, source_inputs=source, target_inputs=target)
    return sides.source_inputs if isinstance(batch, Tensor) else sides


def check(images: Any, generator: Generator) -> None:
    pictures = isinstance(images, Tensor) and images.ndim == 4 and images.shape[1] in (1, 3)
    if not pictures or not (images.dtype == torch.uint8 or images.is_floating_point()):
        kind = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise DataError(
            f"images are {kind}, expected uint8 or float (B, C, H, W) in 0..255 with C 1 or 3; permute if channels "
            "come last, add [None] to a single image, leave token ids unaugmented"
        )
    if not isinstance(generator, Generator) or generator.device.type != "cpu":
        raise ArgumentError(f"the generator is {generator!r}, expected torch.Generator() on the CPU; draws are moved")


def beside(draws: Tensor, images: Tensor) -> Tensor:
    """What was drawn on the CPU, on the images' device. The GPU is not waited for: memory like this is copied out before the call returns."""
    return draws.to(images.device, non_blocking=True)


def uniform(low: float, high: float, images: Tensor, generator: Generator) -> Tensor:
    """One draw a sample, shaped `(B, 1, 1, 1)`, on the images' device."""
    return beside(torch.rand(len(images), 1, 1, 1, generator=generator) * (high - low) + low, images)


def beta(alpha: float, images: Tensor, generator: Generator) -> Tensor:
    """A Beta(alpha, alpha) draw a sample, `(B, 1, 1, 1)`. NumPy draws it: torch's Beta takes no generator."""
    seed = int(torch.randint(2**62, (), generator=generator))
    draws = np.random.default_rng(seed).beta(alpha, alpha, size=(len(images), 1, 1, 1))
    return beside(torch.from_numpy(draws).float(), images)


def like(result: Tensor, images: Tensor) -> Tensor:
    """`result` clamped to 0..255, in the dtype of `images`, rounded where that is uint8."""
    if images.dtype == torch.uint8:
        return (result + 0.5).clamp_(0, 255).to(torch.uint8)
    return result.clamp(0, 255).to(images.dtype)


class Operation:
    """What every operation is: a frozen dataclass whose arguments are checked when it is made.

    `joint` says which kind it is: `op(images, generator)`, or, where True, `op(sides, generator)`.

    Raises
    ------
    ArgumentError
        For an argument out of its range.

    Examples
    --------
    >>> isinstance(xl.augment.Flip(), xl.augment.Operation), xl.augment.MixUp.joint
    (True, True)
    """

    joint = False
    # argument: (lowest, highest); a range must lie within, in order
    _limits: ClassVar[dict[str, tuple[float, float]]] = {}

    def __post_init__(self):
        for argument, (low, high) in self._limits.items():
            value, default = getattr(self, argument), getattr(type(self), argument)
            kind = (int, float) if isinstance(default, float) else type(default)
            pair = value if kind is tuple else (value, value)
            if not isinstance(value, kind) or len(pair) != 2 or not low <= pair[0] <= pair[1] <= high:
                seen = f"{type(self).__name__}: {argument} is {value!r}"
                raise ArgumentError(f"{seen}, expected something like {default}, from {low} to {high}")

    def _change(self, *seen):
        raise NotImplementedError


class OneSided(Operation):
    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        check(images, generator)
        return self._change(images, generator) if len(images) else images
