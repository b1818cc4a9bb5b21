"""NIfTI-1 and NIfTI-2, single file or header and image pair, plain or gzipped."""

from __future__ import annotations

import gzip
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError
from tumorscope.io.decoding import check_channel, check_pixels, decoding, fill_non_finite, label
from tumorscope.io.geometry import is_usable, lay_out, tilt_note
from tumorscope.scan import FloatArray, Scan, Source

# Millimetres per unit of xyzt_units: unknown (taken as mm where a transform is given), metre, millimetre, micrometre.
_UNITS = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}


def load_header(file: BinaryIO) -> Any:
    """The NIfTI header at the start of an open (unzipped) file, as nibabel's header object."""
    import nibabel as nib

    start = file.read(8)
    file.seek(0)
    sizes = {int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big")}
    kind = nib.Nifti2Header if 540 in sizes else nib.Nifti1Header
    return kind.from_fileobj(file, check=False)


def unzipped(file: BinaryIO) -> BinaryIO:
    """The file itself, or its content where it is gzipped; at its start."""
    file.seek(0)
    zipped = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return gzip.GzipFile(fileobj=file) if zipped else file  # type: ignore[return-value]


def read_nifti(file: BinaryIO, path: Path, *, channel: int | None, max_pixels: int) -> Scan:
    """The volume in an open NIfTI file, slices first, on the axes of the radiological display.

    A 2-D image is a volume of one slice. More than one volume needs ``channel``, which counts them from 0.
    NaN and infinities become background (`fill_non_finite`). Spacing is None, and the sides unknown, where the
    header has neither a usable transform nor voxel sizes with a unit.

    Raises
    ------
    ScanError
        If the file is damaged, cut short, complex, too large, or holds several volumes and none was chosen.
    """
    with decoding(path, "NIfTI file"):
        stream = unzipped(file)
        header = load_header(stream)
        shape = tuple(int(n) for n in header.get_data_shape())
        if not 2 <= len(shape) <= 7:
            raise ScanError(f"{label(path)}: a {len(shape)}-D NIfTI is neither an image nor a volume; export it again")
        check_pixels(path, shape[:3], max_pixels)
        check_pixels(path, shape, 2**62)
        columns, rows, slices = (*shape, 1)[:3]
        spatial = (columns, rows, slices)
        count = math.prod(shape[3:])
        if channel is None and count > 1:
            size = "x".join(map(str, shape))
            raise ScanError(
                f"{label(path)}: holds {count} volumes ({size}); choose one with --channel 0 to {count - 1}"
            )
        check_channel(path, channel, count)
        values = _voxels(stream, path, header, spatial, channel or 0)
    values, notes = fill_non_finite(path, values)
    affine, spacing_known, oriented, more = _geometry(header, spatial)
    layout = lay_out(spatial, affine)
    source = Source(
        path, "nifti", bits=int(header["bitpix"]), sides_known=oriented, files=(path,),
        notes=(*notes, *more, *(tilt_note(layout) if oriented else ())),
    )  # fmt: skip
    pixels = np.ascontiguousarray(layout.grid.from_file(values))
    grid = layout.grid if oriented else replace(layout.grid, affine=None)
    return Scan(
        pixels, "ZYX", grid, source, layout.spacing if spacing_known else None,
        layout.affine if oriented else None, layout.plane if oriented else None,
    )  # fmt: skip


def _voxels(stream: BinaryIO, path: Path, header: Any, shape: tuple[int, int, int], volume: int) -> FloatArray:
    """One volume as float32 in file order, scaled by the header's slope and intercept."""
    dtype = header.get_data_dtype()
    if dtype.kind == "c":
        raise ScanError(f"{label(path)}: the voxels are complex; save the magnitude as a real NIfTI")
    if dtype.kind not in "iuf" or dtype.itemsize == 0:
        raise ScanError(f"{label(path)}: voxels of type {dtype} are no grey values; save it as a scalar NIfTI")
    size = math.prod(shape) * dtype.itemsize
    offset = int(header.get_data_offset()) + volume * size
    if bytes(header["magic"]).startswith((b"ni1", b"ni2")):
        with open(_image_of(path), "rb") as file:
            raw = _bytes_at(unzipped(file), offset, size)
    else:
        raw = _bytes_at(stream, offset, size)
    if len(raw) < size:
        raise ScanError(f"{label(path)}: the voxels are cut short ({len(raw):,} of {size:,} bytes); fetch it again")
    values = np.frombuffer(raw, dtype).reshape(shape, order="F").astype(np.float32)
    slope, intercept = header.get_slope_inter()
    if slope is not None and (slope, intercept) != (1.0, 0.0):
        values = values * np.float32(slope) + np.float32(intercept)
    return values


def _bytes_at(stream: BinaryIO, offset: int, size: int) -> bytes:
    stream.seek(offset)
    raw = stream.read(size)
    stream.read(1)  # at the end of a gzip file this verifies its checksum
    return raw


def _image_of(path: Path) -> Path:
    """The image file beside a header file."""
    stem = path.name.removesuffix(".gz").removesuffix(".hdr")
    for name in (f"{stem}.img", f"{stem}.img.gz"):
        if path.with_name(name).is_file():
            return path.with_name(name)
    raise ScanError(f"{label(path)}: its image file {label(stem)}.img is not beside it; put both in one folder")


def _geometry(header: Any, shape: tuple[int, ...]) -> tuple[NDArray[np.float64], bool, bool, tuple[str, ...]]:
    """Affine in mm for the layout, whether spacing and directions are known, and notes on both."""
    unit = int(header["xyzt_units"]) & 7
    scale = _UNITS.get(unit, 1.0)
    zooms = np.abs(np.asarray(header["pixdim"][1:4], np.float64)) * scale
    affine = _transform(header)
    if affine is not None:
        affine = np.diag([scale, scale, scale, 1.0]) @ affine
        if is_usable(affine):
            note = () if unit in (1, 2, 3) else ("the header names no unit of length; millimetres were taken",)
            return affine, True, True, note
    known = bool(unit in (1, 2, 3) and np.isfinite(zooms[: len(shape)]).all() and (zooms > 0).all())
    steps = np.where(np.isfinite(zooms) & (zooms > 0), zooms, 1.0)
    fallback = np.diag([-steps[0], steps[1], steps[2], 1.0])  # as nibabel shows it: x to the left, y to the front
    note = ("the header has no usable orientation: left and right are unknown",)
    return fallback, known, False, note


def _transform(header: Any) -> NDArray[np.float64] | None:
    """The header's sform, else its qform, else None."""
    if int(header["sform_code"]) > 0:
        rows = [header["srow_x"], header["srow_y"], header["srow_z"]]
        affine = np.vstack([np.asarray(rows, np.float64), [0, 0, 0, 1]])
        if is_usable(affine):
            return affine
    if int(header["qform_code"]) > 0:
        try:
            affine = np.asarray(header.get_qform(), np.float64)
        except Exception:  # nibabel: a quaternion longer than 1
            return None
        return affine if is_usable(affine) else None
    return None
