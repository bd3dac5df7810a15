"""This machine: its cores, its memory, its device in words, and memory given back where it is short."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import platform
import sys
from pathlib import Path

from threadpoolctl import threadpool_limits

frugal = False
"""Whether `give_back` does anything. `lab.start` turns it on. Mapping the memory again costs a short run about 4 %."""


def give_back() -> None:
    """Called around a training run and after a pass over a domain, when what they needed has been freed."""
    if frugal:
        with contextlib.suppress(OSError, AttributeError):  # another C library: it has its own ways
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def one_blas_thread() -> threadpool_limits:
    """`with one_blas_thread():` NumPy's and SciPy's linear algebra runs in one thread; around every fit of scikit-learn's.

    Their wheels bring a pool of threads each. L-BFGS goes to and fro between the two, and threads that wait for work keep those that
    have some off the cores: on two cores a logistic regression of 160 to 10,000 examples took 2 to 17 times as long.
    """
    import scipy.linalg  # noqa: F401  what is not loaded cannot be limited

    return threadpool_limits(1, user_api="blas")


def cores() -> int:
    """CPU cores this process may use: affinity and the container's quota count, not only what the host has."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # no cgroup v2, or its quota is "max"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, max(1, round(int(quota) / int(period))))
    return count


def memory() -> tuple[float, float] | None:
    """Memory in GB that this process may use, and how much of it is free; None where the system does not say."""
    try:
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        total, free = (int(fields[name].split()[0]) / 1e6 for name in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):
        try:
            return (os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9,) * 2
        except (AttributeError, ValueError, OSError):
            return None
    with contextlib.suppress(OSError, ValueError, KeyError):  # a container's limit counts, not the host's memory
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text()) / 1e9
        stat = dict(line.split() for line in Path("/sys/fs/cgroup/memory.stat").read_text().splitlines())
        # files that were read stay in memory until it is wanted: they count as free, as they do in MemAvailable
        used = (int(Path("/sys/fs/cgroup/memory.current").read_text()) - int(stat["inactive_file"])) / 1e9
        total, free = min(total, limit), min(free, limit - used)
    return total, free


def peak_memory() -> float:
    """The most memory in GB that this process has held so far; infinite where the system does not say."""
    with contextlib.suppress(OSError, StopIteration):  # Linux's own figure: `ru_maxrss` starts from the parent's
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("VmHWM"))
    try:
        import resource
    except ImportError:  # Windows
        return math.inf
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def describe() -> str:
    """The machine in a few words, for results that say where they were measured."""
    import torch

    cpu = f"{cores()} CPU cores ({platform.machine()})"
    return f"{torch.cuda.get_device_name() if torch.cuda.is_available() else cpu}, torch {torch.__version__}"
