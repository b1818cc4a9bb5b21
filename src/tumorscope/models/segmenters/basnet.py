"""BASNet: a deeply supervised U-Net on ResNet-34, and a small one that refines its mask."""

from __future__ import annotations

from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.models.resnet import BasicBlock
from torch import Tensor, nn

from tumorscope.models.segmenters.blocks import Drawn, convolution, enlarged, scaled, side_of

STAGES = (64, 128, 256, 512)  # of ResNet-34
EXTRA, BLOCKS = 512, 3  # filters and residual blocks of each of the two stages after them
STEM = 64  # filters of the first convolution and of the refinement; ResNet-34's stages start from 64
REFINED = 4  # poolings in the refinement


class BASNet(nn.Module):
    """Boundary-aware network of six stages with seven side outputs and a refinement (Qin et al., CVPR 2019).

    The encoder works at the full side first (3×3 instead of ResNet's 7×7, no pooling), then has ResNet-34's four
    stages and two of 512 filters; a dilated bridge; a decoder of six stages. The bridge and each stage of the decoder
    draw a mask; a small encoder and decoder adds a correction to the last. With one class and three channels it has
    87,052,680 parameters; biases below batch norms, which torch's habit leaves out, would be 7,680 more.

    Parameters
    ----------
    channels, classes : int
    width : float
        Factor on the filters, but for the first convolution's.

    Examples
    --------
    >>> drawn = BASNet(1, 1, width=0.05)(torch.zeros(2, 1, 64, 64))
    >>> drawn.mask.shape, len(drawn.side)
    (torch.Size([2, 1, 64, 64]), 7)
    """

    def __init__(self, channels: int = 3, classes: int = 1, width: float = 1.0) -> None:
        super().__init__()
        self.encoder = Encoder(channels, width)
        one, two, three, four, extra = self.encoder.filters
        self.bridge = _three(extra, extra, extra, extra, dilations=(2, 2, 2))
        self.decoder = nn.ModuleList(
            [
                _three(2 * extra, extra, extra, extra, dilations=(1, 2, 2)),
                _three(2 * extra, extra, extra, extra),
                _three(extra + four, extra, extra, three),
                _three(2 * three, three, three, two),
                _three(2 * two, two, two, one),
                _three(2 * one, one, one, one),
            ]
        )
        drawn = (extra, extra, extra, three, two, one, one)  # filters of the bridge and of the six stages
        self.outputs = nn.ModuleList(nn.Conv2d(filters, classes, 3, padding=1) for filters in drawn)
        self.refinement = Refinement(classes, one)
        self.deepest = extra

    def forward(self, image: Tensor) -> Drawn:
        """Refined logits, the deepest features, and the logits of the six stages and the bridge, finest first."""
        skips = self.encoder(image)
        deepest = skips[-1]
        maps = self.bridge(deepest)
        side = [self.outputs[0](maps)]
        for stage, output, skip in zip(self.decoder, list(self.outputs)[1:], skips[::-1], strict=True):
            maps = stage(torch.cat([enlarged(maps, side_of(skip)), skip], dim=1))
            side.append(output(maps))
        side = [enlarged(logits, side_of(image)) for logits in side[::-1]]
        return Drawn(self.refinement(side[0]), deepest, side)


class Encoder(nn.Module):
    """ResNet-34's stages from the full side on, and two more; names of the stages' weights are timm's."""

    def __init__(self, channels: int, width: float) -> None:
        super().__init__()
        stages, (extra,) = scaled(STAGES, width), scaled([EXTRA], width)
        resnet: Any = timm.create_model("resnet34", num_classes=0, channels=tuple(stages))
        self.stem = convolution(channels, STEM, keras=False)
        self.layer1, self.layer2 = resnet.layer1, resnet.layer2
        self.layer3, self.layer4 = resnet.layer3, resnet.layer4
        self.layer5, self.layer6 = _residual(stages[-1], extra), _residual(extra, extra)
        self.filters = (*stages, extra)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Six feature maps, from the full side to a 32nd of it."""
        maps = [self.layer1(self.stem(image))]
        for layer in (self.layer2, self.layer3, self.layer4):
            maps.append(layer(maps[-1]))
        for layer in (self.layer5, self.layer6):
            maps.append(layer(F.max_pool2d(maps[-1], 2)))
        return maps


class Refinement(nn.Module):
    """Logits plus a correction that a small U-Net of one width makes of them."""

    def __init__(self, classes: int, filters: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(classes, filters, 3, padding=1)
        self.down = nn.ModuleList(convolution(filters, filters, keras=False) for _ in range(REFINED))
        self.bottom = convolution(filters, filters, keras=False)
        self.up = nn.ModuleList(convolution(2 * filters, filters, keras=False) for _ in range(REFINED))
        self.last = nn.Conv2d(filters, classes, 3, padding=1)

    def forward(self, logits: Tensor) -> Tensor:
        """(N, classes, S, S) to the same shape."""
        maps, skips = self.first(logits), []
        for stage in self.down:
            skips.append(stage(maps))
            maps = F.max_pool2d(skips[-1], 2)
        maps = self.bottom(maps)
        for stage, skip in zip(self.up, skips[::-1], strict=True):
            maps = stage(torch.cat([enlarged(maps, side_of(skip)), skip], dim=1))
        return logits + self.last(maps)


def _three(*filters: int, dilations: tuple[int, int, int] = (1, 1, 1)) -> nn.Sequential:
    steps = zip(filters[:-1], filters[1:], dilations, strict=True)
    return nn.Sequential(
        *(convolution(before, after, dilation=dilation, keras=False) for before, after, dilation in steps)
    )


def _residual(before: int, after: int) -> nn.Sequential:
    """Residual blocks of ResNet-34's kind; the first takes up a change of width."""
    change = None
    if before != after:
        change = nn.Sequential(nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))
    rest = (BasicBlock(after, after) for _ in range(BLOCKS - 1))
    return nn.Sequential(BasicBlock(before, after, downsample=change), *rest)
