"""Your own texts: a table, JSON Lines or rows in memory, with a column `text` and, where there are labels, `label`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import ArgumentError, DataError
from . import tables
from .domain import Domain, Splits, split
from .layout import numbers, same_name
from .tokens import tokenize

FILES = (*tables.ENDINGS, ".jsonl")


def load(path: str | Path, *, seed: int = 0, **options) -> Splits:
    """Splits of a `.csv`, `.tsv` or `.jsonl` file, 70/10/20 by `seed`, class and group; takes the options of `read`."""
    return split(read(path, **options), seed=seed)


def read(path: str | Path, **options) -> Domain:
    """All texts of a file as one Domain, in the file's order, for `predict`; takes the options of `from_rows`.

    A table may have commas, semicolons, tabs or bars between its cells; what is not in UTF-8 is read as UTF-16 or cp1252, with a
    warning. JSON Lines hold an object a line.

    Raises
    ------
    DataError
        Naming the line of a missing value, of a broken row, or of a label that `classes` lacks.
    """
    path = Path(path).expanduser()
    notes: list[str] = []
    rows = _json_lines(path) if path.suffix.lower() == ".jsonl" else tables.read(path, notes)
    for note in notes:
        warnings.warn(note, stacklevel=3)
    return from_rows(str(path), rows, **{"name": path.stem} | options)


def from_rows(
    where: str,
    rows: Sequence[tuple[int, Mapping]],
    *,
    name: str = "texts",
    text_column: str = "text",
    label_column: str | None = "label",
    classes: Sequence[str] | None = None,
    broken: str = "raise",
    tokenizer: str = "minilm",
    max_length: int = 128,
) -> Domain:
    """The texts of `rows`, each a number and its cells by column, as one Domain.

    Parameters
    ----------
    where
        What errors call the table.
    rows
        Numbered rows. A column `group` is an id, such as a patient's, that must not straddle two parts.
    name
        What plots and tables call it.
    text_column, label_column
        Where texts and labels stand; a table without the column `label` has no labels, and with None
        none are read. The case of a column's name,
        and spaces, `_` and `-` in it, do not count.
    classes
        A source's class names to number labels by; by default the labels themselves, sorted.
    broken
        "raise" a DataError at a row without a text or a label, or "skip" it, with a warning.
    tokenizer, max_length
        The encoder's, see `tokenize`.

    Returns
    -------
    Domain
        Tokens `(N, L)`, with labels and groups where there are such columns.
    """
    if broken not in ("raise", "skip"):
        raise ArgumentError(f"broken is {broken!r}, expected 'raise' or 'skip'")
    if not rows:
        raise DataError(f"{where} has no rows; give at least one text")
    columns = dict.fromkeys(key for _, cells in rows for key in cells)
    asked = {"text": text_column, "label": label_column or "", "group": "group"}
    known = {key: next((c for c in columns if same_name(str(c)) == same_name(asked[key])), None) for key in asked}
    if known["text"] is None or (known["label"] is None and label_column not in ("label", None)):
        raise DataError(
            f"{where} has columns {sorted(map(str, columns))}, expected {text_column} and, where there are labels, {label_column}; name "
            "others with text_column= and label_column= (--text, --label)"
        )
    cells = {key: [_clean(row.get(column)) for _, row in rows] for key, column in known.items() if column is not None}
    cells = {key: values for key, values in cells.items() if any(values)}  # an empty column is none
    if "text" not in cells:
        raise DataError(f"{where} has no text in column {known['text']!r}; fill it in")
    empty = {key: [i for i, value in enumerate(values) if not value] for key, values in cells.items()}
    for key, missing in empty.items():
        if missing and broken == "raise":
            raise DataError(
                f"{where}, line {rows[missing[0]][0]}: no {key}, as in {len(missing)} of {len(rows)} rows; fill them in, or "
                "pass broken='skip'"
            )
    if dropped := set().union(*empty.values()):
        counted = ", ".join(f"{len(missing)} without a {key}" for key, missing in empty.items() if missing)
        warnings.warn(f"{where}: left out {len(dropped)} of {len(rows)} rows ({counted})", stacklevel=4)
        cells = {key: [v for i, v in enumerate(values) if i not in dropped] for key, values in cells.items()}
        rows = [row for i, row in enumerate(rows) if i not in dropped]
    labels, names = numbers(where, cells.get("label", ()), classes)
    return Domain(
        tokenize(cells["text"], tokenizer, max_length),
        labels if "label" in cells else None,
        names,
        numbers(where, cells["group"], None)[0] if "group" in cells else None,
        name=name,
        files=tuple(f"line {line}" for line, _ in rows),
    )


OPTIONS = from_rows  # what `load` takes beside its own arguments


def _clean(value: object) -> str:
    """A cell as stripped text; nothing for None and NaN."""
    return "" if value is None or value != value else str(value).strip()


def _json_lines(path: Path) -> list[tuple[int, dict]]:
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            row = json.loads(line) if line.strip() else None
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number} is no JSON ({error}); write one object a line") from error
        if row is not None and not isinstance(row, dict):
            raise DataError(f'{path}, line {number} is {row!r}, expected an object like {{"text": ..., "label": ...}}')
        rows += [(number, row)] if row is not None else []
    return rows
