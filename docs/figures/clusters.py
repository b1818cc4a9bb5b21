"""The pictures of docs/explanation/clustering.md, made from phantoms.

    python docs/figures/clusters.py

Writes docs/images/clusters.jpg, palettes.png, cluster-sweep.png and cluster-candidates.jpg.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray

matplotlib.use("agg")
import matplotlib.pyplot as plt

from tumorscope.datasets import phantom
from tumorscope.imaging.cluster_candidates import candidate_mask
from tumorscope.imaging.cluster_sweep import sweep
from tumorscope.imaging.intensity_clusters import intensity_clusters
from tumorscope.imaging.palettes import FEWEST, MOST, colored, palette

IMAGES = Path(__file__).resolve().parent.parent / "images"
SIDE = 230  # px of one panel
CASES = ((1, "t1ce", "glioma", 24.0), (5, "t1ce", "meningioma", 30.0), (2, "flair", "glioma", 30.0))
RED, GREEN = (0, 0, 255), (0, 220, 0)


def panel(image: NDArray, title: str) -> NDArray[np.uint8]:
    """A BGR picture in a square of SIDE, with its title above."""
    scale = SIDE / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    canvas = np.full((SIDE + 26, SIDE + 8, 3), 255, np.uint8)
    canvas[24 : 24 + small.shape[0], 4 : 4 + small.shape[1]] = small
    return cv2.putText(canvas, title, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.48, (0, 0, 0), 1, cv2.LINE_AA)


def scans() -> list[phantom.Phantom]:
    """Axial phantoms, each with a lesion."""
    return [phantom.make(seed, "axial", contrast, lesion=name, offset=at) for seed, contrast, name, at in CASES]


def grey(image: NDArray) -> NDArray[np.uint8]:
    """An 8-bit image in three equal channels."""
    return cv2.cvtColor(image.astype(np.uint8), cv2.COLOR_GRAY2BGR)


def colours() -> NDArray[np.uint8]:
    """Each phantom beside its clusters: three k, and a mixture."""
    rows = []
    for scan in scans():
        panels = [panel(grey(scan.image), "phantom")]
        for k, method, name in ((4, "kmeans", "k-means"), (9, "kmeans", "k-means"), (10, "kmeans", "k-means"),
                                (4, "mixture", "mixture")):  # fmt: skip
            picture = colored(intensity_clusters(scan.image, k, method=method).labels, k)
            panels.append(panel(picture[..., ::-1], f"{name}, k = {k}"))
        rows.append(np.hstack(panels))
    return np.vstack(rows)


def palettes(path: Path) -> None:
    """All palettes, one row each."""
    figure, axes = plt.subplots(figsize=(6, 4.2), dpi=80)
    for k in range(FEWEST, MOST + 1):
        for at, color in enumerate(palette(k) / 255):
            axes.barh(k, 1 / k, left=at / k, color=tuple(color), height=0.85)
    axes.set(xlim=(0, 1), ylim=(MOST + 0.6, FEWEST - 0.6), xticks=[], yticks=range(FEWEST, MOST + 1, 2), ylabel="k")
    axes.set_xlabel("darkest cluster … brightest")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def curves(path: Path) -> None:
    """The indices over k of the phantoms, their mean, and what each rule says."""
    found = sweep([scan.image for scan in scans()])
    rules = {
        "within": ("within-cluster sum of squares", found.suggestion.elbow),
        "silhouette": ("silhouette", found.suggestion.silhouette),
        "calinski_harabasz": ("Calinski–Harabasz", found.suggestion.calinski_harabasz),
    }
    figure, axes = plt.subplots(1, len(rules), figsize=(10, 3), dpi=80)
    for axis, (name, (title, k)) in zip(axes, rules.items(), strict=True):
        axis.plot(found.ks, getattr(found, name).T, color="0.75", lw=0.8)
        axis.plot(found.ks, found.means[name], color="#1d4ed8", lw=2)
        axis.axvline(k, color="#c2410c", ls=":", label=f"k = {k}")
        axis.set(xlabel="k", title=title, xticks=range(2, 21, 3))
        axis.legend(fontsize=8)
    figure.suptitle(str(found.suggestion), fontsize=9)
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def candidates() -> NDArray[np.uint8]:
    """Candidate (red) and true lesion (green) on each phantom."""
    panels = []
    for scan in scans():
        drawn = grey(scan.image)
        for mask, color in ((scan.mask, GREEN), (candidate_mask(scan.image, scan.head), RED)):
            contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(drawn, contours, -1, color, 1)
        panels.append(panel(drawn, f"{scan.params['contrast']}, {scan.params['lesion']}"))
    return np.hstack(panels)


def main() -> None:
    """Write all pictures."""
    IMAGES.mkdir(exist_ok=True)
    for name, picture in (("clusters", colours()), ("cluster-candidates", candidates())):
        cv2.imwrite(str(IMAGES / f"{name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
    palettes(IMAGES / "palettes.png")
    curves(IMAGES / "cluster-sweep.png")


if __name__ == "__main__":
    main()
