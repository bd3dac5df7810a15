"""The share of the long runs that fits into `make test`. CONTRIBUTING.md has the commands of the whole."""

import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from reliability import determinism, figures, files, fuzz, layouts, network, offline, poison, same_bits, versions
from small import TwentyLines, blobs

import xferlab as xl
from xferlab.errors import ArgumentError, DataError, DivergenceError
from xferlab.objectives import Objective
from xferlab.storage import write_atomically

HERE = Path(__file__).parent


def own_process(script: str, *arguments: str) -> str:
    """What a harness prints that forks, and so must be alone in its process."""
    done = subprocess.run([sys.executable, HERE / script, *arguments], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forks, which this system has not")
def test_killed_runs_end_as_undisturbed_ones():
    said = own_process("crashes.py", "--kills", "3")
    for job in ("fit", "compare", "download", "cells"):
        assert f"{job}: " in said and f"{job}, disk full: " in said and f"{job}, read-only: " in said
    assert said.count("every rerun gave the undisturbed result") == 4


def test_a_misbehaving_server_gives_the_file_or_a_sentence():
    assert network.main(trials=15)[0].startswith("15 downloads")


@pytest.mark.parametrize("name", files.ATTACKS)
def test_a_hostile_file_is_refused(name, tmp_path):
    if files.refused(name, tmp_path) is None:
        pytest.skip("pydicom is not installed (extra labs)")


def test_folders_come_back_as_they_were_written():
    """Fails where a level is taken for another, a table's row finds another file, or a damaged file raises anything else."""
    said = layouts.main(cases=40, files=44)
    assert int(said[0].split()[0]) > 30, said


def test_names_of_files_and_classes_are_text_in_a_page(tmp_path):
    names = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "a & b")
    splits = xl.Splits(*(replace(blobs(24, seed=i), classes=names, name=names[1]) for i in range(3)))
    settings = dict(seeds=1, steps=2, batch_size=8, encoder=make, store=tmp_path, progress_bar=False)
    board = xl.compare(["source_only", "adabn"], splits, splits, **settings)
    board.card = [(names[0], [names[1]])]
    page = board.to_html(tmp_path / "page.html", command=f"xferlab compare --source '{names[1]}'").read_text("utf-8")
    seen = files.Tags(page).seen
    assert "table" in seen and seen.count("script") == 1 and "onerror" not in seen  # ours, which sorts the tables
    assert "alert" not in page.split("<script>")[1].split("</script>")[0]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page and "a &amp; b" in page


def make():
    return xl.encoder(TwentyLines(), size=16)


@pytest.mark.parametrize("name", fuzz.CHECKS)
def test_bad_input_works_or_says(name):
    fuzz.run(name, cases=40)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="runs mutants in forks, which this system has not")
def test_mutants_are_made_and_mostly_die():
    said = own_process("mutate.py", "--sample", "3", "--only", "objectives.supervised")
    assert "of 3 mutants killed" in said and "\n0 of 3" not in said


def test_target_labels_reach_the_oracle_alone():
    (line,) = poison.main(["source_only", "dann", "pseudo_label", "adabn"], seeds=1, steps=4)
    assert line.startswith("4 recipes")


def test_the_same_bits_in_another_process():
    lines, changed = determinism.main(["dann", "mean_teacher"], steps=3)
    assert not changed and lines[0].startswith("2 of 2")


@pytest.mark.parametrize("host", ["example.org", "192.0.2.1", b"198.51.100.7", "2001:db8::1"])
def test_the_suite_cannot_reach_out(host):
    assert offline.away(host)
    with pytest.raises(RuntimeError, match="without a network"):
        socket.create_connection((host, 80), timeout=0.01)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "0.0.0.0", "", None, b"127.3.2.1"])
def test_this_machine_is_not_away(host):
    assert not offline.away(host)


def test_the_oldest_versions_are_those_of_pyproject():
    pytest.importorskip("packaging")
    assert versions.PINS.read_text("utf-8") == versions.pins(), "run python tests/reliability/versions.py pins"


def test_the_page_of_figures_is_the_recorded_one():
    assert figures.README.read_text("utf-8") == figures.page(), "run python tests/reliability/figures.py"


# ------------------------------------------------------------------ defects that the long runs found


def test_what_a_killed_writer_left_goes_after_a_day(tmp_path):
    kept = [
        tmp_path / name for name in (".a.pt.1.0011aabb.pt", ".b.pt.1.0011aabb.pt", ".a.pt.part", "a.pt.1.0011aabb.pt")
    ]
    for path in kept:
        path.touch()
    os.utime(kept[0], (time.time() - 90_000,) * 2), os.utime(kept[2], (time.time() - 90_000,) * 2)
    with write_atomically(tmp_path / "a.pt") as file:
        file.write_text("new")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a.pt", *(path.name for path in kept[1:])])


@pytest.mark.parametrize(
    "error", [RuntimeError("basic_ios::clear: iostream error"), OSError(28, "No space left on device")]
)
def test_a_full_disk_is_told_alike_by_torch_and_python(tmp_path, error):
    with pytest.raises(
        DataError, match=r"cannot write .*a.pt \(.*(iostream|No space).*earlier file, if any, is intact"
    ):
        with write_atomically(tmp_path / "a.pt"):
            raise error
    assert not list(tmp_path.iterdir())


def test_cells_are_rendered_where_nothing_can_be_kept(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XFERLAB_DATA", str(tmp_path / "file" / "cache"))
    assert len(xl.load("cells/site-a", size=16, per_class=(1, 1, 1)).train) == 8


def test_features_are_computed_where_none_can_be_read_or_kept(own, source, tmp_path):
    first = xl.embed(own(), source, cache=tmp_path)
    (kept,) = tmp_path.glob("*.safetensors")
    kept.write_bytes(b"damaged")
    assert torch.equal(first, xl.embed(own(), source, cache=tmp_path))
    (tmp_path / "file").touch()
    assert torch.equal(first, xl.embed(own(), source, cache=tmp_path / "file" / "cache"))


def test_a_home_that_may_not_be_looked_into_is_no_obstacle(monkeypatch):
    monkeypatch.setenv("HOME", "/" + "x" * 300)  # too long a name is refused as another user's folder is, to root too
    assert len(xl.catalog()) > 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (dict(checkpoint_every=0), "checkpoint_every is 0, expected 1 or more"),
        (dict(val_every=-1), "val_every is -1"),
        (dict(lr=float("inf")), "lr is inf, expected a finite number above 0"),
        (dict(weight_decay=-1.0), "weight_decay is -1.0"),
        (dict(weight_decay=float("nan")), "weight_decay is nan"),
        (dict(warmup=2.0), "warmup is 2.0, expected a share of the steps"),
        (dict(seed=2**64), "seed is 18446744073709551616"),
    ],
)
def test_numbers_that_fit_cannot_use_are_named(change, says, own, source):
    with pytest.raises(ArgumentError, match=says):
        xl.fit(own(), source, progress_bar=False, **({"steps": 2} | change))


def test_weights_that_the_last_step_broke_are_not_handed_over(own, source):
    """The loss of that step was still finite: it is from before the update."""

    class Cliff(Objective):
        needs = frozenset({"source"})

        def forward(self, step):
            return (step.model.head.weight * 0).sum().sqrt()  # 0, with a gradient that is not a number

    with pytest.raises(DivergenceError, match="is not finite after the last step"):
        xl.fit(own(), source, objectives=[Cliff()], steps=1, progress_bar=False)


def test_a_comparison_of_bits_tells_change_from_sameness():
    found = same_bits.results(["resumed", "text", "taps"])
    assert len(found) >= 3 and not any("Error:" in value for value in found.values()), found
    lines, changed = same_bits.compared({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"})
    assert changed and any("b" in line and "3" in line for line in lines) and any("c" in line for line in lines)


def test_harnesses_say_their_command():
    for script in sorted(HERE.glob("*.py")):
        if not script.name.startswith("test_"):
            text = script.read_text("utf-8")
            assert f"tests/reliability/{script.name}" in text or script.name == "offline.py", (
                f"{script.name} names no command"
            )
