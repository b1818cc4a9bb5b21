"""Calibration and thresholds of a bundle, chosen on validation scans only."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
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
from tumorscope.inference.postprocess import concentration, lesions
from tumorscope.scan import BoolArray, FloatArray

SENSITIVITY = 0.95  # of the decision `tumor` on validation
SENSITIVITY_UNCERTAIN = 0.99  # of `tumor` or `uncertain` together
FALSE_MASKS = 0.065  # of healthy validation slices with a mask: less than 8 %, for thresholds fit their own scans
MASK = (0.3, 0.4, 0.5, 0.6)  # shares of the strength
SEED = (0.7, 0.8, 0.9)
AREA = (0.0, 0.002, 0.004, 0.006)
FOCUS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)  # weight of the concentration
NO_LESION = -1.0  # stands for the certainty of a scan in which there is nothing to outline; below all others


@dataclass(frozen=True)
class Seen:
    """What the network says about one 2-D scan, on the scan's grid."""

    probability: FloatArray
    truth: BoolArray | None
    head_area: float
    label: int
    evidence: float
    strength: float
    group: str


def calibrate(bundle: Bundle, rows: pl.DataFrame) -> tuple[Calibration, Thresholds, dict[str, Any]]:
    """Calibration, thresholds and a record of how they did, from 2-D validation ``rows`` of a manifest.

    The probability is a logistic function of the evidence in the mask (two numbers: a temperature
    and an offset). The decision threshold keeps 95 % sensitivity; between it and the one that keeps 99 %
    lies `uncertain`. The mask's thresholds are those with the highest Dice among the settings that leave
    masks on at most `FALSE_MASKS` of the healthy scans; of those within one standard error of it [1]_ the ones that ask
    most for evidence in one place, which hangs less on contrast than how sure the network is.

    Raises
    ------
    DataError
        If the rows hold no tumour or no healthy scan, or none of the tumours has a mask.

    References
    ----------
    .. [1] Breiman, Friedman, Olshen, Stone, "Classification and Regression Trees", 1984, section 3.4.3.
    """
    seen = [one for row in rows.to_dicts() if (one := look(bundle, row)) is not None]
    label = np.array([one.label for one in seen])
    if not 0 < label.sum() < label.size:
        raise DataError("validation: calibration needs scans with and without tumour; hold out both")
    if not any(one.label == 1 and one.truth is not None for one in seen):
        raise DataError("validation: no scan with a tumour has a mask to choose thresholds by; hold out some that have")
    evidence = np.array([one.evidence for one in seen])
    weights, bias = fit_logistic(evidence[:, None], label)
    calibration = bundle.metadata.calibration.model_copy(
        update={"evidence_weight": float(weights[0]), "head_weight": 0.0, "bias": float(bias)}
    )
    # To the last bit as `Calibration.probability` computes it: thresholds are the probabilities of single scans.
    probability = 0.5 * (1.0 + np.tanh(0.5 * (weights[0] * evidence + bias)))
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
    outputs = bundle.run(bundle.metadata.preparation.tinted(prepared.pixels)[None])
    pixels = prepared.to_input_grid(outputs.mask[0]) * prepared.head
    return Seen(
        probability=pixels.astype(np.float32),
        truth=np.zeros(scan.shape, bool) if truth is None and row["label"] == 0 else truth,
        head_area=float(prepared.head.sum()),
        label=int(row["label"]) if truth is None else int(truth.any()),
        evidence=float(bundle.metadata.calibration.evidence(outputs.mask)[0]),
        strength=float(bundle.metadata.calibration.strength(outputs.mask)[0]),
        group=str(row.get("group") or row["id"]),
    )


def _choose_mask(
    seen: list[Seen], probability: NDArray[np.float64], unsure: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Mask thresholds, and their Dice and share of false masks.

    For each way to cut a mask out, the certainty from which it is shown is the lowest that keeps to `FALSE_MASKS`.
    """
    marked = [i for i, one in enumerate(seen) if one.label == 1 and one.truth is not None]
    healthy = [i for i, one in enumerate(seen) if one.label == 0]
    best: dict[float, _Cut] = {}
    for mask, seed, area in itertools.product(MASK, SEED, AREA):
        masks = {i: _segment(seen[i], mask, seed, area) for i in (*marked, *healthy)}
        share = {i: concentration(seen[i].probability, masks[i]) for i in masks}
        overlap = np.array([dice(masks[i], _truth(seen[i]), empty="one") for i in marked])
        for focus in FOCUS:
            limits = Thresholds(
                tumor=1.0, no_tumor=unsure, mask=mask, mask_seed=seed, min_area_fraction=area, focus=focus
            )
            certain = {i: limits.certainty(float(probability[i]), share[i]) for i in masks}
            tempted = [certain[i] if masks[i].any() and probability[i] >= unsure else NO_LESION for i in healthy]
            outline = _outline(tempted)
            if outline > 1:
                continue  # more healthy scans than may have a mask are as certain as can be
            limits = limits.model_copy(update={"outline": outline})
            shown = [limits.outlined(float(probability[i]), share[i]) for i in marked]
            scores = np.where(shown, overlap, 0.0)
            if focus not in best or scores.mean() > best[focus].scores.mean():
                best[focus] = _Cut(limits, scores, float(np.mean(np.array(tempted) >= outline)))
    highest = max(best.values(), key=lambda cut: cut.scores.mean())
    least = highest.scores.mean() - _standard_error(highest.scores, [seen[i].group for i in marked])
    chosen = best[max(focus for focus, cut in best.items() if cut.scores.mean() >= least)]
    names = ("outline", "focus", "mask", "mask_seed", "min_area_fraction")
    record = {"dice": float(chosen.scores.mean()), "false_masks": chosen.false_masks}
    record |= {"highest_dice": float(highest.scores.mean()), "least_dice": float(least)}
    return {name: getattr(chosen.limits, name) for name in names}, record


@dataclass(frozen=True)
class _Cut:
    """Thresholds of a mask, the Dice of each marked scan with them, and the share of healthy scans with a mask."""

    limits: Thresholds
    scores: NDArray[np.float64]
    false_masks: float


def _outline(certain: Sequence[float]) -> float:
    """The lowest threshold that at most `FALSE_MASKS` of these certainties reach; above 1 where none in 0…1 is.

    Examples
    --------
    >>> _outline([0.9, 0.5, *[NO_LESION] * 18])  # one of 20 may have a mask
    0.5000000000000001
    >>> _outline([0.9, *[NO_LESION] * 19])
    0.0
    """
    falling = np.sort(certain)[::-1]
    first = falling[int(FALSE_MASKS * falling.size + 1e-9)]  # of those that must have none
    return float(np.nextafter(first, 2.0)) if first != NO_LESION else 0.0


def _truth(one: Seen) -> BoolArray:
    assert one.truth is not None
    return one.truth


def _standard_error(values: NDArray[np.float64], groups: list[str]) -> float:
    """Standard error of the mean of ``values``, those of one group taken together."""
    _, member = np.unique(groups, return_inverse=True)
    sums = np.bincount(member, values - values.mean())
    count = len(sums)
    return float(np.sqrt(count / max(count - 1, 1) * (sums**2).sum()) / len(values))


def _segment(one: Seen, mask: float, seed: float, area: float) -> BoolArray:
    smallest = area * one.head_area
    return lesions(one.probability, mask=mask * one.strength, seed=seed * one.strength, min_size=smallest)
