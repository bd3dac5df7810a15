"""`cells/site-a|b|c`: rendered blood smears, a synthetic twin of BloodMNIST with its eight classes.

A scene is laid out in micrometres, stained in optical density by Beer and Lambert's law, I = I0 exp(-sum_s c_s v_s), with
four dyes (the purple azure-eosin complex of nuclei, azure blue, eosin, haemoglobin), and photographed: focus, sharpening,
uneven light, noise, JPEG. What makes a class (nuclear shape, nucleus to cytoplasm ratio, chromatin, granules) is the same at
every site; what makes a laboratory (dyes, background, magnification, focus, crowding, camera) is in `SITES`.
Synthetic: not for clinical use.
"""

from __future__ import annotations

import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from io import BytesIO

import numpy as np
import torch
from PIL import Image

from ..errors import ArgumentError
from ..storage import cache_folder, write_atomically
from .domain import Domain, Splits

VERSION = 1  # part of every cache file's name: raise it whenever a pixel changes
CHUNK = 8  # images rendered together; small enough for the processor's cache
SLIDES = {"train": 6, "val": 2, "test": 4}


@dataclass(frozen=True)
class Site:
    """One laboratory. Dyes are optical densities (R, G, B) at unit concentration; lengths are micrometres."""

    background: tuple = (238, 221, 200)
    purple: tuple = (0.74, 1.25, 0.34)
    azure: tuple = (0.55, 0.36, 0.06)
    eosin: tuple = (0.07, 0.58, 0.42)
    haemoglobin: tuple = (0.08, 0.30, 0.24)
    field: tuple = (22.0,)  # side of a standard crop
    blur: tuple = (0.36,)  # width of a soft edge at good focus
    spacing: tuple = (7.6,)  # between red cells
    contrast: tuple = (1.0,)
    sharpen: tuple = (0.25,)
    shade: tuple = (0.05,)  # uneven light
    noise: tuple = (2.0,)  # grey levels
    quality: tuple = (90.0,)  # JPEG


SITES = {
    "site-a": Site(),
    "site-b": Site(
        background=(203, 207, 200), purple=(0.52, 0.92, 0.06), azure=(0.62, 0.42, 0.02), eosin=(0.16, 0.46, 0.20),
        haemoglobin=(0.13, 0.30, 0.27), field=(17.5,), blur=(0.50,), spacing=(8.6,), contrast=(0.92,), sharpen=(0.0,),
        shade=(0.08,), noise=(3.0,), quality=(80.0,),
    ),
    "site-c": Site(
        background=(226, 206, 222), purple=(0.98, 1.18, 0.42), azure=(0.60, 0.36, 0.10), eosin=(0.10, 0.75, 0.30),
        haemoglobin=(0.24, 0.42, 0.20), field=(27.0,), blur=(0.62,), spacing=(6.8,), contrast=(1.15,), sharpen=(0.6,),
        shade=(0.14,), noise=(5.0,), quality=(65.0,),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Nucleus:
    """Lobes strung along an arc. Lengths are fractions of the cell's radius; pairs are uniform ranges."""

    share: float  # of the class's cells
    lobes: tuple
    arc: tuple  # radius of the arc the lobes sit on
    span: tuple  # degrees from the first lobe to the last
    size: tuple
    aspect: tuple
    fuse: float  # how far lobes melt into each other
    bridge: float  # half-width of the strand between them
    offset: float  # eccentricity


@dataclass(frozen=True)
class Look:
    """One class. Densities are dye concentrations; pairs are uniform ranges."""

    radius: tuple
    nuclei: tuple
    chromatin: tuple  # strength
    clump: float  # size of chromatin clumps
    coarse: float  # their contrast
    purple: tuple  # of the cytoplasm, and so on
    azure: tuple
    eosin: tuple
    haemoglobin: tuple
    granule: float  # pitch of granules; their dyes; how far they cover the nucleus
    granule_purple: tuple
    granule_eosin: tuple
    cover: float
    ragged: float  # irregularity of the membrane


ROUND = dict(lobes=(1, 1), arc=(0, 0), span=(0, 0), fuse=0.1, bridge=0.0)
LOOKS = {
    "basophil": Look((5.2, 7.0), (Nucleus(0.6, (2, 2), (0.26, 0.4), (110, 190), (0.40, 0.5), (0.75, 1), 0.25, 0.2, 0.12),
                                  Nucleus(0.4, (3, 3), (0.32, 0.45), (150, 250), (0.34, 0.44), (0.75, 1), 0.25, 0.2, 0.12)),
                     (0.6, 0.9), 1.5, 0.3, (0.10, 0.22), (0.0, 0.15), (0.05, 0.18), (0, 0),
                     1.1, (0.5, 1.2), (0, 0.1), 0.6, 0.8),
    "eosinophil": Look((6.0, 8.2), (Nucleus(0.8, (2, 2), (0.40, 0.54), (95, 170), (0.34, 0.45), (0.6, 1), 0.08, 0.08, 0.10),
                                    Nucleus(0.2, (3, 3), (0.42, 0.54), (140, 230), (0.27, 0.34), (0.7, 1), 0.08, 0.08, 0.10)),
                       (0.75, 1.05), 1.3, 0.4, (0.0, 0.06), (0.0, 0.12), (0.2, 0.4), (0, 0),
                       0.85, (0, 0.08), (0.5, 1.2), 0.15, 0.7),
    "erythroblast": Look((4.0, 6.0), (Nucleus(1, size=(0.5, 0.72), aspect=(0.9, 1), offset=0.16, **ROUND),),
                         (1.15, 1.6), 1.2, 0.4, (0.0, 0.08), (0.05, 0.75), (0.0, 0.2), (0.1, 1.0),
                         1.0, (0, 0), (0, 0), 0.0, 0.6),
    "immature granulocytes": Look((6.6, 9.4), (Nucleus(0.65, size=(0.6, 0.76), aspect=(0.72, 0.95), offset=0.24, **ROUND),
                                               Nucleus(0.35, (3, 3), (0.34, 0.46), (90, 150), (0.42, 0.52), (0.8, 1), 0.3, 0.3, 0.10)),
                                  (0.62, 0.92), 0.9, 0.28, (0.06, 0.16), (0.12, 0.5), (0.05, 0.25), (0, 0),
                                  0.7, (0.03, 0.4), (0, 0.15), 0.35, 0.8),
    "lymphocyte": Look((4.3, 6.8), (Nucleus(0.75, size=(0.78, 0.93), aspect=(0.86, 1), offset=0.1, **ROUND),
                                    Nucleus(0.25, (2, 2), (0.22, 0.3), (80, 120), (0.66, 0.74), (0.85, 1), 0.2, 0.3, 0.06)),
                       (0.85, 1.25), 1.9, 0.35, (0.0, 0.06), (0.25, 0.8), (0.0, 0.08), (0, 0),
                       1.2, (0, 0.08), (0, 0), 0.0, 0.8),
    "monocyte": Look((7.0, 9.8), (Nucleus(0.55, (3, 3), (0.36, 0.48), (120, 200), (0.32, 0.42), (0.75, 1), 0.25, 0.3, 0.10),
                                  Nucleus(0.25, (4, 4), (0.34, 0.46), (180, 270), (0.28, 0.38), (0.7, 1), 0.25, 0.25, 0.12),
                                  Nucleus(0.2, (2, 2), (0.22, 0.34), (90, 150), (0.44, 0.54), (0.75, 1), 0.2, 0.3, 0.14)),
                     (0.55, 0.85), 0.9, 0.3, (0.08, 0.18), (0.15, 0.45), (0.02, 0.15), (0, 0),
                     0.7, (0, 0.14), (0, 0.08), 0.1, 1.1),
    "neutrophil": Look((5.8, 7.8), (Nucleus(0.3, (3, 3), (0.38, 0.54), (130, 230), (0.32, 0.43), (0.5, 1), 0.08, 0.08, 0.1),
                                    Nucleus(0.27, (4, 4), (0.40, 0.56), (180, 290), (0.28, 0.37), (0.5, 1), 0.08, 0.08, 0.1),
                                    Nucleus(0.13, (5, 5), (0.42, 0.56), (230, 310), (0.24, 0.31), (0.5, 1), 0.07, 0.07, 0.1),
                                    Nucleus(0.08, (2, 2), (0.34, 0.5), (110, 180), (0.37, 0.46), (0.55, 0.9), 0.08, 0.09, 0.1),
                                    Nucleus(0.22, (5, 5), (0.42, 0.54), (150, 250), (0.25, 0.32), (0.85, 1), 0.16, 0.2, 0.1)),
                       (0.75, 1.1), 1.3, 0.42, (0.03, 0.10), (0.0, 0.12), (0.08, 0.32), (0, 0),
                       0.7, (0.02, 0.2), (0.02, 0.25), 0.1, 0.7),
    "platelet": Look((1.1, 2.3), (Nucleus(1, size=(0.4, 0.6), aspect=(0.8, 1), offset=0.1, **ROUND),),
                     (0, 0), 1.0, 0.3, (0.1, 0.4), (0.08, 0.4), (0.0, 0.12), (0, 0),
                     0.8, (0.2, 0.9), (0, 0.1), 1.0, 1.3),
}  # fmt: skip
CLASSES = tuple(LOOKS)
MAX_LOBES = 5


class Draws:
    """Uniform numbers for each of n keys, handed out column by column, so that an image depends on its own key only."""

    def __init__(self, keys: list[tuple[int, ...]], columns: int = 400):
        self.generators = [np.random.Generator(np.random.SFC64(np.random.SeedSequence(key))) for key in keys]
        self.pool = self.random(columns)
        self.at = 0

    def random(self, *shape: int) -> np.ndarray:
        return np.stack([generator.random(shape, dtype=np.float32) for generator in self.generators])

    def normal(self, *shape: int) -> np.ndarray:
        return np.stack([generator.standard_normal(shape, dtype=np.float32) for generator in self.generators])

    def __call__(self, low=0.0, high=1.0, k: int = 0) -> np.ndarray:
        """Uniform in [low, high): `(n,)`, or `(n, k)`."""
        width = k or 1
        u = self.pool[:, self.at : self.at + width]
        assert u.shape[1] == width, "draw more columns"
        self.at += width
        return low + (high - low) * (u if k else u[:, 0])

    def around(self, spread: float, k: int = 0) -> np.ndarray:
        """About 1, log-symmetric, within exp(+-2 spread), humped."""
        width = 2 * (k or 1)
        u = self(-1.0, 1.0, width)
        value = np.exp(spread * (u[:, ::2] + u[:, 1::2]))
        return value if k else value[:, 0]


def plane(v: np.ndarray) -> np.ndarray:
    """`(n,)` beside `(n, H, W)`."""
    return v[:, None, None]


def soft(depth: np.ndarray, width: np.ndarray) -> np.ndarray:
    """0 outside, 1 inside: a smooth step of the given width where the depth (micrometres, positive inside) is 0."""
    t = depth / plane(width)
    t += 0.5
    np.clip(t, 0, 1, out=t)
    return t * t * (3 - 2 * t)


def value_noise(lattice: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Smooth noise in -1..1 from a periodic `(n, 32, 32)` lattice at x, y in lattice units."""
    n = len(lattice)
    fx, fy = np.floor(x), np.floor(y)
    base = np.arange(n, dtype=np.int64)[:, None, None] * 1024
    x0, y0 = fx.astype(np.int64) & 31, fy.astype(np.int64) & 31
    fx, fy = x - fx, y - fy
    fx *= fx * (3 - 2 * fx)
    fy *= fy * (3 - 2 * fy)
    x1 = (x0 + 1) & 31
    row0, row1 = base + y0 * 32, base + ((y0 + 1) & 31) * 32
    flat = lattice.reshape(-1)
    at = lambda i: np.take(flat, i, mode="clip")  # indices are in range; "clip" only skips the check
    top, low = at(row0 + x0), at(row1 + x0)
    top += fx * (at(row0 + x1) - top)
    low += fx * (at(row1 + x1) - low)
    top += fy * (low - top)
    top *= 2
    top -= 1
    return top


def granules(lattice: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Round spots, one in most cells of a unit grid, 0..1; place and size come from an `(n, 32, 32)` lattice."""
    fx, fy = np.floor(x), np.floor(y)
    index = ((fy.astype(np.int64) & 31) << 5) + (fx.astype(np.int64) & 31)
    index += np.arange(len(lattice), dtype=np.int64)[:, None, None] * 1024
    flat = lattice.reshape(-1)
    u = np.take(flat, index, mode="clip")
    v = np.take(flat, index ^ 341, mode="clip")  # another cell's number, as good as a fresh one
    x, y = x - fx - (0.32 + 0.36 * u), y - fy - (0.32 + 0.36 * v)
    d = 1.05 - 0.9 * u * v - (x * x + y * y) * (3 + 7 * np.abs(u - v))
    return np.clip(d, 0, 1, out=d)


def _table(name: str) -> np.ndarray:
    """One field of `LOOKS` as float32 `(8, 2)` or `(8,)`, to be indexed by labels."""
    return np.array([getattr(look, name) for look in LOOKS.values()], np.float32)


TABLE = {f.name: _table(f.name) for f in fields(Look) if f.name != "nuclei"}
FORMS = [(label, form) for label, look in enumerate(LOOKS.values()) for form in look.nuclei]
FORM = {f.name: np.array([getattr(form, f.name) for _, form in FORMS], np.float32) for f in fields(Nucleus)}
FIRST_FORM = np.array([[label for label, _ in FORMS].index(k) for k in range(len(CLASSES))])
SHARES = np.array([[sum(f.share for k2, f in FORMS[:i] if k2 == k) for i in range(len(FORMS))] for k in range(len(CLASSES))], np.float32)


def nucleus_depth(draw: Draws, x: np.ndarray, y: np.ndarray, labels: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Depth inside the nucleus, micrometres: a smooth union of lobes along an arc and the strands between them."""
    u = draw()
    last = np.array([len(look.nuclei) for look in LOOKS.values()])[labels]
    form = FIRST_FORM[labels]
    for step in range(1, last.max()):
        form = np.where((step < last) & (u >= SHARES[labels, np.minimum(FIRST_FORM[labels] + step, len(FORMS) - 1)]), FIRST_FORM[labels] + step, form)
    pick = lambda name: FORM[name][form]
    between = lambda name, k=0: draw(*(pick(name).T[:, :, None] if k else pick(name).T), k)
    lobes, arc, span = pick("lobes")[:, 0], between("arc") * radius, np.deg2rad(between("span"))
    fuse, bridge = plane(pick("fuse") * radius), plane(pick("bridge") * radius * draw(0.7, 1.3))
    size, aspect = between("size", MAX_LOBES) * radius[:, None], between("aspect", MAX_LOBES)
    order = np.arange(MAX_LOBES, dtype=np.float32)
    place = order / np.maximum(lobes - 1, 1)[:, None] - 0.5
    turn = span[:, None] * (place + draw(-0.08, 0.08, MAX_LOBES) * (lobes > 2)[:, None])
    along = arc[:, None] * draw(0.7, 1.2, MAX_LOBES)
    shift = pick("offset") * radius * draw(), draw(0, 2 * np.pi)
    cx = along * np.cos(turn) - (arc * 0.25)[:, None] + (shift[0] * np.cos(shift[1]))[:, None]
    cy = along * np.sin(turn) + (shift[0] * np.sin(shift[1]))[:, None]
    tilt = turn + draw(-0.6, 0.6, MAX_LOBES)
    cos, sin = np.cos(tilt), np.sin(tilt)
    total = None
    for i in range(int(lobes.max())):
        here = plane(np.where(i < lobes, 0, 1e3).astype(np.float32))
        dx, dy = x - plane(cx[:, i]), y - plane(cy[:, i])
        u, v = plane(cos[:, i]) * dx + plane(sin[:, i]) * dy, plane(cos[:, i]) * dy - plane(sin[:, i]) * dx
        stretch = plane(np.sqrt(aspect[:, i]))
        u /= stretch
        v *= stretch
        depth = plane(size[:, i]) - np.sqrt(u * u + v * v) - here
        parts = [depth]
        if i:
            ex, ey = cx[:, i] - cx[:, i - 1], cy[:, i] - cy[:, i - 1]
            t = np.clip((plane(ex) * (dx + plane(ex)) + plane(ey) * (dy + plane(ey))) / plane(ex * ex + ey * ey + 1e-6), 0, 1)
            u, v = dx + plane(ex) - t * plane(ex), dy + plane(ey) - t * plane(ey)
            parts.append(bridge - np.sqrt(u * u + v * v) - here)
        for part in parts:
            if total is None:
                total = part
                continue
            h = np.maximum(fuse - np.abs(total - part), 0)
            total = np.maximum(total, part) + h * h / (4 * fuse)
    return total


HEX = np.array([(a + b / 2, b * 3**0.5 / 2) for a in range(-3, 4) for b in range(-3, 4)], np.float32)
HEX = HEX[np.argsort((HEX**2).sum(1), kind="stable")][:19]


def red_cells(draw: Draws, x, y, radius, spacing, field, width) -> np.ndarray:
    """Haemoglobin: biconcave discs on a jittered lattice, pushed outwards by the cell in the middle; overlaps add up."""
    n, k = len(radius), len(HEX)
    spacing = spacing[:, None]
    px = HEX[:, 0] * spacing + draw(-0.5, 0.5, 1) * spacing + draw(-0.22, 0.22, k) * spacing
    py = HEX[:, 1] * spacing + draw(-0.5, 0.5, 1) * spacing + draw(-0.22, 0.22, k) * spacing
    r = draw(3.2, 4.0, 1) * draw.around(0.06, k)
    gone = draw(0, 1, k) < draw(0, 0.45, 1)
    away = np.sqrt(px * px + py * py) + 1e-3
    push = np.sqrt(away**2 + ((radius[:, None] + r * draw(0.75, 1.05, k)) ** 2)) / away  # keeps area, as a crowd does
    px, py = px * push, py * push
    gone |= np.maximum(np.abs(px), np.abs(py)) > 0.75 * field[:, None] + r
    tilt, aspect = draw(0, np.pi, k), draw(0.72, 1, k) ** 0.5
    cos, sin = np.cos(tilt) * aspect, np.sin(tilt) * aspect
    cos2, sin2 = np.cos(tilt) / aspect, np.sin(tilt) / aspect
    pallor = draw(0.2, 0.9, 1) * draw(0.8, 1.1, k)
    hole = draw(0.25, 0.6, 1) * draw(0.85, 1.15, k)
    strength = draw.around(0.08, k)
    total = np.zeros_like(x)
    for i in range(k):
        rows = np.flatnonzero(~gone[:, i])
        if not len(rows):
            continue
        take = lambda v: v[rows, i, None, None]
        dx, dy = x[rows], y[rows]
        dx -= take(px)
        dy -= take(py)
        u = take(cos) * dx
        u += take(sin) * dy
        u *= u
        dy *= take(cos2)
        dx *= take(sin2)
        dy -= dx
        dy *= dy
        u += dy
        np.divide(u, take(hole * r * r), out=dx)  # 1 at the rim of the pallor
        np.subtract(1, dx, out=dx)
        np.clip(dx, 0, 1, out=dx)
        dx *= dx
        dx *= -take(pallor)
        dx += 1
        depth = soft(take(r) - np.sqrt(u, out=u), width[rows])
        depth *= dx
        depth *= take(strength)
        total[rows] += depth
    return total


def neighbours(draw: Draws, x, y, radius, field, width) -> np.ndarray:
    """Purple of what else lies about: other platelets, now and then another nucleus at the edge, `(n, H, W)`."""
    total = np.zeros_like(x)
    for chance, low, high, strength in ((0.3, 0.8, 1.6, 0.5), (0.15, 0.8, 1.4, 0.4), (0.08, 3.5, 5.0, 0.9)):
        rows = np.flatnonzero(draw() < chance)
        r, turn = draw(low, high), draw(0, 2 * np.pi)
        away, density = radius + r + draw(0.3, 1.0) * np.maximum(field * 0.62 - radius, 0.5), strength * draw.around(0.15)
        if len(rows):
            dx, dy = x[rows] - plane(away * np.cos(turn))[rows], y[rows] - plane(away * np.sin(turn))[rows]
            total[rows] += plane(density)[rows] * soft(plane(r)[rows] - np.sqrt(dx * dx + dy * dy), 2 * width[rows])
    return total


def photograph(draw: Draws, image: np.ndarray, lab: dict, zoom: np.ndarray) -> np.ndarray:
    """Camera: uneven light, contrast, sharpening or blur, noise, JPEG. float `(n, 3, H, W)` 0..1 -> uint8 of that shape."""
    size = image.shape[-1]
    t = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    shade = lab["shade"][0]
    slope, edge = draw(-2, 2, 2) * shade, draw(0, 2) * shade
    light = 1 + plane(slope[:, 0]) * t[:, None] + plane(slope[:, 1]) * t - plane(edge) * (t[:, None] ** 2 + t**2)
    image *= light[:, None]
    gain = plane(lab["contrast"][0] * draw.around(0.05))[:, None]
    image = (image - 0.6) * gain + 0.6
    # one small blur serves as optics, resampling (tight crops are enlarged) and sharpening
    padded = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :, :-2] + padded[:, :, 2:] + 2 * padded[:, :, 1:-1]
    smooth = (rows[..., :-2] + rows[..., 2:] + 2 * rows[..., 1:-1]) / 16
    amount = draw(-0.3, 0.3) + 0.3 - lab["sharpen"][0] + 0.7 * (zoom > 1.6)
    image += plane(np.minimum(amount, 1.0))[:, None] * (smooth - image)
    level = plane(lab["noise"][0] / 255 * draw(0.4, 1.6) / np.maximum(zoom, 1))[:, None]
    noise = draw.normal(3, size, size)
    noise += draw.normal(1, size, size)
    image += level * 0.7 * noise
    pixels = np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)
    quality = np.clip(lab["quality"][0] + draw(-8, 8), 30, 96).astype(int)
    out = np.empty((len(image), size, size, 3), np.uint8)
    for i, picture in enumerate(pixels.transpose(0, 2, 3, 1)):
        with BytesIO() as file:
            Image.fromarray(np.ascontiguousarray(picture)).save(file, "JPEG", quality=int(quality[i]))
            out[i] = np.asarray(Image.open(file))
    return out.transpose(0, 3, 1, 2)


def scene(labels: np.ndarray, lab: dict, keys: list, slide_keys: list, size: int) -> np.ndarray:
    """Images uint8 `(n, 3, H, W)`, one a key."""
    draw, slide = Draws(keys), Draws(slide_keys, 64)
    look = lambda name: draw(*TABLE[name][labels].T)
    plain = lambda name: TABLE[name][labels]
    platelet = labels == CLASSES.index("platelet")
    radius = look("radius")
    standard = lab["field"][0] * slide.around(0.03) * draw.around(0.09)
    tight = 2 * radius * draw(1.08, 1.6) * np.where(platelet, 1.35, 1)
    field = np.where(draw() < 0.3, tight, np.maximum(standard, 2 * radius)).astype(np.float32)
    width = np.maximum(lab["blur"][0] * slide.around(0.1) * np.exp(draw(-0.3, 0.6) ** 2 * 2) * draw(0.8, 1.2), 0.9 * field / size)
    t = ((np.arange(size, dtype=np.float32) + 0.5) / size - 0.5)
    angle = draw(0, 2 * np.pi)
    c, s = plane(field * np.cos(angle)), plane(field * np.sin(angle))
    x = c * t + s * t[:, None] + plane(field * draw(-0.05, 0.05))
    y = c * t[:, None] - s * t + plane(field * draw(-0.05, 0.05))
    bend, lattice = plain("ragged") * draw(0.4, 1.2), [draw.random(32, 32) for _ in range(5)]
    x += plane(0.8 * bend) * value_noise(lattice[0], x / 4.5, y / 4.5)
    y += plane(0.8 * bend) * value_noise(lattice[1], x / 4.5, y / 4.5)
    fine = value_noise(lattice[2], x / 1.3, y / 1.3)

    stretch = plane(np.sqrt(np.where(platelet, draw(0.55, 1), draw(0.75, 1))))
    cell_depth = plane(radius) - np.sqrt((x * stretch) ** 2 + (y / stretch) ** 2) + plane(0.2 * bend) * fine
    depth = nucleus_depth(draw, x, y, labels, radius)
    clump = plane(plain("clump") * draw(0.8, 1.25))
    texture = value_noise(lattice[3], x / clump, y / clump)
    depth += plane(0.12 * bend) * texture
    depth = np.minimum(depth, cell_depth - plane(0.03 * radius))
    cell, nucleus = soft(cell_depth, width), soft(depth, width)
    texture = np.clip(1.5 * texture + 0.9 * fine, -1, 1)
    chromatin = nucleus * plane(look("chromatin")) * (1 + plane(plain("coarse") * draw(0.6, 1.3)) * texture)
    chromatin *= 1.12 - 0.24 * soft(depth - 0.7, 2 * width)  # the nuclear membrane is darker
    cytoplasm = (cell - nucleus) * (1 + 0.25 * fine) * (1.1 - 0.25 * soft(cell_depth - 1, 4 * width))
    pitch = plane(plain("granule") * draw(0.8, 1.25) * np.where(platelet, 0.9, 1))
    gx, gy = x / pitch + 0.5 * texture, y / pitch + 0.5 * fine
    grain = granules(lattice[3], gx, gy)
    grain += granules(lattice[4], 0.8 * gx - 0.6 * gy + 0.5, 0.6 * gx + 0.8 * gy)
    grain = (0.3 + 0.7 * grain) * (1 + 0.35 * fine)
    grain *= cell - plane(1 - plain("cover")) * nucleus
    grain *= np.where(plane(platelet), 0.2 + nucleus, 1)
    cytoplasm += np.where(plane(platelet), nucleus, 0)

    red = red_cells(draw, x, y, radius, lab["spacing"][0] * slide.around(0.04) * draw.around(0.08), field, width)
    red *= 1 - 0.75 * cell
    haem = red + cytoplasm * plane(look("haemoglobin"))
    purple = chromatin + cytoplasm * plane(look("purple")) + grain * plane(look("granule_purple")) + neighbours(draw, x, y, radius, field, width)
    azure = cytoplasm * plane(look("azure"))
    eosin = cytoplasm * plane(look("eosin")) + grain * plane(look("granule_eosin"))
    strength = slide.around(0.08) * draw.around(0.1)
    image = np.empty((len(labels), 3, size, size), np.float32)
    dyes = [lab[d] * slide.around(0.06, 3) * draw.around(0.04, 3) * (strength * slide.around(0.05) * draw.around(0.07))[:, None]
            for d in ("purple", "azure", "eosin", "haemoglobin")]  # fmt: skip
    background = lab["background"] / 255 * slide.around(0.012, 3) * draw.around(0.015, 3) * draw.around(0.02)[:, None]
    for c in range(3):
        density = purple * plane(dyes[0][:, c])
        density += azure * plane(dyes[1][:, c])
        density += eosin * plane(dyes[2][:, c])
        density += haem * plane(dyes[3][:, c])
        np.exp(-density, out=density)
        image[:, c] = plane(background[:, c]) * density
    return photograph(draw, image, lab, lab["field"][0] / field)


def laboratory(site: str, shift: float) -> dict[str, np.ndarray]:
    """The site's settings, `shift` of the way from site-a's."""
    if site not in SITES:
        raise ArgumentError(f"cells has no site {site!r}, expected one of {', '.join(SITES)}")
    if not isinstance(shift, (int, float)) or not 0 <= shift <= 2:
        raise ArgumentError(f"shift is {shift!r}, expected a number from 0 (every site like site-a) over 1 (default) to 2")
    mix = lambda home, away: home + np.float32(shift) * (away - home)
    part = lambda name, where: np.asarray(getattr(SITES[where], name), np.float32)
    return {f.name: mix(part(f.name, "site-a"), part(f.name, site)) for f in fields(Site)}


def slide_of(n: int, split: str) -> np.ndarray:
    """Slide number within the split of images 0..n-1: eight in a row, then the next slide, and round again."""
    return np.arange(n) // len(CLASSES) % SLIDES[split]


def render(
    labels, site: str = "site-a", shift: float = 1.0, size: int = 64, seed: int = 0, split: str = "train"
) -> torch.Tensor:
    """uint8 `(N, 3, size, size)`: image i shows one cell of class `labels[i]`, 0..7 in the order of `CLASSES`.

    Image i depends on its label, the laboratory, the size and (seed, site, split, i) only: more labels add images and
    change none, whatever the number of threads. Raises `ArgumentError`.
    """
    lab = laboratory(site, shift)
    labels = np.asarray(labels)
    if labels.ndim != 1 or (len(labels) and labels.dtype.kind not in "iu"):
        raise ArgumentError(f"labels are {labels.dtype} {labels.shape}, expected integers (N,)")
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(CLASSES):
        raise ArgumentError(f"labels run from {labels.min()} to {labels.max()}, expected 0 to {len(CLASSES) - 1}")
    if not isinstance(size, int) or not 16 <= size <= 512:
        raise ArgumentError(f"size is {size!r} pixels, expected an integer from 16 to 512")
    if not isinstance(seed, int) or seed < 0:
        raise ArgumentError(f"seed is {seed!r}, expected an integer of 0 or more")
    if split not in SLIDES:
        raise ArgumentError(f"split is {split!r}, expected one of {', '.join(SLIDES)}")
    where = (seed, list(SITES).index(site), list(SLIDES).index(split))
    keys = [(*where, 0, i) for i in range(len(labels))]
    slide_keys = [(*where, 1, int(i)) for i in slide_of(len(labels), split)]
    out = np.empty((len(labels), 3, size, size), np.uint8)

    def work(start: int):
        part = slice(start, start + CHUNK)
        out[part] = scene(labels[part], lab, keys[part], slide_keys[part], size)

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(work, range(0, len(labels), CHUNK)))
    return torch.from_numpy(out)


def load(
    site: str = "site-a",
    shift: float = 1.0,
    size: int = 64,
    per_class: tuple[int, int, int] = (150, 25, 60),
    seed: int = 0,
) -> Splits:
    """One laboratory's cells, `per_class` images a class for train, val and test; classes take turns, groups are slides.

    `size` in pixels; `shift` 0..2 scales how far the laboratory is from site-a's (0: like site-a, 1: the default). More
    images a class extend a smaller set. Rendered once, then read from `cache_folder("cells")`. Raises `ArgumentError`.
    """
    if len(per_class) != 3 or not all(isinstance(n, int) and n >= 1 for n in per_class):
        raise ArgumentError(f"per_class is {per_class!r}, expected three integers of 1 or more: train, val, test")
    laboratory(site, shift)
    labels = {split: np.arange(n * len(CLASSES)) % len(CLASSES) for split, n in zip(SLIDES, per_class)}
    name = f"v{VERSION}-{site}-shift{float(shift):g}-{size}px-{'-'.join(map(str, per_class))}-seed{seed}.npz"
    path = cache_folder("cells", name)
    images = _cached(path, {split: (len(y), 3, size, size) for split, y in labels.items()})
    if images is None:
        images = {split: render(y, site, shift, size, seed, split).numpy() for split, y in labels.items()}
        with write_atomically(path) as temporary:
            np.savez(temporary, **images)
    first = dict(zip(SLIDES, 100 * list(SITES).index(site) + np.cumsum([0, *SLIDES.values()])))
    return Splits(
        *(
            Domain(
                torch.from_numpy(images[split]), torch.from_numpy(y), CLASSES,
                torch.from_numpy(first[split] + slide_of(len(y), split)), f"cells/{site}", synthetic=True,
            )
            for split, y in labels.items()
        )
    )  # fmt: skip


def _cached(path, shapes: dict[str, tuple]) -> dict[str, np.ndarray] | None:
    """The images in a cache file, or None if it is missing, damaged or not what the name says."""
    try:
        with np.load(path, allow_pickle=False) as file:
            images = {split: file[split] for split in shapes}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    fits = all(images[s].dtype == np.uint8 and images[s].shape == shape for s, shape in shapes.items())
    return images if fits else None
