"""How alike two thumbnails are: a first look at all turns, a second look at the detail of those laid over each other.

*First look.* Each thumbnail is band-passed (what differs between two heads is neither their outline nor their
noise) and weighted by a disc (what a crop or a letter changes lies in the corners), then scaled to mean 0 and norm 1.
The likeness is the largest correlation over the eight turns. *Second look.* One thumbnail is shifted and stretched
until it lies on the other, and what is finer than the first look's band is compared. Two slices of one head, or two
heads of one collection, pass the first look and fail the second; a copy that was cropped passes both.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tumorscope.datasets.thumbnails import SIDE

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
#: Standard deviations in thumbnail pixels of the two Gaussians whose difference is the first look's band.
FINE, BROAD = 0.7, 2.5
#: Standard deviation of the Gaussian whose removal leaves the detail of the second look.
DETAIL = 2.0
#: The disc's weight falls to 0 at this radius (the square's half side is 1) and is 0 in the corners.
DISC = 1.1
#: Of a thumbnail's own norm, what the band must hold for the first look to see anything.
FAINT = 0.02
#: Turns of a square; turn t transposes if t & 4, then turns upside-down if t & 2, then left-right if t & 1.
TURNS = 8
#: Steps by which one thumbnail is laid over the other, and the pairs laid over each other at once: 10 MB.
STEPS, AT_ONCE = 4, 256
#: Most that a step moves an edge, and that all steps stretch or shift, in half sides.
STEP, REACH = 0.08, 0.15
#: A pair whose detail agrees as well as this is not moved further.
SETTLED = 0.98
#: Share added to the diagonal of the equations of a step, so that a featureless thumbnail hardly moves.
DAMPING = 0.02
#: A likeness fainter than this asks for no longer step than this one would.
LEAST_GAIN = 0.2
#: Of a pixel by which rounding may bring an edge outside.
EDGE = 0.01
#: Squared norms below this are zero; thumbnails have norm 1, their detail some 0.3.
TINY = 1e-9


def turned(pictures: NDArray, turn: int) -> NDArray:
    """``pictures`` (..., S, S) in the turn 0 to 7: transposed if 4 is in it, upside-down if 2, left-right if 1.

    Examples
    --------
    >>> turned(np.array([[1, 2], [3, 4]]), 5).tolist()
    [[3, 1], [4, 2]]
    """
    if turn & 4:
        pictures = pictures.swapaxes(-1, -2)
    if turn & 2:
        pictures = pictures[..., ::-1, :]
    return pictures[..., ::-1] if turn & 1 else pictures


@cache
def _disc() -> FloatArray:
    """Weights (24, 24) that no turn changes."""
    line = np.linspace(-1, 1, SIDE)
    return np.clip(DISC - np.hypot(line[:, None], line), 0, 1).astype(np.float32)


def _smooth(pictures: NDArray, width: float) -> NDArray:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(pictures, (0,) * (pictures.ndim - 2) + (width, width), mode="nearest")


@cache
def _parting() -> tuple[NDArray[np.float64], tuple[slice, ...]]:
    """Orthonormal basis (576, 576) of thumbnails by what the turns do to them, and its six parts.

    The parts, in this order: 0 and 1 even under both mirrors, of which a transposition leaves 0 and turns the sign of
    1; 2 and 3 odd under both, likewise; 4 odd left-right and even upside-down, 5 the transposed of such. Mirrors turn
    the signs of 2 and 3, of 4 (left-right) and of 5 (upside-down); a transposition swaps 4 and 5.
    """
    half = SIDE // 2
    units = np.eye(half * half).reshape(-1, half, half)
    row, column = np.triu_indices(half)
    above, left = np.triu_indices(half, 1)
    plus = units[row * half + column] + units[column * half + row]
    plus /= np.linalg.norm(plus, axis=(1, 2), keepdims=True)
    minus = (units[above * half + left] - units[left * half + above]) / np.sqrt(2)

    def unfolded(quarter: NDArray, down: int, across: int) -> NDArray:
        wide = np.concatenate([quarter, across * quarter[..., ::-1]], axis=-1)
        return np.concatenate([wide, down * wide[..., ::-1, :]], axis=-2) / 2

    odd = unfolded(units, 1, -1)
    parts = [
        unfolded(plus, 1, 1), unfolded(minus, 1, 1), unfolded(plus, -1, -1), unfolded(minus, -1, -1),
        odd, odd.swapaxes(-1, -2),
    ]  # fmt: skip
    ends = np.cumsum([0, *(len(part) for part in parts)])
    places = tuple(slice(a, b) for a, b in pairwise(ends.tolist()))
    return np.concatenate(parts).reshape(-1, SIDE * SIDE), places


@cache
def _band() -> FloatArray:
    """Matrix (576, 576) from a thumbnail to its band-passed, weighted and centred parts."""
    units = np.eye(SIDE * SIDE).reshape(-1, SIDE, SIDE)
    band = (_smooth(units, FINE) - _smooth(units, BROAD)).reshape(SIDE * SIDE, -1)
    weight = _disc().astype(np.float64).ravel()
    band -= (band @ weight / weight.sum())[:, None]
    return (band * np.sqrt(weight) @ _parting()[0].T).astype(np.float32)


def first_look(thumbnails: FloatArray) -> FloatArray:
    """First look (N, 576) at thumbnails (N, 24, 24): unit vectors, or zeros where there is nothing to see.

    Their coordinates are those of six parts that turns leave, swap, or change in sign (`parts_of`), so that one dot
    product a part serves all eight turns.
    """
    block = np.ascontiguousarray(thumbnails, np.float32).reshape(-1, SIDE * SIDE)
    look = block @ _band()
    norm = np.linalg.norm(look, axis=1, keepdims=True)
    clear = norm > FAINT * np.linalg.norm(block, axis=1, keepdims=True)
    return np.where(clear, look / np.maximum(norm, 1e-12), 0).astype(np.float32, copy=False)


def parts_of(seen: FloatArray) -> list[FloatArray]:
    """The six parts of first looks (..., 576), as views of them; see `first_look`."""
    return [seen[..., place] for place in _parting()[1]]


def likeness(rows: FloatArray, columns: FloatArray) -> FloatArray:
    """Largest correlation (R, C) of each first look (R, 576) with the eight turns of each other one (C, 576).

    With the dot products s of the parts, the four mirror images give ``max(e + o + |l + u|, e - o + |l - u|)``:
    e of what is even twice, o odd twice, l and u odd once. Transposed, the antisymmetric parts change sign and
    the last two are swapped.
    """
    ours, theirs = parts_of(rows), parts_of(columns)
    plus, minus, oplus, ominus, left, up = (a @ b.T for a, b in zip(ours, theirs, strict=True))
    straight = np.maximum(oplus + ominus + np.abs(left + up), np.abs(left - up) - oplus - ominus) + plus + minus
    left, up = ours[4] @ theirs[5].T, ours[5] @ theirs[4].T
    across = np.maximum(oplus - ominus + np.abs(left + up), np.abs(left - up) - oplus + ominus) + plus - minus
    return np.maximum(straight, across)


def turn_likeness(ours: FloatArray, theirs: FloatArray) -> FloatArray:
    """Correlations (n, 8) of first looks (n, 576) with each turn of their partners (n, 576)."""

    def dots(one: FloatArray, other: FloatArray) -> FloatArray:
        return np.einsum("nk,nk->n", one, other)

    a, b = parts_of(ours), parts_of(theirs)
    plus, minus, oplus, ominus, left, up = (dots(x, y) for x, y in zip(a, b, strict=True))
    crossed = dots(a[4], b[5]), dots(a[5], b[4])
    result = np.empty((len(ours), TURNS), np.float32)
    for turn in range(TURNS):
        over, down, across = (-1 if turn & bit else 1 for bit in (4, 2, 1))
        x, y = crossed if turn & 4 else (left, up)
        result[:, turn] = plus + over * minus + down * across * (oplus + over * ominus) + across * x + down * y
    return result


def overlaid(prints: FloatArray, one: IntArray, other: IntArray, view: IntArray, turn: IntArray) -> FloatArray:
    """Correlation (n,) of the detail of thumbnails laid over each other: the second look.

    Parameters
    ----------
    prints : (N, 2, 24, 24) float array
        From `fingerprints`.
    one, other : (n,) int arrays
        The pairs. ``other`` is shifted by up to 15 % of half a side and stretched by up to 15 % in each direction
        until it lies on ``one`` (least squares on the gradient, [1]_); what remains of a pair is compared inside
        both thumbnails' frames.
    view, turn : (n,) int arrays
        Which of its two thumbnails, and in which turn of ``other``.

    References
    ----------
    .. [1] Lucas, Kanade, "An iterative image registration technique", IJCAI 1981.
    """
    result = np.empty(len(one), np.float32)
    for start in range(0, len(one), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        fixed, moving = prints[one[part], view[part]], prints[other[part], view[part]]
        for number in range(1, TURNS):
            rows = turn[part] == number
            moving[rows] = turned(moving[rows], number)
        result[part] = _laid(fixed - _smooth(fixed, DETAIL), moving - _smooth(moving, DETAIL))
    return result


def _laid(fixed: FloatArray, moving: FloatArray) -> FloatArray:
    """Best correlation (n,) on the way of laying ``moving`` (n, 24, 24) over ``fixed``."""
    best = np.full(len(fixed), -1, np.float32)
    place = np.zeros((len(fixed), 4), np.float32)  # by how much it is stretched and shifted: rows, then columns
    going = np.arange(len(fixed))
    for step in range(STEPS + 1):
        rows, rows_inside = _sampling(place[going, 0], place[going, 1])
        columns, columns_inside = _sampling(place[going, 2], place[going, 3])
        moved: FloatArray = (rows @ moving[going] @ columns.swapaxes(1, 2)).astype(np.float32, copy=False)
        inside = rows_inside[:, :, None] * columns_inside[:, None]
        weight = (_disc() * inside).astype(np.float32, copy=False)
        best[going] = np.maximum(best[going], _agreement(fixed[going], moved, weight))
        unsettled = best[going] < SETTLED
        if step == STEPS or not unsettled.any():
            break
        going, moved, weight = going[unsettled], moved[unsettled], weight[unsettled]
        stride = _stride(fixed[going], moved, weight, place[going])
        place[going] = np.clip(place[going] + stride, -REACH, REACH)
    return best


@cache
def _line() -> FloatArray:
    return np.linspace(-1, 1, SIDE, dtype=np.float32)


def _sampling(stretch: FloatArray, shift: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Matrices (n, 24, 24) of linear interpolation along one axis, and 1 where an output lies inside (n, 24)."""
    at = ((1 + stretch[:, None]) * _line() + shift[:, None] + 1) * np.float32((SIDE - 1) / 2)
    weights = 1 - np.abs(at[:, :, None] - np.arange(SIDE, dtype=np.float32))
    inside = (at >= -EDGE) & (at <= SIDE - 1 + EDGE)
    return np.maximum(weights, 0, out=weights), inside.astype(np.float32)


def _agreement(one: FloatArray, other: FloatArray, weight: FloatArray) -> FloatArray:
    """Weighted correlations (n,) of pictures (n, 24, 24); -1 where one of the two is flat."""
    total = np.maximum(weight.sum((1, 2), keepdims=True), 1e-6)
    one = one - (one * weight).sum((1, 2), keepdims=True) / total
    other = other - (other * weight).sum((1, 2), keepdims=True) / total
    heavy = one * weight
    size = (heavy * one).sum((1, 2)) * (other * other * weight).sum((1, 2))
    product = (heavy * other).sum((1, 2)) / np.sqrt(np.maximum(size, TINY))
    return np.where(size > TINY, product, -1).astype(np.float32)


def _stride(fixed: FloatArray, moved: FloatArray, weight: FloatArray, place: FloatArray) -> FloatArray:
    """Change (n, 4) of stretch and shift that brings ``moved`` nearest to ``fixed`` if it changed linearly.

    Least squares for ``fixed = gain * moved + level + gradient * change``.
    """
    count = len(moved)
    scale = (SIDE - 1) / 2 / (1 + place[:, [0, 2], None, None])
    down, across = np.gradient(moved, axis=(1, 2))
    down, across = down * scale[:, 0], across * scale[:, 1]
    model = np.stack([down * _line()[:, None], down, across * _line(), across, moved, np.ones_like(moved)], 1)
    model = model.reshape(count, 6, -1).astype(np.float32)
    heavy = model * weight.reshape(count, 1, -1)
    square = (heavy @ model.swapaxes(1, 2)).astype(np.float64)
    four, six = np.arange(4), np.arange(6)
    square[:, four, four] *= 1 + DAMPING
    square[:, six, six] += TINY
    wanted = (heavy @ fixed.reshape(count, -1, 1)).astype(np.float64)
    found = np.linalg.solve(square, wanted)[:, :, 0]
    gain = np.where(np.abs(found[:, 4]) < LEAST_GAIN, LEAST_GAIN, found[:, 4])
    return np.clip(found[:, :4] / gain[:, None], -STEP, STEP).astype(np.float32)
