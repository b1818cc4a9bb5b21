"""Names of tensors in the checkpoints of SAM's authors, and of MedSAM and others who train with their code.

The published ``.pth`` files name the same tensors otherwise than transformers does; this is the dictionary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

MARK = "image_encoder."  # what the encoder's names begin with in the original, and in nothing of transformers
POSITIONS = "shared_image_embedding.positional_embedding"
_RULES = (
    (r"^image_encoder\.blocks\.", "vision_encoder.layers."),
    (r"^image_encoder\.neck\.0\.", "vision_encoder.neck.conv1."),
    (r"^image_encoder\.neck\.1\.", "vision_encoder.neck.layer_norm1."),
    (r"^image_encoder\.neck\.2\.", "vision_encoder.neck.conv2."),
    (r"^image_encoder\.neck\.3\.", "vision_encoder.neck.layer_norm2."),
    (r"^image_encoder\.patch_embed\.proj\.", "vision_encoder.patch_embed.projection."),
    (r"^image_encoder\.", "vision_encoder."),
    (r"^(vision_encoder\.layers\.\d+)\.norm([12])\.", r"\1.layer_norm\2."),
    (r"^prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix$", POSITIONS),
    (r"^prompt_encoder\.point_embeddings\.", "prompt_encoder.point_embed."),
    (r"^prompt_encoder\.mask_downscaling\.0\.", "prompt_encoder.mask_embed.conv1."),
    (r"^prompt_encoder\.mask_downscaling\.1\.", "prompt_encoder.mask_embed.layer_norm1."),
    (r"^prompt_encoder\.mask_downscaling\.3\.", "prompt_encoder.mask_embed.conv2."),
    (r"^prompt_encoder\.mask_downscaling\.4\.", "prompt_encoder.mask_embed.layer_norm2."),
    (r"^prompt_encoder\.mask_downscaling\.6\.", "prompt_encoder.mask_embed.conv3."),
    (r"^(mask_decoder\.transformer\.layers\.\d+)\.norm(\d)\.", r"\1.layer_norm\2."),
    (r"^mask_decoder\.transformer\.norm_final_attn\.", "mask_decoder.transformer.layer_norm_final_attn."),
    (r"^mask_decoder\.output_upscaling\.0\.", "mask_decoder.upscale_conv1."),
    (r"^mask_decoder\.output_upscaling\.1\.", "mask_decoder.upscale_layer_norm."),
    (r"^mask_decoder\.output_upscaling\.3\.", "mask_decoder.upscale_conv2."),
    (r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.layers\.0\.", r"\1.proj_in."),
    (r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.layers\.2\.", r"\1.proj_out."),
    (r"^(mask_decoder\.(?:output_hypernetworks_mlps\.\d+|iou_prediction_head))\.layers\.1\.", r"\1.layers.0."),
)
_MEMORY = ("sam_mask_decoder.", "sam_prompt_encoder.")  # of SAM 2's own checkpoints, whose names are others again


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names that transformers gives them; a state that has them already comes back as it is.

    Examples
    --------
    >>> list(renamed({"image_encoder.blocks.0.norm1.weight": None, "mask_decoder.iou_token.weight": None}))
    ['vision_encoder.layers.0.layer_norm1.weight', 'mask_decoder.iou_token.weight']
    >>> list(renamed({"vision_encoder.pos_embed": None}))
    ['vision_encoder.pos_embed']
    """
    if not any(name.startswith(MARK) for name in state):
        return dict(state)
    return {_renamed(name): tensor for name, tensor in state.items()}


def of_sam2(state: Mapping[str, Tensor]) -> bool:
    """Whether the names are those of SAM 2's authors, which `renamed` does not know.

    Examples
    --------
    >>> of_sam2({"sam_mask_decoder.iou_token.weight": None}), of_sam2({"mask_decoder.iou_token.weight": None})
    (True, False)
    """
    return any(name.startswith(_MEMORY) for name in state)


def _renamed(name: str) -> str:
    for pattern, new in _RULES:
        name = re.sub(pattern, new, name)
    return name
