"""Pictures that a diffusion model learns from: which scans, on which side, of which class, and batches of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tumorscope.datasets import splits
from tumorscope.datasets.sides import TRAIN
from tumorscope.errors import DataError
from tumorscope.training import cache as caches
from tumorscope.training.diffusion_recipe import Data, DiffusionRecipe

Batch = dict[str, Tensor]
NONE, TUMOR = "none", "tumor"
SPREAD_FLOOR = 1e-3  # of pictures in [0, 1]; below this they are blank
SALT = {"epoch": 11, "validation": 12, "order": 13}  # so that two draws from one seed differ
LEAST = 2  # pictures to learn from; one alone can only be copied


def divided(table: pl.DataFrame, settings: Data, seed: int) -> pl.DataFrame:
    """The rows that a generator may see, with ``split``: ``train`` teaches, ``val`` is looked at and picks the epoch.

    Of a manifest that is split already the training side alone is taken, and its own validation part comes out of it:
    what others are validated or tested on stays unseen. Synthetic rows are left out. No group is cut.

    Raises
    ------
    DataError
        If a group is cut in the manifest, or too little is left to learn from.

    Examples
    --------
    >>> df = pl.DataFrame({"id": list("abcd"), "path": list("abcd"), "group": list("abcd"), "label": [0, 1, 1, 1]})
    >>> found = divided(df.with_columns(split=pl.Series(["train", "train", "test", "train"])), Data(validation=0.4), 0)
    >>> sorted(found["id"].to_list()), sorted(found["split"].unique().to_list())
    (['a', 'b', 'd'], ['train', 'val'])
    """
    missing = [name for name in ("split", "fold", "synthetic", "label") if name not in table.columns]
    table = table.with_columns([pl.lit(None).alias(name) for name in missing])
    if table["fold"].is_not_null().any():
        raise DataError("fold: a generator sees one side of a split; choose a fold first (tumorscope split)")
    if table["split"].is_not_null().any():
        splits.check(table, by="split")
        table = table.filter(pl.col("split") == TRAIN)
    table = table.filter(~pl.col("synthetic").cast(pl.Boolean).fill_null(False))
    if settings.keep != "all":
        wanted = pl.col("label") == 0 if settings.keep == NONE else pl.col("label") > 0
        if "mask_path" in table.columns:  # a row with a mask but no label is judged slice by slice
            wanted = wanted | (pl.col("label").is_null() & pl.col("mask_path").is_not_null())
        table = table.filter(wanted)
    if table.height < LEAST + 1:
        raise DataError(
            f"training data: {table.height} scans are left to learn from; give {LEAST + 1} or more, "
            "since one picture alone can only be copied"
        )
    plain = table.with_columns(split=pl.lit(None, pl.String), fold=pl.lit(None, pl.Int64))
    ordered = [name for name in settings.ordered if "source" in plain.columns and name in set(plain["source"])]
    shares = {"train": 1 - settings.validation, "val": settings.validation}
    dealt = splits.by_source(plain, shares, ordered=ordered, block=settings.block, gap=settings.gap, seed=seed)
    return dealt.filter(pl.col("split").is_not_null())


@dataclass(frozen=True)
class Pictures:
    """Prepared squares with their classes.

    Parameters
    ----------
    images : (N, S, S) uint8 array
    named : (N,) int array
        Class of each, counted from 1; 0 for unknown.
    classes : tuple of str
    table : polars.DataFrame
        ``id, group, split, path`` of each.
    """

    images: NDArray[np.uint8]
    named: NDArray[np.int64]
    classes: tuple[str, ...]
    table: pl.DataFrame

    @classmethod
    def of(cls, table: pl.DataFrame, recipe: DiffusionRecipe, folder: Path, progress: Any = None) -> Pictures:
        """Pictures of a `divided` manifest, from the cache in ``folder`` or made there.

        Raises
        ------
        DataError
            If a scan cannot be prepared, or no picture is left of a side.
        """
        plain = table.with_columns(
            split=pl.lit(None, pl.String),
            mask_path=pl.when(pl.col("label").is_null()).then(pl.col("mask_path")),
            label=pl.col("label").fill_null(-1),
        )
        cache = caches.build(plain, recipe.preparation, folder, progress=progress)
        facts = table.select("id", "path", "split", "tumor_type", "group")
        rows = cache.table.select("id", "slice", "label").join(facts, on="id", how="left", maintain_order="left")
        keep = np.ones(rows.height, bool)
        if recipe.data.keep != "all":
            keep = ((rows["label"] == 0) if recipe.data.keep == NONE else (rows["label"] > 0)).to_numpy()
        rows = rows.filter(pl.Series(keep))
        names = [_class_of(label, kind) for label, kind in rows.select("label", "tumor_type").rows()]
        classes = tuple(sorted({name for name in names if name})) if recipe.model.conditional else ()
        named = np.array([classes.index(name) + 1 if name and classes else 0 for name in names], np.int64)
        made = cls(np.asarray(cache.images)[keep], named, classes, rows)
        for side, least in (("train", LEAST), ("val", 1)):
            if len(made.rows(side)) < least:
                raise DataError(f"split: {len(made.rows(side))} pictures on the side '{side}'; give more scans")
        if float(made.images[made.rows("train")].std()) / 255 < SPREAD_FLOOR:
            raise DataError("training data: all pictures are blank; look at the scans")
        return made

    def rows(self, side: str) -> NDArray[np.int64]:
        """Numbers of the pictures of a side."""
        return np.flatnonzero((self.table["split"] == side).to_numpy()).astype(np.int64)

    def floats(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Pictures (n, S, S) in [0, 1]."""
        return self.images[rows].astype(np.float32) / np.float32(255)


def _class_of(label: int, kind: str | None) -> str:
    if label < 0:
        return ""
    return NONE if label == 0 else str(kind or TUMOR).casefold()


class Drawn(Dataset[Batch]):
    """Batches of an epoch, by their number: pictures, their classes and rows; they hang on seed and epoch alone.

    Every picture comes once before any comes again, also where there are fewer than a batch.
    """

    def __init__(self, pictures: Pictures, recipe: DiffusionRecipe) -> None:
        self.pictures, self.recipe, self.chosen = pictures, recipe, pictures.rows("train")
        self.epoch = 0

    def __len__(self) -> int:
        settings = self.recipe.fit
        return settings.steps or max(1, len(self.chosen) // settings.batch)

    def __getitem__(self, number: int) -> Batch:
        settings = self.recipe.fit
        rng = np.random.default_rng([self.recipe.seed, SALT["epoch"], self.epoch, number])
        rows = self._rows(number)
        images = self.pictures.floats(rows)
        flipped = rng.random(len(rows)) < settings.flip
        images[flipped] = images[flipped][..., ::-1]
        named = np.where(rng.random(len(rows)) < settings.unnamed, 0, self.pictures.named[rows])
        return _batch(images, named, rows)

    def _rows(self, number: int) -> NDArray[np.int64]:
        """Pictures of a batch: a stretch of the endless list of one shuffle after another, anew in each epoch."""
        first, count = number * self.recipe.fit.batch, len(self.chosen)
        places = np.arange(first, first + self.recipe.fit.batch)
        shuffles = {
            turn: np.random.default_rng([self.recipe.seed, SALT["order"], self.epoch, turn]).permutation(self.chosen)
            for turn in np.unique(places // count).tolist()
        }
        return np.array([shuffles[place // count][place % count] for place in places.tolist()], np.int64)


def _batch(images: NDArray[np.float32], named: NDArray[np.int64], rows: NDArray[np.int64]) -> Batch:
    return {
        "image": torch.from_numpy(np.ascontiguousarray(images[:, None])),
        "named": torch.from_numpy(named),
        "row": torch.from_numpy(rows),
    }


class HeldOut(Dataset[Batch]):
    """Batches of validation pictures in the cache's order."""

    def __init__(self, pictures: Pictures, batch: int) -> None:
        rows = pictures.rows("val")
        self.pictures = pictures
        self.parts = [rows[start : start + batch] for start in range(0, len(rows), batch)]

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, number: int) -> Batch:
        rows = self.parts[number]
        return _batch(self.pictures.floats(rows), self.pictures.named[rows], rows)


class DiffusionData(L.LightningDataModule):
    """Batches that are drawn anew each epoch, and validation pictures unchanged."""

    def __init__(self, pictures: Pictures, recipe: DiffusionRecipe) -> None:
        super().__init__()
        self.drawn = Drawn(pictures, recipe)
        self.held_out = HeldOut(pictures, recipe.fit.batch)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Whole batches, as `Drawn` gives them."""
        return DataLoader(self.drawn, batch_size=None)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Whole batches, as `HeldOut` gives them."""
        return DataLoader(self.held_out, batch_size=None)
