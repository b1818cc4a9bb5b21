"""Boxes and letterboxes: every step knows its way back, exact to the pixel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tumorscope.errors import ScanError, look_up
from tumorscope.scan import BoolArray

INTERPOLATIONS = ("area", "linear", "nearest")


@dataclass(frozen=True)
class Box:
    """A rectangle of whole pixels: rows ``top`` to ``bottom`` and columns ``left`` to ``right``, ends excluded.

    Raises
    ------
    ScanError
        If it is empty or begins before 0.

    Examples
    --------
    >>> box = Box(1, 0, 3, 2)
    >>> box.cut(np.arange(12).reshape(4, 3))
    array([[3, 4],
           [6, 7]])
    >>> box.paste(box.cut(np.ones((4, 3), int)), (4, 3), fill=0).sum(axis=1)
    array([0, 2, 2, 0])
    """

    top: int
    left: int
    bottom: int
    right: int

    def __post_init__(self) -> None:
        if not (0 <= self.top < self.bottom and 0 <= self.left < self.right):
            raise ScanError(
                f"{self}: the box is empty or begins before 0; give 0 <= top < bottom and 0 <= left < right"
            )

    @classmethod
    def whole(cls, shape: tuple[int, ...]) -> Box:
        """The box of all of an image of ``shape`` (H, W)."""
        return cls(0, 0, shape[0], shape[1])

    @classmethod
    def around(cls, mask: BoolArray) -> Box:
        """The smallest box that holds the set pixels of an (H, W) mask.

        Raises
        ------
        ScanError
            If no pixel is set.
        """
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if rows.size == 0:
            raise ScanError(f"mask of shape {mask.shape}: no pixel is set; there is nothing to put a box around")
        return cls(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)

    def grown(self, padding: int, shape: tuple[int, ...]) -> Box:
        """The box with ``padding`` more pixels on each side, as far as an image of ``shape`` (H, W) reaches."""
        return Box(
            max(self.top - padding, 0),
            max(self.left - padding, 0),
            min(self.bottom + padding, shape[0]),
            min(self.right + padding, shape[1]),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.bottom - self.top, self.right - self.left

    def cut(self, image: NDArray) -> NDArray:
        """The part of an (H, W, …) array inside the box, as a view.

        Raises
        ------
        ScanError
            If the box reaches beyond the image.
        """
        self._require_inside(image.shape)
        return image[self.top : self.bottom, self.left : self.right]

    def paste(self, values: NDArray, shape: tuple[int, ...], fill: float = 0) -> NDArray:
        """An array of ``shape`` (H, W) with ``values`` in the box and ``fill`` elsewhere: the way back from `cut`.

        Raises
        ------
        ScanError
            If the box reaches beyond ``shape``, or ``values`` does not have the box's shape.
        """
        self._require_inside(shape)
        if values.shape[:2] != self.shape:
            raise ScanError(f"{self}: values of shape {values.shape} do not fill it; pass shape {self.shape}")
        canvas = np.full(tuple(shape[:2]) + values.shape[2:], fill, dtype=values.dtype)
        canvas[self.top : self.bottom, self.left : self.right] = values
        return canvas

    def _require_inside(self, shape: tuple[int, ...]) -> None:
        if len(shape) < 2 or self.bottom > shape[0] or self.right > shape[1]:
            raise ScanError(f"{self}: reaches beyond an image of shape {tuple(shape)}; use the image it was made from")


@dataclass(frozen=True)
class Letterbox:
    """An image of ``shape`` in the middle of a square, resized to ``size`` × ``size``, and the way back.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the images it takes.
    size : int
        Side of the square it gives.

    Notes
    -----
    The square has the image's longer side; of an odd rest the larger half goes below and to the right.
    Both directions work axis by axis, so that a 1×100,000 image needs no 100,000² square.

    Examples
    --------
    >>> letterbox = Letterbox.fit((2, 4), 8)
    >>> mask = np.array([[True, False, False, True], [False, True, False, False]])
    >>> np.array_equal(letterbox.invert(letterbox.apply(mask, "nearest"), "nearest"), mask)
    True
    """

    shape: tuple[int, int]
    size: int

    @classmethod
    def fit(cls, shape: tuple[int, ...], size: int) -> Letterbox:
        """The letterbox that takes images of ``shape`` (H, W) to ``size`` × ``size``.

        Raises
        ------
        ScanError
            If ``shape`` is not two positive numbers or ``size`` is below 1.
        """
        if len(shape) != 2 or min(shape) < 1 or size < 1:
            raise ScanError(
                f"letterbox: cannot bring shape {tuple(shape)} to size {size}; pass (H, W) and a size from 1 up"
            )
        return cls((int(shape[0]), int(shape[1])), int(size))

    @property
    def side(self) -> int:
        """Side of the square in the image's own pixels."""
        return max(self.shape)

    @property
    def scale(self) -> float:
        """Output pixels per input pixel."""
        return self.size / self.side

    @property
    def margins(self) -> tuple[int, int]:
        """Rows above and columns left of the image in the square, in the image's own pixels."""
        return (self.side - self.shape[0]) // 2, (self.side - self.shape[1]) // 2

    def apply(self, image: NDArray, interpolation: str = "area", fill: float = 0) -> NDArray:
        """The (size, size) array that shows ``image`` in the middle, with ``fill`` around it.

        Parameters
        ----------
        image : (H, W) array of this letterbox's shape
        interpolation : {"area", "linear", "nearest"}
            ``area`` averages when shrinking and is linear when growing; ``nearest`` is for masks and labels.
        fill : float
            Value of the margins.

        Returns
        -------
        (size, size) array
            Of the image's dtype for ``nearest``, float32 otherwise.
        """
        self._check(image, self.shape, interpolation)
        lengths, margins = self.shape, self.margins
        for axis in (0, 1) if self.shape[0] > self.shape[1] else (1, 0):  # the long axis first: it has no margin
            before, after = margins[axis], self.side - lengths[axis] - margins[axis]
            if before or after:
                widths = [(0, 0), (0, 0)]
                widths[axis] = (before, after)
                image = np.pad(image, widths, constant_values=fill)
            image = _resize_axis(image, axis, self.size, interpolation)
        return image

    def invert(self, array: NDArray, interpolation: str = "linear") -> NDArray:
        """The array of the input's exact (H, W) shape that lies under a (size, size) one.

        Margins are cut off. With ``nearest`` it undoes `apply` exactly wherever the letterbox enlarges
        (``scale`` ≥ 1).
        """
        self._check(array, (self.size, self.size), interpolation)
        for axis in (1, 0) if self.shape[0] > self.shape[1] else (0, 1):
            array = _resize_axis(array, axis, self.side, interpolation)
            start = self.margins[axis]
            kept = slice(start, start + self.shape[axis])
            array = array[kept] if axis == 0 else array[:, kept]
        return array

    def _check(self, image: NDArray, shape: tuple[int, int], interpolation: str) -> None:
        look_up(interpolation, INTERPOLATIONS, "interpolation", ScanError)
        if image.shape != shape:
            raise ScanError(
                f"letterbox: array of shape {image.shape} where {shape} belongs; fit a letterbox to this shape"
            )


def _resize_axis(image: NDArray, axis: int, length: int, interpolation: str) -> NDArray:
    """The (H, W) array with ``axis`` resampled to ``length``; pixel centres keep their relative place."""
    if interpolation == "nearest":
        old = image.shape[axis]
        index = (2 * np.arange(length, dtype=np.int64) + 1) * old // (2 * length)
        return np.take(image, index, axis=axis)
    values = np.ascontiguousarray(image, dtype=np.float32)
    shrinks = length < image.shape[axis]
    flag = cv2.INTER_AREA if interpolation == "area" and shrinks else cv2.INTER_LINEAR
    width, height = (values.shape[1], length) if axis == 0 else (length, values.shape[0])
    return values if values.shape == (height, width) else cv2.resize(values, (width, height), interpolation=flag)
