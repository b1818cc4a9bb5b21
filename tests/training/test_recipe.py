"""Recipes: what is accepted, what is refused, and with which words."""

from __future__ import annotations

import importlib.util
from itertools import pairwise
from pathlib import Path

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


@pytest.mark.parametrize("name", recipe.names())
def test_a_recipe_written_out_is_read_as_the_same(name: str) -> None:
    loaded = recipe.load(name)
    again = recipe.parse(recipe.to_toml(loaded), "again.toml")
    assert again == loaded and type(again) is type(loaded)


def test_text_of_any_kind_is_written_so_that_toml_reads_it() -> None:
    odd = recipe.changed(recipe.load("resnet18"), {"name": 'two "words" \\ ü\t', "data.ordered": ["a'b", "c"]})
    assert recipe.parse(recipe.to_toml(odd), "odd.toml") == odd


class TestChanged:
    def test_dotted_keys_reach_sections_and_phases(self) -> None:
        before = recipe.load("resnet50-v1")
        after = recipe.changed(before, {"fit.batch": 16, "phases.1.rate": 2e-5, "name": "mine", "data.folds": 5})
        assert (after.fit.batch, after.phases[1].rate, after.name, after.data.folds) == (16, 2e-5, "mine", 5)
        assert after.phases[0] == before.phases[0] and before.fit.batch == 32  # the old one stays

    def test_whole_sections_and_lists_can_be_replaced(self) -> None:
        after = recipe.changed(recipe.load("resnet18"), {"phases": [{"epochs": 3}], "model.head": ["dense 4"]})
        assert after.epochs == 3 and after.model.head == ("dense 4",)

    def test_nothing_changed_is_the_same(self) -> None:
        assert all(recipe.changed(recipe.load(name), {}) == recipe.load(name) for name in recipe.names())

    @pytest.mark.parametrize(
        ("key", "value", "words"),
        [
            ("fit.bacth", 16, r"--set: unknown key in fit 'bacth'; did you mean 'batch'\?"),
            ("fti.batch", 16, r"--set: unknown key in the recipe 'fti'; did you mean 'fit'\?"),
            ("phases.0.epoch", 1, r"--set: unknown key in phases\.0 'epoch'; did you mean 'epochs'\?"),
            ("phases.7.rate", 0.1, r"--set: 'phases\.7\.rate' names nothing under 'phases'"),
            ("phases.x.rate", 0.1, r"--set: 'phases\.x\.rate' names nothing under 'phases'"),
            ("phases.0", {"epochs": 2}, r"--set: 'phases\.0' names nothing that can be set"),
            ("fit.batch.size", 1, r"--set: 'fit\.batch\.size' names nothing"),
            ("fit.batch", 0, r"--set: fit\.batch: input should be greater than or equal to 1"),
            ("fit.batch", "many", r"--set: fit\.batch: input should be a valid integer"),
            ("task", "clasify", r"--set: unknown task 'clasify'; did you mean 'classify'\?"),
            ("model.head", ["relu"], r"--set: model\.head: .*'relu' is no layer"),
        ],
    )
    def test_what_does_not_exist_is_named(self, key: str, value: object, words: str) -> None:
        with pytest.raises(RecipeError, match=words) as caught:
            recipe.changed(recipe.load("resnet18"), {key: value}, "--set")
        assert "\n" not in str(caught.value)


def test_the_reference_page_is_made_from_the_recipe_models(repository: Path, tmp_path: Path) -> None:
    path = repository / "docs" / "figures" / "recipes.py"
    spec = importlib.util.spec_from_file_location("recipes_page", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.write(tmp_path / "page.md")
    page = repository / "docs" / "reference" / "recipes.md"
    assert (tmp_path / "page.md").read_text() == page.read_text(), f"run {path.relative_to(repository)}"
