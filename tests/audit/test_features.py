from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorscope.audit.features import appearance, hog, pixels, tissue
from tumorscope.errors import DataError

ALL = (hog, pixels, appearance, tissue)


def squares(seed: int, count: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 8, 8)).astype(np.uint8)
    return np.kron(coarse, np.ones((8, 8), np.uint8))


@pytest.mark.parametrize(("features", "length"), [(hog, 1764), (pixels, 256), (appearance, 2916), (tissue, 41)])
def test_each_square_has_its_own_row(features: object, length: int) -> None:
    both = squares(0)
    rows = features(both)  # type: ignore[operator]
    assert rows.shape == (3, length)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    assert np.array_equal(features(both[::-1]), rows[::-1])  # type: ignore[operator]
    assert not np.array_equal(rows[0], rows[1])
    assert features(both[:0]).shape == (0, length)  # type: ignore[operator]


@settings(max_examples=10)
@given(st.integers(0, 999), st.floats(0.3, 0.9), st.integers(0, 20))
def test_gradients_do_not_hang_on_brightness(seed: int, gain: float, offset: int) -> None:
    plain = squares(seed, 1)
    dimmed = (plain * gain + offset).astype(np.uint8)
    assert np.corrcoef(hog(plain)[0], hog(dimmed)[0])[0, 1] > 0.98


def test_pixels_are_means() -> None:
    square = np.zeros((1, 64, 64), np.uint8)
    square[0, :4, :2] = 255
    assert pixels(square)[0, 0] == pytest.approx(0.5, abs=0.01)
    assert pixels(square)[0, 1:].max() == 0


def test_the_mirror_difference_vanishes_for_what_is_symmetric() -> None:
    half = squares(0, 1)[:, :, :32]
    even = np.concatenate([half, half[:, :, ::-1]], axis=2)
    assert not appearance(even)[0, -576:].any()
    assert appearance(squares(0, 1))[0, -576:].any()


def test_tissue_does_not_hang_on_the_mirror_image_and_sees_bright_fluid() -> None:
    y, x = np.mgrid[-32:32, -32:32]
    head = np.where(np.hypot(y, x) < 28, 100, 0).astype(np.uint8)
    fluid = np.hypot(y - 1, x - 3) < 3
    bright, dark = np.where(fluid, 220, head)[None].astype(np.uint8), np.where(fluid, 20, head)[None].astype(np.uint8)
    assert np.allclose(tissue(bright), tissue(bright[:, :, ::-1]), atol=0.02)
    assert tissue(bright)[0, -1] > 0 > tissue(dark)[0, -1]


@pytest.mark.parametrize("features", ALL)
def test_other_shapes_and_types_are_refused(features: object) -> None:
    for wrong in (np.zeros((64, 64), np.uint8), np.zeros((2, 64, 48), np.uint8), np.zeros((2, 64, 64))):
        with pytest.raises(DataError, match=r"pass \(N, S, S\) uint8"):
            features(wrong)  # type: ignore[operator]
