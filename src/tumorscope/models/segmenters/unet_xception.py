"""The reference's Xception-style U-Net: separable convolutions down, transposed ones up, residuals, no skips."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tumorscope.models.classifiers.network import NORM
from tumorscope.models.segmenters.blocks import Drawn, scaled

FIRST, DOWN, UP = 32, (64, 128, 256), (256, 128, 64, 32)  # filters


class UNetXception(nn.Module):
    """Encoder and decoder of residual blocks: 2,058,979 parameters with 3 classes and 3 channels, at any size.

    The figure is Keras' total (`blocks.keras_count`): weights, biases (Keras has one in each convolution) and
    batch-norm statistics. Strided layers pad at the bottom and the right only, as Keras' ``same`` does.

    Parameters
    ----------
    channels, classes : int
    width : float
        Factor on the filters.

    Examples
    --------
    >>> from tumorscope.models.segmenters.blocks import keras_count
    >>> keras_count(UNetXception(3, 3))
    2058979
    """

    def __init__(self, channels: int = 3, classes: int = 1, width: float = 1.0) -> None:
        super().__init__()
        (first, *_), down, up = scaled([FIRST], width), scaled(DOWN, width), scaled(UP, width)
        self.encoder = nn.Sequential(
            Entry(channels, first),
            *(Down(before, after) for before, after in zip([first, *down], down, strict=False)),
        )
        self.decoder = nn.Sequential(*(Up(before, after) for before, after in zip([down[-1], *up], up, strict=False)))
        self.last = nn.Conv2d(up[-1], classes, 3, padding=1)
        self.deepest = down[-1]
        for part in self.modules():
            if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.xavier_uniform_(part.weight)  # Keras' default
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    def forward(self, image: Tensor) -> Drawn:
        """Logits and the encoder's features, a sixteenth of the side, of normalised images."""
        deepest = self.encoder(image)
        return Drawn(self.last(self.decoder(deepest)), deepest, [])


class Entry(nn.Module):
    """A strided convolution, batch norm, ReLU: half the side."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(before, after, 3, stride=2)
        self.norm = _norm(after)

    def forward(self, image: Tensor) -> Tensor:
        """(N, C, S, S) to (N, 32, S/2, S/2)."""
        return F.relu(self.norm(self.convolution(F.pad(image, (0, 1, 0, 1)))))


class Down(nn.Module):
    """Two separable convolutions and 3×3 max pooling, beside a strided 1×1 convolution: half the side."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(), _separable(before, after), _norm(after), nn.ReLU(), _separable(after, after), _norm(after)
        )
        self.residual = nn.Conv2d(before, after, 1, stride=2)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, s, s) to (N, F, s/2, s/2)."""
        padded = F.pad(self.layers(maps), (0, 1, 0, 1), value=float("-inf"))
        return F.max_pool2d(padded, 3, stride=2) + self.residual(maps)


class Up(nn.Module):
    """Two transposed convolutions, repeated to twice the side, beside a 1×1 convolution of the repeated input."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(), _transposed(before, after), _norm(after), nn.ReLU(), _transposed(after, after), _norm(after)
        )
        self.residual = nn.Conv2d(before, after, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, s, s) to (N, F, 2s, 2s); the residual is drawn before it is repeated, which gives the same."""
        return F.interpolate(self.layers(maps) + self.residual(maps), scale_factor=2.0, mode="nearest")


def _separable(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, before, 3, padding=1, groups=before, bias=False), nn.Conv2d(before, after, 1)
    )


def _transposed(before: int, after: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(before, after, 3, padding=1)


def _norm(filters: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(filters, **NORM)  # type: ignore[arg-type]
