from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorscope.errors import ScanError
from tumorscope.evaluation.segmentation import dice
from tumorscope.imaging.cluster_candidates import candidate_mask
from tumorscope.imaging.crop import crop_head


def head_with(*discs: tuple[int, int, int, float], side: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """A grey head with a bright scalp and discs of (row, column, radius, value) in it; and the head's mask."""
    row, column = np.indices((side, side))
    distance = np.hypot(row - side / 2, column - side / 2)
    head = distance < 0.45 * side
    image = np.where(head, 100.0, 0.0)
    image[head & (distance > 0.41 * side)] = 250
    for y, x, radius, value in discs:
        image[np.hypot(row - y, column - x) < radius] = value
    return image, head


@settings(max_examples=25)
@given(st.integers(45, 75), st.integers(45, 75), st.integers(6, 12))
def test_a_bright_disc_is_found_and_the_scalp_is_not(row: int, column: int, radius: int) -> None:
    image, head = head_with((row, column, radius, 220.0))
    truth = image == 220
    assert dice(candidate_mask(image, head), truth) > 0.85


@settings(max_examples=20)
@given(st.sampled_from([0.02, 1.0, 256.0]), st.sampled_from([-500.0, 0.0, 1000.0]))
def test_units_do_not_matter(factor: float, shift: float) -> None:
    image, head = head_with((60, 50, 10, 220.0), (75, 75, 6, 160.0))
    noisy = np.round(image + np.random.default_rng(0).normal(0, 5, image.shape))
    found = candidate_mask(noisy * factor + shift, head)
    assert np.mean(found != candidate_mask(noisy, head)) < 1e-3 and found.any()


def test_the_dark_cluster_is_the_bright_one_of_the_negative() -> None:
    image, head = head_with((60, 50, 10, 220.0))
    assert np.array_equal(candidate_mask(-image, head, bright=False), candidate_mask(image, head))
    assert not (candidate_mask(image, head, bright=False) & (image == 220)).any()


def test_the_most_salient_part_comes_first() -> None:
    image, head = head_with((60, 45, 10, 220.0), (60, 78, 5, 220.0))
    one, two = candidate_mask(image, head, most=1), candidate_mask(image, head, most=2)
    assert one[60, 45] and not one[60, 78] and two[60, 45] and two[60, 78]


def test_a_thin_line_and_a_speck_are_no_candidates() -> None:
    image, head = head_with()
    image[60, 35:85] = 220
    image[75, 60] = 220
    assert not candidate_mask(image, head).any()


def test_a_ring_is_less_salient_than_a_disc_with_less_contrast() -> None:
    # the ring, 15^2 - 10^2, is larger and brighter than the disc, 9^2, but fills half of its hull
    image, head = head_with((60, 42, 9, 200.0), (60, 80, 15, 250.0), (60, 80, 10, 100.0))
    found = candidate_mask(image, head, k=2, depth=0.15)
    assert found[60, 42] and not found[60, 67]


def test_nothing_outside_the_depth_is_marked() -> None:
    image, head = head_with((60, 60, 10, 220.0))
    below = cv2.distanceTransform(head.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    for depth in (0.0, 0.5, 0.9):
        found = candidate_mask(image, head, depth=depth, most=9)
        assert not (found & (below < depth * below.max() - 1)).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (13, 8)])
@pytest.mark.parametrize("filled", [True, False])
def test_constant_images_and_empty_heads_have_no_candidate(shape: tuple[int, int], filled: bool) -> None:
    found = candidate_mask(np.full(shape, 3, np.uint8), np.full(shape, filled))
    assert found.shape == shape and found.dtype == bool and not found.any()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"head": np.zeros((3, 4), bool)}, "does not fit"),
        ({"image": np.full((4, 4), np.nan)}, "NaN"),
        ({"image": np.zeros((4, 4, 3))}, "3-D"),
        ({"k": 1}, "k >= 2"),
        ({"depth": 1.0}, "depth < 1"),
        ({"depth": -0.1}, "depth < 1"),
        ({"most": 0}, "most >= 1"),
    ],
)
def test_wrong_input_is_refused(change: dict, match: str) -> None:
    arguments = {"image": np.eye(4), "head": np.ones((4, 4), bool)} | change
    with pytest.raises(ScanError, match=match):
        candidate_mask(**arguments)


def test_on_real_meningiomas_it_is_far_better_than_the_whole_head(shared_data: Path) -> None:
    import polars as pl

    table = pl.read_csv(shared_data / "cheng" / "labels.csv", schema_overrides={"id": pl.String})
    ids = table.filter(pl.col("tumor_type") == "meningioma")["id"].to_list()[::60]
    scores, baseline = [], []
    for name in ids:
        image = cv2.imread(str(shared_data / "cheng" / "images" / f"{name}.jpg"), cv2.IMREAD_GRAYSCALE)
        truth = cv2.imread(str(shared_data / "cheng" / "masks" / f"{name}.png"), cv2.IMREAD_GRAYSCALE) > 0
        head = crop_head(image).head
        scores.append(dice(candidate_mask(image, head), truth))
        baseline.append(dice(head, truth))
    assert np.mean(scores) > 0.35 > 2 * np.mean(baseline)
