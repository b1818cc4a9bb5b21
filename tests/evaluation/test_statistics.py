from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorscope.errors import DataError
from tumorscope.evaluation.classification import roc_auc
from tumorscope.evaluation.statistics import Draws, Interval, bootstrap, effective_size, share


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=30), st.integers(0, 1000))
@settings(deadline=None, max_examples=40)
def test_interval_of_a_mean_contains_it_and_stays_in_the_data(values, seed):
    interval = bootstrap(np.mean, values, rounds=400, seed=seed)
    slack = 1e-9
    assert interval.value == pytest.approx(np.mean(values))
    assert min(values) - slack <= interval.low <= interval.value + slack
    assert interval.value - slack <= interval.high <= max(values) + slack


def test_agrees_with_the_normal_interval():
    values = np.random.default_rng(3).normal(5, 2, size=400)
    interval = bootstrap(np.mean, values, rounds=4000)
    half = 1.96 * values.std() / np.sqrt(400)
    assert interval.low == pytest.approx(interval.value - half, abs=0.1 * half)
    assert interval.high == pytest.approx(interval.value + half, abs=0.1 * half)


def test_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    samples = [bootstrap(np.mean, rng.normal(size=60), rounds=300, seed=k) for k in range(300)]
    hits = sum(s.low <= 0 <= s.high for s in samples)
    assert 0.89 <= hits / 300 <= 0.98


def test_groups_are_drawn_whole():
    groups = np.array([4, 1, 4, 1, 1, 9])
    sizes = {4: 2, 1: 3, 9: 1}

    def whole(keys: np.ndarray) -> float:
        for key, size in sizes.items():
            assert (keys == key).sum() % size == 0
        assert sum((keys == key).sum() // size for key, size in sizes.items()) == 3
        return float(len(keys))

    bootstrap(whole, groups, groups=groups, rounds=200)


def test_rows_of_all_arrays_stay_together():
    first = np.arange(30)
    second = np.stack([first * 2, first * 3], axis=1)
    groups = first // 4

    def check(a: np.ndarray, b: np.ndarray, g: np.ndarray) -> float:
        assert np.array_equal(b, np.stack([a * 2, a * 3], axis=1))
        assert np.array_equal(a // 4, g)
        return float(a.mean())

    bootstrap(check, first, second, groups, groups=groups, rounds=50)


def test_copies_within_groups_do_not_narrow_the_interval():
    values = np.random.default_rng(1).normal(size=40)
    alone = bootstrap(np.mean, values, rounds=2000)
    copied = bootstrap(np.mean, np.repeat(values, 10), groups=np.repeat(np.arange(40), 10), rounds=2000)
    fooled = bootstrap(np.mean, np.repeat(values, 10), rounds=2000)
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=0.1)
    assert fooled.high - fooled.low < 0.5 * (alone.high - alone.low)


def test_groups_may_have_names_and_single_rows_equal_no_groups():
    values = np.random.default_rng(2).normal(size=25)
    names = np.array([f"patient {k:02d}" for k in range(25)])
    assert bootstrap(np.mean, values, groups=names, rounds=200) == bootstrap(np.mean, values, rounds=200)


def test_seed_decides():
    values = np.random.default_rng(2).normal(size=25)
    assert bootstrap(np.mean, values, seed=1) == bootstrap(np.mean, values, seed=1)
    assert bootstrap(np.mean, values, seed=1) != bootstrap(np.mean, values, seed=2)


def test_level_widens():
    values = np.random.default_rng(2).normal(size=25)
    narrow, wide = bootstrap(np.mean, values, level=0.5), bootstrap(np.mean, values, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high
    assert wide.level == 0.99


class TestCannotTell:
    def test_one_group(self):
        interval = bootstrap(np.mean, [1.0, 2.0], groups=["a", "a"])
        assert interval.value == 1.5
        assert math.isnan(interval.low)
        assert math.isnan(interval.high)

    def test_metric_without_a_value(self):
        interval = bootstrap(roc_auc, [1, 1, 1], [0.1, 0.2, 0.3])
        assert all(math.isnan(v) for v in (interval.value, interval.low, interval.high))

    def test_metric_nan_in_most_rounds(self):
        interval = bootstrap(lambda v: v.sum() if v.sum() == 6 else math.nan, [1, 2, 3], rounds=300)
        assert interval.value == 6
        assert math.isnan(interval.low)

    def test_metric_nan_in_some_rounds_is_left_out(self):
        interval = bootstrap(roc_auc, [0, 0, 1, 1], [0.0, 1.0, 2.0, 3.0], rounds=300)
        assert interval == Interval(1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("data", "options", "finding"),
    [
        ((), {}, "no rows"),
        (([],), {}, "no rows"),
        ((5.0,), {}, "no rows"),
        (([1, 2], [1]), {}, "rows were given together"),
        (([1, 2],), {"groups": [1]}, "rows were given together"),
        (([1, 2],), {"rounds": 0}, "rounds"),
        (([1, 2],), {"level": 1.0}, "level"),
    ],
)
def test_wrong_input_is_named(data, options, finding):
    with pytest.raises(DataError, match=finding):
        bootstrap(np.mean, *data, **options)


class TestDraws:
    @given(st.lists(st.integers(0, 6), min_size=1, max_size=20), st.integers(1, 12), st.integers(0, 99))
    @settings(deadline=None, max_examples=60)
    def test_whole_groups_as_many_as_there_are(self, groups, rounds, seed):
        draws = Draws(groups, rounds, seed)
        weights = np.concatenate(list(draws.weights()))
        assert weights.shape == (rounds, len(groups))
        for key in set(groups):
            own = weights[:, np.array(groups) == key]
            assert (own == own[:, :1]).all()
        _, first = np.unique(groups, return_index=True)
        assert (weights[:, first].sum(axis=1) == draws.count).all()

    def test_wrong_input_is_named(self):
        with pytest.raises(DataError, match="no list of rows"):
            Draws([])
        with pytest.raises(DataError, match="rounds"):
            Draws([1], 0)


class TestShare:
    def test_values_of_statsmodels(self):
        # statsmodels 0.15: proportion_confint(8, 10, method="wilson")
        found = share([1] * 8 + [0] * 2)
        assert (found.low, found.high) == pytest.approx((0.49016247153664183, 0.9433178485456247))

    def test_no_rows_and_a_wrong_level(self):
        assert share([]).reason == "no such scans" and math.isnan(share([]).value)
        with pytest.raises(DataError, match="level"):
            share([1], level=95)
        with pytest.raises(DataError, match="groups do not match"):
            share([1, 0], [1])

    @given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9)), min_size=1, max_size=60))
    @settings(deadline=None, max_examples=120)
    def test_laws(self, pairs):
        right, groups = np.array(pairs).T
        alone, tied = share(right), share(right, groups)
        assert alone.value == tied.value == right.mean()
        assert 0 <= tied.low <= tied.value <= tied.high <= 1
        assert tied.low <= alone.low + 1e-12 and alone.high <= tied.high + 1e-12  # groups never narrow it
        assert 1 <= effective_size(right, groups) <= len(right)
        copies = share(np.repeat(right, 4), np.repeat(np.arange(len(right)), 4))
        once = share(right, np.arange(len(right)))
        assert (copies.low, copies.high) == pytest.approx((once.low, once.high), abs=1.5 / len(right))

    def test_covers_the_truth_about_as_often_as_it_says(self):
        rng = np.random.default_rng(0)
        groups = np.repeat(np.arange(40), 5)
        hits = naive = 0
        for _ in range(400):
            chance = rng.beta(4, 1, size=40)  # patients differ: their mean is 0.8
            right = rng.uniform(size=200) < chance[groups]
            span, plain = share(right, groups), share(right)
            hits += span.low <= 0.8 <= span.high
            naive += plain.low <= 0.8 <= plain.high
        assert 0.92 <= hits / 400 <= 0.98
        assert naive < hits


def test_a_reason_stands_where_a_bound_is_missing():
    assert bootstrap(np.mean, [1.0, 2.0], groups=[0, 0]).reason == "one group only: nothing to draw from"
    scarce = bootstrap(lambda rows: float(len(set(rows)) == 3) or math.nan, [1.0, 2.0, 3.0], rounds=200)
    assert scarce.value == 1 and "half of the resamples" in scarce.reason  # 2 of 9 resamples hold all three
    assert bootstrap(np.mean, [1.0, 2.0, 4.0]).reason == ""
