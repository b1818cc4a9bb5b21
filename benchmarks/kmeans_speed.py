"""Speed of the k-means sweep and of exact one-dimensional k-means against scikit-learn, with the agreement of both.

    python benchmarks/kmeans_speed.py                        # phantoms; some minutes, most of them scikit-learn's
    python benchmarks/kmeans_speed.py SCAN.jpg ... --rounds 3

The sweep: k = 2 to 20 on 128 × 128 pixels, features x, y and intensity, within- and between-cluster sum of squares,
silhouette and Calinski–Harabasz. scikit-learn's loop is KMeans(n_init=10), silhouette_score and
calinski_harabasz_score for each k. Both run in turn in this process, best of the rounds, with as many threads as the
machine gives them (OMP_NUM_THREADS and OPENBLAS_NUM_THREADS limit both); --clock cpu counts the seconds of all cores
instead, which other programs on the machine disturb less. Printed beside the ratio: the largest
difference of the silhouettes for equal labels, and how the inertias compare, each k by itself.

One dimension: the grey values of 512 × 512 pixels, k = 10, against KMeans with its default of one start and with ten.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

KS = range(2, 21)
SIDE = 512  # px, of the one-dimensional part
K = 10
Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}
TOLERANCE = 1.001  # ratio of inertias up to which ours counts as no worse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", nargs="*", type=Path, help="images; two phantoms without any")
    parser.add_argument("--rounds", type=int, default=1, help="times each is measured; the best counts")
    parser.add_argument("--part", choices=("both", "sweep", "one"), default="both")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    arguments = parser.parse_args()
    images = {path.name: as_grey(path) for path in arguments.scans} or phantoms()
    print(f"{os.cpu_count()} cores, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}")
    warm_up()
    if arguments.part != "one":
        for name, image in images.items():
            compare_sweep(name, image, arguments.rounds, CLOCKS[arguments.clock])
    if arguments.part != "sweep":
        for name, image in images.items():
            compare_one_dimension(name, image, arguments.rounds + 4, CLOCKS[arguments.clock])


def as_grey(path: Path) -> NDArray:
    from tumorscope.io import read

    return read(path).pixels


def phantoms() -> dict[str, NDArray]:
    from tumorscope.datasets import phantom

    return {f"phantom {contrast}": phantom.make(3, "axial", contrast).image for contrast in ("t1ce", "flair")}


def warm_up() -> None:
    """Load what both need, so that no import is timed."""
    from sklearn.cluster import KMeans

    from tumorscope.imaging.cluster_sweep import sweep

    KMeans(2, n_init=1).fit(np.arange(8.0)[:, None])
    sweep(np.eye(9), [2], size=9)


def compare_sweep(name: str, image: NDArray, rounds: int, clock: Clock) -> None:
    """One row: seconds of both, their ratio, and how far the numbers agree."""
    from sklearn.metrics import silhouette_score

    from tumorscope.imaging.cluster_indices import silhouettes
    from tumorscope.imaging.cluster_sweep import pixel_features, sweep

    points = pixel_features(image)
    (ours, theirs), (swept, fitted) = best_of(rounds, clock, lambda: sweep(image, KS), lambda: library_sweep(points))
    labels = [model.labels_ for model, _, _ in fitted]
    apart = np.abs(silhouettes(points, labels) - [score for _, score, _ in fitted])
    ratio = swept.within[0] / np.array([model.inertia_ for model, _, _ in fitted])
    worse = [int(k) for k, value in zip(KS, ratio, strict=True) if value > TOLERANCE]
    check = silhouette_score(points, labels[0]) - fitted[0][1]
    print(
        f"sweep   {name}: {ours:.2f} s, scikit-learn {theirs:.1f} s, {theirs / ours:.1f} times; silhouettes differ by "
        f"at most {apart.max():.1e} (repeat of scikit-learn {check:.0e}); inertia over scikit-learn's: "
        f"mean {ratio.mean():.5f}, lowest {ratio.min():.5f}, highest {ratio.max():.5f}; "
        f"above {TOLERANCE} at k = {worse}"
    )


def library_sweep(points: NDArray) -> list[tuple]:
    """scikit-learn's model, silhouette and Calinski–Harabasz index for each k."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import calinski_harabasz_score, silhouette_score

    found = []
    for k in KS:
        model = KMeans(k, n_init=10, random_state=0).fit(points)
        scores = silhouette_score(points, model.labels_), calinski_harabasz_score(points, model.labels_)
        found.append((model, *scores))
    return found


def compare_one_dimension(name: str, image: NDArray, rounds: int, clock: Clock) -> None:
    """Two rows, for 8-bit and for fractional grey values."""
    from sklearn.cluster import KMeans

    from tumorscope.imaging.intensity import normalize
    from tumorscope.imaging.intensity_clusters import exact_kmeans

    grey = 255 * cv2.resize(normalize(image, low=0, high=100), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    grey = np.clip(grey, 0, 255)
    for kind, plane in (("8 bits", np.rint(grey).astype(np.uint8)), ("fractions", grey)):
        column = plane.reshape(-1, 1).astype(np.float32)

        def library(starts: int, column: NDArray = column) -> KMeans:
            return KMeans(K, n_init=starts, random_state=0).fit(column)

        (ours, one, ten), (exact, single, several) = best_of(
            rounds, clock, lambda plane=plane: exact_kmeans(plane, K), lambda: library(1), lambda: library(10)
        )
        print(
            f"1-D     {name}, {kind}: {1e3 * ours:.1f} ms, scikit-learn {1e3 * one:.0f} ms ({one / ours:.0f} times), "
            f"ten starts {1e3 * ten:.0f} ms ({ten / ours:.0f} times); within-cluster sum of squares over theirs: "
            f"{exact.within / single.inertia_:.5f} and {exact.within / several.inertia_:.5f}"
        )


def best_of(rounds: int, clock: Clock, *tasks: Callable[[], object]) -> tuple[list[float], list]:
    """Least seconds of each task, run in turn, and what each gave."""
    seconds, results = [float("inf")] * len(tasks), [None] * len(tasks)
    for _ in range(rounds):
        for number, task in enumerate(tasks):
            start = clock()
            results[number] = task()
            seconds[number] = min(seconds[number], clock() - start)
    return seconds, results


if __name__ == "__main__":
    main()
