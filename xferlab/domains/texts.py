"""Your own texts: a CSV or JSON Lines file with a column `text` and, where there are labels, `label`."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from ..errors import DataError
from .domain import Domain, Splits, split
from .tokens import tokenize


def load(
    path: str | Path,
    *,
    seed: int = 0,
    classes: Sequence[str] | None = None,
    tokenizer: str = "minilm",
    max_length: int = 128,
) -> Splits:
    """Splits of a `.csv` or `.jsonl` file, 70/10/20 by `seed`, class and group; for the other options see `read`."""
    return split(read(path, classes=classes, tokenizer=tokenizer, max_length=max_length), seed=seed)


def read(
    path: str | Path, *, classes: Sequence[str] | None = None, tokenizer: str = "minilm", max_length: int = 128
) -> Domain:
    """All texts of a file as one Domain, in the file's order: for `predict`.

    Columns (JSON keys) `text`; `label`, any names, absent where there are none; `group`, absent or an id, such as a
    patient's, that must not straddle two parts. Others are ignored.

    classes     a source's class names to number labels by; by default the labels themselves, sorted
    tokenizer   the encoder's: "minilm", a Hugging Face name or a local folder

    Raises `DataError` naming the row for a missing value, a broken line, or a label that `classes` lacks.
    """
    path = Path(path).expanduser()
    rows = _json_lines(path) if path.suffix.lower() == ".jsonl" else _table(path)
    if not rows:
        raise DataError(f"{path} has no rows; give at least one text")
    texts, labels, groups = (_column(path, rows, key) for key in ("text", "label", "group"))
    if texts is None:
        raise DataError(
            f"{path} has columns {sorted(map(str, rows[0][1]))}, expected text and, where there are labels, label"
        )
    names = tuple(map(str, classes)) if classes is not None else tuple(sorted(set(labels or ())))
    if labels and (lacking := sorted(set(labels) - set(names))):
        raise DataError(f"{path} has labels {lacking} that classes lack ({list(names)}); rename or drop them")
    numbers = {name: i for i, name in enumerate(names)}
    patients = {name: i for i, name in enumerate(sorted(set(groups or ())))}
    return Domain(
        tokenize(texts, tokenizer, max_length),
        torch.tensor([numbers[label] for label in labels]) if labels else None,
        names,
        torch.tensor([patients[group] for group in groups]) if groups else None,
        name=path.stem,
    )


def _column(path: Path, rows: list[tuple[int, dict]], key: str) -> list[str] | None:
    """A column's values as stripped text, or None where no row has it; half a column is an error."""
    values = ["" if row.get(key) is None else str(row[key]).strip() for _, row in rows]
    if not any(values):
        return None
    if empty := [line for (line, _), value in zip(rows, values, strict=True) if not value]:
        raise DataError(
            f"{path}, line {empty[0]}: no {key}, as in {len(empty)} of {len(rows)} rows; fill them in or drop them"
        )
    return values


def _table(path: Path) -> list[tuple[int, dict]]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            return [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV in UTF-8 ({error}); save it anew") from error


def _json_lines(path: Path) -> list[tuple[int, dict]]:
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            row = json.loads(line) if line.strip() else None
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number} is no JSON ({error}); write one object a line") from error
        if row is not None and not isinstance(row, dict):
            raise DataError(
                f'{path}, line {number} is {row!r}, expected an object such as {{"text": ..., "label": ...}}'
            )
        rows += [(number, row)] if row is not None else []
    return rows
