"""Pictures for fitting the gate: brain slices by source, and pictures that are none by family.

A *source* is a collection of brain slices (one scanner, one web collection); a *family* is a kind of picture
that is no brain slice. Both are held out whole when the gate is judged.
"""

from __future__ import annotations

import gzip
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pydicom
from numpy.typing import NDArray

from tumorscope.errors import DataError
from tumorscope.training.gate_bodies import CROSS_SECTIONS
from tumorscope.training.gate_drawings import DRAWINGS
from tumorscope.training.gate_projections import PROJECTIONS

Plane = NDArray[np.float32]

PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".gif", ".tif", ".tiff", ".bmp", ".webp"}
SMALLEST_PICTURE = 64  # px; smaller pictures of the packages are left out
PACKAGE_FOLDERS = {
    "photographs": (("skimage", "data"), ("sklearn", "datasets/images"), ("matplotlib", "mpl-data/sample_data")),
    "drawn": (("matplotlib", "mpl-data/images"), ("networkx", "drawing/tests/baseline"), ("sympy", "plotting/tests")),
}
NO_PHOTOGRAPH = {
    # drawn files that lie among the photographs
    "skimage": {"phantom", "chessboard_GRAY", "chessboard_RGB", "logo", "color", "horse", "text", "page", "multipage"},
    "matplotlib": {"logo2", "Minduka_Present_Blue_Pack"},
}
NO_HEAD_MR = {"MR_small.dcm", "examples_overlay.dcm", "CT_small.dcm", "image_dfl.dcm", "liver_1frame.dcm"}


@dataclass(frozen=True)
class Picture:
    """One picture with where it comes from.

    Parameters
    ----------
    pixels : (H, W) or (C, H, W) float32 array
    origin : str
        Source or family.
    name : str
        File, slice, or number of the drawing.
    """

    pixels: Plane
    origin: str
    name: str


def _read(path: Path, flag: int = cv2.IMREAD_GRAYSCALE) -> Plane:
    picture = cv2.imread(str(path), flag)
    if picture is None:
        raise DataError(f"{path}: cannot be decoded as a picture; remove it from the folder")
    return np.asarray(picture, np.float32)


def brain_slices(data: Path) -> Iterator[Picture]:
    """Every real slice under ``data`` (laid out as the project's data folder), source by source."""
    folders = {
        "navoneel yes": "navoneel/yes",
        "navoneel no": "navoneel/no",
        "cheng": "cheng/images",
        "healthy": "healthy",
        "tumor_unmasked": "tumor_unmasked",
    }
    for source, folder in folders.items():
        for path in sorted((data / folder).glob("*.[jJ]*[gG]")):
            yield Picture(_read(path), source, path.name)
    for path in sorted((data / "progression").glob("*/*_Scan_*.nii.gz")):
        volume = np.asarray(nibabel.nifti1.load(path).dataobj, np.float32)
        for k in range(volume.shape[2]):
            if np.ptp(volume[..., k]) > 0:
                yield Picture(np.rot90(volume[..., k]).copy(), "progression", f"{path.parent.name}/{path.name}:{k}")
    for path in sorted((data / "remind_dicom/t1_post").glob("*.dcm")):
        yield Picture(pydicom.dcmread(path).pixel_array.astype(np.float32), "remind", path.name)


def lgg_slices(data: Path) -> Iterator[Picture]:
    """Slices of the LGG set as (3, H, W): pre-contrast, FLAIR, post-contrast. For evaluation only."""
    for path in sorted((data / "lgg").glob("*/*.png")):
        if re.search(r"_\d+\.png$", path.name):
            colour = _read(path, cv2.IMREAD_COLOR)[..., ::-1]
            yield Picture(np.ascontiguousarray(colour.transpose(2, 0, 1)), "lgg", path.name)


def sample_slices() -> Iterator[Picture]:
    """Brain slices that other packages ship as sample data."""
    folder = _package("matplotlib")
    path = folder / "mpl-data/sample_data/s1045.ima.gz"
    if path.exists():
        with gzip.open(path) as stream:
            yield Picture(
                np.frombuffer(stream.read(), np.uint16).reshape(256, 256).astype(np.float32), "samples", path.name
            )
    path = _package("nibabel") / "tests/data/example4d.nii.gz"
    if path.exists():
        volume = np.asarray(nibabel.nifti1.load(path).dataobj, np.float32)[..., 0]
        for k in range(volume.shape[2]):
            yield Picture(np.rot90(volume[..., k]).copy(), "samples", f"{path.name}:{k}")


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise DataError(f"{name}: this package lends its sample pictures and is not installed; pip install it")
    return Path(found.origin).parent


def package_pictures() -> Iterator[Picture]:
    """Photographs, drawings and DICOM samples that installed packages ship; none is a brain slice."""
    for family, folders in PACKAGE_FOLDERS.items():
        for package, folder in folders:
            for picture in folder_pictures(_package(package) / folder, family):
                drawn = Path(picture.name).stem in NO_PHOTOGRAPH.get(package, set())
                yield Picture(picture.pixels, "drawn" if drawn else family, picture.name)
    for path in sorted((_package("pydicom") / "data/test_files").glob("*.dcm")):
        if path.name in NO_HEAD_MR or path.name.startswith(("examples_", "GDCMJ2K_Text", "SC_jpeg", "SC_rgb_rle.")):
            pixels = pydicom.dcmread(path).pixel_array.astype(np.float32)
            pixels = pixels[len(pixels) // 2] if pixels.ndim == 4 else pixels
            yield Picture(pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1), "dicom samples", path.name)


def folder_pictures(folder: Path, family: str) -> Iterator[Picture]:
    """Pictures of a folder and those below it; transparent ones stand on black, grey or white in turn."""
    grounds = (0.0, 255.0, 110.0)
    for index, path in enumerate(sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)):
        raw = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if raw is None or min(raw.shape[:2]) < SMALLEST_PICTURE:
            continue
        pixels = np.asarray(raw, np.float32) * (255 / 65535 if raw.dtype == np.uint16 else 1.0)
        if pixels.ndim == 3 and pixels.shape[2] == 4:
            cover = pixels[..., 3:] / 255
            pixels = pixels[..., :3] * cover + grounds[index % 3] * (1 - cover)
        shrink = 640 / max(pixels.shape[:2])
        if shrink < 1:
            pixels = cv2.resize(pixels, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        yield Picture(pixels if pixels.ndim == 2 else pixels[..., ::-1].transpose(2, 0, 1), family, path.name)


def drawn_pictures(seed: int, count: int) -> Iterator[Picture]:
    """``count`` pictures of every computed family: drawings, noise, other body parts."""
    for families in (DRAWINGS, CROSS_SECTIONS, PROJECTIONS):
        for index, (family, draw) in enumerate(families.items()):
            rng = np.random.default_rng([seed, len(families), index])
            for k in range(count):
                pixels = 255 * draw(rng)
                yield Picture(pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1), family, str(k))


def grey(pixels: Plane) -> Plane:
    """(H, W) mean over the channels of a (C, H, W) picture; an (H, W) one as it is."""
    return pixels if pixels.ndim == 2 else pixels.mean(axis=0)
