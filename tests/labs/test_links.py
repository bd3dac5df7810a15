"""Links, badges and file names: every relative link leads to a file, every badge to a notebook, `binder/` is what it should be."""

import ast
import json
import os
import re
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlparse

import build
import pytest

from xferlab.course import content

ROOT = Path(__file__).parents[2]
LABS = ROOT / "labs"
COURSE = content.course(LABS)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
PAGES = sorted({*ROOT.glob("*.md"), *ROOT.glob("[!.]*/*.md"), *LABS.glob("teaching/*.md")})
NOTEBOOKS = sorted([*LABS.glob("*.ipynb"), *LABS.glob("solutions/*.ipynb")])


def words(path: Path) -> str:
    """The prose of a page or notebook, without its code."""
    text = path.read_text("utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The names that GitHub gives a page's headings."""
    titles = re.findall(r"^#+ (.*)$", words(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken(path: Path) -> list[str]:
    """Links of `path` that lead nowhere: no such file or heading, or an address that is not https."""
    found = []
    for link in LINK.findall(words(path)):
        to, _, anchor = link.partition("#")
        if "://" in link:
            if not link.startswith("https://"):
                found.append(link)
            continue
        if link.startswith("mailto:"):
            continue
        target = (path.parent / unquote(to)).resolve() if to else path
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(path):
    assert broken(path) == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One\n[a](gone.md) [b](page.md#two) [c](#one) [d](http://x.y) [e](https://x.y) `[f](no.md)`")
    assert broken(page) == ["gone.md", "page.md#two", "http://x.y"]


@pytest.mark.parametrize("entry", [e for e in COURSE["labs"] if e["built"]], ids=lambda e: e["number"])
def test_badges_open_a_notebook_that_is_there(entry):
    text = build.badges(entry, COURSE | {"repository": "someone/course", "branch": "main"})
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert [urlparse(p).netloc for p in pictures] == ["mybinder.org", "colab.research.google.com"]
    binder, colab = (urlparse(link) for link in re.findall(r"\)\]\(([^)]+)\)", text))
    assert binder.path == "/v2/gh/someone/course/main"
    opened = parse_qs(binder.query)["urlpath"][0].removeprefix("lab/tree/")
    assert (ROOT / opened).is_file()
    assert colab.path == f"/github/someone/course/blob/main/{opened}"


def test_the_manifest_names_what_is_on_disk():
    numbers = [entry["number"] for entry in COURSE["labs"]]
    assert numbers == sorted(set(numbers))
    built = {entry["name"] for entry in COURSE["labs"] if entry["built"]}
    assert built == {path.stem for path in (LABS / "source").glob("*.py")}
    assert built == {path.stem for path in LABS.glob("*.ipynb")}
    assert built == {path.stem for path in (LABS / "solutions").glob("*.ipynb")}
    address = COURSE["repository"]
    assert build.ADDRESS.match(address) or address == "no public address yet"


@pytest.mark.parametrize("entry", [e for e in COURSE["labs"] if e["built"]], ids=lambda e: e["number"])
def test_colab_s_first_cell_installs_only_when_needed_and_keeps_torch_and_numpy(entry):
    source, manifest = build.load(LABS, entry["number"])
    cells = build.header(source, manifest | {"repository": "someone/course", "branch": "main"})
    text = next(text for kind, text, metadata in cells if "install" in metadata.get("tags", []))
    tree = ast.parse(text)
    condition = next(node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(condition.test) == "importlib.util.find_spec('xferlab') is None"
    calls = [ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Call) and "pip" in ast.unparse(n)]
    assert [n for n in ast.walk(condition) if isinstance(n, ast.Call) and ast.unparse(n) in calls]
    assert all("'-c', 'keep.txt'" in call and "upgrade" not in call for call in calls)
    assert {"torch", "torchvision", "numpy"} <= {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)}
    assert ("[labs,nlp]" in text) == (entry["number"] == "09")


def test_binder_is_python_3_12_with_the_cpu_build_and_the_package():
    folder = ROOT / "binder"
    assert (folder / "runtime.txt").read_text().strip() == "python-3.12"
    lines = [line for line in (folder / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "--extra-index-url https://download.pytorch.org/whl/cpu"
    names = {re.split(r"[<>=]", line)[0] for line in lines[1:]}
    assert names == {"torch", "torchvision"}
    assert not [line for line in lines if "==" in line]
    post = folder / "postBuild"
    assert os.access(post, os.X_OK)
    assert post.read_bytes().startswith(b"#!")
    assert "--editable '.[labs,nlp]'" in post.read_text()
    assert not (folder / "environment.yml").exists(), "repo2docker would then ignore requirements.txt"
