"""Writing: whole files or none, and masks on the grid of the file that they belong to."""

from __future__ import annotations

import gzip
import io as streams
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import OutputError, ScanError
from tumorscope.io.decoding import label, one_line, quiet
from tumorscope.scan import Scan

# Fields of a NIfTI header that say where its voxels lie; nothing else is copied, names of patients among it.
_GEOMETRY = (
    "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z",
    "srow_x", "srow_y", "srow_z",
)  # fmt: skip


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path``, which takes its name when the block ends well.

    On any exception, Ctrl-C included, the temporary file is removed and ``path`` is left as it was. Folders on the
    way are made.

    Yields
    ------
    Path
        Not yet existing, in the same folder, with the same suffixes.

    Raises
    ------
    OutputError
        For every OSError: no permission, no space, a folder in the way, a name too long.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic(Path(folder, "a.txt")) as temporary:
    ...         _ = temporary.write_text("done")
    ...     os.listdir(folder)
    ['a.txt']
    """
    target = Path(path)
    suffix = "".join(target.suffixes[-2:]) if target.name.lower().endswith(".gz") else target.suffix
    temporary = target.with_name(f".{secrets.token_hex(6)}.tmp{suffix[:24]}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        raise OutputError(
            f"{label(target)}: cannot be written ({one_line(error)}); "
            "check space and permissions, or choose another folder"
        ) from error
    finally:
        with suppress(OSError):  # gone by the rename, or its folder never was
            temporary.unlink()


def write_image(path: str | Path, image: NDArray) -> None:
    """Write a (H, W) or (H, W, 3) uint8 array as PNG.

    Raises
    ------
    ScanError
        If the array is of another kind.
    OutputError
        If it cannot be written.
    """
    from PIL import Image

    array = np.ascontiguousarray(image)
    if array.dtype != np.uint8 or array.size == 0 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        given = f"{array.dtype} of shape {array.shape}"
        raise ScanError(f"{label(path)}: {given} is no image; pass uint8 of shape (H, W) or (H, W, 3)")
    with atomic(path) as temporary:
        Image.fromarray(array).save(temporary, format="PNG", compress_level=4)


def write_mask(path: str | Path, mask: NDArray, scan: Scan) -> None:
    """Write a mask given on the scan's axes back on the grid of the scan's file.

    ``.png``: 0 and 255, on the stored width and height of a 2-D file (before any EXIF rotation). ``.nii.gz`` or
    ``.nii``: 0 and 1 on the file's grid and affine; a NIfTI's own geometry fields are copied from it bit by bit, a
    DICOM series becomes (column, row, slice) in RAS+.

    Parameters
    ----------
    path : path
        Its suffix decides the format.
    mask : (H, W) or (D, H, W) array
        True, or not zero, where marked; of the shape ``scan.shape``.
    scan : Scan
        What it belongs to.

    Raises
    ------
    ScanError
        If the shapes differ, or a volume is to become a PNG.
    OutputError
        If it cannot be written, or the suffix is none of these.
    """
    target = Path(path)
    array = np.asarray(mask) != 0
    if array.shape != scan.shape:
        given, own = ("x".join(map(str, shape)) for shape in (array.shape, scan.shape))
        raise ScanError(f"{label(scan.source.path)}: the mask is {given}, the scan {own}; give one of equal shape")
    stored = scan.grid.to_file(array)
    name = target.name.lower()
    if name.endswith(".png"):
        if scan.is_volume:
            raise ScanError(f"{label(target)}: the mask of a volume does not fit a PNG; name it .nii.gz")
        write_image(target, stored.astype(np.uint8) * np.uint8(255))
    elif name.endswith((".nii.gz", ".nii")):
        _write_nifti(target, stored, scan)
    else:
        raise OutputError(f"{label(target)}: a mask is written as .png or .nii.gz; choose one of these suffixes")


def write_volume(path: str | Path, pixels: NDArray, scan: Scan, corner: tuple[int, int, int] = (0, 0, 0)) -> None:
    """Write (D, H, W) float32 values of a part of ``scan`` as NIfTI that lies where that part lies.

    Parameters
    ----------
    path : path
        ``.nii.gz`` or ``.nii``.
    pixels : (D, H, W) array
        On the scan's axes.
    scan : Scan
        The volume that they were made from.
    corner : (int, int, int)
        Voxel of the scan at ``pixels[0, 0, 0]``.

    Raises
    ------
    ScanError
        If either is no volume.
    OutputError
        If it cannot be written, or the suffix is none of these.
    """
    target = Path(path)
    if pixels.ndim != 3 or not scan.is_volume:
        raise ScanError(f"{label(target)}: {pixels.ndim}-D values of a {len(scan.shape)}-D scan; pass (D, H, W) of one")
    if not target.name.lower().endswith((".nii.gz", ".nii")):
        raise OutputError(f"{label(target)}: a volume is written as .nii.gz or .nii; choose one of these suffixes")
    affine = None
    if scan.affine is not None:
        affine = np.array(scan.affine, float)[:, [2, 1, 0, 3]]
        affine[:, 3] = np.array(scan.affine) @ [*corner, 1]
    with quiet():
        header = _made_header(affine, None if scan.spacing is None else scan.spacing[::-1])
        voxels = np.ascontiguousarray(pixels, np.float32).transpose(2, 1, 0)
        header.set_data_dtype(np.float32)
        _save_nifti(target, header, voxels)


def _write_nifti(target: Path, stored: NDArray, scan: Scan) -> None:
    """Mask on the file's grid as NIfTI."""
    with quiet():
        if scan.source.format == "nifti":
            shape, header = _own_header(scan) or (stored.shape, _made_header(scan.grid.affine, _file_spacing(scan)))
            voxels = stored.reshape(shape)
        else:  # (slice, row, column) in the file becomes (column, row, slice)
            voxels = stored.reshape((1, *stored.shape)[-3:]).transpose(2, 1, 0)
            affine, spacing = scan.grid.affine, _file_spacing(scan)
            affine = None if affine is None else affine[:, [2, 1, 0, 3]]
            header = _made_header(affine, None if spacing is None else spacing[::-1])
        header.set_data_dtype(np.uint8)
        _save_nifti(target, header, voxels.astype(np.uint8))


def _save_nifti(target: Path, header: Any, voxels: NDArray) -> None:
    """Header and voxels as one file, compressed where its name says so; the same bytes for the same values."""
    header.set_data_shape(voxels.shape)
    head = header.binaryblock
    header["vox_offset"] = len(head) + 4
    content = header.binaryblock + bytes(4) + voxels.tobytes(order="F")
    if target.name.lower().endswith(".gz"):
        buffer = streams.BytesIO()
        with gzip.GzipFile(filename="", fileobj=buffer, mode="wb", compresslevel=5, mtime=0) as packed:
            packed.write(content)
        content = buffer.getvalue()
    with atomic(target) as temporary:
        temporary.write_bytes(content)


def _file_spacing(scan: Scan) -> tuple[float, ...] | None:
    """Spacing along the file's axes."""
    if scan.spacing is None:
        return None
    return tuple(scan.spacing[axis] for axis in np.argsort(scan.grid.order))


def _own_header(scan: Scan) -> tuple[tuple[int, ...], Any] | None:
    """Shape and a fresh header with the geometry of the scan's own NIfTI, where that still lies in its place."""
    from tumorscope.io.formats import open_file
    from tumorscope.io.nifti import load_header, unzipped

    try:
        with open_file(scan.source.path) as file:
            own = load_header(unzipped(file))
    except Exception:  # moved or changed since it was read: the grid's affine serves
        return None
    shape = tuple(int(n) for n in own.get_data_shape()[:3])
    if (*shape, 1)[:3] != scan.grid.shape:
        return None
    header = type(own)()
    for name in _GEOMETRY:
        header[name] = own[name]
    header["pixdim"] = [*own["pixdim"][:4], 1, 1, 1, 1]
    header["xyzt_units"] = int(own["xyzt_units"]) & 7
    return shape, header


def _made_header(affine: NDArray | None, spacing: tuple[float, ...] | None) -> Any:
    """A NIfTI-1 header with an affine (as sform, and as qform where it has no shear), or with spacing alone."""
    import nibabel as nib

    header: Any = nib.Nifti1Header()
    header["pixdim"][:4] = 1
    if spacing is not None:
        header["pixdim"][1 : 1 + len(spacing)] = spacing
        header["xyzt_units"] = 2
    if affine is not None:
        header["xyzt_units"] = 2
        header.set_sform(affine, code=1)
        header.set_qform(affine, code=1, strip_shears=True)
        if not np.allclose(header.get_qform(), affine, atol=1e-3):
            header["qform_code"] = 0
    return header
