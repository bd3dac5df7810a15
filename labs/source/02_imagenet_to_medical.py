# %% [markdown]
# ## When does ImageNet pay?
# You have an encoder that was trained on a million photographs of dogs, espresso cups and trucks. A hospital gives you medical
# pictures, and labels for five pictures of each class, perhaps for twenty. **When does it pay to start from that encoder, and how do you
# use it best?**
#
# You could keep the encoder as it is and train only a new
# last layer. You could read one of its inner layers instead, or train all of it further. You could also train a small network from
# scratch and forget about the photographs.
# This lab measures all of these in the same way. You need lab 00 for it and nothing else. You train on the data that the next cell names, which by default is a rendered
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
# Where you see a black bar, the cell lay at the edge of the scan.
#
# The encoder is EfficientNet-Lite0 with its ImageNet weights, from an ordinary package on this machine. It brings its own input size and
# normalization, so you can give it uint8 pictures as they are. Here are its blocks, in the order in which a picture meets them, and how
# many numbers each block holds.

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
# | large net from scratch | EfficientNet-Lite0, from random weights | It is the network of `full` without ImageNet, so it shows what that start is worth. |
# | linear probe | a new last layer, the *head* | Five labels cannot spoil what they cannot touch. |
# | depth probe | a new layer that reads the middle blocks | The last block was made for naming objects in photographs. The middle ones still see texture and shape ([Evci et al., 2022](https://arxiv.org/abs/2201.03529)). |
# | full | everything, which is *full fine-tuning* | Medical pictures look nothing like photographs, so every layer may have something to learn. |
# | LP-FT (linear probing, then fine-tuning) | the head first, then everything ([Kumar et al., 2022](https://arxiv.org/abs/2202.10054)) | A good head stands before the features begin to move. |
# | layer-wise | everything, the slower the nearer the input ([Howard & Ruder, 2018](https://arxiv.org/abs/1801.06146)) | Edges and colors look the same everywhere, so the first layers need to change least. |
#
# ![](drawings/fine_tuning.svg)
#
# ### Predict
# Before you run anything, commit to an answer: which of the seven reaches the best balanced accuracy on the test part with
# **5** labels a class? (Balanced accuracy is the accuracy of each class by itself, and then their mean.)

# %% tags=["exercise"] exercise="02.p1"
ways = [
    "small net from scratch",
    "large net from scratch",
    "linear probe",
    "depth probe",
    "full",
    "LP-FT",
    "layer-wise",
]
guess = ...  # one of these seven names
xl.checks.predict("02.p1", guess, options=ways)

# %% tags=["solution"] exercise="02.p1"
ways = [
    "small net from scratch",
    "large net from scratch",
    "linear probe",
    "depth probe",
    "full",
    "LP-FT",
    "layer-wise",
]
guess = "linear probe"
xl.checks.predict("02.p1", guess, options=ways)

# %% [markdown]
# ## The experiment
# A *recipe* is a named way of training, and each row of the table above is one recipe with one encoder. A *draw* is one random
# choice of which pictures were labeled. The first draw with 20 labels a class trains now, while you watch. The rest was measured earlier
# with this same code: the other draws, the other numbers of labels, LP-FT and the large net from scratch. It is read from a file that says
# when and where.
#
# Learning rate, steps and batch size were chosen on validation parts. They are the same for every set and for every method, except
# that some recipes scale the rate for a stage of their own. No picture is augmented here, so that you see the effect of the start
# alone; lab 06 is about augmentation. The test part is looked at once for each run, at its end, and nothing is chosen by it.
#
# The encoder sees the pictures at 96 pixels. It halves them five times, which leaves a map of 3 x 3; at their own 64 pixels it would
# be 2 x 2.

# %%
steps = lab.scale(quick=3, lab=60, full=600)
size = lab.scale(quick=64, lab=96, full=224)
# name: (recipe, encoder, start from ImageNet?, steps)
methods = {
    "small net from scratch": ("source_only", "small_cnn", False, 3 * steps),
    "large net from scratch": ("source_only", "efficientnet_lite0", False, steps),
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
runs, scores = {}, {}  # of the first draw with 20 labels a class, for the questions further down


def trial(method: str, labels: int, draw: int) -> dict:
    recipe, encoder, pretrained, steps = methods[method]
    encoder = xl.encoder(encoder, pretrained=pretrained, size=64 if encoder == "small_cnn" else size)
    model = xl.Classifier(encoder, splits.classes)
    run = xl.recipes[recipe].fit(model, splits.train.take(labels, seed=draw), steps=steps, **settings)
    accuracy = xl.evaluate(model, splits.test).balanced_accuracy
    if (labels, draw) == (20, 0):
        runs[method], scores[method] = run, accuracy
    return {"balanced accuracy": accuracy, "seconds": run.seconds}


# %%
results = lab.experiment(
    f"labels_{splits.name}",
    trial,
    method=list(methods),
    labels=lab.scale(quick=(20,), lab=(5, 20, 100), full=(5, 20, 100)),
    earlier=("large net from scratch", "LP-FT", 5, 100),  # read from the file, to save you minutes
    title=splits.name,
)

# %%
results.curves(xlabel="labels a class")

# %% [markdown]
# A small dot is one draw. It is filled where it was trained here, and hollow where it was measured earlier. The large mark is their mean,
# with an interval around it: if chance drew the labeled pictures again and again, 95 of 100 such intervals would hold the true mean.
#
# Two intervals may overlap although one method beats the other in every draw, because a lucky draw lifts both. Say that method A has
# 0.60, 0.70 and 0.80 in three draws, and B has 0.58, 0.68 and 0.78. Their intervals are wide and nearly the same, and still A wins each
# time by 0.02. So compare methods **within** a draw: take the difference between two that saw the same labeled pictures, and average
# it over draws. We call the two *separated* when the 95 % interval of this paired difference leaves out zero.

# %% tags=["results"]
results.table(over="small net from scratch")

# %%
fewest = results.levels[0]
xl.checks.reveal("02.p1", results.best(labels=fewest), results.tied(labels=fewest))
ranks = results.mean(labels=fewest)
print(f"With {fewest} labels a class:", ", ".join(f"{way} {score:.2f}" for way, score in ranks.items()))

# %% [markdown]
# The best mean is only a winner if its paired difference is separated. Below are the same curves once more. The large net from scratch is
# left out, so that the others can be told apart. Choose a number of labels and a baseline, and read what each method gains over it. A
# method to the right of the line at zero beats the baseline.

# %%
xl.widgets.labels(list(results), without=["large net from scratch"])

# %% [markdown]
# ### What does it cost?
# Accuracy alone does not show what a method costs. Each point is one training run with 20 labels a class. The clock stops after the last step, and for the
# two probes it includes the one pass that computes the features.

# %%
results.only(labels=20).scatter("seconds", log=True)

# %% [markdown]
# ## The same question on real pictures
# Rendered cells are one set, and the answer changes with the set. The same methods were trained with the same settings on real
# blood smears (BCCD, three classes) and on real chest X-rays of children (PneumoniaMNIST, two classes). If you brought your own
# data, it stands beside them. A mark to the right of the line means that a way to use ImageNet beats the small net. All dots are hollow,
# because all of these runs were measured earlier. So a number for the rendered cells can differ a little from the one above, where one
# draw was trained anew. The large net from scratch is left out, so that the others can be told apart, and the layer-wise rates were not
# measured on the X-rays.

# %%
sets = {"cells-site-a": "rendered cells", "bccd_64": "real blood smears", "pneumonia_28": "real chest X-rays"}
rows = []
for file, title in sets.items():
    rows += [row | {"set": title, "here": False} for row in lab.committed(f"labels_{file}")]
if splits.name not in ("cells/site-a", *sets):
    rows += [row | {"set": splits.name} for row in results]
several = xl.lab.Results([row for row in rows if row["method"] != "large net from scratch"], across="set")
small = "small net from scratch"

# %%
several.only(labels=20).gains(over=small)

# %%
several.only(labels=5).table(over=small, caption="5 labels a class.")

# %%
several.only(labels=20).table(over=small, caption="20 labels a class.")

# %% [markdown]
# An interval may reach above 1, since it is computed from a mean and a spread and does not know that a score ends there.
#
# Which method should you take, then? A fair answer names every method that cannot be told apart from the best one.

# %%
first = {}
for title in sets.values():
    first[title] = {}
    for count in (5, 20, 100):
        first[title][f"{count} labels a class"] = ", ".join(several.tied(set=title, labels=count))
xl.lab.table(first, "The method with the highest mean, and those that are not separated from it.", corner="set")

# %% [markdown]
# Look for the method that stands in most of these cells. (A cell compares with its own best method, and ▼ in the tables above compares
# with the small net.) The depth probe reads the middle of the network, and it costs a second or two. The linear probe reads the end of
# the same network, and on both real sets it stands below the small net with five labels (look for its ▼). On the smears, color tells the
# classes apart. A small net learns that from a few pictures, and there is nothing left to gain.
#
# On the X-rays the small net does not get better from five labels to twenty. Both numbers of labels were drawn anew, so this is
# not one curve but two sets of five draws, and their intervals overlap. Compare methods within a column, and not columns with each other.
#
# All of these runs train without augmentation. A small net gains a lot from it, so with it these tables could come out differently.
# The course's repository holds the real sets with augmentation, in `bench/tables/real.md`, and lab 06 shows you how to choose it.
#
# ## Which layers have to move?
# You decide with a *strategy* which layers may change. It is a value that you pass to `fit`: `xl.strategies.full()` lets
# everything move. Type `xl.strategies.` and press Tab for the others.
#
# ### Exercise 1: freeze the encoder
# Assign the strategy that trains the head and nothing else.

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
# Which layers have to move? There are two ways to look at it. First, how far did each block travel from its ImageNet weights? We
# measure the length of the change against the length of the start, ‖w − w₀‖ / ‖w₀‖.

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

# %%
for method, by_block in distance.items():
    print(f"{method}: {max(by_block, key=by_block.get)} went farthest, {max(by_block.values()):.2f} of its length.")

# %% [markdown]
# How far a block moved does not tell you whether it had to. So, second, we *allow* only the last blocks to move and watch the
# accuracy. If no block moves you have the linear probe, and if all nine move you have full fine-tuning. Both were trained above.

# %%
labeled = splits.train.take(per_class=20, seed=0)


def score(model) -> float:
    return xl.evaluate(model, splits.test).balanced_accuracy


# %%
ladder = {"none": scores["linear probe"]}
for blocks in lab.scale(quick=(1,), lab=(3,), full=(1, 2, 3, 5, 7)):
    model = xl.Classifier(xl.encoder("efficientnet_lite0", size=size), splits.classes)
    xl.fit(model, labeled, strategy=xl.strategies.top(blocks), steps=steps, **settings)
    ladder[f"last {blocks}"] = score(model)
ladder["all 9"] = scores["full"]

# %%
xl.lab.show(
    xl.plots.bars({"20 labels a class": ladder}, xlabel="blocks that move", ylabel="balanced accuracy"),
    alt="Balanced accuracy when none, the last few or all nine encoder blocks may move",
)
print("One draw, one seed:", ", ".join(f"{key} {value:.3f}" for key, value in ladder.items()))
least = next(key for key, value in ladder.items() if value > max(ladder.values()) - 0.02)
print(f"Within 0.02 of the best with the fewest blocks moving: {least}.")

# %% [markdown]
# Compare the two figures. The blocks that moved farthest need not be those that the accuracy needs, because weights are free to wander.
# On the rendered cells, the two that moved farthest are among the last three. How much of the gain do those three bring? If a few blocks
# do as well as all nine, leave the others frozen: you save time and memory, and what is frozen cannot be spoiled. One draw is only a
# hint, so repeat it on your own data before you rely on it.
#
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
# Each column below is a test picture, one of each class; what the models answer is printed under the figure. We look at a middle
# block, `blocks.4`, whose map is still fine enough to tell the nucleus from its surroundings.

# %%
pictures = torch.cat([splits.test.inputs[splits.test.labels == k][:1] for k in range(len(splits.classes))])
maps = {}
for method in ("linear probe", "full"):
    maps[method] = xl.attribution.grad_cam(runs[method].model, pictures, layer="blocks.4")
rows = dict.fromkeys(("picture", *maps), pictures)
xl.lab.show(
    xl.plots.images(rows, overlay=maps, titles=splits.classes),
    alt="One test picture of each class, and over it where the linear probe and the fully fine-tuned model look",
)

# %%
for method in maps:
    answers = runs[method].model.eval()(pictures).argmax(1)
    wrong = [f"{splits.classes[k]} called {splits.classes[a]}" for k, a in enumerate(answers) if k != a]
    print(f"{method}: {len(wrong)} of {len(answers)} wrong.", *wrong, sep="\n  ")

# %% [markdown]
# A heat map is a picture of the model and not of the truth. It tells you where the evidence was taken from; it cannot tell you
# whether that was good evidence. Use it to catch a model that reads the wrong thing, such as the neighboring red cells or the
# edge of the slide.
#
# ## When it hurts: fine-tuning that destroys good features
# Fine-tune everything with twenty labels a class, once with the rate used above (that model is trained already) and once with a
# rate ten times higher. Then ask how good the *features* still are: put a fresh linear probe on them and train it with fifty labels a
# class. The probe knows nothing of the old head, so it can only be as good as what the encoder still knows. (The fifty may include
# some of the twenty that the encoder was tuned on, which flatters the tuned ones a little.)

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
# Compare the two printed lines with the bars. Both losses fall, and what became of the features differs. A training loss that falls looks
# like learning in any log, but it only says how well the few labeled pictures are fitted. It cannot show what the encoder has forgotten.
# A fresh probe on its features can.
#
# ## Three habits for your own training loop
# ### Exercise 3: the loss of a rare class
# This lab labels the same number of pictures of every class. Real smears are not like that. `CrossEntropy(balanced=True)` weighs class *k* by `N / (K n_k)`: *N* labels in all, *K*
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
# ### Exercise 4: measure without fooling yourself
# Write `accuracy(model, images, labels)`: the share of pictures the model gets right. The model comes straight
# from training, and must leave your function in the mode it came in.


# %% tags=["exercise"] exercise="02.4"
def accuracy(model, images, labels): ...


# %% tags=["solution"] exercise="02.4"
def accuracy(model, images, labels):
    was_training = model.training
    model.eval()  # batch norm must use its running statistics, or an answer depends on its neighbors
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
# ### You fine-tune everything on a few labels. The training loss falls, and a fresh probe on the features gets worse. What happened?
# - [ ] The probe has too few parameters to use the new features.
#   It had the same number before, and the old features gave it more.
# - [x] The encoder was pulled towards accidents of the few labeled pictures.
#   Yes. Kumar et al. call it feature distortion: the encoder moves to fit a head that was random a moment ago.
# - [ ] The test set leaked through batch norm.
#   A leak would make the number better, not worse.
# - [ ] The loss has a bug, since it fell.
#   A falling loss only says that the few labeled pictures are fitted.

# %% [markdown] tags=["quiz"]
# ### Two methods' intervals over draws overlap. What follows?
# - [ ] The methods do not differ.
#   Overlap of two intervals is no test of their difference. Both intervals contain the luck of the draw, which the methods share.
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
at_20 = several.only(labels=20)
lab.answer(
    xrays=at_20.gain("depth probe", small, set="real chest X-rays"),
    smears=at_20.gain("depth probe", small, set="real blood smears"),
    cells=at_20.gain("depth probe", small, set="rendered cells"),
    last=at_20.gain("linear probe", small, set="real chest X-rays"),
)

# %% [markdown]
# - A probe on a pretrained encoder takes seconds, and on some sets it saves labels. How many depends on the set, so measure it against a
#   small net.
# - You choose what moves with a strategy, and where to read: a depth probe costs seconds. Lab 03 looks at the layers one by one.
# - With few labels, begin with the depth probe and a small net, and take fine-tuning only if it is separated from both.
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
