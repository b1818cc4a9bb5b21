from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from tumorscope.datasets import phantom
from tumorscope.errors import ScanError
from tumorscope.imaging.denoise import METHODS, denoise

shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)
images = hnp.arrays(np.float32, shapes, elements=st.floats(0, 1, width=32))
methods = st.sampled_from(METHODS)


class TestDenoise:
    @settings(max_examples=60)
    @given(images, methods, st.sampled_from([0.5, 1.0, 3.0]))
    def test_any_size_stays_within_its_range(self, image: np.ndarray, method: str, strength: float) -> None:
        result = denoise(image, method, strength)
        assert result.shape == image.shape and result.dtype == np.float32
        assert result.min() >= image.min() - 1e-6 and result.max() <= image.max() + 1e-6

    @settings(max_examples=40)
    @given(images, methods)
    def test_strength_zero_changes_nothing(self, image: np.ndarray, method: str) -> None:
        result = denoise(image, method, 0)
        assert np.array_equal(result, image) and not np.shares_memory(result, image)

    @settings(max_examples=40)
    @given(shapes, st.floats(-1e4, 1e4, width=32), methods)
    def test_a_constant_image_stays(self, shape: tuple[int, int], value: float, method: str) -> None:
        image = np.full(shape, value, np.float32)
        np.testing.assert_allclose(denoise(image, method, noise=1.0), image, rtol=1e-6)

    @settings(max_examples=40)
    @given(st.integers(0, 99), methods, st.sampled_from([0.25, 8.0, 4096.0]), st.sampled_from([-2.0, 0.0, 5.0]))
    def test_units_pass_through(self, seed: int, method: str, factor: float, shift: float) -> None:
        image = np.random.default_rng(seed).integers(0, 256, (19, 23)) / 256  # a shift loses no digits of these
        moved = denoise(image * factor + shift, method, noise=0.2 * factor)
        np.testing.assert_allclose(moved, denoise(image, method, noise=0.2) * factor + shift, atol=2e-3 * factor)

    @pytest.mark.parametrize(("method", "tolerance"), [(name, 0.05 if name == "nlm" else 1e-5) for name in METHODS])
    def test_flips_and_transposition_commute(self, method: str, tolerance: float) -> None:
        # scikit-image's non-local means treats its four borders differently
        image = np.random.default_rng(0).random((17, 24)).astype(np.float32)
        expected = denoise(image, method, noise=0.3)
        np.testing.assert_allclose(denoise(image[::-1], method, noise=0.3)[::-1], expected, atol=tolerance)
        np.testing.assert_allclose(denoise(image.T, method, noise=0.3).T, expected, atol=tolerance)

    @pytest.mark.parametrize("method", METHODS)
    def test_a_noisy_phantom_comes_closer_to_the_clean_one(self, method: str) -> None:
        make = {"plane": "axial", "contrast": "flair", "offset": 20.0, "bits": 16}
        noisy = phantom.make(3, noise=0.04, **make)
        clean = phantom.make(3, noise=0.0, **make).image.astype(np.float32)
        before, after = (
            float(np.sqrt(np.mean((one - clean)[noisy.brain] ** 2)))
            for one in (noisy.image.astype(np.float32), denoise(noisy.image, method))
        )
        assert after < 0.8 * before

    def test_the_last_two_spare_an_edge_that_the_gaussian_blurs(self) -> None:
        image = np.repeat([0.0, 100.0], 32) + np.random.default_rng(0).normal(0, 5, (64, 64))
        edge = {method: float(np.diff(denoise(image, method, 2.0)[:, 31:33]).mean()) for method in METHODS}
        assert edge["gaussian"] < 40 < 90 < min(edge["bilateral"], edge["nlm"])

    @pytest.mark.parametrize("strength", [1, 2, 3])
    def test_the_median_is_scipys(self, strength: int) -> None:
        image = np.random.default_rng(0).random((13, 20)).astype(np.float32)
        expected = ndimage.median_filter(image, 2 * strength + 1, mode="nearest")
        assert np.array_equal(denoise(image, "median", strength), expected)

    @pytest.mark.parametrize(
        ("arguments", "match"),
        [
            ({"method": "nml"}, "did you mean 'nlm'"),
            ({"strength": -1}, "strength"),
            ({"strength": np.nan}, "strength"),
            ({"noise": -1}, "noise"),
        ],
    )
    def test_wrong_parameters_are_refused(self, arguments: dict, match: str) -> None:
        with pytest.raises(ScanError, match=match):
            denoise(np.eye(4), **arguments)

    @pytest.mark.parametrize("image", [np.zeros((2, 2, 3)), np.full((2, 2), np.nan), np.zeros((0, 3))])
    def test_what_is_no_slice_is_refused(self, image: np.ndarray) -> None:
        with pytest.raises(ScanError):
            denoise(image)
