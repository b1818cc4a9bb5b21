"""A decoder's scans: slices with a lesion, their embeddings kept on disk, and boxes drawn around the truth."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from tumorscope import io
from tumorscope.annotation.embedding_store import UNLIMITED, EmbeddingStore, key_of
from tumorscope.datasets.truth import read_mask
from tumorscope.errors import DataError, TumorscopeError
from tumorscope.models.promptable.network import PromptableNetwork
from tumorscope.scan import BoolArray, FloatArray
from tumorscope.training.classifier_data import NUMBERS, Batch, Order, Rows, loader_of
from tumorscope.training.classifier_recipe import Data
from tumorscope.training.divisions import Division, divisions
from tumorscope.training.prompt_decoder_recipe import PromptRecipe

SALT = 5  # so that the draws of one seed differ
INSIDE = 0.5  # share of a map's cell that is lesion


@dataclass(frozen=True)
class Lesion:
    """A slice with a lesion.

    Parameters
    ----------
    id : str
        Of its scan in the manifest.
    slice : int
        Its number in a volume; 0 for a 2-D scan.
    key : str
        Of its embedding.
    shape : (int, int)
    box : (4,) float array
        Top, left, bottom and right row and column of the truth.
    truth : (s, s) bool array
        On the map that the network makes.
    """

    id: str
    slice: int
    key: str
    shape: tuple[int, int]
    box: NDArray[np.float64]
    truth: BoolArray


@dataclass(frozen=True)
class Lesions:
    """All slices with a lesion of a data set, and where their embeddings lie."""

    items: tuple[Lesion, ...]
    store: EmbeddingStore

    @classmethod
    def of(
        cls,
        table: pl.DataFrame,
        network: PromptableNetwork,
        version: str,
        folder: Path,
        progress: Callable[[int, int], None] | None = None,
    ) -> Lesions:
        """The slices of `usable` rows; each goes through the frozen encoder once, also over calls that were killed.

        Raises
        ------
        DataError, ScanError
            If a scan or mask cannot be read, or no mask holds a pixel; the file is named.
        """
        store = EmbeddingStore(folder, UNLIMITED)  # a training needs all of them
        items: list[Lesion] = []
        for done, row in enumerate(table.iter_rows(named=True), start=1):
            try:
                pixels, truth = planes_of(row)
                found = [_lesion(row["id"], place, pixels, truth, network, version) for place in _marked(truth)]
                for one in found:
                    if not store.holds(one.key):
                        store.write(one.key, network.embed(pixels[one.slice]))
            except TumorscopeError as error:
                words = str(error)
                raise type(error)(words if str(row["path"]) in words else f"{row['path']}: {words}") from error
            items += found
            if progress:
                progress(done, table.height)
        if not items:
            raise DataError("mask_path: every mask is empty; a decoder learns from slices with a lesion")
        return cls(tuple(items), store)

    def rows(self, ids: frozenset[str]) -> Rows:
        """Numbers of the slices of some scans."""
        return np.array([number for number, one in enumerate(self.items) if one.id in ids], np.int64)

    def embedding(self, row: int) -> dict[str, NDArray]:
        """Features of a slice.

        Raises
        ------
        DataError
            If the file was deleted.
        """
        found = self.store.read(self.items[row].key)
        if found is None:
            raise DataError(f"{self.store.folder}: an embedding is gone; run again with --resume to make it anew")
        return found


def usable(table: pl.DataFrame) -> pl.DataFrame:
    """The rows that can be prompted: with a mask, and not labelled as without tumour.

    Raises
    ------
    DataError
        If there are none.
    """
    rows = table.filter(pl.col("mask_path").is_not_null() & (pl.col("label") != 0).fill_null(True))
    if rows.is_empty():
        raise DataError(
            f"mask_path: none of {table.height} scans has a tumour and a mask; lay masks beside the scans "
            "(7.png, 7_mask.png), or add the column to the manifest"
        )
    return rows


def divided(table: pl.DataFrame, settings: Data, seed: int) -> list[Division]:
    """As `divisions`, which would want healthy scans too: a box needs a tumour."""
    return divisions(table.with_columns(label=pl.lit(None, pl.Int64)), settings, seed)


def planes_of(row: dict[str, Any]) -> tuple[FloatArray, BoolArray]:
    """Pixels and lesion of a manifest's row as (D, H, W), D = 1 for a 2-D scan."""
    scan = io.read(row["path"], channel=row.get("channel"))
    truth = read_mask(row, scan.shape)
    if truth is None:
        raise DataError(f"{row['path']}: has no mask; add one, or drop the row")
    return (scan.pixels, truth) if scan.is_volume else (scan.pixels[None], truth[None])


def grown(box: NDArray, most: float, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """A box with each side moved outward by 0 to ``most`` px, kept within the slice.

    Parameters
    ----------
    box : (4,) array
        Top, left, bottom, right.

    Examples
    --------
    >>> grown(np.array([2.0, 3.0, 6.0, 9.0]), 0, (16, 16), np.random.default_rng(0)).tolist()
    [2.0, 3.0, 6.0, 9.0]
    """
    moved = box + rng.uniform(0, most, 4) * np.array([-1, -1, 1, 1])
    return np.clip(moved, 0, [shape[0] - 1, shape[1] - 1] * 2)


def off(one: Lesion, share: float) -> NDArray[np.float64]:
    """The box of a held-out slice whose sides are off by up to ``share`` of its length.

    It hangs on the scan's name, slice and share alone: every model is judged on the same boxes.
    """
    from tumorscope.annotation.prompts import Box  # annotation stands below training in the house
    from tumorscope.annotation.simulation import jittered

    seed = hashlib.sha256(f"{one.id}\0{one.slice}\0{share:g}".encode()).digest()[:8]
    box = jittered(Box(*one.box.tolist()), share, np.random.default_rng(int.from_bytes(seed, "big")), one.shape)
    return np.array([box.top, box.left, box.bottom, box.right])


class PromptOrder(Order):
    """The training slices of an epoch in a new order."""

    def _drawn(self) -> Rows:
        rng = np.random.default_rng([self.seed, SALT, self.first + self.epoch])
        return rng.permutation(self.chosen)


class Boxed(Dataset[Batch]):
    """Embeddings with a box and the truth; a training item depends on the seed, the epoch and its place alone."""

    def __init__(self, lesions: Lesions, network: PromptableNetwork, recipe: PromptRecipe, seed: int) -> None:
        self.lesions, self.frame, self.settings, self.seed = lesions, network.frame, recipe.prompt, seed

    def __getitem__(self, item: NUMBERS) -> Batch:
        epoch, place, row = item
        one = self.lesions.items[row]
        rng = np.random.default_rng([self.seed, epoch, place])
        return self.item(row, grown(one.box, self.settings.grow, one.shape, rng))

    def item(self, row: int, box: NDArray) -> Batch:
        """Features, box on the network's square, and truth of a slice."""
        one = self.lesions.items[row]
        corners = self.frame.points(box.reshape(2, 2), one.shape).reshape(1, 4)
        features = {name: torch.from_numpy(value) for name, value in self.lesions.embedding(row).items()}
        return {**features, "box": corners, "truth": torch.from_numpy(one.truth[None]), "row": torch.tensor(row)}


class HeldOutBoxed(Dataset[Batch]):
    """The same for held-out slices, whose boxes are off by the share that counts."""

    def __init__(self, boxed: Boxed, rows: Rows) -> None:
        self.boxed, self.chosen = boxed, rows

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, item: int) -> Batch:
        row = int(self.chosen[item])
        return self.boxed.item(row, off(self.boxed.lesions.items[row], self.boxed.settings.jitter[0]))


class BoxData(L.LightningDataModule):
    """Batches of one phase."""

    def __init__(
        self,
        lesions: Lesions,
        network: PromptableNetwork,
        train: Rows,
        val: Rows,
        recipe: PromptRecipe,
        seed: int,
        first_epoch: int = 0,
    ) -> None:
        super().__init__()
        self.recipe, self.val = recipe, val
        self.order = PromptOrder(lesions, train, recipe.data, seed, first_epoch)  # type: ignore[arg-type]
        self.boxed = Boxed(lesions, network, recipe, seed)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Boxes drawn anew, in the epoch's order."""
        return loader_of(self.boxed, self.order, self.recipe.fit.batch, self.recipe.machine.workers)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation slices with their boxes."""
        return DataLoader(HeldOutBoxed(self.boxed, self.val), batch_size=self.recipe.fit.batch)


def _marked(truth: BoolArray) -> list[int]:
    return [int(place) for place in np.flatnonzero(truth.any(axis=(1, 2)))]


def _lesion(
    name: str, place: int, pixels: FloatArray, truth: BoolArray, network: PromptableNetwork, version: str
) -> Lesion:
    mask = truth[place]
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = np.array([rows[0], columns[0], rows[-1], columns[-1]], np.float64)
    small = network.frame.mask(mask, network.map_size)[0, 0].numpy() > INSIDE
    shape = (int(mask.shape[0]), int(mask.shape[1]))
    return Lesion(name, place, key_of(pixels[place], "embedding", version), shape, box, small)
