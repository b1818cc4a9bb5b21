"""Recipes: what is accepted, what is refused, and with which words."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tumorscope.errors import RecipeError
from tumorscope.training import recipe

SMALL = 'name = "x"\n[[phases]]\nepochs = 2\nsize = 64\n[[phases]]\nepochs = 3\nsize = 96\nbatch = 4\n'


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_of_the_package_is_valid(name: str) -> None:
    loaded = recipe.load(name)
    assert loaded.name == name
    if isinstance(loaded, recipe.Recipe):
        assert loaded.epochs == sum(phase.epochs for phase in loaded.phases)


def test_the_task_decides_what_a_recipe_may_hold() -> None:
    parsed = recipe.parse('name = "x"\ntask = "classical"\n[validation]\nfolds = 3\n', "x.toml")
    assert isinstance(parsed, recipe.Classical) and parsed.validation.folds == 3
    with pytest.raises(RecipeError, match=r"x\.toml: unknown key in validation 'fold'; did you mean 'folds'\?"):
        recipe.parse('name = "x"\ntask = "classical"\n[validation]\nfold = 3\n', "x.toml")
    with pytest.raises(RecipeError, match="phases"):
        recipe.parse('task = "classical"\n' + SMALL, "x.toml")
    with pytest.raises(RecipeError, match=r"x\.toml: unknown task 'clasical'; did you mean 'classical'\?"):
        recipe.parse('name = "x"\ntask = "clasical"\n', "x.toml")


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


def test_the_rate_warms_up_falls_and_starts_again_where_a_phase_says_so() -> None:
    text = (
        'name = "x"\n[[phases]]\nepochs = 2\nsize = 64\nbatch = 10\n[[phases]]\nepochs = 2\nsize = 64\nbatch = 10\n'
        "rate = 0.5\n[optimiser]\nrate = 1.0\nfinal_rate = 0.1\nwarmup = 0.05\n[data]\nepoch_scans = 100\n"
    )
    parsed = recipe.parse(text, "x.toml")
    rates = [parsed.rate_at(step) for step in range(41)]
    assert rates[0] == 0.5 and rates[2] == 1.0
    assert all(a > b for a, b in pairwise(rates[2:20]))
    assert rates[20] == 0.5 and rates[19] < 0.12
    assert abs(rates[40] - 0.1) < 1e-9


def test_a_phase_changes_only_its_own_epochs() -> None:
    text = SMALL + "weights = { a = 1.0 }\naugmentation = { paste = 0.1 }\nloss = { evidence = 2.0 }\n"
    parsed = recipe.parse(text, "x.toml")
    assert parsed.augmentation_at(0).paste == recipe.Augmentation().paste and parsed.augmentation_at(2).paste == 0.1
    assert parsed.augmentation_at(2).flip == recipe.Augmentation().flip
    assert parsed.loss_at(1).evidence == recipe.Loss().evidence and parsed.loss_at(4).evidence == 2.0
    assert parsed.data_at(0).weights == {} and parsed.data_at(3).weights == {"a": 1.0}


def test_a_typo_in_what_a_phase_changes_is_named() -> None:
    with pytest.raises(RecipeError, match="did you mean 'paste'"):
        recipe.parse(SMALL + "augmentation = { past = 0.1 }\n", "x.toml")
