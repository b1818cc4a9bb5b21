"""How a slice becomes the square that SAM, SAM 2 or MedSAM was trained on, and how answers come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tumorscope.imaging.intensity import normalize

PADDED, STRETCHED, MEDSAM = "sam", "sam2", "medsam"
FRAMES = (PADDED, STRETCHED, MEDSAM)
PRIMES = 255.0  # grey values of the pictures that all of them were trained on


@dataclass(frozen=True)
class Frame:
    """The way of one kind of network from a slice to its square.

    Grey values between the 0.5 and the 99.5 percentile become 0 to 255 and three equal channels, as MedSAM's authors do
    for MRI; then the picture is prepared as the network's own processor in transformers prepares it.

    Parameters
    ----------
    kind : {"sam", "sam2", "medsam"}
        ``sam``: the longer side fills the square, the rest is padded below or on the right; ImageNet's mean and
        standard deviation. ``sam2``: both sides are stretched; the same normalisation. ``medsam``: both sides are
        stretched bicubically and pixels brought to 0…1, as its authors' code does.
    side : int
        Of the square, in pixels.

    References
    ----------
    .. [1] Ma et al., "Segment anything in medical images", Nature Communications 15, 2024.
    """

    kind: str
    side: int

    def pixels(self, image: NDArray) -> Tensor:
        """(1, 3, S, S) float32 tensor of a (H, W) slice of any intensity scale."""
        grey = torch.from_numpy(normalize(image)).mul(PRIMES).round().to(torch.uint8)
        picture = grey.expand(3, *grey.shape)
        options: dict[str, Any] = {"return_tensors": "pt", "input_data_format": "channels_first"}
        found: Tensor = self._processor()(picture, **options)["pixel_values"].float()
        if self.kind == MEDSAM:
            low, high = found.amin(), found.amax()
            found = (found - low) / (high - low).clamp(min=1e-8)
        return found

    def inside(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the square that a slice of this shape fills.

        Examples
        --------
        >>> Frame("sam", 64).inside((10, 20)), Frame("sam2", 64).inside((10, 20))
        ((32, 64), (64, 64))
        """
        if self.kind != PADDED:
            return self.side, self.side
        scale = self.side / max(shape)
        return max(1, int(shape[0] * scale + 0.5)), max(1, int(shape[1] * scale + 0.5))

    def points(self, points: NDArray, shape: tuple[int, int]) -> Tensor:
        """(..., 2) rows and columns on the slice as columns and rows on the square, float32.

        Examples
        --------
        >>> import numpy as np
        >>> Frame("sam", 64).points(np.array([[5.0, 10.0]]), (10, 20)).tolist()
        [[32.0, 16.0]]
        """
        inside = self.inside(shape)
        moved = torch.as_tensor(points, dtype=torch.float32)
        moved = moved * torch.tensor([inside[0] / shape[0], inside[1] / shape[1]])
        return moved.flip(-1)

    def back(self, logits: Tensor, shape: tuple[int, int]) -> Tensor:
        """(N, h, w) maps of the square on the slice's grid, (N, H, W): upsampled, unpadded, resized."""
        whole = F.interpolate(logits[None], (self.side, self.side), mode="bilinear", align_corners=False)
        rows, columns = self.inside(shape)
        return F.interpolate(whole[..., :rows, :columns], shape, mode="bilinear", align_corners=False)[0]

    def mask(self, mask: NDArray, size: int) -> Tensor:
        """(1, 1, s, s) float32 share of a (H, W) mask in each cell of the square that the network's maps have."""
        rows, columns = self.inside((mask.shape[0], mask.shape[1]))
        plane = torch.from_numpy(mask).float()[None, None]
        fitted = F.interpolate(plane, (rows, columns), mode="bilinear", align_corners=False, antialias=True)
        padded = F.pad(fitted, (0, self.side - columns, 0, self.side - rows))
        return F.interpolate(padded, (size, size), mode="bilinear", align_corners=False, antialias=True)

    def _processor(self) -> Any:
        from transformers import Sam2ImageProcessor, SamImageProcessor

        square = {"height": self.side, "width": self.side}
        if self.kind == PADDED:
            return SamImageProcessor(size={"longest_edge": self.side}, pad_size=square)
        if self.kind == STRETCHED:
            return Sam2ImageProcessor(size=square)
        return Sam2ImageProcessor(size=square, resample=3, do_normalize=False)  # 3: PIL's bicubic
