"""Builds the course from `labs/source/NN_slug.py`: student and worked notebooks, answers, README table, teacher pack.

    python labs/build.py [NN ...] [--execute] [--check]

Authors edit the sources and `course.toml`; everything this writes is generated, byte for byte the same each time.
`--execute` also runs the worked notebooks (profile `lab`); `--check` writes nothing and names what is out of step.
"""

from __future__ import annotations

import argparse
import base64
import html
import os
import re
import sys
from pathlib import Path

import nbformat
from authoring import Source, load, tag
from pack import costs, figures, pack, pictures, teaching

from xferlab.course import content, notebooks
from xferlab.storage import write_atomically

ADDRESS = re.compile(r"^[\w.-]+/[\w.-]+$")


def student(source: Source, manifest: dict) -> nbformat.NotebookNode:
    """The notebook a learner gets: starters, checks and calls that open hints, and no answer anywhere."""
    cells = header(source, manifest)
    asked = False
    for cell in source.cells:
        if tag(cell) in ("solution", "hints", "wrong", "mistakes"):
            continue
        if tag(cell) == "quiz":
            if not asked:
                cells.append(("code", f'xl.checks.quiz("{source.number}")', {"tags": ["quiz"]}))
            asked = True
            continue
        cells.append(_kept(cell))
        if tag(cell) == "check":
            cells.append(("code", f'xl.checks.stuck("{cell.metadata["exercise"]}")', {"tags": ["stuck"]}))
    return notebooks.assemble(source.number, cells)


def worked(source: Source, manifest: dict) -> nbformat.NotebookNode:
    """The notebook with answers in place of starters, as it lies in `solutions`, one folder down."""
    built = notebooks.worked(source.number, student(source, manifest), answers(source))
    built.cells[0].source = re.sub(r"\]\((\w+\.md)\)", r"](../\1)", built.cells[0].source)
    return built


def answers(source: Source) -> dict:
    """What `xferlab.checks` serves: hints, named mistakes and solutions by exercise, and the quiz."""
    exercises = {
        name: {part: e[part] for part in ("hints", "mistakes", "solution")} for name, e in source.exercises.items()
    }
    return {"exercises": exercises, "quiz": source.quiz}


def rehearsal(source: Source, manifest: dict) -> nbformat.NotebookNode:
    """A notebook for tests: at each exercise the blank fails, every wrong answer is named, and the solution passes."""
    cells = header(source, manifest)
    for cell in source.cells:
        if tag(cell) in ("", "solution"):
            cells.append(_kept(cell))
        name = cell.metadata.get("exercise", "")
        if tag(cell) != "check":
            continue
        exercise, verdict = source.exercises[name], f'xl.checks.verdicts["{name}"]'
        solution = "\n".join(text for kind, text in exercise["solution"] if kind == "code")
        tries = [("blank", exercise["starter"]), *exercise["wrong"], ("", solution)]
        for mistake, code in tries:
            seen = f"assert ({verdict}.mistake, {verdict}.passed) == ({mistake!r}, {not mistake}), {verdict}"
            cells.append(("code", f"{code}\n{cell.source}\n{seen}", {}))
    return notebooks.assemble(source.number, cells)


def _kept(cell) -> tuple[str, str, dict]:
    metadata = {key: cell.metadata[key] for key in ("tags", "exercise") if key in cell.metadata}
    return cell.cell_type, cell.source, metadata


def header(source: Source, manifest: dict) -> list[tuple[str, str, dict]]:
    """Title, badges, minutes, objectives, what it needs, and the cell that installs on Colab: all from `course.toml`."""
    entry = source.entry
    objectives = "\n".join(f"- {objective}" for objective in entry["objectives"])
    also = "**Words:** [glossary](glossary.md)."
    if source.number == "00":
        also += " **Ready for the course?** [Five questions](self_test.md)."
    title = f"""# Lab {entry["number"]}: {entry["title"]}

{badges(entry, manifest)}

**Time:** {entry["minutes"]} minutes. **Runs on:** {entry["accelerator"]}. **Data:** {entry["data"]}.
{also}

**After this lab you can**

{objectives}"""
    install = INSTALL if ADDRESS.match(manifest["repository"]) else NO_ADDRESS
    extras = "labs,nlp" if any("icd10/" in cell.source for cell in source.cells) else "labs"
    install = install.format(repository=manifest["repository"], branch=manifest["branch"], extras=extras)
    return [("markdown", title, {}), ("code", install.strip(), {"tags": ["install"]})]


INSTALL = """
# On Colab this installs xferlab, once, and leaves the torch and numpy that are there alone. Elsewhere it does nothing.
import importlib.util

if importlib.util.find_spec("xferlab") is None:
    import importlib.metadata
    import subprocess
    import sys

    with open("keep.txt", "w") as file:
        for name in ("torch", "torchvision", "numpy"):
            file.write(f"{{name}}=={{importlib.metadata.version(name)}}\\n")
    package = "xferlab[{extras}] @ git+https://github.com/{repository}@{branch}"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "-c", "keep.txt", package], check=True)
"""
NO_ADDRESS = """
# xferlab has no public address yet, so it must be installed already: pip install -e ".[labs]" in your copy of it.
import xferlab
"""


def badges(entry: dict, manifest: dict) -> str:
    """Binder and Colab badges of one lab, or the manifest's line that says there is no address."""
    repository, branch, path = manifest["repository"], manifest["branch"], f"labs/{entry['name']}.ipynb"
    if not ADDRESS.match(repository):
        return f"*Binder and Colab: {repository}.*"
    binder = f"https://mybinder.org/v2/gh/{repository}/{branch}?urlpath=lab/tree/{path}"
    colab = f"https://colab.research.google.com/github/{repository}/blob/{branch}/{path}"
    return (
        f"[![Open lab {entry['number']} in Binder](https://mybinder.org/badge_logo.svg)]({binder}) "
        f"[![Open lab {entry['number']} in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab})"
    )


def table(manifest: dict, measured: dict[str, str]) -> str:
    """The README's lab table, with what each lab was measured to cost (see `costs`)."""
    rows = ["| Lab | Minutes | Runs in | Data | Worked | Open |", "|---|---|---|---|---|---|"]
    for entry in manifest["labs"]:
        title = html.escape(f"{entry['number']} {entry['title']}")
        if entry["built"]:
            title = f"[{title}](labs/{entry['name']}.ipynb)"
        solution = f"[with answers](labs/solutions/{entry['name']}.ipynb)" if entry["built"] else "planned"
        links = badges(entry, manifest) if entry["built"] else ""
        cost = measured.get(entry["number"], "")
        rows.append(f"| {title} | {entry['minutes']} | {cost} | {entry['data']} | {solution} | {links} |")
    return "\n".join(rows)


def readme(text: str, manifest: dict, measured: dict[str, str]) -> str:
    """`text` with the lab table between its markers renewed; unchanged when it has none."""
    new = f"<!-- labs -->\n{table(manifest, measured)}\n<!-- /labs -->"
    return re.sub(r"<!-- labs -->.*?<!-- /labs -->", lambda _: new, text, flags=re.DOTALL)


def write_notebook(built) -> str:
    return nbformat.writes(built).rstrip("\n") + "\n"


def without_outputs(text: str) -> str:
    """A notebook's text with outputs and execution counts removed: what a worked notebook is compared on."""
    built = nbformat.reads(text, as_version=4)
    for cell in built.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return write_notebook(built)


def carried(earlier: str, text: str) -> str:
    """The worked notebook `text` with the outputs of the one on disk, where both have the same code: prose may change."""
    notebooks = [nbformat.reads(which, as_version=4) for which in (earlier, text)]
    old, new = ([cell for cell in notebook.cells if cell.cell_type == "code"] for notebook in notebooks)
    if [cell.source for cell in old] == [cell.source for cell in new]:
        for before, cell in zip(old, new, strict=True):
            cell.outputs, cell.execution_count = before.outputs, before.execution_count
    return write_notebook(notebooks[1])


def clean(built, root: Path) -> None:
    """Drops from an executed notebook what differs between runs and machines or only swells it."""
    for cell in built.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type != "code":
            continue
        cell.outputs = [o for o in cell.outputs if not (o.output_type == "stream" and o.name == "stderr")]
        for output in cell.outputs:
            data = output.get("data", {})
            if "alt" in output.get("metadata", {}).get("image/png", {}):
                data.pop("text/html", None)  # the same picture again; `lab.to_html` restores its alt text
            data.pop("application/vnd.jupyter.widget-view+json", None)  # dead without its kernel
            if "text" in output:
                output.text = _placeless(output.text, root)
            data.update({k: _placeless(v, root) for k, v in data.items() if k in ("text/plain", "text/html")})
    built.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


def _placeless(text: str, root: Path) -> str:
    return text.replace(str(root.resolve()), ".").replace(str(Path.home()), "~")


def generated(source: Source, manifest: dict, labs: Path) -> dict[Path, str]:
    """Every generated file of one lab, by path."""
    name = source.entry["name"]
    return {
        labs / f"{name}.ipynb": write_notebook(student(source, manifest)),
        labs / "solutions" / f"{name}.ipynb": write_notebook(worked(source, manifest)),
        labs / "answers" / f"{source.number}.txt": content.packed(answers(source)),
        labs / "teaching" / f"{source.number}.md": teaching(source),
    }


def in_step(path: Path, text: str) -> bool:
    """Whether the file on disk says what the source says; a worked notebook is compared without its outputs."""
    if not path.is_file():
        return False
    found = path.read_text("utf-8")
    if path.suffix == ".txt":  # compressed, and not by the same bytes with every version of zlib
        found, text = content.unpacked(found), content.unpacked(text)
    return (without_outputs(found) if path.parent.name == "solutions" else found) == text


def run_worked(path: Path, root: Path) -> None:
    """Executes a worked notebook in the `lab` profile and writes it back, cleaned."""
    built = nbformat.read(path, as_version=4)
    env = {"XFERLAB_PROFILE": os.environ.get("XFERLAB_PROFILE", "lab")}
    notebooks.execute(built, cwd=root, env=env)
    clean(built, root)
    with write_atomically(path) as temporary:
        temporary.write_text(write_notebook(built), "utf-8")
    for k, output in enumerate(pictures(path), 1):  # for slides, and for the README
        with write_atomically(path.parents[1] / "teaching" / "figures" / f"{path.name[:2]}_{k}.png") as temporary:
            temporary.write_bytes(base64.b64decode(output.data["image/png"]))


def main(arguments: list[str] | None = None, labs: Path | None = None) -> int:
    labs = labs or Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="*", metavar="NN", help="which labs (default: all that have a source)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail and name what is out of step")
    parser.add_argument("--execute", action="store_true", help="run the worked notebooks in the profile `lab`")
    options = parser.parse_args(arguments)
    numbers = options.numbers or [e["number"] for e in content.course(labs)["labs"] if e["built"]]
    files, executed, sources = {}, [], []
    for number in numbers:
        source, manifest = load(labs, number)
        files |= generated(source, manifest, labs)
        executed.append(labs / "solutions" / f"{source.entry['name']}.ipynb")
        sources.append(source)
    if not options.numbers and sources:
        files |= pack(labs, sources, manifest)
    page = labs.parent / "README.md"
    if page.is_file():
        files[page] = readme(page.read_text("utf-8"), content.course(labs), costs(labs))
    stale = [path for path, text in files.items() if not in_step(path, text)]
    for path in stale:
        shown = path.relative_to(labs.parent)
        print(f"out of step: {shown}" if options.check else f"writing {shown}")
        if not options.check:
            text = files[path]
            if path.parent.name == "solutions" and path.is_file():
                text = carried(path.read_text("utf-8"), text)
            with write_atomically(path) as temporary:
                temporary.write_text(text, "utf-8")
    for path in executed if options.execute and not options.check else []:
        print(f"running {path.relative_to(labs.parent)}", flush=True)
        run_worked(path, labs.parent)
    if options.execute and not options.check and not options.numbers:
        with write_atomically(labs / "teaching" / "figures.md") as temporary:
            temporary.write_text(figures(labs, sources), "utf-8")
    if options.check and stale:
        print("run: python labs/build.py")
    return int(bool(options.check and stale))


if __name__ == "__main__":
    sys.exit(main())
