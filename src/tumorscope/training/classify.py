"""Lightning module of a classifier: its losses, its optimiser, and the figures of each epoch."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

import lightning.pytorch as L
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from tumorscope.errors import TrainingError
from tumorscope.evaluation.classification import confusion, roc_auc
from tumorscope.models.classifiers import Classifier
from tumorscope.training.classifier_data import Batch
from tumorscope.training.classifier_recipe import RATE_UNIT, ClassifierRecipe, Loss, Phase

ADAM_EPS = 1e-7  # Keras' Adam and AdamW; torch has 1e-8
NAMED = 8  # files of a batch that an error lists


class Classify(L.LightningModule):
    """A network under one phase of a recipe.

    Parameters
    ----------
    network : Classifier
    recipe : ClassifierRecipe
    phase : Phase
    steps : int
        Of the optimiser, in the whole phase.
    weights : (K,) array or None
        Of each class in the loss.
    seed : int
        Of dropout; each step draws from the seed and its own number, so that a resumed run draws the same.
    names : sequence of str
        File of each cached square, for errors.
    """

    weight: Tensor | None

    def __init__(
        self,
        network: Classifier,
        recipe: ClassifierRecipe,
        phase: Phase,
        *,
        steps: int,
        weights: ArrayLike | None = None,
        seed: int = 0,
        names: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last) if recipe.machine.channels_last else network
        self.recipe, self.phase, self.steps, self.seed, self.names = recipe, phase, steps, seed, names
        weight = None if weights is None else torch.as_tensor(np.asarray(weights, np.float32))
        self.register_buffer("weight", weight, persistent=False)
        self._seen: dict[str, list[tuple[Tensor, Tensor]]] = {"train": [], "val": []}
        network.train_part(phase.train)
        if recipe.machine.compile:
            self.network.compile()

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, 1) of two classes, (N, K) of more."""
        if self.recipe.machine.channels_last:
            image = image.contiguous(memory_format=torch.channels_last)
        return self.network(image)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed dropout anew for each batch."""
        place = self.current_epoch * 1_000_003 + batch_idx
        torch.manual_seed((self.seed * 2_147_483_629 + place * 65_537 + self.global_rank) % 2**63)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The recipe's loss; a loss that is no number stops the training and names the files."""
        logits = self(batch["image"])
        loss = loss_of(logits, batch["label"], self.recipe.loss, self.weight)
        if not torch.isfinite(loss):
            self._stop(f"batch {batch_idx}: the loss is {float(loss.detach())}", batch)
        self._seen["train"].append((logits.detach(), batch["label"]))
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Keeps what is said of the held-out scans; where that is no number, the training stops."""
        logits = self(batch["image"])
        if torch.isnan(logits).any():
            self._stop("validation: the network's answer is nan", batch)
        self._seen["val"].append((logits, batch["label"]))

    def on_train_epoch_start(self) -> None:
        """Forget the last epoch's answers."""
        self._seen["train"].clear()

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

    def _stop(self, finding: str, batch: Batch) -> NoReturn:
        files = [self.names[row] for row in batch["row"].tolist()] if self.names else []
        raise TrainingError(
            f"epoch {self.current_epoch}, {finding} ({', '.join(files[:NAMED])}{', …' if len(files) > NAMED else ''}); "
            "look at these files, lower the rate, or clip the gradient (fit.clip = 1)"
        )

    def _figures(self, part: str) -> dict[str, float]:
        seen = self._seen[part]
        if not seen:
            return {}
        logits, labels = (torch.cat([pair[k] for pair in seen]) for k in (0, 1))
        seen.clear()
        if self.trainer.world_size > 1:
            logits, labels = (torch.as_tensor(self.all_gather(values)).flatten(0, 1) for values in (logits, labels))
        loss = float(loss_of(logits, labels, self.recipe.loss, self.weight))
        said = probabilities(logits).cpu().numpy()
        return {
            f"{part}_{name}": value for name, value in {"loss": loss, **figures(said, labels.cpu().numpy())}.items()
        }


def loss_of(logits: Tensor, labels: Tensor, settings: Loss, weight: Tensor | None = None) -> Tensor:
    """Mean loss of a batch, in fp32.

    Cross-entropy of the true class's probability p, or focal loss [1]_, ``(1 - p) ** gamma`` times that. With
    smoothing s the truth is 1 - s + s/K for the class and s/K for each other. Weighted rows count ``weight[label]``
    times, and the sum is divided by the number of rows.

    Parameters
    ----------
    logits : (N, 1) or (N, K) tensor
        Of the second of two classes, or of each class.
    labels : (N,) integer tensor
    settings : Loss
    weight : (K,) tensor, optional

    References
    ----------
    .. [1] Lin, Goyal, Girshick, He, Dollár, "Focal loss for dense object detection", ICCV 2017.

    Examples
    --------
    >>> from tumorscope.training.classifier_recipe import Loss
    >>> logits, labels = torch.zeros(2, 1), torch.tensor([0, 1])
    >>> round(float(loss_of(logits, labels, Loss())), 4)  # ln 2
    0.6931
    >>> round(float(loss_of(logits, labels, Loss(kind="focal"))), 4)  # a quarter of it
    0.1733
    """
    scores = logits.float()
    if scores.shape[1] == 1:  # two classes: the logit of the first is 0
        scores = torch.cat([torch.zeros_like(scores), scores], 1)
    log = F.log_softmax(scores, 1)
    count = scores.shape[1]
    truth = F.one_hot(labels.long(), count).float() * (1 - settings.smoothing) + settings.smoothing / count
    terms = -truth * log
    if settings.kind == "focal":
        terms = terms * (1 - log.exp()) ** settings.gamma
    loss = terms.sum(1)
    return (loss if weight is None else loss * weight.to(loss)[labels.long()]).mean()


def probabilities(logits: Tensor) -> Tensor:
    """Of the second of two classes, (N,), or of each class, (N, K); fp32."""
    return logits.float().sigmoid()[:, 0] if logits.shape[1] == 1 else logits.float().softmax(1)


def figures(said: NDArray, labels: NDArray) -> dict[str, float]:
    """Accuracy, balanced accuracy, F1, AUC and binary IoU of probabilities (N,) or (N, K).

    Of several classes F1, AUC and IoU are means of each class against the rest; NaN where the scans cannot tell.

    Examples
    --------
    >>> found = figures(np.array([0.1, 0.6, 0.4, 0.9]), np.array([0, 0, 1, 1]))
    >>> found["accuracy"], found["auc"]
    (0.5, 0.75)
    """
    if said.ndim == 1:
        counts = confusion(labels, said >= 0.5)
        return {
            "accuracy": counts.accuracy,
            "balanced_accuracy": counts.balanced_accuracy,
            "f1": counts.f1,
            "auc": _auc(labels, said),
            "iou": counts.binary_iou,
        }
    answer = said.argmax(1)
    each = [confusion(labels == k, answer == k) for k in range(said.shape[1])]
    return {
        "accuracy": float((answer == labels).mean()),
        "balanced_accuracy": _mean([one.sensitivity for one in each]),
        "f1": _mean([one.f1 for one in each]),
        "auc": _mean([_auc(labels == k, said[:, k]) for k in range(said.shape[1])]),
        "iou": _mean([one.binary_iou for one in each]),
    }


def rate_at(phase: Phase, step: int, steps: int) -> float:
    """Learning rate at an optimiser step of a phase, counted from 0.

    Exponential: ``rate * decay ** (t / 1000)`` in steps, continuous. Cosine: from ``rate`` to ``final_rate``. Both
    begin after the warm-up, in which the rate rises evenly.

    Examples
    --------
    >>> from tumorscope.training.classifier_recipe import Phase
    >>> rate_at(Phase(epochs=1, rate=1e-4, schedule="exponential", decay=0.9), 1000, 5000)
    9e-05
    """
    warm = round(phase.warmup * steps)
    if step < warm:
        return phase.rate * (step + 1) / warm
    if phase.schedule == "constant":
        return phase.rate
    if phase.schedule == "exponential":
        return phase.rate * phase.decay ** ((step - warm) / RATE_UNIT)
    share = min(1.0, (step - warm) / max(1, steps - warm))
    return phase.final_rate + (phase.rate - phase.final_rate) * 0.5 * (1 + math.cos(math.pi * share))


def scheduled(network: nn.Module, phase: Phase, steps: int) -> Any:
    """A phase's optimiser over what learns of a network, with its rate by step, as Lightning takes them."""
    optimiser = optimiser_of(network, phase)

    def factor(step: int) -> float:
        return rate_at(phase, step, steps) / phase.rate

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def optimiser_of(network: torch.nn.Module, phase: Phase) -> torch.optim.Optimizer:
    """The phase's optimiser; weights of matrices decay, biases and norms do not.

    Adam and AdamW are both AdamW here (without decay the two are one), as Keras' ``weight_decay`` is decoupled too;
    RMSprop and SGD add the decay to the gradient.
    """
    learning = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": phase.weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if phase.optimiser in ("adam", "adamw"):
        return torch.optim.AdamW(groups, lr=phase.rate, eps=ADAM_EPS)
    if phase.optimiser == "rmsprop":
        return torch.optim.RMSprop(groups, lr=phase.rate, alpha=0.9, eps=ADAM_EPS)
    return torch.optim.SGD(groups, lr=phase.rate, momentum=phase.momentum, nesterov=phase.momentum > 0)


def _auc(labels: NDArray, said: NDArray) -> float:
    return float(roc_auc(labels, said)) if 0 < labels.sum() < labels.size else math.nan


def _mean(values: list[float]) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean of nothing is NaN, which is meant
        return float(np.nanmean(values))
