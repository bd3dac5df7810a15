"""Drawings of the methods: in step with the script that makes them, described in words, and inside the notebooks."""

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

LABS = Path(__file__).parents[2] / "labs"
spec = importlib.util.spec_from_file_location("drawings", LABS / "drawings" / "build.py")
drawings = importlib.util.module_from_spec(spec)
spec.loader.exec_module(drawings)


@pytest.mark.parametrize("name", drawings.DRAWINGS)
def test_a_drawing_has_words_and_both_files(name):
    text = (LABS / "drawings" / f"{name}.svg").read_text("utf-8")
    assert drawings.words(name) in text.replace("&amp;", "&"), "run python labs/drawings/build.py"
    assert 60 < len(drawings.words(name)) < 420
    assert (LABS / "drawings" / f"{name}.png").stat().st_size < 40_000


def test_every_drawing_stands_in_a_lab_and_every_file_has_its_drawing():
    used = {
        name for path in (LABS / "source").glob("*.py") for name in re.findall(r"drawings/(\w+)\.svg", path.read_text())
    }
    assert used == set(drawings.DRAWINGS)
    assert {path.stem for path in (LABS / "drawings").glob("*.svg")} == used


@pytest.mark.parametrize("folder", [LABS, LABS / "solutions"])
def test_a_notebook_that_travels_alone_still_shows_its_drawings(folder):
    """Fails if a drawing is linked from a folder that a learner with one file does not have."""
    found = 0
    for path in folder.glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            assert "](drawings/" not in cell.source, path
            for alt, name in re.findall(r"!\[([^\]]*)\]\(attachment:(\S+?)\)", cell.source):
                assert alt == drawings.words(Path(name).stem)
                assert cell.attachments[name]["image/png"]
                found += 1
    assert found >= len(drawings.DRAWINGS)


def test_the_glossary_describes_its_drawings_as_the_labs_do():
    found = re.findall(r"!\[([^\]]*)\]\(drawings/(\w+)\.svg\)", (LABS / "glossary.md").read_text("utf-8"))
    assert {name for _, name in found} == set(drawings.DRAWINGS)
    assert [name for alt, name in found if alt != drawings.words(name)] == []
