import os
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from xferlab.domains import folders, load
from xferlab.errors import ArgumentError, DataError, MissingExtra


def picture(seed, size=(20, 20), channels=3):
    """A smooth coloured picture (width, height), different for each seed."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 256, (5, 5, channels), dtype=np.uint8)
    return Image.fromarray(small.squeeze()).resize(size)


def class_folders(root, counts=(("benign", 12), ("malignant", 10)), pattern="{i}.png"):
    for k, (name, n) in enumerate(counts):
        for i in range(n):
            file = root / name / pattern.format(i=i, patient=i // 2)
            file.parent.mkdir(parents=True, exist_ok=True)
            picture(100 * k + i).save(file)
    return root


def one(file, **options):
    """The single image of a flat folder, uint8 (C, H, W)."""
    domain, files = folders.read(file.parent, size=None, **options)
    assert files == [file]
    return domain.inputs[0]


def silent(root, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load(root, **options)


def test_class_folders_are_split_by_class(tmp_path):
    splits = silent(class_folders(tmp_path / "site"), seed=1)
    assert splits.classes == ("benign", "malignant") and splits.name == "site"
    assert [part.counts().tolist() for part in splits.parts().values()] == [[8, 7], [2, 1], [2, 2]]
    assert splits.train.inputs.shape == (15, 3, 64, 64)


def test_labels_follow_the_files(tmp_path):
    for name, value in (("b", 200), ("a", 50)):
        (tmp_path / name / "deep" / "deeper").mkdir(parents=True)
        for i in range(3):
            Image.fromarray(np.full((8, 8), value + i, np.uint8)).save(tmp_path / name / "deep" / "deeper" / f"{i}.png")
    domain, files = folders.read(tmp_path, size=8)
    assert domain.inputs[:, 0, 0, 0].tolist() == [50, 51, 52, 200, 201, 202]
    assert domain.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert [file.relative_to(tmp_path).parts[0] for file in files] == ["a"] * 3 + ["b"] * 3


def test_its_own_split_is_kept(tmp_path):
    for k, part in enumerate(("train", "validation", "test")):
        for j, name in enumerate(("x", "y")):
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(k + 2):
                picture(k * 100 + j * 10 + i).save(tmp_path / part / name / f"{i}.jpg")
    splits = silent(tmp_path)
    assert [len(part) for part in splits.parts().values()] == [4, 6, 8] and splits.test.labels.tolist() == [0] * 4 + [
        1
    ] * 4


def test_a_missing_val_folder_is_held_out_of_train_and_a_missing_test_folder_is_an_error(tmp_path):
    class_folders(tmp_path / "train")
    with pytest.raises(DataError, match=r"images in train and none in test"):
        load(tmp_path)
    class_folders(tmp_path / "test", (("benign", 2), ("malignant", 2)))
    for file in (tmp_path / "test").rglob("*.png"):
        picture(hash(str(file)) % 1000 + 5000).save(file)
    with pytest.warns(UserWarning, match=r"no val part"):
        splits = load(tmp_path)
    assert len(splits.train) + len(splits.val) == 22 and len(splits.test) == 4


def test_a_flat_folder_has_no_labels(tmp_path):
    class_folders(tmp_path, ((".", 10),))
    splits = silent(tmp_path)
    assert all(part.labels is None for part in splits.parts().values()) and splits.classes == ()
    assert sum(map(len, splits.parts().values())) == 10
    domain, files = folders.read(tmp_path)
    assert [file.name for file in files] == [f"{i}.png" for i in range(10)] and len(domain) == 10


def test_classes_align_to_a_source(tmp_path):
    class_folders(tmp_path)
    splits = load(tmp_path, classes=("malignant", "normal", "benign"))
    assert splits.classes == ("malignant", "normal", "benign") and splits.train.counts().tolist()[1] == 0
    assert splits.test.labels.unique().tolist() == [0, 2]
    with pytest.raises(
        DataError, match=r"classes \['malignant'\] that the source lacks \(it has \['benign', 'normal'\]\)"
    ):
        load(tmp_path, classes=("benign", "normal"))


def test_one_class_folder_is_an_error_that_says_where_to_look(tmp_path):
    class_folders(tmp_path / "set", (("images", 3),))
    with pytest.raises(DataError, match=r"the one class 'images'.*set.images itself"):
        load(tmp_path / "set")


# ---- what a pixel becomes


def test_grey_stays_one_channel_unless_colour_is_about(tmp_path):
    grey = picture(0, channels=1)
    grey.save(tmp_path / "a.png")
    assert folders.read(tmp_path)[0].inputs.shape == (1, 1, 64, 64)
    picture(1).save(tmp_path / "b.png")
    mixed = folders.read(tmp_path, size=20)[0].inputs
    assert mixed.shape == (2, 3, 20, 20)
    assert all(torch.equal(mixed[0, c], torch.from_numpy(np.array(grey))) for c in range(3))
    assert folders.read(tmp_path, channels=1)[0].inputs.shape == (2, 1, 64, 64)


def test_resizing_pads_and_never_stretches(tmp_path):
    Image.fromarray(np.full((10, 40), 200, np.uint8)).save(tmp_path / "wide.png")
    image = folders.read(tmp_path, size=20)[0].inputs[0, 0]
    assert image[8:12].float().mean() > 190  # 40 x 10 becomes 20 x 5, in the middle
    assert image[:7].sum() == 0 and image[13:].sum() == 0


def test_images_of_two_sizes_need_a_size(tmp_path):
    picture(0, (20, 20)).save(tmp_path / "a.png")
    picture(1, (20, 22)).save(tmp_path / "b.png")
    with pytest.raises(DataError, match=r"20 x 20 and 20 x 22; give size="):
        folders.read(tmp_path, size=None)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_windowed(tmp_path, suffix):
    values = np.array([[1000, 2000, 3000], [0, 1500, 60000]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    assert one(tmp_path / f"a.{suffix}", window=(1000, 3000))[0].tolist() == [[0, 128, 255], [0, 64, 255]]


def test_without_a_window_sixteen_bits_go_from_percentile_to_percentile(tmp_path):
    values = np.linspace(5000, 7000, 1000, dtype=np.uint16).reshape(40, 25)
    values[0, 0] = 65535  # one hot pixel must not darken the rest
    Image.fromarray(values).save(tmp_path / "a.png")
    image = one(tmp_path / "a.png")
    assert image.min() == 0 and image.max() == 255 and abs(int(image[0, 20, 0]) - 128) < 4


def test_a_constant_deep_image_is_black_not_an_error(tmp_path):
    Image.fromarray(np.full((4, 4), 700, np.uint16)).save(tmp_path / "a.png")
    assert one(tmp_path / "a.png").unique().tolist() == [0]


def test_float_tiff_with_nan_is_broken(tmp_path):
    Image.fromarray(np.array([[0.0, np.nan]], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a.tif cannot be read as an image: it holds NaN"):
        folders.read(tmp_path)


def test_palette_alpha_and_one_bit(tmp_path):
    red = Image.new("RGB", (4, 4), (250, 10, 30))
    red.quantize(4).save(tmp_path / "p.png")
    assert one(tmp_path / "p.png")[:, 0, 0].tolist() == [250, 10, 30]
    (tmp_path / "p.png").unlink()
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert one(tmp_path / "a.png").unique().tolist() == [255]  # transparent is white
    Image.new("LA", (4, 4), (100, 255)).save(tmp_path / "a.png")
    assert one(tmp_path / "a.png").tolist() == [[[100] * 4] * 4]
    Image.new("1", (4, 4), 1).save(tmp_path / "a.png")
    assert one(tmp_path / "a.png").tolist() == [[[255] * 4] * 4]


def dicom(path, values, **fields):
    pydicom = pytest.importorskip("pydicom", reason="pydicom (extra labs) reads DICOM")
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    record = pydicom.Dataset()
    record.file_meta = pydicom.dataset.FileMetaDataset()
    record.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    record.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    record.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    record.SOPClassUID, record.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", generate_uid()
    record.Rows, record.Columns = values.shape[:2]
    record.SamplesPerPixel = 3 if values.ndim == 3 else 1
    record.PhotometricInterpretation = "RGB" if values.ndim == 3 else "MONOCHROME2"
    if values.ndim == 3:
        record.PlanarConfiguration = 0
    record.BitsAllocated = record.BitsStored = 8 * values.dtype.itemsize
    record.HighBit, record.PixelRepresentation = record.BitsStored - 1, 0
    record.PixelData = values.tobytes()
    for name, value in fields.items():
        setattr(record, name, value)
    record.save_as(path, enforce_file_format=True)
    return path


CT = np.array([[0, 1000, 1040], [1080, 1200, 4000]], np.uint16)


def test_dicom_is_rescaled_and_windowed_as_it_asks(tmp_path):
    # -1024 + stored; the window 40 +- 40 in these units: PS3.3 C.11.2.1.2 with c = 40, w = 81 maps 39.5 to the middle
    file = dicom(
        tmp_path / "a.dcm",
        CT,
        RescaleSlope=1,
        RescaleIntercept=-1000,
        WindowCenter=["40", "400"],
        WindowWidth=["81", "9"],
    )
    assert one(file)[0].tolist() == [[0, 2, 129], [255, 255, 255]]
    assert one(file, window=(0, 80))[0].tolist() == [[0, 0, 128], [255, 255, 255]]


def test_monochrome1_is_inverted(tmp_path):
    file = dicom(tmp_path / "a.dcm", CT, PhotometricInterpretation="MONOCHROME1")
    assert one(file, window=(1000, 1200))[0].tolist() == [[255, 255, 204], [153, 0, 0]]


def test_colour_dicom_and_a_name_without_suffix(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    file = dicom(tmp_path / "IM0001", values)
    assert np.array_equal(one(file), values.transpose(2, 0, 1))


def test_dicom_with_many_frames_or_a_giant_header_is_refused(tmp_path):
    file = dicom(tmp_path / "a.dcm", CT, NumberOfFrames=2, PixelData=CT.tobytes() * 2)
    with pytest.raises(DataError, match=r"2 frames, expected one"):
        one(file)
    dicom(file, CT, Rows=60000, Columns=60000)
    with pytest.raises(DataError, match=r"claims 60000 x 60000 pixels"):
        one(file)


def test_dicom_without_pydicom_names_the_extra(tmp_path, monkeypatch):
    file = dicom(tmp_path / "a.dcm", CT)
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(MissingExtra, match=r"pydicom.*labs"):
        one(file)


def test_ct_without_a_window_gets_soft_tissue_and_mr_is_stretched(tmp_path):
    values = np.array([[0, 864], [1064, 1264]], np.uint16)
    file = dicom(tmp_path / "a.dcm", values, Modality="CT", RescaleSlope=1, RescaleIntercept=-1024)
    assert folders.read(tmp_path, size=None)[0].inputs[0, 0].tolist() == [[0, 0], [128, 255]]
    assert folders.read(tmp_path, size=None, window="brain")[0].inputs[0, 0].tolist() == [[0, 0], [128, 255]]
    assert folders.read(tmp_path, size=None, window="lung")[0].inputs[0, 0].tolist() == [[55, 202], [236, 255]]
    dicom(file, values * 2, Modality="MR")
    assert folders.read(tmp_path, size=None)[0].inputs[0, 0, 1, 1] == 255


def test_dicom_patients_stay_in_one_part(tmp_path):
    """PatientID tells, and where it is the same everywhere, as anonymizing makes it, the study."""
    for key in ("PatientID", "StudyInstanceUID"):
        for k, name in enumerate("ab"):
            (tmp_path / key / name).mkdir(parents=True)
            for i in range(20):
                values = np.random.default_rng(100 * k + i).integers(0, 255, (8, 8)).astype(np.uint8)
                said = {"PatientID": "anonymous"} | {key: f"1.2.{k}.{i // 2}"}
                dicom(tmp_path / key / name / f"{i}.dcm", values, **said)
        with pytest.warns(UserWarning, match="20 patients .*are each kept in one part"):
            splits = load(tmp_path / key)
        homes = [set(part.groups.tolist()) for part in splits.parts().values()]
        assert sum(map(len, homes)) == 20 == len(set.union(*homes))
        assert splits.together().groups.bincount().tolist() == [2] * 20


def test_frames_are_examples_of_one_group(tmp_path):
    frames = np.arange(3, dtype=np.uint16).repeat(6).reshape(3, 2, 3) * 100
    for name in ("a.dcm", "b.dcm"):
        file = dicom(tmp_path / name, frames[0], NumberOfFrames=3, PixelData=frames.tobytes())
    with pytest.raises(DataError, match="3 frames, expected one; pass frames='all'"):
        folders.read(tmp_path)
    with pytest.warns(UserWarning, match="each kept in one part"):
        domain, files = folders.read(tmp_path, frames="all", size=None, window=(0, 200))
    assert domain.inputs[:, 0, 0, 0].tolist() == [0, 128, 255] * 2 and files[3:] == [file] * 3
    assert domain.files == tuple(f"{name}.dcm#{k}" for name in "ab" for k in (1, 2, 3))
    assert domain.groups.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("suffix", ["tif", "gif", "webp"])
def test_the_first_page_is_taken_and_said(tmp_path, suffix):
    first, second = (Image.new("L", (16, 16), value) for value in (40, 200))
    first.save(tmp_path / f"a.{suffix}", save_all=True, append_images=[second])
    first.save(tmp_path / f"b.{suffix}")
    with pytest.warns(UserWarning, match=rf"1 files have several pages.*: a\.{suffix}"):
        domain, _ = folders.read(tmp_path, channels=1)
    assert (domain.inputs.float() - 40).abs().max() <= 1


@pytest.mark.parametrize("suffix", ["webp", "gif", "jp2", "jfif", "jpe"])
def test_more_kinds_of_files(tmp_path, suffix):
    Image.new("L", (16, 16), 90).save(tmp_path / f"a.{suffix}")
    assert (one(tmp_path / f"a.{suffix}").float() - 90).abs().max() <= 1


@pytest.mark.parametrize(
    "name, said", [("a.nii.gz", "volumes: save their slices"), ("a.svs", "whole slides: cut them")]
)
def test_volumes_and_slides_are_told_what_to_do(tmp_path, name, said):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match=f"1 {said}"):
        folders.read(tmp_path)


# ---- groups


def test_groups_by_pattern_keep_a_patient_in_one_part(tmp_path):
    class_folders(tmp_path, pattern="p{patient}_{i}.png")
    splits = load(tmp_path, groups=r"(\w+/p\d+)_")
    homes = [set(part.groups.tolist()) for part in splits.parts().values()]
    assert sum(map(len, homes)) == 11 == len(set.union(*homes))
    assert (splits.train.groups.bincount() % 2 == 0).all()


def test_groups_from_a_table(tmp_path):
    class_folders(tmp_path)
    names = [f"{name}/{i}.png" for name, n in (("benign", 12), ("malignant", 10)) for i in range(n)]
    rows = [f"{name},P{i // 4}" for i, name in enumerate(names)]
    (tmp_path / "patients.csv").write_text("\n".join(["image,patient", *rows]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the table itself is not reported as left out
        domain, files = folders.read(tmp_path, groups="patients.csv:patient")
    order = [names.index(file.relative_to(tmp_path).as_posix()) for file in files]
    assert domain.groups.tolist() == [i // 4 for i in order]
    with pytest.raises(DataError, match=r"columns \['image', 'patient'\], not 'slide'"):
        load(tmp_path, groups="patients.csv:slide")
    (tmp_path / "patients.csv").write_text("\n".join(["image,patient", *rows[:-1]]))
    with pytest.raises(DataError, match=r"lacks 1 files, such as malignant/9.png"):
        load(tmp_path, groups="patients.csv:patient")
    with pytest.raises(DataError, match=r"other.csv is neither in"):
        load(tmp_path, groups="other.csv:patient")


def test_wrong_patterns_are_named(tmp_path):
    class_folders(tmp_path)
    with pytest.raises(ArgumentError, match=r"no regular expression"):
        load(tmp_path, groups="(")
    with pytest.raises(ArgumentError, match=r"has 0 pairs of brackets, expected one"):
        load(tmp_path, groups="p[0-9]+")
    with pytest.raises(DataError, match=r"lacks 22 files, such as benign/0.png"):
        load(tmp_path, groups="(patient)")


def test_a_patient_in_two_parts_of_a_given_split_is_named(tmp_path):
    for k, part in enumerate(("train", "val", "test")):
        for name in "xy":
            (tmp_path / part / name).mkdir(parents=True)
            picture(k * 10 + ord(name)).save(tmp_path / part / name / f"p{min(k, 1)}-{name}.png")
    with pytest.raises(DataError, match=r"group 'p1' is in both val and test|group 'p1' is in both test and val"):
        load(tmp_path, groups=r"(p\d)-")


# ---- what is wrong with a folder


def test_all_that_is_left_out_is_in_one_warning(tmp_path):
    root = class_folders(tmp_path / "site")
    (root / "empty" / "inner").mkdir(parents=True)
    (root / "benign" / "notes.txt").write_text("not a picture")
    picture(1).save(root / "loose.png")
    (root / ".DS_Store").write_text("litter")
    picture(7).save(tmp_path / "outside.png")
    (root / "benign" / "link.png").symlink_to(tmp_path / "outside.png")
    (root / "benign" / "inside.png").symlink_to(root / "benign" / "0.png")
    (root / "stolen").symlink_to("/etc")
    with pytest.warns(UserWarning) as caught:
        domain, _ = folders.read(root)
    assert len(caught) == 1
    said = str(caught[0].message)
    for text in (
        "1 folders without images (empty)",
        "1 files that are no images (benign/notes.txt)",
        "1 images beside the class folders (loose.png)",
        "1 links out of the folder (benign/link.png)",
        "1 links to folders (stolen)",
    ):
        assert text in said
    assert "DS_Store" not in said and len(domain) == 23


def test_a_broken_image_is_an_error_or_a_listed_omission(tmp_path):
    class_folders(tmp_path)
    whole = (tmp_path / "benign" / "3.png").read_bytes()
    (tmp_path / "benign" / "3.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "malignant" / "4.png").write_bytes(b"not a png at all")
    with pytest.raises(DataError, match=r"benign.3.png cannot be read as an image: .*truncated.*broken='skip'"):
        load(tmp_path)
    with pytest.warns(UserWarning, match=r"2 broken images \(3.png: .*4.png: "):
        domain, files = folders.read(tmp_path, broken="skip")
    assert domain.counts().tolist() == [11, 9] and len(files) == 20


def test_a_picture_that_claims_too_many_pixels_is_refused(tmp_path):
    import struct
    import zlib

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 2, 0, 0, 0)
    png = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )
    (tmp_path / "bomb.png").write_bytes(png)
    with pytest.raises(DataError, match=r"bomb.png.*claims 12000 x 12000 pixels"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folders.read(tmp_path)


def test_a_pipe_named_like_a_picture_is_not_opened(tmp_path):
    class_folders(tmp_path)
    os.mkfifo(tmp_path / "benign" / "pipe.png")
    with pytest.warns(UserWarning, match=r"benign/pipe.png"):
        assert len(folders.read(tmp_path)[1]) == 22


@pytest.mark.parametrize("made", [(), ("a.txt",)])
def test_a_folder_without_images_is_named(tmp_path, made):
    for name in made:
        (tmp_path / name).write_text("text")
    with pytest.raises(DataError, match=f"{tmp_path.name} holds no images.*{''.join(made)}.*check the path"):
        load(tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        dict(size=0),
        dict(size=8.0),
        dict(channels=2),
        dict(broken="ignore"),
        dict(window=(5, 5)),
        dict(window=5),
        dict(window=("0", "5")),
        dict(window=(0, None)),
        dict(intensity=5),
    ],
)
def test_option_values_are_checked(tmp_path, options):
    class_folders(tmp_path)
    with pytest.raises(ArgumentError, match=f"{next(iter(options))}.*expected"):
        load(tmp_path, **options)


def test_a_copied_picture_across_parts_is_named(tmp_path):
    for k, part in enumerate(("train", "val", "test")):
        for j, name in enumerate("xy"):
            class_folders(tmp_path / part, ((name, 3),))
            for i in range(3):
                picture(100 * k + 10 * j + i, (64, 64)).save(tmp_path / part / name / f"{i}.png")
    Image.open(tmp_path / "train" / "x" / "1.png").save(tmp_path / "test" / "x" / "copy.jpg", quality=90)
    with pytest.warns(UserWarning, match=r"1 of test in train\): train.x.1.png and test.x.copy.jpg"):
        load(tmp_path)


def test_a_class_that_train_lacks_is_said(tmp_path):
    class_folders(tmp_path / "train")
    for part, first in (("val", 300), ("test", 400)):
        (tmp_path / part / "other").mkdir(parents=True)
        for i in range(2):
            picture(first + i).save(tmp_path / part / "other" / f"{i}.png")
    with pytest.warns(UserWarning, match=r"train part has no image of other"):
        load(tmp_path)
