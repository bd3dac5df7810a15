"""`cells/site-a|b|c`: rendered blood smears, a synthetic twin of BloodMNIST with its eight classes.

A scene is laid out in micrometers, stained in optical density by the Beer-Lambert law, I = I0 exp(-sum_s c_s v_s), with
four dyes (the purple azure-eosin complex of nuclei, azure blue, eosin, haemoglobin), and photographed: focus, uneven
light, noise, sharpening, JPEG. What makes a class (nuclear shape, nucleus to cytoplasm ratio, chromatin, granules) is the
same everywhere; what makes a laboratory (dyes, background, magnification, focus, crowding, camera) is in `SITES`.
Synthetic: not for clinical use.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral, Real

import numpy as np
import torch
from torchvision.io import decode_jpeg, encode_jpeg

from ..errors import ArgumentError
from ..storage import cache_folder, kept_arrays
from .domain import Domain, Splits

VERSION = 2  # part of every cache file's name: raise it whenever a pixel changes
CHUNK = 8  # images rendered together: their planes fit a processor's cache
SLIDES = {"train": 6, "val": 2, "test": 4}

SITES = ("site-a", "site-b", "site-c")
LABORATORY = {  # dyes are optical densities (R, G, B) at unit concentration, lengths are micrometers
    "background": ((240, 223, 200), (203, 207, 200), (226, 206, 222)),
    "purple": ((0.90, 1.45, 0.42), (0.60, 1.05, 0.13), (0.98, 1.18, 0.42)),
    "azure": ((0.58, 0.38, 0.07), (0.62, 0.42, 0.02), (0.60, 0.36, 0.10)),
    "eosin": ((0.07, 0.60, 0.44), (0.12, 0.52, 0.28), (0.10, 0.75, 0.30)),
    "haemoglobin": ((0.09, 0.34, 0.27), (0.13, 0.30, 0.27), (0.24, 0.42, 0.20)),
    "field": (22.0, 17.5, 26.0),  # side of a standard crop
    "blur": (0.36, 0.48, 0.52),  # width of a soft edge at good focus
    "spacing": (7.6, 8.6, 6.8),  # between red cells
    "contrast": (1.0, 0.95, 1.15),
    "sharpen": (0.25, 0.0, 0.6),
    "shade": (0.05, 0.08, 0.14),  # unevenness of the light
    "noise": (2.0, 3.0, 4.0),  # gray levels
    "quality": (90, 80, 68),  # JPEG
}

# Lobes along an arc of some radius and span (degrees from first to last), for a share of the class. Lengths are fractions
# of the cell's radius, pairs uniform ranges. fuse: how far lobes melt together; bridge: half-width of the strand between.
Nucleus = namedtuple("Nucleus", "share lobes arc span size aspect fuse bridge offset", defaults=(0.1, 0.0, 0.1))

# Pairs are uniform ranges: the radius in micrometers, then concentrations of dyes in nucleus, cytoplasm and granules.
# pitch: between granules; cover: how much of the nucleus they hide; clump, coarse: size and contrast of chromatin clumps.
DYES = ("purple", "azure", "eosin", "haemoglobin")
Look = namedtuple("Look", "nuclei radius chromatin purple azure eosin haemoglobin granule_purple granule_eosin "
    "pitch cover clump coarse ragged", defaults=(1.0, 0.0, 1.2, 0.35, 0.7))  # fmt: skip
NONE = (0, 0)
LOOKS = {
    "basophil": Look(
        (Nucleus(0.6, 2, (0.26, 0.40), (110, 190), (0.40, 0.50), (0.75, 1), 0.25, 0.20, 0.12),
         Nucleus(0.4, 3, (0.32, 0.45), (150, 250), (0.34, 0.44), (0.75, 1), 0.25, 0.20, 0.12)),
        (5.2, 7.0), (0.60, 0.90), (0.10, 0.22), (0, 0.15), (0.05, 0.18), NONE, (0.5, 1.2), (0, 0.1), 1.1, 0.6, 1.5, 0.3, 0.8),
    "eosinophil": Look(
        (Nucleus(0.8, 2, (0.40, 0.54), (95, 170), (0.34, 0.45), (0.6, 1), 0.08, 0.08),
         Nucleus(0.2, 3, (0.42, 0.54), (140, 230), (0.27, 0.36), (0.6, 1), 0.08, 0.08)),
        (6.0, 8.2), (0.75, 1.05), (0, 0.06), (0, 0.12), (0.2, 0.4), NONE, (0, 0.08), (0.5, 1.2), 0.85, 0.15, 1.3, 0.4),
    "erythroblast": Look((Nucleus(1.0, 1, NONE, NONE, (0.50, 0.72), (0.9, 1), offset=0.16),),
        (4.0, 6.0), (1.15, 1.60), (0, 0.08), (0.05, 0.75), (0, 0.2), (0.1, 1.0), NONE, NONE, coarse=0.4, ragged=0.6),
    "immature granulocytes": Look(
        (Nucleus(0.65, 1, NONE, NONE, (0.60, 0.76), (0.72, 0.95), offset=0.24),
         Nucleus(0.35, 3, (0.34, 0.46), (90, 150), (0.42, 0.52), (0.8, 1), 0.30, 0.30)),
        (6.6, 9.4), (0.62, 0.92), (0.06, 0.16), (0.12, 0.5), (0.05, 0.25), NONE, (0.03, 0.4), (0, 0.15), 0.7, 0.35, 0.9, 0.28, 0.8),
    "lymphocyte": Look(
        (Nucleus(0.75, 1, NONE, NONE, (0.78, 0.93), (0.86, 1)),
         Nucleus(0.25, 2, (0.22, 0.30), (80, 120), (0.66, 0.74), (0.85, 1), 0.20, 0.30, 0.06)),
        (4.3, 6.8), (0.85, 1.25), (0, 0.06), (0.25, 0.8), (0, 0.08), NONE, (0, 0.08), NONE, 1.2, 0.0, 1.9, 0.35, 0.8),
    "monocyte": Look(
        (Nucleus(0.55, 3, (0.36, 0.48), (120, 200), (0.32, 0.42), (0.75, 1), 0.25, 0.30),
         Nucleus(0.25, 4, (0.34, 0.46), (180, 270), (0.28, 0.38), (0.7, 1), 0.25, 0.25, 0.12),
         Nucleus(0.20, 2, (0.22, 0.34), (90, 150), (0.44, 0.54), (0.75, 1), 0.20, 0.30, 0.14)),
        (7.0, 9.8), (0.55, 0.85), (0.08, 0.18), (0.15, 0.45), (0.02, 0.15), NONE, (0, 0.14), (0, 0.08), 0.7, 0.1, 0.9, 0.3, 1.1),
    "neutrophil": Look(
        (Nucleus(0.08, 2, (0.34, 0.50), (110, 180), (0.37, 0.46), (0.55, 0.9), 0.08, 0.09),
         Nucleus(0.30, 3, (0.38, 0.54), (130, 230), (0.32, 0.43), (0.5, 1), 0.08, 0.08),
         Nucleus(0.27, 4, (0.40, 0.56), (180, 290), (0.28, 0.37), (0.5, 1), 0.08, 0.08),
         Nucleus(0.13, 5, (0.42, 0.56), (230, 310), (0.24, 0.31), (0.5, 1), 0.07, 0.07),
         Nucleus(0.22, 5, (0.42, 0.54), (150, 250), (0.25, 0.32), (0.85, 1), 0.16, 0.20)),  # a band form
        (5.8, 7.8), (0.75, 1.10), (0.03, 0.1), (0, 0.12), (0.08, 0.32), NONE, (0.02, 0.2), (0.02, 0.25), 0.7, 0.1, 1.3, 0.42),
    "platelet": Look((Nucleus(1.0, 1, NONE, NONE, (0.40, 0.60), (0.8, 1)),),  # not a nucleus: where its granules gather
        (1.1, 2.6), NONE, (0.1, 0.45), (0.08, 0.4), (0, 0.12), NONE, (0.2, 0.9), (0, 0.1), 0.75, 1.0, ragged=1.3),
}  # fmt: skip
CLASSES = tuple(LOOKS)
LOOK = {name: np.array([getattr(look, name) for look in LOOKS.values()], np.float32) for name in Look._fields[1:]}
FORMS = [form for look in LOOKS.values() for form in look.nuclei]
FORM = {name: np.array([getattr(form, name) for form in FORMS], np.float32) for name in Nucleus._fields}
# row k: a hundred indices into FORMS, as many of each of class k's as its share says
HUNDRED = np.repeat(np.arange(len(FORMS)), [round(100 * form.share) for form in FORMS]).reshape(len(CLASSES), 100)
MAX_LOBES = max(form.lobes for form in FORMS)


class Draws:
    """Random numbers of n keys, column by column: what an image gets depends on its own key only."""

    def __init__(self, keys: list[tuple[int, ...]], columns: int = 400):
        self.generators = [np.random.Generator(np.random.SFC64(np.random.SeedSequence(key))) for key in keys]
        self.pool, self.used = self.fill("random", columns), 0

    def fill(self, law: str, *shape: int) -> np.ndarray:
        """A fresh `(n, *shape)` from the generators' method `law`."""
        return np.stack([getattr(generator, law)(shape, dtype=np.float32) for generator in self.generators])

    def __call__(self, low=0.0, high=1.0, k: int = 0) -> np.ndarray:
        """Uniform in [low, high): `(n,)`, or `(n, k)`."""
        u = self.pool[:, self.used : self.used + (k or 1)]
        self.used += k or 1
        return low + (high - low) * (u if k else u[:, 0])

    def around(self, spread: float, k: int = 0) -> np.ndarray:
        """Humped about 1, within exp(+-2 spread)."""
        return np.exp(spread * (self(-1.0, 1.0, k) + self(-1.0, 1.0, k)))


def _plane(v: np.ndarray) -> np.ndarray:
    """`(n,)` made to fit `(n, H, W)`."""
    return v[:, None, None]


def _soft(depth: np.ndarray, width: np.ndarray) -> np.ndarray:
    """From 0 outside to 1 inside: a smooth step, `width` wide, where the depth (positive inside) is 0."""
    t = np.clip(depth / _plane(width) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def _cell_of(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """Integer cell of a periodic 32 x 32 lattice, and where in it: column, row, x and y in 0..1."""
    fx, fy = np.floor(x), np.floor(y)
    return fx.astype(np.int64) & 31, fy.astype(np.int64) & 31, x - fx, y - fy


def _read(lattice: np.ndarray, column: np.ndarray, row: np.ndarray) -> np.ndarray:
    # never outside: "clip" skips the check
    return np.take(lattice.reshape(-1), row * 32 + column + _plane(np.arange(len(lattice)) * 1024), mode="clip")


def _smooth_noise(lattice: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """-1..1 at x, y in units of an `(n, 32, 32)` lattice of numbers in 0..1."""
    column, row, fx, fy = _cell_of(x, y)
    right, below = (column + 1) & 31, (row + 1) & 31
    fx *= fx * (3 - 2 * fx)
    fy *= fy * (3 - 2 * fy)
    top, low = _read(lattice, column, row), _read(lattice, column, below)
    top += fx * (_read(lattice, right, row) - top)
    low += fx * (_read(lattice, right, below) - low)
    return 2 * (top + fy * (low - top)) - 1


def _spots(lattice: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """0..1: a round spot in each cell of the lattice, whose numbers give its place, size and weight."""
    column, row, fx, fy = _cell_of(x, y)
    u, v = _read(lattice, column, row), _read(lattice, column ^ 21, row ^ 10)
    dx, dy = fx - 0.32 - 0.36 * u, fy - 0.32 - 0.36 * v
    return np.clip(1.05 - 0.9 * u * v - (dx * dx + dy * dy) * (3 + 7 * np.abs(u - v)), 0, 1)


def _nucleus(draw: Draws, x: np.ndarray, y: np.ndarray, labels: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Depth inside the nucleus, micrometers: a smooth union of lobes along an arc and the strands between them."""
    form = HUNDRED[labels, (100 * draw()).astype(int)]

    def within(name: str, k: int = 0) -> np.ndarray:
        low, high = FORM[name][form].T[:, :, None] if k else FORM[name][form].T
        return draw(low, high, k)

    lobes, arc, span = FORM["lobes"][form], within("arc") * radius, np.deg2rad(within("span"))
    fuse, bridge = _plane(FORM["fuse"][form] * radius), _plane(FORM["bridge"][form] * radius * draw(0.7, 1.3))
    size, stretch = within("size", MAX_LOBES) * radius[:, None], np.sqrt(within("aspect", MAX_LOBES))
    place = np.arange(MAX_LOBES, dtype=np.float32) / np.maximum(lobes - 1, 1)[:, None] - 0.5
    turn = span[:, None] * (place + draw(-0.08, 0.08, MAX_LOBES) * (lobes > 2)[:, None])
    along = arc[:, None] * draw(0.7, 1.2, MAX_LOBES)
    away, aside = FORM["offset"][form] * radius * draw(), draw(0, 2 * np.pi)
    cx = along * np.cos(turn) + (away * np.cos(aside) - 0.25 * arc)[:, None]
    cy = along * np.sin(turn) + (away * np.sin(aside))[:, None]
    tilt = turn + draw(-0.6, 0.6, MAX_LOBES)
    cos, sin = np.cos(tilt), np.sin(tilt)
    total = np.full_like(x, -1e3)
    for i in range(int(lobes.max())):
        dx, dy = x - _plane(cx[:, i]), y - _plane(cy[:, i])
        u = (_plane(cos[:, i]) * dx + _plane(sin[:, i]) * dy) / _plane(stretch[:, i])
        v = (_plane(cos[:, i]) * dy - _plane(sin[:, i]) * dx) * _plane(stretch[:, i])
        parts = [_plane(size[:, i]) - np.sqrt(u * u + v * v)]
        if i:
            ex, ey = _plane(cx[:, i] - cx[:, i - 1]), _plane(cy[:, i] - cy[:, i - 1])
            t = np.clip((ex * dx + ey * dy) / (ex * ex + ey * ey + 1e-6) + 1, 0, 1) - 1
            parts.append(bridge - np.sqrt((dx - t * ex) ** 2 + (dy - t * ey) ** 2))
        for part in parts:
            part -= _plane(np.where(i < lobes, np.float32(0), np.float32(2e3)))
            h = np.maximum(fuse - np.abs(total - part), 0)
            total = np.maximum(total, part) + h * h / (4 * fuse)
    return total


HEX = np.array([(a + b / 2, b * 3**0.5 / 2) for a in range(-3, 4) for b in range(-3, 4)], np.float32)
HEX = HEX[np.argsort((HEX**2).sum(1).round(3), kind="stable")[:19]].T  # a hexagonal lattice: the middle and two rings


def _red_cells(draw: Draws, x, y, radius, spacing, field, width) -> np.ndarray:
    """Haemoglobin of biconcave discs on a jittered lattice, pushed outwards by the cell; where they overlap it adds up."""
    k = HEX.shape[1]
    px, py = (spacing[:, None] * (axis + draw(-0.5, 0.5, 1) + draw(-0.22, 0.22, k)) for axis in HEX)
    r = draw(3.2, 4.0, 1) * draw.around(0.06, k)
    away = np.sqrt(px * px + py * py) + 1e-3
    push = np.sqrt(1 + ((radius[:, None] + r * draw(0.75, 1.05, k)) / away) ** 2)  # keeps area, as a crowd does
    px, py = px * push, py * push
    shown = (draw(0, 1, k) > draw(0, 0.45, 1)) & (np.maximum(np.abs(px), np.abs(py)) < 0.75 * field[:, None] + r)
    tilt, stretch = draw(0, np.pi, k), np.sqrt(draw(0.72, 1, k))
    cos, sin = np.cos(tilt), np.sin(tilt)
    pallor, hole = draw(0.2, 0.9, 1) * draw(0.8, 1.1, k), draw(0.35, 0.95, 1) * draw(0.85, 1.15, k) * r * r
    strength = draw.around(0.08, k)
    total = np.zeros_like(x)
    for i in range(k):
        rows = np.flatnonzero(shown[:, i])
        of = lambda v: v[rows, i, None, None]
        dx, dy = x[rows] - of(px), y[rows] - of(py)
        u, v = of(cos * stretch) * dx + of(sin * stretch) * dy, of(cos / stretch) * dy - of(sin / stretch) * dx
        u *= u
        u += v * v  # squared distance from the center
        pale = np.clip(1 - u / of(hole), 0, 1)
        disc = _soft(of(r) - np.sqrt(u, out=u), width[rows])
        total[rows] += of(strength) * disc * (1 - of(pallor) * pale * pale)
    return total


def _neighbors(draw: Draws, x, y, radius, field, width) -> np.ndarray:
    """Purple of what else lies about: other platelets, now and then another nucleus at the edge."""
    total = np.zeros_like(x)
    for chance, low, high, strength in ((0.3, 0.8, 1.6, 0.5), (0.15, 0.8, 1.4, 0.4), (0.08, 3.5, 5.0, 0.9)):
        rows, r, turn = np.flatnonzero(draw() < chance), draw(low, high), draw(0, 2 * np.pi)
        away = radius + r + draw(0.3, 1.0) * np.maximum(field * 0.62 - radius, 0.5)
        density = strength * draw.around(0.15)
        dx, dy = x[rows] - _plane(away * np.cos(turn))[rows], y[rows] - _plane(away * np.sin(turn))[rows]
        total[rows] += _plane(density)[rows] * _soft(_plane(r)[rows] - np.sqrt(dx * dx + dy * dy), 2 * width[rows])
    return total


def _scene(labels: np.ndarray, lab: dict, keys: list, slide_keys: list, size: int) -> np.ndarray:
    """uint8 `(n, 3, size, size)`, one image a key."""
    draw, slide = Draws(keys), Draws(slide_keys, 64)
    fixed = lambda name: LOOK[name][labels]
    look = lambda name: _plane(draw(*fixed(name).T))
    platelet = labels == CLASSES.index("platelet")
    if_platelet = lambda yes, no: np.where(platelet, np.float32(yes), np.float32(no))
    # framing: a standard crop of the smear, or a detector's tight box enlarged
    radius, tight = draw(*fixed("radius").T), draw() < 0.3
    standard = np.maximum(lab["field"] * slide.around(0.03) * draw.around(0.09), 2 * radius)
    field = np.where(tight, 2 * radius * draw(1.08, 1.6) * if_platelet(1.6, 1), standard)
    focus = lab["blur"] * slide.around(0.1) * np.exp(2 * draw(-0.3, 0.6) ** 2) * draw(0.8, 1.2)
    width = np.maximum(focus * np.where(tight, draw(1, 1.5), 1).astype(np.float32), 0.9 * field / size)
    t, angle = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5, draw(0, 2 * np.pi)
    cos, sin = _plane(field * np.cos(angle)), _plane(field * np.sin(angle))
    x = cos * t + sin * t[:, None] + _plane(field * draw(-0.05, 0.05))
    y = cos * t[:, None] - sin * t + _plane(field * draw(-0.05, 0.05))
    spacing = lab["spacing"] * slide.around(0.04) * draw.around(0.08)
    # bending space makes every outline irregular
    bend, lattice = _plane(fixed("ragged") * draw(0.4, 1.2)), [draw.fill("random", 32, 32) for _ in range(5)]
    x, y = (axis + 0.8 * bend * _smooth_noise(lattice[i], x / 4.5, y / 4.5) for i, axis in enumerate((x, y)))
    fine = _smooth_noise(lattice[2], x / 1.3, y / 1.3)
    stretch = _plane(np.sqrt(draw(if_platelet(0.55, 0.75), 1)))
    cell_depth = _plane(radius) - np.sqrt((x * stretch) ** 2 + (y / stretch) ** 2) + 0.2 * bend * fine
    clump = _plane(fixed("clump") * draw(0.8, 1.25))
    texture = _smooth_noise(lattice[3], x / clump, y / clump)
    depth = np.minimum(_nucleus(draw, x, y, labels, radius) + 0.12 * bend * texture, cell_depth - _plane(0.03 * radius))
    inner, rim = _soft(depth - 0.7, 2 * width), _soft(cell_depth - 1, 4 * width)
    cell, nucleus = _soft(cell_depth, width), _soft(depth, width)
    # matter: chromatin with a darker membrane, cytoplasm thicker at its rim, granules
    texture = np.clip(1.5 * texture + 0.9 * fine, -1, 1)
    clumped = 1 + _plane(fixed("coarse") * draw(0.6, 1.3)) * texture
    chromatin = nucleus * look("chromatin") * clumped * (1.12 - 0.24 * inner)
    cytoplasm = (cell - nucleus) * (1 + 0.25 * fine) * (1.1 - 0.25 * rim)
    pitch = _plane(fixed("pitch") * draw(0.8, 1.25))
    gx, gy = x / pitch + 0.5 * texture, y / pitch + 0.5 * fine
    grain = _spots(lattice[3], gx, gy) + _spots(lattice[4], 0.8 * gx - 0.6 * gy + 0.5, 0.6 * gx + 0.8 * gy)
    grain = (0.3 + 0.7 * grain) * (1 + 0.35 * fine) * (cell - _plane(1 - fixed("cover")) * nucleus)
    grain[platelet] *= 0.2 + nucleus[platelet]
    cytoplasm[platelet] += nucleus[platelet]
    amounts = [cytoplasm * look(dye) for dye in DYES]
    amounts[0] += chromatin + grain * look("granule_purple") + _neighbors(draw, x, y, radius, field, width)
    amounts[2] += grain * look("granule_eosin")
    amounts[3] += _red_cells(draw, x, y, radius, spacing, field, width) * (1 - 0.75 * cell)
    image = _stain(draw, slide, lab, amounts)
    image = _photograph(draw, image, lab, lab["field"] / field)
    # a box that reaches over the edge of the scan is padded with black
    side, part = draw(0, 4).astype(int), draw(0.03, 0.25)
    for i in np.flatnonzero(tight & (draw() < 0.15)):
        np.rot90(image[i], side[i], (1, 2))[:, : round(size * part[i])] = 0
    return image


def _stain(draw: Draws, slide: Draws, lab: dict, amounts: list) -> np.ndarray:
    """Light that amounts of `DYES`, `(n, H, W)` each, let through: `(n, 3, H, W)`. Slides and cells take dyes unevenly."""
    strength = slide.around(0.08) * draw.around(0.1)
    light = lab["background"] / 255 * slide.around(0.012, 3) * draw.around(0.015, 3) * draw.around(0.02, 1)
    colors = []
    for dye in DYES:
        taken = (strength * slide.around(0.05) * draw.around(0.07))[:, None]
        colors.append(lab[dye] * slide.around(0.06, 3) * draw.around(0.04, 3) * taken)
    density = lambda i: sum(_plane(color[:, i]) * amount for color, amount in zip(colors, amounts, strict=True))
    return np.stack([_plane(light[:, i]) * np.exp(-density(i)) for i in range(3)], 1)


def _photograph(draw: Draws, image: np.ndarray, lab: dict, zoom: np.ndarray) -> np.ndarray:
    """Uneven light, contrast, blur or sharpening, noise, JPEG: float `(n, 3, H, W)` 0..1 -> uint8 of that shape."""
    size = image.shape[-1]
    t = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    slope, edge = draw(-2, 2, 2) * lab["shade"], draw(0, 2) * lab["shade"]
    light = 1 + _plane(slope[:, 0]) * t[:, None] + _plane(slope[:, 1]) * t - _plane(edge) * (t[:, None] ** 2 + t**2)
    image = (image * light[:, None] - 0.6) * _plane(lab["contrast"] * draw.around(0.05))[:, None] + 0.6
    # one small blur serves as resampling (tight boxes are enlarged) and, with its sign turned, as sharpening
    wide = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    wide = wide[:, :, :-2] + wide[:, :, 2:] + 2 * wide[:, :, 1:-1]
    wide = (wide[..., :-2] + wide[..., 2:] + 2 * wide[..., 1:-1]) / 16
    amount = np.minimum(draw(0.0, 0.6) - lab["sharpen"] + np.float32(0.7) * (zoom > 1.6), 1)
    image += _plane(amount)[:, None] * (wide - image)
    noise = draw.fill("standard_normal", 3, size, size)
    noise += 0.8 * noise[:, 1:2]  # mostly gray
    image += _plane(lab["noise"] * draw(0.3, 1.1) / 255 / np.maximum(zoom, 1))[:, None] * noise
    pixels = torch.from_numpy(np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8))
    quality = np.clip(lab["quality"] + draw(-8, 8), 30, 96).astype(int).tolist()
    return np.stack([decode_jpeg(encode_jpeg(picture, q)).numpy() for picture, q in zip(pixels, quality, strict=True)])


def _slide(n: int, split: str) -> np.ndarray:
    """Which of the split's slides images 0..n-1 are on: a cell of each class on one, then the next, and round again."""
    return np.arange(n) // len(CLASSES) % SLIDES[split]


def render(
    labels, site: str = "site-a", shift: float = 1.0, size: int = 64, seed: int = 0, split: str = "train"
) -> torch.Tensor:
    """uint8 `(N, 3, size, size)`: image i shows one cell of class `labels[i]`, 0..7 in the order of `CLASSES`.

    Image i depends on its label, the laboratory, the size and (seed, site, split, i) only: more labels add images and
    change none, with any number of threads. `load` checks what it takes.
    """
    labels, at = np.asarray(labels), SITES.index(site)
    both = {name: np.array([values[0], values[at]], np.float32) for name, values in LABORATORY.items()}
    lab = {name: np.maximum(home + float(shift) * (away - home), 0) for name, (home, away) in both.items()}
    where = (int(seed), at, list(SLIDES).index(split))
    keys = [(*where, 0, i) for i in range(len(labels))]
    slide_keys = [(*where, 1, int(i)) for i in _slide(len(labels), split)]

    def work(start: int) -> np.ndarray:
        part = slice(start, start + CHUNK)
        return _scene(labels[part], lab, keys[part], slide_keys[part], size)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        scenes = pool.map(work, range(0, len(labels), CHUNK))
    return torch.from_numpy(np.concatenate(list(scenes)))


def load(
    site: str = "site-a", *, shift: float = 1.0, size: int = 64, per_class: tuple = (150, 25, 60), seed: int = 0
) -> Splits:
    """One laboratory's cells: `per_class` images of each class for train, val and test; groups are slides.

    `shift` 0..2 scales how far the laboratory is from site-a's (0: like site-a), `size` is in pixels. Classes take
    turns, and a larger set begins with the smaller. Rendered once, then read from a cache. Raises `ArgumentError`.
    """
    whole = isinstance(per_class, (Sequence, np.ndarray)) and all(
        isinstance(n, Integral) and int(n) > 0 for n in per_class
    )
    for good, name, value, expected in (
        (site in SITES, "site", site, "one of " + ", ".join(SITES)),
        (isinstance(shift, Real) and 0 <= shift <= 2, "shift", shift, "0 (every site like site-a) to 2; 1 is usual"),
        (isinstance(size, Integral) and 16 <= size <= 512, "size", size, "an integer from 16 to 512 pixels"),
        (isinstance(seed, Integral) and seed >= 0, "seed", seed, "an integer of 0 or more"),
        (whole and len(per_class) == 3, "per_class", per_class, "three integers above 0: train, val, test"),
    ):
        if not good:
            raise ArgumentError(f"cells: {name} is {value!r}, expected {expected}")
    labels = {split: np.arange(n * len(CLASSES)) % len(CLASSES) for split, n in zip(SLIDES, per_class, strict=True)}
    name = f"v{VERSION}_{site}_shift{shift}_{size}px_{'-'.join(map(str, per_class))}_seed{seed}.npz"
    images = kept_arrays(
        cache_folder("cells", name),
        lambda: {split: render(y, site, shift, size, seed, split).numpy() for split, y in labels.items()},
    )
    parts, first = [], 100 * SITES.index(site)
    for split, y in labels.items():
        inputs, truth, groups = map(torch.from_numpy, (images[split], y, first + _slide(len(y), split)))
        parts.append(Domain(inputs, truth, CLASSES, groups, f"cells/{site}", synthetic=True, augmentation="any_way_up"))
        first += SLIDES[split]
    return Splits(*parts)
