"""The course as a static site: an index and one page for each lab, readable without Jupyter.

    python labs/pages.py [FOLDER] [--solutions]

Without `--solutions` a page is the learner's notebook; with it the worked one, with its answers and pictures. Figures carry
their alt text, and live pictures stand still.
"""

from __future__ import annotations

import argparse
import html
import re
import shutil
import sys
from pathlib import Path

import nbformat

from xferlab.course import content, notebooks
from xferlab.storage import write_atomically

STYLE = """
body { font: 1.05rem/1.6 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color-scheme: light dark; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .4rem .6rem; border-bottom: 1px solid #8888; }
"""


def index(entries: list[dict], solutions: bool) -> str:
    """The first page: a row for each lab."""
    rows = []
    for entry in entries:
        title = html.escape(f"{entry['number']} {entry['title']}")
        aims = html.escape("; ".join(entry["objectives"]))
        title = f'<a href="{entry["name"]}.html">{title}</a>'
        rows.append(f"<tr><td>{title}<br><small>{aims}</small></td><td>{entry['minutes']}</td></tr>")
    what = "with answers" if solutions else "as a learner gets them, without answers"
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>xferlab: the labs</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><h1>The labs</h1>'
        f"<p>The notebooks {what}. Not for clinical use.</p><table><thead><tr><th>Lab</th><th>Minutes</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></body></html>\n"
    )


def page(path: Path, entry: dict, before: dict | None, after: dict | None) -> str:
    """One notebook as a page in English, with links to its neighbours; links to notebooks lead to pages."""
    body = notebooks.to_html(nbformat.read(path, as_version=4), f"{entry['number']} {entry['title']}")
    links = ['<a href="index.html">All labs</a>']
    for word, other in (("Before", before), ("Next", after)):
        if other:
            links.append(f'<a href="{other["name"]}.html">{word}: {html.escape(other["title"])}</a>')
    bar = f'<nav aria-label="labs" style="padding:1rem">{" &middot; ".join(links)}</nav>'
    body = re.sub(r'href="(?:\.\./)?(\d\d_\w+)\.ipynb"', r'href="\1.html"', body)
    body = body.replace('href="../glossary.md"', 'href="glossary.md"')
    body = re.sub(r"<html(?![^>]*lang=)", '<html lang="en"', body, count=1)
    return re.sub(r"(<body[^>]*>)", lambda found: found[1] + bar, body, count=1)


def write(labs: Path, folder: Path, solutions: bool) -> list[Path]:
    """Writes the site and returns its pages; what was in `folder` under other names is left alone."""
    entries = [entry for entry in content.course(labs)["labs"] if entry["built"]]
    written = {"index.html": index(entries, solutions)}
    for k, entry in enumerate(entries):
        source = (labs / "solutions" if solutions else labs) / f"{entry['name']}.ipynb"
        around = entries[k - 1] if k else None, entries[k + 1] if k + 1 < len(entries) else None
        written[f"{entry['name']}.html"] = page(source, entry, *around)
    for name, text in written.items():
        with write_atomically(folder / name) as temporary:
            temporary.write_text(text, "utf-8")
    if (labs / "glossary.md").is_file():
        shutil.copy(labs / "glossary.md", folder)
    return [folder / name for name in written]


def main(arguments: list[str] | None = None, labs: Path | None = None) -> int:
    labs = labs or Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("runs/site"))
    parser.add_argument("--solutions", action="store_true", help="the worked notebooks, with answers and pictures")
    options = parser.parse_args(arguments)
    pages = write(labs, options.folder, options.solutions)
    print(f"{len(pages)} pages; open {pages[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
