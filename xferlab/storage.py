"""Where files are kept, how they are written (whole or not at all) and how their content is named."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import re
import secrets
import time
import types
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from .errors import ChecksumError, DataError


def cache_folder(*parts: str) -> Path:
    """`$XFERLAB_DATA` (else `~/.cache/xferlab`) joined with `parts`; nothing is created until something is written."""
    root = os.environ.get("XFERLAB_DATA") or Path.home() / ".cache" / "xferlab"
    return Path(root).expanduser().joinpath(*parts)


@contextlib.contextmanager
def write_atomically(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is flushed to disk and renamed onto it, on error removed.

    A reader sees the old file or the new one, never half of one, whatever kills the writer. What writers that were killed
    left of this file goes after a day. Raises `DataError` when the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path)
        # not mkstemp, whose files only their owner may read
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}{path.suffix}")
        open(temporary, "xb").close()
    except OSError as error:
        raise DataError(
            f"cannot write {path} ({error.strerror}); free some space or point XFERLAB_DATA at a folder you can write"
        ) from error
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


def _sweep(path: Path) -> None:
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.????????{path.suffix}"):
        with contextlib.suppress(OSError):  # another process may be sweeping too
            if time.time() - left.stat().st_mtime > 86_400:
                left.unlink()


def digest(path: str | Path, algorithm: str = "sha256") -> str:
    """Hex digest of a file, read in pieces."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def verify(path: str | Path, expected: str, algorithm: str = "sha256") -> Path:
    """Returns `path` if its digest is `expected`, else raises `ChecksumError`."""
    seen = digest(path, algorithm)
    if seen != expected:
        raise ChecksumError(
            f"{path} has {algorithm} {seen}, expected {expected}; it is damaged or another version: delete it and try again"
        )
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
            thing = thing.detach().cpu().contiguous()
            sha.update(f"{thing.dtype}{tuple(thing.shape)}".encode())
            sha.update(memoryview(thing.flatten().view(torch.uint8).numpy()) if thing.numel() else b"")
        elif isinstance(thing, dict):
            for key in thing:
                feed(str(key))
                feed(thing[key])
        elif isinstance(thing, (list, tuple)):
            sha.update(f"[{len(thing)}".encode())
            for item in thing:
                feed(item)
        else:
            sha.update(repr(thing).encode())
        sha.update(b";")

    feed(things)
    return sha.hexdigest()[:16]
