"""Masked language modelling: shares by count, the head tied to the embeddings, and a language learnt."""

import pytest
import torch

import xferlab as xl
from xferlab.encoders.text import TextEncoder
from xferlab.errors import ArgumentError
from xferlab.objectives import Batch, Step
from xferlab.objectives.masked_language import MaskedLanguageModeling, mask_tokens

transformers = pytest.importorskip("transformers", reason="text needs the extra nlp")

START, END, MASK, VOCABULARY = 1, 2, 3, 50


@pytest.fixture
def model():
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        hidden_dropout_prob=0.0,
    )
    torch.manual_seed(0)
    encoder = TextEncoder(
        transformers.BertModel(config, add_pooling_layer=False),
        name="tiny",
        mask_token=MASK,
        special=(0, START, END, MASK),
    )
    return xl.Classifier(encoder, ("a", "b"))


def sentences(n=64):
    """Words come in runs (10 11 12 13, ...), so that a hidden one is known from its neighbours."""
    first = 10 + 4 * (torch.arange(n) % 8)
    words = first[:, None] + torch.arange(4)
    ends = torch.ones(n, 1, dtype=torch.int64)
    return xl.Domain(torch.cat([START * ends, words, END * ends, 0 * ends], 1), None, ("a", "b"), name="runs")


def test_15_percent_are_chosen_and_80_10_10_of_them_change():
    torch.manual_seed(0)
    tokens = torch.full((400, 100), 20)
    tokens[:, 0], tokens[:, 90], tokens[:, 91:] = START, END, 0
    masked, chosen = mask_tokens(tokens, MASK, (START, END, MASK), VOCABULARY)
    words = tokens == 20
    assert not chosen[~words].any() and torch.equal(masked[~chosen], tokens[~chosen])
    assert chosen[words].float().mean() == pytest.approx(0.15, abs=0.005)
    hidden, kept = (masked[chosen] == MASK).float().mean(), (masked[chosen] == 20).float().mean()
    # a random word is the mask, or the word itself, once in 49
    assert hidden == pytest.approx(0.8 + 0.1 / 49, abs=0.02) and kept == pytest.approx(0.1 + 0.1 / 49, abs=0.02)
    assert 0 not in masked[chosen]


def step(model):
    inputs = sentences().inputs
    z = model.features(inputs)
    return Step(model, None, Batch(inputs, None, z, model.head(z)), 0.5)


def test_loss_is_cross_entropy_on_hidden_words_of_a_head_tied_to_the_embeddings(model):
    objective = MaskedLanguageModeling(ratio=0.5)
    objective.setup(model.eval(), None, sentences())
    objective.bias.data.normal_()
    torch.manual_seed(3)
    loss = objective(step(model))
    tokens = sentences().inputs[:, :6]
    torch.manual_seed(3)
    masked, chosen = mask_tokens(tokens, MASK, model.encoder.special, VOCABULARY, 0.5)
    logits = objective.head(model.encoder.body.hidden(masked)) @ model.encoder.body.words.weight.T + objective.bias
    expected = -logits.log_softmax(-1).gather(2, tokens[:, :, None]).squeeze(2)[chosen].mean()
    torch.testing.assert_close(loss, expected)
    right = (logits.argmax(-1) == tokens)[chosen].float().mean()
    assert objective.log()["accuracy"].item() == pytest.approx(right.item())
    loss.backward()
    absent = 49  # not in any text: only a tied output layer moves its embedding
    assert model.encoder.body.words.weight.grad[absent].abs().sum() > 0
    assert not any(p is model.encoder.body.words.weight for p in objective.parameters())  # not optimised twice


def test_a_batch_without_a_word_to_hide_costs_nothing(model):
    objective = MaskedLanguageModeling()
    objective.setup(model, None, sentences())
    empty = torch.tensor([[START, END, 0], [START, END, 0]])
    loss = objective(Step(model, None, Batch(empty, None, None, None), 0.5))
    loss.backward()
    assert loss.item() == 0.0 and objective.log()["accuracy"].item() == 0.0
    assert not any(p.grad.isnan().any() for p in model.parameters() if p.grad is not None)


def test_a_ratio_of_0_hides_nothing_even_where_the_draw_is_0(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *shape, device=None: torch.zeros(*shape))
    tokens = torch.full((2, 5), 20)
    masked, chosen = mask_tokens(tokens, MASK, (START, END, MASK), VOCABULARY, ratio=0.0)
    assert torch.equal(masked, tokens) and not chosen.any()


def test_a_language_is_learnt_from_unlabelled_text(model):
    objective = MaskedLanguageModeling(ratio=0.25)
    run = xl.fit(
        model, None, sentences(), objectives=[objective], steps=150, batch_size=32, lr=1e-2, progress_bar=False
    )
    assert run.history[0]["MaskedLanguageModeling"] > 3  # chance is log 50 = 3.9
    late = [entry["MaskedLanguageModeling.accuracy"] for entry in run.history[-20:]]
    assert sum(late) / len(late) > 0.35  # its place alone tells a word from 24 others: 1 in 8 at best


def test_what_cannot_be_masked(model, own):
    with pytest.raises(ArgumentError, match=r"ratio 1\.5"):
        MaskedLanguageModeling(ratio=1.5)
    with pytest.raises(ArgumentError, match="expected a text encoder with a mask token"):
        MaskedLanguageModeling().setup(own(), None, None)
    assert MaskedLanguageModeling(on="source").needs == {"source"}
