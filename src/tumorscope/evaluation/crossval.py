"""Predictions of each scan by a model that saw nothing of its group, over several divisions into folds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from tumorscope.datasets import splits
from tumorscope.errors import DataError

#: Trains on the first manifest, predicts the second: (n,) probabilities of label 1, or (n, K) of K classes.
Fit = Callable[[pl.DataFrame, pl.DataFrame], ArrayLike]


def repeated_folds(
    df: pl.DataFrame, folds: int = 5, repeats: int = 3, seed: int = 0, ordered: Iterable[str] = ()
) -> Iterator[pl.DataFrame]:
    """``df`` with ``repeat`` and another division into ``fold`` each time; no group is cut (`splits.cross_validation`).

    Parameters
    ----------
    df : polars.DataFrame
        A manifest whose ``group`` is filled.
    folds, repeats : int
    seed : int
        The first division's; the next ones follow.
    ordered : iterable of str
        Sources whose neighbours in number are slices of one patient.

    Raises
    ------
    DataError
        As `splits.cross_validation`, or for fewer than one repetition.

    Examples
    --------
    >>> df = pl.DataFrame({"id": list("abcd"), "group": list("uvwx"), "label": [1, 1, 0, 0]})
    >>> [sorted(table["fold"].to_list()) for table in repeated_folds(df, folds=2, repeats=2)]
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    if repeats < 1:
        raise DataError(f"cross-validation: {repeats} repetitions predict nothing; give 1 or more")
    kept = tuple(ordered)
    for repeat in range(repeats):
        dealt = splits.cross_validation(df, folds, seed=seed + repeat, ordered=kept)
        yield dealt.with_columns(repeat=pl.lit(repeat, pl.Int64))


def out_of_fold(
    fit: Fit,
    df: pl.DataFrame,
    folds: int = 5,
    repeats: int = 3,
    seed: int = 0,
    *,
    ordered: Iterable[str] = (),
    classes: Iterable[str] = (),
) -> pl.DataFrame:
    """One prediction of each scan in each repetition, by a model that was trained without its group.

    The table goes into `predictions.Predictions.of` as it is: ``repeat`` tells the repetitions apart.

    Parameters
    ----------
    fit : callable
        Called with the training rows and the held-out rows; returns the latter's probabilities, (n,) or (n, K).
    df : polars.DataFrame
        A manifest whose ``group`` and ``label`` are filled. Rows that a gap keeps out of every fold are not predicted.
    folds, repeats, seed, ordered
        As for `repeated_folds`.
    classes : iterable of str
        Names of the K classes, for (n, K).

    Returns
    -------
    polars.DataFrame
        The manifest's columns, ``repeat``, ``fold``, and ``probability`` or ``probability_NAME`` for each class.

    Raises
    ------
    DataError
        As `repeated_folds`, or if ``fit`` returns another number of rows or classes.

    Examples
    --------
    >>> df = pl.DataFrame({"id": list("abcdef"), "group": list("uuvwxy"), "label": [0, 0, 1, 1, 0, 1]})
    >>> table = out_of_fold(lambda train, held: np.full(held.height, train["label"].mean()), df, folds=2, repeats=2)
    >>> table.height, sorted(set(table["repeat"].to_list()))
    (12, [0, 1])
    """
    names = tuple(classes)
    tables = []
    for dealt in repeated_folds(df, folds, repeats, seed, ordered):
        for number in sorted(dealt["fold"].drop_nulls().unique().to_list()):
            held = dealt.filter(pl.col("fold") == number)
            train = dealt.filter(pl.col("fold") != number)  # a null fold is in neither
            tables.append(_predicted(held, np.asarray(fit(train, held), dtype=np.float64), names))
    return pl.concat(tables)


def _predicted(held: pl.DataFrame, values: NDArray[np.float64], classes: tuple[str, ...]) -> pl.DataFrame:
    expected = (held.height, len(classes)) if classes else (held.height,)
    if values.shape != expected:
        raise DataError(f"cross-validation: the model returned {values.shape} for {expected}; return one row a scan")
    if not classes:
        return held.with_columns(probability=pl.Series(values))
    return held.with_columns(pl.Series(f"probability_{name}", values[:, k]) for k, name in enumerate(classes))
