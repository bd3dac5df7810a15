"""What an experiment measured, and how to look at it: a table, curves over labels, paired gains as a forest plot.

results = lab.experiment("labels", trial, method=methods, labels=(5, 20, 100))
results.table(over="small net")      # the last line of a cell shows it; display(a, b) shows several
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ArgumentError
from ..evaluation import DRAWS, format_interval, gain, t_interval
from .display import Picture
from .tables import Table

if TYPE_CHECKING:
    from ..comparison.leaderboard import Leaderboard


@dataclass(frozen=True)
class Results:
    """Rows of an experiment, one for each run, with what tells them apart and what was measured.

    Parameters
    ----------
    rows
        Dicts of settings and of measures (floats). `here` is False in a row that was measured earlier and read from a
        file.
    by
        The column that a table has its rows for, such as the method.
    across
        The column that a table has its columns for, such as the number of labels; None where there is none.
    unit
        The column within which methods are compared: a draw of labels or a seed, whose luck they share.
    title
        On which data.

    Raises
    ------
    ArgumentError
        For a row that lacks one of these columns.

    Examples
    --------
    >>> rows = [{"method": m, "draw": d, "accuracy": a} for m, d, a in [("probe", 0, 0.7), ("probe", 1, 0.8)]]
    >>> xl.lab.Results(rows).mean("accuracy")
    {'probe': 0.75}
    """

    rows: Sequence[Mapping]
    by: str = "method"
    across: str | None = None
    unit: str = "draw"
    title: str = ""

    def __post_init__(self):
        for row in self.rows:
            if missing := {self.by, self.unit, self.across} - {None} - row.keys():
                raise ArgumentError(f"a row of results lacks {', '.join(sorted(missing))}; it has {', '.join(row)}")

    def __iter__(self) -> Iterator[Mapping]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def names(self) -> list[str]:
        """What `by` holds, in the order of the rows."""
        return list(dict.fromkeys(row[self.by] for row in self.rows))

    @property
    def levels(self) -> list:
        """What `across` holds, smallest first where it is a number; `[None]` without it."""
        found = list(dict.fromkeys(row[self.across] for row in self.rows)) if self.across else [None]
        return sorted(found) if all(isinstance(level, (int, float)) for level in found) else found

    @property
    def measure(self) -> str:
        """The first column that was measured: what is shown where no other is named."""
        known = (self.by, self.across, self.unit, "here")
        return next(key for key, value in self.rows[0].items() if key not in known and isinstance(value, float))

    def only(self, **columns) -> Results:
        """The rows whose columns hold these values, each one value or a list of them: `results.only(labels=5)`."""
        held = {k: v if isinstance(v, (list, tuple, set, range)) else [v] for k, v in columns.items()}
        kept = [row for row in self.rows if all(row[key] in values for key, values in held.items())]
        if not kept:
            raise ArgumentError(f"no row of these results has {columns}")
        return replace(self, rows=kept)

    def mean(self, measure: str | None = None, **columns) -> dict[str, float]:
        """The mean of a measure for each of `names`, the best first."""
        part, measure = self.only(**columns), measure or self.measure
        means = {name: float(np.mean(part._values(name, measure))) for name in part.names}
        return dict(sorted(means.items(), key=lambda item: -item[1]))

    def best(self, measure: str | None = None, **columns) -> str:
        """The name with the highest mean."""
        return next(iter(self.mean(measure, **columns)))

    def tied(self, measure: str | None = None, **columns) -> list[str]:
        """The name with the highest mean, and those whose paired difference from it is not separated."""
        part, best = self.only(**columns), self.best(measure, **columns)
        return [n for n in part.names if n == best or part.gain(best, n, measure)["verdict"] != "separated"]

    def gain(self, name: str, over: str, measure: str | None = None, **columns) -> dict:
        """What `name` gains over `over` within a unit: `gain`, `low`, `high`, `n` and `verdict` (see `evaluation.gain`)."""
        pairs = self.only(**columns)._pairs(name, over, measure or self.measure)
        if not pairs:
            raise ArgumentError(f"{name!r} and {over!r} share no {self.unit}; there are {', '.join(self.names)}")
        return gain([difference for difference, _ in pairs])

    def differences(self, over: Mapping[str, str], measure: str | None = None) -> Results:
        """Within each unit, what every name of `over` gains over the name beside it: which step brings most, and which are `tied` with it?"""
        measure, rows = measure or self.measure, []
        runs = {(row[self.by], row[self.unit], row.get(self.across)): row for row in self.rows}
        for (name, *rest), row in runs.items():
            if base := runs.get((over.get(name), *rest)):
                here = bool(row.get("here", True) and base.get("here", True))
                kept = {key: row[key] for key in (self.by, self.unit, self.across) if key}
                rows.append({**kept, measure: row[measure] - base[measure], "here": here})
        return replace(self, rows=rows)

    def table(self, *measures: str, over: str | None = None, smaller: Sequence[str] = (), caption: str = "") -> Table:
        """Mean and 95 % t-interval, a row for each name and a column for each measure and level.

        Parameters
        ----------
        measures: Which; the first one that was measured if none is named.
        over: A name; what is separated from it is marked.
        smaller: Measures whose smallest value is best.
        """
        measures = measures or (self.measure,)
        columns = {(m, level): self._at(level) for m in measures for level in self.levels}
        cells = {name: [_cell(part._values(name, m)) for (m, _), part in columns.items()] for name in self.names}
        best, marks = set(), {}
        for j, ((m, _), part) in enumerate(columns.items()):
            means = part.mean(m)
            best.add(((min if m in smaller else max)(means, key=means.__getitem__), j))
            for name in part.names:
                pairs = [difference for difference, _ in part._pairs(name, over, m)] if over and name != over else []
                if pairs and (found := gain(pairs))["verdict"] == "separated":
                    marks[name, j] = "▲" if found["gain"] > 0 else "▼"
        heads = [self._head(m, level, len(measures) > 1) for m, level in columns]
        counts = sorted({len(part._values(n, m)) for (m, _), part in columns.items() for n in part.names})
        draws = f"{counts[0]} to {counts[-1]}" if counts[0] < counts[-1] else f"{counts[0]}"
        about = f"mean over {draws} {self.unit}{'s' * (counts[-1] > 1)}"
        if counts[-1] > 1:
            about += f" with its 95 % t-interval. Bold: the {'best' if smaller else 'highest'} mean of a column."
        else:
            about += ". Bold: the best of a column."
        about = about if len(measures) > 1 else f"{measures[0]}, {about}"
        notes = [f"{self.title}: {about}" if self.title else about[0].upper() + about[1:]]
        if over:
            notes.append(f"▲ and ▼: separated from {over}, above and below (paired, {DRAWS} {self.unit}s or more).")
        caption = " ".join([caption, *notes, self._provenance()]).strip()
        return Table(heads, cells, caption, self.by, frozenset(best), marks)

    def curves(self, measure: str | None = None, *, xlabel: str = "", ylabel: str = "", log: bool = True) -> Picture:
        """A line for each name over `across`, with 95 % t-intervals; a filled dot is a run of this notebook, a hollow one an earlier one."""
        from .. import plots

        assert self.across is not None, "curves go across a column; give Results across="
        measure, rows = measure or self.measure, [{"here": True, **row} for row in self.rows]
        words = dict(xlabel=xlabel or self.across, ylabel=ylabel or measure)
        figure = plots.curves(rows, x=self.across, y=measure, by=self.by, log=log, filled="here", **words)
        last = self.levels[-1]
        ends = ", ".join(f"{name} {value:.2f}" for name, value in self.mean(measure, **{self.across: last}).items())
        shown = f"{words['ylabel']} over {words['xlabel']}, a line for each {self.by}. At {last}: {ends}."
        return Picture(figure, f"{self.title}: {shown} {self._provenance()}".removeprefix(": ").strip())

    def gains(self, *measures: str, over: str | Mapping[str, str]) -> Picture:
        """A forest plot of paired differences: a panel for each measure and level, a row for each name.

        Parameters
        ----------
        over: The name that every other is compared with, or for each name its own.
        """
        measures = measures or (self.measure,)
        bases = over if isinstance(over, Mapping) else dict.fromkeys(self.names, over)
        panels, words = {}, []
        for measure, level in itertools.product(measures, self.levels):
            part, panel, shown = self._at(level), {}, []
            for name in part.names:
                base = bases.get(name)
                if base not in (None, name) and (pairs := part._pairs(name, base, measure)):
                    row = name if base == over else f"{name} over {base}"
                    panel[row], g = pairs, gain([difference for difference, _ in pairs])
                    shown.append(f"{row} {format_interval(g['gain'], g['low'], g['high'], '+')}, {g['verdict']}")
            title = self._head(measure, level, len(measures) > 1)
            panels[title] = panel
            words.append(f"{title}: {'; '.join(shown)}.")
        base = f" over {over}" if isinstance(over, str) else ""
        what = f" in {measures[0]}" if len(measures) < 2 else ""
        figure = forest(panels, xlabel=f"gain{what}{base}")
        opening = f"{self.title or 'Gains'}: paired differences{base} within a {self.unit}, 95 % t-intervals."
        return Picture(figure, " ".join([opening, *words, self._provenance()]).strip())

    def scatter(self, x: str, y: str | None = None, *, log: bool = False) -> Picture:
        """A point for each run: one measure against another, a color for each name; hollow where it was measured earlier."""
        from .. import plots

        y = y or self.measure
        points = {name: (self._values(name, x), self._values(name, y)) for name in self.names}
        new = {name: [row.get("here", True) for row in self.rows if row[self.by] == name] for name in points}
        figure = plots.scatter(points, xlabel=x + " (log scale)" * log, ylabel=y, log=log, filled=new)
        middles = "; ".join(f"{name} {np.mean(xs):.2f}, {np.mean(ys):.2f}" for name, (xs, ys) in points.items())
        words = f"{y} against {x}, one point a run. Means of {x} and {y}: {middles}. {self._provenance()}"
        return Picture(figure, words.strip())

    def _values(self, name: str, measure: str) -> list[float]:
        return [row[measure] for row in self.rows if row[self.by] == name]

    def _at(self, level) -> Results:
        return replace(self, rows=[row for row in self.rows if self.across is None or row[self.across] == level])

    def _pairs(self, name: str, over: str, measure: str) -> list[tuple[float, bool]]:
        """Differences within a unit, each with whether both of its runs are this notebook's."""
        return [(row[measure], row["here"]) for row in self.differences({name: over}, measure)]

    def _head(self, measure: str, level, several: bool) -> str:
        name = f"{level:g} {self.across}" if isinstance(level, (int, float)) else str(level)
        return measure if level is None else f"{measure}, {name}" if several else name

    def _provenance(self) -> str:
        new = sum(bool(row.get("here", True)) for row in self.rows)
        if new == len(self):
            return ""
        some = f"{new} of {len(self)} results are from here, the others earlier."
        return some if new else "All were measured earlier."


def runs(board: Leaderboard, title: str = "") -> Results:
    """The runs of a leaderboard as results: score at the source and the target, validators and seconds of each recipe and seed.

    Parameters
    ----------
    board
        Of `compare`.
    title
        On which data.

    Returns
    -------
    Results
        By recipe, within seeds.

    Examples
    --------
    >>> small = xl.Splits(*(part.take(per_class=4) for part in source.parts().values()))
    >>> board = xl.compare(["source_only"], small, target.val.unlabeled(), seeds=1, steps=1, store="runs")
    >>> list(xl.lab.runs(board).mean("source"))
    ['source_only']
    """
    rows = [
        {"recipe": run["recipe"], "seed": run["seed"], "here": run.get("here", True)}
        | {side: run[side][board.metric] for side in ("target", "source") if run.get(side)}
        | run["validators"]
        | {"seconds": run["seconds"]}
        for run in board.finished()
    ]
    return Results(rows, by="recipe", unit="seed", title=title)


def forest(panels: Mapping[str, Mapping[str, Sequence[tuple[float, bool]]]], *, xlabel: str):
    """Paired differences as a forest plot: a panel for each title, a row for each name, its mean and 95 % t-interval.

    Parameters
    ----------
    panels: By title, by name, the differences, each with whether its mark is filled (trained here) or hollow (measured earlier).
    xlabel: What was gained, over what.
    """
    from ..plots import PALETTE, pyplot

    plt = pyplot()
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    across = min(len(panels), 3)
    down = -(-len(panels) // across)
    size = (2.3 + (2.6 * across if across > 1 else 5.2), down * (0.42 * len(names) + 1.0) + 0.3)
    shared = dict(sharex=True, sharey=True, squeeze=False, layout="constrained")
    figure, axes = plt.subplots(down, across, figsize=size, **shared)
    for axis, (title, panel) in zip(axes.flat, panels.items(), strict=False):
        axis.axvline(0, color="0.3", linewidth=1.2)
        for name, pairs in panel.items():
            if not pairs:
                continue
            y, found = names.index(name), gain([value for value, _ in pairs])
            mean, low, high = found["gain"], found["low"], found["high"]
            color = "0.45" if found["verdict"] != "separated" else PALETTE[0] if mean > 0 else PALETTE[1]
            for value, full in sorted(pairs, key=lambda pair: pair[1]):  # filled marks last, where nothing hides them
                face = color if full else "white"
                axis.plot([value], [y - 0.22], "o", markersize=4, color=color, markerfacecolor=face)
            error = None if np.isnan(low) else [[mean - low], [high - mean]]
            axis.errorbar([mean], [y + 0.08], xerr=error, fmt="D", markersize=6, color=color, capsize=3)
        axis.set_title(title, fontsize=12, loc="left")
        axis.set_yticks(range(len(names)), names)
    axes[0, 0].set_ylim(len(names) - 0.5, -0.5)
    for axis in list(axes.flat)[len(panels) :]:
        axis.set_visible(False)
    for axis in list(axes.flat)[len(panels) - across : len(panels)]:  # the lowest of each column
        axis.tick_params(labelbottom=True)
    figure.supxlabel(f"{xlabel} (blue or orange: separated, five or more; filled dot: both trained here)", fontsize=11)
    return figure


def _cell(values: Sequence[float]) -> str:
    if not len(values):
        return ""
    mean, low, high = t_interval(values)
    if abs(mean) < 10:
        return format_interval(mean, low, high)
    return f"{mean:.1f}" if np.isnan(low) else f"{mean:.1f} [{low:.1f}, {high:.1f}]"  # such as seconds
