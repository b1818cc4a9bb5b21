"""Scans numbered by patient, without patient ids: blocks of neighbours, and the gap between blocks."""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope.errors import DataError

#: Numbers in one block: three patients of Cheng's collection, which has 3,064 slices of 233 patients.
BLOCK = 40
#: In that collection the likeness of neighbours falls to that of strangers within 10 numbers, and an average
#: patient has 13 slices; 20 leaves room for patients with more.
GAP = 20


def numbers_of(df: pl.DataFrame, order: str) -> NDArray[np.int64]:
    """The last number in each value of a column, (N,).

    Raises
    ------
    DataError
        If the column is missing or a value holds no digit.

    Examples
    --------
    >>> numbers_of(pl.DataFrame({"id": ["0007", "scan 12"]}), "id").tolist()
    [7, 12]
    """
    if order not in df.columns:
        raise DataError(f"{order}: the manifest has no such column to order by; name one of {', '.join(df.columns)}")
    numbers = []
    for value in df[order].to_list():
        digits = re.findall(r"\d+", str(value)) if value is not None else []
        if not digits:
            raise DataError(f"{order}: '{value}' holds no number to order by; name another column")
        numbers.append(int(digits[-1]))
    return np.array(numbers, np.int64)


def cells_of(numbers: NDArray[np.int64], groups: NDArray[np.int64], block: int) -> NDArray[np.int64]:
    """Block of each row. A block ends after ``block`` numbers, where no near group is open.

    A group that reaches over more than three blocks is no run of neighbours and holds no block open.
    """
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for number, group in zip(numbers.tolist(), groups.tolist(), strict=True):
        first[group] = min(first.get(group, number), number)
        last[group] = max(last.get(group, number), number)
    longest = 3 * max(block, BLOCK)
    reach = {g: last[g] if last[g] - first[g] <= longest else -1 for g in first}
    cells = np.empty(len(numbers), np.int64)
    cell, start, open_until = -1, -math.inf, -math.inf
    for index in np.lexsort((groups, numbers)).tolist():
        number = int(numbers[index])
        if cell < 0 or (number - start >= block and number > open_until):
            cell, start = cell + 1, number
        open_until = max(open_until, reach[int(groups[index])])
        cells[index] = cell
    return cells


def majority(choice: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which rows stand in the most frequent part of their group (ties: the part named first)."""
    votes: dict[int, Counter[int]] = {}
    for group, part in zip(groups.tolist(), choice.tolist(), strict=True):
        votes.setdefault(group, Counter())[part] += 1
    winner = {group: min(count, key=lambda part: (-count[part], part)) for group, count in votes.items()}
    return np.array([winner[g] == p for g, p in zip(groups.tolist(), choice.tolist(), strict=True)], bool)


def clear_of_gap(
    numbers: NDArray[np.int64], choice: NDArray[np.int64], gap: int, rank: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which rows stay when every pair of different parts is brought more than ``gap`` apart.

    Of two rows too near to each other the one whose part has the larger share goes.
    """
    keep = choice >= 0
    for part in np.argsort(-rank).tolist():
        placed = np.unique(numbers[keep & (choice == part)])
        if not placed.size:
            continue
        at = np.searchsorted(placed, numbers)
        below = numbers - placed[np.maximum(at - 1, 0)]
        above = placed[np.minimum(at, placed.size - 1)] - numbers
        near = ((at > 0) & (below <= gap)) | ((at < placed.size) & (above <= gap))
        keep &= ~(near & (rank[np.maximum(choice, 0)] < rank[part]) & (choice != part))
    return keep
