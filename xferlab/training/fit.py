"""fit(): the one loop."""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..augment import DropTokens, Sides, apply, strong, weak
from ..domains import Domain
from ..encoders import Classifier, recording
from ..errors import ArgumentError, DataError, DivergenceError, TargetLabelsError
from ..evaluation import evaluate
from ..features import embed
from ..machine import give_back
from ..objectives import Batch, CrossEntropy, Objective, Step
from ..storage import fingerprint
from ..strategies import Strategy, full
from .distributed import World
from .feed import Inputs, Late, Stream, encode, mixed
from .keeping import Keeper, Log, Run


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
    seed            batches, augmentation and dropout of step t depend on (seed, t) alone. The same seed on the same machine
                    gives the same bits, in any process; another number of threads sums in another order, and does not

    Started by torchrun, `accelerate launch` or `notebook_launcher`, the processes share each batch and average gradients; the
    first one writes the checkpoint (see `distributed`). `batch_size` is all processes' together and must divide among them.

    Raises `ArgumentError`, `DataError`, `TargetLabelsError`, `CheckpointError`, or `DivergenceError` when a loss stops
    being finite.
    """
    objectives = [CrossEntropy()] if objectives is None else list(objectives)
    strategy = strategy or full()
    _check(model, source, target, objectives, target_labels, precision)
    _check_numbers(steps, batch_size, lr, weight_decay, warmup, val_every, checkpoint_every, seed)
    domains = {
        name: domain.align(model.classes)
        for name, domain in (("source", source), ("target", target))
        if domain is not None
    }
    world = World(device, checkpoint)
    device = world.device
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
    identity = checkpoint and fingerprint(
        settings, [o.hyperparameters() for o in objectives], *[(d.inputs, d.labels) for d in domains.values()]
    )

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        strategy.prepare(model)
        model.to(device, memory_format=torch.channels_last)
        world.copy_from_first(model.state_dict().values())
        domains = {name: domain.to(device) for name, domain in domains.items()}
        give_back()
        for objective in objectives:
            objective.setup(model, domains.get("source"), domains.get("target"))
            objective.to(device).train()
        optimizer = torch.optim.AdamW(_groups(model, strategy, objectives, weight_decay, steps), lr=lr, fused=True)
        run = Run(model, objectives=objectives)
        keeper = Keeper(checkpoint, identity, run, optimizer)
        run.resumed_from = keeper.restore(device)
        world.agree(run.resumed_from)

        lengths = {
            name: None if domain.is_image else (domain.inputs != 0).sum(1).cpu() for name, domain in domains.items()
        }
        streams = {
            name: Stream(len(domain), batch_size, seed + i, lengths[name])
            for i, (name, domain) in enumerate(domains.items())
        }
        # a frozen encoder gives the same features at every step, so they are computed once
        taps = {name for objective in objectives for name in objective.taps}
        once = strategy.freezes_encoder(model) and not augment and not taps
        features = {name: embed(model, domain).to(device) for name, domain in domains.items()} if once else {}
        log = Log(run, steps, sum(stream.size for stream in streams.values()), progress_bar, world)
        buffers = [buffer for module in (model, *objectives) for buffer in module.buffers()]
        generator, moving = torch.Generator(), None
        # without a GPU torch.manual_seed would format the call stack at each step, for a GPU that may come
        reseed = torch.default_generator.manual_seed if device.type == "cpu" else torch.manual_seed
        autocast = functools.partial(torch.autocast, device.type, torch.bfloat16, enabled=bf16)

        def head(z: Tensor) -> Tensor:
            with (
                torch.enable_grad(),
                autocast(),
            ):  # whoever asks first may be without either, and the others must not be
                return model.head(z)

        statistics = contextlib.nullcontext() if objectives else _mean_statistics(model, anew=run.resumed_from == 0)
        with log, recording(model.encoder, taps) as activations, statistics:
            for t in range(run.resumed_from, steps):
                progress = t / max(1, steps - 1)
                reseed(mixed(seed, t))
                generator.manual_seed(mixed(seed, t) + world.rank)
                rates = strategy.rates(model, progress)
                if moving != (moving := [rate > 0 for rate in rates.values()]):
                    strategy.apply(model, progress)
                    if objectives and not any(
                        p.requires_grad for group in optimizer.param_groups for p in group["params"]
                    ):
                        raise ArgumentError(
                            f"strategy {strategy.name!r} moves nothing in encoder {model.encoder.name!r}; choose another"
                        )
                now = lr * schedule(t / steps, warmup)
                for group in optimizer.param_groups:
                    group["lr"] = now * rates.get(group["block"], 1.0)

                rows = {
                    name: world.shard(stream(t), name).to(device, non_blocking=True) for name, stream in streams.items()
                }
                raw = inputs = Inputs(domains, rows)
                labels = {name: d.labels[rows[name]] for name, d in domains.items() if d.labels is not None}
                if augment:
                    source_inputs, target_inputs = (
                        raw[side] if side in rows else None for side in ("source", "target")
                    )
                    sides = Sides(source_inputs, labels.get("source"), target_inputs, len(model.classes))
                    sides = apply(augment, sides, generator)
                    inputs = {name: getattr(sides, f"{name}_inputs") for name in rows}
                    labels = labels | {"source": sides.source_labels}

                def view(name: str, side: str, raw=raw, labels=labels) -> Batch:
                    if name not in {"weak", "strong", *(views or ())}:
                        raise ArgumentError(f"no view is called {name!r}; use 'weak' or 'strong', or give it in views=")
                    pipeline = (views or {}).get(name)
                    if pipeline is None and not domains[side].is_image:
                        pipeline = {"weak": [], "strong": [DropTokens()]}[name]
                    pipeline = pipeline or {"weak": weak, "strong": strong}[name](raw[side].shape[-1])
                    x = apply(pipeline, raw[side], generator)
                    z = model.features(x)
                    return Batch(x, labels.get(side), z, model.head(z))

                @functools.cache
                def encoded(rows=rows, inputs=inputs) -> dict[str, Tensor]:
                    with torch.enable_grad(), autocast():
                        if once:
                            return {name: table.index_select(0, rows[name]) for name, table in features.items()}
                        return encode(model, {name: inputs[name] for name in rows})

                with autocast():
                    if taps or not objectives:
                        encoded()
                    recorded = {name: torch.cat(parts) for name, parts in activations.items()}
                    batches = {name: Late(name, inputs, labels.get(name), encoded, head) for name in rows}
                    step = Step(model, batches.get("source"), batches.get("target"), progress, view, recorded)
                    try:
                        losses = [objective(step) for objective in objectives]
                    except torch.linalg.LinAlgError as error:  # singular values of what is no longer finite
                        raise DivergenceError(
                            f"step {t} cannot be computed ({error}); lower lr or the objectives' weights"
                        ) from error
                for parts in activations.values():
                    parts.clear()
                if losses:
                    optimizer.zero_grad(set_to_none=True)
                    loss = sum(objective.weight * loss for objective, loss in zip(objectives, losses, strict=True))
                    if not loss.requires_grad:
                        raise ArgumentError(
                            f"{', '.join(type(o).__name__ for o in objectives)} alone teaches nothing; add CrossEntropy() "
                            "or another loss"
                        )
                    loss.backward()
                    world.average(p.grad for g in optimizer.param_groups for p in g["params"] if p.grad is not None)
                    optimizer.step()
                    with torch.no_grad():
                        for objective in objectives:
                            objective.after_step(step)

                log.step(t, objectives, losses, now)
                look = val is not None and ((t + 1) % val_every == 0 or t + 1 == steps)
                save = checkpoint and ((t + 1) % checkpoint_every == 0 or t + 1 == steps)
                if look or save or t + 1 == steps:
                    world.average(buffers)  # batch-norm statistics are each process's own until someone needs them
                if look:
                    keeper.keep_best(log, evaluate(model, val).balanced_accuracy)
                if save:
                    log.flush()
                    if world.rank == 0:
                        keeper.save(t + 1)
                    world.wait()
        optimizer.zero_grad(set_to_none=True)  # gradients are as large as the model, and no one needs them now
        if keeper.best:
            model.load_state_dict(keeper.best)
        # a sum reads each weight once and shows what is not finite; only then are all looked at, which costs several times as much
        suspects = [(name, tensor) for name, tensor in model.state_dict().items() if not torch.isfinite(tensor.sum())]
        if broken := [name for name, tensor in suspects if not torch.isfinite(tensor).all()]:
            raise DivergenceError(f"{broken[0]} is not finite after the last step; lower lr or the objectives' weights")
        for objective in objectives:
            objective.finish(model)
    model.requires_grad_(True).eval()
    del optimizer, keeper  # their moments and weights go first
    give_back()
    return run


def schedule(progress: float, warmup: float) -> float:
    """Linear from near 0 to 1 over the first share `warmup` of a run, then a cosine from 1 to 0."""
    if progress < warmup:
        return (progress + 0.01 * warmup) / (1.01 * warmup)
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / max(1e-9, 1 - warmup)))


def _groups(
    model: Classifier, strategy: Strategy, objectives: Sequence[Objective], weight_decay: float, steps: int
) -> list[dict]:
    """Parameter groups of a run, of what moves at all. Blocks that move alike all along share theirs: an optimizer pays for each."""
    groups = strategy.groups(model)
    own = [p for objective in objectives for p in objective.parameters() if p.requires_grad]
    groups += [{"params": own, "block": "objectives", "decay": True}] if own else []
    tracks: dict[str, list[tuple[int, float]]] = defaultdict(list)  # when a block's rate changes, and to what
    for t in range(steps):
        for name, rate in strategy.rates(model, t / max(1, steps - 1)).items():
            if not tracks[name] or tracks[name][-1][1] != rate:
                tracks[name].append((t, rate))
    merged: dict[tuple, dict] = {}
    for group in groups:
        key = (group["decay"], *tracks.get(group["block"], [(0, 1.0)]))
        first = merged.setdefault(key, group | {"params": [], "weight_decay": weight_decay * group["decay"]})
        first["params"] += group["params"]
    return [group for key, group in merged.items() if any(rate for _, rate in key[1:])] or list(merged.values())


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


def _check_numbers(steps, batch_size, lr, weight_decay, warmup, val_every, checkpoint_every, seed):
    for name, value, ok, expected in (
        ("steps", steps, steps >= 1, "1 or more"),
        ("batch_size", batch_size, batch_size >= 2, "2 or more"),
        ("lr", lr, 0 < lr < math.inf, "a finite number above 0"),
        ("weight_decay", weight_decay, 0 <= weight_decay < math.inf, "a finite number, 0 or more"),
        ("warmup", warmup, 0 <= warmup <= 1, "a share of the steps, 0 to 1"),
        ("val_every", val_every, val_every is None or val_every >= 1, "1 or more, or None"),
        ("checkpoint_every", checkpoint_every, checkpoint_every >= 1, "1 or more"),
        ("seed", seed, -(2**63) <= seed < 2**63, "a whole number of 64 bits"),
    ):
        if not ok:
            raise ArgumentError(f"{name} is {value}, expected {expected}")


def _check(model, source, target, objectives, target_labels, precision):
    if not isinstance(model, Classifier):
        raise ArgumentError(f"fit got a {type(model).__name__}, expected xl.Classifier(xl.encoder(...), classes=...)")
    for side, domain in (("source", source), ("target", target)):
        if domain is not None and not isinstance(domain, Domain):
            raise ArgumentError(f"{side} is a {type(domain).__name__}, expected a Domain; of Splits, pass .train")
        if domain is not None and len(domain) < 2:
            raise DataError(f"{side} {domain.name!r} has 1 example, expected at least 2: batch norm needs a batch")
    if source is None and target is None:
        raise ArgumentError("fit got neither a source nor a target; pass at least one Domain")
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
