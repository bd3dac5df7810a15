import math

import numpy as np
import torch
import torch.nn.functional as F

# %% 01.1
z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
s = (z @ z.T) / 0.5
s.fill_diagonal_(-1e9)
loss = F.cross_entropy(s, torch.tensor([1, 0, 3, 2]))

# %% 01.1
loss = np.log(1 + 2 * np.exp(-2))

# %% 01.1
loss = 0.24


# %% 01.2
def contrast(za, zb, temperature):
    n = len(za)
    z = torch.cat([za / za.norm(dim=1, keepdim=True), zb / zb.norm(dim=1, keepdim=True)])
    total = 0
    for i in range(2 * n):
        partner = (i + n) % (2 * n)
        up = torch.exp(torch.dot(z[i], z[partner]) / temperature)
        down = sum(torch.exp(torch.dot(z[i], z[k]) / temperature) for k in range(2 * n) if k != i)
        total = total - torch.log(up / down)
    return total / (2 * n)


# %% 01.2
def contrast(za, zb, temperature):
    both = torch.stack([za, zb], dim=1).flatten(0, 1)  # partners side by side
    sim = F.cosine_similarity(both[:, None], both[None], dim=-1) / temperature
    eye = torch.eye(len(both), dtype=torch.bool)
    log_prob = sim - sim.masked_fill(eye, -1e9).logsumexp(1, keepdim=True)
    rows = torch.arange(len(both))
    return -log_prob[rows, rows ^ 1].mean()


# %% 01.2
def contrast(a, b, t):
    a, b = F.normalize(a), F.normalize(b)
    n = a.shape[0]
    off = ~torch.eye(n, dtype=torch.bool)
    positive = torch.einsum("nd,nd->n", a, b) / t

    def half(own, other):
        own_side = (own @ own.T / t)[off].view(n, n - 1)
        logits = torch.cat([positive[:, None], own_side, (own @ other.T / t)[off].view(n, n - 1)], 1)
        return F.cross_entropy(logits, torch.zeros(n, dtype=torch.long))

    return (half(a, b) + half(b, a)) / 2


# %% 01.3
share = torch.softmax(torch.tensor([0.9, 0.5]) / 0.1, 0)[0]

# %% 01.3
share = 1 / (1 + np.exp(-4))

# %% 01.3
share = 0.98


# %% 01.4
def spread(z):
    rows = [row / math.sqrt(sum(float(x) ** 2 for x in row)) for row in z]
    table = torch.stack(rows)
    deviations = [table[:, j].std(unbiased=False) for j in range(table.shape[1])]
    return sum(deviations) / len(deviations) * math.sqrt(len(deviations))


# %% 01.4
def spread(z):
    z = z.numpy()
    unit = z / np.linalg.norm(z, axis=1, keepdims=True)
    return np.sqrt(z.shape[1]) * unit.std(axis=0).mean()


# %% 01.4
def spread(z):
    z /= z.norm(dim=1, keepdim=True)
    z -= z.mean(0)
    return (z.square().mean(0).sqrt().mean() * z.size(1) ** 0.5).item()


# %% 01.5
erases = ["A", "C", "D"]

# %% 01.5
erases = "a, c, d"

# %% 01.5
erases = ("d", "c", "a")
