from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pytest

from tumorscope.errors import DataError
from tumorscope.evaluation.classification import confusion, threshold_at_sensitivity
from tumorscope.evaluation.evaluate import evaluate_predictions
from tumorscope.evaluation.predictions import Predictions


def sample(seed: int = 0, size: int = 300, first: int = 0, **columns) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, size)
    table = {
        "id": [str(first + k) for k in range(size)],
        "label": labels,
        "probability": 1 / (1 + np.exp(-rng.normal(3 * labels - 1.5, 1.5))),
        "patient": [f"p{(first + k) // 2}" for k in range(size)],
        "plane": rng.choice(["axial", "coronal"], size),
    }
    return Predictions.of(pl.DataFrame(table | columns), "p.csv")


class TestBinary:
    def test_everything_is_there_and_agrees(self):
        rows = sample()
        found = evaluate_predictions(rows, rounds=200)
        counts = confusion(rows.truth, rows.scores >= 0.5)
        assert found.confusion.tolist() == [[counts.tn, counts.fp], [counts.fn, counts.tp]]
        for name in ("accuracy", "sensitivity", "specificity", "f1", "mcc", "binary_iou"):
            assert found[name].interval.value == pytest.approx(getattr(counts, name))
        assert found.scans == 300 and found.groups == 150 and sum(found.counts.values()) == 300
        assert found["roc_auc"].beyond_trivial and found["accuracy"].trivial == max(found.counts.values()) / 300
        assert found["ece"].interval.value == pytest.approx(found.reliability.ece)
        assert found["brier"].interval.value == pytest.approx(found.reliability.brier)
        assert found.roc.sensitivity_at(0.95) == pytest.approx(found["sensitivity_at_specificity"].interval.value)
        assert found.risk_coverage.risk_at(1) == pytest.approx(1 - counts.accuracy)
        assert {one.column for one in found.subgroups.slices} == {"plane"}

    def test_it_can_be_written_down(self):
        found = evaluate_predictions(sample(), sample(1, first=1000), rounds=50)
        told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        assert told["metrics"][0]["metric"] == "accuracy" and told["calibrated"]["temperature"]["temperature"] > 0
        assert told["coverage"]["promised"] == 0.9 and told["slices"][0]["column"] == "plane"
        assert all(sentence.endswith(".") for sentence in found.sentences())
        assert found.table().height == len(found.results)

    def test_the_same_seed_gives_the_same(self):
        first, second = (evaluate_predictions(sample(), rounds=60, seed=5).to_dict() for _ in range(2))
        assert first == second
        assert evaluate_predictions(sample(), rounds=60, seed=6).to_dict() != first

    def test_groups_widen_the_intervals(self):
        tied = sample()
        copies = pl.concat([tied.table.with_columns(id=pl.col("id") + f"-{k}") for k in range(4)])
        alone = copies.drop("patient")
        wide = evaluate_predictions(Predictions.of(copies), rounds=200)["roc_auc"].interval
        narrow = evaluate_predictions(Predictions.of(alone), rounds=200)
        assert wide.high - wide.low > 1.7 * (narrow["roc_auc"].interval.high - narrow["roc_auc"].interval.low)
        assert "each counts as independent" in narrow.notes[0]


class TestValidation:
    def test_calibration_and_sets_are_fitted_elsewhere(self):
        sure = sample(1, 800, first=1000)
        sharper = pl.col("probability") ** 3 / (pl.col("probability") ** 3 + (1 - pl.col("probability")) ** 3)
        validation = Predictions.of(sure.table.with_columns(probability=sharper))
        test = Predictions.of(sample(2, 800).table.with_columns(probability=sharper))
        found = evaluate_predictions(test, validation, rounds=50)
        assert set(found.calibrated) == {"temperature", "isotonic"}
        for calibrator, after in found.calibrated.values():
            assert after.ece < found.reliability.ece and len(calibrator.fitted) == 800
        assert found.coverage.overall.value == pytest.approx(0.9, abs=0.05)

    def test_a_scan_on_both_sides_is_an_error(self):
        with pytest.raises(DataError, match="stand in the validation scans too"):
            evaluate_predictions(sample(), sample(1, first=299), rounds=20)  # one id, one patient

    def test_only_rows_that_say_val_are_used(self):
        mixed = sample(1, first=1000, split=["val"] * 100 + ["train"] * 200)
        found = evaluate_predictions(sample(), mixed, rounds=20)
        assert len(found.calibrated["temperature"][0].fitted) == 100

    def test_a_threshold_for_a_sensitivity(self):
        validation = sample(1, first=1000)
        found = evaluate_predictions(sample(), validation, sensitivity=0.95, rounds=20)
        assert found.threshold == threshold_at_sensitivity(validation.truth, validation.scores, 0.95)
        assert found["sensitivity"].interval.value == pytest.approx(0.95, abs=0.05)
        with pytest.raises(DataError, match="chosen on validation scans"):
            evaluate_predictions(sample(), sensitivity=0.95)
        with pytest.raises(DataError, match="give one of them"):
            evaluate_predictions(sample(), validation, threshold=0.3, sensitivity=0.95)

    def test_one_class_in_validation_leaves_calibration_out(self):
        validation = sample(1, first=1000)
        found = evaluate_predictions(sample(), validation.only(validation.truth == 1), rounds=20)
        assert found.calibrated == {} and found.coverage is not None


class TestUndefined:
    def test_one_class_only(self):
        rows = sample()
        found = evaluate_predictions(rows.only(rows.truth == 1), rounds=30)
        for name in ("roc_auc", "specificity", "balanced_accuracy", "sensitivity_at_specificity"):
            assert math.isnan(found[name].interval.value) and found[name].interval.reason == "no scan of none"
        assert found["sensitivity"].interval.value > 0
        assert "ROC-AUC is unknown: no scan of none." in found.sentences()

    def test_nothing_is_called(self):
        found = evaluate_predictions(sample(), threshold=1.1, rounds=30)
        assert found["precision"].interval.reason == "tumour is never said"
        assert found["sensitivity"].interval.value == 0 and found["sensitivity"].interval.high > 0.01

    def test_all_right_has_a_width(self):
        table = pl.DataFrame({"id": [str(k) for k in range(20)], "label": [0, 1] * 10, "probability": [0.1, 0.9] * 10})
        found = evaluate_predictions(Predictions.of(table), rounds=50)
        assert found["sensitivity"].interval.low == pytest.approx(0.722, abs=0.001)  # Wilson, 10 of 10
        assert found["accuracy"].interval.low < 0.9
        span = found["roc_auc"].interval
        assert span.value == 1 and math.isnan(span.low) and "cannot tell more" in span.reason

    def test_one_scan(self):
        table = pl.DataFrame({"id": ["a"], "label": [1], "probability": [0.7]})
        found = evaluate_predictions(Predictions.of(table), rounds=10)
        assert found["accuracy"].interval.value == 1 and found.sentences()

    def test_scores_without_a_threshold(self):
        rows = Predictions.of(sample().table.with_columns(score=pl.col("probability") * 9 - 4).drop("probability"))
        found = evaluate_predictions(rows, rounds=30)
        assert "accuracy" not in found.results and "brier" not in found.results and found.reliability is None
        assert found["roc_auc"].interval.value == pytest.approx(
            evaluate_predictions(sample(), rounds=5)["roc_auc"].interval.value
        )
        assert "accuracy" in evaluate_predictions(rows, threshold=0.0, rounds=5).results


def test_several_classes():
    rng = np.random.default_rng(0)
    names = ["glioma", "meningioma", "pituitary", "none"]
    labels = rng.integers(0, 4, 200)
    values = rng.dirichlet(np.ones(4), 200) + 0.3 * np.eye(4)[labels]
    values /= values.sum(axis=1, keepdims=True)
    table = pl.DataFrame({"id": [str(k) for k in range(200)], "label": [names[k] for k in labels]})
    rows = Predictions.of(table.with_columns(pl.Series(f"probability_{n}", values[:, k]) for k, n in enumerate(names)))
    found = evaluate_predictions(rows, rounds=40)
    assert np.trace(found.confusion) / 200 == pytest.approx(found["accuracy"].interval.value)
    assert found["recall of glioma"].interval.value > 0.5 and found["macro_roc_auc"].trivial == 0.5
    assert found.roc is None and found.reliability is not None and math.isnan(found.threshold)
    json.dumps(found.to_dict(), allow_nan=False)
    with pytest.raises(DataError, match="most probable"):
        evaluate_predictions(rows, threshold=0.5)
    absent = rows.only(rows.truth != 2)
    less = evaluate_predictions(absent, rounds=20)
    assert less["f1 of pituitary"].interval.value == 0  # said, never rightly
    for name in ("balanced_accuracy", "recall of pituitary", "macro_roc_auc"):
        assert less[name].interval.reason == "no scan of pituitary" and math.isnan(less[name].interval.value)


def test_repetitions_are_one_evaluation():
    one, two = sample(3, 100), sample(3, 100)
    noisy = np.clip(two.scores + np.random.default_rng(0).normal(0, 0.2, 100), 0, 1)
    again = two.table.with_columns(probability=pl.Series(noisy), repeat=pl.lit(1))
    rows = Predictions.of(pl.concat([one.table.with_columns(repeat=pl.lit(0)), again]))
    found = evaluate_predictions(rows, rounds=50)
    singles = [evaluate_predictions(rows.only(part), rounds=5)["roc_auc"].interval.value for part in rows.repeats()]
    assert found["roc_auc"].interval.value == pytest.approx(np.mean(singles))
    assert found.scans == 100 and found.groups == 50 and found.confusion.sum() == 100
    assert any("mean of 2 repetitions" in note for note in found.notes)
