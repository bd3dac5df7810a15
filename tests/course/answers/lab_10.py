import numpy as np
import torch
from scipy.stats import ttest_rel

import xferlab as xl

lower = [0.61, 0.70, 0.55, 0.66, 0.63]
upper = [0.64, 0.74, 0.58, 0.70, 0.65]

# %% 10.1
plan = {
    "report": "target.test",
    "choose": ["target.train", "source.val"],
    "train": ("target.train", "source.train"),
}

# %% 10.1
plan = dict(train={"source.train", "target.train"}, choose={"source.val", "target.train"}, report={"target.test"})

# %% 10.1
seen = frozenset(["target.train"])
plan = {"train": seen | {"source.train"}, "choose": seen | {"source.val"}, "report": frozenset(["target.test"])}

# %% 10.2
gain, separated = 0.032, True

# %% 10.2
d = np.array(upper) - np.array(lower)
half = 2.776 * d.std(ddof=1) / np.sqrt(5)
gain, separated = d.mean(), not (d.mean() - half < 0 < d.mean() + half)

# %% 10.2
gain = np.mean(upper) - np.mean(lower)
separated = ttest_rel(upper, lower).pvalue < 0.05

# %% 10.2
found = xl.evaluation.gain([a - b for a, b in zip(upper, lower)])
gain, separated = found["gain"], found["verdict"] == "separated"

# %% 10.2
d = torch.tensor(upper) - torch.tensor(lower)
gain, separated = d.mean(), d.mean() - 2.776 * d.std() / 5**0.5 > 0


# %% 10.3
def first():
    return [xl.CrossEntropy()]


def second():
    return [xl.MMD(), xl.CrossEntropy()]


one = xl.Stage(objectives=first, data="source", share=0.7)
two = xl.Stage(objectives=second, share=0.3, lr=0.3)
mine = xl.Recipe("mine", (one, two))

# %% 10.3
mine = xl.Recipe(
    name="mine",
    stages=[
        xl.Stage(data="source", share=7 / 10, lr=1),
        xl.Stage(lambda: (xl.CrossEntropy(), xl.MMD(1.0)), data="both", share=1 - 0.7, lr=0.3),
    ],
    about="source first, then both",
)

# %% 10.3
stages = [xl.Stage(lambda: [xl.CrossEntropy()], data="source", share=0.7)]
stages += [xl.Stage(lambda: [xl.CrossEntropy(), xl.MMD()], share=0.3, lr=0.3)]
mine = xl.Recipe("mine", tuple(stages), "two stages")

# %% 10.4
claims = "ad"

# %% 10.4
claims = ["A", "D"]

# %% 10.4
claims = "a, d"

# %% 10.4
claims = ("d", "a")
