"""ZIP archives taken apart within limits: what counts is what comes out, not what the archive says of itself."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tumorscope.server.importing.upload import Part, shown_name
from tumorscope.server.problems import Problem

CHUNK = 1 << 20
SMALL = 16 << 20  # bytes up to which a member may be packed at any ratio: blank slices pack well
ENCRYPTED = 0x1


@dataclass
class Limits:
    """What one upload may unpack to; ``left`` and ``members`` go down as it does.

    Parameters
    ----------
    left : int
        Bytes.
    members : int
        Files.
    ratio : int
        Bytes out for one byte in.
    """

    left: int
    members: int
    ratio: int


@dataclass
class Unpacked:
    """Files of an archive, and the members passed over with the reason."""

    files: list[Part] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def is_zip(path: Path) -> bool:
    """Whether a file starts as a ZIP archive does."""
    with path.open("rb") as stream:
        return stream.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def unpack(archive: Part, folder: Path, limits: Limits) -> Unpacked:
    """The members of a ZIP as numbered files in ``folder``; their names are shown and never used as paths.

    Folders, hidden files and a Mac's ``__MACOSX`` are left out without a word; members that are encrypted, damaged or
    archives themselves are skipped with one.

    Raises
    ------
    Problem
        413 where it holds or unpacks to more than the limits allow; 422 where it is no readable archive.
    """
    found = Unpacked()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(archive.path) as opened:
            for number, member in enumerate(_members(opened, limits)):
                name = shown_name(member.filename)
                target = folder / f"{number:06d}"
                problem = _extract(opened, member, target, limits)
                if problem is None and is_zip(target):
                    problem = "is a ZIP inside a ZIP; unpack it first"
                if problem is None:
                    found.files.append(Part(target, name))
                else:
                    target.unlink(missing_ok=True)
                    found.skipped.append((name, f"{name}: {problem}"))
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, ValueError, EOFError) as error:
        raise Problem(422, "invalid", f"{archive.name}: is no readable ZIP archive; pack it again") from error
    return found


def _members(opened: zipfile.ZipFile, limits: Limits) -> Iterator[zipfile.ZipInfo]:
    for member in opened.infolist():
        parts = member.filename.replace("\\", "/").split("/")
        if member.is_dir() or parts[0] == "__MACOSX" or any(part.startswith(".") and part.strip(".") for part in parts):
            continue
        limits.members -= 1
        if limits.members < 0:
            raise Problem(413, "too-many", "the archives hold too many files; send fewer at once")
        yield member


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, limits: Limits) -> str | None:
    """Write a member to ``target``; what is wrong with it, or None."""
    if member.flag_bits & ENCRYPTED:
        return "is encrypted; pack it without a password"
    try:
        with opened.open(member) as stream, target.open("xb") as out:
            _copy(stream, out, member.compress_size, limits)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        return f"is damaged ({type(error).__name__}); pack it again"
    return None


def _copy(stream: IO[bytes], out: IO[bytes], packed: int, limits: Limits) -> None:
    written = 0
    while chunk := stream.read(CHUNK):
        written += len(chunk)
        limits.left -= len(chunk)
        if limits.left < 0 or (written > SMALL and written > limits.ratio * max(packed, 1)):
            raise Problem(413, "bomb", "the archive unpacks to more than this server takes; send the scans as they are")
        out.write(chunk)
