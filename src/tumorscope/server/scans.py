"""A scan as a blob: its pixels and geometry and nothing else of the file that it came in."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import OutputError
from tumorscope.scan import Grid, Scan, Source

KEPT = ("format", "bits", "modality", "sides_known", "notes")
"""What is kept of a file besides pixels, axes, spacing and affine. All else is dropped: a list of what stays."""


def pack(scan: Scan) -> bytes:
    """A scan as the bytes of an ``.npz``; the same scan gives the same bytes.

    Examples
    --------
    >>> scan = Scan.of(np.arange(6.0).reshape(2, 3), spacing=(1.0, 0.5))
    >>> unpack(pack(scan), "x").pixels.tolist(), unpack(pack(scan), "x").spacing
    ([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], (1.0, 0.5))
    """
    grid = scan.grid
    facts = {
        "axes": scan.axes,
        "spacing": scan.spacing,
        "plane": scan.plane,
        "grid": {"shape": grid.shape, "order": [int(n) for n in grid.order], "flips": [bool(n) for n in grid.flips]},
        "source": {key: getattr(scan.source, key) for key in KEPT},
    }
    arrays: dict[str, NDArray] = {"pixels": _smallest(scan.pixels)}
    if scan.affine is not None:
        arrays["affine"] = np.asarray(scan.affine, np.float64)
    if grid.affine is not None:
        arrays["grid_affine"] = np.asarray(grid.affine, np.float64)
    stream = io.BytesIO()
    text = np.frombuffer(json.dumps(facts, sort_keys=True).encode(), np.uint8)
    np.savez_compressed(stream, allow_pickle=False, facts=text, **arrays)
    return stream.getvalue()


def unpack(content: bytes, identifier: str) -> Scan:
    """The scan in the bytes that `pack` made.

    Its ``source.path`` is made of the case's ``identifier``; there is no such file, and what a client called its
    file touches no file system.

    Raises
    ------
    OutputError
        If the bytes are not those of a scan.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            facts: dict[str, Any] = json.loads(arrays["facts"].tobytes())
            pixels = arrays["pixels"].astype(np.float32)
            affine = arrays.get("affine")
            grid_affine = arrays.get("grid_affine")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise OutputError(f"case {identifier}: its scan is damaged; restore the workspace from a copy") from error
    grid, source = facts["grid"], facts["source"]
    path = Path("case") / identifier
    return Scan(
        pixels,
        facts["axes"],
        Grid(tuple(grid["shape"]), tuple(grid["order"]), tuple(grid["flips"]), grid_affine),
        Source(path, **{**source, "notes": tuple(source["notes"])}),
        None if facts["spacing"] is None else tuple(facts["spacing"]),
        affine,
        facts["plane"],
    )


def _smallest(pixels: NDArray[np.float32]) -> NDArray:
    """The pixels in the smallest type that holds them exactly."""
    for kind in (np.uint8, np.uint16, np.int16):
        limits = np.iinfo(kind)
        if pixels.min() >= limits.min and pixels.max() <= limits.max:
            whole = pixels.astype(kind)
            if np.array_equal(whole, pixels):
                return whole
    return pixels
