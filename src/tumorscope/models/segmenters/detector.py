"""A segmenter with a classification head: tumour probability and mask in one pass."""

from __future__ import annotations

from segmentation_models_pytorch.base import ClassificationHead, SegmentationHead
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.decoders.unetplusplus.decoder import UnetPlusPlusDecoder
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn

from tumorscope.errors import RecipeError, look_up

DECODERS = {"unet": UnetDecoder, "unetplusplus": UnetPlusPlusDecoder}
DEPTH = 5  # stages of an encoder; each halves the side


class DetectorSegmenter(nn.Module):
    """An encoder, a decoder and two heads of segmentation-models-pytorch.

    Parameters
    ----------
    architecture : str
        A decoder, by a name of `DECODERS`.
    encoder : str
        A name of segmentation-models-pytorch.
    encoder_channels : tuple of int
        Width of the encoder's four stages; only timm's ResNets (``tu-resnet…``) can be told.
    decoder_channels : tuple of int
        Width of the decoder, deepest first. Five for a mask at full resolution; a U-Net may have four, and then
        works on half the side and interpolates the rest, at two thirds of the cost.
    dropout : float
        Before the classification head.

    Raises
    ------
    RecipeError
        If there is no such architecture, or the decoder's width does not fit it.
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
        decoder = look_up_decoder(architecture, decoder_channels)
        stages = {"channels": encoder_channels} if encoder.startswith("tu-resnet") else {}
        self.encoder = get_encoder(encoder, in_channels=1, depth=DEPTH, weights=None, **stages)
        self.decoder = decoder(self.encoder.out_channels, decoder_channels, n_blocks=len(decoder_channels))
        self.mask = SegmentationHead(decoder_channels[-1], 1, upsampling=2 ** (DEPTH - len(decoder_channels)))
        self.score = ClassificationHead(self.encoder.out_channels[-1], 1, dropout=dropout)
        initialize_decoder(self.decoder)
        initialize_head(self.mask)
        initialize_head(self.score)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Mask logits (N, 1, S, S) and the head's logit (N,) for images (N, 1, S, S) in [0, 1]; S a multiple of 32."""
        features = self.encoder(image - 0.5)
        return self.mask(self.decoder(features)), self.score(features[-1])[:, 0]


def look_up_decoder(architecture: str, channels: tuple[int, ...]) -> type[nn.Module]:
    """The decoder of that name, if ``channels`` fits it."""
    decoder = DECODERS[look_up(architecture, DECODERS, "architecture", RecipeError)]
    allowed = (DEPTH, DEPTH - 1) if architecture == "unet" else (DEPTH,)
    if len(channels) not in allowed:
        wanted = " or ".join(map(str, sorted(allowed)))
        raise RecipeError(f"decoder_channels: {len(channels)} widths do not fit {architecture}; give {wanted}")
    return decoder


class Exported(nn.Module):
    """The network as a bundle holds it: pixel probabilities (N, 1, S, S) and the head's logit (N,)."""

    def __init__(self, network: DetectorSegmenter) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities instead of logits for the mask."""
        mask, score = self.network(image)
        return mask.sigmoid(), score
