from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorscope.io.dicom.stack import Stack, arrange, normal_of, plane_affine

AXIAL = [1, 0, 0, 0, 1, 0]


def _arrange(heights: list[float], order: list[float] | None = None) -> Stack:
    return arrange([[1, 2, z] for z in heights], AXIAL, [1, 1], order or list(range(len(heights))))


def test_sorted_by_position_and_not_by_number() -> None:
    stack = _arrange([10, 0, 20, 5, 15])
    assert stack.members == ((1,), (3,), (0,), (4,), (2,)) and stack.repeats == 1 and stack.notes == ()
    # RAS+: x and y change sign, slices step by 5 mm
    assert stack.affine[:3, 0].tolist() == [0, 0, 5] and stack.affine[:3, 3].tolist() == [-1, -2, 0]


@pytest.mark.parametrize(
    ("heights", "members", "note"),
    [
        ([0, 5, 15, 20], 5, "1 slice is missing: number 3 of 5; its place is blank"),
        ([0, 5, 10, 25, 30], 7, "2 slices are missing: numbers 4, 5 of 7; their places are blank"),
        ([0, 5, 15, 20, 30, 35], 8, "2 slices are missing: numbers 3, 6 of 8; their places are blank"),
    ],
)
def test_missing_slices_are_counted_and_leave_their_place(heights, members, note) -> None:
    stack = _arrange(heights)
    assert len(stack.members) == members and stack.notes == (note,)
    for slot, place in enumerate(stack.members):  # each slice stays where it is in the world
        if place:
            assert heights[place[0]] == pytest.approx((stack.affine @ (slot, 0, 0, 1))[2])


def test_a_gap_that_is_no_whole_number_of_slices() -> None:
    stack = _arrange([0, 5, 10, 22, 27])
    assert len(stack.members) == 5
    assert "seem to be missing: steps go from 5.0 to 12.0 mm" in stack.notes[0]
    assert "unevenly spaced" in stack.notes[1]


def test_a_far_away_slice_does_not_make_a_thousand_blank_ones() -> None:
    stack = _arrange([0, 1, 2, 1002])
    assert len(stack.members) == 4 and "seem to be missing" in stack.notes[0]


def test_one_position_twice_keeps_the_lower_instance_number() -> None:
    stack = _arrange([0, 5, 5.004, 10], order=[1, 7, 2, 3])
    assert stack.members == ((0,), (2,), (3,))
    assert stack.notes == ("1 slice at a position that another holds; the lower instance number was kept",)


def test_every_position_twice_is_two_channels_by_instance_number() -> None:
    stack = _arrange([0, 5, 10, 0, 5, 10], order=[1, 2, 3, 14, 15, 16])
    assert stack.repeats == 2 and stack.members == ((0, 3), (1, 4), (2, 5)) and stack.notes == ()
    assert _arrange([0, 0, 0]).repeats == 3


def test_one_slice_steps_by_its_thickness() -> None:
    stack = arrange([[0, 0, 7]], AXIAL, [1, 1], [1], thickness=3)
    assert stack.affine[:3, 0].tolist() == [0, 0, 3]


def test_a_tilted_gantry_keeps_its_shear() -> None:
    stack = arrange([[0, 2.0 * i, 5.0 * i] for i in range(4)], AXIAL, [1, 1], range(4))
    assert stack.notes == () and stack.affine[:3, 0].tolist() == [0, -2, 5]


@given(
    st.integers(2, 12),
    st.floats(0.5, 8),
    st.tuples(*[st.floats(-3, 3)] * 3),
    st.tuples(*[st.floats(-200, 200)] * 3),
    st.randoms(use_true_random=False),
)
def test_whatever_the_order_of_files_each_slice_keeps_its_place(count, step, turns, origin, random) -> None:
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_euler("xyz", turns).as_matrix()
    cosines = [*turn[:, 0], *turn[:, 1]]
    numbers = list(range(count))
    random.shuffle(numbers)
    positions = [np.asarray(origin) + number * step * turn[:, 2] for number in numbers]
    stack = arrange(positions, cosines, [0.7, 0.9], numbers)
    assert stack.notes == ()
    assert [numbers[place[0]] for place in stack.members] == list(range(count))
    for slot, place in enumerate(stack.members):
        corner = positions[place[0]] + turn[:, 1] * 0.7 * 4 + turn[:, 0] * 0.9 * 3  # row 4, column 3, in LPS
        assert np.allclose((stack.affine @ (slot, 4, 3, 1))[:3], corner * [-1, -1, 1], atol=1e-6)


def test_normal_is_right_handed() -> None:
    assert normal_of([0, 1, 0, 0, 0, -1]).tolist() == [-1, 0, 0]
    assert plane_affine([0, 0, 0], AXIAL, [2, 3], np.array([0, 0, 4.0])).diagonal().tolist() == [0, -2, 0, 1]
