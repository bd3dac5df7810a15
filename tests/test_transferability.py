"""Scores against slow, literal versions of their formulas, and against what theory says they must not notice."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.optimize import minimize
from scipy.stats import ortho_group
from sklearn.covariance import LedoitWolf

from xferlab import matrices
from xferlab import transferability as tr
from xferlab.errors import ArgumentError, DataError


def gaussian_classes(n, d, classes=3, separation=1.0, seed=0):
    """Features around one random centre a class; every class present, sizes unequal."""
    draw = np.random.default_rng(seed)
    labels = np.concatenate(
        [np.arange(classes), draw.choice(classes, n - classes, p=draw.dirichlet(np.full(classes, 9)))]
    )
    return draw.normal(size=(n, d)) + separation * draw.normal(size=(classes, d))[labels] + 0.5, labels


def logme_by_search(features, labels):
    """Evidence as the density of y ~ N(0, I/beta + FF'/alpha), dense, maximised from several starts."""
    n, scores = len(labels), []
    for c in np.unique(labels):
        y = (labels == c).astype(float)

        def negative(log_parameters, y=y):
            alpha, beta = np.exp(log_parameters)
            covariance = np.eye(n) / beta + features @ features.T / alpha
            return 0.5 * (np.linalg.slogdet(covariance)[1] + y @ np.linalg.solve(covariance, y) + n * np.log(2 * np.pi))

        found = [
            minimize(
                negative, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-11, "maxiter": 4000}
            ).fun
            for start in ([0.0, 0.0], [6.0, 1.0], [-4.0, 3.0])
        ]
        scores.append(-min(found) / n)
    return np.mean(scores)


@pytest.mark.parametrize(
    ("n", "d", "scale"), [(40, 5, 1.0), (40, 5, 300.0), (12, 25, 1.0)], ids=["tall", "large-units", "wide"]
)
def test_logme_is_the_maximum_of_the_dense_evidence(n, d, scale):
    features, labels = gaussian_classes(n, d, separation=0.4, seed=n)
    features *= scale
    assert tr.logme(features=features, labels=labels) == pytest.approx(logme_by_search(features, labels), abs=1e-6)


def test_logme_with_a_dead_column_and_a_copied_one():
    features, labels = gaussian_classes(30, 3, seed=1)
    features = np.column_stack([features, np.zeros(30), features[:, 0]])
    assert tr.logme(features=features, labels=labels) == pytest.approx(logme_by_search(features, labels), abs=1e-6)


def test_logme_of_all_zero_features_is_the_evidence_of_pure_noise():
    labels = np.array([0, 0, 0, 1])  # y ~ N(0, 1/beta): the best variances are 3/4 and 1/4
    expected = np.mean([-0.5 * (np.log(2 * np.pi * v) + 1) for v in (0.75, 0.25)])
    assert tr.logme(features=np.zeros((4, 2)), labels=labels) == pytest.approx(expected, abs=1e-9)


def test_logme_stays_finite_when_features_spell_out_the_labels():
    labels = np.arange(60) % 3
    exact = tr.logme(features=np.eye(3)[labels], labels=labels)
    close = tr.logme(features=np.eye(3)[labels] + 0.05 * np.random.default_rng(0).normal(size=(60, 3)), labels=labels)
    assert np.isfinite(exact) and exact > close > 0


def test_logme_of_exact_features_stops_where_it_says():
    """Both eigenvalues of F'F are 4 and no residual is left: with t = alpha/beta, relative to them, at 1e-12 for ever,
    log evidence = 1/2 (2 log t + 8 log(8 / 4t) - 8 - 8 log 2 pi)."""
    labels = np.arange(8) % 2
    expected = (np.log(1e-12) + 4 * np.log(2e12) - 4 - 4 * np.log(2 * np.pi)) / 8
    assert tr.logme(features=np.eye(2)[labels], labels=labels) == pytest.approx(expected, abs=1e-4)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), shape=st.sampled_from([(50, 6), (15, 20)]), scale=st.floats(1e-4, 1e4))
def test_logme_ignores_rotation_scale_and_the_order_of_examples(seed, shape, scale):
    features, labels = gaussian_classes(*shape, seed=seed)
    moved = scale * features @ ortho_group.rvs(shape[1], random_state=seed)
    order = np.random.default_rng(seed).permutation(len(labels))
    score = tr.logme(features=features, labels=labels)
    assert tr.logme(features=moved[order], labels=labels[order]) == pytest.approx(score, abs=1e-7)


HAND_PROBABILITIES = np.array([[0.8, 0.2, 0.0], [0.5, 0.25, 0.25], [0.1, 0.1, 0.8], [0.0, 0.4, 0.6], [0.2, 0.7, 0.1]])
HAND_LABELS = np.array([0, 0, 1, 1, 0])


def leep_by_loops(probabilities, labels):
    n, sources, targets = len(labels), range(probabilities.shape[1]), sorted(set(labels.tolist()))
    joint = {(y, z): sum(probabilities[i, z] for i in range(n) if labels[i] == y) / n for y in targets for z in sources}
    total = 0.0
    for i in range(n):
        expected = 0.0
        for z in sources:
            mass = sum(joint[y, z] for y in targets)
            expected += probabilities[i, z] * joint[labels[i], z] / mass if mass else 0.0
        total += np.log(expected)
    return total / n


def test_leep_by_hand():
    # P(y=0 | z) = 1.5/1.6, 1.15/1.65, 0.35/1.75, from the column sums of the rows with y = 0 over all rows.
    zero = np.array([1.5 / 1.6, 1.15 / 1.65, 0.35 / 1.75])
    expected = [HAND_PROBABILITIES[i] @ (zero if y == 0 else 1 - zero) for i, y in enumerate(HAND_LABELS)]
    score = tr.leep(source_probabilities=HAND_PROBABILITIES, target_labels=HAND_LABELS)
    assert score == pytest.approx(np.log(expected).mean(), abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(1, 7))
def test_leep_equals_its_loops_and_ignores_the_order_of_source_classes(seed, classes):
    draw = np.random.default_rng(seed)
    probabilities = np.column_stack([draw.dirichlet(np.full(classes, 0.3), size=25), np.zeros(25)])  # one class unused
    labels = np.concatenate([[0, 2], draw.choice([0, 2, 5], 23)])  # gaps in the numbers are allowed
    score = tr.leep(source_probabilities=probabilities, target_labels=labels)
    assert score == pytest.approx(leep_by_loops(probabilities, labels), abs=1e-9)
    permuted = probabilities[:, draw.permutation(classes + 1)]
    assert tr.leep(source_probabilities=permuted, target_labels=labels) == pytest.approx(score, abs=1e-12)


def test_leep_takes_rows_within_half_a_percent_of_one_and_makes_them_exact():
    exact = tr.leep(source_probabilities=HAND_PROBABILITIES, target_labels=HAND_LABELS)
    for factor in (0.9951, 1.0049):
        score = tr.leep(source_probabilities=HAND_PROBABILITIES * factor, target_labels=HAND_LABELS)
        assert score == pytest.approx(exact, abs=1e-12)
    for factor in (0.9949, 1.0051):
        with pytest.raises(DataError, match="row 0 sums to"):
            tr.leep(source_probabilities=HAND_PROBABILITIES * factor, target_labels=HAND_LABELS)


def test_leep_of_a_constant_source_is_the_label_entropy_and_of_a_perfect_one_is_zero():
    labels = np.array([0, 0, 0, 1])
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert tr.leep(source_probabilities=np.full((4, 5), 0.2), target_labels=labels) == pytest.approx(
        -entropy, abs=1e-12
    )
    assert tr.leep(source_probabilities=np.eye(2)[labels], target_labels=labels) == pytest.approx(0.0, abs=1e-12)


def test_nce_by_hand():
    # source 7 -> targets {0: 2, 1: 1}; source 2 -> {1: 2}: H(Y|Z) = 3/5 H(1/3).
    score = tr.nce(source_labels=np.array([7, 7, 7, 2, 2]), target_labels=np.array([0, 0, 1, 1, 1]))
    assert score == pytest.approx(0.6 * (2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3)), abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=40))
def test_nce_equals_its_loops_and_leep_on_hard_predictions(pairs):
    source, target = (np.array(side) for side in zip(*(*pairs, (0, 0), (0, 1)), strict=True))
    n, expected = len(source), 0.0
    for z in set(source.tolist()):
        for y in set(target.tolist()):
            both = sum(1 for i in range(n) if source[i] == z and target[i] == y)
            if both:
                expected += both / n * np.log(both / sum(1 for i in range(n) if source[i] == z))
    assert tr.nce(source_labels=source, target_labels=target) == pytest.approx(expected, abs=1e-9)
    hard = tr.leep(source_probabilities=np.eye(5)[source], target_labels=target)
    assert hard == pytest.approx(expected, abs=1e-9)


def test_nce_accepts_a_source_that_predicts_one_class():
    score = tr.nce(source_labels=np.zeros(4, int), target_labels=np.array([0, 1, 0, 1]))
    assert score == pytest.approx(-np.log(2), abs=1e-12)


def class_means(features, labels):
    return np.stack([features[labels == y].mean(axis=0) for y in labels])


@pytest.mark.parametrize(("n", "d"), [(60, 5), (12, 30)], ids=["tall", "wide"])
def test_h_scores_equal_traces_of_explicit_covariances(n, d):
    features, labels = gaussian_classes(n, d, classes=4, seed=d)
    features[:, 0] = features[:, 1]  # a singular covariance
    between = np.cov(class_means(features, labels), rowvar=False, bias=True)
    total = np.cov(features, rowvar=False, bias=True)
    expected = np.trace(np.linalg.pinv(total, rcond=1e-10) @ between)
    assert tr.h_score(features=features, labels=labels) == pytest.approx(expected, abs=1e-6)
    fitted = LedoitWolf().fit(features)
    expected = np.trace(np.linalg.inv(fitted.covariance_) @ ((1 - fitted.shrinkage_) * between))
    assert 0.01 < fitted.shrinkage_ < 0.99
    assert tr.regularized_h_score(features=features, labels=labels) == pytest.approx(expected, abs=1e-6)


def test_h_score_ignores_invertible_maps_and_shifts_and_constant_columns():
    features, labels = gaussian_classes(80, 4, seed=3)
    mapped = features @ np.random.default_rng(0).normal(size=(4, 4)) + 100
    score = tr.h_score(features=features, labels=labels)
    assert tr.h_score(features=mapped, labels=labels) == pytest.approx(score, abs=1e-6)
    dead = np.column_stack([features, np.full(80, 0.1)])
    assert tr.h_score(features=dead, labels=labels) == pytest.approx(score, abs=1e-9)
    assert tr.h_score(features=np.full((80, 2), 0.1, np.float32), labels=labels) == 0


def test_h_score_saturates_on_wide_noise_and_the_regularised_one_does_not():
    noise, labels = gaussian_classes(20, 60, classes=3, separation=0.0)
    assert tr.h_score(features=noise, labels=labels) == pytest.approx(2.0, abs=1e-6)
    assert tr.regularized_h_score(features=noise, labels=labels) < 1.0


@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1e9])
@pytest.mark.parametrize("score", [tr.logme, tr.h_score, tr.regularized_h_score])
def test_no_common_unit_of_the_features_changes_a_score_or_their_rank(score, scale):
    features, labels = gaussian_classes(40, 4, seed=6)
    features = np.column_stack([features, features[:, 0] + features[:, 1], np.zeros(40)])
    expected = score(features=features, labels=labels)
    assert expected != 0 and score(features=features * scale, labels=labels) == pytest.approx(expected, abs=1e-6)


def test_regularized_h_score_shrinks_all_the_way_and_no_further():
    """Variances 1/2 and 9/8, fourth moment 97/32: the noise of the covariance is 97/512, its spread only 25/256."""
    features, labels = np.array([[1, 0], [-1, 0], [0, 1.5], [0, -1.5]]), np.array([0, 1, 0, 1])
    assert LedoitWolf().fit(features).shrinkage_ == 1
    assert tr.regularized_h_score(features=features, labels=labels) == 0


def test_one_feature_has_nothing_to_shrink_towards():
    features, labels = gaussian_classes(30, 1, seed=4)
    expected = class_means(features, labels).var() / features.var()
    assert tr.h_score(features=features, labels=labels) == pytest.approx(expected, abs=1e-9)
    assert tr.regularized_h_score(features=features, labels=labels) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("n", "d"), [(50, 4), (9, 20)], ids=["tall", "wide"])
def test_transrate_equals_its_determinants(n, d):
    features, labels = gaussian_classes(n, d, seed=5)
    centred, epsilon = features - features.mean(axis=0), 0.01

    def rate(z):
        return 0.5 * np.log(np.linalg.eigvalsh(np.eye(d) + z.T @ z / (len(z) * epsilon))).sum()

    expected = rate(centred) - sum((labels == c).mean() * rate(centred[labels == c]) for c in np.unique(labels))
    assert tr.transrate(features=features, labels=labels, epsilon=epsilon) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n", [400, 3], ids=["tall", "wide"])
def test_frechet_distance_equals_the_matrix_square_root_and_vanishes_on_itself(n):
    draw = np.random.default_rng(n)
    source, target = draw.normal(size=(n, 4)) @ draw.normal(size=(4, 4)), 2 * draw.normal(size=(n + 1, 4)) + 1
    cov_s, cov_t = np.cov(source, rowvar=False), np.cov(target, rowvar=False)
    mean_gap = ((source.mean(axis=0) - target.mean(axis=0)) ** 2).sum()
    root = sqrtm(sqrtm(cov_s) @ cov_t @ sqrtm(cov_s)).real
    expected = mean_gap + np.trace(cov_s + cov_t - 2 * root)
    # A root of a singular matrix is only good to the square root of the rounding error.
    assert tr.frechet_distance(source=source, target=target) == pytest.approx(expected, abs=1e-6 if n > 4 else 1e-4)
    assert tr.frechet_distance(source=source, target=source) == pytest.approx(0.0, abs=1e-10)


def test_frechet_distance_of_diagonal_gaussians_is_the_closed_form():
    def diagonal(means, deviations):  # opposite corners: exactly these means and deviations, no correlation
        signs = np.array(np.meshgrid([-1, 1], [-1, 1])).reshape(2, -1).T
        return np.array(means) + signs * np.array(deviations) * np.sqrt(3 / 4)  # N - 1 = 3

    source, target = diagonal([0, 1], [1, 2]), diagonal([3, -1], [0.5, 5])
    expected = 3**2 + 2**2 + (1 - 0.5) ** 2 + (2 - 5) ** 2
    assert tr.frechet_distance(source=source, target=target) == pytest.approx(expected, abs=1e-9)


def test_proxy_a_distance_at_both_ends_with_unequal_sizes():
    draw = np.random.default_rng(0)
    source, same, far = draw.normal(size=(300, 3)), draw.normal(size=(3000, 3)), draw.normal(size=(40, 3)) + [0, 12, 0]
    # A classifier that always says "target" would reach 10/11 here if sizes were not made equal.
    assert tr.proxy_a_distance(source=source, target=same, seed=0) < 0.3
    assert tr.proxy_a_distance(source=source, target=far, seed=0) == 2.0
    assert tr.proxy_a_distance(source=source * 1e-6, target=far * 1e-6, seed=0) == 2.0


def test_proxy_a_distance_of_shifted_gaussians_is_twice_one_minus_twice_the_bayes_error():
    draw = np.random.default_rng(1)  # centres 2 apart: Bayes error Phi(-1) = 0.1587
    source, target = draw.normal(size=(4000, 2)), draw.normal(size=(4000, 2)) + [2, 0]
    distance = tr.proxy_a_distance(source=source, target=target, seed=3)
    assert distance == pytest.approx(2 * (1 - 2 * 0.1587), abs=0.06)
    assert distance == tr.proxy_a_distance(source=source, target=target, seed=3)
    assert distance != tr.proxy_a_distance(source=source, target=target, seed=3, limit=200)


def test_proxy_a_distance_takes_an_error_above_chance_for_chance():
    points = np.random.default_rng(0).normal(size=(4, 2))  # a fitted point's twin, held out, is on the other side
    found = [tr.proxy_a_distance(source=points, target=points, seed=seed) for seed in range(5)]
    assert min(found) == 0 and max(found) <= 2


def test_proxy_a_distance_holds_out_what_it_scores():
    draw = np.random.default_rng(2)  # more dimensions than rows: the fitted rows are always separable
    wide = draw.normal(size=(60, 100))
    assert tr.proxy_a_distance(source=wide[:30], target=wide[30:], seed=0) < 0.8


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.sampled_from([6, 40]), scale=st.floats(1e-3, 1e3))
def test_cka_equals_centred_kernels_and_ignores_rotation_scale_and_shift(seed, n, scale):
    draw = np.random.default_rng(seed)
    a = draw.normal(size=(n, 7)) + 1
    b = a[:, :5] @ draw.normal(size=(5, 5)) + draw.normal(size=(n, 5))
    centring = np.eye(n) - 1 / n
    k, m = (centring @ x @ x.T @ centring for x in (a, b))
    expected = np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))
    assert tr.cka(a=a, b=b) == pytest.approx(expected, abs=1e-9)
    assert tr.cka(a=b, b=a) == pytest.approx(expected, abs=1e-9)
    assert tr.cka(a=a, b=scale * a @ ortho_group.rvs(7, random_state=seed) - 3) == pytest.approx(1.0, abs=1e-9)


def test_rows_beyond_one_block_count_once(monkeypatch):
    features, labels = gaussian_classes(50, 4, seed=8)
    probabilities = np.exp(features) / np.exp(features).sum(axis=1, keepdims=True)

    def scores():
        with_labels = (tr.logme, tr.h_score, tr.regularized_h_score, tr.transrate)
        return [
            *(score(features=features, labels=labels) for score in with_labels),
            tr.leep(source_probabilities=probabilities, target_labels=labels),
            tr.cka(a=features, b=features**2),
            tr.frechet_distance(source=features, target=features[:30] + 1),
        ]

    whole = scores()
    monkeypatch.setattr(matrices, "BLOCK", 7)
    assert scores() == pytest.approx(whole, abs=1e-9)


def peak(call):
    """Bytes of arrays alive at once while it runs."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("score", [tr.logme, tr.h_score, tr.regularized_h_score, tr.transrate])
def test_large_float32_features_never_exist_in_float64(score):
    features, labels = np.ones((40_000, 16), np.float32), np.arange(40_000) % 4
    features[:, :4] = np.eye(4, dtype=np.float32)[labels]
    assert peak(lambda: score(features=features, labels=labels)) < features.size * 8


@pytest.mark.parametrize(("n", "d"), [(1500, 3), (4, 1500)], ids=["tall", "wide"])
def test_cka_needs_no_square_of_the_longer_side(n, d):
    a = np.random.default_rng(0).normal(size=(n, d))
    assert peak(lambda: tr.cka(a=a, b=a + 1)) < 1500**2 * 8 / 4


@pytest.mark.parametrize("score", [tr.logme, tr.h_score, tr.regularized_h_score, tr.transrate])
def test_informative_features_score_above_noise_and_more_separation_higher(score):
    noise, labels = gaussian_classes(200, 10, separation=0.0)  # the same noise and labels thrice
    moved = [gaussian_classes(200, 10, separation=s)[0] for s in (0.3, 1.0)]
    ranked = [score(features=f, labels=labels) for f in (noise, *moved)]
    assert ranked == sorted(ranked) and ranked[2] > ranked[0] + 0.1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_torch_tensors_give_the_numpy_scores_as_floats(dtype):
    features, labels = gaussian_classes(40, 4, seed=2)
    tensor = torch.tensor(features, dtype=dtype, requires_grad=True)
    rounded, tensor_labels = tensor.detach().double().numpy(), torch.tensor(labels)
    for score in (tr.logme, tr.h_score, tr.regularized_h_score, tr.transrate):
        value = score(features=tensor, labels=tensor_labels)
        assert type(value) is float and value == pytest.approx(score(features=rounded, labels=labels), abs=1e-9)
    value = tr.leep(source_probabilities=tensor.softmax(dim=1), target_labels=tensor_labels)
    exact = torch.tensor(rounded).softmax(dim=1).numpy()
    assert type(value) is float
    assert value == pytest.approx(tr.leep(source_probabilities=exact, target_labels=labels), abs=5e-3)
    assert type(tr.nce(source_labels=tensor_labels, target_labels=tensor_labels)) is float
    assert type(tr.cka(a=tensor, b=tensor)) is float
    assert type(tr.frechet_distance(source=tensor, target=tensor)) is float
    assert type(tr.proxy_a_distance(source=tensor, target=tensor, seed=0)) is float


GOOD, LABELS = gaussian_classes(12, 3)
BROKEN = np.where(np.arange(36).reshape(12, 3) == 16, np.nan, GOOD)  # row 5, column 1
OVERFLOWN = np.where(np.isnan(BROKEN), -np.inf, BROKEN).astype(np.float16)
HALF = np.full((12, 2), 0.5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tr.logme(features=BROKEN, labels=LABELS), r"features\[5, 1\] is nan .* 1 of 12 rows.*drop"),
        (lambda: tr.h_score(features=OVERFLOWN, labels=LABELS), r"features\[5, 1\] is -inf.*overflows"),
        (lambda: tr.cka(a=GOOD, b=torch.tensor(BROKEN)), r"b\[5, 1\] is nan"),
        (lambda: tr.frechet_distance(source=GOOD, target=BROKEN), r"target\[5, 1\] is nan"),
        (lambda: tr.logme(features=GOOD, labels=LABELS[:-1]), "labels has 11 entries; expected 12"),
        (lambda: tr.nce(source_labels=LABELS, target_labels=LABELS[:-1]), "source_labels has 12 entries; expected 11"),
        (lambda: tr.leep(source_probabilities=HALF, target_labels=LABELS[:5]), "target_labels has 5 entries"),
        (lambda: tr.cka(a=GOOD, b=GOOD[:4]), "a has 12 rows and b has 4"),
        (lambda: tr.transrate(features=GOOD, labels=np.full(12, 3)), "labels holds one class, 3"),
        (lambda: tr.leep(source_probabilities=HALF, target_labels=np.zeros(12)), "target_labels holds one class"),
        (lambda: tr.nce(source_labels=LABELS, target_labels=np.zeros(12, int)), "target_labels holds one class"),
        (lambda: tr.leep(source_probabilities=HALF * 3, target_labels=LABELS), "row 0 sums to 3,.*softmax"),
        (lambda: tr.leep(source_probabilities=HALF + [0.6, -0.6], target_labels=LABELS), "smallest value is -0.1;"),
        (lambda: tr.h_score(features=GOOD, labels=LABELS - 1), r"labels\[0\] is -1; .*without a label"),
        (lambda: tr.h_score(features=GOOD, labels=LABELS + 0.5), r"labels\[0\] is 0.5; expected whole"),
        (lambda: tr.h_score(features=GOOD, labels=np.full(12, np.nan)), r"labels\[0\] is nan"),
        (lambda: tr.h_score(features=GOOD, labels=np.full(12, np.inf)), r"labels\[0\] is inf"),
        (lambda: tr.h_score(features=GOOD, labels=np.eye(3)[LABELS]), r"labels has shape \(12, 3\).*one column"),
        (lambda: tr.h_score(features=GOOD, labels=LABELS.astype(str)), "labels has shape .*whole numbers"),
        (lambda: tr.logme(features=GOOD[:, :, None], labels=LABELS), r"features has shape \(12, 3, 1\).*pooled"),
        (lambda: tr.logme(features=GOOD + 1j, labels=LABELS), "complex128; expected real"),
        (lambda: tr.logme(features=GOOD[:0], labels=LABELS[:0]), r"features has shape \(0, 3\)"),
        (lambda: tr.logme(features=GOOD[:, :0], labels=LABELS), r"features has shape \(12, 0\)"),
        (lambda: tr.logme(features=GOOD[:1], labels=LABELS[:1]), r"features has shape \(1, 3\).*at least 2"),
        (lambda: tr.cka(a=GOOD[:1], b=GOOD[:1]), r"a has shape \(1, 3\).*at least 2"),
        (lambda: tr.frechet_distance(source=GOOD[:1], target=GOOD), r"source has shape \(1, 3\).*at least 2"),
        (lambda: tr.nce(source_labels=LABELS[:0], target_labels=LABELS[:0]), "target_labels has 0 entries.*at least 2"),
        (lambda: tr.cka(a=np.full((2, 1), 1e50), b=GOOD[:2]), r"a\[0, 0\] is 1e\+50 .* below 1e\+50"),
        (lambda: tr.cka(a=np.full((2, 1), -1e50), b=GOOD[:2]), r"a\[0, 0\] is -1e\+50"),
        (lambda: tr.frechet_distance(source=GOOD, target=GOOD[:, :2]), "source has 3 feature dimensions and target 2"),
        (lambda: tr.proxy_a_distance(source=GOOD, target=GOOD[:3], seed=0), r"target has shape \(3, 3\).*at least 4"),
        (lambda: tr.cka(a=GOOD, b=np.ones((12, 40))), "b has the same value in every row"),
        (lambda: tr.cka(a=np.full((12, 2), 0.1), b=GOOD), "a has the same value in every row"),
    ],
)
def test_unusable_input_is_named_with_its_mend(call, message):
    with pytest.raises(DataError, match=message):
        call()


def test_transrate_refuses_a_distortion_of_zero():
    with pytest.raises(ArgumentError, match="epsilon is 0"):
        tr.transrate(features=GOOD, labels=LABELS, epsilon=0)


def test_the_least_that_can_be_used_is_used():
    """Two rows of one feature, four for the classifier of domains, and numbers just below the largest."""
    two, labels = np.array([[0.0], [2.0]]), np.array([0, 1])
    assert tr.h_score(features=two, labels=labels) == pytest.approx(1)
    assert tr.transrate(features=two, labels=labels, epsilon=1.0) == pytest.approx(0)  # one point a class, 1 from 0
    assert tr.cka(a=two, b=-two) == pytest.approx(1)
    assert tr.frechet_distance(source=two, target=1 + 3 * two) == pytest.approx(3**2 + (3 * 2**0.5 - 2**0.5) ** 2)
    four = np.arange(4.0)[:, None]
    assert tr.proxy_a_distance(source=four, target=four + 100, seed=0) == 2
    assert tr.h_score(features=two * 0.49e50, labels=labels) == pytest.approx(1)
