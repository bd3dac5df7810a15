"""What is done to weights themselves: frozen copies, averages, interpolation, low-rank updates, stochastic norms."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .domains import Domain
from .errors import ArgumentError


def frozen_copy(module: nn.Module) -> nn.Module:
    """A copy in eval mode that no optimizer touches: a teacher, or the starting weights.

    Parameters
    ----------
    module
        What is copied.

    Returns
    -------
    Module
        In eval mode, without gradients.

    Examples
    --------
    >>> any(p.requires_grad for p in xl.weights.frozen_copy(model).parameters())
    False
    """
    return copy.deepcopy(module).requires_grad_(False).eval()


@torch.no_grad()
def average_into(average: nn.Module, model: nn.Module, rate: float | Tensor) -> None:
    """`average <- average + rate (model - average)`, parameters and floating buffers; counters are copied.

    Batch-norm statistics are averaged like weights.

    Parameters
    ----------
    average, model
        Two of the same architecture; the first is changed.
    rate
        A number or a scalar tensor: 1 copies, a constant is an exponential moving average with decay `1 - rate`,
        `1/n` at the n-th call is the plain mean.

    Examples
    --------
    >>> average = xl.weights.frozen_copy(model)
    >>> xl.weights.average_into(average, model, rate=0.1)
    """
    ours, theirs = ([*module.parameters(), *module.buffers()] for module in (average, model))
    for old, new in zip(ours, theirs, strict=True):
        if old.is_floating_point():
            old.add_((new - old).mul_(rate))
        else:
            old.copy_(new)


def interpolate(start: dict[str, Tensor], end: dict[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """`(1 - alpha) start + alpha end` of two state dicts; integer entries are `end`'s.

    WiSE-FT (Wortsman et al., 2022, arXiv:2109.01903): `start` a model with the pretrained encoder and a trained head (a
    linear probe), `end` the same fine-tuned. Endpoints are exact.

    Parameters
    ----------
    start, end
        State dicts of the same names and shapes.
    alpha
        0 is `start`, 1 is `end`.

    Returns
    -------
    dict
        A new state dict.

    Raises
    ------
    ArgumentError
        When names or shapes differ.

    Examples
    --------
    >>> start, end = {"w": torch.zeros(2)}, {"w": torch.ones(2)}
    >>> xl.weights.interpolate(start, end, alpha=0.25)["w"]
    tensor([0.2500, 0.2500])
    """
    shapes = [{key: tuple(tensor.shape) for key, tensor in state.items()} for state in (start, end)]
    if differing := sorted({key for key, _ in set(shapes[0].items()) ^ set(shapes[1].items())}):
        raise ArgumentError(f"the state dicts differ in {', '.join(differing[:3])}; give two of the same architecture")
    return {
        key: torch.lerp(a, end[key].to(a), alpha) if a.is_floating_point() else end[key].clone()
        for key, a in start.items()
    }


def refresh_batch_norm(model: nn.Module, domain: Domain, batch_size: int = 128, seed: int = 0) -> None:
    """Sets batch-norm statistics to the mean over one pass of `domain`, in shuffled batches: after averaging weights.

    Parameters
    ----------
    model
        Is changed in place.
    domain
        What the statistics are measured on.
    batch_size, seed
        Of the batches.

    Examples
    --------
    >>> xl.weights.refresh_batch_norm(model, source.train.take(n=64))
    """
    device = next(model.parameters()).device
    order = torch.randperm(len(domain), generator=torch.Generator().manual_seed(seed)).to(domain.device)
    batches = order.tensor_split(-(-len(domain) // batch_size))  # of even size: no batch of one is left over
    torch.optim.swa_utils.update_bn((domain.inputs[rows] for rows in batches), model, device)


class LoRA(nn.Module):
    """The parametrization `W -> W + alpha / rank * B A`, with A `(rank, in)` random and B `(out, rank)` zero.

    Hu et al., 2021, arXiv:2106.09685. A convolution's weight `(O, I / groups, kh, kw)` is taken as the matrix
    `(O, I / groups * kh * kw)`.

    Parameters
    ----------
    weight
        The layer's, `(out, in)` or `(O, I / groups, kh, kw)`.
    rank
        Columns of B, at most what the weight has.
    alpha
        Scales the update.

    Examples
    --------
    >>> weight = torch.ones(4, 3)
    >>> bool((xl.weights.LoRA(weight, rank=2, alpha=2.0)(weight) == weight).all())
    True
    """

    def __init__(self, weight: Tensor, rank: int, alpha: float):
        super().__init__()
        out, fan_in = weight.shape[0], weight[0].numel()
        rank = min(rank, out, fan_in)
        self.scale = alpha / rank
        self.a = nn.Parameter(weight.new_empty(rank, fan_in))
        self.b = nn.Parameter(weight.new_zeros(out, rank))
        nn.init.kaiming_uniform_(self.a, a=5**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.scale * (self.b @ self.a).view_as(weight)


def add_lora(module: nn.Module, rank: int = 8, alpha: float | None = None) -> list[nn.Parameter]:
    """Adds a LoRA to every Conv2d and Linear in a module and freezes their weights.

    Outputs do not change until the new parameters do; a layer that already has one keeps it. What else trains (biases, norms) is left to
    the strategy.

    Parameters
    ----------
    module
        Is changed in place.
    rank
        1 or more.
    alpha
        `rank` if None, a scale of 1.

    Returns
    -------
    list of Parameter
        The new ones.

    Raises
    ------
    ArgumentError
        For a rank below 1 or a module without such layers.

    Examples
    --------
    >>> len(xl.weights.add_lora(torch.nn.Linear(8, 4), rank=2))
    2
    """
    if rank < 1:
        raise ArgumentError(f"LoRA rank is {rank}, expected 1 or more")
    layers = [layer for layer in module.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    if not layers:
        raise ArgumentError(f"{type(module).__name__} has no Conv2d or Linear layer for LoRA to adapt")
    for layer in layers:
        if not parametrize.is_parametrized(layer, "weight"):
            lora = LoRA(layer.weight.requires_grad_(False), rank, rank if alpha is None else alpha)
            parametrize.register_parametrization(layer, "weight", lora)
    return lora_parameters([module])


def lora_parameters(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    """The parameters that `add_lora` added in these modules.

    Parameters
    ----------
    modules
        Where to look.

    Returns
    -------
    list of Parameter
        In the order of the layers.

    Examples
    --------
    >>> xl.weights.lora_parameters([model])
    []
    """
    loras = [part for module in modules for part in module.modules() if isinstance(part, LoRA)]
    return [parameter for lora in loras for parameter in lora.parameters()]


def merge_lora(module: nn.Module) -> None:
    """Makes each adapted weight `W + alpha / rank * B A` an ordinary weight again: same outputs, no LoRA left.

    Parameters
    ----------
    module
        Is changed in place.

    Examples
    --------
    >>> layer = torch.nn.Linear(8, 4)
    >>> _ = xl.weights.add_lora(layer)
    >>> xl.weights.merge_lora(layer)
    >>> len(list(layer.parameters()))
    2
    """
    for layer in list(module.modules()):
        if parametrize.is_parametrized(layer, "weight") and any(isinstance(part, LoRA) for part in layer.modules()):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
            layer.weight.requires_grad_(True)


def use_stochastic_norm(model: nn.Module, p: float = 0.5) -> nn.Module:
    """In training, each channel of each BatchNorm2d is normalized by its moving statistics with probability p.

    StochNorm (Kou et al., 2020, NeurIPS 33): `s_c ~ Bernoulli(p)`, `z_c = s_c z_moving + (1 - s_c) z_batch`, one draw a
    channel and forward pass; evaluation does not change. Norms with a fused activation (timm's) keep it. A norm that a
    strategy keeps in eval mode stays as it is.

    Parameters
    ----------
    model
        Is changed in place.
    p
        0 is plain batch norm.

    Returns
    -------
    Module
        `model`.

    Raises
    ------
    ArgumentError
        For what is no probability, or a model without such norms.

    Examples
    --------
    >>> small = xl.encoder("small_cnn", size=32)
    >>> xl.weights.use_stochastic_norm(small, p=0.25) is small
    True
    """
    if not 0 <= p <= 1:
        raise ArgumentError(f"stochastic norm p is {p}, expected a probability, 0 to 1")
    norms: list[Any] = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d) and m.track_running_stats]
    if not norms:
        raise ArgumentError(f"{type(model).__name__} has no BatchNorm2d with moving statistics to make stochastic")
    for norm in norms:
        if not hasattr(norm, "stochastic_p"):
            norm.register_forward_hook(_stochastic_norm)
        norm.stochastic_p = p
    return model


def _stochastic_norm(norm: Any, args: tuple[Tensor], z_batch: Tensor) -> Tensor | None:
    if not norm.training:
        return None
    # copies: a second view's forward pass moves the statistics before this one's backward pass reads them
    mean, var = norm.running_mean.clone(), norm.running_var.clone()
    z_moving = F.batch_norm(args[0], mean, var, norm.weight, norm.bias, training=False, eps=norm.eps)
    if hasattr(norm, "act"):
        z_moving = norm.act(norm.drop(z_moving))
    chosen = torch.rand(len(mean), device=mean.device) < norm.stochastic_p
    return torch.where(chosen.view(1, -1, 1, 1), z_moving, z_batch)
