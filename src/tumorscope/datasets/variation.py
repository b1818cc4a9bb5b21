"""Small random changes of a slice: turned, shifted, sheared, zoomed, mirrored, brighter or darker. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import DataError
from tumorscope.scan import BoolArray, FloatArray

#: The largest value that each setting may take, and its unit; beyond it a head is no longer a head.
LIMITS = {
    "rotation": (180.0, "degrees"),
    "shift": (0.5, "of a side"),
    "shear": (1.0, "pixels a row"),
    "zoom": (0.9, "times the size"),
    "brightness": (1.0, "times the brightness"),
}


@dataclass(frozen=True)
class Ranges:
    """How far a copy may differ from its scan.

    The values are those of the reference; the brightness, which it leaves open, is ours.

    Parameters
    ----------
    rotation : float
        Degrees, to either side.
    shift : float
        Share of the width and of the height, in either direction.
    shear : float
        Sideways pixels for each pixel downwards, in either direction.
    zoom : float
        Largest relative change of size, in either direction: 0.1 is 0.9 to 1.1.
    flip : bool
        Whether every second copy, at random, is mirrored left to right.
    brightness : float
        Largest relative change of all grey values: 0.1 is 0.9 to 1.1 times as bright.

    Raises
    ------
    DataError
        For a value below 0 or beyond `LIMITS`.
    """

    rotation: float = 10.0
    shift: float = 0.05
    shear: float = 0.05
    zoom: float = 0.1
    flip: bool = True
    brightness: float = 0.1

    def __post_init__(self) -> None:
        for name, (limit, unit) in LIMITS.items():
            value = getattr(self, name)
            if not 0 <= value <= limit:
                raise DataError(f"{name}: {value:g} is out of range; give 0 to {limit:g} {unit}")


@dataclass(frozen=True)
class Change:
    """One change: mirrored first, then sheared, zoomed and turned about the middle, then shifted.

    Parameters
    ----------
    angle : float
        Degrees, anticlockwise as seen.
    right, down : float
        Shift as a share of the width and of the height.
    shear : float
        Pixels to the right for each pixel downwards.
    zoom : float
        Factor of size.
    flip : bool
        Mirrored left to right.
    brightness : float
        Factor of all grey values.
    """

    angle: float = 0.0
    right: float = 0.0
    down: float = 0.0
    shear: float = 0.0
    zoom: float = 1.0
    flip: bool = False
    brightness: float = 1.0

    def matrix(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """The (2, 3) matrix that leads from pixel (x, y) of an image of ``shape`` (H, W) to its place, mirror apart.

        Examples
        --------
        >>> Change(right=0.5).matrix((3, 4))
        array([[1., 0., 2.],
               [0., 1., 0.]])
        """
        height, width = shape[:2]
        turn = np.deg2rad(self.angle)
        rotated = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        linear = self.zoom * rotated @ np.array([[1, self.shear], [0, 1]])
        middle = np.array([width - 1, height - 1]) / 2
        moved = middle + np.array([self.right * width, self.down * height]) - linear @ middle
        return np.column_stack([linear, moved])


def draw(ranges: Ranges, rng: np.random.Generator) -> Change:
    """A change within ``ranges``, each part drawn evenly and apart from the others.

    The same number of values is drawn whatever the ranges: one of them set to 0 leaves the other parts as they were.

    Examples
    --------
    >>> draw(Ranges(0, 0, 0, 0, False, 0), np.random.default_rng(0)) == Change()
    True
    """
    angle, right, down, shear, zoom, light = rng.uniform(-1, 1, 6).tolist()
    return Change(
        angle=angle * ranges.rotation,
        right=right * ranges.shift,
        down=down * ranges.shift,
        shear=shear * ranges.shear,
        zoom=1 + zoom * ranges.zoom,
        flip=bool(rng.random() < 0.5) and ranges.flip,
        brightness=1 + light * ranges.brightness,
    )


def move(image: NDArray, change: Change) -> FloatArray:
    """``image`` (H, W) or (H, W, C) moved on its own grid; what comes in from outside is the nearest pixel's value.

    Pixels are interpolated linearly. The brightness is left alone (`brighten`).

    Examples
    --------
    >>> image = np.arange(6.0).reshape(2, 3)
    >>> move(image, Change(right=1 / 3)).tolist()
    [[0.0, 0.0, 1.0], [3.0, 3.0, 4.0]]
    >>> move(image, Change(flip=True)).tolist()
    [[2.0, 1.0, 0.0], [5.0, 4.0, 3.0]]
    """
    pixels = np.asarray(image, np.float32)
    pixels = np.ascontiguousarray(pixels[:, ::-1] if change.flip else pixels)
    matrix = change.matrix(pixels.shape)
    if np.array_equal(matrix, np.eye(2, 3)):
        return pixels
    size = (pixels.shape[1], pixels.shape[0])
    moved: FloatArray = cv2.warpAffine(
        pixels, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    ).reshape(pixels.shape)
    return moved


def move_mask(mask: BoolArray, change: Change) -> BoolArray:
    """A mask (H, W) moved as `move` moves its image: set where at least half of the pixel is.

    Examples
    --------
    >>> move_mask(np.array([[True, False, False]]), Change(flip=True)).tolist()
    [[False, False, True]]
    """
    moved: BoolArray = move(mask.astype(np.float32), change) >= 0.5
    return moved


def brighten(image: NDArray, change: Change, full: float) -> FloatArray:
    """``image`` times the brightness of the change, cut off at 0 and at ``full``, the largest value that is stored.

    Examples
    --------
    >>> brighten(np.array([0.0, 100.0, 250.0]), Change(brightness=1.5), 255).tolist()
    [0.0, 150.0, 255.0]
    """
    return np.clip(np.asarray(image, np.float32) * np.float32(change.brightness), 0, full).astype(np.float32)
