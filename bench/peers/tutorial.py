"""The shape of the PyTorch transfer-learning tutorial: a Dataset of pictures, per-sample PIL transforms, a DataLoader, NCHW.

Kinder to it than life: pictures lie decoded in memory, there is no second phase on validation data, and the loader has no worker
processes, which on two cores would take the cores from the network.
"""

from __future__ import annotations

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms


class Pictures(Dataset):
    """uint8 pictures `(N, H, W)` or `(N, H, W, 3)` and their labels, through a torchvision transform of one PIL image."""

    def __init__(self, arrays, labels, transform):
        self.arrays, self.labels, self.transform = arrays, labels, transform

    def __len__(self):
        return len(self.arrays)

    def __getitem__(self, i):
        return self.transform(Image.fromarray(self.arrays[i])), self.labels[i]


def transform(size: int, mean: float, std: float):
    return transforms.Compose(
        [
            transforms.Resize(size),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize([mean / 255] * 3, [std / 255] * 3),
        ]
    )


def train_model(model: nn.Module, loader: DataLoader, optimizer, scheduler, epochs: int) -> list[float]:
    """Trains and gives the loss of each step."""
    criterion = nn.CrossEntropyLoss()
    losses = []
    for _ in range(epochs):
        running_loss, running_corrects = 0.0, 0
        for inputs, labels in loader:
            optimizer.zero_grad()
            outputs = model(inputs)
            _, predictions = torch.max(outputs, 1)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
            running_loss += loss.item() * inputs.size(0)
            running_corrects += torch.sum(predictions == labels.data)
    return losses


def finetune(net, head, arrays, labels, sampler, batch_size, *, size, mean, std, lr, schedule, epochs=1, frozen=False):
    """Losses by step; `sampler` gives each epoch's order, so that both sides of a comparison see the same batches.

    frozen  trains the head alone; the encoder, in evaluation mode, is run anew in each epoch
    """
    model = nn.Sequential(net, head).train()
    if frozen:
        net.requires_grad_(False).eval()
    moving = head if frozen else model
    optimizer = torch.optim.AdamW(moving.parameters(), lr=lr, weight_decay=0.0)
    steps = epochs * len(sampler) // batch_size
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: schedule(t / steps))
    pictures = Pictures(arrays, labels, transform(size, mean, std))
    return train_model(model, DataLoader(pictures, batch_size, sampler=sampler), optimizer, scheduler, epochs=epochs)


def augmented(arrays, labels, padding: int, mean: float, std: float, batch_size: int) -> torch.Tensor:
    """Every picture once, cropped and flipped at random and normalised, by torchvision's transforms of one PIL image."""
    steps = [transforms.RandomCrop(arrays.shape[1:3], padding=padding, padding_mode="reflect")]
    steps += [transforms.RandomHorizontalFlip(), transforms.ToTensor(), transforms.Normalize([mean / 255], [std / 255])]
    loader = DataLoader(Pictures(arrays, labels, transforms.Compose(steps)), batch_size)
    return torch.cat([inputs for inputs, _ in loader])
