import math

import numpy as np
import torch

# %% 06.1
density = -math.log10(64 / 256)
reads = 256 * 10 ** (-2 * density)

# %% 06.1
reads = 64 * 64 / 256

# %% 06.1
reads = 256 * torch.exp(2 * torch.log(torch.tensor(64 / 256)))


# %% 06.2
def brighten(images, generator):
    factor = torch.empty(len(images), 1, 1, 1).uniform_(0.8, 1.2, generator=generator)
    return (images * factor).clamp(0, 255).byte()


# %% 06.2
def brighten(images, generator):
    out = torch.empty_like(images)
    for i, image in enumerate(images):
        factor = 0.8 + 0.4 * torch.rand((), generator=generator)
        out[i] = torch.clamp(image.float() * factor, max=255.0).to(torch.uint8)
    return out


# %% 06.2
def brighten(images, generator):
    u = torch.rand(images.shape[0], generator=generator) * (1.2 - 0.8) + 0.8
    bright = torch.einsum("bchw,b->bchw", images.to(torch.float32), u)
    return torch.where(bright > 255, torch.full_like(bright, 255), bright).round().type(torch.uint8)


# %% 06.2
def brighten(images, generator):
    factors = torch.rand(len(images), generator=generator).mul_(0.4).add_(0.8)
    scaled = images / 255 * factors[:, None, None, None]
    return (scaled.clip(0, 1) * 255).to(images.dtype)


# %% 06.2
def brighten(images, generator):
    factors = 0.8 + 0.4 * torch.rand(len(images), 1, 1, 1, generator=generator).numpy()
    bright = np.clip(np.rint(images.numpy() * factors), 0, 255)
    return torch.from_numpy(bright.astype(np.uint8))


# %% 06.2
def brighten(images, generator):
    images.copy_((images * (0.8 + 0.4 * torch.rand(len(images), 1, 1, 1, generator=generator))).clamp(0, 255))
    return images


# %% 06.3
sharp, changed = np.float64(0.90), np.float64(0.82)
erased = sharp - changed

# %% 06.3
erased = round(0.90 - 0.82, 2)

# %% 06.3
erased = abs(torch.tensor(0.82) - torch.tensor(0.90))


# %% 06.4
def mixup(images, labels, partner, weight):
    w = weight[:, None]
    mixed = torch.lerp(images[partner], images, w[:, :, None, None])
    return mixed, torch.lerp(labels[partner], labels, w)


# %% 06.4
def mixup(images, labels, partner, weight):
    x, y = torch.empty_like(images), torch.empty_like(labels)
    for i in range(len(images)):
        j, w = partner[i], weight[i]
        x[i] = w * images[i] + (1 - w) * images[j]
        y[i] = w * labels[i] + (1 - w) * labels[j]
    return [x, y]


# %% 06.4
def mixup(images, labels, partner, weight):
    other, others = images[partner], labels[partner]
    images *= weight.reshape(-1, 1, 1, 1)
    images += (1 - weight).reshape(-1, 1, 1, 1) * other
    labels *= weight.unsqueeze(1)
    labels += (1 - weight).unsqueeze(1) * others
    return images, labels


# %% 06.4
def mixup(images, labels, partner, weight):
    mix = torch.diag(weight)
    mix[torch.arange(len(weight)), partner] += 1 - weight
    return torch.einsum("ij,jchw->ichw", mix, images), mix @ labels


# %% 06.4
def mixup(images, labels, partner, weight):
    def blend(x):
        w = weight.view(-1, *[1] * (x.dim() - 1))
        return x[partner] + w * (x - x[partner])

    return blend(images), blend(labels)


# %% 06.5
left, right = max(0, 8 - 16), min(64, 8 + 16)
own = 1 - (right - left) * 32 / (64 * 64)

# %% 06.5
mask = torch.zeros(64, 64)
mask[16:48, 0:24] = 1
own = 1 - mask.mean()

# %% 06.5
own = 0.81

# %% 06.5
own = 13 / 16

# %% 06.6
left_out = {"a": 0.71, "b": 0.84, "c": 0.66}
expected, worst_case = sum(left_out.values()) / 3, left_out["c"]

# %% 06.6
expected, worst_case = 0.74, 0.66

# %% 06.6
left_out = torch.tensor([0.71, 0.84, 0.66])
expected, worst_case = left_out.mean(), left_out.min()
