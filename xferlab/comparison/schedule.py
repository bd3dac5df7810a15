"""Which runs a comparison makes, in which order: every candidate, seed after seed."""

from __future__ import annotations

import itertools
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tqdm.auto import tqdm

from .. import __version__
from ..recipe import Recipe
from ..storage import described, fingerprint
from .candidates import Candidate, address, in_front
from .definitions import cost, definition, draws, identity, make_model
from .leaderboard import Leaderboard
from .performing import Performer
from .records import BASELINES, selector_values
from .runs import Common, Task, perform, recall

BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed} gone, {remaining} left{postfix}"
Outcome = tuple[Task, dict | None]  # None where time was over


@dataclass
class Schedule:
    """Trains candidates, and holds what came of them.

    Parameters
    ----------
    common
        What all runs share.
    data
        Fingerprint of the data.
    encoders
        By the label of their candidates.
    performer
        Performs tasks.
    progress_bar
        Whether to show one.
    tried
        Tasks of the search with their records.
    searched
        Those of its records that did not fail, by candidate.
    done
        Tasks of all candidates and seeds with their records.
    """

    common: Common
    data: str
    encoders: dict[str, Any]
    performer: Performer
    progress_bar: bool
    tried: list[Outcome] = field(default_factory=list)
    searched: dict[str, list[dict]] = field(default_factory=dict)
    done: list[Outcome] = field(default_factory=list)

    @property
    def runs(self) -> list[dict]:
        """The records of the runs that there was time for."""
        return [run for _, run in self.done if run is not None]

    def search(self, candidates: Sequence[Candidate], seed: int, selector: str) -> list[Candidate]:
        """Each candidate at the strength of its grid that the selector values most."""
        at = [candidate.at(factor) for candidate in candidates for factor in candidate.recipe.grid]
        self.tried = self._train(at, [seed])
        chosen = {candidate.name: (-math.inf, candidate) for candidate in candidates}
        for candidate, (_, run) in zip(at, self.tried, strict=True):
            if run is None or "error" in run:
                continue
            self.searched.setdefault(candidate.name, []).append(run)
            value = run["validators"].get(selector)
            if value is not None and value > chosen[candidate.name][0]:
                chosen[candidate.name] = value, candidate
        return [candidate for _, candidate in chosen.values()]

    def train(self, candidates: list[Candidate], seeds: list[int], selector: str, race: bool, fill: bool) -> list[str]:
        """Trains all candidates, seed after seed; the names of those that a race left behind."""
        first, behind = seeds[:2] if race else seeds, []
        self.done = self._train(candidates, first)
        for seed in itertools.chain(seeds[len(first) :], itertools.count(max(seeds) + 1) if fill else ()):
            runs, further = [run for _, run in self.done], seed not in seeds
            if further and (None in runs or time.time() > self.common.deadline):
                break
            values = selector_values(runs, selector)
            if race and None not in runs:
                ahead = in_front(values) | set(BASELINES)  # others are measured against these, so they run on
                behind += [name for name in values if name not in ahead and name not in behind]
            # what has failed so far would only fail again
            left = [one for one in candidates if one.name not in behind and (one.name in values or not further)]
            more = self._train(left, [seed])
            if further and all(task.seed != seed for task, _ in more):
                break  # another seed would change nothing
            self.done += [(task, run) for task, run in more if run or not further]
        return behind

    def settle(self, board: Leaderboard) -> None:
        """Leaves the chosen run's weights in the store, and no other candidate's once all runs are there."""
        choice = board.best(load=False)
        winner = self.task(choice.recipe, choice.seed)
        if winner.weights is None:  # its record is from a call that kept none, or that chose another
            perform(replace(winner, common=replace(self.common, deadline=math.inf)))
        if len(board.runs) == len(self.done):
            for task, _ in self.done + self.tried:
                task.settle(chosen=task.stem == winner.stem)

    def task(self, name: str, seed: int) -> Task:
        """Whose run stands for this seed's."""
        return next(task for task, run in self.done if run and task.name == name and run["seed"] == seed)

    @property
    def seedless(self) -> list[str]:
        """Candidates whose runs are the same with every seed, and which therefore ran once."""
        return sorted({task.name for task, run in self.done if run and run["seed"] != task.seed})

    def forget_stages(self) -> None:
        """Removes the states after shared first stages once no run waits for them."""
        outcomes = self.done + self.tried
        if all(run is not None for _, run in outcomes):
            for stage in filter(None, {task.shared_stage for task, _ in outcomes}):
                stage.unlink(missing_ok=True)

    def _train(self, candidates: Sequence[Candidate], seeds: Sequence[int]) -> list[Outcome]:
        tasks = self._tasks(candidates, seeds)
        known = {task.key: (task, run) for task, run in self.done}
        new: dict[str, Task] = {}
        for task in tasks:  # of runs that no seed changes, the first stands for all
            if task.key not in known:
                new.setdefault(task.key, task)
        # only what begins alike keeps the state after its first stage (one that is solved in one go never writes it)
        alike = Counter(task.shared_stage for task in new.values())
        once = [task if alike[task.shared_stage] > 1 else replace(task, shared_stage=None) for task in new.values()]
        known |= {task.key: (task, run) for task, run in zip(once, self._perform(once), strict=True)}
        stand_ins = [known[task.key] for task in tasks]
        return [(one, run and run | {"seed": task.seed}) for task, (one, run) in zip(tasks, stand_ins, strict=True)]

    def _tasks(self, candidates: Sequence[Candidate], seeds: Sequence[int]) -> list[Task]:
        common, tasks = self.common, []
        known = [(address(r), definition(r), definition(Recipe("", r.stages[:1]))) for r, _ in candidates]
        for seed in seeds:
            models = {label: make_model(made, common.source.classes, seed) for label, made in self.encoders.items()}
            first = {label: identity(model) for label, model in models.items()}
            for (recipe, label), (found_by, whole, begin) in zip(candidates, known, strict=True):
                drawn = draws(recipe, common.settings["per_class"])
                begins = (seed, first[label]) if drawn else identity(models[label], head=False)
                rest = begins, self.data, described(common.settings)
                task = Task(
                    common=common,
                    found_by=found_by,
                    label=label,
                    encoder=self.encoders[label],
                    seed=seed,
                    first=first[label],
                    key=fingerprint(__version__, whole, *rest),
                    cost=round(100 * cost(recipe, models[label])),
                    shared_stage=common.store / f"stage-{fingerprint(__version__, begin, *rest)}.pt",
                )
                tasks.append(task)
        return tasks

    def _perform(self, tasks: list[Task]) -> list[dict | None]:
        """Each task's record in order, from the store where it is there."""
        records = [recall(task) for task in tasks]
        left = {i: task for i, task in enumerate(tasks) if records[i] is None}

        def done() -> str:
            return f"{len(tasks) - records.count(None)} of {len(tasks)} runs"

        # in units of work, not runs: a run costs up to three times as much as another, and the time left would jump about
        total, hidden = sum(task.cost for task in tasks), not self.progress_bar
        known = total - sum(task.cost for task in left.values())
        with tqdm(total=total, initial=known, desc=done(), bar_format=BAR, smoothing=0, disable=hidden) as bar:
            for i, record in self.performer(left):
                records[i] = record
                bar.set_description_str(done(), refresh=False)
                bar.set_postfix_str(tasks[i].stem.rsplit("-", 1)[0], refresh=False)
                bar.update(tasks[i].cost)
        return records
