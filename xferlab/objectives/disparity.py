"""Two classifiers that should agree: their disagreement on the target is what the encoder is trained against."""

import torch.nn.functional as F
from torch import Tensor, nn

from .adversarial import Adversarial, discriminator, reverse
from .discrepancy import in_float32
from .objective import warm_up


@in_float32
def margin_disparity(
    source: Tensor, target: Tensor, source_classes: Tensor, target_classes: Tensor, gamma: float
) -> Tensor:
    """What the adversarial classifier of MDD minimizes (Zhang et al., 2019, arXiv:1904.05801).

        gamma * mean_s -log p'(c_s)  +  mean_t -log(1 - p'(c_t)),   p' = softmax of the adversary's logits

    source `(Ns, K)` and target `(Nt, K)` logits of the adversary; classes `(Ns,)`, `(Nt,)` as the classifier has them.
    """
    others = target.scatter(1, target_classes[:, None], float("-inf"))
    # -log(1 - p) from the logits of the other classes: finite where p rounds to 1
    disagree = target.logsumexp(1) - others.logsumexp(1)
    return gamma * F.cross_entropy(source, source_classes) + disagree.mean()


class MDD(Adversarial):
    """Margin disparity discrepancy (Zhang et al., 2019, arXiv:1904.05801).

        min_f' max_encoder  loss = gamma * mean_s -log p'(f(x_s)) + mean_t -log(1 - p'(f(x_t)))

    A second classifier f' agrees with the classifier f on the source and disagrees on the target (see
    `margin_disparity`); the encoder leaves it no room to. adversary_accuracy counts agreement on
    the source and disagreement on the target.

    Parameters
    ----------
    gamma
        exp(margin).

    Raises
    ------
    ArgumentError
        For gamma below 1.

    Examples
    --------
    >>> objectives = [xl.CrossEntropy(), xl.MDD()]
    >>> run = xl.fit(model, source.train, target.train.unlabeled(), objectives=objectives, steps=1)
    >>> run.history[0]["MDD"] >= 0
    True
    """

    single_label = True

    def __init__(self, weight: float = 1.0, *, gamma: float = 4.0, strength: float = 0.1, hidden: int = 64):
        super().__init__(weight, strength=strength, hidden=hidden)
        self.expect(gamma >= 1, "1 or more, which is exp(margin)", gamma=gamma)
        self.gamma = gamma

    def setup(self, model, source, target):
        self.adversary = discriminator(model.head.in_features, self.hidden, model.head.out_features)

    def forward(self, step):
        source, target = map(self.adversary, self.reverse_features(step))
        c_s, c_t = step.source.logits.argmax(1), step.target.logits.argmax(1)
        self.watch(source.argmax(1) == c_s, target.argmax(1) != c_t)
        return margin_disparity(source, target, c_s, c_t, self.gamma)


class MCD(Adversarial):
    """Maximum classifier discrepancy (Saito et al., 2018, arXiv:1712.02560); add it to CrossEntropy, which trains F_1.

        loss = CE(F_2(z_s), y_s) - d,   d = mean_t 1/K sum_k |p_1(k | z_t) - p_2(k | z_t)|

    F_1 is the model's head, F_2 a second one of its shape, started anew: two boundaries that are both right about the
    source. Both heads raise d; the encoder, through gradient reversal, lowers it: the paper's steps B and C in one,
    `strength` in place of the paper's several C steps to each B. adversary_accuracy counts where F_2 agrees with F_1 on
    the source and disagrees on the target.

    Examples
    --------
    >>> objectives = [xl.CrossEntropy(), xl.MCD()]
    >>> run = xl.fit(model, source.train, target.train.unlabeled(), objectives=objectives, steps=1)
    >>> run.history[0]["MCD"] > 0
    True
    """

    needs = frozenset({"source", "target", "source_labels"})
    single_label = True

    def __init__(self, weight: float = 1.0, *, strength: float = 3.0):
        super().__init__(weight, strength=strength)

    def setup(self, model, source, target):
        self.second = nn.Linear(model.head.in_features, model.head.out_features)

    def forward(self, step):
        z = reverse(step.target.features, self.strength * warm_up(step.progress))
        first, second, source = step.model.head(z), self.second(z), self.second(step.source.features)
        self.watch(source.argmax(1) == step.source.logits.argmax(1), second.argmax(1) != first.argmax(1))
        discrepancy = (first.float().softmax(1) - second.float().softmax(1)).abs().mean()
        return F.cross_entropy(source.float(), step.source.labels) - discrepancy
