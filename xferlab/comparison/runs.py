"""One run of a comparison: trained, scored, and kept as a small file that the same call finds again."""

from __future__ import annotations

import ast
import base64
import contextlib
import copy
import datetime
import functools
import inspect
import json
import math
import multiprocessing
import pickle
import re
import textwrap
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from .. import estimation, operating
from ..domains import Domain, Splits
from ..domains.domain import joined
from ..encoders import Classifier
from ..encoders import encoder as make_encoder
from ..errors import ArgumentError, CheckpointError, DataError, DivergenceError, MissingExtra
from ..evaluation import METRICS, Scores, evaluate
from ..machine import describe as machine
from ..recipe import Recipe, find
from ..storage import described, fingerprint, write_atomically
from ..training import Run
from . import selection, shift

_TURN = threading.Lock()  # fit seeds torch's random state, which the threads of a process share


@dataclass(frozen=True)
class Task:
    """One run, as an executor gets it."""

    recipe: str | Recipe
    label: str
    seed: int
    first: str
    key: str
    cost: int
    source: Splits
    target: Domain
    test: Domain | None
    labeled: Domain | None
    encoder: str | nn.Module | Callable
    settings: dict
    validators: dict[str, selection.Validator]
    store: Path
    keep_weights: bool | str
    deadline: float
    shared_stage: Path | None = None

    @property
    def name(self) -> str:
        return _recipe(self).name + self.label

    @property
    def stem(self) -> str:
        """What the names of the run's files begin with."""
        return "-".join([re.sub(r"[^\w-]+", "_", self.name), str(self.seed), self.key])

    @property
    def record(self) -> Path:
        return self.store / f"{self.stem}.json"

    @property
    def weights(self) -> Path | None:
        """The file of the run's weights, where they are kept."""
        return next((path for path in self.places if path.is_file()), None)

    @property
    def places(self) -> tuple[Path, Path]:
        """Where the run's weights are kept for good, and where until the choice is made."""
        return self.store / f"{self.stem}.safetensors", self.store / f"{self.stem}.candidate.safetensors"

    def settle(self, chosen: bool) -> None:
        """After the choice: the chosen run's weights are kept for good, another candidate's are removed."""
        kept, candidate = self.places
        if chosen and candidate.is_file():
            candidate.replace(kept)
        candidate.unlink(missing_ok=True)


def perform(task: Task) -> dict | None:
    """Trains, scores and stores one run; its record, or None when time is over."""
    if time.time() > task.deadline:
        return None
    with _TURN:
        if multiprocessing.parent_process() is not None:
            torch.set_num_threads(1)  # workers that each take every core slow each other down
        recipe = _recipe(task)
        record: dict[str, Any] = {"recipe": task.name, "about": recipe.about, "seed": task.seed, "key": task.key}
        record |= {"adapts": recipe.needs_target, "aligns": selection.aligns(recipe)}
        record |= {"strength": recipe.strength, "encoder": name_of(task.encoder)}
        record |= {"settings": json.loads(json.dumps(task.settings, default=described)), "machine": machine()}
        record |= {"date": datetime.date.today().isoformat(), "version": version()}
        model = make_model(task.encoder, task.source.classes, task.seed)
        if identity(model) != task.first:
            raise ArgumentError("the encoder's function makes another model at each call; make it anew, seed its draws")
        earlier = _read(task.record)
        kept = load_weights(task) if earlier else None
        if earlier and kept:  # a validator was added since
            record, model = earlier, kept
        else:
            try:
                run = _fit(task, recipe, model)
            except (DivergenceError, ArgumentError, DataError, MissingExtra) as error:
                record["error"] = f"{type(error).__name__}: {error}"
                return _remember(task, record) if isinstance(error, DivergenceError) else record
            model = run.model
            record |= {"seconds": run.seconds, "history": _thin(run.history)}
            record["validators"] = (earlier or {}).get("validators", {})
        try:
            on_source = evaluate(model, task.source.test)
            on_target = None if task.test is None else evaluate(model, task.test)
            record |= {"source": _scores(on_source), "target": on_target and _scores(on_target)}
            if task.source.test.site is not None:
                record["sites"] = _by_site(on_source, task.source.test)
            retrain = functools.partial(_retrain, task, recipe)
            candidate = selection.Candidate(model, recipe, task.source, task.target, retrain)
            record["shift"] = describe_shift(candidate, on_source, on_target)
            record["estimate"] = estimates(candidate, on_source, record["shift"]["temperature"])
            record["validators"] = record["validators"] | selection.validate(candidate, task.validators)
            if "leave_one_site_out" in task.validators:
                record["held_out"] = candidate.held_out
        except DataError as error:  # NaN in what the model gives
            record["error"] = str(error)
        if task.keep_weights and not task.weights:
            with write_atomically(task.places[task.keep_weights == "chosen"]) as temporary:
                save_file({k: v.cpu().contiguous().clone() for k, v in model.state_dict().items()}, temporary)
        return _remember(task, record)


def _recipe(task: Task) -> Recipe:
    return find(task.recipe) if isinstance(task.recipe, str) else task.recipe


def _fit(task: Task, recipe: Recipe, model: Classifier) -> Run:
    train = task.source.train
    if (per_class := task.settings["per_class"]) is not None:
        train = train.take(per_class, seed=task.seed)
    train = train if task.labeled is None else _beside(train, task.labeled)
    try:
        return _train(task, recipe, model, train, task.target, task.store / f"{task.stem}.pt")
    except CheckpointError:  # damaged, or of other code: begin again
        _forget_checkpoints(task)
        if task.shared_stage:
            task.shared_stage.unlink(missing_ok=True)
        model = make_model(task.encoder, task.source.classes, task.seed)
        return _train(task, recipe, model, train, task.target, task.store / f"{task.stem}.pt")


def _train(
    task: Task, recipe: Recipe, model: Classifier, train: Domain, target: Domain, checkpoint: Path | None = None
) -> Run:
    settings = {key: value for key, value in task.settings.items() if key != "per_class"}
    arguments: dict[str, Any] = dict(seed=task.seed, checkpoint=checkpoint, progress_bar=False) | settings
    arguments["first_stage"] = task.shared_stage if checkpoint else None  # made by the task's own data
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*lacks the classes")  # said once, by compare
        return recipe.fit(model, train, target if recipe.needs_target else None, **arguments)


def _retrain(task: Task, recipe: Recipe, train: Domain, target: Domain) -> Classifier:
    """The recipe's model of other domains, from the task's first weights."""
    return _train(task, recipe, make_model(task.encoder, task.source.classes, task.seed), train, target).model


def _beside(source: Domain, labeled: Domain) -> Domain:
    """The source and the few, repeated up to 10 times, to make up at most half; beside several sites, as one more."""
    if source.site is not None:
        source = replace(source, sites=(*source.sites, "the target"))
        site = torch.full((len(labeled),), len(source.sites) - 1, device=source.device)
        labeled = replace(labeled, site=site, sites=source.sites)
    times = max(1, min(10, len(source) // len(labeled))) if source.site is None else 1
    return replace(joined([source] + [labeled] * times), groups=None)


def _by_site(on_source: Scores, test: Domain) -> dict[str, dict[str, float]]:
    """The scores of each site of the source's test part, by name."""
    assert test.site is not None
    found = {}
    for k in test.site.unique().tolist():
        rows = (test.site == k).cpu().numpy()
        one = replace(
            on_source, probabilities=on_source.probabilities[rows], labels=on_source.labels[rows], groups=None
        )
        found[test.sites[k]] = _scores(one)
    return found


def _remember(task: Task, record: dict) -> dict:
    with write_atomically(task.record) as temporary:
        temporary.write_text(json.dumps(_finite(record)) + "\n", "utf-8")
    _forget_checkpoints(task)
    return _finite(record)


def _forget_checkpoints(task: Task) -> None:
    for path in task.store.glob(f"{task.stem}.*.pt"):
        path.unlink(missing_ok=True)


def recall(task: Task) -> dict | None:
    """The stored record, if it holds all that is asked for."""
    record = _read(task.record)
    if record is None:
        return None
    complete = set(task.validators) <= set(record.get("validators", ())) and (
        task.keep_weights is not True or task.weights
    )
    if "error" not in record and not complete:
        return None
    _forget_checkpoints(task)  # a kill may have come between the record and this
    return record


def _read(path: Path) -> dict | None:
    with contextlib.suppress(OSError, ValueError):
        record = json.loads(path.read_text("utf-8"))
        return record if isinstance(record, dict) and "key" in record else None
    return None


def load_weights(task: Task) -> Classifier | None:
    """The run's weights in a fresh model, or None when they were not kept."""
    if (path := task.weights) is None:
        return None
    model = make_model(task.encoder, task.source.classes, task.seed)
    for stage in _recipe(task).stages:
        stage.strategy.prepare(model)  # it may have added parts
    model.load_state_dict(load_file(path))
    return model.eval()


def name_of(encoder: str | nn.Module | Callable) -> str:
    return encoder if isinstance(encoder, str) else getattr(encoder, "__name__", type(encoder).__name__)


def make_model(encoder: str | nn.Module | Callable, classes: tuple[str, ...], seed: int) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made: Any
        if isinstance(encoder, str):
            made = make_encoder(encoder, seed=seed)
        elif isinstance(encoder, nn.Module):
            made = copy.deepcopy(encoder)
        else:
            made = encoder(seed=seed) if "seed" in inspect.signature(encoder).parameters else encoder()
    if isinstance(made, Classifier):
        if made.classes != classes:
            raise ArgumentError(f"the model's classes are {made.classes}; give it the source's, in order: {classes}")
        return made
    return Classifier(made if hasattr(made, "blocks") else make_encoder(made), classes, seed=seed)


def identity(model: Classifier) -> str:
    encoder = model.encoder
    inputs = [getattr(encoder, name, None) for name in ("name", "channels", "size", "mean", "std")]
    return fingerprint(repr(model), inputs, model.state_dict())


def definition(recipe: Recipe) -> str:
    """Names what a recipe does: any change of a hyper-parameter, strategy or objective's code shows."""
    stages: list[Any] = []
    for stage in recipe.stages:
        strategy = stage.strategy
        rates = [strategy.rate(i, 8, p / 4) for i in range(8) for p in range(5)]
        objectives = [(o.hyperparameters(), o.extra_repr(), _code(type(o))) for o in stage.objectives()]
        moves = (strategy.name, strategy.head, rates)
        stages.append((objectives, *moves, stage.data, stage.share, stage.lr, described(stage.augment)))
        stages += [stage.solve.__qualname__] if stage.solve else []
    return fingerprint(recipe.name, stages, getattr(recipe.finish, "__qualname__", None))


def _code(kind: type) -> list[str]:
    """Source of an objective's classes, without comments, docstrings and layout."""
    trees = []
    for parent in kind.__mro__[: kind.__mro__.index(nn.Module)]:
        with contextlib.suppress(OSError, TypeError, SyntaxError):  # typed in by hand: no source to be had
            tree = ast.parse(textwrap.dedent(inspect.getsource(parent)))
            for node in ast.walk(tree):
                if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
                    node.body = node.body[1:]
            trees.append(ast.dump(tree))
    return trees


def version() -> str:
    from .. import __version__

    return __version__


def _scores(scores: Scores) -> dict[str, float]:
    return {name: getattr(scores, name) for name in METRICS} | {"n": scores.n}


def describe_shift(candidate: selection.Candidate, on_source: Scores, on_target_test: Scores | None) -> dict:
    """What the shift did to the model. Class shares rest on the source's val and test parts; the temperature on val."""
    on_val, on_target = (logits.softmax(1).numpy() for _, logits in (candidate.on_source_val, candidate.on_target))
    labels = candidate.source_val_labels.numpy()
    predicted, truth = np.r_[on_val.argmax(1), on_source.predictions], np.r_[labels, on_source.labels]
    shares = shift.target_shares(predicted, truth, on_target.argmax(1), len(candidate.model.classes))
    found = {name: getattr(shares, name).tolist() for name in ("estimate", "low", "high", "source")}
    found |= {
        "distance": shares.distance,
        "differs": shares.differs,
        "temperature": operating.temperature(on_val, labels),
    }
    found |= {"confidence_source": float(on_source.probabilities.max(1).mean())}
    found |= {"confidence_target": float(on_target.max(1).mean())}
    for name, scores in (("source", on_source), ("target", on_target_test)):
        if scores is not None:
            p = operating.scaled(scores.probabilities, found["temperature"])
            found[f"ece_{name}_scaled"] = replace(scores, probabilities=p).ece
    return found


def estimates(candidate: selection.Candidate, on_source: Scores, temperature: float) -> dict:
    """Estimated accuracy at the target, of probabilities whose temperature was fitted on the source's validation images,
    each `[value, low, high]`; and the answers there, by which seeds are held against each other."""
    val, target = (logits.softmax(1).numpy() for _, logits in (candidate.on_source_val, candidate.on_target))
    labels = candidate.source_val_labels.numpy()
    held, on_target = (
        operating.scaled(np.r_[val, on_source.probabilities], temperature),
        operating.scaled(target, temperature),
    )
    sides = held, np.r_[labels, on_source.labels], on_target
    kinds = (estimation.average_thresholded_confidence, estimation.difference_of_confidences)
    found: dict = {kind.__name__: list(estimation.interval(kind, *sides)) for kind in kinds}
    answers = target.argmax(1).astype(np.uint8 if target.shape[1] < 256 else np.uint16)
    return found | {"answers": base64.b64encode(answers.tobytes()).decode(), "bytes": answers.itemsize}


def _thin(history: list[dict]) -> list[dict]:
    """About 50 entries, the last among them, in five digits."""
    every = max(1, len(history) // 50)
    kept = [entry for i, entry in enumerate(history) if i % every == 0 or i == len(history) - 1]
    return [{name: float(f"{value:.5g}") for name, value in entry.items()} for entry in kept]


def _finite(value):
    """NaN and infinities as None, which JSON can say."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def cost(recipe: Recipe, model: Classifier) -> float:
    """About how long a run of the recipe takes, in the time that source only takes, for plans and bars."""
    total = 0.0
    for stage in recipe.stages:
        if stage.solve:
            total += 0.05
            continue
        each = 2.0 if stage.data == "both" else 1.0
        if stage.strategy.freezes_encoder(model) and not stage.augment:
            each = 0.01  # features are computed once
        elif not stage.objectives():
            each /= 3  # forward only
        total += stage.share * each
    return total + 0.1  # its evaluation


def check_picklable(tasks: list[Task]) -> None:
    try:
        pickle.dumps([(task.recipe, task.encoder, task.validators, task.settings) for task in tasks])
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        instead = "give recipes by name, and functions a module defines"
        raise ArgumentError(f"an executor of processes cannot take this ({error}); {instead}") from error
