import numpy as np
import pytest
import torch
from small import blobs

from xferlab import plots
from xferlab.errors import ArgumentError
from xferlab.evaluation import Scores

pyplot = pytest.importorskip("matplotlib.pyplot")


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


def test_contact_sheet_has_a_row_a_class_and_says_synthetic():
    from dataclasses import replace

    real, rendered = blobs(name="real"), replace(blobs(name="drawn"), synthetic=True)
    figure = plots.contact_sheet(real, rendered, per_class=4)
    assert len(figure.axes) == 3 * 8
    assert [axis.get_ylabel() for axis in figure.axes[::8]] == ["a", "b", "c"]
    titles = [axis.get_title(loc="left") for axis in figure.axes if axis.get_title(loc="left")]
    assert titles == ["real", "drawn (synthetic)"]
    assert all(axis.images for axis in figure.axes)


def test_curves_draw_means_and_intervals():
    rows = [{"n": n, "m": m, "y": n / 100 + d} for n in (5, 20) for m in ("p", "q") for d in (-0.1, 0.1)]
    figure = plots.curves(rows, x="n", y="y", by="m", xlabel="labels", ylabel="score")
    axis = figure.axes[0]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("labels", "score")
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["p", "q"]
    line = axis.containers[0].lines[0]
    np.testing.assert_allclose(line.get_ydata(), [0.05, 0.2])
    one = plots.curves(rows[:1], x="n", y="y", by="m", xlabel="", ylabel="")
    assert not one.axes[0].containers[0].has_yerr  # one row has no interval, rather than one of width 0


def test_a_scatter_can_have_hollow_points_and_a_filled_legend():
    axis = plots.scatter({"p": ([0, 1], [2, 3])}, xlabel="", ylabel="", filled={"p": [True, False]}).axes[0]
    legend, points = axis.collections
    assert points.get_facecolor()[:, :3].tolist() == [points.get_edgecolor()[0, :3].tolist(), [1.0, 1.0, 1.0]]
    assert legend.get_facecolor()[0, :3].tolist() == points.get_edgecolor()[0, :3].tolist()


def test_every_series_differs_in_more_than_colour():
    assert len(set(plots.MARKERS)) == len(plots.PALETTE) == len(set(plots.PALETTE))


def test_confusion_shows_counts():
    scores = Scores(np.eye(2)[[0, 0, 1, 0]], np.array([0, 0, 1, 1]), ("yes", "no"))
    figure = plots.confusion(scores)
    assert [text.get_text() for text in figure.axes[0].texts] == ["2", "0", "1", "1"]


def test_clouds_share_axes_of_both_domains():
    """Two clouds a distance apart must lie apart in the picture: axes fitted to one side alone could hide it."""
    g = torch.Generator().manual_seed(0)
    near, far = torch.randn(50, 6, generator=g), torch.randn(50, 6, generator=g)
    far[:, 3] += 20
    axis = plots.clouds({"now": (near, far)}).axes[0]
    target, source = (points.get_offsets()[:, 0].mean() for points in axis.collections)
    assert abs(target - source) == pytest.approx(20, abs=1)
    numbered = plots.clouds({"now": (near, far)}, torch.zeros(50, dtype=torch.int64)).axes[0]
    (left, right), drawn = numbered.get_xlim(), [text.get_position()[0] for text in numbered.texts]
    assert len(drawn) == 50 and left < min(drawn) and max(drawn) < right  # numbers outside the axes would not be seen


def test_images_and_overlays_line_up():
    pictures, heat = torch.full((3, 3, 8, 8), 60), torch.rand(3, 8, 8)
    pictures[:, 0] = 180
    figure = plots.images({"plain": pictures, "seen": pictures}, overlay={"seen": heat})
    assert [len(axis.images) for axis in figure.axes] == [1, 1, 1, 2, 2, 2]
    below, above = figure.axes[4].images
    assert (below.get_array() == 100).all()  # the picture in grey: a stain has the colour map's colours
    assert np.allclose(above.get_array(), heat[1]) and np.allclose(above.get_alpha(), 0.8 * heat[1])


def test_lines_scatter_bars():
    figure = plots.lines({"a": ([0, 1], [1, 2])}, xlabel="x", ylabel="y", level=0.5)
    assert figure.axes[0].lines[1].get_ydata()[0] == 0.5
    figure = plots.scatter({"a": ([1, 2], [3, 4])}, xlabel="x", ylabel="y", log=True)
    assert figure.axes[0].get_xscale() == "log"
    figure = plots.bars({"g": {"k": 1.0}, "h": {"k": 2.0, "l": 3.0}}, xlabel="x", ylabel="y")
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["k", "l"]
    with pytest.raises(ArgumentError, match="no groups"):
        plots.bars({}, xlabel="", ylabel="")
