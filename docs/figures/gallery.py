"""The pictures in docs/explanation/gallery.md: what `explore` shows, on phantoms.

python docs/figures/gallery.py [OUT_FOLDER]
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from tumorscope.datasets import phantom
from tumorscope.imaging.cluster_sweep import Sweep, sweep
from tumorscope.report import exploration
from tumorscope.report.exploration import Sample

OUT = Path(__file__).resolve().parent.parent / "images"
PHANTOMS = (("t1ce", "glioma", 31), ("flair", "glioma", 32), ("t2", "meningioma", 33), ("t1", None, 34))
QUALITY = 88


def main(out: Path) -> None:
    samples = [
        Sample.of(f"{contrast}, {lesion or 'healthy'}", phantom.make(seed, contrast=contrast, lesion=lesion).image)
        for contrast, lesion, seed in PHANTOMS
    ]
    found = [sweep(one.head) for one in samples]
    parts = ("within", "between", "silhouette", "calinski_harabasz")
    together = Sweep(found[0].ks, *(np.concatenate([getattr(one, name) for one in found]) for name in parts))
    shown = {
        "gallery-distributions": exploration.distributions(samples)[0],
        "gallery-sweep": exploration.sweep_curves(together),
        "gallery-clusters": exploration.clusters(samples, together.suggestion.k),
        "gallery-enhancement": exploration.enhancements(samples),
        "gallery-regions": exploration.regions(samples),
    }
    for name, image in shown.items():
        cv2.imwrite(str(out / f"{name}.jpg"), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else OUT)
