from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from scipy.spatial.distance import cdist

from tumorscope.errors import DataError, ScanError
from tumorscope.evaluation import boundaries
from tumorscope.evaluation.boundaries import (
    boundary,
    boundary_f1,
    hausdorff,
    mean_surface_distance,
    surface_dice,
    surface_distances,
)

shapes = hnp.array_shapes(min_dims=2, max_dims=3, max_side=9)


def pairs(shapes=shapes):
    return shapes.flatmap(lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape)))


few = settings(max_examples=40)
kinds = st.sampled_from(["pixels", "contour"])
FIGURES = [
    hausdorff,
    mean_surface_distance,
    lambda *masks, **more: surface_dice(*masks, tolerance=1.5, **more),
    lambda *masks, **more: boundary_f1(*masks, tolerance=1.5, **more),
]


def square(at: tuple[int, int], side: int = 3, size: int = 20) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[at[0] : at[0] + side, at[1] : at[1] + side] = True
    return mask


def ball(shape: tuple[int, ...], at: tuple[int, ...], radii: tuple[int, ...]) -> np.ndarray:
    return sum(((axis - c) / r) ** 2 for axis, c, r in zip(np.indices(shape), at, radii, strict=True)) < 1


FLAT = ball((40, 50), (18, 20), (9, 13)), ball((40, 50), (20, 24), (12, 10))
DEEP = ball((12, 30, 30), (5, 14, 14), (4, 9, 7)), ball((12, 30, 30), (6, 16, 13), (3, 8, 9))


@pytest.mark.parametrize(
    ("masks", "spacing", "expected"),
    [
        (FLAT, (1.0, 1.0), (7.000000, 2.886635, 0.494175, 0.491667)),
        (FLAT, (0.5, 2.0), (14.000000, 2.939827, 0.581808, 0.550000)),
        (DEEP, (5.0, 1.0, 1.2), (10.000000, 2.598999, 0.672490, 0.576577)),
    ],
)
def test_what_monai_gives(masks, spacing, expected) -> None:
    """MONAI 1.6.1: HD95, mean surface distance, surface Dice at 2 by length and by pixels.

    `test_segmentation_against_monai.py` computes both sides, on more masks; it is slow because MONAI is to import.
    """
    found = (
        hausdorff(*masks, spacing),
        mean_surface_distance(*masks, spacing),
        surface_dice(*masks, 2.0, spacing),
        surface_dice(*masks, 2.0, spacing, elements="pixels"),
    )
    assert found == pytest.approx(expected, abs=2e-6)


class TestCountedByHand:
    def test_a_shifted_square(self) -> None:
        first, second = square((5, 5)), square((5, 7))
        # Outlines of 8 pixels, columns 5-7 and 7-9. Of the first, column 5 is 2 away; of column 6 both pixels are 1
        # away; column 7 lies on the second's. The other way round likewise.
        assert hausdorff(first, second) == 2
        assert mean_surface_distance(first, second) == pytest.approx((2 * 3 + 1 * 2) / 8)
        # within 1: 5 of 8 both ways
        assert boundary_f1(first, second, tolerance=1) == pytest.approx(5 / 8)
        assert surface_dice(first, second, tolerance=1, elements="pixels") == pytest.approx(5 / 8)

    def test_percentiles_are_of_each_way_or_of_both_together(self) -> None:
        first, second = np.zeros((1, 40), bool), np.zeros((1, 40), bool)
        first[0, 0], second[0, :10] = True, True  # 0 one way; 0 to 9 the other
        assert hausdorff(first, second, percentile=100) == 9
        assert hausdorff(first, second, percentile=50) == 4.5
        assert hausdorff(first, second, percentile=50, pooling="pooled") == 4  # of 0, 0, 1, ... 9
        assert hausdorff(first, second) == pytest.approx(8.55)

    def test_surface_dice_weighs_by_length_and_f1_by_side(self) -> None:
        # a pixel (outline: 4 corners, each cut along half a diagonal) against a row of 9
        first, second = np.zeros((3, 11), bool), np.zeros((3, 11), bool)
        first[1, 1], second[1, 1:10] = True, True
        corner, ends, sides = math.hypot(1, 1) / 2, 4 * math.hypot(1, 1) / 2, 2 * 8
        # near at tolerance 0: the pixel's left corners both ways; its right ones lie on the row's long sides
        near = 2 * corner + 2 * corner + 2 * corner + 2
        assert surface_dice(first, second, tolerance=0) == pytest.approx(near / (4 * corner + ends + sides))
        assert surface_dice(first, second, tolerance=0, elements="pixels") == pytest.approx(2 / 10)
        assert boundary_f1(first, second, tolerance=0) == pytest.approx(2 * 1 * (1 / 9) / (1 + 1 / 9))

    def test_a_filled_disc_and_its_rim_share_outline_pixels_but_not_contours(self) -> None:
        disc = np.hypot(*np.mgrid[-10:11, -10:11]) < 8.5
        rim = boundary(disc)
        assert hausdorff(disc, rim) == 0
        assert hausdorff(disc, rim, elements="contour", percentile=100) > 0
        assert surface_dice(disc, rim, tolerance=0) < 0.8

    def test_contour_lengths_and_areas_of_a_box(self) -> None:
        box = np.zeros((9, 9), bool)
        box[2:6, 3:5] = True
        # a rectangle of 4 x 2 pixels of 2 x 5 mm, its corners cut
        flat = surface_distances(box, box, (2, 5), "contour")
        assert flat.true_weights.sum() == pytest.approx(2 * (3 * 2) + 2 * (1 * 5) + 4 * math.hypot(2, 5) / 2)
        corners = np.eye(2, dtype=bool)  # two pixels that touch at a corner keep an outline each
        pair = surface_distances(corners, corners, (2, 5), "contour")
        assert pair.true_weights.sum() == pytest.approx(2 * 4 * math.hypot(2, 5) / 2)
        solid = np.pad(np.ones((30, 30, 30), bool), 1)
        cube = surface_distances(solid, solid, 1, "contour")
        assert cube.true_weights.sum() == pytest.approx(6 * 29**2 + 12 * 29 * math.sqrt(0.5) + 8 * math.sqrt(3) / 8)

    def test_a_tolerance_is_inclusive_even_when_rounding_says_otherwise(self) -> None:
        first, second = square((5, 5), side=1), square((5, 8), side=1)
        assert hausdorff(first, second, spacing=0.1) > 0.3
        assert boundary_f1(first, second, 0.3, spacing=0.1) == 1
        assert boundary_f1(first, second, 0.2999, spacing=0.1) == 0


class TestLaws:
    @few
    @given(pairs())
    def test_outlines_are_what_erosion_takes_away(self, masks) -> None:
        mask = masks[0]
        assert np.array_equal(boundary(mask), mask & ~ndimage.binary_erosion(mask))

    @few
    @given(pairs(), kinds)
    def test_all_are_symmetric(self, masks, elements) -> None:
        for figure in FIGURES:
            assert figure(*masks, elements=elements) == pytest.approx(
                figure(*masks[::-1], elements=elements), nan_ok=True
            )

    @few
    @given(pairs(), kinds)
    def test_distance_is_zero_exactly_for_equal_outlines(self, masks, elements) -> None:
        first, second = masks
        if not (first.any() and second.any()):
            return
        if elements == "pixels" and not (first.ndim == 3 and 1 in first.shape):
            equal = np.array_equal(boundary(first), boundary(second))
            assert (hausdorff(first, second, percentile=100) == 0) == equal
        assert hausdorff(first, first, elements=elements) == 0
        assert mean_surface_distance(first, first, elements=elements) == 0
        assert surface_dice(first, first, 0, elements=elements) == 1

    @few
    @given(pairs(), st.sampled_from([None, 0.7, "odd"]))
    def test_distances_are_the_nearest_of_all_pairs(self, masks, spacing) -> None:
        first, second = masks
        spacing = [0.5, 2.0, 1.25][: first.ndim] if spacing == "odd" else spacing
        steps = np.broadcast_to(1.0 if spacing is None else spacing, first.ndim)
        if not (first.any() and second.any()):
            return
        while first.ndim == 3 and 1 in first.shape:  # a volume of one slice is that slice
            axis = first.shape.index(1)
            first, second, steps = first.squeeze(axis), second.squeeze(axis), np.delete(steps, axis)
        table = cdist(np.argwhere(boundary(first)) * steps, np.argwhere(boundary(second)) * steps)
        found = surface_distances(*masks, spacing)
        np.testing.assert_allclose(found.to_truth, table.min(axis=1), atol=1e-12)
        np.testing.assert_allclose(found.to_predicted, table.min(axis=0), atol=1e-12)

    @few
    @given(pairs(), st.sampled_from([0.25, 3.0]), kinds)
    def test_spacing_scales_distances(self, masks, factor, elements) -> None:
        first, second = masks
        for figure in (hausdorff, mean_surface_distance):
            near, far = (figure(first, second, spacing=step, elements=elements) for step in (1.0, factor))
            assert far == pytest.approx(factor * near, nan_ok=True)
        assert surface_dice(first, second, 1.5 * factor, factor, elements) == pytest.approx(
            surface_dice(first, second, 1.5, elements=elements)
        )

    @few
    @given(pairs(), kinds)
    def test_moving_flipping_and_turning_both_changes_nothing(self, masks, elements) -> None:
        first, second = masks
        if first.ndim == 3 and 1 in first.shape:
            return  # with room around it, a slice is no longer the whole volume
        padded = [np.pad(mask, [(2, 5)] * mask.ndim) for mask in masks]
        for figure in FIGURES:
            value = figure(first, second, elements=elements)
            assert figure(*padded, elements=elements) == pytest.approx(value, nan_ok=True)
            assert figure(first[::-1], second[::-1], elements=elements) == pytest.approx(value, nan_ok=True)
            assert figure(first.T, second.T, elements=elements) == pytest.approx(value, nan_ok=True)

    @few
    @given(pairs(hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)), st.integers(0, 2), kinds)
    def test_a_volume_of_one_slice_is_the_slice(self, masks, axis, elements) -> None:
        deep = [np.expand_dims(mask, axis) for mask in masks]
        if deep[0].shape.count(1) > 1:
            return
        spacing = (0.5, 2.0)
        volume = [*spacing[:axis], 7.0, *spacing[axis:]]
        for figure in FIGURES:
            flat = figure(*masks, spacing=spacing, elements=elements)
            assert figure(*deep, spacing=volume, elements=elements) == pytest.approx(flat, nan_ok=True)

    @few
    @given(
        hnp.array_shapes(min_dims=2, max_dims=3, max_side=7).flatmap(
            lambda shape: st.tuples(*[hnp.arrays(bool, shape)] * 3)
        )
    )
    def test_the_hausdorff_distance_keeps_the_triangle_inequality(self, masks) -> None:
        if not all(mask.any() for mask in masks):
            return
        ab, bc, ac = (hausdorff(masks[i], masks[j], percentile=100) for i, j in ((0, 1), (1, 2), (0, 2)))
        assert ac <= ab + bc + 1e-9

    @few
    @given(pairs(), st.floats(0, 100))
    def test_pooling_never_exceeds_the_maximum_of_both_ways(self, masks, percentile) -> None:
        if not all(mask.any() for mask in masks):
            return
        pooled = hausdorff(*masks, percentile=percentile, pooling="pooled")
        assert pooled <= hausdorff(*masks, percentile=percentile) + 1e-9
        assert hausdorff(*masks, percentile=100) >= mean_surface_distance(*masks) - 1e-9

    @few
    @given(st.integers(0, 2**32 - 1), st.sampled_from([0.002, 0.03, 0.3]), st.floats(0.3, 3))
    def test_crowded_and_sparse_masks_take_two_ways_to_the_same_distance(self, seed, share, step) -> None:
        rng = np.random.default_rng(seed)
        first, second = (rng.random((61, 80)) < share for _ in range(2))
        tree, mapped = [], []
        for result, limit in ((tree, np.inf), (mapped, 0.0)):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(boundaries, "CROWDED", limit)
                result.extend([surface_distances(first, second, step)])
        np.testing.assert_allclose(tree[0].to_truth, mapped[0].to_truth, rtol=1e-12)
        np.testing.assert_allclose(tree[0].to_predicted, mapped[0].to_predicted, rtol=1e-12)


class TestEmpty:
    nothing, something = np.zeros((5, 6), bool), np.eye(5, 6, dtype=bool)

    @pytest.mark.parametrize("figure", [hausdorff, mean_surface_distance])
    def test_distances_are_undefined_for_both_and_infinite_for_one(self, figure) -> None:
        assert math.isnan(figure(self.nothing, self.nothing))
        assert figure(self.nothing, self.something) == figure(self.something, self.nothing) == math.inf

    @pytest.mark.parametrize("figure", [surface_dice, boundary_f1])
    @pytest.mark.parametrize("elements", ["pixels", "contour"])
    def test_shares_keep_to_the_rule_for_both_and_are_zero_for_one(self, figure, elements) -> None:
        assert figure(self.nothing, self.nothing, 1, elements=elements) == 1
        assert figure(self.nothing, self.nothing, 1, elements=elements, empty="zero") == 0
        assert math.isnan(figure(self.nothing, self.nothing, 1, elements=elements, empty="nan"))
        for rule in ("one", "nan", "zero"):
            assert figure(self.nothing, self.something, 1, elements=elements, empty=rule) == 0
            assert figure(self.something, self.nothing, 1, elements=elements, empty=rule) == 0


class TestWrongInput:
    mask = np.eye(4, dtype=bool)

    @pytest.mark.parametrize(
        ("call", "error", "match"),
        [
            (lambda m: hausdorff(m, m[:3]), DataError, r"predicted mask is \(4, 4\), the true one \(3, 4\).*one grid"),
            (lambda m: hausdorff(m * 2, m), DataError, "predicted mask holds values other than 0 and 1"),
            (lambda m: hausdorff(m, np.where(m, np.nan, 0)), DataError, "true mask holds values other"),
            (lambda m: hausdorff(m[0], m[0]), ScanError, "1 axes"),
            (lambda m: hausdorff(m, m, spacing=(1, 2, 3)), DataError, "3 spacings were given for 2 axes"),
            (lambda m: hausdorff(m, m, spacing=0), DataError, "not above 0"),
            (lambda m: hausdorff(m, m, spacing=(1, math.nan)), DataError, "not above 0"),
            (lambda m: hausdorff(m, m, percentile=101), DataError, "outside 0 to 100"),
            (lambda m: hausdorff(m, m, pooling="mean"), DataError, "unknown pooling"),
            (lambda m: hausdorff(m, m, elements="pixel"), DataError, "did you mean 'pixels'"),
            (lambda m: surface_dice(m, m, tolerance=-1), DataError, "pass 0 or more"),
            (lambda m: boundary_f1(m, m, tolerance=math.nan), DataError, "pass 0 or more"),
            (lambda m: boundary_f1(m, m, tolerance=1, empty="none"), DataError, "unknown empty-mask rule"),
        ],
    )
    def test_is_named(self, call, error, match) -> None:
        with pytest.raises(error, match=match) as caught:
            call(self.mask)
        assert "\n" not in str(caught.value)

    def test_one_pixel_is_enough(self) -> None:
        dot = np.ones((1, 1), np.uint8)
        assert hausdorff(dot, dot) == 0 and surface_dice(dot, dot, 0) == 1
        assert hausdorff(dot[None], dot[None]) == 0
