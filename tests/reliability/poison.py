"""Do target labels reach training or choice? Every label of the target is made wrong, and only the oracle's columns may move.

python tests/reliability/poison.py --write
python tests/reliability/poison.py --recipes source_only dann --steps 4
"""

import argparse
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XFERLAB_DATA", tempfile.mkdtemp(prefix="poison-"))
sys.path.insert(0, str(Path(__file__).parents[1]))

import pandas as pd
from small import blobs

import xferlab as xl
from xferlab import operating
from xferlab.comparison import reference

ORACLE = ("target_", "vs_")  # columns that the target's test labels make
CLOCK = ["seconds"]  # what no two runs share


def poisoned(splits: xl.Splits) -> xl.Splits:
    """Each label of each part is another class's, none by the same step: the classes do not just swap names."""
    k = len(splits.classes)

    def wrong(part):
        return replace(part, labels=(part.labels + 1 + (part.inputs.flatten(1).long().sum(1) % (k - 1))) % k)

    return xl.Splits(*map(wrong, splits.parts().values()))


def later(source: xl.Splits, target: xl.Splits) -> list:
    """What `predict` goes by: temperature, threshold, abstention and p-values of one model."""
    model = xl.Classifier(xl.encoder("lenet", size=28), source.classes)
    t, kept, given = reference.calibrate(model, source, target.train)
    point = operating.threshold(kept.probabilities[:, 1], kept.labels == 1, 0.9)
    rule = operating.abstention(kept.probabilities, kept.labels, 0.3)
    return [t, point, rule, *(p.tolist() for p in (given.probabilities, given.like_source, given.like_target))]


def main(names: list[str] | None, seeds: int, steps: int) -> list[str]:
    """A line for the page. Raises AssertionError naming what moved."""
    source, target = (xl.Splits(*(blobs(36, seed=s + i, shift=s) for i in range(3))) for s in (0, 60))
    boards = []
    for there in (target, poisoned(target)):
        with tempfile.TemporaryDirectory() as store:
            settings = dict(seeds=seeds, steps=steps, batch_size=12, store=store, propose=6, progress_bar=False)
            boards.append(xl.compare(names, source, there, **settings))
    honest, lied = (board.table for board in boards)
    blind = [column for column in honest if not column.startswith(ORACLE) and column not in CLOCK]
    pd.testing.assert_frame_equal(honest[blind], lied[blind], check_exact=True)
    oracle = [column for column in honest if column.startswith(ORACLE)]
    assert not honest[oracle].equals(lied[oracle]), "not even the oracle noticed: the labels were not poisoned"
    assert boards[0].best() == boards[1].best(), "the choice moved"
    assert boards[0].estimates == boards[1].estimates, "an estimated accuracy moved"
    wanted = [[(one.row, one.why) for one in board.wanted] for board in boards]
    assert len(wanted[0]) == 6 and wanted[0] == wanted[1], "a proposal of what to label next moved"
    kept = [later(source, there) for there in (target, poisoned(target))]
    assert kept[0] == kept[1], "a temperature, a threshold, an abstention or a p-value moved"
    for a, b in zip(boards[0].runs, boards[1].runs, strict=True):
        assert a["history"] == b["history"] and a["validators"] == b["validators"], (
            f"{a['recipe']} was trained otherwise"
        )
    return [
        f"{len(honest)} recipes, {seeds} seeds, every target label wrong: {len(blind)} columns, all histories, validators, "
        f"estimates, thresholds, p-values, proposals and the choice identical; only the {len(oracle)} columns of the oracle moved"
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="*", help="all of xl.recipes if none")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--write", action="store_true", help="into tests/README.md")
    options = parser.parse_args()
    found = main(options.recipes, options.seeds, options.steps)
    from figures import report

    report("poison", found, options.write)
