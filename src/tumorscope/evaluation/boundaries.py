"""How far apart the outlines of two masks lie: Hausdorff distance, surface Dice, boundary F1, mean distance.

An outline is made of *elements*, of one of two kinds:

``pixels``
    Pixels of the mask with a neighbour outside it (4 neighbours in 2-D, 6 in 3-D; beyond the edge of the scan is
    outside). Each counts once. What MONAI and most papers on segmentation use.
``contour``
    Corners between pixels where the outline passes, each weighing the length (2-D) or area (3-D) of the outline there
    as marching squares or cubes draw it. What surface Dice was defined with [1]_.

The outline of a volume with a single slice is that of the slice: it has no floor and no ceiling. Holes have outlines
too. One trap of ``pixels``: a filled disc and its own one-pixel rim have the same outline, hence distance 0;
``contour`` tells them apart, and so does Dice.

References
----------
.. [1] Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for radiotherapy", J. Med. Internet
   Res. 23(7), 2021.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes, mesh_surface_area

from tumorscope.errors import DataError, ScanError, look_up
from tumorscope.evaluation.segmentation import Empty, Spacing, empty_value, mask_pair, spacing_of
from tumorscope.scan import BoolArray

Elements = Literal["pixels", "contour"]
Pooling = Literal["max", "pooled"]
Floats = NDArray[np.float64]

ELEMENTS = ("pixels", "contour")
POOLINGS = ("max", "pooled")
CROWDED = 0.05  # elements a pixel of the crop, from which a distance transform is faster than a tree of points
_ROUNDING = 1e-9  # relative; a distance of 3 * 0.3 mm lies within a tolerance of 0.9 mm


@dataclass(frozen=True)
class SurfaceDistances:
    """Distance of every element of one outline to the nearest of the other, both ways.

    Attributes
    ----------
    to_truth : (P,) float64 array
        From each element of the predicted outline; infinite where the truth is empty. In mm, or px without a spacing.
    to_predicted : (T,) float64 array
        From each element of the true outline; infinite where the prediction is empty.
    predicted_weights, true_weights : (P,) and (T,) float64 arrays
        Length or area of each element; 1 each for ``pixels``.
    """

    to_truth: Floats
    to_predicted: Floats
    predicted_weights: Floats
    true_weights: Floats

    @property
    def both_empty(self) -> bool:
        """Whether neither mask has an outline."""
        return not (self.to_truth.size or self.to_predicted.size)

    @property
    def one_empty(self) -> bool:
        """Whether one mask has an outline and the other has none."""
        return bool(self.to_truth.size) != bool(self.to_predicted.size)

    def hausdorff(self, percentile: float = 95.0, pooling: str = "max") -> float:
        """See :func:`hausdorff`; elements count once each, whatever their length."""
        look_up(pooling, POOLINGS, "pooling of distances", DataError)
        if not 0 <= percentile <= 100:
            raise DataError(f"Hausdorff distance: percentile {percentile} is outside 0 to 100; pass for example 95")
        if self.both_empty:
            return math.nan
        if self.one_empty:
            return math.inf
        ways = [self.to_truth, self.to_predicted]
        if pooling == "pooled":
            ways = [np.concatenate(ways)]
        return float(max(np.percentile(way, percentile) for way in ways))

    def mean(self) -> float:
        """See :func:`mean_surface_distance`."""
        if self.both_empty:
            return math.nan
        if self.one_empty:
            return math.inf
        total = self.to_truth @ self.predicted_weights + self.to_predicted @ self.true_weights
        return float(total / (self.predicted_weights.sum() + self.true_weights.sum()))

    def surface_dice(self, tolerance: float, empty: str = "one") -> float:
        """See :func:`surface_dice`."""
        rule, reach = empty_value(empty), _reach(tolerance)
        if self.both_empty:
            return rule
        near = (
            self.predicted_weights[self.to_truth <= reach].sum() + self.true_weights[self.to_predicted <= reach].sum()
        )
        return float(near / (self.predicted_weights.sum() + self.true_weights.sum()))

    def boundary_f1(self, tolerance: float, empty: str = "one") -> float:
        """See :func:`boundary_f1`."""
        rule, reach = empty_value(empty), _reach(tolerance)
        if self.both_empty or self.one_empty:
            return rule if self.both_empty else 0.0
        precision = self.predicted_weights @ (self.to_truth <= reach) / self.predicted_weights.sum()
        recall = self.true_weights @ (self.to_predicted <= reach) / self.true_weights.sum()
        return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _reach(tolerance: float) -> float:
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise DataError(f"outline tolerance: {tolerance} is no distance; pass 0 or more, in px or mm")
    return tolerance * (1 + _ROUNDING)


def surface_distances(
    predicted: ArrayLike, truth: ArrayLike, spacing: Spacing = None, elements: Elements = "pixels"
) -> SurfaceDistances:
    """Distances between two outlines: what every figure of this module is made from.

    Parameters
    ----------
    predicted, truth : (H, W) or (D, H, W) bool arrays
    spacing : float or sequence of float, optional
        Millimetres along the axes; distances are in pixels without.
    elements : {"pixels", "contour"}
        What an outline is made of (see the module).

    Raises
    ------
    ScanError
        If the masks are neither 2-D nor 3-D.
    DataError
        As `segmentation.mask_pair` and `segmentation.spacing_of`, or for unknown elements.

    Examples
    --------
    >>> line = np.zeros((4, 5), bool)
    >>> line[0, 1:4] = True
    >>> surface_distances(line, np.roll(line, 2, axis=0), spacing=0.5).to_truth.tolist()
    [1.0, 1.0, 1.0]
    """
    look_up(elements, ELEMENTS, "kind of outline elements", DataError)
    first, second = mask_pair(predicted, truth)
    if first.ndim not in (2, 3):
        raise ScanError(f"outline: a mask of {first.ndim} axes has none here; pass (H, W) or (D, H, W)")
    first, second, steps = _flat(first, second, spacing_of(spacing, first.ndim))
    first, second = cropped(first, second)
    if elements == "pixels":
        outlines = [boundary(mask) for mask in (first, second)]
        sizes = [np.ones(np.count_nonzero(outline)) for outline in outlines]
    else:
        drawn = [_contour(mask, steps) for mask in (first, second)]
        outlines = [length > 0 for length in drawn]
        sizes = [length[outline] for length, outline in zip(drawn, outlines, strict=True)]
    return SurfaceDistances(*_distances(outlines[0], outlines[1], steps), *sizes)


def _flat(
    first: BoolArray, second: BoolArray, steps: tuple[float, ...]
) -> tuple[BoolArray, BoolArray, tuple[float, ...]]:
    """A volume of one slice, along whichever axis, as that slice."""
    for axis, length in enumerate(first.shape):
        if first.ndim == 3 and length == 1:
            return first.squeeze(axis), second.squeeze(axis), (*steps[:axis], *steps[axis + 1 :])
    return first, second, steps


def cropped(first: BoolArray, second: BoolArray) -> tuple[BoolArray, BoolArray]:
    """Both masks within the smallest box that holds all their pixels, as views; no rows when there are none."""
    box = []
    for axis in range(first.ndim):
        others = tuple(other for other in range(first.ndim) if other != axis)
        used = np.flatnonzero(first.any(axis=others) | second.any(axis=others))
        box.append(slice(used[0], used[-1] + 1) if used.size else slice(0, 0))
    return first[tuple(box)], second[tuple(box)]


def boundary(mask: BoolArray) -> BoolArray:
    """Pixels of ``mask``, of any number of axes, with a neighbour along an axis that is outside it or the array.

    Examples
    --------
    >>> boundary(np.ones((3, 4), bool)).astype(int)
    array([[1, 1, 1, 1],
           [1, 0, 0, 1],
           [1, 1, 1, 1]])
    """
    inner = mask.copy()
    for axis in range(mask.ndim):
        along, within = np.moveaxis(mask, axis, 0), np.moveaxis(inner, axis, 0)
        within[1:] &= along[:-1]
        within[:-1] &= along[1:]
        within[:1] = within[-1:] = False
    return mask & ~inner


def _contour(mask: BoolArray, steps: tuple[float, ...]) -> Floats:
    """Length or area of the outline at each corner between pixels: one more along each axis than ``mask``."""
    padded = np.pad(mask, 1).view(np.uint8)
    code = np.zeros([length + 1 for length in mask.shape], np.uint8)
    for shift in product((0, 1), repeat=mask.ndim):
        code <<= 1
        code |= padded[tuple(slice(at, at + length) for at, length in zip(shift, code.shape, strict=True))]
    return _sizes(steps)[code]


@lru_cache(maxsize=64)
def _sizes(steps: tuple[float, ...]) -> Floats:
    """Length (4 pixels) or area (8 voxels) of the outline inside each pattern; the first pixel is the top bit.

    Patterns that touch only along a diagonal can be drawn in two ways; the smaller one is taken, for a pattern and
    its negative alike, which gives the table of DeepMind's surface-distance.
    """
    cells = 2 ** len(steps)
    sizes, unit = np.zeros(2**cells), np.zeros(2**cells)
    for code in range(1, 2**cells - 1):
        bits = np.array([code >> (cells - 1 - place) & 1 for place in range(cells)], np.float32)
        if len(steps) == 2:
            sizes[code] = _length(bits.reshape(2, 2), steps)
            continue
        vertices, faces, _, _ = marching_cubes(bits.reshape(2, 2, 2), 0.5, method="lorensen")
        unit[code] = mesh_surface_area(vertices, faces)
        sizes[code] = mesh_surface_area(vertices * np.asarray(steps, np.float32), faces)
    if len(steps) == 3:
        sizes = np.where(unit <= unit[::-1] + 1e-4, sizes, sizes[::-1])
    sizes.flags.writeable = False
    return sizes


def _length(bits: NDArray[np.float32], steps: tuple[float, ...]) -> float:
    """Length of the outline between 4 pixels of which some, not all, are set: marching squares, cut at mid-edges."""
    diagonal = math.hypot(*steps) / 2
    if bits.sum() != 2:
        return diagonal
    if bits[0].sum() == 1:
        return 2 * diagonal if bits[0, 0] == bits[1, 1] else steps[0]
    return steps[1]


def _distances(first: BoolArray, second: BoolArray, steps: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Distance of each set pixel of one array to the nearest of the other, both ways; exact."""
    count = int(np.count_nonzero(first)), int(np.count_nonzero(second))
    if not all(count):
        return np.full(count[0], math.inf), np.full(count[1], math.inf)
    if first.ndim == 2 and steps[0] == steps[1] and sum(count) > CROWDED * first.size:
        return _nearest_in_map(first, second, steps[0]), _nearest_in_map(second, first, steps[0])
    points = [np.argwhere(outline) * np.asarray(steps) for outline in (first, second)]
    trees = [cKDTree(cloud, balanced_tree=False, compact_nodes=False) for cloud in points]
    return trees[1].query(points[0])[0], trees[0].query(points[1])[0]


def _nearest_in_map(of: BoolArray, to: BoolArray, step: float) -> Floats:
    """Distance of the pixels ``of`` to the nearest pixel ``to``; squares of pixel distances are whole numbers."""
    away = cv2.distanceTransform((~to).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[of]
    return np.sqrt(np.rint(away.astype(np.float64) ** 2)) * step


def hausdorff(
    predicted: ArrayLike,
    truth: ArrayLike,
    spacing: Spacing = None,
    percentile: float = 95.0,
    pooling: Pooling = "max",
    elements: Elements = "pixels",
) -> float:
    """How far outlines lie apart at their worst, the last few percent left out (HD95).

    The percentile (interpolated between ranks) of the distances from prediction to truth, and of those from truth to
    prediction; the larger of the two. This is what MONAI computes. ``pooling="pooled"`` takes one percentile of both
    sets together, as MedPy does; it is never larger. At percentile 100 both are the Hausdorff distance [1]_.

    Empty masks: NaN when both are empty, infinite when one is.

    Parameters
    ----------
    predicted, truth, spacing, elements
        As `surface_distances`.
    percentile : float
        0 to 100.
    pooling : {"max", "pooled"}

    Returns
    -------
    float
        In mm, or px without a spacing.

    Raises
    ------
    ScanError, DataError
        As `surface_distances`, or for a percentile out of range or an unknown pooling.

    References
    ----------
    .. [1] Huttenlocher, Klanderman, Rucklidge, "Comparing images using the Hausdorff distance", IEEE TPAMI 15(9), 1993.

    Examples
    --------
    >>> square = np.zeros((9, 9), bool)
    >>> square[2:5, 2:5] = True
    >>> hausdorff(square, np.roll(square, 3, axis=1)), hausdorff(square, square), hausdorff(square, square & False)
    (3.0, 0.0, inf)
    """
    return surface_distances(predicted, truth, spacing, elements).hausdorff(percentile, pooling)


def mean_surface_distance(
    predicted: ArrayLike, truth: ArrayLike, spacing: Spacing = None, elements: Elements = "pixels"
) -> float:
    """Mean distance between outlines, over the elements of both together (average symmetric surface distance).

    Empty masks: NaN when both are empty, infinite when one is. Arguments, unit and errors as `surface_distances`.

    References
    ----------
    .. [1] Heimann et al., "Comparison and evaluation of methods for liver segmentation from CT datasets", IEEE Trans.
       Med. Imaging 28(8), 2009.

    Examples
    --------
    >>> mean_surface_distance([[1, 0, 0, 0]], [[0, 1, 0, 1]])  # 1 one way; 1 and 3 the other
    1.6666666666666667
    """
    return surface_distances(predicted, truth, spacing, elements).mean()


def surface_dice(
    predicted: ArrayLike,
    truth: ArrayLike,
    tolerance: float,
    spacing: Spacing = None,
    elements: Elements = "contour",
    empty: Empty = "one",
) -> float:
    """Share of both outlines together that lies within ``tolerance`` of the other (normalised surface distance).

    With ``contour`` each part of an outline weighs its length, or area in 3-D [1]_; with ``pixels`` outline pixels are
    counted.

    Empty masks: ``empty`` when both are empty, 0 when one is.

    Parameters
    ----------
    predicted, truth, spacing, elements
        As `surface_distances`.
    tolerance : float
        In mm, or px without a spacing; a distance of just this still counts as near.
    empty : {"one", "nan", "zero"}
        As `segmentation.dice`.

    Raises
    ------
    ScanError, DataError
        As `surface_distances`, or for a tolerance below 0 or an unknown rule.

    References
    ----------
    .. [1] Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for radiotherapy", J. Med.
       Internet Res. 23(7), 2021.

    Examples
    --------
    >>> square = np.zeros((9, 9), bool)
    >>> square[2:5, 2:5] = True
    >>> surface_dice(square, np.roll(square, 1, axis=1), tolerance=1)
    1.0
    """
    return surface_distances(predicted, truth, spacing, elements).surface_dice(tolerance, empty)


def boundary_f1(
    predicted: ArrayLike,
    truth: ArrayLike,
    tolerance: float,
    spacing: Spacing = None,
    elements: Elements = "pixels",
    empty: Empty = "one",
) -> float:
    """Harmonic mean of two shares: predicted outline near the true one, and true outline near the predicted one.

    Unlike `surface_dice`, both outlines weigh the same, however long each is [1]_. Empty masks and arguments as there.

    References
    ----------
    .. [1] Csurka, Larlus, Perronnin, "What is a good evaluation measure for semantic segmentation?", BMVC 2013.

    Examples
    --------
    >>> boundary_f1([[1, 1, 1, 1]], [[1, 0, 0, 0]], tolerance=1)  # precision 1/2, recall 1
    0.6666666666666666
    """
    return surface_distances(predicted, truth, spacing, elements).boundary_f1(tolerance, empty)
