"""Lesions from probabilities, and their measures."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from tumorscope.inference.postprocess import Measurements, concentration, fill_holes, lesions, measure

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14))


def disc(radius, shape=(101, 121)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(y - shape[0] // 2, x - shape[1] // 2) <= radius


class TestLesions:
    def test_hysteresis_keeps_a_region_with_a_sure_core_and_no_other(self):
        probability = np.zeros((9, 20), np.float32)
        probability[2:6, 2:6] = 0.55
        probability[3, 3] = 0.9
        probability[2:6, 12:16] = 0.55
        found = lesions(probability, mask=0.5, seed=0.8)
        assert found[2:6, 2:6].all()
        assert found.sum() == 16

    def test_nothing_outside_the_head(self):
        probability = np.full((6, 6), 0.9, np.float32)
        head = np.zeros((6, 6), bool)
        head[1:5, 1:4] = True
        np.testing.assert_array_equal(lesions(probability, head=head), head)

    def test_specks_go_and_holes_close(self):
        probability = np.zeros((12, 12), np.float32)
        probability[1:6, 1:6] = 0.9
        probability[3, 3] = 0.1
        probability[9, 9] = 0.9
        found = lesions(probability, min_size=2)
        assert found[3, 3]
        assert not found[9, 9]
        assert found.sum() == 25

    def test_a_lesion_in_one_slice_of_a_volume_must_be_surer(self):
        probability = np.zeros((6, 10, 10), np.float32)
        probability[1, 1:4, 1:4] = 0.8  # one slice
        probability[3:5, 6:9, 6:9] = 0.8  # two slices
        found = lesions(probability, mask=0.5, seed=0.7, single_slice_seed=0.85)
        assert not found[1].any()
        assert found.sum() == 18
        assert lesions(probability, mask=0.5, seed=0.7).sum() == 27

    def test_volume_regions_meet_at_corners(self):
        probability = np.zeros((2, 4, 4), np.float32)
        probability[0, 1, 1], probability[1, 2, 2] = 0.6, 0.9
        assert lesions(probability, mask=0.5, seed=0.8).sum() == 2

    @settings(deadline=None, max_examples=60)
    @given(arrays(np.float32, array_shapes(min_dims=2, max_dims=3, max_side=9), elements=st.floats(0, 1, width=32)))
    def test_every_region_has_its_seed_and_a_higher_threshold_finds_no_more(self, probability):
        found = lesions(probability, mask=0.4, seed=0.8)
        labels, count = ndimage.label(found, np.ones((3,) * found.ndim))
        assert all(probability[labels == index].max() >= 0.8 for index in range(1, count + 1))
        assert not (lesions(probability, mask=0.4, seed=0.95) & ~found).any()
        assert not (lesions(probability, mask=0.6, seed=0.8) & ~found).any()


class TestHoles:
    @settings(deadline=None, max_examples=100)
    @given(masks)
    def test_as_scipy_fills_them(self, mask):
        np.testing.assert_array_equal(fill_holes(mask, largest=1e9), ndimage.binary_fill_holes(mask))

    def test_a_thin_ring_stays_one(self):
        ring = disc(40) & ~disc(38)
        np.testing.assert_array_equal(fill_holes(ring), ring)
        rim = disc(40) & ~disc(25)
        np.testing.assert_array_equal(fill_holes(rim), disc(40))


class TestMeasure:
    def test_empty(self):
        assert measure(np.zeros((4, 4), bool)) == Measurements(0, 0.0, None, 0.0, None, None)
        assert measure(np.zeros((4, 4), bool), (2, 2)) == Measurements(0, 0.0, 0.0, 0.0, 0.0, None)
        assert measure(np.zeros((3, 4, 4), bool), (1, 2, 2)).volume_mm3 == 0

    @pytest.mark.parametrize(
        ("rows", "columns", "spacing", "pixels", "millimetres"),
        [
            (1, 1, (1, 1), 1.0, 1.0),
            (1, 7, (1, 0.5), 7.0, 3.5),
            (5, 1, (2, 1), 5.0, 10.0),
            (5, 1, (2, 9), 5.0, math.hypot(4 * 2, 9)),  # from the left edge of the first to the right edge of the last
            # corners of the edge middles: (0, 3.5) to (3, 0.5), and as far as (3.5, 4) to (0.5, 0)
            (4, 4, (1, 1), 5.0, 5.0),
            (4, 4, (2, 1), 5.0, math.hypot(2 * 4, 3)),
        ],
    )
    def test_golden_rectangles(self, rows, columns, spacing, pixels, millimetres):
        mask = np.zeros((12, 12), bool)
        mask[2 : 2 + rows, 3 : 3 + columns] = True
        found = measure(mask, spacing)
        assert found.lesions == 1
        assert found.area_px == rows * columns
        assert found.area_mm2 == pytest.approx(rows * columns * spacing[0] * spacing[1])
        assert found.diameter_px == pytest.approx(pixels)
        assert found.diameter_mm == pytest.approx(millimetres)

    @pytest.mark.parametrize("radius", [5, 17, 40])
    def test_a_disc_is_twice_its_radius_wide(self, radius):
        found = measure(disc(radius), (0.5, 0.5))
        assert found.diameter_px == pytest.approx(2 * radius + 1, abs=1.0)
        assert found.diameter_mm == pytest.approx(0.5 * found.diameter_px)
        assert found.area_px == pytest.approx(math.pi * radius**2, rel=0.05)

    def test_the_diameter_is_of_one_lesion_not_across_two(self):
        mask = np.zeros((20, 60), bool)
        mask[5, 2:6] = True
        mask[9, 50:59] = True
        found = measure(mask)
        assert found.lesions == 2
        assert found.diameter_px == 9

    def test_a_volume(self):
        mask = np.zeros((5, 20, 20), bool)
        mask[1, 4:8, 4:8] = True
        mask[2, 4:8, 4:14] = True
        mask[4, 18, 18] = True
        found = measure(mask, (5.0, 0.5, 0.5))
        assert found.lesions == 2
        assert found.volume_mm3 == pytest.approx(57 * 5 * 0.25)
        assert found.area_px == 40
        assert found.area_mm2 == pytest.approx(10)
        assert found.diameter_px == pytest.approx(math.hypot(10, 3))
        assert measure(mask).volume_mm3 is None

    @settings(deadline=None, max_examples=60)
    @given(masks, st.floats(0.2, 5), st.floats(0.2, 5))
    def test_against_all_pairs_of_edge_middles(self, mask, dy, dx):
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        longest = 0.0
        for index in range(1, count + 1):
            centres = np.argwhere(labels == index)
            edges = np.concatenate([centres + step for step in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5))]) * (dy, dx)
            longest = max(longest, float(np.hypot(*(edges[:, None] - edges[None]).transpose(2, 0, 1)).max()))
        found = measure(mask, (dy, dx))
        assert found.lesions == count
        assert found.diameter_mm == pytest.approx(longest)

    @settings(deadline=None, max_examples=40)
    @given(masks)
    def test_turning_the_scan_changes_nothing(self, mask):
        assert measure(np.rot90(mask), (2, 2)) == measure(mask, (2, 2))


class TestConcentration:
    @given(arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.floats(0, 1)))
    def test_is_a_share_and_grows_with_the_lesion(self, probability):
        small, large = probability > 0.7, probability > 0.3
        assert 0 <= concentration(probability, small) <= concentration(probability, large) <= 1 + 1e-9

    def test_of_a_volume_the_slice_with_most_of_the_lesion_counts(self):
        plane = np.array([[0.9, 0.1], [0.0, 0.0]])
        volume = np.stack([plane, np.full((2, 2), 0.2), [[0.6, 0.4], [0.4, 0.4]]])
        assert concentration(volume, volume > 0.5) == pytest.approx(0.9)
        assert concentration(plane, plane > 0.5) == pytest.approx(0.9)

    def test_without_a_lesion_it_is_nothing(self):
        assert concentration(np.full((3, 3), 0.4), np.zeros((3, 3), bool)) == 0
        assert concentration(np.zeros((3, 3)), np.zeros((3, 3), bool)) == 0
