import copy
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import TwentyLines, blobs
from torch import nn

import xferlab as xl
from xferlab import strategies
from xferlab.errors import ArgumentError, CheckpointError, DataError, DivergenceError, TargetLabelsError
from xferlab.objectives import Objective
from xferlab.training.feed import Stream as _Stream
from xferlab.training.moving import schedule

FAST = dict(steps=8, batch_size=16, progress_bar=False)


class Probe(Objective):
    """Keeps what fit hands to an objective."""

    needs = frozenset({"source"})

    def __init__(self, taps=(), weight=1.0):
        super().__init__(weight)
        self.taps, self.steps, self.after = taps, [], 0
        self.part = nn.Linear(1, 1)

    def forward(self, step):
        self.steps.append(step)
        return step.source.logits.square().mean() + self.part.weight.square().sum()

    def after_step(self, step):
        assert not torch.is_grad_enabled()
        self.after += 1


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_learns_what_labels_say(own, source):
    model = own()
    run = xl.fit(model, source, steps=60, batch_size=30, lr=1e-2, progress_bar=False)
    assert xl.evaluate(model, blobs(seed=9)).balanced_accuracy > 0.95
    assert run.model is model and not model.training and run.seconds > 0 and run.images_per_second > 0
    assert run.history[0]["step"] == 0 and run.history[-1]["step"] == 59
    assert all(isinstance(value, float) for entry in run.history for value in entry.values())


def test_wrong_labels_are_not_learnt_from_nothing(own):
    """The check above could pass on leaked labels: with shuffled ones the test set must stay at chance."""
    source = blobs(seed=1)
    shuffled = replace(source, labels=source.labels[torch.randperm(60, generator=torch.Generator().manual_seed(0))])
    model = own()
    xl.fit(model, shuffled, steps=60, batch_size=30, lr=1e-2, progress_bar=False)
    assert xl.evaluate(model, blobs(seed=9)).balanced_accuracy < 0.7


def test_same_seed_same_bits_another_seed_not(own, source, target):
    models = []
    for seed in (0, 0, 1):
        torch.manual_seed(100 + len(models))  # the caller's random state must not matter
        model = own()
        augment = [xl.augment.Flip(), xl.augment.Noise()]
        xl.fit(model, source, target.unlabeled(), seed=seed, augment=augment, **FAST)
        models.append(model)
    assert same(models[0], models[1]) and not same(models[0], models[2])


def test_the_callers_random_state_is_left_alone(own, source):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    xl.fit(own(), source, **FAST)
    assert torch.equal(state, torch.get_rng_state())


def test_stream_is_endless_passes_each_a_permutation():
    stream = _Stream(10, 4, seed=0)
    drawn = torch.cat([stream(t) for t in range(10)])
    for k in range(4):
        assert drawn[10 * k : 10 * k + 10].sort().values.tolist() == list(range(10))
    assert drawn[:10].tolist() != drawn[10:20].tolist()
    assert _Stream(10, 4, seed=0)(7).tolist() == stream(7).tolist() == drawn[28:32].tolist()
    assert _Stream(3, 8, seed=0)(5).sort().values.tolist() == [0, 1, 2]


def test_schedule_rises_then_falls_to_zero():
    values = [schedule(p / 100, 0.1) for p in range(101)]
    assert values.index(max(values)) == 10 and max(values) == pytest.approx(1.0)
    assert 0 < values[0] < 0.02 and values[100] == pytest.approx(0, abs=1e-12)
    assert values[55] == pytest.approx(0.5)


def test_an_objective_is_handed_one_forward_of_both_sides(own, source, target):
    model, probe = own(), Probe(taps=("deep",))
    calls = []
    model.encoder.body.register_forward_hook(lambda _m, args, _out: calls.append(len(args[0])))
    xl.fit(model, source, target.unlabeled(), objectives=[probe], steps=3, batch_size=16, progress_bar=False)
    assert calls == [32, 32, 32]  # source and target together
    step = probe.steps[1]
    assert step.source.features.shape == (16, 12) and step.target.logits.shape == (16, 3) and step.target.labels is None
    assert step.source.inputs.dtype == torch.uint8 and step.progress == 0.5 and step.model is model
    at_source, at_target = step.taps("deep")
    assert at_source.shape == at_target.shape == (16, 16, 8, 8) and not torch.equal(at_source, at_target)
    with pytest.raises(ArgumentError, match="was not recorded"):
        step.taps("stem")
    assert probe.after == 3


def test_an_objectives_own_parts_train_and_weights_count(own, source):
    probe = Probe(weight=2.0)
    before = probe.part.weight.item()
    xl.fit(own(), source, objectives=[probe], **FAST)
    assert probe.part.weight.item() != before
    quiet = Probe(weight=0.0)
    model = own()
    start = copy.deepcopy(model.encoder.body.project.bias.detach())
    xl.fit(model, source, objectives=[quiet], weight_decay=0, **FAST)
    assert torch.equal(start, model.encoder.body.project.bias)


def test_objectives_of_one_name_are_numbered_whatever_they_log(own, source):
    class Said(Probe):
        def log(self):
            return {"one": torch.ones(()), "two": torch.ones(())}

    run = xl.fit(own(), source, objectives=[Said(), Said()], **FAST)
    assert [name for name in run.history[0] if "." not in name] == ["step", "lr", "Said", "Said_2"]


def test_views_are_made_once_and_differ(own, source, target):
    seen = []

    class Look(Objective):
        def forward(self, step):
            strong = step.view("strong")
            assert step.view("strong") is strong and step.view("weak") is not strong
            seen.append((step.target.inputs, strong.inputs))
            return strong.logits.mean()

    xl.fit(own(), source, target.unlabeled(), objectives=[Look()], **FAST)
    assert all(a.shape == b.shape and not torch.equal(a.float(), b.float()) for a, b in seen)


def test_frozen_encoder_is_run_once_and_gives_the_same_weights(own, source):
    """The shortcut through cached features must train the head exactly as forwarding every batch would."""
    fast, slow = own(), own()
    calls = []
    fast.encoder.body.register_forward_hook(lambda *_: calls.append(1))
    xl.fit(fast, source, strategy=strategies.head_only(), objectives=[xl.CrossEntropy()], **FAST)
    assert len(calls) <= 1
    identity = [lambda images, generator: images]
    xl.fit(slow, source, strategy=strategies.head_only(), augment=identity, **FAST)
    torch.testing.assert_close(fast.head.weight, slow.head.weight, atol=1e-6, rtol=1e-5)


def test_no_objectives_moves_batch_norm_statistics_only(own, source):
    model = own()
    before = copy.deepcopy(model.state_dict())
    xl.fit(model, None, source.unlabeled(), objectives=[], **FAST)
    names = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert names and all("running" in name or "num_batches" in name for name in names)


def test_best_weights_on_validation_are_kept(own, source):
    model = own()
    run = xl.fit(model, source, val=blobs(seed=8), steps=30, batch_size=16, lr=5e-2, val_every=3, progress_bar=False)
    scores = [entry["val_balanced_accuracy"] for entry in run.history if "val_balanced_accuracy" in entry]
    assert len(scores) == 10
    assert xl.evaluate(model, blobs(seed=8)).balanced_accuracy == pytest.approx(max(scores))


def test_sides_of_different_size_and_channels_meet_in_the_encoder(source):
    model = xl.Classifier(xl.encoder("lenet"), source.classes)
    gray = blobs(channels=1, size=20, name="gray").unlabeled()
    probe = Probe()
    xl.fit(model, source, gray, objectives=[probe], **FAST)
    assert probe.steps[0].target.features.shape == (16, 128)


def test_target_labels_train_only_when_asked(own, source, target):
    with pytest.raises(TargetLabelsError, match="unlabeled"):
        xl.fit(own(), source, target, **FAST)
    run = xl.fit(own(), source, target, objectives=[xl.CrossEntropy(on="target")], target_labels=True, **FAST)
    assert run.history


def test_a_target_with_some_of_the_classes_is_said_aloud(own, source):
    part = blobs(classes=2, name="part").unlabeled()
    with pytest.warns(UserWarning, match=r"lacks the classes \['c'\]"):
        xl.fit(own(), source, part, **FAST)


class Killer(Objective):
    """Ends its own process, as SIGKILL does, past a moment of the run."""

    needs = frozenset({"source"})

    def __init__(self, after: float = 1.0):
        super().__init__()
        self._after = after

    def forward(self, step):
        if step.progress > self._after:
            os.kill(os.getpid(), signal.SIGKILL)
        return step.source.logits.sum() * 0


def long_run(checkpoint, after=1.0):
    torch.manual_seed(0)
    model = xl.Classifier(xl.encoder(TwentyLines(), size=16), ("a", "b", "c"))
    settings = dict(augment=[xl.augment.Flip(), xl.augment.Noise()], val=blobs(seed=3), steps=30, checkpoint_every=4)
    settings |= dict(objectives=[xl.CrossEntropy(), Killer(after)], checkpoint=checkpoint, progress_bar=False)
    return xl.fit(model, blobs(seed=1), blobs(seed=2, shift=60).unlabeled(), **settings)


def test_kill_9_and_again_gives_the_bits_of_an_undisturbed_run(tmp_path, one_thread):
    """Killed for real, in its own process, at two moments of the run; the same call here then goes on from the file."""
    places = [str(path) for path in Path(__file__).parents[:2]]
    code = f"import sys, torch; sys.path[:0] = {places!r}; torch.set_num_threads(1); import test_fit\n"
    for after in (0.3, 0.7):
        command = [sys.executable, "-c", f"{code}test_fit.long_run({str(tmp_path / 'cut.pt')!r}, {after})"]
        assert subprocess.run(command, timeout=300).returncode == -signal.SIGKILL
    cut, whole = long_run(tmp_path / "cut.pt"), long_run(tmp_path / "whole.pt")
    assert (whole.resumed_from, cut.resumed_from) == (0, 20) and cut.history == whole.history
    assert same(cut.model, whole.model)


def test_a_finished_checkpoint_returns_at_once(own, source, tmp_path):
    first, again = own(), own(seed=3)
    xl.fit(first, source, checkpoint=tmp_path / "c.pt", **FAST)
    run = xl.fit(again, source, checkpoint=tmp_path / "c.pt", **FAST)
    assert run.resumed_from == 8 and same(first, again) and run.history[-1]["step"] == 7


def test_a_checkpoint_of_another_run_is_refused(own, source, target, tmp_path):
    file = tmp_path / "c.pt"
    xl.fit(own(), source, checkpoint=file, **FAST)
    for change in (dict(seed=1), dict(lr=0.5), dict(objectives=[xl.CrossEntropy(label_smoothing=0.1)])):
        with pytest.raises(CheckpointError, match="other data or arguments"):
            xl.fit(own(), source, checkpoint=file, **(FAST | change))
    with pytest.raises(CheckpointError, match="other data"):
        xl.fit(own(), blobs(seed=5), checkpoint=file, **FAST)
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="no checkpoint of fit"):
        xl.fit(own(), source, checkpoint=file, **FAST)


def test_a_checkpoint_knows_the_validation_split_and_what_is_frozen(own, source, tmp_path):
    file = tmp_path / "c.pt"
    xl.fit(own(), source, val=blobs(seed=3), checkpoint=file, **FAST)
    for change in (dict(val=blobs(seed=4)), dict(val=None)):
        with pytest.raises(CheckpointError, match="other data or arguments"):
            xl.fit(own(), source, checkpoint=file, **(FAST | change))
    frozen = own()
    frozen.encoder.body.stem.requires_grad_(False)
    with (
        pytest.warns(UserWarning, match="not trained"),
        pytest.raises(CheckpointError, match="other data or arguments"),
    ):
        xl.fit(frozen, source, val=blobs(seed=3), checkpoint=file, **FAST)


def test_an_augmentation_that_is_a_function_goes_on_from_its_checkpoint(own, source, tmp_path):
    """A function's repr holds its address, which another process does not share."""

    def made(amount):
        return lambda images, generator: images.roll(amount, -1)

    file = tmp_path / "c.pt"
    xl.fit(own(), source, augment=[made(1)], checkpoint=file, **FAST)
    again = xl.fit(own(), source, augment=[made(1)], checkpoint=file, **FAST)
    assert again.resumed_from == FAST["steps"]
    with pytest.raises(CheckpointError, match="other data or arguments"):
        xl.fit(own(), source, augment=[made(2)], checkpoint=file, **FAST)


@pytest.mark.parametrize(
    "strategy", [strategies.full(), strategies.gradual_unfreeze(), strategies.norm_only()], ids=lambda s: s.name
)
def test_what_required_no_gradient_neither_moves_nor_thaws_and_is_named_once(strategy, own, source):
    model = own()
    model.encoder.body.stem.requires_grad_(False)
    model.encoder.body.norm.requires_grad_(False)
    frozen = {key: value.clone() for key, value in model.state_dict().items() if "stem" in key or ".norm" in key}
    with pytest.warns(UserWarning, match=r"not trained.*encoder\.body\.stem\.weight") as warned:
        xl.fit(model, source, strategy=strategy, lr=1e-2, **FAST)
    assert sum("not trained" in str(warning.message) for warning in warned) == 1
    assert len(frozen) == 7 and all(torch.equal(value, model.state_dict()[key]) for key, value in frozen.items())
    assert {n for n, p in model.named_parameters() if not p.requires_grad} == {
        f"encoder.body.{layer}.{part}" for layer in ("stem", "norm") for part in ("weight", "bias")
    }


def test_all_parameters_frozen_is_an_error(own, source):
    model = own().requires_grad_(False)
    with pytest.warns(UserWarning, match="not trained"), pytest.raises(ArgumentError, match="moves nothing"):
        xl.fit(model, source, **FAST)


def test_an_error_leaves_mode_and_gradients_as_they_were(own, source):
    class Broken(Objective):
        needs = frozenset({"source"})

        def forward(self, step):
            raise RuntimeError("broken")

    model = own().eval()
    model.encoder.body.norm.train()
    modes = {name: module.training for name, module in model.named_modules()}
    with pytest.raises(RuntimeError, match="broken"):
        xl.fit(model, source, objectives=[xl.CrossEntropy(), Broken()], strategy=strategies.head_only(), **FAST)
    assert modes == {name: module.training for name, module in model.named_modules()}
    assert all(p.requires_grad for p in model.parameters())


def test_singular_values_of_a_diverged_network_are_a_divergence(own, source):
    class Singular(Objective):
        needs = frozenset({"source"})

        def forward(self, step):
            return torch.linalg.svdvals(step.source.logits / 0).sum()

    with pytest.raises(DivergenceError, match=r"step 0 cannot be computed .*lower lr"):
        xl.fit(own(), source, objectives=[Singular()], **FAST)


def test_divergence_names_the_objective(own, source):
    class Broken(Objective):
        needs = frozenset({"source"})

        def forward(self, step):
            return step.source.logits.sum() * float("nan")

    with pytest.raises(DivergenceError, match="Broken is nan at step 0"):
        xl.fit(own(), source, objectives=[xl.CrossEntropy(), Broken()], **FAST)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (dict(steps=0), ArgumentError, "steps is 0"),
        (dict(batch_size=1), ArgumentError, "batch_size is 1"),
        (dict(lr=0), ArgumentError, "lr is 0"),
        (dict(lr=float("nan")), ArgumentError, "lr is nan"),
        (dict(precision="fp8"), ArgumentError, "precision is 'fp8'"),
        (dict(source=None), ArgumentError, "neither a source nor a target"),
        (dict(source="unlabelled"), ArgumentError, "CrossEntropy needs source_labels"),
        (dict(source="splits"), ArgumentError, "of Splits, pass .train"),
        (dict(source="one class"), DataError, "nothing to tell apart"),
        (dict(source="one example"), DataError, "1 example"),
        (dict(source="other classes"), DataError, "that the source lacks"),
        (dict(objectives=[xl.CrossEntropy(on="target")]), ArgumentError, "needs target"),
        (dict(objectives=[Probe(taps=("nowhere",))]), ArgumentError, "has no blocks"),
        (dict(model=nn.Linear(1, 1)), ArgumentError, "expected xl.Classifier"),
    ],
)
def test_bad_input(change, error, says, own, source):
    odd = {
        "unlabelled": source.unlabeled(),
        "splits": xl.Splits(source, source, source),
        "one class": source[source.labels == 1],
        "one example": source[:1],
        "other classes": replace(source, classes=("a", "b", "zebra")),
    }
    arguments = FAST | {"model": own(), "source": source} | change
    if isinstance(arguments["source"], str):
        arguments["source"] = odd[arguments["source"]]
    with pytest.raises(error, match=says):
        xl.fit(arguments.pop("model"), arguments.pop("source"), **arguments)


def test_a_validation_part_that_cannot_score_is_refused_before_any_step(own, source):
    for val in (source.unlabeled(), xl.Splits(source, source, source)):
        model = own()
        before = copy.deepcopy(model)
        with pytest.raises(ArgumentError, match=r"val is .*expected a labeled Domain, such as source\.val"):
            xl.fit(model, source, val=val, **FAST)
        assert same(model, before)


def test_a_run_shows_itself_in_one_line():
    """A notebook prints what a cell ends with; a network's listing of itself would fill the page."""
    data = blobs()
    model = xl.Classifier(xl.encoder("lenet", channels=3, size=16), data.classes)
    assert "\n" not in repr(xl.fit(model, data, **FAST))


def test_features_computed_before_the_loop_are_part_of_its_price(monkeypatch, tmp_path, own, source):
    """A probe's cost is one pass through the encoder: without it the probe would look a hundred times cheaper than it is."""
    monkeypatch.setenv("XFERLAB_DATA", str(tmp_path))  # nothing is there yet
    clock, model = [0.0], own()

    def ticking():
        clock[0] += 1e-6
        return clock[0]

    monkeypatch.setattr(time, "perf_counter", ticking)
    model.encoder.register_forward_hook(lambda *_: clock.__setitem__(0, clock[0] + 10))
    run = xl.fit(model, source, strategy=strategies.head_only(), **FAST)
    assert 10 <= run.seconds <= clock[0]
