"""The same results on a GPU as on the CPU. Untested on GPU until a machine with one has run this."""

import pytest
import torch
from small import blobs

import xferlab as xl

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU on this machine"),
]


def test_cpu_and_gpu_train_alike(own):
    models = [own(), own()]
    for model, device in zip(models, ("cpu", "cuda"), strict=True):
        xl.fit(model, blobs(seed=1), device=device, precision="fp32", steps=10, batch_size=16, progress_bar=False)
    for a, b in zip(models[0].state_dict().values(), models[1].state_dict().values(), strict=True):
        torch.testing.assert_close(a.float(), b.cpu().float(), atol=2e-3, rtol=2e-3)


def test_bf16_learns(own):
    model = own()
    xl.fit(model, blobs(seed=1), device="cuda", steps=60, batch_size=30, lr=1e-2, progress_bar=False)
    assert xl.evaluate(model, blobs(seed=9)).balanced_accuracy > 0.95


@pytest.mark.parametrize("name", xl.recipes)
def test_every_recipe_runs(name, own, source, target):
    recipe = xl.recipes[name]
    run = recipe.fit(
        own(),
        source,
        target.unlabeled() if recipe.needs_target else None,
        device="cuda",
        steps=6,
        batch_size=16,
        progress_bar=False,
    )
    assert next(run.model.parameters()).is_cuda
