"""bench/run.py: a pair that disagrees gives no number, and ratios follow from the clock."""

import importlib
import json
from pathlib import Path

import pytest
import torch


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "bench")
    return importlib.import_module("run")


@pytest.fixture
def clocked(bench, monkeypatch):
    """A row whose sides take the seconds that are listed, repetition by repetition."""
    now = [0.0]
    monkeypatch.setattr(bench.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(bench.gc, "collect", lambda: None)

    def make(ours, theirs=None, same=lambda a, b: None, **options):
        def side(seconds):
            left = iter(seconds)

            def run():
                now[0] += next(left)
                return now[0]

            return lambda: run

        return bench.Row(side(ours), theirs and side(theirs), same, **options)

    return make


def test_medians_ratio_and_spread_leave_the_warm_up_out(bench, clocked):
    found = bench.measure(clocked([4, 1, 2, 3], [0, 4, 4, 6], unit="ms", parts=2), repeat=3)
    assert found == {"ours": 1000.0, "theirs": 2000.0, "unit": "ms", "ratio": 2.0, "spread": 1.0}  # ratios 4, 2, 2


def test_a_long_first_repetition_counts(bench, clocked):
    found = bench.measure(clocked([3, 1], [3, 1], unit="s"), repeat=2)
    assert (found["ours"], found["ratio"]) == (2.0, 1.0)


def test_without_a_peer_there_is_no_ratio(bench, clocked):
    found = bench.measure(clocked([1, 2, 4], unit="s"), repeat=2)
    assert found == {"ours": 3.0, "theirs": None, "unit": "s", "ratio": None, "spread": round(2 / 3, 3)}


def test_sides_that_disagree_give_no_number(bench, clocked):
    with pytest.raises(AssertionError):
        bench.measure(clocked([1] * 3, [2] * 3, same=lambda a, b: bench.close(1e-3)(a, b)), repeat=1)


def test_a_disagreement_is_said_and_fails_the_run(bench, clocked, monkeypatch, tmp_path):
    def mmd_64x256_vs_pairwise(quick):
        return clocked([1] * 3, [2] * 3, same=lambda a, b: bench.close(1e-3)(a, b))

    monkeypatch.setattr(bench, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(bench, "ROWS", (mmd_64x256_vs_pairwise,))
    monkeypatch.setattr("sys.argv", ["run.py", "--repeat", "1", "--threads", str(torch.get_num_threads())])
    with pytest.raises(SystemExit):
        bench.main()
    (row,) = json.loads((tmp_path / "results.json").read_text())
    assert row["ratio"] is None and row["note"].startswith("no number: the sides disagree")


def test_a_row_not_measured_says_why_and_others_are_kept(bench, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    bench.save([{"name": "fit_dann_vs_bare", "ratio": 1.0}])
    monkeypatch.setattr("sys.argv", ["run.py", "--rows", "gpu_compile*", "--threads", str(torch.get_num_threads())])
    bench.main()
    kept, absent = json.loads((tmp_path / "results.json").read_text())
    assert kept["name"] == "fit_dann_vs_bare"
    assert absent["ratio"] is None and absent["note"] == "not measured: no CUDA GPU on this machine"
    assert "not measured: no CUDA GPU" in capsys.readouterr().out


def test_a_target_without_a_peer_is_seconds_at_most(bench):
    row = {"name": "help_seconds", "theirs": None, "unit": "s", "ratio": None, "spread": None}
    assert bench.line(row | {"ours": 0.4}).endswith("target 0.5")
    assert bench.line(row | {"ours": 0.6}).endswith("target 0.5, missed")


@pytest.mark.parametrize(
    "name",
    """fit_finetune_vs_bare mmd_64x256_vs_pairwise logme_100k compare_13_recipes_vs_in_turn compare_shared_stages compare_estimates
    predict_folder_vs_torchvision import_vs_torch_timm""".split(),
)
def test_both_sides_reach_the_same_result(name, bench, one_thread):
    (make,) = [make for make in bench.ROWS if make.__name__ == name]
    assert bench.measure(make(True), repeat=1)["ours"] > 0
