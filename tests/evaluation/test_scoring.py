from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from tumorscope.errors import DataError
from tumorscope.evaluation import classification
from tumorscope.evaluation.curves import roc_curve
from tumorscope.evaluation.scoring import (
    BinaryScorer,
    MulticlassScorer,
    RepeatedScorer,
    distribution,
    intervals,
    point,
)
from tumorscope.evaluation.statistics import Draws, bootstrap

# few distinct scores, so that ties are common; a weight for each row, often 0
rows = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 8), st.integers(0, 3)), min_size=1, max_size=30)


def columns(given_rows):
    labels, scores, weights = np.array(given_rows).T
    return labels, scores / 8, weights


class TestBinary:
    @given(rows)
    @settings(deadline=None, max_examples=60)
    def test_a_weight_is_the_row_repeated(self, given_rows):
        labels, scores, weights = columns(given_rows)
        if not weights.sum():
            return
        scorer = BinaryScorer(labels, scores, 0.5)
        many = np.repeat(labels, weights), np.repeat(scores, weights)
        weighted = scorer(weights[None].astype(float))[0]
        repeated = BinaryScorer(*many, 0.5)(np.ones((1, weights.sum())))[0]
        np.testing.assert_allclose(weighted, repeated, atol=1e-12)

    @given(rows)
    @settings(deadline=None, max_examples=60)
    def test_equals_the_plain_functions(self, given_rows):
        labels, scores, _ = columns(given_rows)
        found = point(BinaryScorer(labels, scores, 0.5, fixed=0.8), len(labels))
        counts = classification.confusion(labels, scores >= 0.5)
        for name in ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "precision", "f1", "mcc"):
            assert found[name] == pytest.approx(getattr(counts, name), nan_ok=True)
        assert found["binary_iou"] == pytest.approx(counts.binary_iou)
        for name in ("roc_auc", "pr_auc", "brier", "ece"):
            assert found[name] == pytest.approx(getattr(classification, name)(labels, scores), nan_ok=True)
        curve = roc_curve(labels, scores)
        if 0 < labels.sum() < len(labels):
            assert found["sensitivity_at_specificity"] == pytest.approx(curve.sensitivity_at(0.8))
            assert found["specificity_at_sensitivity"] == pytest.approx(curve.specificity_at(0.8))
        else:
            assert math.isnan(found["sensitivity_at_specificity"]) and math.isnan(found["specificity_at_sensitivity"])

    @given(rows)
    @settings(deadline=None, max_examples=50)
    def test_equals_scikit_learn(self, given_rows):
        labels, scores, _ = columns(given_rows)
        found = point(BinaryScorer(labels, scores, 0.5), len(labels))
        said = scores >= 0.5
        with warnings.catch_warnings():  # scikit-learn warns of absent classes
            warnings.simplefilter("ignore")
            if 0 < labels.sum() < len(labels):
                assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(labels, scores))
                assert found["pr_auc"] == pytest.approx(metrics.average_precision_score(labels, scores))
                if 0 < said.sum() < len(said):
                    assert found["mcc"] == pytest.approx(metrics.matthews_corrcoef(labels, said))
                else:
                    assert math.isnan(found["mcc"])
            if (labels | said).any() and not (labels & said).all():
                jaccard = metrics.jaccard_score(labels, said, average=None, labels=[0, 1])
                assert found["binary_iou"] == pytest.approx(jaccard.mean())

    @pytest.mark.parametrize("metric", ["roc_auc", "pr_auc", "brier", "ece"])
    def test_intervals_are_those_of_the_slow_bootstrap(self, metric):
        rng = np.random.default_rng(1)
        labels = rng.uniform(size=60) < 0.4
        scores = np.clip(np.round(rng.normal(0.4 + 0.2 * labels, 0.2), 2), 0, 1)
        groups = rng.integers(0, 25, size=60)
        fast = intervals(BinaryScorer(labels, scores), groups, rounds=150, seed=3)[metric]
        slow = bootstrap(getattr(classification, metric), labels, scores, groups=groups, rounds=150, seed=3)
        assert (fast.value, fast.low, fast.high) == pytest.approx((slow.value, slow.low, slow.high), abs=1e-12)

    def test_resamples_are_the_same_whatever_the_block(self, monkeypatch):
        labels, scores = [0, 1, 1, 0, 1], [0.1, 0.4, 0.35, 0.8, 0.9]
        whole = distribution(BinaryScorer(labels, scores), Draws(range(5), 40))
        monkeypatch.setattr("tumorscope.evaluation.statistics.CELLS", 7)
        np.testing.assert_array_equal(distribution(BinaryScorer(labels, scores), Draws(range(5), 40)), whole)

    def test_what_is_not_asked_for_is_not_there(self):
        names = BinaryScorer([0, 1], [-3.0, 5.0], None, probabilities=False).names
        assert "roc_auc" in names and "accuracy" not in names and "brier" not in names

    @pytest.mark.parametrize(
        ("labels", "scores", "options", "finding"),
        [
            ([0, 1], [-3.0, 5.0], {}, "sigmoid"),
            ([0, 1], [0.1], {}, "do not match"),
            ([0, 1], [0.1, math.nan], {}, "NaN"),
            ([], [], {}, "no rows"),
            ([0, 1], [0.1, 0.2], {"fixed": 0.0}, "cannot be asked"),
        ],
    )
    def test_wrong_input_is_named(self, labels, scores, options, finding):
        with pytest.raises(DataError, match=finding):
            BinaryScorer(labels, scores, **options)

    def test_a_wrong_level_is_named(self):
        with pytest.raises(DataError, match="level"):
            intervals(BinaryScorer([0, 1], [0.1, 0.2]), [0, 1], level=95)


class TestMulticlass:
    @given(st.integers(0, 10_000), st.integers(2, 5), st.integers(1, 40))
    @settings(deadline=None, max_examples=30)
    def test_equals_scikit_learn(self, seed, count, size):
        rng = np.random.default_rng(seed)
        truth = rng.integers(0, count, size)
        values = np.round(rng.dirichlet(np.ones(count), size), 1)
        names = [f"c{k}" for k in range(count)]
        found = point(MulticlassScorer(truth, values, names), size)
        said = np.argmax(values, axis=1)
        assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, said))
        labels = range(count)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            precision, recall, f1, _ = metrics.precision_recall_fscore_support(
                truth, said, labels=labels, zero_division=np.nan
            )
        for k, name in enumerate(names):
            assert found[f"recall of {name}"] == pytest.approx(recall[k], nan_ok=True)
            assert found[f"precision of {name}"] == pytest.approx(precision[k], nan_ok=True)
            if (truth == k).any() or (said == k).any():
                assert found[f"f1 of {name}"] == pytest.approx(f1[k])
            if 0 < (truth == k).sum() < size:
                assert found[f"roc_auc of {name}"] == pytest.approx(metrics.roc_auc_score(truth == k, values[:, k]))
                negative = metrics.recall_score(truth != k, said != k)
                assert found[f"specificity of {name}"] == pytest.approx(negative)
        if len(set(truth)) == count:
            assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, said))
        else:
            assert math.isnan(found["balanced_accuracy"])
        if len(set(truth)) > 1 and len(set(said)) > 1:
            assert found["mcc"] == pytest.approx(metrics.matthews_corrcoef(truth, said))
        else:
            assert math.isnan(found["mcc"])

    def test_two_classes_agree_with_the_binary_ones(self):
        rng = np.random.default_rng(0)
        truth, score = rng.integers(0, 2, 50), rng.uniform(size=50)
        both = np.stack([1 - score, score], axis=1)
        many = point(MulticlassScorer(truth, both, ["none", "tumour"]), 50)
        two = point(BinaryScorer(truth, score, np.nextafter(0.5, 1)), 50)
        assert many["mcc"] == pytest.approx(two["mcc"])
        assert many["recall of tumour"] == pytest.approx(two["sensitivity"])
        assert many["roc_auc of tumour"] == many["roc_auc of none"] == pytest.approx(two["roc_auc"])

    @given(st.integers(0, 1000))
    @settings(deadline=None, max_examples=40)
    def test_a_weight_is_the_row_repeated(self, seed):
        rng = np.random.default_rng(seed)
        truth, values, weights = rng.integers(0, 3, 20), rng.dirichlet(np.ones(3), 20), rng.integers(0, 3, 20)
        names = ["a", "b", "c"]
        weighted = MulticlassScorer(truth, values, names)(weights[None].astype(float))
        repeated = MulticlassScorer(np.repeat(truth, weights), np.repeat(values, weights, axis=0), names)
        np.testing.assert_allclose(weighted, repeated(np.ones((1, weights.sum()))), atol=1e-12)

    @pytest.mark.parametrize(
        ("labels", "values", "finding"),
        [([0, 1], np.ones((2, 2)), "do not match"), ([0, 3], np.ones((2, 3)), "no class number")],
    )
    def test_wrong_input_is_named(self, labels, values, finding):
        with pytest.raises(DataError, match=finding):
            MulticlassScorer(labels, values, ["a", "b", "c"])


def test_repetitions_are_averaged_and_resampled_together():
    labels, groups = np.array([0, 1, 0, 1, 1, 0]), np.arange(6)
    first, second = np.array([0.2, 0.7, 0.3, 0.6, 0.4, 0.1]), np.array([0.3, 0.4, 0.2, 0.9, 0.8, 0.5])
    scorer = RepeatedScorer(
        [BinaryScorer(labels, first), BinaryScorer(labels, second)], [np.arange(6), np.arange(6, 12)]
    )
    found = intervals(scorer, np.tile(groups, 2), rounds=80)["roc_auc"]

    def mean(a, b, c):
        return (classification.roc_auc(a, b) + classification.roc_auc(a, c)) / 2

    slow = bootstrap(mean, labels, first, second, groups=groups, rounds=80)
    assert (found.value, found.low, found.high) == pytest.approx((slow.value, slow.low, slow.high))
