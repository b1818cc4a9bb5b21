"""A segmenter with a classification head: tumour probability and mask in one pass."""

from __future__ import annotations

import segmentation_models_pytorch as smp
from torch import Tensor, nn

from tumorscope.errors import RecipeError, look_up

ARCHITECTURES = {"unet": smp.Unet, "unetplusplus": smp.UnetPlusPlus}


class DetectorSegmenter(nn.Module):
    """segmentation-models-pytorch's network, with names for its two outputs.

    Parameters
    ----------
    architecture : str
        A name of `ARCHITECTURES`.
    encoder : str
        A name of segmentation-models-pytorch.
    encoder_channels : tuple of int
        Width of the encoder's four stages; only timm's ResNets (``tu-resnet…``) can be told.
    decoder_channels : tuple of int
        Width of the decoder, deepest first.
    dropout : float
        Before the classification head.

    Raises
    ------
    RecipeError
        If there is no such architecture.
    """

    def __init__(
        self,
        architecture: str,
        encoder: str,
        encoder_channels: tuple[int, ...],
        decoder_channels: tuple[int, ...],
        dropout: float,
    ) -> None:
        super().__init__()
        look_up(architecture, ARCHITECTURES, "architecture", RecipeError)
        stages = {"channels": encoder_channels} if encoder.startswith("tu-resnet") else {}
        self.network = ARCHITECTURES[architecture](
            encoder,
            encoder_weights=None,
            in_channels=1,
            classes=1,
            decoder_channels=decoder_channels,
            aux_params={"classes": 1, "pooling": "avg", "dropout": dropout},
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
