"""Figures of `explore`: what is seen in a sample of scans, each as one RGB picture or a chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray

from tumorscope.imaging import histogram, steps
from tumorscope.imaging.cluster_sweep import Sweep
from tumorscope.imaging.denoise import denoise
from tumorscope.imaging.edges import canny, sobel
from tumorscope.imaging.intensity_clusters import intensity_clusters
from tumorscope.imaging.musica import musica
from tumorscope.imaging.noise import foreground
from tumorscope.imaging.palettes import colored, palette
from tumorscope.imaging.regions import region_colors, superpixels, watershed
from tumorscope.imaging.skull import brain_mask
from tumorscope.imaging.symmetry import midline
from tumorscope.report.charts import chart, drawn
from tumorscope.report.figures import contact_sheet
from tumorscope.scan import FloatArray

Image = NDArray[np.uint8]
BATCH = 10  # scans in one figure of distributions
COLORS = (4, 9, 10)  # numbers of clusters that are shown in colour
TILE = 150  # px
WIDTH = 9.0  # inches, of the chart of features


@dataclass(frozen=True)
class Sample:
    """A scan that is shown: ``image`` (H, W) as read, ``head`` (h, w) cleaned, cropped and brought to 0…1."""

    id: str
    image: FloatArray
    head: FloatArray

    @classmethod
    def of(cls, name: str, image: FloatArray) -> Sample:
        """The sample of an (H, W) slice."""
        return cls(name, image, steps.run(image, steps.parse("clean,crop,contrast")).pixels)


def distributions(samples: Sequence[Sample]) -> list[Image]:
    """Image, crop and cumulative distribution of each scan side by side, `BATCH` scans a figure."""
    figures = []
    for start in range(0, len(samples), BATCH):
        part = samples[start : start + BATCH]
        figure, axes = chart(7.5, 1.9 * len(part), len(part), 3)
        for row, one in zip(axes, part, strict=True):
            row[0].imshow(one.image, cmap="gray")
            row[1].imshow(one.head, cmap="gray")
            row[0].set_title(one.id[:40], fontsize=8, loc="left")
            for axis in row[:2]:
                axis.axis("off")
            for name, plane in (("image", one.image), ("crop", one.head)):
                found = histogram.histogram(plane)
                at = np.linspace(0, 1, found.cdf.shape[1])
                row[2].plot(at, found.cdf[0], label=name, linewidth=1.2)
            row[2].set(xlim=(0, 1), ylim=(0, 1.02))
            row[2].tick_params(labelsize=7)
        axes[0][2].legend(fontsize=7, loc="lower right")
        axes[-1][2].set_xlabel("grey value, share of the range", fontsize=8)
        figures.append(drawn(figure))
    return figures


def sweep_curves(found: Sweep) -> Image:
    """The four indices over k, each scan thin and their mean thick, with the k that its rule suggests."""
    panels = (
        ("within", "within-cluster sum of squares", found.suggestion.elbow),
        ("between", "between-cluster sum of squares", None),
        ("silhouette", "silhouette", found.suggestion.silhouette),
        ("calinski_harabasz", "Calinski–Harabasz", found.suggestion.calinski_harabasz),
    )
    figure, axes = chart(13, 3.2, 1, len(panels))
    for axis, (name, title, suggested) in zip(axes[0], panels, strict=True):
        values = getattr(found, name)
        axis.plot(found.ks, values.T, color="0.75", linewidth=0.7)
        axis.plot(found.ks, values.mean(axis=0), color="#1d4ed8", linewidth=2)
        if suggested is not None:
            axis.axvline(suggested, color="#c2410c", linestyle=":", label=f"k = {suggested}")
            axis.legend(fontsize=8)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("k")
    return drawn(figure)


def clusters(samples: Sequence[Sample], k: int) -> Image:
    """Each scan in the colours of its clusters of grey values: several k, and two other ways to make them."""
    images: list[NDArray] = []
    titles: list[str] = []
    for one in samples:
        images.append(one.head)
        titles.append(one.id)
        for count in COLORS:
            images.append(colored(intensity_clusters(one.head, count).labels, count))
            titles.append(f"k = {count}")
        for method, name in (("mixture", "Gaussian mixture"), ("otsu", "multi-Otsu")):
            count = min(k, 10)
            images.append(colored(intensity_clusters(one.head, count, method=method).labels, count))
            titles.append(f"{name}, {count}")
    return contact_sheet(images, titles, columns=len(COLORS) + 3, tile=TILE)


def enhancements(samples: Sequence[Sample]) -> Image:
    """Each scan enhanced, denoised and reduced to its edges."""
    images: list[NDArray] = []
    titles: list[str] = []
    for one in samples:
        shown = {
            one.id: one.head,
            "MUSICA": np.clip(musica(one.head, keep_black=True), 0, 1),
            "equalised": histogram.equalize(one.head, foreground(one.head)),
            "adaptive (CLAHE)": histogram.clahe(one.head),
            "non-local means": denoise(one.head),
            "Sobel": sobel(one.head),
            "Canny": canny(one.head).astype(np.float32),
        }
        images += list(shown.values())
        titles += list(shown)
    return contact_sheet(images, titles, columns=7, tile=TILE)


def regions(samples: Sequence[Sample]) -> Image:
    """Each scan with its brain, watershed regions, superpixels, and what differs across the mid-line."""
    images: list[NDArray] = []
    titles: list[str] = []
    for one in samples:
        brain = brain_mask(one.head)
        water, small = watershed(one.head), superpixels(one.head)
        line = midline(one.head)
        difference = np.zeros_like(one.head) if line is None else np.abs(one.head - line.mirror(one.head))
        images += [
            one.head,
            _outlined(one.head, brain.mask),
            region_colors(water, one.head),
            region_colors(small, one.head),
            palette(20)[np.clip(np.rint(difference * 19), 0, 19).astype(int)],
        ]
        titles += [
            one.id, f"brain, confidence {brain.confidence:.2f}", f"watershed, {water.max()} regions",
            f"SLIC, {small.max()} superpixels", "no mid-line" if line is None else "left against right",
        ]  # fmt: skip
    return contact_sheet(images, titles, columns=5, tile=TILE)


def feature_chart(table: pl.DataFrame, names: Sequence[str], label: pl.Series) -> Image:
    """Each of the features as a strip of points by label, in units of its own spread."""
    classes = sorted(label.drop_nulls().unique().to_list(), key=str) or [None]
    figure, axes = chart(WIDTH, 0.42 * len(names) + 1)
    axis = axes[0][0]
    rng = np.random.default_rng(0)
    for place, name in enumerate(names):
        values = table[name].to_numpy().astype(float)
        spread = np.nanstd(values) or 1.0
        for number, one in enumerate(classes):
            chosen = np.ones(len(values), bool) if one is None else (label == one).fill_null(False).to_numpy()
            part = (values[chosen] - np.nanmean(values)) / spread
            height = place + 0.3 * (number - (len(classes) - 1) / 2) + rng.uniform(-0.08, 0.08, len(part))
            axis.plot(part, height, ".", markersize=3, color=f"C{number}", label=str(one) if place == 0 else None)
    axis.set_yticks(range(len(names)), list(names), fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("standard deviations from the mean")
    axis.set_xlim(-4, 4)
    if classes != [None]:
        axis.legend(fontsize=8, markerscale=3)
    return drawn(figure)


def _outlined(plane: FloatArray, mask: NDArray) -> Image:
    """The picture with the outline of a mask in orange."""
    picture = np.repeat((np.clip(plane, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, contours, -1, (255, 140, 0), max(1, min(plane.shape) // 160))
    return picture
