"""Pictures: each function returns a matplotlib Figure, for `xl.lab.show(figure, alt=...)` or `figure.savefig`."""

from .answers import clouds, confusion, maps, roc_and_reliability
from .charts import bars, by_depth, curves, lines, ranking, scatter
from .drawing import MARKERS, PALETTE, mark, pyplot, style
from .pictures import contact_sheet, images, pieces

__all__ = [
    "MARKERS",
    "PALETTE",
    "bars",
    "by_depth",
    "clouds",
    "confusion",
    "contact_sheet",
    "curves",
    "images",
    "lines",
    "maps",
    "mark",
    "pieces",
    "pyplot",
    "ranking",
    "roc_and_reliability",
    "scatter",
    "style",
]
