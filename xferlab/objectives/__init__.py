"""How to learn: one class a technique, one file a family. Objectives add up, so techniques combine."""

from .objective import Batch, Objective, Step
from .supervised import CrossEntropy

__all__ = ["Batch", "CrossEntropy", "Objective", "Step"]
