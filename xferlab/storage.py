"""Where files are kept, how they are written (whole or not at all) and how their content is named."""

from __future__ import annotations

import contextlib
import functools
import glob
import hashlib
import os
import re
import secrets
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path

from safetensors import SafetensorError

from .errors import ArgumentError, ChecksumError, DataError


def cache_folder(*parts: str) -> Path:
    """`$XFERLAB_DATA` (else `~/.cache/xferlab`) joined with `parts`; nothing is created until something is written."""
    root = os.environ.get("XFERLAB_DATA") or Path.home() / ".cache" / "xferlab"
    return Path(root).expanduser().joinpath(*parts)


# folders of the cache whose files can be made again from what they were made of; downloads, runs and progress are none
REMADE = ("arrays", "cells", "digits", "features", "folders", "tokens")


def cached_files() -> list[tuple[float, int, Path]]:
    """When each file of the cache that can be made again was written, its size in bytes and where it is; oldest first."""
    found = []
    for folder in REMADE:
        for path in cache_folder(folder).glob("[!.]*"):
            with contextlib.suppress(OSError):  # another process may have removed it
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
    return sorted(found)


def cache_limit() -> float:
    """How many bytes they may take: `$XFERLAB_CACHE_GB`, else 5 GB.

    Raises
    ------
    ArgumentError
        For what is no number of them.
    """
    text = os.environ.get("XFERLAB_CACHE_GB", "5")
    with contextlib.suppress(ValueError):
        if (limit := 1e9 * float(text)) >= 0:
            return limit
    raise ArgumentError(f"XFERLAB_CACHE_GB is {text!r}, expected a number of gigabytes, such as 5")


def shrink_cache(limit: float, keep: Path | None = None) -> int:
    """Removes the oldest of `cached_files`, but not `keep`, until they take `limit` bytes or less; how many bytes that freed."""
    files, freed = cached_files(), 0
    excess = sum(size for _, size, _ in files) - limit
    for _, size, path in files:
        if freed < excess and path != keep:
            with contextlib.suppress(OSError):  # in use (Windows), or another process was first
                path.unlink()
                freed += size
    return freed


@functools.cache
def _print_once(text: str) -> None:
    print(text, file=sys.stderr)


@contextlib.contextmanager
def write_atomically(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is flushed to disk and renamed onto it, on error removed.

    A reader sees the old file or the new one, never half of one, whatever kills the writer. What writers that were killed
    left of this file goes after a day, and the oldest of `cached_files` where they are more than `cache_limit`.

    Raises
    ------
    DataError
        When the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.????????{path.suffix}"):
            with contextlib.suppress(OSError):  # another process may be sweeping too
                if time.time() - left.stat().st_mtime > 86_400:
                    left.unlink()
        # not mkstemp, whose files only their owner may read
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}{path.suffix}")
        open(temporary, "xb").close()
    except OSError as error:
        instead = "free some space or point XFERLAB_DATA at a folder you can write"
        raise DataError(f"cannot write {path} ({error.strerror}); {instead}") from error
    try:
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError, SafetensorError) as error:  # the last two: torch's and safetensors' full disk
        reason = getattr(error, "strerror", None) or f"is the disk full? {str(error).splitlines()[0]}"
        raise DataError(f"cannot write {path} ({reason}); the earlier file, if any, is intact") from error
    finally:
        temporary.unlink(missing_ok=True)
    if path.parent in map(cache_folder, REMADE) and shrink_cache(limit := cache_limit(), keep=path):
        _print_once(f"Cached files take more than {limit / 1e9:g} GB (XFERLAB_CACHE_GB): the oldest are removed.")


def write_text(path: str | Path, text: str) -> None:
    """Writes a file of text whole or not at all, see `write_atomically`."""
    with write_atomically(path) as temporary:
        temporary.write_text(text, "utf-8")


def kept_arrays(path: Path, make: Callable[[], dict]) -> dict:
    """NumPy arrays by name: those of an earlier call's file where it is whole, else what `make` makes, which is kept there.

    `path` says what they were made of: other content has another path.
    """
    import numpy as np

    # a damaged file raises nearly anything, and making anew is always right
    with contextlib.suppress(Exception), np.load(path, allow_pickle=False) as file:
        return dict(file)
    found = make()
    # a cache that cannot be written costs time alone
    with contextlib.suppress(DataError), write_atomically(path) as temporary:
        np.savez(temporary, **found)
    return found


def digest(path: str | Path, algorithm: str = "sha256") -> str:
    """Hex digest of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def verify(path: str | Path, expected: str, algorithm: str = "sha256") -> Path:
    """Returns `path` if its digest is `expected`, else raises `ChecksumError`."""
    if (seen := digest(path, algorithm)) != expected:
        instead = "it is damaged or another version: delete it and try again"
        raise ChecksumError(f"{path} has {algorithm} {seen}, expected {expected}; {instead}")
    return Path(path)


def described(value) -> str:
    """What a setting is, in words that are the same in every process: `repr` without memory addresses; a function by its
    name and code, inside lists, tuples, dicts and dataclasses too."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {described(item)}' for key, item in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(described, value))}]"
    if isinstance(code := getattr(value, "__code__", None), types.CodeType):
        constants = [described(constant) for constant in code.co_consts]
        held = [described(cell.cell_contents) for cell in value.__closure__ or ()]
        parts = (code.co_code, constants, code.co_names, described(value.__defaults__), held)
        return f"{value.__module__}.{value.__qualname__} {fingerprint(parts)}"
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def fingerprint(*things) -> str:
    """A short name for content: equal tensors, arrays, strings and numbers give equal names, on any machine."""
    import numpy as np  # heavy, and the command line writes files without them
    import torch

    sha = hashlib.sha256()

    def feed(thing):
        if isinstance(thing, np.ndarray):
            thing = torch.from_numpy(np.ascontiguousarray(thing))
        if isinstance(thing, torch.Tensor):
            sha.update(f"{thing.dtype}{tuple(thing.shape)}".encode())
            rows = thing.detach().flatten() if thing.ndim < 2 else thing.detach()
            for part in rows.split(max(1, 2**22 // max(1, rows[:1].numel()))) if rows.numel() else ():
                # a part at a time: pictures may be mapped from a file larger than memory
                sha.update(memoryview(part.cpu().flatten().view(torch.uint8).numpy()))
        elif isinstance(thing, dict):
            for key, item in thing.items():
                feed(str(key))
                feed(item)
        elif isinstance(thing, (list, tuple)):
            sha.update(f"[{len(thing)}".encode())
            for item in thing:
                feed(item)
        else:
            sha.update(repr(thing).encode())
        sha.update(b";")

    feed(things)
    return sha.hexdigest()[:16]
