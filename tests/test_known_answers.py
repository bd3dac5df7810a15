"""Every adapting recipe against problems whose answer is known, and what holds for all of them.

A recipe earns its place in `xl.recipes` by a problem that it solves and the source alone does not. No one problem serves
all: each family has a hypothesis about what links two domains, and its problem is one where that hypothesis is true.
To solve is to be right on 90 % of the target and to leave at most half of the errors that the source alone makes.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from small import TwentyLines, blobs
from torch import nn

import xferlab as xl
from xferlab import strategies
from xferlab.domains.domain import split
from xferlab.domains.sites import pooled
from xferlab.errors import ArgumentError

BASELINES = ("source_only", "source_only_joint_bn")
ADAPTING = [name for name, recipe in xl.recipes.items() if recipe.needs_target and name not in BASELINES]

ADVERSARIAL = ["dann", "cdan", "cdan_e", "adda", "mdd", "mcd", "wdgrl", "bsp"]


# --- the problems ----------------------------------------------------------------------------------------------------


def points(xy, labels, classes):
    """Points of the plane, about -100 to 100 each way, as images of two pixels."""
    inputs = (xy + 127.5).round().clamp(0, 255).to(torch.uint8).view(-1, 1, 1, 2)
    return xl.Domain(inputs, labels, classes)


def clusters(seed, *, spread, radius, angle=0.0, shift=0.0):
    """Three classes on a circle, turned by `angle` degrees or shifted to the right."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(300) % 3
    a = 2 * math.pi * labels / 3 + math.radians(angle)
    xy = torch.stack([a.cos(), a.sin()], 1) * radius + spread * torch.randn(300, 2, generator=g)
    return points(xy + torch.tensor([shift, 0.0]), labels, ("a", "b", "c"))


def shortcut(seed, *, target=False):
    """Two classes told apart by the first number; the second is a cue in the source, and shifted noise in the target."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(300) % 2
    sign, (e1, e2) = 2 * labels - 1, torch.randn(2, 300, generator=g)
    return points(
        torch.stack([35 * sign + 12 * e1, 40 + 20 * e2 if target else 20 * sign + 12 * e2], 1), labels, ("a", "b")
    )


def faint(seed):
    """The blobs at a third of their contrast, in noise."""
    clear = blobs(n=240, seed=seed)
    x = clear.inputs * 0.35 + 110
    x += 12 * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    return replace(clear, inputs=x.round().clamp(0, 255).to(torch.uint8))


def stripes(seed, contrast=1.0):
    """Across, upright or both, at any place: what a pooled feature tells apart. The target has a third of the contrast."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(240) % 3
    phase = torch.randint(0, 4, (240, 2), generator=g)
    waves = (torch.arange(16) + phase[..., None]) % 4 < 2
    across, upright = waves[:, 0, :, None].expand(-1, 16, 16), waves[:, 1, None, :].expand(-1, 16, 16)
    pattern = torch.where(
        (labels == 0)[:, None, None], across, torch.where((labels == 1)[:, None, None], upright, across ^ upright)
    )
    x = 90 * pattern.float()[:, None].expand(-1, 3, -1, -1) + 40 + 12 * torch.randn(240, 3, 16, 16, generator=g)
    x = contrast * x + (1 - contrast) * 150
    return xl.Domain(x.round().clamp(0, 255).to(torch.uint8), labels, ("a", "b", "c"))


def seeded(seed, make):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def plane_model(seed, classes=("a", "b", "c"), std=64.0):
    """Two hidden layers without batch norm."""

    def layers():
        return nn.Sequential(nn.Flatten(), nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())

    encoder = xl.encoder(seeded(seed, layers), channels=1, size=(1, 2), mean=(127.5,), std=(std,))
    return xl.Classifier(encoder, classes, seed=seed)


def image_model(seed):
    return xl.Classifier(xl.encoder(seeded(seed, TwentyLines), size=16), ("a", "b", "c"), seed=seed)


def jitter(images, generator):
    """What a strong view is to points of the plane."""
    return images + 15 * torch.randn(images.shape, generator=generator)


@dataclass(frozen=True)
class Problem:
    """source(seed), target(seed), model(seed), and how to train."""

    source: Callable
    target: Callable
    model: Callable
    steps: int
    lr: float = 3e-3


PROBLEMS = {
    # classes stay apart and move together: boundaries that keep off the dense regions follow them
    "turned": Problem(
        lambda s: clusters(s, spread=13, radius=70),
        lambda s: clusters(s, spread=13, radius=70, angle=45),
        plane_model,
        steps=300,
    ),
    # small enough a shift for the nearest match to be the right one
    "shifted": Problem(
        lambda s: clusters(s, spread=11, radius=60, shift=-20),
        lambda s: clusters(s, spread=11, radius=60, shift=25),
        plane_model,
        steps=300,
        lr=1e-2,
    ),
    # features that look alike in both domains are the ones to use
    "shortcut": Problem(
        shortcut,
        lambda s: shortcut(s, target=True),
        lambda s: plane_model(s, ("a", "b"), std=32.0),
        steps=250,
    ),
    # features whose mean and spread move, and whose order stays
    "stripes": Problem(stripes, lambda s: stripes(s, contrast=0.3), image_model, steps=60),
    # batch-norm statistics alone account for it, so source_only_joint_bn solves it too
    "faint": Problem(
        lambda s: blobs(n=240, seed=s),
        faint,
        image_model,
        steps=80,
    ),
}


@functools.cache  # the source alone is run once a problem
def attempt(name: str, problem: str, seed: int = 0) -> tuple[float, xl.training.Run]:
    """Balanced accuracy of a recipe on target examples of their own draw, and its run."""
    p = PROBLEMS[problem]
    model, source, target = p.model(seed), p.source(10 * seed + 1), p.target(10 * seed + 2)
    arguments = dict(steps=p.steps, lr=p.lr, batch_size=48, seed=seed, augment=None, progress_bar=False)
    arguments |= {"views": {"strong": [jitter]}} if source.inputs.shape[-1] == 2 else {}
    run = xl.recipes[name].fit(model, source, target.unlabeled(), **arguments)
    return xl.evaluate(model, p.target(10 * seed + 3)).balanced_accuracy, run


SOLVES = {
    "dann": "shortcut",
    "cdan": "shortcut",
    "cdan_e": "shortcut",
    "adda": "shifted",
    "mdd": "turned",
    "mcd": "turned",
    "wdgrl": "turned",
    "bsp": "shortcut",
    "mmd": "shortcut",
    "mmd_linear": "shortcut",
    "jmmd": "shortcut",
    "coral": "shortcut",
    "sliced_wasserstein": "shortcut",
    "deep_jdot": "shortcut",
    "entropy_minimization": "turned",
    "information_maximization": "turned",
    "mcc": "turned",
    "bnm": "turned",
    "pseudo_label": "turned",
    "shot": "turned",
    "fixmatch": "turned",
    "mean_teacher": "shifted",
    "adabn": "faint",
    "tent": "faint",
    "colour_adabn": "faint",
    "depth_target_norm": "stripes",
    "depth_adabn": "stripes",
}

# AFN lengthens features, on the reading that small norms are what transfers badly. Over five draws each, it left the errors
# of "turned" and "shortcut" as they were or made more, on "shifted" it helped in two draws, hurt in two, and changed little
# on average, and where the target's clusters are drawn towards the middle (small norms, its own hypothesis) the source alone
# is already right on 93 % and more and AFN no better on average.
UNSOLVED = {"afn": "no problem was found that AFN solves in most draws and the source alone does not"}


def test_every_adapting_recipe_is_accounted_for():
    assert set(SOLVES) | set(UNSOLVED) == set(ADAPTING) and not set(SOLVES) & set(UNSOLVED)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_source_alone_does_not_solve(problem):
    accuracy, _ = attempt("source_only", problem)
    assert accuracy <= 0.9


@pytest.mark.parametrize("problem", [name for name in PROBLEMS if name not in ("faint", "stripes")])
def test_nor_does_a_joint_forward_pass(problem):
    accuracy, _ = attempt("source_only_joint_bn", problem)
    assert accuracy <= 0.9


@pytest.mark.parametrize(
    "name",
    [
        *SOLVES,
        *(pytest.param(name, marks=pytest.mark.xfail(reason=why, strict=True)) for name, why in UNSOLVED.items()),
    ],
)
def test_known_answer(name):
    problem = SOLVES.get(name, "shifted")
    accuracy, run = attempt(name, problem)
    alive = [value for entry in run.history for key, value in entry.items() if key.endswith(".adversary_accuracy")]
    assert bool(alive) == (name in ADVERSARIAL) and max(alive, default=1) > 0.55, "0.5 throughout is a dead adversary"
    alone, _ = attempt("source_only", problem)
    assert accuracy > 0.9 and 1 - accuracy <= (1 - alone) / 2


def test_group_dro_solves_what_pooling_does_not():
    """A cue that is right at two sites and wrong at a third: on average it pays, at the worst site it does not.

    The target is like the third. Weights that do not grow with a site's loss, or sites that are not told apart, would show.
    """

    def site(seed, cue):
        made = shortcut(seed)
        return replace(
            made,
            inputs=made.inputs
            if cue > 0
            else made.inputs[..., [0, 1]].clone().where(torch.tensor([True, False]), 255 - made.inputs),
        )

    whole = pooled(
        {name: split(site(i, cue), seed=0) for i, (name, cue) in enumerate({"a": 1, "b": 1, "c": -1}.items())}
    )
    found = {}
    for name in ("source_only", "group_dro"):
        model = plane_model(0, ("a", "b"), std=32.0)
        xl.recipes[name].fit(model, whole.train, steps=300, lr=3e-3, batch_size=48, augment=None, progress_bar=False)
        found[name] = xl.evaluate(model, site(9, -1)).balanced_accuracy
    assert found["group_dro"] > 0.9 and 1 - found["group_dro"] <= (1 - found["source_only"]) / 2, found


# --- what holds for every adapting recipe ----------------------------------------------------------------------------

FAST = dict(steps=20, batch_size=16, progress_bar=False)


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_adversary_tells_separable_domains_apart_when_the_encoder_cannot_move(name):
    stage = xl.recipes[name].stages[-1]
    objectives = [xl.CrossEntropy(), *(o for o in stage.objectives() if not isinstance(o, xl.CrossEntropy))]
    source, target = clusters(1, spread=8, radius=30, shift=-70), clusters(2, spread=8, radius=30, shift=70)
    arguments = dict(steps=200, lr=1e-2, batch_size=48, strategy=strategies.head_only(), progress_bar=False)
    run = xl.fit(plane_model(0), source, target.unlabeled(), objectives=objectives, **arguments)
    assert (
        max(value for entry in run.history for key, value in entry.items() if key.endswith(".adversary_accuracy"))
        > 0.95
    )


# where a recipe's own objectives send gradient: "own" are an objective's parts, "norms" batch norm's scale and shift
GRADIENT = {
    **dict.fromkeys(("dann", "cdan", "cdan_e", "adda", "mdd", "wdgrl", "bsp"), "encoder norms own"),
    "mcd": "encoder norms head own",
    **dict.fromkeys(("mmd", "mmd_linear", "coral", "sliced_wasserstein", "afn", "shot"), "encoder norms"),
    **dict.fromkeys(("adabn", "colour_adabn", "depth_adabn", "depth_target_norm"), ""),
    "tent": "norms",
}  # all others read the target's logits: "encoder norms head"


@pytest.mark.parametrize("name", ADAPTING)
def test_gradient_goes_where_it_should_and_nowhere_else(name, own, source, target):
    """One step of the last stage under its strategy, the labels' cross-entropy left out."""
    torch.manual_seed(0)
    stage, model = xl.recipes[name].stages[-1], own()
    objectives = [o for o in stage.objectives() if not isinstance(o, xl.CrossEntropy)]
    for objective in objectives:
        objective.setup(model, source, target.unlabeled())
    stage.strategy.apply(model, 0.7)
    with torch.no_grad():
        model.head.weight.mul_(30)  # sure enough of its answers for the thresholds

    def batch(inputs, labels=None):
        z = model.features(inputs)
        return xl.objectives.Batch(inputs, labels, z, model.head(z))

    sides = batch(source.inputs, source.labels), batch(target.inputs)
    step = xl.objectives.Step(model, *sides, 0.7, lambda name, side: batch(target.inputs.flip(-1)))
    if objectives:
        sum(objective(step) for objective in objectives).backward()
    norms = {id(p) for m in model.encoder.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()}

    def moved(parameters):
        return [p for p in parameters if p.grad is not None and p.grad.any()]

    reached = {"head"} if moved(model.head.parameters()) else set()
    reached |= {"norms" if id(p) in norms else "encoder" for p in moved(model.encoder.parameters())}
    reached |= {"own"} if moved(p for o in objectives for p in o.parameters()) else set()
    assert reached == set(GRADIENT.get(name, "encoder norms head").split())
    assert not moved(p for o in objectives for p in o.parameters() if not p.requires_grad)


def spied(recipe, seen):
    """The recipe, with every objective of its last stage in `seen` beside its parts as `setup` left them."""

    def objectives():
        made = recipe.stages[-1].objectives()
        for objective in made:

            def setup(*sides, objective=objective, setup=objective.setup):
                setup(*sides)
                seen.append((objective, {key: p.detach().clone() for key, p in objective.named_parameters()}))

            objective.setup = setup
        return made

    return replace(recipe, stages=(*recipe.stages[:-1], replace(recipe.stages[-1], objectives=objectives)))


@pytest.mark.parametrize("name", [*ADVERSARIAL, "mean_teacher"])
def test_its_own_parts_train_and_frozen_ones_do_not(name, own, source, target):
    seen = []
    spied(xl.recipes[name], seen).fit(own(), source, target.unlabeled(), **FAST)
    compared = 0
    for objective, before in seen:
        for key, p in objective.named_parameters():
            # a frozen copy stays, a teacher follows the student
            moves = p.requires_grad or isinstance(objective, xl.MeanTeacher)
            assert torch.equal(before[key], p) != moves, f"{type(objective).__name__}.{key}"
            compared += 1
    assert compared


class Stopped(Exception):
    pass


@pytest.mark.parametrize("name", [name for name in ADAPTING if not xl.recipes[name].stages[-1].solve])
def test_resumes_to_the_bits_of_an_undisturbed_run(name, own, source, target, tmp_path):
    """Stopped at four fifths of its forward passes, in the last stage, and called again on a model that starts elsewhere."""
    arguments = FAST | {"checkpoint_every": 2}
    whole, calls = own(), []
    whole.encoder.body.stem.register_forward_pre_hook(lambda *_: calls.append(1))
    undisturbed = xl.recipes[name].fit(whole, source, target.unlabeled(), checkpoint=tmp_path / "a.pt", **arguments)

    cut, left = own(), iter(range(int(0.8 * len(calls))))

    def stop(*_):
        if next(left, None) is None:
            raise Stopped

    hook = cut.encoder.body.stem.register_forward_pre_hook(stop)
    with pytest.raises(Stopped):
        xl.recipes[name].fit(cut, source, target.unlabeled(), checkpoint=tmp_path / "b.pt", **arguments)
    hook.remove()
    again = own(seed=9)
    resumed = xl.recipes[name].fit(again, source, target.unlabeled(), checkpoint=tmp_path / "b.pt", **arguments)
    assert 0 < resumed.resumed_from < FAST["steps"]
    assert resumed.history == undisturbed.history
    for a, b in zip([whole, *undisturbed.objectives], [again, *resumed.objectives], strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", ADAPTING)
def test_a_multilabel_source_is_refused_by_name_or_trained_on(name, own, source, target):
    several = replace(source, labels=torch.eye(3)[source.labels], name="chest")
    model = own()

    def fit():
        return xl.recipes[name].fit(model, several, target.unlabeled(), **FAST)

    on_features = {"dann", "adda", "wdgrl", "bsp", "mmd", "mmd_linear", "coral", "sliced_wasserstein", "afn", "adabn"}
    if name in on_features | {"colour_adabn"}:
        assert all(math.isfinite(value) for entry in fit().history for value in entry.values())
    else:
        with pytest.raises(ArgumentError, match=r"one class an example.*'chest' is multi-label"):
            fit()
        assert torch.equal(model.head.weight, own().head.weight), "refused before any stage has trained"
