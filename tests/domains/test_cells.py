"""The rendered blood smears: the same bytes for a seed, the right things in the right classes, a cache that heals."""

import numpy as np
import pytest
import torch

from xferlab.domains import cells
from xferlab.errors import ArgumentError

NAMES = (
    "basophil", "eosinophil", "erythroblast", "immature granulocytes", "lymphocyte", "monocyte", "neutrophil", "platelet",
)  # fmt: skip
LABELS = np.arange(8 * 24) % 8
SMALL = (2, 1, 1)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XFERLAB_DATA", str(tmp_path))
    return tmp_path / "cells"


@pytest.fixture(scope="module")
def site_a():
    return cells.render(LABELS, "site-a")


def density(images: torch.Tensor) -> np.ndarray:
    """Optical density in green, against each image's own bright background."""
    green = images[:, 1].double().numpy() + 1
    return -np.log(green / np.quantile(green, 0.95, axis=(1, 2), keepdims=True))


def nuclei(images: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Area, disc-likeness (1 for a disc, by second moments) and mean density of the dark matter near the centre."""
    t = np.arange(images.shape[-1]) - (images.shape[-1] - 1) / 2
    x, y = np.meshgrid(t, t)
    od = density(images)
    mask = (od > 0.55) & (np.hypot(x, y) < 0.4 * images.shape[-1])
    area = mask.sum((1, 2)).clip(1)
    mx, my = (mask * x).sum((1, 2)) / area, (mask * y).sum((1, 2)) / area
    spread = (mask * ((x - mx[:, None, None]) ** 2 + (y - my[:, None, None]) ** 2)).sum((1, 2)).clip(1)
    return area, area**2 / (2 * np.pi * spread), (od * mask).sum((1, 2)) / area


def test_classes_are_bloodmnists_in_its_order():
    assert cells.CLASSES == NAMES


def test_every_form_of_nucleus_has_its_share():
    for look in cells.LOOKS.values():
        assert sum(form.share for form in look.nuclei) == pytest.approx(1)


@pytest.mark.parametrize("size", [28, 65])
def test_images_are_uint8_of_the_asked_size_and_not_flat(size):
    images = cells.render([0, 3, 7], size=size)
    assert images.dtype == torch.uint8 and images.shape == (3, 3, size, size)
    assert (images.float().std((1, 2, 3)) > 5).all()


@pytest.mark.parametrize("size", [64, 33])
def test_more_labels_change_no_earlier_image(size):
    # 5 and 19 cut the chunks at other places; an odd size also moves the arrays' tails
    few, many = cells.render(LABELS[:5], "site-b", size=size), cells.render(LABELS[:19], "site-b", size=size)
    assert torch.equal(few, many[:5])


def test_an_image_does_not_depend_on_its_neighbours_labels():
    first, second = cells.render([4, 6, 0, 5]), cells.render([7, 6, 2, 5])
    assert torch.equal(first[[1, 3]], second[[1, 3]])
    assert not torch.equal(first[0], second[0])


def test_bytes_do_not_depend_on_the_number_of_threads():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = cells.render(LABELS[:40], "site-c")
        torch.set_num_threads(3)
        assert torch.equal(alone, cells.render(LABELS[:40], "site-c"))
    finally:
        torch.set_num_threads(before)


def test_seed_site_and_split_each_give_other_draws():
    base = dict(site="site-a", shift=0, seed=0, split="train")
    images = cells.render([6], **base)
    for other in ({"seed": 1}, {"site": "site-b"}, {"split": "test"}):
        assert not torch.equal(images, cells.render([6], **(base | other))), other


def test_repeats_of_a_class_vary():
    a, b, c = cells.render([6, 6, 6]).float()
    assert (a - b).abs().mean() > 5 and (b - c).abs().mean() > 5


def test_shift_scales_how_far_a_laboratory_is(site_a):
    def colour(images):
        return images.float().mean((0, 2, 3))

    home = colour(site_a)
    for site in ("site-b", "site-c"):
        far = [(colour(cells.render(LABELS[:96], site, shift)) - home).norm() for shift in (0, 0.5, 1)]
        assert far[0] < 12 < far[1] < far[2] and far[2] > 25, (site, far)


def test_site_a_is_where_shift_starts_from():
    assert torch.equal(cells.render([1, 2], "site-a", 0), cells.render([1, 2], "site-a", 2))


def test_the_largest_shift_still_gives_pictures():
    for site in ("site-b", "site-c"):
        images = cells.render(LABELS[:16], site, 2)
        assert (images.float().std((1, 2, 3)) > 5).all()


def test_platelets_are_small_and_pale_beside_lymphocytes(site_a):
    area, _, _ = nuclei(site_a)

    def of(name):
        return LABELS == NAMES.index(name)

    assert np.median(area[of("platelet")]) < 0.3 * np.median(area[of("lymphocyte")])
    centre = density(site_a)[:, 28:36, 28:36].mean((1, 2))
    assert np.median(centre[of("platelet")]) < 0.7 * np.median(centre[of("lymphocyte")])


def test_an_erythroblasts_nucleus_is_smaller_rounder_and_denser_than_a_monocytes(site_a):
    area, disc, dark = nuclei(site_a)
    small, large = LABELS == NAMES.index("erythroblast"), LABELS == NAMES.index("monocyte")
    assert np.median(area[small]) < 0.8 * np.median(area[large])
    assert np.median(disc[small]) > np.median(disc[large]) + 0.03
    assert np.median(dark[small]) > 1.2 * np.median(dark[large])


def test_a_neutrophils_nucleus_is_least_like_a_disc(site_a):
    _, disc, _ = nuclei(site_a)
    medians = [np.median(disc[LABELS == k]) for k in range(7)]
    assert np.argmin(medians) in (NAMES.index("neutrophil"), NAMES.index("eosinophil"))
    assert medians[NAMES.index("neutrophil")] < medians[NAMES.index("lymphocyte")] - 0.1


def test_eosinophils_are_the_orange_ones(site_a):
    # eosin takes blue away where the dyes of nuclei take red
    red_over_blue = (site_a[:, 0].float().mean((1, 2)) - site_a[:, 2].float().mean((1, 2))).numpy()
    leukocytes = [k for k in range(7) if NAMES[k] != "erythroblast"]  # whose frame is mostly red cells
    medians = {NAMES[k]: np.median(red_over_blue[LABELS == k]) for k in leukocytes}
    assert max(medians, key=medians.get) == "eosinophil", medians


def test_load_gives_balanced_named_synthetic_splits():
    splits = cells.load("site-b", per_class=SMALL, size=28)
    for part, n in zip(splits.parts().values(), SMALL, strict=True):
        assert part.inputs.shape == (8 * n, 3, 28, 28)
        assert part.counts().tolist() == [n] * 8
        assert part.classes == NAMES and part.name == "cells/site-b" and part.synthetic


def test_the_loaded_images_are_the_rendered_ones():
    splits = cells.load("site-c", shift=0.5, per_class=SMALL, size=28, seed=3)
    for name, part in splits.parts().items():
        assert torch.equal(part.inputs, cells.render(part.labels, "site-c", 0.5, 28, 3, name)), name


def test_a_larger_set_begins_with_the_smaller():
    small, large = cells.load(per_class=(1, 1, 1), size=28), cells.load(per_class=(2, 1, 2), size=28)
    assert torch.equal(small.train.inputs, large.train.inputs[:8])
    assert torch.equal(small.test.inputs, large.test.inputs[:8])


def test_slides_stay_in_their_split_and_their_site():
    parts = [p for site in cells.SITES for p in cells.load(site, per_class=(7, 3, 5), size=28).parts().values()]
    slides = [set(part.groups.tolist()) for part in parts]
    assert [len(s) for s in slides] == [6, 2, 4] * 3
    assert sum(map(len, slides)) == len(set.union(*slides))
    for slide in slides[0]:  # every class is on every slide, so that a slide never gives a class away
        assert parts[0].labels[parts[0].groups == slide].unique().numel() == 8


def test_slides_differ_in_stain_more_than_their_images_do_by_chance():
    images = cells.render(np.full(8 * 6 * 6, 6), "site-a", size=28).float()
    background = images.flatten(2).quantile(0.95, dim=2).numpy()  # (N, 3)
    slide = np.arange(len(background)) // 8 % 6
    tint = np.log(background[:, 0] / background[:, 2])  # brightness cancels
    between = np.var([tint[slide == s].mean() for s in range(6)], ddof=1)
    within = np.mean([tint[slide == s].var(ddof=1) for s in range(6)])
    assert between > 3 * within / 48  # F = 3 on (5, 282) degrees of freedom: p about 0.01


def test_the_second_load_reads_the_cache(cache, monkeypatch):
    first = cells.load(per_class=SMALL, size=28)
    assert len(list(cache.iterdir())) == 1
    monkeypatch.setattr(cells, "render", lambda *_: pytest.fail("rendered again"))
    assert torch.equal(first.train.inputs, cells.load(per_class=SMALL, size=28).train.inputs)


@pytest.mark.parametrize(
    "change", [{"shift": 0.5}, {"size": 32}, {"seed": 1}, {"site": "site-b"}, {"per_class": (2, 1, 2)}]
)
def test_any_other_setting_is_another_cache_file(cache, change):
    base = dict(site="site-a", shift=1.0, size=28, seed=0, per_class=SMALL)
    cells.load(**base)
    cells.load(**(base | change))
    assert len(list(cache.iterdir())) == 2


def damage_truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def damage_flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def damage_empty(path):
    path.write_bytes(b"")


def damage_pickle(path):
    np.savez(path, **{k: np.array([{}], dtype=object) for k in ("train", "val", "test")})


@pytest.mark.parametrize("damage", [damage_truncate, damage_flip, damage_empty, damage_pickle])
def test_a_damaged_cache_file_is_rendered_again_and_mended(cache, damage, monkeypatch):
    first = cells.load(per_class=SMALL, size=28)
    (path,) = cache.iterdir()
    good = path.read_bytes()
    damage(path)
    again = cells.load(per_class=SMALL, size=28)
    for a, b in zip(first.parts().values(), again.parts().values(), strict=True):
        assert torch.equal(a.inputs, b.inputs)
    with np.load(path) as mended:
        assert np.array_equal(mended["train"], first.train.inputs.numpy()) and len(path.read_bytes()) == len(good)


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"site": "site-d"}, "site-a, site-b, site-c"),
        ({"shift": -0.1}, "-0.1"),
        ({"shift": float("nan")}, "nan"),
        ({"shift": "much"}, "much"),
        ({"size": 8}, "16 to 512"),
        ({"size": 64.0}, "64.0"),
        ({"seed": -1}, "-1"),
    ],
)
def test_bad_arguments_are_named(bad, named):
    with pytest.raises(ArgumentError, match=named):
        cells.load(**{"per_class": SMALL} | bad)


@pytest.mark.parametrize("per_class", [(1, 1), (1, 0, 1), (1, 1, 1.5), (1, [2], 3), 5])
def test_bad_per_class_is_refused(per_class):
    with pytest.raises(ArgumentError, match="per_class"):
        cells.load(per_class=per_class)
