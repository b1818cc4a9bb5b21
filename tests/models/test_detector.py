"""The detector's two outputs, and its size."""

from __future__ import annotations

import pytest
import torch

from tumorscope.errors import RecipeError
from tumorscope.models.segmenters import DetectorSegmenter
from tumorscope.training import recipe


def test_scout_fits_the_git_limit_in_half_precision() -> None:
    with torch.device("meta"):
        network = DetectorSegmenter(**recipe.load("scout").model.model_dump())
    assert 2 * sum(value.numel() for value in network.state_dict().values()) < 14e6


@pytest.mark.parametrize(
    ("architecture", "decoder"),
    [("unet", (16, 8, 8, 8, 8)), ("unet", (16, 8, 8, 8)), ("unetplusplus", (16, 8, 8, 8, 8))],
)
def test_outputs_have_the_stated_shapes_and_gradients_flow(architecture: str, decoder: tuple[int, ...]) -> None:
    settings = recipe.Model(architecture=architecture, encoder_channels=(8, 8, 16, 16), decoder_channels=decoder)
    network = DetectorSegmenter(**settings.model_dump())
    mask, score = network(torch.rand(2, 1, 64, 64))
    assert mask.shape == (2, 1, 64, 64) and score.shape == (2,)
    (mask.mean() + score.mean()).backward()
    missing = [name for name, value in network.named_parameters() if value.grad is None]
    assert not missing


def test_a_decoder_of_four_blocks_draws_on_half_the_side() -> None:
    settings = recipe.Model(encoder_channels=(8, 8, 16, 16), decoder_channels=(16, 8, 8, 8))
    network = DetectorSegmenter(**settings.model_dump())
    sides: list[int] = []
    network.decoder.register_forward_hook(lambda *hook: sides.append(hook[2].shape[-1]))
    network(torch.rand(2, 1, 64, 64))
    assert sides == [32]


@pytest.mark.parametrize(("architecture", "decoder"), [("unet", (8, 8, 8)), ("unetplusplus", (8, 8, 8, 8))])
def test_a_decoder_that_does_not_fit_is_refused(architecture: str, decoder: tuple[int, ...]) -> None:
    with pytest.raises(RecipeError, match=f"{len(decoder)} widths do not fit {architecture}; give"):
        DetectorSegmenter(**recipe.Model(architecture=architecture, decoder_channels=decoder).model_dump())


def test_an_unknown_architecture_gets_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'unet'"):
        DetectorSegmenter(**recipe.Model(architecture="umet").model_dump())
