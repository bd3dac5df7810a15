"""fit(): the one loop, and what it is made of."""

from .fit import fit
from .keeping import Run

__all__ = ["Run", "fit"]
