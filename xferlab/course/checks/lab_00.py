"""What lab 00's checks recognize."""

from __future__ import annotations

import numpy as np
import torch

from ...domains import Domain, load
from . import Mistake, recognizes


@recognizes("00.1", right="Now you know how a check answers.")
def how_many_eights(eights):
    if torch.as_tensor(eights).numel() > 1:
        return Mistake("whole_list")
    eights, counts = int(eights), load("digits/optdigits").train.counts()
    if eights == int(counts.sum()):
        return Mistake("all_of_them")
    if eights == int(load("digits/mnist").train.counts()[8]):
        return Mistake("other_place")
    if eights == int(counts[8]):
        return None
    digits = " and ".join(str(k) for k in range(10) if int(counts[k]) == eights)
    return f"{eights} is the count of {digits or 'no digit'} in the training part of the target."


@recognizes("00.2", right="That is all that training may see of a target.")
def visible_target(visible):
    if not isinstance(visible, Domain):
        return f"This is a {type(visible).__name__}; a Domain is wanted, such as one part of `target`."
    if visible.labels is not None:
        return Mistake("leaked_labels")
    target = load("digits/optdigits")
    if torch.equal(visible.inputs, target.train.inputs):
        return None
    if visible.inputs.shape == target.test.inputs.shape and torch.equal(visible.inputs, target.test.inputs):
        return Mistake("test_images")
    if visible.name != target.train.name:
        return Mistake("source_side")
    return "This is not the whole training part of the target."


@recognizes("00.3", right="A whole patient, and only whole patients.")
def fair_split(test_slides):
    slides = {int(slide) for slide in np.atleast_1d(list(test_slides) if isinstance(test_slides, set) else test_slides)}
    if slides in ({0, 1}, {2, 3}):
        return None
    if not slides or not slides <= {0, 1, 2, 3}:
        return f"{sorted(slides)} are not some of the slides 0, 1, 2 and 3."
    if slides == {0, 1, 2, 3}:
        return Mistake("nothing_to_train")
    if len(slides) == 1:
        return Mistake("half_a_patient")
    return Mistake("patient_straddles")


@recognizes("00.4", right="Pairing takes out the luck that both share.")
def what_may_be_said(statement):
    known = {"A": Mistake("higher_is_better"), "B": Mistake("overlap_is_equal"), "C": None}
    return known.get(str(statement).strip().upper()[:1], f"{statement!r} is none of the letters A, B and C.")
