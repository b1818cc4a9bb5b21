"""The classic U-Net, padded."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tumorscope.models.segmenters.blocks import Drawn, convolution, he_normal, scaled

FILTERS = (64, 128, 256, 512, 1024)  # of the five stages


class UNet(nn.Module):
    """U-Net of five stages with 64 to 1024 filters (Ronneberger, Fischer, Brox, MICCAI 2015).

    Two 3×3 convolutions a stage, 2×2 max pooling on the way down, transposed 2×2 convolutions and skips on the way up.
    Unlike the paper's, the convolutions are padded, so that the mask has the image's side, and have a batch norm in
    place of their bias: the usual form today.

    Parameters
    ----------
    channels, classes : int
    width : float
        Factor on the filters.

    Examples
    --------
    >>> UNet(1, 2, width=0.1)(torch.zeros(1, 1, 64, 64)).mask.shape
    torch.Size([1, 2, 64, 64])
    """

    def __init__(self, channels: int = 3, classes: int = 1, width: float = 1.0) -> None:
        super().__init__()
        sizes = scaled(FILTERS, width)
        steps = list(zip(sizes[1:], sizes[:-1], strict=True))[::-1]
        self.encoder = nn.ModuleList(
            _double(before, after) for before, after in zip([channels, *sizes[:-1]], sizes, strict=True)
        )
        self.ups = nn.ModuleList(nn.ConvTranspose2d(deep, flat, 2, stride=2) for deep, flat in steps)
        self.decoder = nn.ModuleList(_double(2 * flat, flat) for _, flat in steps)
        self.last = nn.Conv2d(sizes[0], classes, 1)
        self.deepest = sizes[-1]
        he_normal(self)

    def forward(self, image: Tensor) -> Drawn:
        """Logits and the lowest stage's features of normalised images."""
        maps = self.encoder[0](image)
        skips = []
        for stage in list(self.encoder)[1:]:
            skips.append(maps)
            maps = stage(F.max_pool2d(maps, 2))
        deepest = maps
        for up, double in zip(self.ups, self.decoder, strict=True):
            maps = double(torch.cat([skips.pop(), up(maps)], dim=1))
        return Drawn(self.last(maps), deepest, [])


def _double(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(convolution(before, after, keras=False), convolution(after, after, keras=False))
