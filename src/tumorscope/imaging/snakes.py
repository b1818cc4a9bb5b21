"""Morphological snakes: a contour that moves until it lies on edges, or parts two even regions.

Both run in scikit-image, whose iterations are NumPy and SciPy calls: about a millisecond each on a 160×160 grid.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.segmentation import (
    inverse_gaussian_gradient,
    morphological_chan_vese,
    morphological_geodesic_active_contour,
)

from tumorscope.errors import ScanError, look_up
from tumorscope.imaging.head import grey_range
from tumorscope.imaging.intensity import as_mask, as_plane
from tumorscope.scan import BoolArray, FloatArray

SNAKES = ("geodesic", "chan-vese")
STEEPNESS = 100.0  # how fast the speed falls with the gradient: it is 1 / sqrt(1 + 100 g) at gradient g
EDGE_SIGMA = 1.5  # px: blur before the gradient is taken
STOP = 0.4  # speed; a balloon does not push the contour where it is slower than this


def seed_contour(points: ArrayLike, shape: tuple[int, int]) -> BoolArray:
    """The filled polygon through (row, column) points as an (H, W) mask: a start for `snake`.

    Parameters
    ----------
    points : (N, 2) numbers
        Three corners or more, rows first, in pixels; the last joins the first.
    shape : (int, int)
        (H, W) of the mask.

    Raises
    ------
    ScanError
        For fewer than three points, another shape, or values that are not finite.

    Examples
    --------
    >>> seed_contour([(0, 0), (0, 2), (2, 2), (2, 0)], (4, 5)).sum()
    np.int64(9)
    """
    corners = np.asarray(points, np.float64)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3 or not np.isfinite(corners).all():
        raise ScanError(
            f"seed contour: {corners.shape} values are no polygon; pass 3 or more finite (row, column) points"
        )
    limit = 4.0 * max(shape)  # far outside is outside
    whole = np.rint(np.clip(corners, -limit, limit)).astype(np.int32)[:, ::-1]
    return cv2.fillPoly(np.zeros(shape, np.uint8), [np.ascontiguousarray(whole)], 1) > 0


def snake(
    image: NDArray,
    start: NDArray,
    *,
    method: str = "geodesic",
    iterations: int = 100,
    smoothing: int = 1,
    balloon: int = 0,
    edge_sigma: float = EDGE_SIGMA,
) -> BoolArray:
    """Mask of the region whose outline a snake settles on, from the outline of ``start``.

    Morphological snakes [1]_ move a mask by dilations and erosions and smooth it by small openings and closings. They
    were chosen over a parametric contour (``skimage.segmentation.active_contour``): a mask goes in and comes out, parts
    may merge and split, and no points have to be spread along the curve.

    ``geodesic``
        Follows edges: the contour is drawn to where the gradient g of the blurred image is steep, by the speed
        1 / sqrt(1 + 100 g) on grey values scaled to 0…1 [2]_. ``balloon`` 1 also pushes it outward and −1 inward
        wherever the speed is above 0.4; 0 only straightens it and draws it to edges next to it.
    ``chan-vese``
        Parts the image into an inside and an outside, each as even as it can be [3]_; edges are not needed. What is
        like the inside joins it only where the contour reaches it.

    Parameters
    ----------
    image : (H, W) array
        Any range; grey values are scaled between their outliers first.
    start : (H, W) bool array
        Where the contour begins; `seed_contour` makes one from points.
    method : {"geodesic", "chan-vese"}
    iterations : int
        At least 0. The contour moves by at most a pixel in each, and stays once it has settled.
    smoothing : int
        Smoothing steps an iteration, 0 or more.
    balloon : {-1, 0, 1}
        For ``geodesic`` only.
    edge_sigma : float
        Blur in pixels before the gradient is taken, above 0; for ``geodesic`` only.

    Returns
    -------
    (H, W) bool array
        ``start`` itself when it is empty or everything, when the image is constant, or after no iterations.

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values, an unknown method or a parameter out of its range.

    References
    ----------
    .. [1] Márquez-Neila, Baumela, Alvarez, "A morphological approach to curvature-based evolution of curves and
       surfaces", IEEE Transactions on Pattern Analysis and Machine Intelligence 36(1), 2014.
    .. [2] Caselles, Kimmel, Sapiro, "Geodesic active contours", International Journal of Computer Vision 22, 1997.
    .. [3] Chan, Vese, "Active contours without edges", IEEE Transactions on Image Processing 10(2), 2001.

    Examples
    --------
    >>> disc = np.hypot(*np.mgrid[-20:21, -20:21]) < 12
    >>> start = np.hypot(*np.mgrid[-20:21, -20:21]) < 6
    >>> found = snake(disc * 50.0, start, method="chan-vese")
    >>> bool((found != disc).mean() < 0.02)
    True
    """
    plane = as_plane(image)
    mask = as_mask(start, plane.shape, "start")
    look_up(method, SNAKES, "snake", ScanError)
    if iterations < 0 or smoothing < 0:
        raise ScanError(f"snake: {iterations} iterations with smoothing {smoothing}; neither can be below 0")
    if balloon not in (-1, 0, 1):
        raise ScanError(f"snake: balloon {balloon} is not known; pass 1 (outward), -1 (inward) or 0")
    if not (np.isfinite(edge_sigma) and edge_sigma > 0):
        raise ScanError(f"snake: a blur of {edge_sigma} px shows no edges; pass for example {EDGE_SIGMA}")
    scaled = _scaled(plane)
    if scaled is None or not mask.any() or mask.all() or iterations == 0:
        return mask.copy()
    pad = 1 if min(plane.shape) == 1 else 0  # a gradient needs two pixels
    scaled, begun = np.pad(scaled, pad, "edge"), np.pad(mask, pad, "edge")
    if method == "chan-vese":
        moved = morphological_chan_vese(scaled, iterations, init_level_set=begun, smoothing=smoothing)
    else:
        speed = inverse_gaussian_gradient(scaled.astype(np.float64), STEEPNESS, edge_sigma)
        moved = morphological_geodesic_active_contour(
            speed, iterations, begun, smoothing, threshold=STOP, balloon=balloon
        )
    return moved[pad : pad + plane.shape[0], pad : pad + plane.shape[1]] > 0


def _scaled(plane: FloatArray) -> FloatArray | None:
    """The slice in 0…1 between its outliers; None when it is constant."""
    bottom, top = grey_range(plane)
    if top <= bottom:
        return None
    return np.clip((plane - np.float32(bottom)) / np.float32(top - bottom), 0, 1)
