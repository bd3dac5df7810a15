# %% [markdown]
# ## The question
# The official list of diseases says *Unspecified asthma, uncomplicated*, and the doctor writes *Asthma NOS* (not otherwise specified). You
# want to sort the doctors' phrases into the chapters of the list, ICD-10-CM, and only the list's own wording has labels. **Does a
# language model that was trained on ordinary text carry the labels across, and is it worth more than counting words?**
#
# All of it is real text in the public domain. The 18 chapters are the classes, the official descriptions are the source, and the
# *inclusion terms* that stand under the codes are the target.

# %%
import copy

import numpy as np
import torch

import xferlab as xl

lab = xl.lab.start("09")
source, target = map(xl.load, lab.datasets("icd10/descriptions", "icd10/inclusion-terms"))
print(source.train, target.train, sep="\n")

# %%
# the same category in both wordings; a category is the first three characters of a code, such as J45, asthma
kind = "groups" if source.name.startswith("icd10/") else "labels"
both = sorted(set(getattr(source.train, kind).tolist()) & set(getattr(target.train, kind).tolist()))


def example(domain, value):
    """The last text of this category, as a domain of one."""
    return domain[(getattr(domain, kind) == value).nonzero()[-1:, 0]]


# %%
pairs, phrases = {}, []
for value in both[:: max(1, len(both) // 9)]:
    formal, phrase = example(source.train, value), example(target.train, value)
    chapter = source.classes[int(formal.labels)]
    phrases.append(phrase.inputs)
    pairs[xl.text.decode(formal.inputs)[0]] = {"inclusion term": xl.text.decode(phrase.inputs)[0], "chapter": chapter}
caption = "Each row shows one text of each wording from the same category. They need not name the same disease."
xl.lab.table(pairs, caption, corner="formal description")

# %% [markdown]
# One warning comes before any number. *Asthma, mild* and *asthma, severe* are neighbors in this list. If one is in training and the
# other in the test, a model that knows the word "asthma" looks clever. So whole **categories** go to one part, and one map serves both
# wordings: what is tested in either wording was trained on in neither.
#
# ### Exercise 1: find the leak
# Write `leaks(train, test)`: the sorted list of three-character categories that stand in both lists of codes.


# %% tags=["exercise"] exercise="09.1"
def leaks(train, test): ...


# %% tags=["solution"] exercise="09.1"
def leaks(train, test):
    return sorted({code[:3] for code in train} & {code[:3] for code in test})


# %% tags=["wrong"] exercise="09.1" mistake="whole_codes"
def leaks(train, test):
    return sorted(set(train) & set(test))


# %% tags=["wrong"] exercise="09.1" mistake="first_letter"
def leaks(train, test):
    return sorted({code[0] for code in train} & {code[0] for code in test})


# %% tags=["wrong"] exercise="09.1" mistake="either"
def leaks(train, test):
    return sorted({code[:3] for code in train} | {code[:3] for code in test})


# %% [markdown] tags=["mistakes"] exercise="09.1"
# - whole_codes: Only whole codes were compared: J45.20 in training and J45.30 in the test are both asthma, and that is missed.
# - first_letter: One letter is too coarse: J45, asthma, and J20, bronchitis, are two categories.
# - either: These are the categories in either list; a leak is a category that stands in both.

# %% [markdown] tags=["hints"] exercise="09.1"
# 1. J45.20 and J45.909 are two codes. Are they two categories?
# 2. Cut each code to its first three characters, then look for what the two sets share.
# 3. `return sorted({code[:3] for code in train} & {code[:3] for code in test})`

# %% tags=["check"] exercise="09.1"
xl.checks.check("09.1", leaks)

# %% [markdown]
# ## What the encoder reads
# The encoder is MiniLM (all-MiniLM-L6-v2). It has the architecture of BERT with six layers, and it was tuned on pairs of sentences so that
# sentences with a like meaning get like features. It never saw a label of ours. It reads *word pieces*: a rare word is cut into several
# pieces, each of which the model has met elsewhere. Each piece comes out of the last layer as a vector, and the text's feature is the mean
# of these vectors.

# %%
encoder = xl.encoder("minilm")
for block in encoder.blocks:
    print(f"{block.name:10s} {sum(p.numel() for p in block.parameters()):>10,} parameters")
print(f"features: {encoder.dim}")
for row in xl.text.pieces(torch.cat(phrases)[2:5]):
    print(" ".join(row))

# %% [markdown]
# ### Exercise 2: the mean over a text
# Texts of a batch differ in length, so the short ones are padded with token 0. Write `pool(states, tokens)` for states
# `(B, L, D)` and token ids `(B, L)`: the mean over each text's **real** tokens, `(B, D)`.


# %% tags=["exercise"] exercise="09.2"
def pool(states, tokens): ...


# %% tags=["solution"] exercise="09.2"
def pool(states, tokens):
    real = (tokens != 0).unsqueeze(-1).float()
    return (states * real).sum(1) / real.sum(1)


# %% tags=["wrong"] exercise="09.2" mistake="padding_counts"
def pool(states, tokens):
    return states.mean(1)


# %% tags=["wrong"] exercise="09.2" mistake="divided_by_length"
def pool(states, tokens):
    return (states * (tokens != 0).unsqueeze(-1)).mean(1)


# %% tags=["wrong"] exercise="09.2" mistake="first_token"
def pool(states, tokens):
    return states[:, 0]


# %% [markdown] tags=["mistakes"] exercise="09.2"
# - padding_counts: Padding counts as words here: a short text's feature is mostly padding.
# - divided_by_length: The sum is over real tokens, but it is divided by the batch's length L; divide by each text's own number of tokens.
# - first_token: That is the first token's state; BERT is often read so, but MiniLM was tuned on the mean.
# - sum: That is the sum; without the division a long text lies further out than a short one.

# %% [markdown] tags=["hints"] exercise="09.2"
# 1. Would a text's feature change if a longer text joined its batch? It must not.
# 2. Multiply the states by a mask `(B, L, 1)` of `tokens != 0`, sum over L, and divide by how many real tokens there are.
# 3. `real = (tokens != 0).unsqueeze(-1).float(); return (states * real).sum(1) / real.sum(1)`

# %% tags=["check"] exercise="09.2"
xl.checks.check("09.2", pool)

# %% [markdown]
# ## Four ways to learn from a few descriptions
#
# | name | what it is | why you might want it |
# |---|---|---|
# | TF-IDF | counts of words and parts of words, then logistic regression; no pretraining at all | It takes seconds and no GPU, and among rare words it may win. |
# | probe | MiniLM stays frozen under a new last layer | A few labels cannot damage weights that stay frozen. |
# | full | all 22 million weights move | The wording of the list is unlike ordinary text, so every layer may have to change. |
# | LoRA | beside each frozen matrix, the product of two thin matrices moves ([Hu et al., 2021](https://arxiv.org/abs/2106.09685)) | All tasks share the 90 MB of weights, and each task is a small file. |
#
# ### Predict
# Which has the best balanced accuracy on the **inclusion terms** with **5** labeled descriptions a class?

# %% tags=["exercise"] exercise="09.p1"
ways = ["TF-IDF", "probe", "full", "LoRA"]
guess = ...  # one of these four names
xl.checks.predict("09.p1", guess, options=ways)

# %% tags=["solution"] exercise="09.p1"
ways = ["TF-IDF", "probe", "full", "LoRA"]
guess = "TF-IDF"
xl.checks.predict("09.p1", guess, options=ways)

# %% [markdown]
# The first draw with 20 labels a class trains now, except LoRA. Everything else was measured earlier with the same settings by
# `bench/text_table.py`, and is read from a file that says when and where. There are five draws, but three of 100 labels and three of the
# adaptation further down. The learning rates of *full*, *LoRA* and *probe* were tried on the validation part of the descriptions, and
# *layers* takes that of *full*. The other settings are customary ones, and nobody tuned them. The test sets hold the same number of texts
# of each class, so a blind guess is right once in 18 times.

# %%
steps = lab.scale(quick=2, lab=60, full=600)  # for 20 labels a class; half for 5, twice for 100
probing = lab.scale(quick=20, lab=500, full=500)  # frozen features are computed once, so these are nearly free
tests = [s.test.take(per_class=lab.scale(quick=3, lab=25, full=1000), seed=0) for s in (source, target)]
settings = dict(batch_size=16, progress_bar=lab.shows_progress)
rates = {"full": 3e-4, "LoRA": 5e-3, "probe": 1e-2, "layers": 3e-4}
strategies = {
    "full": xl.strategies.full(),
    "LoRA": xl.strategies.lora(8),
    "probe": xl.strategies.head_only(),
    "layers": xl.strategies.top(6),  # all of MiniLM's layers, and not its word embeddings
}


# %%
def train(way: str, labeled: xl.Domain, start=None, adapt=(), draw: int = 0) -> xl.Run:
    """Trains a head, and what `way` lets move, on labeled descriptions; `adapt` are objectives that see the target's texts."""
    model = xl.Classifier(copy.deepcopy(start or encoder), source.classes, seed=draw)
    texts = target.train.unlabeled() if adapt else None
    some = max(2, round(steps * {5: 0.5, 100: 2}.get(len(labeled) // len(source.classes), 1)))
    how = dict(strategy=strategies[way], lr=rates[way], steps=probing if way == "probe" else some, seed=draw)
    return xl.fit(model, labeled, texts, objectives=[xl.CrossEntropy(), *adapt], **how, **settings)


def scored(scores, seconds: float) -> dict:
    return {target.name: scores[1].balanced_accuracy, source.name: scores[0].balanced_accuracy, "seconds": seconds}


# %%
def trial(method: str, labels: int, draw: int) -> dict:
    labeled = source.train.take(per_class=labels, seed=draw)
    if method == "TF-IDF":
        return scored([xl.text.tfidf(labeled, test) for test in tests], 0.0)
    run = train(method, labeled, draw=draw)  # no model is kept: each is 90 MB
    return scored([xl.evaluate(run.model, test) for test in tests], run.seconds)


counts = lab.scale(quick=(20,), lab=(5, 20, 100), full=(5, 20, 100))
title = f"balanced accuracy, trained on {source.name}, tested on"
earlier = (5, 100, "LoRA")  # read from the file, to save you minutes
results = lab.experiment(f"labels_{source.name}", trial, method=ways, labels=counts, earlier=earlier, title=title)

# %%
results.curves(target.name, xlabel="labels a class", ylabel=f"balanced accuracy, {target.name}")

# %% tags=["results"]
results.table(target.name, over="TF-IDF")

# %%
results.table(source.name, over="TF-IDF")

# %%
results.gains(target.name, over="TF-IDF")

# %%
fewest = results.levels[0]
ranks = results.mean(target.name, labels=fewest)
xl.checks.reveal("09.p1", results.best(target.name, labels=fewest), results.tied(target.name, labels=fewest))
print(f"At {fewest} labels a class, on {target.name}: " + ", ".join(f"{way} {v:.2f}" for way, v in ranks.items()))

# %% [markdown]
# ### Exercise 3: what are pretrained weights worth, in labels?
# Here is a question that whoever pays for labels understands: **how many labels a class would TF-IDF need to do as well as the probe
# does with five?** Learning curves are nearly straight against the *logarithm* of the labels, so interpolate there. The numbers
# below are made up to be round. Give the number of labels a class that TF-IDF needs for 0.60.

# %% tags=["exercise"] exercise="09.3"
tfidf_curve = {5: 0.30, 20: 0.50, 80: 0.70}  # labels per class: balanced accuracy
probe_at_5 = 0.60
needed = ...

# %% tags=["solution"] exercise="09.3"
tfidf_curve = {5: 0.30, 20: 0.50, 80: 0.70}
probe_at_5 = 0.60
needed = np.exp(np.interp(probe_at_5, list(tfidf_curve.values()), np.log(list(tfidf_curve))))

# %% tags=["wrong"] exercise="09.3" mistake="linear"
needed = np.interp(0.60, [0.30, 0.50, 0.70], [5, 20, 80])

# %% tags=["wrong"] exercise="09.3" mistake="times"
needed = 40 / 5

# %% tags=["wrong"] exercise="09.3" mistake="in_logs"
needed = np.interp(0.60, [0.30, 0.50, 0.70], np.log([5, 20, 80]))

# %% [markdown] tags=["mistakes"] exercise="09.3"
# - linear: That is halfway in labels; go halfway in their logarithm, where the curve is straight.
# - times: That is how many times as many labels; the exercise asks for the number of labels a class.
# - in_logs: That is the logarithm of the answer; `np.exp` undoes it.

# %% [markdown] tags=["hints"] exercise="09.3"
# 1. 0.60 lies halfway between 0.50 and 0.70. What lies halfway between 20 and 80 when each doubling counts alike?
# 2. `np.interp(accuracy, accuracies, logarithms of the labels)` gives a logarithm; undo it.
# 3. `needed = np.exp(np.interp(0.60, [0.30, 0.50, 0.70], np.log([5, 20, 80])))`

# %% tags=["check"] exercise="09.3"
xl.checks.check("09.3", needed)

# %% [markdown]
# The next cell asks the same of this run.

# %%
curve = [results.mean(target.name, labels=count)["TF-IDF"] for count in results.levels]
says = {}
for way in ("probe", "full", "LoRA"):
    worth = results.mean(target.name, labels=fewest)[way]
    needs = f"about {np.exp(np.interp(worth, curve, np.log(results.levels))):.0f}"
    needs = f"more than the {results.levels[-1]} that were tried" if worth > max(curve) else needs
    says[way] = f"fewer than {fewest}" if worth < min(curve) else needs
    print(f"{way} with {fewest} labels a class: {worth:.2f} on {target.name}; TF-IDF needs {says[way]}.")

# %% [markdown]
# ### Exercise 4: the size of a LoRA
# Beside a frozen matrix W of 384 x 384, a LoRA of rank r learns the product B A, where A is r x 384 and B is 384 x r. How many numbers
# train beside one such matrix at rank 8?

# %% tags=["exercise"] exercise="09.4"
numbers = ...

# %% tags=["solution"] exercise="09.4"
numbers = 8 * 384 + 384 * 8

# %% tags=["wrong"] exercise="09.4" mistake="whole_matrix"
numbers = 384 * 384

# %% tags=["wrong"] exercise="09.4" mistake="one_factor"
numbers = 8 * 384

# %% tags=["wrong"] exercise="09.4" mistake="whole_and_factors"
numbers = 384 * 384 + 2 * 8 * 384

# %% [markdown] tags=["mistakes"] exercise="09.4"
# - whole_matrix: That is W itself, which stays frozen.
# - one_factor: That is A or B alone; both train.
# - whole_and_factors: W is frozen: of this sum only A and B train.

# %% [markdown] tags=["hints"] exercise="09.4"
# 1. W is frozen. Which two matrices are not?
# 2. A holds 8 x 384 numbers; B holds as many.
# 3. `numbers = 2 * 8 * 384`

# %% tags=["check"] exercise="09.4"
xl.checks.check("09.4", numbers)

# %% [markdown]
# ## Adapting to the clinicians' wording
# ![](drawings/masked_language.svg)
#
# So far no method has looked at an inclusion term before the test. Yet unlabeled phrases cost nothing. Here are three ways to use them,
# each together with the same 20 labeled descriptions a class.
#
# | name | when | what the unlabeled phrases are for |
# |---|---|---|
# | MLM, masked language modeling | before the labels | 15 % of their words are hidden, and the encoder guesses them ([Gururangan et al., 2020](https://arxiv.org/abs/2004.10964)); then comes a probe, or fine-tuning |
# | DANN (lab 04) | beside the labels | an adversary tells descriptions from phrases by their features, and the encoder works against it ([Ganin et al., 2016](https://arxiv.org/abs/1505.07818)) |
# | MMD (lab 05) | beside the labels | the distance between the two clouds of features is part of the loss ([Long et al., 2015](https://arxiv.org/abs/1502.02791)) |
#
# DANN and MMD are the same objectives as in the labs on pictures. An objective sees features `(B, D)`, and it works the same whether they
# came from pixels or from words. The packaged MiniLM has no head for guessing words, so MLM starts with a new one.
#
# What is fine-tuned here is called *layers*: all six layers, but not the word embeddings. The embeddings hold more than half of the
# weights, and a batch meets few of the 30,000 words. Each weight that moves also needs memory for its gradient and for AdamW's two
# running means. The lowest row of the figure below, *layers over full*, says what it costs to leave the embeddings alone.
#
# In the `lab` profile, *probe + MLM* and *layers + DANN* train now. The three others are read from the file. A dot in the figure is
# filled where both runs of a pair trained here.

# %%
adaptations = {
    "probe + MLM": ("probe", []),
    "layers + MLM": ("layers", []),
    "layers": ("layers", []),
    "layers + DANN": ("layers", [xl.DANN]),
    "layers + MMD": ("layers", [xl.MMD]),
}


# %%
def pretrained(draw: int) -> xl.Run:
    """The encoder after some steps of guessing hidden words of inclusion terms."""
    model = xl.Classifier(copy.deepcopy(encoder), source.classes)
    how = dict(strategy=strategies["layers"], steps=steps, lr=1e-4, seed=draw)
    return xl.fit(model, None, target.train.unlabeled(), objectives=[xl.MaskedLanguageModeling()], **how, **settings)


# %%
def adapt(method: str, draw: int) -> dict:
    way, objectives = adaptations[method]
    mlm = pretrained(draw) if "MLM" in method else None
    labeled = source.train.take(per_class=20, seed=draw)
    run = train(way, labeled, mlm and mlm.model.encoder, [make() for make in objectives], draw)
    if method == "layers + DANN":
        kept[method] = run  # for the pictures below
    guesses.extend(mlm.history if mlm else [])
    return scored([xl.evaluate(run.model, test) for test in tests], run.seconds + (mlm.seconds if mlm else 0))


# %%
kept, guesses, slow = {}, [], [name for name in adaptations if name not in ("probe + MLM", "layers + DANN")]
name, title = f"adapted_{source.name}", f"20 labels a class; {title}"
adapted = lab.experiment(name, adapt, method=list(adaptations), earlier=slow, title=title)
tuned = kept["layers + DANN"]
for when, part in (("first", guesses[:10]), ("last", guesses[-10:])):
    loss, right = (np.mean([entry[f"MaskedLanguageModeling{end}"] for entry in part]) for end in ("", ".accuracy"))
    print(f"Hidden words, {when} ten steps: loss {loss:.2f}, guessed right {right:.1%}")
print(f"A guess at random among {encoder.vocabulary:,} pieces has loss {np.log(encoder.vocabulary):.2f}.")

# %% [markdown]
# So few steps teach a new head the commonest words and little else. Real pretraining on a domain's text takes thousands of steps. The MLM
# rows below therefore show how to call it, and they do not judge the method.

# %%
compared = xl.lab.Results([*results.only(labels=20, method=["probe", "full"]), *adapted], title=title)
compared.table(target.name, source.name, over="layers")

# %%
bases = {"layers": "full", "probe + MLM": "probe"}
bases |= {"layers + MLM": "layers", "layers + DANN": "layers", "layers + MMD": "layers"}
compared.gains(target.name, source.name, over=bases)

# %% [markdown]
# Did the adversary learn anything? An adversary that is right half of the time from the first step to the last teaches the encoder
# nothing. One that is nearly always right was never fooled. The axis runs from 0 to 1, so that a small wobble looks small.

# %%
right = [entry["DANN.adversary_accuracy"] for entry in tuned.history]
figure = xl.plots.lines(
    {"adversary": ([entry["step"] for entry in tuned.history], right)},
    xlabel="step",
    ylabel="how often the adversary is right\n(running mean)",
    level=0.5,
)
figure.axes[0].set_ylim(0, 1)
xl.lab.show(figure, alt="Running accuracy of DANN's adversary over training, with a dashed line at one half")
print(f"Adversary: at most {max(right):.2f}, in the end {right[-1]:.2f}.")
if max(right) < 0.6:
    print("It is barely above chance: whatever differs in the DANN row is not an adversary's work.")

# %% [markdown]
# ### Exercise 5: domain-adaptive pretraining as stages
# A recipe is a list of stages, `xl.Stage(lambda: [objective()], data=...)`, and each stage says which domain it draws from. Assign the two
# stages of "MLM, then full fine-tuning on the labels". By default a `Stage` trains everything with cross-entropy on `data="both"`.

# %% tags=["exercise"] exercise="09.5"
stages = [..., ...]

# %% tags=["solution"] exercise="09.5"
stages = [
    xl.Stage(lambda: [xl.MaskedLanguageModeling()], data="target"),
    xl.Stage(data="source"),
]

# %% [markdown] tags=["solution"] exercise="09.5"
# `xl.Recipe("dapt", tuple(stages)).fit(model, labeled, target.train.unlabeled(), lr=3e-4)` runs them. The recipe is not in
# `xl.recipes`, because everything there must run on pictures too, and pictures have no words to hide.

# %% tags=["wrong"] exercise="09.5" mistake="labels_first"
stages = [
    xl.Stage(data="source"),
    xl.Stage(lambda: [xl.MaskedLanguageModeling()], data="target"),
]

# %% tags=["wrong"] exercise="09.5" mistake="mlm_on_source"
stages = [
    xl.Stage(lambda: [xl.MaskedLanguageModeling(on="source")], data="source"),
    xl.Stage(data="source"),
]

# %% tags=["wrong"] exercise="09.5" mistake="not_a_function"
stages = [
    xl.Stage([xl.MaskedLanguageModeling()], data="target"),
    xl.Stage(data="source"),
]

# %% [markdown] tags=["mistakes"] exercise="09.5"
# - not_a_function: Objectives learn during a run, so a stage takes a function that makes new ones: put `lambda:` before the list.
# - labels_first: The order is turned round: MLM at the end would move features away from the head.
# - mlm_on_source: MLM reads the formal descriptions here; the wording to learn is the target's.
# - mlm_on_both: Stage 1 needs no source: data="target".
# - labels_beside_target: Stage 2 learns from labels, and only the source has them: data="source".

# %% [markdown] tags=["hints"] exercise="09.5"
# 1. Which of the two needs labels, and which needs the clinicians' wording?
# 2. `xl.Stage(objectives, data=...)`, where `objectives` is a function that makes the list anew for each run.
# 3. `stages = [xl.Stage(lambda: [xl.MaskedLanguageModeling()], data="target"), xl.Stage(data="source")]`

# %% tags=["check"] exercise="09.5"
xl.checks.check("09.5", stages)

# %% [markdown]
# ## Which words decide?
# Leave one word piece out and look again: how far does the log probability of the predicted chapter fall? Blue means that it falls
# without the piece, so the piece speaks for the chapter. Orange means that it rises, so the piece speaks against it. Each text is
# scaled to its strongest piece. The model is *layers + DANN*, and the phrases are inclusion terms that it has not seen.

# %%
# short phrases, but no single words, which have nothing to be compared with
brief = tests[1][((tests[1].inputs != 0).sum(1) >= 6) & ((tests[1].inputs != 0).sum(1) <= 12)].take(n=8, seed=4)
chosen = xl.predict(tuned.model, brief).argmax(1)
evidence = xl.attribution.token_attribution(tuned.model, brief.inputs)
notes = []
for answer, truth in zip(chosen.tolist(), brief.align(source.classes).labels.tolist()):
    wrong = f", wrong: it stands under {source.classes[truth]}"
    notes.append(source.classes[answer] + (", right" if answer == truth else wrong))
xl.lab.show(
    xl.plots.pieces(xl.text.pieces(brief.inputs), evidence, notes),
    alt="Eight inclusion terms, each word piece colored by how much it speaks for or against the predicted chapter",
)

# %% [markdown]
# As with heat maps on pictures, this shows what the model used, and not whether it was right to use it. Look for a word that decides and
# should not, such as one that is merely frequent in a chapter.
#
# ## When it hurts: what a doctor writes that no list contains
# **The phrases below were written for this lab.** They are no data set and measure nothing. They show two failures that you should look
# for in your own notes. The first is *negation*. The list does say "without rupture", but it almost never denies the disease itself, so
# training hardly shows what "no" does to a diagnosis. The second is *abbreviations*: a few letters stand for words that the list, most of
# the time, spells out.

# %%
negated = {  # made up: the thing, and the same thing denied, for which a coder would not code the disease
    "Asthma": "No evidence of asthma",
    "Pneumonia": "Pneumonia ruled out",
    "Type 2 diabetes mellitus": "Patient denies diabetes mellitus",
    "Fracture of the wrist": "X-ray shows no fracture of the wrist",
    "Malignant tumor of the breast": "Biopsy negative for malignant tumor of the breast",
    "Major depression": "No signs of depression",
}


# %%
def predicted(texts) -> tuple[list[str], list[float]]:
    """The likeliest chapter of each text, and how sure that model is of it."""
    domain = xl.Domain(xl.text.tokenize(list(texts)), None, source.classes, name="made up")
    sure, best = xl.predict(tuned.model, domain).max(1)
    return [source.classes[k] for k in best], sure.tolist()


(said, sure), (denied, sure_denied) = predicted(negated), predicted(negated.values())
same = sum(a == b for a, b in zip(said, denied))
print(f"{same} of {len(negated)} made-up denials get the chapter of the thing denied.")
print(f"Mean confidence {np.mean(sure):.2f} for the thing, {np.mean(sure_denied):.2f} for its denial.")
rows = (dict(zip(("predicted", "confidence"), row)) for row in zip(denied, sure_denied))
xl.lab.table(dict(zip(negated.values(), rows)), corner="made-up denial")

# %%
abbreviated = {  # an abbreviation, what it stands for, and the chapter
    "COPD": ("Chronic obstructive pulmonary disease", "respiratory system"),
    "UTI": ("Urinary tract infection", "genitourinary system"),
    "MI": ("Myocardial infarction", "circulatory system"),
    "CHF": ("Congestive heart failure", "circulatory system"),
    "GERD": ("Gastro-esophageal reflux disease", "digestive system"),
    "T2DM": ("Type 2 diabetes mellitus", "endocrine and metabolic"),
    "RA": ("Rheumatoid arthritis", "musculoskeletal system"),
    "SOB": ("Shortness of breath", "symptoms and findings"),
}

# %%
(short, _), (long, _) = predicted(abbreviated), predicted(phrase for phrase, _ in abbreviated.values())
rows, right = {}, [0, 0]
for letters, a, b in zip(abbreviated, short, long):
    phrase, truth = abbreviated[letters]
    rows[letters] = {"predicted": a, "written out": phrase, "predicted, written out": b, "true chapter": truth}
    right = [right[0] + (a == truth), right[1] + (b == truth)]
print(f"Of {len(rows)} abbreviations {right[0]} get their chapter; written out, {right[1]} do.")
xl.lab.table(rows, corner="abbreviation")

# %% [markdown]
# The scores above show hardly any of this, because hardly any test text denies its own disease or is a bare abbreviation. A test set
# finds only the failures that it contains. Before such a model meets real notes, put negations and abbreviations into its test, and then
# into its training.
#
# ## Quiz

# %% [markdown] tags=["quiz"]
# ### Why must a category not be in training in one wording and in the test in the other?
# - [ ] The tokenizer would cut both texts alike.
#   It may, and that does no harm by itself.
# - [x] The model could know the disease by its name.
#   Yes. The two wordings share most of their words, so the test would only measure memory. The score would not hold for diseases it has
#   not met.
# - [ ] The classes would be out of balance, and the rare chapters would lose.
#   Balance depends on how many texts each class gives, not on the categories they come from.

# %% [markdown] tags=["quiz"]
# ### The gap between TF-IDF and a frozen encoder shrinks as labels are added. What is the likely reason?
# - [x] With more labels TF-IDF has met more of the words itself.
#   Yes. Pretraining gave the encoder knowledge of words that nobody had labeled, and each new label makes that worth less.
# - [ ] Logistic regression is a better classifier than the probe's layer.
#   Both are linear; the probe is a logistic regression too.
# - [ ] The encoder forgets what it knew when it sees more labels.
#   It is frozen, so it can forget nothing.

# %% [markdown] tags=["quiz"]
# ### Suppose masked language modeling on the target's texts makes the result worse. Which explanation fits?
# - [ ] Target labels leaked into the pretraining, and the model trusted them.
#   Masked language modeling uses no labels, and a leak would raise the score.
# - [ ] It cannot work on BERT's architecture.
#   It is how BERT was trained in the first place.
# - [x] A few steps moved the features away from the sentence tuning.
#   Yes, and they were too few to teach much of the language. Gururangan et al. pretrain on far more text and for far longer.

# %% tags=["nbval-check-output"]
print("A baseline that could win belongs in every table.")

# %% [markdown]
# ## Recap

# %% tags=["answer"]
lab.answer(
    fewest=fewest,
    probe=results.mean(target.name, labels=fewest)["probe"],
    needs=says["probe"],
    most=results.levels[-1],
    gain=results.gain("probe", "TF-IDF", target.name, labels=results.levels[-1]),
)

# %% [markdown]
# - You can say what an encoder is worth as a number of labels. The run above says how many, against a baseline that could have won.
# - Split by what makes examples alike, such as a category or a patient, across both domains.
# - Probe, LoRA, fine-tuning, DANN and MMD are the same calls as in the labs on pictures. The paired differences say whether adaptation pays.
# - A test set finds only the failures that it contains.
#
# ### Papers
# - Devlin et al., 2019, *BERT* [arXiv:1810.04805](https://arxiv.org/abs/1810.04805)
# - Reimers & Gurevych, 2019, *Sentence-BERT* [arXiv:1908.10084](https://arxiv.org/abs/1908.10084)
# - Gururangan et al., 2020, *Don't stop pretraining* [arXiv:2004.10964](https://arxiv.org/abs/2004.10964)
# - Hu et al., 2021, *LoRA* [arXiv:2106.09685](https://arxiv.org/abs/2106.09685)
# - Alsentzer et al., 2019, *Publicly available clinical BERT embeddings* [arXiv:1904.03323](https://arxiv.org/abs/1904.03323)
#
# ### The same on your own data
# Prepare two CSV or JSON Lines files with the same classes and the columns `text` and `label` (and `group`, such as a patient's id). Set
# `XFERLAB_DATASET=formal.csv:notes.csv` and run this notebook again. The made-up phrases fit the default data only. With an internet
# connection, `xl.encoder("emilyalsentzer/Bio_ClinicalBERT")` gives an encoder that has read hospital notes; load the data with the
# same `tokenizer=`. Texts stay on your machine. Nothing here is for clinical use.
