"""Recipe of a promptable segmenter's decoder: which network, which prompts, losses and phases. Needs no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from tumorscope import registry
from tumorscope.errors import RecipeError, look_up
from tumorscope.training.classifier_recipe import Data, Machine, Phase
from tumorscope.training.classifier_recipe import Fit as ClassifierFit
from tumorscope.training.sections import Section
from tumorscope.training.segmenter_recipe import LOSSES, MaskTerms


class PromptedNetwork(Section):
    """The network: a SAM or a SAM 2, of which only the mask decoder learns."""

    network: str = Field(description="promptable network, a name of the registry: sam-vit-base, sam2.1-hiera-tiny, …")
    pretrained: str = Field(
        "yes",
        description="initial weights: 'yes' for the published ones, or the path of a folder or file of weights "
        "(MedSAM's, or what an earlier run wrote)",
    )

    @field_validator("network")
    @classmethod
    def _known(cls, network: str) -> str:
        return look_up(network, registry.names("promptable"), "promptable network", RecipeError)

    @field_validator("pretrained")
    @classmethod
    def _some(cls, pretrained: str) -> str:
        if pretrained == "no":
            raise ValueError("a decoder on a random encoder learns nothing; write 'yes', or the path of weights")
        return pretrained


class BoxPrompts(Section):
    """The boxes that stand for an annotator's."""

    grow: float = Field(
        20.0,
        ge=0,
        description="training: each side of the truth's box is moved outward by 0 to this many px of the scan",
    )
    jitter: tuple[float, ...] = Field(
        (0.1, 0.0, 0.05, 0.2),
        min_length=1,
        description="held-out scans: how far each side of the box is off at most, share of its length; the first, "
        "which is above 0, counts, and the others are told beside it",
    )

    @field_validator("jitter")
    @classmethod
    def _not_exact(cls, jitter: tuple[float, ...]) -> tuple[float, ...]:
        if jitter[0] <= 0 or not all(0 <= one < 1 for one in jitter):
            raise ValueError("the first jitter counts and has to be above 0: the box of the truth itself is no test")
        return jitter


class PromptLoss(MaskTerms):
    """Weights of the terms of the loss, on the maps that the network makes."""

    terms: dict[str, float] = Field(
        default_factory=lambda: {"dice-squared": 1.0}, description="weight of each of " + ", ".join(LOSSES)
    )


class PromptFit(ClassifierFit):
    """How steps are taken, and which epoch is kept."""

    batch: int = Field(4, ge=1, description="slices in a step")
    monitor: Literal["dice", "loss"] = Field(  # type: ignore[assignment]
        "dice", description="validation figure, with jittered boxes, that picks the epoch"
    )


class PromptRecipe(Section):
    """How the mask decoder of a SAM or SAM 2 is fine-tuned on boxes and judged; without phases it is judged as it is.

    Examples
    --------
    >>> PromptRecipe(name="zero-shot", model={"network": "sam-vit-base"}).epochs
    0
    """

    name: str = Field(min_length=1, description="name of the run")
    task: Literal["prompt"] = Field("prompt", description="tells this recipe from those of other tasks")
    seed: int = Field(0, description="seed of everything that is drawn")
    model: PromptedNetwork
    prompt: BoxPrompts = BoxPrompts()  # type: ignore[call-arg]
    phases: tuple[Phase, ...] = Field(
        (), description="stretches of epochs, each from the best of the last; none: nothing is trained (zero-shot)"
    )
    fit: PromptFit = PromptFit()  # type: ignore[call-arg]
    loss: PromptLoss = PromptLoss()  # type: ignore[call-arg]
    data: Data = Data()  # type: ignore[call-arg]
    machine: Machine = Machine()  # type: ignore[call-arg]

    @property
    def epochs(self) -> int:
        """Most epochs of all phases."""
        return sum(phase.epochs for phase in self.phases)
