"""What a browser is shown of a scan: thumbnails and volumes, made from the pixels, without a name in them."""

from __future__ import annotations

import gzip
import io

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import look_up
from tumorscope.imaging.intensity import percentiles
from tumorscope.imaging.musica import musica
from tumorscope.scan import FloatArray, Scan
from tumorscope.server.problems import Problem

THUMBNAIL = 160  # pixels of the longer side
DARKEST, BRIGHTEST = 1.0, 99.5  # percentiles that become black and white in a thumbnail
VARIANTS = ("original", "musica")
QUICK = 1  # compression level: the volumes go to a browser on the same machine


def png(image: NDArray[np.uint8]) -> bytes:
    """A (H, W) or (H, W, 3) picture as PNG."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(stream, format="PNG", compress_level=4)
    return stream.getvalue()


def thumbnail(scan: Scan) -> bytes:
    r"""PNG of the middle slice, its longer side `THUMBNAIL` pixels; of a smaller scan, as it is.

    Examples
    --------
    >>> thumbnail(Scan.of(np.eye(3)))[:4]
    b'\x89PNG'
    """
    plane = scan.middle()
    low, high = percentiles(plane, DARKEST, BRIGHTEST)
    if high <= low:
        low, high = float(plane.min()), float(plane.max())
    grey = np.clip((plane - low) / (high - low if high > low else 1.0), 0, 1)
    factor = THUMBNAIL / max(plane.shape)
    if factor < 1:
        size = tuple(max(1, round(side * factor)) for side in plane.shape[::-1])
        grey = np.asarray(cv2.resize(grey.astype(np.float32), size, interpolation=cv2.INTER_AREA))
    return png(np.rint(grey * 255).astype(np.uint8))


def variant(scan: Scan, name: str) -> FloatArray:
    """The scan's pixels, ``original`` or enhanced by `musica` slice by slice.

    Raises
    ------
    TumorscopeError
        For an unknown variant.
    """
    if look_up(name, VARIANTS, "variant") == "original":
        return scan.pixels
    if not scan.is_volume:
        return musica(scan.pixels, keep_black=True)
    return np.stack([musica(plane, keep_black=True) for plane in scan.pixels])


def nifti(values: NDArray, scan: Scan) -> bytes:
    """Values of the scan's shape as a gzipped NIfTI-1 volume of float32.

    Stored so that ``voxel[x, y, z]`` is ``values[z, y, x]``; a 2-D scan has one slice. The affine is the scan's; where
    it knows no directions, a diagonal of its spacing, or of ones. The header holds geometry and nothing else.

    Parameters
    ----------
    values : (H, W) or (D, H, W) array
    scan : Scan
    """
    import nibabel as nib

    voxels = np.asarray(values, np.float32).reshape((1, *values.shape)[-3:]).transpose(2, 1, 0)
    spacing = (1.0, *(scan.spacing or (1.0,) * len(scan.shape)))[-3:]
    header = nib.Nifti1Header()
    if max(voxels.shape) > np.iinfo(np.int16).max:
        raise Problem(422, "invalid", f"a side of {max(voxels.shape)} pixels does not fit a NIfTI; cut the scan")
    header.set_data_dtype(np.float32)
    header.set_data_shape(voxels.shape)
    known = scan.affine is not None
    affine = np.asarray(scan.affine)[:, [2, 1, 0, 3]] if known else np.diag([*spacing[::-1], 1.0])
    header.set_sform(affine, code=1 if known else 2)
    header["pixdim"][1:4] = spacing[::-1] if not known else np.linalg.norm(affine[:3, :3], axis=0)
    header["xyzt_units"] = 2 if scan.spacing is not None else 0
    header["vox_offset"] = 352
    stream = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=stream, mode="wb", compresslevel=QUICK, mtime=0) as packed:
        packed.write(header.binaryblock + bytes(4))
        packed.write(voxels.tobytes(order="F"))
    return stream.getvalue()
