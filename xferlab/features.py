"""Features computed once and kept, and what can be read from them without training the encoder: ridge regression, neighbors."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, overload

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .domains import Domain
from .encoders import Classifier, Encoder, recording
from .errors import ArgumentError, DataError
from .evaluation import in_batches
from .storage import cache_folder, fingerprint, write_atomically

if TYPE_CHECKING:
    from .encoders.text import TextEncoder

    Reader = Classifier | Encoder | TextEncoder
    Layers = list[str] | tuple[str, ...]


@overload
def embed(model: Reader, domain: Domain, *, layer: str | None = None, cache: bool | str | Path = True) -> Tensor: ...
@overload
def embed(model: Reader, domain: Domain, *, layer: Layers, cache: bool | str | Path = True) -> dict[str, Tensor]: ...
def embed(
    model: Reader, domain: Domain, *, layer: str | Layers | None = None, cache: bool | str | Path = True
) -> Tensor | dict[str, Tensor]:
    """Features of a Classifier or Encoder in evaluation mode, float32 on the CPU.

    Parameters
    ----------
    model, domain
        What sees, and what is seen.
    layer
        Name of an encoder block, whose activations are averaged over space; None for the encoder's output; several
        names give a dict of features by name, from one pass.
    cache
        True keeps them in the cache folder, named by the content of weights and inputs, so that a changed weight or
        image is noticed; a path keeps them there; False computes them anew.

    Returns
    -------
    Tensor or dict
        `(N, D)`, or by layer where several were asked for.

    Raises
    ------
    ArgumentError
        For a layer the encoder lacks.
    DataError
        When features are not finite.

    Examples
    --------
    >>> xl.embed(model, target.val, cache=False).shape[1] == model.encoder.dim
    True
    """
    encoder = model.encoder if isinstance(model, Classifier) else model
    layers = [layer] if layer is None or isinstance(layer, str) else list(dict.fromkeys(layer))
    found: dict[str | None, Tensor] = {}
    if cache:
        settings = (encoder.name, encoder.size, encoder.channels, encoder.mean, encoder.std)
        content = fingerprint(settings, encoder.state_dict(), domain.inputs)
        folder = cache_folder("features") if cache is True else Path(cache)
        paths = {name: folder / f"{content}_{name or 'output'}.safetensors" for name in layers}
        for name, path in paths.items():
            with contextlib.suppress(OSError, SafetensorError, KeyError):  # absent or damaged: computed anew
                found[name] = load_file(path)["features"]
    missing = [name for name in layers if name not in found]
    if missing:
        widths: list[int] = []
        with recording(encoder, [name for name in missing if name]) as seen:

            def side_by_side(inputs: Tensor) -> Tensor:
                output = encoder(inputs)
                parts = [pool(seen[name].pop()) if name else output for name in missing]
                widths[:] = [part.shape[1] for part in parts]
                for left in seen.values():  # a block that ran several times, as on turned views
                    left.clear()
                return torch.cat(parts, 1)

            features = in_batches(encoder, side_by_side, domain, None)
        found |= {name: part.clone() for name, part in zip(missing, features.split(widths, 1), strict=True)}
    for name in missing if cache else ():
        # a read-only or full cache costs the pass again, nothing else
        with contextlib.suppress(DataError), write_atomically(paths[name]) as temporary:
            save_file({"features": found[name]}, temporary)
    return found[layer] if layer is None or isinstance(layer, str) else {name: found[name] for name in layer}


def pool(activation: Tensor) -> Tensor:
    """Activations averaged over space.

    Parameters
    ----------
    activation
        `(B, C, ...)`.

    Returns
    -------
    Tensor
        `(B, C)`.

    Examples
    --------
    >>> xl.features.pool(torch.ones(2, 8, 7, 7)).shape
    torch.Size([2, 8])
    """
    return activation.flatten(2).mean(2) if activation.ndim > 2 else activation


@dataclass(frozen=True)
class RidgePath:
    """Ridge classifiers for every L2 value: from `ridge_path`.

    Parameters
    ----------
    alphas
        Float64 `(A,)`, in the order they were given.
    weights, biases
        `(A, D, K)` and `(A, K)`: scores are `features @ weights[a] + biases[a]`.
    accuracy
        `(A,)`, leave-one-out.
    error
        `(A,)`, mean squared distance of left-out scores to the one-hot labels.
    best
        Which alpha: the highest accuracy, among equals the lowest error.

    Examples
    --------
    >>> path = xl.features.ridge_path(torch.eye(4), torch.tensor([0, 0, 1, 1]), alphas=[0.1, 1.0])
    >>> path.scores(torch.eye(4)).shape
    torch.Size([4, 2])
    """

    alphas: Tensor
    weights: Tensor
    biases: Tensor
    accuracy: Tensor
    error: Tensor
    best: int

    def scores(self, features: Tensor, at: int | None = None) -> Tensor:
        """Scores `(N, K)`, float64, of alpha number `at` (None: the best); the largest says the class."""
        at = self.best if at is None else at
        _check(features, "features", self.weights.shape[1])
        return features.to(self.weights) @ self.weights[at] + self.biases[at]


def ridge_path(
    features: Tensor, labels: Tensor, alphas: Sequence[float] | Tensor | None = None, *, classes: int | None = None
) -> RidgePath:
    """Linear probes by ridge regression on one-hot labels, for all L2 values from one eigendecomposition, in float64.

    For each alpha, W and b minimize |Y - F W - b|^2 + alpha |W|^2; b is not penalized. With centered features F = U S V',

        W = V (S^2 + alpha)^-1 S U' Y,   leave-one-out residual i = residual i / (1 - h_i),
        h_i = 1/N + sum_j U_ij^2 S_j^2 / (S_j^2 + alpha)

    (Allen 1974, Technometrics 16; Golub, Heath and Wahba 1979, Technometrics 21). Nothing is fitted again, whatever the
    number of alphas: an eigendecomposition of the smaller of F'F and FF', then matrix products.

    Ridge pays no heed to class balance: draw equal numbers a class, or correct the scores. Runs where `features` are
    (untested on GPU).

    Parameters
    ----------
    features
        `(N, D)`, N at least 2: used as they are; standardize first where dimensions differ in scale.
    labels
        Int64 `(N,)`, 0 to classes - 1.
    alphas
        `(A,)`, above 0, as in scikit-learn's Ridge; None for 29 from 1e-6 to 10 times the largest eigenvalue of F'F.
    classes
        K; None for one more than the largest label.

    Returns
    -------
    RidgePath
        A classifier for each alpha, and which is best.

    Raises
    ------
    DataError
        For features that are not finite or labels that do not fit.
    ArgumentError
        For an alpha that is not above 0.

    Examples
    --------
    >>> features = torch.tensor([[0.0], [0.2], [0.8], [1.0]])
    >>> path = xl.features.ridge_path(features, torch.tensor([0, 0, 1, 1]))
    >>> path.accuracy[path.best].item()
    1.0
    """
    classes = _check(features, "features", labels=labels, classes=classes, minimum=2)
    x, labels = features.double(), labels.to(features.device)
    y = torch.nn.functional.one_hot(labels, classes).double()
    center, share = x.mean(0), y.mean(0)
    x, wide = x - center, x.shape[0] <= x.shape[1]
    spectrum, vectors = torch.linalg.eigh(x @ x.T if wide else x.T @ x)
    keep = spectrum > spectrum[-1] * max(x.shape) * torch.finfo(x.dtype).eps
    if not keep.any():
        raise DataError("features have the same value in every row; expected features that vary: is the layer dead?")
    spectrum, vectors = spectrum[keep], vectors[:, keep]
    if wide:
        projected, axes = vectors * spectrum.sqrt(), x.T @ vectors / spectrum.sqrt()
    else:
        projected, axes = x @ vectors, vectors
    if alphas is None:
        alphas = spectrum[-1] * torch.logspace(-6, 1, 29, dtype=torch.float64, device=x.device)
    alphas = torch.as_tensor(alphas, dtype=torch.float64, device=x.device).reshape(-1)
    if len(alphas) == 0 or not ((alphas > 0) & torch.isfinite(alphas)).all():
        raise ArgumentError(f"alphas are {alphas.tolist()}; expected finite numbers above 0, at least one")
    shrink = 1 / (spectrum + alphas[:, None])  # (A, R)
    inner = shrink[:, :, None] * (projected.T @ y)  # (A, R, K): the weights, along the eigenvectors
    weights = axes @ inner
    biases = share - center @ weights
    leverage = 1 / len(x) + projected.square() @ shrink.T  # (N, A)
    residual = (y - share - projected @ inner) / (1 - leverage.T[:, :, None])
    accuracy = ((y - residual).argmax(2) == labels).double().mean(1)
    error = residual.square().sum(2).mean(1)
    best = min(range(len(alphas)), key=lambda a: (-accuracy[a].item(), error[a].item()))
    return RidgePath(alphas, weights, biases, accuracy, error, best)


def knn(
    features: Tensor,
    labels: Tensor,
    queries: Tensor,
    k: int = 20,
    *,
    temperature: float = 0.07,
    classes: int | None = None,
) -> Tensor:
    """Probabilities of the queries' classes from their `k` nearest labeled examples.

    Wu et al. 2018 (arXiv:1805.01978), section 3.4: neighbor i votes for its class with weight exp(s_i / temperature),
    s_i its cosine similarity; votes are divided by their sum. A row of zeros has similarity 0 to everything.

    Parameters
    ----------
    features, labels
        Of the labeled examples, `(N, D)` and int64 `(N,)`.
    queries
        Features `(M, D)`.
    k
        1 to N.
    temperature
        Above 0; smaller lets the nearest decide.
    classes
        K; None for one more than the largest label.

    Returns
    -------
    Tensor
        `(M, K)`.

    Raises
    ------
    DataError
        For features that are not finite or labels that do not fit.
    ArgumentError
        For k outside 1 to N, or a temperature that is not above 0.

    Examples
    --------
    >>> bank, labels = torch.eye(2), torch.tensor([0, 1])
    >>> xl.features.knn(bank, labels, torch.tensor([[1.0, 0.2]]), k=1)
    tensor([[1., 0.]])
    """
    classes = _check(features, "features", labels=labels, classes=classes)
    _check(queries, "queries", features.shape[1])
    if not 1 <= k <= len(features):
        raise ArgumentError(f"k is {k}; expected 1 to {len(features)}, the number of labeled examples")
    if not temperature > 0:
        raise ArgumentError(f"temperature is {temperature}; expected a number above 0, such as 0.07")

    def unit(rows):
        return torch.nn.functional.normalize(rows.to(features.device).float(), dim=1)

    bank, y, votes = unit(features), labels.to(features.device), []
    for part in queries.split(1024):  # more would hold as many rows of similarities at a time
        similarity, nearest = (unit(part) @ bank.T).topk(k, dim=1)
        share = (similarity / temperature).softmax(1)
        votes.append(share.new_zeros(len(part), classes).scatter_add_(1, y[nearest], share))
    return torch.cat(votes)


def _check(features: Tensor, name: str, width: int | None = None, labels=None, classes=None, minimum: int = 1) -> int:
    """The number of classes, after a look at features `(N, D)` and, where given, their labels; raises `DataError`."""
    shape = tuple(getattr(features, "shape", ()))
    right = isinstance(features, Tensor) and len(shape) == 2 and shape[0] >= minimum and shape[1] >= 1
    if not right or width not in (None, shape[1]):
        wanted = f"a tensor (N, {width or 'D'}), one row an example, with N at least {minimum} and D at least 1"
        raise DataError(f"{name} are {type(features).__name__} {shape}; expected {wanted}")
    if bad := int((~torch.isfinite(features)).any(1).sum()):
        raise DataError(f"{name} hold NaN or infinity in {bad} of {len(features)} rows; drop them or find their layer")
    if labels is None:
        return 0
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.shape != (len(features),):
        kind = f"{getattr(labels, 'dtype', type(labels).__name__)} {tuple(getattr(labels, 'shape', ()))}"
        raise DataError(f"labels of {name} are {kind}; expected int64 ({len(features)},): one a row")
    low, high = int(labels.min()), int(labels.max())
    classes = high + 1 if classes is None else classes
    if low < 0 or high >= classes or classes < 2:
        raise DataError(f"labels of {name} run from {low} to {high}; expected 0 to {classes - 1}, two classes or more")
    return classes
