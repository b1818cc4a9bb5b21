from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tumorscope.datasets import duplicates, manifest, neighbours
from tumorscope.datasets.likeness import TURNS, turned
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


def test_correlations_are_the_better_of_the_two_views() -> None:
    prints = duplicates.fingerprints([head(n) for n in range(5)])
    found = duplicates.correlations(prints, slice(0, 2), np.array([4, 0, 1]))
    one_view = [np.stack([prints[:, view], np.zeros_like(prints[:, view])], 1) for view in (0, 1)]
    parts = [duplicates.correlations(some, slice(0, 2), np.array([4, 0, 1])) for some in one_view]
    assert found == pytest.approx(np.maximum(*parts), abs=1e-5)
    assert found[0, 1] == pytest.approx(1, abs=1e-5) and found[1, 2] == pytest.approx(1, abs=1e-5)


def jpeg(image: NDArray, quality: int) -> NDArray:
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    return cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


def lettered(image: NDArray) -> NDArray:
    marked = np.clip(image, 0, 255).astype(np.uint8)
    for text, place in (("R 12:04", (3, 12)), ("SE 4", (108, 12)), ("A 0.7", (3, 156))):
        cv2.putText(marked, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.35, 255, 1, cv2.LINE_AA)
    return marked


CHANGES = {
    "recompressed": lambda image: jpeg(image, 30),
    "half the size": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "other proportions": lambda image: cv2.resize(image, (200, 150)),
    "brighter": lambda image: np.clip(1.3 * image + 15, 0, 255),
    "darker": lambda image: 255 * (image / 255) ** 1.4,
    "mirrored": lambda image: image[:, ::-1],
    "turned": lambda image: np.rot90(image),
    "cropped": lambda image: image[6:-2, 3:-7],
    "white border": lambda image: np.pad(image, 8, constant_values=255),
    "letters": lettered,
    "all at once": lambda image: jpeg(np.pad(lettered(1.2 * image[4:-3, 5:-2])[:, ::-1], 5, constant_values=255), 60),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_the_same_scan(change: str) -> None:
    originals = [head(seed) for seed in range(8)]
    prints = duplicates.fingerprints([*originals, *(CHANGES[change](image.copy()) for image in originals)])
    found = duplicates.groups(prints)
    assert (found[:8] == found[8:]).sum() >= 7
    assert len(set(found[:8].tolist())) == 8


def test_groups_do_not_hang_on_the_order_of_the_rows() -> None:
    images = [head(n) for n in range(12)] + [head(n)[:, ::-1] for n in range(5)] + [head(0)[::-1]]
    prints = duplicates.fingerprints(images)
    straight = duplicates.groups(prints)
    order = np.random.default_rng(0).permutation(len(images))
    shuffled = np.empty_like(straight)
    shuffled[order] = duplicates.groups(prints[order])
    assert np.array_equal(straight[:, None] == straight, shuffled[:, None] == shuffled)
    assert straight.max() + 1 == 12


def chain_of(length: int) -> NDArray[np.float32]:
    """Prints that change from one picture to another, which is nothing like it, in small steps."""
    one, other = np.random.default_rng(0).standard_normal((2, 2, 24, 24)).astype(np.float32)
    one, other = (some / np.linalg.norm(some, axis=(1, 2), keepdims=True) for some in (one, other))
    steps = np.linspace(0, 1, length, dtype=np.float32)[:, None, None, None]
    chain = (1 - steps) * one + steps * other
    return chain / np.linalg.norm(chain, axis=(2, 3), keepdims=True)


def test_a_chain_of_small_changes_does_not_tie_its_ends() -> None:
    chain = chain_of(100)
    first, second, _ = duplicates.similar(chain)
    assert {(i, i + 1) for i in range(99)} <= set(zip(first.tolist(), second.tolist(), strict=True))
    assert (first < second).all()
    found = duplicates.groups(chain)
    assert found[0] != found[-1]
    like = duplicates.correlations(chain, slice(None), slice(None))
    for number in set(found.tolist()):
        assert like[np.ix_(found == number, found == number)].mean() >= duplicates.COHESION


def test_a_chain_too_long_for_average_linkage_is_cut_into_stars(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = np.concatenate([chain_of(60), duplicates.fingerprints([head(7), head(7)[::-1]])])
    monkeypatch.setattr(duplicates, "LONGEST", 10)
    found = duplicates.groups(chain)
    assert found[0] != found[59] and found[60] == found[61]
    like = duplicates.correlations(chain, slice(None), slice(None))
    for number in set(found.tolist()):
        members = found == number
        assert like[np.ix_(members, members)].max(1).min() >= duplicates.COHESION
        assert (like[np.ix_(members, members)] >= duplicates.COHESION).all(1).any()  # one is alike to all
    assert (np.bincount(found) > 1).all()
    order = np.random.default_rng(0).permutation(len(chain))
    shuffled = np.empty_like(found)
    shuffled[order] = duplicates.groups(chain[order])
    assert np.array_equal(found[:, None] == found, shuffled[:, None] == shuffled)


def test_copies_say_in_which_turn_they_agree() -> None:
    original = head(4)
    for turn in range(TURNS):
        prints = duplicates.fingerprints([original, head(5), turned(original, turn)])
        found = duplicates.copies(prints)
        assert (found.i.tolist(), found.j.tolist()) == ([0], [2])
        assert found.value[0] > 0.99
        laid = turned(prints[2], int(found.turn[0]))
        assert np.linalg.norm(laid[0] - prints[0, 0]) < 0.2
    both = duplicates.copies(duplicates.fingerprints([turned(original, 5), original]))
    assert np.array_equal(turned(turned(original, 5), 6), original) and both.turn.tolist() in ([5], [6])


def test_equal_thumbnails_are_copies_of_each_other_and_of_their_copies() -> None:
    prints = duplicates.fingerprints([head(0), head(1), head(0), head(0)[:, ::-1], np.zeros((9, 9)), head(0)])
    prints[2] = prints[5] = prints[0]
    found = duplicates.copies(prints)
    pairs = list(zip(found.i.tolist(), found.j.tolist(), strict=True))
    assert pairs == [(0, 2), (0, 3), (0, 5), (2, 3), (2, 5), (3, 5)]
    assert found.turn.tolist() == [0, 1, 0, 1, 0, 1]
    assert found.value[[0, 2, 4]].tolist() == [1, 1, 1]
    assert duplicates.groups(prints).tolist() == [0, 1, 0, 0, 2, 0]


@pytest.mark.parametrize("threshold", [0.94, 0.7])
def test_groups_of_known_pairs_are_the_groups(threshold: float) -> None:
    images = [head(n) for n in range(6)] + [head(n)[::-1] for n in range(3)] + [head(0), np.zeros((20, 20))]
    prints = np.concatenate([duplicates.fingerprints(images), chain_of(20)])
    found = duplicates.copies(prints, threshold)
    assert np.array_equal(duplicates.groups(prints, threshold, found=found), duplicates.groups(prints, threshold))


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
def test_twenty_thousand_turned_copies_are_found_in_cells() -> None:
    rng = np.random.default_rng(0)
    prints = rng.standard_normal((20_000, 2, 24, 24)).astype(np.float32)
    prints -= prints.mean((2, 3), keepdims=True)
    prints /= np.linalg.norm(prints, axis=(2, 3), keepdims=True)
    prints[10_000:] = prints[:10_000, :, ::-1]
    assert len(prints) > neighbours.ALL
    assert duplicates.groups(prints).max() + 1 == 10_000


def test_navoneel_has_about_two_hundred_distinct_scans(shared_data: Path) -> None:
    table = manifest.build(shared_data / "navoneel")
    table = table.with_columns(group=duplicates.groups(duplicates.fingerprints(table["path"].to_list())))
    assert 195 <= table["group"].n_unique() <= 212
    assert table.group_by("group").agg(pl.col("label").n_unique())["label"].max() == 1


@pytest.mark.slow
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
