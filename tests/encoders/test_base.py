import numpy as np
import pytest
import torch
from small import TwentyLines
from torch import nn

import xferlab as xl
from xferlab.encoders import images
from xferlab.errors import ArgumentError, ChecksumError, DataError, DownloadError


def squared(picture):
    side = min(picture.shape[:2])
    top, left = ((n - side) // 2 for n in picture.shape[:2])
    return torch.from_numpy(np.ascontiguousarray(picture[top : top + side, left : left + side])).permute(2, 0, 1)[None]


def test_imagenet_weights_know_coffee_and_cats():
    photographs = pytest.importorskip("skimage.data")
    encoder = xl.encoder("efficientnet_lite0", size=224).eval()
    with torch.no_grad():
        coffee, chelsea = (
            encoder.source_head(encoder(squared(picture))).softmax(1)[0]
            for picture in (photographs.coffee(), photographs.chelsea())
        )
    assert coffee.argmax() == 967 and coffee[967] > 0.9  # espresso
    assert set(chelsea.topk(3).indices.tolist()) == {281, 282, 285}  # tabby, tiger cat, Egyptian cat


def test_untrained_weights_do_not():
    photographs = pytest.importorskip("skimage.data")
    encoder = xl.encoder("efficientnet_lite0", pretrained=False, size=64).eval()
    assert encoder.source_head is None
    assert not torch.equal(
        encoder(squared(photographs.coffee())), xl.encoder("efficientnet_lite0").eval()(squared(photographs.coffee()))
    )


def test_blocks_run_in_order_and_hold_every_parameter_once():
    encoder = xl.encoder("efficientnet_lite0")
    assert [block.name for block in encoder.blocks] == ["conv_stem", *(f"blocks.{i}" for i in range(7)), "conv_head"]
    held = [id(p) for block in encoder.blocks for p in block.parameters()]
    assert len(held) == len(set(held)) and set(held) == {id(p) for p in encoder.parameters()}
    assert encoder.dim == 1280


def test_source_head_is_not_a_part_that_trains_or_is_saved():
    encoder = xl.encoder("efficientnet_lite0")
    assert encoder.source_head.out_features == 1000
    head = {id(p) for p in encoder.source_head.parameters()}
    assert not head & {id(p) for p in encoder.parameters()} and not any(
        "source_head" in key for key in encoder.state_dict()
    )


def test_own_module_blocks_follow_execution_not_definition():
    module = TwentyLines()
    module._modules = dict(reversed(module._modules.items()))
    module.scale = nn.Parameter(torch.ones(()))
    encoder = xl.encoder(module, size=16)
    assert [block.name for block in encoder.blocks] == [
        "stem",
        "deep",
        "project",
    ]  # each norm joins the layer before it
    assert encoder.dim == 12
    assert any(p is module.scale for p in encoder.blocks[0].parameters())


def test_dry_run_leaves_modes_and_statistics_alone():
    module = TwentyLines()
    module.deep_norm.eval()
    before = module.norm.running_mean.clone()
    xl.encoder(module, size=16)
    assert module.norm.training and not module.deep_norm.training and torch.equal(module.norm.running_mean, before)


def test_gray_goes_into_an_rgb_encoder_and_colour_into_a_gray_one():
    rgb = xl.encoder(TwentyLines(), size=16)
    gray = torch.full((2, 1, 16, 16), 51, dtype=torch.uint8)
    assert torch.equal(rgb.prepare(gray), rgb.prepare(gray.expand(-1, 3, -1, -1)))
    lenet = xl.encoder("lenet")
    white = torch.full((2, 3, 28, 28), 255, dtype=torch.uint8)
    assert lenet.prepare(white).shape == (2, 1, 28, 28)
    torch.testing.assert_close(lenet.prepare(white), torch.ones(2, 1, 28, 28))


def test_prepare_normalises_on_the_0_to_255_scale():
    encoder = xl.encoder("efficientnet_lite0")
    image = torch.tensor([0, 127, 255], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 3, 64, 64)
    prepared = encoder.prepare(image)
    expected = torch.tensor([-127 / 128, 0.0, 1.0])
    torch.testing.assert_close(prepared[:, 0, 0, 0], expected)


def test_resize_keeps_the_mean_of_a_shrunk_picture():
    encoder = xl.encoder(TwentyLines(), size=16, mean=(0.0,), std=(1.0,))
    checker = (torch.arange(64).view(-1, 1) + torch.arange(64)) % 2 * 200
    shrunk = encoder.prepare(checker.to(torch.uint8).expand(1, 3, 64, 64))
    assert shrunk.shape[-1] == 16 and (shrunk - 100).abs().max() < 5  # without antialiasing: stripes of 0 and 200


def test_seed_decides_what_is_not_pretrained_and_nothing_else():
    torch.manual_seed(1)
    a = xl.Classifier(xl.encoder("lenet", seed=3), ("x", "y"), seed=4)
    state = torch.get_rng_state()
    b = xl.Classifier(xl.encoder("lenet", seed=3), ("x", "y"), seed=4)
    c = xl.Classifier(xl.encoder("lenet", seed=5), ("x", "y"), seed=4)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert not torch.equal(next(a.parameters()), next(c.parameters())) and torch.equal(a.head.weight, c.head.weight)


def test_damaged_weights_are_refused(monkeypatch):
    monkeypatch.setitem(images.PACKAGED, "efficientnet_lite0", ("0" * 64, 64))
    with pytest.raises(ChecksumError, match="expected 0000"):
        xl.encoder("efficientnet_lite0")


def test_timm_name_from_a_local_file(tmp_path):
    import timm
    from safetensors.torch import save_file

    net = timm.create_model("resnet10t", pretrained=False)
    save_file(net.state_dict(), tmp_path / "r.safetensors")
    encoder = xl.encoder("resnet10t", weights=tmp_path / "r.safetensors", size=64)
    assert torch.equal(dict(encoder.body.named_parameters())["layer1.0.conv1.weight"], net.layer1[0].conv1.weight)
    with pytest.raises(DataError, match=r"does not fit 'resnet18'"):
        xl.encoder("resnet18", weights=tmp_path / "r.safetensors")


def test_a_pickle_is_not_opened(tmp_path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    (tmp_path / "w.pth").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError, match="not a plain file of tensors"):
        xl.encoder("resnet18", weights=tmp_path / "w.pth")


def test_weights_that_cannot_be_fetched_say_what_to_do(monkeypatch):
    import timm

    def unplugged(*_args, **_more):
        raise OSError("no route")

    monkeypatch.setattr(timm, "create_model", unplugged)
    with pytest.raises(DownloadError, match="efficientnet_lite0"):
        xl.encoder("resnet18")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: xl.encoder("resnet_5000"), "no encoder is called"),
        (lambda: xl.encoder(nn.Flatten(), size=16), "no layer with parameters"),
        (lambda: xl.encoder(nn.Conv2d(3, 4, 3), size=16), r"expected features \(B, D\)"),
        (lambda: xl.encoder(nn.Linear(5, 4), size=16), "failed on a dry run"),
        (lambda: xl.Classifier(TwentyLines(), ("a", "b")), "wrap it first"),
        (lambda: xl.Classifier(xl.encoder("lenet"), ("a",)), "at least 2"),
        (lambda: xl.encoder("resnet18", weights="nowhere.pth"), "does not exist"),
        (lambda: xl.encoder("efficientnet_lite0", weights="mine.pth"), "only a network of timm takes any"),
        (lambda: xl.encoder(TwentyLines(), size=16, weights="mine.pth"), "weights are 'mine.pth'"),
        (lambda: xl.encoder("lenet")(torch.zeros(3, 28, 28)), r"takes images \(B, C, H, W\)"),
    ],
)
def test_bad_input_says_what_was_expected(make, says):
    with pytest.raises((ArgumentError, DataError), match=says):
        make()


def test_classifier_gives_logits_in_both_modes(own):
    model = own()
    images = torch.zeros(4, 3, 16, 16, dtype=torch.uint8)
    assert model.train()(images).shape == model.eval()(images).shape == (4, 3)
    torch.testing.assert_close(model(images), model.head(model.features(images)))
