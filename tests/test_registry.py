"""The registry against the libraries that build its networks, and against published sizes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tumorscope import registry
from tumorscope.errors import WeightsError
from tumorscope.registry import ENTRIES, Entry

TIMM = [one for one in ENTRIES if one.library == "timm"]
PUBLISHED = {  # millions of parameters, from the papers' tables or from the model cards of timm and Keras
    "vgg16": 138, "vgg19": 144, "resnet50": 25.6, "resnet18": 11.7, "resnet34": 21.8, "resnet34.tv_in1k": 21.8,
    "tf_efficientnetv2_l": 119, "convnext_base": 89, "convnext_atto": 3.7, "convnext_nano": 15.6,
    "vit_base_patch16_224": 86.6, "vit_tiny_patch16_224": 5.7, "mobilenetv3_small_100": 2.5, "efficientnet_b0": 5.3,
    "sam2.1-hiera-tiny": 38.9, "sam2.1-hiera-small": 46, "sam2.1-hiera-base-plus": 80.8, "sam2.1-hiera-large": 224.4,
}  # fmt: skip
SAM_ENCODERS = {"sam-vit-base": 91, "sam-vit-large": 308, "sam-vit-huge": 636}  # Kirillov et al.
SAM_SHAPES = {
    "sam-vit-base": {},
    "sam-vit-large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "mlp_dim": 4096},
    "sam-vit-huge": {"hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 16, "mlp_dim": 5120},
}
HIERA = {  # width, blocks in each stage, extent of the positions
    "sam2.1-hiera-tiny": (96, [1, 2, 7, 2], 7),
    "sam2.1-hiera-small": (96, [1, 2, 11, 2], 7),
    "sam2.1-hiera-base-plus": (112, [2, 3, 16, 3], 14),
    "sam2.1-hiera-large": (144, [2, 6, 36, 4], 7),
}


def size(module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def named(entry: Entry) -> str:
    return entry.name


@pytest.mark.parametrize("entry", TIMM, ids=named)
def test_preprocessing_origin_and_licence_are_those_that_timm_states(entry: Entry) -> None:
    import timm

    stated = timm.models.get_pretrained_cfg(entry.name)
    assert (entry.mean, entry.std) == (stated.mean, stated.std)
    assert (entry.input_size, entry.interpolation) == (stated.input_size, stated.interpolation)
    assert (entry.hub_id, entry.tag, entry.builds) == (stated.hf_hub_id, stated.tag, stated.architecture)
    assert entry.licence.lower() == stated.license.lower()


@pytest.mark.parametrize("entry", TIMM, ids=named)
def test_parameters_of_classifiers(entry: Entry) -> None:
    import timm
    import torch

    with torch.device("meta"):
        assert size(timm.create_model(entry.builds)) == entry.parameters


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_agree_with_what_was_published(name: str) -> None:
    assert registry.entry(name).parameters / 1e6 == pytest.approx(PUBLISHED[name], rel=0.02)


@pytest.mark.parametrize("name", SAM_SHAPES)
def test_parameters_of_sam(name: str) -> None:
    import torch
    from transformers import SamConfig, SamModel, SamVisionConfig

    with torch.device("meta"):
        model = SamModel(SamConfig(vision_config=SamVisionConfig(**SAM_SHAPES[name])))
    assert size(model) == registry.entry(name).parameters
    assert size(model.vision_encoder) / 1e6 == pytest.approx(SAM_ENCODERS[name], rel=0.02)


@pytest.mark.parametrize("name", HIERA)
def test_parameters_of_sam2(name: str) -> None:
    import torch
    from transformers import Sam2HieraDetConfig, Sam2VideoConfig, Sam2VideoModel, Sam2VisionConfig

    width, blocks, extent = HIERA[name]
    widths = [width * 2**stage for stage in range(4)]
    backbone = Sam2HieraDetConfig(
        hidden_size=width,
        embed_dim_per_stage=widths,
        blocks_per_stage=blocks,
        window_positional_embedding_background_size=[extent, extent],
    )
    vision = Sam2VisionConfig(backbone_config=backbone, backbone_channel_list=widths[::-1])
    with torch.device("meta"):
        model = Sam2VideoModel(Sam2VideoConfig(vision_config=vision))
    assert size(model) == registry.entry(name).parameters


def test_parameters_of_segformers_encoder() -> None:
    import torch
    from transformers import SegformerConfig, SegformerForImageClassification

    with torch.device("meta"):
        model = SegformerForImageClassification(SegformerConfig(num_labels=1000))
    assert size(model) == registry.entry("mit-b0").parameters
    assert size(model.segformer) / 1e6 == pytest.approx(3.4, rel=0.03)  # Xie et al.


def test_preprocessing_of_transformers_is_what_its_processors_do() -> None:
    from transformers import Sam2ImageProcessor, SamImageProcessor, SegformerImageProcessor

    processors = {"sam-": SamImageProcessor(), "sam2": Sam2ImageProcessor(), "mit-": SegformerImageProcessor()}
    for one in ENTRIES:
        if one.library == "transformers":
            stated = processors[one.name[:4]]
            assert (one.mean, one.std) == (tuple(stated.image_mean), tuple(stated.image_std))
            assert {2: "bilinear", 3: "bicubic"}[int(stated.resample)] == one.interpolation
            if one.task == "promptable":
                assert max(value for value in dict(stated.size).values() if value) == one.input_size[1]


def test_every_backbone_of_the_mission_is_there() -> None:
    mission = {"vgg16", "resnet50", "tf_efficientnetv2_l", "convnext_base", "vit_base_patch16_224"}
    assert mission <= set(registry.names("classify"))
    assert {"vgg19", "resnet34.tv_in1k", "mit-b0"} == set(registry.names("segment"))
    assert {"sam-vit-base", "sam-vit-large", "sam-vit-huge"} <= set(registry.names("promptable"))


def test_entries_are_whole() -> None:
    assert len({one.name for one in ENTRIES}) == len({one.hub_id for one in ENTRIES}) == len(ENTRIES)
    assert len({one.tagged for one in ENTRIES}) == len(ENTRIES)
    for one in ENTRIES:
        assert one.task in registry.TASKS and one.library in registry.LIBRARIES
        assert one.architecture and re.search(r"(19|20)\d\d", one.paper)
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", one.hub_id)
        assert one.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", one.sha256)
        assert len(one.mean) == len(one.std) == one.input_size[0] == 3


def test_only_segformers_weights_are_non_commercial() -> None:
    assert [one.name for one in ENTRIES if not one.commercial] == ["mit-b0"]
    assert {one.licence for one in ENTRIES if one.commercial} == {"Apache-2.0", "BSD-3-Clause"}


def test_the_licence_table_of_the_docs_has_them_all(repository: Path) -> None:
    page = (repository / "docs" / "how-to" / "pretrained-weights.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    table = {name: row for row in rows for name in row[0].split(", ")}
    for one in ENTRIES:
        assert table[one.name][2].startswith(one.licence)
        assert ("**no**" in table[one.name][3]) is not one.commercial


def test_unknown_names_and_tasks() -> None:
    with pytest.raises(WeightsError, match="did you mean 'convnext_base'"):
        registry.entry("convnext-base")
    with pytest.raises(WeightsError, match="did you mean 'classify'"):
        registry.names("clasify")
    assert len(registry.names()) == len(ENTRIES)


def test_it_is_light() -> None:
    import subprocess
    import sys

    code = "import sys, tumorscope.registry; print(*{'numpy', 'torch', 'pydantic'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
