# %% [markdown]
# ## The question
# Hospital A has labelled its pictures. Hospital B has another scanner, another stain, and no labels. You have a day. **What do
# you hand to hospital B, and what may you claim about it?**
#
# This lab is the whole course on one page, on your own two folders or, by default, on two rendered laboratories. You plan,
# climb a ladder that adds one technique at a time, choose without target labels, write a report, and only then look.
# Colours and shapes of the default pictures are synthetic: a result here is about the methods on this rendering.

# %%
import tempfile
from pathlib import Path

import pandas as pd

import xferlab as xl

lab = xl.lab.start("10")
source_name, target_name = lab.datasets("cells/site-a", "cells/site-c")
source, target = xl.load(source_name), xl.load(target_name)

# %%
xl.lab.show(
    xl.plots.contact_sheet(source.train, target.train, per_class=5),
    alt=f"A row a class: five pictures of {source.name} on the left, five of {target.name} on the right",
)

# %% [markdown]
# ## Before any training
# ### Who may see what
# A transfer experiment is a set of promises about labels. Write them down first.
#
# | part | training | choosing | reporting |
# |---|---|---|---|
# | source, train, with labels | yes | | |
# | source, validation, with labels | | yes | |
# | target, train, **without** labels | yes | yes | |
# | target, test, with labels | | | once, at the end |
#
# ### How far apart are they?
# A linear classifier that is to tell the two sides apart, on ImageNet features that nobody has tuned: 0 means it cannot, 2 that
# it always can. And what a doctor's engineer would look at first: the mean colour.

# %%
encoder = xl.encoder("efficientnet_lite0")
rows = lab.scale(quick=20, lab=200, full=2000)
z_source, z_target = (xl.embed(encoder, part.train.take(n=rows)).numpy() for part in (source, target))
distance = xl.transferability.proxy_a_distance(source=z_source, target=z_target, seed=0)
print(f"Proxy A-distance {source.name} to {target.name}: {distance:.2f} of 2, on {rows} pictures a side")
for part in (source, target):
    print(f"mean colour of {part.name}: {part.train.inputs.float().mean((0, 2, 3)).round().int().tolist()}")

# %% [markdown]
# ### Exercise 1: the promises, in code
# Fill each step with the set of parts it may look at, out of `"source.train"`, `"source.val"`, `"target.train"` (its pictures, no
# labels) and `"target.test"`.

# %% tags=["exercise"] exercise="10.1"
plan = {"train": ..., "choose": ..., "report": ...}

# %% tags=["solution"] exercise="10.1"
plan = {
    "train": {"source.train", "target.train"},
    "choose": {"source.val", "target.train"},
    "report": {"target.test"},
}

# %% tags=["wrong"] exercise="10.1" mistake="chooses_on_test"
plan = {"train": {"source.train", "target.train"}, "choose": {"target.test"}, "report": {"target.test"}}

# %% tags=["wrong"] exercise="10.1" mistake="no_target_in_training"
plan = {"train": {"source.train"}, "choose": {"source.val", "target.train"}, "report": {"target.test"}}

# %% tags=["wrong"] exercise="10.1" mistake="reports_source"
plan = {"train": {"source.train", "target.train"}, "choose": {"source.val", "target.train"}, "report": {"source.val"}}

# %% [markdown] tags=["mistakes"] exercise="10.1"
# - chooses_on_test: The target's test part is opened once, to report; here it trains or chooses.
# - reports_source: The report is about the target: its test part, and nothing else.
# - no_target_in_training: Adaptation trains on the target's pictures too; it just gets no labels.

# %% [markdown] tags=["hints"] exercise="10.1"
# 1. Which part must stay unseen until nothing can be changed any more?
# 2. Read the table above column by column; the target's unlabelled pictures may help twice.
# 3. `plan = {"train": {"source.train", "target.train"}, "choose": {"source.val", "target.train"}, "report": {"target.test"}}`

# %% tags=["check"] exercise="10.1"
xl.checks.check("10.1", plan)

# %% [markdown]
# ## The ladder
# Each rung adds **one** thing to the rung it is compared with, so that a gain has one cause. From `colour` two ways lead on.
#
# | rung | compared with | what it adds |
# |---|---|---|
# | `linear_probe` | | ImageNet's features, frozen, and a new head |
# | `source_only` | `linear_probe` | every layer may move |
# | `colour` | `source_only` | stains and colours drawn anew for every picture: the shift one expects |
# | `colour_adabn` | `colour` | batch-norm statistics of the target, at the end (the last 0.3 of the steps go into them) |
# | `colour_joint_bn` | `colour` | source and target in one batch, so that batch norm sees both while training; no loss looks at the target |
# | `colour_coral` | `colour_joint_bn` | the feature covariances of the two aligned ([Sun & Saenko, 2016](https://arxiv.org/abs/1607.01719)) |
#
# ### Predict
# Which rung gains most on the target over the rung it is compared with?

# %% tags=["exercise"] exercise="10.p1"
rungs = ["source_only", "colour", "colour_adabn", "colour_joint_bn", "colour_coral"]
guess = ...  # one of these five
xl.checks.predict("10.p1", guess, options=rungs)

# %% tags=["solution"] exercise="10.p1"
rungs = ["source_only", "colour", "colour_adabn", "colour_joint_bn", "colour_coral"]
guess = "colour"
xl.checks.predict("10.p1", guess, options=rungs)

# %% [markdown]
# Four rungs stand in `xl.recipes` by name. The last two are written here, as you would write your own: a `Recipe` is a name and a
# tuple of stages, each with a function that makes its objectives anew (`help(xl.Stage)` lists what else a stage takes).

# %%
colours = xl.recipes["colour"].stages[0].augment
colour_joint_bn = xl.Recipe(
    "colour_joint_bn",
    (xl.Stage(lambda: [xl.CrossEntropy()], data="both", augment=colours),),
    "colour, and both laboratories in each batch",
)
colour_coral = xl.Recipe(
    "colour_coral",
    (xl.Stage(lambda: [xl.CrossEntropy(), xl.CORAL(100.0)], data="both", augment=colours),),
    "colour, and CORAL between the two laboratories",
)
ladder = ["linear_probe", "source_only", "colour", "colour_adabn", colour_joint_bn, colour_coral]
below = {
    "source_only": "linear_probe",
    "colour": "source_only",
    "colour_adabn": "colour",
    "colour_joint_bn": "colour",
    "colour_coral": "colour_joint_bn",
}
settings = dict(
    encoder="efficientnet_lite0",
    metric="balanced_accuracy",
    steps=lab.scale(quick=1, lab=60, full=300),
    batch_size=lab.scale(quick=8, lab=16, full=64),
    per_class=lab.scale(quick=4, lab=60, full=None),
)
adapt = xl.Splits(target.train.take(n=lab.scale(quick=40, lab=600, full=10**6)), target.val, target.test)
board = xl.compare(
    lab.scale(quick=[*ladder[1:3], *ladder[4:]], lab=ladder, full=ladder),
    source,
    adapt,
    seeds=lab.draws(5),
    validators=["source_val", "entropy", "information_maximization", "reverse_validation"],
    selector="information_maximization",
    keep_weights=True,
    augment=None,
    progress_bar=lab.shows_progress,
    **settings,
)
choice = board.best()
print(f"Chosen by {board.selector}, without a target label: {choice.recipe}, seed {choice.seed}")
board.table[board.validators].round(3)

# %% [markdown]
# These are the validators' values, higher is better, and none of them is an accuracy: `source_val` is measured at hospital A, the
# other three on unlabelled pictures of hospital B. They may disagree. Which one counts was fixed beforehand, in `selector`.
#
# The two exercises that follow need no target label. Then comes the report, and only after it the look at the test part.

# %% [markdown]
# ### Exercise 2: is the rung worth keeping?
# Two rungs, five seeds. Give the mean gain (to three decimals) and whether it is **separated**: over five or more seeds, the 95 %
# t-interval of the paired difference leaves out zero.

# %% tags=["exercise"] exercise="10.2"
lower = [0.61, 0.70, 0.55, 0.66, 0.63]
upper = [0.64, 0.74, 0.58, 0.70, 0.65]
gain, separated = ..., ...

# %% tags=["solution"] exercise="10.2"
lower = [0.61, 0.70, 0.55, 0.66, 0.63]
upper = [0.64, 0.74, 0.58, 0.70, 0.65]
gain, low, high = xl.evaluation.t_interval([a - b for a, b in zip(upper, lower)])
separated = low > 0 or high < 0

# %% [markdown] tags=["solution"] exercise="10.2"
# The two rungs' own intervals overlap by far, since seeds differ more than rungs do. Within a seed the gain is 0.02 to 0.04, each time.

# %% tags=["wrong"] exercise="10.2" mistake="unpaired"
gain, separated = 0.032, False

# %% tags=["wrong"] exercise="10.2" mistake="best_seeds"
gain, separated = max(upper) - max(lower), True

# %% tags=["wrong"] exercise="10.2" mistake="sign"
gain, separated = -0.032, True

# %% [markdown] tags=["mistakes"] exercise="10.2"
# - sign: The gain is the upper rung minus the lower one.
# - best_seeds: That is the best seed against the best seed; take the mean over all five differences.
# - unpaired: The rungs' own intervals overlap, but the five differences are 0.03, 0.04, 0.03, 0.04 and 0.02: their interval is far from zero.

# %% [markdown] tags=["hints"] exercise="10.2"
# 1. Both rungs of one seed saw the same labelled pictures: which differences are free of that luck?
# 2. Take the five differences, then `xl.evaluation.t_interval`, which gives the mean and both ends.
# 3. `gain, low, high = xl.evaluation.t_interval([a - b for a, b in zip(upper, lower)]); separated = low > 0`

# %% tags=["check"] exercise="10.2"
xl.checks.check("10.2", (gain, separated))

# %% [markdown]
# ### Exercise 3: a rung of your own
# Write a `Recipe` named `"mine"` in two stages: first the source alone for 0.7 of the steps; then source and target together for
# 0.3 of the steps at 0.3 of the rate, with cross-entropy **and** `xl.MMD()`. A stage is
# `xl.Stage(objectives, data=..., share=..., lr=...)`; the last two are factors, of the steps and of the rate.

# %% tags=["exercise"] exercise="10.3"
mine = ...

# %% tags=["solution"] exercise="10.3"
mine = xl.Recipe(
    "mine",
    (
        xl.Stage(data="source", share=0.7),
        xl.Stage(lambda: [xl.CrossEntropy(), xl.MMD()], data="both", share=0.3, lr=0.3),
    ),
)

# %% [markdown] tags=["solution"] exercise="10.3"
# To see it beside the others, call `xl.compare([*ladder, mine], ...)` with the arguments of above in a cell of its own: only `mine`
# trains, the others are read from disk.

# %% tags=["wrong"] exercise="10.3" mistake="one_stage"
mine = xl.Recipe("mine", (xl.Stage(lambda: [xl.CrossEntropy(), xl.MMD()], data="both"),))

# %% tags=["wrong"] exercise="10.3" mistake="no_cross_entropy"
mine = xl.Recipe(
    "mine", (xl.Stage(data="source", share=0.7), xl.Stage(lambda: [xl.MMD()], data="both", share=0.3, lr=0.3))
)

# %% tags=["wrong"] exercise="10.3" mistake="not_a_function"
mine = xl.Recipe(
    "mine",
    (
        xl.Stage(data="source", share=0.7),
        xl.Stage([xl.CrossEntropy(), xl.MMD()], data="both", share=0.3, lr=0.3),
    ),
)

# %% [markdown] tags=["mistakes"] exercise="10.3"
# - one_stage: This adapts from the first step on; the source-only stage before it is missing.
# - not_a_function: Objectives have state, so a stage takes a function that makes them: lambda: [...].
# - no_cross_entropy: Without cross-entropy nothing holds the classes apart while the domains are pulled together.

# %% [markdown] tags=["hints"] exercise="10.3"
# 1. Look at how `colour_coral` is written above; you need two stages in its tuple.
# 2. `xl.Stage(data="source", share=0.7)` is the first; objectives are given as `lambda: [...]`, so that each run makes its own.
# 3. `mine = xl.Recipe("mine", (xl.Stage(data="source", share=0.7), xl.Stage(lambda: [xl.CrossEntropy(), xl.MMD()], data="both", share=0.3, lr=0.3)))`

# %% tags=["check"] exercise="10.3"
xl.checks.check("10.3", mine)

# %% [markdown]
# ## The report
# One page, pictures inside, to send to hospital B: what was chosen and why, what it cost, and what a reader must know before
# believing it.

# %%
report = board.to_html(Path(tempfile.gettempdir()) / "xferlab_capstone.html", command="lab 10")
print(f"Report: {report} ({report.stat().st_size // 1024} kB). Open it in a browser.")
xl.lab.say(*board.warnings)

# %% [markdown]
# ## Only now: the target's test labels
# From here on nothing may be changed any more. Orange is what was chosen without these labels, green the oracle's choice, which had
# them; the square and the dotted line are source only, the baseline.

# %%
xl.lab.say(board.verdict)

# %%
xl.lab.show(board.plot(), alt="Target score of each rung, the label-free choice and the oracle's choice marked")

# %% [markdown]
# One seed is one story. Where five seeds were measured earlier with this code, they join now, and each rung is compared with its
# lower rung **within** a seed.

# %%
columns = ("recipe", "seed", "source", "target", "validators", "seconds")
runs = [{key: run[key] for key in columns} for run in board.runs if "error" not in run]
runs = lab.pooled(f"ladder_{source.name}_{target.name}", runs, by=("recipe", "seed"))
names = list(dict.fromkeys(run["recipe"] for run in runs))
whole = xl.Leaderboard(runs, names, board.validators, board.selector, metric=board.metric)

# %% tags=["results"]
scores = [{"rung": r["recipe"], "seed": r["seed"], "target": r["target"][board.metric]} for r in runs]
gains = lambda rung, lower: xl.evaluation.paired(
    [row for row in scores if row["rung"] in (lower, rung)], "target", lower, by="rung", unit="seed"
)
climb = [{"over": below[r], **gain} for r in names if below.get(r) in names for gain in gains(r, below[r])]
table = whole.table.loc[names, ["source_balanced_accuracy", "target_balanced_accuracy", *board.validators, "seconds"]]
print(f"{source.name} -> {target.name}, balanced accuracy, seeds: {len({r['seed'] for r in runs})}")
print(table.T.round(3).to_string())
print("\nGain of each rung over the one it is compared with, within a seed")
print(pd.DataFrame(climb).round(3).to_string(index=False))
chosen, oracle = whole.best().recipe, whole.oracle()
print(f"\nOver these seeds {board.selector} chooses {chosen}; the oracle, which looks, takes {oracle}.")
for gap in gains(oracle, chosen) if oracle != chosen else []:
    print(f"What the choice without labels costs: {gap['gain']:.3f} ({gap['verdict']}).")

# %%
xl.checks.reveal("10.p1", max(climb, key=lambda row: row["gain"])["rung"])

# %% [markdown]
# Look at the last lines first. Information maximisation rewards answers that are sure one by one and spread evenly over the classes;
# whether they are right it cannot see. A frozen encoder under a new head can be sure, and spread, and wrong. If the choice lies under the
# oracle here, that is what a choice without labels costs on this pair; lab 08 measures how often it happens.
#
# Then read down the gains. Where `colour_joint_bn` alone changes much, a gain over `colour` would not have been CORAL's.

# %%
handed = xl.evaluate(choice.model, target.test)
xl.lab.show(
    xl.plots.confusion(handed, title=f"{choice.recipe} on {target.name}"),
    alt=f"Confusion matrix of the chosen model on the test part of {target.name}",
)

# %% [markdown]
# An average hides which class pays. Read the rows: each is a true class, and what stands beside the diagonal is what a patient
# with that cell would be told instead. A class of which the report said that it seems rare in hospital B may be no rarer there: its
# pictures may just look like another class to this model. That estimate assumes that a class looks alike on both sides.
#
# ### Exercise 4: what may you claim?
# A comparison over **three** seeds says: chosen by information maximisation, `coral`, target accuracy 0.71; the oracle takes `lp_ft`,
# 0.74; source only 0.66; the interval of the paired difference of `coral` and source only is [0.01, 0.09]. Which of these
# sentences may stand in the report? Give the set of letters.
#
# - a: The method we hand over reached 0.71 on the target's test part.
# - b: We reached 0.74 on the target.
# - c: `coral` is separated from source only.
# - d: A choice with target labels would have gained 0.03 more.
# - e: The model may be used on patients of hospital B.

# %% tags=["exercise"] exercise="10.4"
claims = ...  # a set of letters, such as {"a", "e"}

# %% tags=["solution"] exercise="10.4"
claims = {"a", "d"}

# %% [markdown] tags=["solution"] exercise="10.4"
# a and d say what was measured. b is the oracle's number: nobody without target labels could have handed that model over. c has three
# seeds, and *separated* needs five. e is no question of accuracy on 480 pictures at all.

# %% tags=["wrong"] exercise="10.4" mistake="oracle_as_result"
claims = {"a", "b", "d"}

# %% tags=["wrong"] exercise="10.4" mistake="three_seeds"
claims = {"a", "c", "d"}

# %% tags=["wrong"] exercise="10.4" mistake="clinical"
claims = {"a", "d", "e"}

# %% tags=["wrong"] exercise="10.4" mistake="hides_the_gap"
claims = {"a"}

# %% [markdown] tags=["mistakes"] exercise="10.4"
# - clinical: No number here is a study on patients: not for clinical use.
# - oracle_as_result: 0.74 is the oracle's: nobody without target labels could have chosen that model.
# - three_seeds: Separated needs five seeds or more here, whatever the interval of three says.
# - hides_the_gap: True, but a reader should also learn what the choice without labels cost.

# %% [markdown] tags=["hints"] exercise="10.4"
# 1. Which numbers depend on having looked at the target's test labels before choosing?
# 2. "Separated" needs five seeds here; and no number on this page is a clinical study.
# 3. `claims = {"a", "d"}`

# %% tags=["check"] exercise="10.4"
xl.checks.check("10.4", claims)

# %% [markdown]
# ## When it hurts: half the classes never come
# Hospital B may see only some of the cells that A labelled. Methods that align the two domains as wholes do not know that. Below the
# last rung trains again, with target pictures of the first half of the classes only (so also with half as many); both models are judged
# on these classes.
# (The labels that pick the pictures serve to stage the accident; training gets none.)

# %%
half = len(source.classes) // 2
keep = lambda domain: domain[domain.align(source.classes).labels < half]
hurt = xl.Classifier(xl.encoder("efficientnet_lite0", seed=0), source.classes, seed=0)
labelled = source.train if settings["per_class"] is None else source.train.take(settings["per_class"], seed=0)
colour_coral.fit(
    hurt,
    labelled,
    keep(adapt.train).unlabeled(),
    steps=settings["steps"],
    batch_size=settings["batch_size"],
    augment=None,
    progress_bar=lab.shows_progress,
)
run = next(run for run in board.runs if run["recipe"] == "colour_coral" and run["seed"] == 0)
judged = {"the whole target": board.load_model(run), "half of its classes": hurt}
probabilities = {name: xl.predict(model, keep(target.test)) for name, model in judged.items()}
truth = keep(target.test).align(source.classes).labels
accuracy = {name: float((p.argmax(1) == truth).float().mean()) for name, p in probabilities.items()}
strayed = {name: float((p.argmax(1) >= half).float().mean()) for name, p in probabilities.items()}
xl.lab.show(
    xl.plots.bars(
        {"right": accuracy, "given a class that is not there": strayed},
        xlabel="target pictures that colour_coral adapted to",
        ylabel="share of test pictures",
    ),
    alt="Share of target pictures answered rightly, and with a class that is absent, for the two trainings",
)
print("One seed.", *(f"{name}: right {accuracy[name]:.3f}, absent class {strayed[name]:.3f}." for name in judged))

# %% [markdown]
# ## Which method when
# A guide is only as good as its evidence, so each line names where to look, not what you will find: results differ with the pair.
#
# | your case | try first | the evidence to read |
# |---|---|---|
# | some labelled target pictures | a linear probe, then LP-FT | lab 02, its table by labels a class |
# | none, and you know what differs (stain, lamp, scanner) | augmentation that imitates it | lab 06; the `colour` rows of `bench/tables/cells.md` |
# | none, and a model is already trained | the target's batch-norm statistics | the `adabn` rows of `bench/tables/*.md` |
# | none, many target pictures, the same classes | a discrepancy (CORAL, MMD) before an adversary | labs 04 and 05; the column *vs source_only_joint_bn* of `bench/tables/*.md` |
# | the model is nearly right and sure | self-training | the spread over seeds of those rows; lab 08 for its collapse |
# | classes missing, or other shares of them | no alignment of whole domains; look at class shares | "When it hurts" above, and the report's class shares |
# | several trained models, no target label | a validator fixed beforehand, two read side by side | `bench/tables/ranks.md` and lab 08 |
#
# Whatever the case: source only, source only with joint batch-norm statistics, and a probe stand in the table too. A method that does not beat
# these is a cost.
#
# ## A rubric for teachers
# Learners hand in this notebook on two domains of their own, and a page of text. Twelve points.
#
# | | 0 | 1 | 2 | 3 |
# |---|---|---|---|---|
# | **Promises** | target labels were used in training or choosing | not used, not written down | written down | written down before the first run, and kept |
# | **Baselines** | none | source only | and a probe | and joint batch-norm statistics, one change a rung |
# | **Evidence** | one run | several seeds, means only | intervals | paired differences, and "not separated" said where it is so |
# | **Honesty** | the best number is reported | the choice is explained | the gap to the oracle is shown | and a failure is shown and explained, with whom it would harm |
#
# ## Quiz

# %% [markdown] tags=["quiz"]
# ### Why does each rung add one thing only?
# - [ ] It trains faster.
#   The whole ladder takes longer than its last rung.
# - [x] So that a gain, or a loss, has one cause.
#   Yes. A final model with five tricks cannot say which of them hurt.
# - [ ] Because techniques cannot be combined.
#   They can, and all rungs after the second do.

# %% [markdown] tags=["quiz"]
# ### `colour_coral` beats `colour` but not `colour_joint_bn`. What does that suggest?
# - [ ] Aligning covariances works.
#   The joint forward pass alone gave as much; nothing is left for CORAL to explain.
# - [x] The gain came from the target's batch-norm statistics.
#   Yes: both domains in one forward pass is a free adaptation, so it must be a baseline of its own.
# - [ ] The target has labels.
#   Neither of the two looks at target labels.

# %% [markdown] tags=["quiz"]
# ### Hospital B asks for "the accuracy" of your model there, and has no labels. What do you answer?
# - [ ] The accuracy on hospital A's test part.
#   That is the accuracy at A. The shift is what it leaves out.
# - [ ] The value of the validator that chose the model.
#   A validator ranks models; its value is no accuracy.
# - [x] That it was not measured there, what was measured elsewhere, and how many labelled pictures would measure it.
#   Yes. A hundred labelled pictures give an interval, and that can be agreed before handing anything over.

# %% tags=["nbval-check-output"]
print("Chosen without labels, reported once, with what it cost and where it fails.")

# %% [markdown]
# ## Recap
# - Promises first: which labels train, which choose, which report.
# - One technique a rung, paired within a seed; a rung that gains nothing comes off again.
# - The report shows the choice, its gap to the oracle, the class that pays, and the case in which it hurts.
#
# ### Papers
# - Sun & Saenko, 2016, *Deep CORAL: correlation alignment for deep domain adaptation* [arXiv:1607.01719](https://arxiv.org/abs/1607.01719)
# - Li et al., 2016, *Revisiting batch normalization for practical domain adaptation* [arXiv:1603.04779](https://arxiv.org/abs/1603.04779)
# - Tellez et al., 2019, *Quantifying the effects of data augmentation and stain color normalization* [arXiv:1902.06543](https://arxiv.org/abs/1902.06543)
# - Gulrajani & Lopez-Paz, 2021, *In search of lost domain generalization* [arXiv:2007.01434](https://arxiv.org/abs/2007.01434)
#
# ### The same on your own data
# `XFERLAB_DATASET=folder/of/a:folder/of/b`, each with one folder of pictures for each class, runs all of this on your pictures. From a
# terminal, `xferlab compare --source A --target B --minutes 20 --out report.html` trains the default recipes and writes the same
# report; its target may be a flat folder without labels. Nothing here is for clinical use.
