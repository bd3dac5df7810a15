"""What lab 10's checks recognize."""

import math

from ...recipe import Recipe
from . import letters, number, recognizes


@recognizes("10.1", right="The target's pictures help twice, its labels once, at the end.")
def promises(plan):
    right = dict(train={"source.train", "target.train"}, choose={"source.val", "target.train"}, report={"target.test"})
    steps = ", ".join(map(str, plan))
    yield set(plan) != set(right), f"The steps are train, choose and report; here are {steps}."
    plan = {step: {parts} if isinstance(parts, str) else set(parts) for step, parts in plan.items()}
    unknown = set().union(*plan.values()) - set().union(*right.values())
    yield unknown, f"{min(unknown, key=str, default='')!r} is none of the four parts."
    yield "target.test" in plan["train"] | plan["choose"], "chooses_on_test"
    yield plan["report"] != right["report"], "reports_source"
    yield "target.train" not in plan["train"], "no_target_in_training"
    advice = "A validator such as entropy looks at the target's unlabeled pictures; add them to choose."
    yield "target.train" not in plan["choose"], advice
    advice = "What trains cannot choose: keep the source's validation part out of training."
    yield "source.val" in plan["train"], advice
    yield plan != right, "Read the table column by column: one of the steps has a part too many or too few."


@recognizes("10.2", right="0.02 to 0.04 in every seed: small, and separated.")
def paired_gain(answer):
    gain, separated = answer
    yield separated not in (True, False), "separated is True or False."
    mistakes = dict(sign=-0.032, best_seeds=0.04)
    yield from number(gain, 0.032, mistakes, "{:.3f} is not the mean of the five differences.", abs_tol=5e-4)
    yield not separated, "unpaired"


@recognizes("10.3", right="Two stages; objectives are made anew for each run.")
def own_recipe(mine):
    kind = type(mine).__name__
    yield not isinstance(mine, Recipe), f"This is a {kind}; xl.Recipe(name, (stage, stage)) is wanted."
    yield mine.name != "mine", f"The name is {mine.name!r}; call it 'mine'."
    yield len(mine.stages) == 1, "one_stage"
    yield len(mine.stages) != 2, f"{len(mine.stages)} stages are here; two are wanted."
    yield not all(callable(stage.objectives) for stage in mine.stages), "not_a_function"
    first, second = mine.stages
    drawn = f"The stages draw from {first.data!r} and {second.data!r}"
    yield (first.data, second.data) != ("source", "both"), f"{drawn}; 'source' and then 'both' are asked for."
    made = [stage.objectives() for stage in mine.stages]
    listed = all(isinstance(objectives, list | tuple) for objectives in made)
    advice = "A stage's function gives a list of objectives, also where there is one: lambda: [xl.CrossEntropy()]."
    yield not listed, advice
    shared = any(a is b for a, b in zip(second.objectives(), made[1], strict=False))
    advice = "write them inside the function, lambda: [...], so that each run makes its own"
    yield shared, f"Two runs would share these objectives; {advice}."
    begun, ended = ([type(objective).__name__ for objective in objectives] for objectives in made)
    advice = "cross-entropy on the source is asked for"
    yield begun != ["CrossEntropy"], f"The first stage has {', '.join(begun)}; {advice}."
    yield set(ended) == {"MMD"}, "no_cross_entropy"
    held = ", ".join(sorted(set(ended)))
    yield held != "CrossEntropy, MMD", f"The second stage has {held}; CrossEntropy and MMD are asked for."
    shares, rates = (first.share, second.share), (first.lr, second.lr)
    yield math.dist(shares, (0.7, 0.3)) > 1e-6, "The shares are {} and {}; 0.7 and 0.3 are asked for.".format(*shares)
    yield math.dist(rates, (1, 0.3)) > 1e-6, "The rates' factors are {} and {}; 1 and 0.3 are asked for.".format(*rates)


@recognizes("10.4", right="The result, and what the missing labels cost.")
def claims_that_stand(claims):
    claims = letters(claims)
    yield "e" in claims, "clinical"
    yield "b" in claims, "oracle_as_result"
    yield "c" in claims, "three_seeds"
    yield claims == {"a"}, "hides_the_gap"
    what = "one sentence is the result, one says what a choice with labels would have gained"
    yield claims != {"a", "d"}, f"Look at each letter again: {what}."
