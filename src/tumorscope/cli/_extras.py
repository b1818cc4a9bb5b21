"""Commands that need optional packages say so before they import them."""

from __future__ import annotations

from importlib.util import find_spec

from tumorscope.errors import MissingExtra

TRAINING = ("torch", "lightning", "segmentation_models_pytorch", "timm", "onnx", "onnxscript", "safetensors")


def need_training() -> None:
    """Raise `MissingExtra` unless the packages of the ``train`` extra can be found."""
    for package in TRAINING:
        if find_spec(package) is None:
            raise MissingExtra("training", package, "train")
