"""The wheel as a learner meets it: installed beside the test environment's packages, away from the checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytest.importorskip("setuptools")
pytest.importorskip("nbclient")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """That of `make release`, else one built from a copy of what git tracks, so that nothing is left in the checkout."""
    if built := os.environ.get("XFERLAB_WHEEL"):
        return next(Path(built).resolve().glob("*.whl"))
    place = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "bench/", "labs/solutions/", "labs/teaching/")):
            (place / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            (place / "tree" / name).write_bytes((ROOT / name).read_bytes())
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(place)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "./tree"], cwd=place, check=True)
    return next(place.glob("*.whl"))


def test_the_wheel_carries_the_course_and_no_answer_in_the_clear(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        text = "".join(archive.read(name).decode("utf-8", "replace") for name in names if "course/labs" in name)
    course = [name for name in names if name.startswith("xferlab/course/labs/")]
    assert "xferlab/course/labs/course.toml" in course
    assert sum(name.endswith(".ipynb") for name in course) == 11
    assert not [name for name in names if "solutions" in name or "source" in name or name.endswith("build.py")]
    rooms = {str(path.parent.relative_to(ROOT)) for path in (ROOT / "xferlab").rglob("__init__.py")}
    assert rooms == {str(Path(name).parent) for name in names if name.endswith("__init__.py")}
    for answer in ("counts()[8]", "Index the tensor that", "A choice made with target labels is training on them"):
        assert answer not in text
    with zipfile.ZipFile(wheel) as archive:
        code = [
            file for file in archive.infolist() if file.filename.startswith("xferlab/")
        ]  # without the list of all files
        library = sum(file.compress_size for file in code if not file.filename.startswith("xferlab/course/"))
    assert library < 300_000 and wheel.stat().st_size < 750_000  # notebooks carry their drawings


def test_installed_alone_it_starts_lists_runs_resets_and_reads(wheel, tmp_path):
    place = tmp_path / "env"
    venv.create(place, with_pip=False, symlinks=os.name != "nt")
    python = next(p for p in (place / "bin" / "python", place / "Scripts" / "python.exe") if p.exists())
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "XFERLAB_DATASET")}
    env |= {"XFERLAB_PROFILE": "quick", "XFERLAB_DATA": str(tmp_path / "cache"), "PYTHONSAFEPATH": "1"}
    (
        tmp_path / "share"
    ).mkdir()  # nbconvert's templates lie beside the packages, and its kernel must be the new one's own
    (tmp_path / "share" / "nbconvert").symlink_to(Path(sys.prefix, "share", "jupyter", "nbconvert"))
    env["JUPYTER_PATH"] = str(tmp_path / "share")

    def run(*command, cwd=tmp_path):
        ran = subprocess.run([python, "-m", *command], cwd=cwd, env=env, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.run([python, "-c", ask], env=env, capture_output=True, text=True, check=True).stdout.strip())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*pip, str(wheel)], check=True)
    (site / "others.pth").write_text(
        sysconfig.get_path("purelib") + "\n"
    )  # torch and its kind; not the checkout's finder
    where = subprocess.run([python, "-c", "import xferlab; print(xferlab.__file__)"], env=env, cwd=tmp_path, capture_output=True, text=True)  # fmt: skip
    assert str(site) in where.stdout, where

    assert "00_start_here.ipynb" in run("xferlab.cli", "labs", "start", "course", "--no-open")
    course = tmp_path / "course"
    assert len(list(course.glob("*.ipynb"))) == 11 and (course / "results").is_dir()
    assert run("xferlab.cli", "labs", "list", cwd=course).startswith("00  Start here")
    for number in ("00", "02"):
        out = run("xferlab.cli", "labs", "run", number, cwd=course)
        assert "balanced accuracy" in out
    page = json.loads((course / "runs" / "00_start_here.ipynb").read_text())
    printed = "".join("".join(o.get("text", "")) for cell in page["cells"] for o in cell.get("outputs", []))
    assert "Exercise 00.1: passed" in printed
    assert "Yours is" in run("xferlab.cli", "labs", "reset", "00", cwd=course)
    assert "not begun" in run("xferlab.cli", "labs", "status", cwd=course)
