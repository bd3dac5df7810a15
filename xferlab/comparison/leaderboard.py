"""Leaderboard: a comparison's finished runs, and the statistics that can be drawn from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..domains import Domain
from ..encoders import Classifier
from ..errors import ArgumentError, DataError, needs
from ..evaluation import gain, t_interval
from . import findings, report
from .labeling import Wanted
from .records import BASELINES, adversary_curve, answers, eligible, estimates, mean, selector_values
from .reference import Answers


@dataclass(frozen=True)
class Choice:
    """What a validator chose: the recipe with the best mean value, its seed with the best value, and that run's weights
    as a Classifier (None unless `compare(..., keep_weights=...)` kept them)."""

    recipe: str
    seed: int
    validator: str
    value: float
    model: Classifier | None = field(default=None, repr=False)


@dataclass
class Leaderboard:
    """The result of `compare`.

    Intervals are 95 % t-intervals over seeds; differences are paired by seed. "Separated" is a difference over at least
    5 seeds whose interval leaves out zero. Nothing but the oracle's columns depends on target labels, or on the few that
    were given to train on.

    Parameters
    ----------
    runs
        A dict a run: recipe, seed, `source` and `target` scores (target None without labels), `validators`,
        `seconds`, `history` (thinned), settings, date, machine; `error` instead where it failed.
    names
        Recipes in the order they were asked for.
    validators
        Names of the validators.
    selector
        The validator that `best()` and the report go by.
    metric
        Which score `table` shows.
    setting
        Data, encoder and arguments in a line.
    notes
        What is to be said of them.
    load_model
        Gives the weights of a run as a Classifier, or None where they were not kept.
    classes
        Class names.
    true_shares
        Each class's share of the target's test labels, where there are any.
    held
        Labeled target images that no training saw, where 40 or more were given.
    searched
        By recipe, its first seed's runs at each strength that a search tried; empty without one.
    given
        The calibrated chosen model's answers to the target's pictures that were adapted to.
    card
        Sections `(heading, lines)` of the winner's model card, which the page shows.
    wanted
        The target examples to label next, where `compare(..., propose=n)` was asked for them.

    Examples
    --------
    >>> small = xl.Splits(*(part.take(per_class=4) for part in source.parts().values()))
    >>> board = xl.compare(["source_only"], small, target.val.unlabeled(), seeds=1, steps=1, store="runs")
    >>> list(board.table.index)
    ['source_only']
    """

    runs: list[dict]
    names: list[str]
    validators: list[str]
    selector: str
    metric: str = "accuracy"
    setting: str = ""
    notes: list[str] = field(default_factory=list)
    load_model: Callable[[dict], Classifier | None] = field(default=lambda run: None, repr=False)
    classes: tuple[str, ...] = ()
    true_shares: list[float] | None = None
    held: Domain | None = field(default=None, repr=False)
    searched: dict[str, list[dict]] = field(default_factory=dict, repr=False)
    given: Answers | None = field(default=None, repr=False)
    card: list[tuple[str, list[str]]] | None = field(default=None, repr=False)
    wanted: list[Wanted] = field(default_factory=list, repr=False)

    def finished(self, name: str | None = None) -> list[dict]:
        """The runs that did not fail: of one recipe, or all."""
        return [run for run in self.runs if "error" not in run and name in (None, run["recipe"])]

    @property
    def has_oracle(self) -> bool:
        """Whether any run was scored on target labels."""
        return any(run.get("target") for run in self.finished())

    def target_scores(self, name: str) -> dict[int, float]:
        """A recipe's scores on the target's test labels, by seed."""
        return {run["seed"]: run["target"][self.metric] for run in self.finished(name) if run["target"]}

    def target_mean(self, name: str) -> float:
        """A recipe's mean score on the target's test labels."""
        return mean(self.target_scores(name).values())

    @property
    def table(self) -> Any:
        """A DataFrame, a row a recipe, best by the selector first.

        runs, source_<metric>, target_<metric> with _low and _high (the target's test labels), vs_<baseline> with _low, _high
        and _separated, validator means, source_ece and target_ece, confidence_gap (mean confidence on the source's test part
        minus the target's: large is a hint, without labels, that accuracy falls), seconds, adversary_max and adversary_last
        (accuracy, means over seeds). NaN where there is nothing to say.
        """
        with needs("pandas", extra="labs"):
            import pandas as pd
        table = pd.DataFrame([self._row(name) for name in self.names]).set_index("recipe")
        return table.sort_values(self.selector, ascending=False, kind="stable", na_position="last")

    def _row(self, name: str) -> dict[str, Any]:
        runs, oracle = self.finished(name), self.has_oracle
        row: dict[str, Any] = {"recipe": name, "runs": len(runs)}
        row[f"source_{self.metric}"] = mean(run["source"][self.metric] for run in runs)
        if oracle:
            stats = t_interval(list(self.target_scores(name).values())) if runs else (math.nan,) * 3
            ends = np.clip(stats, 0, 1).tolist()  # no score lies outside, whatever two seeds would allow
            row |= zip((f"target_{self.metric}{end}" for end in ("", "_low", "_high")), ends, strict=True)
            for base in (base for base in BASELINES if base in self.names):
                row |= self.difference(name, base)
        row |= {validator: mean(run["validators"].get(validator) for run in runs) for validator in self.validators}
        row["source_ece"] = mean(run["source"].get("ece") for run in runs)
        if oracle:
            row["target_ece"] = mean(run["target"].get("ece") for run in runs if run["target"])
        curves = [curve for curve in map(adversary_curve, runs) if curve]
        gap = self.mean_shift(name, "confidence_source") - self.mean_shift(name, "confidence_target")
        row |= {"confidence_gap": gap, "seconds": mean(run["seconds"] for run in runs)}
        return row | {"adversary_max": mean(map(max, curves)), "adversary_last": mean(curve[-1] for curve in curves)}

    def difference(self, name: str, base: str) -> dict[str, Any]:
        """What a recipe gains over another on the target's test labels, paired by seed: the columns `vs_<base>`."""
        ours, theirs = self.target_scores(name), self.target_scores(base)
        both = [seed for seed in ours if seed in theirs] if name != base else []
        found = gain([ours[seed] - theirs[seed] for seed in both]) if both else {}
        ends = {"": "gain", "_low": "low", "_high": "high"}
        row = {f"vs_{base}{end}": found.get(key, math.nan) for end, key in ends.items()}
        return row | {f"vs_{base}_separated": found.get("verdict") == "separated"}

    def best(self, validator: str | None = None, *, load: bool = True) -> Choice:
        """The label-free choice: the recipe whose mean over seeds is best by `validator` (the selector if None).

        Parameters
        ----------
        validator
            Its name.
        load
            Whether to read the weights that were kept.

        Raises
        ------
        ArgumentError
            For an unknown validator.
        DataError
            When it has no value for any run.
        """
        name = validator or self.selector
        if name not in self.validators:
            raise ArgumentError(f"no validator is called {name!r}; this comparison has {', '.join(self.validators)}")
        values = selector_values(self.runs, name)
        if not values:
            raise DataError(f"validator {name!r} has no value for any run")
        values = eligible(values, name, self.finished())
        recipe = max(values, key=lambda recipe: mean(values[recipe].values()))
        seed = max(values[recipe], key=lambda seed: values[recipe][seed])
        model = self.load_model(self.run(recipe, seed)) if load else None
        return Choice(recipe, seed, name, values[recipe][seed], model)

    def run(self, recipe: str, seed: int) -> dict:
        """The record of one finished run."""
        return next(run for run in self.finished(recipe) if run["seed"] == seed)

    def oracle(self) -> str:
        """The recipe with the best mean target score: what nobody without target labels can know."""
        if not self.has_oracle:
            raise DataError("the target has no labels, so there is no oracle")
        return max((name for name in self.names if self.finished(name)), key=self.target_mean)

    def validator_quality(self, draws: int = 1000, seed: int = 0) -> Any:
        """How well each validator orders the recipes: a DataFrame, a row a validator.

        Columns: spearman with low and high (rank correlation of recipe means with the oracle's; 95 % percentile bootstrap
        over recipes), candidates, chosen, regret (the oracle's best score minus the chosen one's).

        Raises
        ------
        DataError
            Without target labels or with fewer than 3 recipes.
        """
        import pandas as pd

        best, rng, rows = self.target_mean(self.oracle()), np.random.default_rng(seed), []
        if len(self.names) < 3:
            raise DataError(f"a rank correlation over {len(self.names)} recipes says nothing; compare 3 or more")
        for validator in self.validators:
            means = [mean(run["validators"].get(validator) for run in self.finished(name)) for name in self.names]
            values = np.array([means, [self.target_mean(name) for name in self.names]])
            values = values[:, ~np.isnan(values).any(0)]
            n = values.shape[1]
            if n < 3:
                continue
            drawn = [_rank_correlation(values[:, rng.integers(n, size=n)]) for _ in range(draws)]
            low, high = np.nanpercentile(drawn, [2.5, 97.5]) if not np.isnan(drawn).all() else (math.nan, math.nan)
            row = {"validator": validator, "spearman": _rank_correlation(values), "low": low, "high": high}
            chosen = self.best(validator, load=False).recipe
            rows.append(row | {"candidates": n, "chosen": chosen, "regret": best - self.target_mean(chosen)})
        if not rows:
            raise DataError("fewer than 3 recipes have a value; a rank correlation needs 3 or more finished")
        return pd.DataFrame(rows).set_index("validator")

    @property
    def shift(self) -> dict | None:
        """What the shift did to the chosen run's model: its record's `shift`, None in records without one."""
        choice = self.best(load=False)
        return self.run(choice.recipe, choice.seed).get("shift")

    @property
    def estimates(self) -> dict[str, tuple[float, float, float]]:
        """Estimated target accuracy of the chosen run, from `xferlab.estimation`: value and interval by name, widened by `records.WIDER`; of
        the agreement of seeds, which is the chosen recipe's, the interval is that over pairs. Empty in records without it."""
        choice = self.best(load=False)
        return estimates(self.run(choice.recipe, choice.seed), self.finished(choice.recipe))

    def answers(self, name: str | None = None) -> list[np.ndarray]:
        """What each finished run, of one recipe or all, answers on the target's training examples: class numbers `(N,)`."""
        return answers(self.finished(name))

    def mean_shift(self, name: str, key: str) -> float:
        """The mean over a recipe's runs of one number that their records keep of the shift."""
        return mean(run.get("shift", {}).get(key) for run in self.finished(name))

    # what is said, drawn and written of it
    warnings = property(findings.warnings)
    verdict = property(findings.verdict)
    plot = report.picture
    to_markdown = report.markdown
    to_text = report.text
    to_html = report.write_page


def _rank_correlation(pairs: np.ndarray) -> float:
    """Spearman's rank correlation of two rows `(2, N)`; NaN where a row is constant."""
    from scipy.stats import spearmanr

    return float(spearmanr(*pairs).statistic) if np.ptp(pairs, axis=1).all() else math.nan
