"""The front page's picture, drawn from committed results: three sets with a few labels, and one target without any.

    python docs/figure.py

Writes `docs/few_labels_light.svg` and `docs/few_labels_dark.svg`. Means with 95 % t-intervals over five draws of the labels (seeds, for the
digits). Its numbers are in the picture's own description, so that a test can tell whether it is still true.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from result_pictures import numbers

from xferlab import evaluation, plots
from xferlab.storage import write_atomically

ROOT = Path(__file__).resolve().parents[1]
SERIES = ("probe of the middle layers", "probe of the last layer", "fine-tuning", "small net from scratch")
NAMES = {
    **{"depth_probe": SERIES[0], "linear_probe": SERIES[1], "source_only": SERIES[2], "small_net": SERIES[3]},
    **{"depth probe": SERIES[0], "linear probe": SERIES[1], "full": SERIES[2], "small net from scratch": SERIES[3]},
}
STEPS = {
    "source_only": "source only",
    "source_only_joint_bn": "source only,\njoint batch norm",
    "dann": "DANN",
    "coral": "CORAL",
    "information_maximization": "information\nmaximization",
}
Points = dict[str, dict[int, tuple[float, float, float]]]


def from_lab(name: str) -> Points:
    """Series by name, each with (mean, low, high) by labels a class, of a lab's committed results."""
    scores = defaultdict(list)
    for row in json.loads((ROOT / "labs" / "results" / f"{name}.json").read_text("utf-8"))["rows"]:
        scores[row["method"], row["labels"]].append(row["balanced accuracy"])
    found: Points = defaultdict(dict)
    for (method, labels), values in scores.items():
        if method in NAMES:
            found[NAMES[method]][labels] = evaluation.t_interval(values)
    return found


def from_table(section: str) -> Points:
    """The same of a section of `bench/tables/real.md`, as `bench/real.py` wrote it."""
    text = (ROOT / "bench" / "tables" / "real.md").read_text("utf-8").split(f"## {section}\n")[1].split("\n## ")[0]
    table = numbers([line for line in text.splitlines() if line.startswith("|")])
    return {
        NAMES[name]: {int(title.split()[0]): values[k] for title, values in table.columns.items()}
        for k, name in enumerate(table.names)
        if name in NAMES
    }


def digits() -> dict[str, tuple[float, float, float]]:
    """(mean, low, high) of accuracy on the target's test part, by step, of `bench/tables/digits.json`."""
    scores = defaultdict(list)
    for run in json.loads((ROOT / "bench" / "tables" / "digits.json").read_text("utf-8")):
        if run["pair"] == ["digits/mnist", "digits/optdigits"] and run["recipe"] in STEPS:
            scores[run["recipe"]].append(run["target"]["balanced_accuracy"])
    return {STEPS[name]: evaluation.t_interval(scores[name]) for name in STEPS}


def panels() -> dict:
    """Everything that the picture shows, by panel."""
    return {
        "Blood cells, 8 classes (rendered)": from_lab("02_labels_cells-site-a"),
        "Blood smears, 3 classes (real)": from_table("bccd_64"),
        "Chest X-rays, pneumonia (real)": from_table("pneumonia_28"),
        "Digits, new writers, no labels (real)": digits(),
    }


def described(panels: dict) -> str:
    """The numbers as text, in three digits."""

    def shown(value):
        return {k: shown(v) for k, v in value.items()} if isinstance(value, dict) else f"{value[0]:.3f}"

    return json.dumps(shown(panels))


def _against_labels(axis, series: Points, colors) -> dict:
    """Draws a line with intervals for each series; gives their handles by name."""
    shown = {}
    for k, name in enumerate(SERIES):
        if points := sorted(series.get(name, {}).items()):
            x = [
                labels * 1.04 ** (k - 1.5) for labels, _ in points
            ]  # side by side, so that intervals can be told apart
            mean, low, high = (list(values) for values in zip(*(value for _, value in points), strict=True))
            ends = [[m - a for m, a in zip(mean, low, strict=True)], [b - m for m, b in zip(mean, high, strict=True)]]
            look = dict(color=colors[k], marker=plots.MARKERS[k], linewidth=1.8, elinewidth=1)
            shown[name] = axis.errorbar(x, mean, ends, **look)
    axis.set_xscale("log")
    axis.set_xticks([5, 20, 100], ["5", "20", "100"])
    axis.minorticks_off()
    axis.set_xlabel("labels a class")
    return shown


def draw(panels: dict, dark: bool):
    plt = plots.pyplot()
    ink, faint = ("#e6e6e6", "#8886") if dark else ("#222222", "#8884")
    colors = ("#4db3ff", "#ff9d5c", "#3dd6a8", "#e5a3cc") if dark else plots.PALETTE[:4]
    look = {
        "svg.hashsalt": "xferlab",
        "svg.fonttype": "path",
        "font.size": 11,
        "text.color": ink,
        "axes.edgecolor": faint,
    }
    look |= {
        "axes.labelcolor": ink,
        "xtick.color": ink,
        "ytick.color": ink,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with plt.rc_context(look):
        figure, axes = plt.subplots(1, 4, figsize=(14, 3.6), layout="constrained")
        *few, (title, steps) = panels.items()
        shown = {}
        for axis, (name, series) in zip(axes, few, strict=False):
            shown |= _against_labels(axis, series, colors)
            axis.set_title(name, fontsize=11)
            axis.set_ylim(0.63, 1.01)
            axis.grid(axis="y", color=faint)
        axes[0].set_ylabel("balanced accuracy")
        for k, (mean, low, high) in enumerate(steps.values()):
            axes[3].errorbar([mean], [k], xerr=[[mean - low], [high - mean]], color=colors[0], marker="o", elinewidth=1)
        axes[3].set_title(title, fontsize=11)
        axes[3].set_yticks(range(len(steps)), list(steps))
        axes[3].invert_yaxis()
        axes[3].set_xlabel("balanced accuracy")
        axes[3].grid(axis="x", color=faint)
        names = [name for name in SERIES if name in shown]
        figure.legend([shown[name] for name in names], names, loc="outside lower left", ncols=4, frameon=False)
    return figure


def main() -> None:
    found = panels()
    for which in ("light", "dark"):
        figure = draw(found, which == "dark")
        with write_atomically(ROOT / "docs" / f"few_labels_{which}.svg") as temporary:
            about = {"Date": None, "Creator": "docs/figure.py", "Description": described(found)}
            figure.savefig(temporary, format="svg", transparent=True, metadata=about)


if __name__ == "__main__":
    main()
