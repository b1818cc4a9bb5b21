from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from tumorscope.errors import ScanError
from tumorscope.imaging.inside import continued, grey_levels, inside

shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=23)
images = hnp.arrays(np.float32, shapes, elements=st.floats(-100, 100, width=32))


@settings(max_examples=40)
@given(images, st.integers(1, 40))
def test_bins_are_numpys(image: np.ndarray, bins: int) -> None:
    values = image.astype(np.float64)
    levels = grey_levels(image, bins=bins)
    assert levels.min() >= 1 and levels.max() <= bins
    if np.ptp(values) > 1e-3:
        # a value on an edge may fall to either side by rounding: compare those that are clear of every edge
        edges = np.histogram_bin_edges(values, bins)
        clear = np.abs(values[..., None] - edges[1:-1]).min(axis=-1, initial=np.inf) > 1e-6
        assert np.array_equal(levels[clear], np.clip(np.digitize(values, edges), 1, bins)[clear])


def test_levels_of_a_width_start_at_its_multiples() -> None:
    # PyRadiomics: edges at multiples of 25 from floor(min / 25) * 25
    assert grey_levels(np.array([[-1, 0, 24, 25, 60]]), width=25).tolist() == [[1, 2, 2, 3, 4]]


def test_levels_outside_are_none() -> None:
    where = np.array([[True, False, True]])
    assert grey_levels(np.array([[1, 900, 3]]), where, bins=2).tolist() == [[1, 0, 2]]


@settings(max_examples=40)
@given(st.integers(0, 999), shapes)
def test_outside_is_as_bright_as_the_nearest_inside(seed: int, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    plane, mask = rng.random(shape).astype(np.float32), rng.random(shape) < 0.3
    result = continued(plane, mask)
    assert result.shape == shape and result.dtype == np.float32
    if not mask.any():
        assert np.array_equal(result, plane)
        return
    assert np.array_equal(result[mask], plane[mask])
    distance = ndimage.distance_transform_edt(~mask)
    points = np.argwhere(mask)
    for place in np.argwhere(~mask):
        far = np.hypot(*(points - place).T)
        near = plane[tuple(points[far <= distance[tuple(place)] + 0.2].T)]  # OpenCV's distance is a little off
        assert result[tuple(place)] in near


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"image": np.zeros((2, 2, 2))}, "3-D"),
        ({"image": np.array([[np.nan, 1]])}, "NaN"),
        ({"image": np.zeros((0, 3))}, "no pixels"),
        ({"image": np.zeros((2, 2)), "where": np.ones((3, 2), bool)}, "does not fit"),
        ({"image": np.zeros((2, 2)), "where": np.zeros((2, 2), bool)}, "marks no pixel"),
        ({"image": np.zeros((2, 2)), "bins": 0}, "bins"),
        ({"image": np.zeros((2, 2)), "bins": 5000}, "bins"),
        ({"image": np.zeros((2, 2)), "width": 0}, "width"),
        ({"image": np.array([[0, 1e6]]), "width": 0.1}, "levels"),
    ],
)
def test_what_cannot_be_counted_is_refused(arguments: dict[str, np.ndarray], match: str) -> None:
    with pytest.raises(ScanError, match=match):
        grey_levels(**arguments)


def test_all_pixels_count_without_a_mask() -> None:
    plane, mask = inside(np.array([[True, False]]))
    assert plane.dtype == np.float32 and mask.all()
