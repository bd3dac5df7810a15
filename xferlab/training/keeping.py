"""What a run keeps: its history, its checkpoint, whole or absent, and the best weights on the validation split."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..encoders import Classifier
from ..errors import CheckpointError, DivergenceError
from ..objectives import Objective
from ..storage import write_atomically
from .feed import Feed


@dataclass
class Run:
    """What a training run left.

    Parameters
    ----------
    model
        The Classifier that was trained.
    history
        A dict of floats a logged step.
    seconds, images_per_second
        Of the training loop.
    objectives
        As they were left.
    resumed_from
        The step of the checkpoint it went on from, 0 without one.

    Attributes
    ----------
    model
        The Classifier that was trained.
    history
        A dict of floats a logged step.
    seconds
        Of the training loop, and of the features that were computed before it where the encoder does not move (next to
        nothing where they were in the cache).
    images_per_second
        Of the training loop.
    objectives
        As they were left.
    resumed_from
        The step of the checkpoint it went on from, 0 without one.

    Examples
    --------
    >>> run = xl.fit(model, source.train, steps=1)
    >>> run.history[0]["CrossEntropy"] > 0
    True
    """

    model: Classifier
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    images_per_second: float = 0.0
    objectives: Sequence[Objective] = ()
    resumed_from: int = 0

    def __repr__(self) -> str:
        return f"Run({self.seconds:.1f} s, {self.images_per_second:.0f} images/s; see .model and .history)"


class Log:
    """Losses stay tensors until the bar's next refresh, so that a GPU is not made to wait; a refresh checks them too."""

    def __init__(self, run: Run, steps: int, feed: Feed, show: bool):
        self.world, show = feed.world, show and feed.world.rank == 0
        self.run, self.steps, self.per_step, self.every = run, steps, feed.examples, max(1, steps // 100)
        self.pending: list[tuple[dict, list[str], Tensor]] = []
        self.bar = tqdm(total=steps, initial=run.resumed_from, disable=not show, unit="step", leave=False)
        self.started = self.refreshed = time.perf_counter()
        self.seconds_before, self.done = run.seconds + feed.seconds, 0

    def step(self, t: int, objectives: Sequence[Objective], losses: list[Tensor], lr: float):
        self.bar.update()
        self.done += 1
        if t % self.every and t + 1 < self.steps:
            return
        values: dict[str, Tensor] = {}
        for i, (objective, loss) in enumerate(zip(objectives, losses, strict=True)):
            name = type(objective).__name__
            earlier = sum(type(other).__name__ == name for other in objectives[:i])
            name += f"_{earlier + 1}" if earlier else ""
            values |= {name: loss.detach()} | {f"{name}.{key}": value for key, value in objective.log().items()}
        stacked = torch.stack([value.float().reshape(()) for value in values.values()]) if values else torch.zeros(0)
        self.world.average([stacked])
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


class Keeper:
    """The run's checkpoint file, whole or absent, and the best weights on the validation split."""

    def __init__(self, path: str | Path | None, identity: str, run: Run, optimizer: torch.optim.Optimizer):
        self.path, self.identity, self.run, self.optimizer = Path(path) if path else None, identity, run, optimizer
        self.best: dict[str, Tensor] = {}
        self.best_score = -1.0

    def save(self, step: int) -> None:
        assert self.path is not None
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

    def keep_best(self, log: Log, score: float):
        log.flush()
        self.run.history[-1]["val_balanced_accuracy"] = score
        if score > self.best_score:
            self.best_score = score
            self.best = {key: value.detach().clone() for key, value in self.run.model.state_dict().items()}
