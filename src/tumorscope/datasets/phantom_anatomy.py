"""The phantom's head: tissues drawn slice by slice from a three-dimensional description.

Measures are rounded from an average adult head (cavity about 130 mm wide and 165 mm long, cortex 3 mm thick, gyri
about 12 mm apart); none of them comes from a patient. The origin lies in the third ventricle, between the thalami.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tumorscope.datasets.phantom_shapes import Field, Points, Waves, both, ellipsoid, tube, union


class Tissue(IntEnum):
    """Values of the phantom's tissue map."""

    AIR = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    BONE = 4
    MARROW = 5
    DURA = 6
    CSF = 7
    GREY = 8
    WHITE = 9
    DEEP = 10
    CEREBELLUM = 11
    GLAND = 12
    VESSEL = 13
    EYE = 14
    LENS = 15
    OEDEMA = 16
    TUMOR = 17
    RIM = 18
    NECROSIS = 19


class Canvas:
    """A slice being painted: each shape covers what lies below it, with soft edges one pixel wide.

    Parameters
    ----------
    shape : (H, W)
        Size in pixels.
    signal : mapping of Tissue to float
        Brightness of each tissue in the contrast that is drawn.
    pixel : float
        Pixel size in millimetres; edges are blended over this distance (partial volume).
    """

    def __init__(self, shape: tuple[int, int], signal: Mapping[Tissue, float], pixel: float) -> None:
        self.signal = signal
        self.pixel = pixel
        self.image: Field = np.full(shape, signal[Tissue.AIR], np.float32)
        self.tissues: NDArray[np.uint8] = np.zeros(shape, np.uint8)

    def paint(self, distance: Field, tissue: Tissue, amount: Field | float = 1.0, signal: float | None = None) -> None:
        """Paint the inside of a shape, ``amount`` of it where only part of the tissue is meant."""
        if distance.ndim == 0:
            return
        inside = distance < self.pixel / 2
        rows = np.flatnonzero(inside.any(axis=1))
        if rows.size == 0:
            return
        columns = np.flatnonzero(inside.any(axis=0))
        window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        cover = np.clip(0.5 - distance[window] / self.pixel, 0, 1)
        cover = cover * (amount[window] if isinstance(amount, np.ndarray) else np.float32(amount))
        value = np.float32(self.signal[tissue] if signal is None else signal)
        self.image[window] += cover * (value - self.image[window])
        self.tissues[window][cover > 0.5] = tissue


@dataclass(frozen=True)
class Cranium:
    """Distances of one slice that later steps need, (H, W) in millimetres, negative inside.

    ``head`` is the skin, ``cavity`` the inner table of the skull, ``cerebrum`` the hull over the gyri, ``pia`` the
    folded surface of the cerebrum itself.
    """

    head: Field
    cavity: Field
    cerebrum: Field
    pia: Field


_SUPRATENTORIAL = ((0.0, -2.0, 17.0), (66.0, 82.0, 57.0))
_TEMPORAL = ((40.0, 6.0, -21.0), (24.0, 36.0, 24.0))
_POSTERIOR_FOSSA = ((0.0, -48.0, -33.0), (50.0, 34.0, 31.0))
_SPINE_STEP_MM = 19.0


class Anatomy:
    """One subject: all that varies between heads, drawn once from a generator.

    Parameters
    ----------
    rng : numpy.random.Generator
        The only source of variation; the same generator state gives the same head in every plane and contrast.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.atrophy = float(rng.uniform(0.0, 1.0))  # 0 young and full, 1 wide sulci and ventricles
        self.scalp = float(rng.uniform(3.0, 6.0))  # mm of fat and skin
        self.skull = float(rng.uniform(5.0, 7.5))  # mm
        self.tilt = rng.uniform(-3.0, 3.0, size=2).astype(np.float32)  # mm the midline bows, front and back
        self.ventricle = 0.75 + 0.6 * self.atrophy + float(rng.uniform(-0.1, 0.2))  # factor on the radii
        self.lopsided = float(rng.uniform(-0.15, 0.15))  # one lateral ventricle larger than the other
        self._folds = Waves(rng, 22.0, 14)
        self._warp = Waves(rng, 55.0, 8), Waves(rng, 55.0, 8), Waves(rng, 55.0, 8)
        self._slow = Waves(rng, 40.0, 8)
        self._folia = Waves(rng, 5.5, 10, (0.35, 0.6, 1.0))
        self._rough = Waves(rng, 14.0, 12)
        self._fibres = Waves(rng, 24.0, 12, (1.0, 1.2, 0.45))

    def draw(self, canvas: Canvas, points: Points, inner: Points | None = None) -> Cranium:
        """Paint the head onto ``canvas``.

        Parameters
        ----------
        canvas : Canvas
            Receives brightness and tissues.
        points : Points
            Coordinates of the pixels.
        inner : Points, optional
            Coordinates for what lies inside the skull, where a growing lesion has displaced it.
        """
        cavity, vault = self.cavity(points)
        inner, inner_vault = (points, vault) if inner is None else (inner, self.cavity(inner)[1])
        rough = self._rough(points.x, points.y, points.z)
        head = self._face(canvas, points, vault, rough)
        self._skull(canvas, cavity, vault, points, rough)
        self._openings(canvas, points, rough)
        canvas.paint(cavity, Tissue.DURA)
        canvas.paint(cavity + 0.6, Tissue.CSF)
        hull = self.hull(inner, cavity, inner_vault)
        pia = self._cerebrum(canvas, inner, hull)
        self._hindbrain(canvas, inner, cavity)
        self._depths(canvas, inner, hull)
        self._membranes(canvas, points, inner, cavity)
        return Cranium(head, cavity, hull, pia)

    def cavity(self, points: Points) -> tuple[Field, Field]:
        """Distance to the inside of the skull, with and without the spinal canal."""
        floor = 0.14 * points.y - points.z - 22  # rises to the front, over the orbits
        upper = both(ellipsoid(points, *_SUPRATENTORIAL, reach=60), floor, 14)
        temporal = ellipsoid(points.folded(), *_TEMPORAL, reach=60)
        fossa = ellipsoid(points, *_POSTERIOR_FOSSA, reach=60)
        vault = union(union(upper, temporal, 10), fossa, 8)
        vault = union(vault, ellipsoid(points, (0.0, 20.0, -26.0), (11.0, 9.5, 11.0), reach=20), 8)
        vault = vault + 0.7 * self._slow(points.x / 2, points.y / 2, points.z / 2)
        canal = tube(points, [(0, -22, -15, 17), (0, -28, -72, 12), (0, -42, -160, 8)], reach=20)
        return union(vault, canal, 8), vault

    def hull(self, points: Points, cavity: Field, vault: Field) -> Field:
        """Distance to the smooth hull over the gyri of the cerebrum, which lies a little inside the skull."""
        fossa = ellipsoid(points, *_POSTERIOR_FOSSA, reach=30)
        cistern = ellipsoid(points, (0.0, -2.0, -27.0), (15.0, 24.0, 12.0), reach=20)
        return np.maximum(np.maximum(vault, cavity) + 0.8 + 1.4 * self.atrophy, np.maximum(1.2 - fossa, -cistern))

    def _face(self, canvas: Canvas, points: Points, vault: Field, rough: Field) -> Field:
        side = points.folded()
        head = vault - (self.skull + self.scalp)
        face = ellipsoid(points, (0.0, 45.0, -62.0), (58.0, 50.0, 66.0), reach=90)
        jaw = ellipsoid(points, (0.0, 57.0, -106.0), (38.0, 40.0, 26.0), reach=90)
        neck = tube(points, [(0, -22, -60, 54), (0, -30, -120, 46), (0, -36, -200, 50)], reach=90)
        below = union(union(face, jaw, 18), neck, 30)
        nose = tube(points, [(0, 92, -22, 6), (0, 108, -52, 11), (0, 94, -56, 12)], reach=30)
        below = union(below, nose, 12)
        head = union(head, below, 16)
        ear = ellipsoid(side, (74.0, -14.0, -28.0), (4.0, 14.0, 24.0), reach=20)
        head = union(head, ear, 5)
        canvas.paint(head, Tissue.SKIN)
        canvas.paint(head + 1.6, Tissue.FAT)
        fibres = self._fibres(points.x, points.y, points.z)
        muscle = below + 6 + 1.2 * rough + 2 * fibres
        canvas.paint(muscle, Tissue.MUSCLE)
        between = np.clip(1 - np.abs(fibres) * 3.5, 0, 1) * np.clip(0.55 + 0.4 * rough, 0, 1)
        canvas.paint(muscle, Tissue.FAT, amount=0.85 * between + np.clip(0.12 * rough, 0, 0.2))
        temporalis = ellipsoid(side, (68.0, 20.0, -14.0), (9.0, 30.0, 36.0))
        canvas.paint(np.maximum(temporalis, head + 4), Tissue.MUSCLE)
        return head

    def _skull(self, canvas: Canvas, cavity: Field, vault: Field, points: Points, rough: Field) -> None:
        thickness = self.skull + 0.6 * self._slow(points.y, points.z, points.x)
        canvas.paint(cavity - thickness, Tissue.BONE)
        # the marrow lies in the vault only: the base and the temporal squama are almost solid bone
        room = 0.24 * thickness * np.clip((points.z + 30) / 40, 0, 1)
        canvas.paint(np.abs(vault - thickness / 2) - room, Tissue.MARROW)
        if float(points.z.min()) > -62:
            return
        # vertebral bodies before the canal, with discs between them
        level = np.mod(points.z, _SPINE_STEP_MM) - _SPINE_STEP_MM / 2
        front = points.y - (-12 + 0.16 * (points.z + 75))
        body = np.maximum(np.maximum(np.abs(points.x) - 15, np.abs(front) - 9), points.z + 66)
        canvas.paint(body, Tissue.BONE)
        canvas.paint(np.maximum(body + 1.2, np.abs(level) - 7.5), Tissue.MARROW)

    def _openings(self, canvas: Canvas, points: Points, rough: Field) -> None:
        side = points.folded()
        canvas.paint(tube(side, [(30, 50, -96, 7), (10, 84, -104, 8)]), Tissue.BONE)
        canvas.paint(tube(side, [(30, 50, -96, 4), (10, 84, -104, 5)]), Tissue.MARROW)
        canvas.paint(ellipsoid(points, (0.0, 46.0, -92.0), (22.0, 32.0, 19.0)) + 2 * rough, Tissue.MUSCLE)
        nasal = ellipsoid(side, (8.0, 62.0, -52.0), (7.5, 34.0, 20.0))
        canvas.paint(nasal, Tissue.AIR)
        canvas.paint(np.maximum(nasal, np.abs(rough) * 5 - 2.0), Tissue.SKIN)
        canvas.paint(np.maximum(np.abs(points.x) - 1.0, ellipsoid(points, (0, 62, -52), (9, 34, 20))), Tissue.MUSCLE)
        maxillary = ellipsoid(side, (29.0, 58.0, -58.0), (13.0, 15.0, 15.0)) + rough
        canvas.paint(maxillary - 1.8, Tissue.BONE)
        canvas.paint(maxillary, Tissue.AIR)
        for centre, radii in (((8.0, 78.0, -6.0), (9.0, 6.0, 11.0)), ((7.0, 30.0, -44.0), (7.5, 12.0, 8.0))):
            canvas.paint(ellipsoid(side, centre, radii) + 0.7 * rough, Tissue.AIR)
        mastoid = ellipsoid(side, (57.0, -24.0, -46.0), (11.0, 16.0, 18.0))
        canvas.paint(mastoid, Tissue.BONE)
        canvas.paint(np.maximum(mastoid + 2, np.abs(rough) * 5 - 1.4), Tissue.MARROW)
        canvas.paint(tube(points, [(0, 22, -58, 6), (0, 12, -90, 8), (0, 6, -170, 9)]) + rough, Tissue.AIR)
        self._orbits(canvas, side)

    def _orbits(self, canvas: Canvas, side: Points) -> None:
        canvas.paint(tube(side, [(32, 68, -30, 18), (16, 34, -27, 5)]) - 1.5, Tissue.BONE)
        canvas.paint(tube(side, [(32, 68, -30, 18), (16, 34, -27, 5)]), Tissue.FAT)
        for start, stop in (((44, 66, -30), (17, 34, -27)), ((20, 66, -30), (14, 34, -27))):
            canvas.paint(tube(side, [(*start, 2.2), (*stop, 1.5)]), Tissue.MUSCLE)
        canvas.paint(tube(side, [(32, 60, -30, 2.0), (14, 28, -24, 1.8)]), Tissue.WHITE)
        globe = ellipsoid(side, (32.0, 72.0, -30.0), (12.0, 12.0, 12.0))
        canvas.paint(globe - 1.0, Tissue.MUSCLE)
        canvas.paint(globe, Tissue.EYE)
        canvas.paint(ellipsoid(side, (32.0, 81.0, -30.0), (4.5, 2.2, 4.5)), Tissue.LENS)

    def _midline(self, points: Points) -> Field:
        bow = self.tilt[0] * np.sin(points.y / 45) + self.tilt[1] * np.sin(points.z / 40 + 1)
        return np.abs(points.x + 0.6 * bow + 0.8 * self._warp[0](points.x * 0, points.y * 2, points.z * 2))

    def _cerebrum(self, canvas: Canvas, points: Points, hull: Field) -> Field:
        side = points.folded()
        depth = -hull
        width = (0.3 + 0.8 * self.atrophy) * (1 + 0.45 * self._slow(points.y, points.x, points.z))
        reach = np.maximum(15 + 4 * self._slow(points.z, points.x, points.y), 7)
        sulci = np.hypot(self._sulcal_distance(points, canvas.pixel), np.maximum(depth - reach, 0))
        sulci -= width * np.clip(1.3 - 0.6 * depth / np.maximum(reach, 4), 0.2, 1.3)
        core = ellipsoid(points, (0.0, -5.0, 4.0), (60.0, 43.0, 24.0), reach=90)
        fissure = np.hypot(self._midline(points), np.maximum(-core, 0)) - (0.7 + 0.6 * self.atrophy)
        # the lateral fissure: a sheet that runs inward above each temporal lobe, to the insula
        sheet = (points.z + 3 - 0.30 * points.y) * 0.95 + 3 * self._slow(points.y, points.z, points.x)
        limit = np.maximum(np.maximum(36 - side.x, points.y - 34), -28 - points.y)
        sylvian = np.hypot(sheet, np.maximum(limit, 0)) - (0.9 + 1.2 * self.atrophy)
        pia = -np.minimum(np.minimum(depth, sulci), np.minimum(fissure, sylvian))
        canvas.paint(pia, Tissue.GREY)
        canvas.paint(pia + 3.1 + 0.5 * self._slow(points.y * 2, points.x * 2, points.z * 2), Tissue.WHITE)
        return pia

    def _sulcal_distance(self, points: Points, pixel: float) -> Field:
        """Distance in the slice to the nearest sheet of a field that is carried inward along the radii."""
        centre, radii = _SUPRATENTORIAL
        u, v, w = points.x - centre[0], points.y - centre[1], points.z - centre[2]
        scaled = np.sqrt((u / radii[0]) ** 2 + (v / radii[1]) ** 2 + (w / radii[2]) ** 2)
        carry = 0.72 / np.maximum(scaled, 0.3) + 0.28
        u, v, w = u * carry, v * carry, w * carry
        shift = [5 * warp(points.x, points.y, points.z) for warp in self._warp]
        waves = self._folds(u + shift[0], v + shift[1], w + shift[2])
        rise, run = np.gradient(waves, pixel)
        slope = np.sqrt(rise * rise + run * run)
        return np.abs(waves) / (slope + 0.06)

    def _hindbrain(self, canvas: Canvas, points: Points, cavity: Field) -> None:
        side = points.folded()
        fossa = ellipsoid(points, *_POSTERIOR_FOSSA, reach=30)
        notch = ellipsoid(points, (0.0, -78.0, -54.0), (5.0, 16.0, 24.0))
        angle = ellipsoid(side, (24.0, -9.0, -38.0), (18.0, 10.0, 24.0))  # beside the pons
        lobes = np.maximum(np.maximum(fossa, cavity) + 0.6 + 0.7 * self.atrophy, np.maximum(-notch, -angle))
        folia = np.abs(self._folia(points.x, points.y, points.z))
        canvas.paint(lobes, Tissue.CEREBELLUM)
        canvas.paint(np.maximum(lobes, folia * 4 - 0.7 * self.atrophy - 0.5), Tissue.CSF, amount=0.45)
        canvas.paint(lobes + 11 + 4.5 * self._slow(points.x * 3, points.y * 3, points.z * 3), Tissue.WHITE)
        stem = tube(
            points, [(0, -14, -4, 14), (0, -16, -24, 13), (0, -22, -52, 8), (0, -28, -72, 6), (0, -42, -160, 5)]
        )
        pons = ellipsoid(points, (0.0, -12.0, -27.0), (17.0, 13.0, 14.0))
        stem = union(stem, pons, 6)
        canvas.paint(stem, Tissue.GREY, amount=0.5)
        canvas.paint(stem + 0.8, Tissue.WHITE, amount=0.85)
        canvas.paint(ellipsoid(points, (0.0, -34.0, -36.0), (6.0, 4.5, 12.0)), Tissue.CSF)
        canvas.paint(tube(points, [(0, -22, -8, 1.2), (0, -32, -28, 1.5)]), Tissue.CSF)

    def _depths(self, canvas: Canvas, points: Points, hull: Field) -> None:
        side = points.folded()
        canvas.paint(ellipsoid(points, (0.0, -6.0, 16.0), (26.0, 36.0, 12.0)), Tissue.WHITE)  # corpus callosum
        grey = (
            ((11.0, -10.0, 4.0), (8.5, 14.0, 9.0)),  # thalamus
            ((12.5, 17.0, 7.0), (5.0, 9.0, 9.0)),  # head of the caudate
            ((26.0, 5.0, 2.0), (5.0, 17.0, 10.0)),  # putamen
        )
        wobble = 0.9 * self._slow(points.x * 2, points.z * 2, points.y * 2)
        for centre, radii in grey:
            canvas.paint(ellipsoid(side, centre, radii) + wobble, Tissue.DEEP)
        canvas.paint(ellipsoid(side, (19.0, 2.0, 0.0), (3.5, 9.0, 6.0)) + wobble, Tissue.DEEP, amount=0.5)
        size = self.ventricle * (1 + self.lopsided * np.sign(points.x))
        horns = [(13, 31, 8, 2.2), (8.5, 20, 13, 4.2), (9, -2, 20, 4.6), (15, -22, 19, 4.8), (25, -36, 8, 5.6)]
        lateral = tube(side, horns, reach=12)
        lateral = np.minimum(lateral, tube(side, [(25, -36, 8, 5.6), (24, -56, 5, 1.6)], reach=12))
        lateral = np.minimum(lateral, tube(side, [(25, -36, 8, 4.0), (33, -16, -12, 2.0), (29, 2, -17, 1.6)], reach=12))
        if lateral.ndim:
            wide = 4.6 * (size - 1) + 0.5 * wobble
            lateral = np.maximum(lateral - wide, 0.7 - np.abs(points.x))  # the septum between the horns
            canvas.paint(lateral, Tissue.CSF)
            canvas.paint(tube(side, [(20, -28, 17, 1.6), (25, -37, 8, 2.4)]) + 0.5 * wobble, Tissue.VESSEL, amount=0.7)
        third = ellipsoid(points, (0.0, -5.0, 0.0), (1.6 * self.ventricle, 13.0, 10.0))
        canvas.paint(np.maximum(third, hull), Tissue.CSF)

    def _membranes(self, canvas: Canvas, points: Points, inner: Points, cavity: Field) -> None:
        midline = self._midline(inner)
        core = ellipsoid(inner, (0.0, -8.0, -4.0), (60.0, 52.0, 44.0), reach=90)
        canvas.paint(np.maximum(np.maximum(midline - 0.45, cavity), np.maximum(-core, -points.z - 5)), Tissue.DURA)
        fossa = ellipsoid(inner, *_POSTERIOR_FOSSA, reach=60)
        tentorium = np.maximum(np.abs(fossa - 0.8) - 0.45, np.maximum(cavity, -points.z - 22))
        canvas.paint(tentorium, Tissue.DURA)
        ridge = np.maximum(midline - 0.45 * (cavity + 8), np.maximum(cavity, -cavity - 8))  # sagittal sinus
        canvas.paint(np.maximum(ridge, np.maximum(points.y - 40, -points.z + 6)), Tissue.VESSEL)
        canvas.paint(tube(inner, [(0, -46, 10, 1.6), (0, -62, 6, 1.8), (0, -80, 4, 2.2)]), Tissue.VESSEL)
        side = points.folded()
        canvas.paint(tube(side, [(6, -84, -6, 4.0), (46, -52, -18, 3.5), (50, -36, -34, 3.5)]), Tissue.VESSEL)
        canvas.paint(tube(side, [(13, 14, -24, 2.4), (13, 24, -32, 2.4), (16, 10, -46, 2.4)]), Tissue.VESSEL)
        canvas.paint(tube(points, [(0, 3, -22, 1.6), (0, -1, -40, 1.6)]), Tissue.VESSEL)
        canvas.paint(ellipsoid(points, (0.0, 20.0, -29.0), (6.5, 5.5, 4.0)), Tissue.GLAND)
