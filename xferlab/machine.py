"""This machine: its cores, its device in words, and memory given back where it is short."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from pathlib import Path

frugal = False
"""Whether `give_back` does anything. `lab.start` turns it on. Mapping the memory again costs a short run about 4 %."""


def give_back() -> None:
    """Called around a training run and after a pass over a domain, when what they needed has been freed."""
    if frugal:
        with contextlib.suppress(OSError, AttributeError):  # another C library: it has its own ways
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def cores() -> int:
    """CPU cores this process may use: affinity and the container's quota count, not only what the host has."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        pass  # no cgroup v2, or its quota is "max"
    return count


def describe() -> str:
    """The machine in a few words, for results that say where they were measured."""
    import torch

    device = (
        torch.cuda.get_device_name() if torch.cuda.is_available() else f"{cores()} CPU cores ({platform.machine()})"
    )
    return f"{device}, torch {torch.__version__}"
