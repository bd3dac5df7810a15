from collections import Counter

import numpy as np
import torch

import xferlab as xl

source, target = xl.load("digits/mnist"), xl.load("digits/optdigits")

# %% 00.1
eights = target.train.counts()[8]

# %% 00.1
eights = (target.train.labels == 8).sum()

# %% 00.1
eights = len(target.train[target.train.labels == 8])

# %% 00.1
eights = Counter(target.train.labels.tolist())[8]

# %% 00.1
eights = np.bincount(target.train.labels.numpy())[8]

# %% 00.1
eights = target.train.counts()[8:9]

# %% 00.2
part = target.train
visible = part.unlabeled()

# %% 00.2
visible = xl.Domain(target.train.inputs, None, target.train.classes, name="without labels")

# %% 00.2
visible = target.unlabeled().train if hasattr(target, "unlabeled") else target.train.unlabeled()

# %% 00.3
test_slides = [0, 1]

# %% 00.3
test_slides = (3, 2)

# %% 00.3
test_slides = torch.tensor([0, 1])

# %% 00.3
patient = np.array(["Ana", "Ana", "Ben", "Ben"])
test_slides = np.flatnonzero(patient == "Ben")

# %% 00.3
test_slides = set(range(2))

# %% 00.4
statement = "c"

# %% 00.4
statement = "C: these intervals alone do not say"
