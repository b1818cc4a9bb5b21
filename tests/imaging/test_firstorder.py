from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from tumorscope.errors import ScanError
from tumorscope.imaging.firstorder import first_order

shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=15)


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), shapes)
def test_moments_and_percentiles_are_those_of_scipy_and_numpy(seed: int, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(seed).normal(5, 2, shape).astype(np.float32)
    found = first_order(image)
    values = image.astype(np.float64).ravel()
    if values.size > 1:
        assert found["Skewness"] == pytest.approx(stats.skew(values), abs=1e-6)
        assert found["Kurtosis"] == pytest.approx(stats.kurtosis(values, fisher=False), rel=1e-6)
    assert found["10Percentile"] == pytest.approx(np.percentile(values, 10), rel=1e-5)
    assert found["RootMeanSquared"] ** 2 == pytest.approx(found["Mean"] ** 2 + found["Variance"], rel=1e-6)


@settings(max_examples=40)
@given(st.integers(0, 999), st.floats(0.5, 20), st.floats(-50, 50))
def test_units_pass_through(seed: int, factor: float, shift: float) -> None:
    image = np.random.default_rng(seed).integers(0, 100, (7, 9)).astype(float)
    plain, moved = first_order(image, bins=5), first_order(image * factor + shift, bins=5)
    for name in ("Mean", "Median", "Minimum", "Maximum"):
        assert moved[name] == pytest.approx(plain[name] * factor + shift, rel=1e-4, abs=1e-3)
    for name in ("Range", "InterquartileRange", "MeanAbsoluteDeviation"):
        assert moved[name] == pytest.approx(plain[name] * factor, rel=1e-4, abs=1e-3)
    assert moved["Skewness"] == pytest.approx(plain["Skewness"], abs=1e-3)


@pytest.mark.parametrize("levels", [1, 2, 8, 16])
def test_entropy_of_equally_many_of_each_level(levels: int) -> None:
    image = np.tile(np.arange(levels), (4, 2))
    assert first_order(image, bins=levels)["Entropy"] == pytest.approx(math.log2(levels))
    assert first_order(image, bins=levels)["Uniformity"] == pytest.approx(1 / levels)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (4, 4)])
def test_a_constant_region_has_no_spread(dtype: type, shape: tuple[int, int]) -> None:
    found = first_order(np.ones(shape, dtype))
    assert found["Mean"] == found["Energy"] / math.prod(shape) == 1
    assert found["Variance"] == found["Skewness"] == found["Kurtosis"] == found["Entropy"] == found["Range"] == 0
    assert found["Uniformity"] == 1


def test_only_what_is_inside_counts() -> None:
    image = np.array([[1.0, 2, 1e6], [3, 4, -1e6]])
    where = np.array([[True, True, False], [True, True, False]])
    assert first_order(image, where) == first_order(image[:, :2])
    with pytest.raises(ScanError, match="marks no pixel"):
        first_order(image, np.zeros((2, 3), bool))
