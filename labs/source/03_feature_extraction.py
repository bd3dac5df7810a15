# %% [markdown]
# ## The question
# One laboratory has labelled a few of its cells. A second laboratory, with another stain and another microscope, sends
# pictures and no labels. You do not want to train an encoder, only to **read** from a frozen one. Which of its layers do you
# read, when you can check the answer only in the first laboratory?
#
# The next cell names the data. By default both laboratories are rendered: synthetic pictures, so a result here is a result
# about a method on this rendering, not about patients. The text reads its numbers from the run.

# %%
import tempfile
import time

import matplotlib.pyplot as plt
import pandas as pd
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import balanced_accuracy_score

import xferlab as xl

lab = xl.lab.start("03")
source_name, target_name = lab.datasets("cells/site-a", "cells/site-b")
source, target = xl.load(source_name), xl.load(target_name)
classes = source.classes

# %%
xl.lab.show(
    xl.plots.contact_sheet(source.train, target.train, per_class=6),
    alt=f"Six pictures of each of the {len(classes)} classes from {source.name}, beside six from {target.name}",
)

# %% [markdown]
# ## Embed once
# A frozen encoder gives the same features for the same picture, so it need see it once. `embed` keeps what it computed in a
# file that is named by the **content** of weights and pictures. Below we count how many pictures really pass through the
# network: on a first call, on a second, after one pixel has changed, and after one weight has.

# %%
encoder = xl.encoder("efficientnet_lite0")
few = source.test.take(n=64)
passed = []
counting = encoder.body.register_forward_hook(lambda _module, _inputs, features: passed.extend(features))


def pictures_through(domain, folder) -> int:
    passed.clear()
    xl.embed(encoder, domain, cache=folder)
    return len(passed)


with tempfile.TemporaryDirectory() as folder:
    print("first call:               ", pictures_through(few, folder), "pictures")
    print("second call:              ", pictures_through(few, folder))
    few.inputs[0, 0, 0, 0] ^= 1  # the lowest bit of one pixel
    print("one pixel changed:        ", pictures_through(few, folder))
    few.inputs[0, 0, 0, 0] ^= 1
    weight = next(encoder.parameters()).data.flatten()
    kept = weight[0].item()
    weight[0] = kept + 1e-3
    print("one weight changed:       ", pictures_through(few, folder))
    weight[0] = kept
    print("both as they were:        ", pictures_through(few, folder))
counting.remove()

# %% [markdown]
# Now all we need, once: every block of the encoder from **one** pass over each set (`layer=[...]` gives a dict), each
# block's output averaged over the picture. An untrained network of the same shape comes along as the baseline.
#
# Of the target we take unlabelled pictures to look at, and the test set, whose labels serve for scoring only.

# %%
layers = [block.name for block in encoder.blocks]
last = layers[-1]
size = lab.scale(quick=200, lab=1200, full=5000)
sets = {
    "labelled": source.train.take(n=size),
    "home": source.test.take(n=lab.scale(quick=120, lab=480, full=5000)),
    "unlabelled": target.train.take(n=size // 2).unlabeled(),
    "away": target.test.take(n=lab.scale(quick=120, lab=480, full=5000)).align(classes),
}
untrained = xl.encoder("efficientnet_lite0", pretrained=False)
began = time.perf_counter()
features = {name: xl.embed(encoder, domain, layer=layers) for name, domain in sets.items()}
raw = {name: xl.embed(untrained, sets[name], layer=layers) for name in ("labelled", "home", "away")}
seen = sum(len(part[last]) for part in (*features.values(), *raw.values()))
print(
    f"{seen} pictures, {len(layers)} layers: {time.perf_counter() - began:.1f} s (next to nothing, once in the cache)"
)
print("numbers a picture:", ", ".join(f"{name} {part.shape[1]}" for name, part in features["home"].items()))

# %% [markdown]
# ## Three ways to read a layer
# ![](drawings/depth_probe.svg)
#
# - **Logistic probe**: a linear classifier fitted by gradient steps, here scikit-learn's with its default L2 penalty.
# - **kNN**: no fitting at all. The five nearest labelled pictures vote, closer ones with more weight: exp(s / 0.07), with s the
#   cosine similarity and 0.07 the **temperature** ([Wu et al., 2018](https://arxiv.org/abs/1805.01978)).
# - **Ridge path**: linear regression on one-hot labels with an L2 penalty. One eigendecomposition answers for *every* strength of
#   the penalty, and gives each one's leave-one-out accuracy without fitting anything again.
#
# Since the features are here already, a draw of labels is a choice of rows. So every draw runs now, and none is read from
# a file. Dimensions differ in scale, so the two linear readers see them minus the mean and divided by the standard
# deviation of the *labelled* pictures.


# %%
def drawn(per_class: int, draw: int) -> torch.Tensor:
    """Row numbers of `per_class` labelled pictures of each class."""
    order = torch.randperm(len(sets["labelled"]), generator=torch.Generator().manual_seed(draw))
    of = sets["labelled"].labels[order]
    return torch.cat([order[of == k][:per_class] for k in range(len(classes))])


def scaled(features, like):
    """Each dimension minus the mean of `like`, divided by its standard deviation."""
    return (features - like.mean(0)) / like.std(0).clamp(min=1e-6)


def score(predicted, part: str) -> float:
    return balanced_accuracy_score(sets[part].labels, predicted)


draws = range(lab.scale(quick=2, lab=5, full=5))
counts = lab.scale(quick=(5, 20), lab=(5, 20, 100), full=(5, 20, 100))
rows, paths = [], {}
for draw in draws:
    for count in counts:
        chosen = drawn(count, draw)
        y = sets["labelled"].labels[chosen]
        bank, queries = features["labelled"][last][chosen], features["home"][last]
        path = xl.features.ridge_path(scaled(bank, bank), y, classes=len(classes))
        random = raw["labelled"][last][chosen]
        random_path = xl.features.ridge_path(scaled(random, random), y, classes=len(classes))
        logistic = LogisticRegression(max_iter=500).fit(scaled(bank, bank), y)
        votes = xl.features.knn(bank, y, queries, k=5, classes=len(classes))
        predicted = {
            "logistic probe": logistic.predict(scaled(queries, bank)),
            "ridge path": path.scores(scaled(queries, bank)).argmax(1),
            "kNN": votes.argmax(1),
            "untrained encoder, ridge path": random_path.scores(scaled(raw["home"][last], random)).argmax(1),
        }
        for method, guess in predicted.items():
            rows.append({"method": method, "labels": count, "draw": draw, "balanced accuracy": score(guess, "home")})
        if draw == 0:
            paths[count] = path

xl.lab.show(
    xl.plots.curves(
        rows, x="labels", y="balanced accuracy", by="method", xlabel="labels per class", ylabel="balanced accuracy"
    ),
    alt="Balanced accuracy at home from the last layer against labels per class, one line a way of reading it",
)
for count in counts:
    for gain in xl.evaluation.paired([r for r in rows if r["labels"] == count], "balanced accuracy", "logistic probe"):
        print(
            f"{count} labels a class: {gain['method']} against the logistic probe {gain['gain']:+.3f} "
            f"[{gain['low']:+.3f}, {gain['high']:+.3f}], {gain['verdict']}"
        )

# %% [markdown]
# ### The whole path
# Too little penalty and the weights follow accidents of the few labelled pictures; too much and they follow nothing. The
# lines show leave-one-out accuracy: every labelled picture is judged by a classifier that has not seen it. With too much penalty a
# line can fall below a blind guess: the picture left out makes its own class the rarest, and the rarest is never guessed.

# %%
began = time.perf_counter()
chosen = drawn(max(counts), 0)
bank = features["labelled"][last][chosen]
path = xl.features.ridge_path(scaled(bank, bank), sets["labelled"].labels[chosen], classes=len(classes))
print(
    f"{len(path.alphas)} penalties, {len(chosen)} pictures, {bank.shape[1]} dimensions: {time.perf_counter() - began:.2f} s"
)
xl.lab.show(
    xl.plots.lines(
        {f"{count} labels a class": (p.alphas.log10().tolist(), p.accuracy.tolist()) for count, p in paths.items()},
        xlabel="log10 of the L2 penalty",
        ylabel="leave-one-out accuracy",
    ),
    alt="Leave-one-out accuracy against the logarithm of the L2 penalty, one line for each number of labels a class",
)

# %% [markdown]
# ### Exercise 1: how neighbours vote
# A picture's three nearest neighbours have cosine similarities 0.9, 0.8 and 0.8. The first is a lymphocyte, the other two
# are monocytes. With weights exp(similarity / temperature) and **temperature 0.1**, what is the probability of *monocyte*?

# %% tags=["exercise"] exercise="03.1"
monocyte = ...

# %% tags=["solution"] exercise="03.1"
votes = (torch.tensor([0.9, 0.8, 0.8]) / 0.1).exp()
monocyte = float(votes[1:].sum() / votes.sum())

# %% tags=["wrong"] exercise="03.1" mistake="head_count"
monocyte = 2 / 3

# %% tags=["wrong"] exercise="03.1" mistake="no_temperature"
votes = torch.tensor([0.9, 0.8, 0.8]).exp()
monocyte = float(votes[1:].sum() / votes.sum())

# %% tags=["wrong"] exercise="03.1" mistake="other_temperature"
votes = (torch.tensor([0.9, 0.8, 0.8]) / 0.07).exp()
monocyte = float(votes[1:].sum() / votes.sum())

# %% tags=["wrong"] exercise="03.1" mistake="similarity_as_vote"
monocyte = 1.6 / 2.5

# %% tags=["wrong"] exercise="03.1" mistake="other_class"
votes = (torch.tensor([0.9, 0.8, 0.8]) / 0.1).exp()
monocyte = float(votes[0] / votes.sum())

# %% [markdown] tags=["mistakes"] exercise="03.1"
# - other_class: That is the lymphocyte's probability; the monocyte's is the rest.
# - head_count: That counts heads: here the nearer neighbour has the larger vote.
# - no_temperature: Divide each similarity by the temperature before you take exp.
# - other_temperature: The temperature here is 0.1; 0.07 is the one that kNN had above.
# - similarity_as_vote: Here the similarities themselves vote; the weight is exp(similarity / 0.1).

# %% [markdown] tags=["hints"] exercise="03.1"
# 1. The closer neighbour's vote is larger. By which factor, when the similarities differ by 0.1 and the temperature is 0.1?
# 2. Give the two monocytes one vote each; then the lymphocyte has e votes. Divide by the sum.
# 3. `monocyte = 2 / (2 + 2.71828)`

# %% tags=["check"] exercise="03.1"
xl.checks.check("03.1", monocyte)

# %% [markdown]
# ### Exercise 2: leave one out, without fitting again
# A linear regression's score for one of its own training pictures is flattered: that picture pulled the fit towards itself, by
# its **leverage** h between 0 and 1. Had it been left out, its residual *label − score* would have been
# *residual / (1 − h)*. Write `left_out(scores, labels, leverage)`: the scores the pictures would get from fits without them. All three are
# tensors with one number a picture; a label is 1 for the class in question and 0 for any other.


# %% tags=["exercise"] exercise="03.2"
def left_out(scores, labels, leverage): ...


# %% tags=["solution"] exercise="03.2"
def left_out(scores, labels, leverage):
    return labels - (labels - scores) / (1 - leverage)


# %% tags=["wrong"] exercise="03.2" mistake="residual_not_score"
def left_out(scores, labels, leverage):
    return (labels - scores) / (1 - leverage)


# %% tags=["wrong"] exercise="03.2" mistake="shrunk"
def left_out(scores, labels, leverage):
    return labels - (labels - scores) * (1 - leverage)


# %% tags=["wrong"] exercise="03.2" mistake="in_sample"
def left_out(scores, labels, leverage):
    return scores


# %% [markdown] tags=["mistakes"] exercise="03.2"
# - residual_not_score: That is the left-out residual; the score is the label minus it.
# - shrunk: This makes residuals smaller; a picture that is left out is fitted worse, so divide.
# - in_sample: These are the flattered scores of the fit that saw the pictures.
# - by_leverage: Divide by 1 - leverage: a picture with leverage 0 had no pull, and nothing changes.
# - wrong_sign: A residual is label - score, so the score is the label minus it, not plus.
# - score_divided: Divide the residual, label - score, not the score.

# %% [markdown] tags=["hints"] exercise="03.2"
# 1. A score is the label minus the residual. Which residual do you want?
# 2. Compute `labels - scores`, divide by `1 - leverage`, and go back from residual to score.
# 3. `return labels - (labels - scores) / (1 - leverage)`

# %% tags=["check"] exercise="03.2"
xl.checks.check("03.2", left_out)

# %% [markdown]
# ## Which layer?
# Early blocks see edges and colours, late ones what ImageNet's classes needed. Two wishes pull at the choice:
#
# - **informative**: a probe on the layer tells the classes apart. This can be measured at home, where labels are.
# - **invariant**: the layer does not change from laboratory to laboratory. This needs no labels at all, and there are two
#   common measures. The **A-distance** asks how well a linear classifier tells the laboratories apart: 2 (1 − 2e), with e its error on
#   pictures it was not fitted on; 0 not at all, 2 without error ([Ben-David et al., 2007](https://papers.nips.cc/paper/2983-analysis-of-representations-for-domain-adaptation)).
#   **CKA** compares two tables of features of the *same* cells, here each cell as both laboratories would photograph it: 0 when they are
#   unrelated, 1 when alike up to rotation and scale ([Kornblith et al., 2019](https://arxiv.org/abs/1905.00414)).
#
# The same cell in two laboratories is a luxury of rendered data: `shift=0` gives each cell of the target with the
# source's stain and optics. On other data the cell below gives the source's pictures the target's mean and spread of colour instead.
#
# ### Predict
# A ridge path is fitted to 20 labels a class of the source, once on each block. From which block is it best on the **target's** test set?

# %% tags=["exercise"] exercise="03.p1"
blocks = ["conv_stem", *[f"blocks.{i}" for i in range(7)], "conv_head"]
guess = ...  # one of these nine names, input side first
xl.checks.predict("03.p1", guess, options=blocks)

# %% tags=["solution"] exercise="03.p1"
blocks = ["conv_stem", *[f"blocks.{i}" for i in range(7)], "conv_head"]
guess = "conv_head"
xl.checks.predict("03.p1", guess, options=blocks)

# %%
if target_name.startswith("cells/"):
    pair = xl.load(target_name, shift=0).test, xl.load(target_name).test
else:
    recoloured = sets["home"].inputs.float()
    over = dict(dim=(0, 2, 3), keepdim=True)
    there = sets["unlabelled"].inputs.float()
    recoloured = (recoloured - recoloured.mean(**over)) / recoloured.std(**over) * there.std(**over) + there.mean(
        **over
    )
    pair = sets["home"], xl.Domain(recoloured.clamp(0, 255).to(torch.uint8), None, classes, name="recoloured")
pair = [domain[: len(sets["home"])] for domain in pair]
xl.lab.show(
    xl.plots.images({"source's optics": pair[0].inputs[:8], "target's optics": pair[1].inputs[:8]}),
    alt="Eight cells, each as the source laboratory would photograph it and as the target laboratory does",
)

# %%
twins = [xl.embed(encoder, domain, layer=layers) for domain in pair]
away_from = {
    name: xl.transferability.proxy_a_distance(
        source=features["labelled"][name], target=features["unlabelled"][name], seed=0
    )
    for name in layers
}
alike = {name: xl.transferability.cka(a=twins[0][name], b=twins[1][name]) for name in layers}


def transfer(embedded, name: str, draw: int) -> dict:
    """A ridge path on 20 labels a class of one layer: leave-one-out, home and away."""
    chosen = drawn(20, draw)
    bank = embedded["labelled"][name][chosen]
    path = xl.features.ridge_path(scaled(bank, bank), sets["labelled"].labels[chosen], classes=len(classes))
    home, away = (score(path.scores(scaled(embedded[p][name], bank)).argmax(1), p) for p in ("home", "away"))
    return {"layer": name, "draw": draw, "left out": path.accuracy[path.best].item(), "home": home, "away": away}


results = pd.DataFrame([transfer(features, name, draw) for draw in draws for name in layers])
baseline = pd.DataFrame([transfer(raw, name, draw) for draw in draws for name in layers])

# %% [markdown]
# ### Informative against invariant
# Four lines over depth. Accuracies carry 95 % intervals over draws. So that up means *more invariant* for both measures,
# the A-distance is drawn as 1 − A/2, which is twice the error of the classifier of laboratories.

# %%
picture = []
for row in results.to_dict("records"):
    at = layers.index(row["layer"])
    picture.append({"block": at, "measure": "accuracy at home", "value": row["home"]})
    picture.append({"block": at, "measure": "accuracy away", "value": row["away"]})
for at, name in enumerate(layers):
    picture.append({"block": at, "measure": "same cell, two labs: CKA", "value": alike[name]})
    picture.append({"block": at, "measure": "labs confused: 1 − A/2", "value": 1 - away_from[name] / 2})
figure = xl.plots.curves(
    picture, x="block", y="value", by="measure", xlabel="block, input side first", ylabel="0 to 1", log=False
)
figure.axes[0].set_xticks(range(len(layers)), layers, rotation=30, ha="right")
figure.axes[0].set_ylim(-0.02, 1.02)
xl.lab.show(
    figure,
    alt="Accuracy at home and away, CKA between laboratories, and how far laboratories are confused, for each block",
)

# %%
by_layer = results.groupby("layer", sort=False)[["home", "away"]].mean()
by_layer["untrained, home"] = baseline.groupby("layer", sort=False)["home"].mean()
by_layer["A-distance"], by_layer["CKA"] = pd.Series(away_from), pd.Series(alike)
best = by_layer["away"].idxmax()
xl.checks.reveal("03.p1", best)
print(
    f"Away: {best} is best at {by_layer.away[best]:.3f}; the last layer, {last}, has {by_layer.away[last]:.3f}.\n"
    f"At home: {by_layer.home.idxmax()} is best. Closest by A-distance: {by_layer['A-distance'].idxmin()}. "
    f"Most alike by CKA: {by_layer.CKA.idxmax()}."
)

# %% [markdown]
# One layer at a time: where the two laboratories lie in it, and how it stands among the others. Both views can flatter a layer. The map
# shows two directions of many, so clouds may overlap on it that a linear classifier tells apart. And where a layer has about as many
# numbers a picture as there are pictures to fit on, that classifier is itself poor, and the A-distance comes out too small.

# %%
xl.widgets.layers(
    {name: (features["labelled"][name], features["unlabelled"][name]) for name in layers},
    {
        "accuracy at home": by_layer["home"],
        "accuracy away": by_layer["away"],
        "CKA": by_layer["CKA"],
        "1 - A/2": 1 - by_layer["A-distance"] / 2,
    },
)

# %% [markdown]
# ## Can you choose without target labels?
# That the best layer away is known is hindsight: it took the target's test labels. Here are rules that need none. Each chooses a layer, draw by
# draw, and is compared with plainly taking the last one. *Left out at home* takes the highest leave-one-out accuracy. *Bound* follows the theory of
# [Ben-David et al.](https://papers.nips.cc/paper/2983-analysis-of-representations-for-domain-adaptation): error at home (left out) plus
# half the A-distance; the theory has a third term, which only target labels could give. The oracle looks at the test labels and stands there to show what the rules leave on the table.

# %%
rules = {
    "last layer": lambda t: last,
    "left out at home": lambda t: t["left out"].idxmax(),
    "A-distance": lambda t: min(away_from, key=away_from.get),
    "CKA": lambda t: max(alike, key=alike.get),
    "bound": lambda t: (1 - t["left out"] + pd.Series(away_from) / 2).idxmin(),
    "oracle (test labels)": lambda t: t["away"].idxmax(),
}
choices = []
for draw, part in results.groupby("draw"):
    part = part.set_index("layer")
    for rule, choose in rules.items():
        layer = choose(part)
        choices.append({"method": rule, "draw": draw, "layer": layer, "away": part.away[layer]})

# %% tags=["results"]
print(f"{source.name} to {target.name}, 20 labels a class, balanced accuracy, mean over {len(draws)} draws")
print(by_layer.round(3).to_string())
chosen_by = pd.DataFrame(choices).groupby("method", sort=False)
summary = pd.DataFrame(
    {"chose": chosen_by.layer.agg(lambda s: ", ".join(dict.fromkeys(s))), "away": chosen_by.away.mean()}
)
gains = pd.DataFrame(xl.evaluation.paired(choices, "away", "last layer")).set_index("method").drop(columns="n")
print(
    "\nA layer chosen without target labels (the last row used them), and its gain over the last layer, paired by draw"
)
print(summary.join(gains).round(3).fillna("").to_string())

# %% [markdown]
# Look at *untrained, home* as well: in which blocks did ImageNet help, and where would random weights have done? And see by how much
# each rule beats the last layer before you trust one.
#
# ### Exercise 3: a distance from an error
# A linear classifier is right about the laboratory of **85 %** of pictures it was not fitted on. With e its error, the proxy
# A-distance is 2 (1 − 2e). How large is it?

# %% tags=["exercise"] exercise="03.3"
distance = ...

# %% tags=["solution"] exercise="03.3"
distance = 2 * (1 - 2 * 0.15)

# %% tags=["wrong"] exercise="03.3" mistake="accuracy_for_error"
distance = 2 * (1 - 2 * 0.85)

# %% tags=["wrong"] exercise="03.3" mistake="outer_two"
distance = 1 - 2 * 0.15

# %% tags=["wrong"] exercise="03.3" mistake="inner_two"
distance = 2 * (1 - 0.15)

# %% [markdown] tags=["mistakes"] exercise="03.3"
# - accuracy_for_error: e is the error, 0.15; 0.85 is the share that is right.
# - outer_two: The factor 2 in front is missing; the distance runs from 0 to 2.
# - inner_two: Inside the brackets stands 2e, so that an error of one half gives 0.

# %% [markdown] tags=["hints"] exercise="03.3"
# 1. The formula wants how often the classifier is wrong.
# 2. e is 0.15.
# 3. `distance = 2 * (1 - 2 * 0.15)`

# %% tags=["check"] exercise="03.3"
xl.checks.check("03.3", distance)

# %% [markdown]
# ### Exercise 4: CKA
# Write `cka(a, b)` for features `(N, D)` and `(N, E)` of the same N pictures: with the mean of each column taken off, the sum of
# squares of BᵀA, divided by the Frobenius norm of AᵀA times that of BᵀB.


# %% tags=["exercise"] exercise="03.4"
def cka(a, b): ...


# %% tags=["solution"] exercise="03.4"
def cka(a, b):
    a, b = a - a.mean(0), b - b.mean(0)
    return (b.T @ a).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm())


# %% tags=["wrong"] exercise="03.4" mistake="not_centred"
def cka(a, b):
    return (b.T @ a).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm())


# %% tags=["wrong"] exercise="03.4" mistake="wrong_mean"
def cka(a, b):
    a, b = a - a.mean(), b - b.mean()
    return (b.T @ a).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm())


# %% tags=["wrong"] exercise="03.4" mistake="not_normalised"
def cka(a, b):
    a, b = a - a.mean(0), b - b.mean(0)
    return (b.T @ a).square().sum()


# %% tags=["wrong"] exercise="03.4" mistake="not_squared"
def cka(a, b):
    a, b = a - a.mean(0), b - b.mean(0)
    return (b.T @ a).norm() / ((a.T @ a).norm() * (b.T @ b).norm())


# %% [markdown] tags=["mistakes"] exercise="03.4"
# - not_centred: Take each column's mean off first, or a constant added to a feature changes the answer.
# - wrong_mean: Each column has a mean of its own, taken over the pictures: `a.mean(0)`.
# - not_normalised: Divide by the two norms, or features twice as large look more alike.
# - not_squared: The numerator is the sum of squares of B'A, not its root: compare cka(a, a) with 1.

# %% [markdown] tags=["hints"] exercise="03.4"
# 1. What should happen when a constant is added to a column, or one side is doubled?
# 2. `a - a.mean(0)` centres; `.norm()` of a matrix is its Frobenius norm; the numerator is `.square().sum()`.
# 3. `a, b = a - a.mean(0), b - b.mean(0); return (b.T @ a).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm())`

# %% tags=["check"] exercise="03.4"
xl.checks.check("03.4", cka)

# %% [markdown]
# ### Exercise 5: choose by the bound
# Three layers, with two rows you know about each, and a third that you will know only next year. Let `chosen_layer` be the name of the
# layer with the smallest **error at home + A-distance / 2**.

# %% tags=["exercise"] exercise="03.5"
accuracy_home = {"early": 0.60, "middle": 0.83, "late": 0.80}
a_distance = {"early": 1.90, "middle": 1.80, "late": 1.70}
accuracy_away = {"early": 0.30, "middle": 0.71, "late": 0.62}
chosen_layer = ...

# %% tags=["solution"] exercise="03.5"
accuracy_home = {"early": 0.60, "middle": 0.83, "late": 0.80}
a_distance = {"early": 1.90, "middle": 1.80, "late": 1.70}
accuracy_away = {"early": 0.30, "middle": 0.71, "late": 0.62}
chosen_layer = min(a_distance, key=lambda name: 1 - accuracy_home[name] + a_distance[name] / 2)

# %% [markdown] tags=["solution"] exercise="03.5"
# 1.35 for the early layer, 1.07 for the middle one, 1.05 for the late one. The bound picks *late*, although *middle* turns out better
# away. A rule that uses no target labels can be wrong; one that uses them has no test left.

# %% tags=["wrong"] exercise="03.5" mistake="used_target_labels"
chosen_layer = max({"early": 0.30, "middle": 0.71, "late": 0.62}.items(), key=lambda item: item[1])[0]

# %% tags=["wrong"] exercise="03.5" mistake="largest"
chosen_layer = "early"

# %% [markdown] tags=["mistakes"] exercise="03.5"
# - used_target_labels: That is the best layer away (and at home), but not the smallest error at home + A-distance / 2.
# - largest: Of the three, that layer has the largest error + A-distance / 2. Take the smallest, with error = 1 - accuracy.

# %% [markdown] tags=["hints"] exercise="03.5"
# 1. One of the three dictionaries cannot be known yet. Leave it alone.
# 2. Compute 1 − accuracy + A-distance / 2 for each name and take the smallest.
# 3. `chosen_layer = min(a_distance, key=lambda name: 1 - accuracy_home[name] + a_distance[name] / 2)`

# %% tags=["check"] exercise="03.5"
xl.checks.check("03.5", chosen_layer)

# %% [markdown]
# ## When it hurts: clusters of what?
# Features are often judged by a picture: two principal axes (PCA), or t-SNE, which keeps neighbours together and says
# nothing true about distances between groups. Here is the last layer, both laboratories together, once coloured by class
# and once by laboratory. Cover the right-hand column first: what would you have concluded?

# %%
shown = lab.scale(quick=60, lab=240, full=1000)
mixed = {name: torch.cat([features["home"][name][:shown], features["away"][name][:shown]]) for name in layers}
of_class = torch.cat([sets["home"].labels[:shown], sets["away"].labels[:shown]])
of_lab = torch.tensor([0] * min(shown, len(sets["home"])) + [1] * min(shown, len(sets["away"])))
main = PCA(50 if shown > 50 else 10, random_state=0).fit_transform(scaled(mixed[last], mixed[last]))
views = {"PCA": main[:, :2], "t-SNE": TSNE(2, perplexity=20, random_state=0, init="pca").fit_transform(main)}

figure, axes = plt.subplots(2, 2, figsize=(11, 8.4))
for line, (title, xy) in zip(axes, views.items()):
    for axis, group, names in ((line[0], of_class, classes), (line[1], of_lab, (source.name, target.name))):
        for k, name in enumerate(names):
            point = dict(color=xl.plots.PALETTE[k % 8], marker=xl.plots.MARKERS[k % 8], label=name)
            axis.scatter(*xy[group == k].T, s=18, alpha=0.7, linewidths=0, **point)
        axis.set_title(f"{title}, by {'class' if names is classes else 'laboratory'}")
        axis.set_xticks([])
        axis.set_yticks([])
for axis in axes[0]:
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -1.2), ncols=3, fontsize=10, markerscale=1.5)
xl.lab.show(
    figure,
    alt="PCA and t-SNE of the last layer's features, coloured by class on the left and by laboratory on the right",
)

# %% [markdown]
# A picture can be counted. For every picture, take its ten nearest neighbours in the layer itself, not on the map. How many
# show the same class, and how many come from the same laboratory? Where features did not know the laboratory, its share would be one half.


# %%
def neighbours(points, groups) -> float:
    """Share of the ten nearest neighbours that are of a point's own group, by cosine, itself left out."""
    points = torch.nn.functional.normalize(scaled(points, points))
    near = (points @ points.T).fill_diagonal_(-2).topk(10).indices
    return (groups[near] == groups[:, None]).float().mean().item()


own = {
    "same class": {name: neighbours(mixed[name], of_class) for name in layers},
    "same laboratory": {name: neighbours(mixed[name], of_lab) for name in layers},
}
xl.lab.show(
    xl.plots.bars(own, xlabel="block, input side first", ylabel="share of ten neighbours"),
    alt="For each block, the share of ten nearest neighbours of the same class and of the same laboratory",
)
print(
    f"Last layer: {own['same class'][last]:.2f} of the neighbours share the class (a blind guess: {1 / len(classes):.2f}), "
    f"{own['same laboratory'][last]:.2f} share the laboratory (a blind guess: 0.50)."
)

# %% [markdown]
# ### A cure, and how it hurts
# The cheapest cure needs no training: scale the target's features by the **target's own** mean and standard deviation, in place
# of the source's. It assumes that both laboratories see the same mix of cells, and it needs enough pictures to know a mean.
# We try it with all unlabelled pictures, with eight, and on a ward where three of four pictures are of one class. To build
# that ward we look at labels; the method sees none.

# %%
balanced = features["unlabelled"]
mix = target.train.take(n=size // 2).align(classes).labels  # to build the ward only
usual = torch.bincount(mix, minlength=len(classes)).argmax()
cures = []
for draw in draws:
    chosen = drawn(20, draw)
    shuffled = torch.randperm(len(mix), generator=torch.Generator().manual_seed(draw))
    most, rest = shuffled[mix[shuffled] == usual], shuffled[mix[shuffled] != usual]
    samples = {
        f"{len(mix)} target pictures": shuffled,
        "8 target pictures": shuffled[:8],
        f"a ward, 3 of 4 {classes[usual]}": torch.cat([most, rest[: len(most) // 3]]),
    }
    for name in layers:
        bank = features["labelled"][name][chosen]
        path = xl.features.ridge_path(scaled(bank, bank), sets["labelled"].labels[chosen], classes=len(classes))
        for method, like in {"the source's": bank, **{k: balanced[name][v] for k, v in samples.items()}}.items():
            guess = path.scores(scaled(features["away"][name], like)).argmax(1)
            cures.append({"method": method, "draw": draw, "layer": name, "away": score(guess, "away")})
cures = pd.DataFrame(cures)
mean = cures.pivot_table(index="layer", columns="method", values="away", sort=False)
figure = xl.plots.lines(
    {method: (range(len(layers)), mean[method].tolist()) for method in mean},
    xlabel="block, input side first",
    ylabel="balanced accuracy away",
)
figure.axes[0].set_xticks(range(len(layers)), layers, rotation=30, ha="right")
xl.lab.show(
    figure,
    alt="Balanced accuracy on the target for each block, one line for each choice of mean and standard deviation",
)
for name in dict.fromkeys((best, last)):
    for gain in xl.evaluation.paired(cures[cures.layer == name].to_dict("records"), "away", "the source's"):
        print(
            f"{name}, scaled by {gain['method']}: {gain['gain']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}] "
            f"against the source's statistics, {gain['verdict']}"
        )

# %% [markdown]
# Read each line as a claim about when the cure may be used: how many pictures, of which mix, at which layer?
#
# The same idea inside the network is batch norm at the target's statistics, and it is a part of every adaptation method that shows
# the network both domains at once. Labs 04 and 05 count it as a baseline for that reason.
#
# ## Quiz

# %% [markdown] tags=["quiz"]
# ### A t-SNE map shows eight clean clusters. What do you know?
# - [ ] The features separate the eight classes.
#   The clusters may be slides, scanners or laboratories. Colour the map by each before you believe it.
# - [ ] The clusters that lie far apart differ the most.
#   t-SNE keeps neighbours; the distance between groups, and their size, mean little.
# - [x] That something sorts the pictures into groups; what it is has to be counted.
#   Yes: count, in the features themselves, which label the neighbours share.

# %% [markdown] tags=["quiz"]
# ### An encoder's first block has the highest CKA between laboratories. Is it the layer to read?
# - [ ] Yes, invariance is what transfers.
#   A constant would be perfectly invariant. It would also tell no class from another.
# - [x] Not for that reason: a layer must also tell the classes apart.
#   Yes. The two wishes are measured apart, and the picture above shows both.
# - [ ] No, CKA needs labels of the target.
#   It needs none, but the same inputs on both sides.

# %% [markdown] tags=["quiz"]
# ### Why does the ridge path need one eigendecomposition for all penalties?
# - [x] The penalty only adds to the eigenvalues; the eigenvectors stay.
#   Yes: (FᵀF + αI) has the eigenvectors of FᵀF, whatever α is.
# - [ ] It computes one penalty and interpolates.
#   It is exact at each penalty.
# - [ ] The penalties are so close that the solutions agree.
#   They span seven powers of ten.

# %% tags=["nbval-check-output"]
print("Informative at home, invariant abroad: measure both, and count what a pretty map shows.")

# %% [markdown]
# ## Recap
# - A frozen encoder sees each picture once; after that, draws, layers, penalties and readers cost milliseconds to seconds.
# - The last layer is a choice like any other. The table above says what it cost here.
# - Telling classes apart and not telling laboratories apart are two numbers. A rule that uses one of them can choose badly.
# - A map is a question. Neighbours, counted in the features, are an answer.
#
# ### Papers
# - Wu et al., 2018, *Unsupervised feature learning via non-parametric instance discrimination* [arXiv:1805.01978](https://arxiv.org/abs/1805.01978)
# - Yosinski et al., 2014, *How transferable are features in deep neural networks?* [arXiv:1411.1792](https://arxiv.org/abs/1411.1792)
# - Kornblith et al., 2019, *Similarity of neural network representations revisited* [arXiv:1905.00414](https://arxiv.org/abs/1905.00414)
# - Ben-David et al., 2007, *Analysis of representations for domain adaptation* [NeurIPS 19](https://papers.nips.cc/paper/2983-analysis-of-representations-for-domain-adaptation)
# - Wattenberg et al., 2016, *How to use t-SNE effectively* [doi:10.23915/distill.00002](https://doi.org/10.23915/distill.00002)
#
# ### The same on your own data
# Two folders, each with one folder of pictures for each class: `XFERLAB_DATASET=path/to/source:path/to/target`, then run this
# notebook again. Nothing here is for clinical use.
