"""What `xferlab predict` does: answers with calibrated probabilities, and where asked to, a threshold and abstentions."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .. import estimation, operating
from ..errors import ArgumentError
from ..evaluation import Scores
from ..storage import write_atomically
from . import modelfile
from .findings import THRESHOLDS, percent, unlike
from .reading import read_pictures
from .reference import answer


def predict(
    model_file: Path,
    where: str,
    out: Path,
    *,
    factory: str | None = None,
    sensitivity: float | None = None,
    of: str | None = None,
    abstain: float | None = None,
    say: Callable[[str], None] = print,
    **reading,
) -> int:
    """The command `xferlab predict`: writes a row an image.

    Parameters
    ----------
    model_file, where, out
        What `compare` wrote; a folder of images or a `.npz`; the table of file, class and a probability a class. Its columns
        `like_source` and `like_target` are p-values of `xferlab.novelty`: small for a picture that looks unlike the held-out
        pictures of the source, or those that the model was adapted to.
    factory
        `module.py:function`, where the network is your own.
    sensitivity, of
        Adds the column `flagged`: yes from the threshold on that finds so much of class `of` on held-out pictures.
    abstain
        Adds the column `answer`: no where the model is so unsure that more than this share of its answers would be wrong.
    say
        Is told what was found.
    reading
        `window` or `intensity`, see `folders.read`, in place of those that the model was trained with; `labels`, a table that
        tells the classes of some of the images, on which the answers are scored.

    Returns
    -------
    int
        How many rows.

    Raises
    ------
    ArgumentError
        For a share out of range, an unknown class, or a model file without held-out answers.
    """
    if (sensitivity is None) != (of is None):
        raise ArgumentError("a sensitivity is that of one class: give both --sensitivity and --class, or neither")
    model, about = modelfile.load(model_file, factory)
    classes, kept, notes = model.classes, about["reference"], []
    if of is not None and of not in classes:
        raise ArgumentError(f"--class is {of!r}; the model knows {', '.join(classes)}")
    if kept is None and (of is not None or abstain is not None):
        raise ArgumentError(f"{model_file} keeps no held-out answers for a threshold; run `xferlab compare` again")
    options = dict(size=about["pixels"], channels=about["channels"]) | about["intensities"] | reading
    pictures, omitted, truth = read_pictures(where, classes=classes, **options)
    answers = answer(model, kept, pictures)
    p = answers.probabilities
    columns: dict[str, Any] = {"file": pictures.files or (), "predicted": [classes[k] for k in p.argmax(1)]}
    columns |= {f"p_{name}": [f"{value:.6f}" for value in p[:, k]] for k, name in enumerate(classes)}

    if of is not None and sensitivity is not None:
        k = classes.index(of)
        point = operating.threshold(kept.probabilities[:, k], kept.labels == k, sensitivity)
        flagged = p[:, k] >= point.value
        columns["flagged"] = np.where(flagged, "yes", "no")
        notes += [
            f"flagged: {flagged.sum()} of {len(p)}, those with a probability of {of} from {point.value:.4f} on. Of held-out pictures of "
            f"{about['held_out']} this finds {percent(point.sensitivity)} of {of}, and clears {percent(point.specificity)} of the others."
        ]
    if abstain is not None:
        rule = operating.abstention(kept.probabilities, kept.labels, abstain)
        answered, sure = p.max(1) >= rule.value, kept.probabilities.max(1).values >= rule.value
        columns["answer"] = np.where(answered, "yes", "no")
        text = f"answer: {answered.sum()} of {len(p)}. Of held-out pictures of {about['held_out']} {100 * rule.answered:.0f} % are answered"
        if answered.any() and sure.any():
            right = estimation.difference_of_confidences(kept.probabilities[sure], kept.labels[sure], p[answered])
            text += f", {percent(rule.wrong)} of them wrongly; of these pictures, estimated and not measured, {100 * (1 - right):.0f} % of the answers are wrong"
        notes.append(text + ".")
    if notes and not about["from_target"]:
        notes.append(
            f"Set on held-out pictures of {about['held_out']}. Elsewhere the same threshold may miss more or flag more. {THRESHOLDS} "
            "Give compare 40 or more labeled pictures from there (--labeled), and it is set on them."
        )
    likes = {"like_source": answers.like_source, "like_target": answers.like_target}
    columns |= {name: [f"{value:.4f}" for value in like] for name, like in likes.items() if like is not None}
    notes += unlike(answers, about["source"])
    with write_atomically(out) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(columns)
        table.writerows(zip(*columns.values(), strict=True))
    counts = zip(np.bincount(p.argmax(1), minlength=len(classes)), classes, strict=True)
    kind = "images" if pictures.is_image else "texts"
    lines = [f"{len(p)} {kind} -> {out}: {', '.join(f'{n} {name}' for n, name in counts)}", *notes]
    if omitted:
        lines.append(f"Left out {len(omitted)} files that are broken, no images, or beside the class folders:")
        lines += [f"  {name}" for name in omitted]
    if truth:
        scores = Scores(p[list(truth)], np.array(list(truth.values())), classes, name=pictures.name)
        origin = reading.get("labels") or "the folders' names"
        lines.append(f"Taking {origin} for truth: {scores!r}")
    say("\n".join([*lines, f"Model: {about['recipe']}, trained on {about['source']}. Not for clinical use."]))
    return len(p)
