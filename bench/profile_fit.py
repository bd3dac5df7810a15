"""Where the time of `fit` goes beside the bare loop's, in counts: operators and Python calls a step, which no other process disturbs.

    python bench/profile_fit.py            # fine-tuning and DANN, lenet, 28 px
    python bench/profile_fit.py --times    # milliseconds a step by operator too, on an idle machine

Prints what `fit` runs more of, or less, than the bare loop of `peers/bare.py` does.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
from collections import Counter

import torch
from run import Row, bare, digits, drawn, fit_dann_vs_bare, warm

import xferlab as xl

STEPS = 20


def finetune() -> Row:
    import copy

    source, _ = digits()
    model = xl.Classifier(xl.encoder("lenet"), source.classes)

    def ours():
        fresh = copy.deepcopy(model)
        return lambda: xl.fit(fresh, source, steps=STEPS, batch_size=64, progress_bar=False)

    def theirs():
        fresh, rows = copy.deepcopy(model), drawn(source, STEPS, 64)
        data = (source.inputs, source.labels, rows)
        return lambda: bare.finetune(
            fresh.encoder.body, fresh.head, *data, lr=1e-3, schedule=warm(), mean=127.5, std=127.5
        )

    return Row(ours, theirs, None, parts=STEPS)


def operators(run, times: bool) -> Counter:
    """Calls of each operator (microseconds of its own with `times`), all steps together."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as found:
        run()
    return Counter({e.key: e.self_cpu_time_total if times else e.count for e in found.key_averages() if "::" in e.key})


def calls(run) -> Counter:
    """Python calls by file and function."""
    profile = cProfile.Profile()
    profile.runcall(run)
    stats = pstats.Stats(profile).stats
    return Counter({f"{file.rsplit('/', 1)[-1]}:{name}": count for (file, _, name), (_, count, *_) in stats.items()})


def show(title: str, ours: Counter, theirs: Counter, parts: int, unit: str, most: int = 14) -> None:
    print(f"\n{title}: {sum(ours.values()) / parts:.0f} {unit} a step in fit, {sum(theirs.values()) / parts:.0f} bare")
    extra = {key: (ours[key] - theirs[key]) / parts for key in ours | theirs}
    for key, value in sorted(extra.items(), key=lambda pair: -abs(pair[1]))[:most]:
        if abs(value) >= 0.5:
            print(f"  {value:+9.1f}  {key}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", action="store_true", help="microseconds by operator, and not only counts")
    options = parser.parse_args()
    for name, row in (("fine-tuning", finetune()), ("DANN", fit_dann_vs_bare(False))):
        for side in (row.ours, row.theirs):
            side()()  # first calls do more
        show(f"{name}, operators", *(operators(side(), False) for side in (row.ours, row.theirs)), row.parts, "calls")
        show(f"{name}, Python", *(calls(side()) for side in (row.ours, row.theirs)), row.parts, "calls")
        if options.times:
            show(f"{name}, operators", *(operators(side(), True) for side in (row.ours, row.theirs)), row.parts, "us")


if __name__ == "__main__":
    main()
