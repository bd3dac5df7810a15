"""The classroom's archive, on a course of one page and two wheels made by hand, installed without any index."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from xferlab.course import bundle
from xferlab.errors import DataError, MissingExtra

pytest.importorskip("packaging")
STORAGE = """
import os, pathlib
def cache_folder():
    return pathlib.Path(os.environ["XFERLAB_DATA"])
def main():
    import tinydep
    print("doctor:", tinydep.WORD)
"""
METADATA = {
    "xferlab": 'Name: xferlab\nVersion: 9.9\nRequires-Dist: tinydep>=1; extra == "labs"\n'
    'Requires-Dist: absent; extra == "other"\nRequires-Dist: bigone\nRequires-Dist: tinydep; python_version < "3"\n',
    "tinydep": "Name: TinyDep\nVersion: 1.0\n",
    "bigone": "Name: bigone\nVersion: 3\nRequires-Dist: onlybig\n",
    "onlybig": "Name: onlybig\nVersion: 4\nRequires-Dist: bigone\n",
}
VERSIONS = {"xferlab": "9.9", "tinydep": "1.0", "bigone": "3", "onlybig": "4"}


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Makes `importlib.metadata` see those four packages first."""
    for name, text in METADATA.items():
        folder = tmp_path / "site" / f"{name}-{VERSIONS[name]}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\n{text}")
    monkeypatch.syspath_prepend(tmp_path / "site")


@pytest.fixture
def wheels(tmp_path):
    """Wheels of the course and of the package it needs."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    files = {
        "xferlab": {"xferlab/__init__.py": "", "xferlab/storage.py": STORAGE},
        "tinydep": {"tinydep.py": "WORD = 'well'"},
    }
    for name, content in files.items():
        info = f"{name}-{VERSIONS[name]}.dist-info"
        content |= {
            f"{info}/METADATA": f"Metadata-Version: 2.1\n{METADATA[name]}",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        if name == "xferlab":
            content[f"{info}/entry_points.txt"] = "[console_scripts]\nxferlab = xferlab.storage:main\n"
        content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*content, f"{info}/RECORD"])
        with zipfile.ZipFile(folder / f"{name}-{VERSIONS[name]}-py3-none-any.whl", "w") as wheel:
            for path, text in content.items():
                wheel.writestr(path, text)
    return folder


@pytest.fixture
def labs(tmp_path):
    folder = tmp_path / "checkout" / "labs"
    (folder / ".ipynb_checkpoints").mkdir(parents=True)
    (folder / ".ipynb_checkpoints" / "old.ipynb").write_text("{}")
    (folder / "00_start_here.ipynb").write_text("{}")
    shutil.copy(Path(__file__).parents[2] / "labs" / "install.py", folder)
    (folder.parent / "data").mkdir()
    (folder.parent / "data" / "card.md").write_text("a card")
    (folder.parent / "data" / "private.npz").write_text("not for everybody")
    return folder


def test_what_is_needed_follows_extras_markers_and_what_is_left_out(installed):
    assert bundle.pinned("xferlab", ["labs"]) == VERSIONS
    assert bundle.pinned("xferlab") == {"xferlab": "9.9", "bigone": "3", "onlybig": "4"}
    assert bundle.pinned("xferlab", ["labs"], without=["BigOne"]) == {"xferlab": "9.9", "tinydep": "1.0"}
    with pytest.raises(MissingExtra, match="absent"):
        bundle.pinned("xferlab", ["other"])


def test_the_bundle_installs_without_an_index(installed, wheels, labs, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    out = tmp_path / "course.zip"
    bundle.write(out, labs, extras=["labs"], without=["bigone"], wheels=wheels, data=False)
    with zipfile.ZipFile(out) as archive:
        archive.extractall(tmp_path / "away")
    course = tmp_path / "away" / "xferlab-course"
    files = {str(path.relative_to(course)) for path in course.rglob("*") if path.is_file()}
    assert files == {
        "about.json", "install.py", "requirements.txt", "labs/00_start_here.ipynb", "data/card.md",
        "wheels/tinydep-1.0-py3-none-any.whl", "wheels/xferlab-9.9-py3-none-any.whl",
    }  # fmt: skip
    assert (course / "requirements.txt").read_text() == "tinydep==1.0\nxferlab==9.9\n"
    (course / "cache" / "digits").mkdir(parents=True)
    (course / "cache" / "digits" / "mnist.npz").write_text("digits")
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"XFERLAB_DATA": str(tmp_path / "learner")}
    ran = subprocess.run([sys.executable, "install.py"], cwd=course, env=env, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "doctor: well" in ran.stdout
    assert "Taken from this Python: bigone" in ran.stdout
    beside = next(course.glob(".venv/**/classroom.pth")).read_text().splitlines()
    assert sysconfig.get_path("purelib") in beside
    assert (tmp_path / "learner" / "digits" / "mnist.npz").read_text() == "digits"
    assert "00_start_here.ipynb" in ran.stdout


def test_another_machine_is_told_so(installed, wheels, labs, tmp_path):
    out = bundle.write(tmp_path / "c.zip", labs, extras=["labs"], without=["bigone"], wheels=wheels, data=False)
    with zipfile.ZipFile(out) as archive:
        archive.extractall(tmp_path)
    about = tmp_path / "xferlab-course" / "about.json"
    about.write_text(json.dumps({"machine": ["3", "0", "Plan9", "vax"], "without": []}))
    ran = subprocess.run([sys.executable, about.parent / "install.py"], capture_output=True, text=True)
    assert ran.returncode == 1
    assert "Python 3.0 on Plan9 vax" in ran.stdout
    assert not (about.parent / ".venv").exists()


def test_a_wheel_that_cannot_be_had_is_named_and_nothing_is_written(installed, wheels, labs, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(DataError, match=r"(?s)bigone.*--without"):
        bundle.write(tmp_path / "c.zip", labs, extras=["labs"], wheels=wheels, data=False)
    assert not (tmp_path / "c.zip").exists()


def test_baking_loads_what_needs_no_network_and_leaves_out_what_is_not_installed(monkeypatch, capsys):
    from types import SimpleNamespace

    from xferlab import domains

    entries = [SimpleNamespace(name=n, network=w) for n, w in (("a", "no"), ("b", "yes"), ("c", "no"))]
    monkeypatch.setattr(domains, "catalog", lambda: entries)
    loaded = []

    def load(name):
        if name == "c":
            raise MissingExtra("books", extra="nlp")
        loaded.append(name)

    monkeypatch.setattr(domains, "load", load)
    bundle.bake()
    assert loaded == ["a"]
    first, second = capsys.readouterr().out.splitlines()
    assert first == "a: ready" and "books" in second
