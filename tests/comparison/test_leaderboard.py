"""What a Leaderboard says, from runs written by hand: intervals, choice, warnings, reports."""

import math
import re
from types import SimpleNamespace

import pytest

from xferlab.comparison import findings, selection
from xferlab.comparison.leaderboard import Leaderboard
from xferlab.errors import ArgumentError, DataError
from xferlab.recipe import recipes


def run(recipe, seed, target=None, curve=(), seconds=2.0, **validators):
    scores = {"accuracy": 0.9 + seed / 100}
    return {
        "recipe": recipe,
        "seed": seed,
        "source": scores,
        "target": None if target is None else {"accuracy": target},
        "validators": validators,
        "seconds": seconds,
        "history": [{"step": float(i), "DANN.adversary_accuracy": value} for i, value in enumerate(curve)],
        "date": "2030-01-02",
        "machine": "an abacus",
    }


def board(runs, validators=("im",), **more):
    return Leaderboard(runs, list(dict.fromkeys(r["recipe"] for r in runs)), list(validators), validators[0], **more)


GAINS = [0.1, 0.2, 0.3, 0.2, 0.2]  # mean 0.2, sd 0.0707; t(4) = 2.776: 0.2 -+ 0.0878


@pytest.fixture
def five():
    base = [0.5, 0.6, 0.7, 0.4, 0.5]
    runs = [run("source_only", seed, base[seed], im=0.1) for seed in range(5)]
    runs += [run("good", seed, base[seed] + GAINS[seed], im=0.5 + 0.1 * seed) for seed in range(5)]
    runs += [run("bad", seed, base[seed] - GAINS[seed], im=0.9 if seed == 0 else 0.0) for seed in range(5)]
    return board(runs)


def test_differences_are_paired_and_separated_by_hand(five):
    row = five.table.loc["good"]
    assert row["vs_source_only"] == pytest.approx(0.2)
    assert row["vs_source_only_low"] == pytest.approx(0.2 - 0.0878, abs=1e-4)
    assert row["vs_source_only_high"] == pytest.approx(0.2 + 0.0878, abs=1e-4)
    assert row["vs_source_only_separated"] and five.table.loc["bad", "vs_source_only_separated"]
    assert row["target_accuracy"] == pytest.approx(0.74) and row["source_accuracy"] == pytest.approx(0.92)
    assert row["runs"] == 5 and row["seconds"] == 2.0 and math.isnan(row["adversary_max"])
    base = five.table.loc["source_only"]
    assert math.isnan(base["vs_source_only"]) and not base["vs_source_only_separated"]
    # sd of (.5 .6 .7 .4 .5) is 0.1140, half-width 2.776 * 0.1140 / sqrt(5)
    assert base["target_accuracy_high"] - base["target_accuracy"] == pytest.approx(0.1416, abs=1e-4)


def test_the_interval_of_a_score_ends_where_scores_do():
    two = board([run("source_only", seed, score, im=0.1) for seed, score in enumerate((0.4, 0.8))])
    row = two.table.iloc[0]
    # 12.706 * 0.283 / sqrt(2) = 2.54 on each side of 0.6
    assert row[["target_accuracy", "target_accuracy_low", "target_accuracy_high"]].tolist() == pytest.approx(
        [0.6, 0, 1]
    )
    assert two.plot().axes[0].get_xlim() == (-0.02, 1.02)


def test_only_seeds_that_both_have_are_paired(five):
    five.runs = [r for r in five.runs if (r["recipe"], r["seed"]) not in (("good", 0), ("source_only", 2))]
    row = five.table.loc["good"]
    assert row["vs_source_only"] == pytest.approx(0.2) and not row["vs_source_only_separated"]  # seeds 1, 3, 4


def test_four_seeds_separate_nothing_and_that_is_said(five):
    five.runs = [r for r in five.runs if r["seed"] < 4]
    assert five.table.loc["good", "vs_source_only_low"] > 0 and not five.table["vs_source_only_separated"].any()
    assert any("4 seeds: no difference is called separated" in said for said in five.warnings)


def test_the_choice_is_the_best_mean_and_never_looks_at_the_oracle(five):
    choice = five.best()
    assert (choice.recipe, choice.seed, choice.value) == ("good", 4, pytest.approx(0.9))  # bad's 0.9 is one seed's luck
    assert list(five.table.index) == ["good", "bad", "source_only"]  # 0.7, 0.18, 0.1
    for r in five.runs:
        r["target"] = {"accuracy": 1 - r["target"]["accuracy"]}
    assert five.best() == choice and five.oracle() == "bad"
    assert "good" in five.verdict and "takes bad" in five.verdict and "gap of 0.400" in five.verdict  # 0.66 - 0.26


def test_a_failed_run_counts_nowhere_but_in_the_warnings(five):
    five.runs[5] = {
        "recipe": "good",
        "seed": 0,
        "error": "DivergenceError: CORAL is nan",
        "date": "2030-01-03",
        "machine": "x",
    }
    assert five.table.loc["good", "runs"] == 4 and five.best().recipe == "good"
    assert "good failed in 1 of 5 runs: DivergenceError: CORAL is nan" in five.warnings


def test_warnings_tell_negative_transfer_and_the_indistinguishable(five):
    assert any(said == "Negative transfer: bad ended below source only." for said in five.warnings)
    assert not any("distinguishable" in said for said in five.warnings)
    noise = [0.1, -0.1, 0.05, -0.05, 0.0]
    runs = [run("source_only", seed, 0.5, im=0.1) for seed in range(5)]
    runs += [run("dann", seed, 0.5 + noise[seed], im=0.2) for seed in range(5)]
    assert "No method is distinguishable from source only." in board(runs).warnings
    assert "No method is distinguishable from source only joint bn." not in board(runs).warnings


FAVORED = {"shot": True, "information_maximization@3": True, "shot on minilm": True, "dann": False}


@pytest.mark.parametrize(("chosen", "favored"), FAVORED.items())
def test_a_choice_that_is_trained_for_what_its_judge_measures_is_told(chosen, favored):
    made = board([run(chosen, 0, information_maximization=0.9)], ("information_maximization",))
    assert any(f"{chosen} is trained for what information_maximization measures" in w for w in made.warnings) is favored


def test_what_validators_measure_is_named_of_recipes_and_validators_that_are():
    """Each recipe has the objective in a stage; a renamed recipe or validator would silence the warning."""
    objectives = {"information_maximization": "InformationMaximization", "bnm": "BNM", "entropy": "EntropyMinimization"}
    for validator, trained in findings.TRAINED_FOR.items():
        assert validator in selection.validators
        for name, recipe in recipes.items():
            stages = [stage.objectives() for stage in recipe.stages if not stage.solve]
            has = any(type(one).__name__ == objectives[validator] for stage in stages for one in stage)
            assert has is (name in trained), (validator, name)


@pytest.mark.parametrize(
    ("curve", "says"),
    [([0.5, 0.51, 0.49, 0.52], "at chance from first"), ([0.5, 0.7, 0.3], "below chance"), ([0.5, 0.8, 0.55], None)],
)
def test_what_an_adversary_did(curve, says):
    made = board([run("dann", seed, im=0.1, curve=curve) for seed in (0, 1)])
    said = [w for w in made.warnings if "adversary" in w]
    assert (len(said) == 1 and says in said[0]) if says else said == []
    assert (
        made.table.loc["dann", "adversary_max"] == max(curve) and made.table.loc["dann", "adversary_last"] == curve[-1]
    )


def ranked():
    """im orders the recipes as the oracle does, backwards the other way round, flat not at all."""
    names = ["source_only", "a", "b", "c", "d"]
    runs = []
    for i, name in enumerate(names):
        runs += [run(name, seed, 0.1 * i, im=2.0**i, backwards=-float(i), flat=1.0, missing=None) for seed in (0, 1)]
    return board(runs, ("im", "backwards", "flat", "missing"))


def test_validator_quality_by_hand():
    quality = ranked().validator_quality()
    assert quality.loc["im", ["spearman", "low", "high", "regret"]].tolist() == pytest.approx([1, 1, 1, 0])
    assert quality.loc["backwards", "spearman"] == pytest.approx(-1)
    assert quality.loc["backwards", "chosen"] == "source_only" and quality.loc["backwards", "regret"] == pytest.approx(
        0.4
    )
    assert math.isnan(quality.loc["flat", "spearman"]) and "missing" not in quality.index
    one_swap = ranked()
    for r in one_swap.runs:  # the order 0, 2, 1, 3, 4: 1 - 6 * 2 / (5 * 24)
        r["validators"]["im"] = {"a": 2.5, "b": 1.5}.get(r["recipe"], r["target"]["accuracy"] * 10)
    quality = one_swap.validator_quality()
    assert quality.loc["im", "spearman"] == pytest.approx(0.9)
    assert quality.loc["im", "low"] < 0.9 <= quality.loc["im", "high"] and quality.equals(one_swap.validator_quality())


def test_validator_quality_needs_an_oracle_and_three_recipes(five):
    with pytest.raises(DataError, match="2 recipes"):
        board([r for r in five.runs if r["recipe"] != "bad"]).validator_quality()
    with pytest.raises(DataError, match="no oracle"):
        board([r | {"target": None} for r in five.runs]).validator_quality()


def test_best_refuses_what_it_cannot_do(five):
    with pytest.raises(ArgumentError, match=r"'snd'.*im"):
        five.best("snd")
    with pytest.raises(DataError, match="no value"):
        ranked().best("missing")


def test_markdown_has_a_row_a_recipe_and_says_where_it_comes_from(five):
    text = five.to_markdown(command="make bench")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 3 and len({row.count("|") for row in rows}) == 1
    assert "| good (chosen) (oracle) | 5 | 0.920 | 0.740 [" in text and "+0.200 [+0.112, +0.288]* |" in text
    assert all(part in text for part in ("make bench", "2030-01-02", "an abacus", "Negative transfer"))


def test_html_stands_alone_and_escapes_names(tmp_path):
    evil = "<script>alert(1)</script>"
    runs = [run(name, seed, 0.5, im=0.1) for name in ("source_only", evil, "$a$b") for seed in (0, 1)]
    page = (
        board(runs, setting="<b>here</b> -> there", notes=["class <i>x</i>"])
        .to_html(tmp_path / "r.html", "x < y")
        .read_text()
    )
    assert (
        page.count("<script") == 1
        and "alert(1)</script" not in page
        and "<b>here" not in page
        and "<i>x" not in page
        and "x < y" not in page
    )
    assert "&lt;script&gt;" in page and "data:image/png;base64," in page
    assert not re.search(r"(src|href)=\"(?!data:)", page) and "http" not in page
    assert "Not for clinical use" in page and "Validators against the oracle" in page


def test_picture_marks_the_choice_and_the_oracle(five):
    for r in five.runs:
        r["validators"]["im"] = -r["validators"]["im"]
    axis = five.plot().axes[0]
    labels = [tick.get_text() for tick in axis.get_yticklabels()]
    assert labels == ["bad", "source_only (chosen without labels)", "good (oracle)"]  # by target accuracy
    points = [container.lines[0].get_xdata()[0] for container in axis.containers]
    assert points == pytest.approx([0.34, 0.54, 0.74])
    assert axis.get_xlabel().endswith("mean and 95 % interval over seeds")
    single = board([r for r in five.runs if r["seed"] == 0])
    assert single.plot().axes[0].get_xlabel().endswith("one seed")


def test_reports_without_an_oracle_or_intervals(tmp_path):
    alone = board([run("dann", 0, im=0.1), run("coral", 0, im=0.3)])
    assert "how good it is there was not measured" in alone.verdict
    page = alone.to_html(tmp_path / "r.html").read_text()
    assert "coral (chosen)" in page and "(oracle)" not in page


def test_shares_that_differ_are_warned_about_and_stand_in_the_page(five, tmp_path):
    shift = dict(estimate=[0.9, 0.1, None], low=[0.8, 0.0, None], high=[1.0, 0.2, None], source=[0.5, 0.5, None])
    shift |= dict(differs=True, temperature=2.0, confidence_source=0.9, confidence_target=0.6)
    shift |= dict(ece_source_scaled=0.01, ece_target_scaled=0.02)
    for r in five.runs:
        r["shift"] = shift
    five.classes, five.true_shares = ("x", "y", "z"), [0.8, 0.2, 0.0]
    assert five.table["confidence_gap"].tolist() == pytest.approx([0.3] * 3)
    said = next(w for w in five.warnings if "spread differently" in w)
    assert "x 0.90 [0.80, 1.00] against 0.50; y 0.10 [0.00, 0.20] against 0.50)" in said
    five.card = [("Caveats", ["<none>"])]
    page = five.to_html(tmp_path / "r.html").read_text()
    assert "<td>z</td><td>unknown</td><td>unknown</td><td>0.00</td>" in page and "<li>&lt;none&gt;</li>" in page
    shift["differs"] = False
    assert not any("spread differently" in w for w in five.warnings)


def test_a_page_is_written_where_validators_have_too_few_values(tmp_path):
    """Three recipes, and the one validator says nothing of two: there is no rank correlation, and still a page."""
    few = board([run(name, 0, 0.5, im=0.1 if name == "a" else None) for name in "abc"])
    assert "Validators against the oracle" not in few.to_html(tmp_path / "r.html").read_text()


def test_text_for_a_terminal_marks_the_choice(five):
    lines = five.to_text().splitlines()
    assert lines[0].split()[:3] == ["recipe", "runs", "source"] and [line[:2] for line in lines[1:]] == [
        "> ",
        "  ",
        "  ",
    ]
    assert lines[1].split()[1] == "good" and "+0.200 [+0.112, +0.288]*" in lines[1] and "seconds" in lines[0]


def test_a_headline_gives_one_number_only_where_the_estimates_agree():
    """Frozen features agree with themselves whatever is true: 0.88 stood alone above two other ways that said 0.60."""
    near = {"agreement_of_seeds": (0.65, 0.5, 0.8), "difference_of_confidences": (0.6, 0.1, 0.9)}
    board = SimpleNamespace(has_oracle=False, estimates=near, given=None)
    assert findings.headline(board)[0] == "0.65" and "between 0.50 and 0.80" in findings.headline(board)[1]
    board.estimates = near | {"agreement_of_seeds": (0.88, 0.68, 1.0)}
    assert findings.headline(board)[0] == "0.60 to 0.88" and "by ways that disagree" in findings.headline(board)[1]
    assert "trust none of them" in findings.cautions(board)[0] and "36 thresholds" in findings.cautions(board)[1]
    board.has_oracle = True  # who has labels need not be told to label images to know
    assert [text[:11] for text in findings.cautions(board)] == ["A threshold"]
