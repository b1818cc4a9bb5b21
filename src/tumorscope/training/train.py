"""One run: a recipe and a manifest in, a run folder out. Any step can be repeated; a killed run resumes."""

from __future__ import annotations

import platform
import signal
import time
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as L
import polars as pl
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.callbacks.progress import TQDMProgressBar
from torch import nn
from torch.utils.data import DataLoader

from tumorscope import io
from tumorscope._version import __version__
from tumorscope.datasets import manifest, splits
from tumorscope.errors import DataError, OutputError
from tumorscope.imaging.preparation import Preparation
from tumorscope.training import data
from tumorscope.training.cache import Cache, build
from tumorscope.training.engine import (
    PRECISIONS,
    EpochLog,
    averaging,
    denormals_flushed,
    precision_of,
    write_json,
    write_weights,
)
from tumorscope.training.provenance import commit, fingerprint
from tumorscope.training.recipe import ClickRecipe, Recipe, to_toml
from tumorscope.training.segment import DetectSegment

LAST = "checkpoints/last.ckpt"


class EpochData(L.LightningDataModule):
    """Training batches drawn anew for each epoch, validation at the last phase's size."""

    def __init__(self, cache: Cache, recipe: Recipe) -> None:
        super().__init__()
        self.cache, self.recipe = cache, recipe

    def train_dataloader(self) -> DataLoader[data.Batch]:
        """Batches of the epoch about to start."""
        assert self.trainer is not None
        return data.training_loader(self.cache, self.recipe, self.trainer.current_epoch)

    def val_dataloader(self) -> DataLoader[data.Batch]:
        """Unchanged validation batches."""
        return data.held_out_loader(self.cache, "val", self.recipe.phases[-1].size)


def train(
    recipe: Recipe,
    sources: list[str | Path],
    run: Path,
    *,
    resume: bool = False,
    cache_folder: Path | None = None,
    progress: bool = False,
) -> Path:
    """Train ``recipe`` on manifests or folders and return the run folder.

    A manifest whose ``split`` column is filled is taken as it is; otherwise scans are held out by group
    as the recipe says. The split is checked: a group that is cut stops the run.

    Raises
    ------
    DataError
        If a group is cut, a scan has no label, or training or validation would be empty.
    OutputError
        If ``run`` holds a run already and ``resume`` is False.
    """
    start = time.monotonic()
    if (run / "manifest.parquet").exists():
        if not resume:
            raise OutputError(f"{run}: holds a run already; pass --resume to go on with it, or another folder")
        table = manifest.read(run / "manifest.parquet")
    else:
        table = with_split(manifest.load(sources), recipe)
        run.mkdir(parents=True, exist_ok=True)
        manifest.write(table, run / "manifest.parquet")
    with io.atomic(run / "recipe.toml") as path:
        path.write_text(to_toml(recipe), encoding="utf-8")
    L.seed_everything(recipe.seed, workers=True)
    cache = build(usable(table), preparation_of(recipe), cache_folder or run / "cache")
    last = run / LAST
    begin = str(last) if last.exists() else None
    module, batches = _parts(recipe, cache, fresh=begin is None)
    trainer = _trainer(recipe, run, progress)
    listens = signal.getsignal(signal.SIGINT)
    try:
        with denormals_flushed():
            trainer.fit(module, datamodule=batches, ckpt_path=begin, weights_only=True)
    except SystemExit:  # how Lightning ends an interrupted training
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, listens or signal.default_int_handler)
        epoch = trainer.current_epoch
        raise OutputError(f"{run}: interrupted in epoch {epoch}; run again with --resume to go on") from None
    write_weights(cast("nn.Module", module.network), run / "checkpoints" / "averaged.safetensors")
    _write_provenance(recipe, cache, run, time.monotonic() - start)
    return run


def _parts(recipe: Recipe, cache: Cache, *, fresh: bool) -> tuple[L.LightningModule, L.LightningDataModule]:
    """What learns and what it learns from; ``fresh`` where no checkpoint will replace its weights."""
    if not isinstance(recipe, ClickRecipe):
        return DetectSegment(recipe), EpochData(cache, recipe)
    from tumorscope.training.click_data import LesionData
    from tumorscope.training.clicking import Clicking, begin_with

    module = Clicking(recipe)
    if fresh and recipe.model.pretrained != "no":
        begin_with(module.network, Path(recipe.model.pretrained))
    return module, LesionData(cache, recipe)


def preparation_of(recipe: Recipe) -> Preparation:
    """The preparation that fills the training cache."""
    return Preparation(size=recipe.input.cache_size, crop=recipe.input.crop, enhance=recipe.input.enhance)


def with_split(table: pl.DataFrame, recipe: Recipe) -> pl.DataFrame:
    """The manifest with every row on one side: its own split where it has one, else held out by group."""
    if table["split"].null_count() < table.height:
        splits.check(table)
        return table
    settings = recipe.data
    shares = {"train": 1 - settings.validation - settings.test, "val": settings.validation, "test": settings.test}
    ordered = [name for name in settings.ordered if name in set(table["source"].to_list())]
    return splits.by_source(table, shares, ordered=ordered, block=settings.block, gap=settings.gap, seed=recipe.seed)


def usable(table: pl.DataFrame) -> pl.DataFrame:
    """Rows that training can use: on a side, with a label or a mask.

    Raises
    ------
    DataError
        If a side needed is empty.
    """
    rows = table.filter(pl.col("split").is_not_null())
    unknown = rows.filter(pl.col("label").is_null() & pl.col("mask_path").is_null())
    if unknown.height:
        raise DataError(f"{unknown['path'][0]}: has neither label nor mask; add one to the manifest or drop the row")
    for side in ("train", "val"):
        if rows.filter(pl.col("split") == side).is_empty():
            raise DataError(f"training data: no scan has the split '{side}'; give more data or another split")
    return rows


def _trainer(recipe: Recipe, run: Path, progress: bool) -> L.Trainer:
    keep = ModelCheckpoint(
        run / "checkpoints", filename="last", save_top_k=1, enable_version_counter=False, save_on_train_epoch_end=True
    )
    return L.Trainer(
        max_epochs=recipe.epochs,
        accelerator="auto",
        devices=1,
        precision=PRECISIONS[precision_of(recipe.precision)],
        reload_dataloaders_every_n_epochs=1,
        callbacks=[
            *averaging(recipe.optimiser.ema),
            EpochLog(run / "metrics.csv"),
            keep,
            *([TQDMProgressBar(refresh_rate=10)] if progress else []),
        ],
        logger=False,
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1_000_000,
    )


def _write_provenance(recipe: Recipe, cache: Cache, run: Path, seconds: float) -> None:
    table = pl.read_parquet(run / "manifest.parquet")
    record: dict[str, Any] = {
        "tumorscope": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": L.__version__,
        "git": commit(),
        "seed": recipe.seed,
        "precision": precision_of(recipe.precision),
        "data_fingerprint": fingerprint(table.filter(pl.col("split") == "train")),
        "slices": dict(cache.table.group_by("split").len().iter_rows()),
        "seconds_of_last_call": round(seconds, 1),
    }
    write_json(record, run / "provenance.json")
