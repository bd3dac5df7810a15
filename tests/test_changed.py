from changed import mirrors


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
