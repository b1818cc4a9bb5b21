"""Whether stated probabilities come true: the reliability diagram, its error, and the Brier score taken apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumorscope.errors import DataError, look_up
from tumorscope.evaluation.classification import brier, checked
from tumorscope.evaluation.statistics import share

Values = NDArray[np.float64]

BINNINGS = ("width", "mass")
FAR = 0.05  # calibration error from which a sentence calls probabilities off; below, most readers would act alike


@dataclass(frozen=True)
class Reliability:
    """Stated probability against share that came true, bin by bin; bins without rows are left out.

    Attributes
    ----------
    lower, upper : (B,) float arrays
        Edges of the bins that hold rows.
    count : (B,) int array
    stated, observed : (B,) float arrays
        Mean probability, and share of rows with label 1.
    low, high : (B,) float arrays
        Interval of ``observed`` (`statistics.share`, which counts groups).
    ece, mce : float
        Mean (weighted by rows) and largest gap between ``stated`` and ``observed``.
    brier : float
        Mean squared distance of probability and label; equals
        ``miscalibration - resolution + uncertainty + within``.
    miscalibration, resolution, uncertainty, within : float
        Murphy's parts [1]_: squared gaps of the bins (0 is best); squared distance of the bins' shares from the overall
        share (large is best); the overall share's own variance; and what is lost because a bin holds different
        probabilities [2]_ (0 when each bin holds one).

    References
    ----------
    .. [1] Murphy, "A new vector partition of the probability score", Journal of Applied Meteorology 12, 1973.
    .. [2] Stephenson, Coelho, Jolliffe, "Two extra components in the Brier score decomposition", Weather and
       Forecasting 23, 2008.
    """

    lower: Values
    upper: Values
    count: NDArray[np.int64]
    stated: Values
    observed: Values
    low: Values
    high: Values
    ece: float
    mce: float
    brier: float
    miscalibration: float
    resolution: float
    uncertainty: float
    within: float

    @property
    def bias(self) -> float:
        """Mean probability less share of label 1: above 0 where the model says "tumour" too readily."""
        return float(np.sum(self.count * (self.stated - self.observed)) / self.count.sum())

    def sentence(self) -> str:
        """How far stated probabilities are from what came true.

        Examples
        --------
        >>> reliability([1, 1, 1, 0], [0.9, 0.9, 0.9, 0.9]).sentence()
        'Stated probabilities are off by 15 points on average, too high in total (mean 90 %, came true 75 %).'
        """
        mean = float(np.sum(self.count * self.stated) / self.count.sum())
        true = mean - self.bias
        off = f"{100 * self.ece:.0f} points" if self.ece >= 0.015 else f"{100 * self.ece:.1f} points"
        if self.ece < FAR:
            return f"Stated probabilities can be taken at their word: they are off by {off} on average."
        side = (
            "too high in total"
            if self.bias > 0.01
            else "too low in total"
            if self.bias < -0.01
            else "in both directions"
        )
        return (
            f"Stated probabilities are off by {off} on average, {side} "
            f"(mean {100 * mean:.0f} %, came true {100 * true:.0f} %)."
        )


def reliability(
    labels: ArrayLike,
    probabilities: ArrayLike,
    bins: int = 15,
    binning: str = "width",
    groups: ArrayLike | None = None,
    level: float = 0.95,
) -> Reliability:
    """The reliability diagram's data, with the calibration error and the parts of the Brier score.

    Parameters
    ----------
    labels : (N,) array of 0 and 1
    probabilities : (N,) array in [0, 1]
        Of label 1. For several classes: whether the answer is right, and the probability of the class named.
    bins : int
        Number of bins.
    binning : {"width", "mass"}
        Equal widths, where a bin takes in its lower edge and the last one both, or (nearly) equal numbers of rows;
        equal probabilities are never parted.
    groups : (N,) array, optional
        Group of each row, for the intervals.
    level : float
        Of the intervals.

    Raises
    ------
    DataError
        As `classification.checked`; for probabilities outside [0, 1], fewer than one bin, or an unknown binning.

    Examples
    --------
    >>> diagram = reliability([0, 0, 1, 1, 1, 0], [0.1, 0.1, 0.1, 0.9, 0.9, 0.9], bins=10)
    >>> diagram.count.tolist(), diagram.stated.tolist(), diagram.observed.round(3).tolist(), round(diagram.ece, 3)
    ([3, 3], [0.1, 0.9], [0.333, 0.667], 0.233)
    """
    truth, values = checked(labels, probabilities, "probabilities")
    total = brier(labels, probabilities)  # refuses what is no probability
    if bins < 1:
        raise DataError(f"evaluation: {bins} bins hold nothing; give 1 or more")
    if look_up(binning, BINNINGS, "binning", DataError) == "width":
        edges = np.linspace(0, 1, bins + 1)
        which = np.minimum((values * bins).astype(np.int64), bins - 1)
    else:
        edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))
        edges = edges if len(edges) > 1 else np.array([edges[0], edges[0]])
        which = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    held, member, count = np.unique(which, return_inverse=True, return_counts=True)
    stated = np.bincount(member, values) / count
    observed = np.bincount(member, truth) / count
    keys = np.arange(len(truth)) if groups is None else np.asarray(groups)
    spans = [share(truth[member == k], keys[member == k], level) for k in range(len(held))]
    overall = truth.mean()
    weight = count / count.sum()
    miscalibration = float(weight @ (stated - observed) ** 2)
    resolution = float(weight @ (observed - overall) ** 2)
    uncertainty = float(overall * (1 - overall))
    gaps = np.abs(stated - observed)
    return Reliability(
        lower=edges[held],
        upper=edges[held + 1],
        count=count,
        stated=stated,
        observed=observed,
        low=np.array([span.low for span in spans]),
        high=np.array([span.high for span in spans]),
        ece=float(weight @ gaps),
        mce=float(gaps.max()),
        brier=total,
        miscalibration=miscalibration,
        resolution=resolution,
        uncertainty=uncertainty,
        within=total - (miscalibration - resolution + uncertainty),
    )


def brier_skill(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Share of the Brier score of always stating the overall share that the model takes away; 0 for no skill.

    NaN where only one class is present: always stating the overall share is then perfect.

    Examples
    --------
    >>> brier_skill([1, 0], [0.75, 0.25])
    0.75
    """
    truth, _ = checked(labels, probabilities, "probabilities")
    trivial = float(truth.mean() * (1 - truth.mean()))
    return 1 - brier(labels, probabilities) / trivial if trivial else math.nan
