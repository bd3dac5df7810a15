"""How cost grows: time an image and memory from 1,000 to 64,000 images, each size in a process of its own.

    python bench/scale.py                # five repetitions, about eight minutes on two idle cores
    python bench/scale.py --quick        # 200 and 400 images, to see that it runs; writes nothing

A lenet is trained on 64 px pictures for one pass, 16,000 images at least, then predicts all of them. Time an image counts everything
that `fit` does, what it does before the first step too. A machine's speed drifts by more than the 15 % that are allowed, so each process
does the same work on 1,000 of its images just before and just after, and `fit_growth` and `evaluate_growth` are its time an image over the
mean of those two. Each figure is the median over repetitions, in which the sizes take turns; spread is the range of `fit_growth` over its
median. Bytes an input byte are the growth of the process's peak memory from the smallest size over the growth of its input: 1.0 is the
pictures themselves. Writes `bench/scale.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

SIZES = (1000, 4000, 16_000, 64_000)
SEEN = 16_000  # images a training run sees at least, so that no size is measured on its start alone


def child(n: int, seen: int, threads: int) -> dict:
    import torch

    import xferlab as xl
    from xferlab.storage import fingerprint

    torch.set_num_threads(threads)
    inputs = torch.randint(0, 256, (n, 3, 64, 64), dtype=torch.uint8)
    domain = xl.Domain(inputs, torch.arange(n) % 8, tuple("abcdefgh"), name="noise", synthetic=True)
    model = xl.Classifier(xl.encoder("lenet"), domain.classes)
    few = domain[: min(n, SIZES[0])]
    xl.fit(model, few, steps=5, progress_bar=False)  # what only a first step costs

    def cost(domain: xl.Domain) -> tuple[float, float]:
        """Microseconds an image that `fit` and `evaluate` take."""
        steps, times = max(seen, len(domain)) // 64, max(1, seen // len(domain))
        began = time.perf_counter()
        xl.fit(model, domain, steps=steps, progress_bar=False)
        trained = time.perf_counter()
        for _ in range(times):
            xl.evaluate(model, domain)
        return 1e6 * (trained - began) / (steps * 64), 1e6 * (time.perf_counter() - trained) / (times * len(domain))

    before, (fit, evaluate), after = cost(few), cost(domain), cost(few)
    began = time.perf_counter()
    fingerprint(domain.inputs)  # as a checkpoint or `compare` takes of the data
    named = time.perf_counter() - began
    return {
        "images": n,
        "fit_us": round(fit, 1),
        "fit_growth": round(2 * fit / (before[0] + after[0]), 3),
        "evaluate_us": round(evaluate, 1),
        "evaluate_growth": round(2 * evaluate / (before[1] + after[1]), 3),
        "fingerprint_us": round(1e6 * named / n, 1),
        "input_mb": round(inputs.numel() / 1e6, 1),
        "peak_mb": round(peak() / 1e6, 1),
    }


def peak() -> int:
    """Bytes this process held at most. Linux's own figure where there is one: `ru_maxrss` starts from the parent's."""
    status = Path("/proc/self/status")
    if status.is_file():
        return next(1024 * int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5, help="repetitions of each size")
    parser.add_argument("--quick", action="store_true", help="small sizes; writes nothing")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes, seen = ((200, 400), 400) if options.quick else (SIZES, SEEN)
    if options.child:
        print(json.dumps(child(options.child, seen, options.threads)))
        return
    command = [sys.executable, __file__, "--threads", str(options.threads), *["--quick"] * options.quick, "--child"]
    found: dict[int, list[dict]] = {n: [] for n in sizes}
    for repetition in range(1 if options.quick else options.repeat):
        for n in sizes if repetition % 2 else sizes[::-1]:
            done = subprocess.run([*command, str(n)], stdout=subprocess.PIPE, text=True, check=True)
            found[n].append(json.loads(done.stdout.splitlines()[-1]))
    rows: list[dict] = []
    print(
        f"{'images':>7} {'fit':>9} {'growth':>6} {'spread':>6} {'evaluate':>9} {'growth':>6} {'fingerprint':>11}  {'input':>6}  {'peak':>7}  "
        "bytes an input byte"
    )
    for n, each in found.items():
        row = {key: statistics.median(one[key] for one in each) for key in each[0]}
        growth = [one["fit_growth"] for one in each]
        row["fit_spread"] = round((max(growth) - min(growth)) / row["fit_growth"], 2)
        rows.append(row)
        grown = row["input_mb"] - rows[0]["input_mb"]
        row["bytes_per_input_byte"] = round((row["peak_mb"] - rows[0]["peak_mb"]) / grown, 2) if grown else None
        print(
            f"{n:7} {row['fit_us']:6.1f} us {row['fit_growth']:6.2f} {row['fit_spread']:6.0%} {row['evaluate_us']:6.1f} us "
            f"{row['evaluate_growth']:6.2f} {row['fingerprint_us']:8.1f} us {row['input_mb']:6.0f} MB {row['peak_mb']:6.0f} MB  "
            f"{row['bytes_per_input_byte'] or '-'}"
        )
    slope = statistics.linear_regression(*([row[key] for row in rows] for key in ("input_mb", "peak_mb"))).slope
    print(f"memory: {slope:.2f} bytes an input byte, the slope through all sizes")
    if not options.quick:
        from xferlab.storage import write_atomically

        with write_atomically(Path(__file__).with_name("scale.json")) as temporary:
            temporary.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", "utf-8")


if __name__ == "__main__":
    main()
