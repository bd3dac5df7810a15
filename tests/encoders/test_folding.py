"""Norms folded into convolutions: the same outputs wherever it is done, and left alone wherever it would change them."""

import copy
import functools
import sys

import pytest
import torch
from small import TwentyLines
from timm.layers import Conv2dSame
from torch import nn

import xferlab as xl
from xferlab.encoders import folding, recording
from xferlab.evaluation import evaluating


def worn(module, seed=0):
    """With batch norms as training leaves them: at their first values folding them is near to leaving them out."""
    g = torch.Generator().manual_seed(seed)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.running_mean, norm.bias):
                tensor is None or tensor.data.copy_(torch.randn(tensor.shape, generator=g))
            for tensor in (norm.running_var, norm.weight):
                tensor is None or tensor.data.copy_(torch.rand(tensor.shape, generator=g) + 0.5)
    return module


def both_ways(encoder, images):
    """Features in evaluation mode with norms as they stand, and as `evaluating` runs them."""
    with torch.no_grad():
        plain = encoder.eval()(images)
    with evaluating(encoder):
        inside = encoder(images)
    with torch.no_grad():
        assert torch.equal(encoder(images), plain)  # and afterwards everything is as it was, to the bit
    return inside, plain


class Weighed(nn.Module):
    """A sum over the picture that weighs every place differently, so that a shifted map gives another."""

    def forward(self, x):
        h, w = x.shape[-2:]
        return torch.einsum("bchw,h,w->bc", x, torch.arange(1.0, h + 1).to(x), torch.arange(1.0, w + 1).to(x).sqrt())


class Net(nn.Module):
    """Two convolutions and two norms, put together as `wiring` says."""

    def __init__(self, wiring, **norm):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1, bias=False)
        self.m, self.n = nn.BatchNorm2d(3, **norm), nn.BatchNorm2d(3, **norm)
        self.wiring = wiring

    def forward(self, x):
        return self.wiring(self, x).flatten(2).mean(2)


WIRINGS = {
    "one after the other": (2, lambda net, x: net.n(net.b(net.m(net.a(x)).relu()))),
    "with a relu in place": (2, lambda net, x: net.n(net.b(net.m(net.a(x)).relu_()))),
    "a shortcut before the norm": (1, lambda net, x: (y := net.a(x)) + net.n(net.b(net.m(y).relu()))),
    "a shortcut after the norm": (2, lambda net, x: (y := net.m(net.a(x))) + net.n(net.b(y.relu()))),
    "a convolution that runs twice": (0, lambda net, x: net.m(net.b(net.b(x)))),
    "a norm that runs twice": (0, lambda net, x: net.m(net.a(x)) + net.m(net.b(x))),
    "two norms on one convolution": (0, lambda net, x: net.m(y := net.a(x)) * net.n(y)),
    "something between": (1, lambda net, x: net.m(net.n(net.b(x)).relu() + net.a(x).relu())),
    "a change in place between": (0, lambda net, x: net.m(net.a(x).mul_(2)) + net.n(net.b(x).relu_())),
    "a norm whose output is not used": (1, lambda net, x: (net.m(y := net.a(x)), net.n(net.b(y)))[1]),
    "one of two norms not used": (0, lambda net, x: (net.m(y := net.a(x)), net.n(y))[1]),
    "a picture changed in place": (2, lambda net, x: net.n(net.b(net.m(net.a(x.add_(1)))))),
}


@pytest.mark.parametrize("norm", [{}, {"affine": False}], ids=["affine", "bare"])
@pytest.mark.parametrize("name", WIRINGS)
def test_only_a_norm_alone_behind_its_convolution_is_folded(name, norm):
    pairs, wiring = WIRINGS[name]
    encoder = worn(xl.encoder(Net(wiring, **norm), size=8))
    assert len(folding.foldable(encoder.body.eval(), torch.zeros(2, 3, 8, 8))) == pairs
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    torch.testing.assert_close(*both_ways(encoder, images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "name, pairs", [("efficientnet_lite0", 49), ("small_cnn", 4), ("lenet", 2), ("resnetv2_50", 32)]
)
def test_whole_networks_give_the_same_features(name, pairs):
    encoder = worn(xl.encoder(name, pretrained=False))
    images = torch.randint(0, 256, (4, encoder.channels, 64, 64), generator=torch.manual_seed(0), dtype=torch.uint8)
    inside, plain = both_ways(encoder, images)
    assert len(encoder.folds) == pairs and not torch.equal(inside, plain)  # something was folded
    torch.testing.assert_close(inside, plain, atol=1e-4 * plain.abs().max().item(), rtol=1e-4)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 7, (3, 5)], ids=str)
@pytest.mark.parametrize("settings", [{}, {"groups": 1}, {"stride": 1}, {"stride": (2, 1)}, {"dilation": 2}], ids=str)
@pytest.mark.parametrize("conv", [Conv2dSame, functools.partial(nn.Conv2d, padding=6)], ids=["same", "plain"])
def test_same_padding_is_left_to_the_kernel(conv, kernel, settings):
    settings = {"stride": 2, "groups": 6} | settings
    body = nn.Sequential(conv(6, 6, kernel, **settings), nn.BatchNorm2d(6), Weighed())
    encoder = worn(xl.encoder(body, channels=6)).double()
    for shape in [(8, 8), (2, 2), (7, 8), (8, 7), (7, 7), (1, 1), (12, 6)]:
        images = torch.rand(2, 6, *shape, dtype=torch.float64)
        torch.testing.assert_close(*both_ways(encoder, images), atol=1e-13, rtol=1e-12)


def test_a_padded_copy_is_made_only_where_it_is_the_cheaper_way(monkeypatch):
    encoder, padded = xl.encoder("efficientnet_lite0", pretrained=False), []
    assert sum(isinstance(module, Conv2dSame) for module in encoder.modules()) == 5
    timms = sys.modules[Conv2dSame.__module__]
    pad = timms.pad_same
    monkeypatch.setattr(timms, "pad_same", lambda x, *rest: padded.append(x.shape[1]) or pad(x, *rest))
    with evaluating(encoder):
        encoder.body(torch.zeros(2, 3, 64, 64))
    assert padded == [3]


def test_the_norm_is_left_out_and_the_rounding_is_the_only_difference():
    encoder = worn(xl.encoder(TwentyLines(), size=16)).double()
    images = torch.rand(4, 3, 16, 16)
    inside, plain = both_ways(encoder, images)
    torch.testing.assert_close(inside, plain, atol=1e-13, rtol=1e-12)
    with evaluating(encoder):
        x = torch.rand(1, 8, 4, 4, dtype=torch.float64)
        assert torch.equal(encoder.body.norm(x), x)


def test_what_is_recorded_of_each_block_does_not_change():
    encoder = worn(xl.encoder("efficientnet_lite0", pretrained=False, size=32)).eval()
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with recording(encoder) as plain, torch.no_grad():
        encoder(images)
    with evaluating(encoder), recording(encoder) as inside:  # hooks set after folding are served as well
        encoder(images)
    for name, (value,) in plain.items():
        torch.testing.assert_close(inside[name][0], value, atol=1e-4 * value.abs().max().item(), rtol=1e-4)


class Apart(nn.Module):
    """A convolution that is a block of its own, and its norm inside the next block."""

    def __init__(self):
        super().__init__()
        self.first, self.then = nn.Conv2d(3, 4, 3), nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())

    def forward(self, x):
        return self.then(self.first(x)).mean((2, 3))


def test_a_convolution_at_the_end_of_a_block_keeps_its_norm_apart():
    encoder = worn(xl.encoder(Apart(), size=8))
    assert [block.name for block in encoder.blocks] == ["first", "then"]
    assert len(folding.foldable(encoder.body.eval(), torch.zeros(1, 3, 8, 8))) == 1 and encoder.folds == ()


def lora(encoder):
    for adapter in xl.weights.add_lora(encoder.body.stem, rank=2):
        nn.init.normal_(adapter)


def hook(encoder):
    encoder.body.stem.register_forward_hook(lambda _module, _inputs, output: output * 2)


def pre_hook(encoder):
    encoder.body.norm.register_forward_pre_hook(lambda _module, inputs: (inputs[0] * 2,))


def other_norm(encoder):
    encoder.body.norm = nn.GroupNorm(2, 8)


def other_convolution(encoder):
    encoder.body.stem = nn.Conv2d(3, 8, 3, padding=1)


def training_statistics(encoder):
    encoder.body.norm.running_mean = encoder.body.norm.running_var = None


@pytest.mark.parametrize("change", [lora, hook, pre_hook, other_norm, other_convolution, training_statistics])
def test_a_network_changed_since_runs_as_it_is(change):
    encoder = worn(xl.encoder(TwentyLines(), size=16))
    change(encoder)
    torch.testing.assert_close(*both_ways(encoder, torch.rand(4, 3, 16, 16) * 255), atol=1e-4, rtol=1e-4)


class Standardized(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, self.weight / self.weight.std(), self.bias)


class Doubled(nn.BatchNorm2d):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize("part, layer", [("stem", Standardized(3, 8, 3, padding=1)), ("norm", Doubled(8))])
def test_a_subclass_with_a_forward_of_its_own_is_left_alone(part, layer):
    net = TwentyLines()
    setattr(net, part, layer)
    encoder = worn(xl.encoder(net, size=16))
    torch.testing.assert_close(*both_ways(encoder, torch.rand(4, 3, 16, 16) * 255), atol=1e-4, rtol=1e-4)


def test_a_norm_that_reads_its_batch_keeps_doing_so():
    encoder = worn(xl.encoder(TwentyLines(), size=16)).eval()
    encoder.body.norm.train()
    images = torch.rand(4, 3, 16, 16) * 255
    plain = copy.deepcopy(encoder)(images)
    with folding.folded(encoder):
        torch.testing.assert_close(encoder(images), plain, atol=1e-4, rtol=1e-4)


def test_folded_once_however_often_it_is_asked_for():
    encoder = worn(xl.encoder(TwentyLines(), size=16))
    images = torch.rand(4, 3, 16, 16) * 255
    with evaluating(encoder):
        once = encoder(images)
        with evaluating(encoder):
            assert torch.equal(encoder(images), once)
        assert torch.equal(encoder(images), once)


def test_a_copy_folds_its_own_layers():
    encoder = worn(xl.encoder(TwentyLines(), size=16))
    copied = worn(copy.deepcopy(encoder), seed=1)
    images = torch.rand(4, 3, 16, 16) * 255
    before = both_ways(encoder, images)[1]
    torch.testing.assert_close(*both_ways(copied, images), atol=1e-4, rtol=1e-4)
    assert torch.equal(both_ways(encoder, images)[1], before) and not torch.allclose(
        both_ways(copied, images)[1], before
    )


def test_parameters_are_themselves_again_after_an_error():
    encoder = worn(xl.encoder(TwentyLines(), size=16))
    parameters, state = list(encoder.parameters()), copy.deepcopy(encoder.state_dict())
    with pytest.raises(RuntimeError), evaluating(encoder):
        encoder(torch.zeros(1, 3, 16, 16, device="meta"))
    assert all(a is b for a, b in zip(parameters, encoder.parameters(), strict=True))
    assert all(torch.equal(state[key], value) for key, value in encoder.state_dict().items())
    assert encoder.train()(torch.rand(4, 3, 16, 16)).requires_grad


def test_a_body_that_cannot_be_differentiated_has_nothing_to_fold():
    class Outside(TwentyLines):
        def forward(self, x):
            return torch.from_numpy(super().forward(x).numpy())

    assert xl.encoder(Outside(), size=16).folds == ()
