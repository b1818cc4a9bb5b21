"""Losses of masks against other libraries and hand counts; laws that each of them keeps, on nothing too."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from tumorscope.errors import RecipeError, TrainingError
from tumorscope.training.mask_losses import (
    EMPTY_SHARE,
    LOSSES,
    basnet,
    bce,
    boundary,
    dice,
    dice_squared,
    focal,
    iou,
    lovasz,
    ssim,
    terms,
    tversky,
    weighted,
)

SURE = 30.0  # a logit whose probability is 1 in fp32
SIDE = 21


def _truth(classes: int, scans: int = 2) -> Tensor:
    """Two lesions of different size and place; with three classes the second scan's is of the other class."""
    index = torch.zeros(scans, SIDE, SIDE, dtype=torch.long)
    index[0, 3:9, 4:12] = 1
    index[1, 12:15, 10:20] = max(1, classes - 1)
    if classes == 1:
        return index[:, None].float()
    return torch.nn.functional.one_hot(index, classes).movedim(-1, 1).float()


def _nothing(classes: int) -> Tensor:
    truth = torch.zeros(2, classes, SIDE, SIDE)
    if classes > 1:
        truth[:, 0] = 1
    return truth


def _guess(classes: int) -> Tensor:
    return torch.randn(2, classes, SIDE, SIDE, generator=torch.Generator().manual_seed(3))


def _slope(name: str, logits: Tensor, truth: Tensor) -> Tensor:
    logits = logits.clone().requires_grad_()
    LOSSES[name](logits, truth).sum().backward()
    assert logits.grad is not None
    return logits.grad


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("name", LOSSES)
class TestEveryLoss:
    def test_is_nothing_where_the_prediction_is_the_truth(self, name: str, classes: int) -> None:
        truth = _truth(classes)
        assert torch.allclose(LOSSES[name](SURE * (2 * truth - 1), truth), torch.zeros(2), atol=1e-4)

    def test_is_something_where_it_is_not(self, name: str, classes: int) -> None:
        truth = _truth(classes)
        assert (LOSSES[name](SURE * (2 * truth.flip(-1) - 1), truth) > 0.1).all()

    def test_gives_each_scan_its_own_figure(self, name: str, classes: int) -> None:
        logits, truth = _guess(classes), _truth(classes)
        both = LOSSES[name](logits, truth)
        alone = torch.cat([LOSSES[name](logits[one : one + 1], truth[one : one + 1]) for one in (0, 1)])
        assert both.shape == (2,) and both[0] != both[1]
        assert torch.allclose(both, alone, rtol=1e-5)

    def test_does_not_change_when_prediction_and_truth_are_turned(self, name: str, classes: int) -> None:
        logits, truth = _guess(classes), _truth(classes)
        for axes in ((-1,), (-2,), (-1, -2)):
            turned = LOSSES[name](logits.flip(axes), truth.flip(axes))
            assert torch.allclose(LOSSES[name](logits, truth), turned, rtol=1e-4)

    def test_has_a_slope_towards_the_truth(self, name: str, classes: int) -> None:
        logits, truth = _guess(classes), _truth(classes)
        slope = _slope(name, logits, truth)
        step = 1e-3 * slope / slope.abs().max()
        assert (LOSSES[name](logits - step, truth) < LOSSES[name](logits, truth)).all()
        if name not in ("ssim", "basnet") and classes == 1:  # structure depends on the neighbours too
            assert (slope[truth > 0] <= 0).all() and (slope[truth == 0] >= 0).all()

    def test_is_nothing_where_nothing_is_and_nothing_is_predicted(self, name: str, classes: int) -> None:
        truth = _nothing(classes)
        logits = SURE * (2 * truth - 1)
        assert torch.allclose(LOSSES[name](logits, truth), torch.zeros(2), atol=1e-4)
        assert torch.isfinite(_slope(name, logits, truth)).all()

    def test_costs_more_the_more_is_predicted_where_nothing_is(self, name: str, classes: int) -> None:
        truth, place = _nothing(classes), _truth(classes)
        figures = []
        for level in (-6.0, -0.5, 0.0, 2.0):
            logits = SURE * (2 * truth - 1)
            logits[:, -1:, 3:9, 4:12] = level
            if classes > 1:
                logits[:, 0, 3:9, 4:12] = 0.0
                logits[:, 1:-1, 3:9, 4:12] = -SURE
            figures.append(LOSSES[name](logits, truth))
            slope = _slope(name, logits, truth)[:, -1, 3:9, 4:12]
        costs = torch.stack(figures)
        assert (costs.diff(dim=0) > 0).all()
        assert costs[-1].min() > (0.05 if name in ("bce", "focal") or classes > 1 else 0.1)
        assert slope.sum() > 0 and place.shape == truth.shape

    def test_counts_in_full_precision_under_autocast(self, name: str, classes: int) -> None:
        logits, truth = _guess(classes).bfloat16(), _truth(classes)
        full = LOSSES[name](logits.float(), truth)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(LOSSES[name](logits, truth.bool()), full)

    def test_takes_a_batch_of_none_and_refuses_another_shape(self, name: str, classes: int) -> None:
        logits, truth = _guess(classes), _truth(classes)
        assert LOSSES[name](logits[:0], truth[:0]).shape == (0,)
        with pytest.raises(TrainingError, match=r"mask: shape .* for logits of .*; give \(N, classes, S, S\)"):
            LOSSES[name](logits, truth[:, :, 1:])


def _monai(which: str, classes: int, **options: object) -> Tensor:
    import monai.losses

    activation = {"sigmoid": True} if classes == 1 else {"softmax": True, "include_background": False}
    loss = getattr(monai.losses, which)(reduction="none", **activation, **options)
    return loss(_guess(classes), _truth(classes)).flatten(1)


@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize(
    ("loss", "which", "options"),
    [
        (dice, "DiceLoss", {}),
        (dice_squared, "DiceLoss", {"squared_pred": True}),
        (iou, "DiceLoss", {"jaccard": True}),
        (tversky, "TverskyLoss", {"alpha": 0.3, "beta": 0.7}),
    ],
)
def test_overlap_is_monais(loss: Callable[..., Tensor], which: str, options: dict[str, object], classes: int) -> None:
    assert torch.allclose(loss(_guess(classes), _truth(classes)), _monai(which, classes, **options).mean(1), atol=1e-5)


@pytest.mark.parametrize("classes", [1, 2])
def test_boundary_is_monais_less_its_least_value(classes: int) -> None:
    import monai.losses

    truth = _truth(classes)
    plain = {} if classes == 1 else {"include_background": False}
    least = monai.losses.BoundaryLoss(reduction="none", **plain)(truth, truth).flatten(1)
    found = boundary(_guess(classes), truth)
    assert torch.allclose(found, (_monai("BoundaryLoss", classes) - least).mean(1), atol=1e-4)


def test_ssim_is_scikit_images() -> None:
    from skimage.metrics import structural_similarity

    logits, truth = _guess(1), _truth(1)
    for one in range(2):
        images = (array[one, 0].numpy().astype(np.float64) for array in (logits.sigmoid(), truth))
        wanted = structural_similarity(
            *images, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        assert math.isclose(float(ssim(logits, truth)[one]), 1 - wanted, abs_tol=1e-5)


def test_focal_by_hand() -> None:
    logits = torch.full((1, 1, 1, 2), math.log(3.0))  # a probability of 3/4
    truth = torch.tensor([[[[1.0, 0.0]]]])
    by_hand = -(0.25**2 * math.log(0.75) + 0.75**2 * math.log(0.25)) / 2
    assert math.isclose(float(focal(logits, truth)), by_hand, rel_tol=1e-5)
    assert torch.allclose(focal(_guess(3), _truth(3), gamma=0.0), bce(_guess(3), _truth(3)))


def test_lovasz_by_hand() -> None:
    logits = torch.tensor([[[[0.5, -0.5]]]])
    truth = torch.tensor([[[[1.0, 1.0]]]])
    # hinges 0.5 and 1.5; the worse one alone costs half the IoU, the other one the other half
    assert math.isclose(float(lovasz(logits, truth)), (1.5 + 0.5) / 2, rel_tol=1e-6)
    empty = torch.zeros(1, 1, 1, 2)
    assert math.isclose(float(lovasz(logits, empty)), 1.5, rel_tol=1e-6)  # the hinge of the highest pixel
    sure = torch.tensor([[[[9.0, 0.0]], [[0.0, 9.0]]]])
    wrong = torch.tensor([[[[0.0, 1.0]], [[1.0, 0.0]]]])
    assert float(lovasz(sure, wrong)) > 0.99


def test_a_mass_of_the_share_costs_one_half_where_nothing_is() -> None:
    logits = torch.full((1, 1, 100, 100), -SURE)
    logits[..., 0, : round(EMPTY_SHARE * 100 * 100)] = SURE
    for loss in (dice, dice_squared, iou, tversky):
        assert math.isclose(float(loss(logits, torch.zeros_like(logits))), 0.5, rel_tol=1e-4)


def test_where_nothing_or_everything_is_each_pixel_lies_half_a_side_from_the_boundary() -> None:
    all_of_it = torch.ones(1, 1, 16, 12)
    assert math.isclose(float(boundary(SURE * all_of_it, 0 * all_of_it)), 8.0, rel_tol=1e-5)
    assert math.isclose(float(boundary(-SURE * all_of_it, all_of_it)), 8.0, rel_tol=1e-5)


def test_the_hybrid_is_the_sum_of_three() -> None:
    logits, truth = _guess(3), _truth(3)
    assert torch.allclose(basnet(logits, truth), bce(logits, truth) + ssim(logits, truth) + iou(logits, truth))


def test_a_square_below_the_window_of_structure_is_refused() -> None:
    with pytest.raises(TrainingError, match="side 10 px is below ssim's window; give 11 or more"):
        ssim(torch.zeros(1, 1, 10, 12), torch.zeros(1, 1, 10, 12))


class TestWeighted:
    def test_adds_up_losses_and_side_outputs_and_averages_scans(self) -> None:
        logits, side, truth = _guess(1), -_guess(1), _truth(1)
        wanted = sum(0.5 * bce(one, truth).mean() + 2 * dice(one, truth).mean() for one in (logits, side))
        found = weighted({"bce": 0.5, "dice": 2.0}, logits, truth, side=[side])
        assert torch.allclose(found, torch.as_tensor(wanted))
        parts = terms({"bce": 0.5, "dice": 2.0}, logits, truth, side=[side])
        assert list(parts) == ["bce", "dice"] and torch.allclose(parts["bce"] + parts["dice"], found)

    def test_scans_without_a_truth_add_nothing_whatever_they_hold(self) -> None:
        logits, truth, known = _guess(1), _truth(1), torch.tensor([True, False])
        alone = weighted({"dice": 1.0, "ssim": 1.0}, logits[:1], truth[:1])
        logits[1], truth[1] = 7.0, float("nan")
        logits.requires_grad_()
        found = weighted({"dice": 1.0, "ssim": 1.0}, logits, truth, known)
        found.backward()
        assert torch.allclose(found, alone)
        assert logits.grad is not None and (logits.grad[0] != 0).any() and (logits.grad[1] == 0).all()

    def test_is_zero_with_a_slope_of_zero_where_no_scan_has_one(self) -> None:
        logits, side = _guess(1).requires_grad_(), _guess(1).requires_grad_()
        found = weighted({"lovasz": 1.0}, logits, _truth(1), torch.tensor([False, False]), side=[side])
        found.backward()
        assert float(found.detach()) == 0
        for output in (logits, side):
            assert output.grad is not None and (output.grad == 0).all()

    @pytest.mark.parametrize(
        ("weights", "finding"),
        [
            ({}, "no loss is named; give one or more"),
            ({"dize": 1.0}, "unknown loss 'dize'; did you mean 'dice'"),
            ({"dice": 0.0}, "0.0 is no weight for dice; give a number above 0"),
            ({"dice": math.nan}, "nan is no weight for dice"),
        ],
    )
    def test_refuses_names_and_weights_that_are_none(self, weights: dict[str, float], finding: str) -> None:
        with pytest.raises(RecipeError, match=finding):
            weighted(weights, _guess(1), _truth(1))
