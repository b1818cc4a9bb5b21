"""Pasted lesions, removed tumours and distractions: what changes, and what must not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorscope.training import lesions

SIDE = 96


@pytest.fixture(scope="module")
def head() -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    return np.hypot(y / 40, x / 32) < 1


@pytest.fixture(scope="module")
def image(head: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (head * (0.4 + 0.05 * rng.standard_normal((SIDE, SIDE)))).astype(np.float32)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000))
def test_a_pasted_lesion_is_visible_marked_and_inside_the_head(seed: int, image, head) -> None:
    rng = np.random.default_rng(seed)
    pasted = lesions.paste(image, head, lesions.draw_patch(None, SIDE, rng), rng)
    if pasted is None:
        return
    out, mask = pasted
    assert out.dtype == np.float32 and mask.sum() >= lesions.SMALLEST_LESION
    assert not (mask & ~head).any()
    assert abs(float((out - image)[mask].mean())) > 0.04
    far = lesions.cv2.dilate(mask.astype(np.uint8), np.ones((61, 61), np.uint8)) == 0
    assert np.array_equal(out[far], image[far])


def test_the_same_seed_pastes_the_same_lesion(image, head) -> None:
    both = [lesions.paste(image, head, lesions.made_up(9, rng), rng) for rng in map(np.random.default_rng, (5, 5))]
    assert both[0] is not None and both[1] is not None
    assert np.array_equal(both[0][0], both[1][0]) and np.array_equal(both[0][1], both[1][1])


def test_a_taken_lesion_keeps_its_texture_but_not_its_brightness(image) -> None:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[30:50, 40:55] = True
    bright = image + 0.5 * mask
    patch = lesions.taken(bright.astype(np.float32), mask, 10.0, np.random.default_rng(0))
    inside = patch.texture[patch.alpha > 0]
    assert abs(float(inside.mean())) < 0.3
    assert 0.5 < patch.alpha.sum() / (np.pi * 100) < 1.5


def test_distraction_keeps_away_from_the_tumour(image, head) -> None:
    everywhere = np.ones_like(head)
    other = np.roll(image, 3, 0)
    assert lesions.distract(image, head, other, everywhere, np.random.default_rng(1)) is image
    changed = lesions.distract(image, head, other, ~everywhere, np.random.default_rng(1))
    assert not np.array_equal(changed, image)
    assert abs(float(changed[head].mean() - image[head].mean())) < 0.01


def test_removal_puts_the_other_side_in_place_of_the_tumour() -> None:
    half = np.random.default_rng(2).random((SIDE, SIDE // 2)).astype(np.float32)
    symmetric = np.hstack([half, half[:, ::-1]])
    mask = np.zeros((SIDE, SIDE), bool)
    mask[40:50, 60:75] = True
    sick = np.where(mask, np.float32(1), symmetric)
    healed = lesions.remove(sick, mask, np.random.default_rng(0))
    assert healed is not None
    assert float(np.abs(healed - symmetric)[mask].mean()) < 0.05


def test_removal_declines_a_lesion_on_the_midline_and_a_lopsided_slice() -> None:
    rng = np.random.default_rng(3)
    half = rng.random((SIDE, SIDE // 2)).astype(np.float32)
    symmetric = np.hstack([half, half[:, ::-1]])
    middle = np.zeros((SIDE, SIDE), bool)
    middle[40:50, 43:53] = True
    assert lesions.remove(symmetric, middle, rng) is None
    side = np.roll(middle, 25, 1)
    assert lesions.remove(rng.random((SIDE, SIDE)).astype(np.float32), side, rng) is None


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_another_contrast_keeps_the_background_and_moves_equal_greys_together(seed: int, image, head) -> None:
    stepped = np.where(head, np.round(image * 8) / 8, image).astype(np.float32)
    out = lesions.remap(stepped, head, np.random.default_rng(seed))
    assert out.dtype == np.float32 and np.isfinite(out).all()
    assert np.array_equal(out[~head], stepped[~head])
    for level in np.unique(stepped[head]):
        assert np.ptp(out[head & (stepped == level)]) < 1e-6


def test_another_contrast_need_not_rise(head) -> None:
    ramp = np.where(head, np.linspace(0.1, 0.9, SIDE, dtype=np.float32), 0).astype(np.float32)
    row = [lesions.remap(ramp, head, np.random.default_rng(seed))[SIDE // 2] for seed in range(20)]
    falls = [np.any(np.diff(values[head[SIDE // 2]]) < -1e-3) for values in row]
    assert sum(falls) >= 15


def test_a_lesion_bound_to_tissue_stays_on_one_side_of_an_edge(head) -> None:
    image = np.where(head, 0.3, 0).astype(np.float32)
    image[:, SIDE // 2 :] = np.where(head[:, SIDE // 2 :], 0.7, 0)
    everywhere = np.ones((SIDE, SIDE), bool)
    kept = [lesions._tissue(image, everywhere, np.random.default_rng(seed)) for seed in range(10)]
    halves = [
        (float(one[:, : SIDE // 2 - 6].mean()), float(one[:, SIDE // 2 + 6 :][head[:, SIDE // 2 + 6 :]].mean()))
        for one in kept
    ]
    assert any(right > 0.95 and left < 0.6 for left, right in halves)
