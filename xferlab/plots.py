"""Pictures: each function returns a matplotlib Figure, for `xl.lab.show(figure, alt=...)` or `figure.savefig`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from .domains import Domain
from .errors import ArgumentError, needs
from .evaluation import t_interval

# Okabe & Ito's palette: told apart with any color vision, on a projector too. Markers differ as well.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def pyplot():
    """Matplotlib's pyplot, imported when a picture is first drawn.

    Returns
    -------
    module
        `matplotlib.pyplot`.

    Raises
    ------
    MissingExtra
        Without matplotlib.

    Examples
    --------
    >>> figure, axes = xl.plots.pyplot().subplots(1, 2)
    """
    with needs("matplotlib", extra="labs"):
        from matplotlib import pyplot
    return pyplot


def style() -> None:
    """Sets matplotlib up for the labs: large type, a white ground that survives dark mode, the palette.

    Examples
    --------
    >>> xl.plots.style()
    """
    plt = pyplot()
    plt.rcParams.update(
        {
            "figure.facecolor": "white",
            "axes.facecolor": "white",
            "savefig.facecolor": "white",
            "font.size": 12,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.3,
            "axes.prop_cycle": plt.cycler(color=PALETTE),
            "lines.linewidth": 2,
            "legend.frameon": False,
        }
    )


def mark(i: int) -> dict[str, str]:
    """The color and the marker by which the i-th of several names is told apart, from `PALETTE` and `MARKERS`.

    Parameters
    ----------
    i
        From 0; the ninth looks as the first.

    Returns
    -------
    dict
        `color` and `marker`, for matplotlib's functions.

    Examples
    --------
    >>> xl.plots.mark(1)
    {'color': '#D55E00', 'marker': 's'}
    """
    return {"color": PALETTE[i % 8], "marker": MARKERS[i % 8]}


def _bare(axis):
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
    axis.spines[:].set_visible(False)


def _axis(width: float, height: float):
    """The one axis of a new figure."""
    return pyplot().subplots(figsize=(width, height))[1]


def _finish(axis, xlabel: str, ylabel: str, legend: bool = True):
    """Names the axes; the legend stands beside them, where it hides nothing. Gives the figure."""
    axis.set(xlabel=xlabel, ylabel=ylabel)
    if legend:
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return axis.figure


def _picture(image: Tensor) -> np.ndarray:
    image = image.detach().cpu().clamp(0, 255).to(torch.uint8)
    return image.expand(3, -1, -1).permute(1, 2, 0).numpy()


def contact_sheet(*domains: Domain, per_class: int = 6, seed: int = 0):
    """A row for each class, some examples of it from each domain, side by side.

    Parameters
    ----------
    domains
        Labeled; the first one's classes make the rows.
    per_class
        Examples of each class and domain.
    seed
        Of the draw.

    Returns
    -------
    Figure
        For `lab.show` or `savefig`.

    Examples
    --------
    >>> figure = xl.plots.contact_sheet(source.test, target.test, per_class=2)
    """
    plt = pyplot()
    classes = domains[0].classes
    columns = per_class * len(domains)
    figure, axes = plt.subplots(
        len(classes), columns, figsize=(0.72 * columns + 1.6, 0.72 * len(classes) + 0.6), squeeze=False
    )
    for d, domain in enumerate(domains):
        domain = domain.align(classes)
        drawn = domain.take(per_class=per_class, seed=seed)
        for k, name in enumerate(classes):
            members = drawn.inputs[drawn.labels == k]
            for j in range(per_class):
                axis = axes[k, d * per_class + j]
                _bare(axis)
                if j < len(members):
                    axis.imshow(_picture(members[j]))
            if d == 0:
                axes[k, 0].set_ylabel(name, rotation=0, ha="right", va="center")
        title = domain.name + (" (synthetic)" if domain.synthetic else "")
        axes[0, d * per_class].set_title(title, loc="left", fontsize=12)
    figure.subplots_adjust(wspace=0.04, hspace=0.04)
    return figure


def images(rows: Mapping[str, Tensor], overlay: Mapping[str, Tensor] | None = None, titles: Sequence[str] = ()):
    """Rows of pictures by name.

    Parameters
    ----------
    rows
        Pictures `(N, C, H, W)` in 0..255.
    overlay
        Maps `(N, H, W)` in 0..1, by name, that are laid over their rows, in gray.
    titles
        What stands above the columns.

    Returns
    -------
    Figure
        A row of axes a name.

    Examples
    --------
    >>> figure = xl.plots.images({"as scanned": source.test.inputs[:3]})
    """
    plt = pyplot()
    columns = max(len(row) for row in rows.values())
    figure, axes = plt.subplots(len(rows), columns, figsize=(0.9 * columns + 1.6, 0.9 * len(rows)), squeeze=False)
    for (name, row), line in zip(rows.items(), axes, strict=True):
        for j, axis in enumerate(line):
            _bare(axis)
            if j < len(row):
                axis.spines[:].set(visible=True, color="0.6", linewidth=0.6)  # a white picture has an edge too
                picture = _picture(row[j])
                if not (overlay and name in overlay):
                    axis.imshow(picture)
                    continue
                # stains are as purple and pink as the color map is
                axis.imshow(picture.mean(2), cmap="gray", vmin=0, vmax=255)
                heat = overlay[name][j].numpy()
                axis.imshow(heat, cmap="inferno", alpha=0.8 * heat, vmin=0, vmax=1)
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for title, axis in zip(titles, axes[0], strict=False):
        axis.set_title(title, fontsize=10, rotation=45, ha="left", x=0.3)
    figure.subplots_adjust(wspace=0.04, hspace=0.06)
    return figure


def curves(
    rows: Sequence[Mapping], *, x: str, y: str, by: str, xlabel: str, ylabel: str, log: bool = True, filled: str = ""
):
    """A line for each value of `by`: mean of `y` at each `x`, with its 95 % t-interval over the rows that share both.

    Parameters
    ----------
    rows
        Dicts.
    x, y, by
        Their columns.
    xlabel, ylabel
        What the axes say.
    log
        Whether x grows by factors.
    filled
        A column; rows in which it is true get a small filled mark of their own, the others a hollow one.

    Returns
    -------
    Figure
        One axis.

    Examples
    --------
    >>> rows = [{"labels": n, "accuracy": a, "method": "probe"} for n, a in [(5, 0.6), (5, 0.7), (20, 0.8), (20, 0.9)]]
    >>> figure = xl.plots.curves(rows, x="labels", y="accuracy", by="method", xlabel="labels a class", ylabel="accuracy")
    """
    axis = _axis(8, 4.6)
    names = list(dict.fromkeys(row[by] for row in rows))
    for i, name in enumerate(names):
        xs = sorted({row[x] for row in rows if row[by] == name})
        stats = [t_interval([row[y] for row in rows if row[by] == name and row[x] == at]) for at in xs]
        mean, low, high = np.array(stats).T
        # neighbors are moved aside a little, or intervals hide each other
        shifted = np.array(xs) * 1.04 ** (i - (len(names) - 1) / 2) if log else np.array(xs)
        bars = None if np.isnan(low).any() else np.stack([mean - low, high - mean])
        axis.errorbar(shifted, mean, bars, markersize=8, capsize=4, label=name, **mark(i))
        for row in [row for row in rows if filled and row[by] == name]:
            face = PALETTE[i % 8] if row[filled] else "white"
            at = shifted[xs.index(row[x])] * (1.02 if log else 1)
            axis.plot([at], [row[y]], "o", markersize=4.5, color=PALETTE[i % 8], markerfacecolor=face, alpha=0.8)
    if log:
        axis.set_xscale("log")
        ticks = sorted({row[x] for row in rows})
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
    return _finish(axis, xlabel, ylabel)


def scatter(
    points: Mapping[str, tuple[Sequence[float], Sequence[float]]], *, xlabel: str, ylabel: str, log: bool = False
):
    """A cloud of points for each name, told apart by color and marker.

    Parameters
    ----------
    points
        `(xs, ys)` by name.
    xlabel, ylabel
        What the axes say.
    log
        Whether x grows by factors.

    Returns
    -------
    Figure
        One axis.

    Examples
    --------
    >>> figure = xl.plots.scatter({"dann": ([0.5, 0.6], [0.7, 0.8])}, xlabel="validator", ylabel="accuracy")
    """
    axis = _axis(8, 4.6)
    for i, (name, (xs, ys)) in enumerate(points.items()):
        axis.scatter(xs, ys, s=70, label=name, alpha=0.85, **mark(i))
    if log:
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter("{x:g}")
    return _finish(axis, xlabel, ylabel)


def lines(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    xlabel: str,
    ylabel: str,
    level: float | None = None,
):
    """A line for each name.

    Parameters
    ----------
    series
        `(xs, ys)` by name.
    xlabel, ylabel
        What the axes say.
    level
        A dashed gray line across at this height.

    Returns
    -------
    Figure
        One axis.

    Examples
    --------
    >>> figure = xl.plots.lines({"loss": ([0, 1, 2], [2.3, 1.1, 0.6])}, xlabel="step", ylabel="loss")
    """
    axis = _axis(8, 4.2)
    for i, (name, (xs, ys)) in enumerate(series.items()):
        every = max(1, len(xs) // 8)
        axis.plot(xs, ys, markevery=every, label=name, **mark(i))
    if level is not None:
        axis.axhline(level, color="0.4", linestyle="--", linewidth=1.5)
    return _finish(axis, xlabel, ylabel)


def clouds(moments: Mapping[str, tuple[Tensor, Tensor]], labels: Tensor | None = None):
    """Source and target features at each named moment, on the two main axes of that moment's features.

    Parameters
    ----------
    moments
        Features `(N, D)` of source and target, by name.
    labels
        Of the source, int64 `(N,)`: its points carry the class's number; the target's have none to show.

    Returns
    -------
    Figure
        An axis a moment.

    Examples
    --------
    >>> z = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    >>> figure = xl.plots.clouds({"before": (z, z + 3)})
    """
    plt = pyplot()
    figure, axes = plt.subplots(1, len(moments), figsize=(4.0 * len(moments), 4.0), squeeze=False)
    for axis, (name, (source, target)) in zip(axes[0], moments.items(), strict=True):
        both = torch.cat([source, target]).float()
        center = both.mean(0)
        _, _, directions = torch.linalg.svd(both - center, full_matrices=False)
        zs, zt = ((z.float() - center) @ directions[:2].T for z in (source, target))
        axis.scatter(*zt.T, s=14, alpha=0.55, label="target", **mark(1))
        if labels is None:
            axis.scatter(*zs.T, s=14, color=PALETTE[0], alpha=0.55, label="source")
        else:
            for (x, y), k in zip(zs.tolist(), labels.tolist(), strict=True):
                axis.text(x, y, str(k), color=PALETTE[0], fontsize=9, ha="center", va="center", clip_on=True)
            axis.update_datalim(zs.numpy())  # text alone does not widen the axes
            axis.autoscale_view()
            axis.plot([], [], color=PALETTE[0], marker="$7$", linestyle="", label="source, by class")
        _bare(axis)
        axis.set_title(name)
    axes[0, -1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def bars(groups: Mapping[str, Mapping[str, float]], *, xlabel: str, ylabel: str):
    """Grouped bars, keys along the axis.

    Parameters
    ----------
    groups
        For each name a value by key.
    xlabel, ylabel
        What the axes say.

    Returns
    -------
    Figure
        One axis.

    Raises
    ------
    ArgumentError
        Without groups.

    Examples
    --------
    >>> figure = xl.plots.bars({"source": {"dann": 0.9}, "target": {"dann": 0.7}}, xlabel="recipe", ylabel="accuracy")
    """
    if not groups:
        raise ArgumentError("bars got no groups to draw")
    keys = list(dict.fromkeys(key for values in groups.values() for key in values))
    axis = _axis(max(8, 0.9 * len(keys) + 3), 4.2)
    width = 0.8 / len(groups)
    for i, (name, values) in enumerate(groups.items()):
        at = np.arange(len(keys)) + (i - (len(groups) - 1) / 2) * width
        heights, hatch = [values.get(key, np.nan) for key in keys], ("", "//", "..", "xx")[i % 4]
        axis.bar(at, heights, width, label=name, hatch=hatch, color=PALETTE[i % 8], edgecolor="white")
    axis.set_axisbelow(True)
    tilt = {"rotation": 30, "ha": "right"} if sum(len(str(key)) for key in keys) > 60 else {}
    axis.set_xticks(range(len(keys)), keys, **tilt)
    return _finish(axis, xlabel, ylabel, legend=len(groups) > 1)


def confusion(scores, *, title: str = ""):
    """Share of each true class (row) that was predicted as each class (column).

    Parameters
    ----------
    scores
        Scores of `evaluate`.
    title
        Above it.

    Returns
    -------
    Figure
        One axis.

    Examples
    --------
    >>> figure = xl.plots.confusion(xl.evaluate(model, target.val))
    """
    counts = scores.confusion
    share = counts / counts.sum(1, keepdims=True).clip(min=1)
    k = len(counts)
    axis = _axis(0.7 * k + 2.5, 0.7 * k + 1.5)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axis.grid(False)
    for i in range(k):
        for j in range(k):
            axis.text(j, i, counts[i, j], ha="center", va="center", color="white" if share[i, j] > 0.5 else "black")
    axis.set_xticks(range(k), scores.classes, rotation=45, ha="right")
    axis.set_yticks(range(k), scores.classes)
    axis.set_title(title)
    return _finish(axis, "predicted", "true", legend=False)


def roc_and_reliability(probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]):
    """Each class against the rest as a ROC curve, and how often answers of each confidence are right, a bar a tenth.

    Of two classes the second has the curve. More than 8 classes share one gray.

    Parameters
    ----------
    probabilities
        `(N, K)`.
    labels
        `(N,)`.
    classes
        K names.

    Returns
    -------
    Figure
        Two axes.

    Examples
    --------
    >>> p = np.array([[0.9, 0.1], [0.3, 0.7], [0.6, 0.4]])
    >>> figure = xl.plots.roc_and_reliability(p, np.array([0, 1, 1]), ("well", "ill"))
    """
    from sklearn.metrics import roc_curve

    plt = pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 4.0))
    present = [k for k in range(len(classes)) if 0 < (labels == k).sum() < len(labels)]
    for k in present[1:] if len(classes) == 2 else present:
        false, found, _ = roc_curve(labels == k, probabilities[:, k], drop_intermediate=False)
        color = PALETTE[k % 8] if len(present) <= 8 else "0.6"
        left.plot(false, found, linewidth=1.5, color=color, label=str(classes[k]))
    _finish(left, "others that are flagged (1 - specificity)", "members that are found (sensitivity)", legend=False)
    if len(present) <= 8:
        left.legend(loc="lower right", fontsize=9)
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == labels
    tenth = np.minimum((10 * confidence).astype(int), 9)
    for b in np.unique(tenth):
        at = tenth == b
        right.bar((b + 0.5) / 10, correct[at].mean(), 0.092, color=PALETTE[0], alpha=0.35 + 0.65 * at.mean())
        right.text((b + 0.5) / 10, correct[at].mean() + 0.01, str(at.sum()), ha="center", fontsize=8)
    _finish(right, "confidence (the number of answers above each bar)", "share that is right", legend=False)
    for axis in (left, right):
        axis.plot([0, 1], [0, 1], color="0.4", linestyle="--", linewidth=1)
        axis.set(xlim=(0, 1.01), ylim=(0, 1.07))
    figure.tight_layout()
    return figure


def ranking(
    values: Mapping[str, Sequence[float]],
    *,
    xlabel: str,
    marks: Mapping[str | None, str] | None = None,
    colors: Mapping[str | None, str] | None = None,
    squares: Sequence[str] = (),
    reference: str | None = None,
):
    """A row for each name, the smallest mean lowest: its values as ticks, their mean and 95 % t-interval.

    Parameters
    ----------
    values
        Numbers by name; a name without any keeps an empty row.
    xlabel
        What the numbers are.
    marks
        Words that stand in brackets behind a name.
    colors
        A name's color where it is not the palette's first.
    squares
        Names whose mean is a square and not a dot, such as baselines.
    reference
        A name whose mean a dotted line carries through all rows.

    Returns
    -------
    Figure
        One axis.

    Examples
    --------
    >>> figure = xl.plots.ranking({"a": [0.1, 0.2], "b": [0.3, 0.5]}, xlabel="accuracy")
    """
    stats = {name: t_interval(list(row)) if len(row) else (float("nan"),) * 3 for name, row in values.items()}
    names = sorted(values, key=lambda name: stats[name][0])
    axis = _axis(8, 0.32 * len(names) + 1.4)
    for y, name in enumerate(names):
        (mean, low, high), color = stats[name], (colors or {}).get(name, PALETTE[0])
        axis.plot(values[name], [y] * len(values[name]), "|", color=color, alpha=0.6)
        error = None if np.isnan(low) else [[mean - low], [high - mean]]
        axis.errorbar([mean], [y], xerr=error, fmt="s" if name in squares else "o", color=color, capsize=3)
        if name == reference:
            axis.axvline(mean, color=PALETTE[6], linewidth=1, linestyle=":")
    words = {name: f" ({mark})" for name, mark in (marks or {}).items()}
    # a dollar sign would begin mathematics
    axis.set_yticks(range(len(names)), [name.replace("$", r"\$") + words.get(name, "") for name in names])
    axis.set_xlabel(xlabel)
    axis.figure.tight_layout()
    return axis.figure


def by_depth(measures: Mapping[str, Mapping[str, float]], layers: Sequence[str], ylabel: str = "0 to 1"):
    """A line for each measure over the layers of an encoder, input side first.

    Parameters
    ----------
    measures
        A number by layer, by name of the measure.
    layers
        Their names, in order.
    ylabel
        What the numbers are.

    Returns
    -------
    Figure
        One axis.

    Examples
    --------
    >>> figure = xl.plots.by_depth({"accuracy": {"conv1": 0.5, "conv2": 0.7}}, ["conv1", "conv2"])
    """
    xs = range(len(layers))
    figure = lines({name: (xs, [of[layer] for layer in layers]) for name, of in measures.items()},
                   xlabel="block, input side first", ylabel=ylabel)  # fmt: skip
    figure.axes[0].set_xticks(xs, layers, rotation=30, ha="right")
    return figure


def maps(views: Mapping[str, np.ndarray], groups: Mapping[str, tuple[Tensor, Sequence[str]]]):
    """Points in the plane, a row for each view and a column for each way to color them.

    Parameters
    ----------
    views
        Places `(N, 2)` by title.
    groups
        Numbers `(N,)` and their names, by what they tell.

    Returns
    -------
    Figure
        A grid of axes.

    Examples
    --------
    >>> figure = xl.plots.maps({"features": np.eye(2)}, {"domain": (torch.tensor([0, 1]), ["source", "target"])})
    """
    plt = pyplot()
    figure, axes = plt.subplots(len(views), len(groups), figsize=(5.5 * len(groups), 4.2 * len(views)), squeeze=False)
    for line, (title, xy) in zip(axes, views.items(), strict=True):
        for axis, (what, (group, names)) in zip(line, groups.items(), strict=True):
            for k, name in enumerate(names):
                axis.scatter(*xy[np.asarray(group) == k].T, s=18, alpha=0.7, linewidths=0, label=name, **mark(k))
            axis.set_title(f"{title}, by {what}")
            _bare(axis)
    for axis in axes[-1]:
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=3, fontsize=10, markerscale=1.5)
    return figure


def pieces(texts: Sequence[Sequence[str]], scores: Tensor, notes: Sequence[str]):
    """Texts as word pieces, a line each under its note; blue for scores above 0, orange below, pale near it.

    Parameters
    ----------
    texts
        N lists of pieces, with the marks of start and end, which are left out.
    scores
        `(N, L)`.
    notes
        A line a text.

    Returns
    -------
    Figure
        One axis.

    Examples
    --------
    >>> figure = xl.plots.pieces([["[CLS]", "asthma", "[SEP]"]], torch.tensor([[0.0, 0.8, 0.0]]), ["respiratory, 0.93"])
    """
    from matplotlib.colors import to_rgb

    axis = _axis(10, 0.75 * len(texts))
    axis.set(xlim=(0, 100), ylim=(len(texts), 0))
    axis.axis("off")
    for line, (words, row, note) in enumerate(zip(texts, scores.tolist(), notes, strict=True)):
        axis.text(0, line + 0.2, note, fontsize=10, color="0.35", va="center")
        x = 0.5
        for word, score in list(zip(words, row, strict=False))[1:-1]:  # without the marks of start and end
            shade = [1 - 0.6 * abs(score) * (1 - c) for c in to_rgb(PALETTE[0] if score > 0 else PALETTE[1])]
            box = dict(facecolor=shade, edgecolor="none", boxstyle="square,pad=0.15")
            axis.text(x, line + 0.62, word, family="monospace", fontsize=12, va="center", bbox=box)
            x += 1.38 * len(word) + 1.2
    return axis.figure
