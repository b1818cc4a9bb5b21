from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tumorscope.errors import ScanError
from tumorscope.imaging.palettes import palette
from tumorscope.imaging.regions import random_walker, region_colors, region_means, superpixels, watershed

shapes = st.tuples(st.integers(1, 23), st.integers(1, 23))
images = hnp.arrays(np.uint8, shapes)
seeds = st.integers(0, 2**32 - 1)
ROWS = np.mgrid[:24, :40]


def quarters() -> tuple[np.ndarray, np.ndarray]:
    """Four even fields and their labels 1 to 4 in rows."""
    truth = 1 + (ROWS[1] >= 20) + 2 * (ROWS[0] >= 12)
    return np.array([0, 10, 40, 70, 100])[truth], truth


def middles(truth: np.ndarray) -> np.ndarray:
    """A mark of 3×3 pixels in the middle of each field."""
    marks = np.zeros_like(truth)
    for row in (6, 18):
        for column in (10, 30):
            marks[row - 1 : row + 2, column - 1 : column + 2] = truth[row, column]
    return marks


def half(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) < 0.5


class TestCoverage:
    @settings(max_examples=30)
    @given(images, seeds)
    def test_watershed_covers_its_mask_exactly_once(self, image: np.ndarray, seed: int) -> None:
        where = half(image.shape, seed)
        labels = watershed(image, where=where)
        assert labels.shape == image.shape and labels.dtype == np.int32
        assert np.array_equal(labels > 0, where)
        numbers = np.unique(labels[where])
        assert np.array_equal(numbers, np.arange(1, numbers.size + 1))

    @settings(max_examples=20)
    @given(images, seeds, st.integers(1, 50))
    def test_superpixels_cover_their_mask_exactly_once(self, image: np.ndarray, seed: int, count: int) -> None:
        where = half(image.shape, seed)
        for chosen in (None, where):
            labels = superpixels(image, count, where=chosen)
            assert labels.shape == image.shape and labels.dtype == np.int32
            assert np.array_equal(labels > 0, np.ones(image.shape, bool) if chosen is None else where)
            assert set(np.unique(labels)) - {0} == set(range(1, labels.max() + 1))

    @settings(max_examples=20)
    @given(images, seeds)
    def test_a_random_walker_covers_the_parts_that_hold_a_seed(self, image: np.ndarray, seed: int) -> None:
        rng = np.random.default_rng(seed)
        where = half(image.shape, seed) | half(image.shape, seed + 1)
        starts = np.where(where & (rng.random(image.shape) < 0.2), rng.integers(1, 4, image.shape), 0)
        if not starts.any():
            return
        labels = random_walker(image, starts, where=where)
        parts = cv2.connectedComponents(where.astype(np.uint8), connectivity=4)[1]
        reached = where & np.isin(parts, parts[starts > 0])
        assert np.array_equal(labels > 0, reached)
        assert np.array_equal(labels[starts > 0], starts[starts > 0])
        assert set(np.unique(labels)) <= {0, *np.unique(starts)}

    @settings(max_examples=30)
    @given(images, seeds, st.integers(1, 9))
    def test_one_label_is_everywhere_in_its_domain(self, image: np.ndarray, seed: int, number: int) -> None:
        rng = np.random.default_rng(seed)
        starts = np.zeros(image.shape, int)
        starts[rng.integers(image.shape[0]), rng.integers(image.shape[1])] = number
        assert (random_walker(image, starts) == number).all()
        assert (watershed(image, starts) == number).all()


class TestFindsFields:
    @pytest.mark.parametrize("method", [watershed, random_walker])
    def test_each_marked_field_is_filled_to_its_edge(self, method: Callable[..., np.ndarray]) -> None:
        image, truth = quarters()
        found = method(image, middles(truth) * 3)  # numbers with gaps come back as they were given
        assert np.mean(found != truth * 3) < 0.06
        assert set(np.unique(found)) == {3, 6, 9, 12}

    def test_automatic_markers_part_the_fields(self) -> None:
        image, truth = quarters()
        labels = watershed(image + np.random.default_rng(0).normal(0, 1, image.shape), spacing=0.2)
        for number in range(1, labels.max() + 1):
            share = np.bincount(truth[labels == number], minlength=5)
            assert share.max() >= 0.85 * share.sum()

    def test_superpixels_follow_edges(self) -> None:
        image, truth = quarters()
        labels = superpixels(image, 40)
        pure = [np.bincount(truth[labels == number]).max() / (labels == number).sum() for number in np.unique(labels)]
        assert 25 <= labels.max() <= 60
        assert np.mean(pure) > 0.97

    def test_wider_spacing_gives_fewer_regions(self, draw_head) -> None:
        image, head = draw_head()
        counts = [watershed(image, where=head, spacing=spacing).max() for spacing in (0.02, 0.05, 0.15)]
        assert counts[0] > counts[1] > counts[2] > 1


class TestLaws:
    @pytest.mark.parametrize("flip", [np.s_[::-1], np.s_[:, ::-1]])
    def test_flipping_commutes_where_there_are_no_ties(self, flip: object, draw_head) -> None:
        image, head = draw_head(90, 70)
        marks = np.zeros(image.shape, int)
        marks[40, 33], marks[20, 33], marks[2, 2] = 1, 2, 3
        straight = watershed(image, marks)
        turned = watershed(image[flip], marks[flip])[flip]
        assert np.mean(straight != turned) < 0.01
        walked = random_walker(image, marks, where=head | (marks > 0))
        assert np.mean(walked != random_walker(image[flip], marks[flip], where=(head | (marks > 0))[flip])[flip]) < 0.01

    @pytest.mark.parametrize("method", [watershed, superpixels])
    def test_units_do_not_matter(self, method: Callable[..., np.ndarray]) -> None:
        image, _ = quarters()
        image = image + np.random.default_rng(3).integers(0, 5, image.shape)
        assert np.array_equal(method(image), method(image * 16.0 - 512))


class TestColors:
    def test_brighter_regions_have_later_colours_and_zero_is_black(self) -> None:
        image, truth = quarters()
        truth = truth.copy()
        truth[0, :5] = 0
        picture = region_colors(truth, image, 4)
        assert picture.shape == (24, 40, 3) and picture.dtype == np.uint8
        for number in range(1, 5):
            assert (picture[truth == number] == palette(4)[number - 1]).all()
        assert (picture[truth == 0] == 0).all()

    def test_a_table_of_colours_is_taken_as_it_is(self) -> None:
        image, truth = quarters()
        grey = np.repeat(np.arange(10, 250, 60, dtype=np.uint8)[:, None], 3, axis=1)
        assert np.array_equal(np.unique(region_colors(truth, image, grey)), [10, 70, 130, 190])

    @settings(max_examples=20)
    @given(images, seeds)
    def test_any_labels_are_coloured(self, image: np.ndarray, seed: int) -> None:
        labels = np.random.default_rng(seed).integers(0, 5, image.shape)
        picture = region_colors(labels, image)
        assert picture.shape == (*image.shape, 3)
        for number in np.unique(labels):
            assert len(np.unique(picture[labels == number], axis=0)) == 1

    def test_means_by_hand(self) -> None:
        means = region_means(np.array([[0, 2], [2, 2]]), np.array([[1.0, 2.0], [3.0, 7.0]]))
        np.testing.assert_allclose(means, [1, np.nan, 4])


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1)])
def test_a_constant_slice_of_any_size_is_divided(shape: tuple[int, int]) -> None:
    image = np.full(shape, 5)
    assert (watershed(image) > 0).all() and (superpixels(image) > 0).all()
    marks = np.zeros(shape, int)
    marks[0, 0], marks[-1, -1] = 1, 2
    assert (random_walker(image, marks) > 0).all()


def test_an_empty_domain_gives_no_region() -> None:
    image, nowhere = np.eye(6), np.zeros((6, 6), bool)
    assert not watershed(image, where=nowhere).any() and not superpixels(image, where=nowhere).any()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: watershed(np.zeros((4, 4, 3))), "3-D"),
        (lambda: superpixels(np.array([[np.nan]])), "NaN"),
        (lambda: watershed(np.eye(4), spacing=0), "spacing"),
        (lambda: watershed(np.eye(4), smoothing=-1), "blur"),
        (lambda: watershed(np.eye(4), np.zeros((4, 5), int)), "markers: shape"),
        (lambda: watershed(np.eye(4), np.zeros((4, 4))), "markers: values of type float64"),
        (lambda: watershed(np.eye(4), np.full((4, 4), -1)), "markers: values from -1"),
        (lambda: watershed(np.eye(4), np.zeros((4, 4), int)), "markers: none"),
        (lambda: watershed(np.eye(4), where=np.ones((5, 4))), "where"),
        (lambda: superpixels(np.eye(4), 0), "0 regions"),
        (lambda: superpixels(np.eye(4), compactness=0), "compactness"),
        (lambda: random_walker(np.eye(4), np.zeros((4, 4), int)), "seeds: none"),
        (lambda: random_walker(np.eye(4), np.eye(4, dtype=int), beta=0), "beta"),
        (lambda: region_colors(np.eye(4, dtype=int), np.eye(4), 1), "palette"),
        (lambda: region_colors(np.eye(4, dtype=int), np.eye(4), np.zeros((3, 3))), "colours"),
        (lambda: region_means(np.eye(4, dtype=int), np.eye(5)), "labels: shape"),
    ],
)
def test_wrong_input_is_refused(call: Callable[[], object], match: str) -> None:
    with pytest.raises(ScanError, match=match):
        call()
