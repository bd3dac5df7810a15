import warnings

import numpy as np
import pytest
from domains.test_folders import dicom
from PIL import Image

from xferlab.domains import folders
from xferlab.domains.intensity import Scale
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


def test_a_sources_scale_serves_where_the_bits_are_the_same(tmp_path):
    """A darker target must stay darker: by its own scale it would not."""
    source, target = (
        two_classes(tmp_path / "s", "png", np.uint16, 4095),
        two_classes(tmp_path / "t", "png", np.uint16, 2047),
    )
    scale = folders.find(source, size=8).scale
    assert scale == Scale(0, 4095, 12)

    def pixel(**options):
        return int(folders.read(target, size=8, **options)[0].inputs[0, 0, 4, 4])

    assert pixel(intensity=scale) == pixel(intensity=list(scale)) == 32 and pixel() == 64
    two_classes(tmp_path / "u", "png", np.uint16, 65535)
    with pytest.warns(UserWarning, match="use 16 bits and the source's 12"):
        assert folders.read(tmp_path / "u", size=8, intensity=scale)[0].inputs[0, 0, 4, 4] == 64


def test_a_stretch_that_hides_what_tells_the_classes_apart_is_said(tmp_path):
    for k, name in enumerate("ab"):
        (tmp_path / name).mkdir()
        for i in range(8):
            values = np.random.default_rng(i).integers(1000, 2000, (8, 8)) + 5000 * k
            Image.fromarray(values.astype(np.uint16)).save(tmp_path / name / f"{i}.png")
    with pytest.warns(UserWarning, match=r"16 pictures are stretched one by one.*means: a 1\d+.*, b 6\d+"):
        folders.read(tmp_path, size=8, intensity="image")
    for file in (tmp_path / "b").iterdir():
        file.write_bytes((tmp_path / "a" / file.name).read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folders.read(tmp_path, size=8, intensity="image")


def test_dicom_keeps_its_own_window_beside_deep_pictures(tmp_path):
    """The scale of the collection's 16-bit pictures once became its window, from the first of them on."""
    values = np.linspace(0, 60000, 64).astype(np.uint16).reshape(8, 8)
    dicom(tmp_path / "a.dcm", values // 600, WindowCenter="50", WindowWidth="101")
    Image.fromarray(values).save(tmp_path / "b.png")
    alone = folders.read(tmp_path, size=None)[0].inputs
    (tmp_path / "b.png").unlink()
    assert alone[0].max() == 255 and (alone[0] == folders.read(tmp_path, size=None)[0].inputs[0]).all()
