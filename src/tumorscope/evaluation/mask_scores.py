"""All figures of a predicted mask in one row a scan, over arrays or files, a few scans in memory at a time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope import io
from tumorscope.datasets.truth import marked, values_of
from tumorscope.errors import DataError, TumorscopeError, look_up
from tumorscope.evaluation.boundaries import surface_distances
from tumorscope.evaluation.lesion_detection import LEAST_IOU, match_lesions
from tumorscope.evaluation.pixel_auc import PixelScores, pixel_auc
from tumorscope.evaluation.segmentation import (
    Empty,
    Spacing,
    dice_of,
    empty_value,
    iou_of,
    mask_pair,
    pixel_confusion,
    spacing_of,
)
from tumorscope.io.decoding import label
from tumorscope.scan import BoolArray, Scan

Mask = str | Path | NDArray
Unit = Literal["px", "mm"]
Row = dict[str, Any]

TOLERANCE = 2.0  # px or mm that an outline may be off and still count as near; a choice, so it stands in every row
UNITS = ("px", "mm")
AHEAD = 4  # scans in flight for each worker: memory stays bounded
AFFINE_MM = 0.05  # mm; headers round, so affines that differ by less are one grid
#: Columns of a manifest that `pairs_of` carries into the table of scores.
FACTS = ("label", "tumor_type", "plane", "source", "sequence", "patient", "group", "split", "fold", "mask_source")

#: Columns of a table of scores; null where a figure is undefined, infinite where one of two masks is empty.
SCHEMA: dict[str, type[pl.DataType]] = {
    "id": pl.String,
    "problem": pl.String,  # why the scan has no figures
    "unit": pl.String,  # of distances, and squared or cubed of sizes
    "tolerance": pl.Float64,
    "empty": pl.String,  # what Dice, IoU, boundary F1 and surface Dice are when both masks are empty
    "tumor": pl.Boolean,  # the true mask is not empty
    "marked": pl.Boolean,  # the predicted mask is not empty
    "regions": pl.String,  # "one" or "several" true lesions
    "true_size": pl.Float64,
    "predicted_size": pl.Float64,
    "size_error": pl.Float64,
    "relative_size_error": pl.Float64,
    "dice": pl.Float64,
    "iou": pl.Float64,
    "pixel_accuracy": pl.Float64,
    "pixel_precision": pl.Float64,
    "pixel_recall": pl.Float64,
    "boundary_f1": pl.Float64,
    "surface_dice": pl.Float64,
    "hd95": pl.Float64,
    "mean_surface_distance": pl.Float64,
    "lesions": pl.Int64,
    "lesions_predicted": pl.Int64,
    "lesions_found": pl.Int64,
    "lesion_dice": pl.Float64,
    "panoptic_quality": pl.Float64,
    "pixel_auc": pl.Float64,
}


@dataclass(frozen=True)
class MaskPair:
    """A predicted mask and the true one of a scan.

    Attributes
    ----------
    id : str
        Name of the scan.
    predicted : path, (H, W) or (D, H, W) bool array, or None
        A file is read by the rule of `datasets.truth`: marked is what lies above half of its maximum. An array must
        hold 0 and 1. None: there is no prediction, which is reported, not taken for an empty mask.
    truth : path, array, or None
        None: a healthy scan, whose true mask is empty.
    probability : path, array, or None
        Of each pixel, for the pixel AUC: in [0, 1], or an 8- or 16-bit image.
    spacing : float or sequence of float, optional
        Millimetres along the axes; what the mask files say when absent.
    facts : mapping
        More columns for the table: tumour type, plane, source, group, ...
    """

    id: str
    predicted: Mask | None
    truth: Mask | None = None
    probability: Mask | None = None
    spacing: Spacing = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rules:
    """How masks are scored; stands in every row of the table, since a figure means nothing without.

    Attributes
    ----------
    tolerance : float
        Of boundary F1 and surface Dice, in ``unit``.
    unit : {"px", "mm"}
        Of all distances and sizes of a table; "mm" needs the spacing of every scan.
    least_iou, least_size
        As `lesion_detection.match_lesions`.
    empty : {"one", "nan", "zero"}
        As `segmentation.dice`.

    Raises
    ------
    DataError
        For an unknown unit or rule, or a tolerance below 0.
    """

    tolerance: float = TOLERANCE
    unit: Unit = "px"
    least_iou: float = LEAST_IOU
    least_size: int = 1
    empty: Empty = "one"

    def __post_init__(self) -> None:
        look_up(self.unit, UNITS, "unit of distances", DataError)
        empty_value(self.empty)
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            raise DataError(f"outline tolerance: {self.tolerance} is no distance; pass 0 or more, in px or mm")


def score_masks(
    predicted: NDArray,
    truth: NDArray,
    *,
    probability: NDArray | None = None,
    spacing: Spacing = None,
    rules: Rules | None = None,
) -> Row:
    """Every figure of one predicted mask, by the names of `SCHEMA`; None where a figure is undefined.

    Parameters
    ----------
    predicted, truth : (H, W) or (D, H, W) bool arrays
    probability : array of that shape, optional
        For the pixel AUC; None leaves it out.
    spacing : float or sequence of float, optional
        Millimetres along the axes; used, and needed, where the unit is "mm".
    rules : Rules, optional

    Raises
    ------
    ScanError, DataError
        As the functions of `segmentation`, `boundaries` and `lesion_detection`; or if millimetres are asked for and
        the spacing is not known.

    Examples
    --------
    >>> truth = np.zeros((9, 9), bool)
    >>> truth[2:5, 2:5] = True
    >>> row = score_masks(np.roll(truth, 1, axis=1), truth)
    >>> round(row["dice"], 3), row["hd95"], row["surface_dice"], row["lesions_found"], row["pixel_auc"]
    (0.667, 1.0, 1.0, 1, None)
    """
    rules = rules or Rules()
    first, second = mask_pair(predicted, truth)
    if rules.unit == "mm" and spacing is None:
        raise DataError("evaluation: the spacing is not known; give it in mm, or measure in px")
    steps = spacing_of(spacing if rules.unit == "mm" else None, first.ndim)
    counts = pixel_confusion(first, second)
    pixels = surface_distances(first, second, steps)
    contour = surface_distances(first, second, steps, "contour")
    lesions = match_lesions(first, second, rules.least_iou, rules.least_size)
    size, own = (counts.tp + counts.fn) * math.prod(steps), (counts.tp + counts.fp) * math.prod(steps)
    found: Row = {
        "unit": rules.unit,
        "tolerance": rules.tolerance,
        "empty": rules.empty,
        "tumor": size > 0,
        "marked": own > 0,
        "regions": None if not lesions.true else "one" if lesions.true == 1 else "several",
        "true_size": size,
        "predicted_size": own,
        "size_error": own - size,
        "relative_size_error": (own - size) / size if size else None,
        "dice": dice_of(counts, rules.empty),
        "iou": iou_of(counts, rules.empty),
        "pixel_accuracy": counts.accuracy,
        "pixel_precision": counts.precision,
        "pixel_recall": counts.sensitivity,
        "boundary_f1": pixels.boundary_f1(rules.tolerance, rules.empty),
        "surface_dice": contour.surface_dice(rules.tolerance, rules.empty),
        "hd95": pixels.hausdorff(),
        "mean_surface_distance": pixels.mean(),
        "lesions": lesions.true,
        "lesions_predicted": lesions.predicted,
        "lesions_found": lesions.found,
        "lesion_dice": lesions.mean_dice,
        "panoptic_quality": lesions.panoptic_quality,
        "pixel_auc": None if probability is None else pixel_auc(probability, second),
    }
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in found.items()}


def evaluate_masks(
    pairs: Iterable[MaskPair],
    rules: Rules | None = None,
    *,
    pixels: PixelScores | None = None,
    workers: int = 2,
    progress: Callable[[int], None] | None = None,
) -> pl.DataFrame:
    """Scores of many scans, one row each and in their order; `mask_summary.summarise` turns them into means.

    Pairs are taken from the iterable as they are needed, so that a generator holds a few scans in memory. A scan that
    cannot be scored (a file that cannot be read, masks of two sizes, values other than 0 and 1 in an array) gets its
    ``problem`` and no figures, and the others go on.

    Parameters
    ----------
    pairs : iterable of MaskPair
    rules : Rules, optional
    pixels : PixelScores, optional
        Takes the pixels of every scan that has probabilities, for an AUC over all of them.
    workers : int
        Threads.
    progress : callable, optional
        Called with the number of scans done.

    Returns
    -------
    polars.DataFrame
        The columns of `SCHEMA`, then the facts of the pairs.

    Raises
    ------
    DataError
        If an id comes twice, or a fact has the name of a figure.

    Examples
    --------
    >>> truth = np.eye(4, dtype=bool)
    >>> table = evaluate_masks([MaskPair("a", truth, truth), MaskPair("b", truth), MaskPair("c", truth[:3], truth)])
    >>> table["dice"].to_list(), table["problem"][2]
    ([1.0, 0.0, None], "the true mask is 4x4, the predicted one is 3x4; bring both to the scan's grid")
    """
    chosen = rules or Rules()
    rows: list[Row] = []
    facts: dict[str, None] = {}
    seen: set[str] = set()
    for row, pair in _in_order(pairs, lambda pair: _scored(pair, chosen, pixels), max(1, workers)):
        if pair.id in seen:
            raise DataError(f"evaluation: the id '{pair.id}' comes twice; give each scan its own")
        taken = sorted(set(pair.facts) & set(SCHEMA))
        if taken:
            raise DataError(f"evaluation: the fact '{taken[0]}' has the name of a figure; rename it")
        seen.add(pair.id)
        facts.update(dict.fromkeys(pair.facts))
        rows.append({**row, **pair.facts})
        if progress:
            progress(len(rows))
    table = pl.DataFrame([{name: row.get(name) for name in SCHEMA} for row in rows], schema=SCHEMA)
    more = [pl.Series(name, [row.get(name) for row in rows], strict=False) for name in facts]
    return table.with_columns(more)


def _in_order(
    pairs: Iterable[MaskPair], score: Callable[[MaskPair], Row], workers: int
) -> Iterator[tuple[Row, MaskPair]]:
    if workers == 1:
        yield from ((score(pair), pair) for pair in pairs)
        return
    waiting: deque[tuple[Future[Row], MaskPair]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for pair in pairs:
                waiting.append((pool.submit(score, pair), pair))
                if len(waiting) >= AHEAD * workers:
                    future, done = waiting.popleft()
                    yield future.result(), done
            while waiting:
                future, done = waiting.popleft()
                yield future.result(), done
        finally:
            for future, _ in waiting:
                future.cancel()


def _scored(pair: MaskPair, rules: Rules, pixels: PixelScores | None) -> Row:
    """The row of a pair, or its problem."""
    try:
        predicted, truth, probability, spacing = _read(pair)
        row = score_masks(predicted, truth, probability=probability, spacing=spacing, rules=rules)
        if pixels is not None and probability is not None:
            pixels.add(probability, truth)
    except TumorscopeError as error:
        return {"id": pair.id, "problem": str(error)}
    return {"id": pair.id, "problem": None, **row}


def _read(pair: MaskPair) -> tuple[NDArray, NDArray, NDArray | None, Spacing]:
    """Predicted mask, true mask, probability and spacing of a pair."""
    if pair.predicted is None:
        raise DataError("there is no predicted mask; predict the scan, or leave it out")
    predicted, own = _mask(pair.predicted)
    truth, given = (np.zeros(predicted.shape, bool), None) if pair.truth is None else _mask(pair.truth)
    if predicted.shape != truth.shape:
        raise DataError(
            f"the true mask{_named(pair.truth)} is {_size(truth)}, the predicted one is {_size(predicted)}; "
            "bring both to the scan's grid"
        )
    if own is not None and given is not None and own.affine is not None and given.affine is not None:
        apart = float(np.abs(own.affine - given.affine).max())
        if apart > AFFINE_MM:
            raise DataError(
                f"the affine of the true mask{_named(pair.truth)} differs from the predicted one's by up to "
                f"{apart:.3g}; resample one onto the other's grid"
            )
    spacing = pair.spacing
    for scan in (given, own):
        spacing = scan.spacing if spacing is None and scan is not None else spacing
    return predicted, truth, _probability(pair.probability), spacing


def _mask(source: Mask) -> tuple[BoolArray, Scan | None]:
    if isinstance(source, str | Path):
        scan = io.read(source)
        return marked(values_of(scan)), scan
    return np.asarray(source), None


def _probability(source: Mask | None) -> NDArray | None:
    """Probabilities as they were given; those of a file as 8 or 16 bits where it stores these, else as floats."""
    if source is None or not isinstance(source, str | Path):
        return source
    scan = io.read(source)
    values = values_of(scan)
    for bits, kind in ((8, np.uint8), (16, np.uint16)):
        if scan.source.bits == bits and values.min() >= 0 and values.max() < 2**bits and not (values % 1).any():
            return values.astype(kind)
    return values


def _named(source: Mask | None) -> str:
    return f" {label(source)}" if isinstance(source, str | Path) else ""


def _size(mask: NDArray) -> str:
    return "x".join(map(str, mask.shape))


def pairs_of(
    table: pl.DataFrame, masks: Mapping[str, Mask], probabilities: Mapping[str, Mask] | None = None
) -> Iterator[MaskPair]:
    """Pairs of a manifest's scans with their predicted masks, for `evaluate_masks`.

    A scan with a ``mask_path`` has that truth; one without a mask and with label 0 is healthy; any other has no truth
    and is left out, since nothing is known of it.

    Parameters
    ----------
    table : polars.DataFrame
        A manifest.
    masks : mapping from id to path or array
        Predicted masks. An id that is missing here becomes a row with a problem.
    probabilities : mapping from id to path or array, optional

    Examples
    --------
    >>> table = pl.DataFrame({"id": ["a", "b"], "mask_path": ["a_mask.png", None], "label": [1, 1]})
    >>> [(pair.id, pair.truth, pair.facts) for pair in pairs_of(table, {"a": "out/a.png"})]
    [('a', 'a_mask.png', {'label': 1})]
    """
    facts = [name for name in FACTS if name in table.columns]
    for row in table.iter_rows(named=True):
        truth = row.get("mask_path")
        if truth is None and row.get("label") != 0:
            continue
        yield MaskPair(
            row["id"],
            masks.get(row["id"]),
            truth,
            (probabilities or {}).get(row["id"]),
            facts={name: row[name] for name in facts},
        )
