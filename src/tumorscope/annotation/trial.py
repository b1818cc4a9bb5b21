"""How good an engine is, as the field says it: Dice after so many clicks, clicks to a Dice, boxes that are off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tumorscope.annotation.engine import Candidate, Embedded, Engine
from tumorscope.annotation.prompts import Box, Prompts
from tumorscope.annotation.simulation import jittered, next_click
from tumorscope.errors import DataError
from tumorscope.evaluation.segmentation import dice
from tumorscope.scan import BoolArray

MOST_CLICKS = 20
GOAL = 0.80  # Dice
JITTERS = (0.0, 0.05, 0.10, 0.20)  # how far each side of a box is off at most, share of its length
DRAWS = 3  # boxes of each jitter above 0; their mean counts


@dataclass(frozen=True)
class Trial:
    """What one lesion on one slice came to.

    Parameters
    ----------
    after : tuple of float
        Dice after 1, 2, … clicks; it ends early where nothing is left to correct, and then stays.
    boxes : dict of float to float
        Dice by jitter of the box.
    qualities : tuple of (float, float)
        Predicted IoU of each first answer beside its real IoU.
    """

    after: tuple[float, ...]
    boxes: dict[float, float]
    qualities: tuple[tuple[float, float], ...] = ()

    def at(self, clicks: int) -> float:
        """Dice after so many clicks.

        Examples
        --------
        >>> Trial((0.5, 0.9), {}).at(5)
        0.9
        """
        return self.after[min(clicks, len(self.after)) - 1]

    def clicks_to(self, goal: float = GOAL, most: int = MOST_CLICKS) -> int:
        """The number of clicks after which Dice first reaches ``goal``; ``most`` where it never does.

        Examples
        --------
        >>> Trial((0.5, 0.9), {}).clicks_to(0.8), Trial((0.5,), {}).clicks_to(0.8)
        (2, 20)
        """
        reached = [clicks for clicks, value in enumerate(self.after[:most], 1) if value >= goal]
        return reached[0] if reached else most


def clicked(engine: Engine, embedded: Embedded, truth: BoolArray, most: int = MOST_CLICKS) -> Trial:
    """The trial of an engine by clicks alone, each in the middle of what is most wrong; the best-rated answer counts.

    Parameters
    ----------
    engine : Engine
    embedded : Embedded
        The slice.
    truth : (H, W) bool array
        One lesion, or all of them asked for as one.
    most : int
        Clicks at most; it stops once the mask is the truth.

    Raises
    ------
    DataError
        If the truth is empty: there is nothing to click on.
    """
    if not truth.any():
        raise DataError("truth: is empty; a trial by clicks needs a lesion")
    guess, answer, prompts = np.zeros_like(truth), None, Prompts()
    after: list[float] = []
    rated: list[tuple[float, float]] = []
    for _ in range(most):
        point = next_click(truth, guess)
        if point is None:
            break
        prompts = prompts.click(point.y, point.x, positive=point.positive)
        answers = engine.segment(embedded, prompts, answer)
        answer, guess = answers[0], answers[0].mask
        rated += [] if after else [(one.quality, _iou(one.mask, truth)) for one in answers if one.quality is not None]
        after.append(dice(guess, truth))
    return Trial(tuple(after), {}, tuple(rated))


def boxed(
    engine: Engine, embedded: Embedded, truth: BoolArray, rng: np.random.Generator, jitters: Sequence[float] = JITTERS
) -> dict[float, float]:
    """Dice of the best-rated answer to a box around the truth whose sides are off by up to each share of ``jitters``.

    A jitter of 0 is the box of the truth itself, which no annotator draws: it is the bound, never the figure.
    """
    exact = Box.around(truth)
    if exact is None:
        raise DataError("truth: is empty; a trial by boxes needs a lesion")
    found = {}
    for share in jitters:
        boxes = [jittered(exact, share, rng, embedded.shape) for _ in range(DRAWS if share else 1)]
        answers: list[Candidate] = [engine.segment(embedded, Prompts(box=box))[0] for box in boxes]
        found[share] = float(np.mean([dice(answer.mask, truth) for answer in answers]))
    return found


def _iou(mask: BoolArray, truth: BoolArray) -> float:
    union = int((mask | truth).sum())
    return float((mask & truth).sum() / union) if union else 1.0


def correlation(trials: Sequence[Trial]) -> float:
    """Pearson's correlation of predicted and real IoU over the first answers of all trials; NaN without any.

    Examples
    --------
    >>> correlation([Trial((1.0,), {}, ((0.2, 0.1), (0.9, 0.8)))])
    1.0
    """
    pairs: NDArray[np.float64] = np.array([pair for trial in trials for pair in trial.qualities], float)
    if len(pairs) < 2 or (pairs.max(axis=0) == pairs.min(axis=0)).any():
        return float("nan")
    return round(float(np.corrcoef(pairs[:, 0], pairs[:, 1]).item(0, 1)), 12)
