"""Lesions one by one: which were found, which were made up, and how well those found were outlined.

A lesion is a connected region of a mask: by 8 neighbours in a 2-D scan, by 26 in a volume. Two regions of a slice may
be one lesion that joins elsewhere in the volume; nothing here can know.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tumorscope.errors import DataError
from tumorscope.evaluation.boundaries import cropped
from tumorscope.evaluation.classification import Confusion
from tumorscope.evaluation.segmentation import mask_pair
from tumorscope.scan import BoolArray

LEAST_IOU = 0.1  # overlap over union above which two lesions are the same one: found, however roughly outlined
PANOPTIC_IOU = 0.5  # fixed by the definition of panoptic quality; above it no lesion can have two partners


@dataclass(frozen=True)
class LesionMatch:
    """How the lesions of a predicted mask answer those of the true one.

    Attributes
    ----------
    sizes : tuple of int
        Pixels of each true lesion.
    ious, dices : tuple of float
        Of each true lesion with its partner; 0 for one that was missed.
    predicted : int
        Predicted lesions, with a partner or without.
    panoptic_quality : float
        See :func:`panoptic_quality`.

    Examples
    --------
    >>> match = match_lesions([[1, 1, 0, 1, 0, 0, 1]], [[1, 1, 0, 0, 0, 1, 1]])
    >>> match.found, match.missed, match.false, match.dices
    (2, 0, 1, (1.0, 0.6666666666666666))
    >>> match.sentence()
    '2 of 2 lesions found, 1 made up; Dice of a lesion 0.833 on average, a missed one counting 0'
    """

    sizes: tuple[int, ...]
    ious: tuple[float, ...]
    dices: tuple[float, ...]
    predicted: int
    panoptic_quality: float

    @property
    def true(self) -> int:
        """True lesions."""
        return len(self.sizes)

    @property
    def found(self) -> int:
        """True lesions with a partner."""
        return sum(iou > 0 for iou in self.ious)

    @property
    def missed(self) -> int:
        """True lesions without a partner."""
        return self.true - self.found

    @property
    def false(self) -> int:
        """Predicted lesions without a partner."""
        return self.predicted - self.found

    @property
    def counts(self) -> Confusion:
        """Found, made up and missed lesions; ``tn`` is 0, since nobody can count lesions that are rightly absent.

        ``sensitivity`` is NaN without a true lesion, ``precision`` without a predicted one, ``f1`` with neither.
        """
        return Confusion(tp=self.found, fp=self.false, tn=0, fn=self.missed)

    @property
    def mean_dice(self) -> float:
        """Mean Dice of the true lesions, a missed one counting 0; NaN without any. Made-up lesions don't count."""
        return sum(self.dices) / self.true if self.true else math.nan

    @property
    def lesionwise_dice(self) -> float:
        """Dice summed over found lesions, over all that were found, missed or made up; NaN without any lesion.

        The BraTS challenges of 2023 and later rank by a figure of this kind [1]_; theirs joins nearby lesions first.

        References
        ----------
        .. [1] LaBella et al., "The ASNR-MICCAI Brain Tumor Segmentation (BraTS) Challenge 2023: intracranial
           meningioma", arXiv 2305.07642.
        """
        total = self.true + self.false
        return sum(self.dices) / total if total else math.nan

    def sentence(self) -> str:
        """What was found, missed and made up, in words."""
        if not self.true:
            made_up = f"{self.predicted} made up" if self.predicted else "none was made up"
            return f"there is no lesion; {made_up}"
        quality = f"Dice of a lesion {self.mean_dice:.3f} on average, a missed one counting 0"
        return f"{self.found} of {self.true} lesions found, {self.false} made up; {quality}"


def components(mask: BoolArray) -> tuple[NDArray[np.int32], int]:
    """Number of the lesion that each pixel belongs to (0 for none), and how many there are.

    Parameters
    ----------
    mask : (H, W) or (D, H, W) bool array

    Examples
    --------
    >>> components(np.array([[True, False, False], [False, True, False], [False, False, False]]))[1]
    1
    """
    if mask.ndim == 2 and mask.size:
        count, labels = cv2.connectedComponents(np.ascontiguousarray(mask).view(np.uint8), connectivity=8)
        return np.asarray(labels, np.int32), count - 1
    labels, count = ndimage.label(mask, np.ones((3,) * mask.ndim, bool))
    return np.asarray(labels, np.int32), int(count)


def match_lesions(
    predicted: ArrayLike, truth: ArrayLike, least_iou: float = LEAST_IOU, least_size: int = 1
) -> LesionMatch:
    """Partners among the lesions of two masks: one to one, so that the sum of overlaps over unions is largest.

    A lesion that was predicted in two pieces is found once and made up once; a prediction that covers two lesions finds
    one of them. Where no lesion touches two of the other mask there is nothing to choose.

    Parameters
    ----------
    predicted, truth : bool arrays of one shape, usually (H, W) or (D, H, W)
    least_iou : float
        Overlap over union above which two lesions may be partners, in [0, 1); at 0 one common pixel is enough.
    least_size : int
        Regions of fewer pixels are left out of both masks (stray pixels of an annotator's brush).

    Raises
    ------
    DataError
        As `segmentation.mask_pair`, or for a ``least_iou`` or ``least_size`` out of range.

    References
    ----------
    .. [1] Maier-Hein et al., "Metrics reloaded: recommendations for image analysis validation", Nature Methods 21,
       2024.

    Examples
    --------
    >>> match_lesions([[1, 0, 1]], [[1, 1, 1]]).counts  # in two pieces: found once, made up once
    Confusion(tp=1, fp=1, tn=0, fn=0)
    """
    if not 0 <= least_iou < 1:
        raise DataError(f"lesions: an overlap over union of {least_iou} cannot be asked for; pass 0 up to below 1")
    if least_size < 1:
        raise DataError(f"lesions: a smallest region of {least_size} pixels means nothing; pass 1 or more")
    first, second = cropped(*mask_pair(predicted, truth))
    (marked, marked_sizes), (lesions, lesion_sizes) = (_regions(mask, least_size) for mask in (first, second))
    rows, columns, overlap = _overlaps(lesions, marked)
    iou = overlap / (lesion_sizes[rows] + marked_sizes[columns] - overlap)
    dice = 2 * overlap / (lesion_sizes[rows] + marked_sizes[columns])
    chosen = _partners(rows, columns, iou, least_iou, (lesion_sizes.size, marked_sizes.size))
    ious, dices = np.zeros(lesion_sizes.size), np.zeros(lesion_sizes.size)
    ious[rows[chosen]], dices[rows[chosen]] = iou[chosen], dice[chosen]
    regions = lesion_sizes.size + marked_sizes.size
    sure = iou[iou > PANOPTIC_IOU]
    return LesionMatch(
        sizes=tuple(lesion_sizes.tolist()),
        ious=tuple(ious.tolist()),
        dices=tuple(dices.tolist()),
        predicted=marked_sizes.size,
        panoptic_quality=float(2 * sure.sum() / regions) if regions else math.nan,
    )


def _regions(mask: BoolArray, least_size: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Number of the region at each pixel from 0 on, -1 outside, and the pixels of each; small regions left out."""
    labels, count = components(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    if least_size > 1:
        kept = sizes >= least_size
        number = np.append(0, np.where(kept, np.cumsum(kept), 0)).astype(np.int32)
        labels, sizes = number[labels], sizes[kept]
    return labels - 1, sizes


def _overlaps(
    lesions: NDArray[np.int32], marked: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Lesion, predicted region and common pixels of each pair that overlaps."""
    both = (lesions >= 0) & (marked >= 0)
    width = int(marked.max(initial=0)) + 1
    keys, common = np.unique(lesions[both].astype(np.int64) * width + marked[both], return_counts=True)
    return keys // width, keys % width, common


def _partners(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    iou: NDArray[np.float64],
    least_iou: float,
    shape: tuple[int, int],
) -> NDArray[np.int64]:
    """Indices of the pairs that become partners; each knot of overlapping lesions is solved by itself."""
    open_pairs = np.flatnonzero(iou > least_iou)
    if open_pairs.size == 0:
        return open_pairs
    nodes = sum(shape)
    graph = coo_array((iou[open_pairs], (rows[open_pairs], shape[0] + columns[open_pairs])), shape=(nodes, nodes))
    knot = connected_components(graph, directed=False)[1][rows[open_pairs]]
    order = np.argsort(knot, kind="stable")
    chosen = []
    for part in np.split(open_pairs[order], np.flatnonzero(np.diff(knot[order])) + 1):
        if part.size == 1:
            chosen.append(part)
            continue
        own_rows, at_row = np.unique(rows[part], return_inverse=True)
        own_columns, at_column = np.unique(columns[part], return_inverse=True)
        pair = np.full((own_rows.size, own_columns.size), -1)
        pair[at_row, at_column] = part
        matched = pair[linear_sum_assignment(np.where(pair >= 0, iou[pair], 0.0), maximize=True)]
        chosen.append(matched[matched >= 0])
    return np.concatenate(chosen)


def panoptic_quality(predicted: ArrayLike, truth: ArrayLike, least_size: int = 1) -> float:
    """Detection and outline of lesions in one number: sum of overlaps over unions of pairs above 0.5, over lesions.

    sum(IoU) / (TP + FP/2 + FN/2) with TP the pairs whose overlap over union is above 0.5 [1]_. NaN when both masks are
    empty, 0 when one is.

    References
    ----------
    .. [1] Kirillov et al., "Panoptic segmentation", CVPR 2019.

    Examples
    --------
    >>> panoptic_quality([[1, 1, 1, 0, 0, 1]], [[1, 1, 0, 0, 0, 0]])  # (2/3) / (1 + 1/2)
    0.4444444444444444
    """
    return match_lesions(predicted, truth, least_size=least_size).panoptic_quality
