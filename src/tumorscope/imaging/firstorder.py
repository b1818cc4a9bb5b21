"""First-order statistics: what the grey values inside a mask are, whatever their places."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tumorscope.imaging.inside import BINS, grey_levels, inside
from tumorscope.imaging.intensity import percentiles

Features = dict[str, float]


def first_order(
    image: NDArray, where: NDArray | None = None, *, bins: int = BINS, width: float | None = None
) -> Features:
    """Seventeen statistics of the grey values inside ``where``, by the names that PyRadiomics gives them.

    With x the N values inside, m their mean and p the shares of their grey levels (`grey_levels`):
    ``Entropy`` −Σ p log2 p (Shannon, in bit) and ``Uniformity`` Σ p²; ``Energy`` Σ x²; ``RootMeanSquared`` √(Σ x² / N);
    ``Skewness`` and ``Kurtosis`` the third and fourth moment about m over powers of the second (a normal distribution
    has kurtosis 3), both 0 where all values are equal; ``RobustMeanAbsoluteDeviation`` the mean distance from the
    mean of what lies between the 10th and 90th percentile.

    Parameters
    ----------
    image : (H, W) array
    where : (H, W) bool array, optional
        All pixels when absent.
    bins, width
        As for `grey_levels`; only Entropy and Uniformity depend on them.

    Returns
    -------
    dict of str to float
        In the image's grey values, or powers of them; always the same names.

    Raises
    ------
    ScanError
        As `grey_levels`.

    References
    ----------
    .. [1] van Griethuysen et al., "Computational radiomics system to decode the radiographic phenotype", Cancer
       Research 77(21), 2017.
    .. [2] Zwanenburg et al., "The image biomarker standardization initiative", Radiology 295(2), 2020.

    Examples
    --------
    >>> found = first_order(np.array([[0, 0, 1, 3]]), bins=4)
    >>> found["Mean"], found["Entropy"], found["Energy"]
    (1.0, 1.5, 10.0)
    """
    plane, mask = inside(image, where)
    values = plane[mask].astype(np.float64)
    counts = np.bincount(grey_levels(plane, mask, bins=bins, width=width)[mask])
    shares = counts[counts > 0] / values.size
    low, first, middle, third, high = percentiles(values, 10, 25, 50, 75, 90)
    mean = float(values.mean())
    apart = values - mean
    variance = float(np.mean(apart**2))
    body = values[(values >= low) & (values <= high)]
    body = body if body.size else values  # rounding can leave none of two or three values
    return {
        "10Percentile": low,
        "90Percentile": high,
        "Energy": float(np.sum(values**2)),
        "Entropy": abs(float(np.sum(shares * np.log2(shares)))),
        "InterquartileRange": third - first,
        "Kurtosis": float(np.mean(apart**4)) / variance**2 if variance**2 > 0 else 0.0,
        "Maximum": float(values.max()),
        "MeanAbsoluteDeviation": float(np.mean(np.abs(apart))),
        "Mean": mean,
        "Median": middle,
        "Minimum": float(values.min()),
        "Range": float(np.ptp(values)),
        "RobustMeanAbsoluteDeviation": float(np.mean(np.abs(body - body.mean()))),
        "RootMeanSquared": float(np.sqrt(np.mean(values**2))),
        "Skewness": float(np.mean(apart**3)) / variance**1.5 if variance**1.5 > 0 else 0.0,
        "Uniformity": float(np.sum(shares**2)),
        "Variance": variance,
    }
