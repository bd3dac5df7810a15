"""Tables of text: how they are read, and labels, splits and patients of pictures that stand in one."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
from collections import defaultdict
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from ..errors import ArgumentError, DataError
from .layout import Place, part_of, same_name

ENDINGS = (".csv", ".tsv")
SPLIT = {"split", "partition"}
PATIENT = {"patient", "patientid", "subject", "subjectid"}


class Row(NamedTuple):
    """A row of a table: the line of the file that it ends on, and its cells by column."""

    line: int
    cells: dict[str, str]


def read(path: Path, notes: list[str]) -> list[Row]:
    """The rows of a table with commas, semicolons, tabs or bars between its cells, in UTF-8, UTF-16 or cp1252.

    What is not plain UTF-8 is said in `notes`.

    Raises
    ------
    DataError
        For what is no table, naming the line where there is one.
    """
    raw, rows = path.read_bytes(), []
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            encoding = "cp1252"
            text = raw.decode(encoding)
        if "\0" in text:
            raise csv.Error("it holds zero bytes")
        head = text.split("\n", 1)[0]
        delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t|", key=head.count)
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        columns = [column.strip() for column in next(lines, [])]
        if len(set(columns)) < len(columns):
            raise DataError(f"{path} has columns {columns}, expected different names; rename those that repeat")
        for cells in lines:
            if any(cell.strip() for cell in cells[len(columns) :]):
                raise DataError(
                    f"{path}, line {lines.line_num} has {len(cells)} cells and the header {len(columns)}; put quotes round a "
                    f"cell that holds {delimiter!r}"
                )
            if any(cell.strip() for cell in cells):
                filled = [*map(str.strip, cells), *[""] * len(columns)]
                rows.append(Row(lines.line_num, dict(zip(columns, filled, strict=False))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no table in UTF-8 ({error}); save it anew") from error
    if encoding != "utf-8-sig":
        notes.append(f"{path} is no UTF-8 and was read as {encoding}: look whether its letters are right")
    return rows


def find(root: Path, reference: str) -> tuple[Path, list[str]] | None:
    """The table, in `root` or as a path, and the columns that `table.csv:column,column` names; None where it names no table.

    Raises
    ------
    DataError
        For a table that is not there.
    """
    match = re.fullmatch(r"(.*\.[ct]sv)(?::(.*))?", reference, re.IGNORECASE | re.DOTALL)
    if match is None:
        return None
    path = next((place for place in (root / match[1], Path(match[1]).expanduser()) if place.is_file()), None)
    if path is None:
        raise DataError(f"the table {match[1]} is neither in {root} nor a file by itself; check {reference!r}")
    return path, [column.strip() for column in (match[2] or "").split(",") if column.strip()]


def files_named(files: list[Path], values: list[str]) -> list[Path | None]:
    """The file that each value names, with or without its folders and its ending; None where there is none.

    Folders that all values share need not be there: tables are often made on another machine.

    Raises
    ------
    DataError
        For a value that names two files.
    """
    known: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        for name in {file.name, file.stem}:
            known[name].append(file)
    steps = [[step for step in value.replace("\\", "/").split("/") if step not in ("", ".")] for value in values]
    alike = takewhile(lambda level: len(set(level)) == 1, zip(*(way[:-1] for way in steps if way), strict=False))
    shared = len(list(alike))
    found: list[Path | None] = []
    for value, way in zip(values, steps, strict=True):
        name = way[-1] if way else ""
        fits = known.get(name) or known.get(re.sub(r"\.[A-Za-z]\w{1,4}$", "", name), [])
        # all its folders as they stand, or what remains of them without the shared ones
        close: list[Path] = []
        for folders in (way[:-1], way[shared:-1]) if way else ():
            close = close or [f for f in fits if _above(f, len(folders)) == folders]
        if len(close) > 1:
            raise DataError(
                f"{value!r} in the table names {len(close)} files, such as {close[0]} and {close[1]}; write their folders too"
            )
        found.append(close[0] if close else None)
    return found


def _above(file: Path, n: int) -> list[str]:
    """The `n` folders that a file lies in, the innermost last."""
    parts = Path(os.path.abspath(file)).parts[:-1]
    return list(parts[len(parts) - n :])


def column_of(files: list[Path], table: Path, column: str, notes: list[str]) -> dict[Path, str]:
    """What a column says of each file; files are named in the table's first column."""
    rows = read(table, notes)
    _check(table, rows, [column])
    return _one_each(table, files_named(files, [next(iter(row.cells.values())) for row in rows]), rows, column)


def places(root: Path, files: list[Path], labels: str, left_out: dict[str, list], notes: list[str]) -> list[Place]:
    """The place of each file that the table `labels` has a label for, with its split and its patient where columns say.

    Files without a row, or without a label in it, are counted in `left_out`; rows without a file in `notes`.
    """
    found = find(root, labels)
    if found is None:
        raise ArgumentError(f"labels is {labels!r}, expected a table and its columns, such as 'labels.csv:image,label'")
    table, asked = found
    rows = read(table, notes)
    _check(table, rows, asked)
    column = asked[0] if asked else _file_column(files, rows)
    named = files_named(files, [row.cells[column] for row in rows])
    lost = [row.cells[column] for row, file in zip(rows, named, strict=True) if file is None]
    if len(lost) == len(rows):
        raise DataError(f"{table}: no row names an image in {root}; column {column!r} holds names such as {lost[0]!r}")
    if lost:
        notes.append(f"{table}: {len(lost)} of {len(rows)} rows name no image in {root}, such as {lost[0]!r}")
    label = _one_each(table, named, rows, _label_column(table, rows, column, asked[1:]))
    left_out[f"images without a row in {table.name}"] += [file.relative_to(root) for file in files if file not in label]
    left_out[f"images without a label in {table.name}"] += [file.relative_to(root) for file in label if not label[file]]
    columns = [next((c for c in rows[0].cells if same_name(c) in names), None) for names in (SPLIT, PATIENT)]
    split, patient = (_one_each(table, named, rows, name) for name in columns)
    if unknown := sorted({name for name in split.values() if part_of(name) is None}):
        raise DataError(f"{table} has splits {unknown[:4]}, expected train, val and test; rename them, or the column")
    above = {file: {part_of(step) for step in file.relative_to(root).parts[:-1]} - {None} for file in label}
    alone = all(len(parts) == 1 for parts in above.values())
    if not split and alone and {"train", "test"} <= set().union(*above.values()):  # folders that are named as splits
        split = {file: str(parts.pop()) for file, parts in above.items()}
    return [
        Place(file, part_of(split.get(file, "")), label[file], patient.get(file) or None)
        for file in files
        if label.get(file)
    ]


def offer(root: Path, files: list[Path]) -> str:
    """What offers a table that lies in `root` or beside it and names images of it; nothing where there is none."""
    for folder in (root, root.absolute().parent):
        # not iterdir, which raises where a folder may not be listed
        for table in sorted(path for path in folder.glob("*") if path.suffix.lower() in ENDINGS and path.is_file()):
            with contextlib.suppress(DataError, OSError):  # it is no table, or may not be read
                rows = read(table, [])[:50]
                _check(table, rows, [])
                column = _file_column(files, rows)
                if any(files_named(files, [row.cells[column] for row in rows])):
                    others = [name for name in rows[0].cells if name != column]
                    name = table.name if folder == root else table
                    return (
                        f"; {table} names the images, and labels='{name}:{column},COLUMN' (--source-labels, --target-labels) "
                        f"takes labels from one of its columns {others[:8]}"
                    )
    return ""


def _check(table: Path, rows: list[Row], asked: list[str]) -> None:
    if not rows:
        raise DataError(f"{table} has no rows; give at least one image")
    if unknown := [column for column in asked if column not in rows[0].cells]:
        raise DataError(f"{table} has columns {list(rows[0].cells)}, not {unknown[0]!r}")


def _file_column(files: list[Path], rows: list[Row]) -> str:
    """The column that names most of the files."""

    def hits(column):
        return sum(file is not None for file in files_named(files, [row.cells[column] for row in rows]))

    return max(rows[0].cells, key=hits)


def _label_column(table: Path, rows: list[Row], column: str, asked: list[str]) -> str:
    """The column of the labels; where these are several columns of zeros and ones (one-hot), one column made of them."""
    others = asked or [name for name in rows[0].cells if name != column and same_name(name) not in SPLIT | PATIENT]
    hot = [name for name in others if {row.cells[name] for row in rows} <= {"0", "1", "0.0", "1.0"}]
    if len(others) == 1:
        return others[0]
    if len(hot) < 2 or (asked and hot != asked):
        raise DataError(
            f"{table} has the columns {others}; name the one that holds the labels, as in labels='{table.name}:{column},{others[-1]}', "
            "or several that hold nothing but zeros and ones"
        )
    for row in rows:
        ones = [name for name in hot if row.cells[name] in ("1", "1.0")]
        if len(ones) > 1:
            raise DataError(f"{table}, line {row.line}: {ones} are all 1, expected one an image; name a single column")
        row.cells[" and ".join(hot)] = ones[0] if ones else ""
    return " and ".join(hot)


def _one_each(table: Path, named: list[Path | None], rows: list[Row], column: str | None) -> dict[Path, str]:
    """What a column says of each file; nothing where there is no column. Raises `DataError` where it says two things of one."""
    found: dict[Path, str] = {}
    if column is None:
        return found
    for file, row in zip(named, rows, strict=True):
        if file is not None and found.setdefault(file, row.cells[column]) != row.cells[column]:
            raise DataError(f"{table} gives {file.name} both {found[file]!r} and {row.cells[column]!r}; keep one row")
    return found
