import pytest
import torch
from small import TwentyLines, blobs
from torch import nn

import xferlab as xl
from xferlab.encoders.reading import Depth, mean_and_std, read_in_depth, turned
from xferlab.errors import ArgumentError


def own():
    torch.manual_seed(0)
    return xl.encoder(TwentyLines(), size=16)


def test_mean_and_standard_deviation_of_maps_and_of_tokens():
    maps = torch.tensor([[[[0.0, 2.0], [4.0, 6.0]], [[1.0, 1.0], [1.0, 1.0]]]])
    expected = torch.tensor([[3.0, 1.0, 5.0**0.5, 0.0]])
    assert torch.allclose(mean_and_std(maps), expected, atol=2e-3)
    assert torch.allclose(mean_and_std(maps.flatten(2).transpose(1, 2)), expected, atol=2e-3)  # (B, L, C)
    wide = torch.rand(2, 3, 7, 4).permute(0, 2, 3, 1)  # not square: channels come first
    assert mean_and_std(wide).shape == (2, 14)
    swin = torch.rand(2, 5, 5, 8)
    assert torch.allclose(mean_and_std(swin)[:, :8], swin.mean((1, 2)))


def test_features_are_what_the_blocks_give_standardized():
    plain, deep = own(), read_in_depth(own(), ["stem", "deep"])
    x = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    plain.eval(), deep.eval()
    with xl.encoders.recording(plain, ["stem", "deep"]) as seen, torch.no_grad():
        plain(x)
        expected = torch.cat([mean_and_std(seen[name][0]) for name in ("stem", "deep")], 1)
        assert torch.allclose(deep(x), expected, atol=1e-5)
        deep.body.standard.running_mean.fill_(2.0)
        deep.body.standard.running_var.fill_(4.0)
        assert torch.allclose(deep(x), (expected - 2) / 2, atol=1e-4)
    assert deep.dim == 48 and deep.source_head is None
    assert [block.name for block in deep.blocks] == ["stem", "deep", "standard"], "what is not read does not run"


def test_features_of_other_blocks_are_not_taken_from_the_cache(tmp_path):
    layers = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(3)), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for name in ("0", "1"):
        deep = xl.encoder(layers, size=8, read=[name])
        features = xl.embed(deep, blobs(n=6), cache=tmp_path)
        assert torch.equal(features, xl.embed(deep, blobs(n=6), cache=False))


def test_layers_after_the_last_one_read_do_not_run():
    deep, ran = read_in_depth(own(), ["stem"]), []
    deep.body.body.project.register_forward_hook(lambda *_: ran.append(1))
    deep(torch.zeros(2, 3, 16, 16))
    assert not ran


def test_gradient_reaches_what_is_read():
    deep = read_in_depth(own(), ["deep"]).train()
    deep(torch.rand(4, 3, 16, 16) * 255).square().sum().backward()
    assert deep.body.body.stem.weight.grad.any() and deep.body.body.project.weight.grad is None


def test_of_nine_blocks_the_fourth_to_seventh():
    layers = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(9)), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    deep = xl.encoder(layers, size=8, read="depth")
    assert deep.body.names == ("3", "4", "5", "6")


def test_symmetric_features_do_not_change_with_the_pictures_side():
    deep = read_in_depth(own()).eval()
    x = torch.rand(2, 3, 16, 16) * 255
    turned_by_a_quarter = x.rot90(1, (-2, -1)).flip(-1)
    with torch.no_grad():
        assert not torch.allclose(deep(x), deep(turned_by_a_quarter), atol=1e-4)
        deep.body.symmetric.fill_(True)
        assert torch.allclose(deep(x), deep(turned_by_a_quarter), atol=1e-4)
    views = turned(x)
    assert len(views) == 8 and len({view.numpy().tobytes() for view in views}) == 8
    assert len(turned(x[..., :8])) == 4


def test_reading_twice_changes_nothing_and_unknown_blocks_are_named():
    deep = read_in_depth(own())
    body = deep.body
    assert read_in_depth(deep).body is body and isinstance(body, Depth)
    with pytest.raises(ArgumentError, match=r"read is .*stem, deep, project"):
        read_in_depth(own(), ["nowhere"])


def test_an_encoder_that_cannot_be_read_is_left_as_it_was():
    class Both(nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1)), x

    class First(nn.Linear):
        def forward(self, both):
            return super().forward(both[0])

    encoder = xl.encoder(nn.Sequential(Both(192, 16), First(16, 8)), size=8)
    before = encoder.name, encoder.body, encoder.dim, encoder.blocks
    with pytest.raises(ArgumentError, match="give no maps"):
        read_in_depth(encoder, [encoder.blocks[0].name])
    assert (encoder.name, encoder.body, encoder.dim, encoder.blocks) == before


def test_a_depth_model_trains_checkpoints_and_evaluates(tmp_path):
    model = xl.Classifier(read_in_depth(own()), ("a", "b", "c"))
    run = xl.fit(model, blobs(seed=1), steps=4, batch_size=16, checkpoint=tmp_path / "c.pt", progress_bar=False)
    assert run.history and 0 <= xl.evaluate(model, blobs(seed=2)).accuracy <= 1
