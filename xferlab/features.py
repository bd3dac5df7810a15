"""Features computed once and kept: a frozen encoder never sees the same data twice."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from .domains import Domain
from .encoders import recording
from .errors import ArgumentError
from .evaluation import in_batches
from .storage import cache_folder, fingerprint, write_atomically


def embed(
    model, domain: Domain, *, layer: str | None = None, batch_size: int = 64, cache: bool | str | Path = True
) -> Tensor:
    """Features `(N, D)` of a Classifier or Encoder in evaluation mode, float32 on the CPU.

    layer  name of an encoder block, whose activations are averaged over space; None for the encoder's output
    cache  True keeps them in the cache folder, named by the content of weights and inputs, so that a changed weight or
           image is noticed; a path keeps them there; False computes them anew

    Raises `ArgumentError` for a layer the encoder lacks, `DataError` when features are not finite.
    """
    encoder = getattr(model, "encoder", model)
    blocks = [block.name for block in encoder.blocks]
    if layer is not None and layer not in blocks:
        raise ArgumentError(f"encoder {encoder.name!r} has no layer {layer!r}; it has {', '.join(blocks)}")
    path = None
    if cache:
        settings = (encoder.name, encoder.size, encoder.channels, encoder.mean, encoder.std, layer)
        folder = cache_folder("features") if cache is True else Path(cache)
        path = folder / f"{fingerprint(settings, encoder.state_dict(), domain.inputs)}.safetensors"
        if path.is_file():
            return load_file(path)["features"]
    if layer is None:
        features = in_batches(encoder, encoder, domain, batch_size)
    else:
        with recording(encoder, [layer]) as seen:
            features = in_batches(
                encoder, lambda inputs: (encoder(inputs), pool(seen[layer].pop()))[1], domain, batch_size
            )
    if path:
        with write_atomically(path) as temporary:
            save_file({"features": features}, temporary)
    return features


def pool(activation: Tensor) -> Tensor:
    """`(B, C, ...)` averaged over space to `(B, C)`."""
    return activation.flatten(2).mean(2) if activation.ndim > 2 else activation
