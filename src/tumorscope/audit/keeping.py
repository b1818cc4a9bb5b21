"""Which scan of several copies to keep, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

SAME_SIZE = 0.97  # of the longest head side: JPEG and cropping move the head's rim by a pixel or two
SAME_BYTES = 0.95  # of the most bytes a pixel
MARKS = ("border", "white_background", "text")


@dataclass(frozen=True)
class _Scan:
    """What one copy is judged by; ``side`` is the head's longer side in px, ``weight`` bytes a pixel."""

    row: int
    name: str
    side: float
    marked: bool
    weight: float


def kept(table: pl.DataFrame, groups: pl.DataFrame) -> pl.DataFrame:
    """``id, copies, keep, reason`` of each scan, in the order of the table.

    Of the copies in a group the one with the largest head is kept; of equally large ones that without a border, white
    background or letters; of these the least compressed, then the first by id. Where the copies carry different labels
    none is kept: which label is right, no program knows. A scan that cannot be read is not kept.

    Parameters
    ----------
    table : polars.DataFrame
        A measured manifest.
    groups : polars.DataFrame
        ``group, rows, ids, labels, conflict`` of each group of copies.
    """
    copies: list[str | None] = [None] * table.height
    keep = [problem is None for problem in table["problem"].to_list()]
    reason = ["no copy" if problem is None else f"cannot be read: {problem}" for problem in table["problem"].to_list()]
    scans = _scans(table)
    for name, rows, labels, conflict in groups.select("group", "rows", "labels", "conflict").rows():
        for row in rows:
            copies[row], keep[row] = name, False
        if conflict:
            words = f"its copies carry the labels {' and '.join(labels)}; settle which one is right"
            for row in rows:
                reason[row] = words
            continue
        best, why = _best([scans[row] for row in rows])
        keep[best.row] = True
        for row in rows:
            here = row == best.row
            reason[row] = f"{why[0]} of {len(rows)} copies" if here else f"copy of {best.name}, {why[1]}"
    return pl.DataFrame(
        {"id": table["id"], "copies": copies, "keep": keep, "reason": reason},
        schema={"id": pl.String, "copies": pl.String, "keep": pl.Boolean, "reason": pl.String},
    )


def _scans(table: pl.DataFrame) -> list[_Scan]:
    names = ("id", "head_side", "scan_width", "scan_height", "bytes", *MARKS)
    chosen = table.select(pl.col(name) if name in table.columns else pl.lit(None).alias(name) for name in names)
    scans = []
    for row, (own, side, width, height, size, *marks) in enumerate(chosen.rows()):
        width, height = width or 1, height or 1
        scans.append(_Scan(row, own, side or max(width, height), any(marks), (size or 0) / (width * height)))
    return scans


def _best(scans: Sequence[_Scan]) -> tuple[_Scan, tuple[str, str]]:
    """The scan to keep, and what set it apart: said of it, and said to the others."""
    left = sorted(scans, key=lambda scan: scan.name)
    side = SAME_SIZE * max(scan.side for scan in scans)
    why = ("the first", "which is no worse and comes first")
    tests: list[tuple[Callable[[_Scan], bool], tuple[str, str]]] = [
        (lambda scan: scan.side >= side, ("the largest", "which is larger")),
        (lambda scan: not scan.marked, ("the one without border or letters", "which has no border or letters")),
        (lambda scan: scan.weight >= SAME_BYTES * max(one.weight for one in left),
         ("the least compressed", "which is less compressed")),
    ]  # fmt: skip
    for test, words in tests:
        passed = [scan for scan in left if test(scan)]
        if passed and len(passed) < len(left):
            left, why = passed, words
    return left[0], why
