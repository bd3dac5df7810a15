"""Conformal p-values: by hand, honest where nothing is strange, and small for what a hospital would want to hear of."""

import numpy as np
import pytest
import torch

import xferlab as xl
from xferlab import novelty
from xferlab.errors import DataError


def test_p_values_by_hand():
    """On a line, one neighbor: distances to the nearest are 1, 1, 2, 3, 3. At 10.5 a query is 2.5 away: as two of five are."""
    reference = torch.tensor([[0.0], [1], [3], [8], [5]])
    p = novelty.p_values(reference, torch.tensor([[10.5], [100.0], [2.0]]), k=1)
    assert p == pytest.approx([(1 + 1) / 6, 1 / 6, 6 / 6])


def test_copies_are_no_neighbors():
    """Four copies of one strange picture vouch for each other, and a picture of the reference for itself, unless left out."""
    rng = torch.Generator().manual_seed(0)
    usual, strange = torch.randn(200, 4, generator=rng), torch.full((4, 4), 9.0)
    p = novelty.p_values(torch.cat([usual, strange + 1e-4 * torch.randn(4, 4, generator=rng)]), strange[:1], k=3)
    assert p[0] == pytest.approx(1 / 201), "smallest of the 200 that are no copies"
    again = novelty.p_values(usual, usual, k=3)
    assert again.min() == pytest.approx(1 / 200) and abs((again <= 0.1).mean() - 0.1) < 0.01


def test_where_nothing_is_strange_p_values_are_uniform_or_above():
    """A thousand references of 40 and a query each, drawn alike: a share of at most t falls to t or below."""
    rng = torch.Generator().manual_seed(0)
    p = np.array([novelty.p_values(x[:40], x[40:])[0] for x in torch.randn(1000, 41, 3, generator=rng)])
    for t in (0.05, 0.1, 0.5):
        assert (p <= t).mean() <= t + 2 * np.sqrt(t * (1 - t) / len(p))
    assert (p <= 0.5).mean() > 0.4, "and not much above"


def test_more_than_chance_counts_the_reference_too():
    """Of 1000 p-values 20 below 0.01 are many where the reference is large, and not where it is 200 pictures itself."""
    p = np.r_[np.full(20, 0.005), np.full(980, 0.5)]
    assert novelty.more_than_chance(p, 100_000) and not novelty.more_than_chance(p, 200)
    assert novelty.more_than_chance(np.r_[np.full(60, 0.005), np.full(940, 0.5)], 200)
    assert not novelty.more_than_chance(np.full(50, 1 / 51), 50), "so small a reference cannot say"


@pytest.fixture(scope="module")
def seen():
    """A function that gives features of a small untrained network, and held-out digits of MNIST but for the sevens."""
    source = xl.load("digits/mnist")
    model = xl.Classifier(xl.encoder("lenet"), source.classes)
    few = source.train.take(per_class=100)
    xl.recipes["source_only"].fit(
        model, few[few.labels != 7], steps=60, lr=3e-3, batch_size=64, augment=None, progress_bar=False
    )
    known = source.val[source.val.labels != 7]
    return lambda domain: novelty.p_values(novelty.looks(model, known), novelty.looks(model, domain)), source


def test_digits_that_were_never_seen_and_those_that_were(seen):
    like, source = seen
    p, test = like(source.test), source.test
    usual = p[test.labels.numpy() != 7]
    n, known = len(usual), int((source.val.labels != 7).sum())
    off = 2 * np.sqrt(0.05 * 0.95 * (1 / n + 1 / known))  # of both samples
    assert abs((usual < 0.05).mean() - 0.05) < off and not novelty.more_than_chance(usual, known)
    assert (p[test.labels.numpy() == 7] < 0.05).mean() > 0.25


def test_a_digit_and_a_radiograph_among_cells():
    """Against the other cells of the same place: the two are the strangest, and not by vouching for each other."""
    cells = xl.load("cells/site-a", per_class=(20, 5, 5)).train
    size = cells.inputs.shape[-2:]

    def fit(x):
        return torch.nn.functional.interpolate(x.float(), size, mode="bilinear").expand(-1, 3, -1, -1).byte()

    digit = fit(xl.load("digits/mnist").test.inputs[:1])
    y, x = torch.meshgrid(torch.linspace(-1, 1, 64), torch.linspace(-1, 1, 64), indexing="ij")
    lungs = 200 - 140 * torch.exp(-8 * ((x.abs() - 0.45) ** 2 + 0.4 * y**2)) + 20 * torch.sin(14 * y) * (x.abs() > 0.2)
    both = torch.cat([digit, fit(lungs.clamp(0, 255)[None, None])])
    model = xl.Classifier(xl.encoder("efficientnet_lite0", size=64), cells.classes)
    among = xl.Domain(torch.cat([cells.inputs, both]), None, cells.classes)
    looks = novelty.looks(model, among)
    p = novelty.p_values(looks, looks)
    assert (p[-2:] <= 2 / len(p)).all() and set(np.argsort(p)[:2]) == {len(p) - 2, len(p) - 1}


def test_bad_input():
    with pytest.raises(DataError, match="N above 5"):
        novelty.p_values(torch.zeros(5, 2), torch.zeros(1, 2))
    with pytest.raises(DataError, match=r"\(1, 3\)"):
        novelty.p_values(torch.zeros(9, 2), torch.zeros(1, 3))
