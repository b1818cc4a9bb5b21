from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from tumorscope.audit import leaks as module
from tumorscope.audit.duplicates import Duplicates, find_duplicates
from tumorscope.audit.leaks import Leak, leak, leaks
from tumorscope.audit.measure import Measured
from tumorscope.datasets import duplicates


def head(seed: int) -> NDArray[np.float32]:
    """An ellipse of soft random tissue on black, like no other seed's."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    inside = np.hypot(y / 0.8, x / rng.uniform(0.55, 0.7)) < 1
    tissue = cv2.resize(rng.random((9, 9)).astype(np.float32), (96, 96), interpolation=cv2.INTER_CUBIC)
    return (np.clip(40 + 180 * tissue, 0, 255) * inside).astype(np.float32)


def measured(seeds: list[int], mirrored: tuple[int, ...] = (), **columns: Any) -> Measured:
    """Scans of these heads; rows in ``mirrored`` are turned left-right."""
    planes = [head(seed)[:, ::-1] if row in mirrored else head(seed) for row, seed in enumerate(seeds)]
    count = len(planes)
    table = pl.DataFrame(
        {
            "id": [f"s{row}" for row in range(count)],
            "source": columns.pop("source", ["set"] * count),
            "problem": columns.pop("problem", pl.Series([None] * count, dtype=pl.String)),
            **columns,
        }
    )
    squares = np.zeros((count, 64, 64), np.uint8), np.zeros((count, 48, 48), np.uint8)
    return Measured(table, duplicates.fingerprints(planes), *squares)


def only(scans: Measured) -> tuple[Leak, Duplicates]:
    found = find_duplicates(scans)
    (one,) = leaks(scans, found)
    return one, found


def test_twins_of_test_scans_in_training_are_counted_and_named() -> None:
    scans = measured(
        [0, 1, 2, 3, 0, 1, 2, 9], mirrored=(5,), split=["train"] * 4 + ["test"] * 4, label=[0, 1, 1, 0, 0, 1, 0, 1],
        sha256=list("abcdaxyz"),
    )  # fmt: skip
    one, _ = only(scans)
    assert (one.train, one.test, one.scans, one.with_twin, one.equal) == ("train", "test", 4, 3, 1)
    assert one.twins.select("test_id", "train_id", "kind").rows() == [
        ("s4", "s0", "bytes"),
        ("s5", "s1", "near"),
        ("s6", "s2", "near"),
    ]
    assert one.twins["test_label"].to_list() == ["0", "1", "0"] and one.twins["train_label"].to_list() == [
        "0",
        "1",
        "1",
    ]
    assert one.twins["difference"][0] == "the same file" and one.twins["difference"][1] == "mirrored left-right"
    assert one.sentence().startswith("3 of 4 test scans (75 %) have a twin in train, 1 of them an equal one")
    assert (one.twinned.scans, one.twinned.accuracy.value) == (3, pytest.approx(2 / 3))
    assert one.untwinned.scans == 1 and one.every.scans == 4


def test_where_labels_follow_heads_copying_is_right_on_twins_and_a_guess_elsewhere() -> None:
    label = np.random.default_rng(0).integers(0, 2, 120).tolist()
    scans = measured(
        [*range(80), *range(40), *range(200, 240)],
        mirrored=tuple(range(80, 120)),
        split=["train"] * 80 + ["test"] * 80,
        label=[*label[:80], *label[:40], *label[80:]],
    )
    one, _ = only(scans)
    assert (one.scans, one.with_twin, one.compared) == (80, 40, 80)
    assert one.twinned.accuracy.value == 1 and one.twinned.balanced_accuracy.value == 1
    assert 0.25 < one.untwinned.accuracy.value < 0.75
    assert one.untwinned.accuracy.low < one.untwinned.accuracy.value < one.untwinned.accuracy.high
    assert one.every.accuracy.value == pytest.approx((1 + one.untwinned.accuracy.value) / 2)
    assert one.every.always == np.mean(np.array(scans.table["label"][80:]) == round(np.mean(label[:80])))
    assert "(100 % of those with a twin, " in one.sentences()[1]


def test_the_twin_is_described_as_it_differs_from_the_test_scan() -> None:
    wide = {"scan_width": [96, 192], "scan_height": [96, 192]}
    for split in (["train", "test"], ["test", "train"]):
        one, _ = only(measured([0, 0], split=split, label=[0, 1], **wide))
        size = "larger (192×192 px, not 96×96)" if split[0] == "test" else "smaller (96×96 px, not 192×192)"
        assert one.twins["difference"].to_list() == [size]


def test_no_twin_and_one_training_label_leave_nothing_to_copy() -> None:
    one, _ = only(measured([0, 1, 2], split=["train", "train", "test"], label=[1, 1, 0]))
    assert one.sentences() == ("none of 1 test scans has a twin in train",)
    assert one.every.scans == 0 and one.twins.height == 0


def test_scans_without_label_split_or_pixels_do_not_count() -> None:
    scans = measured(
        [0, 1, 0, 1, 2, 0], split=["train", "train", "test", "test", "test", None], label=[0, 1, None, 1, 0, 1],
        problem=pl.Series([None, None, None, None, "damaged", None], dtype=pl.String),
    )  # fmt: skip
    one, _ = only(scans)
    assert (one.scans, one.with_twin, one.every.scans) == (2, 2, 1)


def test_each_part_is_held_against_training() -> None:
    scans = measured([0, 1, 0, 1], split=["train", "train", "test", "val"], label=[0, 1, 0, 1])
    found = find_duplicates(scans)
    assert [(one.train, one.test, one.with_twin) for one in leaks(scans, found)] == [
        ("train", "test", 1),
        ("train", "val", 1),
    ]


def test_folds_are_held_against_each_other() -> None:
    scans = measured([0, 1, 0, 1, 2, 2], fold=[0, 0, 1, 0, 2, None], label=[0, 1, 0, 1, 0, 0])
    one, _ = only(scans)
    assert (one.scans, one.with_twin) == (5, 2)  # s0 and s2; s1 and s3 are in one fold, s5 in none
    assert one.twins.select("test_id", "train_id").rows() == [("s0", "s2"), ("s2", "s0")]


def test_sources_are_held_against_each_other_both_ways() -> None:
    scans = measured([0, 1, 0, 0], source=["a", "a", "b", "b"], label=[0, 1, 0, 1])
    found = find_duplicates(scans)
    assert [(one.train, one.test, one.with_twin) for one in leaks(scans, found)] == [("a", "b", 2), ("b", "a", 1)]
    assert leaks(measured([0, 1]), find_duplicates(measured([0, 1]))) == ()


def test_members_of_one_group_are_twins_though_no_pair() -> None:
    scans = measured([0, 1, 2], split=["train", "test", "test"], label=[0, 1, 1])
    found = find_duplicates(measured([0, 0, 2]))
    cut = Duplicates(**{**vars(found), "pairs": found.pairs.clear()})
    (one,) = leaks(scans, cut)
    assert one.with_twin == 1
    assert one.twins.select("test_id", "train_id", "agreement", "difference").rows() == [
        ("s1", "s0", None, "through a third copy")
    ]


def test_sides_may_be_given_as_masks() -> None:
    scans = measured([0, 1, 0], label=[0, 1, 0])
    train = np.array([True, True, False])
    one = leak(scans, find_duplicates(scans), train, ~train, ("ours", "theirs"))
    assert (one.train, one.test, one.with_twin, one.every.accuracy.value) == ("ours", "theirs", 1, 1.0)


def test_of_very_many_scans_some_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 30)
    scans = measured([*range(10), *range(10)], split=["train"] * 10 + ["test"] * 10, label=[0, 1] * 10)
    one, _ = only(scans)
    assert (one.scans, one.with_twin, one.compared, one.every.scans) == (10, 10, 3, 3)
