"""The pointing game and the energy inside the mask: by hand, as laws, and on bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tumorscope.errors import DataError
from tumorscope.evaluation.localization import (
    Localization,
    Located,
    centre_map,
    energy_inside,
    locate,
    pointing,
)

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))


@st.composite
def maps_and_masks(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(SHAPES)
    values = draw(arrays(np.float32, shape, elements=st.floats(0, 1, width=32)))
    mask = draw(arrays(bool, shape))
    mask.flat[draw(st.integers(0, mask.size - 1))] = True
    return values, mask


# Map:      0 1 2      lesion:  . . #
#           4 3 0               . # #
GOLDEN = np.array([[0, 1, 2], [4, 3, 0]]), np.array([[0, 0, 1], [0, 1, 1]], bool)


def test_golden() -> None:
    values, mask = GOLDEN
    assert pointing(values, mask) == 0.0  # the 4 lies outside
    assert energy_inside(values, mask) == pytest.approx((2 + 3 + 0) / 10)
    assert pointing(np.minimum(values, 3), mask) == 0.5  # two maxima, one of them inside
    assert pointing(values, ~mask) == 1.0
    scored = locate(values, mask, np.ones((2, 3)))
    assert scored.coverage == 0.5
    # the middle of a 2 x 3 head lies between its rows: both pixels of the middle column are highest, one is inside
    assert scored.centre_pointing == 0.5


@given(maps_and_masks(), st.floats(0.1, 10))
def test_laws(pair: tuple[np.ndarray, np.ndarray], factor: float) -> None:
    values, mask = pair
    both = [pointing(values, mask), energy_inside(values, mask)]
    assert all(0 <= value <= 1 for value in both)
    flipped = [score(values[:, ::-1], mask[:, ::-1]) for score in (pointing, energy_inside)]
    assert flipped == pytest.approx(both)
    assert energy_inside(values * factor, mask) == pytest.approx(both[1], abs=1e-5)
    if values.any() and not mask.all():
        assert energy_inside(values, mask) + energy_inside(values, ~mask) == pytest.approx(1)
    even = np.full(mask.shape, factor)
    for score in (pointing, energy_inside):  # a map that says nothing gets what chance gets
        assert [score(even, mask), score(even * 0, mask)] == pytest.approx([mask.mean()] * 2)
        assert score(mask * factor, mask) == pytest.approx(1)


@given(SHAPES, st.integers(0, 2**32 - 1))
def test_the_centre_map_is_highest_in_the_middle_of_the_head(shape: tuple[int, int], seed: int) -> None:
    head = np.random.default_rng(seed).random(shape) < 0.5
    centre = centre_map(head)
    assert centre.shape == shape and centre.max() == 1 and centre.min() >= 0
    where = np.argwhere(head if head.any() else np.ones(shape, bool)).mean(axis=0)
    away = np.linalg.norm(np.argwhere(np.ones(shape)) - where, axis=1).reshape(shape)
    assert away[np.unravel_index(centre.argmax(), shape)] == pytest.approx(away.min())


def test_the_centre_map_falls_to_sixty_percent_at_half_the_radius() -> None:
    disc = np.hypot(*np.mgrid[-50:51, -50:51]) <= 40
    assert centre_map(disc)[50, 70] == pytest.approx(math.exp(-0.5), abs=0.01)


def test_means_with_intervals_by_group() -> None:
    good, bad = Located(1.0, 0.6, 0.1, 0.0, 0.2), Located(0.0, 0.2, 0.1, 0.0, 0.2)
    found = Localization.of([good, bad] * 8, [*range(16)], rounds=500)
    assert (found.scans, found.groups) == (16, 16)
    assert found.pointing.value == 0.5 and found.energy.value == pytest.approx(0.4)
    assert found.energy_gain.value == pytest.approx(0.2) and found.coverage == pytest.approx(0.1)
    assert found.pointing.low < 0.5 < found.pointing.high
    # scans of few patients tell less than those of many
    tied = Localization.of([good] * 8 + [bad] * 8, [n // 4 for n in range(16)], rounds=500)
    assert tied.pointing.high - tied.pointing.low > found.pointing.high - found.pointing.low
    alone = Localization.of([good, bad], ["a", "a"], rounds=50)
    assert not alone.energy.bounded and "too few groups" in alone.sentences()[0]
    missed = Localization.of([bad] * 10, rounds=50).pointing
    assert (missed.value, missed.low) == (0, 0) and missed.high == pytest.approx(0.278, abs=5e-4)  # 0 of 10, Wilson


@pytest.mark.parametrize(
    ("scored", "words"),
    [
        (Located(1.0, 0.9, 0.1, 0.0, 0.2), "knows more than where heads are"),
        (Located(0.0, 0.1, 0.1, 1.0, 0.2), "does worse than the blob"),
        (Located(0.0, 0.2, 0.1, 0.0, 0.2), "does not beat the blob"),
    ],
)
def test_sentences_say_what_beats_what(scored: Located, words: str) -> None:
    said = Localization.of([scored] * 5, rounds=50).sentences()
    assert all(words in sentence for sentence in said) and "10.0%" in said[0]


def test_bad_input_is_told() -> None:
    values, mask = GOLDEN
    with pytest.raises(DataError, match="one \\(H, W\\) grid"):
        pointing(values, mask[:1])
    for broken in (values - 1.0, np.where(mask, np.nan, values)):
        with pytest.raises(DataError, match="negative or no number"):
            energy_inside(broken, mask)
    for empty in (np.zeros((0, 3)), np.zeros(3)):
        with pytest.raises(DataError):
            pointing(empty, empty)
    with pytest.raises(DataError, match="pass one"):
        centre_map(np.zeros((2, 2, 2)))
    assert math.isnan(pointing(values, mask * False)) and math.isnan(energy_inside(values, mask * False))
    with pytest.raises(DataError, match="no map was scored"):
        Localization.of([])
    with pytest.raises(DataError, match="a lesion is empty"):
        Localization.of([locate(values, mask * False, mask)])
