# %% [markdown]
# ## The question
# You have an encoder that was trained on photographs of dogs, espresso cups and lorries. A haematology
# laboratory gives you microscope pictures of blood cells and labels for five cells of each class, perhaps
# twenty. **How much of the old encoder should move?**
#
# Everything below runs on the data that the next cell names. By default that is a rendered blood smear:
# synthetic pictures, so a result here is a result about the method on this rendering, not about patients.
# Set `XFERLAB_DATASET` to a real set and run the same cells again; the text reads its numbers from the run.

# %%
import pandas as pd
import torch

import xferlab as xl

lab = xl.lab.start("02")
name = lab.dataset("cells/site-a")
splits = xl.load(name)
splits.train

# %%
xl.lab.show(
    xl.plots.contact_sheet(splits.train, per_class=10),
    alt=f"One row of ten example pictures for each of the {len(splits.classes)} classes of {splits.name}",
)

# %% [markdown]
# The encoder is EfficientNet-Lite0 with its ImageNet weights, from an ordinary package on this machine. Its
# input size and normalisation are its own business: uint8 pictures go straight in. Here are its blocks, in
# the order an image meets them, and how many numbers each holds.

# %%
encoder = xl.encoder("efficientnet_lite0")
for block in encoder.blocks:
    print(f"{block.name:10s} {sum(p.numel() for p in block.parameters()):>9,} parameters")
print(f"features: {encoder.dim}")

# %% [markdown]
# ## Six ways to move
#
# | name | what moves | why one would |
# |---|---|---|
# | small net from scratch | four convolution blocks, from random weights | small enough to learn from few pictures; it gets three times the steps |
# | same net from scratch | EfficientNet-Lite0 from random weights | the same network without ImageNet, so that only the start differs; with no more steps than the others, so look to the small net for the baseline to beat |
# | linear probe | a new last layer only | five labels cannot spoil what they cannot touch |
# | full | everything | the new pictures look nothing like photographs |
# | LP-FT | the last layer first, then everything ([Kumar et al., 2022](https://arxiv.org/abs/2202.10054)) | a good head before the features move |
# | layer-wise | everything, the slower the nearer the input ([Howard & Ruder, 2018](https://arxiv.org/abs/1801.06146)) | edges and colours are the same everywhere |
#
# ### Predict
# Before you run it: which of the six has the best balanced accuracy on the test set with **5** labels a class?

# %% tags=["exercise"] exercise="02.p1"
ways = ["small net from scratch", "same net from scratch", "linear probe", "full", "LP-FT", "layer-wise"]
guess = ...  # one of these six names
xl.checks.predict("02.p1", guess, options=ways)

# %% tags=["solution"] exercise="02.p1"
ways = ["small net from scratch", "same net from scratch", "linear probe", "full", "LP-FT", "layer-wise"]
guess = "linear probe"
xl.checks.predict("02.p1", guess, options=ways)

# %% [markdown]
# ## The experiment
# A *draw* is one random choice of which cells were labelled. Draw 0 with 20 labels a class trains now; the other four
# draws, and 5 and 100 labels a class, were measured earlier with this same code and are read from a file that says when and
# where. A *recipe* in the code is a named way of training, one for each row above. Smaller draws are parts of larger ones, so a curve adds labels and never swaps them. Rates, steps and the
# batch of 16, which a Binder tab's memory holds, were chosen on validation splits and are the same for every data set; the test set is looked at once per run, at its end.
#
# The encoder sees the pictures at 96 px: its five halvings leave a 3 x 3 map there, against 2 x 2 at their own 64 px.

# %%
steps = lab.scale(quick=3, lab=60, full=600)
counts = (5, 20, 100) if lab.records else lab.scale(quick=(20,), lab=(20,), full=(5, 20, 100))
size = lab.scale(quick=64, lab=96, full=224)
settings = dict(batch_size=16, lr=1e-3, augment=None, progress_bar=lab.shows_progress)

# name: (recipe, encoder, start from ImageNet?, steps)
methods = {
    "small net from scratch": ("source_only", "small_cnn", False, 3 * steps),
    "same net from scratch": ("source_only", "efficientnet_lite0", False, steps),
    "linear probe": ("linear_probe", "efficientnet_lite0", True, steps),
    "full": ("source_only", "efficientnet_lite0", True, steps),
    "LP-FT": ("lp_ft", "efficientnet_lite0", True, steps),
    "layer-wise": ("layerwise", "efficientnet_lite0", True, steps),
}


def train(method: str, labelled: xl.Domain):
    recipe, encoder, pretrained, steps = methods[method]
    encoder = xl.encoder(encoder, pretrained=pretrained, size=size if encoder == "efficientnet_lite0" else 64)
    model = xl.Classifier(encoder, labelled.classes)
    return xl.recipes[recipe].fit(model, labelled, steps=steps, **settings)


# %%
# in the lab profile one baseline is read from the file as well, to stay inside two minutes
live = [method for method in methods if lab.records or lab.profile != "lab" or method != "same net from scratch"]
rows, models, runs = [], {}, {}
for draw in lab.draws(5):
    for count in counts:
        labelled = splits.train.take(per_class=count, seed=draw)
        for method in live:
            run = train(method, labelled)
            scores = xl.evaluate(run.model, splits.test)
            rows.append(
                {
                    "method": method,
                    "labels": count,
                    "draw": draw,
                    "balanced accuracy": scores.balanced_accuracy,
                    "ECE": scores.ece,
                    "seconds": run.seconds,
                }
            )
            if draw == 0 and count == 20:
                models[method], runs[method] = run.model, run
rows = lab.pooled(f"labels_{splits.name}", rows, by=("method", "labels", "draw"))

# %%
xl.lab.show(
    xl.plots.curves(
        rows, x="labels", y="balanced accuracy", by="method", xlabel="labels per class", ylabel="balanced accuracy"
    ),
    alt="Balanced accuracy on the test set against labels per class, one line a method, with 95 % intervals over draws",
)

# %% [markdown]
# Intervals of two methods may overlap although one beats the other in every draw, because a lucky draw lifts
# both. So compare **within** a draw: the difference between two methods trained on the same labelled cells,
# averaged over draws. *Separated* means that the 95 % t-interval of this paired difference leaves out zero.

# %% tags=["results"]
table = pd.DataFrame(rows)
mean = table.pivot_table(index="method", columns="labels", values="balanced accuracy", sort=False).sort_index(axis=1)
print(
    f"{splits.name}: balanced accuracy on {len(splits.test)} test pictures, mean over draws (draws: {table.draw.nunique()})"
)
print(mean.round(3).to_string())

paired = []
for scratch in [m for m in methods if "scratch" in m and m in set(table.method)]:
    for count, part in table[table.method.eq(scratch) | ~table.method.str.contains("scratch")].groupby("labels"):
        gains = xl.evaluation.paired(part.to_dict("records"), "balanced accuracy", scratch)
        paired += [{"against": scratch, "labels": count, **gain} for gain in gains]
print("\nPaired differences in balanced accuracy to training from scratch on the same labelled pictures")
print(pd.DataFrame(paired).round(3).to_string(index=False))
print("\nSeconds of training, mean over draws")
print(
    table.pivot_table(index="method", columns="labels", values="seconds", sort=False)[mean.columns].round(1).to_string()
)

# %%
fewest = min(mean.columns)
xl.checks.reveal("02.p1", mean[fewest].idxmax())
best, worst = mean[fewest].idxmax(), mean[fewest].idxmin()
print(
    f"With {fewest} labels a class the best of the six is {best} at {mean[fewest][best]:.2f}, "
    f"the worst {worst} at {mean[fewest][worst]:.2f}."
)

# %% [markdown]
# The best mean is a winner only if its paired difference is separated: look it up in the table. Here are the same curves, and at the
# number of labels you choose what each method gains over the baseline you choose:

# %%
xl.widgets.labels(rows)

# %% [markdown]
# ### What does it cost?
# Accuracy alone hides the bill. Each point is one training run: the clock includes everything from the first
# step to the last, and for the probe the one pass that computes its features.

# %%
at = 20
points = {
    method: (part["seconds"], part["balanced accuracy"])
    for method, part in table[table.labels == at].groupby("method", sort=False)
}
xl.lab.show(
    xl.plots.scatter(points, xlabel="seconds of training (log scale)", ylabel="balanced accuracy", log=True),
    alt=f"Balanced accuracy against seconds of training at {at} labels a class, one point a run, one colour a method",
)

# %% [markdown]
# ### Exercise 1: freeze the encoder
# Assign the strategy that trains the head and nothing else. A strategy is a value you pass to `fit`: `xl.strategies.full()`
# lets everything move. Type `xl.strategies.` and press Tab for the others.

# %% tags=["exercise"] exercise="02.1"
strategy = ...

# %% tags=["solution"] exercise="02.1"
strategy = xl.strategies.head_only()

# %% tags=["wrong"] exercise="02.1" mistake="trains_encoder"
strategy = xl.strategies.full()

# %% tags=["wrong"] exercise="02.1" mistake="not_called"
strategy = xl.strategies.head_only

# %% tags=["wrong"] exercise="02.1" mistake="norms_move"
strategy = xl.strategies.norm_only()

# %% [markdown] tags=["mistakes"] exercise="02.1"
# - trains_encoder: With this strategy every block of the encoder trains; the exercise asks for the head alone.
# - not_called: This is the function that makes the strategy; call it, with brackets, to get one.
# - norms_move: Here every batch norm of the encoder moves too, with its statistics.

# %% [markdown] tags=["hints"] exercise="02.1"
# 1. What is the smallest part of the model that has to know the new classes?
# 2. The functions of `xl.strategies` each return a strategy. One of them says in its name what moves.
# 3. `strategy = xl.strategies.head_only()`

# %% tags=["check"] exercise="02.1"
xl.checks.check("02.1", strategy)

# %% [markdown]
# ## Which layers have to move?
# Two looks at the same question. First, how far did each block travel from its ImageNet weights? We measure
# the length of the change against the length of the start, ‖w − w₀‖ / ‖w₀‖.

# %%
start = xl.encoder("efficientnet_lite0")
labelled = splits.train.take(per_class=20, seed=0)


@torch.no_grad()
def travelled(model) -> dict[str, float]:
    distance = {}
    for before, after in zip(start.blocks, model.encoder.blocks):
        pairs = list(zip(before.parameters(), after.parameters()))
        moved = sum((b.cpu() - a).square().sum() for a, b in pairs).sqrt()
        distance[before.name] = float(moved / sum(a.square().sum() for a, _ in pairs).sqrt())
    return distance


xl.lab.show(
    xl.plots.bars(
        {method: travelled(models[method]) for method in ("full", "layer-wise")},
        xlabel="block, input side first",
        ylabel="relative change of weights",
    ),
    alt="Relative change of the weights of each encoder block after full and layer-wise fine-tuning",
)

# %% [markdown]
# How far a block moved does not say whether it had to. So, second, we *allow* only the last blocks to move and
# watch the accuracy. No block is the linear probe, all nine is full fine-tuning: both were trained above.

# %%
ladder = {"none": xl.evaluate(models["linear probe"], splits.test).balanced_accuracy}
for blocks in lab.scale(quick=(1,), lab=(3,), full=(1, 2, 3, 5, 7)):
    model = xl.Classifier(xl.encoder("efficientnet_lite0", size=size), labelled.classes)
    xl.fit(model, labelled, strategy=xl.strategies.top(blocks), steps=steps, **settings)
    ladder[f"last {blocks}"] = xl.evaluate(model, splits.test).balanced_accuracy
ladder["all 9"] = xl.evaluate(models["full"], splits.test).balanced_accuracy
xl.lab.show(
    xl.plots.bars({"20 labels a class": ladder}, xlabel="blocks that move", ylabel="balanced accuracy"),
    alt="Balanced accuracy when none, the last few or all nine encoder blocks may move",
)
print("One draw, one seed:", ", ".join(f"{key} {value:.3f}" for key, value in ladder.items()))

# %% [markdown]
# ### Exercise 2: how slow is the first block?
# In `layerwise(decay)` block *i* of *n* (counting from 0 at the input) moves at `lr * decay ** (n - i)`, and the
# head at `lr`. With `lr=1e-3`, `decay=0.7` and the nine blocks above, how fast does the **first** block move?

# %% tags=["exercise"] exercise="02.2"
rate = ...

# %% tags=["solution"] exercise="02.2"
rate = 1e-3 * 0.7**9

# %% tags=["wrong"] exercise="02.2" mistake="off_by_one"
rate = 1e-3 * 0.7**8

# %% tags=["wrong"] exercise="02.2" mistake="multiplier_only"
rate = 0.7**9

# %% tags=["wrong"] exercise="02.2" mistake="last_block"
rate = 1e-3 * 0.7

# %% tags=["wrong"] exercise="02.2" mistake="faster"
rate = 1e-3 * 0.7**-9

# %% [markdown] tags=["mistakes"] exercise="02.2"
# - off_by_one: One factor of 0.7 is missing: even the block next to the head, i = 8, has one.
# - multiplier_only: That is the multiplier; the block moves at lr times the multiplier.
# - last_block: That is the last block, the one next to the head; the first is at the input.
# - faster: That is faster than the head; the exponent n - i is positive.

# %% [markdown] tags=["hints"] exercise="02.2"
# 1. The first block is the one with the most layers between it and the head.
# 2. Put i = 0 and n = 9 into the exponent.
# 3. `rate = 1e-3 * 0.7**9`

# %% tags=["check"] exercise="02.2"
xl.checks.check("02.2", rate)

# %% [markdown]
# ## What does the model read?
# Grad-CAM ([Selvaraju et al., 2017](https://arxiv.org/abs/1610.02391)) weighs the channels of one layer by how much
# they speak for the predicted class and draws the result over the picture, turned grey. It glows where the evidence is; no glow means that no
# channel of this layer spoke for the class. Each column is a test picture, one of each class in the order of the first figure.
# We look at a middle block, whose map is still fine enough to tell the nucleus from its surroundings.

# %%
some = torch.cat([(splits.test.labels == k).nonzero()[:1, 0] for k in range(len(splits.classes))])
pictures, layer = splits.test.inputs[some], "blocks.4"
looked = {}
for method in ("linear probe", "full"):
    looked[method] = xl.attribution.grad_cam(models[method], pictures, layer=layer)
xl.lab.show(
    xl.plots.images({"picture": pictures, **{method: pictures for method in looked}}, overlay=looked),
    alt="One test picture of each class, and over it where the linear probe and the fully fine-tuned model look",
)

# %% [markdown]
# A heat map is a picture of the model, not of the truth: it says where the evidence was taken from, not
# whether it was good evidence. Its use is to catch a model that reads the wrong thing, such as the
# neighbouring red cells or the edge of the slide.
#
# ### Exercise 3: the loss of a rare class
# Smears are unbalanced. `CrossEntropy(balanced=True)` weighs class *k* by `N / (K n_k)`: *N* labels in all, *K*
# classes, `n_k` labels of class *k*. Give the three weights for 100 neutrophils, 20 eosinophils and 5 basophils.

# %% tags=["exercise"] exercise="02.3"
weights = [..., ..., ...]

# %% tags=["solution"] exercise="02.3"
n_k = torch.tensor([100.0, 20.0, 5.0])
weights = (n_k.sum() / (3 * n_k)).tolist()

# %% tags=["wrong"] exercise="02.3" mistake="share_not_inverse"
weights = [100 / 125, 20 / 125, 5 / 125]

# %% tags=["wrong"] exercise="02.3" mistake="forgot_classes"
weights = [125 / 100, 125 / 20, 125 / 5]

# %% [markdown] tags=["mistakes"] exercise="02.3"
# - share_not_inverse: These grow with the count, so the common class would count for even more.
# - forgot_classes: The ratios are right, the size is not: divide N by K as well, so that the mean weight of a label stays 1.

# %% [markdown] tags=["hints"] exercise="02.3"
# 1. A class with few labels must count for more, not less.
# 2. N is 125 and K is 3; divide once for each class.
# 3. `weights = [125 / (3 * n) for n in (100, 20, 5)]`

# %% tags=["check"] exercise="02.3"
xl.checks.check("02.3", weights)

# %% [markdown]
# ## When it hurts: fine-tuning that destroys good features
# Fine-tune everything at twenty labels a class, once with the rate used above (that model is trained already) and once with one
# ten times higher. Then ask of the *features* how good they still are: put a fresh linear probe on them, trained with fifty labels
# a class. That probe does not care about the old head; it can only be as good as what the encoder still knows.

# %%
many = splits.train.take(per_class=50, seed=0)


def probed(encoder) -> float:
    """Balanced accuracy of a fresh linear probe on these features."""
    model = xl.Classifier(encoder, splits.classes)
    xl.recipes["linear_probe"].fit(model, many, steps=lab.scale(quick=2, lab=60, full=120), progress_bar=False)
    return xl.evaluate(model, splits.test).balanced_accuracy


hard = xl.Classifier(xl.encoder("efficientnet_lite0", size=size), labelled.classes)
runs["hard"] = xl.recipes["source_only"].fit(hard, labelled, steps=steps, **(settings | {"lr": 1e-2}))
kept = {
    "ImageNet, untouched": probed(xl.encoder("efficientnet_lite0", size=size)),
    "fine-tuned at lr 0.001": probed(models["full"].encoder),
    "fine-tuned at lr 0.01": probed(hard.encoder),
    "never trained": probed(xl.encoder("efficientnet_lite0", pretrained=False, size=size)),
}
xl.lab.show(
    xl.plots.bars({"": kept}, xlabel="encoder", ylabel="balanced accuracy of a fresh probe"),
    alt="Balanced accuracy of a fresh probe on four encoders: ImageNet, fine-tuned gently, fine-tuned hard, never trained",
)
for lr, key in (("0.001", "full"), ("0.01", "hard")):
    first, last = (runs[key].history[at]["CrossEntropy"] for at in (0, -1))
    change = kept[f"fine-tuned at lr {lr}"] - kept["ImageNet, untouched"]
    print(
        f"lr {lr}: training loss {first:.2f} to {last:.2f}; what a fresh probe can read changed by {change:+.3f}. One seed."
    )

# %% [markdown]
# Compare the two printed lines with the bars. A loss that falls looks like learning in any log, and it only says how well the few
# labelled pictures are fitted; what was gained or lost beside them shows where labels are held out, or in a probe.
#
# ### Exercise 4: measure without fooling yourself
# Write `accuracy(model, images, labels)`: the share of pictures the model gets right. The model comes straight
# from training, and must leave your function in the mode it came in.


# %% tags=["exercise"] exercise="02.4"
def accuracy(model, images, labels): ...


# %% tags=["solution"] exercise="02.4"
def accuracy(model, images, labels):
    was_training = model.training
    model.eval()  # batch norm must use its running statistics, or an answer depends on its neighbours
    with torch.no_grad():
        right = (model(images).argmax(1) == labels).float().mean().item()
    model.train(was_training)
    return right


# %% tags=["wrong"] exercise="02.4" mistake="train_mode"
def accuracy(model, images, labels):
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


# %% tags=["wrong"] exercise="02.4" mistake="left_in_eval"
def accuracy(model, images, labels):
    model.eval()
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()


# %% tags=["wrong"] exercise="02.4" mistake="mean_of_logits"
def accuracy(model, images, labels):
    model.eval()
    with torch.no_grad():
        right = model(images).softmax(1).max(1).values.mean().item()
    model.train()
    return right


# %% [markdown] tags=["mistakes"] exercise="02.4"
# - train_mode: The model was still in training mode: each picture was normalised by its neighbours in the batch.
# - mean_of_logits: This is the mean confidence; accuracy compares the most likely class with the label.
# - percent: That is in percent; the share is between 0 and 1.
# - left_in_eval: The number is right, but the model came in training mode and left in evaluation mode: the next epoch would train with frozen batch norm.
# - left_in_train: A model that came in evaluation mode must leave in it too; remember model.training before you change it.

# %% [markdown] tags=["hints"] exercise="02.4"
# 1. Would the answer for one picture change if the others in the batch changed? When would it?
# 2. `model.eval()` before, and `model.train(...)` after, as it was; predictions are `argmax(1)`.
# 3. `was = model.training; model.eval(); right = (model(images).argmax(1) == labels).float().mean().item(); model.train(was)`

# %% tags=["check"] exercise="02.4"
xl.checks.check("02.4", accuracy)

# %% [markdown]
# ### Exercise 5: which number do you report?
# Three runs with different settings gave these balanced accuracies. Choose a run, and assign the **number you would
# report** for it.

# %% tags=["exercise"] exercise="02.5"
validation = {"run A": 0.81, "run B": 0.86, "run C": 0.84}
test = {"run A": 0.83, "run B": 0.79, "run C": 0.85}
reported = ...

# %% tags=["solution"] exercise="02.5"
validation = {"run A": 0.81, "run B": 0.86, "run C": 0.84}
test = {"run A": 0.83, "run B": 0.79, "run C": 0.85}
reported = test[max(validation, key=validation.get)]

# %% tags=["wrong"] exercise="02.5" mistake="selected_on_test"
reported = 0.85

# %% tags=["wrong"] exercise="02.5" mistake="reported_validation"
reported = 0.86

# %% [markdown] tags=["mistakes"] exercise="02.5"
# - selected_on_test: That is the best test score, so the test set did the choosing; it can no longer judge.
# - reported_validation: That is the validation score that won the choice, so it is flattered; report the same run's test score.

# %% [markdown] tags=["hints"] exercise="02.5"
# 1. Which of the two dictionaries may you look at before you have chosen?
# 2. Choose the run by `validation`, then read that run's entry in `test`.
# 3. `reported = test[max(validation, key=validation.get)]`

# %% tags=["check"] exercise="02.5"
xl.checks.check("02.5", reported)

# %% [markdown]
# ## Quiz

# %% [markdown] tags=["quiz"]
# ### With five labels a class, why can a linear probe beat full fine-tuning?
# - [ ] It has more parameters to fit.
#   It has far fewer: one matrix. Full fine-tuning moves 3.4 million numbers more.
# - [x] Few labels can pull good features towards accidents of those few pictures; frozen features cannot be pulled.
#   Yes. Kumar et al. call it feature distortion: the encoder moves to fit a head that was random a moment ago.
# - [ ] It sees the test set through batch norm.
#   Its batch norms are frozen, so it sees nothing of the test set.
# - [ ] Its learning rate is always smaller.
#   Its rate can be larger; what matters is what it is allowed to move.

# %% [markdown] tags=["quiz"]
# ### Two methods' intervals over draws overlap. What follows?
# - [ ] The methods do not differ.
#   Overlap of two intervals is no test of their difference: both hold the luck of the draw, which is shared.
# - [x] Nothing yet: look at the paired differences within draws.
#   Yes. Pairing removes the luck that both share.
# - [ ] The one with the higher mean is better.
#   It may be; the paired interval says how sure you can be.

# %% [markdown] tags=["quiz"]
# ### A Grad-CAM map is bright on the nucleus. What have you learned?
# - [ ] The model's diagnosis is right.
#   A wrong answer can be read from the right place.
# - [ ] The model would work in another laboratory.
#   The map says nothing about stains it has not seen.
# - [x] For this picture, the evidence at this layer came mostly from the nucleus.
#   Yes, and no more than that. It is most useful when it is bright in the wrong place.

# %% tags=["nbval-check-output"]
print("One draw is an anecdote; five paired draws are a measurement.")

# %% [markdown]
# ## Recap
# - A pretrained encoder is worth labels and seconds; how many of each, the table above says for this data.
# - What moves is a choice: `head_only`, `norm_only`, `layerwise`, `gradual_unfreeze`, `lp_ft`, `full`.
# - Compare within draws, choose on validation, report on test.
# - A falling training loss does not show what fine-tuning destroys. A fresh probe does.
#
# ### Papers
# - Kornblith et al., 2019, *Do better ImageNet models transfer better?* [arXiv:1805.08974](https://arxiv.org/abs/1805.08974)
# - Raghu et al., 2019, *Transfusion: understanding transfer learning for medical imaging* [arXiv:1902.07208](https://arxiv.org/abs/1902.07208)
# - Kumar et al., 2022, *Fine-tuning can distort pretrained features and underperform out-of-distribution* [arXiv:2202.10054](https://arxiv.org/abs/2202.10054)
# - Yang et al., 2023, *MedMNIST v2* [arXiv:2110.14795](https://arxiv.org/abs/2110.14795)
#
# ### The same on your own data
# A folder with one folder of pictures for each class is a domain: `XFERLAB_DATASET=path/to/folder`, then run this
# notebook again. Nothing here is for clinical use.
