"""Architectures of segmentation-models-pytorch and transformers, by name, in the form of the own ones."""

from __future__ import annotations

import difflib
import warnings
from typing import Any, NamedTuple

import segmentation_models_pytorch as smp
import timm
from segmentation_models_pytorch.encoders import get_encoder_names
from timm.data.constants import IMAGENET_DPN_MEAN, IMAGENET_DPN_STD
from torch import Tensor, nn

from tumorscope.errors import RecipeError, TrainingError
from tumorscope.models.segmenters.blocks import Drawn, enlarged, scaled, side_of
from tumorscope.registry import HALF, IMAGENET_MEAN, IMAGENET_STD

TIMM = "tu-"  # before timm's names, as segmentation-models-pytorch writes them
WIDTHS = (256, 128, 64, 32, 16)  # the library's own decoder, deepest first


class Known(NamedTuple):
    """An architecture of segmentation-models-pytorch.

    Parameters
    ----------
    build : type
        Its class.
    decoder : dict
        The settings that say how wide its decoder is, with the library's own figures; ``width`` scales them.
    encoder : str
        The usual one.
    least : int
        The smallest side that it takes, px.
    """

    build: Any
    decoder: dict[str, int | tuple[int, ...]]
    encoder: str = "resnet34"
    least: int = 32


KNOWN = {
    "deeplabv3": Known(smp.DeepLabV3, {"decoder_channels": 256}, "resnet50"),
    "deeplabv3plus-smp": Known(smp.DeepLabV3Plus, {"decoder_channels": 256}, "resnet50"),
    "dpt": Known(
        smp.DPT,
        {"decoder_intermediate_channels": (256, 512, 1024, 1024), "decoder_fusion_channels": 256},
        "tu-vit_base_patch16_224.augreg_in21k",
    ),
    "fpn": Known(smp.FPN, {"decoder_pyramid_channels": 256, "decoder_segmentation_channels": 128}),
    "linknet": Known(smp.Linknet, {}),
    "manet": Known(smp.MAnet, {"decoder_channels": WIDTHS, "decoder_pab_channels": 64}),
    "pan": Known(smp.PAN, {"decoder_channels": 32}, least=128),  # pools a 16th of the side three times
    "pspnet": Known(smp.PSPNet, {"psp_out_channels": 512}),
    "segformer": Known(smp.Segformer, {"decoder_segmentation_channels": 256}, "mit_b0"),
    "unet-smp": Known(smp.Unet, {"decoder_channels": WIDTHS}),
    "unetplusplus": Known(smp.UnetPlusPlus, {"decoder_channels": WIDTHS}),
    "upernet": Known(smp.UPerNet, {"decoder_channels": 256}),
}

# What published weights of an encoder were trained with, where that is not ImageNet's mean and deviation.
PREPROCESSING = {
    "dpn": (IMAGENET_DPN_MEAN, IMAGENET_DPN_STD),
    "inception": (HALF, HALF),
    "xception": (HALF, HALF),
}


class FromLibrary(nn.Module):
    """A network of segmentation-models-pytorch that returns its mask and its deepest features.

    Parameters
    ----------
    architecture : str
        A name of `KNOWN`.
    encoder : str or None
        A name of the library, or ``tu-`` and one of timm's; None for the usual one.
    channels, classes : int
    size : int
        Side of the squares, px, for encoders with fixed positions.
    width : float
        Factor on the decoder's filters; the encoder's are its name's.

    Raises
    ------
    RecipeError
        For an encoder that is not known, or that the architecture does not take.
    """

    def __init__(self, architecture: str, encoder: str | None, channels: int, classes: int, size: int, width: float):
        super().__init__()
        known = KNOWN[architecture]
        encoder = _encoder(encoder or known.encoder)
        decoder = {name: _wide(value, width) for name, value in known.decoder.items()}
        if architecture == "fpn":
            decoder = {name: _groups(value) for name, value in decoder.items() if isinstance(value, int)}
        fixed = _fixed(encoder, size)
        whole = {"num_classes": 0} if architecture == "dpt" else {}  # leaves out the classes of a whole transformer
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of timm about layers that features do not need
                self.network: Any = known.build(
                    encoder, encoder_weights=None, in_channels=channels, classes=classes, **decoder, **fixed, **whole
                )
        except (AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
            finding = " ".join(str(error).split())
            raise RecipeError(
                f"encoder: {architecture} does not take {encoder} ({finding}); use {known.encoder}"
            ) from error
        self.mean, self.std = preprocessing(encoder)
        self.deepest = int(self.network.encoder.out_channels[-1])
        self.fixed: int | None = fixed.get("img_size")
        self.multiple = self.fixed or int(self.network.encoder.output_stride)
        self.least = self.fixed or known.least
        self._tokens = architecture == "dpt"

    @property
    def encoder(self) -> nn.Module:
        """The library's encoder."""
        return self.network.encoder

    def forward(self, image: Tensor) -> Drawn:
        """Logits and the deepest features of normalised images."""
        if self.fixed is not None and side_of(image) != (self.fixed, self.fixed):
            raise TrainingError(
                f"image: larger than the {self.fixed} px that its encoder has positions for; build it for that side"
            )
        found = self.network.encoder(image)
        features, rest = (found[0], (found[1],)) if self._tokens else (found, ())
        return Drawn(self.network.segmentation_head(self.network.decoder(features, *rest)), features[-1], [])


class SegformerB0(nn.Module):
    """SegFormer-B0 of transformers (Xie et al., NeurIPS 2021): a mix transformer, and a decoder of linear layers.

    The published MiT weights are NVIDIA's, for non-commercial use only; without them the network carries no such term.

    Parameters
    ----------
    channels, classes : int
    width : float
        Factor on the filters.

    Examples
    --------
    >>> import torch
    >>> SegformerB0(1, 1, width=0.1)(torch.zeros(1, 1, 64, 64)).mask.shape
    torch.Size([1, 1, 64, 64])
    """

    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def __init__(self, channels: int = 3, classes: int = 1, width: float = 1.0) -> None:
        super().__init__()
        from transformers import SegformerConfig, SegformerForSemanticSegmentation  # seconds, which no other one needs

        usual = SegformerConfig()
        heads = usual.num_attention_heads
        pairs = zip(usual.hidden_sizes, heads, strict=True)
        sizes = [count * max(1, round(size * width / count)) for size, count in pairs]  # each head has as many
        (decoded,) = scaled([usual.decoder_hidden_size], width)
        settings: dict[str, Any] = {"num_channels": channels, "num_labels": classes}
        config = SegformerConfig(**settings, hidden_sizes=sizes, decoder_hidden_size=decoded)
        self.network: Any = SegformerForSemanticSegmentation(config)
        self.deepest = sizes[-1]

    @property
    def encoder(self) -> nn.Module:
        """The mix transformer."""
        return self.network.segformer

    def forward(self, image: Tensor) -> Drawn:
        """Logits and the last stage's features of normalised images."""
        stages = self.network.segformer(image, output_hidden_states=True, return_dict=True).hidden_states
        return Drawn(enlarged(self.network.decode_head(stages), side_of(image)), stages[-1], [])


def preprocessing(encoder: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of pixels in [0, 1] that weights of an encoder expect.

    Examples
    --------
    >>> preprocessing("xception")
    ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    >>> preprocessing("resnet34") == preprocessing("tu-resnet34") == (IMAGENET_MEAN, IMAGENET_STD)
    True
    """
    if encoder.startswith(TIMM):
        found = timm.models.get_pretrained_cfg(encoder.removeprefix(TIMM))
        return (tuple(found.mean), tuple(found.std)) if found is not None else (IMAGENET_MEAN, IMAGENET_STD)
    usual = (IMAGENET_MEAN, IMAGENET_STD)
    return next((known for name, known in PREPROCESSING.items() if encoder.startswith(name)), usual)


def licence_remark(architecture: str, encoder: str | None = None) -> str:
    """What to know about the licence of published weights; empty where they are free for commercial use as well.

    Examples
    --------
    >>> licence_remark("segformer-b0")
    'MiT weights are of NVIDIA, for non-commercial use only; random weights carry no such term'
    >>> licence_remark("fpn", "resnet34")
    ''
    """
    chosen = encoder or (KNOWN[architecture].encoder if architecture in KNOWN else "")
    if architecture == "segformer-b0" or chosen.startswith("mit_b"):
        return "MiT weights are of NVIDIA, for non-commercial use only; random weights carry no such term"
    return ""


def _encoder(name: str) -> str:
    """The name, if the library or timm knows it."""
    own = [known for known in get_encoder_names() if not known.startswith("timm-")]  # old names of timm's
    if name in own or (name.startswith(TIMM) and timm.is_model(name.removeprefix(TIMM).split(".")[0])):
        return name
    near = difflib.get_close_matches(name, [*own, *(TIMM + known for known in timm.list_models())], n=3)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise RecipeError(
        f"encoder: unknown encoder '{name}'; {hint}use a name of segmentation-models-pytorch, or tu- and one of timm's"
    )


def _fixed(encoder: str, size: int) -> dict[str, Any]:
    """What an encoder needs to know of the side, where its positions are built for one."""
    if not encoder.startswith(TIMM):
        return {}
    found = timm.models.get_pretrained_cfg(encoder.removeprefix(TIMM))
    return {"img_size": size} if found is not None and found.fixed_input_size else {}


def _wide(value: int | tuple[int, ...], width: float) -> int | tuple[int, ...]:
    return tuple(scaled(value, width)) if isinstance(value, tuple) else scaled([value], width)[0]


def _groups(filters: int, of: int = 32) -> int:
    """The nearest number of filters that FPN's group norm divides."""
    return of * max(1, round(filters / of))
