"""Few labels on real images: every way to use ImageNet, a small net from scratch and a hand-made baseline.

python bench/real.py pneumonia_28.npz bccd_64.npz --any-way-up bccd_64.npz
python bench/real.py pneumonia_28.npz --draws 2 --budgets 5 --rows depth_probe linear_probe

Files are in the MedMNIST layout. Each draw takes so many labels a class from the training part and is scored on the test part,
once; nothing is chosen there. A finished draw is kept in `bench/runs/real` and never repeated. Writes these sets' sections of
`tables/real.md` and leaves those of other sets.
"""

import argparse
import datetime
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from peers.probes import logistic
from sklearn.metrics import balanced_accuracy_score

import xferlab as xl
from xferlab.evaluation import format_interval, t_interval
from xferlab.machine import describe
from xferlab.storage import described, fingerprint, write_atomically

HERE = Path(__file__).parent
ROWS = (
    "linear_probe",
    "depth_probe",
    "depth_lp_ft",
    "lp_ft",
    "source_only",
    "small_net",
    "last layer and scikit-learn",
)
TOP = """# Few labels on real images

Balanced accuracy on each set's own test part; a section says which command made it, and when.
The depth recipes' blocks, strengths and views were fixed on splits inside training parts and on validation parts; rows stand in the order
of the command, not of their scores. "last layer and scikit-learn" is the usual way by hand: the encoder's output and LogisticRegressionCV."""
SETTINGS = dict(batch_size=16, lr=1e-3, progress_bar=False)


def draw(row: str, splits: xl.Splits, budget: int, seed: int, size: int, steps: int) -> dict:
    """Balanced accuracy on the test part and seconds of one draw."""
    warnings.simplefilter("ignore", FutureWarning)  # of scikit-learn, about its next version
    few, began = splits.train.take(budget, seed=seed), time.perf_counter()
    encoder = xl.encoder("efficientnet_lite0", size=size)
    if row not in xl.recipes:
        x, queries = (xl.embed(encoder, part, cache=False).numpy() for part in (few, splits.test))
        scale = x.std(0) + 1e-6
        answers = logistic(x / scale, few.labels.numpy(), queries / scale)
        score = float(balanced_accuracy_score(splits.test.labels.numpy(), answers))
    else:
        model = xl.Classifier(encoder, splits.classes, seed=seed)
        xl.recipes[row].fit(model, few, steps=steps, seed=seed, **SETTINGS)
        score = xl.evaluate(model, splits.test).balanced_accuracy
    return {"balanced_accuracy": score, "seconds": time.perf_counter() - began}


def table(name: str, splits: xl.Splits, found: dict, budgets: list[int], options: argparse.Namespace) -> str:
    """One set's section: a row a method, a column a number of labels."""
    turns = "any way up" if splits.train.augmentation == "any_way_up" else "upright"
    command = " ".join(["python bench/real.py", *(Path(word).name for word in sys.argv[1:])])
    lines = [
        f"## {name}",
        f"`{command}`, {datetime.date.today()}, {describe()}.",
        f"{len(splits.train):,} images to draw from, {len(splits.test):,} to test, {len(splits.classes)} classes, {turns}; "
        f"EfficientNet-Lite0 at {options.size} px, {options.steps} steps of 16; mean of {options.draws} draws, 95 % t-interval; "
        "median seconds of a draw with the number of labels that takes longest.",
        "",
        f"| recipe | {' | '.join(f'{n} labels a class' for n in budgets)} | seconds |",
        f"|---|{'---|' * (len(budgets) + 1)}",
    ]
    for row in options.rows:
        cells, seconds = [], []
        for budget in budgets:
            runs = [found[row, budget, seed] for seed in range(options.draws)]
            scores = [run["balanced_accuracy"] for run in runs]
            cells.append(format_interval(*t_interval(scores)) if len(scores) > 1 else f"{scores[0]:.3f}")
            seconds.append(np.median([run["seconds"] for run in runs]))
        lines.append(f"| {row} | {' | '.join(cells)} | {max(seconds):.1f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--any-way-up", nargs="*", default=[], help="which of the files hold pictures without a top")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--budgets", type=int, nargs="+", default=[5, 20, 100])
    parser.add_argument("--rows", nargs="+", default=list(ROWS))
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--steps", type=int, default=180)
    options = parser.parse_args()
    page = HERE / "tables" / "real.md"
    kept_parts = page.read_text("utf-8").rstrip("\n").split("\n\n## ")[1:] if page.is_file() else []
    sections = {part.split("\n")[0]: f"## {part}" for part in kept_parts}
    for path in options.files:
        turns = path.name in [Path(name).name for name in options.any_way_up]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            splits = xl.load(path, augmentation="any_way_up" if turns else "upright")
        data, found = fingerprint([(part.inputs, part.labels) for part in splits.parts().values()]), {}
        for seed in range(options.draws):
            for budget in options.budgets:
                for row in options.rows:
                    setting = (row, budget, seed, options.size, options.steps, turns)
                    kept = HERE / "runs" / "real" / f"{fingerprint(data, xl.__version__, described(setting))}.json"
                    if not kept.exists():
                        run = draw(row, splits, budget, seed, options.size, options.steps)
                        with write_atomically(kept) as temporary:
                            temporary.write_text(json.dumps(run), "utf-8")
                    found[row, budget, seed] = json.loads(kept.read_text("utf-8"))
                print(
                    path.stem,
                    seed,
                    budget,
                    {r: round(found[r, budget, seed]["balanced_accuracy"], 3) for r in options.rows},
                    flush=True,
                )
        sections[path.stem] = table(path.stem, splits, found, options.budgets, options)
    with write_atomically(page) as temporary:
        temporary.write_text("\n\n".join([TOP, *sections.values()]) + "\n", "utf-8")


if __name__ == "__main__":
    main()
