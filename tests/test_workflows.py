"""What runs elsewhere: the workflows are YAML, and do nothing but what the Makefile's targets do on any machine."""

import os
import re
import subprocess
from pathlib import Path

import pytest

import xferlab

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[1]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


@pytest.mark.parametrize("file", sorted(ROOT.glob(".github/workflows/*.yml")), ids=lambda file: file.stem)
def test_a_workflow_calls_nothing_but_targets_of_the_makefile(file):
    """Fails where a step runs a command of its own, or a target that is not there, so that nobody could run it at home."""
    called = []
    for job in yaml.safe_load(file.read_text("utf-8"))["jobs"].values():
        named = [
            row["target"] for row in job.get("strategy", {}).get("matrix", {}).get("include", []) if "target" in row
        ]
        for step in job["steps"]:
            if "run" in step and not step["run"].startswith(
                "test -f "
            ):  # whether what `make` should have made is there
                words = step["run"].replace("${{ matrix.target }}", " ".join(named)).split()
                assert words[0] == "make", step["run"]
                called += [word for word in words[1:] if "=" not in word]
    assert called and set(called) <= TARGETS, set(called) - TARGETS


@pytest.mark.parametrize("tag, fits", [(f"v{xferlab.__version__}", True), ("v999.0", False), ("main", False)])
def test_a_release_is_refused_under_a_tag_that_says_another_version(tag, fits, tmp_path):
    """Nothing is published that the build has not let pass, and the build stops where what it made is not called as the tag."""
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text("utf-8"))["jobs"]
    assert jobs["publish"]["needs"] == "build"
    (check,) = [step["run"] for step in jobs["build"]["steps"] if step.get("run", "").startswith("test -f ")]
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / f"xferlab-{xferlab.__version__}.tar.gz").touch()
    done = subprocess.run(["sh", "-ec", check], cwd=tmp_path, env=os.environ | {"GITHUB_REF_NAME": tag})
    assert (done.returncode == 0) == fits


def test_a_commit_is_held_to_the_same_ruff():
    """Fails where a commit hook brings a ruff of its own, which would format what `make lint` then refuses."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert [hook["entry"].split()[0] for repo in hooks for hook in repo["hooks"]] == ["ruff", "ruff"]
    assert all(repo["repo"] == "local" for repo in hooks)
