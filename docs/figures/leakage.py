"""The pictures in docs/explanation/why-99-percent-is-wrong.md.

    python docs/figures/leakage.py [OUT_FOLDER]

The chart shows ``benchmarks/leaky_protocol.csv``, which ``benchmarks/leaky_protocol.py DATA/navoneel --table`` wrote.
The copies are phantoms, changed as copies in public collections are, with what the audit measures between them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import polars as pl

matplotlib.use("agg")
import matplotlib.pyplot as plt

from tumorscope.datasets import duplicates, phantom

ROOT = Path(__file__).resolve().parent.parent.parent
FIGURES = ROOT / "benchmarks" / "leaky_protocol.csv"
GUESSING = 0.5  # balanced accuracy of two classes
COLORS = {"1-nearest-neighbour": "#c2410c", "linear SVM": "#1d4ed8"}


def main(out: Path) -> None:
    protocols(pl.read_csv(FIGURES), out / "leaky-protocols.png")
    copies(out / "copies.png")


def protocols(table: pl.DataFrame, path: Path) -> None:
    """Balanced accuracy under each protocol, with the true labels and with dealt ones."""
    rows = table.filter(pl.col("dealt").is_not_null())
    names = rows["protocol"].unique(maintain_order=True).to_list()
    figure, axis = plt.subplots(figsize=(9, 4), layout="constrained")
    for number, (classifier, color) in enumerate(COLORS.items()):
        part = rows.filter(pl.col("classifier") == classifier)
        y = np.arange(part.height) * 3 + number
        above = part["true"] - GUESSING
        axis.barh(y, above, 0.8, left=GUESSING, color=color, alpha=0.35, label=f"{classifier}, true labels")
        ends = np.stack([part["dealt"] - part["low"], part["high"] - part["dealt"]])
        axis.errorbar(part["dealt"], y, xerr=ends, fmt="o", color=color, label=f"{classifier}, labels dealt at random")
    axis.axvline(GUESSING, color="0.3", linestyle=":", linewidth=1)
    axis.set_yticks(np.arange(len(names)) * 3 + 0.5, [name.replace(", ", ",\n") for name in names])
    axis.invert_yaxis()
    axis.set_xlim(0.4, 1)
    axis.set_xlabel("balanced accuracy; the dotted line is guessing")
    axis.legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def copies(path: Path) -> None:
    """A phantom, what collections do to a scan, and a neighbour of the same kind, with their agreement."""
    made = phantom.make(11, contrast="t1", lesion="glioma", size=224)
    image, other = made.image, phantom.make(12, contrast="t1", lesion="glioma", size=224).image
    framed = cv2.copyMakeBorder(image, 14, 14, 30, 30, cv2.BORDER_CONSTANT, value=255)
    recompressed = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_GRAYSCALE)
    shown = {
        "a scan": image,
        "recompressed": recompressed,
        "half the size, brighter": cv2.convertScaleAbs(cv2.resize(image, None, fx=0.5, fy=0.5), alpha=1.2, beta=10),
        "mirrored": image[:, ::-1],
        "turned, in a frame": np.rot90(framed),
        "another scan": other,
    }
    prints = duplicates.fingerprints([np.ascontiguousarray(one) for one in shown.values()])
    found = duplicates.copies(prints, 0.01, near=0.01)
    agreement = {int(j): float(value) for i, j, value in zip(found.i, found.j, found.value, strict=True) if i == 0}
    figure, axes = plt.subplots(1, len(shown), figsize=(13, 3.2), layout="constrained", facecolor="0.92")
    for number, (axis, (name, picture)) in enumerate(zip(axes, shown.items(), strict=True)):
        axis.imshow(picture, cmap="gray")
        axis.set_title(name if number == 0 else f"{name}\nagreement {agreement.get(number, 0):.3f}", fontsize=10)
        axis.axis("off")
    figure.savefig(path, dpi=90, metadata={"Software": None})
    plt.close(figure)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images")
