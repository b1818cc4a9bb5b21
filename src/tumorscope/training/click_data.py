"""What the network behind ``click`` learns from: one lesion at a time, and prompts that an annotator might give."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import lightning.pytorch as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from tumorscope.annotation.click import THRESHOLD, planes
from tumorscope.annotation.prompts import Box, Prompts
from tumorscope.annotation.simulation import jittered, next_click
from tumorscope.scan import BoolArray
from tumorscope.training.cache import Cache
from tumorscope.training.click_recipe import Annotator
from tumorscope.training.data import Batch, HeldOut, Training, held_out_loader, training_loader
from tumorscope.training.recipe import ClickRecipe

TRIES = 20  # scans looked at for one with a lesion before giving up
LEAST_LESION = 12  # px on the square; less is the rest of one that left the square
WHOLE = 0.3  # chance that several lesions are asked for as one


class OneLesion(Training):
    """Changed training scans as the scout's, each with the one lesion that is asked for."""

    def __getitem__(self, item: int) -> Batch:
        """The item, or where it shows no lesion the next that does."""
        for later in range(TRIES):
            found = super().__getitem__((item + later * 7919) % len(self))
            rng = np.random.default_rng([*self.key, item, later])
            mask = found["mask"][0].numpy()
            if mask.sum() >= LEAST_LESION:
                found["mask"] = torch.from_numpy(one_lesion(mask, rng)[None])
                return found
        raise IndexError(f"{TRIES} scans on from {item} none shows a lesion")


class Marked(HeldOut):
    """Unchanged scans of one split that show a lesion."""

    def __init__(self, cache: Cache, split: str, size: int) -> None:
        super().__init__(cache, split, size)
        shown = [self.known[row] and cache.mask(int(row)).sum() >= LEAST_LESION for row in self.rows]
        self.rows = self.rows[np.array(shown, bool)]


class LesionData(L.LightningDataModule):
    """Training batches drawn anew for each epoch, and the lesions of the validation scans."""

    def __init__(self, cache: Cache, recipe: ClickRecipe) -> None:
        super().__init__()
        self.cache, self.recipe = cache, recipe

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of the epoch about to start."""
        assert self.trainer is not None
        return training_loader(self.cache, self.recipe, self.trainer.current_epoch, OneLesion)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Unchanged validation batches."""
        return held_out_loader(self.cache, "val", self.recipe.phases[-1].size, kind=Marked)


def one_lesion(mask: BoolArray, rng: np.random.Generator) -> BoolArray:
    """One region of a (H, W) mask, or all of it where it has a single one.

    Examples
    --------
    >>> mask = np.zeros((9, 20), bool)
    >>> mask[2:7, 2:7] = True
    >>> bool((one_lesion(mask, np.random.default_rng(0)) == mask).all())
    True
    """
    count, regions = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    if count <= 2 or rng.random() < WHOLE:
        return mask
    sizes = np.bincount(regions.ravel())[1:]
    large = np.flatnonzero(sizes >= LEAST_LESION) + 1
    return mask if not large.size else regions == rng.choice(large)


@dataclass
class Annotating:
    """One simulated annotator before one square.

    Parameters
    ----------
    truth : (S, S) bool array
    settings : Annotator
    rng : numpy.random.Generator
    prompts : Prompts
        What was pointed at so far.
    """

    truth: BoolArray
    settings: Annotator
    rng: np.random.Generator
    prompts: Prompts = field(default_factory=Prompts)

    def begin(self) -> None:
        """The first prompt: a box that is a little off, or a click."""
        box = Box.around(self.truth)
        if box is not None and self.rng.random() < self.settings.box:
            off = self.rng.uniform(0, self.settings.jitter)
            shape = (self.truth.shape[0], self.truth.shape[1])
            self.prompts = self.prompts.boxed(jittered(box, off, self.rng, shape))
        else:
            self.correct(np.zeros_like(self.truth))

    def correct(self, guess: BoolArray) -> None:
        """One more click, where the guess is most wrong; none where it is right."""
        centred = self.rng.random() < self.settings.centre
        point = next_click(self.truth, guess, None if centred else self.rng)
        if point is not None:
            self.prompts = self.prompts.click(point.y, point.x, positive=point.positive)

    def seen(self, previous: NDArray | None) -> NDArray[np.float32]:
        """What the network sees of the prompts and of its last answer."""
        return planes(self.prompts, previous, self.truth.shape[0])


def guess_of(probability: NDArray) -> BoolArray:
    """The mask of pixel probabilities."""
    return probability > THRESHOLD
