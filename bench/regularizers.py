"""Every regularizer and every augmentation against plain fine-tuning, at home and abroad, with 20 labels a class.

    python bench/regularizers.py --workers 2                      # cells: home is site-a, abroad site-b
    python bench/regularizers.py --workers 2 --data smears.npz    # real pictures: abroad is their own test set, corrupted

About 12 minutes each on two cores. Stop it at any time: each finished run is one file in `bench/runs/regularizers/`, and the same
command goes on. Writes `bench/tables/regularizers-NAME.md`. Strengths are the papers' or the library's defaults, fixed before the
test sets were looked at; nothing is tuned or selected here, the last step counts.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import multiprocessing
import re
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

import xferlab as xl
from xferlab import augment as a
from xferlab import weights
from xferlab.evaluation import format_interval, paired, t_interval
from xferlab.machine import describe
from xferlab.storage import fingerprint, write_atomically

HERE = Path(__file__).parent
SETTINGS = dict(steps=40, batch_size=32, lr=1e-3)
PER_CLASS, SEVERITY, BASELINE = 20, 3, "plain fine-tuning"


@dataclass(frozen=True)
class Variant:
    """One row of the table; its repr names the run, so parts are data, not functions.

    objectives  what makes further terms beside cross-entropy; `smoothing` is that one's
    augment     a pipeline; `style` a joint operation that takes others' pictures: see `_Restyle`
    how         what is no term of the loss: see `train`
    """

    about: str
    objectives: tuple[partial, ...] = ()
    smoothing: float = 0.0
    augment: tuple = ()
    style: object = None
    how: str = ""
    weight_decay: float = 1e-2


REGULARIZERS = {
    "linear probe": Variant("only a new head; a baseline", how="probe"),
    "LP-FT": Variant(
        "the probe, then everything at 0.3 of the rate, batch-norm statistics kept; a baseline", how="lp_ft"
    ),
    "L2-SP": Variant("weights stay near their start, 0.01", (partial(xl.L2SP, 0.01),), weight_decay=0.0),
    "DELTA": Variant("activations of the last three blocks stay", (partial(xl.DELTA, 1.0),)),
    "BSS": Variant("the smallest singular value shrinks, 0.001", (partial(xl.BSS, 1e-3),)),
    "StochNorm": Variant("moving or batch statistics, p 0.5 a channel", how="stochastic norm"),
    "Co-Tuning": Variant("the old head learns what it should say of the new classes", (partial(xl.CoTuning, 1.0),)),
    "LwF": Variant("the old head's answers stay", (partial(xl.LwF, 1.0),)),
    "distillation": Variant("answers stay near the linear probe's, T 2", how="distillation"),
    "label smoothing": Variant("0.1", smoothing=0.1),
    "EMA": Variant("mean of weights with decay 0.9", (partial(xl.EMA, 0.9),)),
    "SWA": Variant("plain mean of the last quarter's weights, batch norm refreshed", (xl.SWA,), how="refresh"),
    "WiSE-FT": Variant("half-way from the linear probe to that LP-FT", how="wise"),
    "LoRA": Variant("rank 4 updates and the head; batch-norm statistics kept", how="lora"),
}
AUGMENTATIONS = {
    "crop": Variant("shifts of up to 8 pixels", augment=(a.Crop(8),)),
    "resized crop": Variant("half of the area or more", augment=(a.RandomResizedCrop(),)),
    "flips": Variant("left-right, upside down", augment=(a.Flip(True, True),)),
    "quarter turns": Variant("multiples of 90 degrees", augment=(a.Rotate90(),)),
    "rotation": Variant("up to 180 degrees", augment=(a.Rotate(180.0),)),
    "colour": Variant("brightness, contrast, saturation, gains", augment=(a.ColorJitter(0.3, 0.3, 0.3, 0.15),)),
    "stain": Variant("Giemsa, strength 0.3", augment=(a.Stain(0.3, "giemsa"),)),
    "blur": Variant("up to 1 pixel", augment=(a.Blur(),)),
    "noise": Variant("up to 10 grey levels", augment=(a.Noise(),)),
    "erase": Variant("a box of up to a fifth", augment=(a.Erase(),)),
    "RandAugment": Variant("two operations at magnitude 9", augment=(a.RandAugment(),)),
    "MixUp": Variant("alpha 0.2", augment=(a.MixUp(),)),
    "CutMix": Variant("alpha 1", augment=(a.CutMix(),)),
    "MixStyle": Variant("channel statistics of other pictures at home, on pixels", augment=(a.MixStyle(),)),
    "FDA": Variant(
        "coarse Fourier amplitudes of unlabelled pictures: from abroad, or from home where there is no abroad",
        style=a.FDA(),
    ),
    "smear()": Variant("flips, quarter turns, stain, slight colour", augment=tuple(a.smear())),
}
VARIANTS = {BASELINE: Variant("cross-entropy, every weight moves")} | REGULARIZERS | AUGMENTATIONS


def train(variant: Variant, labelled: xl.Domain, style: torch.Tensor, draw: int) -> xl.Classifier:
    """Fine-tunes EfficientNet-Lite0 on `labelled` in this variant's way."""
    model = xl.Classifier(xl.encoder("efficientnet_lite0"), labelled.classes, seed=draw)
    settings = SETTINGS | dict(seed=draw, progress_bar=False, weight_decay=variant.weight_decay)
    objectives = [xl.CrossEntropy(label_smoothing=variant.smoothing), *(make() for make in variant.objectives)]
    pipeline = [*variant.augment, *([_Restyle(variant.style, style)] if variant.style else [])]
    start = None
    if variant.how in ("probe", "lp_ft", "wise"):
        xl.recipes["linear_probe"].fit(model, labelled, **settings)
        if variant.how == "probe":
            return model
        start, settings["lr"] = copy.deepcopy(model.state_dict()), 0.3 * settings["lr"]
    if variant.how == "stochastic norm":
        weights.use_stochastic_norm(model.encoder)
    if variant.how == "distillation":
        teacher = copy.deepcopy(model)
        xl.recipes["linear_probe"].fit(teacher, labelled, **settings)
        objectives.append(xl.Distillation(teacher=teacher))
    strategy = (
        xl.strategies.lora(4) if variant.how == "lora" else xl.strategies.full(freeze_statistics=start is not None)
    )
    xl.fit(model, labelled, objectives=objectives, strategy=strategy, augment=pipeline, **settings)
    if variant.how == "lora":
        weights.merge_lora(model)
    if variant.how == "refresh":
        weights.refresh_batch_norm(model, labelled)
    if variant.how == "wise":
        model.load_state_dict(weights.interpolate(start, model.state_dict(), 0.5))
    return model


@dataclass(frozen=True)
class _Restyle:
    """A joint operation made one-sided: the other pictures are given beforehand and do not enter the batch."""

    operation: object
    pictures: torch.Tensor

    def __call__(self, images, generator):
        return a.apply([self.operation], a.Sides(images, target_inputs=self.pictures), generator).source_inputs


def corrupted(domain: xl.Domain, copies: int = 3) -> xl.Domain:
    """Each picture under `copies` of the medical corruptions at severity 3, which take turns."""
    names, generator = list(a.corruptions), torch.Generator().manual_seed(0)
    which = torch.arange(len(domain) * copies) % len(names)
    pictures, labels = domain.inputs.repeat(copies, 1, 1, 1), domain.labels.repeat(copies)
    for k, name in enumerate(names):
        chosen = which == k
        pictures[chosen] = a.corruptions[name](pictures[chosen], SEVERITY, generator)
    return replace(domain, inputs=pictures, labels=labels, groups=None, name=f"{domain.name}, corrupted")


@functools.cache
def places(data: str | None) -> tuple[xl.Splits, xl.Domain, torch.Tensor]:
    """Home, the test set abroad, and unlabelled pictures whose style FDA takes: from abroad, or at home where there is no abroad."""
    if data is None:
        home, abroad = xl.load("cells/site-a"), xl.load("cells/site-b")
        return home, abroad.test, abroad.train.inputs
    home = xl.load(data)
    return home, corrupted(home.test), home.train.inputs


def measure(name: str, draw: int, data: str | None, store: Path, deadline: float) -> dict | None:
    """One run, from the store if it is there, as a dict; None when time is over."""
    torch.set_num_threads(1 if multiprocessing.parent_process() else torch.get_num_threads())
    home, abroad, style = places(data)
    known = fingerprint(
        xl.__version__, repr(VARIANTS[name]), SETTINGS, PER_CLASS, draw, home.train.inputs, abroad.inputs
    )
    path = store / f"{re.sub(r'[^A-Za-z0-9]+', '_', name)}-{draw}-{known[:16]}.json"
    if path.is_file():
        return json.loads(path.read_text("utf-8"))
    if time.time() > deadline:
        return None
    began = time.perf_counter()
    model = train(VARIANTS[name], home.train.take(per_class=PER_CLASS, seed=draw), style, draw)
    row = {"method": name, "draw": draw, "seconds": time.perf_counter() - began}
    row |= {
        side: xl.evaluate(model, test).balanced_accuracy for side, test in (("home", home.test), ("abroad", abroad))
    }
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(row) + "\n", "utf-8")
    return row


def page(rows: Sequence[dict], home: str, abroad: str, command: str) -> str:
    """The table in Markdown: means, 95 % t-intervals, paired differences to plain fine-tuning, and who is better, worse or neither."""
    gains = {side: {g["method"]: g for g in paired(rows, side, BASELINE)} for side in ("home", "abroad")}
    lines = [
        f"# Every regularizer and every augmentation: {home}\n",
        f"{PER_CLASS} labels a class, EfficientNet-Lite0 at 64 px, {SETTINGS['steps']} steps of {SETTINGS['batch_size']}. Balanced "
        f"accuracy on home's test set ({home}) and abroad ({abroad}): mean and 95 % t-interval over draws of labels; then the "
        "paired difference to plain fine-tuning within draws. * means separated: five draws or more and an interval without "
        f"zero. Of {2 * len(gains['home'])} differences, one in twenty would be separated by luck alone. Seconds are of training, on the "
        "threads that a run had. Not for clinical use.\n",
        f"Regenerate with `{command}` ({describe()}).\n",
        "| variant | what | draws | home | abroad | difference at home | difference abroad | seconds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, variant in VARIANTS.items():
        own = [row for row in rows if row["method"] == name]
        if not own:
            continue
        cells = [format_interval(*t_interval([row[side] for row in own])) for side in ("home", "abroad")]
        for side in ("home", "abroad"):
            gain = gains[side].get(name)
            star = " *" if gain and gain["verdict"] == "separated" else ""
            cells.append(format_interval(gain["gain"], gain["low"], gain["high"], sign="+") + star if gain else "")
        seconds = sum(row["seconds"] for row in own) / len(own)
        lines.append(f"| {name} | {variant.about} | {len(own)} | {' | '.join(cells)} | {seconds:.0f} |")
    for side in ("home", "abroad"):
        told = {"Better": [], "Worse": [], "Not separated": []}
        for name, gain in gains[side].items():
            apart = gain["verdict"] == "separated"
            told["Not separated" if not apart else "Better" if gain["gain"] > 0 else "Worse"].append(name)
        said = ". ".join(f"{word} than plain fine-tuning: {', '.join(names)}" for word, names in told.items() if names)
        lines.append(f"\n**{side.capitalize()}.** {said.replace('Not separated than', 'Not separated from')}.")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="a .npz or folder of real pictures (default: cells)")
    parser.add_argument("--draws", type=int, default=5, help="draws of labels (more can be added later)")
    parser.add_argument("--only", nargs="+", choices=VARIANTS, metavar="VARIANT", help="these, and plain fine-tuning")
    parser.add_argument("--workers", type=int, default=1, help="processes, one thread each; 1 runs here, all threads")
    parser.add_argument("--minutes", type=float, default=1e6, help="start no run after that; the same command goes on")
    options = parser.parse_args()
    chosen = [name for name in VARIANTS if not options.only or name in (BASELINE, *options.only)]
    tasks = [(name, draw) for draw in range(options.draws) for name in chosen]
    fixed = (options.data, HERE / "runs" / "regularizers", time.time() + 60 * options.minutes)
    if options.workers > 1:
        with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            jobs = [pool.submit(measure, *task, *fixed) for task in tasks]
            rows = [job.result() for job in jobs]
    else:
        rows = [measure(*task, *fixed) for task in tasks]
    done = [row for row in rows if row]
    home, abroad, _ = places(options.data)
    command = "python bench/regularizers.py" + (f" --data {Path(options.data).name}" if options.data else "")
    text = page(done, home.name, abroad.name, command)
    if len(done) < len(tasks):
        text += f"\n{len(tasks) - len(done)} of {len(tasks)} runs are still to do.\n"
    print(text)
    if not options.only:
        with write_atomically(HERE / "tables" / f"regularizers-{home.name.replace('/', '-')}.md") as temporary:
            temporary.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
