"""Makers of small files for the tests of data sets: pictures, masks, volumes, and a folder of two classes."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

Make = Callable[..., Path]


@pytest.fixture(scope="session")
def picture() -> Make:
    """``picture(path)`` writes a small random image, (width, height); no two names alike unless a seed is given."""

    def make(path: Path, seed: int | None = None, size: tuple[int, int] = (24, 20), mode: str = "L") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(zlib.crc32(path.name.encode()) if seed is None else seed)
        small = Image.fromarray(rng.integers(0, 255, (5, 4), dtype=np.uint8))
        small.resize(size, Image.Resampling.BICUBIC).convert(mode).save(path)
        return path

    return make


@pytest.fixture(scope="session")
def mask() -> Make:
    """``mask(path)`` writes a mask of one rectangle, or an empty one."""

    def make(path: Path, inside: bool = True, size: tuple[int, int] = (24, 20)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros(size[::-1], np.uint8)
        pixels[5:9, 6:12] = 255 * inside
        Image.fromarray(pixels).save(path)
        return path

    return make


@pytest.fixture(scope="session")
def volume() -> Make:
    """``volume(path)`` writes a NIfTI volume of one block, or an empty one."""

    def make(path: Path, inside: bool = True, shape: tuple[int, ...] = (8, 7, 5)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.zeros(shape, np.uint8)
        pixels[2:4, 2:4, 1:3] = inside
        nibabel.save(nibabel.Nifti1Image(pixels, np.eye(4)), path)
        return path

    return make


@pytest.fixture(scope="session")
def make_set(picture: Make) -> Make:
    """``make_set(folder, seed)`` writes pictures of these names into no/ and yes/ in turn."""

    def make(folder: Path, seed: int, names: tuple[str, ...] = ("a", "b", "c")) -> Path:
        for number, name in enumerate(names):
            picture(folder / ("yes" if number % 2 else "no") / f"{name}.png", seed=seed + number, size=(60, 50))
        return folder

    return make
