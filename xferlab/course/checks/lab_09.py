"""What lab 09's checks recognize."""

from __future__ import annotations

import math

import torch

from ...objectives import CrossEntropy, MaskedLanguageModeling
from ...recipe import Stage
from . import Mistake, among, number, recognizes


@recognizes("09.1", right="J45.20 and J45.909 are both asthma: the category counts, not the code.")
def shared_categories(leaks):
    train, test = ["J45.20", "J45.909", "I10", "E11.9"], ["J45.30", "E11.9", "J20.0", "K21.9"]
    found = sorted(leaks(train, test))
    mistakes = (
        (["E11.9"], "whole_codes"),
        (["E", "J"], "first_letter"),
        (["E11", "I10", "J20", "J45", "K21"], "either"),
    )
    otherwise = f"For {train} and {test} your function says {found}, not ['E11', 'J45']."
    return among(lambda value: found == value, ["E11", "J45"], mistakes, otherwise)


@recognizes("09.2", right="Neither padding nor a longer neighbor changes a text's feature.")
def mean_over_real_tokens(pool):
    states = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [8.0, 0.0]], [[4.0, 4.0], [9.0, 9.0], [9.0, 9.0]]])
    tokens = torch.tensor([[5, 6, 0], [7, 0, 0]])
    pooled = torch.as_tensor(pool(states, tokens)).float()
    if pooled.shape != (2, 2):
        return f"For states (2, 3, 2) your function gives {tuple(pooled.shape)}; one row of D = 2 numbers a text is wanted."
    sums = torch.tensor([[4.0, 6.0], [4.0, 4.0]])
    mistakes = (
        (states.mean(1), "padding_counts"),
        (sums / 3, "divided_by_length"),
        (states[:, 0], "first_token"),
        (sums, "sum"),
    )
    otherwise = (
        "These are not the means over the tokens that are not 0; if you divide by a count, give it the shape (B, 1)."
    )
    right = sums / torch.tensor([[2.0], [1.0]])
    return among(lambda value: torch.allclose(pooled, value), right, mistakes, otherwise)


@recognizes("09.3", right="Forty a class against five: pretraining would be worth 35 labels a class.")
def labels_needed(needed):
    mistakes = ((50, "linear"), (8, "times"), (math.log(40), "in_logs"))
    otherwise = f"{needed:.3g} labels a class would not give 0.60 on a line through 0.50 at 20 and 0.70 at 80, against log labels."
    return number(needed, 40, mistakes, otherwise, rel_tol=1e-2)


@recognizes("09.4", right="6,144 of 147,456 numbers: about 4 %.")
def numbers_of_a_lora(numbers):
    whole, factor = 384 * 384, 8 * 384
    mistakes = ((whole, "whole_matrix"), (factor, "one_factor"), (whole + 2 * factor, "whole_and_factors"))
    otherwise = f"{numbers} is not the size of A, 8 x 384, and B, 384 x 8, together."
    return number(numbers, 2 * factor, mistakes, otherwise)


@recognizes("09.5", right="First the wording, without labels; then the task, with them.")
def pretraining_then_labels(stages):
    stages = list(getattr(stages, "stages", stages))  # of a Recipe too
    if len(stages) != 2 or not all(isinstance(stage, Stage) for stage in stages):
        return f"Two stages are wanted, each an xl.Stage; this is {[type(stage).__name__ for stage in stages]}."
    if not all(callable(stage.objectives) for stage in stages):
        return Mistake("not_a_function")
    try:
        made = [list(stage.objectives()) for stage in stages]
    except TypeError:
        return "A stage's function takes nothing and gives a list: lambda: [xl.MaskedLanguageModeling()]."
    if any(isinstance(objective, type) for objectives in made for objective in objectives):
        return "A class stands in a list of objectives; make one of it with brackets: xl.MaskedLanguageModeling()."
    kinds = [[type(objective) for objective in objectives] for objectives in made]
    if kinds == [[CrossEntropy], [MaskedLanguageModeling]]:
        return Mistake("labels_first")
    if kinds != [[MaskedLanguageModeling], [CrossEntropy]]:
        return "Stage 1 has MaskedLanguageModeling alone, stage 2 cross-entropy alone, which is a Stage's default."
    if stages[0].data == "source" or made[0][0].on == "source":
        return Mistake("mlm_on_source")
    if stages[0].data == "both":
        return Mistake("mlm_on_both")
    if stages[1].data != "source":
        return Mistake("labels_beside_target")
    if stages[0].strategy.rate(6, 7, 0.0) == 0:
        return "Stage 1 moves nothing of the encoder, so it learns no wording; leave its strategy at the default."
    return (
        None if stages[1].strategy.name == "full" else "Stage 2 is full fine-tuning: leave its strategy at the default."
    )
