"""Means over scored masks, with intervals by group, whole and by tumour type, size, plane or source."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope.errors import DataError, look_up
from tumorscope.evaluation.statistics import Interval, bootstrap

ALL = "all"


@dataclass(frozen=True)
class Figure:
    """A mean over scans, or a share of lesions: the sum of ``part`` over the sum of ``whole``.

    Attributes
    ----------
    part, whole : polars.Expr
        Of each scan; a scan where one of them is null or infinite is left out.
    over : str
        Which scans count: "tumor", "healthy" or "all".
    rule : str
        What an empty mask gives.
    """

    part: pl.Expr
    whole: pl.Expr
    over: str
    rule: str


def _mean(column: str | pl.Expr, over: str, rule: str) -> Figure:
    return Figure(pl.col(column) if isinstance(column, str) else column, pl.lit(1.0), over, rule)


_ZERO = "0 where nothing was marked; healthy scans not counted"
_LEFT_OUT = "scans where nothing was marked are left out; healthy scans not counted"
_BOTH = "both masks empty: by the rule in column 'empty'; one empty: 0"
_DEFINED = "defined for empty masks"

#: Every figure that `summarise` gives, in the order of its table.
FIGURES: dict[str, Figure] = {
    "dice": _mean("dice", "tumor", _ZERO),
    "iou": _mean("iou", "tumor", _ZERO),
    "dice_all": _mean("dice", "all", _BOTH),
    "pixel_accuracy": _mean("pixel_accuracy", "all", _DEFINED),
    "pixel_precision": _mean("pixel_precision", "tumor", _LEFT_OUT),
    "pixel_recall": _mean("pixel_recall", "tumor", _ZERO),
    "boundary_f1": _mean("boundary_f1", "tumor", _ZERO),
    "surface_dice": _mean("surface_dice", "tumor", _ZERO),
    "hd95": _mean("hd95", "tumor", _LEFT_OUT),
    "mean_surface_distance": _mean("mean_surface_distance", "tumor", _LEFT_OUT),
    "size_error": _mean("size_error", "tumor", _DEFINED + "; healthy scans not counted"),
    "absolute_size_error": _mean(pl.col("size_error").abs(), "tumor", _DEFINED + "; healthy scans not counted"),
    "relative_size_error": _mean("relative_size_error", "tumor", "-1 where nothing was marked"),
    "absolute_relative_size_error": _mean(pl.col("relative_size_error").abs(), "tumor", "1 where nothing was marked"),
    "lesion_sensitivity": Figure(
        pl.col("lesions_found"), pl.col("lesions"), "tumor", "lesions of all scans together; 0 where nothing was marked"
    ),
    "lesion_precision": Figure(
        pl.col("lesions_found"),
        pl.col("lesions_predicted"),
        "all",
        "lesions of all scans together, healthy ones too; a scan where nothing was marked adds nothing",
    ),
    "lesion_f1": Figure(
        2 * pl.col("lesions_found"),
        pl.col("lesions") + pl.col("lesions_predicted"),
        "all",
        "lesions of all scans together, healthy ones too; a scan with two empty masks adds nothing",
    ),
    "lesion_dice": Figure(
        pl.col("lesion_dice") * pl.col("lesions"), pl.col("lesions"), "tumor", "a missed lesion counts 0"
    ),
    "panoptic_quality": _mean("panoptic_quality", "tumor", _ZERO),
    "missed_rate": _mean(
        (~pl.col("marked")).cast(pl.Float64), "tumor", "share of tumour scans where nothing was marked"
    ),
    "false_mask_rate": _mean(pl.col("marked").cast(pl.Float64), "healthy", "share of healthy scans with a mask"),
    "pixel_auc": _mean("pixel_auc", "tumor", "undefined on healthy scans, which are left out"),
}
#: The figures of strata, where all of them would be too many to read.
MAIN = (
    "dice", "surface_dice", "hd95", "lesion_sensitivity", "lesion_precision", "lesion_dice", "missed_rate",
    "false_mask_rate",
)  # fmt: skip


@dataclass(frozen=True)
class MaskSummary:
    """Means of a table of scores, and what they stand on.

    Attributes
    ----------
    table : polars.DataFrame
        One row for each stratum and figure: ``by, stratum, figure, value, low, high, scans, groups, over, rule``.
        ``by`` and ``stratum`` are "all" for all scans together. ``low`` and ``high`` are null where the data cannot
        tell: fewer than two groups, or the same value in all of them. ``scans`` are those that the figure counts.
    scans, tumor, healthy : int
        Scored scans, those with a true lesion, those without.
    problems : tuple of str
        Why the others were not scored: id and reason.
    unit : str
        Of distances.
    tolerance : float
        Of boundary F1 and surface Dice, in that unit.
    alone : int
        Scans that name neither group nor patient. Intervals take them for independent, which makes them too narrow
        where patients repeat.
    mask_sources : tuple of str
        Who drew the true masks.
    """

    table: pl.DataFrame
    scans: int
    tumor: int
    healthy: int
    problems: tuple[str, ...]
    unit: str
    tolerance: float
    alone: int
    mask_sources: tuple[str, ...]

    def interval(self, figure: str, by: str = ALL, stratum: str = ALL) -> Interval:
        """Value and interval of a figure.

        Raises
        ------
        DataError
            For a figure or stratum that is not in the table.
        """
        look_up(by, self.table["by"].unique(maintain_order=True).to_list(), "column of strata", DataError)
        part = self.table.filter(pl.col("by") == by)
        look_up(stratum, part["stratum"].unique(maintain_order=True).to_list(), f"stratum of '{by}'", DataError)
        part = part.filter(pl.col("stratum") == stratum)
        look_up(figure, part["figure"].to_list(), "figure", DataError)
        row = part.filter(pl.col("figure") == figure).row(0, named=True)
        value, low, high = (math.nan if row[name] is None else row[name] for name in ("value", "low", "high"))
        return Interval(value, low, high)

    def sentence(self) -> str:
        """The main figures of all scans in words, with what they leave out."""
        parts = []
        if self.tumor:
            parts.append(self._tumor_sentence())
        if self.healthy:
            rate = self._row("false_mask_rate")
            parts.append(f"Of {self.healthy} healthy scans {_shown(rate, '{:.1%}')} got a mask.")
        if not self.tumor:
            parts.append("No scan has a true lesion, so nothing is said of overlap or outlines.")
        if self.alone:
            parts.append(f"Intervals take {self.alone} scans that name no group or patient for independent ones.")
        if self.problems:
            total = self.scans + len(self.problems)
            parts.append(f"{len(self.problems)} of {total} scans could not be scored; the first: {self.problems[0]}.")
        return " ".join(parts)

    def _tumor_sentence(self) -> str:
        drawn = f", drawn by: {', '.join(self.mask_sources)}" if self.mask_sources else ""
        near, far = self._row("surface_dice"), self._row("hd95")
        distance = "no outline to measure a distance from"
        if far["value"] is not None:
            distance = f"HD95 {_shown(far, '{:.1f}')} {self.unit} over the {far['scans']} scans with a mask"
        found, right = self._row("lesion_sensitivity"), self._row("lesion_precision")
        marked = "no lesion was marked"
        if right["value"] is not None:
            marked = f"{_shown(right, '{:.1%}')} of the marked ones are real"
        return (
            f"{self.tumor} scans with a tumour (true masks{drawn}): Dice {_shown(self._row('dice'), '{:.3f}')}, "
            f"a missing mask counting 0; on average {_shown(near, '{:.1%}')} of both outlines lie within "
            f"{self.tolerance:g} {self.unit} of each other; {distance}; "
            f"{_shown(self._row('missed_rate'), '{:.1%}')} of the scans got no mask; "
            f"{_shown(found, '{:.1%}')} of the lesions were found and {marked}."
        )

    def _row(self, figure: str) -> dict[str, Any]:
        return self.table.filter(by=ALL, figure=figure).row(0, named=True)


def _shown(row: dict[str, Any], form: str) -> str:
    value = form.format(row["value"])
    if row["low"] is None:
        return value
    return f"{value} [{form.format(row['low'])}, {form.format(row['high'])}]"


def summarise(
    table: pl.DataFrame,
    by: str | Sequence[str] = (),
    *,
    group: str = "group",
    figures: Sequence[str] = MAIN,
    rounds: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> MaskSummary:
    """Means of a table of scores with intervals, over all scans and by the values of columns.

    Intervals are percentile bootstrap intervals over whole groups (`statistics.bootstrap`).

    Parameters
    ----------
    table : polars.DataFrame
        From `mask_scores.evaluate_masks`.
    by : str or sequence of str
        Columns whose values are told apart: ``tumor_type``, ``plane``, ``source``, ``regions`` (scans with one true
        lesion and with several), ``size`` (see :func:`with_size`). Scans without a value are called "healthy" where
        they have no lesion, else "unknown".
    group : str
        Column of what is drawn together. A scan without one belongs to its ``patient`` within its ``source``, or to
        nobody but itself.
    figures : sequence of str
        Of the strata; of all scans together every figure of `FIGURES` is given.
    rounds, seed, level
        As for `statistics.bootstrap`.

    Raises
    ------
    DataError
        If there is no scored row, tables of two units or tolerances were put together, or a column or figure is
        unknown.

    Examples
    --------
    >>> from tumorscope.evaluation.mask_scores import MaskPair, evaluate_masks
    >>> truth = np.zeros((8, 8), bool)
    >>> truth[2:6, 2:6] = True
    >>> pairs = [MaskPair("a", truth, truth), MaskPair("b", truth & False, truth), MaskPair("c", truth)]
    >>> summary = summarise(evaluate_masks(pairs))
    >>> summary.interval("dice").value, summary.interval("missed_rate").value, summary.interval("hd95").value
    (0.5, 0.5, 0.0)
    """
    columns = (by,) if isinstance(by, str) else tuple(by)
    for name in figures:
        look_up(name, FIGURES, "figure", DataError)
    scored = table.filter(pl.col("problem").is_null())
    problems = tuple(f"{id}: {problem}" for id, problem in table.select("id", "problem").drop_nulls().rows())
    if not scored.height:
        more = f"; the first problem: {problems[0]}" if problems else ""
        raise DataError(f"evaluation: there is no scored scan{more}; give pairs of masks that can be read")
    for name in ("unit", "tolerance", "empty"):
        if scored[name].n_unique() > 1:
            raise DataError(f"evaluation: scores of several values of '{name}' were put together; summarise each alone")
    for name in columns:
        look_up(name, table.columns, "column of the table of scores", DataError)
    keys, alone = _keys(scored, group)
    keyed = scored.with_columns(_key=keys)
    rows = []
    for column, stratum, part in _strata(keyed, columns):
        for name in FIGURES if column == ALL else figures:
            rows.append({"by": column, "stratum": stratum, **_row(part, name, rounds, seed, level)})
    tumor = int(scored["tumor"].sum())
    sources: list[str] = []
    if "mask_source" in scored.columns:
        sources = scored.filter("tumor")["mask_source"].drop_nulls().unique().sort().to_list()
    return MaskSummary(
        table=pl.DataFrame(rows, infer_schema_length=None),
        scans=scored.height,
        tumor=tumor,
        healthy=scored.height - tumor,
        problems=problems,
        unit=scored["unit"][0],
        tolerance=scored["tolerance"][0],
        alone=alone,
        mask_sources=tuple(sources),
    )


def _keys(scored: pl.DataFrame, group: str) -> tuple[NDArray[np.int64], int]:
    """Number of each scan's group, and how many scans are a group of their own for want of a name."""
    blank = [None] * scored.height
    groups, patients, sources = (
        scored[name].to_list() if name in scored.columns else blank for name in (group, "patient", "source")
    )
    names: list[object] = [
        own if own is not None else None if patient is None else (source, patient)
        for own, patient, source in zip(groups, patients, sources, strict=True)
    ]
    known = {name: number for number, name in enumerate(dict.fromkeys(names)) if name is not None}
    keys = [known.get(name, len(names) + number) for number, name in enumerate(names)]
    return np.array(keys, np.int64), names.count(None)


def _strata(keyed: pl.DataFrame, columns: Sequence[str]) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """Column, value and rows of each stratum: all rows, then each column's values in order."""
    yield ALL, ALL, keyed
    for column in columns:
        nameless = pl.when("tumor").then(pl.lit("unknown")).otherwise(pl.lit("healthy"))
        order = keyed[column].drop_nulls().unique().sort().cast(pl.String).to_list()
        named = keyed.with_columns(_stratum=pl.coalesce(pl.col(column).cast(pl.String), nameless))
        for value in dict.fromkeys([*order, "unknown", "healthy"]):
            part = named.filter(pl.col("_stratum") == value)
            if part.height:
                yield column, value, part


def _row(part: pl.DataFrame, name: str, rounds: int, seed: int, level: float) -> dict[str, Any]:
    """A figure over the rows that count for it, with its interval."""
    figure = FIGURES[name]
    if figure.over != ALL:
        part = part.filter(pl.col("tumor") if figure.over == "tumor" else ~pl.col("tumor"))
    used = part.select("_key", part=figure.part.cast(pl.Float64), whole=figure.whole.cast(pl.Float64))
    used = used.filter(pl.col("part").is_finite() & pl.col("whole").is_finite())
    sums = used.group_by("_key", maintain_order=True).agg(pl.col("part", "whole").sum())
    interval = Interval(math.nan, math.nan, math.nan, level)
    if sums["whole"].sum() > 0:
        parts, wholes = sums["part"].to_numpy(), sums["whole"].to_numpy()
        interval = bootstrap(_ratio, parts, wholes, rounds=rounds, seed=seed, level=level)
        if interval.low == interval.high:
            interval = Interval(interval.value, math.nan, math.nan, level)
    numbers = {key: getattr(interval, key) for key in ("value", "low", "high")}
    return {
        "figure": name,
        **{key: None if math.isnan(number) else number for key, number in numbers.items()},
        "scans": used.height,
        "groups": sums.height,
        "over": figure.over,
        "rule": figure.rule,
    }


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> float:
    total = whole.sum()
    return float(part.sum() / total) if total else math.nan


def with_size(table: pl.DataFrame, limits: Sequence[float] | None = None) -> pl.DataFrame:
    """The table with a column ``size``: to which band of true sizes each scan with a lesion belongs, in order.

    Parameters
    ----------
    table : polars.DataFrame
        From `mask_scores.evaluate_masks`.
    limits : sequence of float, optional
        Rising sizes between the bands, in the table's unit squared (3-D: cubed). Without, the thirds of this table;
        give the limits where tables are to be compared.

    Raises
    ------
    DataError
        If the limits do not rise, or no scan has a lesion to find them from.

    Examples
    --------
    >>> table = pl.DataFrame({"true_size": [0.0, 5.0, 50.0, 500.0]})
    >>> with_size(table, [10, 100])["size"].to_list()
    [None, 'below 10', '10 to 100', '100 and more']
    """
    sizes = table["true_size"]
    if limits is None:
        real = sizes.filter(sizes > 0)
        if not len(real):
            raise DataError("evaluation: no scan has a lesion, so sizes have no thirds; leave 'size' out")
        limits = sorted({round(float(np.quantile(real.to_numpy(), share)), 6) for share in (1 / 3, 2 / 3)})
    edges = [float(limit) for limit in limits]
    if not edges or any(not low < high for low, high in pairwise([0.0, *edges])):
        raise DataError(f"evaluation: sizes {list(limits)} do not rise from above 0; give for example 100, 1000")
    between = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    names = [f"below {edges[0]:g}", *between, f"{edges[-1]:g} and more"]
    bands = [
        None if size is None or size <= 0 else names[int(np.searchsorted(edges, size, side="right"))]
        for size in sizes.to_list()
    ]
    return table.with_columns(pl.Series("size", bands, dtype=pl.Enum(names)))
