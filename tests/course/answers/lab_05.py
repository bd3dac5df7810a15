import itertools

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import wasserstein_distance

import xferlab as xl

# stands for the lab's ladder
high = {"source only": 0.41, "color augmentation": 0.70, "color + both in batch norm": 0.76, "color + AdaBN": 0.81}
rungs = xl.lab.Results(
    [
        {"rung": rung, "draw": draw, "second laboratory": value + draw * 0.0137}
        for rung, value in (high | {"color + MMD": 0.7712}).items()
        for draw in range(3)
    ],
    by="rung",
)
second = rungs.mean("second laboratory")

# %% 05.1
blind = {"same moments": "ring", "moved but unseen": "moved"}

# %% 05.1
blind = {"moved but unseen": "Moved", "same moments": "Ring"}


# %% 05.2
def my_coral(zs, zt):
    d = zs.size(1)

    def covariance(z):
        z = z - z.mean(0, keepdim=True)
        return z.T @ z / (z.size(0) - 1)

    return torch.norm(covariance(zs) - covariance(zt), p="fro") ** 2 / (4 * d * d)


# %% 05.2
def my_coral(zs, zt):
    return ((torch.cov(zs.T) - torch.cov(zt.T)) ** 2).mean() / 4


# %% 05.2
def my_coral(zs, zt):
    difference = np.cov(zs.numpy(), rowvar=False) - np.cov(zt.numpy(), rowvar=False)
    return (difference**2).sum() / 4 / zs.shape[1] ** 2


# %% 05.2
def my_coral(zs, zt):
    total, d = 0.0, zs.shape[1]
    for i, j in itertools.product(range(d), repeat=2):
        entries = []
        for z in (zs, zt):
            entries.append(((z[:, i] - z[:, i].mean()) * (z[:, j] - z[:, j].mean())).sum() / (len(z) - 1))
        total += (entries[0] - entries[1]) ** 2
    return total / (4 * d**2)


# %% 05.2
def my_coral(zs, zt):
    zs -= zs.mean(0)
    zt -= zt.mean(0)
    cs = torch.einsum("ni,nj->ij", zs, zs) / (len(zs) - 1)
    ct = torch.einsum("ni,nj->ij", zt, zt) / (len(zt) - 1)
    return torch.trace((cs - ct) @ (cs - ct).T) / (4 * cs.numel())


# %% 05.3
cost = wasserstein_distance([0, 1, 5], [1, 2, 6])

# %% 05.3
table = torch.cdist(torch.tensor([[0.0], [1.0], [5.0]]), torch.tensor([[1.0], [2.0], [6.0]])).numpy()
cost = table[linear_sum_assignment(table)].mean()

# %% 05.3
cost = min(sum(abs(a - b) for a, b in zip((0, 1, 5), order)) for order in itertools.permutations((1, 2, 6))) / 3

# %% 05.3
cost = 1

# %% 05.4
brought = rungs.gain("color + MMD", "color + both in batch norm", "second laboratory")["gain"]

# %% 05.4
brought = round(second["color + MMD"] - second["color + both in batch norm"], 3)

# %% 05.4
brought = np.subtract(second["color + MMD"], second["color + both in batch norm"])
