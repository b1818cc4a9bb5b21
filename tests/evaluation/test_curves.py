from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from tumorscope.errors import DataError
from tumorscope.evaluation.curves import risk_coverage, roc_curve

rows = st.lists(st.tuples(st.integers(0, 1), st.integers(-4, 4)), min_size=1, max_size=40)


class TestRoc:
    @given(rows)
    @settings(deadline=None, max_examples=50)
    def test_equals_scikit_learn(self, pairs):
        labels, scores = np.array(pairs).T
        curve = roc_curve(labels, scores)
        if 0 < labels.sum() < len(labels):
            fpr, tpr, thresholds = metrics.roc_curve(labels, scores, drop_intermediate=False)
            np.testing.assert_allclose(curve.sensitivity, tpr)
            np.testing.assert_allclose(curve.specificity, 1 - fpr)
            np.testing.assert_array_equal(curve.thresholds, thresholds)
            assert metrics.auc(1 - curve.specificity, curve.sensitivity) == pytest.approx(
                metrics.roc_auc_score(labels, scores)
            )
        else:
            assert math.isnan(curve.sensitivity_at(0.9)) and math.isnan(curve.specificity_at(0.9))
            assert "Only one class" in curve.sentence()

    def test_counted_by_hand(self):
        # thresholds 4, 3, 2, 1: found 1/2, 1/2, 1, 1; false alarms 0, 1/2, 1/2, 1
        curve = roc_curve([1, 0, 1, 0], [4, 3, 2, 1])
        assert curve.sensitivity_at(1.0) == 0.5 and curve.sensitivity_at(0.5) == 1.0
        assert curve.specificity_at(1.0) == 0.5 and curve.specificity_at(0.5) == 1.0
        assert curve.precision[1:].tolist() == [1, 0.5, pytest.approx(2 / 3), 0.5]

    @given(rows, st.floats(0.01, 1))
    @settings(deadline=None, max_examples=80)
    def test_what_is_promised_is_reached(self, pairs, least):
        labels, scores = np.array(pairs).T
        curve = roc_curve(labels, scores)
        if not 0 < labels.sum() < len(labels):
            return
        found = curve.sensitivity_at(least)
        reached = [(s, p) for s, p in zip(curve.sensitivity, curve.specificity, strict=True) if p >= least - 1e-9]
        assert found == max(s for s, _ in reached)

    def test_an_impossible_wish_is_named(self):
        with pytest.raises(DataError, match="specificity of 0"):
            roc_curve([0, 1], [1, 2]).sensitivity_at(0)


class TestRiskCoverage:
    def test_counted_by_hand(self):
        curve = risk_coverage([1, 1, 0, 1], [0.9, 0.8, 0.7, 0.6])
        assert curve.risk.tolist() == [0, 0, pytest.approx(1 / 3), 0.25]
        assert curve.aurc == pytest.approx((1 / 3 + 1 / 4) / 4)
        assert curve.least == pytest.approx(0.25 / 4)  # the wrong one last
        assert curve.risk_at(0.5) == 0 and curve.risk_at(0.51) == pytest.approx(1 / 3) and curve.risk_at(1) == 0.25

    def test_ties_are_the_mean_over_their_orders(self):
        rng = np.random.default_rng(0)
        right, sure = np.array([1, 0, 1, 1, 0, 1]), np.array([3, 2, 2, 2, 2, 1])
        shuffled = [risk_coverage(right, sure + rng.uniform(0, 0.5, 6)).aurc for _ in range(1500)]
        assert risk_coverage(right, sure).aurc == pytest.approx(np.mean(shuffled), abs=0.008)

    @given(rows)
    @settings(deadline=None, max_examples=80)
    def test_laws(self, pairs):
        right, sure = np.array(pairs).T
        curve = risk_coverage(right, sure)
        assert curve.risk[-1] == pytest.approx(1 - right.mean())
        assert curve.excess >= -1e-12
        best = risk_coverage(right, right)
        assert best.aurc == pytest.approx(best.least) == pytest.approx(curve.least)
        constant = risk_coverage(right, np.zeros(len(right)))
        np.testing.assert_allclose(constant.risk, 1 - right.mean())

    def test_wrong_input_is_named(self):
        with pytest.raises(DataError, match="do not match"):
            risk_coverage([1, 0], [0.5])
        with pytest.raises(DataError, match="answers nothing"):
            risk_coverage([1, 0], [0.5, 0.4]).risk_at(0)
