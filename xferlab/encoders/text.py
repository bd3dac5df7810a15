"""The pretrained encoder that reads text: a transformer of Hugging Face's kind with a mean over tokens (extra `nlp`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..domains.tokens import absent, load_tokenizer, model_folder, swap_padding, transformers_package
from ..errors import ArgumentError, DataError, DownloadError
from ..storage import verify
from .base import Block

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class TextEncoder(nn.Module):
    """Maps token ids `(B, L)` to features `(B, D)`: the mean over a text's tokens of what the last layer puts out.

    It has what `encoders.Encoder` has, so that whatever works on one works on the other: `body` (token ids to features), `dim`,
    `blocks` (the embeddings, then each layer), `prepare`. What goes through a block's hook is the mean over the text's
    tokens too, `(B, D)`.

    Parameters
    ----------
    net
        A model of the `transformers` package.
    name
        What reports call it.
    pad
        The net's own id for padding.
    mask_token
        The id that hides a token, or None.
    special
        Ids that are no words: start, end, padding, mask, unknown.

    Attributes
    ----------
    vocabulary
        How many token ids it knows.

    Raises
    ------
    ArgumentError
        For a network that is no plain stack of layers over text.

    Examples
    --------
    >>> reader = xl.encoder("minilm", pretrained=False)
    >>> reader(xl.text.tokenize(["asthma", "heart failure"])).shape
    torch.Size([2, 384])
    """

    channels = size = mean = std = source_head = None  # what images have

    def __init__(self, net, *, name: str, pad: int = 0, mask_token: int | None = None, special: Sequence[int] = ()):
        super().__init__()
        self.name, self.dim = name, net.config.hidden_size
        self.body = _Body(net, pad)
        self.blocks = self.body.blocks
        self.vocabulary = self.body.words.num_embeddings
        self.mask_token, self.special = mask_token, tuple(special)

    def prepare(self, inputs: Tensor) -> Tensor:
        """Ids `(B, L)` cut to the longest text among them."""
        if inputs.ndim != 2 or inputs.dtype != torch.int64:
            raise DataError(f"{self.name!r} takes token ids (B, L), int64, got {inputs.dtype} {tuple(inputs.shape)}")
        places = torch.arange(1, inputs.shape[1] + 1, device=inputs.device)
        longest, highest = torch.stack([((inputs != 0) * places).max(), inputs.max()]).tolist()
        if highest >= self.vocabulary:
            raise DataError(
                f"token id {highest} is outside the {self.vocabulary} that {self.name!r} knows; load with tokenizer={self.name!r}"
            )
        return inputs[:, : max(longest, 1)]

    def forward(self, inputs: Tensor) -> Tensor:
        return self.body(self.prepare(inputs))

    def extra_repr(self) -> str:
        return f"{self.name!r}, dim={self.dim}, blocks={[block.name for block in self.blocks]}"


class _Body(nn.Module):
    """A transformer with the mean over a text's tokens at its end and, for whoever looks in, at each block's.

    Parameters outside the embeddings and the layers, which few models have, count with the embeddings.
    """

    def __init__(self, net: Any, pad: int):
        super().__init__()
        lists = [module for module in net.modules() if isinstance(module, nn.ModuleList)]
        if not lists or getattr(net.config, "is_encoder_decoder", False):
            raise ArgumentError(f"{type(net).__name__} is no plain stack of layers over text; give one such as BERT's")
        self.net, self.pad = net, pad
        layers, words = max((list(modules) for modules in lists), key=len), self.words
        start = next((m for m in net.children() if words in m.modules() and layers[0] not in m.modules()), words)
        parts = [("embeddings", start, _Look())] + [(f"layer.{i}", layer, _Look()) for i, layer in enumerate(layers)]
        self.looks = nn.ModuleList(look for _, _, look in parts)
        held = {id(p) for _, module, _ in parts for p in module.parameters()}
        loose = tuple(p for p in net.parameters() if id(p) not in held)
        self.blocks: list[Block] = []
        for name, module, look in parts:
            module.register_forward_hook(look.after)  # a bound method, which a deep copy of the network binds anew
            self.blocks.append(Block(name, (module, look), () if self.blocks else loose))

    @property
    def words(self) -> nn.Embedding:
        return self.net.get_input_embeddings()

    def native(self, tokens: Tensor) -> Tensor:
        return swap_padding(tokens, self.pad)

    def hidden(self, tokens: Tensor) -> Tensor:
        """Every token's last state, `(B, L, D)`."""
        mask = tokens != 0
        for look in self.looks:
            look.mask = mask
        return self.net(input_ids=self.native(tokens), attention_mask=mask.long()).last_hidden_state

    def forward(self, tokens: Tensor) -> Tensor:
        return _mean(self.hidden(tokens), tokens != 0)


class _Look(nn.Module):
    """Where a block's activation can be hooked: a pass-through that puts out its mean over the tokens, `(B, D)`."""

    mask: Tensor  # which places of the texts at hand are tokens

    def after(self, _module, _args, output):
        if self._forward_hooks:  # else nobody looks, and there is nothing to compute
            self(output[0] if isinstance(output, tuple) else output)

    def forward(self, states: Tensor) -> Tensor:
        return _mean(states, self.mask)


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1)


def load_encoder(name: str, pretrained: bool = True) -> TextEncoder:
    """A TextEncoder by name.

    "minilm" is all-MiniLM-L6-v2 (Wang et al., 2020, arXiv:2002.10957; Reimers & Gurevych, 2019, arXiv:1908.10084): six BERT
    layers, D 384, tuned contrastively for sentences; the package carries no masked-language head.

    Parameters
    ----------
    name
        "minilm", a Hugging Face name or a local folder.
    pretrained
        False gives its shape and random weights.

    Returns
    -------
    TextEncoder
        In float32.

    Raises
    ------
    ChecksumError
        For damaged packaged weights.
    DownloadError
        Where a model is neither here nor reachable.
    MissingExtra
        Without `nlp`.

    Examples
    --------
    >>> xl.text.load_encoder("minilm", pretrained=False).dim
    384
    """
    transformers = transformers_package()
    where, words = model_folder(name), load_tokenizer(name)
    local = {"local_files_only": Path(where).is_dir()}  # a folder needs no network, so none is asked
    if name == "minilm" and pretrained:
        verify(Path(where) / "model.safetensors", MINILM_SHA256)
    with _quiet(transformers):
        try:
            if pretrained:
                net = transformers.AutoModel.from_pretrained(where, **local)
            else:
                net = transformers.AutoModel.from_config(transformers.AutoConfig.from_pretrained(where, **local))
        except (OSError, ValueError) as error:
            raise DownloadError(absent(name, error)) from error
    net = net.float()
    if getattr(net, "pooler", None) is not None:
        net.pooler = None  # features are a mean: its weights would never train

    def ours(ids: int | list[int]):
        return swap_padding(torch.tensor(ids), words.pad_token_id).tolist()

    hidden = None if words.mask_token is None else ours(words.mask_token_id)
    return TextEncoder(net, name=name, pad=words.pad_token_id, mask_token=hidden, special=ours(words.all_special_ids))


@contextlib.contextmanager
def _quiet(transformers) -> Iterator[None]:
    """No bar and no report on weights while a model loads."""
    logging = transformers.utils.logging
    with contextlib.ExitStack() as afterwards:
        afterwards.callback(logging.set_verbosity, logging.get_verbosity())
        if logging.is_progress_bar_enabled():
            afterwards.callback(logging.enable_progress_bar)
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        yield
