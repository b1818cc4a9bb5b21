"""Whether a generator repeats what it learnt: nearest training scans against what real scans are to each other."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from tumorscope.errors import DataError
from tumorscope.evaluation.statistics import Interval, share
from tumorscope.inference.embedding import Extractor

LEVEL = 0.01  # share of real scans whose nearest one of another group is as near as a copy
SIDE = 32  # px that pictures are compared at; finer detail is the first thing that a generator changes
ALARM = 0.05  # probability of so many copies by chance, below which they are reported as more than that
LEAST = 3  # training scans of different groups, below which there is no real-to-real distribution
SHOWN = 12  # closest pairs
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Likeness:
    """Nearest training scans of made pictures, in one measure.

    Parameters
    ----------
    name : str
        What is compared.
    nearest : (N,) int array
        Training scan nearest to each picture.
    distance : (N,) float array
        1 - correlation to it, 0 for a copy.
    limit : float
        Distance below which a picture counts as a copy: the `LEVEL` quantile of the real-to-real distances.
    real : (M,) float array
        Distance of each training scan to the nearest of another group.
    rate : Interval
        Share of made pictures below the limit, with Wilson's interval.
    held_out : Interval or None
        The same share of real scans that the generator did not learn from: what chance gets.
    chance : (K,) float array or None
        The distances of those.
    """

    name: str
    nearest: NDArray[np.int64]
    distance: Floats
    limit: float
    real: Floats
    rate: Interval
    held_out: Interval | None
    chance: Floats | None = None

    @property
    def copies(self) -> NDArray[np.int64]:
        """Made pictures below the limit, nearest first."""
        below = np.flatnonzero(self.distance < self.limit)
        return below[np.argsort(self.distance[below], kind="stable")]

    @property
    def alarming(self) -> bool:
        """Whether there are more copies than chance makes, at 5 %: Fisher's exact test against held-out real scans.

        Without these, a binomial test against the `LEVEL`.
        """
        count, whole = len(self.copies), len(self.distance)
        if self.chance is None:
            return bool(stats.binomtest(count, whole, LEVEL, "greater").pvalue < ALARM)
        there = int((self.chance < self.limit).sum())
        table = [[count, whole - count], [there, len(self.chance) - there]]
        return bool(stats.fisher_exact(table, "greater").pvalue < ALARM)

    def sentence(self) -> str:
        """What was found, for a person."""
        text = f"{self.name}: {len(self.copies)} of {len(self.distance)} pictures lie nearer to a training scan than "
        text += f"{LEVEL:.0%} of real scans lie to another ({self.rate})"
        return text if self.held_out is None else f"{text}; of held-out real scans {self.held_out}"

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "copies": len(self.copies),
            "pictures": len(self.distance),
            "rate": [self.rate.value, self.rate.low, self.rate.high],
            "held_out_rate": None if self.held_out is None else [*_bounds(self.held_out)],
            "limit": self.limit,
            "median_distance": float(np.median(self.distance)),
            "median_real_distance": float(np.median(self.real)),
        }


@dataclass(frozen=True)
class Copying:
    """The audit's findings, in pixels and, where an extractor was given, in features."""

    measures: tuple[Likeness, ...]

    @property
    def copies(self) -> list[int]:
        """Pictures that any measure calls a copy."""
        return sorted({int(one) for measure in self.measures for one in measure.copies})

    def closest(self, count: int = SHOWN) -> list[tuple[int, int, float]]:
        """Picture, training scan and distance in pixels of the closest pairs, nearest first."""
        pixels = self.measures[0]
        order = np.argsort(pixels.distance, kind="stable")[:count]
        return [(int(one), int(pixels.nearest[one]), float(pixels.distance[one])) for one in order]

    def to_dict(self) -> dict[str, Any]:
        """As plain data, one part for each measure."""
        return {measure.name: measure.to_dict() for measure in self.measures}


def find_copies(
    made: ArrayLike,
    training: ArrayLike,
    *,
    groups: Sequence[Hashable] | None = None,
    held_out: ArrayLike | None = None,
    extractor: Extractor | None = None,
) -> Copying:
    """Which made pictures lie nearer to a training scan than real scans of different groups lie to each other.

    Pictures are brought to 32 px, to mean 0 and length 1, so that brightness and contrast do not hide a copy; the
    distance is 1 - correlation, the smaller one of the picture and its mirror image. In features it is 1 - cosine
    about the training scans' mean.

    Parameters
    ----------
    made, training : (N, S, S), (M, S, S) arrays
    groups : sequence, optional
        Group of each training scan: near-copies and slices of one patient are not each other's real neighbours.
    held_out : (K, S, S) array, optional
        Real scans that the generator did not learn from.
    extractor : Extractor, optional
        Adds the measure in features.

    Raises
    ------
    DataError
        For arrays of other shapes or sides, values that are no numbers, or training scans of fewer than 3 groups.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> training, made = rng.random((40, 32, 32)), rng.random((10, 32, 32))
    >>> made[3] = training[7][:, ::-1] * 0.5  # a mirrored copy at half the brightness
    >>> found = find_copies(made, training)
    >>> 3 in found.copies, found.closest(1)[0][:2]
    (True, (3, 7))
    """
    pictures, taught = _checked(made, "made pictures"), _checked(training, "training scans")
    real = None if held_out is None else _checked(held_out, "held-out scans")
    names = np.arange(len(taught)) if groups is None else np.unique(list(map(str, groups)), return_inverse=True)[1]
    if len(names) != len(taught):
        raise DataError(f"copying: {len(names)} groups for {len(taught)} training scans; give one for each")
    if len(np.unique(names)) < LEAST:
        raise DataError(
            f"copying: {len(taught)} training scans in {len(np.unique(names))} groups say nothing of how far "
            f"real scans lie apart; give {LEAST} groups or more"
        )
    mirrored = [_unit(_small(some)) for some in (taught, taught[..., ::-1])]
    measures = [
        _likeness("pixels", _unit(_small(pictures)), mirrored, names, None if real is None else _unit(_small(real)))
    ]
    if extractor is not None:
        base = extractor(taught).astype(np.float64)
        centre = base.mean(axis=0)

        def seen(some: NDArray) -> Floats:
            return _unit(extractor(some).astype(np.float64) - centre)

        both = [_unit(base - centre), seen(np.ascontiguousarray(taught[..., ::-1]))]
        measures.append(_likeness(extractor.name, seen(pictures), both, names, None if real is None else seen(real)))
    return Copying(tuple(measures))


def _likeness(name: str, made: Floats, taught: list[Floats], names: NDArray, held_out: Floats | None) -> Likeness:
    apart = _distances(taught[0], taught)
    apart[names[:, None] == names[None, :]] = np.inf
    real = apart.min(axis=1)
    limit = float(np.quantile(real, LEVEL))
    found = _distances(made, taught)
    nearest = found.argmin(axis=1)
    distance = found[np.arange(len(found)), nearest]
    rate = share(distance < limit)
    if held_out is None or not len(held_out):
        return Likeness(name, nearest.astype(np.int64), distance, limit, real, rate, None)
    chance = _distances(held_out, taught).min(axis=1)
    return Likeness(name, nearest.astype(np.int64), distance, limit, real, rate, share(chance < limit), chance)


def _distances(rows: Floats, both: list[Floats]) -> Floats:
    """1 - the larger product with a scan and its mirror image, (N, M)."""
    return np.asarray(1 - np.maximum(rows @ both[0].T, rows @ both[1].T))


def _small(pictures: NDArray) -> Floats:
    side = min(SIDE, pictures.shape[1])
    resized = [cv2.resize(one, (side, side), interpolation=cv2.INTER_AREA) for one in np.ascontiguousarray(pictures)]
    flat = np.stack(resized).reshape(len(pictures), -1).astype(np.float64)
    return np.asarray(flat - flat.mean(axis=1, keepdims=True))


def _unit(rows: Floats) -> Floats:
    """Rows of length 1; a blank one stays 0 and is like nothing."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, length, out=np.zeros_like(rows), where=length > 1e-9))


def _bounds(one: Interval) -> tuple[float, float, float]:
    return one.value, one.low, one.high


def _checked(values: ArrayLike, what: str) -> NDArray[np.float32]:
    array = np.asarray(values, np.float32)
    if array.ndim != 3 or array.shape[1] != array.shape[2] or array.size == 0:
        raise DataError(f"copying: {what} of shape {array.shape}; give (N, S, S) pictures")
    if not np.isfinite(array).all():
        raise DataError(f"copying: {what} hold values that are no numbers; look at the pictures")
    return array
