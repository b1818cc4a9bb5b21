"""The shape of a mask: size, roundness, extent, in millimetres where the spacing is known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError
from tumorscope.scan import BoolArray

Features = dict[str, float]

SHAPE_2D = (
    "Elongation", "MajorAxisLength", "MaximumDiameter", "MeshSurface", "MinorAxisLength", "Perimeter",
    "PerimeterSurfaceRatio", "PixelSurface", "Sphericity",
)  # fmt: skip
SHAPE_3D = (
    "Elongation", "Flatness", "LeastAxisLength", "MajorAxisLength", "Maximum3DDiameter", "MeshVolume",
    "MinorAxisLength", "Sphericity", "SurfaceArea", "SurfaceVolumeRatio", "VoxelVolume",
)  # fmt: skip


def shape_2d(mask: NDArray, spacing: Sequence[float] | None = None) -> Features:
    """Nine measures of an (H, W) mask, by the names of PyRadiomics' ``shape2D``.

    The outline runs through the middles of the edges between marked and unmarked pixels (marching squares at one
    half). ``MeshSurface`` A is the area inside it, ``Perimeter`` P its length, ``PixelSurface`` the count of pixels
    times their size; ``Sphericity`` 2 √(π A) / P, 1 for a disc (other names: circularity is its square);
    ``MaximumDiameter`` the largest distance between two points of the outline; ``MajorAxisLength`` and
    ``MinorAxisLength`` 4 √λ with the variances λ of the marked pixels along their main axes, ``Elongation`` the minor
    over the major, so that 1 is round.

    Parameters
    ----------
    mask : (H, W) array
        Marked where not 0.
    spacing : (float, float), optional
        Mm along y and x. Lengths are in px, areas in px², when absent.

    Raises
    ------
    ScanError
        If the mask is not two-dimensional, marks nothing, or the spacing is not positive.

    References
    ----------
    .. [1] van Griethuysen et al., "Computational radiomics system to decode the radiographic phenotype", Cancer
       Research 77(21), 2017.

    Examples
    --------
    >>> found = shape_2d(np.ones((2, 3)), spacing=(0.5, 0.5))
    >>> found["PixelSurface"], found["MeshSurface"], round(found["MaximumDiameter"], 3)
    (1.5, 1.375, 1.581)
    """
    marked, steps = _checked(mask, spacing, 2)
    points, area, perimeter = _outline(marked, steps)
    major, minor = _axes(marked, steps)
    return {
        "Elongation": minor / major if major > 0 else math.nan,
        "MajorAxisLength": major,
        "MaximumDiameter": _diameter(points),
        "MeshSurface": area,
        "MinorAxisLength": minor,
        "Perimeter": perimeter,
        "PerimeterSurfaceRatio": perimeter / area,
        "PixelSurface": int(marked.sum()) * math.prod(steps),
        "Sphericity": 2 * math.sqrt(math.pi * area) / perimeter,
    }


def shape_3d(mask: NDArray, spacing: Sequence[float] | None = None) -> Features:
    """Eleven measures of a (D, H, W) mask, by the names of PyRadiomics' ``shape``.

    The surface runs through the middles of the edges between marked and unmarked voxels (marching cubes at one half).
    ``MeshVolume`` V is the volume inside it, ``SurfaceArea`` A its area, ``VoxelVolume`` the count of voxels times
    their size; ``Sphericity`` (36 π V²)^(1/3) / A, 1 for a ball; ``Maximum3DDiameter`` the largest distance between
    two points of the surface; axes as in `shape_2d`, ``Elongation`` the second over the first and ``Flatness`` the
    third over the first, 1 for a ball.

    Parameters
    ----------
    mask : (D, H, W) array
        Marked where not 0.
    spacing : (float, float, float), optional
        Mm along z, y and x. Voxels count as cubes of side 1 when absent.

    Raises
    ------
    ScanError
        If the mask is not three-dimensional, marks nothing, or the spacing is not positive.

    References
    ----------
    .. [1] Lewiner, Lopes, Vieira, Tavares, "Efficient implementation of marching cubes' cases with topological
       guarantees", Journal of Graphics Tools 8(2), 2003.

    Examples
    --------
    >>> ball = sum(axis**2 for axis in np.ogrid[-9:10, -9:10, -9:10]) < 64
    >>> found = shape_3d(ball)
    >>> round(found["Flatness"], 2), round(found["Maximum3DDiameter"], 1)
    (1.0, 16.6)
    """
    marked, steps = _checked(mask, spacing, 3)
    points, volume, area = _surface(marked, steps)
    first, second, third = _axes(marked, steps)
    return {
        "Elongation": second / first if first > 0 else math.nan,
        "Flatness": third / first if first > 0 else math.nan,
        "LeastAxisLength": third,
        "MajorAxisLength": first,
        "Maximum3DDiameter": _diameter(points),
        "MeshVolume": volume,
        "MinorAxisLength": second,
        "Sphericity": (36 * math.pi * volume**2) ** (1 / 3) / area,
        "SurfaceArea": area,
        "SurfaceVolumeRatio": area / volume,
        "VoxelVolume": int(marked.sum()) * math.prod(steps),
    }


def _checked(mask: NDArray, spacing: Sequence[float] | None, axes: int) -> tuple[BoolArray, tuple[float, ...]]:
    """The part of the mask that is marked, with a rim of one, and the spacing."""
    array = np.asarray(mask)
    if array.ndim != axes:
        wanted = "(H, W)" if axes == 2 else "(D, H, W)"
        raise ScanError(f"mask: {array.ndim}-D array of shape {array.shape}; pass {wanted}")
    if array.dtype.kind not in "fiub":
        raise ScanError(f"mask: values of type {array.dtype} mark nothing; pass booleans or numbers")
    steps = (1.0,) * axes if spacing is None else tuple(float(step) for step in spacing)
    if len(steps) != axes or not all(math.isfinite(step) and step > 0 for step in steps):
        raise ScanError(f"mask: a spacing of {spacing} does not measure {axes} axes; pass {axes} lengths above 0")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise ScanError(f"mask: {int(np.isnan(array).sum())} of {array.size} values are NaN; mark them or not")
    marked = array != 0
    places = []
    for axis in range(axes):
        hit = np.flatnonzero(marked.any(axis=tuple(other for other in range(axes) if other != axis)))
        if not hit.size:
            raise ScanError("mask: it marks nothing, and nothing has no shape; leave empty masks out")
        places.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return np.pad(marked[tuple(places)], 1), steps


def _outline(marked: BoolArray, steps: tuple[float, ...]) -> tuple[NDArray, float, float]:
    """Points of a mask's outlines, the area inside, and their length."""
    from skimage.measure import find_contours

    lines = [line * steps for line in find_contours(marked.astype(np.float32), 0.5)]
    area = perimeter = 0.0
    for line in lines:
        y, x = line.T
        area += 0.5 * float(np.sum(y[:-1] * x[1:] - y[1:] * x[:-1]))  # holes run the other way and count against it
        perimeter += float(np.hypot(np.diff(y), np.diff(x)).sum())
    return np.concatenate(lines), abs(area), perimeter


def _surface(marked: BoolArray, steps: tuple[float, ...]) -> tuple[NDArray, float, float]:
    """Points of a mask's surface, the volume inside, and its area."""
    from skimage.measure import marching_cubes, mesh_surface_area

    points, faces, _, _ = marching_cubes(marked.astype(np.float32), 0.5, spacing=steps)
    points = points.astype(np.float64)
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    volume = abs(float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum())) / 6
    return points, volume, float(mesh_surface_area(points, faces))


def _axes(marked: BoolArray, steps: tuple[float, ...]) -> list[float]:
    """Four standard deviations of the marked pixels along each of their main axes, the longest first."""
    points = np.argwhere(marked) * np.array(steps)
    points -= points.mean(axis=0)
    variances = np.linalg.eigvalsh(points.T @ points / len(points))
    return [4 * math.sqrt(max(float(value), 0.0)) for value in variances[::-1]]


def _diameter(points: NDArray) -> float:
    """Largest distance between two points, which both stand on their convex hull."""
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import pdist

    return float(pdist(points[ConvexHull(points).vertices]).max())
