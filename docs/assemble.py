"""Gathers the site's pages from where they live, so that `docs/conf.py` can build them: nothing is written twice.

    python docs/assemble.py FOLDER [--only NN]

The folder mirrors the repository, and links between files go on working. The front page is the README. A lab is the learner's
notebook with the outputs of the worked one, its exercises blank, hints and quiz folded. Methods and API come from the package.
"""

from __future__ import annotations

import argparse
import ast
import base64
import html
import inspect
import json
import re
import shutil
import types
from pathlib import Path

import nbformat
from PIL import Image

import xferlab as xl
from xferlab.course import content

ROOT = Path(__file__).resolve().parents[1]
LABS = ROOT / "labs"
COPIED = (
    "docs/*.md",
    "docs/*.svg",
    "labs/*.md",
    "labs/drawings/*.svg",
    "labs/results/*.json",
    "labs/teaching/*.md",
    "labs/teaching/figures/*.png",
)
COPIED += (
    "bench/*.md",
    "bench/tables/*.md",
    "bench/tables/*.png",
    "data/*.md",
    "tests/README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
)
BELOW = {  # pages whose place in the contents is below another
    "docs/results.md": ("bench/tables/*.md", "bench/*.md"),
    "data/README.md": ("data/[!R]*.md",),
    "labs/teaching/README.md": ("labs/teaching/[!R]*.md",),
}
TABLES = ("digits", "cells")
GIVEN = """\
import numpy as np
import torch
import xferlab as xl

source, target = xl.load("digits/mnist"), xl.load("digits/optdigits")
model = xl.Classifier(xl.encoder("lenet"), classes=source.classes)
"""  # what examples of the API take as given


def lab(entry: dict) -> nbformat.NotebookNode:
    """The learner's notebook of one lab with the worked one's outputs, but for those of exercises and their checks."""
    name, number = entry["name"], entry["number"]
    page = nbformat.read(LABS / f"{name}.ipynb", as_version=4)
    worked = nbformat.read(LABS / "solutions" / f"{name}.ipynb", as_version=4)
    outputs = {cell.source: cell.outputs for cell in worked.cells if cell.cell_type == "code"}
    answers, cells = content.answers(number), []
    for cell in page.cells:
        tags = set(cell.metadata.get("tags", []))
        if "install" in tags:
            continue
        if tags & {"quiz", "stuck"}:
            hints = (
                answers["exercises"][re.search(r'stuck\("(.*)"\)', cell.source)[1]]["hints"] if "stuck" in tags else []
            )
            text = (
                "\n\n".join(quiz(question) for question in answers["quiz"]) if "quiz" in tags else folded("Hint", hints)
            )
            cell = nbformat.v4.new_markdown_cell(text)
        elif cell.cell_type == "code" and not tags & {"exercise", "check"}:
            cell.outputs = outputs.get(cell.source, [])
            about = [o.metadata.get("image/png", {}) for o in cell.outputs if "image/png" in o.get("data", {})]
            if words := " ".join(one["alt"] for one in about if "alt" in one):
                cell.metadata["mystnb"] = {"image": {"alt": words}}
        cells.append(cell)
    page.cells = cells
    return page


def quiz(question: dict) -> str:
    """A question whose options say, when opened, whether they are right and why."""
    options = (
        (option["text"], f"**{'Right.' if option['right'] else 'Not quite.'}** {option['why']}")
        for option in question["options"]
    )
    return "\n\n".join([f"**{question['question']}**", *(fold(text, why) for text, why in options)])


def folded(word: str, texts: list[str]) -> str:
    return "\n\n".join(fold(f"{word} {k}", text) for k, text in enumerate(texts, 1))


def fold(summary: str, text: str) -> str:
    summary = re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(summary, quote=False))
    return f"<details><summary>{summary}</summary>\n\n{text}\n\n</details>"


def front(entries: list[dict], folder: Path) -> str:
    """The README as the first page: a picture for either theme, a card a lab, and the contents of the whole site."""
    text = (ROOT / "README.md").read_text("utf-8")
    alt = re.search(r'<img [^>]*alt="([^"]*)"', text)[1]
    pictures = "\n".join(
        f":::{{image}} docs/few_labels_{which}.svg\n:class: only-{which}\n:alt: {alt}\n:::"
        for which in ("light", "dark")
    )
    text = re.sub(r"<picture>.*?</picture>", lambda _: pictures, text, flags=re.DOTALL)
    cards = "\n".join(card(entry, folder) for entry in entries)
    text = re.sub(
        r"<!-- labs -->.*?<!-- /labs -->", lambda _: f'<div class="labs">\n{cards}\n</div>', text, flags=re.DOTALL
    )
    text = re.sub(r"<!--.*?-->", "", text)
    contents = {
        "Learn": [f"labs/{entry['name']}" for entry in entries]
        + ["labs/self_test", "labs/glossary", "labs/cheat_sheet"],
        "Use": ["methods", "docs/library", "docs/onnx", "docs/cluster", "data/README", "api/index"],
        "Results": ["docs/results"],
        "Teach": ["labs/teaching/README"],
        "Extend": ["CONTRIBUTING", "CHANGELOG", "tests/README"],
    }
    for caption, pages in contents.items():
        kept = "\n".join(page for page in pages if any((folder / f"{page}{end}").exists() for end in (".md", ".ipynb")))
        text += f"\n:::{{toctree}}\n:hidden:\n:caption: {caption}\n\n{kept}\n:::\n"
    return text


def answer(entry: dict) -> str:
    """What the worked notebook answered to the lab's question when it was last run, as plain words; empty where it has none."""
    worked = nbformat.read(LABS / "solutions" / f"{entry['name']}.ipynb", as_version=4)
    outputs = [o for cell in worked.cells if "answer" in cell.metadata.get("tags", []) for o in cell.outputs]
    text = next((o.data["text/markdown"] for o in outputs if "text/markdown" in o.get("data", {})), "")
    return re.sub(r"^\*\*.*?\*\*\s*", "", text).replace("`", "")


def card(entry: dict, folder: Path) -> str:
    """A lab as a card of the first page: its first picture, number, title, question, minutes."""
    picture, shown = LABS / "teaching" / "figures" / f"{entry['number']}_1.png", ""
    if picture.is_file():
        small = folder / "pictures" / picture.name
        small.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(picture) as image:
            image.convert("RGB").resize((360, max(1, image.height * 360 // image.width))).save(small)
        shown = f'<span class="picture" style="background-image:url(_static/{picture.name})"></span>'
    title, question = (html.escape(entry[key], quote=False) for key in ("title", "question"))
    return (
        f'<a href="labs/{entry["name"]}.html">{shown}<b>{entry["number"]} {title}</b>'
        f'<span>{question}</span><span class="answer">{html.escape(answer(entry), quote=False)}</span>'
        f"<small>{entry['minutes']} minutes</small></a>"
    )


def methods() -> str:
    """The gallery: what each recipe is, its paper, the line that makes it, and what the tables say of it."""
    found: dict = {}
    for name in TABLES:
        for run in json.loads((ROOT / "bench" / "tables" / f"{name}.json").read_text("utf-8")):
            if run.get("target"):
                found.setdefault(tuple(run["pair"]), {}).setdefault(run["recipe"], []).append(
                    run["target"]["balanced_accuracy"]
                )
    pairs = list(found)

    def score(pair, name):
        return f"{sum(found[pair][name]) / len(found[pair][name]):.3f}" if name in found[pair] else ""

    lines = [
        "# Methods",
        "",
        "A method is a recipe: stages of training from a source to a target. This page is drawn from `xl.recipes`; the numbers",
    ]
    lines += [
        "are mean balanced accuracies at the target, over five seeds, of the tables of [digits](bench/tables/digits.md) and"
    ]
    lines += ["[rendered cells](bench/tables/cells.md), which have intervals and say how each was chosen.", ""]
    lines += [
        f"| recipe | {' | '.join(f'{a} to {b.split(chr(47))[1]}' for a, b in pairs)} |",
        "|---" * (len(pairs) + 1) + "|",
    ]
    lines += [f"| [{name}](#{name}) | {' | '.join(score(pair, name) for pair in pairs)} |" for name in xl.recipes]
    for name, recipe in xl.recipes.items():
        about = re.sub(r"arXiv:(\d+\.\d+)", r"[arXiv:\1](https://arxiv.org/abs/\1)", recipe.about)
        lines += ["", f"({name})=", f"## {name}", "", f"{about[:1].upper()}{about[1:]}.", ""]
        used = dict.fromkeys(type(o).__name__ for stage in recipe.stages if not stage.solve for o in stage.objectives())
        lines += (
            ["Objectives: " + ", ".join(f"{{py:class}}`xferlab.{one}`" for one in used if hasattr(xl, one)) + "."]
            if used
            else []
        )
        lines += ["", "```python", sources().get(name, f'xl.recipes["{name}"]'), "```"]
    return "\n".join(lines) + "\n"


def sources() -> dict[str, str]:
    """The expression that makes each recipe, by name, from the package's own text."""
    text, found = Path(inspect.getfile(xl.Recipe)).read_text("utf-8"), {}
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Call)
            and node.args
            and isinstance(node.args[0], ast.Constant)
            and node.args[0].value in xl.recipes
        ):
            found.setdefault(
                node.args[0].value, inspect.cleandoc(" " * node.col_offset + ast.get_source_segment(text, node))
            )
    return found


def api() -> dict[str, str]:
    """A page for each room of the package with a public name in it, by name: modules with their members, then names."""
    public = re.findall(r" as (\w+)", Path(xl.__file__).with_name("__init__.pyi").read_text("utf-8"))
    pages: dict[str, list[str]] = {}
    listed = {id(getattr(xl, name)) for name in public}
    for name in public:
        thing = getattr(xl, name)
        home = (
            thing if isinstance(thing, types.ModuleType) else inspect.getmodule(thing if callable(thing) else xl.Recipe)
        )
        lines = pages.setdefault(home.__name__.split(".")[1], [])
        if thing is home:
            lines.append(f".. automodule:: {home.__name__}\n   :no-members:\n")
            for member in dict.fromkeys(getattr(home, "__all__", None) or vars(home)):
                inner = getattr(home, member)
                own = hasattr(home, "__all__") or getattr(inner, "__module__", "") == home.__name__
                if own and callable(inner) and not member.startswith("_") and id(inner) not in listed:
                    listed.add(id(inner))
                    lines.append(directive(home.__name__, member, inner))
        elif callable(thing):
            lines.append(directive("xferlab", name, thing))
        else:
            lines.append(f".. py:data:: xferlab.{name}\n\n   Every recipe by name, a dict: see :doc:`/methods`.\n")
    written = {
        room: f"# {room}\n\n```{{eval-rst}}\n{chr(10).join(sorted(lines, key=first))}\n```\n"
        for room, lines in pages.items()
    }
    contents = "\n".join(sorted(written))
    written["index"] = (
        f"# API\n\nThe public names of `import xferlab as xl`, by room. Every example runs after these lines:\n\n"
        f"```python\n{GIVEN}```\n\n```{{toctree}}\n{contents}\n```\n"
    )
    return written


def first(directive: str) -> bool:
    return not directive.startswith(".. automodule")


def directive(home: str, name: str, thing) -> str:
    """How autodoc is asked for one public thing; what every objective has is told of `Objective` alone."""
    if not isinstance(thing, type):
        return f".. autofunction:: {home}.{name}\n"
    told = "forward, extra_repr" + (
        ", setup, log, after_step, finish" if issubclass(thing, xl.Objective) and thing is not xl.Objective else ""
    )
    return f".. autoclass:: {home}.{name}\n   :members:\n   :exclude-members: {told}\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", metavar="NN", help="these labs alone, for a quick look")
    options = parser.parse_args(arguments)
    folder = options.folder
    shutil.rmtree(folder, ignore_errors=True)
    for file in sorted(path for pattern in COPIED for path in ROOT.glob(pattern)):
        to = folder / file.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, to)
    entries = [entry for entry in content.course(LABS)["labs"] if entry["built"]]
    entries = [entry for entry in entries if options.only is None or entry["number"] in options.only]
    for entry in entries:
        page = lab(entry)
        for cell in page.cells:
            for name, kinds in cell.pop("attachments", {}).items():
                picture = folder / "labs" / "attached" / f"{entry['number']}_{name}"
                picture.parent.mkdir(parents=True, exist_ok=True)
                picture.write_bytes(base64.b64decode(next(iter(kinds.values()))))
                cell.source = cell.source.replace(f"attachment:{name}", f"attached/{picture.name}")
        nbformat.write(page, folder / "labs" / f"{entry['name']}.ipynb")
    pages = {"methods": methods()} | {f"api/{name}": text for name, text in api().items()}
    for name, text in pages.items():
        (folder / f"{name}.md").parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.md").write_text(text, "utf-8")
    for page, below in BELOW.items():
        inside = "\n".join(
            f"/{path.relative_to(folder).with_suffix('')}" for pattern in below for path in sorted(folder.glob(pattern))
        )
        with open(folder / page, "a", encoding="utf-8") as file:
            file.write(f"\n```{{toctree}}\n:hidden:\n\n{inside}\n```\n")
    (folder / "index.md").write_text(front(entries, folder), "utf-8")


if __name__ == "__main__":
    main()
