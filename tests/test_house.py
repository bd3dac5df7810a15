"""The house: three floors, no circle, rooms small enough to live in, and no private name outside its module."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import xferlab

ROOT = Path(xferlab.__file__).parent
FILES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}
FLOORS = {"comparison": 1, "course": 2, "cli": 3, "__main__": 3}


def floor(module: str) -> int:
    return FLOORS.get((module.split(".") + [""])[1], 0)


def imports(module: str) -> set[tuple[str, str]]:
    """(module, name) of each import of ours that runs when `module` is imported."""
    package = module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]
    found, waiting = set(), [ast.parse(FILES[module].read_text("utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue  # runs later
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and node.level:
            parts = package.split(".")
            base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                found.add((whole, "") if whole in FILES else (base, alias.name))
        waiting += ast.iter_child_nodes(node)
    return found


GRAPH = {module: {name for name, _ in imports(module) if name in FILES and name != module} for module in FILES}


def test_nothing_imports_upwards():
    upward = [f"{a} -> {b}" for a, others in GRAPH.items() for b in others if floor(b) > floor(a)]
    assert not upward, upward


def test_no_circle():
    """Each module can be put after what it imports; a package stands for what its `__init__` holds."""
    left = {module: set(others) for module, others in GRAPH.items()}
    while ready := [module for module, others in left.items() if not others & left.keys()]:
        for module in ready:
            del left[module]
    # a submodule may import a sibling although its package imports both: only what is left apart from that is a circle
    circles = {a: {b for b in others & left.keys() if not a.startswith(b + ".")} for a, others in left.items()}
    while ready := [module for module, others in circles.items() if not others & circles.keys()]:
        for module in ready:
            del circles[module]
    assert not circles, circles


def test_private_names_stay_in_their_module():
    stray = [
        f"{module} takes {name} from {base}"
        for module in FILES
        for base, name in imports(module)
        if name.startswith("_") and not name.startswith("__")
    ]
    assert not stray, stray


def test_rooms_are_small():
    """A file counts whole; a function or a class without its own docstring, which the API's pages are made of."""
    crowded = []
    for path in FILES.values():
        text = path.read_text("utf-8")
        if (lines := len(text.splitlines())) > 400:
            crowded.append(f"{path.name}: {lines} lines, at most 400")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                doc = node.body[0] if ast.get_docstring(node) else None
                size = node.end_lineno - node.lineno + 1 - (doc.end_lineno - doc.lineno + 1 if doc else 0)
                most = 200 if isinstance(node, ast.ClassDef) else 120
                if size > most:
                    crowded.append(f"{path.name}: {node.name} has {size} lines, at most {most}")
    assert not crowded, crowded


PUBLIC = re.findall(r" as (\w+)", ROOT.joinpath("__init__.pyi").read_text("utf-8"))


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_import(name):
    assert getattr(xferlab, name) is not None and name in dir(xferlab)


@pytest.mark.parametrize(
    "name",
    "selection lab checks widgets recipes estimation augment plots transferability strategies objectives".split(),
)
def test_public_modules_are_where_they_are_documented(name):
    assert getattr(importlib.import_module("xferlab"), name) is getattr(xferlab, name)


def test_import_is_lazy():
    code = "import sys, xferlab; print([m for m in ('torch', 'timm', 'sklearn', 'matplotlib', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
