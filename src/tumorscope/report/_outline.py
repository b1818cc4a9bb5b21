"""The line around a mask: anti-aliased, outside the border, so that the smallest lesion stays visible."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray


def outline(
    canvas: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    factor: int,
    colour: tuple[int, int, int],
    line: float,
    tint: NDArray[np.float32] | None = None,
) -> None:
    """Blend a line around ``mask`` into ``canvas``, and a tint inside it, in place.

    Only the surroundings of the mask are touched. The mask is enlarged smoothly (its border stays
    within half a pixel of the scan), the distance to it taken at twice the canvas's resolution, and
    the line covers the distances from 0 to ``line`` px, with a dark rim of one pixel beyond.
    """
    if not mask.any():
        return
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    margin = math.ceil((line + 3) / factor) + 1
    y0, y1 = max(0, rows[0] - margin), min(mask.shape[0], rows[-1] + 1 + margin)
    x0, x1 = max(0, cols[0] - margin), min(mask.shape[1], cols[-1] + 1 + margin)
    part = mask[y0:y1, x0:x1].astype(np.float32)
    fine = cv2.resize(part, None, fx=2 * factor, fy=2 * factor, interpolation=cv2.INTER_LINEAR) >= 0.5
    away = cv2.distanceTransform((~fine).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5) / 2
    size = ((x1 - x0) * factor, (y1 - y0) * factor)
    drawn = _shrink(np.clip(line + 0.5 - away, 0, 1) * ~fine, size)
    rim = _shrink(np.clip(line + 1.5 - away, 0, 1) * ~fine, size)
    region = canvas[y0 * factor : y1 * factor, x0 * factor : x1 * factor]
    blend = region.astype(np.float32)
    paint = np.asarray(colour, np.float32)
    if tint is not None:
        strength = cv2.resize(tint[y0:y1, x0:x1], size, interpolation=cv2.INTER_LINEAR)
        inside = (_shrink(fine.astype(np.float32), size) * strength)[..., None]
        blend += (paint - blend) * inside
    blend *= 1 - 0.55 * (rim - drawn)[..., None].clip(0, 1)
    blend += (paint - blend) * drawn[..., None]
    region[...] = np.rint(blend.clip(0, 255))


def _shrink(values: NDArray, size: tuple[int, int]) -> NDArray[np.float32]:
    """``values`` at ``size`` (width, height); the mean of what falls into a pixel."""
    return np.asarray(cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)
