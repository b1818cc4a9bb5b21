"""Recipe of a diffusion model: its network, its schedule, how it is trained and watched. Needs no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tumorscope.imaging.preparation import Preparation
from tumorscope.inference.mixing import LARGEST_SIGNAL, SMALLEST_SIGNAL, Schedule
from tumorscope.training.classifier_recipe import Machine
from tumorscope.training.sections import Section


class Network(Section):
    """A U-Net of residual blocks that names the noise in a picture."""

    widths: tuple[int, ...] = Field((32, 64, 96, 128), min_length=2, description="channels at each side, largest first")
    depth: int = Field(2, ge=1, description="residual blocks at each width")
    embedded: int = Field(32, ge=2, multiple_of=2, description="numbers that describe the noise variance")
    lowest: float = Field(1.0, gt=0, description="lowest frequency of these numbers")
    highest: float = Field(1000.0, gt=0, description="highest frequency of these numbers")
    conditional: bool = Field(
        True, description="whether pictures of a class can be asked for: tumour type, or none for a healthy slice"
    )


class Input(Section):
    """What the network sees of a scan."""

    size: int = Field(64, ge=32, description="side of the pictures, px; halved once for each width but the last")
    crop: Literal["auto", "hard", "soft", "none"] = Field("auto", description="how the head is found")
    clean: bool = Field(True, description="whether white background, borders and burned-in text are removed")
    enhance: Literal["none", "musica"] = Field("none", description="enhancement after normalisation")


class Mixing(Section):
    """Share of the picture in what the network sees, from time 0 to time 1; the angle is linear in time."""

    largest_signal: float = Field(LARGEST_SIGNAL, gt=0, le=1, description="signal rate at time 0, nearly clean")
    smallest_signal: float = Field(SMALLEST_SIGNAL, gt=0, lt=1, description="signal rate at time 1, nearly noise")


class Fit(Section):
    """How steps are taken."""

    epochs: int = Field(ge=1, description="epochs; an epoch ends with a look at the validation scans")
    steps: int = Field(10, ge=0, description="steps in an epoch; 0: one pass over the training scans")
    batch: int = Field(64, ge=2, description="pictures in a step; of fewer scans some come more than once")
    rate: float = Field(1e-3, gt=0, description="learning rate, constant")
    weight_decay: float = Field(
        1e-4, ge=0, description="decoupled; everything that learns shrinks by rate × this a step"
    )
    ema: float = Field(0.999, ge=0, lt=1, description="decay of the averaged weights that are validated and kept")
    clip: float = Field(0.0, ge=0, description="largest norm of the gradient; 0: any")
    unnamed: float = Field(0.1, ge=0, le=1, description="conditional: share of pictures shown without their class")
    flip: float = Field(0.0, ge=0, le=1, description="left-right flip, how often")


class Watch(Section):
    """What is looked at during training."""

    every: int = Field(10, ge=0, description="epochs between looks (KID and a sheet of pictures); 0: at the end only")
    pictures: int = Field(16, ge=1, description="pictures on a sheet")
    steps: int = Field(20, ge=1, description="steps that make a picture")
    kid_pictures: int = Field(128, ge=8, description="pictures for KID, at most as many as validation scans")
    kid_steps: int = Field(5, ge=1, description="steps that make these")
    features: Literal["auto", "scout", "inception"] = Field(
        "auto", description="what KID is measured in; auto: Inception where its weights are at hand, else our own scout"
    )


class Data(Section):
    """Which scans are learnt from."""

    keep: Literal["all", "none", "tumor"] = Field(
        "all", description="scans by label: all, those without tumour (a model of healthy anatomy), those with one"
    )
    validation: float = Field(0.15, gt=0, lt=0.5, description="share of the scans that KID and the losses are seen on")
    ordered: tuple[str, ...] = Field((), description="sources whose neighbours in number are one patient's slices")
    block: int = Field(40, ge=1, description="scans in a block, for those sources")
    gap: int = Field(20, ge=0, description="scans left out on either side of a block")


class DiffusionRecipe(Section):
    r"""How a diffusion model is trained and watched.

    Examples
    --------
    >>> from tumorscope.training.recipe import parse
    >>> parse('name = "small"\ntask = "diffuse"\nfit = { epochs = 3 }', "small.toml").model.widths
    (32, 64, 96, 128)
    """

    name: str = Field(min_length=1, description="name of the run and of the generator")
    task: Literal["diffuse"] = Field("diffuse", description="tells this recipe from those of other tasks")
    seed: int = Field(0, ge=0, description="seed of everything that is drawn")
    model: Network = Network()  # type: ignore[call-arg]
    input: Input = Input()  # type: ignore[call-arg]
    mixing: Mixing = Mixing()  # type: ignore[call-arg]
    fit: Fit
    watch: Watch = Watch()  # type: ignore[call-arg]
    data: Data = Data()  # type: ignore[call-arg]
    machine: Machine = Machine()  # type: ignore[call-arg]

    @model_validator(mode="after")
    def _consistent(self) -> DiffusionRecipe:
        divisor = 2 ** (len(self.model.widths) - 1)
        if self.input.size % divisor:
            raise ValueError(
                f"input.size: {self.input.size} cannot be halved {len(self.model.widths) - 1} times; "
                f"give a multiple of {divisor}"
            )
        if self.mixing.smallest_signal >= self.mixing.largest_signal:
            raise ValueError("mixing: smallest_signal is not below largest_signal; swap them")
        return self

    @property
    def epochs(self) -> int:
        """Epochs of the run."""
        return self.fit.epochs

    @property
    def schedule(self) -> Schedule:
        """How picture and noise are mixed."""
        return Schedule(self.mixing.largest_signal, self.mixing.smallest_signal)

    @property
    def preparation(self) -> Preparation:
        """How a slice is brought to the network."""
        return Preparation(
            size=self.input.size, clean=self.input.clean, crop=self.input.crop, enhance=self.input.enhance
        )
