"""One file to pixels: what a quicker way of decoding must not change, and what a file of several pictures gives."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from xferlab.domains import folders


@pytest.mark.parametrize("turn", [1, 3, 6])
@pytest.mark.parametrize("width, height", [(601, 413), (413, 601)])
def test_a_large_jpeg_decoded_at_a_fraction_lies_where_all_its_pixels_would_put_it(tmp_path, turn, width, height):
    """No side divides by 8: a size taken from the fraction would be off by a pixel, 11 gray levels here."""
    down, right = np.mgrid[:height, :width] / 15
    wave = 128 + 60 * np.sin(down)[..., None] + 60 * np.cos(right)[..., None] * (1, 0.5, -1)
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(wave.astype(np.uint8)).save(tmp_path / "a.jpg", quality=95, exif=exif)
    whole = ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg"))
    whole = np.asarray(ImageOps.pad(whole, (40, 40), Image.Resampling.BILINEAR, color=0), np.float32)
    ours = folders.read(tmp_path, size=40)[0].inputs[0].permute(1, 2, 0).float().numpy()
    assert np.abs(ours - whole).mean() < 1.5


@pytest.mark.parametrize("suffix, mode", [("tif", "L"), ("tif", "I;16"), ("gif", "L"), ("webp", "RGB")])
def test_every_page_is_an_example_of_its_files_group(tmp_path, suffix, mode):
    """The pages of b follow those of a, also where they are deep and wait for the collection's scale."""
    for name, values in (("a", (0, 100, 200)), ("b", (50, 150))):
        pages = [Image.new("L", (16, 16), value) for value in values]
        pages = [Image.fromarray(np.asarray(page, np.uint16) * 257) if mode == "I;16" else page for page in pages]
        pages = [page.convert("RGB") if mode == "RGB" else page for page in pages]
        pages[0].save(tmp_path / f"{name}.{suffix}", save_all=True, append_images=pages[1:])
    with pytest.warns(UserWarning, match="each kept in one part"):
        domain, files = folders.read(tmp_path, frames="all", size=16, channels=1, intensity=(0, 65535))
    assert (domain.inputs[:, 0, 8, 8].int() - torch.tensor([0, 100, 200, 50, 150])).abs().max() <= 1
    assert domain.groups.tolist() == [0, 0, 0, 1, 1] and [file.stem for file in files] == list("aaabb")
    assert domain.files == tuple(f"{name}.{suffix}#{k}" for name, k in zip("aaabb", (1, 2, 3, 1, 2), strict=True))
