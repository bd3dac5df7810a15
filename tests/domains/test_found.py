"""A folder that has not changed is mapped from the cache, and one that has is read anew."""

import os
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from small import write_picture

from xferlab.domains import folders, found, load, pictures


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Twelve pictures of two classes, and a cache that keeps everything."""
    monkeypatch.setenv("XFERLAB_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(found, "WORTH", 0.0)
    monkeypatch.setattr(found, "SETTLED", -1.0)
    for i in range(12):
        write_picture(tmp_path / "site" / "ab"[i % 2] / f"p{i // 4}_{i}.png", i)
    (tmp_path / "site" / "notes.txt").write_text("no picture")
    return tmp_path / "site"


@pytest.fixture
def decoded(monkeypatch):
    """The files that are decoded from now on."""
    seen = []
    decode = pictures._decode
    monkeypatch.setattr(pictures, "_decode", lambda file, options: seen.append(file) or decode(file, options))
    return seen


def read(root, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        what = folders.find(root, **options)
    return what, [str(warning.message) for warning in caught]


@pytest.mark.parametrize("options", [{}, dict(groups=r"(p\d)_"), dict(layout="", size=8)])
def test_the_second_load_decodes_nothing_and_gives_the_same(site, decoded, options):
    first, said = read(site, **options)
    assert len(decoded) == 12
    second, again = read(site, **options)
    assert len(decoded) == 12 and said == again and "notes.txt" in said[0]
    for name, value in first._asdict().items():
        same = torch.equal if torch.is_tensor(value) else lambda a, b: a == b and type(a) is type(b)
        assert same(value, getattr(second, name)), name
    second.images[0] = 7  # stays in this process
    assert torch.equal(read(site, **options)[0].images, first.images)


def test_a_file_edited_in_place_is_noticed(site, decoded):
    """Same name, same size, same time of writing: only its time of change tells."""
    before, _ = read(site)
    file = site / "a" / "p0_0.png"
    Image.open(file).rotate(90).save(file.with_suffix(".tmp.png"))
    new, stat = file.with_suffix(".tmp.png").read_bytes(), file.stat()
    file.with_suffix(".tmp.png").unlink()
    new = new[: stat.st_size].ljust(stat.st_size, b"\0")
    with open(file, "r+b") as opened:
        opened.write(new)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    os.utime(file.parent, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after, _ = read(site, broken="raise")
    assert len(decoded) == 24 and not torch.equal(before.images[0], after.images[0])
    assert torch.equal(before.images[1:], after.images[1:])


@pytest.mark.parametrize("change", ["add", "remove", "rename", "table", "option", "damage"])
def test_every_change_is_noticed(site, decoded, change):
    table = site.parent / "labels.csv"
    rows = [f"{file.name},{'xy'[i % 2]}" for i, file in enumerate(sorted(site.rglob("*.png")))]
    table.write_text("\n".join(["image,label", *rows]))
    options = dict(labels=f"{table}:image,label", size=16)
    before, _ = read(site, **options)
    if change == "add":
        write_picture(site / "a" / "more.png", 99)
    elif change == "remove":
        (site / "a" / "p0_0.png").unlink()
    elif change == "rename":
        (site / "a").rename(site / "c")
    elif change == "table":
        table.write_text("\n".join(["image,label", *rows[::-1]]).replace("x", "z"))
    elif change == "option":
        options["size"] = 8
    else:
        kept = next((site.parent / "cache" / "folders").glob("*.pt"))
        kept.write_bytes(kept.read_bytes()[:-100])
    after, _ = read(site, **options)
    assert len(decoded) > 12
    assert change in ("add", "damage") or (after.files, after.classes, after.images.shape) != (
        before.files,
        before.classes,
        before.images.shape,
    )


def test_what_changes_while_it_is_read_or_just_before_is_not_kept(site, monkeypatch):
    decode = pictures._decode

    def edit(file, options):
        if file.name == "p0_1.png":  # by the thread that reads it, so that none reads half of it
            file.write_bytes((site / "a" / "p0_0.png").read_bytes())
        return decode(file, options)

    monkeypatch.setattr(pictures, "_decode", edit)
    read(site)
    assert not (site.parent / "cache").exists()
    monkeypatch.setattr(pictures, "_decode", decode)
    monkeypatch.setattr(found, "SETTLED", 100.0)
    read(site)
    assert not (site.parent / "cache").exists()


def test_a_folder_larger_than_the_cache_does_not_empty_it(site, monkeypatch):
    monkeypatch.setenv("XFERLAB_CACHE_GB", "0.0000001")
    read(site)
    assert not (site.parent / "cache").exists()


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(site, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XFERLAB_DATA", str(tmp_path / "file"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert np.array_equal(load(site).train.inputs, load(site).train.inputs)
