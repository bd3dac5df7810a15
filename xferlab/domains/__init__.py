"""Where examples come from: one file a source, each with a `load` that returns Splits."""

from __future__ import annotations

import difflib
import html
import importlib
import importlib.metadata
import importlib.util
import inspect
from pathlib import Path
from typing import NamedTuple

from ..errors import ArgumentError, DataError, MissingExtra
from .domain import Domain, Splits, joined, split

__all__ = ["Domain", "Splits", "catalog", "joined", "load", "split"]

READERS = {".npz": "arrays", ".csv": "texts", ".tsv": "texts", ".jsonl": "texts"}


def load(name: object, *, augmentation: str | None = None, **options) -> Splits:
    """Train, validation and test parts of a named domain, a file, a folder of images, or what is in memory.

    A name wins over a folder of the same name: write `./cells/site-b` for the folder. A pandas DataFrame, a list of texts, a NumPy array
    of pictures and a torch Dataset do as well, see `memory.load`.

    Another package brings a source by an entry point of the group `xferlab.domains`: its name is what stands before the slash, and it
    names a module whose `load` takes what stands behind and gives Splits.

    Parameters
    ----------
    name
        One that `catalog()` lists (`cells/site-b`, `digits/mnist`, `icd10/descriptions`, ...), the path of a `.npz`
        in the MedMNIST layout, of a `.csv`, `.tsv` or `.jsonl` with `text` and `label`, or of a folder: class
        folders, class folders below `train/`, `val/` and `test/`, images and a table of labels, or images only, which
        come without labels.
    augmentation
        What leaves a class as it is, where the source does not know: "any_way_up" for microscopy, "mirror", "none"
        (see `Domain`).
    options
        Those of the source: see `load` in `xferlab.domains.cells`, `.digits`, `.medmnist`, `.icd10`, `.arrays`,
        `.texts`, `.folders` (and `folders.read` and `texts.from_rows` for their options).

    Returns
    -------
    Splits
        Its `train`, `val` and `test`.

    Raises
    ------
    DataError
        For a name that is neither known nor there.
    ArgumentError
        For an option the source does not take, and what the source raises.

    Examples
    --------
    >>> xl.load("digits/mnist").test
    Domain('digits/mnist', 1000 1x28x28 images, 10 classes)
    """
    splits = _load(name, options)
    return splits if augmentation is None else splits.augmented(augmentation)


def _load(name: object, options: dict) -> Splits:
    if not isinstance(name, (str, Path)):
        return _call(type(name).__name__, "memory", name, options)
    known, path = [entry.name for entry in catalog()], Path(name).expanduser()
    source, _, which = str(name).partition("/")
    exists = bool(str(name)) and path.exists()
    # medmnist's own errors say more than "unknown": a missing extra, the sets there are
    named = name in known or (which and ((source == "medmnist" and not exists) or source in _brought()))
    if named and not isinstance(name, Path):
        return _call(str(name), source, which, options)
    reader = "folders" if path.is_dir() else READERS.get(path.suffix.lower())
    if exists and reader:
        return _call(str(name), reader, path, options)
    if exists:
        raise DataError(
            f"{name} is a file of type {path.suffix!r}, expected a .npz in the MedMNIST layout, a .csv, .tsv or .jsonl of texts, or "
            "a folder of images"
        )
    close = difflib.get_close_matches(str(name), known, n=3, cutoff=0.4) or known[:4]
    raise DataError(
        f"{str(name)!r} is no known domain, and no file or folder either; did you mean {' or '.join(close)}? See catalog()"
    )


def _brought() -> dict[str, importlib.metadata.EntryPoint]:
    """Sources of other packages by name; none replaces one of ours."""
    found = {entry.name: entry for entry in importlib.metadata.entry_points(group="xferlab.domains")}
    return {name: entry for name, entry in found.items() if importlib.util.find_spec(f"{__name__}.{name}") is None}


def _call(name: str, source: str, which: object, options: dict) -> Splits:
    brought = _brought().get(source)
    module = brought.load() if brought else importlib.import_module(f".{source}", __name__)
    takes = dict(inspect.signature(module.load).parameters)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes.values()):
        takes |= inspect.signature(module.OPTIONS).parameters
    names = [name for name, parameter in takes.items() if parameter.kind is parameter.KEYWORD_ONLY]
    if unknown := sorted(set(options) - set(names)):
        raise ArgumentError(f"load({name!r}) has no option {unknown[0]!r}; it takes {', '.join(names)}")
    return module.load(which, **options)


class Entry(NamedTuple):
    """One line of the catalog."""

    name: str
    classes: int
    images: str
    pixels: str
    licence: str
    kind: str  # "real" or "synthetic"
    network: str  # "no", or "yes" where a first use downloads
    cached: str  # "embedded", the sizes that are on this machine, or "no"


class Catalog(list[Entry]):
    """A list of entries that prints as a table."""

    def _rows(self) -> list[list[str]]:
        return [list(Entry._fields), *([str(cell) for cell in entry] for entry in self)]

    def __repr__(self) -> str:
        widths = [max(map(len, column)) for column in zip(*self._rows(), strict=True)]
        lines = ("  ".join(map(str.ljust, row, widths)) for row in self._rows())
        return "\n".join(line.rstrip() for line in lines)

    def _repr_html_(self) -> str:
        rows = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in self._rows()]
        head = rows[0].replace("td>", "th>")
        return f"<table><thead><tr>{head}</tr></thead><tbody><tr>{'</tr><tr>'.join(rows[1:])}</tr></tbody></table>"


def catalog() -> Catalog:
    """What `load` knows by name: classes, size, licence, real or synthetic, whether it needs a network, what is here already.

    The MedMNIST sets are listed where the `medmnist` package (extra `labs`) is installed. Data cards are in `data/`.

    Returns
    -------
    Catalog
        A list of entries that prints as a table.

    Examples
    --------
    >>> [entry.name for entry in xl.catalog()][:2]
    ['cells/site-a', 'cells/site-b']
    """
    from . import medmnist

    listed = Catalog(
        Entry(f"cells/site-{site}", 8, "on demand", "any", "MIT", "synthetic", "no", "embedded") for site in "abc"
    )
    listed.append(Entry("digits/mnist", 10, "5,000", "28", "CC BY-SA 3.0", "real", "no", "embedded"))
    listed.append(Entry("digits/optdigits", 10, "1,797", "28", "CC BY 4.0", "real", "no", "embedded"))
    listed.append(Entry("icd10/descriptions", 18, "41,710 texts", "none", "public domain", "real", "no", "embedded"))
    listed.append(Entry("icd10/inclusion-terms", 18, "11,794 texts", "none", "public domain", "real", "no", "embedded"))
    try:
        records = medmnist.records()
    except MissingExtra:
        return listed
    pixels = ", ".join(map(str, medmnist.SIZES))
    for name, record in records.items():
        sizes = ", ".join(str(size) for size in medmnist.SIZES if medmnist.held(name, size)) or "no"
        images, classes = f"{sum(record['n_samples'].values()):,}", len(record["label"])
        listed.append(Entry(f"medmnist/{name}", classes, images, pixels, record["license"], "real", "yes", sizes))
    return listed
