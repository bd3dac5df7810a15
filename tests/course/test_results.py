"""Results of an experiment: tables, curves and forest plots, against numbers worked out by hand."""

import re

import pytest

from xferlab import lab
from xferlab.course.results import forest
from xferlab.errors import ArgumentError

GAINS = (0.02, 0.03, 0.04, 0.03, 0.03)


def rows(draws=5, here=1):
    """Two methods at two numbers of labels; at 5 labels "b" is always above "a", at 20 it is above and below."""
    found = []
    for draw in range(draws):
        for labels in (20, 5):
            level = 0.5 + 0.1 * draw
            other = level + (GAINS[draw] if labels == 5 else 0.1 * (-1) ** draw)
            found += [
                {
                    "method": name,
                    "labels": labels,
                    "draw": draw,
                    "accuracy": value,
                    "seconds": 20.0,
                    "here": draw < here,
                }
                for name, value in (("a", level), ("b", other))
            ]
    return found


@pytest.fixture
def course(monkeypatch, tmp_path):
    """A course of its own, whose results go where nobody else's lie."""
    (tmp_path / "labs").mkdir()
    (tmp_path / "labs" / "course.toml").write_text('repository = "x"\n')
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def results():
    return lab.Results(rows(), across="labels", title="cells")


def test_means_gains_and_the_best_are_those_worked_out_by_hand(results):
    assert results.measure == "accuracy"
    assert results.levels == [5, 20]
    assert results.mean(labels=5) == pytest.approx({"b": 0.73, "a": 0.7})
    assert results.best(labels=5) == "b"
    assert results.best(labels=20) == "b"  # 0.72 against 0.7
    found = results.gain("b", "a", labels=5)
    assert (found["gain"], found["n"], found["verdict"]) == (pytest.approx(0.03), 5, "separated")
    assert results.gain("b", "a", labels=20)["verdict"] == "not separated"


def test_a_table_marks_what_is_separated_and_sets_the_best_in_bold(results):
    """Fails if the mark follows the intervals of the two methods, which overlap, and not the paired difference."""
    shown = results.table(over="a")
    assert list(shown.columns) == ["5 labels", "20 labels"]
    assert shown.marks == {("b", 0): "▲"}
    assert shown.rows["b"][0].startswith("0.730 [")
    page = shown._repr_html_()
    assert len(re.findall("<strong>", page)) == 2
    assert "4 of 20 results" in page
    assert "color:#" not in page, "colors of its own would not survive a dark page"
    assert "▲*" in str(shown)


def test_few_draws_are_never_called_separated():
    assert lab.Results(rows(draws=3), across="labels").table(over="a").marks == {}


def test_a_smaller_measure_is_best_where_it_is_said():
    both = [{"method": n, "draw": 0, "loss": v} for n, v in (("a", 0.1), ("b", 0.2))]
    assert lab.Results(both).table(smaller=("loss",)).best == {("a", 0)}
    assert lab.Results(both).table().best == {("b", 0)}


def test_pictures_say_in_words_what_they_show_and_what_trained_here(results):
    for picture in (results.curves(), results.gains(over="a"), results.scatter("seconds")):
        data, metadata = picture._repr_mimebundle_()
        assert metadata["image/png"]["alt"] == picture.alt == data["text/plain"]
    assert "5 labels: b +0.030" in results.gains(over="a").alt
    assert "4 of 20 results are from here" in results.gains(over="a").alt


def test_what_trained_here_lies_above_what_was_measured_earlier():
    """Fails if hollow marks at the same place hide the filled one."""
    axis = forest({"y": {"b over a": [(0.1, True), (0.1, False), (0.1, False)]}}, xlabel="gain").axes[0]
    dots = [line for line in axis.lines if line.get_markersize() == 4]
    assert [line.get_markerfacecolor() == "white" for line in dots] == [True, True, False]


def test_each_name_can_have_its_own_baseline():
    """Fails if a ladder's rungs are all compared with the first."""
    ladder = [{"method": n, "draw": d, "y": v + d} for d in range(5) for n, v in (("a", 0.1), ("b", 0.2), ("c", 0.4))]
    assert "c over b +0.200" in lab.Results(ladder).gains(over={"b": "a", "c": "b"}).alt


def test_which_of_several_steps_brings_most_is_asked_within_a_draw():
    """Fails if steps are compared by their means: "late" gains more in each draw, by 0.01, and draws differ by far more."""
    steps = {"early": (0.0, 0.2, 0.4), "late": (0.01, 0.22, 0.41), "lost": (-0.2, -0.2, -0.2)}
    found = [
        {"method": name, "draw": draw, "accuracy": 0.5 + (gains[draw % 3] if gains else 0.0)}
        for name, gains in (("plain", None), *steps.items())
        for draw in range(6)
    ]
    gained = lab.Results(found).differences(dict.fromkeys(steps, "plain"))
    assert gained.mean() == pytest.approx({"late": 0.64 / 3, "early": 0.2, "lost": -0.2})
    assert gained.tied() == ["late"]


def test_runs_of_another_unit_are_not_paired(results):
    part = lab.Results([row for row in results if row["method"] == "a" or row["draw"] < 2], across="labels")
    assert part.gain("b", "a", labels=5)["n"] == 2


@pytest.mark.parametrize(
    ("ask", "match"),
    [
        (lambda r: r.only(labels=7), "labels.*7"),
        (lambda r: r.gain("c", "a"), "'c'.*a, b"),
        (lambda r: lab.Results([{"method": "a"}]), "lacks draw"),
    ],
)
def test_what_is_not_there_is_named(results, ask, match):
    with pytest.raises(ArgumentError, match=match):
        ask(results)


def test_an_experiment_runs_every_setting_and_adds_the_earlier_runs(monkeypatch, course):
    monkeypatch.setenv("XFERLAB_RECORD", "")
    this = lab.Lab("77", "lab")
    earlier = [{"method": m, "labels": 5, "draw": d, "y": 9.0} for m in "ab" for d in range(3)]
    this.record("all", earlier, "python measure.py")
    found = this.experiment("all", lambda method, labels, draw: {"y": 1.0}, method=["a"], labels=[5], draws=3)
    assert [(r["method"], r["draw"], r["y"]) for r in found if r["here"]] == [("a", 0, 1.0)]
    assert len(found) == 6  # draws 1 and 2 of a, and all three of b, from the file
    assert (found.by, found.across) == ("method", "labels")


@pytest.mark.parametrize(
    ("profile", "recording", "name", "trains"),
    [
        ("lab", "", "all", [("a", 20)]),  # the slow method and the other number of labels come from the file
        ("lab", "", "my own data", [("a", 5), ("a", 20), ("b", 5), ("b", 20)]),  # which nobody measured earlier
        ("lab", "1", "all", [("a", 5), ("a", 20), ("b", 5), ("b", 20)]),
        ("full", "", "all", [("a", 5), ("a", 20), ("b", 5), ("b", 20)]),
    ],
)
def test_what_is_too_slow_for_a_lesson_is_read_where_there_is_a_file(
    monkeypatch, course, profile, recording, name, trains
):
    monkeypatch.setenv("XFERLAB_RECORD", recording)
    this, trained = lab.Lab("77", profile), []
    this.record("all", [{"method": m, "labels": n, "draw": 0, "y": 9.0} for m in "ab" for n in (5, 20)], "measure.py")

    def trial(method, labels, draw):
        trained.append((method, labels))
        return {"y": 1.0}

    found = this.experiment(name, trial, draws=1, method=["a", "b"], labels=(5, 20), earlier=("b", 5))
    assert trained == trains
    assert len(found) == 4


def test_an_earlier_value_that_no_setting_has_is_refused(course):
    this = lab.Lab("77", "lab")
    this.record("all", [{"method": "a", "draw": 0, "y": 9.0}], "measure.py")
    with pytest.raises(ArgumentError, match=r"'c'.*method"):
        this.experiment("all", dict, method=["a"], earlier=("c",))


def test_a_trial_may_be_tested_in_several_places():
    this = lab.Lab("77", "quick")

    def places(method, draw):
        return [{"site": site, "y": 1.0} for site in "xy"]

    found = this.experiment("all", places, method=["a", "b"], across="site")
    assert found.levels == ["x", "y"]
    assert len(found) == 4


def test_a_table_of_words_and_numbers():
    shown = lab.table(
        {"one": {"n": 3, "score": 0.5}, "two": {"n": 4, "score": 0.25, "note": "<b>"}}, "Two.", best="lowest"
    )
    assert shown.rows == {"one": ["3", "0.500", ""], "two": ["4", "0.250", "<b>"]}
    assert shown.best == {("two", 1)}
    assert "&lt;b&gt;" in shown._repr_html_()


def test_the_answer_is_the_manifests_template_filled_with_what_was_found(monkeypatch, tmp_path):
    (tmp_path / "labs" / "source").mkdir(parents=True)
    (tmp_path / "labs" / "source" / "77_tiny.py").touch()
    entry = 'number = "77"\nslug = "tiny"\nquestion = "Does it pay?"\nanswer = "{best} gains {gain:+.2f}."'
    (tmp_path / "labs" / "course.toml").write_text(f'repository = ""\n[[lab]]\n{entry}\n')
    monkeypatch.chdir(tmp_path)
    said = lab.Lab("77", "quick").answer(best="It", gain=0.123)
    assert said == said._repr_markdown_() == "**Does it pay?** It gains +0.12."
    assert repr(said) == "Does it pay? It gains +0.12."
    with pytest.raises(ArgumentError, match="gain"):
        lab.Lab("77", "quick").answer(best="It")


def test_the_best_and_what_is_not_separated_from_it():
    """Two names within chance of each other are tied; one that loses in every draw is not, and one draw separates nothing."""
    near = {"a": (0.9, 0.8, 0.9, 0.8, 0.9), "b": (0.8, 0.9, 0.8, 0.9, 0.8), "c": (0.5, 0.4, 0.5, 0.4, 0.5)}
    rows = [{"method": m, "draw": d, "score": v} for m, values in near.items() for d, v in enumerate(values)]
    assert lab.Results(rows).tied() == ["a", "b"]
    assert lab.Results(rows).only(draw=0).tied() == ["a", "b", "c"]
