"""Slides for the teacher, one deck a lab, from the worked notebook: question, drawings, predictions, key results, answer.

    python labs/slides.py [NN ...] [--to FOLDER]

Each deck is one HTML page for a browser (reveal.js, which the page fetches); without a network it reads as one long page.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_markdown_cell

from xferlab.course import content
from xferlab.storage import write_atomically

LABS = Path(__file__).resolve().parent
SECTION = re.compile(r"^## ", re.MULTILINE)


def deck(entry: dict, worked: nbformat.NotebookNode, quiz: list[dict]) -> nbformat.NotebookNode:
    """A notebook whose cells are the slides of one lab."""
    slides = [new_markdown_cell(f"# {entry['number']} {entry['title']}\n\n**{entry['question']}**")]
    shows = False  # what follows a results cell: its figure
    for cell in worked.cells:
        tags = set(cell.metadata.get("tags", []))
        if cell.cell_type == "markdown":
            shows = False
            slides += _told(cell)
        elif tags & {"results", "answer"} or (shows and any("image/png" in o.get("data", {}) for o in cell.outputs)):
            shown = nbformat.from_dict({**cell, "metadata": {"tags": ["output"]}})
            slides.append(shown)
            shows = "results" in tags or shows
    for question in quiz:
        options = "\n".join(f"- {option['text']}" for option in question["options"])
        slides.append(new_markdown_cell(f"## {question['question']}\n\n{options}"))
    for cell in slides:
        cell.metadata["slideshow"] = {"slide_type": "slide"}
    return nbformat.v4.new_notebook(cells=slides)


def _told(cell) -> list:
    """Slides of one cell of prose: each drawing under its section's title, a prediction, and how it hurts."""
    found = []
    for part in SECTION.split(cell.source):
        title = part.splitlines()[0].lstrip("# ") if part.strip() else ""
        for drawing in re.findall(r"!\[[^\]]*\]\(attachment:(\S+?)\)", part):
            image = re.search(rf"!\[[^\]]*\]\(attachment:{re.escape(drawing)}\)", part)[0]
            held = {drawing: cell.attachments[drawing]}
            found.append(new_markdown_cell(f"## {title}\n\n{image}", attachments=held))
        if "### Predict" in part or title == "Predict":
            words = part.split("Predict", 1)[1].split("\n### ")[0].lstrip(": ")
            found.append(new_markdown_cell(f"## Predict\n\n{words.strip()}"))
        elif title.startswith("When it hurts"):
            paragraphs = part.split("\n\n")
            found.append(new_markdown_cell("## " + "\n\n".join(paragraphs[:2])))
    return found


def page(notebook: nbformat.NotebookNode, title: str) -> str:
    """The deck as HTML; code stays out."""
    from nbconvert import SlidesExporter

    exporter = SlidesExporter(exclude_input=True, exclude_input_prompt=True, exclude_output_prompt=True)
    return exporter.from_notebook_node(notebook, {"metadata": {"name": title}})[0]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="*", metavar="NN", help="which labs (default: all)")
    parser.add_argument("--to", type=Path, default=Path("runs/slides"), help="the folder (default: runs/slides)")
    options = parser.parse_args(arguments)
    for entry in content.course(LABS)["labs"]:
        if options.numbers and entry["number"] not in options.numbers:
            continue
        worked = nbformat.read(LABS / "solutions" / f"{entry['name']}.ipynb", as_version=4)
        slides = deck(entry, worked, content.answers(entry["number"])["quiz"])
        with write_atomically(options.to / f"{entry['name']}.html") as temporary:
            temporary.write_text(page(slides, f"{entry['number']} {entry['title']}"), "utf-8")
        print(f"{options.to / entry['name']}.html: {len(slides.cells)} slides")
    return 0


if __name__ == "__main__":
    sys.exit(main())
