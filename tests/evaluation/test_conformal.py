from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tumorscope.errors import DataError
from tumorscope.evaluation.conformal import Conformal, conformal_limits, fit_conformal, measure
from tumorscope.evaluation.predictions import Predictions

# What MAPIE 1.6 gives when SplitConformalClassifier("lac", confidence_level=0.8) is conformalised on each class alone
CALIBRATION = [
    [0.57, 0.28, 0.15], [0.5, 0.03, 0.47], [0.38, 0.52, 0.1], [0.54, 0.29, 0.17], [0.52, 0.17, 0.31],
    [0.41, 0.48, 0.11], [0.54, 0.42, 0.04], [0.39, 0.37, 0.24], [0.43, 0.47, 0.1], [0.43, 0.57, 0.0],
    [0.09, 0.7, 0.21], [0.38, 0.38, 0.24], [0.04, 0.44, 0.52], [0.13, 0.72, 0.15], [0.52, 0.41, 0.07],
    [0.06, 0.27, 0.67], [0.05, 0.15, 0.8], [0.04, 0.06, 0.9], [0.22, 0.32, 0.46], [0.27, 0.16, 0.57],
    [0.03, 0.44, 0.53], [0.28, 0.01, 0.71], [0.25, 0.25, 0.5], [0.24, 0.27, 0.49],
]  # fmt: skip
LABELS = [0] * 8 + [1] * 7 + [2] * 9
OTHERS = [
    [0.13, 0.62, 0.25], [0.68, 0.1, 0.22], [0.73, 0.26, 0.01], [0.28, 0.1, 0.62], [0.37, 0.43, 0.2], [0.0, 0.92, 0.08],
    [0.42, 0.03, 0.55], [0.01, 0.89, 0.1],
]  # fmt: skip
SETS = [[0, 1, 0], [1, 0, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 0], [1, 0, 1], [0, 1, 0]]


def test_sets_equal_mapies():
    limits, counts = conformal_limits(LABELS, CALIBRATION, 0.8)
    assert limits.tolist() == pytest.approx([0.62, 0.62, 0.51]) and counts.tolist() == [8, 7, 9]
    assert Conformal(0.8, limits, ("a", "b", "c"), counts).sets(OTHERS).astype(int).tolist() == SETS


@pytest.mark.parametrize(
    ("size", "coverage", "place"),
    [(9, 0.9, 9), (8, 0.9, None), (19, 0.9, 18), (19, 0.95, 19), (99, 0.9, 90), (1, 0.5, 1)],
)
def test_the_place_of_the_limit_by_hand(size, coverage, place):
    scores = np.arange(1, size + 1) / 1000  # nonconformity of label 0 is its probability of 1
    limits, _ = conformal_limits(np.zeros(size, int), scores, coverage)
    assert limits[0] == (np.inf if place is None else pytest.approx(place / 1000))


def sample(seed: int, size: int, split: str, first: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = (rng.uniform(size=size) < 0.15).astype(int)
    logits = rng.normal(2.2 * labels - 2, 1)  # tumours are rare, and mostly missed at one half
    table = {"id": [str(first + k) for k in range(size)], "label": labels, "split": [split] * size}
    return Predictions.of(pl.DataFrame(table | {"probability": 1 / (1 + np.exp(-logits))}))


def test_every_class_is_covered_as_promised():
    held = []
    for seed in range(2, 14, 2):
        found = measure(fit_conformal(sample(seed, 3000, "val"), 0.9), sample(seed + 1, 6000, "test", 10_000))
        held.append([span.value for span in found.per_class.values()])
    assert np.mean(held, axis=0) == pytest.approx([0.9, 0.9], abs=0.025)
    assert "no class is shown to fall short" in found.sentence()
    rows = sample(1, 6000, "test", 10_000)
    assert (rows.decisions()[rows.truth == 1] == 1).mean() < 0.7  # the plain decision does not
    assert found.single + found.empty <= 1 and 1 <= found.size <= 2


def test_the_mean_coverage_over_many_draws_is_between_the_bounds():
    # exchangeable scores: coverage of n calibration rows is at least c, at most c + 1 / (n + 1)
    rng = np.random.default_rng(0)
    held = []
    for _ in range(3000):
        scores = rng.uniform(size=25)
        limits, _ = conformal_limits(np.zeros(24, int), scores[:24], 0.8)
        held.append(scores[24] <= limits[0])
    assert 0.8 - 0.02 <= np.mean(held) <= 0.84 + 0.02


def test_a_class_with_too_few_scans_is_always_in_the_set():
    fitted = Conformal(
        0.9, *[conformal_limits([0] * 30 + [1] * 3, np.linspace(0, 1, 33), 0.9)[0]], ("n", "t"), np.ones(2)
    )
    assert fitted.sets([0.0, 1.0])[:, 1].all()
    assert "Too few validation scans of t" in fitted.sentence()


def test_a_promise_that_is_broken_is_said():
    fitted = fit_conformal(sample(0, 2000, "val"), 0.9)
    test = sample(1, 2000, "test", 10_000)
    worse = Predictions.of(test.table.with_columns(probability=pl.col("probability") * 0.3))
    assert "short of it for tumour" in measure(fitted, worse).sentence()


def test_what_was_fitted_on_cannot_be_measured():
    rows = sample(0, 200, "val")
    with pytest.raises(DataError, match="sets were fitted on"):
        measure(fit_conformal(rows), rows)


def test_wrong_input_is_named():
    with pytest.raises(DataError, match="coverage of 1"):
        conformal_limits([0], [0.5], 1)
    with pytest.raises(DataError, match="do not match"):
        conformal_limits([0], [0.5, 0.6])
    with pytest.raises(DataError, match="cannot be fitted on"):
        fit_conformal(sample(0, 50, "test"), split="test")
    scores = Predictions.of(sample(0, 50, "val").table.rename({"probability": "score"}))
    with pytest.raises(DataError, match="no probabilities"):
        fit_conformal(scores)
