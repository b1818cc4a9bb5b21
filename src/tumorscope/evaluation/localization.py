"""Whether a map of where a model looks points at the lesion: the pointing game and the energy inside the mask.

Both stand beside what a map gets that knows nothing (the share of the image that the lesion covers) and one that only
knows where the head is (`centre_map`): tumours lie in heads, so that a blurred blob in the middle scores too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumorscope.errors import DataError
from tumorscope.evaluation.statistics import Interval, bootstrap, share
from tumorscope.scan import BoolArray, FloatArray

SPREAD = 0.5  # of the centre map's Gaussian, in radii of a disc as large as the head


class Located(NamedTuple):
    """Scores of one map.

    Parameters
    ----------
    pointing : float
        1 where the map's maximum lies in the lesion, 0 where not; see `pointing`.
    energy : float
        Share of the map's sum that lies in the lesion.
    coverage : float
        Share of the image that the lesion covers: what an even map gets in both.
    centre_pointing, centre_energy : float
        What `centre_map` gets.
    """

    pointing: float
    energy: float
    coverage: float
    centre_pointing: float
    centre_energy: float


def pointing(values: ArrayLike, mask: ArrayLike) -> float:
    """1 where the map's maximum lies in the mask, 0 where not (the pointing game [1]_, without a tolerance).

    Of several equal maxima the share in the mask counts, so that a map without any contrast gets what chance gets.

    Parameters
    ----------
    values : (H, W) array
        Finite and not negative.
    mask : (H, W) bool array
        The lesion.

    Returns
    -------
    float
        NaN for an empty mask: there is nothing to point at.

    Raises
    ------
    DataError
        If the shapes differ or are not 2-D, or the map has negative values or none that are numbers.

    References
    ----------
    .. [1] Zhang et al., "Top-down neural attention by excitation backprop", Int. J. Comput. Vis. 126, 2018.

    Examples
    --------
    >>> pointing([[0, 1, 2], [0, 0, 0]], [[0, 0, 1], [0, 0, 0]]), pointing(np.zeros((2, 2)), np.eye(2))
    (1.0, 0.5)
    """
    weight, lesion = _pair(values, mask)
    if not lesion.any():
        return math.nan
    return float(lesion[weight == weight.max()].mean())


def energy_inside(values: ArrayLike, mask: ArrayLike) -> float:
    """Share of the map's sum that lies in the mask (the energy-based pointing game [1]_).

    A map of zeros says as little as an even one and gets the same: the share that the mask covers.

    Parameters
    ----------
    values, mask
        As for `pointing`.

    Returns
    -------
    float
        NaN for an empty mask.

    Raises
    ------
    DataError
        As `pointing`.

    References
    ----------
    .. [1] Wang et al., "Score-CAM: score-weighted visual explanations for convolutional neural networks", CVPR
       workshops 2020.

    Examples
    --------
    >>> energy_inside([[1, 3], [0, 4]], [[0, 1], [0, 0]])
    0.375
    """
    weight, lesion = _pair(values, mask)
    if not lesion.any():
        return math.nan
    total = float(weight.sum())
    return float(weight[lesion].sum()) / total if total > 0 else float(lesion.mean())


def centre_map(head: ArrayLike) -> FloatArray:
    """A Gaussian around the middle of the head, (H, W), 1 at its highest: what a map gets that never saw a lesion.

    Its spread is half the radius of a disc as large as the head. Without a head the whole image is taken for it.

    Examples
    --------
    >>> centre = centre_map(np.ones((5, 9)))
    >>> np.unravel_index(centre.argmax(), centre.shape)
    (np.int64(2), np.int64(4))
    """
    where = np.asarray(head, bool)
    if where.ndim != 2 or where.size == 0:
        raise DataError(f"centre map: a head of shape {where.shape}; pass one (H, W) mask")
    if not where.any():
        where = np.ones_like(where)
    rows, columns = np.nonzero(where)
    spread = max(0.5, SPREAD * math.sqrt(rows.size / math.pi))
    y, x = np.ogrid[: where.shape[0], : where.shape[1]]
    away = (y - rows.mean()) ** 2 + (x - columns.mean()) ** 2
    return np.exp(-(away - away.min()) / (2 * spread**2)).astype(np.float32)


def locate(values: ArrayLike, mask: ArrayLike, head: ArrayLike) -> Located:
    """All scores of one map, and of the centre map beside it.

    Parameters
    ----------
    values, mask
        As for `pointing`.
    head : (H, W) bool array
        The filled head.

    Examples
    --------
    >>> lesion = np.zeros((4, 4), bool); lesion[0, 0] = True
    >>> locate(lesion * 1.0, lesion, np.ones((4, 4)))[:4]
    (1.0, 1.0, 0.0625, 0.0)
    """
    centre = centre_map(head)
    lesion = np.asarray(mask, bool)
    return Located(
        pointing(values, mask),
        energy_inside(values, mask),
        float(lesion.mean()),
        pointing(centre, mask),
        energy_inside(centre, mask),
    )


@dataclass(frozen=True)
class Localization:
    """Means over scans, with intervals from whole groups drawn with replacement; of the pointing game Wilson's.

    Wilson's interval, narrowed to what the groups know (`statistics.share`), has a width also where no map hits.

    Attributes
    ----------
    scans, groups : int
    pointing, energy : Interval
    coverage : float
        Mean share that the lesions cover: chance.
    centre_pointing, centre_energy : float
        Of the centre map.
    pointing_gain, energy_gain : Interval
        How much more than the centre map, scan by scan.
    """

    scans: int
    groups: int
    pointing: Interval
    energy: Interval
    coverage: float
    centre_pointing: float
    centre_energy: float
    pointing_gain: Interval
    energy_gain: Interval

    @classmethod
    def of(cls, found: Sequence[Located], groups: ArrayLike | None = None, rounds: int = 2000) -> Localization:
        """Means of scored maps; ``groups`` holds the patient or near-duplicate group of each.

        Raises
        ------
        DataError
            If there is no map, or a lesion was empty.

        Examples
        --------
        >>> one = Located(1.0, 0.4, 0.1, 0.0, 0.2)
        >>> summary = Localization.of([one, one._replace(pointing=0.0)], rounds=200)
        >>> summary.pointing.value, round(summary.energy_gain.value, 3)
        (0.5, 0.2)
        """
        if not found:
            raise DataError("localization: no map was scored; give scans with masks")
        table = np.array(found, float)
        if np.isnan(table).any():
            raise DataError("localization: a lesion is empty; leave such scans out")
        point, energy, coverage, centre_point, centre_energy = table.T
        keys = np.arange(len(table)) if groups is None else np.asarray(groups)

        def mean(values: NDArray) -> Interval:
            return bootstrap(np.mean, values, groups=keys, rounds=rounds)

        return cls(
            len(table),
            len(np.unique(keys)),
            share(point, keys),
            mean(energy),
            float(coverage.mean()),
            float(centre_point.mean()),
            float(centre_energy.mean()),
            mean(point - centre_point),
            mean(energy - centre_energy),
        )

    def sentences(self) -> list[str]:
        """What the figures say, in words."""
        return [
            f"In {self.scans} scans with a mask ({self.groups} groups) the map's highest point lies in the lesion in "
            f"{_share(self.pointing)}; by chance it would in {self.coverage:.1%}, and a blob in the middle of the head "
            f"does in {self.centre_pointing:.1%}: {_verdict(self.pointing_gain)}.",
            f"{_share(self.energy)} of the map's energy lies in the lesion, which covers {self.coverage:.1%} of the "
            f"image; of the blob's {self.centre_energy:.1%}: {_verdict(self.energy_gain)}.",
        ]


def _share(one: Interval) -> str:
    return f"{one.value:.1%} [{one.low:.1%}, {one.high:.1%}]" if one.bounded else f"{one.value:.1%}"


def _verdict(gain: Interval) -> str:
    """Whether a difference to the blob is real."""
    if not gain.bounded:
        return "too few groups to tell the two apart"
    if gain.low > 0:
        return "the map knows more than where heads are"
    return "the map does worse than the blob" if gain.high < 0 else "the map does not beat the blob beyond doubt"


def _pair(values: ArrayLike, mask: ArrayLike) -> tuple[NDArray[np.float64], BoolArray]:
    weight, lesion = np.asarray(values, np.float64), np.asarray(mask, bool)
    if weight.ndim != 2 or weight.shape != lesion.shape or weight.size == 0:
        raise DataError(f"map: is {weight.shape}, its mask {lesion.shape}; bring both to one (H, W) grid")
    if not np.isfinite(weight).all() or weight.min() < 0:
        raise DataError("map: has values that are negative or no number; pass one in [0, 1]")
    return weight, lesion
