"""The denoiser: a small U-Net of residual blocks that names the noise in a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tumorscope.errors import RecipeError

WIDTHS, DEPTH = (32, 64, 96, 128), 2  # of the reference
EMBEDDED, LOWEST, HIGHEST = 32, 1.0, 1000.0  # numbers that describe the noise variance, and their frequencies
NORM = {"momentum": 0.01, "eps": 1e-3, "affine": False}  # Keras' figures; neither scale nor offset is learnt
ANY = 0  # the class that stands for none in particular


class Embedding(nn.Module):
    """Sines and cosines of a variance at frequencies evenly spaced on a logarithmic scale; nothing is learnt.

    Parameters
    ----------
    numbers : int
        Even; half of them sines.
    lowest, highest : float
        Frequencies, turns in a variance of 1.

    Examples
    --------
    >>> Embedding(8)(torch.zeros(2)).shape
    torch.Size([2, 8])
    """

    turns: Tensor

    def __init__(self, numbers: int = EMBEDDED, lowest: float = LOWEST, highest: float = HIGHEST) -> None:
        super().__init__()
        frequencies = torch.exp(torch.linspace(math.log(lowest), math.log(highest), numbers // 2))
        self.register_buffer("turns", 2 * math.pi * frequencies, persistent=False)

    def forward(self, variance: Tensor) -> Tensor:
        """(N, numbers) of (N,) variances."""
        angle = variance.float()[:, None] * self.turns
        return torch.cat([angle.sin(), angle.cos()], 1)


class Residual(nn.Module):
    """Batch norm, 3×3, swish, 3×3, added to the input; a 1×1 takes the input to another width first."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.across = nn.Identity() if before == after else nn.Conv2d(before, after, 1)
        self.norm = nn.BatchNorm2d(before, **NORM)  # type: ignore[arg-type]
        self.first = nn.Conv2d(before, after, 3, padding=1)
        self.second = nn.Conv2d(after, after, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, after, H, W) of (N, before, H, W)."""
        return self.across(x) + self.second(F.silu(self.first(self.norm(x))))


class Denoiser(nn.Module):
    """The noise in pictures of mean 0 and variance 1, told from the pictures and the variance of their noise.

    Down: at each of the widths but the last, ``depth`` residual blocks, then the mean of 2×2. In the middle ``depth``
    blocks of the last width. Up: twice the side, and ``depth`` blocks that each take the block opposite besides. The
    last 1×1 begins at zero, so that an untrained network says that there is no noise.

    Where classes are given, a learnt vector of the picture's class is added to what describes the variance; class 0
    is none in particular. All vectors begin at zero.

    ``mean`` and ``spread`` bring pictures in [0, 1] to the network's scale and back; they are kept with the weights.

    Parameters
    ----------
    channels : int
    widths : sequence of int
        At least two.
    depth : int
        Residual blocks at each width.
    embedded : int
        Numbers that describe the variance; even.
    lowest, highest : float
        Their frequencies.
    classes : int
        Named classes; 0 for a network that knows none.

    Raises
    ------
    RecipeError
        For fewer than two widths, no depth, or an odd embedding.

    Examples
    --------
    >>> network = Denoiser(1, widths=(8, 16), depth=1)
    >>> network(torch.ones(2, 1, 8, 8), torch.tensor([0.1, 0.9])).abs().max().item()
    0.0
    """

    mean: Tensor
    spread: Tensor

    def __init__(
        self,
        channels: int = 1,
        widths: Sequence[int] = WIDTHS,
        depth: int = DEPTH,
        *,
        embedded: int = EMBEDDED,
        lowest: float = LOWEST,
        highest: float = HIGHEST,
        classes: int = 0,
    ) -> None:
        super().__init__()
        if len(widths) < 2 or depth < 1 or embedded < 2 or embedded % 2:
            raise RecipeError(
                f"model: {len(widths)} widths, depth {depth} and {embedded} embedded numbers make no network; "
                "give two widths or more, a depth from 1 and an even number"
            )
        self.channels, self.depth, self.classes = channels, depth, classes
        self.divisor = 2 ** (len(widths) - 1)
        self.embedding = Embedding(embedded, lowest, highest)
        self.named = nn.Embedding(classes + 1, embedded) if classes else None
        self.entry = nn.Conv2d(channels, widths[0], 1)
        width, kept = widths[0] + embedded, []
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for after in widths[:-1]:
            for _ in range(depth):
                self.down.append(Residual(width, after))
                width = after
                kept.append(after)
        self.middle = nn.ModuleList()
        for _ in range(depth):
            self.middle.append(Residual(width, widths[-1]))
            width = widths[-1]
        for after in reversed(widths[:-1]):
            for _ in range(depth):
                self.up.append(Residual(width + kept.pop(), after))
                width = after
        self.out = nn.Conv2d(width, channels, 1)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("spread", torch.ones(channels))
        self._begin()

    def _begin(self) -> None:
        """Keras' first weights: uniform after Glorot, offsets and the output zero."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.zeros_(self.out.weight)
        if self.named is not None:
            nn.init.zeros_(self.named.weight)

    def forward(self, noisy: Tensor, variance: Tensor, named: Tensor | None = None) -> Tensor:
        """The noise (N, C, S, S) in noisy pictures, on the network's scale, with noise variances (N,) in 0…1.

        ``named`` (N,) gives each picture's class, counted from 1; 0 or None for any. S is a multiple of ``divisor``.
        """
        x, skips = self._descended(noisy, variance, named)
        for number, block in enumerate(self.up):
            if number % self.depth == 0:
                x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = block(torch.cat([x, skips.pop()], 1))
        return self.out(x)

    def encoded(self, noisy: Tensor, variance: Tensor) -> list[Tensor]:
        """Feature maps before each halving, then the deepest: what a segmenter can begin with."""
        x, skips = self._descended(noisy, variance, None)
        return [*skips[self.depth - 1 :: self.depth], x]

    def _descended(self, noisy: Tensor, variance: Tensor, named: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """The deepest feature maps, and those of every block on the way down."""
        told = self.embedding(variance)
        if self.named is not None:
            told = told + self.named(torch.full_like(variance, ANY, dtype=torch.long) if named is None else named)
        x = self.entry(noisy)
        x = torch.cat([x, told.to(x.dtype)[:, :, None, None].expand(-1, -1, x.shape[2], x.shape[3])], 1)
        skips: list[Tensor] = []
        for number, block in enumerate(self.down, start=1):
            x = block(x)
            skips.append(x)
            if number % self.depth == 0:
                x = F.avg_pool2d(x, 2)
        for block in self.middle:
            x = block(x)
        return x, skips

    def normalised(self, picture: Tensor) -> Tensor:
        """Pictures in [0, 1] on the network's scale."""
        return (picture - self.mean.view(1, -1, 1, 1)) / self.spread.view(1, -1, 1, 1)
