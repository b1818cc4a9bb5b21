"""DeepLabV3+ as the reference's Keras graph has it: a ResNet50 cut inside a block, without dilation."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import Tensor, nn

from tumorscope.models.segmenters.blocks import Drawn, convolution, enlarged, he_normal, scaled, side_of

RATES = (6, 12, 18)  # dilation of the pyramid's 3×3 convolutions
PYRAMID, LOW = 256, 48  # filters of each branch, and of the low features
STAGES = (64, 128, 256)  # filters of ResNet50's bottlenecks up to the cut; their outputs have four times as many


class CutResNet(nn.Module):
    """ResNet50 up to ``conv4_block6_2_relu``; names of its weights are timm's.

    Keras names the two outputs: ``conv2_block3_2_relu`` (64 filters, a quarter of the side) and
    ``conv4_block6_2_relu`` (256, a sixteenth). Nothing after the second is kept. Blocks stride in their 3×3
    convolution, as the weights that torch users load were trained (Keras: in the first 1×1), which changes no count.

    Parameters
    ----------
    channels : int
        Of the input.
    width : float
        Factor on the filters of the stages; the first convolution keeps 64.
    """

    biased_in_keras = True

    def __init__(self, channels: int, width: float) -> None:
        super().__init__()
        stages = scaled(STAGES, width)
        whole: Any = timm.create_model("resnet50", num_classes=0, in_chans=channels, channels=(*stages, stages[-1]))
        self.conv1, self.bn1, self.act1, self.maxpool = whole.conv1, whole.bn1, whole.act1, whole.maxpool
        self.layer1, self.layer2, self.layer3 = whole.layer1, whole.layer2, whole.layer3
        self.layer3[-1].conv3, self.layer3[-1].bn3 = nn.Identity(), nn.Identity()
        self.out_channels = (stages[0], stages[-1])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Low features (N, 64, S/4, S/4) and high ones (N, 256, S/16, S/16)."""
        maps = self.maxpool(self.act1(self.bn1(self.conv1(image))))
        *first, last = self.layer1
        for block in first:
            maps = block(maps)
        low = _inside(last, maps)
        maps = last.act3(last.bn3(last.conv3(low)) + maps)
        *first, last = self.layer3
        maps = self.layer2(maps)
        for block in first:
            maps = block(maps)
        return low, _inside(last, maps)


def _inside(block: Any, maps: Tensor) -> Tensor:
    """What a bottleneck holds before its last convolution."""
    return block.act2(block.bn2(block.conv2(block.act1(block.bn1(block.conv1(maps))))))


class Pyramid(nn.Module):
    """Features at several reaches: 1×1, 3×3 at three dilations, and the image's mean; joined by a 1×1 convolution."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        reduced = convolution(before, after, 1)
        reduced[0].bias = nn.Parameter(torch.zeros(after))  # the reference has one here and nowhere else
        self.pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), reduced)
        self.branches = nn.ModuleList(
            [convolution(before, after, 1), *(convolution(before, after, dilation=rate) for rate in RATES)]
        )
        self.joined = convolution(after * (len(RATES) + 2), after, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, s, s) to (N, 256, s, s)."""
        pooled = self.pooled(maps).expand(-1, -1, *side_of(maps))
        return self.joined(torch.cat([pooled, *(branch(maps) for branch in self.branches)], dim=1))


class DeepLabV3Plus(nn.Module):
    """The reference's DeepLabV3+ (Chen et al., ECCV 2018, in Keras): 11,857,236 parameters with 20 classes.

    The figure is Keras' total: `blocks.keras_count` of this network, which counts batch-norm statistics, and the
    biases that Keras' ResNet50 has in its convolutions. segmentation-models-pytorch's network of this name keeps all
    of ResNet50, dilated, and is ``deeplabv3plus-smp``.

    Parameters
    ----------
    channels, classes : int
    width : float
        Factor on all filters but the first convolution's.

    Examples
    --------
    >>> from tumorscope.models.segmenters.blocks import keras_count
    >>> with torch.device("meta"):
    ...     keras_count(DeepLabV3Plus(channels=3, classes=20))
    11857236
    """

    def __init__(self, channels: int = 3, classes: int = 1, width: float = 1.0) -> None:
        super().__init__()
        self.encoder = CutResNet(channels, width)
        (pyramid, reduced), (low, high) = scaled((PYRAMID, LOW), width), self.encoder.out_channels
        self.pyramid = Pyramid(high, pyramid)
        self.low = convolution(low, reduced, 1)
        self.decoder = nn.Sequential(convolution(pyramid + reduced, pyramid), convolution(pyramid, pyramid))
        self.last = nn.Conv2d(pyramid, classes, 1)
        self.deepest = high
        for part in (self.pyramid, self.low, self.decoder):
            he_normal(part)

    def forward(self, image: Tensor) -> Drawn:
        """Logits and the high features of normalised images."""
        low, high = self.encoder(image)
        near = self.low(low)
        maps = torch.cat([enlarged(self.pyramid(high), side_of(near)), near], dim=1)
        logits = self.last(enlarged(self.decoder(maps), side_of(image)))
        return Drawn(logits, high, [])
