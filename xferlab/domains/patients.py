"""Which pictures are of one patient: from folders, file names, a pattern or a table, so that none is in two parts."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PurePosixPath

from ..errors import ArgumentError, DataError
from . import tables
from .layout import Place

FEWEST = 10  # folders below the classes: fewer are more likely views or batches than patients
COUNTED = r"([^/]+)[-_ ]+\d+\.\w+$"  # p12_003.png: a stem before a counter


def guess(root: Path, places: list[Place], names: list[str], notes: list[str], known: bool) -> list[str]:
    """The patient of each picture where folders below the classes tell; none and a note where they or the names only hint.

    `names` are the files below `root`. With `known`, patients stand in a table, and are used however few they are.
    """
    folders = {place.patient for place in places if place.patient is not None}
    if len(folders) >= (1 if known else FEWEST):
        what = "patients in the table" if known else "folders below the classes are taken for patients"
        notes.append(f"{root}: {len(folders)} {what}, each kept in one part; groups=False undoes it")
        return [f"/{place.patient}" if place.patient else name for place, name in zip(places, names, strict=True)]
    ids = {place.id for place in places} - {None}
    if (len(ids) > 1 and len(ids) < len(places)) or any(place.frame for place in places):
        notes.append(
            f"{root}: {len(ids)} patients (or studies, or files of several frames) that the files name are each kept in one part; "
            "groups=False undoes it"
        )
        return [place.id or f"/{name}" for place, name in zip(places, names, strict=True)]
    if len(folders) > 1:
        notes.append(
            f"{root}: {len(folders)} folders below the classes ({', '.join(sorted(folders)[:3])}) are too few to be taken for patients, so pictures "
            "are split one by one; if they are patients pass groups='parent', else groups=False"
        )
        return []
    stems = Counter(match[1] for name in names if (match := re.search(COUNTED, name)))
    shared = sum(n for n in stems.values() if n > 1)
    if len(stems) >= FEWEST and 2 * shared > len(places) and max(stems.values()) < len(places) / 4:
        notes.append(
            f"{root}: {shared} of {len(places)} files share {sum(n > 1 for n in stems.values())} stems before a counter, such as "
            f"{stems.most_common(1)[0][0]!r}: if a stem is a patient, pass groups=r'{COUNTED}', else groups=False"
        )
    return []


def named(root: Path, names: list[str], groups: str, notes: list[str]) -> list[str]:
    """The patient (or slide) of each file: from its folder ("parent"), a pattern or a table. Raises as `folders.read` says."""
    if groups == "parent":
        return [str(PurePosixPath(name).parent) for name in names]
    if table := tables.find(root, groups):
        known = tables.column_of([root / name for name in names], table[0], ",".join(table[1]), notes)
        found = [known.get(root / name) for name in names]
    else:
        try:
            pattern = re.compile(groups)
        except re.error as error:
            raise ArgumentError(f"groups={groups!r} is no regular expression ({error})") from error
        if pattern.groups != 1:
            raise ArgumentError(f"groups={groups!r} has {pattern.groups} pairs of brackets, expected one, round the id")
        found = [match and match[1] for match in map(pattern.search, names)]
    if lost := [name for name, patient in zip(names, found, strict=True) if patient is None]:
        raise DataError(f"groups={groups!r} lacks {len(lost)} files, such as {lost[0]}; widen the pattern or add rows")
    return [patient or "" for patient in found]
