"""Learning features without labels: contrast, rotation, masked pixels. Each has its own head and leaves the model's alone."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..domains import Domain
from ..encoders import recording
from ..encoders.base import evaluation_mode
from .objective import Objective, one_side


def nt_xent(za: Tensor, zb: Tensor, temperature: float = 0.5) -> Tensor:
    """Normalized temperature-scaled cross-entropy of two views `(B, D)` each, row i of one matching row i of the other.

    Over all 2B vectors, `mean_i -log exp(s_ij / T) / sum_{k != i} exp(s_ik / T)` with s the cosine similarity and j the
    other view of i. Chen et al., 2020, arXiv:2002.05709, equation 1.
    """
    with torch.autocast(za.device.type, enabled=False):
        z = F.normalize(torch.cat([za, zb]), dim=1)
        similarity = (z @ z.T / temperature).fill_diagonal_(float("-inf"))
        other = torch.arange(len(z), device=z.device).roll(len(za))
        return F.cross_entropy(similarity, other)


class SimCLR(Objective):
    """Two views of an image lie near each other and far from all other images, see `nt_xent`.

    Chen et al., 2020, arXiv:2002.05709. The views are the step's own inputs and `step.view(view, on)`, so give `fit` a
    strong augmentation: then both views are strong, as in the paper. They pass a projection head of the objective's own
    (D to D to `dim`), which is dropped afterwards. Needs no labels.

    Parameters
    ----------
    weight
        Factor in the loss.
    temperature
        Divides cosine similarities.
    dim
        Of the projection.
    view
        Name of the second view.
    on
        "source" or "target".

    Raises
    ------
    ArgumentError
        For a temperature that is not above 0, a width below 1, or another side.

    Examples
    --------
    >>> run = xl.fit(model, source.train, objectives=[xl.SimCLR()], steps=1, augment=xl.augment.strong(28, "digits"))
    >>> run.history[0]["SimCLR"] > 0
    True
    """

    def __init__(
        self, weight: float = 1.0, *, temperature: float = 0.5, dim: int = 128, view: str = "strong", on: str = "source"
    ):
        super().__init__(weight)
        self.expect(temperature > 0 and dim >= 1, "above 0, and 1 or more", temperature=temperature, dim=dim)
        self.temperature, self.dim, self.view, self.on = temperature, dim, view, on
        self.needs = one_side(self, on)

    def setup(self, model, source, target):
        d = model.encoder.dim
        self.projection = nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, self.dim))

    def forward(self, step):
        views = getattr(step, self.on), step.view(self.view, self.on)
        za, zb = (self.projection(batch.features).float() for batch in views)
        return nt_xent(za, zb, self.temperature)


def rotate(images: Tensor, copies: int = 4) -> tuple[Tensor, Tensor]:
    """Square images `(B, C, H, H)` turned by quarters anticlockwise: `(copies * B, C, H, H)` and the turns, int64.

    Copy c of image i is turned `(i + c) mod 4` times: with 4 copies every image is seen in every rotation, with 1 a
    batch still holds the rotations in equal numbers.
    """
    index = torch.arange(len(images), device=images.device)
    turns = torch.cat([(index + c) % 4 for c in range(copies)])
    turned = torch.stack([images.rot90(turn, (2, 3)) for turn in range(4)])
    return turned[turns, index.repeat(copies)], turns


class RotationPrediction(Objective):
    """Which quarter turn was this image given? Cross-entropy of an own 4-way linear head on the features.

    Gidaris et al., 2018, arXiv:1803.07728, equation 3. Rotates the step's inputs and makes its own forward pass over
    `copies` rotations of each: 4 is the paper's, 1 costs a quarter. Needs no labels, but images with an up side: cells
    under a microscope have none. Logs the accuracy, 0.25 by chance.

    Parameters
    ----------
    weight
        Factor in the loss.
    copies
        Rotations of each image a step, 1 to 4.
    on
        "source" or "target".

    Raises
    ------
    ArgumentError
        For other numbers of copies, texts, or images that are not square.

    Examples
    --------
    >>> run = xl.fit(model, source.train, objectives=[xl.RotationPrediction(copies=1)], steps=1)
    >>> 0 <= run.history[0]["RotationPrediction.accuracy"] <= 1
    True
    """

    def __init__(self, weight: float = 1.0, *, copies: int = 4, on: str = "source"):
        super().__init__(weight)
        self.expect(copies in (1, 2, 3, 4), "1 to 4", copies=copies)
        self.copies, self.on = copies, on
        self.needs = one_side(self, on)

    def setup(self, model, source, target):
        images = _images(self, source if self.on == "source" else target)
        height, width = images.shape[2:]
        self.expect(height == width, "square ones", images=f"{height}x{width}")
        self.head = nn.Linear(model.encoder.dim, 4)

    def forward(self, step):
        rotated, turns = rotate(getattr(step, self.on).inputs, self.copies)
        logits = self.head(step.model.features(rotated)).float()
        self._log = {"accuracy": (logits.detach().argmax(dim=1) == turns).float().mean()}
        return F.cross_entropy(logits, turns)


def patch_mask(images: Tensor, patch: int, ratio: float) -> Tensor:
    """1 on hidden pixels, `(B, 1, H, W)`: in each image `round(ratio * n)` of its n square patches, drawn at random."""
    b, _, h, w = images.shape
    rows, columns = -(-h // patch), -(-w // patch)
    rank = torch.rand(b, rows * columns, device=images.device).argsort(dim=1).argsort(dim=1)
    hidden = (rank < round(ratio * rows * columns)).to(images.dtype).view(b, 1, rows, columns)
    return hidden.repeat_interleave(patch, dim=2).repeat_interleave(patch, dim=3)[:, :, :h, :w]


class MaskedAutoencoder(Objective):
    """Hides patches of the encoder's input and reconstructs their pixels, `sum m (x' - x)^2 / sum m`, m the mask.

    The idea of He et al., 2022, arXiv:2111.06377, in a small convolutional form: a convolution cannot skip hidden
    patches, so they are set to 0 (the mean, once normalized), and a decoder of two convolutions reads the map of the last
    block with one of 4x4 or more (with any, where there is none), to which the final features are added at every place, so that
    the layers after it learn too. Pixels are the normalized ones that the encoder sees. Needs images and no labels.

    Parameters
    ----------
    weight
        Factor in the loss.
    ratio
        Share of patches that are hidden.
    patch
        Pixels a side.
    width
        Channels of the decoder.
    on
        "source" or "target".

    Raises
    ------
    ArgumentError
        For a ratio outside 0 to 1, patches that do not fit, texts, or an encoder without maps.

    Examples
    --------
    >>> objective = xl.MaskedAutoencoder(patch=7, width=16)
    >>> xl.fit(model, source.train, objectives=[objective], steps=1).history[0]["MaskedAutoencoder"] > 0
    True
    """

    def __init__(
        self, weight: float = 1.0, *, ratio: float = 0.6, patch: int = 8, width: int = 128, on: str = "source"
    ):
        super().__init__(weight)
        self.expect(0 < ratio < 1, "above 0 and below 1", ratio=ratio)
        self.expect(min(patch, width) >= 1, "1 or more", patch=patch, width=width)
        self.ratio, self.patch, self.width, self.on = ratio, patch, width, on
        self.needs = one_side(self, on)

    def setup(self, model, source, target):
        images = _images(self, source if self.on == "source" else target)[:2]
        encoder = model.encoder
        x = encoder.prepare(images.to(model.head.weight.device))
        with torch.no_grad(), evaluation_mode(encoder), recording(encoder) as seen:
            encoder.body(x)
        maps = {name: out.shape[1:] for name, (*_, out) in seen.items() if out.ndim == 4}
        self.expect(bool(maps), "one that puts out a map (B, C, h, w)", blocks=list(seen))
        self.map = ([name for name, shape in maps.items() if min(shape[1:]) >= 4] or list(maps))[-1]
        c, h, w = maps[self.map]
        scale = max(-(-x.shape[2] // h), -(-x.shape[3] // w))
        self.from_map, self.from_features = nn.Conv2d(c, self.width, 1), nn.Linear(encoder.dim, self.width)
        to_pixels = nn.Conv2d(self.width, x.shape[1] * scale**2, 3, padding=1)
        self.decoder = nn.Sequential(nn.ReLU(), to_pixels, nn.PixelShuffle(scale))

    def forward(self, step):
        encoder = step.model.encoder
        x = encoder.prepare(getattr(step, self.on).inputs)
        mask = patch_mask(x, self.patch, self.ratio)
        with recording(encoder, [self.map]) as seen:
            features = encoder.body(x * (1 - mask))
        hidden = self.from_map(seen[self.map][-1]) + self.from_features(features)[:, :, None, None]
        pixels = self.decoder(hidden).float()
        if pixels.shape != x.shape:
            pixels = F.interpolate(pixels, x.shape[2:], mode="bilinear", align_corners=False)
        return masked_error(pixels, x, mask)


def masked_error(pixels: Tensor, images: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over the hidden pixels alone: `(B, C, H, W)` twice and a mask `(B, 1, H, W)`."""
    return ((pixels - images).square() * mask).sum() / (mask.sum() * images.shape[1])


def _images(objective: Objective, domain: Domain) -> Tensor:
    objective.expect(domain.is_image, "images, not token ids", domain=domain.name)
    return domain.inputs
