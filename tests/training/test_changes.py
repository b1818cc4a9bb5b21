"""Random changes of a classifier's square: laws, for grey and for colours."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorscope.imaging.palettes import palette
from tumorscope.training import changes
from tumorscope.training.changes import changed, ghosted, looked, moved
from tumorscope.training.classifier_recipe import Changes

STILL = Changes(flip=0, rotation=0, shift=0, shear=0, zoom=0, brightness=0)
CHANCES = ("curve", "bias", "elastic", "blur", "coarse", "noise", "ghost")
ALL = Changes(rotation=30, zoom=0.3, brightness=0.3, **dict.fromkeys(CHANCES, 1.0))
SIDES = st.sampled_from([32, 33, 47, 64])
SEEDS = st.integers(0, 10_000)


def grey(side: int, seed: int = 0) -> np.ndarray:
    rough = np.random.default_rng(seed).random((side, side), dtype=np.float32)
    return np.clip(cv2.GaussianBlur(rough, (0, 0), 1.5), 0, 1)


def coloured(side: int, seed: int = 0, k: int = 10) -> np.ndarray:
    names = np.random.default_rng(seed).integers(0, k, (side // 4 + 1, side // 4 + 1))
    return (palette(k)[np.kron(names, np.ones((4, 4), int))[:side, :side]] / np.float32(255)).astype(np.float32)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(side=SIDES, seed=SEEDS)
@settings(max_examples=20)
def test_nothing_changes_where_nothing_may(side: int, seed: int) -> None:
    assert np.array_equal(changed(grey(side, seed), STILL, rng(seed)), grey(side, seed))
    assert np.array_equal(changed(coloured(side, seed), STILL, rng(seed)), coloured(side, seed))


@given(side=SIDES, seed=SEEDS)
@settings(max_examples=20)
def test_a_flip_mirrors_left_and_right_and_two_are_none(side: int, seed: int) -> None:
    always = STILL.model_copy(update={"flip": 1.0})
    for image in (grey(side, seed), coloured(side, seed)):
        once = moved(image, always, rng(seed))
        assert np.allclose(once, image[:, ::-1], atol=1e-5)
        assert np.allclose(moved(once, always, rng(seed)), image, atol=1e-5)


def test_flips_come_as_often_as_asked_and_can_be_turned_off() -> None:
    image = grey(32)
    half, never = STILL.model_copy(update={"flip": 0.5}), STILL
    flipped = sum(not np.array_equal(moved(image, half, rng(seed)), image) for seed in range(200))
    assert 70 <= flipped <= 130  # within 4 spreads of 100
    assert all(np.array_equal(moved(image, never, rng(seed)), image) for seed in range(20))


@given(side=SIDES, seed=SEEDS)
@settings(max_examples=25)
def test_shape_type_and_range_stay(side: int, seed: int) -> None:
    for image in (grey(side, seed), coloured(side, seed)):
        found = changed(image, ALL, rng(seed))
        assert found.shape == image.shape and found.dtype == np.float32
        assert np.isfinite(found).all() and found.min() >= 0 and found.max() <= 1


@given(seed=SEEDS)
@settings(max_examples=20)
def test_the_same_draw_gives_the_same_square_and_the_input_stays(seed: int) -> None:
    image = grey(48)
    before = image.copy()
    one, same, other = (changed(image, ALL, rng(s)) for s in (seed, seed, seed + 1))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    assert np.array_equal(image, before)


@given(side=SIDES, seed=SEEDS, k=st.integers(2, 20))
@settings(max_examples=25)
def test_colours_stay_colours_of_the_palette(side: int, seed: int, k: int) -> None:
    found = np.rint(changed(coloured(side, seed, k), ALL, rng(seed)) * 255).astype(int)
    assert {tuple(one) for one in found.reshape(-1, 3)} <= {tuple(one) for one in palette(k).tolist()}


def test_colours_move_as_grey_does() -> None:
    settings_ = STILL.model_copy(update={"shift": 0.3})
    square = np.zeros((33, 33), np.float32)
    square[8:20, 10:24] = 1
    both = [moved(np.dstack([square] * 3), settings_, rng(3))[..., 0], moved(square, settings_, rng(3))]
    assert np.abs(both[0] - (both[1] > 0.5)).max() <= 1 and both[0].sum() == pytest.approx(both[1].sum(), rel=0.1)


@pytest.mark.parametrize(("name", "largest"), [("shift", 0.05), ("shift", 0.2)])
def test_a_shift_moves_by_at_most_its_share_of_the_side(name: str, largest: float) -> None:
    side = 65
    image = np.zeros((side, side), np.float32)
    image[32, 32] = 1
    found = []
    for seed in range(60):
        out = moved(image, STILL.model_copy(update={name: largest}), rng(seed))
        y, x = (np.average(axis, weights=out) for axis in np.mgrid[:side, :side])
        found.append(max(abs(y - 32), abs(x - 32)) / side)
    assert max(found) <= largest + 1e-3 and max(found) > 0.7 * largest


def test_rotation_turns_by_at_most_its_angle() -> None:
    side = 101
    y, x = np.mgrid[:side, :side] - 50
    wedge = ((np.abs(y) < 2) & (x > 5) & (x < 45)).astype(np.float32)
    angles = []
    for seed in range(60):
        out = moved(wedge, STILL.model_copy(update={"rotation": 10.0}), rng(seed))
        angles.append(np.degrees(np.arctan2((out * y).sum(), (out * x).sum())))
    assert max(np.abs(angles)) <= 10.05 and max(angles) > 7 and min(angles) < -7


def test_zoom_and_shear_stay_within_their_limits() -> None:
    side = 101
    y, x = np.mgrid[:side, :side] - 50
    disc = (np.hypot(y, x) < 20).astype(np.float32)
    zooms = [moved(disc, STILL.model_copy(update={"zoom": 0.1}), rng(seed)).sum() / disc.sum() for seed in range(60)]
    assert 0.9**2 - 0.01 <= min(zooms) < 0.87 and 1.13 < max(zooms) <= 1.1**2 + 0.01
    post = ((np.abs(x) < 2) & (np.abs(y) < 40)).astype(np.float32)
    slopes = []
    for seed in range(60):
        out = moved(post, STILL.model_copy(update={"shear": 0.05}), rng(seed))
        slopes.append((out * x * y).sum() / (out * y * y).sum())
    assert max(np.abs(slopes)) <= 0.051 and max(slopes) > 0.035 and min(slopes) < -0.035


def test_what_comes_in_at_the_border() -> None:
    bright = np.ones((40, 40), np.float32)
    far = STILL.model_copy(update={"shift": 0.3})
    assert np.array_equal(moved(bright, far, rng(1)), bright)
    dark = moved(bright, far.model_copy(update={"fill": "zero"}), rng(1))
    assert dark.min() == 0 and 0.4 < dark.mean() < 1


@given(seed=SEEDS, size=st.sampled_from([0.01, 0.03, 0.2]))
@settings(max_examples=20)
def test_an_elastic_bend_is_bounded_and_smooth(seed: int, size: float) -> None:
    side = 64
    bend = changes._bend(side, size, rng(seed))
    assert bend.shape == (side, side) and np.abs(bend).max() <= size * side + 1e-4
    step = 2 * size * side / (side / changes.ELASTIC_GRID)  # from one extreme to the other between two points
    assert np.abs(np.diff(bend, axis=0)).max() <= step + 1e-4
    ramp = np.tile(np.linspace(0, 1, side, dtype=np.float32), (side, 1))  # its grey tells where it came from
    moved_ = moved(ramp, STILL.model_copy(update={"elastic": 1.0, "elastic_size": size}), rng(seed))
    assert np.abs(moved_ - ramp).max() <= size * side / (side - 1) + 1 / side
    assert not np.array_equal(moved_, ramp)


@given(seed=SEEDS, strength=st.floats(0, 1), side=SIDES)
@settings(max_examples=25)
def test_ghosts_keep_the_mean(seed: int, strength: float, side: int) -> None:
    """Line 0 of k-space is the sum along the axis; the magnitude adds a little where a ghost is negative."""
    image = grey(side, seed) + np.float32(0.5)
    found = ghosted(image, strength, rng(seed))
    assert found.shape == image.shape and found.dtype == np.float32
    assert found.mean() == pytest.approx(image.mean(), rel=0.02)
    if strength == 0:
        assert np.allclose(found, image, atol=1e-5)


def test_a_ghost_is_a_shifted_copy_of_the_head() -> None:
    image = np.zeros((60, 60), np.float32)
    image[28:32, 28:32] = 1
    found = ghosted(image, 0.5, rng(1))
    elsewhere = found.copy()
    elsewhere[26:34, 26:34] = 0
    assert elsewhere.max() > 0.05 and found[28:32, 28:32].mean() > 0.6
    lines = (elsewhere > 0.05).any(axis=0), (elsewhere > 0.05).any(axis=1)
    assert min(lines[0].sum(), lines[1].sum()) <= 8  # along one axis only


@pytest.mark.parametrize("name", CHANCES[:2] + CHANCES[3:])
def test_each_look_changes_grey_and_never_colours(name: str) -> None:
    one = STILL.model_copy(update={name: 1.0})
    image = grey(48)
    assert not np.allclose(looked(image, one, rng(2)), image, atol=1e-3)
    assert np.array_equal(changed(coloured(48), one, rng(2)), coloured(48))


def test_brightness_stays_within_its_limits() -> None:
    image = np.full((32, 32), 0.5, np.float32)
    found = [looked(image, STILL.model_copy(update={"brightness": 0.2}), rng(seed)).mean() / 0.5 for seed in range(60)]
    assert 0.8 <= min(found) < 0.85 and 1.15 < max(found) <= 1.2


def test_noise_is_at_most_as_strong_as_asked() -> None:
    image = np.full((64, 64), 0.5, np.float32)
    loud = STILL.model_copy(update={"noise": 1.0, "noise_level": 0.1})
    spreads = [looked(image, loud, rng(seed)).std() for seed in range(40)]
    assert max(spreads) < 0.105 and max(spreads) > 0.06 and min(spreads) < 0.02
    quiet = loud.model_copy(update={"noise_level": 0.0})
    assert looked(image, quiet, rng(0)).std() < 0.007


@pytest.mark.parametrize("image", [np.zeros((32, 32), np.float32), np.ones((32, 32), np.float32)])
def test_a_constant_square_gives_a_finite_one(image: np.ndarray) -> None:
    for seed in range(10):
        found = changed(image, ALL, rng(seed))
        assert np.isfinite(found).all() and 0 <= found.min() <= found.max() <= 1
