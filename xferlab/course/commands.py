"""What `xferlab labs start` and `xferlab labs run` do; both give the exit code of the command."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from ..errors import MissingExtra
from ..storage import write_text
from . import content, notebooks, workspace


def start(folder: Path, no_open: bool = False) -> int:
    """Fills a folder with notebooks and opens JupyterLab on the first."""
    done = workspace.fill(folder)
    for name in done["kept"] + done["updated"]:
        print(f"{name}: {'yours is kept; there is a newer one' if name in done['kept'] else 'updated'}")
    print(f"{folder}: {len(done['new'])} files new." if done["new"] else f"{folder}: nothing new.")
    first = folder / f"{content.entry('00')['name']}.ipynb"
    if no_open:
        print(f"Open it with: jupyter lab {first}")
        return 0
    if importlib.util.find_spec("jupyterlab") is None:
        raise MissingExtra("jupyterlab", extra="labs")
    return subprocess.run([sys.executable, "-m", "jupyterlab", str(first)]).returncode


def run(number: str, out: Path, student: bool = False, timeout: int | None = None) -> int:
    """Runs a lab in a kernel of its own, and writes the notebook and its page, as far as it came."""
    import nbformat
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    from tqdm import tqdm

    if timeout is None and not (content.recording() or os.environ.get("XFERLAB_PROFILE") == "full"):
        timeout = 900  # in those two a cell trains for hours
    entry, notebook = content.entry(number), nbformat.from_dict(content.notebook(number))
    if not student:
        notebook = notebooks.worked(entry["number"], notebook, content.answers(number))
    page, script = out / f"{entry['name']}.html", out / f"{entry['name']}.ipynb"
    failure = None
    with tqdm(total=len(notebook.cells), desc=f"lab {number}", unit="cell") as bar:
        try:
            notebooks.execute(notebook, Path.cwd(), timeout, on_cell=lambda **_: bar.update())
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            failure = error
    write_text(script, nbformat.writes(notebook))
    write_text(page, notebooks.to_html(notebook, entry["title"]))
    if failure is not None:
        print(notebooks.stopped(notebook, failure), f"The notebook up to there: {page}", sep="\n", file=sys.stderr)
        return 1
    print(notebooks.results(notebook))
    print(f"Executed notebook: {page.resolve()}")
    return 0
