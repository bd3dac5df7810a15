"""Tables of words and numbers: HTML that is readable in dark mode, text in a terminal."""

import html
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .display import WIDTH


@dataclass(frozen=True)
class Table:
    """A small table that a notebook shows as HTML, light or dark, and a terminal as text.

    Parameters
    ----------
    columns: Headings.
    rows: The cells of each row, as text, by the row's name.
    caption: What it shows; stands above it.
    corner: What the rows' names are.
    best: (row, column number) of the cells in bold.
    marks: What stands behind a cell, by (row, column number).
    """

    columns: Sequence[str]
    rows: Mapping[str, Sequence[str]]
    caption: str = ""
    corner: str = ""
    best: frozenset = frozenset()
    marks: Mapping | None = None

    def _text(self, name: str, column: int) -> str:
        mark = (self.marks or {}).get((name, column), "")
        return f"{self.rows[name][column]} {mark}".strip()

    def _repr_html_(self) -> str:
        # the page's own colors, so that it reads on light and on dark; numbers stand below each other and do not break
        pad, line = "padding:.3em .8em;text-align:left;vertical-align:top", "1px solid rgba(128,128,128,.5)"
        heads = [html.escape(str(column)) for column in (self.corner, *self.columns)]
        head = "".join(f'<th scope="col" style="{pad};border-bottom:{line}">{column}</th>' for column in heads)
        body = ""
        for name, cells in self.rows.items():
            body += f'<tr style="background:none"><th scope="row" style="{pad};font-weight:normal">{html.escape(str(name))}</th>'
            for j, cell in enumerate(cells):
                text = html.escape(self._text(name, j))
                text = f"<strong>{text}</strong>" if (name, j) in self.best else text
                body += f'<td style="{pad}{";white-space:nowrap" * (cell[:1] in "+-0123456789")}">{text}</td>'
            body += "</tr>"
        about = f'<figcaption style="padding:.4em .8em;opacity:.8">{html.escape(self.caption)}</figcaption>'
        style = "color:inherit;border-collapse:collapse;font-variant-numeric:tabular-nums;margin:.5em 0"
        table = f'<table style="{style}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        return f'<figure style="margin:0;overflow-x:auto">{about}{table}</figure>'

    def __repr__(self) -> str:
        lines = [["", *map(str, self.columns)]]
        for name in self.rows:
            cells = [self._text(name, j) + "*" * ((name, j) in self.best) for j in range(len(self.columns))]
            lines.append([str(name), *cells])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
        return f"{textwrap.fill(self.caption.replace('Bold', '*'), WIDTH)}\n{text}".strip()


def table(rows: Mapping[str, Mapping], caption: str = "", *, best: str | None = None, corner: str = "") -> Table:
    """A table of numbers and words.

    Parameters
    ----------
    rows
        For each row's name its cells by column.
    caption
        Above it.
    best
        "highest" or "lowest", which is set in bold in each column of numbers; None for none.
    corner
        What stands above the names.

    Returns
    -------
    Table
        Prints itself, in a notebook as HTML.

    Examples
    --------
    >>> print(xl.lab.table({"probe": {"accuracy": 0.71}}))
            accuracy
    probe   0.710
    """
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))

    def write(value):
        return f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)

    cells = {name: [write(row.get(column)) for column in columns] for name, row in rows.items()}
    bold = set()
    for j, column in enumerate(columns if best else ()):
        numbers = {name: row[column] for name, row in rows.items() if isinstance(row.get(column), float)}
        if numbers:
            bold.add(((max if best == "highest" else min)(numbers, key=numbers.__getitem__), j))
    return Table(columns, cells, caption, corner, frozenset(bold))
