"""Masks without prompts: an engine is asked at the points of a grid, and what is sure, stable and new is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.annotation.engine import Candidate, Embedded, Engine
from tumorscope.annotation.prompts import Box, Point, Prompts
from tumorscope.errors import DataError
from tumorscope.scan import BoolArray

SIDE = 16  # points along each side of the grid: 256 questions
LEAST_QUALITY, LEAST_STABILITY = 0.88, 0.95  # thresholds of Kirillov et al.'s automatic masks
SHIFT = 1.0  # log-odds by which the threshold is moved to see whether a mask is stable
MOST_OVERLAP = 0.7  # IoU of boxes above which two masks are one
LARGEST = 0.95  # share of the slice from which a mask is the background


@dataclass(frozen=True)
class AutomaticMask:
    """A mask that nobody pointed at.

    Parameters
    ----------
    candidate : Candidate
        Its mask and predicted quality.
    stability : float or None
        IoU of the masks at a stricter and at a laxer threshold; None where the engine tells no log-odds.
    point : Point
        Of the grid, which found it.
    box : Box
    """

    candidate: Candidate
    stability: float | None
    point: Point
    box: Box

    @property
    def mask(self) -> BoolArray:
        """(H, W) bool."""
        return self.candidate.mask


def automatic_masks(
    engine: Engine,
    embedded: Embedded,
    *,
    side: int = SIDE,
    least_quality: float = LEAST_QUALITY,
    least_stability: float = LEAST_STABILITY,
    most_overlap: float = MOST_OVERLAP,
    least_size: int = 1,
    inside: BoolArray | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[AutomaticMask]:
    """Masks of everything in a slice that the engine can tell apart, the surest first; tumours are among it, not told.

    Every point of a ``side`` × ``side`` grid is one positive click. Candidates are kept whose predicted quality and
    stability are high enough; of those whose boxes overlap by more than ``most_overlap`` the surest is kept
    (non-maximum suppression), as in [1]_, without its crops.

    Parameters
    ----------
    engine : Engine
        One whose candidates have a quality.
    embedded : Embedded
        The slice, made ready by that engine.
    side : int
        Points along each side of the grid.
    least_quality, least_stability, most_overlap : float
        In 0…1.
    least_size : int
        Pixels of a mask.
    inside : (H, W) bool array or None
        Points outside of it, for example outside the head, are not asked.
    progress : callable or None
        Called with the number of points done and of all.

    Raises
    ------
    DataError
        If the engine predicts no quality, or a setting is out of its range.

    References
    ----------
    .. [1] Kirillov et al., "Segment anything", ICCV 2023, appendix B.
    """
    if side < 1 or not all(0 <= one <= 1 for one in (least_quality, least_stability, most_overlap)):
        raise DataError(f"automatic masks: {side} points a side and the thresholds given; shares lie in 0 to 1")
    if inside is not None and inside.shape != embedded.shape:
        raise DataError(
            f"automatic masks: the region is {inside.shape}, the slice {embedded.shape}; give one of its size"
        )
    points = [point for point in grid(embedded.shape, side) if inside is None or inside[round(point.y), round(point.x)]]
    found: list[AutomaticMask] = []
    for number, point in enumerate(points, start=1):
        for candidate in engine.segment(embedded, Prompts((point,))):
            if candidate.quality is None:
                raise DataError(
                    f"automatic masks: the engine {engine.name} predicts no quality to choose by; take another, "
                    "for example sam-vit-base"
                )
            steady = stability(candidate.logits)
            box = Box.around(candidate.mask)
            size = int(candidate.mask.sum())
            if box is None or not least_size <= size <= LARGEST * candidate.mask.size:
                continue
            if candidate.quality >= least_quality and (steady is None or steady >= least_stability):
                found.append(AutomaticMask(candidate, steady, point, box))
        if progress:
            progress(number, len(points))
    return _apart(found, most_overlap)


def grid(shape: tuple[int, int], side: int) -> list[Point]:
    """Positive clicks in the centres of ``side`` × ``side`` cells of a slice, row by row.

    Examples
    --------
    >>> [(point.y, point.x) for point in grid((8, 4), 2)]
    [(1.5, 0.5), (1.5, 2.5), (5.5, 0.5), (5.5, 2.5)]
    """
    rows, columns = (size * (np.arange(side) + 0.5) / side - 0.5 for size in shape)
    return [
        Point(float(np.clip(y, 0, shape[0] - 1)), float(np.clip(x, 0, shape[1] - 1))) for y in rows for x in columns
    ]


def stability(logits: NDArray | None, shift: float = SHIFT) -> float | None:
    """IoU of a map's masks at thresholds ``shift`` above and below even odds; None without a map.

    The one mask holds the other, so that it is the ratio of their sizes; 0 where the larger is empty. A map whose
    values all lie in 0…1 is one of probabilities, and is turned into log-odds first.

    Examples
    --------
    >>> stability(np.array([[-3.0, -0.5, 0.5, 3.0]]))
    0.3333333333333333
    >>> stability(np.array([[0.01, 0.99, 0.99]]))
    1.0
    """
    if logits is None:
        return None
    odds = np.asarray(logits, np.float64)
    if odds.min() >= 0 and odds.max() <= 1:
        bounded = np.clip(odds, 1e-6, 1 - 1e-6)
        odds = np.log(bounded / (1 - bounded))
    lax = int((odds > -shift).sum())
    return int((odds > shift).sum()) / lax if lax else 0.0


def _apart(found: list[AutomaticMask], most_overlap: float) -> list[AutomaticMask]:
    """The surest of each bundle of masks whose boxes overlap."""
    if not found:
        return []
    boxes = [
        (one.box.left, one.box.top, one.box.right - one.box.left + 1, one.box.bottom - one.box.top + 1) for one in found
    ]
    scores = [1.0 + (one.candidate.quality or 0.0) for one in found]  # OpenCV drops what scores 0
    kept = cv2.dnn.NMSBoxes(boxes, scores, 0.0, most_overlap)
    return [found[int(number)] for number in np.asarray(kept).reshape(-1)]
