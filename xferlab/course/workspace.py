"""A learner's folder: the course's notebooks put into it, one put back as it was, and what a class has done so far."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from .. import __version__
from ..errors import ArgumentError, DataError
from ..storage import digest, write_atomically, write_text
from . import content

MATERIAL = ("*.ipynb", "*.md", "results/*.json")
RECORD = ".xferlab.json"  # the version that filled a folder, and the digest of each file as it came


def fill(to: Path) -> dict[str, list[str]]:
    """Puts notebooks, results and pictures into a folder; a file that was changed since is left as it is.

    Args:
        to: the folder, new or filled earlier, also by another version

    Returns:
        Names by what became of them: `new`, `updated` (yours was as it came), `kept` (you changed it, and there is another one now).

    Raises:
        DataError: the folder cannot be written.
    """
    labs = content.folder()
    record, before = to / RECORD, {}
    if record.is_file():
        before = json.loads(record.read_text("utf-8"))["files"]
    done: dict[str, list[str]] = {"new": [], "updated": [], "kept": []}
    for file in sorted(path for pattern in MATERIAL for path in labs.glob(pattern)):
        name = file.relative_to(labs).as_posix()
        published, own = _digest(file), _digest(to / name)
        if own == published:
            before[name] = published
        elif own in (None, before.get(name)):
            done["updated" if own else "new"].append(name)
            _copy(file, to / name)
            before[name] = published
        elif published != before.get(name):
            done["kept"].append(name)
    write_text(record, json.dumps({"version": __version__, "files": before}, indent=1))
    return done


def filled_by(where: Path) -> str | None:
    """The version whose labs a folder, or one above it, was filled with; None where `fill` never was."""
    for place in (where, *where.parents):
        if (place / RECORD).is_file():
            return json.loads((place / RECORD).read_text("utf-8"))["version"]
    return None


def reset(number: str, where: Path) -> tuple[Path, Path | None]:
    """Puts a fresh notebook of lab `number` into `where`; the one that was there stays beside it under a name of its own.

    Returns:
        The fresh notebook, and where the old one is now (None when there was none).
    """
    name = content.entry(number)["name"]
    published, own = content.folder() / f"{name}.ipynb", where / f"{name}.ipynb"
    if published.resolve() == own.resolve():
        raise ArgumentError(f"{where} holds the course itself; reset works in a folder that `labs start` filled")
    kept = None
    if own.is_file():
        free = (where / f"{name}_old_{k}.ipynb" for k in range(1, 1000))
        kept = next(path for path in free if not path.exists())
        own.rename(kept)
    _copy(published, own)
    return own, kept


def status(where: Path) -> list[dict]:
    """How far each notebook of a class is, read from its outputs; nothing is run.

    Args:
        where: a folder with notebooks, or with one folder a learner

    Returns:
        A row a notebook: `learner` (its folder), `lab`, `passed` and `exercises`, `section` (the last in which a cell ran), `error`, `predictions`.
    """
    names = {entry["name"]: entry["number"] for entry in content.course()["labs"]}
    skipped = {".ipynb_checkpoints", "solutions"}
    files = [p for p in sorted(where.rglob("*.ipynb")) if p.stem in names and not skipped & set(p.parts)]
    if not files:
        raise ArgumentError(f"no notebooks of the course in {where}; their names are those of `xferlab labs list`")
    rows = []
    for path in files:
        try:
            cells = json.loads(path.read_text("utf-8"))["cells"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is not a notebook: {error}") from error
        rows.append({"learner": path.parent.relative_to(where).as_posix(), "lab": names[path.stem], **_progress(cells)})
    return rows


def _progress(cells: list[dict]) -> dict:
    passed, exercises, predictions = set(), set(), []
    heading = section = error = ""
    for cell in cells:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            heading = (re.findall(r"^## (.*)$", text, flags=re.MULTILINE) or [heading])[-1]
            continue
        if "check" in cell["metadata"].get("tags", []):
            exercises.add(cell["metadata"]["exercise"])
        if cell.get("execution_count"):
            section, error = heading, ""
        for output in cell.get("outputs", []):
            printed = "".join(output.get("text", ""))
            passed.update(re.findall(r"^Exercise (\d\d\.\d+): passed", printed, flags=re.MULTILINE))
            predictions += re.findall(r"^Noted: you predict (.*)\.$", printed, flags=re.MULTILINE)
            error = output.get("ename", error)
    found = {"passed": len(passed & exercises), "exercises": len(exercises)}
    return found | {"section": section, "error": error, "predictions": predictions}


def table(rows: list[dict]) -> Iterator[str]:
    """The rows of `status` as lines of text."""
    width = max(7, *(len(row["learner"]) for row in rows))
    yield f"{'learner':{width}s}  lab  passed  predicted             stopped at"
    for row in rows:
        stopped = (row["section"] or "not begun") + (f", with {row['error']}" if row["error"] else "")
        passed, guesses = f"{row['passed']} of {row['exercises']}", ", ".join(row["predictions"]) or "-"
        yield f"{row['learner']:{width}s}  {row['lab']:3s}  {passed:6s}  {guesses:20s}  {stopped}"


def _digest(path: Path) -> str | None:
    return digest(path) if path.is_file() else None


def _copy(file: Path, to: Path) -> None:
    with write_atomically(to) as temporary:
        shutil.copyfile(file, temporary)
