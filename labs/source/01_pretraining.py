# %% [markdown]
# ## The question
# Your laboratory has a drawer full of cells and labels for five of each class. You could start a small network from random numbers. You
# could also let it learn something first: from the labelled cells of another laboratory, from your own cells without labels, or
# from pictures of something else entirely. **What does each of these starts buy, and when does one buy nothing?**
#
# Both laboratories below are rendered, so a result here is about the methods on this rendering, not about patients.
# `XFERLAB_DATASET=other.npz:ours.npz` runs the same cells on your own.

# %%
import copy
import dataclasses
import math

import pandas as pd
import torch
import torch.nn.functional as F

import xferlab as xl
from xferlab.augment import ColorJitter, Flip, RandomResizedCrop, Rotate90, Stain
from xferlab.features import ridge_path
from xferlab.objectives.pretraining import nt_xent

lab = xl.lab.start("01")
other, ours = (xl.load(name) for name in lab.datasets("cells/site-b", "cells/site-a"))
xl.lab.show(
    xl.plots.contact_sheet(other.train, ours.test, per_class=6),
    alt="A row for each class; six labelled cells of the other laboratory on the left, six of ours on the right",
)


# %% [markdown]
# Small pictures and a small network, so that pretraining takes seconds: everything is shrunk to 28 px, the size of the original
# BloodMNIST, and the encoder is a LeNet with three input channels. Of our own laboratory pretraining sees the training pictures **without**
# labels. Five of each class are labelled, at random: that is a *draw*.


# %%
def shrunk(domain: xl.Domain, size: int = 28) -> xl.Domain:
    small = F.interpolate(domain.inputs.float(), (size, size), mode="bilinear", antialias=True)
    return dataclasses.replace(domain, inputs=small.round().clamp(0, 255).to(torch.uint8))


lectures, drawer, test = shrunk(other.train), shrunk(ours.train), shrunk(ours.test)
if lab.profile == "quick":
    lectures, drawer, test = lectures.take(per_class=12), drawer.take(per_class=12), test.take(per_class=4)
unlabelled = drawer.unlabeled()
print(lectures, unlabelled, test, sep="\n")

# %% [markdown]
# ## Tasks that need no label
#
# | start | what it learns | from |
# |---|---|---|
# | scratch | nothing: random weights | nowhere |
# | supervised elsewhere | the classes, with labels | the other laboratory |
# | SimCLR | two altered copies of a picture belong together, other pictures do not ([Chen et al., 2020](https://arxiv.org/abs/2002.05709)) | our unlabelled cells |
# | rotation | by how many quarter turns was this picture turned? ([Gidaris et al., 2018](https://arxiv.org/abs/1803.07728)) | our unlabelled cells |
# | masked pixels | what stood under the hidden patches? ([He et al., 2022](https://arxiv.org/abs/2111.06377), in a small convolutional form) | our unlabelled cells |
#
# Each task has a head of its own, which is thrown away; what stays is the encoder.
#
# ### SimCLR from its parts
# ![](drawings/simclr.svg)
#
# Take B pictures and two altered copies (*views*) of each. The encoder and its head make 2B vectors of them, scaled to length one, so
# that a dot product is a cosine `s`. The other view of the same picture is a vector's *partner*, the 2B - 2 views of other pictures are
# *strangers*. With a temperature `T`, the loss of vector i with partner j is
#
# `-log( exp(s_ij / T) / sum over k other than i of exp(s_ik / T) )`
#
# and the mean over all 2B is taken. It is a classification: among all the others, which one is your partner?
#
# ### Exercise 1: two pairs by hand
# Two pictures, two copies each, in the plane: picture one gives `(1, 0)` and `(1, 0)`, picture two gives `(0, 1)` and `(0, 1)`. The
# temperature is `T = 0.5`. What is the loss?

# %% tags=["exercise"] exercise="01.1"
loss = ...

# %% tags=["solution"] exercise="01.1"
loss = -math.log(math.exp(1 / 0.5) / (math.exp(1 / 0.5) + 2 * math.exp(0 / 0.5)))

# %% [markdown] tags=["solution"] exercise="01.1"
# Each vector has one partner, at cosine 1, and two strangers, at cosine 0. The loss is not zero although nothing could lie better than
# this in the first quadrant: only strangers that point *away* would make it smaller.

# %% tags=["wrong"] exercise="01.1" mistake="counts_itself"
loss = -math.log(math.exp(2) / (2 * math.exp(2) + 2))

# %% tags=["wrong"] exercise="01.1" mistake="no_temperature"
loss = -math.log(math.exp(1) / (math.exp(1) + 2))

# %% tags=["wrong"] exercise="01.1" mistake="one_stranger"
loss = -math.log(math.exp(2) / (math.exp(2) + 1))

# %% tags=["wrong"] exercise="01.1" mistake="partner_not_in_sum"
loss = -math.log(math.exp(2) / 2)

# %% [markdown] tags=["mistakes"] exercise="01.1"
# - counts_itself: The vector itself, at cosine 1, stands in your sum; leave it out.
# - no_temperature: Divide the cosines by the temperature, 0.5, before exp.
# - one_stranger: Both copies of the other picture are strangers: two, not one.
# - partner_not_in_sum: The partner belongs into the sum too, or the loss can be negative.
# - sum_not_mean: That is the sum over the four vectors; take the mean.

# %% [markdown] tags=["hints"] exercise="01.1"
# 1. Take one of the four vectors. How many others are there, and what is its cosine with each?
# 2. One other at cosine 1, two at cosine 0; divide cosines by 0.5, and leave the vector itself out of the sum.
# 3. `loss = -math.log(math.exp(2) / (math.exp(2) + 2))`

# %% tags=["check"] exercise="01.1"
xl.checks.check("01.1", loss)

# %% [markdown]
# ### Exercise 2: the loss as code
# Write `contrast(za, zb, temperature)` for two views `(B, D)` each, row i of one matching row i of the other. Scale to length one, keep
# every vector out of its own sum, and take the mean over all 2B.


# %% tags=["exercise"] exercise="01.2"
def contrast(za, zb, temperature): ...


# %% tags=["solution"] exercise="01.2"
def contrast(za, zb, temperature):
    z = F.normalize(torch.cat([za, zb]), dim=1)
    scores = (z @ z.T / temperature).fill_diagonal_(-math.inf)
    partner = torch.arange(len(z)).roll(len(za))
    return F.cross_entropy(scores, partner)


# %% tags=["wrong"] exercise="01.2" mistake="counts_itself"
def contrast(za, zb, temperature):
    z = F.normalize(torch.cat([za, zb]), dim=1)
    return F.cross_entropy(z @ z.T / temperature, torch.arange(len(z)).roll(len(za)))


# %% tags=["wrong"] exercise="01.2" mistake="not_normalised"
def contrast(za, zb, temperature):
    z = torch.cat([za, zb])
    scores = (z @ z.T / temperature).fill_diagonal_(-math.inf)
    return F.cross_entropy(scores, torch.arange(len(z)).roll(len(za)))


# %% tags=["wrong"] exercise="01.2" mistake="across_only"
def contrast(za, zb, temperature):
    za, zb = F.normalize(za, dim=1), F.normalize(zb, dim=1)
    return F.cross_entropy(za @ zb.T / temperature, torch.arange(len(za)))


# %% tags=["wrong"] exercise="01.2" mistake="neighbour_as_partner"
def contrast(za, zb, temperature):
    z = F.normalize(torch.cat([za, zb]), dim=1)
    scores = (z @ z.T / temperature).fill_diagonal_(-math.inf)
    return F.cross_entropy(scores, torch.arange(len(z)).roll(1))


# %% tags=["wrong"] exercise="01.2" mistake="zero_diagonal"
def contrast(za, zb, temperature):
    z = F.normalize(torch.cat([za, zb]), dim=1)
    scores = (z @ z.T / temperature).fill_diagonal_(0)
    return F.cross_entropy(scores, torch.arange(len(z)).roll(len(za)))


# %% [markdown] tags=["mistakes"] exercise="01.2"
# - counts_itself: Every vector competes with itself, at cosine 1: set the diagonal to -inf.
# - not_normalised: These are dot products; scale the vectors to length one to get cosines.
# - neighbour_as_partner: Row i's partner is row i + B; yours is the row beside it.
# - across_only: Only the other view's strangers are here; those of the same view count too.
# - zero_diagonal: A score of 0 still stands in the sum, as exp(0) = 1; use -inf.

# %% [markdown] tags=["hints"] exercise="01.2"
# 1. It is `F.cross_entropy` of a square table of scores; which column is right for row i?
# 2. Put the views under each other with `torch.cat`; the partner of row i is row i + B, counted round: `torch.arange(2B).roll(B)`.
# 3. `z = F.normalize(torch.cat([za, zb]), dim=1); return F.cross_entropy((z @ z.T / temperature).fill_diagonal_(-math.inf), torch.arange(len(z)).roll(len(za)))`

# %% tags=["check"] exercise="01.2"
xl.checks.check("01.2", contrast)

# %% [markdown]
# ### Exercise 3: what the temperature does
# The gradient pushes strangers away in proportion to `exp(s / T)`. A picture has two strangers, at cosine **0.9** and **0.5**. At
# `T = 0.1`, what share of the push goes to the nearer one?

# %% tags=["exercise"] exercise="01.3"
share = ...

# %% tags=["solution"] exercise="01.3"
share = math.exp(0.9 / 0.1) / (math.exp(0.9 / 0.1) + math.exp(0.5 / 0.1))

# %% [markdown] tags=["solution"] exercise="01.3"
# At `T = 1` it would be 0.6. A low temperature works on the nearest strangers alone. Among cells the nearest stranger is often
# a cell of the same class, so colder is not always better.

# %% tags=["wrong"] exercise="01.3" mistake="no_temperature"
share = math.exp(0.9) / (math.exp(0.9) + math.exp(0.5))

# %% tags=["wrong"] exercise="01.3" mistake="cosines_as_shares"
share = 0.9 / (0.9 + 0.5)

# %% tags=["wrong"] exercise="01.3" mistake="the_other_one"
share = math.exp(5) / (math.exp(9) + math.exp(5))

# %% tags=["wrong"] exercise="01.3" mistake="not_a_share"
share = math.exp(0.9 / 0.1)

# %% [markdown] tags=["mistakes"] exercise="01.3"
# - no_temperature: That is at T = 1; divide the cosines by 0.1 first.
# - cosines_as_shares: The push is proportional to exp(s / T), not to the cosine.
# - the_other_one: That is the share of the stranger at 0.5; the nearer one gets the rest.
# - not_a_share: That is the push itself; divide it by the sum of both.

# %% [markdown] tags=["hints"] exercise="01.3"
# 1. Two numbers proportional to `exp(s / T)`; which share is the first of their sum?
# 2. The exponents are 0.9 / 0.1 = 9 and 0.5 / 0.1 = 5.
# 3. `share = math.exp(9) / (math.exp(9) + math.exp(5))`

# %% tags=["check"] exercise="01.3"
xl.checks.check("01.3", share)

# %% [markdown]
# ## What counts as the same picture
# SimCLR is told what does not matter: whatever the two copies differ in. Below, three ways to alter a cell. *Geometry* turns, mirrors
# and zooms. *Light colours* (light as in slight) also varies stain and lamp, now and then enough to bleach a cell. *Any colour* changes
# the colours so much that they say nothing.

# %%
geometry = [Flip(True, True), Rotate90(), RandomResizedCrop((0.5, 1.0))]
views = {
    "geometry": geometry,
    "light colours": [*geometry, Stain(0.25, "giemsa"), ColorJitter(0.2, 0.2, 0.2, 0.05)],
    "any colour": [*geometry, Stain(0.5, "giemsa"), ColorJitter(0.5, 0.5, 1.0, 0.4)],
}
cell = drawer.inputs[1].expand(10, -1, -1, -1)
xl.lab.show(
    xl.plots.images(
        {name: xl.augment.apply(pipeline, cell, torch.Generator().manual_seed(0)) for name, pipeline in views.items()}
    ),
    alt="Ten altered copies of one cell for each of three ways to alter it",
)

# %% [markdown]
# ### Predict
# With five labels a class and then fine-tuning: which start is best on our test cells?

# %% tags=["exercise"] exercise="01.p1"
starts = ["scratch", "supervised elsewhere", "SimCLR", "rotation", "masked pixels"]
guess = ...  # one of these five
xl.checks.predict("01.p1", guess, options=starts)

# %% tags=["solution"] exercise="01.p1"
starts = ["scratch", "supervised elsewhere", "SimCLR", "rotation", "masked pixels"]
guess = "supervised elsewhere"
xl.checks.predict("01.p1", guess, options=starts)

# %% [markdown]
# ## The experiment
# Every start gets the same network, the same number of pretraining steps and the same two uses. A *linear probe* leaves the encoder as it
# is and fits only a linear layer on its features (here by ridge regression); *fine-tuning* trains encoder and head further. A draw also
# draws the first weights and the batches anew. Draw 0 of three starts runs now; the rest was measured earlier with this code.
#
# Fine-tuning alters the labelled cells too, or scratch would be poorer by an augmentation. It is done twice: *fine-tuned* with gentle
# alterations, the better for scratch of two tried on validation cells, *fine-tuned heavier* with those of SimCLR. A gain that shows
# only in *fine-tuned heavier* comes from a baseline that was held back.
#
# Chosen on **validation** cells with other draws: SimCLR's zoom (three tried), temperature (two) and steps (three, with the time a lab
# may take in mind), fine-tuning's rate (three). The other starts got what SimCLR got. The test cells are looked at once per run, at its end.
#
# Three more starts join for later: SimCLR with *any colour*, and two that come from too far away, digits and **random labels**.

# %%
pretraining = dict(
    steps=lab.scale(quick=3, lab=400, full=5000), batch_size=lab.scale(quick=32, lab=64, full=256), lr=2e-3
)
tuning = dict(steps=lab.scale(quick=3, lab=100, full=500), batch_size=40, lr=1e-3)
digits = xl.load("digits/mnist").train
nonsense = torch.randint(len(drawer.classes), (len(drawer),), generator=torch.Generator().manual_seed(0))
mild = views["light colours"]
gentle = [Flip(True, True), Rotate90(), RandomResizedCrop((0.7, 1.0)), Stain(0.2, "giemsa")]

# name: (pictures, objectives, alterations)
tasks = {
    "scratch": None,
    "supervised elsewhere": (lectures, lambda: [xl.CrossEntropy()], mild),
    "SimCLR": (unlabelled, lambda: [xl.SimCLR(temperature=0.2)], mild),
    "rotation": (unlabelled, lambda: [xl.RotationPrediction(copies=1)], [geometry[-1]]),
    "masked pixels": (unlabelled, lambda: [xl.MaskedAutoencoder(patch=7)], geometry),
    "SimCLR, any colour": (unlabelled, lambda: [xl.SimCLR(temperature=0.2)], views["any colour"]),
    "digits": (digits, lambda: [xl.CrossEntropy()], xl.augment.digits()),
    "random labels": (dataclasses.replace(drawer, labels=nonsense), lambda: [xl.CrossEntropy()], None),
}


def pretrained(task, seed: int) -> xl.Encoder:
    encoder = xl.encoder("lenet", channels=3, size=28, seed=seed)
    if task:
        pictures, objectives, altered = task
        xl.fit(
            xl.Classifier(encoder, pictures.classes, seed=seed),
            pictures,
            objectives=objectives(),
            augment=altered,
            views={"strong": altered},
            seed=seed,
            progress_bar=lab.shows_progress,
            **pretraining,
        )
    return encoder


def balanced(predicted, labels) -> float:
    recalls = [(predicted[labels == k] == k).float().mean() for k in labels.unique()]
    return torch.stack(recalls).mean().item()


def probed(encoder, labelled) -> float:
    """Balanced accuracy of a linear probe: ridge regression whose strength leave-one-out chooses."""
    known, asked = (xl.embed(encoder, part, cache=False) for part in (labelled, test))
    center, scale = known.mean(0), known.std(0) + 0.01 * known.std()
    path = ridge_path((known - center) / scale, labelled.labels, classes=len(labelled.classes))
    return balanced(path.scores((asked - center) / scale).argmax(1), test.labels)


def measure(encoder, seed: int) -> dict:
    """A linear probe and everything fine-tuned, twice, at five labels a class; and the recall of each class."""
    labelled = drawer.take(per_class=5, seed=seed)
    row = {"probe": probed(encoder, labelled)}
    for column, altered in {"fine-tuned heavier": mild, "fine-tuned": gentle}.items():
        model = xl.Classifier(copy.deepcopy(encoder), drawer.classes, seed=seed)
        xl.fit(model, labelled, augment=altered, seed=seed, progress_bar=False, **tuning)
        scores = xl.evaluate(model, test)
        row[column] = scores.balanced_accuracy
    share = scores.confusion / scores.confusion.sum(1, keepdims=True)
    return row | dict(zip(scores.classes, share.diagonal().tolist()))


# %%
kept = {}


def run(name: str, draw: int) -> dict:
    encoder = pretrained(tasks[name], draw)
    if draw == 0 and name in ("scratch", "SimCLR"):
        kept[name] = xl.embed(encoder, test, cache=False)
    return {"start": name, "draw": draw, **measure(encoder, draw)}


# in the lab profile three starts run now and the others are read from the file, to stay inside two minutes
some = lab.profile == "lab" and not lab.records
live = ("scratch", "supervised elsewhere", "SimCLR") if some else tasks
rows = [run(name, draw) for draw in lab.draws(5) for name in live]
rows = lab.pooled(f"starts_{other.name}_{ours.name}", rows, by=("start", "draw"))
rows += [run(name, 0) for name in tasks if name not in {row["start"] for row in rows}]  # no file for your own data

# %% [markdown]
# Two runs of one draw share its luck: the same labelled cells. So a start is compared with scratch **within** a draw. *Separated* means
# that the 95 % t-interval of this paired difference leaves out zero; fewer than five draws separate nothing.

# %% tags=["results"]
table = pd.DataFrame(rows)
mean = table.groupby("start", sort=False)[["probe", "fine-tuned", "fine-tuned heavier"]].mean()
print(
    f"{ours.name}, 5 labels a class, balanced accuracy on {len(test)} test cells, mean of {table.draw.nunique()} draw(s)"
)
print(mean.round(3).to_string())
gains = {}
for column in ("fine-tuned", "fine-tuned heavier", "probe"):
    gains[column] = xl.evaluation.paired(rows, column, "scratch", by="start")
    print(f"\n{column}: gain over scratch within a draw, with its 95 % interval")
    print(pd.DataFrame(gains[column]).round(3).to_string(index=False))

# %%
xl.lab.show(
    xl.plots.bars(mean.to_dict(), xlabel="start", ylabel="balanced accuracy"),
    alt="Balanced accuracy of a linear probe and of fine-tuning at five labels a class, for each start",
)
xl.checks.reveal("01.p1", mean.loc[starts, "fine-tuned"].idxmax())
for column, found in gains.items():
    simclr = next(gain for gain in found if gain["start"] == "SimCLR")
    interval = xl.evaluation.format_interval(*(simclr[key] for key in ("gain", "low", "high")), "+")
    print(f"SimCLR against scratch, {column}: {interval}, {simclr['verdict']}.")

# %% [markdown]
# A probe shows what a start *knows*; fine-tuning shows what it is *worth* once five labels a class may change everything. A start can be good
# at one and no help at the other. Where fine-tuning from unlabelled cells gains little over scratch, or loses, these are the suspects:
#
# - The baseline is strong: with gentle alterations a small network reads colour and size from forty cells by itself.
# - SimCLR was told that zoom and light colours do not matter, and here they are part of the answer.
# - A thousand pictures, a small network and a few hundred steps are little for a task that lives on much.
# - What a start learnt for another task has to be unlearnt, in the same few steps; random weights have nothing to unlearn.
#
# Five draws see a gain only if it is larger than what draws differ by: read the width of the interval.
#
# Rotation deserves a second look: a cell under a microscope has no up side. What is left for it to learn are the camera's and the
# slide's traces, if there are any. On pictures with an up side, such as chest X-rays, the same task asks for more.
#
# ## How much unlabelled data?
# The same SimCLR with fewer cells in the drawer, and the supervised start with fewer labelled cells from elsewhere; all with the same
# number of steps, so a small drawer is looked through more often. Three draws
# (five for the whole drawer) separate nothing: read the intervals before the lines.

# %%
amounts = lab.scale(quick=(40,), lab=(80, 300), full=(80, 300, 1000, 3000))
amounts = [n for n in amounts if n < min(len(drawer), len(lectures))]
curve = []
for draw in lab.draws(3):
    for n in amounts:
        for name in ("supervised elsewhere", "SimCLR"):
            if some and (name, n) != ("supervised elsewhere", amounts[0]):
                continue  # one point now, the others from the file
            pictures, objectives, altered = tasks[name]
            task = (pictures.take(n=n, seed=draw), objectives, altered)
            probe = probed(pretrained(task, draw), drawer.take(per_class=5, seed=draw))
            curve.append({"start": name, "pictures": n, "draw": draw, "probe": probe})
curve = lab.pooled(f"amounts_{other.name}_{ours.name}", curve, by=("start", "pictures", "draw"))
whole = {"supervised elsewhere": len(lectures), "SimCLR": len(drawer)}
curve += [row | {"pictures": whole[row["start"]]} for row in rows if row["start"] in whole]
xl.lab.show(
    xl.plots.curves(
        curve, x="pictures", y="probe", by="start", xlabel="pictures to pretrain on", ylabel="balanced accuracy, probe"
    ),
    alt="Balanced accuracy of a probe at five labels a class against the number of pictures the encoder was pretrained on",
)
print(
    pd.DataFrame(curve).pivot_table(index="start", columns="pictures", values="probe", sort=False).round(3).to_string()
)
print(f"Scratch, for comparison: {mean.probe['scratch']:.3f}")

# %% [markdown]
# ## Diagnose: agreement alone
# The numerator of SimCLR's loss pulls partners together, its denominator pushes strangers apart. What if you leave the push out, since
# "we only want partners to agree"? Below, the same network with the pull alone.


# %%
class PullOnly(xl.SimCLR):
    """SimCLR without strangers: one minus the cosine of partners."""

    def forward(self, step):
        za, zb = (self.projection(batch.features) for batch in (step.source, step.view("strong", "source")))
        return 1 - F.cosine_similarity(za, zb).mean()


encoder = xl.encoder("lenet", channels=3, size=28, seed=0)
pull = xl.fit(
    xl.Classifier(encoder, drawer.classes),
    unlabelled,
    objectives=[PullOnly()],
    augment=mild,
    views={"strong": mild},
    progress_bar=lab.shows_progress,
    **(pretraining | {"steps": lab.scale(quick=3, lab=60, full=500)}),
)
kept["pull only"] = xl.embed(encoder, test, cache=False)
first, last = (pull.history[at]["PullOnly"] for at in (0, -1))
print(f"Pull only: loss {first:.3f} at the start, {last:.4f} at the end; 0 is perfect.")

# %% [markdown]
# ### Exercise 4: measure the collapse
# Write `spread(z)` for features `(N, D)`: scale each **row** to length one, take the standard deviation of each dimension over the
# pictures (`correction=0`), average over the dimensions, and multiply by `sqrt(D)`. It is near 1 when vectors point everywhere, and 0 when
# all point the same way. (After a ReLU, as here, no number is negative and 1 is out of reach.)


# %% tags=["exercise"] exercise="01.4"
def spread(z): ...


# %% tags=["solution"] exercise="01.4"
def spread(z):
    unit = F.normalize(z, dim=1)
    return unit.std(0, correction=0).mean() * z.shape[1] ** 0.5


# %% tags=["wrong"] exercise="01.4" mistake="not_normalised"
def spread(z):
    return z.std(0, correction=0).mean() * z.shape[1] ** 0.5


# %% tags=["wrong"] exercise="01.4" mistake="over_dimensions"
def spread(z):
    return F.normalize(z, dim=1).std(1, correction=0).mean() * z.shape[1] ** 0.5


# %% tags=["wrong"] exercise="01.4" mistake="no_scale"
def spread(z):
    return F.normalize(z, dim=1).std(0, correction=0).mean()


# %% [markdown] tags=["mistakes"] exercise="01.4"
# - not_normalised: A long vector counts for more here; scale each row to length one first.
# - over_dimensions: This is the deviation within a vector. Two equal vectors have it too: go over the pictures.
# - no_scale: Right but for sqrt(D): without it, more dimensions look like a collapse.

# %% [markdown] tags=["hints"] exercise="01.4"
# 1. Collapse means that *pictures* do not differ. Over which axis do you take the deviation?
# 2. `F.normalize(z, dim=1)` scales rows; `.std(0, correction=0)` is over pictures, a number a dimension.
# 3. `return F.normalize(z, dim=1).std(0, correction=0).mean() * z.shape[1] ** 0.5`

# %% tags=["check"] exercise="01.4"
xl.checks.check("01.4", spread)


# %% [markdown]
# The next cell measures it, whatever you wrote, with a second number beside it: *uniformity*
# ([Wang & Isola, 2020](https://arxiv.org/abs/2005.10242)), `log mean exp(-2 |x - y|^2)` over pairs of pictures. It is 0 when all
# vectors are the same and falls as they spread out. The last column is SimCLR's loss if both views agreed perfectly, so that only
# the push is left in it; `log(2N - 1)` for N pictures is a full collapse.


# %%
def diagnosis(z) -> dict:
    unit = F.normalize(z, dim=1)
    apart = torch.pdist(unit).square()
    return {
        "spread": (unit.std(0, correction=0).mean() * z.shape[1] ** 0.5).item(),
        "uniformity": (-2 * apart).exp().mean().log().item(),
        "loss if views agreed": nt_xent(z, z, 0.2).item(),
    }


seen = pd.DataFrame({name: diagnosis(z) for name, z in kept.items()}).T
print(seen.round(3).to_string())
print(f"Full collapse, {len(test)} pictures: loss {math.log(2 * len(test) - 1):.3f}.")
print(f"Least spread: {seen.spread.idxmin()}, {seen.spread.min() / seen.spread['SimCLR']:.0%} of SimCLR's.")

# %% [markdown]
# A loss near its optimum says nothing by itself: look at the spread of the features, or at a probe. Methods without strangers (BYOL,
# SimSiam, VICReg) each have a device that keeps this solution away.
#
# ## The trap: told not to look at what matters
# *Any colour* tells SimCLR that colour does not matter. For some classes the colour of granules is the label. The recall of each
# class (the share of its cells that is found), fine-tuned from either SimCLR:

# %%
recall = table.groupby("start")[list(drawer.classes)].mean().loc[["SimCLR", "SimCLR, any colour"]].T
recall["change"] = recall["SimCLR, any colour"] - recall["SimCLR"]
print(recall.round(3).to_string())
print(f"Most lost: {recall.change.idxmin()} ({recall.change.min():+.3f}), mean {recall.change.mean():+.3f}.")
against = [row for row in rows if row["start"].startswith("SimCLR")]
for column in ("fine-tuned", "probe"):
    any_colour = xl.evaluation.paired(against, column, "SimCLR", by="start")[0]
    interval = xl.evaluation.format_interval(any_colour["gain"], any_colour["low"], any_colour["high"], "+")
    print(f"{column}: any colour against light colours {interval}, {any_colour['verdict']}.")

# %% [markdown]
# ### Exercise 5: which alteration erases the label?
# An alteration of the two views makes the encoder blind to what it alters. Where is that what you asked for, and where is it the
# label? Give the set of letters for which the alteration **can erase the label**.
#
# - a: grey pictures; eosinophils (orange granules) against neutrophils
# - b: quarter turns; cells under a microscope
# - c: half turns; the digits 6 and 9
# - d: zooms of a factor of three; platelets against lymphocytes, told apart by size in a standard crop
# - e: slight changes of the stain; lymphocytes against monocytes, by the shape of the nucleus

# %% tags=["exercise"] exercise="01.5"
erases = ...  # a set of letters, such as {"b", "e"}

# %% tags=["solution"] exercise="01.5"
erases = {"a", "c", "d"}

# %% [markdown] tags=["solution"] exercise="01.5"
# The choice of alterations is where SimCLR, "without labels", is told about the labels after all. Make it with a person who knows
# what tells the classes apart, or check it with a probe on validation labels.

# %% tags=["wrong"] exercise="01.5" mistake="size_forgotten"
erases = {"a", "c"}

# %% tags=["wrong"] exercise="01.5" mistake="cells_have_no_up"
erases = {"a", "b", "c", "d"}

# %% tags=["wrong"] exercise="01.5" mistake="stain_is_not_the_label"
erases = {"a", "c", "d", "e"}

# %% tags=["wrong"] exercise="01.5" mistake="turned_round"
erases = {"b", "e"}

# %% [markdown] tags=["mistakes"] exercise="01.5"
# - turned_round: These are the harmless ones; the question asks for those that erase.
# - cells_have_no_up: A cell on a slide has no up side: turning it changes nothing that is asked.
# - stain_is_not_the_label: The shape of a nucleus survives a slight change of stain.
# - size_forgotten: In a standard crop a platelet is told by being small; a zoom takes that away.

# %% [markdown] tags=["hints"] exercise="01.5"
# 1. For each, finish the sentence: "the two classes differ in ..., and the alteration changes ...".
# 2. Colour, orientation and size are each the label once.
# 3. `erases = {"a", "c", "d"}`

# %% tags=["check"] exercise="01.5"
xl.checks.check("01.5", erases)

# %% [markdown]
# ## When it hurts: a source too far away
# Two starts with plenty of labels that have nothing to do with cells: handwritten digits, and our own cells under **random** labels,
# which can only be learnt by heart. Beside them ImageNet: another, larger network (EfficientNet-Lite0 at 64 px), frozen and probed, so it
# may be compared as a tool that one can take off the shelf, and not as a start of the same network.

# %%
frozen = xl.encoder("efficientnet_lite0", size=64)
shelf = ours.test.take(per_class=4) if lab.profile == "quick" else ours.test
asked = xl.embed(frozen, shelf)
off_the_shelf = []
for draw in range(5 if lab.profile != "quick" else 1):  # a frozen encoder: a further draw costs a probe
    labelled = ours.train.take(per_class=5, seed=draw)
    known = xl.embed(frozen, labelled)
    path = ridge_path(known, labelled.labels, classes=len(labelled.classes))
    score = balanced(path.scores(asked).argmax(1), shelf.labels)
    off_the_shelf.append({"start": "ImageNet, frozen", "draw": draw, "probe": score})
far = ["scratch", "digits", "random labels", "supervised elsewhere", "SimCLR"]
together = [{key: row[key] for key in ("start", "draw", "probe")} for row in rows if row["start"] in far]
together += [row for row in off_the_shelf if row["draw"] in set(table.draw)]
distance = xl.evaluation.paired(together, "probe", "scratch", by="start")
print("Probe: gain over the same network's random features, within a draw")
print(pd.DataFrame(distance).sort_values("gain").round(3).to_string(index=False))
tuned = {gain["start"]: gain for gain in gains["fine-tuned"]}
for name in ("digits", "random labels"):
    interval = xl.evaluation.format_interval(*(tuned[name][key] for key in ("gain", "low", "high")), "+")
    harm = (
        "hurts"
        if tuned[name]["high"] < 0
        else "helps"
        if tuned[name]["low"] > 0
        else "neither shown to help nor to hurt"
    )
    print(f"Fine-tuned from {name}: {interval} against scratch, {tuned[name]['verdict']}: {harm}.")

# %% [markdown]
# Whether a start is near or far cannot be read off its name or its size: scratch has to stand in the table. And mind what a far start
# costs even where it does no harm: you trained it, you must document it, and a probe on random features was free.
#
# ## Quiz

# %% [markdown] tags=["quiz"]
# ### A start beats scratch by 0.10 with a probe and by 0.00 after fine-tuning. What do you know?
# - [ ] Pretraining failed.
#   Its features are better by 0.10; that was measured.
# - [x] It knows more than random features, but fine-tuning gets there from scratch as well.
#   Yes. Which of the two you need depends on whether the encoder may move.
# - [ ] Fine-tuning destroyed the features.
#   Possible, but then it would also have ended below its own probe. Compare those two numbers.

# %% [markdown] tags=["quiz"]
# ### In SimCLR, two cells of the same class are in one batch. What does the loss do with them?
# - [ ] It pulls them together, since they are alike.
#   It does not know the class; only copies of one picture are partners.
# - [x] It pushes them apart, like any two pictures.
#   Yes: false strangers. The fewer the classes, the more of them a batch holds.
# - [ ] Nothing: pairs of a class are left out.
#   For that it would need labels.

# %% [markdown] tags=["quiz"]
# ### The pretraining loss of A is lower than that of B. Which start is better?
# - [ ] A, since it learnt its task better.
#   Partners that agree because everything is the same have a loss near zero, if nothing pushes.
# - [ ] B, since an easy task teaches little.
#   Sometimes, but the loss does not show that either.
# - [x] It cannot be told: measure a probe, with labels that are not the test's.
#   Yes. Losses of different tasks, or of different alterations, have no common scale.

# %% tags=["nbval-check-output"]
print("A start is worth what it beats.")

# %% [markdown]
# ## Recap
# - Put scratch, with the same augmentation, beside every pretrained start, and compare within draws.
# - A task without labels teaches what its alterations leave over. They are a statement about the classes.
# - Look at the spread of features and at a probe; a pretraining loss alone hides a collapse.
# - A source can be too far away, and random labels show what "pretraining" brings when the labels mean nothing.
# - Which of this is separated on this data, the tables above say; of the rest nothing was shown.
#
# ### Papers
# - Gidaris et al., 2018, *Unsupervised representation learning by predicting image rotations* [arXiv:1803.07728](https://arxiv.org/abs/1803.07728)
# - Chen et al., 2020, *A simple framework for contrastive learning of visual representations* [arXiv:2002.05709](https://arxiv.org/abs/2002.05709)
# - Wang & Isola, 2020, *Understanding contrastive representation learning through alignment and uniformity* [arXiv:2005.10242](https://arxiv.org/abs/2005.10242)
# - He et al., 2022, *Masked autoencoders are scalable vision learners* [arXiv:2111.06377](https://arxiv.org/abs/2111.06377)
# - Maennel et al., 2020, *What do neural networks learn when trained with random labels?* [arXiv:2006.10455](https://arxiv.org/abs/2006.10455)
# - Raghu et al., 2019, *Transfusion: understanding transfer learning for medical imaging* [arXiv:1902.07208](https://arxiv.org/abs/1902.07208)
#
# ### The same on your own data
# `XFERLAB_DATASET=elsewhere:ours`, each a folder with one folder of pictures a class, or a `.npz`. The two need not have the same classes:
# heads are thrown away. At 28 px much is lost that matters in real pictures; raise the size in `shrunk` and in the encoder once it runs.
# Nothing here is for clinical use.
