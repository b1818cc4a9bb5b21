from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorscope.errors import ScanError
from tumorscope.imaging.histogram_partition import partition_histogram


def within_of(values: np.ndarray, counts: np.ndarray, starts: tuple[int, ...]) -> float:
    total = 0.0
    for begin, end in zip(starts, [*starts[1:], len(values)], strict=True):
        mean = np.average(values[begin:end], weights=counts[begin:end])
        total += float((counts[begin:end] * (values[begin:end] - mean) ** 2).sum())
    return total


def by_brute_force(values: np.ndarray, counts: np.ndarray, k: int) -> float:
    return min(within_of(values, counts, (0, *cuts)) for cuts in combinations(range(1, len(values)), k - 1))


def by_quadratic_dynamic_programming(values: np.ndarray, counts: np.ndarray, k: int) -> float:
    n = len(values)
    mass, moment, square = (np.concatenate([[0], np.cumsum(counts * values**p)]) for p in (0, 1, 2))
    i, j = np.triu_indices(n + 1, 1)
    cost = np.full((n + 1, n + 1), np.inf)
    cost[i, j] = square[j] - square[i] - (moment[j] - moment[i]) ** 2 / (mass[j] - mass[i])
    best = cost[0]
    for _ in range(k - 1):
        best = (best[:, None] + cost).min(axis=0)
    return float(best[n])


@st.composite
def histograms(draw: st.DrawFn, most: int) -> tuple[np.ndarray, np.ndarray, int]:
    values = np.array(sorted(draw(st.sets(st.integers(-300, 300), min_size=1, max_size=most))), float)
    counts = np.array(draw(st.lists(st.integers(1, 50), min_size=len(values), max_size=len(values))))
    return values, counts, draw(st.integers(1, min(len(values), 6)))


@settings(max_examples=150)
@given(histograms(9))
def test_no_partition_is_better(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    values, counts, k = case
    starts, within = partition_histogram(values, counts, k)
    assert starts[0] == 0 and len(starts) == k and (np.diff(starts) > 0).all()
    assert within == pytest.approx(within_of(values, counts, tuple(starts)), abs=1e-6)
    assert within == pytest.approx(by_brute_force(values, counts, k), abs=1e-6)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("k", [2, 3, 10, 20])
def test_as_good_as_looking_at_every_cut_of_a_full_histogram(seed: int, k: int) -> None:
    generator = np.random.default_rng(seed)
    number = int(generator.integers(60, 257))
    values = np.arange(number, dtype=float)
    counts = generator.integers(1, 2 + 10 ** int(generator.integers(0, 5)), number)
    _, within = partition_histogram(values, counts, k)
    assert within == pytest.approx(by_quadratic_dynamic_programming(values, counts, k), rel=1e-9)


def test_equal_optima_take_the_earliest_cut() -> None:
    assert partition_histogram(np.array([0, 1, 2]), np.ones(3), 2)[0].tolist() == [0, 1]


def test_values_far_from_zero_lose_no_digits() -> None:
    values, counts = np.array([0.0, 1, 5, 6, 7]), np.array([3, 1, 2, 2, 9])
    assert partition_histogram(values + 1e7, counts, 2)[1] == pytest.approx(partition_histogram(values, counts, 2)[1])


@pytest.mark.parametrize(
    ("values", "counts", "k"),
    [([0, 1], [1, 1], 3), ([0, 1], [1, 1], 0), ([1, 0], [1, 1], 1), ([0, 0], [1, 1], 1), ([0, 1], [1, 0], 1),
     ([0, 1], [1], 1), ([], [], 1)],
)  # fmt: skip
def test_wrong_input_is_refused(values: list[int], counts: list[int], k: int) -> None:
    with pytest.raises(ScanError, match="histogram"):
        partition_histogram(np.array(values), np.array(counts), k)
