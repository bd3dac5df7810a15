"""`xferlab look`: how a folder is read, what is in it and how two differ, on one screen and one page, before any training."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from ..domains import Domain, Splits, folders
from ..domains.duplicates import pairs
from ..domains.pictures import header
from ..domains.texts import FILES as TABLES
from ..encoders import Classifier, encoder
from ..errors import ArgumentError, DataError, DownloadError, MissingExtra
from ..features import embed
from ..mislabeled import Suspect, held_out_probabilities, suspects
from ..probes import make_deep
from ..storage import write_text
from ..text import decode
from ..transferability import proxy_a_distance
from .reading import noting, read
from .report import Table, page, thumbnail

PROBED = 2000  # pictures that the encoder reads, at most
COMPARED = 20_000  # pictures that are searched for near-duplicates, at most
SHEET, SHOWN, LISTED = 8, 24, 3  # pictures of each class; suspects and pairs on the page, and in a terminal
WORDS = 5  # of each class that tell it


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
    texts
        As the encoder reads them, without the case and the accents; of pictures none.
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
    texts: list[str]
    suspects: list[Suspect] | None = None
    features: Tensor | None = field(default=None, repr=False)

    def name(self, row: int) -> str:
        """The file of a picture, else its part and number, with its class."""
        file = (
            self.domain.files[row] if self.domain.files else f"{self.part[row]} {row - self.part.index(self.part[row])}"
        )
        file = file if self.domain.labels is None else f"{file} ({self.domain.classes[int(self.domain.labels[row])]})"
        return f"{file}: {textwrap.shorten(self.texts[row], 90)}" if self.texts else file

    @property
    def kind(self) -> str:
        return "texts" if self.texts else "pictures"

    @property
    def counts(self) -> Table:
        """Pictures of each class in each part."""
        parts = list(dict.fromkeys(self.part))
        header = ["class", *(part or self.kind for part in parts), "all", "share"]
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
            found.append(
                f"{len(self.suspects)} labels that a probe on the other {self.kind} disagrees with, and is sure"
            )
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
            lines += ["  ".join(map(str.ljust, row, widths)).rstrip() for row in (header, *rows)]
            lines.append(self.distance)
        return "\n".join(lines)

    def to_html(self, path: str | Path) -> Path:
        """Writes the page: the same, with a contact sheet and the pictures that were found (extra `labs`: jinja2)."""
        sheets = []
        for side in self.sides:
            domain, sheet = side.domain, {}
            for k, name in enumerate(domain.classes if domain.labels is not None else (side.kind,)):
                rows = torch.arange(len(domain)) if domain.labels is None else (domain.labels == k).nonzero().squeeze(1)
                step = max(len(rows) // SHEET, 1)  # from all over the folder
                sheet[name] = [(thumbnail(domain.inputs[i]), side.name(i)) for i in rows[::step][:SHEET].tolist()]
            sheets.append(sheet)
        written = page("look.html.j2", look=self, sheets=sheets, shown=SHOWN, thumbnail=thumbnail)
        write_text(path, written)
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
        Folders of images, `.npz` files, tables of texts or names that `load` knows.
    source_labels, target_labels : str, optional
        Tables of labels, see `folders.read`.
    size : int
        Pixels a side, for folders.
    encoder : str, optional
        Whose features in depth tell suspicious labels and the distance, "minilm"'s for texts; None for neither.
    options
        Of `folders.read` or `texts.from_rows`, for both.

    Returns
    -------
    Look
        `print(look)` is one screen; `look.to_html(path)` a page with pictures.

    Raises
    ------
    DataError
        For texts on one side and images on the other, and what `load` raises.

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
        others = {"text_column", "label_column"} | ({"layout"} if labels is not None else set())
        own_options = {key: value for key, value in options.items() if key not in others}
        found, notes = noting(folders.find, path, labels=labels, **{"broken": "skip"} | own_options)
        scale, own = found.scale, any(found.parts)
        try:
            splits, more = noting(folders.divide, found)
        except DataError as error:  # too few pictures, or a split without a test part
            splits, more = found.domain(), [str(error)]
        notes += more
    else:
        splits, notes, _ = read(where, **options)
        own = path.suffix.lower() not in TABLES
    parts = splits.parts() if isinstance(splits, Splits) else {"": splits}
    domain = splits.together() if isinstance(splits, Splits) else splits
    part = [name for name, held in parts.items() for _ in range(len(held))]
    texts = [] if domain.is_image else decode(domain.inputs)
    facts = _facts(domain, parts, own, labels, path, scale) | _words(domain, texts)
    facts |= {key: f"{options[key]}, as asked for" for key in ("window", "intensity") if options.get(key)}
    same = _same(texts) if texts else pairs(domain.inputs) if len(domain) <= COMPARED else []
    side = Side(where, domain, part, facts, notes, same, texts)
    return side if name is None else _probed(side, name)


def _same(texts: list[str]) -> list[tuple[int, int]]:
    """Texts of the same words as an earlier one: its row, and theirs."""
    first: dict[str, int] = {}
    words = [" ".join(re.findall(r"\w+", text)) for text in texts]
    return [(first[one], row) for row, one in enumerate(words) if first.setdefault(one, row) != row]


def _words(domain: Domain, texts: list[str]) -> dict[str, str]:
    """How long texts are, and which words tell their classes, by heading."""
    if not texts:
        return {}
    counts = sorted(len(text.split()) for text in texts)
    facts = {"length": f"{counts[0]} to {counts[-1]} words, {counts[len(counts) // 2]} in the middle"}
    if domain.labels is not None and not domain.multilabel:
        told = _telling(texts, domain.labels, len(domain.classes))
        facts["telling"] = "; ".join(f"{name}: {words}" for name, words in zip(domain.classes, told, strict=True))
    return facts


def _telling(texts: list[str], labels: Tensor, classes: int) -> list[str]:
    """The words of each class that its texts hold most often beyond the other texts, with commas between."""
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(binary=True, token_pattern=r"(?u)\b[^\W\d]\w+\b")
    try:
        held = counter.fit_transform(texts)
    except ValueError:  # no words at all
        return [""] * classes
    words, found = counter.get_feature_names_out(), []
    for k in range(classes):
        mine = (labels == k).numpy()
        more = np.zeros(len(words))
        if mine.any() and not mine.all():
            more = np.asarray(held[mine].mean(0) - held[~mine].mean(0)).ravel()
        found.append(", ".join(words[i] for i in (-more).argsort(kind="stable")[:WORDS] if more[i] > 0.05))
    return found


def _facts(
    domain: Domain, parts: dict[str, Domain], own: bool, labels: str | None, path: Path, scale: tuple | None
) -> dict[str, str]:
    """How a place was read, by heading."""
    split = " + ".join(f"{name} {len(part)}" for name, part in parts.items() if name)
    facts = {
        ("pictures" if domain.is_image else "texts"): f"{len(domain)}, "
        + (f"{split} ({'its own' if own else 'drawn'} split)" if split else "undivided")
    }
    if domain.labels is None:
        facts["classes"] = "unknown, without labels"
    else:
        counted = ", ".join(f"{name} {n}" for name, n in zip(domain.classes, domain.counts().tolist(), strict=True))
        facts["classes"] = f"{counted}{f', from {labels}' if labels else ''}"
    facts["patients"] = (
        "unknown: each is divided by itself"
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
    if domain.is_image and domain.inputs.shape[1] == 1:
        domain = replace(domain, inputs=domain.inputs.expand(-1, 3, -1, -1))
    found: list[Suspect] | None = None
    try:
        model = Classifier(encoder(name if domain.is_image else "minilm"), domain.classes or ("",))
        if domain.is_image:
            make_deep(model)
        features = embed(model, domain)
        if domain.labels is not None and not domain.multilabel:
            p = held_out_probabilities(features, domain.labels, domain.groups)
            found = [one._replace(row=int(rows[one.row])) for one in suspects(p, domain.labels)]
    except (MissingExtra, DownloadError, ArgumentError, DataError) as error:
        notes.append(f"labels were not probed: {error}")
        features = None
    return replace(side, notes=notes, suspects=found, features=features)


def _differences(sides: Sequence[Side]) -> Table:
    """A row a property: mean and standard deviation over pictures on each side, and the difference in pooled deviations."""
    if len({side.kind for side in sides}) > 1:
        raise DataError(
            f"{sides[0].where} holds {sides[0].kind} and {sides[1].where} {sides[1].kind}; look at each by itself"
        )
    texts = [text for side in sides for text in side.texts]
    lengths = [torch.tensor([float(len(text.split())) for text in side.texts]) for side in sides]
    measured = [{"words": n} for n in lengths] if texts else [_measures(side.domain.inputs) for side in sides]
    rows = []
    if texts:
        whose = torch.arange(2).repeat_interleave(torch.tensor([len(side.texts) for side in sides]))
        rows.append(["words more often used", *_telling(texts, whose, 2), ""])
    for name in [name for name in measured[0] if name in measured[1]]:  # gray pictures have no red
        a, b = (values[name] for values in measured)
        pooled = float(((a.var() + b.var()) / 2).sqrt()) if min(len(a), len(b)) > 1 else 0.0
        gap = f"{float(b.mean() - a.mean()) / pooled:+.1f} deviations" if pooled > 0 else ""
        rows.append([name, *(f"{float(values.mean()):.1f} ({float(values.std()):.1f})" for values in (a, b)), gap])
    sizes = [side.facts.get("sizes", "").split(" (")[0] for side in sides]
    if all(sizes):
        rows.append(["commonest size", *sizes, "" if sizes[0] == sizes[1] else "differs"])
    first, second = (side.domain for side in sides)
    if first.labels is not None and second.labels is not None and set(first.classes) & set(second.classes):
        shares = [
            dict(zip(side.classes, (side.counts() / len(side)).tolist(), strict=True)) for side in (first, second)
        ]
        for name in shares[0] | shares[1]:
            a, b = (share.get(name, 0.0) for share in shares)
            rows.append([f"share of {name}", f"{a:.0%}", f"{b:.0%}", f"{100 * (b - a):+.0f} points"])
    return [f"mean (deviation) over {sides[0].kind}", *(side.where for side in sides), "difference"], rows


def _measures(inputs: Tensor) -> dict[str, Tensor]:
    """What a picture looks like in a few numbers, each `(N,)`, of gray levels 0 to 255."""
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    pieces: dict[str, list[Tensor]] = {}
    for chunk in inputs.split(256):
        x = chunk.float()
        gray = x.mean(1, keepdim=True)
        values = dict(zip(("red", "green", "blue"), x.mean((2, 3)).T, strict=True)) if x.shape[1] == 3 else {}
        values |= {"brightness": gray.mean((1, 2, 3)), "contrast": gray.std((1, 2, 3))}
        values["sharpness (deviation of the Laplacian)"] = conv2d(gray, kernel).std((1, 2, 3))
        for name, value in values.items():
            pieces.setdefault(name, []).append(value)
    return {name: torch.cat(values) for name, values in pieces.items()}


def _distance(sides: Sequence[Side]) -> str:
    first, second = (side.features for side in sides)
    if first is None or second is None:
        return "Proxy A-distance: not measured, see the notes."
    value = proxy_a_distance(source=first, target=second, seed=0)
    easily = "cannot be" if value < 0.5 else "can partly be" if value < 1.5 else "are easily"
    return (
        f"Proxy A-distance {value:.2f} of 2: the two {easily} told apart by a linear probe on the encoder's features."
    )
