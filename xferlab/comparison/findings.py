"""A comparison's findings in sentences: how the choice was made, and what to know before believing the table."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from .. import novelty
from ..evaluation import DRAWS
from .records import BASELINES, FIRST, MOVED, adversary_curve, mean, missing_classes, passed_over

APART = 0.1  # estimates that lie further apart disagree
THRESHOLDS = (
    "In this project's measurements, of {n} thresholds set at one place for a sensitivity of {sensitivity}, {kept} kept it at another, and half "
    "found less than {median}."
).format(**MOVED)

TRAINED_FOR = {  # the recipes that minimize what a validator measures
    "information_maximization": ("information_maximization", "shot"),
    "bnm": ("bnm",),
    "entropy": ("entropy_minimization", "tent"),
}

if TYPE_CHECKING:
    from .leaderboard import Leaderboard
    from .reference import Answers


def verdict(board: Leaderboard) -> str:
    """How the choice was made, what it was, and how far it is from the oracle's."""
    choice = board.best(load=False)
    settings = "strengths chosen by it too" if board.searched else "hyper-parameters the same for every recipe"
    text = f"Chosen without target labels, by {board.selector} (mean over seeds, last step of training, {settings}): {choice.recipe}."
    if not board.has_oracle:
        return text + " No target labels: how good it is there was not measured."
    oracle, got = board.oracle(), board.target_mean(choice.recipe)
    most = board.target_mean(oracle)
    return (
        f"{text} Its {board.metric.replace('_', ' ')} on the target's test labels is {got:.3f}; the oracle, which looks at them, "
        f"takes {oracle}, {most:.3f}: a gap of {most - got:.3f}."
    )


def estimate(board: Leaderboard) -> str:
    """How accurate the chosen model seems to be at the target, without labels; nothing where no record says."""
    if not (found := board.estimates):
        return ""
    words = "; ".join(f"{x:.2f} [{low:.2f}, {high:.2f}] by {name}" for name, (x, low, high) in found.items())
    text = f"Estimated accuracy at the target, not measured: {words.replace('_', ' ')}."
    if _apart(board):
        return text + " They disagree, so trust none of them: label some images."
    return text + " The intervals are as wide as the errors were on other pairs, where there are labels."


def headline(board: Leaderboard) -> tuple[str, str] | None:
    """The number that a reader takes away, and what it is: measured where there are labels, estimated where there are none."""
    if board.has_oracle:
        name = board.best(load=False).recipe
        measured = f"{board.metric.replace('_', ' ')} on the target's test labels, mean over {len(board.target_scores(name))} seeds"
        return f"{board.target_mean(name):.2f}", measured
    if not (found := board.estimates):
        return None
    value, low, high = next(found[name] for name in FIRST if name in found)
    text, how = f"{value:.2f}", f"probably between {low:.2f} and {high:.2f}"
    if ends := _apart(board):
        text, how = f"{ends[0]:.2f} to {ends[1]:.2f}", "by ways that disagree"
    return text, f"estimated accuracy at the target, {how}. Nobody measured it: there are no labels there."


def _apart(board: Leaderboard) -> tuple[float, float] | None:
    """The lowest and the highest estimate, where they disagree."""
    values = [value for value, _, _ in board.estimates.values()]
    return (min(values), max(values)) if values and max(values) - min(values) > APART else None


def cautions(board: Leaderboard) -> list[str]:
    """What somebody who reads no further must know, in about three sentences."""
    found = []
    if board.estimates and not board.has_oracle:
        apart = "Where ways to estimate the accuracy disagree, trust none of them"
        alike = "An estimate is no measurement, and a new scanner may mislead it"
        found.append(f"{apart if _apart(board) else alike}: label 40 images to know.")
    if board.given is not None:
        found += unlike(board.given, "the source")[:1]
    return [*found, f"A threshold of the source may not hold at the target. {THRESHOLDS} Not for clinical use."]


def warnings(board: Leaderboard) -> list[str]:
    """What a reader must know before believing the table, a sentence or two each."""
    found = list(board.notes)
    for name in board.names:
        runs = [run for run in board.runs if run["recipe"] == name]
        if errors := [run["error"] for run in runs if "error" in run]:
            found.append(f"{name} failed in {len(errors)} of {len(runs)} runs: {errors[0]}")
        found += _adversary(board, name)
    found += _partial(board) + _sites(board) + _missing(board) + _class_shares(board)
    return found + (_against_baselines(board) if board.has_oracle else [])


def _partial(board: Leaderboard) -> list[str]:
    choice = board.best(load=False).recipe
    if re.split("@| on ", choice)[0] not in TRAINED_FOR.get(board.selector, ()):
        return []
    return [
        f"{choice} is trained for what {board.selector} measures, so this validator may favor it over recipes that are as good or better; "
        "some labeled target images (--labeled) judge without favor."
    ]


def sites(board: Leaderboard) -> list[tuple[str, float, float]]:
    """Each of the source's sites under the chosen recipe, the worst first: name, mean score where training held the site out,
    and on its test part where training saw it. NaN where it was not measured; empty for a source of one site."""
    runs = board.finished(board.best(load=False).recipe)
    rows = []
    for name in dict.fromkeys(name for run in runs for name in run.get("sites", ())):
        held = mean(run.get("held_out", {}).get(name) for run in runs)
        rows.append((name, held, mean(run["sites"][name]["balanced_accuracy"] for run in runs)))
    return sorted(rows, key=lambda row: row[2] if math.isnan(row[1]) else row[1])


def _sites(board: Leaderboard) -> list[str]:
    if not (rows := sites(board)):
        return []
    measured = not math.isnan(rows[0][1])
    words = ", ".join(f"{name} {held if measured else seen:.2f}" for name, held, seen in rows)
    trained = "the others" if measured else "all"
    return [f"Of the source's sites {rows[0][0]} is the worst; balanced accuracy after training on {trained}: {words}."]


def _adversary(board: Leaderboard, name: str) -> list[str]:
    curves = [curve for curve in map(adversary_curve, board.finished(name)) if curve]
    if curves and all(abs(value - 0.5) < 0.05 for curve in curves for value in curve):
        return [f"The adversary of {name} was at chance from first to last step: it taught the encoder nothing."]
    if curves and mean(curve[-1] for curve in curves) < 0.45:
        return [f"The adversary of {name} ended below chance: it lags behind the encoder; lower its strength or lr."]
    return []


def _missing(board: Leaderboard) -> list[str]:
    runs = board.finished()
    if not (lacking := missing_classes(runs)):
        return []
    text = (
        f"The target seems to lack {', '.join(board.classes[k] for k in lacking)}, by every estimate of its class shares; "
        "or their pictures look so different there that no model recognizes them: look at some."
    )
    if board.selector != "target_labels" and (out := passed_over(runs)):
        why = "since they draw examples into classes that are not there"
        text += f" Passed over in the choice, {why}: {', '.join(out)}."
    return [text]


def _class_shares(board: Leaderboard) -> list[str]:
    if not (shift := board.shift) or not shift["differs"]:
        return []
    moved = [
        f"{name} {share(shift, k)} against {shift['source'][k]:.2f}"
        for k, name in enumerate(board.classes)
        if shift["estimate"][k] is not None and abs(shift["estimate"][k] - shift["source"][k]) > 0.1
    ]
    return [
        f"Classes seem to be spread differently in the target (estimated share there, and in the source: {'; '.join(moved)}), "
        "or their pictures look different there, which this estimate cannot tell apart. Methods that match whole domains, and "
        "validators that expect even classes, may mislead."
    ]


def _against_baselines(board: Leaderboard) -> list[str]:
    if "source_only" not in board.names or len(board.names) < 2:
        return []
    found, seeds = [], max(len(board.finished(name)) for name in board.names)
    if seeds < DRAWS:
        found.append(f"{seeds} seed{'s' * (seeds > 1)}: no difference is called separated below {DRAWS}.")
    methods = [name for name in board.names if name not in BASELINES]
    for base in (base for base in BASELINES if base in board.names and methods and seeds >= DRAWS):
        if not any(board.difference(name, base)[f"vs_{base}_separated"] for name in methods):
            found.append(f"No method is distinguishable from {base.replace('_', ' ')}.")
    rows = {name: board.difference(name, "source_only") for name in board.names}
    worse = [n for n, row in rows.items() if row["vs_source_only_separated"] and row["vs_source_only"] < 0]
    return found + ([f"Negative transfer: {', '.join(worse)} ended below source only."] if worse else [])


def share(shift: dict, k: int, name: str = "estimate") -> str:
    """Class `k`'s share as text: estimated on the target with its interval, or another side's."""
    if shift[name][k] is None:
        return "unknown"
    ends = f" [{shift['low'][k]:.2f}, {shift['high'][k]:.2f}]" if name == "estimate" else ""
    return f"{shift[name][k]:.2f}{ends}"


def percent(rate: tuple[float, float, float]) -> str:
    """A share and its interval, `95 % [91, 98]`."""
    value, low, high = (100 * end for end in rate)
    return f"{value:.0f} % [{low:.0f}, {high:.0f}]"


def unlike(answers: Answers, source: str) -> list[str]:
    """Whether the pictures hold what source and target do not, in sentences."""
    if (reference := answers.reference) is None:
        return []
    found = []
    for p, known, name in (
        (answers.like_source, reference.source, f"the held-out pictures of {source}"),
        (answers.like_target, reference.target, "the pictures that the model was adapted to"),
    ):
        if p is None or len(known) < 100:  # no p-value of theirs is below 0.01
            continue
        n, strange = len(p), int((p < 0.01).sum())
        text = f"{strange} of {n} pictures look unlike {name} (p < 0.01)"
        if not novelty.more_than_chance(p, len(known)):
            text += ", no more than chance explains."
        elif 2 * strange > n:
            text += ": the shift itself, whatever they show; what is strange even here is what the other column is for."
        else:
            text += (
                ", more than chance explains: there may be something here that was never seen there, such as another class, "
                "another modality or a scanner's marks. Look at them."
            )
        found.append(text)
    return found
