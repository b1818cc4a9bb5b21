"""Masks as run lengths: the form of the COCO data set, which JSON carries and every annotation tool reads.

Runs go down the columns, one column after the other; the first run is background and may be 0 long. A volume is one
such mask for each axis-0 slice that holds something.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import DataError
from tumorscope.io.decoding import MAX_PIXELS
from tumorscope.scan import BoolArray

Rle = dict[str, Any]

LARGEST = 2**26
"""Pixels of one slice: 8192 x 8192. Compared with the size that a client names, before memory is spent on it."""
LARGEST_VOLUME = MAX_PIXELS
"""Voxels of a volume: what `tumorscope.io` reads at most."""
OFFSET = 48  # of COCO's letters: '0' stands for 0, 'o' for 63
DIGITS = 6  # letters of one number: 5 bits each, 30 bits, enough for every run and difference of LARGEST pixels


def encode(mask: BoolArray) -> Rle:
    """``{"size": [H, W], "counts": [...]}`` of a (H, W) mask, uncompressed.

    Raises
    ------
    DataError
        If the mask is not 2-D, has no pixels or more than `LARGEST`.

    Examples
    --------
    >>> encode(np.array([[False, True], [True, True]]))
    {'size': [2, 2], 'counts': [1, 3]}
    """
    marked = np.asarray(mask) != 0
    if marked.ndim != 2 or not 0 < marked.size <= LARGEST:
        raise DataError(f"mask: an array of shape {marked.shape} is no slice; pass (H, W) with 1 to {LARGEST:,} pixels")
    down = marked.ravel(order="F")
    turns = np.flatnonzero(down[1:] != down[:-1]) + 1
    counts = np.diff(turns, prepend=0, append=down.size).tolist()
    return {"size": list(marked.shape), "counts": [0, *counts] if down[0] else counts}


def decode(rle: Mapping[str, Any]) -> BoolArray:
    """The (H, W) mask of run lengths, given as numbers or as COCO's string.

    Raises
    ------
    DataError
        If a part is missing or unknown, a count is no whole number from 0 on, the counts do not add up to the size,
        or the size is above `LARGEST`.

    Examples
    --------
    >>> decode({"size": [2, 2], "counts": [1, 3]}).tolist()
    [[False, True], [True, True]]
    """
    height, width, counts = _parts(rle)
    values = (np.arange(counts.size) & 1).astype(bool)
    return np.ascontiguousarray(np.repeat(values, counts).reshape(width, height).T)


def encode_volume(mask: BoolArray) -> Rle:
    """``{"size": [D, H, W], "slices": {"12": {...}}}`` of a (D, H, W) mask; slices without a marked voxel are left out.

    Raises
    ------
    DataError
        If the mask is not 3-D or has no voxels, or a slice is too large for `encode`.

    Examples
    --------
    >>> mask = np.zeros((3, 1, 2), bool)
    >>> mask[2, 0, 1] = True
    >>> encode_volume(mask)
    {'size': [3, 1, 2], 'slices': {'2': {'size': [1, 2], 'counts': [1, 1]}}}
    """
    marked = np.asarray(mask) != 0
    if marked.ndim != 3 or not 0 < marked.size <= LARGEST_VOLUME:
        raise DataError(
            f"mask: an array of shape {marked.shape} is no volume; pass (D, H, W) with 1 to {LARGEST_VOLUME:,} voxels"
        )
    held = np.flatnonzero(marked.any(axis=(1, 2)))
    return {"size": list(marked.shape), "slices": {str(index): encode(marked[index]) for index in held.tolist()}}


def decode_volume(rle: Mapping[str, Any]) -> BoolArray:
    """The (D, H, W) mask of `encode_volume`.

    Raises
    ------
    DataError
        As `decode`, for each slice; or if a slice lies outside the volume or has another size.

    Examples
    --------
    >>> decode_volume({"size": [3, 1, 2], "slices": {"2": {"size": [1, 2], "counts": [1, 1]}}})[:, 0].astype(int)
    array([[0, 0],
           [0, 0],
           [0, 1]])
    """
    shape, slices = _slices(rle)
    mask = np.zeros(shape, bool)
    for index, one in slices.items():
        mask[index] = decode(one)
    return mask


def encode_any(mask: BoolArray) -> Rle:
    """`encode` for a (H, W) mask, `encode_volume` for a (D, H, W) one.

    Examples
    --------
    >>> encode_any(np.zeros((2, 1, 3), bool))
    {'size': [2, 1, 3], 'slices': {}}
    """
    return encode_volume(mask) if np.ndim(mask) == 3 else encode(mask)


def decode_any(rle: Mapping[str, Any]) -> BoolArray:
    """The (H, W) or (D, H, W) mask of either form; raises as `decode` and `decode_volume`.

    Examples
    --------
    >>> decode_any({"size": [2, 1, 3], "slices": {}}).shape
    (2, 1, 3)
    """
    return decode_volume(rle) if _is_volume(rle) else decode(rle)


def check(rle: Mapping[str, Any]) -> tuple[int, ...]:
    """The shape of the mask, when `decode_any` takes it; no mask is made.

    Raises
    ------
    DataError
        As `decode_any`.

    Examples
    --------
    >>> check({"size": [2, 2], "counts": [1, 2]})
    Traceback (most recent call last):
    ...
    tumorscope.errors.DataError: mask: its runs add up to 3 pixels, 2x2 has 4; encode it again
    """
    if not _is_volume(rle):
        return _parts(rle)[:2]
    shape, slices = _slices(rle)
    for one in slices.values():
        _parts(one)
    return shape


def area(rle: Mapping[str, Any]) -> int:
    """Marked pixels or voxels of either form, counted without making the mask; raises as `decode_any`.

    Examples
    --------
    >>> area({"size": [2, 2], "counts": [1, 3]})
    3
    """
    parts = _slices(rle)[1].values() if _is_volume(rle) else [rle]
    return sum(int(_parts(one)[2][1::2].sum()) for one in parts)


def compress(counts: Sequence[int]) -> str:
    """COCO's string of counts: from the fourth on the difference to the count two before; 5 bits and a flag a letter.

    Examples
    --------
    >>> compress([6, 1, 40, 4, 5, 4, 5, 4, 21])
    '61X13mN000`0'
    """
    letters = []
    for place, count in enumerate(counts):
        value = int(count) - (int(counts[place - 2]) if place > 2 else 0)
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & 0x10 else 0)
            letters.append(chr((bits | 0x20 if more else bits) + OFFSET))
    return "".join(letters)


def decompress(text: str) -> list[int]:
    """The counts in COCO's string: the inverse of `compress`.

    Raises
    ------
    DataError
        For letters that cannot stand in it, a string that breaks off, or a count below 0.

    Examples
    --------
    >>> decompress('61X13mN000`0')
    [6, 1, 40, 4, 5, 4, 5, 4, 21]
    """
    counts: list[int] = []
    value = place = 0
    for letter in text:
        bits = ord(letter) - OFFSET
        if not 0 <= bits < 64 or place >= DIGITS:
            raise DataError(f"mask: its compressed runs are damaged at count {len(counts) + 1}; encode it again")
        value |= (bits & 0x1F) << 5 * place
        place += 1
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << 5 * place
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        if counts[-1] < 0:
            raise DataError(f"mask: its compressed runs are damaged at count {len(counts)}; encode it again")
        value = place = 0
    if place:
        raise DataError("mask: its compressed runs break off; encode it again")
    return counts


def _is_volume(rle: Mapping[str, Any]) -> bool:
    return isinstance(rle, Mapping) and "slices" in rle


def _parts(rle: Mapping[str, Any]) -> tuple[int, int, NDArray[np.int64]]:
    """Height, width and counts of a slice's run lengths, checked."""
    size = _size(rle, ("counts", "size"), 2, LARGEST)
    given = rle["counts"]
    listed = decompress(given) if isinstance(given, str) else given
    total = size[0] * size[1]
    if not isinstance(listed, list | tuple) or len(listed) > total + 1:
        raise DataError(f"mask: its counts are no list of at most {total + 1} runs; encode it again")
    if not all(type(one) is int and 0 <= one <= total for one in listed):
        raise DataError(f"mask: a run is no whole number from 0 to {total}; encode it again")
    counts = np.asarray(listed, np.int64)
    if counts.sum() != total:
        raise DataError(
            f"mask: its runs add up to {int(counts.sum())} pixels, {size[0]}x{size[1]} has {total}; encode it again"
        )
    return size[0], size[1], counts


def _slices(rle: Mapping[str, Any]) -> tuple[tuple[int, ...], dict[int, Mapping[str, Any]]]:
    """Shape and run lengths of each slice of a volume; the counts themselves are not yet looked at."""
    depth, *plane = _size(rle, ("size", "slices"), 3, LARGEST_VOLUME)
    given = rle["slices"]
    if not isinstance(given, Mapping):
        raise DataError("mask: its slices are no object from slice number to run lengths; encode it again")
    slices: dict[int, Mapping[str, Any]] = {}
    for name, one in given.items():
        index = int(name) if isinstance(name, str) and name.isascii() and name.isdigit() and len(name) < 10 else -1
        if not 0 <= index < depth or str(index) != name:
            raise DataError(f"mask: there is no slice {name!r:.40} in a volume of {depth}; number them from 0")
        if list(_size(one, ("counts", "size"), 2, LARGEST)) != plane:
            raise DataError(f"mask: slice {name} is not {plane[0]}x{plane[1]} as the volume is; encode it again")
        slices[index] = one
    return (depth, *plane), slices


def _size(rle: Mapping[str, Any], keys: tuple[str, str], axes: int, limit: int) -> tuple[int, ...]:
    """The ``size`` of run lengths that have just ``keys``."""
    if not isinstance(rle, Mapping) or sorted(map(str, rle)) != list(keys):
        raise DataError(f"mask: is no object with {keys[0]} and {keys[1]} alone; see `annotation.rle` for the form")
    size = rle["size"]
    if not isinstance(size, list | tuple) or len(size) != axes or not all(type(one) is int and one > 0 for one in size):
        raise DataError(f"mask: its size is no list of {axes} numbers above 0; give rows first")
    total = 1
    for one in size:
        total *= one
    if total > limit:
        raise DataError(f"mask: {'x'.join(map(str, size))} is more than {limit:,} pixels; make it smaller")
    return tuple(size)
