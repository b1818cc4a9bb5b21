from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from tumorscope.errors import DataError
from tumorscope.evaluation.classification import (
    Confusion,
    brier,
    confusion,
    ece,
    pr_auc,
    roc_auc,
    threshold_at_sensitivity,
)

# few distinct scores, so that ties are common
rows = st.lists(st.tuples(st.integers(0, 1), st.integers(-4, 4)), min_size=1, max_size=40)


def columns(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([label for label, _ in pairs]), np.array([score for _, score in pairs], float)


class TestRocAuc:
    @pytest.mark.parametrize(
        ("labels", "scores", "expected"),
        [
            ([0, 1], [0.1, 0.9], 1.0),
            ([0, 1], [0.9, 0.1], 0.0),
            ([0, 1, 1], [0.5, 0.5, 0.9], 0.75),  # one pair won, one tied
            ([0, 0, 1, 1], [1, 2, 2, 3], 0.875),  # 4 pairs: 3 won, 1 tied
            ([0, 1], [-np.inf, np.inf], 1.0),
        ],
    )
    def test_counted_by_hand(self, labels, scores, expected):
        assert roc_auc(labels, scores) == expected

    @given(rows)
    @settings(deadline=None, max_examples=150)
    def test_equals_scikit_learn(self, pairs):
        labels, scores = columns(pairs)
        if len(set(labels)) == 1:
            assert math.isnan(roc_auc(labels, scores))
        else:
            assert roc_auc(labels, scores) == pytest.approx(metrics.roc_auc_score(labels, scores), abs=1e-12)

    @given(rows)
    @settings(deadline=None, max_examples=80)
    def test_order_is_all_that_counts(self, pairs):
        labels, scores = columns(pairs)
        np.testing.assert_equal(roc_auc(labels, np.exp(scores / 3) + 7), roc_auc(labels, scores))

    @given(rows)
    @settings(deadline=None, max_examples=80)
    def test_turning_the_scores_round_mirrors_it(self, pairs):
        labels, scores = columns(pairs)
        np.testing.assert_allclose(roc_auc(labels, -scores), 1 - roc_auc(labels, scores), atol=1e-12)


class TestPrAuc:
    @given(rows)
    @settings(deadline=None, max_examples=150)
    def test_equals_scikit_learn(self, pairs):
        labels, scores = columns(pairs)
        if not labels.any():
            assert math.isnan(pr_auc(labels, scores))
        else:
            assert pr_auc(labels, scores) == pytest.approx(metrics.average_precision_score(labels, scores), abs=1e-12)

    def test_without_skill_it_is_the_prevalence(self):
        assert pr_auc([1, 0, 0, 0], [0, 0, 0, 0]) == 0.25


class TestConfusion:
    def test_counted_by_hand(self):
        counts = confusion([1, 1, 1, 0, 0, 0, 0], [1, 1, 0, 1, 0, 0, 0])
        assert counts == Confusion(tp=2, fp=1, tn=3, fn=1)
        assert counts.sensitivity == pytest.approx(2 / 3)
        assert counts.specificity == pytest.approx(3 / 4)
        assert counts.precision == pytest.approx(2 / 3)
        assert counts.accuracy == pytest.approx(5 / 7)
        assert counts.balanced_accuracy == pytest.approx((2 / 3 + 3 / 4) / 2)
        assert counts.f1 == pytest.approx(4 / 6)

    @given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=40))
    @settings(deadline=None, max_examples=100)
    def test_equals_scikit_learn(self, pairs):
        truth, said = np.array(pairs).T
        counts = confusion(truth, said)
        assert counts.tp + counts.fp + counts.tn + counts.fn == len(truth)
        assert counts.accuracy == pytest.approx(metrics.accuracy_score(truth, said))
        with warnings.catch_warnings():  # scikit-learn warns of absent classes and returns 0; here it is NaN
            warnings.simplefilter("ignore")
            if 0 < truth.sum() < len(truth):
                assert counts.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(truth, said))
                if 0 < said.sum() < len(said):
                    assert counts.mcc == pytest.approx(metrics.matthews_corrcoef(truth, said))
            if truth.any():
                assert counts.sensitivity == pytest.approx(metrics.recall_score(truth, said))
            if said.any():
                assert counts.precision == pytest.approx(metrics.precision_score(truth, said))
            if truth.any() or said.any():
                assert counts.f1 == pytest.approx(metrics.f1_score(truth, said))

    def test_binary_iou_is_the_one_of_keras(self):
        # Keras 3: BinaryIoU() on [0, 1, 0, 1, 1] and [0.1, 0.2, 0.4, 0.7, 0.5]; the threshold itself counts as 1
        counts = confusion([0, 1, 0, 1, 1], np.array([0.1, 0.2, 0.4, 0.7, 0.5]) >= 0.5)
        assert counts.binary_iou == pytest.approx((2 / 3 + 2 / 3) / 2)
        assert confusion([1, 1], [1, 1]).binary_iou == 1  # no scan is 0: that class is left out
        assert confusion([1, 1], [0, 1]).binary_iou == pytest.approx((1 / 2 + 0) / 2)

    def test_a_rate_over_nothing_is_nan_not_zero(self):
        healthy = confusion([0, 0], [0, 0])
        assert healthy.specificity == 1.0
        for rate in (healthy.sensitivity, healthy.precision, healthy.f1, healthy.balanced_accuracy, healthy.mcc):
            assert math.isnan(rate)


class TestThreshold:
    def test_twenty_tumours_at_95_percent_leave_one_out(self):
        scores = np.arange(20) / 20
        assert threshold_at_sensitivity(np.ones(20), scores, 0.95) == scores[1]

    @given(rows, st.floats(0.01, 1.0))
    @settings(deadline=None, max_examples=150)
    def test_reaches_the_sensitivity_and_the_next_score_does_not(self, pairs, wanted):
        labels, scores = columns(pairs)
        if not labels.any():
            with pytest.raises(DataError, match="no scan has a tumour"):
                threshold_at_sensitivity(labels, scores, wanted)
            return
        found = threshold_at_sensitivity(labels, scores, wanted)
        assert confusion(labels, scores >= found).sensitivity >= wanted - 1e-9
        above = scores[scores > found]
        if above.size:
            assert confusion(labels, scores >= above.min()).sensitivity < wanted

    @pytest.mark.parametrize("wanted", [0.0, -0.1, 1.01])
    def test_impossible_sensitivity(self, wanted):
        with pytest.raises(DataError, match="sensitivity"):
            threshold_at_sensitivity([1], [0.5], wanted)


class TestProbabilities:
    def test_brier_counted_by_hand(self):
        assert brier([1, 0, 1], [0.5, 0.5, 1.0]) == pytest.approx(0.5 / 3)

    @given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=40))
    @settings(deadline=None, max_examples=80)
    def test_brier_equals_scikit_learn(self, pairs):
        labels, values = columns(pairs)
        assert brier(labels, values) == pytest.approx(metrics.brier_score_loss(labels, values, pos_label=1))

    def test_ece_counted_by_hand(self):
        # bins [0, .5) and [.5, 1]: means .2 and .8 against shares 1/2 and 1
        assert ece([0, 1, 1, 1], [0.1, 0.3, 0.7, 0.9], bins=2) == pytest.approx((2 * 0.3 + 2 * 0.2) / 4)

    @given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=40), st.integers(1, 20))
    @settings(deadline=None, max_examples=80)
    def test_ece_lies_between_0_and_1_and_is_least_in_one_bin(self, pairs, bins):
        labels, values = columns(pairs)
        assert ece(labels, values, bins=1) - 1e-12 <= ece(labels, values, bins) <= 1

    def test_certain_and_right_is_perfect(self):
        assert ece([0, 1], [0.0, 1.0]) == brier([0, 1], [0.0, 1.0]) == 0.0


class TestInput:
    @pytest.mark.parametrize("metric", [roc_auc, pr_auc, confusion, brier, ece, threshold_at_sensitivity])
    @pytest.mark.parametrize(
        ("labels", "scores", "finding"),
        [
            ([0, 1], [0.5], "do not match"),
            ([], [], "no rows"),
            ([0, 2], [0.0, 1.0], "neither 0 nor 1"),
            ([0, 1], [0.0, np.nan], "NaN"),
            ([[0, 1]], [[0.0, 1.0]], "one of each per scan"),
        ],
    )
    def test_a_wrong_one_is_named(self, metric, labels, scores, finding):
        with pytest.raises(DataError, match=finding):
            metric(labels, scores)

    @pytest.mark.parametrize("metric", [brier, ece])
    def test_logits_are_no_probabilities(self, metric):
        with pytest.raises(DataError, match="sigmoid"):
            metric([0, 1], [-2.0, 2.0])
