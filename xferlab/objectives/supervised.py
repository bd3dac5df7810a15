"""Learning from labels."""

import torch
import torch.nn.functional as F

from .objective import Objective, one_side


class CrossEntropy(Objective):
    """Cross-entropy on labels, `-sum_k w_k q_k log p_k`; sigmoid cross-entropy where the domain is multi-label.

    Soft labels `(B, K)` from MixUp or CutMix are taken as they come.

    Parameters
    ----------
    weight
        Factor in the loss.
    balanced
        Weighs class k by `N / (K n_k)`, so that rare classes count as much as common ones.
    label_smoothing
        Q = (1 - s) one_hot + s / K  (Szegedy et al., 2016, arXiv:1512.00567).
    on
        "source", or "target" for the few labeled target examples of a `target_labels=True` run.

    Raises
    ------
    ArgumentError
        For smoothing outside 0 to 1, or another side.

    Examples
    --------
    >>> run = xl.fit(model, source.train, objectives=[xl.CrossEntropy(label_smoothing=0.1)], steps=1)
    >>> run.history[0]["CrossEntropy"] > 0
    True
    """

    def __init__(
        self, weight: float = 1.0, *, balanced: bool = False, label_smoothing: float = 0.0, on: str = "source"
    ):
        super().__init__(weight)
        self.expect(0 <= label_smoothing < 1, "0 up to, but not including, 1", label_smoothing=label_smoothing)
        self.balanced, self.label_smoothing, self.on, self.multilabel = balanced, label_smoothing, on, False
        self.needs = one_side(self, on) | {f"{on}_labels"}
        self.register_buffer("class_weight", None)

    def setup(self, model, source, target):
        domain = source if self.on == "source" else target
        self.multilabel = domain.multilabel
        if self.balanced:
            counts = domain.counts().float()
            present = counts > 0
            # an absent class gets weight 0, so that the others' mean stays 1
            weight = torch.where(present, counts.sum() / (present.sum() * counts.clamp(min=1)), 0.0)
            if self.multilabel:
                weight = (len(domain) - counts) / counts.clamp(min=1)
            self.class_weight = weight.to(next(model.parameters()).device)

    def forward(self, step):
        batch = getattr(step, self.on)
        if self.multilabel:
            targets = batch.labels * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
            return F.binary_cross_entropy_with_logits(batch.logits, targets, pos_weight=self.class_weight)
        return F.cross_entropy(batch.logits, batch.labels, self.class_weight, label_smoothing=self.label_smoothing)


class GroupDRO(Objective):
    """Cross-entropy in which the worst site weighs most; the worst class, where the source is one site.

        q_g <- q_g exp(eta L_g) / sum of these;   loss = sum_g q_g L_g

    Sagawa et al., 2020, arXiv:1911.08731, algorithm 1; L_g is the mean loss of site g in the batch. Their eta is 0.01 for tens of
    thousands of steps, ours is larger for hundreds. Soft labels count for their largest class.

    Parameters
    ----------
    weight
        Factor in the loss.
    eta
        How fast the weights of sites follow their losses.

    Raises
    ------
    ArgumentError
        For an eta that is not above 0.

    Examples
    --------
    >>> run = xl.fit(model, source.train, objectives=[xl.GroupDRO()], steps=1)
    >>> run.history[0]["GroupDRO.largest_weight"] >= 0.1
    True
    """

    needs = frozenset({"source", "source_labels"})
    single_label = True

    def __init__(self, weight: float = 1.0, *, eta: float = 0.1):
        super().__init__(weight)
        self.expect(eta > 0, "more than 0", eta=eta)
        self.eta = eta
        self.register_buffer("q", None)

    def setup(self, model, source, target):
        count = len(source.sites) if source.site is not None else len(model.classes)
        self.q = torch.full((count,), 1 / count, device=next(model.parameters()).device)

    def forward(self, step):
        labels, group = step.source.labels, step.source.site
        if group is None:
            group = labels if labels.ndim == 1 else labels.argmax(1)
        each = F.cross_entropy(step.source.logits, labels, reduction="none").float()
        sums = torch.zeros_like(self.q).index_add(0, group, each)
        losses = sums / torch.bincount(group, minlength=len(self.q)).clamp(min=1)
        with torch.no_grad():
            self.q *= (self.eta * losses).exp()
            self.q /= self.q.sum()
        return (self.q.clone() * losses).sum()

    def log(self):
        return {"largest_weight": self.q.max()}
