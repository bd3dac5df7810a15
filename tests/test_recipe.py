import pytest
import torch

import xferlab as xl
from xferlab.errors import ArgumentError
from xferlab.recipe import find

FAST = dict(steps=6, batch_size=16, progress_bar=False)


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("name", xl.recipes)
def test_losses_stay_finite_and_something_moves(name, own, source, target):
    recipe, model = xl.recipes[name], own()
    before = state(model)
    run = recipe.fit(model, source, target.unlabeled() if recipe.needs_target else None, **FAST)
    assert run.model is model and run.seconds > 0
    assert {entry["stage"] for entry in run.history} == {i for i, stage in enumerate(recipe.stages) if not stage.solve}
    after = state(model)
    assert before.keys() != after.keys() or any(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("name", xl.recipes)
def test_same_seed_same_bits(name, own, source, target):
    recipe, states = xl.recipes[name], []
    for _ in range(2):
        model = own()
        recipe.fit(model, source, target.unlabeled() if recipe.needs_target else None, **FAST)
        states.append(state(model))
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))


@pytest.mark.parametrize("name", [name for name, recipe in xl.recipes.items() if recipe.needs_target])
def test_a_missing_target_is_named(name, own, source):
    with pytest.raises(ArgumentError, match=r"got none; pass target.train.unlabeled\(\)"):
        xl.recipes[name].fit(own(), source, **FAST)


def test_source_only_never_sees_the_target_and_joint_bn_does(own, source, target):
    """The same loss on the same labels: only batch norm's statistics tell the two baselines apart."""
    alone, given, joint = own(), own(), own()
    xl.recipes["source_only"].fit(alone, source, **FAST)
    xl.recipes["source_only"].fit(given, source, target.unlabeled(), **FAST)
    xl.recipes["source_only_joint_bn"].fit(joint, source, target.unlabeled(), **FAST)
    assert all(torch.equal(a, b) for a, b in zip(alone.state_dict().values(), given.state_dict().values(), strict=True))
    assert not torch.equal(alone.encoder.body.norm.running_mean, joint.encoder.body.norm.running_mean)


def test_a_stages_share_is_a_multiple_of_the_steps(own, source):
    recipe = xl.Recipe("mine", (xl.Stage(data="source", share=0.5), xl.Stage(data="source", share=2)))
    run = recipe.fit(own(), source, **(FAST | {"steps": 10}))
    assert [max(entry["step"] for entry in run.history if entry["stage"] == stage) for stage in (0, 1)] == [4, 19]


def test_lp_ft_moves_the_head_alone_first(own, source):
    model, probe = own(), own()
    stages = xl.recipes["lp_ft"].stages
    xl.Recipe("first", stages[:1]).fit(probe, source, **FAST)
    before = own().encoder.state_dict()
    assert all(torch.equal(before[name], tensor) for name, tensor in probe.encoder.state_dict().items())
    xl.recipes["lp_ft"].fit(model, source, **FAST)
    assert not torch.equal(model.encoder.body.stem.weight, probe.encoder.body.stem.weight)
    kept = [name for name in before if "running" in name]
    assert kept and all(torch.equal(before[name], model.encoder.state_dict()[name]) for name in kept)


def test_a_recipe_resumes_stage_by_stage(own, source, tmp_path):
    whole, cut = own(), own(seed=9)
    xl.recipes["lp_ft"].fit(whole, source, checkpoint=tmp_path / "a.pt", **FAST)
    (tmp_path / "a.1.pt").unlink()  # as if killed in the second stage
    xl.recipes["lp_ft"].fit(cut, source, checkpoint=tmp_path / "a.pt", **FAST)
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), cut.state_dict().values(), strict=True))


def test_finish_runs_last(own, source):
    done = []
    recipe = xl.Recipe("mine", (xl.Stage(data="source"),), finish=lambda model: done.append(model))
    model = own()
    recipe.fit(model, source, **FAST)
    assert done == [model]


def test_a_stage_with_unknown_data():
    with pytest.raises(ArgumentError, match="'elsewhere'"):
        xl.Stage(data="elsewhere")


def method(recipe, name):
    return next(one for stage in recipe.stages for one in stage.objectives() if type(one).__name__ == name)


def test_a_strength_scales_the_method_and_nothing_else():
    at = xl.recipes["dann"].at(0.3)
    assert method(at, "DANN").weight == pytest.approx(0.3) and method(at, "CrossEntropy").weight == 1
    assert at.name == "dann" and [stage.lr for stage in at.stages] == [1.0]
    assert method(xl.recipes["dann"], "DANN").weight == 1  # the registry's stays
    # alone, a weight means nothing to AdamW: the stage's rate is scaled, and the stages before it stay
    tent = xl.recipes["tent"]
    assert [stage.lr for stage in tent.at(3).stages] == [tent.stages[0].lr, 3 * tent.stages[1].lr]
    assert method(tent.at(3), "EntropyMinimization").weight == method(tent, "EntropyMinimization").weight
    # nothing but cross-entropy: all rates
    assert [s.lr for s in xl.recipes["lp_ft"].at(0.3).stages] == [0.3 * s.lr for s in xl.recipes["lp_ft"].stages]


def test_a_recipe_is_found_by_name_and_strength():
    assert find("dann") is xl.recipes["dann"]
    assert find("dann@0.3").strength == 0.3 and method(find("dann@0.3"), "DANN").weight == pytest.approx(0.3)
    for wrong in ("dan", "dann@", "dann@strong", "dann@0", "dann@nan", "dann@-1"):
        with pytest.raises(ArgumentError, match=r"dan|strength"):
            find(wrong)
