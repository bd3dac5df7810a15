"""Distances between source and target features: kernel means, covariances, optimal transport."""

import functools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ArgumentError, needs
from .objective import Objective


def in_float32(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Runs a function of tensors in float32 (or float64), inside autocast too: differences of large sums cancel in half."""

    def widen(value):
        return value.float() if isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16) else value

    @functools.wraps(function)
    def run(first: Tensor, *args, **options):
        with torch.autocast(first.device.type, enabled=False):
            return function(widen(first), *map(widen, args), **{key: widen(value) for key, value in options.items()})

    return run


@in_float32
def mmd(zs: Tensor, zt: Tensor, kernels: int = 5, bandwidth: float | None = None) -> Tensor:
    """Squared maximum mean discrepancy (Gretton et al., 2012, JMLR 13; DAN: Long et al., 2015, arXiv:1502.02791).

        MMD^2 = mean k(s, s') + mean k(t, t') - 2 mean k(s, t),   k(x, y) = mean_u exp(-|x - y|^2 / b_u)

    over all pairs, a point with itself included, so it is never negative and is 0 for equal samples. The `kernels`
    widths b_u are powers of two around `bandwidth` (None: the mean squared distance in the batch).
    zs `(Ns, D)`, zt `(Nt, D)`, sizes may differ; gives a scalar. First derivatives only.
    """
    return _mean_embedding_distance(_kernel(torch.cat([zs, zt]), kernels, bandwidth), len(zs), len(zt))


@in_float32
def linear_mmd(zs: Tensor, zt: Tensor, kernels: int = 5, bandwidth: float | None = None) -> Tensor:
    """MMD^2 in linear time (Gretton et al., 2012, JMLR 13), unbiased, so it may be negative.

        mean over pairs i of  k(s, s') + k(t, t') - k(s, t') - k(s', t),   (s, s') = (zs[2i], zs[2i + 1]), t alike

    zs `(Ns, D)`, zt `(Nt, D)`; uses the first `2 * (min(Ns, Nt) // 2)` of each. Kernels as in `mmd`.
    """
    _require(2, zs, zt, "linear_mmd")
    m = min(len(zs), len(zt)) // 2 * 2
    s, s2, t, t2 = zs[:m:2], zs[1:m:2], zt[:m:2], zt[1:m:2]
    squared = torch.stack([(a - b).square().sum(1) for a, b in ((s, s2), (t, t2), (s, t2), (s2, t))])
    k = _gaussians(squared, kernels, squared.detach().mean() if bandwidth is None else bandwidth)
    return (k[0] + k[1] - k[2] - k[3]).mean()


def jmmd(source: Sequence[Tensor], target: Sequence[Tensor], kernels: Sequence[int] = (5, 1)) -> Tensor:
    """Squared joint MMD (JAN: Long et al., 2017, arXiv:1605.06636): MMD^2 under the product of the layers' kernels.

        k((z, p), (z', p')) = k_1(z, z') k_2(p, p')

    `source` and `target` list the layers' activations, `(Ns, D_l)` and `(Nt, D_l)`; `kernels` has their kernel counts.
    """

    @in_float32
    def product(*layers: Tensor) -> Tensor:
        joint = functools.reduce(torch.mul, (_kernel(z, n) for z, n in zip(layers, kernels, strict=True)))
        return _mean_embedding_distance(joint, len(source[0]), len(target[0]))

    return product(*(torch.cat(pair) for pair in zip(source, target, strict=True)))


def _kernel(z: Tensor, kernels: int, bandwidth: Tensor | float | None = None) -> Tensor:
    """Gram matrix `(N, N)` of the mean of Gaussians, from one matrix product.

    Gradient reaches the row argument only: the callers' losses are symmetric in rows and columns, so that is half of
    it, at half the cost, and `_mean_embedding_distance` doubles it.
    """
    z = z - z.mean(0).detach()  # distances do not change, their rounding error does
    norms, columns = z.square().sum(1), z.detach()
    squared = norms[:, None] + norms.detach() - 2 * (z @ columns.T)
    if bandwidth is None:
        bandwidth = squared.detach().sum() / max(len(z) * (len(z) - 1), 1)
    return _gaussians(squared, kernels, bandwidth)


def _gaussians(squared: Tensor, kernels: int, bandwidth: Tensor | float) -> Tensor:
    """Mean of `kernels` Gaussians: the widest by exp, each next one, half as wide, by squaring the one before."""
    middle = torch.as_tensor(bandwidth, dtype=squared.dtype, device=squared.device)
    widest = middle * 2.0 ** (kernels - 1 - kernels // 2)
    power = total = torch.exp(squared * (-1 / widest.clamp(min=1e-12)))
    for _ in range(kernels - 1):
        power = power * power
        total = total + power
    return total / kernels


def _mean_embedding_distance(k: Tensor, ns: int, nt: int) -> Tensor:
    """`w' K w` with w 1/Ns on the source and -1/Nt on the target; doubles the gradient (see `_kernel`)."""
    w = torch.cat([k.new_full((ns,), 1 / ns), k.new_full((nt,), -1 / nt)])
    value = w @ (k @ w)
    return 2 * value - value.detach()


@in_float32
def coral(zs: Tensor, zt: Tensor) -> Tensor:
    """Deep CORAL (Sun & Saenko, 2016, arXiv:1607.01719): `|C_s - C_t|_F^2 / (4 D^2)`, covariances with N - 1.

    zs `(Ns, D)`, zt `(Nt, D)`, at least 2 examples each. Where D is above Ns + Nt it is taken from inner products of
    examples, `(Ns + Nt)^2` of them and not D^2 covariances: the same number, up to rounding.
    """
    _require(2, zs, zt, "coral")
    xs, xt = ((z - z.mean(0)) / (len(z) - 1) ** 0.5 for z in (zs, zt))  # C = x'x; torch.cov makes a GPU wait
    if zs.shape[1] <= len(zs) + len(zt):
        difference = (xs.T @ xs - xt.T @ xt).square().sum()
    else:
        # |xs'xs - xt'xt|^2 = |xs xs'|^2 + |xt xt'|^2 - 2 |xs xt'|^2
        difference = (xs @ xs.T).square().sum() + (xt @ xt.T).square().sum() - 2 * (xs @ xt.T).square().sum()
    return difference / (4 * zs.shape[1] ** 2)


@in_float32
def sliced_wasserstein(zs: Tensor, zt: Tensor, directions: Tensor) -> Tensor:
    """Squared 2-Wasserstein distance averaged over one-dimensional projections (Bonneel et al., 2015, JMIV 51).

        mean over directions d of  integral_0^1 (Q_s(u) - Q_t(u))^2 du,   Q the quantile functions of z . d

    zs `(Ns, D)`, zt `(Nt, D)`, sizes may differ; directions `(D, P)` with unit columns.
    """
    xs, xt = (zs @ directions).sort(0).values, (zt @ directions).sort(0).values
    ns, nt = len(zs), len(zt)
    # quantile functions are steps: they change at i / Ns and j / Nt, here as whole numbers out of Ns * Nt
    edges = torch.cat([torch.arange(ns + 1) * nt, torch.arange(1, nt) * ns]).sort().values
    edges = edges.to(zs.device, non_blocking=True)
    left, width = edges[:-1], edges.diff().to(xs) / (ns * nt)
    return (width @ (xs[left // nt] - xt[left // ns]).square()).mean()


@in_float32
def deep_jdot(zs: Tensor, zt: Tensor, ys: Tensor, logits: Tensor, alpha: float, label_weight: float) -> Tensor:
    """Joint distribution transport (DeepJDOT: Damodaran et al., 2018, arXiv:1803.10081): `sum_ij G_ij C_ij` with

        C_ij = alpha |zs_i - zt_j|^2 + label_weight CE(ys_i, logits_j),   G = argmin <G, C> over couplings

    G is found exactly, by POT, on the CPU, and held fixed for the gradient. zs `(Ns, D)`, zt `(Nt, D)`, ys labels
    `(Ns,)` or soft `(Ns, K)`, target logits `(Nt, K)`.

    Raises
    ------
    MissingExtra
        Without POT.
    """
    ot = _pot()
    q = ys if ys.is_floating_point() else F.one_hot(ys, logits.shape[1]).to(logits.dtype)
    squared = zs.square().sum(1)[:, None] + zt.square().sum(1) - 2 * zs @ zt.T
    cost = alpha * squared - label_weight * q @ logits.log_softmax(1).T
    plan = ot.emd(ot.unif(len(zs)), ot.unif(len(zt)), cost.detach().double().cpu().numpy())
    return (torch.as_tensor(plan).to(cost) * cost).sum()


def _pot():
    with needs("POT", extra="labs"):
        import ot
    return ot


def _require(n: int, zs: Tensor, zt: Tensor, name: str) -> None:
    if min(len(zs), len(zt)) < n:
        raise ArgumentError(f"{name} got {len(zs)} source and {len(zt)} target examples, expected at least {n} of each")


class MMD(Objective):
    """Matches the kernel mean embeddings of source and target features (DAN: Long et al., 2015, arXiv:1502.02791).

        loss = MMD^2(zs, zt), see `mmd`;  `linear=True`: the linear-time estimate, see `linear_mmd`

    Parameters
    ----------
    weight
        Factor in the loss.
    kernels
        How many Gaussians, widths a factor of two apart.
    linear
        The linear-time estimate.
    bandwidth
        The middle width, a squared distance; None: the batch's mean squared distance.

    Raises
    ------
    ArgumentError
        For fewer than 1 Gaussian, or a bandwidth that is not above 0.

    Examples
    --------
    >>> objectives = [xl.CrossEntropy(), xl.MMD(weight=0.1)]
    >>> run = xl.fit(model, source.train, target.train.unlabeled(), objectives=objectives, steps=1)
    >>> run.history[0]["MMD"] >= 0
    True
    """

    def __init__(self, weight: float = 1.0, *, kernels: int = 5, linear: bool = False, bandwidth: float | None = None):
        super().__init__(weight)
        self.expect(kernels >= 1, "1 or more", kernels=kernels)
        self.expect(bandwidth is None or bandwidth > 0, "above 0, or None", bandwidth=bandwidth)
        self.kernels, self.linear, self.bandwidth = kernels, linear, bandwidth

    def forward(self, step):
        distance = linear_mmd if self.linear else mmd
        return distance(step.source.features, step.target.features, self.kernels, self.bandwidth)


class JMMD(Objective):
    """Matches the joint distributions of features and predictions (JAN: Long et al., 2017, arXiv:1605.06636).

        loss = JMMD^2 of (features, softmax outputs), see `jmmd`

    Parameters
    ----------
    kernels
        How many Gaussians on the features, and on the predictions.

    Raises
    ------
    ArgumentError
        For fewer than 1 Gaussian on either.

    Examples
    --------
    >>> objectives = [xl.CrossEntropy(), xl.JMMD()]
    >>> run = xl.fit(model, source.train, target.train.unlabeled(), objectives=objectives, steps=1)
    >>> run.history[0]["JMMD"] >= 0
    True
    """

    single_label = True

    def __init__(self, weight: float = 1.0, *, kernels: tuple[int, int] = (5, 1)):
        super().__init__(weight)
        self.expect(len(kernels) == 2 and min(kernels) >= 1, "two numbers, each 1 or more", kernels=kernels)
        self.kernels = kernels

    def forward(self, step):
        layers = [(batch.features, batch.probabilities) for batch in (step.source, step.target)]
        return jmmd(*layers, self.kernels)


class CORAL(Objective):
    """Matches the covariances of source and target features (Deep CORAL: Sun & Saenko, 2016, arXiv:1607.01719).

        loss = |C_s - C_t|_F^2 / (4 D^2)

    The factor makes the loss small: weights of 1 to 1000 are common.

    Examples
    --------
    >>> objectives = [xl.CrossEntropy(), xl.CORAL(weight=100.0)]
    >>> run = xl.fit(model, source.train, target.train.unlabeled(), objectives=objectives, steps=1)
    >>> run.history[0]["CORAL"] >= 0
    True
    """

    def forward(self, step):
        return coral(step.source.features, step.target.features)


class SlicedWasserstein(Objective):
    """Matches one-dimensional projections of the features by optimal transport (Bonneel et al., 2015, JMIV 51).

    See `sliced_wasserstein`.

    Parameters
    ----------
    projections
        How many random directions, drawn anew after each step.

    Raises
    ------
    ArgumentError
        For fewer than 1 direction.

    Examples
    --------
    >>> objectives = [xl.CrossEntropy(), xl.SlicedWasserstein()]
    >>> run = xl.fit(model, source.train, target.train.unlabeled(), objectives=objectives, steps=1)
    >>> run.history[0]["SlicedWasserstein"] >= 0
    True
    """

    def __init__(self, weight: float = 1.0, *, projections: int = 128):
        super().__init__(weight)
        self.expect(projections >= 1, "1 or more", projections=projections)
        self.projections = projections
        self.register_buffer("directions", None)

    def setup(self, model, source, target):
        directions = torch.empty(model.head.in_features, self.projections)
        self.directions = F.normalize(directions.normal_(), dim=0).to(model.head.weight.device)

    def forward(self, step):
        return sliced_wasserstein(step.source.features, step.target.features, self.directions)

    @torch.no_grad()
    def after_step(self, step):
        # in place: a reload finds the buffer, and no slice of the features stays unseen for the whole run
        self.directions.copy_(F.normalize(self.directions.normal_(), dim=0))


class DeepJDOT(Objective):
    """Transports labeled source features to target predictions (Damodaran et al., 2018, arXiv:1803.10081).

        loss = min_G sum_ij G_ij (alpha |zs_i - zt_j|^2 + label_weight CE(ys_i, f(zt_j))), see `deep_jdot`

    Needs POT (extra "labs"). One exact plan a batch, on the CPU: a host sync a step on a GPU.

    Parameters
    ----------
    weight
        Factor in the loss.
    alpha, label_weight
        Of the distance of features, and of the labels' cross-entropy, in the cost of transport.

    Raises
    ------
    ArgumentError
        For an alpha or a label weight below 0.
    MissingExtra
        In `fit`, without POT.

    Examples
    --------
    >>> objectives = [xl.CrossEntropy(), xl.DeepJDOT()]
    >>> run = xl.fit(model, source.train, target.train.unlabeled(), objectives=objectives, steps=1)
    >>> run.history[0]["DeepJDOT"] >= 0
    True
    """

    needs = frozenset({"source", "target", "source_labels"})
    single_label = True

    def __init__(self, weight: float = 1.0, *, alpha: float = 0.01, label_weight: float = 1.0):
        super().__init__(weight)
        self.expect(alpha >= 0 and label_weight >= 0, "0 or more for both", alpha=alpha, label_weight=label_weight)
        self.alpha, self.label_weight = alpha, label_weight

    def setup(self, model, source, target):
        _pot()  # a missing package is said before the run, not in it

    def forward(self, step):
        s, t = step.source, step.target
        return deep_jdot(s.features, t.features, s.labels, t.logits, self.alpha, self.label_weight)
