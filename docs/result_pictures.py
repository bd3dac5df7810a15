"""A picture above each table of results: a dot for each number, with its interval where the table gives one, drawn when the site is built."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xferlab import plots

WHAT = {  # pages whose tables are drawn, and what their numbers are
    "digits": "score on the target's test labels",
    "cells": "score on the target's test labels",
    "collapse": "score on the target's test labels",
    "real": "balanced accuracy",
    "labels": "balanced accuracy at the target",
    "race": "share",
    "ranks": "rank correlation with the score at the target",
    "estimates": "the first number of each cell",
    "text": "balanced accuracy",
    "regularizers-bccd_64": "balanced accuracy",
    "regularizers-cells-site-a": "balanced accuracy",
}
CELL = re.compile(r"^(-?\d+(?:\.\d+)?)(%?)(?: \[(-?[\d.]+), (-?[\d.]+)\])?\*?(?:[,;] .*)?$")
COUNTS = ("seconds", "runs", "cases", "draws", "pictures", "0")
INK, DARK = (
    ("#222222", "#dddddd"),
    {"#222222": "#e6e6e6", "#dddddd": "#555555"},
)  # light, and what the dark theme has instead
DARK |= dict(zip(plots.PALETTE, ("#4db3ff", "#ff9d5c", "#3dd6a8", "#e5a3cc", "#ffc34d", "#9fdcff"), strict=False))


class Drawn(NamedTuple):
    """What of one table is drawn: rows by name, and for each column `(mean, low, high)` or None in their order."""

    names: list[str]
    columns: dict[str, list[tuple[float, float, float] | None]]


def numbers(rows: list[str]) -> Drawn:
    """Columns of scores: those with intervals where there are any, without differences, counts and times."""
    head, _, *body = [[cell.strip() for cell in row.strip("| \n").split(" | ")] for row in rows]
    body = [row + [""] * (len(head) - len(row)) for row in body]
    found, words = {}, []
    for k, title in enumerate(head):
        cells = [row[k] for row in body]
        read = [CELL.match(cell) for cell in cells]
        if all(read) or (k and any(read) and all(m or not cell for m, cell in zip(read, cells, strict=True))):
            if title.split(" /")[0] not in COUNTS:
                found[title] = read
        elif k < 2 and not any(read):
            words.append(cells)
    ranged = {title: read for title, read in found.items() if any(m and m[3] for m in read)}

    def value(m):
        return None if m is None else (float(m[1]), *(float(m[i]) if m[i] else np.nan for i in (3, 4)))

    names = [", ".join(filter(None, parts)) for parts in zip(*words, strict=True)]
    return Drawn(names, {title: [value(m) for m in read] for title, read in (ranged or found).items()})


def draw(table: Drawn, what: str):
    plt = plots.pyplot()
    look = {"svg.hashsalt": "xferlab", "svg.fonttype": "none", "font.family": "sans-serif", "axes.grid": False}
    look |= dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK[0])
    look |= {"axes.edgecolor": INK[1], "axes.spines.top": False, "axes.spines.right": False}
    with plt.rc_context(look):
        figure, axis = plt.subplots(figsize=(8, 0.28 * len(table.names) + 1.3), layout="constrained")
        for k, (title, values) in enumerate(table.columns.items()):
            y = np.arange(len(values)) + 0.5 * (k - (len(table.columns) - 1) / 2) / len(table.columns)
            mean, low, high = np.array([(np.nan,) * 3 if v is None else v for v in values]).T
            ends = None if np.isnan(low).all() else np.abs(np.nan_to_num([mean - low, high - mean]))
            axis.errorbar(mean, y, xerr=ends, linestyle="", color=plots.PALETTE[k % 6], marker=plots.MARKERS[k % 8],
                          markersize=5, elinewidth=1.2, label=title)  # fmt: skip
        axis.set_yticks(range(len(table.names)), table.names)
        axis.invert_yaxis()
        axis.set_xlabel(what)
        axis.grid(axis="x", color=INK[1], linewidth=0.6)
        axis.grid(axis="y", color=INK[1], linewidth=0.3)
        if len(table.columns) > 1:
            figure.legend(loc="outside upper left", ncols=3, frameon=False)
    return figure


def words(table: Drawn, what: str) -> str:
    """The picture's text alternative: which row is highest in each column."""
    best = []
    for title, values in table.columns.items():
        score, name = max((v[0], n) for v, n in zip(values, table.names, strict=True) if v is not None)
        best.append(f"{title}: {name}, {score:g}")
    text = f"A dot for each row of the table below ({what}), with its interval where there is one. Highest in {'; '.join(best)}."
    return text.replace('"', "'")


def either(picture: str, alt: str) -> str:
    """`picture_light.svg` or `picture_dark.svg`, whichever the theme asks for; a narrow screen scrolls them."""
    both = (
        f":::{{image}} {picture}_{which}.svg\n:class: only-{which}\n:alt: {alt}\n:::" for which in ("light", "dark")
    )
    return "::::{container} wide\n" + "\n".join(both) + "\n::::"


def with_pictures(text: str, name: str, folder: Path) -> str:
    """A page of tables with a picture above each, for either theme; `folder` gets them as SVG."""
    made = 0

    def picture(match) -> str:
        nonlocal made
        table = numbers(match[0].splitlines())
        if not table.columns or len(table.names) < 2:
            return match[0]
        made += 1
        figure = draw(table, WHAT[name])
        light = folder / f"{name}_{made}_light.svg"
        light.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(light, transparent=True, metadata={"Date": None})
        plots.pyplot().close(figure)
        drawn = light.read_text("utf-8")
        dark = re.sub("|".join(DARK), lambda color: DARK[color[0].upper() if color[0].upper() in DARK else color[0]],
                      drawn, flags=re.IGNORECASE)  # fmt: skip
        light.with_name(f"{name}_{made}_dark.svg").write_text(dark, "utf-8")
        alt = words(table, WHAT[name])
        return f"{either(light.stem.removesuffix('_light'), alt)}\n\n{match[0]}"

    return re.sub(r"(?:^\|.*\n){4,}", picture, text, flags=re.MULTILINE)
