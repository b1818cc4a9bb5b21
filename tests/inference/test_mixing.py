"""The schedule: what is kept at every time, and the reference's ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorscope.errors import RecipeError
from tumorscope.inference.mixing import Schedule


@given(st.floats(0, 1), st.floats(0.01, 0.5), st.floats(0.51, 1))
def test_squares_of_the_rates_sum_to_one(time: float, smallest: float, largest: float) -> None:
    signal, noise = Schedule(largest, smallest).rates(time)
    assert signal**2 + noise**2 == pytest.approx(1, abs=1e-12)


def test_ends_and_middle_of_the_reference() -> None:
    signal, _ = Schedule().rates([0, 0.5, 1])
    middle = np.cos((np.arccos(0.95) + np.arccos(0.02)) / 2)
    np.testing.assert_allclose(signal, [0.95, middle, 0.02])


def test_noise_grows_with_time() -> None:
    _, noise = Schedule().rates(np.linspace(0, 1, 50))
    assert (np.diff(noise) > 0).all()


@pytest.mark.parametrize("ends", [(0.02, 0.95), (0.5, 0.5), (1.1, 0.5), (0.5, 0.0)])
def test_ends_out_of_order_are_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(RecipeError, match="signal rates"):
        Schedule(*ends)
