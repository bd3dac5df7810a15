"""What a model reads in its input."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .encoders import Classifier, recording
from .encoders.base import evaluation_mode
from .encoders.text import TextEncoder
from .errors import ArgumentError
from .evaluation import evaluating


def grad_cam(model: Classifier, inputs: Tensor, *, layer: str | None = None, classes: Tensor | None = None) -> Tensor:
    """Grad-CAM (Selvaraju et al., 2017, arXiv:1610.02391): where an encoder block's activation speaks for a class.

    `L = relu(sum_c w_c A_c)`, `w_c` the mean over space of the class logit's gradient in channel c.

    Parameters
    ----------
    model
        The Classifier to ask.
    inputs
        Pictures `(B, C, H, W)`.
    layer
        The last block whose activation still has a height and a width, if None.
    classes
        Int64 `(B,)`; the model's own predictions if None.

    Returns
    -------
    Tensor
        `(B, H, W)` on the inputs' own pixels, each map scaled to a maximum of 1 (0 where nothing speaks for the
        class).

    Raises
    ------
    ArgumentError
        For a layer the encoder lacks or one without space, and for text.

    Examples
    --------
    >>> xl.attribution.grad_cam(model, source.test.inputs[:2]).shape
    torch.Size([2, 28, 28])
    """
    if inputs.ndim != 4:
        raise ArgumentError(
            f"grad_cam reads images (B, C, H, W), got {tuple(inputs.shape)}; for text there is token_attribution"
        )
    device = next(model.parameters()).device
    with evaluation_mode(model), recording(model.encoder) as seen:
        # inputs need the gradient, or a fully frozen encoder would record none
        prepared = model.encoder.prepare(inputs.to(device)).requires_grad_(True)
        logits = model.head(model.encoder.body(prepared))
    activations = {name: outs[0] for name, outs in seen.items()}  # the upright view's, where turned ones follow it
    spatial = [name for name, out in activations.items() if out.ndim == 4 and out.shape[-1] > 1]
    layer = layer or (spatial[-1] if spatial else None)
    if layer not in spatial:
        raise ArgumentError(f"layer {layer!r} has no map; layers that have one: {', '.join(spatial) or 'none'}")
    chosen = logits.argmax(1) if classes is None else classes.to(device)
    score = logits.gather(1, chosen[:, None]).sum()
    (gradient,) = torch.autograd.grad(score, activations[layer])
    cam = (gradient.mean((2, 3), keepdim=True) * activations[layer]).sum(1, keepdim=True).relu()
    cam = F.interpolate(cam.detach(), inputs.shape[-2:], mode="bilinear", align_corners=False).squeeze(1)
    return (cam / cam.amax((1, 2), keepdim=True).clamp(min=1e-12)).cpu()


def token_attribution(model: Classifier, inputs: Tensor, *, classes: Tensor | None = None) -> Tensor:
    """Which tokens speak for a class, and which against it: each is left out in turn (Li et al., 2016, arXiv:1612.08220).

        a_t = log p(class | text) - log p(class | text without token t)

    `text.pieces(inputs)` names the tokens. A pass over the texts for each token: for a few short texts. Gradient times input would
    need one pass, but its signs often disagree with what leaving out shows.

    Parameters
    ----------
    model
        A Classifier that reads text.
    inputs
        Token ids `(B, L)`.
    classes
        Int64 `(B,)`; the model's own predictions if None.

    Returns
    -------
    Tensor
        `(B, L)`, each text scaled to a largest absolute value of 1; 0 on padding and on tokens that are no words
        (`encoder.special`).

    Raises
    ------
    ArgumentError
        For a model of images.

    Examples
    --------
    >>> reader = xl.Classifier(xl.encoder("minilm", pretrained=False), classes=("heart", "lung"))
    >>> xl.attribution.token_attribution(reader, xl.text.tokenize(["asthma", "heart failure"])).shape
    torch.Size([2, 4])
    """
    if not isinstance(model.encoder, TextEncoder):
        raise ArgumentError(f"encoder {model.encoder.name!r} reads no tokens; for images there is grad_cam")
    device = next(model.parameters()).device
    tokens, scores = inputs.to(device), torch.zeros(inputs.shape)
    words = ~torch.isin(tokens, torch.tensor([0, *model.encoder.special], device=device))
    with evaluating(model):
        whole = model(tokens).float().log_softmax(1)
        chosen = (whole.argmax(1) if classes is None else classes.to(device))[:, None]
        for t in range(tokens.shape[1]):
            if len(rows := words[:, t].nonzero()[:, 0]):
                without = F.pad(torch.cat([tokens[rows, :t], tokens[rows, t + 1 :]], 1), (0, 1))
                fall = whole[rows] - model(without).float().log_softmax(1)
                scores[rows.cpu(), t] = fall.gather(1, chosen[rows])[:, 0].cpu()
    return scores / scores.abs().amax(1, keepdim=True).clamp(min=1e-12)
