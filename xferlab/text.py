"""Text: token ids, the encoder that reads them, and the bag of words it must beat (extra `nlp`).

A Domain of text holds token ids `(N, L)`, int64, padded with 0, so that all else in the package takes it as it takes images.
"""

from __future__ import annotations

import numpy as np

from .augment import DropTokens
from .domains import Domain
from .domains.tokens import decode, pieces, tokenize
from .encoders.text import TextEncoder, load_encoder
from .errors import DataError
from .evaluation import Scores
from .machine import one_blas_thread

__all__ = ["DropTokens", "TextEncoder", "decode", "load_encoder", "pieces", "tfidf", "tokenize"]


def tfidf(train: Domain, test: Domain, *, tokenizer: str = "minilm", C: float = 10.0) -> Scores:
    """Scores of logistic regression on TF-IDF of words, word pairs and parts of words: the baseline that could win.

    Words and pairs, and 2 to 5 letters within words (which know "-itis"), each with `1 + log tf` and unit length. Reads the texts that
    `decode` gives.

    Parameters
    ----------
    train, test
        Labeled Domains of texts.
    tokenizer
        As in `tokenize`.
    C
        Inverse strength of L2.

    Returns
    -------
    Scores
        On `test`.

    Raises
    ------
    DataError
        Where a domain has no labels.

    Examples
    --------
    >>> tokens = xl.text.tokenize(["heart attack", "heart failure", "asthma", "lung cancer"])
    >>> notes = xl.Domain(tokens, torch.tensor([0, 0, 1, 1]), classes=("heart", "lung"))
    >>> xl.text.tfidf(notes, notes).accuracy
    1.0
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    for domain in (train, test):
        if domain.labels is None or domain.is_image:
            raise DataError(f"tfidf needs labeled texts, but domain {domain.name!r} is {domain!r}")
    test = test.align(train.classes)
    assert train.labels is not None and test.labels is not None
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    model = make_pipeline(make_union(words, letters), LogisticRegression(C=C, max_iter=1000))
    with one_blas_thread():
        model.fit(decode(train.inputs, tokenizer), train.labels.cpu().numpy())
    probabilities = np.zeros((len(test), len(train.classes)), np.float32)
    # a class without an example keeps probability 0
    probabilities[:, model.classes_] = model.predict_proba(decode(test.inputs, tokenizer))
    groups = None if test.groups is None else test.groups.cpu().numpy()
    return Scores(probabilities, test.labels.cpu().numpy(), train.classes, groups, test.name)
