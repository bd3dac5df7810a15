import numpy as np
import pytest
import torch
from sklearn import metrics
from small import blobs

import xferlab as xl
from xferlab.errors import ArgumentError, DataError
from xferlab.evaluation import Scores, paired, t_interval


@pytest.fixture
def scores():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, 4))
    labels = rng.integers(0, 4, 200)
    logits[np.arange(200), labels] += 1
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return Scores(p, labels, ("a", "b", "c", "d"))


def test_against_scikit_learn(scores):
    p, y = scores.probabilities, scores.labels
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(y, p.argmax(1)))
    assert scores.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(y, p.argmax(1)))
    assert scores.auc == pytest.approx(metrics.roc_auc_score(y, p, multi_class="ovr", average="macro"))
    assert (scores.confusion == metrics.confusion_matrix(y, p.argmax(1))).all()


def test_auc_is_that_of_medmnist(scores):
    evaluator = pytest.importorskip("medmnist.evaluator")
    p, y = scores.probabilities, scores.labels
    assert scores.auc == pytest.approx(evaluator.getAUC(y[:, None], p, "multi-class"))
    binary = Scores(p[:, :2] / p[:, :2].sum(1, keepdims=True), (y > 1).astype(int), ("a", "b"))
    assert binary.auc == pytest.approx(evaluator.getAUC(binary.labels[:, None], binary.probabilities, "binary-class"))
    many = Scores(p, np.eye(4, dtype=int)[y] | np.eye(4, dtype=int)[(y + 1) % 4], ("a", "b", "c", "d"))
    assert many.auc == pytest.approx(evaluator.getAUC(many.labels, p, "multi-label, binary-class"))
    assert many.accuracy == pytest.approx(evaluator.getACC(many.labels, p, "multi-label, binary-class"))


def test_ece_by_hand():
    # two answers at 0.9, one right; two at 0.6, both right: 1/2 |0.5 - 0.9| + 1/2 |1 - 0.6| = 0.4
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    assert Scores(p, np.array([0, 1, 0, 0]), ("a", "b")).ece == pytest.approx(0.4)


def test_ties_count_half_in_auc():
    p = np.array([[0.5, 0.5]] * 4)
    assert Scores(p, np.array([0, 1, 0, 1]), ("a", "b")).auc == 0.5


def test_balanced_accuracy_skips_absent_classes():
    p = np.eye(3)[[0, 0, 1]]
    assert Scores(p, np.array([0, 1, 1]), ("a", "b", "c")).balanced_accuracy == pytest.approx(0.75)


def test_interval_covers_the_truth_as_often_as_it_says():
    """200 samples of 100 answers, 80 % right: a 90 % interval must hold 0.8 in about 90 % of them."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(200):
        labels = rng.integers(0, 2, 100)
        said = np.where(rng.random(100) < 0.8, labels, 1 - labels)
        low, high = Scores(np.eye(2)[said], labels, ("a", "b")).interval("accuracy", level=0.9, draws=200)
        held += low <= 0.8 <= high
    assert 165 <= held <= 195


def test_groups_widen_the_interval():
    """Ten patients, each all right or all wrong: ten independent answers, not two hundred."""
    said = np.repeat(np.arange(10) < 7, 20).astype(int)
    alone = Scores(np.eye(2)[said], np.ones(200, int), ("a", "b"))
    grouped = Scores(np.eye(2)[said], np.ones(200, int), ("a", "b"), groups=np.repeat(np.arange(10), 20))

    def width(s):
        return np.diff(s.interval("accuracy"))[0]

    assert width(grouped) > 3 * width(alone)


def test_evaluate_runs_in_evaluation_mode_and_restores_modes(own):
    model, domain = own(), blobs(seed=4)
    model.train()
    model.encoder.body.norm.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    one_by_one = xl.evaluate(model, domain, batch_size=1).probabilities
    together = xl.evaluate(model, domain, batch_size=60).probabilities
    np.testing.assert_allclose(one_by_one, together, atol=1e-6)
    assert model.training and not model.encoder.body.norm.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_classes_are_matched_by_name(own):
    model, domain = own(), blobs(seed=4)
    order = torch.tensor([2, 0, 1])
    renamed = xl.Domain(domain.inputs, order[domain.labels], ("b", "c", "a"))  # the same truth, listed otherwise
    assert xl.evaluate(model, renamed).accuracy == xl.evaluate(model, domain).accuracy
    part = domain[domain.labels < 2]
    part = xl.Domain(part.inputs, part.labels, ("a", "b"))
    assert xl.evaluate(model, part).classes == ("a", "b", "c")


def test_multilabel_goes_through(own):
    domain = blobs(seed=4)
    labels = torch.nn.functional.one_hot(domain.labels, 3).float()
    many = xl.Domain(domain.inputs, labels, domain.classes)
    model = own()
    xl.fit(model, many, steps=40, batch_size=30, lr=1e-2, progress_bar=False)
    scores = xl.evaluate(model, many)
    assert scores.auc > 0.95 and scores.probabilities.sum(1).std() > 1e-4  # sigmoids, not a softmax
    assert 0 <= scores.interval("auc")[0] <= scores.interval("auc")[1] <= 1
    with pytest.raises(ArgumentError, match="no single confusion"):
        _ = scores.confusion


@pytest.mark.parametrize("case", ["unlabelled", "foreign class", "nan weights", "metric"])
def test_bad_input(case, own):
    model, domain = own(), blobs()
    if case == "unlabelled":
        with pytest.raises(DataError, match="no labels to score"):
            xl.evaluate(model, domain.unlabeled())
    elif case == "foreign class":
        with pytest.raises(DataError, match=r"\['zebra'\]"):
            xl.evaluate(model, xl.Domain(domain.inputs, domain.labels, ("a", "b", "zebra")))
    elif case == "nan weights":
        model.head.weight.data[0, 0] = float("nan")
        with pytest.raises(DataError, match="NaN or infinity on 60 of 60"):
            xl.evaluate(model, domain)
    else:
        with pytest.raises(ArgumentError, match="no metric is called 'f1'"):
            xl.evaluate(model, domain).interval("f1")


def test_t_interval_by_hand():
    # mean 2, standard deviation 1, n 3; t(0.975, 2) = 4.302653
    mean, low, high = t_interval([1, 2, 3])
    assert (mean, low, high) == pytest.approx((2, 2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), abs=1e-5)
    assert np.isnan(t_interval([1.0])[1])


def test_paired_compares_within_a_draw():
    luck = [0.1, 0.3, 0.5, 0.7, 0.9]  # far larger than the gain, and shared
    rows = [{"method": "plain", "draw": d, "score": x} for d, x in enumerate(luck)]
    rows += [{"method": "new", "draw": d, "score": luck[d] + 0.02 + 0.001 * d} for d in (4, 2, 0, 1, 3)]
    rows += [{"method": "noisy", "draw": d, "score": x + (-1) ** d * 0.05} for d, x in enumerate(luck)]
    rows += [{"method": "young", "draw": d, "score": x + 0.5} for d, x in enumerate(luck[:4])]
    new, noisy, young = paired(rows, "score", "plain")
    assert new["gain"] == pytest.approx(0.022) and new["verdict"] == "separated" and new["n"] == 5
    assert (new["low"], new["high"]) == pytest.approx(t_interval([0.02, 0.021, 0.022, 0.023, 0.024])[1:])
    assert noisy["verdict"] == "not separated"
    assert young["verdict"] == "only 4 runs"  # however large the gain
    with pytest.raises(ArgumentError, match="plain, new"):
        paired(rows, "score", "baseline")


@pytest.mark.parametrize(("size", "n", "batches"), [(32, 400, [192, 192, 16]), (16, 600, [512, 88]), (256, 9, [8, 1])])
def test_batches_fit_a_cpus_caches_unless_asked(size, n, batches):
    """3 x 2^16 pixels each, at least 8 pictures and at most 512."""
    model, seen = xl.Classifier(xl.encoder("lenet", pretrained=False, size=size), ("a", "b")), []
    model.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    domain = xl.Domain(torch.zeros(n, 1, 16, 16, dtype=torch.uint8), torch.arange(n) % 2, ("a", "b"), name="dark")
    xl.predict(model, domain)
    assert seen == batches
    assert not xl.evaluation.in_batches(model, model, domain, None).is_inference()  # a loss may be computed from it
    seen.clear()
    xl.predict(model, domain[:8], batch_size=4)
    assert seen == [4, 4]
