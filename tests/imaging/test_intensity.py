from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tumorscope.errors import ScanError
from tumorscope.imaging.intensity import as_mask, as_plane, normalize, percentiles, standardize

shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=24)
planes = hnp.arrays(np.float32, shapes, elements=st.floats(-1e6, 1e6, width=32))


class TestNormalize:
    @settings(max_examples=50)
    @given(planes, st.sampled_from(["percentile", "zscore"]))
    def test_result_is_float32_in_zero_to_one_and_keeps_the_order(self, image: np.ndarray, method: str) -> None:
        result = normalize(image, method)
        assert result.dtype == np.float32 and result.shape == image.shape
        assert result.min() >= 0 and result.max() <= 1
        order = np.argsort(image, axis=None)
        assert (np.diff(result.ravel()[order]) >= 0).all()

    @settings(max_examples=50)
    @given(
        hnp.arrays(np.uint8, shapes),
        st.sampled_from([1 / 64, 0.5, 16.0, 256.0]),
        st.sampled_from([-300.0, 0.0, 1024.0]),
        st.sampled_from(["percentile", "zscore"]),
    )
    def test_scale_and_offset_of_the_scanner_do_not_matter(
        self, image: np.ndarray, factor: float, offset: float, method: str
    ) -> None:
        moved = image.astype(np.float64) * factor + offset
        np.testing.assert_allclose(normalize(moved, method), normalize(image, method), atol=2e-5)

    def test_eight_bit_sixteen_bit_and_z_scored_input_agree(self) -> None:
        image = np.random.default_rng(1).integers(0, 256, (40, 30))
        expected = normalize(image.astype(np.uint8))
        scored = (image - image.mean()) / image.std()
        np.testing.assert_allclose(normalize((image * 257).astype(np.uint16)), expected, atol=1e-5)
        np.testing.assert_allclose(normalize(scored), expected, atol=1e-5)

    def test_percentiles_come_from_the_chosen_pixels(self) -> None:
        image = np.concatenate([np.linspace(0, 100, 101), np.full(100, 5000)])[None]
        head = image <= 100
        result = normalize(image, low=0, high=100, where=head)
        np.testing.assert_allclose(result[head], np.linspace(0, 1, 101), atol=1e-6)
        assert (result[~head] == 1).all()

    def test_an_empty_choice_means_all_pixels(self) -> None:
        image = np.arange(12.0).reshape(3, 4)
        assert np.array_equal(normalize(image, where=np.zeros((3, 4), bool)), normalize(image))

    def test_a_spot_on_black_is_not_lost(self) -> None:
        image = np.zeros((100, 100))
        image[50, 50] = 9
        assert normalize(image)[50, 50] == 1
        assert normalize(image).sum() == 1

    @pytest.mark.parametrize("value", [0, -3.5, 255, 65535, 1e20])
    def test_a_constant_image_becomes_zero(self, value: float) -> None:
        assert (normalize(np.full((5, 1), value)) == 0).all()
        assert (normalize(np.full((5, 1), value), "zscore") == 0).all()

    def test_zscore_golden_row(self) -> None:
        # mean 2, standard deviation 2: 2 -> 0.5, 2 + 2 -> 0.5 + 1/6
        result = normalize(np.array([[0.0, 4.0, 0.0, 4.0]]), "zscore")
        np.testing.assert_allclose(result, [[1 / 3, 2 / 3, 1 / 3, 2 / 3]], atol=1e-6)

    def test_wrong_arguments_are_refused(self) -> None:
        with pytest.raises(ScanError, match="did you mean 'zscore'"):
            normalize(np.zeros((2, 2)), "z-score")
        with pytest.raises(ScanError, match="out of order"):
            normalize(np.zeros((2, 2)), low=99, high=1)
        with pytest.raises(ScanError, match="does not fit"):
            normalize(np.zeros((2, 2)), where=np.zeros((2, 3)))


class TestStandardize:
    @settings(max_examples=50)
    @given(planes, st.integers(0, 2**32 - 1))
    def test_the_head_gets_mean_zero_and_standard_deviation_one(self, image: np.ndarray, seed: int) -> None:
        image = image + np.random.default_rng(seed).normal(0, 1e4, image.shape)  # so that it is not constant
        head = np.random.default_rng(seed).random(image.shape) < 0.5
        head.flat[0] = True
        scored = standardize(image, where=head)
        assert scored.dtype == np.float32 and scored.shape == image.shape
        if head.sum() < 2:
            assert (scored == 0).all()
            return
        assert scored[head].mean(dtype=np.float64) == pytest.approx(0, abs=1e-4)
        assert scored[head].std(dtype=np.float64) == pytest.approx(1, abs=1e-4)

    @settings(max_examples=50)
    @given(
        hnp.arrays(np.uint8, shapes),
        st.sampled_from([1 / 64, 0.5, 16.0, 256.0]),
        st.sampled_from([-300.0, 0.0, 1024.0]),
        st.sampled_from(["percentile", "zscore"]),
    )
    def test_scale_and_offset_of_the_scanner_do_not_matter(
        self, image: np.ndarray, factor: float, offset: float, method: str
    ) -> None:
        moved = image.astype(np.float64) * factor + offset
        np.testing.assert_allclose(standardize(moved, method), standardize(image, method), rtol=1e-4, atol=1e-4)

    def test_within_its_percentiles_it_is_normalize(self) -> None:
        image = np.random.default_rng(0).normal(0, 1, (40, 30))
        found = standardize(image, "percentile", 5, 95)
        np.testing.assert_allclose(np.clip(found, 0, 1), normalize(image, "percentile", 5, 95), atol=1e-6)
        assert found.min() < -0.1 and found.max() > 1.1

    @pytest.mark.parametrize("value", [0, -3.5, 65535, 1e20])
    @pytest.mark.parametrize("method", ["percentile", "zscore"])
    def test_a_constant_head_becomes_zero(self, value: float, method: str) -> None:
        assert (standardize(np.full((5, 1), value), method) == 0).all()

    def test_an_empty_choice_means_all_pixels(self) -> None:
        image = np.arange(12.0).reshape(3, 4)
        assert np.array_equal(standardize(image, where=np.zeros((3, 4), bool)), standardize(image))

    def test_wrong_arguments_are_refused(self) -> None:
        with pytest.raises(ScanError, match="did you mean 'zscore'"):
            standardize(np.zeros((2, 2)), "z-score")
        with pytest.raises(ScanError, match="out of order"):
            standardize(np.zeros((2, 2)), low=99, high=1)
        with pytest.raises(ScanError, match="does not fit"):
            standardize(np.zeros((2, 2)), where=np.zeros((2, 3)))


class TestAsPlane:
    @pytest.mark.parametrize("kind", [np.bool_, np.uint8, np.int16, np.uint16, np.int64, np.float64])
    def test_numbers_are_converted(self, kind: type) -> None:
        assert as_plane(np.ones((2, 3), kind)).dtype == np.float32

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
    def test_values_that_are_not_finite_are_refused(self, value: float) -> None:
        image = np.zeros((3, 3))
        image[1, 2] = value
        with pytest.raises(ScanError, match="1 of 9 values are NaN or infinite"):
            as_plane(image)

    def test_absurdly_large_values_are_refused(self) -> None:
        with pytest.raises(ScanError, match="rescale the scan"):
            as_plane(np.array([[1e35]]))

    @pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 3), ()])
    def test_other_shapes_are_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ScanError, match="image"):
            as_plane(np.zeros(shape))

    @pytest.mark.parametrize("array", [np.zeros((2, 2), complex), np.full((2, 2), "a"), np.full((2, 2), None)])
    def test_what_is_no_number_is_refused(self, array: np.ndarray) -> None:
        with pytest.raises(ScanError, match="no grey values"):
            as_plane(array)

    def test_a_mask_of_another_shape_is_refused(self) -> None:
        with pytest.raises(ScanError, match="resample"):
            as_mask(np.zeros((2, 2)), (2, 3))


@settings(max_examples=50)
@given(planes, st.lists(st.floats(0, 100), min_size=1, max_size=3))
def test_percentiles_are_those_of_numpy(values: np.ndarray, percents: list[float]) -> None:
    np.testing.assert_allclose(percentiles(values, *percents), np.percentile(values.astype(float), percents), rtol=1e-9)
