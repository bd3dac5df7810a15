"""Pictures that may be more than memory holds: above a size their tensor is a file on disk, of which memory holds what is read."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from ..storage import cache_folder

MAPPED = 1 << 28  # bytes from which on pictures stay on disk


def room(shape: Sequence[int]) -> np.ndarray:
    """uint8 of a shape to be filled: in memory, or from `MAPPED` bytes on in a nameless file, which goes with the last who uses it.

    Raises
    ------
    DataError
        Where the disk has no room for it.
    """
    if (size := math.prod(shape)) < MAPPED:
        return np.empty(shape, np.uint8)
    folder = cache_folder("arrays")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):  # a full disk tells now: while it is filled, the process would be killed
                os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, np.uint8, "w+", shape=tuple(shape))
    except OSError as error:
        raise DataError(
            f"{folder} has no room for {size / 1e9:.1f} GB of pictures ({error.strerror}); free some, or point XFERLAB_DATA elsewhere"
        ) from error


def stacked(pictures: Iterable[np.ndarray], expected: int) -> Tensor:
    """Pictures `(H, W)` or `(H, W, 3)` as they come, about `expected` of them, as uint8 `(N, C, H, W)`: gray is repeated beside color.

    Raises
    ------
    DataError
        For two sizes.
    """
    stack, n = np.empty((0, 0, 0, 0), np.uint8), 0
    for picture in pictures:
        picture = picture.transpose(2, 0, 1) if picture.ndim == 3 else picture[None]
        if n and picture.shape[1:] != stack.shape[2:]:
            sizes = " and ".join(f"{width} x {height}" for height, width in (stack.shape[2:], picture.shape[1:]))
            raise DataError(f"images have several sizes, such as {sizes}; give size= to bring them to one")
        if n == len(stack) or len(picture) > stack.shape[1]:
            larger = room((max(expected, 2 * n), max(len(picture), stack.shape[1]), *picture.shape[1:]))
            if n:
                larger[:n] = stack[:n]
            stack = larger
        stack[n] = picture
        n += 1
    return torch.from_numpy(stack[:n])


def select(inputs: Tensor, rows: Tensor) -> Tensor:
    """`inputs[rows]` for row numbers `(n,)`; on disk where `inputs` are many pictures."""
    if not _many([inputs]):
        return inputs[rows]
    return torch.index_select(inputs, 0, rows, out=torch.from_numpy(room((len(rows), *inputs.shape[1:]))))


def concatenated(parts: Sequence[Tensor]) -> Tensor:
    """`torch.cat(parts)`; on disk where they are many pictures."""
    shape = (sum(map(len, parts)), *parts[0].shape[1:])
    return torch.cat(list(parts), out=torch.from_numpy(room(shape)) if _many(parts) else None)


def _many(parts: Sequence[Tensor]) -> bool:
    return parts[0].dtype == torch.uint8 and not parts[0].is_cuda and sum(part.numel() for part in parts) >= MAPPED
