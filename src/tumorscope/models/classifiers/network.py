"""A classifier: any timm backbone (or the custom CNN), pooled features, a head of named layers, one logit a class."""

from __future__ import annotations

import difflib
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from tumorscope.errors import RecipeError
from tumorscope.models.classifiers.custom_cnn import MEAN, STD, CustomCNN
from tumorscope.models.heads import Layer, layers

CUSTOM = "custom-cnn"
# Keras BatchNorm has momentum .99 and epsilon 1e-3; torch counts the momentum from the other end.
NORM = {"momentum": 0.01, "eps": 1e-3}


class Classifier(nn.Module):
    """Logits of grey or coloured squares in [0, 1].

    The square is repeated to the backbone's channels and normalised with the mean and spread that its weights were
    trained with, inside the network, so that no caller can do it wrongly.

    Parameters
    ----------
    backbone : nn.Module
        Turns (N, C, S, S) into features.
    features : int
        Length of the pooled features.
    head : list of Layer
        Between the pooled features and the classes.
    outputs : int
        Logits: 1 for two classes (of the second one), otherwise one for each class.
    channels : int
        That the backbone takes.
    mean, std : tuple of float
        One value for each channel.

    Examples
    --------
    >>> network = Classifier.of("custom-cnn", ["dense 8"], outputs=1, channels=1, width=0.1)
    >>> network(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 1])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        features: int,
        head: list[Layer],
        outputs: int,
        channels: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = _head(features, head, outputs)
        self.channels = channels
        self.register_buffer("mean", torch.tensor(_spread(mean, channels)).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_spread(std, channels)).view(1, -1, 1, 1), persistent=False)

    @classmethod
    def of(
        cls,
        backbone: str,
        head: Sequence[str] = (),
        *,
        outputs: int,
        channels: int = 3,
        size: int = 224,
        width: float = 1.0,
    ) -> Classifier:
        """A network with random weights.

        Parameters
        ----------
        backbone : str
            A timm model, or ``custom-cnn``.
        head : sequence of str
            Words of `models.heads.layers`.
        outputs, channels : int
        size : int
            Side of the squares, px; transformers with fixed positions are built for it.
        width : float
            Factor on the filters of ``custom-cnn``.

        Raises
        ------
        RecipeError
            For a backbone that timm does not know; the nearest names are given.
        """
        if backbone == CUSTOM:
            own = CustomCNN(channels, width)
            return cls(own, own.num_features, layers(head), outputs, channels, MEAN, STD)
        known = _timm(backbone, channels, size)
        cfg = known.pretrained_cfg
        return cls(known, _features(known), layers(head), outputs, channels, tuple(cfg["mean"]), tuple(cfg["std"]))

    def features(self, image: Tensor) -> Tensor:
        """Pooled features (N, F) of (N, 1 or C, S, S) squares in [0, 1]."""
        maps = self.backbone.forward_features(self._normalised(image))  # type: ignore[operator]
        if isinstance(self.backbone, CustomCNN) or _is_vgg(self.backbone):
            return maps.mean(dim=(2, 3))
        return self.backbone.forward_head(maps, pre_logits=True)  # type: ignore[operator]

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, outputs) of (N, 1 or C, S, S) squares in [0, 1]."""
        return self.head(self.features(image))

    def train_part(self, part: str) -> None:
        """Let ``head`` or ``all`` learn; a frozen part keeps its weights and its batch statistics."""
        for parameter in self.backbone.parameters():
            parameter.requires_grad_(part == "all")
        self._frozen = part == "head"
        self.train(self.training)

    def train(self, mode: bool = True) -> Classifier:
        """As `nn.Module.train`; layers of a frozen backbone stay in inference mode."""
        super().train(mode)
        if mode and getattr(self, "_frozen", False):
            self.backbone.eval()
        return self

    def norms(self) -> list[nn.Module]:
        """All batch-norm layers."""
        return [module for module in self.modules() if isinstance(module, _BatchNorm)]

    def _normalised(self, image: Tensor) -> Tensor:
        if image.shape[1] != self.channels:
            grey = image.shape[1] == 1
            image = image.expand(-1, self.channels, -1, -1) if grey else image.mean(dim=1, keepdim=True)
        return (image - self.mean) / self.std


def backbones() -> list[str]:
    """Names that a recipe may give as ``model.backbone``."""
    return [CUSTOM, *timm.list_models()]


def _timm(name: str, channels: int, size: int) -> Any:
    """The headless timm model, with random weights."""
    if not timm.is_model(name.split(".")[0]):
        near = difflib.get_close_matches(name, backbones(), n=3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise RecipeError(f"model.backbone: unknown backbone '{name}'; {hint}use a name of timm.list_models()")
    settings: dict[str, Any] = {"num_classes": 0, "in_chans": channels}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        if "img_size" in _settings_of(name):
            settings["img_size"] = size
        return timm.create_model(name, **settings)


def _settings_of(name: str) -> set[str]:
    """``{"img_size"}`` where a model's positions hang on the size of its input."""
    cfg = timm.models.get_pretrained_cfg(name)
    return {"img_size"} if cfg is not None and cfg.fixed_input_size else set()


def _is_vgg(backbone: nn.Module) -> bool:
    return hasattr(backbone, "features") and hasattr(backbone, "pre_logits")


def _features(backbone: Any) -> int:
    if _is_vgg(backbone):
        backbone.pre_logits = nn.Identity()  # the two dense layers of 4,096 are left out, as with Keras' include_top
        return int(backbone.num_features)
    return int(getattr(backbone, "head_hidden_size", None) or backbone.num_features)


def _head(features: int, chosen: list[Layer], outputs: int) -> nn.Sequential:
    """Named layers: ``dense`` with a ReLU, ``batchnorm`` with Keras' figures, ``dropout``; last the ``classes``."""
    built: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (kind, value) in enumerate(chosen):
        if kind == "batchnorm":
            built[f"norm{number}"] = nn.BatchNorm1d(features, **NORM)  # type: ignore[arg-type]
        elif kind == "dropout":
            built[f"dropout{number}"] = nn.Dropout(value)
        else:
            built[f"dense{number}"] = nn.Linear(features, int(value))
            built[f"relu{number}"] = nn.ReLU()
            features = int(value)
    built["classes"] = nn.Linear(features, outputs)
    return nn.Sequential(built)


def _spread(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """One value for each channel; the mean of three where a backbone takes one."""
    return values if len(values) == channels else (sum(values) / len(values),) * channels
