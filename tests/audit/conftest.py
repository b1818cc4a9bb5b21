"""What the tests of the audit share: a small measured data set, and measured sets made of nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tumorscope.audit.measure import Measured, measure
from tumorscope.datasets import manifest


@pytest.fixture(scope="session")
def phantom_set(phantom_folder: Path) -> Measured:
    """The phantoms, measured, each a group of its own."""
    return measure(manifest.load(phantom_folder), workers=1)


@pytest.fixture(scope="session")
def made() -> Callable[..., Measured]:
    """``made(labels, groups)``: a measured set whose traits and pictures are noise that knows no label."""

    def build(labels: list[int], groups: list[int] | None = None, source: list[str] | None = None) -> Measured:
        count = len(labels)
        rng = np.random.default_rng(count)
        table = pl.DataFrame(
            {
                "id": [f"s{row:04d}" for row in range(count)],
                "path": [f"s{row:04d}.png" for row in range(count)],
                "label": labels,
                "label_name": [("no_tumor", "tumor", "other")[label] for label in labels],
                "group": [f"g{key}" for key in (range(count) if groups is None else groups)],
                "source": source or ["made"] * count,
                "problem": pl.Series([None] * count, dtype=pl.String),
                "bytes": rng.integers(5_000, 9_000, count),
                "scan_width": rng.integers(200, 260, count),
                "scan_height": rng.integers(200, 260, count),
                "bits": [8] * count,
                "suffix": [".png"] * count,
                "file_format": ["png"] * count,
                "mode": ["L"] * count,
                "background_level": rng.normal(0, 0.01, count),
                "background_spread": rng.normal(0.01, 0.001, count),
                "background_flat": rng.random(count),
                "border": [False] * count,
                "white_background": [False] * count,
                "text": [False] * count,
            }
        )
        squares = [rng.integers(0, 256, (count, side, side)).astype(np.uint8) for side in (64, 48)]
        return Measured(table, np.zeros((count, 2, 24, 24), np.float32), squares[0], squares[1])

    return build
