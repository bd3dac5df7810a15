"""A folder classified as one would write it with torchvision: ImageFolder, a DataLoader with a worker a core, a CSV file."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import torch
from torchvision.datasets import ImageFolder
from torchvision.transforms import Compose, PILToTensor, Resize


@torch.inference_mode()
def predict(
    model: torch.nn.Module, root: Path, out: Path, size: int, workers: int = os.cpu_count() or 1
) -> torch.Tensor:
    """Probabilities `(N, K)`, in the order of the files' names; `model` takes pictures in 0..255."""
    pictures = ImageFolder(root, Compose([Resize((size, size)), PILToTensor()]))
    batches = torch.utils.data.DataLoader(pictures, 64, num_workers=workers)
    p = torch.cat([model.eval()(x).softmax(1) for x, _ in batches])
    with open(out, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "predicted", *(f"p_{name}" for name in pictures.classes)])
        for (name, _), row in zip(pictures.samples, p.tolist(), strict=True):
            table.writerow([Path(name).relative_to(root), pictures.classes[row.index(max(row))], *row])
    return p
