"""Lightning module of the joint detector and segmenter."""

from __future__ import annotations

import math
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tumorscope.evaluation.classification import roc_auc
from tumorscope.models.segmenters import DetectorSegmenter
from tumorscope.training.data import Batch
from tumorscope.training.losses import dice_loss, evidence, evidence_loss, pixel_loss
from tumorscope.training.recipe import Recipe

MASK_THRESHOLD = 0.5  # for the figures watched during training; the bundle's own is chosen on validation later


class DetectSegment(L.LightningModule):
    """Mask and tumour probability from one network; validated on averaged weights.

    Parameters
    ----------
    recipe : Recipe
        What is built and how it is trained.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = DetectorSegmenter(**recipe.model.model_dump()).to(memory_format=torch.channels_last)
        self._seen: list[dict[str, Tensor]] = []

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mask logits (N, 1, S, S) and head logits (N,)."""
        return self.network(image.contiguous(memory_format=torch.channels_last))

    def on_train_batch_start(self, *_: Any) -> None:
        """Seed dropout anew for each step: a resumed run, for which Lightning starts no epoch, draws the same."""
        torch.manual_seed(self.recipe.seed * 1_000_003 + self.global_step)

    def training_step(self, batch: Batch, _: int) -> Tensor:
        """Weighted sum of the recipe's losses."""
        mask, score = self(batch["image"])
        weights = self.recipe.loss_at(self.current_epoch)
        terms = {
            "pixel": pixel_loss(mask, batch["mask"], batch["known"]),
            "dice": dice_loss(mask, batch["mask"], batch["known"]),
            "evidence": evidence_loss(mask, batch["label"]),
            "head": F.binary_cross_entropy_with_logits(score.float(), batch["label"].float()),
        }
        loss = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
        size = len(batch["label"])
        self.log("train_loss", loss.detach(), on_epoch=True, on_step=False, batch_size=size, prog_bar=True)
        for name, term in terms.items():
            self.log(f"train_{name}", term.detach(), on_epoch=True, on_step=False, batch_size=size)
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Collects Dice, evidence and head of each held-out scan."""
        mask, score = self(batch["image"])
        predicted = mask.float().sigmoid() > MASK_THRESHOLD
        both = (predicted & batch["mask"]).flatten(1).sum(1)
        total = predicted.flatten(1).sum(1) + batch["mask"].flatten(1).sum(1)
        self._seen.append(
            {
                "dice": 2 * both / total.clamp(min=1),
                "marked": batch["mask"].flatten(1).any(1),
                "any": predicted.flatten(1).any(1),
                "evidence": evidence(mask),
                "head": score.float(),
                "label": batch["label"],
            }
        )

    def on_validation_epoch_end(self) -> None:
        """Logs mean Dice on tumour slices, share of healthy slices with a mask, and two AUCs."""
        if not self._seen:
            return
        seen = {name: torch.cat([part[name] for part in self._seen]).cpu().numpy() for name in self._seen[0]}
        self._seen.clear()
        healthy = seen["label"] == 0
        figures = {
            "val_dice": _mean(seen["dice"][seen["marked"]]),
            "val_false_masks": _mean(seen["any"][healthy]),
            "val_auc_evidence": _auc(seen["label"], seen["evidence"]),
            "val_auc_head": _auc(seen["label"], seen["head"]),
        }
        self.log_dict(figures, prog_bar=True, batch_size=len(healthy))

    def configure_gradient_clipping(self, *_: Any, **__: Any) -> None:
        """Clip the gradient's norm here: Lightning's own way refuses a fused optimiser."""
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.optimiser.clip)

    def configure_optimizers(self) -> Any:
        """AdamW, decay on matrices only, the recipe's rate by step."""
        settings = self.recipe.optimiser
        matrices = [p for p in self.network.parameters() if p.ndim > 1]
        vectors = [p for p in self.network.parameters() if p.ndim <= 1]
        groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
        optimiser = torch.optim.AdamW(groups, lr=settings.rate, fused=True)

        def factor(step: int) -> float:
            return self.recipe.rate_at(step) / settings.rate

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan


def _auc(label: np.ndarray, score: np.ndarray) -> float:
    return float(roc_auc(label, score)) if 0 < label.sum() < label.size else math.nan
