"""Copies are found, whatever was done to hide them; pictures of their own are not called copies."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tumorscope.audit.copying import LEVEL, find_copies
from tumorscope.datasets import phantom
from tumorscope.errors import DataError
from tumorscope.inference.embedding import Extractor


@pytest.fixture(scope="module")
def scans() -> np.ndarray:
    return np.stack([phantom.make(seed, size=64).image / np.float32(255) for seed in range(60)]).astype(np.float32)


def brighter(scan: np.ndarray) -> np.ndarray:
    return scan * 0.6 + 0.1


def mirrored(scan: np.ndarray) -> np.ndarray:
    return scan[:, ::-1]


def noisy(scan: np.ndarray) -> np.ndarray:
    return np.clip(scan + 0.03 * np.random.default_rng(0).standard_normal(scan.shape), 0, 1)


def smooth(scan: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(scan, (0, 0), 0.8)


@pytest.mark.parametrize("change", [np.array, brighter, mirrored, noisy, smooth])
def test_a_planted_copy_is_found(scans: np.ndarray, change) -> None:
    training, made = scans[:50], scans[50:].copy()
    made[4] = change(training[17])
    found = find_copies(made, training, held_out=scans[50:])
    assert 4 in found.copies and found.closest(1)[0][:2] == (4, 17)
    assert found.measures[0].rate.value >= 0.1 and not found.measures[0].alarming  # one of ten may be chance
    assert found.measures[0].held_out.value < found.measures[0].rate.value


def test_a_planted_copy_is_found_in_features(scans: np.ndarray) -> None:
    extract = Extractor("rows", lambda some: np.asarray(some).mean(axis=2))
    made = scans[50:].copy()
    made[2] = scans[9]
    found = find_copies(made, scans[:50], extractor=extract)
    assert 2 in found.measures[1].copies and found.measures[1].name == "rows"
    assert found.measures[1].nearest[2] == 9


def test_real_scans_are_no_more_copies_than_chance() -> None:
    """Of independent pictures the share below the limit is about the level."""
    rng = np.random.default_rng(0)
    some = rng.random((900, 8, 8))
    found = find_copies(some[:500], some[500:])
    assert found.measures[0].rate.low <= LEVEL * 2 <= found.measures[0].rate.high + 2 * LEVEL
    assert found.measures[0].rate.value < 0.05


def test_twins_of_one_group_do_not_set_the_limit(scans: np.ndarray) -> None:
    training = np.concatenate([scans[:30], np.clip(scans[:30] + 0.001, 0, 1)])
    groups = [*range(30), *range(30)]
    made = scans[30:].copy()
    made[0] = noisy(scans[3])
    assert find_copies(made, training, groups=groups).copies[:1] == [0]
    assert find_copies(made, training).copies == []  # the limit of twins is 0: nothing is nearer


def test_a_blank_picture_is_like_nothing(scans: np.ndarray) -> None:
    found = find_copies(np.zeros((1, 64, 64)), scans)
    assert found.copies == [] and found.measures[0].distance[0] == 1


def test_findings_as_plain_data(scans: np.ndarray) -> None:
    found = find_copies(scans[:3], scans[:40], held_out=scans[40:])
    facts = found.to_dict()["pixels"]
    assert facts["copies"] == facts["pictures"] == 3 and facts["rate"][0] == 1 and facts["rate"][1] < 1
    assert facts["held_out_rate"][0] < 0.5
    assert find_copies(scans[:30], scans[:40], held_out=scans[40:]).measures[0].alarming
    assert "3 of 3 pictures" in found.measures[0].sentence()


@pytest.mark.parametrize(
    ("made", "training", "words"),
    [
        (np.zeros((3, 8, 8)), np.zeros((2, 8, 8)), "3 groups or more"),
        (np.zeros((8, 8)), np.zeros((9, 8, 8)), "shape"),
        (np.zeros((0, 8, 8)), np.zeros((9, 8, 8)), "shape"),
        (np.zeros((3, 8, 9)), np.zeros((9, 8, 8)), "shape"),
        (np.full((3, 8, 8), np.nan), np.zeros((9, 8, 8)), "no numbers"),
    ],
)
def test_bad_input_is_one_line(made: np.ndarray, training: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        find_copies(made, training)
