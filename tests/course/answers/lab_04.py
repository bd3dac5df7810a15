import torch
import torch.nn.functional as F
from torch import nn

import xferlab as xl


# %% 04.1
def reversed_gradient(gradient, strength):
    return gradient.neg() * strength


# %% 04.1
def reversed_gradient(g, lam):
    g.mul_(-lam)
    return g


# %% 04.1
reversed_gradient = lambda gradient, strength: torch.mul(gradient, -strength)


# %% 04.1
def reversed_gradient(gradient, strength):
    out = torch.zeros_like(gradient)
    for i in range(len(gradient)):
        out[i] = -gradient[i] * strength
    return out


# %% 04.2
baseline = xl.recipes["source_only_joint_bn"]

# %% 04.2
baseline = " source_only_joint_bn "

# %% 04.3
verdicts = dict(dead="b", won="a", healthy="c")

# %% 04.3
verdicts = {"healthy": "C", "dead": "B", "won": "A"}


# %% 04.4
def origin_loss(logits, origin):
    return nn.BCEWithLogitsLoss()(logits.squeeze(1), origin)


# %% 04.4
def origin_loss(logits, origin):
    z = logits.view(-1)
    return -(origin * F.logsigmoid(z) + (1 - origin) * F.logsigmoid(-z)).mean()


# %% 04.4
def origin_loss(logits, origin):
    return (F.softplus(logits) - logits * origin[:, None]).mean()


# %% 04.4
def origin_loss(logits, origin):
    two = torch.cat([torch.zeros_like(logits), logits], dim=1)
    return F.cross_entropy(two, origin.long())


# %% 04.4
def origin_loss(logits, origin):
    z = logits.flatten()
    return torch.where(origin == 1, F.softplus(-z), F.softplus(z)).sum() / len(z)


# %% 04.4
def origin_loss(logits, origin):
    z = logits[:, 0]
    stable = z.clamp(min=0) - z * origin + torch.log1p(torch.exp(-z.abs()))
    return stable.mean()


# %% 04.4
def origin_loss(logits, origin):
    signs = 2 * origin - 1
    return torch.logaddexp(torch.zeros(()), -signs * logits.squeeze()).mean()
