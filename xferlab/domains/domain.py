"""Domain: examples from one place. Splits: its train, validation and test parts."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..errors import ArgumentError, DataError
from .stacks import concatenated, select


@dataclass(frozen=True, eq=False)
class Domain:
    """Examples from one place, on one device.

    Parameters
    ----------
    inputs
        uint8 images `(N, C, H, W)` with C 1 or 3, or int64 token ids `(N, L)` (0 pads).
    labels
        int64 `(N,)`, or float `(N, K)` of zeros and ones for multi-label sets, or None.
    classes
        K class names; `labels` index them; may be empty where `labels` is None and nobody knows the classes.
    groups
        int64 `(N,)`, patient or slide ids that must not straddle a split, or None.
    name
        What plots and tables call it.
    synthetic
        True when the examples are rendered, so that everything shown from them can say so.
    augmentation
        What may be done to an example without changing its class, see `augment.default`: "upright" (images, unless
        told otherwise), "mirror", "any_way_up" (microscopy), "digits", "text" (tokens), or "none".
    files
        The file of each example, below the folder it was read from, or None.
    site, sites
        int64 `(N,)`, which of the places named in `sites` each example is from, where there are several: see
        `sites.pooled`.

    Raises
    ------
    DataError
        On anything else, naming the value.

    Examples
    --------
    >>> pictures = torch.zeros(6, 1, 28, 28, dtype=torch.uint8)
    >>> ward = xl.Domain(pictures, torch.tensor([0, 0, 0, 1, 1, 1]), classes=("well", "ill"), name="ward")
    >>> ward.take(per_class=1), ward.unlabeled()
    (Domain('ward', 2 1x28x28 images, 2 classes), Domain('ward', 6 1x28x28 images, 2 classes, unlabeled))
    """

    inputs: Tensor
    labels: Tensor | None
    classes: tuple[str, ...]
    groups: Tensor | None = None
    name: str = "unnamed"
    synthetic: bool = field(default=False, kw_only=True)
    augmentation: str = field(default="", kw_only=True)
    files: tuple[str, ...] | None = field(default=None, kw_only=True)
    site: Tensor | None = field(default=None, kw_only=True)
    sites: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self):
        if isinstance(self.classes, str):
            raise self._wrong(f"classes are the text {self.classes!r}, expected a tuple of names such as ('a', 'b')")
        object.__setattr__(self, "classes", tuple(map(str, self.classes)))
        if not isinstance(self.inputs, Tensor):
            raise self._wrong(f"inputs are {type(self.inputs).__name__}, expected a torch tensor; use torch.from_numpy")
        shape = tuple(self.inputs.shape)
        if (self.inputs.dtype, len(shape)) not in ((torch.uint8, 4), (torch.int64, 2)):
            raise self._wrong(
                f"inputs are {self.inputs.dtype} {shape}, expected uint8 images (N, C, H, W) or int64 tokens (N, L); scale "
                "float images to 0..255 and call .to(torch.uint8)"
            )
        if 0 in shape:
            raise self._wrong(f"inputs are {shape}: no examples, or empty ones; give at least one pixel or token")
        if self.is_image and shape[1] not in (1, 3):
            raise self._wrong(f"images have {shape[1]} channels, expected (N, C, H, W), C 1 or 3; permute if C is last")
        if not self.is_image and int(self.inputs.min()) < 0:
            raise self._wrong(f"token ids go down to {int(self.inputs.min())}, expected 0 (padding) or more")
        if not self.classes and self.labels is not None:
            raise self._wrong("it has labels and no class names; give one name a class")
        if len(set(self.classes)) != len(self.classes):
            raise self._wrong(f"class names repeat: {self.classes}; make them unique")
        object.__setattr__(self, "augmentation", self.augmentation or ("upright" if self.is_image else "text"))
        possible = ("upright", "mirror", "any_way_up", "digits", "none") if self.is_image else ("text", "none")
        if self.augmentation not in possible:
            raise self._wrong(f"augmentation is {self.augmentation!r}, expected one of {', '.join(possible)}")
        if self.labels is not None:
            self._check_labels(self.labels)
        if self.files is not None and len(self.files) != len(self):
            raise self._wrong(f"it has {len(self.files)} files for {len(self)} examples; give one name each")
        for what, each in (("groups", "patient"), ("site", "site")):
            ids = getattr(self, what)
            if ids is None or (isinstance(ids, Tensor) and ids.dtype == torch.int64 and ids.shape == (len(self),)):
                continue
            kind = f"{ids.dtype} {tuple(ids.shape)}" if isinstance(ids, Tensor) else type(ids).__name__
            raise self._wrong(f"{what} are {kind}, expected an int64 tensor ({len(self)},): a number per {each}")
        if self.site is not None and not 0 <= int(self.site.min()) <= int(self.site.max()) < len(self.sites):
            raise self._wrong(f"site goes up to {int(self.site.max())} and sites names {len(self.sites)}; name each")

    def _wrong(self, what: str) -> DataError:
        return DataError(f"domain {self.name!r}: {what}")

    def _check_labels(self, labels: Tensor):
        n, k = len(self), len(self.classes)
        if not isinstance(labels, Tensor):
            raise self._wrong(f"labels are {type(labels).__name__}, expected a torch tensor; use torch.as_tensor")
        if labels.ndim and len(labels) != n:
            raise self._wrong(f"it has {n} examples and {len(labels)} labels; give one label each")
        kind = f"{labels.dtype} {tuple(labels.shape)}"
        if labels.is_floating_point():
            if labels.shape != (n, k):
                raise self._wrong(f"labels are {kind}, expected ({n}, {k}) for multi-label, or int64 ({n},)")
            if not ((labels == 0) | (labels == 1)).all():
                raise self._wrong("multi-label targets hold values other than 0 and 1 (or NaN); binarise them first")
            return
        if labels.dtype != torch.int64 or labels.shape != (n,):
            raise self._wrong(f"labels are {kind}, expected int64 ({n},); use .long().squeeze()")
        if k < 2:
            raise self._wrong(f"it has one class, {self.classes[0]!r}; give two or more to tell apart, or labels=None")
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= k:
            raise self._wrong(f"labels run from {low} to {high}, expected 0 to {k - 1} for {k} classes")

    def __len__(self) -> int:
        return len(self.inputs)

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.inputs.shape[1:]))
        kind = f"{shape} images" if self.is_image else f"texts of {shape} tokens"
        marks = "" if self.labels is not None else ", unlabeled"
        marks += ", synthetic" if self.synthetic else ""
        return f"Domain({self.name!r}, {len(self)} {kind}, {len(self.classes)} classes{marks})"

    @property
    def is_image(self) -> bool:
        return self.inputs.ndim == 4

    @property
    def multilabel(self) -> bool:
        return self.labels is not None and self.labels.is_floating_point()

    @property
    def device(self) -> torch.device:
        return self.inputs.device

    def __getitem__(self, index: Tensor | slice | list[int] | int) -> Domain:
        """The examples at `index` (an int64 or bool tensor or array, a list, a slice or one number), as a Domain."""
        if isinstance(index, tuple):  # of row numbers, not of a place along several dimensions
            index = list(index)
        index = index.to(self.device) if isinstance(index, Tensor) else index
        rows = torch.arange(len(self), device=self.device)[index].reshape(-1)
        changed: dict = {name: part[rows] for name, part in self._tensors().items() if name != "inputs"}
        changed["inputs"] = self.inputs[index] if isinstance(index, slice) else select(self.inputs, rows)
        if self.files is not None:
            changed["files"] = tuple(self.files[row] for row in rows.tolist())
        return replace(self, **changed)

    def unlabeled(self) -> Domain:
        """The same examples without labels: what training and selection may see of a target."""
        return replace(self, labels=None)

    def to(self, device: str | torch.device) -> Domain:
        """The same examples on another device."""
        changed: dict = {name: part.to(device) for name, part in self._tensors().items()}
        return replace(self, **changed)

    def _tensors(self) -> dict[str, Tensor]:
        names = ("inputs", "labels", "groups", "site")
        return {name: part for name in names if (part := getattr(self, name)) is not None}

    def align(self, classes: tuple[str, ...]) -> Domain:
        """The same examples with labels that index `classes`, of which this domain's may be a part.

        Raises `DataError` naming the classes that `classes` lacks.
        """
        if self.classes == tuple(classes):
            return self
        if lacking := [name for name in self.classes if name not in classes]:
            raise self._wrong(f"it has classes {lacking} that the source lacks ({list(classes)}); drop or rename them")
        if self.labels is None:
            return replace(self, classes=tuple(classes))
        place = torch.tensor([classes.index(name) for name in self.classes], device=self.device)
        if self.multilabel:
            labels = self.labels.new_zeros(len(self), len(classes)).index_copy_(1, place, self.labels)
        else:
            labels = place[self.labels]
        return replace(self, labels=labels, classes=tuple(classes))

    def counts(self) -> Tensor:
        """Examples per class, int64 `(K,)`. Raises `DataError` when there are no labels."""
        if self.labels is None:
            raise self._wrong("it has no labels to count")
        if self.multilabel:
            return self.labels.sum(0).long()
        return torch.bincount(self.labels, minlength=len(self.classes))

    def take(self, per_class: int | None = None, *, n: int | None = None, seed: int = 0) -> Domain:
        """A seeded draw: `per_class` examples of each class (all of a rarer class), or `n` at random.

        The draw for a smaller number is a part of the draw for a larger one with the same seed, so a learning curve
        adds labels and never swaps them. Raises `ArgumentError` for a number below 1, `DataError` without labels.
        """
        wanted = n if per_class is None else per_class
        if wanted is None or None not in (n, per_class):
            raise ArgumentError("take needs exactly one of per_class= and n=")
        if wanted < 1:
            raise ArgumentError(f"take got {wanted}, expected 1 or more")
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        if n is not None:
            return self[order[:n]]
        if self.labels is None or self.multilabel:
            raise self._wrong("it has no single-label classes to draw from; use take(n=...)")
        labels = self.labels.cpu()[order]
        chosen = torch.cat([order[labels == k][:per_class] for k in range(len(self.classes))])
        return self[chosen.sort().values]


@dataclass(frozen=True)
class Splits:
    """Train, validation and test parts of one place.

    Parameters
    ----------
    train, val, test
        Domains of the same classes; no group is in two of them.

    Raises
    ------
    DataError
        When classes differ or a group is in two parts.

    Examples
    --------
    >>> xl.Splits(source.train, source.val, source.test).classes[:3]
    ('0', '1', '2')
    """

    train: Domain
    val: Domain
    test: Domain

    def __post_init__(self):
        classes = [part.classes for part in self.parts().values()]
        if len(set(classes)) > 1:
            raise DataError(f"splits of {self.name!r} disagree on classes: {', '.join(map(str, classes))}")
        seen: dict[int, str] = {}
        for name, part in self.parts().items():
            for group in [] if part.groups is None else part.groups.unique().tolist():
                if seen.setdefault(group, name) != name:
                    raise DataError(
                        f"group {group} of {self.name!r} is in both {seen[group]} and {name}; split by group so that no patient is in two parts"
                    )

    def parts(self) -> dict[str, Domain]:
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    @property
    def name(self) -> str:
        return self.train.name

    def together(self) -> Domain:
        """All examples as one Domain, train's first, then val's and test's; see `joined`."""
        return joined(self.parts().values())

    def augmented(self, augmentation: str) -> Splits:
        """The same parts with another `Domain.augmentation`."""
        return Splits(*(replace(part, augmentation=augmentation) for part in self.parts().values()))

    def to(self, device: str | torch.device) -> Splits:
        return Splits(*(part.to(device) for part in self.parts().values()))


def joined(domains: Iterable[Domain]) -> Domain:
    """All examples as one Domain, in order. Labels, groups, sites and files stay where all have them; the rest is the first's."""
    parts = list(domains)
    changed: dict = {"inputs": concatenated([part.inputs for part in parts])}
    for name in ("labels", "groups", "site", "files"):
        values = [getattr(part, name) for part in parts]
        whole = all(value is not None for value in values)
        changed[name] = (sum(values, ()) if name == "files" else torch.cat(values)) if whole else None
    return replace(parts[0], **changed)


def split(domain: Domain, fractions: tuple[float, float, float] = (0.7, 0.1, 0.2), seed: int = 0) -> Splits:
    """Cuts a domain into Splits by seed; whole groups go to one part where there are groups, and each part gets its share
    of every class (of every group's commonest class).

    Raises `DataError` when there are too few examples or groups for three parts.
    """
    return Splits(*(domain[rows] for rows in cut(domain, fractions, seed)))


def with_val(where: object, parts: dict[str, Domain], seed: int) -> Splits:
    """Splits of the parts of `where`; without "val", 10 % of "train" are held out by seed, with a warning."""
    if "val" not in parts:
        warnings.warn(f"{where} has no val part: 10 % of train is held out for validation (seed {seed})", stacklevel=3)
        held = cut(parts["train"], (0.9, 0.1), seed)
        parts = parts | {"train": parts["train"][held[0]], "val": parts["train"][held[1]]}
    return Splits(**parts)


def cut(domain: Domain, fractions: tuple[float, ...], seed: int = 0) -> list[Tensor]:
    """The rows that go to each of `len(fractions)` parts, as `split` cuts. Raises `DataError` when a part would be empty."""
    generator = torch.Generator().manual_seed(seed)
    n, labels = len(domain), torch.zeros(len(domain), dtype=torch.int64)
    if domain.labels is not None and not domain.multilabel:
        labels = domain.labels.cpu()
    units, strata = torch.arange(n), labels
    if domain.groups is not None:
        names, units = domain.groups.cpu().unique(return_inverse=True)
        votes = torch.zeros(len(names), max(len(domain.classes), 1), dtype=torch.int64)
        strata = votes.index_put_((units, labels), torch.ones_like(labels), accumulate=True).argmax(1)
    part_of = torch.empty(len(strata), dtype=torch.int64)
    for stratum in strata.unique():
        members = (strata == stratum).nonzero().squeeze(1)
        members = members[torch.randperm(len(members), generator=generator)]
        part_of[members] = torch.repeat_interleave(torch.arange(len(fractions)), _counts(len(members), fractions))
    membership = part_of[units]
    if len(membership.unique()) < len(fractions):
        what = f"{len(strata)} groups" if domain.groups is not None else f"{n} examples"
        raise domain._wrong(f"it has {what}, too few for {len(fractions)} parts; add examples or give its own split")
    return [(membership == part).nonzero().squeeze(1) for part in range(len(fractions))]


def _counts(n: int, fractions: tuple[float, ...]) -> Tensor:
    """How many of `n` go to each part: rounded shares, but no part is left empty while another has two."""
    ends = torch.tensor([round(n * share) for share in torch.tensor(fractions, dtype=torch.float64).cumsum(0).tolist()])
    counts = ends.diff(prepend=torch.zeros(1, dtype=torch.int64))
    counts[0] += n - counts.sum()
    while 0 in counts and counts.max() > 1:
        counts[counts.argmin()] += 1
        counts[counts.argmax()] -= 1
    return counts
