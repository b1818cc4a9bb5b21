"""A classifier's scans: which have a label, what an epoch draws of them, and batches of prepared squares."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import lightning.pytorch as L
import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from tumorscope.datasets import manifest
from tumorscope.errors import DataError
from tumorscope.imaging.preparation import Preparation
from tumorscope.training import cache as caches
from tumorscope.training.cache import Cache
from tumorscope.training.changes import changed
from tumorscope.training.classifier_recipe import ClassifierRecipe, Data, Fit

Batch = dict[str, Tensor]
Rows = NDArray[np.int64]

BINARY = (0, 1)  # labels of none and tumour
HELD_OUT_BATCH = 64
MOST_WORKERS = 8
SALT = 1  # of an epoch's draw, so that it is none of another kind from the same seed
NUMBERS = tuple[int, int, int]  # epoch, place in it, row


@dataclass(frozen=True)
class Labels:
    """Classes of a data set, by number: their labels in the manifest, ascending, and their names."""

    values: tuple[int, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, table: pl.DataFrame) -> Labels:
        """The classes of a manifest's rows.

        Raises
        ------
        DataError
            If there are fewer than two.
        """
        values = tuple(sorted(table["label"].drop_nulls().unique().to_list()))
        if len(values) < 2:
            found = ", ".join(map(str, values)) or "none"
            raise DataError(f"label: {table.height} scans have one class only ({found}); training needs two or more")
        told = dict(table.select("label", "label_name").drop_nulls().unique(maintain_order=True).rows())
        plain = {0: "no_tumor", 1: "tumor"} if values == BINARY else {}
        return cls(values, tuple(str(plain.get(value, told.get(value, value))) for value in values))

    @property
    def binary(self) -> bool:
        """Whether the classes are none and tumour."""
        return self.values == BINARY

    @property
    def outputs(self) -> int:
        """Logits of a network: 1 for two classes, otherwise one for each."""
        return 1 if len(self.values) == 2 else len(self.values)


def labelled(table: pl.DataFrame) -> pl.DataFrame:
    """The manifest's rows that a classifier can learn from or be judged on.

    A row without a label but with a mask is labelled by it, slice by slice for a volume. A mask of a labelled 2-D scan
    is not looked at. Rows with neither are left out where all others have one, and refused where a split names them.

    Raises
    ------
    DataError
        If no row has a label, or a row that a split names has neither label nor mask.
    """
    bare = table.filter(pl.col("label").is_null() & pl.col("mask_path").is_null())
    stray = bare.filter(pl.col("split").is_not_null() | pl.col("fold").is_not_null())
    if stray.height:
        raise DataError(f"{stray['path'][0]}: has neither label nor mask; add one to the manifest or drop the row")
    rows = table.join(bare.select("id"), on="id", how="anti", maintain_order="left")
    if rows.is_empty():
        raise DataError(
            f"label: none of {table.height} scans has a label or a mask; sort them into folders named by class, or add "
            "a column 'label' to the manifest"
        )
    return rows


@dataclass(frozen=True)
class Squares:
    """Prepared squares of a data set with their class numbers; what every fold of a run draws from.

    Parameters
    ----------
    cache : Cache
    table : polars.DataFrame
        The manifest's columns for each square, in the cache's order.
    truth : (N,) int array
        Class number of each.
    labels : Labels
    """

    cache: Cache
    table: pl.DataFrame
    truth: Rows
    labels: Labels

    @classmethod
    def of(cls, table: pl.DataFrame, preparation: Preparation, folder: Path, progress: Any = None) -> Squares:
        """Squares of a `labelled` manifest, from the cache in ``folder`` or made there.

        Raises
        ------
        DataError
            If a scan cannot be prepared (the file is named), or one class is left only.
        """
        plain = table.with_columns(
            split=pl.lit(None, pl.String),
            mask_path=pl.when(pl.col("label").is_null()).then(pl.col("mask_path")),
            label=pl.col("label").fill_null(-1),
        )
        cache = caches.build(plain, preparation, folder, progress=progress)
        facts = table.drop("label", "slice", strict=False)
        rows = cache.table.select("id", "slice", "label").join(facts, on="id", how="left", maintain_order="left")
        labels = Labels.of(rows)
        number = {label: place for place, label in enumerate(labels.values)}
        truth = np.array([number[label] for label in rows["label"].to_list()], np.int64)
        return cls(cache, rows, truth, labels)

    def rows(self, chosen: pl.Series) -> Rows:
        """Numbers of the squares of a True in ``chosen``, one value a square."""
        return np.flatnonzero(chosen.fill_null(False).to_numpy()).astype(np.int64)

    @property
    def names(self) -> list[str]:
        """File of each square."""
        return self.table["path"].to_list()


def draw(squares: Squares, rows: Rows, settings: Data, seed: int, epoch: int) -> Rows:
    """Training squares of an epoch in a new order; balanced, and synthetic ones capped, as the recipe says.

    ``over`` draws every class as often as the largest, ``under`` as often as the smallest; no square comes again before
    all of its class did.

    Examples
    --------
    >>> table = pl.DataFrame({"synthetic": [False] * 6})
    >>> squares = Squares(None, table, np.array([0, 0, 0, 0, 1, 1]), Labels((0, 1), ("no", "yes")))
    >>> sorted(draw(squares, np.arange(6), Data(balance="over"), 0, 0).tolist())
    [0, 1, 2, 3, 4, 4, 5, 5]
    """
    rng = np.random.default_rng([seed, SALT, epoch])
    made = squares.table["synthetic"].fill_null(False).to_numpy()[rows]
    most = int((~made).sum() * settings.synthetic / (1 - settings.synthetic))
    synthetic = rng.permutation(rows[made])[:most]
    chosen = np.concatenate([rows[~made], synthetic])
    if settings.balance in ("over", "under"):
        classes = [chosen[squares.truth[chosen] == k] for k in range(len(squares.labels.values))]
        sizes = [len(part) for part in classes if len(part)]
        wanted = max(sizes) if settings.balance == "over" else min(sizes)
        chosen = np.concatenate([_repeated(part, wanted, rng) for part in classes if len(part)])
    return rng.permutation(chosen)


def _repeated(part: Rows, wanted: int, rng: np.random.Generator) -> Rows:
    whole, rest = divmod(wanted, len(part))
    return np.concatenate([np.tile(part, whole), rng.permutation(part)[:rest]])


def class_weights(truth: Rows, classes: int) -> NDArray[np.float64]:
    """Weight of each class in the loss: inverse to its share, 1 on average over the rows.

    Examples
    --------
    >>> class_weights(np.array([0, 0, 0, 1]), 2).round(3).tolist()
    [0.667, 2.0]
    """
    count = np.bincount(truth, minlength=classes)
    return len(truth) / (np.maximum(count, 1) * (count > 0).sum())


class Order(Sampler[NUMBERS]):
    """Epoch, place and square of every training item of an epoch; a share of them where several devices work.

    Lightning tells the epoch through `set_epoch`, so that loading processes live through a whole phase.
    """

    def __init__(self, squares: Squares, rows: Rows, settings: Data, seed: int, first_epoch: int = 0) -> None:
        self.squares, self.chosen, self.settings, self.seed, self.first = squares, rows, settings, seed, first_epoch
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch about to be drawn, counted within the phase."""
        self.epoch = epoch

    def __len__(self) -> int:
        rank, world = _place()
        return len(range(rank, len(self._drawn()), world))

    def __iter__(self) -> Iterator[NUMBERS]:
        rank, world = _place()
        epoch = self.first + self.epoch
        drawn = self._drawn()
        return iter([(epoch, place, int(drawn[place])) for place in range(rank, len(drawn), world)])

    def _drawn(self) -> Rows:
        return draw(self.squares, self.chosen, self.settings, self.seed, self.first + self.epoch)


def _place() -> tuple[int, int]:
    """Number of this process among those that train, and how many they are."""
    import torch.distributed as dist

    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


class Changed(Dataset[Batch]):
    """Training squares, changed at random; an item depends on the seed, the epoch and its place in it alone."""

    def __init__(self, cache: Cache, truth: Rows, recipe: ClassifierRecipe, seed: int) -> None:
        self.cache, self.truth, self.settings, self.seed = cache, truth, recipe.augmentation, seed

    def __getitem__(self, item: NUMBERS) -> Batch:
        epoch, place, row = item
        rng = np.random.default_rng([self.seed, epoch, place])
        return _item(changed(self.cache.image(row), self.settings, rng), int(self.truth[row]), row)


class HeldOut(Dataset[Batch]):
    """Squares as they are."""

    def __init__(self, cache: Cache, truth: Rows, rows: Rows) -> None:
        self.cache, self.truth, self.chosen = cache, truth, rows

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, item: int) -> Batch:
        row = int(self.chosen[item])
        return _item(self.cache.image(row), int(self.truth[row]), row)


def _item(image: NDArray, label: int, row: int) -> Batch:
    planes = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    pixels = torch.from_numpy(np.ascontiguousarray(planes, np.float32))
    return {"image": pixels, "label": torch.tensor(label), "row": torch.tensor(row)}


class EpochData(L.LightningDataModule):
    """Batches of one phase: training squares drawn anew each epoch, validation squares unchanged.

    Parameters
    ----------
    squares : Squares
    train, val : (n,) int array
        Squares of each part.
    recipe : ClassifierRecipe
    seed : int
    first_epoch : int
        Epochs behind this phase.
    """

    def __init__(
        self, squares: Squares, train: Rows, val: Rows, recipe: ClassifierRecipe, seed: int, first_epoch: int = 0
    ) -> None:
        super().__init__()
        self.squares, self.val, self.recipe = squares, val, recipe
        self.order = Order(squares, train, recipe.data, seed, first_epoch)
        self.changed = Changed(squares.cache, squares.truth, recipe, seed)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Changed squares in the epoch's order."""
        return loader_of(self.changed, self.order, self.recipe.fit.batch, self.recipe.machine.workers)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation squares in the cache's order."""
        return held_out(self.squares, self.val)


def loader_of(changed: Dataset[Batch], order: Order, batch: int, workers: int | str) -> DataLoader[Batch]:
    """Batches of changed squares; a last batch of a single one is left out, since batch norm needs two."""
    processes = workers_of(workers)
    return DataLoader(
        changed,
        batch_size=batch,
        sampler=order,
        num_workers=processes,
        worker_init_fn=one_thread,
        multiprocessing_context=_clean_processes() if processes else None,
        persistent_workers=bool(processes),
        drop_last=len(order) > batch and len(order) % batch == 1,
    )


def held_out(squares: Squares, rows: Rows) -> DataLoader[Batch]:
    """Unchanged batches of some squares, in the order given."""
    return DataLoader(HeldOut(squares.cache, squares.truth, rows), batch_size=HELD_OUT_BATCH)


def steps_in(count: int, settings: Fit) -> int:
    """Steps of the optimiser in an epoch of ``count`` squares."""
    batch = settings.batch
    batches = -(-count // batch) - (count > batch and count % batch == 1)
    return max(1, -(-batches // settings.accumulate))


def workers_of(wanted: int | str) -> int:
    """Loading processes: with ``auto`` none on a CPU, where they would take from the network what they give it."""
    if isinstance(wanted, int):
        return wanted
    return min(MOST_WORKERS, max(1, (os.cpu_count() or 1) - 1)) if torch.cuda.is_available() else 0


def one_thread(_: int = 0) -> None:
    """Keeps a loading process to one thread: the network has the cores."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _clean_processes() -> multiprocessing.context.BaseContext:
    """Loading processes forked from a server without threads: OpenCV and Polars do not survive a plain fork."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tumorscope.training.classifier_data"])
    return context


def load(sources: Sequence[str | Path], target: str = "label") -> pl.DataFrame:
    """The `labelled` rows of folders or manifests; an error where their labels name one class only.

    With the target ``tumor_type`` the classes are those of `by_type`.
    """
    table = manifest.load(list(sources))
    rows = labelled(by_type(table) if target == "tumor_type" else table)
    if not rows["label"].null_count():
        Labels.of(rows)
    return rows


def by_type(table: pl.DataFrame) -> pl.DataFrame:
    """The rows with the type of tumour as label: 0 for none, then types from A to Z; tumours of no type are left out.

    Raises
    ------
    DataError
        If no row has a type, or a tumour without one stands in a split.

    Examples
    --------
    >>> rows = {"path": [*"abc"], "label": [1, 0, 1], "tumor_type": ["glioma", None, None]}
    >>> table = pl.DataFrame(rows).with_columns(split=pl.lit(None, pl.String), fold=pl.lit(None, pl.Int64))
    >>> by_type(table).select("path", "label", "label_name").rows()
    [('a', 1, 'glioma'), ('b', 0, 'no_tumor')]
    """
    types = table["tumor_type"].drop_nulls().unique().sort().to_list()
    if not types:
        raise DataError(
            "tumor_type: no scan has one; sort the scans into folders named by type, or leave data.target at 'label'"
        )
    untold = pl.col("tumor_type").is_null() & (pl.col("label") != 0).fill_null(True)
    stray = table.filter(untold & (pl.col("split").is_not_null() | pl.col("fold").is_not_null()))
    if stray.height:
        raise DataError(f"{stray['path'][0]}: has a tumour of no type; add one to the manifest, or drop the row")
    number = {name: place for place, name in enumerate(types, 1)}
    return table.filter(~untold).with_columns(
        label=pl.col("tumor_type").replace_strict(number, default=0, return_dtype=pl.Int64),
        label_name=pl.col("tumor_type").fill_null("no_tumor"),
    )
