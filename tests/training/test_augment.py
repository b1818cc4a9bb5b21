"""Random changes keep image, mask and head on one grid, and intensities in [0, 1]."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorscope.training.augment import Sample, look, quantiles, warp
from tumorscope.training.recipe import Augmentation

NOTHING = Augmentation(
    **dict.fromkeys(Augmentation.model_fields, 0.0),
)
ALWAYS = Augmentation(
    **{name: 1.0 for name in ("curve", "match", "bias", "blur", "coarse", "noise", "jpeg", "invert", "strip")}
)


def _sample(side: int = 80) -> Sample:
    y, x = np.mgrid[:side, :side] - side / 2
    head = np.hypot(y, x) < 0.45 * side
    mask = np.hypot(y - 8, x + 10) < 8
    image = np.where(mask, 0.9, np.where(head, 0.4, 0.0)).astype(np.float32)
    return Sample(image, mask, head)


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), size=st.sampled_from([64, 96, 128]))
def test_the_mask_moves_with_the_image(seed: int, size: int) -> None:
    out = warp(_sample(), size, Augmentation(), np.random.default_rng(seed))
    assert out.image.shape == out.mask.shape == out.head.shape == (size, size)
    if out.mask.sum() > 30:
        bright = out.image > 0.65
        overlap = 2 * (bright & out.mask).sum() / (bright.sum() + out.mask.sum())
        assert overlap > 0.9


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_looks_change_neither_mask_nor_range(seed: int) -> None:
    sample = _sample()
    style = (quantiles(sample.image, sample.head), np.linspace(0, 1, 65, dtype=np.float32))
    out = look(sample, ALWAYS, np.random.default_rng(seed), style)
    assert out.mask is sample.mask and out.head is sample.head
    assert out.image.dtype == np.float32
    assert np.isfinite(out.image).all() and out.image.min() >= 0 and out.image.max() <= 1


def test_with_everything_off_only_the_normalisation_remains() -> None:
    sample = _sample()
    out = look(sample, NOTHING, np.random.default_rng(0), None)
    assert np.allclose(out.image[sample.mask], 1) and np.allclose(out.image[~sample.head], 0)
    still = warp(sample, 80, NOTHING, np.random.default_rng(1))
    assert still.mask.sum() > 0.7 * sample.mask.sum()


def test_borrowing_a_histogram_reaches_the_other_scans_quantiles() -> None:
    rng = np.random.default_rng(0)
    sample = _sample()
    sample.image = (sample.head * rng.random(sample.image.shape)).astype(np.float32)
    target = np.linspace(0, 1, 65, dtype=np.float32) ** 3
    settings_ = NOTHING.model_copy(update={"match": 1.0})
    means = [
        look(sample, settings_, np.random.default_rng(seed), (quantiles(sample.image, sample.head), target))
        .image[sample.head]
        .mean()
        for seed in range(8)
    ]
    assert min(means) < 0.36 < 0.5  # uniform has mean 0.5, its cube 0.25; the strength varies from half to full
