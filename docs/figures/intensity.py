"""The pictures of the intensity methods, made from phantoms, and how even white matter becomes.

    python docs/figures/intensity.py [--measure]

Writes docs/images/histograms.png, equalisation.jpg, bias.jpg, denoising.jpg and edges.jpg. With ``--measure`` it prints
instead what bias correction does to the coefficient of variation inside white matter, on phantoms whose field is known
(N4 where SimpleITK is installed).
"""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from tumorscope.datasets import phantom
from tumorscope.datasets.phantom_anatomy import Tissue
from tumorscope.imaging.bias import correct_bias
from tumorscope.imaging.denoise import METHODS, denoise
from tumorscope.imaging.edges import canny, sobel, unsharp
from tumorscope.imaging.histogram import clahe, equalize, histogram, match_histogram
from tumorscope.imaging.intensity import normalize

IMAGES = Path(__file__).resolve().parent.parent / "images"
SIDE = 200  # px of one panel
SEEDS = range(6)  # heads that bias correction is measured on
MASKS = ("brain", "head")  # what the field is fitted on
STRENGTHS = (0.0, 0.1, 0.3)  # standard deviation of the field's logarithm


def panel(image: NDArray, title: str) -> NDArray[np.uint8]:
    """A picture of values in 0…1 in a square of SIDE, with its title above."""
    grey = np.clip(255 * np.asarray(image, np.float32), 0, 255).astype(np.uint8)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    canvas = np.full((SIDE + 26, SIDE + 6), 255, np.uint8)
    canvas[24 : 24 + SIDE, 3 : 3 + SIDE] = small
    return cv2.putText(canvas, title, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.44, 0, 1, cv2.LINE_AA)


def scan(seed: int, contrast: str, **traits: float) -> phantom.Phantom:
    """An axial phantom with a glioma, in 12 bits."""
    return phantom.make(seed, "axial", contrast, lesion="glioma", offset=22.0, bits=16, **traits)


def distributions(path: Path) -> None:
    """Histogram and cumulative distribution of one head in two contrasts."""
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 2.8), dpi=80, layout="constrained")
    for contrast in ("t1ce", "flair"):
        head = scan(11, contrast)
        found = histogram(head.image, where=head.head)
        axes[0].plot(found.centres, found.counts[0], lw=1, label=contrast)
        axes[1].plot(found.centres, found.cdf[0], lw=1.5, label=contrast)
    axes[0].set(xlabel="grey value", ylabel="pixels of the head")
    axes[1].set(xlabel="grey value", ylabel="share of the head at or below", ylim=(0, 1))
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.savefig(path)
    plt.close(figure)


def equalisation() -> NDArray[np.uint8]:
    """Global, adaptive, and matched to another head."""
    head, other = scan(11, "t1ce"), scan(5, "t1ce")
    return np.hstack([
        panel(normalize(head.image, where=head.head), "normalised"),
        panel(equalize(head.image, where=head.head), "equalize"),
        panel(clahe(head.image), "clahe, clip = 2"),
        panel(clahe(head.image, 6.0), "clahe, clip = 6"),
        panel(normalize(match_histogram(head.image, other.image[other.head], where=head.head)), "matched to the next"),
        panel(normalize(other.image, where=other.head), "reference"),
    ])  # fmt: skip


def fields() -> NDArray[np.uint8]:
    """A strong field, what is found of it, and the scan without it."""
    head = scan(4, "t1", bias=0.3)
    plain = scan(4, "t1", bias=0.0)
    found = correct_bias(head.image, where=head.brain)
    truth = cv2.GaussianBlur(head.image.astype(np.float32), (0, 0), 6) / (
        cv2.GaussianBlur(plain.image.astype(np.float32), (0, 0), 6) + 1
    )
    return np.hstack([
        panel(normalize(head.image, where=head.head), "with a field of 0.3"),
        panel(np.where(head.head, 0.5 * truth / np.median(truth[head.brain]), 0), "the field in the head"),
        panel(np.where(head.head, 0.5 * found.field, 0), "the field found"),
        panel(normalize(found.image, where=head.head), "corrected"),
        panel(normalize(plain.image, where=head.head), "drawn without a field"),
    ])  # fmt: skip


def denoising() -> NDArray[np.uint8]:
    """A noisy scan and the four methods, enlarged about its middle."""
    head = scan(11, "flair", noise=0.05)
    part = np.s_[60:190, 60:190]
    shown = [panel(normalize(head.image, where=head.head)[part], "noisy")]
    shown += [panel(normalize(denoise(head.image, name), where=head.head)[part], name) for name in METHODS]
    return np.hstack(shown)


def outlines() -> NDArray[np.uint8]:
    """Sharpened, slope, and edges by automatic and by chosen thresholds."""
    head = scan(11, "t1ce", noise=0.01)
    grey = normalize(head.image, where=head.head)
    return np.hstack([
        panel(grey, "normalised"),
        panel(unsharp(grey, 1.5), "unsharp, amount = 1.5"),
        panel(4 * sobel(grey), "sobel"),
        panel(canny(grey), "canny"),
        panel(canny(grey, high=0.04), "canny, high = 0.04"),
    ])  # fmt: skip


def measure() -> None:
    """Print the mean coefficient of variation inside white matter before and after."""
    methods = ["quick"] + ["n4"] * (importlib.util.find_spec("SimpleITK") is not None)
    print(f"{'field':>6}{'before':>9}" + "".join(f"{f'{name}, {mask}':>14}" for name in methods for mask in MASKS))
    for strength in STRENGTHS:
        before: list[float] = []
        after: dict[tuple[str, str], list[float]] = {(name, mask): [] for name in methods for mask in MASKS}
        seconds = dict.fromkeys(methods, 0.0)
        for seed in SEEDS:
            for contrast in ("t1", "t1ce", "t2", "flair"):
                head = scan(seed, contrast, bias=strength)
                white = (head.tissues == Tissue.WHITE) & ~head.mask
                before.append(variation(head.image, white))
                for name, mask in after:
                    begun = time.process_time()
                    found = correct_bias(head.image, name, getattr(head, mask))
                    seconds[name] += (time.process_time() - begun) / len(MASKS)
                    after[name, mask].append(variation(found.image, white))
        print(f"{strength:>6}{np.mean(before):>9.4f}" + "".join(f"{np.mean(row):>14.4f}" for row in after.values()))
        print("       " + ", ".join(f"{name} {1000 * spent / len(before):.0f} ms" for name, spent in seconds.items()))


def variation(image: NDArray, where: NDArray[np.bool_]) -> float:
    """Standard deviation as a share of the mean."""
    return float(image[where].std() / image[where].mean())


def main() -> None:
    """Write all pictures, or print the table."""
    if "--measure" in sys.argv[1:]:
        measure()
        return
    IMAGES.mkdir(exist_ok=True)
    distributions(IMAGES / "histograms.png")
    pictures = {"equalisation": equalisation(), "bias": fields(), "denoising": denoising(), "edges": outlines()}
    for name, picture in pictures.items():
        cv2.imwrite(str(IMAGES / f"{name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])


if __name__ == "__main__":
    main()
