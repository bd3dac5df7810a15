"""Recipes: named ways to go from a source to a target, as stages of `fit`."""

from __future__ import annotations

import functools
import importlib.metadata
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import strategies
from .augment import ColorJitter, Stain
from .augment import default as default_augmentation
from .domains import Domain
from .encoders import Classifier
from .errors import ArgumentError
from .objectives import ADDA, AFN, BNM, BSP, CDAN, CORAL, DANN, JMMD, MCC, MCD, MDD, MMD, WDGRL, CrossEntropy, Objective
from .objectives.discrepancy import DeepJDOT, SlicedWasserstein
from .objectives.selftraining import EntropyMinimization, FixMatch, InformationMaximization, MeanTeacher, PseudoLabel
from .objectives.supervised import GroupDRO
from .probes import depth_probe, standardize
from .strategies import Strategy
from .training import Run, fit
from .training.checking import refuse_multilabel


@dataclass(frozen=True)
class Stage:
    """One call of `fit`.

    Parameters
    ----------
    objectives
        Makes the objectives anew for each run.
    strategy
        What may move, and how fast.
    data
        "source", "target" or "both": what the stage draws batches from.
    share, lr
        The stage's steps and learning rate, as multiples of the recipe's.
    augment
        The stage's own augmentation, whatever the recipe is called with.
    solve
        Changes the model from a domain in one go instead of training: `solve(model, domain, views)`, where `views` says
        whether augmentation is wanted.

    Raises
    ------
    ArgumentError
        For other data, or a stage that solves on both sides.

    Examples
    --------
    >>> stage = xl.Stage(lambda: [xl.CrossEntropy(), xl.CORAL(100.0)], share=0.5)
    >>> stage.data
    'both'
    """

    objectives: Callable[[], Sequence[Objective]] = lambda: [CrossEntropy()]
    strategy: Strategy = field(default_factory=strategies.full)
    data: str = "both"
    share: float = 1.0
    lr: float = 1.0
    augment: Sequence | None = None
    solve: Callable[[Classifier, Domain, bool], None] | None = None

    def __post_init__(self):
        sides = ("source", "target") if self.solve else ("source", "target", "both")
        if self.data not in sides:
            kind = "a stage that solves" if self.solve else "a stage"
            raise ArgumentError(f"{kind} has data {self.data!r}, expected one of {sides}")


@dataclass(frozen=True)
class Recipe:
    """Stages run in order on one model.

    Parameters
    ----------
    name, about
        What it is called, and what it is, in a line.
    stages
        See `Stage`.
    finish
        `finish(model)` runs after the last stage: an average, or an interpolation of weights.
    strength, grid
        How strong its method is, and which strengths are worth trying, see `at`.

    Examples
    --------
    >>> recipe = xl.Recipe("coral_strong", (xl.Stage(lambda: [xl.CrossEntropy(), xl.CORAL(1000.0)]),), "CORAL, strong")
    >>> run = recipe.fit(model, source.train, target.train.unlabeled(), steps=1)
    """

    name: str
    stages: tuple[Stage, ...]
    about: str = ""
    finish: Callable[[Classifier], None] | None = None
    strength: float = 1.0  # what `at` was called with
    grid: tuple[float, ...] = (0.3, 1.0, 3.0)  # what `compare(search=True)` tries; none where nothing trains

    def at(self, strength: float) -> Recipe:
        """This recipe with its method `strength` times as strong; `compare` and the command line call it `dann@0.3`.

        The weights of the objectives beside cross-entropy are scaled. Where an objective stands alone, its weight means nothing
        to AdamW, so the stage's learning rate is scaled; and where a recipe has cross-entropy only, all its rates are.
        """
        if not (strength > 0 and math.isfinite(strength)):
            raise ArgumentError(f"strength is {strength}, expected a number above 0")
        stages, plain = [], not any(map(_beside_cross_entropy, self.stages))
        for stage in self.stages:
            others = len(_beside_cross_entropy(stage))
            if 0 < others < len(stage.objectives()):
                stage = replace(stage, objectives=functools.partial(_scaled, stage.objectives, strength))
            elif others or plain:
                stage = replace(stage, lr=strength * stage.lr)
            stages.append(stage)
        return replace(self, stages=tuple(stages), strength=strength * self.strength)

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
        first_stage: str | Path | None = None,
        augment: Sequence | str | None = "default",
        **arguments,
    ) -> Run:
        """Runs the stages, each for its share of `steps`; further arguments go to every `fit`.

        `augment` is "default", which is what the domains' `augmentation` allows, a pipeline, or None. By default pictures stay
        as they are where the encoder does not move, so that its features are computed once, and in stages on the target alone.

        With a checkpoint each stage keeps its own file beside it (`name.0.pt`, `name.1.pt`, ...); the first keeps `first_stage`
        instead where that is given, so that recipes which begin alike train their first stage once.

        Raises
        ------
        ArgumentError
            When the recipe adapts and there is no target.
        """
        if self.needs_target and target is None:
            raise ArgumentError(f"recipe {self.name!r} adapts to a target and got none; pass target.train.unlabeled()")
        for stage in self.stages:  # before any training, and for stages that never see the source
            if stage.solve and source.multilabel:
                single = f"recipe {self.name!r} solves for one class an example"
                raise ArgumentError(f"{single}, but domain {source.name!r} is multi-label; train instead")
            refuse_multilabel([] if stage.solve else stage.objectives(), source, target)
        if isinstance(augment, str) and augment != "default":
            raise ArgumentError(f"augment is {augment!r}, expected 'default', a list of operations, or None")
        whole = Run(model)
        for i, stage in enumerate(self.stages):
            if stage.solve:
                began, domain = time.perf_counter(), source if stage.data == "source" else target
                assert domain is not None
                stage.strategy.prepare(model)
                stage.solve(model, domain.align(model.classes), augment is not None)
                whole.seconds += time.perf_counter() - began
                continue
            pipeline = augment if stage.augment is None else stage.augment
            if isinstance(pipeline, str):
                plain = stage.data == "target" or stage.strategy.freezes_encoder(model)
                pipeline = None if plain else default_augmentation(source, target if stage.data == "both" else None)
            file = Path(checkpoint).with_suffix(f".{i}.pt") if checkpoint else None
            run = fit(
                model,
                source if stage.data != "target" else None,
                target if stage.data != "source" else None,
                objectives=stage.objectives(),
                strategy=stage.strategy,
                steps=max(1, round(steps * stage.share)),
                lr=lr * stage.lr,
                augment=pipeline,
                checkpoint=first_stage if i == 0 and first_stage else file,
                **arguments,
            )
            history = whole.history + [entry | {"stage": float(i)} for entry in run.history]
            whole = replace(run, history=history, seconds=whole.seconds + run.seconds)
        if self.finish:
            self.finish(model)
        return whole


def _beside_cross_entropy(stage: Stage) -> list[Objective]:
    return [] if stage.solve else [one for one in stage.objectives() if not isinstance(one, CrossEntropy)]


def _scaled(make: Callable[[], Sequence[Objective]], strength: float) -> Sequence[Objective]:
    objectives = make()
    for objective in objectives:
        objective.weight *= 1.0 if isinstance(objective, CrossEntropy) else strength
    return objectives


def _source(name: str, about: str, **stage) -> Recipe:
    """Cross-entropy, unless the stage says otherwise, on the source alone."""
    return Recipe(name, (Stage(data="source", **stage),), about)


def _one(name: str, about: str, *objectives: Callable[[], Objective]) -> Recipe:
    """Cross-entropy on the source plus further objectives, in one stage."""
    return Recipe(name, (Stage(lambda: [CrossEntropy(), *(make() for make in objectives)]),), about)


def _warm(name: str, about: str, *objectives: Callable[[], Objective]) -> Recipe:
    """`_one` after a start on the source alone: for methods that learn from the model's own answers on the target."""
    both = replace(_one(name, about, *objectives).stages[0], share=0.7)
    return Recipe(name, (Stage(data="source", share=0.3), both), about)


def _then(name: str, about: str, objectives: list, strategy: Strategy, data: str = "target", lr: float = 0.3) -> Recipe:
    """Source only first, then a stage of adaptation at a smaller rate that no longer looks at the source's labels."""
    adapt = Stage(lambda: [make() for make in objectives], strategy, data=data, share=0.3, lr=lr)
    return Recipe(name, (Stage(data="source", share=0.7), adapt), about)


# another laboratory's dyes, lamp and camera; no pixel moves
_COLORS = (Stain(0.25), ColorJitter(0.25, 0.25, 0.25, 0.1))
_DEPTH_PROBE = Stage(strategy=strategies.depth(), data="source", solve=depth_probe)
# a frozen encoder's features are computed once, so that a probe's steps are nearly free
_LINEAR_PROBE = Stage(strategy=strategies.head_only(), data="source", share=5, lr=3.0)
# the head was trained on features that batch norm made with its old statistics
_FROM_THE_HEAD = Stage(strategy=strategies.full(freeze_statistics=True), data="source", lr=0.3)

_ALL = [
    _source("source_only", "cross-entropy on the source; the target is never seen"),
    _one("source_only_joint_bn", "the same loss, the target in the same forward pass: batch norm sees both domains"),
    Recipe("linear_probe", (_LINEAR_PROBE,), "a new head on a frozen encoder"),
    _source("norm_only", "batch norms and the head", strategy=strategies.norm_only()),
    _source("layerwise", "the nearer the input, the slower", strategy=strategies.layerwise()),
    _source("gradual_unfreeze", "one more block at a time, from the top", strategy=strategies.gradual_unfreeze()),
    Recipe(
        "lp_ft",
        (_LINEAR_PROBE, _FROM_THE_HEAD),
        "linear probing, then everything from that head, batch-norm statistics kept (Kumar et al., 2022, arXiv:2202.10054)",
    ),
    _source("small_net", "a small net from scratch: what any pretraining must beat", strategy=strategies.small_net()),
    Recipe(
        "depth_probe",
        (_DEPTH_PROBE,),
        "a regularized linear head on pooled middle blocks (after Evci et al., 2022, arXiv:2201.03529)",
        grid=(),
    ),
    Recipe(
        "depth_target_norm",
        (_DEPTH_PROBE, Stage(strategy=strategies.depth(), data="target", solve=standardize)),
        "a depth probe whose features are then standardized on the target",
        grid=(),
    ),
    Recipe(
        "depth_adabn",
        (_DEPTH_PROBE, Stage(lambda: [], data="target", share=0.3)),
        "a depth probe, then all batch-norm statistics of the target (Li et al., 2016, arXiv:1603.04779)",
        grid=(),
    ),
    Recipe(
        "depth_lp_ft",
        (_DEPTH_PROBE, _FROM_THE_HEAD),
        "a depth probe, then everything from that head, batch-norm statistics kept",
    ),
    # adversarial
    _one("dann", "Ganin et al., 2016, arXiv:1505.07818", DANN),
    _one("cdan", "Long et al., 2018, arXiv:1705.10667", lambda: CDAN(strength=2.0)),
    _one("cdan_e", "CDAN with entropy weights", lambda: CDAN(entropy=True, strength=2.0)),
    _then("adda", "Tzeng et al., 2017, arXiv:1702.05464", [ADDA], strategies.encoder_only(0.1), data="both", lr=1.0),
    _one("mdd", "Zhang et al., 2019, arXiv:1904.05801", MDD),
    _one("mcd", "Saito et al., 2018, arXiv:1712.02560", MCD),
    _one("wdgrl", "Shen et al., 2018, arXiv:1707.01217", lambda: WDGRL(strength=0.003)),
    _one("bsp", "DANN with spectral penalization (Chen et al., 2019)", DANN, BSP),
    # discrepancy
    _one("mmd", "Long et al., 2015, arXiv:1502.02791", MMD),
    _one("mmd_linear", "MMD in linear time", lambda: MMD(linear=True)),
    _one("jmmd", "Long et al., 2017, arXiv:1605.06636", JMMD),
    _one("coral", "Sun & Saenko, 2016, arXiv:1607.01719", lambda: CORAL(100.0)),
    _one("sliced_wasserstein", "Lee et al., 2019, arXiv:1903.04064, on features", SlicedWasserstein),
    _warm("deep_jdot", "Damodaran et al., 2018, arXiv:1803.10081", DeepJDOT),
    # outputs and self-training
    _warm("entropy_minimization", "Grandvalet & Bengio, 2004", lambda: EntropyMinimization(0.1)),
    _warm("information_maximization", "entropy and diversity beside the source's labels", InformationMaximization),
    _warm("mcc", "Jin et al., 2020, arXiv:1912.03699", MCC),
    _warm("bnm", "Cui et al., 2020, arXiv:2003.12237", BNM),
    _one("afn", "Xu et al., 2019, arXiv:1811.07456, its hard form", lambda: AFN(radius=25.0)),
    _one("pseudo_label", "Lee, 2013", PseudoLabel),
    _warm(
        "fixmatch",
        "Sohn et al., 2020, arXiv:2001.07685, aligned to the source as in AdaMatch (Berthelot et al., 2022, arXiv:2106.04732)",
        lambda: FixMatch(threshold=0.9, adapt=True),
    ),
    _one(
        "mean_teacher",
        "Tarvainen & Valpola, 2017, arXiv:1703.01780, aligned to the source's class shares",
        lambda: MeanTeacher(10.0, adapt=True),
    ),
    # at test time, without the source
    _then("adabn", "batch-norm statistics of the target (Li et al., 2016, arXiv:1603.04779)", [], strategies.full()),
    _then("tent", "Wang et al., 2021, arXiv:2006.10726", [EntropyMinimization], strategies.norm_only(head=0.0)),
    _then("shot", "Liang et al., 2020, arXiv:2002.08546", [InformationMaximization], strategies.encoder_only()),
    # what to try before any of these
    _source("colour", "source only, colors and stains drawn anew for every image", augment=_COLORS),
    _source("balanced", "rare classes weigh as much as common ones", objectives=lambda: [CrossEntropy(balanced=True)]),
    _source(
        "group_dro",
        "the worst site (or class) weighs most (Sagawa et al., 2020, arXiv:1911.08731)",
        objectives=lambda: [GroupDRO()],
    ),
    Recipe(
        "colour_adabn",
        (Stage(data="source", share=0.7, augment=_COLORS), Stage(lambda: [], data="target", share=0.3, augment=())),
        "colour, then batch-norm statistics of the target",
    ),
]

recipes: dict[str, Recipe] = {recipe.name: recipe for recipe in _ALL}
# another package brings its own by entry points of the group `xferlab.recipes`, each of which names a Recipe
for _entry in importlib.metadata.entry_points(group="xferlab.recipes"):
    try:
        _brought = _entry.load()
        if not isinstance(_brought, Recipe) or _brought.name in recipes:
            raise ArgumentError(f"expected a Recipe of a new name, found {getattr(_brought, 'name', _brought)!r}")
        recipes[_brought.name] = _brought
    except Exception as _error:  # one broken package must not take the others along
        warnings.warn(f"recipe {_entry.name} ({_entry.value}) is left out: {_error}", stacklevel=2)


def find(name: str) -> Recipe:
    """The recipe of that name in `xl.recipes`, or, for a name such as "dann@0.3", that recipe at that strength."""
    known, at, strength = name.partition("@")
    if known not in recipes:
        raise ArgumentError(f"no recipe is called {known!r}; xl.recipes has {', '.join(recipes)}")
    try:
        factor = float(strength) if at else 1.0
    except ValueError as error:
        raise ArgumentError(f"the strength in {name!r} is {strength!r}, expected a number as in 'dann@0.3'") from error
    return recipes[known].at(factor) if at else recipes[known]
