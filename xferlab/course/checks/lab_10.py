"""What lab 10's checks recognize."""

from __future__ import annotations

import math

from ...objectives import MMD, CrossEntropy
from ...recipe import Recipe
from . import Mistake, letters, recognizes


@recognizes("10.1", right="The target's pictures help twice, its labels once, at the end.")
def promises(plan):
    right = {
        "train": {"source.train", "target.train"},
        "choose": {"source.val", "target.train"},
        "report": {"target.test"},
    }
    if set(plan) != set(right):
        return f"The steps are train, choose and report; here are {', '.join(map(str, plan))}."
    plan = {step: {parts} if isinstance(parts, str) else set(parts) for step, parts in plan.items()}
    if unknown := set().union(*plan.values()) - set().union(*right.values()):
        return f"{sorted(unknown)[0]!r} is none of the four parts."
    if "target.test" in plan["train"] | plan["choose"]:
        return Mistake("chooses_on_test")
    if plan["report"] != right["report"]:
        return Mistake("reports_source")
    if "target.train" not in plan["train"]:
        return Mistake("no_target_in_training")
    if plan == right:
        return None
    if "target.train" not in plan["choose"]:
        return "A validator such as entropy looks at the target's unlabeled pictures; add them to choose."
    if "source.val" in plan["train"]:
        return "What trains cannot choose: keep the source's validation part out of training."
    return "Read the table column by column: one of the steps has a part too many or too few."


@recognizes("10.2", right="0.02 to 0.04 in every seed: small, and separated.")
def paired_gain(answer):
    gain, separated = answer
    if separated not in (True, False):
        return "separated is True or False."
    if math.isclose(gain, -0.032, abs_tol=5e-4):
        return Mistake("sign")
    if math.isclose(gain, 0.04, abs_tol=5e-4):
        return Mistake("best_seeds")
    if not math.isclose(gain, 0.032, abs_tol=5e-4):
        return f"{gain:.3f} is not the mean of the five differences."
    if not separated:
        return Mistake("unpaired")
    return None


@recognizes("10.3", right="Two stages; objectives are made anew for each run.")
def own_recipe(mine):
    if not isinstance(mine, Recipe):
        return f"This is a {type(mine).__name__}; xl.Recipe(name, (stage, stage)) is wanted."
    if mine.name != "mine":
        return f"The name is {mine.name!r}; call it 'mine'."
    if len(mine.stages) == 1:
        return Mistake("one_stage")
    if len(mine.stages) != 2:
        return f"{len(mine.stages)} stages are here; two are wanted."
    if not all(callable(stage.objectives) for stage in mine.stages):
        return Mistake("not_a_function")
    first, second = mine.stages
    if (first.data, second.data) != ("source", "both"):
        return f"The stages draw from {first.data!r} and {second.data!r}; 'source' and then 'both' are asked for."
    made = [stage.objectives() for stage in mine.stages]
    if not all(isinstance(objectives, list | tuple) for objectives in made):
        return "A stage's function gives a list of objectives, also where there is one: lambda: [xl.CrossEntropy()]."
    if any(a is b for a, b in zip(second.objectives(), made[1], strict=False)):
        return "Two runs would share these objectives; write them inside the function, lambda: [...], so that each run makes its own."
    if [type(objective) for objective in made[0]] != [CrossEntropy]:
        return f"The first stage has {', '.join(type(o).__name__ for o in made[0])}; cross-entropy on the source is asked for."
    kinds = {type(objective) for objective in made[1]}
    if kinds == {MMD}:
        return Mistake("no_cross_entropy")
    if kinds != {MMD, CrossEntropy}:
        return f"The second stage has {', '.join(sorted(kind.__name__ for kind in kinds))}; CrossEntropy and MMD are asked for."
    if not (math.isclose(first.share, 0.7) and math.isclose(second.share, 0.3)):
        return f"The shares are {first.share} and {second.share}; 0.7 and 0.3 are asked for."
    if not (math.isclose(first.lr, 1.0) and math.isclose(second.lr, 0.3)):
        return f"The rates' factors are {first.lr} and {second.lr}; 1 and 0.3 are asked for."
    return None


@recognizes("10.4", right="The result, and what the missing labels cost.")
def claims_that_stand(claims):
    claims = letters(claims)
    if claims == {"a", "d"}:
        return None
    if "e" in claims:
        return Mistake("clinical")
    if "b" in claims:
        return Mistake("oracle_as_result")
    if "c" in claims:
        return Mistake("three_seeds")
    if claims == {"a"}:
        return Mistake("hides_the_gap")
    return (
        "Look at each letter again: one sentence is the result, one says what a choice with labels would have gained."
    )
