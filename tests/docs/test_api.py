"""What the API pages are made of: each public name says what it is and what it takes."""

import inspect
import re
from pathlib import Path

import pytest

import xferlab as xl

PUBLIC = re.findall(r" as (\w+)", Path(xl.__file__).with_name("__init__.pyi").read_text("utf-8"))


def told(thing) -> str:
    """Its docstring, and those of our classes that it is made from."""
    kin = thing.__mro__ if inspect.isclass(thing) else [thing]
    return "\n".join(inspect.cleandoc(c.__doc__) for c in kin if c.__module__.startswith("xferlab") and c.__doc__)


@pytest.mark.parametrize(
    "name", [name for name in PUBLIC if callable(getattr(xl, name)) or inspect.ismodule(getattr(xl, name))]
)
def test_a_public_name_says_what_it_is_and_what_it_takes(name):
    """A parameter stands at the start of a line of its section, `name` or `name, other`, or in backticks."""
    thing = getattr(xl, name)
    first = inspect.getdoc(thing).splitlines()[0]
    assert len(first) > 10 and not first.startswith(f"{name}("), "a summary of its own"
    if callable(thing):
        text, kinds = told(thing), (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        takes = [p.name for p in inspect.signature(thing).parameters.values() if p.kind not in kinds]
        assert [p for p in takes if not re.search(rf"(?m)^\s*(?:\w+, )*{p}\b|`{p}`", text)] == []
