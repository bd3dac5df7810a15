"""Near-duplicates: the same picture in two parts of a split makes the test score too good."""

from __future__ import annotations

import warnings
from collections import Counter
from itertools import combinations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, normalize

from ..errors import DataError
from .domain import Splits

ALIKE = 0.998  # correlation of 16x16 thumbnails
LEVELS = 4.0  # mean absolute difference in gray levels, of 255
CHECKED = 20_000  # images: `load` looks at sets up to this size; call `near_duplicates` yourself for larger ones


def near_duplicates(splits: Splits) -> list[tuple[str, int, str, int]]:
    """Pictures of one part that are in another: `(part, index, other part, index)`, one pair per picture of the later part.

    A pair is reported when its 16x16 gray thumbnails correlate above 0.998 and its pixels differ by at most 4 gray levels
    on average: a copy, a recompressed or a slightly brightened copy; not a flipped or cropped one. Blank pictures are never
    reported.

    Raises
    ------
    DataError
        For a domain that holds no images.
    """
    parts = splits.parts()
    shapes = {tuple(part.inputs.shape[1:]) for part in parts.values()}
    if len(shapes) > 1 or not splits.train.is_image:
        raise DataError(f"near_duplicates compares images of one shape; {splits.name!r} holds {sorted(shapes)}")
    thumbs = {name: _thumbnails(part.inputs) for name, part in parts.items()}
    return [
        (first, i, second, j)
        for first, second in combinations(parts, 2)
        for i, j in _matches(parts[first].inputs, thumbs[first], parts[second].inputs, thumbs[second])
    ]


def repeats(images: Tensor) -> Tensor:
    """Which of the pictures `(N, C, H, W)` are near-duplicates of an earlier one, see `near_duplicates`; of token ids `(N, L)`,
    which are the same as an earlier row. Bool `(N,)`."""
    if images.ndim == 2:
        first: dict[bytes, int] = {}
        return torch.tensor([first.setdefault(row.numpy().tobytes(), i) < i for i, row in enumerate(images)])
    found = torch.zeros(len(images), dtype=torch.bool)
    found[[late for _, late in pairs(images)]] = True
    return found


def pairs(images: Tensor) -> list[tuple[int, int]]:
    """Near-duplicates among the pictures `(N, C, H, W)`: the row of each with that of the earlier one most like it, which is first."""
    thumbs = _thumbnails(images)
    return _matches(images, thumbs, images, thumbs, before=True)


def _matches(
    early: Tensor, early_thumbs: Tensor, late: Tensor, late_thumbs: Tensor, before: bool = False
) -> list[tuple[int, int]]:
    """The row of `early` that each near-duplicate in `late` is most like, with its own; with `before` only lower rows count."""
    found = []
    for start in range(0, len(late), 256):
        likeness = late_thumbs[start : start + 256] @ early_thumbs.T
        most, best = (likeness.tril(start - 1) if before else likeness).max(1)
        rows = (most > ALIKE).nonzero().squeeze(1).tolist()
        found += [(int(best[k]), start + k) for k in rows if _alike(early[int(best[k])], late[start + k])]
    return found


def _alike(early: Tensor, late: Tensor) -> bool:
    """Whether two pictures `(C, H, W)` are near, and correlate without the black bars of padding, which make any two blurred ones alike."""
    if (early.float() - late.float()).abs().mean() > LEVELS:
        return False
    filled = torch.maximum(early, late).amax(0) > 0
    inside = [part[:, filled.any(1)][:, :, filled.any(0)] for part in (early, late)]
    return inside[0].shape == late.shape or bool(_thumbnails(torch.stack(inside)).prod(0).sum() > ALIKE)


def warn_near_duplicates(splits: Splits):
    """One warning that counts the near-duplicates across parts and names the first few, by file where there are files."""
    if sum(map(len, splits.parts().values())) > CHECKED:
        return
    if not (found := near_duplicates(splits)):
        return

    def show(part: str, row: int) -> str:
        names = splits.parts()[part].files
        return f"{part}[{row}]" if names is None else names[row]

    listed = "; ".join(f"{show(a, i)} and {show(b, j)}" for a, i, b, j in found[:5])
    across = Counter((b, a) for a, _, b, _ in found)
    counts = ", ".join(f"{n} of {late} in {early}" for (late, early), n in across.items())
    warnings.warn(
        f"{splits.name!r}: the same picture is in two parts ({counts}): {listed}{'; ...' if len(found) > 5 else ''}. Scores on "
        "them will be too good: remove one of each, or give groups so that a patient stays in one part",
        stacklevel=3,
    )


def _thumbnails(images: Tensor) -> Tensor:
    """Unit vectors `(N, 256)` whose dot product is the correlation of 16x16 gray thumbnails; zeros for blank pictures."""
    step = max(1, 2**21 // images[0].numel())  # large pictures a few at a time
    # whole: small results kept between large ones would leave the heap in pieces
    thumbs = torch.empty(len(images), 16, 16)
    for start in range(0, len(images), step):
        part = images[start : start + step].float().mean(1)
        thumbs[start : start + step] = adaptive_avg_pool2d(part, 16)
    thumbs = thumbs.flatten(1)
    thumbs = thumbs - thumbs.mean(1, keepdim=True)
    blank = thumbs.square().mean(1) < 1.0
    return normalize(thumbs, dim=1).masked_fill(blank.unsqueeze(1), 0.0)
