"""How far two annotators agree on the same scans: overlap, outlines, lesions, and whether there is one at all."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from tumorscope.annotation.records import Annotation
from tumorscope.errors import DataError
from tumorscope.evaluation.mask_scores import TOLERANCE, MaskPair, Rules, Unit, evaluate_masks
from tumorscope.evaluation.segmentation import Empty, empty_value
from tumorscope.evaluation.statistics import Interval, bootstrap

EMPTY_RULES = {
    "one": "scans that both leave empty count as full agreement (1)",
    "nan": "scans that both leave empty are left out of Dice and surface Dice",
    "zero": "scans that both leave empty count 0",
}
WORDS = ((0.8, "almost perfect"), (0.6, "substantial"), (0.4, "moderate"), (0.2, "fair"), (0.0, "slight"))
"""What Landis and Koch (Biometrics 33, 1977) call a kappa from each bound on; below 0 it is "poor"."""


@dataclass(frozen=True)
class Agreement:
    """What two annotators have in common.

    Attributes
    ----------
    names : (str, str)
    rows : polars.DataFrame
        One row a scan: ``case, group, a_marked, b_marked, dice, surface_dice, a_lesions, b_lesions, matched, a_size,
        b_size``. Lesions are connected regions, matched one to one (`evaluation.lesion_detection`).
    dice, surface_dice : Interval
        Means over scans, by the rule for empty masks.
    marked_dice : Interval
        Mean Dice over the scans where at least one of the two marked something: what the rule cannot lift.
    lesions : Interval
        Twice the matched lesions over all lesions of both (F1), all scans together.
    kappa : Interval
        Cohen's, on whether there is a lesion at all.
    unit, tolerance, empty
        Of surface Dice; the rule for scans that both leave empty.
    left_out : tuple of str
        A line on each scan that could not be compared.
    """

    names: tuple[str, str]
    rows: pl.DataFrame
    dice: Interval
    marked_dice: Interval
    surface_dice: Interval
    lesions: Interval
    kappa: Interval
    unit: str
    tolerance: float
    empty: str
    left_out: tuple[str, ...] = ()

    def sentence(self) -> str:
        """The figures in words, with the rule for empty masks."""
        scans = self.rows.height
        both = self.rows.filter(~pl.col("a_marked") & ~pl.col("b_marked")).height
        ends = f"{self.names[0]} and {self.names[1]} on {scans} scan{'' if scans == 1 else 's'}"
        kappa = "on whether there is a lesion they do not differ, but kappa is undefined where all scans are alike"
        if not math.isnan(self.kappa.value):
            word = next((word for bound, word in WORDS if self.kappa.value >= bound), "poor")
            kappa = f"on whether there is a lesion at all agreement is {word} (kappa {_shown(self.kappa)})"
        near = f"{_shown(self.surface_dice)} at {self.tolerance:g} {self.unit}"
        return (
            f"{ends}: Dice {_shown(self.dice)} ({EMPTY_RULES[self.empty]}: {both} here), "
            f"{_shown(self.marked_dice)} where at least one marked something; surface Dice {near}; "
            f"lesions matched {_shown(self.lesions)}; {kappa}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; what is undefined is null."""
        figures = ("dice", "marked_dice", "surface_dice", "lesions", "kappa")
        return {
            "a": self.names[0],
            "b": self.names[1],
            "cases": self.rows.height,
            **{name: _plain(getattr(self, name)) for name in figures},
            "unit": self.unit,
            "tolerance": self.tolerance,
            "empty": self.empty,
            "sentence": self.sentence(),
            "rows": self.rows.to_dicts(),
            "left_out": list(self.left_out),
        }


def agreement(
    annotations: Iterable[Annotation],
    first: str,
    second: str,
    *,
    groups: Mapping[str, str] | None = None,
    tolerance: float = TOLERANCE,
    empty: Empty = "one",
    rounds: int = 2000,
    seed: int = 0,
) -> Agreement:
    """Agreement of two annotators on the scans that both decided on.

    Accepted and corrected annotations count; of several by one annotator on one case, the one modified last. Distances
    are in mm where the spacing of every scan is known, else in px for all: one table has one unit.

    Parameters
    ----------
    annotations : iterable of Annotation
        Of any annotators.
    first, second : str
        The annotators' names.
    groups : mapping from case id to group, optional
        Scans of one patient, which the bootstrap draws together; each its own where it is not named.
    tolerance : float
        Of surface Dice, in mm or px.
    empty : {"one", "nan", "zero"}
        What Dice and surface Dice are where both left a scan empty.
    rounds, seed
        As for `evaluation.statistics.bootstrap`.

    Raises
    ------
    DataError
        If the two names are one, or they share no scan.

    Examples
    --------
    >>> from tumorscope.annotation import rle
    >>> from tumorscope.annotation.records import Lesion, ScanFacts
    >>> from tumorscope.scan import Scan
    >>> scan = ScanFacts.of(Scan.of(np.zeros((1, 4), np.float32)))
    >>> def marked(who, *values):
    ...     lesion = Lesion(mask=rle.encode(np.array([values]) > 0))
    ...     return Annotation(case_id="x", scan=scan, annotator=who, decision="accepted", lesions=(lesion,))
    >>> found = agreement([marked("ann", 1, 1, 0, 0), marked("bob", 0, 1, 1, 1)], "ann", "bob")
    >>> found.dice.value, found.rows["matched"].to_list()
    (0.4, [1])
    """
    empty_value(empty)
    pairs, left_out = _pairs(annotations, first, second)
    unit: Unit = "mm" if all(one.scan.spacing is not None for one, _ in pairs) else "px"
    table = evaluate_masks(
        (MaskPair(one.case_id, other.mask(), one.mask(), spacing=one.scan.spacing) for one, other in pairs),
        Rules(tolerance=tolerance, unit=unit, empty=empty),
    )
    left_out += [f"{own}: {problem}" for own, problem in table.select("id", "problem").drop_nulls().rows()]
    rows = _rows(table.filter(pl.col("problem").is_null()), groups or {})
    if not rows.height:
        more = f" (the first of {len(left_out)} left out: {left_out[0]})" if left_out else ""
        raise DataError(f"agreement: '{first}' and '{second}' share no scan that both decided on{more}; compare others")

    def spread(metric: Any, *columns: str, part: pl.DataFrame = rows) -> Interval:
        if not part.height:
            return Interval(math.nan, math.nan, math.nan, reason="no such scans")
        data = [part[name].cast(pl.Float64).to_numpy() for name in columns]
        return bootstrap(metric, *data, groups=part["group"].to_numpy(), rounds=rounds, seed=seed)

    return Agreement(
        names=(first, second),
        rows=rows,
        dice=spread(np.mean, "dice", part=rows.drop_nulls("dice")),
        marked_dice=spread(np.mean, "dice", part=rows.filter(pl.col("a_marked") | pl.col("b_marked"))),
        surface_dice=spread(np.mean, "surface_dice", part=rows.drop_nulls("surface_dice")),
        lesions=spread(_matched, "matched", "a_lesions", "b_lesions"),
        kappa=spread(cohen_kappa, "a_marked", "b_marked"),
        unit=unit,
        tolerance=tolerance,
        empty=empty,
        left_out=tuple(left_out),
    )


def cohen_kappa(first: ArrayLike, second: ArrayLike) -> float:
    """Agreement of two yes-or-no judgements beyond chance: (p - e) / (1 - e); NaN where chance alone agrees wholly.

    p is the share of equal answers, e the one expected from how often each says yes [1]_. scikit-learn's
    ``cohen_kappa_score`` gives the same and takes some 2 ms a call, which 2,000 resamples turn into seconds.

    References
    ----------
    .. [1] Cohen, "A coefficient of agreement for nominal scales", Educ. Psychol. Meas. 20, 1960.

    Examples
    --------
    >>> cohen_kappa([1, 1, 0, 0], [1, 0, 0, 0])
    0.5
    """
    one, other = np.asarray(first, bool), np.asarray(second, bool)
    equal, yes, also = float(np.mean(one == other)), float(one.mean()), float(other.mean())
    chance = yes * also + (1 - yes) * (1 - also)
    return (equal - chance) / (1 - chance) if chance < 1 else math.nan


def _matched(matched: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    total = float(first.sum() + second.sum())
    return 2 * float(matched.sum()) / total if total else math.nan


def _pairs(
    annotations: Iterable[Annotation], first: str, second: str
) -> tuple[list[tuple[Annotation, Annotation]], list[str]]:
    """The last decided annotation of each of the two on each case that both have, and a line on the other cases."""
    if first == second:
        raise DataError(f"agreement: '{first}' was named twice; name two annotators")
    latest: dict[str, dict[str, Annotation]] = {first: {}, second: {}}
    everyone: Counter[str] = Counter()
    for one in annotations:
        everyone[one.annotator] += 1
        held = latest.get(one.annotator)
        if held is None or not one.decided:
            continue
        before = held.get(one.case_id)
        if before is None or (one.modified, one.revision) >= (before.modified, before.revision):
            held[one.case_id] = one
    for name in (first, second):
        if not everyone[name]:
            known = ", ".join(sorted(everyone)[:20]) or "none"
            raise DataError(f"agreement: '{name}' annotated nothing here; annotators: {known}")
    pairs, left_out = [], []
    for case in sorted(latest[first].keys() | latest[second].keys()):
        here, there = (latest[name].get(case) for name in (first, second))
        if here is None or there is None:
            left_out.append(f"{case}: only {first if there is None else second} decided on it")
        else:
            pairs.append((here, there))
    return pairs, left_out


def _rows(table: pl.DataFrame, groups: Mapping[str, str]) -> pl.DataFrame:
    case = table["id"].to_list()
    return table.select(
        pl.col("id").alias("case"),
        pl.Series("group", [str(groups.get(own) or f"case {own}") for own in case], dtype=pl.String),
        pl.col("tumor").alias("a_marked"),
        pl.col("marked").alias("b_marked"),
        "dice",
        "surface_dice",
        pl.col("lesions").alias("a_lesions"),
        pl.col("lesions_predicted").alias("b_lesions"),
        pl.col("lesions_found").alias("matched"),
        pl.col("true_size").alias("a_size"),
        pl.col("predicted_size").alias("b_size"),
    )


def _shown(interval: Interval) -> str:
    if math.isnan(interval.value):
        return "undefined"
    return str(interval) if interval.bounded else f"{interval.value:.3f}"


def _plain(interval: Interval) -> dict[str, float | None]:
    values = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {name: None if math.isnan(value) else value for name, value in values.items()}
