import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorscope.annotation.prompts import Box, Point
from tumorscope.annotation.simulation import jittered, next_click
from tumorscope.errors import DataError

seeds = st.integers(0, 2**32 - 1)


def test_the_first_click_is_the_middle_and_the_next_where_most_is_wrong() -> None:
    truth = np.zeros((40, 40), bool)
    truth[5:16, 5:16] = True
    assert next_click(truth, np.zeros_like(truth)) == Point(10, 10, True)
    guess = truth.copy()
    guess[20:35, 20:35] = True
    assert next_click(truth, guess) == Point(27, 27, False)
    assert next_click(truth, truth) is None


@given(seeds, st.booleans())
def test_a_click_always_lies_in_what_is_wrong_and_says_how(seed: int, hand: bool) -> None:
    rng = np.random.default_rng(seed)
    truth, guess = rng.random((2, 13, 9)) < 0.5
    point = next_click(truth, guess, rng if hand else None)
    assert point is not None
    y, x = int(point.y), int(point.x)
    assert truth[y, x] != guess[y, x]
    assert point.positive == truth[y, x]


def test_a_hand_does_not_always_hit_the_middle() -> None:
    truth = np.zeros((60, 60), bool)
    truth[10:50, 10:50] = True
    rng = np.random.default_rng(0)
    places = {(p.y, p.x) for p in (next_click(truth, np.zeros_like(truth), rng) for _ in range(20)) if p}
    assert len(places) > 10
    assert all(19 <= y <= 40 and 19 <= x <= 40 for y, x in places)  # at least half as deep as the middle


def test_masks_of_two_sizes_are_refused() -> None:
    with pytest.raises(DataError, match="give one of its size"):
        next_click(np.ones((3, 3), bool), np.ones((3, 4), bool))


@given(seeds, st.floats(0, 0.5))
def test_a_jittered_box_stays_inside_and_near(seed: int, share: float) -> None:
    box = Box(10, 20, 29, 59)
    off = jittered(box, share, np.random.default_rng(seed), (64, 64))
    assert 0 <= off.top <= off.bottom <= 63 and 0 <= off.left <= off.right <= 63
    assert abs(off.top - box.top) <= share * 20 + 1e-9 and abs(off.left - box.left) <= share * 40 + 1e-9
