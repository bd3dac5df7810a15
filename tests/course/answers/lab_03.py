import math

import numpy as np
import torch

accuracy_home = {"early": 0.60, "middle": 0.83, "late": 0.80}
a_distance = {"early": 1.90, "middle": 1.80, "late": 1.70}

# %% 03.1
w = np.exp(np.array([0.9, 0.8, 0.8]) / 0.1)
monocyte = w[1:].sum() / w.sum()

# %% 03.1
monocyte = 2 * math.exp(8) / (math.exp(9) + 2 * math.exp(8))

# %% 03.1
monocyte = 1 - torch.softmax(torch.tensor([9.0, 8.0, 8.0]), 0)[0]

# %% 03.1
monocyte = 0.42


# %% 03.2
def left_out(scores, labels, leverage):
    return (scores - leverage * labels) / (1 - leverage)


# %% 03.2
def left_out(scores, labels, leverage):
    return [y - (y - s) / (1 - h) for s, y, h in zip(scores, labels, leverage)]


# %% 03.2
def left_out(s, y, h):
    s, y, h = (np.asarray(part) for part in (s, y, h))
    residual = y - s
    return s - h / (1 - h) * residual


# %% 03.2
def left_out(scores, labels, leverage):
    scores -= labels
    scores /= 1 - leverage
    scores += labels
    return scores


# %% 03.3
e = 1 - 0.85
distance = 2 * (1 - 2 * e)

# %% 03.3
distance = torch.tensor(2.0) - 4 * 0.15

# %% 03.3
distance = 1.4


# %% 03.4
def cka(a, b):
    n = len(a)
    center = torch.eye(n, dtype=a.dtype) - 1 / n
    k, l = center @ a @ a.T @ center, center @ b @ b.T @ center
    return (k * l).sum() / (k.norm() * l.norm())


# %% 03.4
def cka(a, b):
    a, b = a.numpy(), b.numpy()
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    top = np.linalg.norm(b.T @ a, "fro") ** 2
    return top / np.linalg.norm(a.T @ a) / np.linalg.norm(b.T @ b)


# %% 03.4
def cka(a, b):
    a -= a.mean(dim=0, keepdim=True)
    b -= b.mean(dim=0, keepdim=True)
    between = torch.einsum("nd,ne->de", a, b)
    within = [torch.einsum("nd,ne->de", z, z) for z in (a, b)]
    return (between**2).sum() / torch.sqrt((within[0] ** 2).sum() * (within[1] ** 2).sum())


# %% 03.4
def cka(a, b):
    def hsic(x, y):
        both = torch.cat([x, y], 1).T.cov()
        return both[: x.shape[1], x.shape[1] :].pow(2).sum()

    return (hsic(a, b) / (hsic(a, a) * hsic(b, b)) ** 0.5).item()


# %% 03.4
def cka(a, b):
    a, b = a.float(), b.float()
    a, b = a - a.mean(0), b - b.mean(0)
    return (a.T @ b).norm() ** 2 / ((a.T @ a).norm() * (b.T @ b).norm())


# %% 03.5
bound = {name: 1 - accuracy_home[name] + a_distance[name] / 2 for name in accuracy_home}
chosen_layer = sorted(bound, key=bound.get)[0]

# %% 03.5
names = np.array(list(a_distance))
bounds = 1 - np.array(list(accuracy_home.values())) + np.array(list(a_distance.values())) / 2
chosen_layer = names[bounds.argmin()]

# %% 03.5
chosen_layer = "Late"
