# %% [markdown]
# ## The question
# A hospital sends you pictures and no labels. You have a shelf of encoders and a long list of methods. Papers that compare such methods
# often chose their winner by looking at the target's test labels, and you cannot do that. **Which features do you start from, and which
# of your trained models do you hand over?**
#
# There are two kinds of help, and this lab measures both against the truth. *Scores* judge an encoder before anything is trained.
# *Validators* judge trained models without target labels. Digits stand in for the hospital's pictures here: they are real, they train in
# seconds, and they have labels, so that we can check. Models and validators never see those labels, and only some of the scores see a
# few of them; the table below says which. You need lab 00 for this lab, and lab 04 for what adaptation is.

# %%
import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import xferlab as xl

lab = xl.lab.start("08")
source_name, target_name = lab.datasets("digits/mnist", "digits/optdigits")
source, target = xl.load(source_name), xl.load(target_name)

# %%
xl.lab.show(
    xl.plots.contact_sheet(source.train, target.train, per_class=6),
    alt=f"A row a class: six examples of {source.name} on the left, six of {target.name} on the right",
)

# %% [markdown]
# ## Before training: which encoder, which layer?
# A candidate is an encoder that is cut off after one of its layers. Each candidate below costs one pass over the pictures. To train on
# all of them would cost hours with larger data. So people compute a score for each and train on the best one only.
#
# | score | what it asks | what it needs |
# |---|---|---|
# | source accuracy | is a linear head on these features right on the *source*? | source labels |
# | LogME ([You et al., 2021](https://arxiv.org/abs/2102.11005)) | how probable are the target's labels, if a linear model of the features made them? | some target labels |
# | LEEP ([Nguyen et al., 2020](https://arxiv.org/abs/2002.12462)) | how well do a source head's answers predict the target labels? (Exercise 1 works it out.) | a source head, some target labels |
# | H-score, regularized ([Ibrahim et al., 2021](https://arxiv.org/abs/2110.06893)) | how much of the features' variance lies between the classes? | some target labels |
# | negated Fréchet distance | how close are the two domains' features? | no labels at all |
#
# So a hospital that sent no label at all leaves you two of the five: source accuracy and the Fréchet distance. The truth is the accuracy,
# on the target's test part, of a *linear probe*: a linear classifier on frozen features, trained on those same few target labels.
#
# ### Predict
# Which of the five puts the candidates in the most nearly right order? You cannot work this out yet, so say what you would bet on.

# %% tags=["exercise"] exercise="08.p1"
scores = ["source accuracy", "LogME", "LEEP", "H-score", "negated Fréchet distance"]
guess = ...  # one of these five names
xl.checks.predict("08.p1", guess, options=scores)

# %% tags=["solution"] exercise="08.p1"
scores = ["source accuracy", "LogME", "LEEP", "H-score", "negated Fréchet distance"]
guess = "LogME"
xl.checks.predict("08.p1", guess, options=scores)

# %% [markdown]
# There are four encoders, each with several layers: EfficientNet-Lite0 with ImageNet's weights and untrained, and a LeNet trained on the
# source and untrained. (`0.0` and `1.0` are LeNet's first two convolutions.) A layer's map becomes a list of features by taking the mean
# over the picture. The mean of a bare convolution of the input says little more than how bright the picture is, so expect little of
# `0.0`. An untrained network is a baseline that could win, because random features are features too.

# %%
small = xl.Classifier(xl.encoder("lenet"), source.classes)
xl.fit(small, source.train, steps=lab.scale(quick=20, lab=300, full=1000), progress_bar=lab.shows_progress)
lite0 = ["blocks.0", "blocks.2", "blocks.4", "blocks.6", None]  # None: the encoder's output
lenet = ["0.0", "1.0", None]
imagenet, untrained = (xl.encoder("efficientnet_lite0", pretrained=pretrained) for pretrained in (True, False))
shelf = {
    "Lite0, ImageNet": (imagenet, lab.scale(quick=lite0[2:3], lab=lite0, full=lite0)),
    "Lite0, untrained": (untrained, lab.scale(quick=[], lab=lite0[::2], full=lite0)),
    "LeNet, from source": (small.encoder, lenet),
    "LeNet, untrained": (xl.encoder("lenet", seed=1), lenet),
}

# %%
draws = range(lab.scale(quick=1, lab=3, full=5))
labeled = [target.train.take(per_class=lab.scale(quick=5, lab=20, full=20), seed=draw) for draw in draws]
some, val = source.train.take(n=lab.scale(quick=100, lab=400, full=2000)), source.val.take(n=300)


def probe(features, labels):
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300)).fit(features, labels)


# %%
T = xl.transferability


def scored(z, labels, head, z_source) -> dict:
    """Four scores of features `z` of a few labeled target pictures; `head` was trained on the source."""
    return {
        "LogME": T.logme(features=z, labels=labels),
        "LEEP": T.leep(source_probabilities=head.predict_proba(z), target_labels=labels),
        "H-score": T.regularized_h_score(features=z, labels=labels),
        "negated Fréchet distance": -T.frechet_distance(source=z_source[: len(z)], target=z),
    }


# %%
measured = []
for name, (encoder, layers) in shelf.items():
    sides = (some, val, target.test, *labeled)  # every layer from one pass through the encoder
    z_source, z_val, z_test, *z_few = (xl.embed(encoder, domain, layer=layers) for domain in sides)
    for layer in layers:
        head = probe(z_source[layer], some.labels)
        home = head.score(z_val[layer], val.labels)
        for draw, few in enumerate(labeled):
            z, row = z_few[draw][layer].numpy(), {"encoder": name, "candidate": f"{name}, {layer or 'output'}"}
            row |= {"draw": draw, "truth": probe(z, few.labels).score(z_test[layer], target.test.labels)}
            measured.append(row | {"source accuracy": home} | scored(z, few.labels, head, z_source[layer].numpy()))

# %%
candidates = xl.lab.Results(measured, by="candidate", title=f"{target.name}, {len(labeled[0])} labeled pictures")
candidates.table("truth", "LogME", "negated Fréchet distance")

# %%
xl.lab.Results(measured, by="encoder").scatter("LogME", "truth")

# %% [markdown]
# A score is useful if it puts candidates in the right *order*. Its units do not matter, so we compare ranks. **Spearman's rank
# correlation** is the correlation of the ranks: 1 for the same order, 0 for none, -1 for the reverse. For its interval we draw the
# candidates again, with replacement, five hundred times (a *bootstrap*). *Regret* is what you lose if you take the score's first choice
# and not the best candidate.


# %%
def judge(values, truth, draws=500):
    values, truth, rng = np.asarray(values), np.asarray(truth), np.random.default_rng(0)
    again = [rng.integers(len(values), size=len(values)) for _ in range(draws)]
    again = [spearmanr(values[i], truth[i]).statistic for i in again if np.ptp(values[i]) and np.ptp(truth[i])]
    low, high = (float(end) for end in np.percentile(again, [2.5, 97.5]))
    found = {"rank correlation": float(spearmanr(values, truth).statistic), "low": low, "high": high}
    return found | {"regret": float(truth.max() - truth[values.argmax()])}


# %%
truth, quality = candidates.mean("truth"), {}
for name in scores:
    quality[name] = judge([candidates.mean(name)[c] for c in truth], list(truth.values()))
    quality[name] |= {"its choice": candidates.best(name)}
xl.lab.table(
    quality, f"{len(truth)} candidates; the best, {candidates.best('truth')}, reaches {max(truth.values()):.3f}."
)

# %%
first = max(scores, key=lambda name: quality[name]["rank correlation"])
close = [name for name in scores if quality[name]["rank correlation"] >= quality[first]["low"]]
xl.checks.reveal("08.p1", first, close)
home, near = (quality[name]["rank correlation"] for name in ("source accuracy", "negated Fréchet distance"))
print(f"Without any target label: source accuracy {home:+.2f}, negated Fréchet distance {near:+.2f}.")

# %% [markdown]
# The last line is what you can use for the hospital that sent no labels. Did one of the two order the candidates backwards? A Fréchet
# distance has the units of its features. Where these are small, the two domains look close, whether or not a class can be read from
# them.
#
# The layers of one encoder resemble each other, so the intervals in the table are too narrow: with new encoders they would be wider. The
# course's repository holds more scores and a second target, in `bench/tables/ranks.md`. It also has a baseline that no score should lose
# to, the cross-validated accuracy of a probe on the same labels.
#
# ### Exercise 1: LEEP by hand
# There are four target pictures, two source classes *z* and two target classes *y*. The source head's probabilities and the target labels
# are below. LEEP takes three steps.
#
# 1. `P(y, z)` is how often label *y* and source class *z* go together: the sum of `P(z | picture)` over the pictures with label *y*,
#    divided by the number of all pictures.
# 2. `P(y | z)` is that table with each source class scaled to sum 1: `P(y, z) / sum over y of P(y, z)`.
# 3. Each picture's own label gets the probability `sum over z of P(z | picture) * P(y | z)`, with *y* its label.
#
# LEEP is the mean of the natural **logarithms** of those four probabilities. Work it out on paper or in NumPy, to three digits.

# %% tags=["exercise"] exercise="08.1"
probabilities = np.array([[0.8, 0.2], [0.6, 0.4], [0.2, 0.8], [0.4, 0.6]])  # a row a picture, a column a source class
labels = np.array([0, 0, 0, 1])
score = ...

# %% tags=["solution"] exercise="08.1"
probabilities = np.array([[0.8, 0.2], [0.6, 0.4], [0.2, 0.8], [0.4, 0.6]])
labels = np.array([0, 0, 0, 1])
joint = np.array([probabilities[labels == y].sum(0) for y in (0, 1)]) / 4  # P(y, z)
conditional = joint / joint.sum(0)  # P(y | z): the columns (0.8, 0.2) and (0.7, 0.3)
expected = (probabilities * conditional[labels]).sum(1)  # 0.78, 0.76, 0.72, 0.26
score = np.log(expected).mean()
print(score, T.leep(source_probabilities=probabilities, target_labels=labels))

# %% [markdown] tags=["solution"] exercise="08.1"
# The library takes named arguments only: with two unnamed arrays, papers and packages disagree about which comes first, and the
# wrong order often gives a number too.

# %% tags=["wrong"] exercise="08.1" mistake="log_of_mean"
score = np.log(np.mean([0.78, 0.76, 0.72, 0.26]))

# %% tags=["wrong"] exercise="08.1" mistake="no_logarithm"
score = 0.63

# %% tags=["wrong"] exercise="08.1" mistake="nce"
score = T.nce(source_labels=probabilities.argmax(1), target_labels=labels)

# %% tags=["wrong"] exercise="08.1" mistake="joint_not_conditional"
joint = np.array([[0.40, 0.35], [0.10, 0.15]])
score = np.log((probabilities * joint[labels]).sum(1)).mean()

# %% tags=["wrong"] exercise="08.1" mistake="wrong_axis"
joint = np.array([[0.40, 0.35], [0.10, 0.15]])
score = np.log((probabilities * (joint / joint.sum(1, keepdims=True))[labels]).sum(1)).mean()

# %% [markdown] tags=["mistakes"] exercise="08.1"
# - log_of_mean: This is the logarithm of the mean; LEEP is the mean of the logarithms.
# - no_logarithm: That is a probability; LEEP averages logarithms and is never above 0.
# - sum_not_mean: This is the sum over the four pictures; divide by 4.
# - sign: The size is right; LEEP is a log probability, so it is not above 0.
# - nce: This takes each picture's most probable source class for certain, which is the score NCE. LEEP keeps the probabilities.
# - joint_not_conditional: You used P(y, z), whose columns sum to 1/2; divide each column by its sum to get P(y | z).
# - wrong_axis: You divided each row by its sum, which gives P(z | y); divide each column by its sum to get P(y | z).
# - base: This is the mean of the logarithms to base 10; LEEP takes the natural one, np.log.

# %% [markdown] tags=["hints"] exercise="08.1"
# 1. Add up the rows of each target class and divide by 4. That is the table of how often label y and source class z go together.
# 2. Divide each column of that table by its sum to get `P(y | z)`; the first picture's own label then gets 0.8 x 0.8 + 0.2 x 0.7.
# 3. `score = np.log([0.78, 0.76, 0.72, 0.26]).mean()`

# %% tags=["check"] exercise="08.1"
xl.checks.check("08.1", score)

# %% [markdown]
# ## After training: which model?
# ![](drawings/validator.svg)
#
# Now the models are trained, in different ways, and the target still has no labels. A validator looks at a model, at the labeled
# source and at the unlabeled target, and gives a number. The highest number wins.
#
# | validator | its idea | what fools it |
# |---|---|---|
# | `source_val` | what is right at home is right abroad | it cannot see the shift at all |
# | `entropy`, negated | a good model is sure of its answers | a model that is sure and wrong |
# | `information_maximization` | sure of each, and using all classes evenly | classes that are swapped, or truly rare |
# | `bnm` ([Cui et al., 2020](https://arxiv.org/abs/2003.12237)) | predictions that are sure and varied at once, by the singular values of their table | classes that are swapped, or truly rare |
# | `snd` ([Saito et al., 2021](https://arxiv.org/abs/2108.10860)) | target predictions form dense clusters, many alike close together | one cluster |
# | `dev` ([You et al., 2019](https://proceedings.mlr.press/v97/you19a.html)) | source errors, weighted to look like the target | domains that do not overlap |
# | `reverse_validation` | a classifier that learns the guessed target labels must be right on the source | labels that are wrong in a consistent way |
# | `mixval` ([Hu et al., 2023](https://openreview.net/forum?id=z0rsVGmUr2)) | a blend of two pictures should get the label of the larger part | boundaries that are neat and in the wrong place |
#
# ### Predict
# You need not remember all eight; watch `source_val`, `entropy` and `information_maximization`. Which of the eight chooses the recipe
# with the best target accuracy, or the one that comes nearest to it?

# %% tags=["exercise"] exercise="08.p2"
guess = ...  # a name out of list(xl.selection.validators)
xl.checks.predict("08.p2", guess, options=list(xl.selection.validators))

# %% tags=["solution"] exercise="08.p2"
guess = "information_maximization"
xl.checks.predict("08.p2", guess, options=list(xl.selection.validators))

# %% [markdown]
# A *recipe* is a named way to train. `xl.compare` trains each recipe and evaluates every validator on unlabeled target pictures. It keeps
# the *oracle*, which is the accuracy on the target's test labels, in columns of its own. `selector` names the validator that chooses.
# Three recipes train now, with one seed. Finished runs stay on disk, so a second visit to this cell costs you nothing.
#
# | recipe | what it does |
# |---|---|
# | `source_only` | trains on the source and never sees the target |
# | `information_maximization` | trains for what the validator of this name measures; a judge of its own pupil may be partial |
# | `fixmatch_as_published` | trains on its own sure answers from the first step, as in this drawing |
#
# ![](drawings/pseudo_labels.svg)

# %%
stage = xl.Stage(lambda: [xl.CrossEntropy(), xl.FixMatch()])
published = xl.Recipe("fixmatch_as_published", (stage,), "Sohn et al., 2020, arXiv:2001.07685")
few = ["source_only", "information_maximization", published]
settings = dict(
    steps=lab.scale(quick=5, lab=400, full=400),
    batch_size=lab.scale(quick=16, lab=64, full=64),
    lr=3e-3,
    augment=None,
    progress_bar=lab.shows_progress,
)
everyone = [*xl.recipes, published]
recipes = everyone if lab.records else lab.scale(quick=few, lab=few, full=everyone)

# %%
board = xl.compare(
    recipes,
    source,
    target,
    seeds=lab.draws(5),
    selector="information_maximization",
    keep_weights=True,
    **settings,
)
xl.lab.say(board.verdict, *board.warnings)

# %%
shown = ["entropy", "information_maximization", "dev", "reverse_validation"]  # four of the eight
xl.lab.runs(board).table("target", *shown, caption="The recipes that trained here.")

# %% [markdown]
# The printed lines are the verdict that a practitioner would get. In the picture below, squares are baselines, the dotted line is
# `source_only`, orange marks what was chosen without labels, and green marks what the oracle takes. A recipe that is both is orange.

# %%
xl.lab.show(
    board.plot(),
    alt="Target accuracy of each recipe, the choice made without labels and the oracle's choice marked",
)

# %% [markdown]
# A handful of recipes and one seed is too little to judge a judge. Many recipes with five seeds were measured earlier, with the same
# settings. The next cells use them; in the profile `quick` they use only what ran here.

# %%
whole = lab.leaderboard(f"validators_{source.name}_{target.name}", board)
runs = whole.runs
everything = xl.lab.runs(whole, title=f"{source.name} to {target.name}")
print(f"{len(everything)} runs of {len(everything.names)} recipes.")

# %% tags=["results"]
validators = whole.validator_quality()
xl.lab.table(
    validators[["spearman", "low", "high", "regret", "chosen"]].to_dict("index"),
    f"Judging the judges: {len(everything.names)} recipes. The oracle takes {whole.oracle()}, {max(everything.mean('target').values()):.3f}.",
)

# %%
nearest = list(validators.index[validators.regret == validators.regret.min()])  # several may choose the same
xl.checks.reveal("08.p2", nearest[0], nearest)
accuracies = list(everything.mean("target").values())
middle = accuracies[0] - float(np.median(accuracies))
useful = ", ".join(validators.index[validators.regret < middle]) or "none"
print(f"A recipe from the middle of the list loses {middle:.3f} to the best. Validators that lose less: {useful}.")

# %% [markdown]
# Read two columns together. The rank correlation says whether the *order* is right. The regret says what the *first choice* costs, and
# only the first choice is handed to the hospital. If an interval holds zero, then on these recipes you cannot tell this validator's order
# from a shuffled one. The printed yardstick helps you to judge a regret: a validator that loses as much as a recipe from the middle of
# the list has not helped you to choose. Look at `information_maximization` once more: it may judge its own pupil too kindly, so ask what
# the others chose. `bnm`, which never trained that recipe, is a second opinion.
#
# ### How far off is an estimate?
# A validator ranks models, and its value is no accuracy. But you can *estimate* the accuracy at the target without labels. One way is
# **average thresholded confidence** ([Garg et al., 2022](https://arxiv.org/abs/2201.04234)). Take source pictures that were held out, and
# find the confidence that the model exceeds on as many of them as it gets right. Then count the target pictures on which it exceeds
# that threshold too. Here is this estimate beside the truth, for the recipes that trained in this notebook. Before you run the cell, write
# down for which recipe it will be farthest off.

# %%
estimates = {}
for run in board.finished():
    value, low, high = run["estimate"]["average_thresholded_confidence"]
    row = {"estimated": value, "low": low, "high": high, "measured": run["target"]["accuracy"]}
    estimates[run["recipe"]] = row | {"off by": value - row["measured"]}
xl.lab.table(estimates, "Accuracy at the target, estimated without its labels, and measured. One seed.")

# %% [markdown]
# The estimate listens to confidence alone. It is too low where a shift makes a model unsure although it is right, and it is too high where
# a model was trained to be sure. The interval does not warn you, because it only says what another draw of pictures would change.
#
# ### A threshold does not travel either
# A hospital often asks for one class, such as the one that must not be missed. The model then speaks up when its probability of that
# class reaches a threshold. *Sensitivity* is the share of the class that it finds, and *specificity* is the share of the others that it
# leaves alone. Below is `source_only`, and the digit whose recall falls most from home to the target. Choose a threshold that finds 95 % of
# it at home. What does the same threshold find away? To see this, the picture uses the target's labels; your hospital has none.

# %%
plain = board.load_model(board.run("source_only", 0))
at_home, away = xl.evaluate(plain, source.test), xl.evaluate(plain, target.test.align(source.classes))
recall = [scores.confusion.diagonal() / scores.confusion.sum(1).clip(1) for scores in (at_home, away)]
hard = source.classes[int((recall[0] - recall[1]).argmax())]
xl.widgets.threshold(at_home, away, hard)

# %% [markdown]
# ### Exercise 2: rank correlation by hand
# Here are a validator's values for five models, and their accuracies on the target. No two are equal, so Spearman's formula is simple:
# `1 - 6 * sum(d ** 2) / (n * (n ** 2 - 1))`, where `d` is the difference of the two ranks of a model. What is it?

# %% tags=["exercise"] exercise="08.2"
value = [0.10, 0.20, 0.30, 0.40, 9.00]
accuracy = [0.50, 0.70, 0.60, 0.80, 0.40]
rho = ...

# %% tags=["solution"] exercise="08.2"
value = [0.10, 0.20, 0.30, 0.40, 9.00]
accuracy = [0.50, 0.70, 0.60, 0.80, 0.40]
ranks = [np.argsort(np.argsort(x)) + 1 for x in (value, accuracy)]  # 1 2 3 4 5 and 2 4 3 5 1
d = ranks[0] - ranks[1]
rho = 1 - 6 * (d**2).sum() / (5 * (5**2 - 1))

# %% [markdown] tags=["solution"] exercise="08.2"
# The last model has by far the highest value and is the worst. Ranks do not care how far ahead it is, the choice does: it is the model you
# would hand over.

# %% tags=["wrong"] exercise="08.2" mistake="pearson"
rho = np.corrcoef(value, accuracy)[0, 1]

# %% tags=["wrong"] exercise="08.2" mistake="reversed"
rho = spearmanr(value, [-a for a in accuracy]).statistic

# %% tags=["wrong"] exercise="08.2" mistake="no_one_minus"
rho = 6 * 22 / (5 * 24)

# %% tags=["wrong"] exercise="08.2" mistake="no_six"
rho = 1 - 22 / (5 * 24)

# %% [markdown] tags=["mistakes"] exercise="08.2"
# - pearson: This is the correlation of the values, which the 9.00 rules; rank them first.
# - reversed: One of the two lists was ranked from the largest; rank both from the smallest.
# - no_one_minus: This is the part that is taken away from 1.
# - no_six: The factor 6 before the sum is missing.
# - not_squared: The differences of the ranks were added up as they are; square each first.

# %% [markdown] tags=["hints"] exercise="08.2"
# 1. Write 1 to 5 beside the values, smallest first, and do the same beside the accuracies.
# 2. The ranks are 1 2 3 4 5 and 2 4 3 5 1; square the five differences and add them up.
# 3. `rho = 1 - 6 * (1 + 4 + 0 + 1 + 16) / (5 * 24)`

# %% tags=["check"] exercise="08.2"
xl.checks.check("08.2", rho)

# %% [markdown]
# ### Exercise 3: choose as a practitioner must
# Write `choose(runs)`. It gets a list of runs like `runs` above: each is a dict with `recipe`, `seed`, `source`, `target` and `validators`,
# and `run["validators"]` maps a validator's name to its value. It returns the **name of the recipe** with the highest *mean over seeds*
# of `information_maximization`. Your function must work where there are no target labels: there `run["target"]` is `None`.


# %% tags=["exercise"] exercise="08.3"
def choose(runs): ...


# %% tags=["solution"] exercise="08.3"
def choose(runs):
    values = {}
    for run in runs:
        values.setdefault(run["recipe"], []).append(run["validators"]["information_maximization"])
    return max(values, key=lambda recipe: np.mean(values[recipe]))


# %% tags=["wrong"] exercise="08.3" mistake="chose_by_target"
def choose(runs):
    frame = pd.DataFrame([{"recipe": run["recipe"], "value": run["target"]["accuracy"]} for run in runs])
    return frame.groupby("recipe").value.mean().idxmax()


# %% tags=["wrong"] exercise="08.3" mistake="chose_by_source"
def choose(runs):
    frame = pd.DataFrame([{"recipe": run["recipe"], "value": run["source"]["accuracy"]} for run in runs])
    return frame.groupby("recipe").value.mean().idxmax()


# %% tags=["wrong"] exercise="08.3" mistake="best_single_run"
def choose(runs):
    return max(runs, key=lambda run: run["validators"]["information_maximization"])["recipe"]


# %% tags=["wrong"] exercise="08.3" mistake="sum_over_seeds"
def choose(runs):
    frame = pd.DataFrame([{"recipe": r["recipe"], "v": r["validators"]["information_maximization"]} for r in runs])
    return frame.groupby("recipe").v.sum().idxmax()


# %% [markdown] tags=["mistakes"] exercise="08.3"
# - chose_by_target: This looks at the target's labels, which you do not have.
# - chose_by_source: This chooses what is best at home; the exercise asks for information_maximization.
# - best_single_run: One seed of this recipe is the best run of all, and its other seed is poor; average over seeds first.
# - sum_over_seeds: This recipe ran with more seeds, so its sum is the largest; compare means.
# - needs_target: Right with labels, but it fails where run['target'] is None: it still reads it.

# %% [markdown] tags=["hints"] exercise="08.3"
# 1. One lucky seed is not a recipe: collect every recipe's values first, then average.
# 2. `run["validators"]["information_maximization"]` is the value; a dict from recipe to list of values collects them, and `max(...,
#    key=...)` chooses.
# 3. `frame = pd.DataFrame([{"recipe": r["recipe"], "v": r["validators"]["information_maximization"]} for r in runs]); return
#    frame.groupby("recipe").v.mean().idxmax()`

# %% tags=["check"] exercise="08.3"
xl.checks.check("08.3", choose)

# %% [markdown]
# Try your function in a cell of your own: `choose(runs)`. Does it take the recipe that the table above shows for
# `information_maximization`, and what did that choice lose?
#
# ## When it hurts: the validator that picks the worst model
# Entropy is what comes to everybody's mind first: a model that is at home on the target should be sure of its answers there. The entropy of
# an answer is `-sum of p log p` over its classes, 0 when it is sure and log K when all K classes are equally likely. Below, each recipe
# stands twice, where entropy puts it and where information maximization does. Dividing by log K brings both to a scale from 0 to 1. The
# third mark is the recipe that entropy chooses.

# %%
log_k, means, surest = np.log(len(source.classes)), everything.mean("target"), everything.best("entropy")
entropy, maximized = (everything.mean(validator) for validator in ("entropy", "information_maximization"))
points = {
    "1 - entropy / log K": ([1 + entropy[recipe] / log_k for recipe in means], list(means.values())),
    "information\nmaximization / log K": ([maximized[recipe] / log_k for recipe in means], list(means.values())),
    f"entropy's choice,\n{surest}": ([1 + entropy[surest] / log_k], [means[surest]]),
}
xl.lab.show(
    xl.plots.scatter(points, xlabel="validator, higher is better", ylabel=f"accuracy on {target.name}"),
    alt="Target accuracy of each recipe against entropy and against information maximization, both scaled to 0..1",
)

# %%
sure = board.best("entropy")
ranks = list(xl.lab.runs(board).mean("target"))
print(f"Of the {len(ranks)} recipes that trained here entropy chooses {sure.recipe}, at {sure.value:.4f}.")
print(f"By target accuracy that is place {ranks.index(sure.recipe) + 1} of {len(ranks)}.")
answers = {"true": target.test.align(source.classes).labels}
for name, model in ((sure.recipe, sure.model), ("source_only", plain)):
    answers[name] = xl.predict(model, target.test).argmax(1)

# %%
shares = {}
for who, labels in answers.items():
    share = labels.bincount(minlength=len(source.classes)) / len(labels)
    shares[who] = dict(zip(source.classes, share.tolist()))
xl.lab.show(
    xl.plots.bars(shares, xlabel="class", ylabel="share of the target's test part"),
    alt=f"Share of each class among the target's labels, the answers of {sure.recipe}, which entropy chose, and of source_only",
)

# %% [markdown]
# Where nearly all of a model's answers stand on one class, you see a **collapse**. Self-training, such as FixMatch, takes the model's own
# answers for labels. Once these answers drift to one class, every further step makes the model surer of it, and its entropy becomes as
# good as entropy can be. Look into the tables above for what the other validators say of this recipe. Those that ask for variety, or
# that go back to the source's labels, have a chance to notice. One that asks for dense clusters has little chance, because a single
# cluster is the densest.
#
# ### Exercise 4: information maximization notices
# Write `information(p)` for probabilities `p`, a NumPy array `(N, K)` with a row a picture: the entropy of the **mean** row minus the
# mean of the rows' entropies, in nats (`np.log`). For a collapsed model it must be 0 and not NaN: `0 * log 0` counts as 0.


# %% tags=["exercise"] exercise="08.4"
def information(p): ...


# %% tags=["solution"] exercise="08.4"
def information(p):
    def entropy(q):
        return -(q * np.log(np.clip(q, 1e-300, 1))).sum(-1)

    return entropy(p.mean(0)) - entropy(p).mean()


# %% [markdown] tags=["solution"] exercise="08.4"
# Sure of each and the same for all: both terms are 0. Sure of each and even over K classes: log K and 0, the most there is.


# %% tags=["wrong"] exercise="08.4" mistake="entropy_alone"
def information(p):
    return (p * np.log(np.clip(p, 1e-300, 1))).sum(1).mean()


# %% tags=["wrong"] exercise="08.4" mistake="marginal_alone"
def information(p):
    mean = p.mean(0)
    return -(mean * np.log(np.clip(mean, 1e-300, 1))).sum()


# %% tags=["wrong"] exercise="08.4" mistake="sign"
def information(p):
    entropy = lambda q: -(q * np.log(np.clip(q, 1e-300, 1))).sum(-1)
    return entropy(p).mean() - entropy(p.mean(0))


# %% tags=["wrong"] exercise="08.4" mistake="wrong_axis"
def information(p):
    entropy = lambda q: -(q * np.log(np.clip(q, 1e-300, 1))).sum(-1)
    return entropy(p.mean(1)) - entropy(p).mean()


# %% tags=["wrong"] exercise="08.4" mistake="nan"
def information(p):
    with np.errstate(all="ignore"):
        entropy = lambda q: -(q * np.log(q)).sum(-1)
        return entropy(p.mean(0)) - entropy(p).mean()


# %% [markdown] tags=["mistakes"] exercise="08.4"
# - nan: 0 * log 0 came out as NaN; clip inside the logarithm.
# - sign: The two terms are the wrong way round: even and certain should score highest.
# - entropy_alone: This is the rows' entropy alone: a collapsed model and a perfect one get the same. The entropy of the mean row is missing.
# - marginal_alone: This is the entropy of the mean row alone: a model that knows nothing scores as high as a perfect one.
# - wrong_axis: You averaged over the classes of a picture; the mean row is the mean over the pictures, `p.mean(0)`.
# - base: The logarithm's base is not e; the exercise asks for nats: np.log.

# %% [markdown] tags=["hints"] exercise="08.4"
# 1. Two averages in a different order: once the rows are averaged and then the entropy is taken, once the other way round.
# 2. `p.mean(0)` is the mean row. Clip inside the logarithm, as in `np.log(np.clip(q, 1e-300, 1))`, so that 0 log 0 is 0.
# 3. `h = lambda q: -(q * np.log(np.clip(q, 1e-300, 1))).sum(-1); return h(p.mean(0)) - h(p).mean()`

# %% tags=["check"] exercise="08.4"
xl.checks.check("08.4", information)

# %% [markdown]
# ### What if somebody labels a few?
# Every validator is a substitute for labels. How many labels would do instead? We ask it of the three recipes that trained here, one seed
# each, so a validator can look worse or better than among all recipes above. The target's validation part serves as a heap of pictures to
# label from. We draw a few of each class, choose the model that is right on most of them, and repeat this 200 times.

# %%
heap = target.val.align(source.classes)
right, oracle = {}, {}
for run in (run for run in board.finished() if run["seed"] == 0):
    right[run["recipe"]] = (xl.predict(board.load_model(run), heap).argmax(1) == heap.labels).numpy()
    oracle[run["recipe"]] = run["target"]["accuracy"]


def loses(count: int, draw: int) -> float:
    """What the choice by `count` labels of each class loses to the oracle's."""
    rng, labels = np.random.default_rng(draw), heap.labels.numpy()
    rows = [rng.permutation(np.flatnonzero(labels == c))[:count] for c in range(len(source.classes))]
    return max(oracle.values()) - oracle[max(right, key=lambda name: right[name][np.concatenate(rows)].mean())]


# %%
lost = {}
for validator, chosen in board.validator_quality().chosen.items():
    lost[validator] = max(oracle.values()) - oracle[chosen]
for count in (1, 2, 5, 10):
    lost[f"{count} label{'s' * (count > 1)} a class"] = float(np.mean([loses(count, draw) for draw in range(200)]))
xl.lab.show(
    xl.plots.bars({"": lost}, xlabel="how the model was chosen", ylabel="accuracy lost to the oracle"),
    alt="Accuracy lost to the oracle's choice: by each validator without labels, and by a few labels a class, mean over draws",
)
print(", ".join(f"{name} {value:.3f}" for name, value in lost.items()), "One seed.")

# %% [markdown]
# Compare the choices by labels, on the right, with those by validators, on the left. Where no bar stands, nothing was lost. On these
# digits the three candidates lie far apart, so very few labels are enough. Candidates that lie close together take more. A validator can
# fail without a sign, which a careful label seldom does. But the labels that you spend on choosing must not be used again to report the
# result.
#
# ## Quiz

# %% [markdown] tags=["quiz"]
# ### Two candidates have LogME 0.3 on data set A and 0.5 on data set B. Where will they transfer better?
# - [x] It does not say.
#   Yes. Scores rank candidates on one and the same target, and even there only the order is meant.
# - [ ] To B, since its LogME is higher.
#   LogME depends on the number of classes and their balance, so values from two targets do not compare.
# - [ ] To A, since there is more to be learned.
#   Nothing in the score measures that.

# %% [markdown] tags=["quiz"]
# ### A model's entropy on the target is almost zero. What do you know?
# - [ ] It is right about most of the target.
#   Sure is not right: a model that answers "3" to every picture, with certainty, has entropy zero.
# - [ ] It has collapsed.
#   Not necessarily: a perfect model has low entropy too. The mean of its predictions tells the two apart.
# - [x] Only that it is sure of its answers.
#   Yes. Look next at how the answers are spread over the classes: the entropy of the mean prediction separates collapse from skill.

# %% [markdown] tags=["quiz"]
# ### You try eight validators, look which one picked the best model on the target's test labels, and report that model. What is wrong?
# - [ ] Nothing, validators see no labels.
#   They do not, but you did when you chose among them.
# - [ ] Eight validators are too few to choose from.
#   More of them would make it worse: you would have more chances to be lucky.
# - [x] The test labels chose the validator.
#   Yes, so the reported number is the oracle's in disguise. Fix the validator first, as `selector=` in `compare` makes you do.

# %% tags=["nbval-check-output"]
print("Choose the validator before you see the labels, or the labels have chosen for you.")

# %% [markdown]
# ## Recap

# %% tags=["answer"]
best_judge = validators.regret.idxmin()
lab.answer(
    recipes=len(everything.names),
    best=best_judge,
    best_regret=validators.regret[best_judge],
    entropy=validators.regret["entropy"],
    middle=middle,
    five=lost["5 labels a class"],
)

# %% [markdown]
# - A score or a validator is a measuring instrument too. It needs a rank correlation, an interval and a regret.
# - Scores rank features before training. Most of them need a few target labels, and then a cross-validated probe is the baseline to beat.
# - Validators need no labels, and each has a failure that it cannot see.
# - Look at two numbers that fail in different ways, such as `information_maximization` and `reverse_validation`, and at the class shares.
# - An estimate of the accuracy trusts confidence. A model that is wrong and sure fools it.
# - A handful of target labels, kept apart, is a validator too.
#
# ### Papers
# - You et al., 2021, *LogME: practical assessment of pre-trained models* [arXiv:2102.11005](https://arxiv.org/abs/2102.11005)
# - Nguyen et al., 2020, *LEEP: a new measure to evaluate transferability* [arXiv:2002.12462](https://arxiv.org/abs/2002.12462)
# - Saito et al., 2021, *Tune it the right way: unsupervised validation of domain adaptation via soft neighborhood density*
#   [arXiv:2108.10860](https://arxiv.org/abs/2108.10860)
# - Garg et al., 2022, *Leveraging unlabeled data to predict out-of-distribution performance*
#   [arXiv:2201.04234](https://arxiv.org/abs/2201.04234)
# - Musgrave et al., 2022, *Three new validators and a large-scale benchmark ranking for unsupervised domain adaptation*
#   [arXiv:2208.07360](https://arxiv.org/abs/2208.07360)
#
# ### The same on your own data
# `XFERLAB_DATASET=source/folder:target/folder`, each with one folder of pictures for each class, runs this notebook on your
# pictures; the target needs labels here only because the lab checks the choices. Where it has none, `xl.compare(None, source,
# target)` with the target's unlabeled Domain gives the choice and no oracle. (`None` stands for the recipes that are tried by default.)
# Nothing here is for clinical use.
