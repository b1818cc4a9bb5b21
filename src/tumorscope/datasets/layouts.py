"""From the files of a folder to entries: what each path says about label, patient, case and mask."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from tumorscope.datasets.catalog import GENERAL, LAYOUTS, Layout
from tumorscope.errors import DataError

RASTER = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})
NIFTI = (".nii", ".nii.gz")
SPLITS = {"training": "train", "train": "train", "testing": "test", "test": "test"} | dict.fromkeys(
    ("validation", "valid", "val"), "val"
)
IMAGES = frozenset({"images", "image", "imgs", "img", "scans"})
MASKS = frozenset(
    {"masks", "mask", "labels", "segmentations", "segmentation", "seg", "annotations", "ground_truth", "gt"}
)
#: What the letters of a class folder's name mean.
NONE = frozenset(
    {"no", "none", "notumor", "notumors", "notumour", "healthy", "normal", "negative", "control", "nontumor"}
)
SOME = frozenset({"yes", "tumor", "tumors", "tumour", "tumours", "positive", "tumorous", "braintumor"})
TYPES = {
    "glioma": "glioma", "gliomas": "glioma", "glioblastoma": "glioblastoma", "meningioma": "meningioma",
    "meningiomas": "meningioma", "pituitary": "pituitary", "metastasis": "metastasis", "metastases": "metastasis",
    "schwannoma": "schwannoma", "astrocytoma": "astrocytoma", "oligodendroglioma": "oligodendroglioma",
    "ependymoma": "ependymoma", "medulloblastoma": "medulloblastoma", "craniopharyngioma": "craniopharyngioma",
}  # fmt: skip
SEQUENCES = {"t1": "t1", "t1n": "t1", "t1ce": "t1ce", "t1gd": "t1ce", "t1c": "t1ce"} | {
    "t2": "t2", "t2w": "t2", "flair": "flair", "t2f": "flair"
}  # fmt: skip
MASK_SUFFIX = re.compile(r"[ _.-](?:mask|seg|segmentation)$", re.IGNORECASE)
VOLUME = re.compile(r"(?:(?P<case>.+?)[ _.-])?(?P<word>t1ce|t1gd|t1c|t1n|t1|t2w|t2f|t2|flair|seg|mask)", re.IGNORECASE)
PATIENT = re.compile(r"(?:patient|pat|subject|sub|subj|case)[ _-]?\w+", re.IGNORECASE)


#: The file that every command writes beside the scans it made.
MANIFEST = "manifest.parquet"


@dataclass(frozen=True)
class Entry:
    """One scan or mask file and what its path says; None is unknown. ``word`` is the class word of its folder."""

    path: Path
    relative: str
    is_mask: bool = False
    key: tuple[str, ...] = ()
    word: str | None = None
    split: str | None = None
    patient: str | None = None
    case: str | None = None
    sequence: str | None = None
    slice: int | None = None
    mask: Path | None = None


def stem(name: str) -> str:
    """File name without its suffix; ``.nii.gz`` counts as one.

    Examples
    --------
    >>> stem("a/BraTS_001_t1.nii.gz"), stem("3 no.jpeg")
    ('BraTS_001_t1', '3 no')
    """
    base = PurePosixPath(name).name
    return base[: -len(".nii.gz")] if base.casefold().endswith(".nii.gz") else PurePosixPath(base).stem


def walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Each folder from ``root`` down with the names of its files; links are followed, each folder is seen once.

    Hidden files and folders are passed over, and so are folders below ``root`` with a manifest of their own: what
    `prepare`, `augment` or `train` wrote among the data is no new data.

    Raises
    ------
    DataError
        If a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        words = f"{error.filename}: the folder cannot be read ({error.strerror})"
        raise DataError(f"{words}; change its permissions") from error

    seen: set[str] = set()
    for folder, below, names in os.walk(root, onerror=refuse, followlinks=True):
        below[:] = sorted(name for name in below if not name.startswith((".", "__MACOSX")))
        real = os.path.realpath(folder)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        if MANIFEST in names and Path(folder) != root:
            below.clear()
            continue
        yield Path(folder), sorted(name for name in names if not name.startswith("."))


def scan_files(root: Path) -> list[str]:
    """Paths below ``root`` (``/`` between the parts, sorted) whose suffix is that of a raster image or NIfTI.

    Raises
    ------
    DataError
        If a folder cannot be read.
    """
    return sorted(
        (folder / name).relative_to(root).as_posix()
        for folder, names in walk(root)
        for name in names
        if PurePosixPath(name).suffix.casefold() in RASTER or name.casefold().endswith(NIFTI)
    )


def class_word(folder: str) -> str | None:
    """``"none"``, ``"tumor"`` or the tumour type that a folder's name means; None when it means no class.

    Examples
    --------
    >>> class_word("no_tumor"), class_word("Yes"), class_word("meningioma_tumor"), class_word("axial")
    ('none', 'tumor', 'meningioma', None)
    """
    letters = re.sub(r"[^a-z]", "", folder.casefold())
    if letters in NONE:
        return "none"
    if letters in SOME:
        return "tumor"
    return TYPES.get(re.sub(r"tumou?rs?$", "", letters))


def entries(
    root: Path, paths: Sequence[str], known: Layout | None, free_classes: bool = False
) -> tuple[list[Entry], list[str]]:
    """Entries of all files, masks still apart from their scans, and findings.

    Parameters
    ----------
    root : Path
        The data set's folder.
    paths : sequence of str
        From `scan_files`.
    known : Layout or None
        The recognised collection, whose pattern reads the names first.
    free_classes : bool
        Whether the innermost folder is the class, whatever its name.

    Raises
    ------
    DataError
        If a folder's name says nothing: what was found, and which layouts are known.
    """
    patients = frozenset() if free_classes else _patient_folders(paths)
    skip = _wrapper_depth(paths, patients)
    found: list[Entry] = []
    strange: Counter[str] = Counter()
    stray: list[str] = []
    for path in paths:
        entry, unread = _read_path(root, path, skip, patients)
        match = known.match(path) if known else None
        if known and match:
            entry = _from_pattern(entry, match.groupdict(), known)
        elif known and unread:
            stray.append(path)
            continue
        elif free_classes:
            entry = _free(entry)
        else:
            strange.update(unread[:1])
        found.append(entry)
    if strange:
        raise unknown_layout(root, paths, strange)
    findings = []
    if known and stray:
        findings.append(
            f"{root / stray[0]}: not named as in {known.name} (files left out: {len(stray)}); move them elsewhere"
        )
    return found, findings


def _free(entry: Entry) -> Entry:
    """``entry`` with its innermost folder as its class, marked with ``=``."""
    folders = [part for part in PurePosixPath(entry.relative).parts[:-1] if _meaning(part) in (None, "class")]
    return replace(entry, word=f"={folders[-1]}" if folders else None, patient=None)


def unknown_layout(root: Path, paths: Sequence[str], strange: Mapping[str, int]) -> DataError:
    """The error for a folder that follows no known layout: what was found and what would be understood."""
    folders = ", ".join(f"'{name}'" for name in sorted(strange)[:4]) + (" ..." if len(strange) > 4 else "")
    names = ", ".join(layout.name for layout in LAYOUTS)
    return DataError(
        f"{root}: {len(paths)} scan files, but the folders {folders} follow no known layout; lay them out as one of: "
        f"{'; '.join(GENERAL)}; or as published: {names}; or write a manifest, or give layout='classes'"
    )


def _patient_folders(paths: Sequence[str]) -> frozenset[str]:
    """Folders whose own name starts each file in them, or that call themselves patient or subject."""
    inside: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        pure = PurePosixPath(path)
        inside[pure.parent.as_posix()].append(pure.name.casefold())
    names = {folder: PurePosixPath(folder).name for folder in inside}
    return frozenset(
        folder
        for folder, files in inside.items()
        if (PATIENT.fullmatch(names[folder]) or all(file.startswith(names[folder].casefold()) for file in files))
        and _meaning(names[folder]) is None
    )


def _meaning(part: str) -> str | None:
    """What a folder's name stands for by itself: ``split``, ``images``, ``masks``, ``class`` or None."""
    low = part.casefold()
    if low in SPLITS:
        return "split"
    if low in IMAGES:
        return "images"
    if low in MASKS:
        return "masks"
    return "class" if class_word(part) else None


def _wrapper_depth(paths: Sequence[str], patients: frozenset[str]) -> int:
    """Number of leading folders that every file shares and that mean nothing: an unpacked archive's own."""
    folders = [PurePosixPath(path).parts[:-1] for path in paths]
    depth = 0
    while folders and all(len(parts) > depth for parts in folders):
        name = folders[0][depth]
        shared = all(parts[depth] == name for parts in folders)
        if not shared or _meaning(name) is not None or "/".join(folders[0][: depth + 1]) in patients:
            break
        depth += 1
    return depth


def _read_path(root: Path, path: str, skip: int, patients: frozenset[str]) -> tuple[Entry, list[str]]:
    """Entry of one file by the words of its folders and name, and the folder names that said nothing."""
    pure = PurePosixPath(path)
    entry = Entry(root / path, path)
    kept: list[str] = []
    unread: list[str] = []
    for index, part in enumerate(pure.parts[:-1]):
        meaning = _meaning(part)
        if meaning == "split":
            entry = replace(entry, split=SPLITS[part.casefold()])
        elif meaning == "masks":
            entry = replace(entry, is_mask=True)
        elif meaning == "class":
            entry = replace(entry, word=class_word(part))
        elif "/".join(pure.parts[: index + 1]) in patients:
            entry = replace(entry, patient=part)
        elif meaning is None and index >= skip:
            unread.append(part)
        if meaning not in ("images", "masks"):
            kept.append(part.casefold())
    name = stem(pure.name)
    if pure.name.casefold().endswith(NIFTI):
        return _volume(entry, name, kept, unread), []
    bare = MASK_SUFFIX.sub("", name)
    entry = replace(entry, is_mask=entry.is_mask or bare != name, key=(*kept, bare.casefold()))
    number = re.search(r"(\d+)$", bare)
    return replace(entry, slice=int(number[1]) if entry.patient and number else None), unread


def _volume(entry: Entry, name: str, kept: Sequence[str], unread: Sequence[str]) -> Entry:
    """``entry`` of a NIfTI file: its case by the name before the sequence, otherwise by its folder."""
    match = VOLUME.fullmatch(name)
    word = match["word"].casefold() if match else None
    is_mask = entry.is_mask or word in ("seg", "mask")
    folder = PurePosixPath(entry.relative).parent.name
    case = (match["case"] if match else name) or folder or name
    patient = entry.patient or (unread[0] if unread else case)
    key = (*kept, case.casefold())
    return replace(entry, is_mask=is_mask, case=case, patient=patient, sequence=SEQUENCES.get(word or ""), key=key)


def _from_pattern(entry: Entry, groups: Mapping[str, str | None], known: Layout) -> Entry:
    """``entry`` with what the known collection's file name says; this goes before the general reading."""
    read = {name: value for name, value in groups.items() if value is not None}
    patient = read.get("patient", entry.patient if "patient" not in groups and known.group_rule == "patient" else None)
    case = read.get("case", f"{patient}_{read['date']}" if "date" in read else None)
    is_mask = entry.is_mask or "mask" in read
    key = (*entry.key[:-1], case.casefold()) if case else entry.key
    return replace(
        entry,
        is_mask=is_mask,
        key=key,
        patient=patient,
        case=case,
        word=known.types[read["type"]] if "type" in read else entry.word,
        sequence=SEQUENCES.get(read.get("sequence", "")) or (None if is_mask else known.sequence),
        slice=int(read["slice"]) if "slice" in read else None,
    )


def join_masks(found: Sequence[Entry]) -> tuple[list[Entry], list[str]]:
    """Scans with the masks that belong to them, and findings about those that do not fit together.

    A mask belongs to the scan of the same folders (``images`` and ``masks`` apart) and stem; to all
    sequences of a case.
    """
    scans = [entry for entry in found if not entry.is_mask]
    by_key: dict[tuple[str, ...], list[Entry]] = defaultdict(list)
    for entry in found:
        if entry.is_mask:
            by_key[entry.key].append(entry)
    findings: list[str] = []
    named = {entry.key for entry in scans}
    alone = [masks[0].path for key, masks in by_key.items() if key not in named]
    if alone:
        findings.append(f"{alone[0]}: no scan bears this mask's name (masks left out: {len(alone)}); rename them")
    twice = [masks[0].path for key, masks in by_key.items() if key in named and len(masks) > 1]
    rasters = Counter(entry.key for entry in scans if entry.case is None)
    twice += [masks[0].path for key, masks in by_key.items() if rasters[key] > 1]
    if twice:
        findings.append(
            f"{twice[0]}: its name stands twice (masks left out: {len(twice)}); keep one scan and one mask a name"
        )
    usable = {key: masks[0].path for key, masks in by_key.items() if len(masks) == 1 and rasters[key] <= 1}
    joined = [replace(entry, mask=usable.get(entry.key)) for entry in scans]
    bare = [entry.path for entry in joined if entry.mask is None]
    if usable and bare:
        findings.append(
            f"{bare[0]}: no mask, while others have one (scans: {len(bare)}); add a black one where no tumour is"
        )
    return joined, findings
