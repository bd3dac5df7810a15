"""Which to trust: the rank correlation of every score and every validator with the true target accuracy.

    python bench/ranks.py              # about five minutes on two cores, once bench/tables.py has run
    python bench/ranks.py --quick      # a few candidates, to see that it runs; writes nothing

Scores rank encoders x layers, measured here; validators rank recipes, read from the committed runs of `bench/tables.py` (nothing is
trained for them). Writes `bench/tables/ranks.md`. Target labels of the test part make the truth and nothing else.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math

import numpy as np
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tables import HERE, SELECTOR, TABLES

import xferlab as xl
from xferlab import transferability as score
from xferlab.machine import describe
from xferlab.storage import write_atomically

PAIRS = {
    "digits": ("digits/mnist", "digits/optdigits", "lenet"),
    "cells": ("cells/site-a", "cells/site-b", "small_cnn"),
}
LITE0 = ("blocks.0", "blocks.2", "blocks.4", "blocks.6", "conv_head")
DRAWS, PER_CLASS, ROWS = 3, 20, 800  # draws of labels; labels a class; rows of each side that distances and heads see
TRUTHS = {"labels": f"a probe on {PER_CLASS} target labels a class", "none": "the source's probe, no target label"}


def encoders(source: xl.Splits, small: str, quick: bool) -> dict[str, xl.Encoder]:
    """The candidates: ImageNet's encoder, a small net and the same two trained on the source, and both untrained."""
    names = {"Lite0 ImageNet": ("efficientnet_lite0", True, 0), f"{small} untrained": (small, False, 0)}
    names |= {f"{small} on source": (small, False, 400), "Lite0 untrained": ("efficientnet_lite0", False, 0)}
    names |= {"Lite0 on source": ("efficientnet_lite0", True, 80)}
    found = {}
    for name, (kind, pretrained, steps) in list(names.items())[: 2 if quick else None]:
        model = xl.Classifier(xl.encoder(kind, pretrained=pretrained), source.classes)
        if steps:
            xl.recipes["source_only"].fit(
                model, source.train, steps=steps, batch_size=32, augment=None, progress_bar=False
            )
        found[name] = model.encoder
    return found


def layers(encoder: xl.Encoder, domain: xl.Domain) -> dict[str, np.ndarray]:
    """Features `(N, D)` of each layer that is a candidate, all from one pass."""
    names = LITE0 if "efficientnet" in encoder.name else [block.name for block in encoder.blocks]
    return {name: part.numpy() for name, part in xl.embed(encoder, domain, layer=names, cache=False).items()}


def probe():
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))


def measure(source: xl.Splits, target: xl.Splits, small: str, quick: bool = False) -> list[dict]:
    """A row a candidate: every score, higher is better, and the two truths, in balanced accuracy; means over draws of labels."""
    rows = []
    train, adapt, test = source.train.take(n=ROWS), target.train, target.test
    y_s, y_t, y_test, y_val = (domain.labels.numpy() for domain in (train, adapt, test, source.val))
    drawn = [_draw(y_t, seed) for seed in range(1 if quick else DRAWS)]
    for name, encoder in encoders(source, small, quick).items():
        sides = [layers(encoder, domain) for domain in (train, source.val, adapt, test)]
        for layer in sides[0]:
            x_s, x_val, x_t, x_test = (side[layer] for side in sides)
            head = probe().fit(x_s, y_s)
            row = {"candidate": f"{name}, {layer}", "none": balanced_accuracy_score(y_test, head.predict(x_test))}
            row["source accuracy"] = balanced_accuracy_score(y_val, head.predict(x_val))
            row["Fréchet distance"] = -score.frechet_distance(source=x_s, target=x_t[:ROWS])
            row["proxy A-distance"] = -score.proxy_a_distance(source=x_s, target=x_t, seed=0, limit=ROWS)
            repeated = [_with_labels(x_t[at], y_t[at], head.predict_proba(x_t[at]), x_test, y_test) for at in drawn]
            rows.append(row | {key: float(np.mean([r[key] for r in repeated])) for key in repeated[0]})
            print({k: round(v, 3) if isinstance(v, float) else v for k, v in rows[-1].items()}, flush=True)
    return rows


def _draw(labels: np.ndarray, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(np.flatnonzero(labels == k))[:PER_CLASS] for k in np.unique(labels)])


def _with_labels(x, y, probabilities, x_test, y_test) -> dict[str, float]:
    """What the few labelled target examples `x`, `y` say, and the truth: a probe on them, judged on the test part."""
    return {
        "labels": balanced_accuracy_score(y_test, probe().fit(x, y).predict(x_test)),
        "cross-validated probe": cross_val_score(probe(), x, y, cv=3, scoring="balanced_accuracy").mean(),
        "LogME": score.logme(features=x, labels=y),
        "LEEP": score.leep(source_probabilities=probabilities, target_labels=y),
        "NCE": score.nce(source_labels=probabilities.argmax(1), target_labels=y),
        "H-score": score.h_score(features=x, labels=y),
        "regularised H-score": score.regularized_h_score(features=x, labels=y),
        "TransRate": score.transrate(features=x, labels=y),
        "CKA with the labels": score.cka(a=x, b=np.eye(y.max() + 1)[y]),
    }


def correlation(values, truth, draws: int = 1000, seed: int = 0) -> tuple[float, float, float]:
    """Spearman's rank correlation and its 95 % percentile bootstrap over candidates; NaN where a column is constant."""
    values, truth, rng = np.asarray(values), np.asarray(truth), np.random.default_rng(seed)

    def rho(at):
        return spearmanr(values[at], truth[at]).statistic if np.ptp(values[at]) and np.ptp(truth[at]) else np.nan

    drawn = [rho(rng.integers(len(values), size=len(values))) for _ in range(draws)]
    found = rho(np.arange(len(values)))
    return (float(found), *map(float, np.nanpercentile(drawn, [2.5, 97.5]))) if found == found else (math.nan,) * 3


def ranked(rows: list[dict]) -> list[dict]:
    """For each score and truth: rank correlation, interval, and regret: what its first choice loses to the best candidate."""
    found = []
    for name in (key for key in rows[0] if key not in ("candidate", *TRUTHS)):
        entry = {"name": name}
        for truth in TRUTHS:
            value, true = (np.array([row[key] for row in rows]) for key in (name, truth))
            entry[truth] = (*correlation(value, true), float(true.max() - true[value.argmax()]))
        found.append(entry)
    return found


def advice(entries: dict[str, dict[str, tuple]]) -> str:
    """In words: `entries` maps a name to (rho, low, high, regret) for each place it was measured."""
    worst = {name: min(places.values(), key=lambda e: (e[0] == e[0], e[0])) for name, places in entries.items()}

    def said(names):
        return "; ".join(
            f"{n} (worst rank correlation {worst[n][0]:.2f}, worst regret {max(e[3] for e in entries[n].values()):.3f})"
            for n in sorted(names, key=lambda n: -np.nan_to_num(worst[n][0], nan=-2))
        )

    good = [n for n, places in entries.items() if all(low > 0 for _, low, _, _ in places.values())]
    bad = [n for n in entries if n not in good]
    return (
        f"**To trust**, in that the interval lies above zero everywhere: {said(good) or 'none'}.\n\n"
        f"**Not to trust alone**, in that somewhere it does not: {said(bad) or 'none'}.\n"
    )


def table(header: list[str], entries: dict[str, dict[str, tuple]]) -> str:
    def cell(e):
        return f"{e[0]:.2f} [{e[1]:.2f}, {e[2]:.2f}], {e[3]:.3f}" if e[0] == e[0] else f"constant, {e[3]:.3f}"

    lines = [
        [name, *(cell(places[key]) if key in places else "" for key in header[1:])] for name, places in entries.items()
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *lines)) + "\n"


def boards() -> dict[str, xl.Leaderboard]:
    """The committed runs of the adaptation tables, by pair."""
    found = {}
    for name, spec in TABLES.items():
        rows = json.loads((HERE / "tables" / f"{name}.json").read_text("utf-8"))
        for source, target in spec["pairs"]:
            runs = [row for row in rows if row["pair"] == [source, target]]
            names = list(dict.fromkeys(row["recipe"] for row in runs))
            metric = spec["settings"].get("metric", "accuracy")
            found[f"{source} -> {target}"] = xl.Leaderboard(runs, names, list(runs[0]["validators"]), SELECTOR, metric)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few candidates; nothing is written")
    quick = parser.parse_args().quick
    pages = ["# Which score, which validator?\n\nRegenerate with `python bench/ranks.py`.\n"]
    pages.append(
        "Each cell: Spearman's rank correlation with the true target accuracy, its 95 % interval by bootstrap over candidates, and "
        "the regret: how much accuracy its first choice loses to the best candidate. Layers of one encoder, and recipes of one "
        "family, are alike, so the intervals are narrower than fresh candidates would make them. `cells` is synthetic.\n"
    )
    measured = {}
    for name, (source, target, small) in PAIRS.items():
        rows = measure(xl.load(source), xl.load(target), small, quick)
        for entry in ranked(rows):
            for truth in TRUTHS:
                measured.setdefault(truth, {}).setdefault(entry["name"], {})[f"{name} ({len(rows)})"] = entry[truth]
    for truth, about in TRUTHS.items():
        header = ["score", *next(iter(measured[truth].values()))]
        pages += [f"## Scores: encoders and layers, truth: {about}\n", table(header, measured[truth])]
        pages.append(advice(measured[truth]))
    pages.append(
        f"Balanced accuracy on the target's test part; scores and truth are means over {DRAWS} draws of {PER_CLASS} labels a class. "
        "In brackets, how many candidates. Distances count as their negatives. LEEP and NCE read a head fitted on the source's labels "
        "at that layer. *source accuracy* and *cross-validated probe* (three folds of the same labels) are what one has without any "
        "score: a score that does not beat them is not needed.\n"
    )
    found, validators = boards(), {}
    for pair, board in found.items():
        if len({run["recipe"] for run in board.runs if "error" not in run}) < 3:
            print(f"{pair}: fewer than three recipes have finished, left out")
            continue
        quality = board.validator_quality()
        seeds = max(sum(run["recipe"] == name for run in board.runs) for name in board.names)
        for name, row in quality.iterrows():
            key = f"{pair} ({row['candidates']:.0f} recipes, {seeds} seeds)"
            validators.setdefault(name, {})[key] = tuple(row[c] for c in ("spearman", "low", "high", "regret"))
    if validators:
        pages += [
            "## Validators: recipes\n",
            table(["validator", *next(iter(validators.values()))], validators),
            advice(validators),
        ]
    pages.append(f"Date: {datetime.date.today().isoformat()}. Machine: {describe()}.\n")
    print("\n".join(pages))
    if quick:
        return
    with write_atomically(HERE / "tables" / "ranks.md") as temporary:
        temporary.write_text("\n".join(pages), "utf-8")


if __name__ == "__main__":
    main()
