"""Losses against hand counts."""

from __future__ import annotations

import math

import torch

from tumorscope.training.losses import EVIDENCE_SHARE, dice_loss, evidence, evidence_loss, pixel_loss

YES, NO = 20.0, -20.0


def _half(value: float, rest: float = NO) -> torch.Tensor:
    logits = torch.full((1, 1, 32, 32), rest)
    logits[..., :16] = value
    return logits


def test_evidence_is_the_mean_of_a_fixed_share_of_the_highest_probabilities() -> None:
    logits = torch.full((1, 1, 192, 192), NO)
    logits[0, 0, 0, :50] = YES
    assert math.isclose(EVIDENCE_SHARE * 192**2, 100)
    assert abs(float(evidence(logits)) - 0.5) < 1e-4


def test_a_perfect_mask_costs_nothing_and_a_missed_one_almost_one() -> None:
    truth = _half(1.0, 0.0) > 0.5
    known = torch.tensor([True])
    assert float(dice_loss(_half(YES), truth, known)) < 1e-3
    missed = float(dice_loss(_half(NO), truth, known))
    assert abs(missed - (1 - 20 / (512 + 20))) < 1e-3


def test_empty_and_unknown_masks_are_left_to_the_cross_entropy() -> None:
    logits = _half(YES).requires_grad_()
    empty = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    loss = dice_loss(logits, empty, torch.tensor([True]))
    assert float(loss.detach()) == 0.0
    loss.backward()
    assert float(logits.grad.abs().sum()) == 0.0
    assert float(pixel_loss(_half(YES), empty, torch.tensor([True]))) > 9
    assert float(pixel_loss(_half(YES), empty, torch.tensor([False]))) == 0.0


def test_pixel_loss_counts_known_scans_only() -> None:
    logits = torch.cat([_half(0.0, 0.0), _half(YES)])
    masks = torch.zeros(2, 1, 32, 32, dtype=torch.bool)
    assert abs(float(pixel_loss(logits, masks, torch.tensor([True, False]))) - math.log(2)) < 1e-6


def test_evidence_loss_of_a_coin_is_log_two() -> None:
    logits = torch.zeros(2, 1, 64, 64)
    assert abs(float(evidence_loss(logits, torch.tensor([0, 1]))) - math.log(2)) < 1e-6
