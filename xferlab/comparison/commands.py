"""What `xferlab compare` does: read both sides, plan for the time there is, run, choose, write."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from importlib.util import find_spec
from pathlib import Path

from torch import nn

from ..encoders import Classifier
from ..errors import ArgumentError, MissingExtra, needs
from ..storage import cache_folder, write_text
from . import card, findings, labeling, modelfile
from .candidates import chosen_recipes
from .compare import compare as run_comparison
from .leaderboard import Leaderboard
from .plan import BATCH, RECIPES, Plan, make_plan
from .reading import Sides, read_sides
from .reference import calibrate


def compare(
    source: Sequence[str],
    target: str,
    *,
    recipes: Sequence[str] | None = None,
    seeds: int = 3,
    minutes: float = 20,
    encoders: Sequence[str] | None = None,
    factory: str | None = None,
    weights: Path | None = None,
    size: int | None = None,
    steps: int | None = None,
    labeled: str | None = None,
    selector: str | None = None,
    any_way_up: bool = False,
    search: bool = False,
    all_seeds: bool = False,
    workers: str = "1",
    scheduler: str | None = None,
    propose: int = 0,
    out: Path = Path("report.html"),
    save_model: Path | None = None,
    store: Path | None = None,
    say: Callable[[str], None] = print,
    **reading,
) -> Leaderboard:
    """The command `xferlab compare`: reads both sides, trains what fits, writes report, model file and model card.

    Killed at any moment, the same call goes on: finished runs are read from the store, the plan as well, and the weights of
    all runs stay there until the choice is made, so that nothing is trained twice. `reading` holds options of `read_sides`.
    """
    began, store = time.time(), store or cache_folder("runs")
    if workers != "auto" and not (workers.isdigit() and int(workers)):
        raise ArgumentError(f"--workers is {workers!r}, expected 1 or more, or auto")
    _check(weights, factory, minutes=minutes, seeds=seeds, steps=steps, propose=propose)
    names = list(recipes or (RECIPES if len(source) == 1 else (*RECIPES[:7], "group_dro", *RECIPES[7:])))
    strengths = [len(recipe.grid) if search else 1 for recipe in chosen_recipes(names)]
    makers = [modelfile.named(encoder, size) for encoder in encoders or ("efficientnet_lite0",)]
    if factory:
        makers = [modelfile.from_factory(factory, weights, size)]
    pixels = size or _pixels(makers[0]())
    turns = "any_way_up" if any_way_up else None
    sides = read_sides(source, target, labeled, size=pixels, augmentation=turns, **reading)
    say("\n".join(sides.describe(source, target)))
    notes = list(sides.notes)
    if steps is None:
        times = len(makers) * (1 + (max(strengths) - 1) / seeds)
        times *= 1 + len(source) if len(source) > 2 else 1  # each site is held out once
        plan = make_plan(sides, names, seeds, minutes, makers[0], store, began, say, times=times)
        notes.append(
            f"Trained for {plan.steps} steps of {BATCH} images a run, to fit {minutes:g} minutes on this machine."
        )
        notes += plan.left_out(names, seeds, minutes)
    else:
        plan = Plan(names, seeds, steps)
        say(f"plan    {plan}; no run begins after {minutes:g} minutes")
    # a minute at least: measuring a machine that is busy may take all there was, and one run is better than none
    left = minutes - (time.time() - began + plan.longest + 5) / 60
    with cluster(scheduler) if scheduler else contextlib.nullcontext() as executor:
        board = run_comparison(
            plan.recipes,
            sides.source,
            sides.target,
            seeds=plan.seeds,
            steps=plan.steps,
            minutes=max(round(left, 2), 1),
            race=not all_seeds,
            fill=steps is None and not plan.filled,
            workers=workers if workers == "auto" else int(workers),
            executor=executor,
            encoder=makers,
            search=search,
            metric="balanced_accuracy",
            batch_size=BATCH,
            labeled=sides.labeled,
            store=store,
            selector=selector,
            keep_weights="chosen",
            propose=propose,
        )
    if done := plan.fill(board.runs):
        notes.append(done)
    board.notes[:0] = notes
    lines = [f"\n{board.to_text()}\n\n{board.verdict}"]
    lines += [estimate] if (estimate := findings.estimate(board)) else []
    lines += [f"- {warning}" for warning in board.warnings if warning not in sides.notes]
    say("\n".join(lines))
    model_file = save_model or out.with_suffix(".safetensors")
    given = {key: reading[key] for key in ("window", "intensity") if key in reading}
    intensities = {"intensity": sides.scale} if sides.scale and not given else given
    _keep(board, sides, plan, model_file, say, factory=factory, size=size, pixels=pixels, intensities=intensities)
    board.to_html(out)
    say(f"Report:      {out}\nModel:       {model_file}\nModel card:  {model_file.with_suffix('.md')}")
    if propose:
        table = labeling.write(out.with_name("label-next.csv"), board.wanted)
        say(f"Label next:  {table}; fill in its column label, then run this again with --labeled {table}:file,label")
    say(f"Use it:      xferlab predict --model {model_file} --input FOLDER --out preds.csv")
    say(f"{(time.time() - began) / 60:.1f} of {minutes:g} minutes. Not for clinical use.")
    return board


def _pixels(network: nn.Module) -> int:
    """The side of the pictures that a network was made for; 64 where it does not say."""
    size = getattr(network.encoder if isinstance(network, Classifier) else network, "size", None)
    return size[0] if size else 64


def _keep(board: Leaderboard, sides: Sides, plan: Plan, path: Path, say: Callable[[str], None], **about) -> None:
    """Writes the winner and its card, and gives the leaderboard what the page says of its answers."""
    choice = board.best()
    assert choice.model is not None
    temperature, reference, board.given = calibrate(choice.model, sides.source, sides.adapt, board.held)
    for line in findings.unlike(board.given, sides.source.name):
        say(line)
    encoder = board.run(choice.recipe, choice.seed)["encoder"]
    board.card = card.sections(board, choice, sides, plan, encoder)
    modelfile.save(
        path,
        choice.model,
        reference,
        encoder=None if about["factory"] else encoder,
        recipe=choice.recipe.removesuffix(f" on {encoder}"),
        seed=choice.seed,
        source=sides.source.name,
        channels=sides.source.train.inputs.shape[1],
        temperature=temperature,
        held_out=(board.held or sides.source.val).name,
        from_target=board.held is not None,
        **about,
    )
    write_text(path.with_suffix(".md"), card.markdown(board.card, board, choice, sides))


@contextlib.contextmanager
def cluster(scheduler: str) -> Iterator[Executor]:
    """An executor over the workers of a running Dask scheduler, which starts what a lost worker was doing again on another."""
    with needs("distributed", extra="cluster"):
        from distributed import Client
    try:
        client = Client(scheduler, timeout=10)
    except (OSError, ValueError) as error:
        instead = "start one with `dask scheduler`, and `dask worker tcp://HOST:8786` on each machine"
        raise ArgumentError(f"no Dask scheduler answers at {scheduler!r} ({error}); {instead}") from error
    with client:
        yield client.get_executor()


def _check(weights: Path | None, factory: str | None, **numbers: float | None) -> None:
    least = {"minutes": 0.1, "propose": 0}
    for name, value in numbers.items():
        if value is not None and value < least.get(name, 1):
            raise ArgumentError(f"--{name} is {value}, expected {least.get(name, 1)} or more")
    if weights is not None and factory is None:
        raise ArgumentError("--weights are for a network of your own; give --model module.py:function too")
    for package in ("pandas", "matplotlib", "jinja2"):  # before twenty minutes of training, not after
        if find_spec(package) is None:
            raise MissingExtra(package, extra="labs")
