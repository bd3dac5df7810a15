import copy

import pytest
import torch

import xferlab as xl
from xferlab import strategies
from xferlab.errors import ArgumentError

ALL = [
    strategies.full(),
    strategies.head_only(),
    strategies.norm_only(),
    strategies.layerwise(0.5),
    strategies.gradual_unfreeze(),
    strategies.lp_ft(),
    strategies.top(1),
]


def changed(before, after):
    return {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}


def test_layerwise_rates_by_hand(own):
    assert strategies.layerwise(0.5).rates(own(), 0.3) == {"stem": 0.125, "deep": 0.25, "project": 0.5, "head": 1.0}


def test_gradual_unfreeze_opens_from_the_top(own):
    strategy, model = strategies.gradual_unfreeze(until=0.6), own()
    opened = [tuple(name for name, rate in strategy.rates(model, p).items() if rate) for p in (0.0, 0.2, 0.4, 0.6)]
    assert opened == [("head",), ("project", "head"), ("deep", "project", "head"), ("stem", "deep", "project", "head")]


def test_lp_ft_turns_over_at_its_point(own):
    rates = [strategies.lp_ft(0.4).rates(own(), p)["stem"] for p in (0.0, 0.39, 0.4, 1.0)]
    assert rates == [0.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("strategy", ALL, ids=lambda s: s.name)
def test_groups_cover_what_moves_once_and_change_nothing(strategy, own):
    model = own()
    state, flags = copy.deepcopy(model.state_dict()), [p.requires_grad for p in model.parameters()]
    groups = strategy.groups(model)
    listed = [id(p) for group in groups for p in group["params"]]
    assert len(listed) == len(set(listed)) and {id(p) for p in model.head.parameters()} <= set(listed)
    assert all((p.ndim > 1) == group["decay"] for group in groups for p in group["params"])
    assert flags == [p.requires_grad for p in model.parameters()] and not changed(state, model.state_dict())


@pytest.mark.parametrize(
    ("strategy", "moves", "statistics"),
    [
        (strategies.full(), {"stem", "norm", "deep", "deep_norm", "project", "head"}, {"norm", "deep_norm"}),
        (strategies.full(freeze_statistics=True), {"stem", "norm", "deep", "deep_norm", "project", "head"}, set()),
        (strategies.head_only(), {"head"}, set()),
        (strategies.norm_only(), {"norm", "deep_norm", "head"}, {"norm", "deep_norm"}),
        (strategies.top(1), {"project", "head"}, set()),
        (strategies.top(2), {"deep", "deep_norm", "project", "head"}, {"deep_norm"}),
        (strategies.layerwise(), {"stem", "norm", "deep", "deep_norm", "project", "head"}, {"norm", "deep_norm"}),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_what_moves_and_whose_statistics(strategy, moves, statistics, own, source):
    model = own()
    before = copy.deepcopy(model.state_dict())
    xl.fit(model, source, strategy=strategy, steps=3, batch_size=16, progress_bar=False)
    names = changed(before, model.state_dict())

    def part(name):
        return name.removeprefix("encoder.body.").split(".")[0]

    assert {part(name) for name in names if "running" not in name and "num_batches" not in name} == moves
    assert {part(name) for name in names if "running" in name} == statistics


@pytest.mark.parametrize("strategy", ALL, ids=lambda s: s.name)
def test_own_module_trains_under_every_strategy(strategy, own, source):
    model = own()
    run = xl.fit(model, source, strategy=strategy, steps=20, batch_size=60, lr=1e-2, progress_bar=False)
    assert run.history[-1]["CrossEntropy"] < run.history[0]["CrossEntropy"]
    assert xl.evaluate(model, source).n == 60


def test_layerwise_moves_the_first_block_less(own, source):
    moved = {}
    for strategy in (strategies.full(), strategies.layerwise(0.1)):
        model = own()
        start = model.encoder.body.stem.weight.detach().clone()
        xl.fit(model, source, strategy=strategy, steps=3, progress_bar=False)
        moved[strategy.name] = (model.encoder.body.stem.weight - start).abs().mean().item()
    # AdamW's steps have the size of the rate, whatever the gradient: 0.1 ** 3 of full's
    assert moved["layerwise(0.1)"] == pytest.approx(moved["full"] * 1e-3, rel=0.1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: strategies.layerwise(0.0),
        lambda: strategies.layerwise(1.5),
        lambda: strategies.gradual_unfreeze(0),
        lambda: strategies.lp_ft(1.0),
        lambda: strategies.top(-1),
    ],
)
def test_bad_arguments(make):
    with pytest.raises(ArgumentError, match="expected"):
        make()


def test_tab_offers_strategies_and_not_what_the_file_imports():
    offered = set(dir(strategies))
    assert {"full", "head_only", "layerwise", "lora"} <= offered
    assert not offered & {"torch", "nn", "ArgumentError", "add_lora", "dataclass"}
