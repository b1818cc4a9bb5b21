"""Shapes of the published networks of SAM and SAM 2, as configurations of transformers."""

from __future__ import annotations

from transformers import (
    PretrainedConfig,
    Sam2Config,
    Sam2HieraDetConfig,
    Sam2MaskDecoderConfig,
    Sam2PromptEncoderConfig,
    Sam2VisionConfig,
    SamConfig,
    SamMaskDecoderConfig,
    SamPromptEncoderConfig,
    SamVisionConfig,
)

from tumorscope.errors import WeightsError, look_up

VITS: dict[str, dict] = {  # Kirillov et al., "Segment anything", ICCV 2023: ViT-B, L and H
    "sam-vit-base": {},
    "sam-vit-large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "global_attn_indexes": [5, 11, 17, 23],
    },
    "sam-vit-huge": {
        "hidden_size": 1280,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "global_attn_indexes": [7, 15, 23, 31],
    },
}
# Ravi et al., "SAM 2", ICLR 2025: width of the first stage, its heads, blocks in each stage, side of the background of
# the positions, windows of each stage, blocks with global attention.
HIERAS: dict[str, tuple[int, int, list[int], int, list[int], list[int]]] = {
    "sam2.1-hiera-tiny": (96, 1, [1, 2, 7, 2], 7, [8, 4, 14, 7], [5, 7, 9]),
    "sam2.1-hiera-small": (96, 1, [1, 2, 11, 2], 7, [8, 4, 14, 7], [7, 10, 13]),
    "sam2.1-hiera-base-plus": (112, 2, [2, 3, 16, 3], 14, [8, 4, 14, 7], [12, 16, 20]),
    "sam2.1-hiera-large": (144, 2, [2, 6, 36, 4], 7, [8, 4, 16, 8], [23, 33, 43]),
}
NAMES = (*VITS, *HIERAS)


def configuration(name: str) -> PretrainedConfig:
    """The shape of a published network.

    Parameters
    ----------
    name : str
        As `registry` calls it.

    Raises
    ------
    WeightsError
        For an unknown name, with the nearest one.

    Examples
    --------
    >>> configuration("sam-vit-large").vision_config.num_hidden_layers
    24
    >>> configuration("sam2.1-hiera-tiny").vision_config.backbone_channel_list
    [768, 384, 192, 96]
    """
    look_up(name, NAMES, "promptable network", WeightsError)
    if name in VITS:
        return SamConfig(vision_config=SamVisionConfig(**VITS[name]))
    width, heads, blocks, extent, windows, everywhere = HIERAS[name]
    widths = [width * 2**stage for stage in range(4)]
    backbone = Sam2HieraDetConfig(
        hidden_size=width,
        num_attention_heads=heads,
        embed_dim_per_stage=widths,
        num_attention_heads_per_stage=[heads * 2**stage for stage in range(4)],
        blocks_per_stage=blocks,
        window_positional_embedding_background_size=[extent, extent],
        window_size_per_stage=windows,
        global_attention_blocks=everywhere,
    )
    return Sam2Config(vision_config=Sam2VisionConfig(backbone_config=backbone, backbone_channel_list=widths[::-1]))


def tiny(*, second: bool = False) -> PretrainedConfig:
    """The shape of a SAM, or of a SAM 2, on a square of 64 px and of some hundred thousand parameters, for tests.

    Examples
    --------
    >>> tiny().vision_config.num_hidden_layers, tiny(second=True).vision_config.backbone_feature_sizes
    (2, [[16, 16], [8, 8], [4, 4]])
    """
    prompts: dict = {"hidden_size": 32, "image_size": 64, "mask_input_channels": 16}
    decoder: dict = {
        "hidden_size": 32,
        "mlp_dim": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 16,
    }
    if not second:
        vision = SamVisionConfig(
            hidden_size=32,
            output_channels=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=64,
            patch_size=8,
            num_pos_feats=16,
            window_size=4,
            global_attn_indexes=[1],
            mlp_dim=64,
            initializer_range=0.02,
        )
        return SamConfig(
            vision_config=vision,
            prompt_encoder_config=SamPromptEncoderConfig(patch_size=8, **prompts),
            mask_decoder_config=SamMaskDecoderConfig(**decoder),
        )
    backbone = Sam2HieraDetConfig(
        hidden_size=8,
        image_size=[64, 64],
        embed_dim_per_stage=[8, 16, 32, 64],
        blocks_per_stage=[1, 1, 2, 1],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        window_size_per_stage=[4, 4, 4, 2],
        global_attention_blocks=[3],
    )
    sizes: dict = {"backbone_channel_list": [64, 32, 16, 8], "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]]}
    return Sam2Config(
        vision_config=Sam2VisionConfig(backbone_config=backbone, fpn_hidden_size=32, **sizes),
        prompt_encoder_config=Sam2PromptEncoderConfig(**prompts),
        mask_decoder_config=Sam2MaskDecoderConfig(**decoder),
    )
