"""What appears below a cell: figures with a text alternative, text in short lines, widgets where a kernel drives them."""

import base64
import html
import io
import textwrap

from ..errors import ArgumentError, needs

WIDTH = 84  # letters in a line of output on a page 800 px wide


def say(*texts: str, indent: str = "") -> None:
    """Prints texts in lines of at most 84 characters: a notebook's page breaks longer ones in the middle of a word.

    Lines of code and those that are indented stay as they are.

    Parameters
    ----------
    texts
        Each begins a line.
    indent
        Stands before the lines that follow it.

    Examples
    --------
    >>> xl.lab.say("Hospital B has no labels.", "What do you hand over?")
    Hospital B has no labels.
    What do you hand over?
    """
    for text in texts:
        for line in text.splitlines() or [""]:
            kept = line.startswith((" ", "```"))
            print(line if kept else textwrap.fill(line, WIDTH, subsequent_indent=indent))


class Words(str):
    """Sentences in Markdown: a notebook shows them as prose, a terminal as text in short lines."""

    def _repr_markdown_(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return textwrap.fill(self.replace("**", ""), WIDTH)


class Picture:
    """A matplotlib figure with a text alternative, on white so that it reads in dark mode; as a cell's last line it shows itself.

    Parameters
    ----------
    fig: The figure; it is closed.
    alt: What the picture shows, in words.
    width: In CSS pixels.

    Raises
    ------
    ArgumentError: `alt` is empty.
    """

    def __init__(self, fig, alt: str, width: int | None = None):
        if not (alt or "").strip():
            raise ArgumentError('a figure needs words for those who cannot see it: show(fig, alt="what it shows")')
        from matplotlib import pyplot

        self.alt, self.width, self.png = alt, width, base64.b64encode(_png(fig)).decode()
        pyplot.close(fig)

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        return bundle(self.png, self.alt, self.width)

    def __repr__(self) -> str:
        return self.alt


def show(fig, alt: str, width: int | None = None) -> None:
    """Displays a `Picture` of a matplotlib figure at once.

    Parameters
    ----------
    fig
        A matplotlib Figure; it is closed.
    alt
        What the picture shows, in words.
    width
        In pixels; its own if None.

    Raises
    ------
    MissingExtra
        Without IPython or matplotlib.

    Examples
    --------
    >>> figure = xl.plots.lines({"loss": ([0, 1], [2.3, 1.1])}, xlabel="step", ylabel="loss")
    >>> xl.lab.show(figure, alt="The loss falls from 2.3 to 1.1.")
    {'text/html': '<img alt="The loss falls from 2.3 to 1.1."...
    """
    with needs(extra="labs"):
        from IPython.display import display

        data, metadata = Picture(fig, alt, width)._repr_mimebundle_()
    display(data, raw=True, metadata=metadata)


def _png(fig) -> bytes:
    """The figure as a small PNG: plots keep their few colors exactly, large pictures go to 128."""
    from PIL import Image

    raw = io.BytesIO()
    fig.savefig(raw, format="png", dpi=88, bbox_inches="tight", facecolor="white", metadata={"Software": None})
    if raw.tell() < 40_000:
        return raw.getvalue()
    small = io.BytesIO()
    Image.open(raw).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(small, format="png", optimize=True)
    return min(raw.getvalue(), small.getvalue(), key=len)


def bundle(png: str, alt: str, width: int | None = None) -> tuple[dict, dict]:
    """A PNG in base64 and its words, as Jupyter takes them: what may be shown, and what is known of it."""
    data = {"text/html": figure_html(png, alt, width), "image/png": png, "text/plain": alt}
    pixels = {"width": width} if width else {}
    return data, {"image/png": {"alt": alt, **pixels}, "needs_background": "light"}


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
