"""The phantom's scanner: what one subject looks like in one contrast, from tissue brightness to receiver noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.datasets.phantom_anatomy import Anatomy, Canvas, Tissue
from tumorscope.datasets.phantom_lesions import LESIONS, Lesion, grow
from tumorscope.datasets.phantom_shapes import Field, Points, Waves

PLANES = ("axial", "coronal", "sagittal")

CONTRASTS = ("t1", "t1ce", "t2", "flair", "pd")
# Brightness of each tissue in the order of CONTRASTS, from 0 to about 1; after the look of common 1.5 T protocols.
_SIGNAL = {
    Tissue.AIR: (0.00, 0.00, 0.00, 0.00, 0.00),
    Tissue.SKIN: (0.42, 0.44, 0.35, 0.40, 0.45),
    Tissue.FAT: (0.88, 0.88, 0.58, 0.70, 0.72),
    Tissue.MUSCLE: (0.36, 0.38, 0.20, 0.30, 0.48),
    Tissue.BONE: (0.05, 0.05, 0.04, 0.04, 0.05),
    Tissue.MARROW: (0.48, 0.48, 0.34, 0.36, 0.46),
    Tissue.DURA: (0.26, 0.42, 0.14, 0.25, 0.30),
    Tissue.CSF: (0.12, 0.12, 0.92, 0.08, 0.62),
    Tissue.GREY: (0.42, 0.38, 0.46, 0.50, 0.66),
    Tissue.WHITE: (0.56, 0.46, 0.33, 0.39, 0.52),
    Tissue.DEEP: (0.47, 0.41, 0.38, 0.45, 0.58),
    Tissue.CEREBELLUM: (0.44, 0.39, 0.45, 0.48, 0.64),
    Tissue.GLAND: (0.50, 0.74, 0.45, 0.48, 0.62),
    Tissue.VESSEL: (0.10, 0.80, 0.05, 0.06, 0.08),
    Tissue.EYE: (0.14, 0.14, 0.95, 0.10, 0.66),
    Tissue.LENS: (0.32, 0.32, 0.25, 0.30, 0.45),
    Tissue.OEDEMA: (0.35, 0.28, 0.70, 0.78, 0.82),
    Tissue.TUMOR: (0.25, 0.23, 0.66, 0.70, 0.80),
    Tissue.RIM: (0.28, 0.80, 0.60, 0.68, 0.76),
    Tissue.NECROSIS: (0.20, 0.17, 0.82, 0.42, 0.86),
}
_WHOLE = ("t2", "flair", "pd")  # contrasts on which tumour and oedema are outlined together


@dataclass(frozen=True)
class Drawing:
    """One slice before the scanner sees it: brightness, lesion mask, tissue map, inside of the skull, whole head."""

    image: Field
    mask: NDArray[np.bool_]
    tissues: NDArray[np.uint8]
    brain: NDArray[np.bool_]
    head: NDArray[np.bool_]


class Subject:
    """A head in a scanner: all that stays the same between the slices of one acquisition."""

    def __init__(self, seed: int, contrast: str, noise: float | None, bias: float | None) -> None:
        self.seed = seed
        self.anatomy = Anatomy(np.random.default_rng([seed, 0]))
        self.whole = contrast in _WHOLE
        traits = np.random.default_rng([seed, 1])
        self.angles = np.radians(traits.normal(0, (2.5, 2.5, 4.0)))  # nod, roll, turn
        self.scale = traits.uniform(0.9, 1.0) * traits.uniform(0.97, 1.03, size=3)
        self.shift = traits.uniform(-3.0, 3.0, size=3)
        self.noise = float(traits.uniform(0.008, 0.028)) if noise is None else noise
        self.bias = float(traits.uniform(0.03, 0.15)) if bias is None else bias
        self.blur = float(traits.uniform(0.35, 0.8))  # pixels
        jitter = traits.uniform(0.95, 1.05, size=len(Tissue))
        column = CONTRASTS.index(contrast)
        self.signal = {
            tissue: float(_SIGNAL[tissue][column] * factor) for tissue, factor in zip(Tissue, jitter, strict=True)
        }
        self._shading = Waves(traits, 330.0, 6)
        self._receiver = np.random.default_rng([seed, 3])

    def place(self, points: Points, plane: str) -> Points:
        """Scanner coordinates turned into coordinates of this subject's head."""
        (cx, cy, cz), (sx, sy, sz) = np.cos(self.angles), np.sin(self.angles)
        nod = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
        roll = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        turn = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
        matrix = (np.diag(1 / self.scale) @ turn @ roll @ nod).astype(np.float32)
        through = {"axial": 2, "volume": 2, "coronal": 1, "sagittal": 0}[plane]
        shift = np.where(np.arange(3) == through, 0.0, self.shift).astype(np.float32)
        x, y, z = points.x - shift[0], points.y - shift[1], points.z - shift[2]
        return Points(*(row[0] * x + row[1] * y + row[2] * z for row in matrix))

    def grow(self, kind: str | None, points: Points, radius: float | None) -> Lesion | None:
        """A lesion that ``points`` cut, or None."""
        if kind is None:
            return None
        rng = np.random.default_rng([self.seed, 4, LESIONS.index(kind)])
        cavity, vault = self.anatomy.cavity(points)
        return grow(kind, rng, points, cavity, self.anatomy.hull(points, cavity, vault), radius)

    def draw(self, points: Points, pixel: float, lesion: Lesion | None) -> Drawing:
        """The slice as it is, before the scanner sees it."""
        canvas = Canvas(points.x.shape, self.signal, pixel)
        inner = lesion.displaced(points) if lesion else None
        cranium = self.anatomy.draw(canvas, points, inner)
        brain = cranium.cavity < 0
        mask = lesion.paint(canvas, points, cranium, self.whole) & brain if lesion else np.zeros(brain.shape, bool)
        return Drawing(canvas.image, mask, canvas.tissues, brain, (cranium.head < 0) | brain)

    def scan(self, image: Field, points: Points) -> Field:
        """The slice as the scanner records it, in the units of the signal table."""
        grain = cv2.GaussianBlur(self._receiver.standard_normal(image.shape, np.float32), (0, 0), 1.6)
        seen = image * (1 + 0.11 * grain)  # tissue is nowhere perfectly even
        seen *= np.exp(self.bias * self._shading(points.x, points.y, points.z))
        seen *= 1 / (1 + np.exp(-(points.z + 125) / 16))  # the coil ends at the neck
        seen = cv2.GaussianBlur(seen, (0, 0), self.blur)
        real = seen + self.noise * self._receiver.standard_normal(image.shape, np.float32)
        return np.hypot(real, self.noise * self._receiver.standard_normal(image.shape, np.float32))


def slice_points(plane: str, offset: float, shape: tuple[int, int], spacing: tuple[float, ...]) -> Points:
    """Scanner coordinates of a slice's pixels, centred on the head."""
    rows = ((np.arange(shape[0]) - (shape[0] - 1) / 2) * spacing[0]).astype(np.float32)
    columns = ((np.arange(shape[1]) - (shape[1] - 1) / 2) * spacing[1]).astype(np.float32)
    down, across = np.meshgrid(rows, columns, indexing="ij")
    still = np.full(shape, offset, np.float32)
    if plane == "axial":
        return Points(-across, -down, still)
    if plane == "coronal":
        return Points(-across, still, -down - 22)  # lower, so that the jaw comes into view
    return Points(still, 8 - across, -down - 22)
