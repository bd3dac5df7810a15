"""What a run's record says of its model: scores, what the shift did to it, and how accurate it seems to be at the target."""

from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np

from .. import estimation, operating
from ..domains import Domain
from ..evaluation import METRICS, Scores, evaluate
from . import selection, shift


def measured(candidate: selection.Candidate, test: Domain | None) -> dict:
    """All that a record says of a trained model; `test` is the labeled test part of the target, where there is one."""
    on_source = evaluate(candidate.model, candidate.source.test)
    on_target = None if test is None else evaluate(candidate.model, test)
    found: dict = {"source": _numbers(on_source), "target": on_target and _numbers(on_target)}
    if candidate.source.test.site is not None:
        found["sites"] = _by_site(on_source, candidate.source.test)
    found["shift"] = _shift(candidate, on_source, on_target)
    return found | {"estimate": _estimates(candidate, on_source, found["shift"]["temperature"])}


def _numbers(scores: Scores) -> dict[str, float]:
    return {name: getattr(scores, name) for name in METRICS} | {"n": scores.n}


def _by_site(on_source: Scores, test: Domain) -> dict[str, dict[str, float]]:
    """The scores of each site of the source's test part, by name."""
    assert test.site is not None
    found = {}
    for k in test.site.unique().tolist():
        rows = (test.site == k).cpu().numpy()
        p, labels = on_source.probabilities[rows], on_source.labels[rows]
        found[test.sites[k]] = _numbers(replace(on_source, probabilities=p, labels=labels, groups=None))
    return found


def _shift(candidate: selection.Candidate, on_source: Scores, on_target_test: Scores | None) -> dict:
    """What the shift did to the model. Class shares rest on the source's val and test parts; the temperature on val."""
    on_val, on_target, labels = _answers(candidate)
    predicted, truth = np.r_[on_val.argmax(1), on_source.predictions], np.r_[labels, on_source.labels]
    shares = shift.target_shares(predicted, truth, on_target.argmax(1), len(candidate.model.classes))
    temperature = operating.temperature(on_val, labels)
    found = {name: getattr(shares, name).tolist() for name in ("estimate", "low", "high", "source")}
    found |= {"distance": shares.distance, "differs": shares.differs, "temperature": temperature}
    found["confidence_source"] = float(on_source.probabilities.max(1).mean())
    found["confidence_target"] = float(on_target.max(1).mean())
    for name, scores in (("source", on_source), ("target", on_target_test)):
        if scores is not None:
            p = operating.scaled(scores.probabilities, temperature)
            found[f"ece_{name}_scaled"] = replace(scores, probabilities=p).ece
    return found


def _estimates(candidate: selection.Candidate, on_source: Scores, temperature: float) -> dict:
    """Estimated accuracy at the target, of probabilities whose temperature was fitted on the source's validation images,
    each `[value, low, high]`; and the answers there, by which seeds are held against each other."""
    val, target, labels = _answers(candidate)
    held = operating.scaled(np.r_[val, on_source.probabilities], temperature)
    sides = held, np.r_[labels, on_source.labels], operating.scaled(target, temperature)
    kinds = (estimation.average_thresholded_confidence, estimation.difference_of_confidences)
    found: dict = {kind.__name__: list(estimation.interval(kind, *sides)) for kind in kinds}
    answers = target.argmax(1).astype(np.uint8 if target.shape[1] < 256 else np.uint16)
    return found | {"answers": base64.b64encode(answers.tobytes()).decode(), "bytes": answers.itemsize}


def _answers(candidate: selection.Candidate) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities on the source's validation part and on the target, and the validation part's labels."""
    on_val, on_target = (logits.softmax(1).numpy() for _, logits in (candidate.on_source_val, candidate.on_target))
    return on_val, on_target, candidate.source_val_labels.numpy()
