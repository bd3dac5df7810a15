"""bench/regularizers.py: nothing is left out of the table, finished runs are kept, and verdicts follow from the rows."""

import dataclasses
import importlib.util
import sys
import time
from pathlib import Path

import pytest
import torch

from xferlab import augment, objectives
from xferlab.domains import Domain, Splits
from xferlab.objectives import regularization

spec = importlib.util.spec_from_file_location("regularizers", Path(__file__).parents[2] / "bench" / "regularizers.py")
bench = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = bench  # dataclasses look their module up
spec.loader.exec_module(bench)


def domain(n=12, name="tiny"):
    inputs = torch.randint(0, 256, (n, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))
    return Domain(inputs, torch.arange(n) % 3, ("a", "b", "c"), name=name)


def test_every_regularizer_and_augmentation_of_the_library_is_a_row():
    made = [getattr(make, "func", make) for v in bench.VARIANTS.values() for make in v.objectives]
    made += [objectives.Distillation] if any(v.how == "distillation" for v in bench.VARIANTS.values()) else []
    terms = {
        kind
        for kind in vars(regularization).values()
        if isinstance(kind, type) and issubclass(kind, objectives.Objective)
    }
    assert terms - {objectives.Objective} <= set(made)
    assert any(v.smoothing for v in bench.VARIANTS.values())
    assert {"stochastic norm", "wise", "lora"} <= {v.how for v in bench.VARIANTS.values()}
    used = {type(op) for v in bench.VARIANTS.values() for op in (*v.augment, v.style)}
    operations = {
        kind for kind in vars(augment).values() if isinstance(kind, type) and issubclass(kind, augment.Operation)
    }
    assert {kind for kind in operations if dataclasses.is_dataclass(kind)} - {augment.DropTokens} <= used  # of pictures


def test_what_names_a_run_holds_no_address_of_this_process():
    assert [name for name, variant in bench.VARIANTS.items() if " at 0x" in repr(variant)] == []
    assert len({repr(variant) for variant in bench.VARIANTS.values()}) == len(bench.VARIANTS)


def test_corrupted_gives_each_picture_under_several_corruptions_with_its_label():
    clean = domain(15)
    worse = bench.corrupted(clean, copies=3)
    assert len(worse) == 45 and torch.equal(worse.labels, clean.labels.repeat(3))
    same = (worse.inputs == clean.inputs.repeat(3, 1, 1, 1)).flatten(1).all(1)
    assert not same.any()
    again = worse.inputs.view(3, 15, -1)
    assert not torch.equal(again[0], again[1])
    assert torch.equal(worse.inputs, bench.corrupted(clean, copies=3).inputs)


def test_finished_runs_are_read_back_and_none_starts_after_the_deadline(monkeypatch, tmp_path):
    trained = []
    home = Splits(domain(12), domain(9), domain(6))

    def train(variant, labelled, style, draw):
        trained.append((variant.about, draw))
        return lambda inputs: None

    monkeypatch.setattr(bench, "places", lambda data: (home, domain(9, "abroad"), home.train.inputs))
    monkeypatch.setattr(bench, "train", train)
    monkeypatch.setattr(bench.xl, "evaluate", lambda model, test: type("S", (), {"balanced_accuracy": len(test) / 10}))
    soon = time.time() + 60
    first = bench.measure("L2-SP", 0, None, tmp_path, soon)
    assert (first["home"], first["abroad"]) == (0.6, 0.9)
    assert bench.measure("L2-SP", 0, None, tmp_path, 0.0) == first and len(trained) == 1
    assert bench.measure("L2-SP", 1, None, tmp_path, 0.0) is None and len(trained) == 1
    changed = dataclasses.replace(bench.VARIANTS["L2-SP"], weight_decay=0.5)
    monkeypatch.setitem(bench.VARIANTS, "L2-SP", changed)
    bench.measure("L2-SP", 0, None, tmp_path, soon)
    assert len(trained) == 2, "another setting is another run"


@pytest.mark.parametrize("draws, star", [(5, True), (3, False)])
def test_the_page_calls_separated_only_what_five_paired_draws_separate(draws, star):
    rows = []
    for draw in range(draws):
        luck = 0.1 * draw
        for method, gain in ((bench.BASELINE, 0.0), ("BSS", 0.05 + 0.001 * draw), ("EMA", 0.01 * (-1) ** draw)):
            rows.append(
                {"method": method, "draw": draw, "seconds": 2.0, "home": 0.3 + luck + gain, "abroad": 0.3 + luck - gain}
            )
    text = bench.page(rows, "here", "there", "command")
    line = next(line for line in text.splitlines() if line.startswith("| BSS"))
    assert ("*" in line) == star
    assert "+0.05" in line and "-0.05" in line
    assert ("**Home.** Better than plain fine-tuning: BSS." in text) == star
    assert ("**Abroad.** Worse than plain fine-tuning: BSS." in text) == star
    assert f"Not separated from plain fine-tuning: {'EMA' if star else 'BSS, EMA'}." in text


@pytest.mark.parametrize("how", ["", "probe", "lp_ft", "wise", "stochastic norm", "distillation", "lora", "refresh"])
def test_each_way_trains_and_leaves_a_plain_classifier(how, monkeypatch):
    monkeypatch.setattr(bench, "SETTINGS", dict(steps=2, batch_size=6, lr=1e-3))
    make = bench.xl.encoder
    monkeypatch.setattr(bench.xl, "encoder", lambda name: make("small_cnn", size=16))
    variant = next((v for v in bench.VARIANTS.values() if v.how == how), None)
    labelled = domain(12)
    model = bench.train(variant, labelled, labelled.inputs, draw=0)
    fresh = bench.xl.Classifier(make("small_cnn", size=16), labelled.classes, seed=0)
    assert set(model.state_dict()) == set(fresh.state_dict())
    moved = [
        k
        for k, v in fresh.state_dict().items()
        if k.startswith("encoder") and not torch.equal(v, model.state_dict()[k])
    ]
    assert bool(moved) == (how != "probe")
