import numpy as np
import pytest
from PIL import Image

from xferlab.domains import folders
from xferlab.errors import ArgumentError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def two_classes(root, suffix, dtype, top):
    """Class means of a quarter and three quarters of the range, and values up to all of it."""
    for name, mean in (("a", 0.25), ("b", 0.75)):
        (root / name).mkdir(parents=True)
        for i in range(3):
            values = np.full((8, 8), mean * top)
            values[0, :2] = 0, top
            Image.fromarray(values.astype(dtype)).save(root / name / f"{i}.{suffix}")
    return root


KINDS = [("png", np.uint16, 65535), ("tif", np.uint16, 4095), ("tif", np.int32, 2**20 - 1), ("tif", np.float32, 1.0)]


@pytest.mark.parametrize("suffix, dtype, top", KINDS)
def test_a_dark_and_a_bright_class_stay_apart(tmp_path, suffix, dtype, top):
    images = folders.read(two_classes(tmp_path, suffix, dtype, top), size=8)[0].inputs
    assert images[0, 0, 4, 4] == 64 and images[5, 0, 4, 4] == 191 and images.max() == 255


def test_noise_in_an_empty_picture_stays_dark(tmp_path):
    two_classes(tmp_path, "png", np.uint16, 65535)
    Image.fromarray(np.random.default_rng(0).integers(0, 50, (8, 8)).astype(np.uint16)).save(tmp_path / "a" / "9.png")
    assert folders.read(tmp_path, size=8)[0].inputs[3].max() == 0
    assert folders.read(tmp_path, size=8, intensity="image")[0].inputs[3].max() == 255


def test_a_given_range_is_taken_and_a_wrong_one_named(tmp_path):
    two_classes(tmp_path, "tif", np.float32, 100.0)
    assert folders.read(tmp_path, size=8, intensity=(0, 50))[0].inputs[0, 0, 4, 4] == 128
    for wrong in (dict(intensity="each"), dict(intensity=(2, 1)), dict(window="liver")):
        with pytest.raises(ArgumentError, match=f"{next(iter(wrong))} is .*expected"):
            folders.read(tmp_path, **wrong)
