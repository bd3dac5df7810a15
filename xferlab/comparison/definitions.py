"""What a run depends on, by which it is found again: its first weights, its recipe's numbers and code; and about what it costs."""

import ast
import contextlib
import copy
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..encoders import Classifier
from ..encoders import encoder as make_encoder
from ..errors import ArgumentError
from ..recipe import Recipe
from ..storage import described, fingerprint


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


def identity(model: Classifier, head: bool = True) -> str:
    """Of a model, or with any first weights of its head."""
    encoder = model.encoder
    inputs = [getattr(encoder, name, None) for name in ("name", "channels", "size", "mean", "std")]
    return fingerprint(repr(model), inputs, (model if head else encoder).state_dict())


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


def draws(recipe: Recipe, per_class: int | None) -> bool:
    """Whether a run depends on its seed by more than the encoder's first weights; one that is solved in one go does not."""
    return per_class is not None or recipe.finish is not None or not all(stage.solve for stage in recipe.stages)


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
