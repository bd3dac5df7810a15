import os

import numpy as np
import pytest
import torch

from xferlab.errors import ChecksumError, DataError
from xferlab.storage import cache_folder, fingerprint, verify, write_atomically


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path):
    file = tmp_path / "deep" / "a.txt"
    with write_atomically(file) as temporary:
        temporary.write_text("old")
    with pytest.raises(KeyboardInterrupt), write_atomically(file) as temporary:
        temporary.write_text("half")
        assert file.read_text() == "old"
        raise KeyboardInterrupt
    assert file.read_text() == "old" and os.listdir(file.parent) == ["a.txt"]


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
