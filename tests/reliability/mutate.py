"""Do the tests notice? Changes one operator, number, condition or line of the package at a time and runs its tests.

    python tests/reliability/mutate.py --sample 400 --write      # a seeded sample over objectives, transferability, selection
    python tests/reliability/mutate.py --sample 20 --only selection
    python tests/reliability/mutate.py --kept runs/mutants.json --write    # the second time: only what survived the first

Each mutant runs in a fork of this process, which has imported every library but not the package: the fork imports the
package with the mutated module in it and runs the tests that mirror that module, up to the first that fails. A mutant
that outlasts ten times what the tests take counts as killed. Messages of errors, docstrings and annotations are not
mutated. Survivors are listed with their line and count against the score, whether or not they change what a caller sees.
With `--kept` the killed are written to a file and not tried again while their module is unchanged: tests that killed one still
do after further tests are added beside them.
"""

import argparse
import ast
import copy
import hashlib
import importlib.abc
import importlib.util
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: a fork must find no threads
os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = tempfile.mkdtemp(prefix="mutate-")
ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import pytest  # noqa: E402

OBJECTIVES = (
    "adversarial",
    "discrepancy",
    "masked_language",
    "objective",
    "pretraining",
    "regularization",
    "selftraining",
    "supervised",
)
TESTS = {f"objectives.{name}": [f"tests/objectives/test_{name}.py"] for name in OBJECTIVES}
TESTS["objectives.disparity"] = ["tests/objectives/test_adversarial.py"]
TESTS["objectives.objective"] = ["tests/training/test_fit.py", "tests/objectives/test_adversarial.py"]
SCORES = ("distances", "matrices", "transferability")
TESTS |= {name: ["tests/test_transferability.py"] for name in SCORES}
VALIDATORS = ("confidence", "retraining", "selection")
TESTS |= {f"comparison.{name}": ["tests/comparison/test_selection.py"] for name in VALIDATORS}
TESTS["comparison.selection"] = [*TESTS["comparison.selection"], "tests/comparison/test_sites.py"]
TESTS = {name: ["tests/reliability/test_defaults.py", *files] for name, files in TESTS.items()}
SWAPS = {
    **{
        ast.Add: ast.Sub,
        ast.Sub: ast.Add,
        ast.Mult: ast.Div,
        ast.Div: ast.Mult,
        ast.Pow: ast.Mult,
        ast.MatMult: ast.Add,
    },
    **{
        ast.FloorDiv: ast.Div,
        ast.Mod: ast.Mult,
        ast.BitOr: ast.BitAnd,
        ast.BitAnd: ast.BitOr,
        ast.And: ast.Or,
        ast.Or: ast.And,
    },
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In},
}


def path_of(module: str) -> Path:
    return ROOT / "xferlab" / (module.replace(".", "/") + ".py")


def changes(node: ast.AST) -> list:
    """Functions that each change this node in place, as another programmer might have mistyped it."""
    found = []
    if isinstance(node, (ast.BinOp, ast.BoolOp, ast.AugAssign)) and type(node.op) in SWAPS:
        found.append(lambda n: setattr(n, "op", SWAPS[type(n.op)]()))
    if isinstance(node, ast.Compare):
        found.append(lambda n: n.ops.__setitem__(0, SWAPS[type(n.ops[0])]()))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        found.append(lambda n: setattr(n, "op", ast.UAdd()))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        found.append(lambda n: setattr(n, "operand", ast.UnaryOp(ast.Not(), n.operand)))
    if isinstance(node, (ast.If, ast.IfExp)):
        found.append(lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test)))
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        found.append(lambda n: setattr(n, "value", not n.value))
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        found.append(lambda n: setattr(n, "value", n.value + 1))
        if node.value:
            found.append(lambda n: setattr(n, "value", n.value / 2 if isinstance(n.value, float) else 0))
    if isinstance(node, ast.Return) and node.value is not None:
        found.append(lambda n: setattr(n, "value", ast.Constant(None)))
    return found


def sites(tree: ast.Module) -> list[tuple[int, int]]:
    """`(which node in walking order, which change)` for all that may be mutated."""
    found = []
    spared = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Raise, ast.Assert, ast.Import, ast.ImportFrom, ast.JoinedStr)):
            spared.update(map(id, ast.walk(node)))
        for name in ("annotation", "returns"):
            if getattr(node, name, None) is not None:
                spared.update(map(id, ast.walk(getattr(node, name))))
    for i, node in enumerate(ast.walk(tree)):
        if id(node) in spared:
            continue
        found += [(i, j) for j in range(len(changes(node)))]
        for field in ("body", "orelse"):  # a line left out: a call, or a sum that is not added to
            for k, line in enumerate(getattr(node, field, []) if isinstance(getattr(node, field, []), list) else []):
                call = isinstance(line, ast.Expr) and isinstance(line.value, ast.Call)
                if call or isinstance(line, ast.AugAssign):
                    found.append((i, (field, k)))
    return found


def mutant(tree: ast.Module, which: int, change) -> tuple[ast.Module, int, str]:
    """The changed tree, the line, and what became of it."""
    tree = copy.deepcopy(tree)
    node = next(node for i, node in enumerate(ast.walk(tree)) if i == which)
    if isinstance(change, tuple):
        field, k = change
        line = getattr(node, field)[k]
        getattr(node, field)[k] = ast.copy_location(ast.Pass(), line)
        return tree, line.lineno, f"`{ast.unparse(line)}` left out"
    before = ast.unparse(node)
    changes(node)[change](node)
    after = ast.unparse(node)

    def short(text):
        return text.splitlines()[0][:70]

    return ast.fix_missing_locations(tree), node.lineno, f"`{short(before)}` became `{short(after)}`"


class Finder(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Gives one module of the package from a tree instead of its file."""

    def __init__(self, module: str, tree: ast.Module):
        self.name, self.path = f"xferlab.{module}", path_of(module)
        self.code = compile(tree, str(self.path), "exec")

    def find_spec(self, name, path=None, target=None):
        if name == self.name:
            return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def get_code(self, name):
        return self.code

    def get_source(self, name):
        return self.path.read_text("utf-8")


def run(module: str, tree: ast.Module, limit: float) -> tuple[bool, float]:
    """Whether the module's tests pass with this tree for its source, in a fork, and the seconds they took."""
    began = time.perf_counter()
    if (pid := os.fork()) == 0:
        os.setpgid(0, 0)
        signal.alarm(max(1, round(limit)))  # kills, unless the tests set one of their own
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1), os.dup2(quiet, 2)
        code = 1
        try:
            sys.meta_path.insert(0, Finder(module, tree))
            os.chdir(ROOT)
            code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *TESTS[module]]))
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    try:
        os.killpg(pid, signal.SIGKILL)  # processes that its tests began
    except (ProcessLookupError, PermissionError):
        pass
    return os.waitstatus_to_exitcode(status) == 0, time.perf_counter() - began


def main(sample: int, seed: int, only: str | None, kept: Path | None) -> list[str]:
    import hypothesis, pandas, scipy.stats, sklearn.linear_model, sklearn.model_selection, timm, torch, torchvision, tqdm  # noqa: E401, F401, I001

    torch.set_num_threads(1)
    chosen = [name for name in TESTS if only in (None, name)]
    trees = {name: ast.parse(path_of(name).read_text("utf-8")) for name in chosen}
    everything = [(name, *site) for name in chosen for site in sites(trees[name])]
    drawn = sorted(
        random.Random(seed).sample(everything, min(sample, len(everything))), key=lambda m: chosen.index(m[0])
    )
    killed, tried, survivors, limit = dict.fromkeys(chosen, 0), dict.fromkeys(chosen, 0), [], {}
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
    dead = set(json.loads(kept.read_text())) if kept and kept.is_file() else set()
    source = {name: hashlib.sha256(path_of(name).read_bytes()).hexdigest()[:16] for name in chosen}
    for name, which, change in drawn:
        mark = f"{name} {source[name]} {which} {change}"
        tried[name] += 1
        if mark in dead:
            killed[name] += 1
            continue
        if name not in limit:
            passed, seconds = run(name, trees[name], 3600)
            assert passed, f"the tests of {name} fail without any mutant: {TESTS[name]}"
            limit[name] = 10 * seconds + 10
        tree, line, what = mutant(trees[name], which, change)
        passed, seconds = run(name, tree, limit[name])
        killed[name] += not passed
        if passed:
            survivors.append(f"{name.replace('.', '/')}.py:{line}: {what}")
        elif kept:
            dead.add(mark)
            half = kept.with_suffix(".half")  # not the package's way: this process must not import it
            half.write_text(json.dumps(sorted(dead)))
            half.replace(kept)
        print(
            f"{sum(killed.values())} of {sum(tried.values())} killed; {seconds:.1f} s",
            survivors[-1] if passed else "",
            flush=True,
        )
    gone, total = sum(killed.values()), sum(tried.values())
    lines = [
        f"{gone} of {total} mutants killed ({100 * gone / total:.1f} %), drawn with seed {seed} from {len(everything):,}"
    ]
    lines += [f"{name.replace('.', '/')}.py: {killed[name]} of {tried[name]}" for name in chosen if tried[name]]
    return lines + [f"survived: {line}" for line in survivors]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=TESTS)
    parser.add_argument("--kept", type=Path, help="a JSON file of mutants killed before, read and written")
    parser.add_argument("--write", action="store_true", help="into tests/README.md")
    options = parser.parse_args()
    found = main(options.sample, options.seed, options.only, options.kept)
    from figures import report

    report("mutation", found, options.write)
