"""Figures of numbers: curves, bars, points with their intervals."""

from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import ArgumentError
from ..evaluation import t_interval
from .drawing import PALETTE, finish, mark, new_axis

Points = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def curves(
    rows: Sequence[Mapping], *, x: str, y: str, by: str, xlabel: str, ylabel: str, log: bool = True, filled: str = ""
):
    """A line for each value of `by`: mean of `y` at each `x`, with its 95 % t-interval over the rows that share both.

    Parameters
    ----------
    rows
        Dicts.
    x, y, by
        Their columns.
    xlabel, ylabel
        What the axes say.
    log
        Whether x grows by factors.
    filled
        A column; rows in which it is true get a small filled mark of their own, the others a hollow one.

    Returns
    -------
    Figure
        One axis.

    Examples
    --------
    >>> rows = [{"labels": n, "accuracy": a, "method": "probe"} for n, a in [(5, 0.6), (5, 0.7), (20, 0.8), (20, 0.9)]]
    >>> figure = xl.plots.curves(rows, x="labels", y="accuracy", by="method", xlabel="labels a class", ylabel="accuracy")
    """
    axis = new_axis(8, 4.6)
    names = list(dict.fromkeys(row[by] for row in rows))
    for i, name in enumerate(names):
        own = [row for row in rows if row[by] == name]
        xs = sorted({row[x] for row in own})
        mean, low, high = np.array([t_interval([row[y] for row in own if row[x] == at]) for at in xs]).T
        # neighbors are moved aside a little, or intervals hide each other
        shifted = np.array(xs) * 1.04 ** (i - (len(names) - 1) / 2) if log else np.array(xs)
        bars = None if np.isnan(low).any() else np.stack([mean - low, high - mean])
        axis.errorbar(shifted, mean, bars, markersize=8, capsize=4, label=name, **mark(i))
        for row in own if filled else ():
            face = PALETTE[i % 8] if row[filled] else "white"
            at = shifted[xs.index(row[x])] * (1.02 if log else 1)
            axis.plot([at], [row[y]], "o", markersize=4.5, color=PALETTE[i % 8], markerfacecolor=face, alpha=0.8)
    if log:
        axis.set_xscale("log")
        ticks = sorted({row[x] for row in rows})
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
    return finish(axis, xlabel, ylabel)


def scatter(
    points: Points, *, xlabel: str, ylabel: str, log: bool = False, filled: Mapping[str, Sequence[bool]] | None = None
):
    """A cloud of points for each name, told apart by color and marker.

    Parameters
    ----------
    points
        `(xs, ys)` by name.
    xlabel, ylabel
        What the axes say.
    log
        Whether x grows by factors.
    filled
        By name, for each of its points whether its mark is filled; the others are hollow.

    Returns
    -------
    Figure
        One axis.

    Examples
    --------
    >>> figure = xl.plots.scatter({"dann": ([0.5, 0.6], [0.7, 0.8])}, xlabel="validator", ylabel="accuracy")
    """
    axis = new_axis(8, 4.6)
    for i, (name, (xs, ys)) in enumerate(points.items()):
        look = mark(i)
        full = filled[name] if filled else [True] * len(xs)
        axis.scatter([], [], s=70, label=name, **look)  # the legend's, filled whatever the points are
        axis.scatter(xs, ys, s=70, alpha=0.85, edgecolors=look["color"], linewidths=1.5, marker=look["marker"],
                     facecolors=[look["color"] if one else "white" for one in full])  # fmt: skip
    if log:
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
    return finish(axis, xlabel, ylabel)


def lines(series: Points, *, xlabel: str, ylabel: str, level: float | None = None):
    """A line for each name.

    Parameters
    ----------
    series
        `(xs, ys)` by name.
    xlabel, ylabel
        What the axes say.
    level
        A dashed gray line across at this height.

    Returns
    -------
    Figure
        One axis.

    Examples
    --------
    >>> figure = xl.plots.lines({"loss": ([0, 1, 2], [2.3, 1.1, 0.6])}, xlabel="step", ylabel="loss")
    """
    axis = new_axis(8, 4.2)
    for i, (name, (xs, ys)) in enumerate(series.items()):
        axis.plot(xs, ys, markevery=max(1, len(xs) // 8), label=name, **mark(i))
    if level is not None:
        axis.axhline(level, color="0.4", linestyle="--", linewidth=1.5)
    return finish(axis, xlabel, ylabel)


def bars(groups: Mapping[str, Mapping[str, float]], *, xlabel: str, ylabel: str):
    """Grouped bars, keys along the axis.

    Parameters
    ----------
    groups
        For each name a value by key.
    xlabel, ylabel
        What the axes say.

    Returns
    -------
    Figure
        One axis.

    Raises
    ------
    ArgumentError
        Without groups.

    Examples
    --------
    >>> figure = xl.plots.bars({"source": {"dann": 0.9}, "target": {"dann": 0.7}}, xlabel="recipe", ylabel="accuracy")
    """
    if not groups:
        raise ArgumentError("bars got no groups to draw")
    keys = list(dict.fromkeys(key for values in groups.values() for key in values))
    axis = new_axis(max(8, 0.9 * len(keys) + 3), 4.2)
    width = 0.8 / len(groups)
    for i, (name, values) in enumerate(groups.items()):
        at = np.arange(len(keys)) + (i - (len(groups) - 1) / 2) * width
        heights, hatch = [values.get(key, np.nan) for key in keys], ("", "//", "..", "xx")[i % 4]
        axis.bar(at, heights, width, label=name, hatch=hatch, color=PALETTE[i % 8], edgecolor="white")
    axis.set_axisbelow(True)
    tilt = {"rotation": 30, "ha": "right"} if sum(len(str(key)) for key in keys) > 60 else {}
    axis.set_xticks(range(len(keys)), keys, **tilt)
    return finish(axis, xlabel, ylabel, legend=len(groups) > 1)


def ranking(
    values: Mapping[str, Sequence[float]],
    *,
    xlabel: str,
    marks: Mapping[str | None, str] | None = None,
    colors: Mapping[str | None, str] | None = None,
    squares: Sequence[str] = (),
    reference: str | None = None,
):
    """A row for each name, the smallest mean lowest: its values as ticks, their mean and 95 % t-interval.

    Parameters
    ----------
    values
        Numbers by name; a name without any keeps an empty row.
    xlabel
        What the numbers are.
    marks
        Words that stand in brackets behind a name.
    colors
        A name's color where it is not the palette's first.
    squares
        Names whose mean is a square and not a dot, such as baselines.
    reference
        A name whose mean a dotted line carries through all rows.

    Returns
    -------
    Figure
        One axis.

    Examples
    --------
    >>> figure = xl.plots.ranking({"a": [0.1, 0.2], "b": [0.3, 0.5]}, xlabel="accuracy")
    """
    stats = {name: t_interval(list(row)) if len(row) else (float("nan"),) * 3 for name, row in values.items()}
    names = sorted(values, key=lambda name: stats[name][0])
    axis = new_axis(8, 0.32 * len(names) + 1.4)
    for y, name in enumerate(names):
        (mean, low, high), color = stats[name], (colors or {}).get(name, PALETTE[0])
        axis.plot(values[name], [y] * len(values[name]), "|", color=color, alpha=0.6)
        error = None if np.isnan(low) else [[mean - low], [high - mean]]
        axis.errorbar([mean], [y], xerr=error, fmt="s" if name in squares else "o", color=color, capsize=3)
        if name == reference:
            axis.axvline(mean, color=PALETTE[6], linewidth=1, linestyle=":")
    words = {name: f" ({mark})" for name, mark in (marks or {}).items()}
    # a dollar sign would begin mathematics
    axis.set_yticks(range(len(names)), [name.replace("$", r"\$") + words.get(name, "") for name in names])
    axis.set_xlabel(xlabel)
    axis.figure.tight_layout()
    return axis.figure


def by_depth(measures: Mapping[str, Mapping[str, float]], layers: Sequence[str], ylabel: str = "0 to 1"):
    """A line for each measure over the layers of an encoder, input side first.

    Parameters
    ----------
    measures
        A number by layer, by name of the measure.
    layers
        Their names, in order.
    ylabel
        What the numbers are.

    Returns
    -------
    Figure
        One axis.

    Examples
    --------
    >>> figure = xl.plots.by_depth({"accuracy": {"conv1": 0.5, "conv2": 0.7}}, ["conv1", "conv2"])
    """
    xs = range(len(layers))
    figure = lines({name: (xs, [of[layer] for layer in layers]) for name, of in measures.items()},
                   xlabel="block, input side first", ylabel=ylabel)  # fmt: skip
    figure.axes[0].set_xticks(xs, layers, rotation=30, ha="right")
    return figure
