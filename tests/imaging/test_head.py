from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tumorscope.imaging.head import (
    contrast_to_background,
    find_head,
    grey_range,
    low_threshold,
    on_grid,
    otsu,
    ring,
    shrink,
    smoothness,
    to_grey,
)


def test_a_single_hot_pixel_does_not_set_the_range() -> None:
    plane = np.tile(np.linspace(0, 100, 200, dtype=np.float32), (200, 1))
    plane[0, 0] = 1e6
    bottom, top = grey_range(plane)
    assert 0 <= bottom < 1 and 99 < top <= 100


def test_a_spot_on_black_still_has_a_range() -> None:
    plane = np.zeros((200, 200), np.float32)
    plane[77, 77] = 5
    assert grey_range(plane) == (0, 5)


def test_differences_beyond_float32_count_as_none() -> None:
    bottom, top = grey_range(np.array([[0, 1e-40]], np.float32))
    assert bottom == top
    assert (to_grey(np.array([[0, 1e-40]], np.float32), bottom, top) == 0).all()


@settings(max_examples=50)
@given(st.integers(1, 900), st.integers(1, 900))
def test_the_working_grid_keeps_proportions_and_never_enlarges(height: int, width: int) -> None:
    small = shrink(np.zeros((height, width), np.float32))
    assert max(small.shape) == min(max(height, width), 160)
    assert min(small.shape) >= 1
    assert abs(small.shape[0] * width - small.shape[1] * height) <= max(height, width)


def test_ring_is_the_outermost_pixels() -> None:
    image = np.zeros((6, 7), int)
    image[[0, -1]] = 1
    image[:, [0, -1]] = 1
    assert ring(image, 1).min() == 1
    assert ring(image[1:-1, 1:-1], 1).max() == 0


def test_otsu_parts_two_heaps() -> None:
    values = np.array([10] * 50 + [200] * 50, np.uint8)
    assert 10 <= otsu(values) < 200


def test_low_threshold_lies_under_dark_tissue_and_over_noise() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 8, (100, 100))
    image[20:80, 20:80] = 50  # dark brain
    image[20:30, 20:80] = 240  # bright scalp, which moves Otsu's threshold above the brain
    image[70:80, 20:80] = 240
    grey = image.astype(np.uint8)
    assert otsu(grey) >= 50
    assert 7 <= low_threshold(grey) < 50


def test_white_noise_is_not_smooth_and_a_slice_is(draw_head) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (120, 120), dtype=np.uint8)
    assert smoothness(noise) < 0.3
    assert smoothness(draw_head()[0].astype(np.uint8)) > 0.7


def test_a_background_in_mid_range_is_the_background(draw_head) -> None:
    image, head = draw_head()
    scored = np.where(head, (image - image[head].mean()) / image[head].std(), 0).astype(np.float32)
    grey = contrast_to_background(scored)
    assert grey is not None
    assert grey[0, 0] == 0 and np.median(ring(grey)) == 0


@pytest.mark.parametrize("shape", [(1, 1), (11, 300), (300, 11), (5000, 20)])
def test_too_little_to_tell_is_none(shape: tuple[int, int]) -> None:
    assert contrast_to_background(np.random.default_rng(0).random(shape).astype(np.float32)) is None


def test_two_heads_on_one_sheet_are_both_found(draw_head) -> None:
    image, head = draw_head(100, 90)
    sheet, both = np.hstack([image, image]).astype(np.uint8), np.hstack([head, head])
    found = find_head(sheet)
    assert found is not None
    assert (found & both).sum() == both.sum()


def test_a_skull_apart_from_the_brain_belongs_to_the_head() -> None:
    y, x = np.mgrid[-100:100, -100:100]
    radius = np.hypot(y / 85, x / 70)
    grey = np.where(radius < 0.8, 120, np.where((radius > 0.93) & (radius < 1), 200, 0)).astype(np.uint8)
    found = find_head(grey)
    assert found is not None
    assert found[radius < 1].mean() > 0.99


@settings(max_examples=50)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(12, 60), st.integers(12, 60))), st.sampled_from(["hard", "soft"]))
def test_any_image_gives_a_mask_of_its_shape_or_none(grey: np.ndarray, mode: str) -> None:
    found = find_head(grey, mode)
    assert found is None or (found.shape == grey.shape and found.dtype == bool and found.any())


def test_a_mask_on_a_finer_grid_holds_what_it_held() -> None:
    mask = np.zeros((20, 30), bool)
    mask[5:9, 7:12] = True
    fine = on_grid(mask, (60, 90))
    assert fine[15:27, 21:36].all()
    assert fine.shape == (60, 90)
    assert on_grid(mask, (20, 30), 2).sum() == 8 * 9


def test_a_dark_dent_in_the_outline_belongs_to_the_head() -> None:
    y, x = np.mgrid[-100:100, -100:100]
    head = np.hypot(y / 85, x / 70) < 1
    dent = head & (np.abs(x) < 25) & (y < -40)  # a frontal lobe in shadow
    found = find_head(np.where(head & ~dent, 120, 0).astype(np.uint8))
    assert found is not None
    assert found[dent & (y > -75)].mean() > 0.95
