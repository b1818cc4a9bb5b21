"""Quality of head and brain masks on phantoms, and contact sheets of a folder for a person to judge.

    python benchmarks/skull_quality.py [--heads 4] [--json FILE]
    python benchmarks/skull_quality.py --sheets DATA OUT [--method morphology]

The table gives the Dice coefficient against the phantom's own truth: mean, lowest, and the share of 0.95 and more, for
each method by plane, contrast, noise and coil shading. The brain's truth is the inside of the skull; the spinal canal
is taken off by an opening with a disc of 10 mm radius, since it belongs to no brain mask (``whole`` gives the figure
with it). With --sheets, every image below DATA is read, cleaned and drawn with the head's outline (yellow) and the
brain's (red, blue below the least confidence); OUT gets numbered sheets and ``brains.csv`` with confidence and reason.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope import io
from tumorscope.datasets import phantom
from tumorscope.datasets.phantom_scanner import CONTRASTS, PLANES
from tumorscope.evaluation.segmentation import dice
from tumorscope.imaging.background import clean_background
from tumorscope.imaging.crop import crop_head
from tumorscope.imaging.skull import LEAST_CONFIDENCE, METHODS, brain_mask, head_mask

Row = dict[str, Any]

FIRST_HEAD = 9000  # seeds from here on; settings were chosen on others
LESIONS = ("glioma", None, "meningioma", "metastasis")
CANAL = 10.0  # mm: radius of the opening that takes the spinal canal off the truth
SETTINGS = (("as drawn", None, None), ("noise 0.06", 0.06, None), ("shading 0.3", None, 0.3))
SIDE = 190  # px of a tile
LABEL = 16  # px below it


def main() -> None:
    """Read the arguments; print the table or write the sheets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=int, default=4, help="phantom heads for each plane and contrast")
    parser.add_argument("--json", type=Path, help="write every single figure to this file")
    parser.add_argument("--sheets", type=Path, nargs=2, metavar=("DATA", "OUT"))
    parser.add_argument("--method", choices=METHODS, default="morphology")
    arguments = parser.parse_args()
    if arguments.sheets:
        data, out = arguments.sheets
        write_sheets(data, out, arguments.method)
        return
    rows = list(measure(arguments.heads))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows))
    print_table(rows)


def measure(heads: int) -> Iterator[Row]:
    """Dice of every method on every phantom, one row each."""
    for setting, noise, bias in SETTINGS:
        for plane in PLANES:
            for number, contrast in enumerate(CONTRASTS):
                for head in range(heads):
                    seed, lesion = FIRST_HEAD + 10 * head + number, LESIONS[head % len(LESIONS)]
                    scan = phantom.make(seed, plane, contrast, lesion=lesion, noise=noise, bias=bias)
                    truth = without_canal(scan)
                    common = {"setting": setting, "plane": plane, "contrast": contrast, "seed": seed}
                    yield {
                        **common,
                        "what": "head",
                        "method": "hull",
                        "dice": dice(crop_head(scan.image).head, scan.head),
                    }
                    for method in METHODS:
                        found = head_mask(scan.image, method)
                        yield {**common, "what": "head", "method": method, "dice": dice(found, scan.head)}
                        start = time.perf_counter()
                        brain = brain_mask(scan.image, method)
                        yield {
                            **common, "what": "brain", "method": method, "dice": dice(brain.mask, truth),
                            "whole": dice(brain.mask, scan.brain), "confidence": brain.confidence,
                            "seconds": time.perf_counter() - start,
                        }  # fmt: skip


def without_canal(scan: phantom.Phantom) -> NDArray[np.bool_]:
    """The phantom's inside of the skull without the spinal canal."""
    radius = round(CANAL / scan.params["pixel_mm"])
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.morphologyEx(scan.brain.astype(np.uint8), cv2.MORPH_OPEN, disc) > 0


def print_table(rows: list[Row]) -> None:
    """Mean, lowest and share of good Dice for each group of rows."""
    print(
        f"{'what':6} {'method':11} {'group':12} {'n':>4} {'mean':>6} {'lowest':>6} {'>=.95':>6} {'whole':>6} {'s':>6}"
    )
    groups = [("setting", name) for name, _, _ in SETTINGS]
    groups += [("plane", name) for name in PLANES] + [("contrast", name) for name in CONTRASTS]
    for what, methods in (("head", ("hull", *METHODS)), ("brain", METHODS)):
        for method in methods:
            own = [row for row in rows if row["what"] == what and row["method"] == method]
            for key, value in [("", "all"), *groups]:
                part = [row for row in own if not key or row[key] == value]
                score = np.array([row["dice"] for row in part])
                line = f"{what:6} {method:11} {value:12} {len(part):4d} {score.mean():6.3f} {score.min():6.3f} "
                line += f"{(score >= 0.95).mean():6.0%}"
                if what == "brain":
                    line += f" {np.mean([row['whole'] for row in part]):6.3f}"
                    line += f" {np.median([row['seconds'] for row in part]):6.2f}"
                print(line)
    brains = [row for row in rows if row["what"] == "brain" and row["method"] == "morphology"]
    for least in (0.5, 0.6, 0.7, 0.8, 0.9):
        kept = [row["dice"] for row in brains if row["confidence"] >= least]
        lost = [row["dice"] for row in brains if row["confidence"] < least]
        worst = f"{min(kept):.3f}" if kept else "-"
        mean = f"{np.mean(lost):.3f}" if lost else "-"
        print(
            f"confidence >= {least}: {len(kept)} of {len(brains)} masks, lowest Dice {worst}; mean of the others {mean}"
        )


def write_sheets(data: Path, out: Path, method: str) -> None:
    """Contact sheets of 60 tiles and a table of confidences."""
    out.mkdir(parents=True, exist_ok=True)
    tiles = []
    with (out / "brains.csv").open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["id", "confidence", "reason"])
        for item in io.discover([data]):
            image = clean_background(io.read(item.path).pixels).image
            brain = brain_mask(image, method)
            writer.writerow([item.id, f"{brain.confidence:.3f}", brain.reason])
            tiles.append(tile(image, brain.mask, brain.head, f"{item.id} {brain.confidence:.2f}", brain.confidence))
    for number, start in enumerate(range(0, len(tiles), 60)):
        part = tiles[start : start + 60]
        part += [np.zeros_like(tiles[0])] * (-len(part) % 10)
        sheet = np.vstack([np.hstack(part[row : row + 10]) for row in range(0, len(part), 10)])
        cv2.imwrite(str(out / f"sheet{number:02d}.png"), sheet)


def tile(image: NDArray, mask: NDArray, head: NDArray, label: str, confidence: float) -> NDArray[np.uint8]:
    """One picture with both outlines and a label."""
    low, high = np.percentile(image, (0.5, 99.5))
    grey = np.clip((image - low) / max(high - low, 1e-9) * 255, 0, 255).astype(np.uint8)
    rows, columns = np.flatnonzero(head.any(axis=1)), np.flatnonzero(head.any(axis=0))
    if rows.size:
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        grey, mask, head = grey[box], mask[box], head[box]
    scale = SIDE / max(grey.shape)
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    colour = cv2.cvtColor(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2BGR)
    red, blue = (0, 0, 255), (255, 120, 0)
    for drawn, ink in ((head, (0, 200, 255)), (mask, red if confidence >= LEAST_CONFIDENCE else blue)):
        fine = cv2.resize(drawn.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        contours, _ = cv2.findContours(fine, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(colour, contours, -1, ink, 1)
    canvas = np.zeros((SIDE + LABEL, SIDE + 2, 3), np.uint8)
    canvas[: colour.shape[0], : colour.shape[1]] = colour
    return cv2.putText(canvas, label, (1, SIDE + 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)


if __name__ == "__main__":
    main()
