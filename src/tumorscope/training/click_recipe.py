"""Recipe of the network behind the engine ``click``: what it is made of, and how its annotator is simulated."""

from __future__ import annotations

from pydantic import Field

from tumorscope.training.sections import Section


class Network(Section):
    """An image encoder that runs once, and a decoder that runs for every prompt."""

    encoder: str = Field(
        "tu-resnet18", description="encoder, a name of segmentation-models-pytorch; four stages are kept"
    )
    encoder_channels: tuple[int, ...] = Field(
        (48, 96, 192, 256), description="width of the encoder's stages; the scout's can begin with its weights"
    )
    prompt_channels: tuple[int, int, int, int] = Field(
        (16, 24, 32, 48), description="width of the prompts' pyramid, finest first"
    )
    decoder_channels: tuple[int, int, int, int] = Field(
        (96, 64, 48, 32), description="width of the decoder, deepest first"
    )
    pretrained: str = Field(
        "no", description="checkpoint whose encoder training begins with (a run of the scout), or no"
    )


class Annotator(Section):
    """How clicks and boxes are drawn during training; every scan of a batch gets equally many."""

    earlier: tuple[float, ...] = Field(
        (0.45, 0.25, 0.2, 0.1),
        min_length=1,
        description="chance of 0, 1, 2, … answered prompts before it learns",
    )
    box: float = Field(0.3, ge=0, le=1, description="chance that the first prompt is a box")
    jitter: float = Field(0.2, ge=0, le=1, description="how far each side of a box may be off, share of its length")
    centre: float = Field(0.5, ge=0, le=1, description="chance that a click lies in the middle of the error")


class ClickLoss(Section):
    """Weights of the terms of the loss."""

    best: float = Field(1.0, gt=0, description="cross-entropy and Dice of the best candidate")
    all: float = Field(0.15, ge=0, description="the same, mean of all candidates")
    quality: float = Field(0.5, ge=0, description="squared error of the predicted IoU")


class Optimiser(Section):
    """AdamW with one warm-up and one cosine."""

    rate: float = Field(1e-3, gt=0, description="highest learning rate, of all but the encoder")
    encoder: float = Field(0.2, ge=0, description="the encoder's share of the rate; 0 keeps it as it came")
    final_rate: float = Field(1e-5, ge=0, description="learning rate of the last step")
    warmup: float = Field(0.03, ge=0, lt=1, description="share of the steps spent warming up")
    weight_decay: float = Field(0.02, ge=0, description="decoupled weight decay, matrices only")
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    ema: float = Field(0.995, ge=0, lt=1, description="decay of the averaged weights that are validated and kept")
