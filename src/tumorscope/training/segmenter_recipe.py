"""Recipe of a segmenter: an architecture by name, losses, phases, and how scans are held out. Needs no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from tumorscope.errors import RecipeError, look_up
from tumorscope.imaging.preparation import Preparation
from tumorscope.training.classifier_recipe import Changes, Input, Machine, Phase
from tumorscope.training.classifier_recipe import Data as ClassifierData
from tumorscope.training.classifier_recipe import Fit as ClassifierFit
from tumorscope.training.sections import Section

# Names of `mask_losses.LOSSES`, which needs torch.
LOSSES = ("basnet", "bce", "boundary", "dice", "dice-squared", "focal", "iou", "lovasz", "ssim", "tversky")


class Network(Section):
    """The network: one of ours, or any architecture and encoder of segmentation-models-pytorch."""

    architecture: str = Field(description="name of an architecture, see docs/reference/recipes.md")
    encoder: str | None = Field(None, description="encoder, for architectures of segmentation-models-pytorch")
    pretrained: str = Field(
        "yes", description="initial weights of the encoder: 'yes', 'no', or a checkpoint's path or hub id"
    )
    channels: Literal[1, 3] = Field(
        3, description="channels of the first convolution; a grey scan is repeated to three"
    )
    width: float = Field(1.0, gt=0, description="factor on the number of filters, for the architectures of our own")
    head: bool = Field(False, description="whether a classification head says if there is a tumour at all")


class MaskTerms(Section):
    """Weights of the terms of a loss on masks."""

    terms: dict[str, float] = Field(
        default_factory=lambda: {"dice": 1.0, "bce": 1.0}, description="weight of each of " + ", ".join(LOSSES)
    )

    @field_validator("terms")
    @classmethod
    def _known_terms(cls, terms: dict[str, float]) -> dict[str, float]:
        for name in terms:
            look_up(name, LOSSES, "loss", RecipeError)
        if not terms or min(terms.values()) <= 0:
            raise ValueError("name one loss or more, each with a weight above 0")
        return terms


class Loss(MaskTerms):
    """Weights of the terms of the loss; scans without tumour count as empty masks."""

    head: float = Field(0.3, ge=0, description="cross-entropy of the classification head, where there is one")


class Fit(ClassifierFit):
    """How steps are taken, and which epoch is kept."""

    batch: int = Field(16, ge=1, description="scans in a step")
    mirror: bool = Field(
        False, description="average with the mirrored slice in use; the gain on validation is measured either way"
    )
    monitor: Literal["dice", "loss", "iou", "score"] = Field(  # type: ignore[assignment]
        "score", description="validation figure that picks the epoch; score: Dice less the share of false masks"
    )


class Data(ClassifierData):
    """Which scans are held out, and what an epoch draws."""

    foreground: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of an epoch with a tumour; what is too much is drawn less; 0: as it is",
    )
    patch: int = Field(
        0, ge=0, multiple_of=32, description="side of the square that is cut out at random; 0: everything"
    )


class SegmenterRecipe(Section):
    """How a segmenter is trained and judged.

    Examples
    --------
    >>> SegmenterRecipe(name="x", model={"architecture": "unet"}, phases=[{"epochs": 3}]).preparation.size
    256
    """

    name: str = Field(min_length=1, description="name of the run and of the bundle")
    task: Literal["segment"] = Field("segment", description="tells this recipe from those of other tasks")
    seed: int = Field(0, description="seed of everything that is drawn")
    model: Network
    input: Input = Input(size=256)  # type: ignore[call-arg]
    phases: tuple[Phase, ...] = Field(min_length=1, description="stretches of epochs, each from the best of the last")
    fit: Fit = Fit()  # type: ignore[call-arg]
    loss: Loss = Loss()  # type: ignore[call-arg]
    data: Data = Data()  # type: ignore[call-arg]
    augmentation: Changes = Changes()  # type: ignore[call-arg]
    machine: Machine = Machine()  # type: ignore[call-arg]

    @property
    def epochs(self) -> int:
        """Most epochs of all phases."""
        return sum(phase.epochs for phase in self.phases)

    @property
    def preparation(self) -> Preparation:
        """How a slice is brought to the network."""
        return self.input.preparation
