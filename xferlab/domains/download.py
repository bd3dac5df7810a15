"""A download that leaves either the right file or none."""

from __future__ import annotations

import os
import time
from pathlib import Path

from filelock import FileLock
from tqdm import tqdm

from ..errors import ChecksumError, DownloadError
from ..storage import digest

TRIES = 5  # attempts in all
PAUSE = 1.0  # seconds before the second attempt; doubles with each
TIMEOUT = 20.0  # seconds without a byte


def fetch(url: str, path: str | Path, md5: str) -> Path:
    """Downloads `url` to `path`, which appears only when whole and of the right MD5.

    Two processes that fetch one file take turns.

    Raises
    ------
    DownloadError
        When the server cannot be reached, refuses or keeps breaking off, or the disk is full.
    ChecksumError
        When it sends other bytes than the promised ones.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if not path.exists():  # else another process was first
                try:
                    _receive(url, part)
                    _check(url, part, md5, path)
                    os.replace(part, path)
                finally:
                    part.unlink(missing_ok=True)
    except (ChecksumError, DownloadError):
        raise
    except OSError as error:
        raise DownloadError(
            f"{path} cannot be written ({error.strerror or error}); free some space or point XFERLAB_DATA at another folder"
        ) from error
    return path


def _receive(url: str, part: Path) -> None:
    """Fills `part`; a busy server or a broken line is tried again, a refusal or an address that nobody answers is not."""
    from pooch import HTTPDownloader
    from requests import RequestException

    for attempt in range(TRIES):
        bar = tqdm(total=1, unit="B", unit_scale=True, desc=part.name[1:-5], delay=1)
        download = HTTPDownloader(bar, 1 << 16, timeout=TIMEOUT, headers={"Accept-Encoding": "identity"})
        try:
            return download(url, str(part), None)
        except (RequestException, RuntimeError) as error:  # the latter of sockets that a tool switched off
            answer, cause = getattr(error, "response", None), error.args[0] if error.args else error
            cause = getattr(cause, "reason", None) or cause
            if answer is not None and answer.status_code < 500 and answer.status_code not in (408, 425, 429):
                raise DownloadError(f"{url} answered {answer.status_code} {answer.reason}") from error
            if isinstance(error, RuntimeError) or type(cause).__name__ in ("NewConnectionError", "NameResolutionError"):
                raise DownloadError(f"{url} cannot be reached ({_line(cause)})") from error
            reason = _line(cause) if answer is None else f"the server answered {answer.status_code}"
        finally:
            bar.close()
        if attempt + 1 < TRIES:
            time.sleep(PAUSE * 2**attempt)
    raise DownloadError(f"{url} could not be fetched in {TRIES} attempts ({reason})")


def _line(cause: object) -> str:
    return " ".join(str(cause).split())[:200] or type(cause).__name__


def _check(url: str, part: Path, md5: str, path: Path) -> None:
    seen = digest(part, "md5")
    with open(part, "rb+") as file:
        page = file.read(512).lstrip().lower().startswith((b"<!doctype", b"<html"))
        os.fsync(file.fileno())
    if seen != md5:
        raise ChecksumError(
            f"{url} sent {'a web page (a login or error page?)' if page else 'other bytes'} with MD5 {seen}, expected {md5}; nothing "
            f"was kept: try again, or fetch the file with a browser and put it at {path}"
        )
