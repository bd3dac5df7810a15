"""Freed memory goes back to the system where memory is short. glibc keeps it otherwise, and a Binder tab has two gigabytes."""

import contextlib
import ctypes

frugal = False
"""Whether `give_back` does anything. `lab.start` turns it on. Mapping the memory again costs a short run about 4 %."""


def give_back() -> None:
    """Called around a training run and after a pass over a domain, when what they needed has been freed."""
    if frugal:
        with contextlib.suppress(OSError, AttributeError):  # another C library: it has its own ways
            ctypes.CDLL("libc.so.6").malloc_trim(0)
