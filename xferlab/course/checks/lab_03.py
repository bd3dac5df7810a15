"""What lab 03's checks recognize."""

import math

import torch

from . import among, number, recognizes


@recognizes("03.1", right="0.42: a similarity 0.1 higher outweighs two votes, because 0.1 / 0.1 makes a factor of e.")
def weighted_vote(monocyte):
    def share(temperature):
        return 2 / (2 + math.exp((0.9 - 0.8) / temperature))

    right = share(0.1)
    mistakes = dict(
        other_class=1 - right,
        head_count=2 / 3,
        no_temperature=share(1.0),
        other_temperature=share(0.07),
        similarity_as_vote=(0.8 + 0.8) / (0.9 + 0.8 + 0.8),
    )
    otherwise = "{:.3g} is not the monocytes' share of the votes exp(9), exp(8) and exp(8)."
    if isinstance(monocyte, str) or not math.isclose(monocyte, right, abs_tol=5e-3):  # two digits will do
        yield from number(monocyte, right, mistakes, otherwise, abs_tol=2e-3)


@recognizes("03.2", right="These are exactly the scores that N separate fits would give, and you fitted once.")
def leave_one_out(left_out):
    x = torch.tensor([0.0, 1.0, 2.0, 4.0, 7.0], dtype=torch.float64)
    y = torch.tensor([0.0, 0.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    design = torch.stack([torch.ones_like(x), x], 1)
    hat = design @ torch.linalg.pinv(design)
    scores, leverage = hat @ y, hat.diagonal()
    answer = torch.as_tensor(left_out(scores.clone(), y.clone(), leverage.clone()), dtype=torch.float64)
    came = tuple(answer.shape)
    yield came != (5,), f"Five scores go in and {came} come out; one number for each picture is wanted."
    residual = y - scores
    mistakes = dict(
        residual_not_score=residual / (1 - leverage),
        shrunk=y - residual * (1 - leverage),
        in_sample=scores,
        by_leverage=y - residual / leverage,
        wrong_sign=y + residual / (1 - leverage),
        score_divided=scores / (1 - leverage),
    )
    otherwise = "On a straight line through five points these are not the scores of fits without each point."
    right = y - residual / (1 - leverage)
    yield from among(lambda value: torch.allclose(answer, value, atol=1e-6), right, mistakes, otherwise)


@recognizes("03.3", right="1.4 of at most 2: these laboratories are easy to tell apart.")
def distance_from_error(distance):
    mistakes = dict(accuracy_for_error=-1.4, outer_two=0.7, inner_two=1.7)
    otherwise = "{} is not 2 (1 - 2e) for the error e of a classifier that is right 85 % of the time, as a share."
    return number(distance, 1.4, mistakes, otherwise, abs_tol=1e-6)


@recognizes("03.4", right="Centered, squared, normalized: a constant or a factor on either side changes nothing.")
def linear_cka(cka):
    draw = torch.Generator().manual_seed(0)
    a = torch.randn(12, 3, generator=draw, dtype=torch.float64) + torch.tensor([3.0, 0.0, -1.0], dtype=torch.float64)
    b = a @ torch.randn(3, 2, generator=draw, dtype=torch.float64) + 2

    def of(a, b, power=2):
        return float((b.T @ a).norm() ** power / ((a.T @ a).norm() * (b.T @ b).norm()))

    try:
        answer = float(cka(a.clone(), b.clone()))
    except RuntimeError as error:
        advice = "Means go over pictures, `a.mean(0)`; then B'A is `b.T @ a`."
        yield True, f"For features (12, 3) and (12, 2) this fails: {error}. {advice}"
    ca, cb = a - a.mean(0), b - b.mean(0)
    mistakes = dict(
        not_centered=of(a, b),
        wrong_mean=[of(a - a.mean(), b - b.mean()), of(a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True))],
        not_normalized=float((cb.T @ ca).square().sum()),
        not_squared=of(ca, cb, power=1),
    )
    otherwise = f"On a small example this gives {{:.4g}}; expected {of(ca, cb):.4g}, and CKA is never above 1."
    yield from number(answer, of(ca, cb), mistakes, otherwise, rel_tol=1e-6)


@recognizes(
    "03.5",
    right="You chose without the target's labels. Only next year's labels can show that another layer was better away.",
)
def layer_by_bound(chosen_layer):
    name = str(chosen_layer).strip().lower()
    yield name == "early", "largest"
    yield name == "middle", "used_target_labels"
    yield name != "late", f"{chosen_layer!r} is not a layer: give one of the names early, middle and late."
