from dataclasses import replace

import numpy as np
import pytest
import torch
from small import TwentyLines, blobs

import xferlab as xl
from xferlab.errors import ArgumentError
from xferlab.probes import depth_probe, make_deep, standardize


@pytest.fixture
def deep():
    torch.manual_seed(0)
    model = xl.Classifier(xl.encoder(TwentyLines(), size=16), ("a", "b", "c"))
    make_deep(model)
    return model


def test_the_head_is_scikit_learns_on_standardized_features(deep):
    """With two examples a class nothing can be held out, and the middle strength serves."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    source, other = blobs(n=6, seed=1), blobs(n=30, seed=2)

    def raw(domain):
        return deep.encoder.body.read(deep.encoder.prepare(domain.inputs)).detach()

    deep.eval()
    x, queries = raw(source), raw(other)
    depth_probe(deep, source)
    scaler = StandardScaler().fit(x)
    theirs = LogisticRegression(C=0.05, max_iter=1000).fit(scaler.transform(x), source.labels)
    assert np.allclose(xl.predict(deep, other), theirs.predict_proba(scaler.transform(queries)), atol=2e-3)


def test_a_picture_and_its_turned_copy_get_one_answer_where_there_is_no_top(deep):
    source = replace(blobs(n=30, seed=1), augmentation="any_way_up")
    depth_probe(deep, source)
    turned = replace(source, inputs=source.inputs.rot90(1, (-2, -1)))
    assert torch.allclose(xl.predict(deep, source), xl.predict(deep, turned), atol=1e-4)
    depth_probe(deep, source, views=False)
    assert not torch.allclose(xl.predict(deep, source), xl.predict(deep, turned), atol=1e-4)


def test_standardizing_on_the_target_gives_its_features_mean_zero_and_variance_one(deep):
    source, target = blobs(n=30, seed=1), blobs(n=60, seed=2, shift=70)
    depth_probe(deep, source)
    deep.eval()
    with torch.no_grad():
        assert deep.features(source.inputs).mean(0).abs().max() < 1e-3
        assert deep.features(target.inputs).mean(0).abs().max() > 0.1
        standardize(deep, target)
        z = deep.features(target.inputs)
    live = z.std(0) > 0.5  # a unit that is dead everywhere stays where it is
    assert (
        z.mean(0).abs().max() < 1e-3
        and live.any()
        and torch.allclose(z.std(0)[live], torch.ones(live.sum()), atol=0.02)
    )


def test_a_class_without_examples_is_never_the_answer_and_multilabel_is_refused(deep):
    source = blobs(n=30, seed=1)
    depth_probe(deep, source[source.labels != 1])
    assert 1 not in xl.predict(deep, source).argmax(1)
    with pytest.raises(ArgumentError, match="one class an example"):
        depth_probe(deep, replace(source, labels=torch.eye(3)[source.labels]))


def test_make_deep_twice_keeps_the_head(deep):
    depth_probe(deep, blobs(n=30, seed=1))
    before = deep.head.weight.clone()
    make_deep(deep)
    assert torch.equal(before, deep.head.weight)
