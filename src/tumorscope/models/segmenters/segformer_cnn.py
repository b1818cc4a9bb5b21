"""What the reference calls SegFormer: strided convolutions and SegFormer's way to join stages, without attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tumorscope.models.classifiers.network import NORM
from tumorscope.models.segmenters.blocks import Drawn, convolution, enlarged, he_normal, scaled, side_of

STAGES = (32, 64, 160, 256)  # the reference leaves them open; these are SegFormer-B0's
STRIDES = (4, 2, 2, 2)
KERNELS = (7, 3, 3, 3)  # open too; SegFormer's overlapping patches
JOINED, DECODED = 128, 256  # filters to which each stage is brought, and of the two convolutions after
GRID = 16  # the stages are joined at this share of the side: 32×32 of 512×512


class SegformerCNN(nn.Module):
    """Four strided convolutions (a 4th to a 32nd of the side), joined at a 16th, two 3×3 convolutions, 16× up.

    Not a SegFormer: there is no attention in it. A real one is ``segformer-b0``.

    Parameters
    ----------
    channels, classes : int
    width : float
        Factor on the filters.

    Examples
    --------
    >>> SegformerCNN(1, 1, width=0.1)(torch.zeros(1, 1, 64, 64)).deepest.shape
    torch.Size([1, 26, 2, 2])
    """

    def __init__(self, channels: int = 3, classes: int = 1, width: float = 1.0) -> None:
        super().__init__()
        stages = scaled(STAGES, width)
        joined, decoded = scaled((JOINED, DECODED), width)
        before = [channels, *stages[:-1]]
        self.encoder = nn.ModuleList(_strided(*sizes) for sizes in zip(before, stages, KERNELS, STRIDES, strict=True))
        self.brought = nn.ModuleList(nn.Conv2d(filters, joined, 1) for filters in stages)
        self.decoder = nn.Sequential(convolution(joined * len(stages), decoded), convolution(decoded, decoded))
        self.last = nn.Conv2d(decoded, classes, 1)
        self.deepest = stages[-1]
        he_normal(self)

    def forward(self, image: Tensor) -> Drawn:
        """Logits and the last stage's features of normalised images."""
        grid = (image.shape[2] // GRID, image.shape[3] // GRID)
        maps, joined = image, []
        for stage, brought in zip(self.encoder, self.brought, strict=True):
            maps = stage(maps)
            joined.append(enlarged(brought(maps), grid))
        logits = self.last(self.decoder(torch.cat(joined, dim=1)))
        return Drawn(enlarged(logits, side_of(image)), maps, [])


def _strided(before: int, after: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(after, **NORM),  # type: ignore[arg-type]
        nn.ReLU(inplace=True),
    )
