"""Batch norm and padding as part of the convolution: the same function in evaluation mode, two passes over memory less."""

from __future__ import annotations

import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# by name, so that an encoder without timm does not import it; any other class may do more in its forward than these
CONVOLUTIONS, NORMS = ("Conv2d", "Conv2dSame"), ("BatchNorm2d", "BatchNormAct2d")


def foldable(body: nn.Module, example: Tensor) -> tuple[tuple[nn.Module, nn.Module], ...]:
    """Convolutions whose output goes to one batch norm and nowhere else, each with that norm; `body` in evaluation mode.

    Read off the autograd graph of one forward pass. A module that runs twice is left out; a body that can't be
    differentiated has none.
    """
    if not any(isinstance(module, nn.BatchNorm2d) for module in body.modules()):
        return ()
    made: dict[Any, nn.Module] = {}
    read: list[tuple[Any, nn.Module]] = []
    times: Counter[Any] = Counter()

    def after(conv, _inputs, output):
        made[output.grad_fn] = conv
        times[conv] += 1

    def before(norm, inputs):
        read.append((inputs[0].grad_fn, norm))
        times.update(read[-1])

    with contextlib.ExitStack() as stack:
        for module in body.modules():
            if isinstance(module, nn.Conv2d):
                stack.callback(module.register_forward_hook(after).remove)
            elif isinstance(module, nn.BatchNorm2d):
                stack.callback(module.register_forward_pre_hook(before).remove)
        # the graph is read, never run backwards: it needs to keep no activations
        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(lambda _: None, lambda kept: kept))
        stack.enter_context(torch.enable_grad())
        try:
            end = getattr(body(example.clone().requires_grad_() * 1), "grad_fn", None)
        except Exception:  # it ran without gradients, which is all that is asked of it
            return ()
    readers: dict[Any, list[str]] = defaultdict(list)
    nodes: set[Any] = {end} - {None}
    while nodes:
        found = [(node, at.name()) for at in nodes for node, _ in at.next_functions if node]
        nodes = {node for node, _ in found if node not in readers}
        for node, reader in found:
            readers[node].append(reader)
    return tuple(
        (made[node], norm)
        for node, norm in read
        # the graph lacks what the output does not depend on: a norm whose result is thrown away is no reader in it
        if node in made
        and times[node] == times[norm] == times[made[node]] == 1
        and ["BatchNorm" in reader for reader in readers[node]] == [True]
    )


@contextlib.contextmanager
def folded(model: nn.Module) -> Iterator[None]:
    """Inside it, encoders in evaluation mode run without their batch norms: with s = gamma / sqrt(var + eps),

        norm(W x + b) = (s W) x + beta + s (b - mean)

    Every module gives the output it gave before, to rounding, but for the convolutions; parameters are themselves again
    afterwards. Pairs that changed since (LoRA, a hook between the two, a norm replaced) run as they are.
    """
    present = set(model.modules())
    pairs = {pair for module in present for pair in getattr(module, "folds", ()) if present.issuperset(pair)}
    kept: list[tuple[nn.Module, nn.Module, dict]] = []
    try:
        for conv, norm in pairs:
            if _plain(conv, norm):
                scale = torch.rsqrt(norm.running_var + norm.eps) * (1 if norm.weight is None else norm.weight)
                shift = scale * ((0 if conv.bias is None else conv.bias) - norm.running_mean)
                kept.append((conv, norm, dict(conv._parameters)))
                conv._parameters["weight"] = (conv.weight * scale.view(-1, 1, 1, 1)).detach()
                conv._parameters["bias"] = (shift if norm.bias is None else shift + norm.bias).detach()
                rest = (norm.drop, norm.act) if type(norm).__name__ == "BatchNormAct2d" else ()
                norm.forward = nn.Sequential(*rest).forward
                if type(conv).__name__ == "Conv2dSame":
                    conv.forward = _pads_itself(conv)
        yield
    finally:
        for conv, norm, parameters in kept:
            conv._parameters.update(parameters)
            del norm.forward
            vars(conv).pop("forward", None)


def _pads_itself(conv: nn.Conv2d) -> Callable[[Tensor], Tensor]:
    """The forward of a depthwise "same" convolution of stride 2 without its padded copy of the input, on the CPU.

    TensorFlow pads an even length with one row more below than above, for which torch's convolution has no argument. A kernel
    with a row of zeros put above asks for equally many on both sides. (With three channels in, the copy is the cheaper way.)
    """
    plain, size = conv.forward, conv.kernel_size[0]
    shape = (conv.kernel_size, conv.stride, conv.dilation, conv.groups)
    if shape != ((size, size), (2, 2), (1, 1), conv.in_channels) or size == 1 or conv.weight.device.type != "cpu":
        return plain
    wide = F.pad(conv.weight, (1, 0, 1, 0))

    def forward(x: Tensor) -> Tensor:
        if x.shape[-2] % 2 or x.shape[-1] % 2:
            return plain(x)
        return F.conv2d(x, wide, conv.bias, conv.stride, size // 2, groups=conv.groups)

    return forward


def _plain(conv: nn.Module, norm: nn.Module) -> bool:
    """Nothing looks between the two, and each is what its class says."""
    return (
        type(conv).__name__ in CONVOLUTIONS
        and type(norm).__name__ in NORMS
        and not norm.training
        and norm.running_var is not None
        and not (conv._forward_hooks or conv._forward_pre_hooks or norm._forward_pre_hooks)
        and "forward" not in vars(norm) | vars(conv)
    )
