"""Several sources: a score each, a recipe judged on sites that it has not seen, and the command line."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from small import TwentyLines, blobs

import xferlab as xl
from xferlab import selection
from xferlab.comparison import findings, runs
from xferlab.domains.domain import split
from xferlab.domains.sites import pooled
from xferlab.errors import DivergenceError

SITES = {name: split(blobs(60, seed=i, shift=30 * i, name=name)) for i, name in enumerate("xyz")}
TARGET = split(blobs(60, seed=9, shift=90, name="there"))


def compare(store, source=SITES, recipes=("source_only", "group_dro"), **more):
    settings = dict(
        seeds=2,
        steps=4,
        batch_size=12,
        encoder=TwentyLines,
        progress_bar=False,
        validators=["source_val", "information_maximization"],
    )
    return xl.compare(list(recipes), source, TARGET, store=store, **(settings | more))


def test_three_sites_choose_by_the_site_left_out_and_are_listed_worst_first(tmp_path):
    board = compare(tmp_path)
    assert board.selector == "leave_one_site_out" and board.validators == [
        "leave_one_site_out",
        "source_val",
        "information_maximization",
    ]
    for run in board.runs:
        assert set(run["held_out"]) == set(run["sites"]) == set("xyz")
        assert run["validators"]["leave_one_site_out"] == pytest.approx(sum(run["held_out"].values()) / 3)
    held = [row[1] for row in findings.sites(board)]
    assert held == sorted(held) and {row[0] for row in findings.sites(board)} == set("xyz")
    assert f"Of the source's sites {findings.sites(board)[0][0]} is the worst" in board.to_markdown()
    assert "Each site of the source" in board.to_html(tmp_path / "r.html").read_text()


def test_two_sites_have_scores_and_one_has_none(tmp_path):
    """With two, leaving one out trains on one: no judge. The order of the sites' pictures alone must not find another's run."""
    two = {name: SITES[name] for name in "xy"}
    board = compare(tmp_path, two)
    assert (
        board.selector == "information_maximization"
        and len(findings.sites(board)) == 2
        and math.isnan(findings.sites(board)[0][1])
    )
    plain = replace_sites(pooled(two))
    alone = compare(tmp_path, plain)
    assert findings.sites(alone) == [] and {run["key"] for run in alone.runs}.isdisjoint(
        run["key"] for run in board.runs
    )


def replace_sites(splits):
    return xl.Splits(*(replace(part, site=None, sites=()) for part in splits.parts().values()))


def test_the_site_left_out_is_seen_without_its_labels_and_never_in_training(monkeypatch):
    seen, scored = [], []

    def evaluate(model, domain):
        scored.append(set(domain.site.tolist()))
        return SimpleNamespace(balanced_accuracy=1.0)

    monkeypatch.setattr("xferlab.comparison.selection.evaluate", evaluate)

    def retrain(train, target):
        seen.append((set(train.site.tolist()), set(target.site.tolist()), target.labels))
        if len(seen) == 2:
            raise DivergenceError("no")
        return model

    model = xl.Classifier(xl.encoder(TwentyLines(), size=16), ("a", "b", "c"))
    candidate = selection.Candidate(model, None, pooled(SITES), TARGET.train.unlabeled(), retrain)
    value = selection.leave_one_site_out(candidate)
    assert seen == [({1, 2}, {0}, None), ({0, 2}, {1}, None), ({0, 1}, {2}, None)]
    assert math.isnan(value) and math.isnan(candidate.held_out["y"])
    assert candidate.held_out["x"] == 1.0 and scored == [{0}, {2}]
    assert math.isnan(selection.leave_one_site_out(replace(candidate, source=SITES["x"])))


def test_a_sites_score_is_that_of_its_own_test_part(tmp_path):
    board = compare(tmp_path, recipes=["source_only"], keep_weights=True, seeds=1)
    model = board.best().model
    for name, splits in SITES.items():
        scores = xl.evaluate(model, splits.test)
        assert board.runs[0]["sites"][name]["balanced_accuracy"] == pytest.approx(scores.balanced_accuracy)


def test_labels_of_the_target_are_one_more_site(tmp_path):
    few = TARGET.train[:6]
    both = runs._beside(pooled(SITES).train, few)
    assert both.sites == ("x", "y", "z", "the target") and torch.equal(both.inputs[both.site == 3], few.inputs)
    assert len(compare(tmp_path, recipes=["source_only"], labeled=few).finished()) == 2
