"""Masks without prompts: the grid, what is kept, what is one and the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tumorscope.annotation.automatic import automatic_masks, grid, stability
from tumorscope.annotation.engine import Candidate, Embedded, open_engine
from tumorscope.annotation.prompts import Prompts
from tumorscope.errors import DataError

DISCS = ((16, 16, 9), (48, 20, 6), (44, 50, 11))  # row, column, radius
SHAPE = (64, 64)


@dataclass
class Knows:
    """An engine that answers a click with the disc under it, and with a vague background elsewhere."""

    name: str = "knows"
    version: str = "1"
    steep: float = 30.0
    asked: int = 0

    def embed(self, pixels: NDArray) -> Embedded:
        return Embedded(self.name, SHAPE, {})

    def segment(self, embedded: Embedded, prompts: Prompts, previous: Candidate | None = None) -> tuple[Candidate, ...]:
        self.asked += 1
        point = prompts.points[0]
        y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
        for number, (row, column, radius) in enumerate(DISCS):
            if np.hypot(point.y - row, point.x - column) <= radius:
                odds = self.steep * (radius - np.hypot(y - row, x - column))
                return (Candidate(odds > 0, 0.95 - 0.01 * number, odds.astype(np.float32)),)
        odds = 0.05 * (y - 32.0)
        return (Candidate(odds > 0, 0.3, odds.astype(np.float32)),)


def test_each_thing_is_found_once_the_surest_first() -> None:
    engine = Knows()
    seen = []
    found = automatic_masks(engine, engine.embed(np.eye(64)), side=12, progress=lambda done, total: seen.append(done))
    y, x = np.mgrid[:64, :64]
    assert [one.mask.tolist() for one in found] == [(np.hypot(y - r, x - c) < s).tolist() for r, c, s in DISCS]
    assert engine.asked == 144 == len(seen)
    assert all(one.mask[round(one.point.y), round(one.point.x)] for one in found)


def test_what_hangs_on_the_threshold_is_dropped() -> None:
    engine = Knows(steep=0.2)
    embedded = engine.embed(np.eye(64))
    assert automatic_masks(engine, embedded, side=12) == []
    assert len(automatic_masks(engine, embedded, side=12, least_stability=0.0)) == 3


def test_points_outside_a_region_are_not_asked() -> None:
    engine = Knows()
    inside = np.zeros(SHAPE, bool)
    inside[:32] = True
    assert len(automatic_masks(engine, engine.embed(np.eye(64)), side=12, inside=inside)) == 1
    assert engine.asked == 72


def test_small_masks_can_be_left_out() -> None:
    engine = Knows()
    assert len(automatic_masks(engine, engine.embed(np.eye(64)), side=12, least_size=150)) == 2


def test_an_engine_that_predicts_no_quality_is_refused() -> None:
    engine = open_engine("grabcut")
    with pytest.raises(DataError, match="predicts no quality"):
        automatic_masks(engine, engine.embed(np.random.default_rng(0).normal(size=(32, 32))), side=1)


@pytest.mark.parametrize("change", [{"side": 0}, {"least_quality": 2}, {"inside": np.ones((3, 3), bool)}])
def test_settings_out_of_their_range(change: dict) -> None:
    engine = Knows()
    with pytest.raises(DataError, match="automatic masks"):
        automatic_masks(engine, engine.embed(np.eye(64)), **change)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9))
def test_the_grid_lies_inside_and_is_symmetric(height: int, width: int, side: int) -> None:
    points = np.array([(one.y, one.x) for one in grid((height, width), side)])
    assert len(points) == side**2
    assert (points >= 0).all() and (points <= np.array([height - 1, width - 1])).all()
    assert np.allclose(points + points[::-1], [height - 1, width - 1])


@given(st.floats(0.01, 5))
def test_stability_falls_with_the_shift(shift: float) -> None:
    odds = np.random.default_rng(1).normal(scale=4, size=(9, 9))
    first, second = stability(odds, shift), stability(odds, 2 * shift)
    assert first is not None and second is not None and 0 <= second <= first <= 1


def test_stability_of_probabilities_is_that_of_their_log_odds() -> None:
    odds = np.random.default_rng(1).normal(scale=4, size=(9, 9))
    assert stability(1 / (1 + np.exp(-odds))) == stability(odds)
    assert stability(np.full((2, 2), -9.0)) == 0 and stability(None) is None
