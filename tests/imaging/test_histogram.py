from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.exposure import match_histograms

from tumorscope.datasets import phantom
from tumorscope.errors import ScanError
from tumorscope.imaging.histogram import Histogram, clahe, equalize, histogram, match_histogram

shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=24)
planes = hnp.arrays(np.float32, shapes, elements=st.floats(-1e6, 1e6, width=32))
bytes_ = hnp.arrays(np.uint8, shapes)


class TestHistogram:
    @settings(max_examples=50)
    @given(planes, st.integers(1, 300))
    def test_every_pixel_is_counted_once(self, image: np.ndarray, bins: int) -> None:
        found = histogram(image, bins)
        assert found.counts.shape == (1, bins) and found.edges.shape == (bins + 1,)
        assert found.counts.sum() == image.size

    @settings(max_examples=50)
    @given(planes)
    def test_the_distribution_rises_from_zero_to_one(self, image: np.ndarray) -> None:
        cdf = histogram(image).cdf
        assert (np.diff(cdf) >= 0).all() and cdf.min() >= 0
        assert cdf[0, -1] == 1

    @settings(max_examples=50)
    @given(bytes_)
    def test_eight_bits_have_a_bin_a_value(self, image: np.ndarray) -> None:
        found = histogram(image)
        assert np.array_equal(found.counts[0], np.bincount(image.ravel(), minlength=256))
        assert np.array_equal(found.edges, np.arange(257))

    @settings(max_examples=30)
    @given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))))
    def test_channels_are_counted_apart(self, image: np.ndarray) -> None:
        found = histogram(image)
        for channel in range(image.shape[2]):
            assert np.array_equal(found.counts[channel], histogram(image[..., channel]).counts[0])

    def test_only_the_chosen_pixels_count(self) -> None:
        image = np.array([[1, 2], [2, 9]], np.uint8)
        assert histogram(image, where=image < 9).counts[0, [1, 2, 9]].tolist() == [1, 2, 0]
        assert histogram(image, where=image > 9).counts.sum() == 4

    def test_what_lies_outside_the_limits_counts_in_the_outermost_bins(self) -> None:
        assert histogram(np.array([[-5.0, 0.5, 1.5, 99.0]]), 2, (0, 2)).counts.tolist() == [[2, 2]]

    @pytest.mark.parametrize("value", [0.0, -3.0, 1e20, 7])
    def test_a_constant_image_lies_in_one_bin(self, value: float) -> None:
        assert (histogram(np.full((3, 2), value)).counts > 0).sum() == 1

    @pytest.mark.parametrize(
        ("image", "arguments", "match"),
        [
            (np.zeros(3), {}, "1-D"),
            (np.zeros((2, 2, 2, 2)), {}, "4-D"),
            (np.zeros((2, 2, 0)), {}, "no channels"),
            (np.zeros((0, 2)), {}, "no pixels"),
            (np.full((2, 2), np.nan), {}, "NaN"),
            (np.zeros((2, 2)), {"bins": 0}, "bins"),
            (np.zeros((2, 2)), {"limits": (1, 1)}, "out of order"),
            (np.zeros((2, 2)), {"where": np.ones((3, 2))}, "does not fit"),
        ],
    )
    def test_wrong_input_is_refused(self, image: np.ndarray, arguments: dict, match: str) -> None:
        with pytest.raises(ScanError, match=match):
            histogram(image, **arguments)


class TestEqualize:
    @settings(max_examples=50)
    @given(bytes_)
    def test_it_is_opencvs_on_eight_bits(self, image: np.ndarray) -> None:
        if image.min() == image.max():
            assert (equalize(image) == 0).all()
            return
        # OpenCV rounds its scale to float32 before it multiplies: a half may fall to either side
        np.testing.assert_allclose(255 * equalize(image), cv2.equalizeHist(image), atol=0.501)

    @settings(max_examples=50)
    @given(planes)
    def test_order_stays_and_the_range_is_filled(self, image: np.ndarray) -> None:
        result = equalize(image)
        assert result.dtype == np.float32 and result.min() == 0
        assert (np.diff(result.ravel()[np.argsort(image, axis=None)]) >= 0).all()
        assert result.max() == (1 if image.max() > image.min() else 0)

    def test_sixteen_bits_lose_nothing(self) -> None:
        image = np.random.default_rng(0).permutation(65536).astype(np.uint16).reshape(256, 256)
        np.testing.assert_allclose(equalize(image), image / 65535, atol=1e-6)

    def test_only_the_chosen_pixels_count(self) -> None:
        image = np.array([[0.0, 0, 0, 0, 1, 2, 3]])
        np.testing.assert_allclose(equalize(image, where=image > 0), [[0, 0, 0, 0, 0, 0.5, 1]], atol=1e-7)
        assert np.array_equal(equalize(image, where=image > 9), equalize(image))


class TestClahe:
    @settings(max_examples=40)
    @given(planes, st.integers(1, 9), st.sampled_from([0.5, 2.0, 40.0]))
    def test_any_size_stays_in_zero_to_one(self, image: np.ndarray, tiles: int, clip: float) -> None:
        result = clahe(image, clip, tiles)
        assert result.shape == image.shape and result.dtype == np.float32
        assert result.min() >= 0 and result.max() <= 1

    def test_it_is_opencvs_on_eight_bits_of_full_range(self) -> None:
        image = phantom.make(1, "axial", offset=20.0).image
        image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)
        image[::3, ::5] = 255  # so that no percentile clips
        image[::5, ::3] = 0
        assert np.array_equal(np.rint(255 * clahe(image)), cv2.createCLAHE(2.0, (8, 8)).apply(image))

    @pytest.mark.parametrize("scale", [1.0, 256.0, 1 / 255])
    def test_bit_depth_does_not_matter(self, scale: float) -> None:
        image = phantom.make(1, "axial", offset=20.0).image
        np.testing.assert_allclose(clahe(image * scale), clahe(image), atol=0.02)

    def test_faint_structure_grows_as_far_as_the_clip_lets_it(self) -> None:
        _, x = np.mgrid[:128, :128]
        image = np.where(x < 64, 0.5 + 0.02 * np.sin(x), x / 127)
        image[:4] = 0
        found = np.ptp(clahe(image, 3.0)[40:90, 8:40]) / np.ptp(image[40:90, 8:40])
        assert 3 < found < 4

    @pytest.mark.parametrize("arguments", [{"clip": 0}, {"clip": np.nan}, {"tiles": 0}])
    def test_wrong_parameters_are_refused(self, arguments: dict) -> None:
        with pytest.raises(ScanError, match="clahe"):
            clahe(np.zeros((4, 4)), **arguments)

    def test_a_constant_image_becomes_zero(self) -> None:
        assert (clahe(np.full((20, 3), 9)) == 0).all()


class TestMatching:
    @settings(max_examples=50)
    @given(bytes_, bytes_)
    def test_it_is_scikit_images(self, image: np.ndarray, reference: np.ndarray) -> None:
        # theirs interpolates in the ranks alike, and leaves float64
        expected = match_histograms(image.astype(np.float64), reference.astype(np.float64))
        np.testing.assert_allclose(match_histogram(image, reference), expected, atol=1e-3)

    @settings(max_examples=50)
    @given(planes)
    def test_matched_to_itself_nothing_changes(self, image: np.ndarray) -> None:
        np.testing.assert_allclose(match_histogram(image, image), image, rtol=1e-6, atol=1e-30)

    def test_the_result_is_distributed_like_the_reference(self) -> None:
        rng = np.random.default_rng(0)
        image, reference = rng.normal(0, 1, (80, 70)), rng.gamma(2, 30, (70, 80))
        found = np.sort(match_histogram(image, reference), axis=None)
        np.testing.assert_allclose(found, np.sort(reference, axis=None), rtol=1e-3)  # float32 makes two values one

    def test_a_histogram_serves_as_reference(self) -> None:
        rng = np.random.default_rng(0)
        image, reference = rng.normal(0, 1, (80, 70)), rng.integers(0, 256, (70, 80)).astype(np.uint8)
        found = match_histogram(image, histogram(reference))
        np.testing.assert_allclose(found, match_histogram(image, reference) + 0.5, atol=0.51)
        with pytest.raises(ScanError, match="2 channels"):
            match_histogram(image, histogram(np.zeros((2, 2, 2))))

    def test_only_the_chosen_pixels_are_matched(self) -> None:
        image = np.array([[0.0, 0, 0, 1, 2, 3]])
        found = match_histogram(image, np.array([10, 20, 30]), where=image > 0)
        np.testing.assert_allclose(found, [[10, 10, 10, 10, 20, 30]])

    def test_an_empty_reference_is_refused(self) -> None:
        with pytest.raises(ScanError, match="reference"):
            match_histogram(np.zeros((2, 2)), np.zeros(0))
        with pytest.raises(ScanError, match="reference"):
            match_histogram(np.zeros((2, 2)), np.array([[np.nan]]))

    def test_a_histogram_of_nothing_in_some_bins_gives_no_value_in_them(self) -> None:
        reference = Histogram(np.arange(5.0), np.array([[3, 0, 0, 3]]))
        found = match_histogram(np.array([[0, 0, 0, 1, 1, 1]]), reference)
        np.testing.assert_allclose(found, [[0.5, 0.5, 0.5, 3.5, 3.5, 3.5]])
