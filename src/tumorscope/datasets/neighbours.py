"""Pairs of thumbnails that pass the first look, found among many without comparing all with all.

Each first look is folded into some 70 numbers that no turn changes and whose distance never exceeds that of the
first looks in their nearest turn. So what is far apart there is far apart in every turn, and one product of two
small matrices rules out nearly all pairs. Of the rest, some 100 coordinates of each give a ceiling that the
correlation exceeds in no turn; only the pairs whose ceiling is high enough are compared in full.

Why that holds: the eight turns are orthogonal maps, and `likeness` parts a first look into six pieces that a turn
keeps, changes in sign, or swaps. On an orthonormal basis of each piece, the coordinates of the first piece themselves,
the absolute values of those that change sign, and the larger and smaller absolute value of the two that are swapped
are the same for all turns; and taking absolute values, sorting two numbers and taking norms never increases a
distance. For the ceiling, what a basis leaves out of two pieces adds at most the product of its lengths.

Up to `ALL` scans all pairs are compared so, and nothing is lost. Of more, the folded numbers are clustered into cells
of some `CELL` scans and each cell is compared with the `PROBES` nearest ones: that work grows with the number of
scans. What grows with its square are the strangers that pass each stage, so the stages that they reach are cheap.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorscope.datasets.likeness import TURNS, first_look, parts_of, turn_likeness
from tumorscope.datasets.thumbnails import SIDE

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
#: Folded numbers kept, those that vary most. Of 200,000 scans' whole pictures 63 numbers let 14 million pairs through
#: in 11 s, 81 let 7 million through in 13 s and 113 numbers 4 million in 21 s.
KEPT = 72
#: Coordinates that the ceiling is made from, those of most weight. Of 200,000 scans 17 million pairs come to it, in
#: both views, of which it lets 0.70 million through; 0.34 million are near.
SIGNED = 96
#: First looks that the basis is fitted on.
SAMPLE = 8192
#: Scans up to which all pairs are compared.
ALL = 12_000
#: Mean number of scans in a cell, and cells that each is compared with. Of 57,600 copies among 200,000 scans 96 cells
#: miss 18, 128 miss 4, 192 miss 1 and 208 none; work grows with them.
CELL, PROBES = 128, 208
#: Scans a cell that the cells are fitted on, and rounds of fitting; better cells would not pay.
FITTED, ROUNDS = 16, 4
#: Scans whose cell is sought at once: with the 1,562 centres of 200,000 scans 6 MB.
OWNED = 1024
#: Products computed at once: as floats 1 MB, which stays in the cache.
PRODUCTS = 2**18
#: Pairs or scans looked at at once: the first looks of 8,192 pairs are 37 MB.
AT_ONCE = 8192
#: What rounding may take from a product of unit vectors in float32.
ROUNDING = 1e-5
#: The turn that undoes each turn: a quarter turn to one side (5 or 6) is undone by that to the other.
UNDOES = np.array([0, 1, 2, 3, 4, 6, 5, 7])
NO_PAIRS = np.zeros((0, 2), np.int64)


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

    Whichever view a pair was found in, both say which view and turn it is most alike in.

    Parameters
    ----------
    prints : (N, 2, 24, 24) float32 array
        From `thumbnails.fingerprints`.
    rows : (R,) int array
        The rows to compare, best in the order of their content: which cells there are hangs on their order.
    least : float
        Correlation in (0, 1].
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # scikit-learn brings it

    with threadpool_limits(1), ThreadPoolExecutor(cores()) as pool:
        looks = [_looks(prints[:, view], rows, pool) for view in (0, 1)]
        pairs = np.concatenate([_near_in_view(seen, least, pool) for seen in looks])
        one, other = np.divmod(np.unique(pairs[:, 0] * len(rows) + pairs[:, 1]), max(1, len(rows)))

        def best(some: slice) -> tuple[IntArray, FloatArray]:
            likes = np.concatenate([turn_likeness(seen[one[some]], seen[other[some]]) for seen in looks], axis=1)
            return likes.argmax(1), likes.max(1)

        found = list(pool.map(best, _blocks(len(one))))
    number = np.concatenate([np.zeros(0, np.int64), *(part[0] for part in found)])
    value = np.concatenate([np.zeros(0, np.float32), *(part[1] for part in found)])
    view, turn = np.divmod(number, TURNS)
    return Near(one, other, view, turn, value)


def _looks(pictures: FloatArray, rows: IntArray, pool: Executor) -> FloatArray:
    """First looks (R, 576) at the rows of ``pictures``."""
    seen = np.empty((len(rows), SIDE * SIDE), np.float32)

    def look(some: slice) -> None:
        seen[some] = first_look(pictures[rows[some]])

    list(pool.map(look, _blocks(len(rows))))
    return seen


def _near_in_view(every: FloatArray, least: float, pool: Executor) -> IntArray:
    """Pairs (n, 2) of first looks that reach ``least`` in some turn, the lower place first."""
    visible = np.flatnonzero(every.any(axis=1))
    if len(visible) < 2:
        return NO_PAIRS
    seen = every if len(visible) == len(every) else every[visible]
    folds = fold(seen, pool=pool)
    cells = _cells(folds, pool)
    place = np.concatenate(cells)
    ends = np.cumsum([0, *(len(cell) for cell in cells)])
    folds = folds[place]
    index = _Index(seen, place, folds, _Signed.of(seen, place, pool=pool), ends)
    parts = pool.map(lambda link: index.compare(link[0], link[1], least), _links(folds, ends))
    return np.sort(visible[place[np.concatenate([NO_PAIRS, *parts])]], axis=1)


def _blocks(count: int) -> list[slice]:
    return [slice(start, min(start + AT_ONCE, count)) for start in range(0, count, AT_ONCE)]


class _Index:
    """Rows in the order of their cells, as numbers of three lengths: folded, signed, and the first looks themselves.

    Parameters
    ----------
    seen : (N, 576) array
        First looks, in any order.
    place : (N,) int array
        Which first look each row is.
    folds, signed
        Of the rows.
    ends : (cells + 1,) int array
        Where each cell's rows begin.
    """

    def __init__(self, seen: FloatArray, place: IntArray, folds: FloatArray, signed: _Signed, ends: IntArray) -> None:
        level = 0.5 * (folds**2).sum(1)
        ones = np.ones_like(level)
        self._seen, self._place, self._signed, self._ends = seen, place, signed, ends
        self._rows = np.column_stack([folds, -level, ones])
        self._columns = np.column_stack([folds, ones, -level])

    def compare(self, cell: int, others: IntArray, least: float) -> IntArray:
        """Pairs (n, 2) of a row of ``cell`` with a later row of ``others``."""
        ends = self._ends
        start, stop = int(ends[cell]), int(ends[cell + 1])
        where = np.concatenate([np.arange(ends[other], ends[other + 1]) for other in others])
        floor = np.float32(least - 1 - ROUNDING)  # unit vectors: half the squared distance is 1 - correlation
        step = max(1, PRODUCTS // (stop - start))
        found = []
        for begin in range(0, len(where), step):
            some = where[begin : begin + step]
            near = self._rows[start:stop] @ self._columns[some].T >= floor
            i, j = np.divmod(np.flatnonzero(near), len(some))  # 13 times as fast as nonzero in two dimensions
            found.append(np.column_stack([i + start, some[j]]))
        pairs = np.concatenate(found)
        pairs = pairs[pairs[:, 1] > pairs[:, 0]]
        return np.concatenate([NO_PAIRS, *(self._confirmed(pairs[some], least) for some in _blocks(len(pairs)))])

    def _confirmed(self, pairs: IntArray, least: float) -> IntArray:
        """Those of the pairs whose first looks reach ``least``; the ceiling saves most from being compared in full."""
        pairs = pairs[self._signed.ceiling(pairs[:, 0], pairs[:, 1]) >= least - 2 * ROUNDING]
        ours, theirs = (self._seen[self._place[pairs[:, side]]] for side in (0, 1))
        return pairs[turn_likeness(ours, theirs).max(1) >= least - ROUNDING]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fold(seen: FloatArray, kept: int = KEPT, *, pool: Executor | None = None) -> FloatArray:
    """Numbers (N, about kept + 6) that no turn of a first look (N, 576) changes; see the module's text.

    The basis is fitted on evenly spaced rows; the last six numbers are the lengths of what the basis leaves out of
    each part. ``pool`` computes blocks of rows at once.
    """
    bases = _bases(seen, kept, lambda number, parts, basis: _folded(number, parts, basis)[0].var(axis=0))

    def folded(some: slice) -> FloatArray:
        parts = parts_of(seen[some])
        numbers = [column for number, basis in enumerate(bases) for column in _folded(number, parts, basis)]
        rests = [_rest(part, basis) for part, basis in zip(parts, [*bases, bases[4]], strict=True)]
        rests[4:] = [np.maximum(*rests[4:]), np.minimum(*rests[4:])]
        return np.concatenate([*numbers, np.stack(rests, 1)], axis=1)

    return np.concatenate(list((pool.map if pool else map)(folded, _blocks(len(seen)))), dtype=np.float32)


def _bases(
    seen: FloatArray, kept: int, worth: Callable[[int, list[FloatArray], FloatArray], NDArray]
) -> list[FloatArray]:
    """Orthonormal bases of the first five parts (the last two share one), some ``kept`` vectors worth most in all."""
    sample = parts_of(seen[:: max(1, -(-len(seen) // SAMPLE))])
    bases = []
    for rows in (*sample[:4], np.concatenate(sample[4:])):
        basis = np.linalg.eigh(rows.T @ rows)[1][:, ::-1]
        bases.append(np.ascontiguousarray(basis[:, :kept], np.float32))
    worths = [worth(number, sample, basis) for number, basis in enumerate(bases)]
    every = np.concatenate([*worths, worths[4]])
    least = np.sort(every)[::-1][min(kept, len(every)) - 1]
    counts = [max(1, int((values >= least).sum())) for values in worths]
    return [np.ascontiguousarray(basis[:, :count]) for basis, count in zip(bases, counts, strict=True)]


def _folded(number: int, parts: list[FloatArray], basis: FloatArray) -> list[FloatArray]:
    if number == 0:
        return [parts[0] @ basis]
    if number < 4:
        return [np.abs(parts[number] @ basis)]
    left, up = np.abs(parts[4] @ basis), np.abs(parts[5] @ basis)
    return [np.maximum(left, up), np.minimum(left, up)]


def _rest(part: FloatArray, basis: FloatArray) -> FloatArray:
    """Lengths of what ``basis`` leaves out of a part."""
    return np.linalg.norm(part - (part @ basis) @ basis.T, axis=1)


@dataclass(frozen=True)
class _Signed:
    """The coordinates of most weight of N first looks, part by part, then the lengths of what they leave out."""

    numbers: FloatArray
    ends: tuple[int, ...]

    @classmethod
    def of(cls, seen: FloatArray, place: IntArray, kept: int = SIGNED, *, pool: Executor | None = None) -> _Signed:
        """Some ``kept`` coordinates of the first looks (M, 576) in the order ``place`` (N,)."""
        bases = _bases(seen, kept, lambda number, parts, basis: ((parts[number] @ basis) ** 2).mean(axis=0))
        bases.append(bases[4])

        def signed(some: slice) -> FloatArray:
            parts = parts_of(seen[place[some]])
            numbers = [part @ basis for part, basis in zip(parts, bases, strict=True)]
            rests = [_rest(part, basis) for part, basis in zip(parts, bases, strict=True)]
            return np.concatenate([*numbers, np.stack(rests, 1)], axis=1)

        numbers = np.concatenate(list((pool.map if pool else map)(signed, _blocks(len(place)))), dtype=np.float32)
        return cls(numbers, tuple(np.cumsum([basis.shape[1] for basis in bases]).tolist()))

    def ceiling(self, left: IntArray, right: IntArray) -> FloatArray:
        """What the correlation of the rows ``left`` (n,) with any turn of the rows ``right`` (n,) does not exceed."""
        *a, ours = np.split(self.numbers[left], self.ends, axis=1)
        *b, theirs = np.split(self.numbers[right], self.ends, axis=1)

        def dots(one: FloatArray, other: FloatArray) -> FloatArray:
            return np.einsum("nk,nk->n", one, other)

        plus, minus, oplus, ominus, left_, up = (dots(x, y) for x, y in zip(a, b, strict=True))
        rest = dots(ours, theirs)
        straight = np.maximum(oplus + ominus + np.abs(left_ + up), np.abs(left_ - up) - oplus - ominus) + minus + rest
        left_, up = dots(a[4], b[5]), dots(a[5], b[4])
        rest = dots(ours, theirs[:, [0, 1, 2, 3, 5, 4]])
        across = np.maximum(oplus - ominus + np.abs(left_ + up), np.abs(left_ - up) - oplus + ominus) - minus + rest
        return plus + np.maximum(straight, across)


def _cells(folds: FloatArray, pool: Executor | None = None) -> list[IntArray]:
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
    centres = found.cluster_centers_.T
    level = 0.5 * (centres**2).sum(0)
    starts = range(0, count, OWNED)
    owners = (pool.map if pool else map)(
        lambda start: (folds[start : start + OWNED] @ centres - level).argmax(1), starts
    )
    owner = np.concatenate(list(owners))
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
