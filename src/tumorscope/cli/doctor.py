"""``tumorscope doctor``: whether this installation has what it needs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tumorscope.cli._console import answer, answer_json
from tumorscope.cli._options import Json
from tumorscope.errors import Exit, TumorscopeError

CORE = (
    "numpy", "scipy", "opencv-python-headless", "pillow", "tifffile", "imagecodecs", "scikit-image", "scikit-learn",
    "onnxruntime", "pydicom", "nibabel", "pydantic", "polars", "jinja2", "matplotlib", "typer", "rich",
)  # fmt: skip


def doctor(
    as_json: Json = False,
) -> int:
    """Check versions, image codecs, the embedded model, optional parts and the place for temporary files.

    Exit code: 0 when `predict` can work, 1 when something that it needs is missing.
    """
    import os
    import platform

    from tumorscope._version import __version__

    facts: dict[str, Any] = {
        "tumorscope": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "packages": {name: _version(name) for name in CORE},
        "codecs": _attempt(_codecs),
        "providers": _attempt(_providers),
        "model": _attempt(_model),
        "extras": _extras(),
        "temporary": _attempt(_temporary),
    }
    problems = [f"package {name} is missing" for name, version in facts["packages"].items() if version is None]
    problems += [
        f"{key}: {facts[key]['error']}"
        for key in ("codecs", "providers", "model", "temporary")
        if "error" in facts[key]
    ]
    if "error" not in facts["codecs"]:
        problems += [f"no decoder for {name}" for name, there in facts["codecs"].items() if not there]
    facts["problems"] = problems
    if as_json:
        answer_json(facts)
    else:
        _show(facts)
    return Exit.INTERNAL if problems else Exit.OK


def _show(facts: dict[str, Any]) -> None:
    for key, value in facts.items():
        if key == "problems":
            continue
        entries = value if isinstance(value, dict) else {"": value}
        for name, item in entries.items():
            words = {None: "not installed", True: "yes", False: "no"}
            shown = words.get(item, item) if item is None or isinstance(item, bool) else item
            answer(f"{f'{key} {name}'.strip():<44} {shown}")
    answer("")
    for problem in facts["problems"]:
        answer(f"PROBLEM: {problem}")
    if not facts["problems"]:
        answer("all well")


def _version(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _attempt(check: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What a check finds, or the reason why it cannot be made."""
    try:
        return check()
    except TumorscopeError as error:
        return {"error": str(error)}
    except (ImportError, OSError) as error:
        return {"error": f"{type(error).__name__}: {error}"}


def _codecs() -> dict[str, Any]:
    import cv2
    import imagecodecs
    from PIL import features
    from pydicom import uid
    from pydicom.pixels import get_decoder

    syntaxes = {
        "DICOM JPEG": uid.JPEGBaseline8Bit,
        "DICOM JPEG lossless": uid.JPEGLosslessSV1,
        "DICOM JPEG-LS": uid.JPEGLSLossless,
        "DICOM JPEG 2000": uid.JPEG2000Lossless,
        "DICOM RLE": uid.RLELossless,
    }
    found = {name: bool(get_decoder(syntax).is_available) for name, syntax in syntaxes.items()}
    found |= {name.upper(): bool(features.check(name)) for name in ("jpg", "zlib", "webp")}
    found["OpenCV PNG"] = bool(cv2.haveImageWriter(".png"))
    found["TIFF LZW"] = bool(imagecodecs.LZW.available)
    return found


def _providers() -> dict[str, Any]:
    import onnxruntime

    return {name: True for name in onnxruntime.get_available_providers()}


def _model() -> dict[str, Any]:
    from tumorscope.inference.bundle import Bundle

    bundle = Bundle.load(threads=1)
    return {"name": bundle.metadata.name, "version": bundle.metadata.version, "path": str(bundle.path)}


def _extras() -> dict[str, Any]:
    """For each extra its missing packages, or the word installed."""
    from importlib import metadata

    try:
        required = metadata.requires("tumorscope") or []
    except metadata.PackageNotFoundError:
        return {"": "unknown: tumorscope runs from its source, without installation"}
    wanted: dict[str, list[str]] = {}
    for line in required:
        match = re.match(r"([A-Za-z0-9._-]+).*extra\s*==\s*['\"]([^'\"]+)", line)
        if match and match[1] != "tumorscope":
            wanted.setdefault(match[2], []).append(match[1])
    said = {}
    for extra, packages in wanted.items():
        missing = [package for package in packages if _version(package) is None]
        remedy = f"missing {', '.join(missing)}; run: pip install 'tumorscope[{extra}]'"
        said[extra] = remedy if missing else "installed"
    return said


def _temporary() -> dict[str, Any]:
    import shutil
    import tempfile

    with tempfile.TemporaryFile() as file:
        file.write(b"tumorscope")
    folder = tempfile.gettempdir()
    return {"folder": folder, "free_gb": round(shutil.disk_usage(folder).free / 1e9, 1)}
