"""`xferlab look`: how a folder is read, what is in it and how two differ, on one screen and one page, before any training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from ..domains import Domain, Splits, folders
from ..domains.duplicates import pairs
from ..domains.pictures import header
from ..encoders import Classifier, encoder
from ..errors import ArgumentError, DataError, DownloadError, MissingExtra
from ..features import embed
from ..mislabeled import Suspect, held_out_probabilities, suspects
from ..probes import make_deep
from ..storage import write_atomically
from ..transferability import proxy_a_distance
from .reading import noting, read
from .report import Table, page, thumbnail

PROBED = 2000  # pictures that the encoder reads, at most
COMPARED = 20_000  # pictures that are searched for near-duplicates, at most
SHEET, SHOWN, LISTED = 8, 24, 3  # pictures of each class; suspects and pairs on the page, and in a terminal


@dataclass(frozen=True)
class Side:
    """What there is to see of one place.

    Parameters
    ----------
    where
        As it was given.
    domain
        All pictures, with `part` naming the part of each.
    part
        "train", "val" or "test" of each picture, or "" where there are no parts.
    facts
        How it was read, by heading.
    notes
        What was left out, and what else the reader must know.
    repeats
        Near-duplicates, `(row, row)`.
    suspects
        Labels that a probe disagrees with; None where it could not be asked.
    features
        In depth, of the pictures that the encoder read.
    """

    where: str
    domain: Domain
    part: list[str]
    facts: dict[str, str]
    notes: list[str]
    repeats: list[tuple[int, int]]
    suspects: list[Suspect] | None = None
    features: Tensor | None = field(default=None, repr=False)

    def name(self, row: int) -> str:
        """The file of a picture, else its part and number, with its class."""
        file = (
            self.domain.files[row] if self.domain.files else f"{self.part[row]} {row - self.part.index(self.part[row])}"
        )
        return file if self.domain.labels is None else f"{file} ({self.domain.classes[int(self.domain.labels[row])]})"

    @property
    def counts(self) -> Table:
        """Pictures of each class in each part."""
        parts = list(dict.fromkeys(self.part))
        header = ["class", *(part or "pictures" for part in parts), "all", "share"]
        rows = []
        labels = [] if self.domain.labels is None else self.domain.labels.tolist()
        for k, name in enumerate(self.domain.classes if labels else ()):
            mine = Counter(part for part, label in zip(self.part, labels, strict=True) if label == k)
            total = sum(mine.values())
            rows.append([name, *(str(mine[p]) for p in parts), str(total), f"{total / len(self.domain):.0%}"])
        return header, rows

    @property
    def findings(self) -> list[str]:
        """Near-duplicates and suspects in words."""
        found = []
        if self.repeats:
            torn = sum(self.part[a] != self.part[b] for a, b in self.repeats)
            found.append(f"{len(self.repeats)} near-duplicates, {torn} of them across parts")
            if self.domain.labels is not None:
                two = sum(bool(self.domain.labels[a] != self.domain.labels[b]) for a, b in self.repeats)
                found[-1] += f", {two} with two labels" if two else ""
        elif len(self.domain) <= COMPARED:
            found.append("no near-duplicates")
        if self.suspects is not None:
            found.append(f"{len(self.suspects)} labels that a probe on the other pictures disagrees with, and is sure")
        return found


@dataclass(frozen=True)
class Look:
    """One place or two; `print` it, or `to_html`."""

    sides: list[Side]
    differences: Table | None
    distance: str

    def __repr__(self) -> str:
        lines = []
        for side in self.sides:
            lines += [side.where, *(f"  {key:9} {fact}" for key, fact in side.facts.items())]
            lines += [f"  {'found':9} {finding}" for finding in side.findings]
            lines += [f"            {side.name(a)} = {side.name(b)}" for a, b in side.repeats[:LISTED]]
            for one in (side.suspects or [])[:LISTED]:
                lines.append(f"            {side.name(one.row)}: rather {side.domain.classes[one.answer]}?")
            lines += [f"  {'note':9} {note}" for note in side.notes] + [""]
        if self.differences:
            header, rows = self.differences
            widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
            for row in (header, *rows):
                lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
            lines.append(self.distance)
        return "\n".join(lines)

    def to_html(self, path: str | Path) -> Path:
        """Writes the page: the same, with a contact sheet and the pictures that were found (extra `labs`: jinja2)."""
        sheets = []
        for side in self.sides:
            domain, sheet = side.domain, {}
            for k, name in enumerate(domain.classes if domain.labels is not None else ("pictures",)):
                rows = torch.arange(len(domain)) if domain.labels is None else (domain.labels == k).nonzero().squeeze(1)
                step = max(len(rows) // SHEET, 1)  # from all over the folder
                sheet[name] = [(thumbnail(domain.inputs[i]), side.name(i)) for i in rows[::step][:SHEET].tolist()]
            sheets.append(sheet)
        written = page("look.html.j2", look=self, sheets=sheets, shown=SHOWN, thumbnail=thumbnail)
        with write_atomically(path) as temporary:
            temporary.write_text(written, "utf-8")
        return Path(path)


def look(
    source: str | Path,
    target: str | Path | None = None,
    *,
    source_labels: str | None = None,
    target_labels: str | None = None,
    size: int = 96,
    encoder: str | None = "efficientnet_lite0",
    **options,
) -> Look:
    """How one place or two are read, what is in them, and how they differ.

    Labels of both sides are looked at, to find those that may be wrong; nothing is trained that later sees a target.

    Parameters
    ----------
    source, target : str or Path
        Folders of images, `.npz` files or names that `load` knows.
    source_labels, target_labels : str, optional
        Tables of labels, see `folders.read`.
    size : int
        Pixels a side, for folders.
    encoder : str, optional
        Whose features in depth tell suspicious labels and the distance; None for neither.
    options
        Of `folders.read`, for both.

    Returns
    -------
    Look
        `print(look)` is one screen; `look.to_html(path)` a page with pictures.

    Raises
    ------
    DataError
        For what holds no images, and what `load` raises.

    Examples
    --------
    >>> import pathlib, PIL.Image
    >>> for k, picture in enumerate(source.test.inputs[:20, 0].numpy()):
    ...     folder = pathlib.Path("ward", "ill" if k % 2 else "well")
    ...     folder.mkdir(parents=True, exist_ok=True)
    ...     PIL.Image.fromarray(picture).save(folder / f"{k}.png")
    >>> print(xl.look("ward", encoder=None))
    ward...
    """
    places = [(source, source_labels), *([] if target is None else [(target, target_labels)])]
    sides = [_side(str(where), labels, encoder, size=size, **options) for where, labels in places]
    if len(sides) == 1:
        return Look(sides, None, "")
    return Look(sides, _differences(sides), _distance(sides))


def _side(where: str, labels: str | None, name: str | None, **options) -> Side:
    path, scale = Path(where), None
    if path.is_dir():
        if labels is not None:
            options.pop("layout", None)
        found, notes = noting(folders.find, path, labels=labels, **{"broken": "skip"} | options)
        scale, own = found.scale, any(found.parts)
        try:
            splits, more = noting(folders.divide, found)
        except DataError as error:  # too few pictures, or a split without a test part
            splits, more = found.domain(torch.arange(len(found.files))), [str(error)]
        notes += more
    else:
        splits, notes, _ = read(where, **options)
        own = True
    parts = splits.parts() if isinstance(splits, Splits) else {"": splits}
    domain = splits.together() if isinstance(splits, Splits) else splits
    if not domain.is_image:
        raise DataError(f"{where} holds texts; look shows images")
    part = [name for name, held in parts.items() for _ in range(len(held))]
    facts = _facts(domain, parts, own, labels, path, scale)
    facts |= {key: f"{options[key]}, as asked for" for key in ("window", "intensity") if options.get(key)}
    repeats = pairs(domain.inputs) if len(domain) <= COMPARED else []
    side = Side(where, domain, part, facts, notes, repeats)
    return side if name is None else _probed(side, name)


def _facts(
    domain: Domain, parts: dict[str, Domain], own: bool, labels: str | None, path: Path, scale: tuple | None
) -> dict[str, str]:
    """How a place was read, by heading."""
    split = " + ".join(f"{name} {len(part)}" for name, part in parts.items() if name)
    facts = {
        "pictures": f"{len(domain)}, " + (f"{split} ({'its own' if own else 'drawn'} split)" if split else "undivided")
    }
    if domain.labels is None:
        facts["classes"] = "unknown, without labels"
    else:
        counted = ", ".join(f"{name} {n}" for name, n in zip(domain.classes, domain.counts().tolist(), strict=True))
        facts["classes"] = f"{counted}{f', from {labels}' if labels else ''}"
    facts["patients"] = (
        "unknown: pictures are divided one by one"
        if domain.groups is None
        else f"{domain.groups.unique().numel()}, each in one part"
    )
    if domain.files and path.is_dir():
        headers = [found for file in domain.files if (found := header(path / file))]
        sizes = Counter(found.size for found in headers)
        often, n = sizes.most_common(1)[0]
        facts["files"] = _counted(found.kind for found in headers)
        facts["sizes"] = f"{often[0]} x {often[1]} px ({n} of {len(headers)})"
        if len(sizes) > 1:
            low, high = (f"{pick(w for w, _ in sizes)} x {pick(h for _, h in sizes)}" for pick in (min, max))
            facts["sizes"] += f", from {low} to {high}"
        facts["depth"] = _counted(found.depth for found in headers)
    if scale is not None:
        facts["intensity"] = f"{scale[0]:g} to {scale[1]:g} become black to white in pictures of more than 8 bits"
    if domain.synthetic:
        facts["synthetic"] = "rendered, not from patients"
    return facts


def _counted(words) -> str:
    return ", ".join(f"{word} {n}" for word, n in Counter(words).most_common())


def _probed(side: Side, name: str) -> Side:
    """With suspects, and features of a sample of the pictures."""
    rows = torch.randperm(len(side.domain), generator=torch.Generator().manual_seed(0))[:PROBED].sort().values
    domain, notes = side.domain[rows], list(side.notes)
    inputs = domain.inputs.expand(-1, 3, -1, -1) if domain.inputs.shape[1] == 1 else domain.inputs
    domain = Domain(inputs, domain.labels, domain.classes, domain.groups)
    found: list[Suspect] | None = None
    try:
        model = Classifier(encoder(name), domain.classes or ("",))
        make_deep(model)
        features = embed(model, domain)
        if domain.labels is not None and not domain.multilabel:
            p = held_out_probabilities(features, domain.labels, domain.groups)
            found = [one._replace(row=int(rows[one.row])) for one in suspects(p, domain.labels)]
    except (MissingExtra, DownloadError, ArgumentError, DataError) as error:
        notes.append(f"labels were not probed: {error}")
        features = None
    return Side(side.where, side.domain, side.part, side.facts, notes, side.repeats, found, features)


def _differences(sides: Sequence[Side]) -> Table:
    """A row a property: mean and standard deviation over pictures on each side, and the difference in pooled deviations."""
    measured = [_measures(side.domain.inputs) for side in sides]
    rows = []
    for name in [name for name in measured[0] if name in measured[1]]:  # grey pictures have no red
        a, b = (values[name] for values in measured)
        pooled = float(((a.var() + b.var()) / 2).sqrt()) if min(len(a), len(b)) > 1 else 0.0
        gap = f"{float(b.mean() - a.mean()) / pooled:+.1f} deviations" if pooled > 0 else ""
        rows.append([name, *(f"{float(values.mean()):.1f} ({float(values.std()):.1f})" for values in (a, b)), gap])
    sizes = [side.facts.get("sizes", "").split(" (")[0] for side in sides]
    if all(sizes):
        rows.append(["commonest size", *sizes, "" if sizes[0] == sizes[1] else "differs"])
    first, second = (side.domain for side in sides)
    if first.labels is not None and second.labels is not None and set(first.classes) & set(second.classes):
        for name in dict.fromkeys((*first.classes, *second.classes)):
            shares = [
                float(side.counts()[side.classes.index(name)]) / len(side) if name in side.classes else 0.0
                for side in (first, second)
            ]
            rows.append(
                [
                    f"share of {name}",
                    *(f"{share:.0%}" for share in shares),
                    f"{100 * (shares[1] - shares[0]):+.0f} points",
                ]
            )
    return ["mean (deviation) over pictures", *(side.where for side in sides), "difference"], rows


def _measures(inputs: Tensor) -> dict[str, Tensor]:
    """What a picture looks like in a few numbers, each `(N,)`, of grey levels 0 to 255."""
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    pieces: dict[str, list[Tensor]] = {}
    for chunk in inputs.split(256):
        x = chunk.float()
        grey = x.mean(1, keepdim=True)
        values = dict(zip(("red", "green", "blue"), x.mean((2, 3)).T, strict=True)) if x.shape[1] == 3 else {}
        values |= {"brightness": grey.mean((1, 2, 3)), "contrast": grey.std((1, 2, 3))}
        values["sharpness (deviation of the Laplacian)"] = conv2d(grey, kernel).std((1, 2, 3))
        for name, value in values.items():
            pieces.setdefault(name, []).append(value)
    return {name: torch.cat(values) for name, values in pieces.items()}


def _distance(sides: Sequence[Side]) -> str:
    first, second = (side.features for side in sides)
    if first is None or second is None:
        return "Proxy A-distance: not measured, see the notes."
    value = proxy_a_distance(source=first, target=second, seed=0)
    easily = (
        "cannot be told apart"
        if value < 0.5
        else "can partly be told apart"
        if value < 1.5
        else "are told apart at a glance"
    )
    return f"Proxy A-distance {value:.2f} of 2: the two {easily} by a linear probe on the encoder's features."
