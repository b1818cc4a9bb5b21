"""Recipe of a classifier: backbone and head, phases, losses, and how scans are held out. Needs no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from tumorscope.imaging.preparation import Preparation
from tumorscope.models.heads import layers
from tumorscope.training.sections import Section

RATE_UNIT = 1000  # steps after which an exponential schedule has fallen once by its factor


class Network(Section):
    """A backbone that turns a picture into features, and a head that turns them into one logit for each class."""

    backbone: str = Field(description="name of a timm model, or 'custom-cnn'")
    head: tuple[str, ...] = Field(
        (), description="layers between the pooled features and the classes: 'batchnorm', 'dense 512', 'dropout 0.5'"
    )
    pretrained: str = Field(
        "yes",
        description="initial weights: 'yes' for the backbone's own (ImageNet), 'no' for random ones, or a checkpoint's "
        "path or hub id",
    )
    channels: Literal[1, 3] = Field(
        3, description="channels of the first convolution; a grey scan is repeated to three, as ImageNet weights expect"
    )
    width: float = Field(1.0, gt=0, description="of 'custom-cnn': factor on the number of its filters")

    @field_validator("head")
    @classmethod
    def _known_layers(cls, head: tuple[str, ...]) -> tuple[str, ...]:
        layers(head)
        return head


class Input(Section):
    """What the network sees of a scan."""

    size: int = Field(224, ge=32, description="side of the network's square, px")
    crop: Literal["auto", "hard", "soft", "none"] = Field("auto", description="how the head is found")
    clean: bool = Field(True, description="whether white background, borders and burned-in text are removed")
    enhance: Literal["none", "musica"] = Field("none", description="enhancement after normalisation")
    colors: Literal["none", "kmeans", "watershed"] = Field(
        "none", description="colours in place of grey: of k-means clusters of grey values, or of watershed regions"
    )
    clusters: int = Field(10, ge=2, le=20, description="number of k-means clusters")

    @property
    def preparation(self) -> Preparation:
        """How a slice is brought to the network."""
        return Preparation(
            size=self.size,
            clean=self.clean,
            crop=self.crop,
            enhance=self.enhance,
            colors=self.colors,
            clusters=self.clusters,
        )


class Phase(Section):
    """A stretch of epochs with an optimiser of its own."""

    epochs: int = Field(ge=1, description="most passes over the training scans")
    train: Literal["head", "all"] = Field(
        "all", description="what learns: the head on a frozen backbone, or everything"
    )
    optimiser: Literal["adam", "adamw", "rmsprop", "sgd"] = Field(
        "adamw", description="adam and adamw differ in name only: weight decay is decoupled from the gradient in both"
    )
    rate: float = Field(1e-3, gt=0, description="learning rate at the start, after any warm-up")
    schedule: Literal["constant", "exponential", "cosine"] = Field("cosine", description="how the rate falls")
    decay: float = Field(
        0.9, gt=0, le=1, description="exponential: factor that the rate has fallen by after 1000 steps, continuously"
    )
    final_rate: float = Field(0.0, ge=0, description="cosine: rate of the last step")
    warmup: float = Field(0.0, ge=0, lt=1, description="share of the phase's steps in which the rate rises")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    weight_decay: float = Field(
        0.0, ge=0, description="weights of matrices (not of biases or norms) shrink by rate × this in each step"
    )
    patience: int = Field(0, ge=0, description="epochs without a better validation figure that end the phase; 0: never")


class Fit(Section):
    """How steps are taken, and which epoch is kept."""

    batch: int = Field(32, ge=1, description="scans in a step")
    accumulate: int = Field(1, ge=1, description="batches whose gradients are averaged for one step of the optimiser")
    clip: float = Field(0.0, ge=0, description="largest norm of the gradient; 0: any")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of averaged weights that are validated and kept; 0: none")
    monitor: Literal["auc", "loss", "accuracy", "balanced_accuracy", "f1"] = Field(
        "auc", description="validation figure that picks the epoch; f1 and auc are means over classes where over two"
    )


class Loss(Section):
    """Cross-entropy, or focal loss; binary where there are two classes."""

    kind: Literal["cross-entropy", "focal"] = Field("cross-entropy", description="what is minimised")
    gamma: float = Field(2.0, ge=0, description="focal: how much sure answers lose their weight")
    smoothing: float = Field(0.0, ge=0, lt=1, description="share of the truth that is spread over all classes")


class Data(Section):
    """What is told apart, which scans are held out, and how classes of unequal size are drawn."""

    target: Literal["label", "tumor_type"] = Field(
        "label",
        description="column that tells the classes: the label (tumour or none, or classes of a manifest's own), or the "
        "type of tumour, with scans without one as a class where there are any",
    )
    validation: float = Field(0.15, gt=0, lt=0.5, description="share of the training scans that picks the epoch")
    test: float = Field(0.2, ge=0, lt=0.9, description="share held out for the test, where there are no folds")
    folds: int = Field(0, ge=0, description="parts that are tested in turn, each by a model of its own; 0: one split")
    repeats: int = Field(1, ge=1, description="times the folds are dealt anew")
    ordered: tuple[str, ...] = Field((), description="sources whose neighbours in number are one patient's slices")
    block: int = Field(40, ge=1, description="scans in a block, for those sources")
    gap: int = Field(20, ge=0, description="scans left out on either side of a block")
    balance: Literal["none", "loss", "over", "under"] = Field(
        "none",
        description="classes of unequal size: as they are, weighted in the loss, the small ones drawn more often, or "
        "the large ones less",
    )
    synthetic: float = Field(
        0.5, ge=0, lt=1, description="largest share of an epoch that is synthetic; such scans are only trained on"
    )
    rounds: int = Field(2000, ge=1, description="rounds of the bootstrap by group that makes the intervals")

    @model_validator(mode="after")
    def _one_fold_is_none(self) -> Data:
        if self.folds == 1:
            raise ValueError("folds: one fold leaves nothing to train on; write 0 for one split, or 2 or more")
        return self


class Changes(Section):
    """How training scans are changed on the fly, after the split: sizes, and how often (probabilities)."""

    flip: float = Field(0.5, ge=0, le=1, description="left-right flip, how often; 0 turns it off")
    rotation: float = Field(10.0, ge=0, le=180, description="largest rotation, degrees")
    shift: float = Field(0.05, ge=0, lt=1, description="largest shift, share of the side")
    shear: float = Field(0.05, ge=0, lt=1, description="largest shear")
    zoom: float = Field(0.1, ge=0, lt=1, description="largest relative change of size")
    fill: Literal["nearest", "zero"] = Field("nearest", description="what comes in at the borders")
    brightness: float = Field(0.1, ge=0, lt=1, description="largest relative change of brightness")
    curve: float = Field(0.0, ge=0, le=1, description="random monotone contrast curve, how often")
    bias: float = Field(0.0, ge=0, le=1, description="smooth bias field, how often")
    elastic: float = Field(0.0, ge=0, le=1, description="elastic deformation, how often")
    elastic_size: float = Field(0.03, ge=0, lt=0.5, description="its largest shift, share of the side")
    blur: float = Field(0.0, ge=0, le=1, description="Gaussian blur, how often")
    coarse: float = Field(0.0, ge=0, le=1, description="lower resolution, how often")
    noise: float = Field(0.0, ge=0, le=1, description="Rician noise, how often")
    noise_level: float = Field(0.08, ge=0, description="its largest spread; the head's bright end is 1")
    ghost: float = Field(0.0, ge=0, le=1, description="ghosting along one axis, how often")
    ghost_strength: float = Field(0.3, ge=0, le=1, description="largest brightness of the ghosts, share of the scan's")


class Machine(Section):
    """What the training runs on."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="arithmetic of the forward and backward pass; auto: bf16 where the machine computes in it"
    )
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = Field(
        "auto", description="processes that load and change scans; auto: none where the network needs the cores itself"
    )
    channels_last: bool = Field(True, description="memory order in which convolutions are fast")
    compile: bool = Field(False, description="torch.compile: minutes at the start, faster steps afterwards")
    deterministic: bool = Field(False, description="only algorithms that give the same bits each time; slower on a GPU")
    devices: int | Literal["auto"] = Field(1, description="GPUs, or 'auto' for all")
    strategy: str = Field("auto", description="how several devices share the work, a name that Lightning knows")
    log: tuple[Literal["tensorboard", "mlflow"], ...] = Field((), description="loggers beside metrics.csv")


class ClassifierRecipe(Section):
    r"""How a classifier is trained and judged.

    Examples
    --------
    >>> from tumorscope.training.recipe import parse
    >>> text = '''
    ... name = "small"
    ... task = "classify"
    ... phases = [{ epochs = 5, train = "head" }, { epochs = 5, rate = 1e-5 }]
    ... model.backbone = "resnet18"
    ... '''
    >>> parse(text, "small.toml").epochs
    10
    """

    name: str = Field(min_length=1, description="name of the run and of the bundle")
    task: Literal["classify"] = Field("classify", description="tells this recipe from those of other tasks")
    seed: int = Field(0, description="seed of everything that is drawn")
    model: Network
    input: Input = Input()  # type: ignore[call-arg]
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
