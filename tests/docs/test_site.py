"""The site: what is gathered, and, where Sphinx is installed, that a small one builds offline."""

import importlib.util
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import xferlab as xl
from xferlab.course import content

pytest.importorskip("PIL")
ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("assemble", ROOT / "docs" / "assemble.py")
assemble = importlib.util.module_from_spec(spec)
spec.loader.exec_module(assemble)
PUBLIC = re.findall(r" as (\w+)", Path(xl.__file__).with_name("__init__.pyi").read_text("utf-8"))


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "source"
    assemble.main([str(folder), "--only", "00"])
    return folder


@pytest.mark.parametrize("number", content.built())
def test_a_lab_shows_outputs_and_no_answer(number):
    """A page made of the worked notebook would show solutions; one made of the learner's alone would show no picture."""
    page = assemble.lab(content.entry(number))
    text = "\n".join(cell.source for cell in page.cells)
    assert any("image/png" in o.get("data", {}) for cell in page.cells for o in cell.get("outputs", []))
    assert "xl.checks.stuck" not in text and "xl.checks.quiz" not in text and "<details><summary>" in text
    for name, exercise in content.answers(number)["exercises"].items():
        cells = [c for c in page.cells if c.metadata.get("exercise") == name]
        assert cells and not any(c.get("outputs") for c in cells)
        for kind, code in exercise["solution"]:
            if kind == "code" and code not in exercise["hints"][-1:]:
                assert code not in [c.source for c in page.cells]
    for cell in page.cells:
        if any("image/png" in o.get("data", {}) for o in cell.get("outputs", [])):
            assert cell.metadata["mystnb"]["image"]["alt"]


def test_every_method_has_its_line_and_every_public_name_its_place(gathered):
    methods = (gathered / "methods.md").read_text("utf-8")
    for name in xl.recipes:
        section = methods.split(f"\n## {name}\n")[1].split("\n## ")[0]
        assert re.search(rf'```python\n[^`]*"{name}"', section), name
    pages = "".join(path.read_text("utf-8") for path in (gathered / "api").glob("*.md"))
    for name in PUBLIC:
        thing = getattr(xl, name)
        told = f"automodule:: {thing.__name__}\n" if inspect.ismodule(thing) else f":: xferlab.{name}\n"
        assert pages.count(told) == 1, name


def test_a_small_site_builds_and_reads_without_a_network(gathered):
    """A theme or a widget that fetches its script from elsewhere, a page lost from the contents, a dead search."""
    for needed in ("sphinx", "myst_nb", "sphinx_book_theme"):
        pytest.importorskip(needed, reason="pip install 'xferlab[site]'")
    for part in ("labs/teaching", "bench", "tests", "api"):  # what takes time and adds nothing here
        for path in sorted((gathered / part).glob("**/*.md")):
            if path.name not in ("README.md", "index.md", "objectives.md"):
                path.unlink()
    out = gathered.parent / "html"
    command = [sys.executable, "-m", "sphinx", "-q", "-c", str(ROOT / "docs"), str(gathered), str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = sorted(out.glob("**/*.html"))
    for path in pages:
        text = path.read_text("utf-8")
        assert not re.findall(r"<(?:script|img|iframe)[^>]* src=\"(?:https?:)?//[^\"]+", text), path
        assert not re.findall(r"<link[^>]* href=\"(?:https?:)?//[^\"]+\"[^>]*stylesheet", text), path
    assert 'alt="' in (out / "labs" / "00_start_here.html").read_text("utf-8")
    index = json.loads(re.search(r"Search.setIndex\((.*)\)", (out / "searchindex.js").read_text("utf-8"))[1])
    assert {"coral", "gradient", "revers"} <= set(index["terms"])
