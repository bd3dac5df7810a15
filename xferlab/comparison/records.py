"""Reading the records that finished runs leave: small functions that the leaderboard, its findings and its report share."""

import base64
import math
from collections.abc import Iterable, Sequence

import numpy as np

from .. import estimation

# what each end of an interval moves outward, so that it holds on pairs where the truth is known: see bench/tables/estimates.md
WIDER = {"average_thresholded_confidence": 0.73, "difference_of_confidences": 0.61, "agreement_of_seeds": 0.34}
# which a report puts first, from the same pairs; the second for one seed
FIRST = ("agreement_of_seeds", "difference_of_confidences")
# of `n` thresholds set at one place for a sensitivity, how many kept it at another, and the median there: same table
MOVED = {"sensitivity": 0.95, "n": 36, "kept": 3, "median": 0.47}
BASELINES = ("source_only", "source_only_joint_bn")  # what every other recipe is measured against


def mean(values: Iterable[float | None]) -> float:
    """The mean of the values that are there; NaN when there are none."""
    present = [value for value in values if value is not None]
    return float(np.mean(present)) if present else math.nan


def selector_values(runs: Iterable[dict | None], validator: str) -> dict[str, dict[int, float]]:
    """What a validator gave finished runs, by candidate and seed; a candidate that failed has none."""
    values: dict[str, dict[int, float]] = {}
    for run in runs:
        value = None if run is None or "error" in run else run["validators"].get(validator)
        if run is not None and value is not None:
            values.setdefault(run["recipe"], {})[run["seed"]] = value
    return values


def adversary_curve(run: dict) -> list[float]:
    """An adversary's accuracy over a run's logged steps; empty when the recipe has none."""
    entries = run.get("history", [])
    return [value for entry in entries for key, value in entry.items() if key.endswith(".adversary_accuracy")]


def answers(runs: Iterable[dict]) -> list[np.ndarray]:
    """What each run answers on the target's training examples: class numbers `(N,)`. A run that stands for several seeds answers once."""
    kept = {run["key"]: run["estimate"] for run in runs if "estimate" in run}.values()
    return [np.frombuffer(base64.b64decode(k["answers"]), f"<u{k['bytes']}") for k in kept]


def estimates(run: dict, alike: Iterable[dict], widened: bool = True) -> dict[str, tuple[float, float, float]]:
    """See `Leaderboard.estimates`; `alike` are all runs of the run's recipe."""
    if (kept := run.get("estimate")) is None:
        return {}
    found = {name: tuple(kept[name]) for name in ("average_thresholded_confidence", "difference_of_confidences")}
    if len(given := answers(alike)) > 1:
        pairs = [estimation.agreement([a, b]) for i, a in enumerate(given) for b in given[:i]]
        found["agreement_of_seeds"] = (float(np.mean(pairs)), min(pairs), max(pairs))
    more = WIDER if widened else dict.fromkeys(found, 0.0)
    ends = {name: (max(low - more[name], 0.0), min(high + more[name], 1.0)) for name, (_, low, high) in found.items()}
    return {name: (value, *ends[name]) for name, (value, _, _) in found.items()}


def missing_classes(runs: Iterable[dict]) -> list[int]:
    """Numbers of the classes that the target seems to lack: the upper end of the estimated share there is below a quarter of the
    share in the source, in every run of a recipe that never saw the target, whose answers no adaptation has evened out. A run that
    is right on less than half of the source has no say: it cannot tell, and would speak against all others.

    Fewer than two, or than a quarter of all, are none: a class or two may be there and no longer recognized (2 and 8 of MNIST's
    digits on other scans), which such an estimate cannot tell apart. Half of the digits, on other scans, it misses, and calibrated or
    likeliest shares see no more without losing classes that are there (`bench/tables/sites.md`)."""
    found: list[set[int]] = []
    for run in runs:
        if run.get("adapts", True) or "shift" not in run or run["source"]["balanced_accuracy"] < 0.5:
            continue
        shares = enumerate(zip(run["shift"]["high"], run["shift"]["source"], strict=True))
        found.append({k for k, (high, here) in shares if high is not None and here and high < here / 4})
        count = len(run["shift"]["high"])
    lacking = set.intersection(*found) if found else set()
    return sorted(lacking) if found and len(lacking) >= max(2, count / 4) else []


def passed_over(runs: Sequence[dict]) -> list[str]:
    """Recipes that are not chosen without labels: those that match whole domains, where the target seems to lack classes."""
    return sorted({run["recipe"] for run in runs if run.get("aligns")}) if missing_classes(runs) else []


def eligible(values: dict[str, dict], validator: str, runs: Sequence[dict]) -> dict[str, dict]:
    """The recipes among which a validator chooses: without those passed over, unless it looks at labels or nothing else is left."""
    out = passed_over(runs) if validator != "target_labels" else []
    return {recipe: value for recipe, value in values.items() if recipe not in out} or values
