from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from tumorscope.errors import DataError
from tumorscope.evaluation.crossval import out_of_fold, repeated_folds
from tumorscope.evaluation.evaluate import evaluate_predictions
from tumorscope.evaluation.predictions import Predictions


def manifest(size: int = 60) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    label = np.arange(size) % 2
    columns = {"id": [str(k) for k in range(size)], "group": [f"g{k // 3}" for k in range(size)], "label": label}
    return pl.DataFrame(columns | {"value": label + rng.normal(size=size)})


def test_no_group_is_trained_and_predicted():
    seen = []

    def fit(train, held):
        assert not set(train["group"]) & set(held["group"])
        assert train.height + held.height == 60
        seen.append(held["id"].to_list())
        return held["value"].rank() / held.height

    table = out_of_fold(fit, manifest(), folds=4, repeats=3)
    assert len(seen) == 12 and table.height == 180
    for repeat in range(3):
        assert sorted(table.filter(pl.col("repeat") == repeat)["id"]) == sorted(manifest()["id"])
    found = evaluate_predictions(Predictions.of(table), rounds=50)
    assert found.scans == 60 and found.groups == 20 and found["roc_auc"].interval.value > 0.6


def test_divisions_differ_and_seeds_repeat_them():
    folds = [table["fold"].to_list() for table in repeated_folds(manifest(), 4, 3)]
    assert folds[0] != folds[1] != folds[2]
    assert [table["fold"].to_list() for table in repeated_folds(manifest(), 4, 3)] == folds
    assert next(iter(repeated_folds(manifest(), 4, 1, seed=2)))["fold"].to_list() == folds[2]


def test_several_classes():
    table = out_of_fold(
        lambda train, held: np.full((held.height, 2), 0.5), manifest(), folds=2, repeats=1, classes=["none", "tumour"]
    )
    assert Predictions.of(table).classes == ("none", "tumour")


def test_wrong_input_is_named():
    with pytest.raises(DataError, match="0 repetitions"):
        next(repeated_folds(manifest(), repeats=0))
    with pytest.raises(DataError, match="return one row a scan"):
        out_of_fold(lambda train, held: np.zeros(3), manifest())
