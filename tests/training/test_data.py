"""What an epoch draws, and that held-out scans never enter it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from tumorscope.errors import DataError
from tumorscope.imaging.preparation import Preparation
from tumorscope.training.cache import build
from tumorscope.training.data import HeldOut, Training, draw_epoch, training_loader
from tumorscope.training.recipe import Data, Recipe


def _table() -> pl.DataFrame:
    source = ["a"] * 60 + ["b"] * 30 + ["c"] * 10
    split = (["train"] * 4 + ["val"]) * 20
    group = [f"{name}{index // 3}" for index, name in enumerate(source)]
    return pl.DataFrame({"source": source, "split": split, "group": group, "label": [0] * 100})


def test_sources_get_their_share_and_only_training_rows_are_drawn() -> None:
    table = _table()
    drawn = draw_epoch(table, Data(epoch_scans=1000, weights={"b": 0.5}), seed=0, epoch=3)
    assert set(table["split"].to_numpy()[drawn]) == {"train"}
    counts = dict(zip(*np.unique(table["source"].to_numpy()[drawn], return_counts=True), strict=True))
    assert abs(counts["b"] - 500) <= 1 and counts["a"] > 4 * counts["c"]


def test_an_epoch_is_the_same_for_its_seed_and_unlike_the_next() -> None:
    table, settings = _table(), Data(epoch_scans=64)
    first = draw_epoch(table, settings, 1, 0)
    assert np.array_equal(first, draw_epoch(table, settings, 1, 0))
    assert not np.array_equal(first, draw_epoch(table, settings, 1, 1))


def test_no_training_rows_is_an_error() -> None:
    with pytest.raises(DataError, match="no scan has the split 'train'"):
        draw_epoch(_table().with_columns(split=pl.lit("val")), Data(), 0, 0)


def test_items_depend_on_seed_epoch_and_place_alone(phantoms: pl.DataFrame, tiny: Recipe, tmp_path: Path) -> None:
    cache = build(phantoms, Preparation(size=64), tmp_path)
    data = Training(cache, tiny, epoch=0)
    later = Training(cache, tiny, epoch=2)
    for item in (7, 0):
        again = Training(cache, tiny, epoch=0)[item]
        assert all(torch.equal(data[item][name], again[name]) for name in again)
    assert data[0]["image"].shape == (1, 32, 32) and later[0]["image"].shape == (1, 64, 64)
    labels = [(int(item["label"]), bool(item["mask"].any())) for item in (data[i] for i in range(16))]
    assert all(marked <= label for label, marked in labels)


def test_a_loading_process_gives_what_the_main_process_gives(phantoms, tiny: Recipe, tmp_path: Path) -> None:
    cache = build(phantoms, Preparation(size=64), tmp_path)
    alone = next(iter(training_loader(cache, tiny, 0)))
    helped = next(iter(training_loader(cache, tiny.model_copy(update={"workers": 1}), 0)))
    assert all(torch.equal(alone[name], helped[name]) for name in alone)


def test_held_out_scans_are_unchanged(phantoms: pl.DataFrame, tiny: Recipe, tmp_path: Path) -> None:
    cache = build(phantoms, Preparation(size=64), tmp_path)
    held = HeldOut(cache, "val", 64)
    assert len(held) == phantoms.filter(pl.col("split") == "val").height
    item = held[0]
    index = int(item["index"])
    assert np.array_equal(item["mask"][0].numpy(), cache.mask(index))
    assert np.abs(item["image"][0].numpy() - cache.image(index)).mean() < 0.05
