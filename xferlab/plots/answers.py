"""Figures of what a model sees and answers: clouds of features, confusion, calibration."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from .drawing import PALETTE, bare_axes, finish, mark, new_axis, pyplot


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
    figure, axes = bare_axes(1, len(moments), 4.0 * len(moments), 4.0)
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
        axis.set_title(name)
    axes[0, -1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


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
    axis = new_axis(0.7 * k + 2.5, 0.7 * k + 1.5)
    axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axis.grid(False)
    for (i, j), count in np.ndenumerate(counts):
        axis.text(j, i, count, ha="center", va="center", color="white" if share[i, j] > 0.5 else "black")
    axis.set_xticks(range(k), scores.classes, rotation=45, ha="right")
    axis.set_yticks(range(k), scores.classes)
    axis.set_title(title)
    return finish(axis, "predicted", "true", legend=False)


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

    figure, (left, right) = pyplot().subplots(1, 2, figsize=(8.6, 4.0))
    present = [k for k in range(len(classes)) if 0 < (labels == k).sum() < len(labels)]
    for k in present[1:] if len(classes) == 2 else present:
        false, found, _ = roc_curve(labels == k, probabilities[:, k], drop_intermediate=False)
        color = PALETTE[k % 8] if len(present) <= 8 else "0.6"
        left.plot(false, found, linewidth=1.5, color=color, label=str(classes[k]))
    finish(left, "others that are flagged (1 - specificity)", "members that are found (sensitivity)", legend=False)
    if len(present) <= 8:
        left.legend(loc="lower right", fontsize=9)
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == labels
    tenth = np.minimum((10 * confidence).astype(int), 9)
    for b in np.unique(tenth):
        at = tenth == b
        right.bar((b + 0.5) / 10, correct[at].mean(), 0.092, color=PALETTE[0], alpha=0.35 + 0.65 * at.mean())
        right.text((b + 0.5) / 10, correct[at].mean() + 0.01, str(at.sum()), ha="center", fontsize=8)
    finish(right, "confidence (the number of answers above each bar)", "share that is right", legend=False)
    for axis in (left, right):
        axis.plot([0, 1], [0, 1], color="0.4", linestyle="--", linewidth=1)
        axis.set(xlim=(0, 1.01), ylim=(0, 1.07))
    figure.tight_layout()
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
    figure, axes = bare_axes(len(views), len(groups), 5.5 * len(groups), 4.2 * len(views))
    for line, (title, xy) in zip(axes, views.items(), strict=True):
        for axis, (what, (group, names)) in zip(line, groups.items(), strict=True):
            for k, name in enumerate(names):
                axis.scatter(*xy[np.asarray(group) == k].T, s=18, alpha=0.7, linewidths=0, label=name, **mark(k))
            axis.set_title(f"{title}, by {what}")
    for axis in axes[-1]:
        axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=3, fontsize=10, markerscale=1.5)
    return figure
