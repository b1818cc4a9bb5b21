"""Which plane and which kind of sequence a head shows: guesses with a confidence, or none.

Two linear models on prepared heads, stored as plain numbers in ``views.json``. They were fitted, and their errors
measured on collections that the fit had not seen, by ``benchmarks/fit_views.py``; its docstring has the numbers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tumorscope.audit.features import hog, tissue

MODELS = Path(__file__).with_name("views.json")
PLANES = ("axial", "coronal", "sagittal")
#: T1 (with contrast agent or without) and FLAIR are not told apart: on collections that the fit had not seen that
#: went wrong in two of five cases.
SEQUENCES = ("t1 or flair", "t2")


@dataclass(frozen=True)
class Linear:
    """A multinomial logistic model: probabilities = softmax(features @ weights + bias).

    Parameters
    ----------
    classes : tuple of str
        The K answers.
    weights : (F, K) float array
    bias : (K,) float array
    least : float
        Below this probability the answer is withheld.
    """

    classes: tuple[str, ...]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    least: float

    def probabilities(self, features: NDArray) -> NDArray[np.float64]:
        """(N, K) probabilities of (N, F) features."""
        logits = features @ self.weights + self.bias
        raised = np.exp(logits - logits.max(axis=1, keepdims=True))
        return raised / raised.sum(axis=1, keepdims=True)

    def answers(self, features: NDArray) -> list[tuple[str | None, float]]:
        """The most probable class of each row, None where it is not probable enough, and its probability."""
        found = self.probabilities(features)
        best = found.argmax(axis=1)
        sure = found[np.arange(len(found)), best]
        return [
            (self.classes[number] if p >= self.least else None, float(p)) for number, p in zip(best, sure, strict=True)
        ]


@dataclass(frozen=True)
class View:
    """What one head shows; a guess is None where the model is not sure enough.

    Parameters
    ----------
    plane_guess : str or None
        ``axial``, ``coronal`` or ``sagittal``.
    plane_confidence : float
        Probability of the most probable plane.
    sequence_guess : str or None
        ``t2``, or ``t1 or flair``.
    sequence_confidence : float
    """

    plane_guess: str | None
    plane_confidence: float
    sequence_guess: str | None
    sequence_confidence: float


def views(heads: NDArray[np.uint8]) -> list[View]:
    """Plane and sequence of (N, 64, 64) prepared heads (`measure.Measured.heads`).

    Examples
    --------
    >>> views(np.zeros((1, 64, 64), np.uint8))[0].plane_guess
    """
    plane, sequence = models()
    blank: NDArray[np.bool_] = np.asarray(~heads.any(axis=(1, 2)))
    both = zip(blank, plane.answers(hog(heads)), sequence.answers(tissue(heads)), strict=True)
    return [View(None, 0.0, None, 0.0) if empty else View(*first, *second) for empty, first, second in both]


@cache
def models() -> tuple[Linear, Linear]:
    """The models of plane and sequence."""
    stored = json.loads(MODELS.read_text(encoding="utf-8"))
    return _linear(stored["plane"]), _linear(stored["sequence"])


def _linear(stored: dict) -> Linear:
    return Linear(
        tuple(stored["classes"]), np.array(stored["weights"], float), np.array(stored["bias"], float), stored["least"]
    )


@cache
def fingerprint() -> str:
    """Eight hex digits that change with the models."""
    return hashlib.sha256(MODELS.read_bytes()).hexdigest()[:8]


def sentence(guesses: Sequence[str | None], what: str = "plane") -> str:
    """How many scans show what, for a person.

    Examples
    --------
    >>> sentence(["axial", "axial", "sagittal", None])
    'plane by guess: 2 axial, 1 sagittal, 1 unknown'
    """
    known = sorted({guess for guess in guesses if guess is not None}, key=lambda one: (-guesses.count(one), one))
    parts = [f"{guesses.count(one)} {one}" for one in known]
    bare = sum(guess is None for guess in guesses)
    return f"{what} by guess: " + ", ".join(parts + ([f"{bare} unknown"] if bare else []) or ["nothing"])
