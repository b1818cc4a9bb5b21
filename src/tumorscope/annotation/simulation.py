"""Simulated annotators: clicks where a guess is most wrong, and boxes that are not quite right."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.annotation.prompts import Box, Point
from tumorscope.errors import DataError
from tumorscope.scan import BoolArray

LEAST_INSIDE = 0.5  # a random click lies where the distance to the border is at least this share of the largest


def next_click(truth: BoolArray, guess: BoolArray, rng: np.random.Generator | None = None) -> Point | None:
    """The click that corrects a guess: inside the largest region that is wrong, as far from its border as can be.

    Parameters
    ----------
    truth, guess : (H, W) bool array
        An empty guess makes this the first click.
    rng : numpy.random.Generator or None
        With one, the click lands at random in the inner half of that region, as a hand's would; without, in its
        centre, which is the protocol of the literature.

    Returns
    -------
    Point or None
        Positive where lesion is missing, negative where there is too much; None where nothing is wrong.

    References
    ----------
    .. [1] Xu et al., "Deep interactive object selection", CVPR 2016; Sofiiuk et al., "Reviving iterative training with
       mask guidance for interactive segmentation", ICIP 2022 (the protocol of the number of clicks).

    Examples
    --------
    >>> truth = np.zeros((9, 9), bool)
    >>> truth[2:7, 2:7] = True
    >>> next_click(truth, np.zeros_like(truth))
    Point(y=4.0, x=4.0, positive=True)
    """
    if truth.shape != guess.shape:
        raise DataError(f"guess: is {guess.shape} beside a truth of {truth.shape}; give one of its size")
    missing, surplus = _depth(truth & ~guess), _depth(guess & ~truth)
    positive = missing.max() >= surplus.max()
    depth = missing if positive else surplus
    deepest = float(depth.max())
    if deepest == 0:
        return None
    if rng is None:
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    else:
        _, regions = cv2.connectedComponents((depth > 0).astype(np.uint8), connectivity=4)
        same = regions == regions[np.unravel_index(int(depth.argmax()), depth.shape)]
        inner = np.argwhere(same & (depth >= LEAST_INSIDE * deepest))
        y, x = inner[rng.integers(len(inner))]
    return Point(float(y), float(x), bool(positive))


def jittered(box: Box, share: float, rng: np.random.Generator, shape: tuple[int, int]) -> Box:
    """The box with each side moved at random by up to ``share`` of its height or width, kept within the slice.

    Examples
    --------
    >>> exact = Box(2.0, 3.0, 6.0, 9.0)
    >>> jittered(exact, 0.0, np.random.default_rng(0), (16, 16)) == exact
    True
    """
    height, width = box.bottom - box.top + 1, box.right - box.left + 1
    moved = np.array([box.top, box.left, box.bottom, box.right])
    moved = moved + rng.uniform(-share, share, 4) * np.array([height, width, height, width])
    top, bottom = sorted((moved[0], moved[2]))
    left, right = sorted((moved[1], moved[3]))
    rows, columns = shape[0] - 1.0, shape[1] - 1.0
    return Box(*(float(v) for v in (max(top, 0), max(left, 0), min(bottom, rows), min(right, columns))))


def _depth(region: BoolArray) -> NDArray[np.float32]:
    """Distance of each pixel of a (H, W) region to what lies outside, the slice's border included."""
    padded = np.pad(region, 1).astype(np.uint8)
    return cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
