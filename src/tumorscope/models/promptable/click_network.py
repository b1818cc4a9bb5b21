"""The network behind the engine ``click``: an image encoder that runs once, and a light decoder for every prompt."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from segmentation_models_pytorch.encoders import get_encoder
from torch import Tensor, nn

STAGES = 4  # of the encoder that are used: half, a quarter, an eighth and a sixteenth of the side
PLANES = 6  # of prompts, see `annotation.click.planes`
CANDIDATES = 3


class Answer(NamedTuple):
    """What the decoder says.

    Parameters
    ----------
    mask : Tensor
        Logits (N, 3, S, S) of the candidates.
    quality : Tensor
        Logits (N, 3) of each candidate's IoU with the truth.
    """

    mask: Tensor
    quality: Tensor


class ClickNetwork(nn.Module):
    """Candidates for the lesion that prompts point at.

    Parameters
    ----------
    encoder : str
        A name of segmentation-models-pytorch; of its five stages the first four are kept.
    encoder_channels : tuple of int
        Width of the encoder's stages, as the scout's, whose weights it can begin with; timm's ResNets only.
    prompt_channels : tuple of int
        Width of the pyramid that the prompts go through, at a half to a sixteenth of the side.
    decoder_channels : tuple of int
        Width of the decoder at a sixteenth, eighth, quarter and half of the side.
    """

    def __init__(
        self,
        encoder: str,
        encoder_channels: tuple[int, ...],
        prompt_channels: tuple[int, int, int, int],
        decoder_channels: tuple[int, int, int, int],
    ) -> None:
        super().__init__()
        stages: dict[str, Any] = {"channels": encoder_channels} if encoder.startswith("tu-resnet") else {}
        self.encoder = get_encoder(encoder, in_channels=1, depth=STAGES, weights=None, **stages)
        widths = self.encoder.out_channels[1:]
        self.prompts = nn.ModuleList()
        before = PLANES
        for width in prompt_channels:
            self.prompts.append(_block(before, width, stride=2))
            before = width
        self.decoder = nn.ModuleList()
        before = 0
        for width, skip, prompt in zip(decoder_channels, widths[::-1], prompt_channels[::-1], strict=True):
            self.decoder.append(nn.Sequential(_block(before + skip + prompt, width), _block(width, width)))
            before = width
        self.mask = nn.Conv2d(before, CANDIDATES, 3, padding=1)
        self.quality = nn.Sequential(nn.Linear(before + 2, 32), nn.ReLU(), nn.Linear(32, 1))
        nn.init.constant_(self.mask.bias, -2.0)  # type: ignore[arg-type]

    def embed(self, image: Tensor) -> list[Tensor]:
        """Features of (N, 1, S, S) squares in [0, 1], S a multiple of 16, at a half to a sixteenth of the side."""
        return self.encoder(image - 0.5)[1:]

    def answer(self, features: list[Tensor], planes: Tensor) -> Answer:
        """Candidates for the prompts in ``planes`` (N, 6, S, S)."""
        said, flow = [], planes
        for block in self.prompts:
            flow = block(flow)
            said.append(flow)
        drawn = torch.cat([features[-1], said[-1]], 1)
        for depth, block in enumerate(self.decoder):
            if depth:
                drawn = F.interpolate(drawn, scale_factor=2.0, mode="nearest")
                drawn = torch.cat([drawn, features[-1 - depth], said[-1 - depth]], 1)
            drawn = block(drawn)
        half = self.mask(drawn)
        return Answer(F.interpolate(half, scale_factor=2.0, mode="bilinear"), self._judged(drawn, half))

    def forward(self, image: Tensor, planes: Tensor) -> Answer:
        """Candidates for squares and prompts in one pass."""
        return self.answer(self.embed(image), planes)

    def train(self, mode: bool = True) -> ClickNetwork:
        """As `nn.Module.train`; the encoder's batch statistics stay those that it came with."""
        super().train(mode)
        self.encoder.eval()
        return self

    def _judged(self, drawn: Tensor, half: Tensor) -> Tensor:
        """Quality logits (N, 3) from what the decoder saw under each candidate, its size and how sure it is."""
        sure = half.detach().sigmoid().flatten(2)
        size = sure.mean(2)
        under = torch.einsum("ncp,nkp->nkc", drawn.flatten(2), sure) / (sure.sum(2, keepdim=True) + 1.0)
        doubt = (sure * (1 - sure)).mean(2) / (size + 1e-3)
        return self.quality(torch.cat([under, size.sqrt()[..., None], doubt[..., None]], 2))[..., 0]


class Embedder(nn.Module):
    """The encoder as it is exported."""

    def __init__(self, network: ClickNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Features of (N, 1, S, S) squares, finest first."""
        return tuple(self.network.embed(image))


class Answerer(nn.Module):
    """The decoder as it is exported."""

    def __init__(self, network: ClickNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, half: Tensor, quarter: Tensor, eighth: Tensor, sixteenth: Tensor, planes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Probabilities (N, 3, S, S) of the candidates' pixels and their predicted IoU (N, 3)."""
        said = self.network.answer([half, quarter, eighth, sixteenth], planes)
        return said.mask.sigmoid(), said.quality.sigmoid()


def _block(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )
