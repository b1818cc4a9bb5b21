from __future__ import annotations

import itertools
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorscope.errors import ScanError
from tumorscope.scan import Grid, Scan, Source

AXIS_ORDERS = [  # all 48 ways in which a file's three axes can lie against a scan's
    (order, flips) for order in itertools.permutations(range(3)) for flips in itertools.product((False, True), repeat=3)
]


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=2, max_size=3)))
    order = tuple(draw(st.permutations(range(len(shape)))))
    flips = tuple(draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape))))
    return Grid(shape, order, flips)


def counted(shape: tuple[int, ...]) -> np.ndarray:
    """Every element differs, so that any mix-up shows."""
    return np.arange(np.prod(shape)).reshape(shape)


def channels(count: int) -> Scan:
    """A (count, 3, 4) scan whose channel i is filled with i."""
    pixels = np.stack([np.full((3, 4), i, np.float32) for i in range(count)])
    grid = Grid((3, 4), (0, 1), (False, False))
    return Scan(pixels, "CYX", grid, Source(Path("stack.tif"), "tiff"), spacing=(1.0, 2.0))


@pytest.mark.parametrize(("order", "flips"), AXIS_ORDERS)
def test_grid_inverts_for_all_48_axis_orders(order: tuple[int, ...], flips: tuple[bool, ...]) -> None:
    stored = counted((2, 3, 5))
    grid = Grid(stored.shape, order, flips)
    assert np.array_equal(grid.to_file(grid.from_file(stored)), stored)


def test_the_48_axis_orders_are_48_different_arrays() -> None:
    stored = counted((2, 2, 2))
    seen = {Grid((2, 2, 2), order, flips).from_file(stored).tobytes() for order, flips in AXIS_ORDERS}
    assert len(seen) == 48


@given(grids())
def test_grid_inverts_from_either_side(grid: Grid) -> None:
    stored = counted(grid.shape)
    shown = grid.from_file(stored)
    assert shown.shape == tuple(grid.shape[axis] for axis in grid.order)
    assert np.array_equal(grid.to_file(shown), stored)
    assert np.array_equal(grid.from_file(grid.to_file(shown)), shown)


def test_grid_transposes_first_and_flips_the_scan_axes_after() -> None:
    grid = Grid((2, 3), (1, 0), (True, False))
    assert grid.from_file(np.array([[0, 1, 2], [3, 4, 5]])).tolist() == [[2, 5], [1, 4], [0, 3]]


def test_grid_gives_a_view_of_the_stored_array() -> None:
    stored = counted((3, 4))
    assert np.shares_memory(Grid((3, 4), (1, 0), (True, True)).from_file(stored), stored)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64, bool])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 3, 4)])
def test_a_scan_of_an_array_is_contiguous_float32_on_its_own_grid(shape: tuple[int, ...], dtype: type) -> None:
    array = np.ones(shape, dtype).T
    scan = Scan.of(array, name="made")
    assert scan.pixels.dtype == np.float32
    assert scan.pixels.flags.c_contiguous
    assert scan.shape == array.shape
    assert scan.is_volume is (array.ndim == 3)
    assert np.array_equal(scan.grid.to_file(scan.pixels), array)
    assert (scan.spacing, scan.affine, scan.plane, scan.source.sides_known) == (None, None, None, False)


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2, 2)])
def test_an_array_that_is_neither_image_nor_volume_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ScanError, match=rf"x\.png: a {len(shape)}-D array is neither"):
        Scan.of(np.zeros(shape), name="x.png")


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (0, 3, 3)])
def test_an_empty_array_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ScanError, match="no pixels"):
        Scan.of(np.zeros(shape))


@pytest.mark.parametrize(
    ("pixels", "axes", "finding"),
    [
        (np.zeros((2, 2), np.float32), "XY", "not one of YX, ZYX, CYX, CZYX"),
        (np.zeros((2, 2), np.float32), "ZYX", "2-D pixels do not fit"),
        (np.zeros((2, 2, 2), np.float32), "YX", "3-D pixels do not fit"),
        (np.zeros((2, 2), np.float64), "YX", "holds float32"),
        (np.zeros((2, 2), np.uint8), "YX", "holds float32"),
    ],
)
def test_pixels_that_contradict_their_axes_are_refused(pixels: np.ndarray, axes: str, finding: str) -> None:
    grid = Grid((2, 2), (0, 1), (False, False))
    with pytest.raises(ScanError, match=finding) as caught:
        Scan(pixels, axes, grid, Source(Path("folder/scan.png"), "png"))
    assert str(caught.value).startswith("scan.png: ")


def test_a_channel_is_taken_out_with_the_spacing_kept() -> None:
    scan = channels(3)
    assert scan.shape == (3, 4)
    taken = scan.channel(2)
    assert (taken.axes, taken.shape, taken.spacing) == ("YX", (3, 4), (1.0, 2.0))
    assert taken.pixels.flags.c_contiguous
    assert np.all(taken.pixels == 2)


def test_a_channel_of_a_volume_is_a_volume() -> None:
    pixels = np.zeros((2, 3, 4, 5), np.float32)
    scan = Scan(pixels, "CZYX", Grid((3, 4, 5), (0, 1, 2), (False,) * 3), Source(Path("four.nii"), "nifti"))
    assert (scan.is_volume, scan.shape) == (True, (3, 4, 5))
    assert scan.channel(1).axes == "ZYX"


@pytest.mark.parametrize("index", [-1, 3, 99])
def test_a_channel_that_is_not_there_is_refused(index: int) -> None:
    with pytest.raises(ScanError, match=rf"stack\.tif: there is no channel {index}; it has 3"):
        channels(3).channel(index)


def test_a_scan_without_channels_has_exactly_channel_0() -> None:
    scan = Scan.of(np.zeros((2, 2)))
    assert scan.channel(0) is scan
    with pytest.raises(ScanError, match="it has 1"):
        scan.channel(1)


def test_notes_are_added_and_the_old_scan_stays_as_it_was() -> None:
    scan = Scan.of(np.zeros((2, 2)))
    noted = scan.noting("first").noting("second", "third")
    assert noted.source.notes == ("first", "second", "third")
    assert scan.source.notes == ()
    assert noted.pixels is scan.pixels


def test_a_scan_cannot_be_changed_in_place() -> None:
    scan = Scan.of(np.zeros((2, 2)))
    with pytest.raises(FrozenInstanceError):
        scan.axes = "ZYX"  # type: ignore[misc]
    with pytest.raises(ScanError):
        replace(scan, axes="ZYX")


@pytest.mark.parametrize(
    ("axes", "shape"), [("YX", (4, 5)), ("ZYX", (3, 4, 5)), ("CYX", (2, 4, 5)), ("CZYX", (2, 3, 4, 5))]
)
def test_a_scan_is_seen_by_its_middle_slice_and_mean_channel(axes: str, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).random(shape).astype(np.float32)
    spatial = shape[1:] if axes[0] == "C" else shape
    scan = Scan(
        pixels, axes, Grid(spatial, tuple(range(len(spatial))), (False,) * len(spatial)), Source(Path("x"), "array")
    )
    expected = {"YX": pixels, "ZYX": pixels[1:2].squeeze(), "CYX": pixels.mean(0), "CZYX": pixels.mean(0)}[axes]
    assert np.allclose(scan.middle(), expected[1] if axes == "CZYX" else expected)
