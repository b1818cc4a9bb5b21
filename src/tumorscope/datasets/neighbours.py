"""Pairs of thumbnails that pass the first look, found among many without comparing all with all.

Each first look is folded into some 100 numbers that no turn changes and whose distance never exceeds that of the
first looks in their nearest turn. So what is far apart there is far apart in every turn, and one product of two
small matrices rules out nearly all pairs; only the rest is compared in full.

Why that holds: the eight turns are orthogonal maps, and `likeness` parts a first look into six pieces that a turn
keeps, changes in sign, or swaps. On an orthonormal basis of each piece, the coordinates of the first piece themselves,
the absolute values of those that change sign, and the larger and smaller absolute value of the two that are swapped
are the same for all turns; and taking absolute values, sorting two numbers and taking norms never increases a
distance.

Up to `ALL` scans all pairs are compared so, and nothing is lost. Of more, the folded numbers are clustered into cells
of some `CELL` scans and each cell is compared with the `PROBES` nearest ones: work grows with the number of scans
instead of its square.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorscope.datasets.likeness import first_look, parts_of, turn_likeness
from tumorscope.datasets.thumbnails import SIDE

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
#: Folded numbers kept, those that vary most.
KEPT = 96
#: First looks that the basis is fitted on.
SAMPLE = 8192
#: Scans up to which all pairs are compared.
ALL = 12_000
#: Mean number of scans in a cell, and cells that each is compared with. Of 54,000 pairs among 100,000 scans 128 cells
#: miss 52, 2 of them copies, 192 cells 13 and none, and 384 cells take twice the time.
CELL, PROBES = 128, 192
#: Scans a cell that the cells are fitted on, and rounds of fitting; better cells would not pay.
FITTED, ROUNDS = 16, 4
#: Columns of the product computed at once: 128 x 2048 floats are 1 MB and stay in the cache.
COLUMNS = 2048
#: Pairs compared in full at once: their two first looks are 37 MB.
AT_ONCE = 8192
#: What rounding may take from a product of unit vectors in float32.
ROUNDING = 1e-5


#: The turn that undoes each turn: a quarter turn to one side (5 or 6) is undone by that to the other.
UNDOES = np.array([0, 1, 2, 3, 4, 6, 5, 7])
NOTHING = np.zeros((0, SIDE * SIDE), np.float32)
_Pairs = tuple[IntArray, IntArray, IntArray, FloatArray]
_NO_PAIRS: _Pairs = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))


@dataclass(frozen=True)
class Near:
    """Pairs that pass the first look, each once.

    Parameters
    ----------
    one, other : (n,) int arrays
        Places in the list of rows, ``one < other``, in ascending order.
    view, turn : (n,) int arrays
        The thumbnail, and the turn of ``other``, in which they are most alike.
    value : (n,) float array
        The correlation there.
    """

    one: IntArray
    other: IntArray
    view: IntArray
    turn: IntArray
    value: FloatArray


def near_pairs(prints: FloatArray, rows: IntArray, least: float) -> Near:
    """Pairs among ``rows`` whose first look reaches ``least`` in a view and turn.

    Parameters
    ----------
    prints : (N, 2, 24, 24) float32 array
        From `thumbnails.fingerprints`.
    rows : (R,) int array
        The rows to compare, best in the order of their content: which cells there are hangs on their order.
    least : float
        Correlation in (0, 1].
    """
    found = [_near_in_view(prints[:, view], rows, least) for view in (0, 1)]
    one, other, turn, value = (np.concatenate(both) for both in zip(*found, strict=True))
    view = np.repeat(np.arange(2), [len(part[0]) for part in found])
    order = np.lexsort((-value, other, one))
    one, other, view, turn, value = one[order], other[order], view[order], turn[order], value[order]
    first = np.ones(len(one), bool)
    first[1:] = (one[1:] != one[:-1]) | (other[1:] != other[:-1])
    return Near(one[first], other[first], view[first], turn[first], value[first])


def _near_in_view(pictures: FloatArray, rows: IntArray, least: float) -> _Pairs:
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # scikit-learn brings it

    with threadpool_limits(1), ThreadPoolExecutor(cores()) as pool:
        blocks = [rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE)]
        seen = np.concatenate([NOTHING, *pool.map(lambda some: first_look(pictures[some]), blocks)])
        visible = np.flatnonzero(seen.any(axis=1))
        if len(visible) < 2:
            return _NO_PAIRS
        folds = fold(seen[visible] if len(visible) < len(seen) else seen)
        cells = _cells(folds)
        place = np.concatenate(cells)
        seen, folds = seen[visible[place]], folds[place]
        ends = np.cumsum([0, *(len(cell) for cell in cells)])
        index = _Index(seen, folds, ends)
        parts = list(pool.map(lambda link: index.compare(link[0], link[1], least), _links(folds, ends)))
    left, right, turn, value = (np.concatenate(some) for some in zip(_NO_PAIRS, *parts, strict=True))
    one, other = visible[place[left]], visible[place[right]]
    turn = np.where(one > other, UNDOES[turn], turn)
    return np.minimum(one, other), np.maximum(one, other), turn, value


class _Index:
    """First looks in the order of their cells, with the products' two sides."""

    def __init__(self, seen: FloatArray, folds: FloatArray, ends: IntArray) -> None:
        level = 0.5 * (folds**2).sum(1)
        ones = np.ones_like(level)
        self._seen, self._ends = seen, ends
        self._rows = np.column_stack([folds, -level, ones])
        self._columns = np.column_stack([folds, ones, -level])

    def compare(self, cell: int, others: IntArray, least: float) -> _Pairs:
        """Pairs of a row of ``cell`` with a later row of ``others``."""
        ends = self._ends
        start, stop = int(ends[cell]), int(ends[cell + 1])
        where = np.concatenate([np.arange(ends[other], ends[other + 1]) for other in others])
        floor = np.float32(least - 1 - ROUNDING)  # unit vectors: half the squared distance is 1 - correlation
        left, right = [], []
        for begin in range(0, len(where), COLUMNS):
            some = where[begin : begin + COLUMNS]
            i, j = np.nonzero(self._rows[start:stop] @ self._columns[some].T >= floor)
            left.append(i + start)
            right.append(some[j])
        one, other = np.concatenate(left), np.concatenate(right)
        return self._confirmed(one[other > one], other[other > one], least)

    def _confirmed(self, left: IntArray, right: IntArray, least: float) -> _Pairs:
        turns, values = np.empty(len(left), np.int64), np.empty(len(left), np.float32)
        for start in range(0, len(left), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            likes = turn_likeness(self._seen[left[some]], self._seen[right[some]])
            turns[some], values[some] = likes.argmax(1), likes.max(1)
        good = values >= least - ROUNDING
        return left[good], right[good], turns[good], values[good]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fold(seen: FloatArray, kept: int = KEPT) -> FloatArray:
    """Numbers (N, kept + 6) that no turn of a first look (N, 576) changes; see the module's text.

    The basis is fitted on evenly spaced rows; the last six numbers are the lengths of what the basis leaves out of
    each part.
    """
    sample = seen[:: max(1, -(-len(seen) // SAMPLE))]
    bases, spread = [], []
    for number, part in enumerate(parts_of(sample)):
        if number == 5:
            break
        rows = np.concatenate([part, parts_of(sample)[5]]) if number == 4 else part
        basis = np.linalg.eigh(np.cov(rows.T, bias=True) if number == 0 else rows.T @ rows)[1][:, ::-1]
        basis = np.ascontiguousarray(basis[:, :kept], np.float32)
        bases.append(basis)
        spread += [values.var(axis=0) for values in _folded(number, sample, basis)]
    every = np.concatenate(spread)
    least = np.sort(every)[::-1][min(kept, len(every)) - 1]
    counts = [max(1, int((values >= least).sum())) for values in spread[:4]]
    counts.append(max(1, int((spread[4] >= least).sum())))
    numbers, rests = [], []
    for number, (basis, count) in enumerate(zip(bases, counts, strict=True)):
        numbers += _folded(number, seen, basis[:, :count])
        rests += _rests(number, seen, basis[:, :count])
    return np.ascontiguousarray(np.concatenate([*numbers, np.stack(rests, 1)], axis=1), np.float32)


def _folded(number: int, seen: FloatArray, basis: FloatArray) -> list[FloatArray]:
    parts = parts_of(seen)
    if number == 0:
        return [parts[0] @ basis]
    if number < 4:
        return [np.abs(parts[number] @ basis)]
    left, up = np.abs(parts[4] @ basis), np.abs(parts[5] @ basis)
    return [np.maximum(left, up), np.minimum(left, up)]


def _rests(number: int, seen: FloatArray, basis: FloatArray) -> list[FloatArray]:
    """Lengths of what ``basis`` leaves out of a part; of the two that are swapped, the larger first."""

    def rest(part: FloatArray) -> FloatArray:
        return np.linalg.norm(part - (part @ basis) @ basis.T, axis=1)

    parts = parts_of(seen)
    if number < 4:
        return [rest(parts[number])]
    left, up = rest(parts[4]), rest(parts[5])
    return [np.maximum(left, up), np.minimum(left, up)]


def _cells(folds: FloatArray) -> list[IntArray]:
    """Rows of each cell."""
    count = len(folds)
    if count <= ALL:
        return [np.arange(start, min(start + CELL, count)) for start in range(0, count, CELL)]
    from sklearn.cluster import KMeans

    number = max(1, count // CELL)
    step = max(1, count // (FITTED * number))
    seeds = folds[:: count // number][:number]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where many scans are equal there are fewer clusters than seeds
        found = KMeans(len(seeds), init=seeds, n_init=1, max_iter=ROUNDS).fit(folds[::step])
    owner = np.concatenate([found.predict(folds[start : start + 8192]) for start in range(0, count, 8192)])
    members = np.split(np.argsort(owner, kind="stable"), np.cumsum(np.bincount(owner, minlength=len(seeds)))[:-1])
    return [rows for rows in members if len(rows)]


def _links(folds: FloatArray, ends: IntArray) -> Iterator[tuple[int, IntArray]]:
    """Each cell with those of its own or a higher number that it is to be compared with."""
    number = len(ends) - 1
    if len(folds) <= ALL:
        for cell in range(number):
            yield cell, np.arange(cell, number)
        return
    centres = np.add.reduceat(folds, ends[:-1]) / np.diff(ends)[:, None]
    apart = (centres**2).sum(1)[:, None] - 2 * centres @ centres.T + (centres**2).sum(1)
    linked = np.zeros((number, number), bool)
    nearest = np.argpartition(apart, min(PROBES, number) - 1, axis=1)[:, :PROBES]
    linked[np.arange(number)[:, None], nearest] = True
    linked |= linked.T
    for cell in range(number):
        yield cell, cell + np.flatnonzero(linked[cell, cell:])
