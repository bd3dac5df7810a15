"""How figures look: the palette and markers, the axes, and what every figure is finished with."""

from ..errors import needs

# Okabe & Ito's palette: told apart with any color vision, on a projector too. Markers differ as well.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def pyplot():
    """Matplotlib's pyplot, imported when a picture is first drawn.

    Returns
    -------
    module
        `matplotlib.pyplot`.

    Raises
    ------
    MissingExtra
        Without matplotlib.

    Examples
    --------
    >>> figure, axes = xl.plots.pyplot().subplots(1, 2)
    """
    with needs("matplotlib", extra="labs"):
        from matplotlib import pyplot
    return pyplot


def style() -> None:
    """Sets matplotlib up for the labs: large type, a white ground that survives dark mode, the palette.

    Examples
    --------
    >>> xl.plots.style()
    """
    plt = pyplot()
    plt.rc(("figure", "axes", "savefig"), facecolor="white")
    plt.rc("axes", grid=True, prop_cycle=plt.cycler(color=PALETTE))
    plt.rc("axes.spines", top=False, right=False)
    plt.rc("font", size=12)
    plt.rc("grid", alpha=0.3)
    plt.rc("legend", frameon=False)
    plt.rc("lines", linewidth=2)


def mark(i: int) -> dict[str, str]:
    """The color and the marker by which the i-th of several names is told apart, from `PALETTE` and `MARKERS`.

    Parameters
    ----------
    i
        From 0; the ninth looks as the first.

    Returns
    -------
    dict
        `color` and `marker`, for matplotlib's functions.

    Examples
    --------
    >>> xl.plots.mark(1)
    {'color': '#D55E00', 'marker': 's'}
    """
    return {"color": PALETTE[i % 8], "marker": MARKERS[i % 8]}


def bare_axes(rows: int, columns: int, width: float, height: float):
    """A new figure and its `(rows, columns)` axes, on which nothing is seen but what is drawn there."""
    figure, axes = pyplot().subplots(rows, columns, figsize=(width, height), squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        axis.spines[:].set_visible(False)
    return figure, axes


def new_axis(width: float, height: float):
    """The one axis of a new figure."""
    return pyplot().subplots(figsize=(width, height))[1]


def finish(axis, xlabel: str, ylabel: str, legend: bool = True):
    """Names the axes; the legend stands beside them, where it hides nothing. Gives the figure."""
    axis.set(xlabel=xlabel, ylabel=ylabel)
    if legend:
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return axis.figure
