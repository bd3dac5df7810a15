"""DANN, MMD and CORAL by pytorch-adapt's hooks, as its documentation shows them. Needs `pip install pytorch-adapt 'setuptools<81'`."""

from __future__ import annotations

import torch


def dann(net, head, judge, source, labels, target, rows, *, mean, std, lr, schedule, strength) -> list[float]:
    """Losses, of labels and domains together, by step. Its mean of three losses is weighted to be our sum."""
    from pytorch_adapt.hooks import DANNHook, FeaturesForDomainLossHook, GradientReversalHook
    from pytorch_adapt.weighters import MeanWeighter

    models = {"G": net.train(), "C": head.train(), "D": torch.nn.Sequential(judge, torch.nn.Flatten(0)).train()}
    optimizers = adamw(models, lr)
    weighter = MeanWeighter(weights={"src_domain_loss": 0.5, "target_domain_loss": 0.5}, scale=3)
    reversal = GradientReversalHook(weight=1.0, apply_to=FeaturesForDomainLossHook().out_keys)
    hook = DANNHook(optimizers, weighter=weighter, gradient_reversal=reversal)

    def reverse(progress):
        return reversal.fn.update_weight(strength(progress))

    return train(hook, models, optimizers, source, labels, target, rows, mean, std, schedule, before=reverse)


def align(net, head, loss, source, labels, target, rows, *, mean, std, lr, schedule) -> list[float]:
    """Losses, of labels and of `loss` on the features, by step. Its mean of two losses is weighted to be our sum."""
    from pytorch_adapt.hooks import AlignerHook, AlignerPlusCHook
    from pytorch_adapt.weighters import MeanWeighter

    models = {"G": net.train(), "C": head.train()}
    optimizers = adamw(models, lr)
    aligner = AlignerHook(loss_fn=loss, layer="features")
    hook = AlignerPlusCHook(optimizers, weighter=MeanWeighter(scale=2), aligner_hook=aligner, softmax=False)
    return train(hook, models, optimizers, source, labels, target, rows, mean, std, schedule)


def adamw(models: dict, lr: float) -> list[torch.optim.Optimizer]:
    return [torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0) for model in models.values()]


def train(hook, models, optimizers, source, labels, target, rows, mean, std, schedule, before=lambda progress: None):
    """The total loss of each step that `hook` makes of a pair of batches of `rows`; `before(progress)` comes first."""
    schedulers = [torch.optim.lr_scheduler.LambdaLR(o, lambda t: schedule(t / len(rows))) for o in optimizers]
    losses = []
    for t, (here, there) in enumerate(rows):
        before(t / (len(rows) - 1))
        data = {
            "src_imgs": (source[here].float() - mean) / std,
            "target_imgs": (target[there].float() - mean) / std,
            "src_labels": labels[here],
            "src_domain": torch.ones(len(here)),
            "target_domain": torch.zeros(len(there)),
        }
        _, components = hook({**models, **data})
        for scheduler in schedulers:
            scheduler.step()
        losses.append(components["total_loss"]["total"])
    return losses


def coral():
    from pytorch_adapt.layers import CORALLoss

    return CORALLoss()


def linear_mmd(bandwidth: float):
    """Five Gaussians whose widths are powers of two around `bandwidth`, the linear-time estimate."""
    from pytorch_adapt.layers import MMDLoss
    from pytorch_adapt.layers.utils import get_kernel_scales

    return MMDLoss(get_kernel_scales(low=-2, high=2, num_kernels=5), mmd_type="linear", bandwidth=bandwidth)
