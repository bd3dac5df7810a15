"""Profiles, data choice, committed results, figures, and running notebooks."""

import base64
import io
import json
import subprocess
import sys

import pytest

from xferlab import lab
from xferlab.course import content, notebooks
from xferlab.errors import ArgumentError, DataError


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    for name in ("XFERLAB_PROFILE", "XFERLAB_DATASET", "XFERLAB_RECORD", "CI", "TQDM_DISABLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def checkout(monkeypatch, tmp_path):
    """A checkout of its own, entered at its root."""
    (tmp_path / "labs" / "source").mkdir(parents=True)
    (tmp_path / "labs" / "course.toml").write_text('repository = "x"\n[[lab]]\nnumber = "77"\nslug = "tiny"\n')
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("profile", "value"), [("", 2), ("quick", 1), ("lab", 2), ("full", 3)])
def test_profile_chooses_the_scale(monkeypatch, profile, value):
    monkeypatch.setenv("XFERLAB_PROFILE", profile)
    monkeypatch.setattr(lab, "_quieten", lambda: None)
    assert lab.start("77").scale(quick=1, lab=2, full=3) == value
    assert lab.start("7").number == lab.start(7).number == "07"  # whose results are in 07_*.json


@pytest.mark.parametrize(("profile", "warned"), [("quick", True), ("lab", False)])
def test_numbers_that_mean_nothing_are_announced(monkeypatch, capsys, profile, warned):
    """A learner in profile quick would otherwise read a result off three steps of training."""
    monkeypatch.setenv("XFERLAB_PROFILE", profile)
    monkeypatch.setattr(lab, "_quieten", lambda: None)
    this = lab.start("77")
    assert ("numbers mean nothing" in capsys.readouterr().out) is warned
    if warned:
        assert this.pooled("anything", [{"draw": 0}]) == [{"draw": 0}]
        assert "Only what ran here" in capsys.readouterr().out


def test_an_unknown_profile_is_refused(monkeypatch):
    monkeypatch.setenv("XFERLAB_PROFILE", "fast")
    with pytest.raises(ArgumentError, match=r"'fast'.*quick, lab, full"):
        lab.start("77")


@pytest.mark.parametrize(
    ("profile", "variable", "shown"),
    [("lab", "", True), ("quick", "", False), ("lab", "CI", False), ("full", "TQDM_DISABLE", False)],
)
def test_progress_is_shown_to_those_who_watch(monkeypatch, profile, variable, shown):
    if variable:
        monkeypatch.setenv(variable, "1")
    assert lab.Lab("77", profile).shows_progress is shown


def test_quick_profile_shows_no_bars():
    code = (
        "import tqdm, tqdm.auto; from xferlab import lab; lab.start('77'); lab.start('77')\n"
        "list(tqdm.tqdm(range(3))); list(tqdm.auto.tqdm(range(3)))"
    )
    env = {**__import__("os").environ, "XFERLAB_PROFILE": "quick", "TQDM_DISABLE": ""}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert run.stderr == ""


def test_start_never_asks_for_more_threads_than_there_are_cores(monkeypatch):
    import torch

    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(lab, "cores", lambda: 1)
    try:
        lab.start("77")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_dataset_says_what_it_is(monkeypatch, checkout, capsys):
    this = lab.Lab("77", "lab")
    assert this.dataset("cells/site-a") == "cells/site-a"
    assert "synthetic" in capsys.readouterr().out
    monkeypatch.setenv("XFERLAB_DATASET", "medmnist/bloodmnist")
    assert this.dataset("cells/site-a") == "medmnist/bloodmnist"
    out = capsys.readouterr().out
    assert "synthetic" not in out
    assert "Not for clinical use." in out


def test_dataset_path_from_the_root_is_found_from_the_labs_folder(monkeypatch, checkout, capsys):
    (checkout / "mine.npz").touch()
    monkeypatch.setenv("XFERLAB_DATASET", "mine.npz")
    monkeypatch.chdir(checkout / "labs")
    assert lab.Lab("77", "lab").dataset("cells/site-a") == str(checkout / "mine.npz")
    assert "your own data" in capsys.readouterr().out


def test_one_dataset_where_two_are_named_is_refused(monkeypatch, checkout):
    monkeypatch.setenv("XFERLAB_DATASET", "cells/site-a:cells/site-b")
    with pytest.raises(ArgumentError, match="takes one"):
        lab.Lab("77", "lab").dataset("cells/site-a")


def test_a_path_with_a_colon_is_one_dataset_when_it_exists(monkeypatch, checkout):
    (checkout / "a:b").mkdir()
    monkeypatch.setenv("XFERLAB_DATASET", "a:b")
    assert lab.Lab("77", "lab").dataset("cells/site-a") == "a:b"


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a:b", [("a", "b")]),
        ("a", []),
        (r"C:\data\a", []),
        (r"C:\data\a:D:\data\b", [(r"C:\data\a", r"D:\data\b")]),
        ("C:/x.npz:cells/site-b", [("C:/x.npz", "cells/site-b")]),
        ("cells/site-a:C:/x", [("cells/site-a", "C:/x")]),
        ("ab:/data/b", [("ab", "/data/b")]),
        ("a:b:c", [("a", "b:c"), ("a:b", "c")]),
        (":b", []),
        ("a:", []),
    ],
)
def test_source_and_target_are_split_at_the_colon_that_separates(text, pairs):
    assert lab._pairs(text) == pairs


def test_datasets(monkeypatch, checkout, capsys):
    this = lab.Lab("77", "lab")
    assert this.datasets("digits/mnist", "digits/optdigits") == ("digits/mnist", "digits/optdigits")
    monkeypatch.setenv("XFERLAB_DATASET", "cells/site-a:cells/site-c")
    assert this.datasets("digits/mnist", "digits/optdigits") == ("cells/site-a", "cells/site-c")
    assert "Target: cells/site-c (synthetic" in capsys.readouterr().out
    monkeypatch.setenv("XFERLAB_DATASET", "cells/site-a")
    with pytest.raises(ArgumentError, match="SOURCE:TARGET"):
        this.datasets("digits/mnist", "digits/optdigits")


def test_datasets_with_colons_in_paths_uses_the_split_that_exists(monkeypatch, checkout):
    (checkout / "a:b").mkdir()
    (checkout / "c").mkdir()
    monkeypatch.setenv("XFERLAB_DATASET", "a:b:c")
    assert lab.Lab("77", "lab").datasets("x", "y") == ("a:b", "c")


def test_results_are_recorded_and_read_back_with_their_origin(checkout, capsys):
    this = lab.Lab("77", "lab")
    path = this.record("speed", [{"x": 1.5}], command="python measure.py")
    assert path == checkout / "labs" / "results" / "77_speed.json"
    assert this.committed("speed") == [{"x": 1.5}]
    out = capsys.readouterr().out
    assert "python measure.py" in out
    assert json.loads(path.read_text())["date"] in out


def test_results_that_are_not_there_are_named(checkout):
    with pytest.raises(DataError, match="other"):
        lab.Lab("77", "lab").committed("other")


def test_live_draws_are_pooled_with_the_committed_ones(monkeypatch, checkout, capsys):
    import numpy as np

    name, this = "labels_cells/site-a", lab.Lab("77", "lab")
    assert list(this.draws(3)) == [0]
    assert this.pooled(name, [{"draw": 0, "y": 9.0}]) == [{"draw": 0, "y": 9.0}]
    assert "rests on what ran here" in " ".join(capsys.readouterr().out.split())
    monkeypatch.setenv("XFERLAB_RECORD", "1")
    monkeypatch.setenv("XFERLAB_DATASET", "cells/site-a")
    assert list(this.draws(3)) == [0, 1, 2]
    this.pooled(name, [{"draw": draw, "y": np.float32(draw)} for draw in range(3)])
    monkeypatch.delenv("XFERLAB_RECORD")
    capsys.readouterr()
    live = [{"draw": 0, "y": 9.0}]
    assert this.pooled(name, live) == [*live, {"draw": 1, "y": 1.0}, {"draw": 2, "y": 2.0}]
    assert len(this.pooled(name, live, by=("draw", "y"))) == 4  # the committed draw 0 differs in y, so both stay
    assert "XFERLAB_DATASET=cells/site-a XFERLAB_RECORD=1 xferlab labs run 77" in capsys.readouterr().out
    assert lab.Lab("77", "quick").pooled(name, live) == live
    assert list(lab.Lab("77", "full").draws(3)) == [0, 1, 2]


def test_methods_stand_in_the_order_of_the_record(checkout):
    """Draw 0 of the second trained here: it comes neither first nor last."""
    recorded = [{"method": m, "draw": d, "y": 0.5} for d in range(2) for m in ("c", "a", "b")]
    lab.Lab("77", "full").record("order", recorded, "by hand")
    found = lab.Lab("77", "lab").results("order", [{"method": "a", "draw": 0, "y": 0.7}])
    assert found.names == ["c", "a", "b"]
    assert [row["method"] for row in found.rows if row["here"]] == ["a"]


@pytest.mark.parametrize("number", ["55", "../02", 55])
def test_an_unknown_lab_is_refused(number):
    with pytest.raises(ArgumentError, match=f"{number}"):
        content.answers(number)


def test_a_lab_is_known_by_its_number_too():
    """Fails if `resume(2, section=3)`, which a learner may well write, ends in an error about a format code."""
    assert content.entry(2) == content.entry("2") == content.entry("02")


@pytest.fixture
def shown(monkeypatch):
    pytest.importorskip("IPython")
    import IPython.display

    calls = []
    monkeypatch.setattr(IPython.display, "display", lambda data, raw, metadata: calls.append((data, metadata)))
    return calls


def figure(noise: int = 0):
    pytest.importorskip("matplotlib").use("Agg")
    import numpy as np
    from matplotlib import pyplot

    fig, axes = pyplot.subplots()
    axes.plot([0, 1])
    if noise:
        axes.imshow(np.random.default_rng(0).integers(0, 255, (noise, noise, 3)))
    return fig


def test_figures_carry_their_alt_text_and_are_closed(shown):
    from matplotlib import pyplot
    from PIL import Image

    fig = figure()
    lab.show(fig, alt='a "line" that rises')
    data, metadata = shown[0]
    assert metadata["image/png"] == {"alt": 'a "line" that rises'}
    assert 'alt="a &quot;line&quot; that rises"' in data["text/html"]
    assert data["text/plain"] == 'a "line" that rises'
    corner = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB").getpixel((0, 0))
    assert corner == (255, 255, 255)
    assert not pyplot.fignum_exists(fig.number)


def test_big_pictures_are_made_smaller(shown):
    fig = figure(noise=400)
    raw = io.BytesIO()
    fig.savefig(raw, format="png", dpi=88, bbox_inches="tight")
    lab.show(fig, alt="noise")
    assert len(base64.b64decode(shown[0][0]["image/png"])) < 0.6 * raw.tell()


@pytest.mark.parametrize("alt", ["", "  ", None])
def test_a_figure_without_words_is_refused(shown, alt):
    with pytest.raises(ArgumentError, match="alt="):
        lab.show(figure(), alt=alt)


def test_html_page_shows_the_alt_text():
    pytest.importorskip("nbconvert")
    import nbformat

    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
    output = nbformat.v4.new_output(
        "display_data", data={"image/png": png}, metadata={"image/png": {"alt": "a <small> dot"}}
    )
    cell = nbformat.v4.new_code_cell("1", outputs=[output], execution_count=1)
    page = notebooks.to_html(nbformat.v4.new_notebook(cells=[cell]), "Dot")
    assert 'alt="a &lt;small&gt; dot"' in page
    assert "No description has been provided" not in page
    assert "text/html" not in output.data


def test_say_breaks_lines_between_words_and_loses_none(capsys):
    text = "a sentence of the report " * 12
    lab.say(text, "and another")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100 and lines[-1] == "and another"
    assert " ".join(lines).split() == text.split() + ["and", "another"]
    lab.say("", "after an empty line\n    code as it is")
    assert capsys.readouterr().out == "\nafter an empty line\n    code as it is\n"
