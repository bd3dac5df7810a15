# %% [markdown]
# ## The question
# Your model reads the blood smears of your own laboratory well. Next month it goes to another laboratory, whose stain, microscope and
# camera it has never seen, and you have no labels from there. **What can you vary at home, so that the new laboratory is just one more
# variation?** There is a second question behind it: how much may you vary before the answer itself is gone?
#
# The laboratories below are rendered, so a result here is about the methods on this rendering and not about patients.
# `XFERLAB_DATASET=home.npz:abroad.npz` runs the same cells on your own data.

# %%
import numpy as np
import torch
from skimage import color, data

import xferlab as xl
from xferlab.augment import FDA, Blur, ColorJitter, CutMix, Flip, MixStyle, MixUp, RandAugment, Rotate90, Sides, Stain
from xferlab.domains import joined

lab = xl.lab.start("06")
home, *abroad = (xl.load(name) for name in lab.datasets("cells/site-a", "cells/site-b"))
if home.name == "cells/site-a":
    abroad += [xl.load("cells/site-c")]  # a second new laboratory
home.train

# %%
xl.lab.show(
    xl.plots.contact_sheet(home.test, *(site.test for site in abroad), per_class=3),
    alt="A row for each class; side by side three cells of it from home and from each laboratory abroad",
)

# %% [markdown]
# The classes are the same everywhere. The dye, the background, the magnification, the focus and the camera are not. (Where you see a
# black bar, the cell lay at the edge of the scan.) An *augmentation* changes a training picture at random. If it imitates the changes
# between laboratories, and leaves alone what makes a class, it teaches the model what to ignore.
#
# ## A pipeline is a list, and one call shows what it does
# An operation takes a batch of images and a random generator, and draws **anew for every picture**. A pipeline is a list of such
# operations. Each row below shows one pipeline, applied six times to the same cell.


# %%
def sheet(picture, pipelines, columns=6):
    """A row for each pipeline: what it makes of the same picture `(C, H, W)`, again and again."""
    copies, rows = picture.expand(columns, *picture.shape), {}
    for name, pipeline in pipelines.items():
        rows[name] = xl.augment.apply(pipeline, copies, torch.Generator().manual_seed(0))
    return xl.plots.images(rows)


def towards(operation, pictures):
    """An operation that needs others' pictures, with `pictures` as those others: any callable may stand in a pipeline."""

    def moved(images, generator):
        return xl.augment.apply([operation], Sides(images, target_inputs=pictures), generator).source_inputs

    return moved


# %%
pipelines = {
    "nothing": [],
    "flips and turns": [Flip(horizontal=True, vertical=True), Rotate90()],
    "color": [ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, gains=0.15)],
    "stain": [Stain(0.3, "giemsa")],
    "flips, stain, color": xl.augment.smear(),
    "RandAugment": [RandAugment(n=2, magnitude=9)],
    "MixStyle": [towards(MixStyle(p=1.0), home.train.inputs)],
    f"FDA to {abroad[0].name}": [towards(FDA(), abroad[0].train.inputs)],
}
alt = f"One cell of {home.name} six times under each of {len(pipelines)} pipelines, a row each"
xl.lab.show(sheet(home.test.inputs[0], pipelines), alt=alt)

# %% [markdown]
# RandAugment draws two operations from a list. One of them covers a box with the picture's mean color. MixStyle moves a picture's mean
# and spread of color towards those of another picture from home. FDA ([Yang & Soatto, 2020](https://arxiv.org/abs/2004.05498)) replaces
# the coarsest waves of a picture's color by those of a picture from abroad. For that it needs unlabeled pictures of the new laboratory.
# The other rows need none, so FDA has an advantage over them. Look for a halo around its cells: no laboratory makes such a picture.
#
# The same call also works on real tissue. Here are a section of the colon, stained brown by an antibody and blue by hematoxylin, and
# the back of an eye.

# %%
colon = torch.from_numpy(data.immunohistochemistry()).permute(2, 0, 1)[:, 150:310, 150:310]
eye = torch.from_numpy(data.retina()).permute(2, 0, 1)[:, ::8, ::8]
shown = {"nothing": [], "color": pipelines["color"], "stain": [Stain(0.5, "hed")]}
shown |= {"flips and turns": pipelines["flips and turns"], "blur": [Blur((0, 3))]}
for what, tissue in {"colon tissue": colon, "retina": eye}.items():
    xl.lab.show(sheet(tissue, shown, columns=5), alt=f"{what}, real, five times under each of five pipelines")

# %% [markdown]
# A retina is not stained, so a change of its dyes imitates nothing that a camera does. And if you turn a retina by a quarter, its optic
# disc stands in a place where no eye has it. To find the right augmentation, ask how the picture was made.
#
# ## What "stain" means
# A layer of dye lets a *share* of the light through. A second layer lets a share of what is left through, so the two shares multiply. What
# adds up is the **optical density**: minus the logarithm of the share that comes through (the law of Beer and Lambert).
# [Ruifrok & Johnston (2001)](https://pubmed.ncbi.nlm.nih.gov/11531144/) turn this around. If you know the colors of three dyes, one
# matrix gives their amounts from the three channels of a pixel.
#
# scikit-image has its own implementation, `rgb2hed`, so you can check ours against it. We stain the colon anew, once, and let scikit-image
# say how
# much of each dye it sees before and after. (It also looks for a third dye, eosin, which this slide does not have. The factor 6
# turns its unit into optical density to base 10.)

# %%
anew = xl.augment.apply([Stain(0.5, "hed")], colon[None], torch.Generator().manual_seed(3))[0]
before, after = (color.rgb2hed(image.permute(1, 2, 0).numpy()).reshape(-1, 3) * 6 for image in (colon, anew))
ours = xl.augment.concentrations(colon[None].float())[0].flatten(1).T.numpy()
some = np.random.default_rng(0).integers(len(before), size=400)
points = {"hematoxylin (blue)": (before[some, 0], after[some, 0]), "DAB (brown)": (before[some, 2], after[some, 2])}
xl.lab.show(
    xl.plots.scatter(points, xlabel="amount of dye before, as rgb2hed sees it", ylabel="after one draw of Stain"),
    alt="Amount of two dyes after the stain augmentation against the amount before, one point a pixel: a line each",
)

# %%
for k, dye in ((0, "hematoxylin (blue)"), (2, "DAB (brown)")):
    seen = (before[:, k] > 0.05) & (after[:, k] > 0.05)  # scikit-image reports no negative amounts
    slope, intercept = np.polyfit(before[seen, k], after[seen, k], 1)
    straight = np.corrcoef(before[seen, k], after[seen, k])[0, 1]
    apart = np.median(abs(ours[seen, k] / before[seen, k] - 1))
    print(f"{dye}: after = {slope:.2f} before {intercept:+.2f}, correlation {straight:.3f};", end=" ")
    print(f"our amounts and scikit-image's differ by {apart:.1%} (median)")

# %% [markdown]
# `Stain` draws a slope and an intercept for every dye of every picture ([Tellez et al., 2018](https://arxiv.org/abs/1808.05896)). The
# lines above are one such draw. `"hed"` names the dyes of tissue, and `"giemsa"` names those of a blood smear. Points lie off the lines
# because a picture is rounded to eight bits. The lines are flat at zero because `rgb2hed` shows no negative amounts.
#
# ### Exercise 1: twice the dye
# Where no dye is, this camera reads 256 (a round number for 255). A pixel of stained cytoplasm reads 64. The next laboratory stains with
# **twice** the amount of the same dye. What does the pixel read there?

# %% tags=["exercise"] exercise="06.1"
reads = ...

# %% tags=["solution"] exercise="06.1"
reads = 256 * (64 / 256) ** 2

# %% tags=["wrong"] exercise="06.1" mistake="halved_value"
reads = 64 / 2

# %% tags=["wrong"] exercise="06.1" mistake="half_the_dye"
reads = 256 * (64 / 256) ** 0.5

# %% tags=["wrong"] exercise="06.1" mistake="stopped_at_density"
reads = -2 * np.log10(64 / 256)

# %% [markdown] tags=["mistakes"] exercise="06.1"
# - halved_value: Twice the dye does not halve the value. It doubles the optical density, which is a logarithm.
# - half_the_dye: That is with half of the dye: the pixel became lighter.
# - stopped_at_density: That is the optical density; the camera reads a value.
# - stopped_at_share: That is the share of light that comes through; the camera reads 256 times it.
# - subtracted: Dye takes a share of the light that is left, so some always comes through.

# %% [markdown] tags=["hints"] exercise="06.1"
# 1. One layer of dye lets a quarter of the light through. What does a second layer do to that quarter?
# 2. Optical density is `-log10(value / 256)`; it doubles with the dye. Then go back to a value.
# 3. `reads = 256 * (64 / 256) ** 2`

# %% tags=["check"] exercise="06.1"
xl.checks.check("06.1", reads)

# %% [markdown]
# ### Exercise 2: one draw for every sample
# Many augmentation libraries draw once for a whole batch. Then all 32 pictures of a batch get the same brightness, and the model sees 32
# times fewer brightnesses.
# Write `brighten(images, generator)`: uint8 images `(B, C, H, W)`, each multiplied by **its own** factor, uniform in 0.8 to 1.2,
# drawn from `generator`. Values stay in 0 to 255, and the result is uint8.


# %% tags=["exercise"] exercise="06.2"
def brighten(images, generator): ...


# %% tags=["solution"] exercise="06.2"
def brighten(images, generator):
    factor = 0.8 + 0.4 * torch.rand(len(images), 1, 1, 1, generator=generator)
    return (images.float() * factor).round().clamp(0, 255).to(torch.uint8)


# %% tags=["wrong"] exercise="06.2" mistake="one_draw"
def brighten(images, generator):
    factor = 0.8 + 0.4 * torch.rand(1, generator=generator)
    return (images.float() * factor).round().clamp(0, 255).to(torch.uint8)


# %% tags=["wrong"] exercise="06.2" mistake="one_draw_a_pixel"
def brighten(images, generator):
    factor = 0.8 + 0.4 * torch.rand(images.shape, generator=generator)
    return (images.float() * factor).round().clamp(0, 255).to(torch.uint8)


# %% tags=["wrong"] exercise="06.2" mistake="own_randomness"
def brighten(images, generator):
    factor = 0.8 + 0.4 * torch.rand(len(images), 1, 1, 1)
    return (images.float() * factor).round().clamp(0, 255).to(torch.uint8)


# %% tags=["wrong"] exercise="06.2" mistake="wraps"
def brighten(images, generator):
    factor = 0.8 + 0.4 * torch.rand(len(images), 1, 1, 1, generator=generator)
    return (images.float() * factor).round().to(torch.int32).to(torch.uint8)


# %% [markdown] tags=["mistakes"] exercise="06.2"
# - own_randomness: The same seed gave two different results: draw with generator=generator, nothing else.
# - one_draw_a_pixel: The factor differs within a picture: that is noise, not a lamp.
# - one_draw: All pictures got the same factor; draw one for each.
# - wraps: A bright value came back dark: above 255, uint8 starts again at 0. Clamp first.

# %% [markdown] tags=["hints"] exercise="06.2"
# 1. How many random numbers does a batch of B pictures need, and of what shape, so that they multiply whole pictures?
# 2. `torch.rand(len(images), 1, 1, 1, generator=generator)` is in 0 to 1; scale it, multiply floats, `clamp(0, 255)`.
# 3. `factor = 0.8 + 0.4 * torch.rand(len(images), 1, 1, 1, generator=generator)`, then
#    `return (images.float() * factor).round().clamp(0, 255).to(torch.uint8)`

# %% tags=["check"] exercise="06.2"
xl.checks.check("06.2", brighten)

# %% [markdown]
# ### Predict
# A model is trained at home with 20 labels a class and one of the pipelines above. Which pipeline has the best balanced accuracy
# **abroad**, over all new laboratories?

# %% tags=["exercise"] exercise="06.p1"
guess = ...  # one of the names in list(pipelines)
xl.checks.predict("06.p1", guess, options=list(pipelines))

# %% tags=["solution"] exercise="06.p1"
guess = "stain"
xl.checks.predict("06.p1", guess, options=list(pipelines))

# %% [markdown]
# ## The experiment
# You fine-tune an ImageNet encoder at home, with the same number of steps for every pipeline, and test it at home and abroad. Two
# pipelines train now, on the first draw of labeled cells. All other runs were measured earlier with this code. Nobody chose a strength by
# looking at the laboratories abroad: all strengths are the library's defaults or round numbers.

# %%
steps = lab.scale(quick=2, lab=40, full=300)
size = lab.scale(quick=64, lab=64, full=224)
settings = dict(steps=steps, batch_size=32, lr=1e-3, progress_bar=lab.shows_progress)


def train(labeled, augment):
    model = xl.Classifier(xl.encoder("efficientnet_lite0", size=size), labeled.classes)
    xl.fit(model, labeled, augment=augment, **settings)
    return model


# %%
per_class = lab.scale(quick=4, lab=10**6, full=10**6)
tests = [site.test.take(per_class, seed=0) if lab.profile == "quick" else site.test for site in (home, *abroad)]
models = {}  # of the first draw


def trial(method: str, draw: int) -> list[dict]:
    models[method] = model = train(home.train.take(per_class=20, seed=draw), pipelines[method])
    scores = [xl.evaluate(model, test).balanced_accuracy for test in tests]  # at home, and at each laboratory abroad
    return [{"site": site.name, "balanced accuracy": score} for site, score in zip((home, *abroad), scores)]


# %%
results = lab.experiment(
    f"sites_{'_'.join(site.name for site in (home, *abroad))}",
    trial,
    method=list(pipelines),
    earlier=[name for name in pipelines if name not in ("nothing", "flips, stain, color")],  # from the file
    across="site",
    title=f"trained on {home.name}",
)

# %% [markdown]
# Within a draw all pipelines learn from the same cells. So the honest comparison is the difference from "nothing" within the draw.
# *Separated* means that zero lies outside the 95 % interval of that difference, over five draws or more.

# %% tags=["results"]
results.table(over="nothing")

# %%
results.gains(over="nothing")

# %%
away = results.only(site=[site.name for site in abroad])
xl.checks.reveal("06.p1", away.best(), away.tied())
best = results.only(site=abroad[-1].name).best()
helped = results.gain(best, "nothing", site=abroad[-1].name)
print(f"Best on {abroad[-1].name}: {best}, {helped['gain']:+.3f} over nothing ({helped['verdict']})")

# %% [markdown]
# Look first for what is separated. Then find FDA: it alone saw pictures from abroad. What did that gain abroad, and what did it cost at
# home?
#
# Now stain one cell with less or more of each dye. See what the network that trained without augmentation makes of it.

# %%
xl.widgets.stain(models["nothing"], home.test.inputs[0])

# %% [markdown]
# ## Which augmentations destroy the label?
# A model that fails on blurred cells may fail for two reasons. Perhaps blurred cells are **unfamiliar**, because it has never seen any.
# Or the blur has **erased** what the class depends on, and then no model can succeed. You can measure the second by training *and*
# testing with the augmentation: whatever is still in the picture can then be learned.
#
# You tell an eosinophil from a neutrophil by its orange-red granules and by its fewer lobes. So there are two suspects: a blur that melts
# the granules, and colors so wild that red means nothing.

# %%
suspects = {
    "as it is": [],
    "blurred": [Blur((2.5, 2.5))],
    "wild color": [ColorJitter(brightness=0.3, contrast=0.3, saturation=1.0, gains=0.8)],
}
alike = [k for k, name in enumerate(home.classes) if name in ("eosinophil", "neutrophil")] or [0, 1]

# %%
rows = {}
for suspect, pipeline in suspects.items():
    for k in alike:
        cells = home.test.inputs[home.test.labels == k][:8]
        rows[f"{home.classes[k]}, {suspect}"] = xl.augment.apply(pipeline, cells, torch.Generator().manual_seed(0))
alt = f"Eight cells each of {' and '.join(home.classes[k] for k in alike)}: as they are, blurred, and in wild colors"
xl.lab.show(xl.plots.images(rows), alt=alt)

# %% [markdown]
# The next cell trains a model for each suspect, on the first draw, and tests it on pictures that were changed in the same way. The other
# draws were measured earlier. The model that trained on pictures as they are is tested on the changed ones too.


# %%
def changed(domain, pipeline):
    """The same domain with the pipeline applied once to every picture."""
    images = xl.augment.apply(pipeline, domain.inputs, torch.Generator().manual_seed(0))
    return xl.Domain(images, domain.labels, domain.classes, name=domain.name, synthetic=domain.synthetic)


def recalls(model, method: str, pipeline, draw: int) -> list[dict]:
    scores = xl.evaluate(model, changed(tests[0], pipeline))
    shares = scores.confusion.diagonal() / scores.confusion.sum(1)
    return [{"method": method, "draw": draw, "class": c, "recall": float(q)} for c, q in zip(scores.classes, shares)]


# %%
rows = []
for draw in lab.draws(5):
    labeled = home.train.take(per_class=20, seed=draw)
    for suspect, pipeline in suspects.items():
        model = models["nothing"] if draw == 0 and not pipeline else train(labeled, pipeline)
        rows += recalls(model, suspect, pipeline, draw)
        for other in ("blurred", "wild color") if not pipeline else ():
            rows += recalls(model, f"only tested on {other}", suspects[other], draw)
erased = lab.results(f"erased_{home.name}", rows, across="class", title=home.name)

# %%
erased.only(method=list(suspects)).gains(over="as it is")

# %%
mean = erased.mean()
summary = {}
for suspect in ("blurred", "wild color"):
    unfamiliar = mean[suspect] - mean[f"only tested on {suspect}"]
    summary[suspect] = {"erased": mean["as it is"] - mean[suspect], "unfamiliar": unfamiliar}
xl.lab.table(
    summary, "Recall lost, mean over all classes: what training on such pictures cannot bring back, and what it can."
)

# %% [markdown]
# Was the suspicion about the eosinophil right, for both suspects? A blurred eosinophil loses its granules and keeps their orange-red
# tint. Find the class that the blur costs most, and ask what is left of that one when its texture is gone.
#
# We call *erased* what this network, at this size and with so few labels, can no longer learn. Another network might still find some of
# it in the picture. The rest was unfamiliar, and augmentation can win that part back.
#
# ### Exercise 3: erased or unfamiliar?
# Here are three balanced accuracies for a new suspect. How much of the accuracy did the augmentation **erase**? Give a positive number.

# %% tags=["exercise"] exercise="06.3"
sharp_sharp = 0.90  # trained on pictures as they are, tested on pictures as they are
sharp_changed = 0.45  # trained on pictures as they are, tested on changed ones
changed_changed = 0.82  # trained and tested on changed ones
erased = ...

# %% tags=["solution"] exercise="06.3"
sharp_sharp, sharp_changed, changed_changed = 0.90, 0.45, 0.82
erased = sharp_sharp - changed_changed

# %% tags=["wrong"] exercise="06.3" mistake="whole_drop"
erased = 0.90 - 0.45

# %% tags=["wrong"] exercise="06.3" mistake="unfamiliar"
erased = 0.82 - 0.45

# %% tags=["wrong"] exercise="06.3" mistake="sign"
erased = 0.82 - 0.90

# %% [markdown] tags=["mistakes"] exercise="06.3"
# - whole_drop: That is the whole drop; a part of it is only that the model never saw such pictures.
# - unfamiliar: That is the part that training brings back: unfamiliar, not erased.
# - sign: The size is right; the exercise asks for a positive number.

# %% [markdown] tags=["hints"] exercise="06.3"
# 1. What is erased stays lost even for a model that has trained on such pictures.
# 2. Compare the two models that were each tested on what they trained on.
# 3. `erased = sharp_sharp - changed_changed`

# %% tags=["check"] exercise="06.3"
xl.checks.check("06.3", erased)

# %% [markdown]
# ## Labels that are mixed
# MixUp ([Zhang et al., 2017](https://arxiv.org/abs/1710.09412)) and CutMix ([Yun et al., 2019](https://arxiv.org/abs/1905.04899))
# change the picture **and** the label, so they do not pretend that the label survived. MixUp blends two whole pictures. CutMix pastes a
# box of one picture into another. The label is divided in the same proportion as the pixels.

# %%
first = torch.stack([(home.train.labels == k).nonzero()[0, 0] for k in range(len(home.classes))])
batch = Sides(home.train.inputs[first], home.train.labels[first], classes=len(home.classes))
mixes = {"pictures": batch.source_inputs}
for name, operation in {"MixUp": MixUp(alpha=1.0), "CutMix": CutMix()}.items():
    mixed = xl.augment.apply([operation], batch, torch.Generator().manual_seed(1))
    mixes[name] = mixed.source_inputs
    parts = [f"{c} {float(q):.2f}" for c, q in zip(home.classes, mixed.source_labels[0]) if q > 0]
    print(f"{name}, label of the first picture: {', '.join(parts)}")
xl.lab.show(
    xl.plots.images(mixes, titles=home.classes), alt="One cell of each class, and what MixUp and CutMix make of them"
)

# %% [markdown]
# ### Exercise 4: MixUp
# Write `mixup(images, labels, partner, weight)`: picture *i* becomes `weight[i]` of itself plus `1 - weight[i]` of picture
# `partner[i]`, and its label likewise. `images` are float `(B, C, H, W)`, `labels` are one-hot `(B, K)`, `partner` is int64 `(B,)`, and
# `weight` is float `(B,)`. Return images and labels.


# %% tags=["exercise"] exercise="06.4"
def mixup(images, labels, partner, weight): ...


# %% tags=["solution"] exercise="06.4"
def mixup(images, labels, partner, weight):
    w = weight.view(-1, 1, 1, 1)
    images = w * images + (1 - w) * images[partner]
    w = weight.view(-1, 1)
    return images, w * labels + (1 - w) * labels[partner]


# %% tags=["wrong"] exercise="06.4" mistake="label_kept"
def mixup(images, labels, partner, weight):
    w = weight.view(-1, 1, 1, 1)
    return w * images + (1 - w) * images[partner], labels


# %% tags=["wrong"] exercise="06.4" mistake="label_of_partner"
def mixup(images, labels, partner, weight):
    w = weight.view(-1, 1, 1, 1)
    images = w * images + (1 - w) * images[partner]
    w = weight.view(-1, 1)
    return images, (1 - w) * labels + w * labels[partner]


# %% tags=["wrong"] exercise="06.4" mistake="one_weight"
def mixup(images, labels, partner, weight):
    w = weight[0]
    return w * images + (1 - w) * images[partner], w * labels + (1 - w) * labels[partner]


# %% [markdown] tags=["mistakes"] exercise="06.4"
# - one_weight: All pictures were mixed by the first weight; each has its own.
# - label_kept: The pictures are mixed and the labels are not: half a lymphocyte is called a whole one.
# - label_of_partner: The labels' weights are the wrong way round.

# %% [markdown] tags=["hints"] exercise="06.4"
# 1. The same weights mix two things of different shape. Which shape must a weight have to multiply a whole picture?
# 2. `weight.view(-1, 1, 1, 1)` for pictures, `weight.view(-1, 1)` for labels; `images[partner]` are the others.
# 3. `return w * images + (1 - w) * images[partner], v * labels + (1 - v) * labels[partner]` with `w` and `v` those two views

# %% tags=["check"] exercise="06.4"
xl.checks.check("06.4", mixup)

# %% [markdown]
# ### Exercise 5: CutMix at the edge
# A picture has 64 x 64 pixels. A box of 32 x 32 is pasted into it with its center at column 8, row 32, so a part of the box falls outside
# on the left. What weight does the picture's **own** label keep?

# %% tags=["exercise"] exercise="06.5"
own = ...

# %% tags=["solution"] exercise="06.5"
inside = (8 + 16) * 32  # columns 0 to 23
own = 1 - inside / 64**2

# %% tags=["wrong"] exercise="06.5" mistake="not_clipped"
own = 1 - 32 * 32 / 64**2

# %% tags=["wrong"] exercise="06.5" mistake="pasted_share"
own = 24 * 32 / 64**2

# %% [markdown] tags=["mistakes"] exercise="06.5"
# - not_clipped: A quarter of the box fell outside and covered no pixels.
# - pasted_share: That is the share that was pasted; the exercise asks for what the picture keeps.
# - outside_pasted: You took away the part of the box that fell outside; take away what is inside.
# - one_column_more: Columns 0 to 23 are 24 columns, not 25.

# %% [markdown] tags=["hints"] exercise="06.5"
# 1. The label follows the pixels that are really there, not the box that was drawn.
# 2. The box spans columns -8 to 23. How many of them are in the picture?
# 3. `own = 1 - 24 * 32 / 64**2`

# %% tags=["check"] exercise="06.5"
xl.checks.check("06.5", own)

# %% [markdown]
# ## What else goes wrong in a microscope?
# A new laboratory is one kind of change. A smeared slide, a lens out of focus and a cheap camera are others. `xl.augment.corruptions` holds
# fourteen such *corruptions* at severities 1 to 5, for testing. They follow the idea of
# [MedMNIST-C](https://arxiv.org/abs/2406.17536), with amounts of our own, so do not compare the numbers with that benchmark's. The first
# picture is unchanged, and the others stand in the order of the bars below them. Is a model that trained with stain and color also better
# on these?

# %%
tested = tests[0].take(per_class=lab.scale(quick=2, lab=20, full=1000), seed=0)


def hit(corrupt):
    """A pipeline of one corruption, at severity 3."""
    return [lambda images, generator: corrupt(images, 3, generator)]


shown = [tested.inputs[:1]]
shown += [xl.augment.apply(hit(c), tested.inputs[:1], torch.Generator()) for c in xl.augment.corruptions.values()]
xl.lab.show(
    xl.plots.images({"severity 3": torch.cat(shown)}),
    alt="One cell as it is, then under each of fourteen corruptions at severity 3: "
    + ", ".join(xl.augment.corruptions),
)

# %%
robust = {}
for name in ("nothing", "flips, stain, color"):
    robust[name] = {"as it is": xl.evaluate(models[name], tested).balanced_accuracy}
    for what, corrupt in xl.augment.corruptions.items():
        robust[name][what] = xl.evaluate(models[name], changed(tested, hit(corrupt))).balanced_accuracy
xl.lab.show(
    xl.plots.bars(robust, xlabel="corruption, severity 3", ylabel="balanced accuracy"),
    alt="Balanced accuracy under fourteen corruptions, for a model trained without augmentation and one trained with it",
)

# %%
plain, trained = robust.values()
helped = sorted(xl.augment.corruptions, key=lambda what: trained[what] - plain[what])
for what, word in ((helped[-1], "Most"), (helped[0], "Least (a loss if negative)")):
    print(f"{word} gained by training with augmentation: {what}, {trained[what] - plain[what]:+.2f}. One draw.")

# %% [markdown]
# ## Or learn from two laboratories
# Augmentation imagines another laboratory. If a second one has labels, you can ask it instead. Below, each of the three laboratories takes
# its turn as the new one. You train on either of the others alone, and on both together, and test on the third. The model is quick to
# train: a
# linear head on ImageNet's middle blocks (`depth_probe`, see lab 02), with 20 labeled cells a class of every laboratory it learns from.
#
# ### Predict
# Which laboratory is the hardest as the third one, for the model that learned from the two others?

# %%
sites = [home, *abroad] if len(abroad) == 2 else [xl.load(f"cells/site-{letter}") for letter in "abc"]
names = [site.name for site in sites]

# %% tags=["exercise"] exercise="06.p2"
hardest = ...  # one of names
xl.checks.predict("06.p2", hardest, options=names)

# %% tags=["solution"] exercise="06.p2"
hardest = names[-1]
xl.checks.predict("06.p2", hardest, options=names)


# %%
def third_place(trained_on: str, draw: int) -> list[dict]:
    rows = []
    for third in sites:
        others = [site for site in sites if site is not third and trained_on in (site.name, "both others")]
        labeled = [site.train.take(lab.scale(quick=4, lab=20, full=20), seed=draw) for site in others]
        if labeled:
            model = xl.Classifier(xl.encoder("efficientnet_lite0", size=size), third.classes)
            xl.recipes["depth_probe"].fit(model, joined(labeled), augment=None)
            score = xl.evaluate(model, third.test.take(n=lab.scale(quick=20, lab=480, full=10**6)))
            rows += [{"third": third.name, "balanced accuracy": score.balanced_accuracy}]
    return rows


# %%
thirds = lab.experiment(
    f"thirds_{'_'.join(names)}",
    third_place,
    trained_on=["both others", *names],
    earlier=names[1:],  # from the file
    across="third",
    title="tested on the third laboratory",
)

# %% tags=["results"]
thirds.table(over="both others")

# %%
both = thirds.only(trained_on="both others")
errors = xl.lab.Results([{**row, "error": 1 - row["balanced accuracy"]} for row in both], by="third")
xl.checks.reveal("06.p2", errors.best("error"), errors.tied("error"))
for name in names:
    better = thirds.only(trained_on=names).best(third=name)
    gained = thirds.gain("both others", better, third=name)
    print(f"{name}: both give {gained['gain']:+.3f} over {better} alone ({gained['verdict']}).")

# %% [markdown]
# Read a column from top to bottom: which laboratory should you have asked? You cannot know that before you see labels of the third, and
# with two sources you need not guess. That is what they are worth. It has a price where one of the two misleads: there both together come
# out below the better one alone, and the line printed for that laboratory is negative. A cell is empty where a laboratory would be tested
# on itself. The file `bench/tables/sites.md` of the course's repository looks for the reason.
#
# With labels in three laboratories you can play this game before the fourth calls. `xl.compare` with a dict of sources does so: it leaves
# out each place in turn, chooses by the mean (`leave_one_site_out`), and lists the places in its report, the worst first.
#
# ### Exercise 6: what may the fourth laboratory expect?
# You trained on three laboratories. On their own test cells your model reaches 0.93, 0.95 and 0.94. When each was left out of the training
# in turn, the other two gave 0.71, 0.84 and 0.66 there. A fourth laboratory asks what to expect. Give a mean and a worst case.

# %% tags=["exercise"] exercise="06.6"
seen = [0.93, 0.95, 0.94]
left_out = [0.71, 0.84, 0.66]
expected, worst_case = ..., ...

# %% tags=["solution"] exercise="06.6"
seen, left_out = [0.93, 0.95, 0.94], [0.71, 0.84, 0.66]
expected, worst_case = np.mean(left_out), min(left_out)

# %% tags=["wrong"] exercise="06.6" mistake="seen_places"
expected, worst_case = np.mean([0.93, 0.95, 0.94]), 0.93

# %% tags=["wrong"] exercise="06.6" mistake="all_six"
expected, worst_case = np.mean([0.93, 0.95, 0.94, 0.71, 0.84, 0.66]), 0.66

# %% tags=["wrong"] exercise="06.6" mistake="best_case"
expected, worst_case = np.mean([0.71, 0.84, 0.66]), 0.84

# %% [markdown] tags=["mistakes"] exercise="06.6"
# - seen_places: The model has learned these laboratories' stains; the fourth's it has never seen.
# - all_six: Half of these numbers are of laboratories that the model has learned from.
# - best_case: The mean is right; for the worst case take the laboratory that was hardest.

# %% [markdown] tags=["hints"] exercise="06.6"
# 1. The fourth laboratory is one that the model has not learned from. Which three numbers were measured in that situation?
# 2. `np.mean` and `min` of `left_out`.
# 3. `expected, worst_case = np.mean(left_out), min(left_out)`

# %% tags=["check"] exercise="06.6"
xl.checks.check("06.6", (expected, worst_case))

# %% [markdown]
# ## When it hurts: the right augmentation for the wrong data
# A blood cell has no up and no down, so flips and turns give you variety and cost you nothing. A written digit has an up and a down. Here
# are the same flips on real handwriting, with a small network and 100 labels a digit.

# %%
digits = xl.load("digits/mnist")
few, test = digits.train.take(per_class=100, seed=0), digits.test.take(per_class=lab.scale(quick=5, lab=100, full=800))
by_digit = {"nothing": {}, "flips": {}}
for name, pipeline in (("nothing", []), ("flips", [Flip(horizontal=True, vertical=True)])):
    model = xl.Classifier(xl.encoder("lenet"), digits.classes)
    xl.fit(model, few, steps=lab.scale(quick=3, lab=150, full=1000), lr=2e-3, augment=pipeline, progress_bar=False)
    scores = xl.evaluate(model, test)
    by_digit[name] = dict(zip(digits.classes, (scores.confusion.diagonal() / scores.confusion.sum(1)).tolist()))
xl.lab.show(
    xl.plots.bars(by_digit, xlabel="digit", ylabel="recall"),
    alt="Recall of each written digit, trained without augmentation and with flips",
)

# %%
changes = [by_digit["flips"][digit] - by_digit["nothing"][digit] for digit in digits.classes]
print(f"Flips change the mean recall by {np.mean(changes):+.3f}. One draw, one seed.")
worst = digits.classes[int(np.argmin(changes))]
print(f"They change it most for digit {worst} ({min(changes):+.3f}).")

# %% [markdown]
# A 6 that is flipped both ways is a 9, and a 2 that is mirrored from top to bottom is nearly a 5. Here the augmentation makes pictures
# with a wrong label. (A digit
# that looks the same when flipped may lose a little too, because the same steps now have to cover four versions of each digit.) Before
# you add an operation, look at twenty of its pictures and name the class yourself. If you cannot, neither can the model.
#
# ## Quiz

# %% [markdown] tags=["quiz"]
# ### Your augmentation lowers accuracy at home and raises it in the new laboratory. What has it done?
# - [ ] It is broken: a good augmentation never costs anything at home.
#   It can. A model that stops reading the stain loses a shortcut that worked at home.
# - [x] It made the model ignore something that misleads abroad.
#   Yes. The same thing helped at home, so home pays. Whether that is a good bargain depends on where the model will work.
# - [ ] It added labels, and the new labels fit the new laboratory.
#   The labels are the same as before. Only the pictures vary more.

# %% [markdown] tags=["quiz"]
# ### A model trained on sharp pictures fails on blurred ones. Is the class erased?
# - [ ] Yes: if the class were still there, the model would see it.
#   The model has never seen a blurred cell, so it may simply not know where to look.
# - [ ] No: a network can always undo a blur.
#   It cannot. Detail below the noise is gone for good.
# - [x] You cannot tell yet.
#   Yes. Train on blurred pictures too, and see what comes back. What comes back was only unfamiliar.

# %% [markdown] tags=["quiz"]
# ### Why is a random draw for every picture better than one for every batch?
# - [x] Each step sees as many variations as pictures.
#   Yes. With one draw for the batch, each step leans towards one lamp or one stain.
# - [ ] It is faster.
#   It costs about the same.
# - [ ] It makes results repeatable, because each picture has its own number.
#   The seed makes results repeatable, in both cases.

# %% tags=["nbval-check-output"]
print("Vary what a laboratory may change; leave alone what makes the class.")

# %% [markdown]
# ## Recap

# %% tags=["answer"]
farthest = abroad[-1].name
ways = results.only(site=farthest)
lab.answer(
    site=farthest,
    best=ways.best(),
    plain=ways.mean()["nothing"],
    gain=ways.gain(ways.best(), "nothing"),
    flips=float(np.mean(changes)),
)

# %% [markdown]
# - An augmentation is a claim about the world: *this may change, and the class stays the same*. Draw it and look, which takes one call.
# - Dyes add up in optical density. So a new stain is a slope and an offset in optical density, and not in RGB.
# - What training with the augmentation does not bring back was erased. The rest was unfamiliar.
# - MixUp and CutMix change the label too, in proportion to what is in the picture.
# - With labels from two laboratories you need not guess which of them the new one is like, although one that misleads costs something.
#   Before you promise anything, leave each laboratory out once and test on it.
# - Some differences above are not separated from zero. Then the pipeline that is easiest to explain is a fine choice.
#
# ### Papers
# - Tellez et al., 2018, *Whole-slide mitosis detection in H&E breast histology using PHH3 as a reference to train distilled
#   stain-invariant convolutional networks* [arXiv:1808.05896](https://arxiv.org/abs/1808.05896)
# - Cubuk et al., 2019, *RandAugment* [arXiv:1909.13719](https://arxiv.org/abs/1909.13719)
# - Zhou et al., 2021, *Domain generalization with MixStyle* [arXiv:2104.02008](https://arxiv.org/abs/2104.02008): on feature maps; here
#   their equation acts on pixels
# - Di Salvo et al., 2024, *MedMNIST-C* [arXiv:2406.17536](https://arxiv.org/abs/2406.17536)
#
# ### The same on your own data
# Two folders of pictures with one folder a class in each: `XFERLAB_DATASET=path/home:path/abroad`. Then change `pipelines` to what may
# differ between *your* two places, and draw the sheets first. Nothing here is for clinical use.
