"""Where runs are performed: processes of this machine give one process's table, map one copy of the data, and may be killed."""

import multiprocessing
import os
import pickle
import signal
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace as Stub

import pytest
import torch
from small import blobs
from threadpoolctl import threadpool_info, threadpool_limits

import xferlab as xl
from xferlab.comparison import performing
from xferlab.comparison.runs import Common, Task
from xferlab.errors import ArgumentError


def splits(shift, seed):
    return xl.Splits(*(blobs(n, shift=shift, seed=seed + i, name="place") for i, n in enumerate((48, 24, 24))))


def compare(store, **options):
    settings = dict(seeds=2, validators=["information_maximization"], encoder="small_cnn", steps=20, batch_size=16)
    settings |= dict(checkpoint_every=5, progress_bar=False)
    return xl.compare(["source_only", "dann"], splits(0, 0), splits(60, 10), store=store, **settings | options)


def same(one, other):
    assert len(one.runs) == len(other.runs) == 4
    for ours, theirs in zip(one.runs, other.runs, strict=True):
        assert ours["key"] == theirs["key"] and ours["target"] == theirs["target"]
        assert ours["validators"] == theirs["validators"]


def test_a_killed_worker_loses_no_finished_run(tmp_path, one_thread):
    """What it was at goes on here from its checkpoint; the records are those of one process, and the mapped data is gone."""
    store, kept = tmp_path / "two", {}

    def kill():
        while not (done := list(store.glob("[!.]*.json"))) or not list(store.glob("*.pt")):
            time.sleep(0.02)
        assert list(store.glob("data-*.npy"))
        kept.update((path, path.stat().st_mtime_ns) for path in done)
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    board = compare(store, workers=2)
    killer.join(timeout=60)
    assert not killer.is_alive() and any("A process was lost" in note for note in board.notes)
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    assert not list(store.glob("data-*")) and not list(store.glob("*.pt"))
    same(board, compare(tmp_path / "one"))


def test_an_executor_with_nothing_left_to_run_is_not_asked(tmp_path):
    """A finished comparison is read again, with processes as without: nothing is sent, so nothing can be refused."""
    first = compare(tmp_path, steps=2)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        same(compare(tmp_path, steps=2, executor=executor), first)


def test_a_worker_keeps_to_its_threads(one_thread, monkeypatch):
    """Those of scipy and scikit-learn too: two workers with two threads each for these were slower than one process."""
    monkeypatch.setattr(performing, "_opened", lambda store, rest: None)
    monkeypatch.setattr(performing, "replace", lambda task, **changes: task)

    def threads(task):
        return torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())

    with threadpool_limits(2):
        found = performing._remote(Stub(common=(None, b"")), 1, threads)
    assert set(found) == {1} and len(found) > 1


def test_auto_measures_and_gives_the_table_of_one_process(tmp_path, one_thread, monkeypatch):
    monkeypatch.setattr(performing, "cores", lambda: 2)
    one = compare(tmp_path / "one", workers="auto", steps=3)
    assert not any("process" in note for note in one.notes), "so little work is not worth another process"
    monkeypatch.setattr(performing, "WORTH", 0)
    monkeypatch.setattr(performing, "PAYS", 0)  # whatever this machine is busy with
    two = compare(tmp_path / "two", workers="auto", steps=3)
    assert any("2 processes, 1 thread each" in note for note in two.notes)
    same(two, one)


@pytest.mark.parametrize(
    ("seconds", "change", "says"),
    [
        (1.0, {}, "2 processes"),
        (1.9, {}, "One process: 2 of them did 1.05"),
        (1.0, dict(memory=lambda: (8.0, 1.9)), ""),
        (1.0, dict(cores=lambda: 1), ""),
        (1.0, dict(WORTH=1e9), ""),
    ],
    ids=["faster", "slower", "memory", "cores", "short"],
)
def test_auto_takes_what_is_faster_and_fits(monkeypatch, tmp_path, seconds, change, says):
    """A step takes a second here, and `seconds` in each of two processes at once; a run takes 1 GB."""

    class Pool:
        def submit(self, *_):
            future = Future()
            future.set_result(seconds)
            return future

        def shutdown(self, **_):
            ended.append(self)

    ended = []
    settings = dict(cores=lambda: 2, memory=lambda: (8.0, 8.0), peak_memory=lambda: 1.0, _step_seconds=lambda _: 1.0)
    for name, value in (settings | dict(ProcessPoolExecutor=lambda *_, **__: Pool()) | change).items():
        monkeypatch.setattr(performing, name, value)
    side = splits(0, 0)
    common = Common(side, side.train.unlabeled(), None, None, {"device": "cpu"}, {}, tmp_path, False, 0.0)
    task = Task(common, "source_only", "", "small_cnn", 0, "", "", 100)
    with performing.Performer(common, workers="auto") as performer:
        performer._choose([task, replace(task, seed=1)], pace=60.0)
        assert performer.note.startswith(says) and (performer.pool is not None) == says.startswith("2")
    assert len(ended) == bool(says)


@pytest.mark.parametrize("workers", [0, "all"])
def test_a_wrong_number_of_workers(tmp_path, workers):
    with pytest.raises(ArgumentError, match="or 'auto'"):
        compare(tmp_path, workers=workers)


def test_tasks_that_share_a_first_stage_wait_until_it_is_there(tmp_path):
    """Of three that share one, the second and third begin when the first has ended; another need not wait."""

    class Pool(ThreadPoolExecutor):
        def submit(self, do, task):
            begun.append(task.seed)
            future = Future()
            future.set_result(None)
            return future

    begun = []
    side, stage = splits(0, 0), tmp_path / "stage.pt"
    common = Common(side, side.train.unlabeled(), None, None, {}, {}, tmp_path, False, 0.0)
    task = Task(common, "adabn", "", "small_cnn", 0, "", "", 100)
    tasks = [replace(task, seed=i, shared_stage=shared) for i, shared in enumerate([stage, stage, None, stage])]
    came = [i for i, _ in performing.Performer(common, Pool())(dict(enumerate(tasks)))]
    assert begun == [0, 2, 1, 3] and sorted(came) == [0, 1, 2, 3]


def test_large_tensors_are_mapped_and_not_sent(tmp_path):
    side = splits(0, 0)
    common = Common(side, side.train.unlabeled(), side.test, None, {"steps": 3}, {}, tmp_path, False, 0.0)
    with performing.Performer(common) as performer:
        sent = performer._sent(Task(common, "dann", "", "small_cnn", 0, "", "", 100))
        assert len(pickle.dumps(sent)) < side.train.inputs.nbytes / 2
        opened = performing._opened(*pickle.loads(pickle.dumps(sent)).common)
        for ours, theirs in zip(opened.source.parts().values(), side.parts().values(), strict=True):
            assert torch.equal(ours.inputs, theirs.inputs) and torch.equal(ours.labels, theirs.labels)
        assert opened.target.labels is None and torch.equal(opened.target.inputs, side.train.inputs)
        assert len(list(tmp_path.glob("data-*.npy"))) == 3, "the target is the source's training part here"
    assert not list(tmp_path.iterdir())
