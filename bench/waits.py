"""What a person waits for: rows of run.py for comparisons of many runs, a folder of pictures, and the command line's first word.

    python bench/run.py --rows 'compare_*,workers_*,predict_*,help_*,import_*'
    python bench/run.py --rows compare_13_recipes_vs_in_turn --without workers    # what each part of `compare` brings

The limit of each row, the best that this machine could do, stands in its docstring.
"""

from __future__ import annotations

import atexit
import contextlib
import csv
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from peers import folder, in_turn
from rows import Row, close, photographs, pictures

import xferlab as xl
from xferlab.comparison import modelfile, runs, schedule
from xferlab.comparison.prediction import predict
from xferlab.comparison.reference import calibrate
from xferlab.domains import found
from xferlab.evaluation import METRICS

THIRTEEN = """source_only source_only_joint_bn depth_probe depth_lp_ft depth_target_norm linear_probe colour adabn shot coral mmd dann
mcc""".split()
ALIKE = ["adabn", "tent", "shot", "adda"]
PARTS = {
    "workers": "two processes",
    "stages": "first stages that several recipes share",
    "race": "no third seed for what is far behind",
}
OFF: set[str] = set()  # parts that are left out, for `--without`


def places(quick: bool) -> tuple[xl.Splits, xl.Splits]:
    """Cells of one laboratory and of another, 64 pixels, 20 a class to train on."""
    if quick:
        parts = xl.Splits(*(pictures(n, 16, 3) for n in (48, 24, 24)))
        return parts, parts
    source, target = (xl.load(f"cells/{site}", per_class=(20, 5, 10)) for site in ("site-a", "site-b"))
    return source, target


def settings(quick: bool) -> dict:
    return {"encoder": "small_cnn" if quick else "efficientnet_lite0", "steps": 2 if quick else 20, "batch_size": 16}


@contextlib.contextmanager
def store() -> Iterator[Path]:
    """A folder for runs, and a cache of features beside it, which no repetition finds filled."""
    with tempfile.TemporaryDirectory(prefix="runs-") as name, patch.dict("os.environ", XFERLAB_DATA=name):
        yield Path(name) / "runs"


def compared(names: list[str], sides: tuple[xl.Splits, xl.Splits], stages: bool = True, **options) -> dict:
    """What `compare` says of each run, as `in_turn.compare` does."""
    apart = patch.object(schedule, "Counter", lambda kept: dict.fromkeys(kept, 1))  # no two first stages are alike
    with store() as folder, contextlib.nullcontext() if stages else apart:
        board = xl.compare(names, *sides, store=folder, progress_bar=False, **options)
    return {(run["recipe"], run["seed"]): numbers(run) for run in board.runs}


def numbers(run: dict) -> dict[str, float]:
    return {side: run[side]["accuracy"] for side in ("source", "target")} | run["validators"]


def agree(exactly: bool) -> Callable[[dict, dict], None]:
    """The runs of our side, of which a race makes fewer, say what theirs do: to the bit on the same number of threads, else on
    average, since training carries another rounding on to other answers."""

    def check(ours: dict, theirs: dict) -> None:
        assert ours.keys() <= theirs.keys() and {seed for _, seed in ours} == {seed for _, seed in theirs}
        a, b = (np.array([list(side[run].values()) for run in ours], dtype=float) for side in (ours, theirs))
        gap = float(np.abs(a - b)[:, :2].mean())
        assert np.array_equal(a, b, equal_nan=True) if exactly else gap < 0.03, (
            f"accuracies differ by {gap:.4f} on average"
        )

    return check


def compare_13_recipes_vs_in_turn(quick: bool) -> Row:
    """Thirteen recipes, three seeds, EfficientNet-Lite0 at 64 px, against a loop over `Recipe.fit`, `evaluate` and every validator.

    The limit: two processes of a thread each do at most twice the steps of one with two, 1.2 to 1.7 times with this network by the
    processor; four of the thirteen begin with a depth probe or with training on the source that another has done, and two give the same
    run with every seed; a third of the seeds may be left out.
    `--without workers`, `stages` or `race` says what each brings; that a run walks each domain once is in both sides.
    """
    names, seeds = (["source_only", "adabn", "shot"], 1) if quick else (THIRTEEN, 3)
    workers = 1 if quick or "workers" in OFF else 2
    sides, arguments = places(quick), settings(quick)
    options = dict(seeds=seeds, workers=workers, race="race" not in OFF, stages="stages" not in OFF) | arguments

    def theirs() -> dict:
        with store():
            return in_turn.compare(names, seeds, *sides, **arguments)

    return Row(lambda: lambda: compared(names, sides, **options), lambda: theirs, agree(workers == 1), "s", most=1)


def workers_2_vs_1(quick: bool) -> Row:
    """The same runs in two processes, their start included, and in one. The limit: twice as fast, where neither a core nor a cache
    is shared."""
    names = ["source_only", "dann"] if quick else THIRTEEN[:8]
    options = dict(seeds=1 if quick else 2) | settings(quick)
    sides = places(quick)

    def side(workers: int) -> Callable:
        return lambda: lambda: compared(names, sides, workers=workers, **options)

    return Row(side(2), side(1), agree(False), "s", most=1)


def compare_shared_stages(quick: bool) -> Row:
    """Four recipes that train on the source first, which is done once, against each recipe's own. The limit: of 1.4 parts of training
    each, 0.7 are shared, so 1.6 times as fast without scores."""
    sides, options = places(quick), dict(seeds=1) | settings(quick)

    def side(stages: bool) -> Callable:
        return lambda: lambda: compared(ALIKE, sides, stages, **options)

    return Row(side(True), side(False), agree(True), "s", most=2)


def compare_estimates(quick: bool) -> Row:
    """`compare` with all that answers a hospital's questions (class shares, estimated accuracy, what to label next, a calibrated model
    and its held-out answers, what looks strange), against the same runs of the thirteen recipes without. The limit: 1, since a run's share
    reads outputs that exist; what is asked of the chosen model, once a comparison, walks both sides: 3 s here, of however many runs."""
    sides, names = places(quick), ["source_only"] if quick else THIRTEEN
    options = dict(seeds=1 if quick else 3, keep_weights="chosen", progress_bar=False) | settings(quick)

    def scores(candidate: xl.selection.Candidate, test: xl.Domain) -> dict:
        found = {
            "source": xl.evaluate(candidate.model, candidate.source.test),
            "target": xl.evaluate(candidate.model, test),
        }
        return {side: {name: getattr(one, name) for name in (*METRICS, "n")} for side, one in found.items()}

    def with_answers() -> dict:
        with store() as folder:
            board = xl.compare(names, *sides, store=folder, propose=5, **options)
            model, adapt = board.best().model, sides[1].train.unlabeled()
            *_, given = calibrate(model, sides[0], adapt)
            assert len(given.probabilities) == len(adapt) and board.estimates and board.wanted
        return {(run["recipe"], run["seed"]): numbers(run) for run in board.runs}

    def without() -> dict:
        with store() as folder, patch.object(runs, "measured", scores):
            board = xl.compare(names, *sides, store=folder, **options)
            board.best()
        return {(run["recipe"], run["seed"]): numbers(run) for run in board.runs}

    return Row(lambda: with_answers, lambda: without, agree(True), "s", most=2)


def predict_folder_vs_torchvision(quick: bool) -> Row:
    """1,000 JPEG of 1,000 x 1,000 pixels, EfficientNet-Lite0 at 96 px: `predict`, which also says how strange each looks, against
    ImageFolder, a DataLoader and the same network. The limit: libjpeg's decoding at an eighth of the size, and one forward pass."""
    root = photographs(quick, 1000, 1000)
    out = Path(tempfile.mkdtemp(prefix="predict-"))
    atexit.register(shutil.rmtree, out, ignore_errors=True)
    known = pictures(60, 96, 2)
    model = xl.Classifier(xl.encoder("efficientnet_lite0", size=96), known.classes)
    _, reference, _ = calibrate(model, xl.Splits(known, known, known), known.unlabeled())
    about = dict(encoder="efficientnet_lite0", size=96, recipe="source_only", pixels=96, channels=3, held_out="noise")
    about |= dict(source="noise", from_target=False)
    file = modelfile.save(out / "model.safetensors", model, reference, **about)

    def ours() -> torch.Tensor:
        with patch.object(found, "SETTLED", math.inf):  # decoded anew each time
            predict(file, str(root), out / "ours.csv", say=lambda _: None)
        with open(out / "ours.csv", newline="") as table:
            return torch.tensor([[float(row[f"p_{name}"]) for name in known.classes] for row in csv.DictReader(table)])

    def theirs() -> torch.Tensor:
        return folder.predict(model, root, out / "theirs.csv", 96, *[0] * quick)

    return Row(lambda: ours, lambda: theirs, close(0.05), "s", most=3)


def first_word(code: str) -> Callable[[], str]:
    def run() -> str:
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    return run


def help_seconds(_quick: bool) -> Row:
    """`xferlab --help` in a new process; no peer. The limit: Python itself and typer, about 0.2 s."""

    def same(text: str, _: None) -> None:
        assert "compare" in text and "predict" in text, text

    code = "import sys; sys.argv = ['xferlab', '--help']; from xferlab.cli import main; main()"
    return Row(lambda: first_word(code), None, same, "s")


def import_vs_torch_timm(_quick: bool) -> Row:
    """A new process that imports the package and makes an encoder, against importing torch and timm and making the same network there.
    The limit: 1, since both are needed."""
    ours = "import xferlab as xl; net = xl.encoder('efficientnet_lite0', pretrained=False)"
    theirs = "import torch, timm; net = timm.create_model('tf_efficientnet_lite0', num_classes=0)"
    count = "; print(sum(p.numel() for p in net.parameters()))"

    def same(a: str, b: str) -> None:
        assert a == b, f"networks of {a} and {b} parameters"

    return Row(lambda: first_word(ours + count), lambda: first_word(theirs + count), same, "s", most=3)


ROWS = (
    compare_13_recipes_vs_in_turn,
    workers_2_vs_1,
    compare_shared_stages,
    compare_estimates,
    predict_folder_vs_torchvision,
    help_seconds,
    import_vs_torch_timm,
)
