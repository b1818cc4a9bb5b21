from __future__ import annotations

from dataclasses import asdict

import cv2
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorscope.audit.quality import (
    BANDED,
    SCHEMA,
    Quality,
    bands,
    contrast,
    noise,
    quality,
    remarks,
    sentence,
    sharpness,
)
from tumorscope.datasets import phantom
from tumorscope.errors import DataError, ScanError
from tumorscope.imaging.crop import crop_head

SCAN = phantom.make(4, "axial", "t1ce", 160, "glioma", noise=0.02)
IMAGE = SCAN.image.astype(np.float32)
HEAD = crop_head(IMAGE).head
SHARES = ("noise", "sharpness", "contrast", "clipped_low", "clipped_high", "background_level", "background_spread")


def numbers(traits: Quality) -> list[float]:
    return [getattr(traits, name) for name in SHARES]


@settings(max_examples=15)
@given(st.floats(0.01, 300), st.floats(-1000, 1000))
def test_brightness_and_range_do_not_matter(gain: float, offset: float) -> None:
    changed = quality(np.float64(gain) * IMAGE + offset, HEAD)
    assert numbers(changed) == pytest.approx(numbers(quality(IMAGE, HEAD)), rel=0.02, abs=0.004)


@pytest.mark.parametrize("turn", [np.fliplr, np.flipud, np.transpose])
def test_a_mirror_image_has_the_same_traits(turn: object) -> None:
    turned = quality(turn(IMAGE), turn(HEAD))  # type: ignore[operator]
    assert numbers(turned) == pytest.approx(numbers(quality(IMAGE, HEAD)), rel=0.02, abs=1e-4)


@pytest.mark.parametrize(("added", "exact"), [(0.01, 0.25), (0.03, 0.1), (0.08, 0.1)])  # anatomy adds a little
def test_noise_is_measured_in_shares_of_the_heads_range(added: float, exact: float) -> None:
    clean = phantom.make(4, "axial", "t1ce", 256, noise=0.0, bits=16).image.astype(np.float32)
    head = crop_head(clean).head
    low, high = np.percentile(clean[head], (1, 99))
    own = noise(clean, head)
    noisy = clean + np.random.default_rng(0).normal(0, added * (high - low), clean.shape).astype(np.float32)
    spread = np.subtract(*np.percentile(noisy[head], (99, 1)))
    assert noise(noisy, head) * spread / (high - low) == pytest.approx(np.hypot(added, own), rel=exact)


def test_blur_takes_sharpness_and_noise_leaves_it() -> None:
    plain = sharpness(IMAGE, HEAD)
    steps = [sharpness(cv2.GaussianBlur(IMAGE, (0, 0), sigma), HEAD) for sigma in (0.7, 1.5, 3.0)]
    assert plain > steps[0] > steps[1] > steps[2]
    assert steps[2] < 0.6 * plain
    noisy = phantom.make(4, "axial", "t1ce", 160, "glioma", noise=0.05).image.astype(np.float32)
    assert sharpness(noisy, HEAD) == pytest.approx(plain, rel=0.15)


def test_enlarging_does_not_sharpen() -> None:
    large = cv2.resize(IMAGE, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    head = cv2.resize(HEAD.astype(np.uint8), None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST) > 0
    assert sharpness(large, head) == pytest.approx(sharpness(IMAGE, HEAD), rel=0.15)
    assert noise(large, head) < 0.3 * noise(IMAGE, HEAD)


def test_counted_by_hand() -> None:
    image = np.zeros((20, 20), np.float32)
    image[5:15, 5:15] = 100
    image[5:10, 5:10] = 200
    image[5, 5] = 0
    head = np.zeros((20, 20), bool)
    head[5:15, 5:15] = True
    image[0, :10] = 50
    traits = quality(image, head, ["a bright border or bar (2.0% of the image) was made dark"])
    assert traits.head_share == 0.25
    assert traits.head_side == 10
    assert traits.clipped_low == 0.01
    assert traits.clipped_high == 0.24
    assert traits.contrast == pytest.approx(0.5)
    assert traits.background_flat == pytest.approx(290 / 300)
    low = np.percentile(image[head], 1)
    assert traits.background_level == pytest.approx((500 / 300 - low) / (200 - low), abs=1e-6)
    assert (traits.border, traits.white_background, traits.text) == (True, False, False)


def test_contrast_falls_when_a_bright_mark_takes_the_range() -> None:
    marked = IMAGE.copy()
    marked[:8, :40] = 4 * IMAGE.max()
    assert contrast(marked, HEAD) < 0.5 * contrast(IMAGE, HEAD)


@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (40, 1), (12, 12)])
@pytest.mark.parametrize("fill", ["flat", "ramp"])
def test_nothing_is_nan(shape: tuple[int, int], fill: str) -> None:
    image = np.full(shape, 3.0) if fill == "flat" else np.arange(np.prod(shape), dtype=float).reshape(shape)
    for head in (np.zeros(shape, bool), np.ones(shape, bool)):
        traits = asdict(quality(image, head))
        assert all(value is None or np.isfinite(value) for value in traits.values())
        assert (traits["head_share"] is None) == (not head.any())


def test_the_schema_holds_every_trait() -> None:
    table = pl.DataFrame([asdict(quality(IMAGE, HEAD))], schema=SCHEMA, strict=True)
    assert table.columns == list(asdict(quality(IMAGE, HEAD)))
    assert table["head_side"].dtype == pl.Int64
    assert table["text"].dtype == pl.Boolean


def test_wrong_masks_and_tables_are_named() -> None:
    with pytest.raises(ScanError, match=r"head: shape \(3, 3\) does not fit"):
        quality(IMAGE, np.ones((3, 3), bool))
    with pytest.raises(DataError, match=r"no column 'head_share'; measure"):
        sentence(pl.DataFrame({"id": ["a"]}))


def traits_of(**columns: list[float | None]) -> pl.DataFrame:
    count = len(next(iter(columns.values())))
    plain = dict.fromkeys(SCHEMA, [0.5] * count) | {"head_side": [200] * count, "noise": [0.01] * count}
    plain |= {name: [0.0] * count for name in ("clipped_low", "clipped_high")}
    return pl.DataFrame({"id": [f"s{row}" for row in range(count)], **plain, **columns})


def test_bands_are_thirds_and_follow_the_trait() -> None:
    values = np.random.default_rng(0).permutation(99) / 99
    table = bands(traits_of(noise=[*values.tolist(), None]))
    sizes = dict(table["noise_band"].value_counts().rows())
    assert sizes == {"low": 33, "middle": 33, "high": 33, None: 1}
    spread = {band: part["noise"] for (band,), part in table.group_by("noise_band") if band is not None}
    assert spread["low"].max() < spread["middle"].min() <= spread["middle"].max() < spread["high"].min()
    assert table["sharpness_band"].null_count() == 100  # the same in all scans
    assert {f"{name}_band" for name in BANDED} <= set(table.columns)


def test_remarks_name_the_outliers_alone() -> None:
    table = traits_of(noise=[0.01, 0.2, None], sharpness=[0.3, 0.3, 0.02], clipped_high=[0.0, 0.3, 0.0])
    found = remarks(table)
    assert found.select("id", "trait").rows() == [("s1", "noise"), ("s2", "sharpness"), ("s1", "clipped_high")]
    assert found["value"].to_list() == [0.2, 0.02, 0.3]
    assert remarks(traits_of(noise=[0.01])).height == 0
