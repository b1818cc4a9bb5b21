import numpy as np
import pytest

from tumorscope.annotation.engine import Candidate, Embedded, check, open_engine
from tumorscope.annotation.prompts import Box, Prompts
from tumorscope.errors import DataError

SLICE = Embedded("x", (16, 16), {})
MASK = np.zeros((16, 16), bool)
MASK[3:5, 3:5] = True


@pytest.mark.parametrize(
    ("prompts", "previous"),
    [
        (Prompts(), None),
        (Prompts().click(3, 3, positive=False), None),
        (Prompts().click(3, 3, positive=False), Candidate(np.zeros((16, 16), bool), None)),
    ],
)
def test_nothing_says_where(prompts: Prompts, previous: Candidate | None) -> None:
    with pytest.raises(DataError, match="nothing says where the lesion is"):
        check(SLICE, prompts, previous, "x")


@pytest.mark.parametrize(
    ("prompts", "previous"),
    [
        (Prompts().click(3, 3), None),
        (Prompts().boxed(Box(1, 1, 5, 5)), None),
        (Prompts().click(9, 9, positive=False), Candidate(MASK, None)),
    ],
)
def test_enough_is_enough(prompts: Prompts, previous: Candidate | None) -> None:
    check(SLICE, prompts, previous, "x")


def test_another_engines_slice_and_another_size_are_refused() -> None:
    with pytest.raises(DataError, match="embedded by 'x' and asked of 'y'"):
        check(SLICE, Prompts().click(3, 3), None, "y")
    with pytest.raises(DataError, match="give one of its size"):
        check(SLICE, Prompts().click(3, 3), Candidate(MASK[:8], None), "x")


def test_an_unknown_engine_gets_the_nearest() -> None:
    with pytest.raises(DataError, match="unknown engine 'clik'; did you mean 'click'"):
        open_engine("clik")
