"""How numbers beyond 8 bits become 8: one scale for a collection, a window in Hounsfield units, or picture by picture."""

from __future__ import annotations

import contextlib
from numbers import Real
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..errors import ArgumentError, DataError

WINDOWS = {"soft": (-160.0, 240.0), "lung": (-1350.0, 150.0), "bone": (-500.0, 1300.0), "brain": (0.0, 80.0)}
SAMPLED, TAKEN = 200, 4096  # pictures, and pixels of each, that a collection's scale is read from


class Scale(NamedTuple):
    """Intensities that become 0 and 255, and the bits that the collection they were read from uses."""

    low: float
    high: float
    bits: int


def to_uint8(values: np.ndarray, window: tuple[float, float] | None = None) -> np.ndarray:
    """Intensities to 0..255: `window` (low, high), else the 0.5 and 99.5 percentiles, become 0 and 255."""
    if not np.isfinite(values).all():
        raise DataError("it holds NaN or infinite values")
    low, high = window or np.percentile(values, (0.5, 99.5))
    scaled = (values - low) / max(high - low, 1e-6) * 255
    return scaled.round().clip(0, 255).astype(np.uint8)


def check(window: tuple[float, float] | str | None, intensity: str | tuple | None) -> None:
    """

    Raises
    ------
    ArgumentError
        For a window or an intensity that is none.
    """
    for name, value, words in (("window", window, WINDOWS), ("intensity", intensity, ("collection", "image"))):
        if value is None:
            continue
        if isinstance(value, str):
            good = value in words
        else:
            numbers = isinstance(value, (tuple, list)) and all(isinstance(number, Real) for number in value)
            good = numbers and len(value) in (2, 3) and value[0] < value[1]
        if not good:
            raise ArgumentError(f"{name} is {value!r}, expected {', '.join(words)}, or (low, high), low below high")


def choose(files: list[Path], wanted: tuple | str | None, notes: list[str]) -> Scale | None:
    """One scale for pictures of more than 8 bits, from a sample of them; None where none of the sample can be read.

    `wanted`, where it is another collection's Scale, is taken where both use as many bits, give or take one, or fractions.

    Whole numbers from 0 that fill at least a quarter of the bits they use keep all of that range, fractions from 0 to 1 keep
    0 to 1; else the 0.5 and 99.5 percentiles of the pixels of all sampled pictures together become 0 and 255.
    """
    samples = []
    for file in files[:: -(-len(files) // SAMPLED)]:
        with contextlib.suppress(Exception), Image.open(file) as opened:  # what is damaged is told when it is decoded
            values = np.asarray(opened, np.float64).ravel()
            extremes = [values.min(), values.max()]
            if np.isfinite(extremes).all():
                samples.append(np.concatenate([values[:: -(-len(values) // TAKEN)], extremes]))
    if not samples:
        return None
    pixels = np.concatenate(samples)
    low, high = np.percentile(pixels, (0.5, 99.5))
    whole = bool((pixels == pixels.round()).all())
    bits = max(int(pixels.max()), 1).bit_length() if whole else 0
    top = 2.0**bits - 1
    if pixels.min() >= 0 and pixels.max() <= top + (not whole) and high - low >= top / 4:
        low, high = 0.0, max(top, 1.0)
    own = Scale(float(low), float(high), bits)
    if not isinstance(wanted, Scale):
        return own
    if bool(wanted.bits) == bool(bits) and abs(wanted.bits - bits) <= 1:
        return wanted
    notes.append(
        f"pictures use {bits or 'fractions of'} bits and the source's {wanted.bits or 'fractions of'}, so that its scale does not serve"
    )
    return own
