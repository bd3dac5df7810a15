"""Kills fit, compare, a download and the cells cache at random moments (SIGKILL), reruns, compares with an undisturbed run.

    python tests/reliability/crashes.py --kills 50 --write

Every run is a fork of this process, which has imported everything and computed nothing. A folder is killed up to three
times before its run may finish; half of the kills wait for a file to be begun. After each kill every file that a reader
would open must be whole. `disk full` (a limit on file size) and `read-only` (another user's folder) must end in one
documented sentence, or do without the file, and leave the earlier checkpoint intact.
"""

import argparse
import contextlib
import functools
import hashlib
import http.server
import importlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: a fork must find no threads
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["no_proxy"] = "*"
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from small import blobs

import xferlab as xl
from xferlab.domains import download
from xferlab.encoders.images import read_state
from xferlab.errors import DataError, XferlabError
from xferlab.storage import fingerprint

torch.set_num_threads(1)
download.PAUSE = 0.01
BODY = random.Random(0).randbytes(3_000_000)
MD5 = hashlib.md5(BODY).hexdigest()


def fit(folder: Path) -> str:
    model = xl.Classifier(xl.encoder("lenet"), ("a", "b", "c"))
    run = xl.fit(
        model,
        blobs(seed=1),
        blobs(seed=2, shift=60).unlabeled(),
        objectives=[xl.CrossEntropy(), xl.MeanTeacher(), xl.DANN()],
        augment=[xl.augment.Flip(), xl.augment.Noise()],
        val=blobs(seed=3),
        **dict(steps=24, batch_size=16, checkpoint=folder / "fit.pt", checkpoint_every=2, progress_bar=False),
    )
    return fingerprint(model.state_dict(), run.history)


def compare(folder: Path) -> str:
    source, target = (xl.Splits(*(blobs(seed=s + i, shift=s) for i in range(3))) for s in (0, 60))
    settings = dict(seeds=1, steps=12, batch_size=16, checkpoint_every=3, keep_weights=True, progress_bar=False)
    board = xl.compare(["source_only", "dann", "adabn"], source, target, store=folder / "runs", **settings)
    if failed := [run["error"] for run in board.runs if "error" in run]:
        raise DataError(f"the board lists {len(failed)} of {len(board.runs)} runs as failed: {failed[0]}")
    left = {"seconds", "date", "machine"}  # what no rerun can repeat
    runs = [{key: value for key, value in run.items() if key not in left} for run in board.runs]
    weights = [fingerprint(board.load_model(run).state_dict()) for run in board.runs]
    return fingerprint(json.dumps(runs, sort_keys=True), weights)


def cells(folder: Path) -> str:
    os.environ["XFERLAB_DATA"] = str(folder)
    splits = xl.load("cells/site-b", size=64, per_class=(8, 2, 4))
    return fingerprint([part.inputs for part in splits.parts().values()])


def fetch(folder: Path, url: str) -> str:
    return hashlib.md5(download.fetch(url, folder / "set.bin", MD5).read_bytes()).hexdigest()


class Slow(http.server.BaseHTTPRequestHandler):
    """Sends BODY from the byte asked for, over about half a second."""

    def do_GET(self):
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(BODY) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        self.end_headers()
        for at in range(start, len(BODY), 1 << 16):
            self.wfile.write(BODY[at : min(at + (1 << 16), len(BODY))])
            time.sleep(0.01)

    def log_message(self, *_):
        pass

    def handle(self):
        try:
            super().handle()
        except OSError:  # the other end was killed
            pass


def half_written(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob(".*") if not path.name.endswith(".lock")}


def in_child(work, folder: Path, kill_after: float | None = None, hunt=False, before=lambda: None) -> tuple[int, float]:
    """Exit code (-9: killed, 3: a documented error, 1: any other) and seconds of `work(folder)` in a fork.

    hunt  after `kill_after` seconds, wait until a new file is being written, and kill then

    Its answer, or the error's sentence, is left in the file `answer` beside the folder.
    """
    ready, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            before()
            os.write(go, b".")
            try:
                answer, code = work(folder), 0
            except XferlabError as error:
                answer, code = f"{type(error).__name__}: {error}", 3
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            folder.with_suffix(".answer").write_text(answer)
        except BaseException:
            traceback.print_exc()
            code = 1
        finally:
            os._exit(code)
    os.close(go)
    os.read(ready, 1)
    os.close(ready)
    began = time.perf_counter()
    if kill_after is not None:
        time.sleep(kill_after)
        known = half_written(folder)
        while (
            hunt
            and half_written(folder) <= known
            and not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        ):
            time.sleep(0.0005)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), time.perf_counter() - began


def traced(work, folder: Path) -> str:
    """`work(folder)`, and in a file beside the folder what was imported by then."""
    done = work(folder)
    folder.with_suffix(".modules").write_text("\n".join(sys.modules))
    return done


def answer(folder: Path) -> str:
    return folder.with_suffix(".answer").read_text()


def all_whole(folder: Path) -> None:
    """Opens what a reader would open; hidden files are a writer's own."""
    for file in (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")):
        if file.suffix == ".pt":
            torch.load(file, weights_only=True)
        elif file.suffix == ".json":
            json.loads(file.read_text("utf-8"))
        elif file.suffix == ".npz":
            with np.load(file) as arrays:
                assert all(arrays[key].size for key in arrays)
        elif file.suffix == ".safetensors":
            read_state(file)
        else:
            assert file.read_bytes() == BODY, f"{file} is not what was served"


def attack(name: str, work, kills: int, seed: int, root: Path) -> tuple[str, float]:
    """Kills `work` so often: the line for the page, and an undisturbed run's seconds. Raises when a rerun differs or a file
    is half-written."""
    draw, done, writing, folders = random.Random(f"{name}{seed}"), 0, 0, 0
    for calm in (root / f"{name}-first", root / f"{name}-calm"):
        calm.mkdir()
        code, seconds = in_child(functools.partial(traced, work), calm)
        assert code == 0, f"{name}: the undisturbed run failed"
        for module in calm.with_suffix(".modules").read_text().split():  # or each fork would import them again
            with contextlib.suppress(Exception):
                importlib.import_module(module)
    assert answer(calm) == answer(root / f"{name}-first"), f"{name}: two undisturbed runs differ"
    while done < kills:
        folder = root / f"{name}-{folders}"
        folder.mkdir()
        folders += 1
        for _ in range(draw.randint(1, 3)):
            before, hunt = half_written(folder), name != "download" and draw.random() < 0.5
            code, _ = in_child(work, folder, draw.uniform(0, seconds), hunt)
            if code == 0:  # it was over before the signal came
                break
            assert code == -signal.SIGKILL, f"{name} ended with {code} after an earlier kill"
            done += 1
            writing += not half_written(folder) <= before
            all_whole(folder)
        code, _ = in_child(work, folder)
        assert code == 0 and answer(folder) == answer(calm), f"{name}: the rerun in {folder} differs"
        all_whole(folder)
        shutil.rmtree(folder)
    return (
        f"{name}: {done} kills in {folders} folders, {writing} of them while a file was being written; every rerun gave the "
        "undisturbed result and no half-written file was read"
    ), seconds


def full_disk(bytes_left: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, resource.RLIM_INFINITY))


def another_user() -> None:
    if os.getuid() == 0:  # no file mode stops root
        os.setuid(65534)


def refusals(name: str, work, seconds: float, root: Path) -> list[str]:
    """The sentences of a full disk and a read-only folder; what was there before is still there, and a rerun works."""
    said = []
    for case, before in (("disk full", functools.partial(full_disk, 20_000)), ("read-only", another_user)):
        folder = root / f"{name}-{case.replace(' ', '-')}"
        folder.mkdir()
        if in_child(work, folder, kill_after=0.4 * seconds)[0] == 0:  # an earlier checkpoint, where there is one
            shutil.rmtree(folder)
            folder.mkdir()
        files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name[0] != "."}
        if case == "read-only":
            for path in [folder, *folder.rglob("*")]:
                path.chmod(0o555 if path.is_dir() else 0o444)
        folder.with_suffix(".answer").touch()
        folder.with_suffix(".answer").chmod(0o666)
        code, _ = in_child(work, folder, before=before)
        assert code in (0, 3), f"{name}, {case}: ended with {code}, not with a documented error"
        # a full disk may still lose the checkpoints of a run that is over
        intact = [
            path.read_bytes() == content for path, content in files.items() if case == "read-only" or path.exists()
        ]
        assert all(intact), f"{name}, {case}: an earlier file changed"
        all_whole(folder)
        told = "it went on" if code == 0 else answer(folder).replace(str(root), "...").split(";")[0]
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        code, _ = in_child(work, folder)
        assert code == 0 and answer(folder) == answer(root / f"{name}-calm"), f"{name}: no rerun after {case}"
        earlier = f"; {len(intact)} earlier files intact" if intact else ""
        said.append(f"{name}, {case}: {told}{earlier}; a rerun finished")
    return said


def main(kills: int, seed: int, jobs: list[str]) -> list[str]:
    root = Path(tempfile.mkdtemp(prefix="crashes-"))
    root.chmod(0o755)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    if (serving := os.fork()) == 0:
        server.serve_forever()
    url = f"http://127.0.0.1:{server.server_port}/set.bin"
    known = {"fit": fit, "compare": compare, "download": functools.partial(fetch, url=url), "cells": cells}
    try:
        lines = []
        for name in jobs or known:
            line, seconds = attack(name, known[name], kills, seed, root)
            lines += [line, *refusals(name, known[name], seconds, root)]
            print(*lines[-3:], sep="\n", flush=True)
        return lines
    finally:
        os.kill(serving, signal.SIGKILL)
        os.waitpid(serving, 0)
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="of each of the four")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", nargs="*", default=[], help="only these: fit, compare, download, cells")
    parser.add_argument("--write", action="store_true", help="into tests/README.md")
    options = parser.parse_args()
    found = main(options.kills, options.seed, options.jobs)
    if options.write:
        from figures import record

        record("crashes", found)
