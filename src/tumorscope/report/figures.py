"""Pictures of scans and masks: arrays in, uint8 arrays out, ready for a file or a page.

Every picture is grey ``(H, W)`` or RGB ``(H, W, 3)``, uint8. Coordinates are rows first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tumorscope.errors import ScanError
from tumorscope.report._lettering import elide, write
from tumorscope.report._outline import outline

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]

# Orange and sky blue stay apart for every common colour blindness (after Okabe and Ito, 2008).
FOUND: Colour = (255, 138, 52)
TRUTH: Colour = (86, 180, 233)
PAPER: Colour = (17, 18, 20)
INK: Colour = (214, 216, 220)

PICTURE_SIDE = 512  # px; smaller scans are enlarged to at least this, so that a thin contour hides nothing
FILL = 0.16  # opacity of the colour inside a mask; with probabilities it runs from 0 to twice this
PERCENTILES = (0.5, 99.5)
SAMPLE = 1 << 20  # pixels looked at for percentiles; more change nothing that an eye can see


def display_window(values: ArrayLike, percentiles: tuple[float, float] = PERCENTILES) -> tuple[float, float]:
    """Lowest and highest value worth showing: percentiles of the finite values.

    Parameters
    ----------
    values : array of any shape
        Pixels of one scan or of a whole volume.
    percentiles : (float, float)
        In percent.

    Returns
    -------
    (float, float)
        Equal to each other where nothing can be told apart (constant, or no finite value at all).

    Examples
    --------
    >>> display_window([0.0, np.nan, 10.0], percentiles=(0, 100))
    (0.0, 10.0)
    """
    flat = np.asarray(values).reshape(-1)
    flat = flat[:: max(1, flat.size // SAMPLE)].astype(np.float64)
    finite = flat[np.isfinite(flat)]
    if finite.size == 0:
        return 0.0, 0.0
    low, high = (float(value) for value in np.percentile(finite, percentiles))
    if high <= low:  # a few bright pixels on one flat value: the percentiles meet, the extremes do not
        low, high = float(finite.min()), float(finite.max())
    return low, high


def to_display(image: ArrayLike, window: tuple[float, float] | None = None) -> Picture:
    """Grey picture of ``image``, its values between two percentiles spread over 0 to 255.

    Parameters
    ----------
    image : (H, W) or (D, H, W) array, any range
        A uint8 array is taken as displayable already and comes back unchanged, unless ``window`` is given.
    window : (float, float), optional
        Values shown as black and white; `display_window` of the image by default.

    Returns
    -------
    uint8 array of the same shape
        NaN is black, the infinities are black and white; an image without contrast is black.

    Examples
    --------
    >>> to_display(np.array([[0.0, 1.0, 5.0, np.nan]], np.float32), window=(0, 5)).tolist()
    [[0, 51, 255, 0]]
    """
    array = np.asarray(image)
    if array.dtype == np.uint8 and window is None:
        return array
    low, high = display_window(array) if window is None else window
    if not high > low:
        return np.zeros(array.shape, np.uint8)
    shown = (array.astype(np.float64) - low) * (255.0 / (high - low))
    return np.rint(np.clip(np.nan_to_num(shown, nan=0.0, posinf=255.0, neginf=0.0), 0, 255)).astype(np.uint8)


def picture_scale(shape: Sequence[int]) -> int:
    """Whole factor that brings the longer side of an (H, W) picture to `PICTURE_SIDE` or more.

    Examples
    --------
    >>> picture_scale((256, 200)), picture_scale((150, 168)), picture_scale((1427, 1275))
    (2, 4, 1)
    """
    return max(1, math.ceil(PICTURE_SIDE / max(shape)))


def overlay(
    image: ArrayLike,
    mask: ArrayLike,
    probability: ArrayLike | None = None,
    *,
    truth: ArrayLike | None = None,
    scale: int | None = None,
) -> Picture:
    """RGB picture of a scan with the outline of a mask around, not on, what it outlines.

    The inside is tinted faintly; the line lies just outside the border, so a lesion of one pixel is
    still seen. Pixels farther from a mask than the line is wide are those of `to_display`, enlarged.

    Parameters
    ----------
    image : (H, W) array, any range
        As for `to_display`.
    mask : (H, W) bool array
        What was found: orange line and tint.
    probability : (H, W) array in [0, 1], optional
        Makes the tint stronger where the model was surer.
    truth : (H, W) bool array, optional
        A reference mask: thin blue line, no tint.
    scale : int, optional
        Enlargement; `picture_scale` by default, 1 keeps the scan's own size.

    Returns
    -------
    (scale * H, scale * W, 3) uint8 array

    Raises
    ------
    ScanError
        If ``image`` is not 2-D or a mask or probability map has another shape.

    Examples
    --------
    >>> mask = np.zeros((8, 8), bool); mask[3:5, 3:5] = True
    >>> overlay(np.zeros((8, 8)), mask, scale=4).shape
    (32, 32, 3)
    """
    grey = to_display(image)
    if grey.ndim != 2:
        raise ScanError(f"overlay: a {grey.ndim}-D image cannot be outlined; pass one (H, W) slice")
    for name, other in (("mask", mask), ("probability map", probability), ("truth", truth)):
        if other is not None and np.shape(other) != grey.shape:
            raise ScanError(f"overlay: the {name} is {np.shape(other)}, the image {grey.shape}; bring both to one grid")
    factor = picture_scale(grey.shape) if scale is None else max(1, int(scale))
    canvas = _rgb(_enlarge(grey, factor))
    line = max(2.0, max(canvas.shape[:2]) / 230)
    if truth is not None:
        outline(canvas, np.asarray(truth, bool), factor, TRUTH, 0.8 * line)
    tint = np.full(grey.shape, FILL, np.float32) if probability is None else 2 * FILL * _unit(probability)
    outline(canvas, np.asarray(mask, bool), factor, FOUND, line, tint)
    return canvas


def side_by_side(*pictures: ArrayLike, gap: int = 8, background: Colour = PAPER) -> Picture:
    """Pictures in one row, all brought to the height of the tallest, ``gap`` pixels apart.

    Examples
    --------
    >>> side_by_side(np.zeros((4, 6), np.uint8), np.zeros((8, 8, 3), np.uint8), gap=2).shape
    (8, 22, 3)
    """
    if not pictures:
        raise ScanError("side by side: there are no pictures; give at least one")
    tiles = [_rgb(to_display(picture)) for picture in pictures]
    height = max(tile.shape[0] for tile in tiles)
    row: list[Picture] = []
    for tile in tiles:
        width = max(1, round(tile.shape[1] * height / tile.shape[0]))
        row += [np.full((height, gap, 3), background, np.uint8), _resize(tile, height, width)]
    return np.concatenate(row[1:], axis=1)


def contact_sheet(
    images: Sequence[ArrayLike], titles: Sequence[str] | None = None, columns: int = 6, tile: int = 192
) -> Picture:
    """One RGB picture of many: square tiles in rows, each with its title beneath.

    Parameters
    ----------
    images : sequence of (H, W) arrays or (H, W, 3) uint8 arrays
        Scaled to fit the tile, never cut or distorted.
    titles : sequence of str, optional
        One for each image; a long one loses its middle. Nothing is written without it.
    columns : int
        Tiles in a row; fewer images make a narrower sheet.
    tile : int
        Side of a tile in px.

    Returns
    -------
    (rows * (tile + label) + gaps, columns * tile + gaps, 3) uint8 array

    Raises
    ------
    ScanError
        If there is no image, or not one title for each.

    Examples
    --------
    >>> contact_sheet([np.zeros((5, 7))] * 3, columns=2, tile=32).shape[1]
    88
    """
    if not images:
        raise ScanError("contact sheet: there are no images; give at least one")
    if titles is not None and len(titles) != len(images):
        raise ScanError(f"contact sheet: {len(titles)} titles for {len(images)} images; give one for each")
    size = max(11, round(tile / 17))
    gap, label = 8, 0 if titles is None else round(1.7 * size)
    columns = max(1, min(columns, len(images)))
    rows = math.ceil(len(images) / columns)
    sheet = np.full((gap + rows * (tile + label + gap), gap + columns * (tile + gap), 3), PAPER, np.uint8)
    for index, image in enumerate(images):
        top = gap + index // columns * (tile + label + gap)
        left = gap + index % columns * (tile + gap)
        _place(sheet[top : top + tile, left : left + tile], to_display(image))
        if titles is not None:
            strip = sheet[top + tile : top + tile + label, left : left + tile]
            write(strip, elide(titles[index], tile, size), (label / 2, tile / 2), size, INK)
    return sheet


def mark_sides(picture: ArrayLike, plane: str | None = "axial") -> Picture:
    """RGB copy with R at its left and L at its right edge: the radiological convention.

    Only for scans whose file says which side is which (``scan.source.sides_known``): the letters
    are a statement about the patient. A sagittal slice, or one of unknown plane, gets none.

    Examples
    --------
    >>> blank = np.zeros((64, 64), np.uint8)
    >>> mark_sides(blank)[:, :16].any(), mark_sides(blank, "sagittal").any()
    (np.True_, np.False_)
    """
    marked = _rgb(to_display(picture)).copy()
    if plane in ("axial", "coronal"):
        height, width = marked.shape[:2]
        size = max(9, round(min(height, width) / 18))
        for letter, x in (("R", 0.8 * size), ("L", width - 0.8 * size)):
            write(marked, letter, (height / 2, x), size, (245, 245, 245), halo=True)
    return marked


def probability_bar(
    probability: float | None, thresholds: tuple[float, float] | None = None, width: int = 256, height: int = 16
) -> Picture:
    """RGB picture of a scale from 0 to 1: filled up to ``probability``, the uncertain zone hatched.

    Parameters
    ----------
    probability : float in [0, 1] or None
        None or NaN draws an empty scale.
    thresholds : (float, float), optional
        Bounds of the zone in which the model does not decide.
    width, height : int
        In px.

    Examples
    --------
    >>> bar = probability_bar(0.5, width=10, height=4)
    >>> bar[1, 2].tolist() == list(FOUND), bar[1, 7].tolist() == list(FOUND)
    (True, False)
    """
    bar = np.full((height, width, 3), (58, 60, 66), np.uint8)
    columns = (np.arange(width) + 0.5) / width
    if probability is not None and math.isfinite(probability):
        bar[:, columns <= probability] = FOUND
    if thresholds is not None:
        hatch = (np.add.outer(np.arange(height), np.arange(width)) // 3) % 2 == 0
        bar[hatch & (columns >= thresholds[0]) & (columns < thresholds[1])] = INK
    return bar


def slices_that_matter(mask: ArrayLike, count: int = 6) -> list[int]:
    """Choose the slices worth showing, in order: through the mask, the one with most of it included.

    Without a mask, ``count`` slices spread over the middle half of the volume.

    Examples
    --------
    >>> mask = np.zeros((20, 2, 2), bool); mask[5:9, 0, 0] = True; mask[7] = True
    >>> slices_that_matter(mask, 3)
    [5, 7, 8]
    >>> slices_that_matter(np.zeros((9, 2, 2), bool), 3)
    [2, 4, 6]
    """
    areas = np.asarray(mask, bool).sum(axis=(1, 2))
    inside = np.flatnonzero(areas)
    if inside.size == 0:
        depth = areas.size
        return sorted({round(float(z)) for z in np.linspace((depth - 1) / 4, (depth - 1) * 3 / 4, count)})
    chosen = inside[np.unique(np.rint(np.linspace(0, inside.size - 1, count)).astype(int))]
    largest = int(areas.argmax())
    if largest not in chosen:  # the nearest chosen slice makes room for it
        chosen[np.abs(chosen - largest).argmin()] = largest
    return sorted(int(z) for z in chosen)


def volume_sheet(
    volume: ArrayLike,
    mask: ArrayLike,
    slices: Sequence[int] | None = None,
    titles: Sequence[str] | None = None,
    *,
    columns: int = 3,
    tile: int = 320,
    plane: str | None = None,
) -> Picture:
    """Contact sheet of a volume's slices with the mask outlined, all in one grey scale.

    Parameters
    ----------
    volume : (D, H, W) array, any range
        One window for all slices, so that their greys compare.
    mask : (D, H, W) bool array
        Outlined as in `overlay`.
    slices : sequence of int, optional
        `slices_that_matter` by default, and where the sequence is empty.
    titles : sequence of str, optional
        "slice 12 of 60" by default, counted from 1 along the scan's slice axis.
    columns, tile : int
        As for `contact_sheet`.
    plane : str, optional
        Marks the sides of each slice (see `mark_sides`); pass it only where the file knows them.

    Returns
    -------
    (H', W', 3) uint8 array

    Raises
    ------
    ScanError
        If the two shapes differ or are not 3-D, or a slice does not exist.

    Examples
    --------
    >>> volume = np.zeros((4, 16, 16)); mask = volume > 0; mask[2, 4:8, 4:8] = True
    >>> volume_sheet(volume, mask, tile=64).shape
    (99, 80, 3)
    """
    pixels, found = np.asarray(volume), np.asarray(mask, bool)
    if pixels.ndim != 3 or pixels.shape != found.shape:
        raise ScanError(f"volume sheet: volume {pixels.shape}, mask {found.shape}; pass (D, H, W) arrays of one shape")
    chosen = list(slices) if slices else slices_that_matter(found)
    depth = pixels.shape[0]
    for z in chosen:
        if not 0 <= z < depth:
            raise ScanError(f"volume sheet: there is no slice {z}; the volume has {depth}, counted from 0")
    window, factor = display_window(pixels), max(1, math.ceil(tile / max(pixels.shape[1:])))
    tiles = []
    for z in chosen:
        picture = overlay(to_display(pixels[z], window), found[z], scale=factor)
        tiles.append(mark_sides(picture, plane))
    names = [f"slice {z + 1} of {depth}" for z in chosen] if titles is None else titles
    return contact_sheet(tiles, names, columns, tile)


def _rgb(picture: NDArray) -> Picture:
    """``picture`` with three channels."""
    if picture.ndim == 2:
        return np.repeat(picture[..., None], 3, axis=2)
    if picture.ndim == 3 and picture.shape[2] == 3:
        return picture
    raise ScanError(f"picture: shape {picture.shape} is neither (H, W) nor (H, W, 3); choose a slice or a channel")


def _unit(probability: ArrayLike) -> NDArray[np.float32]:
    return np.clip(np.nan_to_num(np.asarray(probability, np.float32), nan=0.0), 0, 1)


def _enlarge(grey: Picture, factor: int) -> Picture:
    height, width = grey.shape
    return _resize(grey, height * factor, width * factor)


def _resize(picture: Picture, height: int, width: int) -> Picture:
    if picture.shape[:2] == (height, width):
        return picture
    shrinks = height <= picture.shape[0] and width <= picture.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(np.ascontiguousarray(picture), (width, height), interpolation=how), np.uint8)


def _place(tile: Picture, picture: NDArray) -> None:
    """Fit ``picture`` into the middle of a tile, in place, its proportions kept."""
    room_y, room_x = tile.shape[:2]
    factor = min(room_y / picture.shape[0], room_x / picture.shape[1])
    height = max(1, min(room_y, round(picture.shape[0] * factor)))
    width = max(1, min(room_x, round(picture.shape[1] * factor)))
    top, left = (room_y - height) // 2, (room_x - width) // 2
    tile[top : top + height, left : left + width] = _resize(_rgb(picture), height, width)
