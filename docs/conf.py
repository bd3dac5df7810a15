"""Sphinx over what `docs/assemble.py` gathered. Nothing is executed, and nothing is fetched from anywhere when a page is read."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from xferlab import __version__  # noqa: E402
from xferlab.course import content  # noqa: E402

project, author, release = "xferlab", "The xferlab authors", __version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence", "attrs_inline"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_ipywidgets_js = {}
suppress_warnings = ["myst.header", "myst.xref_missing", "mystnb.unknown_mime_type"]
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}  # else numpy's own union of ten types
python_use_unqualified_type_names = True
html_theme = "sphinx_book_theme"
html_title = "xferlab"
html_static_path = [str(ROOT / "docs" / "static")]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_copy_source = html_show_sourcelink = False
html_theme_options = {
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": False,
    "home_page_in_toc": False,
}
if repository := content.course(ROOT / "labs")["repository"]:
    html_theme_options |= {
        "repository_url": f"https://github.com/{repository}",
        "repository_branch": content.course(ROOT / "labs")["branch"],
        "use_repository_button": True,
        "launch_buttons": {"colab_url": "https://colab.research.google.com", "binderhub_url": "https://mybinder.org"},
    }


def plain(app, what, name, obj, options, lines):
    """A docstring's indented lines are equations and code, bars and stars are what they are; what a dataclass says by itself is no docstring."""
    if lines and lines[0].startswith(f"{name.split('.')[-1]}("):
        lines.clear()
    done, literal, example = [], False, False
    for line in lines:
        example = line.startswith(">>>") or (example and line)
        if example:
            done.append(line)
            continue
        indented = line.startswith("    ")
        if indented and not literal and len(done) > 1 and not done[-1] and re.match(r"[^\s:.\-*]", done[-2]):
            literal = True
            done += ["::", ""]
        literal &= indented or not line
        done.append(line if literal else re.sub(r"(?<![\\*])\*(?=\w)", r"\\*", line.replace("|", "\\|")))
    lines[:] = done


def with_pictures(app, config):
    config.html_static_path.append(str(Path(app.srcdir) / "pictures"))


def setup(app):
    app.connect("config-inited", with_pictures)
    app.connect("autodoc-process-docstring", plain, priority=900)
