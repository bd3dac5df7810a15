import pytest
import torch

from xferlab.errors import DataError
from xferlab.mislabeled import held_out_probabilities, suspects


def clouds(n=60, seed=0):
    labels = torch.arange(n) % 3
    g = torch.Generator().manual_seed(seed)
    return torch.eye(3)[labels] * 4 + torch.randn(n, 3, generator=g) * 0.5, labels


def test_swapped_labels_are_found_and_no_others():
    """The rule keeps to examples as sure as the mean one, so it may miss some."""
    features, truth = clouds()
    labels, swapped = truth.clone(), torch.arange(0, 60, 7)
    labels[swapped] = (truth[swapped] + 1) % 3
    found = suspects(held_out_probabilities(features, labels), labels)
    assert {one.row for one in found} <= set(swapped.tolist()) and len(found) >= len(swapped) / 2
    assert all(one.answer == truth[one.row] and one.p_answer > one.p_label for one in found)
    assert found == sorted(found, key=lambda one: one.p_label - one.p_answer)


def test_the_rule_by_hand():
    """Thresholds are .75 and .6: the third reaches the first though it is labeled 1; the fourth reaches neither."""
    p = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2], [0.55, 0.45], [0.0, 1.0]])
    labels = torch.tensor([0, 0, 1, 1, 1])
    (found,) = suspects(p, labels)
    assert (found.row, found.label, found.answer) == (2, 1, 0)
    assert (found.p_label, found.p_answer) == (pytest.approx(0.2), pytest.approx(0.8))


def test_a_patient_is_held_out_whole():
    """Noise features and one constant a patient: only a probe that saw the patient could tell its class."""
    g = torch.Generator().manual_seed(0)
    patients = torch.arange(160) // 4
    labels = patients % 2
    features = torch.randn(40, 100, generator=g)[patients]
    leaky = held_out_probabilities(features, labels)
    honest = held_out_probabilities(features, labels, patients)

    def right(p):
        return float((p.argmax(1) == labels).float().mean())

    assert right(leaky) > 0.9 and right(honest) < 0.75


def test_too_few_examples_are_refused():
    with pytest.raises(DataError, match=r"classes have \[3, 1\] examples"):
        held_out_probabilities(torch.randn(4, 2), torch.tensor([0, 0, 0, 1]))
