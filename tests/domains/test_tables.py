"""Labels, splits and patients of pictures that stand in a table."""

import os
import warnings
from pathlib import Path

import pytest
from small import write_picture as write

from xferlab.domains import folders, load, tables
from xferlab.errors import ArgumentError, DataError

NAMES = [f"{i:03d}.png" for i in range(12)]


@pytest.fixture
def site(tmp_path):
    """Twelve pictures in images/, and a function that writes the table beside them."""
    for i, name in enumerate(NAMES):
        write(tmp_path / "images" / name, i)

    def table(rows, header="image,label", name="labels.csv", encoding="utf-8"):
        (tmp_path / name).write_text("\n".join([header, *rows]) + "\n", encoding=encoding)
        return tmp_path

    return table


def told(root, function=folders.read, **options):
    """What is read, and all that is said."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = function(root, **options)
    return found, " | ".join(str(warning.message) for warning in caught)


def labels_of(found):
    domain, files = found
    return {file.name: domain.classes[k] for file, k in zip(files, domain.labels.tolist(), strict=True)}


EXPECTED = {name: "ab"[i % 2] for i, name in enumerate(NAMES)}
ROWS = [f"{name},{label}" for name, label in EXPECTED.items()]


@pytest.mark.parametrize(
    "way",
    ["{}", "images/{}", "./images/{}", "C:\\scans\\set\\{}", "/home/else/set/{}", "  {} "],
    ids=["bare", "folder", "dot", "windows", "elsewhere", "spaces"],
)
@pytest.mark.parametrize("ending", [".png", "", ".dcm"])
def test_names_with_and_without_folder_and_ending(site, way, ending):
    """`.dcm`: the table was made before the pictures were converted."""
    rows = [f"{way.format(name.replace('.png', ending))},{label}" for name, label in EXPECTED.items()]
    found, said = told(site(rows[::-1]), labels="labels.csv:image,label")
    assert labels_of(found) == EXPECTED and said == ""


def test_folders_tell_files_of_one_name_apart(tmp_path):
    for k, name in enumerate(("p1", "p2", "p3")):
        write(tmp_path / name / "view.png", k)
    rows = [f"set/train/p{i}/view.png,{'ab'[i % 2]}" for i in (1, 2, 3)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *rows]))
    domain, files = folders.read(tmp_path, labels="labels.csv:path,label")
    assert [file.parent.name for file in files] == ["p1", "p2", "p3"] and domain.labels.tolist() == [1, 0, 1]
    (tmp_path / "labels.csv").write_text("path,label\nview.png,a")
    with pytest.raises(DataError, match=r"'view.png' in the table names 3 files.*write their folders too"):
        folders.read(tmp_path, labels="labels.csv:path,label")


def test_a_file_in_another_folder_of_the_same_name_is_not_taken(tmp_path):
    """The row of site2/1.png must not label site1/1.png, where site2 is not there."""
    for i in range(4):
        write(tmp_path / "site1" / f"{i}.png", i)
    rows = [f"site{s}/{i}.png,{'ab'[(s + i) % 2]}" for s in (1, 2) for i in range(4)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *rows]))
    found, said = told(tmp_path, labels="labels.csv:path,label")
    assert labels_of(found) == {f"{i}.png": "ab"[(1 + i) % 2] for i in range(4)}
    assert "4 of 8 rows name no image" in said and "such as 'site2/0.png'" in said


@pytest.mark.parametrize("columns", ["image,MEL,NV,BKL", "image", None])
def test_one_hot_columns(site, columns):
    rows = [f"{name[:-4]},{','.join(str(float(i % 3 == k)) for k in range(3))}" for i, name in enumerate(NAMES)]
    asked = "truth.csv" + (f":{columns}" if columns else "")
    found, _ = told(site(rows, "image,MEL,NV,BKL", "truth.csv"), labels=asked)
    assert labels_of(found) == {name: ("MEL", "NV", "BKL")[i % 3] for i, name in enumerate(NAMES)}


def test_several_ones_in_a_row_are_refused(site):
    root = site([f"{NAMES[0]},1,0", f"{NAMES[1]},1,1"], "image,effusion,mass")
    with pytest.raises(DataError, match=r"line 3: \['effusion', 'mass'\] are all 1.*name a single column"):
        folders.read(root, labels="labels.csv")
    assert labels_of(told(root, labels="labels.csv:image,mass")[0]) == {NAMES[0]: "0", NAMES[1]: "1"}


def test_what_is_missing_on_either_side_is_counted(site):
    rows = [*ROWS[:8], f"{NAMES[8]},", "gone.png,a", "lost.png,b"]
    found, said = told(site(rows), labels="labels.csv:image,label")
    assert len(found[1]) == 8
    assert "2 of 11 rows name no image" in said and "'gone.png'" in said
    assert "3 images without a row in labels.csv (images/009.png, " in said
    assert "1 images without a label in labels.csv (images/008.png)" in said


def test_split_and_patient_columns(site):
    parts = ["Training"] * 6 + ["dev"] * 2 + ["TEST"] * 4
    rows = [f"{row},{part},P{i // 2}" for i, (row, part) in enumerate(zip(ROWS, parts, strict=True))]
    splits, said = told(site(rows, "image,label,Split,Patient_ID"), load, labels="labels.csv:image,label")
    assert [len(part) for part in splits.parts().values()] == [6, 2, 4] and splits.test.labels.tolist() == [0, 1, 0, 1]
    assert splits.train.groups.tolist() == [0, 0, 1, 1, 2, 2] and "6 patients in the table" in said
    with pytest.raises(DataError, match=r"splits \['fold1'\], expected train, val and test"):
        folders.read(site([f"{NAMES[0]},a,fold1"], "image,label,split"), labels="labels.csv:image,label")


def test_folders_named_as_splits_are_used_beside_a_table(tmp_path):
    for k, part in enumerate(("train", "valid", "test")):
        for i in range(4):
            write(tmp_path / part / f"{part}{i}.png", 10 * k + i)
    names = [file.name for file in sorted(tmp_path.rglob("*.png"))]
    (tmp_path / "labels.csv").write_text("id,label\n" + "\n".join(f"{n},{'ab'[i % 2]}" for i, n in enumerate(names)))
    assert [len(part) for part in load(tmp_path, labels="labels.csv").parts().values()] == [4, 4, 4]


def test_semicolons_and_windows_letters_are_read_and_said(site):
    rows = [f"{name};{'Ödem' if label == 'a' else 'frei'}" for name, label in EXPECTED.items()]
    root = site(rows, "image;label", encoding="cp1252")
    found, said = told(root, labels="labels.csv:image,label")
    assert found[0].classes == ("frei", "Ödem") and "was read as cp1252" in said
    found, said = told(site(rows, "image;label", encoding="utf-16"), labels="labels.csv:image,label")
    assert found[0].classes == ("frei", "Ödem") and "was read as utf-16" in said


def test_a_table_beside_a_flat_folder_is_offered(site):
    root = site(ROWS)
    with pytest.raises(DataError, match=r"one class 'images'.*labels='labels.csv:image,COLUMN'.*\['label'\]"):
        folders.read(root)
    (domain, _), said = told(root / "images")
    assert domain.labels is None and f"labels='{root / 'labels.csv'}:image,COLUMN'" in said


@pytest.mark.parametrize("text", ["", "image,label\n"])
def test_an_empty_table_is_no_offer_and_no_obstacle(site, text):
    """IndexError once, for any folder of pictures beside one."""
    root = site([])
    (root / "labels.csv").write_text(text)
    (domain, _), said = told(root / "images")
    assert domain.labels is None and said == ""


def test_a_folder_in_one_that_may_not_be_listed_is_read(site, monkeypatch):
    root, scandir, listdir = site([]), os.scandir, os.listdir

    def barred(function, folder):
        if Path(os.fspath(folder)) == root:
            raise PermissionError(13, "Permission denied", str(folder))
        return function(folder)

    monkeypatch.setattr(os, "scandir", lambda folder=".": barred(scandir, folder))
    monkeypatch.setattr(os, "listdir", lambda folder=".": barred(listdir, folder))
    assert folders.read(root / "images")[0].labels is None


def test_a_table_that_may_not_be_read_is_no_offer_and_no_obstacle(site, monkeypatch):
    root, read_bytes = site(["000.png,a"]), Path.read_bytes

    def barred(path):
        if path.suffix == ".csv":
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", barred)
    assert folders.read(root / "images")[0].labels is None


@pytest.mark.parametrize(
    "labels, error, says",
    [
        ("labels.csv:image,dx", DataError, r"has columns \['image', 'label', 'age'\], not 'dx'"),
        ("labels.csv", DataError, r"columns \['label', 'age'\]; name the one"),
        ("labels.csv:age,label", DataError, "no row names an image"),
        ("absent.csv:image,label", DataError, "neither in .* nor a file"),
        ("label", ArgumentError, "expected a table and its columns"),
    ],
)
def test_wrong_tables_are_named(site, labels, error, says):
    root = site([f"{row},7{i}" for i, row in enumerate(ROWS)], "image,label,age")
    with pytest.raises(error, match=says):
        folders.read(root, labels=labels)


def test_two_labels_for_one_file_are_refused(site):
    with pytest.raises(DataError, match=r"gives 000.png both 'a' and 'b'"):
        folders.read(site([*ROWS, "000,b"]), labels="labels.csv:image,label")


def test_a_row_with_too_many_cells_is_refused(tmp_path):
    """A comma in a text without quotes must not cut it short in silence."""
    (tmp_path / "t.csv").write_text("text,label\nfever, chills,a\n")
    with pytest.raises(DataError, match=r"line 2 has 3 cells and the header 2; put quotes"):
        tables.read(tmp_path / "t.csv", [])
