from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorscope.datasets.truth import marked, read_mask
from tumorscope.errors import DataError


@given(st.integers(0, 2**32 - 1), st.sampled_from([1.0, 255.0, 65535.0]))
def test_a_binary_mask_is_marked_as_drawn_whatever_its_scale(seed: int, high: float) -> None:
    mask = np.random.default_rng(seed).random((7, 9)) < 0.3
    assert np.array_equal(marked(mask * high), mask)


def test_half_of_the_maximum_is_not_marked() -> None:
    assert marked(np.array([0, 99, 100, 101, 200])).tolist() == [False, False, False, True, True]


def test_a_jpeg_gives_the_mask_that_was_drawn(tmp_path: Path) -> None:
    mask = np.hypot(*np.mgrid[-32:32, -32:32]) < 14
    cv2.imwrite(str(tmp_path / "m.jpg"), mask.astype(np.uint8) * 255, [cv2.IMWRITE_JPEG_QUALITY, 80])
    read = read_mask({"path": "s", "mask_path": str(tmp_path / "m.jpg")}, (64, 64))
    assert read is not None and np.mean(read != mask) < 0.01


def test_a_mask_of_another_size_is_refused_and_none_is_none(tmp_path: Path) -> None:
    assert read_mask({"path": "s", "mask_path": None}, (4, 4)) is None
    cv2.imwrite(str(tmp_path / "m.png"), np.zeros((8, 6), np.uint8))
    with pytest.raises(DataError, match=r"m\.png: mask is 8x6, its scan s\.jpg is 4x4; resample") as caught:
        read_mask({"path": "s.jpg", "mask_path": str(tmp_path / "m.png")}, (4, 4))
    assert "\n" not in str(caught.value)
