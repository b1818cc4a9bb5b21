"""The cache holds what `Preparation` makes, once, and never half."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tumorscope import io
from tumorscope.errors import DataError, TumorscopeError
from tumorscope.imaging.preparation import Preparation
from tumorscope.training.cache import Cache, build

SETTINGS = Preparation(size=64)


def test_squares_are_those_of_the_preparation(phantoms: pl.DataFrame, tmp_path: Path) -> None:
    cache = build(phantoms, SETTINGS, tmp_path)
    assert cache.table["id"].to_list() == phantoms["id"].to_list()
    for index in (0, 5):
        prepared = SETTINGS.prepare(io.read(phantoms["path"][index]).pixels)
        assert np.abs(cache.image(index) - prepared.pixels).max() <= 0.5 / 255 + 1e-6
        assert np.array_equal(cache.head(index), prepared.to_square(prepared.head))
    sick = cache.table["label"].to_numpy() == 1
    assert [cache.mask(i).any() for i in range(len(sick))] == sick.tolist()
    assert cache.table["has_mask"].all()


def test_a_cache_is_built_once_and_opened_by_path(phantoms: pl.DataFrame, tmp_path: Path) -> None:
    first = build(phantoms, SETTINGS, tmp_path)
    second = build(phantoms, SETTINGS, tmp_path, progress=lambda *_: pytest.fail("built again"))
    assert first.folder == second.folder
    sent = pickle.dumps(second)
    assert len(sent) < 2000 and np.array_equal(pickle.loads(sent).images, first.images)
    other = build(phantoms, Preparation(size=96), tmp_path)
    assert other.folder != first.folder and isinstance(other, Cache)


def test_a_build_that_fails_leaves_nothing_that_looks_finished(phantoms: pl.DataFrame, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"")
    rows = phantoms.with_columns(path=pl.when(pl.int_range(pl.len()) == 3).then(pl.lit(str(broken))).otherwise("path"))
    with pytest.raises(TumorscopeError, match=r"broken\.png"):
        build(rows, SETTINGS, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".partial"]


def test_a_mask_on_another_grid_is_an_error_with_both_names(phantoms: pl.DataFrame, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.png"
    io.write_image(wrong, np.zeros((10, 12), np.uint8))
    rows = phantoms.head(1).with_columns(mask_path=pl.lit(str(wrong)))
    with pytest.raises(DataError, match=r"wrong\.png: mask is 10x12, its scan .* is 96x96; resample"):
        build(rows, SETTINGS, tmp_path / "cache")
