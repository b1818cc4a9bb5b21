"""Values are compared with PyRadiomics in test_pyradiomics.py; here stand laws, hand counts and wrong input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import regionprops

from tumorscope.errors import ScanError
from tumorscope.imaging.shape import shape_2d, shape_3d


def blob(seed: int, shape: tuple[int, ...] = (13, 17)) -> np.ndarray:
    mask = np.random.default_rng(seed).random(shape) < 0.4
    mask[tuple(n // 2 for n in shape)] = True
    return mask


@settings(max_examples=30)
@given(st.integers(0, 9999), st.floats(0.2, 5))
def test_shape_goes_with_the_spacing(seed: int, step: float) -> None:
    plain, scaled = shape_2d(blob(seed)), shape_2d(blob(seed), (step, step))
    for name, value in plain.items():
        power = {"MeshSurface": 2, "PixelSurface": 2, "PerimeterSurfaceRatio": -1, "Elongation": 0, "Sphericity": 0}
        assert scaled[name] == pytest.approx(value * step ** power.get(name, 1), nan_ok=True, abs=1e-6)
    plain, scaled = shape_3d(blob(seed, (4, 5, 6))), shape_3d(blob(seed, (4, 5, 6)), (step,) * 3)
    assert scaled["MeshVolume"] == pytest.approx(plain["MeshVolume"] * step**3, rel=1e-4)
    assert scaled["SurfaceArea"] == pytest.approx(plain["SurfaceArea"] * step**2, rel=1e-4)


@settings(max_examples=30)
@given(st.integers(0, 9999), st.integers(0, 5), st.integers(0, 5))
def test_place_and_turn_do_not_matter(seed: int, down: int, right: int) -> None:
    mask = blob(seed)
    plain = shape_2d(mask, (1.5, 0.5))
    moved = np.pad(mask, ((down, 2), (right, 1)))
    assert shape_2d(moved, (1.5, 0.5)) == pytest.approx(plain, nan_ok=True)
    assert shape_2d(np.rot90(mask), (0.5, 1.5)) == pytest.approx(plain, nan_ok=True)


@settings(max_examples=20)
@given(st.integers(0, 9999))
def test_axes_are_those_of_scikit_image(seed: int) -> None:
    (region,) = regionprops(blob(seed).astype(np.uint8))
    found = shape_2d(blob(seed))
    assert found["MajorAxisLength"] == pytest.approx(region.axis_major_length, rel=1e-6)
    assert found["MinorAxisLength"] == pytest.approx(region.axis_minor_length, rel=1e-6)
    assert found["PixelSurface"] == region.area


def test_round_is_one_and_a_hole_counts_against_the_area() -> None:
    y, x = np.mgrid[-40:41, -40:41]
    disc = np.hypot(y, x) < 30
    found = shape_2d(disc)
    assert found["Sphericity"] == pytest.approx(1, abs=0.06)  # the outline of pixels is some 5 % longer than a circle
    assert found["Elongation"] == pytest.approx(1, abs=1e-6)
    # of the outline, half a pixel beyond the middles of pixels that lie within 30
    assert 59 < found["MaximumDiameter"] < 61
    ring = shape_2d(disc & (np.hypot(y, x) > 10))
    assert ring["MeshSurface"] == pytest.approx(found["MeshSurface"] - math.pi * 100, rel=0.02)
    assert ring["Perimeter"] > found["Perimeter"] + 60


def test_a_box_by_hand() -> None:
    # 3 x 4 pixels: the mesh cuts each corner by a triangle of 1/8; sides 2 and 3 run straight, four cuts of sqrt(1/2)
    found = shape_2d(np.ones((3, 4)))
    assert found["MeshSurface"] == pytest.approx(12 - 4 / 8)
    assert found["Perimeter"] == pytest.approx(2 * (2 + 3) + 4 * math.sqrt(0.5))
    assert found["MaximumDiameter"] == pytest.approx(math.hypot(2, 4))  # of the middle of a short side's last edge
    assert found["MajorAxisLength"] == pytest.approx(4 * math.sqrt(np.var([0, 1, 2, 3])))


def test_one_voxel_and_lines_have_a_size_and_no_roundness() -> None:
    found = shape_3d(np.ones((1, 1, 1)), (2, 1, 1))
    assert found["VoxelVolume"] == 2 and found["MeshVolume"] == pytest.approx(2 / 6)
    assert math.isnan(found["Elongation"]) and math.isnan(found["Flatness"])
    assert shape_2d(np.ones((1, 9)))["Elongation"] == 0


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: shape_2d(np.zeros((4, 4))), "marks nothing"),
        (lambda: shape_2d(np.ones((4, 4, 4))), "3-D"),
        (lambda: shape_3d(np.ones((4, 4))), "2-D"),
        (lambda: shape_2d(np.ones((4, 4)), (1,)), "spacing"),
        (lambda: shape_2d(np.ones((4, 4)), (1, -1)), "spacing"),
        (lambda: shape_2d(np.array([[1, np.nan]])), "NaN"),
        (lambda: shape_2d(np.array([["a"]])), "mark nothing"),
        (lambda: shape_2d(np.zeros((0, 3))), "marks nothing"),
    ],
)
def test_wrong_masks_are_refused(call: object, match: str) -> None:
    with pytest.raises(ScanError, match=match):
        call()  # type: ignore[operator]
