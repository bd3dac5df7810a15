"""Notebooks as they run: answers filled in, executed in a kernel of their own, written as a page."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from ..errors import needs
from .display import figure_html

if TYPE_CHECKING:
    from nbformat import NotebookNode

STRICT = """
import os

os.environ["XFERLAB_STRICT"] = "1"  # in this worked notebook a check that fails stops the run"""


def assemble(number: str, cells: list[tuple[str, str, dict]]) -> NotebookNode:
    """A notebook without outputs whose cell ids follow from content, so that equal cells give equal bytes.

    Args:
        number: the lab's
        cells: kind (`"code"` or `"markdown"`), text and metadata of each; `attachments` among the metadata are the cell's pictures
    """
    from nbformat import v4

    built = v4.new_notebook()
    seen: dict[str, int] = {}
    for kind, text, metadata in cells:
        make = {"code": v4.new_code_cell, "markdown": v4.new_markdown_cell}[kind]
        name = hashlib.sha256(f"{number}\n{kind}\n{text}".encode()).hexdigest()[:10]
        seen[name] = seen.get(name, 0) + 1
        pictures = {"attachments": metadata["attachments"]} if "attachments" in metadata else {}
        kept = {key: value for key, value in metadata.items() if key != "attachments"}
        built.cells.append(make(text, metadata=kept, id=f"{name}-{seen[name]}", **pictures))
    python = {"display_name": "Python 3", "language": "python", "name": "python3"}
    built.metadata = {"kernelspec": python, "language_info": {"name": "python"}}
    return built


def worked(number: str, student: dict, answers: dict) -> NotebookNode:
    """The student notebook with solutions in place of starters and the quiz explained; its checks stop it when they fail."""
    cells: list[tuple[str, str, dict]] = []
    for cell in student["cells"]:
        text, metadata = "".join(cell["source"]), dict(cell["metadata"])
        metadata |= {"attachments": cell["attachments"]} if "attachments" in cell else {}
        tags = metadata.get("tags", [])
        if "stuck" in tags:
            continue
        if "quiz" in tags:
            cells += [("markdown", quiz_text(question), {}) for question in answers["quiz"]]
        elif "exercise" in tags:
            solution = answers["exercises"][metadata["exercise"]]["solution"]
            cells += [(kind, code, metadata | {"tags": ["solution"]}) for kind, code in solution]
        else:
            cells.append((cell["cell_type"], f"{text}\n{STRICT.strip()}" if "install" in tags else text, metadata))
    return assemble(number, cells)


def quiz_text(question: dict) -> str:
    """A question of the quiz with every option explained, as Markdown."""
    lines = [f"**{question['question']}**", ""]
    for option in question["options"]:
        lines.append(f"- {'**Right:**' if option['right'] else 'Not quite:'} {option['text']}  \n  {option['why']}")
    return "\n".join(lines)


def execute(
    notebook: NotebookNode,
    cwd: Path,
    timeout: int | None = 600,
    env: dict | None = None,
    on_cell: Callable | None = None,
) -> None:
    """Runs a notebook in place in a fresh kernel of this Python; no progress bars inside.

    Args:
        notebook: gets its outputs
        cwd: the kernel's working directory
        timeout: seconds a cell may take, None for no limit
        env: environment variables to add
        on_cell: called at the start of each cell, as `on_cell(cell=..., cell_index=...)`

    Raises:
        nbclient.exceptions.CellExecutionError: at the first cell that fails.
    """
    with needs("nbclient", extra="labs"):
        from nbclient import NotebookClient
    # Threads that wait by spinning slow two kernels on the same cores by half, those that sleep at once slow one by 40 %; a
    # thousand spins cost either 10 %. JUPYTER_PREFER_ENV_PATH: this environment's kernel, not one of another Python's.
    waiting = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}
    settings = {"TQDM_DISABLE": "1", "JUPYTER_PREFER_ENV_PATH": "1", **waiting, **(env or {})}
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        store_widget_state=False,
        record_timing=False,
        on_cell_start=on_cell,
        shutdown_kernel="immediate",  # a kernel that frees a gigabyte of modules and tensors takes seconds to say goodbye
        extra_arguments=["--IPKernelApp.log_level=50"],  # else it writes to the user's terminal
    )
    with mock.patch.dict(os.environ, settings):  # the kernel's, and that of the search for it
        client.execute(cwd=str(cwd))


def to_html(notebook: NotebookNode, title: str) -> str:
    """The notebook as one HTML page whose figures carry the alt text that `show` gave them."""
    with needs(extra="labs"):
        from nbconvert import HTMLExporter
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)  # a page has no kernel
            # nbconvert's lab template ignores alt text beside a PNG, so the picture goes in as HTML
            picture = output.get("metadata", {}).get("image/png", {})
            if "alt" in picture:
                output.data["text/html"] = figure_html(output.data["image/png"], picture["alt"], picture.get("width"))
    named = {"metadata": {"name": title}}
    return HTMLExporter(template_name="lab", theme="light").from_notebook_node(notebook, resources=named)[0]


def stopped(notebook, failure: Exception) -> str:
    """Where a notebook stopped and why, in a few lines."""
    kinds = {"CellTimeoutError": "it took longer than --timeout allows", "DeadKernelError": "the kernel died (memory?)"}
    why = kinds.get(type(failure).__name__)
    for index, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                code = "\n".join(f"    {line}" for line in cell.source.splitlines()[:12])
                why = why or f"{output.ename}: {output.evalue}"
                return f"Stopped at cell {index + 1} of {len(notebook.cells)}:\n{code}\n{why}"
    return f"Stopped: {why or failure}"


def results(notebook) -> str:
    """Text output of the cells tagged `results`."""
    texts = []
    for cell in notebook.cells:
        if "results" in cell.metadata.get("tags", []):
            texts += [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return "\n".join(text.rstrip() for text in texts if text) or "This lab has no results table."
