from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit, softmax
from sklearn.isotonic import IsotonicRegression

from tumorscope.errors import DataError
from tumorscope.evaluation.predictions import Predictions
from tumorscope.evaluation.recalibration import fit_calibrator, isotonic
from tumorscope.evaluation.reliability import reliability


def sample(seed: int, factor: float = 3.0, size: int = 2000, split: str = "val", first: int = 0) -> Predictions:
    """Predictions that are too sure by ``factor``."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0, 1.5, size)
    table = {
        "id": [f"{first + k}" for k in range(size)],
        "label": (rng.uniform(size=size) < expit(true)).astype(int),
        "probability": expit(factor * true),
        "split": [split] * size,
    }
    return Predictions.of(pl.DataFrame(table))


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=60)
def test_isotonic_equals_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    scores, labels = rng.integers(0, 12, 30) / 12, rng.integers(0, 2, 30)
    expected = IsotonicRegression(out_of_bounds="clip").fit(scores, labels)
    at = np.concatenate([scores, rng.uniform(-0.2, 1.2, 20)])
    np.testing.assert_allclose(isotonic(labels, scores)(at), expected.predict(at), atol=1e-9)


def test_isotonic_needs_rows():
    with pytest.raises(DataError, match="no rows"):
        isotonic([], [])


class TestFitting:
    def test_temperature_is_the_factor_and_mends_the_error(self):
        calibrator = fit_calibrator(sample(1))
        assert calibrator.temperature == pytest.approx(3, rel=0.12)
        test = sample(2, split="test", first=10_000)
        better = calibrator(test)
        assert reliability(test.truth, test.scores).ece > 0.1
        assert reliability(better.truth, better.scores).ece < 0.04
        assert np.array_equal(better.decisions(), test.decisions())
        assert "too sure" in calibrator.sentence() and "2000 validation scans" in calibrator.sentence()

    def test_isotonic_mends_a_bent_one_that_temperature_cannot(self):
        bent = sample(1)
        bent = Predictions.of(bent.table.with_columns(probability=pl.col("probability") ** 6))
        test = sample(2, split="test", first=10_000)
        test = Predictions.of(test.table.with_columns(probability=pl.col("probability") ** 6))
        errors = {}
        for method in ("temperature", "isotonic"):
            after = fit_calibrator(bent, method)(test)
            errors[method] = reliability(after.truth, after.scores).ece
        assert errors["isotonic"] < 0.04 < errors["temperature"]

    def test_several_classes(self):
        rng = np.random.default_rng(0)
        true = rng.normal(0, 1.5, (3000, 3))
        labels = np.array([rng.choice(3, p=row) for row in softmax(true, axis=1)])
        said = softmax(2.5 * true, axis=1)
        table = pl.DataFrame({"id": [str(k) for k in range(3000)], "label": labels, "split": ["val"] * 3000})
        table = table.with_columns(pl.Series(f"p_{name}", said[:, k]) for k, name in enumerate("abc"))
        given_rows = Predictions.of(table)
        calibrator = fit_calibrator(given_rows)
        assert calibrator.temperature == pytest.approx(2.5, rel=0.1)
        np.testing.assert_allclose(
            calibrator.apply(said), softmax(2.5 * true / calibrator.temperature, axis=1), atol=0.01
        )
        raised = fit_calibrator(given_rows, "isotonic").apply(said)
        np.testing.assert_allclose(raised.sum(axis=1), 1)

    def test_only_validation_rows_are_looked_at(self):
        rows = sample(1, size=300)
        noise = sample(2, factor=-5, size=300, split="test", first=1000)
        both = Predictions.of(pl.concat([rows.table, noise.table]))
        assert fit_calibrator(both).temperature == fit_calibrator(rows).temperature

    @pytest.mark.parametrize("split", ["test", "train", "Test", "training"])
    def test_test_and_training_rows_cannot_be_fitted_on(self, split):
        with pytest.raises(DataError, match="cannot be fitted on"):
            fit_calibrator(sample(1, size=30, split=split), split=split)

    def test_rows_have_to_say_that_they_are_validation(self):
        with pytest.raises(DataError, match="'val'; known: test"):
            fit_calibrator(sample(1, size=30, split="test"))
        with pytest.raises(DataError, match="no column 'split'"):
            fit_calibrator(Predictions.of(sample(1, size=30).table.drop("split")))

    def test_what_was_fitted_on_cannot_be_judged(self):
        rows = sample(1, size=50)
        calibrator = fit_calibrator(rows)
        with pytest.raises(DataError, match="calibration was fitted on"):
            calibrator(rows)
        # other ids, the same patient
        mine = Predictions.of(rows.table.with_columns(patient=pl.lit("p")))
        theirs = sample(2, size=50, split="test", first=900)
        theirs = Predictions.of(theirs.table.with_columns(patient=pl.lit("p")))
        with pytest.raises(DataError, match="in groups"):
            fit_calibrator(mine)(theirs)

    def test_wrong_input_is_named(self):
        rows = sample(1, size=30)
        with pytest.raises(DataError, match="did you mean 'isotonic'"):
            fit_calibrator(rows, "isotonc")
        one = Predictions.of(rows.table.with_columns(label=pl.lit(1)))
        with pytest.raises(DataError, match="one label"):
            fit_calibrator(one)
        scores = Predictions.of(rows.table.rename({"probability": "score"}))
        with pytest.raises(DataError, match="no probabilities"):
            fit_calibrator(scores)
        other = Predictions.of(rows.table.with_columns(id="x" + pl.col("id"), label=pl.lit("b")), positive="b")
        with pytest.raises(DataError, match="are not the calibrator's"):
            fit_calibrator(rows)(Predictions(**{**vars(other), "classes": ("a", "b")}))


def test_certain_probabilities_stay_finite():
    calibrator = fit_calibrator(sample(1, size=200))
    assert np.isfinite(calibrator.apply([0.0, 1.0])).all()
    assert logit(calibrator.apply([0.9]))[0] == pytest.approx(logit(0.9) / calibrator.temperature)
