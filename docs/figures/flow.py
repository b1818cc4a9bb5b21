"""The picture in docs/explanation/how-a-scan-flows.md: one phantom slice through every step.

    python docs/figures/flow.py [OUT.png]

The phantom gets a white frame and a letter, so that cleaning has something to do.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import matplotlib
import numpy as np

matplotlib.use("agg")
import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

from tumorscope.datasets import phantom
from tumorscope.imaging.background import clean_background
from tumorscope.inference.bundle import Bundle
from tumorscope.inference.predictor import Predictor
from tumorscope.scan import Scan

OUT = Path(__file__).resolve().parent.parent / "images" / "flow.png"
SEED = 7


def framed_phantom() -> np.ndarray:
    """A T1 slice with a glioma, (H, W) in 0 to 255, in a white frame with a letter beside the head."""
    made = phantom.make(SEED, contrast="t1ce", lesion="glioma", size=240)
    image = np.asarray(made.image, np.float32)
    image = 235 * (image - image.min()) / (image.max() - image.min())
    framed = np.pad(image.astype(np.uint8), ((8, 8), (30, 30)))
    framed = np.pad(framed, 12, constant_values=255)
    cv2.putText(framed, "R", (20, 48), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, 2)
    return framed


def main(out: Path) -> None:
    image = framed_phantom()
    predictor = Predictor(Bundle.load())
    prepared = predictor.bundle.metadata.preparation.prepare(image)
    found = predictor.predict(Scan.of(image, name="phantom"))
    box, cleaned = prepared.crop.box, clean_background(image).image
    probability = "refused" if found.probability is None else f"probability {found.probability:.2f}"
    panels = (
        ("read", image, None),
        ("clean, find the head", cleaned, None),
        ("crop, normalise, square", prepared.pixels, None),
        ("network: pixel probabilities", cleaned, found.probability_map),
        (f"{found.decision}, {probability}", image, None),
    )
    figure, axes = plt.subplots(1, len(panels), figsize=(15, 3.5), layout="constrained", facecolor="0.92")
    for axis, (title, picture, heat) in zip(axes, panels, strict=True):
        axis.imshow(picture, cmap="gray")
        if heat is not None:
            axis.imshow(np.ma.masked_less(heat, 0.05), cmap="magma", vmin=0, vmax=1, alpha=0.8)
        axis.set_title(title, fontsize=11)
        axis.axis("off")
    corner, size = (box.left - 0.5, box.top - 0.5), (box.right - box.left, box.bottom - box.top)
    axes[1].add_patch(Rectangle(corner, *size, fill=False, edgecolor="lime"))
    if found.mask.any():
        axes[4].contour(found.mask, [0.5], colors="orange", linewidths=1.5)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else OUT)
