"""Pictures: each function returns a matplotlib Figure, for `xl.lab.show(figure, alt=...)` or `figure.savefig`."""

from .answers import clouds, confusion, maps, roc_and_reliability
from .charts import bars, by_depth, curves, lines, ranking, scatter
from .pictures import contact_sheet, images, pieces
from .drawing import MARKERS, PALETTE, mark, pyplot, style
