"""What one file gives an audit: traits of file and picture, thumbnails, the head, and all that is around it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope import io
from tumorscope.audit.quality import SCHEMA as QUALITY
from tumorscope.audit.quality import quality
from tumorscope.audit.views import views
from tumorscope.datasets import duplicates
from tumorscope.errors import TumorscopeError
from tumorscope.imaging.geometry import Letterbox
from tumorscope.imaging.head import grey_range, to_grey
from tumorscope.imaging.preparation import Preparation, Prepared
from tumorscope.scan import BoolArray, FloatArray, Scan

HEAD_SIDE = 64  # px, side of the square that holds the head
AROUND_SIDE = 48  # px, side of the square that holds everything but the head
WORKING = 512  # px, longer side of the picture in which the head is looked for; letters are still legible
MARGIN = 0.02  # of the longer side: the head is blotted out with this much around it, for its rim is blurred
BLOT = 128  # of 255, what stands in place of the head
PREPARATION = Preparation(size=HEAD_SIDE)
FULL = "the head fills the image"  # the reason of `crop_head` for a crop of all

#: Columns that a scan's content settles, those of `views` and `quality` among them.
SCHEMA: dict[str, type[pl.DataType]] = {
    "problem": pl.String,
    "pixel_hash": pl.String,
    "file_format": pl.String,
    "mode": pl.String,
    "bits": pl.Int64,
    "scan_width": pl.Int64,
    "scan_height": pl.Int64,
    "scan_plane": pl.String,
    "plane_guess": pl.String,
    "plane_confidence": pl.Float64,
    "sequence_guess": pl.String,
    "sequence_confidence": pl.Float64,
    **QUALITY,
}
#: The arrays, as bytes: thumbnails (2, 24, 24) float16, head (64, 64) uint8, around (48, 48) uint8.
ARRAYS: dict[str, type[pl.DataType]] = {"print": pl.Binary, "head": pl.Binary, "around": pl.Binary}

Row = dict[str, Any]


def traits(path: str | Path, channel: int | None = None) -> Row:
    """One row of the columns in `SCHEMA` and `ARRAYS` about one scan; of a scan that fails only its ``problem``.

    Nothing is raised: the others of a data set must go on.

    Examples
    --------
    >>> traits("missing.png")
    {'problem': 'missing.png: there is no such file; check the path'}
    """
    try:
        return _traits(Path(path), channel)
    except TumorscopeError as error:
        return {"problem": str(error)}
    except MemoryError:
        return {"problem": f"{path}: does not fit into memory; cut it into smaller parts"}
    except Exception as error:  # one odd file must not end an audit of thousands; it is told, not hidden
        words = " ".join(str(error).split())
        return {"problem": f"{path}: internal error, {type(error).__name__}: {words}; leave the scan out"}


def _traits(path: Path, channel: int | None) -> Row:
    scan = io.read(path, channel=channel)
    plane = scan.middle()
    small = _shrunk(plane)
    prepared = PREPARATION.prepare(small)
    found = prepared.crop.mode != "none" or prepared.crop.reason == FULL
    mask = _enlarged(prepared.head, plane.shape) if found else np.zeros(plane.shape, bool)
    head = np.rint(prepared.pixels * 255).astype(np.uint8)
    return {
        "problem": None,
        "pixel_hash": pixel_hash(scan),
        "file_format": scan.source.format,
        "mode": _mode(path, scan),
        "bits": scan.source.bits,
        "scan_width": plane.shape[1],
        "scan_height": plane.shape[0],
        "scan_plane": scan.plane,
        **asdict(views(head[None])[0]),
        **asdict(quality(plane, mask, prepared.findings)),
        "print": duplicates.thumbnails(plane).astype(np.float16).tobytes(),
        "head": head.tobytes(),
        "around": around(small, prepared).tobytes(),
    }


def pixel_hash(scan: Scan) -> str:
    """SHA-256 of a scan's axes, shape and values: the same for a copy in another lossless format.

    Examples
    --------
    >>> flat = Scan.of(np.zeros((2, 3)))
    >>> pixel_hash(flat) == pixel_hash(Scan.of(-flat.pixels)), pixel_hash(flat) == pixel_hash(Scan.of(flat.pixels.T))
    (True, False)
    """
    digest = hashlib.sha256(f"{scan.axes} {scan.pixels.shape}".encode())
    values = scan.pixels + np.float32(0)  # -0.0 equals 0.0, its bytes do not
    digest.update(np.ascontiguousarray(values, "<f4").tobytes())
    return digest.hexdigest()


def around(plane: FloatArray, prepared: Prepared) -> NDArray[np.uint8]:
    """The picture (48, 48) without its head: blotted out by mid-grey, padded to a square with black.

    Parameters
    ----------
    plane : (H, W) float32 array
        Not cleaned.
    prepared : Prepared
        The same slice, prepared. Where no head was found the whole picture is blotted out.
    """
    grey = to_grey(plane, *grey_range(plane))
    reach = 2 * max(1, round(MARGIN * max(plane.shape))) + 1
    grey[cv2.dilate(prepared.head.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0] = BLOT
    square = Letterbox.fit(plane.shape, AROUND_SIDE).apply(grey, "area", fill=0)
    return np.clip(np.rint(square), 0, 255).astype(np.uint8)


def _shrunk(plane: FloatArray) -> FloatArray:
    factor = WORKING / max(plane.shape)
    if factor >= 1:
        return plane
    size = max(1, round(plane.shape[1] * factor)), max(1, round(plane.shape[0] * factor))
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.float32)


def _enlarged(mask: BoolArray, shape: tuple[int, ...]) -> BoolArray:
    if mask.shape == shape:
        return mask
    return cv2.resize(mask.astype(np.uint8), (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST) > 0


def _mode(path: Path, scan: Scan) -> str | None:
    """How a raster file stores its pixels: grey, colour, palette, with alpha; None for other formats."""
    if scan.source.format in ("dicom", "nifti"):
        return None
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return image.mode
    except (UnidentifiedImageError, OSError, ValueError):  # a TIFF that only tifffile reads
        return None
