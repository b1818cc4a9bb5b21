"""Thumbnails by which copies of a scan are found: its head and its whole, small, cleaned and evened out."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import DataError, ScanError

FloatArray = NDArray[np.float32]
#: Side of a thumbnail in pixels.
SIDE = 24
#: A scan is shrunk to this many pixels a side before its head is looked for.
WORKING = 256
#: Side of the grid on which the head is told from letters, whose strokes blur away there.
COARSE = 64
#: Share of the head's summed brightness that a box leaves out on each side. What a crop or a letter changes lies
#: there: of copies cropped by up to 6 % a side 77 % are found with 0.04, 70 % with 0.005 (duplicates_accuracy.py).
RIM = 0.04
#: Below this norm a thumbnail, scaled to a range of 1, is flat.
FLAT = 1e-3
#: Percentiles between which brightness is kept: the lower of the whole thumbnail, the upper of its inner part.
LOW, HIGH = 1, 98


def thumbnails(image: NDArray) -> FloatArray:
    """Two thumbnails (2, 24, 24) of ``image`` (H, W): the bulk of its head, and the whole, both cleaned.

    Each has mean 0 and norm 1; zeros where it is flat. The head finds copies with other margins, the whole
    finds copies whose head is cut out differently. What is brighter than the inner part is cut off there, so
    that letters weigh no more than bone.

    Raises
    ------
    DataError
        If ``image`` is not (H, W) with at least one pixel.

    Examples
    --------
    >>> ramp = np.tile(np.arange(48.0), (48, 1))
    >>> small = thumbnails(ramp)
    >>> small.shape, (small**2).sum(axis=(1, 2)).round(3).tolist()
    ((2, 24, 24), [1.0, 1.0])
    """
    import cv2

    from tumorscope.imaging.background import clean_background

    plane: NDArray = np.nan_to_num(np.asarray(image, np.float32), posinf=0.0, neginf=0.0)
    if plane.ndim != 2 or plane.size == 0:
        raise DataError(f"array: shape {plane.shape} has no thumbnail; pass (H, W) with at least one pixel")
    shrink = WORKING / max(plane.shape)
    if shrink < 1:
        height, width = (max(1, round(side * shrink)) for side in plane.shape)
        plane = cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA)
    clean = clean_background(plane).image
    return np.stack([_standard(_bulk(clean)), _standard(clean)])


def _bulk(plane: FloatArray) -> FloatArray:
    """The part of ``plane`` between the outer `RIM` of the head's brightness on each side.

    A box by edges differs by some pixels between copies with other margins; this one does not.
    """
    mass = np.where(_head(plane), plane - plane.min(), 0).astype(np.float64)
    sides = []
    for axis in (1, 0):
        share = np.cumsum(mass.sum(axis))
        first, last = np.searchsorted(share, [RIM * share[-1], (1 - RIM) * share[-1]])
        sides.append(slice(int(first), int(last) + 1))
    return np.ascontiguousarray(plane[sides[0], sides[1]])


def _head(plane: FloatArray) -> NDArray[np.bool_]:
    """The largest bright thing, filled; all of the plane where nothing stands out.

    `imaging.crop` keeps what lies near the head, letters too, so that no tissue is lost. Here a lost rim does
    no harm and a letter does.
    """
    import cv2

    scale = COARSE / max(plane.shape)
    size = (max(1, round(plane.shape[1] * scale)), max(1, round(plane.shape[0] * scale)))
    small = cv2.resize(plane, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    bottom, top = float(small.min()), float(np.percentile(small, 99.5))
    if not 0 < top - bottom < np.inf:
        return np.ones(plane.shape, bool)
    grey = np.clip((small - bottom) * (255 / (top - bottom)), 0, 255).astype(np.uint8)
    parting = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[0]
    bright = (grey > 0.5 * parting).astype(np.uint8)  # Otsu's parts bright tissue from dark, air is below both
    bright = cv2.morphologyEx(bright, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    rim = cv2.copyMakeBorder(bright, 2, 2, 2, 2, cv2.BORDER_REPLICATE)
    solid = np.ascontiguousarray(cv2.morphologyEx(rim, cv2.MORPH_OPEN, cross)[2:-2, 2:-2])
    count, labels, stats, _ = cv2.connectedComponentsWithStats(solid, connectivity=4)
    if count < 2:
        return np.ones(plane.shape, bool)
    largest = (labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))).astype(np.uint8)
    outlines, _ = cv2.findContours(largest, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    filled = cv2.drawContours(np.zeros_like(largest), outlines, -1, 1, -1)
    grown = cv2.dilate(filled, np.ones((3, 3), np.uint8))
    return cv2.resize(grown, plane.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0


def _standard(plane: FloatArray) -> FloatArray:
    import cv2

    twice = _resized(plane, 2 * SIDE)
    inner = twice[SIDE // 3 : -(SIDE // 3), SIDE // 3 : -(SIDE // 3)]
    bottom, top = float(np.percentile(twice, LOW)), float(np.percentile(inner, HIGH))
    if not top > bottom:
        bottom, top = float(twice.min()), float(twice.max())
    if not 0 < top - bottom < np.inf:
        return np.zeros((SIDE, SIDE), np.float32)
    even = np.clip((twice - bottom) / (top - bottom), 0, 1)
    small = cv2.resize(even, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    small = small - small.mean()
    norm = float(np.linalg.norm(small))
    return (small / norm if norm > FLAT else np.zeros_like(small)).astype(np.float32)


def _resized(plane: FloatArray, side: int) -> FloatArray:
    """``plane`` stretched to a square, by area averages along a side that shrinks."""
    import cv2

    for axis, size in ((0, (plane.shape[1], side)), (1, (side, side))):
        way = cv2.INTER_AREA if plane.shape[axis] > side else cv2.INTER_LINEAR
        plane = cv2.resize(plane, size, interpolation=way)
    return plane


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
