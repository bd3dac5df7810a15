import itertools
import math
import statistics
from collections import defaultdict

import numpy as np
import pandas as pd
import torch
from scipy.special import entr, xlogy
from scipy.stats import entropy, rankdata, spearmanr

from xferlab import transferability as T

probabilities = np.array([[0.8, 0.2], [0.6, 0.4], [0.2, 0.8], [0.4, 0.6]])
labels = np.array([0, 0, 0, 1])
value = [0.10, 0.20, 0.30, 0.40, 9.00]
accuracy = [0.50, 0.70, 0.60, 0.80, 0.40]

# %% 08.1
score = T.leep(source_probabilities=probabilities, target_labels=labels)

# %% 08.1
score = -0.55

# %% 08.1
one_hot = np.eye(2)[labels]
joint = np.einsum("ny,nz->yz", one_hot, probabilities) / len(labels)
given = joint / joint.sum(axis=0, keepdims=True)
score = np.mean(np.log(np.einsum("nz,yz,ny->n", probabilities, given, one_hot)))

# %% 08.1
joint = [[0.0, 0.0], [0.0, 0.0]]
for p, y in zip(probabilities, labels):
    for z in range(2):
        joint[y][z] += p[z] / 4
score = 0
for p, y in zip(probabilities, labels):
    score += math.log(sum(p[z] * joint[y][z] / (joint[0][z] + joint[1][z]) for z in range(2))) / 4

# %% 08.1
p, y = torch.tensor(probabilities), torch.tensor(labels)
joint = torch.zeros(2, 2, dtype=p.dtype).index_add_(0, y, p) / 4
score = ((p @ (joint / joint.sum(0)).T).gather(1, y[:, None])).log().mean()

# %% 08.2
rho = spearmanr(value, accuracy)[0]

# %% 08.2
d = rankdata(value) - rankdata(accuracy)
rho = 1 - 6 * np.dot(d, d) / (5 * 24)

# %% 08.2
rho = pd.Series(value).corr(pd.Series(accuracy), method="spearman")

# %% 08.2
rho = -0.1

# %% 08.2
rho = spearmanr(value, accuracy)


# %% 08.3
def choose(runs):
    frame = pd.json_normalize(runs)
    return frame.groupby("recipe")["validators.information_maximization"].mean().idxmax()


# %% 08.3
def choose(runs):
    key = lambda run: run["recipe"]
    means = {}
    for recipe, group in itertools.groupby(sorted(runs, key=key), key=key):
        means[recipe] = statistics.mean(run["validators"]["information_maximization"] for run in group)
    return sorted(means.items(), key=lambda pair: pair[1])[-1][0]


# %% 08.3
def choose(runs):
    sums, counts = defaultdict(float), defaultdict(int)
    for run in runs:
        sums[run["recipe"]] += run["validators"]["information_maximization"]
        counts[run["recipe"]] += 1
    best, best_mean = None, float("-inf")
    for name in sums:
        if sums[name] / counts[name] > best_mean:
            best, best_mean = name, sums[name] / counts[name]
    return best


# %% 08.3
def choose(runs):
    names = np.array([run["recipe"] for run in runs])
    im = np.array([run["validators"]["information_maximization"] for run in runs])
    unique = np.unique(names)
    return unique[np.argmax([im[names == name].mean() for name in unique])]


# %% 08.4
def information(p):
    return entropy(p.mean(axis=0)) - entropy(p, axis=1).mean()


# %% 08.4
def information(p):
    return entr(p.mean(0)).sum() - entr(p).sum(1).mean()


# %% 08.4
def information(p):
    mean = p.mean(0)
    return float((xlogy(p, p) - xlogy(p, mean)).sum() / len(p))  # the mean divergence from the mean row


# %% 08.4
def information(p):
    def h(q):
        return -sum(x * math.log(x) for x in q if x > 0)

    return h(p.mean(axis=0)) - sum(h(row) for row in p) / len(p)


# %% 08.4
def information(p):
    p = torch.from_numpy(p)
    h = lambda q: -torch.sum(q * torch.log(q + 1e-12), dim=-1)
    return h(p.mean(0)) - h(p).mean()


# %% 08.4
def information(p):
    with np.errstate(divide="ignore", invalid="ignore"):
        rows = -np.nansum(p * np.log(p), axis=1)
        m = p.mean(axis=0)
        marginal = -np.nansum(np.where(m > 0, m * np.log(m), 0))
    return marginal - np.average(rows)
