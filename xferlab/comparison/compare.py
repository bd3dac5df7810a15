"""compare(): every recipe, every seed, each finished run kept; and the Leaderboard that says what can be told from them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path

from torch import nn

from ..domains import Domain, Splits
from ..errors import ArgumentError
from ..evaluation import METRICS
from ..recipe import Recipe
from ..storage import cache_folder, described
from . import given, labeling, selection
from .candidates import Candidate, chosen_recipes, labels_of
from .definitions import make_model, name_of
from .leaderboard import Leaderboard
from .performing import Performer
from .runs import Common
from .schedule import Schedule

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
    workers: int | str = 1,
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
        Labeled Splits: `train` trains, `val` is what validators may see, `test` gives the source score. Or several
        places, Splits (or what `load` takes) by name: batches hold as many of each, and every place has a score of
        its own.
    target
        Splits: `train`, its labels dropped, is adapted to and validated on, and the labels of `test` make the
        oracle's columns and nothing else; or one unlabeled Domain, and there is no oracle.
    seeds
        How many (0, 1, ...), or which: each sets the head's and the encoder's first weights, batches and draws.
        A run that none of these changes, as of a probe that is solved on a pretrained encoder, is performed once for all.
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
    steps, lr, arguments
        Go to `Recipe.fit`; there is no checkpoint selection: the last step is what counts.
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
        Processes that train side by side on this machine where no executor is given, each with its share of the threads; "auto" for
        as many as cores and memory allow where they are measured to be faster than one, which a note says. What was
        begun in a process that is killed is run here. A script calls this under `if __name__ == "__main__":`.
    progress_bar
        Whether to show one.

    Returns
    -------
    Leaderboard
        The Leaderboard.

    Raises
    ------
    DataError
        For a class that the source lacks or multi-label data.
    TargetLabelsError
        For a labeled target Domain.
    ArgumentError
        For unknown names, or when no run succeeded.

    Examples
    --------
    >>> small = xl.Splits(*(part.take(per_class=4) for part in source.parts().values()))
    >>> board = xl.compare(["source_only", "coral"], small, target.val.unlabeled(), seeds=1, steps=1, store="runs")
    >>> board.best().recipe in ("source_only", "coral")
    True
    """
    source, adapt, test, notes = given.sides(source, target)
    labeled_target, held = (None, None) if labeled is None else given.split_labeled(labeled, source, test, notes)
    judges, selector = given.judges(validators, selector, held, source)
    seeds = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    _check(seeds, metric, keep_weights, propose, workers, arguments)
    if fill and minutes is None:
        raise ArgumentError("fill spends what is left of the minutes; give minutes too")
    encoders = labels_of(encoder)
    candidates = [Candidate(recipe, label) for label in encoders for recipe in chosen_recipes(recipes)]
    settings = {"steps": steps, "lr": lr, "per_class": per_class} | arguments
    folder = Path(store) if store else cache_folder("runs")
    deadline = math.inf if minutes is None else time.time() + 60 * minutes
    common = Common(
        source=source,
        target=adapt,
        test=test,
        labeled=labeled_target,
        settings=settings,
        validators=judges,
        store=folder,
        keep_weights=keep_weights,
        deadline=deadline,
    )
    with Performer(common, executor, workers) as performer:
        data = given.identity(source, adapt, test, labeled)
        schedule = Schedule(common, data, encoders, performer, progress_bar)
        if search:  # coarse first: one seed at every strength, then all seeds at the strength chosen
            candidates = schedule.search(candidates, seeds[0], selector)
        behind = schedule.train(candidates, seeds, selector, race, fill)
    schedule.forget_stages()
    notes += [performer.note] if performer.note else []
    runs, planned = schedule.runs, len(schedule.done)
    if not runs:
        raise ArgumentError(f"no run was finished in {minutes:g} minutes; give more")
    if all("error" in run for run in runs):
        raise ArgumentError(f"no run succeeded; the first: {runs[0]['error']}")
    if behind:
        notes.append(f"Too far behind after two seeds or more to be given another: {', '.join(behind)}.")
    if schedule.seedless:
        notes.append(f"Run once, since the seed changes nothing: {', '.join(schedule.seedless)}.")
    if left := planned - len(runs):
        over = f"{minutes:g} minutes were over; the same call goes on from here"
        notes.append(f"{left} of {planned} runs were left out: {over}")
    shown = settings | {"seeds": sorted({task.seed for task, _ in schedule.done})}
    words = [f"{key} {described(value)}" for key, value in shown.items() if value is not None]
    board = Leaderboard(
        runs,
        [candidate.name for candidate in candidates],
        list(judges),
        selector,
        metric,
        setting=", ".join([f"{source.name} -> {adapt.name}", " and ".join(map(name_of, encoders.values())), *words]),
        notes=notes,
        load_model=lambda run: schedule.task(run["recipe"], run["seed"]).trained(),
        classes=source.classes,
        true_shares=None if test is None else (test.align(source.classes).counts() / len(test)).tolist(),
        held=held,
        searched=schedule.searched,
    )
    if propose:
        fresh = make_model(encoders[""], source.classes, seeds[0])
        board.wanted = labeling.ask(board.answers(), fresh, adapt, labeled, propose)
    if keep_weights == "chosen":
        schedule.settle(board)
    return board


def _check(seeds: list[int], metric: str, keep: bool | str, propose: int, workers: int | str, arguments: dict) -> None:
    if metric not in METRICS or metric == "ece":
        raise ArgumentError(f"metric is {metric!r}, expected 'accuracy', 'balanced_accuracy' or 'auc'")
    if keep not in (True, False, "chosen"):
        raise ArgumentError(f"keep_weights is {keep!r}, expected True, False or 'chosen'")
    if not seeds or len(set(seeds)) < len(seeds):
        raise ArgumentError(f"seeds are {seeds}, expected at least one, each once")
    if propose < 0:
        raise ArgumentError(f"propose is {propose}, expected a number of examples, or 0 for none")
    if workers != "auto" and (isinstance(workers, str) or workers < 1):
        raise ArgumentError(f"workers is {workers!r}, expected 1 or more, or 'auto'")
    if unknown := set(arguments) - _FIT:
        raise ArgumentError(f"compare has no argument {min(unknown)!r}; of fit's it takes {', '.join(sorted(_FIT))}")
