"""Two CPU processes against one. torchrun runs this file as a script, once for all that needs it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small import blobs

import xferlab as xl
from xferlab.errors import ArgumentError, MissingExtra, XferlabError
from xferlab.objectives import Objective
from xferlab.training.distributed import World

STEPS = 8


class Fate(Objective):
    """Ends process 1 of several, as a machine that is lost would, past the middle of the run."""

    needs = frozenset({"source"})

    def forward(self, step):
        if step.progress > 0.6 and os.environ.get("RANK") == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        return step.source.logits.sum() * 0


def lenet(norms=False):
    model = xl.Classifier(xl.encoder("lenet"), ("a", "b", "c"))
    for block in () if norms else model.encoder.body[:2]:
        block[1] = torch.nn.Identity()
    return model


def run(model, *objectives, **arguments):
    source, target = (blobs(n=45, channels=1, size=28, seed=seed, shift=40 * seed) for seed in (0, 1))
    arguments = dict(steps=STEPS, batch_size=16, lr=1e-2, progress_bar=False) | arguments
    return xl.fit(model, source, target.unlabeled(), objectives=[xl.CrossEntropy(), *objectives], **arguments).history


def histories():
    return {
        "fine-tuning": run(lenet()),
        "DANN": run(lenet(), xl.DANN()),
        "frozen norms": run(lenet(norms=True), xl.DANN(), strategy=xl.strategies.top(1)),
        "frozen encoder": run(lenet(norms=True), strategy=xl.strategies.head_only(), lr=0.3),
    }


def doomed(checkpoint):
    return run(lenet(), xl.DANN(), Fate(), checkpoint=checkpoint, checkpoint_every=2)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Folder, exit status and output of two processes, of which the second is killed in its last run."""
    pytest.importorskip("accelerate")
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", __file__, folder]
    env = os.environ | {
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }  # two processes on the CPU, also where there is a GPU
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=900, env=env)
    return folder, done.returncode, done.stdout + done.stderr


def alike(one, other):
    for a, b in zip(one, other, strict=True):
        assert a == pytest.approx(b, abs=1e-4)


def test_two_processes_give_the_losses_of_one(two):
    folder, _, output = two
    assert (folder / "histories.json").is_file(), output[-3000:]
    found = json.loads((folder / "histories.json").read_text())
    for name, expected in histories().items():
        assert expected[-1]["CrossEntropy"] < 0.9 * expected[0]["CrossEntropy"], (
            name
        )  # it trains, or being alike is nothing
        alike(found[name], expected)


def test_a_killed_process_ends_the_run_and_the_checkpoint_goes_on(two):
    folder, status, output = two
    assert status != 0
    assert "SIGKILL" in output or "lost another one" in output, output[-3000:]
    model = lenet()
    source, target = (blobs(n=45, channels=1, size=28, seed=seed, shift=40 * seed) for seed in (0, 1))
    objectives = [xl.CrossEntropy(), xl.DANN(), Fate()]
    settings = dict(steps=STEPS, batch_size=16, lr=1e-2, checkpoint_every=2, progress_bar=False)
    going_on = xl.fit(
        model, source, target.unlabeled(), objectives=objectives, checkpoint=folder / "run.pt", **settings
    )
    assert going_on.resumed_from == 4
    alike(going_on.history, doomed(None))


def test_a_batch_is_divided_without_rest():
    world = World()
    assert (world.rank, world.size) == (0, 1) and world.shard(torch.arange(5), "source").tolist() == [0, 1, 2, 3, 4]
    parts, world.size = [], 3
    for world.rank in range(3):
        parts.append(world.shard(torch.arange(6), "source"))
    assert torch.cat(parts).sort().values.tolist() == list(range(6)) and {len(part) for part in parts} == {2}
    with pytest.raises(ArgumentError, match="5 from 'target' does not divide among 3"):
        world.shard(torch.arange(5), "target")


def test_one_process_asks_nobody():
    value = torch.tensor([1.0])
    world = World("cpu")
    world.average([value])
    world.copy_from_first([value])
    world.agree(7)
    world.wait()
    assert value.item() == 1 and not torch.distributed.is_initialized()


@pytest.mark.parametrize(("checkpoint", "says"), [("a/run.pt", "go on from a/run.pt"), (None, "checkpoint= would")])
def test_a_lost_process_is_named_with_what_to_do(checkpoint, says, monkeypatch):
    world = World("cpu", checkpoint)
    world.size = 2

    def broken(*_):
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(torch.distributed, "all_reduce", broken)
    with pytest.raises(XferlabError, match=f"process 0 of 2 lost another one.*{says}"):
        world.wait()


def test_more_processes_than_gpus_are_refused(monkeypatch):
    pytest.importorskip("accelerate")
    for name, value in (("LOCAL_RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ArgumentError, match="2 processes share 1 GPU of this machine"):
        World("cuda")


def test_several_processes_need_accelerate(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingExtra, match=r"xferlab\[distributed\]"):
        World()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    found = histories()
    if os.environ["RANK"] == "0":
        (folder / "histories.json").write_text(json.dumps(found))
    doomed(folder / "run.pt")
