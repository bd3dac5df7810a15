"""Folders of image files: a folder per class, with or without train/val/test above them, or one flat folder without labels."""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from pathlib import Path

import torch

from ..errors import ArgumentError, DataError
from . import tables
from .domain import Domain, Splits, cut, split, with_val
from .duplicates import warn_near_duplicates
from .found import Found, remembered
from .intensity import Scale, check
from .layout import arrange, name_classes
from .patients import guess, named
from .pictures import Options, decode_all, is_dicom, tell

SUFFIXES = {f".{end}" for end in "png jpg jpeg jpe jfif tif tiff bmp webp gif jp2 j2k dcm dicom".split()}
OTHERS = {  # what is no picture yet, and what makes pictures of it
    **dict.fromkeys((".nii", ".nii.gz", ".nrrd", ".mha"), "volumes: save their slices as 16-bit PNG, with nibabel say"),
    **dict.fromkeys((".svs", ".ndpi", ".mrxs", ".scn"), "whole slides: cut them into tiles, with OpenSlide say"),
}
LITTER = {"thumbs.db", "desktop.ini", "__macosx"}  # left by file browsers; skipped without a word, as dot files are


def load(path: str | Path, *, seed: int = 0, **options) -> Splits:
    """Splits from a folder; takes the options of `read`, and `seed`.

    With `train/`, `val/` (or `valid/`, `validation/`) and `test/` below `path`, that split is kept; where val is absent, 10 %
    of train is held out by `seed`, with a warning. Else the images are cut 70/10/20 by `seed`, by class and by group. A flat
    folder is cut in the same way and has `labels=None`: adapt to `.train`, look at `.test`, and use `read` to predict on all.
    Near-duplicates across parts are warned about. Raises what `read` raises, and `DataError` when a group is in two parts.
    """
    return divide(find(Path(path), **options), seed)


def divide(found: Found, seed: int = 0) -> Splits:
    """Train, validation and test parts of what was found, as `load` says."""
    path = found.root
    if found.guessed and found.patients and (why := _unfit(found, seed)):
        warnings.warn(f"{path}: {why}; split picture by picture: give groups= to keep each in one part", stacklevel=3)
        found = found._replace(patients=[])
    if any(found.parts):
        for patient, homes in _torn(found).items():  # named here, where their names are known
            both = " and ".join(sorted(homes))
            raise DataError(f"{path}: group {patient!r} is in both {both}; move all its images to one part")
        rows = {part: [row for row, own in enumerate(found.parts) if own == part] for part in sorted(set(found.parts))}
        if missing := sorted({"train", "test"} - rows.keys()):
            raise DataError(
                f"{path} has images in {', '.join(rows)} and none in {' and '.join(missing)}; add them, or move the class folders up"
            )
        splits = with_val(path, {part: found.domain(torch.tensor(its)) for part, its in rows.items()}, seed)
    else:
        splits = split(found.domain(), seed=seed)
    if splits.train.labels is not None and 0 in splits.train.counts():
        absent = [name for name, n in zip(splits.classes, splits.train.counts().tolist(), strict=True) if n == 0]
        warnings.warn(f"{path}: the train part has no image of {', '.join(absent)}", stacklevel=3)
    warn_near_duplicates(splits)
    return splits


def read(path: str | Path, **options) -> tuple[Domain, list[Path]]:
    """All images of a folder as one Domain, and the file of each, in the same order: for `predict`.

    size      pixels a side (64): the longer side is resized to it and the shorter one padded with black, so that nothing is
              cut away and nothing stretched; None keeps images that all have one size
    channels  1 or 3; by default 1 where every image is gray, else 3
    window    `(low, high)` intensities that become 0 and 255, in stored values (DICOM: after rescale slope and intercept).
              By default 8-bit images stay as they are and DICOM uses its own window. For CT also "soft", "lung", "bone" or
              "brain", in Hounsfield units; soft tissue for a CT picture that has no window of its own
    intensity how other pictures of more than 8 bits become 8: "collection" (one scale for all, the default), "image" (from
              the 0.5 to the 99.5 percentile of each, which loses absolute intensities), (low, high), or the Scale of another
              collection, which serves where both use as many bits. DICOM that is no CT
              and has no window is stretched one by one, since its units mean nothing from picture to picture
    groups    which patient or slide an image is of: a regular expression with one group, searched in the path below the
              folder (`r"(patient\\d+)"`), or `"patients.csv:patient"`, a table and its column; the table names files in its
              first column and is looked for in the folder, then as a path; or "parent", the file's folder. By default ten
              folders or more below the classes are patients, else DICOM's PatientID (StudyInstanceUID, where it is always the
              same) tells, and names with a stem before a counter are warned about; False takes every picture for a patient
    classes   a source's class names to number these by, whatever their case, spaces, `_` and `-`; by default the names of the
              class folders, sorted; a dict is taken for `rename`
    rename    class folders to call otherwise, `{"NORMAL": "no finding"}`
    labels    a table of labels instead of class folders, `"labels.csv:image,label"`: the column that names files, with or without
              folders and endings, and the column of the label, or several of zeros and ones (one-hot). The table is looked for in
              the folder, then as a path. Its columns `split` and `patient` are used where it has them; images without a label
              are left out
    layout    what the folders' levels are, "split/class/patient", with "-" for a level without meaning and "" for a flat
              folder; by default it is read from the names, and refused where it can be read in two ways
    frames    "all" takes each frame of a DICOM file, each page of a TIFF, GIF or WebP, as an example, of one group; "one" takes the
              first page and refuses DICOM of several frames
    broken    "raise" a DataError at the first broken image, or "skip" them, with a warning that lists them

    PNG, JPEG, JPEG 2000, WebP, BMP, TIFF and GIF (first page), and DICOM where pydicom is installed (MONOCHROME1 is inverted). Palettes become
     RGB, transparency becomes white, color deeper than 8 bits is reduced to 8. A class folder is searched to any
    depth. One warning lists what is left out: files that are no images, empty folders, links out of the folder. Raises
    `DataError` on a folder without images, with one class, with a class that `classes` lacks, on a broken image or one of
    more than 80 megapixels, `ArgumentError` on an option's value, `MissingExtra` on DICOM without pydicom.
    """
    found = find(Path(path), **options)
    return found.domain(), [found.root / name for name in found.files]


@remembered
def find(
    root: Path,
    *,
    size: int | None = 64,
    channels: int | None = None,
    window: tuple[float, float] | str | None = None,
    intensity: str | tuple | None = None,
    groups: str | bool | None = None,
    classes: Sequence[str] | Mapping[str, str] | None = None,
    rename: Mapping[str, str] | None = None,
    layout: str | None = None,
    labels: str | None = None,
    frames: str = "one",
    broken: str = "raise",
) -> Found:
    """All images of a folder, read once; see `read` for the options and errors."""
    if size is not None and not (isinstance(size, Integral) and 1 <= size <= 4096):
        raise ArgumentError(f"size is {size!r}, expected 1 to 4096 pixels, or None")
    if channels not in (None, 1, 3) or broken not in ("raise", "skip") or frames not in ("one", "all"):
        raise ArgumentError(
            f"channels={channels!r}, broken={broken!r}, frames={frames!r}; expected channels None, 1 or 3, broken 'raise' or "
            "'skip', and frames 'one' or 'all'"
        )
    if isinstance(intensity, (tuple, list)) and len(intensity) == 3:  # as a model file keeps it
        intensity = Scale(*intensity)
    check(window, intensity)
    if not root.is_dir():
        raise DataError(f"{root} is no folder; give a folder of images")
    left_out: dict[str, list] = defaultdict(list)
    notes: list[str] = []
    if isinstance(classes, Mapping):
        rename, classes = {**classes, **(rename or {})}, None
    given = [tables.find(root, name) for name in (groups, labels) if isinstance(name, str)]
    files = _scan(root, left_out, skip={table[0] for table in given if table})
    if not files:
        raise DataError(f"{root} holds no images ({', '.join(sorted(SUFFIXES))}){tell(left_out)}; check the path")
    if layout is not None and labels is not None:
        raise ArgumentError(f"layout={layout!r} and labels={labels!r}: give one; a table has splits in column 'split'")
    try:
        if labels is None:
            places = arrange(root, files, classes, layout, left_out)
        else:
            places = tables.places(root, files, labels, left_out, notes)
        if not places:
            raise DataError(f"{root} has no image that can be used{tell(left_out)}")
        places, classes = name_classes(root, places, classes, dict(rename or {}), notes)
    except DataError as error:
        offer = tables.offer(root, files) if labels is None else ""
        raise DataError(f"{error}{offer}") from error
    if not any(place.label for place in places) and layout is None and (offer := tables.offer(root, files)):
        notes.append(f"{root} has no class folders{offer}")
    how = Options(size, channels, window, intensity, frames)
    places, images, scale = decode_all(places, how, broken, left_out, notes)
    if omitted := tell(left_out):
        notes.insert(0, f"{root}{omitted}")
    below = [place.file.relative_to(root).as_posix() for place in places]
    patients = named(root, below, groups, notes) if isinstance(groups, str) else []
    if groups is None:
        patients = guess(root, places, below, notes, known=labels is not None)
    names = [name + (f"#{place.frame}" if place.frame else "") for name, place in zip(below, places, strict=True)]
    parts = [place.part or "" for place in places]
    numbers = torch.tensor([-1 if place.label is None else classes.index(place.label) for place in places])
    return Found(root, below, names, parts, images, numbers, patients, classes, scale, groups is None, notes)


OPTIONS = find  # what `load` takes beside its own arguments


def _scan(root: Path, left_out: dict[str, list], skip: set[Path]) -> list[Path]:
    """Image files below `root`, sorted; links that leave it are never followed."""
    files, folders, inside, shut = [], [], root.resolve(), left_out["folders that cannot be read"]
    for folder, inner, names in os.walk(root, onerror=lambda error: shut.append(error.filename)):
        start = Path(folder)
        folders.append(start)
        inner[:] = [name for name in inner if not _litter(name)]
        links = [start / name for name in inner if (start / name).is_symlink()]
        left_out["links to folders"] += [link.relative_to(root) for link in links]
        for file in [start / name for name in names if not _litter(name)]:
            if file in skip:
                continue
            if file.is_symlink() and not file.resolve().is_relative_to(inside):
                left_out["links out of the folder"].append(file.relative_to(root))
            elif kind := next((OTHERS[end] for end in OTHERS if file.name.lower().endswith(end)), None):
                left_out[kind].append(file.relative_to(root))
            elif not file.is_file() or (file.suffix.lower() not in SUFFIXES and not _nameless_dicom(file)):
                left_out["files that are no images"].append(file.relative_to(root))
            else:
                files.append(file)
    full = {parent for file in files for parent in file.parents} | {root}
    empty = [folder.relative_to(root) for folder in folders if folder not in full and folder.parent in full]
    left_out["folders without images"] += sorted(empty)
    return sorted(files)


def _litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in LITTER


def _nameless_dicom(file: Path) -> bool:
    """Whether a file without a suffix, or with a number for one, as scanners name them, is DICOM."""
    return (not file.suffix or file.suffix[1:].isdigit()) and is_dicom(file)


def _unfit(found: Found, seed: int) -> str:
    """Why groups that nobody asked for would not serve: a patient in two parts, or a part without a class."""
    if torn := _torn(found):
        first = min(torn).strip("/")
        return f"{len(torn)} patients are in two parts of its own split, such as {first!r}, which makes scores too good"
    if any(found.parts) or (found.labels < 0).any():
        return ""
    everything = found.domain()
    try:
        parts = cut(everything, (0.7, 0.1, 0.2), seed)
    except DataError as error:
        return f"it cannot be split by patient ({error})"
    alone = cut(replace(everything, groups=None), (0.7, 0.1, 0.2), seed)
    held, could = (sum(len(found.labels[rows].unique()) for rows in each) for each in (parts, alone))
    return "split by patient, a part would have no picture of some class" if held < could else ""


def _torn(found: Found) -> dict[str, set[str]]:
    """Patients of which the folder's own split has pictures in two parts, with these."""
    homes = defaultdict(set)
    for patient, part in zip(found.patients, found.parts, strict=False):  # no patients where nobody knows them
        homes[patient].add(part)
    return {patient: parts for patient, parts in homes.items() if len(parts) > 1}
