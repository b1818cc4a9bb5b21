"""From a file's grid to display: slices first, patient's right on the left, and the exact way back."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from tumorscope.scan import Grid

# Slice axis: the axis whose spacing is this many times that of every other axis, if there is one.
ANISOTROPIC = 1.2
# Otherwise the axis with less than this share of the next shorter axis's length (headers whose spacing was reset).
SLAB = 0.5

PLANES = ("sagittal", "coronal", "axial")  # by the world axis (x, y, z) that runs across the slices
# Rows and columns of a slice for each plane: world axis and the sign in which it runs down or to the right (RAS+).
_DISPLAY = {
    "axial": ((1, -1), (0, -1)),  # anterior on top, patient's right on the left
    "coronal": ((2, -1), (0, -1)),  # superior on top, patient's right on the left
    "sagittal": ((2, -1), (1, -1)),  # superior on top, anterior on the left
}


@dataclass(frozen=True)
class Layout:
    """Where the axes of a file go, and what follows from it. Spacing in scan order, affine on scan indices."""

    grid: Grid
    affine: NDArray[np.float64]
    spacing: tuple[float, float, float]
    plane: str
    tilt: float


def spacing_of(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Length in millimetres of one step along each of the three index axes."""
    return np.linalg.norm(affine[:3, :3], axis=0)


def is_usable(affine: NDArray[np.float64]) -> bool:
    """Whether a matrix maps voxels to distinct points: finite, and no axis zero or within another's plane."""
    if not np.isfinite(affine).all():
        return False
    steps = spacing_of(affine)
    return bool((steps > 0).all() and abs(np.linalg.det(affine[:3, :3] / steps)) > 1e-4)


def world_axes(affine: NDArray[np.float64]) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """World axis (0 x, 1 y, 2 z) that each index axis runs along most, one each, and the direction of that run.

    Examples
    --------
    >>> world_axes(np.diag([-1.0, 1.0, 2.0, 1.0]))
    ((0, 1, 2), (-1, 1, 1))
    """
    direction = affine[:3, :3] / spacing_of(affine)
    best = max(permutations(range(3)), key=lambda p: round(sum(abs(direction[p[axis], axis]) for axis in range(3)), 9))
    signs = tuple(1 if direction[best[axis], axis] >= 0 else -1 for axis in range(3))
    return best, signs  # type: ignore[return-value]


def slice_axis(shape: tuple[int, ...], affine: NDArray[np.float64]) -> int:
    """The file axis that runs from slice to slice.

    The axis with clearly the largest spacing; failing that, a clearly shortest axis; failing that (an isotropic
    volume), the axis that makes the slices axial.

    Examples
    --------
    >>> slice_axis((256, 256, 24), np.eye(4))
    2
    """
    steps = spacing_of(affine)
    widest = np.argsort(steps)[::-1]
    if steps[widest[0]] >= ANISOTROPIC * steps[widest[1]]:
        return int(widest[0])
    shortest = np.argsort(shape)
    if shape[shortest[0]] < SLAB * shape[shortest[1]]:
        return int(shortest[0])
    return world_axes(affine)[0].index(2)


def lay_out(shape: tuple[int, int, int], affine: NDArray[np.float64], axis: int | None = None) -> Layout:
    """The order and flips that show a file's volume slice by slice in the radiological convention.

    Parameters
    ----------
    shape : tuple of int
        The file's three axes.
    affine : (4, 4) array
        File index to RAS+ millimetres; `is_usable`.
    axis : int, optional
        The slice axis, when the file says which it is.

    Returns
    -------
    Layout
        Slices run towards increasing x, y or z; ``tilt`` is the angle in degrees between the slices and ``plane``.

    Examples
    --------
    >>> layout = lay_out((4, 5, 6), np.diag([1.0, 1.0, 3.0, 1.0]))
    >>> layout.plane, layout.spacing, layout.grid.order, layout.grid.flips
    ('axial', (3.0, 1.0, 1.0), (2, 1, 0), (False, True, True))
    """
    world, signs = world_axes(affine)
    through = slice_axis(shape, affine) if axis is None else axis
    plane = PLANES[world[through]]
    order, flips = [through], [signs[through] < 0]
    for target, sign in _DISPLAY[plane]:
        index = world.index(target)
        order.append(index)
        flips.append(signs[index] != sign)
    grid = Grid(tuple(shape), tuple(order), tuple(flips), affine)
    moved = affine @ index_map(grid)
    steps = spacing_of(moved)
    normal = np.cross(moved[:3, 1] / steps[1], moved[:3, 2] / steps[2])
    cosine = abs(normal[world[through]]) / max(float(np.linalg.norm(normal)), 1e-12)
    tilt = float(np.degrees(np.arccos(np.clip(cosine, 0, 1))))
    spacing = tuple(round(float(step), 9) for step in steps)  # without the noise of the norm
    return Layout(grid, moved, (spacing[0], spacing[1], spacing[2]), plane, tilt)


def index_map(grid: Grid) -> NDArray[np.float64]:
    """The (4, 4) matrix from an index on the scan's three axes to the index on the file's axes."""
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for scan_axis, (file_axis, flip) in enumerate(zip(grid.order, grid.flips, strict=True)):
        matrix[file_axis, scan_axis] = -1 if flip else 1
        if flip:
            matrix[file_axis, 3] = grid.shape[file_axis] - 1
    return matrix


def plain(shape: tuple[int, ...]) -> Grid:
    """The grid of a file whose axes are the scan's own."""
    return Grid(shape, tuple(range(len(shape))), (False,) * len(shape))


def flat(layout: Layout) -> Grid:
    """The 2-D grid of a single slice whose `Layout` was made on ``(1, H, W)`` with slice axis 0."""
    grid = layout.grid
    return Grid(grid.shape[1:], (grid.order[1] - 1, grid.order[2] - 1), grid.flips[1:], grid.affine)


def tilt_note(layout: Layout) -> tuple[str, ...]:
    """A note for slices that stand more than 5 degrees off the plane that names them."""
    if layout.tilt <= 5:
        return ()
    return (f"oblique: the slices stand {layout.tilt:.0f} degrees off {layout.plane}",)
