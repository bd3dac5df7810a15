"""Candidates of a comparison: recipes on encoders, at strengths, and which of them deserve a further seed."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import ArgumentError
from ..evaluation import t_interval
from ..recipe import Recipe, find
from ..recipe import recipes as registry
from .records import BASELINES, mean, selector_values
from .runs import definition, name_of


class Candidate(NamedTuple):
    """A recipe on one of the encoders; the label is empty for the first, whose baselines are everyone's."""

    recipe: Recipe
    label: str

    @property
    def name(self) -> str:
        return self.recipe.name + self.label

    def at(self, strength: float) -> Candidate:
        return self if strength == 1 else self._replace(recipe=self.recipe.at(strength))


def chosen_recipes(wanted: Sequence[str | Recipe] | None) -> list[Recipe]:
    wanted = list(registry) if wanted is None else [wanted] if isinstance(wanted, (str, Recipe)) else list(wanted)
    chosen = [recipe if isinstance(recipe, Recipe) else find(recipe) for recipe in wanted]
    names = [recipe.name for recipe in chosen]
    if not names or len(set(names)) < len(names):
        raise ArgumentError(f"recipes are {names}, expected at least one, each name once")
    return chosen


def labels_of(encoder: Any) -> dict[str, Any]:
    """Encoders by what the names of their rows end with: nothing for the first."""
    encoders = list(encoder) if isinstance(encoder, (list, tuple)) else [encoder]
    labels = ["", *(f" on {name_of(one)}" for one in encoders[1:])]
    if not encoders or len({name_of(one) for one in encoders}) < len(encoders):
        raise ArgumentError(f"encoders are {[name_of(one) for one in encoders]}, expected at least one, each name once")
    return dict(zip(labels, encoders, strict=True))


def address(recipe: Recipe) -> str | Recipe:
    """What a worker finds the recipe by: its name and strength where it is one of `xl.recipes`, else the recipe itself."""
    if registry.get(recipe.name) is recipe:
        return recipe.name
    known = registry.get(recipe.name, recipe)
    if known is not recipe and definition(known.at(recipe.strength)) == definition(recipe):
        return f"{recipe.name}@{recipe.strength}"
    return recipe


def strongest(
    everyone: Sequence[Candidate], at: Sequence[Candidate], runs: Iterable[dict | None], selector: str
) -> tuple[list[Candidate], dict[str, list[dict]]]:
    """Each candidate at the strength that the selector values most, and its runs at all strengths."""
    chosen = {candidate.name: candidate for candidate in everyone}
    searched: dict[str, list[dict]] = {}
    best: dict[str, float] = {}
    for candidate, run in zip(at, runs, strict=True):
        if run is None or "error" in run:
            continue
        searched.setdefault(candidate.name, []).append(run)
        value = run["validators"].get(selector)
        if value is not None and value > best.get(candidate.name, -math.inf):
            best[candidate.name], chosen[candidate.name] = value, candidate
    return list(chosen.values()), searched


def in_front(values: Mapping[str, Mapping[int, float]]) -> set[str]:
    """The candidates that further seeds could still bring to the top, of `values`: by candidate, by seed, higher is better.

    A candidate is out where the leader, which has the best mean, is better by a paired difference whose 95 % t-interval lies
    above zero: with two seeds that takes a difference many times its spread. `bench/race.py` measures how often the race
    loses the one that all seeds would have chosen.
    """
    known = {name: seeds for name, seeds in values.items() if seeds}
    if not known:
        return set()
    leader = max(known, key=lambda name: mean(known[name].values()))
    return {name for name in known if name == leader or not _behind(known[name], known[leader])}


def _behind(ours: Mapping[int, float], theirs: Mapping[int, float]) -> bool:
    differences = [theirs[seed] - ours[seed] for seed in ours if seed in theirs]
    return len(differences) > 1 and t_interval(differences)[1] > 0


def rounds(
    everyone: list[Candidate],
    seeds: list[int],
    selector: str,
    race: bool,
    fill: bool,
    deadline: float,
    train: Callable[[Sequence[Candidate], Sequence[int]], list[tuple[Any, dict | None]]],
) -> tuple[list[tuple[Any, dict | None]], list[str]]:
    """Tasks with their records, seed after seed, and which candidates a race left behind."""
    first = seeds[:2] if race else seeds
    done, out = train(everyone, first), []
    following = itertools.chain(seeds[len(first) :], itertools.count(max(seeds) + 1) if fill else ())
    for seed in following:
        runs = [run for _, run in done]
        if seed not in seeds and (None in runs or time.time() > deadline):
            break
        values = selector_values(runs, selector)
        if race and None not in runs:
            ahead = in_front(values) | set(BASELINES)  # others are measured against these, so they run on
            out += [name for name in values if name not in ahead and name not in out]
        running = [candidate for candidate in everyone if candidate.name not in out]
        if seed not in seeds:  # what has failed so far would only fail again
            running = [candidate for candidate in running if candidate.name in values]
        more = train(running, [seed])
        done += more if seed in seeds else [one for one in more if one[1] is not None]
    return done, out
