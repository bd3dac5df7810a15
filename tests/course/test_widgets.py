"""Live pictures: moving a control changes the picture and its words, in time, and without a kernel one picture is left."""

import base64
import html
import sys
import time

import numpy as np
import pytest
import torch

import xferlab as xl
from xferlab import widgets
from xferlab.course import live as panel
from xferlab.errors import ArgumentError, MissingExtra
from xferlab.evaluation import Scores
from xferlab.plots import PALETTE

pytest.importorskip("matplotlib")


def rows():
    """Two methods at two numbers of labels: `b` is 0.1 better than `a` at 5 labels and 0.2 worse at 20, in each of five draws."""
    level = {("a", 5): 0.5, ("a", 20): 0.8, ("b", 5): 0.6, ("b", 20): 0.6}
    return [
        {"method": m, "labels": n, "draw": d, "balanced accuracy": v + 0.01 * d}
        for (m, n), v in level.items()
        for d in range(5)
    ]


def layered():
    g = torch.Generator().manual_seed(0)
    clouds = {name: (torch.randn(20, 6, generator=g), torch.randn(30, 6, generator=g)) for name in ("early", "late")}
    return widgets.layers(clouds, {"home": {"early": 0.25, "late": 0.75}})


class RedShare(torch.nn.Module):
    """Class 1 once the mean of red is below 100, so that more of a blue dye changes the answer."""

    classes = ("pale", "dark")

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, x):
        dark = (100 - x.float()[:, 0].mean((1, 2))) * self.scale
        return torch.stack([-dark, dark], 1)


def stained():
    return widgets.stain(RedShare(), torch.full((3, 8, 8), 140, dtype=torch.uint8))


def thresholded():
    """At home the two classes lie at 0.8 and 0.1; away half of the class has fallen to 0.3."""
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0])
    sides = ([0.8] * 4 + [0.1] * 4, [0.8, 0.8, 0.3, 0.3] + [0.1] * 4)
    home, away = (Scores(np.stack([1 - np.array(p), p], 1), labels, ("well", "ill")) for p in sides)
    return widgets.threshold(home, away, "ill")


ALL = {
    "gap": widgets.gap,
    "labels": lambda: widgets.labels(rows()),
    "layers": layered,
    "threshold": thresholded,
    "stain": stained,
}


def test_a_threshold_from_home_finds_less_away():
    """Sensitivity and specificity by hand; a swapped pair, or a strict comparison, would give other shares."""
    live = thresholded()
    assert "home it finds 100% of ill and leaves 100% of the rest alone" in live.words
    assert "away it finds 50% of ill and leaves 100% of the rest alone" in live.words
    assert "away it finds 100% of ill and leaves 0% of the rest alone" in live.move(threshold=0.1).words


@pytest.mark.parametrize("name", ALL)
def test_moving_any_control_changes_the_picture_and_the_words(name):
    pytest.importorskip("ipywidgets")
    live = ALL[name]()
    box = live.box()
    assert len(live.controls) >= 1
    assert box.children[: len(live.controls)] == tuple(live.controls.values())
    picture, sentence = box.children[-2:]
    for control, values in ((live.controls[key], live.choices[key]) for key in live.controls):
        before, other = picture.value, next(v for v in values if v != control.value)
        control.value = other  # as a hand on the slider would
        assert picture.value != before
        assert base64.b64encode(live.png).decode() in picture.value
        assert live.words.split(":")[0] in sentence.value
        assert 'alt="' in picture.value
        assert 'aria-live="polite"' in sentence.value


def test_the_picture_is_kept_once_drawn():
    drawn = []

    def draw(level):
        drawn.append(level)
        figure, (axis,) = widgets._panels(2)
        axis.plot([0, level])
        return figure, f"level {level}"

    live = widgets.Live(draw, {"level": [1, 2]})
    first = live.png
    assert live.move(level=2).png != first
    assert live.move(level=1).png == first
    assert drawn == [1, 2]
    assert repr(live) == "level 1"


@pytest.mark.parametrize("name", ALL)
def test_an_answer_takes_under_200_ms(name):
    live = ALL[name]()
    assert live.png  # fonts are looked up once
    spent = []
    for key, values in live.choices.items():
        for value in values:
            live._drawn.clear()
            before = time.process_time()  # not the wall's clock: tests share their cores
            live.move(**{key: value})
            assert live.png
            spent.append(time.process_time() - before)
    assert np.median(spent) < 0.2


def test_without_ipywidgets_the_picture_stays(monkeypatch):
    pytest.importorskip("IPython")
    import IPython.display

    shown = []
    monkeypatch.setattr(IPython.display, "display", lambda data, raw, metadata: shown.append((data, metadata)))
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    live = widgets.gap(gaps=(1,))
    live._ipython_display_()
    data, metadata = shown[0]
    assert set(data) == {"image/png", "text/html", "text/plain"}
    assert data["text/plain"] == metadata["image/png"]["alt"] == live.words
    assert html.escape(live.words) in data["text/html"]
    with pytest.raises(MissingExtra, match="ipywidgets"):
        live.box()


def test_with_a_kernel_the_view_comes_beside_the_picture(monkeypatch):
    ipywidgets = pytest.importorskip("ipywidgets")
    import IPython.display

    shown = []
    monkeypatch.setattr(IPython.display, "display", lambda data, raw, metadata: shown.append(data))
    monkeypatch.setattr(panel, "kernel_widgets", lambda: ipywidgets)
    live = widgets.gap()
    live._ipython_display_()
    assert shown[0][panel.VIEW]["model_id"] == live.box().model_id
    assert base64.b64decode(shown[0]["image/png"]) == live.png


@pytest.mark.parametrize("wrong", [{"gap": 99}, {"gapp": 1}])
def test_a_setting_that_is_no_choice_is_refused(wrong):
    with pytest.raises(ArgumentError, match="is not a choice"):
        widgets.gap().move(**wrong)


def test_choices_must_not_be_empty():
    with pytest.raises(ArgumentError, match="a value or more"):
        widgets.Live(lambda level: None, {"level": []})


def test_one_value_needs_no_slider():
    pytest.importorskip("ipywidgets")
    live = widgets.gap(lambdas=(0,))
    live.box()
    assert list(live.controls) == ["gap"]


def test_alignment_shortens_only_the_way_between_the_domains():
    # apart = (2, 0), strength 1: W = diag(1 / (1 + 4), 1)
    np.testing.assert_allclose(widgets.aligning(np.array([2.0, 0.0]), 1.0), [[0.2, 0], [0, 1]])
    np.testing.assert_allclose(widgets.aligning(np.array([3.0, 4.0]), 0.0), np.eye(2))


def accuracies(live):
    """Shares in per cent at home and away, as the sentence says them."""
    return [int(part.split("%")[0]) for part in live.words.split(" right on ")[1].split(" and ")]


def test_the_gap_costs_the_target_and_alignment_buys_some_back_at_home_s_expense():
    live = widgets.gap()
    live.move(**{"gap": 0, "lambda": 0})
    assert min(accuracies(live)) > 95
    home, away = accuracies(live.move(**{"gap": 2.5}))
    assert home > 95 > 75 > away
    aligned = accuracies(live.move(**{"lambda": 3}))
    assert aligned[0] < home
    assert aligned[1] > away + 10


def test_labels_give_paired_gains_over_the_chosen_baseline():
    live = widgets.labels(rows())
    assert "b +0.100 (separated)" in live.move(labels=5, baseline="a").words
    assert "b -0.200 (separated)" in live.move(labels=20).words
    assert "a +0.200 (separated)" in live.move(baseline="b").words


def test_labels_without_a_method_keep_the_looks_of_the_others():
    part = widgets.labels(rows(), without=["a"])
    assert part.choices["baseline"] == ["b"] and "nothing to compare" in part.words
    curves = part._draw(labels=20, baseline="b")[0].axes[0]
    assert [line.get_color() for line in curves.lines[:-1]] == [PALETTE[1]]


def test_labels_of_one_draw_say_so_and_do_not_fail():
    live = widgets.labels([row for row in rows() if row["draw"] == 0 and row["labels"] == 5])
    assert live.choices["labels"] == [5]
    assert "+0.100" in live.words
    assert "(separated)" not in live.words
    assert live.png


def test_a_method_without_rows_at_some_count_leaves_a_gap_and_no_error():
    part = [row for row in rows() if (row["method"], row["labels"]) != ("b", 5)]
    assert "nothing to compare" in widgets.labels(part).move(labels=5, baseline="b").words


def test_layers_read_out_the_measures_of_the_block():
    live = layered()
    assert "Block 1, late: home 0.75" in live.words
    assert "Block 0, early: home 0.25" in live.move(block=0).words


def test_stain_multiplies_the_dye_and_asks_the_model():
    live = stained()
    assert "pale" in live.words
    assert "as before" in live.words
    assert "dark" in live.move(**{"first dye": 3}).words
    assert "no longer pale" in live.words


def test_stain_at_one_is_the_picture_itself():
    seen = []

    class Look(RedShare):
        def forward(self, x):
            seen.append(x)
            return super().forward(x)

    image = torch.randint(0, 256, (3, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    widgets.stain(Look(), image, factors=(1, 2))
    assert torch.equal(seen[0][0], image)
    # twice each dye: optical densities of both add up, of the third not at all
    one, two = (xl.augment.concentrations(x[None], "giemsa")[0] for x in (image, seen[0][3]))
    clear = (seen[0][3] > 8).all(0) & (seen[0][3] < 250).all(0)  # where rounding and clipping do not decide
    assert clear.any()
    torch.testing.assert_close(two[0][clear], 2 * one[0][clear], atol=0.05, rtol=0.05)


def test_a_gray_picture_has_one_dye():
    class Dark(RedShare):
        def forward(self, x):
            assert x.shape[1] == 1
            return super().forward(x)

    live = widgets.stain(Dark(), torch.full((1, 8, 8), 140, dtype=torch.uint8))
    assert list(live.choices) == ["dye"]
    assert "dark" in live.move(dye=2).words  # (141 / 256) squared leaves 77 of 256
    assert "pale" in live.move(dye=0.5).words
    assert live.png


def test_clouds_are_sampled_from_all_rows():
    ordered = torch.zeros(300, 3)
    ordered[150:] = 9.0  # in class order, as subsets often are
    live = widgets.layers({"only": (ordered, ordered)}, {"home": {"only": 0.5}})
    figure, _ = live._draw(block=0)
    drawn = figure.axes[0].collections[1].get_offsets()
    assert len(drawn) == 150
    assert len(np.unique(np.round(np.asarray(drawn), 3), axis=0)) == 2
