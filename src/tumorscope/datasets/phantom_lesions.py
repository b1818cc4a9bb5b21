"""Lesions of the phantom: where they sit, what they push aside, and how they are painted."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.datasets.phantom_anatomy import Canvas, Cranium, Tissue
from tumorscope.datasets.phantom_shapes import Field, Points, Triple, Waves, pixel_step

LESIONS = ("glioma", "meningioma", "metastasis", "pituitary", "edema")
_RADII_MM = {"glioma": (9, 21), "meningioma": (9, 20), "metastasis": (4.5, 9), "pituitary": (8, 13), "edema": (8, 18)}
_OEDEMA_MM = {"glioma": (4, 16), "meningioma": (0, 8), "metastasis": (5, 14), "pituitary": (0, 0), "edema": (2, 5)}
_LUMPS = {"glioma": 0.2, "meningioma": 0.07, "metastasis": 0.06, "pituitary": 0.1, "edema": 0.25}
_MASS_EFFECT = {"glioma": 0.35, "meningioma": 0.45, "metastasis": 0.25, "pituitary": 0.3, "edema": 0.1}
_SELLA = (0.0, 20.0, -27.0)  # where the gland sits in phantom_anatomy


@dataclass(frozen=True)
class Blob:
    """A lumpy ellipsoid: one focus of a lesion, in head coordinates (millimetres)."""

    centre: Triple
    radii: Triple
    lumps: float  # roughness of the surface as a share of the mean radius
    waves: Waves

    @property
    def radius(self) -> float:
        """Mean radius."""
        return float(np.mean(self.radii))

    def distance(self, points: Points) -> Field:
        """Distance to the surface, (H, W), negative inside."""
        u = (points.x - self.centre[0]) / self.radii[0]
        v = (points.y - self.centre[1]) / self.radii[1]
        w = (points.z - self.centre[2]) / self.radii[2]
        distance = (np.sqrt(u * u + v * v + w * w) - 1) * self.radius
        return distance + self.lumps * self.radius * self.waves(points.x, points.y, points.z)

    def displaced(self, points: Points, strength: float) -> Points:
        """Coordinates before the blob grew: what now lies around it lay nearer its centre (mass effect)."""
        u, v, w = points.x - self.centre[0], points.y - self.centre[1], points.z - self.centre[2]
        away = (u * u + v * v + w * w) / (1.7 * self.radius) ** 2
        pull = strength * np.exp(-away)
        return Points(points.x - pull * u, points.y - pull * v, points.z - pull * w)


@dataclass(frozen=True)
class Lesion:
    """What is painted: its foci, the width of the oedema around them, and what they consist of.

    Attributes
    ----------
    kind : str
        One of ``LESIONS``.
    blobs : tuple of Blob
        One for most kinds, up to four for metastases.
    oedema : float
        Width in millimetres of the swollen white matter around the blobs; 0 for none.
    necrosis : float
        Thickness in millimetres of the living rim around a dead core; 0 for a solid lesion.
    enhancing : bool
        Whether contrast medium brightens it (a low-grade glioma stays dark).
    """

    kind: str
    blobs: tuple[Blob, ...]
    oedema: float
    necrosis: float
    enhancing: bool

    def displaced(self, points: Points) -> Points:
        """Coordinates of the inner head before the lesion grew."""
        for blob in self.blobs:
            points = blob.displaced(points, _MASS_EFFECT[self.kind])
        return points

    def paint(self, canvas: Canvas, points: Points, cranium: Cranium, whole: bool) -> NDArray[np.bool_]:
        """Paint the lesion and return its mask, (H, W).

        Parameters
        ----------
        canvas : Canvas
            The slice with its anatomy already painted.
        points : Points
            Coordinates of the pixels.
        cranium : Cranium
            Distances of the same slice; the lesion stays inside the skull.
        whole : bool
            Whether the mask takes in the oedema (as on FLAIR and T2) or the tumour alone (as on T1).
        """
        blobs = [np.maximum(blob.distance(points), cranium.cavity + 0.3) for blob in self.blobs]
        core = np.minimum.reduce(blobs)
        swollen = np.zeros(core.shape, bool)
        if self.oedema > 0:
            white = (canvas.tissues == Tissue.WHITE).astype(np.float32)
            if self.kind == "edema":
                white[canvas.tissues == Tissue.GREY] = 0.8  # no tumour: the cortex swells with it
            fingers = 0.3 * self.oedema * self.blobs[0].waves(points.y, points.z, points.x)
            reach = core - self.oedema + fingers
            if self.kind != "edema":
                reach = np.maximum(reach, cranium.pia + 1.5)
            # the swelling fades into normal white matter over 3 mm
            canvas.paint(reach, Tissue.OEDEMA, amount=white * np.clip(-reach / 3.0, 0, 1))
            swollen = _outlined(canvas.tissues == Tissue.OEDEMA, 4.0 / canvas.pixel)
        if self.kind == "edema":
            return swollen
        canvas.paint(core, Tissue.RIM if self.enhancing else Tissue.TUMOR)
        for blob, distance in zip(self.blobs, blobs, strict=True):
            if self.necrosis and blob.radius > 2 * self.necrosis:
                uneven = 0.35 * self.necrosis * blob.waves(points.z * 1.5, points.x * 1.5, points.y * 1.5)
                canvas.paint(distance + self.necrosis + uneven, Tissue.NECROSIS)
        return swollen | (core < 0) if whole else core < 0


def _outlined(mask: NDArray[np.bool_], reach: float) -> NDArray[np.bool_]:
    """``mask`` as a person would outline it: clefts up to ``reach`` pixels bridged, spurs and crumbs left out."""
    width = 2 * max(1, round(reach / 2)) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    smooth = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, disc)
    opened = cv2.morphologyEx(smooth, cv2.MORPH_OPEN, disc)
    return (opened if opened.any() else smooth).astype(bool)


def grow(
    kind: str, rng: np.random.Generator, points: Points, cavity: Field, hull: Field, size: float | None = None
) -> Lesion:
    """A lesion of one kind that the slice ``points`` cuts near its middle.

    Parameters
    ----------
    kind : str
        One of ``LESIONS``.
    rng : numpy.random.Generator
        Draws place, size and make-up.
    points : Points
        The slice.
    cavity, hull : (H, W) float arrays
        Distances to the inside of the skull and to the hull of the cerebrum, in millimetres, negative inside.
    size : float, optional
        Mean radius in millimetres; drawn to suit the kind when absent.
    """
    low, high = _RADII_MM[kind]
    count = int(rng.integers(1, 5)) if kind == "metastasis" else 1
    blobs = []
    for _ in range(count):
        radius = float(size if size is not None else rng.uniform(low, high))
        blobs.append(_blob(kind, rng, points, cavity, hull, radius))
    enhancing = kind in ("meningioma", "metastasis", "pituitary") or (kind == "glioma" and rng.uniform() < 0.75)
    necrosis = 0.0
    if kind == "glioma" and enhancing:
        necrosis = float(rng.uniform(2.5, 6.0))
    elif kind == "metastasis" and rng.uniform() < 0.5:
        necrosis = float(rng.uniform(2.0, 3.0))
    oedema = float(rng.uniform(*_OEDEMA_MM[kind]))
    return Lesion(kind, tuple(blobs), oedema if oedema > 1.5 else 0.0, necrosis, enhancing)


def _blob(kind: str, rng: np.random.Generator, points: Points, cavity: Field, hull: Field, radius: float) -> Blob:
    stretch = rng.uniform(0.8, 1.25, size=3) if kind in ("glioma", "edema") else rng.uniform(0.9, 1.1, size=3)
    waves = Waves(rng, 1.6 * radius, 12)
    if kind == "pituitary":
        centre = (rng.uniform(-1, 1), _SELLA[1] + rng.uniform(-1, 1), _SELLA[2] + 0.55 * radius)
    elif kind == "meningioma":  # so far inside the dura of this slice that the tumour sits on it with a broad base
        depth = cv2.distanceTransform((cavity < 0).astype(np.uint8), cv2.DIST_L2, 3) * pixel_step(*points.axes)
        centre = _pick(rng, points, np.maximum(np.abs(depth - 0.6 * radius) - 1.0, hull + 0.3 * radius))
    else:  # in the white matter, off the midline
        margin = 0.55 * radius + (8 if kind == "edema" else 4)
        centre = _pick(rng, points, np.maximum(margin + hull, 10 - np.abs(points.x)))
    radii = tuple(float(radius * s) for s in stretch)
    return Blob(tuple(float(c) for c in centre), radii, _LUMPS[kind], waves)  # type: ignore[arg-type]


def _pick(rng: np.random.Generator, points: Points, wanted: Field) -> Triple:
    """The place of a pixel drawn from those where ``wanted`` is negative, or else of its lowest pixel."""
    candidates = np.flatnonzero(wanted < 0)
    flat = int(rng.choice(candidates)) if candidates.size else int(np.argmin(wanted))
    place = np.unravel_index(flat, wanted.shape)
    return float(points.x[place]), float(points.y[place]), float(points.z[place])
