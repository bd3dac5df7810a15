"""A course in one file, for a classroom without internet: wheels, weights, data, notebooks and a script that installs them."""

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError, MissingExtra
from ..storage import write_atomically

LEFT_OUT = ("__pycache__", ".ipynb_checkpoints", "drafts", "runs", "install.py")


def bake() -> None:
    """Loads every domain that needs no network, so that what is slow to make is in the cache (`$XFERLAB_DATA`) afterwards."""
    from ..domains import catalog, load

    for entry in catalog():
        if entry.network == "no":
            try:
                load(entry.name)
                print(f"{entry.name}: ready")
            except MissingExtra as error:
                print(f"{entry.name}: left out, {error}")


def pinned(root: str, extras: Sequence[str] = (), without: Sequence[str] = ()) -> dict[str, str]:
    """What `root[extras]` needs, as installed here: name to version, `root` included.

    Follows requirements as pip would on this machine; packages named in `without`, and what only they need, stay out.
    Raises `MissingExtra` for one that is not installed.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
    from packaging.version import Version

    out, seen, found = {canonicalize_name(name) for name in without}, set(), {}
    todo = [(canonicalize_name(root), frozenset(extras))]
    while todo:
        name, wanted = todo.pop()
        if name in out or (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        try:
            installed = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError as error:
            raise MissingExtra(name, extra=",".join(extras) or "labs") from error
        found[name] = str(Version(installed.version))
        for line in installed.requires or []:
            requirement = Requirement(line)
            if requirement.marker is None or any(requirement.marker.evaluate({"extra": e}) for e in ("", *wanted)):
                todo.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return dict(sorted(found.items()))


def write(
    out: str | Path,
    labs: Path,
    *,
    extras: Sequence[str] = ("labs", "nlp"),
    without: Sequence[str] = (),
    wheels: Path | None = None,
    data: bool = True,
) -> Path:
    """Writes the bundle to `out`, a `.zip` with the one folder `xferlab-course`, and returns its path.

    labs     the checkout's `labs` folder
    extras   of the package, as in `pip install 'xferlab[labs,nlp]'`
    without  packages that the classroom has already, e.g. `torch`; what only they need is left out with them
    wheels   a folder of wheels; what is there is not fetched (`pip wheel` gets the rest, at the versions installed here)
    data     also the cached data, made now
    The wheels are for this kind of machine and this Python. Raises `DataError` when a wheel cannot be had.
    """
    versions = pinned("xferlab", extras, without)
    with tempfile.TemporaryDirectory() as place:
        course = Path(place) / "xferlab-course"
        shutil.copytree(labs, course / "labs", ignore=shutil.ignore_patterns(*LEFT_OUT))
        brought = {"data": (labs.parent / "data").glob("*.md"), "wheels": wheels.glob("*.whl") if wheels else ()}
        for name, files in brought.items():
            (course / name).mkdir()
            for file in files:
                shutil.copy(file, course / name)
        _fetch(versions, course / "wheels", labs.parent)
        (course / "cache").mkdir()
        if data:
            code = "from xferlab.course import bundle; bundle.bake()"
            env = os.environ | {"XFERLAB_DATA": str(course / "cache")}
            subprocess.run([sys.executable, "-c", code], check=True, env=env)
        machine = [*platform.python_version_tuple()[:2], platform.system(), platform.machine()]
        about = json.dumps({"machine": machine, "without": list(without)}, indent=1)
        (course / "about.json").write_text(about, "utf-8")
        (course / "requirements.txt").write_text("".join(f"{n}=={v}\n" for n, v in versions.items()), "utf-8")
        shutil.copy(labs / "install.py", course)
        with write_atomically(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for file in sorted(course.rglob("*")):
                archive.write(file, file.relative_to(place))  # wheels and arrays are compressed already
    size = Path(out).stat().st_size / 1e6
    print(f"{out}: {size:.0f} MB, {len(versions)} packages. In the classroom: unpack it, python install.py")
    return Path(out)


def _fetch(versions: dict[str, str], folder: Path, checkout: Path) -> None:
    """Puts a wheel of each of `versions` into `folder`: the course's own from the checkout, the others through pip."""
    from packaging.utils import parse_wheel_filename

    found = {(name, str(version)) for name, version, *_ in (parse_wheel_filename(f.name) for f in folder.glob("*.whl"))}
    missing = [f"{name}=={version}" for name, version in versions.items() if (name, version) not in found]
    print(f"{len(versions)} packages, {len(missing)} to fetch")
    if (checkout / "pyproject.toml").is_file():
        missing = [str(checkout) if line.startswith("xferlab==") else line for line in missing]
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), *missing]
    if missing and (ran := subprocess.run(command, capture_output=True, text=True)).returncode:
        raise DataError(
            f"pip could not make the wheels ({ran.stderr.strip()[-400:]}); fetch them where there is a network, or put "
            "them into a folder and pass --wheels, or leave a package out with --without"
        )
