"""What several segmenters are put together from: convolutions, widths, and how Keras counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tumorscope.models.classifiers.network import NORM


class Drawn(NamedTuple):
    """What an architecture makes of a normalised image.

    Parameters
    ----------
    mask : Tensor
        Logits (N, classes, S, S).
    deepest : Tensor
        Feature maps of the encoder's last stage, (N, C, s, s).
    side : list of Tensor
        Logits (N, classes, S, S) of side outputs, the finest first.
    """

    mask: Tensor
    deepest: Tensor
    side: list[Tensor]


def scaled(filters: Sequence[int], width: float) -> list[int]:
    """Numbers of filters times ``width``, at least one each.

    Examples
    --------
    >>> scaled((64, 128, 256), 0.1)
    [6, 13, 26]
    """
    return [max(1, round(count * width)) for count in filters]


def convolution(before: int, after: int, kernel: int = 3, *, dilation: int = 1, keras: bool = True) -> nn.Sequential:
    """A convolution that keeps the side, batch norm (Keras' figures, or torch's) and a ReLU.

    Examples
    --------
    >>> import torch
    >>> convolution(3, 8, dilation=6)(torch.zeros(2, 3, 5, 7)).shape
    torch.Size([2, 8, 5, 7])
    """
    norm = nn.BatchNorm2d(after, **NORM) if keras else nn.BatchNorm2d(after)  # type: ignore[arg-type]
    padding = dilation * (kernel // 2)
    weights = nn.Conv2d(before, after, kernel, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(weights, norm, nn.ReLU(inplace=True))


def enlarged(maps: Tensor, side: tuple[int, int]) -> Tensor:
    """The maps at another size, bilinear, with the corners of the outermost pixels aligned (as in Keras)."""
    return maps if maps.shape[2:] == side else F.interpolate(maps, size=side, mode="bilinear", align_corners=False)


def side_of(maps: Tensor) -> tuple[int, int]:
    """Height and width of (N, C, H, W) maps."""
    return int(maps.shape[2]), int(maps.shape[3])


def he_normal(network: nn.Module) -> None:
    """Give all convolutions weights of He's normal distribution and biases of zero (He et al., ICCV 2015)."""
    for part in _convolutions(network):
        nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
        if part.bias is not None:
            nn.init.zeros_(part.bias)


def keras_count(network: nn.Module) -> int:
    """The number that Keras' ``summary`` calls total parameters.

    Counted are all weights and biases, the mean and the variance that each batch norm keeps, and one bias a filter for
    each convolution of a part that says ``biased_in_keras``: Keras' ResNets have biases below their batch norms, where
    torch's leave out what the norm takes away again.

    Parameters
    ----------
    network : Module
        On any device; a network on the meta device costs no memory.

    Examples
    --------
    >>> keras_count(convolution(3, 8))  # weights, scale and shift, mean and variance
    248
    """
    count = sum(value.numel() for value in network.parameters())
    for part in network.modules():
        if isinstance(part, _BatchNorm) and part.running_mean is not None and part.running_var is not None:
            count += part.running_mean.numel() + part.running_var.numel()
        if getattr(part, "biased_in_keras", False):
            count += sum(inner.out_channels for inner in _convolutions(part) if inner.bias is None)
    return count


def _convolutions(network: nn.Module) -> Iterator[nn.Conv2d | nn.ConvTranspose2d]:
    return (part for part in network.modules() if isinstance(part, nn.Conv2d | nn.ConvTranspose2d))
