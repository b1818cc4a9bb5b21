"""The denoiser: the reference's size, its silence before training, and what it takes and refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tumorscope.errors import RecipeError
from tumorscope.models.diffusion import Denoiser
from tumorscope.models.diffusion.network import Embedding
from tumorscope.models.diffusion.schedule import Schedule, draw_times, mix, rates, take_apart


def small(**settings) -> Denoiser:
    return Denoiser(1, widths=(8, 12, 16), depth=2, **settings)


def test_trainable_numbers_of_the_reference() -> None:
    assert sum(p.numel() for p in Denoiser(3).parameters() if p.requires_grad) == 1_950_627


@torch.inference_mode()
def test_first_error_is_that_of_saying_nothing() -> None:
    """The mean of |z| for normal z is sqrt(2 / pi) = .798."""
    network, generator = Denoiser(1, widths=(8, 16), depth=1), torch.Generator().manual_seed(0)
    noise = torch.randn(32, 1, 32, 32, generator=generator)
    signal, rate = rates(Schedule(), draw_times(32, generator))
    told = network(mix(torch.randn(noise.shape, generator=generator), noise, signal, rate), rate.flatten() ** 2)
    assert float((told - noise).abs().mean()) == pytest.approx(0.798, abs=0.01)


@pytest.mark.parametrize("side", [4, 8, 20])
@torch.inference_mode()
def test_noise_has_the_shape_of_the_picture(side: int) -> None:
    network = small()
    torch.nn.init.ones_(network.out.weight)
    told = network(torch.randn(3, 1, side, side), torch.rand(3))
    assert told.shape == (3, 1, side, side) and float(told.abs().min()) >= 0 and float(told.std()) > 0


@torch.inference_mode()
def test_the_variance_matters() -> None:
    network = small().eval()
    torch.nn.init.ones_(network.out.weight)
    picture = torch.randn(1, 1, 8, 8)
    assert not torch.allclose(network(picture, torch.tensor([0.1])), network(picture, torch.tensor([0.9])))


@torch.inference_mode()
def test_a_class_is_silent_until_it_is_learnt() -> None:
    network = small(classes=2).eval()
    torch.nn.init.ones_(network.out.weight)
    picture, variance = torch.randn(2, 1, 8, 8), torch.tensor([0.3, 0.3])
    plain = network(picture, variance)
    assert torch.equal(plain, network(picture, variance, torch.tensor([1, 2])))
    network.named.weight.data[1] = 1.0
    changed = network(picture, variance, torch.tensor([1, 2]))
    assert not torch.allclose(plain[0], changed[0]) and torch.equal(plain[1], changed[1])


@torch.inference_mode()
def test_maps_for_a_segmenter_halve_at_each_width() -> None:
    maps = small().encoded(torch.randn(2, 1, 16, 16), torch.zeros(2))
    assert [tuple(one.shape[1:]) for one in maps] == [(8, 16, 16), (12, 8, 8), (16, 4, 4)]


def test_every_weight_learns_once_the_head_has_left_zero() -> None:
    network = small(classes=1)
    torch.nn.init.ones_(network.out.weight)
    network(torch.randn(4, 1, 8, 8), torch.rand(4), torch.ones(4, dtype=torch.long)).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().any()] == []


@pytest.mark.parametrize("settings", [{"widths": (8,)}, {"depth": 0}, {"embedded": 7}])
def test_what_makes_no_network(settings: dict) -> None:
    with pytest.raises(RecipeError, match="make no network"):
        Denoiser(1, **settings)


def test_embedding_turns_from_one_to_a_thousand_times() -> None:
    said = Embedding(32)(torch.tensor([0.25]))[0].numpy()
    turns = np.geomspace(1, 1000, 16)
    np.testing.assert_allclose(said[:16], np.sin(2 * np.pi * turns * 0.25), atol=1e-3)
    np.testing.assert_allclose(said[16:], np.cos(2 * np.pi * turns * 0.25), atol=1e-3)


def test_rates_on_tensors_are_those_of_the_light_schedule() -> None:
    times = np.linspace(0, 1, 21)
    ours = rates(Schedule(), torch.from_numpy(times))
    for tensor, array in zip(ours, Schedule().rates(times), strict=True):
        np.testing.assert_allclose(tensor.flatten().numpy(), array, atol=1e-6)


def test_mixing_and_taking_apart_undo_each_other() -> None:
    generator = torch.Generator().manual_seed(1)
    picture, noise = torch.randn(2, 5, 1, 7, 7, generator=generator)
    signal, rate = rates(Schedule(), draw_times(5, generator))
    noisy = mix(picture, noise, signal, rate)
    torch.testing.assert_close(take_apart(noisy, noise, signal, rate), picture, atol=1e-4, rtol=1e-4)
