import importlib.util
import subprocess
import sys

import pytest

from xferlab.domains import Catalog, Entry, catalog, load
from xferlab.errors import ArgumentError, DataError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XFERLAB_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.mark.parametrize(
    "name, close", [("digits/mnits", "digits/mnist"), ("cells/site-d", "cells/site-"), ("mnist", "digits/mnist")]
)
def test_an_unknown_name_gets_close_ones(name, close):
    with pytest.raises(
        DataError, match=f"'{name}' is no known domain, and no file or folder either; did you mean .*{close}"
    ):
        load(name)


@pytest.mark.parametrize("name", ["nowhere/at/all", "set.npz", "~/nothing", "", "digits/", "\0"])
def test_a_name_that_is_nothing_says_so(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"no known domain, and no file or folder either; did you mean .*/"):
        load(name)


def test_another_type_of_file_is_named(tmp_path):
    (tmp_path / "table.xlsx").write_text("a,b")
    with pytest.raises(DataError, match=r"table.xlsx is a file of type '.xlsx', expected a .npz"):
        load(tmp_path / "table.xlsx")


def test_a_folder_below_one_named_like_a_source_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cells" / "mine").mkdir(parents=True)
    with pytest.raises(DataError, match=r"cells.mine holds no images"):
        load("cells/mine")


def test_a_name_wins_over_a_folder_and_a_path_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits" / "optdigits").mkdir(parents=True)
    assert load("digits/optdigits").name == "digits/optdigits"
    with pytest.raises(DataError, match=r"holds no images"):
        load("./digits/optdigits")


def test_an_option_the_source_lacks_is_named(tmp_path):
    with pytest.raises(ArgumentError, match=r"has no option 'shift'; it takes seed"):
        load("digits/optdigits", shift=1.0)
    with pytest.raises(ArgumentError, match=r"has no option 'colour'; it takes seed, size, channels, window"):
        load(tmp_path, colour=3)


def test_catalog_lists_what_load_takes():
    if importlib.util.find_spec("medmnist") is None:
        pytest.skip("the MedMNIST lines come from its package (extra labs)")
    listed = {entry.name: entry for entry in catalog()}
    assert len([name for name in listed if name.startswith("medmnist/")]) == 12
    assert listed["medmnist/dermamnist"].licence == "CC BY-NC 4.0" and listed["medmnist/dermamnist"].images == "10,015"
    assert listed["medmnist/bloodmnist"].network == "yes" and listed["medmnist/bloodmnist"].cached == "no"
    assert listed["cells/site-c"].kind == "synthetic" and listed["digits/mnist"].kind == "real"
    assert all(importlib.util.find_spec(f"xferlab.domains.{name.split('/')[0]}") for name in listed)


def test_catalog_sees_what_is_here(tmp_path):
    if importlib.util.find_spec("medmnist") is None:
        pytest.skip("the MedMNIST lines come from its package (extra labs)")
    file = tmp_path / "cache" / "medmnist" / "bloodmnist_64.npz"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    assert next(entry for entry in catalog() if entry.name == "medmnist/bloodmnist").cached == "64"


def test_catalog_prints_a_table_with_one_line_an_entry():
    lines = repr(catalog()).splitlines()
    assert lines[0].split() == ["name", "classes", "images", "pixels", "licence", "kind", "network", "cached"]
    assert len(lines) == len(catalog()) + 1 and len({line.find("real") for line in lines if "real" in line}) == 1


def test_catalog_html_is_escaped():
    shown = Catalog([Entry("<script>alert(1)</script>", 2, "1", "28", "a & b", "real", "no", "no")])._repr_html_()
    assert "<script>" not in shown and "&lt;script&gt;" in shown and "a &amp; b" in shown


def test_importing_domains_loads_no_heavy_optional_package():
    heavy = {"medmnist", "mlxtend", "pandas", "pydicom", "matplotlib"}
    code = f"import sys, xferlab.domains as d; d.catalog(); print(sorted({heavy} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_a_source_s_options_reach_it():
    """Options that are looked for among keyword-only arguments alone are lost where a source takes them otherwise."""
    splits = load("cells/site-a", per_class=(2, 1, 1), size=32, shift=0.5)
    assert len(splits.train) == 16 and splits.train.inputs.shape[-1] == 32
