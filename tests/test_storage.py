import os

import numpy as np
import pytest
import torch

from xferlab.errors import ArgumentError, ChecksumError, DataError
from xferlab.storage import cache_folder, cache_limit, cached_files, fingerprint, shrink_cache, verify, write_atomically


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "deep" / "a.txt"
    with write_atomically(file) as temporary:
        temporary.write_text("old")
    with pytest.raises(KeyboardInterrupt), write_atomically(file) as temporary:
        temporary.write_text("half")
        assert file.read_text() == "old"
        raise KeyboardInterrupt
    assert file.read_text() == "old" and os.listdir(file.parent) == ["a.txt"]


def test_what_a_killed_writer_left_goes_after_a_day(tmp_path):
    """Fails where the disk fills with halves, and where the half that another process is writing now goes."""
    old, new, other = (tmp_path / f".{name}.{i}.0123abcd.npz" for i, name in enumerate(("a.npz", "a.npz", "b.npz")))
    for left in (old, new, other):
        left.write_bytes(b"half")
    for left in (old, other):
        os.utime(left, (1e9, 1e9))
    with write_atomically(tmp_path / "a.npz") as temporary:
        temporary.write_bytes(b"whole")
    assert not old.exists() and new.exists() and other.exists()


def test_others_may_read_what_the_umask_lets_them(tmp_path):
    before = os.umask(0o022)
    try:
        with write_atomically(tmp_path / "a") as temporary:
            temporary.write_text("x")
        assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="XFERLAB_DATA"), write_atomically(tmp_path / "file" / "a.txt"):
        pass


def test_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XFERLAB_DATA", str(tmp_path / "x"))
    assert cache_folder("a", "b") == tmp_path / "x" / "a" / "b" and not (tmp_path / "x").exists()


def test_verify(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    right = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert verify(tmp_path / "f", right) == tmp_path / "f"
    with pytest.raises(ChecksumError, match="expected 00"):
        verify(tmp_path / "f", "00")


def test_fingerprint_sees_values_shapes_types_and_order():
    x = torch.arange(6)
    different = [
        x,
        x.view(2, 3),
        x.int(),
        x + 1,
        [x],
        (x, x),
        "x",
        {"a": x},
        {"b": x},
        [1, [2]],
        [[1], 2],
        torch.zeros(0),
    ]
    assert len({fingerprint(item) for item in different}) == len(different)
    assert fingerprint(x) == fingerprint(x.clone()) == fingerprint(np.arange(6))
    assert fingerprint(torch.arange(12).view(3, 4).T) == fingerprint(torch.arange(12).view(3, 4).T.contiguous())


def fill(folder, name, age, kilobytes=1):
    file = cache_folder(folder, name)
    with write_atomically(file) as temporary:
        temporary.write_bytes(bytes(1000 * kilobytes))
    os.utime(file, (1e9 - age, 1e9 - age))
    return file


def test_the_cache_is_bounded_and_the_oldest_goes_first(monkeypatch, tmp_path, capsys):
    """Fails where nothing is removed, where the newest or the file just written goes, and where it is said at each write."""
    monkeypatch.setenv("XFERLAB_DATA", str(tmp_path))
    monkeypatch.setenv("XFERLAB_CACHE_GB", "3e-6")  # 3 kB
    oldest, other, new = (fill(folder, "a", age) for folder, age in (("cells", 9), ("features", 5), ("tokens", 1)))
    assert oldest.exists() and capsys.readouterr().err == ""  # 3 kB are not more than 3 kB
    newest = fill("features", "b", 0)
    assert not oldest.exists() and other.exists() and new.exists() and newest.exists()
    assert "more than 3e-06 GB (XFERLAB_CACHE_GB)" in capsys.readouterr().err
    large = fill("features", "large", 100, kilobytes=9)  # larger than the limit: it alone stays, for it is needed now
    assert [path for _, _, path in cached_files()] == [large] and capsys.readouterr().err == ""


def test_downloads_runs_and_progress_are_never_removed(monkeypatch, tmp_path):
    monkeypatch.setenv("XFERLAB_DATA", str(tmp_path))
    kept = [fill(folder, "a", 9) for folder in ("medmnist", "runs", "")]
    gone = fill("arrays", "a", 0)
    assert shrink_cache(0) == 1000 and not gone.exists() and all(file.exists() for file in kept)


def test_the_bound_is_a_number_of_gigabytes(monkeypatch):
    monkeypatch.delenv("XFERLAB_CACHE_GB", raising=False)
    assert cache_limit() == 5e9
    for text in ("much", "-1", "nan"):
        monkeypatch.setenv("XFERLAB_CACHE_GB", text)
        with pytest.raises(ArgumentError, match="number of gigabytes"):
            cache_limit()
