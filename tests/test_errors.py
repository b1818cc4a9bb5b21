from __future__ import annotations

import inspect
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorscope import errors
from tumorscope.errors import DataError, Exit, MissingExtra, RecipeError, TumorscopeError, look_up

CHILDREN = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, TumorscopeError)]
NAMES = st.lists(st.text(string.ascii_lowercase + "-_0123456789", min_size=1, max_size=12), min_size=1, max_size=8)


def test_exit_codes_are_the_contract() -> None:
    assert {code.name: int(code) for code in Exit} == {"OK": 0, "INTERNAL": 1, "USAGE": 2, "PARTIAL": 3}


@pytest.mark.parametrize("child", CHILDREN)
def test_every_error_is_caught_by_its_parent_and_means_unusable_input(child: type[TumorscopeError]) -> None:
    assert issubclass(child, TumorscopeError)
    assert not issubclass(child, ValueError | OSError), "a broad except in a library must not swallow it by accident"
    assert child.exit_code == Exit.USAGE


def test_there_are_children_to_check() -> None:
    assert len(CHILDREN) >= 6


def test_missing_extra_names_feature_package_and_command() -> None:
    text = str(MissingExtra("the server", "fastapi", "serve"))
    assert text == "the server needs fastapi, which is not installed; run: pip install 'tumorscope[serve]'"
    assert "\n" not in text


@given(NAMES, st.integers(0, 7))
def test_a_known_name_comes_back_unchanged(names: list[str], index: int) -> None:
    name = names[index % len(names)]
    assert look_up(name, iter(names), "thing") == name


@given(NAMES, st.text(string.ascii_uppercase, min_size=1, max_size=12))
def test_an_unknown_name_lists_every_known_one_on_one_line(names: list[str], unknown: str) -> None:
    with pytest.raises(DataError) as caught:
        look_up(unknown, names, "thing", DataError)
    text = str(caught.value)
    assert f"unknown thing '{unknown}'" in text
    assert text.endswith("known: " + ", ".join(names))
    assert "\n" not in text


def test_the_nearest_name_is_suggested() -> None:
    with pytest.raises(RecipeError, match="did you mean 'unet-xception'"):
        look_up("unet-xcepton", ["unet", "unet-xception", "fcn-8s"], "model", RecipeError)


def test_nothing_is_suggested_for_a_name_far_from_all() -> None:
    with pytest.raises(TumorscopeError) as caught:
        look_up("qqqq", ["unet", "fcn-8s"], "model")
    assert "did you mean" not in str(caught.value)
