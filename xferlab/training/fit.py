"""fit(): the one loop."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path

import torch

from ..domains import Domain
from ..encoders import Classifier, recording
from ..errors import DivergenceError
from ..evaluation import evaluate
from ..machine import give_back
from ..objectives import CrossEntropy, Objective
from ..storage import described, fingerprint
from ..strategies import Strategy, full
from .checking import check_given, checked
from .distributed import World
from .feed import Feed, mixed
from .keeping import Keeper, Log, Run
from .moving import Movement, mean_statistics, put_back


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

    Started by torchrun, `accelerate launch` or `notebook_launcher`, the processes share each batch and average gradients; the
    first one writes the checkpoint (see `distributed`). `batch_size` is all processes' together and must divide among them.

    Parameters
    ----------
    model
        What is trained. A parameter that requires no gradient does not move, whatever the strategy, and a warning
        names such parameters. After an error the model has its earlier mode and device, though its weights may have
        moved.
    source
        Labeled examples, of which each step draws `batch_size`; or None.
    target
        Examples without labels, drawn alike. Both domains are forwarded together in one pass, so that batch norm
        sees both. A labeled target raises `TargetLabelsError` unless `target_labels=True` (the few-labels case).
    objectives
        What to minimize, `[CrossEntropy()]` if None. Empty: forward passes only, after which batch-norm statistics
        are the mean over these batches.
    strategy
        What may move, `strategies.full()` if None.
    steps
        Updates in all.
    batch_size
        Examples a step and domain.
    lr
        AdamW's rate at its peak: linear warm-up over the share `warmup` of the steps, then a cosine to 0.
    weight_decay
        AdamW's, on matrices alone.
    warmup
        Share of the steps, 0 to 1.
    augment
        Augmentations applied to each batch.
    views
        Names the augmentations behind `step.view`.
    val
        A labeled domain (of the source!). The weights with the best balanced accuracy on it, looked at every
        `val_every` steps, are kept; None keeps the last ones.
    val_every
        A tenth of the steps if None.
    target_labels
        True allows a labeled target.
    checkpoint
        A file the run is saved to every `checkpoint_every` steps; the same call finds it and goes on, to the same
        weights as a run that was never stopped (to the bit, on one CPU).
    checkpoint_every
        Steps.
    device
        A GPU if there is one and None is given.
    precision
        "auto" is bf16 autocast on a GPU and float32 elsewhere; or "fp32", "bf16".
    seed
        Batches, augmentation and dropout of step t depend on (seed, t) alone. The same seed on the same machine
        gives the same bits, in any process; another number of threads sums in another order, and does not.
    progress_bar
        False hides it.

    Returns
    -------
    Run
        The `Run`: model, history, seconds, images per second.

    Raises
    ------
    ArgumentError
        A number or a combination that cannot be trained on.
    DataError
        A domain that cannot be trained on.
    TargetLabelsError
        A labeled target without `target_labels=True`.
    CheckpointError
        `checkpoint` belongs to another run or is damaged.
    DivergenceError
        A loss or a weight stops being finite.

    Examples
    --------
    >>> run = xl.fit(model, source.train, target.train.unlabeled(), objectives=[xl.CrossEntropy(), xl.DANN()], steps=2)
    >>> [row["step"] for row in run.history]
    [0.0, 1.0]
    """
    objectives = [CrossEntropy()] if objectives is None else list(objectives)
    strategy = strategy or full()
    domains = checked(model, source, target, objectives, target_labels)
    check_given(steps, batch_size, lr, weight_decay, warmup, val, val_every, checkpoint_every, precision, seed)
    world = World(device, checkpoint)
    device, bf16 = world.device, precision == "bf16" or (precision == "auto" and world.device.type == "cuda")
    autocast = functools.partial(torch.autocast, device.type, torch.bfloat16, enabled=bf16)
    val_every = val_every or max(1, steps // 10)
    # what the run is, taken before setup changes the objectives: a checkpoint of another run must not be taken up
    numbers = (steps, batch_size, lr, weight_decay, warmup, seed, val_every, bf16)
    identity = ""
    if checkpoint:
        identity = fingerprint(
            (*numbers, strategy.name, described(augment), described(views)),
            [name for name, parameter in model.named_parameters() if not parameter.requires_grad],
            [objective.hyperparameters() for objective in objectives],
            *[(d.inputs, d.labels, d.site) for d in (*domains.values(), val) if d is not None],
        )

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), put_back(model) as frozen:
        torch.manual_seed(seed)
        strategy.prepare(model)
        model.to(device).to(memory_format=torch.channels_last)
        world.copy_from_first(model.state_dict().values())
        domains = {name: domain.to(device) for name, domain in domains.items()}
        give_back()
        for objective in objectives:
            objective.setup(model, domains.get("source"), domains.get("target"))
            objective.to(device).train()
        movement = Movement(model, strategy, objectives, frozen, lr, weight_decay, warmup, steps)
        run = Run(model, objectives=objectives)
        keeper = Keeper(checkpoint, identity, run, movement.optimizer)
        run.resumed_from = keeper.restore(device)
        world.agree(run.resumed_from)
        cached = strategy.freezes_encoder(model)
        feed = Feed(model, domains, objectives, world, batch_size, augment, views, cached, autocast, seed)
        log = Log(run, steps, feed, progress_bar)
        buffers = [buffer for module in (model, *objectives) for buffer in module.buffers()]
        statistics = contextlib.nullcontext() if objectives else mean_statistics(model, anew=run.resumed_from == 0)
        # without a GPU torch.manual_seed would format the call stack at each step, for a GPU that may come
        reseed = torch.default_generator.manual_seed if device.type == "cpu" else torch.manual_seed

        with log.bar, recording(model.encoder, feed.taps) as activations, statistics:
            for t in range(run.resumed_from, steps):
                reseed(mixed(seed, t))
                rate = movement.begin(t)
                with autocast():
                    step = feed.step(t, t / max(1, steps - 1), activations)
                    try:
                        losses = [objective(step) for objective in objectives]
                    except torch.linalg.LinAlgError as error:  # singular values of what is no longer finite
                        raise DivergenceError(
                            f"step {t} cannot be computed ({error}); lower lr or the objectives' weights"
                        ) from error
                if losses:
                    movement.step(losses, world)
                    with torch.no_grad():
                        for objective in objectives:
                            objective.after_step(step)

                log.step(t, objectives, losses, rate)
                last = t + 1 == steps
                validated = val if (t + 1) % val_every == 0 or last else None
                save = checkpoint and ((t + 1) % checkpoint_every == 0 or last)
                if validated or save or last:
                    world.average(buffers)  # batch-norm statistics are each process's own until someone needs them
                if validated:
                    keeper.keep_best(log, evaluate(model, validated).balanced_accuracy)
                if save:
                    log.flush()
                    if world.rank == 0:
                        keeper.save(t + 1)
                    world.wait()
        log.flush()
        if keeper.best:
            model.load_state_dict(keeper.best)
        movement.end()
        for objective in objectives:
            objective.finish(model)
    model.eval()
    del movement, keeper, feed  # their moments, weights and features go first
    give_back()
    return run
