"""Each validator against a value worked out by hand, on a model whose logits are the first pixel's colours."""

import warnings
from dataclasses import FrozenInstanceError
from math import e, exp, log, sqrt

import numpy as np
import pytest
import torch
from small import blobs

import xferlab as xl
from xferlab import selection
from xferlab.comparison import confidence, retraining
from xferlab.errors import TargetLabelsError

CLASSES = ("a", "b", "c")


class FirstPixel(torch.nn.Module):
    """Red, green and blue of the first pixel are the features."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 3, bias=False)
        torch.nn.init.eye_(self.layer.weight)

    def forward(self, x):
        return self.layer(x[:, :, 0, 0])


@pytest.fixture
def model():
    made = xl.Classifier(xl.encoder(FirstPixel(), size=2, mean=(0.0,), std=(1.0,)), CLASSES)
    torch.nn.init.eye_(made.head.weight)
    torch.nn.init.zeros_(made.head.bias)
    return made.eval()


def colours(rows, labels=None):
    inputs = torch.tensor(rows, dtype=torch.uint8)[:, :, None, None].expand(-1, -1, 2, 2)
    return xl.Domain(inputs, None if labels is None else torch.tensor(labels), CLASSES)


SURE = [[90, 0, 0], [0, 90, 0], [0, 0, 90]]


def candidate(model, target, val=None):
    many = colours(SURE * 30, [0, 1, 2] * 30)
    return selection.Candidate(model, None, xl.Splits(many, val or many, many), target)


def test_source_val_counts_right_answers_on_the_validation_part(model):
    assert selection.source_val(candidate(model, colours(SURE), val=colours([*SURE, [9, 0, 0]], [0, 1, 1, 0]))) == 0.75


def test_entropy_information_and_nuclear_norm(model):
    """One row is certain, one knows nothing: P = [[1/3, 1/3, 1/3], [1, 0, 0]]."""
    seen = candidate(model, colours([[0, 0, 0], [90, 0, 0]]))
    marginal = -(2 / 3) * log(2 / 3) - 2 * (1 / 6) * log(1 / 6)
    assert selection.entropy(seen) == pytest.approx(-log(3) / 2)
    assert selection.information_maximization(seen) == pytest.approx(marginal - log(3) / 2)
    # (s1 + s2)^2 = trace(P P') + 2 sqrt(det(P P')) = 4/3 + 2 sqrt(2/9)
    assert selection.bnm(seen) == pytest.approx(sqrt(4 / 3 + 2 * sqrt(2 / 9)) / 2)


def test_mano_by_hand(model):
    """Logits (0, 0, 0) and (2, 0, 0) are not sure, so v is 1 + q + q^2 / 2: Q is (1/3, 1/3, 1/3) and (5/7, 1/7, 1/7)."""
    seen = candidate(model, colours([[0, 0, 0], [2, 0, 0]]))
    powers = 3 * (1 / 3) ** 4 + (5 / 7) ** 4 + 2 * (1 / 7) ** 4
    assert selection.mano(seen) == pytest.approx((powers / 6) ** 0.25, rel=1e-5)
    sure = candidate(model, colours([[90, 0, 0]]))  # -log softmax is 60 on average: exp, and Q is one-hot
    assert selection.mano(sure) == pytest.approx((1 / 3) ** 0.25)


def test_validators_judge_what_the_head_says_not_the_features(model):
    """A head that knows nothing, on features that are as good as can be: each P is (1/3, 1/3, 1/3), each label 0."""
    torch.nn.init.zeros_(model.head.weight)
    expected = {
        "source_val": 1 / 3,
        "entropy": -log(3),
        "information_maximization": 0,
        "bnm": sqrt(6 / 3) / 6,  # rank one: the nuclear norm is the Frobenius norm
        "snd": log(5),  # all others equally near
        "reverse_validation": 1 / 3,
        "mixval": 0.5,  # mixtures of the one class are right, and no pair crosses a boundary
    }
    chosen = {name: selection.validators[name] for name in expected}
    assert selection.validate(candidate(model, colours(SURE * 2)), chosen) == pytest.approx(expected, abs=1e-6)


def test_soft_neighborhood_density_of_two_alike_and_one_apart():
    p = torch.tensor([[1.0, 0], [1, 0], [0, 1]]).double()
    near = e / (1 + e)  # a row's twin at cosine 1, the other at 0; the third sees two at 0
    entropy = -near * log(near) - (1 - near) * log(1 - near)
    assert selection.soft_neighborhood_density(p, temperature=1.0) == pytest.approx((2 * entropy + log(2)) / 3)
    # lengths do not count, directions do
    assert selection.soft_neighborhood_density(p * torch.tensor([[1.0], [5], [9]]), 1.0) == pytest.approx(
        (2 * entropy + log(2)) / 3
    )


def test_snd_works_on_softmax_outputs_at_the_papers_temperature(model):
    near = 1 / (1 + exp(-20))
    rest = 1 - near
    expected = (2 * (-near * log(near) - rest * log(rest)) + log(2)) / 3
    assert selection.snd(candidate(model, colours([[90, 0, 0], [80, 0, 0], [0, 90, 0]]))) == pytest.approx(
        expected, rel=1e-5
    )


def test_soft_neighborhood_density_in_pieces_is_the_whole():
    p = torch.rand(1500, 4, generator=torch.Generator().manual_seed(0)).double().softmax(1)
    q = torch.nn.functional.normalize(p, dim=1)
    similarity = (q @ q.T / 0.05).fill_diagonal_(float("-inf")).softmax(1)
    assert selection.soft_neighborhood_density(p) == pytest.approx(float(torch.special.entr(similarity).sum(1).mean()))


def test_dev_risk_by_hand():
    """w l = (1, 0, 0): mean 1/3; Cov(w l, w) = -1/2, Var(w) = 1, eta = 1/2; 1/3 + 2/2 - 1/2."""
    assert selection.dev_risk(np.array([1.0, 2, 3]), np.array([1.0, 0, 0])) == pytest.approx(5 / 6)
    assert selection.dev_risk(np.ones(3), np.array([1.0, 0, 0])) == pytest.approx(1 / 3)


def test_density_ratio_of_two_gaussians():
    """N(1, 1) over N(0, 1) is exp(x - 1/2), whatever the sizes of the two samples."""
    g = torch.Generator().manual_seed(0)
    source, target = torch.randn(6000, 1, generator=g).double(), torch.randn(2000, 1, generator=g).double() + 1
    at = torch.tensor([[-1.0], [0], [1], [2]]).double()
    np.testing.assert_allclose(selection.density_ratio(source, target, at), np.exp(at.numpy()[:, 0] - 0.5), rtol=0.12)


def test_density_ratio_of_domains_told_apart_is_cut():
    sides = torch.zeros(40, 1).double(), torch.ones(20, 1).double()
    ratio = selection.density_ratio(*sides, torch.tensor([[-1e6], [1e6]]).double())
    np.testing.assert_allclose(ratio, [2 * 1e-6 / (1 - 1e-6), 2 * (1 - 1e-6) / 1e-6], rtol=1e-6)


@pytest.fixture
def strengths(monkeypatch):
    """C of every logistic regression that is made."""
    from sklearn.linear_model import LogisticRegression

    made = []
    monkeypatch.setattr(
        "sklearn.linear_model.LogisticRegression",
        lambda **given: made.append(given["C"]) or LogisticRegression(**given),
    )
    return made


@pytest.mark.parametrize(("apart", "best"), [(0.0, 1e-3), (3.0, 1e-1)], ids=["noise", "apart"])
def test_density_ratio_takes_the_penalty_that_holds_on_held_out_rows(strengths, apart, best):
    draw = torch.randn(120, 20, generator=torch.Generator().manual_seed(0)).double()
    selection.density_ratio(draw[:60], draw[60:] + apart, draw[:3])
    assert strengths == [1e-3, 1e-2, 1e-1, best]


def test_the_reverse_classifier_is_penalised_as_in_every_recorded_result(strengths, model):
    selection.reverse_validation(candidate(model, colours(SURE * 2)))
    assert strengths == [0.1]


def test_a_probe_that_has_not_converged_is_no_news(monkeypatch, model):
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    monkeypatch.setattr("sklearn.linear_model.LogisticRegression", lambda C, **_: LogisticRegression(C=C, max_iter=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        selection.reverse_validation(candidate(model, colours(SURE * 2)))


def test_dev_weighs_the_errors_that_lie_where_the_target_is(model):
    """Two models' worth of errors in one: wrong on red when the target is red, or when it is blue."""
    g = torch.Generator().manual_seed(0)

    def noisy(row, n):
        return (torch.tensor(row) + torch.randint(0, 60, (n, 3), generator=g)).tolist()

    red, blue = [120, 0, 60], [60, 0, 120]
    train = colours(noisy(red, 100) + noisy(blue, 100), [0] * 100 + [2] * 100)
    val = colours(noisy(red, 100) + noisy(blue, 100), [1] * 100 + [2] * 100)  # red is answered wrongly
    risk = {}
    for name, row in (("red", red), ("blue", blue)):
        target = colours(noisy(row, 150) + noisy(blue if name == "red" else red, 50))
        risk[name] = -selection.dev(selection.Candidate(model, None, xl.Splits(train, val, val), target))
    assert risk["red"] == pytest.approx(0.75, abs=0.1)  # the target's share of red
    assert risk["blue"] == pytest.approx(0.25, abs=0.1)


def test_reverse_validation(model):
    assert selection.reverse_validation(candidate(model, colours([[90, 0, 0], [0, 90, 0], [0, 0, 90]] * 5))) == 1.0
    # green's place is taken by what the model calls red, so the way back calls green red
    confused = colours([[91, 90, 0], [0, 0, 90], [91, 90, 0]] * 5)
    assert selection.reverse_validation(candidate(model, confused, val=colours(SURE, [0, 1, 2]))) == pytest.approx(
        2 / 3
    )
    # one class predicted: no classifier to fit, and only that class is right
    assert selection.reverse_validation(candidate(model, colours([[90, 0, 0]] * 4))) == pytest.approx(1 / 3)


def test_mixval_by_hand(model):
    assert selection.mixval(candidate(model, colours(SURE * 4))) == 1.0
    # 0.55 (200, 190, 0) + 0.45 (0, 190, 200) is green, neither's label; those alike mix well
    assert selection.mixval(candidate(model, colours([[200, 190, 0], [0, 190, 200]] * 4))) == 0.5
    # one class predicted: no pair crosses a boundary
    assert selection.mixval(candidate(model, colours([[200, 0, 0]] * 4))) == 0.5


def test_mixval_mixes_two_of_a_class_when_there_are_but_two(model):
    assert selection.mixval(candidate(model, colours(SURE * 2))) == 1.0


@pytest.mark.parametrize(("name", "drawn_only"), [("mixval", 0.5), ("reverse_validation", 1 / 3)])
def test_of_a_large_target_so_many_rows_are_looked_at(model, monkeypatch, name, drawn_only):
    """Six are drawn of nine, with seed 0; only the three others are green."""
    drawn = torch.randperm(9, generator=torch.Generator().manual_seed(0))[:6]
    rows = torch.tensor([[0, 90, 0]] * 9)
    rows[drawn] = torch.tensor([90, 0, 0])

    def value():
        return selection.validators[name](candidate(model, colours(rows.tolist())))

    assert value() > drawn_only + 0.1
    monkeypatch.setattr(retraining, "ROWS", 6)
    seen = candidate(model, colours(SURE))
    assert value() == pytest.approx(drawn_only)
    assert [len(part) for part in (*seen.on_source_train, *seen.on_source_val)] == [6, 6, 90, 90]


def test_snd_looks_at_ten_thousand_rows(model, monkeypatch):
    monkeypatch.setattr(confidence, "soft_neighborhood_density", len)
    assert [selection.snd(candidate(model, colours(SURE * n))) for n in (3333, 3334)] == [9_999, 10_000]


def test_mixval_of_words_is_not_a_number(model):
    words = xl.Domain(torch.ones(4, 6, dtype=torch.int64), None, CLASSES)
    assert np.isnan(selection.mixval(candidate(model, words)))


def test_a_labelled_target_is_refused(model):
    with pytest.raises(TargetLabelsError, match="unlabeled"):
        candidate(model, colours(SURE, [0, 1, 2]))


def test_a_candidate_equals_itself_only_and_stays_as_it_is(model):
    seen = candidate(model, colours(SURE))
    again = selection.Candidate(seen.model, seen.recipe, seen.source, seen.target)
    assert seen == seen and seen != again and len({seen, again}) == 2
    with pytest.raises(FrozenInstanceError):
        seen.target = colours(SURE, [0, 1, 2])


def test_validators_leave_the_model_as_it_was_and_repeat_themselves(own):
    model = own().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    splits = xl.Splits(blobs(seed=1), blobs(seed=2), blobs(seed=3))
    seen = selection.Candidate(model, None, splits, blobs(seed=4, shift=40, labels=False))
    first, again = selection.validate(seen), selection.validate(selection.Candidate(model, None, splits, seen.target))
    assert first == again and set(first) == set(selection.validators) and np.isfinite(list(first.values())).all()
    assert model.training and all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_on_labels_is_the_mean_recall_on_what_it_was_given(model):
    held = colours([*SURE, [9, 0, 0]], [0, 1, 1, 0])  # a: 2 of 2, b: 1 of 2
    assert selection.on_labels(held, candidate(model, colours(SURE))) == pytest.approx(0.75)
