from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from tumorscope.io.geometry import index_map, is_usable, lay_out, slice_axis, spacing_of, tilt_note, world_axes

ORDERS = list(product(permutations(range(3)), product((1, -1), repeat=3)))  # the 48


def make_affine(order: tuple[int, ...], signs: tuple[int, ...], steps: tuple[float, ...]) -> NDArray[np.float64]:
    """File axis ``a`` runs along world axis ``order[a]`` in direction ``signs[a]`` with step ``steps[a]``."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis in range(3):
        affine[order[axis], axis] = signs[axis] * steps[axis]
    affine[:3, 3] = (-11, 22, -33)
    return affine


@pytest.mark.parametrize(("order", "signs"), ORDERS)
@pytest.mark.parametrize("thick", [0, 1, 2])
def test_every_axis_order_comes_out_in_radiological_view(
    order: tuple[int, ...], signs: tuple[int, ...], thick: int
) -> None:
    steps = tuple(4.0 if order[axis] == thick else 1.0 for axis in range(3))
    layout = lay_out((5, 6, 7), make_affine(order, signs, steps))
    assert layout.plane == ("sagittal", "coronal", "axial")[thick]
    assert layout.spacing == (4.0, 1.0, 1.0) and layout.tilt < 1e-6
    down, right = layout.affine[:3, 1], layout.affine[:3, 2]
    # RAS+: down an axial slice is towards posterior, down the others towards inferior;
    # right is towards the patient's left, in a sagittal slice towards posterior
    assert np.argmin(down) == {"axial": 1, "coronal": 2, "sagittal": 2}[layout.plane] and down.min() < 0
    assert np.argmin(right) == {"axial": 0, "coronal": 0, "sagittal": 1}[layout.plane] and right.min() < 0
    assert layout.affine[:3, 0].max() == 4.0  # slices run towards +x, +y or +z


@given(
    st.permutations(range(3)),
    st.tuples(*[st.sampled_from([1, -1])] * 3),
    st.tuples(*[st.floats(0.2, 6)] * 3),
    st.tuples(*[st.integers(1, 9)] * 3),
    arrays(np.float64, (3, 3), elements=st.floats(-0.4, 0.4)),
    st.data(),
)
def test_a_voxel_keeps_its_place_in_the_world(order, signs, steps, shape, skew, data) -> None:
    affine = make_affine(tuple(order), signs, steps)
    affine[:3, :3] = (np.eye(3) + skew) @ affine[:3, :3]  # rotated, sheared: oblique
    assume(is_usable(affine))
    layout = lay_out(shape, affine)
    stored = np.arange(np.prod(shape)).reshape(shape)
    shown = layout.grid.from_file(stored)
    assert np.array_equal(layout.grid.to_file(shown), stored)
    index = tuple(data.draw(st.integers(0, n - 1)) for n in shown.shape)
    where = layout.affine @ (*index, 1)
    (file_index,) = np.argwhere(stored == shown[index])
    assert np.allclose(where, affine @ (*file_index, 1), atol=1e-6)
    assert np.allclose(layout.spacing, spacing_of(layout.affine), atol=1e-6)
    assert 0 <= layout.tilt <= 90


def test_the_slice_axis() -> None:
    def axis(shape: tuple[int, ...], steps: tuple[float, ...], order: tuple[int, ...] = (0, 1, 2)) -> int:
        return slice_axis(shape, make_affine(order, (1, 1, 1), steps))

    assert axis((20, 256, 256), (5, 1, 1)) == 0  # clearly thickest
    assert axis((256, 256, 256), (1, 1, 1.19)) == 2  # nearly isotropic: axial
    assert axis((256, 256, 256), (1.19, 1, 1), (2, 0, 1)) == 0
    assert axis((256, 24, 256), (1, 1, 1)) == 1  # isotropic by a reset header, but a slab
    assert axis((256, 130, 256), (1, 1, 1)) == 2
    assert axis((40, 64, 64), (3, 3, 1)) == 2  # two thick axes say nothing


def test_oblique_slices_are_named_by_the_nearest_plane() -> None:
    angle = np.radians(25)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1, 1, 4])
    layout = lay_out((9, 9, 9), affine)
    assert layout.plane == "axial" and layout.tilt == pytest.approx(25)
    assert tilt_note(layout) == ("oblique: the slices stand 25 degrees off axial",)
    assert tilt_note(lay_out((9, 9, 9), np.eye(4))) == ()


def test_world_axes_are_one_each_even_at_45_degrees() -> None:
    half = np.sqrt(0.5)
    affine = np.eye(4)
    affine[:2, :2] = [[half, half], [half, -half]]
    axes, _ = world_axes(affine)
    assert sorted(axes) == [0, 1, 2]


@pytest.mark.parametrize("bad", [np.zeros((4, 4)), np.diag([1.0, 1, 0, 1]), np.full((4, 4), np.nan), np.ones((4, 4))])
def test_matrices_that_place_no_voxels(bad: NDArray) -> None:
    assert not is_usable(bad)


@given(st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
def test_index_map_says_what_the_grid_does(order, flips) -> None:
    from tumorscope.scan import Grid

    grid = Grid((3, 4, 5), tuple(order), flips)
    stored = np.arange(60).reshape(3, 4, 5)
    shown = grid.from_file(stored)
    for index in product(*map(range, shown.shape)):
        file_index = (index_map(grid) @ (*index, 1))[:3].astype(int)
        assert shown[index] == stored[tuple(file_index)]
