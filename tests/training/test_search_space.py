"""Search spaces: what may be searched, how it is written, and what it does to a recipe."""

from __future__ import annotations

import tomllib
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorscope.errors import RecipeError
from tumorscope.training import recipe as recipes
from tumorscope.training.classifier_recipe import ClassifierRecipe
from tumorscope.training.search_space import REFERENCE, Choice, Range, SearchSpace

NORMAL = partial(st.floats, allow_subnormal=False)  # a training in the same process has turned subnormal floats off


def recipe(name: str = "convnext-base-v1") -> ClassifierRecipe:
    found = recipes.load(name)
    assert isinstance(found, ClassifierRecipe)
    return found


def space(values: dict[str, Any], name: str = "convnext-base-v1") -> SearchSpace:
    return SearchSpace.of(values, recipe(name))


def test_the_reference_space_is_that_of_the_reference() -> None:
    found = SearchSpace.reference(recipe()).settings
    assert found["rate"] == Range(1e-5, 1e-2, log=True)
    assert found["optimiser"] == Choice(("adam", "rmsprop", "sgd"))
    assert found["dropout"].points() == [0.2, 0.3, 0.4, 0.5]
    assert found["dense"] == Choice((128, 256, 512)) and found["fit.batch"] == Choice((16, 32, 64))
    assert {"augmentation.flip", "augmentation.rotation", "augmentation.brightness"} <= set(found)
    assert found["rate"].points() == [1e-5, 1e-4, 1e-3, 1e-2]


def test_the_page_shows_the_space_as_it_is(repository: Path) -> None:
    text = (repository / "docs" / "how-to" / "tune.md").read_text("utf-8").split("```toml\n")[1].split("```")[0]
    assert SearchSpace.of(tomllib.loads(text), recipe()) == SearchSpace.reference(recipe())


@pytest.mark.parametrize("name", [name for name in recipes.names() if recipes.load(name).task == "classify"])
def test_every_classifier_can_be_tuned_in_it(name: str) -> None:
    found, one = SearchSpace.reference(recipe(name)), recipe(name)
    kinds = {words.split()[0] for words in one.model.head}
    assert set(REFERENCE) - set(found.settings) == {"dropout", "dense"} - kinds
    ends = {key: dimension.ends()[-1] for key, dimension in found.settings.items()}
    assert found.applied(one, ends) != one


def test_settings_reach_every_place_they_stand_for() -> None:
    one = recipe()
    first, second = one.phases[0].rate, one.phases[1].rate
    chosen = {"rate": 2 * first, "optimiser": "sgd", "dropout": 0.4, "dense": 64, "fit.batch": 16, "phases.1.epochs": 3}
    tried = SearchSpace({}).applied(one, chosen)
    assert tried.model.head == (
        "dense 1024", "batchnorm", "dropout 0.4", "dense 512", "batchnorm", "dropout 0.4", "dense 64", "batchnorm",
        "dropout 0.4",
    )  # fmt: skip
    assert [phase.rate for phase in tried.phases] == pytest.approx([2 * first, 2 * second])
    assert {phase.optimiser for phase in tried.phases} == {"sgd"}
    assert tried.fit.batch == 16 and tried.phases[1].epochs == 3
    assert tried.model.backbone == one.model.backbone and tried.phases[0].epochs == one.phases[0].epochs


def test_a_head_may_be_chosen_whole_and_then_given_its_dropout() -> None:
    found = space({"model.head": [["dense 8", "dropout 0.1"], ["dropout 0.2"]], "dropout": [0.3, 0.4]}, "custom-cnn")
    assert found.combinations == 4
    drawn = {"model.head": found.grid()["model.head"][0], "dropout": 0.3}
    assert all(isinstance(value, str) for value in found.grid()["model.head"])  # as SQLite keeps it
    chosen = found.chosen(drawn)
    assert chosen["model.head"] == ["dense 8", "dropout 0.1"] and found.drawn(chosen) == drawn
    assert found.applied(recipe("custom-cnn"), chosen).model.head == ("dense 8", "dropout 0.3")


def test_a_file_may_hold_dotted_keys_and_tables(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text('rate = { low = 1e-4, high = 1e-3, log = true }\n"fit.clip" = [0.0, 1.0]\n[fit]\nbatch = [8, 16]\n')
    found = SearchSpace.read(file, recipe())
    assert set(found.settings) == {"rate", "fit.clip", "fit.batch"}
    assert SearchSpace.of(found.to_dict(), recipe()) == found


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"drpout": [0.1]}, "did you mean 'dropout'"),
        ({"fit.bacth": [16]}, "did you mean 'batch'"),
        ({"augmentation": {"flipp": [0.5]}}, "did you mean 'flip'"),
        ({"phases.0.rte": [1e-3]}, "did you mean 'rate'"),
        ({"phases.7.rate": [1e-3]}, "names nothing"),
        ({"rate": {"lo": 1e-5, "high": 1e-2}}, "did you mean 'low'"),
        ({"rate": {"low": 1e-5}}, "needs two numbers"),
        ({"rate": {"low": 1e-2, "high": 1e-5}}, "nothing lies between"),
        ({"dropout": {"low": 0.2, "high": 0.3, "step": 0.5}}, "nothing lies between"),
        ({"rate": {"low": 0.0, "high": 1.0, "log": True}}, "above 0"),
        ({"rate": {"low": float("nan"), "high": 1.0}}, "needs two numbers"),
        ({"rate": {"low": True, "high": 2}}, "needs two numbers"),
        ({"rate": []}, "is no range"),
        ({"rate": 1e-3}, "is no range"),
        ({"rate": ["fast"]}, "is no number"),
        ({"fit.batch": [16, 16]}, "stands twice"),
        ({"fit.batch": [0, 16]}, "fit.batch: input should be greater"),
        ({"dropout": {"low": 0.2, "high": 1.2}}, "below 1"),
        ({"optimiser": ["adam", "adagrad"]}, "optimiser"),
        ({}, "names no setting"),
        ({"seed": [0, 1]}, "cannot be searched"),
        ({"data.validation": [0.1, 0.2]}, "cannot be searched"),
        ({"fit.monitor": ["auc", "loss"]}, "cannot be searched"),
        ({"machine.precision": ["fp32", "bf16"]}, "cannot be searched"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_line(values: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError) as refused:
        space(values)
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_a_layer_that_the_head_lacks_cannot_be_searched() -> None:
    with pytest.raises(RecipeError, match="has no such layer"):
        space({"dense": [64, 128]}, "resnet18")


def test_what_changes_the_loss_is_not_scored_by_the_loss() -> None:
    by_loss = recipes.changed(recipe(), {"fit.monitor": "loss"})
    for key, values in (("loss.smoothing", [0.0, 0.1]), ("data.balance", ["none", "loss"])):
        assert SearchSpace.of({key: values}, recipe()).settings
        with pytest.raises(RecipeError, match="what the loss means"):
            SearchSpace.of({key: values}, by_loss)


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"absent\.toml: cannot be read"):
        SearchSpace.read(tmp_path / "absent.toml", recipe())
    (tmp_path / "broken.toml").write_text("rate = [")
    with pytest.raises(RecipeError, match=r"broken\.toml: not valid TOML"):
        SearchSpace.read(tmp_path / "broken.toml", recipe())


@given(low=NORMAL(1e-6, 1), width=NORMAL(1e-3, 10), steps=st.integers(1, 40), drawn=NORMAL(0, 1))
def test_values_of_a_range_stay_inside_it(low: float, width: float, steps: int, drawn: float) -> None:
    stepped = Range(low, low + width, step=width / steps)
    for one in (Range(low, low + width), Range(low, low + width, log=True)):
        assert one.low <= one.value(min(low + drawn * width, one.high)) <= one.high
    for one in (Range(low, low + width), Range(low, low + width, log=True), stepped):
        points = one.points()
        assert points[0] == pytest.approx(low) and points[-1] == pytest.approx(low + width)
        assert points == sorted(points) and one.low <= points[0] and points[-1] <= one.high
        assert all(one.distribution()._contains(float(one.label(value))) for value in points)
        assert [one.value(one.label(value)) for value in points] == points
    assert len(stepped.points()) == steps + 1


def test_whole_bounds_give_whole_numbers() -> None:
    assert Range(1, 4).points() == [1, 2, 3, 4] and Range(2, 9, step=3).points() == [2, 5, 8]
    assert Range(2, 9, step=3).value(1) == 5 and Range(2, 9, step=3).label(8) == 2
    assert all(isinstance(value, int) for value in Range(16, 512, log=True).points())
    assert Range(16, 512, log=True).points()[0] == 16 and Range(16, 512, log=True).points()[-1] == 512


def test_the_point_nearest_to_a_recipe_is_the_recipe_where_the_space_holds_it() -> None:
    one = recipe("custom-cnn")
    found = SearchSpace.reference(one)
    assert found.applied(one, found.nearest(one)) == one
    several = SearchSpace.reference(recipe()).nearest(recipe())  # dropouts of .5, .3 and .2
    assert several["dropout"] == 0.3 and several["dense"] == 128 and several["rate"] == 1e-4
    other = space({"rate": {"low": 1e-2, "high": 1e-1}, "optimiser": ["sgd", "rmsprop"], "fit.clip": [0.5, 3]})
    assert other.nearest(recipe()) == {"rate": 1e-2, "optimiser": "sgd", "fit.clip": 0.5}
