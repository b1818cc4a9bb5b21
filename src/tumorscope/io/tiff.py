"""TIFF through tifffile: integer and float samples, palettes, inverted grey, and pages as slices."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError
from tumorscope.io.color import to_grey
from tumorscope.io.decoding import check_channel, check_pixels, decoding, fill_non_finite, label, noted
from tumorscope.io.raster import from_stored, over_black, upright
from tumorscope.scan import Grid, Scan, Source


def read_tiff(file: BinaryIO, path: Path, *, channel: int | None, max_pixels: int) -> Scan:
    """The image in an open TIFF file, or, where it has several pages of one size, the volume of its pages.

    Pages are slices, in file order, without spacing (TIFF resolution tags describe print, not patients), unless
    the file's own OME or ImageJ metadata call the axis channels.

    Raises
    ------
    ScanError
        If the file is damaged, cut short or larger than ``max_pixels``, or has no such channel.
    """
    import tifffile

    with decoding(path, "TIFF"):
        _check_chain(file, path)
        file.seek(0)
        with tifffile.TiffFile(file, name=path.name) as tiff:
            series = tiff.series[0]
            page: Any = tiff.pages[0]
            check_pixels(path, series.shape, max_pixels)
            _check_complete(file, path, series)
            notes: tuple[str, ...] = ()
            if len(tiff.series) > 1:
                notes = (f"{len(tiff.series) - 1} further images of other sizes in the file were left out",)
            axes, stored = _ordered(path, series.axes, np.asarray(series.asarray(maxworkers=1)))
            stored, more = _finite(path, stored)
            stored, full = _meaning(path, page, stored, "S" in axes)
            alpha = "S" in axes and any(kind in (1, 2) for kind in page.extrasamples or ())
            order, flips, turned = upright(int(page.tags.valueof(274, 1) or 1))
            bits = int(np.max(page.bitspersample))
    if alpha:
        stored, transparent = over_black(stored, full)
        more += transparent
    source = Source(path, "tiff", bits=bits, files=(path,), notes=(*notes, *turned, *more))
    if "Z" not in axes:
        height, width = stored.shape[:2]
        return from_stored(stored, full, Grid((height, width), order, flips), source, channel)
    grid = Grid(stored.shape[:3], (0, order[0] + 1, order[1] + 1), (False, *flips))
    return _volume(stored, full, grid, source, channel)


def _check_chain(file: BinaryIO, path: Path) -> None:
    """Refuse a file that ends before its last page's directory; tifffile would pass over the pages beyond."""
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\x00", b"\x00+")
    word, entry, number = (order + "Q", 20, order + "Q") if big else (order + "I", 12, order + "H")
    offset = struct.unpack_from(word, head, 8 if big else 4)[0]
    seen: set[int] = set()
    while offset:
        file.seek(offset)
        raw = file.read(struct.calcsize(number))
        if len(raw) == struct.calcsize(number):
            file.seek(struct.unpack(number, raw)[0] * entry, os.SEEK_CUR)
            raw = file.read(struct.calcsize(word))
        if offset in seen or len(raw) < struct.calcsize(word):
            raise ScanError(f"{label(path)}: the TIFF is cut short or damaged after {len(seen)} pages; fetch it again")
        seen.add(offset)
        offset = struct.unpack(word, raw)[0]


def _check_complete(file: BinaryIO, path: Path, series: Any) -> None:
    """Refuse a file that ends before its pixel data does."""
    size = file.seek(0, os.SEEK_END)
    for page in series.pages:
        if page is None:
            continue
        ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=False)]
        if ends and max(ends) > size:
            raise ScanError(f"{label(path)}: the TIFF is cut short ({size:,} of {max(ends):,} bytes); fetch it again")


def _ordered(path: Path, axes: str, stored: NDArray) -> tuple[str, NDArray]:
    """Axes "YX", "YXS", "ZYX" or "ZYXS" and the array brought to them. Every non-channel, non-plane axis is Z."""
    keep = [i for i, n in enumerate(stored.shape) if n > 1 or axes[i] in "YX"]
    stored = stored.reshape([stored.shape[i] for i in keep])
    names = "".join(axes[i] if axes[i] in "YXSC" else "Z" for i in keep)
    names = names.replace("C", "S")
    if len(set(names)) < len(names) or not {"Y", "X"} <= set(names):
        shape = "x".join(map(str, stored.shape))
        raise ScanError(f"{label(path)}: a TIFF of axes {axes} ({shape}) is no image and no volume; save its parts")
    target = [letter for letter in "ZYXS" if letter in names]
    return "".join(target), np.transpose(stored, [names.index(letter) for letter in target])


def _finite(path: Path, stored: NDArray) -> tuple[NDArray, tuple[str, ...]]:
    """Float samples without NaN and infinities, with a note; other samples as they are."""
    if stored.dtype.kind == "c":
        raise ScanError(f"{label(path)}: the samples are complex; save the magnitude")
    return fill_non_finite(path, stored.astype(np.float32)) if stored.dtype.kind == "f" else (stored, ())


def _meaning(path: Path, page: Any, stored: NDArray, coloured: bool) -> tuple[NDArray, float]:
    """Values after palette, inversion and ink, and the value of full brightness."""
    photometric = int(page.photometric)
    if photometric not in (0, 1, 2, 3, 4, 5, 32844) and not (photometric == 6 and page.compression in (6, 7)):
        raise ScanError(f"{label(path)}: its colour space ({page.photometric.name}) is not supported; save it as RGB")
    if photometric == 3 and page.colormap is not None and not coloured:
        colours = (np.asarray(page.colormap) >> 8).astype(np.uint8)  # 16-bit entries that hold 8 bits, times 256 or 257
        return np.moveaxis(colours[:, stored], 0, -1), 255.0
    if stored.dtype.kind == "b":
        stored = stored.astype(np.uint8) * np.uint8(255)
    if stored.dtype.kind == "f":
        low, full = float(stored.min()), max(float(stored.max()), 1e-6)
    else:
        bits = max(8, int(np.max(page.bitspersample)))
        signed = stored.dtype.kind == "i"
        low, full = (-float(2 ** (bits - 1)), float(2 ** (bits - 1) - 1)) if signed else (0.0, float(2**bits - 1))
    if photometric == 0:
        return (np.float64(low + full) - stored).astype(np.float32), full
    if photometric == 5 and coloured and stored.shape[-1] >= 4:
        ink = stored.astype(np.float32) / np.float32(full)
        return (1 - ink[..., :3]) * (1 - ink[..., 3:4]) * np.float32(full), full
    return stored, full


def _volume(stored: NDArray, full: float, grid: Grid, source: Source, channel: int | None) -> Scan:
    """A volume from (Z, H, W) or (Z, H, W, C) values, without alpha, on the file's grid."""
    count = stored.shape[3] if stored.ndim == 4 else 1
    check_channel(source.path, channel, count)
    depth, height, width = stored.shape[:3]
    if stored.ndim == 3 or channel is not None or count == 1:
        planes = (stored if stored.ndim == 3 else stored[..., channel or 0])[None]
    elif count == 3:
        grey = to_grey(stored.reshape(depth * height, width, 3), full)
        source = noted(source, *grey.notes)
        planes = grey.pixels.reshape(-1, depth, height, width)
    else:
        planes = np.moveaxis(stored, -1, 0)
        source = noted(source, f"{count} channels; --channel 0 to {count - 1} picks one")
    moved = np.stack([grid.from_file(plane) for plane in planes]).astype(np.float32)
    return Scan(moved[0], "ZYX", grid, source) if len(moved) == 1 else Scan(moved, "CZYX", grid, source)
