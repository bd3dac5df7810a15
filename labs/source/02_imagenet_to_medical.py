# %% [markdown]
# ## When does ImageNet pay?
# You have an encoder that was trained on a million photographs of dogs, espresso cups and trucks. A hospital gives you medical
# pictures, and labels for five pictures of each class, perhaps for twenty. You could use the encoder as it is, read it at another
# depth, or let all of it move. You could also train a small network from scratch and forget about the photographs.
#
# This lab measures all of these in the same way. You train them on the data that the next cell names, which by default is a rendered
# blood smear. Afterwards you see the same comparison on real blood smears and real chest X-rays, measured earlier with this code.
#
# Rendered pictures are synthetic, so a result on them says something about the methods and nothing about patients. To use a
# real set of your own, set `XFERLAB_DATASET` to its name, file or folder and run the same cells again.

# %%
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
# The encoder is EfficientNet-Lite0 with its ImageNet weights, from an ordinary package on this machine. It brings its own input size
# and normalization, so you can give it uint8 pictures as they are. Here are its blocks, in the order in which a picture meets them,
# and how many numbers each block holds.

# %%
encoder = xl.encoder("efficientnet_lite0")
for block in encoder.blocks:
    print(f"{block.name:10s} {sum(p.numel() for p in block.parameters()):>9,} parameters")
print(f"features: {encoder.dim}")

# %% [markdown]
# ## Seven ways to train
#
# | name | what moves | why you might want it |
# |---|---|---|
# | small net from scratch | four convolution blocks, from random weights | It is small enough to learn from few pictures. It gets three times as many steps as the others. |
# | same net from scratch | EfficientNet-Lite0, from random weights | Only the start differs from fine-tuning, so this shows what the start is worth. |
# | linear probe | a new last layer | Five labels cannot spoil what they cannot touch. |
# | depth probe | a new layer that reads the middle blocks | The last block was made for naming objects in photographs. The middle ones still see texture and shape ([Evci et al., 2022](https://arxiv.org/abs/2201.03529)). |
# | full | everything | Medical pictures look nothing like photographs. |
# | LP-FT | the last layer first, then everything ([Kumar et al., 2022](https://arxiv.org/abs/2202.10054)) | A good head stands before the features begin to move. |
# | layer-wise | everything, the slower the nearer the input ([Howard & Ruder, 2018](https://arxiv.org/abs/1801.06146)) | Edges and colors look the same everywhere. |
#
# ![](drawings/fine_tuning.svg)
#
# ### Predict
# Before you run anything, commit to an answer: which of the seven reaches the best balanced accuracy on the test part with
# **5** labels a class?

# %% tags=["exercise"] exercise="02.p1"
ways = ["small net from scratch", "same net from scratch", "linear probe", "depth probe", "full", "LP-FT", "layer-wise"]
guess = ...  # one of these seven names
xl.checks.predict("02.p1", guess, options=ways)

# %% tags=["solution"] exercise="02.p1"
ways = ["small net from scratch", "same net from scratch", "linear probe", "depth probe", "full", "LP-FT", "layer-wise"]
guess = "linear probe"
xl.checks.predict("02.p1", guess, options=ways)

# %% [markdown]
# ## The experiment
# A *recipe* is a named way of training, and each row of the table above is one recipe with one encoder. A *draw* is one random
# choice of which pictures were labeled. The first draw with 20 labels a class trains now, while you watch. The other four draws, and
# 5 and 100 labels a class, were measured earlier with this same code and are read from a file that says when and where.
#
# Learning rate, steps and batch size were chosen on validation parts and are the same for every set. No picture is augmented here,
# so that you see the effect of the start alone; lab 06 is about augmentation. The test part is looked at once for each run, at its end.
#
# The encoder sees the pictures at 96 pixels. It halves them five times, which leaves a map of 3 x 3; at their own 64 pixels it would
# be 2 x 2.

# %%
steps = lab.scale(quick=3, lab=60, full=600)
size = lab.scale(quick=64, lab=96, full=224)
# name: (recipe, encoder, start from ImageNet?, steps)
methods = {
    "small net from scratch": ("source_only", "small_cnn", False, 3 * steps),
    "same net from scratch": ("source_only", "efficientnet_lite0", False, steps),
    "linear probe": ("linear_probe", "efficientnet_lite0", True, steps),
    "depth probe": ("depth_probe", "efficientnet_lite0", True, steps),
    "full": ("source_only", "efficientnet_lite0", True, steps),
    "LP-FT": ("lp_ft", "efficientnet_lite0", True, steps),
    "layer-wise": ("layerwise", "efficientnet_lite0", True, steps),
}

# %% [markdown]
# One run is short: take the labeled pictures, build a model, call the recipe, and score the result on the test part.

# %%
settings = dict(batch_size=16, lr=1e-3, augment=None, progress_bar=lab.shows_progress)
runs = {}  # of the first draw with 20 labels a class, for the questions further down


def trial(method: str, labels: int, draw: int) -> dict:
    recipe, encoder, pretrained, steps = methods[method]
    encoder = xl.encoder(encoder, pretrained=pretrained, size=64 if encoder == "small_cnn" else size)
    model = xl.Classifier(encoder, splits.classes)
    run = xl.recipes[recipe].fit(model, splits.train.take(labels, seed=draw), steps=steps, **settings)
    if (labels, draw) == (20, 0):
        runs[method] = run
    scores = xl.evaluate(model, splits.test)
    return {"balanced accuracy": scores.balanced_accuracy, "ECE": scores.ece, "seconds": run.seconds}


# %%
every = lab.records or lab.profile == "full"
results = lab.experiment(
    f"labels_{splits.name}",
    trial,
    # one baseline is read from the file alone, to stay inside two minutes
    method=[way for way in methods if every or lab.profile == "quick" or way != "same net from scratch"],
    labels=(5, 20, 100) if every else (20,),
    title=splits.name,
)

# %%
results.curves(xlabel="labels a class")

# %% [markdown]
# Two intervals may overlap although one method beats the other in every draw, because a lucky draw lifts both. So compare them
# **within** a draw: take the difference between two methods that saw the same labeled pictures, and average it over draws. We call
# the two *separated* when the 95 % t-interval of this paired difference leaves out zero.

# %% tags=["results"]
results.table(over="small net from scratch")

# %%
results.gains(over="small net from scratch")

# %%
fewest = results.levels[0]
xl.checks.reveal("02.p1", results.best(labels=fewest))
ranks = results.mean(labels=fewest)
print(f"With {fewest} labels a class:", ", ".join(f"{way} {score:.2f}" for way, score in ranks.items()))

# %% [markdown]
# The best mean is only a winner if its paired difference is separated, so look for the mark in the table. Below are the same
# curves once more. Choose a number of labels and a baseline, and read what each method gains over it.

# %%
xl.widgets.labels(list(results))

# %% [markdown]
# ### What does it cost?
# Accuracy alone hides the bill. Each point is one training run with 20 labels a class. The clock runs from the first step to the
# last; for the two probes it includes the one pass that computes the features.

# %%
results.only(labels=20).scatter("seconds", log=True)

# %% [markdown]
# ## The same question on real pictures
# Rendered cells are one set, and the answer changes with the set. The same methods were trained with the same settings on real
# blood smears (BCCD, three classes) and on real chest X-rays of children (PneumoniaMNIST, two classes). If you brought your own
# data, it stands beside them. A mark to the right of the line means that a way to use ImageNet beats the small net.

# %%
sets = {"cells-site-a": "rendered cells", "bccd_64": "real blood smears", "pneumonia_28": "real chest X-rays"}
rows = []
for file, title in sets.items():
    rows += [row | {"set": title, "here": False} for row in lab.committed(f"labels_{file}")]
if splits.name not in ("cells/site-a", *sets):
    rows += [row | {"set": splits.name} for row in results]
several = xl.lab.Results(
    [row for row in rows if row["method"] not in ("same net from scratch", "layer-wise")], across="set"
)
small = "small net from scratch"

# %%
several.only(labels=20).gains(over=small)

# %%
several.only(labels=5).table(over=small, caption="5 labels a class.")

# %%
several.only(labels=20).table(over=small, caption="20 labels a class.")

# %% [markdown]
# Compare the two tables. Read in the middle, ImageNet's features keep up with the small net with five labels and are ahead of it with
# twenty on two of the three sets, for a few seconds of work. Read at the end, or fine-tuned with five labels, the same weights fall
# behind on the real sets. On the smears, color tells the classes apart. A small net learns that from a few pictures, and there is
# nothing left to gain.
#
# All of these runs train without augmentation. A small net gains a lot from it, so do not take these tables for the last word:
# `bench/tables/real.md` has the real sets with augmentation, and lab 06 shows you how to choose it.
#
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
# There are two ways to look at this. First, how far did each block travel from its ImageNet weights? We measure the length of the
# change against the length of the start, ‖w − w₀‖ / ‖w₀‖.

# %%
start = xl.encoder("efficientnet_lite0")
distance = {"full": {}, "layer-wise": {}}
with torch.no_grad():
    for method, by_block in distance.items():
        for before, after in zip(start.blocks, runs[method].model.encoder.blocks):
            pairs = list(zip(before.parameters(), after.parameters()))
            moved = sum((b.cpu() - a).square().sum() for a, b in pairs)
            by_block[before.name] = float((moved / sum(a.square().sum() for a, _ in pairs)).sqrt())
xl.lab.show(
    xl.plots.bars(distance, xlabel="block, input side first", ylabel="relative change of weights"),
    alt="Relative change of the weights of each encoder block after full and layer-wise fine-tuning",
)

# %% [markdown]
# How far a block moved does not tell you whether it had to. So, second, we *allow* only the last blocks to move and watch the
# accuracy. If no block moves you have the linear probe, and if all nine move you have full fine-tuning. Both were trained above.

# %%
labeled = splits.train.take(per_class=20, seed=0)
score = lambda model: xl.evaluate(model, splits.test).balanced_accuracy
ladder = {"none": score(runs["linear probe"].model)}
for blocks in lab.scale(quick=(1,), lab=(3,), full=(1, 2, 3, 5, 7)):
    model = xl.Classifier(xl.encoder("efficientnet_lite0", size=size), splits.classes)
    xl.fit(model, labeled, strategy=xl.strategies.top(blocks), steps=steps, **settings)
    ladder[f"last {blocks}"] = score(model)
ladder["all 9"] = score(runs["full"].model)

# %%
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
# Grad-CAM ([Selvaraju et al., 2017](https://arxiv.org/abs/1610.02391)) takes one layer, weighs its channels by how much they speak for
# the predicted class, and draws the result over the picture, which is turned gray. It glows where the evidence is. If nothing glows,
# no channel of this layer spoke for the class.
#
# Each column below is a test picture, one of each class in the order of the first figure. We look at a middle block, whose map is
# still fine enough to tell the nucleus from its surroundings.

# %%
pictures = torch.cat([splits.test.inputs[splits.test.labels == k][:1] for k in range(len(splits.classes))])
maps = {}
for method in ("linear probe", "full"):
    maps[method] = xl.attribution.grad_cam(runs[method].model, pictures, layer="blocks.4")
xl.lab.show(
    xl.plots.images({"picture": pictures, "linear probe": pictures, "full": pictures}, overlay=maps),
    alt="One test picture of each class, and over it where the linear probe and the fully fine-tuned model look",
)

# %% [markdown]
# A heat map is a picture of the model and not of the truth. It tells you where the evidence was taken from; it cannot tell you
# whether that was good evidence. Use it to catch a model that reads the wrong thing, such as the neighboring red cells or the
# edge of the slide.
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
# Fine-tune everything with twenty labels a class, once with the rate used above (that model is trained already) and once with a
# rate ten times higher. Then ask how good the *features* still are: put a fresh linear probe on them and train it with fifty labels a
# class. The probe knows nothing of the old head, so it can only be as good as what the encoder still knows.

# %%
many = splits.train.take(per_class=50, seed=0)


def probed(encoder) -> float:
    """Balanced accuracy of a fresh linear probe on these features."""
    model = xl.Classifier(encoder, splits.classes)
    xl.recipes["linear_probe"].fit(model, many, steps=lab.scale(quick=2, lab=60, full=120), progress_bar=False)
    return score(model)


# %%
fresh = xl.Classifier(xl.encoder("efficientnet_lite0", size=size), splits.classes)
runs["hard"] = xl.recipes["source_only"].fit(fresh, labeled, steps=steps, **(settings | {"lr": 1e-2}))
kept = {
    "ImageNet, untouched": probed(xl.encoder("efficientnet_lite0", size=size)),
    "fine-tuned at lr 0.001": probed(runs["full"].model.encoder),
    "fine-tuned at lr 0.01": probed(runs["hard"].model.encoder),
    "never trained": probed(xl.encoder("efficientnet_lite0", pretrained=False, size=size)),
}

# %%
xl.lab.show(
    xl.plots.bars({"": kept}, xlabel="encoder", ylabel="balanced accuracy of a fresh probe"),
    alt="Balanced accuracy of a fresh probe on four encoders: ImageNet, fine-tuned gently, fine-tuned hard, never trained",
)
for lr, key in (("0.001", "full"), ("0.01", "hard")):
    first, last = (runs[key].history[at]["CrossEntropy"] for at in (0, -1))
    change = kept[f"fine-tuned at lr {lr}"] - kept["ImageNet, untouched"]
    print(f"lr {lr}: training loss {first:.2f} to {last:.2f}; a fresh probe changed by {change:+.3f}. One seed.")

# %% [markdown]
# Compare the two printed lines with the bars. A training loss that falls looks like learning in any log, but it only says how well the
# few labeled pictures are fitted. What was lost beside them shows in held-out labels, or in a fresh probe.
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
# - train_mode: The model was still in training mode: each picture was normalized by its neighbors in the batch.
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

# %% tags=["answer"]
gain = lambda method, where: several.gain(method, small, set=where, labels=20)
lab.answer(
    xrays=gain("depth probe", "real chest X-rays"),
    smears=gain("depth probe", "real blood smears"),
    cells=gain("depth probe", "rendered cells"),
    last=gain("linear probe", "real chest X-rays"),
)

# %% [markdown]
# - A pretrained encoder saves labels and seconds. How many of each depends on the set, so measure it against a small net.
# - You choose what moves: `head_only`, `norm_only`, `layerwise`, `gradual_unfreeze`, `lp_ft`, `full`.
# - You choose where to read, too: a depth probe costs seconds. Lab 03 looks at the layers one by one.
# - Compare within draws, choose on validation, and report on test.
# - A falling training loss does not show what fine-tuning destroys. A fresh probe does.
#
# ### Papers
# - Kornblith et al., 2019, *Do better ImageNet models transfer better?* [arXiv:1805.08974](https://arxiv.org/abs/1805.08974)
# - Raghu et al., 2019, *Transfusion: understanding transfer learning for medical imaging* [arXiv:1902.07208](https://arxiv.org/abs/1902.07208)
# - Evci et al., 2022, *Head2Toe: utilizing intermediate representations for better transfer learning* [arXiv:2201.03529](https://arxiv.org/abs/2201.03529)
# - Kumar et al., 2022, *Fine-tuning can distort pretrained features and underperform out-of-distribution* [arXiv:2202.10054](https://arxiv.org/abs/2202.10054)
# - Yang et al., 2023, *MedMNIST v2* [arXiv:2110.14795](https://arxiv.org/abs/2110.14795)
#
# ### The same on your own data
# A folder with one folder of pictures for each class is a domain. Set `XFERLAB_DATASET=path/to/folder` and run this notebook again.
# Where there is a network, `XFERLAB_DATASET=medmnist/pneumoniamnist` fetches the real chest X-rays. Nothing here is for clinical use.
