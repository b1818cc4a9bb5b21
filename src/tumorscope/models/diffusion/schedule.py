"""The schedule of `inference.mixing` on tensors: times are drawn, pictures and noise mixed, answers taken apart."""

from __future__ import annotations

import torch
from torch import Tensor

from tumorscope.inference.mixing import Schedule

__all__ = ["Schedule", "draw_times", "mix", "rates", "take_apart"]


def rates(schedule: Schedule, times: Tensor) -> tuple[Tensor, Tensor]:
    """Signal and noise rates, (N, 1, 1, 1) float32, of times (N,) in 0…1.

    Examples
    --------
    >>> signal, noise = rates(Schedule(), torch.linspace(0, 1, 5))
    >>> bool(torch.allclose(signal**2 + noise**2, torch.ones(5, 1, 1, 1)))
    True
    """
    angle = schedule.angle(times.float()).view(-1, 1, 1, 1)
    return angle.cos(), angle.sin()


def draw_times(count: int, generator: torch.Generator) -> Tensor:
    """Times (N,), even in 0…1; on the CPU, so that a seed means the same on every device."""
    return torch.rand(count, generator=generator)


def mix(picture: Tensor, noise: Tensor, signal_rate: Tensor, noise_rate: Tensor) -> Tensor:
    """What the network sees: ``signal_rate * picture + noise_rate * noise``."""
    return signal_rate * picture + noise_rate * noise


def take_apart(noisy: Tensor, noise: Tensor, signal_rate: Tensor, noise_rate: Tensor) -> Tensor:
    """The picture that is left when ``noise`` is what was mixed in; undoes `mix`.

    Examples
    --------
    >>> picture, noise = torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), 3.0)
    >>> s, n = rates(Schedule(), torch.tensor([0.5]))
    >>> bool(torch.allclose(take_apart(mix(picture, noise, s, n), noise, s, n), picture))
    True
    """
    return (noisy - noise_rate * noise) / signal_rate
