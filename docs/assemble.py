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
import result_pictures
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
EVERYDAY = ("draw", "group", "prediction", "separated")  # of the glossary's words those that mostly mean something else
DRAWINGS = {  # which drawing of the course shows a method
    "fine_tuning": "linear_probe norm_only layerwise gradual_unfreeze lp_ft",
    "depth_probe": "depth_probe depth_target_norm depth_adabn depth_lp_ft",
    "batch_norm": "source_only_joint_bn adabn colour_adabn tent",
    "gradient_reversal": "dann cdan cdan_e mdd mcd wdgrl bsp",
    "mmd_coral": "mmd mmd_linear jmmd coral",
    "optimal_transport": "sliced_wasserstein deep_jdot",
    "pseudo_labels": "pseudo_label fixmatch mean_teacher",
}
METHODS = """\
# Methods

A method is a recipe: stages of training from a source to a target. This page is drawn from `xl.recipes`; the numbers are mean
balanced accuracies at the target, over five seeds, of the tables of [digits](bench/tables/digits.md) and
[rendered cells](bench/tables/cells.md), which have intervals and say how each was chosen. An empty place is a recipe that is newer
than its table.
"""
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
    link_words(cells, glossary())
    page.cells = cells
    return page


def glossary() -> dict[str, str]:
    """The glossary's words as they stand in a sentence, each with the name of its entry; LoRA keeps its letters, Encoder does not."""
    found = {}
    for line in re.findall(r"^\*\*(.+?)\*\*(?: \((\w+)\))?", (LABS / "glossary.md").read_text("utf-8"), re.MULTILINE):
        for word in filter(None, [*re.sub(r" \(.*", "", line[0]).split(", "), line[1]]):
            found[word if word[1:] != word[1:].lower() else word.lower()] = line[0]
    return {word: entry for word, entry in found.items() if word not in EVERYDAY}


def anchor(entry: str) -> str:
    return "word-" + re.sub(r"\W+", "-", entry.lower()).strip("-")


def link_words(cells: list, words: dict[str, str]) -> None:
    """Links the first occurrence on a page of each word of the glossary; not in headings, code, mathematics, links, tables or HTML."""
    kept = r"```.*?```|`[^`]*`|\$[^$]*\$|!?\[[^\]]*\]\([^)]*\)|<[^>]*>|^#[^\n]*|^\|[^\n]*|https?://\S+"
    said = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    left = set(words.values())

    def link(match) -> str:
        entry = words.get(match[1] or "") or words.get((match[1] or "").lower())
        if entry not in left:
            return match[0]
        left.remove(entry)
        return f"[{match[0]}](#{anchor(entry)})"

    for cell in cells:
        if cell.cell_type == "markdown" and "<details>" not in cell.source:
            pattern = rf"{kept}|(?<!public )(?<![\w\-\[])({said})s?(?![\w\-\]])"
            cell.source = re.sub(pattern, link, cell.source, flags=re.DOTALL | re.MULTILINE | re.IGNORECASE)


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
    pictures = result_pictures.either("docs/few_labels", alt)
    text = re.sub(r"<picture>.*?</picture>", lambda _: pictures, text, flags=re.DOTALL)
    text = re.sub(r"^!\[.*\.svg\)$", r"::::{container} wide\n\g<0>\n::::", text, flags=re.MULTILINE)
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
    """The gallery: what each recipe is, its paper and drawing, the line that makes it, and what the tables say of it."""
    found: dict = {}
    for name in TABLES:
        for run in json.loads((ROOT / "bench" / "tables" / f"{name}.json").read_text("utf-8")):
            if run.get("target"):
                pair = " to ".join([run["pair"][0], run["pair"][1].split("/")[1]])
                found.setdefault(pair, {}).setdefault(run["recipe"], []).append(run["target"]["balanced_accuracy"])
    rows = {
        name: {pair: sum(of[name]) / len(of[name]) for pair, of in found.items() if name in of} for name in xl.recipes
    }
    shown = dict(re.findall(r"!\[(.*?)\]\(drawings/(\w+)\.svg\)", (LABS / "glossary.md").read_text("utf-8")))
    alts, lines = {drawing: alt for alt, drawing in shown.items()}, [METHODS, f"| recipe | {' | '.join(found)} |"]
    lines.append("|---" * (len(found) + 1) + "|")
    for name, row in rows.items():
        lines.append(f"| [{name}](#{name}) | {' | '.join(f'{row[p]:.3f}' if p in row else '' for p in found)} |")
    first_of: dict[str, str] = {}
    for name, recipe in xl.recipes.items():
        about = re.sub(r"arXiv:(\d+\.\d+)", r"[arXiv:\1](https://arxiv.org/abs/\1)", recipe.about)
        lines += ["", f"({name})=", f"## {name}", "", f"{about[:1].upper()}{about[1:]}.", ""]
        used = dict.fromkeys(type(o).__name__ for stage in recipe.stages if not stage.solve for o in stage.objectives())
        if used:
            lines += [
                "Objectives: " + ", ".join(f"{{py:class}}`xferlab.{one}`" for one in used if hasattr(xl, one)) + ".",
                "",
            ]
        said = "; ".join(f"{pair} {score:.3f}" for pair, score in rows[name].items())
        lines += [f"Balanced accuracy at the target: {said}." if said else "Newer than these tables.", ""]
        drawing = next((drawing for drawing, names in DRAWINGS.items() if name in names.split()), None)
        if drawing and (other := first_of.setdefault(drawing, name)) == name:
            lines += [f"![{alts[drawing]}](labs/drawings/{drawing}.svg)", ""]
        elif drawing:
            lines += [f"The drawing is that of [{other}](#{other}).", ""]
        lines += ["```python", sources().get(name, f'xl.recipes["{name}"]'), "```"]
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
    for name in result_pictures.WHAT:
        page = folder / "bench" / "tables" / f"{name}.md"
        page.write_text(result_pictures.with_pictures(page.read_text("utf-8"), name, page.parent), "utf-8")
    words = folder / "labs" / "glossary.md"
    words.write_text(
        re.sub(r"^\*\*(.+?)\*\*", lambda m: f"({anchor(m[1])})=\n{m[0]}", words.read_text("utf-8"), flags=re.MULTILINE),
        "utf-8",
    )
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
