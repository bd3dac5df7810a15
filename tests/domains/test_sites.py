"""Several sources as one: what stays apart, and what cannot be put together."""

from dataclasses import replace

import pytest
import torch
from small import blobs

import xferlab as xl
from xferlab.domains.domain import split
from xferlab.domains.sites import pooled
from xferlab.errors import ArgumentError, DataError
from xferlab.training.feed import stream


def sites(**more):
    return {name: split(blobs(30 + 6 * i, seed=i, **more)) for i, name in enumerate("xyz")}


def test_each_example_keeps_its_site_through_indexing_and_joining():
    whole = pooled(sites())
    assert whole.name == "x + y + z" and whole.train.sites == ("x", "y", "z")
    for k, (name, own) in enumerate(sites().items()):
        for part, ours in own.parts().items():
            domain = whole.parts()[part]
            found = domain[domain.site == k]
            assert torch.equal(found.inputs, ours.inputs) and torch.equal(found.labels, ours.labels), name
    assert (whole.together()[::7].site == whole.together().site[::7]).all()


def test_two_sites_patients_stay_two_and_a_class_may_be_missing_at_one():
    """Equal numbers of two hospitals taken for one patient would put one into two parts, or refuse the split."""
    one = blobs(30, seed=1)
    grouped = split(replace(one, groups=torch.arange(30) // 2))
    whole = pooled({"a": grouped, "b": split(one[one.labels < 2]), "c": grouped})
    together = whole.together()
    counts = [len(together[together.site == k].groups.unique()) for k in range(3)]
    assert counts == [15, 20, 15] and len(together.groups.unique()) == 50


def test_what_cannot_be_pooled_is_named():
    with pytest.raises(ArgumentError, match="each with its own name"):
        pooled([split(blobs(30)), split(blobs(30))])
    with pytest.raises(DataError, match="source 'b' holds"):
        pooled({"a": split(blobs(30)), "b": split(blobs(30, size=20))})
    with pytest.raises(DataError, match="lacks"):
        pooled({"a": split(blobs(30)), "b": split(blobs(30, classes=4))})
    with pytest.raises(DataError, match="name each"):
        replace(blobs(3), site=torch.tensor([0, 1, 2]), sites=("a", "b"))


def test_a_batch_holds_as_many_of_each_site():
    """Rows of a site taken for rows of the whole, or a small site drawn no more often than it is large, would show."""
    domain = pooled(sites()).train
    domain = domain[torch.cat([(domain.site == 0).nonzero()[:5, 0], (domain.site > 0).nonzero()[:, 0]])]
    drawn = stream(domain, 10, seed=0)
    rows = torch.stack([drawn(t) for t in range(20)])
    assert drawn.size == 10 and all(
        (domain.site[row].bincount().sort().values == torch.tensor([3, 3, 4])).all() for row in rows
    )
    assert set(rows.flatten().tolist()) == set(range(len(domain)))
    assert torch.equal(drawn(3), stream(domain, 10, seed=0)(3)) and not torch.equal(
        drawn(3), stream(domain, 10, seed=1)(3)
    )


def test_fit_gives_objectives_each_examples_site(own):
    seen = []

    class Spy(xl.CrossEntropy):
        def forward(self, step):
            seen.append((step.source.site, step.source.inputs))
            return super().forward(step)

    domain = pooled(sites()).train
    xl.fit(own(), domain, objectives=[Spy()], steps=2, batch_size=9, progress_bar=False)
    for site, inputs in seen:
        for k, x in zip(site.tolist(), inputs, strict=True):
            assert (domain.inputs[domain.site == k] == x).flatten(1).all(1).any()
