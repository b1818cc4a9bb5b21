"""Weights of the SAM family: folders, files, names of the authors, offline folders, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from transformers import Sam2Model, SamModel

from tumorscope import registry
from tumorscope.errors import WeightsError
from tumorscope.models.promptable import loading
from tumorscope.models.promptable.architectures import HIERAS, NAMES, VITS, configuration, tiny
from tumorscope.models.promptable.loading import load, random_network, save
from tumorscope.models.promptable.network import PromptableNetwork
from tumorscope.models.promptable.original_names import renamed

# What SAM's authors call the tensors, each beside its name in transformers: one of every kind, read off their modules.
ORIGINAL = {
    "image_encoder.pos_embed": "vision_encoder.pos_embed",
    "image_encoder.patch_embed.proj.bias": "vision_encoder.patch_embed.projection.bias",
    "image_encoder.blocks.1.attn.rel_pos_h": "vision_encoder.layers.1.attn.rel_pos_h",
    "image_encoder.blocks.1.norm2.weight": "vision_encoder.layers.1.layer_norm2.weight",
    "image_encoder.blocks.0.mlp.lin1.weight": "vision_encoder.layers.0.mlp.lin1.weight",
    "image_encoder.neck.0.weight": "vision_encoder.neck.conv1.weight",
    "image_encoder.neck.1.bias": "vision_encoder.neck.layer_norm1.bias",
    "image_encoder.neck.2.weight": "vision_encoder.neck.conv2.weight",
    "image_encoder.neck.3.bias": "vision_encoder.neck.layer_norm2.bias",
    "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix": "shared_image_embedding.positional_embedding",
    "prompt_encoder.point_embeddings.2.weight": "prompt_encoder.point_embed.2.weight",
    "prompt_encoder.mask_downscaling.0.weight": "prompt_encoder.mask_embed.conv1.weight",
    "prompt_encoder.mask_downscaling.1.weight": "prompt_encoder.mask_embed.layer_norm1.weight",
    "prompt_encoder.mask_downscaling.3.weight": "prompt_encoder.mask_embed.conv2.weight",
    "prompt_encoder.mask_downscaling.4.weight": "prompt_encoder.mask_embed.layer_norm2.weight",
    "prompt_encoder.mask_downscaling.6.weight": "prompt_encoder.mask_embed.conv3.weight",
    "mask_decoder.transformer.layers.0.norm4.weight": "mask_decoder.transformer.layers.0.layer_norm4.weight",
    "mask_decoder.transformer.norm_final_attn.bias": "mask_decoder.transformer.layer_norm_final_attn.bias",
    "mask_decoder.output_upscaling.0.weight": "mask_decoder.upscale_conv1.weight",
    "mask_decoder.output_upscaling.1.weight": "mask_decoder.upscale_layer_norm.weight",
    "mask_decoder.output_upscaling.3.weight": "mask_decoder.upscale_conv2.weight",
    "mask_decoder.output_hypernetworks_mlps.3.layers.0.bias": "mask_decoder.output_hypernetworks_mlps.3.proj_in.bias",
    "mask_decoder.output_hypernetworks_mlps.3.layers.1.bias": "mask_decoder.output_hypernetworks_mlps.3.layers.0.bias",
    "mask_decoder.iou_prediction_head.layers.2.weight": "mask_decoder.iou_prediction_head.proj_out.weight",
}
WORDS = (  # the same dictionary backwards, by piece, to turn a whole state into the authors' names
    ("vision_encoder.layers.", "image_encoder.blocks."), ("vision_encoder.neck.conv1", "image_encoder.neck.0"),
    ("vision_encoder.neck.layer_norm1", "image_encoder.neck.1"), ("vision_encoder.neck.conv2", "image_encoder.neck.2"),
    ("vision_encoder.neck.layer_norm2", "image_encoder.neck.3"), ("patch_embed.projection", "patch_embed.proj"),
    ("vision_encoder.", "image_encoder."), ("mask_embed.conv1", "mask_downscaling.0"),
    ("shared_image_embedding.positional_embedding", "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
    ("mask_embed.layer_norm1", "mask_downscaling.1"), ("mask_embed.conv2", "mask_downscaling.3"),
    ("mask_embed.layer_norm2", "mask_downscaling.4"), ("mask_embed.conv3", "mask_downscaling.6"),
    ("point_embed.", "point_embeddings."), ("upscale_conv1", "output_upscaling.0"),
    ("upscale_layer_norm", "output_upscaling.1"), ("upscale_conv2", "output_upscaling.3"),
    ("not_a_point_embeddings.", "not_a_point_embed."), ("layer_norm", "norm"),
)  # fmt: skip


def in_the_authors_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    found = {}
    for name, value in state.items():
        if name == loading.TIED:
            continue
        if "mlps" in name or "iou_prediction_head" in name:
            name = (
                name.replace(".layers.0.", ".layers.1.").replace("proj_in", "layers.0").replace("proj_out", "layers.2")
            )
        for ours, theirs in WORDS:
            name = name.replace(ours, theirs)
        found[name] = value.clone()
    return found


def same(one: PromptableNetwork, other: PromptableNetwork, image: NDArray) -> bool:
    box = np.array([10.0, 12.0, 40.0, 60.0])
    first, second = (net.answer(net.embed(image), image.shape, box=box) for net in (one, other))
    return bool(np.array_equal(first.maps, second.maps))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry's names stand for tiny shapes."""
    monkeypatch.setattr(loading, "configuration", lambda name: tiny(second="sam2" in name))


class TestArchitectures:
    def test_they_are_those_of_the_registry(self) -> None:
        assert set(NAMES) == set(registry.names("promptable"))

    @pytest.mark.parametrize("name", VITS)
    def test_sam_has_as_many_parameters_as_published(self, name: str) -> None:
        with torch.device("meta"):
            model = SamModel(configuration(name))
        assert sum(one.numel() for one in model.parameters()) == registry.entry(name).parameters

    @pytest.mark.parametrize("name", HIERAS)
    def test_sam2_has_the_image_part_of_the_published_video_model(self, name: str) -> None:
        from transformers import Sam2VideoConfig, Sam2VideoModel

        shape = configuration(name)
        with torch.device("meta"):
            ours, video = Sam2Model(shape), Sam2VideoModel(Sam2VideoConfig(vision_config=shape.vision_config))
        assert sum(one.numel() for one in video.parameters()) == registry.entry(name).parameters
        theirs = {name: value.shape for name, value in video.state_dict().items()}
        assert all(theirs[name] == value.shape for name, value in ours.state_dict().items())


class TestLoading:
    def test_a_folder_comes_back_as_it_was(self, network: PromptableNetwork, image: NDArray, tmp_path: Path) -> None:
        save(network, tmp_path / "kept", name="sam-vit-base", single=False)
        loaded = load("sam-vit-base", tmp_path / "kept")
        assert same(loaded.network, network, image)
        assert len(loaded.sha256) == 64 and loaded.network.frame == network.frame

    def test_what_is_saved_is_read_by_the_library(self, image: NDArray, tmp_path: Path) -> None:
        network = random_network(tiny())
        save(network, tmp_path, name="sam-vit-base", single=False)
        assert same(PromptableNetwork.of(SamModel.from_pretrained(tmp_path), "sam"), network, image)

    def test_single_answers_and_frames_are_remembered(self, tmp_path: Path) -> None:
        network = PromptableNetwork.of(random_network(tiny()).model, "medsam")
        save(network, tmp_path, name="sam-vit-base", single=True)
        loaded = load("sam-vit-base", tmp_path).network
        assert loaded.single and loaded.frame.kind == "medsam"

    @pytest.mark.parametrize("name", ["sam-vit-base", "sam2.1-hiera-tiny"])
    def test_an_offline_folder_is_checked_by_its_sums(
        self, name: str, image: NDArray, tmp_path: Path, small: None, sums: Callable[[Path], None]
    ) -> None:
        network = random_network(tiny(second="sam2" in name), seed=4)
        folder = tmp_path / f"facebook--{name}"
        save(network, folder, name=name, single=False)
        sums(tmp_path)
        assert same(load(name, offline=tmp_path).network, network, image)
        (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  facebook--{name}/model.safetensors\n")
        with pytest.raises(WeightsError, match="sha256"):
            load(name, offline=tmp_path)

    def test_weights_of_sam2s_video_model_serve(self, image: NDArray, tmp_path: Path, small: None) -> None:
        network = random_network(tiny(second=True))
        state = {name: value.clone() for name, value in network.model.state_dict().items()}
        save_file(state | {"memory_attention.layers.0.weight": torch.ones(2)}, tmp_path / "video.safetensors")
        assert same(load("sam2.1-hiera-tiny", tmp_path / "video.safetensors").network, network, image)

    def test_medsams_checkpoint_in_the_authors_names(self, image: NDArray, tmp_path: Path, small: None) -> None:
        network = random_network(tiny(), seed=2)
        state = in_the_authors_names(network.model.state_dict())
        assert set(state) & set(network.model.state_dict()) and "image_encoder.blocks.1.norm2.weight" in state
        torch.save({"model": state, "epoch": 3}, tmp_path / "medsam_vit_b.pth")
        torch.save(state, tmp_path / "sam_vit_b.pth")
        medsam = load("sam-vit-base", tmp_path / "medsam_vit_b.pth").network
        plain = load("sam-vit-base", tmp_path / "sam_vit_b.pth").network
        assert same(plain, network, image)
        assert (medsam.frame.kind, medsam.single, plain.frame.kind, plain.single) == ("medsam", True, "sam", False)
        assert same(medsam, PromptableNetwork.of(network.model, "medsam", single=True), image)

    def test_each_kind_of_name(self) -> None:
        assert list(renamed(dict.fromkeys(ORIGINAL))) == list(ORIGINAL.values())  # type: ignore[arg-type]


class TestRefusals:
    def test_another_architecture(self, tmp_path: Path, small: None) -> None:
        save_file({"layer.weight": torch.ones(2, 2)}, tmp_path / "x.safetensors")
        with pytest.raises(WeightsError, match=r"lacks .* give weights of this architecture"):
            load("sam-vit-base", tmp_path / "x.safetensors")

    def test_a_value_that_is_no_number(self, tmp_path: Path, small: None) -> None:
        state = {name: value.clone() for name, value in random_network(tiny()).model.state_dict().items()}
        state["mask_decoder.iou_token.weight"][0, 0] = torch.nan
        save_file(state, tmp_path / "x.safetensors")
        with pytest.raises(WeightsError, match="not finite"):
            load("sam-vit-base", tmp_path / "x.safetensors")

    def test_sam2_in_its_authors_names(self, tmp_path: Path, small: None) -> None:
        torch.save({"model": {"sam_mask_decoder.iou_token.weight": torch.ones(1, 2)}}, tmp_path / "sam2.pt")
        with pytest.raises(WeightsError, match="weights fetch sam2"):
            load("sam2.1-hiera-tiny", tmp_path / "sam2.pt")

    def test_folders_that_hold_something_else(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="no folder of a SAM"):
            load("sam-vit-base", tmp_path)
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
        with pytest.raises(WeightsError, match="kind of network 'bert'"):
            load("sam-vit-base", tmp_path)
        tiny().save_pretrained(tmp_path)
        with pytest.raises(WeightsError, match=r"no model\.safetensors"):
            load("sam-vit-base", tmp_path)

    def test_networks_that_take_no_prompts(self) -> None:
        with pytest.raises(WeightsError, match="promptable network 'resnet18'"):
            load("resnet18")
