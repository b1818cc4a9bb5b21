"""Fully convolutional networks on VGG19: FCN-8s, and the coarser 16s and 32s."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.vgg import make_layers

from tumorscope.models.segmenters.blocks import Drawn, enlarged, he_normal, scaled, side_of

BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # VGG19: filters, and convolutions before each pooling
DENSE = 4096  # filters of fc6 and fc7
DROPOUT = 0.5
STRIDES = (8, 16, 32)


class FCN(nn.Module):
    """VGG19 with its dense layers as convolutions, and scores of pools added up (Long, Shelhamer, Darrell, CVPR 2015).

    fc6 (7×7, 4096) and fc7 (1×1, 4096) on the fifth pool give the scores of FCN-32s; adding scores of the fourth pool,
    and then of the third, gives 16s and 8s. All scores are enlarged bilinearly and start at zero, as in the
    reference. The weights of fc6 and fc7 have the names of timm's VGG19 (``pre_logits.fc1``, ``pre_logits.fc2``), and
    belong to the encoder.

    Parameters
    ----------
    channels, classes : int
    width : float
        Factor on the filters.
    stride : {8, 16, 32}
        Of the finest scores.

    Examples
    --------
    >>> import torch
    >>> FCN(1, 2, width=0.02, stride=16)(torch.zeros(1, 1, 64, 64)).mask.shape
    torch.Size([1, 2, 64, 64])
    """

    def __init__(self, channels: int = 3, classes: int = 1, width: float = 1.0, stride: int = 8) -> None:
        super().__init__()
        self.encoder = VGG(channels, width)
        pools = self.encoder.pools[::-1]
        self.deepest = self.encoder.dense
        finer = pools[1 : 1 + {32: 0, 16: 1, 8: 2}[stride]]  # the fourth pool, and the third
        scores = [nn.Conv2d(filters, classes, 1) for filters in (self.deepest, *finer)]
        for part in scores:
            nn.init.zeros_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        self.scores = nn.ModuleList(scores)

    def forward(self, image: Tensor) -> Drawn:
        """Logits and fc7's features of normalised images."""
        deepest, pools = self.encoder(image)
        logits = self.scores[0](deepest)
        for score, maps in zip(list(self.scores)[1:], pools[-2::-1], strict=False):
            logits = enlarged(logits, side_of(maps)) + score(maps)
        return Drawn(enlarged(logits, side_of(image)), deepest, [])


class VGG(nn.Module):
    """VGG19's pools and its dense layers as convolutions, padded so that the side stays."""

    def __init__(self, channels: int, width: float) -> None:
        super().__init__()
        self.pools = scaled([filters for filters, _ in BLOCKS], width)
        (self.dense,) = scaled([DENSE], width)
        layers: list[int | str] = []
        for filters, (_, count) in zip(self.pools, BLOCKS, strict=True):
            layers += [*[filters] * count, "M"]
        self.features = make_layers(layers)
        if channels != self.features[0].in_channels:
            self.features[0] = nn.Conv2d(channels, self.pools[0], 3, padding=1)
        dense = {
            "fc1": nn.Conv2d(self.pools[-1], self.dense, 7, padding=3),
            "fc2": nn.Conv2d(self.dense, self.dense, 1),
        }
        self.pre_logits = nn.ModuleDict(dense)
        self.rest = nn.Sequential(nn.ReLU(inplace=True), nn.Dropout(DROPOUT))
        he_normal(self)

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """fc7 (N, 4096, S/32, S/32) and the five pools, the largest first."""
        maps, pools = image, []
        for layer in self.features:
            maps = layer(maps)
            if isinstance(layer, nn.MaxPool2d):
                pools.append(maps)
        return self.rest(self.pre_logits["fc2"](self.rest(self.pre_logits["fc1"](maps)))), pools
