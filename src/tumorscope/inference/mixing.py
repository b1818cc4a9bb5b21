"""How much picture and how much noise a diffusion model sees at each time; no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumorscope.errors import RecipeError

Times = TypeVar("Times")  # a float, an array or a tensor

LARGEST_SIGNAL, SMALLEST_SIGNAL = 0.95, 0.02  # of the reference, at time 0 and 1


@dataclass(frozen=True)
class Schedule:
    """Angles linear in time: ``noisy = cos(angle) * picture + sin(angle) * noise``.

    Signal rate ``cos`` and noise rate ``sin`` have squares that sum to 1, so that a picture of mean 0 and variance 1
    stays at variance 1. Time runs from 0, nearly clean, to 1, nearly noise.

    Parameters
    ----------
    largest_signal, smallest_signal : float
        Signal rates at time 0 and 1; 1 > largest > smallest > 0, or 1 for the largest itself.

    Raises
    ------
    RecipeError
        For rates out of order.

    References
    ----------
    .. [1] Song, Meng, Ermon, "Denoising diffusion implicit models", ICLR 2021.
    .. [2] Nichol, Dhariwal, "Improved denoising diffusion probabilistic models", ICML 2021 (cosine schedule).

    Examples
    --------
    >>> signal, noise = Schedule().rates([0.0, 1.0])
    >>> signal.round(3).tolist(), (signal**2 + noise**2).round(6).tolist()
    ([0.95, 0.02], [1.0, 1.0])
    """

    largest_signal: float = LARGEST_SIGNAL
    smallest_signal: float = SMALLEST_SIGNAL

    def __post_init__(self) -> None:
        if not 0 < self.smallest_signal < self.largest_signal <= 1:
            raise RecipeError(
                f"schedule: signal rates {self.largest_signal:g} to {self.smallest_signal:g} do not fall in (0, 1]; "
                "give for example 0.95 and 0.02"
            )

    @property
    def first(self) -> float:
        """Angle at time 0, radians."""
        return math.acos(self.largest_signal)

    @property
    def last(self) -> float:
        """Angle at time 1, radians."""
        return math.acos(self.smallest_signal)

    def angle(self, times: Times) -> Times:
        """Angles, radians, of times in 0…1: a float, an array or a tensor."""
        angle: Any = self.first + cast("Any", times) * (self.last - self.first)
        return cast("Times", angle)

    def rates(self, times: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Signal and noise rates at times in 0…1, of the times' shape."""
        angle = self.angle(np.asarray(times, np.float64))
        return np.cos(angle), np.sin(angle)
