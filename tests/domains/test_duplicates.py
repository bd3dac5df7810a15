import io

import numpy as np
import pytest
import torch
from PIL import Image

from xferlab.domains import Domain, Splits, load
from xferlab.domains.duplicates import near_duplicates, warn_near_duplicates
from xferlab.errors import DataError


def pictures(n, seed, size=32):
    """Smooth noise with a little colour, uint8 (n, 3, size, size)."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 1, 6, 6, generator=generator) * 225 + torch.rand(n, 3, 6, 6, generator=generator) * 30
    return torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear").to(torch.uint8)


def splits(train, val, test):
    return Splits(*(Domain(images, None, ("a", "b"), name="site") for images in (train, val, test)))


def recompressed(image, quality=75):
    file = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)


def test_copies_and_recompressed_copies_are_found_where_they_are():
    train, val, test = pictures(40, 0), pictures(10, 1), pictures(300, 2)
    test[3] = train[17]
    test[280] = recompressed(val[4])
    val[9] = (train[0].int() + 2).clamp(0, 255).to(torch.uint8)
    found = near_duplicates(splits(train, val, test))
    assert sorted(found) == [("train", 0, "val", 9), ("train", 17, "test", 3), ("val", 4, "test", 280)]


def test_blank_pictures_and_other_brightness_are_not_copies():
    blank = torch.zeros(5, 3, 32, 32, dtype=torch.uint8)
    train = torch.cat([pictures(5, 0), blank])
    darker = (pictures(5, 0) // 2).to(torch.uint8)  # the same pattern, but no copy of the pixels
    assert near_duplicates(splits(train, blank, darker)) == []


def test_unlike_pictures_are_not_reported():
    # blobs in nearly one place, as centred cells are, differ by their texture
    y, x = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    blob = 200 * torch.exp(-((x - 16) ** 2 + (y - 16) ** 2) / 60.0)

    def texture(seed):
        return pictures(50, seed).float() * 0.2

    made = [(blob + texture(seed)).clamp(0, 255).to(torch.uint8) for seed in range(3)]
    assert near_duplicates(splits(*made)) == []


def test_padding_makes_no_copies_and_hides_none():
    """Faint pictures between black bars correlate through the bars alone."""
    faint = 150 + (pictures(4, 0) * 0.05).to(torch.uint8)
    faint[..., :6, :] = faint[..., -6:, :] = 0
    assert near_duplicates(splits(faint[:2], faint[2:3], faint[3:])) == []
    padded = pictures(3, 1)
    padded[..., :6, :] = 0
    assert near_duplicates(splits(padded[:2], padded[2:], padded[1:2])) == [("train", 1, "test", 0)]


def test_digits_do_not_flood():
    assert near_duplicates(load("digits/optdigits")) == []


def test_the_warning_counts_and_is_silent_on_large_sets(monkeypatch, recwarn):
    train = pictures(20, 0)
    made = splits(train, pictures(5, 1), train[:12].clone())
    with pytest.warns(UserWarning, match=r"12 of test in train\): train\[0\] and test\[0\].*; \.\.\."):
        warn_near_duplicates(made)
    recwarn.clear()
    monkeypatch.setattr("xferlab.domains.duplicates.CHECKED", 10)
    warn_near_duplicates(made)
    assert not recwarn


def test_tokens_have_no_pictures_to_compare():
    tokens = Domain(torch.ones(4, 5, dtype=torch.int64), None, ("a", "b"))
    with pytest.raises(DataError, match=r"compares images"):
        near_duplicates(Splits(tokens, tokens, tokens))
