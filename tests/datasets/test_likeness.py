from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tumorscope.datasets import likeness
from tumorscope.datasets.likeness import TURNS, turned

EXAMPLES = settings(deadline=None, max_examples=20)
SEEDS = st.integers(0, 2**32 - 1)


def noise(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Thumbnails of mean 0 and norm 1 that are like no other."""
    pictures = rng.standard_normal((count, 24, 24)).astype(np.float32)
    pictures -= pictures.mean((1, 2), keepdims=True)
    return pictures / np.linalg.norm(pictures, axis=(1, 2), keepdims=True)


def smooth(seed: int, count: int = 1) -> NDArray[np.float32]:
    """Thumbnails that bend as heads do: random knots 3 pixels apart."""
    rng = np.random.default_rng(seed)
    knots = rng.standard_normal((count, 9, 9)).astype(np.float32)
    pictures = np.stack([cv2.resize(some, (24, 24), interpolation=cv2.INTER_CUBIC) for some in knots])
    pictures -= pictures.mean((1, 2), keepdims=True)
    return pictures / np.linalg.norm(pictures, axis=(1, 2), keepdims=True)


def plainly_looked_at(pictures: NDArray) -> NDArray:
    """The first look (n, 576) without parts: band, disc, mean 0, norm 1."""
    from scipy.ndimage import gaussian_filter

    fine, broad = (
        gaussian_filter(pictures.astype(float), (0, width, width), mode="nearest")
        for width in (likeness.FINE, likeness.BROAD)
    )
    line = np.linspace(-1, 1, 24)
    weight = np.clip(likeness.DISC - np.hypot(line[:, None], line), 0, 1)
    band = fine - broad
    band = (band - (band * weight).sum((1, 2), keepdims=True) / weight.sum()) * np.sqrt(weight)
    return (band / np.linalg.norm(band, axis=(1, 2), keepdims=True)).reshape(len(band), -1)


@EXAMPLES
@given(SEEDS)
def test_the_first_look_is_the_correlation_with_each_turned_picture(seed: int) -> None:
    pictures = noise(np.random.default_rng(seed), 6)
    seen = likeness.first_look(pictures)
    ours = plainly_looked_at(pictures[:2])
    wanted = np.stack([ours @ plainly_looked_at(turned(pictures, turn)).T for turn in range(TURNS)], -1)
    for row in range(2):
        assert likeness.turn_likeness(np.tile(seen[row], (6, 1)), seen) == pytest.approx(wanted[row], abs=1e-5)
    assert likeness.likeness(seen[:2], seen) == pytest.approx(wanted.max(-1), abs=1e-5)


def test_the_eight_turns_are_the_eight_of_a_square() -> None:
    corner = np.arange(4).reshape(2, 2)
    wanted = {tuple(np.rot90(side, k).ravel()) for side in (corner, corner.T) for k in range(4)}
    assert {tuple(turned(corner, turn).ravel()) for turn in range(TURNS)} == wanted and len(wanted) == TURNS
    assert np.array_equal(turned(corner, 1), np.fliplr(corner))
    assert np.array_equal(turned(corner, 2), np.flipud(corner))
    assert np.array_equal(turned(corner, 5), np.rot90(corner, -1))


@pytest.mark.parametrize("scale", [1.0, -3.0, 1e-3])
def test_brightness_and_contrast_are_not_seen(scale: float) -> None:
    pictures = smooth(1, 4)
    plain, other = likeness.first_look(pictures), likeness.first_look(np.float32(scale) * pictures)
    assert np.abs(plain * np.sign(scale) - other).max() < 1e-5
    level = likeness.first_look(pictures + np.float32(0.01))
    assert np.abs(plain - level).max() < 1e-5


def test_what_is_flat_or_faint_is_seen_by_no_look() -> None:
    line = np.linspace(-1, 1, 24, dtype=np.float32)
    faint = 1 - np.hypot(line[:, None], line) ** 2 / 100  # nearly level: nothing in the band
    seen = likeness.first_look(np.stack([np.zeros((24, 24), np.float32), np.full((24, 24), 3, np.float32), faint]))
    assert not seen.any()
    assert np.linalg.norm(likeness.first_look(smooth(0))) == pytest.approx(1, abs=1e-5)


def in_both_views(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([pictures, pictures], axis=1)


def stretched(picture: NDArray[np.float32], place: tuple[float, float, float, float]) -> NDArray[np.float32]:
    """The picture seen through a frame that is stretched and shifted (rows, columns; in half sides)."""
    line = np.linspace(-1, 1, 24, dtype=np.float32)
    rows, columns = (1 + place[0]) * line + place[1], (1 + place[2]) * line + place[3]
    at = [np.broadcast_to((part + 1) * 11.5, (24, 24)) for part in (columns[None], rows[:, None])]
    moved = cv2.remap(picture, *(part.astype(np.float32) for part in at), cv2.INTER_CUBIC)
    return moved


def second_look(pictures: NDArray[np.float32], turn: int = 0) -> float:
    one, other = np.array([0]), np.array([1])
    return float(likeness.overlaid(in_both_views(pictures), one, other, np.array([0]), np.array([turn]))[0])


@EXAMPLES
@given(st.integers(0, 10_000), st.tuples(*[st.floats(-0.05, 0.05)] * 4))
def test_a_thumbnail_is_laid_over_its_stretched_and_shifted_self(
    seed: int, place: tuple[float, float, float, float]
) -> None:
    picture = smooth(seed)[0]
    moved = stretched(picture, place)
    assert second_look(np.stack([picture, moved])) > 0.94
    assert second_look(np.stack([picture, turned(moved, 6)]), turn=5) > 0.94


def test_without_laying_over_it_would_not_be_found() -> None:
    pictures = [
        np.stack([smooth(seed)[0], stretched(smooth(seed)[0], (0.05, 0.05, -0.05, 0.05))]) for seed in range(20)
    ]
    detail = [some - likeness._smooth(some, likeness.DETAIL) for some in pictures]
    assert max(np.corrcoef(some[0].ravel(), some[1].ravel())[0, 1] for some in detail) < 0.94
    assert min(second_look(some) for some in pictures) > 0.94


@EXAMPLES
@given(st.integers(0, 10_000), st.integers(10_001, 20_000))
def test_strangers_are_not_laid_over_each_other(one: int, other: int) -> None:
    assert second_look(np.concatenate([smooth(one), smooth(other)])) < 0.8


def test_a_flat_thumbnail_agrees_with_nothing() -> None:
    flat = np.zeros((1, 24, 24), np.float32)
    assert second_look(np.concatenate([flat, smooth(0)])) == -1
    assert second_look(np.concatenate([flat, flat])) == -1


def test_many_pairs_are_compared_as_few_are() -> None:
    pictures = in_both_views(smooth(5, 40))
    one, other = (np.asarray(part, np.int64) for part in np.triu_indices(40, 1))
    none = np.zeros(len(one), np.int64)
    together = likeness.overlaid(pictures, one, other, none, none)
    assert len(one) > 2 * likeness.AT_ONCE
    for pair in (0, 300, 700):
        alone = likeness.overlaid(pictures, one[[pair]], other[[pair]], none[[pair]], none[[pair]])
        assert together[pair] == pytest.approx(alone[0], abs=1e-4)
