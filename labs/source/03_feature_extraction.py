# %% [markdown]
# ## The question
# One laboratory has labeled a few of its cells. A second laboratory, with another stain and another microscope, sends pictures and no
# labels, and you want to **read** both from a frozen encoder, without training it. **Which of its layers do you read, when you can check
# the answer only in the first laboratory?**
#
# The next cell names the data. By default both laboratories are rendered, so a result here is about a method on this rendering and not
# about patients. Further down you see the same curve on real chest X-rays and real blood smears.

# %%
import tempfile

import torch

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
# A frozen encoder gives the same features for the same picture, so it needs to see each picture only once. `embed` keeps what it
# computed in a file, which is named by the **content** of the weights and the pictures. Below we count how many pictures really pass
# through the network: on a first call, on a second call, after one pixel has changed, and after one weight has changed.

# %%
small = source.train.is_image and min(source.train.inputs.shape[-2:]) < 64
encoder = xl.encoder("efficientnet_lite0", size=96 if small else None)
passed = []
counting = encoder.body.register_forward_hook(lambda _module, _inputs, features: passed.extend(features))


def through(domain, folder) -> int:
    passed.clear()
    xl.embed(encoder, domain, cache=folder)
    return len(passed)


# %%
few = source.test.take(n=64)
weight = next(encoder.parameters()).data.flatten()
with tempfile.TemporaryDirectory() as folder:
    print("first call:        ", through(few, folder), "pictures")
    print("second call:       ", through(few, folder))
    few.inputs[0, 0, 0, 0] ^= 1  # the lowest bit of one pixel
    print("one pixel changed: ", through(few, folder))
    kept = weight[0].clone()
    weight[0] += 1e-3
    print("one weight changed:", through(few, folder))
    weight[0] = kept
counting.remove()

# %% [markdown]
# Now embed everything once, at every block, with the ImageNet weights and with random ones.

# %%
layers = [block.name for block in encoder.blocks]
last = layers[-1]
size, tested = lab.scale(quick=200, lab=1200, full=5000), lab.scale(quick=120, lab=480, full=5000)
sets = {
    "labeled": source.train.take(n=size),
    "home": source.test.take(n=tested),
    "unlabeled": target.train.take(n=size // 2).unlabeled(),
    "away": target.test.take(n=tested).align(classes),
}
untrained = xl.encoder("efficientnet_lite0", pretrained=False, size=encoder.size)

# %%
features, raw = {}, {}
for name, domain in sets.items():
    features[name] = xl.embed(encoder, domain, layer=layers)
    raw[name] = xl.embed(untrained, domain, layer=layers)
print("numbers a picture:", ", ".join(f"{name} {part.shape[1]}" for name, part in features["home"].items()))

# %% [markdown]
# ## Three ways to read a layer
# - A **logistic probe** is a linear classifier that is fitted by gradient steps. Here it is scikit-learn's, with its default L2 penalty.
# - **kNN** fits nothing at all. The five nearest labeled pictures vote, and closer ones have more weight: exp(s / 0.07), where s is the
#   cosine similarity and 0.07 the **temperature** ([Wu et al., 2018](https://arxiv.org/abs/1805.01978)).
# - A **ridge path** is linear regression on one-hot labels with an L2 penalty. One eigendecomposition answers for *every* strength of
#   the penalty, and gives each strength's leave-one-out accuracy without fitting anything again.
#
# The features are here already, so a draw of labels is nothing but a choice of rows. Every draw runs now, and none is read from a
# file. The dimensions of the features differ in scale. So the two linear readers get each dimension minus its mean and divided by its
# standard deviation, and both numbers come from the *labeled* pictures.


# %%
def drawn(per_class: int, draw: int) -> torch.Tensor:
    """Row numbers of `per_class` labeled pictures of each class."""
    order = torch.randperm(len(sets["labeled"]), generator=torch.Generator().manual_seed(draw))
    of = sets["labeled"].labels[order]
    return torch.cat([order[of == k][:per_class] for k in range(len(classes))])


def scaled(features, like):
    """Each dimension minus the mean of `like`, divided by its standard deviation."""
    return (features - like.mean(0)) / like.std(0).clamp(min=1e-6)


# %%
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score


def ridge(bank, queries, y):
    path = xl.features.ridge_path(scaled(bank, bank), y, classes=len(classes))
    return path.scores(scaled(queries, bank)).argmax(1)


readers = {
    "logistic probe": lambda b, q, y: LogisticRegression(max_iter=500).fit(scaled(b, b), y).predict(scaled(q, b)),
    "ridge path": ridge,
    "kNN": lambda b, q, y: xl.features.knn(b, y, q, k=5, classes=len(classes)).argmax(1),
}


# %%
def read(method: str, labels: int, draw: int) -> dict:
    """Balanced accuracy at home of one way to read the last layer."""
    embedded = raw if method.startswith("untrained") else features
    rows = drawn(labels, draw)
    reader = readers[method.removeprefix("untrained encoder, ")]
    guess = reader(embedded["labeled"][last][rows], embedded["home"][last], sets["labeled"].labels[rows])
    return {"balanced accuracy": balanced_accuracy_score(sets["home"].labels, guess)}


counts, draws = lab.scale(quick=(5, 20), lab=(5, 20, 100), full=(5, 20, 100)), range(lab.scale(quick=2, lab=5, full=5))
rows = []
for method in (*readers, "untrained encoder, ridge path"):
    rows += [{"method": method, "labels": n, "draw": draw, **read(method, n, draw)} for n in counts for draw in draws]
reading = xl.lab.Results(rows, across="labels", title=f"{source.name}, last layer")

# %%
reading.curves(xlabel="labels a class")

# %%
reading.table(over="logistic probe")

# %% [markdown]
# ### The whole path
# With too little penalty the weights may follow accidents of the labeled pictures. This hurts most where there are nearly as many pictures
# as features: look at the left end of the line with the most labels. With far fewer pictures than features, the fit with the smallest
# weights does well even there. With too much penalty the weights follow nothing. The lines below
# show leave-one-out accuracy: every labeled picture is judged by a classifier that has not seen it. With too much penalty a line can
# fall below a blind guess. Such a classifier answers with the commonest class, and when a picture is left out, its own class has become
# the rarest.

# %%
paths = {}
for count in counts:
    rows = drawn(count, 0)
    bank = scaled(features["labeled"][last][rows], features["labeled"][last][rows])
    path = xl.features.ridge_path(bank, sets["labeled"].labels[rows], classes=len(classes))
    paths[f"{count} labels a class"] = (path.alphas.log10().tolist(), path.accuracy.tolist())
xl.lab.show(
    xl.plots.lines(paths, xlabel="log10 of the L2 penalty", ylabel="leave-one-out accuracy"),
    alt="Leave-one-out accuracy against the logarithm of the L2 penalty, one line for each number of labels a class",
)

# %% [markdown]
# ### Exercise 1: how neighbors vote
# A picture's three nearest neighbors have cosine similarities 0.9, 0.8 and 0.8. The first is a lymphocyte, the other two
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
# - head_count: That counts heads: here the nearer neighbor has the larger vote.
# - no_temperature: Divide each similarity by the temperature before you take exp.
# - other_temperature: The temperature here is 0.1; 0.07 is the one that kNN had above.
# - similarity_as_vote: Here the similarities themselves vote; the weight is exp(similarity / 0.1).

# %% [markdown] tags=["hints"] exercise="03.1"
# 1. The closer neighbor's vote is larger. By which factor, when the similarities differ by 0.1 and the temperature is 0.1?
# 2. Give the two monocytes one vote each; then the lymphocyte has e votes. Divide by the sum.
# 3. `monocyte = 2 / (2 + 2.71828)`

# %% tags=["check"] exercise="03.1"
xl.checks.check("03.1", monocyte)

# %% [markdown]
# ### Exercise 2: leave one out, without fitting again
# A linear regression gives too good a score to its own training pictures, because each of them pulled the fit towards itself. How much it
# pulled is its **leverage** h, between 0 and 1. The *residual* is the label minus the score. Had the picture been left out, its residual
# would have been *residual / (1 − h)*. Write `left_out(scores, labels, leverage)`: the scores that the pictures would get from fits
# without them. All three arguments are tensors with one number a picture; a label is 1 for the class in question and 0 for any other.


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
# Early blocks see edges and colors. Late ones see what ImageNet's classes needed. You want two things of a layer:
#
# - **informative**: a probe on the layer tells the classes apart. You can measure that at home, where the labels are.
# - **invariant**: the layer does not change from laboratory to laboratory. You can measure that without any labels, and there are two
#   common measures. The **A-distance** asks how well a linear classifier tells the laboratories apart. It is 2 (1 − 2e), where e is its
#   error on pictures it was not fitted on: 0 means not at all, 2 means without error ([Ben-David et al.,
#   2007](https://papers.nips.cc/paper/2983-analysis-of-representations-for-domain-adaptation)).
#   **CKA** compares two tables of features of the *same* cells, here each cell as both laboratories would photograph it. It is 0 when they
#   are unrelated, and 1 when they are alike up to rotation and scale ([Kornblith et al., 2019](https://arxiv.org/abs/1905.00414)).
#
# To have the same cell from two laboratories is a luxury of rendered data: `shift=0` renders each cell of the target with the source's
# stain and optics. On other data, the cell below gives the source's pictures the target's mean and spread of color instead.
#
# ### Predict
# A ridge path is fitted to 20 labels a class of the source, once on each block. On which block is it best for the **target's** test set?

# %% tags=["exercise"] exercise="03.p1"
blocks = ["conv_stem", *[f"blocks.{i}" for i in range(7)], "conv_head"]
guess = ...  # one of these nine names, input side first
xl.checks.predict("03.p1", guess, options=blocks)

# %% tags=["solution"] exercise="03.p1"
blocks = ["conv_stem", *[f"blocks.{i}" for i in range(7)], "conv_head"]
guess = "conv_head"
xl.checks.predict("03.p1", guess, options=blocks)


# %%
def recolored(domain, like):
    """The domain's pictures with the mean and the spread of the colors of `like`."""
    x, over = domain.inputs.float(), dict(dim=(0, 2, 3), keepdim=True)
    x = (x - x.mean(**over)) / x.std(**over) * like.inputs.float().std(**over) + like.inputs.float().mean(**over)
    return xl.Domain(x.clamp(0, 255).to(torch.uint8), None, classes, name="recolored")


# %%
if target_name.startswith("cells/"):
    pair = [xl.load(target_name, shift=0).test, xl.load(target_name).test]
else:
    pair = [sets["home"], recolored(sets["home"], sets["unlabeled"])]
pair = [domain[: len(sets["home"])] for domain in pair]
xl.lab.show(
    xl.plots.images({"source's optics": pair[0].inputs[:8], "target's optics": pair[1].inputs[:8]}),
    alt="Eight cells, each as the source laboratory would photograph it and as the target laboratory does",
)

# %%
twins = [xl.embed(encoder, domain, layer=layers) for domain in pair]
a_distance, alike = {}, {}
for name in layers:
    sides = dict(source=features["labeled"][name], target=features["unlabeled"][name])
    a_distance[name] = xl.transferability.proxy_a_distance(**sides, seed=0)
    alike[name] = xl.transferability.cka(a=twins[0][name], b=twins[1][name])


# %%
def transfer(layer: str, draw: int, embedded=features) -> dict:
    """A ridge path on 20 labels a class of one layer: leave-one-out, home and away."""
    rows = drawn(20, draw)
    bank, y = embedded["labeled"][layer][rows], sets["labeled"].labels[rows]
    path = xl.features.ridge_path(scaled(bank, bank), y, classes=len(classes))
    found = {"left out": path.accuracy[path.best].item()}
    for part in ("away", "home"):
        guess = path.scores(scaled(embedded[part][layer], bank)).argmax(1)
        found[part] = balanced_accuracy_score(sets[part].labels, guess)
    return {"layer": layer, "draw": draw} | found


# %%
rows = [transfer(name, draw) for name in layers for draw in draws]
depth = xl.lab.Results(rows, by="layer", title=f"{source.name} to {target.name}, 20 labels a class")
if lab.records:
    lab.pooled(f"depth_{source.name}", rows)  # what "The same curve on real pictures" reads
depth_untrained = xl.lab.Results([transfer(name, draw, raw) for name in layers for draw in draws], by="layer")

# %% [markdown]
# ### Informative against invariant
# The next figure has five lines over depth. The A-distance is drawn as 1 − A/2, which is twice the error of the classifier that tells the
# laboratories apart. So for both measures a higher point is *more invariant*. *Untrained* is the same network with random weights.

# %%
measures = {
    "accuracy at home": depth.mean("home"),
    "accuracy away": depth.mean("away"),
    "untrained, at home": depth_untrained.mean("home"),
    "same cell, two labs: CKA": alike,
    "labs confused: 1 − A/2": dict(zip(layers, (1 - a_distance[name] / 2 for name in layers))),
}

# %%
xl.lab.show(
    xl.plots.by_depth(measures, layers, ylabel="accuracy, CKA or 1 - A/2"),
    alt="Accuracy at home and away, CKA between laboratories, and how far laboratories are confused, for each block",
)
best = depth.best("away")
xl.checks.reveal("03.p1", best, depth.tied("away"))
print(f"Away: {best} is best at {depth.mean('away')[best]:.3f}; {last}, the last, has {depth.mean('away')[last]:.3f}.")
print(f"At home {depth.best('home')} is best. Closest by A-distance: {min(a_distance, key=a_distance.get)}.")
print(f"Most alike by CKA: {max(alike, key=alike.get)}.")

# %% [markdown]
# Move the slider to look at one layer at a time. On the left you see where the two laboratories lie in it, and on the right how it
# compares with the other layers. Both views can make a layer look better than it is. The map shows two directions of many, so a linear
# classifier may tell two clouds apart that overlap on the map. And where a layer has about as many numbers a picture as there are
# pictures to fit on, that classifier is itself poor, and the A-distance comes out too small.

# %%
clouds = dict(zip(layers, ((features["labeled"][name], features["unlabeled"][name]) for name in layers)))
xl.widgets.layers(clouds, measures)

# %% [markdown]
# ## The same curve on real pictures
# Rendered cells are one case. The same reading, 20 labels a class from each block in turn, was measured on real chest X-rays
# (PneumoniaMNIST) and on real blood smears (BCCD), the X-rays enlarged from 28 to 96 pixels, and the smears at 64. Where does each curve
# peak?

# %%
curves = {source.name: depth.mean("home")}
for file, title in {"pneumonia_28": "real chest X-rays", "bccd_64": "real blood smears"}.items():
    curves[title] = xl.lab.Results(lab.committed(f"depth_{file}"), by="layer").mean("home")
xl.lab.show(
    xl.plots.by_depth(curves, layers, ylabel="balanced accuracy"),
    alt="Balanced accuracy of a ridge path on each block: rendered cells, real chest X-rays and real blood smears",
)
peaks = {}
for title, by_layer in curves.items():
    peaks[title] = max(by_layer, key=by_layer.get)
    print(f"{title}: best from {peaks[title]}, {by_layer[peaks[title]]:.3f}; {last} {by_layer[last]:.3f}")

# %% [markdown]
# The last block was trained to name photographs of a thousand things. What you need from an X-ray is texture and density, which the
# middle of the network still holds. A depth probe (lab 02) reads several middle blocks at once, so you need not even choose.
#
# ![](drawings/depth_probe.svg)
#
# ## Can you choose without target labels?
# You know the best layer away only in hindsight, because it took the target's test labels. Here are rules that need none. Each chooses
# a layer draw by draw, and is compared with simply taking the last one. *Left out at home* takes the layer with the highest
# leave-one-out accuracy. *Bound* follows the theory of
# [Ben-David et al.](https://papers.nips.cc/paper/2983-analysis-of-representations-for-domain-adaptation): the error at home plus half the
# A-distance. (The theory has a third term, which only target labels could give.) The *oracle* looks at the test labels, and shows how much
# better a rule could be.

# %%
rules = {
    "last layer": lambda t: last,
    "left out at home": lambda t: t.best("left out"),
    "A-distance": lambda t: min(a_distance, key=a_distance.get),
    "CKA": lambda t: max(alike, key=alike.get),
    "bound": lambda t: min(layers, key=lambda name: 1 - t.mean("left out")[name] + a_distance[name] / 2),
    "oracle (test labels)": lambda t: t.best("away"),
}

# %%
choices = []
for draw in draws:
    one = depth.only(draw=draw)
    picked = [(rule, choose(one)) for rule, choose in rules.items()]
    choices += [{"rule": rule, "draw": draw, "away": one.mean("away")[layer], "layer": layer} for rule, layer in picked]

# %% tags=["results"]
chosen = xl.lab.Results(choices, by="rule", title=f"{source.name} to {target.name}")
chosen.table(over="last layer", caption="A layer chosen without target labels, and by the oracle, which looks.")

# %%
for rule in rules:
    picked = [row["layer"] for row in choices if row["rule"] == rule]
    print(f"{rule}: {', '.join(dict.fromkeys(picked))}")

# %% [markdown]
# Before you trust a rule, see by how much it beats the last layer. Then go back to the first figure over depth and find its line
# *untrained, at home*. In which blocks did ImageNet help, and in which were random weights as good or better?
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


# %% tags=["wrong"] exercise="03.4" mistake="not_centered"
def cka(a, b):
    return (b.T @ a).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm())


# %% tags=["wrong"] exercise="03.4" mistake="wrong_mean"
def cka(a, b):
    a, b = a - a.mean(), b - b.mean()
    return (b.T @ a).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm())


# %% tags=["wrong"] exercise="03.4" mistake="not_normalized"
def cka(a, b):
    a, b = a - a.mean(0), b - b.mean(0)
    return (b.T @ a).square().sum()


# %% tags=["wrong"] exercise="03.4" mistake="not_squared"
def cka(a, b):
    a, b = a - a.mean(0), b - b.mean(0)
    return (b.T @ a).norm() / ((a.T @ a).norm() * (b.T @ b).norm())


# %% [markdown] tags=["mistakes"] exercise="03.4"
# - not_centered: Take each column's mean off first, or a constant added to a feature changes the answer.
# - wrong_mean: Each column has a mean of its own, taken over the pictures: `a.mean(0)`.
# - not_normalized: Divide by the two norms, or features twice as large look more alike.
# - not_squared: The numerator is the sum of squares of B'A, not its root: compare cka(a, a) with 1.

# %% [markdown] tags=["hints"] exercise="03.4"
# 1. What should happen when a constant is added to a column, or one side is doubled?
# 2. `a - a.mean(0)` centers; `.norm()` of a matrix is its Frobenius norm; the numerator is `.square().sum()`.
# 3. `a, b = a - a.mean(0), b - b.mean(0); return (b.T @ a).square().sum() / ((a.T @ a).norm() * (b.T @ b).norm())`

# %% tags=["check"] exercise="03.4"
xl.checks.check("03.4", cka)

# %% [markdown]
# ### Exercise 5: choose by the bound
# Here are three layers. You know the first two rows today, and you will know the third only next year. Let `chosen_layer` be the name of
# the layer with the smallest **error at home + A-distance / 2**.

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
# away. A rule that uses no target labels can be wrong. A rule that uses the test labels leaves you no labels to test its choice on.

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
# People often judge features by a map. PCA draws the two directions of largest spread. t-SNE keeps neighbors together, and the distances
# between its groups mean nothing. Here is the last layer with both laboratories together, colored by class on the left and by laboratory
# on the right. Cover the right-hand column first: what would you have concluded?

# %%
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

shown = lab.scale(quick=60, lab=240, full=1000)
of_class = torch.cat([sets[part].labels[:shown] for part in ("home", "away")])
of_lab = torch.cat([torch.full((len(sets[part].labels[:shown]),), k) for k, part in enumerate(("home", "away"))])


def both(name: str) -> torch.Tensor:
    """Features of this layer, home above away, in the order of `of_class` and `of_lab`."""
    return torch.cat([features["home"][name][:shown], features["away"][name][:shown]])


# %%
main = PCA(50 if shown > 50 else 10, random_state=0).fit_transform(scaled(both(last), both(last)))
flat = TSNE(2, perplexity=20, random_state=0, init="pca").fit_transform(main)

# %%
views = {"PCA": main[:, :2], "t-SNE": flat}
xl.lab.show(
    xl.plots.maps(
        views,
        {"class": (of_class, classes), "laboratory": (of_lab, (source.name, target.name))},
    ),
    alt="PCA and t-SNE of the last layer's features, colored by class on the left and by laboratory on the right",
)

# %% [markdown]
# You can count what a map only suggests. For every picture, take its ten nearest neighbors in the layer itself and not on the map. How many
# show the same class, and how many come from the same laboratory? If the features did not know the laboratory, that share would be one
# half.


# %%
def neighbors(points, groups) -> float:
    """Share of the ten nearest neighbors that are of a point's own group, by cosine, itself left out."""
    points = torch.nn.functional.normalize(scaled(points, points))
    near = (points @ points.T).fill_diagonal_(-2).topk(10).indices
    return (groups[near] == groups[:, None]).float().mean().item()


own = {"same class": {}, "same laboratory": {}}
for name in layers:
    own["same class"][name] = neighbors(both(name), of_class)
    own["same laboratory"][name] = neighbors(both(name), of_lab)

# %%
xl.lab.show(
    xl.plots.bars(own, xlabel="block, input side first", ylabel="share of ten neighbors"),
    alt="For each block, the share of ten nearest neighbors of the same class and of the same laboratory",
)
print(f"Last layer: {own['same class'][last]:.2f} share the class (a blind guess: {1 / len(classes):.2f}),")
print(f"{own['same laboratory'][last]:.2f} share the laboratory (a blind guess: 0.50).")

# %% [markdown]
# ### A cure, and how it hurts
# The cheapest cure needs no training. You scale the target's features by the **target's own** mean and standard deviation, in place
# of the source's. This assumes that both laboratories see the same mix of cells, and it needs enough pictures to know a mean.
# We try it with all unlabeled pictures, with eight, and on a ward where three of four pictures are of one class. To build that ward we
# look at labels, and the method sees none.

# %%
mix = target.train.take(n=size // 2).align(classes).labels  # to build the ward only
usual = torch.bincount(mix, minlength=len(classes)).argmax()


def samples(draw: int) -> dict:
    """Rows of the unlabeled pictures that the mean and the standard deviation are taken from."""
    shuffled = torch.randperm(len(mix), generator=torch.Generator().manual_seed(draw))
    most, rest = shuffled[mix[shuffled] == usual], shuffled[mix[shuffled] != usual]
    ward = torch.cat([most, rest[: len(most) // 3]])
    return {
        f"{len(mix)} of the target": shuffled,
        "8 of the target": shuffled[:8],
        f"a ward, 3 of 4 {classes[usual]}": ward,
    }


# %%
def cured(layer: str, draw: int) -> list[dict]:
    rows = drawn(20, draw)
    bank, y = features["labeled"][layer][rows], sets["labeled"].labels[rows]
    path, found = xl.features.ridge_path(scaled(bank, bank), y, classes=len(classes)), []
    likes = [("the source's", bank), *((n, features["unlabeled"][layer][r]) for n, r in samples(draw).items())]
    for name, like in likes:
        guess = path.scores(scaled(features["away"][layer], like)).argmax(1)
        score = balanced_accuracy_score(sets["away"].labels, guess)
        found.append({"statistics": name, "layer": layer, "draw": draw, "away": score})
    return found


# %%
rows = [row for layer in layers for draw in draws for row in cured(layer, draw)]
cures = xl.lab.Results(rows, by="statistics", across="layer", title=f"{source.name} to {target.name}")
by_depth = dict(zip(cures.names, ({} for _ in cures.names)))
for layer in layers:
    for name, score in cures.mean(layer=layer).items():
        by_depth[name][layer] = score
xl.lab.show(
    xl.plots.by_depth(by_depth, layers, ylabel="balanced accuracy away"),
    alt="Balanced accuracy on the target for each block, one line for each choice of mean and standard deviation",
)

# %%
cures.only(layer=[best, last]).gains(over="the source's")

# %% [markdown]
# Read off the two figures when the cure helps and when it hurts: with how many pictures, of which mix, and at which layer. Compare above
# all the last layer with the best one.
#
# Batch norm with the target's statistics is the same idea inside the network. It is a part of every adaptation method that shows the
# network both domains at once. That is why labs 04 and 05 count it as a baseline.
#
# ## Quiz

# %% [markdown] tags=["quiz"]
# ### A t-SNE map shows eight clean clusters. What do you know?
# - [ ] The features separate the eight classes of cells.
#   The clusters may be slides, scanners or laboratories. Color the map by each before you believe it.
# - [ ] The clusters that lie far apart differ the most.
# t-SNE keeps neighbors together. The distances between its groups, and their sizes, mean nothing.
# - [x] Something sorts the pictures into groups.
#   Yes, and you have to count what it is: which label do neighbors in the features share?

# %% [markdown] tags=["quiz"]
# ### An encoder's first block has the highest CKA between laboratories. Is it the layer to read?
# - [ ] Yes, because what does not change between laboratories transfers.
#   A constant does not change at all, and it tells no class from another.
# - [x] Not for that reason alone.
#   Yes. A layer must also tell the classes apart, and the figure above shows both measures.
# - [ ] No, CKA needs labels of the target.
#   It needs no labels. It needs the same inputs on both sides.

# %% [markdown] tags=["quiz"]
# ### Why does the ridge path need one eigendecomposition for all penalties?
# - [x] The penalty only adds to the eigenvalues; the eigenvectors stay.
#   Yes: (FᵀF + αI) has the eigenvectors of FᵀF, whatever α is.
# - [ ] It computes a few penalties and interpolates between them.
#   It is exact at each penalty.
# - [ ] The penalties are so close that the solutions agree.
#   They span seven powers of ten.

# %% tags=["nbval-check-output"]
print("Informative at home, invariant abroad: measure both, and count what a pretty map shows.")

# %% [markdown]
# ## Recap

# %% tags=["answer"]
xrays = curves["real chest X-rays"]
lab.answer(
    best=best,
    last=last,
    gain=depth.gain(best, last, "away") if best != last else {"gain": 0.0, "verdict": "it is the last"},
    peak=peaks["real chest X-rays"],
    xrays=xrays[peaks["real chest X-rays"]],
    xrays_last=xrays[last],
    rule=chosen.only(rule=list(rules)[1:-1]).best(),
)

# %% [markdown]
# - A frozen encoder sees each picture once. After that, draws, layers, penalties and readers cost milliseconds to seconds.
# - Reading the last layer is a choice, and you now know what it cost here.
# - You want a layer that tells classes apart and laboratories not. Few layers do both, so read from the run above which rule chose well:
#   a rule that looks at the laboratories alone can choose badly.
# - A map suggests something. Count the neighbors in the features to find out whether it is so.
#
# ### Papers
# - Wu et al., 2018, *Unsupervised feature learning via non-parametric instance discrimination*
#   [arXiv:1805.01978](https://arxiv.org/abs/1805.01978)
# - Yosinski et al., 2014, *How transferable are features in deep neural networks?* [arXiv:1411.1792](https://arxiv.org/abs/1411.1792)
# - Kornblith et al., 2019, *Similarity of neural network representations revisited* [arXiv:1905.00414](https://arxiv.org/abs/1905.00414)
# - Ben-David et al., 2007, *Analysis of representations for domain adaptation* [NeurIPS
#   19](https://papers.nips.cc/paper/2983-analysis-of-representations-for-domain-adaptation)
# - Wattenberg et al., 2016, *How to use t-SNE effectively* [doi:10.23915/distill.00002](https://doi.org/10.23915/distill.00002)
#
# ### The same on your own data
# Two folders, each with one folder of pictures for each class: `XFERLAB_DATASET=path/to/source:path/to/target`, then run this
# notebook again. Nothing here is for clinical use.
