"""Contact sheets of cleaning and cropping, for a person to judge.

    python benchmarks/crop_sheets.py DATA OUT [--columns 6] [--rows 7]

For every image below DATA: on the left the file with the crop box (green), the head's outline (yellow) and what
cleaning took away (red); on the right the cleaned, cropped, normalised result. OUT gets numbered PNG sheets and
``crops.csv`` with mode, reason, findings and the share of the image that is kept.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.imaging.background import clean_background
from tumorscope.imaging.crop import crop_head
from tumorscope.imaging.intensity import normalize

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
SIDE = 170  # px of each of a tile's two pictures
LABEL = 16  # px below them


def main() -> None:
    """Read the arguments, write the sheets and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--rows", type=int, default=7)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    paths = sorted(path for path in arguments.data.rglob("*") if path.suffix.lower() in SUFFIXES)
    per_sheet = arguments.columns * arguments.rows
    with (arguments.out / "crops.csv").open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["name", "mode", "findings", "kept_share", "reason"])
        for number, start in enumerate(range(0, len(paths), per_sheet)):
            tiles = []
            for path in paths[start : start + per_sheet]:
                drawn, row = tile(path, path.relative_to(arguments.data).as_posix())
                tiles.append(drawn)
                writer.writerow(row)
            sheet = grid(tiles, arguments.columns)
            cv2.imwrite(str(arguments.out / f"sheet{number:02d}.png"), sheet)


def tile(path: Path, name: str) -> tuple[NDArray[np.uint8], list[str]]:
    """Picture and table row of one image."""
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE)
    cleaned = clean_background(image)
    crop = crop_head(cleaned.image)
    result = crop.box.cut(normalize(cleaned.image, where=crop.head))
    scale = SIDE / max(image.shape)
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    before = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2BGR)
    removed = cv2.resize((~cleaned.keep).astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.2
    before[removed] = before[removed] // 2 + np.array([0, 0, 120], np.uint8)
    outline = cv2.resize(crop.head.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(outline, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if crop.mode != "none":
        cv2.drawContours(before, contours, -1, (0, 220, 255), 1)
    corner = (int(crop.box.left * scale), int(crop.box.top * scale))
    cv2.rectangle(before, corner, (int(crop.box.right * scale) - 1, int(crop.box.bottom * scale) - 1), (0, 255, 0), 1)
    grow = SIDE / max(result.shape)
    small = (max(1, round(result.shape[1] * grow)), max(1, round(result.shape[0] * grow)))
    shown = (cv2.resize(result, small, interpolation=cv2.INTER_AREA) * 255).astype(np.uint8)
    after = cv2.cvtColor(shown, cv2.COLOR_GRAY2BGR)
    canvas = np.full((SIDE + LABEL, 2 * SIDE + 6, 3), 90, np.uint8)
    canvas[: before.shape[0], : before.shape[1]] = before
    canvas[: after.shape[0], SIDE + 2 : SIDE + 2 + after.shape[1]] = after
    label = f"{name} {crop.mode}" + "".join(f" +{finding.split('(')[0].strip()}" for finding in cleaned.findings)
    cv2.putText(canvas, label, (1, SIDE + 12), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (255, 255, 255), 1, cv2.LINE_AA)
    kept = crop.box.shape[0] * crop.box.shape[1] / image.size
    return canvas, [name, crop.mode, "; ".join(cleaned.findings), f"{kept:.3f}", crop.reason]


def grid(tiles: list[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Tiles in rows of ``columns``; the last row is filled up with grey."""
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    rows[-1] += [np.full_like(tiles[0], 90)] * (columns - len(rows[-1]))
    return np.vstack([np.hstack(row) for row in rows])


if __name__ == "__main__":
    main()
