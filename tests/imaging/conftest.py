from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray


def _head(height: int = 180, width: int = 150, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """An ellipse of textured grey brain in a bright ring on faint noise, and where it is."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    radius = np.hypot((y - 0.5 * height) / (0.36 * height), (x - 0.48 * width) / (0.34 * width))
    texture = cv2.GaussianBlur(rng.normal(0, 1, (height, width)), (0, 0), 2) * 90
    image = rng.rayleigh(2.0, (height, width))
    image[radius < 1] = (110 + texture)[radius < 1]
    image[(radius < 1) & (radius > 0.9)] = 230
    return np.clip(image, 0, 255).round().astype(np.float32), radius < 1


@pytest.fixture(scope="session")
def draw_head() -> Callable[..., tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    return _head
