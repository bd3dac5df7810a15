"""How to learn: one class a technique, one file a family. Objectives add up, so techniques combine."""

from .adversarial import ADDA, BSP, CDAN, DANN, WDGRL
from .discrepancy import CORAL, JMMD, MMD, DeepJDOT, SlicedWasserstein
from .disparity import MCD, MDD
from .masked_language import MaskedLanguageModeling
from .objective import Batch, Objective, Step
from .pretraining import MaskedAutoencoder, RotationPrediction, SimCLR
from .regularization import BSS, DELTA, EMA, L2SP, SWA, CoTuning, Distillation, LwF
from .selftraining import (
    AFN,
    BNM,
    MCC,
    EntropyMinimization,
    FixMatch,
    InformationMaximization,
    MeanTeacher,
    PseudoLabel,
)
from .supervised import CrossEntropy, GroupDRO

__all__ = [
    "ADDA",
    "AFN",
    "BNM",
    "BSP",
    "BSS",
    "CDAN",
    "CORAL",
    "DANN",
    "DELTA",
    "EMA",
    "JMMD",
    "L2SP",
    "MCC",
    "MCD",
    "MDD",
    "MMD",
    "SWA",
    "WDGRL",
    "Batch",
    "CoTuning",
    "CrossEntropy",
    "DeepJDOT",
    "Distillation",
    "EntropyMinimization",
    "FixMatch",
    "GroupDRO",
    "InformationMaximization",
    "LwF",
    "MaskedAutoencoder",
    "MaskedLanguageModeling",
    "MeanTeacher",
    "Objective",
    "PseudoLabel",
    "RotationPrediction",
    "SimCLR",
    "SlicedWasserstein",
    "Step",
]
