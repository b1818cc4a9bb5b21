import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorscope.annotation.prompts import MOST_PROMPTS, Box, Point, Prompts, Scribble, drawn
from tumorscope.errors import DataError

places = st.floats(0, 50, allow_nan=False)
points = st.builds(Point, places, places, st.booleans())
lines = st.builds(Scribble, st.lists(st.tuples(places, places), min_size=1, max_size=5).map(tuple), st.booleans())
boxes = st.tuples(places, places, places, places).map(
    lambda e: Box(min(e[0], e[2]), min(e[1], e[3]), max(e[0], e[2]), max(e[1], e[3]))
)
OUTSIDE = Prompts(scribbles=(Scribble(((9.0, 1.0),)),))
prompts = st.builds(
    Prompts,
    st.lists(points, max_size=4).map(tuple),
    st.none() | boxes,
    st.lists(lines, max_size=3).map(tuple),
)


@given(prompts)
def test_prompts_survive_json(some: Prompts) -> None:
    assert Prompts.from_dict(json.loads(json.dumps(some.to_dict()))) == some


@pytest.mark.parametrize(
    "given_",
    [
        {"points": [{"y": 1}]},
        {"points": [{"y": 1, "x": math.nan}]},
        {"points": [{"y": "here", "x": 2}]},
        {"points": [{"y": True, "x": 2}]},
        {"points": 3},
        {"box": {"top": 0, "left": 0, "bottom": 5}},
        {"box": {"top": 9, "left": 0, "bottom": 5, "right": 5}},
        {"scribbles": [{"path": []}]},
        {"scribbles": [{"path": [[1, 2, 3]]}]},
        {"points": [{"y": 1, "x": 1}] * (MOST_PROMPTS + 1)},
        [],
    ],
)
def test_what_means_nothing_is_refused(given_: dict) -> None:
    with pytest.raises(DataError, match="prompts:"):
        Prompts.from_dict(given_)


@pytest.mark.parametrize(
    "outside",
    [
        Prompts().click(-1, 3),
        Prompts().click(3, 8),
        Prompts().boxed(Box(0, 0, 7, 20)),
        Prompts(scribbles=(Scribble(((9, 1),)),)),
    ],
)
def test_a_prompt_outside_the_slice_is_refused(outside: Prompts) -> None:
    outside.check()
    with pytest.raises(DataError, match="outside the slice of 8x8"):
        outside.check((8, 8))


def test_only_prompts_of_the_sign_are_drawn() -> None:
    some = Prompts().click(2, 3).click(10, 12, positive=False)
    for positive, place in ((True, (2, 3)), (False, (10, 12))):
        assert np.argwhere(drawn(some, (16, 16), positive=positive, width=1)).tolist() == [list(place)]


def test_a_scribble_is_a_line_of_its_width() -> None:
    line = Prompts(scribbles=(Scribble(((8.0, 2.0), (8.0, 13.0))),))
    marked = drawn(line, (16, 16), positive=True, width=3)
    assert marked[8, 2:14].all()
    assert marked[7:10, 5].all() and not marked[:6].any() and not marked[11:].any()


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_the_box_around_a_mask_holds_it_and_no_smaller_one_does(height: int, width: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.3
    box = Box.around(mask)
    if box is None:
        assert not mask.any()
        return
    inside = mask[int(box.top) : int(box.bottom) + 1, int(box.left) : int(box.right) + 1]
    assert inside.sum() == mask.sum()
    assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
