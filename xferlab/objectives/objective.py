"""What an objective is given (Step) and what it must be (Objective)."""

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor, nn

from ..domains import Domain
from ..encoders import Classifier
from ..errors import ArgumentError


@dataclass
class Batch:
    """One side of a step.

    Parameters
    ----------
    inputs, features, logits
        Tensors of B examples, `(B, ...)`, `(B, D)`, `(B, K)`.
    labels
        `(B,)`, `(B, K)` or None.
    site
        Which of the source's sites each example is from `(B,)`, where there are several.

    Examples
    --------
    >>> z = torch.randn(4, 128)
    >>> xl.Batch(source.train.inputs[:4], source.train.labels[:4], z, model.head(z)).probabilities.shape
    torch.Size([4, 10])
    """

    inputs: Tensor
    labels: Tensor | None
    features: Tensor
    logits: Tensor
    site: Tensor | None = None

    @property
    def probabilities(self) -> Tensor:
        return self.logits.softmax(dim=1)


@dataclass(eq=False)
class Step:
    """What one training step has already computed, shared by every objective.

    Parameters
    ----------
    source, target
        Batch or None.
    progress
        0 at the first step, 1 at the last.
    model
        The Classifier being trained.
    views, activations
        What `view` and `taps` give out, activations `(Ns + Nt, ...)` by block; `fit` fills them in.

    Examples
    --------
    >>> sides = [xl.Batch(d.inputs[:4], None, z := model.features(d.inputs[:4]), model.head(z)) for d in (source.val, target.val)]
    >>> step = xl.Step(model, *sides, progress=0.5)
    >>> xl.CORAL()(step) > 0
    tensor(True)
    """

    model: Classifier
    source: Batch | None
    target: Batch | None
    progress: float
    views: Callable[[str, str], Batch] | None = None
    activations: dict[str, Tensor] = field(default_factory=dict)
    _made: dict[tuple[str, str], Batch] = field(default_factory=dict, init=False)

    def view(self, name: str, side: str = "target") -> Batch:
        """Another augmented view ("weak" or "strong") of a side's inputs, computed on first use, then shared."""
        if (name, side) not in self._made:
            if self.views is None:
                raise ArgumentError(f"this step has no views, so {name!r} of the {side} cannot be made")
            self._made[name, side] = self.views(name, side)
        return self._made[name, side]

    def taps(self, block: str) -> tuple[Tensor | None, Tensor | None]:
        """Activations of an encoder block for (source, target); the objective must list it in its `taps`."""
        if block not in self.activations:
            raise ArgumentError(
                f"block {block!r} was not recorded; recorded are {sorted(self.activations)}: list it in the objective's `taps`"
            )
        recorded = self.activations[block]
        n = len(self.source.inputs) if self.source else 0
        return (recorded[:n] if self.source else None), (recorded[n:] if self.target else None)


class Objective(nn.Module):
    """One term of the loss. `fit` adds up `weight * forward(step)` over its objectives.
    Parts made in `setup` (a discriminator, a teacher, a memory) are registered on the module, so that they train,
    move and resume with the run.

    Parameters
    ----------
    weight
        Factor of this term in the loss.

    Attributes
    ----------
    needs
        What the step must hold: any of "source", "target", "source_labels", "target_labels".
    taps
        Names of encoder blocks whose activations `step.taps` should give.
    single_label
        It reads a softmax or an argmax, one class an example: `fit` refuses a multi-label domain.

    Raises
    ------
    ArgumentError
        For a weight that is not finite, or below 0.

    Examples
    --------
    >>> class Means(xl.Objective):
    ...     def forward(self, step):
    ...         return (step.source.features.mean(0) - step.target.features.mean(0)).square().sum()
    >>> run = xl.fit(model, source.train, target.train.unlabeled(), objectives=[xl.CrossEntropy(), Means(0.1)], steps=1)
    >>> list(run.history[0])
    ['step', 'lr', 'CrossEntropy', 'Means']
    """

    needs: frozenset[str] = frozenset({"source", "target"})
    taps: tuple[str, ...] = ()
    single_label: bool = False

    def __init__(self, weight: float = 1.0):
        super().__init__()
        self.expect(0 <= weight < math.inf, "a finite number of 0 or more", weight=weight)
        self.weight = weight
        self._log: dict[str, Tensor] = {}

    def expect(self, right: bool, expected: str, **given) -> None:
        """Raises an ArgumentError that names the arguments given and what was expected, where these are not right."""
        if not right:
            got = ", ".join(f"{name} {value!r}" for name, value in given.items())
            raise ArgumentError(f"{type(self).__name__} got {got}; expected {expected}")

    def setup(self, model: Classifier, source: Domain | None, target: Domain | None) -> None:
        """Makes the objective's own parts. Runs once, before the optimizer is built."""

    def forward(self, step: Step) -> Tensor:
        raise NotImplementedError

    def after_step(self, step: Step) -> None:
        """Runs after the optimizer's update, without gradients: for teachers and memories."""

    def finish(self, model: nn.Module) -> nn.Module | None:
        """Runs once after the last step: an average may become the model."""

    def log(self) -> dict[str, Tensor]:
        """Further scalars worth a curve, kept as tensors: an adversary's accuracy, a share of pseudo-labels kept."""
        return self._log

    def hyperparameters(self) -> list:
        """The class's name and its plain attributes, by which checkpoints and stores tell one setting from another."""
        public = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        plain = {name: value for name, value in public.items() if isinstance(value, (int, float, str, tuple))}
        return [type(self).__name__, *sorted(plain.items())]

    def extra_repr(self) -> str:
        arguments = inspect.signature(type(self)).parameters
        return ", ".join(f"{name}={vars(self)[name]!r}" for name in arguments if name in vars(self))


def one_side(objective: Objective, on: str) -> frozenset[str]:
    """What an objective on the source or on the target needs."""
    objective.expect(on in ("source", "target"), "'source' or 'target'", on=on)
    return frozenset({on})


def warm_up(progress: float, gamma: float = 10.0) -> float:
    """2 / (1 + exp(-gamma p)) - 1: from 0 to 1, the adaptation schedule of Ganin et al. (2016, arXiv:1505.07818)."""
    return 2.0 / (1.0 + math.exp(-gamma * progress)) - 1.0
