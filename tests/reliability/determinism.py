"""Same seed, same machine: every recipe's bits, in two processes of one thread (with other hash seeds) and one of two threads.

python tests/reliability/determinism.py --write
python tests/reliability/determinism.py --recipes dann coral --steps 4
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
RUNS = {"first": ("1", "1"), "again": ("1", "2"), "two threads": ("2", "3")}  # OMP_NUM_THREADS, PYTHONHASHSEED


def bits(names: list[str], steps: int) -> dict[str, str]:
    """What each recipe leaves on a small problem, weights and history, as a fingerprint."""
    from small import blobs

    import xferlab as xl
    from xferlab.storage import fingerprint

    source, target, found = blobs(48, seed=1, size=28), blobs(48, seed=2, size=28, shift=60).unlabeled(), {}
    for name in names or xl.recipes:
        recipe, model = xl.recipes[name], xl.Classifier(xl.encoder("lenet"), source.classes)
        augment = [xl.augment.Flip(), xl.augment.Noise()]
        settings = dict(steps=steps, batch_size=16, augment=augment, progress_bar=False)
        run = recipe.fit(model, source, target if recipe.needs_target else None, **settings)
        found[name] = fingerprint(model.state_dict(), run.history)
    return found


def main(names: list[str], steps: int) -> tuple[list[str], list[str]]:
    """Lines for the page, and the recipes whose bits changed from one process of one thread to another."""
    begun, seen, kept = {}, {}, tempfile.TemporaryDirectory()
    for run, (threads, hashing) in RUNS.items():
        command = [sys.executable, __file__, "--child", "--steps", str(steps), "--recipes", *names]
        environment = os.environ | {"OMP_NUM_THREADS": threads, "PYTHONHASHSEED": hashing, "OMP_WAIT_POLICY": "passive"}
        environment["XFERLAB_DATA"] = f"{kept.name}/{run}"  # no process reads what another keeps
        begun[run] = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    for run, process in begun.items():
        said, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"the process {run!r} failed; its error is above")
        seen[run] = json.loads(said.splitlines()[-1])
    changed = [name for name, value in seen["first"].items() if seen["again"][name] != value]
    threaded = [name for name, value in seen["first"].items() if seen["two threads"][name] != value]
    n = len(seen["first"])
    lines = [f"{n - len(changed)} of {n} recipes gave the same bits in two processes of one thread, {steps} steps each"]
    lines += [f"changed: {', '.join(changed)}"] if changed else []
    lines += [
        f"{n - len(threaded)} of {n} gave those bits with two threads too; sums in another order: {', '.join(threaded) or 'none'}"
    ]
    return lines, changed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="*", default=[], help="all of xl.recipes if none")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help="into tests/README.md")
    options = parser.parse_args()
    if options.child:
        print(json.dumps(bits(options.recipes, options.steps)))
        sys.exit()
    found, changed = main(options.recipes, options.steps)
    from figures import report

    report("determinism", found, options.write)
    sys.exit(bool(changed))
