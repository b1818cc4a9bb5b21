from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tumorscope.errors import ScanError
from tumorscope.evaluation.segmentation import dice
from tumorscope.imaging.snakes import SNAKES, seed_contour, snake

RADIUS = np.hypot(*np.mgrid[-30:31, -30:31])
DISC = RADIUS < 18
IMAGE = np.where(DISC, 50.0, 0.0)


class TestFindsTheDisc:
    def test_a_geodesic_balloon_grows_and_shrinks_to_the_edge(self) -> None:
        assert dice(snake(IMAGE, RADIUS < 6, balloon=1, iterations=60), DISC) > 0.95
        assert dice(snake(IMAGE, RADIUS < 27, balloon=-1, iterations=60), DISC) > 0.95
        assert dice(RADIUS < 6, DISC) < 0.3  # the start alone is not enough

    def test_chan_vese_parts_two_even_regions_in_noise(self) -> None:
        noisy = IMAGE + np.random.default_rng(0).normal(0, 10, IMAGE.shape)
        assert dice(snake(noisy, RADIUS < 8, method="chan-vese"), DISC) > 0.95

    def test_a_contour_with_no_edge_in_its_way_stays_where_the_other_finds_none(self) -> None:
        assert snake(IMAGE, RADIUS < 6, iterations=1).sum() <= (RADIUS < 8).sum()


class TestLaws:
    @settings(max_examples=15)
    @given(
        hnp.arrays(np.uint8, st.tuples(st.integers(1, 15), st.integers(1, 15))),
        st.sampled_from(SNAKES),
        st.integers(0, 2**32 - 1),
    )
    def test_any_slice_gives_a_mask_of_its_shape(self, image: np.ndarray, method: str, seed: int) -> None:
        start = np.random.default_rng(seed).random(image.shape) < 0.5
        moved = snake(image, start, method=method, iterations=3)
        assert moved.shape == image.shape and moved.dtype == bool

    @pytest.mark.parametrize("method", SNAKES)
    def test_units_do_not_matter(self, method: str) -> None:
        start = RADIUS < 12
        moved = snake(IMAGE * 64 - 1000, start, method=method, iterations=10)
        assert np.array_equal(moved, snake(IMAGE, start, method=method, iterations=10))

    @pytest.mark.parametrize("method", SNAKES)
    def test_nothing_to_do_returns_the_start(self, method: str) -> None:
        start = RADIUS < 12
        for image, begin, steps in (
            (IMAGE, start, 0), (IMAGE * 0 + 3, start, 9), (IMAGE, start & False, 9), (IMAGE, start | True, 9),
        ):  # fmt: skip
            moved = snake(image, begin, method=method, iterations=steps)
            assert np.array_equal(moved, begin) and moved is not begin


class TestSeedContour:
    def test_a_square_by_hand(self) -> None:
        mask = seed_contour([(1, 2), (1, 4), (3, 4), (3, 2)], (6, 7))
        assert mask.sum() == 9 and mask[1:4, 2:5].all()

    def test_a_polygon_beyond_the_image_covers_it(self) -> None:
        assert seed_contour([(-1e9, -1e9), (-1e9, 1e9), (1e9, 1e9), (1e9, -1e9)], (5, 8)).all()

    @pytest.mark.parametrize("points", [[(0, 0), (1, 1)], [1, 2, 3], [(0, 0), (1, np.nan), (2, 2)], np.zeros((3, 3))])
    def test_what_is_no_polygon_is_refused(self, points: object) -> None:
        with pytest.raises(ScanError, match="polygon"):
            seed_contour(points, (4, 4))


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"method": "chanvese"}, "did you mean 'chan-vese'"),
        ({"iterations": -1}, "below 0"),
        ({"smoothing": -1}, "below 0"),
        ({"balloon": 2}, "balloon"),
        ({"edge_sigma": 0}, "blur"),
        ({"edge_sigma": np.nan}, "blur"),
    ],
)
def test_wrong_parameters_are_refused(wrong: dict[str, object], match: str) -> None:
    with pytest.raises(ScanError, match=match):
        snake(IMAGE, DISC, **wrong)


def test_wrong_arrays_are_refused() -> None:
    with pytest.raises(ScanError, match="start"):
        snake(IMAGE, DISC[:-1])
    with pytest.raises(ScanError, match="NaN"):
        snake(IMAGE * np.nan, DISC)
