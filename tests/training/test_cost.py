"""What `fit` does not compute, so that a step costs what the same step costs by hand."""

import torch
from small import blobs

import xferlab as xl
from xferlab import strategies
from xferlab.objectives import Objective
from xferlab.training.moving import Movement

FAST = dict(steps=3, batch_size=16, progress_bar=False)


class Peek(Objective):
    """Asks first, and without gradient."""

    needs = frozenset({"source"})

    def forward(self, step):
        with torch.no_grad():
            assert step.source.probabilities.shape == (16, 3)
        return step.source.logits.sum() * 0


def passes(model):
    calls = []
    model.encoder.body.register_forward_hook(lambda _module, arguments, _output: calls.append(len(arguments[0])))
    return calls


def test_a_pass_that_no_objective_reads_is_not_made(own, target):
    model = own()
    calls = passes(model)
    xl.fit(model, None, target.unlabeled(), objectives=[xl.RotationPrediction(on="target")], **FAST)
    assert calls == [64, 64, 64]  # the four turns of each picture, and not the pictures as they are


def test_who_asks_first_takes_the_gradient_from_nobody(own, source):
    alone, beside = own(), own()
    xl.fit(alone, source, **FAST)
    xl.fit(beside, source, objectives=[Peek(), xl.CrossEntropy()], **FAST)
    assert all(
        torch.equal(a, b) for a, b in zip(alone.state_dict().values(), beside.state_dict().values(), strict=True)
    )


def test_without_objectives_every_batch_still_passes(own, target):
    model = own()
    calls = passes(model)
    xl.fit(model, None, target.unlabeled(), objectives=[], **FAST)
    assert calls == [16, 16, 16]


def test_an_optimizer_gets_a_group_for_each_way_to_move(own):
    model = own()

    def groups(strategy):
        return Movement(model, strategy, [], [], 1e-3, weight_decay=0.01, warmup=0, steps=20).optimizer.param_groups

    assert [group["weight_decay"] for group in groups(strategies.full())] == [0.01, 0.0]
    held = {id(p) for group in groups(strategies.full()) for p in group["params"]}
    assert held == {id(p) for p in model.parameters()}
    assert [len(group["params"]) for group in groups(strategies.head_only())] == [1, 1]
    # a block that wakes later, or moves slower, is a way of its own
    assert len(groups(strategies.gradual_unfreeze())) > 4 and len(groups(strategies.layerwise(0.5))) > 4
    assert len(groups(strategies.lp_ft())) == 4


def test_the_seed_of_a_step_is_set_without_a_look_at_the_call_stack(own, source, monkeypatch):
    looks = []
    monkeypatch.setattr("traceback.format_stack", lambda *_: looks.append(1) or [])
    xl.fit(own(), source, device="cpu", **FAST | {"steps": 20})
    assert len(looks) < 20


def test_pictures_of_one_shape_are_joined_before_they_become_floats(own):
    same, other = blobs(seed=1), blobs(seed=2, size=20)
    for target in (same, other):
        model, prepared = own(), []
        plain = model.encoder.prepare
        model.encoder.prepare = lambda x, plain=plain, prepared=prepared: prepared.append(tuple(x.shape)) or plain(x)
        xl.fit(model, blobs(seed=3), target.unlabeled(), **FAST)
        assert prepared[0] == ((32, 3, 16, 16) if target is same else (16, 3, 16, 16))
