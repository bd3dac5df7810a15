"""Hostile files, one function each: refused with a documented error, before memory is taken, and nothing in them is run.

python tests/reliability/files.py --write
.venv/bin/python -m pytest tests/reliability/test_files.py       # the same, a test each
"""

import argparse
import contextlib
import html.parser
import importlib.util
import io
import json
import os
import struct
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("XFERLAB_DATA", tempfile.mkdtemp(prefix="files-"))

import numpy as np
import torch
from PIL import Image
from small import TwentyLines, blobs

import xferlab as xl
from xferlab.comparison import modelfile
from xferlab.course import content
from xferlab.encoders.images import read_state
from xferlab.errors import XferlabError

ATTACKS: dict[str, Callable] = {}  # name: what makes the file in a folder and gives the call that reads it
GUARD = 2 << 30  # bytes of address space that an attack may have beyond what the process holds


def attack(make: Callable[[Path], Callable | None]) -> Callable:
    ATTACKS[make.__name__] = make
    return make


class Evil:
    """Unpickled, it makes the file `ran`."""

    def __init__(self, folder: Path):
        self.path = folder / "ran"

    def __reduce__(self):
        return Path.touch, (self.path,)


def arrays() -> dict[str, np.ndarray]:
    made = {}
    for part, n in (("train", 12), ("val", 4), ("test", 4)):
        made[f"{part}_images"] = np.random.default_rng(n).integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)
        made[f"{part}_labels"] = np.arange(n) % 2
    return made


def npz(folder: Path, **raw: bytes) -> Path:
    """A set of images whose named members are these bytes instead."""
    path = folder / "set.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for key, array in arrays().items():
            plain = io.BytesIO()
            np.save(plain, array)
            archive.writestr(f"{key}.npy", raw.get(key, plain.getvalue()))
    return path


def header(shape: str, kind: str = "|u1") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def bomb(path: Path, member: str, start: bytes, fill: bytes, mebibytes: int) -> Path:
    """A zip with one member of so many MiB of `fill` after `start`: the same deflated MiB again and again."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = deflate.compress(start) + deflate.flush(zlib.Z_FULL_FLUSH)
    block = deflate.compress(fill * (1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    packed, size = first + block * mebibytes + b"\x03\x00", len(start) + (mebibytes << 20)
    common = struct.pack("<HHHHHIII", 20, 0, 8, 0, 0x21, 0, len(packed), size) + struct.pack("<HH", len(member), 0)
    local = b"PK\x03\x04" + common + member.encode()
    central = b"PK\x01\x02\x14\x00" + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + member.encode()
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local) + len(packed), 0)
    path.write_bytes(local + packed + central + end)
    with zipfile.ZipFile(npz(path.parent)) as plain, zipfile.ZipFile(path, "a") as archive:  # and the other arrays
        for name in plain.namelist():
            if name != member:
                archive.writestr(name, plain.read(name))
    return path


@attack
def pickled_labels(folder):
    kept = io.BytesIO()
    np.save(kept, np.array([Evil(folder)] * 12, dtype=object), allow_pickle=True)
    return lambda: xl.load(npz(folder, train_labels=kept.getvalue()))


@attack
def header_of_10_gb(folder):
    return lambda: xl.load(npz(folder, train_images=header("(10000000000, 1, 1)") + bytes(100)))


@attack
def header_of_a_huge_item(folder):
    return lambda: xl.load(npz(folder, train_labels=header("(12,)", "|V1000000000") + bytes(100)))


@attack
def header_beyond_64_bits(folder):
    return lambda: xl.load(npz(folder, train_images=header("(4611686018427387904, 4611686018427387904, 3)")))


@attack
def header_below_zero(folder):
    return lambda: xl.load(npz(folder, train_images=header("(-1, 8, 8)") + bytes(64)))


@attack
def header_that_is_a_bomb(folder):
    """3 GB of spaces as the array's description, 3 MB on disk."""
    start = b"\x93NUMPY\x02\x00" + struct.pack("<I", 3 << 30)
    return lambda: xl.load(bomb(folder / "bomb.npz", "train_images.npy", start, b" ", 3072))


@attack
def images_that_are_a_bomb(folder):
    """3 GB of black pictures, 3 MB on disk, with an honest header."""
    return lambda: xl.load(bomb(folder / "bomb.npz", "train_images.npy", header("(3072, 1024, 1024)"), b"\0", 3072))


@attack
def text_in_place_of_a_zip(folder):
    (folder / "set.npz").write_text("no zip")
    return lambda: xl.load(folder / "set.npz")


@attack
def checkpoint_that_runs_code(folder):
    torch.save({"identity": Evil(folder)}, folder / "c.pt")
    return lambda: xl.fit(network(), blobs(6, size=8), steps=1, checkpoint=folder / "c.pt", progress_bar=False)


@attack
def weights_that_run_code(folder):
    torch.save({"weight": Evil(folder)}, folder / "w.pth")
    return lambda: read_state(folder / "w.pth")


@attack
def model_file_that_runs_code(folder):
    torch.save(Evil(folder), folder / "m.safetensors")
    return lambda: modelfile.load(folder / "m.safetensors")


def safetensors(folder: Path, head: dict | bytes, length: int | None = None) -> Path:
    head = head if isinstance(head, bytes) else json.dumps(head).encode()
    (folder / "m.safetensors").write_bytes(struct.pack("<Q", length or len(head)) + head)
    return folder / "m.safetensors"


@attack
def model_file_with_a_header_of_10_gb(folder):
    return lambda: modelfile.load(safetensors(folder, b"{}", 10 << 30))


@attack
def weights_with_a_header_of_10_gb(folder):
    return lambda: read_state(safetensors(folder, b"{}", 10 << 30))


@attack
def model_file_with_a_tensor_of_10_gb(folder):
    head = {"a": {"dtype": "F32", "shape": [2684354560], "data_offsets": [0, 10 << 30]}}
    return lambda: modelfile.load(safetensors(folder, head))


def about(**changes) -> dict:
    says = {
        "format": modelfile.FORMAT,
        "classes": ["a", "b"],
        "encoder": "lenet",
        "size": None,
        "recipe": "dann",
    } | changes
    return {"__metadata__": {"xferlab": json.dumps(says)}}


@attack
def model_file_of_an_unknown_network(folder):
    return lambda: modelfile.load(safetensors(folder, about(encoder="../../etc/passwd")))


@attack
def model_file_of_a_network_with_an_address(folder):
    return lambda: modelfile.load(safetensors(folder, about(encoder="hf-hub:someone/something")))


@attack
def model_file_with_classes_of_another_kind(folder):
    return lambda: modelfile.load(safetensors(folder, about(classes=7)))


@attack
def model_file_of_a_giant_picture(folder):
    return lambda: modelfile.load(safetensors(folder, about(size=10**9)))


def pictures(folder: Path, name: str, content: bytes):
    for kind in ("a", "b"):
        (folder / "pictures" / kind).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(np.full((8, 8, 3), 60 * i, np.uint8)).save(folder / "pictures" / kind / f"{i}.png")
    (folder / "pictures" / "a" / name).write_bytes(content)
    return lambda: xl.load(folder / "pictures", size=8)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@attack
def png_that_claims_3_600_megapixels(folder):
    claims = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    return pictures(
        folder,
        "x.png",
        b"\x89PNG\r\n\x1a\n" + claims + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b""),
    )


@attack
def png_with_a_text_bomb(folder):
    """200 MB of text in a PNG of 200 KB."""
    claims = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200 << 20), 9))
    pixels = chunk(b"IDAT", zlib.compress(bytes(8 * 25)))
    return pictures(folder, "x.png", b"\x89PNG\r\n\x1a\n" + claims + text + pixels + chunk(b"IEND", b""))


@attack
def bmp_that_claims_3_600_megapixels(folder):
    info = struct.pack("<IiiHHIIiiII", 40, 60_000, 60_000, 1, 24, 0, 0, 0, 0, 0, 0)
    return pictures(folder, "x.bmp", b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info + bytes(1000))


@attack
def jpeg_that_claims_4_200_megapixels(folder):
    small = io.BytesIO()
    Image.new("RGB", (8, 8)).save(small, "JPEG")
    data = bytearray(small.getvalue())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 65_000, 65_000)
    return pictures(folder, "x.jpg", bytes(data))


@attack
def tiff_that_claims_3_600_megapixels(folder):
    small = io.BytesIO()
    Image.new("L", (8, 8)).save(small, "TIFF")
    data = small.getvalue().replace(struct.pack("<HHII", 256, 4, 1, 8), struct.pack("<HHII", 256, 4, 1, 60_000))
    data = data.replace(struct.pack("<HHII", 257, 4, 1, 8), struct.pack("<HHII", 257, 4, 1, 60_000))
    assert struct.pack("<I", 60_000) in data
    return pictures(folder, "x.tif", data)


@attack
def dicom_that_is_a_bomb(folder):
    """4 GB of zeros behind a deflated transfer syntax, 4 MB on disk."""
    if importlib.util.find_spec("pydicom") is None:
        return None
    syntax = b"1.2.840.10008.1.2.1.99"
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", len(syntax)) + syntax
    meta = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta)) + meta
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    return pictures(folder, "x.dcm", bytes(128) + b"DICM" + meta + block * 4096 + b"\x03\x00")


@attack
def json_that_nests_a_hundred_thousand_deep(folder):
    (folder / "t.jsonl").write_text("[" * 100_000)
    return lambda: xl.load(folder / "t.jsonl")


@attack
def table_with_a_cell_of_a_megabyte(folder):
    (folder / "t.csv").write_text("text,label\n" + "x" * 1_000_000 + ",a\n")
    return lambda: xl.load(folder / "t.csv")


@attack
def table_that_is_binary(folder):
    (folder / "t.csv").write_bytes(b"text,label\n\xff\xfe\0\0,a\n")
    return lambda: xl.load(folder / "t.csv")


@attack
def lab_number_that_is_a_path(folder):
    (folder / "x.json").write_text('{"results": {}}')
    return lambda: content.answers(os.path.relpath(folder / "x", Path(xl.checks.__file__).parent))


def network():
    torch.manual_seed(0)
    return xl.Classifier(xl.encoder(TwentyLines(), size=8), ("a", "b", "c"))


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    """At most GUARD bytes of address space more than the process holds, where the system can say so (Linux)."""
    if sys.platform != "linux":
        yield
        return
    import resource

    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (held + GUARD, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def refused(name: str, folder: Path) -> str | None:
    """The sentence that an attack ends in; None where its package is missing. Raises AssertionError on anything else."""
    call = ATTACKS[name](folder)
    if call is None:
        return None
    before = set(folder.rglob("*"))
    try:
        with little_memory():
            call()
    except XferlabError as error:
        chain, seen = [error], str(error)
        while chain[-1].__cause__ or chain[-1].__context__:
            chain.append(chain[-1].__cause__ or chain[-1].__context__)
        hungry = any(isinstance(link, MemoryError) for link in chain) or "MemoryError" in seen or "allocate" in seen
        assert not hungry, f"{name} took {GUARD >> 30} GiB first: {seen}"
    else:
        raise AssertionError(f"{name} was not refused")
    assert not (folder / "ran").exists(), f"{name} ran its code"
    new = {path.suffix for path in set(folder.rglob("*")) - before}
    assert new <= {".npz", ".safetensors"}, f"{name} left files of {new}"
    return seen


class Tags(html.parser.HTMLParser):
    """The tags and the event attributes of a page."""

    def __init__(self, page: str):
        super().__init__()
        self.seen: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.seen += [tag, *(name for name, _ in attrs if name.startswith("on"))]


def main() -> list[str]:
    said = {}
    for name in ATTACKS:
        with tempfile.TemporaryDirectory() as folder:
            said[name] = refused(name, Path(folder))
            print(f"{name}: {said[name]}", flush=True)
    done = [name for name, seen in said.items() if seen is not None]
    missing = [name for name, seen in said.items() if seen is None]
    lines = [
        f"{len(done)} hostile files refused with less than {GUARD >> 30} GiB of address space, none of their code run"
    ]
    lines += [f"not tried, pydicom is not installed: {', '.join(missing)}"] if missing else []
    return lines + [", ".join(name.replace("_", " ") for name in done)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="into tests/README.md")
    options = parser.parse_args()
    found = main()
    from figures import report

    report("files", found, options.write)
