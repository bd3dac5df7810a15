"""Folders of every layout that a grammar gives, and files with random damage: read back exactly, or refused in a sentence.

    nice python tests/reliability/layouts.py --cases 2000 --files 20000 --write

A layout has or has not: outer folders, a split above or below the classes, class folders or a table, patients, litter. What comes
back must be what was written, picture by picture, or a documented error. A damaged file must be read or refused within 5 s of processor time.
"""

import argparse
import collections
import csv
import faulthandler
import io
import os
import random
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XFERLAB_DATA", tempfile.mkdtemp(prefix="layouts-"))
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from PIL import Image
from tqdm import tqdm

from xferlab.domains import folders
from xferlab.domains.layout import part_of
from xferlab.errors import XferlabError

CLASSES = [
    "benign",
    "malignant",
    "No Finding",
    "covid-19",
    "07",
    "Ödem",
    "valid",
    "HER2-",
    "HER2+",
    "test lesion",
    "a.b",
    "images",
]
SPLITS = [("train", "val", "test"), ("Training", "Testing"), ("seg_train", "seg_test"), ("TRAIN", "dev", "TEST")]
SPLITS += [("train-set", "validation set", "test_images")]
LITTER = [".DS_Store", "Thumbs.db", "notes.txt", "__MACOSX/a/x.png", "empty/"]


def picture(number: int) -> bytes:
    """4 x 4 pixels that tell the number."""
    made = io.BytesIO()
    Image.fromarray(np.full((4, 4), number, np.uint8)).save(made, "PNG")
    return made.getvalue()


def layout(root: Path, draw: random.Random) -> tuple[dict, dict[str, tuple]]:
    """Writes a random layout; the options it needs, and the split, class and patient of each file, None where it has none."""
    classes = draw.sample(CLASSES, draw.randint(2, 4))
    splits = draw.choice([*SPLITS, None, None, None])
    patients = draw.choice([0, 0, 3, 8])
    table = draw.random() < 0.4
    kind = (
        draw.choice(["split/class", "split/class", "class/split"])
        if not table
        else draw.choice(["split", "column", "flat"])
    )
    told = draw.random() < 0.2 and not table  # the layout is given, and patients may stand above the class
    order = draw.choice(["class/patient", "patient/class"] if told and patients else ["class/patient"])
    outer = "/".join(["some set"] * draw.choice([0, 0, 1, 2]))
    shared = draw.random() < 0.3  # patients of several classes
    rows, truth, number = [], {}, 0
    for split in splits or (None,):
        for name in classes:
            for who in range(patients or 1):
                patient = None if not patients else f"p{who}" if shared else f"{name[:2]}-{who}-{split or ''}"
                for _ in range(draw.randint(1, 2)):
                    number += 1
                    if number > 250:
                        return {}, {}
                    levels = {"class": name, "patient": patient, "split": split}
                    if table:
                        steps = [split] if kind == "split" and split else ["images"]
                    else:
                        inner = [levels[level] for level in order.split("/")]
                        steps = [split, *inner] if kind == "split/class" else [inner[0], split, *inner[1:]]
                    file = Path(outer, *[step for step in steps if step], f"{number:03d}.png")
                    (root / file).parent.mkdir(parents=True, exist_ok=True)
                    (root / file).write_bytes(picture(number))
                    kept = split if not (table and kind == "flat") else None
                    truth[file.as_posix()] = (kept and part_of(kept), name, patient)
                    rows.append((file, name, split, patient))
    for name in draw.sample(LITTER, draw.randint(0, 3)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).mkdir() if name.endswith("/") else (root / name).write_bytes(picture(0))
    if not table:
        if not told:
            return {}, truth
        levels = ["-"] * len(Path(outer).parts)
        inner = [level for level in order.split("/") if level == "class" or patients]
        split = ["split"] if splits else []
        levels += [*split, *inner] if kind == "split/class" else [inner[0], *split, *inner[1:]]
        return {"layout": "/".join(levels)}, truth
    return {"labels": _table(root, rows, kind == "column" and splits, patients, classes, draw)}, truth


def _table(root: Path, rows: list, with_split, with_patient, classes: list[str], draw: random.Random) -> str:
    """Writes labels.csv and gives what names its columns."""
    way = draw.choice(
        [lambda file: file.name, lambda file: file.stem, lambda file: file.as_posix(), lambda file: f"/far/{file}"]
    )
    hot = draw.random() < 0.3 and len(classes) > 1
    header = [
        "image",
        *(classes if hot else ["label"]),
        *(["split"] if with_split else []),
        *(["Patient ID"] if with_patient else []),
    ]
    lines = []
    for file, name, split, patient in draw.sample(rows, len(rows)):
        label = [int(name == other) for other in classes] if hot else [name]
        lines.append([way(file), *label, *([split] if with_split else []), *([patient] if with_patient else [])])
    made = io.StringIO()
    csv.writer(made, delimiter=draw.choice(",;\t")).writerows([header, *lines])
    (root / "labels.csv").write_text(made.getvalue(), draw.choice(["utf-8", "utf-8-sig", "utf-16"]))
    return "labels.csv:image" + ("," + ",".join(classes) if hot else ",label")


def check(number: int, outcomes: collections.Counter) -> None:
    """One layout; raises AssertionError where something else comes back than was written."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name, "site")
        root.mkdir()
        options, truth = layout(root, random.Random(number))
        if not truth:
            return
        tree = "\n".join(f"  {file}: {what}" for file, what in truth.items())
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            try:
                found = folders.find(root, size=4, **options)
            except XferlabError as error:
                assert len(str(error)) > 20
                outcomes[type(error).__name__ + (" with the layout given" if options else "")] += 1
                assert not options.get("layout"), f"case {number}, {options}: {error}\n{tree}"
                return
        outcomes["table" if "labels" in options else "layout given" if options else "layout found"] += 1
        got = [(part or None, found.classes[k]) for part, k in zip(found.parts, found.labels.tolist(), strict=True)]
        assert dict(zip(found.names, got, strict=True)) == {file: what[:2] for file, what in truth.items()}, (
            f"case {number}, {options}, was read as {dict(zip(found.names, got, strict=True))}\n{tree}"
        )
        pixels = {file: int(file[-7:-4]) for file in truth}
        assert found.images[:, 0, 0, 0].tolist() == [pixels[file] for file in found.names], (
            f"case {number}: pictures differ"
        )
        if found.patients:
            patients = [truth[file][2] for file in found.names]
            together = len(set(zip(patients, found.patients, strict=True)))
            assert together == len(set(patients)) == len(set(found.patients)), f"case {number}: patients differ\n{tree}"


def originals() -> dict[str, bytes]:
    """A file of each kind."""
    random = np.random.default_rng(0)
    grey, color = (
        random.integers(0, 256, (24, 20), dtype=np.uint8),
        random.integers(0, 256, (24, 20, 3), dtype=np.uint8),
    )
    made = {}
    for name, values in (
        *((f"{kind}.{kind}", color) for kind in ("png", "jpg", "tif", "bmp", "gif", "webp", "jp2")),
        ("deep.png", grey.astype(np.uint16) * 200),
        ("deep.tif", grey.astype(np.float32)),
    ):
        with tempfile.TemporaryDirectory() as folder:
            Image.fromarray(values).save(Path(folder, name))
            made[name] = Path(folder, name).read_bytes()
            try:
                from domains.test_folders import dicom
            except ImportError:
                continue
            made["x.dcm"] = dicom(Path(folder, "x.dcm"), grey, PatientID="p").read_bytes()
    made["labels.csv"] = ("image,label\n" + "".join(f"{name},{'ab'[i % 2]}\n" for i, name in enumerate(made))).encode()
    return made


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Some bytes changed, cut out, doubled, or the end missing."""
    data = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 5, 20])):
        at, size = draw.randrange(max(len(data), 1)), draw.choice([1, 1, 4, 50])
        match draw.randrange(4):
            case 0:
                data[at : at + size] = draw.randbytes(size)
            case 1:
                del data[at : at + size]
            case 2:
                data[at:at] = data[at : at + size]
            case _:
                data = data[:at] if draw.random() < 0.2 else data
    return bytes(data)


def damage(n: int, outcomes: collections.Counter, first: int = 0) -> None:
    """So many damaged files, ten a folder; one that takes more than 5 s of processor time fails, and a minute ends the process."""
    whole = originals()
    for number in tqdm(range(first, first + n, len(whole)), desc="damaged files", disable=n < 1000):
        draw = random.Random(number)
        with tempfile.TemporaryDirectory() as name:
            for file, content in whole.items():
                Path(name, file).write_bytes(damaged(content, draw))
            faulthandler.dump_traceback_later(60, exit=True)
            began = time.process_time()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for options in ({"layout": ""}, {"labels": "labels.csv:image,label"}):
                    try:
                        found = folders.find(Path(name), size=16, broken="skip", frames="all", **options)
                        outcomes["damaged files read"] += len(set(found.files))
                    except XferlabError as error:
                        assert len(str(error)) > 20
                        outcomes["folders of damaged files refused"] += 1
            faulthandler.cancel_dump_traceback_later()
            assert time.process_time() - began < 5, f"folder {number} of damaged files took over 5 s"


def main(cases: int, files: int, first: int = 0) -> list[str]:
    outcomes: collections.Counter = collections.Counter()
    for number in tqdm(range(first, first + cases), desc="layouts", disable=cases < 1000):
        check(number, outcomes)
    read = sum(outcomes[kind] for kind in ("table", "layout given", "layout found"))
    refused = "; ".join(f"{kind} {n:,}" for kind, n in outcomes.items() if "Error" in kind)
    lines = [
        f"{read:,} of {sum(outcomes.values()):,} random layouts came back picture by picture as they were written ({outcomes['layout found']:,} "
        f"by their names, {outcomes['table']:,} with a table, {outcomes['layout given']:,} with layout=); the others were refused ({refused})"
    ]
    damage(files, outcomes, first)
    lines.append(
        f"{files:,} damaged files: no crash, no other error, no folder of ten over 5 s; {outcomes['damaged files read']:,} readings of a file gave a picture"
    )
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--write", action="store_true", help="into tests/README.md")
    chosen = parser.parse_args()
    said = main(chosen.cases, chosen.files, chosen.first)
    from figures import report

    report("layouts", said, chosen.write)
