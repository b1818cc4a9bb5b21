"""The mission's own small network: four blocks of two convolutions, trained from scratch."""

from __future__ import annotations

from torch import Tensor, nn

FILTERS = (32, 64, 128, 256)  # of the four blocks; the reference leaves them open
MEAN, STD = (0.5,), (0.25,)  # about what grey values in a head have


class CustomCNN(nn.Sequential):
    """Feature maps of four blocks, each of two 3×3 convolutions with batch norm and ReLU, and 2×2 max pooling.

    Parameters
    ----------
    channels : int
        Of the input.
    width : float
        Factor on the number of filters.

    Examples
    --------
    >>> import torch
    >>> CustomCNN(1, 0.25)(torch.zeros(2, 1, 64, 64)).shape
    torch.Size([2, 64, 4, 4])
    """

    def __init__(self, channels: int = 1, width: float = 1.0) -> None:
        sizes = [max(1, round(count * width)) for count in FILTERS]
        blocks: list[nn.Module] = []
        for before, after in zip([channels, *sizes], sizes, strict=False):
            blocks += [_convolution(before, after), _convolution(after, after), nn.MaxPool2d(2)]
        super().__init__(*blocks)
        self.num_features = sizes[-1]

    def forward_features(self, image: Tensor) -> Tensor:
        """Feature maps (N, C, S/16, S/16)."""
        return self(image)


def _convolution(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )
