"""The site: what is gathered, and, where Sphinx is installed, that a small one builds offline."""

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import result_pictures

import xferlab as xl
from xferlab.course import content

assemble = pytest.importorskip("assemble")
ROOT = Path(__file__).parents[2]
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
        assert "at the target: " in section or "Newer than" in section, name
        assert re.search(rf'```python\n[^`]*"{name}"', section), name
    pages = "".join(path.read_text("utf-8") for path in (gathered / "api").glob("*.md"))
    for name in PUBLIC:
        thing = getattr(xl, name)
        told = f"automodule:: {thing.__name__}\n" if inspect.ismodule(thing) else f":: xferlab.{name}\n"
        assert pages.count(told) == 1, name


def test_a_results_page_shows_each_table_as_a_picture_in_words_too(gathered):
    """A page whose tables were made again in another shape would lose its pictures."""
    for name in ("digits", "cells", "real", "estimates", "labels", "race", "collapse"):
        page = gathered / "bench" / "tables" / f"{name}.md"
        shown = re.findall(
            r"\{image\} (\S+)\n:class: only-(light|dark)\n:alt: .*Highest in .+", page.read_text("utf-8")
        )
        assert shown and [theme for _, theme in shown] == ["light", "dark"] * (len(shown) // 2), name
        assert all((page.parent / file).is_file() for file, _ in shown)


def test_a_table_is_read_without_its_differences_counts_and_times():
    """A difference drawn among scores, or the chosen one's name lost, would fail."""
    rows = ["| recipe | runs | target (oracle) | vs source_only | seconds |", "|---|---|---|---|---|"]
    rows += ["| dann (chosen) | 5 | 0.8 [0.7, 0.9] | +0.1 [+0.0, +0.2]* | 3.1 |", "| source_only | 5 | 0.7 | | 2.0 |"]
    read = result_pictures.numbers(rows)
    assert read.names == ["dann (chosen)", "source_only"] and list(read.columns) == ["target (oracle)"]
    assert read.columns["target (oracle)"][0] == (0.8, 0.7, 0.9) and read.columns["target (oracle)"][1][0] == 0.7
    assert "target (oracle): dann (chosen), 0.8" in result_pictures.words(read, "accuracy")


def test_a_word_of_the_glossary_is_linked_where_a_lab_says_it_first():
    """Twice, in code, in a heading, or in the middle of another word."""
    cell = assemble.nbformat.v4.new_markdown_cell(
        "## The encoder\n`encoder` reencodes: an encoder, two encoders; DANN, dann."
    )
    assemble.link_words([cell], {"encoder": "Encoder", "DANN": "DANN"})
    linked = "an [encoder](#word-encoder), two encoders; [DANN](#word-dann), dann."
    assert cell.source == f"## The encoder\n`encoder` reencodes: {linked}"


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
