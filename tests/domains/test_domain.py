import numpy as np
import pytest
import torch

from xferlab.domains.domain import Domain, Splits, cut, split
from xferlab.errors import ArgumentError, DataError


def domain(n=12, k=3, **changes):
    values = dict(
        inputs=torch.arange(n, dtype=torch.uint8).reshape(n, 1, 1, 1).expand(n, 1, 4, 4).clone(),
        labels=torch.arange(n) % k,
        classes=tuple("abcdef"[:k]),
        name="site",
    )
    return Domain(**(values | changes))


def rows(part):
    """Which examples of `domain()` these are: their pixels say."""
    return part.inputs[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    "changes, says",
    [
        (dict(inputs=torch.rand(12, 1, 4, 4)), "torch.float32.*expected uint8"),
        (dict(inputs=np.zeros((12, 1, 4, 4), np.uint8)), "ndarray.*torch.from_numpy"),
        (dict(inputs=torch.zeros(12, 4, 4, 3, dtype=torch.uint8)), "4 channels.*permute"),
        (dict(inputs=torch.zeros(0, 1, 4, 4, dtype=torch.uint8), labels=None), "no examples"),
        (dict(inputs=torch.zeros(12, 1, 0, 4, dtype=torch.uint8)), "no examples, or empty ones"),
        (dict(inputs=torch.full((12, 5), -1)), "-1"),
        (dict(labels=torch.arange(12)), "from 0 to 11, expected 0 to 2"),
        (dict(labels=torch.arange(12) % 3 - 1), "from -1"),
        (dict(labels=(torch.arange(12) % 3).int()), "torch.int32"),
        (dict(labels=(torch.arange(12) % 3)[:5]), "12 examples and 5 labels; give one label each"),
        (dict(labels=torch.tensor(1)), r"\(\), expected int64 \(12,\)"),
        (dict(labels=[0] * 12), "list.*torch.as_tensor"),
        (dict(labels=torch.full((12, 3), 0.5)), "other than 0 and 1"),
        (dict(labels=torch.full((12, 3), float("nan"))), "NaN"),
        (dict(labels=torch.zeros(12, 2)), r"expected \(12, 3\)"),
        (dict(labels=torch.zeros(12, dtype=torch.int64), classes=("a",)), "one class, 'a'"),
        (dict(classes=()), "no class names"),
        (dict(classes="abc"), "the text 'abc'"),
        (dict(classes=("a", "a", "b")), "repeat"),
        (dict(groups=torch.zeros(12)), "torch.float32"),
        (dict(groups=torch.zeros(3, dtype=torch.int64)), r"\(3,\)"),
        (dict(groups=[1] * 12), "groups are list"),
    ],
)
def test_what_a_domain_cannot_be_is_named(changes, says):
    with pytest.raises(DataError, match=f"'site'.*{says}"):
        domain(**changes)


def test_token_ids_and_multilabel_targets_are_domains_too():
    tokens = domain(inputs=torch.randint(0, 9, (12, 5)), labels=torch.eye(3).repeat(4, 1))
    assert not tokens.is_image and tokens.multilabel
    assert tokens.counts().tolist() == [4, 4, 4]


def test_nobody_need_name_classes_that_nobody_labelled():
    assert domain(labels=None, classes=()).classes == ()


@pytest.mark.parametrize(
    "index",
    [[2, 0], (2, 0), torch.tensor([2, 0]), np.array([2, 0])],
)
def test_indexing_keeps_inputs_labels_and_groups_together(index):
    picked = domain(groups=torch.arange(12) * 10)[index]
    assert (rows(picked), picked.labels.tolist(), picked.groups.tolist()) == ([2, 0], [2, 0], [20, 0])


def test_indexing_by_mask_slice_and_number():
    whole = domain()
    assert rows(whole[torch.arange(12) > 9]) == rows(whole[[False] * 10 + [True] * 2]) == [10, 11]
    assert rows(whole[3:5]) == [3, 4]
    assert rows(whole[7]) == [7]


def test_unlabeled_has_no_labels_and_everything_else():
    hidden = domain(groups=torch.arange(12)).unlabeled()
    assert hidden.labels is None and hidden.groups is not None and hidden.classes == ("a", "b", "c")


def test_a_larger_draw_contains_the_smaller_one():
    whole = domain(60)
    small, large = whole.take(per_class=2, seed=4), whole.take(per_class=7, seed=4)
    assert small.counts().tolist() == [2, 2, 2] and large.counts().tolist() == [7, 7, 7]
    assert set(rows(small)) < set(rows(large))
    assert rows(small) != rows(whole.take(per_class=2, seed=5))


def test_a_rare_class_gives_all_it_has():
    rare = domain(9, labels=torch.tensor([0] * 5 + [1] * 3 + [2]))
    assert rare.take(per_class=3).counts().tolist() == [3, 3, 1]


def test_take_refuses_what_it_cannot_draw():
    with pytest.raises(ArgumentError, match=r"take got 0"):
        domain().take(per_class=0)
    with pytest.raises(ArgumentError, match=r"take got 0"):
        domain().take(n=0)
    with pytest.raises(ArgumentError, match=r"exactly one"):
        domain().take()
    with pytest.raises(DataError, match=r"no single-label classes"):
        domain().unlabeled().take(per_class=1)


def test_align_renumbers_by_name():
    ours = domain(labels=torch.arange(12) % 3).align(("x", "c", "a", "b"))
    assert ours.labels[:3].tolist() == [2, 3, 1] and len(ours.classes) == 4
    many = domain(labels=torch.eye(3).repeat(4, 1)).align(("x", "c", "a", "b"))
    assert many.labels[:3].tolist() == [[0, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0]]
    assert domain(labels=None, classes=()).align(("a", "b")).classes == ("a", "b")
    with pytest.raises(DataError, match=r"\['c'\] that the source lacks"):
        domain().align(("a", "b"))


def test_split_cuts_every_class_in_the_same_shares():
    parts = split(domain(200, 2, labels=(torch.arange(200) >= 150).long()), seed=1)
    assert [part.counts().tolist() for part in parts.parts().values()] == [[105, 35], [15, 5], [30, 10]]
    assert sorted(row for part in parts.parts().values() for row in rows(part)) == list(range(200))


def test_split_is_its_seeds():
    first, again, other = (rows(split(domain(60), seed=s).test) for s in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize("n", [3, 4, 5, 6])
def test_a_small_class_reaches_every_part(n):
    parts = split(domain(2 * n, 2, labels=torch.arange(2 * n) % 2))
    assert all(part.counts().min() >= 1 for part in parts.parts().values())


def test_a_group_stays_in_one_part():
    groups = torch.arange(120) // 10
    parts = split(domain(120, groups=groups), seed=3)
    homes = [set(part.groups.tolist()) for part in parts.parts().values()]
    assert all(homes) and sum(map(len, homes)) == 12 == len(set.union(*homes))


def test_groups_are_cut_by_their_commonest_class():
    groups = torch.arange(120) // 10
    labels = (groups >= 6).long()  # six patients of each class
    labels[::10] = 1 - labels[::10]  # and one image of the other in each
    parts = split(domain(120, 2, labels=labels, groups=groups), seed=0)
    for part in parts.parts().values():
        assert len({int(g) >= 6 for g in part.groups.unique()}) == 2


def test_too_little_to_split_is_said():
    with pytest.raises(DataError, match=r"2 groups, too few for 3 parts"):
        split(domain(groups=torch.arange(12) % 2))
    with pytest.raises(DataError, match=r"1 examples, too few"):
        split(domain(1, labels=None))


def test_cut_gives_each_row_once():
    kept, held = cut(domain(40), (0.9, 0.1), seed=0)
    assert len(held) == 3 and sorted(torch.cat([kept, held]).tolist()) == list(range(40))


def test_splits_refuse_a_group_in_two_parts_and_other_classes():
    one = domain(groups=torch.full((12,), 7))
    with pytest.raises(DataError, match=r"group 7 of 'site' is in both train and test"):
        Splits(one, domain(groups=torch.full((12,), 8)), one)
    with pytest.raises(DataError, match=r"disagree on classes"):
        Splits(domain(), domain(), domain(classes=("a", "b", "z")))


def test_splits_together_are_all_examples_part_after_part():
    whole = domain(groups=torch.arange(12))
    parts = Splits(whole[[4, 0]], whole[[7]], whole[[2, 9]])
    together = parts.together()
    assert rows(together) == together.groups.tolist() == [4, 0, 7, 2, 9]
    assert together.labels.tolist() == [1, 0, 1, 2, 0] and together.classes == whole.classes
    half = Splits(parts.train, parts.val.unlabeled(), parts.test)
    assert half.together().labels is None and rows(half.together()) == [4, 0, 7, 2, 9]


def test_each_example_keeps_its_file_by_whatever_index():
    """Files left behind by an index, or kept for other rows, would put a label on another picture."""
    made = domain(files=tuple(f"{i}.png" for i in range(12)))
    for index in (torch.tensor([5, 2]), [5, 2], slice(2, 6, 2), made.labels == 1, 3):
        part = made[index]
        assert part.files == tuple(f"{i}.png" for i in rows(part))
    assert split(made).together().files == tuple(f"{i}.png" for i in rows(split(made).together()))
    with pytest.raises(DataError, match="3 files for 12 examples"):
        domain(files=("a", "b", "c"))
