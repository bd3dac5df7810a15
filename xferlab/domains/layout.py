"""What the levels of a folder mean: which folder is a split, which a class, which a patient, which a zip's own name."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import ArgumentError, DataError

PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "development"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
FILLERS = {"", "seg", "data", "images", "imgs", "split", "part"}  # beside a split's name, as in seg_train or test_set
LEVELS = ("split", "class", "patient", "-")


class Place(NamedTuple):
    """Where a file lies; part, label and patient are None where no folder says. `frame` is its number, from 1, where a file has
    several; `id` is what the file itself says of its patient."""

    file: Path
    part: str | None
    label: str | None
    patient: str | None
    frame: int | None = None
    id: str | None = None


def part_of(name: str) -> str | None:
    """ "train", "val" or "test" for a folder that is named as splits are (`Training`, `seg_train`, `test-set`), else None."""
    words = [word.removesuffix("set") for word in re.split(r"[\W_]+", name.casefold())]
    words = [word for word in words if word not in FILLERS]
    return PARTS.get(words[0]) if len(words) == 1 else None


def same_name(name: str) -> str:
    """What two spellings of a class name share: case, and spaces, `_` and `-` inside it, do not count."""
    return re.sub(r"(?<=\w)[\s_-]+(?=\w)", "", name.strip().casefold())


def arrange(
    root: Path, files: list[Path], classes: Sequence[str] | None, layout: str | None, left_out: dict[str, list]
) -> list[Place]:
    """The place of each file, by `layout` or by what the folders' names say; files that have none are counted in `left_out`.

    Raises
    ------
    DataError
        Where the folders can be read in two ways.
    ArgumentError
        For a layout that is none.
    """
    below = [file.relative_to(root).parts for file in files]
    levels = _levels(root, below, classes or ()) if layout is None else [level for level in layout.split("/") if level]
    if unknown := sorted(set(levels) - set(LEVELS)) or [x for x in LEVELS[:3] if levels.count(x) > 1]:
        raise ArgumentError(f"layout={layout!r} has {unknown}; expected some of split/class/patient, each once, or -")
    placed = []
    for file, steps in zip(files, below, strict=True):
        found = dict(zip(levels, steps[:-1], strict=False))
        part = part_of(found.get("split", ""))
        if "split" in levels and part is None:
            left_out["images outside the train, val and test folders"].append(file.relative_to(root))
            continue
        deeper = steps[len(levels)] if "class" in found and len(steps) > len(levels) + 1 else None
        placed.append(Place(file, part, found.get("class"), found.get("patient", deeper)))
    with_classes = {place.part for place in placed if place.label is not None}
    loose = [place for place in placed if place.label is None and place.part in with_classes]
    left_out["images beside the class folders"] += [place.file.relative_to(root) for place in loose]
    return [place for place in placed if place.label is not None or place.part not in with_classes]


def _levels(root: Path, below: list[tuple[str, ...]], classes: Sequence[str]) -> list[str]:
    """The levels from the top down to the class; none for a flat folder."""
    levels: list[str] = []
    wanted = {same_name(name) for name in classes}
    while True:
        inner: dict[str, set[str]] = defaultdict(set)
        deep = {steps[0] for steps in below if len(steps) > 3}
        for steps in below:
            if len(steps) > 1:
                inner[steps[0]].update(steps[1:2] if len(steps) > 2 else ())
        parts = {name: part for name in inner if (part := part_of(name))} if "split" not in levels else {}
        split = parts and (
            len(parts) == len(inner)
            or len(set(parts.values())) > 1
            or any(part == "train" and inner[name] for name, part in parts.items())
        )
        if not inner:
            return levels
        # a zip's own name, say: as the one class it could not be read at all
        alone = len(inner) == 1 and inner[next(iter(inner))] and not _any_of(wanted, inner)
        if split or alone:
            levels.append("split" if split else "-")
            below = [steps[1:] for steps in below if len(steps) > 1 and (not split or steps[0] in parts)]
            continue
        names = Counter(name for folders in inner.values() for name in folders)
        if "split" not in levels and not deep and len(inner) > 1 and len(names) > 1 and all(map(part_of, names)):
            return [*levels, "class", "split"]
        _refuse_two_readings(root, levels, inner, names, wanted)
        alike = len(inner) > 1 and sum(n > 1 for n in names.values()) > 1
        if alike and _any_of(wanted, names) and not _any_of(wanted, inner):
            levels.append("-")  # sites, since the source's classes are named below them
        return [*levels, "class"]


def _any_of(wanted: set[str], names: Iterable[str]) -> bool:
    return any(same_name(name) in wanted for name in names)


def _refuse_two_readings(
    root: Path, levels: list[str], inner: dict[str, set[str]], names: Counter[str], wanted: set[str]
) -> None:
    """Raises where the folders of a level hold folders of the same names, unless the classes that are wanted decide it."""
    shared = sorted(name for name, n in names.items() if n > 1)
    held = sorted(name for name, folders in inner.items() if sum(part_of(step) is not None for step in folders) > 1)
    if held:
        raise DataError(
            f"{root}: {held[:4]} have train and test folders in them and stand beside "
            f"{sorted(inner)[:4]}; load one of them, or pass layout= such as '-/split/class' or 'class/split/patient'"
        )
    few = len(inner) < 2 or len(shared) < 2 or 2 * len(shared) <= len(names)
    if few or _any_of(wanted, inner) != _any_of(wanted, shared):
        return
    above = "".join(f"{level}/" for level in levels)
    raise DataError(
        f"{root} can be read in two ways, since its folders {sorted(inner)[:6]} hold folders of the same names, {shared[:6]}. If "
        f"{shared[:3]} are the classes of each site, pass layout='{above}-/class'; if {sorted(inner)[:3]} are the classes and "
        f"those in them patients or views, pass layout='{above}class/patient' or '{above}class/-'; name a split's folders train, val and test"
    )


def name_classes(
    root: Path, places: list[Place], classes: Sequence[str] | None, rename: dict[str, str], notes: list[str]
) -> tuple[list[Place], tuple[str, ...]]:
    """The places with labels as they are spelled in `classes`, where these are given, and the names of all classes."""
    import difflib

    seen = sorted({place.label for place in places if place.label is not None})
    if unused := sorted(set(rename) - set(seen)):
        notes.append(f"{root}: classes= maps {unused}, which are no classes here; it has {seen}")
    spelled = {name: rename.get(name, name) for name in seen}
    together = defaultdict(set)
    for place in places:
        together[place.part].add(place.label)
    known = list(classes or ())
    for name in [] if classes is not None else seen:  # train/NORMAL and test/normal are one class
        same = [k for k in known if same_name(k) == same_name(spelled[name])]
        if same and not any({k, name} <= names for k in same for names in together.values()):
            continue
        known.append(spelled[name])
    for name, own in spelled.items():
        if own not in known and (same := [k for k in known if same_name(k) == same_name(own)]):
            spelled[name] = same[0]
            notes.append(f"{root}: class {name!r} is taken for {same[0]!r}")
    if classes is None and len(set(known)) == 1:
        folder = next((p for place in places for p in place.file.parents if p.name == seen[0]), None)
        load = f", or load {folder} itself, as unlabeled images or if the class folders are in it" if folder else ""
        raise DataError(f"{root} has the one class {seen[0]!r}, expected two or more; add another, pass classes={load}")
    if classes is not None and (lacking := [name for name, own in spelled.items() if own not in known]):
        near = {name: difflib.get_close_matches(spelled[name], known, 1, 0.5) for name in lacking}
        close = "".join(f"; is {name!r} the source's {found[0]!r}?" for name, found in near.items() if found)
        example = {lacking[0]: (near[lacking[0]] or known or ["..."])[0]}
        raise DataError(
            f"{root} has classes {lacking} that the source lacks (it has {known}){close}; rename or remove them, map them "
            f"(--map), such as rename={example}, or pass layout='patient' if they are folders of patients"
        )
    names = tuple(dict.fromkeys(known)) if classes is not None else tuple(sorted(set(known)))
    return [place._replace(label=place.label and spelled[place.label]) for place in places], names


def numbers(what: str, labels: Sequence[str], classes: Sequence[str] | None) -> tuple[Tensor, tuple[str, ...]]:
    """Labels as int64 `(N,)` into `classes` (by default those that occur, sorted), and these. Raises `DataError`, which begins with
    `what`, for one that `classes` lacks."""
    names = tuple(map(str, classes)) if classes is not None else tuple(sorted(set(labels)))
    order = {name: i for i, name in enumerate(names)}
    if lacking := sorted(set(labels) - set(names)):
        raise DataError(f"{what} has labels {lacking} that classes lack ({list(names)}); rename or drop them")
    return torch.tensor([order[label] for label in labels]), names
