import importlib.util
import io
import os
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from xferlab.domains import load, stacks
from xferlab.errors import DataError

PARTS = {"train": 20, "val": 6, "test": 8}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XFERLAB_DATA", str(tmp_path / "cache"))


def layout(shape=(12, 10, 3), classes=3):
    """The arrays of a small set: noise images, labels 0, 1, 2, 0, ..."""
    random = np.random.default_rng(0)
    made = {}
    for part, n in PARTS.items():
        made[f"{part}_images"] = random.integers(0, 256, (n, *shape), dtype=np.uint8)
        made[f"{part}_labels"] = (np.arange(n) % classes).astype(np.uint8).reshape(n, 1)
    return made


def saved(tmp_path, name="set.npz", **changes):
    path = tmp_path / name
    np.savez_compressed(path, **{k: v for k, v in (layout() | changes).items() if v is not None})
    return path


def test_colour_images_become_channels_first_with_their_pixels_in_place(tmp_path):
    splits = load(saved(tmp_path))
    images = layout()["test_images"]
    assert splits.test.inputs.shape == (8, 3, 12, 10)
    assert splits.test.inputs[5, 2, 7, 1] == images[5, 7, 1, 2]
    assert splits.test.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert splits.classes == ("0", "1", "2") and splits.name == "set"


def test_grey_images_get_one_channel(tmp_path):
    path = tmp_path / "grey.npz"
    np.savez(path, **layout(shape=(12, 10)))
    inputs = load(path).train.inputs
    assert inputs.shape == (20, 1, 12, 10)
    assert inputs.stride(1) == 120, "with 1 convolutions take gray for channels last, and add up in another order"


def test_flat_labels_and_multilabel_are_read(tmp_path):
    assert load(saved(tmp_path, train_labels=np.arange(20) % 3)).train.labels.dtype == torch.int64
    many = {f"{part}_labels": np.eye(4, dtype=np.uint8)[np.arange(n) % 4] for part, n in PARTS.items()}
    splits = load(saved(tmp_path, **many))
    assert (
        splits.train.multilabel and splits.train.labels[1].tolist() == [0, 1, 0, 0] and splits.classes == tuple("0123")
    )


def test_a_file_named_like_a_medmnist_set_gets_its_class_names(tmp_path):
    if importlib.util.find_spec("medmnist") is None:
        pytest.skip("class names come from the medmnist package (extra labs)")
    named = load(saved(tmp_path, "bloodmnist_64.npz"))
    assert len(named.classes) == 8 and named.classes[1] == "eosinophil"
    assert load(saved(tmp_path, "bloodmnist.npz"), classes=("x", "y", "z")).classes == ("x", "y", "z")


def test_a_missing_val_part_is_held_out_of_train_and_said(tmp_path):
    path = saved(tmp_path, val_images=None, val_labels=None)
    with pytest.warns(UserWarning, match=r"no val part: 10 % of train"):
        splits = load(path, seed=3)
    assert len(splits.train) + len(splits.val) == 20 and len(splits.val) >= 2
    joined = torch.cat([splits.train.inputs, splits.val.inputs]).flatten(1)
    assert len(joined.unique(dim=0)) == 20


ONES = np.ones((20, 12, 10, 3))


@pytest.mark.parametrize(
    "changes, says",
    [
        (dict(test_labels=None), "lacks test_labels"),
        (dict(val_labels=None), "lacks val_labels"),
        (dict(train_images=(ONES * 4000).astype(np.uint16)), "train_images are uint16.*window"),
        (dict(train_images=ONES.astype(np.float32)), r"float32, expected uint8.*from 0 to 1: save \(images \* 255\)"),
        (dict(train_images=ONES * 300), "float64.*from 300 to 300"),
        (dict(train_images=ONES * np.nan), "NaN or infinite"),
        (dict(train_images=ONES.astype(bool)), "bool, expected uint8"),
        (dict(train_images=np.zeros((20, 3, 12, 10), np.uint8)), "move the channels last"),
        (dict(train_images=np.zeros((20, 28, 28, 28), np.uint8)), "3-D volumes"),
        (dict(train_images=np.zeros((20, 12), np.uint8)), r"\(20, 12\), expected"),
        (dict(val_images=np.zeros((0, 12, 10, 3), np.uint8), val_labels=np.zeros((0, 1), np.uint8)), "val_.*0.*"),
        (dict(train_labels=np.zeros((7, 1), np.uint8)), "one class 0"),
        (dict(train_labels=np.arange(21) % 3), "train part: .*20 examples and 21 labels"),
        (dict(test_labels=np.full((8, 1), 9)), "test part.*run from 9 to 9, expected 0 to 2"),
        (dict(train_labels=np.arange(20) % 3 - 1), r"\[-1, 0, 1\], expected 0 to 2"),
        (dict(train_labels=np.where(np.arange(20) == 3, 99, np.arange(20) % 3)), r"99\], expected 0 to 3 without gaps"),
        (
            dict(train_labels=np.full((20, 1), np.nan)),
            "train_labels are float64, expected integers from 0, none missing",
        ),
        (dict(train_labels=np.array(["a", "b"] * 10)), "<U1, expected integers"),
        (dict(train_labels=np.full((20, 3), 2)), "other than 0 and 1"),
    ],
)
def test_what_cannot_be_used_is_named_with_the_mend(tmp_path, changes, says):
    path = saved(tmp_path, **changes)
    with pytest.raises(DataError, match=f"set.npz.*{says}"):
        load(path)


def test_a_pickled_array_is_refused_unopened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    path = tmp_path / "set.npz"
    np.savez(path, **(layout() | {"train_labels": np.array([Bomb()] * 20, dtype=object)}))
    with pytest.raises(DataError, match=r"train_labels is a pickled object array, which is never unpickled"):
        load(path)
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match=r"not a whole .npz"):
        load(path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, share):
    path = saved(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError, match=r"set.npz is not a whole .npz file.*truncated"):
        load(path)


def test_flipped_bytes_are_refused(tmp_path):
    path = saved(tmp_path)
    whole = bytearray(path.read_bytes())
    whole[2000:2010] = bytes(255 - b for b in whole[2000:2010])  # inside the first array's data
    path.write_bytes(bytes(whole))
    with pytest.raises(DataError, match=r"not a whole .npz file"):
        load(path)


def test_a_header_that_claims_more_than_there_is_is_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**10, 28, 28)})
    path = saved(tmp_path, train_images=None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("train_images.npy", header.getvalue() + b"\0" * 1000)
    with pytest.raises(
        DataError, match=r"claims \(10000000000, 28, 28\) uint8 \(7,840,000,000,000 bytes\), the file holds 1,000"
    ):
        load(path)


def test_a_zip_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(stacks, "MAPPED", 1 << 18)
    path = saved(tmp_path, train_images=np.zeros((20, 200, 200, 3), np.uint8))
    with pytest.raises(DataError, match=r"would unpack .* into 2,400,000"):
        load(path)
    assert not Path(os.environ["XFERLAB_DATA"]).exists()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("shape", [(12, 10, 3), (12, 10)])
def test_large_arrays_are_mapped_and_equal(tmp_path, monkeypatch, save, shape):
    """Where they lie; compressed ones from a copy in the cache."""
    path = tmp_path / "set.npz"
    save(path, **layout(shape))
    small = load(path)
    monkeypatch.setattr(stacks, "MAPPED", 2000)
    large = load(path)
    copies = sorted(Path(os.environ["XFERLAB_DATA"]).rglob("*.npy"))
    names = [copy.stem.rpartition("-")[2] for copy in copies]
    assert names == ([] if save is np.savez else ["test_images", "train_images", "val_images"])
    for part, same in zip(large.parts().values(), small.parts().values(), strict=True):
        assert torch.equal(part.inputs, same.inputs)
    large.train.inputs[0] = 0  # stays private
    assert torch.equal(load(path).train.inputs, small.train.inputs)


def test_a_damaged_array_that_would_be_mapped_is_told(tmp_path, monkeypatch):
    """A memory map alone would read on."""
    monkeypatch.setattr(stacks, "MAPPED", 5000)
    path = tmp_path / "set.npz"
    np.savez(path, **layout())
    whole = bytearray(path.read_bytes())
    whole[5000] ^= 255  # inside the first array's data
    path.write_bytes(bytes(whole))
    with pytest.raises(DataError, match=r"not a whole .npz file.*CRC"):
        load(path)


def test_an_array_file_that_changed_is_unpacked_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(stacks, "MAPPED", 5000)
    path = saved(tmp_path)
    load(path)
    changed = 255 - layout()["train_images"]
    saved(tmp_path, train_images=changed)
    os.utime(path, ns=(1, 1))
    assert load(path).train.inputs[0, 0, 0, 0] == changed[0, 0, 0, 0]


def test_near_duplicates_across_parts_are_warned_about(tmp_path):
    made = layout()
    made["test_images"][2] = made["train_images"][7]
    with pytest.warns(UserWarning, match=r"1 of test in train.*train\[7\] and test\[2\]"):
        load(saved(tmp_path, **made))


def test_a_clean_file_warns_of_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(saved(tmp_path))


def test_real_smears_load():
    folder = os.environ.get("XFERLAB_TEST_DATA")
    if not folder or not (Path(folder) / "bccd_64.npz").exists():
        pytest.skip("XFERLAB_TEST_DATA names no folder with bccd_64.npz")
    splits = load(Path(folder) / "bccd_64.npz", classes=("platelet", "red cell", "white cell"))
    assert splits.train.inputs.shape == (851, 3, 64, 64) and splits.train.counts().tolist() == [209, 428, 214]
