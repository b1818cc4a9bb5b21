from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from tumorscope.annotation.engine import Candidate, Embedded
from tumorscope.annotation.prompts import Prompts
from tumorscope.annotation.trial import MOST_CLICKS, boxed, clicked
from tumorscope.errors import DataError


@dataclass(frozen=True)
class Painter:
    """A disc of radius 6 at each positive click, a hole at each negative; the box where there is one."""

    name: str = "painter"
    version: str = "1"

    def embed(self, pixels: NDArray) -> Embedded:
        return Embedded(self.name, pixels.shape, {})

    def segment(self, embedded: Embedded, prompts: Prompts, previous: Candidate | None = None) -> tuple[Candidate, ...]:
        y, x = np.mgrid[: embedded.shape[0], : embedded.shape[1]]
        mask = np.zeros(embedded.shape, bool)
        if prompts.box is not None:
            box = prompts.box
            mask |= (y >= box.top) & (y <= box.bottom) & (x >= box.left) & (x <= box.right)
        for point in prompts.points:
            mask[np.hypot(y - point.y, x - point.x) <= 6] = point.positive
        return (Candidate(mask, 0.5), Candidate(~mask, 0.1))


def square() -> NDArray[np.bool_]:
    truth = np.zeros((64, 64), bool)
    truth[20:40, 20:40] = True
    return truth


def test_a_good_painter_gets_better_with_clicks() -> None:
    engine, truth = Painter(), square()
    trial = clicked(engine, engine.embed(truth), truth)
    disc = 113  # pixels within 6 of a pixel's centre
    assert trial.at(1) == pytest.approx(2 * disc / (disc + 400))
    assert trial.at(MOST_CLICKS) > trial.at(3) > trial.at(1)
    assert trial.at(trial.clicks_to(0.8)) >= 0.8 > trial.at(trial.clicks_to(0.8) - 1)
    assert [rated for rated, _ in trial.qualities] == [0.5, 0.1]


def test_it_stops_where_nothing_is_wrong() -> None:
    engine, truth = Painter(), np.zeros((64, 64), bool)
    y, x = np.mgrid[:64, :64]
    truth[np.hypot(y - 30, x - 30) <= 6] = True
    assert clicked(engine, engine.embed(truth), truth).after == (1.0,)


def test_boxes_that_are_off_cost_dice() -> None:
    engine, truth = Painter(), square()
    found = boxed(engine, engine.embed(truth), truth, np.random.default_rng(0))
    assert found[0.0] == 1.0
    assert 1.0 > found[0.05] > found[0.2] > 0.5


def test_without_a_lesion_there_is_no_trial() -> None:
    engine, nothing = Painter(), np.zeros((9, 9), bool)
    with pytest.raises(DataError, match="needs a lesion"):
        clicked(engine, engine.embed(nothing), nothing)
    with pytest.raises(DataError, match="needs a lesion"):
        boxed(engine, engine.embed(nothing), nothing, np.random.default_rng(0))
