"""Probabilities put right by validation scans, and never by the scans they are judged on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression, minimize_scalar
from scipy.special import expit, log_softmax, logit

from tumorscope.errors import DataError, look_up
from tumorscope.evaluation.calibration import temperature
from tumorscope.evaluation.predictions import Predictions

Values = NDArray[np.float64]

METHODS = ("temperature", "isotonic")
VALIDATION = "val"
EDGE = 1e-6  # probabilities of 0 and 1 have no logit; no model knows more than this
_TEMPERATURES = (0.02, 50.0)  # as in `calibration`
_FEW = 1000  # rows under which isotonic regression follows noise more than the model's error [Niculescu-Mizil 2005]


@dataclass(frozen=True)
class Steps:
    """A rising step function, linear between steps: isotonic regression of label on probability."""

    at: Values
    value: Values

    def __call__(self, probability: ArrayLike) -> Values:
        """The values (N,) at ``probability`` (N,); beyond the first and last step, theirs."""
        return np.interp(np.asarray(probability, dtype=np.float64), self.at, self.value)


def isotonic(labels: ArrayLike, scores: ArrayLike) -> Steps:
    """The rising function of a score that comes nearest to the labels (pool adjacent violators).

    Parameters
    ----------
    labels : (N,) array of 0 and 1
    scores : (N,) float array

    References
    ----------
    .. [1] Zadrozny, Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002.

    Examples
    --------
    >>> isotonic([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4])([0.1, 0.2, 0.3, 0.4]).tolist()
    [0.0, 0.5, 0.5, 1.0]
    """
    values, member, count = np.unique(np.asarray(scores, np.float64), return_inverse=True, return_counts=True)
    if not values.size:
        raise DataError("calibration: there are no rows; give at least one scan")
    shares = np.bincount(member, np.asarray(labels, np.float64)) / count
    return Steps(values, np.asarray(isotonic_regression(shares, weights=count).x))


@dataclass(frozen=True)
class Calibrator:
    """A correction of probabilities that remembers which scans it was fitted on.

    Applying it to predictions of those scans, or of scans in their groups, is an error.

    Attributes
    ----------
    method : {"temperature", "isotonic"}
    classes : tuple of str
    fitted : Predictions
        The validation rows.
    temperature : float
        Above 1 where the model was too sure; NaN for isotonic.
    steps : tuple of Steps
        One for label 1, or one for each of several classes; empty for temperature.
    """

    method: str
    classes: tuple[str, ...]
    fitted: Predictions = field(repr=False)
    temperature: float = float("nan")
    steps: tuple[Steps, ...] = field(default=(), repr=False)

    def __call__(self, predictions: Predictions) -> Predictions:
        """The same predictions with corrected probabilities.

        Raises
        ------
        DataError
            If the classes differ, the scores are no probabilities, or a scan or its group was fitted on.
        """
        _require_probabilities(predictions)
        if predictions.classes != self.classes:
            raise DataError(
                f"{predictions.name}: classes {', '.join(predictions.classes)} are not the calibrator's "
                f"({', '.join(self.classes)}); fit one on validation scans of the same model"
            )
        refuse_overlap(predictions, self.fitted, "calibration was fitted on")
        return replace(predictions, scores=self.apply(predictions.scores))

    def apply(self, probabilities: ArrayLike) -> Values:
        """Corrected probabilities, (N,) or (N, K); knows nothing of where they come from."""
        values = np.asarray(probabilities, dtype=np.float64)
        if self.method == "temperature":
            if values.ndim == 1:
                return expit(logit(np.clip(values, EDGE, 1 - EDGE)) / self.temperature)
            return np.exp(log_softmax(np.log(np.clip(values, EDGE, 1)) / self.temperature, axis=1))
        if values.ndim == 1:
            return self.steps[0](values)
        raw = np.stack([steps(values[:, k]) for k, steps in enumerate(self.steps)], axis=1)
        total = raw.sum(axis=1, keepdims=True)
        return np.where(total > 0, raw / np.where(total > 0, total, 1), 1 / len(self.steps))

    def sentence(self) -> str:
        """What the correction does, and what it was fitted on."""
        rows = f"fitted on {len(self.fitted)} validation scans in {len(np.unique(self.fitted.groups))} groups"
        if self.method == "temperature":
            side = "too sure" if self.temperature > 1 else "not sure enough"
            return f"Temperature {self.temperature:.2f}: the model was {side} ({rows})."
        few = f"; under {_FEW} scans it follows chance too" if len(self.fitted) < _FEW else ""
        return f"Isotonic regression of the label on the stated probability ({rows}{few})."


def fit_calibrator(predictions: Predictions, method: str = "temperature", split: str = VALIDATION) -> Calibrator:
    """A correction fitted on validation scans alone.

    The rows must say that they are validation: only those whose column ``split`` is ``split`` are used. There is no way
    to name "test" or "train"; for a file of validation scans without that column, add it
    (``Predictions.of(table.with_columns(split=pl.lit("val")))``).

    Parameters
    ----------
    predictions : Predictions
        With a column ``split``. Rows of other splits are not looked at.
    method : {"temperature", "isotonic"}
        Temperature has one parameter, keeps decisions at one half and fits few scans. Isotonic takes any rising form
        and wants about a thousand [1]_.
    split : str
        "val", or another word for it ("calibration", "validation").

    Raises
    ------
    DataError
        If ``split`` is "test" or "train", no row says that it is validation, scores are no probabilities, or one class
        only is there.

    References
    ----------
    .. [1] Niculescu-Mizil, Caruana, "Predicting good probabilities with supervised learning", ICML 2005.

    Examples
    --------
    >>> import polars as pl
    >>> table = pl.DataFrame({"id": list("abcd"), "label": [1, 1, 0, 0], "probability": [0.99, 0.01, 0.01, 0.3],
    ...                       "split": ["val"] * 4})
    >>> fit_calibrator(Predictions.of(table)).temperature > 1
    True
    """
    look_up(method, METHODS, "calibration", DataError)
    rows = validation(predictions, split, "calibration")
    _require_probabilities(rows)
    if len(np.unique(rows.truth)) < 2:
        raise DataError(f"{rows.name}: all validation scans have one label; calibration needs scans of both")
    if method == "isotonic":
        columns = [rows.scores] if rows.binary else list(rows.scores.T)
        wanted = [rows.truth == 1] if rows.binary else [rows.truth == k for k in range(len(rows.classes))]
        steps = tuple(isotonic(label, column) for label, column in zip(wanted, columns, strict=True))
        return Calibrator(method, rows.classes, rows, steps=steps)
    if rows.binary:
        found = temperature(logit(np.clip(rows.scores, EDGE, 1 - EDGE)), rows.truth)
    else:
        found = _multiclass_temperature(np.log(np.clip(rows.scores, EDGE, 1)), rows.truth)
    return Calibrator(method, rows.classes, rows, temperature=found)


def _multiclass_temperature(logits: Values, truth: NDArray[np.int64]) -> float:
    rows = np.arange(len(truth))
    low, high = np.log(_TEMPERATURES)
    found = minimize_scalar(
        lambda power: -float(log_softmax(logits * np.exp(-power), axis=1)[rows, truth].mean()),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-8},
    )
    return float(np.exp(found.x))


def validation(predictions: Predictions, split: str, what: str) -> Predictions:
    """The rows that say they are validation; an error for test and training rows."""
    if split.casefold() in ("test", "train", "training"):
        raise DataError(f"{what}: split '{split}' cannot be fitted on; a number from it would flatter. Fit on 'val'")
    return predictions.part(split)


def refuse_overlap(predictions: Predictions, fitted: Predictions, what: str) -> None:
    """Raise a DataError if a scan, or one of its group, stands in ``fitted``."""
    shared = predictions.tied_to(fitted)
    if shared:
        raise DataError(
            f"{predictions.name}: '{shared[0]}' and {len(shared) - 1} more are scans, or in groups, that {what}; "
            "evaluate on scans that nothing was fitted on"
        )


def _require_probabilities(predictions: Predictions) -> None:
    if not predictions.probabilities:
        raise DataError(f"{predictions.name}: scores are no probabilities; give a column 'probability'")
