"""A download that resumes where it broke off and leaves either the right file or none."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import shutil
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from ..errors import ChecksumError, DownloadError
from ..storage import digest

TRIES = 5  # attempts in a row that bring less than 1 MiB
PAUSE = 1.0  # seconds before the second attempt; doubles with each
TIMEOUT = 20.0  # seconds without a byte
LONGEST = 20 << 30  # bytes; no MedMNIST file comes near

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EIO}
_NO_ROUTE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN}


def fetch(url: str, path: str | Path, md5: str) -> Path:
    """Downloads `url` to `path`, which appears only when whole and of the right MD5.

    What has arrived is kept in `.{name}.part` beside it, and a later call, after a dropped line or a killed process,
    goes on from there. Two processes that fetch one file take turns. Raises `DownloadError` when the server cannot be
    reached, refuses or keeps breaking off, or the disk is full, and `ChecksumError` when it sends other bytes than the
    promised ones (which are removed).
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _turn(path.with_name(f".{path.name}.lock")):
            if path.exists():  # another process was first
                return path
            resumed = part.exists()
            _receive(url, part)
            if (
                resumed and digest(part, "md5") != md5
            ):  # the first piece may be another version's: once more, from the start
                part.unlink()
                _receive(url, part)
            _check(url, part, md5, path)
            os.replace(part, path)
    except (ChecksumError, DownloadError):
        raise
    except OSError as error:
        raise DownloadError(
            f"{path} cannot be written ({error.strerror or error}); free some space or point XFERLAB_DATA at another folder"
        ) from error
    return path


@contextlib.contextmanager
def _turn(path: Path):
    """Holds a lock that the system takes back when the process dies; no lock where there is no fcntl (Windows)."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(path, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _receive(url: str, part: Path):
    """Fills `part` until the server has no more, with a limited number of attempts in a row that bring nothing."""

    def size():
        return part.stat().st_size if part.exists() else 0

    failures, start = 0, size()
    while True:
        before = size()
        try:
            return _append(url, part, before)
        except urllib.error.HTTPError as error:
            if error.code == 416 and before:  # the server has no byte there: what we hold is whole or wrong
                if error.headers.get("Content-Range", "").endswith(f"/{before}"):
                    return None
                part.unlink()
            elif error.code < 500 and error.code not in (408, 416, 425, 429):
                raise DownloadError(f"{url} answered {error.code} {error.reason}") from error
            reason = f"the server answered {error.code}"
        except (
            OSError,
            http.client.HTTPException,
            RuntimeError,
        ) as error:  # RuntimeError: sockets switched off by a tool
            if getattr(error, "errno", None) in _DISK or isinstance(error, DownloadError):
                raise
            cause = getattr(error, "reason", error)
            reason = f"{cause}" or type(cause).__name__
            no_network = (
                isinstance(cause, (socket.gaierror, RuntimeError)) or getattr(cause, "errno", None) in _NO_ROUTE
            )
            if no_network and size() == start:
                raise DownloadError(f"{url} cannot be reached ({reason})") from error
        failures = 1 if size() - before >= 1 << 20 else failures + 1
        if failures >= TRIES:
            raise DownloadError(f"{url} could not be fetched in {TRIES} attempts ({reason})")
        time.sleep(PAUSE * 2 ** (failures - 1))


def _append(url: str, part: Path, offset: int):
    """One request: appends what comes from byte `offset` on, or starts over where the server does not resume."""
    headers = {"User-Agent": "xferlab", "Accept-Encoding": "identity"} | (
        {"Range": f"bytes={offset}-"} if offset else {}
    )
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as response:
        if response.status != 206:
            offset = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            part.unlink()
            raise ConnectionError(f"asked for bytes from {offset}, got {response.headers.get('Content-Range')}")
        length = response.headers.get("Content-Length")
        total = None if length is None else offset + int(length)
        if total and total - offset > shutil.disk_usage(part.parent).free:
            raise OSError(errno.ENOSPC, f"it takes {total - offset:,} bytes more than the disk has free")
        began, held = time.monotonic(), offset
        with (
            open(part, "ab" if offset else "wb") as file,
            tqdm(total=total, initial=offset, unit="B", unit_scale=True, desc=part.name[1:-5], delay=1) as bar,
        ):
            while chunk := response.read1(1 << 16):
                file.write(chunk)
                bar.update(len(chunk))
                held += len(chunk)
                if held > LONGEST:
                    raise DownloadError(f"{url} sent more than {LONGEST >> 30} GiB, which no known file has; stopped")
                if time.monotonic() - began > 4 * TIMEOUT and held - offset < 1 << 16:
                    raise TimeoutError(f"{held - offset} bytes in {4 * TIMEOUT:.0f} s")
    if total is not None and held < total:
        raise ConnectionError(f"the line broke at {held:,} of {total:,} bytes")


def _check(url: str, part: Path, md5: str, path: Path):
    seen = digest(part, "md5")
    if seen == md5:
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        return
    with open(part, "rb") as file:
        page = file.read(512).lstrip().lower().startswith((b"<!doctype", b"<html"))
    part.unlink()
    raise ChecksumError(
        f"{url} sent {'a web page (a login or error page?)' if page else 'other bytes'} with MD5 {seen}, expected {md5}; nothing "
        f"was kept: try again, or fetch the file with a browser and put it at {path}"
    )
