"""compare on a Dask cluster of two processes: the same table, also when one is killed in the middle of a run."""

import os
import signal
import threading
import time

import pytest
from small import blobs

import xferlab as xl
from xferlab.comparison.commands import cluster
from xferlab.errors import ArgumentError

distributed = pytest.importorskip("distributed", reason="needs the extra `cluster`")


def splits(shift, seed):
    return xl.Splits(*(blobs(n, shift=shift, seed=seed + i, name="place") for i, n in enumerate((48, 24, 24))))


def compare(store, **options):
    settings = dict(
        seeds=2,
        validators=["information_maximization"],
        encoder="small_cnn",
        steps=20,
        batch_size=16,
        checkpoint_every=5,
    )
    names = ["source_only", "dann"]
    return xl.compare(names, splits(0, 0), splits(60, 10), store=store, progress_bar=False, **settings, **options)


def test_a_killed_worker_loses_nothing(tmp_path, one_thread):
    """The killed worker's run goes on from its checkpoint on the other; the records are those of one process."""
    local = distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    with local, distributed.Client(local) as client:
        victim = min(client.run(os.getpid).values())

        def kill():
            while not list((tmp_path / "cluster").glob("*.pt")):  # a run has begun
                time.sleep(0.02)
            os.kill(victim, signal.SIGKILL)

        (tmp_path / "cluster").mkdir()
        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        with cluster(local.scheduler_address) as executor:
            board = compare(tmp_path / "cluster", executor=executor)
        killer.join(timeout=60)
        assert not killer.is_alive()
    alone = compare(tmp_path / "alone")
    for ours, theirs in zip(board.runs, alone.runs, strict=True):
        assert ours["key"] == theirs["key"] and ours["target"] == theirs["target"]
        assert ours["validators"] == theirs["validators"]


def test_a_scheduler_that_does_not_answer_is_named():
    with pytest.raises(ArgumentError, match="dask scheduler"):
        with cluster("nonsense://nowhere"):
            pass
