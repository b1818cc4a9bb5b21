"""A ZIP from elsewhere, unpacked without trusting it: neither its names nor its sizes."""

from __future__ import annotations

import os
import shutil
import stat
import unicodedata
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from tumorscope.errors import DataError, OutputError
from tumorscope.io.decoding import label, one_line

BLOCK = 2**20  # bytes unpacked at once
DEEPEST = 12  # folders within folders


@dataclass(frozen=True)
class Limits:
    """What an archive may hold.

    Parameters
    ----------
    members : int
        Files and folders.
    total : int
        Bytes of all files, unpacked.
    ratio : float
        Unpacked bytes over the archive's own, from ``freely`` bytes on: DEFLATE reaches 1032 on zeros, scans about 2.
    freely : int
        Bytes up to which the ratio is not asked: an archive of black masks compresses well.
    """

    members: int = 50_000
    total: int = 8 * 2**30
    ratio: float = 100.0
    freely: int = 256 * 2**20


def unpack(archive: str | Path | BinaryIO, folder: str | Path, limits: Limits | None = None) -> list[Path]:
    """Unpack a ZIP into a new folder and return the files: all of them, or none.

    Bytes are counted as they are written, whatever the archive says of their number.

    Parameters
    ----------
    archive : path or open binary file
        A file must be seekable.
    folder : path
        Not yet there, or empty.
    limits : Limits, optional

    Raises
    ------
    DataError
        If it is no ZIP or damaged, is above a limit, or holds an encrypted file, a link, a path that leads out of the
        folder, or two names that are one where case does not count.
    OutputError
        If the folder holds something, or cannot be written.
    """
    allowed = limits or Limits()
    name = label(archive) if isinstance(archive, str | Path) else "archive"
    if isinstance(archive, str | Path) and not Path(archive).is_file():
        raise DataError(f"{name}: there is no such file; check the path")
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputError(f"{label(target)}: exists and holds something; choose an empty or a new folder")
    try:
        with zipfile.ZipFile(archive) as opened:
            size = _size(opened)
            members = _members(opened, name, allowed)
            target.mkdir(parents=True, exist_ok=True)
            return _write(opened, members, target, name, allowed, size)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, RuntimeError) as error:
        shutil.rmtree(target, ignore_errors=True)
        raise DataError(f"{name}: is no ZIP that can be read ({one_line(error)}); pack it again") from error
    except OSError as error:
        shutil.rmtree(target, ignore_errors=True)
        raise OutputError(
            f"{label(target)}: cannot be unpacked to ({one_line(error)}); check space and rights"
        ) from error
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


def _size(opened: zipfile.ZipFile) -> int:
    file = cast(BinaryIO, opened.fp)
    place = file.tell()
    size = file.seek(0, os.SEEK_END)
    file.seek(place)
    return size


def _members(opened: zipfile.ZipFile, name: str, limits: Limits) -> list[tuple[zipfile.ZipInfo, PurePosixPath]]:
    """The files of an archive and their checked paths; hidden ones (of macOS, above all) are passed over."""
    entries = opened.infolist()
    if len(entries) > limits.members:
        raise DataError(f"{name}: holds {len(entries):,} members, above the limit of {limits.members:,}; split it")
    if sum(entry.file_size for entry in entries) > limits.total:
        raise DataError(f"{name}: unpacks to more than {limits.total:,} bytes; split it")
    seen: set[str] = set()
    members = []
    for entry in entries:
        own, path = label(entry.filename)[:80], PurePosixPath(entry.filename)
        parts = path.parts
        if (
            path.is_absolute() or ".." in parts or len(parts) > DEEPEST or not parts
            or any(set(part) & set('\\:*?"<>|') or not part.isprintable() or len(part.encode()) > 255 for part in parts)
        ):  # fmt: skip
            raise DataError(f"{name}: '{own}' is no path within a folder; pack it with plain names")
        if entry.flag_bits & 1:
            raise DataError(f"{name}: '{own}' is encrypted; pack it without a password")
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(f"{name}: '{own}' is a link or a device; pack the file itself")
        if entry.is_dir() or any(part.startswith(".") or part == "__MACOSX" for part in parts):
            continue
        key = unicodedata.normalize("NFC", str(path)).casefold()
        if key in seen:
            raise DataError(f"{name}: '{own}' stands in it twice (case ignored); rename one")
        seen.add(key)
        members.append((entry, path))
    return members


def _write(
    opened: zipfile.ZipFile,
    members: list[tuple[zipfile.ZipInfo, PurePosixPath]],
    target: Path,
    name: str,
    limits: Limits,
    size: int,
) -> list[Path]:
    written, files = 0, []
    for entry, path in members:
        file = target.joinpath(*path.parts)
        file.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(entry) as source, file.open("xb") as sink:
            while block := source.read(BLOCK):
                written += len(block)
                if written > limits.total:
                    raise DataError(f"{name}: unpacks to more than {limits.total:,} bytes; split it")
                if written > limits.freely and written > limits.ratio * size:
                    raise DataError(f"{name}: unpacks to more than {limits.ratio:g} times its size; pack real scans")
                sink.write(block)
        files.append(file)
    return files
