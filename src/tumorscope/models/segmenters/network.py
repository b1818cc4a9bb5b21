"""A segmenter by name: an architecture, its preprocessing inside, and an optional classification head."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.base import ClassificationHead
from segmentation_models_pytorch.base.initialization import initialize_head
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tumorscope.errors import RecipeError, TrainingError, look_up
from tumorscope.models.classifiers.custom_cnn import MEAN, STD
from tumorscope.models.segmenters.basnet import BASNet
from tumorscope.models.segmenters.blocks import Drawn
from tumorscope.models.segmenters.deeplabv3plus import DeepLabV3Plus
from tumorscope.models.segmenters.fcn import FCN
from tumorscope.models.segmenters.library import KNOWN, FromLibrary, SegformerB0
from tumorscope.models.segmenters.segformer_cnn import SegformerCNN
from tumorscope.models.segmenters.unet import UNet
from tumorscope.models.segmenters.unet_xception import UNetXception
from tumorscope.registry import IMAGENET_MEAN, IMAGENET_STD

MULTIPLE = 32  # the side that every architecture takes is a multiple of this; others are padded
DROPOUT = 0.2  # before the classification head

_Spread = tuple[float, ...]
_GREY = (MEAN, STD)
_IMAGENET = (IMAGENET_MEAN, IMAGENET_STD)
# Architectures with code of their own, and the mean and deviation that their encoder's published weights expect.
OWN: dict[str, tuple[Callable[[int, int, float], nn.Module], tuple[_Spread, _Spread]]] = {
    "deeplabv3plus": (DeepLabV3Plus, _IMAGENET),
    "unet": (UNet, _GREY),
    "unet-xception": (UNetXception, _GREY),
    "segformer-cnn": (SegformerCNN, _GREY),
    "segformer-b0": (SegformerB0, _IMAGENET),
    "fcn-8s": (partial(FCN, stride=8), _IMAGENET),
    "fcn-16s": (partial(FCN, stride=16), _IMAGENET),
    "fcn-32s": (partial(FCN, stride=32), _IMAGENET),
    "basnet": (BASNet, _IMAGENET),
}
ARCHITECTURES = (*OWN, *KNOWN)


class Segmented(NamedTuple):
    """What a segmenter says about N squares.

    Parameters
    ----------
    mask : Tensor
        Logits (N, classes, S, S): of the lesion for one class, otherwise of each class, background first.
    side : list of Tensor
        Logits of the same shape that training supervises too, the finest first; empty but for ``basnet``.
    score : Tensor or None
        Logits (N,) of the classification head, if there is one.
    """

    mask: Tensor
    side: list[Tensor]
    score: Tensor | None


class Segmenter(nn.Module):
    """Mask logits of grey or coloured squares in [0, 1]; see `segmenter`.

    The square is repeated to the network's channels and normalised inside the network, so that no caller can do it
    wrongly. A side that the architecture does not take is padded at the bottom and the right with the value of the
    nearest pixel, and the mask is cut to the square again. In training a single square is drawn together with its
    copy: a batch norm has no deviation of one value, which is what pooling leaves of a square.

    Parameters
    ----------
    network : nn.Module
        An architecture: returns `blocks.Drawn`, and has the attributes ``encoder`` and ``deepest`` (its filters).
    channels : int
        That the network takes.
    mean, std : tuple of float
        One value for each channel; the mean of all where their number is another.
    head : bool
        Whether the deepest features are pooled to a score.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, channels: int, mean: _Spread, std: _Spread, head: bool) -> None:
        super().__init__()
        self.network: Any = network
        self.head = ClassificationHead(self.network.deepest, 1, dropout=DROPOUT) if head else None
        if self.head is not None:
            initialize_head(self.head)
        self.channels = channels
        self.multiple = getattr(network, "multiple", MULTIPLE)
        self.least = getattr(network, "least", self.multiple)
        self._frozen = False
        for name, values in (("mean", mean), ("std", std)):
            each = values if len(values) == channels else (sum(values) / len(values),) * channels
            self.register_buffer(name, torch.tensor(each).view(1, -1, 1, 1), persistent=False)

    @property
    def encoder(self) -> nn.Module:
        """The part that pretrained weights are for."""
        return self.network.encoder

    def forward(self, image: Tensor) -> Segmented:
        """Mask, side outputs and score of (N, 1 or C, S, S) squares in [0, 1]."""
        if self.training and len(image) == 1:
            both = self._drawn(image.expand(2, -1, -1, -1))
            return Segmented(both.mask[:1], [one[:1] for one in both.side], self._score(both.deepest[:1]))
        drawn = self._drawn(image)
        return Segmented(drawn.mask, drawn.side, self._score(drawn.deepest))

    def train_part(self, part: str) -> None:
        """Let ``head`` (all but the encoder) or ``all`` learn; a frozen encoder keeps its batch statistics too."""
        for parameter in self.encoder.parameters():
            parameter.requires_grad_(part == "all")
        self._frozen = part == "head"
        self.train(self.training)

    def train(self, mode: bool = True) -> Segmenter:
        """As `nn.Module.train`; layers of a frozen encoder stay in inference mode."""
        super().train(mode)
        if mode and self._frozen:
            self.encoder.eval()
        return self

    def norms(self) -> list[nn.Module]:
        """All batch-norm layers."""
        return [module for module in self.modules() if isinstance(module, _BatchNorm)]

    def _drawn(self, image: Tensor) -> Drawn:
        height, width = image.shape[2:]
        below, right = (-(-max(side, self.least) // self.multiple) * self.multiple - side for side in (height, width))
        image = self._normalised(image)
        if not below and not right:
            return self.network(image)
        drawn = self.network(F.pad(image, (0, right, 0, below), mode="replicate"))
        side = [logits[..., :height, :width] for logits in drawn.side]
        return Drawn(drawn.mask[..., :height, :width], drawn.deepest, side)

    def _score(self, deepest: Tensor) -> Tensor | None:
        return None if self.head is None else self.head(deepest)[:, 0]

    def _normalised(self, image: Tensor) -> Tensor:
        given = image.shape[1]
        if given != self.channels and 1 not in (given, self.channels):
            raise TrainingError(f"image: {given} channels for a network of {self.channels}; give 1 or {self.channels}")
        if given != self.channels:
            image = image.expand(-1, self.channels, -1, -1) if given == 1 else image.mean(dim=1, keepdim=True)
        return (image - self.mean) / self.std


def segmenter(
    architecture: str,
    *,
    encoder: str | None = None,
    classes: int = 1,
    channels: int = 3,
    size: int = 256,
    width: float = 1.0,
    head: bool = False,
) -> Segmenter:
    """A segmenter with random weights.

    Parameters
    ----------
    architecture : str
        A name of `ARCHITECTURES`: an own one, or one of segmentation-models-pytorch; where both have one of a name,
        the library's ends in ``-smp``.
    encoder : str, optional
        For the library's architectures: one of its encoders, or ``tu-`` and a timm model. Own architectures have
        their encoder.
    classes : int
        1 for a lesion's mask, otherwise the number of classes with the background.
    channels : int
        That the network takes; grey squares are repeated.
    size : int
        Side of the squares, px; only encoders with fixed positions are built for it.
    width : float
        Factor on the number of filters: of own architectures everywhere, of the library's in the decoder.
    head : bool
        A classification head on the deepest features.

    Raises
    ------
    RecipeError
        For an unknown name, an encoder that the architecture does not take, or a number below its least.

    Examples
    --------
    >>> found = segmenter("unet", width=0.1, head=True)(torch.zeros(2, 1, 64, 64))
    >>> found.mask.shape, found.side, found.score.shape
    (torch.Size([2, 1, 64, 64]), [], torch.Size([2]))
    >>> segmenter("unnet")
    Traceback (most recent call last):
    ...
    tumorscope.errors.RecipeError: unknown architecture 'unnet'; did you mean 'unet'? known: ...
    """
    look_up(architecture, ARCHITECTURES, "architecture", RecipeError)
    for name, value in (("classes", classes), ("channels", channels), ("size", size)):
        if value < 1:
            raise RecipeError(f"{name}: {value} is too few; give 1 or more")
    if not 0 < width < float("inf"):
        raise RecipeError(f"width: {width} is no factor; give a number above 0")
    if architecture in KNOWN:
        known = FromLibrary(architecture, encoder, channels, classes, size, width)
        return Segmenter(known, channels, known.mean, known.std, head)
    if encoder is not None:
        other = next((name for name in KNOWN if name.startswith(f"{architecture}-")), "unet-smp")
        raise RecipeError(f"encoder: {architecture} has its own; leave encoder out, or use {other}")
    build, (mean, std) = OWN[architecture]
    return Segmenter(build(channels, classes, width), channels, mean, std, head)
