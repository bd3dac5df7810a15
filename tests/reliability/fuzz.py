"""Domains, `fit` arguments and objectives from Hypothesis: each call works, or raises one of the package's errors.

    python tests/reliability/fuzz.py --cases 4000 --write     # of each of the three

"Works" means: what comes out is finite. A case that does neither is printed, shrunk to a small one.
"""

import argparse
import collections
import inspect
import os
import sys
import tempfile
import types
import typing
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XFERLAB_DATA", tempfile.mkdtemp(prefix="fuzz-"))
sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from small import TwentyLines, blobs

import xferlab as xl
from xferlab.errors import XferlabError

SIZE = 6  # examples of a domain to train on: a batch of 7 is one too many
OUTCOMES: collections.Counter = collections.Counter()  # (what was tried, how it ended): cases


def works_or_says(what: str, call):
    """`call()`, or None where it raised a documented error; any other error goes on and fails the case."""
    try:
        result = call()
        OUTCOMES[what, "worked"] += 1
        return result
    except XferlabError as error:
        assert len(str(error)) > 20, f"{type(error).__name__} says only {error}"
        OUTCOMES[what, type(error).__name__] += 1


# ------------------------------------------------------------------ domains


FILLS = {"zeros": 0.0, "255": 255.0, "negative": -1.0, "nan": float("nan"), "inf": float("inf"), "random": 0.0}
TYPES = [torch.uint8, torch.int64, torch.float32, torch.bool, torch.int16, torch.float64]


@st.composite
def tensors(draw, shape):
    """Constant, random or broken values of any type."""
    kind, fill = draw(st.sampled_from(TYPES)), draw(st.sampled_from(list(FILLS)))
    made = torch.full(shape, FILLS[fill], dtype=torch.float64)
    if fill == "random":
        made = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 5)))).double()
    return made.to(kind) if kind.is_floating_point else made.nan_to_num(0, 255, 0).to(kind)


def mostly(data) -> bool:
    return data.draw(st.sampled_from([True, True, True, False]))


def check_domain(data):
    n = data.draw(st.sampled_from([1, 2, 3, 5, 9, 0]))
    if mostly(data):  # what can be a domain
        pixels = (data.draw(st.sampled_from([1, 3])), *data.draw(st.sampled_from([(8, 8), (1, 1), (2, 8)])))
        inputs = torch.randint(0, 256, (n, *pixels), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))
    else:
        inputs = data.draw(tensors([n, *data.draw(st.lists(st.sampled_from([0, 1, 2, 3, 8]), max_size=4))]))
    good, bad = [("a", "b"), ("a", "b", "c"), (1, 2), ["x", "y"]], [(), ("a",), ("a", "a"), "abc"]
    classes = data.draw(st.sampled_from(good if mostly(data) else bad))
    k = max(len(classes), 1)
    labels = data.draw(
        st.sampled_from([None, torch.arange(n) % k, torch.eye(k)[torch.arange(n) % k], torch.zeros(n).long()])
    )
    if not mostly(data):
        labels = data.draw(st.one_of(tensors([n]), tensors([n, k]), tensors([n + 1]), tensors([n, 1])))
    groups = data.draw(st.sampled_from([None, torch.arange(n) // 2]))
    if not mostly(data):
        groups = data.draw(st.one_of(tensors([n]), tensors([n + 1])))
    domain = works_or_says("Domain", lambda: xl.Domain(inputs, labels, classes, groups, name="fuzz"))
    if domain is None:
        return
    assert len(domain) == n and repr(domain)
    number = data.draw(st.sampled_from([-1, 0, 1, 2, 100]))
    mask = torch.rand(n, generator=torch.Generator().manual_seed(n)) < 0.5
    calls = {
        "take per_class": lambda: domain.take(number, seed=number),
        "take n": lambda: domain.take(n=number),
        "counts": domain.counts,
        "split": lambda: xl.domains.domain.split(domain, seed=number),
        "align": lambda: domain.align(("b", "a", "x", "y")),
        "mask": lambda: domain[mask],
        "none": lambda: domain[[]],
        "unlabeled": domain.unlabeled,
        "evaluate": lambda: xl.evaluate(network(domain.classes), domain),
        "embed": lambda: xl.embed(network(domain.classes), domain, cache=False),
    }
    name = data.draw(st.sampled_from(list(calls)))
    works_or_says(name, calls[name])


def network(classes=("a", "b", "c"), seed=0):
    torch.manual_seed(seed)
    return xl.Classifier(xl.encoder(TwentyLines(), size=8), classes)


# ------------------------------------------------------------------ fit


def sides(data) -> tuple:
    """A source and a target to train on, among them what cannot be trained on."""
    plain = blobs(SIZE, size=8, seed=1)
    source = {
        "plain": plain,
        "one class": plain[plain.labels == 0],
        "two examples": plain[:2],
        "one example": plain[:1],
        "constant": xl.Domain(torch.full_like(plain.inputs, 255), plain.labels, plain.classes),
        "grey": blobs(SIZE, size=8, channels=1),
        "other size": blobs(SIZE, size=11),
        "unlabelled": plain.unlabeled(),
        "two of the classes": blobs(SIZE, size=8, classes=2),
        "other classes": xl.Domain(plain.inputs, plain.labels, ("a", "b", "zebra")),
        "multi-label": xl.Domain(plain.inputs, torch.eye(3)[plain.labels], plain.classes),
        "tokens": xl.Domain(torch.ones(SIZE, 5, dtype=torch.int64), plain.labels, plain.classes),
        "none": None,
    }
    one, two = ("plain" if mostly(data) else data.draw(st.sampled_from(list(source))) for _ in range(2))
    target = source[two] and (source[two].unlabeled() if mostly(data) else source[two])
    return source[one], target


NUMBERS = st.sampled_from([-1.0, 0.0, 1e-3, 0.05, 0.5, 1.0, 2.0, 1e30, float("inf"), float("nan")])
WHOLE = st.sampled_from([-1, 0, 1, 2, 3, SIZE, SIZE + 1, 64, 2**63, 2**64])
USUAL = {  # each argument is mostly as here, sometimes from the strategy beside it
    "steps": (2, st.sampled_from([-1, 0, 1, 3])),
    "batch_size": (4, st.sampled_from([-1, 0, 1, 2, 3, SIZE, SIZE + 1, 64])),
    "lr": (1e-3, NUMBERS),
    "weight_decay": (1e-2, NUMBERS),
    "warmup": (0.05, NUMBERS),
    "augment": (None, st.sampled_from([[], [xl.augment.Flip()], [xl.augment.MixUp()], [xl.augment.FDA()]])),
    "val_every": (None, WHOLE),
    "checkpoint_every": (1, WHOLE),
    "precision": ("auto", st.sampled_from(["fp32", "bf16", "fp8", ""])),
    "seed": (0, WHOLE),
    "strategy": (
        None,
        st.sampled_from(
            [
                make()
                for make in (
                    xl.strategies.full,
                    xl.strategies.head_only,
                    xl.strategies.norm_only,
                    xl.strategies.encoder_only,
                )
            ]
        ),
    ),
}


def check_fit(data):
    source, target = sides(data)
    changed = data.draw(
        st.sets(st.sampled_from([*USUAL, "val", "checkpoint", "objectives", "target_labels"]), max_size=3)
    )
    arguments = {name: data.draw(other) if name in changed else usual for name, (usual, other) in USUAL.items()}
    if "val" in changed:
        arguments["val"] = data.draw(
            st.sampled_from([blobs(SIZE, size=8), blobs(SIZE, size=8, labels=False), blobs(1, size=8, classes=2)])
        )
    if "objectives" in changed:
        arguments["objectives"] = data.draw(
            st.sampled_from([[], [xl.MMD()], [xl.CrossEntropy(), xl.DANN()], [xl.CrossEntropy(on="target")]])
        )
    arguments["target_labels"] = "target_labels" in changed
    with tempfile.TemporaryDirectory() as folder:
        if "checkpoint" in changed:
            arguments["checkpoint"] = Path(folder) / "deep" / "c.pt"
        trained("fit", source, target, arguments)


def trained(what: str, source, target, arguments: dict):
    model = network()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = works_or_says(what, lambda: xl.fit(model, source, target, progress_bar=False, **arguments))
    if run is not None:
        broken = [name for name, value in model.state_dict().items() if not torch.isfinite(value).all()]
        assert not broken, f"fit returned weights that are not finite: {broken}"


# ------------------------------------------------------------------ objectives


def options(kind: type) -> dict:
    """A strategy for each option of an objective, by its annotation."""
    known = {float: NUMBERS, int: st.sampled_from([-1, 0, 1, 2, 5, 1000]), bool: st.booleans()}
    known[str] = st.sampled_from(["source", "target", "strong", "weak", "deep", "nowhere", ""])
    found = {}
    for name, hint in typing.get_type_hints(kind.__init__).items():
        parts = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        usable = [known[part] for part in parts if part in known]
        usable += [st.tuples(*map(known.get, typing.get_args(p))) for p in parts if typing.get_origin(p) is tuple]
        usable += [st.none()] if type(None) in parts and usable else []
        if usable:
            found[name] = st.one_of(usable)
    return {name: found[name] for name in inspect.signature(kind).parameters if name in found}


KINDS = [
    kind
    for name in xl.objectives.__all__
    if issubclass(kind := getattr(xl.objectives, name), xl.Objective) and kind is not xl.Objective
]


def check_objective(data):
    kind = data.draw(st.sampled_from(KINDS))
    own = options(kind)
    chosen = (
        {name: data.draw(own[name]) for name in data.draw(st.sets(st.sampled_from(list(own)), max_size=2))}
        if own
        else {}
    )
    objective = works_or_says(kind.__name__, lambda: kind(**chosen))
    if objective is None:
        return
    source, target = sides(data)
    both = data.draw(st.booleans())
    batch = data.draw(st.sampled_from([2, 3, SIZE, SIZE + 1]))
    objectives = [xl.CrossEntropy(), objective] if both else [objective]
    trained(kind.__name__, source, target, dict(objectives=objectives, steps=2, batch_size=batch))


CHECKS = {"domain": check_domain, "fit": check_fit, "objective": check_objective}


def run(name: str, cases: int, first: int = 0) -> None:
    """So many cases of one check; raises on the first that neither works nor says why."""
    quiet = settings(
        max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=False
    )
    quiet(seed(first)(given(st.data())(CHECKS[name])))()


def summary() -> list[str]:
    """A line a check: cases, how many worked, and which errors the others raised."""

    def of(what):
        return "fit" if what == "fit" else "objectives" if what in {k.__name__ for k in KINDS} else "domains"

    lines = []
    for group in ("domains", "fit", "objectives"):
        ended = collections.Counter()
        for (what, how), n in OUTCOMES.items():
            ended[how] += n if of(what) == group else 0
        errors = ", ".join(f"{how} {n:,}" for how, n in ended.most_common() if how != "worked" and n)
        lines.append(
            f"{group}: {ended['worked']:,} calls worked, {ended.total() - ended['worked']:,} raised a documented error ({errors})"
        )
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=4000, help="of each of the three")
    parser.add_argument("--only", choices=CHECKS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="into tests/README.md")
    chosen = parser.parse_args()
    for check in [chosen.only] if chosen.only else CHECKS:
        run(check, chosen.cases, chosen.seed)
    print(*summary(), sep="\n")
    if chosen.write:
        from figures import record

        head = f"{chosen.cases * len(CHECKS):,} cases, none of which ended otherwise than by working or by a documented error"
        record("fuzz", [head, *summary()])
