"""The course's material: where its folder is, which labs it lists, each lab's notebook, and the answers to its exercises."""

import base64
import json
import os
import re
import tomllib
import zlib
from pathlib import Path

from ..errors import ArgumentError


def recording() -> bool:
    """Whether every draw is trained here, for results to be written down: `XFERLAB_RECORD=1`."""
    return os.environ.get("XFERLAB_RECORD", "") not in ("", "0")


def folder() -> Path:
    """The folder that holds `course.toml`: of the checkout around the working directory, else the one that came with xferlab."""
    above, package = [Path.cwd(), *Path.cwd().parents], Path(__file__).resolve()
    places = [*above, *(place / "labs" for place in above), package.parents[2] / "labs", package.parent / "labs"]
    for place in places:
        if (place / "course.toml").is_file():
            return place
    raise ArgumentError(f"no course.toml beside {package.parent}: installed without its labs; install xferlab again")


def course(labs: Path | None = None) -> dict:
    """`course.toml` as a dict: `repository` ("" without a public address), `branch` and `labs`, a list whose entries also say
    `name`, `question` and `built`."""
    labs = labs or folder()
    manifest = tomllib.loads((labs / "course.toml").read_text("utf-8"))
    entries = manifest.pop("lab", [])
    for entry in entries:
        entry.setdefault("question", "")
        name = entry["name"] = f"{entry['number']}_{entry['slug']}"
        entry["built"] = any((labs / part).is_file() for part in (f"{name}.ipynb", f"source/{name}.py"))
    return {"repository": "", "branch": "main"} | manifest | {"labs": entries}


def built() -> list[str]:
    """Numbers of the labs that can be opened."""
    return [entry["number"] for entry in course()["labs"] if entry["built"]]


def entry(number: str | int) -> dict:
    """What `course.toml` says of lab `number`, "02" or 2; raises `ArgumentError` when it is unknown or only planned."""
    entries = course()["labs"]
    found = next((entry for entry in entries if entry["number"] == str(number).zfill(2)), None)
    if found is None or not found["built"]:
        listed = ", ".join(entry["number"] for entry in entries if entry["built"])
        raise ArgumentError(f"lab {number!r} is {'planned, not built' if found else 'unknown'}; there are: {listed}")
    return found


def notebook(number: str) -> dict:
    """The student notebook of lab `number`, as it was published."""
    return json.loads((folder() / f"{entry(number)['name']}.ipynb").read_text("utf-8"))


def answers(number: str) -> dict:
    """Hints, solutions and named mistakes by exercise, and the quiz, of lab `number`."""
    text = (folder() / "answers" / f"{entry(number)['number']}.txt").read_text("ascii")
    return unpacked(text)


def unpacked(text: str) -> dict:
    """What `packed` was given."""
    return json.loads(zlib.decompress(base64.b64decode(text)))


def packed(answers: dict) -> str:
    """`answers` as the text of their file: compressed, so that nobody reads a solution by accident."""
    data = zlib.compress(json.dumps(answers, ensure_ascii=False).encode(), 9)
    return base64.encodebytes(data).decode()


def sections(number: str) -> list[dict]:
    """The title and the code of each `##` section of a lab, for `resume`.

    Exercises are left out, since nothing later may depend on them. Predictions are in, blank: later cells use their options.
    """
    found: list[dict] = []
    early: list[str] = []
    left_out = {"install", "exercise", "check", "stuck", "quiz"}
    for cell in notebook(number)["cells"]:
        text, tags = "".join(cell["source"]), set(cell["metadata"].get("tags", []))
        if cell["cell_type"] == "markdown":
            prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
            found += [{"title": title, "code": []} for title in re.findall(r"^## (.*)$", prose, flags=re.MULTILINE)]
        elif text and (".p" in cell["metadata"].get("exercise", "") or not tags & left_out):
            (found[-1]["code"] if found else early).append(text)
    if found:
        found[0]["code"][:0] = early
    return found
