"""One run: a recipe and a manifest in, a run folder out. Any step can be repeated; a killed run resumes."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import polars as pl
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.callbacks.progress import TQDMProgressBar
from torch.utils.data import DataLoader

from tumorscope import io
from tumorscope._version import __version__
from tumorscope.datasets import manifest, splits
from tumorscope.errors import DataError, OutputError
from tumorscope.imaging.preparation import Preparation
from tumorscope.training import data
from tumorscope.training.cache import Cache, build
from tumorscope.training.recipe import Recipe
from tumorscope.training.segment import DetectSegment

LAST = "checkpoints/last.ckpt"
BF16_ON_CPU = ("amx_bf16", "avx512_bf16", "bf16")  # the processor's own words; elsewhere bf16 takes twice fp32's time
EMA_STEPS = 4  # weights are averaged every so many steps, with the decay that belongs to them


class EpochLog(L.Callback):
    """One row an epoch in ``metrics.csv``; on resuming, rows of epochs that will run again are dropped."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the rows of finished epochs."""
        if self.path.exists():
            rows = pl.read_csv(self.path)
            self._write(rows.filter(pl.col("epoch") < trainer.current_epoch))

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the epoch's row."""
        figures = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        row = pl.DataFrame([{"epoch": trainer.current_epoch, "step": trainer.global_step, "rate": rate, **figures}])
        rows = pl.read_csv(self.path) if self.path.exists() else None
        self._write(row if rows is None or rows.is_empty() else pl.concat([rows, row], how="diagonal_relaxed"))

    def _write(self, rows: pl.DataFrame) -> None:
        with io.atomic(self.path) as path:
            rows.write_csv(path)


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
    with io.atomic(run / "recipe.json") as path:
        path.write_text(recipe.model_dump_json(indent=2), encoding="utf-8")
    L.seed_everything(recipe.seed, workers=True)
    torch.set_flush_denormal(True)
    cache = build(usable(table), preparation_of(recipe), cache_folder or run / "cache")
    module = DetectSegment(recipe)
    trainer = _trainer(recipe, run, progress)
    last = run / LAST
    trainer.fit(
        module, datamodule=EpochData(cache, recipe), ckpt_path=str(last) if last.exists() else None, weights_only=True
    )
    if trainer.interrupted:
        raise OutputError(f"{run}: interrupted in epoch {trainer.current_epoch}; run again with --resume to go on")
    _write_weights(module, run)
    _write_provenance(recipe, cache, run, time.monotonic() - start)
    return run


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


def precision_of(recipe: Recipe) -> str:
    """``fp32`` or ``bf16``: what the recipe says, or with ``auto`` bf16 where it is not emulated in software."""
    if recipe.precision != "auto":
        return recipe.precision
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    can: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16" if any(can.get(name) for name in BF16_ON_CPU) else "fp32"


def _trainer(recipe: Recipe, run: Path, progress: bool) -> L.Trainer:
    keep = ModelCheckpoint(
        run / "checkpoints", filename="last", save_top_k=1, enable_version_counter=False, save_on_train_epoch_end=True
    )
    every = EMA_STEPS
    return L.Trainer(
        max_epochs=recipe.epochs,
        accelerator="auto",
        devices=1,
        precision="bf16-mixed" if precision_of(recipe) == "bf16" else "32-true",
        reload_dataloaders_every_n_epochs=1,
        callbacks=[
            EMAWeightAveraging(decay=recipe.optimiser.ema**every, update_every_n_steps=every),
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


def _write_weights(module: DetectSegment, run: Path) -> None:
    from safetensors.torch import save_file

    with io.atomic(run / "checkpoints" / "averaged.safetensors") as path:
        save_file({name: value.contiguous() for name, value in module.network.state_dict().items()}, path)


def fingerprint(table: pl.DataFrame) -> str:
    """Hash of the training scans' contents, the same in any order."""
    hashes = sorted(table.filter(pl.col("split") == "train")["sha256"].to_list())
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def _write_provenance(recipe: Recipe, cache: Cache, run: Path, seconds: float) -> None:
    git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    record: dict[str, Any] = {
        "tumorscope": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": L.__version__,
        "git": git.stdout.strip() or None,
        "seed": recipe.seed,
        "precision": precision_of(recipe),
        "data_fingerprint": fingerprint(pl.read_parquet(run / "manifest.parquet")),
        "slices": dict(cache.table.group_by("split").len().iter_rows()),
        "seconds_of_last_call": round(seconds, 1),
    }
    with io.atomic(run / "provenance.json") as path:
        path.write_text(json.dumps(record, indent=2), encoding="utf-8")
