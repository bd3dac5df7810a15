"""Links, badges and file names: every relative link leads to a file, every badge to a notebook, `binder/` is what it should be."""

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
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
        if link.startswith("attachment:"):  # a picture that the cell itself carries
            found += [link] * (f'"{link.removeprefix("attachment:")}"' not in path.read_text("utf-8"))
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
    assert re.fullmatch(f"({build.ADDRESS})?", COURSE["repository"])


@pytest.mark.parametrize("repository", ["", "someone/course"])
def test_every_link_leads_somewhere_with_and_without_an_address(repository, tmp_path):
    """README and notebooks built in both states: whatever points at the repository points at a file that is in it."""
    kept = shutil.ignore_patterns("*.pyc", "figures", "results", "runs", ".venv", ".ipynb_checkpoints")
    shutil.copytree(LABS, tmp_path / "labs", ignore=kept)
    for name in ("README.md", "CITATION.cff", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    manifest = tmp_path / "labs" / "course.toml"
    manifest.write_text(re.sub(r"(?m)^repository = .*$", f'repository = "{repository}"', manifest.read_text("utf-8")))
    build.main(["--publish", repository] if repository else [], tmp_path / "labs")
    found = []
    for path in [tmp_path / "README.md", *(tmp_path / "labs").glob("*.ipynb")]:
        for link in re.findall(r'https:[^\s)\\"]+', path.read_text("utf-8")):
            if "someone/course" in link:
                found.append(link)
                inside = re.search(r"(?:blob/main/|lab/tree/)(.+)$", link)
                assert not inside or (ROOT / inside[1]).is_file(), link
    assert len(found) > 40 if repository else not found


@pytest.mark.parametrize("entry", [e for e in COURSE["labs"] if e["built"]], ids=lambda e: e["number"])
@pytest.mark.parametrize("missing", [True, False])
def test_a_notebook_alone_installs_when_needed_and_keeps_torch_and_numpy(entry, missing, tmp_path, monkeypatch):
    """The first cell, run in an empty folder with a pip that only writes down what it was asked for."""
    cells = json.loads((LABS / f"{entry['name']}.ipynb").read_text("utf-8"))["cells"]
    first = next(cell for cell in cells if cell["cell_type"] == "code")
    assert first["metadata"]["tags"] == ["install"]
    asked = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if missing else object())
    monkeypatch.setattr(subprocess, "run", lambda command, check: asked.append((command, check)))
    exec("".join(first["source"]), {})
    if not missing:
        assert not asked and not list(tmp_path.iterdir())
        return
    ((command, check),) = asked
    assert check and command[:4] == [sys.executable, "-m", "pip", "install"]
    assert command[-3:-1] == ["-c", "keep.txt"] and not {"--upgrade", "-U", "--force-reinstall"} & set(command)
    where = rf" @ git\+https://github.com/{COURSE['repository']}@\S+" if COURSE["repository"] else ""
    extras = "notebook,nlp" if entry["number"] == "09" else "notebook"
    assert re.fullmatch(rf"xferlab\[{extras}\]{where}", command[-1])
    kept = dict(line.split("==") for line in (tmp_path / "keep.txt").read_text().splitlines())
    assert kept == {name: importlib.metadata.version(name) for name in ("torch", "torchvision", "numpy")}


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


def test_containers_install_what_binder_installs():
    """One list of torch for the CPU, one set of extras; Codespaces builds the same image."""
    image = (ROOT / "Dockerfile").read_text("utf-8")
    assert 'ARG TORCH="--requirement binder/requirements.txt"' in image and "python:3.12" in image
    extras = re.compile(r"--editable '\.(\[\S+\])'")
    assert extras.findall(image) == extras.findall((ROOT / "binder" / "postBuild").read_text("utf-8"))
    told = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text("utf-8"))
    assert (ROOT / ".devcontainer" / told["build"]["dockerfile"]).resolve() == ROOT / "Dockerfile"
