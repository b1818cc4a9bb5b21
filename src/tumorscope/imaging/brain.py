"""Where the brain is in a framed head: many morphological candidates, the best of them by its dark rim.

Whatever the contrast, bone gives no signal: from the brain outward it becomes dark, then the scalp follows. One
threshold and one erosion cut the brain free in one scan and not in the next. So many are tried, and each result is
judged by what it should have: a dark gap outside its outline, below the head's surface.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from tumorscope.imaging.head import GreyArray
from tumorscope.imaging.silhouette import SIDE, Frame, closed, disc, large_parts
from tumorscope.scan import BoolArray, FloatArray

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)  # of the tissue level around
EROSIONS = (1, 2, 3, 5, 7)  # px: radius that cuts bridges from brain to scalp, muscle and eyes
CLOSINGS = (7, 16)  # px: radius that closes sulci; the larger one also clefts beside a tumour
DEEP = 0.35  # of the greatest depth; from there on inward a pixel counts for the tissue level
LEVEL_WIDTH = 0.18 * SIDE  # px: blur of the tissue level, wide against a tumour's edge, narrow against coil shading
VALLEY = 5  # px: radius of the largest dark structure that counts as a line, half the thickness of most skulls
SECOND_PART = 0.1  # of the main part's weight or area, for a part to belong to the brain (cerebellum, temporal lobes)
GAP = 4  # px outside the outline within which it becomes dark
DARK = 0.7  # of the brain's own brightness nearby; darker is a gap
TISSUE = 1.2  # tissue levels; brighter counts alike, or brain beside a bright tumour would be a gap
SMALLEST = 0.3  # of the head's area; what fills less is in proportion less likely the brain
SURFACE = 3.5  # px below the head's surface; an outline nearer to it is the head's own, not the brain's
LARGER = 0.2  # exponent of the area: of two equally good outlines the larger one
TAKEN_UP = 8  # best candidates that are tried once more with missing pieces filled in
WIDE_CLOSING = 28  # px: radius that fills a missing lobe
SHELLS = (5, 7, 9, 11, 13)  # px below the head's surface, from which on such pieces may be brain


@dataclass(frozen=True)
class Found:
    """A candidate on the working grid.

    Parameters
    ----------
    mask : (h, w) uint8 array
    confidence : float
        `rim_support` of the mask, less in proportion when it fills less than 30 % of the head; 0…1.
    """

    mask: GreyArray
    confidence: float


def tissue_relative(frame: Frame, depth: FloatArray) -> FloatArray:
    """Grey values as multiples of the tissue level around, (h, w) float32: 1 is typical of the inside of this head.

    The level is a wide average over the deep part of the head; it follows coil shading and leaves anatomy.

    Examples
    --------
    >>> from tumorscope.imaging.silhouette import frame_head
    >>> y, x = np.mgrid[-50:50, -40:40]
    >>> even = (np.hypot(y / 40, x / 30) < 1).astype(np.float32)
    >>> for brightness in (90, 900):
    ...     frame = frame_head(brightness * even)
    ...     print(round(float(tissue_relative(frame, frame.depth())[80, 61]), 3))
    1.0
    1.0
    """
    grey = frame.grey.astype(np.float32)
    deep = (depth > DEEP * depth.max()).astype(np.float32)
    typical = float(np.median(grey[deep > 0])) if deep.any() else float(grey.mean())
    total = cv2.GaussianBlur(grey * deep, (0, 0), LEVEL_WIDTH)
    weight = cv2.GaussianBlur(deep, (0, 0), LEVEL_WIDTH)
    level = (total + 0.02 * typical) / (weight + 0.02)  # far from the deep part: the typical level
    return cv2.GaussianBlur(grey, (3, 3), 0) / np.maximum(level, 1)


def find_brain(frame: Frame) -> Found:
    """The candidate with the best rim; an empty mask and confidence 0 when there is no candidate.

    The best few are tried again with a wide closing that stays below the scalp: where gyri or a lobe broke off, this
    brings them back, and where nothing is missing, the rim gets worse and the first one stays.

    Examples
    --------
    >>> from tumorscope.imaging.silhouette import frame_head
    >>> radius = np.hypot(*np.meshgrid(np.arange(-60, 60) / 55, np.arange(-50, 50) / 45, indexing="ij"))
    >>> scan = np.select([radius < 0.75, radius < 0.88, radius < 1], [100.0, 0.0, 180.0])  # brain, bone, scalp
    >>> frame = frame_head(scan.astype(np.float32))
    >>> found = find_brain(frame)
    >>> brain = frame.to_slice(found.mask)
    >>> overlap = (brain & (radius < 0.75)).sum() / (brain | (radius < 0.75)).sum()
    >>> found.confidence, bool(overlap > 0.97)
    (1.0, True)
    """
    depth = frame.depth()
    relative = tissue_relative(frame, depth)
    whole = max(int(frame.silhouette.sum()), 1)

    def judged(mask: GreyArray) -> tuple[float, Found]:
        found = assess(mask, relative, depth)
        return found.confidence * (int(mask.sum()) / whole) ** LARGER, found

    first = [judged(mask) for mask in _candidates(frame, relative, depth)]
    best = heapq.nlargest(TAKEN_UP, first, key=lambda pair: pair[0])
    fuller = [judged(mask) for _, found in best for mask in _fuller(found.mask, depth)]
    if not best:
        return Found(np.zeros_like(frame.silhouette), 0.0)
    return max([*best, *fuller], key=lambda pair: pair[0])[1]


def assess(mask: GreyArray, relative: FloatArray, depth: FloatArray) -> Found:
    """The mask with its confidence.

    As `Found` describes it; the arguments are those of `rim_support`.

    Examples
    --------
    >>> mask = np.zeros((40, 40), np.uint8)
    >>> mask[10:25, 10:26] = 1  # a dark gap all around, and 15 % of a head that fills the picture
    >>> assess(mask, mask.astype(np.float32), np.full((40, 40), 9, np.float32)).confidence
    0.5
    """
    share = int(mask.sum()) / max(int((depth > 0).sum()), 1)
    return Found(mask, rim_support(mask, relative, depth) * min(1.0, share / SMALLEST))


def _fuller(mask: GreyArray, depth: FloatArray) -> Iterator[GreyArray]:
    """The mask widely closed, down from different depths below the head's surface."""
    wide = closed(mask, WIDE_CLOSING)
    for least in SHELLS:
        opened = cv2.morphologyEx(wide & (depth > least).astype(np.uint8), cv2.MORPH_OPEN, disc(3))
        if opened.any():
            yield large_parts(opened, SECOND_PART)


def rim_support(mask: GreyArray, relative: FloatArray, depth: FloatArray) -> float:
    """Share of a mask's outline that has a dark gap outside it and lies below the head's surface, 0…1.

    Outline along the image's edge does not count. Dark is less than 0.7 times the mean of the mask's own pixels nearby,
    none of which counts for more than 1.2 tissue levels.

    Examples
    --------
    >>> mask = np.zeros((40, 40), np.uint8)
    >>> mask[10:30, 10:30] = 1
    >>> deep = np.full((40, 40), 9, np.float32)
    >>> rim_support(mask, mask.astype(np.float32), deep), rim_support(mask, np.ones((40, 40), np.float32), deep)
    (1.0, 0.0)
    """
    inside = mask.astype(np.float32)
    relative = np.minimum(relative, np.float32(TISSUE))
    outline = (mask > 0) & (cv2.erode(mask, np.ones((3, 3), np.uint8)) == 0)
    if not outline.any():
        return 0.0
    own = cv2.blur(relative * inside, (9, 9)) / np.maximum(cv2.blur(inside, (9, 9)), np.float32(1e-3))
    outside = np.where(mask > 0, np.float32(2 * TISSUE), relative)
    darkest = cv2.erode(outside, disc(GAP))
    return float(np.mean((darkest < DARK * own)[outline] & (depth[outline] > SURFACE)))


def _candidates(frame: Frame, relative: FloatArray, depth: FloatArray) -> Iterator[GreyArray]:
    """Different masks that a threshold, an erosion, the choice of parts and a closing lead to."""
    below_surface = (depth > 2).astype(np.uint8)
    line = cv2.morphologyEx(np.minimum(relative, np.float32(TISSUE)), cv2.MORPH_BLACKHAT, disc(VALLEY))
    seen: set[bytes] = set()
    for values in (relative, relative - line):  # as it is, and with thin dark lines (faint bone) deepened
        for threshold in THRESHOLDS:
            tissue = ((values > threshold) & (frame.silhouette > 0)).astype(np.uint8)
            for radius in EROSIONS:
                for core in _cores(cv2.erode(tissue, disc(radius)), depth):
                    grown = cv2.dilate(core, disc(radius + 1)) & tissue
                    for closing in CLOSINGS:
                        mask = closed(grown, closing) & below_surface
                        mask = large_parts(cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc(max(radius, 3))), SECOND_PART)
                        key = mask.tobytes()
                        if key not in seen and mask.any():
                            seen.add(key)
                            yield mask


def _cores(eroded: GreyArray, depth: FloatArray) -> list[GreyArray]:
    """The deepest large part of an eroded mask alone, and together with the other large ones."""
    count, labels = cv2.connectedComponents(eroded, connectivity=4)
    if count < 2:
        return []
    weight = np.bincount(labels.ravel(), weights=depth.ravel(), minlength=count)
    weight[0] = 0
    main: BoolArray = np.arange(count) == weight.argmax()
    several = weight > SECOND_PART * weight.max()
    chosen = [main] if several.sum() == 1 else [main, several]
    return [parts.astype(np.uint8)[labels] for parts in chosen]
