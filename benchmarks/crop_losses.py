"""What cleaning and cropping lose, counted in tumour pixels, on data sets with masks; modes on those without.

    python benchmarks/crop_losses.py DATA

DATA holds the folders cheng, lgg, progression (with masks), healthy, tumor_unmasked, navoneel, remind_dicom
(without); one that is missing is skipped. For each set: slices, slices with tumour, tumour pixels; then the
tumour pixels outside the crop box, outside the head, and changed by cleaning; then how often each crop mode
was chosen and each thing cleaned.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import nibabel
import numpy as np
import pydicom
from numpy.typing import NDArray

from tumorscope.imaging.background import clean_background
from tumorscope.imaging.crop import crop_head

Slices = Iterator[tuple[NDArray, NDArray | None]]


def raster(path: Path, flag: int = cv2.IMREAD_GRAYSCALE) -> NDArray:
    """Pixels of a JPEG or PNG, whatever its name."""
    return cv2.imdecode(np.fromfile(path, np.uint8), flag)


def cheng(root: Path) -> Slices:
    """Post-contrast T1 slices and radiologists' masks."""
    for path in sorted((root / "images").glob("*.jpg")):
        yield raster(path), raster(root / "masks" / f"{path.stem}.png") > 0


def lgg(channel: int) -> Callable[[Path], Slices]:
    """One channel (0 pre-contrast, 1 FLAIR, 2 post-contrast) and the mask."""

    def slices(root: Path) -> Slices:
        for path in sorted(root.glob("*/*_mask.png")):
            colour = raster(path.with_name(path.name.replace("_mask", "")), cv2.IMREAD_UNCHANGED)
            yield colour[..., 2 - channel], raster(path) > 0

    return slices


def progression(root: Path) -> Slices:
    """Slices of the volumes along their last axis."""
    for path in sorted(root.glob("*/*Scan_T1.nii.gz")):
        volume = np.asanyarray(nibabel.load(path).dataobj)
        mask = np.asanyarray(nibabel.load(path.with_name(path.name.replace("Scan_T1", "Mask"))).dataobj) > 0
        for index in range(volume.shape[2]):
            yield volume[..., index], mask[..., index]


def folder(root: Path) -> Slices:
    """All rasters below a folder."""
    for path in sorted(root.rglob("*")):
        if path.suffix.lower() in {".jpg", ".jpeg", ".png"}:
            yield raster(path), None


def dicom(root: Path) -> Slices:
    """The slices of a DICOM series."""
    for path in sorted((root / "t1_post").glob("*.dcm")):
        yield pydicom.dcmread(path).pixel_array, None


SETS: dict[str, tuple[str, Callable[[Path], Slices]]] = {
    "cheng": ("cheng", cheng),
    "lgg pre-contrast": ("lgg", lgg(0)),
    "lgg FLAIR": ("lgg", lgg(1)),
    "lgg post-contrast": ("lgg", lgg(2)),
    "progression": ("progression", progression),
    "navoneel": ("navoneel", folder),
    "healthy": ("healthy", folder),
    "tumor_unmasked": ("tumor_unmasked", folder),
    "remind": ("remind_dicom", dicom),
}


def main() -> None:
    """Print one block of counts for each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    for name, (place, slices) in SETS.items():
        if not (data / place).is_dir():
            continue
        counts, modes = count(slices(data / place))
        print(f"{name}: " + ", ".join(f"{value} {key}" for key, value in counts.items()))
        print("    " + ", ".join(f"{key} {value}" for key, value in modes.most_common()))


def count(slices: Slices) -> tuple[dict[str, int], Counter[str]]:
    """Losses and modes over all slices."""
    totals: Counter[str] = Counter()
    modes: Counter[str] = Counter()
    for image, mask in slices:
        cleaned = clean_background(image)
        crop = crop_head(cleaned.image)
        modes[crop.mode] += 1
        modes.update(finding.split("(")[0].strip() for finding in cleaned.findings)
        totals["slices"] += 1
        if mask is None:
            continue
        inside = crop.box.paste(np.ones(crop.box.shape, bool), mask.shape, fill=False)
        totals["with tumour"] += bool(mask.any())
        totals["tumour pixels"] += int(mask.sum())
        totals["outside the box"] += int((mask & ~inside).sum())
        totals["outside the head"] += int((mask & ~crop.head).sum())
        totals["cleaned away"] += int((mask & ~cleaned.keep).sum())
    return dict(totals), modes


if __name__ == "__main__":
    main()
