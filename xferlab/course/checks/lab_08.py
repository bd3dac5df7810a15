"""What lab 08's checks recognize."""

import math

import numpy as np

from . import number, recognizes


@recognizes("08.1", right="So a true label gets a probability of exp(-0.550) = 0.58, in the geometric mean.")
def leep_by_hand(score):
    expected = np.array([0.78, 0.76, 0.72, 0.26])
    logs = np.log(expected)
    mistakes = dict(
        log_of_mean=np.log(expected.mean()),
        no_logarithm=[expected.mean(), np.exp(logs.mean())],
        sum_not_mean=logs.sum(),
        sign=-logs.mean(),
        nce=math.log(0.5) / 2,
        joint_not_conditional=np.log([0.39, 0.38, 0.36, 0.13]).mean(),
        wrong_axis=np.log([0.52, 1.52 / 3, 0.48, 0.52]).mean(),
        base=np.log10(expected).mean(),
    )
    otherwise = "{} is not it: check P(y | z) first. Each of its columns sums to 1, and the first is (0.8, 0.2)."
    return number(score, logs.mean(), mistakes, otherwise, abs_tol=6e-4)


@recognizes("08.2", right="-0.1: four models in nearly the right order, and the fifth undoes it all.")
def rank_correlation(rho):
    rho, right = float(getattr(rho, "statistic", rho)), 1 - 6 * 22 / 120
    value, accuracy = [0.1, 0.2, 0.3, 0.4, 9.0], [0.5, 0.7, 0.6, 0.8, 0.4]
    if abs(rho) > 1 and not math.isclose(rho, 1.1, abs_tol=6e-3):
        yield True, f"A correlation lies between -1 and 1, and {rho:.3f} does not: are d ranks, and is n 5?"
    mistakes = dict(
        pearson=np.corrcoef(value, accuracy)[0, 1],
        reversed=-right,
        no_one_minus=1 - right,
        no_six=[1 - 22 / 120, 22 / 120],
        not_squared=[1, 1 - 6 * 8 / 120],
    )
    otherwise = "{:.3f} is not it: rank each list by itself from 1, smallest first, and take the five differences."
    yield from number(rho, right, mistakes, otherwise, abs_tol=6e-3)


def _runs(target: bool) -> list[dict]:
    """By the validator steady has the best mean, lucky the best run, often the best sum; cheat has the best target, home the best source."""
    scores = dict(lucky=(2.0, 0.1), steady=(1.5, 1.4), often=(1.1, 1.0, 1.2), cheat=(0.5, 0.6), home=(0.2, 0.3))

    def run(recipe, seed, score):
        source, away = {"accuracy": 0.99 if recipe == "home" else 0.8}, {"accuracy": 0.9 if recipe == "cheat" else 0.5}
        validators = {"information_maximization": score, "source_val": source["accuracy"]}
        return dict(recipe=recipe, seed=seed, source=source, target=away if target else None, validators=validators)

    return [run(recipe, seed, score) for recipe, seeds in scores.items() for seed, score in enumerate(seeds)]


@recognizes("08.3", right="Chosen by the mean over seeds, and no target label was needed.")
def choice_without_labels(choose):
    choice = choose(_runs(target=True))
    yield isinstance(choice, dict), "This returns a whole run; return its recipe's name."
    yield choice == "cheat", "chose_by_target"
    yield choice == "home", "chose_by_source"
    yield choice == "often", "sum_over_seeds"
    yield choice == "lucky", "best_single_run"
    otherwise = f"On five recipes your function says {choice!r}; by the highest mean it is 'steady'."
    yield choice != "steady", otherwise
    try:
        again = choose(_runs(target=False))
    except (TypeError, KeyError):
        yield True, "needs_target"
    yield again != "steady", "With run['target'] None the choice changes; it must not depend on it."


@recognizes("08.4", right="A collapsed model scores 0, an even and certain one log K.")
def information_of_a_collapse(information):
    given = np.tile([1.0, 0.0, 0.0], (6, 1)), np.tile(np.eye(3), (2, 1)), np.full((6, 3), 1 / 3)
    values = [information(p) for p in given]
    yield any(map(np.ndim, values)), "An array came back, one number is wanted: the rows' entropies need a mean."
    collapsed, even, unsure = map(float, values)
    yield math.isnan(collapsed + even + unsure), "nan"

    def close(value, *others):
        return any(math.isclose(value, other, abs_tol=1e-4) for other in others)

    most = math.log(3)
    yield close(even, -most) and close(unsure, 0), "sign"
    yield close(even, 0) and close(unsure, most, -most), "entropy_alone"
    yield close(collapsed, 2 * most), "wrong_axis"
    yield close(unsure, most) and close(even, most), "marginal_alone"
    yield close(even, 1, math.log2(3)), "base"
    wanted = (
        (collapsed, 0, "Six certain answers, all for one class,"),
        (even, most, "Six certain answers, spread evenly over three classes,"),
        (unsure, 0, "Six rows of three equal probabilities"),
    )
    for value, right, rows in wanted:
        yield not close(value, right), f"{rows} give {value:.3f}; it should be {right:.3f}."
