"""Noise is found on slopes and in the head, and nowhere else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tumorscope.imaging.noise import mixed_differences, noise_level

shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)
images = hnp.arrays(np.float32, shapes, elements=st.floats(0, 1, width=32))


class TestNoiseLevel:
    @pytest.mark.parametrize("noise", [1.0, 4.0, 12.0])
    def test_white_noise_on_a_slope_is_found(self, noise: float) -> None:
        y, x = np.mgrid[:200, :160]
        image = 400 + 2.0 * y + x + np.random.default_rng(0).normal(0, noise, y.shape)
        assert noise_level(image, np.ones(y.shape)) == pytest.approx(noise, rel=0.03)

    def test_black_surroundings_do_not_count(self) -> None:
        image = np.zeros((100, 100))
        image[40:90, 30:80] = 100 + np.random.default_rng(0).normal(0, 3, (50, 50))
        assert noise_level(image) == pytest.approx(3, rel=0.1)
        assert noise_level(image, np.zeros((100, 100), bool)) == noise_level(image)

    @pytest.mark.parametrize("shape", [(1, 1), (2, 9), (9, 2), (3, 3)])
    def test_thin_and_flat_images_have_none(self, shape: tuple[int, int]) -> None:
        assert noise_level(np.full(shape, 7)) == 0

    @settings(max_examples=30)
    @given(images, st.integers(1, 4))
    def test_mixed_differences_are_opencvs_filter(self, image: np.ndarray, step: int) -> None:
        kernel = np.outer([1, -2, 1], [1, -2, 1]).astype(np.float32)
        found = mixed_differences(image, step)
        if min(image.shape) < 3:
            assert found.size == 0
            return
        expected = cv2.filter2D(image, cv2.CV_32F, kernel)[1:-1:step, 1:-1:step]
        np.testing.assert_allclose(found, expected, atol=1e-5)
