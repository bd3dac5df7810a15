"""What may move, and how fast: each strategy gives every block of the encoder a learning-rate multiplier.

A multiplier of 0 freezes the block: no gradient, and its batch norms keep their statistics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from .encoders import NORMS, Block, Classifier, Encoder, encoder
from .errors import ArgumentError
from .probes import make_deep
from .weights import add_lora, lora_parameters


def _norm_parameters(block: Block) -> list[nn.Parameter]:
    return [p for module in block.modules for m in module.modules() if isinstance(m, NORMS) for p in m.parameters()]


@dataclass(frozen=True)
class Strategy:
    """What of a model moves, and how fast.

    Parameters
    ----------
    name, rate
        What it is called, and `rate(i, n, progress)`: the multiplier for block i of n (0 is nearest the input) at a
        progress 0..1.
    within
        Which parameters of a moving block move: all, the norms' only, LoRA's only.
    head
        The head's multiplier.
    add
        Adds parts to the model before training (LoRA).
    freeze_statistics
        Batch norms of moving blocks keep the statistics they came with: a head that was trained on features made with
        them would no longer fit.

    Examples
    --------
    >>> xl.strategies.head_only().rates(model, progress=0.5)["head"]
    1.0
    >>> xl.strategies.head_only().freezes_encoder(model)
    True
    """

    name: str
    rate: Callable[[int, int, float], float]
    within: Callable[[Block], list[nn.Parameter]] = Block.parameters
    head: float = 1.0
    add: Callable[[Classifier], object] | None = None
    freeze_statistics: bool = False

    def prepare(self, model: Classifier) -> None:
        if self.add:
            self.add(model)

    def groups(self, model: Classifier) -> list[dict]:
        """Parameter groups, two a block (with and without weight decay) and two for the head.

        Each is `{"params", "block", "decay"}`, with "head" as the head's block. Norms and biases do not decay. Pure:
        changes nothing.
        """
        blocks = [(block.name, self.within(block)) for block in model.encoder.blocks]
        blocks.append(("head", list(model.head.parameters())))
        return [
            {"params": chosen, "block": name, "decay": decay}
            for name, parameters in blocks
            for decay in (True, False)
            if (chosen := [p for p in parameters if (p.ndim > 1) == decay])
        ]

    def rates(self, model: Classifier, progress: float) -> dict[str, float]:
        """Learning-rate multiplier by block name, with "head"."""
        names = [block.name for block in model.encoder.blocks]
        return {name: self.rate(i, len(names), progress) for i, name in enumerate(names)} | {"head": self.head}

    def apply(self, model: Classifier, progress: float) -> None:
        """Sets `requires_grad` and training mode for this progress."""
        model.train()
        model.requires_grad_(False)
        model.head.requires_grad_(self.head > 0)
        rates = self.rates(model, progress)
        for block in model.encoder.blocks:
            for module in block.modules:
                module.train(rates[block.name] > 0)
            for parameter in self.within(block) if rates[block.name] > 0 else ():
                parameter.requires_grad_(True)
        for norm in model.encoder.modules() if self.freeze_statistics else ():
            if isinstance(norm, NORMS):
                norm.eval()

    def freezes_encoder(self, model: Classifier) -> bool:
        """True when no block ever moves, so that features can be computed once."""
        n = len(model.encoder.blocks)
        return not self.add and all(self.rate(i, n, p / 10) == 0 for i in range(n) for p in range(11))


def full(freeze_statistics: bool = False) -> Strategy:
    """Everything moves at the same rate.

    Parameters
    ----------
    freeze_statistics
        Batch norms' running means and variances stay.

    Returns
    -------
    Strategy
        For `fit` and `Stage`.

    Examples
    --------
    >>> set(xl.strategies.full().rates(model, progress=0.0).values())
    {1.0}
    """
    name = "full(freeze_statistics=True)" if freeze_statistics else "full"
    return Strategy(name, lambda i, n, progress: 1.0, freeze_statistics=freeze_statistics)


def head_only() -> Strategy:
    """Linear probing: the encoder is frozen, batch-norm statistics included.

    Returns
    -------
    Strategy
        For `fit` and `Stage`.

    Examples
    --------
    >>> run = xl.fit(model, source.train, strategy=xl.strategies.head_only(), steps=1)
    """
    return Strategy("head_only", lambda i, n, progress: 0.0)


def small_net() -> Strategy:
    """A small network from scratch in place of the encoder, for pictures of the same size: what any pretraining must beat.

    Returns
    -------
    Strategy
        For `fit` and `Stage`.

    Raises
    ------
    ArgumentError
        In `fit`, for an encoder of text.

    Examples
    --------
    >>> run = xl.fit(model, source.train, strategy=xl.strategies.small_net(), steps=1)
    >>> model.encoder.name
    'small_cnn'
    """
    return Strategy("small_net", lambda i, n, progress: 1.0, add=_make_small)


def _make_small(model: Classifier) -> None:
    if not isinstance(model.encoder, Encoder):
        raise ArgumentError(f"{model.encoder.name!r} does not read images, and the small network does")
    if model.encoder.name != "small_cnn":
        seed = torch.initial_seed() % 2**31  # fit has seeded torch, and a generator's seed may have 64 bits
        model.encoder = encoder("small_cnn", channels=model.encoder.channels, size=model.encoder.size, seed=seed)
        model.head = Classifier(model.encoder, model.classes, seed=seed).head


def depth() -> Strategy:
    """The encoder is read in depth and frozen, see `encoders.reading`; what a depth probe solves its head on.

    Returns
    -------
    Strategy
        For `fit` and `Stage`.

    Examples
    --------
    >>> list(xl.strategies.depth().rates(model, progress=0.0).values())
    [0.0, 0.0, 0.0, 1.0]
    """
    return Strategy("depth", lambda i, n, progress: 0.0, add=make_deep)


def encoder_only(rate: float = 1.0) -> Strategy:
    """Everything but the head: what was learned from labels stays, as in SHOT and ADDA.

    Below 1 the encoder moves slower than the parts that objectives bring along, such as ADDA's discriminator.

    Parameters
    ----------
    rate
        Of the learning rate, above 0 and at most 1.

    Returns
    -------
    Strategy
        For `fit` and `Stage`.

    Raises
    ------
    ArgumentError
        For another rate.

    Examples
    --------
    >>> xl.strategies.encoder_only(0.1).rates(model, progress=0.0)["head"]
    0.0
    """
    if not 0 < rate <= 1:
        raise ArgumentError(f"encoder_only rate is {rate}, expected above 0 and at most 1")
    name = "encoder_only" if rate == 1.0 else f"encoder_only({rate})"
    return Strategy(name, lambda i, n, progress: rate, head=0.0)


def norm_only(head: float = 1.0) -> Strategy:
    """The norms' scale, shift and statistics move, and the head (Frankle et al., 2021, arXiv:2003.00152).

    Parameters
    ----------
    head
        The head's rate; 0 as in Tent.

    Returns
    -------
    Strategy
        For `fit` and `Stage`.

    Examples
    --------
    >>> xl.strategies.norm_only(head=0.0).name
    'norm_only(head=0.0)'
    """
    name = "norm_only" if head == 1.0 else f"norm_only(head={head})"
    return Strategy(name, lambda i, n, progress: 1.0, within=_norm_parameters, head=head)


def layerwise(decay: float = 0.7) -> Strategy:
    """Block i of n moves at `decay ** (n - i)`: the nearer the input, the slower (Howard & Ruder, 2018, arXiv:1801.06146).

    Parameters
    ----------
    decay
        Above 0 and at most 1.

    Returns
    -------
    Strategy
        For `fit` and `Stage`.

    Raises
    ------
    ArgumentError
        For another decay.

    Examples
    --------
    >>> list(xl.strategies.layerwise(0.5).rates(model, progress=0.0).values())
    [0.125, 0.25, 0.5, 1.0]
    """
    if not 0 < decay <= 1:
        raise ArgumentError(f"layerwise decay is {decay}, expected above 0 and at most 1")
    return Strategy(f"layerwise({decay})", lambda i, n, progress: decay ** (n - i))


def gradual_unfreeze(until: float = 0.5) -> Strategy:
    """The head alone first, then one more block at a time from the top (Howard & Ruder, 2018, arXiv:1801.06146).

    Parameters
    ----------
    until
        The progress from which all move.

    Returns
    -------
    Strategy
        For `fit` and `Stage`.

    Raises
    ------
    ArgumentError
        For a progress outside 0 to 1.

    Examples
    --------
    >>> list(xl.strategies.gradual_unfreeze(0.6).rates(model, progress=0.3).values())
    [0.0, 0.0, 1.0, 1.0]
    """
    if not 0 < until <= 1:
        raise ArgumentError(f"gradual_unfreeze until is {until}, expected above 0 and at most 1")
    return Strategy(f"gradual_unfreeze({until})", lambda i, n, progress: float(progress >= until * (n - i) / n))


def lp_ft(probe: float = 0.4) -> Strategy:
    """Linear probing first, then everything but batch-norm statistics (Kumar et al., 2022, arXiv:2202.10054).

    The one-call form. The recipe `lp_ft` does the same in two stages and embeds the data once for the first.

    Parameters
    ----------
    probe
        The progress at which the encoder begins to move.

    Returns
    -------
    Strategy
        For `fit` and `Stage`.

    Raises
    ------
    ArgumentError
        For a progress that is not between 0 and 1.

    Examples
    --------
    >>> xl.strategies.lp_ft(0.4).rates(model, progress=0.2)["head"]
    1.0
    """
    if not 0 < probe < 1:
        raise ArgumentError(f"lp_ft probe is {probe}, expected between 0 and 1")
    return Strategy(f"lp_ft({probe})", lambda i, n, progress: float(progress >= probe), freeze_statistics=True)


def lora(rank: int = 4, alpha: float | None = None) -> Strategy:
    """Low-rank updates beside every convolution and linear layer of the encoder move, and the head (Hu et al., 2021, arXiv:2106.09685).

    What was there stays, batch-norm statistics included. `weights.merge_lora(model)` folds the updates in afterwards.

    Parameters
    ----------
    rank, alpha
        See `weights.add_lora`; alpha is `rank` if None.

    Returns
    -------
    Strategy
        For `fit` and `Stage`.

    Examples
    --------
    >>> run = xl.fit(model, source.train, strategy=xl.strategies.lora(rank=2), steps=1)
    >>> xl.weights.merge_lora(model)
    """
    return Strategy(
        f"lora({rank}, {alpha})",
        lambda i, n, progress: 1.0,
        within=lambda block: lora_parameters(block.modules),
        add=lambda model: add_lora(model.encoder, rank, alpha),
        freeze_statistics=True,
    )


def top(blocks: int) -> Strategy:
    """Only the last blocks and the head move: which layers need to?

    Parameters
    ----------
    blocks
        How many, 0 or more.

    Returns
    -------
    Strategy
        For `fit` and `Stage`.

    Raises
    ------
    ArgumentError
        For fewer than 0.

    Examples
    --------
    >>> list(xl.strategies.top(1).rates(model, progress=0.0).values())
    [0.0, 0.0, 1.0, 1.0]
    """
    if blocks < 0:
        raise ArgumentError(f"top got {blocks} blocks, expected 0 or more")
    return Strategy(f"top({blocks})", lambda i, n, progress: float(i >= n - blocks))


def __dir__() -> list[str]:
    """What Tab offers after `xl.strategies.`: the strategies, and not what this file imports."""
    return [name for name, made in globals().items() if name[0] != "_" and getattr(made, "__module__", "") == __name__]
