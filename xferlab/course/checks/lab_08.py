"""What lab 08's checks recognise."""

from __future__ import annotations

import math

import numpy as np

from . import Mistake, recognises


@recognises("08.1", right="So a true label gets a probability of exp(-0.547) = 0.58, in the geometric mean.")
def leep_by_hand(score):
    score = float(score)

    def close(other):
        return math.isclose(score, other, abs_tol=6e-4)

    expected = np.array([0.62, 0.54, 0.62, 0.54])
    if close(np.log(expected).mean()):
        return None
    if close(np.log(expected.mean())):
        return Mistake("log_of_mean", "This is the logarithm of the mean; LEEP is the mean of the logarithms.")
    if close(expected.mean()) or close(math.exp(np.log(expected).mean())):
        return Mistake("no_logarithm", "That is a probability; LEEP averages logarithms and is never above 0.")
    if close(np.log(expected).sum()):
        return Mistake("sum_not_mean", "This is the sum over the four pictures; divide by 4.")
    if close(-np.log(expected).mean()):
        return Mistake("sign", "The size is right; LEEP is a log probability, so it is not above 0.")
    if close(0.0):
        return Mistake(
            "nce",
            "This takes each picture's most probable source class for certain: that is NCE, and here it is perfect. LEEP keeps the probabilities.",
        )
    if close(np.log(expected / 2).mean()):
        return Mistake(
            "joint_not_conditional",
            "You used P(y, z), whose columns sum to 1/2; divide each column by its sum to get P(y | z).",
        )
    if close(np.log10(expected).mean()):
        return Mistake("base", "The mean of the logarithms to base 10; LEEP takes the natural one, np.log.")
    if math.isclose(score, -0.55, abs_tol=1e-9):
        return (
            "Give three digits: at two, the mean of the logarithms and the logarithm of the mean look nearly the same."
        )
    return f"{score:.4f} is not it: check P(y | z) first, whose columns are (0.7, 0.3) and (0.3, 0.7)."


@recognises("08.2", right="-0.1: four models in nearly the right order, and the fifth undoes it all.")
def rank_correlation(rho):
    rho, right = float(rho), 1 - 6 * 22 / 120
    value, accuracy = [0.1, 0.2, 0.3, 0.4, 9.0], [0.5, 0.7, 0.6, 0.8, 0.4]
    if math.isclose(rho, right, abs_tol=6e-3):
        return None
    if math.isclose(rho, np.corrcoef(value, accuracy)[0, 1], abs_tol=6e-3):
        return Mistake("pearson", "This is the correlation of the values, which the 9.00 rules; rank them first.")
    if math.isclose(rho, -right, abs_tol=6e-3):
        return Mistake("reversed", "One of the two lists was ranked from the largest; rank both from the smallest.")
    if math.isclose(rho, 1 - right, abs_tol=6e-3):
        return Mistake("no_one_minus", "This is the part that is taken away from 1.")
    if math.isclose(rho, 1, abs_tol=6e-3) or math.isclose(rho, 1 - 6 * 8 / 120, abs_tol=6e-3):
        return Mistake("not_squared", "The differences of the ranks were added up as they are; square each first.")
    return f"{rho:.3f} is not it: the ranks are 1 2 3 4 5 and 2 4 3 5 1, and a correlation lies between -1 and 1."


def _runs(target: bool) -> list[dict]:
    """Steady has the best mean by the validator, lucky the best single run, cheat the best target, home the best source."""
    values = {"lucky": (2.0, 0.1), "steady": (1.5, 1.4), "cheat": (0.5, 0.6), "home": (0.2, 0.3)}
    at_home = {"home": 0.99}
    abroad = {"cheat": 0.9}
    return [
        {
            "recipe": recipe,
            "seed": seed,
            "source": {"accuracy": at_home.get(recipe, 0.8)},
            "target": {"accuracy": abroad.get(recipe, 0.5)} if target else None,
            "validators": {"information_maximization": value, "source_val": at_home.get(recipe, 0.8)},
        }
        for recipe, pair in values.items()
        for seed, value in enumerate(pair)
    ]


@recognises("08.3", right="Chosen by the mean over seeds, and no target label was needed.")
def choice_without_labels(choose):
    said = choose(_runs(target=True))
    if said == "cheat":
        return Mistake("chose_by_target", "This looks at the target's labels, which you do not have.")
    if said == "home":
        return Mistake(
            "chose_by_source", "This chooses what is best at home; the exercise asks for information_maximization."
        )
    if said == "lucky":
        return Mistake(
            "best_single_run",
            "One seed of this recipe is the best run of all, and its other seed is poor; average over seeds first.",
        )
    if isinstance(said, dict):
        return "This returns a whole run; return its recipe's name."
    if said != "steady":
        return f"On four recipes your function says {said!r}; by the highest mean it is 'steady'."
    try:
        again = choose(_runs(target=False))
    except (TypeError, KeyError):
        return Mistake(
            "needs_target", "Right with labels, but it fails where run['target'] is None: it still reads it."
        )
    return None if again == "steady" else "With run['target'] None the choice changes; it must not depend on it."


@recognises("08.4", right="A collapsed model scores 0, an even and certain one log K.")
def information_of_a_collapse(information):
    collapsed, even = np.tile([1.0, 0.0, 0.0], (6, 1)), np.tile(np.eye(3), (2, 1))
    unsure = np.full((6, 3), 1 / 3)
    at = {"collapsed": collapsed, "even": even, "unsure": unsure}
    said = {name: information(p.copy()) for name, p in at.items()}
    if any(np.ndim(value) for value in said.values()):
        return "An array came back, one number is wanted: the rows' entropies need a mean."
    said = {name: float(value) for name, value in said.items()}
    if any(math.isnan(value) for value in said.values()):
        return Mistake("nan", "0 * log 0 came out as NaN; clip inside the logarithm.")

    def close(name, other):
        return math.isclose(said[name], other, abs_tol=1e-4)

    if close("collapsed", 0) and close("even", math.log(3)) and close("unsure", 0):
        return None
    if close("even", -math.log(3)) and close("unsure", 0):
        return Mistake("sign", "The two terms are the wrong way round: even and certain should score highest.")
    if close("even", 0) and (close("unsure", math.log(3)) or close("unsure", -math.log(3))):
        return Mistake(
            "entropy_alone",
            "This is the rows' entropy alone: a collapsed model and a perfect one get the same. The entropy of the mean row is missing.",
        )
    if close("unsure", math.log(3)) and close("even", math.log(3)):
        return Mistake(
            "marginal_alone",
            "This is the entropy of the mean row alone: a model that knows nothing scores as high as a perfect one.",
        )
    if close("even", 1) or close("even", math.log2(3)):
        return Mistake("base", "The logarithm's base is not e; the exercise asks for nats: np.log.")
    right = {"collapsed": 0, "even": math.log(3), "unsure": 0}
    wrong = next(name for name in right if not close(name, right[name]))
    rows = {
        "collapsed": "Six certain answers, all for one class,",
        "even": "Six certain answers, spread evenly over three classes,",
        "unsure": "Six rows of three equal probabilities",
    }
    return f"{rows[wrong]} give {said[wrong]:.3f}; it should be {right[wrong]:.3f}."
