"""From pixel probabilities to lesions, and from lesions to numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import pdist

from tumorscope.scan import BoolArray

_SOLID = np.ones((3, 3, 3), bool)
_EDGES = np.array([(-0.5, 0.0), (0.5, 0.0), (0.0, -0.5), (0.0, 0.5)])
"""From a pixel's centre to the middles of its four edges."""


@dataclass(frozen=True)
class Measurements:
    """Size of the lesions in a mask; None where it is not known.

    Parameters
    ----------
    lesions : int or None
        Connected regions: by 8 neighbours in a 2-D scan, by 26 in a volume.
    area_px, area_mm2 : float or None
        Area of all lesions together; in a volume, of the slice where it is largest.
    diameter_px, diameter_mm : float or None
        Largest diameter in any direction (maximum Feret diameter) of any one lesion; in a volume, within
        a slice.
    volume_mm3 : float or None
        Volume of all lesions together; None for a 2-D scan.
    """

    lesions: int | None = None
    area_px: float | None = None
    area_mm2: float | None = None
    diameter_px: float | None = None
    diameter_mm: float | None = None
    volume_mm3: float | None = None


def concentration(probability: NDArray, mask: BoolArray) -> float:
    """Share of all tumour probability that lies in the lesions; of a volume, in the slice that holds most of them.

    Near 1 where the network sees one thing in one place, low where it is unsure all over the head. Unlike the
    probabilities themselves it hardly hangs on contrast. 0 without a lesion.

    Parameters
    ----------
    probability : (H, W) or (D, H, W) float array in [0, 1]
    mask : bool array of the same shape

    Examples
    --------
    >>> probability = np.array([[0.9, 0.0], [0.3, 0.0]])
    >>> concentration(probability, probability > 0.5)
    0.75
    """
    inside = np.where(mask, probability, 0)
    if probability.ndim == 3:
        place = int(inside.sum(axis=(1, 2), dtype=np.float64).argmax())
        inside, probability = inside[place], probability[place]
    total = float(probability.sum(dtype=np.float64))
    return float(inside.sum(dtype=np.float64)) / total if total > 0 else 0.0


def lesions(
    probability: NDArray,
    *,
    mask: float = 0.5,
    seed: float = 0.5,
    head: BoolArray | None = None,
    min_size: float = 0.0,
    single_slice_seed: float | None = None,
) -> BoolArray:
    """Mask of the lesions in a map of pixel probabilities.

    Pixels from ``mask`` on form regions (8 neighbours in 2-D, 26 in 3-D). A region stays if its highest
    probability reaches ``seed`` (hysteresis) and it has at least ``min_size`` pixels; then `fill_holes`
    works on each slice.

    Parameters
    ----------
    probability : (H, W) or (D, H, W) float array in [0, 1]
    mask, seed : float
        Lower and upper threshold.
    head : bool array of the same shape, or None
        Nothing outside it becomes a lesion.
    min_size : float
        Smallest region, in pixels or voxels.
    single_slice_seed : float or None
        In a volume: the peak that a region which lies in one slice only must reach instead of ``seed``.

    Examples
    --------
    >>> probability = np.array([[0.6, 0.9, 0.0, 0.6, 0.6]])
    >>> lesions(probability, mask=0.5, seed=0.8).astype(int)
    array([[1, 1, 0, 0, 0]])
    """
    candidates = probability >= mask
    if head is not None:
        candidates &= head
    if not candidates.any():
        return np.zeros(probability.shape, bool)
    labels, count = _label(candidates)
    peaks = np.zeros(count + 1, np.float64)
    sizes = np.bincount(labels[candidates], minlength=count + 1)
    np.maximum.at(peaks, labels[candidates], probability[candidates].astype(np.float64))
    needed = np.full(count + 1, seed)
    if single_slice_seed is not None and probability.ndim == 3:
        for index, where in enumerate(ndimage.find_objects(labels), start=1):
            if where is not None and where[0].stop - where[0].start == 1:
                needed[index] = single_slice_seed
    keep = (peaks >= needed) & (sizes >= min_size)
    keep[0] = False
    kept = keep[labels]
    if kept.ndim == 2:
        return fill_holes(kept)
    for z in np.flatnonzero(kept.any(axis=(1, 2))):
        kept[z] = fill_holes(kept[z])
    return kept


def fill_holes(mask: BoolArray, largest: float = 1.0) -> BoolArray:
    """A 2-D mask without holes (background that no path of 4 neighbours leads out of).

    A hole stays open if it has more than ``largest`` times the pixels of the region around it: a thin
    ring is no lesion's rim, and to fill it would outline half a head.

    Examples
    --------
    >>> ring = np.ones((3, 3), bool)
    >>> ring[1, 1] = False
    >>> bool(fill_holes(ring).all())
    True
    """
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = mask.copy()
    for outline in outlines:
        within = np.zeros(mask.shape, np.uint8)
        cv2.drawContours(within, [outline], -1, 1, cv2.FILLED)
        solid = within.astype(bool)
        holes = solid & ~mask
        if not holes.any():
            continue
        _, labels, stats, _ = cv2.connectedComponentsWithStats(holes.astype(np.uint8), connectivity=4)
        small = stats[:, cv2.CC_STAT_AREA] <= largest * (solid & mask).sum()
        small[0] = False
        filled |= small[labels]
    return filled


def measure(mask: BoolArray, spacing: Sequence[float] | None = None) -> Measurements:
    """Number, area, diameter and volume of the lesions in a mask.

    A diameter runs between the middles of pixel edges, so that a row of n pixels is n long and a single
    pixel 1.

    Parameters
    ----------
    mask : (H, W) or (D, H, W) bool array
    spacing : sequence of float or None
        Millimetres along each axis; None leaves everything in millimetres unknown.

    Examples
    --------
    >>> row = np.zeros((5, 9), bool)
    >>> row[2, 1:5] = True
    >>> measure(row, (1.0, 0.5))
    Measurements(lesions=1, area_px=4.0, area_mm2=2.0, diameter_px=4.0, diameter_mm=2.0, volume_mm3=None)
    """
    slices = mask[None] if mask.ndim == 2 else mask
    in_plane = None if spacing is None else (float(spacing[-2]), float(spacing[-1]))
    pixel = None if in_plane is None else in_plane[0] * in_plane[1]
    area, longest_px, longest_mm = 0, 0.0, 0.0
    for plane in slices[slices.any(axis=(1, 2))]:
        area = max(area, int(plane.sum()))
        for hull in _hulls(plane):
            longest_px = max(longest_px, _feret(hull, (1.0, 1.0)))
            if in_plane is not None:
                longest_mm = max(longest_mm, _feret(hull, in_plane))
    volume = None
    if mask.ndim == 3 and spacing is not None:
        volume = float(mask.sum()) * float(np.prod(spacing))
    return Measurements(
        lesions=_label(mask)[1],
        area_px=float(area),
        area_mm2=None if pixel is None else area * pixel,
        diameter_px=longest_px,
        diameter_mm=None if in_plane is None else longest_mm,
        volume_mm3=volume,
    )


def _label(mask: BoolArray) -> tuple[NDArray[np.int32], int]:
    if mask.ndim == 2:
        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        return np.asarray(labels, np.int32), count - 1
    labels, count = ndimage.label(mask, _SOLID)
    return labels, int(count)


def _hulls(plane: BoolArray) -> list[NDArray[np.float64]]:
    """Corners (K, 2) in (y, x) of the convex hull of the pixel centres of each region."""
    outlines, _ = cv2.findContours(plane.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return [cv2.convexHull(outline).reshape(-1, 2)[:, ::-1].astype(np.float64) for outline in outlines]


def _feret(hull: NDArray[np.float64], scale: tuple[float, float]) -> float:
    """Largest distance between two edge middles of a region; exact, since scaling keeps a hull a hull."""
    corners = (hull[:, None] + _EDGES).reshape(-1, 2) * np.asarray(scale)
    return float(pdist(corners).max())
