"""Learning from a model's own outputs on unlabeled target examples: no target label is read anywhere here."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..weights import average_into, frozen_copy
from .objective import Objective


def entropy(logits: Tensor) -> Tensor:
    """`H(p) = -sum_k p_k log p_k` in nats of `p = softmax(logits)`: `(B, K)` to `(B,)`."""
    log_p = logits.log_softmax(dim=1)
    return -(log_p.exp() * log_p).sum(dim=1)


def marginal_entropy(logits: Tensor) -> Tensor:
    """Entropy of the mean prediction, `H(mean_i p_i)`: `(B, K)` to a scalar between 0 and log K."""
    return torch.special.entr(logits.softmax(dim=1).mean(dim=0)).sum()


def mcc(logits: Tensor, temperature: float = 2.5) -> Tensor:
    """Minimum class confusion of logits `(B, K)`: the share of class mass that is shared with other classes.

    With `P = softmax(logits / T)`, `w_i` proportional to `1 + exp(-H(P_i))` with mean 1 (taken as constant) and
    `C = P^T diag(w) P`, whose rows are scaled to sum to 1, this is `(sum C - trace C) / K`.
    Jin et al., 2020, arXiv:1912.03699, equations 3 to 7.
    """
    p = (logits / temperature).softmax(dim=1)
    certainty = 1 + torch.exp(-entropy(logits.detach() / temperature))
    confusion = p.T @ (p * (certainty / certainty.mean()).unsqueeze(1))
    confusion = confusion / confusion.sum(dim=1, keepdim=True).clamp(min=1e-12)  # a class nobody predicts
    # not trace(), whose gradient makes a GPU wait
    return (confusion.sum() - confusion.diagonal().sum()) / logits.shape[1]


def nuclear_norm(logits: Tensor) -> Tensor:
    """Sum of the singular values of `softmax(logits)`, `(B, K)`, divided by B."""
    return torch.linalg.svdvals(logits.softmax(dim=1)).sum() / len(logits)


def kept(probabilities: Tensor, threshold: float | Tensor) -> tuple[Tensor, Tensor]:
    """Pseudo-labels `argmax_k p_k` `(B,)` and which of them are kept, `max_k p_k >= threshold`, as 0 or 1 `(B,)`."""
    confidence, labels = probabilities.max(dim=1)
    return labels, (confidence >= threshold).to(probabilities.dtype)


def ramp_up(progress: float, first: float, last: float) -> float:
    """0 until progress `first`, 1 from `last` on, a straight line between."""
    return 1.0 if progress >= last else max(0.0, (progress - first) / (last - first))


class OnTargetOutputs(Objective):
    """An objective on the target's logits alone, through a softmax: one class an example."""

    needs = frozenset({"target"})
    single_label = True


class EntropyMinimization(OnTargetOutputs):
    """Mean entropy of the target's predictions, `1/B sum_i H(p_i)`: decision boundaries leave dense regions.

    Grandvalet and Bengio, 2004 (NeurIPS 17). In a target-only stage with `strategies.norm_only()` it is Tent (Wang et
    al., 2021, arXiv:2006.10726). Alone it is also smallest when everything is one class: see InformationMaximization.

    Examples
    --------
    >>> tent = dict(objectives=[xl.EntropyMinimization()], strategy=xl.strategies.norm_only(head=0.0), steps=1)
    >>> model = xl.Classifier(xl.encoder("small_cnn", channels=1, size=28), source.classes)
    >>> xl.fit(model, None, target.train.unlabeled(), **tent).history[0]["EntropyMinimization"] > 0
    True
    """

    def forward(self, step):
        loss = entropy(step.target.logits.float()).mean()
        self._log = {"entropy": loss.detach()}
        return loss


class InformationMaximization(OnTargetOutputs):
    """`1/B sum_i H(p_i) - diversity * H(1/B sum_i p_i)`: sure about each example, even over all of them.

    The loss of SHOT-IM (Liang et al., 2020, arXiv:2002.08546, equation 3), from -log K (each class certain and equally
    frequent) to 0. Needs no source: SHOT is a target-only stage with the head frozen. SHOT's second term, labels from
    class centroids, is not part of this. Where target classes are not equally frequent, lower `diversity`.

    Parameters
    ----------
    diversity
        Factor of the second term; lower it where target classes are not equally frequent.

    Examples
    --------
    >>> shot = dict(objectives=[xl.InformationMaximization()], strategy=xl.strategies.encoder_only(), steps=1)
    >>> xl.fit(model, None, target.train.unlabeled(), **shot).history[0]["InformationMaximization"] <= 0
    True
    """

    def __init__(self, weight: float = 1.0, *, diversity: float = 1.0):
        super().__init__(weight)
        self.diversity = diversity

    def forward(self, step):
        logits = step.target.logits.float()
        conditional, marginal = entropy(logits).mean(), marginal_entropy(logits)
        self._log = {"entropy": conditional.detach(), "marginal_entropy": marginal.detach()}
        return conditional - self.diversity * marginal


class MCC(OnTargetOutputs):
    """Minimum class confusion of the target's logits, see `mcc`: pulls apart the classes that are mixed up.

    Jin et al., 2020, arXiv:1912.03699. The loss lies between 0 and 1 - 1/K.

    Parameters
    ----------
    temperature
        Divides the logits; 2.5 is the paper's.

    Raises
    ------
    ArgumentError
        For a temperature that is not above 0.

    Examples
    --------
    >>> objectives = [xl.CrossEntropy(), xl.MCC()]
    >>> run = xl.fit(model, source.train, target.train.unlabeled(), objectives=objectives, steps=1)
    >>> run.history[0]["MCC"] >= 0
    True
    """

    def __init__(self, weight: float = 1.0, *, temperature: float = 2.5):
        super().__init__(weight)
        self.expect(temperature > 0, "more than 0", temperature=temperature)
        self.temperature = temperature

    def forward(self, step):
        return mcc(step.target.logits.float(), self.temperature)


class BNM(OnTargetOutputs):
    """Batch nuclear-norm maximization, `-||P||_* / B` with `P = softmax(target logits)`, `(B, K)`.

    Cui et al., 2020, arXiv:2003.12237: the nuclear norm is large when predictions are sure (large Frobenius norm) and
    varied (high rank). Lies between -sqrt(min(B, K) / B) and -1 / sqrt(B K).

    Examples
    --------
    >>> objectives = [xl.CrossEntropy(), xl.BNM()]
    >>> run = xl.fit(model, source.train, target.train.unlabeled(), objectives=objectives, steps=1)
    >>> run.history[0]["BNM"] <= 0
    True
    """

    def forward(self, step):
        return -nuclear_norm(step.target.logits.float())


class PseudoLabel(OnTargetOutputs):
    """Cross-entropy on the model's own sure predictions, `a(t) / B sum_i 1[max p_i >= threshold] CE(z_i, argmax p_i)`.

    Lee, 2013 (ICML workshop on challenges in representation learning). `a` rises from 0 at progress `ramp[0]` to 1 at
    `ramp[1]`, so that a model that knows nothing yet does not teach itself. Logs the share kept, in all and as each
    class: a class that takes all is the way this fails.

    Parameters
    ----------
    weight
        Factor in the loss.
    threshold
        Confidence from which an answer counts as a label.
    ramp
        Progress at which the loss begins, and at which it counts in full.

    Raises
    ------
    ArgumentError
        For a threshold outside 0 to 1, or a ramp that does not rise.

    Examples
    --------
    >>> objectives = [xl.CrossEntropy(), xl.PseudoLabel(threshold=0.8)]
    >>> run = xl.fit(model, source.train, target.train.unlabeled(), objectives=objectives, steps=1)
    >>> run.history[0]["PseudoLabel"] >= 0
    True
    """

    def __init__(self, weight: float = 1.0, *, threshold: float = 0.9, ramp: tuple[float, float] = (0.1, 0.5)):
        super().__init__(weight)
        self.expect(0 <= threshold <= 1, "a probability, 0 to 1", threshold=threshold)
        self.expect(0 <= ramp[0] <= ramp[1] <= 1, "(from, to) with 0 <= from <= to <= 1", ramp=ramp)
        self.threshold, self.ramp = threshold, tuple(ramp)

    def forward(self, step):
        logits = step.target.logits.float()
        labels, mask = kept(logits.detach().softmax(dim=1), self.threshold)
        self._log = _shares(labels, mask, step.model.classes)
        return ramp_up(step.progress, *self.ramp) * (mask * F.cross_entropy(logits, labels, reduction="none")).mean()


class AlignedToSource(OnTargetOutputs):
    """What the model itself says of the target may be aligned to the source's class shares before it becomes a label."""

    source_shares: Tensor
    target_shares: Tensor

    def __init__(self, weight: float, adapt: bool):
        super().__init__(weight)
        self.adapt = adapt
        self.needs = frozenset({"source_labels", "target"}) if adapt else self.needs

    def setup(self, model, source, target):
        if self.adapt:
            shares = (source.counts() / len(source)).to(next(model.parameters()).device)
            self.register_buffer("source_shares", shares)
            self.register_buffer("target_shares", shares.clone())

    def aligned(self, p: Tensor) -> Tensor:
        """Probabilities `(B, K)` times the source's shares over a running mean of those given so far, scaled to sum to 1."""
        if not self.adapt:
            return p
        self.target_shares.lerp_(p.mean(dim=0), 0.1)
        p = p * self.source_shares / self.target_shares.clamp(min=1e-6)
        return p / p.sum(dim=1, keepdim=True)


class FixMatch(AlignedToSource):
    """Cross-entropy of a strongly augmented view on labels from the plain one, `1/B sum_i 1[max p_i >= t] CE(z'_i, y_i)`.

    Sohn et al., 2020, arXiv:2001.07685, equation 4. `p` are the step's own target predictions (weakly augmented, if
    `fit` augments), `y = argmax p` without gradient, `z'` the logits of `step.view("strong", "target")`.

    On a shifted target the class that is predicted too often becomes surer with every step, until all is that class. `adapt`
    does two things against it, both from AdaMatch (Berthelot et al., 2022, arXiv:2106.04732): `p_i` is multiplied by the
    source's class shares over a running mean of the target's predictions and scaled to sum to 1; and `t` is `threshold` times
    the mean confidence on the step's source batch, so that it asks for no more on the target than the source gives.

    Parameters
    ----------
    threshold
        Confidence from which an answer counts as a label.
    adapt
        AdaMatch's two remedies, as above.

    Raises
    ------
    ArgumentError
        For a threshold outside 0 to 1.

    Examples
    --------
    >>> objectives = [xl.CrossEntropy(), xl.FixMatch()]
    >>> run = xl.fit(model, source.train, target.train.unlabeled(), objectives=objectives, steps=1)
    >>> run.history[0]["FixMatch"] >= 0
    True
    """

    def __init__(self, weight: float = 1.0, *, threshold: float = 0.95, adapt: bool = False):
        super().__init__(weight, adapt)
        self.expect(0 <= threshold <= 1, "a probability, 0 to 1", threshold=threshold)
        self.threshold = threshold

    def forward(self, step):
        p, threshold = self.aligned(step.target.logits.detach().float().softmax(dim=1)), self.threshold
        if self.adapt:
            threshold = threshold * step.source.logits.detach().float().softmax(dim=1).amax(dim=1).mean()
        labels, mask = kept(p, threshold)
        self._log = _shares(labels, mask, step.model.classes)
        strong = step.view("strong", "target").logits.float()
        return (mask * F.cross_entropy(strong, labels, reduction="none")).mean()


class MeanTeacher(AlignedToSource):
    """Consistency with an averaged teacher, `r(t) / (B K) sum_ik (p_ik - q_ik)^2`.

    Tarvainen and Valpola, 2017, arXiv:1703.01780. `p` is the student on `view` (or on the step's own inputs if None),
    `q` the teacher on the step's inputs. After update n the teacher becomes `a teacher + (1 - a) student`,
    `a = min(decay, 1 - 1/n)`, batch-norm statistics included; it runs in eval mode, without gradient.
    `r = exp(-5 (1 - min(1, progress / ramp))^2)`.

    A teacher that has learned on the source alone says some classes too often on a shifted target, and the average keeps them.
    With `adapt`, `q_i` is first multiplied by the source's class shares over a running mean of the teacher's answers and scaled
    to sum to 1, as AdaMatch does with its labels (Berthelot et al., 2022, arXiv:2106.04732).

    Parameters
    ----------
    weight
        Factor in the loss.
    decay
        Of the teacher's average.
    ramp
        Progress at which the loss counts in full.
    view
        What the student sees, or None.
    adapt
        Whether the teacher's answers are aligned to the source's class shares.

    Raises
    ------
    ArgumentError
        For a decay outside 0 to 1.

    Examples
    --------
    >>> objectives = [xl.CrossEntropy(), xl.MeanTeacher()]
    >>> run = xl.fit(model, source.train, target.train.unlabeled(), objectives=objectives, steps=1)
    >>> run.history[0]["MeanTeacher"] >= 0
    True
    """

    def __init__(
        self,
        weight: float = 1.0,
        *,
        decay: float = 0.99,
        ramp: float = 0.3,
        view: str | None = "strong",
        adapt: bool = False,
    ):
        super().__init__(weight, adapt)
        self.expect(0 <= decay < 1, "0 up to, but not including, 1", decay=decay)
        self.decay, self.ramp, self.view = decay, ramp, view

    def setup(self, model, source, target):
        super().setup(model, source, target)
        self.teacher = frozen_copy(model)
        self.register_buffer("updates", torch.zeros((), device=next(model.parameters()).device))

    def forward(self, step):
        with torch.no_grad():
            teacher = self.aligned(self.teacher.eval()(step.target.inputs).float().softmax(dim=1))
        student = step.target if self.view is None else step.view(self.view, "target")
        difference = (student.logits.float().softmax(dim=1) - teacher).square().mean()
        self._log = {"disagreement": difference.detach()}
        return math.exp(-5 * (1 - ramp_up(step.progress, 0.0, self.ramp)) ** 2) * difference

    def after_step(self, step):
        self.updates += 1
        average_into(self.teacher, step.model, (1 / self.updates).clamp(min=1 - self.decay))


class AFN(Objective):
    """Adaptive feature norm: features of the target, and of the source where there is one, are made longer.

    Xu et al., 2019, arXiv:1811.07456. Stepwise (SAFN, equation 7): `mean_i (||f_i|| - (||f_i||_constant + step_size))^2`,
    whose value is always `step_size^2` and whose gradient lengthens every feature alike. With `radius`, the hard form
    (HAFN, equation 5): `mean_i (||f_i|| - radius)^2`. The sides are added. Logs the mean norm: that is the curve to see.

    Parameters
    ----------
    weight
        Factor in the loss.
    step_size, radius
        Of the stepwise and of the hard form; a radius chooses the hard one.

    Raises
    ------
    ArgumentError
        For a radius that is not above 0.

    Examples
    --------
    >>> objectives = [xl.CrossEntropy(), xl.AFN()]
    >>> run = xl.fit(model, source.train, target.train.unlabeled(), objectives=objectives, steps=1)
    >>> run.history[0]["AFN"] >= 0
    True
    """

    needs = frozenset({"target"})

    def __init__(self, weight: float = 0.05, *, step_size: float = 1.0, radius: float | None = None):
        super().__init__(weight)
        self.expect(radius is None or radius > 0, "more than 0, or None for the stepwise form", radius=radius)
        self.step_size, self.radius = step_size, radius

    def forward(self, step):
        norms = [batch.features.float().norm(dim=1) for batch in (step.source, step.target) if batch is not None]
        self._log = {"norm": norms[-1].detach().mean()}
        goals = [n.detach() + self.step_size if self.radius is None else self.radius for n in norms]
        return sum((n - goal).square().mean() for n, goal in zip(norms, goals, strict=True))


def _shares(labels: Tensor, mask: Tensor, classes: tuple[str, ...]) -> dict[str, Tensor]:
    """Share of the batch kept, in all and as each class; the classes' shares add up to the first."""
    each = (F.one_hot(labels, len(classes)) * mask.unsqueeze(1)).mean(dim=0)
    return {"kept": mask.mean()} | {f"kept/{name}": share for name, share in zip(classes, each, strict=True)}
