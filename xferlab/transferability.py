"""Will it transfer? Scores computed from features, or probabilities, and labels, before any training.

Every function takes NumPy arrays or torch tensors (on any device: they are copied to the CPU and all sums are
float64), by name, and returns one float. N examples, D feature dimensions, K classes; labels are whole numbers from 0
upwards, one an example, and need not use every number. Values that cannot be used raise `xferlab.errors.DataError`.

`logme`, `leep`, `nce`, `h_score`, `regularized_h_score` and `transrate` need target labels: use the few you have, never
the test set's. `frechet_distance`, `proxy_a_distance` and `cka` need none. Scores rank candidates on one and the same
target set; their absolute values, and values from different sets, do not compare.
"""

import numpy as np
import torch

from .errors import ArgumentError, DataError
from .machine import one_blas_thread

BLOCK = 4096  # rows turned to float64 at a time: large float32 features never exist twice
LARGEST = 1e50  # beyond it, fourth powers leave float64


def logme(*, features, labels) -> float:
    """Log maximum evidence of a Bayesian linear model on the features: higher is better.

    You et al. 2021 (arXiv:2102.11005), with the fixed point of the journal version (arXiv:2110.10545). For each class,
    y is 1 on its examples and 0 elsewhere, w ~ N(0, I/alpha), y ~ N(F w, I/beta); the score is the mean over classes of

        max over alpha, beta of  log p(y | F, alpha, beta) / N
        = [D/2 log alpha + N/2 log beta - beta/2 |Fm - y|^2 - alpha/2 |m|^2 - 1/2 log|A| - N/2 log 2 pi] / N

    with A = alpha I + beta F'F and m = beta A^-1 F'y. Rotating or rescaling all features together leaves it unchanged.

    Misleads for full fine-tuning, where a poor linear start can still end well, and between target sets: rare classes
    score high by themselves. When a linear map of the features equals the one-hot labels, the evidence has no upper
    bound; the ratio alpha/beta then stops at 1e-12 of the largest eigenvalue.

    Parameters
    ----------
    features
        `(N, D)`, used as they are, not centered.
    labels
        `(N,)`.

    Returns
    -------
    float
        In nats an example.

    Examples
    --------
    >>> labels = np.array([0, 0, 1, 1, 2, 2])
    >>> xl.transferability.logme(features=np.eye(3)[labels], labels=labels) > 0
    True
    """
    features = _matrix(features, "features")
    labels, counts = _labels(labels, "labels", rows=len(features))
    spectrum, projected = _project(features, labels, len(counts), center=0.0)
    return float(_log_evidence(spectrum, projected.T**2, counts.astype(float), len(features)).mean() / len(features))


def leep(*, source_probabilities, target_labels) -> float:
    """Log expected empirical prediction, at most 0: higher is better.

    Nguyen et al. 2020 (arXiv:2002.12462): with P(y, z) the mean of the source model's probability of source
    class z over the target examples of class y,

        LEEP = 1/N sum_i log sum_z P(y_i | z) p_i(z).

    Misleads when the source head has few or unrelated classes (it sees only what that head kept), when its confidence
    is off, and between heads of different size: more source classes overfit P(y | z) when N is small.

    Parameters
    ----------
    source_probabilities
        `(N, source classes)`, the source head's softmax on target inputs; rows sum to one (within 0.005, for half
        precision; then made exact).
    target_labels
        `(N,)`.

    Returns
    -------
    float
        In nats.

    Examples
    --------
    >>> xl.transferability.leep(source_probabilities=np.eye(2)[[0, 0, 1, 1]], target_labels=[0, 0, 1, 1])
    0.0
    """
    probabilities = _matrix(source_probabilities, "source_probabilities")
    labels, counts = _labels(target_labels, "target_labels", rows=len(probabilities))
    onehot, joint = np.eye(len(counts)), np.zeros((len(counts), probabilities.shape[1]))
    for rows, block in _blocks(probabilities):
        joint += onehot[labels[rows]].T @ _normalized(block, rows.start)
    mass = joint.sum(axis=0)
    conditional = np.divide(joint, mass, out=np.zeros_like(joint), where=mass > 0)
    total = 0.0
    for rows, block in _blocks(probabilities):
        expected = np.einsum("iz,iz->i", _normalized(block, rows.start), conditional[labels[rows]])
        total += np.log(expected).sum()
    return float(total / len(labels))


def nce(*, source_labels, target_labels) -> float:
    """Negative conditional entropy of the target label given the source label, at most 0: higher is better.

    Tran et al. 2019 (arXiv:1908.08142), in nats:  NCE = -H(Y | Z) = sum_{z, y} P(z, y) log P(y | z).

    Misleads as LEEP does, and when source classes are many and N is small: a source label of its own for each example
    scores a perfect 0.

    Parameters
    ----------
    source_labels
        `(N,)`, a source label for each target example, usually the source model's most probable class (all alike is
        allowed: it says that the source head tells nothing).
    target_labels
        `(N,)`.

    Returns
    -------
    float
        In nats.

    Examples
    --------
    >>> round(xl.transferability.nce(source_labels=[0, 0, 0, 0], target_labels=[0, 0, 1, 1]), 3)
    -0.693
    """
    target, target_counts = _labels(target_labels, "target_labels")
    source, source_counts = _labels(source_labels, "source_labels", rows=len(target), classes=1)
    pairs = np.bincount(source * len(target_counts) + target, minlength=len(source_counts) * len(target_counts))
    joint = pairs.reshape(len(source_counts), -1) / len(target)
    conditional = joint / joint.sum(axis=1, keepdims=True)
    return float((joint * np.log(np.where(joint > 0, conditional, 1.0))).sum())


def h_score(*, features, labels) -> float:
    """H-score, between 0 and min(D, K - 1): higher is better.

    Bao et al. 2019 (arXiv:2212.10082):  H = tr(cov(f)^+ cov(E[f | y])), the part of the feature variance,
    after whitening, that the class means explain. Invariant to every invertible linear map of the features.

    Misleads when N is not much larger than D: with N <= D it reaches K - 1 on pure noise; use `regularized_h_score`.
    It sees class means only, and grows with K.

    Parameters
    ----------
    features
        `(N, D)`.
    labels
        `(N,)`.

    Returns
    -------
    float
        The score.

    Examples
    --------
    >>> round(xl.transferability.h_score(features=[[0.0], [0.1], [1.0], [1.1]], labels=[0, 0, 1, 1]), 2)
    0.99
    """
    features = _matrix(features, "features")
    labels, counts = _labels(labels, "labels", rows=len(features))
    _, projected = _project(features, labels, len(counts), center=_mean(features))
    return float((projected**2 / counts).sum())


def regularized_h_score(*, features, labels) -> float:
    """H-score with a shrunk covariance, between 0 and min(D, K - 1): higher is better.

    Ibrahim et al. 2021 (arXiv:2110.06893):  H = tr(cov_a^-1 (1 - a) cov(E[f | y])) with
    cov_a = (1 - a) cov(f) + a tr(cov(f))/D I, and a as in Ledoit and Wolf 2004 (J. Multivariate Analysis 88).

    Misleads when the informative directions have little variance, for those are shrunk most; unlike `h_score` it depends on the scale of
    single features, so standardize where their units differ.

    Parameters
    ----------
    features
        `(N, D)`.
    labels
        `(N,)`.

    Returns
    -------
    float
        The score.

    Examples
    --------
    >>> features, labels = np.random.default_rng(0).normal(size=(20, 40)), np.arange(20) % 2  # noise, fewer rows than columns
    >>> xl.transferability.regularized_h_score(features=features, labels=labels) < 0.7
    True
    """
    features = _matrix(features, "features")
    labels, counts = _labels(labels, "labels", rows=len(features))
    (n, d), center = features.shape, _mean(features)
    spectrum, projected = _project(features, labels, len(counts), center)
    variances, explained = spectrum / n, (projected**2 / counts).sum(axis=1)
    average, square = variances.sum() / d, (variances**2).sum()
    fourth = sum(((block**2).sum(axis=1) ** 2).sum() for _, block in _blocks(features, center)) / n
    spread, noise = square / d - average**2, (fourth - square) / (d * n)
    shrinkage = min(noise / spread, 1.0) if d > 1 and spread > 0 else 0.0
    kept = (1 - shrinkage) * variances
    return float((kept / (kept + shrinkage * average) * explained).sum())


def transrate(*, features, labels, epsilon: float = 1e-4) -> float:
    """TransRate, the mutual information of features and labels as a difference of coding rates: higher is better.

    Huang et al. 2022 (arXiv:2106.09362):  R(Z) - sum_c N_c/N R(Z_c)  with
    R(Z) = 1/2 log det(I + Z'Z / (N epsilon)), Z centered once over all examples. (The listing in the paper gives every
    class the weight 1/K; the two agree on balanced classes.)

    Misleads when candidates differ in scale or dimension: it is not invariant to scale and tends to grow with D, so
    compare like with like. With few examples a class, R(Z_c) is too small and everything looks transferable.

    Parameters
    ----------
    features
        `(N, D)`.
    labels
        `(N,)`.
    epsilon
        The squared distortion allowed, in units of the features squared.

    Returns
    -------
    float
        In nats.

    Raises
    ------
    ArgumentError
        For an epsilon that is not above 0.

    Examples
    --------
    >>> labels = np.array([0, 0, 0, 1, 1, 1])
    >>> xl.transferability.transrate(features=np.eye(2)[labels] + 0.1 * np.eye(6)[:, :2], labels=labels) > 0
    True
    """
    features = _matrix(features, "features")
    labels, counts = _labels(labels, "labels", rows=len(features))
    if not epsilon > 0:
        raise ArgumentError(f"epsilon is {epsilon}; expected a number above 0, such as 1e-4")
    center = _mean(features)
    within = sum(n * _rate(features[labels == c], center, epsilon) for c, n in enumerate(counts)) / len(labels)
    return float(_rate(features, center, epsilon) - within)


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
    source, target = _pair(source, target)
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

    source, target = _pair(source, target, minimum=4)
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
    a, b = _matrix(a, "a"), _matrix(b, "b")
    if len(a) != len(b):
        raise DataError(f"a has {len(a)} rows and b has {len(b)}; expected the same inputs, in order, on both sides")
    mean_a, mean_b = _mean(a), _mean(b)
    if len(a) > max(a.shape[1], b.shape[1]):  # D x E products; otherwise N x N, the same number
        cross = sum(x.T @ y for (_, x), (_, y) in zip(_blocks(a, mean_a), _blocks(b, mean_b), strict=True))
        similar = (cross**2).sum()
        norm_a, norm_b = np.linalg.norm(_gram(a, mean_a)), np.linalg.norm(_gram(b, mean_b))
    else:
        gram_a, gram_b = _gram((a - mean_a).T), _gram((b - mean_b).T)
        similar, norm_a, norm_b = (gram_a * gram_b).sum(), np.linalg.norm(gram_a), np.linalg.norm(gram_b)
    if norm_a == 0 or norm_b == 0:
        name = "b" if norm_a else "a"
        raise DataError(f"{name} has the same value in every row; expected features that vary: is the layer dead?")
    return float(similar / (norm_a * norm_b))


def _log_evidence(spectrum, power, squared_norms, n):
    """Maximum log evidence (K,) from eigenvalues of F'F (r,), power = (U'y)^2 (K, r) and |y|^2 (K,).

    Given the ratio t = alpha/beta the best beta is N / (residual + t |m|^2), so only t is searched. The fixed point
    climbs, but to the nearest maximum: it starts from the best of a coarse grid, which also makes scale irrelevant.
    """
    if len(spectrum) == 0:  # all features zero: y is noise of variance |y|^2 / N
        return -0.5 * n * (np.log(2 * np.pi * squared_norms / n) + 1)
    spectrum = spectrum / spectrum.max()
    outside = np.maximum(squared_norms - power.sum(axis=1), 0.0)  # what no weights can explain

    def evidence(ratio):
        share = ratio[:, None] / (spectrum + ratio[:, None])
        energy = (share * power).sum(axis=1) + outside  # residual + t |m|^2
        return 0.5 * (np.log(share).sum(axis=1) + n * np.log(n / energy) - n * (1 + np.log(2 * np.pi)))

    grid = np.geomspace(1e-12, 1e12, 49)
    ratio = grid[np.argmax([evidence(np.full(len(power), t)) for t in grid], axis=0)]
    best = evidence(ratio)
    for _ in range(1000):
        share = ratio[:, None] / (spectrum + ratio[:, None])
        residual = (share**2 * power).sum(axis=1) + outside
        gamma = (spectrum / (spectrum + ratio[:, None])).sum(axis=1)  # effective number of parameters
        free = n - len(spectrum) + share.sum(axis=1)  # n - gamma, without cancellation
        squared_weights = (spectrum * power / (spectrum + ratio[:, None]) ** 2).sum(axis=1)
        with np.errstate(divide="ignore"):  # weights all zero: alpha runs to infinity, clipped to the grid's end
            ratio = np.clip(gamma * residual / (free * squared_weights), grid[0], grid[-1])
        previous, best = best, evidence(ratio)
        if np.all(np.abs(best - previous) <= 1e-13 * n):
            break
    return best


def _axes(features, center):
    """Eigenvalues (r,) and eigenvectors (D, r) of F'F for F = features - center, null space left out."""
    if len(features) > features.shape[1]:
        eigenvalues, vectors = np.linalg.eigh(_gram(features, center))
    else:
        _, singular, rows = np.linalg.svd(features - np.float64(center), full_matrices=False)
        eigenvalues, vectors = singular**2, rows.T
    keep = eigenvalues > max(features.shape) * np.finfo(float).eps * eigenvalues.max()
    return eigenvalues[keep], vectors[:, keep]


def _project(features, labels, classes, center):
    """Eigenvalues (r,) of F'F and U'Y (r, classes), for F = features - center = U S V' and one-hot Y."""
    eigenvalues, vectors = _axes(features, center)
    onehot = np.eye(classes)
    sums = sum(block.T @ onehot[labels[rows]] for rows, block in _blocks(features, center))
    return eigenvalues, vectors.T @ sums / np.sqrt(eigenvalues)[:, None]


def _rate(features, center, epsilon):
    n, d = features.shape
    # F'F or FF': the same determinant, so the smaller matrix
    gram = _gram(features, center) if n > d else _gram((features - center).T)
    return 0.5 * np.linalg.slogdet(np.eye(len(gram)) + gram / (n * epsilon))[1]


def _gaussian(features):
    """Mean (D,) and a root (D, r) of the covariance, which is root @ root.T."""
    center = _mean(features)
    eigenvalues, vectors = _axes(features, center)
    return center, vectors * np.sqrt(eigenvalues / (len(features) - 1))


def _blocks(array, center=0.0):
    for start in range(0, len(array), BLOCK):
        rows = slice(start, min(start + BLOCK, len(array)))
        yield rows, array[rows].astype(np.float64) - center


def _gram(array, center=0.0):
    return sum(block.T @ block for _, block in _blocks(array, center))


def _mean(array):
    first = array[0].astype(np.float64)  # subtracted so that a constant column centers to exactly zero
    return first + sum(block.sum(axis=0) for _, block in _blocks(array, first)) / len(array)


def _normalized(block, start):
    """Rows of probabilities made to sum to one, or a DataError naming the row."""
    sums = block.sum(axis=1)
    wrong = np.flatnonzero((block.min(axis=1) < 0) | (np.abs(sums - 1) > 5e-3))
    if len(wrong):
        row = wrong[0]
        raise DataError(
            f"source_probabilities row {start + row} sums to {sums[row]:.4g}, its smallest value is "
            f"{block[row].min():.4g}; expected values from 0 that sum to 1: pass logits.softmax(dim=1), not logits"
        )
    return block / sums[:, None]


def _array(values):
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    return np.asarray(values)


def _matrix(values, name, minimum=2):
    array = _array(values)
    if array.ndim != 2 or len(array) < minimum or array.shape[1] == 0 or array.dtype.kind not in "fiub":
        raise DataError(
            f"{name} has shape {array.shape} and type {array.dtype}; expected real numbers (N, D) with N at least "
            f"{minimum}: one row an example, pooled or flattened"
        )
    with np.errstate(invalid="ignore"):
        usable = float(array.min()) > -LARGEST and float(array.max()) < LARGEST
    if not usable:
        bad = ~(np.abs(array.astype(np.float64)) < LARGEST)
        row, column = np.argwhere(bad)[0]
        seen = f"{name}[{row}, {column}] is {array[row, column]} (bad: {bad.any(axis=1).sum()} of {len(array)} rows)"
        raise DataError(
            f"{seen}; expected finite numbers below {LARGEST:g}: drop those rows, or look for the layer that overflows"
        )
    return array


def _pair(source, target, minimum=2):
    source, target = _matrix(source, "source", minimum), _matrix(target, "target", minimum)
    if source.shape[1] != target.shape[1]:
        widths = f"source has {source.shape[1]} feature dimensions and target {target.shape[1]}"
        raise DataError(f"{widths}; expected equal numbers: use the same encoder on both")
    return source, target


def _labels(values, name, rows=None, classes=2):
    """Labels renumbered 0..K-1 without gaps (N,), and the number of examples of each (K,)."""
    array = _array(values)
    if array.ndim != 1 or array.dtype.kind not in "fiub":
        raise DataError(
            f"{name} has shape {array.shape} and type {array.dtype}; expected whole numbers (N,): score a multi-label "
            "set one column at a time"
        )
    if len(array) == 0 or (rows is not None and len(array) != rows):
        raise DataError(f"{name} has {len(array)} entries; expected {rows or 'at least 2'}: one label for each example")
    bad = np.flatnonzero(~((array >= 0) & (array < np.inf) & (array == np.floor(array))))
    if len(bad):
        seen = f"{name}[{bad[0]}] is {array[bad[0]]}"
        raise DataError(f"{seen}; expected whole numbers from 0 upwards: drop rows without a label")
    found, index, counts = np.unique(array, return_inverse=True, return_counts=True)
    if len(found) < classes:
        raise DataError(f"{name} holds one class, {found[0]}; expected at least {classes}: add examples of another")
    return index, counts
