"""Clinical language in two wordings: the official descriptions of ICD-10-CM codes, and the phrases clinicians use for them."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator

import torch

from ..errors import needs
from .domain import Domain, Splits, cut
from .layout import numbers
from .tokens import tokenize

NAMES = ("descriptions", "inclusion-terms")
CHAPTERS = {
    "1": "infections",
    "2": "neoplasms",
    "4": "endocrine and metabolic",
    "5": "mental and behavioural",
    "6": "nervous system",
    "9": "circulatory system",
    "10": "respiratory system",
    "11": "digestive system",
    "12": "skin",
    "13": "musculoskeletal system",
    "14": "genitourinary system",
    "15": "pregnancy and childbirth",
    "16": "perinatal period",
    "17": "congenital anomalies",
    "18": "symptoms and findings",
    "19": "injury and poisoning",
    "20": "external causes",
    "21": "health services",
}
# Chapters of fewer than 50 three-character categories, which are what is split, are left out: blood (3), eye (7), ear (8), special
# purposes (22).


def load(name: str, *, seed: int = 0, tokenizer: str = "minilm", max_length: int = 96) -> Splits:
    """`descriptions` ("Unspecified asthma, uncomplicated") or `inclusion-terms` ("Asthma NOS"), 18 chapters as classes.

    `groups` number the three-character categories, in both wordings alike, and one map sends each category to a part
    (60/20/20 by chapter and `seed`): no category is trained on in one wording and tested in another. Each part is in order
    of length, so that batches taken in order need little padding; `take` balances it. `tokenizer` is the encoder's,
    "minilm" or whatever `xl.encoder` takes. Codes with a seventh character (initial or subsequent encounter) repeat others
    and are left out, as are small chapters (`CHAPTERS` are the others) and phrases that stand under two categories.

    Raises
    ------
    MissingExtra
        Without the extra `nlp`.
    """
    wordings, chapters, categories, texts = zip(*phrases(), strict=True)
    both = Domain(
        tokenize(texts, tokenizer, max_length),
        numbers(name, chapters, list(CHAPTERS))[0],
        tuple(CHAPTERS.values()),
        numbers(name, categories, None)[0],
        name=f"icd10/{name}",
    )
    mine = torch.tensor([wording == name for wording in wordings])
    lengths = (both.inputs != 0).sum(1)
    parts = [rows[mine[rows]] for rows in cut(both, (0.6, 0.2, 0.2), seed)]
    return Splits(*(both[rows[lengths[rows].argsort(stable=True)]] for rows in parts))


def phrases() -> Iterator[tuple[str, str, str, str]]:
    """(wording, chapter, three-character category, text) of every phrase that is kept, once in its wording."""
    icd = _icd()
    found: dict[tuple[str, str], tuple[str, str, str]] = {}
    categories = defaultdict(set)
    for code in icd.get_all_codes():
        if not icd.is_category_or_subcategory(code) or icd.is_extended_subcategory(code):
            continue
        line = [code, *icd.get_ancestors(code)]  # the code, up to its chapter
        if line[-1] not in CHAPTERS:
            continue
        category = next(above for above in line if icd.is_category(above))
        texts = [(NAMES[0], icd.get_description(code)), *((NAMES[1], term) for term in icd.get_inclusion_term(code))]
        for wording, text in texts:
            categories[text.lower()].add(category)
            found.setdefault((wording, text.lower()), (line[-1], category, text))
    for (wording, key), (chapter, category, text) in found.items():
        if len(categories[key]) == 1:
            yield wording, chapter, category, text


def _icd():
    with needs("simple-icd-10-cm", extra="nlp"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of setuptools, about how the package finds its own files
        import simple_icd_10_cm
    return simple_icd_10_cm
