"""What a step sees: which rows, in which view, and their features from one forward pass."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..augment import DropTokens, Sides, apply, strong, weak
from ..domains import Domain
from ..encoders import Classifier
from ..errors import ArgumentError
from ..features import embed
from ..objectives import Batch, Objective, Step
from .distributed import World


@dataclass
class Feed:
    """Makes the `Step` of each t: rows drawn, inputs augmented, features computed once for all objectives.

    With `cached` the encoder never moves and its features are computed before the first step.
    """

    model: Classifier
    domains: dict[str, Domain]
    objectives: Sequence[Objective]
    world: World
    batch_size: int
    augment: Sequence | None
    views: dict[str, Sequence] | None
    cached: bool
    autocast: Callable
    seed: int

    def __post_init__(self) -> None:
        self.generator, domains = torch.Generator(), self.domains
        self.taps = {name for objective in self.objectives for name in objective.taps}
        self.eager = self.taps or not self.objectives  # somebody wants the forward pass, whether or not its features
        self.streams = {name: stream(domains[name], self.batch_size, self.seed + i) for i, name in enumerate(domains)}
        began = time.perf_counter()
        kept = domains.items() if self.cached and not self.augment and not self.taps else ()
        self.tables = {name: embed(self.model, domain).to(self.world.device) for name, domain in kept}
        self.seconds = time.perf_counter() - began  # features computed once are part of a run's price
        self.examples = sum(stream.size for stream in self.streams.values())

    def step(self, t: int, progress: float, activations: dict[str, list[Tensor]]) -> Step:
        """What the objectives see at step t: depends on (seed, t) and the model alone. `activations` are recorded in the forward pass."""
        self.generator.manual_seed(mixed(self.seed, t) + self.world.rank)
        rows = {name: self.world.shard(stream(t), name) for name, stream in self.streams.items()}
        # taken when first asked for, which with cached features nobody may, and by tensor, not by Domain, whose checks would
        # make a GPU wait; index_select copies pictures whole, [] byte by byte
        raw = functools.cache(lambda side: self.domains[side].inputs.index_select(0, rows[side]))
        inputs: Callable[[str], Tensor] = raw
        labels = {name: d.labels[rows[name]] for name, d in self.domains.items() if d.labels is not None}
        sites = {name: d.site[rows[name]] for name, d in self.domains.items() if d.site is not None}
        if self.augment:
            x, y = (raw(side) if side in rows else None for side in ("source", "target"))
            sides = apply(self.augment, Sides(x, labels.get("source"), y, len(self.model.classes)), self.generator)
            inputs = {name: getattr(sides, f"{name}_inputs") for name in rows}.__getitem__
            if sides.source_labels is not None:
                labels["source"] = sides.source_labels

        encoded = functools.cache(functools.partial(self._encode, rows, inputs))
        for parts in activations.values():
            parts.clear()
        if self.eager:
            encoded()
        recorded = {name: torch.cat(parts) for name, parts in activations.items()}
        batches = {side: Late(side, inputs, labels.get(side), sites.get(side), encoded, self._head) for side in rows}
        view = functools.partial(self._view, raw, labels)
        return Step(self.model, batches.get("source"), batches.get("target"), progress, view, recorded)

    def _encode(self, rows: dict[str, Tensor], inputs: Callable[[str], Tensor]) -> dict[str, Tensor]:
        with torch.enable_grad(), self.autocast():  # whoever asks first may be without either, the others must not be
            if self.tables:
                return {name: table.index_select(0, rows[name]) for name, table in self.tables.items()}
            return encode(self.model, {name: inputs(name) for name in rows})

    def _head(self, z: Tensor) -> Tensor:
        with torch.enable_grad(), self.autocast():
            return self.model.head(z)

    def _view(self, raw: Callable[[str], Tensor], labels: dict[str, Tensor], name: str, side: str) -> Batch:
        x, domain, views = raw(side), self.domains[side], self.views or {}
        if name not in {"weak", "strong", *views}:
            raise ArgumentError(f"no view is called {name!r}; use 'weak' or 'strong', or give it in views=")
        pipeline = views.get(name)
        if pipeline is None and domain.is_image:
            pipeline = {"weak": weak, "strong": strong}[name](x.shape[-1], domain.augmentation)
        elif pipeline is None:
            pipeline = {"weak": [], "strong": [DropTokens()]}[name]
        x = apply(pipeline, x, self.generator)
        z = self.model.features(x)
        return Batch(x, labels.get(side), z, self.model.head(z))


class Late(Batch):
    """A Batch whose features and logits are computed when first asked for: an objective that masks its own inputs never does."""

    # what is computed once may be written to afterwards, as a Batch's fields may: mypy takes it for a read-only property

    def __init__(self, side: str, inputs: Callable, labels, site, encoded: Callable[[], dict], head: Callable):
        self.labels, self.site = labels, site
        self._side, self._inputs, self._encoded, self._head = side, inputs, encoded, head

    @functools.cached_property
    def inputs(self) -> Tensor:  # type: ignore[override]
        return self._inputs(self._side)

    @functools.cached_property
    def features(self) -> Tensor:  # type: ignore[override]
        return self._encoded()[self._side]

    @functools.cached_property
    def logits(self) -> Tensor:  # type: ignore[override]
        return self._head(self.features)


def encode(model: Classifier, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Features of each side, from one forward pass: batch norm sees them together. Texts, whose lengths differ, pass alone."""
    sides = list(inputs.values())
    if len(sides) == 1 or sides[0].ndim == 2:
        return {name: model.encoder(x) for name, x in inputs.items()}
    if all(x.shape[1:] == sides[0].shape[1:] and x.dtype == sides[0].dtype for x in sides):
        prepared = model.encoder.prepare(torch.cat(sides))  # uint8 is joined at a quarter of the cost
    else:
        prepared = torch.cat([model.encoder.prepare(x) for x in sides])
    return dict(zip(inputs, model.encoder.body(prepared).split([len(x) for x in sides]), strict=True))


def mixed(seed: int, t: int) -> int:
    """One seed for step t of a run: neighboring runs and steps share no random state."""
    return (seed * 0x9E3779B97F4A7C15 + t * 0xBF58476D1CE4E5B9) % 2**63


def stream(domain: Domain, batch_size: int, seed: int) -> Stream | Balanced:
    """What draws a domain's batches: as many examples of each site where there are several."""
    lengths = None if domain.is_image else (domain.inputs != 0).sum(1).cpu()
    if domain.site is None:
        return Stream(len(domain), batch_size, seed, lengths)
    return Balanced(domain.site.cpu(), batch_size, seed, lengths)


class Balanced:
    """Rows for step t of which each site has an equal share, to one: a `Stream` a site, so that a small one comes round sooner."""

    def __init__(self, site: Tensor, batch_size: int, seed: int, lengths: Tensor | None):
        present = site.unique().tolist()
        shares = [(batch_size + i) // len(present) for i in range(len(present))]
        self.rows = [(site == k).nonzero().squeeze(1) for k in present]
        self.streams = [
            Stream(len(rows), max(1, share), mixed(seed, k), None if lengths is None else lengths[rows])
            for k, share, rows in zip(present, shares, self.rows, strict=True)
        ]
        self.size = sum(stream.size for stream in self.streams)

    def __call__(self, t: int) -> Tensor:
        return torch.cat([rows[stream(t)] for rows, stream in zip(self.rows, self.streams, strict=True)])


class Stream:
    """Rows for step t of an endless series of shuffled passes over n examples; depends on (seed, t) alone.

    With `lengths` `(n,)`, a batch holds texts of about one length, so that little of it is padding: of every 16 batches'
    worth of shuffled rows each gets a run of the rows sorted by length, and the batches are shuffled again.
    """

    def __init__(self, n: int, batch_size: int, seed: int, lengths: Tensor | None = None):
        self.n, self.size, self.seed, self.lengths = n, min(batch_size, n), seed, lengths
        self.shuffled = functools.lru_cache(2)(self._shuffled)  # a batch lies in two passes at most

    def __call__(self, t: int) -> Tensor:
        first, last = t * self.size, (t + 1) * self.size - 1
        rows = torch.cat([self.shuffled(k) for k in range(first // self.n, last // self.n + 1)])
        start = first % self.n
        return rows[start : start + self.size]

    def _shuffled(self, k: int) -> Tensor:
        """Pass k's rows; with `lengths` in whole batches of like length, after its first rows, which end a batch of the pass before."""
        generator = torch.Generator().manual_seed(mixed(self.seed, k))
        order = torch.randperm(self.n, generator=generator)
        if self.lengths is None:
            return order
        begun = -k * self.n % self.size
        whole = (self.n - begun) // self.size * self.size
        drawn = order[begun : begun + whole].split(16 * self.size)
        pools = [pool[self.lengths[pool].argsort(stable=True)] for pool in drawn]
        batches = torch.cat([order[:0], *pools]).view(-1, self.size)
        shuffled = batches[torch.randperm(len(batches), generator=generator)].flatten()
        return torch.cat([order[:begun], shuffled, order[begun + whole :]])
