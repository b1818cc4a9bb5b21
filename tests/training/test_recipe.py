"""Recipes: what is accepted, what is refused, and with which words."""

from __future__ import annotations

import pytest

from tumorscope.errors import RecipeError
from tumorscope.training import recipe

SMALL = 'name = "x"\n[[phases]]\nepochs = 2\nsize = 64\n[[phases]]\nepochs = 3\nsize = 96\nbatch = 4\n'


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_of_the_package_is_valid(name: str) -> None:
    loaded = recipe.load(name)
    assert loaded.name == name
    assert loaded.epochs == sum(phase.epochs for phase in loaded.phases)


def test_phase_of_an_epoch() -> None:
    parsed = recipe.parse(SMALL, "x.toml")
    assert [parsed.phase_at(epoch).size for epoch in (0, 1, 2, 4, 99)] == [64, 64, 96, 96, 96]


def test_a_typo_gets_the_nearest_key() -> None:
    with pytest.raises(RecipeError, match=r"x\.toml: unknown key in optimiser 'rat'; did you mean 'rate'\?"):
        recipe.parse(SMALL + "[optimiser]\nrat = 0.1\n", "x.toml")


def test_a_typo_in_a_phase_is_named() -> None:
    with pytest.raises(RecipeError, match=r"unknown key in phases\.0 'epoch'; did you mean 'epochs'"):
        recipe.parse('name = "x"\n[[phases]]\nepochs = 1\nepoch = 1\nsize = 64\n', "x.toml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('name = "x"\n', "phases"),
        (SMALL.replace("64", "65"), "phases.0.size"),
        (SMALL + "[data]\nvalidation = 0.9\n", "data.validation"),
        ("name = ", "not valid TOML"),
    ],
)
def test_bad_values_are_one_line_with_the_place(text: str, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe.parse(text, "x.toml")
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_unknown_recipe_and_missing_file(tmp_path) -> None:
    with pytest.raises(RecipeError, match="did you mean 'scout'"):
        recipe.load("scoot")
    with pytest.raises(RecipeError, match="cannot be read"):
        recipe.load(tmp_path / "none.toml")
