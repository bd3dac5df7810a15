"""Will it transfer? Scores computed from features, or probabilities, and labels, before any training.

Every function takes NumPy arrays or torch tensors (on any device: they are copied to the CPU and all sums are
float64), by name, and returns one float. N examples, D feature dimensions, K classes; labels are whole numbers from 0
upwards, one an example, and need not use every number. Values that cannot be used raise `xferlab.errors.DataError`.

`logme`, `leep`, `nce`, `h_score`, `regularized_h_score` and `transrate` need target labels: use the few you have, never
the test set's. `frechet_distance`, `proxy_a_distance` and `cka` need none. Scores rank candidates on one and the same
target set; their absolute values, and values from different sets, do not compare.
"""

import numpy as np

from .distances import cka, frechet_distance, proxy_a_distance
from .errors import ArgumentError
from .matrices import axes, blocks, checked_labels, checked_matrix, checked_probabilities, gram_matrix, mean_row

__all__ = [
    "cka",
    "frechet_distance",
    "h_score",
    "leep",
    "logme",
    "nce",
    "proxy_a_distance",
    "regularized_h_score",
    "transrate",
]


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
    features = checked_matrix(features, "features")
    labels, counts = checked_labels(labels, "labels", rows=len(features))
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
    probabilities = checked_matrix(source_probabilities, "source_probabilities")
    labels, counts = checked_labels(target_labels, "target_labels", rows=len(probabilities))
    onehot, joint = np.eye(len(counts)), np.zeros((len(counts), probabilities.shape[1]))
    for rows, block in blocks(probabilities):
        joint += onehot[labels[rows]].T @ checked_probabilities(block, rows.start)
    mass = joint.sum(axis=0)
    conditional = np.divide(joint, mass, out=np.zeros_like(joint), where=mass > 0)
    total = 0.0
    for rows, block in blocks(probabilities):
        expected = np.einsum("iz,iz->i", checked_probabilities(block, rows.start), conditional[labels[rows]])
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
    target, target_counts = checked_labels(target_labels, "target_labels")
    source, source_counts = checked_labels(source_labels, "source_labels", rows=len(target), classes=1)
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
    features = checked_matrix(features, "features")
    labels, counts = checked_labels(labels, "labels", rows=len(features))
    _, projected = _project(features, labels, len(counts), center=mean_row(features))
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
    features = checked_matrix(features, "features")
    labels, counts = checked_labels(labels, "labels", rows=len(features))
    (n, d), center = features.shape, mean_row(features)
    spectrum, projected = _project(features, labels, len(counts), center)
    variances, explained = spectrum / n, (projected**2 / counts).sum(axis=1)
    average, square = variances.sum() / d, (variances**2).sum()
    fourth = sum(((block**2).sum(axis=1) ** 2).sum() for _, block in blocks(features, center)) / n
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
    features = checked_matrix(features, "features")
    labels, counts = checked_labels(labels, "labels", rows=len(features))
    if not epsilon > 0:
        raise ArgumentError(f"epsilon is {epsilon}; expected a number above 0, such as 1e-4")
    center = mean_row(features)
    within = sum(n * _rate(features[labels == c], center, epsilon) for c, n in enumerate(counts)) / len(labels)
    return float(_rate(features, center, epsilon) - within)


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


def _project(features, labels, classes, center):
    """Eigenvalues (r,) of F'F and U'Y (r, classes), for F = features - center = U S V' and one-hot Y."""
    eigenvalues, vectors = axes(features, center)
    onehot = np.eye(classes)
    sums = sum(block.T @ onehot[labels[rows]] for rows, block in blocks(features, center))
    return eigenvalues, vectors.T @ sums / np.sqrt(eigenvalues)[:, None]


def _rate(features, center, epsilon):
    n, d = features.shape
    # F'F or FF': the same determinant, so the smaller matrix
    gram = gram_matrix(features, center) if n > d else gram_matrix((features - center).T)
    return 0.5 * np.linalg.slogdet(np.eye(len(gram)) + gram / (n * epsilon))[1]
