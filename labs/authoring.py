"""Reads a lab as it is written, `labs/source/NN_slug.py`: its cells, and what the tagged ones hold."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import jupytext

from xferlab.course import content

QUIZ_OPTION = re.compile(r"^[-*] \[([ xX])\] (.*)$")


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
    routed = {"exercise", "solution", "check", "hints", "wrong", "mistakes", "quiz"}
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
            source.quiz.append(question_of(cell.source, where))
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
    blank = {"starter": "", "solution": [], "hints": [], "check": "", "wrong": [], "mistakes": {}}
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
            raise SourceError(f'{where}: a wrong answer needs mistake="the_name_its_recognizer_gives"')
        exercise["wrong"].append([cell.metadata["mistake"], cell.source])
    elif tag(cell) == "mistakes":
        exercise["mistakes"] = dict(re.findall(r"^- (\w+): (.*)$", cell.source, flags=re.MULTILINE))
        if len(exercise["mistakes"]) != len(cell.source.splitlines()):
            raise SourceError(f"{where}: each line should read `- name: sentence`, and no name twice")
    elif tag(cell) == "hints":
        exercise["hints"] = [h.strip() for h in re.split(r"^\d\. ", cell.source, flags=re.MULTILINE) if h.strip()]
        if len(exercise["hints"]) != 3:
            raise SourceError(f"{where}: three numbered hints (nudge, name, code), not {len(exercise['hints'])}")


def question_of(text: str, where: str) -> dict:
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


def load(labs: Path, number: str) -> tuple[Source, dict]:
    """The source of lab `number` and the course manifest; raises `SourceError` when it is unknown or only planned."""
    manifest = content.course(labs)
    entry = next((e for e in manifest["labs"] if e["number"] == number), None)
    if entry is None or not entry["built"]:
        listed = ", ".join(e["number"] for e in manifest["labs"] if e["built"])
        raise SourceError(f"lab {number!r} is {'planned, not built' if entry else 'unknown'}; built so far: {listed}")
    return read(labs / "source" / f"{entry['name']}.py", entry), manifest
