import math

import pytest
import torch

import xferlab as xl
from xferlab import augment
from xferlab.augment import (
    FDA,
    STAINS,
    Blur,
    ColorJitter,
    Crop,
    CutMix,
    Erase,
    Flip,
    MixStyle,
    MixUp,
    Noise,
    RandAugment,
    RandomResizedCrop,
    Rotate,
    Rotate90,
    Sides,
    Stain,
    concentrations,
    corruptions,
    fda,
)
from xferlab.errors import ArgumentError, DataError

ONE_SIDED = [
    Crop(3),
    Flip(True, True),
    Rotate90(),
    Rotate(40),
    RandomResizedCrop(),
    ColorJitter(),
    Stain(),
    Stain(0.3, "giemsa"),
    Blur((0.3, 2)),
    Noise(20),
    Erase((0.1, 0.4)),
    RandAugment(),
]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise_images(batch=6, channels=3, height=16, width=16, seed=0):
    return torch.randint(0, 256, (batch, channels, height, width), dtype=torch.uint8, generator=seeded(seed))


def smooth_images(batch=8, channels=3, size=32):
    """Blurred noise around mid grey: something every corruption has room to change."""
    images = Blur((2, 2))(torch.rand(batch, channels, size, size, generator=seeded(1)) * 255, seeded())
    return ((images - images.mean()) * 3 + 128).clamp(20, 235).to(torch.uint8)


def one_image_repeated(channels, batch=12):
    return noise_images(1, channels).expand(batch, -1, -1, -1)


@pytest.mark.parametrize("op", ONE_SIDED, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_each_sample_has_its_own_draw_and_the_seed_repeats_it(op, channels):
    same = one_image_repeated(channels)
    out = op(same, seeded(5))
    assert out.dtype == torch.uint8 and out.shape == same.shape
    assert len(torch.unique(out, dim=0)) >= 3  # a draw a batch would give one
    assert torch.equal(out, op(same, seeded(5)))
    assert not torch.equal(out, op(same, seeded(6)))


@pytest.mark.parametrize("op", ONE_SIDED, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_float_in_float_out_empty_one_image_and_oblong(op, channels):
    images = noise_images(channels=channels, height=12, width=20)
    out = op(images.float(), seeded())
    assert out.dtype == torch.float32 and out.min() >= 0 and out.max() <= 255
    # Rounding is the only difference; RandAugment rounds between its two operations.
    assert (out - op(images, seeded()).float()).abs().max() <= (30 if isinstance(op, RandAugment) else 0.5001)
    assert op(images[:0], seeded()).shape == (0, channels, 12, 20)
    assert op(images[:1], seeded()).shape == (1, channels, 12, 20)
    original = images.clone()
    op(images, seeded())
    assert torch.equal(images, original)


IDENTITIES = [
    Crop(0),
    Flip(False, False),
    Rotate(0),
    RandomResizedCrop((1, 1), (1, 1)),
    ColorJitter(0, 0, 0, 0),
    Stain(0),
    Stain(0, "giemsa"),
    Blur((0, 0)),
    Noise(0),
    Erase((0, 0)),
    RandAugment(3, magnitude=0),
]


@pytest.mark.parametrize("op", IDENTITIES, ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_no_strength_is_the_identity(op, channels):
    every_value = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(3, channels, 16, 16)
    images = torch.cat([every_value, noise_images(3, channels)])
    assert torch.equal(op(images, seeded()), images)


def test_stain_at_strength_zero_is_exact_in_float_too():
    images = torch.rand(4, 3, 8, 8, generator=seeded()) * 255
    assert torch.equal(Stain(0)(images, seeded()), images)


def test_crop_is_a_window_of_the_reflected_padding():
    images = noise_images(40, height=9, width=7)
    out = Crop(2)(images, seeded())
    padded = torch.nn.functional.pad(images.float(), (2, 2, 2, 2), mode="reflect").byte()
    windows = {(y, x): padded[:, :, y : y + 9, x : x + 7] for y in range(5) for x in range(5)}
    found = [[at for at, w in windows.items() if torch.equal(w[i], out[i])] for i in range(40)]
    assert all(len(at) == 1 for at in found)
    # Both axes move, apart, to both ends.
    assert {y for ((y, _),) in found} == {x for ((_, x),) in found} == set(range(5))
    assert any(y != x for ((y, x),) in found)


def test_flips_are_drawn_apart():
    images = noise_images(64)
    views = {"": images, "h": images.flip(3), "v": images.flip(2), "hv": images.flip(2, 3)}

    def seen(op):
        out = op(images, seeded())
        return [next(name for name, view in views.items() if torch.equal(view[i], out[i])) for i in range(64)]

    assert set(seen(Flip(True, True))) == {"", "h", "v", "hv"}
    assert set(seen(Flip(True, False))) == {"", "h"}
    assert set(seen(Flip(False, True))) == {"", "v"}
    assert 20 < seen(Flip()).count("h") < 44


def test_rotate90_is_exact_and_keeps_oblong_shapes():
    images = noise_images(40)
    out = Rotate90()(images, seeded())
    turns = [[k for k in range(4) if torch.equal(images[i].rot90(k, (1, 2)), out[i])] for i in range(40)]
    assert {k for (k,) in turns} == {0, 1, 2, 3}
    oblong = noise_images(20, height=6, width=9)
    out = Rotate90()(oblong, seeded())
    assert all(torch.equal(o, i) or torch.equal(o, i.flip(1, 2)) for o, i in zip(out, oblong, strict=True))
    assert not torch.equal(out, oblong)


def test_rotate_moves_a_dot_by_its_angle_without_shear():
    """In an oblong image a dot off both axes keeps its distance from the centre; angles fill the bound."""
    images = torch.zeros(60, 1, 41, 61)
    images[:, :, 20 + 9, 30 + 12] = 255.0  # 15 from the centre (20, 30)
    out = Rotate(30)(images, seeded())[:, 0]
    y, x = torch.arange(41.0)[:, None] - 20, torch.arange(61.0) - 30
    mass = out.sum((1, 2))
    cy, cx = (out * y).sum((1, 2)) / mass, (out * x).sum((1, 2)) / mass
    assert torch.allclose(torch.hypot(cy, cx), torch.full((60,), 15.0), atol=0.3)
    angles = torch.rad2deg(torch.atan2(cy, cx)) - math.degrees(math.atan2(9, 12))
    assert angles.abs().max() < 31 and angles.min() < -20 and angles.max() > 20


def test_resized_crop_of_a_ramp_is_a_shallower_ramp():
    """On a horizontal ramp, the window's slope is the square root of its share of the area, and it stays inside."""
    ramp = torch.arange(32.0).expand(50, 1, 32, 32) * 8
    out = RandomResizedCrop((0.25, 0.25), (1, 1))(ramp, seeded())[:, 0]
    slope = out[:, :, 1:] - out[:, :, :-1]
    assert torch.allclose(slope[:, :, 1:-1], torch.tensor(4.0), atol=0.01)
    assert out[:, 0, 0].std() > 10  # the window moves
    down = RandomResizedCrop((0.25, 0.25), (1, 1))(ramp.transpose(2, 3), seeded())[:, 0]
    assert down[:, 0, 0].std() > 10 and not torch.allclose(
        down[:, 0, 0], out[:, 0, 0], atol=5
    )  # and on each axis apart
    scales = RandomResizedCrop((0.25, 1.0), (1, 1))(ramp, seeded())[:, 0]
    slopes = (scales[:, 0, 17] - scales[:, 0, 15]) / 16
    assert slopes.min() > 0.49 and slopes.max() <= 1.01 and slopes.std() > 0.05


def test_color_jitter_one_factor_at_a_time():
    images = noise_images(5).float() * 0.3 + 90  # nothing clips
    luma = torch.tensor(augment.batch.LUMA)[:, None, None]
    ratio = ColorJitter(0.3, 0, 0, 0)(images, seeded()) / images
    assert torch.allclose(ratio, ratio[:, :1, :1, :1].expand_as(ratio)) and ratio.std() > 0.05
    ratio = ColorJitter(0, 0, 0, 0.3)(images, seeded()) / images
    assert torch.allclose(ratio, ratio[:, :, :1, :1].expand_as(ratio)) and ratio[:, :, 0, 0].std(1).min() > 0.005
    out = ColorJitter(0, 0.3, 0, 0)(images, seeded())
    means = [(x * luma).sum(1).mean((1, 2)) for x in (images, out)]
    assert torch.allclose(*means, atol=1e-2) and not torch.allclose(out, images, atol=1)
    out = ColorJitter(0, 0, 0.3, 0)(images, seeded())
    assert torch.allclose((out * luma).sum(1), (images * luma).sum(1), atol=1e-2)
    assert not torch.allclose(out, images, atol=1)


def test_color_jitter_on_gray_leaves_saturation_and_gains_out():
    gray = noise_images(channels=1)
    assert torch.equal(ColorJitter(0, 0, 0.9, 0.9)(gray, seeded()), gray)
    equal_channels = gray.expand(-1, 3, -1, -1)
    out = ColorJitter(0.3, 0.3, 0.3, 0)(equal_channels, seeded()).int()
    assert (out - ColorJitter(0.3, 0.3, 0, 0)(gray, seeded()).int()).abs().max() <= 1


def test_concentrations_agree_with_scikit_image():
    data = pytest.importorskip("skimage.data", reason="scikit-image comes with the extra 'labs'")
    from skimage.color import rgb2hed

    tissue = torch.from_numpy(data.immunohistochemistry()[100:164, 100:164].copy())
    ours = concentrations(tissue.permute(2, 0, 1)[None])[0].permute(1, 2, 0)
    # scikit-image takes the logarithm to the base 1e-6, hence the 6, and cuts negative amounts off.
    theirs = 6 * torch.from_numpy(rgb2hed((tissue.double() + 1).numpy() / 256))
    assert (theirs > 0.1).float().mean() > 0.2
    assert torch.allclose(ours.clamp(min=0).double(), theirs, atol=1e-4)


@pytest.mark.parametrize("stains", STAINS)
def test_stain_changes_each_amount_by_one_line_a_sample(stains):
    """Amounts before and after lie on a line c' = a c + b, one for each sample and stain, with a and b in bounds."""
    images = 60 + 120 * torch.rand(6, 3, 16, 16, generator=seeded())
    before = concentrations(images, stains).flatten(2)
    after = concentrations(Stain(0.2, stains)(images, seeded()), stains).flatten(2)
    x, y = before - before.mean(2, keepdim=True), after - after.mean(2, keepdim=True)
    a = (x * y).sum(2, keepdim=True) / (x * x).sum(2, keepdim=True)
    b = after.mean(2, keepdim=True) - a * before.mean(2, keepdim=True)
    assert torch.allclose(a * before + b, after, atol=1e-4)
    assert (a - 1).abs().max() < 0.2 and b.abs().max() < 0.04
    assert a.std(0).min() > 0.02 and b.std(0).min() > 0.004


def test_giemsa_third_vector_is_orthogonal():
    a, b, c = torch.tensor(STAINS["giemsa"])
    assert abs(a @ c) < 1e-3 and abs(b @ c) < 1e-3 and abs(c.norm() - 1) < 1e-3


def test_blur_is_the_gaussian_of_its_sigma_and_keeps_the_mean():
    dot = torch.zeros(1, 1, 33, 33)
    dot[0, 0, 16, 16] = 255
    out = Blur((1.5, 1.5))(dot, seeded())[0, 0]
    at = torch.arange(33.0) - 16
    gauss = torch.exp(-(at**2) / (2 * 1.5**2)) / (1.5 * math.sqrt(2 * math.pi))
    assert torch.allclose(out, 255 * gauss[:, None] * gauss, atol=0.05)
    flat = torch.full((2, 3, 8, 8), 77, dtype=torch.uint8)
    assert torch.equal(Blur((0, 3))(flat, seeded()), flat)


def test_noise_has_the_bounded_std_and_differs_by_sample():
    out = Noise(30)(torch.full((20, 1, 64, 64), 128.0), seeded())
    stds = out.std((1, 2, 3))
    assert stds.max() < 31 and stds.max() > 20 and stds.min() < 10 and (out.mean() - 128).abs() < 1


def test_erase_paints_one_box_within_its_share():
    images = noise_images(30).float() / 2
    changed = (Erase((0.1, 0.25))(images, seeded()) != images).any(1)
    share = changed.float().mean((1, 2))
    assert share.max() <= 0.25 and share.mean() > 0.05
    box = changed.any(2, keepdim=True) & changed.any(1, keepdim=True)
    assert (changed != box).float().mean() < 1e-3


def test_randaugment_draws_the_operation_a_sample():
    def black(images, _):
        return images * 0

    def white(images, _):
        return images * 0 + 255

    out = RandAugment(1, ops=(black, white))(noise_images(40), seeded())
    assert set(out.flatten(1).unique(dim=0)[:, 0].tolist()) == {0, 255}
    assert ((out == 0) | (out == 255)).all()


# ---- joint ----


def sides(batch=5, classes=4, **changes):
    labels = torch.arange(batch) % classes
    images = noise_images(batch, height=8, width=8), noise_images(7, height=8, width=8, seed=1)
    return Sides(
        **{
            "source_inputs": images[0],
            "source_labels": labels,
            "target_inputs": images[1],
            "classes": classes,
            **changes,
        }
    )


def test_mixup_mixes_pixels_and_labels_by_the_same_weight():
    """Each image is its label's colour, so the label can be read off the mixed pixels."""
    colours = torch.tensor([0, 255], dtype=torch.uint8)
    labels = torch.arange(64) % 2
    flat = colours[labels][:, None, None, None].expand(-1, 1, 4, 4)
    out = MixUp(1.0)(Sides(flat, labels, None, 2), seeded())
    assert out.source_inputs.dtype == torch.float32
    assert torch.allclose(out.source_inputs[:, 0, 0, 0] / 255, out.source_labels[:, 1], atol=1e-6)
    assert torch.allclose(out.source_labels.sum(1), torch.ones(64))
    between = (out.source_labels[:, 1] > 0.01) & (out.source_labels[:, 1] < 0.99)
    assert between.sum() > 15 and len(out.source_labels[between, 1].unique()) == between.sum()


def test_cutmix_label_weights_are_exact_pixel_shares():
    """64 pixels, so that shares are exact in binary: the labels must equal the counts, not nearly."""
    labels = torch.arange(40)
    flat = labels.to(torch.uint8)[:, None, None, None].expand(-1, 3, 8, 8)
    out = CutMix(1.0)(Sides(flat, labels, None, 40), seeded())
    shares = torch.stack([(out.source_inputs[:, 0] == k).float().mean((1, 2)) for k in range(40)], 1)
    assert torch.equal(out.source_labels, shares)
    assert out.source_inputs.dtype == torch.uint8
    assert len(shares.amax(1).unique()) > 8 and (shares > 0).sum(1).max() == 2


@pytest.mark.parametrize("op", [MixUp(1.0), CutMix()], ids=str)
def test_mixing_takes_multi_labels_one_image_and_none(op):
    multi = torch.tensor([[1.0, 1, 0], [0, 0, 0], [0, 1, 1]])
    out = op(Sides(noise_images(3), multi.double()), seeded())
    assert out.source_labels.shape == (3, 3) and out.source_labels.max() <= 1
    single = sides(1)
    out = op(single, seeded())
    assert torch.equal(out.source_inputs.byte(), single.source_inputs)
    assert torch.equal(out.source_labels, torch.tensor([[1.0, 0, 0, 0]]))
    assert op(sides(0), seeded()).source_labels.shape == (0, 4)


@pytest.mark.parametrize("size", [(16, 16), (15, 20)])
def test_fda_swaps_only_low_frequency_amplitude(size):
    source, target = (noise_images(2, height=size[0], width=size[1], seed=s).double() for s in (1, 2))
    spectra = [torch.fft.fftshift(torch.fft.fft2(x), (-2, -1)) for x in (source, target, fda(source, target, 0.2))]
    reach = math.floor(0.2 * min(size))
    cy, cx = size[0] // 2, size[1] // 2
    low = torch.zeros(size, dtype=torch.bool)
    low[cy - reach : cy + reach + 1, cx - reach : cx + reach + 1] = True
    assert reach == 3
    amplitudes = [s.abs() for s in spectra]
    assert torch.allclose(amplitudes[2], torch.where(low, amplitudes[1], amplitudes[0]))
    phase = spectra[2] / amplitudes[2] - spectra[0] / amplitudes[0]
    assert phase.abs().max() < 1e-9


def test_fda_towards_itself_is_the_identity_and_below_one_cycle_swaps_the_mean():
    a, b = (noise_images(2, seed=s).double() for s in (1, 2))
    assert torch.allclose(fda(a, a, 0.3), a)
    expected = a - a.mean((2, 3), keepdim=True) + b.mean((2, 3), keepdim=True)
    assert torch.allclose(fda(a, b, 0.01), expected)


@pytest.mark.parametrize("op", [FDA(0.1), MixStyle(1.0, p=1.0)], ids=str)
def test_style_draws_a_sample_and_leaves_labels_and_target(op):
    before = sides(12, source_inputs=noise_images(1, height=8, width=8).expand(12, -1, -1, -1))
    after = op(before, seeded())
    assert after.source_labels is before.source_labels and after.target_inputs is before.target_inputs
    assert after.source_inputs.dtype == torch.uint8
    assert len(after.source_inputs.unique(dim=0)) >= 4
    assert torch.equal(after.source_inputs, op(before, seeded()).source_inputs)


@pytest.mark.parametrize("style", [FDA(0.1, p=0.5), MixStyle(1.0, p=0.5)], ids=str)
def test_style_with_a_probability_spares_some_samples(style):
    before = sides(40)
    spared = (style(before, seeded()).source_inputs == before.source_inputs).flatten(1).all(1)
    assert 8 < spared.sum() < 32


def test_mixstyle_moves_the_statistics_along_the_line_between_two_images():
    source = 100 + 10 * torch.randn(10, 3, 16, 16, generator=seeded())
    target = 150 + 20 * torch.randn(1, 3, 16, 16, generator=seeded(1))
    out = MixStyle(1.0, p=1.0)(Sides(source, None, target), seeded()).source_inputs
    new, own, other = ([*torch.std_mean(x, (2, 3), correction=0)] for x in (out, source, target))
    by_std, by_mean = ((n - o) / (t - o) for n, o, t in zip(new, own, other, strict=True))
    assert torch.allclose(by_std, by_mean, atol=1e-3)  # one weight a sample for both, and for all channels
    assert by_mean.std(1).max() < 1e-3 and by_mean[:, 0].std() > 0.1 and 0 <= by_mean.min() and by_mean.max() <= 1
    rest = (out - out.mean((2, 3), keepdim=True)) / out.std((2, 3), keepdim=True)
    assert torch.allclose(
        rest, (source - source.mean((2, 3), keepdim=True)) / source.std((2, 3), keepdim=True), atol=1e-3
    )


def test_mixstyle_without_a_target_mixes_within_the_source():
    flat = torch.tensor([0.0, 100, 200])[:, None, None, None] + torch.arange(16.0).view(1, 1, 4, 4)
    out = augment.apply([MixStyle(1.0, p=1.0)], flat.expand(3, 1, 4, 4), seeded())
    assert out.shape == flat.shape and not torch.allclose(out, flat)


# ---- pipelines ----


def test_apply_runs_in_order_on_both_sides_with_separate_draws():
    def add(images, _):
        return images + 1

    def double(images, _):
        return images * 2

    x = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)
    assert augment.apply([add, double], x, seeded()).unique().tolist() == [2]
    same = noise_images(16)
    labels = torch.arange(16)
    out = augment.apply([Flip(), Crop(2)], Sides(same, labels, same, 16), seeded())
    assert out.source_labels is labels and not torch.equal(out.source_inputs, out.target_inputs)
    assert augment.apply([Flip()], Sides(same), seeded()).target_inputs is None


def test_apply_mixes_kinds():
    out = augment.apply([Crop(1), FDA(0.1), Flip(), MixUp()], sides(), seeded())
    assert out.source_inputs.is_floating_point() and out.target_inputs.dtype == torch.uint8
    assert out.source_labels.shape == (5, 4)


@pytest.mark.parametrize(
    "pipeline",
    [augment.weak(28), augment.strong(28), augment.smear(), augment.digits()],
    ids=["weak", "strong", "smear", "digits"],
)
def test_presets_change_images_and_repeat(pipeline):
    images = noise_images(8, height=28, width=28)
    out = augment.apply(pipeline, images, seeded())
    assert out.dtype == torch.uint8 and not torch.equal(out, images)
    assert torch.equal(out, augment.apply(pipeline, images, seeded()))


def test_digits_never_mirrors_or_turns_over():
    corner = torch.zeros(50, 1, 28, 28, dtype=torch.uint8)
    corner[:, :, 5:9, 5:9] = 255
    out = augment.apply(augment.digits(), corner, seeded()).float()
    assert (out[:, :, :14, :14].sum((1, 2, 3)) > 0.9 * out.sum((1, 2, 3))).all()


# ---- corruptions ----


@pytest.mark.parametrize("name", corruptions)
@pytest.mark.parametrize("channels", [1, 3])
def test_corruptions_worsen_with_severity_and_repeat(name, channels):
    images = smooth_images(channels=channels)
    outs = [corruptions[name](images, severity, seeded()) for severity in range(1, 6)]
    distance = [(out.float() - images.float()).pow(2).mean().item() for out in outs]
    assert all(out.dtype == torch.uint8 and out.shape == images.shape for out in outs)
    if name in ("saturated", "faded") and channels == 1:
        assert distance == [0] * 5
    else:
        assert distance[0] > 0 and distance == sorted(distance) and len(set(distance)) == 5
    assert torch.equal(outs[2], corruptions[name](images, 3, seeded()))
    assert corruptions[name](images[:0], 1, seeded()).shape == images[:0].shape


@pytest.mark.parametrize("name", ["motion_blur", "gaussian_noise", "shot_noise", "stain_deposit", "bubble"])
def test_random_corruptions_differ_by_sample(name):
    same = smooth_images(1).expand(6, -1, -1, -1)
    assert len(corruptions[name](same, 4, seeded()).unique(dim=0)) == 6


def test_defocus_spreads_a_dot_over_its_disc():
    dot = torch.zeros(1, 1, 101, 101)
    dot[0, 0, 50, 50] = 255
    out = corruptions["defocus"](dot, 5, seeded())[0, 0]
    y = torch.arange(101.0) - 50
    distance, radius = torch.hypot(y[:, None], y), 0.085 * 101
    inside = out[distance < radius - 2]
    assert inside.mean() == pytest.approx(255 / (math.pi * radius**2), rel=0.05)
    assert out[distance > radius + 2].mean() < 0.03 * inside.mean()


# ---- what is refused ----


@pytest.mark.parametrize(
    "make",
    [
        lambda: Crop(-1),
        lambda: Crop(1.5),
        lambda: Rotate(200),
        lambda: RandomResizedCrop((0.9, 0.5)),
        lambda: RandomResizedCrop(0.5),
        lambda: ColorJitter(brightness=2),
        lambda: Stain(-0.1),
        lambda: Stain(stains="h&e"),
        lambda: Blur((-1, 1)),
        lambda: Noise(float("nan")),
        lambda: Erase((0.5, 1.5)),
        lambda: RandAugment(0),
        lambda: RandAugment(magnitude=11),
        lambda: MixUp(0),
        lambda: CutMix(-1),
        lambda: FDA(0.7),
        lambda: MixStyle(p=2),
        lambda: augment.weak(4),
        lambda: concentrations(noise_images(), "pas"),
        lambda: corruptions["jpeg"](noise_images(), 6, seeded()),
        lambda: augment.apply(Flip(), noise_images(), seeded()),
        lambda: augment.apply([3], noise_images(), seeded()),
        lambda: Flip()(noise_images(), 0),
    ],
)
def test_arguments_out_of_range_are_refused(make):
    with pytest.raises(ArgumentError, match="expected"):
        make()


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(2, 5, dtype=torch.int64),
        torch.zeros(3, 8, 8),
        torch.zeros(2, 8, 8, 3),
        torch.zeros(2, 3, 8, 8, dtype=torch.int32),
        [1, 2],
        None,
    ],
    ids=["tokens", "one image", "channels last", "int32", "list", "none"],
)
def test_other_inputs_are_refused(images):
    for op in (Flip(), lambda x, g: corruptions["darker"](x, 1, g)):
        with pytest.raises(DataError, match="expected"):
            op(images, seeded())
    if images is not None:
        with pytest.raises(DataError, match="expected"):
            augment.apply([Flip()], images, seeded())


@pytest.mark.parametrize(
    "op, batch",
    [
        (Crop(8), noise_images(height=8, width=8)),
        (MixUp(), noise_images()),
        (MixUp(), sides(source_labels=torch.arange(3))),
        (CutMix(), sides(classes=4, source_labels=None)),
        (MixUp(), Sides(noise_images(2), torch.arange(2))),
        (FDA(), noise_images()),
        (FDA(), sides(target_inputs=noise_images(2, channels=1, height=8, width=8))),
        (FDA(), sides(target_inputs=noise_images(0, height=8, width=8))),
        (MixStyle(), sides(target_inputs=noise_images(2))),
        (MixStyle(), Sides(None, None, noise_images())),
    ],
)
def test_batches_an_operation_cannot_use_are_refused(op, batch):
    with pytest.raises(DataError):
        augment.apply([op], batch, seeded())


@pytest.mark.parametrize(
    ("kind", "moves"), [("upright", False), ("mirror", False), ("digits", False), ("any_way_up", True)]
)
def test_no_default_view_turns_what_has_a_top(kind, moves):
    """A wedge whose bright corner tells which way up it is: only where nothing is up may it move to another quarter."""
    x = torch.zeros(64, 1, 32, 32, dtype=torch.uint8)
    x[:, :, 4:12, 4:12] = 200
    domain = xl.Domain(x, None, (), augmentation=kind)
    pipelines = [
        augment.default(domain),
        augment.weak(32, kind),
        augment.strong(32, kind)[: len(augment.weak(32, kind))],
    ]
    for pipeline in pipelines:
        seen = augment.apply(pipeline, x, torch.Generator().manual_seed(0)).float()
        corners = seen.unfold(2, 16, 16).unfold(3, 16, 16).mean((1, 4, 5)).flatten(1).argmax(1)
        assert set(corners.tolist()) == ({0, 1, 2, 3} if moves else {0, 1} if kind == "mirror" else {0})


def test_default_takes_what_all_domains_allow():
    picture = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)

    def domain(kind):
        return xl.Domain(picture, None, (), augmentation=kind)

    assert augment.default(domain("any_way_up"), domain("digits")) == augment.digits()
    assert augment.default(domain("any_way_up"), domain("none")) is None
    assert augment.default(xl.Domain(torch.ones(2, 5, dtype=torch.int64), None, ())) == [augment.DropTokens(0.1)]
    assert augment.default(xl.Domain(picture[..., :4, :4], None, ())) is None, "a shift of one pixel is no small one"
    assert xl.load("digits/optdigits").train.augmentation == "digits"
    with pytest.raises(DataError, match="augmentation is 'upside_down', expected one of upright"):
        domain("upside_down")
