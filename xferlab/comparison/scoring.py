"""What a run's record says of its model: scores, what the shift did to it, and how accurate it seems to be at the target."""

import base64
from dataclasses import replace

import numpy as np

from .. import estimation, operating
from ..domains import Domain
from ..evaluation import METRICS, Scores, evaluate
from . import selection, shift


def measured(candidate: selection.Candidate, test: Domain | None) -> dict:
    """All that a record says of a trained model; `test` is the labeled test part of the target, where there is one."""
    model, source = candidate.model, candidate.source.test
    on_source = evaluate(model, source)
    scores = {"source": on_source, "target": None if test is None else evaluate(model, test)}
    found: dict = {side: part and _numbers(part) for side, part in scores.items()}
    if source.site is not None:
        found["sites"] = {}
        for k in source.site.unique().tolist():
            rows = (source.site == k).cpu().numpy()
            p, labels = on_source.probabilities[rows], on_source.labels[rows]
            found["sites"][source.sites[k]] = _numbers(replace(on_source, probabilities=p, labels=labels, groups=None))
    val, target = (logits.softmax(1).numpy() for _, logits in (candidate.on_source_val, candidate.on_target))
    labels = candidate.source_val_labels.numpy()
    temperature = operating.temperature(val, labels)
    # what shares and estimates rest on: all of the source that training did not see
    held, truth = np.r_[val, on_source.probabilities], np.r_[labels, on_source.labels]
    shares = shift.target_shares(held.argmax(1), truth, target.argmax(1), held.shape[1])
    measured = {name: getattr(shares, name).tolist() for name in ("estimate", "low", "high", "source")}
    measured |= {"distance": shares.distance, "differs": shares.differs, "temperature": temperature}
    for side, p in (("source", on_source.probabilities), ("target", target)):
        measured[f"confidence_{side}"] = float(p.max(1).mean())
    for side, part in scores.items():
        if part is not None:
            p = operating.scaled(part.probabilities, temperature)
            measured[f"ece_{side}_scaled"] = replace(part, probabilities=p).ece
    return found | {"shift": measured, "estimate": _estimates(held, truth, target, temperature)}


def _numbers(scores: Scores) -> dict[str, float]:
    return {name: getattr(scores, name) for name in METRICS} | {"n": scores.n}


def _estimates(held: np.ndarray, truth: np.ndarray, target: np.ndarray, temperature: float) -> dict:
    """Estimated accuracy at the target, each `[value, low, high]`; and the answers there, by which seeds are held against each other."""
    sides = operating.scaled(held, temperature), truth, operating.scaled(target, temperature)
    kinds = (estimation.average_thresholded_confidence, estimation.difference_of_confidences)
    found: dict = {kind.__name__: list(estimation.interval(kind, *sides)) for kind in kinds}
    answers = target.argmax(1).astype(np.uint8 if target.shape[1] < 256 else np.uint16)
    return found | {"answers": base64.b64encode(answers.tobytes()).decode(), "bytes": answers.itemsize}
