"""What a lab notebook needs around its experiment: profile, data choice, committed results, figures with alt text."""

from __future__ import annotations

import base64
import copy
import datetime
import functools
import html
import io
import json
import os
import re
import textwrap
import tomllib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ..errors import ArgumentError, DataError, MissingExtra
from ..machine import cores
from ..machine import describe as machine
from ..storage import write_atomically
from .rejoin import resume  # noqa: F401

PROFILES = ("quick", "lab", "full")


def folder() -> Path | None:
    """The checkout's `labs` folder (the one that holds `course.toml`), or None when only the package is installed."""
    above = [Path.cwd(), *Path.cwd().parents]
    places = [*above, *(place / "labs" for place in above), Path(__file__).resolve().parents[2] / "labs"]
    return next((place for place in places if (place / "course.toml").is_file()), None)


def checkout() -> Path:
    """`folder()`, or an `ArgumentError` that says where to run this."""
    found = folder()
    if found is None:
        raise ArgumentError(
            f"no labs folder in {Path.cwd()} or above it: the package is installed, the notebooks are not; "
            "run this inside a checkout of the repository"
        )
    return found


def course(labs: Path) -> dict:
    """`labs/course.toml` as a dict: `repository`, `branch` and `labs`, a list whose entries also say `name` and `built`."""
    with open(labs / "course.toml", "rb") as file:
        manifest = tomllib.load(file)
    entries = manifest.pop("lab", [])
    for entry in entries:
        entry["name"] = f"{entry['number']}_{entry['slug']}"
        entry["built"] = (labs / "source" / f"{entry['name']}.py").is_file()
    return manifest | {"labs": entries}


def packaged(number: str) -> dict:
    """Hints, quiz, solutions and results of lab `number` as packaged with xferlab; raises `ArgumentError` if unknown."""
    if number not in built():  # a number that is a path is none of them
        raise ArgumentError(f"no lab {number!r} in this version of xferlab; `xferlab labs list` shows which there are")
    return json.loads(resources.files("xferlab.course.checks").joinpath(f"{number}.json").read_text("utf-8"))


def built() -> list[str]:
    """Numbers of the labs this version of xferlab carries."""
    files = resources.files("xferlab.course.checks").iterdir()
    return sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json"))


@dataclass(frozen=True)
class Lab:
    """One lab as it runs here: its number and the profile that sets its scale."""

    number: str
    profile: str

    def scale(self, *, quick, lab, full):
        """The value for this profile: profiles change scale, never code."""
        return {"quick": quick, "lab": lab, "full": full}[self.profile]

    @property
    def shows_progress(self) -> bool:
        """Whether somebody is watching: not in tests, in CI, or where `TQDM_DISABLE` is set."""
        return not (self.profile == "quick" or os.environ.get("CI") or os.environ.get("TQDM_DISABLE"))

    def dataset(self, default: str) -> str:
        """`$XFERLAB_DATASET` (a name, `.npz` or folder) or `default`; prints which, synthetic or real."""
        chosen = os.environ.get("XFERLAB_DATASET") or default
        if not _exists(chosen) and len(_pairs(chosen)) == 1:
            raise ArgumentError(f"XFERLAB_DATASET={chosen!r} names two data sets, but lab {self.number} takes one")
        return self._say(chosen, swapped=chosen != default)

    def datasets(self, source: str, target: str) -> tuple[str, str]:
        """The two sides, from `$XFERLAB_DATASET` as `SOURCE:TARGET` or the defaults; prints which, synthetic or real."""
        chosen = os.environ.get("XFERLAB_DATASET")
        pairs = _pairs(chosen) if chosen else [(source, target)]
        if len(pairs) > 1:  # a colon inside a path: the split that names things that exist is the one meant
            pairs = [pair for pair in pairs if all(map(_exists, pair))] or pairs
        if len(pairs) != 1:
            raise ArgumentError(
                f"XFERLAB_DATASET={chosen!r} should be SOURCE:TARGET, since lab {self.number} takes two data sets; "
                "each is a name, a .npz or a folder, e.g. cells/site-a:cells/site-b"
            )
        swapped = pairs[0] != (source, target)
        return self._say(pairs[0][0], "Source", swapped), self._say(pairs[0][1], "Target", swapped)

    def _say(self, name: str, role: str = "Data", swapped: bool = False) -> str:
        name = str(_found(name) or name)
        what = "synthetic, rendered by xferlab" if name.startswith("cells/") else "real"
        if _exists(name):
            what = "your own data" if swapped else "from a file"
        print(f"{role}: {name} ({what}{', set by XFERLAB_DATASET' if swapped else ''}). Not for clinical use.")
        return name

    @property
    def records(self) -> bool:
        """Whether this run measures everything, for `pooled` to write down (`XFERLAB_RECORD=1`)."""
        return _recording()

    def draws(self, count: int) -> range:
        """Which of `count` draws (seeds) train here: all in profile `full` or with `XFERLAB_RECORD=1`, else draw 0."""
        return range(count if self.profile == "full" or _recording() else 1)

    def pooled(self, name: str, rows: list[dict], by: tuple[str, ...] = ("draw",)) -> list[dict]:
        """Rows that trained here and, in profile `lab`, the others as committed under `name` (see `committed`).

        A committed row gives way to rows from here that agree with it on the columns `by`. With `XFERLAB_RECORD=1` the rows
        become the committed ones instead.
        """
        if _recording():
            settings = {
                k: Path(v).name if Path(v).exists() else v  # a path means nothing on another machine
                for k, v in os.environ.items()
                if re.fullmatch("XFERLAB_(RECORD|PROFILE|DATASET)", k) and v
            }
            command = " ".join(f"{k}={v}" for k, v in sorted(settings.items())) + f" xferlab labs run {self.number}"
            print(f"Recorded in {self.record(name, rows, command).name}.")
            return rows
        if self.profile != "lab":
            return rows
        try:
            earlier = self.committed(name)
        except (DataError, ArgumentError):
            print(f"Nothing was measured earlier on this data ({name}): what follows rests on what ran here.")
            return rows
        here = {tuple(row[key] for key in by) for row in rows}
        return rows + [row for row in earlier if tuple(row[key] for key in by) not in here]

    def committed(self, name: str) -> list[dict]:
        """Rows of `labs/results/NN_name.json`, measured earlier; prints the command, date and machine that made them."""
        labs, name = folder(), _filed(name)
        file = f"{self.number}_{name}.json"
        if labs and (labs / "results" / file).is_file():
            found = json.loads((labs / "results" / file).read_text("utf-8"))
        else:
            found = packaged(self.number)["results"].get(name)
        if not found:
            raise DataError(f"no committed results {name!r} for lab {self.number}: labs/results/{file} is not there")
        print(f"Measured earlier: {found['command']} on {found['date']}, {found['machine']}")
        return found["rows"]

    def record(self, name: str, rows: list[dict], command: str) -> Path:
        """Writes `rows` to `labs/results/NN_name.json` with command, date and machine, for `committed` to read."""
        labs = folder()
        if labs is None:
            raise DataError("results are recorded in a checkout's labs folder, and there is none here or above")
        content = {
            "command": command,
            "date": datetime.date.today().isoformat(),
            "machine": machine(),
            "rows": rows,
        }
        path = labs / "results" / f"{self.number}_{_filed(name)}.json"
        with write_atomically(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1, default=float) + "\n", "utf-8")
        return path


def start(number: str) -> Lab:
    """Begins lab `number`: reads `$XFERLAB_PROFILE`, sets threads and the plot style, has `fit` give memory back; raises
    `ArgumentError` on a bad profile."""
    profile = os.environ.get("XFERLAB_PROFILE") or "lab"
    if profile not in PROFILES:
        raise ArgumentError(f"XFERLAB_PROFILE={profile!r} is not a profile; use one of {', '.join(PROFILES)}")
    this = Lab(number, profile)
    if not this.shows_progress:
        _quieten()
    import torch

    from .. import machine as memory

    memory.frugal = True
    if "OMP_NUM_THREADS" not in os.environ:  # torch counts the host's cores, which a container may not have
        torch.set_num_threads(min(cores(), torch.get_num_threads()))
    try:
        from .. import plots

        plots.style()
    except (ImportError, AttributeError):
        pass  # no matplotlib: the lab says so at its first figure
    accelerator = (
        torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    )
    print(f"Lab {number}, profile {profile}, {accelerator}.")
    return this


def say(*texts: str) -> None:
    """Prints each text in lines of at most 100 characters: a notebook's page breaks longer ones in the middle of a word."""
    for text in texts:
        print(textwrap.fill(text, 100))


def show(fig, alt: str, width: int | None = None) -> None:
    """Displays a matplotlib figure with a text alternative, on white so that it reads in dark mode, and closes it.

    `alt` says what the picture shows; `width` is in CSS pixels. Raises `ArgumentError` when `alt` is empty.
    """
    if not (alt or "").strip():
        raise ArgumentError(
            'every figure needs words for those who cannot see it: show(fig, alt="what the picture shows")'
        )
    try:
        from IPython.display import display
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingExtra(error.name or "matplotlib", extra="labs") from error
    png = base64.b64encode(_png(fig)).decode()
    pyplot.close(fig)
    pixels = {"width": width} if width else {}
    metadata = {"image/png": {"alt": alt, **pixels}, "needs_background": "light"}
    display(
        {"text/html": figure_html(png, alt, width), "image/png": png, "text/plain": alt}, raw=True, metadata=metadata
    )


def _png(fig) -> bytes:
    """The figure as a small PNG: plots keep their few colours exactly, large pictures go to 128."""
    from PIL import Image

    raw = io.BytesIO()
    fig.savefig(raw, format="png", dpi=88, bbox_inches="tight", facecolor="white", metadata={"Software": None})
    if raw.tell() < 40_000:
        return raw.getvalue()
    small = io.BytesIO()
    Image.open(raw).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return min(raw.getvalue(), small.getvalue(), key=len)


def figure_html(png: str, alt: str, width: int | None = None) -> str:
    wide = f' width="{int(width)}"' if width else ""
    source = f"data:image/png;base64,{png.strip()}"
    return f'<img alt="{html.escape(alt)}"{wide} style="background:#fff;max-width:100%" src="{source}">'


def execute(
    notebook, cwd: Path, timeout: int | None = 600, env: dict | None = None, on_cell: Callable | None = None
) -> None:
    """Runs `notebook` in place in a fresh kernel of this Python, its working directory `cwd`; no progress bars inside.

    `timeout` is in seconds per cell, None for no limit; `on_cell(index)` is called after each. Raises nbclient's `CellExecutionError`
    at the first cell that fails.
    """
    try:
        from nbclient import NotebookClient
    except ImportError as error:
        raise MissingExtra("nbclient", extra="labs") from error

    class Client(NotebookClient):
        async def async_execute_cell(self, cell, cell_index, **keywords):
            done = await super().async_execute_cell(cell, cell_index, **keywords)
            if on_cell:
                on_cell(cell_index)
            return done

    # Threads that wait by spinning slow two kernels on the same cores by half, those that sleep at once slow one by 40 %; a
    # thousand spins cost either 10 %. JUPYTER_PREFER_ENV_PATH: this environment's kernel, not one of another Python's.
    waiting = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}
    here = {"TQDM_DISABLE": "1", "JUPYTER_PREFER_ENV_PATH": "1", **waiting, **(env or {})}
    before = {name: os.environ.get(name) for name in here}
    os.environ.update(here)
    try:
        client = Client(
            notebook,
            timeout=timeout,
            kernel_name="python3",
            store_widget_state=False,
            record_timing=False,
            shutdown_kernel="immediate",  # a kernel that frees a gigabyte of modules and tensors takes seconds to say goodbye
            extra_arguments=["--IPKernelApp.log_level=50"],  # else it writes to the user's terminal
        )
        client.execute(cwd=str(cwd))
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def to_html(notebook, title: str) -> str:
    """The notebook as one HTML page whose figures carry the alt text that `show` gave them."""
    try:
        from nbconvert import HTMLExporter
    except ImportError as error:
        raise MissingExtra(error.name or "nbconvert", extra="labs") from error
    notebook = copy.deepcopy(notebook)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)  # a page has no kernel
            # nbconvert's lab template ignores alt text beside a PNG, so the picture goes in as HTML
            picture = output.get("metadata", {}).get("image/png", {})
            if "alt" in picture:
                output.data["text/html"] = figure_html(output.data["image/png"], picture["alt"], picture.get("width"))
    body, _ = HTMLExporter(template_name="lab", theme="light").from_notebook_node(
        notebook, resources={"metadata": {"name": title}}
    )
    return body


def _recording() -> bool:
    return os.environ.get("XFERLAB_RECORD", "") not in ("", "0")


def _filed(name: str) -> str:
    """`name` as part of a file's name: a domain's slash becomes a dash."""
    return re.sub(r"[^\w.-]+", "-", name)


def _quieten() -> None:
    from tqdm import std

    warnings.filterwarnings("ignore")
    # TQDM_DISABLE is read when tqdm is imported, which has happened by now
    std.tqdm.__init__ = functools.partialmethod(std.tqdm.__init__, disable=True)


def _pairs(text: str) -> list[tuple[str, str]]:
    """Every way to read `text` as SOURCE:TARGET; the colon of a Windows drive (`C:\\`, `D:/`) does not separate."""
    colons = [m.start() for m in re.finditer(":", text) if not re.search(r"(^|:)[A-Za-z]$", text[: m.start()])
              or not re.match(r"[\\/]", text[m.end():])]  # fmt: skip
    return [(text[:at], text[at + 1 :]) for at in colons if text[:at] and text[at + 1 :]]


def _found(name: str) -> Path | None:
    """`name` as a path that exists: from here, else from the checkout's root, since notebooks run in `labs/`."""
    labs = folder()
    places = [Path(name).expanduser(), *([labs.parent / name] if labs else [])]
    return next((place for place in places if place.exists()), None)


def _exists(name: str) -> bool:
    return _found(name) is not None
