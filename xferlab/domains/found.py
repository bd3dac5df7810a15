"""What a folder holds once it is read; one that has not changed since is not decoded again but mapped from the cache."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import PIL
import torch
from torch import Tensor

from ..errors import DataError
from ..storage import cache_folder, cache_limit, described, digest, fingerprint, write_atomically
from . import tables
from .domain import Domain
from .intensity import Scale
from .layout import numbers
from .stacks import select

WORTH = 0.2  # seconds of decoding from which on a folder is kept
SETTLED = 2.0  # seconds since the last change: changes closer than a file system's clock ticks look like one


class Found(NamedTuple):
    """All images of a folder, with what the folder tells of each.

    parts, patients the split and the patient of each image, "" where nothing says; no patients where nobody knows
    images, labels  uint8 `(N, C, H, W)`, and class numbers `(N,)`, -1 where there is none
    classes         names of all classes
    scale           the intensities that became 0 and 255 in pictures of more than 8 bits, or None
    guessed         whether patients were told by folders rather than by the caller
    notes           what is to be said of it

    Parameters
    ----------
    root
        The folder.
    files, names
        Below it; the name of a frame of several has # and its number too.
    """

    root: Path
    files: list[str]
    names: list[str]
    parts: list[str]
    images: Tensor
    labels: Tensor
    patients: list[str]
    classes: tuple[str, ...]
    scale: Scale | None
    guessed: bool
    notes: list[str]

    def domain(self, rows: Tensor | None = None) -> Domain:
        """Those of `rows`, else all."""
        rows = torch.arange(len(self.files)) if rows is None else rows
        labels = self.labels[rows]
        return Domain(
            select(self.images, rows),
            labels if (labels >= 0).all() else None,
            self.classes,
            numbers(str(self.root), self.patients, None)[0][rows] if self.patients else None,
            name=self.root.resolve().name,
            files=tuple(self.names[i] for i in rows.tolist()),
        )


def remembered(find: Callable[..., Found]) -> Callable[..., Found]:
    """`find` with a memory, and its notes as warnings.

    A folder is known by the options and by the name, size and times (in nanoseconds) of all that lies in it and of the tables
    that belong to it. A file that is edited in place changes its times, so that the folder is read anew.
    """

    @functools.wraps(find)
    def remembering(root: Path, **options) -> Found:
        began, state = time.time(), _state(root, options)
        place = cache_folder("folders", f"{fingerprint(_code(), described(options), json.dumps(state))}.pt")
        found = _recall(root, place)
        if found is None:
            found = find(root, **options)
            newest = max((max(times) for _, _, *times in state), default=0) / 1e9
            quiet = newest < began - SETTLED and state == _state(root, options)
            if quiet and time.time() - began >= WORTH and found.images.numel() <= cache_limit():
                with contextlib.suppress(DataError):  # a cache that cannot be written costs time, nothing else
                    _keep(found, place)
        for note in found.notes:
            warnings.warn(note, stacklevel=4)
        return found

    return remembering


def _state(root: Path, options: dict) -> list[list]:
    """Path, size, and times of change of everything in the folder, and of the tables beside it."""
    paths = [os.path.abspath(root)]
    for folder, inner, names in os.walk(paths[0]):
        paths += [os.path.join(folder, name) for name in (*inner, *names)]
    with contextlib.suppress(OSError, DataError):  # `find` tells of what is not there
        above = os.path.dirname(paths[0])  # tables there are offered
        paths += [os.path.join(above, name) for name in os.listdir(above) if name.lower().endswith(tables.ENDINGS)]
        named = [tables.find(root, name) for key in ("groups", "labels") if isinstance(name := options.get(key), str)]
        paths += [os.path.abspath(table[0]) for table in named if table]
    state: list[list] = []
    for path in sorted(paths):
        with contextlib.suppress(OSError):  # of a link, its own and those of what it leads to
            stats = [os.lstat(path)] + ([os.stat(path)] if os.path.islink(path) else [])
            state += [[path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns] for stat in stats]
    return state


@functools.cache
def _code() -> str:
    """The code that reads folders: another version of it may read them differently."""
    return fingerprint(PIL.__version__, [digest(file) for file in sorted(Path(__file__).parent.glob("*.py"))])


def _keep(found: Found, place: Path) -> None:
    with write_atomically(place) as path:
        torch.save(found._asdict() | {"root": None, "scale": found.scale and tuple(found.scale)}, path)


def _recall(root: Path, place: Path) -> Found | None:
    """What was kept, its pictures mapped: writes to them stay private. None where nothing was kept, or it is damaged."""
    with contextlib.suppress(Exception):
        found = Found(**torch.load(place, mmap=True, weights_only=True))
        return found._replace(root=root, scale=found.scale and Scale(*found.scale))
    return None
