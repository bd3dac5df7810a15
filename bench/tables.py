"""The adaptation tables: every recipe, every seed, one configuration for all pairs.

    python bench/tables.py digits --workers 2   # hours on two cores: stop it at any time, the same command goes on
    python bench/tables.py cells --workers 2

Writes `bench/tables/NAME.md`, a picture of each pair's adversaries (were they alive?), and the runs themselves in `NAME.json`;
finished runs are kept in `bench/runs/NAME/` and are never repeated. Each recipe runs with the first seed at every strength of its grid, the selector
chooses one, and further seeds run at that. Where this is the strength of a committed row, and the first seed has given that row's
numbers again, the further seeds' rows are taken over; `--fresh` trains these too. What is fixed here (steps, rates, the selector, and the settings in `xferlab/recipe.py`)
was committed before the target's test labels were looked at; target labels make the oracle's columns and nothing else.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import xferlab as xl
from xferlab.comparison.records import adversary_curve
from xferlab.storage import write_atomically

HERE = Path(__file__).parent
SELECTOR = "information_maximization"
COMPARED = ("strength", "source", "target", "validators")  # what a run must give again for its row to be taken over
TABLES = {
    "digits": {
        "pairs": [("digits/mnist", "digits/optdigits"), ("digits/optdigits", "digits/mnist")],
        "settings": dict(encoder="lenet", steps=400, lr=3e-3, batch_size=64, augment=None),
        "seeds": 5,
    },
    "cells": {
        "pairs": [("cells/site-a", "cells/site-b"), ("cells/site-a", "cells/site-c")],
        "load": {"per_class": (75, 25, 60)},  # images of each class to train, validate and test: half of the default
        "settings": dict(
            encoder="efficientnet_lite0", steps=40, lr=1e-3, batch_size=32, metric="balanced_accuracy", augment=None
        ),
        "seeds": 5,
    },
}


def compare(
    table: str, source: str, target: str, recipes: list | None = None, store: Path = HERE / "runs", **options
) -> xl.Leaderboard:
    """One pair of a table, as it is configured above; finished runs are read from the store."""
    domains = (xl.load(name, **TABLES[table].get("load", {})) for name in (source, target))
    settings = dict(validators=None, selector=SELECTOR, store=store / table) | TABLES[table]["settings"]
    return xl.compare(recipes, *domains, **settings, **options)


def merged(table: str, source: str, target: str, rows: list[dict], seeds: int, **options) -> xl.Leaderboard:
    """A pair's comparison with a search over strengths; committed `rows` stand for the runs that would give them again."""
    board = compare(table, source, target, seeds=1, search=True, **options)
    known = {(row["recipe"], row["seed"]): row for row in rows if row["pair"] == [source, target]}
    same, anew = [], []
    for run in board.finished():
        name = run["recipe"]
        row, again = known.get((name, run["seed"]), {}), kept(run, source, target)
        (same if all(row.get(key) == again[key] for key in COMPARED) else anew).append(name)
        if name in same:
            board.runs += [known[name, seed] for seed in range(1, seeds) if (name, seed) in known]
    short = [name for name in same if len(board.finished(name)) < seeds]
    recipes = [xl.recipes[name].at(board.finished(name)[0]["strength"]) for name in [*anew, *short]]
    if seeds > 1 and recipes:
        more = compare(table, source, target, recipes, seeds=range(1, seeds), **options)
        board.runs += [run for run in more.runs if (run["recipe"], run["seed"]) not in known or run["recipe"] in anew]
    date = max(run["date"] for run in board.runs)
    older = sorted({run["date"] for run in board.runs} - {date})
    board.setting = board.setting.replace("seeds [0]", f"seeds {list(range(seeds))}")
    if older:
        board.notes.append(
            f"Further seeds of {len(same)} recipes are of {' and '.join(older)}: on {date} the first seed gave the same numbers again, "
            f"to the last digit kept. {len(anew)} recipes ran anew: {', '.join(anew)}."
        )
    return board


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--seeds", type=int, help="how many seeds (more can be added later)")
    parser.add_argument(
        "--workers", type=int, default=1, help="processes, one thread each; 1 runs here with all threads"
    )
    parser.add_argument("--fresh", action="store_true", help="take no row over from the committed table")
    options = parser.parse_args()
    executor = None
    if options.workers > 1:
        executor = ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn"))
    seeds = options.seeds or TABLES[options.table]["seeds"]
    committed = HERE / "tables" / f"{options.table}.json"
    rows = [] if options.fresh or not committed.is_file() else json.loads(committed.read_text("utf-8"))
    runs, pages = (
        [],
        [f"# {options.table}: every recipe\n\nRegenerate with `python bench/tables.py {options.table}`.\n"],
    )
    for source, target in TABLES[options.table]["pairs"]:
        board = merged(options.table, source, target, rows, seeds, executor=executor)
        pages.append(board.to_markdown(command=f"python bench/tables.py {options.table}"))
        picture = f"{options.table}_{target.replace('/', '-')}_adversaries.png"
        draw_adversaries(board, HERE / "tables" / picture)
        pages.append(
            f"![How often each adversary is right, over training; mean over seeds. 0.5 is chance.]({picture})\n"
        )
        runs += [kept(run, source, target) for run in board.runs]
    with write_atomically(HERE / "tables" / f"{options.table}.md") as temporary:
        temporary.write_text("\n".join(pages), "utf-8")
    with write_atomically(committed) as temporary:
        temporary.write_text("[\n" + ",\n".join(map(json.dumps, runs)) + "\n]\n", "utf-8")
    print("\n".join(pages))


def draw_adversaries(board: xl.Leaderboard, path: Path) -> None:
    curves = {}
    for name in board.names:
        ones = [curve for run in board.runs if run["recipe"] == name and (curve := adversary_curve(run))]
        if ones:
            shortest = min(map(len, ones))
            mean = [sum(curve[i] for curve in ones) / len(ones) for i in range(shortest)]
            curves[name] = ([i / (shortest - 1) for i in range(shortest)], mean)
    if curves:
        figure = xl.plots.lines(curves, xlabel="share of the stage's steps", ylabel="adversary's accuracy", level=0.5)
        with write_atomically(path) as temporary:
            figure.savefig(temporary, format="png", dpi=100, bbox_inches="tight")


def kept(run: dict, source: str, target: str) -> dict:
    """What of a run the repository keeps: of its history the adversary's alone, and scores in four digits."""
    row = {"pair": [source, target]} | {key: run[key] for key in ("recipe", "seed", "strength", "date", "machine")}
    row["seconds"] = round(run.get("seconds", 0), 1)
    row |= {side: {k: round(v, 4) for k, v in run[side].items()} for side in ("source", "target") if run.get(side)}
    row["validators"] = {k: v if v is None else float(f"{v:.5g}") for k, v in run.get("validators", {}).items()}
    curve = adversary_curve(run)
    if curve:
        row["history"] = [{".adversary_accuracy": round(value, 3)} for value in curve]
    return row | ({"error": run["error"]} if "error" in run else {})


if __name__ == "__main__":
    main()
