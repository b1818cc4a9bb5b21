"""What a file's header and bytes say, without decoding the image."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: A mask saved as JPEG is not exactly 0 outside the lesion: from this value on a pixel is inside.
JPEG_INSIDE = 128
#: EXIF orientations that exchange width and height.
TURNED = (5, 6, 7, 8)
ORIENTATION = 0x0112


@dataclass(frozen=True)
class Facts:
    """What is known of one file.

    Parameters
    ----------
    shape : tuple of int or None
        (width, height) as a viewer shows the image; a volume's shape as it is stored.
    sha256 : str or None
        Hash of the bytes, 64 hex digits.
    inside : bool or None
        Whether a mask has a pixel inside; None when it was not decoded.
    problem : str or None
        Why the file cannot be read.
    """

    shape: tuple[int, ...] | None = None
    sha256: str | None = None
    inside: bool | None = None
    problem: str | None = None


def facts(path: Path, *, decode: bool = False) -> Facts:
    """Facts of one raster or NIfTI file; ``decode`` asks whether a mask has a pixel inside."""
    digest = None
    try:
        digest = sha256([path])
        if path.name.casefold().endswith((".nii", ".nii.gz")):
            return _volume(path, digest, decode)
        try:
            return _raster(path, digest, decode)
        except Exception:
            if path.suffix.casefold() not in (".tif", ".tiff"):
                raise
            return _tiff(path, digest, decode)
    except Exception as error:  # a damaged header fails in many ways; each is told in its own words
        return Facts(sha256=digest, problem=_words(error, path))


def _words(error: Exception, path: Path) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "it is empty" if path.stat().st_size == 0 else "its content is no image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).splitlines()[0].replace(str(path), path.name) if str(error) else type(error).__name__


def _raster(path: Path, digest: str, decode: bool) -> Facts:
    from PIL import Image

    with Image.open(path) as file:
        # A PNG may keep its EXIF behind the pixels: asking for it would decode the image.
        turned = file.format != "PNG" and file.getexif().get(ORIENTATION, 1) in TURNED
        inside = is_inside(np.asarray(file), lossy=file.format == "JPEG") if decode else None
        return Facts(file.size[::-1] if turned else file.size, digest, inside)


def _tiff(path: Path, digest: str, decode: bool) -> Facts:
    """Facts of a TIFF that Pillow does not read: 16-bit colour, floats, unusual compression."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        inside = is_inside(page.asarray()) if decode else None
        return Facts((int(page.imagewidth), int(page.imagelength)), digest, inside)


def _volume(path: Path, digest: str, decode: bool) -> Facts:
    import nibabel

    volume: Any = nibabel.load(path)
    inside = is_inside(np.asanyarray(volume.dataobj), volume=True) if decode else None
    return Facts(tuple(int(side) for side in volume.shape), digest, inside)


def is_inside(pixels: NDArray, *, lossy: bool = False, volume: bool = False) -> bool:
    """Whether a decoded mask has a pixel inside; an alpha channel says nothing about that.

    Examples
    --------
    >>> is_inside(np.zeros((2, 2))), is_inside(np.array([[0, 1]])), is_inside(np.array([[0, 9]]), lossy=True)
    (False, True, False)
    """
    if not volume and pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        pixels = pixels[..., :-1]
    return bool((pixels >= JPEG_INSIDE).any() if lossy else (pixels > 0).any())


def sha256(files: Iterable[Path]) -> str:
    """Hash of the bytes of the files, one after the other.

    Raises
    ------
    OSError
        If a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
