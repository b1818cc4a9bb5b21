"""Cleaning what is no scan: white surroundings, borders and bars, burned-in text."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.imaging.head import (
    NOISE,
    SMALLEST_SIDE,
    GreyArray,
    find_head,
    grey_range,
    on_grid,
    ring,
    shrink,
    smoothness,
    to_grey,
)
from tumorscope.imaging.intensity import as_plane
from tumorscope.scan import BoolArray, FloatArray

WHITE = 220  # of 255; near-white begins here
WHITE_LINE = 0.8  # of a row's or column's pixels that are white, for it to belong to a border
DEEP_WHITE_LINE = 0.97  # the same further inside than a thin border
DEEPEST_BAR = 0.45  # of the image's height or width
THIN = 0.03  # of the image's height or width: a thin border, or a rim outside a border
FRAME_LEAST = 25  # of 255; a thin border that is grey, not white, is at least this bright
WHITE_RING = 0.5  # of the border that is white, for the background to be
TEXT_LEAST = 50  # of 255 above the background
TEXT_EDGE = 90  # of 255 within a 3x3 window, at the sharpest edge of a letter
TEXT_WIDTH = 0.5  # of the longer side: a joined row of letters
TEXT_HEIGHT = 0.15  # of the longer side
LETTER = 0.08  # of the longer side: a single letter; next to the head nothing longer is taken for text
ROW_LETTERS = 4  # marks in a line that make it a row of letters
BESIDE = 0.05  # of the longer side: what is next to the head, where scalp may show in pieces
STROKE = 0.02  # of the longer side: no letter has strokes of twice this width
SQUARE = np.ones((3, 3), np.uint8)
CORNER = 0.1  # of the longer side: reach of the rounded corners that a border leaves


@dataclass(frozen=True)
class Cleaned:
    """A slice without what was put around it.

    Parameters
    ----------
    image : (H, W) float32 array
    findings : tuple of str
        What was made dark, one sentence each; empty when nothing was.
    keep : (H, W) bool array
        Pixels that still have their own value.
    """

    image: FloatArray
    findings: tuple[str, ...]
    keep: BoolArray


def clean_background(image: NDArray) -> Cleaned:
    """Slice with white surroundings, borders and bars, and text outside the head made dark.

    Parameters
    ----------
    image : (H, W) array
        Any range: what counts as white is measured between the image's own lowest and highest values.

    Returns
    -------
    Cleaned
        Borders and white surroundings get the image's lowest value, text that of its surroundings. All other
        pixels keep their value.

    Raises
    ------
    ScanError
        For a wrong shape or non-finite values.

    Notes
    -----
    *Borders and bars* are rows and columns at the edges that are white (86 % of the range or more) from end to end,
    however many there are up to 45 % of a side, and thin even grey lines that are brighter than what lies behind
    them. A *background* is white when half of the border is, and loses all white joined to the border by more than a
    thin bridge. *Text* is what is small, bright, sharp and thin outside the head; writing on the head stays.

    Examples
    --------
    >>> y, x = np.mgrid[-60:60, -50:50]
    >>> framed = np.pad(100 * (np.hypot(y / 50, x / 40) < 1), 3, constant_values=255)
    >>> cleaned = clean_background(framed)
    >>> cleaned.findings
    ('a bright border or bar (13.4% of the image) was made dark',)
    >>> cleaned.image[0, 0], framed[0, 0]
    (np.float32(0.0), np.int64(255))
    """
    plane = as_plane(image)
    keep = np.ones(plane.shape, bool)
    bottom, top = grey_range(plane)
    if min(plane.shape) < SMALLEST_SIDE or top <= bottom:
        return Cleaned(plane, (), keep)
    grey = to_grey(plane, bottom, top)
    findings: list[str] = []
    inner = _inside_borders(grey)
    if inner != (slice(0, grey.shape[0]), slice(0, grey.shape[1])):
        border = np.ones(grey.shape, bool)
        border[inner] = False
        border |= _corners(grey, border)
        findings.append(f"a bright border or bar ({border.mean():.1%} of the image) was made dark")
        keep &= ~border
    white = _white_background(grey[inner] if keep.all() else np.where(keep, grey, 255)[inner])
    if white is not None:
        findings.append(f"a white background ({white.mean():.1%} of the image) was made dark")
        keep[inner] &= ~white
    grey[~keep] = 0
    text = _text(grey)
    if text is not None:
        findings.append(f"text or marks outside the head ({text.mean():.1%} of the image) were made dark")
        grey[text] = _level(grey, text)
        keep &= ~text
    if not findings:
        return Cleaned(plane, (), keep)
    dark = np.float32(bottom) + grey.astype(np.float32) * np.float32((top - bottom) / 255)
    return Cleaned(np.where(keep, plane, dark), tuple(findings), keep)


def _level(grey: GreyArray, found: BoolArray) -> int:
    """Median grey value of the pixels next to what was found."""
    near = cv2.dilate(found.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    around = grey[near & ~found]
    return int(np.median(around)) if around.size else 0


def _inside_borders(grey: GreyArray) -> tuple[slice, slice]:
    """Rows and columns that remain when white borders and bars and thin grey frames are taken off."""
    rows, columns = slice(0, grey.shape[0]), slice(0, grey.shape[1])
    for _ in range(2):  # a frame may show only once the bars outside it are gone
        part = grey[rows, columns]
        first, last = _border_lines(part), _border_lines(part[::-1])
        rows = slice(rows.start + first, rows.stop - last)
        part = grey[rows, columns].T
        left, right = _border_lines(part), _border_lines(part[::-1])
        columns = slice(columns.start + left, columns.stop - right)
        if not any((first, last, left, right)):
            break
    if (rows.stop - rows.start) * (columns.stop - columns.start) < 0.1 * grey.size:
        return slice(0, grey.shape[0]), slice(0, grey.shape[1])
    return rows, columns


def _border_lines(part: GreyArray) -> int:
    """How many rows at the top are a border: white from end to end, or an even thin line brighter than what follows.

    Deep inside, where a row may graze a head on white ground, "white" is meant more strictly than at the edge.
    """
    height = part.shape[0]
    if min(part.shape) < SMALLEST_SIDE:
        return 0
    thin, deepest = max(3, round(THIN * height)), int(DEEPEST_BAR * height)
    share = (part[:deepest] >= WHITE).mean(axis=1)
    share[thin:] -= DEEP_WHITE_LINE - WHITE_LINE
    end, last = 0, -1
    for index in np.flatnonzero(share >= WHITE_LINE):
        if index - last > thin:
            break
        end, last = int(index) + 1, int(index)
    end = max(end, _frame_lines(part, thin))
    return min(end + 1, deepest) if end else 0


def _frame_lines(part: GreyArray, thin: int) -> int:
    """How many rows at the top are a thin even line, brighter than the rows behind it."""
    if part.shape[0] < 3 * thin:
        return 0
    lines = part[: 3 * thin]
    if (lines[:thin].mean(axis=1) < 0.5 * FRAME_LEAST).all():
        return 0
    middle = np.median(lines, axis=1).astype(np.int16)
    even = (np.abs(lines - middle[:, None]) <= 12).mean(axis=1) >= WHITE_LINE
    end = 0
    for index in np.flatnonzero(even[:thin] & (middle[:thin] >= FRAME_LEAST)):
        if float(np.median(middle[index + 2 : index + 2 + thin])) <= 0.5 * middle[index]:
            end = int(index) + 1
    return end


def _corners(grey: GreyArray, border: BoolArray) -> BoolArray:
    """Small white remains in the image's corners that touch the border: its rounded corners."""
    white = ((grey >= WHITE // 2) & ~border).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(white, connectivity=8)
    touching = np.zeros(count, bool)
    touching[labels[cv2.dilate(border.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0]] = True
    left, top, width, height = (stats[:, column] for column in range(4))
    reach = CORNER * max(grey.shape)
    touching &= (left + width <= reach) | (left >= grey.shape[1] - reach)
    touching &= (top + height <= reach) | (top >= grey.shape[0] - reach)
    touching[0] = False
    return touching[labels]


def _white_background(grey: GreyArray) -> BoolArray | None:
    """White that makes up half of the border, and all white joined to it other than by thin bridges."""
    if np.mean(ring(grey, 1) >= WHITE) < WHITE_RING or grey.min() >= WHITE:
        return None
    white = cv2.threshold(grey, WHITE - 1, 1, cv2.THRESH_BINARY)[1]
    padded = cv2.copyMakeBorder(white, 3, 3, 3, 3, cv2.BORDER_CONSTANT, value=1)
    opened = cv2.morphologyEx(padded, cv2.MORPH_OPEN, SQUARE)
    _, labels = cv2.connectedComponents(opened, connectivity=4)
    found = (labels == labels[0, 0]).astype(np.uint8)
    return cv2.dilate(found, SQUARE)[3:-3, 3:-3] > 0


def _text(grey: GreyArray) -> BoolArray | None:
    """Small bright sharp marks outside the head: letters, rows of letters, rulers. None when there are none."""
    small = shrink(grey)
    head = find_head(small) if smoothness(small) >= NOISE else None
    if head is None:
        return None
    touching, beside = (on_grid(head, grey.shape, reach) for reach in (1, round(BESIDE * max(head.shape))))
    outside = grey[~touching]
    if outside.size < 0.01 * grey.size:
        return None
    level = int(np.median(outside))
    bright = ((grey > level + TEXT_LEAST) & ~touching).astype(np.uint8)
    if not bright.any():
        return None
    count, labels, stats, _ = cv2.connectedComponentsWithStats(cv2.dilate(bright, SQUARE), connectivity=8)
    side = max(grey.shape)
    width, height = stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT]
    long, short = np.maximum(width, height), np.minimum(width, height)
    text = ((long <= TEXT_WIDTH * side) & (short <= TEXT_HEIGHT * side)) | (short <= THIN * side)
    close = np.zeros(count, bool)
    close[labels[beside]] = True
    rows = _letter_rows(bright, labels, stats, LETTER * side)
    text &= ~close | (long <= LETTER * side) | rows
    sharp = np.zeros(count, bool)
    edges = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, SQUARE)
    sharp[labels[(edges > TEXT_EDGE) & ~touching]] = True
    text &= sharp
    text[labels[touching & (grey > level + TEXT_LEAST)]] = False  # it goes on inside the head
    text[labels[cv2.erode(bright, np.ones((2 * round(STROKE * side) + 1,) * 2, np.uint8)) > 0]] = False
    text[0] = False
    return text[labels] & ~touching if text.any() else None


def _letter_rows(bright: GreyArray, labels: NDArray[np.int32], stats: NDArray, letter: float) -> BoolArray:
    """Which joined components are rows or blocks of letters: wide, of many marks, none larger than a letter."""
    _, marks, sizes, _ = cv2.connectedComponentsWithStats(bright, connectivity=8)
    owner = labels.ravel()[np.unique(marks, return_index=True)[1][1:]]
    pieces = np.bincount(owner, minlength=len(stats))
    largest = np.zeros(len(stats), np.int32)
    np.maximum.at(largest, owner, sizes[1:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1))
    width, height = stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT]
    wide = (width >= 3 * height) | ((pieces >= 2 * ROW_LETTERS) & (width >= height))
    return (pieces >= ROW_LETTERS) & (largest <= letter) & wide
