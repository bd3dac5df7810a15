"""The README promises what runs: each of its commands, on two small folders, and its lines of Python."""

import html
import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import xferlab as xl
from xferlab.cli import app

pytest.importorskip("jinja2", reason="the README's commands need the extra `labs`")
ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "README.md").read_text("utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]
SMALL = ["--recipes", "source_only", "--steps", "2", "--seeds", "1"]


def test_every_command_runs(tmp_path, monkeypatch):
    """An option that was renamed, a file that another command calls otherwise."""
    draw = np.random.default_rng(0)
    for side in ("hospital-a", "hospital-b"):
        for k in range(24):
            place = tmp_path / side / ("well" if k % 2 else "ill") if side.endswith("a") else tmp_path / side
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(0, 256, (28, 28), dtype=np.uint8)).save(place / f"{k}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XFERLAB_DATA", str(tmp_path / "cache"))
    ran = []
    for line in COMMANDS:
        program, *words = shlex.split(line)
        if program != "xferlab":
            continue
        if words[0] == "export" and not find_spec("onnxscript"):
            continue
        if words[0] == "look":
            words += ["--encoder", "none"]  # no probe: twelve pictures a class are too few, and it is tested elsewhere
        if words[0] == "compare":
            words += SMALL + ["--encoder", "lenet"] * ("--encoder" not in words)
        done = CliRunner().invoke(app, words, catch_exceptions=False)
        assert done.exit_code == 0, line + done.output
        ran.append(words[0])
    assert ran[:4] == ["compare", "look", "compare", "predict"]
    assert (tmp_path / "report.html").is_file() and len((tmp_path / "preds.csv").read_text().splitlines()) == 25


def test_the_replay_is_of_the_command_above_it_and_says_how_fast_it_runs():
    """A command that was changed and not recorded again: run `python docs/loop.py`. Words for who cannot see it, rest for who asks for it."""
    drawn = (ROOT / "docs" / "compare.svg").read_text("utf-8")
    assert html.unescape(re.search(r"<title>(.*?)</title>", drawn)[1]) == COMMANDS[0]
    told = re.search(r"<desc>(.*?)</desc>", drawn, re.DOTALL)[1]
    assert re.match(r"A real run of \d+ s, shown \d+ times faster", told) and "Chosen without target labels" in told
    assert "prefers-reduced-motion" in drawn and len(drawn) < 400_000


def test_make_targets_and_light_commands_are_there():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make (\w+)", TEXT)) <= targets
    for words in set(re.findall(r"`xferlab (\w+ ?\w*)`", TEXT)):
        assert CliRunner().invoke(app, [*words.split(), "--help"]).exit_code == 0, words


def test_the_lines_of_python_run(monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    load = xl.load
    monkeypatch.setattr(xl, "load", lambda name: load(name, per_class=(4, 1, 1), size=32))
    small = code.replace("per_class=20", "per_class=2").replace("steps=60", "steps=1")
    assert small.count("=2)") == 1 and "steps=1" in small
    exec(small, {})
    assert "balanced accuracy" in capsys.readouterr().out.lower()
