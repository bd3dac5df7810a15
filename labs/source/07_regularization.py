# %% [markdown]
# ## The question
# You fine-tune on the smears of one hospital and the accuracy there goes up. Everything the encoder knew besides, it is now free to
# forget, and a second hospital may have needed it. **What does it cost at home to keep what was learned before, and what does it buy
# abroad?**
#
# Both laboratories below are rendered, so a result here is about the methods on this rendering, not about patients.
# `XFERLAB_DATASET=home.npz:abroad.npz` runs the same cells on your own. Labels abroad are used to measure, and for nothing else.

# %%
import copy

import pandas as pd
import torch

import xferlab as xl
from xferlab.weights import frozen_copy, interpolate, refresh_batch_norm

lab = xl.lab.start("07")
home, abroad = (xl.load(name) for name in lab.datasets("cells/site-a", "cells/site-b"))
home.train

# %%
xl.lab.show(
    xl.plots.contact_sheet(home.test, abroad.test, per_class=6),
    alt="A row for each class; six cells of it from home on the left, six from abroad on the right",
)

# %% [markdown]
# ## Five ways to hold on
# ![](drawings/spring.svg)
#
#
# | name | what stays near its start | how |
# |---|---|---|
# | L2-SP | the weights | a spring from each weight to where it began ([Li et al., 2018](https://arxiv.org/abs/1802.01483)) |
# | DELTA | what inner layers put out | a spring on activations: weights may move where the pictures do not notice ([Li et al., 2019](https://arxiv.org/abs/1901.09229)) |
# | BSS | nothing in particular | shrinks the weakest directions of the features, which tend not to transfer ([Chen et al., 2019](https://proceedings.neurips.cc/paper/2019/hash/c6bff625bdb0393992c9d4db0c6bbe45-Abstract.html)) |
# | EMA | the average over the way | the mean of the weights visited, not the last ones ([Polyak & Juditsky, 1992](https://doi.org/10.1137/0330046)) |
# | WiSE-FT | as much as you choose, afterwards | a point on the straight line from the linear probe to the fine-tuned weights ([Wortsman et al., 2022](https://arxiv.org/abs/2109.01903)) |
#
# Against them stand two baselines: plain fine-tuning, and the linear probe, which forgets nothing because it moves nothing.
#
# ### Exercise 1: the spring
# L2-SP adds `alpha / 2 * sum((w - w0) ** 2)` to the loss. For the weights below and `alpha = 0.1`, what is its **gradient** with
# respect to `w`? Give the three numbers, by hand.

# %% tags=["exercise"] exercise="07.1"
w = torch.tensor([1.0, -2.0, 0.5])
w0 = torch.tensor([0.5, -2.0, 1.5])
gradient = [..., ..., ...]

# %% tags=["solution"] exercise="07.1"
w = torch.tensor([1.0, -2.0, 0.5])
w0 = torch.tensor([0.5, -2.0, 1.5])
gradient = 0.1 * (w - w0)

# %% [markdown] tags=["solution"] exercise="07.1"
# The second weight has not moved, so nothing pulls at it, however large it is. Ordinary weight decay would.

# %% tags=["wrong"] exercise="07.1" mistake="pulls_to_zero"
gradient = 0.1 * w

# %% tags=["wrong"] exercise="07.1" mistake="forgot_half"
gradient = 2 * 0.1 * (w - w0)

# %% tags=["wrong"] exercise="07.1" mistake="direction_of_step"
gradient = 0.1 * (w0 - w)

# %% [markdown] tags=["mistakes"] exercise="07.1"
# - pulls_to_zero: That is the gradient of ordinary weight decay, whose spring ends at zero, not at w0.
# - kept_half: Half of it: the derivative of a square brings a 2, which takes the half away.
# - forgot_half: Twice too much: the half in front takes the 2 of the square away.
# - direction_of_step: That is the way a step of descent goes; the gradient points the other way.
# - forgot_alpha: The way from the start is right; alpha is missing.
# - loss_not_gradient: These are the terms of the penalty itself, not its derivative.

# %% [markdown] tags=["hints"] exercise="07.1"
# 1. The derivative of half a square is the thing that was squared.
# 2. It is `alpha` times the way from the start, for each weight alone.
# 3. `gradient = 0.1 * (w - w0)`

# %% tags=["check"] exercise="07.1"
xl.checks.check("07.1", gradient)

# %% [markdown]
# ### Exercise 2: two springs
# AdamW usually comes with weight decay, a second spring, to zero. Take one weight that started at `w0 = 2`, L2-SP with `alpha = 0.1` and a
# penalty `0.3 / 2 * w ** 2` beside it, and no other loss. Where does gradient descent come to rest?

# %% tags=["exercise"] exercise="07.2"
rests_at = ...

# %% tags=["solution"] exercise="07.2"
rests_at = 0.1 * 2 / (0.1 + 0.3)

# %% [markdown] tags=["solution"] exercise="07.2"
# Three quarters of the way to zero: weight decay quietly undoes L2-SP. So below, `weight_decay=0` stands beside it.

# %% tags=["wrong"] exercise="07.2" mistake="stays_at_start"
rests_at = 2.0

# %% tags=["wrong"] exercise="07.2" mistake="decays_to_zero"
rests_at = 0.0

# %% tags=["wrong"] exercise="07.2" mistake="shares_swapped"
rests_at = 0.3 * 2 / (0.1 + 0.3)

# %% [markdown] tags=["mistakes"] exercise="07.2"
# - stays_at_start: At 2, L2-SP does not pull at all, but weight decay does.
# - decays_to_zero: At 0, weight decay does not pull at all, but L2-SP does.
# - half_way: Half-way is right for springs of equal strength; one of these is three times as strong.
# - shares_swapped: The stronger spring is the one to zero, so it comes to rest nearer zero.

# %% [markdown] tags=["hints"] exercise="07.2"
# 1. At rest the two pulls are equal and opposite.
# 2. Solve `0.1 * (w - 2) + 0.3 * w = 0`.
# 3. `rests_at = 0.1 * 2 / (0.1 + 0.3)`

# %% tags=["check"] exercise="07.2"
xl.checks.check("07.2", rests_at)

# %% [markdown]
# ## Predict
# With 20 labels a class at home: which has the best balanced accuracy **abroad**? Of WiSE-FT's path its start, the linear probe, and
# its middle are on the list; the table further down shows other points of it too.

# %% tags=["exercise"] exercise="07.p1"
names = ["linear probe", "plain", "L2-SP", "DELTA", "BSS", "EMA", "WiSE-FT half-way"]
guess = ...  # one of these names
xl.checks.predict("07.p1", guess, options=names)

# %% tags=["solution"] exercise="07.p1"
names = ["linear probe", "plain", "L2-SP", "DELTA", "BSS", "EMA", "WiSE-FT half-way"]
guess = "WiSE-FT half-way"
xl.checks.predict("07.p1", guess, options=names)

# %% [markdown]
# ## The experiment
# A penalty is one more objective in the list; EMA is an objective that adds nothing to the loss and puts the average in place at the end.
# The weights of the penalties are the library's defaults and were not chosen by a look abroad. Draw 0 of the labelled cells trains now,
# four more draws were measured earlier with this code.

# %%
steps = lab.scale(quick=2, lab=40, full=300)
size = lab.scale(quick=64, lab=64, full=224)
settings = dict(steps=steps, batch_size=32, lr=1e-3, progress_bar=lab.shows_progress)
penalties = {
    "plain": lambda: [],
    "L2-SP": lambda: [xl.L2SP(0.01)],
    "DELTA": lambda: [xl.DELTA(1.0)],
    "BSS": lambda: [xl.BSS(0.001)],
    "EMA": lambda: [xl.EMA(decay=0.9)],
}
tests = {"home": home.test, "abroad": abroad.test}
if lab.profile == "quick":
    tests = {side: test.take(per_class=4) for side, test in tests.items()}
pretrained = xl.encoder("efficientnet_lite0", size=size)
some = tests["home"].take(n=lab.scale(quick=16, lab=160, full=1000))
before = pretrained.source_head(xl.embed(pretrained, some)).argmax(1)  # which of ImageNet's thousand classes it sees


def fresh():
    return xl.Classifier(copy.deepcopy(pretrained), home.classes)


@torch.no_grad()
def measure(model):
    """Balanced accuracy at home and abroad, how far the weights went, and how much of ImageNet is remembered."""
    pairs = list(zip(pretrained.parameters(), model.encoder.parameters()))
    moved = sum((b.cpu() - a).square().sum() for a, b in pairs) / sum(a.square().sum() for a, _ in pairs)
    now = pretrained.source_head(xl.embed(model, some, cache=False)).argmax(1)
    scores = {side: xl.evaluate(model, test).balanced_accuracy for side, test in tests.items()}
    return scores | {"moved": float(moved.sqrt()), "remembered": (now == before).float().mean().item()}


def tune(labelled, objectives, **changes):
    model = fresh()
    decay = 0.0 if any(isinstance(term, xl.L2SP) for term in objectives) else 0.01
    xl.fit(model, labelled, objectives=[xl.CrossEntropy(), *objectives], weight_decay=decay, **(settings | changes))
    return model


# %% [markdown]
# *Remembered* is the share of test pictures for which the **old** ImageNet head, put on the new features, still names the same of its
# thousand classes as before. Nonsense classes for a cell, but the same nonsense only if the features are still the same. *Moved* is how far the
# encoder's weights went, as a share of their length at the start.
#
# WiSE-FT costs no training beyond that of LP-FT: a linear probe, a fine-tuning that starts from it, and then every point between.
# That fine-tuning is also slower than "plain" and keeps batch norm's statistics (why, you see below), so what it gains over "plain" is
# not the path's doing alone.

# %%
alphas = lab.scale(quick=(0, 0.5, 1), lab=(0, 0.25, 0.5, 0.75, 1), full=(0, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 1))
rows = []
# in the lab profile the two slowest are read from the file as well, to stay inside two minutes
waiting = () if lab.records or lab.profile == "full" else ("DELTA", "BSS")
for draw in lab.draws(5):
    labelled = home.train.take(per_class=20, seed=draw)
    for method, terms in penalties.items():
        if method not in waiting:
            rows.append({"method": method, "draw": draw, "alpha": None, **measure(tune(labelled, terms()))})
    model = fresh()
    xl.recipes["linear_probe"].fit(model, labelled, **settings)
    start = copy.deepcopy(model.state_dict())
    # LP-FT: gently, and with the batch-norm statistics that the head was trained with
    xl.fit(model, labelled, strategy=xl.strategies.full(freeze_statistics=True), **(settings | {"lr": 3e-4}))
    end = copy.deepcopy(model.state_dict())
    for alpha in alphas:
        model.load_state_dict(interpolate(start, end, alpha))
        name = {0: "linear probe", 0.5: "WiSE-FT half-way", 1: "LP-FT"}.get(alpha, f"WiSE-FT {alpha}")
        rows.append({"method": name, "draw": draw, "alpha": alpha, **measure(model)})
rows = lab.pooled(f"kept_{home.name}_{abroad.name}", rows, by=("method", "draw"))

# %% [markdown]
# ## Home against abroad, one curve
# Up is better abroad, right is better at home. The line is WiSE-FT's whole path: its first point is the linear probe, its last one
# LP-FT, and moving along it costs nothing but a look. Each other method is a point. What lies above and to the right of a point beats it.

# %%
table = pd.DataFrame(rows)
mean = table.groupby("method", sort=False)[["home", "abroad", "moved", "remembered"]].mean()
path = table.dropna(subset="alpha").groupby("alpha")[["home", "abroad"]].mean()
xl.lab.show(
    xl.plots.lines(
        {"WiSE-FT, probe to LP-FT": (path["home"].tolist(), path["abroad"].tolist())}
        | {"linear probe (its start)": ([path["home"][0]], [path["abroad"][0]])}
        | {name: ([mean["home"][name]], [mean["abroad"][name]]) for name in penalties if name in mean.index},
        xlabel="balanced accuracy at home",
        ylabel="balanced accuracy abroad",
    ),
    alt="Accuracy abroad against accuracy at home: WiSE-FT's path as a line, the other methods as points",
)

# %% tags=["results"]
print(f"{home.name} (home) and {abroad.name} (abroad), mean over draws (draws: {table.draw.nunique()})")
print(mean.round(3).to_string())
gains = []
for side in ("home", "abroad"):
    gains += [{"side": side, **gain} for gain in xl.evaluation.paired(rows, side, "plain")]
gains = pd.DataFrame(gains)
print("\nPaired difference to plain fine-tuning, within draws")
print(gains.round(3).to_string(index=False))

# %%
candidates = [name for name in names if name in mean.index]
xl.checks.reveal("07.p1", mean["abroad"][candidates].idxmax())
for side, part in gains.groupby("side", sort=False):
    sure = part[part.verdict == "separated"]
    said = [f"{row.method} {row.gain:+.3f} [{row.low:+.3f}, {row.high:+.3f}]" for row in sure.itertuples()]
    print(f"Separated from plain fine-tuning, {side}: {'; '.join(said) or 'nothing'}.")
best = path["abroad"].idxmax()
print(f"On WiSE-FT's path the best point abroad is alpha {best:g}, the best at home alpha {path['home'].idxmax():g}.")
print("An alpha that was picked by its accuracy abroad is no result: without labels abroad, 0.5 is the paper's advice.")

# %% [markdown]
# ### Exercise 3: walk the path
# Write `mix(start, end, alpha)` for two state dicts: floating entries become `(1 - alpha) * start + alpha * end`, the others (a batch
# norm's counter of batches) are taken from `end`. Return a new dict and leave both as they are.


# %% tags=["exercise"] exercise="07.3"
def mix(start, end, alpha): ...


# %% tags=["solution"] exercise="07.3"
def mix(start, end, alpha):
    return {
        key: (1 - alpha) * start[key] + alpha * end[key] if end[key].is_floating_point() else end[key].clone()
        for key in end
    }


# %% tags=["wrong"] exercise="07.3" mistake="wrong_way"
def mix(start, end, alpha):
    return {
        key: alpha * start[key] + (1 - alpha) * end[key] if end[key].is_floating_point() else end[key].clone()
        for key in end
    }


# %% tags=["wrong"] exercise="07.3" mistake="counters_mixed"
def mix(start, end, alpha):
    return {key: (1 - alpha) * start[key] + alpha * end[key] for key in end}


# %% tags=["wrong"] exercise="07.3" mistake="in_place"
def mix(start, end, alpha):
    for key in end:
        if end[key].is_floating_point():
            start[key].mul_(1 - alpha).add_(alpha * end[key])
        else:
            start[key] = end[key]
    return start


# %% [markdown] tags=["mistakes"] exercise="07.3"
# - wrong_way: At alpha 0.25 this is three quarters of the end; alpha 0 must be the start.
# - in_place: One of the two ends was changed; the next point on the path would start somewhere else.

# %% [markdown] tags=["hints"] exercise="07.3"
# 1. Which of the entries is not a weight, and what type does it have?
# 2. `tensor.is_floating_point()` tells them apart; build the result as a new dict.
# 3. `{k: (1 - alpha) * start[k] + alpha * end[k] if end[k].is_floating_point() else end[k].clone() for k in end}`

# %% tags=["check"] exercise="07.3"
xl.checks.check("07.3", mix)

# %% [markdown]
# ## What an average remembers
# EMA keeps `average = decay * average + (1 - decay) * w` after every step. Early steps count for ever less.
#
# ### Exercise 4: after ten steps
# A weight is 0 at the start, and so is its average. The first step moves the weight to 1 and it stays there. With
# `decay = 0.9` at every step, what is the average after **ten** steps?

# %% tags=["exercise"] exercise="07.4"
average = ...

# %% tags=["solution"] exercise="07.4"
average = 1 - 0.9**10

# %% [markdown] tags=["solution"] exercise="07.4"
# About a third of it is still the start. With the customary decay of 0.999 and the few dozen steps of this lab nearly all of it would be:
# a long average needs a long run, or a warm-up. `xl.EMA` has one: after step *n* it uses the smaller of `decay` and `1 - 1/n`.

# %% tags=["wrong"] exercise="07.4" mistake="share_of_start"
average = 0.9**10

# %% tags=["wrong"] exercise="07.4" mistake="nine_steps"
average = 1 - 0.9**9

# %% tags=["wrong"] exercise="07.4" mistake="added_up"
average = 10 * (1 - 0.9)

# %% [markdown] tags=["mistakes"] exercise="07.4"
# - share_of_start: That is how far the average is behind, the share of the start that is left in it.
# - added_up: A step adds a tenth of what is *missing*, which shrinks; ten steps do not make a whole.
# - nine_steps: That is after nine steps.

# %% [markdown] tags=["hints"] exercise="07.4"
# 1. Follow how far the average is *behind* the weight: by what factor does that shrink in a step?
# 2. The gap is 1, then 0.9, then 0.81, and so on.
# 3. `average = 1 - 0.9**10`

# %% tags=["check"] exercise="07.4"
xl.checks.check("07.4", average)

# %% [markdown]
# ### Exercise 5: the weakest directions
# A singular value says how much a batch of features spreads along one direction. BSS adds the sum of the **squares of the k smallest**
# to the loss. Write `bss(features, k)` for features `(B, D)`; `torch.linalg.svdvals` gives singular values.


# %% tags=["exercise"] exercise="07.5"
def bss(features, k): ...


# %% tags=["solution"] exercise="07.5"
def bss(features, k):
    return torch.linalg.svdvals(features)[-k:].square().sum()


# %% tags=["wrong"] exercise="07.5" mistake="largest"
def bss(features, k):
    return torch.linalg.svdvals(features)[:k].square().sum()


# %% tags=["wrong"] exercise="07.5" mistake="not_squared"
def bss(features, k):
    return torch.linalg.svdvals(features)[-k:].sum()


# %% tags=["wrong"] exercise="07.5" mistake="detached"
def bss(features, k):
    return torch.linalg.svdvals(features.detach())[-k:].square().sum()


# %% [markdown] tags=["mistakes"] exercise="07.5"
# - detached: The number is right but has no gradient: as a loss it would change nothing.
# - largest: These are the largest: the strong directions are the ones that transfer.
# - not_squared: The sum of the values; the penalty is the sum of their squares.

# %% [markdown] tags=["hints"] exercise="07.5"
# 1. In which order does `svdvals` give them?
# 2. Largest first, so the smallest are at the end: `[-k:]`. Then squares, then the sum.
# 3. `return torch.linalg.svdvals(features)[-k:].square().sum()`

# %% tags=["check"] exercise="07.5"
xl.checks.check("07.5", bss)

# %% [markdown]
# ## How tight a spring?
# The same training with ever stronger L2-SP. Watch three things: how far the weights go, how much of ImageNet is remembered, and what it
# costs at home.

# %%
labelled = home.train.take(per_class=20, seed=0)
tight = {"0 (plain)": next(row for row in rows if row["method"] == "plain" and row["draw"] == 0)}
for weight in lab.scale(quick=(1.0,), lab=(1.0, 10.0), full=(0.01, 0.1, 1.0, 10.0, 100.0)):
    tight[f"{weight:g}"] = measure(tune(labelled, [xl.L2SP(weight)]))
still = xl.strategies.full(freeze_statistics=True)
tight[f"{weight:g}, statistics kept"] = measure(tune(labelled, [xl.L2SP(weight)], strategy=still))
tight = pd.DataFrame(tight).T[["home", "abroad", "remembered", "moved"]].astype(float)
xl.lab.show(
    xl.plots.bars(tight[["home", "abroad", "remembered"]].to_dict(), xlabel="weight of L2-SP", ylabel="share"),
    alt="Accuracy at home, accuracy abroad and the share of ImageNet answers remembered, for ever stronger L2-SP",
)
print(tight.round(3).to_string())
print(f"Highest at home with weight {tight.home.idxmax()}, abroad with {tight.abroad.idxmax()}. One draw, one seed.")
loose, held = tight.iloc[-2], tight.iloc[-1]
print(f"The tightest spring: weights moved by {loose.moved:.1%}, {loose.remembered:.0%} remembered;", end=" ")
print(f"with batch norm's statistics kept as well {held.moved:.1%} and {held.remembered:.0%}.")

# %% [markdown]
# The last two rows have the same spring. What differs is no weight: batch norm's running mean and variance, which training replaces by
# those of your pictures while no spring holds them. Every layer after them then sees other numbers than it was made for. Hold the
# weights tight and let the statistics go, and you have neither the old network nor a new one; look at what it does to `home`. That is
# also why LP-FT above keeps them: its head was trained on features made with the old ones.

# %% [markdown]
# ## When it hurts: an average of strangers
# EMA and WiSE-FT average weights that come from one start. Here are three small networks that read real handwriting. Two continued
# from the *same* network with different batches; the third began from other random weights. How well each reads by itself, the ends of
# the lines say. Now walk the straight line between two of them; batch-norm statistics are measured anew at each point, so that those
# are not to blame.

# %%
digits = xl.load("digits/mnist")
written, test = (
    digits.train.take(per_class=100, seed=0),
    digits.test.take(per_class=lab.scale(quick=5, lab=50, full=500)),
)
short = dict(steps=lab.scale(quick=3, lab=80, full=600), lr=2e-3, progress_bar=False)
ancestor = xl.Classifier(xl.encoder("lenet", seed=0), digits.classes)
xl.fit(ancestor, written, **short)
kin = [copy.deepcopy(ancestor) for _ in range(2)]
for seed, model in enumerate(kin, 1):
    xl.fit(model, written, seed=seed, **short)
stranger = xl.Classifier(xl.encoder("lenet", seed=7), digits.classes, seed=7)
xl.fit(stranger, written, seed=7, **(short | {"steps": 2 * short["steps"]}))


def walk(one, other):
    between, accuracies = frozen_copy(one), []
    for alpha in (points := [0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1]):
        between.load_state_dict(interpolate(one.state_dict(), other.state_dict(), alpha))
        refresh_batch_norm(between, written)
        accuracies.append(xl.evaluate(between, test).accuracy)
    return points, accuracies


walks = {"two from one start": walk(kin[0], kin[1]), "two strangers": walk(kin[0], stranger)}
xl.lab.show(
    xl.plots.lines(walks, xlabel="way from the first network to the second", ylabel="accuracy", level=0.1),
    alt="Accuracy on the straight line between two networks from one start, and between two strangers; chance is dashed",
)
for name, (_, accuracies) in walks.items():
    print(f"{name}: ends {accuracies[0]:.3f} and {accuracies[-1]:.3f}, half-way {accuracies[4]:.3f}. One seed.")

# %% [markdown]
# Two networks can compute the same thing with their channels in another order; a mean then mixes channels that have nothing to
# do with each other. What that costs is the dip half-way. So average
# only what shares a start, and prefer to check one point in the middle on validation data before you trust the path.
#
# ## Quiz

# %% [markdown] tags=["quiz"]
# ### A penalty keeps the weights very near their start, and yet the old answers are forgotten. What do you look at first?
# - [ ] Whether L2-SP made the weights small.
#   It pulls to the start, not to zero.
# - [x] What else changes in training besides weights: batch norm's statistics.
#   Yes. They are no parameters, so no penalty and no learning rate holds them.
# - [ ] The test set.
#   The same test set judged all strengths.

# %% [markdown] tags=["quiz"]
# ### You want the best alpha on WiSE-FT's path for a hospital without labels. What do you do?
# - [ ] Take the alpha with the best accuracy on that hospital's test set.
#   That uses the labels you do not have, and flatters the result.
# - [x] Fix it beforehand, or choose with a method that needs no target labels.
#   Yes: 0.5 as the paper advises, or a validator (lab 08). Then report what it gives.
# - [ ] Take the best at home.
#   Home says nothing of what was forgotten for elsewhere.

# %% [markdown] tags=["quiz"]
# ### DELTA holds activations, L2-SP holds weights. When do they differ most?
# - [ ] Never: equal weights give equal activations.
#   True, but the reverse is not: different weights may give the same activations.
# - [x] When weights can move a lot without the pictures' activations changing.
#   Yes: DELTA lets those move, L2-SP does not.
# - [ ] When the head is large.
#   Neither looks at the head here.

# %% tags=["nbval-check-output"]
print("Keep what you may need again, and measure what keeping costs.")

# %% [markdown]
# ## Recap
# - Fine-tuning trades what was known for what home asks. Plot home against abroad, or you see one half of the trade.
# - L2-SP holds weights, DELTA activations, EMA the way travelled, WiSE-FT decides afterwards. Mind weight decay beside L2-SP, and batch
#   norm's statistics beside everything: nothing holds them but freezing.
# - A linear probe forgets nothing and is the baseline to beat abroad.
# - Weights can be averaged when they share a start.
# - Which differences are separated from zero, the table says; of the others, nothing was shown.
#
# ### Papers
# - Li et al., 2018, *Explicit inductive bias for transfer learning with convolutional networks* [arXiv:1802.01483](https://arxiv.org/abs/1802.01483)
# - Li et al., 2019, *DELTA* [arXiv:1901.09229](https://arxiv.org/abs/1901.09229); here all channels count the same
# - Chen et al., 2019, *Catastrophic forgetting meets negative transfer* (BSS), NeurIPS 32
# - Izmailov et al., 2018, *Averaging weights leads to wider optima and better generalization* [arXiv:1803.05407](https://arxiv.org/abs/1803.05407)
# - Wortsman et al., 2022, *Robust fine-tuning of zero-shot models* [arXiv:2109.01903](https://arxiv.org/abs/2109.01903)
#
# ### The same on your own data
# `XFERLAB_DATASET=path/home:path/abroad`, each a folder with one folder of pictures a class. Every regularizer of the library against
# plain fine-tuning, also on your data: `python bench/regularizers.py --data path`. Nothing here is for clinical use.
