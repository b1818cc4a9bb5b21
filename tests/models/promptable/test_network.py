"""SAM and SAM 2: their preparation against transformers' own processors, prompts, answers, previous masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tumorscope.imaging.intensity import normalize
from tumorscope.models.promptable.frames import FRAMES, Frame
from tumorscope.models.promptable.network import PromptableNetwork

BOX = np.array([10.0, 12.0, 40.0, 60.0])


class TestFrame:
    def test_points_boxes_and_masks_are_those_of_the_library(self, image: NDArray) -> None:
        from transformers import SamImageProcessor, SamProcessor

        processor = SamProcessor(SamImageProcessor(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}))
        processor.target_size = 64
        grey = np.rint(normalize(image) * 255).astype(np.uint8)
        theirs = processor(
            images=np.repeat(grey[..., None], 3, axis=2), input_points=[[[30, 20]]], input_boxes=[[[12, 10, 60, 40]]],
            return_tensors="pt",
        )  # fmt: skip
        frame = Frame("sam", 64)
        assert torch.allclose(frame.pixels(image), theirs["pixel_values"].float(), atol=1e-5)
        point = frame.points(np.array([[20.0, 30.0]]), image.shape)
        assert torch.allclose(point.double(), theirs["input_points"].reshape(1, 2).double(), atol=1e-4)
        corners = frame.points(BOX.reshape(2, 2), image.shape).reshape(1, 4)
        assert torch.allclose(corners.double(), theirs["input_boxes"].reshape(1, 4).double(), atol=1e-4)
        maps = torch.randn(3, 16, 16)
        sizes = theirs["original_sizes"], theirs["reshaped_input_sizes"]
        masks = processor.image_processor.post_process_masks([maps[None]], *sizes)[0][0]
        assert torch.equal(frame.back(maps, image.shape) > 0, masks)

    def test_medsam_sees_pixels_from_0_to_1_and_sam_normalised_ones(self, image: NDArray) -> None:
        medsam, sam2 = Frame("medsam", 64).pixels(image), Frame("sam2", 64).pixels(image)
        assert medsam.min() == 0 and medsam.max() == 1
        assert sam2.min() < -1.5 and medsam.shape == sam2.shape == (1, 3, 64, 64)

    @given(st.sampled_from(FRAMES), st.integers(8, 70), st.integers(8, 70))
    def test_a_mask_goes_to_the_square_and_back(self, kind: str, height: int, width: int) -> None:
        y, x = np.mgrid[:height, :width]
        mask = ((y - height / 2) / (height / 3)) ** 2 + ((x - width / 2) / (width / 3)) ** 2 < 1
        frame = Frame(kind, 128)
        back = frame.back(frame.mask(mask, 64)[0] - 0.5, mask.shape)[0].numpy() > 0
        assert (back != mask).mean() < 0.08


class TestAnswers:
    def test_three_masks_on_the_slices_grid(self, network: PromptableNetwork, image: NDArray) -> None:
        found = network.answer(network.embed(image), image.shape, points=BOX[None, :2], labels=np.array([1]))
        assert found.masks.shape == (3, *image.shape)
        assert found.maps.shape == (3, network.map_size, network.map_size)
        assert ((found.quality >= 0) & (found.quality <= 1)).all()

    def test_they_are_what_the_model_says(self, network: PromptableNetwork, image: NDArray) -> None:
        found = network.answer(network.embed(image), image.shape, box=BOX)
        with torch.no_grad():
            whole = network.model(
                pixel_values=network.frame.pixels(image),
                input_boxes=network.prompts(image.shape, box=BOX)["input_boxes"],
            )
        assert np.allclose(found.maps, whole.pred_masks[0, 0].numpy(), atol=1e-4)

    @pytest.mark.parametrize("change", ["points", "labels", "box", "before"])
    def test_every_prompt_matters(self, network: PromptableNetwork, image: NDArray, change: str) -> None:
        given = {
            "points": np.array([[20.0, 30.0]]),
            "labels": np.array([1]),
            "box": BOX,
            "before": np.zeros((network.map_size,) * 2),
        }
        others = {
            "points": np.array([[50.0, 70.0]]),
            "labels": np.array([0]),
            "box": BOX + 9,
            "before": np.pad(np.ones((8, 8)), (0, network.map_size - 8)),
        }
        embedding = network.embed(image)
        first = network.answer(embedding, image.shape, **given)
        second = network.answer(embedding, image.shape, **(given | {change: others[change]}))
        assert not np.allclose(first.maps, second.maps, atol=1e-3)

    def test_a_mask_alone_is_a_prompt(self, network: PromptableNetwork, image: NDArray) -> None:
        found = network.answer(network.embed(image), image.shape, before=image > image.mean())
        assert np.isfinite(found.maps).all()

    def test_a_single_network_gives_the_one_answer_that_was_trained(
        self, network: PromptableNetwork, image: NDArray
    ) -> None:
        single = replace(network, single=True)
        found = single.answer(single.embed(image), image.shape, box=BOX)
        assert found.masks.shape == (1, *image.shape) and len(found.quality) == 1
