from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from skimage import feature

from tumorscope.datasets import phantom
from tumorscope.errors import ScanError
from tumorscope.imaging.edges import canny, sobel, unsharp

shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)
images = hnp.arrays(np.float32, shapes, elements=st.floats(0, 1, width=32))


class TestUnsharp:
    @settings(max_examples=40)
    @given(images)
    def test_amount_zero_changes_nothing(self, image: np.ndarray) -> None:
        assert np.array_equal(unsharp(image, 0), image)

    @settings(max_examples=40)
    @given(images, st.floats(0, 3), st.floats(0.5, 3))
    def test_it_is_linear_in_the_amount(self, image: np.ndarray, amount: float, sigma: float) -> None:
        expected = image + amount * (unsharp(image, 1, sigma) - image)
        np.testing.assert_allclose(unsharp(image, amount, sigma), expected, atol=1e-5)

    @settings(max_examples=40)
    @given(images, st.sampled_from([-2.0, 0.25, 4096.0]), st.sampled_from([-2.0, 0.0, 5.0]))
    def test_units_pass_through(self, image: np.ndarray, factor: float, shift: float) -> None:
        moved = unsharp(image * factor + shift)
        np.testing.assert_allclose(moved, unsharp(image) * factor + shift, atol=1e-5 * abs(factor) + 1e-5)

    def test_it_is_the_gaussian_of_scipy_taken_away(self) -> None:
        image = np.random.default_rng(0).random((31, 22))
        expected = image + 0.7 * (image - ndimage.gaussian_filter(image, 1.5, mode="reflect"))
        np.testing.assert_allclose(unsharp(image, 0.7, 1.5), expected, atol=2e-3)

    @pytest.mark.parametrize("arguments", [{"amount": -1}, {"amount": np.nan}, {"sigma": 0}, {"sigma": np.inf}])
    def test_wrong_parameters_are_refused(self, arguments: dict) -> None:
        with pytest.raises(ScanError, match="unsharp"):
            unsharp(np.eye(4), **arguments)


class TestSobel:
    @pytest.mark.parametrize("scale", [1e-20, 1.0, 1e25])
    def test_a_ramp_has_its_slope(self, scale: float) -> None:
        y, x = np.mgrid[:12, :15]
        np.testing.assert_allclose(sobel(scale * (3 * x - 4 * y))[1:-1, 1:-1], 5 * scale, rtol=1e-5)

    @settings(max_examples=40)
    @given(images)
    def test_it_is_scipys(self, image: np.ndarray) -> None:
        plane = image.astype(np.float64)
        expected = np.hypot(*(ndimage.sobel(plane, axis, mode="reflect") for axis in (0, 1))) / 8
        np.testing.assert_allclose(sobel(image), expected, atol=1e-5)

    @settings(max_examples=40)
    @given(images)
    def test_flips_transposition_and_sign_commute(self, image: np.ndarray) -> None:
        expected = sobel(image)
        np.testing.assert_allclose(sobel(image[::-1, ::-1])[::-1, ::-1], expected, atol=1e-6)
        np.testing.assert_allclose(sobel(image.T).T, expected, atol=1e-6)
        np.testing.assert_allclose(sobel(-image), expected, atol=1e-6)


class TestCanny:
    def test_a_discs_edge_is_a_thin_ring_at_its_radius(self) -> None:
        y, x = np.mgrid[-40:41, -40:41]
        radius = np.hypot(y, x)
        edges = canny(100.0 * (radius < 25))
        assert np.abs(radius[edges] - 25).max() < 1.5
        angles = np.unique(np.round(np.degrees(np.arctan2(y, x)[edges]) / 10))
        assert len(angles) == 37  # all the way round
        assert edges.sum() < 2 * np.pi * 25 * 1.3

    def test_it_agrees_with_scikit_image_within_a_pixel(self) -> None:
        image = phantom.make(2, "axial", "t1ce", noise=0.005, offset=20.0).image.astype(np.float32)
        ours = canny(image, 2.0, low=2.0, high=5.0)
        # theirs does not divide Sobel's kernels by 8
        theirs = feature.canny(image, 2.0, low_threshold=16.0, high_threshold=40.0, mode="reflect")
        for one, other in ((ours, theirs), (theirs, ours)):
            near = cv2.dilate(other.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            assert one.sum() > 500 and np.mean(near[one]) > 0.97

    def test_the_slope_of_an_oblique_edge_is_its_length(self) -> None:
        y, x = np.mgrid[:60, :60]
        image = 100.0 * (x + y > 60)
        steepest = sobel(ndimage.gaussian_filter(image, 1.4)).max()
        assert canny(image, high=0.9 * steepest).any()
        assert not canny(np.where(x + y > 60, 100.0, 0.0) + 3000.0 * (x + y == 0), high=1.2 * steepest)[
            20:40, 20:40
        ].any()

    def test_noise_alone_has_hardly_an_edge(self) -> None:
        image = np.random.default_rng(0).normal(100, 5, (128, 128))
        assert canny(image).mean() < 0.002
        image[:, 64:] += 60
        assert canny(image)[:, 61:67].any(axis=1).mean() > 0.95

    @settings(max_examples=40)
    @given(images, st.sampled_from([0.25, 4096.0]))
    def test_units_do_not_matter(self, image: np.ndarray, factor: float) -> None:
        assert np.array_equal(canny(image * np.float32(factor)), canny(image))

    @settings(max_examples=40)
    @given(images)
    def test_higher_thresholds_leave_fewer_edges(self, image: np.ndarray) -> None:
        many, few = canny(image, low=0.02, high=0.05), canny(image, low=0.05, high=0.1)
        assert not (few & ~many).any()
        assert not canny(image, low=1.0, high=2.0).any()

    @settings(max_examples=20)
    @given(shapes, st.floats(-1e4, 1e4, width=32))
    def test_a_constant_image_has_none(self, shape: tuple[int, int], value: float) -> None:
        assert not canny(np.full(shape, value)).any()

    def test_one_threshold_sets_the_other(self) -> None:
        image = phantom.make(2, "axial", offset=20.0).image
        assert np.array_equal(canny(image, high=10), canny(image, low=4, high=10))
        assert np.array_equal(canny(image, low=4), canny(image, low=4, high=10))

    @pytest.mark.parametrize("arguments", [{"low": 3, "high": 2}, {"low": -1}, {"high": np.nan}, {"sigma": 0}])
    def test_wrong_parameters_are_refused(self, arguments: dict) -> None:
        with pytest.raises(ScanError, match="canny"):
            canny(np.eye(9), **arguments)


@pytest.mark.parametrize("call", [unsharp, sobel, canny])
@pytest.mark.parametrize("image", [np.zeros((2, 2, 3)), np.full((2, 2), np.nan), np.zeros((0, 3))])
def test_what_is_no_slice_is_refused(call: object, image: np.ndarray) -> None:
    with pytest.raises(ScanError):
        call(image)
