"""Builds the course from `labs/source/NN_slug.py`: student and worked notebooks, packaged hints, README table, teacher pack.

    python -m xferlab.course.build [NN ...] [--execute] [--check]

Authors edit the sources and `course.toml`; everything this writes is generated, byte for byte the same each time.
`--execute` also runs the worked notebooks (profile `lab`); `--check` writes nothing and names what is out of step.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import html
import json
import os
import re
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import jupytext
import nbformat

from ..storage import write_atomically
from . import lab as labs_api

QUIZ_OPTION = re.compile(r"^[-*] \[([ xX])\] (.*)$")
ADDRESS = re.compile(r"^[\w.-]+/[\w.-]+$")


class SourceError(SystemExit):
    """A lab source that breaks the authoring format: says which file, which cell and what to write instead."""


@dataclass
class Source:
    """One lab as authored: its manifest entry, its cells, and what the tagged cells hold."""

    entry: dict
    cells: list
    exercises: dict[str, dict] = field(default_factory=dict)
    quiz: list[dict] = field(default_factory=list)

    @property
    def number(self) -> str:
        return self.entry["number"]


def tag(cell) -> str:
    """The one tag that decides where a cell goes, or an empty string."""
    routed = {"exercise", "solution", "check", "hints", "wrong", "quiz"}
    return next((t for t in cell.metadata.get("tags", []) if t in routed), "")


def read(path: Path, entry: dict) -> Source:
    """Parses a source and checks it against the format; raises `SourceError`."""
    source = Source(entry, jupytext.reads(path.read_text("utf-8"), fmt="py:percent").cells)
    level = 1
    for cell in source.cells:
        where = f"{path.name}, cell starting {cell.source[:50]!r}"
        if cell.cell_type == "markdown" and tag(cell) == "":
            level = _headings(cell.source, level, where)
        if tag(cell) == "quiz":
            source.quiz.append(_question(cell.source, where))
        elif tag(cell):
            _collect(source, cell, where)
    for name, exercise in source.exercises.items():
        need = ["starter", "solution"] if f"{source.number}.p" in name else ["starter", "solution", "hints", "check"]
        missing = [part for part in need if not exercise[part]]
        if missing:
            raise SourceError(f"{path.name}: exercise {name} has no {' and no '.join(missing)} cell")
    return source


def _headings(text: str, level: int, where: str) -> int:
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for marks in re.findall(r"^(#+) ", text, flags=re.MULTILINE):
        if len(marks) == 1:
            raise SourceError(f"{where}: the title comes from course.toml, so sections start at ##")
        if len(marks) > level + 1:
            raise SourceError(
                f"{where}: a heading of level {len(marks)} follows one of level {level}; none may be skipped"
            )
        level = len(marks)
    return level


def _collect(source: Source, cell, where: str) -> None:
    name = cell.metadata.get("exercise", "")
    if not re.fullmatch(rf"{source.number}\.p?\d+", name):
        raise SourceError(f'{where}: a cell tagged {tag(cell)!r} needs exercise="{source.number}.K", not {name!r}')
    blank = {"starter": "", "solution": [], "hints": [], "check": "", "wrong": []}
    exercise = source.exercises.setdefault(name, blank)
    if tag(cell) == "exercise":
        exercise["starter"] = cell.source
    elif tag(cell) == "check":
        exercise["check"] = cell.source
        if f'check("{name}"' not in cell.source:
            raise SourceError(f'{where}: the check cell should call xl.checks.check("{name}", ...)')
    elif tag(cell) == "solution":
        exercise["solution"].append([cell.cell_type, cell.source])
    elif tag(cell) == "wrong":
        if not cell.metadata.get("mistake"):
            raise SourceError(f'{where}: a wrong answer needs mistake="the_name_its_recogniser_gives"')
        exercise["wrong"].append([cell.metadata["mistake"], cell.source])
    elif tag(cell) == "hints":
        exercise["hints"] = [h.strip() for h in re.split(r"^\d\. ", cell.source, flags=re.MULTILINE) if h.strip()]
        if len(exercise["hints"]) != 3:
            raise SourceError(f"{where}: three numbered hints (nudge, name, code), not {len(exercise['hints'])}")


def _question(text: str, where: str) -> dict:
    question, options = [], []
    for line in text.splitlines():
        if option := QUIZ_OPTION.match(line):
            options.append({"text": option[2].strip(), "right": option[1] != " ", "why": ""})
        elif options:
            options[-1]["why"] = f"{options[-1]['why']} {line.strip()}".strip()
        else:
            question.append(line.lstrip("# ").rstrip())
    question = " ".join(filter(None, question))
    if not question or len(options) < 2 or sum(o["right"] for o in options) != 1 or not all(o["why"] for o in options):
        raise SourceError(
            f"{where}: a question, then `- [ ] option` lines, one `[x]`, each followed by its explanation"
        )
    return {"question": question, "options": options}


# ------------------------------------------------------------------ notebooks


def student(source: Source, manifest: dict) -> nbformat.NotebookNode:
    """The notebook a learner gets: starters, checks and calls that open hints, and no answer anywhere."""
    cells = header(source, manifest)
    asked = False
    for cell in source.cells:
        if tag(cell) in ("solution", "hints", "wrong"):
            continue
        if tag(cell) == "quiz":
            if not asked:
                cells.append(("code", f'xl.checks.quiz("{source.number}")', {"tags": ["quiz"]}))
            asked = True
            continue
        cells.append(_kept(cell))
        if tag(cell) == "check":
            cells.append(("code", f'xl.checks.stuck("{cell.metadata["exercise"]}")', {"tags": ["stuck"]}))
    return notebook(source, cells)


def worked(source: Source, manifest: dict) -> nbformat.NotebookNode:
    """The notebook with answers in place of starters and every quiz option explained; strict about its own checks."""
    cells = header(source, manifest, strict=True)
    for cell in source.cells:
        if tag(cell) == "quiz":
            cells.append(("markdown", quiz_text(_question(cell.source, "")), {}))
        elif tag(cell) not in ("exercise", "hints", "wrong"):
            cells.append(_kept(cell))
    return notebook(source, cells)


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
    return notebook(source, cells)


def _kept(cell) -> tuple[str, str, dict]:
    metadata = {key: cell.metadata[key] for key in ("tags", "exercise") if key in cell.metadata}
    return cell.cell_type, cell.source, metadata


def notebook(source: Source, cells: list[tuple[str, str, dict]]) -> nbformat.NotebookNode:
    """A notebook without outputs whose cell ids follow from content, so that equal sources give equal bytes."""
    built, seen = nbformat.v4.new_notebook(), {}
    for kind, text, metadata in cells:
        make = {"code": nbformat.v4.new_code_cell, "markdown": nbformat.v4.new_markdown_cell}[kind]
        name = hashlib.sha256(f"{source.number}\n{kind}\n{text}".encode()).hexdigest()[:10]
        seen[name] = seen.get(name, 0) + 1
        built.cells.append(make(text, metadata=metadata, id=f"{name}-{seen[name]}"))
    built.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    built.nbformat, built.nbformat_minor = 4, 5
    return built


def header(source: Source, manifest: dict, strict: bool = False) -> list[tuple[str, str, dict]]:
    """Title, badges, minutes, objectives, what it needs, and the cell that installs on Colab: all from `course.toml`."""
    entry = source.entry
    objectives = "\n".join(f"- {objective}" for objective in entry["objectives"])
    up = "../" if strict else ""  # worked notebooks lie one folder down
    also = f"**Words:** [glossary]({up}glossary.md)."
    if source.number == "00":
        also += f" **Ready for the course?** [Five questions]({up}self_test.md)."
    title = f"""# Lab {entry["number"]}: {entry["title"]}

{badges(entry, manifest)}

**Time:** {entry["minutes"]} minutes. **Runs on:** {entry["accelerator"]}. **Data:** {entry["data"]}.
{also}

**After this lab you can**

{objectives}"""
    install = INSTALL if ADDRESS.match(manifest["repository"]) else NO_ADDRESS
    extras = "labs,nlp" if any("icd10/" in cell.source for cell in source.cells) else "labs"
    install = install.format(repository=manifest["repository"], branch=manifest["branch"], extras=extras)
    cells = [("markdown", title, {}), ("code", install.strip(), {"tags": ["install"]})]
    if strict:
        cells[-1] = ("code", f"{install.strip()}\n{STRICT.strip()}", {"tags": ["install"]})
    return cells


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
STRICT = """
import os

os.environ["XFERLAB_STRICT"] = "1"  # in this worked notebook a check that fails stops the run
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


def quiz_text(question: dict) -> str:
    lines = [f"**{question['question']}**", ""]
    for option in question["options"]:
        lines.append(f"- {'**Right:**' if option['right'] else 'Not quite:'} {option['text']}  \n  {option['why']}")
    return "\n".join(lines)


# ------------------------------------------------------------------ everything else


def package_data(source: Source, labs: Path) -> dict:
    """What `xferlab.checks` serves: hints, solutions, starters, quiz, committed results."""
    results = {
        file.stem.removeprefix(f"{source.number}_"): json.loads(file.read_text("utf-8"))
        for file in sorted((labs / "results").glob(f"{source.number}_*.json"))
    }
    exercises = {
        name: {"hints": e["hints"], "solution": e["solution"], "starter": e["starter"]}
        for name, e in source.exercises.items()
    }
    return {
        "title": source.entry["title"],
        "exercises": exercises,
        "quiz": source.quiz,
        "results": results,
        "sections": sections(source),
    }


def sections(source: Source) -> list[dict]:
    """The lab's own code under each `##` heading, for `xl.lab.resume`: no exercises, on which nothing later may depend,
    but predictions as they start out, blank: the options they name are used later."""
    found: list[dict] = []
    early: list[str] = []
    for cell in source.cells:
        if cell.cell_type == "markdown" and tag(cell) == "":
            prose = re.sub(r"```.*?```", "", cell.source, flags=re.DOTALL)
            found += [{"title": t, "code": []} for t in re.findall(r"^## (.*)$", prose, flags=re.MULTILINE)]
        elif (
            cell.cell_type == "code"
            and cell.source
            and (tag(cell) == "" or (tag(cell) == "exercise" and ".p" in cell.metadata["exercise"]))
        ):
            (found[-1]["code"] if found else early).append(cell.source)
    if found:
        found[0]["code"][:0] = early
    return found


def teaching(source: Source) -> str:
    """The answer key of one lab: each exercise with its solution, its hints and the mistakes to expect; the quiz."""
    entry = source.entry
    lines = [f"# Lab {entry['number']}: {entry['title']} (answer key)", "", f"{entry['minutes']} minutes.", ""]
    for name, exercise in source.exercises.items():
        kind = "Prediction" if ".p" in name else "Exercise"
        lines += [f"## {kind} {name}", "", "### Starter", "", _fenced(exercise["starter"]), "", "### Solution", ""]
        for cell_type, text in exercise["solution"]:
            lines += [_fenced(text) if cell_type == "code" else text, ""]
        if exercise["hints"]:
            lines += ["### Hints", "", *(f"{n}. {hint}" for n, hint in enumerate(exercise["hints"], 1)), ""]
        if exercise["wrong"]:
            lines += ["### Common wrong answers", ""]
            for mistake, code in exercise["wrong"]:
                lines += [f"{mistake.replace('_', ' ').capitalize()}:", "", _fenced(code), ""]
    if source.quiz:
        lines += ["## Quiz", ""]
        for question in source.quiz:
            lines += [quiz_text(question), ""]
    return "\n".join(lines)


def _fenced(code: str) -> str:
    return f"```python\n{code}\n```"


# ------------------------------------------------------------------ the teacher pack


def pack(labs: Path, sources: list[Source], manifest: dict) -> dict[Path, str]:
    """The generated pages of the teacher pack beside the answer keys, by path."""
    folder, measured = labs / "teaching", costs(labs)
    keys = "\n".join(
        f"- [{s.number} {s.entry['title']}]({s.number}.md), {s.entry['minutes']} minutes"
        + (f"; runs in {measured[s.number]}" if s.number in measured else "")
        for s in sources
    )
    pages = {"misconceptions.md": misconceptions(sources), "figures.md": figures(labs, sources)}
    if (folder / "schedule.toml").is_file():
        pages["schedules.md"] = schedules(tomllib.loads((folder / "schedule.toml").read_text("utf-8")), manifest)
    others = "\n".join(f"- [{page.stem}]({page.name})" for page in sorted(folder.glob("*.md")) if page.name in FIXED)
    made = "\n".join(f"- [{name.removesuffix('.md')}]({name})" for name in sorted(pages))
    pages["README.md"] = f"# Teacher pack\n\n{made}\n{others}\n\n## Answer keys\n\n{keys}\n"
    return {folder / name: text for name, text in pages.items()}


def costs(labs: Path) -> dict[str, str]:
    """What `bench/budgets.py` measured of each lab in profile `lab`, by number: seconds, and the peak of its largest process."""
    file = labs / "budgets.json"
    rows = json.loads(file.read_text("utf-8")) if file.is_file() else []
    return {
        row["lab"]: f"{row['seconds']:.0f} s, {row['peak_mb'] * 2**20 / 1e9:.1f} GB"
        for row in rows
        if row["profile"] == "lab"
    }


FIXED = ("checklist.md", "rubric.md")  # written by hand


def schedules(plans: dict, manifest: dict) -> str:
    """Timetables: a lab takes its minutes from `course.toml`, anything else says its own."""
    by_number = {entry["number"]: entry for entry in manifest["labs"]}
    lines = ["# Schedules", "", "Minutes of labs are those of `course.toml`; the rest is in `schedule.toml`.", ""]
    for schedule in plans["schedule"]:
        hour, minute = map(int, schedule["start"].split(":"))
        now = begin = 60 * hour + minute
        rows, learning = ["| From | To | Minutes | What |", "|---|---|---|---|"], 0
        for item in schedule["plan"]:
            if isinstance(item, str):
                entry = by_number[item]
                what, minutes = (
                    f"Lab {item}: {entry['title']}{'' if entry['built'] else ' (planned)'}",
                    entry["minutes"],
                )
                learning += minutes
            else:
                what, minutes = item
            rows.append(f"| {_clock(now)} | {_clock(now + minutes)} | {minutes} | {what} |")
            now += minutes
        spent = f"{schedule['start']} to {_clock(now)}: {now - begin} minutes, {learning} of them in labs."
        lines += [f"## {schedule['title']}", "", spent, "", *rows, ""]
    return "\n".join(lines)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def misconceptions(sources: list[Source]) -> str:
    """Every expected wrong answer of the course, an exercise a row."""
    lines = ["# Common misconceptions", "", "Each is recognised by the exercise's check, which says what is wrong.", ""]
    for source in sources:
        lines += [f"## Lab {source.number}: [{source.entry['title']}]({source.number}.md)", ""]
        lines += ["| Exercise | Mistake | For example |", "|---|---|---|"]
        for name, exercise in source.exercises.items():
            for mistake, code in exercise["wrong"]:
                telling = next((c for c in reversed(code.splitlines()) if c.strip()), "").strip().replace("|", "\\|")
                lines.append(f"| {name} | {mistake.replace('_', ' ')} | `{telling}` |")
        lines.append("")
    return "\n".join(lines)


def figures(labs: Path, sources: list[Source]) -> str:
    """The pictures of the executed notebooks with their words, for slides."""
    lines = ["# Figures for slides", "", "From the worked notebooks, as they were last executed.", ""]
    for source in sources:
        shown = _pictures(labs / "solutions" / f"{source.entry['name']}.ipynb")
        if shown:
            lines += [f"## Lab {source.number}: {source.entry['title']}", ""]
        for k, output in enumerate(shown, 1):
            words = output.get("metadata", {}).get("image/png", {}).get("alt", "")
            lines += [f"![{html.escape(words)}](figures/{source.number}_{k}.png)", "", words, ""]
    return "\n".join(lines)


def _pictures(path: Path) -> list:
    """The PNG outputs of an executed notebook, in order."""
    cells = nbformat.read(path, as_version=4).cells if path.is_file() else []
    return [o for cell in cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]


# ------------------------------------------------------------------ README, files


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


def carried(there: str, text: str) -> str:
    """The worked notebook `text` with the outputs of the one on disk, where both have the same code: prose may change."""
    notebooks = [nbformat.reads(which, as_version=4) for which in (there, text)]
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
    data = json.dumps(package_data(source, labs), indent=1, ensure_ascii=False) + "\n"
    return {
        labs / f"{name}.ipynb": write_notebook(student(source, manifest)),
        labs / "solutions" / f"{name}.ipynb": write_notebook(worked(source, manifest)),
        labs.parent / "xferlab" / "course" / "checks" / f"{source.number}.json": data,
        labs / "teaching" / f"{source.number}.md": teaching(source),
    }


def load(labs: Path, number: str) -> tuple[Source, dict]:
    """The source of lab `number` and the course manifest; raises `SourceError` when it is unknown or only planned."""
    manifest = labs_api.course(labs)
    entry = next((e for e in manifest["labs"] if e["number"] == number), None)
    if entry is None or not entry["built"]:
        there = ", ".join(e["number"] for e in manifest["labs"] if e["built"])
        raise SourceError(f"lab {number!r} is {'planned, not built' if entry else 'unknown'}; built so far: {there}")
    return read(labs / "source" / f"{entry['name']}.py", entry), manifest


def in_step(path: Path, text: str) -> bool:
    """Whether the file on disk says what the source says; a worked notebook is compared without its outputs."""
    if not path.is_file():
        return False
    there = path.read_text("utf-8")
    return (without_outputs(there) if path.parent.name == "solutions" else there) == text


def run_worked(path: Path, root: Path) -> None:
    """Executes a worked notebook in the `lab` profile and writes it back, cleaned."""
    built = nbformat.read(path, as_version=4)
    env = {"XFERLAB_PROFILE": os.environ.get("XFERLAB_PROFILE", "lab")}
    labs_api.execute(built, cwd=root, env=env)
    clean(built, root)
    with write_atomically(path) as temporary:
        temporary.write_text(write_notebook(built), "utf-8")
    for k, output in enumerate(_pictures(path), 1):  # for slides, and for the README
        with write_atomically(path.parents[1] / "teaching" / "figures" / f"{path.name[:2]}_{k}.png") as temporary:
            temporary.write_bytes(base64.b64decode(output.data["image/png"]))


def main(arguments: list[str] | None = None, labs: Path | None = None) -> int:
    labs = labs or labs_api.checkout()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="*", metavar="NN", help="which labs (default: all that have a source)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail and name what is out of step")
    parser.add_argument("--execute", action="store_true", help="run the worked notebooks in the profile `lab`")
    options = parser.parse_args(arguments)
    numbers = options.numbers or [e["number"] for e in labs_api.course(labs)["labs"] if e["built"]]
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
        files[page] = readme(page.read_text("utf-8"), labs_api.course(labs), costs(labs))
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
        print("run: python -m xferlab.course.build")
    return int(bool(options.check and stale))


if __name__ == "__main__":
    sys.exit(main())
