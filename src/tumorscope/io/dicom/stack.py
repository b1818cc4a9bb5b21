"""Slices in order: sorted along the normal, repeats and gaps found, one affine for the lot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SAME_PLACE = 0.01  # millimetres along the normal within which two slices lie at one position
GAP = 1.5  # a step this many times the usual one has slices missing in it
UNEVEN = 0.1  # share of the usual step by which a slice may be off its place on the even grid

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Stack:
    """Slices of one volume in order.

    ``members`` holds, for each slice position, the indices of the images there, one for each of ``repeats``
    channels; an empty tuple stands for a missing slice. ``affine`` leads from (slice, row, column) to RAS+ mm.
    """

    members: tuple[tuple[int, ...], ...]
    repeats: int
    affine: NDArray[np.float64]
    notes: tuple[str, ...]


def normal_of(orientation: Sequence[float]) -> NDArray[np.float64]:
    """Unit vector across the slice, from the six direction cosines of DICOM (LPS).

    Examples
    --------
    >>> normal_of([1, 0, 0, 0, 1, 0]).tolist()
    [0.0, 0.0, 1.0]
    """
    normal = np.cross(orientation[:3], orientation[3:])
    return np.asarray(normal / np.linalg.norm(normal), np.float64)


def plane_affine(
    position: Sequence[float], orientation: Sequence[float], spacing: Sequence[float], step: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Index (slice, row, column) to RAS+ millimetres, from DICOM's position, cosines and (row, column) spacing.

    References
    ----------
    .. [1] DICOM PS3.3, C.7.6.2.1.1, equation C.7.6.2.1-1.

    Examples
    --------
    >>> affine = plane_affine([10, 20, 30], [1, 0, 0, 0, 1, 0], [2, 3], np.array([0, 0, 5.0]))
    >>> (affine @ [1, 1, 1, 1]).tolist()
    [-13.0, -22.0, 35.0, 1.0]
    """
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = np.asarray(orientation[3:], np.float64) * spacing[0]
    affine[:3, 2] = np.asarray(orientation[:3], np.float64) * spacing[1]
    affine[:3, 3] = position
    return np.asarray(LPS_TO_RAS @ affine, np.float64)


def arrange(
    positions: Sequence[Sequence[float]],
    orientation: Sequence[float],
    spacing: Sequence[float],
    order: Sequence[float],
    thickness: float = 1.0,
) -> Stack:
    """The slices of one orientation, sorted and checked.

    Where every position holds the same number of images (echoes, times), that number becomes ``repeats``. Otherwise
    the first by ``order`` is kept at each position and the others are left out, with a note. A step that is a whole
    multiple of the usual one is a gap: its places stay in the stack, empty, with a note.

    Parameters
    ----------
    positions : (N, 3) floats
        ImagePositionPatient of each image, LPS millimetres.
    orientation : 6 floats
        ImageOrientationPatient.
    spacing : 2 floats
        Millimetres between rows and between columns.
    order : N floats
        Instance numbers, to choose between images at one position.
    thickness : float
        The slice step in millimetres that is assumed where there is only one position.

    Examples
    --------
    >>> stack = arrange([[0, 0, z] for z in (10, 0, 5, 20)], [1, 0, 0, 0, 1, 0], [1, 1], [1, 2, 3, 4])
    >>> stack.members
    ((1,), (2,), (0,), (), (3,))
    >>> stack.notes
    ('1 slice is missing: number 4 of 5; its place is blank',)
    """
    points = np.asarray(positions, np.float64)
    normal = normal_of(orientation)
    distance = points @ normal
    members = _places(distance, order)
    notes: list[str] = []
    counts = {len(place) for place in members}
    repeats = counts.pop() if len(counts) == 1 else 1
    if counts:
        extra = sum(len(place) - 1 for place in members)
        members = [place[:1] for place in members]
        notes.append(f"{_count(extra, 'slice')} at a position that another holds; the lower instance number was kept")
    slots = _slots(distance[[place[0] for place in members]], notes)
    filled: list[tuple[int, ...]] = [()] * (slots[-1] + 1)
    for slot, place in zip(slots, members, strict=True):
        filled[slot] = place
    first, last = points[members[0][0]], points[members[-1][0]]
    step = (last - first) / slots[-1] if slots[-1] else normal * thickness
    expected = first + np.outer(slots, step)
    off = np.linalg.norm(points[[place[0] for place in members]] - expected, axis=1).max()
    if off > UNEVEN * np.linalg.norm(step) and len(members) > 1:
        notes.append(f"slices are unevenly spaced (up to {off:.1f} mm off); positions across slices are approximate")
    return Stack(tuple(filled), repeats, plane_affine(first, orientation, spacing, step), tuple(notes))


def _places(distance: NDArray[np.float64], order: Sequence[float]) -> list[tuple[int, ...]]:
    """Indices of the images at each position along the normal, by ``order`` within one."""
    places: list[list[int]] = []
    for index in sorted(range(len(distance)), key=lambda i: (distance[i], order[i])):
        if places and distance[index] - distance[places[-1][0]] < SAME_PLACE:
            places[-1].append(index)
        else:
            places.append([index])
    return [tuple(sorted(place, key=lambda i: order[i])) for place in places]


def _slots(distance: NDArray[np.float64], notes: list[str]) -> list[int]:
    """Place of each slice on an even grid; gaps are told in ``notes``."""
    even = list(range(len(distance)))
    if len(distance) < 3:
        return even
    steps = np.diff(distance)
    usual = float(np.median(steps))
    if not (steps > GAP * usual).any():
        return even
    wide = steps / usual
    whole = np.maximum(1, np.rint(wide)).astype(int)
    missing = int((whole - 1).sum())
    if (np.abs(wide - whole) > UNEVEN * whole).any() or missing > len(distance):
        notes.append(f"slices seem to be missing: steps go from {steps.min():.1f} to {steps.max():.1f} mm")
        return even
    slots = [0, *np.cumsum(whole).tolist()]
    lost = sorted(set(range(slots[-1] + 1)) - set(slots))
    numbers = ", ".join(str(slot + 1) for slot in lost[:12]) + (" ..." if len(lost) > 12 else "")
    verb, place = ("is", "its place is") if missing == 1 else ("are", "their places are")
    noun = "number" if missing == 1 else "numbers"
    notes.append(f"{_count(missing, 'slice')} {verb} missing: {noun} {numbers} of {slots[-1] + 1}; {place} blank")
    return [int(slot) for slot in slots]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
