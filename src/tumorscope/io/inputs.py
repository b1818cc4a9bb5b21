"""`discover`: what a user names on the command line, as a list of scans with unique ids."""

from __future__ import annotations

import glob
import hashlib
import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tumorscope.errors import ScanError
from tumorscope.io.decoding import MAX_PIXELS, label, one_line, quiet
from tumorscope.io.formats import SUFFIXES, sniff
from tumorscope.scan import Scan

# Bytes of an id: with ".nii.gz" and room for what reports append it stays a valid file name (255 bytes).
MAX_ID = 180

TABLES = (".parquet", ".csv")


@dataclass(frozen=True)
class Item:
    """One scan to read.

    Parameters
    ----------
    id : str
        Unique among the items of one `discover`, also where case does not count; fit for a file name.
    path : Path
        The file, or the folder of a DICOM series.
    files : tuple of Path
        The files of a DICOM series; the file itself otherwise.
    error : str or None
        Why it cannot be read, when that is already known.
    channel : int or None
        The channel that a manifest names.
    notes : tuple of str
        What was found while grouping, such as objects left out of a DICOM folder.
    """

    id: str
    path: Path
    files: tuple[Path, ...] = ()
    error: str | None = None
    channel: int | None = None
    notes: tuple[str, ...] = ()

    def read(self, *, channel: int | None = None, max_pixels: int = MAX_PIXELS) -> Scan:
        """The scan; ``channel`` overrides the manifest's.

        Raises
        ------
        ScanError
            As `tumorscope.io.read`, or with the item's own ``error``.
        """
        from tumorscope.io.reading import read

        if self.error is not None:
            raise ScanError(self.error)
        files = self.files if len(self.files) > 1 else None
        wanted = self.channel if channel is None else channel
        scan = read(self.path, channel=wanted, files=files, max_pixels=max_pixels)
        return scan.noting(*self.notes) if self.notes else scan


@dataclass
class _Found(list[Item]):
    """A list of items that also knows how many files were no scans."""

    skipped: int = field(default=0)

    def __init__(self) -> None:
        super().__init__()
        self.skipped = 0


def discover(inputs: Iterable[str | Path]) -> list[Item]:
    """The scans among files, folders, glob patterns and manifests, in the order given, each once.

    A folder is walked to the bottom in name order; hidden files and folders, and files that are no scan by content
    and not named like one, are passed over (``skipped`` on the returned list counts them). DICOM files of one folder
    are grouped into series. Whatever is named itself always stays in the list; `Item.read` then reports what is
    wrong with it. A manifest is a .csv or .parquet file with a ``path`` column, relative to its own folder.

    Returns
    -------
    list of Item
        With ids made of the files' stems: the second of a stem gets its folder's name in front, and so on.

    Examples
    --------
    >>> [(item.id, item.error) for item in discover(["a/scan.jpg"])]
    [('scan', 'a/scan.jpg: there is no such file; check the path')]
    """
    found = _Found()
    ids: set[str] = set()
    seen: set[tuple[object, ...]] = set()
    with quiet():
        for given in inputs:
            for item in _expand(given, found):
                key = (os.path.abspath(item.path), tuple(map(os.path.abspath, item.files)), item.channel)
                if key not in seen:
                    seen.add(key)
                    found.append(replace(item, id=_unique(item, ids)))
    return found


def _expand(given: str | Path, found: _Found) -> Iterator[Item]:
    """Items of one input, with provisional ids."""
    path = Path(given)
    if os.path.isdir(path):
        yield from _walk(path, found, set())
    elif glob.has_magic(str(given)) and not _exists(path):
        matches = sorted(map(Path, glob.glob(str(given), recursive=True)), key=_natural)
        if not matches:
            yield Item(_stem(path), path, error=f"{label(given)}: no file matches this pattern; check it")
        if path.suffix.lower() in TABLES:
            for match in matches:
                yield from _manifest(match)
        else:
            folders = [match for match in matches if os.path.isdir(match)]
            yield from _files([match for match in matches if not os.path.isdir(match)], found)
            for folder in folders:
                yield from _walk(folder, found, set())
    elif path.suffix.lower() in TABLES:
        yield from _manifest(path)
    else:
        yield _file(path)


def _exists(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:
        return False


def _natural(path: Path) -> Any:
    from tumorscope.io.dicom.series import natural

    return natural(str(path))


def _file(path: Path) -> Item:
    """A file that was named itself: it stays in the list, whatever it is."""
    try:
        sniff(path)
    except ScanError as error:
        return Item(_stem(path), path, (path,), str(error))
    return Item(_stem(path), path, (path,))


def _walk(folder: Path, found: _Found, above: set[tuple[int, int]]) -> Iterator[Item]:
    """Scans below a folder, in natural name order, following links but never in a circle."""
    try:
        status = folder.stat()
        with os.scandir(folder) as entries:
            paths = sorted((folder / entry.name for entry in entries if not entry.name.startswith(".")), key=_natural)
    except OSError as error:
        reason = f"{label(folder)}: the folder cannot be read ({one_line(error)}); check its permissions"
        yield Item(_stem(folder), folder, error=reason)
        return
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    folders = [path for path in paths if os.path.isdir(path)]
    files, dicom = _sorted_out([path for path in paths if not os.path.isdir(path)], found)
    yield from files
    yield from _series(folder, dicom, found)
    for path in folders:
        yield from _walk(path, found, above | {here})


def _sorted_out(paths: list[Path], found: _Found) -> tuple[list[Item], list[Path]]:
    """Items of the files that are no DICOM, and the DICOM files. What is no scan is counted."""
    items: list[Item] = []
    dicom: list[Path] = []
    for path in paths:
        try:
            if sniff(path) == "dicom":
                dicom.append(path)
            else:
                items.append(Item(_stem(path), path, (path,)))
        except ScanError as error:
            if path.name.lower().endswith(SUFFIXES):
                items.append(Item(_stem(path), path, (path,), str(error)))
            else:
                found.skipped += 1
    return items, dicom


def _files(paths: list[Path], found: _Found) -> Iterator[Item]:
    """The matches of a pattern: each for itself, by the rules of a folder on what is no scan."""
    items, dicom = _sorted_out(paths, found)
    items += [Item(_stem(path), path, (path,)) for path in dicom]
    yield from sorted(items, key=lambda item: _natural(item.path))


def _series(folder: Path, dicom: list[Path], found: _Found) -> Iterator[Item]:
    """The series that a folder's DICOM files form, and one item for each damaged file."""
    if not dicom:
        return
    from tumorscope.io.dicom import group

    groups = group(dicom)
    found.skipped += len(groups.left_out)
    long = [series for series in groups.series if len(series.files) > 1]
    notes = groups.notes
    for series in groups.series:
        if len(series.files) == 1:
            yield Item(_stem(series.files[0]), series.files[0], series.files, notes=notes)
            continue
        name = _stem(folder)
        if len(long) > 1:
            name += f"_series-{series.number if series.number is not None else long.index(series) + 1}"
        yield Item(name, folder, series.files, notes=notes)
    for path, error in groups.damaged:
        yield Item(_stem(path), path, (path,), error)


def _manifest(path: Path) -> Iterator[Item]:
    """Items of a table's rows; a table that cannot be used is one item with an error."""
    import polars as pl

    try:
        with open(path, "rb") as file:
            parquet = path.suffix.lower() == ".parquet"
            table = pl.read_parquet(file) if parquet else pl.read_csv(file, infer_schema=False)
    except OSError as error:
        yield Item(_stem(path), path, error=f"{label(path)}: cannot be opened ({one_line(error)}); check the path")
        return
    except Exception as error:  # polars raises several families on damaged tables
        yield Item(_stem(path), path, error=f"{label(path)}: is no readable table ({one_line(error)}); write it again")
        return
    if "path" not in table.columns:
        yield Item(_stem(path), path, error=f"{label(path)}: the table has no 'path' column; add one")
        return
    channels = table["channel"].to_list() if "channel" in table.columns else [None] * len(table)
    for row, (entry, channel) in enumerate(zip(table["path"].to_list(), channels, strict=True), start=1):
        if entry is None or not str(entry).strip():
            yield Item(_stem(path), path, error=f"{label(path)}: row {row} has no path; fill it in")
            continue
        target = Path(str(entry))
        beside = path.parent / target
        target = beside if target.is_absolute() or beside.exists() or not target.exists() else target
        try:
            number = None if channel in (None, "") else int(float(channel))
        except ValueError:
            yield Item(_stem(target), target, error=f"{label(path)}: row {row} has channel '{channel}'; give a number")
            continue
        item = Item(_stem(target), target) if target.is_dir() else _file(target)
        yield replace(item, channel=number)


def _stem(path: Path) -> str:
    """The name without its suffix ('.nii.gz' counts as one), fit for a file name of its own."""
    name = path.name or path.resolve().name or "scan"
    if name.lower().endswith(".nii.gz") and len(name) > 7:
        return _fit(name[:-7])
    numbered = path.suffix[1:].isdigit()  # a DICOM file named by its UID has no suffix
    return _fit(name if numbered else path.stem or name)


def _fit(name: str) -> str:
    """``name`` without control characters and separators, at most `MAX_ID` bytes long."""
    clean = "".join(char if char.isprintable() and char not in "/\\" else "_" for char in name)
    if len(clean.encode()) <= MAX_ID:
        return clean
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return clean.encode()[: MAX_ID - 9].decode(errors="ignore") + "-" + digest


def _unique(item: Item, ids: set[str]) -> str:
    """The item's id, with folder names in front until no other item has it."""
    name = item.id
    folder = item.path.parent if item.path.name else item.path
    parents = [part for part in Path(os.path.abspath(folder)).parts[::-1] if part not in (os.sep, os.curdir)]
    candidate, count = name, 1
    while _key(candidate) in ids:
        if parents:
            name = f"{_fit(parents.pop(0))}_{name}"
            candidate = _fit(name)
        else:
            count += 1
            candidate = _fit(f"{name}-{count}")
    ids.add(_key(candidate))
    return candidate


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
