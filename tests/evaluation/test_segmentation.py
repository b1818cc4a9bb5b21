from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import confusion_matrix

from tumorscope.errors import DataError
from tumorscope.evaluation.segmentation import (
    dice,
    false_mask_rate,
    iou,
    pixel_confusion,
    relative_size_error,
    size_error,
    spacing_of,
)

masks = hnp.array_shapes(min_dims=1, max_dims=3, max_side=7).flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
)


@pytest.mark.parametrize(
    ("predicted", "truth", "overlap", "jaccard"),
    [
        ([[1, 1], [0, 0]], [[1, 0], [1, 0]], 1 / 2, 1 / 3),
        ([[1, 1], [1, 1]], [[1, 0], [0, 0]], 2 / 5, 1 / 4),
        ([[1, 1], [1, 1]], [[1, 1], [1, 1]], 1.0, 1.0),
        ([[1, 0], [0, 0]], [[0, 0], [0, 1]], 0.0, 0.0),
        ([[1, 0], [0, 0]], [[0, 0], [0, 0]], 0.0, 0.0),
    ],
)
def test_counted_by_hand(predicted, truth, overlap, jaccard):
    assert dice(predicted, truth) == pytest.approx(overlap)
    assert iou(predicted, truth) == pytest.approx(jaccard)


@given(masks)
@settings(deadline=None, max_examples=150)
def test_laws(pair):
    first, second = pair
    assert dice(first, second) == dice(second, first)
    assert iou(first, second) == iou(second, first)
    assert 0 <= iou(first, second) <= dice(first, second) <= 1
    assert iou(first, second) == pytest.approx(dice(first, second) / (2 - dice(first, second)))
    assert dice(first, first) == 1
    assert dice(first[::-1], second[::-1]) == dice(first, second)
    assert (dice(first, second) == 1) == np.array_equal(first, second)


@pytest.mark.parametrize("metric", [dice, iou])
class TestEmpty:
    def test_rule_applies_when_both_are_empty(self, metric):
        nothing = np.zeros((3, 4), bool)
        assert metric(nothing, nothing) == 1.0
        assert metric(nothing, nothing, empty="zero") == 0.0
        assert math.isnan(metric(nothing, nothing, empty="nan"))

    @pytest.mark.parametrize("rule", ["one", "nan", "zero"])
    def test_rule_does_not_apply_when_one_is_not(self, metric, rule):
        nothing, something = np.zeros((3, 4), bool), np.eye(3, 4, dtype=bool)
        assert metric(nothing, something, empty=rule) == metric(something, nothing, empty=rule) == 0.0

    def test_unknown_rule_names_the_nearest(self, metric):
        with pytest.raises(DataError, match="did you mean 'zero'"):
            metric([0], [0], empty="zeros")

    def test_wrong_masks_are_named(self, metric):
        with pytest.raises(DataError, match="one grid"):
            metric(np.zeros((2, 2)), np.zeros((2, 3)))
        with pytest.raises(DataError, match="mask > 0"):
            metric(np.array([0, 255]), np.array([0, 255]))

    def test_large_masks_do_not_overflow(self, metric):
        full = np.ones((1, 300, 300), np.uint8)
        assert metric(full, full) == 1.0


class TestFalseMaskRate:
    def test_counted_by_hand(self):
        dot = np.zeros((4, 4), bool)
        dot[1, 1:3] = True
        assert false_mask_rate([dot, ~dot, dot & False]) == pytest.approx(2 / 3)
        assert false_mask_rate([dot, ~dot, dot & False], least=3) == pytest.approx(1 / 3)

    def test_no_scans_give_no_rate(self):
        assert math.isnan(false_mask_rate([]))


class TestPixels:
    def test_counted_by_hand(self):
        counts = pixel_confusion([[1, 1, 0], [0, 0, 0]], [[0, 1, 1], [1, 0, 0]])
        assert (counts.tp, counts.fp, counts.tn, counts.fn) == (1, 1, 2, 2)
        assert counts.accuracy == 1 / 2
        assert counts.precision == 1 / 2
        assert counts.sensitivity == pytest.approx(1 / 3)

    @given(masks)
    def test_counts_are_those_of_scikit_learn(self, pair):
        first, second = pair
        counts = pixel_confusion(first, second)
        expected = confusion_matrix(second.ravel(), first.ravel(), labels=[False, True])
        assert [[counts.tn, counts.fp], [counts.fn, counts.tp]] == expected.tolist()
        assert counts.f1 == pytest.approx(dice(first, second, empty="nan"), nan_ok=True)

    def test_rates_are_undefined_where_they_divide_by_nothing(self):
        nothing, something = np.zeros((3, 4), bool), np.eye(3, 4, dtype=bool)
        assert math.isnan(pixel_confusion(nothing, something).precision)
        assert math.isnan(pixel_confusion(something, nothing).sensitivity)
        assert pixel_confusion(nothing, nothing).accuracy == 1


class TestSize:
    def test_counted_by_hand(self):
        predicted, truth = np.ones((2, 3), bool), np.zeros((2, 3), bool)
        truth[0, :2] = True
        assert size_error(predicted, truth) == 4
        assert size_error(truth, predicted, spacing=(2, 0.5)) == -4
        assert size_error(predicted[None], truth[None], spacing=(3, 1, 1)) == 12
        assert relative_size_error(predicted, truth) == 2

    def test_empty_masks(self):
        nothing, something = np.zeros((3, 4), bool), np.eye(3, 4, dtype=bool)
        assert size_error(nothing, nothing) == 0 and size_error(nothing, something) == -3
        assert relative_size_error(nothing, something) == -1
        assert math.isnan(relative_size_error(something, nothing))

    @pytest.mark.parametrize(
        ("spacing", "match"), [((1, 2, 3), "3 spacings"), (-1, "not above 0"), ((1, np.inf), "not above 0")]
    )
    def test_wrong_spacing_is_named(self, spacing, match):
        with pytest.raises(DataError, match=match):
            spacing_of(spacing, 2)


@pytest.mark.parametrize("wrong", [[0, np.nan], [0, 2], [0, -1], [0, 0.5], [0, 255]])
def test_masks_of_other_values_are_named(wrong):
    for call in (dice, iou, pixel_confusion, size_error, relative_size_error):
        with pytest.raises(DataError, match="true mask holds values other than 0 and 1"):
            call([0, 1], wrong)
