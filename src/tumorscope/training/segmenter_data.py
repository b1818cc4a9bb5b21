"""A segmenter's scans: squares with masks, what an epoch draws of them, and batches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from tumorscope.errors import DataError
from tumorscope.imaging.preparation import Preparation
from tumorscope.scan import BoolArray
from tumorscope.training import cache as caches
from tumorscope.training.changes import Motion, looked
from tumorscope.training.classifier_data import (
    HELD_OUT_BATCH,
    NUMBERS,
    Batch,
    Labels,
    Order,
    Rows,
    Squares,
    loader_of,
)
from tumorscope.training.segmenter_recipe import Data, SegmenterRecipe

LABELS = Labels((0, 1), ("no_tumor", "tumor"))
ON_LESION = 0.5  # share of the patches of a tumour slice that are centred on it
SALT = 3  # so that the draws of one seed differ


@dataclass(frozen=True)
class Masked(Squares):
    """Prepared squares with their masks; ``truth`` is 1 where there is a tumour.

    Parameters
    ----------
    known : (N,) bool array
        Whether the mask of a square is known: drawn by someone, or empty because there is no tumour.
    """

    known: NDArray[np.bool_]

    @classmethod
    def of(cls, table: pl.DataFrame, preparation: Preparation, folder: Path, progress: Any = None) -> Masked:
        """Squares of a manifest, from the cache in ``folder`` or made there.

        Raises
        ------
        DataError
            If a scan or mask cannot be prepared (the file is named), or no scan has a mask.
        """
        plain = table.with_columns(split=pl.lit(None, pl.String), label=pl.col("label").clip(0, 1))
        cache = caches.build(plain, preparation, folder, progress=progress)
        facts = table.drop("label", "slice", strict=False)
        rows = cache.table.select("id", "slice", "label", "has_mask").join(
            facts, on="id", how="left", maintain_order="left"
        )
        truth = rows["label"].to_numpy().astype(np.int64)
        known = rows["has_mask"].to_numpy()
        if not (known & (truth == 1)).any():
            raise DataError("mask_path: no scan with a tumour has a mask; training a segmenter needs some")
        return cls(cache, rows, truth, LABELS, known)


def usable(table: pl.DataFrame) -> pl.DataFrame:
    """The rows that a segmenter can learn from or be judged on: with a mask, or labelled as without tumour.

    Tumours without a mask are left out, and refused where a split names them.

    Raises
    ------
    DataError
        If none is left, or a row that a split names is of no use.
    """
    bare = table.filter(pl.col("mask_path").is_null() & (pl.col("label") != 0).fill_null(True))
    stray = bare.filter(pl.col("split").is_not_null() | pl.col("fold").is_not_null())
    if stray.height:
        raise DataError(f"{stray['path'][0]}: has a tumour or no label, and no mask; add a mask, or drop the row")
    rows = table.join(bare.select("id"), on="id", how="anti", maintain_order="left")
    if rows.is_empty():
        raise DataError(
            f"mask_path: none of {table.height} scans has a mask; lay masks beside the scans (7.png, 7_mask.png), "
            "or add the column to the manifest"
        )
    return rows


def draw(squares: Masked, rows: Rows, settings: Data, seed: int, epoch: int) -> Rows:
    """Training squares of an epoch, as many as there are, in a new order, with tumours in the share that is wanted.

    Examples
    --------
    >>> table = pl.DataFrame({"synthetic": [False] * 6})
    >>> squares = Masked(None, table, np.array([0, 0, 0, 0, 0, 1]), LABELS, np.ones(6, bool))
    >>> drawn = draw(squares, np.arange(6), Data(foreground=0.5), 0, 0)
    >>> len(drawn), int((squares.truth[drawn] == 1).sum())
    (6, 3)
    """
    rng = np.random.default_rng([seed, SALT, epoch])
    made = squares.table["synthetic"].fill_null(False).to_numpy()[rows]
    most = int((~made).sum() * settings.synthetic / (1 - settings.synthetic))
    chosen = np.concatenate([rows[~made], rng.permutation(rows[made])[:most]])
    tumour = squares.truth[chosen] == 1
    if settings.foreground and tumour.any() and not tumour.all():
        wanted = round(settings.foreground * len(chosen))
        parts = ((chosen[tumour], wanted), (chosen[~tumour], len(chosen) - wanted))
        chosen = np.concatenate([_some(part, count, rng) for part, count in parts])
    return rng.permutation(chosen)


def _some(part: Rows, count: int, rng: np.random.Generator) -> Rows:
    """``count`` of the squares, none again before all were drawn."""
    whole, rest = divmod(count, len(part))
    return np.concatenate([np.tile(part, whole), rng.permutation(part)[:rest]])


class MaskedOrder(Order):
    """As `Order`, drawn with tumours in the recipe's share."""

    squares: Masked
    settings: Data

    def _drawn(self) -> Rows:
        return draw(self.squares, self.chosen, self.settings, self.seed, self.first + self.epoch)


class ChangedMasks(Dataset[Batch]):
    """Training squares and masks, changed together; an item depends on the seed, the epoch and its place alone."""

    def __init__(self, squares: Masked, recipe: SegmenterRecipe, seed: int) -> None:
        self.cache, self.known, self.truth = squares.cache, squares.known, squares.truth
        self.settings, self.patch, self.seed = recipe.augmentation, recipe.data.patch, seed

    def __getitem__(self, item: NUMBERS) -> Batch:
        epoch, place, row = item
        rng = np.random.default_rng([self.seed, epoch, place])
        image, mask = self.cache.image(row), self.cache.mask(row)
        motion = Motion.drawn(image.shape[0], self.settings, rng)
        image, mask = motion.apply(image), motion.apply_mask(mask)
        if image.ndim == 2:
            image = looked(image, self.settings, rng)
        if self.patch:
            y, x = patch_at(mask, self.patch, rng)
            cut = slice(y, y + self.patch), slice(x, x + self.patch)
            image, mask = image[cut], mask[cut]
        return _item(image, mask, bool(self.known[row]), row)


class HeldOutMasks(Dataset[Batch]):
    """Squares and masks as they are."""

    def __init__(self, squares: Masked, rows: Rows) -> None:
        self.cache, self.known, self.chosen = squares.cache, squares.known, rows

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, item: int) -> Batch:
        row = int(self.chosen[item])
        return _item(self.cache.image(row), self.cache.mask(row), bool(self.known[row]), row)


def patch_at(mask: BoolArray, side: int, rng: np.random.Generator) -> tuple[int, int]:
    """First row and column of a random patch; half of those of a mask that is not empty hold a pixel of it.

    Examples
    --------
    >>> patch_at(np.zeros((64, 64), bool), 64, np.random.default_rng(0))
    (0, 0)
    """
    most = np.array(mask.shape) - side
    if mask.any() and rng.random() < ON_LESION:
        pixels = np.argwhere(mask)
        corner = pixels[rng.integers(len(pixels))] - rng.integers(0, side, 2)
    else:
        corner = rng.integers(0, most + 1)
    y, x = np.clip(corner, 0, most)
    return int(y), int(x)


def _item(image: NDArray, mask: BoolArray, known: bool, row: int) -> Batch:
    planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    return {
        "image": torch.from_numpy(np.ascontiguousarray(planes, np.float32)),
        "mask": torch.from_numpy(np.ascontiguousarray(mask[None])),
        "label": torch.tensor(int(mask.any())),
        "known": torch.tensor(known),
        "row": torch.tensor(row),
    }


class MaskData(L.LightningDataModule):
    """Batches of one phase: training squares drawn anew each epoch, validation squares unchanged."""

    def __init__(
        self, squares: Masked, train: Rows, val: Rows, recipe: SegmenterRecipe, seed: int, first_epoch: int = 0
    ) -> None:
        super().__init__()
        self.squares, self.val, self.recipe = squares, val, recipe
        self.order = MaskedOrder(squares, train, recipe.data, seed, first_epoch)
        self.changed = ChangedMasks(squares, recipe, seed)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Changed squares in the epoch's order."""
        return loader_of(self.changed, self.order, self.recipe.fit.batch, self.recipe.machine.workers)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation squares in the cache's order."""
        batch = min(HELD_OUT_BATCH, self.recipe.fit.batch)
        return DataLoader(HeldOutMasks(self.squares, self.val), batch_size=batch)
