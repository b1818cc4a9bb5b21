from __future__ import annotations

from functools import partial

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tumorscope.datasets import phantom
from tumorscope.errors import ScanError
from tumorscope.imaging.musica import (
    DETAIL_OF_NOISE,
    DIFFERENCES_OF_NOISE,
    FORMS,
    HALVED,
    NEAR_BLACK,
    Curve,
    from_pyramid,
    gaussian_pyramid,
    laplacian_pyramid,
    level_noise,
    musica,
)
from tumorscope.imaging.noise import mixed_differences

shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=41)
images = hnp.arrays(np.float32, shapes, elements=st.floats(0, 1, width=32))
forms = st.sampled_from(FORMS)
IDENTITY = {
    "vuylsteke": partial(musica, gain=1, exponent=1),
    "reference": partial(musica, form="reference", gain=1),
    "dippel": partial(musica, form="dippel", gain=0),
}
EXTRAS = {"noise": 3.0, "edge": 1.5, "latitude": 0.6, "keep_black": True}
settings_of = st.fixed_dictionaries(
    {},
    optional={
        "noise": st.sampled_from([1.0, 3.0]),
        "edge": st.sampled_from([0.5, 2.0]),
        "latitude": st.sampled_from([0.3, 0.8]),
        "keep_black": st.booleans(),
        "gain": st.lists(st.floats(0, 3), min_size=6, max_size=6),
    },
)


class TestLaws:
    @settings(max_examples=40)
    @given(images, st.sampled_from(sorted(IDENTITY)), st.integers(1, 9), st.sampled_from([0.0, 3.0]))
    def test_neutral_parameters_change_nothing(self, image: np.ndarray, form: str, levels: int, noise: float) -> None:
        np.testing.assert_allclose(IDENTITY[form](image, levels=levels, noise=noise), image, atol=1e-5)

    @settings(max_examples=40)
    @given(images, st.integers(1, 9))
    def test_a_pyramid_put_together_again_is_the_image(self, image: np.ndarray, levels: int) -> None:
        details, rest = laplacian_pyramid(image, levels)
        assert len(details) <= levels
        np.testing.assert_allclose(from_pyramid(details, rest), image, atol=1e-5)

    @settings(max_examples=40)
    @given(images, forms, st.sampled_from([0.5, 1.0]), st.sampled_from([1.0, 1.5]))
    def test_a_change_of_sign_passes_through(self, image: np.ndarray, form: str, latitude: float, edge: float) -> None:
        enhance = partial(musica, form=form, latitude=latitude, edge=edge)
        np.testing.assert_allclose(enhance(-image), -enhance(image), atol=1e-5)

    @settings(max_examples=40)
    @given(images, forms, st.sampled_from([0.25, 8.0, 4096.0]), st.sampled_from([-2.0, 0.0, 5.0]))
    def test_units_pass_through(self, image: np.ndarray, form: str, factor: float, shift: float) -> None:
        image = np.round(image * 256) / 256  # a shift loses no digits of these
        moved = musica(image * factor + shift, form=form, latitude=0.5)
        np.testing.assert_allclose(
            moved, musica(image, form=form, latitude=0.5) * factor + shift, atol=1e-4 * factor + 1e-4
        )

    @settings(max_examples=60)
    @given(images, forms, settings_of)
    def test_transposing_commutes_to_the_last_bit(self, image: np.ndarray, form: str, chosen: dict) -> None:
        assert np.array_equal(musica(image.T, form=form, **chosen), musica(image, form=form, **chosen).T)

    @settings(max_examples=20)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 4))
    def test_transposing_a_square_commutes_to_the_last_bit(self, seed: int, same: int) -> None:
        image = np.random.default_rng(seed).random((33, 33)).astype(np.float32)
        image[:same] = image[:, :same].T  # the first rows and columns do not tell which way round it is
        assert np.array_equal(musica(image.T, **EXTRAS), musica(image, **EXTRAS).T)

    @settings(max_examples=40)
    @given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 3), forms)
    def test_flipping_commutes_where_every_level_has_an_odd_size(self, seed: int, a: int, b: int, form: str) -> None:
        image = np.random.default_rng(seed).random((16 * a + 1, 16 * b + 1)).astype(np.float32)
        enhance = partial(musica, levels=4, form=form, latitude=0.5, edge=1.5)
        np.testing.assert_allclose(enhance(image[::-1, ::-1]), enhance(image)[::-1, ::-1], atol=1e-5)

    @settings(max_examples=40)
    @given(shapes, st.floats(-1e4, 1e4, width=32), forms, settings_of)
    def test_a_constant_image_stays(self, shape: tuple[int, int], value: float, form: str, chosen: dict) -> None:
        image = np.full(shape, value, np.float32)
        np.testing.assert_allclose(musica(image, form=form, **chosen), image, rtol=1e-5, atol=1e-30)

    @settings(max_examples=40)
    @given(images, forms)
    def test_near_black_pixels_keep_their_value(self, image: np.ndarray, form: str) -> None:
        image[0, 0], image[-1, -1] = 0, 1
        black = image <= 0.9 * NEAR_BLACK * (np.percentile(image, 99.8) - np.percentile(image, 0.1))
        result = musica(image, form=form, **EXTRAS)
        np.testing.assert_allclose(result[black], image[black], atol=1e-6)

    @settings(max_examples=40)
    @given(images, forms)
    def test_one_gain_is_as_many_equal_ones(self, image: np.ndarray, form: str) -> None:
        assert np.array_equal(musica(image, form=form, gain=1.7), musica(image, form=form, gain=[1.7] * 6))


curves = st.builds(
    Curve,
    form=st.sampled_from(["vuylsteke", "reference"]),
    gain=st.floats(0, 4),
    exponent=st.floats(0.2, 2),
    crossover=st.floats(0.01, 1),
    noise=st.sampled_from([0.0, 0.02, 0.3, 2.0]),
) | st.builds(
    Curve,
    form=st.just("dippel"),
    gain=st.floats(0, 1),
    exponent=st.floats(1, 2),
    noise=st.sampled_from([0.0, 0.02, 0.3]),
)
LINE = np.linspace(-1, 1, 2001, dtype=np.float32)[None]


class TestCurve:
    @settings(max_examples=100)
    @given(curves)
    def test_it_is_odd_and_never_falls(self, curve: Curve) -> None:
        changed = curve(LINE)[0]
        np.testing.assert_allclose(changed, -changed[::-1], atol=1e-6)
        assert np.diff(changed).min() >= -2e-6
        assert changed[1000] == 0

    @settings(max_examples=100)
    @given(curves)
    def test_detail_within_the_noise_is_not_amplified(self, curve: Curve) -> None:
        within = np.abs(LINE) <= curve.noise
        assert (np.abs(curve(LINE))[within] <= np.abs(LINE)[within] * (1 + 1e-5)).all()

    @settings(max_examples=50)
    @given(curves)
    def test_detail_from_twice_the_noise_on_is_changed_in_full(self, curve: Curve) -> None:
        full = Curve(curve.form, curve.gain, curve.exponent, curve.crossover)
        beyond = np.abs(LINE) >= 2 * curve.noise
        np.testing.assert_allclose(curve(LINE)[beyond], full(LINE)[beyond], rtol=1e-5, atol=1e-6)

    def test_what_is_made_weaker_is_so_in_the_noise_too(self) -> None:
        curve = Curve("reference", gain=0.5, noise=0.5)
        np.testing.assert_allclose(curve(LINE), 0.5 * LINE, atol=1e-7)

    def test_more_rows_than_one_block_are_treated_alike(self) -> None:
        detail = np.random.default_rng(0).normal(0, 1, (300, 500)).astype(np.float32)
        size = np.abs(detail) / np.abs(detail).max()
        np.testing.assert_allclose(Curve()(detail), detail * np.maximum(size, 0.01) ** -0.3, rtol=1e-4)


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
        # edge multiplies the finest level's gain in full
        assert musica(image, levels=1, form="reference", gain=1.5, edge=2)[0, 0] == pytest.approx(-0.5, abs=1e-6)

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

    def test_gains_edge_and_latitude_act_on_their_level_alone(self) -> None:
        image = np.random.default_rng(0).random((65, 49)).astype(np.float32)
        details, rest = laplacian_pyramid(image, 5)
        factors = [2.0 * 8.0, 1.0 * 4.0, 0.5 * 2.0, 1.0, 3.0]  # the gains below, times 8 to the power 1, 2/3, 1/3, 0, 0
        middle = rest.mean()
        expected = from_pyramid(
            [detail * np.float32(factor) for detail, factor in zip(details, factors, strict=True)],
            middle + 0.25 * (rest - middle),
        )
        found = musica(image, levels=5, form="reference", gain=[2, 1, 0.5, 1, 3], edge=8, latitude=0.25)
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_a_small_image_uses_the_first_gains(self) -> None:
        image = np.random.default_rng(0).random((3, 3)).astype(np.float32)
        few, many = musica(image, levels=2, gain=[2, 3]), musica(image, levels=6, gain=[2, 3, 9, 9, 9, 9])
        assert np.array_equal(few, many)


class TestLevelNoise:
    def test_its_constants_are_those_of_white_noise(self) -> None:
        grain = np.random.default_rng(0).normal(0, 1, (2048, 2048)).astype(np.float32)
        blurred = gaussian_pyramid(grain, 5)
        details, _ = laplacian_pyramid(grain, 5)
        differences = [float(mixed_differences(plane)[4:-4, 4:-4].std()) for plane in blurred]
        spreads = [float(detail[4:-4, 4:-4].std()) for detail in details]
        np.testing.assert_allclose(differences[:3], DIFFERENCES_OF_NOISE, rtol=0.01)
        np.testing.assert_allclose(spreads[:3], DETAIL_OF_NOISE, rtol=0.01)
        np.testing.assert_allclose(np.divide(spreads[3:], spreads[2:-1]), HALVED, rtol=0.05)

    @pytest.mark.parametrize("noise", [0.01, 0.02, 0.04])
    def test_it_finds_the_noise_of_a_phantom(self, noise: float) -> None:
        noisy = phantom.make(2, "axial", "t1ce", noise=noise, offset=20.0, bits=16)
        clean = phantom.make(2, "axial", "t1ce", noise=0.0, offset=20.0, bits=16).image.astype(np.float32)
        image = noisy.image.astype(np.float32)
        details, _ = laplacian_pyramid(image - clean, 4)
        truth = [float(details[0][noisy.brain].std())]
        inside = cv2.pyrDown(noisy.brain.astype(np.float32)) > 0.99
        truth.append(float(details[1][inside].std()))
        found = level_noise(gaussian_pyramid(image, 4))
        # anatomy adds to it where there is little noise
        assert (np.divide(found[:2], truth) > 0.8).all()
        assert (np.divide(found[:2], truth) < 1.6).all()

    def test_containment_spares_the_grain_and_grows_the_rest(self) -> None:
        y, x = np.mgrid[-1:1:128j, -1:1:128j]
        disc = (np.hypot(x, y) < 0.4).astype(np.float32)
        grain = np.random.default_rng(0).normal(0, 0.02, disc.shape).astype(np.float32)
        image = 0.5 + cv2.GaussianBlur(0.2 * disc, (0, 0), 2) + grain
        flat = np.hypot(x, y) > 0.7
        open_, contained = musica(image), musica(image, noise=3)
        assert open_[flat].std() > 1.3 * image[flat].std()
        assert contained[flat].std() < 1.15 * image[flat].std()
        inner = np.hypot(x, y) < 0.3
        rise = [float(one[inner].mean() - one[flat].mean()) for one in (image, contained)]
        assert rise[1] > 1.1 * rise[0]

    @settings(max_examples=30)
    @given(images, st.sampled_from([0.25, 8.0, 4096.0]))
    def test_units_pass_through(self, image: np.ndarray, factor: float) -> None:
        image = np.round(image * 256) / 256
        found = level_noise(gaussian_pyramid(image, 5))
        np.testing.assert_allclose(
            level_noise(gaussian_pyramid(image * np.float32(factor), 5)), np.multiply(found, factor), rtol=1e-4
        )


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 37), (37, 1), (2, 2), (5, 8), (97, 64)])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("extras", [{}, EXTRAS])
def test_any_size_keeps_its_shape(shape: tuple[int, int], form: str, extras: dict) -> None:
    image = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    result = musica(image, form=form, **extras)
    assert result.shape == shape and result.dtype == np.float32 and np.isfinite(result).all()


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"form": "dipel"}, "did you mean 'dippel'"),
        ({"levels": 0}, "levels"),
        ({"gain": -1}, "gain"),
        ({"gain": np.nan}, "gain"),
        ({"gain": [1, 2]}, "2 gains for 6 levels"),
        ({"gain": [1, 2, -1], "levels": 3}, "gain"),
        ({"exponent": 0}, "exponent"),
        ({"crossover": 0}, "crossover"),
        ({"crossover": 1.5}, "crossover"),
        ({"noise": -1}, "noise"),
        ({"noise": np.nan}, "noise"),
        ({"edge": 0}, "edge"),
        ({"latitude": 0}, "latitude"),
        ({"latitude": 1.5}, "latitude"),
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


@pytest.mark.parametrize("shape", [(20, 20), (12, 30), (1, 1)])
def test_the_input_is_left_alone(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    before = image.copy()
    for form in FORMS:
        for extras in ({}, EXTRAS):
            result = musica(image, form=form, **extras)
            assert not np.shares_memory(result, image)
    assert np.array_equal(image, before)
