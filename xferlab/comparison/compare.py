"""compare(): every recipe, every seed, each finished run kept; and the Leaderboard that says what can be told from them."""

from __future__ import annotations

import contextlib
import functools
import math
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from torch import nn
from tqdm.auto import tqdm

from ..domains import Domain, Splits
from ..errors import ArgumentError
from ..evaluation import METRICS
from ..recipe import Recipe
from ..storage import cache_folder, described, fingerprint
from . import given, labeling, selection
from .candidates import Candidate, address, chosen_recipes, labels_of, rounds, strongest
from .leaderboard import Leaderboard
from .runs import (
    Task,
    check_picklable,
    cost,
    definition,
    identity,
    load_weights,
    make_model,
    name_of,
    perform,
    recall,
    version,
)

_FIT = {"augment", "batch_size", "checkpoint_every", "device", "precision", "views", "warmup", "weight_decay"}


def compare(
    recipes: Sequence[str | Recipe] | None,
    source: Splits | Mapping[str, Splits | str | Path] | Sequence[Splits],
    target: Splits | Domain,
    *,
    seeds: int | Sequence[int] = 3,
    validators: Sequence[str] | dict[str, selection.Validator] | None = None,
    selector: str | None = None,
    labeled: Domain | None = None,
    encoder: str | nn.Module | Callable[..., nn.Module] | Sequence = "lenet",
    metric: str = "accuracy",
    steps: int = 400,
    lr: float = 1e-3,
    per_class: int | None = None,
    search: bool = False,
    minutes: float | None = None,
    race: bool = False,
    fill: bool = False,
    store: str | Path | None = None,
    keep_weights: bool | str = False,
    propose: int = 0,
    executor: Executor | None = None,
    workers: int = 1,
    progress_bar: bool = True,
    **arguments,
) -> Leaderboard:
    """Trains every recipe with every seed and ranks them without target labels.

    A finished run is one small JSON file, named by recipe, seed and a fingerprint of all that it depends on: data,
    objectives' hyper-parameters and code, strategies, arguments, first weights and the package's version (not functions
    that objectives call). The same call never repeats it, and takes an interrupted one up from its checkpoint. A recipe that
    diverges or cannot run on this encoder or data is listed with the reason.

    Each record also says what the shift did to the model, see `shift`: class shares of the target estimated from its
    answers, its confidence on both sides, and calibration before and after temperature scaling.

    Parameters
    ----------
    recipes
        Names in `xl.recipes`, or Recipes; None for all of `xl.recipes`.
    source
        Labelled Splits: `train` trains, `val` is what validators may see, `test` gives the source score. Or several
        places, Splits (or what `load` takes) by name: batches hold as many of each, and every place has a score of
        its own.
    target
        Splits: `train`, its labels dropped, is adapted to and validated on, and the labels of `test` make the
        oracle's columns and nothing else; or one unlabelled Domain, and there is no oracle.
    seeds
        How many (0, 1, ...), or which: each sets the head's and the encoder's first weights, batches and draws.
    validators
        Names in `selection.validators` (None for all), or functions by name.
    selector
        The validator that `best()` and the report go by; fix it before the oracle is looked at. None is
        "target_labels" where enough images are `labeled`, else "leave_one_site_out" where there are three places or
        more, else "information_maximization".
    labeled
        The few target examples that have labels (not ones of `target.test`): they join the source's training
        examples, each up to 10 times over, to make up at most half. Of 40 or more, half are kept out of training
        and are the validator "target_labels": balanced accuracy on them.
    encoder
        A name for `xl.encoder`, a module (copied for each run), or a function that makes an Encoder, a module or a
        Classifier; given the seed if it has an argument `seed`. Or a list of these, ranked together: rows of the
        second are called "dann on NAME", and the first one's baselines are those of all.
    metric
        "accuracy", "balanced_accuracy" or "auc": of source and target scores.
    per_class
        Draw so many source training examples of each class, anew for each seed; None takes all.
    search
        Try each recipe at the strengths of its `grid` with the first seed; the selector chooses among them, and
        further seeds run at the strength chosen. `Leaderboard.searched` says what was tried.
    minutes
        Start no run after that long; what was left out is said. Runs go seed by seed, so all recipes get as far.
    race
        After two seeds, candidates that lie behind by more than their spread allows get no further one, see
        `candidates.in_front`.
    fill
        Spend what is left of `minutes` on further seeds.
    store
        Folder of finished runs (default: in the cache folder).
    keep_weights
        True keeps each run's weights there too. "chosen" keeps them until every run has finished and the choice is
        made, then removes the others' (not those that an earlier call kept with True). With either `best().model`
        is there.
    propose
        How many target examples to propose for labeling, see `Leaderboard.wanted` and `xferlab.proposals`.
    executor
        Any `concurrent.futures` executor. Processes need recipes by name, and picklable functions; start them with
        `multiprocessing.get_context("spawn")`. Threads take turns, since they share torch's random state.
    workers
        Processes that train side by side on this machine, one thread each, where no executor is given.
    progress_bar
        Whether to show one.
    steps, lr, arguments
        Go to `Recipe.fit`; there is no checkpoint selection: the last step is what counts.

    Returns
    -------
    Leaderboard
        The Leaderboard.

    Raises
    ------
    DataError
        For a class that the source lacks or multi-label data.
    TargetLabelsError
        For a labelled target Domain.
    ArgumentError
        For unknown names, or when no run succeeded.
    """
    source, adapt, test, notes = given.sides(source, target)
    chosen = chosen_recipes(recipes)
    labeled_target, held = (None, None) if labeled is None else given.split_labeled(labeled, source, test, notes)
    special: dict[str, selection.Validator] = {}
    special |= {} if held is None else {"target_labels": functools.partial(selection.on_labels, held)}
    special |= {"leave_one_site_out": selection.leave_one_site_out} if len(source.train.sites) >= 3 else {}
    selector = selector or next(iter(special), "information_maximization")
    judges = _validators(validators, selector, special)
    seeds = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    _check(seeds, metric, keep_weights, propose, fill and minutes is None, arguments)
    store = Path(store) if store else cache_folder("runs")
    deadline = time.time() + 60 * minutes if minutes is not None else math.inf

    parts = [(part.inputs, part.labels) for part in source.parts().values()]
    more: list = [] if labeled is None else [(labeled.inputs, labeled.labels, labeled.classes)]
    more += [] if source.train.site is None else [source.train.site]
    may = (source.train.augmentation, adapt.augmentation)
    data = fingerprint(parts, adapt.inputs, source.classes, *may, test and (test.inputs, test.labels), *more)
    settings = {"steps": steps, "lr": lr, "per_class": per_class} | arguments
    encoders = labels_of(encoder)
    everyone = [Candidate(recipe, label) for label in encoders for recipe in chosen]

    def train(candidates: Sequence[Candidate], seeds: Sequence[int]) -> list[tuple[Task, dict | None]]:
        tasks = []
        known = [(address(r), definition(r), definition(Recipe("", r.stages[:1]))) for r, _ in candidates]
        for seed in seeds:
            models = {label: make_model(made, source.classes, seed) for label, made in encoders.items()}
            first = {label: identity(model) for label, model in models.items()}
            for (recipe, label), (found_by, whole, begin) in zip(candidates, known, strict=True):
                rest = seed, data, first[label], described(settings)
                task = Task(
                    recipe=found_by,
                    label=label,
                    seed=seed,
                    first=first[label],
                    key=fingerprint(version(), whole, *rest),
                    cost=round(100 * cost(recipe, models[label])),
                    source=source,
                    target=adapt,
                    test=test,
                    labeled=labeled_target,
                    encoder=encoders[label],
                    settings=settings,
                    validators=judges,
                    store=store,
                    keep_weights=keep_weights,
                    deadline=deadline,
                    shared_stage=store / f"stage-{fingerprint(version(), begin, *rest)}.pt",
                )
                tasks.append(task)
        tasks = _sharing(tasks)
        if executor is not None and not isinstance(executor, ThreadPoolExecutor):
            check_picklable(tasks)
        return list(zip(tasks, _perform(tasks, executor, progress_bar), strict=True))

    searched: dict[str, list[dict]] = {}
    tried: list[tuple[Task, dict | None]] = []
    processes = None
    if executor is None and workers > 1:
        executor = processes = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    with processes or contextlib.nullcontext():
        if search:  # coarse first: one seed at every strength, then all seeds at the strength chosen
            at = [candidate.at(factor) for candidate in everyone for factor in candidate.recipe.grid]
            tried = train(at, seeds[:1])
            everyone, searched = strongest(everyone, at, [run for _, run in tried], selector)
        done, out = rounds(everyone, seeds, selector, race, fill, deadline, train)
    tasks = [task for task, _ in done]
    runs = [run for _, run in done if run is not None]
    if out:
        notes.append(f"Too far behind after two seeds or more to be given another: {', '.join(out)}.")
    if left := len(tasks) - len(runs):
        over = f"{minutes:g} minutes were over; the same call goes on from here"
        notes.append(f"{left} of {len(tasks)} runs were left out: {over}")
    if not runs:
        raise ArgumentError(f"no run was finished in {minutes:g} minutes; give more")
    if all("error" in run for run in runs):
        raise ArgumentError(f"no run succeeded; the first: {runs[0]['error']}")
    shown = settings | {"seeds": sorted({task.seed for task in tasks})}
    words = [f"{key} {described(value)}" for key, value in shown.items() if value is not None]
    setting = ", ".join([f"{source.name} -> {adapt.name}", " and ".join(map(name_of, encoders.values())), *words])
    _forget_stages([*done, *tried])
    names = [candidate.name for candidate in everyone]
    board = Leaderboard(runs, names, list(judges), selector, metric, setting, notes)
    board.classes, board.held, board.searched = source.classes, held, searched
    board.true_shares = None if test is None else (test.align(source.classes).counts() / len(test)).tolist()
    if propose:
        board.wanted = labeling.ask(
            board.answers(), make_model(encoders[""], source.classes, seeds[0]), adapt, labeled, propose
        )
    by_run = {(task.name, task.seed): task for task in tasks}
    board.load_model = lambda run: load_weights(by_run[run["recipe"], run["seed"]])
    if keep_weights == "chosen":
        _settle(board, tasks, [task for task, _ in tried])
    return board


def _sharing(tasks: list[Task]) -> list[Task]:
    """Only what begins alike keeps the state after its first stage (a stage that is solved in one go never writes it)."""
    alike = Counter(task.shared_stage for task in tasks)
    return [task if alike[task.shared_stage] > 1 else replace(task, shared_stage=None) for task in tasks]


def _forget_stages(done: list[tuple[Task, dict | None]]) -> None:
    """Removes the states after shared first stages once no run waits for them."""
    if all(run is not None for _, run in done):
        for task, _ in done:
            if task.shared_stage:
                task.shared_stage.unlink(missing_ok=True)


def _settle(board: Leaderboard, tasks: list[Task], tried: list[Task]) -> None:
    """Leaves the chosen run's weights in the store, and no other candidate's once all runs are there."""
    choice = board.best(load=False)
    winner = next(task for task in tasks if (task.name, task.seed) == (choice.recipe, choice.seed))
    if winner.weights is None:  # its record is from a call that kept none, or that chose another
        perform(replace(winner, deadline=math.inf))
    if len(board.runs) == len(tasks):
        for task in (*tasks, *tried):
            task.settle(chosen=task.stem == winner.stem)


def _perform(tasks: list[Task], executor: Executor | None, progress_bar: bool) -> Iterable[dict | None]:
    """Each task's record in order, from the store where it is there."""
    records = [recall(task) for task in tasks]
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
                records[i] = perform(tasks[i])
                finished(i)
        else:
            futures = {executor.submit(perform, tasks[i]): i for i in waiting}
            try:
                for future in as_completed(futures):
                    records[futures[future]] = future.result()
                    finished(futures[future])
            finally:  # after an error, what has not begun is not begun
                for future in futures:
                    future.cancel()
    return records


def _check(
    seeds: list[int], metric: str, keep_weights: bool | str, propose: int, endless: bool, arguments: dict
) -> None:
    if metric not in METRICS or metric == "ece":
        raise ArgumentError(f"metric is {metric!r}, expected 'accuracy', 'balanced_accuracy' or 'auc'")
    if keep_weights not in (True, False, "chosen"):
        raise ArgumentError(f"keep_weights is {keep_weights!r}, expected True, False or 'chosen'")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ArgumentError(f"seeds are {seeds}, expected at least one, each once")
    if propose < 0:
        raise ArgumentError(f"propose is {propose}, expected a number of examples, or 0 for none")
    if unknown := set(arguments) - _FIT:
        raise ArgumentError(f"compare has no argument {min(unknown)!r}; of fit's it takes {', '.join(sorted(_FIT))}")
    if endless:
        raise ArgumentError("fill spends what is left of the minutes; give minutes too")


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
