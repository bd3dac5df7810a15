import os
import tempfile

# before xferlab or torch are imported: no test reads or fills the user's own cache, and no progress bar is drawn
os.environ["XFERLAB_DATA"] = tempfile.mkdtemp(prefix="xferlab-tests-")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
for name in ("XFERLAB_PROFILE", "XFERLAB_DATASET"):
    os.environ.pop(name, None)
if "PYTEST_XDIST_WORKER" in os.environ:  # a process a core: threads of their own would fight
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from reliability import offline
from small import TwentyLines, blobs

import xferlab as xl

offline.close()  # nothing that a test runs in this process reaches another machine


@pytest.fixture(autouse=True)
def on_the_cpu(request, monkeypatch):
    """Where there is a GPU, only the tests marked `gpu` see it, in processes of their own too: the others compare with the CPU's figures."""
    if request.node.get_closest_marker("gpu") is None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def source():
    return blobs(seed=1, name="source")


@pytest.fixture
def target():
    return blobs(seed=2, shift=60, name="target")


@pytest.fixture
def own():
    """A Classifier around that network, the same one each time."""

    def make(classes=("a", "b", "c"), seed=0):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            module = TwentyLines()
        return xl.Classifier(xl.encoder(module, size=16), classes, seed=seed)

    return make


@pytest.fixture
def one_thread():
    """As a worker process has: two threads sum in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
