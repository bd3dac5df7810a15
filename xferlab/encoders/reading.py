"""Reading in depth: an encoder whose features are pooled means and standard deviations of several of its blocks.

What a last layer knows is what it was trained to tell apart; textures and tissues are told apart by the middle blocks
(Evci et al., 2022, arXiv:2201.03529).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import ArgumentError
from .base import Block, Encoder, evaluation_mode, recording

if TYPE_CHECKING:
    from .text import TextEncoder


class Depth(nn.Module):
    """A body that runs up to the last block it reads and gives that of all of them, standardized: `(B, 2 * sum of channels)`.

    Parameters
    ----------
    blocks
        What is read, in order.
    example
        The body's input `(B, C, H, W)`, of which one pass tells how many features there are.
    symmetric
        In evaluation, features are the mean over the eight flips and quarter turns of a picture.

    Attributes
    ----------
    standard
        `(z - mean) / std`, without gradient: a batch norm without scale and shift, so that whatever adapts
        batch-norm statistics adapts these as well.
    """

    symmetric: Tensor

    def __init__(self, body: nn.Module, blocks: Sequence[Block], example: Tensor):
        super().__init__()
        self.body, self.names = body, tuple(block.name for block in blocks)
        self.register_buffer("symmetric", torch.tensor(False))
        self.blocks, self.name = tuple(blocks), "depth"  # references: their modules belong to the body
        self.standard = nn.BatchNorm1d(self.read(example).shape[1], eps=1e-8, affine=False)  # variances may be small

    def forward(self, x: Tensor) -> Tensor:
        if self.training or not self.symmetric:
            return self.standard(self.read(x))
        views = turned(x)
        if torch.compiler.is_compiling():  # one pass, so that the graph, as for ONNX, is not drawn eight times
            return self.standard(self.read(torch.cat(views)).unflatten(0, (len(views), -1)).mean(0))
        return self.standard(torch.stack([self.read(view) for view in views]).mean(0))

    def read(self, x: Tensor) -> Tensor:
        """Pooled blocks before standardization."""
        # a graph cannot stop early
        early = contextlib.nullcontext() if torch.compiler.is_compiling() else last_block(self.blocks[-1])
        with recording(self) as seen, early:
            self.body(x)
        return torch.cat([mean_and_std(seen[name][-1]) for name in self.names], 1)


class _Read(Exception):
    """The last block that is read has run."""


@contextlib.contextmanager
def last_block(block: Block) -> Iterator[None]:
    """A forward pass as its body ends after `block`: what comes later costs nothing."""

    def stop(*_: object) -> None:
        raise _Read

    with block.modules[-1].register_forward_hook(stop), contextlib.suppress(_Read):
        yield


def mean_and_std(activation: Tensor) -> Tensor:
    """`(B, C, H, W)` or tokens `(B, L, C)` to means and standard deviations over space `(B, 2C)`; `(B, C)` stays."""
    if activation.ndim == 2:
        return activation
    over = (2, 3) if activation.ndim == 4 else (1,)
    if activation.ndim == 4 and activation.shape[1] == activation.shape[2] != activation.shape[3]:
        over = (1, 2)  # Swin's maps, whose channels come last
    x = activation.float()
    mean = x.mean(over)
    spread = (x.square().mean(over) - mean.square()).clamp(min=0)
    return torch.cat([mean, (spread + 1e-6).sqrt()], 1)


def turned(x: Tensor) -> list[Tensor]:
    """The eight flips and quarter turns of square pictures `(B, C, H, W)`; of others the four that keep their shape."""
    turns = (0, 1, 2, 3) if x.shape[-1] == x.shape[-2] else (0, 2)
    return [view.rot90(k, (-2, -1)) for k in turns for view in (x, x.flip(-1))]


def read_in_depth(encoder: Encoder | TextEncoder, read: str | Sequence[str] = "depth") -> Encoder:
    """Makes `encoder`, in place, give pooled means and standard deviations of its blocks; one that does so already stays.

    Parameters
    ----------
    encoder
        For images; its source head no longer fits and is dropped.
    read
        Names of blocks, or "depth": from a third to seven ninths of the way, of nine blocks the fourth to seventh.

    Raises
    ------
    ArgumentError
        Where the encoder reads text, lacks a block, or a block gives neither maps nor token sequences.
    """
    if not isinstance(encoder, Encoder):
        raise ArgumentError(f"encoder {encoder.name!r} cannot be read in depth: it does not read images")
    if isinstance(encoder.body, Depth):
        return encoder
    n, names = len(encoder.blocks), [block.name for block in encoder.blocks]
    if read == "depth":
        middle = [block for i, block in enumerate(encoder.blocks) if 3 * i >= n and 9 * i < 7 * n]
        chosen = middle or encoder.blocks[-1:]
    elif isinstance(read, str) or not read or set(read) - set(names):
        raise ArgumentError(f"read is {read!r}, expected 'depth' or some of the encoder's blocks: {', '.join(names)}")
    else:
        chosen = [block for block in encoder.blocks if block.name in read]
    read_up_to, device = names.index(chosen[-1].name) + 1, encoder.mean.device
    example = encoder.prepare(torch.zeros(2, encoder.channels, *(encoder.size or (64, 64)), device=device))
    try:
        with torch.no_grad(), evaluation_mode(encoder):
            body = Depth(encoder.body, chosen, example).to(device)
    except (IndexError, AttributeError, RuntimeError) as error:
        tried = ", ".join(block.name for block in chosen)
        raise ArgumentError(f"blocks {tried} of {encoder.name!r} give no maps: {error}") from error
    encoder.body, encoder.dim = body, body.standard.num_features
    if read != "depth":  # part of the name, by which features that were kept are told apart
        encoder.name += f", read at {', '.join(body.names)}"
    encoder.blocks = [*encoder.blocks[:read_up_to], Block("standard", (body.standard,))]
    encoder.drop_source_head()
    return encoder
