"""What `xferlab compare` and `xferlab predict` do with folders: read, plan for the time there is, run, write."""

from __future__ import annotations

import csv
import datetime
import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..domains import Domain, Splits, folders
from ..domains import load as load_domain
from ..encoders import Classifier
from ..encoders import encoder as make_encoder
from ..errors import ArgumentError, DataError, MissingExtra
from ..evaluation import Scores, evaluate
from ..evaluation import predict as probabilities
from ..machine import describe as machine
from ..recipe import recipes
from ..storage import cache_folder, fingerprint, write_atomically
from . import modelfile, selection
from .compare import chosen_recipes, cost
from .compare import compare as run_comparison
from .leaderboard import Leaderboard
from .runs import describe_shift, identity, make_model, version

# the simple and strong first: they are done when time is short
RECIPES = ("source_only", "source_only_joint_bn", "linear_probe", "colour", "adabn", "balanced", "colour_adabn")
RECIPES += ("coral", "mmd", "dann", "cdan", "mcc", "shot")
BATCH = 32
ENOUGH, FEWEST, MOST = 100, 30, 400  # steps: below ENOUGH fewer seeds are run, below FEWEST fewer recipes


@dataclass
class Plan:
    """What fits the minutes: recipes, seeds, steps a run, the seconds all should take, those of the longest run, and the
    images a second that this rests on."""

    recipes: list[str]
    seeds: int
    steps: int
    seconds: float = 0.0
    longest: float = 0.0
    rate: float = 0.0
    date: str = ""


def compare(
    source: str,
    target: str,
    *,
    chosen: Sequence[str] | None = None,
    seeds: int = 3,
    minutes: float = 20,
    encoder: str = "efficientnet_lite0",
    factory: str | None = None,
    weights: Path | None = None,
    size: int | None = None,
    steps: int | None = None,
    labeled: str | None = None,
    groups: str | None = None,
    selector: str | None = None,
    out: Path = Path("report.html"),
    save_model: Path | None = None,
    store: Path | None = None,
    command: str | None = None,
    say: Callable[[str], None] = print,
) -> Leaderboard:
    """The command `xferlab compare`: reads both sides, trains what fits, writes report, model file and model card."""
    began, store = time.time(), store or cache_folder("runs")
    names = [recipe.name for recipe in chosen_recipes(chosen or RECIPES)]
    _check(minutes, seeds, steps, weights, factory)
    if factory:
        make = modelfile.from_factory(factory, weights, size)
    else:
        make = lambda seed=0: make_encoder(encoder, size=size, seed=seed)
        make.__name__ = encoder
    made = make()
    made = made.encoder if isinstance(made, Classifier) else made
    pixels = size or (made.size[0] if getattr(made, "size", None) else 64)

    here, notes = read(source, size=pixels, groups=groups)
    if here.train.labels is None:
        raise DataError(f"{source} has no class folders, and a source needs labels: one folder a class, named after it")
    channels = here.train.inputs.shape[1]
    options = dict(size=pixels, classes=here.classes, channels=channels)
    there, more = read(target, groups=groups, **options)
    few, most = (None, []) if labeled is None else _few(labeled, options)
    notes += more + most
    _describe(say, source, target, here, there, few, notes)

    settings = dict(
        encoder=make, metric="balanced_accuracy", batch_size=BATCH, labeled=few, store=store, selector=selector
    )
    plan = _plan(here, there, few, names, seeds, minutes, steps, make, store, began, say)
    told, notes = notes, notes + _left_out(plan, names, seeds, minutes, steps)
    # a minute at least: measuring a machine that is busy may take all there was, and one run is better than none
    left = minutes - (time.time() - began + plan.longest + 5) / 60
    board = run_comparison(
        plan.recipes, here, there, seeds=plan.seeds, steps=plan.steps, minutes=max(round(left, 2), 1), **settings
    )
    board.notes[:0] = notes
    choice = board.best()
    say(f"\n{board.to_text()}\n\n{board.verdict}")
    for warning in [warning for warning in board.warnings if warning not in told]:
        say(f"- {warning}")

    say(f"\nTraining {choice.recipe}, seed {choice.seed}, once more, to keep its weights ...")
    again = run_comparison(
        [choice.recipe],
        here,
        there,
        seeds=[choice.seed],
        steps=plan.steps,
        keep_weights=True,
        progress_bar=False,
        **settings,
    )
    model = again.best().model
    save_model = save_model or out.with_suffix(".safetensors")
    board.card = _card(board, model, here, there, few, plan, factory or encoder)
    about = dict(
        encoder=None if factory else encoder, factory=factory, size=size, recipe=choice.recipe, seed=choice.seed
    )
    about |= dict(pixels=pixels, channels=channels, source=here.name, version=version(), use="not for clinical use")
    modelfile.save(save_model, model, **about)
    card = save_model.with_suffix(".md")
    with write_atomically(card) as temporary:
        temporary.write_text(_markdown(board.card), "utf-8")
    board.to_html(out, command)
    say(f"Report:      {out}\nModel:       {save_model}\nModel card:  {card}")
    say(f"Use it:      xferlab predict --model {save_model} --input FOLDER --out preds.csv")
    say(f"{(time.time() - began) / 60:.1f} of {minutes:g} minutes. Not for clinical use.")
    return board


def _check(minutes, seeds, steps, weights, factory):
    for name, value, least in (("minutes", minutes, 0.1), ("seeds", seeds, 1), ("steps", steps, 1)):
        if value is not None and value < least:
            raise ArgumentError(f"--{name} is {value}, expected {least} or more")
    if weights is not None and factory is None:
        raise ArgumentError("--weights are for a network of your own; give --model module.py:function too")
    for package in ("pandas", "matplotlib"):  # before twenty minutes of training, not after
        try:
            __import__(package)
        except ImportError as error:
            raise MissingExtra(package, extra="labs") from error


def read(
    where: str,
    *,
    size: int,
    groups: str | None = None,
    classes: Sequence[str] | None = None,
    channels: int | None = None,
) -> tuple[Splits | Domain, list[str]]:
    """Splits of a folder, a `.npz` or a named domain (one Domain where they have no labels), and what is to be said of it:
    broken images and whatever else was left out, near-duplicates, parts that were cut."""
    path, options = Path(where), {}
    if path.is_dir():
        options = dict(size=size, broken="skip", groups=groups, classes=classes, channels=channels)
    elif path.suffix.lower() == ".npz" and classes:
        options = dict(classes=classes)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        splits = load_domain(path if path.exists() else where, **options)
    said = [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]
    if splits.train.labels is None and classes is not None:  # a target without labels: all of it is there to adapt to
        splits = splits.together()
    return splits, said


def _few(where: str, options: dict) -> tuple[Domain, list[str]]:
    """All labelled images of a folder, or of a `.npz`, as one Domain."""
    if not Path(where).is_dir():
        splits, said = read(where, **options)
        if isinstance(splits, Domain):
            raise DataError(f"{where} has no labels; --labeled needs target images with them")
        return splits.together(), said
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        domain, _ = folders.read(where, broken="skip", **options)
    if domain.labels is None:
        raise DataError(f"{where} has no class folders; --labeled needs one folder a class, named as the source's")
    return domain, [str(warning.message) for warning in caught]


def _describe(say, source, target, here, there, few, notes):
    counts = ", ".join(f"{name} {n}" for name, n in zip(here.classes, here.train.counts().tolist(), strict=True))
    say(
        f"source  {source}: {' + '.join(str(len(part)) for part in here.parts().values())} images to train, validate and test"
    )
    say(f"        training images of each class: {counts}")
    if isinstance(there, Domain):
        say(f"target  {target}: {len(there)} images without labels")
    else:
        say(
            f"target  {target}: {len(there.train)} images to adapt to, {len(there.test)} with labels for the oracle alone"
        )
    if few is not None:
        say(f"        {len(few)} labelled target images")
    for note in notes:
        say(f"note    {note}")


def _plan(here, there, few, names, seeds, minutes, steps, make, store, began, say) -> Plan:
    """The plan of the first such call, which is kept, so that the same command goes on with the same runs."""
    if steps is not None:
        plan = Plan(names, seeds, steps)
        say(f"plan    {_told(plan)}; no run begins after {minutes:g} minutes")
        return plan
    adapt = there if isinstance(there, Domain) else there.train.unlabeled()
    model = make_model(make, here.classes, 0)
    data = [(part.inputs, part.labels) for part in here.parts().values()]
    more = None if few is None else (few.inputs, few.labels)
    key = fingerprint(data, adapt.inputs, more, names, seeds, minutes, identity(model))
    path = store / f"plan-{key}.json"
    try:
        plan = Plan(**json.loads(path.read_text("utf-8")))
        say(f"plan    {_told(plan)}, as this command chose on {plan.date}")
        return plan
    except (OSError, ValueError, TypeError):
        pass
    say("plan    measuring how fast this machine is ...")
    step, fixed = measure(model, here, there, adapt)
    costs = [cost(recipes[name], make_model(make, here.classes, 0)) for name in names]
    budget = 0.8 * (60 * minutes - (time.time() - began)) - 5
    plan = fit_to(budget, names, costs, seeds, step, fixed)
    plan.date, plan.rate = datetime.date.today().isoformat(), BATCH / step
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(asdict(plan)) + "\n", "utf-8")
    say(f"plan    {_told(plan)}; about {plan.seconds / 60:.1f} of {minutes:g} minutes")
    return plan


def measure(model: Classifier, here: Splits, there: Splits | Domain, adapt: Domain) -> tuple[float, float]:
    """Seconds of a source-only step, and of scoring one model."""
    import sklearn.linear_model  # noqa: F401  not to be counted

    quick = dict(batch_size=BATCH, progress_bar=False)
    recipes["source_only"].fit(model, here.train, steps=2, **quick)  # the first steps are slow
    step = recipes["source_only"].fit(model, here.train, steps=4, **quick).seconds / 4
    began = time.perf_counter()
    evaluate(model, here.test)
    candidate = selection.Candidate(model, None, here, adapt)
    describe_shift(
        candidate, evaluate(model, here.test), None if isinstance(there, Domain) else evaluate(model, there.test)
    )
    selection.validate(candidate)
    return step, time.perf_counter() - began


def fit_to(budget: float, names: list[str], costs: list[float], seeds: int, step: float, fixed: float) -> Plan:
    """What fits `budget` seconds: as many steps as there is time for; too few, and seeds go, then recipes from the end.

    costs  of each recipe, in source-only steps; step, fixed  seconds of such a step, and of a run's scoring. One run more, the
    longest, is counted, for the winner's weights.
    """
    seconds = lambda n, k, t: (n * sum(costs[:k]) + max(costs[:k])) * t * step + (n * k + 1) * fixed
    most = lambda n, k: int((budget - (n * k + 1) * fixed) / step / (n * sum(costs[:k]) + max(costs[:k])))
    k, n = len(names), seeds
    while n > 1 and most(n, k) < ENOUGH:
        n -= 1
    while k > 1 and most(n, k) < FEWEST:
        k -= 1
    steps = max(FEWEST, min(MOST, most(n, k)))
    return Plan(list(names[:k]), n, steps, seconds(n, k, steps), max(costs[:k]) * steps * step + fixed, BATCH / step)


def _told(plan: Plan) -> str:
    seeds = f"{plan.seeds} seed{'s' * (plan.seeds > 1)}"
    rate = f", at {plan.rate:.0f} images/s" if plan.rate else ""
    return f"{len(plan.recipes)} recipes x {seeds}, {plan.steps} steps of {BATCH} images each{rate}"


def _left_out(plan: Plan, names: list[str], seeds: int, minutes: float, steps: int | None) -> list[str]:
    said = []
    if steps is None:
        said.append(
            f"Trained for {plan.steps} steps of {BATCH} images a run, chosen to fit {minutes:g} minutes on this machine."
        )
    if plan.seeds < seeds:
        said.append(
            f"{minutes:g} minutes are too short for {seeds} seeds: {plan.seeds} was run; give more --minutes for the rest."
        )
    if missing := names[len(plan.recipes) :]:
        said.append(
            f"{minutes:g} minutes are too short for all recipes; left out: {', '.join(missing)}. Give more --minutes."
        )
    return said


def _card(board: Leaderboard, model, here: Splits, there, few, plan: Plan, network: str) -> list[tuple[str, list[str]]]:
    """The model card's sections."""
    choice, recipe = board.best(), recipes[board.best().recipe]
    counts = ", ".join(f"{name} {n}" for name, n in zip(here.classes, here.train.counts().tolist(), strict=True))
    adapt = there if isinstance(there, Domain) else there.train
    used = (
        f"{len(adapt)} unlabelled images of {adapt.name}" if recipe.needs_target else "none: this recipe never sees it"
    )
    scores = [f"Source, test part: {evaluate(model, here.test)!r}"]
    if isinstance(there, Domain):
        scores.append("Target: not measured, since there are no labels. Label some before you rely on it.")
    else:
        scores.append(f"Target, test part: {evaluate(model, there.test)!r}")
    settings = f"{plan.steps} steps of {BATCH} images, AdamW, lr 0.001, the last step's weights; seed {choice.seed}"
    return [
        (
            "What it is",
            [f"{recipe.name}: {recipe.about}", f"Network: {network}", f"Classes: {', '.join(here.classes)}"],
        ),
        (
            "Trained on",
            [
                f"Source: {len(here.train)} labelled images of {here.name} ({counts})",
                f"Target: {used}",
                *([f"{len(few)} labelled target images were given, see the caveats"] if few is not None else []),
                settings,
            ],
        ),
        (
            "How it was chosen",
            [
                board.verdict,
                f"Candidates: {', '.join(board.names)}; {plan.seeds} seed{'s' * (plan.seeds > 1)} each. Of the chosen recipe's "
                f"seeds the one with the best {choice.validator} ({choice.value:.3f}).",
            ],
        ),
        ("Scores, with 95 % intervals over the test images", scores),
        (
            "Caveats",
            [*board.warnings, "Not for clinical use: a research model, tried on nothing but the images named here."],
        ),
        ("Made", [f"{datetime.date.today().isoformat()}, xferlab {version()}, {machine()}"]),
    ]


def _markdown(card: list[tuple[str, list[str]]]) -> str:
    parts = ["# Model card", "", "**Not for clinical use.**", ""]
    for heading, lines in card:
        parts += [f"## {heading}", "", *(f"- {' '.join(line.split())}" for line in lines), ""]
    return "\n".join(parts)


def predict(
    model_file: Path, where: str, out: Path, *, factory: str | None = None, say: Callable[[str], None] = print
) -> int:
    """The command `xferlab predict`: one row an image (file, class, a probability a class); how many rows."""
    model, about = modelfile.load(model_file, factory)
    path = Path(where)
    if path.is_dir():
        # any folder names will do: here they are no classes
        inner = sorted({folder.name for folder in path.rglob("*") if folder.is_dir()} | {"-", "--"})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # told below, in full
            domain, files = folders.read(
                path, size=about["pixels"], channels=about["channels"], classes=inner, broken="skip"
            )
        there = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
        omitted, names = sorted(set(there) - set(files)), [file.relative_to(path).as_posix() for file in files]
    elif path.suffix.lower() == ".npz" and path.is_file():
        splits, omitted = load_domain(path, classes=model.classes), []
        domain = splits.together().unlabeled()
        names = [f"{name}/{i}" for name, part in splits.parts().items() for i in range(len(part))]
    else:
        raise DataError(f"{where} is neither a folder of images nor a .npz file; check --input")
    p = probabilities(model, domain.unlabeled()).numpy()
    with write_atomically(out) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", "predicted", *(f"p_{name}" for name in model.classes)])
        for name, row in zip(names, p, strict=True):
            table.writerow([name, model.classes[row.argmax()], *(f"{value:.6f}" for value in row)])
    counts = np.bincount(p.argmax(1), minlength=len(model.classes))
    say(
        f"{len(names)} images -> {out}: {', '.join(f'{n} {name}' for name, n in zip(model.classes, counts, strict=True))}"
    )
    if omitted:
        say(f"Left out {len(omitted)} files that are broken, no images, or beside the class folders:")
        for file in omitted:
            say(f"  {file.relative_to(path).as_posix()}")
    if path.is_dir() and domain.labels is not None:
        _score_folders(model, domain, p, say)
    say(f"Model: {about['recipe']}, trained on {about['source']}. Not for clinical use.")
    return len(names)


def _score_folders(model: Classifier, domain: Domain, p: np.ndarray, say):
    """Where the folders are named as the classes, how right the answers are."""
    seen = [domain.classes[k] for k in domain.labels.unique().tolist()]
    if set(seen) <= set(model.classes):
        labels = np.array([model.classes.index(domain.classes[k]) for k in domain.labels.tolist()])
        say(f"Taking the folders' names for truth: {Scores(p, labels, model.classes, name=domain.name)!r}")
