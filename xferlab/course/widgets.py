"""Pictures that follow sliders: one figure for each setting, drawn in well under 200 ms and kept.

    xl.widgets.gap()      # at the end of a cell

Each function returns a `Live`. Where there is a kernel and ipywidgets (7 or 8) it shows sliders, which the keyboard moves
too, over the picture and a sentence that says what is to be seen; elsewhere (GitHub, nbviewer, a page, no ipywidgets)
it is the first setting's picture with that sentence as its alt text. The quiz widget is `xl.checks.quiz`.
"""

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..augment import STAINS, concentrations, optical_density
from ..domains import Domain
from ..errors import needs
from ..evaluation import Scores, predict
from ..plots import MARKERS, PALETTE, mark
from .live import Live
from .results import Results

THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)


def _panels(*widths: float, height: float = 3.7):
    """A figure with axes side by side, in inches; not pyplot's, so that nobody need close it."""
    with needs("matplotlib", extra="labs"):
        from matplotlib.figure import Figure
    figure = Figure(figsize=(sum(widths), height))
    return figure, figure.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]


def gap(
    gaps: Sequence[float] = (0, 0.5, 1, 1.5, 2, 2.5, 3, 4),
    lambdas: Sequence[float] = (0, 0.03, 0.1, 0.3, 1, 3),
    seed: int = 0,
) -> Live:
    """Two classes in two places, in the plane (synthetic): how far apart the places are, and how hard features are aligned.

    The target is the source moved by `gap`, partly along the direction that tells the classes apart. The encoder is the
    linear map that minimizes `||W - I||² + lambda ||W d||²`, with d the difference of the two domains' means:
    `W = (I + lambda d d')^-1`. It stays what it was, except along the way the domains differ. The classifier takes the
    nearest class mean of the source. One value in `lambdas` leaves its slider out.

    Parameters
    ----------
    gaps
        How far the target is moved.
    lambdas
        How hard features are aligned; one value leaves this slider out.
    seed
        Of the points.

    Returns
    -------
    Live
        The picture.

    Examples
    --------
    >>> xl.widgets.gap()
    Gap 2, lambda 0: the two clouds' means are 1.99 apart after the encoder; ...
    """
    generator = np.random.default_rng(seed)
    labels = np.arange(300) % 2
    middles = (2 * labels[:, None] - 1) * (1.5, 0)
    source, target = (0.7 * generator.standard_normal((300, 2)) + middles for _ in range(2))
    direction = np.array([math.cos(0.6), math.sin(0.6)])

    def draw(gap, strength):
        moved = target + gap * direction
        apart = moved.mean(0) - source.mean(0)
        encoder = aligning(apart, strength)
        zs, zt = source @ encoder.T, moved @ encoder.T
        means = np.stack([zs[labels == k].mean(0) for k in (0, 1)])
        right = [float((((z[:, None] - means) ** 2).sum(2).argmin(1) == labels).mean()) for z in (zs, zt)]
        figure, (plane, scores) = _panels(5.0, 2.6)
        for z, color, face, name in ((zt, PALETTE[1], "none", "target"), (zs, PALETTE[0], PALETTE[0], "source")):
            for k in (0, 1):
                look = dict(s=22, marker=MARKERS[k], facecolor=face, edgecolor=color, alpha=0.7)
                plane.scatter(*z[labels == k][:70].T, label=f"{name}, class {'AB'[k]}", **look)
        middle, normal = means.mean(0), means[1] - means[0]
        along = np.array([-normal[1], normal[0]]) / np.linalg.norm(normal)
        plane.plot(*np.stack([middle - 9 * along, middle + 9 * along]).T, color="0.2", linestyle="--", linewidth=1.5)
        plane.set(xlim=(-4, 6.5), ylim=(-3, 5.2), xticks=[], yticks=[])
        plane.set_title("features; dashed: the classifier's border", fontsize=11)
        framed = dict(frameon=True, framealpha=0.9, handletextpad=0.1, columnspacing=0.6)
        plane.legend(fontsize=9, loc="upper left", ncols=2, **framed)
        bars = scores.bar(["source", "target"], right, color=PALETTE[:2], hatch=["", "//"], edgecolor="white")
        scores.bar_label(bars, [f"{share:.0%}" for share in right])
        scores.axhline(0.5, color="0.4", linestyle="--", linewidth=1.2)
        scores.set(ylim=(0, 1.1), yticks=[0, 0.5, 1])
        scores.set_title("accuracy", fontsize=11)
        figure.subplots_adjust(left=0.02, right=0.99, top=0.9, bottom=0.1, wspace=0.16)
        between = float(np.linalg.norm(encoder @ apart))
        strengths = f", lambda {strength:g}" if len(lambdas) > 1 else ""
        return figure, (
            f"Gap {gap:g}{strengths}: the two clouds' means are {between:.2f} apart after the encoder; "
            f"the classifier is right on {right[0]:.0%} of the source and {right[1]:.0%} of the target. Synthetic."
        )

    choices, middle = {"gap": gaps, "lambda": lambdas}, {"gap": list(gaps)[len(gaps) // 2]}
    return Live(lambda **chosen: draw(chosen["gap"], chosen["lambda"]), choices, middle)


def aligning(apart: np.ndarray, strength: float) -> np.ndarray:
    """The map W nearest the identity that also shortens a direction: the minimum of `||W - I||² + strength ||W apart||²`.

    Parameters
    ----------
    apart
        The direction `(D,)`.
    strength
        0 gives the identity.

    Returns
    -------
    ndarray
        `(D, D)`.

    Examples
    --------
    >>> xl.widgets.aligning(np.array([1.0, 0.0]), strength=1.0)
    array([[0.5, 0. ],
           [0. , 1. ]])
    """
    return np.linalg.inv(np.eye(len(apart)) + strength * np.outer(apart, apart))


def labels(
    rows: Sequence[Mapping],
    *,
    y: str = "balanced accuracy",
    x: str = "labels",
    by: str = "method",
    unit: str = "draw",
    without: Sequence[str] = (),
) -> Live:
    """The learning curves of every method, and at the chosen number of labels what each gains over a chosen baseline.

    Gains are paired within a unit, with their 95 % t-interval.

    Parameters
    ----------
    rows
        Dicts with these columns.
    y, x, by, unit
        Their names.
    without
        Values of `by` that are left out; the others look as they do beside them.

    Returns
    -------
    Live
        The picture.

    Examples
    --------
    >>> rows = [
    ...     {"method": m, "labels": n, "draw": 0, "balanced accuracy": a}
    ...     for m, n, a in [("a", 5, 0.5), ("a", 20, 0.75), ("b", 5, 0.6), ("b", 20, 0.8)]
    ... ]
    >>> xl.widgets.labels(rows)
    At 20 labels a class a has balanced accuracy 0.750. Gains over it, paired: b +0.050 (only 1 run).
    """
    results = Results(rows, by=by, across=x, unit=unit)
    counts, looks = results.levels, {name: mark(i) for i, name in enumerate(results.names)}
    names = [name for name in looks if name not in without]
    means = {at: results.mean(y, **{x: at}) for at in counts}

    def draw(at, baseline):
        part = results.only(**{x: at})
        others = [name for name in part.names if name in names and name != baseline and baseline in part.names]
        gains = {name: part.gain(name, baseline, y) for name in others}
        figure, (curve, ladder) = _panels(4.4, 4.6)
        for name in names:
            wide = 4 if name == baseline else 1.5
            curve.plot(counts, [means[n].get(name, np.nan) for n in counts], linewidth=wide, **looks[name])
        curve.axvline(at, color="0.3", linestyle="--", linewidth=1.5)
        curve.set_xscale("log")
        curve.minorticks_off()
        curve.set_xticks(counts, [f"{count:g}" for count in counts])
        curve.set_xlabel(f"{x} a class", fontsize=11)
        curve.set_title(f"{y}; thick: {baseline}", fontsize=11, loc="left")
        for k, (name, gain) in enumerate(gains.items()):
            ends = None if math.isnan(gain["low"]) else [[gain["gain"] - gain["low"]], [gain["high"] - gain["gain"]]]
            ladder.errorbar([gain["gain"]], [-k], xerr=ends, capsize=4, **looks[name])
        ladder.axvline(0, color="0.3", linewidth=1.2)
        ladder.set_yticks([-k for k in range(len(gains))], list(gains), fontsize=10)
        ladder.set_ylim(0.6 - max(1, len(gains)), 0.6)
        ladder.locator_params(axis="x", nbins=4)
        ladder.set_title("gain over it, paired", fontsize=11)
        figure.subplots_adjust(left=0.07, right=0.98, top=0.9, bottom=0.15, wspace=0.55)
        words = "; ".join(f"{name} {gain['gain']:+.3f} ({gain['verdict']})" for name, gain in gains.items())
        has = f"At {at:g} {x} a class {baseline} has {y} {means[at].get(baseline, math.nan):.3f}."
        return figure, f"{has} Gains over it, paired: {words or 'nothing to compare'}."

    return Live(lambda **c: draw(c[x], c["baseline"]), {x: counts, "baseline": names}, {x: counts[len(counts) // 2]})


def layers(clouds: Mapping[str, tuple[Tensor, Tensor]], measures: Mapping[str, Mapping[str, float]]) -> Live:
    """A layer at a time: where two domains lie in it, and how it stands among the others by each measure.

    Parameters
    ----------
    clouds
        Source and target features `(N, D)` by layer, input side first; drawn on the layer's own two main axes.
    measures
        A number by layer, by name of the measure, e.g. {"accuracy at home": {...}, "1 - A/2": {...}}.

    Returns
    -------
    Live
        The picture.

    Examples
    --------
    >>> z = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    >>> xl.widgets.layers({"conv1": (z, z + 1)}, {"accuracy": {"conv1": 0.5}})
    Block 0, conv1: accuracy 0.50.
    """
    names = list(clouds)
    flat = {}
    for name, pair in clouds.items():
        # at most 150, from all over: rows may be in class order
        sides = [z[:: -(-len(z) // 150)].float() for z in pair]
        both = torch.cat(sides)
        both = both - both.mean(0)
        _, _, axes = torch.linalg.svd(both, full_matrices=False)
        flat[name] = (both @ axes[:2].T).split([len(z) for z in sides])

    def draw(block):
        name = names[block]
        figure, (plane, depth) = _panels(3.7, 5.2)
        for z, i, side in ((flat[name][1], 1, "target"), (flat[name][0], 0, "source")):
            plane.scatter(*z.T.numpy(), s=16, alpha=0.6, label=side, **mark(i))
        plane.set(xticks=[], yticks=[])
        plane.set_xlabel("first direction of PCA", fontsize=10)
        plane.set_ylabel("second", fontsize=10)
        plane.set_title(f"block {block}: {name}", fontsize=11)
        plane.legend(fontsize=10)
        for i, (measure, by_layer) in enumerate(measures.items()):
            height = [by_layer[layer] for layer in names]
            depth.plot(height, alpha=0.6, label=measure, **mark(i))
            depth.plot([block], [height[block]], markersize=13, **mark(i))
        depth.axvline(block, color="0.3", linestyle="--", linewidth=1.2)
        depth.set_xticks(range(len(names)), names, rotation=40, ha="right", fontsize=9)
        depth.set_xlabel("block, input side first", fontsize=11)
        depth.legend(fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        figure.subplots_adjust(left=0.05, right=0.98, top=0.82, bottom=0.28, wspace=0.16)
        readings = ", ".join(f"{measure} {by_layer[name]:.2f}" for measure, by_layer in measures.items())
        return figure, f"Block {block}, {name}: {readings}."

    return Live(draw, {"block": range(len(names))}, {"block": len(names) - 1})


def threshold(home: Scores, away: Scores, name: str, thresholds: Sequence[float] = THRESHOLDS) -> Live:
    """Class `name` against the rest: what a threshold on its probability finds and what it leaves alone, in two places.

    *Sensitivity* is the share of the class that reaches the threshold, *specificity* the share of the rest that does not.

    Parameters
    ----------
    home, away
        One model's scores in two places, as `evaluate` gives them.
    name
        Of the class.
    thresholds
        Values of the slider, 0 to 1.

    Returns
    -------
    Live
        The picture.

    Examples
    --------
    >>> home, away = xl.evaluate(model, source.val), xl.evaluate(model, target.val)
    >>> xl.widgets.threshold(home, away, source.classes[0])
    Threshold 0.5: home it finds ...
    """
    curves, given = {}, {}
    for side, scores in (("home", home), ("away", away)):
        k = scores.classes.index(name)
        p, true = given[side] = scores.probabilities[:, k], scores.labels == k
        curves[side] = np.array([((p >= t)[true].mean(), (p < t)[~true].mean()) for t in thresholds])

    def draw(threshold):
        at = list(thresholds).index(threshold)
        figure, (spread, curve) = _panels(4.8, 3.8)
        p, true = given["away"]
        for i, (part, about) in enumerate(((p[~true], "the rest"), (p[true], name))):
            look = dict(color=PALETTE[i], alpha=0.6, label=about, hatch="//" * i)
            spread.hist(part, np.linspace(0, 1, 21), weights=np.full(len(part), 1 / len(part)), **look)
        spread.axvline(threshold, color="0.2", linestyle="--", linewidth=1.5)
        spread.set_title(f"away: probability of {name}, share of each group", fontsize=11)
        spread.legend(fontsize=10, loc="upper center")
        for i, (side, points) in enumerate(curves.items()):
            curve.plot(*points.T, markersize=4, label=side, **mark(i))
            curve.plot(*points[at], markersize=13, **mark(i))
        curve.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05))
        curve.set_xlabel("sensitivity", fontsize=11)
        curve.set_title("specificity", fontsize=11, loc="left")
        curve.legend(fontsize=10, loc="lower left")
        figure.subplots_adjust(left=0.06, right=0.98, top=0.9, bottom=0.15, wspace=0.2)
        shares = {side: points[at] for side, points in curves.items()}
        found = (f"{s} it finds {a:.0%} of {name} and leaves {b:.0%} of the rest alone" for s, (a, b) in shares.items())
        return figure, f"Threshold {threshold:g}: {'; '.join(found)}."

    return Live(draw, {"threshold": thresholds}, {"threshold": thresholds[len(thresholds) // 2]})


def stain(
    model, image: Tensor, factors: Sequence[float] = (0.25, 0.5, 0.75, 1, 1.5, 2, 3), stains: str = "giemsa"
) -> Live:
    """One cell stained with less or more of each dye, and what a classifier makes of it.

    In optical density, the amount of a dye is multiplied by its factor (`xl.augment.STAINS`).

    Parameters
    ----------
    model
        A Classifier, asked once about every combination.
    image
        Uint8 `(C, H, W)`; a gray one has a single dye.
    factors
        To choose among.
    stains
        A key of `STAINS`.

    Returns
    -------
    Live
        The picture.

    Examples
    --------
    >>> xl.widgets.stain(model, source.test.inputs[0], factors=[0.5, 1, 2])
    With 1 times the dye the model says ...
    """
    gray = len(image) == 1
    names = ("dye",) if gray else ("first dye", "second dye")
    settings = list(itertools.product(factors, repeat=len(names)))
    basis = torch.ones(1, 1) if gray else torch.tensor(STAINS[stains])
    amounts = optical_density(image) if gray else concentrations(image[None], stains)[0]
    more = torch.zeros(len(settings), len(basis))
    more[:, : len(names)] = torch.tensor(settings) - 1.0
    density = torch.einsum("ns,shw,so->nohw", more, amounts, basis)
    pictures = ((image[None].float() + 1) * 10**-density - 1).round().clamp(0, 255).to(torch.uint8)
    probabilities = predict(model, Domain(pictures, None, model.classes))
    start = dict.fromkeys(names, min(factors, key=lambda factor: abs(math.log(factor))))  # the picture as it is
    before = int(probabilities[settings.index(tuple(start.values()))].argmax())

    def draw(**amount):
        at = settings.index(tuple(amount.values()))
        p = probabilities[at].tolist()
        best = max(range(len(p)), key=p.__getitem__)
        figure, (cell, bars) = _panels(2.9, 4.4)
        cell.imshow(pictures[at].expand(3, -1, -1).permute(1, 2, 0).numpy())
        cell.set_axis_off()
        drawn = bars.barh(model.classes, p, color=[PALETTE[1] if k == best else PALETTE[0] for k in range(len(p))])
        bars.bar_label(drawn, [f"{share:.2f}" for share in p], fontsize=9, padding=2)
        bars.set(xlim=(0, 1.15), xticks=[0, 0.5, 1])
        bars.invert_yaxis()
        bars.tick_params("y", labelsize=10)
        bars.set_title("the model's probabilities", fontsize=11)
        figure.subplots_adjust(left=0.01, right=0.99, top=0.9, bottom=0.1, wspace=0.75)
        change = "as before" if best == before else f"no longer {model.classes[before]}"
        dyes = " and ".join(f"{factor:g} times the {name}" for name, factor in amount.items())
        return figure, f"With {dyes} the model says {model.classes[best]}, {p[best]:.2f}, {change}."

    return Live(draw, dict.fromkeys(names, factors), start)
