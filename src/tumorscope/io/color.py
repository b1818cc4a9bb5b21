"""Grey values out of colour pixels: tinted and colour-mapped scans, coloured annotations, real channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorscope.scan import FloatArray

# All thresholds are shares of the full range (255 for 8 bits).
NOISE = 14 / 255  # chroma that JPEG compression leaves on a grey pixel
STRONG = 48 / 255  # chroma that no grey tissue has
VIVID = 77 / 255  # chroma of a drawn mark
DARK = 10 / 255  # pixels below this are background and say nothing about colour
FEW = 0.15  # strongly coloured share of the foreground up to which colour is an annotation
FRINGE = 33  # pixels across which JPEG, which halves the resolution of colour, spreads the colour of a mark
# Faintly coloured share of the foreground away from vivid marks, up to which that foreground is grey. JPEG noise
# reached .036 on the Kaggle scans saved in colour (`navoneel`); TCGA-LGG slices, three sequences in one file, that
# are not nearly empty start at .052.
TINGED = 0.044
# A colour map is recognised where foreground pixels lie this near to it (Euclidean, in unit RGB), by median and by
# 90th percentile, and use at least a third of it. Mapped scans after JPEG at quality 30 reached .054 and .18;
# photographs and TCGA-LGG slices start at .08 and .14 together, or lie on a short piece of a map.
MAP_MEDIAN, MAP_TAIL, MAP_RANGE = 0.06, 0.20, 85

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


@dataclass(frozen=True)
class Grey:
    """What `to_grey` found. ``pixels`` is (H, W), or (3, H, W) where the channels differ; ``notes`` say why."""

    pixels: FloatArray
    notes: tuple[str, ...] = ()


def to_grey(rgb: NDArray, full: float) -> Grey:
    """One grey image where the colours allow one, else the three channels.

    Equal channels give that channel. Nearly equal ones, and a tint that follows brightness, give the luma (ITU-R
    BT.601). A scan in a known colour map gives the mapped value. Few strongly coloured pixels on a grey scan are an
    annotation: they take no part, and their place is filled from the grey around them. Everything else keeps its
    channels.

    Parameters
    ----------
    rgb : (H, W, 3) array
        Any real type.
    full : float
        The value of full brightness, 255 for 8 bits.

    Returns
    -------
    Grey
        On the scale of the input.

    Examples
    --------
    >>> to_grey(np.full((4, 4, 3), 7, np.uint8), 255).pixels[0, 0]
    np.float32(7.0)
    """
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    if np.array_equal(red, green) and np.array_equal(green, blue):
        return Grey(red.astype(np.float32))
    planes = np.ascontiguousarray(np.moveaxis(rgb, -1, 0), dtype=np.float32)
    scaled: FloatArray = planes / np.float32(full)
    spread = _largest(scaled) + _largest(-scaled)
    luma: FloatArray = np.where(spread == 0, scaled[0], np.tensordot(_LUMA, scaled, 1))
    if float(spread.max()) <= NOISE:
        return Grey(luma * np.float32(full))
    foreground = np.maximum(luma, spread) > DARK
    usual = float(np.median(spread[foreground]))
    if usual > NOISE and np.mean(spread[foreground] > STRONG) > 0.5:
        mapped = _from_color_map(scaled, foreground)
        if mapped is not None:
            values, name = mapped
            note = f"the colours follow the colour map '{name}'; its values were read"
            return Grey(values * np.float32(full), (note,))
    residual = _off_tint(scaled, luma) if usual > NOISE / 4 else spread
    strong = (residual > STRONG) & foreground
    share = np.count_nonzero(strong) / np.count_nonzero(foreground)
    near = _grown((residual > VIVID) & foreground, FRINGE)
    rest, tinged = foreground & ~near, residual > NOISE
    if share <= FEW and np.count_nonzero(rest & tinged) <= TINGED * np.count_nonzero(rest):
        tint = ("the scan is tinted; its brightness was read",) if usual > NOISE else ()
        if share == 0:
            return Grey(luma * np.float32(full), tint)
        grey = _without_annotation(luma, strong, strong | (near & tinged), full)
        return Grey(grey.pixels, (*tint, *grey.notes))
    return Grey(planes, ("three channels that differ; --channel 0, 1 or 2 picks one",))


def _largest(planes: FloatArray) -> FloatArray:
    """Largest of three planes, pixel by pixel; much faster than a maximum over the last axis."""
    largest: FloatArray = np.maximum(np.maximum(planes[0], planes[1]), planes[2])
    return largest


def _off_tint(scaled: FloatArray, luma: FloatArray) -> FloatArray:
    """Distance of each pixel's chroma from the usual chroma at its brightness (zero on a tinted grey scan)."""
    level = np.clip(luma * 32, 0, 31).astype(np.uint8)
    red, blue = scaled[0] - luma, scaled[2] - luma
    step = max(1, int(np.sqrt(luma.size / 16384)))  # medians from some 16,000 pixels
    coarse = (slice(None, None, step), slice(None, None, step))
    usual = np.zeros((2, 32), np.float32)
    for index in range(32):
        here = level[coarse] == index
        if here.any():
            usual[:, index] = np.median(red[coarse][here]), np.median(blue[coarse][here])
    off: FloatArray = np.maximum(np.abs(red - usual[0][level]), np.abs(blue - usual[1][level]))
    return off


def _grown(where: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """``where`` grown by a square of ``size`` pixels."""
    if not where.any():
        return where
    import cv2

    grown: NDArray[np.bool_] = cv2.dilate(where.view(np.uint8), np.ones((size, size), np.uint8)) > 0
    return grown


def _without_annotation(luma: FloatArray, strong: NDArray[np.bool_], fringed: NDArray[np.bool_], full: float) -> Grey:
    """The grey scan with the coloured pixels, and the faint fringe that compression drew round them, filled in."""
    share = 100 * np.count_nonzero(strong) / strong.size
    note = f"coloured marks on {share:.2g} % of the image were left out and filled from the grey around them"
    return Grey(filled(luma, _grown(fringed, 3)) * np.float32(full), (note,))


def filled(image: FloatArray, hole: NDArray[np.bool_]) -> FloatArray:
    """``image`` with ``hole`` filled smoothly from what surrounds it, within the range of the rest.

    Known pixels are averaged into coarser and coarser grids until every cell knows a value; the holes take theirs
    from the finest grid that has one (push and pull).

    Examples
    --------
    >>> image = np.full((5, 7), 3, np.float32)
    >>> image[2, 3] = 9
    >>> filled(image, image == 9).max()
    np.float32(3.0)
    """
    import cv2

    known = (~hole).astype(np.float32)
    if not hole.any() or not known.any():
        return image
    height, width = image.shape
    size = ((width + 1) // 2, (height + 1) // 2)
    weight = cv2.resize(known, size, interpolation=cv2.INTER_AREA)
    total = cv2.resize(image * known, size, interpolation=cv2.INTER_AREA)
    coarse = np.where(weight > 0, total / np.maximum(weight, 1e-6), 0).astype(np.float32)
    coarse = filled(coarse, weight == 0)
    pulled = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    result: FloatArray = np.where(hole, pulled, image).astype(np.float32)
    return result


def _from_color_map(scaled: FloatArray, foreground: NDArray[np.bool_]) -> tuple[FloatArray, str] | None:
    """Values in [0, 1] and the map's name, when the pixels lie on one of OpenCV's colour maps."""
    import cv2
    from scipy.spatial import cKDTree

    pixels = scaled[:, foreground].T
    sample = pixels[:: max(1, len(pixels) // 1000)]
    ramp = np.arange(256, dtype=np.uint8)[:, None]
    fits = []
    for name in ("jet", "turbo", "rainbow", "hot", "viridis", "plasma", "inferno", "magma", "parula"):
        table = cv2.applyColorMap(ramp, getattr(cv2, f"COLORMAP_{name.upper()}"))[:, 0, ::-1]
        tree = cKDTree(table.astype(np.float32) / 255)
        distance, index = tree.query(sample)
        low, high = np.percentile(index, (2, 98))
        if np.median(distance) <= MAP_MEDIAN and high - low >= MAP_RANGE:
            fits.append((float(np.percentile(distance, 90)), name, tree))
    if not fits or min(fit[0] for fit in fits) > MAP_TAIL:
        return None
    _, name, tree = min(fits, key=lambda fit: fit[:2])
    values = np.zeros(foreground.shape, np.float32)
    values[foreground] = tree.query(pixels)[1] / 255
    return values, name
