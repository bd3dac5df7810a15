"""The real path of a MedMNIST set, against a local server that misbehaves as wifi and hosts do."""

import errno
import hashlib
import importlib.util
import io
import multiprocessing
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from xferlab.domains import download, load, medmnist
from xferlab.errors import ArgumentError, ChecksumError, DataError, DownloadError, MissingExtra

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("medmnist") is None,
    reason="addresses and checksums come from the medmnist package (extra labs)",
)


def fabricated() -> bytes:
    random = np.random.default_rng(0)
    arrays = {}
    for part, n in {"train": 24, "val": 8, "test": 8}.items():
        arrays[f"{part}_images"] = random.integers(0, 256, (n, 28, 28, 3), dtype=np.uint8)
        arrays[f"{part}_labels"] = (np.arange(n) % 8).astype(np.uint8).reshape(n, 1)
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


class Host:
    """What the server will send, and what it was asked."""

    def __init__(self):
        self.body = fabricated()
        self.drops = []  # for each coming answer, after how many bytes the line breaks
        self.ranges = True
        self.statuses = []  # for each coming answer, an error status instead
        self.asked = []  # the Range header of every request
        host = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                host.asked.append(self.headers.get("Range"))
                if host.statuses and (status := host.statuses.pop(0)):
                    return self.send_error(status)
                start = 0
                if host.ranges and host.asked[-1]:
                    start = int(re.fullmatch(r"bytes=(\d+)-", host.asked[-1])[1])
                if start >= len(host.body):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(host.body)}")
                    return self.end_headers()
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(host.body) - start))
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(host.body) - 1}/{len(host.body)}")
                self.end_headers()
                self.wfile.write(host.body[start:][: host.drops.pop(0) if host.drops else None])

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/bloodmnist.npz?download=1"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def host(tmp_path, monkeypatch):
    host = Host()
    known = medmnist.records()
    known["bloodmnist"] |= {"url": host.url, "MD5": hashlib.md5(host.body).hexdigest()}
    monkeypatch.setattr(medmnist, "records", lambda: known)
    monkeypatch.setattr(download, "PAUSE", 0.001)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("XFERLAB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    yield host
    host.server.shutdown()
    host.server.server_close()


@pytest.fixture
def place(tmp_path):
    return tmp_path / "data" / "medmnist" / "bloodmnist.npz"


def left(place: Path) -> list[str]:
    """Files of the cache, but for the lock."""
    return sorted(path.name for path in place.parent.iterdir() if not path.name.endswith(".lock"))


def test_a_set_is_fetched_once_and_read_with_its_class_names(host, place):
    splits = load("medmnist/bloodmnist")
    assert splits.train.inputs.shape == (24, 3, 28, 28) and splits.name == "medmnist/bloodmnist"
    assert splits.classes[2:4] == ("erythroblast", "immature granulocytes") and len(splits.classes) == 8
    assert left(place) == ["bloodmnist.npz"]
    load("medmnist/bloodmnist")
    assert len(host.asked) == 1


def test_a_broken_line_is_tried_again_from_the_start(host, place):
    host.drops = [10_000, 7_000]
    load("medmnist/bloodmnist")
    assert len(host.asked) == 3 and place.read_bytes() == host.body and left(place) == ["bloodmnist.npz"]


def test_what_a_killed_download_left_does_no_harm(host, place):
    """Fails where half a file of an earlier process is taken for a part of this one."""
    place.parent.mkdir(parents=True)
    place.with_name(".bloodmnist.npz.part").write_bytes(b"of another version" * 10_000)
    load("medmnist/bloodmnist")
    assert place.read_bytes() == host.body and left(place) == ["bloodmnist.npz"]


def test_a_busy_server_is_asked_again(host, place):
    host.statuses = [503, 429]
    load("medmnist/bloodmnist")
    assert len(host.asked) == 3 and left(place) == ["bloodmnist.npz"]


def test_a_line_that_keeps_breaking_ends_in_one_sentence_and_leaves_nothing(host, place):
    host.drops = [100] * 50
    with pytest.raises(DownloadError, match=r"could not be fetched in 5 attempts") as caught:
        load("medmnist/bloodmnist")
    assert "\n" not in str(caught.value) and len(host.asked) == download.TRIES and left(place) == []


def test_a_stalled_line_gives_up(host, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.05)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        medmnist.records()["bloodmnist"]["url"] = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(DownloadError, match=r"in 5 attempts .*timed out"):
            load("medmnist/bloodmnist")


def test_a_missing_file_is_not_asked_for_twice(host):
    host.statuses = [404]
    with pytest.raises(DownloadError, match=r"answered 404"):
        load("medmnist/bloodmnist")
    assert len(host.asked) == 1


def test_wrong_bytes_do_not_stay(host, place):
    host.body = host.body[:-1] + b"x"
    with pytest.raises(ChecksumError, match=r"sent other bytes with MD5 .* nothing was kept: try again"):
        load("medmnist/bloodmnist")
    assert left(place) == []


def test_an_error_page_with_status_200_does_not_stay(host, place):
    host.body = b"<!DOCTYPE html><html>Please log in to the hotel's wifi</html>"
    with pytest.raises(ChecksumError, match=r"sent a web page"):
        load("medmnist/bloodmnist")
    assert left(place) == []


def test_a_damaged_file_that_was_put_there_is_named(host, place):
    place.parent.mkdir(parents=True)
    place.write_bytes(b"damaged")
    with pytest.raises(ChecksumError, match=r"medmnist/bloodmnist.npz has md5 .* delete it and try again"):
        load("medmnist/bloodmnist")
    assert host.asked == []


@pytest.mark.parametrize("where", ["data/bloodmnist.npz", "home/.medmnist/bloodmnist.npz"])
def test_a_file_that_is_elsewhere_is_found(host, tmp_path, where):
    (tmp_path / where).parent.mkdir(parents=True)
    (tmp_path / where).write_bytes(host.body)
    assert len(load("medmnist/bloodmnist").train) == 24 and host.asked == []


def test_another_size_is_another_file(host, place):
    medmnist.records()["bloodmnist"] |= {"url_64": host.url, "MD5_64": hashlib.md5(host.body).hexdigest()}
    load("medmnist/bloodmnist", size=64)
    assert left(place) == ["bloodmnist_64.npz"]


@pytest.mark.parametrize("failure", [socket.gaierror(-2, "Name or service not known"), RuntimeError("sockets are off")])
def test_without_a_network_one_sentence_says_what_to_do(host, place, monkeypatch, failure):
    def unplugged(*_, **__):
        raise failure

    monkeypatch.setattr(socket, "getaddrinfo", unplugged)
    with pytest.raises(DownloadError) as caught:
        load("medmnist/bloodmnist")
    said = str(caught.value)
    assert "needs bloodmnist.npz, which is not here" in said
    assert f"{host.url} cannot be reached" in said and f"put that file at {place}" in said
    assert "load('cells/site-a') or load('digits/mnist')" in said
    assert ". " not in said and "\n" not in said


def test_a_full_disk_is_no_network_failure(host, place, monkeypatch):
    """Fails where a disk error is tried again as if the line had broken."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pooch.HTTPDownloader.__call__", full)
    with pytest.raises(DownloadError, match=r"cannot be written \(No space left on device\); free some space"):
        load("medmnist/bloodmnist")
    assert host.asked == [] and left(place) == []


def _fetch(url, path, md5):
    download.fetch(url, path, md5)


def test_two_processes_share_one_download(host, place):
    record = medmnist.records()["bloodmnist"]
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_fetch, args=(record["url"], place, record["MD5"])) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(20)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len(host.asked) == 1 and left(place) == ["bloodmnist.npz"]


def test_unknown_sets_and_sizes_are_named(host):
    with pytest.raises(DataError, match=r"medmnist/bloodmist is not among the package's 2-D sets: pathmnist"):
        load("medmnist/bloodmist")
    with pytest.raises(DataError, match=r"2-D sets"):
        load("medmnist/organmnist3d")
    with pytest.raises(ArgumentError, match=r"size 32 does not exist, expected one of \(28, 64, 128, 224\)"):
        load("medmnist/bloodmnist", size=32)


def test_records_name_twelve_sets_with_every_size():
    known = medmnist.records()
    assert len(known) == 12 and known["chestmnist"]["task"].startswith("multi-label")
    for record in known.values():
        assert all(re.fullmatch(r"[0-9a-f]{32}", record[f"MD5{s}"]) for s in ("", "_64", "_128", "_224"))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(medmnist.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"xferlab\[labs\]"):
        medmnist.records()
