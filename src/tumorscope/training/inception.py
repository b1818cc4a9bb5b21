"""Inception's features for KID, where its ImageNet weights are at hand: 75×75, pooled, as in the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from tumorscope.errors import WeightsError
from tumorscope.inference.embedding import Extractor

NAME, SIDE, BATCH = "inception_v3", 75, 32


def inception_here(offline: Path | None = None) -> bool:
    """Whether Inception's weights lie on this machine; nothing is downloaded."""
    from tumorscope.models.weights import present

    try:
        return present(NAME, offline=offline) is not None
    except WeightsError:
        return False


def inception_features(offline: Path | None = None) -> Extractor:
    """Extractor of the 2,048 pooled features of timm's Inception v3 at 75×75.

    Raises
    ------
    WeightsError
        If its weights cannot be had.
    """
    import timm

    from tumorscope.models import weights

    network = timm.create_model(NAME, num_classes=0, aux_logits=False)
    weights.load_into(network, weights.read(weights.locate(NAME, offline=offline)), origin=NAME)
    return extractor_from(network.eval())


def extractor_from(network: torch.nn.Module) -> Extractor:
    """Extractor of a network that gives pooled features of (N, 3, 75, 75) pictures in [-1, 1]."""

    @torch.inference_mode()
    def features(pictures: NDArray) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(pictures), BATCH):
            grey = torch.from_numpy(np.ascontiguousarray(pictures[start : start + BATCH], np.float32))[:, None]
            resized = F.interpolate(grey, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
            parts.append(network(resized.expand(-1, 3, -1, -1) * 2 - 1).float().numpy())
        return np.concatenate(parts)

    return Extractor("Inception v3 at 75x75, pooled", features)
