"""The loop on the README: `xferlab compare` at work, replayed from a real run of the README's own command.

    python docs/loop.py            # needs pyte (pip install pyte); run it on an idle machine

Writes `docs/compare.svg`. Nothing in it is typed: a terminal records what the command writes and when. The replay is faster than the
run, evenly, and says by how much; who asks for less motion sees the last picture.
"""

from __future__ import annotations

import html
import os
import pty
import re
import tempfile
import textwrap
import time
from pathlib import Path

from xferlab.storage import write_atomically

ROOT = Path(__file__).resolve().parents[1]
COLUMNS, ROWS = 124, 29
RUNS, HOLDS = 8.0, 7.0  # seconds of the replay, and of its last picture
Screens = list[tuple[float, tuple[str, ...]]]


def command() -> str:
    """The first `xferlab compare` of the README."""
    return re.search(r"^xferlab compare .*$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)[0]


def record(typed: str) -> Screens:
    """What stands on a terminal and since when, in seconds, each time that it changes."""
    import pyte

    screen, seen = pyte.Screen(COLUMNS, ROWS), []
    stream, began = pyte.ByteStream(screen), time.perf_counter()

    def read(end: int) -> bytes:
        data = os.read(end, 65536)
        stream.feed(data)
        lines = tuple(line.rstrip() for line in screen.display)
        if not seen or seen[-1][1] != lines:
            seen.append((time.perf_counter() - began, lines))
        return data

    os.environ["XFERLAB_DATA"] = tempfile.mkdtemp()  # nothing is taken from an earlier run
    if status := pty.spawn(["sh", "-c", f"stty cols {COLUMNS} rows {ROWS}; exec {typed}"], read):
        raise SystemExit(f"the command failed ({status}); nothing is written")
    return seen


def picture(typed: str, screens: Screens) -> str:
    """The replay as an SVG: each line of the terminal is there from when it was written until it was written over."""
    took = screens[-1][0]
    whole, shown = RUNS + HOLDS, []
    for row in range(ROWS):
        changes = [(0.0, "")]
        for at, lines in screens:
            if lines[row] != changes[-1][1]:
                changes.append((at / took * RUNS, lines[row]))
        ends = [at for at, _ in changes[1:]] + [whole]
        shown += [
            (row, begin, end, text)
            for (begin, text), end in zip(changes, ends, strict=True)
            if text and end - begin > 0.04
        ]
    spans = sorted({(begin, end) for _, begin, end, _ in shown})
    frames = "".join(
        f"@keyframes k{k}{{0%{{visibility:hidden}}{100 * begin / whole:.2f}%{{visibility:visible}}"
        + (f"{100 * end / whole:.2f}%,100%{{visibility:hidden}}}}" if end < whole else "}")
        + f".k{k}{{animation-name:k{k}}}"
        for k, (begin, end) in enumerate(spans)
    )
    lines = "\n".join(
        f'<text class="k{spans.index((begin, end))}{"" if end == whole else " past"}" y="{17 * row}">{html.escape(text)}</text>'
        for row, begin, end, text in shown
    )
    asked = textwrap.wrap(f"$ {typed}", COLUMNS, subsequent_indent="    ")
    top = 32 + 17 * len(asked)
    prompt = "\n".join(
        f'<text x="14" y="{32 + 17 * k}" fill="#3dd6a8">{html.escape(line)}</text>' for k, line in enumerate(asked)
    )
    note = f"A real run of {took:.0f} s, shown {took / RUNS:.0f} times faster."
    last = "\n".join(line for line in screens[-1][1] if line)
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {20 + 8 * COLUMNS} {top + 30 + 17 * ROWS}" role="img">
<title>{html.escape(typed)}</title>
<desc>{note}
{html.escape(last)}</desc>
<style>text{{font:13px ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#e6e6e6;white-space:pre}}
text[class]{{animation-duration:{whole}s;animation-timing-function:step-end;animation-iteration-count:infinite}}.past{{visibility:hidden}}
{frames}
@media (prefers-reduced-motion:reduce){{text[class]{{animation:none!important}}}}</style>
<rect width="100%" height="100%" rx="8" fill="#14181f"/>
{prompt}
<g transform="translate(14 {top + 8})">
{lines}
<text y="{17 * ROWS + 12}" opacity=".7">{note}</text>
</g>
</svg>
"""


def main() -> None:
    typed = command()
    with write_atomically(ROOT / "docs" / "compare.svg") as temporary:
        temporary.write_text(picture(typed, record(typed)), "utf-8")


if __name__ == "__main__":
    main()
