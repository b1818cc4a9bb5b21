"""Near-duplicate scans: small thumbnails, compared all with all, however turned or mirrored."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import DataError, ScanError

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
#: Side of a thumbnail in pixels.
SIDE = 24
#: Correlation from which two scans count as one. Of Cheng's 2404 slices, 4 of 2.8 million pairs more than
#: 60 numbers apart reach it, and no pair of different patients in TCGA-LGG.
THRESHOLD = 0.98
#: Mean correlation that two halves of a group must reach; a chain of likenesses is cut where they do not.
COHESION = 0.95
#: A chain longer than this is not examined and stays one group: the safe side, for its square must fit in memory.
LONGEST = 4000
#: Rows of the product computed at once: 512 x 10,000 floats are 20 MB.
ROWS = 512
#: A scan is shrunk to this many pixels a side before its head is looked for.
WORKING = 256
#: Share of the head's summed brightness that a box leaves out on each side.
RIM = 0.005
#: Below this norm a thumbnail, scaled to a range of 1, is flat.
FLAT = 1e-3


def thumbnails(image: NDArray) -> FloatArray:
    """Two thumbnails (2, 24, 24) of ``image`` (H, W): its head, cleaned and cut out, and the whole.

    Each has mean 0 and norm 1, so that a dot product is a correlation; zeros where it is flat. The
    head finds copies with other margins, the whole finds copies whose head is cut out differently.

    Examples
    --------
    >>> ramp = np.tile(np.arange(48.0), (48, 1))
    >>> small = thumbnails(ramp)
    >>> small.shape, (small**2).sum(axis=(1, 2)).round(3).tolist()
    ((2, 24, 24), [1.0, 1.0])
    """
    import cv2

    from tumorscope.imaging.background import clean_background
    from tumorscope.imaging.crop import crop_head

    plane: NDArray = np.nan_to_num(np.asarray(image, np.float32), posinf=0.0, neginf=0.0)
    if plane.ndim != 2 or plane.size == 0:
        raise DataError(f"array: shape {plane.shape} has no thumbnail; pass (H, W) with at least one pixel")
    shrink = WORKING / max(plane.shape)
    if shrink < 1:
        height, width = (max(1, round(side * shrink)) for side in plane.shape)
        plane = cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)
    clean = clean_background(plane).image
    return np.stack([_standard(_bulk(clean, crop_head(clean).head)), _standard(plane)])


def _bulk(plane: FloatArray, head: NDArray[np.bool_]) -> FloatArray:
    """The part of ``plane`` between the outer `RIM` of the head's brightness on each side.

    A box by edges differs by some pixels between copies with other margins; this one does not.
    """
    mass = np.where(head, plane - plane.min(), 0).astype(np.float64)
    sides = []
    for axis in (1, 0):
        share = np.cumsum(mass.sum(axis))
        first, last = np.searchsorted(share, [RIM * share[-1], (1 - RIM) * share[-1]])
        sides.append(slice(int(first), int(last) + 1))
    return np.ascontiguousarray(plane[sides[0], sides[1]])


def _standard(plane: FloatArray) -> FloatArray:
    import cv2

    span = float(plane.max() - plane.min())
    if not 0 < span < np.inf:
        return np.zeros((SIDE, SIDE), np.float32)
    shrinks = min(plane.shape) >= SIDE
    scaled = (plane - plane.min()) / span
    small = cv2.resize(scaled, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    small = small - small.mean()
    norm = float(np.linalg.norm(small))
    return (small / norm if norm > FLAT else np.zeros_like(small)).astype(np.float32)


def fingerprints(
    items: Sequence[str | PathLike[str] | NDArray],
    *,
    channels: Sequence[int | None] | None = None,
    threads: int = 4,
    failed: MutableMapping[int, str] | None = None,
) -> FloatArray:
    """Thumbnails (N, 2, 24, 24) of files or (H, W) arrays, in their order; see `thumbnails`.

    Several channels are averaged, a volume is seen by its middle slice.

    Parameters
    ----------
    items : sequence of paths or (H, W) arrays
        A path may be a DICOM folder.
    channels : sequence of int or None
        The channel to read of each item.
    threads : int
        Files read at once.
    failed : mapping or None
        Where given, an unreadable file is entered here (its place and its error) and gets a thumbnail
        that is like nothing; where None, it raises.

    Raises
    ------
    ScanError
        If a file cannot be read and ``failed`` is None.

    Examples
    --------
    >>> fingerprints([np.eye(30), np.eye(60)]).shape
    (2, 2, 24, 24)
    """

    def one(index: int) -> FloatArray:
        item = items[index]
        try:
            plane = item if isinstance(item, np.ndarray) else _plane(Path(item), channels[index] if channels else None)
            return thumbnails(plane)
        except ScanError as error:
            if failed is None:
                raise
            failed[index] = str(error)
            return np.zeros((2, SIDE, SIDE), np.float32)

    with ThreadPoolExecutor(max_workers=max(threads, 1)) as pool:
        found = list(pool.map(one, range(len(items))))
    return np.stack(found) if found else np.zeros((0, 2, SIDE, SIDE), np.float32)


def _plane(path: Path, channel: int | None) -> FloatArray:
    from tumorscope import io

    scan = io.read(path, channel=channel)
    pixels = scan.pixels
    if scan.axes[0] == "C":
        pixels = pixels.mean(axis=0)
    return pixels[pixels.shape[0] // 2] if scan.is_volume else pixels


def _parities(prints: FloatArray) -> list[FloatArray]:
    """Four parts (N, 144) of thumbnails (N, 24, 24): even and odd under each mirror image.

    They are orthogonal, so a correlation is the sum of their four products, and the correlation with
    a mirror image is the same sum with the odd parts' signs turned: four images for the price of one.
    """
    half = SIDE // 2
    top, bottom = prints[:, :half], prints[:, half:][:, ::-1]
    parts = []
    for rows in (top + bottom, top - bottom):
        left, right = rows[..., :half], rows[..., half:][..., ::-1]
        parts += [
            np.ascontiguousarray(part / 2, np.float32).reshape(len(prints), half * half)
            for part in (left + right, left - right)
        ]
    return parts


def _likeness(rows: Sequence[FloatArray], columns: Sequence[FloatArray]) -> FloatArray:
    """Largest correlation of each row with the four mirror images of each column, from their parities."""
    both, left, up, turned = (row @ column.T for row, column in zip(rows, columns, strict=True))
    return np.maximum(both + turned + np.abs(left + up), both - turned + np.abs(left - up))


def correlations(prints: FloatArray, rows: IntArray | slice, columns: IntArray | slice) -> FloatArray:
    """Largest correlation between rows and columns of `fingerprints`, over head and whole and all eight turns.

    The eight are the four mirror images (left-right, upside-down, both, none), each also transposed.

    Examples
    --------
    >>> ramp = np.tile(np.arange(48.0), (48, 1))
    >>> prints = fingerprints([ramp, ramp.T, ramp[:, ::-1], ramp**8])
    >>> correlations(prints, slice(0, 1), slice(None)).round(1).tolist()
    [[1.0, 1.0, 1.0, 0.9]]
    """
    likes = []
    for view in (0, 1):
        left, right = _parities(prints[rows, view]), prints[columns, view]
        likes += [_likeness(left, _parities(turned)) for turned in (right, right.transpose(0, 2, 1))]
    return np.maximum.reduce(likes)


def similar(prints: FloatArray, threshold: float = THRESHOLD) -> tuple[IntArray, IntArray, FloatArray]:
    """Pairs ``i < j`` of scans whose `correlations` reach ``threshold``, and how much each reaches.

    Parameters
    ----------
    prints : (N, 2, 24, 24) float array
        From `fingerprints`.
    threshold : float
        Correlation in (0, 1].

    Raises
    ------
    DataError
        If the threshold is no such correlation.

    Examples
    --------
    >>> ramp = np.tile(np.arange(48.0), (48, 1))
    >>> [part.tolist() for part in similar(fingerprints([ramp, ramp**8, ramp[:, ::-1]]))[:2]]
    [[0], [2]]
    """
    if not 0 < threshold <= 1:
        raise DataError(f"threshold: {threshold:g} is no correlation to find copies by; give one above 0 and up to 1")
    count = len(prints)
    left, right, value = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    views = [[_parities(turn) for turn in (prints[:, v], prints[:, v].transpose(0, 2, 1))] for v in (0, 1)]
    for start in range(0, count, ROWS):
        best = np.full((min(ROWS, count - start), count - start), -1, np.float32)
        for turns in views:
            rows = [part[start : start + ROWS] for part in turns[0]]
            for turn in turns:
                np.maximum(best, _likeness(rows, [part[start:] for part in turn]), out=best)
        i, j = np.nonzero(best >= threshold - 1e-6)
        ahead = j > i
        left.append(i[ahead] + start)
        right.append(j[ahead] + start)
        value.append(best[i[ahead], j[ahead]])
    return np.concatenate(left), np.concatenate(right), np.concatenate(value)


def groups(prints: FloatArray, threshold: float = THRESHOLD) -> IntArray:
    """Group number (N,) of each scan: near-duplicates share one. Numbered by first appearance.

    Scans that reach ``threshold`` are chained. A chain of more than two is then built up by average
    linkage, and two parts whose mean correlation is below `COHESION` stay apart, so that a series of
    small changes does not tie strangers together. The grouping does not hang on the order of the rows.

    Parameters
    ----------
    prints : (N, 2, 24, 24) float array
        From `fingerprints`.
    threshold : float
        Correlation in (0, 1].

    Examples
    --------
    >>> ramp = np.tile(np.arange(48.0), (48, 1))
    >>> groups(fingerprints([ramp, ramp**8, ramp[:, ::-1]])).tolist()
    [0, 1, 0]
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    count = len(prints)
    i, j, _ = similar(prints, threshold)
    graph = coo_matrix((np.ones(len(i), bool), (i, j)), shape=(count, count))
    chain = connected_components(graph, directed=False)[1] if count else np.zeros(0, np.int64)
    members = np.split(np.argsort(chain, kind="stable"), np.cumsum(np.bincount(chain))[:-1]) if count else []
    result = np.empty(count, np.int64)
    taken = 0
    for rows in members:
        parts = _coherent(prints, rows) if 2 < len(rows) <= LONGEST else np.zeros(len(rows), np.int64)
        result[rows] = parts + taken
        taken += int(parts.max()) + 1
    _, first, number = np.unique(result, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number].astype(np.int64)


def _coherent(prints: FloatArray, rows: IntArray) -> IntArray:
    """Parts of one chain, numbered from 0, by average linkage."""
    from scipy.cluster.hierarchy import fcluster, linkage

    order = np.lexsort(prints[rows].reshape(len(rows), -1).T)  # by content, not by place
    like = correlations(prints, rows[order], rows[order])
    above = np.triu_indices(len(rows), 1)
    apart = np.clip(1 - like[above], 0, None).astype(np.float64)
    parts = np.empty(len(rows), np.int64)
    parts[order] = fcluster(linkage(apart, "average"), 1 - COHESION, "distance") - 1
    return parts
