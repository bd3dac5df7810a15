"""What is in memory already: a table of pandas, a list of texts, an array of pictures, a torch Dataset of (image, label)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..errors import ArgumentError, DataError
from . import arrays, texts
from .domain import Domain, Splits, split
from .layout import numbers

OPTIONS = texts.from_rows  # what `load` takes beside its own arguments


def load(
    things: object, *, seed: int = 0, labels: Sequence | None = None, classes=None, groups=None, **options
) -> Splits:
    """Splits, 70/10/20 by `seed`, class and group.

    Parameters
    ----------
    things
        A pandas DataFrame with a column of texts; a list of texts; uint8 pictures `(N, H, W)` or `(N, H, W, 3)` as
        a NumPy array; or a torch Dataset whose items are `(image, label)` or images, all of one size.
    seed
        Of the split.
    labels
        Of texts and pictures: a name or a number each, `(N,)`; absent where there are none.
    classes
        Class names; by default a Dataset's own `classes`, else the names that occur.
    groups
        Patients or slides, a name or a number each; a DataFrame has them in its column `group`.
    options
        For texts, those of `texts.from_rows`.

    Raises
    ------
    ArgumentError
        For anything else.
    DataError
        For pictures that cannot be used as they are, saying what to do.
    """
    kind = f"the {type(things).__name__}"
    rows: list[dict] | None = None
    if hasattr(things, "columns") and hasattr(things, "to_dict"):
        if labels is not None or groups is not None:
            raise ArgumentError(f"{kind} has labels and groups in columns; give label_column= and call groups 'group'")
        rows = things.to_dict("records")
    elif isinstance(things, (list, tuple)) and things and all(isinstance(text, str) for text in things):
        columns = {"text": things, "label": labels, "group": groups}
        present = {key: list(values) for key, values in columns.items() if values is not None}
        if len(set(map(len, present.values()))) > 1:
            counts = {key: len(values) for key, values in present.items()}
            raise DataError(f"{kind} has {counts}; give as many of each")
        rows = [dict(zip(present, row, strict=True)) for row in zip(*present.values(), strict=True)]
    if rows is not None:
        return split(texts.from_rows(kind, list(enumerate(rows)), classes=classes, **options), seed=seed)
    if options:
        raise ArgumentError(f"{kind} takes labels, classes, groups and seed, not {', '.join(options)}")
    if isinstance(things, np.ndarray):
        images, own = things, labels
    elif hasattr(things, "__getitem__") and hasattr(things, "__len__") and not isinstance(things, (list, tuple, dict)):
        if labels is not None:
            raise ArgumentError(f"{kind} has labels of its own; leave labels= out")
        images, own = _items(kind, things)
        classes = getattr(things, "classes", None) if classes is None else classes
    else:
        raise ArgumentError(
            f"cannot load {kind}; expected a name, a path, a pandas DataFrame, a list of texts, a NumPy array of uint8 pictures "
            "(N, H, W) or (N, H, W, 3), or a torch Dataset of (image, label)"
        )
    pictures = arrays.as_images(f"{kind}: images", images)
    truth = None
    if own is not None:
        given = _one_each(f"{kind}: labels", own)
        if given.dtype.kind in "US":
            truth, classes = numbers(kind, given.tolist(), classes)
        else:
            truth = arrays.as_labels(f"{kind}: labels", given)
            classes = arrays.seen_classes(f"{kind}: labels", truth) if classes is None else classes
    if groups is not None:
        named = _one_each(f"{kind}: groups", groups)
        if named.dtype.kind not in "iufbUS" or (named.dtype.kind == "f" and np.isnan(named).any()):
            raise DataError(
                f"{kind}: groups hold {named.dtype}, expected a name or a number each; fill in what is missing"
            )
        groups = torch.from_numpy(np.unique(named, return_inverse=True)[1].reshape(-1).astype(np.int64))
    return split(Domain(pictures, truth, tuple(classes or ()), groups, name=type(things).__name__), seed=seed)


def _one_each(what: str, values) -> np.ndarray:
    """What a list, an array or a column of a table says of each picture. Raises `DataError` where a name is missing."""
    found = np.asarray(values)
    if found.dtype == object:  # as of a column of names
        found = np.asarray(found.tolist())
    # a table says NaN where nothing stands, which beside names NumPy would spell "nan"
    if found.dtype.kind in "US" and (missing := sum(value != value for value in values)):
        raise DataError(f"{what}: {missing} of {len(found)} are missing; fill them in, or leave those pictures out")
    return found


def _items(kind: str, dataset) -> tuple[np.ndarray, list | None]:
    """All pictures of a Dataset, channels last, and its labels where it has them."""
    images: list[np.ndarray] = []
    labels: list = []
    for i in range(len(dataset)):
        item = dataset[i]
        image, label = item if isinstance(item, (tuple, list)) and len(item) == 2 else (item, None)
        image = (
            image.permute(1, 2, 0).numpy() if isinstance(image, torch.Tensor) and image.ndim == 3 else np.asarray(image)
        )
        if images and image.shape != images[0].shape:
            raise DataError(f"{kind}: item {i} is {image.shape}, the first {images[0].shape}; resize them to one size")
        images.append(image)
        labels.append(label.item() if isinstance(label, (torch.Tensor, np.generic)) else label)
    if not images:
        raise DataError(f"{kind} is empty; give at least one image")
    return np.stack(images), None if any(label is None for label in labels) else labels
