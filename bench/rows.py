"""What the rows of run.py are made of: a comparison of two sides, when they agree, and the pictures they are measured on."""

from __future__ import annotations

import atexit
import io
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import xferlab as xl


class NotMeasured(Exception):
    """What a row needs is not here."""


@dataclass(frozen=True)
class Row:
    """One comparison. Each side prepares, untimed, and returns what is timed; `same` raises where the results differ.

    unit   "s", "ms" or "us"
    parts  how many of what is counted one call does: a step's time is the call's over the number of steps
    most   repetitions at most, of a row that takes a minute
    """

    ours: Callable[[], Callable[[], Any]]
    theirs: Callable[[], Callable[[], Any]] | None
    same: Callable[[Any, Any], None]
    unit: str = "ms"
    parts: int = 1
    most: int = 100


def close(tolerance: float) -> Callable[[Any, Any], None]:
    """Numbers (losses, weights, values) that agree to a tolerance, absolute and relative."""

    def check(ours, theirs):
        ours, theirs = torch.as_tensor(ours).float().cpu(), torch.as_tensor(theirs).float().cpu()
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)

    return check


def close_then_near(ours, theirs):
    """Losses of a game, whose rounding errors double at each step: the first 8 steps agree to 0.001, all of them to 0.1."""
    close(1e-3)(ours[:8], theirs[:8])
    close(0.1)(ours, theirs)


def pictures(n: int, size: int = 64, classes: int = 8) -> xl.Domain:
    """Noise around one colour a class: speed does not depend on what is in a picture, and this can be learnt."""
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % classes
    colours = torch.randint(40, 160, (classes, 3, 1, 1), generator=g, dtype=torch.uint8)
    noise = torch.randint(0, 96, (n, 3, size, size), generator=g, dtype=torch.uint8)
    return xl.Domain(noise + colours[labels], labels, tuple(map(str, range(classes))), name="noise", synthetic=True)


def digits() -> tuple[xl.Domain, xl.Domain]:
    return xl.load("digits/mnist").train, xl.load("digits/optdigits").train.unlabeled()


def photographs(quick: bool, width: int = 1200, height: int = 900) -> Path:
    """Class folders of 1,000 JPEG, twenty of which differ."""
    n, width, height = (20, width // 10, height // 10) if quick else (1000, width, height)
    root = Path(tempfile.mkdtemp(prefix="photographs-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    g = np.random.default_rng(0)
    for i in range(20):
        noise = Image.fromarray(g.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)).resize(
            (width, height)
        )
        content = io.BytesIO()
        noise.save(content, "JPEG", quality=90)
        for j in range(i, n, 20):
            file = root / str(i % 2) / f"{j:04d}.jpg"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(content.getvalue())
    return root
