"""How cost grows: time an image and memory from 1,000 to 64,000 images, each size in a process of its own.

    python bench/scale.py                # five repetitions, about eight minutes on two idle cores
    python bench/scale.py --disk         # once, 10 GB of pictures that stay on disk: under four minutes and 21 GB of disk
    python bench/scale.py --quick        # 200 and 400 images, to see that it runs; writes nothing

A lenet is trained on 64 px pictures for one pass, 16,000 images at least, then predicts all of them. Time an image counts everything
that `fit` does, what it does before the first step too. A machine's speed drifts by more than the 15 % that are allowed, so each process
does the same work on 1,000 of its images just before and just after, and `fit_growth` and `evaluate_growth` are its time an image over the
mean of those two. Each figure is the median over repetitions, in which the sizes take turns; spread is the range of `fit_growth` over its
median. Bytes an input byte are the growth of the process's peak memory from the smallest size over the growth of its input: 1.0 is the
pictures themselves.

With `--disk`, a `.npz` of 10 GB is made, loaded, trained on, embedded, compared on and predicted on in one process, and deleted. `held_mb` is
the most that the process held in memory of its own, looked at every 5 ms; pages of files are not counted, since the kernel takes them
back when memory is short. The encoder is a mean over fields of a picture: what is measured is where the pictures are.

Writes `bench/scale.json`; each of the two keeps the other's rows.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

WRITTEN = Path(__file__).with_name("scale.json")
SIZES = (1000, 4000, 16_000, 64_000)
SHARES = {"train": 0.7, "val": 0.1, "test": 0.2}
SEEN = 16_000  # images a training run sees at least, so that no size is measured on its start alone


def child(n: int, seen: int, threads: int) -> dict:
    import torch

    import xferlab as xl
    from xferlab.machine import peak_memory
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
        "peak_mb": round(1000 * peak_memory(), 1),
    }


PIXELS, BLOCK = 96, 1024  # of a picture on disk; pictures that are written at a time


def write_npz(path: Path, gigabytes: float) -> None:
    """Noise, uncompressed: blocks of the same random pictures, each turned over by its own number; seven tenths to train."""
    import numpy as np

    noise = np.random.default_rng(0).integers(0, 256, (BLOCK, PIXELS, PIXELS, 3), dtype=np.uint8)
    blocks = {name: max(1, round(share * gigabytes * 1e9 / noise.nbytes)) for name, share in SHARES.items()}
    numbers = itertools.count()
    with zipfile.ZipFile(path, "w") as archive:
        for part, n in blocks.items():
            with archive.open(f"{part}_images.npy", "w", force_zip64=True) as file:
                head = {"descr": "|u1", "fortran_order": False, "shape": (n * BLOCK, *noise.shape[1:])}
                np.lib.format.write_array_header_1_0(file, head)
                for _ in range(n):
                    file.write((noise ^ np.uint8(37 * next(numbers) % 256)).data)
            with archive.open(f"{part}_labels.npy", "w") as file:
                np.lib.format.write_array(file, np.arange(n * BLOCK) % 8)


def on_disk(path: Path, threads: int) -> dict:
    """Seconds of each step, and the most that all of them held in memory."""
    import torch

    import xferlab as xl
    import xferlab.evaluation
    from xferlab.comparison.reading import read_pictures

    torch.set_num_threads(threads)
    held, seconds, last = [0], {}, [time.perf_counter()]

    def watch():
        while True:
            lines = Path("/proc/self/status").read_text().splitlines()
            held[0] = max(held[0], *(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon")))
            time.sleep(0.005)

    def done(step: str):
        seconds[step] = round(time.perf_counter() - last[0], 1)
        last[0] = time.perf_counter()

    threading.Thread(target=watch, daemon=True).start()
    layers = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 32))
    encoder = xl.encoder(layers, channels=3, size=PIXELS)
    splits = xl.load(path)
    done("load")
    model = xl.Classifier(encoder, splits.classes)
    xl.fit(model, splits.train, splits.test.unlabeled(), steps=100, progress_bar=False)
    done("fit")
    xl.embed(model, splits.train)
    done("embed")
    xl.compare(["source_only"], splits, splits.test.unlabeled(), seeds=1, steps=20, encoder=encoder, progress_bar=False)
    done("compare")
    pictures = read_pictures(str(path), classes=splits.classes)[0]
    xl.evaluation.predict(model, pictures)
    done("predict")
    size = sum(part.inputs.numel() for part in splits.parts().values())
    return {"images": len(pictures), "input_mb": round(size / 1e6), "held_mb": round(held[0] / 1e6), "seconds": seconds}


def measure_disk(gigabytes: float, command: list[str]) -> dict:
    """The row of pictures on disk, measured in a process of its own; nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="scale-", dir=os.environ.get("TMPDIR", "/tmp")) as folder:
        path = Path(folder) / "noise.npz"
        write_npz(path, gigabytes)
        environment = os.environ | {"XFERLAB_DATA": str(Path(folder) / "cache")}
        ran = subprocess.run(
            [*command, "--disk-child", str(path)], stdout=subprocess.PIPE, text=True, check=True, env=environment
        )
        return json.loads(ran.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5, help="repetitions of each size")
    parser.add_argument("--quick", action="store_true", help="small sizes; writes nothing")
    parser.add_argument("--disk", type=float, nargs="?", const=10.0, metavar="GB", help="pictures on disk instead (10)")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--disk-child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes, seen = ((200, 400), 400) if options.quick else (SIZES, SEEN)
    if options.child:
        print(json.dumps(child(options.child, seen, options.threads)))
        return
    if options.disk_child:
        print(json.dumps(on_disk(options.disk_child, options.threads)))
        return
    command = [sys.executable, __file__, "--threads", str(options.threads), *["--quick"] * options.quick]
    if options.disk:
        row = measure_disk(0.3 if options.quick else options.disk, command)
        print(row)
        if not options.quick:
            write([one for one in read() if "held_mb" not in one] + [row])
        return
    found: dict[int, list[dict]] = {n: [] for n in sizes}
    for repetition in range(1 if options.quick else options.repeat):
        for n in sizes if repetition % 2 else sizes[::-1]:
            done = subprocess.run([*command, "--child", str(n)], stdout=subprocess.PIPE, text=True, check=True)
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
        write(rows + [one for one in read() if "held_mb" in one])


def read() -> list[dict]:
    return json.loads(WRITTEN.read_text("utf-8")) if WRITTEN.exists() else []


def write(rows: list[dict]) -> None:
    from xferlab.storage import write_atomically

    with write_atomically(WRITTEN) as temporary:
        temporary.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", "utf-8")


if __name__ == "__main__":
    main()
