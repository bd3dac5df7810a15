"""The front page's picture says what the committed results say."""

import html
import re
from pathlib import Path

import figure
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("which", ["light", "dark"])
def test_the_picture_is_of_today_s_results(which):
    """Fails when a table was made again and the picture was not: run `python docs/figure.py`."""
    drawn = (ROOT / "docs" / f"few_labels_{which}.svg").read_text("utf-8")
    kept = html.unescape(re.search(r"<dc:description>(.*?)</dc:description>", drawn, re.DOTALL)[1])
    assert kept == figure.described(figure.panels())


def test_a_table_s_row_is_read_as_it_stands():
    """A shifted column, or the seconds taken for a budget, would fail."""
    text = (ROOT / "bench" / "tables" / "real.md").read_text("utf-8")
    row = re.search(r"## bccd_64.*?\| linear_probe \| (\S+) \[(\S+), (\S+)\]", text, re.DOTALL)
    read = figure.from_table("bccd_64")["probe of the last layer"]
    assert list(read) == [5, 20, 100] and read[5] == tuple(map(float, row.groups()))
