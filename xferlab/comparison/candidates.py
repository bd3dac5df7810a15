"""Candidates of a comparison: recipes on encoders, at strengths, and which of them deserve a further seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import ArgumentError
from ..evaluation import t_interval
from ..recipe import Recipe, find
from ..recipe import recipes as registry
from .definitions import definition, name_of
from .records import mean


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
    known = registry.get(recipe.name)
    if known is recipe:
        return recipe.name
    same = known is not None and definition(known.at(recipe.strength)) == definition(recipe)
    return f"{recipe.name}@{recipe.strength}" if same else recipe


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
