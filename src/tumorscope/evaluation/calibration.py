"""Turning scores into probabilities that mean what they say; fitted on validation data, never on training data."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit

from tumorscope.errors import DataError
from tumorscope.evaluation.classification import checked

_TEMPERATURES = (0.02, 50.0)  # beyond these a model says nothing or everything
_RIDGE = 1e-6  # keeps collinear features solvable; far below what moves a fitted probability
_STEPS = 100


class Logistic(NamedTuple):
    """A logistic model: probability = sigmoid(features @ weights + bias)."""

    weights: NDArray[np.float64]
    bias: float

    def logit(self, features: ArrayLike) -> NDArray[np.float64]:
        """Logits (N,) of ``features`` (N, k), or of (N,) when k is 1."""
        return _matrix(features) @ self.weights + self.bias

    def probability(self, features: ArrayLike) -> NDArray[np.float64]:
        """Probabilities (N,) of a tumour."""
        return expit(self.logit(features))


def _matrix(features: ArrayLike) -> NDArray[np.float64]:
    matrix = np.asarray(features, dtype=np.float64)
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    if matrix.ndim != 2:
        raise DataError(f"calibration: features of shape {matrix.shape} were given; pass (N, k) or (N,)")
    if not np.isfinite(matrix).all():
        raise DataError("calibration: a feature is NaN or infinite; leave failed scans out")
    return matrix


def _targets(truth: NDArray[np.bool_], smooth: bool) -> NDArray[np.float64]:
    """Labels, or Platt's targets: (n1 + 1) / (n1 + 2) for a tumour and 1 / (n0 + 2) for none."""
    positive = int(truth.sum())
    negative = truth.size - positive
    if positive == 0 or negative == 0:
        raise DataError("calibration: all labels are the same; give scans with and without a tumour")
    if not smooth:
        return truth.astype(np.float64)
    return np.where(truth, (positive + 1) / (positive + 2), 1 / (negative + 2))


def _loss(logits: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    return float(np.mean(np.logaddexp(0, logits) - targets * logits))


def fit_logistic(features: ArrayLike, labels: ArrayLike, smooth: bool = True) -> Logistic:
    """Weights and bias of the logistic model that explains the labels best (Platt scaling for one feature).

    Parameters
    ----------
    features : (N, k) float array, or (N,)
        What the probability is made from: a logit, mask evidence, an area.
    labels : (N,) array of 0 and 1
    smooth : bool
        Use Platt's softened targets, which keep the weights finite where the classes are separable.

    Returns
    -------
    Logistic
        ``weights`` (k,) and ``bias``, also as a pair; a constant feature gets weight 0.

    Raises
    ------
    DataError
        For mismatched, missing or non-finite rows, or labels of one class only.

    References
    ----------
    .. [1] Platt, "Probabilistic outputs for support vector machines", 1999.
    .. [2] Lin, Lin, Weng, "A note on Platt's probabilistic outputs", Machine Learning 68, 2007.

    Examples
    --------
    >>> model = fit_logistic([0.0, 1.0, 2.0, 3.0], [0, 0, 1, 1])
    >>> round(float(model.probability([1.5])[0]), 3), bool(model.weights[0] > 0)
    (0.5, True)
    """
    matrix = _matrix(features)
    truth, _ = checked(labels, np.zeros(len(matrix)), "feature rows")
    targets = _targets(truth, smooth)
    centre, spread = matrix.mean(axis=0), matrix.std(axis=0)
    varies = spread > 1e-12 * (1 + np.abs(centre))
    scale = np.where(varies, spread, 1.0)
    design = np.column_stack([np.where(varies, (matrix - centre) / scale, 0.0), np.ones(len(matrix))])
    fitted = _newton(design, targets)
    weights = np.where(varies, fitted[:-1] / scale, 0.0)
    return Logistic(weights, float(fitted[-1] - weights @ centre))


def _newton(design: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients (k + 1,) of least log-loss, by Newton's method with step halving; the last is the bias."""
    count, width = design.shape
    ridge = np.append(np.full(width - 1, _RIDGE), 0.0)

    def objective(at: NDArray[np.float64]) -> float:
        return _loss(design @ at, targets) + float(ridge @ (at * at)) / 2

    beta = np.zeros(width)
    value = objective(beta)
    for _ in range(_STEPS):
        chance = expit(design @ beta)
        slope = design.T @ (chance - targets) / count + ridge * beta
        if np.abs(slope).max() < 1e-10:
            break
        curve = (design * (chance * (1 - chance))[:, None]).T @ design / count
        step = np.linalg.solve(curve + np.diag(ridge + 1e-12), slope)
        size = 1.0
        while size > 1e-8 and objective(beta - size * step) > value:
            size /= 2
        if size <= 1e-8:
            break  # no descent left within rounding
        beta = beta - size * step
        value = objective(beta)
    return beta


def temperature(logits: ArrayLike, labels: ArrayLike, smooth: bool = False) -> float:
    """The T for which sigmoid(logit / T) explains the labels best: above 1 where the model is too sure.

    Dividing by T moves no decision at logit 0 and no order of scores.

    Parameters
    ----------
    logits : (N,) float array
    labels : (N,) array of 0 and 1
    smooth : bool
        Use Platt's softened targets; wanted on few rows or separable ones.

    Returns
    -------
    float
        T in [0.02, 50].

    Raises
    ------
    DataError
        As :func:`fit_logistic`.

    References
    ----------
    .. [1] Guo, Pleiss, Sun, Weinberger, "On calibration of modern neural networks", ICML 2017.

    Examples
    --------
    >>> round(temperature([2.0, 2.0, 2.0, -2.0], [1, 1, 0, 0]), 2)  # sigmoid(2 / T) has to be 3/4
    1.82
    """
    values = _matrix(logits)[:, 0]
    truth, values = checked(labels, values, "logits")
    targets = _targets(truth, smooth)
    low, high = np.log(_TEMPERATURES)
    # convex in 1 / T, hence a single valley in log T
    found = minimize_scalar(
        lambda power: _loss(values * np.exp(-power), targets),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-8},
    )
    return float(np.exp(found.x))
