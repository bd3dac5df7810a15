"""Recipes: named ways to go from a source to a target, as stages of `fit`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import strategies
from .domains import Domain
from .encoders import Classifier
from .errors import ArgumentError
from .objectives import CrossEntropy, Objective
from .strategies import Strategy
from .training import Run, fit


@dataclass(frozen=True)
class Stage:
    """One call of `fit`.

    objectives  makes the objectives anew for each run
    data        "source", "target" or "both": what the stage draws batches from
    share       of the recipe's steps
    lr          the stage's learning rate, as a factor of the recipe's
    """

    objectives: Callable[[], Sequence[Objective]] = lambda: [CrossEntropy()]
    strategy: Strategy = field(default_factory=strategies.full)
    data: str = "both"
    share: float = 1.0
    lr: float = 1.0
    augment: Sequence | None = None

    def __post_init__(self):
        if self.data not in ("source", "target", "both"):
            raise ArgumentError(f"a stage's data is {self.data!r}, expected 'source', 'target' or 'both'")


@dataclass(frozen=True)
class Recipe:
    """Stages run in order on one model, then `finish(model)` where there is one. `about` says what it is, in a line."""

    name: str
    stages: tuple[Stage, ...]
    about: str = ""
    finish: Callable[[Classifier], None] | None = None

    @property
    def needs_target(self) -> bool:
        return any(stage.data != "source" for stage in self.stages)

    def fit(
        self,
        model: Classifier,
        source: Domain,
        target: Domain | None = None,
        *,
        steps: int = 400,
        lr: float = 1e-3,
        checkpoint: str | Path | None = None,
        augment: Sequence | None = None,
        **arguments,
    ) -> Run:
        """Runs the stages; `steps` is their total, and further arguments go to every `fit`.

        With a checkpoint each stage keeps its own file beside it (`name.0.pt`, `name.1.pt`, ...). Raises `ArgumentError`
        when the recipe adapts and there is no target.
        """
        if self.needs_target and target is None:
            raise ArgumentError(f"recipe {self.name!r} adapts to a target and got none; pass target.train.unlabeled()")
        total = sum(stage.share for stage in self.stages)
        whole = Run(model)
        for i, stage in enumerate(self.stages):
            run = fit(
                model,
                source if stage.data != "target" else None,
                target if stage.data != "source" else None,
                objectives=stage.objectives(),
                strategy=stage.strategy,
                steps=max(1, round(steps * stage.share / total)),
                lr=lr * stage.lr,
                augment=stage.augment if stage.augment is not None else augment,
                checkpoint=checkpoint and Path(checkpoint).with_suffix(f".{i}.pt"),
                **arguments,
            )
            whole.history += [entry | {"stage": float(i)} for entry in run.history]
            whole.seconds += run.seconds
            whole.images_per_second, whole.objectives, whole.resumed_from = run.images_per_second, run.objectives, run.resumed_from
        if self.finish:
            self.finish(model)
        return whole


def _one(name: str, about: str, *objectives: Callable[[], Objective], data: str = "both", **stage) -> Recipe:
    """Cross-entropy on the source plus further objectives, in one stage."""
    return Recipe(name, (Stage(lambda: [CrossEntropy(), *(make() for make in objectives)], data=data, **stage),), about)


_ALL = [
    _one("source_only", "cross-entropy on the source; the target is never seen", data="source"),
    _one("source_only_joint_bn", "the same loss, with the target in the same forward pass: batch norm sees both domains"),
    _one("linear_probe", "a new head on a frozen encoder", data="source", strategy=strategies.head_only()),
    _one("norm_only", "batch norms and the head", data="source", strategy=strategies.norm_only()),
    _one("layerwise", "the nearer the input, the slower", data="source", strategy=strategies.layerwise()),
    _one("gradual_unfreeze", "one more block at a time, from the top", data="source", strategy=strategies.gradual_unfreeze()),
    Recipe(
        "lp_ft",
        (
            Stage(strategy=strategies.head_only(), data="source", share=0.5),
            Stage(strategy=strategies.full(), data="source", share=0.5, lr=0.3),
        ),
        "linear probing, then everything from that head (Kumar et al., 2022, arXiv:2202.10054)",
    ),
]

recipes: dict[str, Recipe] = {recipe.name: recipe for recipe in _ALL}
