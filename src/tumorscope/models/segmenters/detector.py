"""A segmenter with a classification head: tumour probability and mask in one pass."""

from __future__ import annotations

import segmentation_models_pytorch as smp
from torch import Tensor, nn

from tumorscope.errors import RecipeError, look_up
from tumorscope.training.recipe import Model

ARCHITECTURES = {"unet": smp.Unet, "unetplusplus": smp.UnetPlusPlus}


class DetectorSegmenter(nn.Module):
    """segmentation-models-pytorch's network, with names for its two outputs.

    Parameters
    ----------
    settings : Model
        Encoder, decoder and head.
    """

    def __init__(self, settings: Model) -> None:
        super().__init__()
        look_up(settings.architecture, ARCHITECTURES, "architecture", RecipeError)
        stages = {"channels": settings.encoder_channels} if settings.encoder.startswith("tu-resnet") else {}
        self.network = ARCHITECTURES[settings.architecture](
            settings.encoder,
            encoder_weights=None,
            in_channels=1,
            classes=1,
            decoder_channels=settings.decoder_channels,
            aux_params={"classes": 1, "pooling": "avg", "dropout": settings.dropout},
            **stages,
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mask logits (N, 1, S, S) and the head's logit (N,) for images (N, 1, S, S) in [0, 1]; S a multiple of 32."""
        mask, score = self.network(image - 0.5)
        return mask, score[:, 0]


class Exported(nn.Module):
    """The network as a bundle holds it: pixel probabilities (N, 1, S, S) and the head's logit (N,)."""

    def __init__(self, network: DetectorSegmenter) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities instead of logits for the mask."""
        mask, score = self.network(image)
        return mask.sigmoid(), score


def build(settings: Model) -> DetectorSegmenter:
    """The network of a recipe with random weights."""
    return DetectorSegmenter(settings)
