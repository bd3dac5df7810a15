"""The plan of `xferlab compare`: which recipes, how many seeds and steps fit into the minutes there are."""

from __future__ import annotations

import datetime
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import nn

from ..domains import Domain
from ..encoders import Classifier
from ..recipe import find
from ..storage import fingerprint, write_text
from . import given, selection
from .definitions import cost, identity, make_model
from .reading import Sides
from .scoring import measured

# the simple and strong first: they are done when time is short
RECIPES = (
    *("source_only", "depth_probe", "small_net", "depth_lp_ft", "source_only_joint_bn", "depth_target_norm", "colour"),
    *("adabn", "linear_probe", "balanced", "colour_adabn", "coral", "mmd", "dann", "cdan", "mcc", "shot"),
)
BATCH = 32
ENOUGH, FEWEST, MOST = 100, 30, 400  # steps: below ENOUGH fewer seeds are run, below FEWEST fewer recipes


@dataclass
class Plan:
    """What fits the minutes: recipes, seeds, steps a run, the seconds all should take, those of the longest run, and the
    images a second that this rests on; the file it is kept in, and whether further seeds have filled the minutes since."""

    recipes: list[str]
    seeds: int
    steps: int
    seconds: float = 0.0
    longest: float = 0.0
    rate: float = 0.0
    date: str = ""
    path: str = ""
    filled: bool = False

    def __str__(self) -> str:
        seeds = f"{self.seeds} seed{'s' * (self.seeds > 1)}"
        rate = f", at {self.rate:.0f} images/s" if self.rate else ""
        return f"{len(self.recipes)} recipes x {seeds}, {self.steps} steps of {BATCH} images each{rate}"

    def fill(self, runs: list[dict]) -> str:
        """Keeps what was done in the time that was left, so that the same command does not fill it again; says it in a sentence."""
        seeds = len({run["seed"] for run in runs})
        if not self.path or self.filled or seeds <= self.seeds:
            return ""
        counts = Counter(run["recipe"] for run in runs)
        names = [name for name, count in counts.items() if count > self.seeds]
        done = f"Planned were {self}; time was left, and {', '.join(names)} got up to {seeds} seeds."
        self.seeds, self.filled = seeds, True
        self.keep()
        return done

    def keep(self) -> None:
        write_text(self.path, json.dumps(asdict(self)) + "\n")

    def left_out(self, names: list[str], seeds: int, minutes: float) -> list[str]:
        """What of the wish the minutes were too short for, in sentences."""
        short, notes = f"{minutes:g} minutes are too short for", []
        if self.seeds < seeds:
            notes.append(f"{short} {seeds} seeds, planned with {self.seeds}; give more --minutes for the rest.")
        if missing := names[len(self.recipes) :]:
            notes.append(f"{short} all recipes; left out: {', '.join(missing)}. Give more --minutes.")
        return notes


def make_plan(
    sides: Sides,
    names: list[str],
    seeds: int,
    minutes: float,
    make: Callable[..., nn.Module],
    store: Path,
    began: float,
    say: Callable[[str], None],
    times: float = 1.0,
) -> Plan:
    """The plan of the first such call, which is kept, so that the same command goes on with the same runs.

    `times` as much work is to be done as one encoder at one strength would take.
    """
    model = make_model(make, sides.source.classes, 0)
    data = given.identity(sides.source, sides.adapt, None, sides.labeled)
    wish = fingerprint(data, names, seeds, minutes, times, identity(model))
    path = store / f"plan-{wish}.json"
    try:
        plan = Plan(**json.loads(path.read_text("utf-8")))
        say(f"plan    {plan}, as this command chose on {plan.date}")
        return plan
    except (OSError, ValueError, TypeError):
        say("plan    measuring how fast this machine is ...")
    step, scoring = measure(model, sides)
    costs = [times * cost(find(name), model) for name in names]
    plan = fit_to(0.8 * (60 * minutes - (time.time() - began)) - 5, names, costs, seeds, step, times * scoring)
    plan.date, plan.path = datetime.date.today().isoformat(), str(path)
    plan.keep()
    say(f"plan    {plan}; about {plan.seconds / 60:.1f} of {minutes:g} minutes")
    return plan


def measure(model: Classifier, sides: Sides) -> tuple[float, float]:
    """Seconds of a source-only step, and of scoring one model."""
    import sklearn.linear_model  # noqa: F401  not to be counted

    fit = find("source_only").fit
    fit(model, sides.source.train, steps=2, batch_size=BATCH, progress_bar=False)  # the first steps are slow
    step = fit(model, sides.source.train, steps=4, batch_size=BATCH, progress_bar=False).seconds / 4
    began = time.perf_counter()
    candidate = selection.Candidate(model, None, sides.source, sides.adapt)
    measured(candidate, None if isinstance(sides.target, Domain) else sides.target.test)
    selection.validate(candidate)
    return step, time.perf_counter() - began


def fit_to(budget: float, names: list[str], costs: list[float], seeds: int, step: float, scoring: float) -> Plan:
    """What fits a budget: as many steps as there is time for; where these are too few, seeds go, then recipes from the end.

    Parameters
    ----------
    budget
        Seconds for all runs.
    names
        Recipes in order.
    costs
        Of each recipe, in source-only steps.
    seeds
        How many are wished for.
    step
        Seconds of a source-only step.
    scoring
        Seconds of scoring one run.
    """

    def most(n: int, k: int) -> int:
        return int((budget - n * k * scoring) / step / (n * sum(costs[:k])))

    k, n = len(names), seeds
    while n > 1 and most(n, k) < ENOUGH:
        n -= 1
    while k > 1 and most(n, k) < FEWEST:
        k -= 1
    steps = max(FEWEST, min(MOST, most(n, k)))
    seconds = n * sum(costs[:k]) * steps * step + n * k * scoring
    return Plan(list(names[:k]), n, steps, seconds, max(costs[:k]) * steps * step + scoring, BATCH / step)
