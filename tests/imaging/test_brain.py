from __future__ import annotations

import cv2
import numpy as np

from tumorscope.imaging.brain import find_brain, rim_support, tissue_relative
from tumorscope.imaging.silhouette import Frame, frame_head


def frame(gap: float = 0.0, shade: float = 0.0) -> tuple[Frame, np.ndarray]:
    """A brain of 60 in bone of ``gap`` in a scalp of 90, brighter to the right by ``shade``; the brain on its grid."""
    y, x = np.mgrid[:200, :160]
    radius = np.hypot((y - 99.5) / 95, (x - 79.5) / 75)
    image = np.where(radius < 0.8, 60.0, np.where((radius > 0.9) & (radius < 1), 90.0, gap)) * (radius < 1)
    made = frame_head((image * np.exp(shade * (x - 80) / 80)).astype(np.float32))
    assert made is not None
    size = made.grey.shape[1], made.grey.shape[0]
    brain = cv2.resize(made.box.cut(radius < 0.8).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return made, brain


def test_support_is_full_for_the_brain_half_for_half_a_rim_and_none_for_the_head() -> None:
    made, brain = frame()
    depth = made.depth()
    relative = tissue_relative(made, depth)
    assert rim_support(brain, relative, depth) == 1
    assert rim_support(made.silhouette, relative, depth) == 0  # dark outside, but at the head's surface
    inner = cv2.erode(brain, np.ones((21, 21), np.uint8))
    assert rim_support(inner, relative, depth) == 0  # brain outside
    left = brain.copy()
    left[:, left.shape[1] // 2 :] = 0  # its straight side has brain outside
    assert 0.4 < rim_support(left, relative, depth) < 0.75
    assert rim_support(np.zeros_like(brain), relative, depth) == 0


def test_the_edge_of_the_picture_is_no_rim() -> None:
    made, brain = frame()
    depth, relative = made.depth(), tissue_relative(made, made.depth())
    half = brain.shape[0] // 2
    assert rim_support(brain[:half], relative[:half], depth[:half]) == 1


def test_the_tissue_level_follows_shading() -> None:
    made, brain = frame(shade=0.6)
    inner = cv2.erode(brain, np.ones((25, 25), np.uint8)) > 0
    grey = made.grey.astype(np.float64)
    relative = tissue_relative(made, made.depth())
    assert np.std(grey[inner]) / np.mean(grey[inner]) > 0.15
    assert np.std(relative[inner]) / np.mean(relative[inner]) < 0.7 * np.std(grey[inner]) / np.mean(grey[inner])


def test_bone_that_is_half_as_bright_as_brain_is_still_a_gap_and_brighter_bone_is_not() -> None:
    made, brain = frame(gap=30.0)
    found = find_brain(made)
    assert found.confidence > 0.95
    assert 2 * (found.mask & brain).sum() / (found.mask.sum() + brain.sum()) > 0.97
    assert find_brain(frame(gap=75.0)[0]).confidence < 0.5
