from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from tumorscope.errors import ScanError
from tumorscope.imaging.scales import blob_energies, haar, laplacian, wavelet_energies

shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=21)


def noise(seed: int, shape: tuple[int, int] = (40, 33)) -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype(np.float32)


@pytest.mark.parametrize("sigma", [1.5, 2.0, 4.0])
def test_the_laplacian_is_scipys(sigma: float) -> None:
    image = noise(0)
    theirs = sigma**2 * ndimage.gaussian_laplace(image.astype(np.float64), sigma, mode="nearest")
    np.testing.assert_allclose(laplacian(image, sigma), theirs, atol=2e-3)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0])
def test_a_blob_answers_most_at_its_own_scale(sigma: float) -> None:
    # at the middle of a Gaussian blob of spread s the answer is 2 s^2 sigma^2 / (s^2 + sigma^2)^2: highest at sigma = s
    y, x = np.mgrid[-40:41, -40:41]
    blob = np.exp(-(y**2 + x**2) / (2 * sigma**2)).astype(np.float32)
    answers = {scale: -float(laplacian(blob, scale)[40, 40]) for scale in (1.0, 2.0, 4.0, 8.0)}
    assert max(answers, key=answers.__getitem__) == sigma
    for scale, answer in answers.items():
        if scale > 1:  # samples of the second derivative are coarse at 1 px
            assert answer == pytest.approx(2 * sigma**2 * scale**2 / (sigma**2 + scale**2) ** 2, rel=0.03)


@settings(max_examples=30)
@given(st.integers(0, 999), shapes, st.integers(1, 4))
def test_the_bands_of_a_periodic_plane_hold_its_energy(seed: int, shape: tuple[int, int], levels: int) -> None:
    plane = noise(seed, shape) - 0.5
    bands = haar(plane, levels, cv2.BORDER_WRAP)
    low = plane.astype(np.float64)
    for level in range(levels):
        low = (low + np.roll(low, -(2**level), axis=1)) / 2
        low = (low + np.roll(low, -(2**level), axis=0)) / 2
    total = sum(np.mean(np.square(band, dtype=np.float64)) for level in bands for band in level) + np.mean(low**2)
    assert total == pytest.approx(np.mean(np.square(plane, dtype=np.float64)), rel=1e-4)


@settings(max_examples=30)
@given(st.integers(0, 999), shapes, st.floats(0.1, 50), st.floats(-100, 100))
def test_energies_grow_with_the_square_of_the_contrast(
    seed: int, shape: tuple[int, int], gain: float, at: float
) -> None:
    image = noise(seed, shape)
    for measure in (blob_energies, wavelet_energies):
        plain, moved = measure(image), measure(image * np.float32(gain) + np.float32(at))
        for name, value in plain.items():
            assert moved[name] == pytest.approx(value * gain**2, rel=2e-2, abs=1e-4 * gain**2 + 1e-8 * at**2)


def test_transposing_swaps_the_directions() -> None:
    plain, turned = wavelet_energies(noise(1)), wavelet_energies(noise(1).T)
    for level in range(1, 5):
        assert plain[f"{level}_LH"] == pytest.approx(turned[f"{level}_HL"])
        assert plain[f"{level}_HH"] == pytest.approx(turned[f"{level}_HH"])
    assert blob_energies(noise(1).T) == pytest.approx(blob_energies(noise(1)), rel=1e-4)


def test_one_level_by_hand() -> None:
    # columns 0 4 0 4: half differences along x are -2 and 2, and 0 at the repeated last column; half sums down y keep
    # them, half differences down y are 0
    found = wavelet_energies(np.tile([0, 4], (3, 2)), levels=1)
    assert found == {"1_LH": 0.0, "1_HL": pytest.approx(3.0), "1_HH": 0.0}


def test_the_rim_of_the_mask_is_no_detail() -> None:
    y, x = np.mgrid[:60, :60]
    disc = np.hypot(y - 30, x - 30) < 20
    for measure in (blob_energies, wavelet_energies):
        assert max(measure(disc * 5.0, disc).values()) < 1e-9
        assert max(measure(disc * 5.0).values()) > 0.1


@pytest.mark.parametrize("measure", [blob_energies, wavelet_energies])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (3, 2)])
def test_any_size(measure: object, shape: tuple[int, int]) -> None:
    found = measure((noise(0, shape) * 9).astype(np.uint8))  # type: ignore[operator]
    assert np.isfinite(list(found.values())).all()
    assert set(measure(np.full(shape, 3)).values()) == {0.0}  # type: ignore[operator]


def test_wrong_scales_are_refused() -> None:
    with pytest.raises(ScanError, match="sigma"):
        blob_energies(noise(0), sigmas=(0,))
    with pytest.raises(ScanError, match="levels"):
        wavelet_energies(noise(0), levels=0)
    with pytest.raises(ScanError, match="NaN"):
        wavelet_energies(np.array([[np.nan]]))
