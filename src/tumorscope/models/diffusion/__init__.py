"""Diffusion: a network that tells noise from picture, and the schedule by which the two are mixed."""

from tumorscope.models.diffusion.network import Denoiser

__all__ = ["Denoiser"]
