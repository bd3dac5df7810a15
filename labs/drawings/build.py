"""One drawing for each method, in one style: `NAME.svg` for pages and `NAME.png` for notebooks, which cannot hold an SVG.

    python labs/drawings/build.py [NAME ...] [--check]

A drawing's docstring is its text alternative; it is also the description inside the SVG. The ground is white, so that it reads on a
dark page. In a lab's source `![](drawings/NAME.svg)` puts one into the notebook.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.patches import Circle, Ellipse, FancyArrowPatch, FancyBboxPatch, Rectangle

from xferlab.plots import PALETTE
from xferlab.storage import write_atomically

HERE = Path(__file__).parent
BLUE, ORANGE, GREEN, PINK, YELLOW = PALETTE[:5]
INK, PALE = "#222222", "#e8e8e8"
DRAWINGS: dict[str, Callable] = {}


def drawing(function: Callable) -> Callable:
    DRAWINGS[function.__name__] = function
    return function


def words(name: str) -> str:
    """What a drawing shows: its text alternative."""
    return re.sub(r"\s+", " ", DRAWINGS[name].__doc__).strip()


def canvas(width: float = 10.0, height: float = 3.4):
    """A figure whose axis is `width` by `height` units with nothing on it."""
    figure = plt.figure(figsize=(0.8 * width, 0.8 * height))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, width), ylim=(0, height))
    axis.axis("off")
    return figure, axis


def box(axis, x, y, w, h, text="", color=PALE, ink=INK, size=10.5, dashed=False):
    style = "--" if dashed else "-"
    patch = FancyBboxPatch((x, y), w, h, boxstyle="round,pad=0.02,rounding_size=0.12", facecolor=color, edgecolor=INK,
                           linewidth=1.2, linestyle=style)  # fmt: skip
    axis.add_patch(patch)
    axis.text(x + w / 2, y + h / 2, text, ha="center", va="center", color=ink, fontsize=size)


def arrow(axis, start, end, color=INK, both=False, curve=0.0, width=1.6, dashed=False):
    look = "<|-|>" if both else "-|>"
    axis.add_patch(
        FancyArrowPatch(start, end, arrowstyle=look, mutation_scale=13, color=color, linewidth=width,
                        linestyle="--" if dashed else "-", connectionstyle=f"arc3,rad={curve}", shrinkA=1, shrinkB=1)
    )  # fmt: skip


def note(axis, x, y, text, color=INK, size=10.5, ha="center", **more):
    axis.text(x, y, text, ha=ha, va="center", color=color, fontsize=size, **more)


def cloud(seed: int, n: int = 30, center=(0, 0), spread=(0.4, 0.4), angle=0.0):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    z = np.random.default_rng(seed).standard_normal((n, 2))
    return (z - z.mean(0)) * spread @ turn.T + np.array(center)


def dots(axis, z, color, marker="o", filled=True, size=26):
    face = color if filled else "white"
    axis.scatter(*z.T, s=size, marker=marker, facecolor=face, edgecolor=color, linewidth=1.3, alpha=0.85, zorder=3)


@drawing
def fine_tuning():
    """Five ways to fine-tune, a row each: six blocks of a network and its head. Colored blocks move, gray ones stay as they were. In a
    linear probe only the head moves. In a depth probe a head reads the middle blocks. Layer-wise, blocks move faster the nearer they
    are to the head. LP-FT moves the head first and then everything. Full fine-tuning moves everything at once."""
    figure, axis = canvas(10, 4.6)
    blue = np.array(matplotlib.colors.to_rgb(BLUE))

    def shade(share):
        return tuple(1 - share * (1 - blue))

    rates = {
        "linear probe": [0] * 6,
        "depth probe": [0] * 6,
        "layer-wise": [0.1, 0.2, 0.32, 0.46, 0.62, 0.8],
        "LP-FT": [0.8] * 6,
        "full": [0.8] * 6,
    }
    for row, (name, rate) in enumerate(rates.items()):
        y = 3.7 - 0.8 * row
        note(axis, 1.75, y + 0.25, name, ha="right")
        for k, share in enumerate(rate):
            box(axis, 2.0 + 0.85 * k, y, 0.7, 0.5, color=shade(share) if share else PALE)
        box(axis, 7.3, y, 0.9, 0.5, "head", color=ORANGE, ink="white")
    for k in (2, 3, 4):
        arrow(axis, (2.35 + 0.85 * k, 3.42), (7.35, 3.34), color=ORANGE, curve=-0.12, width=1.2)
    note(axis, 8.4, 1.55, "head first,\nthen all", ha="left", size=9.5)
    note(axis, 8.4, 2.35, "slower near\nthe input", ha="left", size=9.5)
    note(axis, 8.4, 3.15, "reads the\nmiddle", ha="left", size=9.5)
    note(axis, 2.0, 0.2, "picture goes in here", ha="left", size=9.5, color="0.4")
    arrow(axis, (4.6, 0.2), (6.9, 0.2), color="0.4", width=1.2)
    return figure


@drawing
def depth_probe():
    """A frozen encoder as a row of blocks whose maps get smaller. A linear probe reads the last map alone. A depth probe takes the mean
    and the spread of several middle maps, puts them side by side, and trains one linear head on them."""
    figure, axis = canvas(10, 4.2)
    for k, size in enumerate((1.7, 1.45, 1.15, 0.9, 0.65, 0.4)):
        x = 0.6 + 1.35 * k
        for shift in (0.16, 0.08, 0):
            axis.add_patch(
                Rectangle((x + shift, 1.75 - size / 2 + shift), 0.45 + 0.3 * size, size, facecolor=PALE, edgecolor=INK)
            )
        if k < 5:
            arrow(axis, (x + 0.62 + 0.3 * size, 1.75), (x + 1.33, 1.75), color="0.4", width=1.1)
    for k in (2, 3, 4):
        arrow(axis, (1.1 + 1.35 * k, 2.45), (6.2, 3.45), color=ORANGE, curve=-0.15)
    box(axis, 6.3, 3.2, 3.4, 0.62, "depth probe: mean and\nspread of middle maps", color=ORANGE, ink="white", size=9.5)
    arrow(axis, (8.0, 1.75), (8.5, 1.2), color=BLUE)
    box(axis, 7.2, 0.45, 2.5, 0.65, "linear probe:\nthe last map", color=BLUE, ink="white", size=9.5)
    note(axis, 2.4, 0.45, "edges, stains", color="0.35")
    note(axis, 5.2, 0.45, "texture, shape", color="0.35")
    return figure


@drawing
def gradient_reversal():
    """Pictures from two places go through one encoder. Its features lead to a classifier, which learns the source's labels, and through
    a reversal layer to an adversary, which guesses the place. On the way back the reversal turns the adversary's gradient around, so
    that the encoder learns to make the places alike."""
    figure, axis = canvas(10, 3.8)
    dots(axis, cloud(1, 12, (0.9, 2.7), (0.25, 0.25)), BLUE)
    dots(axis, cloud(2, 12, (0.9, 1.2), (0.25, 0.25)), ORANGE, "s")
    note(axis, 0.9, 3.45, "source", color=BLUE)
    note(axis, 0.9, 0.4, "target", color=ORANGE)
    arrow(axis, (1.5, 2.6), (2.25, 2.2))
    arrow(axis, (1.5, 1.3), (2.25, 1.8))
    box(axis, 2.3, 1.4, 1.7, 1.2, "encoder")
    arrow(axis, (4.1, 2.3), (7.1, 3.1))
    box(axis, 7.2, 2.75, 2.4, 0.75, "classifier:\nwhich class?", color=BLUE, ink="white")
    arrow(axis, (4.1, 1.7), (4.9, 1.3))
    box(axis, 4.95, 0.75, 1.35, 0.9, "reversal\n× (−λ)", color=YELLOW)
    arrow(axis, (6.4, 1.2), (7.1, 1.15))
    box(axis, 7.2, 0.75, 2.4, 0.75, "adversary:\nwhich place?", color=ORANGE, ink="white")
    arrow(axis, (7.6, 0.62), (5.7, 0.6), color=PINK, curve=-0.25, dashed=True)
    note(axis, 8.0, 0.3, "gradient, as it is", color=PINK, size=9.5)
    arrow(axis, (5.5, 0.62), (3.2, 1.28), color=PINK, curve=-0.25, dashed=True)
    note(axis, 3.3, 0.45, "gradient, reversed", color=PINK, size=9.5)
    return figure


@drawing
def mmd_coral():
    """Three panels of a source cloud and a target cloud. Left: the clouds lie apart. Middle: CORAL gives them the same covariance, drawn
    as equal ellipses. Right: MMD compares whole clouds through many small bumps, and is zero only when the clouds agree everywhere."""
    figure, axis = canvas(10, 3.6)
    a, b = cloud(3, 40, (1.3, 2.0), (0.55, 0.25), 0.5), cloud(4, 40, (2.6, 1.5), (0.3, 0.6), 0.2)
    dots(axis, a, BLUE)
    dots(axis, b, ORANGE, "s")
    note(axis, 1.9, 3.25, "two places")
    for color, where in ((BLUE, (4.9, 1.75)), (ORANGE, (5.5, 1.75))):
        axis.add_patch(Ellipse(where, 1.9, 0.9, angle=28, facecolor="none", edgecolor=color, linewidth=2.2))
    note(axis, 5.2, 3.25, "CORAL: equal covariance")
    note(axis, 5.2, 0.45, "covariances agree,\nmeans may differ", size=9.5, color="0.35")
    for z, color, marker in (
        (cloud(5, 16, (8.3, 1.75), (0.55, 0.5)), BLUE, "o"),
        (cloud(6, 16, (8.35, 1.8), (0.55, 0.5)), ORANGE, "s"),
    ):
        for point in z:
            axis.add_patch(Circle(point, 0.3, facecolor=color, alpha=0.1, edgecolor="none"))
        dots(axis, z, color, marker, size=18)
    note(axis, 8.3, 3.25, "MMD: compares whole clouds")
    note(axis, 8.3, 0.2, "small only where\nthe clouds overlap", size=9.5, color="0.35")
    return figure


@drawing
def optimal_transport():
    """Five source points on the left and five target points on the right, joined by lines: the cheapest plan that carries all of the
    source's mass to the target. On the far right the same plan as a matrix, dark where much mass moves."""
    figure, axis = canvas(10, 3.6)
    source = np.array([[1.0, 2.9], [0.7, 2.2], [1.3, 1.7], [0.9, 1.1], [1.4, 0.6]])
    target = np.array([[4.6, 3.0], [4.9, 2.4], [4.4, 1.8], [4.8, 1.2], [4.5, 0.5]])
    plan = np.array(
        [[0.9, 0.1, 0, 0, 0], [0.1, 0.8, 0.1, 0, 0], [0, 0.1, 0.8, 0.1, 0], [0, 0, 0.1, 0.8, 0.1], [0, 0, 0, 0.1, 0.9]]
    )
    for i, j in zip(*plan.nonzero(), strict=True):
        axis.plot(
            *zip(source[i], target[j], strict=True),
            color=GREEN,
            linewidth=5 * plan[i, j],
            alpha=0.6,
            solid_capstyle="round",
        )
    dots(axis, source, BLUE, size=70)
    dots(axis, target, ORANGE, "s", size=70)
    note(axis, 1.0, 3.35, "source", color=BLUE)
    note(axis, 4.7, 3.4, "target", color=ORANGE)
    note(axis, 2.85, 0.25, "cost = mass × distance", size=9.5, color="0.35")
    for i in range(5):
        for j in range(5):
            tone = tuple(1 - plan[i, j] * (1 - np.array(matplotlib.colors.to_rgb(GREEN))))
            axis.add_patch(Rectangle((7 + 0.48 * j, 2.45 - 0.48 * i), 0.46, 0.46, facecolor=tone, edgecolor="0.7"))
    note(axis, 8.2, 3.2, "the plan")
    note(axis, 6.65, 1.7, "source", color=BLUE, rotation=90)
    note(axis, 8.2, 0.25, "target", color=ORANGE)
    return figure


@drawing
def pseudo_labels():
    """A target picture is altered twice. From the weakly altered copy the model predicts a class; if it is sure enough, that answer
    becomes the label of the strongly altered copy, and the model trains on it. If it is not sure, the picture is left out."""
    figure, axis = canvas(10, 3.8)
    box(axis, 0.3, 1.5, 1.3, 0.9, "unlabeled\npicture")
    arrow(axis, (1.7, 2.2), (2.4, 2.75))
    arrow(axis, (1.7, 1.7), (2.4, 1.15))
    box(axis, 2.45, 2.45, 1.5, 0.75, "weak view", color="#cfe3f1")
    box(axis, 2.45, 0.7, 1.5, 0.75, "strong view", color="#f7d9c4")
    for y in (2.8, 1.08):
        arrow(axis, (4.05, y), (4.75, y))
        box(axis, 4.8, y - 0.36, 1.1, 0.72, "model")
        arrow(axis, (6.0, y), (6.6, y))
    for k, share in enumerate((0.08, 0.9, 0.12)):
        axis.add_patch(Rectangle((6.75 + 0.3 * k, 2.45), 0.22, 0.8 * share, facecolor=BLUE))
    for k, share in enumerate((0.4, 0.5, 0.35)):
        axis.add_patch(Rectangle((6.75 + 0.3 * k, 0.75), 0.22, 0.8 * share, facecolor=ORANGE))
    arrow(axis, (7.8, 2.8), (8.3, 2.8))
    note(axis, 9.05, 2.8, "sure enough?\nthen a label", size=10)
    arrow(axis, (8.9, 2.4), (7.85, 1.25), color=GREEN, curve=-0.25)
    note(axis, 9.1, 1.45, "train towards\nthat label", color=GREEN, size=10)
    note(
        axis,
        5.0,
        0.2,
        "a wrong label that the model is sure of teaches it the same mistake again",
        size=9.5,
        color="0.35",
    )
    return figure


@drawing
def batch_norm():
    """Values of one feature as two bell curves, source and target, the target moved and wider. Normalized with the source's mean and
    spread, the target's curve stays moved. Normalized with its own, it lies on the source's curve, and the rest of the network sees
    what it is used to."""
    figure, axis = canvas(10, 3.6)

    def bell(x, mean, spread):
        return np.exp(-(((x - mean) / spread) ** 2) / 2)

    panels = (
        (1.7, "one feature, as it comes", (-0.5, 0.3), (0.5, 0.5)),
        (5.0, "with the source's statistics", (0.0, 0.35), (0.75, 0.55)),
        (8.3, "with the target's own", (0.0, 0.35), (0.0, 0.35)),
    )
    for center, title, source, target in panels:
        x = np.linspace(-1.5, 1.5, 200)
        axis.plot([center - 1.4, center + 1.4], [0.8, 0.8], color="0.5", linewidth=1)
        for (mean, spread), color, style in ((source, BLUE, "-"), (target, ORANGE, "--")):
            axis.plot(center + 0.95 * x, 0.8 + 1.6 * bell(x, mean, spread), color=color, linewidth=2.6, linestyle=style)
        note(axis, center, 3.1, title)
    arrow(axis, (3.15, 1.6), (3.6, 1.6))
    arrow(axis, (6.45, 1.6), (6.9, 1.6))
    note(axis, 1.0, 0.4, "source", color=BLUE)
    note(axis, 2.3, 0.4, "target", color=ORANGE)
    note(axis, 5.0, 0.4, "still shifted", color="0.35")
    note(axis, 8.3, 0.4, "aligned, without any training", color="0.35")
    return figure


@drawing
def simclr():
    """Three pictures, each altered twice. In feature space the two copies of one picture are pulled together, drawn as colored arrows, and
    pushed away from the copies of the other pictures, drawn as gray dashed arrows. No labels are used."""
    figure, axis = canvas(10, 3.8)
    places = {
        BLUE: (2.95, (6.4, 2.9), (7.2, 3.15)),
        ORANGE: (1.9, (9.0, 2.1), (8.6, 1.3)),
        GREEN: (0.85, (6.2, 1.1), (7.0, 0.8)),
    }
    for color, (y, a, b) in places.items():
        box(axis, 0.4, y - 0.35, 0.8, 0.7, color=color)
        for k, copy in enumerate((y + 0.22, y - 0.22)):
            arrow(axis, (1.3, y), (2.2, copy), color="0.4", width=1.1)
            axis.add_patch(
                Rectangle((2.3, copy - 0.17), 0.5, 0.34, facecolor=color, alpha=0.75 - 0.35 * k, edgecolor=INK)
            )
            arrow(axis, (2.9, copy), (3.6, 1.9 + 0.12 * (copy - 1.9)), color="0.4", width=1.1)
        dots(axis, np.array([a]), color, size=90)
        dots(axis, np.array([b]), color, filled=False, size=90)
        arrow(axis, a, b, color=color, both=True, width=2.4)
    box(axis, 3.65, 1.4, 1.3, 1.0, "encoder")
    arrow(axis, (5.05, 1.9), (5.75, 1.9))
    for start, end in (((7.3, 2.9), (8.6, 2.25)), ((8.3, 1.3), (7.2, 0.95)), ((6.35, 1.3), (6.45, 2.65))):
        arrow(axis, start, end, color="0.55", both=True, dashed=True, width=1.3)
    note(axis, 2.0, 3.6, "each picture, altered twice", size=9.5, color="0.35")
    note(axis, 7.6, 3.6, "partners together, strangers apart", size=9.5, color="0.35")
    return figure


@drawing
def masked_language():
    """A sentence as a row of word pieces, two of them hidden. A language model reads the whole row and guesses the hidden pieces from
    their neighbors; the text itself is the label."""
    figure, axis = canvas(10, 3.4)
    pieces = ["chronic", "[MASK]", "of", "the", "left", "[MASK]"]
    for k, piece in enumerate(pieces):
        hidden = piece == "[MASK]"
        box(axis, 0.5 + 1.52 * k, 0.4, 1.35, 0.6, piece, color=YELLOW if hidden else PALE)
        arrow(axis, (1.17 + 1.52 * k, 1.08), (1.17 + 1.52 * k, 1.42), color="0.4", width=1.1)
    box(axis, 0.5, 1.45, 8.95, 0.62, "language model, which reads in both directions", color="#cfe3f1")
    for k, word in ((1, "ulcer"), (5, "foot")):
        arrow(axis, (1.17 + 1.52 * k, 2.12), (1.17 + 1.52 * k, 2.5), color=GREEN)
        box(axis, 0.5 + 1.52 * k, 2.55, 1.35, 0.6, word, color=GREEN, ink="white")
    note(axis, 5.3, 2.85, "the hidden words are the labels", size=9.5, color="0.35")
    return figure


@drawing
def spring():
    """The loss of fine-tuning as a valley with its lowest point far from the pretrained weights. A spring ties the weights to where they
    began, so that they come to rest on the way: lower than at the start, and nearer to it than plain fine-tuning ends."""
    figure, axis = canvas(10, 3.8)
    x = np.linspace(2.3, 9.4, 300)

    def height(at):
        return 0.75 + 0.085 * (at - 7.6) ** 2 * (1 + 0.03 * (7.6 - at))

    axis.plot(x, height(x), color="0.4", linewidth=2)
    start, rest, end = 2.6, 5.2, 7.6
    for at, color, text, up in (
        (start, BLUE, "pretrained weights", 0.45),
        (rest, GREEN, "at rest with L2-SP", 0.75),
        (end, ORANGE, "plain fine-tuning", 0.5),
    ):
        dots(axis, np.array([[at, height(at)]]), color, size=110)
        note(axis, at + 0.15, height(at) + up, text, color=color, ha="left" if at == start else "center")
    coil = np.linspace(0, 1, 160)
    path = np.stack([start + (rest - start) * coil, height(start) + (height(rest) - height(start)) * coil])
    across = np.array([height(start) - height(rest), rest - start])
    across = across / np.linalg.norm(across) * 0.13
    inside = (coil > 0.12) & (coil < 0.88)
    axis.plot(*(path + np.outer(across, np.sin(coil * 60) * inside)), color=PINK, linewidth=1.8)
    note(axis, 3.1, 1.15, "the spring: α/2 ‖w − w₀‖²", color=PINK)
    note(axis, 7.6, 0.35, "lowest loss on the few labels", size=9.5, color="0.35")
    return figure


@drawing
def validator():
    """Two models seen by a validator that has no labels. The left one gives two clear clouds, so the validator likes it, but each cloud holds both
    classes. The right one gives clouds that touch, so the validator likes it less, and its classes are right. What
    is written on the points, the validator cannot see."""
    figure, axis = canvas(10, 3.9)
    panels = (
        (2.4, "model 1: looks clear", ((1.4, 2.0), (3.4, 2.0)), ("BABA", "ABAB"), "validator: high. Accuracy: chance."),
        (7.5, "model 2: looks muddled", ((7.0, 2.0), (8.1, 2.0)), ("AAAA", "BBBB"), "validator: low. Accuracy: good."),
    )
    for center, title, places, letters, verdict in panels:
        for k, (place, text) in enumerate(zip(places, letters, strict=True)):
            for i, z in enumerate(cloud(10 + k, 16, place, (0.36, 0.42))):
                note(axis, *z, text[i % 4], color=(BLUE, ORANGE)[k], size=11, weight="bold")
        note(axis, center, 3.4, title)
        note(axis, center, 0.65, verdict, color="0.3")
    note(
        axis,
        5.0,
        0.2,
        "color: what the model answers. Letter: the truth, which a validator without labels never sees.",
        size=9.5,
        color="0.35",
    )
    return figure


def render(name: str) -> tuple[str, bytes]:
    """The SVG's text, the same each time, and a PNG of at most 64 colors."""
    from PIL import Image

    with plt.rc_context({"svg.hashsalt": name, "svg.fonttype": "none", "font.family": "DejaVu Sans"}):
        figure = DRAWINGS[name]()
        text, raw, small = io.StringIO(), io.BytesIO(), io.BytesIO()
        figure.savefig(
            text, format="svg", facecolor="white", metadata={"Date": None, "Creator": None, "Title": words(name)}
        )
        figure.savefig(raw, format="png", facecolor="white", dpi=110, metadata={"Software": None})
        plt.close(figure)
    Image.open(raw).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return re.sub(r"[ \t]+$", "", text.getvalue(), flags=re.MULTILINE), small.getvalue()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="which (default: all)")
    options = parser.parse_args(arguments)
    for name in options.names or DRAWINGS:
        text, png = render(name)
        for path, content in ((HERE / f"{name}.svg", text.encode()), (HERE / f"{name}.png", png)):
            with write_atomically(path) as temporary:
                temporary.write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
