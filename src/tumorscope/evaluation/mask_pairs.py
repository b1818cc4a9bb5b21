"""Whether one model's masks are better than another's on the same scans: mean Dice, paired, by group."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope.errors import DataError, look_up
from tumorscope.evaluation.comparison import Difference, bootstrap_difference, holm
from tumorscope.evaluation.mask_summary import _keys
from tumorscope.evaluation.statistics import Draws

ALPHA = 0.05
METRIC = "mean Dice"


@dataclass(frozen=True)
class MaskPairTest:
    """Two models on the scans with a tumour that both answered.

    Attributes
    ----------
    first, second : str
    scans, groups : int
    difference : Difference
        Mean Dice of the first less the second's, whole groups drawn.
    corrected : float
        Its p after Holm's correction for all pairs.
    """

    first: str
    second: str
    scans: int
    groups: int
    difference: Difference
    corrected: float = math.nan

    @property
    def real(self) -> bool:
        """Whether the difference is more than chance gives, looking at all pairs."""
        return self.corrected < ALPHA


@dataclass(frozen=True)
class MaskTests:
    """All pairs that were asked for."""

    pairs: tuple[MaskPairTest, ...]

    def table(self) -> pl.DataFrame:
        """A row a pair."""
        rows = [
            {
                "first": one.first,
                "second": one.second,
                "metric": "dice",
                "scans": one.scans,
                "groups": one.groups,
                "difference": one.difference.interval.value,
                "low": one.difference.interval.low,
                "high": one.difference.interval.high,
                "p": one.difference.p,
                "corrected_p": one.corrected,
                "real": one.real,
            }
            for one in self.pairs
        ]
        return pl.DataFrame(rows).with_columns(pl.col(pl.Float64).fill_nan(None))

    def sentences(self) -> list[str]:
        """Each pair in words; p corrected for the number of pairs."""
        return [replace(one.difference, p=one.corrected).sentence(one.first, one.second, METRIC) for one in self.pairs]


def compare_masks(
    tables: Mapping[str, pl.DataFrame], *, against: str | None = None, rounds: int = 2000, seed: int = 0
) -> MaskTests:
    """Paired tests of mean Dice over scans with a tumour.

    Parameters
    ----------
    tables : mapping of str to polars.DataFrame
        By model, from `mask_scores.evaluate_masks`; a scan that stands several times (repeated folds) counts with its
        mean.
    against : str or None
        The model that the others are compared with; every pair by default.
    rounds, seed : int
        Of the bootstrap over groups.

    Raises
    ------
    DataError
        For fewer than two models, an unknown name, or two models without a common scan.

    Examples
    --------
    >>> rows = {"id": [*"abcd"], "tumor": [True] * 4, "problem": [None] * 4, "group": [1, 1, 2, 3]}
    >>> good = pl.DataFrame(rows | {"dice": [0.9, 0.8, 0.9, 0.7]})
    >>> tests = compare_masks({"good": good, "worse": good.with_columns(pl.col("dice") - 0.2)})
    >>> round(tests.pairs[0].difference.interval.value, 3), tests.pairs[0].groups
    (0.2, 3)
    """
    if len(tables) < 2:
        raise DataError(f"compare: {len(tables)} model was given; give two or more")
    wanted: Sequence[tuple[str, str]] = list(combinations(tables, 2))
    if against is not None:
        look_up(against, tables, "model", DataError)
        wanted = [(name, against) for name in tables if name != against]
    means = {name: _by_scan(table) for name, table in tables.items()}
    pairs = [_pair(first, second, means[first], means[second], rounds, seed) for first, second in wanted]
    corrected = holm([one.difference.p for one in pairs])
    return MaskTests(tuple(replace(one, corrected=float(p)) for one, p in zip(pairs, corrected, strict=True)))


def _by_scan(table: pl.DataFrame) -> pl.DataFrame:
    """Dice and group of each scan with a tumour."""
    scored = table.filter(pl.col("problem").is_null() & pl.col("tumor"))
    if scored.is_empty():
        raise DataError("compare: a model has no scored scan with a tumour; evaluate its masks first")
    keys, _ = _keys(scored, "group")
    return scored.with_columns(_key=keys).group_by("id", maintain_order=True).agg(
        pl.col("dice").mean(), pl.col("_key").first()
    )  # fmt: skip


def _pair(first: str, second: str, one: pl.DataFrame, two: pl.DataFrame, rounds: int, seed: int) -> MaskPairTest:
    both = one.join(two.select("id", other="dice"), on="id", how="inner", maintain_order="left")
    if both.is_empty():
        raise DataError(f"{second}: no scan of it stands in {first}; judge both on the same data")
    draws = Draws(both["_key"].to_numpy(), rounds, seed)
    left, right = both["dice"].to_numpy(), both["other"].to_numpy()
    once, again = (np.concatenate([_mean(weights, one) for weights in draws.weights()]) for one in (left, right))
    difference = bootstrap_difference(once, again, float((left - right).mean()), draws)
    return MaskPairTest(first, second, both.height, draws.count, difference)


def _mean(weights: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the values under each row of weights (R, N)."""
    return weights @ values / weights.sum(axis=1)
