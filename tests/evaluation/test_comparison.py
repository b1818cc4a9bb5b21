from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from tumorscope.errors import DataError
from tumorscope.evaluation.classification import roc_auc
from tumorscope.evaluation.comparison import (
    auc_interval,
    bootstrap_difference,
    delong,
    delong_covariance,
    holm,
    mcnemar,
)
from tumorscope.evaluation.scoring import BinaryScorer, distribution
from tumorscope.evaluation.statistics import Draws

# 43 patients with ovarian cancer: albumin, total protein, K-G score, outcome (DeLong and others 1988, as printed in the
# SAS/STAT User's Guide, "Comparing Receiver Operating Characteristic Curves"; the score there is 10 - K-G)
OVARIAN = """
3.0 5.8 10 0 3.2 6.3 5 1 3.9 6.8 3 1 2.8 4.8 6 0 3.2 5.8 3 1 0.9 4.0 5 0 2.5 5.7 8 0 1.6 5.6 5 1 3.8 5.7 5 1
3.7 6.7 6 1 3.2 5.4 4 1 3.8 6.6 6 1 4.1 6.6 5 1 3.6 5.7 5 1 4.3 7.0 4 1 3.6 6.7 4 0 2.3 4.4 6 1 4.2 7.6 4 0
4.0 6.6 6 0 3.5 5.8 6 1 3.8 6.8 7 1 3.0 4.7 8 0 4.5 7.4 5 1 3.7 7.4 5 1 3.1 6.6 6 1 4.1 8.2 6 1 4.3 7.0 5 1
4.3 6.5 4 1 3.2 5.1 5 1 2.6 4.7 6 1 3.3 6.8 6 0 1.7 4.0 7 0 3.7 6.1 5 1 3.3 6.3 7 1 4.2 7.7 6 1 3.5 6.2 5 1
2.9 5.7 9 0 2.1 4.8 7 1 2.8 6.2 8 0 4.0 7.0 7 1 3.3 5.7 6 1 3.7 6.9 5 1 3.6 6.6 5 1
"""


@pytest.fixture
def ovarian():
    table = np.array(OVARIAN.split(), float).reshape(-1, 4)
    return table[:, 3], {"albumin": table[:, 0], "protein": table[:, 1], "score": 10 - table[:, 2]}


class TestDelong:
    def test_published_areas_and_errors(self, ovarian):
        labels, scores = ovarian
        auc, covariance = delong_covariance(labels, [scores["albumin"], scores["score"], scores["protein"]])
        np.testing.assert_allclose(auc, [0.7366, 0.7258, 0.6478], atol=5e-5)
        np.testing.assert_allclose(np.sqrt(np.diag(covariance)), [0.0927, 0.1028, 0.1000], atol=5e-5)
        span = auc_interval(labels, scores["albumin"])
        assert (span.low, span.high) == pytest.approx((0.5549, 0.9182), abs=5e-5)

    @pytest.mark.parametrize(
        ("first", "value", "low", "high", "p"),
        [("albumin", 0.0108, -0.1761, 0.1976, 0.9102), ("protein", -0.0780, -0.2830, 0.1271, 0.4561)],
    )
    def test_published_differences(self, ovarian, first, value, low, high, p):
        labels, scores = ovarian
        found = delong(labels, scores[first], scores["score"])
        span = found.interval
        assert (span.value, span.low, span.high, found.p) == pytest.approx((value, low, high, p), abs=5e-5)

    def test_published_test_of_all_three(self, ovarian):
        labels, scores = ovarian
        auc, covariance = delong_covariance(labels, [scores["albumin"], scores["score"], scores["protein"]])
        contrast = np.array([[1, -1, 0], [0, -1, 1]])
        gap = contrast @ auc
        assert gap @ np.linalg.solve(contrast @ covariance @ contrast.T, gap) == pytest.approx(2.5340, abs=5e-5)

    def test_by_the_definition(self):
        # structural components from every pair, and their covariance, as the paper writes them
        rng = np.random.default_rng(5)
        labels = np.array([0] * 7 + [1] * 6)
        scores = rng.integers(0, 5, size=(2, 13)).astype(float)
        wins = [np.sign(row[labels == 1][:, None] - row[labels == 0][None]) / 2 + 0.5 for row in scores]
        expected = np.cov([win.mean(axis=1) for win in wins]) / 6 + np.cov([win.mean(axis=0) for win in wins]) / 7
        auc, covariance = delong_covariance(labels, scores)
        np.testing.assert_allclose(covariance, expected)
        assert auc.tolist() == pytest.approx([roc_auc(labels, row) for row in scores])

    @given(st.integers(0, 1000))
    @settings(deadline=None, max_examples=40)
    def test_groups_of_one_scan_are_delong_and_copies_add_nothing(self, seed):
        rng = np.random.default_rng(seed)
        labels, scores = rng.permutation([0] * 8 + [1] * 9), rng.integers(0, 9, (2, 17)).astype(float)
        auc, plain = delong_covariance(labels, scores)
        np.testing.assert_allclose(delong_covariance(labels, scores, np.arange(17))[1], plain, atol=1e-12)
        copied = np.tile(labels, 3), np.tile(scores, 3), np.tile(np.arange(17), 3)
        again, clustered = delong_covariance(*copied)
        np.testing.assert_allclose(again, auc)
        np.testing.assert_allclose(clustered, plain, atol=1e-12)

    def test_the_clustered_error_is_the_bootstraps(self):
        rng = np.random.default_rng(2)
        patient = np.repeat(np.arange(150), 4)
        labels = rng.uniform(size=600) < 0.5  # both classes within a patient
        scores = rng.normal(size=600) + rng.normal(size=150)[patient] + labels
        draws = Draws(patient, 600)
        found = distribution(BinaryScorer(labels, scores, None, probabilities=False), draws)[:, 0]
        _, covariance = delong_covariance(labels, scores, patient)
        assert math.sqrt(covariance[0, 0]) == pytest.approx(found.std(), rel=0.1)
        shared = np.repeat(rng.uniform(size=150) < 0.5, 4)
        scores = rng.normal(size=600) * 0.3 + rng.normal(size=150)[patient] + shared
        _, naive = delong_covariance(shared, scores)
        _, covariance = delong_covariance(shared, scores, patient)
        assert covariance[0, 0] > 2.5 * naive[0, 0]  # four alike scans are hardly more than one

    @given(st.integers(0, 500))
    @settings(deadline=None, max_examples=40)
    def test_order_is_all_that_counts_and_turning_round_changes_sign(self, seed):
        rng = np.random.default_rng(seed)
        labels, first, second = rng.permutation([0] * 6 + [1] * 6), *rng.normal(size=(2, 12))
        found = delong(labels, first, second)
        assert delong(labels, np.exp(first), second).p == pytest.approx(found.p, nan_ok=True)
        turned = delong(labels, second, first)
        assert turned.interval.value == -found.interval.value
        assert turned.p == pytest.approx(found.p, nan_ok=True)

    def test_what_cannot_be_told_says_why(self):
        assert auc_interval([1, 1], [0.1, 0.2]).reason == "one class only"
        assert "no variance" in auc_interval([0, 0, 1, 1], [1, 2, 3, 4]).reason
        assert "fewer than two groups" in auc_interval([0, 0, 1], [1, 2, 3]).reason
        assert "one class only" in delong([1, 1], [1, 2], [2, 1]).sentence()
        same = delong([0, 0, 1, 1], [1, 2, 3, 4], [1, 2, 3, 4])
        assert same.p == 1 and same.interval.value == 0
        apart = delong([0, 0, 1, 1], [1, 2, 3, 4], [4, 3, 2, 1])
        assert math.isnan(apart.p) and apart.interval.value == 1

    def test_wrong_input_is_named(self):
        with pytest.raises(DataError, match="do not match"):
            delong_covariance([0, 1], [0.1, 0.2, 0.3])
        with pytest.raises(DataError, match="groups do not match"):
            delong_covariance([0, 1], [0.1, 0.2], [1])


class TestMcNemar:
    @pytest.mark.parametrize(("b", "c"), [(6, 1), (40, 21), (3, 3), (0, 5), (0, 1)])
    def test_equals_the_binomial_test(self, b, c):
        one = [True] * b + [False] * c + [True] * 4
        two = [False] * b + [True] * c + [True] * 4
        found = mcnemar(one, two)
        assert (found.first_only, found.second_only) == (b, c)
        assert found.p == pytest.approx(stats.binomtest(b, b + c, 0.5).pvalue)
        assert found.mid_p <= found.p
        turned = mcnemar(two, one)
        assert (turned.p, turned.mid_p) == (found.p, found.mid_p)

    def test_values_of_statsmodels(self):
        # statsmodels 0.15: mcnemar([[10, 6], [1, 5]], exact=True), mcnemar([[0, 40], [21, 0]], exact=True)
        assert mcnemar([1] * 6 + [0], [0] * 6 + [1]).p == pytest.approx(0.125)
        assert mcnemar([1] * 40 + [0] * 21, [0] * 40 + [1] * 21).p == pytest.approx(0.0204147137996349)

    def test_mid_p_by_hand(self):
        # 1 of 7: 2 * (P(0) + P(1) / 2) = 2 * (1 + 3.5) / 128
        assert mcnemar([1] * 6 + [0], [0] * 6 + [1]).mid_p == pytest.approx(9 / 128)

    def test_no_disagreement_is_no_difference(self):
        found = mcnemar([1, 0], [1, 0])
        assert found.p == found.mid_p == 1 and "not more than chance" in found.sentence()

    def test_wrong_input_is_named(self):
        with pytest.raises(DataError, match="no pairs"):
            mcnemar([1, 0], [1])
        with pytest.raises(DataError, match="no rows"):
            mcnemar([], [])


class TestHolm:
    def test_values_of_statsmodels(self):
        # statsmodels 0.15: multipletests([.01, .04, .03, .005, .5], method="holm")
        assert holm([0.01, 0.04, 0.03, 0.005, 0.5]).tolist() == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.5])

    @given(st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=12))
    @settings(deadline=None, max_examples=80)
    def test_laws(self, values):
        found = holm(values)
        given_values = np.array(values, float)
        known = ~np.isnan(given_values)
        assert np.array_equal(np.isnan(found), ~known)
        tests = int(known.sum())
        assert (found[known] >= given_values[known]).all()
        assert (found[known] <= np.minimum(1, tests * given_values[known]) + 1e-15).all()
        order = np.argsort(given_values[known], kind="stable")
        assert (np.diff(found[known][order]) >= 0).all()


def test_bootstrap_difference_agrees_with_delong():
    rng = np.random.default_rng(4)
    labels = np.arange(300) % 2
    first, second = rng.normal(size=300) + labels, rng.normal(size=300) + 0.4 * labels
    draws = Draws(np.arange(300), 1500)
    resampled = [distribution(BinaryScorer(labels, s, None, probabilities=False), draws)[:, 0] for s in (first, second)]
    value = roc_auc(labels, first) - roc_auc(labels, second)
    found, expected = bootstrap_difference(*resampled, value, draws), delong(labels, first, second)
    assert found.interval.low == pytest.approx(expected.interval.low, abs=0.012)
    assert found.interval.high == pytest.approx(expected.interval.high, abs=0.012)
    assert found.p < 0.05 and expected.p < 0.05


def test_bootstrap_p_by_hand():
    draws = Draws(range(9), 9)
    apart = np.array([-1.0, 1, 2, 3, 4, 5, 6, 7, 8])
    assert bootstrap_difference(apart, np.zeros(9), 4, draws).p == pytest.approx(2 * 2 / 10)
    ahead = bootstrap_difference(apart + 20, np.zeros(9), 24, draws)  # none on the other side: the normal one
    assert ahead.p == pytest.approx(2 * stats.norm.sf(24 / apart.std()))
    assert bootstrap_difference(np.ones(9), np.zeros(9), 1, draws).p == pytest.approx(0.2)  # no spread to go by


def test_without_rounds_to_go_by_there_is_no_p():
    found = bootstrap_difference(np.full(5, np.nan), np.zeros(5), 0.1, Draws([0, 1], 5))
    assert math.isnan(found.p) and "half of the resamples" in found.interval.reason
    assert "cannot be told" in found.sentence()
