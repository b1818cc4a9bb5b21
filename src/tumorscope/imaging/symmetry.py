"""Left against right: where the mid-line of a head runs, and what differs across it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from tumorscope.errors import ScanError
from tumorscope.imaging.inside import continued, inside
from tumorscope.imaging.intensity import percentiles
from tumorscope.scan import BoolArray, FloatArray

SIDE = 48  # px, longer side of the head on which the mid-line is looked for; finer, no head is symmetric
BLUR = 1.0  # px of it
LOCAL = (
    5.0  # px of it; each place is judged by what differs from a blur of this size, so that no tumour outweighs a head
)
LEAN = 30.0  # degrees to each side; further turned, a head's front and back are as alike as its left and right
STEPS = (5.0, 1.25, 0.25)  # degrees between the angles tried: all of them, then about the best
LEAST_SHARED = 0.6  # of the head that its mirror image must cover; less is a part mirrored onto a part
SMALLEST = 32  # px inside; fewer have no sides
SCALES = (1.0, 2.0, 4.0, 8.0)  # px, blurs at which the two sides are compared
QUANTILES = np.linspace(0.5, 99.5, 100)  # percentiles by which the two sides' histograms are compared

Features = dict[str, float]


@dataclass(frozen=True)
class Midline:
    """A line that a head is mirrored at.

    Parameters
    ----------
    angle : float
        Degrees that its upper end leans to the right; 0 is upright.
    y, x : float
        A point on it, px: the one nearest to the middle of the mask.
    offset : float
        Px from the middle of the mask to the line, to the right positive.
    correlation : float
        Of the head's evened detail (`midline`) and its mirror image where both are, in −1…1: how far the line can be
        believed. Sagittal slices have no mid-line and stay low.
    shared : float
        Share of the mask that its mirror image covers.
    """

    angle: float
    y: float
    x: float
    offset: float
    correlation: float
    shared: float

    def mirror(self, image: NDArray) -> FloatArray:
        """The (H, W) image as the mirror shows it, linear between pixels; what comes from beyond the image is 0.

        Examples
        --------
        >>> Midline(0, y=0, x=1, offset=0, correlation=1, shared=1).mirror(np.array([[1, 2, 5]]))
        array([[5., 2., 1.]], dtype=float32)
        """
        lean = math.radians(self.angle)
        across, down = math.cos(lean), math.sin(lean)  # of the unit vector from the line to the right
        reflection = np.eye(2) - 2 * np.outer((across, down), (across, down))
        shift = 2 * (self.x * across + self.y * down) * np.array([across, down])
        matrix = np.column_stack([reflection, shift])
        plane = np.asarray(image, np.float32)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(plane, matrix, (plane.shape[1], plane.shape[0]), flags=flags)

    def distance(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """How far each pixel of an (H, W) grid lies to the right of the line, px; negative to the left.

        Examples
        --------
        >>> Midline(0, y=0, x=1, offset=0, correlation=1, shared=1).distance((1, 3))
        array([[-1., 0., 1.]])
        """
        lean = math.radians(self.angle)
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        return (columns - self.x) * math.cos(lean) + (rows - self.y) * math.sin(lean)


def midline(image: NDArray, where: NDArray | None = None, *, lean: float = LEAN) -> Midline | None:
    """The line at which the head inside ``where`` is most like its mirror image; None where nothing can be told.

    The head is brought to 48 px and evened: what differs from the surroundings, in units of their contrast, so that a
    bright tumour does not outweigh all else and lay the line through itself. It is turned by each angle, and
    correlated with its mirror image at every column at once: sums over x of f(x) g(s − x) are convolutions, so that
    four of them (of mask, values and squares) give the correlation inside head and mirror image for each line
    x = s / 2. Of lines whose mirror image covers most of the head, the one with the largest product of correlation
    and share covered wins; angles are refined twice, the place to a fraction of a pixel by a parabola.

    Parameters
    ----------
    image : (H, W) array
    where : (H, W) bool array, optional
        The head; all pixels when absent.
    lean : float
        Largest angle to either side, degrees, in [0, 90].

    Returns
    -------
    Midline or None
        None for fewer than 32 pixels, a constant region, or one that no line halves.

    Raises
    ------
    ScanError
        As `inside`, or for a ``lean`` out of range.

    References
    ----------
    .. [1] Ardekani, Kershaw, Braun, Kanno, "Automatic detection of the mid-sagittal plane in 3-D brain images", IEEE
       Transactions on Medical Imaging 16(6), 1997: the plane of largest mirrored correlation.

    Examples
    --------
    >>> y, x = np.mgrid[:60, :50]
    >>> head = np.hypot((y - 30) / 26, (x - 22) / 19) < 1
    >>> line = midline(head * (100 + y + 3 * abs(x - 22)), head)
    >>> round(line.x), round(line.angle), line.correlation > 0.99
    (22, 0, True)
    """
    plane, mask = inside(image, where)
    if not 0 <= lean <= 90:
        raise ScanError(f"mid-line: it cannot lean by up to {lean} degrees; pass 0 to 90")
    if int(mask.sum()) < SMALLEST or np.ptp(plane[mask]) == 0:
        return None
    search = _Search.of(plane, mask)
    best = _Try(0.0, 0.0, -2.0, -2.0, 0.0)
    reach = lean
    for step in STEPS:
        count = math.ceil(reach / step)
        angles = best.angle + np.linspace(-reach, reach, 2 * count + 1)
        for angle in angles[np.abs(angles) <= lean + 1e-9]:
            best = max(best, search.at(float(angle)), key=lambda one: one.score)
        reach = step
    return search.line(best) if best.score > -2 else None


@dataclass(frozen=True)
class _Try:
    """The best line at one angle; ``place`` in px of the search, to the right of the middle."""

    angle: float
    place: float
    score: float
    correlation: float
    shared: float


@dataclass(frozen=True)
class _Search:
    """A head on the search's grid, its middle in the middle of a square that holds it at every angle."""

    values: FloatArray
    mask: FloatArray
    scale: float
    middle: tuple[float, float]

    @classmethod
    def of(cls, plane: FloatArray, mask: BoolArray) -> _Search:
        """The head brought to `SIDE`, blurred, its values with mean 0 and spread 1."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        place = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        cut, head = continued(plane[place], mask[place]), mask[place].astype(np.float32)
        scale = min(1.0, SIDE / max(cut.shape))
        if scale < 1:
            size = max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale))
            cut, head = (cv2.resize(one, size, interpolation=cv2.INTER_AREA) for one in (cut, head))
        cut = _evened(cut)
        y, x = _centroid(head.astype(np.float64))
        far = math.hypot(max(y, cut.shape[0] - 1 - y), max(x, cut.shape[1] - 1 - x))
        side = 2 * math.ceil(far + 1) + 1
        matrix = np.array([[1, 0, side // 2 - x], [0, 1, side // 2 - y]])
        cut = cv2.warpAffine(cut, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
        head = cv2.warpAffine(head, matrix, (side, side))
        return cls(cut, head, scale, _centroid(mask))

    def at(self, angle: float) -> _Try:
        """The best line of this angle."""
        side = len(self.mask)
        matrix = cv2.getRotationMatrix2D((side // 2, side // 2), angle, 1)
        head = cv2.warpAffine(self.mask, matrix, (side, side))
        turned = cv2.warpAffine(self.values, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)
        length = 2 * side - 1
        padded = fft.next_fast_len(length, real=True)
        mask, values, squares = (fft.rfft(one, padded) for one in (head, head * turned, head * turned**2))
        pairs = ((mask, mask), (values, mask), (squares, mask), (values, values))
        products = np.stack([np.einsum("ij,ij->j", a, b) for a, b in pairs])
        shared, first, second, crossed = fft.irfft(products, padded)[:, :length].astype(np.float64)
        covered = shared / float((head**2).sum())
        usable = covered >= LEAST_SHARED
        if not usable.any():
            return _Try(angle, 0.0, -2.0, -2.0, 0.0)
        count = np.where(usable, shared, 1)
        mean = first / count
        spread = np.maximum(second / count - mean**2, 1e-6)
        correlation = np.where(usable, (crossed / count - mean**2) / spread, -2)
        score = np.where(usable, correlation * np.minimum(covered, 1), -2)
        peak = int(np.argmax(score))
        shift = 0.0
        if 0 < peak < length - 1 and usable[peak - 1] and usable[peak + 1]:
            before, at, after = score[peak - 1 : peak + 2]
            bend = before - 2 * at + after
            shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
        place = (peak + shift) / 2 - side // 2
        shown = float(np.clip(correlation[peak], -1, 1))
        return _Try(angle, float(place), float(score[peak]), shown, float(min(covered[peak], 1)))

    def line(self, best: _Try) -> Midline:
        """The line on the image's own grid."""
        offset = best.place / self.scale
        lean = math.radians(best.angle)
        y, x = self.middle
        return Midline(
            angle=best.angle,
            y=y + offset * math.sin(lean),
            x=x + offset * math.cos(lean),
            offset=offset,
            correlation=best.correlation,
            shared=best.shared,
        )


def _evened(plane: FloatArray) -> FloatArray:
    """Detail of each place in units of its surroundings' contrast, so that bright and dark parts count alike."""
    rim = cv2.BORDER_REPLICATE
    fine = cv2.GaussianBlur(plane, (0, 0), BLUR, borderType=rim)
    detail = fine - cv2.GaussianBlur(plane, (0, 0), LOCAL, borderType=rim)
    contrast = np.sqrt(cv2.GaussianBlur(detail**2, (0, 0), LOCAL, borderType=rim))
    floor = 0.1 * float(contrast.max())
    return detail / np.maximum(contrast, np.float32(max(floor, 1e-30)))


def _centroid(weights: NDArray) -> tuple[float, float]:
    """Mean row and column of an (H, W) array of weights."""
    y, x = (np.arange(length) @ weights.sum(axis=1 - axis) for axis, length in enumerate(weights.shape))
    return float(y / weights.sum()), float(x / weights.sum())


def asymmetry(image: NDArray, where: NDArray | None = None, line: Midline | None = None) -> Features:
    """How left and right differ inside ``where``: nothing for a head that is its own mirror image.

    The difference d of the blurred image and its mirror image, where both are inside, in standard deviations of the
    grey values inside, so that brightness and contrast do not matter.

    Parameters
    ----------
    image : (H, W) array
    where : (H, W) bool array, optional
        The head; all pixels when absent.
    line : Midline, optional
        Found by `midline` when absent.

    Returns
    -------
    dict
        ``correlation`` of the mid-line; ``mean_S`` and ``high_S``, mean and 98th percentile of ``|d|`` at blurs of S =
        1, 2, 4, 8 px; ``level``, the difference of the two sides' means; ``histogram``, the mean difference of their
        percentiles (the earth mover's distance of their histograms). All NaN where there is no mid-line.

    Raises
    ------
    ScanError
        As `midline`.

    Examples
    --------
    >>> y, x = np.mgrid[:60, :51]
    >>> head = np.hypot(y - 30, x - 25) < 22
    >>> even, odd = asymmetry(head * (y + 0.0), head), asymmetry(head * (y + 40.0 * (x > 30)), head)
    >>> even["mean_2"] < 0.01, odd["mean_2"] > 0.3
    (True, True)
    """
    plane, mask = inside(image, where)
    line = midline(plane, mask) if line is None else line
    both = None if line is None else mask & (line.mirror(mask) > 0.5)
    spread = float(plane[mask].std(dtype=np.float64))
    if line is None or both is None or not both.any() or spread == 0:
        return dict.fromkeys(_NAMES, float("nan"))
    whole = continued(plane, mask) / np.float32(spread)
    found: Features = {"correlation": line.correlation}
    for scale in SCALES:
        blurred = cv2.GaussianBlur(whole, (0, 0), scale, borderType=cv2.BORDER_REPLICATE)
        apart = np.abs(blurred - line.mirror(blurred))[both]
        found[f"mean_{scale:g}"] = float(apart.mean(dtype=np.float64))
        found[f"high_{scale:g}"] = percentiles(apart, 98)[0]
    far = line.distance(mask.shape)
    right, left = both & (far > 0), both & (far < 0)
    if right.any() and left.any():
        sides = [whole[side] for side in (left, right)]
        quantiles = [np.array(percentiles(side, *QUANTILES)) for side in sides]
        found["level"] = abs(float(sides[0].mean(dtype=np.float64) - sides[1].mean(dtype=np.float64)))
        found["histogram"] = float(np.mean(np.abs(np.subtract(*quantiles))))
    return {name: found.get(name, float("nan")) for name in _NAMES}


_NAMES = ("correlation", *(f"{kind}_{scale:g}" for scale in SCALES for kind in ("mean", "high")), "level", "histogram")
