"""Candidate tumour masks from clusters of grey values: compact bright (or dark) parts inside the head."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError
from tumorscope.imaging.intensity import as_mask, as_plane
from tumorscope.imaging.intensity_clusters import exact_kmeans
from tumorscope.scan import BoolArray, FloatArray

CLUSTERS = 3  # of the grey values in the depth of the head
DEPTH = 0.22  # of the head's largest inscribed radius: scalp, skull and meninges lie nearer to the surface
BLUR = 0.02  # of the same radius: standard deviation of the Gaussian that keeps noise from fraying the parts
SMALLEST, LARGEST = 0.003, 0.25  # of the head's area: below lie vessels and specks, above whole lobes
RING = 4  # px; width of the surroundings that a part is compared with


def candidate_mask(
    image: NDArray, head: NDArray, *, k: int = CLUSTERS, bright: bool = True, depth: float = DEPTH, most: int = 1
) -> BoolArray:
    """Mask of the most salient compact part of the brightest (or darkest) cluster inside the head: a guess at a tumour.

    The rule, in order, with R the radius of the largest disc in the head:

    1. blur with a Gaussian of 0.02 R; keep the pixels at least ``depth`` · R below the head's surface;
    2. part their grey values into k clusters (`intensity_clusters.exact_kmeans`) and take the brightest, or the
       darkest;
    3. open it with a 3 × 3 square, which cuts thin bridges, and take its 4-connected parts of 0.3 to 25 % of the head;
    4. the salience of a part is √area · fill² · contrast: fill is the share of its convex hull that it covers,
       contrast the difference of its mean to that of the 4 pixels around it. Parts whose difference has the wrong sign
       are left out; of the others the ``most`` most salient stay.

    It knows nothing of tumours: ventricles on T2, a sinus after contrast and the choroid plexus pass as well. Record
    ``mask_source="kmeans"`` beside it.

    Parameters
    ----------
    image : (H, W) array
    head : (H, W) bool array
        The head, or better the brain, with ``depth=0``.
    k : int
        2 to 255.
    bright : bool
        The brightest cluster; otherwise the darkest.
    depth : float
        In [0, 1).
    most : int
        Parts at most, 1 or more.

    Returns
    -------
    (H, W) bool array
        Empty where no part passes, where the head is empty, or where it is of one grey value.

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values, a mask of another shape, or a parameter out of range.

    Examples
    --------
    >>> image, head = np.zeros((40, 40)), np.zeros((40, 40), bool)
    >>> head[2:38, 2:38] = True
    >>> image[head] = 1
    >>> image[15:22, 18:25] = 3
    >>> int(candidate_mask(image, head, k=2).sum())
    49
    """
    plane = as_plane(image)
    inside = as_mask(head, plane.shape, "head")
    if k < 2 or not 0 <= depth < 1 or most < 1:
        raise ScanError(f"candidates: k {k}, depth {depth}, most {most}; pass k >= 2, 0 <= depth < 1, most >= 1")
    found = np.zeros(plane.shape, bool)
    if not inside.any():
        return found
    framed = cv2.copyMakeBorder(inside.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    below = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    radius = float(below.max())
    smooth = cv2.GaussianBlur(plane, (0, 0), BLUR * radius) * (1 if bright else -1)
    deep = below > depth * radius
    clusters = exact_kmeans(smooth[deep][None], k)
    if clusters.k < 2:
        return found
    found[deep] = clusters.labels[0] == clusters.k - 1
    opened = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    return _salient_parts(opened, smooth, inside, most)


def _salient_parts(opened: NDArray[np.uint8], smooth: FloatArray, head: BoolArray, most: int) -> BoolArray:
    """The ``most`` most salient 4-connected parts of a 0/1 image."""
    count, part, stats, _ = cv2.connectedComponentsWithStats(opened, connectivity=4)
    share = stats[:, cv2.CC_STAT_AREA] / np.count_nonzero(head)
    ranked = []
    for number in range(1, count):
        if not SMALLEST <= share[number] <= LARGEST:
            continue
        alone = part == number
        ring = cv2.dilate(alone.astype(np.uint8), np.ones((2 * RING + 1, 2 * RING + 1), np.uint8)) > 0
        ring &= head & ~alone
        contrast = float(smooth[alone].mean() - smooth[ring].mean()) if ring.any() else 0.0
        fill = float(share[number]) * np.count_nonzero(head) / _hull_area(alone)
        ranked.append((share[number] ** 0.5 * fill**2 * contrast, number))
    ranked.sort(key=lambda pair: (-pair[0], pair[1]))
    return np.isin(part, [number for salience, number in ranked[:most] if salience > 0])


def _hull_area(part: BoolArray) -> int:
    """Pixels of the filled convex hull of a part."""
    contours, _ = cv2.findContours(part.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = cv2.convexHull(np.concatenate(contours))
    canvas = np.zeros(part.shape, np.uint8)
    return int(cv2.fillConvexPoly(canvas, hull, 1).sum())
