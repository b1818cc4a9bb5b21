from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from tumorscope.audit import shortcuts
from tumorscope.audit.duplicates import find_duplicates
from tumorscope.audit.lookalikes import UNKNOWN, Kinship, look_alikes
from tumorscope.audit.measure import Measured
from tumorscope.datasets import duplicates
from tumorscope.evaluation.statistics import Interval

SURE = Interval(0.9, 0.88, 0.92)


def tissue(seed: int, kind: int) -> NDArray[np.float32]:
    """A square of soft random tissue, half of it common to all of its kind."""
    grey = np.random.default_rng([seed, kind]).random((8, 8)) + np.random.default_rng(kind).random((8, 8))
    return np.clip(127 * cv2.resize(grey, (64, 64), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.float32)


def measured(planes: list[NDArray], source: list[str], **columns: Any) -> Measured:
    count = len(planes)
    table = pl.DataFrame(
        {
            "id": [f"s{row:03d}" for row in range(count)],
            "source": source,
            "problem": pl.Series([None] * count, dtype=pl.String),
            **columns,
        }
    )
    heads = np.stack(planes).astype(np.uint8)
    around = np.stack([cv2.resize(head, (48, 48)) for head in heads])
    return Measured(table, duplicates.fingerprints(planes), heads, around)


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortcuts, "TREES", 25)


def kin(scans: Measured, **options: Any) -> dict[tuple[str, str], Kinship]:
    found = find_duplicates(scans)
    return {(one.one, one.other): one for one in look_alikes(scans, found, **options)}


def test_two_halves_of_one_collection_mix_and_are_not_told_apart() -> None:
    planes = [tissue(seed, 1) for seed in range(80)]
    one = kin(measured(planes, ["a"] * 40 + ["b"] * 40))["a", "b"]
    assert one.mixing.low < 1 < one.mixing.high
    assert one.heads.low < 0.5 < one.heads.high and one.around.low < 0.5 < one.around.high
    assert one.within == pytest.approx(one.between, abs=0.05)
    assert (one.scans, one.families, one.shared) == (40, (40, 40), 0)
    assert one.verdict == "one collection"
    assert one.sentence().startswith("a and b come from one collection, so neither is an external test of the other: ")


def test_two_collections_stay_apart() -> None:
    planes = [tissue(seed, 1) for seed in range(30)] + [tissue(seed, 2) for seed in range(50)]
    one = kin(measured(planes, ["a"] * 30 + ["b"] * 50))["a", "b"]
    assert one.mixing.high < 0.4 and one.heads.low > 0.8 and one.around.low > 0.8
    assert one.within > one.between + 0.05
    assert (one.scans, one.verdict) == (30, "apart")
    assert "come from different collections" in one.sentence()


def test_classes_are_compared_across_sources_and_not_within() -> None:
    planes = [tissue(seed, 1) for seed in range(60)] + [tissue(seed, 2) for seed in range(60)]
    source = (["a"] * 30 + ["b"] * 30) * 2
    found = kin(measured(planes, source, label=[0] * 60 + [1] * 30 + [2] * 30))
    assert set(found) == {
        ("a", "b"),
        *((f"{x} of a", f"{y} of b") for x in (0, 1) for y in (0, 2)),
    }  # fmt: skip
    assert found["0 of a", "0 of b"].verdict == "one collection"
    told = found["0 of a", "2 of b"]
    assert told.verdict == "apart" and told.labels == ("0", "2")
    assert "a model may learn the set instead of it" in told.sentence()


def test_sources_of_one_class_each_are_compared_once() -> None:
    planes = [tissue(seed, 1) for seed in range(34)]
    found = kin(measured(planes, ["a"] * 17 + ["b"] * 17, label=[0] * 17 + [1] * 17))
    assert list(found) == [("0 of a", "1 of b")]


def test_common_copies_make_one_collection_and_are_left_out_of_the_comparison() -> None:
    planes = [tissue(seed, 1) for seed in range(20)] + [tissue(seed, 2) for seed in range(16)]
    planes += [planes[seed][:, ::-1] for seed in range(4)]
    one = kin(measured(planes, ["a"] * 20 + ["b"] * 20))["a", "b"]
    assert (one.shared, one.families, one.scans) == (4, (20, 20), 16)
    assert one.mixing.value < 0.5 and one.verdict == "one collection"
    assert "4 groups of copies have scans in both, of the rest the most similar" in one.sentence()


def test_a_family_counts_once() -> None:
    planes = [tissue(0, 1)] * 30 + [tissue(seed, 1) for seed in range(1, 31)]
    patients = ["p"] * 30 + [None] * 30
    one = kin(measured(planes, ["a"] * 30 + ["b"] * 30, patient=patients))["a", "b"]
    assert (one.families, one.scans, one.verdict) == ((1, 30), 0, "unclear")
    assert one.sentence() == "a and b cannot be called one collection or two: too few scans to compare"


def test_of_many_scans_some_are_drawn_and_the_order_of_rows_does_not_matter() -> None:
    planes = [tissue(seed, 1) for seed in range(60)]
    scans = measured(planes, ["a"] * 30 + ["b"] * 30)
    assert kin(scans, most=16)["a", "b"].scans == 16
    assert kin(scans.only(np.arange(30))) == {}


@pytest.mark.parametrize(
    ("shared", "mixing", "auc", "verdict"),
    [
        (3, UNKNOWN, UNKNOWN, "one collection"),
        (1, UNKNOWN, UNKNOWN, "unclear"),
        (0, Interval(0.9, 0.8, 1.0), Interval(0.6, 0.5, 0.7), "one collection"),
        (0, Interval(0.9, 0.8, 1.0), SURE, "unclear"),
        (0, Interval(0.1, 0.0, 0.2), SURE, "apart"),
        (0, Interval(0.1, 0.0, 0.2), Interval(0.9, 0.7, 1.0), "unclear"),
        (0, Interval(0.45, 0.3, 0.6), SURE, "unclear"),
    ],
)
def test_the_verdict_needs_both_witnesses(shared: int, mixing: Interval, auc: Interval, verdict: str) -> None:
    one = Kinship("a", "b", (None, None), 40, (50, 50), shared, mixing, auc, auc, 0.5, 0.5)
    assert one.verdict == verdict
    assert one.sentence().startswith("a and b ")
