"""Features by the names of PyRadiomics have its values, and those that IBSI publishes for its digital phantom."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tumorscope.imaging.firstorder import first_order
from tumorscope.imaging.shape import SHAPE_2D, SHAPE_3D, shape_2d, shape_3d
from tumorscope.imaging.texture import cooccurrence

REFERENCE = json.loads(Path(__file__).with_name("pyradiomics.json").read_text(encoding="utf-8"))

# The IBSI digital phantom: 4 slices of 4 x 5 voxels of 2 mm; 0 here is outside its mask of 74 voxels.
PHANTOM = np.array([
    [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
    [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [0, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
    [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 6, 1, 1]],
    [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
])  # fmt: skip
NOT_OURS = {"MCC", "TotalEnergy", "Maximum2DDiameterColumn", "Maximum2DDiameterRow", "Maximum2DDiameterSlice"}


def wave() -> tuple[np.ndarray, np.ndarray]:
    """Ripples in an ellipse that lacks one pixel."""
    y, x = np.mgrid[:23, :31]
    mask = ((y - 11) ** 2 / 81 + (x - 15) ** 2 / 144 < 1) & ~((y == 9) & (x == 12))
    return 97 * np.sin(0.31 * x + 0.05 * y * y) + 3.1 * y, mask


def assert_equal(found: dict[str, float], reference: dict[str, float], rel: float = 1e-9) -> None:
    assert {name for name, value in found.items() if not np.isnan(value)} == set(reference) - NOT_OURS
    for name in set(reference) - NOT_OURS:
        assert found[name] == pytest.approx(reference[name], rel=rel, abs=1e-10), name


def test_first_order() -> None:
    flat = PHANTOM.reshape(16, 5)
    assert_equal(first_order(flat, flat > 0, width=1), REFERENCE["phantom_firstorder"])
    assert_equal(first_order(*wave(), bins=16), REFERENCE["wave_firstorder"], rel=1e-6)  # ours are float32 pixels


@pytest.mark.parametrize("number", range(4))
def test_cooccurrence_on_the_phantom(number: int) -> None:
    plane = PHANTOM[number]
    assert_equal(cooccurrence(plane, plane > 0, width=1), REFERENCE["phantom_glcm_by_slice"][number])


@pytest.mark.parametrize("distance", [1, 2])
def test_cooccurrence_at_two_distances(distance: int) -> None:
    assert_equal(cooccurrence(*wave(), bins=16, distance=distance), REFERENCE[f"wave_glcm_{distance}"])


def test_shape_2d() -> None:
    mask = wave()[1]
    assert_equal(shape_2d(mask, (1.3, 0.7)), REFERENCE["wave_shape2D"])
    mask[2, 3] = mask[3, 4] = mask[20, 25] = True  # neighbours over a corner, and a pixel alone
    assert_equal(shape_2d(mask, (1.3, 0.7)), REFERENCE["spots_shape2D"])
    assert_equal(shape_2d(np.ones((1, 1))), REFERENCE["pixel_shape2D"])
    assert set(SHAPE_2D) == set(REFERENCE["wave_shape2D"])


def test_shape_3d() -> None:
    z, y, x = np.mgrid[:9, :17, :15]
    ellipsoid = (z - 4) ** 2 / 12 + (y - 8) ** 2 / 40 + (x - 7) ** 2 / 25 < 1
    assert_equal(shape_3d(ellipsoid, (3, 1.3, 0.7)), REFERENCE["ellipsoid_shape"])
    assert_equal(shape_3d(PHANTOM > 0, (2, 2, 2)), REFERENCE["phantom_shape"])
    assert set(SHAPE_3D) == set(REFERENCE["phantom_shape"]) - NOT_OURS


class TestPublishedByIbsi:
    """Values of the digital phantom as IBSI prints them, to three digits (Zwanenburg et al. 2020, reference manual)."""

    def test_statistics(self) -> None:
        flat = PHANTOM.reshape(16, 5)
        found = first_order(flat, flat > 0, width=1)
        published = {
            "Mean": 2.15, "Variance": 3.05, "Skewness": 1.08, "Kurtosis": 3 - 0.355, "Median": 1, "90Percentile": 4,
            "InterquartileRange": 3, "MeanAbsoluteDeviation": 1.55, "RobustMeanAbsoluteDeviation": 1.11, "Energy": 567,
            "RootMeanSquared": 2.77, "Entropy": 1.27, "Uniformity": 0.512,
        }  # fmt: skip
        assert {name: found[name] for name in published} == pytest.approx(published, rel=5e-3)

    def test_cooccurrence_by_slice_averaged(self) -> None:
        slices = [cooccurrence(plane, plane > 0, width=1) for plane in PHANTOM]
        published = {
            "MaximumProbability": 0.519, "JointAverage": 2.14, "SumSquares": 2.69, "JointEntropy": 2.05,
            "DifferenceAverage": 1.42, "DifferenceVariance": 2.90, "DifferenceEntropy": 1.40, "SumAverage": 4.28,
            "SumEntropy": 1.60, "JointEnergy": 0.368, "Contrast": 5.28, "Id": 0.678, "Idn": 0.851, "Idm": 0.619,
            "Idmn": 0.899, "InverseVariance": 0.0567, "Correlation": -0.0121, "Autocorrelation": 5.09,
            "ClusterTendency": 5.47, "ClusterShade": 7.0, "ClusterProminence": 79.1, "Imc1": -0.155, "Imc2": 0.487,
        }  # fmt: skip
        found = {name: float(np.mean([one[name] for one in slices])) for name in published}
        assert found == pytest.approx(published, rel=5e-3)

    def test_shape(self) -> None:
        found = shape_3d(PHANTOM > 0, (2, 2, 2))
        published = {
            "MeshVolume": 556, "VoxelVolume": 592, "SurfaceArea": 388, "SurfaceVolumeRatio": 0.698, "Sphericity": 0.843,
            "Maximum3DDiameter": 13.1, "Elongation": 0.816, "Flatness": 0.749,
        }  # fmt: skip
        assert {name: found[name] for name in published} == pytest.approx(published, rel=2e-3)
