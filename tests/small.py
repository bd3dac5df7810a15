"""A small problem and a small network that tests share."""

import numpy as np
import torch
from PIL import Image

import xferlab as xl


def blobs(n=60, classes=3, size=16, channels=3, shift=0, seed=0, name="blobs", labels=True):
    """Noise with a bright square whose place tells the class: learnt in a few steps, by any small network."""
    g = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % classes
    x = torch.randint(0, 60, (n, channels, size, size), generator=g, dtype=torch.int64) + shift
    for i, k in enumerate(y.tolist()):
        at = 1 + k * (size - 6) // max(1, classes - 1)
        x[i, :, at : at + 4, at : at + 4] += 120
    return xl.Domain(x.clamp(0, 255).to(torch.uint8), y if labels else None, tuple("abcdefgh"[:classes]), name=name)


def write_picture(file, seed):
    """A small picture, another for each seed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4), dtype=np.uint8)
    Image.fromarray(pixels).resize((16, 16)).save(file)


class TwentyLines(torch.nn.Module):
    """A user's own network: it knows nothing of xferlab."""

    def __init__(self, channels=3):
        super().__init__()
        self.stem = torch.nn.Conv2d(channels, 8, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.deep = torch.nn.Conv2d(8, 16, 3, padding=1, stride=2)
        self.deep_norm = torch.nn.BatchNorm2d(16)
        self.project = torch.nn.Linear(16 * 16, 12)

    def forward(self, x):
        x = torch.relu(self.norm(self.stem(x)))
        x = torch.relu(self.deep_norm(self.deep(x)))
        x = torch.nn.functional.adaptive_avg_pool2d(x, 4)
        return torch.relu(self.project(x.flatten(1)))
