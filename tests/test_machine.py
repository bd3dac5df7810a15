"""Freed memory goes back around a run and after a pass over a domain, where it was asked for and nowhere else."""

import pytest

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
