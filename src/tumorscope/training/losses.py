"""Losses of the joint detector and segmenter, in fp32 whatever the network's precision."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

EVIDENCE_SHARE = 100 / 192**2  # the share of a square's pixels that count as its strongest evidence


def evidence(mask_logits: Tensor) -> Tensor:
    """Mean of the highest pixel probabilities of each scan: (N, 1, S, S) logits to (N,) in [0, 1].

    The share of pixels is fixed, so that the figure means the same at every size; at 192 px it is
    the mean of 100 pixels.
    """
    flat = mask_logits.float().flatten(1).sigmoid()
    count = max(1, round(EVIDENCE_SHARE * flat.shape[1]))
    return flat.topk(count, dim=1).values.mean(1)


def pixel_loss(mask_logits: Tensor, mask: Tensor, known: Tensor) -> Tensor:
    """Mean binary cross-entropy over the scans whose mask is ``known``, (N,) bool; zero if there are none."""
    if not bool(known.any()):
        return mask_logits.sum() * 0.0
    return F.binary_cross_entropy_with_logits(mask_logits[known].float(), mask[known].float())


def dice_loss(mask_logits: Tensor, mask: Tensor, known: Tensor, smooth: float = 20.0) -> Tensor:
    """One minus the soft Dice, averaged over scans with a known, non-empty mask; zero if there are none.

    Empty masks are left to the cross-entropy and to the evidence: soft Dice says nothing useful there.
    """
    chosen = known & (mask.flatten(1).sum(1) > 0)
    if not bool(chosen.any()):
        return mask_logits.sum() * 0.0
    probability = mask_logits[chosen].float().sigmoid().flatten(1)
    truth = mask[chosen].float().flatten(1)
    both = (probability * truth).sum(1)
    return (1 - (2 * both + smooth) / (probability.sum(1) + truth.sum(1) + smooth)).mean()


def evidence_loss(mask_logits: Tensor, label: Tensor) -> Tensor:
    """Binary cross-entropy between the evidence in the mask and the scan's label, (N,) of 0 and 1."""
    return F.binary_cross_entropy(evidence(mask_logits).clamp(1e-4, 1 - 1e-4), label.float())
