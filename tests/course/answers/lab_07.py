import copy
from collections import OrderedDict

import numpy as np
import torch

from xferlab.weights import interpolate

w = torch.tensor([1.0, -2.0, 0.5])
w0 = torch.tensor([0.5, -2.0, 1.5])

# %% 07.1
gradient = [0.05, 0, -0.1]

# %% 07.1
moving = w.clone().requires_grad_()
(0.1 / 2 * ((moving - w0) ** 2).sum()).backward()
gradient = moving.grad

# %% 07.1
gradient = 0.1 * np.subtract([1.0, -2.0, 0.5], [0.5, -2.0, 1.5])

# %% 07.1
gradient = tuple(0.1 * (a - b) for a, b in zip(w, w0))

# %% 07.2
rests_at = 2.0
for _ in range(500):
    rests_at -= 0.1 * (0.1 * (rests_at - 2) + 0.3 * rests_at)

# %% 07.2
rests_at = torch.linalg.solve(torch.tensor([[0.4]]), torch.tensor([0.2]))[0]

# %% 07.2
rests_at = np.average([2, 0], weights=[0.1, 0.3])


# %% 07.3
def mix(start, end, alpha):
    mixed = {}
    for key, last in end.items():
        if last.dtype.is_floating_point:
            mixed[key] = torch.lerp(start[key], last, alpha)
        else:
            mixed[key] = last
    return mixed


# %% 07.3
def mix(start, end, alpha):
    out = copy.deepcopy(end)
    for key in out:
        if torch.is_floating_point(out[key]):
            out[key] = start[key] + alpha * (end[key] - start[key])
    return out


# %% 07.3
def mix(start, end, alpha):
    out = OrderedDict((key, value.clone()) for key, value in start.items())
    for key, value in out.items():
        if value.is_floating_point():
            value.mul_(1 - alpha).add_(end[key], alpha=alpha)
        else:
            value.copy_(end[key])
    return out


# %% 07.3
mix = interpolate

# %% 07.4
average = 0.0
for _ in range(10):
    average = 0.9 * average + 0.1 * 1.0

# %% 07.4
average = sum(0.1 * 0.9**k for k in range(10))

# %% 07.4
average = 0.65


# %% 07.5
def bss(features, k):
    _, s, _ = torch.linalg.svd(features, full_matrices=False)
    return (s[len(s) - k :] ** 2).sum()


# %% 07.5
def bss(features, k):
    values = torch.linalg.svdvals(features)
    return values.topk(k, largest=False).values.pow(2).sum()


# %% 07.5
def bss(features, k):
    gram = features.T @ features  # its eigenvalues are the squares
    return torch.linalg.eigvalsh(gram)[:k].sum()


# %% 07.5
def bss(features, k):
    total = 0
    for value in sorted(torch.linalg.svdvals(features))[:k]:
        total = total + value * value
    return total


# %% 07.5
def bss(features, k):
    smallest = torch.linalg.svdvals(features)[-k:]
    return torch.einsum("k,k->", smallest, smallest)
