"""Several sources, and a target with half the classes: is the choice without labels safe there?

    python bench/sites.py       # a quarter of an hour on one core; stopped, it goes on (--minutes 5 stops by itself)

Of three places one is the target: the recipes train on either of the two others and on both, with as many labels a class from each place
(of the laboratories site-b and site-c; site-a too in the second table, which trains next to nothing). And targets that hold the first or
the last half of the classes, which nobody tells `compare`. `information_maximization` chooses; target labels make the scores and nothing
else. Finished runs are kept in `bench/runs/sites`. Writes `tables/sites.md`.
"""

from __future__ import annotations

import argparse
import datetime
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import nnls
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

import xferlab as xl
from xferlab import operating
from xferlab.augment import corruptions
from xferlab.comparison.records import mean, missing_classes, passed_over
from xferlab.comparison.shift import target_shares
from xferlab.domains.domain import cut, joined
from xferlab.evaluation import format_interval, t_interval
from xferlab.machine import describe
from xferlab.probes import make_deep
from xferlab.storage import write_atomically

HERE = Path(__file__).parent
SEEDS, PER_CLASS = 3, 40
UNTIL = math.inf  # no run begins after that
POOLED = ("source_only", "depth_probe", "depth_target_norm", "group_dro", "colour")
HALVED = ("source_only", "adabn", "coral", "mcc", "afn")
DIGITS = dict(encoder="lenet", steps=100, lr=3e-3, batch_size=64)
CELLS = dict(encoder="efficientnet_lite0", steps=30, lr=1e-3, batch_size=16)


def compare(recipes, source, target, **settings) -> xl.Leaderboard | None:
    """All runs, or None where there was no time for all."""
    try:
        board = xl.compare(
            list(recipes),
            source,
            target,
            seeds=SEEDS,
            validators=["source_val", "information_maximization"],
            selector="information_maximization",
            metric="balanced_accuracy",
            augment=None,
            store=HERE / "runs" / "sites",
            progress_bar=False,
            minutes=max((UNTIL - time.time()) / 60, 0),
            **settings,
        )
    except xl.errors.ArgumentError as error:  # not one run
        print(error)
        return None
    return board if len(board.runs) == SEEDS * len(recipes) else None


def source_of(splits: xl.Splits) -> xl.Splits:
    """All to train on, fewer to judge by: what is judged here is the target."""
    return replace(splits, val=splits.val.take(n=100), test=splits.test.take(n=200))


def target_of(splits: xl.Splits) -> xl.Splits:
    return replace(splits, train=splits.train.take(n=300))


def places() -> dict[str, tuple[dict[str, xl.Splits], dict]]:
    """Three laboratories; and thirds of MNIST, each under a corruption of its own."""
    parts: list[list[xl.Domain]] = [[], [], []]
    for part in xl.load("digits/mnist").parts().values():
        for third, rows in zip(parts, cut(part, (1 / 3, 1 / 3, 1 / 3)), strict=True):
            third.append(part[rows])
    digits = {}
    for third, name in zip(parts, ("gaussian_noise", "defocus", "less_contrast"), strict=True):
        worse = [
            replace(part, inputs=corruptions[name](part.inputs, 4, torch.Generator().manual_seed(0))) for part in third
        ]
        digits[name] = xl.Splits(*worse)
    cells = {f"cells/{site}": xl.load(f"cells/{site}") for site in ("site-a", "site-c", "site-b")}
    return {"corruptions of MNIST": (digits, DIGITS), "laboratories, rendered": (cells, CELLS)}


def several() -> list[str]:
    """Rows: for each third place, what each recipe reaches there from one source, from the other, and from both."""
    lines = [
        "| data | third place | recipe | from the first | from the second | from both | both less the better one |",
        "|---|---|---|---|---|---|---|",
    ]
    misses, kept, late, called = [], [], [], []
    for data, (three, settings) in places().items():
        for third, target in three.items():
            if third == "cells/site-a":
                continue
            first, second = (name for name in three if name != third)
            alone = [
                compare(POOLED, source_of(three[name]), target_of(target), per_class=PER_CLASS, **settings)
                for name in (first, second)
            ]
            both = compare(
                POOLED,
                {n: source_of(three[n]) for n in (first, second)},
                target_of(target),
                per_class=2 * PER_CLASS,
                **settings,
            )
            if None in (*alone, both):
                late.append(third)
                continue
            called += [len(missing_classes(board.finished())) for board in (*alone, both)]
            chosen = [board.best(load=False).recipe for board in (*alone, both)]
            for recipe in (*POOLED, None):
                names = chosen if recipe is None else [recipe] * 3
                scores = [board.target_scores(name) for board, name in zip((*alone, both), names, strict=True)]
                better = max(scores[:2], key=lambda values: mean(values.values()))
                over = t_interval([scores[2][seed] - better[seed] for seed in better])
                cells = [format_interval(*t_interval(list(values.values()))) for values in scores]
                shown = recipe or f"**chosen**: {', '.join(chosen)}"
                lines.append(
                    f"| {data} | {third}, from {first} and {second} | {shown} | {' | '.join(cells)} | {format_interval(*over, '+')} |"
                )
                kept.append(over[0])
                if over[0] < 0:
                    misses.append(f"{third}, {recipe or 'the chosen one'} ({over[0]:+.3f})")
            print(lines[-1], flush=True)
    lines += [
        "",
        f"Both sources are below the better one in {len(misses)} of {len(kept)} rows: {'; '.join(misses) or 'none'}. Which one is the "
        "better is known only afterwards; the mean difference is "
        f"{np.mean(kept):+.3f}. These targets hold all classes; {sum(map(bool, called))} of {len(called)} comparisons call some missing."
        + f" No time yet for {', '.join(late)}."
        * bool(late),
    ]
    return lines


def reasons(draws: int = 5) -> list[str]:
    """Where pooling loses: is it fewer labels of each place, or how features are standardized? Depth probes of the laboratories."""
    three, _ = places()["laboratories, rendered"]
    model = xl.Classifier(xl.encoder("efficientnet_lite0"), next(iter(three.values())).classes)
    make_deep(model)  # not standardized yet
    read = {
        name: tuple((xl.embed(model, part).numpy(), part.labels.numpy()) for part in (splits.train, splits.test))
        for name, splits in three.items()
    }
    lines = [
        "| third place | from the first | from the second | both, as many labels in all | both, as many of each | and each place standardized by itself |",
        "|---|---|---|---|---|---|",
    ]
    for third in three:
        names = [name for name in three if name != third]
        tables: list[list[float]] = []
        for draw in range(draws):
            rows = {
                name: three[name].train.labels.numpy().argsort(kind="stable").reshape(len(three[name].classes), -1)
                for name in names
            }
            order = np.random.default_rng(draw).permutation(rows[names[0]].shape[1])[:PER_CLASS]
            few = {name: rows[name][:, order].T.ravel() for name in names}  # halves hold half of each class
            sides = [[(name, few[name])] for name in names]
            sides += [[(name, few[name][: len(few[name]) // 2]) for name in names]]
            sides += [[(name, few[name]) for name in names]]
            found = [_score(read, side, third, False) for side in sides]
            tables.append([*found, _score(read, sides[-1], third, True)])
        lines.append(
            f"| {third}, from {names[0]} and {names[1]} | {' | '.join(format_interval(*t_interval(list(column))) for column in zip(*tables, strict=True))} |"
        )
        print(lines[-1], flush=True)
    return lines


def _score(read, side, third: str, apart: bool) -> float:
    x, y = (np.concatenate([read[name][0][k][rows] for name, rows in side]) for k in (0, 1))
    mean, spread = x.mean(0), x.std(0).clip(1e-3)
    z = (x - mean) / spread
    if apart:
        parts = [read[name][0][0][rows] for name, rows in side]
        z = np.concatenate([(part - part.mean(0)) / part.std(0).clip(1e-3) for part in parts])
    head = LogisticRegression(C=0.05, max_iter=300).fit(z, y)
    features, truth = read[third][1]
    return float(balanced_accuracy_score(truth, head.predict((features - mean) / spread)))


def halved() -> list[str]:
    """Rows: on a target with half the classes, the chosen recipe beside source only, and what the report said."""
    digits = {name: xl.load(f"digits/{name}") for name in ("mnist", "optdigits")}
    cells = {site: xl.load(f"cells/{site}") for site in ("site-a", "site-b", "site-c")}
    pairs = [
        (digits["optdigits"], digits["mnist"], DIGITS, None),
        (digits["mnist"], digits["optdigits"], DIGITS, None),
        (cells["site-a"], cells["site-c"], CELLS, PER_CLASS),
        (cells["site-b"], cells["site-a"], CELLS, PER_CLASS),
    ]
    lines = [
        "| source | target | its classes | source only | chosen | it reaches | less source only | absent classes called missing | present ones called missing | passed over | the best aligning recipe |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    misses, late = [], []
    for source, target, settings, per_class in pairs:
        k = len(source.classes)
        cases = {"first half": range(k // 2), "last half": range(k // 2, k)}
        for words, present in cases.items() if settings is DIGITS else [("first half", cases["first half"])]:
            wanted = torch.tensor(list(present))
            there = [part[torch.isin(part.align(source.classes).labels, wanted)] for part in target.parts().values()]
            board = compare(HALVED, source_of(source), target_of(xl.Splits(*there)), per_class=per_class, **settings)
            if board is None:
                late.append(f"{source.name} to {target.name}, {words}")
                continue
            choice, missing = board.best(load=False).recipe, set(missing_classes(board.finished()))
            ours, alone = (board.target_scores(name) for name in (choice, "source_only"))
            over = t_interval([ours[seed] - alone[seed] for seed in alone])
            aligning = max((run["recipe"] for run in board.finished() if run["aligns"]), key=board.target_mean)
            row = [source.name, target.name, words, f"{mean(alone.values()):.3f}", choice, f"{mean(ours.values()):.3f}"]
            row += [format_interval(*over, "+"), f"{len(missing - set(present))} of {k - len(present)}"]
            row += [str(len(missing & set(present))), ", ".join(passed_over(board.finished())) or "nobody"]
            row += [f"{aligning} {board.target_mean(aligning):.3f}"]
            lines.append(f"| {' | '.join(row)} |")
            print(lines[-1], flush=True)
            if over[2] < 0:
                misses.append(f"{source.name} to {target.name}, {words}")
    lines += ["", f"Below source only by more than the interval: {'; '.join(misses) or 'nowhere'}."]
    lines += [f"No time yet for {'; '.join(late)}."] if late else []
    return lines


def estimators() -> list[str]:
    """Rows: on half of the digits, each estimator's share for classes that are absent, and how many it calls missing."""
    digits = [xl.load(f"digits/{name}") for name in ("optdigits", "mnist")]
    training = {key: value for key, value in DIGITS.items() if key != "encoder"} | dict(
        augment=None, progress_bar=False
    )
    rows: dict[tuple[str, ...], list] = {}
    for source, target in (digits, digits[::-1]):
        held, k = joined([source.val, source.test]), len(source.classes)
        y = held.labels.numpy()
        prior = np.bincount(y, minlength=k) / len(y)
        for seed in range(2):
            model = xl.Classifier(xl.encoder("lenet", seed=seed), source.classes, seed=seed)
            xl.recipes["source_only"].fit(model, source.train, seed=seed, **training)
            raw = xl.predict(model, held)
            t = operating.temperature(raw, y)
            p, labels = operating.scaled(raw, t), target.train.align(source.classes).labels
            for words, absent in {"first half": range(k // 2, k), "last half": range(k // 2)}.items():
                there = target.train[~torch.isin(labels, torch.tensor(list(absent)))]
                q = operating.scaled(xl.predict(model, there), t)
                found = {
                    "answers counted": np.bincount(q.argmax(1), minlength=k) / len(q),
                    "black box, hard answers": target_shares(p.argmax(1), y, q.argmax(1), k).estimate,
                    "black box, calibrated": _soft(p, y, q),
                    "maximum likelihood, calibrated": _likeliest(q, prior),
                }
                for name, shares in found.items():
                    low, gone = shares < prior / 4, np.isin(np.arange(k), absent)
                    row = rows.setdefault((source.name, target.name, words, name), [])
                    row.append((shares[gone].sum(), (low & gone).sum(), (low & ~gone).sum()))
    lines = [
        "| source | target | its classes | estimator | share given to absent classes | absent called missing, of 5 | present called missing, of 5 |"
    ]
    lines += ["|---|---|---|---|---|---|---|"]
    for names, values in rows.items():
        lines.append(f"| {' | '.join(names)} | {' | '.join(f'{value:.2f}' for value in np.mean(values, 0))} |")
    return lines


def _soft(p: np.ndarray, y: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Lipton et al. (2018, arXiv:1802.03916) on mean probabilities in place of answers."""
    found = nnls(np.stack([p[y == k].mean(0) for k in range(p.shape[1])], 1), q.mean(0))[0]
    return found / found.sum()


def _likeliest(q: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """The shares under which the answers are likeliest, by expectation maximization (Saerens et al., 2002; Alexandari et al., 2020,
    arXiv:1901.06852)."""
    shares = prior
    for _ in range(300):
        weighted = q * shares / prior
        shares = (weighted / weighted.sum(1, keepdims=True)).mean(0)
    return shares


def main() -> None:
    global UNTIL
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="start no run after that long; the same command goes on later"
    )
    UNTIL = time.time() + 60 * parser.parse_args().minutes
    half = halved()
    text = ["# Several sources, and half of the classes", "", *__doc__.split("\n\n")[2].splitlines(), ""]
    text += [
        f"`python bench/sites.py`, {datetime.date.today()}, {describe()}. Balanced accuracy on the target's test part; 95 % t-"
    ]
    text += [
        f"intervals over {SEEDS} seeds, which draw the labels too; differences paired by seed. Not for clinical use.",
        "",
    ]
    text += ["## Two sources and a third place", "", *several(), ""]
    text += ["## Where both lose, why?", "", *reasons(), ""]
    text += ["## A target with half of the classes", "", *half, ""]
    text += ["## Would another estimator see which classes are missing?", ""]
    text += [
        "A class is called missing here where its estimated share is under a quarter of that in the source. Means over two seeds.",
        "",
        *estimators(),
    ]
    with write_atomically(HERE / "tables" / "sites.md") as temporary:
        temporary.write_text("\n".join(text) + "\n", "utf-8")


if __name__ == "__main__":
    main()
