"""What a model reads in its input."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .encoders import Classifier, recording
from .errors import ArgumentError


def grad_cam(model: Classifier, inputs: Tensor, *, layer: str | None = None, classes: Tensor | None = None) -> Tensor:
    """Grad-CAM (Selvaraju et al., 2017, arXiv:1610.02391): where an encoder block's activation speaks for a class.

    `L = relu(sum_c w_c A_c)`, `w_c` the mean over space of the class logit's gradient in channel c. Returns `(B, H, W)`
    on the inputs' own pixels, each map scaled to a maximum of 1 (0 where nothing speaks for the class).

    layer    the last block whose activation still has a height and a width, if None
    classes  int64 `(B,)`; the model's own predictions if None

    Raises `ArgumentError` for a layer the encoder lacks or one without space, and for text.
    """
    if inputs.ndim != 4:
        raise ArgumentError(
            f"grad_cam reads images (B, C, H, W), got {tuple(inputs.shape)}; for text there is token_attribution"
        )
    modes = {module: module.training for module in model.modules()}
    device = next(model.parameters()).device
    try:
        with recording(model.eval().encoder) as seen:
            # inputs need the gradient, or a fully frozen encoder would record none
            prepared = model.encoder.prepare(inputs.to(device)).requires_grad_(True)
            logits = model.head(model.encoder.body(prepared))
    finally:
        for module, mode in modes.items():
            module.training = mode
    activations = {name: out for name, (*_, out) in seen.items()}
    spatial = [name for name, out in activations.items() if out.ndim == 4 and out.shape[-1] > 1]
    layer = layer or (spatial[-1] if spatial else None)
    if layer not in spatial:
        raise ArgumentError(
            f"layer {layer!r} has no map to look at; layers that have one: {', '.join(spatial) or 'none'}"
        )
    chosen = logits.argmax(1) if classes is None else classes.to(device)
    score = logits.gather(1, chosen[:, None]).sum()
    (gradient,) = torch.autograd.grad(score, activations[layer])
    cam = (gradient.mean((2, 3), keepdim=True) * activations[layer]).sum(1, keepdim=True).relu()
    cam = F.interpolate(cam.detach(), inputs.shape[-2:], mode="bilinear", align_corners=False).squeeze(1)
    return (cam / cam.amax((1, 2), keepdim=True).clamp(min=1e-12)).cpu()


def token_attribution(model: Classifier, inputs: Tensor, *, classes: Tensor | None = None) -> Tensor:
    """Gradient times input (Shrikumar et al., 2016, arXiv:1605.01713): which tokens speak for a class, and which against it.

    `a_t = sum_d e_td d logit / d e_td`, e the token's word embedding. Takes token ids `(B, L)`, returns `(B, L)`, each
    text scaled to a largest absolute value of 1, 0 on padding. `text.pieces(inputs)` names the tokens.

    classes  int64 `(B,)`; the model's own predictions if None

    Raises `ArgumentError` for a model of images.
    """
    if not hasattr(model.encoder.body, "words"):
        raise ArgumentError(f"encoder {model.encoder.name!r} reads no tokens; for images there is grad_cam")
    embedded: list[Tensor] = []

    def leaf(_module, _args, output):
        embedded.append(output.detach().requires_grad_(True))
        return embedded[0]

    hook = model.encoder.body.words.register_forward_hook(leaf)
    modes = {module: module.training for module in model.modules()}
    try:
        logits = model.eval()(inputs.to(next(model.parameters()).device))
    finally:
        hook.remove()
        for module, mode in modes.items():
            module.training = mode
    chosen = logits.argmax(1) if classes is None else classes.to(logits.device)
    (gradient,) = torch.autograd.grad(logits.gather(1, chosen[:, None]).sum(), embedded[0])
    scores = (gradient * embedded[0]).sum(2).detach().cpu()
    scores = F.pad(scores, (0, inputs.shape[1] - scores.shape[1])) * (inputs.cpu() != 0)
    return scores / scores.abs().amax(1, keepdim=True).clamp(min=1e-12)
