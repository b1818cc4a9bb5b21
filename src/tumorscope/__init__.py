"""tumorscope: brain tumours in MRI scans, detected, outlined and measured.

Everything below is loaded when it is first used.

Examples
--------
>>> import tumorscope
>>> scan = tumorscope.Scan.of([[0.0, 1.0]])
>>> scan.shape
(1, 2)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tumorscope._version import __version__

if TYPE_CHECKING:
    from tumorscope.errors import (
        BundleError,
        DataError,
        MissingExtra,
        OutputError,
        RecipeError,
        ScanError,
        TrainingError,
        TumorscopeError,
        WeightsError,
    )
    from tumorscope.inference.bundle import Bundle
    from tumorscope.inference.predictor import Prediction, Predictor
    from tumorscope.io import discover, read, write_mask
    from tumorscope.report.predictions import predict
    from tumorscope.scan import Grid, Scan, Source

_HOMES = {
    "tumorscope.scan": ("Grid", "Scan", "Source"),
    "tumorscope.io": ("discover", "read", "write_mask"),
    "tumorscope.inference.bundle": ("Bundle",),
    "tumorscope.inference.predictor": ("Prediction", "Predictor"),
    "tumorscope.report.predictions": ("predict",),
    "tumorscope.errors": (
        "BundleError", "DataError", "MissingExtra", "OutputError", "RecipeError", "ScanError", "TrainingError",
        "TumorscopeError", "WeightsError",
    ),
}  # fmt: skip
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Bundle",
    "BundleError",
    "DataError",
    "Grid",
    "MissingExtra",
    "OutputError",
    "Prediction",
    "Predictor",
    "RecipeError",
    "Scan",
    "ScanError",
    "Source",
    "TrainingError",
    "TumorscopeError",
    "WeightsError",
    "__version__",
    "discover",
    "load_bundle",
    "predict",
    "read",
    "write_mask",
]


def load_bundle(path: Any = None) -> Bundle:
    """The bundle in a file; without one, the embedded scout. See `tumorscope.inference.bundle.Bundle.load`."""
    from tumorscope.inference.bundle import Bundle

    return Bundle.load(path)


def __getattr__(name: str) -> Any:
    """Load a public name from its home on first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'tumorscope' has no attribute '{name}'; it offers {', '.join(__all__)}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
