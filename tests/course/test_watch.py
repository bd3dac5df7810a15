"""Watching features while a model trains."""

import torch
from small import TwentyLines, blobs

import xferlab as xl


def trained(*watches):
    torch.manual_seed(0)
    data = blobs()
    model = xl.Classifier(xl.encoder(TwentyLines(), size=16), data.classes)
    objectives = [xl.CrossEntropy(), *watches]
    xl.fit(model, data, objectives=objectives, steps=9, batch_size=8, progress_bar=False)
    return model


def test_features_are_kept_at_the_moments_asked_for_and_nothing_else_changes():
    """Fails if a moment is skipped, or if looking on moves a weight."""
    few = blobs(6).unlabeled()
    watch = xl.lab.Watch(few, blobs(4), moments=(0, 0.5, 1))
    watched, plain = trained(watch), trained()
    assert list(watch.kept) == ["0% of the run", "50% of the run", "100% of the run"]
    assert [len(z) for z in watch.kept["50% of the run"]] == [6, 4]
    assert torch.equal(watch.kept["100% of the run"][0], xl.embed(watched, few, cache=False))
    assert not torch.equal(watch.kept["0% of the run"][0], watch.kept["100% of the run"][0])
    assert all(torch.equal(a, b) for a, b in zip(watched.parameters(), plain.parameters(), strict=True))
