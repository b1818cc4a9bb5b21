"""Recall of changed copies and rate of false pairs, at several thresholds: what `duplicates.THRESHOLD` was chosen by.

    python benchmarks/duplicates_accuracy.py DATA [--scans 200]

DATA holds the folders navoneel, cheng, healthy, tumor_unmasked and lgg; one that is missing is skipped.

*Recall.* Scans drawn from each folder are changed in one way or in several, and each copy is compared with its
original: share found at each threshold of the second look, those that fail the first look counted as missed.

*False pairs.* Pairs that are known to be different: slices of different patients of lgg, and slices of cheng more than
60 numbers apart. Given are their number at each threshold, and what share of false pairs a search would report that
finds each of these scans' copies once: false pairs over false pairs and copies.

*Two sets.* The second is made of rescaled, recompressed, mirrored copies of the first. A pair found between them is
right when the original and the copy's original are one scan or, within the first set, copies themselves.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope import io
from tumorscope.datasets import duplicates, manifest
from tumorscope.datasets.likeness import first_look, overlaid, turn_likeness
from tumorscope.datasets.neighbours import UNDOES

FOLDERS = ("navoneel", "cheng", "healthy", "tumor_unmasked", "lgg")
THRESHOLDS = (0.90, 0.92, 0.93, 0.94, 0.95, 0.96, 0.98)
APART = 60  # numbers, from which slices of cheng are taken to be of different patients
LETTERS = list("ABEFLRST0123456789:. ")
Change = Callable[[NDArray, np.random.Generator], NDArray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--scans", type=int, default=200, help="scans of each folder that copies are made of")
    arguments = parser.parse_args()
    tables = {name: manifest.load(arguments.data / name, groups=False) for name in FOLDERS
              if (arguments.data / name).is_dir()}  # fmt: skip
    planes = [plane for name, table in tables.items() for plane in drawn(table, arguments.scans)]
    prints = duplicates.fingerprints(planes, threads=2)
    seen = prints.any(axis=(1, 2, 3))
    print(f"{len(planes)} scans, {int((~seen).sum())} of them blank; first look at {duplicates.NEAR}")
    print(f"{'recall, % at':<40}{''.join(f'{value:>8}' for value in THRESHOLDS)}{'near':>8}")
    for name, change in CHANGES.items():
        rng = np.random.default_rng(0)
        copies = duplicates.fingerprints([change(plane, rng) for plane in planes], threads=2)
        row(name, agreement(prints[seen], copies[seen]))
    print(f"\n{'false pairs at':<40}{''.join(f'{value:>8}' for value in THRESHOLDS)}{'near':>8}")
    for name in ("cheng", "lgg"):
        if name in tables:
            strangers(name, tables[name])
    two_sets({name: table for name, table in tables.items() if name in ("cheng", "navoneel")})


def drawn(table: pl.DataFrame, count: int) -> list[NDArray[np.float32]]:
    """Slices of ``count`` rows, 0 to 255."""
    chosen = table[np.sort(np.random.default_rng(0).permutation(table.height)[:count])]
    planes = []
    for path, channel in chosen.select("path", "channel").rows():
        pixels = io.read(path, channel=channel).pixels
        pixels = pixels if pixels.ndim == 2 else pixels.mean(axis=0)
        planes.append(np.asarray(pixels * (255 / max(float(pixels.max()), 255)), np.float32))
    return planes


def bytes_of(plane: NDArray) -> NDArray[np.uint8]:
    return np.clip(np.rint(plane), 0, 255).astype(np.uint8)


def rescaled(plane: NDArray, factor: float) -> NDArray:
    size = max(1, round(plane.shape[1] * factor)), max(1, round(plane.shape[0] * factor))
    return cv2.resize(bytes_of(plane), size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)


def recompressed(plane: NDArray, quality: float) -> NDArray:
    code = cv2.imencode(".jpg", bytes_of(plane), [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    return cv2.imdecode(code, cv2.IMREAD_GRAYSCALE)


def cropped(plane: NDArray, most: float, rng: np.random.Generator) -> NDArray:
    top, bottom, left, right = (rng.uniform(0, most, 4) * np.repeat(plane.shape, 2)).astype(int)
    return plane[top : plane.shape[0] - bottom, left : plane.shape[1] - right]


def brightened(plane: NDArray, rng: np.random.Generator) -> NDArray:
    return bytes_of(plane * rng.uniform(0.7, 1.4) + rng.uniform(-20, 25))


def toned(plane: NDArray, rng: np.random.Generator) -> NDArray:
    return bytes_of(255 * (np.clip(plane, 0, 255) / 255) ** rng.uniform(0.7, 1.4))


def turned(plane: NDArray, rng: np.random.Generator) -> NDArray:
    plane = plane if rng.random() < 0.5 else plane.T
    return np.ascontiguousarray(np.rot90(plane, int(rng.integers(1, 4))))


def bordered(plane: NDArray, rng: np.random.Generator) -> NDArray:
    wide = max(1, int(rng.uniform(0.01, 0.08) * max(plane.shape)))
    sides = [(wide,) * 4, (wide, wide, 0, 0), (0, wide, wide, 0)][rng.integers(3)]
    return cv2.copyMakeBorder(bytes_of(plane), *sides, cv2.BORDER_CONSTANT, value=255)


def padded(plane: NDArray, rng: np.random.Generator) -> NDArray:
    sides = (rng.uniform(0, 0.2, 4) * max(plane.shape)).astype(int).tolist()
    return cv2.copyMakeBorder(bytes_of(plane), *sides, cv2.BORDER_CONSTANT, value=0)


def lettered(plane: NDArray, rng: np.random.Generator, largest: float = 1.0) -> NDArray:
    """One to four words in the corners, capitals of 2.7 to 5.5 % of the width for ``largest`` 1."""
    marked = bytes_of(plane).copy()
    height, width = marked.shape
    for _ in range(rng.integers(1, 5)):
        word = "".join(rng.choice(LETTERS, rng.integers(1, 12)))
        at = int(width * rng.choice([0.02, 0.7])), int(height * rng.choice([0.06, 0.98]))
        size = largest * rng.uniform(0.5, 1.0) * width / 400
        cv2.putText(marked, word, at, cv2.FONT_HERSHEY_SIMPLEX, size, int(rng.integers(160, 256)),
                    max(1, width // 300), cv2.LINE_AA)  # fmt: skip
    return marked


def tilted(plane: NDArray, rng: np.random.Generator) -> NDArray:
    middle = plane.shape[1] / 2, plane.shape[0] / 2
    way = cv2.getRotationMatrix2D(middle, rng.uniform(-3, 3), 1)
    return cv2.warpAffine(bytes_of(plane), way, plane.shape[::-1])


def rescaled_recompressed(plane: NDArray, rng: np.random.Generator) -> NDArray:
    return recompressed(rescaled(plane, rng.uniform(0.5, 1.5)), rng.integers(30, 91))


def everything(plane: NDArray, rng: np.random.Generator) -> NDArray:
    plane = cropped(rescaled(toned(turned(plane, rng), rng), rng.uniform(0.5, 1.5)), 0.04, rng)
    return recompressed(lettered(bordered(plane, rng), rng), rng.integers(30, 91))


CHANGES: dict[str, Change] = {
    "rescaled 0.5 to 1.5": lambda plane, rng: rescaled(plane, rng.uniform(0.5, 1.5)),
    "JPEG quality 30": lambda plane, rng: recompressed(plane, 30),
    "JPEG quality 30 to 90": lambda plane, rng: recompressed(plane, rng.integers(30, 91)),
    "mirrored or turned by 90°": turned,
    "brightness and contrast": brightened,
    "gamma 0.7 to 1.4": toned,
    "cropped by up to 2 % a side": lambda plane, rng: cropped(plane, 0.02, rng),
    "cropped by up to 4 % a side": lambda plane, rng: cropped(plane, 0.04, rng),
    "cropped by up to 6 % a side": lambda plane, rng: cropped(plane, 0.06, rng),
    "black margin of up to 20 % a side": padded,
    "white border or bars": bordered,
    "letters": lettered,
    "letters, up to 9 % of the width": lambda plane, rng: lettered(plane, rng, 1.6),
    "tilted by up to 3°": tilted,
    "rescaled, recompressed, mirrored": lambda plane, rng: rescaled_recompressed(plane[:, ::-1], rng),
    "the same, cropped by 3 %, brighter": lambda plane, rng: rescaled_recompressed(
        brightened(cropped(plane[:, ::-1], 0.03, rng), rng), rng
    ),
    "turned, cropped, toned, border, letters": everything,
}  # fmt: skip


def agreement(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Second look (N,) at row by row pairs; -1 where the first look is not passed."""
    looks = np.stack([turn_likeness(first_look(ours[:, view]), first_look(theirs[:, view])) for view in (0, 1)], 1)
    flat = looks.reshape(len(ours), -1)
    view, turn = np.divmod(flat.argmax(1), looks.shape[2])
    both = np.concatenate([ours, theirs])
    one, other = np.arange(len(ours)), np.arange(len(ours), 2 * len(ours))
    value = np.maximum(overlaid(both, one, other, view, turn), overlaid(both, other, one, view, UNDOES[turn]))
    return np.where(flat.max(1) >= duplicates.NEAR, value, -1)


def row(name: str, value: NDArray) -> None:
    shares = [100 * float((value >= threshold).mean()) for threshold in (*THRESHOLDS, -0.5)]
    print(f"{name:<40}{''.join(f'{share:>8.1f}' for share in shares)}", flush=True)


def strangers(name: str, table: pl.DataFrame) -> None:
    """Print how many pairs of different patients there are at each threshold."""
    prints = duplicates.fingerprints(table["path"].to_list(), channels=table["channel"].to_list(), threads=2)
    found = duplicates.copies(prints, 0.01)
    if name == "cheng":
        number = table["id"].str.extract(r"(\d+)$").cast(pl.Int64).to_numpy()
        different = np.abs(number[found.i] - number[found.j]) > APART
        possible = int((np.abs(number[:, None] - number) > APART).sum()) // 2
    else:
        patient = table["patient"].to_numpy()
        different = patient[found.i] != patient[found.j]
        possible = int((patient[:, None] != patient).sum()) // 2
    value = found.value[different]
    counts = [int((value >= threshold).sum()) for threshold in (*THRESHOLDS, -0.5)]
    print(f"{f'{name}, of {possible}':<40}{''.join(f'{count:>8}' for count in counts)}")
    shares = [100 * 2 * count / (2 * count + table.height) for count in counts]
    print(f"{'   % of the pairs reported':<40}{''.join(f'{share:>8.2f}' for share in shares)}", flush=True)


def two_sets(tables: dict[str, pl.DataFrame]) -> None:
    """Print recall and false pairs between each set and its rescaled, recompressed, mirrored copies."""
    for name, table in tables.items():
        planes = drawn(table, table.height)
        rng = np.random.default_rng(1)
        count = len(planes)
        prints = duplicates.fingerprints(
            [*planes, *(rescaled_recompressed(plane[:, ::-1], rng) for plane in planes)], threads=2
        )
        found = duplicates.copies(prints)
        group = duplicates.groups(prints[:count])
        across = (found.i < count) & (found.j >= count)
        i, j = found.i[across], found.j[across] - count
        own = len(set(i[i == j].tolist()))
        wrong = group[i] != group[j]
        if name == "cheng":  # neighbours in number are slices of one head
            number = table["id"].str.extract(r"(\d+)$").cast(pl.Int64).to_numpy()
            wrong &= np.abs(number[i] - number[j]) > APART
        print(f"\n{name} and its copies at {duplicates.THRESHOLD}: {own} of {count} found ({100 * own / count:.2f} %), "
              f"{len(i)} pairs between the sets, {int(wrong.sum())} of them false "
              f"({100 * wrong.mean():.2f} %)", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
