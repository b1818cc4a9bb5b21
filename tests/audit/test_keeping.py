from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from tumorscope.audit.keeping import kept

BASE = {"head_side": 200, "scan_width": 256, "scan_height": 256, "bytes": 9000, "border": False,
        "white_background": False, "text": False, "problem": None}  # fmt: skip


def chosen(*scans: dict[str, Any], conflict: bool = False) -> pl.DataFrame:
    rows = [{"id": f"s{number}", **BASE, **scan} for number, scan in enumerate(scans)]
    table = pl.DataFrame(rows, schema_overrides={"problem": pl.String})
    group = pl.DataFrame({"group": ["g"], "rows": [list(range(len(scans)))], "ids": [[row["id"] for row in rows]],
                          "labels": [["no", "yes"]], "conflict": [conflict]})  # fmt: skip
    return kept(table, group)


@pytest.mark.parametrize(
    ("scans", "best", "why", "other"),
    [
        ([{}, {"head_side": 300}, {}], 1, "the largest of 3 copies", "copy of s1, which is larger"),
        (
            [{"text": True}, {}, {"border": True}],
            1,
            "the one without border or letters of 3 copies",
            "copy of s1, which has no border or letters",
        ),
        ([{}, {"bytes": 20000}], 1, "the least compressed of 2 copies", "copy of s1, which is less compressed"),
        ([{}, {}], 0, "the first of 2 copies", "copy of s0, which is no worse and comes first"),
        # larger outweighs letters, letters outweigh bytes
        ([{"head_side": 300, "text": True}, {}], 0, "the largest of 2 copies", "copy of s0, which is larger"),
        ([{"text": True, "bytes": 20000}, {}], 1, "the one without border or letters of 2 copies", "copy of s1"),
        # all are marked: go on to the next
        ([{"text": True}, {"text": True, "bytes": 20000}], 1, "the least compressed of 2 copies", "copy of s1"),
        # a pixel or two, and a little more compression, are no difference
        ([{"head_side": 198}, {}], 0, "the first of 2 copies", "copy of s0"),
        ([{"bytes": 8800}, {}], 0, "the first of 2 copies", "copy of s0"),
    ],
)
def test_the_best_copy_is_kept_and_said_why(scans: list[dict[str, Any]], best: int, why: str, other: str) -> None:
    table = chosen(*scans)
    assert table["keep"].to_list() == [row == best for row in range(len(scans))]
    assert table["reason"][best] == why
    assert all(table["reason"][row].startswith(other) for row in range(len(scans)) if row != best)
    assert table["copies"].to_list() == ["g"] * len(scans)


def test_bytes_count_by_the_pixel() -> None:
    assert chosen({"scan_width": 512, "scan_height": 512, "bytes": 12000}, {})["keep"].to_list() == [False, True]


def test_of_a_conflict_none_is_kept() -> None:
    table = chosen({}, {"head_side": 300}, conflict=True)
    assert table["keep"].to_list() == [False, False]
    assert set(table["reason"]) == {"its copies carry the labels no and yes; settle which one is right"}


def test_what_was_not_measured_decides_nothing() -> None:
    table = pl.DataFrame({"id": ["b", "a"], "problem": pl.Series([None, None], dtype=pl.String)})
    group = pl.DataFrame(
        {"group": ["g"], "rows": [[0, 1]], "ids": [["b", "a"]], "labels": [["no"]], "conflict": [False]}
    )
    assert kept(table, group)["keep"].to_list() == [False, True]
