"""The head's outline as it is, chin and ears included, on a grid that does not depend on the scan's size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.imaging.crop import crop_head
from tumorscope.imaging.geometry import Box
from tumorscope.imaging.head import (
    NOISE,
    GreyArray,
    contrast_to_background,
    find_head,
    grey_range,
    low_threshold,
    ring,
    smoothness,
    to_grey,
)
from tumorscope.scan import BoolArray, FloatArray

SIDE = 160  # px; the longer side of the head's box on the working grid, there about 1.2 mm each
BRIDGES = 4  # px of the working grid: radius that closes gaps in the outline (nostrils, air cells, faint scalp)
SPURS = 2  # px: radius below which what sticks out is noise
SOFTENING = 1.0  # px: blur of a mask on its way back, so that its outline shows no steps
MID_RANGE = 0.08  # of the grey range; a background above this was moved there, by a z-score for example
LONE = 0.02  # of the largest part's area; smaller parts are specks


@dataclass(frozen=True)
class Frame:
    """A head cut out and brought to the working grid, with the way back.

    Parameters
    ----------
    grey : (h, w) uint8 array
        The head's box, its longer side `SIDE` px.
    hull : (h, w) uint8 array
        1 in the convex hull of the head, of `crop.crop_head`.
    silhouette : (h, w) uint8 array
        1 in the head as it stands out from the background, holes filled.
    box : Box
        Where the frame lies in the slice.
    shape : tuple of int
        (H, W) of the slice.
    """

    grey: GreyArray
    hull: GreyArray
    silhouette: GreyArray
    box: Box
    shape: tuple[int, ...]

    def to_slice(self, mask: NDArray) -> BoolArray:
        """A mask of the working grid on the slice's own grid, (H, W), its outline smoothed by a pixel."""
        soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), SOFTENING, borderType=cv2.BORDER_REPLICATE)
        height, width = self.box.shape
        shrinks = max(height, width) < max(mask.shape)
        fine = cv2.resize(soft, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        return self.box.paste(fine > 0.5, self.shape, False)

    def depth(self) -> FloatArray:
        """Distance in pixels of the working grid below the silhouette's outline, 0 outside.

        The image's edge is no outline: where the head runs out of the picture, it goes on.
        """
        padded = cv2.copyMakeBorder(self.silhouette, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
        if padded.all():  # OpenCV's distance to nothing is not defined
            return np.full(self.silhouette.shape, float(SIDE), np.float32)
        return cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]


def frame_head(plane: FloatArray) -> Frame | None:
    """The head of an (H, W) float32 slice on the working grid; None when no head stands out.

    Examples
    --------
    >>> y, x = np.mgrid[-50:50, -40:40]
    >>> frame = frame_head(900 * (np.hypot(y / 40, x / 30) < 1).astype(np.float32))
    >>> frame.grey.shape, bool(frame.to_slice(frame.silhouette)[50, 40])
    ((160, 122), True)
    >>> frame_head(np.zeros((30, 30), np.float32)) is None
    True
    """
    crop = crop_head(plane)
    head = crop.head
    if crop.mode == "none":
        contrast = contrast_to_background(plane)
        if contrast is None or smoothness(contrast) < NOISE or find_head(contrast) is None:
            return None  # constant, noise, or nothing large enough; otherwise the head fills the image
    cut = crop.box.cut(_background_lowest(plane))
    factor = SIDE / max(cut.shape)
    size = (max(1, round(cut.shape[1] * factor)), max(1, round(cut.shape[0] * factor)))
    cut = cv2.resize(cut, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    grey = to_grey(cut, *grey_range(cut))
    hull = cv2.resize(crop.box.cut(head).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    silhouette = _silhouette(grey, hull)
    return Frame(grey, hull, silhouette, crop.box, plane.shape) if silhouette.any() else None


def disc(radius: int) -> GreyArray:
    """Structuring element: a disc of this radius in pixels.

    Examples
    --------
    >>> disc(1)
    array([[0, 1, 0],
           [1, 1, 1],
           [0, 1, 0]], dtype=uint8)
    """
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))


def closed(mask: NDArray, radius: int) -> GreyArray:
    """A mask (0 or 1) closed by a disc and with its holes filled; nothing beyond the array takes part.

    Through two distance maps: at these radii many times faster than a dilation and an erosion.

    Examples
    --------
    >>> beside = np.zeros((7, 12), np.uint8)
    >>> beside[2:5, 1:5] = beside[2:5, 7:11] = 1  # two blocks, two pixels apart
    >>> "".join(map(str, closed(beside, 1)[3]))
    '011111111110'
    >>> hollow = np.ones((5, 5), np.uint8)
    >>> hollow[2, 2] = 0
    >>> int(closed(hollow, 1).sum())
    25
    """
    if not mask.any():
        return np.zeros(mask.shape, np.uint8)
    pad = radius + 2
    outside = cv2.copyMakeBorder(1 - mask.astype(np.uint8), pad, pad, pad, pad, cv2.BORDER_CONSTANT, value=1)
    near = (cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= radius).astype(np.uint8)
    joined = (cv2.distanceTransform(near, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) > radius).astype(np.uint8)
    joined = np.ascontiguousarray(joined[pad:-pad, pad:-pad])
    contours, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(joined), contours, -1, 1, cv2.FILLED)


def large_parts(mask: GreyArray, share: float) -> GreyArray:
    """The mask without connected parts smaller than ``share`` of its largest one.

    Examples
    --------
    >>> large_parts(np.array([[1, 1, 1, 1, 0, 1, 0, 1, 1]], np.uint8), 0.5)
    array([[1, 1, 1, 1, 0, 0, 0, 1, 1]], dtype=uint8)
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    if count <= 2:
        return mask
    area = stats[:, cv2.CC_STAT_AREA].copy()
    area[0] = 0
    return (area >= share * area.max()).astype(np.uint8)[labels]


def _silhouette(grey: GreyArray, hull: GreyArray) -> GreyArray:
    """What stands out inside the hull, gaps closed and holes filled."""
    blurred = cv2.GaussianBlur(grey, (5, 5), 0)
    above = (blurred > low_threshold(blurred)).astype(np.uint8) & hull
    return large_parts(cv2.morphologyEx(closed(above, BRIDGES), cv2.MORPH_OPEN, disc(SPURS)), LONE)


def _background_lowest(plane: FloatArray) -> FloatArray:
    """The slice with an even background in mid-range, as after a z-score of the brain, at its lowest value."""
    bottom, top = grey_range(plane)
    level = float(np.median(ring(plane, 1)))
    near = np.abs(plane - np.float32(level)) <= np.float32(0.004 * (top - bottom))
    if level <= bottom + MID_RANGE * (top - bottom) or ring(near, 1).mean() < 0.5:
        return plane
    _, labels = cv2.connectedComponents(near.astype(np.uint8), connectivity=4)
    touching = np.unique(ring(labels, 1))
    return np.where(np.isin(labels, touching[touching > 0]), np.float32(bottom), plane)
