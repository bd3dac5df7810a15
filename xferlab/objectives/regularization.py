"""Keeping what was learned before: penalties that hold weights, features or outputs near the starting model's."""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..encoders import Classifier, recording
from ..weights import average_into, frozen_copy
from .objective import Batch, Objective, one_side


class L2SP(Objective):
    """Distance of the encoder's weights from where they started, `1/2 ||w - w0||^2 + head/2 ||v||^2`.

    Li et al., 2018, arXiv:1802.01483, equation 3: `weight` is the paper's alpha, `head` its beta / alpha for the new
    head's weights v. Frozen weights do not count. Set `fit`'s `weight_decay` to 0 beside it, or that pulls to zero.

    Parameters
    ----------
    head
        Factor of the head's own term.

    Examples
    --------
    >>> objectives = [xl.CrossEntropy(), xl.L2SP(0.01)]
    >>> xl.fit(model, source.train, objectives=objectives, steps=1).history[0]["L2SP"] >= 0
    True
    """

    needs = frozenset()

    def __init__(self, weight: float = 0.01, *, head: float = 0.0):
        super().__init__(weight)
        self.head = head

    def setup(self, model, source, target):
        self.start = frozen_copy(model.encoder)

    def forward(self, step):
        pairs = zip(step.model.encoder.parameters(), self.start.parameters(), strict=True)
        squares = [(now - then).square().sum() for now, then in pairs if now.requires_grad]
        if self.head:
            squares += [self.head * p.square().sum() for p in step.model.head.parameters()]
        return 0.5 * sum(squares, start=step.model.head.weight.new_zeros(()))


class DELTA(Objective):
    """Distance of inner activations from a frozen copy's, `sum_j 1/2 mean (f_j(x; w) - f_j(x; w0))^2`.

    Li et al., 2019, arXiv:1901.09229, equation 3, every channel with the same attention (the mean over channels); the
    paper's channel weights need a classifier trained on the frozen features first and are left out. The copy runs in eval
    mode: with batch norm the distance is not quite zero at the start.

    Parameters
    ----------
    blocks
        Names of the encoder blocks j to hold.
    last
        How many of the last blocks to hold where `blocks` is None.

    Raises
    ------
    ArgumentError
        For no last block; in `fit`, for a block the encoder lacks.

    Examples
    --------
    >>> objectives = [xl.CrossEntropy(), xl.DELTA(last=1)]
    >>> xl.fit(model, source.train, objectives=objectives, steps=1).history[0]["DELTA"] >= 0
    True
    """

    needs = frozenset({"source"})

    def __init__(self, weight: float = 1.0, *, blocks: Sequence[str] | None = None, last: int = 3):
        super().__init__(weight)
        self.expect(last >= 1, "1 or more", last=last)
        self.taps, self.last = tuple(blocks or ()), last

    def setup(self, model, source, target):
        self.taps = self.taps or tuple(block.name for block in model.encoder.blocks[-self.last :])
        self.start = frozen_copy(model.encoder)

    def forward(self, step):
        with torch.no_grad(), recording(self.start, self.taps) as then:
            self.start.eval()(step.source.inputs)
        now = {name: step.taps(name)[0] for name in self.taps}
        return sum(0.5 * F.mse_loss(now[name].float(), then[name][0].float()) for name in self.taps)


def smallest_singular_values(features: Tensor, k: int) -> Tensor:
    """Sum of the squares of the k smallest of the min(B, D) singular values of features `(B, D)`.

    They are the smallest eigenvalues of the smaller Gram matrix, which costs a quarter of an SVD at 64x1280.
    """
    with torch.autocast(features.device.type, enabled=False):
        gram = features @ features.T if features.shape[0] < features.shape[1] else features.T @ features
        return torch.linalg.eigvalsh(gram)[:k].sum()


class BSS(Objective):
    """Batch spectral shrinkage, `sum_{i=1}^k s_{-i}^2`: the k smallest singular values of the batch's features shrink.

    Chen et al., 2019 (NeurIPS 32, "Catastrophic forgetting meets negative transfer"): directions of little energy are
    the ones that do not transfer. `weight` 0.001 and k = 1 are the paper's.

    Parameters
    ----------
    weight
        Factor in the loss.
    k
        How many singular values.

    Raises
    ------
    ArgumentError
        For k below 1.

    Examples
    --------
    >>> objectives = [xl.CrossEntropy(), xl.BSS()]
    >>> xl.fit(model, source.train, objectives=objectives, steps=1).history[0]["BSS"] >= 0
    True
    """

    needs = frozenset({"source"})

    def __init__(self, weight: float = 1e-3, *, k: int = 1):
        super().__init__(weight)
        self.expect(k >= 1, "1 or more", k=k)
        self.k = k

    def forward(self, step):
        return smallest_singular_values(step.source.features.float(), self.k)


class CoTuning(Objective):
    """Fine-tuning the old head too, on what it should say of each new class: `-1/B sum_i sum_s p(s | y_i) log q_is`.

    You et al., 2020 (NeurIPS 33). `q = softmax(old head(features))`; `relation[y, s] = p(s | y)`, `(K, S)`, is learned
    once: the mean prediction of the starting encoder and its old head over the source examples of class y (the paper's
    direct form; its reverse form through a logistic regression is left out). A class without examples gets the mean
    over all. Takes soft labels too.

    Raises
    ------
    ArgumentError
        In `fit`, when the encoder has no `source_head` or labels are multi-label.

    Examples
    --------
    >>> few = source.train.take(per_class=1)
    >>> model = xl.Classifier(xl.encoder("efficientnet_lite0", size=32), few.classes)
    >>> run = xl.fit(model, few, objectives=[xl.CrossEntropy(), xl.CoTuning()], steps=1, batch_size=4)
    >>> run.history[0]["CoTuning"] >= 0
    True
    """

    needs = frozenset({"source", "source_labels"})
    single_label = True

    def setup(self, model, source, target):
        old_head = _source_head(self, model)
        self.head = copy.deepcopy(old_head).requires_grad_(True)
        start, device = frozen_copy(model.encoder), old_head.weight.device
        with torch.no_grad():
            parts = [old_head(start(x.to(device))).softmax(dim=1) for x in source.inputs.split(256)]
        relation = class_means(torch.cat(parts), source.labels.to(device), len(model.classes))
        self.register_buffer("relation", relation)

    def forward(self, step):
        labels = step.source.labels
        wanted = labels.to(self.relation.dtype) @ self.relation if labels.is_floating_point() else self.relation[labels]
        return F.cross_entropy(self.head(step.source.features).float(), wanted)


def class_means(probabilities: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Mean of probabilities `(N, S)` over each class, `(K, S)`; over everything for a class without examples."""
    member = F.one_hot(labels, classes).to(probabilities.dtype)
    counts = member.sum(dim=0).unsqueeze(1)
    return torch.where(counts > 0, member.T @ probabilities / counts.clamp(min=1), probabilities.mean(dim=0))


def distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """`T^2 KL(softmax(teacher / T) || softmax(student / T))`, mean over the batch, of logits `(B, K)`.

    Hinton et al., 2015, arXiv:1503.02531; T^2 keeps the gradient's size as T changes.
    """
    p, q = (teacher / temperature).log_softmax(dim=1), (student / temperature).log_softmax(dim=1)
    return temperature**2 * F.kl_div(q, p, reduction="batchmean", log_target=True)


class Distillation(Objective):
    """Outputs stay near a teacher's on `on`'s inputs, see `distillation`.

    Hinton et al., 2015, arXiv:1503.02531. `teacher` is a Classifier over the same classes; None is a frozen copy of the
    model as it starts, which makes sense once its head is trained. To hold what an encoder knew before it had this
    head, see LwF.

    Parameters
    ----------
    weight
        Factor in the loss.
    temperature
        Divides both sides' logits.
    teacher
        A Classifier over the same classes, or None.
    on
        "source" or "target".

    Raises
    ------
    ArgumentError
        For a temperature that is not above 0, another side, or a teacher of other classes.

    Examples
    --------
    >>> objectives = [xl.CrossEntropy(), xl.Distillation()]
    >>> xl.fit(model, source.train, objectives=objectives, steps=1).history[0]["Distillation"] >= 0
    True
    """

    single_label = True

    def __init__(
        self, weight: float = 1.0, *, temperature: float = 2.0, teacher: nn.Module | None = None, on: str = "source"
    ):
        super().__init__(weight)
        self.expect(temperature > 0, "more than 0", temperature=temperature)
        self.temperature, self.on = temperature, on
        self.needs = one_side(self, on)
        self.own, self.teacher = teacher is None, None if teacher is None else frozen_copy(teacher)

    def setup(self, model, source, target):
        self.teacher = frozen_copy(model) if self.own else self.teacher
        taught = self.teacher.classes
        self.expect(taught == model.classes, f"the model's classes, {model.classes}", teacher=taught)

    def _student(self, batch: Batch) -> Tensor:
        return batch.logits

    def forward(self, step):
        batch = getattr(step, self.on)
        with torch.no_grad():
            teacher = self.teacher.eval()(batch.inputs)
        return distillation(self._student(batch).float(), teacher.float(), self.temperature)


class LwF(Distillation):
    """Learning without forgetting: the old head, on the moving features, keeps saying what it said at the start.

    Li and Hoiem, 2016, arXiv:1606.09282, equation 2: `distillation` at T = 2 between the encoder's `source_head` (a copy
    that trains along) and the same head on a frozen copy of the encoder.

    Parameters
    ----------
    weight
        Factor in the loss.
    temperature
        Divides both sides' logits.
    on
        "source" or "target".

    Raises
    ------
    ArgumentError
        Without a `source_head`, for a temperature that is not above 0, or another side.

    Examples
    --------
    >>> few = source.train.take(per_class=1)
    >>> model = xl.Classifier(xl.encoder("efficientnet_lite0", size=32), few.classes)
    >>> run = xl.fit(model, few, objectives=[xl.CrossEntropy(), xl.LwF()], steps=1, batch_size=4)
    >>> run.history[0]["LwF"] >= 0
    True
    """

    single_label = False

    def __init__(self, weight: float = 1.0, *, temperature: float = 2.0, on: str = "source"):
        super().__init__(weight, temperature=temperature, on=on)

    def setup(self, model, source, target):
        old_head = _source_head(self, model)
        self.head = copy.deepcopy(old_head).requires_grad_(True)
        self.teacher = nn.Sequential(frozen_copy(model.encoder), frozen_copy(old_head))

    def _student(self, batch):
        return self.head(batch.features)


class EMA(Objective):
    """An average of the weights over training, which takes their place at its end. Adds nothing to the loss.

    After update n the average becomes `a average + (1 - a) w` with `a = min(decay, 1 - 1/n)` (Polyak and Juditsky, 1992;
    with this warm-up in Tarvainen and Valpola, 2017, arXiv:1703.01780). `decay=None` is `a = 1 - 1/n`, the plain mean.
    Updates before progress `start` do not count. Batch-norm statistics are averaged with the weights; a mean over few
    distant weights needs them measured anew, by `xl.weights.refresh_batch_norm` on the training domain.

    Parameters
    ----------
    decay
        Nearer 1 remembers longer; None is the plain mean.
    start
        Progress from which updates count.

    Raises
    ------
    ArgumentError
        For a decay or a start outside 0 to 1.

    Examples
    --------
    >>> objectives = [xl.CrossEntropy(), xl.EMA(0.99)]
    >>> xl.fit(model, source.train, objectives=objectives, steps=1).history[0]["EMA"] == 0
    True
    """

    needs = frozenset()

    def __init__(self, decay: float | None = 0.99, *, start: float = 0.0):
        super().__init__(weight=0.0)
        self.expect(decay is None or 0 <= decay < 1, "0 up to, but not including, 1, or None", decay=decay)
        self.expect(0 <= start <= 1, "a progress, 0 to 1", start=start)
        self.decay, self.start = decay, start

    def setup(self, model, source, target):
        self.average = frozen_copy(model)
        self.register_buffer("updates", torch.zeros((), device=model.head.weight.device))

    def forward(self, step):
        return step.model.head.weight.new_zeros(())

    def after_step(self, step):
        if step.progress >= self.start:
            self.updates += 1
            rate = 1 / self.updates
            average_into(self.average, step.model, rate if self.decay is None else rate.clamp(min=1 - self.decay))

    def finish(self, model):
        model.load_state_dict(self.average.state_dict())


class SWA(EMA):
    """Stochastic weight averaging: the plain mean of the weights from progress `start` on.

    Izmailov et al., 2018, arXiv:1803.05407. After `fit`, `xl.weights.refresh_batch_norm(model, source)` makes batch-norm
    statistics those of the averaged weights.

    Parameters
    ----------
    start
        Progress from which weights count.

    Examples
    --------
    >>> objectives = [xl.CrossEntropy(), xl.SWA()]
    >>> xl.fit(model, source.train, objectives=objectives, steps=1).history[0]["SWA"] == 0
    True
    """

    def __init__(self, *, start: float = 0.75):
        super().__init__(decay=None, start=start)


def _source_head(objective: Objective, model: Classifier):
    head = model.encoder.source_head
    expected = "one with the head it was pretrained with (source_head), such as xl.encoder('efficientnet_lite0')"
    objective.expect(head is not None, expected, encoder=model.encoder.name)
    return head
