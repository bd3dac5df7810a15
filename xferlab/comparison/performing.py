"""Where runs are performed: in this process, by an executor, or in as many processes of this machine as pay."""

from __future__ import annotations

import contextlib
import functools
import io
import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Barrier
from typing import Any, cast

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from ..errors import ArgumentError, XferlabError
from ..machine import cores, memory, peak_memory
from ..recipe import find
from ..storage import fingerprint, write_atomically
from .runs import Common, Task, perform, recall

WORTH = 120  # seconds of work: below it processes, which take about ten to start, are not tried
PAYS = 1.1  # times as fast as one process, or they are ended again


@dataclass
class Performer(contextlib.AbstractContextManager):
    """Performs tasks of one comparison, and cleans up behind them.

    Parameters
    ----------
    common
        What the tasks share.
    executor
        Who performs them; None for this machine.
    workers
        How many processes then; "auto" for as many as cores and memory allow, if they are faster than one.

    Attributes
    ----------
    note
        What became of the processes, in a sentence.
    """

    common: Common
    executor: Executor | None = None
    workers: int | str = 1
    note: str = ""
    pool: ProcessPoolExecutor | None = None
    threads: int = 1
    files: dict[int, Path] = field(default_factory=dict)

    def __exit__(self, *error: object) -> None:
        self._end()
        for path in self.files.values():
            with contextlib.suppress(OSError):
                path.unlink()

    def __call__(self, left: dict[int, Task]) -> Iterator[tuple[int, dict | None]]:
        """Each task's number and record, as they come; None where time was over. `left` is emptied of what was performed here."""
        if not left:
            return
        if self.executor is not None:
            yield from self._by(self.executor, left)
            return
        if self.workers == "auto" and self.pool is None and len(left) > 1:
            began, i = time.perf_counter(), min(left)
            task = left.pop(i)
            yield i, perform(task)
            self._choose(list(left.values()), (time.perf_counter() - began) / task.cost)
        elif self.workers not in (1, "auto") and self.pool is None:
            self._begin(int(self.workers))
        if self.pool is not None:
            try:
                for i, record in self._by(self.pool, left):
                    del left[i]
                    yield i, record
            except (BrokenExecutor, OSError) as error:  # a process was killed, by a person or for want of memory
                self._end()
                self.workers = 1
                self.note = f"A process was lost ({type(error).__name__}), and what it had not finished was run in one."
        for i, task in left.items():
            yield i, recall(task) or perform(task)

    def _by(self, executor: Executor, tasks: dict[int, Task]) -> Iterator[tuple[int, dict | None]]:
        threads = isinstance(executor, ThreadPoolExecutor)
        if not threads:
            _check_picklable(tasks.values())
        futures: dict[Future, int] = {}
        waiting = dict(tasks)
        begun: set[Path | None] = set()  # first stages that a task trains: others that share one wait until it is there
        there: set[Path | None] = {None}
        try:
            while waiting or futures:
                for i, task in list(waiting.items()):
                    if task.shared_stage in there or task.shared_stage not in begun:
                        what = (perform, task) if threads else (_remote, self._sent(task), self.threads)
                        futures[executor.submit(*what)] = i
                        begun.add(task.shared_stage)
                        del waiting[i]
                for future in wait(futures, return_when=FIRST_COMPLETED).done:
                    i = futures.pop(future)
                    there.add(tasks[i].shared_stage)
                    yield i, future.result()
        finally:  # after an error, what has not begun is not begun
            for future in futures:
                future.cancel()

    def _sent(self, task: Task) -> Task:
        return replace(task, common=cast(Common, (self.common.store, self._rest)))

    @functools.cached_property
    def _rest(self) -> bytes:
        """What tasks share, pickled, but for its large tensors, which lie in files of the store."""

        class Pickler(pickle.Pickler):
            def persistent_id(pickler, thing: object) -> str | None:
                return self._file_name(thing)

        buffer = io.BytesIO()
        Pickler(buffer).dump(self.common)
        return buffer.getvalue()

    def _file_name(self, thing: object) -> str | None:
        """Writes a large tensor into a file named by its content; None for anything else."""
        if type(thing) is not torch.Tensor or thing.numel() < 2**14 or thing.dtype is torch.bfloat16:
            return None
        if id(thing) not in self.files:
            path = self.files[id(thing)] = self.common.store / f"data-{fingerprint(thing)}.npy"
            if not path.is_file():
                with write_atomically(path) as temporary, open(temporary, "wb") as file:
                    np.save(file, thing.cpu().numpy())
        return self.files[id(thing)].name

    def _choose(self, tasks: list[Task], pace: float) -> None:
        """Starts processes if cores and memory allow two or more, there is enough to do, and they are faster than this one.

        pace  seconds a unit of cost, of a run in this process
        """
        device = self.common.settings.get("device") or ("cuda" if torch.cuda.is_available() else "cpu")
        free, peak = (memory() or (0.0, 0.0))[1], peak_memory()
        n = min(cores(), len(tasks), int(free / peak / 1.2))
        if n < 2 or torch.device(device).type != "cpu" or pace * sum(task.cost for task in tasks) < WORTH:
            return
        barrier = multiprocessing.get_context("spawn").Barrier(n)
        try:
            _check_picklable(tasks)
            alone = _step_seconds(tasks[0])
            pool = self._begin(n, barrier)
            probes = [pool.submit(_remote, self._sent(tasks[0]), self.threads, _step_seconds) for _ in range(n)]
            gain = sum(alone / probe.result() for probe in probes)
        except (XferlabError, BrokenExecutor, OSError) as error:
            gain, self.note = 0.0, f"One process: others cannot take this ({str(error) or type(error).__name__})."
        if gain < PAYS:
            self._end()
            self.workers = 1
            self.note = self.note or f"One process: {n} of them did {gain:.2f} times as many steps a second."
        else:
            each = f"{self.threads} thread{'s' * (self.threads > 1)} each"
            self.note = f"{n} processes, {each}: {gain:.2f} times as many steps a second as one; a run takes {peak:.1f} of {free:.1f} GB."

    def _begin(self, n: int, barrier: Barrier | None = None) -> ProcessPoolExecutor:
        self.threads = max(1, torch.get_num_threads() // n)
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(n, mp_context=context, initializer=_arrive, initargs=(barrier,))
        return self.pool

    def _end(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(cancel_futures=True)
        self.pool = None


def _arrive(barrier: Barrier | None) -> None:
    """Once in each process: it ends when its parent does, and waits until all others are there where they are to be measured."""

    def follow() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    if barrier is not None:
        barrier.wait(timeout=600)


def _remote(task: Task, threads: int, do: Callable[[Task], Any] = perform) -> Any:
    """`do(task)` in another process; each has its own threads, since workers that each take every core slow each other down."""
    torch.set_num_threads(threads)
    threadpool_limits(threads)  # scipy's and scikit-learn's
    return do(replace(task, common=_opened(*cast(tuple[Path, bytes], task.common))))


def _step_seconds(task: Task) -> float:
    """Seconds of a training step of source only, over about a second."""
    settings = {key: value for key, value in task.common.settings.items() if key not in ("steps", "lr", "per_class")}
    run = functools.partial(find("source_only").fit, task.model(), task.common.source.train, progress_bar=False)
    first = run(steps=2, **settings).seconds / 2  # the first steps are slow
    steps = min(max(round(1 / first), 4), 200)
    return run(steps=steps, **settings).seconds / steps


@functools.lru_cache(maxsize=1)
def _opened(store: Path, rest: bytes) -> Common:
    """What tasks share, in another process: the large tensors are mapped, so that there is one copy in memory."""

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, name: str) -> torch.Tensor:
            return torch.from_numpy(np.load(store / name, mmap_mode="c"))

    return Unpickler(io.BytesIO(rest)).load()


def _check_picklable(tasks: Iterable[Task]) -> None:
    common = next(iter(tasks)).common
    try:
        pickle.dumps([common.validators, common.settings, [(task.found_by, task.encoder) for task in tasks]])
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        instead = "give recipes by name, and functions a module defines"
        raise ArgumentError(f"an executor of processes cannot take this ({error}); {instead}") from error
