"""`xferlab look`: how a folder is read, what is in it and how two differ, on one screen and one page, before any training."""

import inspect
import itertools
import re
import textwrap
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from ..domains import Domain, Splits, folders
from ..domains.duplicates import pairs
from ..domains.found import Found
from ..domains.pictures import header
from ..domains.texts import FILES as TABLES
from ..domains.texts import from_rows
from ..encoders import Classifier, encoder
from ..errors import ArgumentError, DataError, DownloadError, MissingExtra
from ..features import embed
from ..mislabeled import Suspect, held_out_probabilities, suspects
from ..probes import make_deep
from ..text import decode
from ..transferability import proxy_a_distance
from .reading import counted, find_pictures, read, words
from .report import Table, aligned, page, thumbnail

PROBED = 2000  # pictures that the encoder reads, at most
COMPARED = 20_000  # pictures that are searched for near-duplicates, at most
SHEET, SHOWN, LISTED = 8, 24, 3  # pictures of each class; suspects and pairs on the page, and in a terminal
WORDS = 5  # of each class that tell it
OPTIONS = {
    name
    for reader in (folders.find, from_rows)
    for name, given in inspect.signature(reader).parameters.items()
    if given.kind is given.KEYWORD_ONLY and name != "labels"  # each side has its own
}


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
    members
        Whether each picture is of each class, `(N, K)`; of no class `(N, 0)` where there are no labels.
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
    members: Tensor
    facts: dict[str, str]
    notes: list[str]
    repeats: list[tuple[int, int]]
    texts: list[str]
    suspects: list[Suspect] | None
    features: Tensor | None = field(repr=False)

    def name(self, row: int) -> str:
        """The file of a picture, else its part and number, with its class."""
        part = self.part[row]
        file = self.domain.files[row] if self.domain.files else f"{part} {row - self.part.index(part)}"
        if own := [self.domain.classes[k] for k in self.members[row].nonzero().flatten().tolist()]:
            file += f" ({', '.join(own)})"
        return f"{file}: {textwrap.shorten(self.texts[row], 90)}" if self.texts else file

    @property
    def kind(self) -> str:
        return "texts" if self.texts else "pictures"

    @property
    def counts(self) -> Table:
        """Pictures of each class in each part."""
        parts, rows = list(dict.fromkeys(self.part)), []
        for name, members in zip(self.domain.classes, self.members.T.tolist(), strict=False):
            mine = Counter(itertools.compress(self.part, members))
            share = f"{mine.total() / len(self.domain):.0%}"
            rows.append([name, *(str(mine[part]) for part in parts), str(mine.total()), share])
        return ["class", *(part or self.kind for part in parts), "all", "share"], rows

    @property
    def shares(self) -> dict[str, float]:
        """The share of each class; none where there are no labels."""
        return dict(zip(self.domain.classes, self.members.float().mean(0).tolist(), strict=False))

    @property
    def findings(self) -> list[str]:
        """Near-duplicates and suspects in words."""
        found = []
        if self.repeats:
            torn = sum(self.part[a] != self.part[b] for a, b in self.repeats)
            two = sum(not self.members[a].equal(self.members[b]) for a, b in self.repeats)
            found.append(f"{len(self.repeats)} near-duplicates, {torn} of them across parts")
            found[-1] += f", {two} with two labels" if two else ""
        elif len(self.domain) <= COMPARED:
            found.append("no near-duplicates")
        if self.suspects is not None:
            wrong = f"{len(self.suspects)} labels that a probe on the other {self.kind} disagrees with"
            found.append(f"{wrong}, and is sure")
        return found


@dataclass(frozen=True)
class Look:
    """One place or two; `print` it, or `to_html`."""

    sides: list[Side]
    differences: Table | None = None
    distance: str = ""

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
            lines += [*aligned(self.differences), self.distance]
        return "\n".join(lines)

    def to_html(self, path: str | Path) -> Path:
        """Writes the page: the same, with a contact sheet and the pictures that were found (extra `labs`: jinja2)."""
        sheets = []
        for side in self.sides:
            sheet, everything = {}, {side.kind: torch.ones(len(side.domain))}
            classes = dict(zip(side.domain.classes, side.members.T, strict=False))
            for name, members in (classes or everything).items():
                rows = members.nonzero().squeeze(1)
                some = rows[:: max(len(rows) // SHEET, 1)][:SHEET].tolist()  # from all over the folder
                sheet[name] = [(thumbnail(side.domain.inputs[i]), side.name(i)) for i in some]
            sheets.append(sheet)
        return page("look.html.j2", path, look=self, sheets=sheets, shown=SHOWN, thumbnail=thumbnail)


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
    ArgumentError
        For an option that neither of these takes.
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
    if unknown := options.keys() - OPTIONS:
        raise ArgumentError(f"look has no option {min(unknown)!r}; there are {', '.join(sorted(OPTIONS))}")
    options |= {"size": size}
    first = _side(str(source), source_labels, encoder, options)
    if target is None:
        return Look([first])
    second = _side(str(target), target_labels, encoder, options)
    return Look([first, second], _differences(first, second), _distance(first, second))


def _side(where: str, labels: str | None, name: str | None, options: dict) -> Side:
    found, undivided = None, []
    with warnings.catch_warnings(record=True, action="always") as caught:
        if Path(where).is_dir():
            found = find_pictures(Path(where), labels, **options)
            try:
                splits: Splits | Domain = folders.divide(found)
            except DataError as error:  # too few pictures, or a split without a test part
                splits, undivided = found.domain(), [str(error)]
        else:
            splits, _ = read(where, **options)
    notes = words(caught) + undivided
    parts = splits.parts() if isinstance(splits, Splits) else {"": splits}
    domain = splits.together() if isinstance(splits, Splits) else splits
    members = torch.zeros(len(domain), 0, dtype=torch.bool)
    if domain.labels is not None:
        numbers = torch.arange(len(domain.classes))
        members = domain.labels.bool() if domain.multilabel else domain.labels[:, None] == numbers
    texts = [] if domain.is_image else decode(domain.inputs)
    facts = _facts(where, domain, parts, labels, found) | (_words(domain, members, texts) if texts else {})
    facts |= {key: f"{options[key]}, as asked for" for key in ("window", "intensity") if options.get(key)}
    same = _same(texts) if texts else pairs(domain.inputs) if len(domain) <= COMPARED else []
    suspected, features = None, None
    if name is not None:
        try:
            suspected, features = _probed(domain, name)
        except (MissingExtra, DownloadError, ArgumentError, DataError) as error:
            notes.append(f"labels were not probed: {error}")
    part = [name for name, held in parts.items() for _ in range(len(held))]
    return Side(where, domain, part, members, facts, notes, same, texts, suspected, features)


def _same(texts: list[str]) -> list[tuple[int, int]]:
    """Texts of the same words as an earlier one: its row, and theirs."""
    first: dict[str, int] = {}
    words = [" ".join(re.findall(r"\w+", text)) for text in texts]
    return [(first[one], row) for row, one in enumerate(words) if first.setdefault(one, row) != row]


def _words(domain: Domain, members: Tensor, texts: list[str]) -> dict[str, str]:
    """How long texts are, and which words tell their classes, by heading."""
    counts = sorted(len(text.split()) for text in texts)
    facts = {"length": f"{counts[0]} to {counts[-1]} words, {counts[len(counts) // 2]} in the middle"}
    if telling := _telling(texts, members):
        facts["telling"] = "; ".join(f"{name}: {words}" for name, words in zip(domain.classes, telling, strict=True))
    return facts


def _telling(texts: list[str], members: Tensor) -> list[str]:
    """The words of each class that its texts hold most often beyond the other texts, with commas between."""
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(binary=True, token_pattern=r"(?u)\b[^\W\d]\w+\b")
    try:
        held = counter.fit_transform(texts)
    except ValueError:  # no words at all
        return [""] * members.shape[1]
    words, found = counter.get_feature_names_out(), []
    for mine in members.T.numpy():
        more = np.zeros(len(words))
        if mine.any() and not mine.all():
            more = np.asarray(held[mine].mean(0) - held[~mine].mean(0)).ravel()
        most = (-more).argsort(kind="stable")[:WORDS]
        found.append(", ".join(words[i] for i in most if more[i] > 0.05))
    return found


def _facts(where: str, domain: Domain, parts: dict[str, Domain], labels: str | None, found: Found | None) -> dict:
    """How a place was read, by heading; `found` is what a folder holds."""
    own = any(found.parts) if found else Path(where).suffix.lower() not in TABLES
    split = " + ".join(f"{name} {len(part)}" for name, part in parts.items() if name)
    split = f"{split} ({'its own' if own else 'drawn'} split)" if split else "undivided"
    facts = {"pictures" if domain.is_image else "texts": f"{len(domain)}, {split}"}
    facts["classes"] = "unknown, without labels"
    if domain.labels is not None:
        facts["classes"] = counted(domain) + (f", from {labels}" if labels else "")
    facts["patients"] = "unknown: each is divided by itself"
    if domain.groups is not None:
        facts["patients"] = f"{domain.groups.unique().numel()}, each in one part"
    files = [found.root / file for file in dict.fromkeys(found.files)] if found else []
    if headers := [head for head in map(header, files) if head]:
        kinds, sizes, depths = zip(*headers, strict=True)
        (often, n), *others = Counter(sizes).most_common()
        facts["files"] = _commonest(kinds)
        facts["sizes"] = f"{often[0]} x {often[1]} px ({n} of {len(headers)})"
        if others:
            widths, heights = zip(*sizes, strict=True)
            facts["sizes"] += f", from {min(widths)} x {min(heights)} to {max(widths)} x {max(heights)}"
        facts["depth"] = _commonest(depths)
    if found and (scale := found.scale):
        facts["intensity"] = f"{scale[0]:g} to {scale[1]:g} become black to white in pictures of more than 8 bits"
    if domain.synthetic:
        facts["synthetic"] = "rendered, not from patients"
    return facts


def _commonest(words) -> str:
    return ", ".join(f"{word} {n}" for word, n in Counter(words).most_common())


def _probed(domain: Domain, name: str) -> tuple[list[Suspect] | None, Tensor]:
    """Suspects, None where there are no labels to ask, and features in depth, of a sample of the pictures."""
    rows = torch.randperm(len(domain), generator=torch.Generator().manual_seed(0))[:PROBED].sort().values
    domain = domain[rows]
    model = Classifier(encoder(name if domain.is_image else "minilm"), domain.classes or ("",))
    if domain.is_image:
        make_deep(model)
    if domain.is_image and domain.inputs.shape[1] == 1:
        domain = replace(domain, inputs=domain.inputs.expand(-1, 3, -1, -1))
    features = embed(model, domain)
    if domain.labels is None or domain.multilabel:
        return None, features
    found = suspects(held_out_probabilities(features, domain.labels, domain.groups), domain.labels)
    return [one._replace(row=int(rows[one.row])) for one in found], features


def _differences(first: Side, second: Side) -> Table:
    """A row a property: mean and standard deviation over pictures on each side, and the difference in pooled deviations."""
    if first.kind != second.kind:
        raise DataError(f"{first.where} holds {first.kind} and {second.where} {second.kind}; look at each by itself")
    rows = []
    if first.texts:
        whose = torch.tensor([[True, False]] * len(first.texts) + [[False, True]] * len(second.texts))
        rows.append(["words more often used", *_telling(first.texts + second.texts, whose), ""])
    left, right = _measures(first), _measures(second)
    for name in [name for name in left if name in right]:  # gray pictures have no red
        a, b = left[name], right[name]
        pooled = float(((a.var() + b.var()) / 2).sqrt())
        gap = f"{float(b.mean() - a.mean()) / pooled:+.1f} deviations" if pooled > 0 else ""
        rows.append([name, *(f"{float(values.mean()):.1f} ({float(values.std()):.1f})" for values in (a, b)), gap])
    sizes = [side.facts.get("sizes", "").split(" (")[0] for side in (first, second)]
    if all(sizes):
        rows.append(["commonest size", *sizes, "" if sizes[0] == sizes[1] else "differs"])
    ours, theirs = first.shares, second.shares
    if ours.keys() & theirs.keys():
        for name in ours | theirs:
            one, other = ours.get(name, 0.0), theirs.get(name, 0.0)
            rows.append([f"share of {name}", f"{one:.0%}", f"{other:.0%}", f"{100 * (other - one):+.0f} points"])
    return [f"mean (deviation) over {first.kind}", first.where, second.where, "difference"], rows


def _measures(side: Side) -> dict[str, Tensor]:
    """What a picture looks like in a few numbers, each `(N,)`, of gray levels 0 to 255; of a text, how many words it has."""
    if side.texts:
        return {"words": torch.tensor([float(len(text.split())) for text in side.texts])}
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    pieces: dict[str, list[Tensor]] = defaultdict(list)
    for chunk in side.domain.inputs.split(256):
        x = chunk.float()
        gray = x.mean(1, keepdim=True)
        if x.shape[1] == 3:
            for name, channel in zip(("red", "green", "blue"), x.mean((2, 3)).T, strict=True):
                pieces[name].append(channel)
        pieces["brightness"].append(gray.mean((1, 2, 3)))
        pieces["contrast"].append(gray.std((1, 2, 3)))
        pieces["sharpness (deviation of the Laplacian)"].append(conv2d(gray, kernel).std((1, 2, 3)))
    return {name: torch.cat(values) for name, values in pieces.items()}


def _distance(first: Side, second: Side) -> str:
    if first.features is None or second.features is None:
        return "Proxy A-distance: not measured, see the notes."
    value = proxy_a_distance(source=first.features, target=second.features, seed=0)
    easily = "cannot be" if value < 0.5 else "can partly be" if value < 1.5 else "are easily"
    apart = f"the two {easily} told apart by a linear probe on the encoder's features"
    return f"Proxy A-distance {value:.2f} of 2: {apart}."
