"""Many runs as one would write them with this package but without `compare`: one after the other, in one process."""

from __future__ import annotations

from collections.abc import Sequence

import xferlab as xl


def compare(
    names: Sequence[str], seeds: int, source: xl.Splits, target: xl.Splits, encoder: str, **settings
) -> dict[tuple[str, int], dict[str, float]]:
    """Accuracy on both test parts and what every validator gives, by recipe and seed."""
    found = {}
    unlabeled = target.train.unlabeled()
    for seed in range(seeds):
        for name in names:
            model = xl.Classifier(xl.encoder(encoder, seed=seed), source.classes, seed=seed)
            recipe = xl.recipes[name]
            recipe.fit(model, source.train, unlabeled, seed=seed, progress_bar=False, **settings)
            scores = {
                side: xl.evaluate(model, part.test).accuracy for side, part in (("source", source), ("target", target))
            }
            found[name, seed] = scores | xl.selection.validate(xl.selection.Candidate(model, recipe, source, unlabeled))
    return found
