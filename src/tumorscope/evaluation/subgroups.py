"""Who is served badly: the answers for each slice of the data against all other scans."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from tumorscope.errors import DataError, look_up
from tumorscope.evaluation.comparison import auc_interval, holm, p_text
from tumorscope.evaluation.predictions import Predictions
from tumorscope.evaluation.statistics import Interval, effective_size, share

#: Columns that are sliced by when the data have them.
SLICED = ("plane", "sequence", "source", "quality", "tumor_type", "size")
UNKNOWN = "unknown"
MOST_VALUES = 12  # numbers with more distinct values are cut into thirds; words with more are no slice (a file name)
THIRDS = ("low", "middle", "high")
LEVEL = 0.95


@dataclass(frozen=True)
class Recall:
    """Share of right answers among a slice's scans of one class, against those of the same class elsewhere.

    Attributes
    ----------
    label : str
        The class: for tumours the share found (sensitivity), for "none" the share left alone (specificity).
    scans, groups : int
        Of this class in the slice.
    inside, outside : Interval
        `statistics.share` of the slice, and of all other scans of the class.
    difference : Interval
        Inside less outside: Newcombe's interval.
    p : float
        Fisher's exact test, two-sided, on counts shrunk to the effective number of scans; NaN without scans on
        either side.
    corrected : float
        p after Holm's correction for every look at every slice.
    """

    label: str
    scans: int
    groups: int
    inside: Interval
    outside: Interval
    difference: Interval
    p: float
    corrected: float = math.nan

    @property
    def worse(self) -> bool:
        """Whether the slice is shown to be served worse, after correction."""
        return self.corrected < 1 - LEVEL and self.difference.value < 0


@dataclass(frozen=True)
class Slice:
    """One value of one column: how many scans, and how they are answered.

    Attributes
    ----------
    column, value : str
    scans, groups : int
    auc : Interval
        Of two classes, by `comparison.auc_interval`; NaN with a reason otherwise.
    recalls : tuple of Recall
        One for each class that has scans in the slice.
    """

    column: str
    value: str
    scans: int
    groups: int
    auc: Interval
    recalls: tuple[Recall, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and words."""
        return {
            "column": self.column,
            "value": self.value,
            "scans": self.scans,
            "groups": self.groups,
            "auc": self.auc.value,
            "recalls": {
                one.label: {
                    "scans": one.scans,
                    "value": one.inside.value,
                    "low": one.inside.low,
                    "high": one.inside.high,
                    "elsewhere": one.outside.value,
                    "difference": one.difference.value,
                    "corrected_p": one.corrected,
                    "worse": one.worse,
                }
                for one in self.recalls
            },
        }


@dataclass(frozen=True)
class Subgroups:
    """All slices, and who is served badly.

    Attributes
    ----------
    slices : tuple of Slice
    looks : int
        Tests that were made, and corrected for.
    """

    slices: tuple[Slice, ...]
    looks: int

    @property
    def worse(self) -> tuple[tuple[Slice, Recall], ...]:
        """Slices shown to be served worse than the other scans of the same class, the largest gap first."""
        found = [(one, recall) for one in self.slices for recall in one.recalls if recall.worse]
        return tuple(sorted(found, key=lambda pair: pair[1].difference.value))

    def sentences(self) -> list[str]:
        """Who is served badly, in plain words; or what could not be told."""
        if not self.slices:
            return ["The data have no columns to slice by (plane, sequence, source, quality, tumor_type, size)."]
        if self.looks == 0:
            return ["Every column has one value only: there is nothing to compare a slice with."]
        if self.worse:
            return [_sentence(one, recall, self.looks) for one, recall in self.worse]
        looked = [(one, recall) for one in self.slices for recall in one.recalls if not math.isnan(recall.p)]
        one, recall = min(looked, key=lambda pair: pair[1].difference.low)
        return [
            f"No slice is shown to be served worse than the other scans ({self.looks} looks, corrected for). "
            f"That is no proof of equal service: for '{recall.label}' scans with {one.column} {one.value} "
            f"({recall.scans} scans) up to {-100 * recall.difference.low:.0f} points fewer right answers are possible."
        ]


def _sentence(one: Slice, recall: Recall, looks: int) -> str:
    gap = recall.difference
    reach = f"{100 * gap.level:.0f} % interval {100 * gap.low:+.0f} to {100 * gap.high:+.0f}"
    return (
        f"Served badly: '{recall.label}' scans with {one.column} {one.value}: {100 * recall.inside.value:.0f} % of "
        f"{recall.scans} are answered rightly, against {100 * recall.outside.value:.0f} % elsewhere "
        f"({100 * gap.value:+.0f} points, {reach}; {p_text(recall.corrected)} after correction for {looks} looks)."
    )


def subgroups(
    predictions: Predictions, columns: Sequence[str] | None = None, threshold: float = 0.5, level: float = LEVEL
) -> Subgroups:
    """The answers for each value of each column, compared with all other scans of the same class.

    The comparison is of right answers class by class, because a slice often holds one class only (a tumour type, a
    source) and because an AUC hides that a threshold sits wrongly for a slice. Scans of one group count as fewer, as
    many as they are worth (`statistics.effective_size`). With repetitions the first counts.

    Parameters
    ----------
    predictions : Predictions
    columns : sequence of str, optional
        `SLICED` where the table has them; a missing one that is named here is an error. Numbers are cut into thirds,
        missing values are a slice of their own.
    threshold : float
        Of the decision, for two classes.
    level : float
        Of the intervals.

    Raises
    ------
    DataError
        If a named column is missing or has more than 12 different words.

    Examples
    --------
    >>> table = pl.DataFrame({
    ...     "id": [str(k) for k in range(80)], "label": [1] * 80, "plane": ["axial", "coronal"] * 40,
    ...     "probability": [0.9, 0.1, 0.9, 0.8] * 20})
    >>> print(subgroups(Predictions.of(table)).sentences()[0])
    Served badly: 'tumour' scans with plane coronal: 50 % of 40 are answered rightly, against 100 % elsewhere
    (-50 points, 95 % interval -65 to -33; p < 0.001 after correction for 2 looks).
    """
    rows = predictions.only(predictions.repeats()[0])
    if columns is None:
        columns = [name for name in SLICED if name in rows.table.columns and rows.table[name].null_count() < len(rows)]
    for name in columns:
        look_up(name, rows.table.columns, f"column of {rows.name}", DataError)
    right = rows.decisions(threshold) == rows.truth
    found = [
        _slice(rows, right, name, value, member, level)
        for name in columns
        for value, member in _members(rows.table[name], rows.name)
    ]
    corrected = iter(holm([recall.p for one in found for recall in one.recalls]).tolist())
    slices = tuple(
        Slice(
            one.column, one.value, one.scans, one.groups, one.auc,
            tuple(Recall(**{**vars(recall), "corrected": next(corrected)}) for recall in one.recalls),
        )
        for one in found
    )  # fmt: skip
    looks = sum(not math.isnan(recall.p) for one in slices for recall in one.recalls)
    return Subgroups(slices, looks)


def _members(column: pl.Series, name: str) -> list[tuple[str, NDArray[np.bool_]]]:
    """Names of the column's values (thirds of numbers) and the rows of each."""
    numbers = column.cast(pl.Float64, strict=False)
    if numbers.null_count() == column.null_count() and numbers.drop_nulls().n_unique() > MOST_VALUES:
        values = numbers.to_numpy()
        known = np.isfinite(values)
        cuts = np.quantile(values[known], [1 / 3, 2 / 3])
        third = np.searchsorted(cuts, values, side="right")
        cells = [(f"{THIRDS[k]} ({_reach(values[known & (third == k)])})", known & (third == k)) for k in range(3)]
        return [cell for cell in [*cells, (UNKNOWN, ~known)] if cell[1].any()]
    words = column.cast(pl.String).fill_null(UNKNOWN)
    kinds = words.unique().sort().to_list()
    if len(kinds) > MOST_VALUES + 1:
        raise DataError(
            f"{name}: column '{column.name}' has {len(kinds)} different values, which are no slices; "
            f"bring them down to {MOST_VALUES} or name another"
        )
    return [(kind, (words == kind).to_numpy()) for kind in kinds]


def _reach(values: NDArray[np.float64]) -> str:
    return f"{values.min():.4g} to {values.max():.4g}" if values.size else "none"


def _slice(
    rows: Predictions, right: NDArray[np.bool_], column: str, value: str, member: NDArray[np.bool_], level: float
) -> Slice:
    recalls = []
    for k, label in enumerate(rows.classes):
        own = rows.truth == k
        if (own & member).any():
            recalls.append(_recall(label, right, rows.groups, own & member, own & ~member, level))
    if rows.binary:
        auc = auc_interval(rows.truth[member], rows.scores[member], rows.groups[member], level)
    else:
        auc = Interval(math.nan, math.nan, math.nan, level, "several classes")
    return Slice(column, value, int(member.sum()), len(np.unique(rows.groups[member])), auc, tuple(recalls))


def _recall(
    label: str,
    right: NDArray[np.bool_],
    groups: NDArray[np.int64],
    inside: NDArray[np.bool_],
    outside: NDArray[np.bool_],
    level: float,
) -> Recall:
    here, there = (share(right[part], groups[part], level) for part in (inside, outside))
    scans, members = int(inside.sum()), len(np.unique(groups[inside]))
    if math.isnan(there.value):
        none = Interval(math.nan, math.nan, math.nan, level, "no other scans of this class")
        return Recall(label, scans, members, here, there, none, math.nan)
    gap = here.value - there.value
    low = gap - math.hypot(here.value - here.low, there.high - there.value)
    high = gap + math.hypot(here.high - here.value, there.value - there.low)
    counts = []
    for part in (inside, outside):
        size = max(1, math.floor(effective_size(right[part], groups[part])))
        hits = round(float(right[part].mean()) * size)
        counts.append([hits, size - hits])
    p = float(stats.fisher_exact(counts).pvalue)
    return Recall(label, scans, members, here, there, Interval(gap, low, high, level), p)
