"""Time for all segmentation figures of 1,000 masks of 512 x 512 pixels, and the same figures from MONAI beside it.

    python benchmarks/segmentation_metrics_speed.py              # arrays, then PNG files
    python benchmarks/segmentation_metrics_speed.py --count 200 --monai 40

True masks hold one to three ragged lesions or, every fifth, none; predictions are those, shifted, eroded or grown,
with a false region now and then, and on every twentieth scan specks all over the picture, which is the slow case. Each
scan has a map of pixel probabilities. Times are the best of three runs. With --monai N the first N scans are scored by
both in turn (needs MONAI): Dice, IoU, HD95, mean surface distance and surface Dice there, every figure of a row here.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from tumorscope.evaluation.mask_scores import MaskPair, evaluate_masks, score_masks
from tumorscope.evaluation.mask_summary import summarise

SIDE = 512  # px
HEALTHY, NOISY, FALSE = 5, 20, 7  # one scan in so many
ROUNDS = 3
DISTINCT = 200  # scans that are drawn; they come again under other names until there are enough


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="scans")
    parser.add_argument("--workers", type=int, default=2, help="threads")
    parser.add_argument("--monai", type=int, default=0, metavar="N", help="compare with MONAI on N scans")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {arguments.count} masks of {SIDE} x {SIDE}")
    made = [scan(seed) for seed in range(min(arguments.count, DISTINCT))]
    facts = [{"group": number // 4} for number in range(arguments.count)]
    pairs = [MaskPair(str(number), *made[number % len(made)], facts=facts[number]) for number in range(arguments.count)]
    times = []
    for _ in range(ROUNDS):
        begun, worked = time.perf_counter(), time.process_time()
        table = evaluate_masks(pairs, workers=arguments.workers)
        times.append((time.perf_counter() - begun, time.process_time() - worked))
    print(f"arrays, {arguments.workers} threads: {min(times)[0]:.1f} s, {min(t[1] for t in times):.1f} s of processor")
    with tempfile.TemporaryDirectory(prefix="tumorscope-metrics-") as folder:
        files = list(written(Path(folder), made, arguments.count))
        times = []
        for _ in range(ROUNDS):
            begun, worked = time.perf_counter(), time.process_time()
            evaluate_masks(files, workers=arguments.workers)
            times.append((time.perf_counter() - begun, time.process_time() - worked))
    print(
        f"PNG files, {arguments.workers} threads: {min(times)[0]:.1f} s, {min(t[1] for t in times):.1f} s of processor"
    )
    begun = time.perf_counter()
    summary = summarise(table, by="regions")
    print(f"summary by regions, 2000 resamples: {time.perf_counter() - begun:.1f} s")
    print(summary.sentence())
    if arguments.monai:
        against_monai(arguments.monai)


def scan(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predicted mask, true mask and probabilities."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((SIDE, SIDE), bool)
    if seed % HEALTHY:
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            truth |= lesion(rng)
    moved = np.roll(truth, rng.integers(-6, 7, 2), (0, 1)).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    changed = cv2.dilate(moved, kernel) if rng.random() < 0.5 else cv2.erode(moved, kernel)
    if seed % FALSE == 0:
        changed |= lesion(rng).astype(np.uint8)
    if seed % NOISY == 0:
        changed |= (rng.random((SIDE, SIDE)) < 0.05).astype(np.uint8)
    noise = cv2.GaussianBlur(rng.random((SIDE, SIDE)).astype(np.float32), (0, 0), 3)
    probability = np.clip(0.6 * cv2.GaussianBlur(changed.astype(np.float32), (0, 0), 4) + 0.4 * noise, 0, 1)
    return changed.astype(bool), truth, probability


def lesion(rng: np.random.Generator) -> np.ndarray:
    """A ragged blob of 20 to 140 px across."""
    size = rng.uniform(10, 70)
    y, x = np.mgrid[:SIDE, :SIDE] - rng.uniform(150, 360, 2)[:, None, None]
    angle = np.arctan2(y, x)
    waves = sum(rng.uniform(0, 0.12) * np.sin(n * angle + rng.uniform(0, 6.3)) for n in range(2, 9))
    return np.hypot(y, x) < size * (1 + waves)


def written(folder: Path, made: list[tuple[np.ndarray, np.ndarray, np.ndarray]], count: int) -> Iterator[MaskPair]:
    """Pairs of 8-bit masks and 16-bit probabilities as PNG files."""
    for number in range(count):
        which = number % len(made)
        drawn, true, likely = (folder / f"{which}_{kind}.png" for kind in ("predicted", "truth", "probability"))
        if number == which:
            predicted, truth, probability = made[which]
            cv2.imwrite(str(drawn), predicted * np.uint8(255))
            cv2.imwrite(str(true), truth * np.uint8(255))
            cv2.imwrite(str(likely), np.rint(probability * 65535).astype(np.uint16))
        yield MaskPair(str(number), drawn, true, likely)


def against_monai(count: int) -> None:
    """Both in turn on the same scans, and the largest differences of what both compute."""
    import torch
    from monai.metrics import compute_average_surface_distance as average
    from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou, compute_surface_dice

    torch.set_num_threads(1)
    spent, apart = np.zeros(2), dict.fromkeys(("dice", "iou", "hd95", "mean_surface_distance", "surface_dice"), 0.0)
    for seed in range(count):
        predicted, truth, probability = scan(seed)
        if not (predicted.any() and truth.any()):
            continue
        begun = time.perf_counter()
        row = score_masks(predicted, truth, probability=probability)
        middle = time.perf_counter()
        first, second = (torch.from_numpy(mask)[None, None].float() for mask in (predicted, truth))
        theirs = {
            "dice": compute_dice(first, second),
            "iou": compute_iou(first, second),
            "hd95": compute_hausdorff_distance(first, second, True, percentile=95),
            "mean_surface_distance": average(first, second, True, symmetric=True),
            "surface_dice": compute_surface_dice(first, second, [row["tolerance"]], True, use_subvoxels=True),
        }
        spent += middle - begun, time.perf_counter() - middle
        for name, value in theirs.items():
            apart[name] = max(apart[name], abs(float(value) - row[name]))
    print(f"one thread, scans with both masks: {spent[0]:.2f} s here, {spent[1]:.2f} s MONAI's five figures")
    print("largest differences:", ", ".join(f"{name} {value:.1e}" for name, value in apart.items()))


if __name__ == "__main__":
    main()
