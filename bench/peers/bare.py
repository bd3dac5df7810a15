"""The limit: the same step as `fit`'s, written out by hand and nothing else around it.

Uint8 pictures in memory, `channels_last`, one forward pass, a fused optimizer, losses kept as tensors. The reader of a paper who knows
PyTorch well writes this.
"""

from __future__ import annotations

import contextlib

import torch
import torch.nn.functional as F
from torch import nn


def adamw(modules, lr, schedule, steps):
    """AdamW without decay of norms and biases, and a rate that follows `schedule(t / steps)`."""
    parameters = [p for module in modules for p in module.parameters()]
    matrices, vectors = [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 1e-2}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr, fused=True)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: schedule(t / steps))


def pictures(images, mean, std):
    return ((images.float() - mean) / std).contiguous(memory_format=torch.channels_last)


def finetune(net, head, images, labels, rows, *, mean, std, lr, schedule, bf16=False) -> list[float]:
    """Losses of one step a batch of `rows`."""
    net.train().to(memory_format=torch.channels_last)
    optimizer, scheduler = adamw([net, head], lr, schedule, len(rows))
    losses = []
    for batch in rows:
        with torch.autocast(images.device.type, torch.bfloat16) if bf16 else contextlib.nullcontext():
            loss = F.cross_entropy(head(net(pictures(images[batch], mean, std))), labels[batch])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.detach())
    return torch.stack(losses).tolist()


class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, strength):
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * -ctx.strength, None


def discriminator(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))


def dann(net, head, judge, source, labels, target, rows, *, mean, std, lr, schedule, strength) -> list[float]:
    """Losses, of labels and domains together, of one step a pair of batches of `rows`; `strength(progress)` reverses."""
    for module in (net, head, judge):
        module.train().to(memory_format=torch.channels_last)
    optimizer, scheduler = adamw([net, head, judge], lr, schedule, len(rows))
    losses = []
    for t, (here, there) in enumerate(rows):
        z = net(pictures(torch.cat([source[here], target[there]]), mean, std))
        truth = torch.cat([torch.ones(len(here)), torch.zeros(len(there))])
        domain = F.binary_cross_entropy_with_logits(
            judge(Reverse.apply(z, strength(t / (len(rows) - 1)))).flatten(), truth
        )
        loss = F.cross_entropy(head(z[: len(here)]), labels[here]) + domain
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.detach())
    return torch.stack(losses).tolist()


def text(net, head, tokens, labels, rows, *, lr, schedule, seed, trim=True) -> list[float]:
    """Losses of one step a batch of `rows` on a Hugging Face encoder; `seed(t)` sets dropout; `trim` to the batch's longest text."""
    net.train()
    optimizer, scheduler = adamw([net, head], lr, schedule, len(rows))
    losses = []
    for t, batch in enumerate(rows):
        torch.default_generator.manual_seed(seed(t))  # torch.manual_seed would format the call stack, for a GPU's sake
        ids, mask = tokens[batch], (tokens[batch] != 0).long()
        width = int(mask.sum(1).max()) if trim else ids.shape[1]
        ids, mask = ids[:, :width], mask[:, :width]
        states = net(input_ids=ids, attention_mask=mask).last_hidden_state
        mean = (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
        loss = F.cross_entropy(head(mean), labels[batch])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.detach())
    return torch.stack(losses).tolist()
