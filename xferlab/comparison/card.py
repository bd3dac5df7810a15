"""The model card: what was trained on what, how it was chosen, what was measured, and what to beware of."""

import datetime
import json

from .. import __version__
from ..domains import Splits
from ..evaluation import evaluate
from ..machine import describe as machine
from ..recipe import find
from . import findings
from .leaderboard import Choice, Leaderboard
from .plan import BATCH, Plan
from .reading import Sides, counted

Section = tuple[str, list[str]]


def sections(board: Leaderboard, choice: Choice, sides: Sides, plan: Plan, network: str) -> list[Section]:
    """The card's headings, each with its lines."""
    assert choice.model is not None
    model, source, target = choice.model, sides.source, sides.target
    recipe = find(choice.recipe.removesuffix(f" on {network}"))
    kind = sides.kind
    used = f"{len(sides.adapt)} unlabeled {kind} of {sides.adapt.name}"
    scores = [f"Source, test part: {evaluate(model, source.test)!r}"]
    if isinstance(target, Splits):
        scores.append(f"Target, test part: {evaluate(model, target.test)!r}")
    else:
        scores.append("Target: not measured, since there are no labels. Label some before you rely on it.")
        scores += [estimate] if (estimate := findings.estimate(board)) else []
    how = f"{plan.steps} steps of {BATCH} {kind}, AdamW, lr 0.001, the last step's weights"
    if all(stage.solve for stage in recipe.stages):
        how = "Its head was solved for in one go, without training steps"
    trained = [
        f"Source: {len(source.train)} labeled {kind} of {source.name} ({counted(source.train)})",
        f"Target: {used if recipe.needs_target else 'none: this recipe never sees it'}",
    ]
    if sides.labeled is not None:
        trained.append(f"{len(sides.labeled)} labeled target {kind} were given, see the caveats")
    trained.append(f"{how}; seed {choice.seed}")
    candidates = (
        f"Candidates: {', '.join(board.names)}; up to {plan.seeds} seed{'s' * (plan.seeds > 1)} each. Of the chosen recipe's seeds the "
        f"one with the best {choice.validator} ({choice.value:.3f})."
    )
    what = [f"{recipe.name}: {recipe.about}", f"Network: {network}", f"Classes: {', '.join(source.classes)}"]
    return [
        ("What it is", what),
        ("Trained on", trained),
        ("How it was chosen", [board.verdict, candidates]),
        (f"Scores, with 95 % intervals over the test {kind}", scores),
        ("Caveats", [*board.warnings, f"Not for clinical use: a research model, tried only on the {kind} named here."]),
        ("Made", [f"{datetime.date.today().isoformat()}, xferlab {__version__}, {machine()}"]),
    ]


def markdown(card: list[Section], board: Leaderboard, choice: Choice, sides: Sides) -> str:
    """The card as Markdown, under the head in YAML that the Hugging Face Hub reads (its values are JSON, which is YAML too)."""
    run, names = board.run(choice.recipe, choice.seed), {"source": sides.source.name, "target": sides.adapt.name}
    kinds = ["accuracy", "balanced_accuracy"]
    task = "image-classification" if sides.kind == "images" else "text-classification"
    results = []
    for side, name in names.items():
        if scores := run[side]:
            dataset = {"name": name, "type": "own", "split": "test"}
            metrics = [{"type": kind, "value": round(scores[kind], 4)} for kind in kinds]
            results.append({"task": {"type": task}, "dataset": dataset, "metrics": metrics})
    head = {
        "library_name": "xferlab",
        "pipeline_tag": task,
        "metrics": kinds,
        "tags": ["domain-adaptation", "transfer-learning", "not-for-clinical-use"],
        "model-index": [{"name": choice.recipe, "results": results}],
    }
    parts = ["---", *(f"{key}: {json.dumps(value)}" for key, value in head.items()), "---"]
    parts += ["# Model card", "", "**Not for clinical use.**", ""]
    for heading, lines in card:
        parts += [f"## {heading}", "", *(f"- {' '.join(line.split())}" for line in lines), ""]
    return "\n".join(parts)
