"""Pictures that stay on disk are those that memory would hold, and take none of it."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from xferlab.domains import Domain, stacks
from xferlab.domains.domain import joined
from xferlab.errors import DataError


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Twelve noise pictures that stay on disk, as they lie in memory."""
    monkeypatch.setenv("XFERLAB_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(stacks, "MAPPED", 500)
    return torch.randint(0, 256, (12, 3, 4, 5), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_rows_and_whole_domains_are_copied_as_memory_would_copy_them(pictures):
    """A mask, numbers in any order and from the end, and two domains one after another."""
    domain = Domain(pictures, torch.arange(12) % 2, ("a", "b"))
    mask = torch.arange(12) % 3 == 0
    for index in (mask, torch.tensor([7, 0, -1, 7]), [2]):
        assert torch.equal(domain[index].inputs, pictures[index])
    assert torch.equal(stacks.select(pictures, torch.arange(0)), pictures[:0])
    assert torch.equal(joined([domain[:5], domain[5:]]).inputs, pictures)


@pytest.mark.parametrize("expected", [1, 4, 40])
def test_pictures_that_come_one_by_one_stand_as_they_came(pictures, expected):
    """Gray before color, more than were expected, and fewer."""
    gray, color = pictures[:4, 0].numpy(), pictures[4:].permute(0, 2, 3, 1).numpy()
    stack = stacks.stacked([*gray, *color], expected)
    assert torch.equal(stack[4:], pictures[4:])
    assert torch.equal(stack[:4], pictures[:4, :1].expand(-1, 3, -1, -1))
    assert torch.equal(stacks.stacked(gray, expected), pictures[:4, :1])


def test_a_disk_without_room_is_told_before_it_is_filled(pictures, monkeypatch):
    with pytest.raises(DataError, match=r"no room for 1000000000.0 GB"):
        stacks.room((10**9, 10**9))


CHILD = """
import json, sys, threading, time
from pathlib import Path

import torch
import xferlab as xl
from xferlab.comparison.reading import read_pictures
from xferlab.domains import pictures, stacks

stacks.MAPPED, pictures.AT_ONCE = 1 << 20, 16
torch.set_num_threads(1)
peak, done = [0], []


def held():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def watch():
    while True:
        peak[0] = max(peak[0], held())
        time.sleep(0.002)


def told(step):
    done.append((step, (peak[0] - before) / 1e6))
    peak[0] = 0


layers = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(16, 8))
model = xl.Classifier(xl.encoder(layers, channels=1, size=512), "01")
tiny = xl.Domain(torch.zeros(8, 1, 512, 512, dtype=torch.uint8), torch.arange(8) % 2, ("0", "1"))
xl.fit(model, tiny, steps=2, batch_size=2, progress_bar=False)  # what only a first step costs
xl.embed(model, tiny)
before = held()
threading.Thread(target=watch, daemon=True).start()
for where, options in ((sys.argv[1], {"size": 512}), (sys.argv[2], {})):
    splits = xl.load(where, **options)
    told("load")
    objectives = [xl.CrossEntropy(), xl.CORAL(1.0)]
    checkpoint = Path(where).with_suffix(".pt")
    target = splits.test.unlabeled()
    xl.fit(model, splits.train, target, objectives=objectives, steps=5, batch_size=2, checkpoint=checkpoint, progress_bar=False)
    told("fit")
    xl.embed(model, splits.train)
    told("embed")
    xl.evaluate(model, splits.test)
    told("evaluate")
    read_pictures(where, classes=model.classes, **options)
    told("predict")
print(json.dumps(done))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel tells the peak of memory by /proc")
def test_pictures_larger_than_the_memory_there_is(tmp_path, monkeypatch):
    """73 MB of pictures in half of it: a copy of all of them, or of the training part, would hold more in any step."""
    gray = (np.arange(280) % 256).astype(np.uint8)
    for i, value in enumerate(gray):
        file = tmp_path / "folder" / "01"[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (512, 512), int(value)).save(file)
    pictures = np.broadcast_to(gray[:, None, None], (280, 512, 512))
    parts = {"train": pictures[:210], "val": pictures[210:230], "test": pictures[230:]}
    images = {f"{name}_images": part for name, part in parts.items()}
    labels = {f"{name}_labels": np.arange(len(part)) % 2 for name, part in parts.items()}
    np.savez(tmp_path / "set.npz", **images, **labels)
    monkeypatch.setenv("XFERLAB_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")  # what is freed is given back at once: what is held is needed
    command = [sys.executable, "-c", CHILD, tmp_path / "folder", tmp_path / "set.npz"]
    done = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])
    assert len(done) == 10 and max(grown for _, grown in done) < 35, done
