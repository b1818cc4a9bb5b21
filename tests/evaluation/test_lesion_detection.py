from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from tumorscope.errors import DataError
from tumorscope.evaluation.lesion_detection import components, match_lesions, panoptic_quality
from tumorscope.evaluation.segmentation import dice

masks = hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=8).flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
)
LINES = {  # true, predicted: found, missed, false
    "both found": ("##..##", "##..##", (2, 0, 0)),
    "one missed": ("##..##", "##....", (1, 1, 0)),
    "one made up": ("##....", "##..##", (1, 0, 1)),
    "in two pieces": ("######", "##.###", (1, 0, 1)),
    "two covered by one": ("##.###", "######", (1, 1, 0)),
    "beside it": ("##....", "...###", (0, 1, 1)),
    "nothing to find": ("......", ".#..#.", (0, 0, 2)),
    "nothing marked": ("##..##", "......", (0, 2, 0)),
    "nothing at all": ("......", "......", (0, 0, 0)),
}


def line(text: str) -> np.ndarray:
    return np.array([[char == "#" for char in text]])


@pytest.mark.parametrize("name", LINES)
def test_counted_by_hand(name: str) -> None:
    true, predicted, counts = LINES[name]
    match = match_lesions(line(predicted), line(true))
    assert (match.found, match.missed, match.false) == counts


def test_dice_of_lesions_by_hand() -> None:
    match = match_lesions(line("##..##..#"), line("###.##.#."))
    assert match.sizes == (3, 2, 1)
    assert match.dices == pytest.approx((4 / 5, 1, 0))
    assert match.ious == pytest.approx((2 / 3, 1, 0))
    assert match.mean_dice == pytest.approx(0.6)
    assert match.lesionwise_dice == pytest.approx(1.8 / 4)  # two found, one missed, one made up
    assert match.counts.f1 == pytest.approx(4 / 6)
    assert match.panoptic_quality == pytest.approx((2 / 3 + 1) / (2 + 0.5 + 0.5))


def test_partners_are_those_of_the_largest_sum() -> None:
    # Below, one prediction reaches over both lesions; above, another overlaps the first only: each finds one.
    true = np.vstack([line("####.####")] * 2)
    predicted = np.vstack([line("##......."), line("...######")])
    match = match_lesions(predicted, true, least_iou=0)
    assert match.missed == match.false == 0
    assert match.ious == pytest.approx((2 / 8, 4 / (8 + 6 - 4)))


def test_the_threshold_is_of_overlap_over_union() -> None:
    true, predicted = line("##########"), line("#.........")
    assert match_lesions(predicted, true, least_iou=0.1).found == 0  # 0.1 is not above 0.1
    assert match_lesions(predicted, true, least_iou=0.09).found == 1


def test_small_regions_are_left_out_of_both() -> None:
    match = match_lesions(line("###..#..#"), line("###.#...."), least_size=2)
    assert (match.true, match.predicted, match.found) == (1, 1, 1)
    assert match_lesions(line("##.#"), line("##.#"), least_size=2).sizes == (2,)


class TestLaws:
    @settings(max_examples=40)
    @given(masks)
    def test_regions_touch_at_corners_too(self, pair) -> None:
        mask = pair[0]
        labels, count = components(mask)
        expected, number = ndimage.label(mask, np.ones((3,) * mask.ndim))
        assert count == number and np.array_equal(labels > 0, mask)
        assert len(np.unique(np.stack([labels[mask], expected[mask]]), axis=1).T) == count

    @settings(max_examples=40)
    @given(masks, st.sampled_from([0.0, 0.1, 0.5]))
    def test_counts_add_up(self, pair, least) -> None:
        match = match_lesions(*pair, least_iou=least)
        assert match.found + match.missed == match.true == components(pair[1])[1]
        assert match.found + match.false == match.predicted == components(pair[0])[1]
        assert sum(match.sizes) == pair[1].sum()
        assert all(0 <= iou <= one <= 1 for iou, one in zip(match.ious, match.dices, strict=True))

    @settings(max_examples=40)
    @given(masks)
    def test_swapping_the_masks_swaps_missed_and_made_up(self, pair) -> None:
        one, other = match_lesions(*pair, least_iou=0.5), match_lesions(*pair[::-1], least_iou=0.5)
        assert (one.found, one.missed, one.false) == (other.found, other.false, other.missed)
        assert one.panoptic_quality == pytest.approx(other.panoptic_quality, nan_ok=True)

    @settings(max_examples=40)
    @given(masks)
    def test_a_mask_answers_itself(self, pair) -> None:
        match = match_lesions(pair[1], pair[1])
        assert match.missed == match.false == 0 and all(one == 1 for one in match.dices)

    @settings(max_examples=40)
    @given(masks)
    def test_one_lesion_each_has_the_dice_of_the_masks(self, pair) -> None:
        match = match_lesions(*pair, least_iou=0)
        if match.true == match.predicted == 1:
            assert match.mean_dice == pytest.approx(dice(*pair))

    @settings(max_examples=40)
    @given(st.integers(0, 2**32 - 1))
    def test_no_other_pairing_has_a_larger_sum(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        first, second = (rng.random((7, 9)) < 0.35 for _ in range(2))
        (lesions, count), (marked, number) = components(second), components(first)
        if not (0 < count <= 7 and 0 < number <= 7):
            return
        iou = np.zeros((max(count, number),) * 2)
        for row in range(count):
            for column in range(number):
                a, b = lesions == row + 1, marked == column + 1
                iou[row, column] = (a & b).sum() / (a | b).sum()
        best = max(sum(iou[row, column] for row, column in enumerate(order)) for order in permutations(range(len(iou))))
        assert sum(match_lesions(first, second, least_iou=0).ious) == pytest.approx(best)


class TestEmpty:
    nothing, something = np.zeros((5, 6), bool), np.eye(5, 6, dtype=bool)

    def test_rates_are_undefined_where_they_divide_by_nothing(self) -> None:
        for predicted, truth, f1, quality in (
            (self.nothing, self.nothing, math.nan, math.nan),
            (self.something, self.nothing, 0, 0),
            (self.nothing, self.something, 0, 0),
        ):
            match = match_lesions(predicted, truth)
            assert math.isnan(match.counts.sensitivity) == (not truth.any())
            assert math.isnan(match.counts.precision) == (not predicted.any())
            assert match.counts.f1 == pytest.approx(f1, nan_ok=True)
            assert panoptic_quality(predicted, truth) == pytest.approx(quality, nan_ok=True)
            assert math.isnan(match.lesionwise_dice) == math.isnan(f1)
            assert math.isnan(match.mean_dice) == (not truth.any())

    def test_sentences(self) -> None:
        assert match_lesions(self.nothing, self.nothing).sentence() == "there is no lesion; none was made up"
        assert match_lesions(self.something, self.nothing).sentence() == "there is no lesion; 1 made up"
        assert match_lesions(self.nothing, self.something).sentence().startswith("0 of 1 lesions found, 0 made up")


@pytest.mark.parametrize(
    ("more", "match"),
    [({"least_iou": 1}, "below 1"), ({"least_iou": -0.1}, "below 1"), ({"least_size": 0}, "1 or more")],
)
def test_wrong_parameters_are_named(more, match) -> None:
    with pytest.raises(DataError, match=match):
        match_lesions(np.eye(3), np.eye(3), **more)


def test_thousands_of_specks_take_no_square_table() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.random((300, 300)) < 0.08 for _ in range(2))
    match = match_lesions(first, second)
    assert match.true > 3000 and match.predicted > 3000 and 0 < match.found < match.true
