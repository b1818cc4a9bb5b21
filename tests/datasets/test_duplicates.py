from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tumorscope.datasets import duplicates, manifest
from tumorscope.errors import DataError, ScanError

EXAMPLES = settings(deadline=None, max_examples=25)


def head(seed: int, size: int = 160) -> NDArray[np.float32]:
    """An ellipse of soft random tissue on black, like no other seed's."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    inside = np.hypot(y / 0.8, x / rng.uniform(0.55, 0.7)) < 1
    tissue = cv2.resize(rng.random((7, 7)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    return (np.clip(40 + 180 * tissue, 0, 255) * inside).astype(np.float32)


def margins(image: NDArray, rows: int, columns: int) -> NDArray:
    return np.pad(image, ((rows, rows // 2), (columns, columns // 3)))


@EXAMPLES
@given(st.integers(0, 10_000), st.integers(0, 7), st.sampled_from([1.0, 0.6, 1.7]), st.integers(0, 40))
def test_a_turned_resized_padded_copy_is_the_same_scan(seed: int, turn: int, scale: float, pad: int) -> None:
    original = head(seed)
    copy = np.rot90(original if turn < 4 else original.T, turn % 4)
    copy = cv2.resize(margins(copy, pad, pad), None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR) * 0.7
    assert duplicates.groups(duplicates.fingerprints([original, copy])).tolist() == [0, 0]


@EXAMPLES
@given(st.integers(0, 10_000), st.integers(10_001, 20_000))
def test_another_head_is_another_scan(one: int, other: int) -> None:
    assert duplicates.groups(duplicates.fingerprints([head(one), head(other)])).tolist() == [0, 1]


@EXAMPLES
@given(st.integers(0, 2**32 - 1))
def test_correlations_are_those_of_the_eight_turned_pictures(seed: int) -> None:
    rng = np.random.default_rng(seed)
    prints = rng.standard_normal((5, 2, 24, 24)).astype(np.float32)
    prints -= prints.mean((2, 3), keepdims=True)
    prints /= np.linalg.norm(prints, axis=(2, 3), keepdims=True)
    found = duplicates.correlations(prints, slice(0, 2), slice(None))
    for i in range(2):
        for j in range(5):
            turned = [np.rot90(p, k) for v in (0, 1) for k in range(4) for p in (prints[j, v], prints[j, v].T)]
            views = [prints[i, 0]] * 8 + [prints[i, 1]] * 8
            assert found[i, j] == pytest.approx(
                max((a * b).sum() for a, b in zip(views, turned, strict=True)), abs=1e-4
            )


def test_groups_do_not_hang_on_the_order_of_the_rows() -> None:
    images = [head(n) for n in range(12)] + [head(n)[:, ::-1] for n in range(5)] + [head(0)[::-1]]
    prints = duplicates.fingerprints(images)
    straight = duplicates.groups(prints)
    order = np.random.default_rng(0).permutation(len(images))
    shuffled = np.empty_like(straight)
    shuffled[order] = duplicates.groups(prints[order])
    assert np.array_equal(straight[:, None] == straight, shuffled[:, None] == shuffled)
    assert straight.max() + 1 == 12


def test_a_chain_of_small_changes_does_not_tie_its_ends() -> None:
    one, other = np.random.default_rng(0).standard_normal((2, 2, 24, 24)).astype(np.float32)
    one, other = (print_ / np.linalg.norm(print_, axis=(1, 2), keepdims=True) for print_ in (one, other))
    steps = np.linspace(0, 1, 100, dtype=np.float32)[:, None, None, None]
    chain = (1 - steps) * one + steps * other
    chain /= np.linalg.norm(chain, axis=(2, 3), keepdims=True)
    first, second, _ = duplicates.similar(chain)
    assert {(i, i + 1) for i in range(99)} <= set(zip(first.tolist(), second.tolist(), strict=True))
    assert (first < second).all()
    found = duplicates.groups(chain)
    assert found[0] != found[-1]
    like = duplicates.correlations(chain, slice(None), slice(None))
    for number in set(found.tolist()):
        assert like[np.ix_(found == number, found == number)].mean() >= duplicates.COHESION


def test_flat_and_broken_pixels_are_like_nothing() -> None:
    flat = [np.zeros((50, 50)), np.full((9, 7), 3.0), np.ones((1, 1)), np.full((20, 20), np.nan)]
    assert duplicates.groups(duplicates.fingerprints(flat)).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 3), (23, 25), (700, 30)])
def test_every_size_has_a_thumbnail(shape: tuple[int, int]) -> None:
    small = duplicates.thumbnails(np.random.default_rng(0).random(shape))
    assert small.shape == (2, 24, 24)
    assert np.isfinite(small).all()


def test_nothing_gives_nothing() -> None:
    prints = duplicates.fingerprints([])
    assert prints.shape == (0, 2, 24, 24)
    assert duplicates.groups(prints).tolist() == []


def test_files_arrays_and_colour_agree(tmp_path: Path) -> None:
    pixels = head(3).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "grey.png")
    Image.fromarray(np.dstack([pixels] * 3)).save(tmp_path / "colour.jpg", quality=90)
    items = [tmp_path / "grey.png", str(tmp_path / "colour.jpg"), pixels]
    assert duplicates.groups(duplicates.fingerprints(items)).tolist() == [0, 0, 0]


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    with pytest.raises(ScanError, match=r"bad\.jpg"):
        duplicates.fingerprints([tmp_path / "bad.jpg"])
    failed: dict[int, str] = {}
    prints = duplicates.fingerprints([head(0), tmp_path / "bad.jpg", head(0)], failed=failed)
    assert list(failed) == [1] and "bad.jpg" in failed[1]
    assert duplicates.groups(prints).tolist() == [0, 1, 0]


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5, float("nan")])
def test_a_threshold_that_is_no_correlation_is_refused(threshold: float) -> None:
    with pytest.raises(DataError, match="is no correlation to find copies by"):
        duplicates.groups(duplicates.fingerprints([head(0)]), threshold)


def test_an_array_that_is_no_image_is_refused() -> None:
    with pytest.raises(DataError, match=r"shape \(3, 4, 5\) has no thumbnail"):
        duplicates.fingerprints([np.zeros((3, 4, 5))])


@pytest.mark.slow
def test_ten_thousand_scans_take_seconds() -> None:
    rng = np.random.default_rng(0)
    prints = rng.standard_normal((10_000, 2, 24, 24)).astype(np.float32)
    prints -= prints.mean((2, 3), keepdims=True)
    prints /= np.linalg.norm(prints, axis=(2, 3), keepdims=True)
    prints[5000:] = prints[:5000, :, ::-1]
    start = time.monotonic()
    found = duplicates.groups(prints)
    assert time.monotonic() - start < 60
    assert found.max() + 1 == 5000


def test_navoneel_has_about_two_hundred_distinct_scans(shared_data: Path) -> None:
    table = manifest.build(shared_data / "navoneel")
    table = table.with_columns(group=duplicates.groups(duplicates.fingerprints(table["path"].to_list())))
    assert 195 <= table["group"].n_unique() <= 212
    assert table.group_by("group").agg(pl.col("label").n_unique())["label"].max() == 1


def test_healthy_is_some_hundreds_of_scans(shared_data: Path) -> None:
    paths = sorted((shared_data / "healthy").glob("*.jpg"))
    prints = duplicates.fingerprints(paths)
    # 282 when only unturned whole images are compared, fewer since turned and cut-out copies are found too.
    assert 200 <= duplicates.groups(prints).max() + 1 <= 282


def test_no_slices_of_two_patients_are_taken_for_copies(shared_data: Path) -> None:
    table = manifest.build(shared_data / "lgg")
    channels = table["channel"].to_list()
    table = table.with_columns(
        group=duplicates.groups(duplicates.fingerprints(table["path"].to_list(), channels=channels))
    )
    assert table.group_by("group").agg(pl.col("patient").n_unique())["patient"].max() == 1
