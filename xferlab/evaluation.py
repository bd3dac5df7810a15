"""Scores with intervals and calibration, and the features a model sees."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from .domains import Domain
from .encoders import Classifier
from .encoders.base import evaluation_mode
from .encoders.folding import folded
from .errors import ArgumentError, DataError
from .machine import give_back

__all__ = ["Scores", "evaluate", "format_interval", "gain", "paired", "predict", "t_interval"]

METRICS = ("accuracy", "balanced_accuracy", "auc", "ece")
BINS = 15  # of confidence, for the calibration error
DRAWS = 5  # no difference is called separated below so many draws or seeds


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients, batch norms folded; every submodule gets its own mode back afterwards."""
    with evaluation_mode(model), torch.inference_mode(), folded(model):
        yield


def predict(model: nn.Module, domain: Domain, batch_size: int | None = None) -> Tensor:
    """Probabilities on the CPU: softmax, or sigmoid where the domain is multi-label.

    Parameters
    ----------
    model, domain
        What answers, and on what.
    batch_size
        Examples a forward pass; None chooses by the size of a picture and the device.

    Returns
    -------
    Tensor
        `(N, K)`, float32.

    Raises
    ------
    DataError
        Where the model gives values that are not finite.

    Examples
    --------
    >>> xl.predict(model, target.val).shape[1]
    10
    """
    logits = in_batches(model, model, domain, batch_size)
    return logits.sigmoid() if domain.multilabel else logits.softmax(dim=1)


# of a forward pass: what a CPU's caches hold of an early layer, what fills a GPU
CPU_PIXELS, GPU_PIXELS = 3 * 2**16, 2**22


def inference_batch(model: nn.Module, domain: Domain) -> int:
    """Examples a forward pass without gradients, by the size that the model sees a picture in and the device."""
    if not domain.is_image:
        return 64
    height, width = getattr(getattr(model, "encoder", model), "size", None) or domain.inputs.shape[-2:]
    pixels = CPU_PIXELS if next(model.parameters()).device.type == "cpu" else GPU_PIXELS
    return min(max(pixels // (height * width), 8), 512)


def in_batches(model: nn.Module, compute, domain: Domain, batch_size: int | None) -> Tensor:
    """`compute` on a domain's inputs a batch at a time, `model` in evaluation mode; float32 on the CPU, in the domain's order.

    Raises
    ------
    DataError
        Where the result is not finite.
    """
    device = next(model.parameters()).device
    batch_size = inference_batch(model, domain) if batch_size is None else batch_size
    inputs, back = domain.inputs, None
    if not domain.is_image:
        order = (inputs != 0).sum(1).argsort(stable=True)  # texts of like length together: less padding to read
        inputs, back = inputs[order], order.argsort().cpu()
    outputs = torch.empty(0)
    with evaluating(model):
        for start in range(0, len(inputs), batch_size):
            part = compute(inputs[start : start + batch_size].to(device)).float()
            if start == 0:  # whole: small results kept between large activations would leave the heap in pieces
                with torch.inference_mode(False):  # a head may be trained on it
                    outputs = torch.empty(len(inputs), *part.shape[1:])
            outputs[start : start + len(part)] = part
    give_back()
    outputs = outputs if back is None else outputs[back]
    if not torch.isfinite(outputs).all():
        rows = (~torch.isfinite(outputs).all(dim=1)).sum()
        raise DataError(
            f"the model gives NaN or infinity on {rows} of {len(domain)} examples of {domain.name!r}; its training diverged"
        )
    return outputs


@dataclass(frozen=True)
class Scores:
    """How well probabilities `(N, K)` fit labels `(N,)` or `(N, K)`.

    Parameters
    ----------
    probabilities, labels
        `(N, K)`, and `(N,)` or `(N, K)`.
    classes
        K names.
    groups
        Patients or slides `(N,)`; where given, intervals draw these and not single examples.
    name
        Of the domain.

    Attributes
    ----------
    accuracy
        Share of right answers.
    balanced_accuracy
        Mean recall over the classes that are present.
    auc
        As MedMNIST's evaluator: one class against the rest, averaged over the classes.
    ece
        Expected calibration error, 15 equal bins of confidence (Guo et al., 2017, arXiv:1706.04599).
    n
        Examples.

    Examples
    --------
    >>> scores = xl.evaluate(model, target.val)
    >>> low, high = scores.interval("accuracy")
    >>> low <= scores.accuracy <= high
    True
    """

    probabilities: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    groups: np.ndarray | None = None
    name: str = ""

    @property
    def n(self) -> int:
        return len(self.labels)

    @property
    def predictions(self) -> np.ndarray:
        return self.probabilities >= 0.5 if self._multilabel else self.probabilities.argmax(1)

    @property
    def accuracy(self) -> float:
        return float((self.predictions == self.labels).mean())

    @property
    def balanced_accuracy(self) -> float:
        columns = [(self.predictions, self.labels)]
        if self._multilabel:
            columns = [(p > 1 - p, y) for p, y in zip(self.probabilities.T, self.labels.T, strict=True)]
        recalls = [[(predicted[y == k] == k).mean() for k in np.unique(y)] for predicted, y in columns]
        return float(np.mean([np.mean(each) for each in recalls]))

    @property
    def auc(self) -> float:
        """NaN when no class has both members and others."""
        p, y = self.probabilities, self.labels
        truth = y if self._multilabel else (y[:, None] == np.arange(p.shape[1])).astype(int)
        columns = [1] if y.ndim == 1 and p.shape[1] == 2 else range(p.shape[1])
        values = [_binary_auc(p[:, k], truth[:, k]) for k in columns if 0 < truth[:, k].sum() < len(truth)]
        return float(np.mean(values)) if values else float("nan")

    @property
    def ece(self) -> float:
        confidence, right = self.probabilities.max(1), self.predictions == self.labels
        if self._multilabel:
            confidence, right = np.maximum(self.probabilities, 1 - self.probabilities).ravel(), right.ravel()
        which = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
        gap = np.bincount(which, weights=right - confidence, minlength=BINS)
        return float(np.abs(gap).sum() / len(confidence))

    @property
    def confusion(self) -> np.ndarray:
        """Counts `(K, K)`, true class by row, predicted class by column."""
        k = len(self.classes)
        if self._multilabel:
            raise ArgumentError("a multi-label domain has no single confusion matrix")
        return np.bincount(self.labels * k + self.predictions, minlength=k * k).reshape(k, k)

    @property
    def outside(self) -> float:
        """Share of answers that name a class of which there is no example here: of a target that holds half the classes, say."""
        return 0.0 if self._multilabel else float((~np.isin(self.predictions, self.labels)).mean())

    @property
    def _multilabel(self) -> bool:
        return self.labels.ndim == 2

    def interval(
        self, metric: str = "balanced_accuracy", level: float = 0.95, draws: int = 500, seed: int = 0
    ) -> tuple[float, float]:
        """Percentile bootstrap over examples, or over whole groups where there are groups: the test set's sampling error.

        It does not hold the error of training again with another seed; for that, compare runs.
        """
        if metric not in METRICS:
            raise ArgumentError(f"no metric is called {metric!r}; there are {', '.join(METRICS)}")
        rng = np.random.default_rng(seed)
        units = np.arange(self.n) if self.groups is None else np.unique(self.groups, return_inverse=True)[1]
        members = np.split(np.argsort(units, kind="stable"), np.cumsum(np.bincount(units))[:-1])
        values = []
        for _ in range(draws):
            rows = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
            drawn = replace(self, probabilities=self.probabilities[rows], labels=self.labels[rows])
            values.append(getattr(drawn, metric))
        tail = (1 - level) / 2 * 100
        low, high = np.nanpercentile(values, [tail, 100 - tail])
        return float(low), float(high)

    def __repr__(self) -> str:
        low, high = self.interval("balanced_accuracy")
        return (
            f"{self.name}: balanced accuracy {self.balanced_accuracy:.3f} [{low:.3f}, {high:.3f}], accuracy {self.accuracy:.3f}, "
            f"AUC {self.auc:.3f}, ECE {self.ece:.3f}, n {self.n}"
        ) + (f", {self.outside:.0%} of answers in classes that are not here" if self.outside else "")


def evaluate(model: Classifier, domain: Domain, batch_size: int | None = None) -> Scores:
    """Scores of a Classifier on a labeled domain, in evaluation mode; classes are matched by name.

    Parameters
    ----------
    model
        Its classes may be more than the domain's.
    domain
        Labeled.
    batch_size
        See `predict`.

    Returns
    -------
    Scores
        Accuracy, balanced accuracy, AUC and calibration, with intervals.

    Raises
    ------
    DataError
        When the domain has no labels, or a class the model does not know.

    Examples
    --------
    >>> print(xl.evaluate(model, target.val))
    digits/optdigits: balanced accuracy ...
    """
    domain = domain.align(model.classes)
    if domain.labels is None:
        raise DataError(f"domain {domain.name!r} has no labels to score against; pass a labeled domain")
    groups = None if domain.groups is None else domain.groups.cpu().numpy()
    probabilities = predict(model, domain, batch_size).numpy()
    return Scores(probabilities, domain.labels.cpu().numpy(), model.classes, groups, domain.name)


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Mean and the t-interval's ends.

    Parameters
    ----------
    values
        One a draw or seed.
    level
        Of the interval.

    Returns
    -------
    tuple of float
        Mean, low, high; the ends are NaN for fewer than two values.

    Examples
    --------
    >>> [round(x, 2) for x in xl.evaluation.t_interval([0.8, 0.9, 1.0])]
    [0.9, 0.65, 1.15]
    """
    from scipy.stats import t

    x = np.asarray(values, dtype=float)
    mean, n = x.mean(), len(x)
    if n < 2:
        return float(mean), float("nan"), float("nan")
    half = t.ppf(0.5 + level / 2, n - 1) * x.std(ddof=1) / np.sqrt(n)
    return float(mean), float(mean - half), float(mean + half)


def gain(differences: Sequence[float]) -> dict:
    """Paired differences as one: "separated" means that there are five or more and the interval leaves out zero.

    Parameters
    ----------
    differences
        One a draw or seed.

    Returns
    -------
    dict
        `gain` (their mean), `low`, `high` (95 % t-interval), `n` and `verdict`.

    Examples
    --------
    >>> xl.evaluation.gain([0.1, 0.12, 0.09, 0.11, 0.1])["verdict"]
    'separated'
    """
    mean, low, high = t_interval(differences)
    n, apart = len(differences), low > 0 or high < 0
    verdict = f"only {n} run{'s' * (n != 1)}" if n < DRAWS else "separated" if apart else "not separated"
    return {"gain": mean, "low": low, "high": high, "n": n, "verdict": verdict}


def format_interval(mean: float, low: float, high: float, sign: str = "") -> str:
    """A mean and its interval as text, the mean alone where there is no interval.

    Parameters
    ----------
    mean, low, high
        As `t_interval` gives them.
    sign
        "+" writes a difference's sign.

    Returns
    -------
    str
        In three digits.

    Examples
    --------
    >>> xl.evaluation.format_interval(0.512, 0.433, 0.591)
    '0.512 [0.433, 0.591]'
    """
    return f"{mean:{sign}.3f}" + ("" if np.isnan(low) else f" [{low:{sign}.3f}, {high:{sign}.3f}]")


def paired(rows: Sequence[Mapping], value: str, baseline: str, *, by: str = "method", unit: str = "draw") -> list[dict]:
    """What each method gains over `baseline` within the same `unit` (a draw of labels, a seed), the luck of which both share.

    Parameters
    ----------
    rows
        Dicts with the columns `by` (the method), `unit` and `value`.
    value, baseline
        The column that is compared, and the method that all others are compared with.
    by, unit
        Names of those columns.

    Returns
    -------
    list of dict
        One a method, with its name and its `gain`.

    Raises
    ------
    ArgumentError
        When no row is of the baseline.

    Examples
    --------
    >>> rows = [{"method": m, "draw": d, "accuracy": a} for m, d, a in [("a", 0, 0.5), ("b", 0, 0.75)]]
    >>> xl.evaluation.paired(rows, "accuracy", "a")[0]["gain"]
    0.25
    """
    values = {(row[by], row[unit]): row[value] for row in rows}
    base = {u: v for (name, u), v in values.items() if name == baseline}
    names = list(dict.fromkeys(name for name, _ in values))
    if not base:
        raise ArgumentError(f"no row has {by}={baseline!r}; there are {', '.join(map(str, names))}")
    gains = {name: [v - base[u] for (n, u), v in values.items() if n == name and u in base] for name in names}
    return [{by: name} | gain(found) for name, found in gains.items() if found and name != baseline]


def _binary_auc(score: np.ndarray, truth: np.ndarray) -> float:
    """The chance that a random member scores above a random other one, ties counting half (Mann-Whitney)."""
    from scipy.stats import rankdata

    positive = truth == 1
    n1, n0 = positive.sum(), (~positive).sum()
    return (rankdata(score)[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0)
