"""How far apart two sets of features lie; no label is needed. Public in `xl.transferability`, which says what they take."""

import numpy as np

from .errors import DataError
from .machine import one_blas_thread
from .matrices import axes, blocks, checked_matrix, checked_pair, gram_matrix, mean_row


def frechet_distance(*, source, target) -> float:
    """Squared Fréchet distance between Gaussians fitted to two sets of features: 0 when alike, lower is closer.

    Dowson and Landau 1982; the formula behind FID, Heusel et al. 2017 (arXiv:1706.08500):

        |m_s - m_t|^2 + tr(C_s + C_t - 2 (C_s C_t)^(1/2)),  covariances over N - 1.

    Misleads with few examples (biased upwards, more so for larger D; compare at equal N), between encoders (it has the
    features' squared unit), and it says nothing of labels: close domains can disagree on what is what.

    Parameters
    ----------
    source, target
        Features from the same encoder, `(N, D)` and `(M, D)`.

    Returns
    -------
    float
        In the features' squared unit.

    Examples
    --------
    >>> here = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> round(xl.transferability.frechet_distance(source=here, target=here + 2), 3)
    8.0
    """
    source, target = checked_pair(source, target)
    (mean_s, root_s), (mean_t, root_t) = _gaussian(source), _gaussian(target)
    # tr (C_s C_t)^(1/2) is the sum of the singular values of root_s' root_t: no square root of rounding noise.
    overlap = np.linalg.svd(root_s.T @ root_t, compute_uv=False).sum()
    distance = ((mean_s - mean_t) ** 2).sum() + (root_s**2).sum() + (root_t**2).sum() - 2 * overlap
    return float(max(distance, 0.0))


def proxy_a_distance(*, source, target, seed: int, limit: int = 5000) -> float:
    """Proxy A-distance, 0 (domains cannot be told apart) to 2 (perfectly): lower is closer.

    Ben-David et al. 2007 (NeurIPS 19), as used by Ganin et al. 2016 (arXiv:1505.07818):  2 (1 - 2 e), with
    e the held-out error of a linear classifier of domains: here logistic regression on standardized features, two-fold
    cross-validation, as many rows from each side. e above 1/2 is chance, scored 0.

    Misleads when patients, slides or duplicates straddle the folds (too large), when D is near the number of rows (too
    small), and by design: one harmless feature, such as brightness, is enough for 2.

    Parameters
    ----------
    source, target
        Features `(N, D)` and `(M, D)`, at least 4 rows each.
    seed
        Draws rows and folds.
    limit
        At most so many rows from each side.

    Returns
    -------
    float
        0 to 2.

    Examples
    --------
    >>> here = np.random.default_rng(0).normal(size=(20, 2))
    >>> xl.transferability.proxy_a_distance(source=here, target=here + 9, seed=0)
    2.0
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    source, target = checked_pair(source, target, minimum=4)
    size, draw = min(len(source), len(target), limit), np.random.default_rng(seed)
    sides = [side[draw.permutation(len(side))[:size]].astype(np.float64) for side in (source, target)]
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(2, shuffle=True, random_state=seed)
    with one_blas_thread():
        error = 1 - cross_val_score(classifier, np.concatenate(sides), np.repeat([0, 1], size), cv=folds).mean()
    return float(max(2 * (1 - 2 * error), 0.0))


def cka(*, a, b) -> float:
    """Linear centered kernel alignment of two representations of the same inputs: 0 unrelated to 1 alike.

    Kornblith et al. 2019 (arXiv:1905.00414), with linear kernels:  |B'A|_F^2 / (|A'A|_F |B'B|_F), columns centered.
    Invariant to rotation and common scale of either side. Similarity, neither good nor bad in itself: low against
    the pretrained weights means that fine-tuning moved that layer.

    Misleads when N is not much larger than D and E (then near 1 for unrelated features), and when a few directions
    carry most of the variance, which is all it then compares.

    Parameters
    ----------
    a, b
        `(N, D)` and `(N, E)`, row i of both from the same input.

    Returns
    -------
    float
        0 to 1.

    Raises
    ------
    DataError
        For sides of different length, or the same value in every row.

    Examples
    --------
    >>> a = np.random.default_rng(0).normal(size=(10, 3))
    >>> round(xl.transferability.cka(a=a, b=5 * a[:, ::-1]), 3)
    1.0
    """
    a, b = checked_matrix(a, "a"), checked_matrix(b, "b")
    if len(a) != len(b):
        raise DataError(f"a has {len(a)} rows and b has {len(b)}; expected the same inputs, in order, on both sides")
    mean_a, mean_b = mean_row(a), mean_row(b)
    if len(a) > max(a.shape[1], b.shape[1]):  # D x E products; otherwise N x N, the same number
        cross = sum(x.T @ y for (_, x), (_, y) in zip(blocks(a, mean_a), blocks(b, mean_b), strict=True))
        similar = (cross**2).sum()
        norm_a, norm_b = np.linalg.norm(gram_matrix(a, mean_a)), np.linalg.norm(gram_matrix(b, mean_b))
    else:
        gram_a, gram_b = gram_matrix((a - mean_a).T), gram_matrix((b - mean_b).T)
        similar, norm_a, norm_b = (gram_a * gram_b).sum(), np.linalg.norm(gram_a), np.linalg.norm(gram_b)
    if norm_a == 0 or norm_b == 0:
        name = "b" if norm_a else "a"
        raise DataError(f"{name} has the same value in every row; expected features that vary: is the layer dead?")
    return float(similar / (norm_a * norm_b))


def _gaussian(features):
    """Mean (D,) and a root (D, r) of the covariance, which is root @ root.T."""
    center = mean_row(features)
    eigenvalues, vectors = axes(features, center)
    return center, vectors * np.sqrt(eigenvalues / (len(features) - 1))
