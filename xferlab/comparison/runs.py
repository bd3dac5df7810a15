"""One run of a comparison: trained, scored, and kept as a small file that the same call finds again."""

from __future__ import annotations

import contextlib
import datetime
import json
import re
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from .. import __version__
from ..domains import Domain, Splits
from ..domains.domain import joined
from ..encoders import Classifier
from ..errors import ArgumentError, CheckpointError, DataError, DivergenceError, MissingExtra
from ..machine import describe as machine
from ..recipe import Recipe, find
from ..storage import described, write_atomically, write_text
from ..training import Run
from . import selection
from .definitions import identity, make_model, name_of
from .scoring import measured

KEPT = (".safetensors", ".candidate.safetensors")  # files of weights, for good and until the choice is made
_TURN = threading.Lock()  # fit seeds torch's random state, which the threads of a process share


@dataclass(frozen=True)
class Common:
    """What all runs of a comparison share: data, arguments of `Recipe.fit`, and what is asked of each run."""

    source: Splits
    target: Domain
    test: Domain | None
    labeled: Domain | None
    settings: dict
    validators: dict[str, selection.Validator]
    store: Path
    keep_weights: bool | str
    deadline: float


@dataclass(frozen=True)
class Task:
    """One run, as an executor gets it."""

    common: Common
    found_by: str | Recipe
    label: str
    encoder: str | nn.Module | Callable
    seed: int
    first: str
    key: str
    cost: int
    shared_stage: Path | None = None

    @property
    def recipe(self) -> Recipe:
        return find(self.found_by) if isinstance(self.found_by, str) else self.found_by

    @property
    def name(self) -> str:
        return self.recipe.name + self.label

    @property
    def stem(self) -> str:
        """What the names of the run's files begin with."""
        return "-".join([re.sub(r"[^\w-]+", "_", self.name), str(self.seed), self.key])

    def file(self, ending: str) -> Path:
        return self.common.store / f"{self.stem}{ending}"

    @property
    def weights(self) -> Path | None:
        """The file of the run's weights, where they are kept."""
        return next((path for path in map(self.file, KEPT) if path.is_file()), None)

    def model(self) -> Classifier:
        """The model before any training."""
        return make_model(self.encoder, self.common.source.classes, self.seed)

    def trained(self) -> Classifier | None:
        """The model with the weights that were kept, None where none were."""
        if (path := self.weights) is None:
            return None
        model = self.model()
        for stage in self.recipe.stages:
            stage.strategy.prepare(model)  # it may have added parts
        model.load_state_dict(load_file(path))
        return model.eval()

    def settle(self, chosen: bool) -> None:
        """After the choice: the chosen run's weights are kept for good, another candidate's are removed."""
        kept, candidate = map(self.file, KEPT)
        if chosen and candidate.is_file():
            candidate.replace(kept)
        candidate.unlink(missing_ok=True)

    def forget_checkpoints(self) -> None:
        for path in self.common.store.glob(f"{self.stem}.*.pt"):
            path.unlink(missing_ok=True)


def perform(task: Task) -> dict | None:
    """Trains, scores and stores one run; its record, or None when time is over."""
    common = task.common
    if time.time() > common.deadline:
        return None
    with _TURN:
        model = task.model()
        if identity(model) != task.first:
            raise ArgumentError("the encoder's function makes another model at each call; make it anew, seed its draws")
        earlier = _read(task) or {}
        if earlier and (kept := task.trained()):  # a validator was added since
            record, model = earlier, kept
        else:
            record = _about(task)
            try:
                run = _fit(task, model)
            except (DivergenceError, ArgumentError, DataError, MissingExtra) as error:
                record["error"] = f"{type(error).__name__}: {error}"
                return _remember(task, record) if isinstance(error, DivergenceError) else record
            model = run.model
            record |= {"seconds": run.seconds, "history": _thin(run.history)}
            record["validators"] = earlier.get("validators", {})

        def retrain(train: Domain, target: Domain) -> Classifier:
            return _train(task, task.model(), train, target).model

        candidate = selection.Candidate(model, task.recipe, common.source, common.target, retrain)
        try:
            record |= measured(candidate, common.test)
            record["validators"] = record["validators"] | selection.validate(candidate, common.validators)
            if "leave_one_site_out" in common.validators:
                record["held_out"] = candidate.held_out
        except DataError as error:  # NaN in what the model gives
            record["error"] = str(error)
        if common.keep_weights and not task.weights:
            with write_atomically(task.file(KEPT[common.keep_weights == "chosen"])) as temporary:
                save_file({k: v.cpu().contiguous().clone() for k, v in model.state_dict().items()}, temporary)
        return _remember(task, record)


def _about(task: Task) -> dict[str, Any]:
    """What a record says of the run before it is trained."""
    recipe = task.recipe
    return {
        "recipe": task.name,
        "about": recipe.about,
        "seed": task.seed,
        "key": task.key,
        "adapts": recipe.needs_target,
        "aligns": selection.aligns(recipe),
        "strength": recipe.strength,
        "encoder": name_of(task.encoder),
        "settings": json.loads(json.dumps(task.common.settings, default=described)),
        "machine": machine(),
        "date": datetime.date.today().isoformat(),
        "version": __version__,
    }


def _fit(task: Task, model: Classifier) -> Run:
    train, target, labeled = task.common.source.train, task.common.target, task.common.labeled
    if (per_class := task.common.settings["per_class"]) is not None:
        train = train.take(per_class, seed=task.seed)
    train = train if labeled is None else _beside(train, labeled)
    files = {"checkpoint": task.file(".pt"), "first_stage": task.shared_stage}
    try:
        return _train(task, model, train, target, **files)
    except CheckpointError:  # damaged, or of other code: begin again
        task.forget_checkpoints()
        if task.shared_stage:
            task.shared_stage.unlink(missing_ok=True)
        return _train(task, task.model(), train, target, **files)


def _train(task: Task, model: Classifier, train: Domain, target: Domain, **files: Path | None) -> Run:
    settings: dict[str, Any] = {key: value for key, value in task.common.settings.items() if key != "per_class"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*lacks the classes")  # said once, by compare
        return task.recipe.fit(model, train, target, seed=task.seed, progress_bar=False, **files | settings)


def _beside(source: Domain, labeled: Domain) -> Domain:
    """The source and the few, repeated up to 10 times, to make up at most half; beside several sites, as one more."""
    if source.site is not None:
        source = replace(source, sites=(*source.sites, "the target"))
        site = torch.full((len(labeled),), len(source.sites) - 1, device=source.device)
        labeled = replace(labeled, site=site, sites=source.sites)
    times = max(1, min(10, len(source) // len(labeled))) if source.site is None else 1
    return replace(joined([source] + [labeled] * times), groups=None)


def _remember(task: Task, record: dict) -> dict:
    record = json.loads(json.dumps(record), parse_constant=lambda _: None)  # NaN and infinities, which JSON cannot say
    write_text(task.file(".json"), json.dumps(record) + "\n")
    task.forget_checkpoints()
    return record


def recall(task: Task) -> dict | None:
    """The stored record, if it holds all that is asked for."""
    if (record := _read(task)) is None:
        return None
    judged = set(task.common.validators) <= set(record.get("validators", ()))
    complete = judged and (task.common.keep_weights is not True or task.weights)
    if "error" not in record and not complete:
        return None
    task.forget_checkpoints()  # a kill may have come between the record and this
    return record


def _read(task: Task) -> dict | None:
    with contextlib.suppress(OSError, ValueError):
        record = json.loads(task.file(".json").read_text("utf-8"))
        return record if isinstance(record, dict) and "key" in record else None
    return None


def _thin(history: list[dict]) -> list[dict]:
    """About 50 entries, the last among them, in five digits."""
    every = max(1, len(history) // 50)
    kept = [entry for i, entry in enumerate(history) if i % every == 0 or i == len(history) - 1]
    return [{name: float(f"{value:.5g}") for name, value in entry.items()} for entry in kept]
