"""A small phantom data set and a recipe that trains in seconds."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tumorscope.datasets import manifest, phantom, splits
from tumorscope.training.recipe import Recipe

TINY = {
    "name": "tiny",
    "seed": 3,
    "precision": "fp32",
    "workers": 0,
    "model": {"encoder_channels": (8, 8, 16, 16), "decoder_channels": (16, 8, 8, 8, 8)},
    "input": {"cache_size": 64},
    "phases": [{"epochs": 2, "size": 32, "batch": 4}, {"epochs": 1, "size": 64, "batch": 4}],
    "data": {"epoch_scans": 16},
}


@pytest.fixture(scope="session")
def tiny() -> Recipe:
    return Recipe.model_validate(TINY)


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    folder: Path = phantom.write_dataset(tmp_path_factory.mktemp("phantoms"), count=32, seed=1, size=96)
    table = manifest.load(folder)
    return splits.holdout(table, {"train": 0.6, "val": 0.4}, seed=0)
