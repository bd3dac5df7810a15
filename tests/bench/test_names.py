"""Benchmarks use names that xferlab has: the slow ones run once in months, and a name that has gone would end them after hours."""

import ast
import re
from pathlib import Path

import pytest

import xferlab as xl

SCRIPTS = sorted((Path(__file__).parents[2] / "bench").rglob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_what_a_benchmark_takes_of_xferlab_is_there(path):
    used = {
        ast.unparse(node) for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Attribute)
    }
    for name in sorted(used):
        if re.fullmatch(r"xl(\.\w+)+", name):
            found = xl
            for part in name.split(".")[1:]:
                assert hasattr(found, part), f"{path.name} uses {name}"
                found = getattr(found, part)
