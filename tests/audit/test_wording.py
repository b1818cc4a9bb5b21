from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from tumorscope.audit.measure import Measured
from tumorscope.audit.wording import differences
from tumorscope.datasets.likeness import turned

BASE = {"scan_width": 200, "scan_height": 100, "head_share": 0.5, "file_format": "png", "border": False,
        "white_background": False, "text": False}  # fmt: skip
HEAD = np.random.default_rng(0).integers(60, 180, (64, 64)).astype(np.uint8)


def words(second: dict[str, Any], head: np.ndarray = HEAD, turn: int = 0, kind: str = "near") -> str:
    table = pl.DataFrame([BASE, {**BASE, **second}])
    scans = Measured(
        table, np.zeros((2, 2, 24, 24), np.float32), np.stack([HEAD, head]), np.zeros((2, 48, 48), np.uint8)
    )
    return differences(scans, np.array([0]), np.array([1]), np.array([turn]), [kind])[0]


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({}, "compressed or scaled otherwise"),
        ({"scan_width": 400, "scan_height": 200}, "larger (400×200 px, not 200×100)"),
        ({"scan_width": 100, "scan_height": 50}, "smaller (100×50 px, not 200×100)"),
        ({"scan_width": 101, "scan_height": 50}, "smaller (101×50 px, not 200×100)"),
        ({"scan_width": 100, "scan_height": 100}, "of another shape (100×100 px, not 200×100)"),
        ({"border": True}, "with a bright border"),
        ({"text": True, "file_format": "jpeg"}, "with letters or marks; as jpeg instead of png"),
        ({"head_share": 0.7}, "cropped closer"),
        ({"head_share": 0.3}, "with wider margins"),
        ({"head_share": None}, "compressed or scaled otherwise"),
    ],
)
def test_what_differs_is_said(second: dict[str, Any], said: str) -> None:
    assert words(second) == said


@pytest.mark.parametrize(
    ("turn", "said"),
    [(1, "mirrored left-right"), (2, "mirrored upside-down"), (3, "turned by 180°"), (4, "turned by 90° and mirrored"),
     (5, "turned by 90°"), (6, "turned by 90°"), (7, "turned by 90° and mirrored")],
)  # fmt: skip
def test_the_turn_is_said_and_sides_are_swapped_with_it(turn: int, said: str) -> None:
    across = {"scan_width": 100, "scan_height": 200} if turn >= 4 else {}
    assert words(across, turned(HEAD, turn), turn) == said


def test_tones_are_compared_once_both_heads_lie_the_same_way() -> None:
    assert words({}, np.minimum(HEAD.astype(int) + 30, 255).astype(np.uint8)) == "brighter"
    assert words({}, HEAD - np.uint8(30)) == "darker"
    assert words({}, (120 + (HEAD.astype(int) - 120) * 1.6).clip(0, 255).astype(np.uint8)) == "with more contrast"
    assert words({}, (120 + (HEAD.astype(int) - 120) // 2).astype(np.uint8)) == "with less contrast"
    assert words({}, np.zeros_like(HEAD)) == "darker"


def test_equal_files_and_pixels() -> None:
    assert words({}, kind="bytes") == "the same file"
    assert words({}, kind="pixels") == "the same pixels"
    assert words({"file_format": "tiff"}, kind="pixels") == "the same pixels; as tiff instead of png"
