"""The box around the head of a slice, and the head itself."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError, look_up
from tumorscope.imaging.geometry import Box
from tumorscope.imaging.head import NOISE, GreyArray, contrast_to_background, find_head, on_grid, ring, smoothness
from tumorscope.imaging.intensity import as_plane
from tumorscope.scan import BoolArray

MODES = ("auto", "hard", "soft")
PADDING = {"hard": 0.03, "soft": 0.06}  # of the head's longer side
LEAST_PADDING = 2  # px
FILLS = 0.98  # of the image's area; a head this large needs no crop
BORDER_TAKEN = 0.3  # of the border; a hard head that takes more may hold lit background
BORDER_FREE = 0.1  # of the border that a soft head may touch, to be taken instead
SMALLER = 0.8  # of the hard head's area that a soft head may have, to be taken instead
FLAT = 0.25  # of the head's texture; what a soft crop leaves out must be flatter than this


@dataclass(frozen=True)
class Crop:
    """Where the head is, and how that was found.

    Parameters
    ----------
    box : Box
        The head with its padding, inside the image; the whole image for mode ``none``.
    mode : {"hard", "soft", "none"}
        What was done.
    reason : str
        Why, in one sentence for a person.
    head : (H, W) bool array
        The filled head on the image's own grid; all True for mode ``none``.
    """

    box: Box
    mode: str
    reason: str
    head: BoolArray


def crop_head(image: NDArray, mode: str = "auto") -> Crop:
    """Box and filled mask of the head in a slice, with the mode that found it and the reason for the mode.

    Parameters
    ----------
    image : (H, W) array
        Any range; cleaned of white surroundings and text (`background.clean_background`).
    mode : {"auto", "hard", "soft"}
        ``hard`` thresholds the whole image at once and pads by 3 % of the head's longer side. ``soft`` compares
        each pixel with its surroundings, for uneven backgrounds, and pads by 6 %. ``auto`` takes hard,
        unless its head runs along much of the border while soft's stands free and leaves out nothing with texture.

    Returns
    -------
    Crop
        Mode ``none``, with the whole image as box and head, when no head stands out: a constant image, noise,
        fewer than 12 pixels on a side, or a head that fills the image.

    Raises
    ------
    ScanError
        For a wrong shape, non-finite values or an unknown mode.

    Examples
    --------
    >>> y, x = np.mgrid[-50:50, -40:40]
    >>> crop = crop_head(900.0 * (np.hypot(y / 40, x / 30) < 1))
    >>> crop.mode, crop.box
    ('hard', Box(top=8, left=8, bottom=93, right=73))
    >>> crop_head(np.zeros((5, 5))).mode
    'none'
    """
    plane = as_plane(image)
    look_up(mode, MODES, "crop mode", ScanError)
    grey = contrast_to_background(plane)
    if grey is None:
        return _no_crop(plane.shape, "the image is constant or too small to tell a head from its background")
    if smoothness(grey) < NOISE:
        return _no_crop(plane.shape, "the image is noise: a 5x5 mean leaves nearly nothing of it")
    if mode == "auto":
        mode, head, reason = _choose(grey)
    else:
        head, reason = find_head(grey, mode), f"{mode} as asked for"
    if head is None or not head.any():
        return _no_crop(plane.shape, "nothing large enough to be a head stands out from the background")
    if head.mean() > FILLS:
        return _no_crop(plane.shape, "the head fills the image")
    head = head if head.shape == plane.shape else on_grid(head, plane.shape)
    box = Box.around(head)
    padding = max(LEAST_PADDING, round(PADDING[mode] * max(box.shape)))
    return Crop(box.grown(padding, plane.shape), mode, reason, head)


def _choose(grey: GreyArray) -> tuple[str, BoolArray | None, str]:
    """Mode, head and reason for an image whose mode nobody chose."""
    hard = find_head(grey, "hard")
    reference = np.ones(grey.shape, bool) if hard is None else hard
    taken = float(ring(reference, 1).mean())
    if hard is not None and taken <= BORDER_TAKEN:
        return "hard", hard, f"hard: the surroundings are dark on {1 - taken:.0%} of the border"
    why = "one threshold finds no head" if hard is None else f"one threshold takes {taken:.0%} of the border for head"
    soft = find_head(grey, "soft")
    if soft is None or ring(soft, 1).mean() > BORDER_FREE or soft.sum() > SMALLER * reference.sum():
        return "hard", hard, f"hard: {why}, and a local threshold finds no free-standing head"
    outside, inside = _texture(grey, soft, reference)
    if outside > FLAT * inside:
        return "hard", hard, f"hard: {why}, but what a local threshold leaves out has texture ({outside / inside:.0%})"
    return "soft", soft, f"soft: {why}, and what a local threshold leaves out is flat ({outside / inside:.0%} texture)"


def _texture(grey: GreyArray, soft: BoolArray, hard: BoolArray) -> tuple[float, float]:
    """Mean deviation from a local mean, in what only ``hard`` takes for head and inside ``soft``."""
    values = grey.astype(np.float32)
    deviation = np.abs(values - cv2.blur(values, (7, 7)))
    between = hard & ~on_grid(soft, soft.shape, 5)
    return (float(deviation[between].mean()) if between.any() else 0.0), max(float(deviation[soft].mean()), 1e-6)


def _no_crop(shape: tuple[int, ...], reason: str) -> Crop:
    """The whole image, untouched."""
    return Crop(Box.whole(shape), "none", reason, np.ones(shape, bool))
