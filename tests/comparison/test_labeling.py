"""The table of what to label next: what is in it, and what comes back."""

import csv
from dataclasses import replace

import pytest
import torch
from small import TwentyLines, blobs

import xferlab as xl
from xferlab.comparison import labeling
from xferlab.domains.domain import split
from xferlab.domains.duplicates import repeats
from xferlab.errors import DataError

ARGUMENTS = dict(seeds=2, steps=2, encoder=TwentyLines, progress_bar=False, batch_size=8)


@pytest.fixture(scope="module")
def sides():
    return split(blobs(60, seed=1, name="source")), split(blobs(90, seed=2, shift=60, name="target"))


def wanted(sides, target=None, **more):
    board = xl.compare(["source_only", "adabn"], sides[0], target or sides[1], propose=6, **ARGUMENTS, **more)
    return [(want.file, want.why) for want in board.wanted]


def test_poisoned_target_labels_change_no_proposal(sides, tmp_path):
    """A label of the target that reached the choice, in training, scoring or clustering, would show."""
    poisoned = replace(sides[1], **{k: replace(d, labels=(d.labels + 1) % 3) for k, d in sides[1].parts().items()})
    honest = wanted(sides, store=tmp_path / "a")
    assert len(honest) == 6 and honest == wanted(sides, poisoned, store=tmp_path / "b")
    assert all("the runs answer" in why for _, why in honest)


def test_nothing_labeled_and_no_near_duplicate_is_proposed(sides):
    """Of a picture that stands there twenty times, a little brighter each, and of the labeled ones, none comes again."""
    target = sides[1].train.unlabeled()
    copies = torch.cat([target.inputs, *(target.inputs[:1] + k % 3 for k in range(20))])
    target, few = xl.Domain(copies, None, target.classes, name="copies"), sides[1].train[:5]
    model = xl.Classifier(xl.encoder(TwentyLines(), size=16), target.classes)
    found = labeling.ask([], model, target, few, 70)
    rows = [want.row for want in found]
    assert [str(row) for row in rows] == [want.file for want in found]
    assert len(rows) == len(set(rows)) == len(sides[1].train) - 5  # all others, once; the copied one is labeled
    assert not set(rows) & {0, 1, 2, 3, 4} and max(rows) < len(sides[1].train)


def test_repeats_finds_copies_and_equal_tokens():
    x = blobs(9, seed=3).inputs
    assert repeats(torch.cat([x, x[4:5] + 1, x.flip(3)[:1]])).tolist() == [False] * 9 + [True, False]
    assert repeats(torch.tensor([[1, 2], [3, 4], [1, 2]])).tolist() == [False, False, True]


def table(path, rows, separator=","):
    lines = [("file", "label", "why"), *((*row, "") for row in rows)]
    path.write_text("\n".join(separator.join(line) for line in lines), "utf-8-sig")
    return path


def test_labels_come_back_by_file_whatever_a_spreadsheet_made_of_the_table(tmp_path):
    target = replace(blobs(6, labels=False), files=tuple(f"in/{i}.png" for i in range(6)))
    path = table(tmp_path / "x.csv", [("in\\4.png", " A"), ("in/1.png", "c"), ("in/2.png", "")], separator=";")
    with pytest.warns(UserWarning, match="1 of 3 rows have no label yet.$"):
        few = labeling.read(path, target, ("c", "a", "b"), (), None)
    assert few.files == ("in/4.png", "in/1.png") and few.labels.tolist() == [1, 0]
    assert torch.equal(few.inputs, target.inputs[[4, 1]])


@pytest.mark.parametrize(
    "rows, says",
    [
        ([("0", "a"), ("1", "bb")], "gives 1 the class 'bb', and the source has a, b, c; did you mean 'b'"),
        ([("0", ""), ("moved.png", "a")], "1 rows without a label, 1 whose file is not there; fill in"),
        ([("0", "a"), ("0", "b")], "gives 0 two labels, 'a' and 'b'"),
    ],
)
def test_a_table_that_is_of_no_use_is_refused_with_the_row(tmp_path, rows, says):
    with pytest.raises(DataError, match=says):
        labeling.read(table(tmp_path / "x.csv", rows), blobs(6, labels=False), ("a", "b", "c"), (), None)


def test_a_table_without_its_columns_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("name,label\n1,a\n")
    for columns, says in (
        ([], "file and label"),
        (["label"], "label, as"),
        (["name", "label", "x"], "name and label and x"),
    ):
        with pytest.raises(DataError, match=f"expected {says}.*name yours: x.csv:FILE,LABEL"):
            labeling.read(tmp_path / "x.csv", blobs(6), ("a", "b", "c"), columns, None)


def test_labels_that_were_given_are_never_written_over(tmp_path):
    """A second round appends: rows with a label stay, those still empty make room."""
    path = table(tmp_path / "label-next.csv", [("a.png", "b"), ("b.png", "")])
    want = [labeling.Wanted(0, name, "why", torch.zeros(3, 4, 4)) for name in ("a.png", "c.png")]
    labeling.write(path, want)
    rows = list(csv.DictReader(path.open(encoding="utf-8")))
    assert [(row["file"], row["label"]) for row in rows] == [("a.png", "b"), ("c.png", "")]
