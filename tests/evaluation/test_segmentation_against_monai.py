"""The same masks, scored by MONAI and by us; skipped in the light install, which has no torch.

Slow only because importing MONAI is: some 25 s of processor time, against one second for the tests.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from scipy import ndimage

from tumorscope.evaluation.boundaries import hausdorff, mean_surface_distance, surface_dice
from tumorscope.evaluation.lesion_detection import components, match_lesions, panoptic_quality
from tumorscope.evaluation.segmentation import dice, iou

pytestmark = pytest.mark.slow

SCANS = {  # shape, spacing
    "flat": ((41, 56), (1.0, 1.0)),
    "flat, uneven": ((33, 40), (0.7, 2.1)),
    "deep": ((9, 24, 21), (1.0, 1.0, 1.0)),
    "deep, uneven": ((8, 20, 25), (5.0, 0.9, 1.2)),
}


@pytest.fixture(scope="module")
def monai():
    """MONAI's functions on two NumPy masks; its warnings (deprecations, empty masks) are its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch = pytest.importorskip("torch")
        metrics = pytest.importorskip("monai.metrics")

    def call(name: str, predicted: np.ndarray, truth: np.ndarray, *more, **named) -> float:
        masks = [torch.from_numpy(mask.astype(np.float32))[None, None] for mask in (predicted, truth)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(getattr(metrics, f"compute_{name}")(*masks, *more, include_background=True, **named))

    call.torch, call.metrics = torch, metrics
    return call


def masks(shape: tuple[int, ...], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two ragged masks that overlap, holes, specks and the edge of the scan included."""
    rng = np.random.default_rng(seed)
    field = [ndimage.gaussian_filter(rng.standard_normal(shape), 2) for _ in range(2)]
    truth = field[0] > np.quantile(field[0], 0.8)
    mixed = 0.8 * field[0] + 0.4 * field[1]
    return mixed > np.quantile(mixed, 0.8), truth


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", SCANS)
def test_overlap_and_distances(monai, name: str, seed: int) -> None:
    shape, spacing = SCANS[name]
    predicted, truth = masks(shape, seed)
    steps = {"spacing": list(spacing)}
    assert dice(predicted, truth) == pytest.approx(monai("dice", predicted, truth))
    assert iou(predicted, truth) == pytest.approx(monai("iou", predicted, truth))
    for percentile in (95, 50, 100):
        theirs = monai("hausdorff_distance", predicted, truth, percentile=percentile, **steps)
        assert hausdorff(predicted, truth, spacing, percentile) == pytest.approx(theirs, rel=1e-5)
    theirs = monai("average_surface_distance", predicted, truth, symmetric=True, **steps)
    assert mean_surface_distance(predicted, truth, spacing) == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("tolerance", [0.0, 1.05, 2.5])
@pytest.mark.parametrize("name", SCANS)
def test_surface_dice_by_length_and_by_pixels(monai, name: str, tolerance: float, seed: int) -> None:
    shape, spacing = SCANS[name]
    predicted, truth = masks(shape, seed)
    for elements, subvoxels in (("contour", True), ("pixels", False)):
        theirs = monai("surface_dice", predicted, truth, [tolerance], spacing=list(spacing), use_subvoxels=subvoxels)
        assert surface_dice(predicted, truth, tolerance, spacing, elements) == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_panoptic_quality_and_counts(monai, seed: int) -> None:
    predicted, truth = masks((60, 70), seed)
    labels = [monai.torch.from_numpy(components(mask)[0]) for mask in (predicted, truth)]
    tp, fp, fn, total = monai.metrics.compute_panoptic_quality(*labels, output_confusion_matrix=True).tolist()
    match = match_lesions(predicted, truth, least_iou=0.5)
    assert (match.found, match.false, match.missed) == (tp, fp, fn) and tp > 0
    assert sum(match.ious) == pytest.approx(total, rel=1e-5)
    theirs = float(monai.metrics.compute_panoptic_quality(*labels, smooth_numerator=0))
    assert panoptic_quality(predicted, truth) == pytest.approx(theirs, rel=1e-5)


def test_where_we_differ_on_empty_masks(monai) -> None:
    nothing, something = np.zeros((9, 9), bool), np.eye(9, dtype=bool)
    assert math.isnan(monai("dice", nothing, nothing)) and dice(nothing, nothing) == 1
    assert math.isnan(monai("surface_dice", nothing, nothing, [1.0])) and surface_dice(nothing, nothing, 1) == 1
    assert monai("surface_dice", something, nothing, [1.0]) == surface_dice(something, nothing, 1) == 0
