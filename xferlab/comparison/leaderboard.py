"""Leaderboard: what can be told from a comparison's runs, as a table, a picture, a page and warnings."""

from __future__ import annotations

import base64
import datetime
import html
import io
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..encoders import Classifier
from ..errors import ArgumentError, DataError, MissingExtra
from ..evaluation import DRAWS, format_interval, gain, t_interval
from ..plots import pyplot
from ..storage import write_atomically

BASELINES = ("source_only", "source_only_joint_bn")


@dataclass(frozen=True)
class Choice:
    """What a validator chose: the recipe with the best mean value, its seed with the best value, and that run's weights
    as a Classifier (None unless `compare(..., keep_weights=True)`)."""

    recipe: str
    seed: int
    validator: str
    value: float
    model: Classifier | None = field(default=None, repr=False)


@dataclass
class Leaderboard:
    """The result of `compare`.

    runs        a dict a run: recipe, seed, `source` and `target` scores (target None without labels), `validators`,
                `seconds`, `history` (thinned), settings, date, machine; `error` instead where it failed
    names       recipes in the order they were asked for
    validators  names; `selector` is the one that `best()` and the report go by
    metric      which score `table` shows
    setting     data, encoder and arguments in a line; `notes` what is to be said of them
    classes, true_shares   class names, and each one's share of the target's test labels where there are any
    card        sections `(heading, lines)` of the winner's model card, which the page shows

    Intervals are 95 % t-intervals over seeds; differences are paired by seed. "Separated" is a difference over at least
    5 seeds whose interval leaves out zero. Nothing but the oracle's columns depends on target labels, or on the few that
    were given to train on.
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
    card: list[tuple[str, list[str]]] | None = field(default=None, repr=False)

    @property
    def has_oracle(self) -> bool:
        return any(run.get("target") for run in self._good())

    @property
    def table(self):
        """A DataFrame, a row a recipe, best by the selector first.

        runs, source_<metric>, target_<metric> with _low and _high (the target's test labels), vs_<baseline> with _low, _high
        and _separated, validator means, source_ece and target_ece, confidence_gap (mean confidence on the source's test part
        minus the target's: large is a hint, without labels, that accuracy falls), seconds, adversary_max and adversary_last (accuracy, means over seeds). NaN where
        there is nothing to say.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtra("pandas", extra="labs") from error
        table = pd.DataFrame([self._row(name) for name in self.names]).set_index("recipe")
        return table.sort_values(self.selector, ascending=False, kind="stable", na_position="last")

    def _row(self, name: str) -> dict:
        runs = self._good(name)
        row = {
            "recipe": name,
            "runs": len(runs),
            f"source_{self.metric}": _mean([run["source"][self.metric] for run in runs]),
        }
        if self.has_oracle:
            stats = t_interval(list(self._oracle(name).values())) if runs else (math.nan,) * 3
            row |= dict(zip([f"target_{self.metric}{end}" for end in ("", "_low", "_high")], stats, strict=True))
            for base in (base for base in BASELINES if base in self.names):
                row |= self._paired(name, base)
        row |= {validator: _mean([run["validators"].get(validator) for run in runs]) for validator in self.validators}
        row["source_ece"] = _mean([run["source"].get("ece") for run in runs])
        if self.has_oracle:
            row["target_ece"] = _mean([run["target"].get("ece") for run in runs if run["target"]])
        row["confidence_gap"] = self._shift_mean(name, "confidence_source") - self._shift_mean(
            name, "confidence_target"
        )
        row["seconds"] = _mean([run["seconds"] for run in runs])
        curves = [curve for curve in map(adversary_curve, runs) if curve]
        row["adversary_max"], row["adversary_last"] = _mean([max(c) for c in curves]), _mean([c[-1] for c in curves])
        return row

    def _paired(self, name: str, base: str) -> dict:
        here, there = self._oracle(name), self._oracle(base)
        both = [seed for seed in here if seed in there] if name != base else []
        found = (
            gain([here[seed] - there[seed] for seed in both])
            if both
            else dict.fromkeys(("gain", "low", "high"), math.nan)
        )
        ends = {f"vs_{base}{end}": found[key] for end, key in (("", "gain"), ("_low", "low"), ("_high", "high"))}
        return ends | {f"vs_{base}_separated": found.get("verdict") == "separated"}

    def best(self, validator: str | None = None) -> Choice:
        """The label-free choice: the recipe whose mean over seeds is best by `validator` (the selector if None).

        Raises `ArgumentError` for an unknown validator, `DataError` when it has no value for any run.
        """
        validator = validator or self.selector
        if validator not in self.validators:
            raise ArgumentError(
                f"no validator is called {validator!r}; this comparison has {', '.join(self.validators)}"
            )
        valued = [run for run in self._good() if run["validators"].get(validator) is not None]
        if not valued:
            raise DataError(f"validator {validator!r} has no value for any run")
        names = list(dict.fromkeys(run["recipe"] for run in valued))
        value = lambda run: run["validators"][validator]
        recipe = max(names, key=lambda name: _mean([value(run) for run in valued if run["recipe"] == name]))
        run = max((run for run in valued if run["recipe"] == recipe), key=value)
        return Choice(recipe, run["seed"], validator, value(run), self.load_model(run))

    def oracle(self) -> str:
        """The recipe with the best mean target score: what nobody without target labels can know."""
        if not self.has_oracle:
            raise DataError("the target has no labels, so there is no oracle")
        return max(
            (name for name in self.names if self._good(name)), key=lambda name: _mean(self._oracle(name).values())
        )

    def validator_quality(self, draws: int = 1000, seed: int = 0):
        """How well each validator orders the recipes: a DataFrame, a row a validator.

        spearman with low and high (rank correlation of recipe means with the oracle's; 95 % percentile bootstrap over
        recipes), candidates, chosen, regret (the oracle's best score minus the chosen one's). Raises `DataError` without
        target labels or with fewer than 3 recipes.
        """
        import pandas as pd

        best, rng, rows = self._oracle_mean(self.oracle()), np.random.default_rng(seed), []
        for validator in self.validators:
            pairs = [
                (_mean([run["validators"].get(validator) for run in self._good(name)]), self._oracle_mean(name))
                for name in self.names
            ]
            values = np.array([pair for pair in pairs if not np.isnan(pair).any()])
            if len(values) < 3:
                if len(self.names) < 3:
                    raise DataError(
                        f"a rank correlation over {len(self.names)} recipes says nothing; compare 3 or more"
                    )
                continue
            drawn = [_spearman(values[rng.integers(len(values), size=len(values))]) for _ in range(draws)]
            drawn = [value for value in drawn if not math.isnan(value)] or [math.nan]
            chosen = self.best(validator).recipe
            low, high = np.percentile(drawn, [2.5, 97.5])
            rows.append(
                {
                    "validator": validator,
                    "spearman": _spearman(values),
                    "low": low,
                    "high": high,
                    "candidates": len(values),
                }
            )
            rows[-1] |= {"chosen": chosen, "regret": best - self._oracle_mean(chosen)}
        if not rows:
            raise DataError("fewer than 3 recipes have a value; a rank correlation needs 3 or more finished")
        return pd.DataFrame(rows).set_index("validator")

    @property
    def shift(self) -> dict | None:
        """What the shift did to the chosen run's model: its record's `shift`, None in records without one."""
        choice = self.best()
        return next(run for run in self._good(choice.recipe) if run["seed"] == choice.seed).get("shift")

    def _shift_mean(self, name: str, key: str) -> float:
        return _mean([run.get("shift", {}).get(key) for run in self._good(name)])

    @property
    def warnings(self) -> list[str]:
        """What a reader must know before believing the table."""
        said = list(self.notes)
        for name in self.names:
            errors = [run["error"] for run in self.runs if run["recipe"] == name and "error" in run]
            if errors:
                said.append(
                    f"{name} failed in {len(errors)} of {sum(run['recipe'] == name for run in self.runs)} runs: {errors[0]}"
                )
            curves = [curve for curve in map(adversary_curve, self._good(name)) if curve]
            if curves and all(max(abs(value - 0.5) for value in curve) < 0.05 for curve in curves):
                said.append(
                    f"The adversary of {name} was at chance from first to last step: it taught the encoder nothing."
                )
            elif curves and _mean([curve[-1] for curve in curves]) < 0.45:
                said.append(
                    f"The adversary of {name} ended below chance: it lags behind the encoder; lower its strength or lr."
                )
        if (shift := self.shift) and shift["differs"]:
            moved = [
                f"{name} {_share(shift, k)} against {shift['source'][k]:.2f}"
                for k, name in enumerate(self.classes)
                if shift["estimate"][k] is not None and abs(shift["estimate"][k] - shift["source"][k]) > 0.1
            ]
            said.append(
                f"Classes seem to be spread differently in the target (estimated share there, and in the source: "
                f"{'; '.join(moved)}), or their pictures look different there, which this estimate cannot tell apart. Methods that match "
                "whole domains, and validators that expect even classes, may mislead."
            )
        seeds = max(len(self._good(name)) for name in self.names)
        if not self.has_oracle or "source_only" not in self.names or len(self.names) < 2:
            return said
        if seeds < DRAWS:
            said.append(f"{seeds} seed{'s' * (seeds > 1)}: no difference is called separated below {DRAWS}.")
        for base in (base for base in BASELINES if base in self.names):
            rows = [self._paired(name, base) for name in self.names if name not in BASELINES]
            if rows and seeds >= DRAWS and not any(row[f"vs_{base}_separated"] for row in rows):
                said.append(f"No method is distinguishable from {base.replace('_', ' ')}.")
        worse = [
            n
            for n in self.names
            if (row := self._paired(n, "source_only"))["vs_source_only_separated"] and row["vs_source_only"] < 0
        ]
        if worse:
            said.append(f"Negative transfer: {', '.join(worse)} ended below source only.")
        return said

    @property
    def verdict(self) -> str:
        """How the choice was made, what it was, and how far it is from the oracle's."""
        choice = self.best()
        text = (
            f"Chosen without target labels, by {self.selector} (mean over seeds, last step of training, hyper-parameters the same "
            f"for every recipe): {choice.recipe}."
        )
        if not self.has_oracle:
            return text + " No target labels: how good it is there was not measured."
        best, got, most = self.oracle(), self._oracle_mean(choice.recipe), self._oracle_mean(self.oracle())
        return text + (
            f" Its {self.metric.replace('_', ' ')} on the target's test labels is {got:.3f}; the oracle, which looks at them, takes {best}, "
            f"{most:.3f}: a gap of {most - got:.3f}."
        )

    def plot(self):
        """A matplotlib Figure: target score of each recipe with its interval (without labels, the selector's mean), a point
        a run, and which is the label-free choice and which the oracle's."""
        plt = pyplot()
        value = (
            (lambda run: run["target"][self.metric])
            if self.has_oracle
            else (lambda run: run["validators"].get(self.selector))
        )
        names = [name for name in self.names if self._good(name)]
        names.sort(key=lambda name: _mean([value(run) for run in self._good(name)]))
        figure, axis = plt.subplots(figsize=(8, 0.32 * len(names) + 1.4))
        chosen, oracle = self.best().recipe, self.oracle() if self.has_oracle else None
        for y, name in enumerate(names):
            values = [v for v in map(value, self._good(name)) if v is not None]
            mean, low, high = t_interval(values) if values else (math.nan,) * 3
            colour = (
                "#D55E00"
                if name == chosen
                else "#009E73"
                if name == oracle
                else "#000000"
                if name in BASELINES
                else "#0072B2"
            )
            axis.plot(values, [y] * len(values), "|", color=colour, alpha=0.6)
            bars = None if math.isnan(low) else [[mean - low], [high - mean]]
            axis.errorbar([mean], [y], xerr=bars, fmt="s" if name in BASELINES else "o", color=colour, capsize=3)
            if name == "source_only":
                axis.axvline(mean, color="#000000", linewidth=1, linestyle=":")
        marks = (
            {chosen: " (chosen without labels)", oracle: " (oracle)"}
            if chosen != oracle
            else {chosen: " (chosen, and oracle)"}
        )
        axis.set_yticks(range(len(names)), [_plain(name) + marks.get(name, "") for name in names])
        several = ", mean and 95 % interval over seeds" if len({run["seed"] for run in self.runs}) > 1 else ", one seed"
        axis.set_xlabel(f"target {self.metric.replace('_', ' ')}{several}" if self.has_oracle else self.selector)
        figure.tight_layout()
        return figure

    def to_markdown(self, command: str | None = None) -> str:
        """The table, its verdict and warnings, with the command (this process's if None), dates and machines that made it."""
        clean = lambda text: str(text).replace("\n", " ").replace("|", "\\|")
        header, rows = self._cells()
        lines = [clean(self.setting), "", clean(self.verdict), ""]
        lines += [f"| {' | '.join(map(clean, cells))} |" for cells in (header, ["---"] * len(header), *rows)]
        lines += ["", _LEGEND, "", *(f"- {clean(warning)}" for warning in self.warnings)]
        return "\n".join([*lines, "", *self._provenance(command)]) + "\n"

    def to_text(self) -> str:
        """The columns that matter most, aligned for a terminal; the label-free choice is marked with >."""
        header, rows = self._cells()
        keep = [
            0,
            1,
            2,
            *(i for i, h in enumerate(header) if h in ("target (oracle)", "vs source_only", self.selector)),
        ]
        table = [[str(row[i]) for i in [*keep, header.index("seconds")]] for row in (header, *rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        chosen = self.best().recipe
        marks = ["  ", *("> " if name == chosen else "  " for name in self.table.index)]
        return "\n".join(
            mark + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for mark, row in zip(marks, table, strict=True)
        )

    def _shift_cells(self) -> tuple[list[str], list[list[str]]]:
        """Class shares of the target, estimated and true, as text."""
        shift, truth = self.shift, self.true_shares
        header = ["class", "share of the held-out source", "estimated share of the target"]
        rows = [
            [name, _share(shift, k, "source"), _share(shift, k)] + ([f"{truth[k]:.2f}"] if truth else [])
            for k, name in enumerate(self.classes)
        ]
        return header + (["share of the target's test labels (oracle)"] if truth else []), rows

    def _calibration_cells(self) -> tuple[list[str], list[list[str]]]:
        header = ["recipe", "temperature", "source ECE", "scaled", "confidence on source", "confidence on target"]
        rows = []
        for name, row in self.table.iterrows():
            mean = lambda key: _number(self._shift_mean(name, key))
            rows.append([name, mean("temperature"), _number(row["source_ece"]), mean("ece_source_scaled")])
            rows[-1] += [mean("confidence_source"), mean("confidence_target")]
            rows[-1] += [_number(row["target_ece"]), mean("ece_target_scaled")] if self.has_oracle else []
        return header + (["target ECE (oracle)", "scaled"] if self.has_oracle else []), rows

    def to_html(self, path: str | Path, command: str | None = None) -> Path:
        """One self-contained page: verdict, warnings, picture, table, class shares, calibration, validators against the oracle,
        model card. All names are escaped."""
        picture, figure = io.BytesIO(), self.plot()
        figure.savefig(picture, format="png", dpi=110)
        pyplot().close(figure)
        escape = html.escape
        rows = lambda header, body: "".join(
            f"<tr>{''.join(f'<{tag}>{escape(str(cell))}</{tag}>' for cell in cells)}</tr>"
            for tag, cells in [("th", header), *(("td", b) for b in body)]
        )
        parts = [
            f"<h1>Which method, without target labels?</h1><p>{escape(self.setting)}</p><p><b>{escape(self.verdict)}</b></p>",
            *(
                ["<h2>Before you believe it</h2><ul>", *(f"<li>{escape(w)}</li>" for w in self.warnings), "</ul>"]
                if self.warnings
                else []
            ),
            f'<img alt="{escape(self.verdict)}" src="data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}">',
            f"<table>{rows(*self._cells())}</table><p>{escape(_LEGEND)}</p>",
        ]
        if self.shift:
            parts.append(
                f"<h2>Classes in the target</h2><p>{escape(_SHARES)}</p><table>{rows(*self._shift_cells())}</table>"
            )
            parts.append(f"<h2>Confidence and calibration</h2><p>{escape(_CALIBRATION)}</p>")
            parts.append(f"<table>{rows(*self._calibration_cells())}</table>")
        if self.has_oracle and sum(bool(self._good(name)) for name in self.names) >= 3:
            quality = self.validator_quality().reset_index()
            cells = [
                [_number(cell) if isinstance(cell, float) else cell for cell in row]
                for row in quality.itertuples(index=False)
            ]
            parts.append(f"<h2>Validators against the oracle</h2><table>{rows(list(quality.columns), cells)}</table>")
        if self.card:
            parts.append("<h2>Model card</h2>")
            for heading, lines in self.card:
                parts.append(
                    f"<h3>{escape(heading)}</h3><ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"
                )
        parts += [f"<p>{escape(line)}</p>" for line in [*self._provenance(command), "Not for clinical use."]]
        with write_atomically(path) as temporary:
            temporary.write_text(_PAGE.format(body="\n".join(parts)), "utf-8")
        return Path(path)

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows of the table as text, for both reports."""
        table, chosen, oracle = self.table, self.best().recipe, self.oracle() if self.has_oracle else None
        bases = [base for base in BASELINES if f"vs_{base}" in table]
        header = [
            "recipe",
            "runs",
            "source",
            *(["target (oracle)"] if oracle else []),
            *(f"vs {base}" for base in bases),
        ]
        header += [*self.validators, "seconds", "adversary max / last"]
        rows = []
        for name, row in table.iterrows():
            marks = " (chosen)" * (name == chosen) + " (oracle)" * (name == oracle)
            cells = [name + marks, int(row["runs"]), _number(row[f"source_{self.metric}"])]
            cells += [_ranged(row, f"target_{self.metric}")] if oracle else []
            cells += [_ranged(row, f"vs_{base}", "+") + "*" * bool(row[f"vs_{base}_separated"]) for base in bases]
            cells += [*(_number(row[validator]) for validator in self.validators), _number(row["seconds"], 1)]
            rows.append(
                [
                    *cells,
                    ""
                    if math.isnan(row["adversary_max"])
                    else f"{row['adversary_max']:.2f} / {row['adversary_last']:.2f}",
                ]
            )
        return header, rows

    def _provenance(self, command: str | None) -> list[str]:
        dates, machines = (sorted({run[key] for run in self.runs}) for key in ("date", "machine"))
        command = command or " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
        when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
        return [
            f"Command: {command}",
            f"Date: {when}; written {datetime.date.today().isoformat()}",
            f"Machine: {'; '.join(machines)}",
        ]

    def _good(self, name: str | None = None) -> list[dict]:
        return [run for run in self.runs if "error" not in run and name in (None, run["recipe"])]

    def _oracle(self, name: str) -> dict[int, float]:
        return {run["seed"]: run["target"][self.metric] for run in self._good(name) if run["target"]}

    def _oracle_mean(self, name: str) -> float:
        return _mean(self._oracle(name).values())


def adversary_curve(run: dict) -> list[float]:
    """An adversary's accuracy over a run's logged steps; empty when the recipe has none."""
    return [
        value for entry in run.get("history", []) for key, value in entry.items() if key.endswith(".adversary_accuracy")
    ]


def _mean(values) -> float:
    values = [value for value in values if value is not None]
    return float(np.mean(values)) if values else math.nan


def _spearman(pairs: np.ndarray) -> float:
    """Rank correlation of two columns `(N, 2)`, ties sharing their mean rank; NaN where a column is constant."""
    from scipy.stats import rankdata

    a, b = rankdata(pairs[:, 0]), rankdata(pairs[:, 1])
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else math.nan


def _number(value: float, digits: int = 3, sign: str = "") -> str:
    return "" if math.isnan(value) else f"{value:{sign}.{digits}f}"


def _ranged(row, name: str, sign: str = "") -> str:
    mean, low, high = (row[name + end] for end in ("", "_low", "_high"))
    return "" if math.isnan(mean) else format_interval(mean, low, high, sign)


def _share(shift: dict, k: int, name: str = "estimate") -> str:
    if shift[name][k] is None:
        return "unknown"
    ends = f" [{shift['low'][k]:.2f}, {shift['high'][k]:.2f}]" if name == "estimate" else ""
    return f"{shift[name][k]:.2f}{ends}"


def _plain(text: str) -> str:
    return text.replace("$", r"\$")  # matplotlib would read it as mathematics


_LEGEND = (
    "Ordered by the selector. Brackets: 95 % t-intervals over seeds; differences are paired by seed, * where over at least 5 seeds "
    "the interval leaves out zero. Only the columns target and vs saw target labels (and target_labels, where some were given)."
)
_SHARES = (
    "Estimated from how the chosen model answers there, corrected by its errors on held-out source images (black-box shift "
    "estimation, Lipton et al., 2018), with 95 % bootstrap intervals. It takes the images of a class to look alike on both sides: "
    "where colours or scanners differ it is a hint."
)
_CALIBRATION = (
    "ECE is how far confidence and accuracy lie apart; scaled: after dividing logits by a temperature fitted on the source's "
    "validation images. Confidence that falls from source to target is a hint, without labels, that accuracy falls too; "
    "confidence that does not fall proves nothing."
)

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>xferlab compare</title>
<style>body{{font:16px/1.5 sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#111;background:#fff}}
table{{border-collapse:collapse;font-size:13px;display:block;overflow-x:auto}}th,td{{border-bottom:1px solid #ccc;padding:3px 8px;text-align:left}}
img{{max-width:100%}}</style>
{body}
</html>
"""
