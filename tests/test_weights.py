"""Copies, averages, interpolation, LoRA and stochastic norms of weights."""

import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from xferlab.domains import Domain
from xferlab.errors import ArgumentError
from xferlab.weights import (
    LoRA,
    add_lora,
    average_into,
    frozen_copy,
    interpolate,
    lora_parameters,
    merge_lora,
    refresh_batch_norm,
    use_stochastic_norm,
)


def net(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, groups=6, padding=1, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )


def inputs(n=5, seed=3):
    return torch.randn(n, 2, 6, 6, generator=torch.Generator().manual_seed(seed))


def test_frozen_copy_is_frozen_apart_and_without_gradients():
    model = net().train()
    model(inputs()).sum().backward()
    copied = frozen_copy(model)
    assert not copied.training and not any(p.requires_grad or p.grad is not None for p in copied.parameters())
    before = copied(inputs())
    with torch.no_grad():
        model[0].weight.add_(1)
    model(inputs())
    assert torch.equal(copied(inputs()), before)
    assert model.training and model[0].weight.requires_grad and model[0].weight.grad is not None


@pytest.mark.parametrize("rate", [0.25, torch.tensor(0.25)])
def test_average_into_moves_weights_and_statistics_by_the_rate_and_copies_counters(rate):
    average, model = net(0), net(1)
    model[1].running_mean.fill_(8.0)
    model[1].num_batches_tracked.fill_(5)
    expected = 0.75 * average[0].weight + 0.25 * model[0].weight
    kept = model[0].weight.clone()
    average_into(average, model, rate)
    assert torch.allclose(average[0].weight, expected) and torch.equal(model[0].weight, kept)
    assert average[1].running_mean.tolist() == [2.0] * 6 and average[1].num_batches_tracked == 5


def test_interpolate_is_exact_at_its_ends_linear_between_and_pure():
    start, end = net(0).state_dict(), net(1).state_dict()
    end["1.num_batches_tracked"] = torch.tensor(9)
    before = copy.deepcopy(start)
    assert all(torch.equal(interpolate(start, end, 0.0)[k], start[k]) for k in start if start[k].is_floating_point())
    assert all(torch.equal(interpolate(start, end, 1.0)[k], end[k]) for k in end)
    middle = interpolate(start, end, 0.25)
    assert torch.allclose(middle["0.weight"], 0.75 * start["0.weight"] + 0.25 * end["0.weight"])
    assert middle["1.num_batches_tracked"] == 9
    middle["0.weight"].zero_()
    assert all(torch.equal(start[k], before[k]) for k in start)
    net().load_state_dict(interpolate(start, end, 0.5))


def test_interpolate_refuses_another_architecture_by_name():
    start, end = net().state_dict(), net().state_dict()
    end["6.weight"] = torch.zeros(4, 6)
    with pytest.raises(ArgumentError, match=r"6\.weight"):
        interpolate(start, end, 0.5)
    del end["6.weight"]
    with pytest.raises(ArgumentError, match=r"6\.weight"):
        interpolate(start, end, 0.5)


def test_refresh_batch_norm_measures_one_domain_whatever_its_order():
    class Pixels(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.scale = nn.BatchNorm2d(1), nn.Parameter(torch.ones(()))

        def forward(self, x):
            return self.norm(x.float() * self.scale)

    ordered = torch.cat([torch.zeros(33), torch.full((32,), 200)]).to(torch.uint8).view(65, 1, 1, 1).expand(65, 1, 2, 2)
    model = Pixels().eval()
    refresh_batch_norm(model, Domain(ordered.contiguous(), None, ("a", "b")), batch_size=16)
    assert model.norm.running_mean.item() == pytest.approx(200 * 32 / 65, rel=0.02)
    assert model.norm.running_var.item() == pytest.approx(100**2, rel=0.1)  # in class order each batch's would be 0
    assert model.norm.momentum == 0.1 and not model.training


def test_lora_changes_nothing_at_first_and_freezes_the_weights():
    model = net().eval()
    before, names = model(inputs()), [name for name, _ in model.named_parameters()]
    new = add_lora(model, rank=2, alpha=8)
    assert torch.equal(model(inputs()), before)
    assert len(new) == 6 and all(p.requires_grad for p in new)  # A and B of two convolutions and a linear layer
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert not any(name.endswith("original") for name in trainable)
    assert {"0.bias", "1.weight", "6.bias"} <= trainable & set(names)
    assert sum(p.numel() for p in new) < sum(p.numel() for p in net().parameters())


def test_lora_is_the_low_rank_update_and_merges_exactly():
    model, plain = net().eval(), net().eval()
    new = add_lora(model, rank=2, alpha=8)
    torch.manual_seed(1)
    for p in new:
        nn.init.normal_(p)
    lora = model[0].parametrizations.weight[0]
    assert lora.a.shape == (2, 18) and lora.b.shape == (6, 2)
    by_hand = plain[0].weight + 8 / 2 * (lora.b @ lora.a).view(6, 2, 3, 3)
    assert torch.allclose(model[0].weight, by_hand)
    assert torch.linalg.matrix_rank(model[6].weight - plain[6].weight) == 2
    adapted = model(inputs())
    assert not torch.allclose(adapted, plain(inputs()))
    merge_lora(model)
    assert torch.equal(model(inputs()), adapted)
    assert lora_parameters([model]) == []
    plain.load_state_dict(model.state_dict())  # an ordinary model again
    assert torch.equal(plain(inputs()), adapted)
    assert all(isinstance(p, nn.Parameter) and p.requires_grad for p in model.parameters())


def test_lora_trains_survives_copies_and_resumes():
    model = net().eval()
    new = add_lora(model, rank=1)
    model(inputs()).square().sum().backward()
    assert all(p.grad is not None for p in new) and model[0].parametrizations.weight.original.grad is None
    assert new[1].grad.abs().sum() > 0  # B; A's gradient is zero as long as B is
    with torch.no_grad():
        new[1].add_(1)
    copied, other = copy.deepcopy(model), net(5).eval()
    assert torch.equal(copied(inputs()), model(inputs()))
    add_lora(other, rank=1)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(inputs()), model(inputs()))
    assert add_lora(model, rank=1)[0] is new[0]  # a second call adds nothing


def test_lora_rank_is_cut_to_what_a_layer_holds():
    layer = nn.Linear(3, 2)
    add_lora(layer, rank=50)
    assert isinstance(layer.parametrizations.weight[0], LoRA) and layer.parametrizations.weight[0].a.shape == (2, 3)


def test_lora_errors_name_the_value():
    with pytest.raises(ArgumentError, match="0"):
        add_lora(net(), rank=0)
    with pytest.raises(ArgumentError, match="ReLU"):
        add_lora(nn.ReLU())


def test_stochastic_norm_uses_moving_statistics_for_a_share_of_the_channels():
    norm = nn.BatchNorm2d(400)
    norm.running_mean.fill_(3.0)
    x = torch.randn(8, 400, 2, 2, generator=torch.Generator().manual_seed(0))
    plain = copy.deepcopy(norm).train()
    use_stochastic_norm(norm, p=0.3)
    torch.manual_seed(0)
    out = norm.train()(x)
    batch = plain(x)
    # as in the paper's code, the moving statistics are those already updated by this batch
    moving = F.batch_norm(x, plain.running_mean, plain.running_var, plain.weight, plain.bias, training=False)
    same_batch = (out - batch).abs().amax((0, 2, 3)) < 1e-5
    same_moving = (out - moving).abs().amax((0, 2, 3)) < 1e-5
    assert (same_batch ^ same_moving).all()  # each channel is one or the other, never a blend
    assert 0.2 < same_moving.float().mean() < 0.4
    assert torch.equal(norm.running_mean, plain.running_mean)


def test_stochastic_norm_ends_are_plain_batch_norm_and_evaluation_does_not_change():
    x = inputs()
    model, plain = use_stochastic_norm(net(), p=0.0), net()
    assert torch.equal(model.train()(x), plain.train()(x))
    assert torch.equal(model.eval()(x), plain.eval()(x))
    norm = use_stochastic_norm(nn.BatchNorm2d(2), p=1.0).train()
    out = norm(x)
    shown = (x - norm.running_mean.view(1, -1, 1, 1)) / (norm.running_var.view(1, -1, 1, 1) + norm.eps).sqrt()
    assert torch.allclose(out, shown, atol=1e-5)


def test_stochastic_norm_keeps_a_fused_activation_and_two_forward_passes_can_be_differentiated():
    norm = timm.layers.BatchNormAct2d(2, act_layer=nn.ReLU6).train()
    use_stochastic_norm(norm, p=1.0)
    first, second = norm(inputs()), norm(inputs(seed=4) + 5)
    assert first.min() == 0 and second.max() > 0
    mean, var = norm.running_mean.clone(), norm.running_var.clone()
    (first.sum() + second.sum()).backward()
    assert (
        norm.weight.grad.isfinite().all()
        and torch.equal(mean, norm.running_mean)
        and torch.equal(var, norm.running_var)
    )
    use_stochastic_norm(norm, p=0.0)  # a second call changes p and adds no second hook
    assert norm.stochastic_p == 0.0 and len(norm._forward_hooks) == 1


def test_stochastic_norm_gradient_is_that_of_the_statistics_of_its_own_pass():
    norm = use_stochastic_norm(nn.BatchNorm2d(1), p=1.0).train()
    x = torch.randn(4, 1, 2, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    out = norm(x)
    scale = 1 / (norm.running_var + norm.eps).sqrt()
    norm(100 * inputs()[:, :1])  # moves the statistics before the backward pass
    out.sum().backward()
    assert torch.allclose(x.grad, scale.expand(4, 1, 2, 2))


def test_stochastic_norm_errors_name_the_value():
    with pytest.raises(ArgumentError, match=r"1\.5"):
        use_stochastic_norm(net(), p=1.5)
    with pytest.raises(ArgumentError, match="Linear"):
        use_stochastic_norm(nn.Linear(2, 2))
