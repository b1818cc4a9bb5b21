from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorscope.datasets.variation import LIMITS, Change, Ranges, brighten, draw, move, move_mask
from tumorscope.errors import DataError

EXAMPLES = settings(max_examples=40)
SIDES = st.integers(3, 40)
SEEDS = st.integers(0, 2**32 - 1)


def noise(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width)).astype(np.float32)


def smooth(height: int, width: int) -> np.ndarray:
    """A slope with a hump: linear interpolation is nearly exact on it."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return (np.sin(x / width * 2) + np.cos(y / height * 3)).astype(np.float32)


@EXAMPLES
@given(SIDES, SIDES, SEEDS)
def test_no_change_returns_the_image_to_the_bit(height: int, width: int, seed: int) -> None:
    image = noise(height, width, seed)
    assert np.array_equal(move(image, Change()), image)
    assert np.array_equal(brighten(image, Change(), 255), image)


@EXAMPLES
@given(SIDES, SIDES, SEEDS)
def test_mirrored_twice_is_the_image(height: int, width: int, seed: int) -> None:
    image = noise(height, width, seed)
    once = move(image, Change(flip=True))
    assert np.array_equal(once, image[:, ::-1])
    assert np.array_equal(move(once, Change(flip=True)), image)


@EXAMPLES
@given(st.integers(3, 30), st.integers(0, 3), SEEDS)
def test_quarter_turns_are_those_of_numpy(side: int, quarters: int, seed: int) -> None:
    image = noise(side, side, seed)
    assert np.allclose(move(image, Change(angle=90.0 * quarters)), np.rot90(image, quarters), atol=1e-5)


@EXAMPLES
@given(st.integers(4, 30), st.integers(4, 30), st.integers(-2, 2), st.integers(-2, 2), SEEDS)
def test_a_shift_by_whole_pixels_moves_them_and_repeats_the_edge(
    h: int, w: int, right: int, down: int, seed: int
) -> None:
    image = noise(h, w, seed)
    moved = move(image, Change(right=right / w, down=down / h))
    y, x = np.mgrid[:h, :w]
    assert np.allclose(moved, image[np.clip(y - down, 0, h - 1), np.clip(x - right, 0, w - 1)], atol=1e-5)


def test_the_middle_stays_in_place_when_turned_zoomed_and_sheared() -> None:
    middle = np.array([15.0, 10.0, 1.0])  # x, y of an image of 21 rows and 31 columns
    place = Change(angle=33, zoom=1.3, shear=0.2).matrix((21, 31)) @ middle
    assert np.allclose(place, middle[:2])


def test_zoom_enlarges_and_shear_moves_lower_rows_to_the_right() -> None:
    y, x = np.mgrid[-20:21, -20:21]
    disc = np.hypot(y, x) <= 8
    grown = move_mask(disc, Change(zoom=1.25)).sum() / disc.sum()
    assert grown == pytest.approx(1.25**2, rel=0.05)
    line = x == 0
    sheared = move_mask(line, Change(shear=0.5))
    assert np.flatnonzero(sheared[36]).mean() == pytest.approx(20 + 8, abs=0.6)
    assert np.flatnonzero(sheared[4]).mean() == pytest.approx(20 - 8, abs=0.6)


@EXAMPLES
@given(SEEDS)
def test_a_mask_moves_with_its_image(seed: int) -> None:
    """A lesion drawn into the image is found under the moved mask, and only there."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :50]
    mask = np.hypot(y - rng.uniform(12, 28), x - rng.uniform(15, 35)) < rng.uniform(4, 7)
    change = draw(Ranges(rotation=40, shift=0.1, shear=0.2, zoom=0.3), rng)
    moved = move(mask * 100.0, change)
    assert np.array_equal(move_mask(mask, change), moved >= 50)
    assert move_mask(mask, change).sum() > 10


@EXAMPLES
@given(SEEDS)
def test_a_change_and_its_inverse_leave_the_inside_as_it_was(seed: int) -> None:
    image = smooth(64, 64)
    angle, zoom = np.random.default_rng(seed).uniform([-20, 0.85], [20, 1.15]).tolist()
    there = move(image, Change(angle=angle, zoom=zoom))
    back = move(there, Change(angle=-angle, zoom=1 / zoom))
    assert np.abs(back - image)[24:40, 24:40].max() < 0.02
    assert np.abs(there - image)[24:40, 24:40].max() > 0.02 or (abs(angle) < 5 and abs(zoom - 1) < 0.1)


def test_colour_moves_as_grey_does() -> None:
    image = noise(12, 9, 0)
    change = draw(Ranges(), np.random.default_rng(5))
    colour = move(np.dstack([image, image * 2, image * 3]), change)
    assert np.allclose(colour[..., 1], 2 * move(image, change), atol=1e-5)


def test_brightness_is_cut_off_at_the_end_of_the_scale() -> None:
    assert brighten(np.array([10.0, 250.0]), Change(brightness=1.1), 255).tolist() == pytest.approx([11.0, 255.0])


@EXAMPLES
@given(SEEDS)
def test_what_is_drawn_lies_within_the_ranges(seed: int) -> None:
    ranges = Ranges()
    change = draw(ranges, np.random.default_rng(seed))
    assert abs(change.angle) <= 10 and abs(change.shear) <= 0.05
    assert max(abs(change.right), abs(change.down)) <= 0.05
    assert 0.9 <= change.zoom <= 1.1 and 0.9 <= change.brightness <= 1.1


def test_the_drawn_changes_fill_the_ranges() -> None:
    rng = np.random.default_rng(0)
    changes = [draw(Ranges(), rng) for _ in range(400)]
    assert min(change.angle for change in changes) < -9 and max(change.angle for change in changes) > 9
    assert 0.4 < np.mean([change.flip for change in changes]) < 0.6


@EXAMPLES
@given(SEEDS, st.sampled_from(["rotation", "shift", "shear", "zoom", "brightness"]))
def test_one_range_at_zero_leaves_the_other_parts_as_they_were(seed: int, name: str) -> None:
    parts = {"rotation": ["angle"], "shift": ["right", "down"]}.get(name, [name])
    full = draw(Ranges(), np.random.default_rng(seed))
    without = draw(dataclasses.replace(Ranges(), **{name: 0.0}), np.random.default_rng(seed))
    assert dataclasses.replace(full, **{part: getattr(Change(), part) for part in parts}) == without


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("value", [-0.1, 1000.0, float("nan")])
def test_ranges_out_of_range_are_refused_in_one_line(name: str, value: float) -> None:
    with pytest.raises(DataError, match=f"^{name}: .* is out of range; give 0 to") as caught:
        dataclasses.replace(Ranges(), **{name: value})
    assert "\n" not in str(caught.value)
