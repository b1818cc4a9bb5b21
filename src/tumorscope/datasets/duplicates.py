"""Near-duplicate scans: small thumbnails, compared however turned or mirrored, and laid over each other.

Two scans are copies when they pass two looks (`likeness`): the first, at `NEAR`, finds what looks alike, and the
second, at `THRESHOLD`, keeps those whose detail agrees. `neighbours` finds the first without comparing all with all.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.datasets.likeness import AT_ONCE, first_look, likeness, overlaid
from tumorscope.datasets.neighbours import ROUNDING, UNDOES, cores, near_pairs
from tumorscope.datasets.thumbnails import SIDE, fingerprints, thumbnails
from tumorscope.errors import DataError

__all__ = [
    "COHESION",
    "NEAR",
    "SIDE",
    "THRESHOLD",
    "Copies",
    "copies",
    "correlations",
    "fingerprints",
    "groups",
    "similar",
    "thumbnails",
]

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
#: Correlation in the first look from which two scans are looked at again.
NEAR = 0.90
#: Correlation of their detail from which two scans count as one. At 0.96 no pair of different patients in TCGA-LGG and
#: no slices of cheng more than 60 numbers apart do (4 and 20 pairs at 0.90), and all rescaled, recompressed, mirrored
#: copies (duplicates_accuracy.py, which shows other changes and thresholds).
THRESHOLD = 0.96
#: By so much the detail may agree less when the other of the two is moved: 0.04 at most of 7,500 real pairs.
EITHER_WAY = 0.05
#: Mean first look that two halves of a group must reach; a chain of likenesses is cut where they do not.
COHESION = 0.85
#: Longest chain that average linkage takes: its square must fit in memory. A longer one is cut into stars.
LONGEST = 2000


def _check(*thresholds: float) -> None:
    for value in thresholds:
        if not 0 < value <= 1:
            raise DataError(f"threshold: {value:g} is no correlation to find copies by; give one above 0 and up to 1")


def correlations(prints: FloatArray, rows: IntArray | slice, columns: IntArray | slice) -> FloatArray:
    """Largest first look (R, C) between rows and columns of `fingerprints`, over head and whole and all eight turns.

    The eight are the four mirror images (left-right, upside-down, both, none), each also transposed. For many rows,
    `similar` is faster.

    Examples
    --------
    >>> ramp = np.tile(np.arange(48.0), (48, 1))
    >>> prints = fingerprints([np.sin(ramp / 5), np.sin(ramp / 5).T, np.sin(ramp / 9)])
    >>> correlations(prints, slice(0, 1), slice(None)).round(1).tolist()[0][:2]
    [1.0, 1.0]
    """
    heads, wholes = (likeness(first_look(prints[rows, v]), first_look(prints[columns, v])) for v in (0, 1))
    return np.maximum(heads, wholes)


@dataclass(frozen=True)
class Copies:
    """Pairs of rows that are copies of each other, in ascending order; all arrays (n,).

    Parameters
    ----------
    i, j : int arrays
        Rows, ``i < j``.
    value : float array
        How well the detail agrees, when one is laid over the other: at least the threshold, 1 for equal thumbnails.
    turn : int array
        `likeness.turned` brings ``j`` to ``i`` by this number: 0 as it stands, 1 mirrored left-right, 2 upside-down,
        3 by 180 degrees, 5 and 6 by 90 degrees, 4 and 7 by 90 degrees and mirrored.
    """

    i: IntArray
    j: IntArray
    value: FloatArray
    turn: IntArray


def copies(prints: FloatArray, threshold: float = THRESHOLD, *, near: float = NEAR) -> Copies:
    """Pairs of copies with how well and in which turn they agree.

    A pair counts when its first look reaches ``near`` and its second ``threshold``; see `likeness`. It does not hang
    on the other rows nor on their order (for more than `neighbours.ALL` scans: but for the few pairs that are missed).

    Parameters
    ----------
    prints : (N, 2, 24, 24) float array
        From `fingerprints`.
    threshold, near : float
        Correlations in (0, 1].

    Raises
    ------
    DataError
        If a threshold is no such correlation.

    Examples
    --------
    >>> x = np.tile(np.arange(48.0), (48, 1))
    >>> wave, other = np.sin(x / 5) + np.cos(x.T / 7), np.sin(x / 9) * np.cos(x.T / 4)
    >>> copies(fingerprints([wave, other, wave.T])).turn.tolist()
    [4]
    """
    _check(threshold, near)
    rows, place = _distinct(prints)
    found = _pairs(prints, rows, threshold, near)
    same = np.flatnonzero(np.bincount(place[place >= 0], minlength=len(rows)) > 1)
    none = np.zeros(len(same), np.int64)
    one, other = np.concatenate([found.i, same]), np.concatenate([found.j, same])
    value, turn = np.concatenate([found.value, none + np.float32(1)]), np.concatenate([found.turn, none])
    pair, left, right = _between(place, one, other)
    good = (left < right) | (one[pair] != other[pair])
    pair, left, right = pair[good], left[good], right[good]
    turns = np.where(left > right, UNDOES[turn[pair]], turn[pair])
    i, j = np.minimum(left, right), np.maximum(left, right)
    order = np.lexsort((j, i))
    return Copies(i[order], j[order], value[pair][order].astype(np.float32), turns[order])


def similar(prints: FloatArray, threshold: float = THRESHOLD) -> tuple[IntArray, IntArray, FloatArray]:
    """Pairs ``i < j`` of copies, and how well the detail of each agrees; see `copies`.

    Examples
    --------
    >>> x = np.tile(np.arange(48.0), (48, 1))
    >>> wave, other = np.sin(x / 5) + np.cos(x.T / 7), np.sin(x / 9) * np.cos(x.T / 4)
    >>> [part.tolist() for part in similar(fingerprints([wave, other, wave.T]))[:2]]
    [[0], [2]]
    """
    found = copies(prints, threshold)
    return found.i, found.j, found.value


def _distinct(prints: FloatArray) -> tuple[IntArray, IntArray]:
    """One row of each content, in an order that hangs on contents only, and the place of each row (N,) in that list.

    A row in which nothing can be seen is like nothing, not even its equal: it has place -1.
    """
    place = np.full(len(prints), -1, np.int64)
    visible = np.flatnonzero(prints.reshape(len(prints), -1).any(axis=1)) if len(prints) else np.zeros(0, np.int64)
    if not len(visible):
        return visible, place
    keys = np.array([blake2b(prints[row].tobytes(), digest_size=16).digest() for row in visible], "V16")
    _, first, place[visible] = np.unique(keys, return_index=True, return_inverse=True)
    return visible[first], place


def _pairs(prints: FloatArray, rows: IntArray, threshold: float, near: float) -> Copies:
    """Pairs of places in ``rows`` that pass both looks, whichever of the two is laid over the other."""
    found = near_pairs(prints, rows, near)
    one, other = rows[found.one], rows[found.other]
    value = _detail(prints, one, other, found.view, found.turn)
    short = np.flatnonzero((value < threshold - ROUNDING) & (value >= threshold - EITHER_WAY))
    again = _detail(prints, other[short], one[short], found.view[short], UNDOES[found.turn[short]])
    value[short] = np.maximum(value[short], again)
    good = value >= threshold - ROUNDING
    return Copies(found.one[good], found.other[good], value[good], found.turn[good])


def _detail(prints: FloatArray, one: IntArray, other: IntArray, view: IntArray, turn: IntArray) -> FloatArray:
    """`likeness.overlaid`, on all cores."""

    def some(start: int) -> FloatArray:
        part = slice(start, start + AT_ONCE)
        return overlaid(prints, one[part], other[part], view[part], turn[part])

    with ThreadPoolExecutor(cores()) as pool:
        return np.concatenate([np.zeros(0, np.float32), *pool.map(some, range(0, len(one), AT_ONCE))])


def _between(place: IntArray, one: IntArray, other: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Every row of place ``one`` with every row of place ``other``: the pair's number, and the two rows."""
    order = np.argsort(place, kind="stable")
    order = order[np.searchsorted(place[order], 0) :]
    size = np.bincount(place[order], minlength=int(max(one.max(initial=0), other.max(initial=0))) + 1)
    begin = np.cumsum(size) - size
    count = size[one] * size[other]
    pair = np.repeat(np.arange(len(one)), count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    left, right = within // size[other][pair], within % size[other][pair]
    return pair, order[begin[one][pair] + left], order[begin[other][pair] + right]


def groups(prints: FloatArray, threshold: float = THRESHOLD, *, found: Copies | None = None) -> IntArray:
    """Group number (N,) of each scan: near-duplicates share one. Numbered by first appearance.

    Copies (`similar`) are chained. A chain in which not all are copies of all is then built up by average
    linkage of their first looks, and two parts whose mean is below `COHESION` stay apart, so that a series of small
    changes does not tie strangers together. A chain longer than `LONGEST` is cut into stars instead: the scan with most
    copies takes whatever can be reached from it over copies and whose first look at it reaches `COHESION`, and so on
    with the rest. The grouping does not hang on the order of the rows.

    Parameters
    ----------
    prints : (N, 2, 24, 24) float array
        From `fingerprints`.
    threshold : float
        As for `similar`.
    found : Copies or None
        What `copies` found at this threshold, where that is known already.

    Examples
    --------
    >>> x = np.tile(np.arange(48.0), (48, 1))
    >>> wave, other = np.sin(x / 5) + np.cos(x.T / 7), np.sin(x / 9) * np.cos(x.T / 4)
    >>> groups(fingerprints([wave, other, wave.T])).tolist()
    [0, 1, 0]
    """
    _check(threshold)
    rows, place = _distinct(prints)
    pairs = _pairs(prints, rows, threshold, NEAR) if found is None else _once(place, found)
    result = len(rows) + np.arange(len(prints))  # what cannot be seen is alone
    result[place >= 0] = _gathered(prints, rows, _links(len(rows), pairs))[place[place >= 0]]
    _, first, number = np.unique(result, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number].astype(np.int64)


def _gathered(prints: FloatArray, rows: IntArray, links: Any) -> IntArray:
    """Group number of each of ``rows``, in the order of their content."""
    from scipy.sparse.csgraph import connected_components

    if not len(rows):
        return rows
    chain = connected_components(links, directed=False)[1].astype(np.int64)
    part = np.zeros(len(rows), np.int64)
    size = np.bincount(chain)
    ends = np.bincount(chain, np.diff(links.indptr))
    order = np.argsort(chain, kind="stable")
    begin = np.cumsum(size) - size
    for one in np.flatnonzero(ends < size * (size - 1)).tolist():
        members = order[begin[one] : begin[one] + size[one]]
        if len(members) > LONGEST:
            part[members] = _stars(prints, rows[members], links[members][:, members])
        else:
            part[members] = _coherent(prints, rows[members])
    return np.unique(np.column_stack([chain, part]), axis=0, return_inverse=True)[1].reshape(-1)


def _once(place: IntArray, found: Copies) -> Copies:
    """Pairs of places, each once; rows of one content make none."""
    one, other = place[found.i], place[found.j]
    low, high = np.minimum(one, other), np.maximum(one, other)
    _, first = np.unique(np.column_stack([low, high]), axis=0, return_index=True)
    first = first[low[first] != high[first]]
    return Copies(low[first], high[first], found.value[first], found.turn[first])


def _links(count: int, pairs: Copies) -> Any:
    """Sparse matrix (count, count) with 1 where two rows are copies of each other."""
    from scipy.sparse import csr_matrix

    ends = np.concatenate([pairs.i, pairs.j]), np.concatenate([pairs.j, pairs.i])
    return csr_matrix((np.ones(len(ends[0]), np.int8), ends), shape=(count, count))


def _coherent(prints: FloatArray, rows: IntArray) -> IntArray:
    """Parts of one chain, numbered from 0, by average linkage. ``rows`` are in the order of their content."""
    from scipy.cluster.hierarchy import fcluster, linkage

    above = np.triu_indices(len(rows), 1)
    apart = np.clip(1 - correlations(prints, rows, rows)[above], 0, None).astype(np.float64)
    return fcluster(linkage(apart, "average"), 1 - COHESION, "distance").astype(np.int64) - 1


def _stars(prints: FloatArray, rows: IntArray, links: Any) -> IntArray:
    """Parts of one chain, numbered from 0: what is reached from a scan and alike to it; scans of most copies first."""
    part = np.full(len(rows), -1, np.int64)
    for leader in np.argsort(-np.diff(links.indptr), kind="stable"):
        if part[leader] >= 0:
            continue
        part[leader] = part.max() + 1
        refused = np.zeros(len(rows), bool)
        edge = np.array([leader])
        while len(edge):
            near = np.unique(links[edge].indices)
            near = near[(part[near] < 0) & ~refused[near]]
            alike = correlations(prints, rows[[leader]], rows[near])[0] >= COHESION
            part[near[alike]] = part[leader]
            refused[near[~alike]] = True
            edge = near[alike]
    return part
