"""Lightning module of a promptable network whose mask decoder learns; the rest is frozen and works on embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor

from tumorscope.errors import TrainingError
from tumorscope.models.promptable.network import FEATURE, PromptableNetwork
from tumorscope.training.classifier_data import Batch
from tumorscope.training.classifier_recipe import Phase
from tumorscope.training.classify import NAMED, scheduled
from tumorscope.training.mask_losses import weighted
from tumorscope.training.prompt_decoder_recipe import PromptRecipe

OF_EMBEDDING = ("conv_s0", "conv_s1")  # SAM 2's decoder owns them, but they are at work before the embedding is kept


class PromptDecoder(L.LightningModule):
    """A mask decoder under one phase of a recipe; it answers each box with one mask.

    Parameters
    ----------
    promptable : PromptableNetwork
        Its frozen parts are used and never saved with the training.
    recipe : PromptRecipe
    phase : Phase
    steps : int
        Of the optimiser, in the whole phase.
    names : sequence of str
        Scan of each slice, for errors.
    """

    def __init__(
        self,
        promptable: PromptableNetwork,
        recipe: PromptRecipe,
        phase: Phase,
        *,
        steps: int,
        names: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.promptable = promptable
        self.network = promptable.decoder
        self.recipe, self.phase, self.steps, self.names = recipe, phase, steps, names
        self._seen: dict[str, list[dict[str, Tensor]]] = {"train": [], "val": []}
        promptable.model.requires_grad_(False)
        for name, value in self.network.named_parameters():
            value.requires_grad_(not name.startswith(OF_EMBEDDING))

    def forward(self, batch: Batch) -> Tensor:
        """(N, 1, s, s) log-odds for a batch of embeddings and boxes."""
        features = [batch[FEATURE.format(number)] for number in range(3 if self.promptable.second else 1)]
        found = self.promptable.model(
            image_embeddings=features if self.promptable.second else features[0],
            input_boxes=batch["box"],
            multimask_output=False,
        )
        maps: Tensor = found.pred_masks[:, 0]
        return maps

    def on_fit_start(self) -> None:
        """Bring the frozen parts to where the decoder is."""
        self.promptable.model.to(self.device)

    def on_train_epoch_start(self) -> None:
        """Forget the last epoch's figures."""
        self._seen["train"].clear()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The recipe's loss; a loss that is no number stops the training and names the scans."""
        maps = self(batch)
        loss = weighted(self.recipe.loss.terms, maps, batch["truth"])
        if not torch.isfinite(loss):
            scans = [self.names[row] for row in batch["row"].tolist()] if self.names else []
            raise TrainingError(
                f"epoch {self.current_epoch}, batch {batch_idx}: the loss is {float(loss.detach())} "
                f"({', '.join(scans[:NAMED])}); look at these scans, or lower the rate"
            )
        self._seen["train"].append(_facts(maps, batch, loss))
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Keeps what the held-out slices come to."""
        maps = self(batch)
        self._seen["val"].append(_facts(maps, batch, weighted(self.recipe.loss.terms, maps, batch["truth"])))

    def judged(self) -> dict[str, float]:
        """Loss and mean Dice on the network's maps: ``val_`` of the validation slices, ``train_`` as they were seen."""
        return self._figures("train") | self._figures("val")

    def configure_gradient_clipping(self, *_: Any, **__: Any) -> None:
        """Clip the norm of the gradient where the recipe asks for it."""
        if self.recipe.fit.clip:
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.fit.clip)

    def configure_optimizers(self) -> Any:
        """The phase's optimiser over what learns, with its rate by step."""
        return scheduled(self.network, self.phase, self.steps)

    def _figures(self, part: str) -> dict[str, float]:
        seen = self._seen[part]
        if not seen:
            return {}
        joined = {name: torch.cat([one[name] for one in seen]) for name in seen[0]}
        seen.clear()
        if self.trainer.world_size > 1:
            joined = {name: torch.as_tensor(self.all_gather(value)).flatten(0, 1) for name, value in joined.items()}
        return {f"{part}_{name}": float(value.mean()) for name, value in joined.items()}


def _facts(maps: Tensor, batch: Batch, loss: Tensor) -> dict[str, Tensor]:
    """Dice of each slice on the network's map, and its share of the batch's loss."""
    said, truth = maps.detach() > 0, batch["truth"]
    both = (said & truth).flatten(1).sum(1)
    total = said.flatten(1).sum(1) + truth.flatten(1).sum(1)
    return {"dice": 2 * both / total.clamp(min=1), "loss": loss.detach().float().expand(len(truth))}
