"""What `xferlab compare` and `xferlab predict` read: folders, `.npz` files and named sets, and what is to be said of them."""

import inspect
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..domains import Domain, Splits, arrays, folders, tables, texts
from ..domains import load as load_domain
from ..domains.found import Found
from ..domains.intensity import Scale
from ..domains.layout import same_name
from ..domains.sites import pooled
from ..errors import DataError
from . import labeling


@dataclass(frozen=True)
class Sides:
    """Both sides of a comparison.

    Parameters
    ----------
    source
        Labeled Splits.
    target
        Splits whose test labels make the oracle's columns, or one unlabeled Domain.
    labeled
        The few target images with labels, or None.
    notes
        What the reader must know: images left out, near-duplicates, parts that were cut.
    scale
        The intensities that became black and white in the source's pictures of more than 8 bits, or None.
    """

    source: Splits
    target: Splits | Domain
    labeled: Domain | None
    notes: list[str]
    scale: Scale | None = None

    @property
    def adapt(self) -> Domain:
        """The target's images to adapt to, without labels."""
        return self.target if isinstance(self.target, Domain) else self.target.train.unlabeled()

    @property
    def kind(self) -> str:
        return "images" if self.adapt.is_image else "texts"

    def describe(self, source: Sequence[str], target: str) -> list[str]:
        """Lines for a terminal: what was found where."""
        parts = " + ".join(str(len(part)) for part in self.source.parts().values())
        lines = [f"source  {' + '.join(source)}: {parts} {self.kind} to train, validate and test"]
        lines.append(f"        training {self.kind} of each class: {counted(self.source.train)}")
        known = "without labels"
        if isinstance(self.target, Splits):
            known = f"to adapt to, {len(self.target.test)} with labels for the oracle alone"
        lines.append(f"target  {target}: {len(self.adapt)} {self.kind} {known}")
        if self.labeled is not None:
            lines.append(f"        {len(self.labeled)} labeled target {self.kind}")
        return lines + [f"note    {note}" for note in self.notes]


def read_sides(
    source: Sequence[str],
    target: str,
    labeled: str | None,
    *,
    source_labels: str | None = None,
    target_labels: str | None = None,
    rename: dict[str, str] | None = None,
    **options,
) -> Sides:
    """Reads the source first, or the first of several: its classes and channels are what the target's are held against.

    Parameters
    ----------
    source, target
        Paths or names; of several sources each keeps its name, see `domains.sites.pooled`.
    labeled
        The few target images with labels: a folder, a `.npz`, a table of texts, or a table that names them, `table.csv:image,label`.
    source_labels, target_labels
        Tables of labels for folders, see `folders.read`.
    rename
        The target's class names to the source's.
    options
        For both sides, those of `read`.
    """
    found: dict[str, Splits] = {}
    with warnings.catch_warnings(record=True, action="always") as caught:
        for where in source:
            splits, scale = read(where, labels=source_labels, **options)
            if not isinstance(splits, Splits) or splits.train.labels is None:
                hint = "".join(f"; {note}" for note in words(caught) if "--source-labels" in note)
                raise DataError(
                    f"{where} has no class folders, and a source needs labels: one folder a class, named after it, or a table{hint}"
                )
            if not found:
                shape = dict(classes=splits.classes, channels=splits.train.inputs.shape[1], rename=rename)
                options, first = {"intensity": scale} | options | shape, scale
            alike = len({Path(one).name for one in source}) < len(source)
            found[where if alike else Path(where).name] = splits
        everything = pooled(found) if len(source) > 1 else next(iter(found.values()))
        other, _ = read(target, labels=target_labels, **options)
        few: Domain | None = None
        table = None if labeled is None else tables.find(Path(target), labeled)
        # a table of texts without columns holds texts and their labels
        if table and (table[1] or everything.train.is_image):
            few = labeling.read(table[0], other, everything.classes, table[1], rename)
        elif labeled is not None:
            left = {key: value for key, value in options.items() if key not in ("augmentation", "groups", "layout")}
            one, _ = read(labeled, whole=True, **left)
            if isinstance(one, Splits) or one.labels is None:
                raise DataError(f"{labeled} has no labels; --labeled needs one folder a class, named as the source's")
            few = one
    return Sides(everything, other, few, words(caught), first)


def counted(domain: Domain) -> str:
    """How many examples of each class there are."""
    return ", ".join(f"{name} {n}" for name, n in zip(domain.classes, domain.counts().tolist(), strict=True))


def words(caught: list[warnings.WarningMessage]) -> list[str]:
    """What was warned of."""
    return [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]


def read(
    where: str, *, labels: str | None = None, augmentation: str | None = None, whole: bool = False, **options
) -> tuple[Splits | Domain, Scale | None]:
    """Splits of a folder, a table of texts, a `.npz` or a named set, and the scale of a folder's intensities.

    Parameters
    ----------
    where
        A path or a name.
    labels
        A table of labels, for folders.
    augmentation
        What leaves the class of an image as it is, see `Domain`.
    whole
        A folder is not divided, but read as one Domain.
    options
        Those that any of the kinds takes; a kind gets the ones it knows. With `classes`, the source's, a target is
        read: one Domain where it has no labels, since all of it is there to adapt to.
    """
    path, known = Path(where), options.get("classes")
    if path.is_dir():
        found = find_pictures(path, labels, **options)
        if whole or (known is not None and (found.labels < 0).any()):
            return replace(found.domain(), augmentation=augmentation or ""), found.scale
        return folders.divide(found).augmented(augmentation or ""), found.scale
    readers = {".npz": arrays.load} | dict.fromkeys(texts.FILES, texts.from_rows)
    taken = _known(readers.get(path.suffix.lower(), lambda: None), {"broken": "skip"} | options)
    splits = load_domain(path if path.exists() else where, augmentation=augmentation, **taken)
    return splits.together() if whole or (splits.train.labels is None and known is not None) else splits, None


def find_pictures(path: Path, labels: str | None, **options) -> Found:
    """What a folder holds, see `folders.find`, which is given the options that it knows."""
    own = {"labels": labels} if labels is None else {"labels": labels, "layout": None}  # the layout is the other side's
    return folders.find(path, **_known(folders.find, {"broken": "skip"} | options | own))


def _known(reader: Callable, options: dict) -> dict:
    """Those of the options that a reader knows."""
    return {key: value for key, value in options.items() if key in inspect.signature(reader).parameters}


def read_pictures(
    where: str, *, classes: tuple[str, ...], labels: str | None = None, **options
) -> tuple[Domain, list[str], dict[int, int]]:
    """Every image of a folder, whatever its folders are called, or of a `.npz`, or every text of a table; what was left out; and the
    class of those rows where it is known. The files of the Domain are names, of pictures in a `.npz` too.

    `labels` is a table that has the classes of some of a folder's images, as in `folders.read`; without it they are told by the
    folders, where each image lies in one that is named as a class is. `options` are those of `folders.read`, and for texts
    `text_column`.
    """
    path, column = Path(where), options.pop("text_column", "text")
    if labels is not None and not path.is_dir():
        raise DataError(f"{where} is no folder of images, whose classes the table {labels} could tell")
    if path.suffix.lower() in texts.FILES and path.is_file():
        with warnings.catch_warnings(record=True, action="always") as caught:
            domain = texts.read(path, text_column=column, label_column=None, broken="skip")
        return domain, [note for note in words(caught) if "left out" in note], {}
    if path.is_dir():
        with warnings.catch_warnings(action="ignore"):
            domain, files = folders.read(path, layout="", groups=False, frames="all", broken="skip", **options)
        number = {same_name(name): k for k, name in enumerate(classes)}
        present = {file for file in path.rglob("*") if file.is_file() and not file.name.startswith(".")}
        if labels is not None:
            each = tables.places(path, list(dict.fromkeys(files)), labels, defaultdict(list), [])
            known = {place.file: str(place.label) for place in each}
            if lacking := sorted({name for name in known.values() if same_name(name) not in number}):
                raise DataError(f"{labels} has classes {lacking} that the model lacks ({list(classes)}); rename them")
            truth = {row: number[same_name(known[file])] for row, file in enumerate(files) if file in known}
            present -= {path / labels.partition(":")[0]}
        else:
            steps = [map(same_name, file.relative_to(path).parts[:-1]) for file in files]
            named = [{number[name] for name in names if name in number} for names in steps]
            truth = {}
            if all(len(found) == 1 for found in named):
                truth = {row: found.pop() for row, found in enumerate(named)}
        omitted = [file.relative_to(path).as_posix() for file in sorted(present - set(files))]
        return domain, omitted, truth
    if path.suffix.lower() == ".npz" and path.is_file():
        splits = load_domain(path, classes=classes)
        names = tuple(f"{name}/{i}" for name, part in splits.parts().items() for i in range(len(part)))
        return replace(splits.together(), labels=None, files=names), [], {}
    raise DataError(f"{where} is neither a folder of images nor a .npz file or a table of texts; check --input")
