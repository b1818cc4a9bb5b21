"""Synthesis with a denoiser that knows the answer: exactness, seeds, batches, and what stays untouched."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorscope.errors import ScanError, TumorscopeError
from tumorscope.inference.synthesis import Synthesizer, lesion_region, slerp

SIDE, MEAN, SPREAD = 16, 0.3, 0.2
RAMP = np.linspace(0.1, 0.9, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)


def knowing(target: np.ndarray, other: np.ndarray | None = None) -> Synthesizer:
    """One that takes every picture for ``target`` under noise; for ``other`` where class 1 is asked for."""

    def tell(noisy: np.ndarray, variance: np.ndarray, named: np.ndarray) -> np.ndarray:
        wanted = np.where(named[:, None, None, None] == 1, target if other is None else other, target)
        level = np.sqrt(variance)[:, None, None, None]
        return ((noisy - np.sqrt(1 - level**2) * (wanted - MEAN) / SPREAD) / level).astype(np.float32)

    return Synthesizer(tell, SIDE, classes=("glioma",), mean=MEAN, spread=SPREAD)


def blurred(noisy: np.ndarray, variance: np.ndarray, named: np.ndarray) -> np.ndarray:
    """Some denoiser that mixes neighbours, so that pictures depend on their noise."""
    return noisy - 0.5 * (np.roll(noisy, 1, -1) + np.roll(noisy, 1, -2)) * variance[:, None, None, None]


@pytest.mark.parametrize("steps", [1, 2, 7, 20])
def test_a_denoiser_that_knows_the_picture_makes_it_in_any_number_of_steps(steps: int) -> None:
    made = knowing(RAMP).sample([3, 8], steps=steps)
    np.testing.assert_allclose(made, [RAMP, RAMP], atol=2e-4)


@pytest.mark.parametrize("count", [2, 5, 17, 33])
def test_a_picture_hangs_on_its_seed_and_not_on_its_batch(count: int) -> None:
    make = Synthesizer(blurred, SIDE, mean=MEAN, spread=SPREAD)
    many = make.sample(range(count), steps=4)
    assert np.array_equal(many[1], make.sample([1], steps=4)[0])
    assert np.array_equal(many[::-1], make.sample(range(count)[::-1], steps=4))
    assert not np.allclose(many[0], many[1])


def test_noise_is_standard_normal_and_its_own_for_each_seed() -> None:
    noise = Synthesizer(blurred, 128).noise([0, 1])
    assert abs(noise.mean()) < 0.02 and noise.std() == pytest.approx(1, abs=0.02)
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.05


def test_interpolation_ends_at_the_two_pictures() -> None:
    make = Synthesizer(blurred, SIDE, mean=MEAN, spread=SPREAD)
    way = make.interpolate(4, 9, 5, steps=3)
    np.testing.assert_allclose(way[[0, -1]], make.sample([4, 9], steps=3), atol=1e-6)
    assert len({one.tobytes() for one in way}) == 5


@given(st.floats(0, 1), st.integers(0, 1000))
def test_the_great_circle_keeps_the_length_of_noise(share: float, seed: int) -> None:
    one, other = np.random.default_rng(seed).standard_normal((2, 400))
    point = slerp(one, other, share)
    low, high = sorted([np.linalg.norm(one), np.linalg.norm(other)])
    assert low * 0.99 <= np.linalg.norm(point) <= high * 1.01


def test_slerp_between_equal_and_opposite_points() -> None:
    one = np.array([1.0, 2.0])
    np.testing.assert_allclose(slerp(one, one, 0.3), one)
    assert np.isfinite(slerp(one, -one, 0.3)).all()


def test_denoising_no_noise_is_exact() -> None:
    """Whatever the network says."""
    assert np.array_equal(Synthesizer(blurred, SIDE, mean=MEAN, spread=SPREAD).denoise(RAMP, 0.0), RAMP)


def test_denoising_takes_away_what_the_network_tells() -> None:
    rng = np.random.default_rng(0)
    noisy = RAMP + 0.05 * rng.standard_normal(RAMP.shape).astype(np.float32)
    np.testing.assert_allclose(knowing(RAMP).denoise(noisy, 0.05), RAMP, atol=1e-4)


def test_restoring_brings_back_what_the_network_knows() -> None:
    scan = RAMP.copy()
    scan[4:8, 4:8] = 1
    restored = knowing(RAMP).restore(scan, time=0.4, steps=6)
    np.testing.assert_allclose(restored, RAMP, atol=1e-3)


def test_inpainting_changes_the_inside_alone() -> None:
    region = np.zeros((SIDE, SIDE), bool)
    region[3:11, 5:13] = True
    bright = np.ones_like(RAMP)
    made = knowing(RAMP, bright).inpaint(RAMP, region, 1, steps=5, named="glioma")
    assert np.array_equal(made.picture[~region], RAMP[~region])
    assert made.picture[6, 8] == pytest.approx(1, abs=1e-3)  # the middle, where nothing of the old scan is left
    assert np.array_equal(made.mask, region) and made.change > 0.1


def test_inpainting_what_is_there_already_changes_nothing() -> None:
    region = np.zeros((SIDE, SIDE), bool)
    region[3:11, 5:13] = True
    assert knowing(RAMP).inpaint(RAMP, region, 1, steps=5).change < 1e-4


def test_guidance_exaggerates_the_class() -> None:
    make = knowing(RAMP, np.clip(RAMP + 0.05, 0, 1))
    plain, pushed = (make.sample([1], steps=3, named="glioma", guidance=g)[0] for g in (0.0, 1.0))
    inner = (slice(2, 6), slice(2, 6))
    np.testing.assert_allclose((pushed - RAMP)[inner], 2 * (plain - RAMP)[inner], atol=5e-3)


@given(st.integers(0, 200), st.integers(9, 60), st.integers(9, 60))
def test_a_lesion_lies_inside_the_head(seed: int, height: int, width: int) -> None:
    rows, columns = np.mgrid[:height, :width]
    head = ((rows - height / 2) / height) ** 2 + ((columns - width / 2) / width) ** 2 < 0.2
    region = lesion_region(head, seed)
    assert region.any() and not (region & ~head).any() and np.array_equal(region, lesion_region(head, seed))


def test_lesions_of_two_seeds_differ() -> None:
    head = np.ones((40, 40), bool)
    assert not np.array_equal(lesion_region(head, 1), lesion_region(head, 2))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda make: make.sample([1], steps=0), "steps: 0"),
        (lambda make: make.sample([-1]), "seed: -1"),
        (lambda make: make.sample([1], named="gliom"), "did you mean 'glioma'"),
        (lambda make: make.interpolate(1, 2, 1), "ask for 2 or more"),
        (lambda make: make.denoise(RAMP[:5], 0.1), "the network takes"),
        (lambda make: make.denoise(RAMP, -0.1), "no standard deviation"),
        (lambda make: make.denoise(RAMP, float("nan")), "no standard deviation"),
        (lambda make: make.denoise(RAMP * np.nan, 0.1), "no numbers"),
        (lambda make: make.inpaint(RAMP, RAMP < 0, 1), "0 marked pixels"),
        (lambda make: make.inpaint(RAMP, np.ones((3, 3), bool), 1), r"\(3, 3\)"),
        (lambda make: make.restore(RAMP, time=0.0), "time 0.0"),
        (lambda make: lesion_region(RAMP < 0, 1), "is empty"),
        (lambda make: lesion_region(RAMP > 0, 1, radius=50), "no room"),
    ],
)
def test_bad_input_is_one_line(call, words: str) -> None:
    with pytest.raises((ScanError, TumorscopeError), match=words) as caught:
        call(knowing(RAMP))
    assert "\n" not in str(caught.value)


def test_no_seeds_make_no_pictures() -> None:
    assert knowing(RAMP).sample([]).shape == (0, SIDE, SIDE)
