from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from tumorscope.errors import DataError
from tumorscope.evaluation.classification import roc_auc
from tumorscope.evaluation.predictions import Predictions
from tumorscope.evaluation.statistics import share
from tumorscope.evaluation.subgroups import subgroups


def sample(seed: int = 0, size: int = 600, **columns) -> Predictions:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, size)
    table = {
        "id": [str(k) for k in range(size)],
        "label": labels,
        "probability": np.clip(labels * 0.5 + rng.uniform(0, 0.6, size), 0, 1),
        "plane": rng.choice(["axial", "coronal", "sagittal"], size),
    }
    return Predictions.of(pl.DataFrame(table | columns))


def hurt(predictions: Predictions, where: pl.Expr, factor: float = 0.3) -> Predictions:
    probability = pl.when(where).then(pl.col("probability") * factor).otherwise(pl.col("probability"))
    return Predictions.of(predictions.table.with_columns(probability=probability))


def test_numbers_are_those_of_the_slice():
    rows = sample()
    found = subgroups(rows, ["plane"])
    assert [one.value for one in found.slices] == ["axial", "coronal", "sagittal"]
    assert sum(one.scans for one in found.slices) == 600
    axial = (rows.table["plane"] == "axial").to_numpy()
    one = found.slices[0]
    assert one.auc.value == roc_auc(rows.truth[axial], rows.scores[axial])
    missed = axial & (rows.truth == 1)
    assert one.recalls[1].inside == share(rows.scores[missed] >= 0.5)
    elsewhere = ~axial & (rows.truth == 1)
    assert one.recalls[1].outside.value == (rows.scores[elsewhere] >= 0.5).mean()


def test_who_is_served_badly_is_named_and_nobody_else():
    rows = hurt(sample(), (pl.col("plane") == "coronal") & (pl.col("label") == 1))
    found = subgroups(rows)
    assert [(one.value, recall.label) for one, recall in found.worse] == [("coronal", "tumour")]
    assert found.sentences()[0].startswith("Served badly: 'tumour' scans with plane coronal: ")
    assert found.slices[1].to_dict()["recalls"]["tumour"]["worse"]


def test_chance_alone_is_seldom_called_bad_service():
    called = 0
    for seed in range(40):
        rng = np.random.default_rng(1000 + seed)
        rows = sample(seed, 200, source=rng.choice(list("abcdefgh"), 200), quality=rng.choice(["low", "high"], 200))
        called += bool(subgroups(rows).worse)
    assert called <= 5  # at most 5 % are promised: 2 of 40


def test_alike_scans_count_less():
    base = sample(1, 60)
    rows = hurt(base, (pl.col("plane") == "coronal") & (pl.col("label") == 1), 0.6)
    copies = pl.concat([rows.table.with_columns(id=pl.col("id") + f"-{k}", patient=pl.col("id")) for k in range(8)])
    tied = subgroups(Predictions.of(copies))
    alone = subgroups(Predictions.of(copies.drop("patient")))
    once = subgroups(rows)
    for one, two, three in zip(once.slices, tied.slices, alone.slices, strict=True):
        for first, second, third in zip(one.recalls, two.recalls, three.recalls, strict=True):
            assert second.p == pytest.approx(first.p, abs=0.4)
            assert third.p <= second.p + 1e-12


def test_numbers_are_cut_into_thirds():
    rows = sample(size=90, size_mm=np.r_[np.arange(89.0), np.nan])
    found = subgroups(rows, ["size_mm"])
    assert [one.value.split(" ")[0] for one in found.slices] == ["low", "middle", "high", "unknown"]
    assert found.slices[0].value == "low (0 to 29)" and [one.scans for one in found.slices] == [30, 29, 30, 1]


def test_missing_values_are_a_slice_and_one_class_is_no_reason_to_fail():
    rows = sample(size=60)
    types = [("glioma" if k % 2 else None) if label else None for k, label in enumerate(rows.truth)]
    found = subgroups(Predictions.of(rows.table.with_columns(tumor_type=pl.Series(types))), ["tumor_type"])
    glioma = found.slices[0]
    assert glioma.value == "glioma" and len(glioma.recalls) == 1 and math.isnan(glioma.auc.value)
    assert found.slices[1].value == "unknown"


def test_three_missed_of_one_patient_prove_nothing():
    table = pl.DataFrame(
        {
            "id": [str(k) for k in range(43)],
            "label": [1] * 43,
            "probability": [0.9] * 38 + [0.1] * 5,
            "source": ["a"] * 40 + ["b"] * 3,
            "patient": [f"p{k}" for k in range(40)] + ["q"] * 3,
        }
    )
    assert not subgroups(Predictions.of(table)).worse
    assert subgroups(Predictions.of(table.drop("patient"))).slices[1].recalls[0].p < 0.01  # as if independent


def test_several_classes():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    values = np.eye(3)[labels] * 0.6 + 0.4 / 3
    source = np.where(np.arange(300) % 3 == 0, "x", "y")
    values[(labels == 2) & (source == "x")] = [0.8, 0.1, 0.1]
    table = pl.DataFrame({"id": [str(k) for k in range(300)], "label": labels, "source": source})
    table = table.with_columns(
        pl.Series(f"p_{name}", values[:, k]) for k, name in enumerate(["glioma", "none", "other"])
    )
    found = subgroups(Predictions.of(table))
    assert [(one.value, recall.label) for one, recall in found.worse] == [("x", "other")]


def test_words():
    assert "no columns to slice by" in subgroups(Predictions.of(sample().table.drop("plane"))).sentences()[0]
    assert "one value only" in subgroups(sample(plane=["axial"] * 600)).sentences()[0]
    calm = subgroups(sample()).sentences()[0]
    assert calm.startswith("No slice is shown to be served worse") and "no proof of equal service" in calm


def test_wrong_columns_are_named():
    with pytest.raises(DataError, match="did you mean 'plane'"):
        subgroups(sample(), ["plain"])
    with pytest.raises(DataError, match="600 different values"):
        subgroups(sample(file=[f"f{k}.png" for k in range(600)]), ["file"])


def test_the_differences_interval_is_newcombes():
    # statsmodels 0.15: confint_proportions_2indep(56, 70, 48, 80, method="newcomb"): 0.0524 to 0.3339 (Newcombe 1998)
    right = np.r_[np.ones(56), np.zeros(14), np.ones(48), np.zeros(32)]
    table = {
        "id": [str(k) for k in range(150)],
        "label": [1] * 150,
        "probability": right,
        "source": ["a"] * 70 + ["b"] * 80,
    }
    span = subgroups(Predictions.of(pl.DataFrame(table))).slices[0].recalls[0].difference
    assert (span.low, span.high) == pytest.approx((0.05243147240236498, 0.33387265403690614))
