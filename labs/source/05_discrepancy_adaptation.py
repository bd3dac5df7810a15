# %% [markdown]
# ## The question
# Two laboratories stain their cells differently, and only the first has labels. Lab 04 made two places alike with an adversary. There is
# a simpler way: measure how far the target's features lie from the source's, and train that number down while you learn from the
# source's labels. **Which distance should it be, and is a small distance enough?**
#
# At the end comes the usual medical case, on rendered cells: an encoder from ImageNet, fine-tuned at one laboratory, has to work at
# another.

# %%
import math
from functools import partial

import torch

import xferlab as xl
from xferlab.objectives.discrepancy import coral, mmd, sliced_wasserstein

lab = xl.lab.start("05")
source_name, target_name = lab.datasets("cells/site-a", "cells/site-b")
source, target = xl.load(source_name), xl.load(target_name)
xl.lab.show(
    xl.plots.contact_sheet(source.train, target.train, per_class=5),
    alt="Five example cells of each class from the source laboratory on the left and from the target laboratory on the right",
)

# %% [markdown]
# ### Predict
# Which of three steps will bring the most at the second laboratory: *color augmentation*, *batch norm of both places* (pictures of both
# laboratories in one batch, as in lab 04), or *a distance on features*? The first two are each added to plain fine-tuning at the first
# laboratory. The third, a distance, is added on top of color augmentation.

# %% tags=["exercise"] exercise="05.p1"
guess = ...  # "color augmentation", "batch norm of both places" or "a distance on features"
xl.checks.predict("05.p1", guess, options=["color augmentation", "batch norm of both places", "a distance on features"])

# %% tags=["solution"] exercise="05.p1"
guess = "a distance on features"
xl.checks.predict("05.p1", guess, options=["color augmentation", "batch norm of both places", "a distance on features"])

# %% [markdown]
# ## Three distances on points you can see
# ![](drawings/mmd_coral.svg)
#
# - **CORAL** ([Sun & Saenko, 2016](https://arxiv.org/abs/1607.01719)) compares covariances: ‖C_s − C_t‖² / 4d², with the Frobenius norm.
# - **MMD**, maximum mean discrepancy ([Gretton et al., 2012](https://jmlr.org/papers/v13/gretton12a.html)), asks whether the points of a
#   set are more alike among themselves than they are to the points of the other set. A **kernel** says how alike two points are: 1 when
#   they coincide, and near 0 when they are far apart.
# - **Sliced Wasserstein** looks along many directions. Along each it moves one set onto the other and takes the mean of the *squared*
#   distances moved.
#
# Below are pairs of point sets in the plane, and their distances by all three. The first pair is one sample cut in two, so its numbers
# show what chance alone gives for so few points. A distance that is no larger than these is no evidence of a difference. Look at the last
# pair before you look at the numbers.


# %%
g = torch.Generator().manual_seed(0)


def white(z):
    """The points moved and stretched so that their mean is 0 and their covariance exactly 1."""
    return (z - z.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(z.T.cov())).T


# %%
blob = white(torch.randn(400, 2, generator=g))
angle = 2 * math.pi * torch.rand(400, generator=g)
ring = white(torch.stack([angle.cos(), angle.sin()], 1))
pairs = {"the same": (blob[:200], blob[200:]), "moved": (blob, blob + torch.tensor([1.5, 0.0]))}
pairs |= {"stretched": (blob, blob * torch.tensor([2.0, 0.5])), "ring": (blob, ring)}
xl.lab.show(
    xl.plots.clouds(pairs),
    alt="Four pairs of point sets: the same blob twice, a moved blob, a stretched blob, and a blob with a ring of the same mean and covariance",
)

# %%
directions = torch.nn.functional.normalize(torch.randn(2, 64, generator=g), dim=0)
distances = {}
for name, (a, b) in pairs.items():
    found = float(coral(a, b)), float(mmd(a, b)), float(sliced_wasserstein(a, b, directions))
    distances[name] = dict(zip(("CORAL", "MMD", "sliced Wasserstein"), found))
xl.lab.table(distances, "Distance of each pair, by three measures. The scales differ, so compare within a column.")

# %% [markdown]
# ### Exercise 1: who sees what?
# Read the table. CORAL cannot see two of the changes. In one pair everything has moved, and the covariances are as before. In another pair
# mean and covariance agree, and the shapes differ. Name both pairs.

# %% tags=["exercise"] exercise="05.1"
blind = {"moved but unseen": ..., "same moments": ...}

# %% tags=["solution"] exercise="05.1"
blind = {"moved but unseen": "moved", "same moments": "ring"}

# %% tags=["wrong"] exercise="05.1" mistake="stretched_is_seen"
blind = {"moved but unseen": "stretched", "same moments": "ring"}

# %% tags=["wrong"] exercise="05.1" mistake="swapped"
blind = {"moved but unseen": "ring", "same moments": "moved"}

# %% [markdown] tags=["mistakes"] exercise="05.1"
# - swapped: It is the other way around: the moved blob has another mean, and the ring has the same two moments.
# - stretched_is_seen: Stretching changes the covariance, so CORAL sees it well; look for a row where it is near zero.

# %% [markdown] tags=["hints"] exercise="05.1"
# 1. What is subtracted before a covariance is computed?
# 2. Find the two rows where CORAL is near zero although the sets differ.
# 3. `blind = {"moved but unseen": "moved", "same moments": "ring"}`

# %% tags=["check"] exercise="05.1"
xl.checks.check("05.1", blind)

# %% [markdown]
# ### Exercise 2: CORAL by hand
# Write `my_coral(zs, zt)` for features `(Ns, d)` and `(Nt, d)`: the squared Frobenius distance of the two covariances (with
# n − 1), divided by 4 d².


# %% tags=["exercise"] exercise="05.2"
def my_coral(zs, zt): ...


# %% tags=["solution"] exercise="05.2"
def my_coral(zs, zt):
    d = zs.shape[1]
    return (zs.T.cov() - zt.T.cov()).square().sum() / (4 * d**2)


# %% tags=["wrong"] exercise="05.2" mistake="mean_not_removed"
def my_coral(zs, zt):
    d = zs.shape[1]
    cs, ct = zs.T @ zs / (len(zs) - 1), zt.T @ zt / (len(zt) - 1)
    return (cs - ct).square().sum() / (4 * d**2)


# %% tags=["wrong"] exercise="05.2" mistake="no_scale"
def my_coral(zs, zt):
    return (zs.T.cov() - zt.T.cov()).square().sum()


# %% tags=["wrong"] exercise="05.2" mistake="not_squared"
def my_coral(zs, zt):
    d = zs.shape[1]
    return (zs.T.cov() - zt.T.cov()).square().sum().sqrt() / (4 * d**2)


# %% [markdown] tags=["mistakes"] exercise="05.2"
# - mean_not_removed: These are second moments about the origin; a covariance is about the mean.
# - no_scale: The division by 4 d^2 is missing: without it the loss grows with the number of features.
# - not_squared: This is the Frobenius norm; its square is wanted.
# - d_not_squared: Divide by 4 d^2; here d is not squared.
# - by_n: These covariances divide by n; divide by n - 1.

# %% [markdown] tags=["hints"] exercise="05.2"
# 1. A covariance is about the mean. What if the two sets lie far from the origin?
# 2. `torch.cov` wants variables in rows: `zs.T.cov()` removes the mean and divides by n - 1.
# 3. `return (zs.T.cov() - zt.T.cov()).square().sum() / (4 * zs.shape[1] ** 2)`

# %% tags=["check"] exercise="05.2"
xl.checks.check("05.2", my_coral)

# %% [markdown]
# ### Exercise 3: transport by hand
# Optimal transport pairs the points of two sets so that the total distance is smallest. Three points on a line, at 0, 1 and 5, have to
# be moved to 1, 2 and 6, one point to each place. What is the smallest **mean** distance moved?

# %% tags=["exercise"] exercise="05.3"
cost = ...

# %% tags=["solution"] exercise="05.3"
cost = (abs(0 - 1) + abs(1 - 2) + abs(5 - 6)) / 3  # on a line, sorted order is optimal

# %% tags=["wrong"] exercise="05.3" mistake="nearest_neighbor"
cost = (0 + 1 + 1) / 3

# %% tags=["wrong"] exercise="05.3" mistake="total_not_mean"
cost = 3

# %% [markdown] tags=["mistakes"] exercise="05.3"
# - nearest_neighbor: Two points went to the same place: each target takes exactly one.
# - total_not_mean: That is the total; divide by the three points.

# %% [markdown] tags=["hints"] exercise="05.3"
# 1. The point at 1 may stay where it is. What must the point at 0 do then?
# 2. On a line the best pairing is in sorted order.
# 3. `cost = (1 + 1 + 1) / 3`

# %% tags=["check"] exercise="05.3"
xl.checks.check("05.3", cost)

# %% [markdown]
# Transport may also divide a point. The *plan* on the right of the drawing says how much of each source point (its row) goes to each target
# point (its column).
#
# ![](drawings/optimal_transport.svg)
#
# ## On digits: four ways to come closer, and a baseline
# We begin with a small case: MNIST to the optdigits of other writers, as in lab 04. The first draw of the baseline, CORAL and MMD trains
# now, in seconds, and the rest was measured earlier. DeepJDOT ([Damodaran et al., 2018](https://arxiv.org/abs/1803.10081)) pairs target
# with source examples by transport over features *and* predictions, and pulls each pair together. Each of the four methods is trained to
# make a distance small, and the baseline is not. Only the column *target* says whether the same classes lie together now.

# %%
steps = lab.scale(quick=5, lab=200, full=1500)
settings = dict(steps=steps, lr=3e-3, augment=None, progress_bar=lab.shows_progress)
mnist, optdigits = xl.load("digits/mnist"), xl.load("digits/optdigits")


def trial(method: str, draw: int) -> dict:
    model = xl.Classifier(xl.encoder("lenet", seed=draw), mnist.classes, seed=draw)
    xl.recipes[method].fit(model, mnist.train, optdigits.train.unlabeled(), seed=draw, **settings)
    zs, zt = (xl.embed(model, domain.test.take(n=300), cache=False) for domain in (mnist, optdigits))
    return {"target": xl.evaluate(model, optdigits.test).balanced_accuracy, "distance left (MMD)": float(mmd(zs, zt))}


# %%
methods = ["source_only_joint_bn", "coral", "mmd", "sliced_wasserstein", "deep_jdot"]
slow = ("sliced_wasserstein", "deep_jdot")  # read from the file, to save you minutes
digits = lab.experiment("digits", trial, method=methods, earlier=slow, title="MNIST to optdigits")
digits.table("target", "distance left (MMD)", over="source_only_joint_bn", smaller=["distance left (MMD)"])

# %%
digits.scatter("distance left (MMD)", "target")

# %%
least, best = list(digits.mean("distance left (MMD)"))[-1], digits.best("target")
print(
    f"Smallest distance left: {least}. Best mean on the target: {best}.",
    "The same." if least == best else "Not the same.",
)

# %% [markdown]
# ## The medical case, one step at a time
# ![](drawings/batch_norm.svg)
#
# Now you climb a ladder for the two laboratories above. Each rung adds a step or exchanges one. The target's labels score each rung and
# choose nothing. Every rung has the same rate and the same budget of steps, and each model is taken as it stands after its last step.
# AdaBN trains for 0.7 of the steps and spends the rest on statistics; MCC begins with 0.3 of the steps on the source alone. The first
# draw of *source only*, *color augmentation* and *color + MMD* trains now. The rest was measured earlier. The drawing shows what AdaBN
# does: it replaces the statistics of batch norm by the target's own.
#
# | rung | what is added |
# |---|---|
# | source only | ImageNet encoder, fine-tuned at the first laboratory |
# | + both in batch norm | the target's pictures in the same forward pass, nothing else |
# | color augmentation | flips, turns, and stain and color changes of the source alone |
# | color + AdaBN | afterwards, the target's own batch-norm statistics, which no longer fit the first laboratory ([Li et al., 2016](https://arxiv.org/abs/1603.04779)) |
# | color + both in batch norm | in place of AdaBN, both laboratories in the same forward pass |
# | color + MMD | a distance on features, in that joint forward pass |
# | color + MCC | in place of a distance, a loss that makes the predictions on the target confuse fewer pairs of classes ([Jin et al., 2020](https://arxiv.org/abs/1912.03699)) |

# %%
labeled = source.train.take(per_class=lab.scale(quick=4, lab=100, full=10_000), seed=0)
case = settings | dict(steps=lab.scale(quick=2, lab=60, full=400), batch_size=16, lr=1e-3)
color = xl.augment.smear()
ladder = {
    "source only": ("source_only", None),
    "+ both in batch norm": ("source_only_joint_bn", None),
    "color augmentation": ("source_only", color),
    "color + AdaBN": ("adabn", color),
    "color + both in batch norm": ("source_only_joint_bn", color),
    "color + MMD": ("mmd", color),
    "color + MCC": ("mcc", color),
}


# %%
def climb(rung: str, draw: int) -> dict:
    recipe, augment = ladder[rung]
    model = xl.Classifier(xl.encoder("efficientnet_lite0"), source.classes, seed=draw)
    arguments = case | {"augment": augment, "seed": draw}
    xl.recipes[recipe].fit(model, labeled, target.train.unlabeled(), **arguments)
    return {
        "second laboratory": xl.evaluate(model, target.test).balanced_accuracy,
        "first laboratory": xl.evaluate(model, source.test).balanced_accuracy,
    }


# %%
rungs = lab.experiment(
    f"ladder_{source.name}_{target.name}",
    climb,
    rung=list(ladder),
    earlier=("+ both in batch norm", "color + AdaBN", "color + both in batch norm", "color + MCC"),
    title=f"{source.name} to {target.name}, last weights, nothing selected",
)

# %% tags=["results"]
rungs.table("second laboratory", "first laboratory", over="source only")

# %%
rungs.gains("second laboratory", over="source only")

# %%
# each step, and what it is compared with
below = {
    "color augmentation": "source only",
    "+ both in batch norm": "source only",
    "color + MMD": "color augmentation",
}
names = dict(zip(below, ("color augmentation", "batch norm of both places", "a distance on features")))
steps_up = rungs.differences(below, "second laboratory")
xl.checks.reveal("05.p1", names[steps_up.best()], [names[rung] for rung in steps_up.tied()])
for rung, base in below.items():
    found = rungs.gain(rung, base, "second laboratory")
    print(f"{names[rung]}: {found['gain']:+.3f} over {base}, {found['verdict']}")

# %% [markdown]
# ### Exercise 4: what did MMD bring?
# The gain printed last compares MMD with color alone. But MMD trains with both laboratories in one forward pass, so batch norm may have
# added to that gain, or taken from it (lab 04). `second` holds the mean accuracy of every rung at the second laboratory. Compute what MMD
# added over
# the rung that differs from it in the distance alone.

# %% tags=["exercise"] exercise="05.4"
second = rungs.mean("second laboratory")
brought = ...

# %% tags=["solution"] exercise="05.4"
second = rungs.mean("second laboratory")
brought = second["color + MMD"] - second["color + both in batch norm"]

# %% tags=["wrong"] exercise="05.4" mistake="against_source_only"
second = rungs.mean("second laboratory")
brought = second["color + MMD"] - second["source only"]

# %% tags=["wrong"] exercise="05.4" mistake="against_color"
second = rungs.mean("second laboratory")
brought = second["color + MMD"] - second["color augmentation"]

# %% tags=["wrong"] exercise="05.4" mistake="wrong_sign"
second = rungs.mean("second laboratory")
brought = second["color + both in batch norm"] - second["color + MMD"]

# %% tags=["wrong"] exercise="05.4" mistake="against_adabn"
second = rungs.mean("second laboratory")
brought = second["color + MMD"] - second["color + AdaBN"]

# %% [markdown] tags=["mistakes"] exercise="05.4"
# - wrong_sign: The sign is the wrong way around: take the rung with MMD minus the one without.
# - against_source_only: Against source only, color and batch norm are counted as MMD's work too.
# - against_color: Against color alone, what the joint batch gains or loses counts as MMD's work.
# - against_adabn: These rungs differ in two things: AdaBN has the target's statistics alone, and MMD has those of both laboratories.

# %% [markdown] tags=["hints"] exercise="05.4"
# 1. A difference is about one change. Which rung trains on the same two laboratories, with color, and has no distance?
# 2. It is the one with both in batch norm. Index `second` with the two rungs' names and subtract.
# 3. `brought = second["color + MMD"] - second["color + both in batch norm"]`

# %% tags=["check"] exercise="05.4"
xl.checks.check("05.4", brought, second)

# %%
found = rungs.gain("color + MMD", "color + both in batch norm", "second laboratory")
print(f"MMD over the same joint batch: {found['gain']:+.3f}, {found['verdict']}")

# %% [markdown]
# That is what the distance itself is worth. If it is larger than the gain printed above, the joint batch alone cost accuracy, and the
# distance won that back and more. If it is near zero or below, the distance added nothing, and any gain came from putting the pictures of
# both laboratories into one batch. Then look at the rung with AdaBN. If it stands higher still, a step that trains nothing on the target
# did better than the joint batch and the distance.
#
# ## When it hurts: close, and in the wrong place
# A distance between whole clouds does not know about classes. Here the target lacks half of the classes. The loss cannot know that, so it
# spreads the target's pictures over the whole source. A method that falls below its baseline has made things worse, which is called
# **negative transfer**.

# %%
half = len(mnist.classes) // 2
few, kept = (part[part.labels < half] for part in (optdigits.train, optdigits.test))
for name in ("source_only_joint_bn", "mmd"):
    model = xl.Classifier(xl.encoder("lenet"), mnist.classes)
    xl.recipes[name].fit(model, mnist.train, few.unlabeled(), **settings)
    scores = xl.evaluate(model, kept)
    away = float((scores.predictions >= half).mean())
    print(f"{name}: balanced accuracy {scores.balanced_accuracy:.3f}. One seed.")
    print(f"  {away:.0%} of these digits are read as one that the target does not have")

# %% [markdown]
# ## Quiz

# %% [markdown] tags=["quiz"]
# ### Two feature sets have CORAL distance zero. What do you know?
# - [ ] They are the same set, up to noise.
#   The ring and the blob above also have a distance near zero.
# - [x] Their covariances agree.
#   Yes, and no more than that. Their means and their shapes may differ.
# - [ ] A classifier trained on one works on the other.
#   The distance says nothing about classes.

# %% [markdown] tags=["quiz"]
# ### Why is color augmentation in the ladder at all, when it never sees the target?
# - [ ] Because MMD does not work without it.
#   MMD works without it. The ladder asks how much is left for MMD to do.
# - [ ] Because it makes training faster, which leaves time for the other rungs.
#   It makes each step a little slower.
# - [x] Because a simple method might win.
#   Yes. Without it, you would credit adaptation with a gain that any change of stain would give.

# %% [markdown] tags=["quiz"]
# ### The features' distance fell, and the target's accuracy did not rise. What is the likely reason?
# - [ ] The distance has a bug.
#   That is possible, but there is a plain reason even without a bug.
# - [x] The clouds overlap with the wrong classes on each other.
#   Yes. The clouds must be close *and* agree in their classes, and the distance sees only the first.
# - [ ] The learning rate was too high for the target's features.
#   Then the source would suffer as well.

# %% tags=["nbval-check-output"]
print("Close is not the same as right.")

# %% [markdown]
# ## Recap

# %% tags=["answer"]
gain = partial(rungs.gain, measure="second laboratory")
lab.answer(
    color=gain("color augmentation", "source only"),
    joint=gain("+ both in batch norm", "source only"),
    mmd=gain("color + MMD", "color + both in batch norm"),
    adabn=gain("color + AdaBN", "color augmentation"),
    least=least,
    best=best,
)

# %% [markdown]
# - CORAL sees covariances, MMD sees whole distributions through kernels, and transport pairs points.
# - A distance that was trained down tells you that the clouds overlap. It does not tell you that the classes do.
# - Climb a ladder of simple steps and measure each one. Batch norm and color come before the clever methods.
#
# ### Papers
# - Gretton et al., 2012, *A kernel two-sample test*, JMLR 13
# - Sun & Saenko, 2016, *Deep CORAL* [arXiv:1607.01719](https://arxiv.org/abs/1607.01719)
# - Jin et al., 2020, *Minimum class confusion for versatile domain adaptation* [arXiv:1912.03699](https://arxiv.org/abs/1912.03699)
# - Damodaran et al., 2018, *DeepJDOT* [arXiv:1803.10081](https://arxiv.org/abs/1803.10081)
# - Li et al., 2016, *Revisiting batch normalization for practical domain adaptation* [arXiv:1603.04779](https://arxiv.org/abs/1603.04779)
#
# ### The same on your own data
# `XFERLAB_DATASET=laboratory-a:laboratory-b` climbs the ladder on two folders or `.npz` files with the same class names. Not for
# clinical use.
