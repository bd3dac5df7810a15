"""Discrepancies against loops, NumPy and brute force."""

import itertools
import math
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xferlab.errors import ArgumentError, MissingExtra
from xferlab.objectives.discrepancy import (
    CORAL,
    JMMD,
    MMD,
    DeepJDOT,
    SlicedWasserstein,
    coral,
    deep_jdot,
    jmmd,
    linear_mmd,
    mmd,
    sliced_wasserstein,
)
from xferlab.objectives.objective import Batch, Step


def two(ns=5, nt=8, d=3):
    """Two float64 samples of unequal size."""
    torch.manual_seed(0)
    zs, zt = torch.randn(ns, d, dtype=torch.float64), torch.randn(nt, d, dtype=torch.float64) * 1.5 + 0.5
    return zs.requires_grad_(), zt.requires_grad_()


def mean_squared_distance(z):
    """Over all pairs of different points, one at a time."""
    pairs = list(itertools.combinations(z.detach(), 2))
    return float(sum((a - b).square().sum() for a, b in pairs) / len(pairs))


def kernel(a, b, kernels, bandwidth):
    """The mean of Gaussians with widths ..., bandwidth / 2, bandwidth, 2 bandwidth, ..."""
    widths = [bandwidth * 2.0 ** (i - kernels // 2) for i in range(kernels)]
    return sum(torch.exp(-(a - b).square().sum() / width) for width in widths) / kernels


def loop_mmd(zs, zt, k):
    def mean(xs, ys):
        return sum(k(x, y) for x in xs for y in ys) / (len(xs) * len(ys))

    return mean(zs, zs) + mean(zt, zt) - 2 * mean(zs, zt)


def assert_same_value_and_gradient(value, expected, *inputs):
    assert torch.allclose(value, expected, rtol=1e-9)
    got, want = (torch.autograd.grad(v, inputs, retain_graph=True) for v in (value, expected))
    for g, w in zip(got, want, strict=True):
        assert w.abs().max() > 1e-6
        assert torch.allclose(g, w, rtol=1e-7, atol=1e-12)


# --- MMD -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernels", [1, 4, 5])
@pytest.mark.parametrize("bandwidth", [None, 0.7])
@pytest.mark.parametrize("sizes", [(5, 8), (6, 6), (1, 3)])
def test_mmd_is_the_double_loop(kernels, bandwidth, sizes):
    zs, zt = two(*sizes)
    width = bandwidth or mean_squared_distance(torch.cat([zs, zt]))
    assert_same_value_and_gradient(
        mmd(zs, zt, kernels, bandwidth), loop_mmd(zs, zt, lambda a, b: kernel(a, b, kernels, width)), zs, zt
    )


def test_mmd_is_zero_for_the_same_sample_and_only_then():
    x = torch.randn(16, 8)
    assert abs(mmd(x, x[torch.randperm(16)]).item()) < 1e-6
    assert mmd(x, x + 0.5).item() > 0.01
    constant = torch.ones(4, 8, requires_grad=True)
    mmd(constant, torch.ones(3, 8)).backward()
    assert torch.equal(constant.grad, torch.zeros(4, 8)), "collapsed features must not give NaN"


def test_mmd_does_not_lose_its_digits_far_from_the_origin():
    zs, zt = (z.detach().float() for z in two(40, 30))
    assert mmd(zs + 1000, zt + 1000).item() == pytest.approx(mmd(zs, zt).item(), rel=1e-3)


@pytest.mark.parametrize("sizes, pairs", [((6, 6), 3), ((5, 8), 2), ((9, 2), 1)])
def test_linear_mmd_is_the_loop_over_pairs(sizes, pairs):
    zs, zt = two(*sizes)

    def k(a, b):
        return kernel(a, b, 3, 0.7)

    terms = []
    for i in range(pairs):
        s, s2, t, t2 = zs[2 * i], zs[2 * i + 1], zt[2 * i], zt[2 * i + 1]
        terms.append(k(s, s2) + k(t, t2) - k(s, t2) - k(s2, t))
    assert_same_value_and_gradient(linear_mmd(zs, zt, 3, 0.7), sum(terms) / pairs, zs, zt)


def test_linear_mmd_agrees_with_the_quadratic_form_on_a_large_sample():
    torch.manual_seed(0)
    zs, zt = torch.randn(2000, 2), torch.randn(2000, 2) + 1
    assert linear_mmd(zs, zt, 3, 2.0).item() == pytest.approx(mmd(zs, zt, 3, 2.0).item(), rel=0.1)


def test_jmmd_is_the_double_loop_over_the_product_kernel():
    zs, zt = two()
    ps, pt = two(d=2)
    ps, pt = ps.softmax(1), pt.softmax(1)
    wide, narrow = (mean_squared_distance(torch.cat(pair)) for pair in ((zs, zt), (ps, pt)))

    def product(a, b):
        return kernel(a[0], b[0], 5, wide) * kernel(a[1], b[1], 1, narrow)

    reference = loop_mmd(list(zip(zs, ps, strict=True)), list(zip(zt, pt, strict=True)), product)
    assert_same_value_and_gradient(jmmd((zs, ps), (zt, pt)), reference, zs, zt, ps, pt)


def test_jmmd_sees_what_the_marginals_do_not():
    """The same features and the same predictions, paired differently."""
    z, p = torch.tensor([[0.0], [0.0], [1.0], [1.0]]), torch.eye(2)[[0, 0, 1, 1]]
    swapped = p.flip(0)
    assert abs(mmd(z, z).item()) < 1e-6 and abs(mmd(p, swapped).item()) < 1e-6
    assert jmmd((z, p), (z, swapped)).item() > 0.1


# --- CORAL -----------------------------------------------------------------------------------------------------------


def test_coral_against_numpy():
    zs, zt = two()
    difference = np.cov(zs.detach().numpy(), rowvar=False) - np.cov(zt.detach().numpy(), rowvar=False)
    assert coral(zs, zt).item() == pytest.approx((difference**2).sum() / (4 * 3**2), rel=1e-9)
    assert torch.autograd.gradcheck(coral, (zs, zt))


def test_coral_of_wide_features_is_the_same_number_from_inner_products():
    zs, zt = two(5, 8, d=14)
    by_covariance = (torch.cov(zs.T) - torch.cov(zt.T)).square().sum() / (4 * 14**2)
    assert_same_value_and_gradient(coral(zs, zt), by_covariance, zs, zt)
    x = zs.detach().float() + 100  # in float32, far from the origin, and 0 to itself but for rounding
    assert coral(x, x[[3, 1, 0, 2, 4]]).item() == pytest.approx(0, abs=1e-6 * coral(x, zt.detach().float()).item())


def test_coral_does_not_see_a_shift_of_the_mean():
    zs, _ = two()
    assert coral(zs, zs + 3).item() == pytest.approx(0, abs=1e-20)
    assert coral(zs, 2 * zs).item() > 0.01


@pytest.mark.parametrize("distance", [coral, linear_mmd])
def test_a_single_example_is_refused(distance):
    with pytest.raises(ArgumentError, match="1 target examples, expected at least 2"):
        distance(torch.randn(4, 3), torch.randn(1, 3))


# --- sliced Wasserstein ----------------------------------------------------------------------------------------------


def test_sliced_wasserstein_in_one_dimension():
    line = torch.ones(1, 1)

    def column(*values):
        return torch.tensor(values)[:, None]

    assert sliced_wasserstein(column(3.0, 0.0), column(1.0, 5.0), line).item() == pytest.approx((1 + 4) / 2)
    assert sliced_wasserstein(column(0.0), column(0.0, 2.0), line).item() == pytest.approx(2.0)
    # quantiles on thirds and halves: |0-0|, |3-0| on a sixth, |3-6| on a sixth, |6-6|
    assert sliced_wasserstein(column(0.0, 3.0, 6.0), column(0.0, 6.0), line).item() == pytest.approx((9 + 9) / 6)


def test_sliced_wasserstein_of_unequal_samples_is_that_of_their_repetitions():
    zs, zt = two(4, 6)
    directions = F.normalize(torch.randn(3, 7, dtype=torch.float64), dim=0)
    repeated = [(z.repeat_interleave(n, 0) @ directions).sort(0).values for z, n in ((zs, 3), (zt, 2))]
    assert_same_value_and_gradient(
        sliced_wasserstein(zs, zt, directions), (repeated[0] - repeated[1]).square().mean(), zs, zt
    )


def test_sliced_wasserstein_is_zero_to_itself_and_the_square_of_a_shift():
    zs, _ = two()
    directions = torch.eye(3, dtype=torch.float64)
    assert sliced_wasserstein(zs, zs.flip(0), directions).item() == 0
    moved = zs + torch.tensor([3.0, 0.0, 0.0], dtype=torch.float64)
    assert sliced_wasserstein(zs, moved, directions).item() == pytest.approx(9 / 3)


# --- DeepJDOT --------------------------------------------------------------------------------------------------------


def jdot_cost(zs, zt, ys, logits, alpha, label_weight):
    distance = torch.stack([torch.stack([(a - b).square().sum() for b in zt]) for a in zs])
    wrong = torch.stack([torch.stack([F.cross_entropy(row, y) for row in logits]) for y in ys])
    return alpha * distance + label_weight * wrong


def test_deep_jdot_is_the_best_of_all_assignments():
    zs, zt = two(3, 3)
    ys, logits = torch.tensor([0, 1, 1]), torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    cost = jdot_cost(zs, zt, ys, logits, 0.3, 0.8)
    best = min(
        (sum(cost[i, j] for i, j in enumerate(p)) / 3 for p in itertools.permutations(range(3))), key=Tensor.item
    )
    assert_same_value_and_gradient(deep_jdot(zs, zt, ys, logits, 0.3, 0.8), best, zs, zt, logits)
    one_hot = torch.eye(2, dtype=torch.float64)[ys]
    assert torch.allclose(deep_jdot(zs, zt, one_hot, logits, 0.3, 0.8), best)
    # each target twice: the same coupling, spread over the copies
    assert torch.allclose(deep_jdot(zs, zt.repeat(2, 1), ys, logits.repeat(2, 1), 0.3, 0.8), best)


def test_deep_jdot_without_pot_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(MissingExtra, match=r"POT.*xferlab\[labs\]"):
        DeepJDOT().setup(None, None, None)


# --- the classes -----------------------------------------------------------------------------------------------------

CLASSES = {
    "MMD": (MMD, {}),
    "MMD linear": (MMD, {"linear": True}),
    "JMMD": (JMMD, {}),
    "CORAL": (CORAL, {}),
    "SlicedWasserstein": (SlicedWasserstein, {"projections": 16}),
    "DeepJDOT": (DeepJDOT, {}),
}


def make(name, ns=12, nt=9):
    torch.manual_seed(0)
    cls, options = CLASSES[name]
    model = nn.Module()
    model.encoder, model.head = nn.Linear(4, 6), nn.Linear(6, 3)
    objective = cls(**options)
    objective.setup(model, None, None)
    zs, zt = model.encoder(torch.randn(ns, 4)), model.encoder(torch.randn(nt, 4) * 2 + 1)
    source = Batch(None, torch.arange(ns) % 3, zs, model.head(zs))
    return objective, Step(model, source, Batch(None, None, zt, model.head(zt)), 0.5)


def expected_loss(name, objective, step):
    s, t = step.source, step.target
    return {
        "MMD": lambda: mmd(s.features, t.features),
        "MMD linear": lambda: linear_mmd(s.features, t.features),
        "JMMD": lambda: jmmd((s.features, s.logits.softmax(1)), (t.features, t.logits.softmax(1))),
        "CORAL": lambda: coral(s.features, t.features),
        "SlicedWasserstein": lambda: sliced_wasserstein(s.features, t.features, objective.directions),
        "DeepJDOT": lambda: deep_jdot(s.features, t.features, s.labels, t.logits, 0.01, 1.0),
    }[name]()


@pytest.mark.parametrize("name", CLASSES)
def test_class_applies_its_function_and_moves_what_it_should(name):
    objective, step = make(name)
    loss = objective(step)
    assert loss.ndim == 0 and torch.equal(loss, expected_loss(name, objective, step))
    loss.backward()
    assert step.model.encoder.weight.grad.abs().sum() > 0
    assert (step.model.head.weight.grad is not None) == (name in ("JMMD", "DeepJDOT"))
    assert objective.needs == {"source", "target"} | ({"source_labels"} if name == "DeepJDOT" else set())


@pytest.mark.parametrize("name", CLASSES)
def test_autocast_and_half_precision_features_lose_nothing_but_their_rounding(name):
    objective, step = make(name, 64, 48)
    for side in (step.source, step.target):
        side.features = (side.features + 30).bfloat16()
        side.logits = side.logits.detach()
    rounded = Step(
        step.model, *(Batch(None, b.labels, b.features.float(), b.logits) for b in (step.source, step.target)), 0.5
    )
    with torch.autocast("cpu", torch.bfloat16):
        half = objective(step)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(objective(rounded).item(), rel=1e-4)


def test_sliced_wasserstein_directions_are_unit_buffers_that_change_and_reload():
    objective, step = make("SlicedWasserstein")
    first = objective.directions.clone()
    objective.after_step(step)
    assert not torch.allclose(first, objective.directions)
    assert torch.allclose(objective.directions.norm(dim=0), torch.ones(16))
    again, _ = make("SlicedWasserstein")
    assert not torch.equal(again(step), objective(step))
    again.load_state_dict(objective.state_dict())
    assert torch.equal(again(step), objective(step))
    assert not list(objective.parameters())


@pytest.mark.parametrize(
    "make_it",
    [lambda: MMD(kernels=0), lambda: MMD(bandwidth=0.0), lambda: JMMD(kernels=(5,)), lambda: JMMD(kernels=(5, 0)), lambda: SlicedWasserstein(projections=0),
     lambda: DeepJDOT(alpha=-1), lambda: DeepJDOT(label_weight=-1), lambda: CORAL(weight=-1)],
)  # fmt: skip
def test_bad_arguments_are_named(make_it):
    with pytest.raises(ArgumentError, match="expected"):
        make_it()


def test_deep_jdot_with_one_of_its_costs_alone():
    """Two points a side, the first of each at 0 and the second at 1; logits 0, so that every label costs log 2."""
    _, step = make("DeepJDOT", 2, 2)
    for side in (step.source, step.target):
        side.features, side.logits = torch.tensor([[0.0], [1.0]]), torch.zeros(2, 2)
    step.target.features = step.target.features + 2  # squared distances 4, 9, 1 and 4
    assert DeepJDOT(alpha=0, label_weight=3.0)(step).item() == pytest.approx(3 * math.log(2))
    features_alone = DeepJDOT(alpha=0.5, label_weight=0)(step).item()
    assert features_alone == pytest.approx(0.5 * 4)  # 4 and 4, or 9 and 1, which is more


@pytest.mark.parametrize("options", [{"kernels": 1}, {"linear": True, "bandwidth": 2.0, "weight": 0.5}])
def test_what_is_printed_makes_the_same_objective_again(options):
    assert eval(repr(MMD(**options))).hyperparameters() == MMD(**options).hyperparameters()
