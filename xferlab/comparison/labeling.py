"""What to label next: asked for after a comparison, written as a table, and read back once its labels are filled in."""

import contextlib
import csv
import difflib
import json
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..domains import Domain, Splits, tables
from ..domains.duplicates import repeats
from ..domains.layout import same_name
from ..encoders import Classifier
from ..errors import ArgumentError, DataError
from ..evaluation import format_interval
from ..features import embed
from ..probes import make_deep
from ..proposals import propose
from ..storage import write_atomically

ROWS = 5000  # examples that are looked at, at most
MEASURED = json.loads(Path(__file__).with_name("labels.json").read_text("utf-8"))  # by bench/labels.py
KIND = MEASURED["default"]
NAMES = ("file", "label")  # columns of the table


@dataclass(frozen=True)
class Wanted:
    """A target example to label: its row, its file (the row's number where it has none), why, and its pixels or token ids."""

    row: int
    file: str
    why: str
    inputs: Tensor


def ask(
    answers: Sequence[np.ndarray], model: Classifier, target: Domain, labeled: Domain | None, n: int
) -> list[Wanted]:
    """The target's `n` examples to label next; none that is labeled, and no near-duplicate of one or of another proposal.

    Parameters
    ----------
    answers : sequence of arrays
        Each finished run's class numbers on the target `(N,)`; where they differ most, a label tells most.
    model : Classifier
        Before any training: its features in depth, or its encoder's output where it has none. It is changed.
    target : Domain
        Its labels, if any, are never looked at.
    labeled : Domain or None
    n : int
    """
    rows = torch.randperm(len(target), generator=torch.Generator().manual_seed(0))[:ROWS].sort().values
    known = target.inputs[:0] if labeled is None else labeled.inputs
    pool = target[rows]
    new = ~repeats(torch.cat([known.cpu(), pool.inputs.cpu()]))[len(known) :]
    rows, pool = rows[new], pool[new]
    with contextlib.suppress(ArgumentError):  # a text encoder, or a network whose blocks give no maps
        make_deep(model)
    disagreement = torch.from_numpy(_vote_entropy([answer[rows.numpy()] for answer in answers])) if answers else None
    old = None if labeled is None else embed(model, labeled)
    found = propose(embed(model, pool), n, kind=KIND, labeled=old, uncertainty=disagreement)
    wanted = []
    for row, cluster, size in found:
        at = int(rows[row])
        why = "drawn at random" if KIND == "random" else f"the most {KIND} of cluster {cluster}, which holds {size}"
        votes = Counter(model.classes[answer[at]] for answer in answers).most_common()
        why += f"; the runs answer {', '.join(f'{name} {count}' for name, count in votes)}" if votes else ""
        wanted.append(Wanted(at, target.files[at] if target.files else str(at), why, target.inputs[at].cpu()))
    return wanted


def _vote_entropy(answers: Sequence[np.ndarray]) -> np.ndarray:
    """`-sum_k v_k log v_k` over the shares v of the answers that each example gets, `(N,)` (Seung et al., 1992)."""
    votes = np.stack(answers)
    shares = np.stack([(votes == k).mean(0) for k in np.unique(votes)])
    return -(shares * np.log(shares.clip(1e-12))).sum(0)


def bought() -> tuple[list[str], list[list[str]]]:
    """Header and rows of what labels chosen as here bought on the pairs of this project's own measurements."""
    rows = []
    for pair in MEASURED["pairs"]:
        gains = [format_interval(mean, low, high, "+") for mean, low, high in pair[KIND].values()]
        rows.append([pair["pair"], f"{pair['without']:.3f}", *gains])
    return ["pair", "without", *(f"{budget} labels" for budget in MEASURED["pairs"][0][KIND])], rows


def write(path: Path, wanted: Sequence[Wanted]) -> Path:
    """A row an example: file, an empty label, why. Rows of an earlier table that have a label stay, on top."""
    kept = [row for row in _rows(path) if row["label"]] if path.exists() else []
    known = {row["file"] for row in kept}
    kept += [{"file": want.file, "label": "", "why": want.why} for want in wanted if want.file not in known]
    with write_atomically(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, [*NAMES, "why"])
        table.writeheader()
        table.writerows(kept)
    return path


def read(
    path: Path, target: Splits | Domain, classes: tuple[str, ...], columns: Sequence[str], rename: dict | None
) -> Domain:
    """The target's examples that a filled-in table names, with the table's labels; a warning says how many others there are.

    Parameters
    ----------
    path : Path
    target : Splits or Domain
    classes : tuple of str
        The source's.
    columns : sequence of str
        Those of the file's name, with or without folders and ending, and of the label; none for `file` and `label`.
    rename : dict of str to str, or None
        Classes in the table to the source's names.

    Raises
    ------
    DataError
        For a table without those columns, a class that `classes` lacks, two labels for one file, or no row of use.
    """
    everything = target.together() if isinstance(target, Splits) else target
    place = {Path(file): i for i, file in enumerate(everything.files or map(str, range(len(everything))))}
    number = {same_name(name): k for k, name in enumerate(classes)}
    labels: dict[int, int] = {}
    empty, lost = 0, []
    rows = _rows(path, columns or NAMES)
    for row, named in zip(rows, tables.files_named(list(place), [row["file"] for row in rows]), strict=True):
        file, label = row["file"], (rename or {}).get(row["label"], row["label"])
        k = number.get(same_name(label))
        if not label:
            empty += 1
        elif k is None:
            close = difflib.get_close_matches(label, classes, 1, 0.5)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise DataError(f"{path} gives {file} the class {label!r}, and the source has {', '.join(classes)}{hint}")
        elif named is None:
            lost.append(file)
        elif (earlier := labels.setdefault(place[named], k)) != k:
            raise DataError(f"{path} gives {file} two labels, {classes[earlier]!r} and {label!r}; keep one")
    if not labels:
        raise DataError(
            f"{path} has no label for an image of the target: {empty} rows without a label, {len(lost)} whose file is not there; "
            f"fill in the column label with {', '.join(classes)}"
        )
    if empty:
        warnings.warn(f"{path}: {empty} of {len(rows)} rows have no label yet.", stacklevel=2)
    if lost:
        listed = f"{len(lost)} labeled files are not in the target, moved or renamed perhaps: {', '.join(lost[:5])}"
        warnings.warn(f"{path}: {listed}{', ...' * (len(lost) > 5)}.", stacklevel=2)
    labeled = everything.unlabeled()[list(labels)]
    return replace(labeled, labels=torch.tensor(list(labels.values())), classes=classes)


def _rows(path: Path, columns: Sequence[str] = NAMES) -> list[dict[str, str]]:
    """The table's rows: file, label and why."""
    rows = tables.read(path, [])
    present = rows[0].cells if rows else columns
    if len(columns) != 2 or not set(columns) <= set(present):
        raise DataError(
            f"{path} has the columns {list(present)}; expected {' and '.join(columns)}, as in the table that --propose writes, or "
            f"name yours: {path.name}:FILE,LABEL"
        )
    file, label = columns
    return [{"file": row.cells[file], "label": row.cells[label], "why": row.cells.get("why", "")} for row in rows]
