"""Lightning module of a segmenter: its losses, and what each epoch comes to on scans with and without a tumour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as L
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tumorscope.errors import TrainingError
from tumorscope.models.segmenters.network import Segmented, Segmenter
from tumorscope.training.classifier_data import Batch
from tumorscope.training.classifier_recipe import Phase
from tumorscope.training.classify import NAMED, scheduled
from tumorscope.training.mask_losses import weighted
from tumorscope.training.segmenter_recipe import SegmenterRecipe

THRESHOLD = 0.5  # of the masks watched during training; the bundle's own is chosen on validation afterwards


class Segment(L.LightningModule):
    """A network under one phase of a recipe.

    Parameters
    ----------
    network : Segmenter
    recipe : SegmenterRecipe
    phase : Phase
    steps : int
        Of the optimiser, in the whole phase.
    seed : int
        Of dropout; each step draws from the seed and its own number, so that a resumed run draws the same.
    names : sequence of str
        File of each cached square, for errors.
    """

    def __init__(
        self,
        network: Segmenter,
        recipe: SegmenterRecipe,
        phase: Phase,
        *,
        steps: int,
        seed: int = 0,
        names: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last) if recipe.machine.channels_last else network
        self.recipe, self.phase, self.steps, self.seed, self.names = recipe, phase, steps, seed, names
        self._seen: dict[str, list[dict[str, Tensor]]] = {"train": [], "val": []}
        network.train_part(phase.train)
        if recipe.machine.compile:
            self.network.compile()

    def forward(self, image: Tensor) -> Segmented:
        """Mask logits, side outputs and the head's logit of (N, C, S, S) squares."""
        if self.recipe.machine.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        return self.network(image)

    def on_train_epoch_start(self) -> None:
        """Forget the last epoch's figures."""
        self._seen["train"].clear()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed dropout anew for each batch."""
        place = self.current_epoch * 1_000_003 + batch_idx
        torch.manual_seed((self.seed * 2_147_483_629 + place * 65_537 + self.global_rank) % 2**63)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The recipe's loss; a loss that is no number stops the training and names the files."""
        out = self(batch["image"])
        loss = self._loss(out, batch)
        if not torch.isfinite(loss):
            files = [self.names[row] for row in batch["row"].tolist()] if self.names else []
            raise TrainingError(
                f"epoch {self.current_epoch}, batch {batch_idx}: the loss is {float(loss)} "
                f"({', '.join(files[:NAMED])}{', …' if len(files) > NAMED else ''}); "
                "look at these files, lower the rate, or clip the gradient (fit.clip = 1)"
            )
        self._seen["train"].append(_facts(out, batch, loss))
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Keeps what the held-out scans come to."""
        out = self(batch["image"])
        self._seen["val"].append(_facts(out, batch, self._loss(out, batch)))

    def judged(self) -> dict[str, float]:
        """Figures by name: ``val_`` of the validation scans, ``train_`` of the training scans as they were seen."""
        return self._figures("train") | self._figures("val")

    def configure_gradient_clipping(self, *_: Any, **__: Any) -> None:
        """Clip the norm of the gradient where the recipe asks for it."""
        if self.recipe.fit.clip:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.fit.clip)

    def configure_optimizers(self) -> Any:
        """The phase's optimiser over what learns, with its rate by step."""
        return scheduled(self.network, self.phase, self.steps)

    def _loss(self, out: Segmented, batch: Batch) -> Tensor:
        """The weighted terms on the mask and on every side output, and the head's cross-entropy."""
        loss = weighted(self.recipe.loss.terms, out.mask, batch["mask"], batch["known"], out.side)
        if out.score is None:
            return loss
        head = F.binary_cross_entropy_with_logits(out.score.float(), batch["label"].float())
        return loss + self.recipe.loss.head * head

    def _figures(self, part: str) -> dict[str, float]:
        seen = self._seen[part]
        if not seen:
            return {}
        joined = {name: torch.cat([one[name] for one in seen]) for name in seen[0]}
        seen.clear()
        if self.trainer.world_size > 1:
            joined = {name: torch.as_tensor(self.all_gather(value)).flatten(0, 1) for name, value in joined.items()}
        values = figures({name: value.cpu().numpy() for name, value in joined.items()})
        return {f"{part}_{name}": value for name, value in values.items()}


def _facts(out: Segmented, batch: Batch, loss: Tensor) -> dict[str, Tensor]:
    """Counts of the pixels of each scan, and its share of the batch's loss."""
    said = out.mask.detach().float().sigmoid() > THRESHOLD
    truth = batch["mask"]
    return {
        "both": (said & truth).flatten(1).sum(1),
        "said": said.flatten(1).sum(1),
        "truth": truth.flatten(1).sum(1),
        "pixels": torch.full((len(truth),), truth[0].numel(), device=truth.device),
        "known": batch["known"],
        "loss": loss.detach().float().expand(len(truth)),
    }


def figures(seen: dict[str, NDArray]) -> dict[str, float]:
    """Loss; mean Dice and IoU of scans with a tumour; share of scans without one that get a mask; pixel accuracy, F1.

    ``score`` is Dice less the share of false masks. ``f1`` and ``pixel_iou`` count the pixels of all scans together, as
    the reference does, where large tumours count most.

    Examples
    --------
    >>> import numpy as np
    >>> two = {"both": [2, 0], "said": [4, 0], "truth": [2, 0], "pixels": [9, 9], "known": [1, 1], "loss": [1, 1]}
    >>> found = figures({name: np.array(value) for name, value in two.items()})
    >>> round(found["dice"], 3), found["iou"], found["false_masks"]
    (0.667, 0.5, 0.0)
    """
    known = seen["known"].astype(bool)
    both, said, truth, pixels = (seen[name][known].astype(float) for name in ("both", "said", "truth", "pixels"))
    tumour = truth > 0
    union = said + truth - both
    dice = _mean(2 * both[tumour] / (said + truth)[tumour])
    false_masks = _mean((said[~tumour] > 0).astype(float))
    return {
        "loss": _mean(seen["loss"]),
        "dice": dice,
        "iou": _mean(both[tumour] / union[tumour]),
        "false_masks": false_masks,
        "score": dice - (0.0 if math.isnan(false_masks) else false_masks),
        "accuracy": float(1 - (union - both).sum() / pixels.sum()) if pixels.size else math.nan,
        "f1": float(2 * both.sum() / (said + truth).sum()) if (said + truth).sum() else math.nan,
        "pixel_iou": float(both.sum() / union.sum()) if union.sum() else math.nan,
    }


def _mean(values: NDArray) -> float:
    return float(values.mean()) if values.size else math.nan
