"""What a model file keeps for later judgment: a temperature that serves pictures nobody saw, and held-out answers."""

import pytest
import torch
from small import blobs

import xferlab as xl
from xferlab.comparison import modelfile
from xferlab.comparison.reference import answer, calibrate


@pytest.fixture(scope="module")
def digits():
    """MNIST, and a LeNet that is too sure of itself: trained for long on 10 digits a class."""
    source = xl.load("digits/mnist")
    model = xl.Classifier(xl.encoder("lenet"), source.classes)
    few = source.train.take(per_class=10)
    xl.recipes["source_only"].fit(model, few, steps=150, lr=3e-3, batch_size=64, augment=None, progress_bar=False)
    return source, model


def test_what_predict_says_is_calibrated_on_pictures_that_neither_training_nor_temperature_saw(digits, tmp_path):
    """Fails where the temperature is fitted and not applied: the raw softmax lies twice as far off."""
    source, model = digits
    raw = xl.evaluate(model, source.test)
    t, reference, _ = calibrate(model, source, source.test.unlabeled())
    path = modelfile.save(
        tmp_path / "m.safetensors", model, reference, encoder="lenet", size=None, recipe="source_only", temperature=t
    )
    loaded, about = modelfile.load(path)
    after = xl.evaluate(loaded, source.test)
    assert t > 1 and raw.ece > 0.05 and after.ece < max(raw.ece / 2, 0.03)
    assert (after.predictions == raw.predictions).all(), "a temperature changes no answer"
    kept = about["reference"]
    both = torch.cat([source.val.labels, source.test.labels])
    assert torch.equal(kept.labels.bincount(), both.bincount())
    n = len(source.val)
    on_val = xl.evaluate(loaded, source.val).probabilities
    for part, p in ((kept.probabilities[:n], on_val), (kept.probabilities[n:], after.probabilities)):
        torch.testing.assert_close(part.sort(0)[0], torch.from_numpy(p).sort(0)[0])


def test_labeled_target_pictures_come_before_the_source():
    """Two held-out sides of opposite labels: a model right on one and wrong on the other takes its temperature from the target."""
    source = blobs(60)
    model = xl.Classifier(xl.encoder("lenet", size=28), source.classes)
    xl.recipes["source_only"].fit(model, source, steps=40, batch_size=20, progress_bar=False)
    wrong = xl.Domain(source.inputs, (source.labels + 1) % 3, source.classes, name="wrong")
    t, reference, _ = calibrate(model, xl.Splits(source, source, source), source.unlabeled(), wrong)
    assert t > 15 and torch.equal(reference.labels, wrong.labels)
    assert torch.equal(reference.probabilities, xl.predict(model, wrong))


def test_a_run_and_the_answers_of_the_chosen_model_walk_each_domain_once(tmp_path, monkeypatch):
    """Images through the encoder after training: each part once in a run; then, once each, the held-out pictures and the target, whose
    looks and answers come from one pass. A new look at the target later says the same."""
    n = dict(source=(30, 21, 24), target=(600, 3, 27))
    source, target = (
        xl.Splits(*(blobs(k, seed=10 * i + j) for j, k in enumerate(parts))) for i, parts in enumerate(n.values())
    )
    seen, prepare = [], xl.encoders.Encoder.prepare

    def spy(encoder, inputs):
        if torch.is_inference_mode_enabled():
            seen.append(len(inputs))
        return prepare(encoder, inputs)

    monkeypatch.setattr(xl.encoders.Encoder, "prepare", spy)
    settings = dict(seeds=1, steps=3, batch_size=10, encoder="small_cnn", validators=["information_maximization"])
    board = xl.compare(
        ["source_only"], source, target, store=tmp_path, keep_weights=True, progress_bar=False, **settings
    )
    assert sum(seen) == 21 + 24 + 600 + 27
    model = board.best().model
    seen.clear()
    _, reference, answers = calibrate(model, source, target.train)
    assert sum(seen) == 21 + 24 + 600
    again = answer(model, reference, target.train)
    assert sum(seen) == 21 + 24 + 2 * 600
    assert (again.like_target == answers.like_target).all() and (again.probabilities == answers.probabilities).all()
    assert (answers.probabilities == xl.predict(model, target.train).numpy()).all()
