"""compare(): every recipe, every seed; what can be told from them without target labels."""

from . import selection
from .compare import compare, cost
from .leaderboard import Leaderboard

__all__ = ["Leaderboard", "compare", "cost", "selection"]
