"""SAM and SAM 2 behind one face: NumPy arrays in, NumPy arrays out, an image embedded once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import Sam2Model, SamModel

from tumorscope.models.promptable.frames import Frame

FEATURE = "feature{}"  # names of the arrays of an embedding, the finest first
CERTAIN = 8.0  # log-odds that a mask drawn by hand is given where it enters as the answer before


class Answers(NamedTuple):
    """What the network says of one set of prompts, in the order of its own mask tokens.

    ``masks`` (N, H, W) log-odds on the slice's grid, ``quality`` (N,) predicted IoU in 0…1, ``maps`` (N, s, s)
    log-odds as the network made them, which it takes as the answer before.
    """

    masks: NDArray[np.float32]
    quality: NDArray[np.float32]
    maps: NDArray[np.float32]


@dataclass(frozen=True)
class PromptableNetwork:
    """A network with its preparation of slices.

    Parameters
    ----------
    model : SamModel or Sam2Model
    frame : Frame
        How a slice becomes its square.
    single : bool
        Whether only the answer for one mask was trained, as in MedSAM and in fine-tuned decoders: then it gives that
        answer alone, and its predicted IoU means nothing.
    """

    model: Any = field(repr=False)
    frame: Frame
    single: bool = False

    @classmethod
    def of(cls, model: SamModel | Sam2Model, kind: str, single: bool = False) -> PromptableNetwork:
        """A model in evaluation mode, prepared as ``kind`` of `frames.FRAMES`."""
        if single and isinstance(model, Sam2Model):
            model.mask_decoder.dynamic_multimask_via_stability = False  # else it may give one of the other answers
        return cls(model.eval(), Frame(kind, _side(model)), single)

    @property
    def second(self) -> bool:
        """Whether it is a SAM 2."""
        return isinstance(self.model, Sam2Model)

    @property
    def map_size(self) -> int:
        """Side of the maps that it makes and takes."""
        config = self.model.config.prompt_encoder_config
        return 4 * int(config.image_size) // int(config.patch_size)

    def embed(self, image: NDArray) -> dict[str, NDArray[np.float32]]:
        """Features of a (H, W) slice: one array for SAM, three for SAM 2, each (C, h, w)."""
        with torch.inference_mode():
            found = self.model.get_image_embeddings(self.frame.pixels(image).to(self.device))
        levels = found if isinstance(found, list | tuple) else [found]
        return {FEATURE.format(number): one[0].float().cpu().numpy() for number, one in enumerate(levels)}

    def answer(
        self,
        embedding: dict[str, NDArray],
        shape: tuple[int, int],
        *,
        points: NDArray | None = None,
        labels: NDArray | None = None,
        box: NDArray | None = None,
        before: NDArray | None = None,
    ) -> Answers:
        """Masks for one set of prompts.

        Parameters
        ----------
        embedding : dict
            From `embed`.
        shape : (int, int)
            Of the slice.
        points : (P, 2) array or None
            Rows and columns on the slice.
        labels : (P,) int array or None
            1 where the lesion is, 0 where it is not.
        box : (4,) array or None
            Top, left, bottom, right.
        before : (s, s) or (H, W) array or None
            Log-odds of the answer to be corrected as `Answers.maps` holds them, or a boolean mask of the slice.
        """
        prompts = self.prompts(shape, points, labels, box, before)
        features = [torch.from_numpy(np.asarray(one))[None].to(self.device) for one in _levels(embedding)]
        with torch.inference_mode():
            found = self.model(
                image_embeddings=features if self.second else features[0],
                multimask_output=not self.single,
                **{name: value.to(self.device) for name, value in prompts.items()},
            )
            maps = found.pred_masks[0, 0].float().cpu()
            masks = self.frame.back(maps, shape)
        quality = found.iou_scores[0, 0].float().cpu().clamp(0, 1)
        return Answers(masks.numpy(), quality.numpy(), maps.numpy())

    def prompts(
        self,
        shape: tuple[int, int],
        points: NDArray | None = None,
        labels: NDArray | None = None,
        box: NDArray | None = None,
        before: NDArray | None = None,
    ) -> dict[str, Tensor]:
        """Prompts on the slice as the model takes them; parameters as for `answer`."""
        found: dict[str, Tensor] = {}
        if points is not None and labels is not None and len(points):
            found["input_points"] = self.frame.points(points, shape)[None, None]
            found["input_labels"] = torch.as_tensor(np.asarray(labels), dtype=torch.int32)[None, None]
        if box is not None:
            corners = self.frame.points(np.asarray(box, np.float32).reshape(2, 2), shape)
            found["input_boxes"] = corners.reshape(1, 1, 4)
        if before is not None:
            found["input_masks"] = self._before(np.asarray(before))
            if not self.second and box is None and "input_points" not in found:
                # SAM's decoder wants a token for a prompt: a point that is none
                found["input_points"] = torch.zeros(1, 1, 1, 2)
                found["input_labels"] = torch.full((1, 1, 1), -1, dtype=torch.int32)
        return found

    @property
    def device(self) -> torch.device:
        """Where its weights lie."""
        return next(self.model.parameters()).device

    @property
    def decoder(self) -> nn.Module:
        """The part that learns when a decoder is fine-tuned."""
        decoder: nn.Module = self.model.mask_decoder
        return decoder

    def _before(self, before: NDArray) -> Tensor:
        """The answer to be corrected as (1, 1, s, s) log-odds."""
        if before.dtype == bool:
            return (2 * self.frame.mask(before, self.map_size) - 1) * CERTAIN
        return torch.as_tensor(before, dtype=torch.float32)[None, None]


def _side(model: SamModel | Sam2Model) -> int:
    prompts: Any = model.config.prompt_encoder_config
    return int(prompts.image_size)


def _levels(embedding: dict[str, NDArray]) -> list[NDArray]:
    return [embedding[FEATURE.format(number)] for number in range(len(embedding))]
