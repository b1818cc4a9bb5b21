"""Paired tests of masks: against NumPy, by group, and what is refused."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorscope.errors import DataError
from tumorscope.evaluation.mask_pairs import compare_masks
from tumorscope.evaluation.statistics import bootstrap


def scores(dice: np.ndarray, groups: list[int] | None = None) -> pl.DataFrame:
    count = len(dice)
    rows = {"id": [f"s{number}" for number in range(count)], "problem": [None] * count, "tumor": [True] * count}
    return pl.DataFrame(rows | {"dice": dice, "group": groups or list(range(count))})


def test_the_interval_is_the_bootstraps_of_the_paired_difference() -> None:
    rng = np.random.default_rng(0)
    one, groups = rng.uniform(size=40), [number // 4 for number in range(40)]
    two = one - rng.normal(0.05, 0.1, 40)
    pair = compare_masks({"a": scores(one, groups), "b": scores(two, groups)}, rounds=500).pairs[0]
    wanted = bootstrap(np.mean, one - two, groups=groups, rounds=500)
    found = pair.difference.interval
    assert (found.value, found.low, found.high) == pytest.approx((wanted.value, wanted.low, wanted.high))
    assert (pair.scans, pair.groups) == (40, 10)


@settings(max_examples=10)
@given(st.integers(0, 99))
def test_order_turns_the_sign_and_nothing_else(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tables = {name: scores(rng.uniform(size=12)) for name in "ab"}
    one = compare_masks(tables, rounds=100).pairs[0]
    other = compare_masks({"b": tables["b"], "a": tables["a"]}, rounds=100).pairs[0]
    assert one.difference.interval.value == pytest.approx(-other.difference.interval.value)
    assert one.difference.p == pytest.approx(other.difference.p)


def test_scans_are_matched_by_id_and_repeats_count_once() -> None:
    one = scores(np.array([0.9, 0.5, 0.7]))
    repeated = pl.concat([one, one.with_columns(dice=pl.col("dice") - 0.2)])[::-1]
    pair = compare_masks({"a": repeated, "b": one[1:]}).pairs[0]
    assert pair.scans == 2 and pair.difference.interval.value == pytest.approx(-0.1)


def test_healthy_scans_and_scans_with_a_problem_do_not_count() -> None:
    one = scores(np.array([0.9, 0.5, 0.7, 0.2]))
    part = one.with_columns(
        tumor=pl.Series([True, True, True, False]), problem=pl.Series([None, None, "unreadable", None])
    )
    assert compare_masks({"a": part, "b": one}).pairs[0].scans == 2


def test_p_is_corrected_for_the_number_of_pairs() -> None:
    rng = np.random.default_rng(0)
    tables = {name: scores(rng.normal(0.5 + 0.02 * place, 0.05, 30)) for place, name in enumerate("abc")}
    tests = compare_masks(tables)
    assert len(tests.pairs) == 3 and all(one.corrected >= one.difference.p for one in tests.pairs)
    assert len(compare_masks(tables, against="a").pairs) == 2
    assert len(tests.sentences()) == tests.table().height == 3


def test_what_cannot_be_compared() -> None:
    one = scores(np.array([0.9, 0.5]))
    for tables, words in (
        ({"a": one}, "two or more"),
        ({"a": one, "b": one.with_columns(id=pl.lit("x"))}, "no scan of it"),
        ({"a": one, "b": one.with_columns(tumor=pl.lit(False))}, "no scored scan"),
    ):
        with pytest.raises(DataError, match=words):
            compare_masks(tables)
    with pytest.raises(DataError, match="did you mean"):
        compare_masks({"alpha": one, "beta": one}, against="alpa")
