"""Which format a file has, told from its first bytes and never from its name."""

from __future__ import annotations

import os
import re
import stat
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from tumorscope.errors import ScanError
from tumorscope.io.decoding import label, one_line

FORMATS = ("jpeg", "png", "tiff", "bmp", "webp", "dicom", "nifti")

# A file of one of these names inside a folder is meant to be a scan: if it cannot be read, that is reported.
SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".dcm", ".dicom", ".ima", ".nii", ".nii.gz")

HEAD = 1024  # bytes that decide: NIfTI-2 headers end at 540, the DICOM mark stands at 128

_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # lengths of the versions of the header that follows "BM"

_READS = "JPEG, PNG, TIFF, BMP, WebP, DICOM or NIfTI"
_OTHERS = (
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x00\x00\x00\x0cjP  ", "a bare JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a bare JPEG 2000 stream"),
    (b"\x1f\x8b", "a gzip archive without a NIfTI volume in it"),
    (b"BZh", "a bzip2 archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"\x89HDF", "an HDF5 file (MATLAB v7.3, MINC)"),
    (b"MATLAB 5.0", "a MATLAB file"),
    (b"NRRD", "an NRRD volume"),
    (b"PAR1", "a Parquet table"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
)


def sniff(path: str | Path) -> str:
    r"""The format of a file by its content: jpeg, png, tiff, bmp, webp, dicom or nifti.

    Parameters
    ----------
    path : path
        A regular file; its name plays no part.

    Returns
    -------
    str
        One of `FORMATS`. A gzip file counts as nifti when a NIfTI header stands in it.

    Raises
    ------
    ScanError
        If the file is missing, unreadable, empty, not a regular file, or of none of these formats.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "scan.dat")
    ...     _ = file.write_bytes(b"\xff\xd8\xff\xe0" + bytes(60))
    ...     sniff(file)
    'jpeg'
    """
    with open_file(path) as file:
        return sniff_head(path, file.read(HEAD))


def open_file(path: str | Path) -> BinaryIO:
    """A regular file opened for reading, or a `ScanError` that says why not."""
    try:
        # non-blocking, so that a named pipe is refused and not waited for
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        mode = os.fstat(handle).st_mode
        if stat.S_ISREG(mode):
            return os.fdopen(handle, "rb")
        os.close(handle)
    except FileNotFoundError as error:
        raise ScanError(f"{label(path)}: there is no such file; check the path") from error
    except PermissionError as error:
        raise ScanError(f"{label(path)}: cannot be opened ({one_line(error)}); check its permissions") from error
    except (OSError, ValueError) as error:
        raise ScanError(f"{label(path)}: cannot be opened ({one_line(error)}); check the path") from error
    if stat.S_ISDIR(mode):
        raise ScanError(f"{label(path)}: is a folder, not a file; name the files in it")
    raise ScanError(f"{label(path)}: is not a regular file but a device or pipe; save it to a file first")


def sniff_head(path: str | Path, head: bytes) -> str:
    """The format that the first `HEAD` bytes of a file show; ``path`` is only named in the error."""
    if not head:
        raise ScanError(f"{label(path)}: the file is empty (0 bytes); fetch it again")
    if head[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if head[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+") and head[128:132] != b"DICM":
        return "tiff"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[128:132] == b"DICM" or _is_bare_dicom(head):
        return "dicom"
    if _is_nifti(_unzipped(head) if head[:2] == b"\x1f\x8b" else head):
        return "nifti"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "bmp"
    raise ScanError(f"{label(path)}: the content is {_describe(head)}, not a scan; give a {_READS} file")


def _unzipped(head: bytes) -> bytes:
    """What the start of a gzip file unpacks to, at most `HEAD` bytes; empty when it is damaged."""
    try:
        return zlib.decompressobj(wbits=31).decompress(head, HEAD)
    except zlib.error:
        return b""


def _is_nifti(head: bytes) -> bool:
    if len(head) < 348:
        return False
    first = head[344:348] in (b"n+1\0", b"ni1\0") and head[:4] in (b"\x5c\x01\0\0", b"\0\0\x01\x5c")  # 348
    return first or head[4:8] in (b"n+2\0", b"ni2\0")


def _is_bare_dicom(head: bytes) -> bool:
    """DICOM without preamble: the first element is of group 2 or 8, and a second one of the same group follows it."""
    for order in ("<", ">"):
        if len(head) < 8:
            return False
        group, element = struct.unpack_from(order + "HH", head)
        if group not in (0x0002, 0x0008) or element > 0x2000:
            continue
        explicit = re.match(rb"[A-Z]{2}", head[4:6]) is not None
        length = struct.unpack_from(order + ("H" if explicit else "I"), head, 6 if explicit else 4)[0]
        start = 8 + length
        if start + 4 <= len(head) and struct.unpack_from(order + "H", head, start)[0] in (0x0002, 0x0008):
            return True
    return False


def _describe(head: bytes) -> str:
    """What the bytes are, in words, for an error message."""
    for magic, name in _OTHERS:
        if head.startswith(magic):
            return name
    if head[4:8] == b"ftyp":
        return "an HEIC, AVIF or video file"
    if not any(head):
        return "only zero bytes"
    text = head.lstrip(b"\xef\xbb\xbf").lstrip()
    if text[:1] == b"<":
        return "a web page or XML text"
    printable = sum(byte in b"\t\n\r\f" or byte >= 32 for byte in head)
    if printable == len(head) and 0 not in head and 0x7F not in head:
        return "plain text"
    return "of no known kind"
