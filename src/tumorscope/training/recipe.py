"""Recipe: a TOML file that says how a model is trained, checked before anything runs."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from tumorscope.errors import RecipeError, look_up
from tumorscope.training import click_recipe
from tumorscope.training.classifier_recipe import ClassifierRecipe
from tumorscope.training.diffusion_recipe import DiffusionRecipe
from tumorscope.training.prompt_decoder_recipe import PromptRecipe
from tumorscope.training.sections import Section
from tumorscope.training.segmenter_recipe import SegmenterRecipe


class Model(Section):
    """The network: an encoder and a decoder put together, with a classification head."""

    architecture: str = Field("unet", description="decoder, a name of `models.segmenters`")
    encoder: str = Field("tu-resnet18", description="encoder, a name of segmentation-models-pytorch")
    encoder_channels: tuple[int, ...] = Field((64, 128, 192, 256), description="width of the encoder's four stages")
    decoder_channels: tuple[int, ...] = Field(
        (128, 64, 48, 32, 16), description="width of the decoder, deepest first; four work on half the side"
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout before the classification head")


class Input(Section):
    """What the network sees of a scan."""

    cache_size: int = Field(224, ge=32, description="side of the prepared squares that augmentation draws from, px")
    crop: Literal["auto", "hard", "soft", "none"] = Field("auto", description="how the head is found")
    enhance: Literal["none", "musica"] = Field("none", description="enhancement after normalisation")


class Optimiser(Section):
    """AdamW with one warm-up and one cosine over the whole run."""

    rate: float = Field(1e-3, gt=0, description="highest learning rate")
    final_rate: float = Field(1e-5, ge=0, description="learning rate of the last step")
    warmup: float = Field(0.03, ge=0, lt=1, description="share of the steps spent warming up")
    weight_decay: float = Field(0.02, ge=0, description="decoupled weight decay, matrices only")
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    ema: float = Field(0.998, ge=0, lt=1, description="decay of the averaged weights that are validated and kept")


class Loss(Section):
    """Weights of the terms of the loss."""

    pixel: float = Field(1.0, ge=0, description="binary cross-entropy of the mask")
    dice: float = Field(1.0, ge=0, description="soft Dice, over scans with a tumour and a mask")
    evidence: float = Field(0.3, ge=0, description="cross-entropy of the mean of the highest pixel probabilities")
    head: float = Field(0.1, ge=0, description="cross-entropy of the classification head")


class Data(Section):
    """Which scans, how often, and which are held out."""

    epoch_scans: int = Field(4000, ge=1, description="scans drawn for one epoch")
    weights: dict[str, float] = Field(
        default_factory=dict, description="share of an epoch by source; others share the rest"
    )
    validation: float = Field(0.1, gt=0, lt=0.5, description="share held out for validation")
    test: float = Field(0.15, ge=0, lt=0.5, description="share held out for the test")
    block: int = Field(60, ge=1, description="scans in a block, for sources without patients")
    gap: int = Field(10, ge=0, description="scans left out on either side of a block")
    ordered: tuple[str, ...] = Field((), description="sources whose neighbours in number are one patient's slices")


class Augmentation(Section):
    """How often each change is made to a training scan, as probabilities; after the split only."""

    flip: float = Field(0.5, ge=0, le=1, description="left-right flip")
    turn: float = Field(0.05, ge=0, le=1, description="rotation by 90, 180 or 270 degrees")
    rotation: float = Field(20.0, ge=0, description="largest rotation, degrees")
    zoom: float = Field(0.25, ge=0, lt=1, description="largest relative change of size")
    shift: float = Field(0.08, ge=0, lt=1, description="largest shift, share of the side")
    curve: float = Field(0.6, ge=0, le=1, description="random monotone intensity curve")
    invert: float = Field(0.06, ge=0, le=1, description="inverted contrast inside the head")
    match: float = Field(0.3, ge=0, le=1, description="histogram of another scan, any source")
    bias: float = Field(0.3, ge=0, le=1, description="smooth bias field")
    blur: float = Field(0.2, ge=0, le=1, description="Gaussian blur")
    coarse: float = Field(0.2, ge=0, le=1, description="lower resolution")
    sharpen: float = Field(0.15, ge=0, le=1, description="unsharp mask")
    noise: float = Field(0.3, ge=0, le=1, description="Rician noise")
    noise_level: float = Field(0.08, ge=0, description="largest spread of the noise; the head's bright end is 1")
    jpeg: float = Field(0.1, ge=0, le=1, description="JPEG artefacts")
    strip: float = Field(0.08, ge=0, le=1, description="rim of the head (scalp and skull) removed")
    remap: float = Field(0.0, ge=0, le=1, description="random grey value for each tissue, as of another sequence")
    paste: float = Field(0.4, ge=0, le=1, description="lesion pasted into a scan without tumour")
    remove: float = Field(0.2, ge=0, le=1, description="tumour replaced by the mirrored other side")
    distract: float = Field(0.3, ge=0, le=1, description="healthy tissue of another scan pasted in, not a lesion")


class Phase(Section):
    """A stretch of epochs at one image size; it may change what is drawn, done and weighed."""

    epochs: int = Field(ge=1, description="passes of `data.epoch_scans` scans")
    size: int = Field(ge=32, multiple_of=32, description="side of the network's square, px")
    batch: int = Field(16, ge=2, description="scans in a step")
    rate: float | None = Field(None, gt=0, description="highest rate of a new cosine that starts with this phase")
    weights: dict[str, float] = Field(default_factory=dict, description="replaces `data.weights`")
    augmentation: dict[str, float] = Field(default_factory=dict, description="replaces keys of `augmentation`")
    loss: dict[str, float] = Field(default_factory=dict, description="replaces keys of `loss`")

    @field_validator("augmentation", "loss")
    @classmethod
    def _known_keys(cls, values: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        section: type[Section] = Augmentation if info.field_name == "augmentation" else Loss
        for key in values:
            look_up(key, section.model_fields, f"key in a phase's {info.field_name}", RecipeError)
        section.model_validate(values)
        return values


class Recipe(Section):
    """How a model is trained.

    Examples
    --------
    >>> recipe = load("scout")
    >>> recipe.model.architecture, recipe.task
    ('unet', 'detect-segment')
    """

    name: str = Field(description="name of the run and of the bundle")
    task: Literal["detect-segment"] = Field("detect-segment", description="what the network answers")
    seed: int = Field(0, description="seed of everything that is drawn")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="arithmetic of the forward and backward pass; auto: bf16 where the machine computes in it"
    )
    workers: int = Field(1, ge=0, description="processes that load and augment")
    model: Model = Model()  # type: ignore[call-arg]
    input: Input = Input()  # type: ignore[call-arg]
    phases: tuple[Phase, ...] = Field(min_length=1, description="stretches of epochs, in order")
    optimiser: Optimiser = Optimiser()  # type: ignore[call-arg]
    loss: Loss = Loss()  # type: ignore[call-arg]
    data: Data = Data()  # type: ignore[call-arg]
    augmentation: Augmentation = Augmentation()  # type: ignore[call-arg]

    @property
    def epochs(self) -> int:
        """Epochs of all phases."""
        return sum(phase.epochs for phase in self.phases)

    def phase_at(self, epoch: int) -> Phase:
        """The phase that ``epoch``, counted from 0, belongs to; the last one for any later epoch."""
        for phase in self.phases:
            if epoch < phase.epochs:
                return phase
            epoch -= phase.epochs
        return self.phases[-1]

    def data_at(self, epoch: int) -> Data:
        """What is drawn in ``epoch``."""
        weights = self.phase_at(epoch).weights
        return self.data.model_copy(update={"weights": weights}) if weights else self.data

    def augmentation_at(self, epoch: int) -> Augmentation:
        """What is done to the scans of ``epoch``."""
        return self.augmentation.model_copy(update=self.phase_at(epoch).augmentation)

    def loss_at(self, epoch: int) -> Loss:
        """Weights of the loss in ``epoch``."""
        return self.loss.model_copy(update=self.phase_at(epoch).loss)

    def rate_at(self, step: int) -> float:
        """Learning rate at an optimiser step, counted from 0: one warm-up, then a cosine that ends with the run
        or where a phase with a ``rate`` of its own begins.
        """  # noqa: D205
        settings = self.optimiser
        steps = [phase.epochs * (self.data.epoch_scans // phase.batch) for phase in self.phases]
        warm = max(1, round(settings.warmup * sum(steps)))
        if step < warm:
            return settings.rate * (step + 1) / warm
        begins = [i for i, phase in enumerate(self.phases) if i == 0 or phase.rate is not None]
        begin = max(i for i in begins if step >= sum(steps[:i]))
        end = next((i for i in begins if i > begin), len(self.phases))
        start = max(warm, sum(steps[:begin]))
        share = min(1.0, (step - start) / max(1, sum(steps[:end]) - start))
        rate = self.phases[begin].rate or settings.rate
        return settings.final_rate + (rate - settings.final_rate) * 0.5 * (1 + math.cos(math.pi * share))


class ClickRecipe(Recipe):
    """How the network behind the engine ``click`` is trained: scans as the scout's, prompts by a simulated annotator.

    Examples
    --------
    >>> load("click").annotator.jitter
    0.2
    """

    task: Literal["click"] = Field("click", description="tells this recipe from those of other tasks")  # type: ignore[assignment]
    model: click_recipe.Network = click_recipe.Network()  # type: ignore[assignment, call-arg]
    annotator: click_recipe.Annotator = click_recipe.Annotator()  # type: ignore[call-arg]
    optimiser: click_recipe.Optimiser = click_recipe.Optimiser()  # type: ignore[assignment, call-arg]
    loss: click_recipe.ClickLoss = click_recipe.ClickLoss()  # type: ignore[assignment, call-arg]

    @field_validator("phases")
    @classmethod
    def _no_losses(cls, phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
        if any(phase.loss for phase in phases):
            raise ValueError("the loss of this task is the same in every phase; take 'loss' out of the phases")
        return phases


class Measured(Section):
    """What a classical classifier sees of a scan."""

    side: int = Field(128, ge=32, description="side of the square in which each head is measured, px")
    groups: tuple[str, ...] = Field(
        (
            "original_firstorder", "original_glcm", "glcm4", "entropy", "edge", "lbp", "log", "haar", "asymmetry",
        ),
        min_length=1,
        description="features whose name begins with one of these; docs/explanation/features.md lists them",
    )  # fmt: skip


class Classifier(Section):
    """The classifier on standardised features."""

    kind: Literal["logistic", "svm"] = Field(
        "logistic", description="logistic regression, or a support vector machine with a Gaussian kernel"
    )
    strength: float = Field(
        0.03, gt=0, description="C of scikit-learn: the smaller, the simpler the model; about 1 suits an svm"
    )
    limit: float = Field(4.0, gt=0, description="standardised features are cut off at plus and minus this many spreads")
    balance: bool = Field(
        False, description="whether every class weighs the same; probabilities then hold for equally many of each"
    )


class Validation(Section):
    """How the out-of-fold predictions are made and judged."""

    folds: int = Field(5, ge=2, description="parts that are held out in turn; no group is cut")
    repeats: int = Field(10, ge=1, description="times the data are divided anew; one division is a matter of luck")
    rounds: int = Field(1000, ge=1, description="rounds of the bootstrap by group that makes the intervals")
    ordered: tuple[str, ...] = Field((), description="sources whose neighbours in number are one patient's slices")
    block: int = Field(40, ge=1, description="scans in a block, for those sources")
    gap: int = Field(20, ge=0, description="scans left out on either side of a block")


class Classical(Section):
    r"""How a classifier on measured features is trained: needs no torch, and is what every network has to beat.

    Examples
    --------
    >>> parse('name = "plain"\ntask = "classical"', "plain.toml").classifier.kind
    'logistic'
    """

    name: str = Field(description="name of the run and of the model")
    task: Literal["classical"] = Field("classical", description="tells this recipe from one of a network")
    seed: int = Field(0, description="seed of everything that is drawn")
    workers: int = Field(1, ge=1, description="processes that measure scans")
    features: Measured = Measured()  # type: ignore[call-arg]
    classifier: Classifier = Classifier()  # type: ignore[call-arg]
    validation: Validation = Validation()  # type: ignore[call-arg]


AnyRecipe = Recipe | ClickRecipe | Classical | ClassifierRecipe | DiffusionRecipe | PromptRecipe | SegmenterRecipe
TASKS: dict[str, type[AnyRecipe]] = {
    "detect-segment": Recipe,
    "click": ClickRecipe,
    "classical": Classical,
    "classify": ClassifierRecipe,
    "segment": SegmenterRecipe,
    "prompt": PromptRecipe,
    "diffuse": DiffusionRecipe,
}


Chosen = TypeVar("Chosen", bound=AnyRecipe)


def names() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("tumorscope") / "recipes"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def load(name_or_path: str | Path) -> AnyRecipe:
    """The recipe of a name that comes with the package, or of a TOML file.

    Raises
    ------
    RecipeError
        For an unknown name, a file that is no TOML, an unknown key (the nearest one is named) or a bad value.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml":
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise RecipeError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    else:
        name = look_up(str(name_or_path), names(), "recipe", RecipeError)
        text = (resources.files("tumorscope") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
    return parse(text, str(name_or_path))


def parse(text: str, origin: str) -> AnyRecipe:
    """The recipe that TOML ``text`` holds, of the kind that its ``task`` asks for; ``origin`` names it in errors."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{origin}: not valid TOML ({error}); mend that line") from error
    return of_values(values, origin)


def of_values(values: dict[str, Any], origin: str) -> AnyRecipe:
    """The recipe of plain data, as TOML or JSON hold it."""
    try:
        kind = TASKS[look_up(str(values.get("task", "detect-segment")), TASKS, "task", RecipeError)]
    except RecipeError as unknown:
        raise RecipeError(f"{origin}: {unknown}") from unknown
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise RecipeError(_one_line(origin, kind, error)) from error


def to_toml(recipe: AnyRecipe) -> str:
    """The recipe as TOML that `parse` takes, every key written out.

    Examples
    --------
    >>> parse(to_toml(load("scout")), "scout.toml") == load("scout")
    True
    """
    values = recipe.model_dump(mode="json")
    plain = {key: value for key, value in values.items() if not isinstance(value, dict) and value is not None}
    lines = [f"{key} = {_toml(value)}" for key, value in plain.items()]
    for key, value in values.items():
        if isinstance(value, dict):
            lines += ["", f"[{key}]", *(f"{name} = {_toml(one)}" for name, one in value.items() if one is not None)]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """A value as TOML writes it; None, which TOML lacks, does not occur within lists."""
    if isinstance(value, dict):
        kept = {key: one for key, one in value.items() if one is not None}
        return (
            "{ " + ", ".join(f"{json.dumps(key)} = {_toml(one)}" for key, one in kept.items()) + " }" if kept else "{}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    return json.dumps(value)  # TOML's strings, numbers and booleans are JSON's


def changed(recipe: Chosen, settings: Mapping[str, Any], origin: str = "settings") -> Chosen:
    """The recipe with other values under dotted keys (``fit.batch``, ``phases.0.rate``), checked anew.

    Raises
    ------
    RecipeError
        For an unknown key or a bad value.

    Examples
    --------
    >>> changed(load("classical"), {"classifier.strength": 0.1}).classifier.strength
    0.1
    """
    values = recipe.model_dump(mode="json")
    for key, value in settings.items():
        *path, last = key.split(".")
        place: Any = values
        for number, part in enumerate(path):
            listed = isinstance(place, list)
            if not isinstance(place, dict | list) or (listed and not (part.isdigit() and int(part) < len(place))):
                raise RecipeError(f"{origin}: '{key}' names nothing under '{'.'.join(path[:number])}'; check the key")
            place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
        if not isinstance(place, dict):
            raise RecipeError(f"{origin}: '{key}' names nothing that can be set; check the key")
        place[last] = value
    return cast("Chosen", of_values(values, origin))


def _one_line(origin: str, kind: type[Section], error: ValidationError) -> str:
    first = error.errors()[0]
    where = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        section: Any = kind
        for part in where[:-1]:
            if part.isdigit():
                continue
            section = section.model_fields[part].annotation
            section = next((one for one in get_args(section) if isinstance(one, type)), section)
        try:
            look_up(where[-1], section.model_fields, f"key in {'.'.join(where[:-1]) or 'the recipe'}", RecipeError)
        except RecipeError as unknown:
            return f"{origin}: {unknown}"
    return f"{origin}: {'.'.join(where)}: {first['msg'].lower()}; see docs/reference/recipes.md for the allowed values"
