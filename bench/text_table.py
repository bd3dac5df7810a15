"""The text table: MiniLM against a bag of words, from formal descriptions to clinicians' phrases.

    python bench/text_table.py --workers 2               # about 15 minutes on two idle cores
    python bench/text_table.py --workers 2 --minutes 10  # stops earlier: the same command goes on

Everything trains on `icd10/descriptions` and is scored on balanced draws of both test sets. Writes `bench/tables/text.md`; each
finished run is one file in `bench/runs/text/` and is never repeated. What lab 09 shows of it goes to `labs/results/`. The rates
of probe, full fine-tuning and LoRA were tried on the validation part of the descriptions, with batches of 32, the other
settings are customary ones, tuned on nothing; the inclusion terms' labels were used for nothing but these scores.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import xferlab as xl
from xferlab.evaluation import format_interval
from xferlab.machine import describe as machine
from xferlab.storage import fingerprint, write_atomically

HERE = Path(__file__).parent
SOURCE, TARGET = "icd10/descriptions", "icd10/inclusion-terms"
STEPS = {5: 30, 20: 60, 100: 120}  # by labels per class, as in lab 09
SETTINGS = dict(batch_size=16, full_lr=3e-4, lora_lr=5e-3, lora_rank=8, probe_lr=1e-2, probe_steps=500)
SETTINGS |= dict(mlm_steps=60, mlm_lr=1e-4, per_class_test=25)
FIT = dict(batch_size=SETTINGS["batch_size"], progress_bar=False)
IDENTITY = fingerprint(sorted(SETTINGS.items()), sorted(STEPS.items()))[:8]

# three seeds of everything; two more of what is compared with TF-IDF at few labels. "layers" is all but the word embeddings, half
# of the weights: what adapts starts from it, for beside it a lab's two gigabytes hold an adversary too
METHODS = ("TF-IDF", "probe", "full", "LoRA", "layers", "probe + MLM", "layers + MLM", "layers + DANN", "layers + MMD")
AGAINST_TFIDF = METHODS[:4]
LAYERS = xl.strategies.top(6)


def plan() -> list[list[tuple[str, int, int]]]:
    """Jobs, the first to run first: lists of runs (method, labels, seed) that share what is costly to make."""
    jobs = []
    for seed in range(5):
        counts = (5, 20, 100) if seed < 3 else (5, 20)
        jobs.append([(method, count, seed) for method in ("TF-IDF", "probe") for count in counts])
        jobs += [[(method, count, seed)] for method in ("full", "LoRA", "layers") for count in counts]
        if seed < 3:
            jobs.append([(method, count, seed) for method in ("probe + MLM", "layers + MLM") for count in counts])
            jobs += [[(method, count, seed)] for method in ("layers + DANN", "layers + MMD") for count in counts]
    return jobs


@functools.cache
def data() -> tuple[xl.Splits, xl.Splits, list[xl.Domain]]:
    source, target = xl.load(SOURCE), xl.load(TARGET)
    return source, target, [s.test.take(per_class=SETTINGS["per_class_test"], seed=0) for s in (source, target)]


@functools.lru_cache(maxsize=1)
def encoder(mlm_seed: int | None):
    """MiniLM, with a stage of masked language modelling on the target's unlabelled phrases where a seed is given."""
    source, target, _ = data()
    model = xl.Classifier(xl.encoder("minilm"), source.classes)
    if mlm_seed is not None:
        objectives = [xl.MaskedLanguageModeling()]
        settings = dict(steps=SETTINGS["mlm_steps"], lr=SETTINGS["mlm_lr"], strategy=LAYERS, seed=mlm_seed)
        xl.fit(model, None, target.train.unlabeled(), objectives=objectives, **settings, **FIT)
    return model.encoder


def train(method: str, count: int, seed: int) -> list[xl.Scores]:
    """Scores on the two test sets."""
    source, target, tests = data()
    labelled = source.train.take(per_class=count, seed=seed)
    if method == "TF-IDF":
        return [xl.text.tfidf(labelled, test) for test in tests]
    start = copy.deepcopy(encoder(seed if "MLM" in method else None))
    model = xl.Classifier(start, source.classes, seed=seed)
    settings = dict(steps=STEPS[count], lr=SETTINGS["full_lr"], seed=seed) | FIT
    if method.startswith("probe"):
        settings |= dict(steps=SETTINGS["probe_steps"], lr=SETTINGS["probe_lr"], strategy=xl.strategies.head_only())
    elif method == "LoRA":
        settings |= dict(lr=SETTINGS["lora_lr"], strategy=xl.strategies.lora(SETTINGS["lora_rank"]))
    elif method.startswith("layers"):
        settings |= dict(strategy=LAYERS)
    adapts = {"layers + DANN": xl.DANN, "layers + MMD": xl.MMD}.get(method)
    extra = dict(target=target.train.unlabeled(), objectives=[xl.CrossEntropy(), adapts()]) if adapts else {}
    xl.fit(model, labelled, **extra, **settings)
    return [xl.evaluate(model, test) for test in tests]


def file(method: str, count: int, seed: int) -> Path:
    return HERE / "runs" / "text" / f"{method.replace(' ', '')}-{count}-{seed}-{IDENTITY}.json"


def work(job: list[tuple[str, int, int]], until: float) -> None:
    """Runs what of a job is not there yet, and starts nothing after `until`."""
    for run in job:
        if file(*run).exists() or time.time() > until:
            continue
        started = time.perf_counter()
        scores = train(*run)
        row = dict(zip(("method", "labels", "seed"), run, strict=True))
        row |= {"descriptions": scores[0].balanced_accuracy, "terms": scores[1].balanced_accuracy}
        with write_atomically(file(*run)) as temporary:
            temporary.write_text(json.dumps(row | {"seconds": time.perf_counter() - started}), "utf-8")
        print(f"{run[0]}, {run[1]} labels, seed {run[2]}: {row['descriptions']:.3f} and {row['terms']:.3f}", flush=True)


def page(rows: list[dict], left: int) -> str:
    """The table in Markdown, and sentences with its numbers."""
    table, mean = [], lambda values: format_interval(*xl.evaluation.t_interval(values))
    for method in METHODS:
        cells = []
        for where in ("descriptions", "terms"):
            for count in STEPS:
                values = [row[where] for row in rows if (row["method"], row["labels"]) == (method, count)]
                cells.append(f"{mean(values)}, n {len(values)}" if values else "")
        table.append(f"| {method} | {' | '.join(cells)} |")
    heads = [f"{where}, {count}" for where in ("descriptions", "terms") for count in STEPS]
    against = paired(rows, [m for m in AGAINST_TFIDF if m != "TF-IDF"], lambda method: "TF-IDF", counts=(5, 20))
    frozen_words = paired(rows, ["layers"], lambda method: "full", counts=STEPS)
    adapted = paired(rows, METHODS[5:], lambda method: method.split(" + ")[0], counts=STEPS)
    per_class = SETTINGS["per_class_test"]
    return "\n".join(
        [
            "# Clinical text: formal descriptions to clinicians' phrases\n",
            "Regenerate with `python bench/text_table.py --workers 2`. "
            + (f"**{left} runs are still missing.** " if left else "")
            + f"Measured on {machine()}.\n",
            f"Trained on so many labelled descriptions per class (18 chapters of ICD-10-CM), scored by balanced accuracy on "
            f"{per_class} test texts per class ({18 * per_class} each) of the descriptions and of the inclusion terms; no "
            f"three-character category is in training and test. Mean over draws of labels with 95 % t-interval. "
            f"Steps of {SETTINGS['batch_size']} texts, by labels per class: {STEPS}. 'layers' moves all but the word embeddings. 'MLM' is "
            f"{SETTINGS['mlm_steps']} steps of masked language modelling on the inclusion terms' unlabelled training part beforehand, word "
            "embeddings left alone; DANN and MMD see that part "
            f"beside the labels, in steps twice as large. {SETTINGS}. Not for clinical use.\n",
            f"| method | {' | '.join(heads)} |",
            "|---" * (len(heads) + 1) + "|",
            *table,
            "\n## What the pretrained model is worth against TF-IDF\n",
            *against,
            "\n## What training the word embeddings too is worth\n",
            *frozen_words,
            "\n## What adaptation adds to the same start without it\n",
            *adapted,
            "",
        ]
    )


def paired(rows: list[dict], methods, baseline: Callable[[str], str], counts) -> list[str]:
    """A sentence for each method, number of labels and test set: its paired gain over its baseline, and the verdict."""
    lines = []
    for method in methods:
        for count in counts:
            pair = [r for r in rows if r["labels"] == count and r["method"] in (method, baseline(method))]
            if {r["method"] for r in pair} != {method, baseline(method)}:
                continue
            gains = []
            for where in ("descriptions", "terms"):
                for g in xl.evaluation.paired(pair, where, baseline(method), unit="seed"):
                    value = format_interval(g["gain"], g["low"], g["high"], "+")
                    gains.append(f"{value} on {where} (n {g['n']}, {g['verdict']})")
            lines.append(f"- {method} - {baseline(method)} at {count} labels per class: {'; '.join(gains)}.")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=1, help="processes, one thread each; 1 runs here, all threads")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no run after that long")
    options = parser.parse_args()
    until = time.time() + 60 * options.minutes
    if options.workers > 1:
        os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}  # read where the workers start
        with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            for done in as_completed([pool.submit(work, job, until) for job in plan()]):
                done.result()
    else:
        for job in plan():
            work(job, until)
    files = [file(*run) for job in plan() for run in job]
    rows = [json.loads(path.read_text("utf-8")) for path in files if path.exists()]
    text = page(rows, len(files) - len(rows))
    with write_atomically(HERE / "tables" / "text.md") as temporary:
        temporary.write_text(text, "utf-8")
    if len(rows) == len(files):
        for name, methods, counts in (("labels", METHODS[:4], STEPS), ("adapted", METHODS[4:], (20,))):
            shown = [
                {"method": row["method"], "labels": row["labels"], "draw": row["seed"]}
                | {SOURCE: row["descriptions"], TARGET: row["terms"], "seconds": row["seconds"]}
                for row in rows
                if row["method"] in methods and row["labels"] in counts
            ]
            xl.lab.Lab("09", "full").record(f"{name}_{SOURCE}", shown, "python bench/text_table.py --workers 2")
    print(text)


if __name__ == "__main__":
    main()
