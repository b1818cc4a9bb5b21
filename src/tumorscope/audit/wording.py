"""How two copies of a scan differ, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope.audit.measure import Measured
from tumorscope.datasets.likeness import turned

IntArray = NDArray[np.int64]
#: What is done to the second to see it as the first (`datasets.duplicates.Copies`).
TURNED = (
    "", "mirrored left-right", "mirrored upside-down", "turned by 180°", "turned by 90° and mirrored",
    "turned by 90°", "turned by 90°", "turned by 90° and mirrored",
)  # fmt: skip
QUARTERS = (4, 5, 6, 7)  # turns that swap width and height
SAME_SHAPE = 0.02  # by which the ratio of the sides may differ, where rounding to pixels differs
MARGIN = 0.10  # by which the head's share of the picture may differ
TONE = 13  # of 255, by which the middle grey values of two prepared heads may differ: recompression moves them by less
LIT = 12  # of 255: the dimmest of a prepared head
MARKS = {"border": "a bright border", "white_background": "a white background", "text": "letters or marks"}

USED = ("scan_width", "scan_height", "head_share", "file_format", *MARKS)


def differences(measured: Measured, i: IntArray, j: IntArray, turn: IntArray, kind: Sequence[str]) -> list[str]:
    """One phrase for each pair of rows: what the second is, compared with the first.

    Parameters
    ----------
    measured : Measured
    i, j : (n,) int arrays
        Rows.
    turn : (n,) int array
        The turn in which ``j`` looks like ``i``.
    kind : sequence of {"bytes", "pixels", "near"}
    """
    absent = [pl.lit(None).alias(name) for name in USED if name not in measured.table.columns]
    rows = measured.table.with_columns(absent).select(USED).rows(named=True)
    found = []
    for one, other, way, how in zip(i.tolist(), j.tolist(), turn.tolist(), kind, strict=True):
        if how == "bytes":
            found.append("the same file")
            continue
        first, second = rows[one], rows[other]
        words = [] if how == "pixels" else _seen(measured, one, other, way, first, second)
        if first["file_format"] != second["file_format"]:
            words.append(f"as {second['file_format']} instead of {first['file_format']}")
        if how == "pixels":
            words.insert(0, "the same pixels")
        found.append("; ".join(words) or "compressed or scaled otherwise")
    return found


def _seen(measured: Measured, one: int, other: int, way: int, first: dict, second: dict) -> list[str]:
    words = [TURNED[way]] if way else []
    words += _size(first, second, way in QUARTERS)
    for name, what in MARKS.items():
        if bool(first[name]) != bool(second[name]):
            words.append(f"with {what}" if second[name] else f"without {what}")
    share, shown = first["head_share"], second["head_share"]
    if share and shown and not 1 - MARGIN < shown / share < 1 / (1 - MARGIN):
        words.append("cropped closer" if shown > share else "with wider margins")
    return words + _tone(measured.heads[one], turned(measured.heads[other], way))


def _size(first: dict, second: dict, across: bool) -> list[str]:
    width, height = first["scan_width"], first["scan_height"]
    if across:
        width, height = height, width
    wide, high = second["scan_width"], second["scan_height"]
    if None in (width, height, wide, high) or (width, height) == (wide, high):
        return []
    ratio = (wide / high) / (width / height)
    if not 1 - SAME_SHAPE < ratio < 1 + SAME_SHAPE:
        return [f"of another shape ({wide}×{high} px, not {width}×{height})"]
    return [f"{'larger' if wide > width else 'smaller'} ({wide}×{high} px, not {width}×{height})"]


def _tone(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> list[str]:
    """Whether the second head is brighter or darker, or has more or less contrast, once both are normalised."""
    middle = [np.percentile(head[head > LIT], (25, 50, 75)) if (head > LIT).any() else np.zeros(3)
              for head in (first, second)]  # fmt: skip
    shift = middle[1] - middle[0]
    if abs(shift[1]) >= TONE:
        return ["brighter" if shift[1] > 0 else "darker"]
    spread = shift[2] - shift[0]
    if abs(spread) >= TONE:
        return ["with more contrast" if spread > 0 else "with less contrast"]
    return []
