"""Search space: which settings of a classifier's recipe are tried, and between which bounds. Needs no torch."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tumorscope.errors import RecipeError, look_up
from tumorscope.models.heads import layers
from tumorscope.training.classifier_recipe import ClassifierRecipe
from tumorscope.training.recipe import changed

#: Settings that are no single key of a recipe, and what each stands for.
SHORT: Mapping[str, str] = {
    "rate": "learning rate of the first phase; that of later phases keeps its ratio to it",
    "optimiser": "of every phase",
    "dropout": "share of every dropout of the head",
    "dense": "units of the last dense layer of the head",
}
#: The reference's space. It leaves open how far scans are turned and brightened: none, half or all of twice its own.
REFERENCE: Mapping[str, Any] = {
    "rate": {"low": 1e-5, "high": 1e-2, "log": True},
    "optimiser": ["adam", "rmsprop", "sgd"],
    "dropout": {"low": 0.2, "high": 0.5, "step": 0.1},
    "dense": [128, 256, 512],
    "fit.batch": [16, 32, 64],
    "augmentation.flip": [0.0, 0.5],
    "augmentation.rotation": [0.0, 10.0, 20.0],
    "augmentation.brightness": [0.0, 0.1, 0.2],
}
#: Keys that no trial may choose, and why.
FIXED: Mapping[str, str] = {
    "name": "it changes nothing",
    "task": "one space belongs to one task",
    "seed": "picking the luckiest seed is no tuning",
    "fit.monitor": "scores of different figures cannot be compared",
    "machine": "it changes speed, not what is learnt",
    **dict.fromkeys(
        ("data.validation", "data.test", "data.folds", "data.repeats", "data.ordered", "data.block", "data.gap"),
        "it says which scans are held out, and trials are compared on the same ones",
    ),
    "data.rounds": "it changes nothing",
}
OF_LOSS = ("loss.", "data.balance")  # keys that change the unit of the validation loss
RANGE = ("low", "high", "log", "step")
POINTS = 4  # of a range without steps in a grid; of a logarithmic one over three decades, one a decade
DIGITS = 10  # to which a stepped value is rounded: 0.2 + 0.1 is 0.3


@dataclass(frozen=True)
class Choice:
    """A setting that takes one of some values.

    Optuna draws a label of each, which SQLite can keep: the value itself, or JSON of a list or table.

    Examples
    --------
    >>> Choice((16, 32)).points()
    [16, 32]
    """

    options: tuple[Any, ...]

    def points(self) -> list[Any]:
        """All values."""
        return list(self.options)

    def value(self, label: Any) -> Any:
        """The value that a label stands for."""
        return next(one for one in self.options if self.label(one) == label)

    def label(self, value: Any) -> Any:
        """What Optuna draws for a value."""
        return value if isinstance(value, str | int | float | bool) else json.dumps(value, sort_keys=True)

    def nearest(self, value: Any) -> Any:
        """The option that is ``value``, or the number nearest to it; the first one where there is no such."""
        if value in self.options:
            return value
        numbers = [one for one in self.options if isinstance(one, int | float)]
        return min(numbers, key=lambda one: abs(one - value)) if numbers and _number(value) else self.options[0]

    def ends(self) -> list[Any]:
        """Values that have to be valid for all to be."""
        return list(self.options)

    def distribution(self) -> Any:
        """The labels for Optuna."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution([self.label(one) for one in self.options])


@dataclass(frozen=True)
class Range:
    """A setting that takes any value between two, evenly or evenly in its logarithm, in steps where one is given.

    Optuna draws the value, or the number of a step.

    Examples
    --------
    >>> Range(1e-5, 1e-2, log=True).points(), Range(0.2, 0.5, step=0.1).points()
    ([1e-05, 0.0001, 0.001, 0.01], [0.2, 0.3, 0.4, 0.5])
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    @property
    def whole(self) -> bool:
        """Whether the values are whole numbers: those of the bounds and the step are."""
        return all(isinstance(one, int) for one in (self.low, self.high, 1 if self.step is None else self.step))

    def points(self) -> list[float]:
        """Every step; without steps some values from end to end."""
        if self.step is not None:
            return [self._rounded(self.low + self.step * number) for number in range(self._steps + 1)]
        values = (np.geomspace if self.log else np.linspace)(self.low, self.high, POINTS)
        return list(dict.fromkeys(self._rounded(one) for one in values.tolist()))

    def value(self, label: float) -> float:
        """The value that Optuna's draw stands for."""
        return self._rounded(label if self.step is None else self.low + self.step * label)

    def label(self, value: float) -> float:
        """What Optuna draws for a value."""
        return value if self.step is None else round((value - self.low) / self.step)

    def nearest(self, value: Any) -> float:
        """The value of the range that is nearest to ``value``."""
        inside = min(max(value if _number(value) else self.low, self.low), self.high)
        return self.value(self.label(inside))

    def ends(self) -> list[float]:
        """Values that have to be valid for all to be."""
        return [self.low, self.high]

    def distribution(self) -> Any:
        """The labels for Optuna."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.step is not None:  # numbered, since Optuna changes bounds that steps miss by a rounding error
            return IntDistribution(0, self._steps)
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(float(self.low), float(self.high), log=self.log)

    @property
    def _steps(self) -> int:
        assert self.step is not None
        return math.floor((self.high - self.low) / self.step + 1e-9)

    def _rounded(self, value: float) -> float:
        return round(value) if self.whole else min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)


@dataclass(frozen=True)
class SearchSpace:
    """Settings by name, each with what it may be: a name of `SHORT`, or a dotted key of the recipe.

    Examples
    --------
    >>> from tumorscope.training.recipe import load
    >>> recipe = load("custom-cnn")
    >>> space = SearchSpace.of({"dropout": {"low": 0.2, "high": 0.5, "step": 0.1}, "fit": {"batch": [16, 32]}}, recipe)
    >>> space.combinations
    8
    >>> tried = space.applied(recipe, {"dropout": 0.2, "fit.batch": 16})
    >>> tried.model.head, tried.fit.batch
    (('dense 128', 'dropout 0.2'), 16)
    """

    settings: Mapping[str, Choice | Range]

    @classmethod
    def reference(cls, recipe: ClassifierRecipe) -> SearchSpace:
        """The reference's space, without what the recipe's head has no layer for."""
        kinds = {layer.kind for layer in layers(recipe.model.head)}
        absent = {"dropout", "dense"} - kinds
        return cls.of({key: value for key, value in REFERENCE.items() if key not in absent}, recipe)

    @classmethod
    def read(cls, file: Path, recipe: ClassifierRecipe) -> SearchSpace:
        """The space in a TOML file; see `of`.

        Raises
        ------
        RecipeError
            If it cannot be read or is no TOML, and as `of`.
        """
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise RecipeError(f"{file}: cannot be read ({error.strerror}); check the path") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise RecipeError(f"{file}: not valid TOML ({error}); mend that line") from error
        return cls.of(values, recipe, str(file))

    @classmethod
    def of(cls, values: Mapping[str, Any], recipe: ClassifierRecipe, origin: str = "space") -> SearchSpace:
        """The space of plain data: under each key a list of values, or ``{low, high, log, step}``.

        Keys with dots may also stand in tables, ``[fit]`` and below it ``batch = [16, 32]``.

        Raises
        ------
        RecipeError
            For an unknown key (the nearest one is named), bounds that hold nothing, a value that the recipe refuses, or
            a key that no trial may choose.
        """
        found = {key: _dimension(key, value, origin) for key, value in _flat(values).items()}
        if not found:
            raise RecipeError(f"{origin}: names no setting; give for example rate = {{ low = 1e-5, high = 1e-2 }}")
        space = cls(found)
        for key, one in found.items():
            _allowed(key, recipe, origin)
            for value in one.ends():
                space.applied(recipe, {key: value}, origin)
        return space

    @property
    def combinations(self) -> int:
        """Number of points of the `grid`."""
        return math.prod(len(one.points()) for one in self.settings.values())

    def grid(self) -> dict[str, list[Any]]:
        """Labels of each setting's points, for Optuna's grid."""
        return {key: [one.label(value) for value in one.points()] for key, one in self.settings.items()}

    def distributions(self) -> dict[str, Any]:
        """The space for Optuna."""
        return {key: one.distribution() for key, one in self.settings.items()}

    def chosen(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """Values of the recipe's own kind for what Optuna drew."""
        return {key: one.value(drawn[key]) for key, one in self.settings.items()}

    def drawn(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """What Optuna drew for values of `chosen`."""
        return {key: one.label(chosen[key]) for key, one in self.settings.items()}

    def nearest(self, recipe: ClassifierRecipe) -> dict[str, Any]:
        """The settings of the space that are nearest to the recipe's own; of several dropouts, to their mean."""
        return {key: one.nearest(_own(recipe, key)) for key, one in self.settings.items()}

    def applied(self, recipe: ClassifierRecipe, chosen: Mapping[str, Any], origin: str = "space") -> ClassifierRecipe:
        """The recipe with other settings.

        Raises
        ------
        RecipeError
            For an unknown key or a bad value.
        """
        values: dict[str, Any] = {}
        head = [str(words) for words in chosen.get("model.head", recipe.model.head)]
        for key, value in chosen.items():
            if key == "rate":
                values |= _rates(recipe, value, origin)
            elif key == "optimiser":
                values |= {f"phases.{number}.optimiser": value for number in range(len(recipe.phases))}
            elif key in ("dropout", "dense"):
                head = _head(head, key, value, origin)
                values["model.head"] = head
            else:
                values[key] = head if key == "model.head" else value
        return changed(recipe, values, origin)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, which `of` takes."""
        return {
            key: list(one.options) if isinstance(one, Choice) else {k: v for k, v in vars(one).items() if v is not None}
            for key, one in self.settings.items()
        }


def _own(recipe: ClassifierRecipe, key: str) -> Any:
    """The recipe's own value of a setting."""
    if key in ("rate", "optimiser"):
        return getattr(recipe.phases[0], key)
    if key in ("dropout", "dense"):
        values = [layer.value for layer in layers(recipe.model.head) if layer.kind == key]
        return sum(values) / len(values) if key == "dropout" else int(values[-1])
    place: Any = recipe.model_dump(mode="json")
    for part in key.split("."):
        place = place[int(part)] if isinstance(place, list) else place[part]
    return place


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _rates(recipe: ClassifierRecipe, rate: Any, origin: str) -> dict[str, float]:
    if not _number(rate):
        raise RecipeError(f"{origin}: rate: '{rate}' is no number; give bounds, as {{ low = 1e-5, high = 1e-2 }}")
    first = recipe.phases[0].rate
    return {f"phases.{number}.rate": rate * (phase.rate / first) for number, phase in enumerate(recipe.phases)}


def _head(head: list[str], kind: str, value: Any, origin: str) -> list[str]:
    """The head with another share of every dropout, or other units of its last dense layer."""
    places = [number for number, layer in enumerate(layers(head)) if layer.kind == kind]
    if not places:
        raise RecipeError(
            f"{origin}: {kind}: the head has no such layer ({', '.join(head) or 'it is empty'}); leave it out of the "
            "space, or add one under model.head"
        )
    written = f"{kind} {value:g}" if isinstance(value, float) else f"{kind} {value}"
    for place in places if kind == "dropout" else places[-1:]:
        head = [*head[:place], written, *head[place + 1 :]]
    return head


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested tables as dotted keys; a table with a bound in it is a range."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value and not set(RANGE) & set(value):
            found |= _flat(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = value
    return found


def _dimension(key: str, value: Any, origin: str) -> Choice | Range:
    if isinstance(value, list) and value:
        if any(value.count(one) > 1 for one in value):
            raise RecipeError(f"{origin}: {key}: a value stands twice; name each once")
        return Choice(tuple(value))
    if not isinstance(value, dict) or not value:
        raise RecipeError(f"{origin}: {key}: {value!r} is no range; give a list of values, or {{ low = …, high = … }}")
    for name in value:
        look_up(name, RANGE, f"bound of {key}", RecipeError)
    numbers = {name: one for name, one in value.items() if name != "log"}
    plain = all(map(_number, numbers.values()))
    if not {"low", "high"} <= set(numbers) or not plain or not all(map(math.isfinite, numbers.values())):
        raise RecipeError(f"{origin}: {key}: a range needs two numbers; write {{ low = …, high = … }}")
    found = Range(**value)
    if found.low >= found.high or (found.step is not None and not 0 < found.step <= found.high - found.low):
        raise RecipeError(f"{origin}: {key}: nothing lies between {found.low:g} and {found.high:g} in its steps")
    if found.log and (found.low <= 0 or found.step is not None):
        raise RecipeError(f"{origin}: {key}: a logarithmic range lies above 0 and has no steps; mend it or drop log")
    return found


def _allowed(key: str, recipe: ClassifierRecipe, origin: str) -> None:
    """Refuse a key that is unknown, or that no trial may choose."""
    if "." not in key:
        look_up(key, [*SHORT, *type(recipe).model_fields], "setting", RecipeError)
    for fixed, reason in FIXED.items():
        if key == fixed or key.startswith(f"{fixed}."):
            raise RecipeError(f"{origin}: {key} cannot be searched: {reason}; set it with --set")
    if recipe.fit.monitor == "loss" and key.startswith(OF_LOSS):
        raise RecipeError(
            f"{origin}: {key} changes what the loss means, which scores the trials; use --set fit.monitor=auc"
        )
