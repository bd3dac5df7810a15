"""A picture that follows sliders, for `xl.widgets`: a slider for each choice, each setting drawn once and kept."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable, Mapping, Sequence

from ..errors import ArgumentError, needs
from .display import bundle, figure_html, kernel_widgets

VIEW = "application/vnd.jupyter.widget-view+json"


class Live:
    """A picture with a slider for each name in `choices` that has two values or more.

    Parameters
    ----------
    draw
        Called with one value a name; returns a matplotlib Figure, which it hands over, and a sentence about it.
    choices
        Values by name, in the order of the slider.
    start
        Where it begins, by name; the first values unless given.

    Raises
    ------
    ArgumentError
        For a name or value that is not among the choices.

    Examples
    --------
    >>> def draw(slope):
    ...     return xl.plots.lines({"line": ([0, 1], [0, slope])}, xlabel="x", ylabel="y"), f"The slope is {slope}."
    >>> xl.widgets.Live(draw, {"slope": [1, 2]}).move(slope=2)
    The slope is 2.
    """

    def __init__(self, draw: Callable, choices: Mapping[str, Sequence], start: Mapping | None = None):
        if not choices or not all(map(len, choices.values())):
            raise ArgumentError(f"a live picture needs a value or more for each name, not {dict(choices)!r}")
        self.choices = {name: list(values) for name, values in choices.items()}
        self.setting = {name: values[0] for name, values in self.choices.items()}
        self.controls: dict = {}
        self._draw, self._box = draw, None
        self._drawn: dict = {}
        self.move(**(start or {}))

    def move(self, **setting) -> Live:
        """Sets some of the names and leaves the others; what is on screen follows."""
        for name, value in setting.items():
            if value not in self.choices.get(name, ()):
                raise ArgumentError(f"{name}={value!r} is not a choice; there are {self.choices}")
        self.setting |= setting
        for name, value in setting.items():
            if name in self.controls:
                self.controls[name].value = value
        self._refresh()
        return self

    @property
    def png(self) -> bytes:
        """The picture of the present setting."""
        return self._now()[0]

    @property
    def words(self) -> str:
        """What the picture of the present setting shows: its alt text."""
        return self._now()[1]

    def _now(self) -> tuple[bytes, str]:
        key = tuple(self.setting.values())
        if key not in self._drawn:
            figure, words = self._draw(**self.setting)
            out = io.BytesIO()
            figure.savefig(out, format="png", dpi=80, facecolor="white", metadata={"Software": None})
            self._drawn[key] = out.getvalue(), words
        return self._drawn[key]

    def box(self):
        """The ipywidgets box: a control a name, the picture, the sentence. Raises `MissingExtra` without ipywidgets."""
        with needs("ipywidgets", extra="labs"):
            import ipywidgets
        if self._box is None:
            for name, values in self.choices.items():
                if len(values) > 1:
                    self.controls[name] = self._control(ipywidgets, name, values)
            self._image, self._sentence = ipywidgets.HTML(), ipywidgets.HTML()
            self._box = ipywidgets.VBox([*self.controls.values(), self._image, self._sentence])
            self._refresh()
        return self._box

    def _control(self, ipywidgets, name: str, values: list):
        # a slider for words too: JupyterLab takes a list's up and down keys for itself
        worded = isinstance(values[0], str)
        options = [(value if worded else f"{value:g}", value) for value in values]
        look = dict(style={"description_width": "initial"}, layout=ipywidgets.Layout(width="min(32em, 95%)"))
        look |= dict(description=name, readout=not worded)  # it is too narrow for words; the sentence says them
        control = ipywidgets.SelectionSlider(options=options, value=self.setting[name], **look)
        control.observe(lambda change: self.move(**{name: change["new"]}), names="value")
        return control

    def _refresh(self) -> None:
        if self._box is not None:
            png, words = self._now()
            self._image.value = figure_html(base64.b64encode(png).decode(), words)
            self._sentence.value = f'<div role="status" aria-live="polite">{html.escape(words)}</div>'

    def _ipython_display_(self) -> None:
        from IPython.display import display

        data, metadata = bundle(base64.b64encode(self.png).decode(), self.words)
        if kernel_widgets() is not None:  # a viewer without a kernel takes the next best: the picture
            data[VIEW] = {"version_major": 2, "version_minor": 0, "model_id": self.box().model_id}
        display(data, raw=True, metadata=metadata)

    def __repr__(self) -> str:
        return self.words
