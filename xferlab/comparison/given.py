"""What `compare` is given: sources put together, a target whose labels are the oracle's alone, and the few labels of the target."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..domains import Domain, Splits
from ..domains.domain import cut
from ..domains.sites import pooled
from ..errors import ArgumentError, DataError, TargetLabelsError
from ..storage import fingerprint
from . import selection


def sides(
    source: Splits | Mapping[str, Splits | str | Path] | Sequence[Splits], target: Splits | Domain
) -> tuple[Splits, Domain, Domain | None, list[str]]:
    """Source, the target's unlabeled examples, its labeled test part or None, and what is to be said of them."""
    if isinstance(source, (Mapping, list, tuple)):
        source = pooled(source)
    if not isinstance(source, Splits):
        raise ArgumentError(f"source is a {type(source).__name__}, expected Splits, such as xl.load(...) gives")
    if not isinstance(target, (Splits, Domain)):
        raise ArgumentError(f"target is a {type(target).__name__}, expected Splits or an unlabeled Domain")
    if isinstance(target, Domain) and target.labels is not None:
        instead = "pass target.unlabeled(), or Splits, whose test labels make the oracle's columns"
        raise TargetLabelsError(f"target {target.name!r} has labels; {instead}")
    adapt = target.train.unlabeled() if isinstance(target, Splits) else target
    test = target.test if isinstance(target, Splits) and target.test.labels is not None else None
    if any(part.labels is None for part in source.parts().values()):
        raise DataError(f"source {source.name!r} has an unlabeled part; label its train, val and test")
    if source.train.multilabel or (test is not None and test.multilabel):
        raise DataError("compare chooses between single-label classifiers; pass one label of multi-label data")
    if source.train.is_image != adapt.is_image:
        raise DataError(f"source {source.name!r} and target {adapt.name!r} are not both images, or both tokens")
    adapt.align(source.classes)  # raises for a class that the source lacks
    blind, empty, unseen = test is None, _without_examples(source.train), _without_examples(test)
    absent = ", ".join(name for name in source.classes if adapt.classes and name not in adapt.classes)
    holding = {
        "The target has no labeled test part: there is no oracle, and nothing here measures target accuracy.": blind,
        f"The source has no training example of {empty}: no recipe can learn it from labels.": empty,
        f"The target lacks {absent}: methods that match whole domains may force examples into it.": absent,
        f"The target's test part has no example of {unseen}: the oracle says nothing of it.": unseen,
        "Synthetic data: rendered, not from patients.": source.train.synthetic or adapt.synthetic,
    }
    return source, adapt, test, [note for note, holds in holding.items() if holds]


def _without_examples(domain: Domain | None) -> str:
    """Classes of which a domain has none, with commas between."""
    counts = [] if domain is None else zip(domain.classes, domain.counts().tolist(), strict=True)
    return ", ".join(name for name, count in counts if count == 0)


def split_labeled(
    labeled: Domain, source: Splits, test: Domain | None, notes: list[str]
) -> tuple[Domain, Domain | None]:
    """The labeled target examples to train on, and those to judge by where there are enough."""
    if labeled.labels is None or labeled.multilabel:
        raise DataError(f"labeled {labeled.name!r} has no single-label labels; pass examples with one class each")
    ours, theirs = (tuple(part.inputs.shape[1:]) for part in (labeled, source.train))
    if ours != theirs:
        raise DataError(f"labeled {labeled.name!r} holds {ours}, the source {theirs}; bring them to one shape")
    labeled = labeled.align(source.classes)
    inputs = [() if part is None else part.inputs.cpu().numpy() for part in (labeled, test)]
    few, tested = ({x.tobytes() for x in each} for each in inputs)
    if seen := few & tested:
        notes.append(f"{len(seen)} of the labeled images are in the target's test part too: the oracle is too good.")
    if len(labeled) < 40:
        notes.append(f"Trained on {len(labeled)} labeled target images too: too few to choose by as well.")
        return labeled, None
    train, held = (labeled[rows] for rows in cut(labeled, (0.5, 0.5)))
    others = f"{len(held)} others are the validator target_labels."
    notes.append(f"Trained on {len(train)} labeled target images too; {others}")
    return train, held


def judges(
    wanted: Sequence[str] | Mapping | None, selector: str | None, held: Domain | None, source: Splits
) -> tuple[dict[str, selection.Validator], str]:
    """Validators by name, and the one to choose by: those that these data allow come first, and are always there."""
    special: dict[str, selection.Validator] = {}
    if held is not None:
        special["target_labels"] = functools.partial(selection.on_labels, held)
    if len(source.train.sites) >= 3:
        special["leave_one_site_out"] = selection.leave_one_site_out
    selector = selector or next(iter(special), "information_maximization")
    known = special | selection.validators
    if not isinstance(wanted, Mapping):
        names = list(known if wanted is None else wanted)
        if unknown := [name for name in names if name not in known]:
            raise ArgumentError(f"no validator is called {unknown[0]!r}; selection.validators has {', '.join(known)}")
        wanted = {name: known[name] for name in names}
    found = special | dict(wanted)
    if selector not in found:
        raise ArgumentError(f"selector is {selector!r}, expected one of the validators: {', '.join(found)}")
    return found, selector


def identity(source: Splits, target: Domain, test: Domain | None, labeled: Domain | None) -> str:
    """A name for the data, by which finished runs are found again."""
    parts = [(part.inputs, part.labels) for part in source.parts().values()]
    more: list = [] if labeled is None else [(labeled.inputs, labeled.labels, labeled.classes)]
    more += [] if source.train.site is None else [source.train.site]
    augmentations = (source.train.augmentation, target.augmentation)
    on_test = None if test is None else (test.inputs, test.labels)
    return fingerprint(parts, target.inputs, source.classes, *augmentations, on_test, *more)
