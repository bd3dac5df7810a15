"""The twelve 2-D MedMNIST sets (Yang et al. 2023, Scientific Data 10:41), fetched from their host and checked."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
from pathlib import Path

from ..errors import ArgumentError, DataError, DownloadError, MissingExtra
from ..storage import cache_folder, verify
from . import arrays
from .domain import Splits
from .download import fetch

# these have no top: skin is photographed from any side
MICROSCOPY = ("pathmnist", "bloodmnist", "tissuemnist", "dermamnist")
SIZES = (28, 64, 128, 224)


def load(name: str, *, size: int = 28, seed: int = 0) -> Splits:
    """One set, by its `medmnist` name such as `bloodmnist`, at 28, 64, 128 or 224 px, with its official split.

    The file is looked for in `$XFERLAB_DATA/medmnist` (else `~/.cache/xferlab/medmnist`), in `$XFERLAB_DATA` and in
    `~/.medmnist`, and downloaded to the first where it is in none; its MD5 is checked each time.

    Raises
    ------
    ArgumentError
        For another size.
    DataError
        For an unknown set.
    ChecksumError
        For wrong bytes.
    DownloadError
        Without a network.
    MissingExtra
        Without the `medmnist` package, whose records hold addresses and checksums.
    """
    known = records()
    if name not in known:
        raise DataError(f"medmnist/{name} is not among the package's 2-D sets: {', '.join(known)}")
    if size not in SIZES:
        raise ArgumentError(f"medmnist/{name} at size {size} does not exist, expected one of {SIZES}")
    suffix = "" if size == 28 else f"_{size}"
    url, md5 = known[name][f"url{suffix}"], known[name][f"MD5{suffix}"]
    if path := held(name, size):
        verify(path, md5, "md5")
    else:
        path = _places(name, size)[0]
        try:
            fetch(url, path, md5)
        except DownloadError as error:
            raise DownloadError(
                f"medmnist/{name} at {size} px needs {path.name}, which is not here and could not be fetched: {error}; put that "
                f"file at {path}, or use an embedded domain instead, load('cells/site-a') or load('digits/mnist')"
            ) from error
    splits = arrays.load(path, classes=classes(name), name=f"medmnist/{name}", seed=seed, official=True)
    return splits.augmented("any_way_up" if name in MICROSCOPY else "upright")


def records() -> dict[str, dict]:
    """The `medmnist` package's records of its 2-D sets: url, MD5, label, license, n_samples and more, by name.

    Read from the package's source without importing it: its import pulls in torchvision and pandas and makes a folder in the
    user's home.

    Raises
    ------
    MissingExtra
        Where the package is not installed.
    """
    package = importlib.util.find_spec("medmnist")
    if package is None or package.origin is None:
        raise MissingExtra("medmnist", extra="labs")
    module = ast.parse(Path(package.origin).with_name("info.py").read_text(encoding="utf-8"))
    assigned = [line for line in module.body if isinstance(line, ast.Assign)]
    info = next(ast.literal_eval(line.value) for line in assigned if ast.unparse(line.targets[0]) == "INFO")
    return {name: record for name, record in info.items() if not name.endswith("3d")}


def classes(name: str) -> tuple[str, ...]:
    """Class names in label order, without the explanations in brackets."""
    label = records()[name]["label"]
    return tuple(re.sub(r"\s*\(.*\)", "", label[str(k)]) for k in range(len(label)))


def held(name: str, size: int) -> Path | None:
    """Where the file of a set is on this machine, or None."""
    # not Path.is_file, which raises on a home that may not be looked into
    return next((path for path in _places(name, size) if os.path.isfile(path)), None)


def _places(name: str, size: int) -> list[Path]:
    file = f"{name}.npz" if size == 28 else f"{name}_{size}.npz"
    return [cache_folder("medmnist", file), cache_folder(file), Path.home() / ".medmnist" / file]
