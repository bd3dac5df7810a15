import pytest
import torch
from small import blobs
from torch import nn

import xferlab as xl
from xferlab.errors import ArgumentError

models = pytest.importorskip("torchvision.models")


def test_a_torchvision_resnet_gives_features_and_keeps_its_head():
    network = models.resnet18(weights=None)
    encoder = xl.encoder(network, size=64)
    assert encoder.dim == 512 and encoder.source_head is network.fc and network.fc.out_features == 1000
    ours, theirs = dict(encoder.body.named_parameters()), dict(network.named_parameters())
    assert all(ours[name] is theirs[name] for name in ours) and len(theirs) == len(ours) + 2, "shared, not copied"
    assert encoder.body.bn1.running_mean is network.bn1.running_mean
    x = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    encoder.eval(), network.eval()
    with torch.no_grad():
        assert torch.allclose(encoder.source_head(encoder(x)), network(encoder.prepare(x)), atol=1e-5)
    # normalized as torchvision's weights want it
    assert torch.allclose(encoder.mean.flatten(), torch.tensor([123.675, 116.28, 103.53]))


def test_the_layers_of_a_vision_transformer_are_its_blocks():
    encoder = xl.encoder(models.VisionTransformer(32, 8, 3, 2, 16, 32, num_classes=7))
    assert encoder.dim == 16 and encoder.source_head.out_features == 7 and encoder.size == (32, 32)
    assert [block.name.rsplit("_", 1)[-1] for block in encoder.blocks] == ["proj", "0", "1", "2"] or len(
        encoder.blocks
    ) == 2
    deep = xl.encoder(models.VisionTransformer(32, 8, 6, 2, 16, 32, num_classes=7), read="depth")
    assert [block.name[-7:] for block in deep.blocks] == [
        *("nv_proj", "layer_0", "layer_1", "layer_2", "layer_3", "layer_4", "tandard")
    ]


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_outputs_do_not_reach_training(name):
    network = getattr(models, name)(weights=None, init_weights=False)
    encoder = xl.encoder(network, size=96 if name == "googlenet" else 128).train()
    assert encoder(torch.zeros(2, 3, 32, 32)).shape == (2, encoder.dim)
    assert network.aux_logits, "the network given is as it was"


def test_a_timm_module_gives_its_features():
    timm = pytest.importorskip("timm")
    network = timm.create_model("resnet10t", pretrained=False)
    encoder = xl.encoder(network)
    assert encoder.dim == 512 and encoder.source_head is network.fc


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 5, 3)

    def forward(self, x):
        maps = self.layer(x)
        return {"maps": maps, "pooled": maps.mean((2, 3))}


def test_a_part_of_an_output_is_named():
    x = torch.rand(2, 3, 16, 16) * 255
    by_name = xl.encoder(Named(), size=16, output="pooled")
    assert by_name(x).shape == (2, 5)
    by_function = xl.encoder(by_name.body.body, size=16, output=lambda found: found["maps"].mean((2, 3)))
    assert torch.equal(by_name(x), by_function(x))
    with pytest.raises(ArgumentError, match="with output="):
        xl.encoder(Named(), size=16)
    with pytest.raises(ArgumentError, match=r"output is 'logits'.*maps, pooled"):
        xl.encoder(Named(), size=16, output="logits")


def test_features_of_another_part_are_not_taken_from_the_cache(tmp_path):
    network = Named()
    for name in ("mean", "amax"):
        encoder = xl.encoder(network, size=16, output=lambda found, name=name: getattr(found["maps"], name)((2, 3)))
        features = xl.embed(encoder, blobs(n=6), cache=tmp_path)
        assert torch.equal(features, xl.embed(encoder, blobs(n=6), cache=False))
    assert encoder.name.startswith("Named, output ")


def test_a_registered_encoder_is_found_by_name():
    xl.encoder.register(
        "tiny", lambda pretrained, **settings: nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    )
    try:
        assert xl.encoder("tiny").dim == 4 and xl.encoder("tiny", size=20).size == (20, 20)
        with pytest.raises(TypeError, match="unexpected keyword argument 'weights'"):  # and not left out in silence
            xl.encoder.register("tiny", lambda pretrained: nn.Flatten())
            xl.encoder("tiny", weights="mine.pth")
    finally:
        xl.encoders._registered.pop("tiny")
    xl.encoder.register("words", lambda pretrained: nn.Embedding(10, 4))
    try:
        with pytest.raises(ArgumentError, match=r"where it reads tokens a text\.TextEncoder"):
            xl.encoder("words")
    finally:
        xl.encoders._registered.pop("words")
    with pytest.raises(ArgumentError, match="timm/ and hf/ are taken"):
        xl.encoder.register("timm/tiny", Named)


def test_timm_names_with_a_prefix_read_images():
    encoder = xl.encoder("timm/resnet10t", pretrained=False)
    assert encoder.dim == 512 and encoder.channels == 3
    tagged = xl.encoder("resnet10t.c3_in1k", pretrained=False)
    assert tagged.dim == 512 and tagged.name == "resnet10t.c3_in1k"
    with pytest.raises(ArgumentError, match="'timm/NAME'"):
        xl.encoder("someone/some-text-model", size=64)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_small_patch14_dinov2"])
def test_vision_transformers_of_timm_are_read_in_depth(name):
    encoder = xl.encoder(name, pretrained=False, read="depth")
    assert len(encoder.blocks) < 13 and encoder.dim % 2 == 0 and encoder.dim > 384
