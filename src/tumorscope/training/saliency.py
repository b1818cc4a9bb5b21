"""Maps of where a network looks: Grad-CAM, Grad-CAM++ and occlusion, for convolutions and transformers alike.

The gradient methods need the last feature maps of a network. `last_maps` finds them by running it once, whatever the
architecture; `Explained` lays them out as (N, C, h, w) while they pass, so that MONAI's Grad-CAM works on tokens too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from monai.visualize.class_activation_maps import GradCAM
from numpy.typing import NDArray
from torch import Tensor, nn

from tumorscope.errors import DataError, look_up
from tumorscope.scan import FloatArray

MOST_PREFIX = 8  # tokens before the grid: a class token, a distillation token, registers
PATCH = 1 / 8  # side of the occluding patch, share of the square's: about that of a small tumour in a cropped head
BATCH = 32  # occluded squares at once
Layout = Literal["NCHW", "NHWC", "tokens"]


@dataclass(frozen=True)
class Target:
    """The explained value: a column of the logits, and its sign (-1 for the first of two classes).

    Examples
    --------
    >>> Target.of(1, 1), Target.of(0, 1), Target.of(2, 4)
    (Target(column=0, sign=1.0), Target(column=0, sign=-1.0), Target(column=2, sign=1.0))
    """

    column: int = 0
    sign: float = 1.0

    @classmethod
    def of(cls, number: int, outputs: int) -> Target:
        """The logit of class ``number`` in a network of so many ``outputs``; one output stands for two classes."""
        return cls(0, 1.0 if number == 1 else -1.0) if outputs == 1 else cls(number)


@dataclass(frozen=True)
class Maps:
    """Where a network's last feature maps come out.

    Attributes
    ----------
    layer : str
        Name of the module.
    layout : {"NCHW", "NHWC", "tokens"}
        Of its output; tokens are (N, prefix + side², C).
    side : int
        Places along a side.
    prefix : int
        Tokens before the grid, such as the class token.
    """

    layer: str
    layout: Layout
    side: int
    prefix: int = 0

    def planes(self, output: Tensor) -> Tensor:
        """The layer's output as (N, C, side, side).

        Examples
        --------
        >>> tokens = torch.arange(5.0).reshape(1, 5, 1)
        >>> Maps("norm", "tokens", 2, 1).planes(tokens).tolist()
        [[[[1.0, 2.0], [3.0, 4.0]]]]
        """
        if self.layout == "NCHW":
            return output
        if self.layout == "NHWC":
            return output.permute(0, 3, 1, 2)
        return output[:, self.prefix :].transpose(1, 2).unflatten(2, (self.side, self.side))

    def restored(self, planes: Tensor, output: Tensor) -> Tensor:
        """The layer's ``output`` with its maps replaced by (N, C, side, side) ``planes``."""
        if self.layout == "NCHW":
            return planes.clone()  # what follows may work in place
        if self.layout == "NHWC":
            return planes.permute(0, 2, 3, 1).clone()
        return torch.cat([output[:, : self.prefix], planes.flatten(2).transpose(1, 2)], 1)


class Explained(nn.Module):
    """The explained value (N, 1) of a network, its maps passing through ``maps`` as (N, C, h, w).

    Parameters
    ----------
    network : nn.Module
        Logits (N, K) of (N, C, S, S).
    target : Target
    """

    def __init__(self, network: nn.Module, target: Target) -> None:
        super().__init__()
        self.network, self.target, self.maps = network, target, nn.Identity()
        self.training = network.training  # MONAI brings all below back to this mode

    def forward(self, square: Tensor) -> Tensor:
        """The target's logit, (N, 1)."""
        return self.target.sign * self.network(square)[:, self.target.column, None]

    @contextmanager
    def routed(self, place: Maps) -> Iterator[Explained]:
        """With the layer's output led through ``maps``."""

        def route(_module: nn.Module, _given: Any, output: Tensor) -> Tensor:
            return place.restored(self.maps(place.planes(output)), output)

        hook = self.network.get_submodule(place.layer).register_forward_hook(route)
        try:
            yield self
        finally:
            hook.remove()
            self.network.zero_grad(set_to_none=True)


def grad_cam(network: nn.Module, square: Tensor, target: Target, place: Maps) -> FloatArray:
    """The Grad-CAM map [1]_ (S, S) of a square (1, C, S, S): maps weighted by their mean gradient, then a ReLU.

    References
    ----------
    .. [1] Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization",
       ICCV 2017.
    """
    with torch.enable_grad(), Explained(network, target).routed(place) as explained:
        found = GradCAM(explained, "maps").compute_map(square.detach().requires_grad_(True), class_idx=0)
    return _enlarged(found, square)


def grad_cam_plus(network: nn.Module, square: Tensor, target: Target, place: Maps) -> FloatArray:
    """The Grad-CAM++ map (S, S) of a square (1, C, S, S); see `weighed`."""
    with torch.enable_grad(), Explained(network, target).routed(place) as explained:
        hooked = GradCAM(explained, "maps").nn_module
        _, maps, gradients = hooked(square.detach().requires_grad_(True), class_idx=0)
    return _enlarged(weighed(maps[0].detach(), gradients[0]), square)


def weighed(maps: Tensor, gradient: Tensor) -> Tensor:
    """The Grad-CAM++ map [1]_ (N, 1, h, w) of feature maps A and the explained value's gradient g, both (N, C, h, w).

    A channel weighs ``sum(alpha * relu(g))`` with ``alpha = g² / (2 g² + g³ · sum(A))``, as its authors write it.
    MONAI's GradCAMpp adds 1e-7 to the denominator and sums ``A · g³``: where gradients are small or differ from place
    to place, as in transformers, that is another map (correlation .78 with this one on a random ViT-B/16, .94 on a
    random Swin-T). A enters the sum where it is positive: the derivation is for maps behind a ReLU, and a negative sum
    could make the denominator vanish.

    References
    ----------
    .. [1] Chattopadhyay et al., "Grad-CAM++", WACV 2018, eq. 19.

    Examples
    --------
    >>> maps = torch.tensor([[[[1.0, 3.0]]]])
    >>> weighed(maps, torch.full_like(maps, 0.5)).tolist()  # alpha 1 / (2 + 0.5 · 4), weight 2 · 0.25 · 0.5
    [[[[0.25, 0.75]]]]
    """
    rising = gradient.clamp_min(0)
    # alpha with g² divided out, so that no square of a small gradient is lost to rounding
    alpha = 1 / (2 + rising * maps.clamp_min(0).sum((2, 3), keepdim=True))
    weights = (alpha * rising).sum((2, 3), keepdim=True)
    return (weights * maps).sum(1, keepdim=True).clamp_min(0)


def _enlarged(found: Tensor, square: Tensor) -> FloatArray:
    """A map (1, 1, h, w) at the square's size, linearly."""
    large = F.interpolate(found.detach().float(), square.shape[2:], mode="bilinear", align_corners=False)
    return large[0, 0].cpu().numpy()


def occlusion(network: nn.Module, square: Tensor, target: Target, place: Maps | None = None) -> FloatArray:
    """How far the value falls when a grey patch hides each place [1]_, (S, S); 0 where it rises.

    A patch an eighth as wide as the square is moved by half its side. Where the square is not black it is replaced by
    the head's mean grey, so that no patch appears in the empty background; a pixel gets the mean over the patches that
    covered it. MONAI's OcclusionSensitivity gives the same where nothing is black, but paints the background too, and
    indexes tensors in a way that torch warns of at every patch (MONAI 1.6.1, torch 2.15).

    Parameters
    ----------
    network : nn.Module
    square : (1, C, S, S) tensor in [0, 1]
    target : Target
    place : ignored
        So that all methods are called alike.

    References
    ----------
    .. [1] Zeiler, Fergus, "Visualizing and understanding convolutional networks", ECCV 2014.
    """
    side = square.shape[-1]
    patch = max(1, round(side * PATCH))
    starts = np.rint(np.linspace(0, side - patch, max(1, round(2 * (side - patch) / patch) + 1))).astype(int)
    present = (square > 0).any(1, keepdim=True)
    grey = (square * present).sum((2, 3), keepdim=True) / present.sum().clamp_min(1)
    windows = [
        (y, x) for y in starts for x in starts if bool(present[..., y : y + patch, x : x + patch].any())
    ]  # others change nothing
    fall, covered = np.zeros((side, side)), np.zeros((side, side))
    explained = Explained(network, target)
    for y, x in ((y, x) for y in starts for x in starts):
        covered[y : y + patch, x : x + patch] += 1
    with torch.inference_mode():
        whole = float(explained(square))
        for first in range(0, len(windows), BATCH):
            part = windows[first : first + BATCH]
            hidden = square.repeat(len(part), 1, 1, 1)
            for one, (y, x) in zip(hidden, part, strict=True):
                area = (slice(None), slice(y, y + patch), slice(x, x + patch))
                one[area] = torch.where(present[0][area], grey[0], one[area])
            for value, (y, x) in zip(explained(hidden)[:, 0].tolist(), part, strict=True):
                fall[y : y + patch, x : x + patch] += whole - value
    return np.maximum(fall / covered, 0).astype(np.float32)


Method = Callable[..., FloatArray]
METHODS: dict[str, Method] = {"gradcam": grad_cam, "gradcam++": grad_cam_plus, "occlusion": occlusion}
NAMES = {"gradcam": "Grad-CAM", "gradcam++": "Grad-CAM++", "occlusion": "Occlusion"}


def saliency(method: str, network: nn.Module, square: NDArray, target: Target, place: Maps | None = None) -> FloatArray:
    """Where the network looks, (S, S) in [0, 1], the strongest place being 1; all 0 where nothing speaks for the class.

    Parameters
    ----------
    method : {"gradcam", "gradcam++", "occlusion"}
    network : nn.Module
        In evaluation mode.
    square : (C, S, S) array in [0, 1]
        What the network sees.
    target : Target
        The explained value.
    place : Maps
        As `last_maps` found it; occlusion needs none.

    Raises
    ------
    DataError
        For an unknown method, or where the network answers no number.
    """
    look_up(method, METHODS, "method", DataError)
    weight = next(network.parameters(), None)
    device = "cpu" if weight is None else weight.device
    pixels = torch.from_numpy(np.ascontiguousarray(square, np.float32))[None].to(device)
    return unit(METHODS[method](network, pixels, target, place))


def unit(values: NDArray) -> FloatArray:
    """A map divided by its maximum, negative values 0.

    Raises
    ------
    DataError
        For a map with values that are no number.

    Examples
    --------
    >>> unit(np.array([[-1.0, 2.0], [4.0, 0.0]])).tolist(), unit(np.zeros((1, 1))).tolist()
    ([[0.0, 0.5], [1.0, 0.0]], [[0.0]])
    """
    array = np.maximum(np.asarray(values, np.float64), 0)
    if not np.isfinite(array).all():
        raise DataError("map: has values that are no number; the network's weights or the scan are damaged")
    highest = float(array.max(initial=0.0))
    return np.asarray(array / highest if highest > 0 else array, np.float32)


def last_maps(network: nn.Module, channels: int, size: int) -> Maps:
    """Where the network's last feature maps come out that its answer depends on.

    One random square is passed through. The last module that gives maps (N, C, h, h), (N, h, h, C) or tokens with
    h > 1 tells the kind; of those that give the same kind the last one counts whose places have a gradient. That is
    the last feature map of a convolutional network. In a transformer that answers from its class token, the other
    tokens of the last output play no part any more: there it is the norm before the last attention.

    Parameters
    ----------
    network : nn.Module
        Logits (N, K) of (N, channels, size, size).
    channels, size : int

    Raises
    ------
    DataError
        If no module gives such maps.

    Examples
    --------
    >>> from tumorscope.models.classifiers import Classifier
    >>> last_maps(Classifier.of("custom-cnn", outputs=1, channels=1, width=0.1).eval(), 1, 64)
    Maps(layer='backbone', layout='NCHW', side=4, prefix=0)
    """
    backbone = getattr(network, "backbone", network)
    nhwc = getattr(backbone, "output_fmt", None) == "NHWC"
    prefix = getattr(backbone, "num_prefix_tokens", None)
    seen: list[tuple[Maps, Tensor]] = []

    def keep(layer: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _given: Any, output: Any) -> None:
            place = _place(layer, output, nhwc, prefix)
            if place is not None and output.requires_grad:
                seen.append((place, output))

        return hook

    hooks = [module.register_forward_hook(keep(name)) for name, module in network.named_modules() if name]
    weight = next(network.parameters(), torch.zeros(()))
    probe = torch.rand((1, channels, size, size), generator=torch.Generator().manual_seed(0)).to(weight.device)
    try:
        with torch.enable_grad():
            logits = network(probe.requires_grad_(True))
    finally:
        for hook in hooks:
            hook.remove()
    if not seen:
        raise DataError(
            f"network: none of its layers gives maps of more than one place at {size} px; use --method occlusion, or a "
            "larger input"
        )
    return _last(seen, logits)


def _last(seen: list[tuple[Maps, Tensor]], logits: Tensor) -> Maps:
    """Of the outputs like the last one, the last that the logits depend on at its places."""
    names = [place.layer for place, _ in seen]
    shape = seen[-1][1].shape
    alike = [(place, output) for place, output in seen if output.shape == shape and names.count(place.layer) == 1]
    gradients = torch.autograd.grad(logits.sum(), [output for _, output in alike], allow_unused=True)
    for (place, _), gradient in zip(reversed(alike), reversed(gradients), strict=True):
        if gradient is not None and bool(place.planes(gradient).any()):
            return place
    return alike[-1][0] if alike else seen[-1][0]


def _place(layer: str, output: Any, nhwc: bool, prefix: int | None) -> Maps | None:
    """How a module's output is laid out as maps of one square; None where it is none."""
    if not isinstance(output, Tensor) or output.shape[0] != 1:  # windows of one square come as several
        return None
    if output.ndim == 4:
        first, second, third = output.shape[1:]
        if first == second > 1 and (nhwc or second != third):
            return Maps(layer, "NHWC", int(first))
        if second == third > 1:
            return Maps(layer, "NCHW", int(second))
    if output.ndim == 3:
        for before in range(MOST_PREFIX + 1) if prefix is None else (prefix,):
            side = math.isqrt(max(0, output.shape[1] - before))
            if side > 1 and side * side == output.shape[1] - before:
                return Maps(layer, "tokens", side, before)
    return None
