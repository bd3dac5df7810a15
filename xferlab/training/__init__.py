"""fit(): the one loop, and what it is made of."""

from .fit import fit, refuse_multilabel, schedule
from .keeping import Run

__all__ = ["Run", "fit", "refuse_multilabel", "schedule"]
