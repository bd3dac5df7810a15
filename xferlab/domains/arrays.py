"""A `.npz` file in the MedMNIST layout: `{train,val,test}_images` (uint8) and `{train,val,test}_labels`."""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
import shutil
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, MissingExtra
from ..storage import cache_folder, fingerprint, write_atomically
from . import stacks
from .domain import Domain, Splits, with_val
from .duplicates import warn_near_duplicates

PARTS = ("train", "val", "test")
BOMB = 200  # a large array that shrank by more than this is no set of pictures


def load(
    path: str | Path,
    *,
    classes: Sequence[str] | None = None,
    name: str | None = None,
    seed: int = 0,
    official: bool = False,
) -> Splits:
    """Reads a `.npz` in the MedMNIST layout.

    Images are uint8 `(N, H, W)` or `(N, H, W, C)` with C 1 or 3 and become `(N, C, H, W)`; labels are integers `(N,)` or
    `(N, 1)`, or zeros and ones `(N, K)` for multi-label. Class names come from `classes`, else from the `medmnist`
    package's records when the file is named like one of its sets (`bloodmnist.npz`, `bloodmnist_64.npz`), else they are
    "0" to "K-1" as seen in the training labels. Without a `val` part, 10 % of train is held out by `seed`, with a warning.
    Pictures of 256 MiB or more stay on disk and are memory-mapped, compressed ones from an unpacked copy in the cache.
    Near-duplicates across parts are warned about, unless the split is the `official` one of a published set.

    Nothing is unpickled, and headers are checked before memory is taken.

    Raises
    ------
    DataError
        Naming the array and the mend.
    """
    path = Path(path)
    if classes is None:
        classes = _recorded_classes(path.stem)
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = _sizes(path, archive)
            pictures = _mapped if sum(sizes.values()) >= stacks.MAPPED else _array
            arrays = {key: (pictures if key.endswith("images") else _array)(path, archive, key) for key in sizes}
    except DataError:
        raise
    except Exception as error:  # zipfile, zlib and numpy's header parser raise a dozen kinds on damaged bytes
        raise DataError(
            f"{path} is not a whole .npz file ({error or type(error).__name__}): it is truncated, damaged or another format; "
            "copy or download it again, or save it anew with np.savez_compressed"
        ) from error
    name, domains = name or path.stem, {}
    for part in [part for part in PARTS if f"{part}_images" in arrays]:
        labels = as_labels(f"{path}: {part}_labels", arrays[f"{part}_labels"])
        if classes is None:  # train's come first
            classes = seen_classes(f"{path}: train_labels", labels)
        images = as_images(f"{path}: {part}_images", arrays.pop(f"{part}_images"))
        try:
            domains[part] = Domain(images, labels, tuple(classes), name=name)
        except DataError as error:
            raise DataError(f"{path}, {part} part: {error}") from error
    splits = with_val(path, domains, seed)
    if not official:
        warn_near_duplicates(splits)
    return splits


def _sizes(path: Path, archive: zipfile.ZipFile) -> dict[str, int]:
    """Checks every array we want from its header alone; returns `{key: bytes}`."""
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    wanted = [f"{part}_{what}" for part in PARTS for what in ("images", "labels")]
    missing = [key for key in wanted if key not in members]
    if missing and missing != ["val_images", "val_labels"]:
        raise DataError(
            f"{path} lacks {', '.join(missing)}; it holds {', '.join(members) or 'nothing'}, expected {', '.join(wanted)} "
            "(only the val pair may be absent)"
        )
    return {key: _check_header(path, archive, key, members[key]) for key in wanted if key in members}


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and type, as the head of a .npy file says."""
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(member)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(member)
    raise ValueError(f".npy format {version}, expected (1, 0) or (2, 0)")


def _check_header(path: Path, archive: zipfile.ZipFile, key: str, info: zipfile.ZipInfo) -> int:
    with archive.open(info) as file:
        member = io.BytesIO(file.read(1 << 16))  # a header may claim gigabytes, and be a bomb itself
        shape, _, dtype = _header(member)
    if dtype.hasobject:
        raise DataError(f"{path}: {key} is a pickled object array, which is never unpickled; save plain integers")
    claimed, held, packed = math.prod(shape) * dtype.itemsize, info.file_size - member.tell(), info.compress_size
    if claimed != held or packed > os.path.getsize(path):
        raise DataError(
            f"{path}: the header of {key} claims {shape} {dtype} ({claimed:,} bytes), the file holds {held:,}; it is damaged"
            " or forged: save it anew with np.savez_compressed"
        )
    if claimed > stacks.MAPPED and claimed > BOMB * packed:
        raise DataError(f"{path}: {key} would unpack {packed:,} bytes into {claimed:,}, as no pictures do; refused")
    return claimed


def _array(path: Path, archive: zipfile.ZipFile, key: str) -> np.ndarray:
    with archive.open(f"{key}.npy") as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _mapped(path: Path, archive: zipfile.ZipFile, key: str) -> np.ndarray:
    """An array that stays on disk: where it lies, or where it is compressed in a copy in the cache. Writes to it stay private."""
    info = archive.getinfo(f"{key}.npy")
    if info.compress_type == zipfile.ZIP_STORED:
        with archive.open(info) as member:
            shape, columns_first, dtype = _header(member)
            start = member.tell()
            while member.read(1 << 20):  # at its end a damaged member tells
                pass
        with open(path, "rb") as file:
            # the lengths of the member's name and extra field, which stand before it
            file.seek(info.header_offset + 26)
            before = sum(struct.unpack("<HH", file.read(4)))
        start += info.header_offset + 30 + before
        return np.memmap(path, dtype, "c", start, shape, "F" if columns_first else "C")
    stat = path.stat()
    version = fingerprint(str(path.resolve()), stat.st_size, stat.st_mtime_ns)
    copy = cache_folder("arrays", f"{path.stem}-{version}-{key}.npy")
    if not copy.exists():
        with write_atomically(copy) as unpacked, archive.open(info) as member, open(unpacked, "wb") as file:
            shutil.copyfileobj(member, file, 1 << 20)
    return np.load(copy, mmap_mode="c", allow_pickle=False)


def as_images(what: str, array: np.ndarray) -> Tensor:
    """uint8 `(N, H, W)` or `(N, H, W, C)` as `(N, C, H, W)`. Raises `DataError`, which begins with `what`, for anything else."""
    if array.ndim not in (3, 4) or (array.ndim == 4 and array.shape[3] not in (1, 3)):
        first = array.ndim == 4 and array.shape[1] in (1, 3)
        hint = "move the channels last" if first else "3-D volumes are not supported"
        raise DataError(f"{what} are {array.shape}, expected (N, H, W) or (N, H, W, C) with C 1 or 3; {hint}")
    if 0 in array.shape:
        raise DataError(f"{what} are {array.shape}, which is empty; give at least one image")
    if array.dtype != np.uint8:
        raise DataError(f"{what} are {array.dtype}, expected uint8; {_remedy(array)}")
    images = torch.from_numpy(array)
    # of gray pictures the channel is put in front: moved there it would look like channels last, and convolutions would follow
    images = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
    return images if isinstance(array, np.memmap) else images.contiguous()


def _remedy(array: np.ndarray) -> str:
    """What to do about images that are not uint8."""
    if array.dtype.kind not in "fiu":
        return "save pictures as np.uint8 from 0 to 255"
    low, high = array.min(), array.max()
    if not np.isfinite([low, high]).all():
        return "they hold NaN or infinite values: replace those, then scale to 0..255"
    if array.dtype.kind == "f" and 0 <= low and high <= 1:
        return "they run from 0 to 1: save (images * 255).round().astype(np.uint8)"
    return (
        f"they run from {low:g} to {high:g}: choose a window (low, high) of intensities and save ((images - low) / (high - low) * 255)"
        ".clip(0, 255).astype(np.uint8), or load the single files from a folder with window="
    )


def as_labels(what: str, array: np.ndarray) -> Tensor:
    """Integers `(N,)` or `(N, 1)` as int64 `(N,)`, or zeros and ones `(N, K)` as floats. Raises as `as_images` does."""
    if array.ndim not in (1, 2) or 0 in array.shape:
        raise DataError(f"{what} are {array.shape}, expected (N,), (N, 1) or (N, K) for multi-label, with N at least 1")
    if array.dtype.kind not in "iubf" or (array.dtype.kind == "f" and (array % 1 != 0).any()):
        raise DataError(
            f"{what} are {array.dtype}, expected integers from 0, none missing; number the classes and pass their names as classes="
        )
    if array.ndim == 2 and array.shape[1] > 1:
        return torch.from_numpy(array.astype(np.float32))
    return torch.from_numpy(array.reshape(-1).astype(np.int64))


def _recorded_classes(stem: str) -> tuple[str, ...] | None:
    """Class names of the MedMNIST set that a file is named after, if any."""
    from . import medmnist

    flag = re.sub(r"_(28|64|128|224)$", "", stem)
    if flag.endswith("mnist"):
        with contextlib.suppress(MissingExtra, KeyError):
            return medmnist.classes(flag)
    return None


def seen_classes(what: str, labels: Tensor) -> tuple[str, ...]:
    """ "0" to "K-1", where labels hold each of them. Raises as `as_images` does."""
    if labels.ndim == 2:
        return tuple(map(str, range(labels.shape[1])))
    seen = labels.unique().tolist()
    if len(seen) < 2:
        raise DataError(f"{what} hold the one class {seen[0]}, expected two or more; add another, or pass classes=")
    if seen != list(range(len(seen))):
        raise DataError(
            f"{what} are {seen[:12]}{'...' if len(seen) > 12 else ''}, expected 0 to {len(seen) - 1} without gaps; "
            "renumber them, or pass the names of all classes as classes="
        )
    return tuple(map(str, seen))
