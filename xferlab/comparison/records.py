"""Reading the records that finished runs leave: small functions that the leaderboard, its findings and its report share."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

BASELINES = ("source_only", "source_only_joint_bn")  # what every other recipe is measured against


def mean(values: Iterable[float | None]) -> float:
    """The mean of the values that are there; NaN when there are none."""
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else math.nan


def adversary_curve(run: dict) -> list[float]:
    """An adversary's accuracy over a run's logged steps; empty when the recipe has none."""
    entries = run.get("history", [])
    return [value for entry in entries for key, value in entry.items() if key.endswith(".adversary_accuracy")]
