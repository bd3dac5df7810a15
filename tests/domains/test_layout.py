import warnings

import pytest
from small import write_picture as write

from xferlab.domains import folders, load
from xferlab.domains.layout import part_of, same_name
from xferlab.errors import ArgumentError, DataError


def tree(root, *places, n=3):
    for k, place in enumerate(places):
        for i in range(n):
            write(root / place / f"{i}.png", 1000 * k + i)
    return root


def quietly(root, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return folders.read(root, **options)[0]


@pytest.mark.parametrize(
    "name, part",
    [("Training", "train"), ("train_set", "train"), ("seg_train", "train"), ("TRAIN", "train"), ("trainset", "train")]
    + [("valid", "val"), ("Dev", "val"), ("validation-set", "val"), ("Testing", "test"), ("test images", "test")]
    + [("trained", None), ("invalid", None), ("dataset", None), ("pretest lesion", None), ("attest", None)],
)
def test_names_of_splits(name, part):
    assert part_of(name) == part


@pytest.mark.parametrize("one, other", [("No Finding", "no_finding"), ("no-finding", "NoFinding"), (" a ", "A")])
def test_spellings_of_one_class(one, other):
    assert same_name(one) == same_name(other)


def test_a_sign_at_the_end_of_a_name_is_no_spelling():
    assert same_name("HER2-") != same_name("HER2") and same_name("-5") != same_name("5")


def test_training_and_testing_are_a_split(tmp_path):
    with pytest.warns(UserWarning, match="no val part"):
        splits = load(tree(tmp_path, "Training/a", "Training/b", "Testing/a", "Testing/b", n=4))
    assert splits.classes == ("a", "b") and len(splits.test) == 8 and splits.test.labels.tolist() == [0] * 4 + [1] * 4


@pytest.mark.parametrize(
    "places, classes",
    [
        (["zip/a", "zip/b"], ("a", "b")),  # a zip's own name
        (["zip/zip/train/a", "zip/zip/train/b", "zip/zip/test/a"], ("a", "b")),
        (["a/train", "a/test", "b/train", "b/test"], ("a", "b")),
        (["valid", "invalid"], ("invalid", "valid")),  # one name alone is no split
        (["a/1", "b/2"], ("a", "b")),
        (["a/images", "b/images"], ("a", "b")),
        (["train/NORMAL", "train/b", "test/normal", "test/b"], ("NORMAL", "b")),
        (["__MACOSX/a", "a", "b"], ("a", "b")),
    ],
)
def test_one_reading(tmp_path, places, classes):
    domain = quietly(tree(tmp_path, *places))
    assert domain.classes == classes
    assert len(domain) == 3 * len([place for place in places if "MACOSX" not in place])


@pytest.mark.parametrize(
    "places", [["s1/a", "s1/b", "s2/a", "s2/b"], ["x/a", "x/b", "x/c", "y/a", "y/b", "z/b", "z/c"]]
)
def test_two_readings_are_refused_and_a_layout_or_the_source_decides(tmp_path, places):
    tree(tmp_path, *places)
    outer = tuple(sorted({place.split("/")[0] for place in places}))
    inner = tuple(sorted({place.split("/")[1] for place in places}))
    with pytest.raises(DataError, match=r"two ways.*layout='-/class'.*layout='class/patient'"):
        folders.read(tmp_path)
    assert quietly(tmp_path, layout="-/class").classes == inner == quietly(tmp_path, classes=inner).classes
    assert quietly(tmp_path, layout="class/-").classes == outer == quietly(tmp_path, classes=outer).classes
    assert quietly(tmp_path, layout="").labels is None


def test_a_split_beside_a_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"\['data'\] have train and test folders"):
        folders.read(tree(tmp_path, "data/train/a", "data/test/a", "docs"))


def test_a_wrong_layout_is_named(tmp_path):
    with pytest.raises(ArgumentError, match=r"site.*expected some of split/class/patient"):
        folders.read(tree(tmp_path, "a", "b"), layout="site/class")


def test_class_names_of_the_source_are_matched_and_said(tmp_path):
    tree(tmp_path, "no_finding", "Pneumonia")
    with pytest.warns(UserWarning, match=r"'no_finding' is taken for 'No Finding'"):
        domain, _ = folders.read(tmp_path, classes=("pneumonia", "No Finding"))
    assert domain.labels.tolist() == [0] * 3 + [1] * 3


def test_what_remains_different_is_offered_and_mapped(tmp_path):
    tree(tmp_path, "NORMAL", "pneumonias")
    with pytest.raises(
        DataError, match=r"\['NORMAL', 'pneumonias'\].*is 'pneumonias' the source's 'pneumonia'.*rename="
    ):
        folders.read(tmp_path, classes=("pneumonia", "no finding"))
    rename = {"NORMAL": "no finding", "pneumonias": "pneumonia"}
    assert quietly(tmp_path, classes=("pneumonia", "no finding"), rename=rename).labels.tolist() == [1] * 3 + [0] * 3
    assert quietly(tmp_path, classes=rename).classes == ("no finding", "pneumonia")


# ---- patients


def test_folders_below_the_class_are_patients(tmp_path):
    tree(tmp_path, *(f"{name}/p{name}{i}" for name in "xy" for i in range(10)), n=2)
    with pytest.warns(UserWarning, match="20 folders below the classes are taken for patients"):
        splits = load(tmp_path)
    homes = [set(part.groups.tolist()) for part in splits.parts().values()]
    assert sum(map(len, homes)) == 20 == len(set.union(*homes))
    assert quietly(tmp_path, groups=False).groups is None
    assert quietly(tmp_path, groups="parent").groups.unique().numel() == 20


def test_few_folders_are_views(tmp_path):
    tree(tmp_path, "x/front", "x/side", "y/front", "y/back")
    with pytest.warns(UserWarning, match=r"3 folders below the classes.*too few"):
        assert folders.read(tmp_path)[0].groups is None


def test_patients_that_would_leave_a_part_without_a_class_are_split_and_said(tmp_path):
    tree(tmp_path, *(f"x/p{i}" for i in range(12)), n=2)
    tree(tmp_path, "y/q", n=8)
    with pytest.warns(UserWarning, match=r"no picture of some class; split picture by picture"):
        splits = load(tmp_path)
    assert splits.train.groups is None and all((part.counts() > 0).all() for part in splits.parts().values())


def test_a_patient_in_two_parts_of_its_own_split_is_said(tmp_path):
    tree(tmp_path, *(f"{part}/x/p{i}" for part in ("train", "val", "test") for i in range(10)), n=1)
    tree(tmp_path, *(f"{part}/y/{part}{i}" for part in ("train", "val", "test") for i in range(10)), n=1)
    with pytest.warns(UserWarning, match="10 patients are in two parts of its own split, such as 'p0'"):
        assert load(tmp_path).train.groups is None


def test_stems_before_a_counter_are_hinted_at_with_the_pattern(tmp_path):
    for name in "xy":
        for i in range(24):
            write(tmp_path / name / f"{name}{i // 3}_{i % 3}.png", i)
    with pytest.warns(UserWarning, match=r"48 of 48 files share 16 stems") as caught:
        folders.read(tmp_path)
    pattern = str(caught[0].message).split("groups=r'")[1].split("'")[0]
    assert quietly(tmp_path, groups=pattern).groups.unique().numel() == 16
