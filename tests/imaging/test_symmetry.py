from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorscope.datasets import phantom
from tumorscope.errors import ScanError
from tumorscope.imaging.symmetry import Midline, asymmetry, midline


def head(lean: float = 0, right: float = 0, seed: int = 0, side: int = 121) -> tuple[np.ndarray, np.ndarray]:
    """A textured, mirror-symmetric head that leans to the right, its middle moved to the right; and its mask."""
    rng = np.random.default_rng(seed)
    half = cv2.GaussianBlur(rng.normal(0, 1, (side, side // 2 + 1)).astype(np.float32), (0, 0), 2) * 300
    even = 120 + np.hstack([half[:, :0:-1], half])
    middle = side // 2
    y, x = np.mgrid[:side, :side] - middle
    even[np.hypot(y / (0.36 * side), x / (0.28 * side)) > 1] = 220  # skull, and on beyond the mask
    turn = cv2.getRotationMatrix2D((middle, middle), -lean, 1)
    turn[0, 2] += right
    image = cv2.warpAffine(even, turn, (side, side), borderMode=cv2.BORDER_REPLICATE)
    angle, across = np.deg2rad(lean), x - right
    up, aside = y * np.cos(angle) - across * np.sin(angle), across * np.cos(angle) + y * np.sin(angle)
    mask = np.hypot(up / (0.40 * side), aside / (0.32 * side)) < 1
    return image * mask, mask


@settings(max_examples=15)
@given(st.floats(-25, 25), st.floats(-8, 8), st.integers(0, 99))
def test_a_known_line_is_found(lean: float, right: float, seed: int) -> None:
    image, mask = head(lean, right, seed)
    line = midline(image, mask)
    assert line is not None
    assert line.angle == pytest.approx(lean, abs=1.0)
    assert line.offset == pytest.approx(0, abs=0.8)
    assert line.x == pytest.approx(60 + right, abs=1.0)
    assert line.correlation > 0.9


@settings(max_examples=8)
@given(st.integers(0, 99), st.floats(0.01, 50), st.floats(-500, 500))
def test_brightness_and_contrast_do_not_matter(seed: int, gain: float, shift: float) -> None:
    image, mask = head(5, 2, seed)
    image[40:60, 70:85] += 60
    plain, moved = asymmetry(image, mask), asymmetry(image * gain + shift, mask)
    assert moved == pytest.approx(plain, rel=2e-2, abs=2e-3)


def test_a_mirrored_head_leans_the_other_way() -> None:
    image, mask = head(12, 3)
    image[30:50, 70:85] += 80
    line, other = midline(image, mask), midline(image[:, ::-1], mask[:, ::-1])
    assert line is not None and other is not None
    assert other.angle == pytest.approx(-line.angle, abs=0.5)
    assert other.x == pytest.approx(120 - line.x, abs=0.5)
    assert asymmetry(image[:, ::-1], mask[:, ::-1]) == pytest.approx(asymmetry(image, mask), rel=0.1)


def test_a_bright_lesion_does_not_draw_the_line_to_itself() -> None:
    for lean in (-10, 0, 10):
        image, mask = head(lean, seed=3)
        y, x = np.mgrid[:121, :121]
        image[(np.hypot(y - 45, x - 78) < 14) & mask] = 255
        line = midline(image, mask)
        assert line is not None
        assert line.angle == pytest.approx(lean, abs=2)


def test_a_lesion_makes_a_head_uneven_at_its_own_scale() -> None:
    image, mask = head(4, seed=1)
    even = asymmetry(image, mask)
    y, x = np.mgrid[:121, :121]
    image[(np.hypot(y - 50, x - 78) < 12) & mask] += 120
    odd = asymmetry(image, mask)
    assert set(odd) == set(even)
    for name in ("mean_4", "high_4", "mean_8", "high_8", "level", "histogram"):
        assert odd[name] > 2 * even[name] and odd[name] > 0.1, name
    assert odd["correlation"] < even["correlation"]


def test_a_head_that_is_its_own_mirror_image_differs_in_nothing() -> None:
    image, mask = head()
    found = asymmetry(image, mask, Midline(0, 60, 60, 0, 1, 1))
    assert found.pop("correlation") == 1
    assert found == pytest.approx(dict.fromkeys(found, 0), abs=1e-5)


def test_mirroring_twice_gives_the_image_back() -> None:
    image = cv2.GaussianBlur(np.random.default_rng(0).random((81, 70)).astype(np.float32), (0, 0), 3)
    line = Midline(7.3, 40, 36, 0, 1, 1)
    twice = line.mirror(line.mirror(image))
    np.testing.assert_allclose(twice[20:60, 20:50], image[20:60, 20:50], atol=5e-3)
    right = line.distance(image.shape) > 0
    assert right[40, 60] and not right[40, 10]
    assert np.mean((line.mirror(right) > 0.5)[20:60, 20:50] == ~right[20:60, 20:50]) > 0.95


def test_a_phantom_is_halved() -> None:
    for seed in range(3):
        drawn = phantom.make(seed=seed, size=128, lesion=None, plane="axial")
        line = midline(drawn.image)
        assert line is not None
        assert line.correlation > 0.3 and abs(line.x - 64) < 16


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (6, 6), (7, 9), (3, 200)])
def test_any_size(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    found = asymmetry(image)
    line = midline(image)
    assert np.isnan(list(found.values())).all() == (line is None)


def test_nothing_is_told_of_a_constant_or_tiny_head() -> None:
    assert midline(np.ones((50, 50))) is None
    assert np.isnan(list(asymmetry(np.ones((50, 50))).values())).all()
    where = np.zeros((50, 50), bool)
    where[3, :20] = True
    assert midline(np.random.default_rng(0).random((50, 50)), where) is None


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ScanError, match="lean"):
        midline(np.zeros((9, 9)), lean=100)
    with pytest.raises(ScanError, match="3-D"):
        midline(np.zeros((9, 9, 3)))
    with pytest.raises(ScanError, match="does not fit"):
        asymmetry(np.zeros((9, 9)), np.ones((9, 8), bool))
    with pytest.raises(ScanError, match="NaN"):
        asymmetry(np.full((9, 9), np.nan))
