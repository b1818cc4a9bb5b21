"""Kernel inception distance: how far the features of two sets of pictures lie apart, and what real pictures get."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumorscope.errors import DataError

DEGREE, OFFSET = 3, 1.0  # of the polynomial kernel
SUBSETS = 50  # draws that the standard deviation comes from
SUBSET = 100  # most pictures in one; the usual 1000 are more than small collections have
LEAST = 4  # pictures in each set; the unbiased estimate of fewer says nothing
FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Kid:
    """A distance with what it is worth.

    Parameters
    ----------
    value : float
        Mean of the unbiased estimates over subsets; around 0, also below, for two sets of one kind.
    deviation : float
        Standard deviation over the subsets.
    features : str
        What the distance was measured in. Values of other features cannot be compared.
    pictures : int
        In each subset of either set.
    floor : float or None
        The same distance between disjoint halves of the real pictures, in subsets of the same size.
    floor_deviation : float or None
    floor_high : float or None
        The 95th percentile of the floor over its subsets: distances up to here are what real pictures get.
    """

    value: float
    deviation: float
    features: str
    pictures: int
    floor: float | None = None
    floor_deviation: float | None = None
    floor_high: float | None = None

    def __str__(self) -> str:
        text = f"KID {self.value:.4f} ± {self.deviation:.4f} ({self.features}, {self.pictures} pictures)"
        if self.floor is None:
            return f"{text}; too few real pictures for a floor"
        return f"{text}; real against real {self.floor:.4f} ± {self.floor_deviation:.4f}"

    @property
    def within_floor(self) -> bool | None:
        """Whether real pictures get as much among themselves; None where there is no floor."""
        return None if self.floor_high is None else self.value <= self.floor_high

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self) | {"within_floor": self.within_floor}


def mmd(first: ArrayLike, second: ArrayLike) -> float:
    """Unbiased squared maximum mean discrepancy of two sets of features, (N, F) and (M, F).

    The kernel is ``(x · y / F + 1) ** 3``; a vector is not compared with itself.

    Raises
    ------
    DataError
        If a set is no (N, F) array of finite numbers with N of 2 or more, or the lengths differ.

    References
    ----------
    .. [1] Bińkowski, Sutherland, Arbel, Gretton, "Demystifying MMD GANs", ICLR 2018.

    Examples
    --------
    >>> mmd([[0.0], [0.0]], [[1.0], [1.0]])  # 1 + 8 - 2
    7.0
    """
    x, y = _checked(first, "the first set", 2), _checked(second, "the second set", 2)
    if x.shape[1] != y.shape[1]:
        raise DataError(f"KID: features of {x.shape[1]} and {y.shape[1]} numbers; use one extractor for both sets")
    return _mmd(_kernel(x, x), _kernel(y, y), _kernel(x, y))


def kid(
    made: ArrayLike,
    real: ArrayLike,
    *,
    features: str,
    groups: Sequence[Hashable] | None = None,
    subset: int = SUBSET,
    subsets: int = SUBSETS,
    seed: int = 0,
) -> Kid:
    """Distance between the features of made and of real pictures, beside the floor of real against real.

    Subsets of one size are drawn without replacement from each set. The floor takes two disjoint parts of the real
    ones, whole groups on one side, so that near-copies do not pull it down; the subsets for it are as large as those
    of the distance, or the distance's are made as small as half the real pictures.

    Parameters
    ----------
    made, real : (N, F), (M, F) arrays
    features : str
        Name of the extractor.
    groups : sequence, optional
        Group of each real picture; each its own by default.
    subset : int
        Most pictures in a subset.
    subsets : int
    seed : int

    Raises
    ------
    DataError
        As `mmd`, for sets of fewer than 4.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> real, noise = rng.normal(0, 1, (80, 16)), rng.normal(1, 1, (80, 16))
    >>> kid(noise, real, features="drawn").within_floor
    False
    """
    x, y = _checked(made, "the made pictures", LEAST), _checked(real, "the real pictures", LEAST)
    if x.shape[1] != y.shape[1]:
        raise DataError(f"KID: features of {x.shape[1]} and {y.shape[1]} numbers; use one extractor for both sets")
    names = np.arange(len(y)) if groups is None else np.unique(np.array(list(map(str, groups))), return_inverse=True)[1]
    if len(names) != len(y):
        raise DataError(f"KID: {len(names)} groups for {len(y)} real pictures; give one for each")
    rng = np.random.default_rng(seed)
    within = _kernel(y, y)
    halves = [_halves(names, rng) for _ in range(subsets)]
    half = min(min(len(a), len(b)) for a, b in halves)
    size = min(subset, len(x), half if half >= LEAST else max(2, len(y) // 2))
    own, across = _kernel(x, x), _kernel(x, y)
    values = np.empty(subsets)
    for number in range(subsets):
        i, j = rng.choice(len(x), size, replace=False), rng.choice(len(y), size, replace=False)
        values[number] = _mmd(own[np.ix_(i, i)], within[np.ix_(j, j)], across[np.ix_(i, j)])
    found = Kid(float(values.mean()), float(values.std(ddof=1)) if subsets > 1 else math.nan, features, size)
    if half < LEAST:
        return found
    floor = np.empty(subsets)
    for number, (one, other) in enumerate(halves):
        i, j = rng.choice(one, size, replace=False), rng.choice(other, size, replace=False)
        floor[number] = _mmd(within[np.ix_(i, i)], within[np.ix_(j, j)], within[np.ix_(i, j)])
    spread = float(floor.std(ddof=1)) if subsets > 1 else math.nan
    return Kid(
        found.value, found.deviation, features, size, float(floor.mean()), spread, float(np.quantile(floor, 0.95))
    )


def _halves(names: NDArray, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of two disjoint sets of whole groups, about half each."""
    order = rng.permutation(int(names.max()) + 1)
    counts = np.bincount(names)[order]
    cut = int(np.searchsorted(np.cumsum(counts), len(names) / 2)) + 1 if len(order) > 1 else 1
    first = np.isin(names, order[: min(cut, max(1, len(order) - 1))])
    return np.flatnonzero(first), np.flatnonzero(~first)


def _kernel(x: FloatArray, y: FloatArray) -> FloatArray:
    return np.asarray((x @ y.T / x.shape[1] + OFFSET) ** DEGREE)


def _mmd(xx: FloatArray, yy: FloatArray, xy: FloatArray) -> float:
    n, m = len(xx), len(yy)
    same = (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1))
    return float(same - 2 * xy.mean())


def _checked(values: ArrayLike, what: str, least: int) -> FloatArray:
    array = np.asarray(values, np.float64)
    if array.ndim != 2 or array.shape[1] == 0:
        raise DataError(f"KID: {what} have features of shape {array.shape}; give an (N, F) array")
    if len(array) < least:
        raise DataError(f"KID: {what} are {len(array)}; give {least} or more")
    if not np.isfinite(array).all():
        raise DataError(f"KID: {what} have features that are no numbers; look at the pictures they came from")
    return array
