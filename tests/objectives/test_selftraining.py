"""Objectives on the target's own outputs, against worked examples and loops."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import xferlab as xl
from xferlab.domains import Domain
from xferlab.errors import ArgumentError
from xferlab.objectives import Batch, CrossEntropy, Step
from xferlab.objectives.selftraining import (
    AFN,
    BNM,
    MCC,
    EntropyMinimization,
    FixMatch,
    InformationMaximization,
    MeanTeacher,
    PseudoLabel,
    entropy,
    kept,
    marginal_entropy,
    mcc,
    nuclear_norm,
    ramp_up,
)


class Tiny(nn.Module):
    """Two inputs, a linear encoder with batch norm, a head over classes a and b."""

    classes = ("a", "b")

    def __init__(self, dim=3):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(2, dim), nn.BatchNorm1d(dim))
        self.head = nn.Linear(dim, 2)

    def features(self, x):
        return self.encoder(x)

    def forward(self, x):
        return self.head(self.features(x))


def batch(logits, features=None, inputs=None):
    n = len(logits)
    return Batch(
        torch.zeros(n, 2) if inputs is None else inputs,
        None,
        torch.zeros(n, 3) if features is None else features,
        logits,
    )


def step(logits, *, progress=1.0, views=None, features=None, source=None, model=None):
    """A target-only step unless a source batch is given."""
    return Step(model or Tiny(), source, batch(logits, features), progress, views)


P = torch.tensor([[0.5, 0.5], [0.9, 0.1]], dtype=torch.float64)
LOGITS = P.log()  # softmax gives P back


def h(*p):
    return -sum(x * math.log(x) for x in p if x > 0)


def test_entropy_by_hand_and_finite_when_certain():
    assert entropy(LOGITS).tolist() == pytest.approx([math.log(2), h(0.9, 0.1)])
    certain = torch.tensor([[1000.0, 0.0]], requires_grad=True)
    entropy(certain).sum().backward()
    assert entropy(certain).item() == 0.0 and certain.grad.isfinite().all()


def test_entropy_minimization_sharpens_towards_the_larger_class():
    logits = LOGITS.clone().requires_grad_()
    loss = EntropyMinimization()(step(logits))
    assert loss.item() == pytest.approx((math.log(2) + h(0.9, 0.1)) / 2, abs=1e-6)
    loss.backward()
    assert logits.grad[1, 0] < 0 < logits.grad[1, 1]


def test_information_maximization_on_a_worked_matrix():
    mean = [0.7, 0.3]
    assert marginal_entropy(LOGITS).item() == pytest.approx(h(*mean))
    conditional = (math.log(2) + h(0.9, 0.1)) / 2
    assert InformationMaximization()(step(LOGITS)).item() == pytest.approx(conditional - h(*mean), abs=1e-6)
    assert InformationMaximization(diversity=0.5)(step(LOGITS)).item() == pytest.approx(
        conditional - 0.5 * h(*mean), abs=1e-6
    )


def test_information_maximization_is_best_when_sure_and_even_and_not_when_collapsed():
    even = torch.tensor([[50.0, 0.0], [0.0, 50.0]])
    collapsed = torch.tensor([[50.0, 0.0], [50.0, 0.0]])
    assert InformationMaximization()(step(even)).item() == pytest.approx(-math.log(2), abs=1e-6)
    assert InformationMaximization()(step(collapsed)).item() == pytest.approx(0.0, abs=1e-6)


def test_mcc_on_a_worked_two_class_example():
    # T = 1; weights 1 + exp(-H), scaled to mean 1, then C = P^T diag(w) P, rows to sum 1
    w = [1 + math.exp(-math.log(2)), 1 + math.exp(-h(0.9, 0.1))]
    w = [2 * x / sum(w) for x in w]
    c = [[w[0] * 0.25 + w[1] * 0.81, w[0] * 0.25 + w[1] * 0.09], [w[0] * 0.25 + w[1] * 0.09, w[0] * 0.25 + w[1] * 0.01]]
    expected = (c[0][1] / sum(c[0]) + c[1][0] / sum(c[1])) / 2
    assert mcc(LOGITS, temperature=1.0).item() == pytest.approx(expected)
    assert mcc(2.5 * LOGITS, temperature=2.5).item() == pytest.approx(expected)
    assert MCC(temperature=1.0)(step(LOGITS)).item() == pytest.approx(expected, abs=1e-6)


def test_mcc_is_zero_without_confusion_and_takes_a_class_that_nobody_predicts():
    clear = 500 * torch.eye(3)[[0, 1, 0]]
    clear.requires_grad_()
    loss = mcc(clear, temperature=1.0)
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6) and clear.grad.isfinite().all()
    assert mcc(torch.zeros(4, 3)).item() == pytest.approx(2 / 3)  # 1 - 1/K when nothing is known


def test_mcc_treats_its_weights_as_constant():
    logits = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    mcc(logits).backward()
    fixed = 1 + torch.exp(-entropy(logits.detach() / 2.5))

    def with_constant_weights(z):
        p = (z / 2.5).softmax(1)
        c = p.T @ torch.diag(fixed * 5 / fixed.sum()) @ p
        c = c / c.sum(1, keepdim=True)
        return (c.sum() - c.trace()) / 3

    (expected,) = torch.autograd.grad(with_constant_weights(logits), logits)
    assert torch.allclose(logits.grad, expected)


def test_bnm_is_minus_the_sum_of_numpy_singular_values_over_b():
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    p = torch.softmax(logits, 1).numpy()
    expected = np.linalg.svd(p, compute_uv=False).sum() / 6
    assert nuclear_norm(logits).item() == pytest.approx(expected, rel=1e-5)
    assert BNM()(step(logits)).item() == pytest.approx(-expected, rel=1e-5)
    even, collapsed = 50 * torch.eye(4), 50 * torch.eye(4)[[0, 0, 0, 0]]
    assert nuclear_norm(even).item() == pytest.approx(1.0)  # four singular values of 1, over B = 4
    assert nuclear_norm(collapsed).item() == pytest.approx(0.5)  # one singular value, sqrt(4), over 4


def test_afn_stepwise_value_and_gradient_by_hand():
    features = torch.tensor([[3.0, 4.0], [0.0, 2.0]], requires_grad=True)
    loss = AFN(step_size=0.5)(step(torch.zeros(2, 2), features=features))
    assert loss.item() == pytest.approx(0.25)  # always the step size squared
    loss.backward()
    # d/df (||f|| - c)^2 / B = 2 (||f|| - c) f / (||f|| B), with ||f|| - c = -0.5 and B = 2
    assert torch.allclose(features.grad, -0.5 * torch.tensor([[0.6, 0.8], [0.0, 1.0]]))


def test_afn_hard_form_pulls_both_sides_to_the_radius():
    target, source = torch.tensor([[3.0, 4.0], [0.0, 2.0]]), torch.tensor([[6.0, 8.0]])
    both = step(torch.zeros(2, 2), features=target, source=batch(torch.zeros(1, 2), source))
    objective = AFN(radius=4.0)
    assert objective(both).item() == pytest.approx(((5 - 4) ** 2 + (2 - 4) ** 2) / 2 + (10 - 4) ** 2)
    assert objective.log()["norm"].item() == pytest.approx(3.5)  # the target's
    assert objective(step(torch.zeros(2, 2), features=target)).item() == pytest.approx(2.5)


def test_kept_takes_the_threshold_itself():
    p = torch.tensor([[0.75, 0.25], [0.5, 0.5], [0.2, 0.8]])
    labels, mask = kept(p, 0.75)
    assert labels.tolist() == [0, 0, 1] and mask.tolist() == [1.0, 0.0, 1.0]


def test_pseudo_label_learns_from_sure_examples_only_and_divides_by_the_batch():
    logits = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.05, 0.95], [0.45, 0.55]]).log().requires_grad_()
    objective = PseudoLabel(threshold=0.8, ramp=(0.0, 0.0))
    loss = objective(step(logits))
    assert loss.item() == pytest.approx(-(math.log(0.9) + math.log(0.95)) / 4, abs=1e-6)
    loss.backward()
    assert logits.grad[[1, 3]].abs().max() == 0 and logits.grad[[0, 2]].abs().min() > 0
    log = {name: value.item() for name, value in objective.log().items()}
    assert log == pytest.approx({"kept": 0.5, "kept/a": 0.25, "kept/b": 0.25})


def test_pseudo_label_starts_late():
    objective, logits = PseudoLabel(threshold=0.0, ramp=(0.2, 0.6)), LOGITS
    losses = [objective(step(logits, progress=p)).item() for p in (0.1, 0.4, 0.6, 1.0)]
    assert losses[0] == 0.0 and losses[1] == pytest.approx(0.5 * losses[3]) and losses[2] == losses[3] > 0


def test_ramp_up_without_length_is_on_from_the_start():
    assert [ramp_up(p, 0.0, 0.0) for p in (0.0, 0.5)] == [1.0, 1.0]


def test_fixmatch_teaches_the_strong_view_what_the_plain_one_is_sure_of():
    plain = torch.tensor([[0.97, 0.03], [0.6, 0.4], [0.01, 0.99]]).log().requires_grad_()
    strong = torch.tensor([[0.3, 0.7], [0.1, 0.9], [0.5, 0.5]]).log().requires_grad_()
    asked = []

    def views(name, side):
        asked.append((name, side))
        return batch(strong)

    objective = FixMatch(threshold=0.95)
    loss = objective(step(plain, views=views))
    assert asked == [("strong", "target")]
    assert loss.item() == pytest.approx(-(math.log(0.3) + math.log(0.5)) / 3, abs=1e-6)
    loss.backward()
    assert plain.grad is None  # the label carries no gradient
    assert strong.grad[1].abs().max() == 0 and strong.grad[0].abs().min() > 0
    assert objective.log()["kept"].item() == pytest.approx(2 / 3)


def test_fixmatch_adapts_labels_to_the_sources_shares_and_its_threshold_to_the_sources_confidence():
    """By hand: the target leans to class a, so the running mean is 0.9 (1/2, 1/2) + 0.1 (0.8, 0.2) = (0.53, 0.47), and
    p = (0.52, 0.48) becomes (0.52 / 0.53, 0.48 / 0.47), scaled: class b; 0.9 times the source's mean confidence is 0.45."""
    plain = torch.tensor([[0.52, 0.48], [0.92, 0.08], [0.96, 0.04]]).log()
    strong = torch.tensor([[0.3, 0.7], [0.1, 0.9], [0.5, 0.5]]).log()
    objective = FixMatch(threshold=0.9, adapt=True)
    objective.setup(Tiny(), blobs_of_two(), unlabelled())
    now = step(plain, views=lambda name, side: batch(strong))
    now.source = batch(torch.zeros(4, 2))  # confidence 1/2 throughout
    loss = objective(now)
    assert objective.target_shares.tolist() == pytest.approx([0.53, 0.47])
    assert objective.log()["kept"].item() == 1.0 and objective.log()["kept/b"].item() == pytest.approx(1 / 3)
    assert loss.item() == pytest.approx(-(math.log(0.7) + math.log(0.1) + math.log(0.5)) / 3, abs=1e-6)
    assert "target_shares" in objective.state_dict()  # a resumed run is the same run
    now.source = batch(torch.tensor([[2.0, 0.0]] * 4))  # confidence 0.881: 0.9 of it asks for 0.793, which 0.537 is not
    objective(now)
    assert objective.log()["kept"].item() == pytest.approx(2 / 3)


@pytest.mark.parametrize("make", [FixMatch, MeanTeacher])
def test_answers_are_aligned_to_shares_of_the_source_that_are_uneven(make):
    """By hand: shares (3/4, 1/4) and answers (0.52, 0.48), so the running mean is 0.9 (3/4, 1/4) + 0.1 (0.52, 0.48) =
    (0.727, 0.273). Dividing by the source's shares instead of multiplying by them would turn (0.527, 0.473) around."""
    uneven = Domain(torch.zeros(4, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 0, 1, 0]), ("a", "b"))
    objective = make(adapt=True)
    objective.setup(Tiny(), uneven, unlabelled())
    a, b = 0.52 * 0.75 / 0.727, 0.48 * 0.25 / 0.273
    aligned = objective.aligned(torch.tensor([[0.52, 0.48]] * 2))
    assert aligned.flatten().tolist() == pytest.approx([a / (a + b), b / (a + b)] * 2, rel=1e-5)


def blobs_of_two():
    return Domain(torch.zeros(4, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]), ("a", "b"))


def unlabelled(n=4):
    return Domain(torch.zeros(n, 1, 4, 4, dtype=torch.uint8), None, ("a", "b"))


def test_mean_teacher_after_k_updates_in_closed_form_with_batch_norm_statistics():
    torch.manual_seed(0)
    model, objective = Tiny(), MeanTeacher(decay=0.6)
    objective.setup(model, None, unlabelled())
    history = []
    for value in (1.0, 4.0, -2.0, 3.0):
        with torch.no_grad():
            model.head.bias.fill_(value)
            model.encoder[1].running_mean.fill_(10 * value)
            model.encoder[1].num_batches_tracked += 7
        history.append(value)
        objective.after_step(Step(model, None, None, 0.5))
    # a = min(0.6, 1 - 1/n) = 0, 1/2, 0.6, 0.6
    average = history[0]
    for a, value in zip((0.5, 0.6, 0.6), history[1:], strict=True):
        average = a * average + (1 - a) * value
    assert torch.allclose(objective.teacher.head.bias, torch.full((2,), average))
    assert torch.allclose(objective.teacher.encoder[1].running_mean, torch.full((3,), 10 * average), atol=1e-5)
    assert objective.teacher.encoder[1].num_batches_tracked == 28


def test_mean_teacher_loss_is_the_ramped_square_difference_and_teaches_the_student_only():
    torch.manual_seed(0)
    model, objective = Tiny(), MeanTeacher(ramp=0.5, view=None)
    objective.setup(model, None, unlabelled())
    with torch.no_grad():
        objective.teacher.head.bias.add_(torch.tensor([1.0, -1.0]))
    x = torch.randn(5, 2)
    z = model.train().features(x)
    student = Batch(x, None, z, model.head(z))
    p = student.logits.softmax(1)
    q = objective.teacher.eval()(x).softmax(1)
    for progress, ramp in ((0.25, math.exp(-5 * 0.25)), (0.5, 1.0), (0.9, 1.0)):
        loss = objective.train()(Step(model, None, student, progress))
        assert loss.item() == pytest.approx(ramp * ((p - q) ** 2).sum().item() / 10, rel=1e-5)
    assert not objective.teacher.encoder[1].training  # eval mode, whatever the objective is in
    loss.backward()
    assert model.head.weight.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in objective.parameters())


def test_mean_teacher_aligned_to_the_sources_shares_by_hand():
    """The teacher says (0.8, 0.2) of everything: the running mean is 0.9 (1/2, 1/2) + 0.1 (0.8, 0.2) = (0.53, 0.47), and
    (0.8 / 0.53, 0.2 / 0.47) scaled is what the student, who says (1/2, 1/2), is pulled to."""
    objective = MeanTeacher(2.0, ramp=0.0, view=None, adapt=True)
    assert objective.needs == {"source_labels", "target"} and MeanTeacher().needs == {"target"}
    objective.setup(Tiny(), blobs_of_two(), unlabelled())
    with torch.no_grad():
        objective.teacher.head.weight.zero_()
        objective.teacher.head.bias.copy_(torch.tensor([0.8, 0.2]).log())
    a, b = 0.8 / 0.53, 0.2 / 0.47
    loss = objective(step(torch.zeros(3, 2)))
    assert loss.item() == pytest.approx((a / (a + b) - 0.5) ** 2, rel=1e-5)
    assert objective.target_shares.tolist() == pytest.approx([0.53, 0.47])


def test_mean_teacher_resumes_from_its_state_dict():
    torch.manual_seed(0)
    model, first = Tiny(), MeanTeacher(decay=0.9)
    first.setup(model, None, unlabelled())
    for _ in range(3):
        torch.nn.init.normal_(model.head.weight)
        first.after_step(Step(model, None, None, 0.5))
    second = MeanTeacher(decay=0.9)
    second.setup(Tiny(), None, unlabelled())
    second.load_state_dict(first.state_dict())
    for objective in (first, second):
        objective.after_step(Step(model, None, None, 0.5))
    assert second.updates == 4
    assert torch.equal(first.teacher.head.weight, second.teacher.head.weight)


TARGET_ONLY = [EntropyMinimization, InformationMaximization, MCC, BNM, AFN, PseudoLabel, FixMatch, MeanTeacher]


@pytest.mark.parametrize("make", TARGET_ONLY)
def test_works_without_a_source_and_reaches_the_encoder(make):
    torch.manual_seed(0)
    model, objective = Tiny(), make()
    objective.setup(model, None, unlabelled())
    assert objective.needs == {"target"}
    x = torch.randn(8, 2)
    with torch.no_grad():
        model.head.weight.mul_(30)  # sure enough for the thresholds

    def forward(inputs):
        z = model.features(inputs)
        return Batch(inputs, None, z, model.head(z))

    loss = objective(Step(model, None, forward(x), 0.9, lambda name, side: forward(x + 0.3 * torch.randn(8, 2))))
    assert loss.shape == () and loss.isfinite()
    loss.backward()
    assert model.encoder[0].weight.grad.abs().sum() > 0
    assert all(value.shape == () and not value.requires_grad for value in objective.log().values())


@pytest.mark.parametrize(
    ("make", "bad"),
    [
        (MCC, {"temperature": 0}),
        (PseudoLabel, {"threshold": 1.5}),
        (PseudoLabel, {"ramp": (0.5, 0.2)}),
        (FixMatch, {"threshold": -0.1}),
        (MeanTeacher, {"decay": 1.0}),
        (AFN, {"radius": 0}),
    ],
)
def test_bad_arguments_are_named(make, bad):
    with pytest.raises(ArgumentError, match=make.__name__):
        make(**bad)


def test_the_ends_of_what_is_allowed_are_allowed():
    assert FixMatch(threshold=1.0).threshold == FixMatch(threshold=1).threshold == 1
    assert (
        PseudoLabel(threshold=1.0, ramp=(0.0, 1.0)).ramp == (0.0, 1.0) == PseudoLabel(threshold=0.0, ramp=(0, 1)).ramp
    )


@pytest.mark.parametrize(
    ("make", "least"),
    [
        (MCC, {"temperature": 0.25}),
        (PseudoLabel, {"threshold": 0, "ramp": (0, 0)}),
        (PseudoLabel, {"threshold": 1, "ramp": (1, 1)}),
        (FixMatch, {"threshold": 0}),
        (FixMatch, {"threshold": 1}),
        (MeanTeacher, {"decay": 0}),
    ],
)
def test_the_ends_of_each_range_are_in_it(make, least):
    objective = make(**least)
    assert {name: getattr(objective, name) for name in least} == least


@pytest.mark.parametrize("radius", [0.5, 1.0])
def test_afn_shortens_features_to_a_radius_below_their_norm(radius):
    features = torch.tensor([[3.0, 4.0]], requires_grad=True)
    loss = AFN(radius=radius)(step(torch.zeros(1, 2), features=features))
    assert loss.item() == pytest.approx((5 - radius) ** 2)
    loss.backward()
    assert torch.allclose(features.grad, 2 * (5 - radius) * torch.tensor([[0.6, 0.8]]))


@pytest.mark.parametrize("make", TARGET_ONLY)
def test_all_that_read_a_softmax_are_refused_on_a_multilabel_domain(make, own, source):
    tags = torch.eye(3)[source.labels]
    tags[:, 0] = 1
    several = Domain(source.inputs, tags, source.classes, name="several")
    objectives, target = [CrossEntropy(), make()], several.unlabeled()

    def train():
        return xl.fit(own(), several, target, objectives=objectives, steps=1, batch_size=8, progress_bar=False)

    if make is AFN:  # reads features alone
        assert train().history
    else:
        with pytest.raises(ArgumentError, match=make.__name__):
            train()
