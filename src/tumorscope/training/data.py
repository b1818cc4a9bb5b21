"""From cached squares to batches: what is drawn in an epoch, and what is done to it."""

from __future__ import annotations

import multiprocessing
import multiprocessing.context

import cv2
import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tumorscope.errors import DataError
from tumorscope.imaging.intensity import normalize
from tumorscope.scan import BoolArray, FloatArray
from tumorscope.training import lesions
from tumorscope.training.augment import Sample, look, quantiles, warp
from tumorscope.training.cache import Cache
from tumorscope.training.recipe import Augmentation, Data, Recipe

Batch = dict[str, Tensor]


def draw_epoch(table: pl.DataFrame, settings: Data, seed: int, epoch: int) -> NDArray[np.int64]:
    """Indices of the training slices of one epoch, in order; the same for the same seed and epoch.

    Sources get their ``weights``; those without one share what is left by their size. Within a source
    every group counts alike, so that twenty copies of one scan are not twenty scans.
    """
    rng = np.random.default_rng([seed, epoch])
    train = table.with_row_index("row").filter(pl.col("split") == "train")
    if train.is_empty():
        raise DataError("training data: no scan has the split 'train'; run tumorscope split first")
    sources = train["source"].unique(maintain_order=True).to_list()
    counts = dict(train.group_by("source").len().iter_rows())
    weights = {name: share for name, share in settings.weights.items() if name in sources}
    rest = [name for name in sources if name not in weights]
    left = max(0.0, 1 - sum(weights.values()))
    weights |= {name: left * counts[name] / sum(counts[other] for other in rest) for name in rest}
    total = sum(weights.values())
    drawn = []
    for name in sources:
        part = train.filter(pl.col("source") == name)
        size = part.select(1 / pl.len().over("group")).to_series().to_numpy() ** 0.5
        count = round(settings.epoch_scans * weights[name] / total)
        rows = part["row"].to_numpy().astype(np.int64)
        whole, remainder = divmod(count, rows.size)
        drawn.append(np.tile(rows, whole))
        drawn.append(rng.choice(rows, remainder, replace=False, p=size / size.sum()))
    order = np.concatenate(drawn)
    rng.shuffle(order)
    return order


class Training(Dataset[Batch]):
    """Augmented slices of one epoch.

    Item ``i`` depends on the seed, the epoch and ``i`` alone, whichever worker makes it.
    """

    def __init__(self, cache: Cache, recipe: Recipe, epoch: int) -> None:
        self.cache, self.settings, self.size = cache, recipe.augmentation_at(epoch), recipe.phase_at(epoch).size
        self.key = (recipe.seed, epoch)
        self.order = draw_epoch(cache.table, recipe.data_at(epoch), recipe.seed, epoch)
        train = cache.table["split"].to_numpy() == "train"
        self.labels = cache.table["label"].to_numpy()
        self.known = cache.table["has_mask"].to_numpy()
        self.everyone = np.flatnonzero(train)
        self.healthy = np.flatnonzero(train & (self.labels == 0))
        self.marked = np.flatnonzero(train & (self.labels == 1) & self.known)

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, item: int) -> Batch:
        index = int(self.order[item])
        rng = np.random.default_rng([*self.key, item])
        image, mask, head = self.cache.image(index), self.cache.mask(index), self.cache.head(index)
        label, known = int(self.labels[index]), bool(self.known[index])
        own = self.cache.quantiles[index]
        if known:
            image, mask = self._edit(image, mask, head, rng)
            label = int(mask.any()) if label == 0 or not mask.any() else label
            own = quantiles(image, head)
        sample = warp(Sample(image, mask, head), self.size, self.settings, rng)
        other = int(rng.choice(self.everyone))
        sample = look(sample, self.settings, rng, (own, self.cache.quantiles[other]))
        return _batch_item(sample.image, sample.mask, label, known, index)

    def _edit(
        self, image: FloatArray, mask: BoolArray, head: BoolArray, rng: np.random.Generator
    ) -> tuple[FloatArray, BoolArray]:
        """Tumour taken out, another contrast, lesions put in, distraction: as often as the recipe says.

        A scan with its own tumour gets another contrast half as often: the tumour may vanish in it.
        """
        settings: Augmentation = self.settings
        if mask.any() and rng.random() < settings.remove:
            without = lesions.remove(image, mask, rng)
            if without is not None:
                image, mask = without, np.zeros_like(mask)
        if self.healthy.size and rng.random() < settings.distract:
            image = lesions.distract(image, head, self.cache.image(int(rng.choice(self.healthy))), mask, rng)
        if rng.random() < settings.remap * (0.5 if mask.any() else 1.0):
            image = lesions.remap(image, head, rng)
        if not mask.any() and rng.random() < settings.paste:
            for _ in range(1 if rng.random() < 0.8 else 2):
                patch = lesions.draw_patch(self._bank if self.marked.size else None, image.shape[0], rng)
                pasted = lesions.paste(image, head, patch, rng)
                if pasted is not None:
                    image, mask = pasted[0], mask | pasted[1]
        return image, mask

    def _bank(self, rng: np.random.Generator) -> tuple[FloatArray, BoolArray]:
        """A training scan with its lesion."""
        index = int(rng.choice(self.marked))
        mask = self.cache.mask(index)
        return (self.cache.image(index), mask) if mask.sum() >= 20 else self._bank(rng)


class HeldOut(Dataset[Batch]):
    """The unchanged slices of one split, at one size."""

    def __init__(self, cache: Cache, split: str, size: int) -> None:
        self.cache, self.size = cache, size
        self.rows = np.flatnonzero(cache.table["split"].to_numpy() == split)
        self.labels = cache.table["label"].to_numpy()
        self.known = cache.table["has_mask"].to_numpy()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> Batch:
        index = int(self.rows[item])
        shape = (self.size, self.size)
        image = cv2.resize(self.cache.image(index), shape, interpolation=cv2.INTER_AREA)
        mask = cv2.resize(self.cache.mask(index).astype(np.uint8), shape, interpolation=cv2.INTER_NEAREST)
        head = cv2.resize(self.cache.head(index).astype(np.uint8), shape, interpolation=cv2.INTER_NEAREST)
        image = normalize(image, where=head if head.any() else None)
        return _batch_item(image, mask.astype(bool), int(self.labels[index]), bool(self.known[index]), index)


def _batch_item(image: FloatArray, mask: BoolArray, label: int, known: bool, index: int) -> Batch:
    return {
        "image": torch.from_numpy(np.ascontiguousarray(image[None], np.float32)),
        "mask": torch.from_numpy(np.ascontiguousarray(mask[None])),
        "label": torch.tensor(label),
        "known": torch.tensor(known),
        "index": torch.tensor(index),
    }


def one_thread(_: int = 0) -> None:
    """Keeps a loading process to one thread: the network has the cores."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _clean_processes() -> multiprocessing.context.BaseContext:
    """Loading processes forked from a server without threads: OpenCV and Polars do not survive a plain fork."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tumorscope.training.data"])
    return context


def training_loader(cache: Cache, recipe: Recipe, epoch: int, kind: type[Training] = Training) -> DataLoader[Batch]:
    """Batches of ``epoch``, in the drawn order; a last incomplete batch is dropped."""
    return DataLoader(
        kind(cache, recipe, epoch),
        batch_size=recipe.phase_at(epoch).batch,
        num_workers=recipe.workers,
        worker_init_fn=one_thread,
        multiprocessing_context=_clean_processes() if recipe.workers else None,
        drop_last=True,
    )


def held_out_loader(
    cache: Cache, split: str, size: int, batch: int = 32, kind: type[HeldOut] = HeldOut
) -> DataLoader[Batch]:
    """Unchanged batches of a split, in the cache's order."""
    return DataLoader(kind(cache, split, size), batch_size=batch)
