from changed import ELSEWHERE, ROOT, mirrors


def test_a_modules_tests_stand_where_it_stands():
    assert mirrors([]) == ["tests/test_house.py"]
    assert "tests/encoders/test_base.py" in mirrors(["xferlab/encoders/base.py"])
    assert mirrors(["xferlab/augment/color.py"]) == ["tests/test_augment.py", "tests/test_house.py"]
    assert {"tests/encoders/test_base.py", "tests/encoders/test_text.py"} <= set(
        mirrors(["xferlab/encoders/__init__.py"])
    )
    assert mirrors(["tests/test_recipe.py", "README.md", "tests/small.py", "xferlab/nowhere.py"]) == [
        *("tests/test_house.py", "tests/test_recipe.py")
    ]


def test_what_has_no_tests_of_its_own_name_is_tested_elsewhere():
    """A new file that nobody maps would be changed without any test: its folder's main tests run."""
    compare, commands = ("tests/comparison/test_compare.py", "tests/comparison/test_commands.py")
    for module in ("schedule", "definitions", "scoring", "of_tomorrow"):
        assert mirrors([f"xferlab/comparison/{module}.py"]) == [compare, "tests/test_house.py"]
    assert mirrors(["xferlab/comparison/report.py"]) == [commands, "tests/test_house.py"]
    assert mirrors(["xferlab/course/commands.py"]) == ["tests/test_cli.py", "tests/test_house.py"]
    assert all((ROOT / "tests" / path).is_file() for path in ELSEWHERE.values())
