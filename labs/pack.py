"""The teacher pack: answer keys, timetables, misconceptions and figures, from the sources and the executed notebooks."""

from __future__ import annotations

import html
import json
import tomllib
from pathlib import Path

import nbformat
from authoring import Source

from xferlab.course.notebooks import quiz_text

FIXED = ("checklist.md", "rubric.md")  # written by hand


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


def schedules(plans: dict, manifest: dict) -> str:
    """Timetables: a lab takes its minutes from `course.toml`, anything else says its own."""
    by_number = {entry["number"]: entry for entry in manifest["labs"]}
    lines = [
        "# Schedules",
        "",
        "Minutes are planned: no class has been timed yet. Those of labs stand in `course.toml`, the rest in `schedule.toml`.",
        "",
    ]
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
    lines = ["# Common misconceptions", "", "Each is recognized by the exercise's check, which says what is wrong.", ""]
    for source in sources:
        lines += [f"## Lab {source.number}: [{source.entry['title']}]({source.number}.md)", ""]
        lines += ["| Exercise | Mistake | For example | What the check says |", "|---|---|---|---|"]
        for name, exercise in source.exercises.items():
            for mistake, code in exercise["wrong"]:
                telling = next((c for c in reversed(code.splitlines()) if c.strip()), "").strip().replace("|", "\\|")
                says = exercise["mistakes"].get(mistake, "").replace("|", "\\|")
                lines.append(f"| {name} | {mistake.replace('_', ' ')} | `{telling}` | {says} |")
        lines.append("")
    return "\n".join(lines)


def figures(labs: Path, sources: list[Source]) -> str:
    """The pictures of the executed notebooks with their words, for slides."""
    lines = ["# Figures for slides", "", "From the worked notebooks, as they were last executed.", ""]
    for source in sources:
        shown = pictures(labs / "solutions" / f"{source.entry['name']}.ipynb")
        if shown:
            lines += [f"## Lab {source.number}: {source.entry['title']}", ""]
        for k, output in enumerate(shown, 1):
            words = output.get("metadata", {}).get("image/png", {}).get("alt", "")
            lines += [f"![{html.escape(words)}](figures/{source.number}_{k}.png)", "", words, ""]
    return "\n".join(lines)


def pictures(path: Path) -> list:
    """The PNG outputs of an executed notebook, in order."""
    cells = nbformat.read(path, as_version=4).cells if path.is_file() else []
    return [o for cell in cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
