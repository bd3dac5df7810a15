"""Penalties that keep what was learned: gradients by hand, teachers equal to themselves, averages in closed form."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from xferlab.domains import Domain
from xferlab.encoders import Classifier, Encoder, recording
from xferlab.errors import ArgumentError
from xferlab.objectives import Batch, Step
from xferlab.objectives.regularization import (
    BSS,
    DELTA,
    EMA,
    L2SP,
    SWA,
    CoTuning,
    Distillation,
    LwF,
    class_means,
    distillation,
    smallest_singular_values,
)
from xferlab.training import fit
from xferlab.weights import refresh_batch_norm


def tiny(old_head=False, norm=False):
    """An encoder of two convolutions for 4 px gray images, D = 5, and a head over three classes."""
    torch.manual_seed(0)
    first = [nn.Conv2d(1, 4, 3, padding=1), *([nn.BatchNorm2d(4)] if norm else []), nn.ReLU()]
    body = nn.Sequential(
        nn.Sequential(*first), nn.Sequential(nn.Conv2d(4, 5, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    )
    encoder = Encoder(body, name="tiny", channels=1, size=4, source_head=nn.Linear(5, 6) if old_head else None)
    return Classifier(encoder, ("a", "b", "c"))


def images(n=6, seed=1):
    return torch.randint(0, 256, (n, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def domain(labels=(0, 1, 2, 0, 1, 2)):
    labels = labels if isinstance(labels, torch.Tensor) else torch.tensor(labels)
    return Domain(images(len(labels)), labels, ("a", "b", "c"))


def step(model, taps=(), labels=None, side="source", x=None):
    x = images() if x is None else x
    with recording(model.encoder, taps) as seen:
        z = model.features(x)
    batch = Batch(x, labels, z, model.head(z))
    return Step(
        model,
        batch if side == "source" else None,
        batch if side == "target" else None,
        0.5,
        activations={k: v[0] for k, v in seen.items()},
    )


def move(module, by=0.1):
    with torch.no_grad():
        for p in module.parameters():
            p.add_(by)


def test_l2sp_value_and_gradient_by_hand():
    model, objective = tiny(), L2SP()
    objective.setup(model, domain(), None)
    assert objective(step(model)).item() == 0.0
    move(model.encoder, 0.2)
    n = sum(p.numel() for p in model.encoder.parameters())
    loss = objective(step(model))
    assert loss.item() == pytest.approx(0.5 * n * 0.04, rel=1e-4)
    loss.backward()
    for p in model.encoder.parameters():
        assert torch.allclose(p.grad, torch.full_like(p, 0.2), atol=1e-6)  # d/dw 1/2 (w - w0)^2 = w - w0
    assert model.head.weight.grad is None


def test_l2sp_pulls_the_head_to_zero_and_leaves_frozen_weights_out():
    model, objective = tiny(), L2SP(head=0.5)
    objective.setup(model, domain(), None)
    move(model.encoder)
    model.encoder.requires_grad_(False)
    loss = objective(step(model))
    loss.backward()
    assert loss.item() == pytest.approx(0.25 * sum(p.square().sum().item() for p in model.head.parameters()), rel=1e-5)
    assert torch.allclose(model.head.weight.grad, 0.5 * model.head.weight)


def test_l2sp_resumes_from_the_original_start():
    model, first, second = tiny(), L2SP(), L2SP()
    first.setup(model, domain(), None)
    move(model.encoder)
    second.setup(model, domain(), None)  # a resumed run sets up from moved weights, then loads
    assert second(step(model)).item() == 0.0
    second.load_state_dict(first.state_dict())
    assert second(step(model)).item() == first(step(model)).item() > 0


def test_delta_with_a_teacher_equal_to_itself_is_zero_and_then_by_hand():
    model, objective = tiny(), DELTA(last=1)
    objective.setup(model, domain(), None)
    assert objective.taps == ("1",)
    assert objective(step(model, objective.taps)).item() == 0.0
    before = model.features(images()).detach()
    with torch.no_grad():
        model.encoder.body[1][0].bias += torch.arange(5.0)
    loss = objective(step(model, objective.taps))
    assert torch.allclose(model.features(images()), before + torch.arange(5.0), atol=1e-5)
    assert loss.item() == pytest.approx(0.5 * (0 + 1 + 4 + 9 + 16) / 5, rel=1e-5)
    loss.backward()
    assert model.encoder.body[0][0].weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in objective.parameters())


@pytest.mark.parametrize(("last", "held"), [(1, ("1",)), (2, ("0", "1")), (5, ("0", "1"))])
def test_delta_holds_the_last_blocks(last, held):
    objective = DELTA(last=last)
    objective.setup(tiny(), domain(), None)
    assert objective.taps == held


def test_delta_adds_its_blocks_and_refuses_one_the_encoder_lacks():
    model = tiny()
    both, one, two = DELTA(blocks=("0", "1")), DELTA(blocks=("0",)), DELTA(blocks=("1",))
    for objective in (both, one, two):
        objective.setup(model, domain(), None)
    move(model.encoder)
    now = step(model, ("0", "1"))
    assert both(now).item() == pytest.approx(one(now).item() + two(now).item(), rel=1e-5)
    with pytest.raises(ArgumentError, match=r"conv9.*it has 0, 1"):
        fit(model, domain(), objectives=[DELTA(blocks=("conv9",))], steps=1, progress_bar=False)


def test_delta_copy_stays_in_eval_mode_in_a_training_objective():
    model, objective = tiny(norm=True), DELTA()
    objective.setup(model, domain(), None)
    statistics = objective.start.body[0][1].running_mean.clone()
    objective.train()(step(model.train(), objective.taps))
    assert torch.equal(objective.start.body[0][1].running_mean, statistics)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6)])
def test_bss_is_the_sum_of_the_smallest_squared_singular_values(shape):
    rng = np.random.default_rng(0)
    u, _ = np.linalg.qr(rng.normal(size=(shape[0], 4)))
    v, _ = np.linalg.qr(rng.normal(size=(shape[1], 4)))
    features = torch.tensor(u @ np.diag([5.0, 3.0, 2.0, 0.5]) @ v.T, requires_grad=True)
    assert smallest_singular_values(features, 1).item() == pytest.approx(0.25)
    loss = smallest_singular_values(features, 2)
    assert loss.item() == pytest.approx(4.25)
    (gradient,) = torch.autograd.grad(loss, features)  # 2 s_i u_i v_i^T for the two smallest
    assert np.allclose(gradient.numpy(), u[:, 2:] @ np.diag([4.0, 1.0]) @ v[:, 2:].T, atol=1e-8)


def test_bss_reads_the_source_features():
    model = tiny()
    now = step(model)
    expected = (np.linalg.svd(now.source.features.detach().numpy(), compute_uv=False)[-2:] ** 2).sum()
    assert BSS(k=2)(now).item() == pytest.approx(expected, rel=1e-2, abs=1e-6)
    now.source.features = torch.tensor([[3.0, 0.0], [0.0, 2.0], [0.0, 0.0]])  # singular values 3 and 2
    assert BSS()(now).item() == pytest.approx(4.0) and BSS(k=1)(now).item() == pytest.approx(4.0)


def test_class_means_on_a_toy_and_a_class_without_examples():
    p = torch.tensor([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]])
    relation = class_means(p, torch.tensor([0, 0, 2]), classes=3)
    assert torch.allclose(relation, torch.tensor([[0.7, 0.3], [0.5, 0.5], [0.1, 0.9]]))
    relation = class_means(p.requires_grad_(), torch.tensor([0, 0, 2]), classes=3)
    (gradient,) = torch.autograd.grad(relation[:, 0].sum(), p)  # a half and a third, twice; one and a third
    assert torch.allclose(gradient[:, 0], torch.tensor([5 / 6, 5 / 6, 4 / 3]))


def test_cotuning_learns_the_relation_from_the_old_head_and_trains_a_copy_of_it():
    model, objective = tiny(old_head=True), CoTuning()
    data = domain()
    objective.setup(model, data, None)
    old = model.encoder.source_head(model.eval().features(data.inputs)).softmax(1)
    expected = torch.stack([old[data.labels == k].mean(0) for k in range(3)])
    assert torch.allclose(objective.relation, expected, atol=1e-6)
    labels = torch.tensor([2, 0, 1, 1, 0, 2])
    loss = objective(step(model, labels=labels))
    log_q = objective.head(model.features(images())).log_softmax(1)
    assert loss.item() == pytest.approx(-(expected[labels] * log_q).sum(1).mean().item(), rel=1e-5)
    soft = objective(step(model, labels=F.one_hot(labels, 3).float()))
    assert soft.item() == pytest.approx(loss.item(), rel=1e-6)
    loss.backward()
    assert objective.head.weight.grad.abs().sum() > 0 and model.encoder.source_head.weight.grad is None
    assert model.encoder.body[0][0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("make", [CoTuning, LwF])
def test_without_an_old_head_the_error_says_what_to_use(make):
    with pytest.raises(ArgumentError, match=rf"{make.__name__}.*source_head.*efficientnet_lite0"):
        make().setup(tiny(), domain(), None)


def test_cotuning_refuses_multilabel():
    with pytest.raises(ArgumentError, match=r"CoTuning reads one class an example.*multi-label"):
        fit(tiny(old_head=True), domain(torch.eye(3)), objectives=[CoTuning()], steps=1, progress_bar=False)


@pytest.mark.parametrize("t", [0.5, 1.0, 2.0, 3.0])
def test_distillation_is_hintons_loss_by_hand(t):
    student, teacher = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    q = [1 / (1 + math.exp(-1 / t)), 1 / (1 + math.exp(1 / t))]
    p = [1 / (1 + math.exp(3 / t)), 1 / (1 + math.exp(-3 / t))]
    expected = t**2 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    assert distillation(student, teacher, t).item() == pytest.approx(expected, rel=1e-5)
    rows = torch.cat([student, teacher]), torch.cat([teacher, teacher])
    assert distillation(*rows, t).item() == pytest.approx(expected / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("make", "side"), [(Distillation, "source"), (Distillation, "target"), (LwF, "source"), (LwF, "target")]
)
def test_distillation_from_the_same_model_is_zero_with_zero_gradient_and_then_not(make, side):
    model, objective = tiny(old_head=True), make(on=side)
    assert objective.needs == {side}
    objective.setup(model, domain(), domain().unlabeled())
    loss = objective(step(model, side=side))
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert all(p.grad is None or p.grad.abs().max() < 1e-6 for p in model.parameters())
    with torch.no_grad():
        model.encoder.body[1][0].bias += torch.arange(5.0)
    moved = objective(step(model, side=side))
    moved.backward()
    assert moved.item() > 1e-3 and model.encoder.body[0][0].weight.grad.abs().max() > 1e-5


@pytest.mark.parametrize("t", [0.5, 1])
def test_a_temperature_below_one_is_a_temperature(t):
    teacher, model = tiny(), tiny()
    move(teacher, 0.3)
    objective = Distillation(teacher=teacher, temperature=t)
    objective.setup(model, domain(), None)
    expected = distillation(model(images()), teacher(images()), t).item()
    assert objective(step(model)).item() == pytest.approx(expected, rel=1e-5) and expected > 0
    assert LwF(temperature=t).temperature == t


def test_distillation_keeps_a_given_teacher_and_refuses_other_classes():
    teacher, model = tiny(), tiny()
    move(teacher, 0.3)
    objective = Distillation(teacher=teacher)
    objective.setup(model, domain(), None)
    expected = distillation(model(images()), teacher(images()), 2.0).item()
    assert objective(step(model)).item() == pytest.approx(expected, rel=1e-5) and expected > 0
    other = Classifier(teacher.encoder, ("x", "y", "z"))
    with pytest.raises(ArgumentError, match="x"):
        Distillation(teacher=other).setup(model, domain(), None)


def test_ema_after_k_steps_in_closed_form_and_finish_copies_it_in():
    model, objective = tiny(norm=True), EMA(decay=0.6)
    objective.setup(model, domain(), None)
    for value in (1.0, 4.0, -2.0, 3.0):
        with torch.no_grad():
            model.head.bias.fill_(value)
            model.encoder.body[0][1].running_var.fill_(value + 5)
        objective.after_step(Step(model, None, None, 0.5))
    average = 1.0
    for a, value in ((0.5, 4.0), (0.6, -2.0), (0.6, 3.0)):
        average = a * average + (1 - a) * value
    assert objective(Step(model, None, None, 0.5)).item() == 0.0 and objective.weight == 0.0
    objective.finish(model)
    assert torch.allclose(model.head.bias, torch.full((3,), average))
    assert torch.allclose(model.encoder.body[0][1].running_var, torch.full((4,), average + 5))


def test_swa_is_the_plain_mean_from_its_start_on():
    model, objective = tiny(), SWA(start=0.5)
    objective.setup(model, domain(), None)
    for progress, value in ((0.2, 100.0), (0.4, 100.0), (0.5, 1.0), (0.7, 2.0), (1.0, 6.0)):
        with torch.no_grad():
            model.head.bias.fill_(value)
        objective.after_step(Step(model, None, None, progress))
    objective.finish(model)
    assert torch.allclose(model.head.bias, torch.full((3,), 3.0))


def test_batch_norm_statistics_can_be_those_of_the_averaged_weights():
    model, objective = tiny(norm=True), SWA(start=0.0)
    objective.setup(model, domain(), None)
    objective.after_step(step(model))
    with torch.no_grad():
        model.encoder.body[0][0].weight.mul_(3)
    objective.after_step(step(model))
    data = domain()
    objective.finish(model.eval())
    refresh_batch_norm(model, data)
    conv, norm = model.encoder.body[0][:2]
    assert torch.allclose(norm.running_mean, conv(model.encoder.prepare(data.inputs)).mean((0, 2, 3)), atol=1e-5)
    assert not model.training


@pytest.mark.parametrize("make", [L2SP, DELTA, Distillation, EMA])
def test_frozen_parts_are_no_parameters_to_train(make):
    model, objective = tiny(), make()
    move(model)
    model(images()).sum().backward()
    objective.setup(model, domain(), None)
    assert list(objective.parameters()) and not any(
        p.requires_grad or p.grad is not None for p in objective.parameters()
    )
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("make", "bad"),
    [
        (BSS, {"k": 0}),
        (DELTA, {"last": 0}),  # which once held every block
        (Distillation, {"temperature": 0}),
        (Distillation, {"on": "both"}),
        (EMA, {"decay": 1.0}),
        (EMA, {"start": 2}),
    ],
)
def test_bad_arguments_are_named(make, bad):
    with pytest.raises(ArgumentError, match=make.__name__):
        make(**bad)
