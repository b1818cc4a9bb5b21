"""JPEG, PNG, BMP and WebP through Pillow, on the grid that the file stores."""

from __future__ import annotations

import importlib
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tumorscope.io.color import to_grey
from tumorscope.io.decoding import check_channel, check_pixels, decoding, noted
from tumorscope.scan import Grid, Scan, Source

if TYPE_CHECKING:
    from PIL.Image import Image

# The plugin classes are used directly: Image.open would apply Pillow's own size guard, a global setting.
_PLUGINS = {
    "jpeg": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "png": ("PIL.PngImagePlugin", "PngImageFile"),
    "bmp": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "webp": ("PIL.WebPImagePlugin", "WebPImageFile"),
}

# EXIF orientation: axis order and flips (rows, columns) that bring the stored raster upright.
ORIENTATIONS = {
    1: ((0, 1), (False, False)),
    2: ((0, 1), (False, True)),
    3: ((0, 1), (True, True)),
    4: ((0, 1), (True, False)),
    5: ((1, 0), (False, False)),
    6: ((1, 0), (False, True)),
    7: ((1, 0), (True, True)),
    8: ((1, 0), (True, False)),
}


def read_raster(file: BinaryIO, path: Path, format: str, *, channel: int | None, max_pixels: int) -> Scan:
    """The scan in an open JPEG, PNG, BMP or WebP file.

    Colour is judged by `tumorscope.io.color.to_grey` unless ``channel`` picks one stored channel. Alpha is laid
    over black. The grid is the raster as stored; the EXIF orientation is what leads from it to the pixels.

    Raises
    ------
    ScanError
        If the file is damaged, cut short or larger than ``max_pixels``, or has no such channel.
    """
    with decoding(path, _name(format)):
        if format == "webp":
            check_pixels(path, _webp_size(file), max_pixels)
        module, plugin = _PLUGINS[format]
        file.seek(0)
        image: Image = getattr(importlib.import_module(module), plugin)(file)
        width, height = image.size
        check_pixels(path, (height, width, max(1, len(image.getbands()))), max_pixels)
        if format == "png":
            bits, kind = _png_header(file)
            stored = _png16(file) if bits == 16 and kind != 0 else _stored(image)
        else:
            bits = 1 if image.mode == "1" else 8
            stored = _stored(image)
        order, flips, notes = upright(_orientation(image))
        notes += _animation(image)
    source = Source(path, format, bits=bits, files=(path,), notes=notes)
    grid, full = Grid((height, width), order, flips), 65535.0 if bits == 16 else 255.0
    if stored.ndim == 3 and stored.shape[2] in (2, 4):
        stored, more = over_black(stored, full)
        source = noted(source, *more)
    return from_stored(stored, full, grid, source, channel)


def from_stored(stored: NDArray, full: float, grid: Grid, source: Source, channel: int | None) -> Scan:
    """A 2-D scan from (H, W) or (H, W, C) values, without alpha, on the file's grid."""
    if stored.ndim == 3 and stored.shape[2] == 1:
        stored = stored[..., 0]
    count = 1 if stored.ndim == 2 else stored.shape[2]
    check_channel(source.path, channel, count)
    if stored.ndim == 2 or channel is not None:
        plane = stored if stored.ndim == 2 else stored[..., channel]
        return Scan(np.ascontiguousarray(grid.from_file(plane), dtype=np.float32), "YX", grid, source)
    if count != 3:
        planes = np.stack([grid.from_file(stored[..., i]) for i in range(count)]).astype(np.float32)
        return Scan(planes, "CYX", grid, noted(source, f"{count} channels; --channel 0 to {count - 1} picks one"))
    grey = to_grey(stored, full)
    source = noted(source, *grey.notes)
    if grey.pixels.ndim == 2:
        return Scan(np.ascontiguousarray(grid.from_file(grey.pixels)), "YX", grid, source)
    return Scan(np.stack([grid.from_file(plane) for plane in grey.pixels]), "CYX", grid, source)


def upright(orientation: int) -> tuple[tuple[int, int], tuple[bool, bool], tuple[str, ...]]:
    """Axis order, flips and a note for an EXIF or TIFF orientation; unknown ones count as 1."""
    order, flips = ORIENTATIONS.get(orientation, ORIENTATIONS[1])
    turned = orientation in ORIENTATIONS and orientation != 1
    return order, flips, (f"turned upright as its orientation tag ({orientation}) says",) if turned else ()


def _orientation(image: Image) -> int:
    """The EXIF orientation; 1 where there is none, or the EXIF block is damaged."""
    if "exif" not in image.info:
        return 1
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # a damaged EXIF block is no reason to refuse the pixels
        return 1


def _name(format: str) -> str:
    return "WebP" if format == "webp" else format.upper()


def _stored(image: Image) -> NDArray:
    """The decoded raster: (H, W) grey, or (H, W, 2 | 3 | 4) with alpha last."""
    mode: str = image.mode
    if mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        return np.asarray(image)
    if mode in ("L", "LA", "RGB", "RGBA") and "transparency" not in image.info:
        return np.asarray(image)
    if mode == "1":
        return np.asarray(image.convert("L"))
    if "transparency" in image.info:
        return np.asarray(image.convert("RGBA"))
    return np.asarray(image.convert("RGBA" if mode in ("PA", "La", "RGBa") else "RGB"))


def over_black(stored: NDArray, full: float) -> tuple[NDArray, tuple[str, ...]]:
    """(..., C) grey or colour from (..., C + 1) with alpha last; what is transparent becomes black."""
    alpha = stored[..., -1]
    colour = stored[..., :-1]
    if alpha.min() == full:
        return colour, ()
    if alpha.max() == 0:
        return colour, ("the alpha channel is zero everywhere and was ignored",)
    blended = colour.astype(np.float32) * (alpha.astype(np.float32) / np.float32(full))[..., None]
    return blended, ("transparent parts were laid over black",)


def _animation(image: Image) -> tuple[str, ...]:
    frames = int(getattr(image, "n_frames", 1))
    return (f"an animation of {frames} frames; the first was read",) if frames > 1 else ()


def _png_header(file: BinaryIO) -> tuple[int, int]:
    """Bit depth and colour type of a PNG."""
    file.seek(24)
    depth, kind = struct.unpack("BB", file.read(2))
    return depth, kind


def _png16(file: BinaryIO) -> NDArray:
    """16-bit colour, which Pillow would cut down to 8 bits."""
    import imagecodecs

    file.seek(0)
    decoded: Any = imagecodecs.png_decode(file.read())
    return np.asarray(decoded)


def _webp_size(file: BinaryIO) -> tuple[int, int]:
    """Height and width in the header of a WebP file, whose decoder takes its memory on opening."""
    file.seek(12)
    head = file.read(18)
    if head[:4] == b"VP8X":
        return int.from_bytes(head[15:18], "little") + 1, int.from_bytes(head[12:15], "little") + 1
    if head[:4] == b"VP8L":
        bits = int.from_bytes(head[9:13], "little")
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    width, height = struct.unpack("<HH", head[14:18])
    return height & 0x3FFF, width & 0x3FFF
