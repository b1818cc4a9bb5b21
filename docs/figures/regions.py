"""The pictures of head, brain, stripping and regions, made from phantoms.

    python docs/figures/regions.py

Writes docs/images/skull.jpg, stripping.jpg and regions.jpg.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.datasets import phantom
from tumorscope.imaging.crop import crop_head
from tumorscope.imaging.regions import random_walker, region_colors, superpixels, watershed
from tumorscope.imaging.skull import AMOUNTS, METHODS, brain_mask, head_mask, strip_skull
from tumorscope.imaging.snakes import snake

IMAGES = Path(__file__).resolve().parent.parent / "images"
SIDE = 240  # px of one panel
TRUTH, HEAD, BRAIN = (0, 220, 0), (0, 210, 255), (60, 60, 255)


def panel(image: NDArray, title: str) -> NDArray[np.uint8]:
    """A grey or BGR picture in a square of SIDE, with its title above."""
    grey = np.clip(image, 0, 255).astype(np.uint8)
    colour = grey if grey.ndim == 3 else cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    small = cv2.resize(colour, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    canvas = np.full((SIDE + 26, SIDE + 8, 3), 255, np.uint8)
    canvas[24 : 24 + SIDE, 4 : 4 + SIDE] = small
    return cv2.putText(canvas, title, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.48, (0, 0, 0), 1, cv2.LINE_AA)


def outlined(image: NDArray, *masks: tuple[NDArray, tuple[int, int, int]]) -> NDArray[np.uint8]:
    """The image with the outline of each mask in its colour."""
    drawn = cv2.cvtColor(np.clip(image, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)
    for mask, colour in masks:
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, contours, -1, colour, 1)
    return drawn


def skull() -> NDArray[np.uint8]:
    """Truth, head and brain by each method, on three planes."""
    rows = []
    for seed, plane, contrast, offset in (
        (5, "axial", "t2", 20.0),
        (8, "coronal", "t1", 8.0),
        (6, "sagittal", "flair", 18.0),
    ):
        scan = phantom.make(seed, plane, contrast, offset=offset)
        panels = [panel(outlined(scan.image, (crop_head(scan.image).head, HEAD)), f"{plane} {contrast}: hull")]
        for method in METHODS:
            brain = brain_mask(scan.image, method)
            head = head_mask(scan.image, method)
            drawn = outlined(scan.image, (head, HEAD), (scan.brain, TRUTH), (brain.mask, BRAIN))
            panels.append(panel(drawn, f"{method}, {brain.confidence:.2f}"))
        rows.append(np.hstack(panels))
    return np.vstack(rows)


def stripping() -> NDArray[np.uint8]:
    """The three amounts."""
    scan = phantom.make(2, "axial", "flair", lesion="glioma", offset=30.0)
    return np.hstack([panel(strip_skull(scan.image, amount), amount) for amount in AMOUNTS])


def regions() -> NDArray[np.uint8]:
    """Watershed, its colours, superpixels, a random walker and a snake from the same seed."""
    scan = phantom.make(4, "axial", "t1ce", lesion="meningioma", offset=30.0)
    image, brain = scan.image, brain_mask(scan.image).mask
    basins = watershed(image, where=brain)
    middle = np.argwhere(scan.mask).mean(axis=0).round().astype(int)
    seeds = np.zeros(image.shape, int)
    near = np.hypot(*(np.mgrid[: image.shape[0], : image.shape[1]] - middle[:, None, None]))
    seeds[near < 3] = 1
    seeds[brain & (near > 60)] = 2
    walked = random_walker(image, seeds, where=brain) == 1
    moved = snake(image, near < 6, balloon=1, iterations=40)
    cells = superpixels(image, 150, where=brain)
    tiled = outlined(image)
    tiled[cv2.morphologyEx(cells.astype(np.float32), cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)) > 0] = HEAD
    return np.hstack(
        [
            panel(region_colors(basins, image, 9)[..., ::-1], f"watershed, {basins.max()} basins"),
            panel(tiled, f"superpixels, {cells.max()}"),
            panel(outlined(image, (scan.mask, TRUTH), (walked, BRAIN), (seeds == 1, HEAD)), "random walker"),
            panel(outlined(image, (scan.mask, TRUTH), (moved & brain, BRAIN), (near < 6, HEAD)), "geodesic snake"),
        ]
    )


def main() -> None:
    """Write all pictures."""
    IMAGES.mkdir(exist_ok=True)
    for name, picture in (("skull", skull()), ("stripping", stripping()), ("regions", regions())):
        cv2.imwrite(str(IMAGES / f"{name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 80])


if __name__ == "__main__":
    main()
