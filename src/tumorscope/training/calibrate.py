"""Calibration and thresholds of a bundle, chosen on validation scans only."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope import io
from tumorscope.datasets.truth import read_mask
from tumorscope.errors import DataError
from tumorscope.evaluation.calibration import fit_logistic
from tumorscope.evaluation.classification import roc_auc, threshold_at_sensitivity
from tumorscope.evaluation.segmentation import dice
from tumorscope.inference.bundle import Bundle, Calibration, Thresholds
from tumorscope.inference.postprocess import lesions
from tumorscope.scan import BoolArray, FloatArray

SENSITIVITY = 0.95  # of the decision `tumor` on validation
SENSITIVITY_UNCERTAIN = 0.99  # of `tumor` or `uncertain` together
FALSE_MASKS = 0.08  # most healthy validation slices that may get a mask
MASK = (0.3, 0.4, 0.5, 0.6)  # shares of the strength
SEED = (0.7, 0.8, 0.9)
AREA = (0.0, 0.002, 0.004, 0.006)


@dataclass(frozen=True)
class Seen:
    """What the network says about one 2-D scan, on the scan's grid."""

    probability: FloatArray
    truth: BoolArray | None
    head_area: float
    label: int
    evidence: float
    strength: float


def calibrate(bundle: Bundle, rows: pl.DataFrame) -> tuple[Calibration, Thresholds, dict[str, Any]]:
    """Calibration, thresholds and a record of how they did, from 2-D validation ``rows`` of a manifest.

    The probability is a logistic function of the evidence in the mask (two numbers: a temperature
    and an offset). The decision threshold keeps 95 % sensitivity; between it and the one that keeps 99 %
    lies `uncertain`. The mask's thresholds are those with the highest Dice among the settings that leave
    masks on at most 8 % of the healthy scans.

    Raises
    ------
    DataError
        If the rows hold no tumour or no healthy scan.
    """
    seen = [one for row in rows.to_dicts() if (one := look(bundle, row)) is not None]
    label = np.array([one.label for one in seen])
    if not 0 < label.sum() < label.size:
        raise DataError("validation: calibration needs scans with and without tumour; hold out both")
    evidence = np.array([one.evidence for one in seen])
    weights, bias = fit_logistic(evidence[:, None], label)
    calibration = bundle.metadata.calibration.model_copy(
        update={"evidence_weight": float(weights[0]), "head_weight": 0.0, "bias": float(bias)}
    )
    probability = 1 / (1 + np.exp(-(weights[0] * evidence + bias)))
    tumor = float(threshold_at_sensitivity(label, probability, SENSITIVITY))
    unsure = min(tumor, float(threshold_at_sensitivity(label, probability, SENSITIVITY_UNCERTAIN)))
    limits, record = _choose_mask(seen, probability, unsure)
    thresholds = Thresholds(tumor=tumor, no_tumor=unsure, **limits)
    record |= {
        "scans": int(label.size),
        "tumour_scans": int(label.sum()),
        "auc": float(roc_auc(label, probability)),
        "specificity": float((probability[label == 0] < tumor).mean()),
    }
    return calibration, thresholds, record


def look(bundle: Bundle, row: dict[str, Any]) -> Seen | None:
    """What the network says about one manifest row; None for a volume."""
    scan = io.read(row["path"], channel=row.get("channel"))
    if scan.is_volume:
        return None
    truth = read_mask(row, scan.shape)
    prepared = bundle.metadata.preparation.prepare(scan.pixels)
    outputs = bundle.run(prepared.pixels[None])
    pixels = prepared.to_input_grid(outputs.mask[0]) * prepared.head
    return Seen(
        probability=pixels.astype(np.float32),
        truth=np.zeros(scan.shape, bool) if truth is None and row["label"] == 0 else truth,
        head_area=float(prepared.head.sum()),
        label=int(row["label"]) if truth is None else int(truth.any()),
        evidence=float(bundle.metadata.calibration.evidence(outputs.mask)[0]),
        strength=float(bundle.metadata.calibration.strength(outputs.mask)[0]),
    )


def _choose_mask(
    seen: list[Seen], probability: NDArray[np.float64], unsure: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Mask thresholds, and their Dice and share of false masks.

    For each way to cut a mask out, the probability from which it is shown is the lowest that keeps to `FALSE_MASKS`.
    """
    marked = [(i, one.truth) for i, one in enumerate(seen) if one.label == 1 and one.truth is not None]
    healthy = np.flatnonzero([one.label == 0 for one in seen])
    allowed = int(FALSE_MASKS * len(healthy))
    best: tuple[float, dict[str, float], dict[str, float]] | None = None
    for mask, seed, area in itertools.product(MASK, SEED, AREA):
        empty = [not _segment(seen[i], mask, seed, area).any() for i in healthy]
        tempted = np.sort(np.where(empty, 0.0, probability[healthy]))[::-1]
        above = float(np.nextafter(tempted[allowed], 1.0)) if allowed < tempted.size else 0.0
        outline = max(unsure, above if above > 0 else 0.0)
        overlap = [
            dice(_segment(seen[i], mask, seed, area), truth, empty="one") if probability[i] >= outline else 0.0
            for i, truth in marked
        ]
        score = float(np.mean(overlap)) if overlap else 0.0
        if best is None or score > best[0]:
            limits = {"outline": outline, "mask": mask, "mask_seed": seed, "min_area_fraction": area}
            best = score, limits, {"dice": score, "false_masks": float((tempted >= outline).mean())}
    assert best is not None
    return best[1], best[2]


def _segment(one: Seen, mask: float, seed: float, area: float) -> BoolArray:
    smallest = area * one.head_area
    return lesions(one.probability, mask=mask * one.strength, seed=seed * one.strength, min_size=smallest)
