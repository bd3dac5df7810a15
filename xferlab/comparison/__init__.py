"""compare(): every recipe, every seed; what can be told from them without target labels."""

from . import selection
from .compare import compare
from .definitions import cost
from .leaderboard import Leaderboard
from .look import look

__all__ = ["Leaderboard", "compare", "cost", "look", "selection"]
