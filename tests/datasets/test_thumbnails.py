from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tumorscope.datasets import thumbnails as module
from tumorscope.datasets.likeness import TURNS, turned
from tumorscope.datasets.thumbnails import thumbnails

EXAMPLES = settings(deadline=None, max_examples=15)


def head(seed: int, size: int = 144) -> NDArray[np.float32]:
    """An ellipse of soft random tissue on black."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    tissue = cv2.resize(rng.random((7, 7)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    return (np.clip(40 + 160 * tissue, 0, 255) * (np.hypot(y / 0.8, x / 0.6) < 1)).astype(np.float32)


@EXAMPLES
@given(st.integers(0, 10_000), st.sampled_from([1e-3, 1.0, 500.0]), st.floats(-100, 100))
def test_brightness_and_contrast_leave_thumbnails_as_they_are(seed: int, gain: float, level: float) -> None:
    plane = head(seed)
    assert np.abs(thumbnails(plane) - thumbnails(gain * plane + gain * level)).max() < 0.02


@EXAMPLES
@given(st.integers(0, 10_000), st.integers(0, TURNS - 1))
def test_a_turned_scan_has_turned_thumbnails(seed: int, turn: int) -> None:
    plane = head(seed)
    ours, theirs = turned(thumbnails(plane), turn), thumbnails(turned(plane, turn))
    assert (ours * theirs).sum((1, 2)).min() > 0.98


@EXAMPLES
@given(st.integers(0, 10_000))
def test_margins_change_the_whole_and_not_the_head(seed: int) -> None:
    plane = head(seed)
    wide = np.pad(plane, ((30, 10), (5, 40)))
    agreement = (thumbnails(plane) * thumbnails(wide)).sum((1, 2))
    assert agreement[0] > 0.99 > agreement[1]


@EXAMPLES
@given(st.integers(0, 10_000))
def test_letters_change_neither_much(seed: int) -> None:
    marked = head(seed).astype(np.uint8)
    cv2.putText(marked, "AB 12:3", (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1)
    cv2.putText(marked, "R", (130, 140), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255, 1)
    assert (thumbnails(head(seed)) * thumbnails(marked)).sum((1, 2)).min() > 0.95


def test_the_head_is_found_without_the_letters_beside_it() -> None:
    marked = np.pad(head(0), 20)
    bare = module._head(marked)
    letters = cv2.putText(marked.astype(np.uint8), "LETTERS", (2, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1)
    assert letters[:16].max() == 255
    found = module._head(letters.astype(np.float32))
    assert not found[:16].any()
    assert np.mean(found != bare) < 0.01


def test_nothing_that_stands_out_is_all_head() -> None:
    assert module._head(np.full((40, 50), 7, np.float32)).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (5, 3), (24, 24), (48, 48), (31, 300)])
def test_thumbnails_have_mean_zero_and_norm_one_or_are_flat(shape: tuple[int, int]) -> None:
    small = thumbnails(np.random.default_rng(1).random(shape))
    assert small.shape == (2, 24, 24) and small.dtype == np.float32
    assert np.abs(small.mean((1, 2))).max() < 1e-6
    norm = np.linalg.norm(small, axis=(1, 2))
    assert np.all((np.abs(norm - 1) < 1e-5) | (norm == 0))
