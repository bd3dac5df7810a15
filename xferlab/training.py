"""fit(): the one loop."""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from .augment import Sides, apply, strong, weak
from .domains import Domain
from .encoders import Classifier, recording
from .errors import ArgumentError, CheckpointError, DataError, DivergenceError, TargetLabelsError
from .evaluation import evaluate
from .features import embed
from .objectives import Batch, CrossEntropy, Objective, Step
from .storage import fingerprint, write_atomically
from .strategies import Strategy, full
from .text import DropTokens


@dataclass
class Run:
    """What a training run left: the model, a history (a dict of floats per logged step), seconds, images per second."""

    model: Classifier
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    images_per_second: float = 0.0
    objectives: Sequence[Objective] = ()
    resumed_from: int = 0


def fit(
    model: Classifier,
    source: Domain | None,
    target: Domain | None = None,
    *,
    objectives: Sequence[Objective] | None = None,
    strategy: Strategy | None = None,
    steps: int = 400,
    batch_size: int = 64,
    lr: float = 1e-3,
    weight_decay: float = 1e-2,
    warmup: float = 0.05,
    augment: Sequence | None = None,
    views: dict[str, Sequence] | None = None,
    val: Domain | None = None,
    val_every: int | None = None,
    target_labels: bool = False,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 100,
    device: str | torch.device | None = None,
    precision: str = "auto",
    seed: int = 0,
    progress_bar: bool = True,
) -> Run:
    """Trains `model` in place on `sum_i weight_i * objective_i` and returns a Run.

    source, target  what each step draws `batch_size` examples from; a domain that is given is forwarded, source and
                    target together in one pass, so that batch norm sees both. A labelled target raises
                    `TargetLabelsError` unless `target_labels=True` (the few-labels case).
    objectives      what to minimise, `[CrossEntropy()]` if None; empty: forward passes only, after which batch-norm
                    statistics are the mean over these batches
    strategy        what may move, `strategies.full()` if None
    lr              AdamW's rate at its peak: linear warm-up over the share `warmup` of the steps, then a cosine to 0
    augment         augmentations applied to each batch; `views` names those behind `step.view`
    val             a labelled domain (of the source!): the weights with the best balanced accuracy on it, looked at
                    every `val_every` steps, are kept; None keeps the last ones
    checkpoint      a file the run is saved to every `checkpoint_every` steps; the same call finds it and goes on, to
                    the same weights as a run that was never stopped (to the bit, on one CPU)
    precision       "auto" is bf16 autocast on a GPU and float32 elsewhere; or "fp32", "bf16"
    seed            batches, augmentation and dropout of step t depend on (seed, t) alone

    Raises `ArgumentError`, `DataError`, `TargetLabelsError`, `CheckpointError`, or `DivergenceError` when a loss stops
    being finite.
    """
    objectives = [CrossEntropy()] if objectives is None else list(objectives)
    strategy = strategy or full()
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    _check(model, source, target, objectives, target_labels, steps, batch_size, lr, precision)
    domains = {
        name: domain.align(model.classes)
        for name, domain in (("source", source), ("target", target))
        if domain is not None
    }
    bf16 = precision == "bf16" or (precision == "auto" and device.type == "cuda")
    val_every = val_every or max(1, steps // 10)
    # what the run is, taken before setup changes the objectives: a checkpoint of another run must not be taken up
    settings = (
        steps,
        batch_size,
        lr,
        weight_decay,
        warmup,
        seed,
        val_every,
        bf16,
        strategy.name,
        repr(augment),
        repr(views),
    )
    identity = fingerprint(
        settings, [o.hyperparameters() for o in objectives], *[(d.inputs, d.labels) for d in domains.values()]
    )

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        strategy.prepare(model)
        model.to(device, memory_format=torch.channels_last)
        domains = {name: domain.to(device) for name, domain in domains.items()}
        for objective in objectives:
            objective.setup(model, domains.get("source"), domains.get("target"))
            objective.to(device).train()
        optimizer = torch.optim.AdamW(_groups(model, strategy, objectives, weight_decay), lr=lr, fused=True)
        run = Run(model, objectives=objectives)
        keeper = _Keeper(checkpoint, identity, run, optimizer)
        run.resumed_from = keeper.restore(device)

        lengths = {
            name: None if domain.is_image else (domain.inputs != 0).sum(1).cpu() for name, domain in domains.items()
        }
        streams = {
            name: _Stream(len(domain), batch_size, seed + i, lengths[name])
            for i, (name, domain) in enumerate(domains.items())
        }
        # a frozen encoder gives the same features at every step, so they are computed once
        taps = {name for objective in objectives for name in objective.taps}
        once = strategy.freezes_encoder(model) and not augment and not taps
        features = {name: embed(model, domain).to(device) for name, domain in domains.items()} if once else {}
        log = _Log(run, steps, sum(stream.size for stream in streams.values()), progress_bar)
        generator, moving = torch.Generator(), None

        statistics = contextlib.nullcontext() if objectives else _mean_statistics(model, anew=run.resumed_from == 0)
        with log, recording(model.encoder, taps) as activations, statistics:
            for t in range(run.resumed_from, steps):
                progress = t / max(1, steps - 1)
                torch.manual_seed(_mixed(seed, t))
                generator.manual_seed(_mixed(seed, t))
                rates = strategy.rates(model, progress)
                if moving != (moving := [rate > 0 for rate in rates.values()]):
                    strategy.apply(model, progress)
                    if objectives and not any(
                        p.requires_grad for group in optimizer.param_groups for p in group["params"]
                    ):
                        raise ArgumentError(
                            f"strategy {strategy.name!r} moves nothing in encoder {model.encoder.name!r}; choose another"
                        )
                for group in optimizer.param_groups:
                    group["lr"] = lr * rates.get(group["block"], 1.0) * schedule(t / steps, warmup)

                rows = {name: stream(t).to(device) for name, stream in streams.items()}
                # by tensor, not by Domain, whose checks would make a GPU wait
                raw = inputs = {name: domain.inputs[rows[name]] for name, domain in domains.items()}
                labels = {name: d.labels[rows[name]] for name, d in domains.items() if d.labels is not None}
                if augment:
                    sides = Sides(inputs.get("source"), labels.get("source"), inputs.get("target"), len(model.classes))
                    sides = apply(augment, sides, generator)
                    inputs = {name: getattr(sides, f"{name}_inputs") for name in inputs}
                    labels = labels | {"source": sides.source_labels}

                def view(name: str, side: str, raw=raw, labels=labels) -> Batch:
                    pipeline = (views or {}).get(name)
                    if pipeline is None and not domains[side].is_image:
                        pipeline = {"weak": [], "strong": [DropTokens()]}[name]
                    pipeline = pipeline or {"weak": weak, "strong": strong}[name](raw[side].shape[-1])
                    x = apply(pipeline, raw[side], generator)
                    z = model.features(x)
                    return Batch(x, labels.get(side), z, model.head(z))

                with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    z = {name: table[rows[name]] for name, table in features.items()} or _encode(model, inputs)
                    recorded = {name: torch.cat(parts) for name, parts in activations.items()}
                    batches = {
                        name: Batch(inputs[name], labels.get(name), z[name], model.head(z[name])) for name in inputs
                    }
                    step = Step(model, batches.get("source"), batches.get("target"), progress, view, recorded)
                    losses = [objective(step) for objective in objectives]
                for parts in activations.values():
                    parts.clear()
                if losses:
                    optimizer.zero_grad(set_to_none=True)
                    sum(objective.weight * loss for objective, loss in zip(objectives, losses, strict=True)).backward()
                    optimizer.step()
                    with torch.no_grad():
                        for objective in objectives:
                            objective.after_step(step)

                log.step(t, objectives, losses, lr * schedule(t / steps, warmup))
                if val is not None and ((t + 1) % val_every == 0 or t + 1 == steps):
                    keeper.keep_best(log, evaluate(model, val).balanced_accuracy)
                if checkpoint and ((t + 1) % checkpoint_every == 0 or t + 1 == steps):
                    log.flush()
                    keeper.save(t + 1)
        optimizer.zero_grad(set_to_none=True)  # gradients are as large as the model, and no one needs them now
        if keeper.best:
            model.load_state_dict(keeper.best)
        for objective in objectives:
            objective.finish(model)
    model.requires_grad_(True).eval()
    return run


def schedule(progress: float, warmup: float) -> float:
    """Linear from near 0 to 1 over the first share `warmup` of a run, then a cosine from 1 to 0."""
    if progress < warmup:
        return (progress + 0.01 * warmup) / (1.01 * warmup)
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / max(1e-9, 1 - warmup)))


def _encode(model: Classifier, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Features of each side, from one forward pass: batch norm sees them together. Texts, whose lengths differ, pass alone."""
    prepared = [model.encoder.prepare(x) for x in inputs.values()]
    if prepared[0].ndim == 2:
        return {name: model.encoder.body(x) for name, x in zip(inputs, prepared, strict=True)}
    return dict(zip(inputs, model.encoder.body(torch.cat(prepared)).split([len(x) for x in prepared]), strict=True))


def _mixed(seed: int, t: int) -> int:
    """One seed for step t of a run: neighbouring runs and steps share no random state."""
    return (seed * 0x9E3779B97F4A7C15 + t * 0xBF58476D1CE4E5B9) % 2**63


class _Stream:
    """Rows for step t of an endless series of shuffled passes over n examples; depends on (seed, t) alone.

    With `lengths` `(n,)`, a batch holds texts of about one length, so that little of it is padding: of every 16 batches'
    worth of shuffled rows each gets a run of the rows sorted by length, and the batches are shuffled again.
    """

    def __init__(self, n: int, batch_size: int, seed: int, lengths: Tensor | None = None):
        self.n, self.size, self.seed, self.passes, self.lengths = n, min(batch_size, n), seed, {}, lengths

    def __call__(self, t: int) -> Tensor:
        first, last = t * self.size, (t + 1) * self.size - 1
        rows = torch.cat([self._pass(k) for k in range(first // self.n, last // self.n + 1)])
        start = first % self.n
        return rows[start : start + self.size]

    def _pass(self, k: int) -> Tensor:
        if k not in self.passes:
            self.passes = {j: order for j, order in self.passes.items() if j == k - 1}
            generator = torch.Generator().manual_seed(_mixed(self.seed, k))
            self.passes[k] = torch.randperm(self.n, generator=generator)
            if self.lengths is not None:
                self.passes[k] = self._bucketed(self.passes[k], -k * self.n % self.size, generator)
        return self.passes[k]

    def _bucketed(self, order: Tensor, begun: int, generator: torch.Generator) -> Tensor:
        """`order` with whole batches of like length; its first `begun` rows end a batch of the pass before."""
        whole = (self.n - begun) // self.size * self.size
        pools = [
            pool[self.lengths[pool].argsort(stable=True)] for pool in order[begun : begun + whole].split(16 * self.size)
        ]
        batches = torch.cat([order[:0], *pools]).view(-1, self.size)
        shuffled = batches[torch.randperm(len(batches), generator=generator)].flatten()
        return torch.cat([order[:begun], shuffled, order[begun + whole :]])


def _groups(model: Classifier, strategy: Strategy, objectives: Sequence[Objective], weight_decay: float) -> list[dict]:
    groups = strategy.groups(model)
    own = [p for objective in objectives for p in objective.parameters() if p.requires_grad]
    groups += [{"params": own, "block": "objectives", "decay": True}] if own else []
    return [group | {"weight_decay": weight_decay * group["decay"]} for group in groups]


@contextlib.contextmanager
def _mean_statistics(model: Classifier, anew: bool) -> Iterator[None]:
    """Inside, batch norms keep the plain mean over all batches, from nothing if `anew`."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None
        if anew:
            norm.reset_running_stats()
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


class _Log:
    """Losses stay tensors until the bar's next refresh, so that a GPU is not made to wait; a refresh checks them too."""

    def __init__(self, run: Run, steps: int, per_step: int, show: bool):
        self.run, self.steps, self.per_step, self.every = run, steps, per_step, max(1, steps // 100)
        self.pending: list[tuple[dict, list[str], Tensor]] = []
        self.bar = tqdm(total=steps, initial=run.resumed_from, disable=not show, unit="step", leave=False)
        self.started = self.refreshed = time.perf_counter()
        self.seconds_before, self.done = run.seconds, 0

    def step(self, t: int, objectives: Sequence[Objective], losses: list[Tensor], lr: float):
        self.bar.update()
        self.done += 1
        if t % self.every and t + 1 < self.steps:
            return
        values: dict[str, Tensor] = {}
        for objective, loss in zip(objectives, losses, strict=True):
            name = type(objective).__name__
            name += f"_{sum(key.startswith(name) for key in values) + 1}" if name in values else ""
            values |= {name: loss.detach()} | {f"{name}.{key}": value for key, value in objective.log().items()}
        stacked = torch.stack([value.float().reshape(()) for value in values.values()]) if values else torch.zeros(0)
        self.pending.append(({"step": float(t), "lr": lr}, list(values), stacked))
        if time.perf_counter() - self.refreshed > 0.5:
            self.flush()

    def flush(self):
        for known, names, values in self.pending:
            values = dict(zip(names, values.tolist(), strict=True))
            if broken := [name for name, value in values.items() if not math.isfinite(value) and "." not in name]:
                raise DivergenceError(
                    f"{broken[0]} is {values[broken[0]]} at step {int(known['step'])}; lower lr or that objective's weight, "
                    "or look for broken inputs"
                )
            self.run.history.append(known | values)
        self.pending.clear()
        self.refreshed = time.perf_counter()
        self.run.seconds = self.seconds_before + self.refreshed - self.started
        self.run.images_per_second = self.done * self.per_step / (self.refreshed - self.started)
        self.bar.set_postfix({"images/s": f"{self.run.images_per_second:.0f}"}, refresh=False)

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        self.bar.close()
        if error is None:
            self.flush()


class _Keeper:
    """The run's checkpoint file, whole or absent, and the best weights on the validation split."""

    def __init__(self, path: str | Path | None, identity: str, run: Run, optimizer: torch.optim.Optimizer):
        self.path, self.identity, self.run, self.optimizer = path and Path(path), identity, run, optimizer
        self.best: dict[str, Tensor] = {}
        self.best_score = -1.0

    def save(self, step: int):
        state = {
            "identity": self.identity,
            "step": step,
            "model": self.run.model.state_dict(),
            "objectives": [objective.state_dict() for objective in self.run.objectives],
            "optimizer": self.optimizer.state_dict(),
            "history": self.run.history,
            "seconds": self.run.seconds,
            "best": self.best,
            "best_score": self.best_score,
        }
        with write_atomically(self.path) as temporary:
            torch.save(state, temporary)

    def restore(self, device: torch.device) -> int:
        """The step to go on from: 0 without a checkpoint."""
        if not self.path or not self.path.exists():
            return 0
        again = f"delete {self.path} to start again, or give another file"
        try:
            state = torch.load(self.path, weights_only=True, map_location=device)
            identity = state["identity"]
        except Exception as error:
            raise CheckpointError(f"{self.path} is no checkpoint of fit ({type(error).__name__}); {again}") from error
        if identity != self.identity:
            raise CheckpointError(f"{self.path} belongs to a run with other data or arguments; {again}")
        try:
            self.run.model.load_state_dict(state["model"])
            for objective, saved in zip(self.run.objectives, state["objectives"], strict=True):
                objective.load_state_dict(saved)
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(f"{self.path} does not fit this model: {error}; {again}") from error
        self.run.history[:], self.run.seconds = state["history"], state["seconds"]
        self.best, self.best_score = state["best"], state["best_score"]
        return state["step"]

    def keep_best(self, log: _Log, score: float):
        log.flush()
        self.run.history[-1]["val_balanced_accuracy"] = score
        if score > self.best_score:
            self.best_score = score
            self.best = {key: value.detach().clone() for key, value in self.run.model.state_dict().items()}


def _check(model, source, target, objectives, target_labels, steps, batch_size, lr, precision):
    if not isinstance(model, Classifier):
        raise ArgumentError(f"fit got a {type(model).__name__}, expected xl.Classifier(xl.encoder(...), classes=...)")
    for side, domain in (("source", source), ("target", target)):
        if domain is not None and not isinstance(domain, Domain):
            raise ArgumentError(f"{side} is a {type(domain).__name__}, expected a Domain; of Splits, pass .train")
        if domain is not None and len(domain) < 2:
            raise DataError(f"{side} {domain.name!r} has 1 example, expected at least 2: batch norm needs a batch")
    if source is None and target is None:
        raise ArgumentError("fit got neither a source nor a target; pass at least one Domain")
    for name, value, ok in (
        ("steps", steps, steps >= 1),
        ("batch_size", batch_size, batch_size >= 2),
        ("lr", lr, lr > 0),
    ):
        if not ok:
            raise ArgumentError(
                f"{name} is {value}, expected {'above 0' if name == 'lr' else '2 or more' if name == 'batch_size' else '1 or more'}"
            )
    if precision not in ("auto", "fp32", "bf16"):
        raise ArgumentError(f"precision is {precision!r}, expected 'auto', 'fp32' or 'bf16'")
    if target is not None and target.labels is not None and not target_labels:
        raise TargetLabelsError(
            f"target {target.name!r} has labels; pass target.unlabeled(), or target_labels=True if you mean to train on them"
        )
    have = {side for side, domain in (("source", source), ("target", target)) if domain is not None}
    have |= {
        f"{side}_labels"
        for side, domain in (("source", source), ("target", target))
        if domain is not None and domain.labels is not None
    }
    for objective in objectives:
        if missing := sorted(objective.needs - have):
            raise ArgumentError(f"{type(objective).__name__} needs {' and '.join(missing)}; pass {_mend(missing[0])}")
    refuse_multilabel(objectives, source, target)
    if source is not None and source.labels is not None and not source.multilabel and len(source.labels.unique()) < 2:
        only = source.classes[int(source.labels[0])]
        raise DataError(
            f"every label of source {source.name!r} is {only!r}; there is nothing to tell apart: give at least two classes"
        )
    if (
        target is not None
        and target.classes
        and (absent := [name for name in model.classes if name not in target.classes])
    ):
        warnings.warn(
            f"target {target.name!r} lacks the classes {absent}; adapting to a part of the source's classes",
            stacklevel=3,
        )


def refuse_multilabel(objectives: Sequence[Objective], *domains: Domain | None) -> None:
    """Raises `ArgumentError` where an objective that reads one class an example would get a multi-label domain."""
    several = [domain.name for domain in domains if domain is not None and domain.multilabel]
    if several and (single := [type(objective).__name__ for objective in objectives if objective.single_label]):
        raise ArgumentError(
            f"{single[0]} reads one class an example, from a softmax, but domain {several[0]!r} is multi-label; use an objective "
            "on features, such as DANN or CORAL"
        )


def _mend(missing: str) -> str:
    return {
        "source": "a source Domain",
        "target": "a target Domain, such as target.train.unlabeled()",
        "source_labels": "a labelled source",
        "target_labels": "a labelled target with target_labels=True",
    }[missing]
