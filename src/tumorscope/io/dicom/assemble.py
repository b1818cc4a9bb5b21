"""Scans from DICOM frames: turned to display, with colour judged and the way back kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError
from tumorscope.io.color import to_grey
from tumorscope.io.decoding import check_channel, fill_non_finite, label, noted
from tumorscope.io.dicom.header import Place
from tumorscope.io.dicom.stack import Stack, normal_of, plane_affine
from tumorscope.io.geometry import flat, is_usable, lay_out, plain, tilt_note
from tumorscope.scan import FloatArray, Grid, Scan, Source

_ORDER = "the file does not say where its slices lie; they are in stored order"


def flat_scan(
    values: FloatArray, place: Place, thickness: float, full: float, source: Source, channel: int | None
) -> Scan:
    """A 2-D scan from one (H, W[, 3]) frame, in the radiological convention where the file knows directions.

    ``thickness`` in mm only scales the affine's slice axis.
    """
    height, width = values.shape[:2]
    grid, affine, spacing, plane = plain((height, width)), None, place.spacing, None
    if place.position and place.orientation and place.spacing:
        own = plane_affine(place.position, place.orientation, place.spacing, normal_of(place.orientation) * thickness)
        layout = lay_out((1, height, width), own, 0)
        grid, affine, plane, spacing = flat(layout), layout.affine, layout.plane, layout.spacing[1:]
        source = noted(source, *tilt_note(layout))
    pixels, source = _grey(values[None], full, source, channel)
    moved = np.stack([grid.from_file(part[0]) for part in pixels])
    return _scan(moved, "YX", grid, source, spacing, affine, plane)


def stacked_scan(frames: FloatArray, stack: Stack, full: float, source: Source, channel: int | None) -> Scan:
    """A volume from (N, H, W[, 3]) frames and the `Stack` that orders them; missing slices are blank.

    Raises
    ------
    ScanError
        If each position holds several images and ``channel`` does not choose one.
    """
    pick = 0
    if stack.repeats > 1:
        if channel is None:
            raise ScanError(
                f"{label(source.path)}: holds {stack.repeats} images at each slice position (echoes, times or "
                f"weightings); choose one with --channel 0 to {stack.repeats - 1}"
            )
        check_channel(source.path, channel, stack.repeats)
        pick, channel = channel, None
    volume = np.full((len(stack.members), *frames.shape[1:]), frames.min(), np.float32)
    for slot, place in enumerate(stack.members):
        if place:
            volume[slot] = frames[place[pick]]
    pixels, source = _grey(volume, full, noted(source, *stack.notes), channel)
    depth, height, width = volume.shape[:3]
    if not is_usable(stack.affine):
        return _scan(pixels, "ZYX", plain((depth, height, width)), source, None, None, None)
    layout = lay_out((depth, height, width), stack.affine)
    moved = np.stack([layout.grid.from_file(part) for part in pixels])
    source = noted(source, *tilt_note(layout))
    return _scan(moved, "ZYX", layout.grid, source, layout.spacing, layout.affine, layout.plane)


def loose_scan(
    frames: FloatArray, place: Place, step: float | None, full: float, source: Source, channel: int | None
) -> Scan:
    """A volume of (N, H, W[, 3]) frames whose positions the file does not tell, in the order they come.

    ``step`` is the distance of slices in mm where the file names it; without it the spacing is None.
    """
    spacing = (step, *place.spacing) if step and step > 0 and place.spacing else None
    pixels, source = _grey(frames, full, noted(source, _ORDER), channel)
    depth, height, width = frames.shape[:3]
    return _scan(pixels, "ZYX", plain((depth, height, width)), source, spacing, None, None)


def _grey(volume: FloatArray, full: float, source: Source, channel: int | None) -> tuple[FloatArray, Source]:
    """(1, Z, H, W), or (3, Z, H, W) where the colours truly differ, from (Z, H, W[, 3])."""
    colours = volume.shape[3] if volume.ndim == 4 else 1
    check_channel(source.path, channel, colours)
    if colours == 1:
        volume, notes = fill_non_finite(source.path, volume.reshape(volume.shape[:3]))
        return volume[None], noted(source, *notes)
    if channel is not None or colours != 3:
        return np.ascontiguousarray(volume[None, ..., channel or 0]), source
    depth, height, width, _ = volume.shape
    grey = to_grey(volume.reshape(depth * height, width, 3), full)
    return grey.pixels.reshape(-1, depth, height, width), noted(source, *grey.notes)


def _scan(
    planes: FloatArray,
    axes: str,
    grid: Grid,
    source: Source,
    spacing: tuple[float, ...] | None,
    affine: NDArray[np.float64] | None,
    plane: str | None,
) -> Scan:
    """The scan of (C, *shape) planes; the channel axis stays only where it is longer than 1."""
    source = replace(source, sides_known=affine is not None)
    array, axes = (planes[0], axes) if len(planes) == 1 else (planes, f"C{axes}")
    return Scan(np.ascontiguousarray(array), axes, grid, source, spacing, affine, plane)
