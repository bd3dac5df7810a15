"""compare(): every recipe, every seed, each finished run kept; and the Leaderboard that says what can be told from them."""

from __future__ import annotations

import ast
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
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm.auto import tqdm

from . import selection, shift
from .domains import Domain, Splits
from .domains.domain import cut
from .encoders import Classifier
from .encoders import encoder as make_encoder
from .errors import ArgumentError, CheckpointError, DataError, DivergenceError, MissingExtra, TargetLabelsError
from .evaluation import METRICS, Scores, evaluate
from .lab import machine
from .leaderboard import Leaderboard
from .recipes import Recipe
from .recipes import recipes as registry
from .storage import cache_folder, fingerprint, write_atomically

_TURN = threading.Lock()  # fit seeds torch's random state, which the threads of a process share
_FIT = {"augment", "batch_size", "checkpoint_every", "device", "precision", "views", "warmup", "weight_decay"}


def compare(
    recipes: Sequence[str | Recipe] | None,
    source: Splits,
    target: Splits | Domain,
    *,
    seeds: int | Sequence[int] = 3,
    validators: Sequence[str] | dict[str, selection.Validator] | None = None,
    selector: str | None = None,
    labeled: Domain | None = None,
    encoder: str | nn.Module | Callable[..., nn.Module] = "lenet",
    metric: str = "accuracy",
    steps: int = 400,
    lr: float = 1e-3,
    per_class: int | None = None,
    minutes: float | None = None,
    store: str | Path | None = None,
    keep_weights: bool = False,
    executor: Executor | None = None,
    progress_bar: bool = True,
    **arguments,
) -> Leaderboard:
    """Trains every recipe with every seed and ranks them without target labels.

    recipes     names in `xl.recipes`, or Recipes; None for all of `xl.recipes`
    source      labelled Splits: `train` trains, `val` is what validators may see, `test` gives the source score
    target      Splits: `train`, its labels dropped, is adapted to and validated on, and the labels of `test` make the
                oracle's columns and nothing else; or one unlabelled Domain, and there is no oracle
    seeds       how many (0, 1, ...), or which: each sets the head's and the encoder's first weights, batches and draws
    validators  names in `selection.validators` (None for all), or functions by name
    selector    the validator that `best()` and the report go by; fix it before the oracle is looked at. None is
                "target_labels" where enough images are `labeled`, else "information_maximization"
    labeled     the few target examples that have labels (not ones of `target.test`): they join the source's training
                examples, each up to 10 times over, to make up at most half. Of 40 or more, half are kept out of training
                and are the validator "target_labels": balanced accuracy on them
    encoder     a name for `xl.encoder`, a module (copied for each run), or a function that makes an Encoder, a module or
                a Classifier; given the seed if it has an argument `seed`
    metric      "accuracy", "balanced_accuracy" or "auc": of source and target scores
    per_class   draw so many source training examples of each class, anew for each seed; None takes all
    minutes     start no run after that long; what was left out is said. Runs go seed by seed, so all recipes get as far
    store       folder of finished runs (default: in the cache folder)
    keep_weights  keep each run's weights there too, so that `best().model` is there
    executor    any `concurrent.futures` executor. Processes need recipes by name, and picklable functions; start them
                with `multiprocessing.get_context("spawn")`. Threads take turns, since they share torch's random state
    steps, lr, and further arguments go to `Recipe.fit`; there is no checkpoint selection: the last step is what counts

    A finished run is one small JSON file, named by recipe, seed and a fingerprint of all that it depends on: data,
    objectives' hyper-parameters and code, strategies, arguments, first weights and the package's version (not functions
    that objectives call). The same call never repeats it, and takes an interrupted one up from its checkpoint.

    Each record also says what the shift did to the model, see `shift`: class shares of the target estimated from its
    answers, its confidence on both sides, and calibration before and after temperature scaling.

    A recipe that diverges or cannot run on this encoder or data is listed with the reason. Raises `DataError` for a class
    that the source lacks or multi-label data, `TargetLabelsError` for a labelled target Domain, `ArgumentError` for unknown
    names or when no run succeeded.
    """
    source, adapt, test, notes = _domains(source, target)
    chosen = _recipes(recipes)
    few, judge = _labeled(labeled, source, test, notes)
    selector = selector or ("target_labels" if judge else "information_maximization")
    judges = _validators(validators, selector, {"target_labels": judge} if judge else {})
    if metric not in METRICS or metric == "ece":
        raise ArgumentError(f"metric is {metric!r}, expected 'accuracy', 'balanced_accuracy' or 'auc'")
    seeds = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ArgumentError(f"seeds are {seeds}, expected at least one, each once")
    if unknown := set(arguments) - _FIT:
        raise ArgumentError(
            f"compare has no argument {sorted(unknown)[0]!r}; of fit's it takes {', '.join(sorted(_FIT))}"
        )
    store = Path(store) if store else cache_folder("runs")
    deadline = time.time() + 60 * minutes if minutes is not None else math.inf

    data = fingerprint(
        [(d.inputs, d.labels) for d in source.parts().values()],
        adapt.inputs,
        source.classes,
        test and (test.inputs, test.labels),
        *([] if labeled is None else [(labeled.inputs, labeled.labels, labeled.classes)]),
    )
    settings = {"steps": steps, "lr": lr, "per_class": per_class} | arguments
    shared = (source, adapt, test, few, encoder, settings, judges, store, keep_weights, deadline)
    tasks, definitions = [], {recipe.name: _definition(recipe) for recipe in chosen}
    for seed in seeds:
        first = _identity(model := _model(encoder, source.classes, seed))
        for recipe in chosen:
            key = fingerprint(_version(), definitions[recipe.name], seed, data, first, _stable(settings))
            known = recipe.name if registry.get(recipe.name) is recipe else recipe
            tasks.append(_Task(known, seed, first, key, round(100 * cost(recipe, model)), *shared))
    if executor is not None and not isinstance(executor, ThreadPoolExecutor):
        _check_picklable(tasks)
    runs = list(_perform(tasks, executor, progress_bar))
    if left := sum(run is None for run in runs):
        notes.append(
            f"{left} of {len(tasks)} runs were left out: {minutes:g} minutes were over; the same call goes on from here"
        )
    runs = [run for run in runs if run is not None]
    if not any("error" not in run for run in runs):
        raise ArgumentError(
            f"no run succeeded; the first: {runs[0]['error']}"
            if runs
            else f"no run was finished in {minutes:g} minutes; give more"
        )
    name = encoder if isinstance(encoder, str) else getattr(encoder, "__name__", type(encoder).__name__)
    said = {"steps": steps, "lr": lr, "per_class": per_class, "seeds": seeds} | arguments
    setting = ", ".join(
        [f"{source.name} -> {adapt.name}", name, *(f"{k} {_stable(v)}" for k, v in said.items() if v is not None)]
    )
    board = Leaderboard(runs, [recipe.name for recipe in chosen], list(judges), selector, metric, setting, notes)
    board.classes = source.classes
    board.true_shares = None if test is None else (test.align(source.classes).counts() / len(test)).tolist()
    by_name = {recipe.name: recipe for recipe in chosen}
    board.load_model = lambda run: _load(
        store, run, by_name[run["recipe"]], _model(encoder, source.classes, run["seed"])
    )
    return board


@dataclass(frozen=True)
class _Task:
    """One run, as an executor gets it."""

    recipe: str | Recipe
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
    keep_weights: bool
    deadline: float

    @property
    def stem(self) -> str:
        return _stem(self.recipe if isinstance(self.recipe, str) else self.recipe.name, self.seed, self.key)


def _perform(tasks: list[_Task], executor: Executor | None, progress_bar: bool) -> Iterable[dict | None]:
    """Each task's record in order, from the store where it is there."""
    records = [_recall(task) for task in tasks]
    waiting = [i for i, record in enumerate(records) if record is None]
    done = {i for i, record in enumerate(records) if record is not None}
    # in units of work, not runs: a run costs up to three times as much as another, and the time left would jump about
    with tqdm(
        total=sum(task.cost for task in tasks),
        initial=sum(tasks[i].cost for i in done),
        desc=f"{len(done)} of {len(tasks)} runs",
        bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed} gone, {remaining} left{postfix}",
        smoothing=0,
        disable=not progress_bar,
    ) as bar:

        def finished(i: int):
            done.update([i] if records[i] else [])
            bar.set_description_str(f"{len(done)} of {len(tasks)} runs", refresh=False)
            bar.update(tasks[i].cost)

        if executor is None:
            for i in waiting:
                bar.set_postfix_str(tasks[i].stem.rsplit("-", 1)[0], refresh=True)
                records[i] = _run(tasks[i])
                finished(i)
        else:
            futures = {executor.submit(_run, tasks[i]): i for i in waiting}
            try:
                for future in as_completed(futures):
                    records[futures[future]] = future.result()
                    finished(futures[future])
            finally:  # after an error, what has not begun is not begun
                for future in futures:
                    future.cancel()
    return records


def _run(task: _Task) -> dict | None:
    """Trains, scores and stores one run; its record, or None when time is over."""
    if time.time() > task.deadline:
        return None
    with _TURN:
        if multiprocessing.parent_process() is not None:
            torch.set_num_threads(1)  # workers that each take every core slow each other down
        recipe = registry[task.recipe] if isinstance(task.recipe, str) else task.recipe
        record = {"recipe": recipe.name, "about": recipe.about, "seed": task.seed, "key": task.key}
        record |= {"settings": json.loads(json.dumps(task.settings, default=_stable)), "machine": machine()}
        record |= {"date": datetime.date.today().isoformat(), "version": _version()}
        model = _model(task.encoder, task.source.classes, task.seed)
        if _identity(model) != task.first:
            raise ArgumentError(
                "the encoder's function makes another model at each call; seed what it draws, and make it anew"
            )
        weights = task.store / f"{task.stem}.safetensors"
        earlier = _read(task.store / f"{task.stem}.json")
        if earlier and weights.is_file():  # a validator was added since
            record = earlier
            _load(task.store, earlier, recipe, model)
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
            here, there = evaluate(model, task.source.test), task.test and evaluate(model, task.test)
            record |= {"source": _scores(here), "target": there and _scores(there)}
            candidate = selection.Candidate(model, recipe, task.source, task.target)
            record["shift"] = _shift(candidate, here, there)
            record["validators"] = record["validators"] | selection.validate(candidate, task.validators)
        except DataError as error:  # NaN in what the model gives
            record["error"] = str(error)
        if task.keep_weights and not weights.is_file():
            with write_atomically(weights) as temporary:
                save_file({k: v.cpu().contiguous().clone() for k, v in model.state_dict().items()}, temporary)
        return _remember(task, record)


def _fit(task: _Task, recipe: Recipe, model: Classifier):
    settings = dict(task.settings)
    per_class = settings.pop("per_class")
    train = task.source.train if per_class is None else task.source.train.take(per_class, seed=task.seed)
    train = train if task.labeled is None else _beside(train, task.labeled)
    target = task.target if recipe.needs_target else None
    checkpoint = task.store / f"{task.stem}.pt"
    arguments = dict(seed=task.seed, checkpoint=checkpoint, progress_bar=False) | settings
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*lacks the classes")  # said once, by compare
        try:
            return recipe.fit(model, train, target, **arguments)
        except CheckpointError:  # damaged, or of other code: begin again
            _forget_checkpoints(task)
            return recipe.fit(_model(task.encoder, task.source.classes, task.seed), train, target, **arguments)


def _remember(task: _Task, record: dict) -> dict:
    with write_atomically(task.store / f"{task.stem}.json") as temporary:
        temporary.write_text(json.dumps(_finite(record)) + "\n", "utf-8")
    _forget_checkpoints(task)
    return _finite(record)


def _forget_checkpoints(task: _Task) -> None:
    for path in task.store.glob(f"{task.stem}.*.pt"):
        path.unlink(missing_ok=True)


def _recall(task: _Task) -> dict | None:
    """The stored record, if it holds all that is asked for."""
    record = _read(task.store / f"{task.stem}.json")
    if record is None:
        return None
    complete = "error" in record or set(task.validators) <= set(record["validators"])
    kept = not task.keep_weights or "error" in record or (task.store / f"{task.stem}.safetensors").is_file()
    if not (complete and kept):
        return None
    _forget_checkpoints(task)  # a kill may have come between the record and this
    return record


def _read(path: Path) -> dict | None:
    with contextlib.suppress(OSError, ValueError):
        record = json.loads(path.read_text("utf-8"))
        return record if isinstance(record, dict) and "key" in record else None
    return None


def _load(store: Path, run: dict, recipe: Recipe, model: Classifier) -> Classifier | None:
    """The run's weights in a fresh model, or None when they were not kept."""
    path = store / f"{_stem(run['recipe'], run['seed'], run['key'])}.safetensors"
    if not path.is_file():
        return None
    for stage in recipe.stages:
        stage.strategy.prepare(model)  # it may have added parts
    model.load_state_dict(load_file(path))
    return model.eval()


def _stem(recipe: str, seed: int, key: str) -> str:
    return "-".join([re.sub(r"[^\w-]+", "_", recipe), str(seed), key])


def _domains(source: Splits, target: Splits | Domain) -> tuple[Splits, Domain, Domain | None, list[str]]:
    """Source, the target's unlabelled examples, its labelled test part or None, and what is to be said of them."""
    if not isinstance(source, Splits):
        raise ArgumentError(f"source is a {type(source).__name__}, expected Splits, such as xl.load(...) gives")
    if not isinstance(target, (Splits, Domain)):
        raise ArgumentError(f"target is a {type(target).__name__}, expected Splits or an unlabelled Domain")
    if isinstance(target, Domain) and target.labels is not None:
        raise TargetLabelsError(
            f"target {target.name!r} has labels; pass target.unlabeled(), or Splits, whose test labels make the oracle's columns"
        )
    adapt = target.train.unlabeled() if isinstance(target, Splits) else target
    test = target.test if isinstance(target, Splits) and target.test.labels is not None else None
    if any(part.labels is None for part in source.parts().values()):
        raise DataError(
            f"source {source.name!r} has an unlabelled part; compare needs labels in its train, val and test"
        )
    if source.train.multilabel or (test is not None and test.multilabel):
        raise DataError(
            "compare chooses between single-label classifiers; of multi-label data, pass one label at a time"
        )
    if source.train.is_image != adapt.is_image:
        raise DataError(f"source {source.name!r} and target {adapt.name!r} are not both images, or both tokens")
    adapt.align(source.classes)  # raises for a class that the source lacks
    notes = (
        []
        if test is not None
        else ["The target has no labelled test part: there is no oracle, and nothing here measures target accuracy."]
    )
    empty = [name for name, count in zip(source.classes, source.train.counts().tolist(), strict=True) if count == 0]
    if empty:
        notes.append(f"The source has no training example of {', '.join(empty)}: no recipe can learn it from labels.")
    if absent := [name for name in source.classes if adapt.classes and name not in adapt.classes]:
        notes.append(
            f"The target lacks {', '.join(absent)}: methods that match whole domains may force examples into it."
        )
    if test is not None and (
        unseen := [n for n, c in zip(test.classes, test.counts().tolist(), strict=True) if c == 0]
    ):
        notes.append(f"The target's test part has no example of {', '.join(unseen)}: the oracle says nothing of it.")
    if source.train.synthetic or adapt.synthetic:
        notes.append("Synthetic data: rendered, not from patients.")
    return source, adapt, test, notes


def _labeled(
    labeled: Domain | None, source: Splits, test: Domain | None, notes: list[str]
) -> tuple[Domain | None, Callable | None]:
    """The labelled target examples to train on, and the validator that the others make, or None."""
    if labeled is None:
        return None, None
    if labeled.labels is None or labeled.multilabel:
        raise DataError(
            f"labeled {labeled.name!r} has no single-label labels; pass target examples with one class each"
        )
    if labeled.inputs.shape[1:] != source.train.inputs.shape[1:]:
        raise DataError(
            f"labeled {labeled.name!r} holds {tuple(labeled.inputs.shape[1:])}, the source {tuple(source.train.inputs.shape[1:])}; "
            "bring them to one shape"
        )
    labeled, seen = labeled.align(source.classes), set()
    if test is not None:
        seen = {x.numpy().tobytes() for x in test.inputs.cpu()} & {x.numpy().tobytes() for x in labeled.inputs.cpu()}
    if seen:
        notes.append(f"{len(seen)} of the labelled images are in the target's test part too: the oracle is too good.")
    if len(labeled) < 40:
        notes.append(f"Trained on {len(labeled)} labelled target images too: too few to choose by as well.")
        return labeled, None
    train, held = (labeled[rows] for rows in cut(labeled, (0.5, 0.5)))
    notes.append(
        f"Trained on {len(train)} labelled target images too; {len(held)} others are the validator target_labels."
    )
    return train, functools.partial(selection.on_labels, held)


def _beside(source: Domain, labeled: Domain) -> Domain:
    """The source and the few, repeated up to 10 times, to make up at most half."""
    times = max(1, min(10, len(source) // len(labeled)))
    few = [labeled] * times
    cat = lambda name: torch.cat([getattr(part, name) for part in [source, *few]])
    return replace(source, inputs=cat("inputs"), labels=cat("labels"), groups=None)


def _recipes(wanted: Sequence[str | Recipe] | None) -> list[Recipe]:
    wanted = list(registry) if wanted is None else [wanted] if isinstance(wanted, (str, Recipe)) else list(wanted)
    if unknown := [name for name in wanted if not isinstance(name, Recipe) and name not in registry]:
        raise ArgumentError(f"no recipe is called {unknown[0]!r}; xl.recipes has {', '.join(registry)}")
    chosen = [recipe if isinstance(recipe, Recipe) else registry[recipe] for recipe in wanted]
    names = [recipe.name for recipe in chosen]
    if not names or len(set(names)) < len(names):
        raise ArgumentError(f"recipes are {names}, expected at least one, each name once")
    return chosen


def _validators(wanted: Sequence[str] | dict | None, selector: str, more: dict) -> dict[str, selection.Validator]:
    known = more | selection.validators
    if not isinstance(wanted, dict):
        names = list(known) if wanted is None else list(wanted)
        if unknown := [name for name in names if name not in known]:
            raise ArgumentError(f"no validator is called {unknown[0]!r}; selection.validators has {', '.join(known)}")
        wanted = {name: known[name] for name in names}
    wanted = more | dict(wanted)
    if selector not in wanted:
        raise ArgumentError(f"selector is {selector!r}, expected one of the validators: {', '.join(wanted)}")
    return wanted


def cost(recipe: Recipe, model: Classifier) -> float:
    """About how long a run of the recipe takes, in the time that source only takes, for plans and bars."""
    total = 0.0
    for stage in recipe.stages:
        each = 2.0 if stage.data == "both" else 1.0
        if stage.strategy.freezes_encoder(model) and not stage.augment:
            each = 0.01  # features are computed once
        elif not stage.objectives():
            each /= 3  # forward only
        total += stage.share * each
    return total + 0.1  # its evaluation


def _model(encoder: str | nn.Module | Callable, classes: tuple[str, ...], seed: int) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(encoder, str):
            made = make_encoder(encoder, seed=seed)
        elif isinstance(encoder, nn.Module):
            made = copy.deepcopy(encoder)
        else:
            made = encoder(seed=seed) if "seed" in inspect.signature(encoder).parameters else encoder()
    if isinstance(made, Classifier):
        if made.classes != classes:
            raise ArgumentError(
                f"the model's classes are {made.classes}, the source's {classes}; give it the source's, in order"
            )
        return made
    return Classifier(made if hasattr(made, "blocks") else make_encoder(made), classes, seed=seed)


def _identity(model: Classifier) -> str:
    encoder = model.encoder
    inputs = [getattr(encoder, name, None) for name in ("name", "channels", "size", "mean", "std")]
    return fingerprint(repr(model), inputs, model.state_dict())


def _definition(recipe: Recipe) -> str:
    """Names what a recipe does: any change of a hyper-parameter, strategy or objective's code shows."""
    stages = []
    for stage in recipe.stages:
        strategy = stage.strategy
        rates = [strategy.rate(i, 8, p / 4) for i in range(8) for p in range(5)]
        objectives = [(o.hyperparameters(), o.extra_repr(), _code(type(o))) for o in stage.objectives()]
        stages.append(
            (objectives, strategy.name, strategy.head, rates, stage.data, stage.share, stage.lr, _stable(stage.augment))
        )
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


def _stable(value) -> str:
    """`repr` without addresses, which differ from process to process."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def _version() -> str:
    from . import __version__

    return __version__


def _check_picklable(tasks: list[_Task]) -> None:
    try:
        pickle.dumps([(task.recipe, task.encoder, task.validators, task.settings) for task in tasks])
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ArgumentError(
            f"an executor of processes cannot take this ({error}); give recipes by name, and functions a module defines"
        ) from error


def _scores(scores: Scores) -> dict[str, float]:
    return {name: getattr(scores, name) for name in METRICS} | {"n": scores.n}


def _shift(candidate: selection.Candidate, here: Scores, there: Scores | None) -> dict:
    """What the shift did to the model. Class shares rest on the source's val and test parts; the temperature on val."""
    on_val, on_target = (logits.softmax(1).numpy() for _, logits in (candidate.on_source_val, candidate.on_target))
    labels = candidate.source_val_labels.numpy()
    predicted, truth = np.r_[on_val.argmax(1), here.predictions], np.r_[labels, here.labels]
    shares = shift.target_shares(predicted, truth, on_target.argmax(1), len(candidate.model.classes))
    found = {name: getattr(shares, name).tolist() for name in ("estimate", "low", "high", "source")}
    found |= {"distance": shares.distance, "differs": shares.differs, "temperature": shift.temperature(on_val, labels)}
    found |= {"confidence_source": float(here.probabilities.max(1).mean())}
    found |= {"confidence_target": float(on_target.max(1).mean())}
    for name, scores in (("source", here), ("target", there)):
        if scores is not None:
            p = shift.scaled(scores.probabilities, found["temperature"])
            found[f"ece_{name}_scaled"] = replace(scores, probabilities=p).ece
    return found


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
