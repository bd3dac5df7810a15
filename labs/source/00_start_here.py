# %% [markdown]
# ## The question
# A model was trained in one place and must work in another: on other pictures, in another laboratory, or in another language for the
# same thing. What do you do then, and how do you know whether it worked? This course is about these two questions. Run the next two
# cells with Shift and Enter. They take a few seconds, and nothing leaves your machine.

# %%
import torch

import xferlab as xl

lab = xl.lab.start("00")

# %%
source = xl.load("digits/mnist")  # Americans' handwriting, collected around 1990
target = xl.load("digits/optdigits")  # the same ten digits, other writers, another scanner
xl.lab.show(
    xl.plots.contact_sheet(source.train, target.train, per_class=6),
    alt="Six examples of each digit from MNIST on the left and from optdigits on the right; the right ones are blurred and smaller",
)

# %% [markdown]
# Both are handwritten digits. The ones on the right are blurred, and you can still read them. Keep that in mind for later.
#
# ### Exercise 1: how many?
# `counts()` says how many examples of each class a part has: try `source.train.counts()`. How many **eights** does the
# training part of `target` have? Assign a number.

# %% tags=["exercise"] exercise="00.1"
eights = ...

# %% tags=["solution"] exercise="00.1"
eights = int(target.train.counts()[8])

# %% tags=["wrong"] exercise="00.1" mistake="all_of_them"
eights = len(target.train)

# %% tags=["wrong"] exercise="00.1" mistake="whole_list"
eights = target.train.counts()

# %% tags=["wrong"] exercise="00.1" mistake="other_place"
eights = int(source.train.counts()[8])

# %% [markdown] tags=["mistakes"] exercise="00.1"
# - whole_list: These are the counts of all ten digits; take the entry for the eight.
# - all_of_them: That is the number of all training images, not of the eights.
# - other_place: That is MNIST, the source; the target is optdigits.

# %% [markdown] tags=["hints"] exercise="00.1"
# 1. The counts come in the order of `target.train.classes`.
# 2. Index the tensor that `counts()` returns with 8.
# 3. `eights = int(target.train.counts()[8])`

# %% tags=["check"] exercise="00.1"
xl.checks.check("00.1", eights)

# %% [markdown]
# Every exercise works like this one. You fill in the `...` and run the check. If your answer is wrong, the check tells you what is wrong
# with it. Below each check there are hints, which open one at a time, and the solution.
#
# ## What can this machine do?
# The line below the first cell named a *profile*, which sets how long runs take: `lab` for a lesson, `quick` only to see the cells
# run, and `full` to train longer. `XFERLAB_PROFILE` sets it before the notebook starts. The doctor looks at Python, the memory, the GPU
# if there is one, and the files that the labs need. If something should be fixed, it says what. Paste its report when you ask for help.

# %%
print(xl.doctor.report()[0])

# %% [markdown]
# ## Where data comes from
# A **domain** is a set of examples from one place. `catalog()` lists what there is: real or synthetic, how large, under which license, and
# whether it needs a network. To load your own folder or `.npz` file, give its path.

# %%
xl.catalog()

# %%
print(source.train)
print(target.train)

# %% [markdown]
# ## A pretrained encoder knows something
# An **encoder** turns an input into features, which are a list of numbers. This one learned from a million photographs, ImageNet, and its
# weights are in a package on this machine. `source_head` is the last layer that it learned with, for a thousand classes. Here are two
# photographs from elsewhere (Chelsea is a cat), each with the class that the encoder finds likeliest and that probability.

# %%
from skimage import data as photographs
from timm.data import ImageNetInfo

encoder = xl.encoder("efficientnet_lite0", size=224).eval()
names = ImageNetInfo().label_descriptions()
shown = {}
for what, picture in (("coffee", photographs.coffee()), ("chelsea", photographs.chelsea())):
    side = min(picture.shape[:2])
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    image = torch.from_numpy(picture[top : top + side, left : left + side].copy()).permute(2, 0, 1)[None]
    p, best = encoder.source_head(encoder(image)).softmax(1).max(1)
    shown[f"{what}: {names[int(best)].split(',')[0]}, {float(p):.2f}"] = image

# %%
alt = "Two photographs with the encoder's best guess beside each: " + "; ".join(shown)
xl.lab.show(xl.plots.images(shown), alt=alt)

# %% [markdown]
# ## Five words
# Four nouns and one verb carry the whole course.
#
# - **Domain**: examples from one place. `load` gives its three parts, `train`, `val` and `test`.
# - **Encoder**: inputs to features. A `Classifier` is an encoder with a linear head on top.
# - **Objective**: what is minimized. Objectives add up, so techniques combine.
# - **Strategy**: which weights may change (*move*), and how fast.
# - **fit**: the one loop that trains.
#
# ### Predict
# You train a small network on MNIST and test it on MNIST and on optdigits. It reads nearly every new MNIST digit. How well does it read the
# digits of the *other* writers?

# %% tags=["exercise"] exercise="00.p1"
guess = ...  # "as well", "somewhat worse" (down by less than 10 points) or "much worse"
xl.checks.predict("00.p1", guess, options=["as well", "somewhat worse", "much worse"])

# %% tags=["solution"] exercise="00.p1"
guess = "as well"
xl.checks.predict("00.p1", guess, options=["as well", "somewhat worse", "much worse"])

# %%
steps = lab.scale(quick=5, lab=200, full=1000)
model = xl.Classifier(xl.encoder("lenet"), source.classes)
run = xl.fit(model, source.train, objectives=[xl.CrossEntropy()], steps=steps, progress_bar=lab.shows_progress)
home, abroad = xl.evaluate(model, source.test), xl.evaluate(model, target.test)
print(f"trained for {run.seconds:.1f} s at {run.images_per_second:.0f} images/s")

# %% tags=["results"]
print(home)
print(abroad)

# %%
gap = home.balanced_accuracy - abroad.balanced_accuracy
xl.checks.reveal("00.p1", "as well" if gap < 0.02 else "somewhat worse" if gap < 0.1 else "much worse")
xl.lab.show(
    xl.plots.confusion(abroad, title="MNIST model on optdigits"),
    alt="Confusion matrix of the MNIST model on optdigits: true digit by row, predicted digit by column",
)

# %% [markdown]
# *Balanced accuracy* is the mean of the accuracies of the single classes. The numbers in brackets are its 95 % interval. They say how much
# the result may change when chance picks other digits for the test. They do *not* say how much it may change when you train again. Later
# labs train several times.
#
# This course is about the fall from home to abroad. What differs between two places is called the *shift*. It does not disturb you when you
# read the digits, and it may disturb the network. A model that is used abroad just as it was trained is called *source only*. It is the
# baseline of later labs.
#
# Next comes a toy in the plane, where you can see a shift. Move the target away from the source, and watch how often the source's
# classifier is right there.

# %%
xl.widgets.gap(lambdas=[0])

# %% [markdown]
# ## The rule of the course
# In the real case there are no labels from the new place, and that is why you need transfer at all. So you may use target labels to
# *score* a method, and for nothing else. `fit` holds you to it.

# %%
try:
    xl.fit(model, source.train, target.train, steps=1)
except xl.errors.TargetLabelsError as error:
    print(error)

# %% [markdown]
# ### Exercise 2: hand over the target
# Give the part of the target that training may see: the training images of `target`, without their labels.

# %% tags=["exercise"] exercise="00.2"
visible = ...

# %% tags=["solution"] exercise="00.2"
visible = target.train.unlabeled()

# %% tags=["wrong"] exercise="00.2" mistake="leaked_labels"
visible = target.train

# %% tags=["wrong"] exercise="00.2" mistake="test_images"
visible = target.test.unlabeled()

# %% tags=["wrong"] exercise="00.2" mistake="source_side"
visible = source.train.unlabeled()

# %% [markdown] tags=["mistakes"] exercise="00.2"
# - leaked_labels: Its labels are still on it, and training must not see them.
# - test_images: These are the test images; even without labels they are kept for scoring.
# - source_side: These come from the source; the target is the place the model must work in.

# %% [markdown] tags=["hints"] exercise="00.2"
# 1. Which of the three parts is for training, and what must be taken off it?
# 2. Every Domain has a method that returns it without labels.
# 3. `visible = target.train.unlabeled()`

# %% tags=["check"] exercise="00.2"
xl.checks.check("00.2", visible)

# %% [markdown]
# ### Exercise 3: a fair split
# Four blood smears come from two patients: slides 0 and 1 from Ana, slides 2 and 3 from Ben. Which slides may form
# the test part, if the score is to say how the model does on a **new patient**? Give a set of slide numbers.

# %% tags=["exercise"] exercise="00.3"
test_slides = ...

# %% tags=["solution"] exercise="00.3"
test_slides = {2, 3}

# %% tags=["wrong"] exercise="00.3" mistake="patient_straddles"
test_slides = {1, 3}

# %% tags=["wrong"] exercise="00.3" mistake="nothing_to_train"
test_slides = {0, 1, 2, 3}

# %% tags=["wrong"] exercise="00.3" mistake="half_a_patient"
test_slides = {3}

# %% [markdown] tags=["mistakes"] exercise="00.3"
# - patient_straddles: A patient's slides are on both sides: the model is tested on someone it has seen.
# - nothing_to_train: Then no slide is left to train on.
# - half_a_patient: The same patient's other slide would be trained on: the score would be of a known patient.

# %% [markdown] tags=["hints"] exercise="00.3"
# 1. What would the model have seen already, if one of Ana's slides trained it and the other tested it?
# 2. A patient's slides stay together: whole groups go to one part. `Splits` raises an error otherwise.
# 3. `test_slides = {2, 3}`, or `{0, 1}`

# %% tags=["check"] exercise="00.3"
xl.checks.check("00.3", test_slides)

# %% [markdown]
# ## When it hurts: sure and wrong
# Without labels from the new place you can still look at how sure the model is: at the probability of its best guess, which is called its
# *confidence*. The expected calibration error, ECE, is the mean distance between the confidence and how often the model is right.

# %%
for where, scores in {"at home": home, "abroad": abroad}.items():
    sure = scores.probabilities.max(1)
    wrong = (scores.predictions != scores.labels)[sure > 0.9]
    print(f"{where}: right {scores.accuracy:.0%} of the time, {sure.mean():.0%} sure on average, ECE {scores.ece:.3f};")
    print(f"  more than 90 % sure on {wrong.size} of {scores.n} digits, and wrong on {wrong.sum()} of those")

# %% [markdown]
# A fall in confidence is a warning, and it needs no labels. But it is not a score. Compare the two ECEs, and how often "more than 90 %
# sure" was wrong in each place. Lab 08 is about what you can tell without labels.
#
# ### Exercise 4: read a score
# A method scores 0.71 on the target's test set with the interval [0.66, 0.76]. Another scores 0.74 with [0.69, 0.79], on
# the same test images. What may you say? Assign `"A"`, `"B"` or `"C"`.
#
# - A: The second is better.
# - B: They are equally good.
# - C: These intervals alone do not say. Look at the difference between the two, run by run (the *paired* difference).

# %% tags=["exercise"] exercise="00.4"
statement = ...

# %% tags=["solution"] exercise="00.4"
statement = "C"

# %% tags=["wrong"] exercise="00.4" mistake="higher_is_better"
statement = "A"

# %% tags=["wrong"] exercise="00.4" mistake="overlap_is_equal"
statement = "B"

# %% [markdown] tags=["mistakes"] exercise="00.4"
# - higher_is_better: The higher number may be luck: each interval is wider than the distance between the two.
# - overlap_is_equal: Not finding a difference is not the same as there being none.

# %% [markdown] tags=["hints"] exercise="00.4"
# 1. Both were tested on the same images, so both were lucky or unlucky together.
# 2. Overlap of intervals is neither a proof of a difference nor of its absence.
# 3. `statement = "C"`

# %% tags=["check"] exercise="00.4"
xl.checks.check("00.4", statement)

# %% [markdown]
# ## Quiz

# %% [markdown] tags=["quiz"]
# ### What may target labels be used for in this course?
# - [ ] To choose the learning rate, if the test part is left alone.
#   A choice made with target labels is training on them by another name.
# - [x] To score a method once it has been trained and chosen.
#   Yes, and every table says so.
# - [ ] For nothing at all, because the new place has none.
#   Then nobody could say whether a method works. Target labels score a method; they do not train or choose it.

# %% [markdown] tags=["quiz"]
# ### A domain is marked synthetic. What does a result on it show?
# - [ ] Nothing that anybody could use.
#   It shows what the method does when the difference between two places is of this kind.
# - [x] How methods behave under this rendered difference.
#   Yes. A claim about patients needs real data, so every lab runs on your own set if you set one variable.
# - [ ] The same as on real smears, if the pictures look alike.
#   Looking alike to you is not being alike to a network; you have just seen that with digits.

# %% [markdown] tags=["quiz"]
# ### A model scores 0.97 [0.96, 0.98] at home. What does the interval say about another laboratory?
# - [ ] Between 0.96 and 0.98 there as well.
#   It only says what another choice of test examples from *this* place would change.
# - [ ] About the same, if the test set was large.
#   A larger test set makes the interval narrower; it is still about home.
# - [x] Nothing: it was drawn from home alone.
#   Yes. The other place has to be scored by itself, as optdigits was here.

# %% tags=["nbval-check-output"]
print("Four nouns, one verb:", "Domain, Encoder, Objective, Strategy; fit")

# %% [markdown]
# ## Recap

# %% tags=["answer"]
lab.answer(home=home.balanced_accuracy, abroad=abroad.balanced_accuracy, sure=float(abroad.probabilities.max(1).mean()))

# %% [markdown]
# - `load`, `Classifier`, `encoder`, `fit`, `evaluate`: that is the shape of every experiment.
# - A fall from home to abroad can be large where you read both without trouble. Confidence hints at it and does not measure it.
# - Target labels score. They do not train, and they do not choose.
#
# Next: lab 01, pretraining: where features come from.
#
# ### Papers
# - Ben-David et al., 2010, *A theory of learning from different domains*, Machine Learning 79
# - Guo et al., 2017, *On calibration of modern neural networks* [arXiv:1706.04599](https://arxiv.org/abs/1706.04599)
#
# ### The same on your own data
# `xl.load("path/to/folder")` takes a folder with one folder of pictures for each class, and `xl.load("set.npz")` a file in
# MedMNIST's layout. `data/bring-your-own.md` says what is read and what is refused.
