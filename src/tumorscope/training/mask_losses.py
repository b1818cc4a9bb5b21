"""Losses of masks, one figure a scan: overlap, pixels, boundary, structure, and their weighted sums.

Every loss takes logits and truth of one shape, (N, C, S, S). With C = 1 they are of a lesion, and probabilities are
sigmoids. With more they are of C classes that exclude each other, the background first: probabilities are softmaxes,
the truth is one-hot, and losses of overlap, boundary and structure average over all classes but the background. All
count in fp32, whatever the precision around them.

Every loss is 0 (as closely as logits of finite size can say it) for a prediction that is the truth. That holds for
masks of nothing as well; there, each loss grows with what is predicted, so that healthy scans learn to stay clean:

- ``bce``, ``focal``: the mean over pixels, as for every other mask;
- ``dice``, ``dice-squared``, ``iou``, ``tversky``: P / (P + e), P the predicted mass and e a small share of the square
  (`EMPTY_SHARE`). The usual small constant in place of e would leave a loss of 1 without a slope;
- ``boundary``: every pixel counts as lying half a side away from the truth;
- ``ssim``: the structure of nothing;
- ``lovasz``: for one class the hinge of the highest pixel; for more the mean probability of what is not background.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Concatenate, ParamSpec

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from segmentation_models_pytorch.losses import LovaszLoss
from torch import Tensor

from tumorscope.errors import RecipeError, TrainingError, look_up

EMPTY_SHARE = 1e-3  # of a square's pixels: a mass of that size where nothing is costs one half; 8×8 px at 256×256
SMOOTH = 1e-5  # in numerator and denominator where there is a truth; MONAI's figure
GAMMA = 2.0  # of the focal loss; the best one of Lin et al.
FALSE, MISSED = 0.3, 0.7  # Tversky's weights; the best ones of Salehi et al.
WINDOW = 11  # px, side of the window of structural similarity

Options = ParamSpec("Options")
Loss = Callable[[Tensor, Tensor], Tensor]


def _of_scans(loss: Callable[Concatenate[Tensor, Tensor, Options], Tensor]) -> Callable[..., Tensor]:
    """The loss with its inputs checked and in fp32, also where autocast is on."""

    @wraps(loss)
    def checked(logits: Tensor, truth: Tensor, *args: Options.args, **options: Options.kwargs) -> Tensor:
        if logits.ndim != 4 or logits.shape != truth.shape:
            given, wanted = tuple(truth.shape), tuple(logits.shape)
            raise TrainingError(f"mask: shape {given} for logits of {wanted}; give (N, classes, S, S), one-hot")
        with torch.autocast(logits.device.type, enabled=False):
            return loss(logits.float(), truth.float(), *args, **options)

    return checked


@_of_scans
def bce(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean cross-entropy of each scan's pixels, (N,): binary for one class, of the softmax for more.

    Examples
    --------
    >>> bce(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4))  # the logarithm of two
    tensor([0.6931])
    """
    if logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(dim=(1, 2, 3))
    return F.cross_entropy(logits, truth, reduction="none").mean(dim=(1, 2))


@_of_scans
def focal(logits: Tensor, truth: Tensor, gamma: float = GAMMA) -> Tensor:
    """Mean of (1 - p)^gamma times the cross-entropy, p the probability of the true class, (N,).

    References
    ----------
    .. [1] Lin, Goyal, Girshick, He, Dollár, "Focal loss for dense object detection", ICCV 2017.

    Examples
    --------
    >>> focal(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4))  # a quarter of the logarithm of two
    tensor([0.1733])
    """
    from monai.losses import FocalLoss  # whose import costs as much as torch and timm together

    pixels = FocalLoss(gamma=gamma, use_softmax=logits.shape[1] > 1, reduction="none")(logits, truth)
    return pixels.sum(dim=1).mean(dim=(1, 2))


@_of_scans
def tversky(logits: Tensor, truth: Tensor, false: float = FALSE, missed: float = MISSED) -> Tensor:
    """One minus the Tversky index I / (I + false · F + missed · M) of each scan, (N,).

    I is the predicted mass inside the truth, F that outside, M what of the truth is not predicted.

    References
    ----------
    .. [1] Salehi, Erdogmus, Gholipour, "Tversky loss function for image segmentation using 3D fully convolutional
       deep networks", MLMI 2017.

    Examples
    --------
    >>> tversky(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4))  # half of it missed: 1 - 8 / (8 + 0.7 · 8)
    tensor([0.4118])
    """
    return _missed_overlap(logits, truth, false, missed)


@_of_scans
def dice(logits: Tensor, truth: Tensor) -> Tensor:
    """One minus the soft Dice 2I / (P + T) of each scan, (N,).

    Examples
    --------
    >>> dice(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4))  # 1 - 2 · 8 / (8 + 16)
    tensor([0.3333])
    """
    return _missed_overlap(logits, truth, 0.5, 0.5)


@_of_scans
def dice_squared(logits: Tensor, truth: Tensor) -> Tensor:
    """One minus the soft Dice with squared denominators, 2I / (Σp² + Σt²), (N,).

    References
    ----------
    .. [1] Milletari, Navab, Ahmadi, "V-Net", 3DV 2016.

    Examples
    --------
    >>> dice_squared(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4))  # 1 - 2 · 8 / (4 + 16)
    tensor([0.2000])
    """
    return _missed_overlap(logits, truth, 0.5, 0.5, power=2)


@_of_scans
def iou(logits: Tensor, truth: Tensor) -> Tensor:
    """One minus the soft intersection over union I / (P + T - I) of each scan, (N,).

    Examples
    --------
    >>> iou(torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4))
    tensor([0.5000])
    """
    return _missed_overlap(logits, truth, 1.0, 1.0)


@_of_scans
def lovasz(logits: Tensor, truth: Tensor) -> Tensor:
    """Lovász extension of one minus the IoU of each scan, (N,): of hinges for one class, of the softmax for more.

    The softmax averages over the classes that the scan has, the background included.

    References
    ----------
    .. [1] Berman, Triki, Blaschko, "The Lovász-softmax loss", CVPR 2018.

    Examples
    --------
    >>> lovasz(torch.full((1, 1, 4, 4), 2.0), torch.ones(1, 1, 4, 4))  # right, and beyond the margin of 1
    tensor([0.])
    """
    if logits.shape[1] == 1:
        measure, labels = LovaszLoss("binary", per_image=True), truth
    else:
        measure, labels = LovaszLoss("multiclass", per_image=True), truth.argmax(dim=1)
    scans = zip(logits.split(1), labels.split(1), strict=True)
    return torch.stack([measure(one, label) for one, label in scans]) if len(logits) else logits.sum(dim=(1, 2, 3))


@_of_scans
def boundary(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean over pixels of what is predicted wrongly, times its distance in px to the truth's boundary, (N,).

    With the signed distance φ (Kervadec's: 1 next to the truth, 0 on its outermost pixels, negative inside) that is the
    mean of φ · (p - t): Kervadec's loss less its least value, with the same slope. It adds to a loss of overlap and
    does not replace one: a truth of one pixel has no inside to be missed. Distances are OpenCV's, on the CPU.

    References
    ----------
    .. [1] Kervadec et al., "Boundary loss for highly unbalanced segmentation", MIDL 2019.

    Examples
    --------
    >>> truth = torch.zeros(1, 1, 1, 4)
    >>> truth[..., 0] = 1
    >>> boundary(torch.full((1, 1, 1, 4), 99.0), truth)  # all predicted, 1 + 2 + 3 px off, in four pixels
    tensor([1.5000])
    """
    probability, truth = _foreground(logits, truth)
    return (_distances(truth) * (probability - truth)).mean(dim=(1, 2, 3))


@_of_scans
def ssim(logits: Tensor, truth: Tensor) -> Tensor:
    """One minus the structural similarity of probabilities and truth, (N,), in Gaussian windows of 11×11 px.

    References
    ----------
    .. [1] Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity",
       IEEE Transactions on Image Processing, 2004.

    Examples
    --------
    >>> ssim(torch.full((1, 1, 16, 16), 99.0), torch.ones(1, 1, 16, 16)).abs() < 1e-5
    tensor([True])
    """
    from monai.losses import SSIMLoss  # as in focal

    if min(logits.shape[2:]) < WINDOW:
        raise TrainingError(f"mask: side {min(logits.shape[2:])} px is below ssim's window; give {WINDOW} or more")
    if not len(logits):
        return logits.sum(dim=(1, 2, 3))
    return SSIMLoss(spatial_dims=2, win_size=WINDOW, reduction="none")(*_foreground(logits, truth))[:, 0]


@_of_scans
def basnet(logits: Tensor, truth: Tensor) -> Tensor:
    """BASNet's hybrid, (N,): cross-entropy + (1 - SSIM) + (1 - IoU), for pixels, patches and the whole.

    References
    ----------
    .. [1] Qin et al., "BASNet: boundary-aware salient object detection", CVPR 2019.

    Examples
    --------
    >>> wrong, truth = torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16)
    >>> torch.equal(basnet(wrong, truth), bce(wrong, truth) + ssim(wrong, truth) + iou(wrong, truth))
    True
    """
    return bce(logits, truth) + ssim(logits, truth) + iou(logits, truth)


LOSSES: dict[str, Loss] = {
    "basnet": basnet,
    "bce": bce,
    "boundary": boundary,
    "dice": dice,
    "dice-squared": dice_squared,
    "focal": focal,
    "iou": iou,
    "lovasz": lovasz,
    "ssim": ssim,
    "tversky": tversky,
}


def check_weights(weights: Mapping[str, float]) -> None:
    """Raise `RecipeError` unless ``weights`` names losses of `LOSSES`, with finite weights above zero.

    Examples
    --------
    >>> check_weights({"dise": 1.0})
    Traceback (most recent call last):
    ...
    tumorscope.errors.RecipeError: unknown loss 'dise'; did you mean 'dice'? known: basnet, bce, ...
    """
    if not weights:
        raise RecipeError("loss: no loss is named; give one or more, for example dice = 1.0 and bce = 1.0")
    for name, weight in weights.items():
        look_up(name, LOSSES, "loss", RecipeError)
        if not 0 < weight < float("inf"):
            raise RecipeError(f"loss: {weight} is no weight for {name}; give a number above 0, or leave {name} out")


def weighted(
    weights: Mapping[str, float],
    logits: Tensor,
    truth: Tensor,
    known: Tensor | None = None,
    side: Sequence[Tensor] = (),
) -> Tensor:
    """Weighted sum of losses, added up over the mask and its side outputs, averaged over the scans with a truth.

    Parameters
    ----------
    weights : mapping of str to float
        Names of `LOSSES`, and what each counts.
    logits, truth : (N, C, S, S) tensor
    known : (N,) bool tensor, optional
        Scans that have a truth; the others add nothing, and no slope. All, if it is left out.
    side : sequence of (N, C, S, S) tensor
        Logits of side outputs; each counts as much as the mask.

    Returns
    -------
    Tensor
        One number; zero, with slopes of zero, where no scan has a truth.

    Raises
    ------
    RecipeError
        For what `check_weights` refuses.
    TrainingError
        For a truth of another shape.

    Examples
    --------
    >>> logits, truth = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
    >>> weighted({"dice": 3.0, "iou": 1.0}, logits, truth)  # 3 · 1/3 + 1/2
    tensor(1.5000)
    >>> weighted({"iou": 1.0}, logits, truth, known=torch.tensor([False, True]), side=[logits])
    tensor(1.)
    >>> weighted({"iou": 1.0}, logits, truth, known=torch.tensor([False, False]))
    tensor(0.)
    """
    return torch.stack(list(terms(weights, logits, truth, known, side).values())).sum()


def terms(
    weights: Mapping[str, float],
    logits: Tensor,
    truth: Tensor,
    known: Tensor | None = None,
    side: Sequence[Tensor] = (),
) -> dict[str, Tensor]:
    """What each loss adds to `weighted`, by name: for curves of a training.

    Examples
    --------
    >>> terms({"dice": 3.0, "iou": 1.0}, torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4))
    {'dice': tensor(1.), 'iou': tensor(0.5000)}
    """
    check_weights(weights)
    outputs = [logits, *side]
    nothing = torch.stack([output[:0].float().sum() for output in outputs]).sum()
    if known is not None:
        outputs, truth = [output[known] for output in outputs], truth[known]
    if not len(truth):
        return dict.fromkeys(weights, nothing)
    return {
        name: weight * torch.stack([LOSSES[name](output, truth).mean() for output in outputs]).sum()
        for name, weight in weights.items()
    }


def _foreground(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities and truth of the lesion, or of all classes but the background."""
    if logits.shape[1] == 1:
        return logits.sigmoid(), truth
    return logits.softmax(dim=1)[:, 1:], truth[:, 1:]


def _missed_overlap(logits: Tensor, truth: Tensor, false: float, missed: float, power: int = 1) -> Tensor:
    """One minus the Tversky index (N,); where a mask has nothing, P / (P + e)."""
    probability, truth = _foreground(logits, truth)
    both = (probability * truth).sum(dim=(2, 3))
    predicted, marked = probability.pow(power).sum(dim=(2, 3)), truth.sum(dim=(2, 3))
    wrong = false * (predicted - both) + missed * (marked - both)
    index = (both + SMOOTH) / (both + wrong + SMOOTH)
    empty = predicted / (predicted + EMPTY_SHARE * truth.shape[2] * truth.shape[3])
    return torch.where(marked > 0, 1 - index, empty).mean(dim=1)


def _distances(truth: Tensor) -> Tensor:
    """Signed distance to each mask's boundary, px; half the longer side, of either sign, where there is none."""
    masks = (truth > 0.5).cpu().numpy().astype(np.uint8)
    found = np.empty(masks.shape, np.float32)
    for place in np.ndindex(masks.shape[:2]):
        mask = masks[place]
        if mask.min() == mask.max():
            found[place] = (0.5 - float(mask[0, 0])) * max(mask.shape)
        else:
            outside = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            inside = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
            found[place] = outside - np.maximum(inside - 1, 0)
    return torch.from_numpy(found).to(truth.device)
