"""Where the head is in a slice: what stands out from the background, thick enough to be a head."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.imaging.intensity import percentiles
from tumorscope.scan import BoolArray, FloatArray

GreyArray = NDArray[np.uint8]

WORKING_SIDE = 160  # px; the head is looked for on a grid no finer than this
SMALLEST_RANGE = 1e-30  # grey values closer than this are equal: float32 cannot stretch them to 255
SMALLEST_SIDE = 12  # px; on less than this nothing can be told from anything
NOISE = 0.45  # of the standard deviation that a 5x5 mean leaves; below it the image is noise
SMALLEST_HEAD = 0.01  # of the image's area; smaller things are no head
THICKNESS = 0.02  # of the longer side: radius of the largest disc in the smallest head
SECOND_HEAD = 0.25  # of the thickest part's radius; further parts from this radius on belong to the head too
REACH = 0.05  # of the longer side: gap between two parts that are still one head
LEAST_CONTRAST = 6  # of 255 above the background; JPEG blocks and ringing stay below
NOISE_MARGIN = 4.0  # standard deviations of the background's noise that count as background
ARC = 0.12  # of the longer side: length of a piece of scalp that lies apart from the head
RECTANGLE = 0.93  # of its bounding box that a mask fills; an ellipse fills 0.79
EVEN_BORDER = 25  # of 255 between the 10th and 90th percentile of a border that is background only
LOCAL_WINDOW = 0.25  # of the longer side: window of the soft mode's local mean
LOCAL_CONTRAST = 4  # of 255 above the local mean


def grey_range(plane: FloatArray) -> tuple[float, float]:
    """Lowest and highest grey value of an (H, W) slice, single outliers left out.

    Taken from at most some 8,000 evenly spaced pixels; the true extremes where those are constant.

    Examples
    --------
    >>> plane = np.arange(10000, dtype=np.float32).reshape(100, 100)
    >>> plane[50, 50] = 1e9
    >>> grey_range(plane)
    (10.0, 9980.0)
    """
    step = max(1, int((plane.size / 8192) ** 0.5))
    bottom, top = percentiles(plane[::step, ::step], 0.1, 99.8)
    if top - bottom <= 1e-6 * max(abs(top), abs(bottom)):
        bottom, top = float(plane.min()), float(plane.max())
    return (bottom, top) if top - bottom >= SMALLEST_RANGE else (bottom, bottom)


def to_grey(plane: FloatArray, bottom: float, top: float) -> GreyArray:
    """(H, W) uint8 image in which ``bottom`` became 0 and ``top`` 255; all 0 when they are equal.

    Examples
    --------
    >>> to_grey(np.array([[1, 2, 3, 9]], np.float32), 1, 3)
    array([[  0, 127, 255, 255]], dtype=uint8)
    """
    if top <= bottom:
        return np.zeros(plane.shape, np.uint8)
    scaled = (plane - np.float32(bottom)) * np.float32(255 / (top - bottom))
    return np.clip(scaled, 0, 255).astype(np.uint8)


def shrink(plane: NDArray) -> NDArray:
    """The (H, W) slice with its longer side brought down to the working grid's, by area averages.

    A slice that is no larger comes back as it is.

    Examples
    --------
    >>> shrink(np.ones((320, 80), np.float32)).shape, shrink(np.ones((32, 8), np.float32)).shape
    ((160, 40), (32, 8))
    """
    factor = WORKING_SIDE / max(plane.shape)
    if factor >= 1:
        return plane
    size = (max(1, round(plane.shape[1] * factor)), max(1, round(plane.shape[0] * factor)))
    return cv2.resize(plane, size, interpolation=cv2.INTER_AREA)


def on_grid(mask: BoolArray, shape: tuple[int, ...], reach: int = 1) -> BoolArray:
    """An (H, W) mask grown by ``reach`` pixels to each side, then brought to ``shape`` by nearest pixels.

    Examples
    --------
    >>> pixel = np.zeros((5, 5), bool)
    >>> pixel[2, 2] = True
    >>> int(on_grid(pixel, (10, 10)).sum()), int(on_grid(pixel, (10, 10), reach=0).sum())  # 3x3 and 1x1, doubled
    (36, 4)
    """
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    return cv2.resize(grown, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST) > 0


def ring(grey: NDArray, width: int = 3) -> NDArray:
    """Values of the outermost ``width`` rows and columns, as one line.

    Top, bottom, left, right; the corners stand twice.

    Examples
    --------
    >>> ring(np.arange(9).reshape(3, 3), 1)
    array([0, 1, 2, 6, 7, 8, 0, 3, 6, 2, 5, 8])
    """
    rows, columns = min(width, grey.shape[0]), min(width, grey.shape[1])
    sides = (grey[:rows], grey[-rows:], grey[:, :columns], grey[:, -columns:])
    return np.concatenate([side.ravel() for side in sides])


def contrast_to_background(plane: FloatArray) -> GreyArray | None:
    """How far each pixel lies from the background, 0…255, on the working grid; None when nothing differs.

    The background is dark as a rule. Where most of the border has one value in mid-range, as after a z-score
    of the brain alone, that value is the background, and what is darker stands out as well.

    Examples
    --------
    >>> scored = np.zeros((40, 40), np.float32)  # the background of a z-score
    >>> scored[10:30, 10:20], scored[10:30, 20:30] = -2, 3
    >>> contrast_to_background(scored)[20, [0, 15, 25]]
    array([  0, 170, 255], dtype=uint8)
    >>> contrast_to_background(np.ones((40, 40), np.float32)) is None
    True
    """
    if min(plane.shape) < SMALLEST_SIDE:
        return None
    small = shrink(plane)
    bottom, top = grey_range(small)
    if min(small.shape) < SMALLEST_SIDE or top <= bottom:
        return None
    grey = to_grey(small, bottom, top)
    border = ring(grey, 1)
    level = int(np.median(border))
    if level > 20 and np.mean(np.abs(border.astype(np.int16) - level) <= 1) > 0.5:
        apart = cv2.absdiff(grey, np.full_like(grey, level))
        return cv2.convertScaleAbs(apart, alpha=255 / max(int(apart.max()), 1))
    return grey


def smoothness(grey: GreyArray) -> float:
    """Share of the standard deviation that a 5×5 mean leaves: 0.2 for white noise, above 0.7 for slices.

    Examples
    --------
    >>> noise = np.random.default_rng(0).integers(0, 256, (99, 99)).astype(np.uint8)
    >>> round(smoothness(noise), 1), round(smoothness(np.tile(np.arange(99, dtype=np.uint8), (99, 1))), 1)
    (0.2, 1.0)
    """
    spread = float(cv2.meanStdDev(grey)[1][0, 0])
    return float(cv2.meanStdDev(cv2.blur(grey, (5, 5)))[1][0, 0]) / max(spread, 1e-6)


def otsu(blurred: GreyArray) -> float:
    """Otsu's threshold of a uint8 array of any shape.

    The highest value of the darker class; what is brighter belongs to the other.

    Examples
    --------
    >>> otsu(np.array([10, 20, 200, 220], np.uint8))
    20.0
    """
    return float(cv2.threshold(blurred.reshape(1, -1), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[0])


def low_threshold(blurred: GreyArray) -> float:
    """Grey value that parts background from the darkest of the head.

    Otsu's threshold parts bright from dark, on many slices inside the head. Otsu's once more, on what lies
    below the first, parts dark tissue from background; it is raised above the background's own noise,
    which the darker half of the border shows.

    Examples
    --------
    >>> scan = np.zeros((60, 60), np.uint8)
    >>> scan[5:55, 5:55] = 60  # dark tissue
    >>> scan[10:50, 10:50] = 200
    >>> otsu(scan), low_threshold(scan)
    (60.0, 6.0)
    """
    first = otsu(blurred)
    second = otsu(blurred[blurred <= first])
    border = ring(blurred)
    level, middle = percentiles(border, 25, 50)
    calm = border[border <= middle].astype(np.float32)
    noise = 1.4826 * float(np.median(np.abs(calm - np.median(calm))))
    floor = level + max(LEAST_CONTRAST, NOISE_MARGIN * noise)
    return float(min(max(min(second, 0.6 * first), floor), max(first, 1.0)))


def find_head(grey: GreyArray, mode: str = "hard") -> BoolArray | None:
    """Filled mask of the head (or of several heads) in an (H, W) uint8 image with a dark background.

    ``hard``: blur, low threshold, large thick parts, their convex hulls. ``soft``: less blur, and a threshold
    on the local mean, for a background that is itself uneven. None when no part is large enough.

    A rectangle inside the image is no head but a picture with a border of its own; the head is then looked for
    in the rectangle.

    Examples
    --------
    >>> disc = np.hypot(*np.mgrid[-40:40, -30:30]) < 20
    >>> head = find_head(disc * np.uint8(200))
    >>> bool(head[disc].all()), bool(head.sum() < 1.15 * disc.sum())  # the blur adds a rim of a pixel
    (True, True)
    >>> find_head(np.zeros((80, 60), np.uint8)) is None
    True
    """
    head = _head_in(grey, mode)
    if head is None or (frame := _picture_frame(head)) is None:
        return head
    inner = np.ascontiguousarray(grey[frame])
    border = ring(inner)
    dark, middle, bright = percentiles(border, 10, 50, 90)
    if bright - dark > EVEN_BORDER or middle > 0.5 * otsu(inner):
        return head
    found = _head_in(inner, mode)
    if found is None:
        return head
    head[:] = False
    head[frame] = found
    return head


def _picture_frame(head: BoolArray) -> tuple[slice, slice] | None:
    """Rows and columns of a head mask that is a rectangle smaller than the image; None when it is not one."""
    rows, columns = np.flatnonzero(head.any(axis=1)), np.flatnonzero(head.any(axis=0))
    area = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
    if area >= head.size or head.sum() < RECTANGLE * area:
        return None
    inset = max(2, round(0.01 * max(head.shape)))
    frame = slice(rows[0] + inset, rows[-1] + 1 - inset), slice(columns[0] + inset, columns[-1] + 1 - inset)
    return frame if min(head[frame].shape) >= SMALLEST_SIDE else None


def _head_in(grey: GreyArray, mode: str) -> BoolArray | None:
    """`find_head` without the second look."""
    if mode == "hard":
        blurred = cv2.GaussianBlur(grey, (5, 5), 0)
        above = cv2.threshold(blurred, low_threshold(blurred), 255, cv2.THRESH_BINARY)[1]
    else:
        blurred = cv2.GaussianBlur(grey, (3, 3), 0)
        window = max(15, round(LOCAL_WINDOW * max(grey.shape))) | 1
        above = cv2.adaptiveThreshold(
            blurred, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, window, -LOCAL_CONTRAST
        )
    above = cv2.morphologyEx(above, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    parts = _thick_parts(_filled(above))
    return None if parts is None else _hulls(parts)


def _filled(mask: GreyArray) -> GreyArray:
    """The mask (0 or 255) with all holes filled."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(mask), contours, -1, 255, cv2.FILLED)


def _thick_parts(mask: GreyArray) -> GreyArray | None:
    """Parts of a mask that are a head by size and thickness, and long thin ones close to them (scalp)."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    side = max(mask.shape)
    depth = cv2.distanceTransform(cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_REPLICATE), cv2.DIST_L2, 3)
    depth = depth[1:-1, 1:-1]
    bars = _bar_like(stats, mask.shape)
    radius = np.zeros(count, np.float32)
    for part in range(1, count):
        left, top, width, height, area = stats[part]
        if area >= 2 * (THICKNESS * side) ** 2 and not bars[part]:  # less cannot hold a disc of this radius
            place = slice(top, top + height), slice(left, left + width)
            radius[part] = depth[place][labels[place] == part].max()
    largest = radius.max()
    if largest < THICKNESS * side or stats[radius.argmax(), cv2.CC_STAT_AREA] < SMALLEST_HEAD * mask.size:
        return None
    heads = radius >= max(SECOND_HEAD * largest, THICKNESS * side)
    found = heads.astype(np.uint8)[labels] * np.uint8(255)
    short = np.minimum(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    long = np.maximum(stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT])
    arcs = ~heads & ~bars & (long >= ARC * side) & (short >= THICKNESS * side)
    arcs[0] = False
    if arcs.any():
        reach = 2 * round(REACH * side) + 1
        near = cv2.dilate(_hulls(found).astype(np.uint8), np.ones((reach, reach), np.uint8))
        close = np.zeros(count, bool)
        close[labels[near > 0]] = True
        found |= (arcs & close).astype(np.uint8)[labels] * np.uint8(255)
    return found


def _bar_like(stats: NDArray, shape: tuple[int, ...]) -> BoolArray:
    """Which parts are straight bars along the image's edge (colour scales, left-over borders)."""
    left, top, width, height, area = (stats[:, column] for column in range(5))
    long, short = np.maximum(width, height), np.minimum(width, height)
    edge = (left <= 1) | (top <= 1) | (left + width >= shape[1] - 1) | (top + height >= shape[0] - 1)
    return edge & (long >= 6 * short) & (area >= 0.6 * width * height)


def _hulls(parts: GreyArray) -> BoolArray:
    """Convex hulls of the parts; parts closer than the reach share one."""
    contours, _ = cv2.findContours(parts, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    together: dict[int, list[NDArray]] = {}
    if len(contours) == 1:
        together[0] = list(contours)
    else:
        reach = 2 * round(REACH * max(parts.shape) / 2) + 1
        _, groups = cv2.connectedComponents(cv2.dilate(parts, np.ones((reach, reach), np.uint8)), connectivity=8)
        for contour in contours:
            x, y = contour[0, 0]
            together.setdefault(int(groups[y, x]), []).append(contour)
    filled = np.zeros_like(parts)
    for members in together.values():
        cv2.fillConvexPoly(filled, cv2.convexHull(np.concatenate(members)), 255)
    return filled > 0
