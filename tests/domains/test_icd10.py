from collections import Counter, defaultdict

import pytest

from xferlab import text
from xferlab.domains import icd10, load
from xferlab.errors import DataError, MissingExtra

pytest.importorskip("simple_icd_10_cm", reason="the codes come with the extra nlp")
pytest.importorskip("transformers", reason="text needs the extra nlp")


@pytest.fixture(scope="module")
def both():
    return [load(f"icd10/{name}") for name in icd10.NAMES]


@pytest.fixture(scope="module")
def found():
    return list(icd10.phrases())


def test_no_category_is_in_two_parts_within_or_across_the_wordings(both, found):
    """By the categories' own names, looked up by text: the loader's numbering is not taken on trust."""
    category = {(wording, words.lower().replace(" ", "")): name for wording, _, name, words in found}
    part_of = defaultdict(set)
    for wording, splits in zip(icd10.NAMES, both, strict=True):
        for part, domain in splits.parts().items():
            keys = [(wording, words.replace(" ", "")) for words in text.decode(domain.inputs)]
            known = [category[key] for key in keys if key in category]
            assert len(known) > 0.99 * len(keys)  # accents and rare signs are lost in the tokens
            for name in known:
                part_of[name].add(part)
    assert len(part_of) > 1700 and all(len(parts) == 1 for parts in part_of.values())


def test_groups_number_categories_alike_in_both(both):
    parts = defaultdict(set)
    for splits in both:
        for part, domain in splits.parts().items():
            for group in domain.groups.unique().tolist():
                parts[group].add(part)
    assert all(len(names) == 1 for names in parts.values())
    shared = set(both[0].train.groups.tolist()) & set(both[1].train.groups.tolist())
    assert len(shared) > 800  # else the two would be numbered apart, and the line above would prove nothing


def test_other_seeds_split_otherwise(both):
    assert set(load("icd10/descriptions", seed=1).test.groups.tolist()) != set(both[0].test.groups.tolist())


def test_wordings_and_classes(both, found):
    terms = both[1]
    said = [
        (words, label)
        for part in terms.parts().values()
        for words, label in zip(text.decode(part.inputs), part.labels.tolist(), strict=True)
    ]
    assert terms.classes[dict(said)["asthma nos"]] == "respiratory system"
    assert ("inclusion-terms", "10", "J45", "Asthma NOS") in found
    assert ("descriptions", "10", "J45", "Unspecified asthma, uncomplicated") in found
    assert [splits.train.name for splits in both] == ["icd10/descriptions", "icd10/inclusion-terms"]


def test_chapters_left_out_are_those_with_under_50_categories():
    icd = icd10._icd()
    n = Counter(icd.get_ancestors(code)[-1] for code in icd.get_all_codes() if icd.is_category(code))
    assert {chapter for chapter in n if n[chapter] < 50} == {"3", "7", "8", "22"}
    assert list(icd10.CHAPTERS) == sorted((chapter for chapter in n if n[chapter] >= 50), key=int)


def test_every_class_can_give_100_labels(both):
    assert all(splits.train.counts().min() >= 100 for splits in both)
    assert both[1].train.take(per_class=100).counts().tolist() == [100] * 18


def test_a_phrase_under_two_categories_is_under_none(found):
    assert Counter((wording, words.lower()) for wording, _, _, words in found).most_common(1)[0][1] == 1
    names = defaultdict(set)
    for _, _, category, words in found:
        names[words.lower()].add(category)
    assert all(len(categories) == 1 for categories in names.values())
    assert "viral pericarditis" not in names  # B33 and I30


def test_parts_are_in_order_of_length(both):
    assert all(((part.inputs != 0).sum(1).diff() >= 0).all() for splits in both for part in splits.parts().values())


def test_unknown_names_and_missing_packages(monkeypatch):
    with pytest.raises(DataError, match=r"'icd10/codes' is no known domain.*did you mean .*icd10/"):
        load("icd10/codes")
    monkeypatch.setitem(__import__("sys").modules, "simple_icd_10_cm", None)
    with pytest.raises(MissingExtra, match=r"simple-icd-10-cm.*nlp"):
        load("icd10/descriptions")
