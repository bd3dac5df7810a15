"""Memory goes back where it was asked for and nowhere else; linear algebra keeps to one thread where two would fight."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

import xferlab as xl
from xferlab import machine as memory


@pytest.mark.parametrize("frugal", [True, False])
def test_memory_goes_back_where_asked(own, source, monkeypatch, frugal):
    times = []

    class C:
        def malloc_trim(self, left):
            times.append(left)

    monkeypatch.setattr(memory, "frugal", frugal)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: C())
    model = own()
    xl.fit(model, source, steps=2, batch_size=16, progress_bar=False)
    assert times == [0, 0] * frugal
    xl.evaluate(model, source)
    assert times == [0, 0, 0] * frugal


def test_in_a_container_its_limit_counts_and_files_that_were_read_are_free(monkeypatch):
    """A container that had read its data seemed to have no memory left: doctor warned, and workers="auto" stayed at one."""
    group = Path("/sys/fs/cgroup")
    texts = {Path("/proc/meminfo"): "MemTotal: 16000000 kB\nMemFree: 1 kB\nMemAvailable: 8000000 kB\n"}
    monkeypatch.setattr(memory, "Path", lambda name: SimpleNamespace(read_text=lambda: texts[Path(name)]))
    texts |= {
        group / "memory.max": "max\n",
        group / "memory.current": "9\n",
        group / "memory.stat": "inactive_file 0\n",
    }
    assert memory.memory() == (16.0, 8.0)
    texts[group / "memory.max"], texts[group / "memory.current"] = "4000000000\n", "3500000000\n"
    texts[group / "memory.stat"] = "anon 500000000\nfile 3000000000\ninactive_file 2500000000\n"
    assert memory.memory() == (4.0, 3.0)


def test_another_c_library_is_no_error(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(memory, "frugal", True)
    monkeypatch.setattr(memory.ctypes, "CDLL", missing)
    memory.give_back()


def test_a_fit_of_scikit_learn_runs_its_linear_algebra_in_one_thread(monkeypatch):
    """Two pools of threads that wait for each other made probes up to 17 times as slow."""
    seen = []

    def fit(self, x, y):
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        raise InterruptedError

    monkeypatch.setattr("sklearn.linear_model.LogisticRegression.fit", fit)
    x = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(12) % 2
    texts = xl.Domain(xl.text.tokenize(["heart"] * 12), labels, classes=("a", "b"))
    with threadpool_limits(2, user_api="blas"):
        for run in (
            lambda: xl.mislabeled.held_out_probabilities(x, labels),
            lambda: xl.text.tfidf(texts, texts),
            lambda: xl.transferability.proxy_a_distance(source=x.numpy(), target=x.numpy(), seed=0),
            lambda: xl.selection.density_ratio(x.double(), x.double() + 1, x.double()),
            lambda: xl.probes._logistic(x, labels, torch.arange(12), 2),
        ):
            before = len(seen)
            with pytest.raises((InterruptedError, ValueError)):  # cross_val_score raises its own
                run()
            assert len(seen) > before and set(seen) == {1}
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {2}
