# %% [markdown]
# ## The question
# Your laboratory has a drawer full of cells, and labels for five of each class. You could start a small network from random numbers, or let
# it learn something first: from the labeled cells of another laboratory, from your own cells without labels, or from pictures of something
# else entirely. **What does each of these starts buy you, and when does one buy nothing?**
#
# Both laboratories below are rendered, so a result here is about the methods on this rendering and not about patients.
# `XFERLAB_DATASET=other.npz:ours.npz` runs the same cells on your own data.

# %%
import copy
import dataclasses
import math

import torch
import torch.nn.functional as F

import xferlab as xl
from xferlab.augment import ColorJitter, Flip, RandomResizedCrop, Rotate90, Stain
from xferlab.features import ridge_path
from xferlab.objectives.pretraining import nt_xent

# %%
lab = xl.lab.start("01")
other, ours = (xl.load(name) for name in lab.datasets("cells/site-b", "cells/site-a"))
xl.lab.show(
    xl.plots.contact_sheet(other.train, ours.test, per_class=6),
    alt="A row for each class; six labeled cells of the other laboratory on the left, six of ours on the right",
)


# %% [markdown]
# We use small pictures and a small network, so that pretraining takes seconds. Everything is shrunk to 28 pixels, the size of the
# original BloodMNIST, and the encoder is a LeNet with three input channels. From our own laboratory, pretraining sees the training
# pictures **without** labels. Five pictures of each class are labeled, at random; that is a *draw*.


# %%
def shrunk(domain: xl.Domain, size: int = 28) -> xl.Domain:
    small = F.interpolate(domain.inputs.float(), (size, size), mode="bilinear", antialias=True)
    return dataclasses.replace(domain, inputs=small.round().clamp(0, 255).to(torch.uint8))


elsewhere, drawer, test = shrunk(other.train), shrunk(ours.train), shrunk(ours.test)
if lab.profile == "quick":
    elsewhere, drawer, test = elsewhere.take(per_class=12), drawer.take(per_class=12), test.take(per_class=4)
unlabeled = drawer.unlabeled()
print(elsewhere, unlabeled, test, sep="\n")

# %% [markdown]
# ## Tasks that need no label
#
# | start | what it learns | from |
# |---|---|---|
# | scratch | nothing: random weights | nowhere |
# | supervised elsewhere | the classes, with labels | the other laboratory |
# | SimCLR | two altered copies of a picture belong together, other pictures do not ([Chen et al., 2020](https://arxiv.org/abs/2002.05709)) | our unlabeled cells |
# | rotation | by how many quarter turns was this picture turned? ([Gidaris et al., 2018](https://arxiv.org/abs/1803.07728)) | our unlabeled cells |
# | masked pixels | what stood under the hidden patches? ([He et al., 2022](https://arxiv.org/abs/2111.06377), in a small convolutional form) | our unlabeled cells |
#
# Each task has a last layer of its own, its *head*. After pretraining you throw the head away and keep the encoder.
#
# ### SimCLR from its parts
# ![](drawings/simclr.svg)
#
# Take B pictures and two altered copies (*views*) of each. The encoder and its head turn them into 2B vectors, which are scaled to length
# one, so that a dot product is a cosine `s`. A vector's *partner* is the other view of the same picture. Its *strangers* are the 2B - 2
# views of other pictures. With a temperature `T`, the loss of vector i with partner j is
#
# `-log( exp(s_ij / T) / sum over k other than i of exp(s_ik / T) )`
#
# and the whole loss is the mean over all 2B vectors. Each vector solves a classification: which of all the others is its partner?
#
# ### Exercise 1: two pairs by hand
# There are two pictures with two copies each, and their vectors lie in the plane. Picture one gives `(1, 0)` twice, and picture two
# gives `(0, 1)` twice. The temperature is `T = 0.5`. What is the loss?

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
# - partner_not_in_sum: The partner belongs in the sum too; without it the loss can be negative.
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


# %% tags=["wrong"] exercise="01.2" mistake="not_normalized"
def contrast(za, zb, temperature):
    z = torch.cat([za, zb])
    scores = (z @ z.T / temperature).fill_diagonal_(-math.inf)
    return F.cross_entropy(scores, torch.arange(len(z)).roll(len(za)))


# %% tags=["wrong"] exercise="01.2" mistake="across_only"
def contrast(za, zb, temperature):
    za, zb = F.normalize(za, dim=1), F.normalize(zb, dim=1)
    return F.cross_entropy(za @ zb.T / temperature, torch.arange(len(za)))


# %% tags=["wrong"] exercise="01.2" mistake="neighbor_as_partner"
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
# - not_normalized: These are dot products; scale the vectors to length one to get cosines.
# - neighbor_as_partner: Row i's partner is row i + B; yours is the row beside it.
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
# With the two copies you tell SimCLR that whatever they differ in does not matter. Below are three ways to alter a cell. *Geometry* turns,
# mirrors and zooms. *Light colors* also varies the stain and the lamp a little, and now and then it bleaches a cell. *Any color* changes
# the colors so much that they say nothing; where the row seems to have a gap, the whole picture turned white.

# %%
geometry = [Flip(True, True), Rotate90(), RandomResizedCrop((0.5, 1.0))]
views = {
    "geometry": geometry,
    "light colors": [*geometry, Stain(0.25, "giemsa"), ColorJitter(0.2, 0.2, 0.2, 0.05)],
    "any color": [*geometry, Stain(0.5, "giemsa"), ColorJitter(0.5, 0.5, 1.0, 0.4)],
}
cell, rows = drawer.inputs[1].expand(10, -1, -1, -1), {}
for name, pipeline in views.items():
    rows[name] = xl.augment.apply(pipeline, cell, torch.Generator().manual_seed(0))
xl.lab.show(xl.plots.images(rows), alt="Ten altered copies of one cell for each of three ways to alter it")

# %% [markdown]
# ### Predict
# Each start is fine-tuned with five labels a class. Which start is best on our test cells?

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
# is and fits only a linear layer on its features (here by ridge regression). *Fine-tuning* trains encoder and head further. Every draw
# has its own labeled cells, its own first weights and its own batches. The first draw of scratch and of SimCLR runs now, and the rest was
# measured earlier with this code.

# %%
pretraining = dict(
    steps=lab.scale(quick=3, lab=400, full=5000), batch_size=lab.scale(quick=32, lab=64, full=256), lr=2e-3
)
tuning = dict(steps=lab.scale(quick=3, lab=100, full=500), batch_size=40, lr=1e-3)
digits = xl.load("digits/mnist").train
nonsense = torch.randint(len(drawer.classes), (len(drawer),), generator=torch.Generator().manual_seed(0))
mild = views["light colors"]
gentle = [Flip(True, True), Rotate90(), RandomResizedCrop((0.7, 1.0)), Stain(0.2, "giemsa")]

# %%
# name: (pictures, objectives, alterations)
tasks = {
    "scratch": None,
    "supervised elsewhere": (elsewhere, lambda: [xl.CrossEntropy()], mild),
    "SimCLR": (unlabeled, lambda: [xl.SimCLR(temperature=0.2)], mild),
    "rotation": (unlabeled, lambda: [xl.RotationPrediction(copies=1)], [geometry[-1]]),
    "masked pixels": (unlabeled, lambda: [xl.MaskedAutoencoder(patch=7)], geometry),
    "SimCLR, any color": (unlabeled, lambda: [xl.SimCLR(temperature=0.2)], views["any color"]),
    "digits": (digits, lambda: [xl.CrossEntropy()], xl.augment.digits()),
    "random labels": (dataclasses.replace(drawer, labels=nonsense), lambda: [xl.CrossEntropy()], None),
}


# %%
def pretrained(task, seed: int) -> xl.Encoder:
    encoder = xl.encoder("lenet", channels=3, size=28, seed=seed)
    if task:
        pictures, objectives, altered = task
        model = xl.Classifier(encoder, pictures.classes, seed=seed)
        how = dict(objectives=objectives(), augment=altered, views={"strong": altered}, seed=seed)
        xl.fit(model, pictures, progress_bar=lab.shows_progress, **how, **pretraining)
    return encoder


def balanced(predicted, labels) -> float:
    return torch.stack([(predicted[labels == k] == k).float().mean() for k in labels.unique()]).mean().item()


# %%
def probed(encoder, labeled) -> float:
    """Balanced accuracy of a linear probe: ridge regression whose strength leave-one-out chooses."""
    known, asked = (xl.embed(encoder, part, cache=False) for part in (labeled, test))
    center, scale = known.mean(0), known.std(0) + 0.01 * known.std()
    path = ridge_path((known - center) / scale, labeled.labels, classes=len(labeled.classes))
    return balanced(path.scores((asked - center) / scale).argmax(1), test.labels)


def fine_tuned(encoder, labeled, altered, seed: int):
    model = xl.Classifier(copy.deepcopy(encoder), drawer.classes, seed=seed)
    xl.fit(model, labeled, augment=altered, seed=seed, progress_bar=False, **tuning)
    return xl.evaluate(model, test)


# %%
kept = {}  # features, for the diagnosis below


def trial(start: str, draw: int) -> dict:
    encoder, labeled = pretrained(tasks[start], draw), drawer.take(per_class=5, seed=draw)
    if draw == 0 and start in ("scratch", "SimCLR"):
        kept[start] = xl.embed(encoder, test, cache=False)
    heavier, scores = (fine_tuned(encoder, labeled, altered, draw) for altered in (mild, gentle))
    recalls = scores.confusion.diagonal() / scores.confusion.sum(1)
    row = {"fine-tuned": scores.balanced_accuracy, "fine-tuned heavier": heavier.balanced_accuracy}
    return row | {"probe": probed(encoder, labeled)} | dict(zip(scores.classes, recalls.tolist()))


# %%
title = f"{ours.name}, 5 labels a class"
results = lab.experiment(
    f"starts_{other.name}_{ours.name}",
    trial,
    start=list(tasks),
    earlier=[name for name in tasks if name not in ("scratch", "SimCLR")],  # read from the file, to save you minutes
    title=title,
)

# %% [markdown]
# Two runs of one draw have the same labeled cells, so they are lucky or unlucky together. Therefore compare a start with scratch **within**
# a draw. *Separated* means that the 95 % interval of this paired difference leaves out zero. With fewer than five draws, nothing is
# called separated.
#
# *Fine-tuned* alters the labeled cells gently, a little zoom and stain. *Fine-tuned heavier* alters them like *light colors* above.

# %% tags=["results"]
results.table("fine-tuned", "fine-tuned heavier", "probe", over="scratch")

# %%
results.gains("fine-tuned", "probe", over="scratch")

# %%
bets = results.only(start=starts)
xl.checks.reveal("01.p1", bets.best("fine-tuned"), bets.tied("fine-tuned"))

# %% [markdown]
# A probe shows what a start *knows*. Fine-tuning shows what it is *worth* once five labels a class may change everything. A start can be
# good for one and useless for the other. Where fine-tuning from unlabeled cells gains little over scratch, or loses, there are four
# suspects:
#
# - The baseline is strong. With gentle alterations a small network reads color and size from forty cells by itself.
# - You told SimCLR that zoom and light colors do not matter, and here they are part of the answer.
# - SimCLR needs many pictures, a large network and many steps. It had a thousand pictures, a small network and a few hundred steps.
# - What a start learned for another task has to be unlearned in the same few steps. Random weights have nothing to unlearn.
#
# Five draws can only show a gain that is larger than the differences between draws, so look at the width of the interval.
#
# Look at rotation once more. A cell under a microscope has no up side, so the task can only teach traces of the camera and the slide. On
# pictures with an up side, such as chest X-rays, the same task has more to teach.
#
# ## How much unlabeled data?
# Here is the same SimCLR with fewer cells in the drawer, and the supervised start with fewer labeled cells from elsewhere. All of them get
# the same number of steps, so a small drawer is looked through more often. Three draws (five for the whole drawer) separate nothing, so
# read the intervals before the lines.

# %%
amounts = lab.scale(quick=(40,), lab=(80, 300), full=(80, 300, 1000, 3000))
amounts = [n for n in amounts if n < min(len(drawer), len(elsewhere))]


def fewer(start: str, pictures: int, draw: int) -> dict:
    whole, objectives, altered = tasks[start]
    task = (whole.take(n=pictures, seed=draw), objectives, altered)
    return {"probe": probed(pretrained(task, draw), drawer.take(per_class=5, seed=draw))}


# %%
both, name = ["supervised elsewhere", "SimCLR"], f"amounts_{other.name}_{ours.name}"
grid = dict(start=both, pictures=amounts, earlier=(both[1], *amounts[1:]))  # one point is trained now
curve = lab.experiment(name, fewer, draws=3, title=title, **grid)
whole = {"supervised elsewhere": len(elsewhere), "SimCLR": len(drawer)}
rows = [{**row, "pictures": whole[row["start"]]} for row in results.only(start=both)]
curve = xl.lab.Results([*curve, *rows], by="start", across="pictures", title=title)
curve.curves("probe", xlabel="pictures to pretrain on")

# %%
print(f"Scratch, for comparison, probe: {results.mean('probe')['scratch']:.3f}")
curve.table("probe")

# %% [markdown]
# ## Diagnose: agreement alone
# The numerator of SimCLR's loss pulls partners together, and its denominator pushes strangers apart. What happens if you leave out the
# push, because you only want partners to agree? Below is the same network with the pull alone.


# %%
class PullOnly(xl.SimCLR):
    """SimCLR without strangers: one minus the cosine of partners."""

    def forward(self, step):
        za, zb = (self.projection(batch.features) for batch in (step.source, step.view("strong", "source")))
        return 1 - F.cosine_similarity(za, zb).mean()


# %%
encoder = xl.encoder("lenet", channels=3, size=28, seed=0)
model, short = xl.Classifier(encoder, drawer.classes), pretraining | {"steps": lab.scale(quick=3, lab=60, full=500)}
how = dict(augment=mild, views={"strong": mild}, progress_bar=lab.shows_progress)
pull = xl.fit(model, unlabeled, objectives=[PullOnly()], **how, **short)
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


# %% tags=["wrong"] exercise="01.4" mistake="not_normalized"
def spread(z):
    return z.std(0, correction=0).mean() * z.shape[1] ** 0.5


# %% tags=["wrong"] exercise="01.4" mistake="over_dimensions"
def spread(z):
    return F.normalize(z, dim=1).std(1, correction=0).mean() * z.shape[1] ** 0.5


# %% tags=["wrong"] exercise="01.4" mistake="no_scale"
def spread(z):
    return F.normalize(z, dim=1).std(0, correction=0).mean()


# %% [markdown] tags=["mistakes"] exercise="01.4"
# - not_normalized: A long vector counts for more here; scale each row to length one first.
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
# ([Wang & Isola, 2020](https://arxiv.org/abs/2005.10242)), which is `log mean exp(-2 |x - y|^2)` over pairs of pictures. It is 0 when all
# vectors are the same, and it falls as they spread out. The last column is SimCLR's loss if both views agreed perfectly, so that only the
# push is left in it. For N pictures, `log(2N - 1)` is a full collapse.


# %%
def diagnosis(z) -> dict:
    unit = F.normalize(z, dim=1)
    apart = torch.pdist(unit).square()
    return {
        "spread": (unit.std(0, correction=0).mean() * z.shape[1] ** 0.5).item(),
        "uniformity": (-2 * apart).exp().mean().log().item(),
        "loss if views agreed": nt_xent(z, z, 0.2).item(),
    }


# %%
seen = {}
for name, z in kept.items():
    seen[name] = diagnosis(z)
print(f"Full collapse, {len(test)} pictures: loss {math.log(2 * len(test) - 1):.3f}.")
xl.lab.table(seen, "How far the features spread.")

# %% [markdown]
# A loss near its optimum says nothing by itself. Look at the spread of the features, or at a probe. Methods without strangers (BYOL,
# SimSiam, VICReg) each have a device of their own against this collapse.
#
# ## The trap: told not to look at what matters
# *Any color* tells SimCLR that color does not matter. For some classes, the color of granules is the label. Here is the recall of each
# class (the share of its cells that is found), fine-tuned from either SimCLR.

# %%
blind, rows = "SimCLR, any color", []
for row in results.only(start=["SimCLR", blind]):
    rows += [
        {"start": row["start"], "draw": row["draw"], "class": name, "recall": row[name], "here": row["here"]}
        for name in drawer.classes
    ]
recall = xl.lab.Results(rows, by="start", across="class", title=title)
recall.gains("recall", over="SimCLR")

# %%
changes = [recall.mean(**{"class": name})[blind] - recall.mean(**{"class": name})["SimCLR"] for name in drawer.classes]
most = min(changes)
print(f"Most lost: {drawer.classes[changes.index(most)]} ({most:+.3f}), mean {sum(changes) / len(changes):+.3f}.")
for measure in ("fine-tuned", "probe"):
    found = results.gain(blind, "SimCLR", measure)
    print(f"{measure}: any color against light colors {found['gain']:+.3f}, {found['verdict']}.")

# %% [markdown]
# Which classes lose, and are these the ones with colored granules? Others can lose as well: how blue a nucleus is, or the cell around it,
# is also a color.
#
# ### Exercise 5: which alteration erases the label?
# An alteration of the two views makes the encoder blind to what it changes. Sometimes you want that, and sometimes it is what tells
# two classes apart. Give the set of letters for which the alteration **can erase the label**.
#
# - a: gray pictures; eosinophils (orange-red granules) against neutrophils
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
# 2. Color, orientation and size are each the label once.
# 3. `erases = {"a", "c", "d"}`

# %% tags=["check"] exercise="01.5"
xl.checks.check("01.5", erases)

# %% [markdown]
# ## When it hurts: a source too far away
# Here are two starts with plenty of labels that have nothing to do with cells: handwritten digits, and our own cells under **random**
# labels, which can only be learned by heart. ImageNet stands beside them as another, larger network (EfficientNet-Lite0 at 64 pixels),
# frozen and probed. So you may compare it as a tool that you take off the shelf, and not as a start of the same network.

# %%
frozen = xl.encoder("efficientnet_lite0", size=64)
shelf = ours.test.take(per_class=4) if lab.profile == "quick" else ours.test
asked = xl.embed(frozen, shelf)
off_the_shelf = []
for draw in range(5 if lab.profile != "quick" else 1):  # a frozen encoder: a further draw costs a probe
    labeled = ours.train.take(per_class=5, seed=draw)
    path = ridge_path(xl.embed(frozen, labeled), labeled.labels, classes=len(labeled.classes))
    score = balanced(path.scores(asked).argmax(1), shelf.labels)
    off_the_shelf.append({"start": "ImageNet, frozen", "draw": draw, "probe": score})

# %%
far = results.only(start=["scratch", "digits", "random labels", "supervised elsewhere", "SimCLR"])
xl.lab.Results([*far, *off_the_shelf], by="start", title=title).gains("probe", over="scratch")

# %%
for name in ("digits", "random labels"):
    tuned = results.gain(name, "scratch", "fine-tuned")
    print(f"Fine-tuned from {name}: {tuned['gain']:+.3f} against scratch, {tuned['verdict']}.")

# %% [markdown]
# The name of a start and its size do not tell you whether it is near enough, so put scratch into the table. And a far start costs you
# something even where it does no harm: you have to train it and document it, and a probe on random features needs neither.
#
# ## Quiz

# %% [markdown] tags=["quiz"]
# ### A start beats scratch by 0.10 with a probe and by 0.00 after fine-tuning. What do you know?
# - [ ] Pretraining failed.
#   Its features are better by 0.10; that was measured.
# - [x] It knows more than random features, but fine-tuning does not need it.
#   Yes. Fine-tuning gets there from scratch as well, so the start is worth something only if the encoder must not move.
# - [ ] Fine-tuning destroyed the features, and random weights had nothing to lose.
#   It may have. Then fine-tuning would also end below its own probe, so compare those two numbers.

# %% [markdown] tags=["quiz"]
# ### In SimCLR, two cells of the same class are in one batch. What does the loss do with them?
# - [x] It pushes them apart, like any two pictures.
#   Yes: they are false strangers. The fewer classes there are, the more of them a batch holds.
# - [ ] It pulls them together, since they are alike.
#   It does not know the class; only copies of one picture are partners.
# - [ ] Nothing, because pairs of the same class are left out of the sum.
#   For that it would need labels.

# %% [markdown] tags=["quiz"]
# ### The pretraining loss of A is lower than that of B. Which start is better?
# - [ ] A, since it learned its task better.
#   If nothing pushes, partners agree because everything is the same, and the loss is near zero.
# - [ ] B, since an easy task teaches little and a hard one teaches much.
#   Sometimes that is so, but the loss does not show it either.
# - [x] The losses do not tell: measure a probe.
#   Yes, with labels that are not the test's. Losses of different tasks, or of different alterations, have no common scale.

# %% tags=["nbval-check-output"]
print("A start is worth what it beats.")

# %% [markdown]
# ## Recap

# %% tags=["answer"]
lab.answer(
    elsewhere=results.gain("supervised elsewhere", "scratch", "fine-tuned"),
    simclr=results.gain("SimCLR", "scratch", "fine-tuned"),
    simclr_probe=results.gain("SimCLR", "scratch", "probe"),
    random=results.gain("random labels", "scratch", "fine-tuned"),
)

# %% [markdown]
# - Put scratch, with the same augmentation, beside every pretrained start, and compare within draws.
# - A task without labels teaches what its alterations do not change. So your choice of alterations says what you know of the classes.
# - Look at the spread of features and at a probe. A pretraining loss alone hides a collapse.
# - A source can be too far away. Random labels show what "pretraining" brings when the labels mean nothing.
# - The tables above say which of these gains are separated on this data. Of the others you cannot say that they are more than chance.
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
