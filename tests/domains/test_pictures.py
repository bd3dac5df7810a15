"""One file to pixels: what a quicker way of decoding must not change, and what a file of several pictures gives."""

import numpy as np
import pytest
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
