"""What lab 00's checks recognize."""

import numpy as np
import torch

from ...domains import Domain, load
from . import number, recognizes


@recognizes("00.1", right="Now you know how a check answers.")
def how_many_eights(eights):
    yield torch.as_tensor(eights).numel() > 1, "whole_list"
    eights, counts = int(eights), load("digits/optdigits").train.counts().tolist()
    mistakes = dict(all_of_them=sum(counts), other_place=int(load("digits/mnist").train.counts()[8]))
    digits = " and ".join(str(digit) for digit, count in enumerate(counts) if count == eights)
    otherwise = f"{eights} is the count of {digits or 'no digit'} in the training part of the target."
    yield from number(eights, counts[8], mistakes, otherwise)


@recognizes("00.2", right="That is all that training may see of a target.")
def visible_target(visible):
    kind = type(visible).__name__
    yield not isinstance(visible, Domain), f"This is a {kind}; a Domain is wanted, such as one part of `target`."
    yield visible.labels is not None, "leaked_labels"
    target = load("digits/optdigits")
    if not torch.equal(visible.inputs, target.train.inputs):
        yield torch.equal(visible.inputs, target.test.inputs), "test_images"
        yield visible.name != target.train.name, "source_side"
        yield True, "This is not the whole training part of the target."


@recognizes("00.3", right="A whole patient, and only whole patients.")
def fair_split(test_slides):
    slides = {int(slide) for slide in np.atleast_1d(list(test_slides) if isinstance(test_slides, set) else test_slides)}
    yield not slides or not slides <= {0, 1, 2, 3}, f"{sorted(slides)} are not some of the slides 0, 1, 2 and 3."
    yield len(slides) == 4, "nothing_to_train"
    yield len(slides) == 1, "half_a_patient"
    yield slides not in ({0, 1}, {2, 3}), "patient_straddles"


@recognizes("00.4", right="Pairing takes out the luck that both share.")
def what_may_be_said(statement):
    letter = str(statement).strip().upper()[:1]
    yield letter == "A", "higher_is_better"
    yield letter == "B", "overlap_is_equal"
    yield letter != "C", f"{statement!r} is none of the letters A, B and C."
