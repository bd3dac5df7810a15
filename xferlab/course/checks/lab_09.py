"""What lab 09's checks recognize."""

import math

import torch

from ...objectives import CrossEntropy, MaskedLanguageModeling
from ...recipe import Stage
from . import among, number, recognizes


@recognizes("09.1", right="J45.20 and J45.909 are both asthma: the category counts, not the code.")
def shared_categories(leaks):
    train, test = ["J45.20", "J45.909", "I10", "E11.9"], ["J45.30", "E11.9", "J20.0", "K21.9"]
    found = tuple(sorted(leaks(train, test)))
    mistakes = dict(whole_codes=("E11.9",), first_letter=("E", "J"), either=("E11", "I10", "J20", "J45", "K21"))
    otherwise = f"For {train} and {test} your function says {list(found)}, not ['E11', 'J45']."
    return among(lambda value: found == value, ("E11", "J45"), mistakes, otherwise)


@recognizes("09.2", right="Neither padding nor a longer neighbor changes a text's feature.")
def mean_over_real_tokens(pool):
    states = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [8.0, 0.0]], [[4.0, 4.0], [9.0, 9.0], [9.0, 9.0]]])
    tokens = torch.tensor([[5, 6, 0], [7, 0, 0]])
    pooled = torch.as_tensor(pool(states, tokens)).float()
    came = f"For states (2, 3, 2) your function gives {tuple(pooled.shape)}"
    yield pooled.shape != (2, 2), f"{came}; one row of D = 2 numbers a text is wanted."
    sums = torch.tensor([[4.0, 6.0], [4.0, 4.0]])
    mistakes = dict(padding_counts=states.mean(1), divided_by_length=sums / 3, first_token=states[:, 0], sum=sums)
    advice = "if you divide by a count, give it the shape (B, 1)"
    otherwise = f"These are not the means over the tokens that are not 0; {advice}."
    right = sums / torch.tensor([[2.0], [1.0]])
    yield from among(lambda value: torch.allclose(pooled, value), right, mistakes, otherwise)


@recognizes("09.3", right="Forty a class against five: pretraining would be worth 35 labels a class.")
def labels_needed(needed):
    mistakes = dict(linear=50, times=8, in_logs=math.log(40))
    line = "on a line through 0.50 at 20 and 0.70 at 80, against log labels"
    return number(needed, 40, mistakes, f"{{:.3g}} labels a class would not give 0.60 {line}.", rel_tol=1e-2)


@recognizes("09.4", right="6,144 of 147,456 numbers: about 4 %.")
def numbers_of_a_lora(numbers):
    whole, factor = 384 * 384, 8 * 384
    mistakes = dict(whole_matrix=whole, one_factor=factor, whole_and_factors=whole + 2 * factor)
    return number(numbers, 2 * factor, mistakes, "{} is not the size of A, 8 x 384, and B, 384 x 8, together.")


@recognizes("09.5", right="First the wording, without labels; then the task, with them.")
def pretraining_then_labels(stages):
    stages = list(getattr(stages, "stages", stages))  # of a Recipe too
    if len(stages) != 2 or not all(isinstance(stage, Stage) for stage in stages):
        kinds = [type(stage).__name__ for stage in stages]
        yield True, f"Two stages are wanted, each an xl.Stage; this is {kinds}."
    yield not all(callable(stage.objectives) for stage in stages), "not_a_function"
    try:
        made = [list(stage.objectives()) for stage in stages]
    except TypeError:
        yield True, "A stage's function takes nothing and gives a list: lambda: [xl.MaskedLanguageModeling()]."
    bare = any(isinstance(objective, type) for objectives in made for objective in objectives)
    advice = "make one of it with brackets: xl.MaskedLanguageModeling()"
    yield bare, f"A class stands in a list of objectives; {advice}."
    kinds = [[type(objective) for objective in objectives] for objectives in made]
    yield kinds == [[CrossEntropy], [MaskedLanguageModeling]], "labels_first"
    wanted = "Stage 1 has MaskedLanguageModeling alone, stage 2 cross-entropy alone, which is a Stage's default."
    yield kinds != [[MaskedLanguageModeling], [CrossEntropy]], wanted
    first, second = stages
    yield "source" in (first.data, made[0][0].on), "mlm_on_source"
    yield first.data == "both", "mlm_on_both"
    yield second.data != "source", "labels_beside_target"
    still = "Stage 1 moves nothing of the encoder, so it learns no wording; leave its strategy at the default."
    yield first.strategy.rate(6, 7, 0.0) == 0, still
    yield second.strategy.name != "full", "Stage 2 is full fine-tuning: leave its strategy at the default."
