"""How a tuning holds scans out: outer folds that judge, and inside each the parts that score a trial. By group."""

from __future__ import annotations

import polars as pl

from tumorscope.errors import DataError
from tumorscope.training.classifier_recipe import ClassifierRecipe
from tumorscope.training.divisions import Division, divisions
from tumorscope.training.recipe import changed

FOLDS = 3  # outer folds, where neither the recipe nor the user asks for a number
WHOLE, SINGLE = "all", "train"  # names of the last search, over all scans, and of the only one where there are no folds


def outer_parts(table: pl.DataFrame, recipe: ClassifierRecipe, folds: int | None) -> list[Division]:
    """The divisions that searches run in, by group: one for each outer fold and a last one of all scans without a test,
    or a single one.

    Raises
    ------
    DataError, RecipeError
        If the scans cannot be divided, or the manifest's own split contradicts ``folds``.
    """  # noqa: D205
    split, fold = (table[name].is_not_null().any() for name in ("split", "fold"))
    if folds and split and not fold:
        raise DataError(f"split: the manifest has its own, which {folds} folds would mix; leave --folds out")
    if folds is None:
        folds = 0 if split or fold else recipe.data.folds or FOLDS
    settings = changed(recipe, {"data.folds": folds, "data.repeats": 1}, "--folds").data
    found = divisions(table, settings, recipe.seed)
    if len(found) == 1:
        return [Division(SINGLE, 0, 0, found[0].train, found[0].val, found[0].test)]
    parts = [Division(f"fold{one.fold}", 0, one.fold, one.train, one.val, one.test) for one in found]
    known = frozenset().union(*(one.train | one.val | one.test for one in parts))
    last = settings.model_copy(update={"folds": 0, "test": 0.0})
    whole = divisions(_pool(table, known), last, recipe.seed)[0]
    return [*parts, Division(WHOLE, 0, max(one.fold for one in parts) + 1, whole.train, whole.val, frozenset())]


def inner_parts(table: pl.DataFrame, recipe: ClassifierRecipe, one: Division, inner: int) -> list[Division]:
    """The divisions that a trial is scored by, made of an outer division's training and validation scans alone.

    The ``test`` of each is what scores: with inner folds each in turn, otherwise the outer division's validation scans,
    which also pick the epoch.

    Raises
    ------
    DataError
        If the scans are too few.
    """
    if not inner:
        return [Division(one.name, 0, 0, one.train, one.val, one.val)]
    settings = recipe.data.model_copy(update={"folds": inner, "repeats": 1})
    return divisions(_pool(table, one.train | one.val), settings, recipe.seed + 1 + one.fold)


def _pool(table: pl.DataFrame, names: frozenset[str]) -> pl.DataFrame:
    """Some rows of the manifest, to be divided anew."""
    return table.filter(pl.col("id").is_in(list(names))).with_columns(
        split=pl.lit(None, pl.String), fold=pl.lit(None, pl.Int64)
    )
