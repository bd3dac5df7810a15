"""Memory goes back where it was asked for and nowhere else; linear algebra keeps to one thread where two would fight."""

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
