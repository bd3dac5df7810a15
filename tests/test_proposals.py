"""What to label next, on features whose answer can be seen by eye."""

import pytest
import torch

from xferlab.errors import ArgumentError, DataError
from xferlab.proposals import propose


def clusters(sizes=(30, 20, 10), spread=0.05, seed=0):
    """Points around corners far apart, the first cluster the largest; the first point of each is its very corner."""
    g, corners = torch.Generator().manual_seed(seed), 10 * torch.eye(len(sizes), 4)
    parts = [corner + spread * torch.randn(n, 4, generator=g) for corner, n in zip(corners, sizes, strict=True)]
    for part, corner in zip(parts, corners, strict=True):
        part[0] = corner
    return torch.cat(parts)


def test_each_cluster_gives_its_most_typical_point_the_largest_first():
    """An index into a cluster taken for one into all rows, or the rarest cluster first, would show."""
    found = propose(clusters(), 3)
    assert [(p.cluster, p.size) for p in found] == [(1, 30), (2, 20), (3, 10)]
    assert [0 <= found[0].row < 30, 30 <= found[1].row < 50, 50 <= found[2].row < 60] == [True] * 3
    x = clusters()
    x[1:30:2] += torch.tensor([0.0, 0.0, 0.0, 0.6])  # half the first cluster moves away: no longer typical, but in it
    x[5] += torch.tensor([0.0, 0.0, 0.0, 3.0])
    assert propose(x, 3)[0].row != 5


def test_typicality_is_the_papers_on_one_line():
    """By hand: of 0, 1, 2, 10 the mean distances are 13/3, 11/3, 11/3 and 9, and the first of the two smallest wins."""
    z = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    from xferlab.proposals import _typicality

    assert torch.allclose(1 / _typicality(z), torch.tensor([13 / 3, 11 / 3, 11 / 3, 27 / 3]))


def test_a_cluster_with_a_label_is_skipped():
    found = propose(clusters(), 2, labeled=10 * torch.eye(3, 4)[:1])
    assert [30 <= found[0].row < 50, 50 <= found[1].row < 60] == [True, True]


def test_uncertain_takes_the_most_uncertain_of_each_and_the_typical_among_equals():
    uncertainty = torch.zeros(60)
    uncertainty[[7, 33]] = 1.0
    typical, found = propose(clusters(), 3), propose(clusters(), 3, kind="uncertain", uncertainty=uncertainty)
    assert [p.row for p in found] == [7, 33, typical[2].row]


def test_random_is_seeded_and_never_twice_and_no_more_than_there_are():
    rows = [p.row for p in propose(clusters(), 50, kind="random")]
    assert len(set(rows)) == 50 and rows == [p.row for p in propose(clusters(), 50, kind="random")]
    assert rows != [p.row for p in propose(clusters(), 50, kind="random", seed=1)]
    assert len(propose(clusters((3, 2, 1)), 20)) == 6 and len(propose(torch.zeros(1, 3), 4)) == 1


@pytest.mark.parametrize("changes", [dict(n=0), dict(kind="best"), dict(kind="uncertain")])
def test_what_cannot_be_proposed_is_named(changes):
    with pytest.raises(ArgumentError, match="propose got"):
        propose(clusters(), **({"n": 3} | changes))
    with pytest.raises(DataError, match="finite"):
        propose(torch.full((3, 2), float("nan")), 1)
