from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from tumorscope.errors import DataError
from tumorscope.evaluation.calibration import fit_logistic, temperature
from tumorscope.evaluation.classification import roc_auc


def sample(seed: int, count: int = 500, width: int = 3):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(count, width)) * [1, 100, 0.01][:width] + [5, -40, 0][:width]
    logits = (features - features.mean(0)) / features.std(0) @ [1.5, -0.7, 0.4][:width] + 0.3
    return features, rng.uniform(size=count) < expit(logits)


class TestLogistic:
    @pytest.mark.parametrize("width", [1, 2, 3])
    def test_equals_scikit_learn_without_smoothing(self, width):
        features, labels = sample(width, width=width)
        weights, bias = fit_logistic(features, labels, smooth=False)
        scale = features.std(0)
        reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(features / scale, labels)
        np.testing.assert_allclose(weights * scale, reference.coef_[0], rtol=1e-3)
        np.testing.assert_allclose(bias, reference.intercept_[0], rtol=2e-3)

    def test_one_feature_is_platt_scaling(self):
        features, labels = sample(9, count=60, width=1)
        positive, negative = labels.sum(), (~labels).sum()
        targets = np.where(labels, (positive + 1) / (positive + 2), 1 / (negative + 2))

        def loss(beta):
            chance = expit(beta[0] * features[:, 0] + beta[1])
            return -(targets * np.log(chance) + (1 - targets) * np.log(1 - chance)).sum()

        weights, bias = fit_logistic(features[:, 0], labels)
        np.testing.assert_allclose([weights[0], bias], minimize(loss, [0.0, 0.0], tol=1e-10).x, rtol=1e-3)

    def test_separable_classes_stay_finite(self):
        model = fit_logistic([0.0, 1.0, 10.0, 11.0], [0, 0, 1, 1])
        assert np.isfinite([*model.weights, model.bias]).all()
        # Platt's targets for two and two: 3/4 and 1/4
        assert model.probability([0.5, 10.5]) == pytest.approx([0.25, 0.75], abs=0.02)

    @given(st.integers(0, 200), st.floats(0.001, 1000), st.floats(-1000, 1000))
    @settings(deadline=None, max_examples=30)
    def test_units_of_a_feature_do_not_matter(self, seed, factor, shift):
        features, labels = sample(seed, count=80)
        here = fit_logistic(features, labels).probability(features)
        moved = features * factor + shift
        np.testing.assert_allclose(fit_logistic(moved, labels).probability(moved), here, atol=1e-4)

    def test_mean_probability_is_the_share_of_tumours(self):
        features, labels = sample(4)
        probability = fit_logistic(features, labels, smooth=False).probability(features)
        assert probability.mean() == pytest.approx(labels.mean(), abs=1e-8)

    def test_a_constant_and_a_copied_feature_do_no_harm(self):
        features, labels = sample(5, width=1)
        plain = fit_logistic(features, labels)
        padded = np.column_stack([features, features, np.full(len(features), 7.0)])
        model = fit_logistic(padded, labels)
        assert model.weights[2] == 0
        np.testing.assert_allclose(model.probability(padded), plain.probability(features), atol=1e-5)

    @pytest.mark.parametrize(
        ("features", "labels", "finding"),
        [
            ([1.0, 2.0], [1, 1], "same"),
            ([1.0, np.inf], [0, 1], "infinite"),
            ([1.0, 2.0, 3.0], [0, 1], "do not match"),
            (np.zeros((2, 2, 2)), [0, 1], "pass"),
            ([], [], "no rows"),
        ],
    )
    def test_wrong_input_is_named(self, features, labels, finding):
        with pytest.raises(DataError, match=finding):
            fit_logistic(features, labels)


class TestTemperature:
    @pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
    def test_recovers_the_one_that_made_the_data(self, true):
        rng = np.random.default_rng(1)
        logits = rng.normal(0, 3 * true, size=20_000)
        labels = rng.uniform(size=20_000) < expit(logits / true)
        assert temperature(logits, labels) == pytest.approx(true, rel=0.06)

    def test_counted_by_hand(self):
        # all at |logit| 3, nine of ten right: sigmoid(3 / T) = 0.9, T = 3 / ln 9
        logits = np.array([3.0] * 10 + [-3.0] * 10)
        labels = np.array([1] * 9 + [0] + [0] * 9 + [1])
        assert temperature(logits, labels) == pytest.approx(3 / np.log(9), rel=1e-4)

    @given(st.integers(0, 100), st.floats(0.2, 5))
    @settings(deadline=None, max_examples=30)
    def test_scales_with_the_logits_and_keeps_their_order(self, seed, factor):
        rng = np.random.default_rng(seed)
        logits = rng.normal(0, 2, size=300)
        labels = rng.uniform(size=300) < expit(logits)
        here = temperature(logits, labels)
        assert temperature(factor * logits, labels) == pytest.approx(factor * here, rel=1e-3)
        assert roc_auc(labels, logits / here) == roc_auc(labels, logits)

    def test_stays_in_its_bounds(self):
        separable = temperature([-1.0, -2.0, 1.0, 2.0], [0, 0, 1, 1])
        assert separable == pytest.approx(0.02, rel=0.01)
        assert temperature([-1.0, -2.0, 1.0, 2.0], [0, 0, 1, 1], smooth=True) > 0.5
        assert temperature([2.0, 1.0, -1.0, -2.0], [0, 0, 1, 1]) == pytest.approx(50, rel=0.01)

    def test_wrong_input_is_named(self):
        with pytest.raises(DataError, match="same"):
            temperature([1.0, 2.0], [0, 0])
        with pytest.raises(DataError, match="NaN"):
            temperature([1.0, np.nan], [0, 1])
