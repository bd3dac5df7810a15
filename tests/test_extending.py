"""CONTRIBUTING's technique and data source, as a package of somebody else's that lies on the path."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOLD = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


@pytest.fixture
def package(tmp_path):
    """The modules of CONTRIBUTING and the metadata that pip would make of its entry points."""
    for name, code in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", TOLD, flags=re.DOTALL):
        (tmp_path / name).write_text(code)
    groups = tomllib.loads(re.search(r"```toml\n(.*?)```", TOLD, flags=re.DOTALL)[1])["project"]["entry-points"]
    groups["xferlab.recipes"]["broken"] = "means:absent"
    lines = [f"[{group}]\n" + "\n".join(f"{k} = {v}" for k, v in entries.items()) for group, entries in groups.items()]
    (tmp_path / "wards-1.0.dist-info").mkdir()
    (tmp_path / "wards-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: wards\nVersion: 1.0\n")
    (tmp_path / "wards-1.0.dist-info" / "entry_points.txt").write_text("\n".join(lines))
    return tmp_path


def python(code, path, cwd):
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(path), str(ROOT)]), "XFERLAB_DATA": str(cwd)}
    return subprocess.run([sys.executable, "-c", code], env=env, cwd=cwd, capture_output=True, text=True)


def test_a_package_s_recipe_and_domain_stand_in_a_comparison(package):
    """A registry read before other packages are, a domain that only ours can be, a broken entry that takes all along."""
    done = python(
        "import xferlab as xl\n"
        "board = xl.compare(['source_only', 'pulled'], xl.load('wards/a'), xl.load('wards/b', seed=1), encoder='lenet', seeds=1, steps=2)\n"
        "print(*board.names, len(board.finished('pulled')), xl.recipes['pulled'].about)",
        package,
        package,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-6:] == ["source_only", "pulled", "1", "means", "pulled", "together"]
    assert "recipe broken (means:absent) is left out" in done.stderr


def test_the_snippets_are_as_short_as_they_say():
    """The README says twelve and fifteen lines."""
    codes = re.findall(r"```python\n# \w+\.py\n(.*?)```", TOLD, flags=re.DOTALL)
    lengths = [len([line for line in code.splitlines() if line.strip()]) for code in codes]
    assert len(lengths) == 2 and lengths[0] <= 12 and lengths[1] <= 15
