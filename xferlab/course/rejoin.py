"""Coming back to a lab in the middle: what its earlier sections would have made."""

import time

from ..errors import ArgumentError, needs
from .content import sections


def resume(number: str, section: int, variables: dict | None = None) -> None:
    """Makes what the sections before one would have left behind, so that you can go on there.

    Sections are the headings with `##`, counted from 1. Runs the lab's own code up to there, in this profile, without its pictures and
    without your exercises, on which no later cell depends.

    Parameters
    ----------
    number
        Of the lab.
    section
        Where to go on.
    variables
        Where the names go; the notebook's if None.

    Raises
    ------
    ArgumentError
        For an unknown lab or section, or outside a notebook without `variables`.
    MissingExtra
        Without IPython.

    Examples
    --------
    >>> xl.lab.resume("02", 1, variables={})
    Lab 02 is as it stands before section 1, ...
    """
    parts = sections(number)
    if not 1 <= section <= len(parts):
        listed = "; ".join(f"{k} {part['title']}" for k, part in enumerate(parts, 1)) or "none"
        raise ArgumentError(f"lab {number} has no section {section!r}; it has: {listed}")
    with needs(extra="labs"):
        from IPython import get_ipython
        from IPython.utils.capture import capture_output
    if variables is None:
        if (shell := get_ipython()) is None:
            raise ArgumentError("resume works in a notebook; elsewhere pass `variables`, e.g. globals()")
        variables = shell.user_ns
    began = time.perf_counter()
    for part in parts[: section - 1]:
        for code in part["code"]:
            with capture_output():  # what the sections that are past print and draw is not shown again
                exec(compile(code, f"<lab {number}, {part['title']}>", "exec"), variables)
    spent = time.perf_counter() - began
    print(f"Lab {number} is as it stands before section {section}, {parts[section - 1]['title']!r} ({spent:.0f} s).")
