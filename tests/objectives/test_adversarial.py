"""Adversaries: alive, fair to both players, and equal to their papers' formulas."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xferlab.errors import ArgumentError
from xferlab.objectives.adversarial import (
    ADDA,
    BSP,
    CDAN,
    DANN,
    WDGRL,
    certainty_weights,
    domain_loss,
    gradient_penalty,
    multilinear_map,
    reverse,
    spectral_penalty,
)
from xferlab.objectives.disparity import MCD, MDD, margin_disparity
from xferlab.objectives.objective import Batch, Step, warm_up


class Tiny(nn.Module):
    """Inputs (B, 4) to features (B, 6) to logits (B, 3)."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6))
        self.head = nn.Linear(6, 3)

    def features(self, inputs):
        return self.encoder(inputs)


def make(cls, **options):
    """An objective set up on a small model that is right about the source, and its step at full strength."""
    torch.manual_seed(0)
    model, inputs = Tiny(), torch.cat([torch.randn(40, 4), torch.randn(28, 4) + torch.tensor([6.0, 0, 0, 0])])
    z = model.features(inputs)  # together, as in fit: batch norm on each side alone would take the gap away
    source, target = (Batch(inputs[side], None, z[side], model.head(z[side])) for side in (slice(40), slice(40, None)))
    source.labels = source.logits.argmax(1)
    objective = cls(**({} if cls in (MCD, BSP) else {"hidden": 16}) | options)
    objective.setup(model, None, None)
    return objective, Step(model, source, target, 1.0)


ALL = [DANN, CDAN, ADDA, MDD, MCD, WDGRL, BSP]
ADVERSARIES = ALL[:-1]


def gradient_parts(step, objective):
    parts = {"encoder": step.model.encoder, "head": step.model.head, "own": objective}
    return {name for name, part in parts.items() if any(p.grad is not None and p.grad.any() for p in part.parameters())}


# --- gradient reversal and the domain loss ---------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0.3, torch.tensor(0.3)])
def test_reverse_is_identity_forward_and_minus_lambda_g_backward(strength):
    x, g = torch.randn(5, 3, requires_grad=True), torch.randn(5, 3)
    y = reverse(x, strength)
    assert torch.equal(y, x)
    y.backward(g)
    assert torch.equal(x.grad, -strength * g)


def test_domain_loss_is_the_mean_of_both_sides_at_unequal_sizes():
    source, target = torch.tensor([[2.0], [-1.0], [0.5]]), torch.tensor([1.0])

    def wrong(logit, sign):
        return math.log(1 + math.exp(-sign * logit))

    expected = (sum(wrong(v, 1) for v in (2.0, -1.0, 0.5)) / 3 + wrong(1.0, -1)) / 2
    assert domain_loss(source, target).item() == pytest.approx(expected, rel=1e-6)
    weighted = domain_loss(source, target, torch.tensor([2.0, 1.0, 1.0]), torch.tensor([7.0]))
    expected = ((2 * wrong(2.0, 1) + wrong(-1.0, 1) + wrong(0.5, 1)) / 4 + wrong(1.0, -1)) / 2
    assert weighted.item() == pytest.approx(expected, rel=1e-6)


def test_domain_loss_keeps_its_gradient_where_a_sigmoid_would_saturate():
    source = torch.full((2, 1), -200.0, requires_grad=True)
    loss = domain_loss(source, torch.full((2, 1), 200.0))
    loss.backward()
    assert loss.item() == pytest.approx(200.0)
    assert torch.allclose(source.grad, torch.full((2, 1), -0.25))


# --- the adversaries are alive ---------------------------------------------------------------------------------------


def train_own(objective, step, steps=250):
    """Trains the objective's parts alone: the encoder, and so the step, stays as it is."""
    still = Step(
        step.model,
        *(Batch(b.inputs, b.labels, b.features.detach(), b.logits.detach()) for b in (step.source, step.target)),
        1.0,
    )
    optimizer = torch.optim.Adam([p for p in objective.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        objective(still).backward()
        optimizer.step()


@pytest.mark.parametrize("cls", ADVERSARIES)
def test_adversary_separates_separable_domains(cls):
    objective, step = make(cls)
    assert objective.log()["adversary_accuracy"].item() == 0.5
    train_own(objective, step)
    assert objective.log()["adversary_accuracy"].item() > 0.95


@pytest.mark.parametrize("cls", [DANN, CDAN, WDGRL])
def test_adversary_stays_at_chance_where_there_is_nothing_to_tell_apart(cls):
    objective, step = make(cls)
    step.target = step.source
    train_own(objective, step, 30)
    assert objective.adversary_accuracy.item() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("cls", [DANN, CDAN, ADDA, WDGRL])
def test_a_dead_adversary_reads_exactly_half(cls):
    """All of its weights 0: it says the same of every example, so it is right about one side and wrong about the other."""
    objective, step = make(cls)
    adversary = objective.critic if cls is WDGRL else objective.discriminator
    for p in adversary.parameters():
        nn.init.zeros_(p)
    for _ in range(3):
        objective(step)
    assert objective.adversary_accuracy.item() == 0.5


def test_adversary_accuracy_moves_a_twentieth_of_the_way_at_each_step():
    objective = DANN()
    right, wrong = torch.ones(30, 1, dtype=torch.bool), torch.zeros(10, 1, dtype=torch.bool)
    objective.watch(right, right[:10])
    assert objective.adversary_accuracy.item() == pytest.approx(0.525)  # 0.5 + (1 - 0.5) / 20
    objective.watch(right, wrong)  # half right, whatever the sizes: 0.525 + (0.5 - 0.525) / 20
    assert objective.adversary_accuracy.item() == pytest.approx(0.52375)


@pytest.mark.parametrize("cls", [DANN, CDAN, MDD, WDGRL])
@pytest.mark.parametrize("progress", [0.1, 1.0])
def test_encoder_gets_the_reversed_gradient_of_the_adversarys_loss(cls, progress):
    """Against central differences of the loss itself in float64, both sides moved along a random direction."""
    objective, step = make(cls, strength=0.7, **({"penalty": 0.0} if cls is WDGRL else {}))
    train_own(objective, step, 20)
    objective.double(), step.model.double()
    zs, zt = (b.features.detach().double() for b in (step.source, step.target))
    logits = step.source.logits.detach().double(), step.target.logits.detach().double()
    along = torch.randn_like(zs), torch.randn_like(zt)

    def loss(shift, grad=False):
        moved = [(z + shift * a).requires_grad_(grad) for z, a in zip((zs, zt), along, strict=True)]
        sides = [Batch(None, None, z, given) for z, given in zip(moved, logits, strict=True)]
        return objective(Step(step.model, *sides, progress)), moved

    value, moved = loss(0.0, grad=True)
    value.backward()
    slope = sum((z.grad * a).sum() for z, a in zip(moved, along, strict=True)).item()
    numeric = (loss(1e-6)[0] - loss(-1e-6)[0]).item() / 2e-6
    assert abs(numeric) > 1e-3
    assert slope == pytest.approx(-0.7 * warm_up(progress) * numeric, rel=1e-5)


@pytest.mark.parametrize(
    "cls, parts",
    [(DANN, "encoder own"), (CDAN, "encoder own"), (ADDA, "encoder own"), (MDD, "encoder own"), (MCD, "encoder head own"),
     (WDGRL, "encoder own"), (BSP, "encoder")],
)  # fmt: skip
def test_gradient_flows_where_it_should_and_nowhere_else(cls, parts):
    objective, step = make(cls)
    objective(step).backward()
    assert gradient_parts(step, objective) == set(parts.split())


@pytest.mark.parametrize("cls", [DANN, CDAN, MDD, WDGRL])
def test_warm_up_starts_with_the_adversary_alone(cls):
    objective, step = make(cls)
    step.progress = 0.0
    objective(step).backward()
    assert gradient_parts(step, objective) == {"own"}


@pytest.mark.parametrize("cls", ALL)
def test_unequal_batches_in_bf16_autocast_match_float32(cls):
    objective, step = make(cls)
    torch.manual_seed(1)
    full = objective(step)
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        half = objective(step)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(full.item(), rel=0.03)


@pytest.mark.parametrize("cls, options", [*((cls, {}) for cls in ALL), (CDAN, {"entropy": True})])
def test_state_dict_brings_everything_back(cls, options):
    objective, step = make(cls, **options)
    if cls is not BSP:
        train_own(objective, step, 3)
    again, _ = make(cls, **options)
    again.load_state_dict(objective.state_dict())
    torch.manual_seed(2)
    expected = objective(step)
    torch.manual_seed(2)
    assert torch.equal(again(step), expected)
    if cls is not BSP:
        assert torch.equal(again.adversary_accuracy, objective.adversary_accuracy)


@pytest.mark.parametrize("cls", ALL)
def test_only_mcd_asks_for_source_labels(cls):
    assert cls.needs == {"source", "target"} | ({"source_labels"} if cls is MCD else set())


@pytest.mark.parametrize(
    "make_it", [lambda: DANN(strength=-1), lambda: CDAN(projection=0), lambda: ADDA(hidden=0), lambda: MDD(gamma=0.5),
                lambda: WDGRL(penalty=-1), lambda: BSP(k=0), lambda: DANN(weight=float("nan")), lambda: DANN(weight=float("inf"))],
)  # fmt: skip
def test_bad_arguments_are_named(make_it):
    with pytest.raises(ArgumentError, match="expected"):
        make_it()


@pytest.mark.parametrize(
    "cls, least", [(DANN, {"strength": 0, "hidden": 1}), (CDAN, {"projection": 1}), (MDD, {"gamma": 1}), (WDGRL, {"penalty": 0}),
                   (BSP, {"k": 1}), (DANN, {"weight": 0})],
)  # fmt: skip
def test_the_least_that_is_allowed_trains(cls, least):
    objective, step = make(cls, **least)
    assert objective(step).isfinite()


@pytest.mark.parametrize(
    "objective", [DANN(0.5, strength=0.2, hidden=3), CDAN(0.5, entropy=True, projection=7), MDD(gamma=2.0), MCD(0.5, strength=2.0),
                  WDGRL(penalty=3.0), BSP(0.5, k=2)], ids=lambda o: type(o).__name__,
)  # fmt: skip
def test_what_is_printed_makes_the_same_objective_again(objective):
    assert eval(repr(objective)).hyperparameters() == objective.hyperparameters()


# --- CDAN ------------------------------------------------------------------------------------------------------------


def test_multilinear_map_is_the_outer_product():
    z, p = torch.tensor([[1.0, 2.0], [3.0, -1.0]]), torch.tensor([[0.2, 0.8, 0.0], [0.5, 0.25, 0.25]])
    expected = torch.tensor([[0.2, 0.8, 0.0, 0.4, 1.6, 0.0], [1.5, 0.75, 0.75, -0.5, -0.25, -0.25]])
    assert torch.allclose(multilinear_map(z, p), expected)


def test_randomised_map_keeps_inner_products():
    torch.manual_seed(0)
    z, p = torch.randn(4, 5), torch.rand(4, 3).softmax(1)
    full = multilinear_map(z, p)
    small = multilinear_map(z, p, torch.randn(5, 200_000), torch.randn(3, 200_000))
    assert torch.allclose(small @ small.T, full @ full.T, atol=0.1)


def test_cdan_projects_wide_maps_and_keeps_the_projection_in_its_state():
    torch.manual_seed(0)
    model = nn.Module()
    model.head = nn.Linear(500, 10)
    z, other = torch.randn(8, 500), torch.randn(6, 500) + 1
    step = Step(model, *(Batch(None, None, x, model.head(x)) for x in (z, other)), 1.0)
    first, second = CDAN(projection=32), CDAN(projection=32)
    for objective in (first, second):
        objective.setup(model, None, None)
    assert first.discriminator[0].in_features == 32
    assert not torch.allclose(first(step), second(step))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(step), second(step))
    assert {"z_directions", "p_directions"} <= set(first.state_dict())
    assert not any("directions" in name for name, _ in first.named_parameters())


@pytest.mark.parametrize("d, k, inputs", [(256, 16, 4096), (241, 17, 1024)])
def test_cdan_takes_the_full_map_up_to_4096_and_projects_from_4097(d, k, inputs):
    model = nn.Module()
    model.head = nn.Linear(d, k)
    objective, z = CDAN(hidden=2), torch.randn(3, d)
    objective.setup(model, None, None)
    side = Batch(None, None, z, model.head(z))
    assert objective.discriminator[0].in_features == inputs
    assert objective(Step(model, side, side, 1.0)).isfinite()


def test_certainty_weights_run_from_one_and_a_kth_to_two():
    p = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0.0, 0.0]])
    assert torch.allclose(certainty_weights(p), torch.tensor([2.0, 1.25, 1.5]))


def test_cdan_e_weighs_each_example_by_its_certainty():
    objective, step = make(CDAN, entropy=True)
    d = [
        objective.discriminator(multilinear_map(b.features, b.probabilities)).flatten()
        for b in (step.source, step.target)
    ]
    w = [1 + torch.exp((b.probabilities * b.probabilities.log()).sum(1)) for b in (step.source, step.target)]
    expected = ((w[0] * F.softplus(-d[0])).sum() / w[0].sum() + (w[1] * F.softplus(d[1])).sum() / w[1].sum()) / 2
    assert torch.allclose(objective(step), expected)
    plain, _ = make(CDAN)
    assert not torch.allclose(plain(step), expected)


# --- ADDA ------------------------------------------------------------------------------------------------------------


def test_adda_gives_each_player_its_own_loss():
    objective, step = make(ADDA, strength=0.5)
    zs, zt = objective.source_encoder.eval()(step.source.inputs), step.target.features
    own, loss = list(objective.discriminator.parameters()), objective(step)
    got = torch.autograd.grad(loss, [zt, *own], retain_graph=True)
    d = objective.discriminator
    wants_apart = (F.softplus(-d(zs)).mean() + F.softplus(d(zt)).mean()) / 2
    wants_fooled = 0.5 * F.softplus(-d(zt)).mean()
    assert torch.allclose(loss, wants_apart + wants_fooled)
    assert torch.allclose(got[0], torch.autograd.grad(wants_fooled, zt, retain_graph=True)[0], atol=1e-8)
    for mine, expected in zip(got[1:], torch.autograd.grad(wants_apart, own), strict=True):
        assert torch.allclose(mine, expected, atol=1e-7)


def test_adda_measures_from_the_encoder_as_it_was():
    objective, step = make(ADDA)
    before = copy.deepcopy(objective.source_encoder.state_dict())
    with torch.no_grad():
        step.model.encoder[0].weight.add_(1.0)
    objective.train()
    objective(step).backward()
    after = objective.source_encoder.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before), "weights or batch-norm statistics moved"
    assert all(not p.requires_grad for p in objective.source_encoder.parameters())


# --- MDD and MCD -----------------------------------------------------------------------------------------------------


def test_margin_disparity_on_a_worked_example():
    """Source: p' = (3/4, 1/4), class 0. Target: p' = (1/5, 4/5), class 1. gamma 4: -4 log(3/4) - log(1 - 4/5)."""
    source, target = torch.tensor([[math.log(3), 0.0]]), torch.tensor([[0.0, math.log(4)]])
    loss = margin_disparity(source, target, torch.tensor([0]), torch.tensor([1]), gamma=4.0)
    assert loss.item() == pytest.approx(-4 * math.log(3 / 4) - math.log(1 / 5), rel=1e-6)


def test_margin_disparity_is_finite_where_the_adversary_is_certain():
    target = torch.tensor([[300.0, 0.0, 0.0]], requires_grad=True)
    loss = margin_disparity(torch.zeros(1, 3), target, torch.tensor([0]), torch.tensor([0]), gamma=1.0)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(3) + 300 - math.log(2), rel=1e-5)
    assert torch.allclose(target.grad, torch.tensor([[1.0, -0.5, -0.5]]))


def test_mcd_second_head_is_the_heads_twin_from_another_start():
    objective, step = make(MCD)
    assert isinstance(objective.second, nn.Linear) and objective.second.weight.shape == step.model.head.weight.shape
    assert not torch.allclose(objective.second.weight, step.model.head.weight)


def test_mcd_heads_raise_the_discrepancy_and_the_encoder_lowers_it():
    objective, step = make(MCD, strength=0.5)
    zs, zt, head, second = step.source.features, step.target.features, step.model.head, objective.second
    loss = objective(step)
    d = (head(zt).softmax(1) - second(zt).softmax(1)).abs().sum() / (len(zt) * 3)
    ce = F.cross_entropy(second(zs), step.source.labels)
    assert torch.allclose(loss, ce - d)

    def grad(y, x):
        return torch.autograd.grad(y, x, retain_graph=True)[0]

    assert torch.allclose(grad(loss, zt), 0.5 * warm_up(1.0) * grad(d, zt), atol=1e-8)
    assert torch.allclose(grad(loss, head.weight), -grad(d, head.weight), atol=1e-8)
    assert torch.allclose(grad(loss, second.weight), grad(ce - d, second.weight), atol=1e-7)
    assert torch.allclose(grad(loss, zs), grad(ce, zs), atol=1e-8)


# --- WDGRL -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", [1.0, 3.0])
def test_gradient_penalty_of_a_linear_critic(norm):
    critic = nn.Linear(2, 1)
    w = norm * torch.tensor([[0.6, 0.8]])
    critic.weight.data.copy_(w)
    penalty = gradient_penalty(torch.randn(5, 2), torch.randn(3, 2), critic)
    assert penalty.item() == pytest.approx((norm - 1) ** 2, abs=1e-5)
    penalty.backward()
    assert torch.allclose(critic.weight.grad, 2 * (norm - 1) * w / norm, atol=1e-5)


def test_gradient_penalty_is_taken_between_pairs_and_at_their_ends():
    """Slope x on [0, 2]: (x - 1)^2 is 1 at both ends and 1/3 on average between."""

    class HalfSquare(nn.Module):
        def forward(self, x):
            return x.square() / 2

    torch.manual_seed(0)
    zs, zt = torch.zeros(50_000, 1, requires_grad=True), torch.full((50_000, 1), 2.0, requires_grad=True)
    penalty = gradient_penalty(zs, zt, HalfSquare())
    assert penalty.item() == pytest.approx(7 / 9, abs=0.005)
    assert torch.autograd.grad(penalty, (zs, zt), allow_unused=True) == (None, None), (
        "the features are to be left alone"
    )


def test_wdgrl_penalises_the_critic_alone():
    objective, step = make(WDGRL, strength=0.5, penalty=10.0)
    zs, zt = step.source.features, step.target.features
    torch.manual_seed(3)
    loss = objective(step)
    distance = objective.critic(zs).mean() - objective.critic(zt).mean()
    torch.manual_seed(3)
    assert torch.allclose(loss, 10 * gradient_penalty(zs, zt, objective.critic) - distance)
    for mine, theirs in zip(
        torch.autograd.grad(loss, (zs, zt), retain_graph=True), torch.autograd.grad(distance, (zs, zt)), strict=True
    ):
        assert torch.allclose(mine, 0.5 * warm_up(1.0) * theirs, atol=1e-7)


def test_wdgrl_critic_comes_near_the_wasserstein_distance():
    """Two points 2 apart: a critic of slope s gets 2 s - 10 (s - 1)^2, most at s = 1.1, where its means are 2.2 apart."""
    torch.manual_seed(0)
    model = nn.Module()
    model.head = nn.Linear(2, 2)
    objective = WDGRL(hidden=32)
    objective.setup(model, None, None)
    zs, zt = torch.tensor([[2.0, 0.0]]).expand(16, 2), torch.zeros(16, 2)
    train_own(objective, Step(model, *(Batch(None, None, z, model.head(z)) for z in (zs, zt)), 1.0))
    assert (objective.critic(zs).mean() - objective.critic(zt).mean()).item() == pytest.approx(2.2, rel=0.01)


# --- BSP -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tall", [True, False])
@pytest.mark.parametrize("k, expected", [(1, 25.0), (2, 34.0), (9, 35.0)])
def test_spectral_penalty_of_a_matrix_with_known_singular_values(k, expected, tall):
    torch.manual_seed(0)
    u, v = torch.linalg.qr(torch.randn(6, 3)).Q, torch.linalg.qr(torch.randn(4, 3)).Q
    z = (u @ torch.diag(torch.tensor([5.0, 3.0, 1.0])) @ v.T).requires_grad_()
    penalty = spectral_penalty(z if tall else z.T, k)
    assert penalty.item() == pytest.approx(expected, rel=1e-5)
    penalty.backward()
    kept = torch.tensor([5.0, 3.0, 1.0]) * (torch.arange(3) < k)
    assert torch.allclose(z.grad, 2 * u @ torch.diag(kept) @ v.T, atol=1e-4)


def test_bsp_adds_both_sides():
    objective, step = make(BSP, k=2)
    expected = sum(torch.linalg.svdvals(b.features)[:2].square().sum() for b in (step.source, step.target))
    assert torch.allclose(objective(step), expected, rtol=1e-4)


def test_probabilities_of_a_batch_are_over_the_classes_of_each_example():
    batch = Batch(torch.zeros(2, 1), None, torch.zeros(2, 1), torch.tensor([[0.0, math.log(3)], [0.0, 0.0]]))
    assert batch.probabilities.tolist() == [[pytest.approx(0.25), pytest.approx(0.75)], [0.5, 0.5]]


class First(nn.Module):
    """An adversary whose answer is the first feature."""

    def forward(self, z):
        return z[:, :1]


def test_adda_counts_answers_above_zero_as_source():
    objective, step = make(ADDA)
    objective.source_encoder, objective.discriminator = nn.Identity(), First()
    step.source.inputs, step.target.features = torch.tensor([[0.5], [2.0]]), torch.tensor([[-1.0], [0.5]])
    start = objective.adversary_accuracy.item()
    objective(step)
    assert objective.log()["adversary_accuracy"].item() == pytest.approx(start + 0.05 * (0.75 - start))


def test_wdgrl_counts_answers_above_the_middle_of_both_means_as_source():
    objective, step = make(WDGRL)
    objective.critic = First()
    step.source.features, step.target.features = (torch.tensor(z).view(3, 1) for z in ([6.0, 4, 2], [1.0, 3, -1]))
    start = objective.adversary_accuracy.item()  # means 4 and 1, so 2.5: two of three are right on each side
    objective(step)
    assert objective.log()["adversary_accuracy"].item() == pytest.approx(start + 0.05 * (2 / 3 - start))
