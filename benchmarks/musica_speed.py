"""MUSICA's speed on a 512 x 512 slice, six levels: against scikit-image's pyramids and bare OpenCV pyramids.

    python benchmarks/musica_speed.py [ROUNDS]

All contenders run in turn on one core, round after round, so that other load on the machine meets all alike; the best
processor time of each counts. The contenders:

- bare: OpenCV's `pyrDown` six times, then `pyrUp` six times, nothing else;
- round trip: the same with the differences taken and added again, so that the image comes back;
- scikit-image: the same algorithm as MUSICA's defaults, on `pyramid_reduce` and `pyramid_expand`;
- musica: by default; with every parameter on; and by default on the image transposed, since one of an image and its
  transpose is turned round before and after.

Demanded: MUSICA by default at least 6 times as fast as scikit-image, and at most 10 times bare.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.transform import pyramid_expand, pyramid_reduce

from tumorscope.datasets import phantom
from tumorscope.imaging.musica import musica

SIDE, LEVELS = 512, 6
EVERYTHING = {
    "gain": [1.2, 1.1, 1.0, 1.0, 0.9, 0.9], "noise": 3.0, "edge": 1.4, "latitude": 0.7, "keep_black": True,
}  # fmt: skip


def bare(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Down and up again, nothing kept of what is lost."""
    planes = [image]
    for _ in range(LEVELS):
        planes.append(cv2.pyrDown(planes[-1]))
    result = planes[-1]
    for plane in reversed(planes[:-1]):
        result = cv2.pyrUp(result, dstsize=plane.shape[::-1])
    return result


def round_trip(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Apart into a Laplacian pyramid and together again."""
    details = []
    for _ in range(LEVELS):
        smaller = cv2.pyrDown(image)
        details.append(cv2.subtract(image, cv2.pyrUp(smaller, dstsize=image.shape[::-1])))
        image = smaller
    for detail in reversed(details):
        image = cv2.add(detail, cv2.pyrUp(image, dstsize=detail.shape[::-1]))
    return image


def scikit_image(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """MUSICA's defaults on scikit-image's pyramids."""
    details = []
    for _ in range(LEVELS):
        smaller = pyramid_reduce(image, 2)
        details.append(image - pyramid_expand(smaller, 2)[: image.shape[0], : image.shape[1]])
        image = smaller
    for detail in reversed(details):
        size = np.abs(detail)
        changed = detail * np.maximum(size / size.max(), 0.01) ** -0.3
        image = changed + pyramid_expand(image, 2)[: detail.shape[0], : detail.shape[1]]
    return image


def main() -> None:
    """Print milliseconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", type=int, nargs="?", default=30)
    rounds = parser.parse_args().rounds
    cv2.setNumThreads(1)
    image = (phantom.make(3, size=SIDE).image / 255).astype(np.float32)
    turned = np.ascontiguousarray(image.T)
    contenders: dict[str, Callable[[], object]] = {
        "bare OpenCV": lambda: bare(image),
        "OpenCV round trip": lambda: round_trip(image),
        "scikit-image": lambda: scikit_image(image),
        "musica": lambda: musica(image),
        "musica, transposed": lambda: musica(turned),
        "musica, everything": lambda: musica(image, **EVERYTHING),
        "musica, everything, transposed": lambda: musica(turned, **EVERYTHING),
    }
    best = dict.fromkeys(contenders, np.inf)
    for _ in range(rounds):
        for name, call in contenders.items():
            begun = time.process_time()
            call()
            best[name] = min(best[name], time.process_time() - begun)
    print(f"{'':<32}{'ms':>8}{'x bare':>9}{'x round trip':>14}{'faster than scikit-image':>27}")
    for name, seconds in best.items():
        against = [seconds / best["bare OpenCV"], seconds / best["OpenCV round trip"], best["scikit-image"] / seconds]
        print(f"{name:<32}{1000 * seconds:>8.2f}{against[0]:>9.1f}{against[1]:>14.1f}{against[2]:>27.1f}")


if __name__ == "__main__":
    main()
