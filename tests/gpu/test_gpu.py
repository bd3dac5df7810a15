"""On a GPU: the same results as on the CPU, no waiting inside the loop, pictures kept as the bytes they are."""

import copy
import itertools

import pytest
import torch
from small import blobs

import xferlab as xl
from xferlab import augment

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine"),
]
SMALL = {"steps": 6, "batch_size": 16, "progress_bar": False}


def both(make):
    """The same thing made on the CPU and on the GPU."""
    return [make(device) for device in ("cpu", "cuda")]


def test_cpu_and_gpu_train_alike(own, source):
    def trained(device):
        model = own()
        xl.fit(model, source, device=device, precision="fp32", lr=3e-3, **SMALL | {"steps": 20})
        return xl.predict(model.cpu(), source)

    cpu, gpu = both(trained)
    torch.testing.assert_close(cpu, gpu, atol=3e-2, rtol=0)
    assert float((cpu - xl.predict(own(), source)).abs().max()) > 0.15  # they have learnt something, and the same


@pytest.mark.parametrize("name", xl.recipes)
def test_every_recipe_starts_from_the_cpus_losses(name, own, source, target):
    """The first step has seen the same weights, batches and draws, so that nothing but rounding differs."""
    recipe = xl.recipes[name]

    def first(device):
        other = target.unlabeled() if recipe.needs_target else None
        return recipe.fit(own(), source, other, device=device, precision="fp32", **SMALL).history[0]

    cpu, gpu = both(first)
    assert cpu.keys() == gpu.keys()
    assert gpu == pytest.approx(cpu, rel=2e-2, abs=2e-3)


@pytest.mark.parametrize("name", xl.recipes)
def test_every_recipe_runs(name, own, source, target):
    """In bf16, which is a GPU's default."""
    recipe = xl.recipes[name]
    run = recipe.fit(own(), source, target.unlabeled() if recipe.needs_target else None, device="cuda", **SMALL)
    assert next(run.model.parameters()).is_cuda


class Watched(xl.Objective):
    """Nothing to minimise. From the second step to the last, an operation that makes the CPU wait for the GPU raises."""

    needs = frozenset()

    def __init__(self, steps: int):
        super().__init__()
        self.seen, self.steps = 0, steps

    def forward(self, step):
        side = step.source or step.target
        return 0 * side.features.float().sum()

    def after_step(self, step):
        self.seen += 1
        torch.cuda.set_sync_debug_mode("error" if self.seen < self.steps else "default")


@pytest.fixture
def watched_fit(own, source, target, monkeypatch):
    """`fit` on both domains that raises where a step waits; what the log reads each half second is left out."""
    clock = itertools.count()
    monkeypatch.setattr("xferlab.training.keeping.time.perf_counter", lambda: next(clock) * 1e-3)

    def run(objectives, data="both", **settings):
        sides = (source if data != "target" else None, target.unlabeled() if data != "source" else None)
        return xl.fit(own(), *sides, objectives=[*objectives, Watched(6)], device="cuda", **SMALL, **settings)

    yield run
    torch.cuda.set_sync_debug_mode("default")


# an optimal plan is solved on the CPU, and torch waits to see that singular values were found
WAIT = {"deep_jdot", "bnm", "bsp"}


@pytest.mark.parametrize("name", sorted(set(xl.recipes) - WAIT))
def test_no_step_of_a_recipe_waits_for_the_gpu(name, watched_fit):
    stage = xl.recipes[name].stages[-1]
    watched_fit(stage.objectives(), stage.data, strategy=stage.strategy, augment=stage.augment)


@pytest.mark.parametrize("name", ["L2SP", "DELTA", "EMA", "SWA", "Distillation", "SimCLR", "RotationPrediction"])
def test_no_step_of_an_objective_waits_for_the_gpu(name, watched_fit):
    watched_fit([xl.CrossEntropy(), getattr(xl, name)()])


@pytest.mark.parametrize("operation", [augment.MixUp(), augment.CutMix(), augment.FDA(), augment.MixStyle()], ids=repr)
def test_no_step_with_a_joint_augmentation_waits_for_the_gpu(operation, watched_fit):
    watched_fit([xl.CrossEntropy()], augment=[augment.RandAugment(), operation])


def test_the_watch_sees_waiting(watched_fit):
    """Else the tests above would pass whatever a step does."""

    class Waits(xl.CrossEntropy):
        def forward(self, step):
            loss = super().forward(step)
            return loss * float(loss.item() > -1)

    with pytest.raises(RuntimeError, match="synchronizing"):
        watched_fit([Waits()])


OPERATIONS = [
    *(augment.Crop(2), augment.Flip(vertical=True), augment.Rotate90(), augment.Rotate(), augment.RandomResizedCrop()),
    *(augment.ColorJitter(), augment.Stain(), augment.Blur(), augment.Noise(), augment.Erase(), augment.RandAugment()),
]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: type(operation).__name__)
def test_augmentation_draws_the_same(operation, source):
    def changed(device):
        images = augment.apply([operation], source.inputs.to(device), torch.Generator().manual_seed(3))
        assert images.device.type == device
        return images.cpu().float()

    cpu, gpu = both(changed)
    assert (
        float(((cpu - gpu).abs() > 1).float().mean()) < 0.01
    )  # bytes are rounded, and a box's edge may fall either way
    assert not torch.equal(cpu, source.inputs.float())


def test_features_and_answers_are_alike(own, source):
    model = own()
    answers = both(lambda device: xl.predict(model.to(device), source))
    features = both(lambda device: xl.embed(model.encoder.to(device), source, cache=False).cpu())
    for cpu, gpu in (answers, features):
        torch.testing.assert_close(cpu, gpu, atol=1e-2, rtol=1e-2)  # convolutions of a GPU round to ten bits (TF32)


def test_scores_take_features_from_a_gpu(source):
    g = torch.Generator().manual_seed(0)
    features = torch.randn(60, 8, generator=g) + source.labels[:, None]
    for score in (xl.transferability.logme, xl.transferability.h_score):
        cpu, gpu = both(lambda device: score(features=features.to(device), labels=source.labels.to(device)))
        assert float(cpu) == pytest.approx(float(gpu), rel=1e-3)


def test_a_checkpoint_of_a_gpu_goes_on_on_a_cpu(own, source, tmp_path):
    class Stop(Exception):
        pass

    class Until(xl.Objective):
        """Ends the run at step 5, once."""

        needs, stops = frozenset({"source"}), True

        def forward(self, step):
            return 0 * step.source.features.sum()

        def after_step(self, step):
            if self.stops and step.progress > 0.5:
                Until.stops = False
                raise Stop

    def run(device):
        objectives = [xl.CrossEntropy(), Until()]
        settings = SMALL | {"steps": 10, "checkpoint": tmp_path / "run.pt", "checkpoint_every": 3, "precision": "fp32"}
        return xl.fit(own(), source, objectives=objectives, device=device, **settings)

    with pytest.raises(Stop):
        run("cuda")
    finished = run("cpu")
    assert finished.resumed_from == 3
    assert len(finished.history) == 10 and next(finished.model.parameters()).device.type == "cpu"


@pytest.fixture
def bert():
    """A BERT of two small layers that nobody trained, and texts whose class is a word."""
    transformers = pytest.importorskip("transformers", reason="the extra nlp is not installed")
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    torch.manual_seed(0)
    encoder = xl.text.TextEncoder(transformers.BertModel(config).eval(), name="small", mask_token=4, special=(1, 2, 3))
    labels = torch.arange(60) % 3
    tokens = torch.randint(10, 50, (60, 12), generator=torch.Generator().manual_seed(0))
    tokens[:, 3], tokens[::2, 8:] = 5 + labels, 0
    return xl.Classifier(encoder, ("a", "b", "c")), xl.Domain(tokens, labels, ("a", "b", "c"), name="texts")


@pytest.mark.parametrize("name", ["CrossEntropy", "DANN", "MMD", "FixMatch", "MaskedLanguageModeling"])
def test_texts_start_from_the_cpus_losses(name, bert):
    model, texts = bert
    for module in model.modules():  # dropout draws on the device
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0

    def first(device):
        objectives = [xl.CrossEntropy(), getattr(xl, name)()]
        fitted = copy.deepcopy(model)
        run = xl.fit(fitted, texts, texts.unlabeled(), objectives=objectives, device=device, precision="fp32", **SMALL)
        assert next(fitted.parameters()).device.type == device and xl.evaluate(fitted, texts).n == 60
        return run.history[0]

    cpu, gpu = both(first)
    for key in cpu.keys() - {
        "MaskedLanguageModeling",
        "MaskedLanguageModeling.accuracy",
    }:  # which words are hidden, too
        assert gpu[key] == pytest.approx(cpu[key], rel=2e-2, abs=2e-3), key
    assert all(value == value for value in gpu.values())


def test_pictures_stay_bytes_on_the_gpu():
    """500 MB would be 2 GB as floats."""
    pictures = torch.zeros(40_000, 3, 64, 64, dtype=torch.uint8)
    domain = xl.Domain(pictures, torch.arange(40_000) % 3, ("a", "b", "c"), name="large", synthetic=True)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    model = xl.Classifier(xl.encoder("lenet", channels=3), domain.classes)
    xl.fit(model, domain, device="cuda", steps=3, batch_size=64, progress_bar=False)
    assert torch.cuda.max_memory_allocated() - before < 1.2 * pictures.numel()


def test_bf16_learns(own):
    model = own()
    xl.fit(model, blobs(seed=1), device="cuda", steps=60, batch_size=30, lr=1e-2, progress_bar=False)
    assert xl.evaluate(model, blobs(seed=9)).balanced_accuracy > 0.95
