"""xferlab: make a model trained in one place work in another, and measure whether it does.

import xferlab as xl

source, target = xl.load("cells/site-a"), xl.load("cells/site-b")
model = xl.Classifier(xl.encoder("efficientnet_lite0"), classes=source.classes)
run = xl.fit(model, source.train.take(per_class=20), strategy=xl.strategies.full(), steps=100)
print(xl.evaluate(model, target.test))
"""

from . import (
    attribution,
    augment,
    checks,
    doctor,
    errors,
    evaluation,
    features,
    lab,
    objectives,
    plots,
    selection,
    strategies,
    text,
    transferability,
    weights,
    widgets,
)
from .comparison import compare
from .domains import Domain, Splits, catalog, load
from .encoders import Classifier, Encoder, encoder
from .evaluation import Scores, evaluate, predict
from .features import embed
from .leaderboard import Leaderboard
from .objectives import *  # noqa: F403  every objective class is also directly on xferlab
from .objectives import __all__ as _objectives
from .recipes import Recipe, Stage, recipes
from .training import Run, fit

__version__ = "0.1.0"

__all__ = [
    "Classifier",
    "Domain",
    "Encoder",
    "Leaderboard",
    "Recipe",
    "Run",
    "Scores",
    "Splits",
    "Stage",
    "attribution",
    "augment",
    "catalog",
    "checks",
    "compare",
    "doctor",
    "embed",
    "encoder",
    "errors",
    "evaluate",
    "evaluation",
    "features",
    "fit",
    "lab",
    "load",
    "objectives",
    "plots",
    "predict",
    "recipes",
    "selection",
    "strategies",
    "text",
    "transferability",
    "weights",
    "widgets",
    *_objectives,
]
