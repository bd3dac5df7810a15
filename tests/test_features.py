import copy

import pytest
import torch
from small import blobs

import xferlab as xl
from xferlab.errors import ArgumentError


def count_passes(model):
    calls = []
    model.encoder.body.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_features_are_those_of_the_encoder_in_evaluation_mode(own):
    model, domain = own(), blobs()
    model.train()
    features = xl.embed(model, domain, cache=False)
    with torch.no_grad():
        torch.testing.assert_close(features, model.eval().features(domain.inputs))


def test_never_twice_for_the_same_weights_and_data(own, tmp_path):
    model, domain = own(), blobs()
    calls = count_passes(model)
    first = xl.embed(model, domain, cache=tmp_path)
    again = xl.embed(model, copy.copy(domain), cache=tmp_path)
    other_labels = xl.embed(model, domain.unlabeled(), cache=tmp_path)
    assert len(calls) == 1 and torch.equal(first, again) and torch.equal(first, other_labels)


@pytest.mark.parametrize("change", ["weight", "statistic", "image", "size", "layer"])
def test_a_change_is_noticed(change, own, tmp_path):
    model, domain, layer = own(), blobs(), None
    calls = count_passes(model)
    first = xl.embed(model, domain, cache=tmp_path)
    if change == "weight":
        model.encoder.body.stem.weight.data[0, 0, 0, 0] += 0.5
    elif change == "statistic":
        model.encoder.body.norm.running_mean[0] += 0.5
    elif change == "image":
        domain.inputs[7, 0, 3, 3] += 1
    elif change == "size":
        model.encoder.size = (12, 12)
    else:
        layer = "deep"
    second = xl.embed(model, domain, layer=layer, cache=tmp_path)
    assert len(calls) == 2 and not torch.equal(first, second)


def test_a_layer_is_averaged_over_space(own):
    model, domain = own(), blobs()
    features = xl.embed(model, domain, layer="deep", cache=False)
    body = model.encoder.body.eval()
    with torch.no_grad():
        x = torch.relu(body.norm(body.stem(model.encoder.prepare(domain.inputs))))
        # the block is the convolution and the norm after it
        torch.testing.assert_close(features, body.deep_norm(body.deep(x)).mean((2, 3)))


def test_unknown_layer(own):
    with pytest.raises(ArgumentError, match="it has stem, deep, project"):
        xl.embed(own(), blobs(), layer="nowhere")
