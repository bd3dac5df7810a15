import copy
import weakref

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from small import blobs

import xferlab as xl
from xferlab.errors import ArgumentError, DataError
from xferlab.features import knn, ridge_path
from xferlab.probes import make_deep


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


def test_several_layers_in_one_pass_each_kept_by_itself(own, tmp_path):
    model, domain = own(), blobs()
    calls = count_passes(model)
    both = xl.embed(model, domain, layer=["deep", "stem"], cache=tmp_path)
    assert list(both) == ["deep", "stem"] and len(calls) == 1
    assert torch.equal(both["stem"], xl.embed(model, domain, layer="stem", cache=tmp_path)) and len(calls) == 1
    again = xl.embed(model, domain, layer=["stem", "project"], cache=tmp_path)
    assert len(calls) == 2 and torch.equal(again["stem"], both["stem"])
    for name in ("deep", "stem", "project"):
        alone = xl.embed(model, domain, layer=name, cache=False)
        assert torch.equal(alone, (both | again)[name])


def test_activations_of_turned_views_are_not_kept(own):
    model, alive = own(), []
    make_deep(model)
    model.encoder.body.symmetric.fill_(True)
    made = []
    model.encoder.body.body.norm.register_forward_hook(lambda _m, _in, output: made.append(weakref.ref(output)))
    model.encoder.register_forward_pre_hook(lambda *_: alive.append(sum(kept() is not None for kept in made)))
    xl.embed(model, blobs(n=2000), layer="stem", cache=False)
    assert len(alive) > 2 and max(alive) <= 1


def test_unknown_among_several_layers(own):
    with pytest.raises(ArgumentError, match=r"no blocks \['nowhere'\]; it has stem"):
        xl.embed(own(), blobs(), layer=["stem", "nowhere"])


ALPHAS = [1e-3, 0.5, 3.0, 200.0]


def random_features(n, d, classes=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    means = torch.randn(classes, d, generator=g)
    return means[labels] + 2 * torch.randn(n, d, generator=g) + 5, labels  # off centre: the intercept matters


@pytest.mark.parametrize("n, d", [(60, 7), (20, 45), (30, 30)])
def test_ridge_path_is_scikit_learns_ridge_at_every_alpha(n, d):
    x, y = random_features(n, d)
    queries, _ = random_features(50, d, seed=1)
    path = ridge_path(x, y, ALPHAS)
    for at, alpha in enumerate(ALPHAS):
        reference = RidgeClassifier(alpha=alpha, solver="svd").fit(x.double(), y)
        # its targets are -1 and 1, ours 0 and 1
        expected = (torch.from_numpy(reference.decision_function(queries.double())) + 1) / 2
        torch.testing.assert_close(path.scores(queries, at), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("n, d", [(18, 4), (12, 40)])
def test_leave_one_out_is_that_of_fitting_n_times(n, d):
    x, y = random_features(n, d)
    path = ridge_path(x, y, ALPHAS)
    onehot = torch.eye(3).double()[y]
    for at, alpha in enumerate(ALPHAS):
        scores = []
        for i in range(n):
            rest = torch.arange(n) != i
            model = Ridge(alpha=alpha, solver="svd").fit(x[rest].double(), onehot[rest])
            scores.append(torch.from_numpy(model.predict(x[i : i + 1].double()))[0])
        scores = torch.stack(scores)
        assert path.accuracy[at] == (scores.argmax(1) == y).double().mean()
        assert path.error[at].item() == pytest.approx((scores - onehot).square().sum(1).mean().item(), abs=1e-6)


def test_ridge_by_hand():
    # x is -1, 0, 1 about its mean 4 and y = (1, 1, 0): slope of the second column is 1 / (2 + alpha)
    path = ridge_path(torch.tensor([[3.0], [4.0], [5.0]]), torch.tensor([0, 0, 1]), [2.0])
    torch.testing.assert_close(path.weights[0], torch.tensor([[-0.25, 0.25]]).double())
    torch.testing.assert_close(path.biases[0], torch.tensor([2 / 3 + 1, 1 / 3 - 1]).double())


def test_the_best_alpha_is_the_one_that_generalises():
    x, y = random_features(30, 60)
    x[:, 3:] += 20 * torch.randn(30, 57, generator=torch.Generator().manual_seed(2))
    path = ridge_path(x, y, ALPHAS)
    assert path.accuracy[path.best] == path.accuracy.max()
    ties = path.accuracy == path.accuracy.max()
    assert path.error[path.best] == path.error[ties].min()


def test_default_alphas_follow_the_scale_of_the_features():
    x, y = random_features(40, 5)
    small, large = ridge_path(x, y), ridge_path(1000 * x, y)
    torch.testing.assert_close(large.alphas, 1e6 * small.alphas)
    torch.testing.assert_close(large.accuracy, small.accuracy)


def test_a_class_without_examples_keeps_its_column():
    x, y = random_features(20, 4)
    assert ridge_path(x, y, ALPHAS, classes=5).scores(x).shape == (20, 5)
    assert knn(x, y, x, k=3, classes=5).shape == (20, 5)


@pytest.mark.parametrize("k", [1, 7, 50])
def test_knn_is_scikit_learns_with_the_papers_weights(k):
    x, y = random_features(50, 6)
    queries, _ = random_features(1100, 6, seed=1)  # more than are compared at a time
    x, queries = x - 5, queries - 5
    reference = KNeighborsClassifier(
        k, metric="cosine", algorithm="brute", weights=lambda distance: np.exp((1 - distance) / 0.07)
    ).fit(x, y)
    expected = torch.from_numpy(reference.predict_proba(queries)).float()
    torch.testing.assert_close(knn(x, y, queries, k), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    "change, message",
    [
        ("nan", "NaN or infinity in 1 of 20 rows"),
        ("length", r"labels of features are torch.int64 \(19,\); expected int64 \(20,\)"),
        ("range", "run from 0 to 2; expected 0 to 1"),
        ("negative", "run from -1 to 2"),
        ("float", "torch.float32"),
        ("shape", r"Tensor \(20, 2, 2\)"),
    ],
)
def test_what_cannot_be_used_is_named(change, message):
    x, y = random_features(20, 4)
    classes = None
    if change == "nan":
        x[3, 1] = float("nan")
    elif change == "length":
        y = y[:-1]
    elif change == "range":
        classes = 2
    elif change == "negative":
        y[0] = -1
    elif change == "float":
        y = y.float()
    else:
        x = x.view(20, 2, 2)
    with pytest.raises(DataError, match=message):
        ridge_path(x, y, ALPHAS, classes=classes)
    with pytest.raises(DataError, match=message):
        knn(x, y, torch.ones(1, 4), k=1, classes=classes)


def test_settings_that_cannot_be_used_are_named():
    x, y = random_features(20, 4)
    with pytest.raises(ArgumentError, match=r"alphas are \[0.0, 1.0\]; expected finite numbers above 0"):
        ridge_path(x, y, [0.0, 1.0])
    with pytest.raises(ArgumentError, match="k is 21; expected 1 to 20"):
        knn(x, y, x, k=21)
    with pytest.raises(ArgumentError, match="temperature is 0"):
        knn(x, y, x, k=1, temperature=0)
    with pytest.raises(DataError, match=r"queries are Tensor \(20, 3\); expected a tensor \(N, 4\)"):
        knn(x, y, x[:, :3])
    with pytest.raises(DataError, match="the same value in every row"):
        ridge_path(torch.ones(20, 4), y)
    with pytest.raises(DataError, match=r"features are Tensor \(20, 3\)"):
        ridge_path(x, y).scores(x[:, :3])
