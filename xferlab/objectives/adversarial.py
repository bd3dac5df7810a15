"""Domain adaptation against an adversary that tells source from target, or finds where classifiers disagree.

One backward pass and one optimizer serve both players. Gradient reversal gives the encoder the opposite of what its
adversary wants; where the two want different losses, the adversary's is taken on detached features and the encoder's
through the adversary with its parameters detached.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from .discrepancy import in_float32
from .objective import Objective, Step, warm_up


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, strength):
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.strength * gradient, None


def reverse(x: Tensor, strength: float | Tensor = 1.0) -> Tensor:
    """Gradient reversal (Ganin et al., 2016, arXiv:1505.07818): x forward, `-strength * gradient` backward."""
    return _Reversal.apply(x, strength)


def discriminator(features: int, hidden: int, outputs: int = 1) -> nn.Sequential:
    """Features `(B, features)` to logits `(B, outputs)` through two hidden layers. No sigmoid: losses work on logits."""
    first, second, last = nn.Linear(features, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, outputs)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)


def frozen(module: nn.Module, x: Tensor) -> Tensor:
    """`module(x)` with its parameters detached: gradient reaches x and not the module."""
    return functional_call(module, {name: p.detach() for name, p in module.named_parameters()}, (x,))


@in_float32
def domain_loss(
    source: Tensor, target: Tensor, source_weights: Tensor | None = None, target_weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy of domain logits, source 1 and target 0: each side's (weighted) mean, then the mean of both.

    source `(Ns,)` or `(Ns, 1)`, target alike, weights `(Ns,)` and `(Nt,)`; sides count alike at any batch sizes.
    """

    def mean(wrong: Tensor, weights: Tensor | None) -> Tensor:
        return wrong.mean() if weights is None else (weights * wrong).sum() / weights.sum()

    wrong_s, wrong_t = F.softplus(-source.flatten()), F.softplus(target.flatten())
    return (mean(wrong_s, source_weights) + mean(wrong_t, target_weights)) / 2


class Adversarial(Objective):
    """An objective with an adversary, and a watch on whether it is alive.

    Parameters
    ----------
    weight
        Factor in the loss.
    strength
        How hard the encoder is pushed, at the end of a warm-up (see `warm_up`; ADDA has none).
    hidden
        The width of the adversary's hidden layers: far stronger than the encoder, it wins for good and its loss
        saturates.

    Attributes
    ----------
    adversary_accuracy
        Running mean of how often the adversary is right, source and target counting alike. It should rise above 0.5 and
        come back: 0.5 from the first step to the last is a dead adversary, well below 0.5 one that lags behind the
        encoder (lower `strength` or the learning rate).
    """

    adversary_accuracy: Tensor

    def __init__(self, weight: float = 1.0, *, strength: float = 1.0, hidden: int = 64):
        super().__init__(weight)
        self.expect(strength >= 0 and hidden >= 1, "0 or more, and 1 or more", strength=strength, hidden=hidden)
        self.strength, self.hidden = strength, hidden
        self.register_buffer("adversary_accuracy", torch.tensor(0.5))

    def reverse_features(self, step: Step) -> tuple[Tensor, Tensor]:
        """Source and target features behind gradient reversal, at the strength of this moment of training."""
        assert step.source is not None and step.target is not None
        strength = self.strength * warm_up(step.progress)
        return reverse(step.source.features, strength), reverse(step.target.features, strength)

    @torch.no_grad()
    def watch(self, source_right: Tensor, target_right: Tensor) -> None:
        now = (source_right.float().mean() + target_right.float().mean()) / 2
        self.adversary_accuracy.lerp_(now.to(self.adversary_accuracy), 0.05)

    def log(self) -> dict[str, Tensor]:
        return {"adversary_accuracy": self.adversary_accuracy.clone()}


class DANN(Adversarial):
    """Domain-adversarial training (Ganin et al., 2016, arXiv:1505.07818).

        min_D max_encoder  loss = (mean_s -log D(z_s) + mean_t -log(1 - D(z_t))) / 2

    D gets the loss's gradient, the encoder its reverse, times `strength * warm_up(progress)`. Features `(B, D)`.

    Examples
    --------
    >>> objectives = [xl.CrossEntropy(), xl.DANN(weight=1.0)]
    >>> run = xl.fit(model, source.train, target.train.unlabeled(), objectives=objectives, steps=1)
    >>> run.history[0]["DANN"] >= 0
    True
    """

    def setup(self, model, source, target):
        self.discriminator = discriminator(model.head.in_features, self.hidden)

    def forward(self, step):
        sides = self.reverse_features(step)
        source, target = self.discriminator(torch.cat(sides)).split([len(z) for z in sides])  # one pass: half the calls
        self.watch(source > 0, target <= 0)
        return domain_loss(source, target)


def multilinear_map(
    z: Tensor, p: Tensor, z_directions: Tensor | None = None, p_directions: Tensor | None = None
) -> Tensor:
    """Outer product of features z `(B, D)` and predictions p `(B, K)`, flattened, `(B, D * K)`.

    With directions `(D, M)` and `(K, M)` its randomized form `(z R_z) * (p R_p) / sqrt(M)`, `(B, M)`, whose inner
    products estimate the full one's (Long et al., 2018, arXiv:1705.10667).
    """
    if z_directions is None or p_directions is None:
        return (z[:, :, None] * p[:, None, :]).flatten(1)
    return (z @ z_directions) * (p @ p_directions) / z_directions.shape[1] ** 0.5


@in_float32
def certainty_weights(p: Tensor) -> Tensor:
    """`1 + exp(-H(p))` for predictions p `(B, K)`, H the entropy: sure examples count up to twice, `(B,)`."""
    return 1 + torch.exp(torch.special.entr(p).sum(1).neg())


class CDAN(Adversarial):
    """Conditional domain-adversarial training (Long et al., 2018, arXiv:1705.10667): DANN on features and predictions.

        loss = DANN's with D(T(z, p)),  T(z, p) the outer product (see `multilinear_map`),  p = softmax of the logits, held fixed

    Parameters
    ----------
    entropy
        CDAN+E: examples weigh `1 + exp(-H(p))`.
    projection
        M of the randomized map, taken when D * K is above 4096; its directions are buffers.

    Raises
    ------
    ArgumentError
        For a projection below 1.

    Examples
    --------
    >>> objectives = [xl.CrossEntropy(), xl.CDAN()]
    >>> run = xl.fit(model, source.train, target.train.unlabeled(), objectives=objectives, steps=1)
    >>> run.history[0]["CDAN"] >= 0
    True
    """

    single_label = True

    def __init__(
        self,
        weight: float = 1.0,
        *,
        entropy: bool = False,
        strength: float = 1.0,
        hidden: int = 64,
        projection: int = 1024,
    ):
        super().__init__(weight, strength=strength, hidden=hidden)
        self.expect(projection >= 1, "1 or more", projection=projection)
        self.entropy, self.projection = entropy, projection
        self.register_buffer("z_directions", None)
        self.register_buffer("p_directions", None)

    def setup(self, model, source, target):
        d, k = model.head.in_features, model.head.out_features
        if d * k > 4096:
            self.z_directions, self.p_directions = torch.randn(d, self.projection), torch.randn(k, self.projection)
        self.discriminator = discriminator(d * k if d * k <= 4096 else self.projection, self.hidden)

    def forward(self, step):
        p = [batch.probabilities.detach() for batch in (step.source, step.target)]
        joint = [
            multilinear_map(z, q, self.z_directions, self.p_directions)
            for z, q in zip(self.reverse_features(step), p, strict=True)
        ]
        source, target = map(self.discriminator, joint)
        self.watch(source > 0, target <= 0)
        return domain_loss(source, target, *(map(certainty_weights, p) if self.entropy else ()))


class ADDA(Adversarial):
    """Adversarial discriminative adaptation (Tzeng et al., 2017, arXiv:1702.05464), for a stage after source training.

        D:        (mean_s -log D(E_0(x_s)) + mean_t -log(1 - D(E(x_t)))) / 2
        encoder:  strength * mean_t -log D(E(x_t))       (inverted labels, D fixed)

    E_0 is the encoder as it was at `setup`, kept frozen in the objective. Nothing here reaches the head, which the
    paper keeps as it is, so nothing but a low rate of the encoder (`strategies.encoder_only(0.1)`) keeps the classes in
    place. D moves at the full rate: at a tenth of it, a short run leaves the adversary at chance.

    Examples
    --------
    >>> adda = dict(objectives=[xl.ADDA()], strategy=xl.strategies.encoder_only(0.1), steps=1)
    >>> run = xl.fit(model, source.train, target.train.unlabeled(), **adda)
    >>> run.history[0]["ADDA"] >= 0
    True
    """

    def __init__(self, weight: float = 1.0, *, strength: float = 1.0, hidden: int = 500):
        super().__init__(weight, strength=strength, hidden=hidden)

    def setup(self, model, source, target):
        self.source_encoder = copy.deepcopy(model.encoder).requires_grad_(False)
        self.discriminator = discriminator(model.head.in_features, self.hidden)

    def forward(self, step):
        with torch.no_grad():
            z = self.source_encoder.eval()(step.source.inputs)  # eval: batch norm stays as the source left it
        source, target = self.discriminator(z), self.discriminator(step.target.features.detach())
        self.watch(source > 0, target <= 0)
        fooled = F.softplus(-frozen(self.discriminator, step.target.features).float()).mean()
        return domain_loss(source, target) + self.strength * fooled


@in_float32
def critic_distance(source: Tensor, target: Tensor) -> Tensor:
    """`mean source - mean target` of a critic's outputs: a 1-Lipschitz critic's is at most the 1-Wasserstein distance."""
    return source.mean() - target.mean()


@in_float32
def gradient_penalty(zs: Tensor, zt: Tensor, critic: nn.Module) -> Tensor:
    """`mean (|grad critic(z)| - 1)^2` at points drawn between pairs of zs and zt, and at zs and zt themselves.

    zs `(Ns, D)` and zt `(Nt, D)` are detached; the first min(Ns, Nt) of each make the pairs. Gradient reaches the critic.
    """
    zs, zt = zs.detach(), zt.detach()
    n = min(len(zs), len(zt))
    between = torch.lerp(zs[:n], zt[:n], torch.rand_like(zs[:n, :1]))
    points = torch.cat([between, zs, zt]).requires_grad_()
    (slope,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    return (slope.norm(dim=1) - 1).square().mean()


class WDGRL(Adversarial):
    """Wasserstein-guided representation learning (Shen et al., 2018, arXiv:1707.01217).

        loss = -(mean_s c(z_s) - mean_t c(z_t)) + penalty * mean (|grad c| - 1)^2

    The critic c minimizes it, so that the difference of means nears the Wasserstein distance; the encoder lowers that
    distance through gradient reversal, and the penalty (see `gradient_penalty`) does not reach it. adversary_accuracy
    takes the middle between the critic's two means as the boundary.

    Parameters
    ----------
    penalty
        Of the critic's gradient.

    Raises
    ------
    ArgumentError
        For a penalty below 0.

    Examples
    --------
    >>> objectives = [xl.CrossEntropy(), xl.WDGRL()]
    >>> run = xl.fit(model, source.train, target.train.unlabeled(), objectives=objectives, steps=1)
    >>> run.history[0]["WDGRL.adversary_accuracy"] >= 0
    True
    """

    def __init__(self, weight: float = 1.0, *, penalty: float = 10.0, strength: float = 0.03, hidden: int = 64):
        super().__init__(weight, strength=strength, hidden=hidden)
        self.expect(penalty >= 0, "0 or more", penalty=penalty)
        self.penalty = penalty

    def setup(self, model, source, target):
        self.critic = discriminator(model.head.in_features, self.hidden)

    def forward(self, step):
        source, target = map(self.critic, self.reverse_features(step))
        middle = (source.mean() + target.mean()) / 2
        self.watch(source > middle, target <= middle)
        slope = gradient_penalty(step.source.features, step.target.features, self.critic)
        return self.penalty * slope - critic_distance(source, target)


@in_float32
def spectral_penalty(z: Tensor, k: int = 1) -> Tensor:
    """Sum of the `k` largest squared singular values of z `(B, D)`, as eigenvalues of its smaller Gram matrix."""
    gram = z @ z.T if z.shape[0] <= z.shape[1] else z.T @ z
    return torch.linalg.eigvalsh(gram)[-k:].sum()


class BSP(Objective):
    """Batch spectral penalization (Chen et al., 2019, ICML, PMLR 97): keeps a few directions from ruling the features.

        loss = sum_{i <= k} sigma_i(Z_s)^2 + sigma_i(Z_t)^2

    Z_s `(Ns, D)`, Z_t `(Nt, D)`; sigma_1 >= sigma_2 ... the singular values. It adapts nothing by itself: add it to DANN
    or CDAN.

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
    >>> objectives = [xl.CrossEntropy(), xl.BSP()]
    >>> run = xl.fit(model, source.train, target.train.unlabeled(), objectives=objectives, steps=1)
    >>> run.history[0]["BSP"] >= 0
    True
    """

    def __init__(self, weight: float = 1e-4, *, k: int = 1):
        super().__init__(weight)
        self.expect(k >= 1, "1 or more singular values", k=k)
        self.k = k

    def forward(self, step):
        return spectral_penalty(step.source.features, self.k) + spectral_penalty(step.target.features, self.k)
