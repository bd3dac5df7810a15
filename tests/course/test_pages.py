"""The static site, on a course of two notebooks made up for the test."""

import re

import nbformat
import pages
import pytest

pytest.importorskip("nbconvert")
MANIFEST = 'repository = "x"\n' + "".join(
    f'[[lab]]\nnumber = "{n}"\nslug = "{s}"\ntitle = "{s} & more"\nminutes = 5\nobjectives = ["learn {s}"]\n'
    for n, s in (("70", "one"), ("71", "two"), ("72", "later"))
)


@pytest.fixture
def labs(tmp_path):
    folder = tmp_path / "labs"
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
    for name in ("70_one", "71_two"):
        (folder / "source").mkdir(parents=True, exist_ok=True)
        (folder / "source" / f"{name}.py").touch()
        (folder / "solutions").mkdir(exist_ok=True)
        text = nbformat.v4.new_markdown_cell(f"# {name}\n\n[next](71_two.ipynb) [words](glossary.md)", id="text")
        start = nbformat.v4.new_notebook(cells=[text, nbformat.v4.new_code_cell("answer = ...", id="code")])
        nbformat.write(start, folder / f"{name}.ipynb")
        shown = nbformat.v4.new_output("display_data", {"image/png": png}, metadata={"image/png": {"alt": "a dot"}})
        done = nbformat.v4.new_notebook(
            cells=[text, nbformat.v4.new_code_cell("answer = 42", outputs=[shown], execution_count=1, id="code")]
        )
        nbformat.write(done, folder / "solutions" / f"{name}.ipynb")
    (folder / "course.toml").write_text(MANIFEST)
    (folder / "glossary.md").write_text("# Glossary")
    return folder


@pytest.mark.parametrize("solutions", [False, True])
def test_site_has_a_page_a_lab_and_answers_only_by_the_switch(labs, tmp_path, solutions, capsys):
    out = tmp_path / "site"
    assert pages.main([str(out), *(["--solutions"] if solutions else [])], labs) == 0
    assert {path.name for path in out.iterdir()} == {"index.html", "70_one.html", "71_two.html", "glossary.md"}
    first, body = (out / "index.html").read_text(), (out / "70_one.html").read_text()
    assert 'href="70_one.html"' in first
    assert "one &amp; more" in first
    assert "72" not in first
    assert ("42" in re.sub(r"<style.*?</style>|<script.*?</script>|<img[^>]*>", "", body, flags=re.DOTALL)) == solutions
    assert ('alt="a dot"' in body) == solutions
    for path in out.glob("*.html"):
        text = path.read_text()
        assert re.search(r'<html[^>]*lang="en"', text)
        links = set(re.findall(r'<a[^>]* href="([^"#:]+)"', text))
        assert links
        assert [link for link in links if not (out / link).is_file()] == []
