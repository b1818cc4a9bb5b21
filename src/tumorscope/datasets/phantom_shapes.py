"""Signed distances and random fields from which the phantom's anatomy is put together.

Distances are in millimetres, negative inside. Coordinates are RAS+: x to the patient's right, y to the front, z up.
Formulas: ellipsoid bound and smooth minimum after I. Quilez, iquilezles.org/articles/distfunctions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
Triple = tuple[float, float, float]

FAR = np.array(1e3, np.float32)  # a shape that this slice does not meet; 0-d, so that it costs nothing
_REACH_MM = 4.0  # how far beyond its surface a shape's distance is still worth computing


_STRIDE = 8  # pixels between the coordinates at which a shape's window is looked for
_PHASE_STEP = 0.6  # radians between samples of a wave that linear interpolation may bridge


@dataclass(frozen=True)
class Points:
    """Coordinates of the pixels of one slice, three (H, W) float32 arrays in millimetres."""

    x: Field
    y: Field
    z: Field
    _sparse: tuple[Field, ...] = field(init=False, repr=False)
    _gap: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        sparse = tuple(axis[::_STRIDE, ::_STRIDE] for axis in self.axes)
        object.__setattr__(self, "_sparse", sparse)
        object.__setattr__(self, "_gap", _STRIDE * pixel_step(*self.axes))

    @property
    def axes(self) -> tuple[Field, Field, Field]:
        """The three arrays."""
        return self.x, self.y, self.z

    def folded(self) -> Points:
        """The same points with x made positive, for structures that both sides have."""
        return Points(np.abs(self.x), self.y, self.z)

    def window(self, centre: Triple, reach: Triple) -> tuple[slice, slice] | None:
        """Rows and columns that hold all pixels within ``reach`` of ``centre`` along each axis; None for no pixel."""
        near = np.ones(self._sparse[0].shape, bool)
        for axis, c, r in zip(self._sparse, centre, reach, strict=True):
            near &= np.abs(axis - c) <= r + self._gap
        rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
        if rows.size == 0:
            return None
        return (
            slice(rows[0] * _STRIDE, (rows[-1] + 1) * _STRIDE),
            slice(columns[0] * _STRIDE, (columns[-1] + 1) * _STRIDE),
        )


def pixel_step(x: NDArray, y: NDArray, z: NDArray) -> float:
    """The longer of the two distances in millimetres from the middle pixel to its next ones."""
    row, column = x.shape[0] // 2, x.shape[1] // 2
    steps = [
        sum(float(axis[row, column] - axis[other]) ** 2 for axis in (x, y, z)) ** 0.5
        for other in ((max(row - 1, 0), column), (row, max(column - 1, 0)))
    ]
    return max(steps)


def ellipsoid(points: Points, centre: Triple, radii: Triple, reach: float = _REACH_MM) -> Field:
    """Distance to an axis-aligned ellipsoid, (H, W); beyond some ``reach`` mm from it only known to be far.

    Examples
    --------
    >>> axis = np.array([[0.0, 5.0, 8.0]], np.float32)
    >>> ellipsoid(Points(axis, axis * 0, axis * 0), (0, 0, 0), (5, 5, 5)).round(2)
    array([[-5.,  0.,  3.]], dtype=float32)
    """
    window = points.window(centre, (radii[0] + reach, radii[1] + reach, radii[2] + reach))
    if window is None:
        return FAR
    u = (points.x[window] - centre[0]) / radii[0]
    v = (points.y[window] - centre[1]) / radii[1]
    w = (points.z[window] - centre[2]) / radii[2]
    scaled = np.sqrt(u * u + v * v + w * w)
    u /= radii[0]
    v /= radii[1]
    w /= radii[2]
    slope = np.sqrt(u * u + v * v + w * w)
    distance = np.full(points.x.shape, FAR)
    distance[window] = np.where(scaled < 1e-3, -min(radii), scaled * (scaled - 1) / np.maximum(slope, 1e-6))
    return distance


def tube(points: Points, path: Sequence[tuple[float, float, float, float]], reach: float = _REACH_MM) -> Field:
    """Distance to a chain of capsules through ``(x, y, z, radius)``, the radius running linearly between them."""
    nearest = FAR
    for (ax, ay, az, ar), (bx, by, bz, br) in pairwise(path):
        ex, ey, ez = bx - ax, by - ay, bz - az
        half = max(ar, br) + reach
        middle = (ax + ex / 2, ay + ey / 2, az + ez / 2)
        window = points.window(middle, (abs(ex) / 2 + half, abs(ey) / 2 + half, abs(ez) / 2 + half))
        if window is None:
            continue
        if nearest.ndim == 0:
            nearest = np.full(points.x.shape, FAR)
        u, v, w = points.x[window] - ax, points.y[window] - ay, points.z[window] - az
        along = np.clip((u * ex + v * ey + w * ez) / (ex * ex + ey * ey + ez * ez), 0, 1)
        u -= along * ex
        v -= along * ey
        w -= along * ez
        distance = np.sqrt(u * u + v * v + w * w) - (ar + along * (br - ar))
        nearest[window] = np.minimum(nearest[window], distance)
    return nearest


def union(first: Field, second: Field, smooth: float) -> Field:
    """Distance to the union of two shapes, the seam rounded over ``smooth`` mm."""
    blend = np.maximum(smooth - np.abs(first - second), 0)
    return np.minimum(first, second) - blend * blend / (4 * smooth)


def both(first: Field, second: Field, smooth: float) -> Field:
    """Distance to the intersection of two shapes, the edge rounded over ``smooth`` mm."""
    return -union(-first, -second, smooth)


class Waves:
    """A smooth random field of unit variance: a sum of plane waves of about one wavelength.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws directions, wavelengths and phases.
    wavelength : float
        Millimetres; single waves differ from it by up to a fifth.
    count : int
        Number of waves; more of them look less regular and take longer.
    stretch : (3,) floats
        Factors on the wave numbers along x, y and z; a small one draws the pattern out along that axis.
    """

    def __init__(
        self, rng: np.random.Generator, wavelength: float, count: int = 14, stretch: Triple = (1.0, 1.0, 1.0)
    ) -> None:
        directions = rng.normal(size=(count, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        lengths = wavelength * rng.uniform(0.8, 1.2, size=(count, 1))
        self._numbers = (2 * np.pi / lengths * directions * np.array(stretch)).astype(np.float32)
        self._highest = float(np.linalg.norm(self._numbers, axis=1).max())
        self._phases = rng.uniform(0, 2 * np.pi, size=count).astype(np.float32)

    def __call__(self, x: NDArray, y: NDArray, z: NDArray) -> Field:
        """The field at coordinates in mm, (H, W) float32; long waves are sampled sparsely, then interpolated."""
        height, width = x.shape
        stride = int(_PHASE_STEP / max(self._highest * pixel_step(x, y, z), 1e-6))
        stride = min(stride, height // 4, width // 4)
        if stride > 1:
            sparse = (-(-width // stride), -(-height // stride))
            x, y, z = (cv2.resize(axis, sparse, interpolation=cv2.INTER_AREA) for axis in (x, y, z))
        total = np.zeros(x.shape, np.float32)
        for (kx, ky, kz), phase in zip(self._numbers, self._phases, strict=True):
            total += np.cos(kx * x + ky * y + (kz * z + phase))
        total *= np.float32(np.sqrt(2 / len(self._phases)))
        return cv2.resize(total, (width, height), interpolation=cv2.INTER_LINEAR) if stride > 1 else total
