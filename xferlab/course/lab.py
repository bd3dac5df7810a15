"""What a lab notebook needs around its experiment: profile, data choice, committed results, figures with alt text."""

from __future__ import annotations

import contextlib
import datetime
import functools
import itertools
import json
import os
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ArgumentError, DataError
from ..machine import cores, describe
from ..storage import write_text
from .content import entry, folder, recording
from .display import Words, say, show
from .rejoin import resume
from .results import Results, runs
from .tables import table
from .watch import Watch

__all__ = ["Lab", "Results", "Watch", "resume", "runs", "say", "show", "start", "table"]
if TYPE_CHECKING:
    from ..comparison.leaderboard import Leaderboard

PROFILES = ("quick", "lab", "full")


@dataclass(frozen=True)
class Lab:
    """One lab as it runs here, from `start`.

    Parameters
    ----------
    number
        Its number.
    profile
        "quick", "lab" or "full", which sets its scale.

    Examples
    --------
    >>> xl.lab.Lab("02", "quick").scale(quick=3, lab=60, full=400)
    3
    """

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
        if not _found(chosen) and len(_pairs(chosen)) == 1:
            raise ArgumentError(f"XFERLAB_DATASET={chosen!r} names two data sets, but lab {self.number} takes one")
        return self._say(chosen, swapped=chosen != default)

    def datasets(self, source: str, target: str) -> tuple[str, str]:
        """The two sides, from `$XFERLAB_DATASET` as `SOURCE:TARGET` or the defaults; prints which, synthetic or real."""
        chosen = os.environ.get("XFERLAB_DATASET")
        pairs = _pairs(chosen) if chosen else [(source, target)]
        if len(pairs) > 1:  # a colon inside a path: the split that names things that exist is the one meant
            pairs = [pair for pair in pairs if all(map(_found, pair))] or pairs
        if len(pairs) != 1:
            raise ArgumentError(
                f"XFERLAB_DATASET={chosen!r} should be SOURCE:TARGET, since lab {self.number} takes two data sets; "
                "each is a name, a .npz or a folder, e.g. cells/site-a:cells/site-b"
            )
        swapped = pairs[0] != (source, target)
        return self._say(pairs[0][0], "Source", swapped), self._say(pairs[0][1], "Target", swapped)

    def _say(self, name: str, role: str = "Data", swapped: bool = False) -> str:
        what = "synthetic, rendered by xferlab" if name.startswith("cells/") else "real"
        if path := _found(name):
            name, what = str(path), "your own data" if swapped else "from a file"
        print(f"{role}: {name} ({what}{', set by XFERLAB_DATASET' if swapped else ''}). Not for clinical use.")
        return name

    @property
    def records(self) -> bool:
        """Whether this run measures everything, for `pooled` to write down (`XFERLAB_RECORD=1`)."""
        return recording()

    def draws(self, count: int) -> range:
        """Which of `count` draws (seeds) train here: all in profile `full` or with `XFERLAB_RECORD=1`, else draw 0."""
        return range(count if self.profile == "full" or recording() else 1)

    def experiment(
        self,
        name: str,
        trial: Callable[..., dict | list[dict]],
        *,
        draws: int = 5,
        across: str | None = None,
        title: str = "",
        earlier: Sequence = (),
        **grid,
    ) -> Results:
        """Calls `trial(**setting, draw=draw)` for each setting of `grid` and each draw that trains here, and adds what was measured earlier.

        Parameters
        ----------
        name: Of the file that holds the earlier runs (see `pooled`).
        trial: One run. Returns what it measured as a dict, or several dicts where it was tested in several places.
        across: The column that tables have their columns for; the second of `grid` if there is one.
        earlier: Values of `grid` too slow for a lesson: profile `lab` reads them from the file, where there is one.
        grid: A list of values for each argument of `trial`; the first is what is compared.

        Raises `ArgumentError` for a value to read that is nowhere in `grid`.
        """
        by, *more = grid
        across = across or next(iter(more), None)
        if self.profile != "lab" or self.records or not self._results(name).is_file():
            earlier = ()
        if unknown := [value for value in earlier if not any(value in values for values in grid.values())]:
            raise ArgumentError(f"earlier names {unknown[0]!r}, which is no value of {', '.join(grid)}")
        rows = []
        for draw in self.draws(draws):
            for values in itertools.product(*grid.values()):
                if any(value in earlier for value in values):
                    continue
                setting = dict(zip(grid, values, strict=True)) | {"draw": draw}
                found = trial(**setting)
                rows += [setting | row for row in (found if isinstance(found, list) else [found])]
        return self.results(name, rows, by=by, across=across, title=title)

    def results(self, name: str, rows: list[dict], *, by="method", across=None, unit="draw", title="") -> Results:
        """`Results` of rows that trained here and of those that were measured earlier under `name`, told apart by these columns."""
        key = tuple(column for column in (by, across, unit) if column)
        together = self.pooled(name, rows, by=key)
        together = [{**row, "here": i < len(rows)} for i, row in enumerate(together)]
        order = list(dict.fromkeys(row[by] for row in reversed(together)))[::-1]  # the last draw's, which has them all
        together.sort(key=lambda row: order.index(row[by]))
        return Results(together, by, across, unit, title)

    def leaderboard(self, name: str, board: Leaderboard) -> Leaderboard:
        """The leaderboard with the runs that were measured earlier under `name` beside its own (see `runs` and `pooled`)."""
        from ..comparison.leaderboard import Leaderboard

        columns = ("recipe", "seed", "source", "target", "validators", "seconds")
        own = [{key: run[key] for key in columns} for run in board.finished()]
        together = self.pooled(name, own, by=("recipe", "seed"))
        together = [{**run, "here": i < len(own)} for i, run in enumerate(together)]
        names = list(dict.fromkeys(run["recipe"] for run in together))
        return Leaderboard(together, names, board.validators, board.selector, metric=board.metric)

    def answer(self, **found) -> Words:
        """The answer to this lab's question: the template `answer` of `course.toml`, filled with what was found.

        Numbers read best with their format in the template: `{gain:+.2f}`. Raises `ArgumentError` when a field is missing.
        """
        about = entry(self.number)
        try:
            filled = about["answer"].format(**found)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise ArgumentError(f"the answer of lab {self.number} cannot be filled with {found}: {error!r}") from error
        return Words(f"**{about['question']}** {filled}")

    def pooled(self, name: str, rows: list[dict], by: tuple[str, ...] = ("draw",)) -> list[dict]:
        """Rows that trained here and, in profile `lab`, the others as committed under `name` (see `committed`).

        A committed row gives way to rows from here that agree with it on the columns `by`. With `XFERLAB_RECORD=1` the rows
        become the committed ones instead.
        """
        if recording():
            known = ("XFERLAB_DATASET", "XFERLAB_PROFILE", "XFERLAB_RECORD")
            given = {key: os.environ[key] for key in known if os.environ.get(key)}
            # a path means nothing on another machine
            settings = [f"{key}={Path(text).name if Path(text).exists() else text}" for key, text in given.items()]
            command = " ".join([*settings, "xferlab labs run", self.number])
            print(f"Recorded in {self.record(name, rows, command).name}.")
            return rows
        if self.profile != "lab":
            print("Only what ran here is shown: this profile reads no earlier runs.")
            return rows
        try:
            earlier = self.committed(name)
        except (DataError, ArgumentError):
            say(f"Nothing was measured earlier on this data ({name}): what follows rests on what ran here.")
            return rows
        trained = {tuple(row[key] for key in by) for row in rows}
        return rows + [row for row in earlier if tuple(row[key] for key in by) not in trained]

    def committed(self, name: str) -> list[dict]:
        """Rows of `labs/results/NN_name.json`, measured earlier; prints the command, date and machine that made them."""
        path = self._results(name)
        if not path.is_file():
            raise DataError(f"no committed results {name!r} for lab {self.number}: there is no {path}")
        found = json.loads(path.read_text("utf-8"))
        say(f"Measured earlier: {found['command']} on {found['date']}, {found['machine']}")
        return found["rows"]

    def record(self, name: str, rows: list[dict], command: str) -> Path:
        """Writes `rows` to `labs/results/NN_name.json` with command, date and machine, for `committed` to read."""
        path, today = self._results(name), datetime.date.today().isoformat()
        content = {"command": command, "date": today, "machine": describe(), "rows": rows}
        write_text(path, json.dumps(content, indent=1, default=float) + "\n")
        return path

    def _results(self, name: str) -> Path:
        """The file of results `name`; a domain's slash becomes a dash."""
        filed = re.sub(r"[^\w.-]+", "-", name)
        return folder() / "results" / f"{self.number}_{filed}.json"


def start(number: str) -> Lab:
    """Begins a lab: reads `$XFERLAB_PROFILE`, sets threads and the plot style, has `fit` give memory back.

    Parameters
    ----------
    number
        Its number.

    Returns
    -------
    Lab
        For the cells that follow.

    Raises
    ------
    ArgumentError
        For a bad profile.

    Examples
    --------
    >>> lab = xl.lab.start("02")
    Lab 02, profile lab, ...
    """
    profile = os.environ.get("XFERLAB_PROFILE") or "lab"
    if profile not in PROFILES:
        raise ArgumentError(f"XFERLAB_PROFILE={profile!r} is not a profile; use one of {', '.join(PROFILES)}")
    this = Lab(str(number).zfill(2), profile)
    if not this.shows_progress:
        _quieten()
    import torch

    from .. import machine as memory

    memory.frugal = True
    if "OMP_NUM_THREADS" not in os.environ:  # torch counts the host's cores, which a container may not have
        torch.set_num_threads(min(cores(), torch.get_num_threads()))
    with contextlib.suppress(ImportError, AttributeError):  # no matplotlib: the lab says so at its first figure
        from .. import plots

        plots.style()
    device = f"{torch.get_num_threads()} CPU threads"
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    print(f"Lab {this.number}, profile {profile}, {device}.")
    if profile == "quick":
        print("Profile quick takes a few steps to see that the cells run. Its numbers mean nothing.")
    return this


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
    places = Path(name).expanduser(), folder().parent / name
    return next((place for place in places if place.exists()), None)
