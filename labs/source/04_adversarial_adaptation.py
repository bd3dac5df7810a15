# %% [markdown]
# ## The question
# A network reads the digits of one group of writers well and those of another group badly, as you saw in lab 00. The second group
# gave you pictures and no labels. **Can you train features so that nobody can tell which group a digit came from? And does the
# classifier then work for both groups?**
#
# This is the idea of domain-adversarial training, which is called DANN after its networks. An *adversary* tries to tell source from
# target, and the encoder is trained to make it fail. (Papers call the adversary a *domain discriminator*.) You need lab 00 for this lab,
# and from lab 02 what it means to compare two methods within a draw.

# %%
import torch
import torch.nn.functional as F
from torch import nn

import xferlab as xl

lab = xl.lab.start("04")
source_name, target_name = lab.datasets("digits/mnist", "digits/optdigits")
source, target = xl.load(source_name), xl.load(target_name)
xl.lab.show(
    xl.plots.contact_sheet(source.train, target.train, per_class=6),
    alt="Six examples of each class from the source on the left and from the target on the right",
)

# %% [markdown]
# The source is on the left and the target on the right. You tell them apart at a glance, because the target was stored at 8 x 8 pixels.
# Your eye does that with pixels; the question is whether *features* can be found on which nobody can. The target's class names are used
# for this picture and for scoring. Training sees `target.train.unlabeled()`.

# %%
steps = lab.scale(quick=6, lab=250, full=1500)
seen = target.train.unlabeled()
settings = dict(steps=steps, lr=3e-3, augment=None, progress_bar=lab.shows_progress)


def classifier(seed=0):
    return xl.Classifier(xl.encoder("lenet", seed=seed), source.classes, seed=seed)


# %% [markdown]
# First, the idea in the plane. Two classes live in two places, which are `gap` apart. `lambda` says how hard the features of the two
# places are pressed together. This is a toy and not DANN, but it shows the bargain: the classes may pay for making two places alike.
# Raise `lambda` at a small gap, and then at a large one. Who gains, and who pays?

# %%
xl.widgets.gap()

# %% [markdown]
# At a large gap a moderate `lambda` gives the target much and takes little from the source. At a small gap there is nothing to win, and
# a large `lambda` costs both places some of their classes, because it squeezes the direction that tells the classes apart.
#
# ### Predict
# You train the encoder against an adversary, and put the result beside a plain run that merely *sees* the target's pictures without
# learning anything from them. On the new writers, will the adversary's run be separated **above** the plain one, **below** it, or will
# it be **not separated**?

# %% tags=["exercise"] exercise="04.p1"
guess = ...  # "above", "below" or "not separated"
xl.checks.predict("04.p1", guess, options=["above", "below", "not separated"])

# %% tags=["solution"] exercise="04.p1"
guess = "above"
xl.checks.predict("04.p1", guess, options=["above", "below", "not separated"])

# %% [markdown]
# ## Gradient reversal, from the ground up
# The adversary wants its cross-entropy to be small. The encoder wants the same number to be *large*. One trick serves both of them in
# a single backward pass ([Ganin et al., 2016](https://arxiv.org/abs/1505.07818)). Put a layer between the two that does nothing on the
# way forward. On the way back it turns the gradient around and scales it by λ, which we call the **strength**.
#
# ![](drawings/gradient_reversal.svg)
#
# ### Exercise 1: write it
# Write what that layer passes back: `reversed_gradient(gradient, strength)`. It returns one tensor of the gradient's shape.


# %% tags=["exercise"] exercise="04.1"
def reversed_gradient(gradient, strength): ...


# %% tags=["solution"] exercise="04.1"
def reversed_gradient(gradient, strength):
    return -strength * gradient


# %% tags=["wrong"] exercise="04.1" mistake="wrong_sign"
def reversed_gradient(gradient, strength):
    return strength * gradient


# %% tags=["wrong"] exercise="04.1" mistake="no_strength"
def reversed_gradient(gradient, strength):
    return -gradient


# %% tags=["wrong"] exercise="04.1" mistake="divided"
def reversed_gradient(gradient, strength):
    return -gradient / strength


# %% [markdown] tags=["mistakes"] exercise="04.1"
# - wrong_sign: This passes the gradient on with its own sign: the encoder would help the adversary.
# - no_strength: The sign is right, but the strength is not used: it must scale the gradient.
# - divided: The strength divides here; at strength 0, where training begins, that is infinite.

# %% [markdown] tags=["hints"] exercise="04.1"
# 1. Which of the two players gets its gradient through this layer, and does it want the loss lower or higher?
# 2. Two things happen to the gradient: its sign changes, and the strength scales it.
# 3. `return -strength * gradient`

# %% tags=["check"] exercise="04.1"
xl.checks.check("04.1", reversed_gradient)


# %% [markdown]
# Here is such a layer, written out. Its `backward` does what you wrote. Before you run the cell, say what `x.grad` will be.


# %% tags=["lesson"]
class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, strength):
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return -ctx.strength * gradient, None  # None: the strength is a number and needs no gradient


x = torch.tensor([1.0, 2.0], requires_grad=True)
Reverse.apply(x, 0.5).sum().backward()
print("forward", Reverse.apply(x, 0.5).tolist(), "backward", x.grad.tolist())

# %% [markdown]
# ## The whole of DANN
# With reversal, the whole method takes a few lines. A small network looks at the features and gives one logit, and its loss is the
# cross-entropy on where the example came from. `xl.DANN` is the same with error messages. Here it is in the open, as an *objective*:
# something that `fit` adds to the classification loss. `fit` calls `setup` once, finds the adversary's weights there, and trains them
# together with the encoder's, by the same optimizer. The strength grows from 0 to 1 over the run, so that the adversary can learn
# something before the encoder listens to it.


# %% tags=["lesson"]
class OpenDANN(xl.Objective):
    def setup(self, model, source, target):
        self.adversary = nn.Sequential(nn.Linear(model.encoder.dim, 64), nn.ReLU(), nn.Linear(64, 1))
        self.right = torch.tensor(0.5)

    def forward(self, step):
        strength = 2 / (1 + torch.tensor(-10 * step.progress).exp()) - 1  # from 0 to 1 over the run
        z = torch.cat([step.source.features, step.target.features])
        origin = torch.cat([torch.ones(len(step.source.features)), torch.zeros(len(step.target.features))]).to(z)
        logits = self.adversary(Reverse.apply(z, strength))[:, 0]
        right = ((logits > 0) == (origin > 0)).float().mean().detach()
        self.right = 0.9 * self.right + 0.1 * right  # one batch alone is noisy
        return F.binary_cross_entropy_with_logits(logits, origin)

    def log(self):
        return {"adversary_accuracy": self.right}


# %% [markdown]
# You can watch the two clouds of features while the network trains. `Watch` is a second objective that adds nothing to the loss. At
# four moments of the run it keeps the features of some source and some target digits.

# %%
some = source.train.take(n=200, seed=0)
watch = xl.lab.Watch(some, seen[:200])
dann = classifier()
run = xl.fit(dann, source.train, seen, objectives=[xl.CrossEntropy(), OpenDANN(), watch], **settings)

# %%
xl.lab.show(
    xl.plots.clouds(watch.kept, some.labels),
    alt="Features of source digits, drawn as their number, and of target digits, drawn as squares, at four moments of training",
)
fresh = {}
for moment, (zs, zt) in watch.kept.items():
    fresh[moment] = 0.5 + xl.transferability.proxy_a_distance(source=zs, target=zt, seed=0) / 4
print("A fresh classifier tells the groups apart on", ", ".join(f"{share:.0%} ({at})" for at, share in fresh.items()))

# %% [markdown]
# Each panel has its own axes, which are the two directions along which the features of that moment vary most. Do the squares lie
# where the numbers are? That is all the adversary ever asked for. The picture cannot say whether they lie on the *right* numbers,
# because the squares carry no labels.
#
# The printed line puts a number to it. A linear classifier that was not part of the training is fitted to the features of each moment,
# and tested on features it has not seen. If it is right half of the time, it cannot tell the two groups apart. If it is right nearly
# always, then the encoder has fooled *its own* adversary, and another one that comes later is not fooled. Both can be true of one run.
#
# ## Did it help, and what helped?
# Adaptation methods send source and target through the network in one batch, which is called a **joint forward pass**. That alone
# changes something. Batch norm subtracts the mean of the batch and divides by its spread, and both are now those of the mixture. The
# running statistics, with which the model is tested, become those of the mixture too. So the encoder has learned on inputs that were
# scaled in the way in which the target will be scaled. No loss has looked at the target for that.
#
# So two baselines stand beside the methods. **Source only** never sees the target. **Source only with joint batch norm** has the same
# loss, and only lets the target's pictures pass through the network.
#
# Beside DANN there are two relatives. **CDAN**, conditional adversarial adaptation ([Long et al., 2018](https://arxiv.org/abs/1705.10667)),
# shows the adversary each feature multiplied by each predicted class. So the adversary can object when a target 3 lies among the source's
# 8s. **MDD**, margin disparity discrepancy ([Zhang et al., 2019](https://arxiv.org/abs/1904.05801)), has a second classifier in place of
# the adversary. It has to agree with the first one on the source and to contradict it on the target. The encoder is trained to give
# features on which it cannot do both.
#
# The first draw of the two baselines and of DANN trains now, and all the rest was measured earlier with this code. A *draw* here is
# another seed: other first weights and other batches. Every model is taken as it stands after its last step, so nothing was selected. Two
# methods are *separated* when the 95 % interval of their difference within a draw leaves out zero, over five draws.


# %%
def trial(method: str, draw: int) -> dict:
    model = classifier(seed=draw)
    xl.recipes[method].fit(model, source.train, seen, seed=draw, **settings)
    return {
        "target": xl.evaluate(model, target.test).balanced_accuracy,
        "source": xl.evaluate(model, source.test).balanced_accuracy,
    }


# %%
methods = ["source_only", "source_only_joint_bn", "dann", "cdan", "mdd"]
results = lab.experiment(
    f"methods_{source.name}_{target.name}",
    trial,
    method=methods,
    earlier=("cdan", "mdd"),  # DANN's relatives are read from the file, to save you minutes
    title=f"{source.name} to {target.name}, last weights, nothing selected",
)

# %% tags=["results"]
results.table("target", "source", over="source_only_joint_bn")

# %%
results.gains("target", over="source_only_joint_bn")

# %%
found = results.gain("dann", "source_only_joint_bn", "target")
side = "above" if found["gain"] > 0 else "below"
xl.checks.reveal("04.p1", side if found["verdict"] == "separated" else "not separated")

# %% [markdown]
# Read the figure before you praise a method. Where an interval holds zero, these runs do not show that the adversary brought anything
# beyond batch norm. Where all of the interval of `dann`, `cdan` or `mdd` lies below zero, the adversary did harm, which is called
# **negative transfer**. The row of `source_only` shows what joint batch norm alone is worth. Look at the column *source* of the table as
# well: what a method gains on the target, it may pay for at home.
#
# ### Exercise 2: the right baseline
# A paper reports source only 0.70 and its method, trained with both domains in one forward pass, 0.85, and says the method
# brings 15 points. Which of our recipes, by name, should have been the baseline for that claim?

# %% tags=["exercise"] exercise="04.2"
baseline = ...

# %% tags=["solution"] exercise="04.2"
baseline = "source_only_joint_bn"

# %% tags=["wrong"] exercise="04.2" mistake="target_unseen"
baseline = "source_only"

# %% tags=["wrong"] exercise="04.2" mistake="other_method"
baseline = "dann"

# %% [markdown] tags=["mistakes"] exercise="04.2"
# - target_unseen: There the target is never in the forward pass, so the difference mixes the method with what batch norm does by itself.

# %% [markdown] tags=["hints"] exercise="04.2"
# 1. What else changed between the two numbers, besides the loss?
# 2. A forward pass over both domains changes the statistics of batch norm, whatever is minimized.
# 3. `baseline = "source_only_joint_bn"`

# %% tags=["check"] exercise="04.2"
xl.checks.check("04.2", baseline)

# %% [markdown]
# ## Is the adversary alive?
# An adversary that does nothing costs nothing and raises no error. The total loss still falls, because the classification loss
# falls. So look at the adversary's own accuracy. Below you see a healthy one, and one with a small bug that was shipped in a real
# library: its last layer is a softmax over a single unit, which gives 1 whatever comes in. So this adversary always says "source", and
# is right half of the time.


# %%
class OneUnitSoftmax(OpenDANN):
    def setup(self, model, source, target):
        super().setup(model, source, target)
        self.adversary.append(nn.Softmax(dim=1))


# %%
broken = classifier()
broken_run = xl.fit(broken, source.train, seen, objectives=[xl.CrossEntropy(), OneUnitSoftmax()], **settings)
curves = {}
for title, one, key in (("healthy", run, "OpenDANN"), ("softmax over one unit", broken_run, "OneUnitSoftmax")):
    curves[title] = ([h["step"] for h in one.history], [h[f"{key}.adversary_accuracy"] for h in one.history])
xl.lab.show(
    xl.plots.lines(curves, xlabel="step", ylabel="adversary's accuracy", level=0.5),
    alt="Accuracy of two adversaries over training: the healthy one moves, the one with a softmax over one unit stays at one half",
)

# %%
late = curves["healthy"][1][-len(curves["healthy"][1]) // 4 :]
level = sum(late) / len(late)
print(f"In the last quarter of the run the healthy adversary is right {level:.0%} of the time.")
first, last = (broken_run.history[at]["CrossEntropy"] + broken_run.history[at]["OneUnitSoftmax"] for at in (0, -1))
print(f"The broken run's total loss went from {first:.2f} to {last:.2f} all the same.")
if max(abs(accuracy - 0.5) for accuracy in curves["healthy"][1]) < 0.05:
    print("These were too few steps: the healthy adversary has not moved yet, so it cannot be told from the dead one.")

# %% [markdown]
# In a textbook run, a healthy adversary rises first, while the features still differ. Then it comes down as the encoder learns to
# fool it. A short run may swing instead, and may fall below one half: the encoder moves, and the adversary runs after it. So the level
# at the end tells you little. Look at the way there. Both curves begin at one half, because the running mean in `OpenDANN` does. A healthy
# adversary leaves that value, and a dead one stays.
#
# ### Exercise 3: read the curves
# Here are three adversaries of the textbook kind, with their accuracy at four moments. Which one is **dead**? Which one has **won** for
# good, so that the features stay separable? Which one is **healthy**? Assign a letter to each word.
#
# - A: 0.62, 0.97, 0.99, 0.99
# - B: 0.50, 0.50, 0.50, 0.50
# - C: 0.66, 0.88, 0.64, 0.55

# %% tags=["exercise"] exercise="04.3"
verdicts = {"dead": ..., "won": ..., "healthy": ...}

# %% tags=["solution"] exercise="04.3"
verdicts = {"dead": "B", "won": "A", "healthy": "C"}

# %% tags=["wrong"] exercise="04.3" mistake="half_is_success"
verdicts = {"dead": "C", "won": "A", "healthy": "B"}

# %% tags=["wrong"] exercise="04.3" mistake="accurate_is_healthy"
verdicts = {"dead": "B", "won": "C", "healthy": "A"}

# %% [markdown] tags=["mistakes"] exercise="04.3"
# - half_is_success: B never left one half: it did not learn, so nobody had to fool it.
# - accurate_is_healthy: A is right nearly always at the end: the encoder has not hidden anything from it.

# %% [markdown] tags=["hints"] exercise="04.3"
# 1. An adversary that has learned nothing and one that has been beaten can end at the same number. What differs on the way?
# 2. Healthy: up first, then down. Won: up, and up it stays. Dead: never moved.
# 3. `verdicts = {"dead": "B", "won": "A", "healthy": "C"}`

# %% tags=["check"] exercise="04.3"
xl.checks.check("04.3", verdicts)

# %% [markdown]
# ### Exercise 4: the loss of one logit
# Write `origin_loss(logits, origin)`: the adversary's loss for one logit per example, `(B, 1)`, and origins `(B,)` of 1 (source)
# and 0 (target). A logit of 200 may be wrong. Even then the loss must be finite and its gradient must not be zero.


# %% tags=["exercise"] exercise="04.4"
def origin_loss(logits, origin): ...


# %% tags=["solution"] exercise="04.4"
def origin_loss(logits, origin):
    return F.binary_cross_entropy_with_logits(logits[:, 0], origin)


# %% tags=["wrong"] exercise="04.4" mistake="softmax_of_one"
def origin_loss(logits, origin):
    return F.binary_cross_entropy(logits.softmax(dim=1)[:, 0], origin)


# %% tags=["wrong"] exercise="04.4" mistake="sigmoid_then_log"
def origin_loss(logits, origin):
    p = torch.sigmoid(logits[:, 0])
    return -(origin * p.log() + (1 - origin) * (1 - p).log()).mean()


# %% tags=["wrong"] exercise="04.4" mistake="broadcast"
def origin_loss(logits, origin):
    return (F.softplus(logits) - logits * origin).mean()  # (B, 1) with (B,) makes (B, B)


# %% tags=["wrong"] exercise="04.4" mistake="saturated"
def origin_loss(logits, origin):
    return F.binary_cross_entropy(torch.sigmoid(logits[:, 0]), origin)


# %% tags=["wrong"] exercise="04.4" mistake="cross_entropy_of_one"
def origin_loss(logits, origin):
    return F.cross_entropy(logits, origin.long())


# %% [markdown] tags=["mistakes"] exercise="04.4"
# - softmax_of_one: No gradient reaches the logits: a softmax over one unit is 1 whatever the logit is. This adversary is dead.
# - sigmoid_then_log: At a logit of 200 this is infinite: the sigmoid rounds to 1 and its logarithm has nothing left. Use a loss that takes logits.
# - saturated: Finite, but without a gradient at a wrong logit of 200, where the sigmoid is flat: that adversary cannot recover. Use a loss that takes logits.
# - flipped: Source and target are exchanged: a positive logit should mean source, 1.
# - broadcast: Each logit is compared with the mean of all origins: shapes (B, 1) and (B,) do not pair up; take logits[:, 0].
# - cross_entropy_of_one: `cross_entropy` wants a logit for each of two classes, and there is one logit. Use the binary loss.

# %% [markdown] tags=["hints"] exercise="04.4"
# 1. One logit calls for a sigmoid, not a softmax. What does float32 make of sigmoid(200), and of the logarithm of the rest?
# 2. There is a loss in `torch.nn.functional` that takes logits, so that no logarithm ever sees a 0.
# 3. `return F.binary_cross_entropy_with_logits(logits[:, 0], origin)`

# %% tags=["check"] exercise="04.4"
xl.checks.check("04.4", origin_loss)

# %% [markdown]
# ## When it hurts: the classes are not equally common
# Suppose that people in the new place write mostly low numbers, and the digits 5 to 9 are ten times rarer. The number of pictures is the
# same as before, and only their mix has changed. (Some pictures come twice, to keep the number.) The adversary can now tell the domains
# apart by *how many* sevens there are. The encoder can hide that in one way only: it moves other digits of the target to where the
# source has its sevens.

# %%
g = torch.Generator().manual_seed(0)
share = torch.where(target.train.labels < len(source.classes) // 2, 1.0, 0.1)
skewed = target.train[torch.multinomial(share, len(share), replacement=True, generator=g)].unlabeled()
equal, shifted = {}, {}
for name in ("source_only_joint_bn", "dann"):
    model = classifier()
    xl.recipes[name].fit(model, source.train, skewed, seed=0, **settings)
    shifted[name] = xl.evaluate(model, target.test).balanced_accuracy
    equal[name] = results.only(draw=0).mean("target")[name]
    print(f"{name}: {equal[name]:.3f} with the usual mix, {shifted[name]:.3f} with the skewed one. One seed.")

# %%
xl.lab.show(
    xl.plots.bars(
        {"classes equally common": equal, "half of them rare": shifted},
        xlabel="method",
        ylabel="balanced accuracy on the target",
    ),
    alt="Balanced accuracy on the target of two recipes, trained with the usual and with a skewed mix of target classes",
)
gains = [scores["dann"] - scores["source_only_joint_bn"] for scores in (equal, shifted)]
print(f"What DANN adds to its baseline: {gains[0]:+.3f} with the usual mix, {gains[1]:+.3f} with the skewed one.")

# %% [markdown]
# What did the skew cost DANN here, if anything? One seed is only an example, but the reason why it can cost something is general. We
# scored with all target labels. If you have no labels, you cannot draw a single one of these bars. What you can do then is the subject of
# lab 08: compare the shares of the classes that a model predicts, and choose with a validator.
#
# ## Quiz

# %% [markdown] tags=["quiz"]
# ### The adversary ends at an accuracy of one half. What does that prove?
# - [ ] The classifier now works on the target.
#   The clouds may overlap with the wrong classes on top of each other.
# - [ ] Adaptation has succeeded.
#   It is also what a dead adversary shows.
# - [x] Nothing by itself.
#   Yes. Its curve tells a dead adversary from a beaten one. Whether the classes landed right is a question for lab 08.

# %% [markdown] tags=["quiz"]
# ### Why does CDAN give the adversary the predictions too?
# - [x] So that it compares the domains class by class.
#   Yes: it notices when a target example lies among source examples of another predicted class.
# - [ ] So that it knows the target's labels.
#   There are no labels. These are the classifier's own guesses, right or wrong.
# - [ ] To make the adversary's task easier, so that it trains faster.
#   It does know more, but the purpose is what the encoder is then forced to do.

# %% [markdown] tags=["quiz"]
# ### Which change of the target hurts plain adversarial alignment most?
# - [ ] Another scanner.
#   That is the case it was made for.
# - [x] Another mix of classes.
#   Yes. Matching the whole cloud then moves examples across class borders.
# - [ ] Fewer target pictures, of the same kind.
#   Training gets noisier, but what is asked of the encoder is still right.

# %% tags=["nbval-check-output"]
print("Half right is what a beaten adversary looks like. It is also what a dead one looks like.")

# %% [markdown]
# ## Recap

# %% tags=["answer"]
*_, at_the_end = fresh.values()
lab.answer(
    source_only=results.gain("dann", "source_only", "target"),
    joint=results.gain("dann", "source_only_joint_bn", "target"),
    fresh=at_the_end,
)

# %% [markdown]
# - Gradient reversal lets one backward pass train two players.
# - Measure against `source_only_joint_bn`, because batch norm adapts without any method.
# - Watch the adversary's accuracy over the whole run. It should move. An adversary that stays at one half is dead, and one that stays high
#   has won.
# - A fooled adversary does not mean that nobody can tell: ask a fresh classifier.
# - Overlap is not agreement. Under another mix of classes, alignment can do harm.
#
# ### Papers
# - Ganin et al., 2016, *Domain-adversarial training of neural networks* [arXiv:1505.07818](https://arxiv.org/abs/1505.07818)
# - Long et al., 2018, *Conditional adversarial domain adaptation* [arXiv:1705.10667](https://arxiv.org/abs/1705.10667)
# - Zhang et al., 2019, *Bridging theory and algorithm for domain adaptation* [arXiv:1904.05801](https://arxiv.org/abs/1904.05801)
# - Zhao et al., 2019, *On learning invariant representations for domain adaptation* [arXiv:1901.09453](https://arxiv.org/abs/1901.09453)
#
# ### The same on your own data
# `XFERLAB_DATASET=folder-a:folder-b` runs this notebook on two folders, or two `.npz` files, with the same class names.
