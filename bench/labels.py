"""What do labels of the target buy, and do proposed ones buy more than ones drawn at random?

    python bench/labels.py                                        # a quarter of an hour on one core
    XFERLAB_TEST_DATA=/folder/with/npz python bench/labels.py     # real sets too: of these only numbers are kept

For each pair and each of ten draws, a random four fifths of the target's training part is the pool; 20, 40 or 80 of it are labeled, in
each way of `xferlab.proposals`, and join the source's labels (weighted up to tenfold, to at most half, as `compare` does) in a logistic
regression on EfficientNet-Lite0's middle blocks. Balanced accuracy on the target's test part, paired within draws. A finished pair is kept
in `bench/runs/labels`. Writes `tables/labels.md`, and what `compare --propose` reads: `xferlab/comparison/labels.json`.

The rule, fixed before the full run and after a trial of one draw a pair, whose gains had been seen: a cell is a pair and a number of labels. The default is the way that is separated above random in the most
cells, less those where it is separated below; where that is no more than zero, random is.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.preprocessing import StandardScaler

import xferlab as xl
from xferlab.augment import corruptions
from xferlab.evaluation import format_interval, gain, t_interval
from xferlab.machine import describe
from xferlab.probes import make_deep
from xferlab.proposals import KINDS, propose
from xferlab.storage import fingerprint, write_atomically

HERE = Path(__file__).parent
RESULTS = Path(xl.__file__).parent / "comparison" / "labels.json"
PAIRS = [("digits/mnist", "digits/optdigits"), ("digits/optdigits", "digits/mnist")]
PAIRS += [("cells/site-a", "cells/site-b"), ("cells/site-a", "cells/site-c"), ("cells/site-b", "cells/site-c")]
REAL = ("bccd_64.npz", "pneumonia_28.npz")
BUDGETS, DRAWS, ROWS, STRENGTH = (20, 40, 80), 10, 1000, 0.05


def load(source: str, target: str) -> tuple[xl.Splits, xl.Splits]:
    """Both sides; of a `.npz` the target is its validation part to label and its test part to score on, darker and out of focus."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        splits = xl.load(source)
        if source != target:
            return splits, xl.load(target)
    return splits, xl.Splits(train=_changed(splits.val), val=_changed(splits.train[:100]), test=_changed(splits.test))


def _changed(domain: xl.Domain) -> xl.Domain:
    inputs = domain.inputs
    for name in ("darker", "defocus"):
        inputs = corruptions[name](inputs, 3, torch.Generator().manual_seed(0))
    return replace(domain, inputs=inputs)


def measure(
    source: xl.Splits, target: xl.Splits, draws: int = DRAWS, encoder: str = "efficientnet_lite0"
) -> list[dict]:
    """A row a draw, a way and a number of labels: balanced accuracy on the target's test part. Way "none" has no labels."""
    model = xl.Classifier(xl.encoder(encoder), source.classes)
    make_deep(model)
    train, pool, test = source.train.take(n=ROWS), target.train.align(source.classes), target.test.align(source.classes)
    x, z, queries = (xl.embed(model, domain) for domain in (train, pool, test))
    y, labels, truth = (domain.labels.numpy() for domain in (train, pool, test))

    def probabilities(rows: list[int], at: torch.Tensor) -> np.ndarray:
        both = np.concatenate([x.numpy(), z[rows].numpy()])
        scaler, repeated = StandardScaler().fit(both), max(1, min(10, len(x) // max(1, len(rows))))
        weights = np.repeat([1.0, repeated], [len(x), len(rows)])
        head = LogisticRegression(C=STRENGTH, max_iter=300)
        head.fit(scaler.transform(both), np.concatenate([y, labels[rows]]), sample_weight=weights)
        p = np.zeros((len(at), len(source.classes)))
        p[:, head.classes_] = head.predict_proba(scaler.transform(at.numpy()))
        return p

    def score(rows):
        return float(balanced_accuracy_score(truth, probabilities(rows, queries).argmax(1)))

    p = probabilities([], z)
    uncertainty = torch.from_numpy(-(p * np.log(p.clip(1e-12))).sum(1))
    found = [{"draw": None, "way": "none", "labels": 0, "score": score([])}]
    for draw in range(draws):
        rows = torch.randperm(len(pool), generator=torch.Generator().manual_seed(draw))[: len(pool) * 4 // 5]
        for n in BUDGETS:
            for way in KINDS:
                chosen = propose(z[rows], n, kind=way, uncertainty=uncertainty[rows], seed=draw)
                picked = rows[[proposal.row for proposal in chosen]].tolist()
                found.append({"draw": draw, "way": way, "labels": n, "score": score(picked)})
    return found


def summary(found: list[dict]) -> dict:
    """Accuracy without labels; and, a way and a number of labels, what was reached, bought, and won over random: mean, low, high."""
    scores = {(row["way"], row["labels"], row["draw"]): row["score"] for row in found}
    draws, base = sorted({row["draw"] for row in found if row["draw"] is not None}), scores["none", 0, None]
    result: dict = {"without": base}
    for way in KINDS:
        for n in BUDGETS:
            ours, random = ([scores[kind, n, draw] for draw in draws] for kind in (way, "random"))
            result.setdefault(way, {})[str(n)] = {
                "score": t_interval(ours),
                "bought": t_interval([value - base for value in ours]),
                "over_random": gain([a - b for a, b in zip(ours, random, strict=True)]) if way != "random" else None,
            }
    return result


def default(pairs: list[dict]) -> tuple[str, dict[str, int]]:
    """The way that the rule above makes the default, and each way's cells won less those lost."""
    won = dict.fromkeys(KINDS, 0)
    for pair in pairs:
        for way in KINDS:
            for cell in pair[way].values():
                if (over := cell["over_random"]) and over["verdict"] == "separated":
                    won[way] += 1 if over["gain"] > 0 else -1
    best = max((way for way in KINDS if way != "random"), key=lambda way: won[way])
    return (best if won[best] > 0 else "random"), won


def page(pairs: list[dict]) -> str:
    """The table in Markdown."""
    chosen, won = default(pairs)
    cells = sum(len(pair["random"]) for pair in pairs)
    lines = [
        "# What labels buy\n",
        __doc__.split("\n\n")[2].replace("\n", " ") + "\n",
        f"`python bench/labels.py`, {datetime.date.today()}, {describe()}. Not for clinical use.\n",
        f"| pair | labels chosen | 0 | {' | '.join(map(str, BUDGETS))} | over random: {' | '.join(map(str, BUDGETS))} |",
        f"|---|---|{'---|' * (2 * len(BUDGETS) + 1)}",
    ]
    for pair in pairs:
        for way in KINDS:
            row = [
                pair["name"],
                way,
                f"{pair['without']:.3f}",
                *(format_interval(*c["score"]) for c in pair[way].values()),
            ]
            for cell in pair[way].values():
                over = cell["over_random"]
                star = "*" if over and over["verdict"] == "separated" else ""
                row.append(format_interval(over["gain"], over["low"], over["high"], "+") + star if over else "")
            lines.append(f"| {' | '.join(row)} |")
    verdicts = "; ".join(f"{way} {count:+d}" for way, count in won.items() if way != "random")
    lines += [
        "",
        f"Brackets are 95 % t-intervals over {DRAWS} draws, differences paired within draws; * leaves out zero.",
    ]
    lines += [
        f"Cells won over random less cells lost, of {cells}: {verdicts}. The default of `compare --propose` is **{chosen}**."
    ]
    lost = [
        f"{pair['name']} at {n} {way} ({over['gain']:+.3f})"
        for pair in pairs
        for way in KINDS
        for n, cell in pair[way].items()
        if (over := cell["over_random"]) and over["verdict"] == "separated" and over["gain"] < 0
    ]
    lines.append(f"Where random labels were better: {'; '.join(lost) if lost else 'nowhere separated'}.")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=DRAWS, help="fewer, to try it out: then nothing is written")
    options = parser.parse_args()
    real = [
        str(path) for name in REAL if (path := Path(os.environ.get("XFERLAB_TEST_DATA", "nowhere")) / name).is_file()
    ]
    pairs = []
    for source, target in [*PAIRS, *((path, path) for path in real)]:
        sides = load(source, target)
        data = [(part.inputs, part.labels) for side in sides for part in (side.train, side.test)]
        kept = HERE / "runs" / "labels" / f"{fingerprint(xl.__version__, data, options.draws, BUDGETS, ROWS)}.json"
        if not kept.exists():
            with write_atomically(kept) as temporary:
                temporary.write_text(json.dumps(measure(*sides, options.draws)), "utf-8")
        name = (
            f"{source} -> {target}" if source != target else f"{Path(source).stem} -> the same, darker and out of focus"
        )
        pairs.append({"name": name} | summary(json.loads(kept.read_text("utf-8"))))
        print(name, {way: [round(c["bought"][0], 3) for c in pairs[-1][way].values()] for way in KINDS}, flush=True)
    if options.draws == DRAWS:
        small = [
            {"pair": pair["name"], "without": round(pair["without"], 3)}
            | {
                way: {n: [round(value, 3) for value in cell["bought"]] for n, cell in pair[way].items()}
                for way in KINDS
            }
            for pair in pairs
        ]
        with write_atomically(RESULTS) as temporary:
            temporary.write_text(json.dumps({"default": default(pairs)[0], "pairs": small}, indent=1) + "\n", "utf-8")
        with write_atomically(HERE / "tables" / "labels.md") as temporary:
            temporary.write_text(page(pairs), "utf-8")


if __name__ == "__main__":
    main()
