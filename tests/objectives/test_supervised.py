"""CrossEntropy: weights, smoothing, soft labels and the multi-label form, by hand."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import xferlab as xl
from xferlab.domains import Domain
from xferlab.errors import ArgumentError
from xferlab.objectives import Batch, CrossEntropy, Step


def domain(labels, classes=("a", "b", "c")):
    return Domain(torch.zeros(len(labels), 1, 4, 4, dtype=torch.uint8), labels, classes)


def step(logits, labels, side="source"):
    batch = Batch(torch.zeros(len(logits), 1, 4, 4), labels, torch.zeros(len(logits), 2), logits)
    return Step(nn.Linear(2, 3), batch if side == "source" else None, batch if side == "target" else None, 0.5)


def ready(objective, labels):
    objective.setup(nn.Linear(2, 3), domain(labels), domain(labels))
    return objective


LOGITS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])


def log_p(row, k):
    return LOGITS[row, k].item() - math.log(sum(math.exp(z) for z in LOGITS[row].tolist()))


def test_plain_cross_entropy_is_the_mean_negative_log_likelihood():
    labels = torch.tensor([0, 1, 2])
    expected = -(log_p(0, 0) + log_p(1, 1) + log_p(2, 2)) / 3
    assert ready(CrossEntropy(), labels)(step(LOGITS, labels)).item() == pytest.approx(expected, abs=1e-6)


def test_balanced_weighs_a_class_by_its_rarity_in_the_domain():
    # counts 4, 1, 1 over N = 6, K = 3: weights 6 / (3 * 4) = 0.5 and 6 / 3 = 2
    objective = ready(CrossEntropy(balanced=True), torch.tensor([0, 0, 0, 0, 1, 2]))
    assert objective.class_weight.tolist() == pytest.approx([0.5, 2.0, 2.0])
    labels = torch.tensor([0, 1, 0])
    expected = -(0.5 * log_p(0, 0) + 2 * log_p(1, 1) + 0.5 * log_p(2, 0)) / (0.5 + 2 + 0.5)
    assert objective(step(LOGITS, labels)).item() == pytest.approx(expected, abs=1e-6)


def test_balanced_gives_an_absent_class_no_weight_and_the_others_a_mean_of_one():
    labels = torch.tensor([0, 0, 0, 2])
    weight = ready(CrossEntropy(balanced=True), labels).class_weight
    assert weight.tolist() == pytest.approx([4 / 6, 0.0, 2.0])
    assert weight[labels].mean().item() == pytest.approx(1.0)


def test_label_smoothing_mixes_in_the_uniform_distribution():
    labels, s = torch.tensor([0, 1, 2]), 0.3
    expected = 0.0
    for i, y in enumerate(labels.tolist()):
        q = [s / 3 + (1 - s) * (k == y) for k in range(3)]
        expected -= sum(q[k] * log_p(i, k) for k in range(3)) / 3
    loss = ready(CrossEntropy(label_smoothing=s), labels)(step(LOGITS, labels))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_soft_labels_are_taken_as_they_come():
    soft = torch.tensor([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0], [0.2, 0.2, 0.6]])
    expected = -sum(soft[i, k].item() * log_p(i, k) for i in range(3) for k in range(3)) / 3
    loss = ready(CrossEntropy(), torch.tensor([0, 1, 2]))(step(LOGITS, soft))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_a_multilabel_domain_gets_a_sigmoid_per_class():
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    expected = 0.0
    for i in range(3):
        for k in range(3):
            p = 1 / (1 + math.exp(-LOGITS[i, k].item()))
            expected -= (math.log(p) if labels[i, k] else math.log(1 - p)) / 9
    assert ready(CrossEntropy(), labels)(step(LOGITS, labels)).item() == pytest.approx(expected, abs=1e-6)


def test_smoothed_tags_lie_between_themselves_and_a_half():
    """s = 0.2: 1 becomes 0.9 and 0 becomes 0.1; at logits log 3 (p = 3/4) and 0 (p = 1/2)."""
    labels = torch.tensor([[1.0, 0.0, 1.0]])
    logits = torch.tensor([[math.log(3), math.log(3), 0.0]])
    log = math.log
    expected = -(0.9 * log(3 / 4) + 0.1 * log(1 / 4) + 0.1 * log(3 / 4) + 0.9 * log(1 / 4) + log(1 / 2)) / 3
    loss = ready(CrossEntropy(label_smoothing=0.2), labels)(step(logits, labels))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_balanced_multilabel_weighs_positives_by_negatives_over_positives():
    labels = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    objective = ready(CrossEntropy(balanced=True), labels)
    assert objective.class_weight.tolist() == pytest.approx([1 / 3, 3.0, 3.0])
    logits = torch.zeros(4, 3)
    # every cell costs log 2, a positive one times its weight; 5 cells of 12 are positive
    positives, negatives = (3 * (1 / 3) + 3.0 + 3.0), 12 - 5
    expected = math.log(2) * (positives + negatives) / 12
    assert objective(step(logits, labels)).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("on", "weight"), [("source", [0.5, 2.0, 2.0]), ("target", [2.0, 2.0, 0.5])])
def test_balanced_counts_the_side_it_is_on(on, weight):
    source, target = domain(torch.tensor([0, 0, 0, 0, 1, 2])), domain(torch.tensor([0, 1, 2, 2, 2, 2]))
    objective = CrossEntropy(balanced=True, on=on)
    objective.setup(nn.Linear(2, 3), source, target)
    assert objective.class_weight.tolist() == pytest.approx(weight)


def test_on_target_reads_the_target_and_says_that_it_needs_its_labels():
    labels = torch.tensor([2, 2, 2])
    objective = ready(CrossEntropy(on="target"), labels)
    assert objective.needs == {"target", "target_labels"}
    expected = F.cross_entropy(LOGITS, labels).item()
    assert objective(step(LOGITS, labels, side="target")).item() == pytest.approx(expected)
    assert CrossEntropy().needs == {"source", "source_labels"}


@pytest.mark.parametrize("bad", [{"label_smoothing": 1.0}, {"label_smoothing": -0.1}, {"on": "both"}, {"weight": -1.0}])
def test_bad_arguments_are_named(bad):
    with pytest.raises(ArgumentError, match=str(next(iter(bad.values())))):
        CrossEntropy(**bad)


def test_group_dro_refuses_a_step_of_nothing():
    with pytest.raises(ArgumentError, match="GroupDRO got eta 0; expected more than 0"):
        xl.GroupDRO(eta=0)


def test_group_dro_by_hand():
    """Two sites of mean loss 1 and 3, eta log 2 / 2: weights go from a half each to 1/3 and 2/3, and again to 1/5 and 4/5."""
    objective = xl.GroupDRO(eta=math.log(2) / 2)
    source = xl.Domain(
        torch.zeros(3, 1, 4, 4, dtype=torch.uint8),
        torch.tensor([0, 1, 0]),
        ("a", "b"),
        site=torch.tensor([0, 0, 1]),
        sites=("x", "y"),
    )
    model = xl.Classifier(xl.encoder("lenet"), ("a", "b"))
    objective.setup(model, source, None)

    def loss(value):
        return torch.tensor([-math.log(math.exp(value) - 1), 0.0])  # cross-entropy of class 0 is `value`

    logits = torch.stack([loss(0.5), loss(1.5).flip(0), loss(3.0)])
    batch = Batch(source.inputs, source.labels, torch.zeros(3, 2), logits, source.site)
    for weights in ((1 / 3, 2 / 3), (1 / 5, 4 / 5)):
        value = objective(Step(model, batch, None, 0.5))
        assert value.item() == pytest.approx(weights[0] * 1 + weights[1] * 3, rel=1e-5)
        assert objective.q.tolist() == pytest.approx(weights, rel=1e-5)
        assert objective.log()["largest_weight"].item() == pytest.approx(weights[1], rel=1e-5)
    alone = xl.GroupDRO()
    alone.setup(model, replace(source, site=None, sites=()), None)
    assert len(alone.q) == 2  # classes, where there is one site
    batch.site = None
    hard = alone(Step(model, batch, None, 0.5))
    alone.q.fill_(0.5)
    batch.labels = torch.eye(2)[batch.labels]  # soft labels: an example belongs to its likeliest class
    assert alone(Step(model, batch, None, 0.5)).item() == pytest.approx(hard.item())
    batch.labels = torch.zeros(3, dtype=torch.int64)  # class b is not in this batch
    assert alone(Step(model, batch, None, 0.5)).isfinite() and alone.q.isfinite().all()
