"""Objectives without labels: NT-Xent against a loop, rotations that are what they say, masks and masked errors."""

import math

import pytest
import torch
from torch import nn

from xferlab.domains import Domain
from xferlab.encoders import Classifier, Encoder
from xferlab.errors import ArgumentError
from xferlab.objectives import Batch, Step
from xferlab.objectives.pretraining import (
    MaskedAutoencoder,
    RotationPrediction,
    SimCLR,
    masked_error,
    nt_xent,
    patch_mask,
    rotate,
)


def tiny():
    """8 px gray images, two blocks with maps 8x8 and 4x4 and a linear one without, D = 5."""
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU()),
        nn.Sequential(nn.Conv2d(4, 6, 3, padding=1, stride=2), nn.ReLU()),
        nn.Sequential(nn.Flatten(), nn.Linear(6 * 16, 5), nn.ReLU()),
    )
    return Classifier(Encoder(body, name="tiny", channels=1, size=8), ("a", "b"))


def images(n=6, seed=1):
    return torch.randint(0, 256, (n, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def domain(n=6):
    return Domain(images(n), None, ("a", "b"))


def batch(model, x):
    z = model.features(x)
    return Batch(x, None, z, model.head(z))


def step(model, side="source", views=None):
    now = batch(model, images())
    return Step(model, now if side == "source" else None, now if side == "target" else None, 0.5, views)


def test_nt_xent_on_a_worked_two_pair_example():
    # unit vectors at 0, 90 and 0, 180 degrees: cosines are 1, 0 and -1
    za, zb = torch.tensor([[2.0, 0.0], [0.0, 3.0]]), torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    e = [math.exp(s / 0.5) for s in (1, 0, -1)]
    one = -math.log(e[0] / (e[0] + e[1] + e[2]))  # za0: zb0 at 1, za1 at 0, zb1 at -1; zb0 sees the same
    two = -math.log(e[1] / (3 * e[1]))  # za1 is at a right angle to everything
    last = -math.log(e[1] / (e[1] + 2 * e[2]))  # zb1: za1 at 0, za0 and zb0 at -1
    assert nt_xent(za, zb, 0.5).item() == pytest.approx((2 * one + two + last) / 4, rel=1e-5)


def test_nt_xent_against_a_loop():
    generator = torch.Generator().manual_seed(0)
    za, zb = (torch.randn(5, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    z, total = torch.cat([za, zb]), 0.0
    for i in range(10):
        cosine = [torch.dot(z[i], z[k]).item() / (z[i].norm() * z[k].norm()).item() for k in range(10)]
        others = sum(math.exp(cosine[k] / 0.2) for k in range(10) if k != i)
        total -= math.log(math.exp(cosine[(i + 5) % 10] / 0.2) / others)
    assert nt_xent(za, zb, 0.2).item() == pytest.approx(total / 10)
    assert nt_xent(zb, 7 * za, 0.2).item() == pytest.approx(total / 10)  # symmetric, blind to length


@pytest.mark.parametrize("side", ["source", "target"])
def test_simclr_compares_the_step_with_its_strong_view_on_its_side(side):
    model, objective = tiny(), SimCLR(on=side, dim=7, temperature=0.3)
    objective.setup(model, domain(), domain())
    asked, other = [], images(seed=2)

    def views(name, on):
        asked.append((name, on))
        return batch(model, other)

    loss = objective(step(model, side, views))
    assert asked == [("strong", side)] and objective.needs == {side}
    za, zb = (objective.projection(model.features(x)) for x in (images(), other))
    assert za.shape == (6, 7) and loss.item() == pytest.approx(nt_xent(za, zb, 0.3).item(), rel=1e-5)
    loss.backward()
    assert model.encoder.body[0][0].weight.grad.abs().sum() > 0 and model.head.weight.grad is None
    assert all(p.grad.abs().sum() > 0 for p in objective.parameters())


@pytest.mark.parametrize("copies", [1, 2, 4])
def test_rotations_are_what_their_labels_say(copies):
    x = images(7)
    rotated, turns = rotate(x, copies)
    assert rotated.dtype == torch.uint8 and len(rotated) == len(turns) == 7 * copies
    for row, turn in enumerate(turns.tolist()):
        assert torch.equal(rotated[row], torch.rot90(x[row % 7], turn, dims=(1, 2)))
    assert turns.bincount(minlength=4).min() >= 7 * copies // 4
    by_image = turns.view(copies, 7).T.tolist()
    assert all(len(set(row)) == copies for row in by_image)


def test_a_quarter_turn_is_anticlockwise():
    x = torch.zeros(2, 1, 2, 2)
    x[:, 0, 0, 1] = 1  # top right
    rotated, turns = rotate(x, copies=1)
    assert turns.tolist() == [0, 1] and rotated[1, 0].tolist() == [[1.0, 0.0], [0.0, 0.0]]  # top left


def test_rotation_prediction_is_the_cross_entropy_of_its_own_head():
    model, objective = tiny(), RotationPrediction(copies=2)
    objective.setup(model, domain(), None)
    loss = objective(step(model))
    rotated, turns = rotate(images(), 2)
    log_p = objective.head(model.features(rotated)).log_softmax(1)
    assert loss.item() == pytest.approx(-log_p[torch.arange(12), turns].mean().item(), rel=1e-5)
    assert objective.log()["accuracy"].item() == pytest.approx((log_p.argmax(1) == turns).float().mean().item())
    loss.backward()
    assert model.encoder.body[0][0].weight.grad.abs().sum() > 0 and objective.head.weight.grad.abs().sum() > 0
    assert model.head.weight.grad is None


def test_rotation_prediction_learns_which_way_is_up():
    model, objective = tiny(), RotationPrediction()
    x = torch.zeros(8, 1, 8, 8, dtype=torch.uint8)
    x[:, :, :3] = 255  # bright above
    data = Domain(x, None, ("a", "b"))
    objective.setup(model, data, None)
    optimizer = torch.optim.Adam([*model.parameters(), *objective.parameters()], lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        objective(Step(model, batch(model, x), None, 0.5)).backward()
        optimizer.step()
    assert objective.log()["accuracy"].item() == 1.0


def test_patch_mask_hides_the_ratio_exactly_in_whole_patches_and_differs_between_images():
    torch.manual_seed(0)
    mask = patch_mask(torch.zeros(16, 3, 8, 12), patch=2, ratio=0.6)
    assert mask.shape == (16, 1, 8, 12) and set(mask.unique().tolist()) == {0.0, 1.0}
    assert (mask.sum((1, 2, 3)) == round(0.6 * 24) * 4).all()
    patches = mask.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
    assert (patches == patches[..., :1]).all()
    assert len({tuple(row.flatten().tolist()) for row in mask}) > 8
    again = patch_mask(torch.zeros(2, 1, 7, 7), patch=4, ratio=0.5)  # a patch that does not divide the side is cut
    assert again.shape == (2, 1, 7, 7) and (again.sum((1, 2, 3)) > 0).all()


def test_masked_error_counts_hidden_pixels_only():
    x, mask = torch.full((1, 2, 2, 2), 5.0), torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    pixels = torch.tensor([[[[6.0, 9.0], [9.0, 7.0]], [[8.0, 9.0], [9.0, 5.0]]]], requires_grad=True)
    loss = masked_error(pixels, x, mask)
    assert loss.item() == pytest.approx((1 + 4 + 9 + 0) / 4)
    loss.backward()
    assert (pixels.grad[(mask == 0).expand_as(pixels)] == 0).all() and pixels.grad.abs().sum() > 0


def test_masked_autoencoder_never_shows_the_encoder_what_it_must_reconstruct(monkeypatch):
    model, objective = tiny(), MaskedAutoencoder(patch=2)
    objective.setup(model, domain(), None)
    assert objective.map == "1"  # the last block with a 4x4 map
    seen = []
    model.encoder.body.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    mask = patch_mask(torch.zeros(6, 1, 8, 8), 2, 0.6)
    monkeypatch.setattr("xferlab.objectives.pretraining.patch_mask", lambda *_: mask)
    objective(step(model))
    prepared = model.encoder.prepare(images())
    assert torch.equal(seen[-1], prepared * (1 - mask))
    shown = mask == 0
    assert (seen[-1][~shown] == 0).all() and torch.equal(seen[-1][shown], prepared[shown])


def test_masked_autoencoder_sends_gradient_to_every_layer_and_learns():
    model, objective = tiny(), MaskedAutoencoder(patch=2, width=16)
    x = torch.full((8, 1, 8, 8), 255, dtype=torch.uint8)
    x[::2] = 0  # hidden pixels are those beside them
    data = Domain(x, None, ("a", "b"))
    model.train()
    objective.setup(model, data, None)
    assert model.encoder.body.training  # the dry run leaves modes as they were
    optimizer = torch.optim.Adam([*model.parameters(), *objective.parameters()], lr=0.01)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = objective(Step(model, batch(model, x), None, 0.5))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in objective.parameters())
    assert model.encoder.body[0][0].weight.grad.abs().sum() > 0 and model.encoder.body[2][1].weight.grad.abs().sum() > 0


def strided(stride):
    """8 px gray images, one convolution of this stride, which alone makes a map, and its mean over places."""
    convolution = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1, stride=stride), nn.ReLU())
    body = nn.Sequential(convolution, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    return Classifier(Encoder(body, name="strided", channels=1, size=8), ("a", "b"))


@pytest.mark.parametrize(
    "stride, decoded",
    [((1, 1), (8, 8)), ((2, 2), (8, 8)), ((2, 1), (8, 16)), ((1, 2), (16, 8)), ((1, 3), (24, 9)), ((3, 1), (9, 24))],
)
def test_masked_autoencoder_enlarges_a_map_of_any_shape_to_the_image_or_beyond(stride, decoded):
    model, objective = strided(stride), MaskedAutoencoder(patch=1, width=1)
    objective.setup(model, domain(), None)
    with torch.no_grad():
        places = model.encoder.body[0](torch.zeros(2, 1, 8, 8)).shape[2:]
    assert objective.decoder(torch.zeros(2, 1, *places)).shape == (2, 1, *decoded)
    assert objective(step(model)).isfinite()


def test_masked_autoencoder_takes_the_mean_where_the_decoded_image_is_twice_as_high():
    """Decoded rows of 0 and 2 in turn are 1 at the image's size; white is 1 too, and black is -1."""
    model, objective = strided((1, 2)), MaskedAutoencoder(patch=1)
    objective.setup(model, domain(), None)
    for p in objective.parameters():
        nn.init.zeros_(p)
    with torch.no_grad():
        objective.decoder[1].bias[2:] = 2  # the second row of each 2x2
    for shade, expected in ((255, 0.0), (0, 4.0)):
        x = torch.full((4, 1, 8, 8), shade, dtype=torch.uint8)
        assert objective(Step(model, batch(model, x), None, 0.5)).item() == pytest.approx(expected, abs=1e-6)


def test_masked_autoencoder_takes_a_network_that_flattens_by_view():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.out = nn.Conv2d(1, 2, 3, padding=1), nn.Linear(2 * 64, 5)

        def forward(self, x):
            return self.out(self.conv(x).contiguous().view(len(x), -1))

    model, objective = Classifier(Encoder(Flat(), name="flat", channels=1, size=8), ("a", "b")), MaskedAutoencoder()
    objective.setup(model, domain(), None)
    assert objective.map == "conv" and objective(step(model)).isfinite()


def test_errors_name_what_does_not_fit():
    model = tiny()
    flat = Encoder(nn.Sequential(nn.Flatten(), nn.Linear(64, 5)), name="flat", channels=1, size=8)
    with pytest.raises(ArgumentError, match=r"MaskedAutoencoder got blocks \['1'\]; expected one that puts out a map"):
        MaskedAutoencoder().setup(Classifier(flat, ("a", "b")), domain(), None)
    oblong = Domain(torch.zeros(2, 1, 8, 6, dtype=torch.uint8), None, ("a", "b"))
    with pytest.raises(ArgumentError, match="8x6"):
        RotationPrediction().setup(model, oblong, None)
    words = Domain(torch.ones(2, 5, dtype=torch.int64), None, ("a", "b"), name="notes")
    for make in (RotationPrediction, MaskedAutoencoder):
        with pytest.raises(ArgumentError, match="notes"):
            make().setup(model, words, None)
    assert [RotationPrediction(copies=n).copies for n in (1, 2, 3, 4)] == [1, 2, 3, 4] and SimCLR(dim=1).dim == 1
    for make, bad in (
        (SimCLR, {"temperature": 0}),
        (SimCLR, {"on": "both"}),
        (RotationPrediction, {"copies": 5}),
        (SimCLR, {"dim": 0}),
        (RotationPrediction, {"copies": 0}),
        (MaskedAutoencoder, {"ratio": 1.0}),
        (MaskedAutoencoder, {"ratio": 0.0}),
        (MaskedAutoencoder, {"patch": 0}),
        (MaskedAutoencoder, {"width": 0}),
    ):
        with pytest.raises(ArgumentError, match=make.__name__):
            make(**bad)
