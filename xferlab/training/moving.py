"""What moves in a run, and how fast: the optimizer and its rates, and a model that is put back as it came."""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..encoders import NORMS, Classifier
from ..errors import ArgumentError, DivergenceError
from ..objectives import Objective
from ..strategies import Strategy
from .distributed import World


@dataclass
class Movement:
    """AdamW over what the strategy moves, at the strategy's rates times the schedule.

    Parameters
    ----------
    frozen
        Parameters that required no gradient when the run began: they do not move, whatever the strategy.
    """

    model: Classifier
    strategy: Strategy
    objectives: Sequence[Objective]
    frozen: Sequence[nn.Parameter]
    lr: float
    weight_decay: float
    warmup: float
    steps: int

    def __post_init__(self) -> None:
        self.moving: list[bool] = []
        self.rates = [self.strategy.rates(self.model, t / max(1, self.steps - 1)) for t in range(self.steps)]
        self.optimizer = torch.optim.AdamW(self.groups(), lr=self.lr, fused=True)

    def groups(self) -> list[dict]:
        """Parameter groups of what moves at all. Blocks that move alike all along share theirs: an optimizer pays for each."""
        found = self.strategy.groups(self.model)
        own = [p for objective in self.objectives for p in objective.parameters() if p.requires_grad]
        found += [{"params": own, "block": "objectives", "decay": True}] if own else []
        tracks = {name: tuple(rates[name] for rates in self.rates) for name in self.rates[0]}
        merged: dict[tuple, dict] = {}
        for group in found:
            key = (group["decay"], tracks.get(group["block"], (1.0,) * self.steps))
            first = merged.setdefault(key, group | {"params": [], "weight_decay": self.weight_decay * group["decay"]})
            first["params"] += group["params"]
        return [group for (_, track), group in merged.items() if any(track)] or list(merged.values())

    def begin(self, t: int) -> float:
        """Sets step t's rates, and what requires gradients where that changes; returns the learning rate at a multiplier of 1."""
        rates = self.rates[t]
        if self.moving != (moving := [rate > 0 for rate in rates.values()]):
            self.moving = moving
            self.strategy.apply(self.model, t / max(1, self.steps - 1))
            for parameter in self.frozen:
                parameter.requires_grad_(False)
            for norm in self.model.modules() if self.frozen else ():
                if isinstance(norm, NORMS) and (own := [*norm.parameters()]) and not any(p.requires_grad for p in own):
                    norm.eval()
            moved = [p for group in self.optimizer.param_groups for p in group["params"] if p.requires_grad]
            if self.objectives and not moved:
                why = f", whose {len(self.frozen)} parameters without requires_grad stay" if self.frozen else ""
                raise ArgumentError(
                    f"strategy {self.strategy.name!r} moves nothing in encoder {self.model.encoder.name!r}{why}; choose another"
                )
        now = self.lr * schedule(t / self.steps, self.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = now * rates.get(group["block"], 1.0)
        return now

    def step(self, losses: Sequence[Tensor], world: World) -> None:
        """One update along the gradient of `sum_i weight_i * loss_i`, averaged over the processes."""
        self.optimizer.zero_grad(set_to_none=True)
        weighted = [objective.weight * loss for objective, loss in zip(self.objectives, losses, strict=True)]
        loss = functools.reduce(torch.add, weighted)
        if not loss.requires_grad:
            names = ", ".join(type(objective).__name__ for objective in self.objectives)
            raise ArgumentError(f"{names} alone teaches nothing; add CrossEntropy() or another loss")
        loss.backward()
        world.average(p.grad for g in self.optimizer.param_groups for p in g["params"] if p.grad is not None)
        self.optimizer.step()

    def end(self) -> None:
        """Frees the gradients, which are as large as the model.

        Raises
        ------
        DivergenceError
            Where a weight is not finite.
        """
        self.optimizer.zero_grad(set_to_none=True)
        # a sum reads each weight once and shows what is not finite; only then are all looked at, which costs several times as much
        suspects = [(name, value) for name, value in self.model.state_dict().items() if not torch.isfinite(value.sum())]
        if broken := [name for name, value in suspects if not torch.isfinite(value).all()]:
            raise DivergenceError(f"{broken[0]} is not finite after the last step; lower lr or the objectives' weights")


def schedule(progress: float, warmup: float) -> float:
    """Linear from near 0 to 1 over the first share `warmup` of a run, then a cosine from 1 to 0."""
    if progress < warmup:
        return (progress + 0.01 * warmup) / (1.01 * warmup)
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / max(1e-9, 1 - warmup)))


@contextlib.contextmanager
def put_back(model: Classifier) -> Iterator[list[nn.Parameter]]:
    """Yields the parameters that require no gradient, named in a warning. Afterwards each parameter requires one or not as
    before, and after an error every module is in the mode, and the model on the device, that it came in."""
    required = {parameter: parameter.requires_grad for parameter in model.parameters()}
    modes, device = {module: module.training for module in model.modules()}, model.head.weight.device
    # LoRA, a parametrization, freezes the weights it stands beside
    if frozen := [n for n, p in model.named_parameters() if not p.requires_grad and ".parametrizations." not in n]:
        named = ", ".join(frozen[:3]) + (f" and {len(frozen) - 3} more" if len(frozen) > 3 else "")
        still = f"not trained, because requires_grad is False: {named}; set it to True to train them"
        warnings.warn(still, stacklevel=4)
    try:
        yield [parameter for parameter, required in required.items() if not required]
    except BaseException:
        model.to(device)
        for module, mode in modes.items():
            module.training = mode
        raise
    finally:
        for parameter in model.parameters():
            parameter.requires_grad_(required.get(parameter, True))


@contextlib.contextmanager
def mean_statistics(model: Classifier, anew: bool) -> Iterator[None]:
    """Inside, batch norms keep the plain mean over all batches, from nothing if `anew`."""
    momenta = {m: m.momentum for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    for norm in momenta:
        norm.momentum = None
        if anew:
            norm.reset_running_stats()
    try:
        yield
    finally:
        for norm, momentum in momenta.items():
            norm.momentum = momentum
