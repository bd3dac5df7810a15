"""A leaderboard as text, as Markdown and as one self-contained page (extra `labs`: matplotlib, jinja2)."""

from __future__ import annotations

import base64
import contextlib
import datetime
import io
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from .. import estimation, plots
from ..errors import DataError, needs
from ..evaluation import format_interval
from ..storage import write_text
from . import findings, labeling
from .findings import share
from .records import BASELINES

if TYPE_CHECKING:
    from .leaderboard import Leaderboard
    from .reference import Answers

LEGEND = (
    "Ordered by the selector. Brackets: 95 % t-intervals over seeds; differences are paired by seed, * where over at least 5 seeds "
    "the interval leaves out zero. Only the columns target and vs saw target labels (and target_labels, where some were given)."
)
Table = tuple[list[str], list[list[str]]]
Strip = list[tuple[str, str, str]]  # address, caption and file of each picture


def write_page(board: Leaderboard, path: str | Path, command: str | None = None) -> Path:
    """One self-contained page: verdict, warnings, picture, table, class shares, calibration, validators against the oracle,
    model card. All names are escaped."""
    choice, shift = board.best(load=False), board.shift is not None
    about = board.run(choice.recipe, choice.seed).get("about", "")
    return page(
        "report.html.j2",
        path,
        board=board,
        title=f"{board.setting.split(', ')[0]}: {choice.recipe}",
        chosen=f"Of {len(board.names)} methods, {choice.recipe} was chosen without a target label: {about}.",
        headline=findings.headline(board),
        cautions=findings.cautions(board),
        picture=data_address(picture(board)),
        estimate=findings.estimate(board),
        table=cells(board),
        legend=LEGEND,
        shares=_shift_cells(board) if shift else None,
        calibration=_calibration_cells(board) if shift else None,
        wanted=[(thumbnail(want.inputs), want.file, want.why) for want in board.wanted],
        quality=_quality_cells(board),
        searched=_searched_cells(board) if board.searched else None,
        sites=_site_cells(board) if findings.sites(board) else None,
        bought=labeling.bought(),
        provenance=provenance(board, command),
        **(_shown(board.given) if board.given else {}),
    )


def page(template: str, path: str | Path, **values) -> Path:
    """Writes a page that a template of this folder draws."""
    with needs("jinja2", extra="labs"):
        from jinja2 import Environment, PackageLoader
    environment = Environment(loader=PackageLoader("xferlab.comparison", "."), autoescape=True, trim_blocks=True)
    write_text(path, environment.get_template(template).render(**values))
    return Path(path)


def aligned(table: Table) -> list[str]:
    """The lines of a table for a terminal."""
    header, rows = table
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in (header, *rows)]


def data_address(figure: Any) -> str:
    """A matplotlib Figure as a `data:` address of a PNG; the figure is closed."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110)
    plots.pyplot().close(figure)
    return _address(drawn)


def thumbnail(inputs: Tensor) -> str:
    """A picture `(C, H, W)` as a `data:` address of a PNG of at most 96 pixels a side; nothing for token ids."""
    if inputs.ndim == 1:
        return ""
    from PIL import Image

    image, drawn = Image.fromarray(inputs.permute(1, 2, 0).squeeze(2).cpu().numpy()), io.BytesIO()
    image.thumbnail((96, 96))
    image.save(drawn, "png")
    return _address(drawn)


def _address(drawn: io.BytesIO) -> str:
    return f"data:image/png;base64,{base64.b64encode(drawn.getvalue()).decode()}"


def _shown(given: Answers) -> dict[str, Any]:
    """What the page shows of the chosen model's answers on the target, and of those on held-out images."""
    shown: dict[str, Any] = {"unlike": findings.unlike(given, "the source")}
    if len(given.classes) <= 12:
        rows = zip(given.classes, estimation.expected_confusion(given.probabilities), strict=True)
        shown["expected"] = ["", *given.classes], [[name, *map(number, shares)] for name, shares in rows]
    if given.pictures.is_image:
        shown["gallery"] = _gallery(given)
    if given.pictures.is_image and (like := given.like_target) is not None:
        strangest = np.argsort(like, kind="stable")[:20]
        shown["strangest"] = _strip(given, strangest, lambda i, file: f"p {like[i]:.3f} {Path(file).name}")
    if held := given.reference:
        curves = plots.roc_and_reliability(held.probabilities.numpy(), held.labels.numpy(), given.classes)
        shown["curves"] = data_address(curves)
        shown["held_out"] = f"On {len(held.labels)} held-out images, after the temperature."
    return shown


def _gallery(given: Answers) -> list[tuple[str, Strip]]:
    """What it is sure of, class by class, what it is not sure of, and what it may never have seen."""
    import pandas as pd

    answers, confidence = given.probabilities.argmax(1), given.probabilities.max(1)
    surest = np.argsort(-confidence, kind="stable")
    turn = pd.Series(answers[surest]).groupby(answers[surest]).cumcount()  # the surest of each class, then the second
    rows = {"Sure": surest[np.argsort(turn, kind="stable")], "Unsure": np.argsort(confidence, kind="stable")}
    if given.like_target is not None:
        rows["Unlike the others"] = np.argsort(given.like_target, kind="stable")

    def caption(i: int, file: str) -> str:
        return f"{given.classes[answers[i]]} {confidence[i]:.2f}"

    return [(name, _strip(given, at[:10], caption)) for name, at in rows.items()]


def _strip(given: Answers, rows: np.ndarray, caption: Callable[[int, str], str]) -> Strip:
    files = given.pictures.files or [f"no. {i}" for i in range(len(given.pictures))]
    return [(thumbnail(given.pictures.inputs[i]), caption(i, files[i]), files[i]) for i in rows.tolist()]


def picture(board: Leaderboard) -> Any:
    """A matplotlib Figure: target score of each recipe with its interval (without labels, the selector's mean), a point
    a run, and which is the label-free choice and which the oracle's; the worst first."""
    values = {}
    for name in filter(board.finished, board.names):
        chosen_by = [run["validators"].get(board.selector) for run in board.finished(name)]
        found = board.target_scores(name).values() if board.has_oracle else chosen_by
        values[name] = [value for value in found if value is not None]
    chosen, oracle = board.best(load=False).recipe, board.oracle() if board.has_oracle else None
    marks = {oracle: "oracle", chosen: "chosen, and oracle" if chosen == oracle else "chosen without labels"}
    several = ", mean and 95 % interval over seeds" if len({run["seed"] for run in board.runs}) > 1 else ", one seed"
    label = f"target {board.metric.replace('_', ' ')}{several}" if board.has_oracle else board.selector
    colors: dict[str | None, str] = dict.fromkeys(BASELINES, plots.PALETTE[6])
    colors |= {oracle: plots.PALETTE[2], chosen: plots.PALETTE[1]}
    figure = plots.ranking(values, xlabel=label, marks=marks, colors=colors, squares=BASELINES, reference="source_only")
    if board.has_oracle:  # the axis shows where scores are, whatever two seeds would allow
        low, high = figure.axes[0].get_xlim()
        figure.axes[0].set_xlim(max(low, -0.02), min(high, 1.02))
    return figure


def markdown(board: Leaderboard, command: str | None = None) -> str:
    """The table, its verdict and warnings, with the command (this process's if None), dates and machines that made it."""

    def clean(text: object) -> str:
        return str(text).replace("\n", " ").replace("|", "\\|")

    def grid(table: Table) -> list[str]:
        header, rows = table
        return [f"| {' | '.join(map(clean, row))} |" for row in (header, ["---"] * len(header), *rows)]

    lines = [clean(board.setting), "", clean(board.verdict), "", *grid(cells(board))]
    if board.searched:
        lines += ["", "Strengths tried, with the first seed:", "", *grid(_searched_cells(board))]
    lines += ["", LEGEND, "", *(f"- {clean(warning)}" for warning in board.warnings)]
    return "\n".join([*lines, "", *provenance(board, command)]) + "\n"


def text(board: Leaderboard) -> str:
    """The columns that matter most, aligned for a terminal; the label-free choice is marked with >."""
    header, rows = cells(board)
    shown = {"target (oracle)", "vs source_only", board.selector, "seconds"}
    keep = [i for i, name in enumerate(header) if i < 3 or name in shown]
    lines = aligned(([header[i] for i in keep], [[row[i] for i in keep] for row in rows]))
    return "\n".join(f"{'>' if ' (chosen)' in line else ' '} {line}" for line in lines)


def cells(board: Leaderboard) -> Table:
    """Header and rows of the table as text, for all three."""
    table, chosen, oracle = board.table, board.best(load=False).recipe, board.oracle() if board.has_oracle else None
    bases = [base for base in BASELINES if f"vs_{base}" in table]
    header = ["recipe", "runs", "source", *(["target (oracle)"] if oracle else []), *(f"vs {base}" for base in bases)]
    rows = []
    for name, row in table.iterrows():
        line = [name + " (chosen)" * (name == chosen) + " (oracle)" * (name == oracle), str(int(row["runs"]))]
        line += [number(row[f"source_{board.metric}"])] + ([ranged(row, f"target_{board.metric}")] if oracle else [])
        line += [ranged(row, f"vs_{base}", "+") + "*" * bool(row[f"vs_{base}_separated"]) for base in bases]
        line += [*(number(row[validator]) for validator in board.validators), number(row["seconds"], 1)]
        ends = [number(row[f"adversary_{end}"], 2) for end in ("max", "last")]
        rows.append([*line, " / ".join(ends) if ends[0] else ""])
    return [*header, *board.validators, "seconds", "adversary max / last"], rows


def _shift_cells(board: Leaderboard) -> Table:
    """Class shares of the target, estimated and true, as text."""
    shift, truth = board.shift or {}, board.true_shares
    header = ["class", "share of the held-out source", "estimated share of the target"]
    rows = [[name, share(shift, k, "source"), share(shift, k)] for k, name in enumerate(board.classes)]
    if truth:
        header.append("share of the target's test labels (oracle)")
        rows = [[*row, f"{value:.2f}"] for row, value in zip(rows, truth, strict=True)]
    return header, rows


def _site_cells(board: Leaderboard) -> Table:
    rows = [[name, number(held), number(seen)] for name, held, seen in findings.sites(board)]
    return ["site", "held out", "trained on"], rows


def _calibration_cells(board: Leaderboard) -> Table:
    header = ["recipe", "temperature", "source ECE", "scaled", "confidence on source", "confidence on target"]
    rows = []
    for name, row in board.table.iterrows():
        keys = ["temperature", "ece_source_scaled", "confidence_source", "confidence_target", "ece_target_scaled"]
        temperature, scaled, *others, target = (number(board.mean_shift(name, key)) for key in keys)
        oracle = [number(row["target_ece"]), target] if board.has_oracle else []
        rows.append([name, temperature, number(row["source_ece"]), scaled, *others, *oracle])
    return header + (["target ECE (oracle)", "scaled"] if board.has_oracle else []), rows


def _quality_cells(board: Leaderboard) -> Table | None:
    with contextlib.suppress(DataError):  # without labels of the target, or with too few recipes that have a value
        quality = board.validator_quality().reset_index()
        rows = quality.itertuples(index=False)
        return list(quality.columns), [[number(x) if isinstance(x, float) else str(x) for x in row] for row in rows]
    return None


def _searched_cells(board: Leaderboard) -> Table:
    """The strengths tried with the first seed, what the selector valued each at, and, with target labels, what its choice cost."""
    grid = sorted({run["strength"] for tried in board.searched.values() for run in tried})
    header, rows = ["recipe", *(f"{board.selector} at {strength:g}" for strength in grid), "chosen"], []
    for name, tried in board.searched.items():
        values = {run["strength"]: run["validators"].get(board.selector) for run in tried}
        strength = next((run["strength"] for run in board.finished(name)), None)
        row = [name, *(number(values.get(at)) for at in grid), f"{strength:g}" if strength else ""]
        if board.has_oracle:
            target = {run["strength"]: run["target"][board.metric] for run in tried}
            best = max(target, key=target.__getitem__)
            row += [f"{best:g}", number(target[best] - target.get(strength, math.nan))]
        rows.append(row)
    return header + (["oracle's", "target lost to it"] if board.has_oracle else []), rows


def provenance(board: Leaderboard, command: str | None) -> list[str]:
    """The command (this process's if None), dates and machines that made the runs, a line each."""
    dates, machines = (sorted({run[key] for run in board.runs}) for key in ("date", "machine"))
    command = command or " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    when = " to ".join(dict.fromkeys([dates[0], dates[-1]]))
    when += f"; written {datetime.date.today().isoformat()}"
    return [f"Command: {command}", f"Date: {when}", f"Machine: {'; '.join(machines)}"]


def number(value: float | None, digits: int = 3) -> str:
    """A number as text; nothing where there is none."""
    return "" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def ranged(row: Any, name: str, sign: str = "") -> str:
    """A value of a table's row with its interval as text; nothing where there is none."""
    mean, low, high = (row[name + end] for end in ("", "_low", "_high"))
    return "" if math.isnan(mean) else format_interval(mean, low, high, sign)
