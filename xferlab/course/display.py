"""What appears below a cell: figures with a text alternative, text in short lines, widgets where a kernel drives them."""

from __future__ import annotations

import base64
import html
import io
import textwrap

from ..errors import ArgumentError, MissingExtra


def say(*texts: str) -> None:
    """Prints each text in lines of at most 100 characters: a notebook's page breaks longer ones in the middle of a word."""
    for text in texts:
        print(textwrap.fill(text, 100))


def show(fig, alt: str, width: int | None = None) -> None:
    """Displays a matplotlib figure with a text alternative, on white so that it reads in dark mode, and closes it.

    Args:
        fig: the figure
        alt: what the picture shows, in words
        width: in CSS pixels

    Raises:
        ArgumentError: `alt` is empty.
    """
    if not (alt or "").strip():
        raise ArgumentError(
            'every figure needs words for those who cannot see it: show(fig, alt="what the picture shows")'
        )
    try:
        from IPython.display import display
        from matplotlib import pyplot
    except ImportError as error:
        raise MissingExtra(error.name or "matplotlib", extra="labs") from error
    png = base64.b64encode(_png(fig)).decode()
    pyplot.close(fig)
    pixels = {"width": width} if width else {}
    metadata = {"image/png": {"alt": alt, **pixels}, "needs_background": "light"}
    data = {"text/html": figure_html(png, alt, width), "image/png": png, "text/plain": alt}
    display(data, raw=True, metadata=metadata)


def _png(fig) -> bytes:
    """The figure as a small PNG: plots keep their few colours exactly, large pictures go to 128."""
    from PIL import Image

    raw = io.BytesIO()
    fig.savefig(raw, format="png", dpi=88, bbox_inches="tight", facecolor="white", metadata={"Software": None})
    if raw.tell() < 40_000:
        return raw.getvalue()
    small = io.BytesIO()
    Image.open(raw).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return min(raw.getvalue(), small.getvalue(), key=len)


def figure_html(png: str, alt: str, width: int | None = None) -> str:
    """An `img` element for a PNG in base64, with its words, on white."""
    wide = f' width="{int(width)}"' if width else ""
    source = f"data:image/png;base64,{png.strip()}"
    return f'<img alt="{html.escape(alt)}"{wide} style="background:#fff;max-width:100%" src="{source}">'


def kernel_widgets():
    """The ipywidgets module when a notebook kernel is there to drive it, else None."""
    try:
        import ipywidgets
        from IPython import get_ipython
    except ImportError:
        return None
    return ipywidgets if getattr(get_ipython(), "kernel", None) else None


def show_widget(widget, instead: str) -> None:
    """Shows a widget; where there is no kernel (a saved page) the words in `instead` stand in its place."""
    from IPython.display import display

    if hasattr(widget, "_repr_mimebundle_"):  # ipywidgets 8
        display({**widget._repr_mimebundle_(), "text/plain": instead}, raw=True)
    else:
        display(widget)
