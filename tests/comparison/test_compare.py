"""The run store and compare(): nothing is trained twice, nothing is lost, and target labels reach the oracle alone."""

import importlib.util
import json
import signal
import subprocess
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from small import TwentyLines, blobs

import xferlab as xl
from xferlab import selection
from xferlab.domains.domain import cut
from xferlab.errors import ArgumentError, DataError, TargetLabelsError

runs = importlib.import_module("xferlab.comparison.runs")
comparison = importlib.import_module("xferlab.comparison.compare")
candidates = importlib.import_module("xferlab.comparison.candidates")
definitions = importlib.import_module("xferlab.comparison.definitions")
records = importlib.import_module("xferlab.comparison.records")
schedule = importlib.import_module("xferlab.comparison.schedule")
performing = importlib.import_module("xferlab.comparison.performing")
THREE = ["source_only", "source_only_joint_bn", "dann"]
CHEAP = ["source_val", "information_maximization"]


def splits(shift=0, seed=0, name="place"):
    return xl.Splits(*(blobs(n, shift=shift, seed=seed + i, name=name) for i, n in enumerate((48, 24, 24))))


SOURCE, TARGET = splits(name="here"), splits(shift=60, seed=10, name="there")


def own(seed):
    """A network of the user's, made anew from the seed."""
    return xl.encoder(TwentyLines(), size=16)


def compare(store, recipes=THREE, source=SOURCE, target=TARGET, **changes):
    settings = dict(seeds=2, validators=CHEAP, encoder=own, steps=6, batch_size=16, lr=1e-2, progress_bar=False)
    return xl.compare(recipes, source, target, store=store, **(settings | changes))


def same(a, b, but=("seconds",)):
    drop = [c for c in a.table if any(c.startswith(name) for name in but)]
    pd.testing.assert_frame_equal(a.table.drop(columns=drop), b.table.drop(columns=drop))
    return True


def no_training(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(comparison.Recipe, "fit", refuse)


def test_a_run_is_what_fit_and_evaluate_give(tmp_path):
    """The record against the same steps by hand."""
    board = compare(tmp_path, ["dann"], seeds=[3])
    torch.manual_seed(3)
    model = xl.Classifier(own(3), SOURCE.classes, seed=3)
    xl.recipes["dann"].fit(
        model, SOURCE.train, TARGET.train.unlabeled(), steps=6, batch_size=16, lr=1e-2, seed=3, progress_bar=False
    )
    (run,) = board.runs
    assert run["target"]["accuracy"] == xl.evaluate(model, TARGET.test).accuracy
    assert run["source"]["ece"] == pytest.approx(xl.evaluate(model, SOURCE.test).ece)
    seen = selection.Candidate(model, None, SOURCE, TARGET.train.unlabeled())
    assert run["validators"]["information_maximization"] == pytest.approx(selection.information_maximization(seen))
    assert [entry["step"] for entry in run["history"]] == list(range(6)) and "DANN.adversary_accuracy" in run[
        "history"
    ][0]


def test_finished_runs_are_never_repeated(tmp_path, monkeypatch):
    first = compare(tmp_path)
    assert len(list(tmp_path.glob("*.json"))) == 6 and not list(tmp_path.glob("*.pt"))
    no_training(monkeypatch)
    assert same(first, compare(tmp_path), but=())
    # a part of it, and its other metric, are there too
    assert compare(tmp_path, ["dann"], seeds=[1], metric="balanced_accuracy").table["runs"].tolist() == [1]


def changed_pixel():
    inputs = TARGET.train.inputs.clone()
    inputs[0, 0, 0, 0] += 1
    return replace(TARGET, train=replace(TARGET.train, inputs=inputs))


def recipe(weight=1.0, strategy=None, share=1.0):
    stage = xl.Stage(lambda: [xl.CrossEntropy(), xl.CORAL(weight)], strategy or xl.strategies.full(), share=share)
    return [xl.Recipe("mine", (stage,))]


@pytest.mark.parametrize(
    "change",
    [
        dict(steps=7),
        dict(lr=2e-2),
        dict(batch_size=17),
        dict(per_class=4),
        dict(seeds=[1]),
        dict(target=changed_pixel()),
        dict(recipes=recipe(weight=2.0)),
        dict(recipes=recipe(strategy=xl.strategies.layerwise())),
        dict(recipes=recipe(share=2.0)),
        dict(encoder=lambda: xl.encoder(TwentyLines(), size=15)),
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_matters_makes_it_another_run(tmp_path, change):
    arguments = dict(recipes=recipe(), seeds=[0])
    compare(tmp_path, **arguments)
    compare(tmp_path, **arguments)
    assert len(list(tmp_path.glob("*.json"))) == 1
    compare(tmp_path, **(arguments | change))
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_code_of_an_objective_matters_and_its_comments_do_not(tmp_path):
    def kind(name, text):
        (tmp_path / f"{name}.py").write_text(f"import xferlab as xl\nclass Mine(xl.Objective):\n{text}\n")
        spec = importlib.util.spec_from_file_location(name, tmp_path / f"{name}.py")
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return definitions._code(module.Mine)

    plain = kind("plain", "    def forward(self, step):\n        return 1")
    assert plain == kind("said", '    """What it does."""\n\n    def forward(self, step):\n        return 1  # why')
    assert plain != kind("other", "    def forward(self, step):\n        return 2")
    scope = {"Objective": xl.Objective}
    exec("class Mine(Objective):\n    pass", scope)
    assert definitions._code(scope["Mine"]) == definitions._code(xl.Objective)  # typed in by hand: no source, no crash


def test_kill_and_the_same_call_gives_the_same_table(tmp_path):
    """SIGKILL in the middle of a run: what was finished stays, what was begun goes on, the table is the undisturbed one."""
    long = dict(seeds=1, steps=120, checkpoint_every=10)
    threads = torch.get_num_threads()  # other tests may have changed it, and another number gives other last bits
    code = (
        f"import sys, torch; sys.path[:0] = {[str(p) for p in Path(__file__).parents[:2]]!r}; torch.set_num_threads({threads})\n"
        "from test_compare import compare\n"
        f"compare({str(tmp_path / 'killed')!r}, **{long!r})\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        deadline = time.time() + 900  # only against hanging for good
        while not list((tmp_path / "killed").glob("source_only_joint_bn-*.pt")):
            assert process.poll() is None and time.time() < deadline, "it ended before it could be killed"
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob("*.json")}
    assert 1 <= len(kept) < 3
    again = compare(tmp_path / "killed", **long)
    assert same(again, compare(tmp_path / "whole", **long))
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    assert not list((tmp_path / "killed").glob("*.pt"))


def test_a_checkpoint_is_taken_up(tmp_path, monkeypatch):
    whole = compare(tmp_path / "a", ["dann"], seeds=1, steps=8, checkpoint_every=2)
    write = runs._remember
    monkeypatch.setattr(runs, "_remember", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        compare(tmp_path / "b", ["dann"], seeds=1, steps=8, checkpoint_every=2)
    monkeypatch.setattr(runs, "_remember", write)
    assert [path.suffixes for path in (tmp_path / "b").iterdir()] == [[".0", ".pt"]]
    resumed, fit = [], comparison.Recipe.fit
    monkeypatch.setattr(comparison.Recipe, "fit", lambda *a, **k: resumed.append(fit(*a, **k)) or resumed[-1])
    assert same(whole, compare(tmp_path / "b", ["dann"], seeds=1, steps=8, checkpoint_every=2))
    assert resumed[0].resumed_from == 8


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}"])
def test_a_damaged_record_or_checkpoint_is_made_again(tmp_path, damage):
    first = compare(tmp_path, ["dann"], seeds=1)
    (path,) = tmp_path.glob("*.json")
    path.write_bytes(damage)
    (tmp_path / f"{path.stem}.0.pt").write_bytes(damage)
    assert same(first, compare(tmp_path, ["dann"], seeds=1)) and json.loads(path.read_text())["recipe"] == "dann"


def test_poisoned_target_labels_change_the_oracle_alone(tmp_path):
    def poison(domain):
        return replace(domain, labels=(domain.labels + 1) % 3)

    poisoned = xl.Splits(*(poison(part) for part in TARGET.parts().values()))
    all_of_them = dict(recipes=["source_only", "dann", "shot"], validators=None, seeds=1, steps=20)
    true, false = compare(tmp_path / "a", **all_of_them), compare(tmp_path / "b", target=poisoned, **all_of_them)
    assert same(true, false, but=("seconds", "target_", "vs_"))
    assert true.best() == false.best()
    assert not true.table["target_accuracy"].equals(false.table["target_accuracy"])  # the poison arrived where it may


def test_an_unlabelled_target_has_no_oracle(tmp_path):
    for target in (TARGET.train.unlabeled(), xl.Splits(*(part.unlabeled() for part in TARGET.parts().values()))):
        board = compare(tmp_path, target=target)
        assert not board.has_oracle and not [c for c in board.table if c.startswith(("target", "vs"))]
        assert any("no oracle" in said for said in board.warnings)
        with pytest.raises(DataError, match="no oracle"):
            board.oracle()


def test_what_a_target_or_source_lacks_is_said(tmp_path):
    rows = TARGET.train.labels != 2
    part = xl.Splits(TARGET.train[rows], TARGET.val, TARGET.test[TARGET.test.labels != 1])
    assert any("no example of b" in said for said in compare(tmp_path, ["source_only"], target=part).warnings)
    fewer = replace(TARGET.train[rows].unlabeled(), classes=("a", "b"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once, in the leaderboard, not by every run
        board = compare(tmp_path, target=fewer)
    assert any("lacks c" in said for said in board.warnings)
    thin = replace(SOURCE, train=SOURCE.train[SOURCE.train.labels != 0])
    assert any("no training example of a" in said for said in compare(tmp_path, ["source_only"], source=thin).warnings)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (dict(target=TARGET.train), TargetLabelsError, r"target.unlabeled\(\)"),
        (dict(target=replace(TARGET.train.unlabeled(), classes=("a", "z"))), DataError, "'z'"),
        (dict(source=SOURCE.train), ArgumentError, "expected Splits"),
        (dict(source=replace(SOURCE, val=SOURCE.val.unlabeled())), DataError, "unlabeled part"),
        (dict(recipes=["dan"]), ArgumentError, "'dan'"),
        (dict(recipes=["dann", "dann"]), ArgumentError, "each name once"),
        (dict(recipes=[]), ArgumentError, "at least one"),
        (dict(validators=["oracle"]), ArgumentError, "'oracle'"),
        (dict(selector="dev"), ArgumentError, "'dev'"),
        (dict(metric="ece"), ArgumentError, "'ece'"),
        (dict(seeds=0), ArgumentError, "at least one"),
        (dict(seeds=[1, 1]), ArgumentError, "each once"),
        (dict(target_labels=True), ArgumentError, "'target_labels'"),
        (dict(minutes=0), ArgumentError, "no run was finished in 0 minutes"),
        (dict(lr=-1.0), ArgumentError, "lr is -1"),
    ],
    ids=str,
)
def test_bad_arguments(tmp_path, change, error, says):
    with pytest.raises(error, match=says):
        compare(tmp_path, **change)


def test_multilabel_data_is_refused(tmp_path):
    many = xl.Splits(*(replace(part, labels=torch.eye(3)[part.labels]) for part in SOURCE.parts().values()))
    with pytest.raises(DataError, match="multi-label"):
        compare(tmp_path, source=many)


def test_a_recipe_that_fails_is_listed_and_the_others_go_on(tmp_path, monkeypatch):
    class Broken(xl.Objective):
        needs = frozenset({"source"})

        def forward(self, step):
            return step.source.features.sum() * float("nan")

    bad = xl.Recipe("broken", (xl.Stage(lambda: [Broken()], data="source"),))
    board = compare(tmp_path, ["source_only", bad])
    assert board.table.loc["broken", "runs"] == 0 and board.best().recipe == "source_only"
    assert any(said.startswith("broken failed in 2 of 2 runs: DivergenceError") for said in board.warnings)
    no_training(monkeypatch)
    assert len(compare(tmp_path, ["source_only", bad]).runs) == 4  # that it diverges is kept as well


def test_minutes_leave_out_what_does_not_fit_and_say_so(tmp_path):
    compare(tmp_path, seeds=1)
    board = compare(tmp_path, seeds=2, minutes=0)
    assert [(run["recipe"], run["seed"]) for run in board.runs] == [(name, 0) for name in THREE]
    assert any("3 of 6 runs were left out" in said for said in board.warnings)


def test_weights_are_kept_and_a_validator_added_later_needs_no_training(tmp_path, monkeypatch):
    before = compare(tmp_path, keep_weights=True)
    model = before.best().model
    run = next(r for r in before.runs if (r["recipe"], r["seed"]) == (before.best().recipe, before.best().seed))
    assert xl.evaluate(model, TARGET.test).accuracy == run["target"]["accuracy"]
    no_training(monkeypatch)
    mine = {
        "information_maximization": selection.information_maximization,
        "minus_size": lambda c: -float(len(c.target)),
    }
    after = compare(tmp_path, keep_weights=True, validators=mine)
    assert (after.table["minus_size"] == -48).all()
    assert after.table["information_maximization"].equals(before.table["information_maximization"])


def test_the_chosen_weights_alone_are_kept_and_the_winner_is_trained_once(tmp_path, monkeypatch):
    """Killed before the choice, between choice and removal, or after it: nothing is trained again."""
    fits, fit = [], comparison.Recipe.fit
    monkeypatch.setattr(comparison.Recipe, "fit", lambda *a, **k: fits.append(a[0].name) or fit(*a, **k))
    settle = schedule.Schedule.settle
    monkeypatch.setattr(schedule.Schedule, "settle", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        compare(tmp_path, keep_weights="chosen")
    assert len(list(tmp_path.glob("*.candidate.safetensors"))) == 6
    monkeypatch.setattr(schedule.Schedule, "settle", settle)
    next(iter(sorted(tmp_path.glob("*.candidate.safetensors"))[1:])).unlink()  # a removal that was begun
    board = compare(tmp_path, keep_weights="chosen")
    choice = board.best()
    (kept,) = tmp_path.glob("*.safetensors")
    assert kept.name.startswith(f"{choice.recipe}-{choice.seed}-") and len(fits) == 6
    run = board.run(choice.recipe, choice.seed)
    assert xl.evaluate(choice.model, TARGET.test).accuracy == run["target"]["accuracy"]
    assert same(board, compare(tmp_path, keep_weights="chosen")) and len(fits) == 6
    with pytest.raises(ArgumentError, match="keep_weights is 'all'"):
        compare(tmp_path, keep_weights="all")


def test_weights_that_were_kept_for_good_stay_and_those_of_unfinished_comparisons_too(tmp_path):
    compare(tmp_path, ["source_only", "dann"], seeds=1, keep_weights=True)
    compare(tmp_path, seeds=1, keep_weights="chosen")
    assert {path.name.split("-")[0] for path in tmp_path.glob("*.safetensors")} >= {"source_only", "dann"}
    compare(tmp_path / "b", seeds=1, keep_weights="chosen", steps=7)
    board = compare(tmp_path / "b", seeds=2, keep_weights="chosen", steps=7, minutes=0)  # three runs are left out
    assert len(board.runs) == 3 and board.best().model is not None


def test_parts_that_a_strategy_adds_come_back(tmp_path):
    lora = xl.Recipe("lora", (xl.Stage(strategy=xl.strategies.lora(2), data="source"),))
    board = compare(tmp_path, [lora], seeds=1, keep_weights=True)
    assert xl.evaluate(board.best().model, TARGET.test).accuracy == board.runs[0]["target"]["accuracy"]
    (path,) = tmp_path.glob("*.json")
    path.unlink()
    (tmp_path / f"{path.stem}.0.pt").write_bytes(b"damaged")
    assert same(board, compare(tmp_path, [lora], seeds=1))


def test_a_validator_added_without_weights_trains_again_and_keeps_the_others(tmp_path, monkeypatch):
    for names in (["source_val"], ["entropy"]):
        compare(tmp_path, ["source_only"], seeds=1, validators=names, selector=names[0])
    no_training(monkeypatch)
    compare(tmp_path, ["source_only"], seeds=1, validators=["source_val", "entropy"], selector="entropy")


def test_a_checkpoint_left_beside_a_finished_run_goes(tmp_path):
    compare(tmp_path, ["source_only"], seeds=1)
    (path,) = tmp_path.glob("*.json")
    (tmp_path / f"{path.stem}.0.pt").write_bytes(b"the kill came between record and removal")
    compare(tmp_path, ["source_only"], seeds=1)
    assert list(tmp_path.iterdir()) == [path]


def test_no_recipes_means_all_of_them():
    assert comparison.chosen_recipes(None) == list(xl.recipes.values())


def test_without_kept_weights_there_is_no_model(tmp_path):
    assert compare(tmp_path, ["source_only"], seeds=1).best().model is None


def test_a_module_is_copied_and_a_function_must_make_it_anew(tmp_path):
    module = TwentyLines()
    start = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    compare(tmp_path, encoder=xl.encoder(module, size=16))
    assert all(torch.equal(start[name], tensor) for name, tensor in module.state_dict().items())
    with pytest.raises(ArgumentError, match="another model at each call"):
        compare(
            tmp_path / "b", encoder=lambda: xl.encoder(module, size=16)
        )  # the second run would start from the first's end
    with pytest.raises(ArgumentError, match="classes are"):
        compare(tmp_path / "c", encoder=lambda: xl.Classifier(own(0), ("x", "y")))


def test_draws_of_labels_change_with_the_seed(tmp_path, monkeypatch):
    seen, fit = [], comparison.Recipe.fit
    monkeypatch.setattr(
        comparison.Recipe,
        "fit",
        lambda self, model, source, *a, **k: seen.append(source) or fit(self, model, source, *a, **k),
    )
    compare(tmp_path, ["source_only"], per_class=4)
    assert [len(source) for source in seen] == [12, 12] and not torch.equal(seen[0].inputs, seen[1].inputs)


def test_an_executor_of_threads_gives_the_same_table(tmp_path, one_thread):
    """Threads would disturb each other's random draws, did they not take turns; processes are in test_performing and test_cluster."""
    settings = dict(recipes=["source_only", "dann"], seeds=2, encoder="small_cnn", steps=3)
    with ThreadPoolExecutor(2) as executor:
        threads = compare(tmp_path / "pool", executor=executor, **settings)
    assert same(compare(tmp_path / "serial", **settings), threads)


def test_an_executor_of_processes_wants_what_can_be_sent(tmp_path):
    with ProcessPoolExecutor(1) as executor, pytest.raises(ArgumentError, match="give recipes by name"):
        compare(tmp_path, executor=executor, encoder=lambda: own(0))


def test_a_few_labelled_target_examples_join_the_training(tmp_path, monkeypatch):
    seen, fit = [], comparison.Recipe.fit

    def spy(self, model, source, *a, **k):
        seen.append(source)
        return fit(self, model, source, *a, **k)

    monkeypatch.setattr(comparison.Recipe, "fit", spy)
    few = TARGET.val.take(per_class=2)
    for labeled in (None, few, few[:3]):
        board = compare(tmp_path, ["source_only"], seeds=1, labeled=labeled)
        assert board.selector == "information_maximization"
    assert [len(source) for source in seen] == [48, 48 + 8 * 6, 48 + 10 * 3]  # at most half, at most ten times over
    assert torch.equal(seen[1].inputs[-6:], few.inputs) and seen[1].labels[-6:].tolist() == few.labels.tolist()
    assert any("Trained on 3 labeled target images" in said for said in board.warnings)
    leaked = compare(tmp_path, ["source_only"], seeds=1, labeled=TARGET.test[:6])
    assert any("6 of the labeled images are in the target's test part" in said for said in leaked.warnings)
    for wrong, says in ((few.unlabeled(), "no single-label labels"), (blobs(6, size=12), "one shape")):
        with pytest.raises(DataError, match=says):
            compare(tmp_path, labeled=wrong)


def test_forty_labelled_examples_choose_and_those_are_never_trained_on(tmp_path):
    many = blobs(42, shift=60, seed=30, name="few")
    board = compare(tmp_path, ["source_only"], seeds=1, labeled=many, keep_weights=True)
    train, held = (many[rows] for rows in cut(many, (0.5, 0.5)))
    value = board.runs[0]["validators"]["target_labels"]
    assert board.selector == "target_labels" and len(held) == 21
    assert value == xl.evaluate(board.best().model, held).balanced_accuracy
    images = {x.numpy().tobytes() for x in runs._beside(SOURCE.train, train).inputs}
    assert not images & {x.numpy().tobytes() for x in held.inputs}


def test_a_record_says_what_the_shift_did_and_older_ones_are_still_found(tmp_path, monkeypatch):
    board = compare(tmp_path, ["source_only"], seeds=1, steps=30, keep_weights=True)
    model, found = board.best().model, board.runs[0]["shift"]
    p = xl.predict(model, TARGET.train)
    assert found["confidence_target"] == pytest.approx(float(p.max(1).values.mean()), abs=1e-5)
    assert found["confidence_source"] == pytest.approx(
        float(xl.predict(model, SOURCE.test).max(1).values.mean()), abs=1e-5
    )
    assert sum(found["estimate"]) == pytest.approx(1) and found["source"] == pytest.approx([1 / 3] * 3)
    gap = found["confidence_source"] - found["confidence_target"]
    assert board.table.loc["source_only", "confidence_gap"] == pytest.approx(gap)
    assert "estimated share of the target" in board.to_html(tmp_path / "r.html").read_text()
    (path,) = tmp_path.glob("*.json")
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "shift"}))
    no_training(monkeypatch)
    old = compare(tmp_path, ["source_only"], seeds=1, steps=30)
    assert old.shift is None and "estimated share" not in old.to_html(tmp_path / "r.html").read_text()


def test_costs_are_in_runs_of_source_only():
    model = xl.Classifier(own(0), SOURCE.classes)

    def cost(name):
        return definitions.cost(xl.recipes[name], model) - 0.1

    assert cost("source_only") == cost("colour") == 1 and cost("dann") == 2 and cost("mcc") == pytest.approx(0.3 + 1.4)
    assert cost("linear_probe") < 0.1 and cost("adabn") == pytest.approx(0.7 + 0.1)


def test_estimates_are_those_of_the_chosen_models_own_answers(tmp_path):
    from xferlab import estimation, operating
    from xferlab.comparison import findings, records

    board = compare(tmp_path, ["source_only"], target=TARGET.train.unlabeled(), keep_weights=True, steps=20)
    models = [board.load_model(run) for run in board.runs]
    answers = [xl.predict(model, TARGET.train).argmax(1).numpy() for model in models]
    value, low, high = board.estimates["agreement_of_seeds"]
    assert value == pytest.approx((answers[0] == answers[1]).mean())
    wider = records.WIDER["agreement_of_seeds"]  # one pair: all width is from it
    assert (low, high) == pytest.approx((max(value - wider, 0), min(value + wider, 1)))
    chosen = models[board.best(load=False).seed]
    val, test, target = (xl.predict(chosen, part).numpy() for part in (SOURCE.val, SOURCE.test, TARGET.train))
    t = operating.temperature(val, SOURCE.val.labels)
    held, labels = operating.scaled([*val, *test], t), torch.cat([SOURCE.val.labels, SOURCE.test.labels]).numpy()
    for kind in (estimation.average_thresholded_confidence, estimation.difference_of_confidences):
        value, low, high = board.estimates[kind.__name__]
        assert low <= value <= high and value == pytest.approx(
            kind(held, labels, operating.scaled(target, t)), abs=1e-6
        )
    assert "not measured" in findings.estimate(board)
    page = board.to_html(tmp_path / "r.html").read_text("utf-8")
    assert "Garg et al., 2022" in page and findings.estimate(board)[:40] in page


def test_an_estimate_is_the_same_whatever_the_targets_labels(tmp_path):
    poisoned = xl.Splits(*(replace(part, labels=part.labels.flip(0)) for part in TARGET.parts().values()))
    first, second = compare(tmp_path / "a"), compare(tmp_path / "b", target=poisoned)
    assert first.estimates == second.estimates and len(first.estimates) == 3
    assert first.best(load=False) == second.best(load=False)


def test_what_no_seed_changes_runs_once(tmp_path, monkeypatch):
    """A probe that is solved on the same features gives the same answers, so its seeds are one run and agree on nothing."""
    performed, perform = [], performing.perform
    monkeypatch.setattr(performing, "perform", lambda task: performed.append((task.name, task.seed)) or perform(task))
    fixed = xl.encoder(TwentyLines(), size=16)
    recipes = ["source_only", "depth_probe"]
    board = compare(tmp_path, recipes, encoder=fixed, seeds=3, selector="source_val", keep_weights="chosen")
    assert performed == [("source_only", 0), ("depth_probe", 0), ("source_only", 1), ("source_only", 2)]
    assert any("the seed changes nothing: depth_probe" in note for note in board.notes)
    one, two, three = ({**run, "seed": None} for run in board.finished("depth_probe"))
    assert one == two == three and [run["seed"] for run in board.finished("depth_probe")] == [0, 1, 2]
    probe = board.run("depth_probe", 2)
    assert "agreement_of_seeds" not in records.estimates(probe, board.finished("depth_probe"))
    kept = compare(tmp_path, ["depth_probe"], encoder=fixed, seeds=[2, 3], keep_weights="chosen")
    assert performed[4:] == [("depth_probe", 2)] and kept.best().seed in (2, 3)
    assert xl.evaluate(kept.best().model, TARGET.test).accuracy == probe["target"]["accuracy"]
    drawn = compare(tmp_path, ["depth_probe"], encoder=fixed, per_class=4)
    own_weights = compare(tmp_path, ["depth_probe"])  # `own` makes other first weights with each seed
    assert len(performed) == 9 and not any("run once" in note.lower() for note in drawn.notes + own_weights.notes)
    endless = compare(tmp_path, ["depth_probe"], encoder=fixed, seeds=1, minutes=60, fill=True)
    assert len(endless.runs) == 1 and len(performed) == 9, "further seeds would be the same run"


def test_search_takes_the_strength_that_the_selector_values_most(tmp_path):
    """Against the same runs by hand; target labels, poisoned, change nothing."""
    board = compare(tmp_path, ["source_only", "dann", "depth_probe"], search=True, selector="source_val")
    assert set(board.searched) == {"source_only", "dann"}  # a probe solves; it has no strength
    for name, tried in board.searched.items():
        assert [run["strength"] for run in tried] == [0.3, 1.0, 3.0]
        best = max(tried, key=lambda run: run["validators"]["source_val"])
        assert board.run(name, 0) == best
        assert {run["strength"] for run in board.finished(name)} == {best["strength"]}
    rows = [line.split(" | ") for line in board.to_markdown("test").splitlines() if line.startswith("| dann | ")]
    strengths = rows[
        -1
    ]  # after the main table's row: a value at each strength, the chosen, the oracle's, what that cost
    scores = {f"{run['strength']:g}": run["target"]["accuracy"] for run in board.searched["dann"]}
    assert float(strengths[-1].rstrip(" |")) == pytest.approx(max(scores.values()) - scores[strengths[-3]], abs=1e-3)
    by_hand = compare(tmp_path / "by hand", [xl.recipes["dann"].at(0.3)], seeds=1)
    (kept,) = by_hand.runs
    (tried,) = [run for run in board.searched["dann"] if run["strength"] == 0.3]
    assert kept["validators"] == tried["validators"] and kept["key"] == tried["key"]
    wrong = replace(TARGET.test, labels=(TARGET.test.labels + 1) % len(SOURCE.classes))
    poisoned = compare(
        tmp_path / "poisoned",
        ["source_only", "dann"],
        search=True,
        selector="source_val",
        target=replace(TARGET, test=wrong),
    )
    assert [run["strength"] for run in poisoned.runs] == [
        run["strength"] for run in board.runs if run["recipe"] != "depth_probe"
    ]


def test_search_keeps_the_weights_of_the_choice_alone(tmp_path):
    board = compare(tmp_path, ["source_only", "dann"], search=True, keep_weights="chosen")
    assert board.best().model is not None
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_encoders_are_ranked_together(tmp_path):
    """Each row is what a comparison of that encoder alone gives; baselines are the first encoder's."""
    board = compare(tmp_path, ["source_only", "dann"], encoder=[own, "lenet"])
    assert board.names == ["source_only", "dann", "source_only on lenet", "dann on lenet"]
    alone = compare(tmp_path / "alone", ["source_only", "dann"], encoder="lenet")
    for name in alone.names:
        assert alone.target_scores(name) == board.target_scores(f"{name} on lenet")
    assert board.table.loc["source_only", "runs"] == 2 and "vs_source_only" in board.table
    assert board.run("dann on lenet", 0)["encoder"] == "lenet"
    with pytest.raises(ArgumentError, match="each name once"):
        compare(tmp_path, encoder=["lenet", "lenet"])


def test_a_race_gives_no_further_seed_to_what_is_far_behind(tmp_path):
    """By hand: the leader is better than `c` by 2.0 and 2.1, which two seeds can tell, and than `b` by 0 and 1, which they cannot."""
    values = {"a": {0: 3.0, 1: 3.1}, "b": {0: 3.0, 1: 2.1}, "c": {0: 1.0, 1: 1.0}, "failed": {}}
    assert candidates.in_front(values) == {"a", "b"}
    assert candidates.in_front({"a": {0: 1.0}, "b": {0: 5.0}}) == {"a", "b"}  # one seed tells nothing
    ranks = {"mcc": 2.0, "bnm": 1.9, "dann": 0.5, "source_only": 0.4}

    def steady(candidate):
        """Far apart, and as far with every seed."""
        return ranks[candidate.recipe.name]

    board = compare(
        tmp_path, list(ranks), seeds=4, race=True, validators={"steady": wobbling(steady)}, selector="steady"
    )
    assert {name: len(board.finished(name)) for name in ranks} == {
        "mcc": 4,
        "bnm": 4,
        "dann": 2,
        "source_only": 4,
    }
    assert any("Too far behind" in note and note.endswith(": dann.") for note in board.notes)
    full = compare(tmp_path, list(ranks), seeds=4, validators={"steady": wobbling(steady)}, selector="steady")
    assert len(full.finished("dann")) == 4 and not any("behind" in note for note in full.notes)


def wobbling(value):
    """The same validator, with one recipe's value a little off in every other run, so that intervals have a width."""
    calls = iter(range(100))
    return lambda candidate: value(candidate) + (0.2 * (next(calls) % 2) if candidate.recipe.name == "mcc" else 0)


def test_minutes_that_are_left_go_into_further_seeds(tmp_path, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("time.time", lambda: clock[0])
    real = performing.perform

    def slow(task):
        record = real(task)
        clock[0] += 60
        return record

    monkeypatch.setattr(performing, "perform", slow)
    board = compare(tmp_path, ["source_only", "dann"], seeds=1, minutes=5.5, fill=True)
    assert [(run["recipe"], run["seed"]) for run in board.runs] == [
        ("source_only", 0), ("dann", 0), ("source_only", 1), ("dann", 1), ("source_only", 2), ("dann", 2)
    ]  # fmt: skip
    assert not any("left out" in note for note in board.notes)
    with pytest.raises(ArgumentError, match="give minutes too"):
        compare(tmp_path, fill=True)


ALIKE = ["adabn", "tent", "shot", "adda", "mcc", "bnm", "linear_probe", "lp_ft", "small_net", "depth_probe"]


def test_first_stages_that_are_the_same_train_once_and_change_no_bit(tmp_path, monkeypatch):
    """Four recipes train on the source first, two warm up on it, and two begin with a probe; each against a store of its own."""
    trained, fit = [], importlib.import_module("xferlab.recipe").fit

    def spy(*arguments, **named):
        run = fit(*arguments, **named)
        trained.append(run.resumed_from < named["steps"])
        return run

    monkeypatch.setattr("xferlab.recipe.fit", spy)
    board = compare(tmp_path / "together", ALIKE, seeds=1)
    together, trained[:] = sum(trained), []
    for run in board.runs:
        (alone,) = compare(tmp_path / run["recipe"], [run["recipe"]], seeds=1).runs
        assert {k: v for k, v in run.items() if k != "seconds"} == {k: v for k, v in alone.items() if k != "seconds"}
    assert sum(trained) - together == 3 + 1 + 1
    assert not list((tmp_path / "together").glob("*.pt"))


def test_a_damaged_shared_stage_is_trained_anew(tmp_path, monkeypatch):
    wanted = compare(tmp_path / "whole", ["adabn", "tent"], seeds=1)
    perform, seen = performing.perform, []

    def damage(task):
        seen.append(task.shared_stage)
        if task.name == "tent":
            task.shared_stage.write_bytes(b"no checkpoint")
        return perform(task)

    monkeypatch.setattr(performing, "perform", damage)
    assert same(wanted, compare(tmp_path / "damaged", ["adabn", "tent"], seeds=1))
    assert seen[0] == seen[1] is not None
