"""Figures that show examples: sheets of images, maps over them, pieces of text."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..domains import Domain
from .drawing import PALETTE, bare_axes, new_axis


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
    classes, columns = domains[0].classes, per_class * len(domains)
    figure, axes = bare_axes(len(classes), columns, 0.72 * columns + 1.6, 0.72 * len(classes) + 0.6)
    for d, domain in enumerate(domains):
        drawn = domain.align(classes).take(per_class=per_class, seed=seed)
        for k, name in enumerate(classes):
            axes[k, 0].set_ylabel(name, rotation=0, ha="right", va="center")
            for j, member in enumerate(drawn.inputs[drawn.labels == k]):
                axes[k, d * per_class + j].imshow(_picture(member))
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
    columns = max(len(row) for row in rows.values())
    figure, axes = bare_axes(len(rows), columns, 0.9 * columns + 1.6, 0.9 * len(rows))
    for (name, row), line in zip(rows.items(), axes, strict=True):
        for j, axis in enumerate(line[: len(row)]):
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

    axis = new_axis(10, 0.75 * len(texts))
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
