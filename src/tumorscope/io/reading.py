"""`read`: any supported file or DICOM folder to a `Scan`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tumorscope.errors import ScanError
from tumorscope.io.decoding import MAX_PIXELS, label, one_line, quiet
from tumorscope.io.formats import HEAD, open_file, sniff_head
from tumorscope.scan import Scan


def read(
    path: str | Path,
    *,
    channel: int | None = None,
    files: Sequence[Path] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Scan:
    """The scan in a file, or in a folder that holds one DICOM series. Safe to call from several threads.

    Parameters
    ----------
    path : path
        A JPEG, PNG, TIFF, BMP, WebP, DICOM or NIfTI file, told by its content, or a DICOM folder.
    channel : int, optional
        Which sequence to read, counted from 0, where a file holds several: a colour channel, a volume of a 4-D
        NIfTI, an echo or time of a DICOM series.
    files : sequence of Path, optional
        The DICOM files of one series; ``path`` then only names them.
    max_pixels : int
        Largest number of values (pixels times channels) to decode.

    Returns
    -------
    Scan
        ``YX`` or ``ZYX``; with a leading ``C`` only where channels truly differ and none was chosen.

    Raises
    ------
    ScanError
        With one line that names the file, the finding and the remedy.

    Examples
    --------
    >>> read("missing.jpg")
    Traceback (most recent call last):
    ...
    tumorscope.errors.ScanError: missing.jpg: there is no such file; check the path
    """
    with quiet():
        return _read(Path(path), channel, files, max_pixels)


def _read(path: Path, channel: int | None, files: Sequence[Path] | None, max_pixels: int) -> Scan:
    """`read`, by the kind of input."""
    if files:
        from tumorscope.io.dicom import read_series

        return read_series([Path(file) for file in files], path, channel=channel, max_pixels=max_pixels)
    if _is_folder(path):
        return _read_folder(path, channel, max_pixels)
    with open_file(path) as file:
        format = sniff_head(path, file.read(HEAD))
        if format == "dicom":
            from tumorscope.io.dicom import read_dicom

            return read_dicom(path, channel=channel, max_pixels=max_pixels)
        if format == "nifti":
            from tumorscope.io.nifti import read_nifti

            return read_nifti(file, path, channel=channel, max_pixels=max_pixels)
        if format == "tiff":
            from tumorscope.io.tiff import read_tiff

            return read_tiff(file, path, channel=channel, max_pixels=max_pixels)
        from tumorscope.io.raster import read_raster

        return read_raster(file, path, format, channel=channel, max_pixels=max_pixels)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False  # open_file tells why


def _read_folder(path: Path, channel: int | None, max_pixels: int) -> Scan:
    """The one DICOM series directly in a folder."""
    from tumorscope.io.dicom import group, read_group, several
    from tumorscope.io.formats import sniff

    found = []
    try:
        entries = sorted(entry for entry in path.iterdir() if entry.is_file() and not entry.name.startswith("."))
    except OSError as error:
        reason = f"{label(path)}: the folder cannot be read ({one_line(error)}); check its permissions"
        raise ScanError(reason) from error
    for entry in entries:
        try:
            if sniff(entry) == "dicom":
                found.append(entry)
        except ScanError:  # no scan by its content: not part of a DICOM folder
            continue
    folder = group(found)
    if len(folder.series) != 1:
        raise ScanError(several(path, folder))
    if folder.damaged:
        raise ScanError(folder.damaged[0][1])
    scan = read_group(folder.series[0], path, channel=channel, max_pixels=max_pixels)
    return scan.noting(*folder.notes)
