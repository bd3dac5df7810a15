"""Several sources as one: examples of three hospitals, each of which keeps its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from ..errors import ArgumentError, DataError
from . import load
from .domain import Domain, Splits, joined


def pooled(sources: Mapping[str, Splits | str | Path] | Sequence[Splits]) -> Splits:
    """The training, validation and test parts of several places, each put together; `Domain.site` says which is whose.

    Parameters
    ----------
    sources : dict or sequence
        Splits by name (or what `load` takes), or Splits that have names of their own. The first one's classes count, of which the
        others may have a part.

    Raises
    ------
    ArgumentError
        For fewer than two sources, or two of one name.
    DataError
        For pictures of another shape, a class that the first lacks, or another `augmentation`.
    """
    pairs = list(sources.items()) if isinstance(sources, Mapping) else [(splits.name, splits) for splits in sources]
    names, first = tuple(str(name) for name, _ in pairs), 0
    if len(set(names)) < max(2, len(names)):
        raise ArgumentError(f"sources are {list(names)}, expected two or more, each with its own name; pass a dict")
    loaded = [load(splits) if isinstance(splits, (str, Path)) else splits for _, splits in pairs]
    kinds = [(tuple(one.train.inputs.shape[1:]), one.train.augmentation) for one in loaded]
    if other := next((k for k, kind in enumerate(kinds) if kind != kinds[0]), 0):
        raise DataError(
            f"source {names[other]!r} holds {kinds[other]}, {names[0]!r} {kinds[0]}; bring them to one shape and one augmentation"
        )
    whose: list[list[Domain]] = [[], [], []]
    grouped = any(part.groups is not None for splits in loaded for part in splits.parts().values())
    for k, splits in enumerate(loaded):
        last, own = first, all(part.groups is not None for part in splits.parts().values())
        for parts, part in zip(whose, splits.parts().values(), strict=True):
            groups, known = None, part.groups if own else None
            # numbers of their own: two sites' patients stay two; a picture is a patient where none is known
            if grouped:
                groups = torch.arange(last, last + len(part)) if known is None else known + first
                last = max(last, 1 + int(groups.max()))
            site = torch.full((len(part),), k, device=part.device)
            parts.append(replace(part.align(loaded[0].classes), groups=groups, site=site, sites=names))
        first = last
    return Splits(*(replace(joined(parts), name=" + ".join(names)) for parts in whose))
