import pytest
import torch
from torch import nn

import xferlab as xl
from xferlab.attribution import grad_cam
from xferlab.errors import ArgumentError
from xferlab.probes import make_deep


class TwoChannels(nn.Module):
    """Feature 0 is the mean of the image's left half in channel 0, feature 1 of its right half in channel 1."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1, bias=False)
        self.conv.weight.data = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).view(2, 3, 1, 1)

    def forward(self, x):
        return torch.relu(self.conv(x)).mean((2, 3))


@pytest.fixture
def model():
    model = xl.Classifier(xl.encoder(TwoChannels(), size=8, mean=(0.0,), std=(1.0,)), ("left", "right"))
    model.head.weight.data, model.head.bias.data = torch.eye(2), torch.zeros(2)
    return model


@pytest.fixture
def image():
    image = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    image[0, 0, :, :4] = 200  # speaks for "left"
    image[0, 1, :, 4:] = 100  # speaks for "right"
    return image


@pytest.mark.parametrize("k", [0, 1])
def test_the_map_is_where_the_class_is(k, model, image):
    cam = grad_cam(model, image, classes=torch.tensor([k]))[0]
    half = torch.zeros(8, 8)
    half[:, :4] = 1
    torch.testing.assert_close(cam, half if k == 0 else 1 - half)


def test_frozen_model_and_modes_are_left_as_they_were(model, image):
    model.requires_grad_(False).train()
    assert grad_cam(model, image).max() == 1  # the prediction, "left"
    assert model.training and not model.head.weight.requires_grad and model.encoder.body.conv.weight.grad is None


def test_nothing_speaks_for_a_class(model):
    assert grad_cam(model, torch.zeros(2, 3, 8, 8, dtype=torch.uint8)).abs().max() == 0


def test_the_map_of_a_model_that_turns_its_pictures_lies_on_the_picture_as_it_is(own):
    model = own()
    make_deep(model)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    image = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    upright = grad_cam(model, image, classes=torch.tensor([0]))
    model.encoder.body.symmetric.fill_(True)
    torch.testing.assert_close(grad_cam(model, image, classes=torch.tensor([0])), upright)


def test_a_layer_without_space(own):
    with pytest.raises(ArgumentError, match="layers that have one: stem, deep"):
        grad_cam(own(), torch.zeros(1, 3, 16, 16, dtype=torch.uint8), layer="project")
