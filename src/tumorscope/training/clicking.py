"""Lightning module of the network behind ``click``: it answers, is corrected, and learns from the last answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import lightning.pytorch as L
import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tumorscope.errors import WeightsError
from tumorscope.models.promptable.click_network import Answer, ClickNetwork
from tumorscope.training.click_data import Annotating, guess_of
from tumorscope.training.click_recipe import ClickLoss
from tumorscope.training.data import Batch
from tumorscope.training.recipe import ClickRecipe

WATCHED = 3  # clicks after which validation looks at Dice
SMOOTH = 1.0  # px added in the soft Dice


class Clicking(L.LightningModule):
    """The network under its recipe; validated with centred clicks on averaged weights.

    Parameters
    ----------
    recipe : ClickRecipe
    """

    def __init__(self, recipe: ClickRecipe) -> None:
        super().__init__()
        self.recipe = recipe
        model = recipe.model
        self.network = ClickNetwork(
            model.encoder, model.encoder_channels, model.prompt_channels, model.decoder_channels
        ).to(memory_format=torch.channels_last)
        self._seen: list[dict[str, Tensor]] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of the answer to the last of a few prompts; the earlier ones are answered without learning."""
        rng = np.random.default_rng([self.recipe.seed, self.global_step])
        chances = np.array(self.recipe.annotator.earlier)
        rounds = int(rng.choice(len(chances), p=chances / chances.sum()))
        truth = batch["mask"][:, 0]
        people = [Annotating(mask.cpu().numpy(), self.recipe.annotator, rng) for mask in truth]
        features = self.network.embed(batch["image"].contiguous(memory_format=torch.channels_last))
        planes = self._asked(people, None)
        if rounds:
            held = [one.detach() for one in features]
            self.network.eval()
            with torch.no_grad():
                for _ in range(rounds):
                    planes = self._asked(people, _best(self.network.answer(held, planes)))
            self.network.train()
        loss, parts = loss_of(self.network.answer(features, planes), truth, self.recipe.loss)
        for name, value in {"loss": loss.detach(), **parts}.items():
            shown = {"on_epoch": True, "on_step": False, "batch_size": len(truth)}
            self.log(f"train_{name}", value, prog_bar=name == "loss", **shown)  # type: ignore[arg-type]
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Dice after each of a few centred clicks."""
        settings = self.recipe.annotator.model_copy(update={"box": 0.0, "centre": 1.0})
        truth = batch["mask"][:, 0]
        people = [Annotating(mask.cpu().numpy(), settings, np.random.default_rng(0)) for mask in truth]
        features = self.network.embed(batch["image"].contiguous(memory_format=torch.channels_last))
        best: Tensor | None = None
        after = {}
        for clicks in range(1, WATCHED + 1):
            best = _best(self.network.answer(features, self._asked(people, best)))
            said = torch.from_numpy(guess_of(best.cpu().numpy()))
            both = (said & truth.cpu()).flatten(1).sum(1)
            after[f"dice_{clicks}"] = 2 * both / (said.flatten(1).sum(1) + truth.cpu().flatten(1).sum(1))
        self._seen.append(after)

    def on_validation_epoch_end(self) -> None:
        """Logs the mean Dice after each number of clicks."""
        if not self._seen:
            return
        means = {f"val_{name}": float(torch.cat([one[name] for one in self._seen]).mean()) for name in self._seen[0]}
        self._seen.clear()
        self.log_dict(means, prog_bar=True)

    def configure_gradient_clipping(self, *_: Any, **__: Any) -> None:
        """Clip the gradient's norm here: Lightning's own way refuses a fused optimiser."""
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.optimiser.clip)

    def configure_optimizers(self) -> Any:
        """AdamW, decay on matrices only, the encoder at its share of the rate."""
        settings = self.recipe.optimiser
        groups = []
        for inside, share in ((True, settings.encoder), (False, 1.0)):
            chosen = [p for name, p in self.network.named_parameters() if name.startswith("encoder.") == inside]
            for decay, matrices in ((settings.weight_decay, True), (0.0, False)):
                part = [p for p in chosen if (p.ndim > 1) == matrices]
                groups.append({"params": part, "weight_decay": decay, "lr": settings.rate * share})
        optimiser = torch.optim.AdamW(groups, lr=settings.rate, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: self.recipe.rate_at(step) / settings.rate)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _asked(self, people: list[Annotating], best: Tensor | None) -> Tensor:
        """Planes (N, 6, S, S) after each annotator's next prompt, given the last answers (N, S, S)."""
        answers = [None] * len(people) if best is None else list(best.cpu().numpy())
        for person, answer in zip(people, answers, strict=True):
            if answer is None:
                person.begin()
            else:
                person.correct(guess_of(answer))
        seen = np.stack([person.seen(answer) for person, answer in zip(people, answers, strict=True)])
        return torch.from_numpy(seen).to(self.device)


def begin_with(network: ClickNetwork, checkpoint: Path) -> None:
    """Give the network the encoder of a scout's run.

    Raises
    ------
    WeightsError
        If the file cannot be read, or a layer is missing or of another width.
    """
    try:
        state = load_file(checkpoint)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{checkpoint}: cannot be read as weights ({error}); give a run's .safetensors") from error
    wanted = network.encoder.state_dict()
    found = {name: state.get(f"encoder.{name}") for name in wanted}
    for name, value in found.items():
        if value is None or value.shape != wanted[name].shape:
            what = "is missing" if value is None else f"is {tuple(value.shape)}, not {tuple(wanted[name].shape)}"
            raise WeightsError(
                f"{checkpoint}: encoder.{name} {what}; set model.encoder and its channels as in that run"
            )
    network.encoder.load_state_dict(cast("dict[str, Tensor]", found))


def loss_of(answer: Answer, truth: Tensor, weights: ClickLoss) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted loss of candidates (N, 3, S, S) for lesions (N, S, S), and its figures.

    Only the best candidate of each scan learns in full, so that the others may say something else [1]_; all learn to
    predict their own IoU.

    References
    ----------
    .. [1] Li, Chen, Koltun, "Interactive image segmentation with latent diversity", CVPR 2018.
    """
    logits = answer.mask.float()
    target = truth[:, None].float().expand_as(logits)
    pixel = F.binary_cross_entropy_with_logits(logits, target, reduction="none").flatten(2).mean(2)
    probability, flat = logits.sigmoid().flatten(2), target.flatten(2)
    both = (probability * flat).sum(2)
    dice = 1 - (2 * both + SMOOTH) / (probability.sum(2) + flat.sum(2) + SMOOTH)
    each = 5.0 * pixel + dice  # a lesion is a few hundredths of the square: the mean over pixels is small
    with torch.no_grad():
        said = logits > 0
        inside = (said & truth[:, None]).flatten(2).sum(2)
        iou = inside / (said | truth[:, None]).flatten(2).sum(2).clamp(min=1)
    error = (answer.quality.float().sigmoid() - iou).square().mean()
    loss = weights.best * each.min(1).values.mean() + weights.all * each.mean() + weights.quality * error
    chosen = iou.gather(1, answer.quality.argmax(1, keepdim=True)).mean()
    return loss, {"iou": chosen.detach(), "best_iou": iou.max(1).values.mean(), "quality_error": error.detach().sqrt()}


def _best(answer: Answer) -> Tensor:
    """Pixel probabilities (N, S, S) of the candidate that the network itself thinks best."""
    place = answer.quality.argmax(1)
    return answer.mask[torch.arange(len(place)), place].float().sigmoid()
