"""Pixel values of a DICOM file as the file means them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError
from tumorscope.io.decoding import check_pixels, decoding, label
from tumorscope.io.dicom.header import count, element, frame_part, kind_problem, number
from tumorscope.scan import FloatArray

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_ELEMENTS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def values(data: Dataset, path: Path, max_pixels: int) -> FloatArray:
    """Pixel values of all frames: (F, H, W) or (F, H, W, 3), float32.

    Unused high bits are cut off, MONOCHROME1 is turned round (high is bright), padding becomes the smallest other
    value, palettes and YBR become RGB, and the modality transform (rescale slope and intercept, or its table) is
    applied, frame by frame where the file gives it so.

    Raises
    ------
    ScanError
        If there is no pixel data, it is damaged, or it exceeds ``max_pixels``.
    """
    if problem := kind_problem(data):
        raise ScanError(f"{label(path)}: {problem}")
    if not any(name in data for name in _ELEMENTS):
        raise ScanError(
            f"{label(path)}: the DICOM file has no pixel data, or ends before it; export it again with its images"
        )
    frames, samples = count(data, "NumberOfFrames") or 1, count(data, "SamplesPerPixel")
    shape = (frames, count(data, "Rows"), count(data, "Columns"), *((samples,) if samples != 1 else ()))
    check_pixels(path, shape, max_pixels)
    _check_length(data, path, shape)
    with decoding(path, "DICOM pixel data", private=True):
        stored = _decoded(data, path).reshape(shape)
        if element(data, "PhotometricInterpretation") == "PALETTE COLOR" and samples == 1:
            from pydicom.pixels import apply_color_lut

            colours: FloatArray = apply_color_lut(stored, data).astype(np.float32)
            return colours[..., :3]
        if samples > 1:
            return stored.astype(np.float32)
        return _meaning(data, stored if stored.dtype.kind == "f" else _own_bits(data, stored))


def full_value(data: Dataset) -> float:
    """The value of full brightness of a colour file."""
    table = element(data, "RedPaletteColorLookupTableDescriptor")
    bits = table[2] if table is not None and len(table) == 3 else number(data, "BitsStored") or 8
    return float(2 ** int(bits) - 1)


def _check_length(data: Dataset, path: Path, shape: tuple[int, ...]) -> None:
    """Refuse uncompressed pixel data that is cut short."""
    syntax = data.file_meta.TransferSyntaxUID
    raw = element(data, "PixelData")
    if (syntax.is_compressed and not syntax.is_deflated) or not isinstance(raw, bytes):
        return
    total = int(np.prod(shape, dtype=np.int64)) * count(data, "BitsAllocated")
    if element(data, "PhotometricInterpretation") == "YBR_FULL_422":
        total = total * 2 // 3
    if len(raw) * 8 < total:
        raise ScanError(
            f"{label(path)}: the pixel data is cut short ({len(raw):,} of {-(-total // 8):,} bytes); fetch it again"
        )


def _decoded(data: Dataset, path: Path) -> NDArray:
    """All frames as stored; for a compressed file by whichever decoder can."""
    from pydicom.pixels import pixel_array
    from pydicom.uid import RLELossless

    syntax = data.file_meta.TransferSyntaxUID
    if not syntax.is_compressed:
        return np.asarray(pixel_array(data, allow_excess_frames=False, correct_unused_bits=False))
    try:
        # the RLE decoder in Rust panics on damaged data, past every except clause
        plugin = "pydicom" if syntax == RLELossless else ""
        return np.asarray(pixel_array(data, allow_excess_frames=False, decoding_plugin=plugin))
    except Exception as error:
        try:
            return _decoded_jpeg12(data)
        except Exception:
            raise ScanError(
                f"{label(path)}: its pixel data ({syntax.name}) is damaged, cut short or of an unsupported kind; "
                "fetch it again, or decompress it first, for example with gdcmconv --raw"
            ) from error


def _decoded_jpeg12(data: Dataset) -> NDArray:
    """Frames of 12-bit JPEG, which none of pydicom's permissively licensed decoders takes."""
    import imagecodecs
    from pydicom.encaps import generate_frames

    if count(data, "BitsStored") <= 8:
        raise ValueError("no 12-bit JPEG")
    frames = generate_frames(data.PixelData, number_of_frames=count(data, "NumberOfFrames"))
    return np.stack([imagecodecs.jpeg8_decode(frame) for frame in frames])


def _own_bits(data: Dataset, stored: NDArray) -> NDArray:
    """The stored bits alone, without what overlays or scanners left in the unused ones."""
    allocated = stored.dtype.itemsize * 8
    used = int(number(data, "BitsStored") or allocated)
    if not 0 < used < allocated or data.file_meta.TransferSyntaxUID.is_encapsulated:
        return stored
    high = number(data, "HighBit")
    top = int(high) if high is not None and used - 1 <= high < allocated else used - 1
    moved: NDArray = (stored << (allocated - 1 - top)) >> (allocated - used)
    return moved


def _meaning(data: Dataset, stored: NDArray) -> FloatArray:
    """Single-sample values after padding, MONOCHROME1 and the modality transform. Shape (F, H, W)."""
    hidden = _padding(data, stored)
    if element(data, "ModalityLUTSequence"):
        from pydicom.pixels import apply_modality_lut

        shown = np.asarray(apply_modality_lut(stored, data)).astype(np.float32)
    else:
        shown = stored.astype(np.float32)
        if element(data, "PhotometricInterpretation") == "MONOCHROME1":
            bits = int(number(data, "BitsStored") or stored.dtype.itemsize * 8)
            top = -1.0 if stored.dtype.kind == "i" else float(2**bits - 1)
            shown = np.float32(top if stored.dtype.kind != "f" else shown.max() + shown.min()) - shown
        for frame in range(len(shown)):
            part = frame_part(data, frame, "PixelValueTransformationSequence") or data
            slope, intercept = number(part, "RescaleSlope") or 1.0, number(part, "RescaleIntercept") or 0.0
            if (slope, intercept) != (1.0, 0.0):
                shown[frame] = shown[frame] * np.float32(slope) + np.float32(intercept)
    if hidden is not None and hidden.any() and not hidden.all():
        shown[hidden] = shown[~hidden].min()
    return shown


def _padding(data: Dataset, stored: NDArray) -> NDArray[np.bool_] | None:
    """Where the file says that there is no data, or None."""
    value = number(data, "PixelPaddingValue")
    if value is None:
        return None
    limit = number(data, "PixelPaddingRangeLimit")
    low, high = sorted((value, value if limit is None else limit))
    where: NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return where
