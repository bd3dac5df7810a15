"""Builds the course from `labs/source/NN_slug.py`: student and worked notebooks, answers, README table, teacher pack.

    python labs/build.py [NN ...] [--execute] [--check] [--publish OWNER/NAME]

Authors edit the sources and `course.toml`; everything this writes is generated, byte for byte the same each time.
`--execute` also runs the worked notebooks (profile `lab`); `--check` writes nothing and names what is out of step;
`--publish` says where on GitHub the course lies, from which badges, links, citation and install cells follow.
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
from pack import figures, pack, pictures, teaching

from xferlab.course import content, notebooks
from xferlab.storage import write_atomically

GITHUB = "https://github.com/"
HERE = Path(__file__).resolve().parent
DRAWING = re.compile(r"!\[\]\(drawings/(\w+)\.svg\)")
ADDRESS = r"[\w.-]+/[\w.-]+"


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
    text, held = cell.source, {}
    for name in DRAWING.findall(cell.source) if cell.cell_type == "markdown" else ():
        # inside the notebook, which may travel alone; Jupyter shows no SVG from there
        png = (HERE / "drawings" / f"{name}.png").read_bytes()
        held[f"{name}.png"] = {"image/png": base64.b64encode(png).decode()}
        words = re.search(r"<dc:title>(.*?)</dc:title>", (HERE / "drawings" / f"{name}.svg").read_text("utf-8"))[1]
        text = text.replace(f"![](drawings/{name}.svg)", f"![{html.unescape(words)}](attachment:{name}.png)")
    return cell.cell_type, text, metadata | ({"attachments": held} if held else {})


def header(source: Source, manifest: dict) -> list[tuple[str, str, dict]]:
    """Title, badges, minutes, objectives, what it needs, and the cell that installs on Colab: all from `course.toml`."""
    entry = source.entry
    objectives = "\n".join(f"- {objective}" for objective in entry["objectives"])
    also = "**Words:** [glossary](glossary.md)."
    if source.number == "00":
        also += " **Ready for the course?** [Five questions](self_test.md)."
    links = badges(entry, manifest)
    title = f"""# Lab {entry["number"]}: {entry["title"]}
{f"{chr(10)}{links}{chr(10)}" if links else ""}
**{entry["question"]}**

**Time:** {entry["minutes"]} minutes. **Runs on:** {entry["accelerator"]}. **Data:** {entry["data"]}.
{also}

**After this lab you can**

{objectives}"""
    needs = "notebook,nlp" if any("icd10/" in cell.source for cell in source.cells) else "notebook"
    where = f" @ git+{GITHUB}{manifest['repository']}@{manifest['branch']}" if manifest["repository"] else ""
    install = INSTALL.format(package=f"xferlab[{needs}]{where}")
    return [("markdown", title, {}), ("code", install.strip(), {"tags": ["install"]})]


INSTALL = """
# Where xferlab is missing, as on Colab and Kaggle, this installs it, and leaves the torch and numpy that are there alone.
import importlib.metadata
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("xferlab") is None:
    with open("keep.txt", "w") as file:
        for found in importlib.metadata.distributions():
            if found.metadata["Name"] in ("torch", "torchvision", "numpy"):
                print(found.metadata["Name"], found.version, sep="==", file=file)
    package = "{package}"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "-c", "keep.txt", package], check=True)
    importlib.invalidate_caches()
"""


def badges(entry: dict, manifest: dict) -> str:
    """Binder and Colab badges of one lab; nothing while the course has no address."""
    repository, branch, path = manifest["repository"], manifest["branch"], f"labs/{entry['name']}.ipynb"
    if not repository:
        return ""
    binder = f"https://mybinder.org/v2/gh/{repository}/{branch}?urlpath=lab/tree/{path}"
    colab = f"https://colab.research.google.com/github/{repository}/blob/{branch}/{path}"
    return (
        f"[![Open lab {entry['number']} in Binder](https://mybinder.org/badge_logo.svg)]({binder}) "
        f"[![Open lab {entry['number']} in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab})"
    )


def table(manifest: dict) -> str:
    """The README's labs: number, question, minutes, and badges where there is an address."""
    shown = bool(manifest["repository"])
    rows = ["| Lab | What it asks | Minutes |" + " Open |" * shown, "|---|---|---|" + "---|" * shown]
    for entry in manifest["labs"]:
        title = html.escape(f"{entry['number']} {entry['title']}")
        title = f"[{title}](labs/{entry['name']}.ipynb)" if entry["built"] else f"{title} (planned)"
        links = f" {badges(entry, manifest) if entry['built'] else ''} |" if shown else ""
        rows.append(f"| {title} | {entry['question']} | {entry['minutes']} |{links}")
    return "\n".join(rows)


def readme(text: str, manifest: dict, labs: Path) -> str:
    """`text` with what stands between its markers renewed: the table of labs, and what `make run` printed last."""
    name = manifest["repository"]
    parts = {
        "clone": f"```sh\ngit clone {GITHUB}{name}\ncd {name.split('/')[-1]}\n```" if name else "",
        "labs": table(manifest),
        "run": printed(labs / "solutions" / "02_imagenet_to_medical.ipynb"),
    }
    for name, part in parts.items():
        new = f"<!-- {name} -->\n{part}\n<!-- /{name} -->"
        text = re.sub(f"<!-- {name} -->.*?<!-- /{name} -->", lambda _, new=new: new, text, flags=re.DOTALL)
    return text


def printed(worked: Path) -> str:
    """The first table that a worked notebook's results cell printed, as a block of text."""
    cells = nbformat.read(worked, as_version=4).cells if worked.is_file() else []
    outputs = [o for c in cells if "results" in c.metadata.get("tags", []) for o in c.outputs]
    texts = [o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs]
    lines = (line.rstrip() for line in "\n\n".join(texts).lstrip().split("\n\n")[0].splitlines())
    return "\n".join(["```text", *lines, "```"])


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

    # an address changes the cell that installs and nothing that was printed
    def said(cell):
        return "" if "install" in cell.metadata.get("tags", []) else cell.source

    if list(map(said, old)) == list(map(said, new)):
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


def publish(repository: str, labs: Path) -> None:
    """Writes the address to where it is not generated: `course.toml`, and the two files that say who made the package."""
    lines = {
        labs / "course.toml": (r'^repository = ".*"$', f'repository = "{repository}"'),
        labs.parent / "CITATION.cff": (r"^(repository-code: .*\n|\Z)", f"repository-code: {GITHUB}{repository}\n"),
        labs.parent / "pyproject.toml": (
            r"^(\[project\.urls\]\nSource = .*\n\n)?\[project\.scripts\]",
            f'[project.urls]\nSource = "{GITHUB}{repository}"\n\n[project.scripts]',
        ),
    }
    for path, (pattern, line) in lines.items():
        if path.is_file():
            text = re.sub(pattern, line, path.read_text("utf-8"), count=1, flags=re.MULTILINE)
            with write_atomically(path) as temporary:
                temporary.write_text(text, "utf-8")


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
    notebooks.execute(built, cwd=root, timeout=None, env=env)  # its author may share the machine
    clean(built, root)
    with write_atomically(path) as temporary:
        temporary.write_text(write_notebook(built), "utf-8")
    held = path.parents[1] / "teaching" / "figures"
    for earlier in held.glob(f"{path.name[:2]}_*.png"):
        earlier.unlink()
    for k, output in enumerate(pictures(path), 1):  # for slides, and for the README
        with write_atomically(held / f"{path.name[:2]}_{k}.png") as temporary:
            temporary.write_bytes(base64.b64decode(output.data["image/png"]))


def main(arguments: list[str] | None = None, labs: Path | None = None) -> int:
    labs = labs or Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="*", metavar="NN", help="which labs (default: all that have a source)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail and name what is out of step")
    parser.add_argument("--execute", action="store_true", help="run the worked notebooks in the profile `lab`")
    parser.add_argument("--publish", metavar="OWNER/NAME", help="write this address everywhere first")
    options = parser.parse_args(arguments)
    if options.publish:
        if not re.fullmatch(ADDRESS, options.publish):
            parser.error(f"--publish is {options.publish!r}, expected OWNER/NAME as on GitHub")
        publish(options.publish, labs)
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
        files[page] = readme(page.read_text("utf-8"), content.course(labs), labs)
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
