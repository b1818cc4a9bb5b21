from __future__ import annotations

import time
from functools import partial

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tumorscope.errors import ScanError
from tumorscope.imaging.musica import FORMS, NEAR_BLACK, from_pyramid, laplacian_pyramid, musica

shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=41)
images = hnp.arrays(np.float32, shapes, elements=st.floats(0, 1, width=32))
forms = st.sampled_from(FORMS)
IDENTITY = {
    "vuylsteke": partial(musica, gain=1, exponent=1),
    "reference": partial(musica, form="reference", gain=1),
    "dippel": partial(musica, form="dippel", gain=0),
}


class TestLaws:
    @settings(max_examples=40)
    @given(images, st.sampled_from(sorted(IDENTITY)), st.integers(1, 9))
    def test_neutral_parameters_change_nothing(self, image: np.ndarray, form: str, levels: int) -> None:
        np.testing.assert_allclose(IDENTITY[form](image, levels=levels), image, atol=1e-5)

    @settings(max_examples=40)
    @given(images, st.integers(1, 9))
    def test_a_pyramid_put_together_again_is_the_image(self, image: np.ndarray, levels: int) -> None:
        details, rest = laplacian_pyramid(image, levels)
        assert len(details) <= levels
        np.testing.assert_allclose(from_pyramid(details, rest), image, atol=1e-5)

    @settings(max_examples=40)
    @given(images, forms)
    def test_a_change_of_sign_passes_through(self, image: np.ndarray, form: str) -> None:
        np.testing.assert_allclose(musica(-image, form=form), -musica(image, form=form), atol=1e-5)

    @settings(max_examples=40)
    @given(images, forms, st.sampled_from([0.25, 8.0, 4096.0]), st.sampled_from([-2.0, 0.0, 5.0]))
    def test_units_pass_through(self, image: np.ndarray, form: str, factor: float, shift: float) -> None:
        image = np.round(image * 256) / 256  # a shift loses no digits of these
        moved = musica(image * factor + shift, form=form)
        np.testing.assert_allclose(moved, musica(image, form=form) * factor + shift, atol=1e-4 * factor + 1e-4)

    @settings(max_examples=40)
    @given(images, forms)
    def test_transposing_commutes(self, image: np.ndarray, form: str) -> None:
        # the filters add rows and columns in another order: equal up to float32 rounding
        np.testing.assert_allclose(musica(image.T, form=form), musica(image, form=form).T, atol=1e-5)

    @settings(max_examples=40)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 3), forms)
    def test_flipping_commutes_where_every_level_has_an_odd_size(self, seed: int, a: int, b: int, form: str) -> None:
        image = np.random.default_rng(seed).random((16 * a + 1, 16 * b + 1)).astype(np.float32)
        flipped = musica(image[::-1, ::-1], levels=4, form=form)
        np.testing.assert_allclose(flipped, musica(image, levels=4, form=form)[::-1, ::-1], atol=1e-5)

    @settings(max_examples=40)
    @given(shapes, st.floats(-1e4, 1e4, width=32), forms, st.booleans())
    def test_a_constant_image_stays(self, shape: tuple[int, int], value: float, form: str, black: bool) -> None:
        image = np.full(shape, value, np.float32)
        np.testing.assert_allclose(musica(image, form=form, keep_black=black), image, rtol=1e-5, atol=1e-30)

    @settings(max_examples=40)
    @given(images, forms)
    def test_near_black_pixels_keep_their_value(self, image: np.ndarray, form: str) -> None:
        image[0, 0], image[-1, -1] = 0, 1
        black = image <= 0.9 * NEAR_BLACK * (np.percentile(image, 99.8) - np.percentile(image, 0.1))
        result = musica(image, form=form, keep_black=True)
        np.testing.assert_allclose(result[black], image[black], atol=1e-6)


class TestGoldenRows:
    def test_one_level_by_hand(self) -> None:
        # One bright pixel on black, 3x3. pyrDown gives 2x2 of 36/256 * 4 / 4: by the kernel (1 4 6 4 1)/16 with
        # reflected borders each of the four corners sees the centre with weight (8/16)^2 = 1/4.
        image = np.zeros((3, 3), np.float32)
        image[1, 1] = 1
        (detail,), rest = laplacian_pyramid(image, 1)
        np.testing.assert_allclose(rest, np.full((2, 2), 0.25), atol=1e-7)
        np.testing.assert_allclose(detail, image - 0.25, atol=1e-7)
        # detail: centre 3/4 = M, others -1/4. With p = 0.5: 3/4 * sqrt(1/3) = 0.4330
        enhanced = musica(image, levels=1, exponent=0.5)
        assert enhanced[1, 1] == pytest.approx(1.0, abs=1e-6)
        assert enhanced[0, 0] == pytest.approx(0.25 - 0.75 * np.sqrt(1 / 3), abs=1e-6)
        # dippel, gain 1, p = 0.5: -1/4 * (1 + sqrt(1 - 1/3)) = -0.4541
        assert musica(image, levels=1, form="dippel", exponent=0.5)[0, 0] == pytest.approx(
            0.25 - 0.25 * (1 + np.sqrt(2 / 3)), abs=1e-6
        )
        # reference, gain 3: 0.25 - 3/4
        assert musica(image, levels=1, form="reference", gain=3)[0, 0] == pytest.approx(-0.5, abs=1e-6)

    def test_below_the_crossover_the_curve_is_the_straight_line(self) -> None:
        image = np.zeros((3, 3), np.float32)
        image[1, 1] = 1
        # |x|/M = 1/3 lies below xc/M = 0.5: slope (M/xc)^(1-p) = 2^0.3
        enhanced = musica(image, levels=1, exponent=0.7, crossover=0.5)
        assert enhanced[0, 0] == pytest.approx(0.25 - 0.25 * 2**0.3, abs=1e-6)

    def test_weak_detail_grows_more_than_strong(self) -> None:
        _, x = np.mgrid[:64, :64]
        weak, strong = 0.01 * np.sin(x * 2.5) * (x < 32), 0.5 * np.sin(x * 2.5) * (x >= 32)
        image = (weak + strong).astype(np.float32)
        grown = musica(image, exponent=0.6)
        assert np.ptp(grown[:, 4:28]) / np.ptp(image[:, 4:28]) > 2
        assert np.ptp(grown[:, 36:60]) / np.ptp(image[:, 36:60]) < 1.5


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 37), (37, 1), (2, 2), (5, 8), (97, 64)])
@pytest.mark.parametrize("form", FORMS)
def test_any_size_keeps_its_shape(shape: tuple[int, int], form: str) -> None:
    image = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    result = musica(image, form=form)
    assert result.shape == shape and result.dtype == np.float32 and np.isfinite(result).all()


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"form": "dipel"}, "did you mean 'dippel'"),
        ({"levels": 0}, "levels"),
        ({"gain": -1}, "gain"),
        ({"gain": np.nan}, "gain"),
        ({"exponent": 0}, "exponent"),
        ({"crossover": 0}, "crossover"),
        ({"crossover": 1.5}, "crossover"),
    ],
)
def test_wrong_parameters_are_refused(wrong: dict[str, object], match: str) -> None:
    with pytest.raises(ScanError, match=match):
        musica(np.zeros((4, 4)), **wrong)


def test_an_image_that_is_no_slice_is_refused() -> None:
    with pytest.raises(ScanError, match="3-D"):
        musica(np.zeros((4, 4, 3)))
    with pytest.raises(ScanError, match="NaN"):
        musica(np.array([[np.nan]]))


def test_the_input_is_left_alone() -> None:
    image = np.random.default_rng(0).random((20, 20)).astype(np.float32)
    before = image.copy()
    for form in FORMS:
        musica(image, form=form, keep_black=True)
    assert np.array_equal(image, before)


def test_a_slice_takes_milliseconds() -> None:
    image = cv2.GaussianBlur(np.random.default_rng(0).random((256, 256)).astype(np.float32), (0, 0), 2)
    times = []
    for _ in range(7):
        start = time.process_time()
        musica(image)
        times.append(time.process_time() - start)
    assert min(times) < 0.02  # about 1 ms on one core; the margin is for busy machines
