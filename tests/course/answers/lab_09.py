import math

import numpy as np
import torch
from torch import nn

import xferlab as xl

tfidf_curve = {5: 0.30, 20: 0.50, 80: 0.70}


# %% 09.1
def leaks(train, test):
    shared = []
    for code in train:
        category = code[:3]
        if category not in shared and any(other.startswith(category) for other in test):
            shared.append(category)
    return sorted(shared)


# %% 09.1
def leaks(train, test):
    return np.intersect1d([c[:3] for c in train], [c[:3] for c in test])


# %% 09.1
def leaks(train, test):
    category = lambda code: code.split(".")[0]
    return set(map(category, train)).intersection(map(category, test))


# %% 09.2
def pool(states, tokens):
    return torch.stack([state[token != 0].mean(0) for state, token in zip(states, tokens)])


# %% 09.2
def pool(states, tokens):
    mask = (tokens > 0).float()
    return torch.einsum("bld,bl->bd", states, mask) / mask.sum(1, keepdim=True)


# %% 09.2
def pool(states, tokens):
    weights = tokens.ne(0) / tokens.ne(0).sum(1, keepdim=True)
    return torch.bmm(weights.unsqueeze(1), states).squeeze(1)


# %% 09.2
def pool(states, tokens):
    return states.masked_fill((tokens == 0)[..., None], float("nan")).nanmean(dim=1)


# %% 09.2
def pool(states, tokens):
    states[tokens == 0] = 0
    return states.sum(1) / torch.count_nonzero(tokens, dim=1)[:, None]


# %% 09.3
needed = math.sqrt(20 * 80)

# %% 09.3
slope = (0.70 - 0.50) / (np.log2(80) - np.log2(20))
needed = 2 ** (np.log2(20) + 0.10 / slope)

# %% 09.3
needed = 10 ** np.interp(0.60, [0.30, 0.50, 0.70], np.log10([5, 20, 80]))

# %% 09.3
needed = 40

# %% 09.4
numbers = sum(
    p.numel() for p in nn.Sequential(nn.Linear(384, 8, bias=False), nn.Linear(8, 384, bias=False)).parameters()
)

# %% 09.4
numbers = torch.zeros(8, 384).numel() * 2

# %% 09.4
numbers = 6144.0


# %% 09.5
def guess_words():
    return [xl.MaskedLanguageModeling(on="target")]


def learn_labels():
    return [xl.CrossEntropy()]


stages = (xl.Stage(guess_words, data="target"), xl.Stage(learn_labels, data="source"))

# %% 09.5
stages = []
stages.append(xl.Stage(objectives=lambda: [xl.MaskedLanguageModeling()], data="target", share=2.0, lr=0.3))
stages.append(xl.Stage(data="source", strategy=xl.strategies.full()))

# %% 09.5
stages = xl.Recipe(
    "dapt", (xl.Stage(lambda: (xl.MaskedLanguageModeling(),), data="target"), xl.Stage(data="source"))
).stages

# %% 09.5
stages = xl.Recipe("dapt", (xl.Stage(lambda: [xl.MaskedLanguageModeling()], data="target"), xl.Stage(data="source")))
