"""The head without its surroundings, the brain without its skull, and how far the brain's outline can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError, look_up
from tumorscope.imaging.brain import DARK, TISSUE, Found, assess, find_brain, tissue_relative
from tumorscope.imaging.head import GreyArray, low_threshold
from tumorscope.imaging.intensity import as_mask, as_plane
from tumorscope.imaging.silhouette import SIDE, Frame, closed, disc, frame_head, large_parts
from tumorscope.imaging.snakes import snake
from tumorscope.scan import BoolArray, FloatArray

METHODS = ("morphology", "geodesic", "chan-vese")
AMOUNTS = ("none", "partial", "full")
LEAST_CONFIDENCE = 0.7  # all 7 masks below it on a set of 253 were wrong; docs/explanation/skull-and-regions.md
MARGIN = 0.025  # of the head's longer side, some 5 mm: what `partial` leaves, mostly bone; as much fades out
HEAD_STEPS = 12  # iterations of a head snake; its start lies within some 8 px of the head
BRAIN_STEPS = 4  # iterations of a brain snake; its start lies 2 px outside the brain
START = 2  # px of the working grid by which a brain snake starts outside morphology's mask


@dataclass(frozen=True)
class BrainMask:
    """The inside of the skull, as far as it could be told.

    Parameters
    ----------
    mask : (H, W) bool array
        Brain, and fluid and vessels around it; holes filled. All False when nothing was found.
    head : (H, W) bool array
        The head; the mask is part of it.
    confidence : float
        Share of the mask's outline that is as it should be: dark outside, as bone is, and below the head's surface;
        less in proportion for a mask that fills under 30 % of the head. 0…1; from 0.7 on `strip_skull` relies on it.
    reason : str
        What was found, in one sentence for a person.
    """

    mask: BoolArray
    head: BoolArray
    confidence: float
    reason: str


def head_mask(image: NDArray, method: str = "morphology") -> BoolArray:
    """Mask of the head with chin, ears and nose, holes filled; all False when no head stands out.

    `crop.crop_head` gives a head's box and convex hull; this gives its outline.

    Parameters
    ----------
    image : (H, W) array
        Any range; cleaned of white surroundings and text (`background.clean_background`).
    method : {"morphology", "geodesic", "chan-vese"}
        ``morphology``: a threshold just above the background, gaps closed, holes filled, spurs opened. The snakes
        start from the convex hull: ``geodesic`` shrinks until it meets an edge, ``chan-vese`` parts head from
        background (`snakes.snake`). All work on a grid of 160 px along the head.

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values or an unknown method.

    Examples
    --------
    >>> y, x = np.mgrid[-50:50, -40:40]
    >>> head = np.hypot(y / 40, x / 30) < 1
    >>> bool((head_mask(head * 900.0) != head).mean() < 0.02)
    True
    >>> head_mask(np.zeros((5, 5))).any()
    np.False_
    """
    plane = as_plane(image)
    look_up(method, METHODS, "skull method", ScanError)
    frame = frame_head(plane)
    if frame is None:
        return np.zeros(plane.shape, bool)
    return frame.to_slice(frame.silhouette if method == "morphology" else _head_by_snake(frame, method))


def brain_mask(image: NDArray, method: str = "morphology") -> BrainMask:
    """Mask of what lies inside the skull, with a figure for how far to trust it.

    Made for slices that show a skull, from any direction. On a slice without one (stripped before, an image cut inside
    the head) and on one through face and neck alone there is no right answer: the mask holds what was found and the
    confidence is low. Never the whole image because nothing better was found.

    Parameters
    ----------
    image : (H, W) array
        Any range and contrast; cleaned of white surroundings and text (`background.clean_background`).
    method : {"morphology", "geodesic", "chan-vese"}
        ``morphology``: up to 200 candidates from thresholds relative to the tissue around, erosions that cut the
        bridges to the scalp, and closings over the sulci; the one with the best dark rim is taken. The snakes start
        2 px outside that mask, in the bone: ``geodesic`` shrinks to the next edge, ``chan-vese`` parts tissue from
        bone (`snakes.snake`).

    Returns
    -------
    BrainMask

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values or an unknown method.

    Examples
    --------
    >>> y, x = np.mgrid[-50:50, -40:40]
    >>> radius = np.hypot(y / 45, x / 35)
    >>> image = np.where(radius < 0.8, 60.0, np.where((radius > 0.9) & (radius < 1), 90.0, 0.0))
    >>> found = brain_mask(image)
    >>> bool((found.mask != (radius < 0.8)).mean() < 0.02), round(found.confidence, 1)
    (True, 1.0)
    """
    plane = as_plane(image)
    look_up(method, METHODS, "skull method", ScanError)
    frame = frame_head(plane)
    nothing = np.zeros(plane.shape, bool)
    if frame is None:
        return BrainMask(nothing, nothing, 0.0, "no head stands out from the background")
    head = frame.to_slice(frame.silhouette)
    found = find_brain(frame)
    if not found.mask.any():
        return BrainMask(nothing, head, 0.0, "nothing inside the head is large and even enough to be a brain")
    if method != "morphology":
        found = _brain_by_snake(frame, found, method)
    mask = frame.to_slice(found.mask) & head
    share = mask.sum() / max(int(head.sum()), 1)
    reason = f"confidence {found.confidence:.2f}, and the mask fills {share:.0%} of the head"
    if found.confidence < LEAST_CONFIDENCE:
        reason += ": no skull, or one that this cannot tell from the brain"
    return BrainMask(mask, head, found.confidence, reason)


def strip_skull(
    image: NDArray,
    amount: str = "full",
    *,
    method: str = "morphology",
    margin: float = MARGIN,
    least_confidence: float = LEAST_CONFIDENCE,
    brain: NDArray | None = None,
) -> FloatArray:
    """Image in which what lies outside the brain is as dark as the background.

    Parameters
    ----------
    image : (H, W) array
    amount : {"none", "partial", "full"}
        ``none``: the image as it is. ``full``: every pixel outside the brain mask gets the background's value.
        ``partial``: the brain and a margin around it stay, over as much again the image fades into the background in
        proportion to the distance, and beyond that it is background. The margin is about as wide as bone: the scalp
        goes, the bone's inner part stays, and a mask that is a little too small costs no brain.
    method : {"morphology", "geodesic", "chan-vese"}
        As for `brain_mask`.
    margin : float
        Share of the head's longer side, 0 or more; for ``partial``.
    least_confidence : float
        Below this confidence of the brain mask nothing is stripped but an error raised. 0 takes any mask.
    brain : (H, W) bool array, optional
        A brain mask to use instead of finding one.

    Returns
    -------
    (H, W) float32 array
        In the input's units. Pixels of the brain keep their value exactly.

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values, an unknown amount or method, a margin below 0, a brain mask of another
        size; and when no brain is found, or none that can be trusted.

    Examples
    --------
    >>> y, x = np.mgrid[-50:50, -40:40]
    >>> radius = np.hypot(y / 45, x / 35)
    >>> image = np.where(radius < 0.8, 60.0, np.where((radius > 0.9) & (radius < 1), 90.0, 0.0))
    >>> float(strip_skull(image, "full").max()), float(strip_skull(image, "none").max())
    (60.0, 90.0)
    """
    plane = as_plane(image)
    look_up(amount, AMOUNTS, "amount of skull stripping", ScanError)
    look_up(method, METHODS, "skull method", ScanError)
    if not (np.isfinite(margin) and margin >= 0):
        raise ScanError(f"skull stripping: margin {margin} is below 0; pass a share of the head such as {MARGIN}")
    given = None if brain is None else as_mask(brain, plane.shape, "brain mask")
    if amount == "none":
        return plane.copy()
    if given is None:
        found = brain_mask(plane, method)
        if not found.mask.any() or found.confidence < least_confidence:
            raise ScanError(
                f"image: no brain can be told from the skull ({found.reason}); "
                "take amount 'none', give a brain mask, or lower least_confidence"
            )
        mask, head = found.mask, found.head
    else:
        mask, head = given, head_mask(plane)
    return _faded(plane, mask, head, 0.0 if amount == "full" else margin)


def _faded(plane: FloatArray, mask: BoolArray, head: BoolArray, margin: float) -> FloatArray:
    """The slice inside the mask and, for a margin above 0, around it; the background's value elsewhere."""
    outside = plane[~(head | mask)]
    background = np.float32(np.median(outside)) if outside.size else plane.min()
    if not mask.any():
        return np.full_like(plane, background)
    if margin == 0:
        return np.where(mask, plane, background)
    rows, columns = np.flatnonzero((head | mask).any(axis=1)), np.flatnonzero((head | mask).any(axis=0))
    width = margin * float(max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1)
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5) if not mask.all() else 0 * plane
    weight = np.clip(2 - distance / np.float32(width), 0, 1)
    return np.where(weight == 1, plane, background + weight * (plane - background)).astype(np.float32)


def _head_by_snake(frame: Frame, method: str) -> GreyArray:
    """The head's silhouette on the working grid, by a snake that starts from the hull."""
    blurred = cv2.GaussianBlur(frame.grey, (5, 5), 0)
    # bright scalp and dark brain alike are head: what lies twice above the threshold counts alike
    even = np.minimum(blurred, np.float32(2 * low_threshold(blurred)))
    start = frame.hull > 0
    if start.all():  # no contour to start from: the head runs out of the picture on all sides
        return frame.silhouette
    moved = snake(even, start, method=method, iterations=HEAD_STEPS, balloon=-1 if method == "geodesic" else 0)
    inside = moved.astype(np.uint8) & frame.hull
    return closed(inside, 1) & frame.hull if inside.any() else frame.silhouette


def _brain_by_snake(frame: Frame, found: Found, method: str) -> Found:
    """The brain on the working grid, by a snake that starts in the bone around morphology's mask."""
    depth = frame.depth()
    relative = tissue_relative(frame, depth)
    around = cv2.dilate(found.mask, disc(START))
    domain = around & ((relative < DARK) | (found.mask > 0)).astype(np.uint8) & (depth > 0).astype(np.uint8)
    even = np.minimum(relative, np.float32(TISSUE))
    if method == "chan-vese":  # knows no neighbourhood: scalp would join the brain
        even = np.where(domain > 0, even, 0)
    balloon = -1 if method == "geodesic" else 0
    moved = snake(even, domain > 0, method=method, iterations=BRAIN_STEPS, smoothing=2, balloon=balloon)
    inside = closed(large_parts(moved.astype(np.uint8) & around, 0.1), round(0.04 * SIDE)) & (depth > 0)
    mask = inside.astype(np.uint8)
    return assess(mask, relative, depth) if mask.any() else found
